/* Whatever the compiler assumes of every machine (x86-64: SSE2), as 16-byte vectors in plain C.
 * Multiply and add round separately here: outside the promise of equal bits between instruction
 * sets. */
#include "../nnc.h"

#include "portable.h"

#if defined(__x86_64__) && !defined(__clang__) && !defined(HOT_CODE)
#pragma GCC optimize("Os") /* the tables that most machines take are compiled for speed */
#endif
#define ISA_NAME "baseline"
#define NNC_HAS_FMA 0
#define TILE_ROWS 6 /* 12 accumulators, 2 of B and 1 of A of 16 registers */
#define TILE_VECS 2
#define VFMA(a, b, c) ((a) * (b) + (c))
#include "../kernels/all.inc.h"
