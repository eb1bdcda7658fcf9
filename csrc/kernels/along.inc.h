/* The kernels of norm.inc.h and layers.inc.h once more, with R = d/dt at t = 0 before them, when
 * the parameters move along w + t vw, b + t vb and the input along x + t rx: each line is the
 * product rule. Where there is no rx, x stands still. */

/* Row i of rx, and what it is to be multiplied by. */
#define R_X \
    const real *rx = g->rx ? (const real *)g->rx + i * g->ldrx : x; \
    const real moves = g->rx ? R(1) : R(0);

/* y = R of the outputs */
static void prelu_along(const nnc_layer_args *g) {
    const real *w = g->w, *v = g->vw;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        real *ry = (real *)g->y + i * g->ldy;
        R_X IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) {
            const real r = moves * rx[j];
            ry[j] = x[j] > R(0) ? r : FMA(w[j], r, v[j] * x[j]);
        }
    }
}

/* rdx = R of dx */
static void prelu_slope_along(const nnc_layer_args *g) {
    const real *w = g->w, *v = g->vw;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        const real *dy = (const real *)g->dy + i * g->lddy;
        const real *rdy = (const real *)g->rdy + i * g->lddy;
        real *rdx = (real *)g->rdx + i * g->lddx;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++)
            rdx[j] = x[j] > R(0) ? rdy[j] : FMA(w[j], rdy[j], v[j] * dy[j]);
    }
}

/* sums (+)= R of the gradient, in the order of SUM_COLUMNS; row i, column j */
#define SUM_ALONG(name, first, second) \
    static void name(const nnc_layer_args *g) { \
        const real *mean = g->mean, *rstd = g->rstd, *row_stats = g->row_stats; \
        (void)mean, (void)rstd, (void)row_stats; \
        for (ptrdiff_t j0 = 0; j0 < g->n; j0 += SUMMED) { \
            const ptrdiff_t end = min_size(g->n, j0 + SUMMED); \
            real *to = g->sums, part[SUMMED] = {0}; \
            for (ptrdiff_t i = 0; i < g->rows; i++) { \
                const real *x = (const real *)g->x + i * g->ldx; \
                const real *dy = (const real *)g->dy + i * g->lddy; \
                const real *rdy = (const real *)g->rdy + i * g->lddy; \
                const real *along = g->along ? (const real *)g->along + i * g->lddy : dy; \
                R_X(void) along, (void)rx, (void)moves; \
                for (ptrdiff_t j = j0; j < end; j++) \
                    part[j - j0] = FMA(rdy[j], first, FMA(dy[j], second, part[j - j0])); \
            } \
            for (ptrdiff_t j = j0; j < end; j++) \
                to[j] = g->accumulate ? to[j] + part[j - j0] : part[j - j0]; \
        } \
    }

SUM_ALONG(prelu_sums_along, (x[j] < R(0) ? x[j] : R(0)), (x[j] < R(0) ? moves * rx[j] : R(0)))
SUM_ALONG(batch_norm_sums_along, ((x[j] - mean[j]) * rstd[j]), (moves * rx[j] * rstd[j]))
SUM_ALONG(layer_norm_sums_along, ((x[j] - row_stats[2 * i]) * row_stats[2 * i + 1]), along[j])

static void prelu_total_along(const nnc_layer_args *g) {
    real *to = g->sums, part = 0;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        const real *dy = (const real *)g->dy + i * g->lddy;
        const real *rdy = (const real *)g->rdy + i * g->lddy;
        real sum;
        R_X SUM_ROW(sum, g->n, x[j] < R(0) ? FMA(rdy[j], x[j], dy[j] * (moves * rx[j])) : R(0));
        part += sum;
    }
    *to = g->accumulate ? *to + part : part;
}

/* With running statistics, which stand still. */
static void batch_norm_along(const nnc_layer_args *g) {
    const real *mean = g->mean, *rstd = g->rstd, *w = g->w, *vw = g->vw, *vb = g->vb;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        real *ry = (real *)g->y + i * g->ldy;
        R_X IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) {
            const real unit = (x[j] - mean[j]) * rstd[j];
            ry[j] = FMA(moves * rx[j] * rstd[j], w[j], FMA(unit, vw[j], vb[j]));
        }
    }
}

static void batch_norm_slope_along(const nnc_layer_args *g) {
    const real *rstd = g->rstd, *w = g->w, *vw = g->vw;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *dy = (const real *)g->dy + i * g->lddy;
        const real *rdy = (const real *)g->rdy + i * g->lddy;
        real *rdx = (real *)g->rdx + i * g->lddx;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) rdx[j] = rstd[j] * FMA(rdy[j], w[j], dy[j] * vw[j]);
    }
}

/* With u = (x - mean) rstd and q = mean(u rx): R rstd = -rstd^2 q, R u = rstd (rx - mean(rx) - u
 * q). R u stays in `along`, q in row_along. */
static void layer_norm_along(const nnc_layer_args *g) {
    const real *w = g->w, *vw = g->vw, *vb = g->vb, count = (real)g->n;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        const real mean = ((const real *)g->row_stats)[2 * i];
        const real rstd = ((const real *)g->row_stats)[2 * i + 1];
        real *ry = (real *)g->y + i * g->ldy, *along = (real *)g->along + i * g->lddy, mean_rx, q;
        R_X SUM_ROW(mean_rx, g->n, moves * rx[j]);
        SUM_ROW(q, g->n, (x[j] - mean) * rstd * (moves * rx[j]));
        mean_rx = mean_rx / count, q = q / count;
        ((real *)g->row_along)[i] = q;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) {
            const real unit = (x[j] - mean) * rstd;
            const real r_unit = rstd * FMA(-unit, q, moves * rx[j] - mean_rx);
            along[j] = r_unit;
            ry[j] = FMA(r_unit, w[j], FMA(unit, vw[j], vb[j]));
        }
    }
}

/* dx = rstd (g - mean(g) - u t) with g = dy w, t = mean(g u), is there already. */
static void layer_norm_slope_along(const nnc_layer_args *g) {
    const real *w = g->w, *vw = g->vw, count = (real)g->n;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        const real *dy = (const real *)g->dy + i * g->lddy;
        const real *rdy = (const real *)g->rdy + i * g->lddy;
        const real *dx = (const real *)g->dx + i * g->lddx;
        const real *along = (const real *)g->along + i * g->lddy;
        const real mean = ((const real *)g->row_stats)[2 * i];
        const real rstd = ((const real *)g->row_stats)[2 * i + 1];
        const real q = ((const real *)g->row_along)[i];
        real *rdx = (real *)g->rdx + i * g->lddx, t, rs, rt;
        SUM_ROW(t, g->n, dy[j] * w[j] * ((x[j] - mean) * rstd));
        SUM_ROW(rs, g->n, FMA(rdy[j], w[j], dy[j] * vw[j]));
        SUM_ROW(
            rt, g->n,
            FMA(FMA(rdy[j], w[j], dy[j] * vw[j]), (x[j] - mean) * rstd, dy[j] * w[j] * along[j]));
        t = t / count, rs = rs / count, rt = rt / count;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) {
            const real unit = (x[j] - mean) * rstd, rg = FMA(rdy[j], w[j], dy[j] * vw[j]);
            const real inner = FMA(-unit, rt, FMA(-along[j], t, rg - rs));
            rdx[j] = rstd * FMA(-q, dx[j], inner);
        }
    }
}
