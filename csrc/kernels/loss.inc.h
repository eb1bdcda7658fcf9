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

/* -t log s(z) - (1 - t) log(1 - s(z)), s the sigmoid, without leaving the scores z. */
ALWAYS_INLINE real v_logistic_loss(real z, real t) {
    return FMA(-z, t, z < R(0) ? R(0) : z) + v_log1p(v_exp(-FABS(z)));
}

/* A single column is a sum in one register: the other partial sums stay +0. */
#define NNC_LOSS(name, output, mean, value, slope, curve) \
    static double loss_column_##name(const nnc_loss_args *g) { \
        const real scale = (real)g->scale, *ys = g->y, *ts = g->t; \
        real *dys = g->dy; \
        double sum = 0; \
        for (ptrdiff_t i = 0; i < g->rows; i++) { \
            const real y = ys[i * g->ldy], t = ts[i * g->ldt]; \
            sum += (double)(value); \
            dys[i * g->lddy] = (slope) * scale; \
        } \
        return sum; \
    } \
    static double loss_##name(const nnc_loss_args *g) { \
        const real scale = (real)g->scale; \
        double part[8] = {0}; \
        if (g->n == 1) return loss_column_##name(g); \
        for (ptrdiff_t i = 0; i < g->rows; i++) { \
            const real *ys = (const real *)g->y + i * g->ldy, \
                       *ts = (const real *)g->t + i * g->ldt; \
            ptrdiff_t j = 0; \
            for (; j + 8 <= g->n; j += 8) \
                for (int l = 0; l < 8; l++) { \
                    const real y = ys[j + l], t = ts[j + l]; \
                    part[l] += (double)(value); \
                } \
            for (int l = 0; j + l < g->n; l++) { \
                const real y = ys[j + l], t = ts[j + l]; \
                part[l] += (double)(value); \
            } \
            real *dys = (real *)g->dy + i * g->lddy; \
            IVDEP \
            for (j = 0; j < g->n; j++) { \
                const real y = ys[j], t = ts[j]; \
                dys[j] = (slope) * scale; \
            } \
        } \
        return fold_double(part); \
    } \
    static void curve_##name(const nnc_loss_args *g, const void *r, ptrdiff_t ldr) { \
        const real scale = (real)g->scale; \
        for (ptrdiff_t i = 0; i < g->rows; i++) { \
            const real *ys = (const real *)g->y + i * g->ldy, \
                       *ts = (const real *)g->t + i * g->ldt, *rs = (const real *)r + i * ldr; \
            real *dys = (real *)g->dy + i * g->lddy; \
            IVDEP \
            for (ptrdiff_t j = 0; j < g->n; j++) { \
                const real y = ys[j], t = ts[j]; \
                (void)y, (void)t; \
                dys[j] = (curve) * scale * rs[j]; \
            } \
        } \
    }
#include "../tables/losses.def"
#undef NNC_LOSS

/* Partial results of one row, combined PAD columns at a time. */
#define EACH_LANE for (int l = 0; l < PAD; l++)

/* e[j] = exp(z[j] - max z) for j < n, a multiple of PAD; returns their sum. A NaN in z makes the
 * sum NaN, whether or not the comparisons saw it. e may be z. */
ALWAYS_INLINE real exp_row(ptrdiff_t n, const real *z, real *e, real *max) {
    real part[PAD];
    EACH_LANE part[l] = z[l];
    for (ptrdiff_t j = PAD; j < n; j += PAD)
        EACH_LANE part[l] = z[j + l] > part[l] ? z[j + l] : part[l];
    real top = part[0];
    EACH_LANE top = part[l] > top ? part[l] : top;
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

/* -sum_j t_j log softmax(z)_j = sum_j t_j (log sum_i exp(z_i - max) - (z_j - max)), and
 * dz = softmax(z) sum_j t_j - t. A label is the row t with a single 1. The parts of a row: */

/* Its value, and the sum of its t. */
ALWAYS_INLINE double entropy_of_row(const nnc_loss_args *g, ptrdiff_t i, real max, real log_sum,
                                    real *weight) {
    const real *z = (const real *)g->y + i * g->ldy;
    *weight = R(1);
    if (g->t == NULL) return (double)(log_sum - (z[g->labels[i]] - max));
    const real *t = (const real *)g->t + i * g->ldt;
    double row = 0, total = 0;
    for (ptrdiff_t j = 0; j < g->n; j++) {
        total += (double)t[j];
        if (t[j] != 0) row += (double)t[j] * (double)(log_sum - (z[j] - max)); /* not 0 inf */
    }
    *weight = (real)total;
    return row;
}

/* dz -= t, times scale. */
ALWAYS_INLINE void subtract_targets(const nnc_loss_args *g, ptrdiff_t i, real scale) {
    real *dz = (real *)g->dy + i * g->lddy;
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

/* scale weight p_j (r_j - sum_k p_k r_k), p = softmax(z) and weight = sum_j t_j. */
static void curve_cross_entropy(const nnc_loss_args *g, const void *r_, ptrdiff_t ldr) {
    const ptrdiff_t n = g->n;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        real *z = (real *)g->y + i * g->ldy, *dz = (real *)g->dy + i * g->lddy, max, weight;
        const real *r = (const real *)r_ + i * ldr;
        fill_row(z, n);
        const real sum = exp_row(padded(n), z, dz, &max);
        entropy_of_row(g, i, max, R(0), &weight);
        const real mean = dot_row(n, dz, r) / sum, per = weight * (real)g->scale / sum;
        for (ptrdiff_t j = 0; j < n; j++) dz[j] = dz[j] * per * (r[j] - mean);
    }
}
