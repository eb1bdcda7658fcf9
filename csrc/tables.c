/* The rows of tables/ as data, for whoever describes networks; and the per-step coefficients of
 * the update rules. */
#include <math.h>

#include "nnc.h"

const nnc_act_info nnc_acts[NNC_N_ACTS] = {
#define NNC_ACT(name, keeps, f, slope, a, df, d2f) {#name, NNC_KEEPS_##keeps, a},
#include "tables/activations.def"
#undef NNC_ACT
};

const nnc_loss_info nnc_losses[NNC_N_LOSSES] = {
#define NNC_LOSS(name, output, mean, value, slope, curve) \
    {#name, NNC_OUTPUT_##output, NNC_MEAN_##mean},
#include "tables/losses.def"
#undef NNC_LOSS
    [NNC_LOSS_cross_entropy] = {"cross_entropy", NNC_OUTPUT_softmax, NNC_MEAN_ROWS},
};

const char *const nnc_step_names[NNC_N_STEPS] = {
#define NNC_STEP(name) #name,
#include "tables/steps.def"
#undef NNC_STEP
};

#define NNC_LIST(...) {__VA_ARGS__}

const nnc_opt_info nnc_opts[NNC_N_OPTS] = {
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    {#name, vectors, hyper, (int)(sizeof((double[])defaults) / sizeof(double)), defaults},
#include "tables/optimizers.def"
#undef NNC_OPT
};

void nnc_opt_coefficients(nnc_opt opt, const double *h, int64_t t, double *c) {
    (void)t;
    for (int i = 0; i < NNC_MAX_COEF; i++) c[i] = 0;
    switch (opt) {
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    case NNC_OPT_##name: coefficients; break;
#include "tables/optimizers.def"
#undef NNC_OPT
    default: break;
    }
}
