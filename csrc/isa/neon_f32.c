/* All kernels for NEON, float32. */
#define NNC_REAL_IS_F32 1
#define NNC_TABLE nnc_table_neon_f32
#define NNC_SECOND nnc_second_neon_f32
#include "neon.inc.h"
