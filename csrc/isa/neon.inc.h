/* NEON of AArch64: 32 registers of 16 bytes, fused multiply-add. */
#include "../nnc.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include "portable.h"
#if !defined(__clang__) && !defined(HOT_CODE)
#define HOT_CODE _Pragma("GCC optimize(\"O3\")")
#define OTHER_CODE HOT_CODE
#endif
#define ISA_NAME "neon"
#define NNC_HAS_FMA 1
#define TILE_ROWS 6 /* 24 accumulators, 4 of B and 1 of A of 32 registers */
#define TILE_VECS 4
#if NNC_REAL_IS_F32
#define VFMA(a, b, c) vfmaq_f32(c, a, b)
#else
#define VFMA(a, b, c) vfmaq_f64(c, a, b)
#endif
#include "../kernels/all.inc.h"

#else
extern const nnc_kernels *const NNC_TABLE;
const nnc_kernels *const NNC_TABLE = NULL;
#endif
