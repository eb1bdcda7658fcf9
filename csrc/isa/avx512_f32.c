/* All kernels for AVX-512, float32. */
#define NNC_REAL_IS_F32 1
#define NNC_TABLE nnc_table_avx512_f32
#define NNC_SECOND nnc_second_avx2_f32
#define NNC_SECOND_IS_ANOTHERS
#include "avx512.inc.h"
