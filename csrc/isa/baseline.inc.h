/* Whatever the compiler assumes of every machine (x86-64: SSE2), as 16-byte vectors in plain C.
 * Multiply and add round separately here: outside the promise of equal bits between instruction
 * sets. */
#include "../nnc.h"

#include "portable.h"

#if defined(__GNUC__) && !defined(__clang__) && !defined(HOT_CODE)
#ifdef __x86_64__ /* most machines take the other tables */
#pragma GCC optimize("Os")
#define VM_INLINE static inline
#else
#define HOT_CODE _Pragma("GCC optimize(\"O3\")")
#define OTHER_CODE HOT_CODE
#endif
#endif
#define ISA_NAME "baseline"
#define NNC_HAS_FMA 0
#define TILE_ROWS 6 /* 12 accumulators, 2 of B and 1 of A of 16 registers */
#define TILE_VECS 2
#define VFMA(a, b, c) ((a) * (b) + (c))
#include "../kernels/all.inc.h"
