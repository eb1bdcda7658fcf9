/* Every kernel for one instruction set and one type, and the table that exports them. */
#include "real.h"

static const nnc_kernels kernels; /* at the end of this file; the GEMM's epilogue looks into it */

#include "../vmath.h"

/* Tiles and the kernels of small networks are compiled for speed, all else for size as far as it
 * takes no speed. A build that defines both as nothing compiles all as its flags say. */
#ifndef HOT_CODE
#define HOT_CODE
#define OTHER_CODE
#endif

OTHER_CODE

#include "curves.inc.h"

#include "elementwise.inc.h"

#include "transpose.inc.h"

#include "reduce.inc.h"

#include "softmax.inc.h"

#include "entropy.inc.h"

#include "loss.inc.h"

#include "derive.inc.h"

#include "optim.inc.h"

/* AVX-512 takes those of AVX2, which have the same bits. */
extern const nnc_other_kernels NNC_OTHER;
#ifndef NNC_OTHER_IS_SHARED
#include "other.inc.h"
#endif

HOT_CODE
#include "gemm.inc.h"

HOT_CODE
#include "few.inc.h"

#include "row.inc.h"

/* Multiply-adds on registers alone, in as many chains as the GEMM's tile has: the peak that its
 * speed is compared with. */
static double fma_probe(ptrdiff_t iterations, void *sink) {
    enum { CHAINS = TILE_ROWS * TILE_VECS };
    vec acc[CHAINS], x = VSPLAT(R(0.999)), y = VSPLAT(R(0.001));
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = VSPLAT((real)i);
    for (ptrdiff_t it = 0; it < iterations; it++)
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = VFMA(acc[i], x, y);
    for (int i = 1; i < CHAINS; i++) acc[0] += acc[i];
    VSTORE((real *)sink, acc[0]);
    return 2.0 * LANES * CHAINS * (double)iterations;
}

static const nnc_kernels kernels = {
    .isa = ISA_NAME,
    .dtype = REAL_DTYPE,
    .size = sizeof(real),
    .gemm_work = sizeof(real) * ((size_t)NNC_BLOCK * GROUP * SLIVER + PACKED_B +
                                  TILE_ROWS * BLOCK_COLS),
    .gemm_rows_work = sizeof(real) * NNC_BLOCK * KEPT_PANELS * SLIVER,
    .lanes = LANES,
    .tile_rows = TILE_ROWS,
    .tile_cols = TILE_COLS,
    .gemm = gemm,
#define ENTRIES_NNC_KEEPS_NONE(name) .act_slope[NNC_ACT_##name] = act_slope_##name,
#define ENTRIES_NNC_KEEPS_Y(name) .act_slope[NNC_ACT_##name] = act_slope_##name,
#define ENTRIES_NNC_KEEPS_X(name) \
    .act_keep[NNC_ACT_##name] = act_keep_##name, .act_slope[NNC_ACT_##name] = act_slope_kept,
#define NNC_ACT(name, keeps, names, defaults, f, slope, df, d2f) \
    .act[NNC_ACT_##name] = act_##name, ENTRIES_NNC_KEEPS_##keeps(name)
#include "../tables/activations.def"
#undef NNC_ACT
    .softmax = softmax,
    .softmax_slope = softmax_slope,
    .log_softmax = log_softmax,
    .log_softmax_slope = log_softmax_slope,
#define NNC_LOSS(name, output, mean, hyper, defaults, value, slope, curve) \
    .loss[NNC_LOSS_##name] = loss_##name,
#define NNC_ROW_LOSS(name, output, mean, per_target, hyper, defaults) \
    .loss[NNC_LOSS_##name] = loss_##name,
#include "../tables/losses.def"
#undef NNC_LOSS
#undef NNC_ROW_LOSS
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    .update[NNC_OPT_##name] = update_##name,
#include "../tables/optimizers.def"
#undef NNC_OPT
    .column_sums = column_sums,
    .gather = gather,
    .multiply = multiply,
    .outer = outer,
    .finite = all_finite,
    .point = point,
    .other = &NNC_OTHER,
    .row = row,
    .few = few,
    .fma_probe = fma_probe,
};

extern const nnc_kernels *const NNC_TABLE;
const nnc_kernels *const NNC_TABLE = &kernels;
