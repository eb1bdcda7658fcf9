#include "oracle.h"

#include <math.h>
#include <stdlib.h>

/* ---- the rows of the tables, in `wide` ---------------------------------------------------- */

typedef wide real;
#define R(x) ((wide)(x))
#define FMA(a, b, c) W(fma)(a, b, c)
#define SQRT(x) W(sqrt)(x)
#define FABS(x) W(fabs)(x)
#define v_exp(x) W(exp)(x)
#define v_expm1(x) W(expm1)(x)
#define v_log1p(x) W(log1p)(x)
#define v_tanh(x) W(tanh)(x)

static inline wide v_sigmoid(wide x) {
    const wide e = W(exp)(-W(fabs)(x));
    return (x < 0 ? e : 1) / (1 + e);
}
static inline wide v_softplus(wide x) { return (x > 0 ? x : 0) + W(log1p)(W(exp)(-W(fabs)(x))); }
static inline wide v_softsign(wide x) { return x / (1 + W(fabs)(x)); }
static inline wide v_softsign_slope(wide x) { return 1 / ((1 + W(fabs)(x)) * (1 + W(fabs)(x))); }
static inline wide v_softsign_curve(wide x) {
    const wide r = 1 / (1 + W(fabs)(x));
    return x == 0 ? 0 : (x > 0 ? -2 : 2) * r * r * r;
}
/* In two factors, so that it does not underflow before its time where `wide` is double. */
static inline wide v_silu(wide x) {
    const wide y = isinf(x) ? 1e6 : W(fabs)(x), h = W(exp)(-y / 2), m = y * h / (1 + h * h) * h;
    return x < 0 ? -m : x - m;
}
static inline wide v_silu_slope(wide x) {
    if (isinf(x)) return x > 0;
    return v_sigmoid(x) * (1 + x * v_sigmoid(-x));
}
static inline wide v_silu_curve(wide x) {
    if (isinf(x)) return 0;
    return v_sigmoid(x) * v_sigmoid(-x) * (2 - x * W(tanh)(x / 2));
}
#define VM_SELU_SCALE ((wide)1.0507009873554804934193349852946L)
#define VM_SELU_LEFT ((wide)1.7580993408473768599402175208123L)
static inline wide v_selu(wide x) { return x > 0 ? VM_SELU_SCALE * x : VM_SELU_LEFT * W(expm1)(x); }
static inline wide v_elliot(wide x) {
    const wide r = 1 / (1 + W(fabs)(x)) / 2;
    return x < 0 ? r : 1 - r;
}
static inline wide v_sigmoid_slope(wide x) { return v_sigmoid(x) * v_sigmoid(-x); }
static inline wide v_sech2(wide x) { return 1 / (W(cosh)(x) * W(cosh)(x)); }
static inline wide v_logistic_loss(wide z, wide t) { return v_softplus(z) - z * t; }

wide expected_act(int act, wide x, wide a) {
    (void)a;
    switch (act) {
#define NNC_ACT(name, keeps, f, slope, a_default, df, d2f) \
    case NNC_ACT_##name: return f;
#include "tables/activations.def"
#undef NNC_ACT
    default: abort();
    }
}

wide expected_slope(int act, wide x, wide y, wide a) {
    (void)a, (void)x, (void)y;
    switch (act) {
#define NNC_ACT(name, keeps, f, slope, a_default, df, d2f) \
    case NNC_ACT_##name: return slope;
#include "tables/activations.def"
#undef NNC_ACT
    default: abort();
    }
}

wide expected_derivative(int act, int order, wide x, wide a) {
    (void)a;
    switch (act) {
#define NNC_ACT(name, keeps, f, slope, a_default, df, d2f) \
    case NNC_ACT_##name: return order == 1 ? (wide)(df) : (wide)(d2f);
#include "tables/activations.def"
#undef NNC_ACT
    default: abort();
    }
}

wide expected_loss(int loss, wide y, wide t) {
    switch (loss) {
#define NNC_LOSS(name, output, mean, value, slope, curve) \
    case NNC_LOSS_##name: return value;
#include "tables/losses.def"
#undef NNC_LOSS
    default: abort();
    }
}

wide expected_loss_slope(int loss, wide y, wide t) {
    switch (loss) {
#define NNC_LOSS(name, output, mean, value, slope, curve) \
    case NNC_LOSS_##name: return slope;
#include "tables/losses.def"
#undef NNC_LOSS
    default: abort();
    }
}

