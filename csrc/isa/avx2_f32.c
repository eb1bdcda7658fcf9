/* All kernels for AVX2 and FMA, float32. */
#define NNC_REAL_IS_F32 1
#define NNC_TABLE nnc_table_avx2_f32
#define NNC_SECOND nnc_second_avx2_f32
#include "avx2.inc.h"
