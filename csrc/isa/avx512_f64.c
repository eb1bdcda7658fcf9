/* All kernels for AVX-512, float64. */
#define NNC_REAL_IS_F32 0
#define NNC_TABLE nnc_table_avx512_f64
#define NNC_SECOND nnc_second_avx2_f64
#define NNC_SECOND_IS_ANOTHERS
#include "avx512.inc.h"