wide expected_loss_curve(int loss, wide y, wide t) {
    (void)y, (void)t;
    switch (loss) {
#define NNC_LOSS(name, output, mean, value, slope, curve) \
    case NNC_LOSS_##name: return curve;
#include "tables/losses.def"
#undef NNC_LOSS
    default: abort();
    }
}

static wide settle_f32(wide s) { return W(fabs)(s) < FLT_MIN ? 0 : s; }
static wide settle_f64(wide s) { return W(fabs)(s) < DBL_MIN ? 0 : s; }

wide_parameter expected_update(int opt, nnc_dtype type, wide_parameter from, wide g,
                               const double *coef) {
    wide (*settle)(wide) = type == NNC_F32 ? settle_f32 : settle_f64;
    wide c[NNC_MAX_COEF], p = from.p, s0 = from.s[0], s1 = from.s[1];
    for (int i = 0; i < NNC_MAX_COEF; i++)
        c[i] = type == NNC_F32 ? (wide)(float)coef[i] : (wide)coef[i];
    const wide c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], c4 = c[4], c5 = c[5], c6 = c[6];
    (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6, (void)settle;
    switch (opt) {
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    case NNC_OPT_##name: rule; break;
#include "tables/optimizers.def"
#undef NNC_OPT
    default: abort();
    }
    from.p = p, from.s[0] = s0, from.s[1] = s1;
    return from;
}

/* ---- numbers with errors ------------------------------------------------------------------ */

/* s += a b: the error of the factors, and `roundings` of the product's. */
static void add_product(number *s, number a, number b, wide roundings) {
    const wide size = W(fabs)(a.v * b.v);
    s->v += a.v * b.v;
    s->e += W(fabs)(a.v) * b.e + a.e * W(fabs)(b.v) + a.e * b.e + roundings * size;
}

/* The roundings that a sum of n products in canonical order, and what is added to it, makes. */
static wide roundings(nnc_dtype type, ptrdiff_t n) {
    const ptrdiff_t chain = n < NNC_BLOCK ? n : NNC_BLOCK;
    return (wide)(chain + n / NNC_BLOCK + 3) * epsilon_of(type);
}

/* No activation here is steeper than this. */
#define STEEPEST 2

static number activated(nnc_dtype type, int act, number z, wide a) {
    const wide y = expected_act(act, z.v, a);
    return (number){y, STEEPEST * z.e + 4 * epsilon_of(type) * W(fabs)(y) + smallest_of(type)};
}

static number slope_of(nnc_dtype type, int act, number z, number y, wide a) {
    const wide s = expected_slope(act, z.v, y.v, a);
    const wide kept = z.e > y.e ? z.e : y.e;
    wide e = STEEPEST * kept + 4 * epsilon_of(type) * (W(fabs)(s) + 1);
    if (W(fabs)(z.v) <= z.e) e += 1; /* may be on the other side of a kink */
    return (number){s, e};
}

static number times(nnc_dtype type, number a, number b) {
    number product = {0, smallest_of(type)};
    add_product(&product, a, b, 2 * epsilon_of(type));
    return product;
}

/* ---- losses of one row -------------------------------------------------------------------- */

void expected_softmax(nnc_dtype type, ptrdiff_t n, const number *z, number *y) {
    wide top = z[0].v, sum = 0, worst = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        if (z[j].v > top) top = z[j].v;
        if (z[j].e > worst) worst = z[j].e;
    }
    for (ptrdiff_t j = 0; j < n; j++) sum += W(exp)(z[j].v - top);
    for (ptrdiff_t j = 0; j < n; j++) {
        const wide p = W(exp)(z[j].v - top) / sum;
        y[j].v = p;
        /* z - top is rounded, exp is, the sum is a tree; and all scores may be off by `worst` */
        y[j].e = p * (2 * worst + epsilon_of(type) * ((top - z[j].v) + (wide)n + 10)) +
                 4 * smallest_of(type);
    }
}

number expected_cross_entropy(nnc_dtype type, ptrdiff_t n, const number *z, const wide *t,
                              int64_t label, wide scale, number *dz) {
    const wide eps = epsilon_of(type);
    number value = {0, 0};
    wide top = z[0].v, sum = 0, worst = 0, weight = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        if (z[j].v > top) top = z[j].v;
        if (z[j].e > worst) worst = z[j].e;
        weight += t ? t[j] : j == label;
    }
    for (ptrdiff_t j = 0; j < n; j++) sum += W(exp)(z[j].v - top);
    expected_softmax(type, n, z, dz);
    for (ptrdiff_t j = 0; j < n; j++) {
        const wide tj = t ? t[j] : j == label, below = top - z[j].v;
        value.v += tj * (W(log)(sum) + below);
        value.e += W(fabs)(tj) * (2 * worst + eps * (4 * W(log)(sum) + 4 * below + (wide)n + 10));
        dz[j].e =
            W(fabs)(scale) * (weight * (dz[j].e + 6 * eps * dz[j].v) + 2 * eps * W(fabs)(tj)) +
            4 * smallest_of(type);
        dz[j].v = scale * (weight * dz[j].v - tj);
    }
    return value;
}

