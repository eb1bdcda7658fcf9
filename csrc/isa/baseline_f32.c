/* All kernels for the compiler's baseline, float32. */
#define NNC_REAL_IS_F32 1
#define NNC_TABLE nnc_table_baseline_f32
#define NNC_OTHER nnc_other_baseline_f32
#include "baseline.inc.h"
