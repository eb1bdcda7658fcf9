/* The kernels that instruction sets may share: of steps other than dense, and of second order. */
#include "shaping.inc.h"

#include "pairs.inc.h"

#include "random.inc.h"

#include "norm.inc.h"

#include "layers.inc.h"

#include "second.inc.h"

#include "along.inc.h"

const nnc_other_kernels NNC_OTHER = {
    .dropout = dropout,
    .noise = noise,
    .batch_moments = batch_moments,
    .batch_scale = batch_scale,
    .batch_running = batch_running,
    .batch_norm = batch_norm,
    .batch_norm_slope = batch_norm_slope,
    .batch_norm_sums = batch_norm_sums,
    .layer_norm = layer_norm,
    .layer_norm_slope = layer_norm_slope,
    .layer_norm_sums = layer_norm_sums,
    .prelu = prelu,
    .prelu_slope = prelu_slope,
    .prelu_sums = prelu_sums,
    .prelu_total = prelu_total,
    .embed = embed,
    .embed_slope = embed_slope,
    .embed_sums = embed_sums,
    .add = add,
    .fill = fill,
    .scaling = scaling,
    .shape = shape,
    .decay = decay,
    .norms = norms,
    .limit_columns = limit_columns,
    .average = average,
    .dot = dot,
    .two_loops = two_loops,
#define NNC_ACT(name, keeps, names, defaults, f, slope, df, d2f) \
    .act_df[NNC_ACT_##name] = act_df_##name, .act_d2f[NNC_ACT_##name] = act_d2f_##name,
#include "../tables/activations.def"
#undef NNC_ACT
#define NNC_LOSS(name, output, mean, hyper, defaults, value, slope, curve) \
    .loss_curve[NNC_LOSS_##name] = curve_##name,
#define NNC_ROW_LOSS(name, output, mean, per_target, hyper, defaults) \
    .loss_curve[NNC_LOSS_##name] = curve_##name,
#include "../tables/losses.def"
#undef NNC_LOSS
#undef NNC_ROW_LOSS
    .slope_along = slope_along,
    .softmax_along = softmax_along,
    .log_softmax_change = log_softmax_change,
    .log_softmax_along = log_softmax_along,
    .batch_norm_along = batch_norm_along,
    .batch_norm_slope_along = batch_norm_slope_along,
    .batch_norm_sums_along = batch_norm_sums_along,
    .layer_norm_along = layer_norm_along,
    .layer_norm_slope_along = layer_norm_slope_along,
    .layer_norm_sums_along = layer_norm_sums_along,
    .prelu_along = prelu_along,
    .prelu_slope_along = prelu_slope_along,
    .prelu_sums_along = prelu_sums_along,
    .prelu_total_along = prelu_total_along,
};
