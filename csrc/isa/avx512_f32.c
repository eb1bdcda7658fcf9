/* All kernels for AVX-512, float32. */
#define NNC_REAL_IS_F32 1
#define NNC_TABLE nnc_table_avx512_f32
#define NNC_OTHER nnc_other_avx2_f32
#define NNC_OTHER_IS_SHARED
#include "avx512.inc.h"
