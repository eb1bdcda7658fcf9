/* Losses: value and gradient in one pass, from one definition. The driver owns the averaging: the
 * gradient is multiplied by `scale`, the value is a sum that the caller divides by the same
 * number.
 *
 * Values are added in double, in 8 interleaved partial sums by column, folded at the end. */

ALWAYS_INLINE double fold_double(double part[8]) {
    for (int half = 4; half > 0; half /= 2)
        for (int l = 0; l < half; l++) part[l] += part[l + half];
    return part[0];
}

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

/* ---- rows with weights ----------------------------------------------------------------------- */

static const void *loss_row(const void *at, ptrdiff_t ld, ptrdiff_t i) {
    return at == NULL ? NULL : (const real *)at + i * ld;
}

/* Each row as it would be alone; one of weight 0 is not looked at. */
static double weighted_rows(double (*loss)(const nnc_loss_args *), const nnc_loss_args *g) {
    double sum = 0;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        nnc_loss_args row = *g;
        row.rows = 1, row.weights = NULL;
        row.y = (real *)g->y + i * g->ldy;
        row.dy = (real *)g->dy + i * g->lddy;
        row.t = loss_row(g->t, g->ldt, i);
        row.labels = g->labels ? g->labels + i : NULL;
        row.scale = g->scale * g->weights[i];
        if (g->weights[i] > 0)
            sum += g->weights[i] * loss(&row);
        else
            for (ptrdiff_t j = 0; j < g->n; j++) ((real *)row.dy)[j] = 0;
    }
    return sum;
}

