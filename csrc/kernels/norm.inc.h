/* Normalisation of columns (over the batch) and of rows (over the outputs of one), with the way
 * back of each. Ioffe and Szegedy 2015; Ba, Kiros and Hinton 2016. */

enum { SUMMED = 64 }; /* columns that are summed side by side */

/* sums[n] (+)= a sum over rows: `term` is the new `sum` from the old one and row i, column j.
 * Chains in blocks of NNC_BLOCK rows, which are added in order, as in column_sums. */
#define SUM_COLUMNS(name, term) \
    static void name(const nnc_layer_args *g) { \
        const real *mean = g->mean, *rstd = g->rstd, *row_stats = g->row_stats; \
        (void)mean, (void)rstd, (void)row_stats; \
        for (ptrdiff_t j0 = 0; j0 < g->n; j0 += SUMMED) { \
            const int n = (int)min_size(SUMMED, g->n - j0); \
            real *to = (real *)g->sums + j0; \
            for (ptrdiff_t i0 = 0; i0 == 0 || i0 < g->rows; i0 += NNC_BLOCK) { \
                real part[SUMMED] = {0}; \
                const ptrdiff_t end = min_size(g->rows, i0 + NNC_BLOCK); \
                for (ptrdiff_t i = i0; i < end; i++) { \
                    const real *xs = (const real *)g->x + i * g->ldx + j0; \
                    const real *dys = g->dy ? (const real *)g->dy + i * g->lddy + j0 : xs; \
                    for (int l = 0; l < n; l++) { \
                        const ptrdiff_t j = j0 + l; \
                        const real x = xs[l], dy = dys[l], sum = part[l]; \
                        (void)j, (void)dy; \
                        part[l] = term; \
                    } \
                } \
                for (int l = 0; l < n; l++) \
                    to[l] = g->accumulate || i0 > 0 ? to[l] + part[l] : part[l]; \
            } \
        } \
    }

SUM_COLUMNS(sum_inputs, sum + x)
SUM_COLUMNS(sum_squares, FMA(x - mean[j], x - mean[j], sum))
SUM_COLUMNS(batch_norm_sums, FMA(dy, (x - mean[j]) * rstd[j], sum))
SUM_COLUMNS(layer_norm_sums, FMA(dy, (x - row_stats[2 * i]) * row_stats[2 * i + 1], sum))

/* ---- columns ---------------------------------------------------------------------------- */

static void batch_scale(const nnc_layer_args *g) {
    const real *var = g->var, eps = (real)g->a;
    real *rstd = g->rstd;
    for (ptrdiff_t j = 0; j < g->n; j++) rstd[j] = R(1) / SQRT(var[j] + eps);
}

/* Two passes, so that a large mean does not drown the variance. */
static void batch_moments(const nnc_layer_args *g) {
    nnc_layer_args sum = *g;
    const real count = (real)g->rows, unbiased = (real)(g->rows - 1);
    real *mean = g->mean, *var = g->var;
    sum.dy = NULL, sum.accumulate = 0;
    sum.sums = mean;
    sum_inputs(&sum);
    for (ptrdiff_t j = 0; j < g->n; j++) mean[j] = mean[j] / count;
    sum.sums = var;
    sum_squares(&sum);
    for (ptrdiff_t j = 0; j < g->n; j++) var[j] = var[j] / count;
    batch_scale(g);
    for (ptrdiff_t j = 0; j < g->n; j++) var[j] = var[j] * (count / unbiased);
}

/* What decays for ever must not end in denormal numbers. */
static void batch_running(const nnc_layer_args *g) {
    const real a = (real)g->a, *x = g->x;
    real *to = g->dx;
    IVDEP
    for (ptrdiff_t j = 0; j < g->n; j++) to[j] = settle(FMA(a, x[j] - to[j], to[j]));
}

static void batch_norm(const nnc_layer_args *g) {
    const real *mean = g->mean, *rstd = g->rstd, *w = g->w, *b = g->b;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        real *y = (real *)g->y + i * g->ldy;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) y[j] = FMA((x[j] - mean[j]) * rstd[j], w[j], b[j]);
    }
}

static void batch_norm_slope(const nnc_layer_args *g) {
    const real *mean = g->mean, *rstd = g->rstd, *w = g->w, *s = g->sums, *s_dy = g->dy_sums;
    const real a = (real)g->a;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        const real *dy = (const real *)g->dy + i * g->lddy;
        real *dx = (real *)g->dx + i * g->lddx;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) {
            const real unit = (x[j] - mean[j]) * rstd[j];
            dx[j] = w[j] * rstd[j] * FMA(-unit, a * s[j], FMA(-a, s_dy[j], dy[j]));
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------- */

/* The sum over j < n of `term`, in PAD interleaved partial sums that are folded. */
#define SUM_ROW(result, n, term) \
    do { \
        real part_[PAD] = {0}; \
        ptrdiff_t j0_ = 0; \
        for (; j0_ + PAD <= (n); j0_ += PAD) \
            for (int l_ = 0; l_ < PAD; l_++) { \
                const ptrdiff_t j = j0_ + l_; \
                part_[l_] += term; \
            } \
        for (int l_ = 0; j0_ + l_ < (n); l_++) { \
            const ptrdiff_t j = j0_ + l_; \
            part_[l_] += term; \
        } \
        result = fold(part_); \
    } while (0)

static void layer_norm(const nnc_layer_args *g) {
    const real *w = g->w, *b = g->b, count = (real)g->n;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        real *y = (real *)g->y + i * g->ldy, *stats = (real *)g->row_stats + 2 * i;
        real mean, var;
        SUM_ROW(mean, g->n, x[j]);
        mean = mean / count;
        SUM_ROW(var, g->n, (x[j] - mean) * (x[j] - mean));
        const real rstd = R(1) / SQRT(var / count + (real)g->a);
        stats[0] = mean, stats[1] = rstd;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) y[j] = FMA((x[j] - mean) * rstd, w[j], b[j]);
    }
}

static void layer_norm_slope(const nnc_layer_args *g) {
    const real *w = g->w, count = (real)g->n;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        const real *dy = (const real *)g->dy + i * g->lddy;
        const real mean = ((const real *)g->row_stats)[2 * i];
        const real rstd = ((const real *)g->row_stats)[2 * i + 1];
        real *dx = (real *)g->dx + i * g->lddx, s, s_unit;
        SUM_ROW(s, g->n, dy[j] * w[j]);
        SUM_ROW(s_unit, g->n, dy[j] * w[j] * ((x[j] - mean) * rstd));
        s = s / count, s_unit = s_unit / count;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++)
            dx[j] = rstd * FMA(-((x[j] - mean) * rstd), s_unit, FMA(dy[j], w[j], -s));
    }
}
