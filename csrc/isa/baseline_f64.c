/* All kernels for the compiler's baseline, float64. */
#define NNC_REAL_IS_F32 0
#define NNC_TABLE nnc_table_baseline_f64
#define NNC_SECOND nnc_second_baseline_f64
#include "baseline.inc.h"
