/* Losses: value and gradient in one pass, from one definition. The driver owns the averaging: the
 * gradient is multiplied by `scale`, the value is a sum that the caller divides by the same
 * number.
 *
 * Values are added in double, in 8 interleaved partial sums by column, folded at the end. */

/* ---- what the rows of losses.def are written in: d = y - t, z raw scores ------------------- */

ALWAYS_INLINE real v_positive(real x) { return x < R(0) ? R(0) : x; }
ALWAYS_INLINE real v_square(real x) { return x * x; }
ALWAYS_INLINE real v_clip(real d, real a) { return d > a ? a : d < -a ? -a : d; }

ALWAYS_INLINE real v_huber(real d, real delta) {
    const real size = FABS(d);
    return size > delta ? delta * (size - R(0.5) * delta) : R(0.5) * d * d;
}

ALWAYS_INLINE real v_smooth_l1(real d, real beta) {
    const real size = FABS(d);
    return size > beta ? size - R(0.5) * beta : R(0.5) * d * (d / beta);
}

/* log cosh d = log(1 + u^2 / (2 (1 + u))), u = exp(|d|) - 1: small where d is, without
 * cancellation. From 20 on cosh d is exp(|d|) / 2 to the last digit. */
ALWAYS_INLINE real v_log_cosh(real d) {
    const real size = FABS(d), near = size > R(20) ? R(20) : size, u = v_expm1(near);
    const real l = v_log1p(R(0.5) * u * (u / (R(1) + u)));
    return size > R(20) ? size - VM_LN2 : l;
}

/* The target moved towards 1/2. */
ALWAYS_INLINE real v_smoothed(real t, real smoothing) { return FMA(smoothing, R(0.5) - t, t); }

/* -w t log s(z) - (1 - t) log s(-z), s the sigmoid and w the weight of positive targets, without
 * leaving the scores: -log s(-z) is max(z, 0) + L and -log s(z) is max(-z, 0) + L, where
 * L = log(1 + exp(-|z|)). */
ALWAYS_INLINE real v_binary(real z, real t, real w) {
    const real line = FMA(-z, z < R(0) ? w * t : t, z < R(0) ? R(0) : z);
    return line + FMA(w - R(1), t, R(1)) * v_log1p(v_exp(-FABS(z)));
}
ALWAYS_INLINE real v_binary_slope(real z, real t, real w) {
    return FMA(FMA(w - R(1), t, R(1)), v_sigmoid(z), -(w * t));
}
ALWAYS_INLINE real v_binary_curve(real z, real t, real w) {
    return FMA(w - R(1), t, R(1)) * v_sigmoid_slope(z);
}

/* Lin et al. 2017: -c (1 - p)^gamma log p with p = s(x), where x = z for t = 1 and -z for t = 0;
 * and c alpha or 1 - alpha, or 1 for a negative alpha. (1 - p)^gamma is exp(-gamma softplus(x)). */
ALWAYS_INLINE real v_focal_scale(real x, real t, real gamma, real alpha) {
    const real c = alpha < R(0) ? R(1) : FMA(t, R(2) * alpha - R(1), R(1) - alpha);
    return c * v_exp(-gamma * v_softplus(x));
}
ALWAYS_INLINE real v_focal(real z, real t, real gamma, real alpha) {
    const real x = FMA(R(2), t, R(-1)) * z;
    return v_focal_scale(x, t, gamma, alpha) * v_softplus(-x);
}
ALWAYS_INLINE real v_focal_slope(real z, real t, real gamma, real alpha) {
    const real sign = FMA(R(2), t, R(-1)), x = sign * z;
    const real steep = FMA(gamma * v_sigmoid(x), v_softplus(-x), v_sigmoid(-x));
    return v_focal_scale(x, t, gamma, alpha) * steep * (R(0) - sign);
}
ALWAYS_INLINE real v_focal_curve(real z, real t, real gamma, real alpha) {
    const real sign = FMA(R(2), t, R(-1)), x = sign * z;
    const real p = v_sigmoid(x), q = v_sigmoid(-x), l = v_softplus(-x);
    const real bend = FMA(gamma * gamma * p, l, q * FMA(gamma, R(2) - l, R(1)));
    return v_focal_scale(x, t, gamma, alpha) * p * bend * (sign * sign);
}

/* ---- elementwise losses ---------------------------------------------------------------------- */

#define PARAMETERS_OF(g) \
    const real a = (real)g->a, b = (real)g->b; \
    (void)a, (void)b;

/* Values and gradient of n elements, a multiple of LANES. */
typedef void element_loss(ptrdiff_t n, const real *ys, const real *ts, real scale, real a, real b,
                          real *values, real *dys);

enum { CHUNK = 64 }; /* elements whose values wait to be added, whole vectors of them */

/* At most CHUNK elements. The end is copied to vectors of its own, so it takes the same
 * instructions. */
ALWAYS_INLINE void loss_of_chunk(const nnc_loss_args *g, element_loss *elements, ptrdiff_t n,
                                 const real *ys, const real *ts, real *values, real *dys) {
    const real scale = (real)g->scale, a = (real)g->a, b = (real)g->b;
    const ptrdiff_t whole = n & -LANES;
    const int rest = (int)(n - whole);
    if (whole) elements(whole, ys, ts, scale, a, b, values, dys);
    if (rest) {
        real y[LANES], t[LANES], dy[LANES];
        VSTORE(y, VLOAD_N(ys + whole, rest));
        VSTORE(t, VLOAD_N(ts + whole, rest));
        elements(LANES, y, t, scale, a, b, values + whole, dy);
        VSTORE_N(dys + whole, VLOAD(dy), rest);
    }
}

