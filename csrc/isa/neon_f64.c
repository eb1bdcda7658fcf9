/* All kernels for NEON, float64. */
#define NNC_REAL_IS_F32 0
#define NNC_TABLE nnc_table_neon_f64
#define NNC_SECOND nnc_second_neon_f64
#include "neon.inc.h"