ALWAYS_INLINE real scale_of_row(const nnc_loss_args *g, ptrdiff_t i) {
    return (real)(g->weights ? g->scale * g->weights[i] : g->scale);
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

/* A single column lies in as many lines as there are rows: it is gathered, and is one sum, since
 * the other partial sums stay +0. */
static double loss_of_column(const nnc_loss_args *g, element_loss *elements) {
    const real *ys = g->y, *ts = g->t;
    real y[CHUNK], t[CHUNK], values[CHUNK], dy[CHUNK], *dys = g->dy;
    double sum = 0;
    for (ptrdiff_t i = 0; i < g->rows; i += CHUNK) {
        const ptrdiff_t size = min_size(CHUNK, g->rows - i);
        for (ptrdiff_t l = 0; l < size; l++)
            y[l] = ys[(i + l) * g->ldy], t[l] = ts[(i + l) * g->ldt];
        loss_of_chunk(g, elements, size, y, t, values, dy);
        for (ptrdiff_t l = 0; l < size; l++) sum += (double)values[l];
        for (ptrdiff_t l = 0; l < size; l++) dys[(i + l) * g->lddy] = dy[l];
    }
    return sum;
}

static double loss_of_elements(const nnc_loss_args *g, element_loss *elements) {
    real values[CHUNK];
    double part[8] = {0};
    if (g->n == 1 && g->rows > 1) return loss_of_column(g, elements);
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *ys = (const real *)g->y + i * g->ldy, *ts = (const real *)g->t + i * g->ldt;
        real *dys = (real *)g->dy + i * g->lddy;
        for (ptrdiff_t j = 0; j < g->n; j += CHUNK) {
            const ptrdiff_t size = min_size(CHUNK, g->n - j);
            ptrdiff_t l = 0;
            loss_of_chunk(g, elements, size, ys + j, ts + j, values, dys + j);
            for (; l + 8 <= size; l += 8)
                for (int lane = 0; lane < 8; lane++) part[lane] += (double)values[l + lane];
            for (int lane = 0; l + lane < size; lane++) part[lane] += (double)values[l + lane];
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
        return g->weights ? weighted_rows(loss_##name, g) : loss_of_elements(g, elements_##name); \
    }
#define NNC_ROW_LOSS(name, output, mean, per_target, hyper, defaults)
#include "../tables/losses.def"
#undef NNC_LOSS
#undef NNC_ROW_LOSS

/* ---- softmax and the losses of whole rows -----------------------------------------------------
 */

/* Partial results of one row, combined PAD columns at a time. */
#define EACH_LANE for (int l = 0; l < PAD; l++)

/* The largest of n, a multiple of PAD. */
ALWAYS_INLINE real max_of_row(ptrdiff_t n, const real *z) {
    real part[PAD];
    EACH_LANE part[l] = z[l];
    for (ptrdiff_t j = PAD; j < n; j += PAD)
        EACH_LANE part[l] = z[j + l] > part[l] ? z[j + l] : part[l];
    real top = part[0];
    EACH_LANE top = part[l] > top ? part[l] : top;
    return top;
}

/* e[j] = exp(z[j] - max z) for j < n, a multiple of PAD; returns their sum. A NaN in z makes the
 * sum NaN, whether or not the comparisons saw it. e may be z. */
ALWAYS_INLINE real exp_row(ptrdiff_t n, const real *z, real *e, real *max) {
    const real top = max_of_row(n, z);
    real part[PAD];
    *max = top;
    for (ptrdiff_t j = 0; j < n; j++) e[j] = v_exp(z[j] - top);
    EACH_LANE part[l] = e[l];
    for (ptrdiff_t j = PAD; j < n; j += PAD) EACH_LANE part[l] += e[j + l];
    return fold(part);
}

/* Makes a row whole PADs long with scores that add nothing. */
ALWAYS_INLINE void fill_row(real *z, ptrdiff_t n) {
    for (ptrdiff_t j = n; j < padded(n); j++) z[j] = -__builtin_inff();
}

/* Rows of few columns are worked on TEAM at a time, side by side: column j of them is e[j], and
 * what a row alone would do one by one is one instruction for all. The order of each sum is that of
 * exp_row. */
enum { TEAM = PAD, NARROW = 2 * PAD };

typedef struct {
    real e[NARROW * TEAM]; /* exp(z - max z) of column j and row l at [j * TEAM + l] */
    real max[TEAM], sum[TEAM];
} team;

static void exp_team(ptrdiff_t rows, ptrdiff_t n, const real *z, ptrdiff_t ldz, team *t) {
    real part[PAD * TEAM] = {0}, *e = t->e;
    transpose_panel(padded(n), rows, TEAM, z, ldz, e);
    for (int l = 0; l < TEAM; l++) t->max[l] = e[l];
    for (ptrdiff_t j = 1; j < n; j++)
        for (int l = 0; l < TEAM; l++) {
            const real x = e[j * TEAM + l];
            t->max[l] = x > t->max[l] ? x : t->max[l];
        }
    for (ptrdiff_t j = 0; j < n; j++)
        for (int l = 0; l < TEAM; l++) e[j * TEAM + l] -= t->max[l];
    for (ptrdiff_t x = 0; x < n * TEAM; x++) e[x] = v_exp(e[x]);
    for (ptrdiff_t x = 0; x < n * TEAM; x++) part[x % (PAD * TEAM)] += e[x];
    for (int half = PAD * TEAM / 2; half >= TEAM; half /= 2)
        for (int x = 0; x < half; x++) part[x] += part[x + half];
    for (int l = 0; l < TEAM; l++) t->sum[l] = part[l];
}

/* to[l, j] = e[j, l] */
static void put_team(ptrdiff_t rows, ptrdiff_t n, const team *t, real *to, ptrdiff_t ld) {
    real across[TEAM * NARROW];
    const ptrdiff_t width = padded(n);
    transpose_panel(TEAM, n, width, t->e, TEAM, across);
    for (ptrdiff_t l = 0; l < rows; l++)
        for (ptrdiff_t j = 0; j < n; j += LANES) {
            const vec v = VLOAD(across + l * width + j);
            if (n - j >= LANES)
                VSTORE(to + l * ld + j, v);
            else
                VSTORE_N(to + l * ld + j, v, (int)(n - j));
        }
}

/* z is an arena row: its padding is overwritten. y is exact: n columns are written. */
static void softmax(ptrdiff_t rows, ptrdiff_t n, void *z_, ptrdiff_t ldz, void *y, ptrdiff_t ldy) {
    ptrdiff_t i = 0;
    for (; n <= NARROW && i + 2 < rows; i += TEAM) {
        const ptrdiff_t size = min_size(TEAM, rows - i);
        team t;
        exp_team(size, n, (real *)z_ + i * ldz, ldz, &t);
        for (ptrdiff_t j = 0; j < n; j++)
            for (int l = 0; l < TEAM; l++) t.e[j * TEAM + l] /= t.sum[l];
        put_team(size, n, &t, (real *)y + i * ldy, ldy);
    }
    for (; i < rows; i++) {
        real *z = (real *)z_ + i * ldz, *to = (real *)y + i * ldy, max;
        fill_row(z, n);
        const real sum = exp_row(padded(n), z, z, &max);
        for (ptrdiff_t j = 0; j < n; j++) to[j] = z[j] / sum;
    }
}

/* sum_j x_j y_j */
ALWAYS_INLINE real dot_row(ptrdiff_t n, const real *x, const real *y) {
    real part[PAD];
    EACH_LANE part[l] = 0;
    ptrdiff_t j = 0;
    for (; j + PAD <= n; j += PAD) EACH_LANE part[l] = FMA(x[j + l], y[j + l], part[l]);
    for (int l = 0; j + l < n; l++) part[l] = FMA(x[j + l], y[j + l], part[l]);
    return fold(part);
}

/* The whole Jacobian: dz = y * (dy - sum_j dy_j y_j). */
static void softmax_slope(ptrdiff_t rows, ptrdiff_t n, const void *y_, ptrdiff_t ldy,
                          const void *dy_, ptrdiff_t lddy, void *dz_, ptrdiff_t lddz) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *y = (const real *)y_ + i * ldy, *dy = (const real *)dy_ + i * lddy;
        real *dz = (real *)dz_ + i * lddz;
        const real mean = dot_row(n, dy, y);
        IVDEP
        for (ptrdiff_t j = 0; j < n; j++) dz[j] = y[j] * (dy[j] - mean);
    }
}

/* y = (z - max z) - log(sum exp(z - max z)): the logarithm of softmax, which does not leave the
 * scores, so it is finite where softmax is 0. z is an arena row: its padding is overwritten. */
static void log_softmax(ptrdiff_t rows, ptrdiff_t n, void *z_, ptrdiff_t ldz, void *y,
                        ptrdiff_t ldy) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        real *z = (real *)z_ + i * ldz, *to = (real *)y + i * ldy, part[PAD] = {0};
        fill_row(z, n);
        const real max = max_of_row(padded(n), z);
        for (ptrdiff_t j = 0; j < n; j += PAD) EACH_LANE part[l] += v_exp(z[j + l] - max);
        const real log_sum = v_log(fold(part));
        for (ptrdiff_t j = 0; j < n; j++) to[j] = (z[j] - max) - log_sum;
    }
}

