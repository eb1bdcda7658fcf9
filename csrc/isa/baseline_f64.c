/* All kernels for the compiler's baseline, float64. */
#define NNC_REAL_IS_F32 0
#define NNC_TABLE nnc_table_baseline_f64
#define NNC_OTHER nnc_other_baseline_f64
#include "baseline.inc.h"
