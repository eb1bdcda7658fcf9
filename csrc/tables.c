/* The rows of tables/ as data, for whoever describes networks; and the per-step coefficients of
 * the update rules. */
#include <math.h>

#include "nnc.h"

#define NNC_LIST(...) {__VA_ARGS__}

const nnc_act_info nnc_acts[NNC_N_ACTS] = {
#define NNC_ACT(name, keeps, names, defaults, f, slope, df, d2f) \
    {#name, NNC_KEEPS_##keeps, names, defaults},
#include "tables/activations.def"
#undef NNC_ACT
};

const nnc_loss_info nnc_losses[NNC_N_LOSSES] = {
#define NNC_LOSS(name, output, mean, hyper, defaults, value, slope, curve) \
    {#name, NNC_OUTPUT_##output, NNC_MEAN_##mean, 1, hyper, defaults},
#define NNC_ROW_LOSS(name, output, mean, per_target, hyper, defaults) \
    {#name, NNC_OUTPUT_##output, NNC_MEAN_##mean, per_target, hyper, defaults},
#include "tables/losses.def"
#undef NNC_LOSS
#undef NNC_ROW_LOSS
};

const char *const nnc_step_names[NNC_N_STEPS] = {
#define NNC_STEP(name) #name,
#include "tables/steps.def"
#undef NNC_STEP
};

const nnc_opt_info nnc_opts[NNC_N_OPTS] = {
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    {#name, vectors, hyper, (int)(sizeof((double[])defaults) / sizeof(double)), defaults},
#include "tables/optimizers.def"
#undef NNC_OPT
};

/* 1 - beta^t: 1 to the last digit once beta^t < exp(-t (1 - beta)) is far below it. */
static double one_minus_power(double beta, int64_t t) {
    return (double)t * (1 - beta) > 40 ? 1 : 1 - pow(beta, (double)t);
}

/* NAdam's momentum at step t, and the product of those of the steps 1 .. t (Dozat 2016). The
 * product is needed as 1 minus it, so it need not be told from zero once it is far below the last
 * digit. */
static double nadam_momentum(double beta, double decay, int64_t t) {
    return beta * (1 - 0.5 * pow(0.96, (double)t * decay));
}

static double nadam_product(double beta, double decay, int64_t t) {
    const double q = pow(0.96, decay);
    double product = 1, power = 1;
    for (int64_t i = 1; i <= t && product > 1e-20; i++) {
        power *= q;
        product *= beta * (1 - 0.5 * power);
    }
    return product;
}

/* RAdam's rectification times sqrt(1 - beta^t); 0 while the variance of the rate has no closed form
 * (Liu and others 2020, algorithm 2; 5 and not 4, as PyTorch has it). */
static double radam_rectification(double beta, int64_t t) {
    const double power = pow(beta, (double)t), most = 2 / (1 - beta) - 1;
    const double length = most - 2 * (double)t * power / (1 - power);
    if (length <= 5) return 0;
    return sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length) *
                (1 - power));
}

void nnc_opt_coefficients(nnc_opt opt, const double *h, int64_t t, double *c) {
    (void)t;
    for (int i = 0; i < NNC_MAX_COEF; i++) c[i] = 0;
    switch (opt) {
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    case NNC_OPT_##name: { \
        coefficients; \
        break; \
    }
#include "tables/optimizers.def"
#undef NNC_OPT
    default: break;
    }
}
