/* All kernels for AVX2 and FMA, float64. */
#define NNC_REAL_IS_F32 0
#define NNC_TABLE nnc_table_avx2_f64
#define NNC_SECOND nnc_second_avx2_f64
#include "avx2.inc.h"
