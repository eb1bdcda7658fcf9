/* All kernels for AVX-512, float64. */
#define NNC_REAL_IS_F32 0
#define NNC_TABLE nnc_table_avx512_f64
#include "avx512.inc.h"
