/* AVX2 and FMA: 16 registers of 32 bytes. (Why the target is set here: avx512.inc.h.) */
#include "../nnc.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define ISA_NAME "avx2"
#define NNC_HAS_FMA 1
#define TILE_ROWS 6 /* 12 accumulators, 2 of B and 1 of A of 16 registers */
#define TILE_VECS 2
/* The mask of the first n lanes is read from a run of ones followed by zeros. */
#if NNC_REAL_IS_F32
#define LANES 8
static const int32_t lane_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
#define FIRST(n) _mm256_loadu_si256((const __m256i *)(const void *)(lane_mask + 8 - (n)))
#define VSPLAT(x) _mm256_set1_ps(x)
#define VFMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VLOAD_N(p, n) _mm256_maskload_ps(p, FIRST(n))
#define VSTORE_N(p, v, n) _mm256_maskstore_ps(p, FIRST(n), v)
#else
#define LANES 4
static const int64_t lane_mask[8] = {-1, -1, -1, -1};
#define FIRST(n) _mm256_loadu_si256((const __m256i *)(const void *)(lane_mask + 4 - (n)))
#define VSPLAT(x) _mm256_set1_pd(x)
#define VFMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#define VLOAD_N(p, n) _mm256_maskload_pd(p, FIRST(n))
#define VSTORE_N(p, v, n) _mm256_maskstore_pd(p, FIRST(n), v)
#endif

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
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