/* The whole Jacobian: dz = dy - exp(y) sum_j dy_j. */
static void log_softmax_slope(ptrdiff_t rows, ptrdiff_t n, const void *y_, ptrdiff_t ldy,
                              const void *dy_, ptrdiff_t lddy, void *dz_, ptrdiff_t lddz) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *y = (const real *)y_ + i * ldy, *dy = (const real *)dy_ + i * lddy;
        real *dz = (real *)dz_ + i * lddz, part[PAD];
        EACH_LANE part[l] = 0;
        ptrdiff_t j = 0;
        for (; j + PAD <= n; j += PAD) EACH_LANE part[l] += dy[j + l];
        for (int l = 0; j + l < n; l++) part[l] += dy[j + l];
        const real sum = fold(part);
        IVDEP
        for (j = 0; j < n; j++) dz[j] = FMA(-v_exp(y[j]), sum, dy[j]);
    }
}

/* -sum_j t_j log softmax(z)_j = sum_j t_j (log sum_i exp(z_i - max) - (z_j - max)), and
 * dz = softmax(z) sum_j t_j - t. A label is the row t with a single 1. With label smoothing a, t
 * stands for (1 - a) t + a / n, as in PyTorch. The parts of a row: */

/* Its value, and the sum of its t. */
ALWAYS_INLINE double entropy_of_row(const nnc_loss_args *g, ptrdiff_t i, real max, real log_sum,
                                    real *weight) {
    const real *z = (const real *)g->y + i * g->ldy;
    double row = 0, total = 0, all = 0;
    if (g->t == NULL) {
        row = (double)(log_sum - (z[g->labels[i]] - max));
        total = 1;
    } else {
        const real *t = (const real *)g->t + i * g->ldt;
        for (ptrdiff_t j = 0; j < g->n; j++) {
            total += (double)t[j];
            if (t[j] != 0) row += (double)t[j] * (double)(log_sum - (z[j] - max)); /* not 0 inf */
        }
    }
    *weight = (real)total;
    if (g->a == 0) return row;
    for (ptrdiff_t j = 0; j < g->n; j++) all += (double)(log_sum - (z[j] - max));
    *weight = (real)((1 - g->a) * total + g->a);
    return (1 - g->a) * row + g->a / (double)g->n * all;
}

