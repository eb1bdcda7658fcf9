/* All kernels for the compiler's baseline, float32. */
#define NNC_REAL_IS_F32 1
#define NNC_TABLE nnc_table_baseline_f32
#define NNC_SECOND nnc_second_baseline_f32
#include "baseline.inc.h"