/* An elementwise loss: from y, or from raw scores where it is fused. */
static number elementwise_loss(nnc_dtype type, int loss, ptrdiff_t n, const number *y,
                               const wide *t, wide scale, number *dy) {
    const wide eps = epsilon_of(type);
    number value = {0, 0};
    for (ptrdiff_t j = 0; j < n; j++) {
        const wide v = expected_loss(loss, y[j].v, t[j]);
        const wide s = expected_loss_slope(loss, y[j].v, t[j]);
        const wide size = W(fabs)(y[j].v) + W(fabs)(t[j]) + 1;
        value.v += v;
        value.e += W(fabs)(s) * y[j].e + y[j].e * y[j].e +
                   4 * eps * (W(fabs)(v) + W(fabs)(y[j].v) * (1 + W(fabs)(t[j])) + 1);
        dy[j].v = scale * s;
        dy[j].e = scale * (2 * y[j].e + 4 * eps * (W(fabs)(s) + size)) + smallest_of(type);
    }
    return value;
}

/* ---- a network ---------------------------------------------------------------------------- */

typedef struct {
    number *z, *y, *d; /* of one row: before and after the activation, gradient of z */
} layer_row;

typedef struct {
    const nnc_plan *plan;
    nnc_dtype type;
    const void *theta;
    number *x;
    layer_row *rows;
} network;

static number parameter(const network *net, ptrdiff_t i) {
    return (number){get(net->type, net->theta, i), 0};
}

static network open_network(const nnc_plan *plan, const void *theta) {
    network net = {plan, plan->kernels->dtype, theta, NULL, NULL};
    net.x = zeroed((size_t)plan->steps[0].n_in, sizeof *net.x);
    net.rows = zeroed((size_t)plan->n_steps, sizeof *net.rows);
    for (int s = 0; s < plan->n_steps; s++) {
        const ptrdiff_t n = plan->steps[s].n_out;
        net.rows[s] =
            (layer_row){zeroed((size_t)n, sizeof(number)), zeroed((size_t)n, sizeof(number)),
                        zeroed((size_t)n, sizeof(number))};
    }
    return net;
}

static void close_network(network *net) {
    for (int s = 0; s < net->plan->n_steps; s++)
        free(net->rows[s].z), free(net->rows[s].y), free(net->rows[s].d);
    free(net->rows), free(net->x);
}

static void forward(network *net, const void *x) {
    const nnc_dtype type = net->type;
    for (ptrdiff_t i = 0; i < net->plan->steps[0].n_in; i++)
        net->x[i] = (number){get(type, x, i), 0};
    for (int s = 0; s < net->plan->n_steps; s++) {
        const nnc_step *step = &net->plan->steps[s];
        const number *in = s ? net->rows[s - 1].y : net->x;
        const layer_row *row = &net->rows[s];
        const wide r = roundings(type, step->n_in);
        for (ptrdiff_t j = 0; j < step->n_out; j++) {
            number z = {0, 0}, one = {1, 0};
            for (ptrdiff_t i = 0; i < step->n_in; i++)
                add_product(&z, in[i], parameter(net, step->w + i * step->n_out + j), r);
            if (step->b >= 0) add_product(&z, one, parameter(net, step->b + j), r);
            row->z[j] = z;
            if (step->act != NNC_ACT_softmax)
                row->y[j] = activated(type, step->act, z, step->act_a);
        }
        if (step->act == NNC_ACT_softmax) expected_softmax(type, step->n_out, row->z, row->y);
    }
}