/* Few columns would fill a part of each vector: so many rows as there is room for are taken at
 * once, where they lie side by side, or where a single column is put there. */
static double loss_of_narrow(const nnc_loss_args *g, element_loss *elements, int apart) {
    real side_y[CHUNK], side_t[CHUNK], side_dy[CHUNK], values[CHUNK];
    const ptrdiff_t n = g->n, most_rows = CHUNK / n;
    const double most = most_of(g);
    double part[8] = {0};
    for (ptrdiff_t i = 0; i < g->rows; i += most_rows) {
        const ptrdiff_t rows = min_size(most_rows, g->rows - i);
        const real *ys = (const real *)g->y + i * g->ldy, *ts = (const real *)g->t + i * g->ldt;
        real *dys = (real *)g->dy + i * g->lddy;
        for (ptrdiff_t l = 0; apart && l < rows; l++)
            side_y[l] = ys[l * g->ldy], side_t[l] = ts[l * g->ldt];
        loss_of_chunk(g, elements, rows * n, apart ? side_y : ys, apart ? side_t : ts, values,
                      apart ? side_dy : dys);
        const real *value = values;
        for (ptrdiff_t l = 0; l < rows; l++)
            for (ptrdiff_t j = 0; j < n; j++) part[j] += counted((double)*value++, most);
        for (ptrdiff_t l = 0; apart && l < rows; l++) dys[l * g->lddy] = side_dy[l];
    }
    return fold_double(part);
}

static double loss_of_elements(const nnc_loss_args *g, element_loss *elements) {
    real values[CHUNK];
    const double most = most_of(g);
    double part[8] = {0};
    const int apart = g->ldy != g->n || g->ldt != g->n || g->lddy != g->n;
    if (g->n == 1 || (g->n < 8 && !apart)) return loss_of_narrow(g, elements, apart);
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *ys = (const real *)g->y + i * g->ldy, *ts = (const real *)g->t + i * g->ldt;
        real *dys = (real *)g->dy + i * g->lddy;
        for (ptrdiff_t j = 0; j < g->n; j += CHUNK) {
            const ptrdiff_t size = min_size(CHUNK, g->n - j);
            ptrdiff_t l = 0;
            loss_of_chunk(g, elements, size, ys + j, ts + j, values, dys + j);
            for (; l + 8 <= size; l += 8)
                for (int lane = 0; lane < 8; lane++)
                    part[lane] += counted((double)values[l + lane], most);
            for (int lane = 0; l + lane < size; lane++)
                part[lane] += counted((double)values[l + lane], most);
        }
    }
    return fold_double(part);
}

#define NNC_LOSS(name, output, mean, hyper, defaults, value, slope, curve) \
    static void elements_##name(ptrdiff_t n, const real *ys, const real *ts, real scale, real a, \
                                real b, real *values, real *dys) { \
        (void)a, (void)b; \
        IVDEP \
        for (ptrdiff_t j = 0; j < (n & -LANES); j++) { \
            const real y = ys[j], t = ts[j]; \
            values[j] = value; \
            dys[j] = (slope) * scale; \
        } \
    } \
    static double loss_##name(const nnc_loss_args *g) { \
        return g->weights || g->masked ? weighted_rows(loss_##name, g) \
                                       : loss_of_elements(g, elements_##name); \
    }
#define NNC_ROW_LOSS(name, output, mean, per_target, hyper, defaults)
#include "../tables/losses.def"
#undef NNC_LOSS
#undef NNC_ROW_LOSS

/* ---- other losses of whole rows ---------------------------------------------------------------
 */

/* sum_j t_j (log t_j - log softmax(z)_j), 0 log 0 = 0: the cross-entropy without the entropy of t,
 * and so with its gradient. */
static double loss_kl_divergence(const nnc_loss_args *g) {
    if (g->weights) return weighted_rows(loss_kl_divergence, g);
    double value = loss_cross_entropy(g);
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *t = (const real *)g->t + i * g->ldt;
        for (ptrdiff_t j = 0; j < g->n; j++)
            if (t[j] != 0) value += (double)t[j] * (double)v_log(t[j]);
    }
    return value;
}

/* Of n / 2 targets: y holds their means m and behind them the logarithms v of their variances.
 * 1/2 (v + (m - t)^2 exp(-v)); Nix and Weigend 1994. */
static double loss_gaussian_nll(const nnc_loss_args *g) {
    const ptrdiff_t n = g->n / 2;
    const real scale = (real)g->scale;
    double part[8] = {0};
    if (g->weights) return weighted_rows(loss_gaussian_nll, g);
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *m = (const real *)g->y + i * g->ldy, *v = m + n,
                   *t = (const real *)g->t + i * g->ldt;
        real *dm = (real *)g->dy + i * g->lddy, *dv = dm + n;
        for (ptrdiff_t j = 0; j < n; j++) {
            const real d = m[j] - t[j], slope = d * v_exp(-v[j]);
            dm[j] = slope * scale;
            dv[j] = R(0.5) * FMA(-d, slope, R(1)) * scale;
            part[j % 8] += (double)(R(0.5) * FMA(d, slope, v[j]));
        }
    }
    return fold_double(part);
}
