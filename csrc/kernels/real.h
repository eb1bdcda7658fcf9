/* What `real` means in this compilation. An isa/ file has defined before including this:
 *
 *   NNC_REAL_IS_F32      1: float, 0: double
 *   NNC_HAS_FMA          1: the instruction set fuses multiply and add
 *   LANES                elements of one vector register
 *   TILE_ROWS, TILE_VECS the register tile of the GEMM: rows, and vectors in a row
 *   VSPLAT(x) VFMA(a, b, c)  a vector of x; a * b + c, fused where the hardware can
 *   VSTORE_N(p, v, n)    store the first n elements of v, 1 <= n < LANES, and touch no others
 *   VLOAD_N(p, n)        load n elements, read no others, the rest is 0
 *   HALF_...             the same for half a register, where that is faster; optional
 */
#ifndef NNC_REAL_H
#define NNC_REAL_H

#include <stddef.h>
#include <stdint.h>

#include "../nnc.h"

#if NNC_REAL_IS_F32
typedef float real;
typedef int32_t ireal;
#define REAL_TINY 1.17549435e-38f
#define REAL_DTYPE NNC_F32
#define SQRT(x) __builtin_sqrtf(x)
#define FABS(x) __builtin_fabsf(x)
#else
typedef double real;
typedef int64_t ireal;
#define REAL_TINY 2.2250738585072014e-308
#define REAL_DTYPE NNC_F64
#define SQRT(x) __builtin_sqrt(x)
#define FABS(x) __builtin_fabs(x)
#endif

/* A constant; the literals are double and rounded once, when compiled. */
#define R(x) ((real)(x))

#if !NNC_HAS_FMA
#define FMA(a, b, c) ((a) * (b) + (c))
#elif NNC_REAL_IS_F32
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FMA(a, b, c) __builtin_fma(a, b, c)
#endif

#define TILE_COLS (TILE_VECS * LANES)
/* Elements of NNC_ALIGN bytes: the width to which rows of an arena are padded, and the fixed
 * number of partial sums of every reduction, whatever the vector width. */
#define PAD (NNC_ALIGN / (int)sizeof(real))

typedef ireal ivec __attribute__((vector_size(LANES * sizeof(real))));
typedef real vec __attribute__((vector_size(LANES * sizeof(real))));
typedef real vec_u
    __attribute__((vector_size(LANES * sizeof(real)), aligned(sizeof(real)), may_alias));
#define VLOAD(p) ((vec)(*(const vec_u *)(p)))
#define VSTORE(p, v) (*(vec_u *)(p) = (v))
#define VZERO ((vec){0})
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#define IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#define UNROLL _Pragma("GCC unroll 32") /* all of a loop of constant length */
#define ROLLED _Pragma("GCC unroll 1")
#define IVDEP _Pragma("GCC ivdep") /* arrays are the same or apart, never shifted */
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define NEVER_INLINE static __attribute__((noinline))
#else
#define NEVER_INLINE static __attribute__((noinline, noclone))
#endif

#ifndef FIRST /* no masks: lane by lane */
ALWAYS_INLINE __attribute__((unused)) vec load_first(const real *p, int n) {
    vec v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
}
ALWAYS_INLINE __attribute__((unused)) void store_first(real *p, vec v, int n) {
    for (int i = 0; i < n; i++) p[i] = v[i];
}
#endif

ALWAYS_INLINE ptrdiff_t min_size(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

ALWAYS_INLINE ptrdiff_t padded(ptrdiff_t n) { return (n + PAD - 1) / PAD * PAD; }

#endif