/* dz -= t, times scale. */
ALWAYS_INLINE void subtract_targets(const nnc_loss_args *g, ptrdiff_t i, real scale) {
    real *dz = (real *)g->dy + i * g->lddy;
    if (g->a != 0) {
        const real each = (real)(g->a / (double)g->n) * scale;
        for (ptrdiff_t j = 0; j < g->n; j++) dz[j] -= each;
        scale *= (real)(1 - g->a);
    }
    if (g->t == NULL) {
        dz[g->labels[i]] -= scale;
        return;
    }
    const real *t = (const real *)g->t + i * g->ldt;
    for (ptrdiff_t j = 0; j < g->n; j++) dz[j] = FMA(-scale, t[j], dz[j]);
}

static double loss_cross_entropy(const nnc_loss_args *g) {
    const ptrdiff_t n = g->n;
    const real scale = (real)g->scale;
    double value = 0;
    ptrdiff_t i = 0;
    if (g->weights) return weighted_rows(loss_cross_entropy, g);
    for (; n <= NARROW && i + 2 < g->rows; i += TEAM) {
        const ptrdiff_t size = min_size(TEAM, g->rows - i);
        real log_sum[TEAM], per[TEAM], weight[TEAM] = {0};
        team t;
        exp_team(size, n, (const real *)g->y + i * g->ldy, g->ldy, &t);
        for (int l = 0; l < TEAM; l++) log_sum[l] = v_log(t.sum[l]);
        for (ptrdiff_t l = 0; l < size; l++)
            value += entropy_of_row(g, i + l, t.max[l], log_sum[l], &weight[l]);
        for (int l = 0; l < TEAM; l++) per[l] = weight[l] * scale / t.sum[l];
        for (ptrdiff_t j = 0; j < n; j++)
            for (int l = 0; l < TEAM; l++) t.e[j * TEAM + l] *= per[l];
        put_team(size, n, &t, (real *)g->dy + i * g->lddy, g->lddy);
        for (ptrdiff_t l = 0; l < size; l++) subtract_targets(g, i + l, scale);
    }
    for (; i < g->rows; i++) {
        real *z = (real *)g->y + i * g->ldy, *dz = (real *)g->dy + i * g->lddy, max, weight;
        fill_row(z, n);
        const real sum = exp_row(padded(n), z, dz, &max);
        value += entropy_of_row(g, i, max, v_log(sum), &weight);
        const real per = weight * scale / sum;
        for (ptrdiff_t j = 0; j < padded(n); j++) dz[j] *= per;
        subtract_targets(g, i, scale);
    }
    return value;
}

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
