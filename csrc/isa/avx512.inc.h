/* AVX-512 F, BW, DQ and VL: 32 registers of 64 bytes, masks for the ends of rows.
 *
 * The target is set here, for this file's functions alone, and not by a compiler flag: so no flag
 * has to reach one object of many, and everything compiled is static but the table. */
#include "../nnc.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define ISA_NAME "avx512"
#define NNC_HAS_FMA 1
#define TILE_ROWS 12 /* 24 accumulators, 2 of B and 1 of A of 32 registers; 14 rows spill */
#define TILE_VECS 2
/* Half registers for the last few columns: some processors run 512 bits as two halves. */
#if NNC_REAL_IS_F32
#define LANES 16
#define VSPLAT(x) _mm512_set1_ps(x)
#define VFMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VLOAD_N(p, n) _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p)
#define VSTORE_N(p, v, n) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), v)
#define HALF_SPLAT(x) _mm256_set1_ps(x)
#define HALF_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define HALF_LOAD_N(p, n) _mm256_maskz_loadu_ps((__mmask8)((1u << (n)) - 1), p)
#define HALF_STORE_N(p, v, n) _mm256_mask_storeu_ps(p, (__mmask8)((1u << (n)) - 1), v)
#else
#define LANES 8
#define VSPLAT(x) _mm512_set1_pd(x)
#define VFMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#define VLOAD_N(p, n) _mm512_maskz_loadu_pd((__mmask8)((1u << (n)) - 1), p)
#define VSTORE_N(p, v, n) _mm512_mask_storeu_pd(p, (__mmask8)((1u << (n)) - 1), v)
#define HALF_SPLAT(x) _mm256_set1_pd(x)
#define HALF_FMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#define HALF_LOAD_N(p, n) _mm256_maskz_loadu_pd((__mmask8)((1u << (n)) - 1), p)
#define HALF_STORE_N(p, v, n) _mm256_mask_storeu_pd(p, (__mmask8)((1u << (n)) - 1), v)
#endif

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#ifndef HOT_CODE
#define HOT_CODE _Pragma("GCC optimize(\"O3\", \"no-split-loops\")")
#define OTHER_CODE \
    _Pragma("GCC optimize(\"O2\", \"tree-vectorize\", \"vect-cost-model=dynamic\")") \
        _Pragma("GCC optimize(\"no-schedule-insns2\", \"no-ivopts\", \"no-tree-pre\")") \
            _Pragma("GCC optimize(\"align-functions=1\", \"align-jumps=1\")")
#endif
#endif
#include "../kernels/all.inc.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
extern const nnc_kernels *const NNC_TABLE;
const nnc_kernels *const NNC_TABLE = NULL;
#endif