/* From the gradient of the last y, in d, to that of the last z. */
static void through_output(network *net) {
    const nnc_dtype type = net->type;
    const nnc_step *step = &net->plan->steps[net->plan->n_steps - 1];
    const layer_row *row = &net->rows[net->plan->n_steps - 1];
    if (step->act == NNC_ACT_softmax) {
        number mean = {0, 0};
        const wide r = (wide)(step->n_out + 2) * epsilon_of(type);
        for (ptrdiff_t j = 0; j < step->n_out; j++) add_product(&mean, row->d[j], row->y[j], r);
        for (ptrdiff_t j = 0; j < step->n_out; j++) {
            const number d = row->d[j];
            const number difference = {d.v - mean.v,
                                       d.e + mean.e +
                                           2 * epsilon_of(type) * (W(fabs)(d.v) + W(fabs)(mean.v))};
            row->d[j] = times(type, row->y[j], difference);
        }
        return;
    }
    for (ptrdiff_t j = 0; j < step->n_out; j++)
        row->d[j] =
            times(type, row->d[j], slope_of(type, step->act, row->z[j], row->y[j], step->act_a));
}

/* Adds this row's part of the gradient. */
static void backward(network *net, number *gradient, ptrdiff_t all_rows) {
    const nnc_dtype type = net->type;
    const wide by_rows = roundings(type, all_rows);
    for (int s = net->plan->n_steps - 1; s >= 0; s--) {
        const nnc_step *step = &net->plan->steps[s];
        const number *in = s ? net->rows[s - 1].y : net->x, *d = net->rows[s].d;
        const number one = {1, 0};
        for (ptrdiff_t j = 0; j < step->n_out; j++) {
            for (ptrdiff_t i = 0; i < step->n_in; i++)
                add_product(&gradient[step->w + i * step->n_out + j], in[i], d[j], by_rows);
            if (step->b >= 0) add_product(&gradient[step->b + j], one, d[j], by_rows);
        }
        if (s == 0) return;
        const layer_row *below = &net->rows[s - 1];
        for (ptrdiff_t i = 0; i < step->n_in; i++) {
            number dx = {0, 0};
            for (ptrdiff_t j = 0; j < step->n_out; j++)
                add_product(&dx, d[j], parameter(net, step->w + i * step->n_out + j),
                            roundings(type, step->n_out));
            below->d[i] = times(
                type, dx, slope_of(type, step[-1].act, below->z[i], below->y[i], step[-1].act_a));
        }
    }
}

number expected_run(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                    number *gradient) {
    network net = open_network(plan, theta);
    const nnc_step *last = &plan->steps[plan->n_steps - 1];
    const layer_row *top = &net.rows[plan->n_steps - 1];
    const nnc_loss_info *info = &nnc_losses[plan->loss];
    const ptrdiff_t n = last->n_out;
    const wide count = (wide)samples->rows * (info->mean == NNC_MEAN_ROWS ? 1 : (wide)n);
    wide *t = zeroed((size_t)n, sizeof *t);
    number loss = {0, 0};
    for (ptrdiff_t i = 0; i < plan->n_params; i++) gradient[i] = (number){0, 0};
    for (ptrdiff_t i = 0; i < samples->rows; i++) {
        const ptrdiff_t row = samples->index ? (ptrdiff_t)samples->index[i] : i;
        forward(&net, at(net.type, samples->x, row * samples->ldx));
        for (ptrdiff_t j = 0; j < n && samples->t; j++)
            t[j] = get(net.type, samples->t, row * samples->ldt + j);
        number of_row;
        if (plan->loss == NNC_LOSS_cross_entropy)
            of_row = expected_cross_entropy(net.type, n, top->z, samples->t ? t : NULL,
                                            samples->labels ? samples->labels[row] : -1, 1 / count,
                                            top->d);
        else if (info->output != NNC_OUTPUT_ANY)
            of_row = elementwise_loss(net.type, plan->loss, n, top->z, t, 1 / count, top->d);
        else {
            of_row = elementwise_loss(net.type, plan->loss, n, top->y, t, 1 / count, top->d);
            through_output(&net);
        }
        loss.v += of_row.v / count, loss.e += of_row.e / count;
        backward(&net, gradient, samples->rows);
    }
    loss.e += W(fabs)(loss.v) * (wide)(samples->rows * n + 4) * (wide)DBL_EPSILON;
    free(t);
    close_network(&net);
    return loss;
}

void expected_predict(const nnc_plan *plan, const void *theta, const void *x, ptrdiff_t ldx,
                      ptrdiff_t rows, number *out) {
    network net = open_network(plan, theta);
    const layer_row *top = &net.rows[plan->n_steps - 1];
    const ptrdiff_t n = plan->steps[plan->n_steps - 1].n_out;
    for (ptrdiff_t i = 0; i < rows; i++) {
        forward(&net, at(net.type, x, i * ldx));
        for (ptrdiff_t j = 0; j < n; j++) out[i * n + j] = top->y[j];
    }
    close_network(&net);
}
