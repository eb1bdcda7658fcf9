/* f', and what only derivatives of second order need: f'', the Hessian of a loss times a vector,
 * and the passes along a direction of the parameters (Pearlmutter 1994). Where R is the derivative
 * along it, rz stands for R z, and so on. */

/* y = f'(x), what becomes of a copy of x beside f. */
static void slope_alone(void (*keep)(ptrdiff_t, void *, void *, const double *), ptrdiff_t n,
                        const void *x, void *y, const double *parameters) {
    real unused[NNC_BLOCK];
    for (ptrdiff_t i = 0; i < n; i += NNC_BLOCK) {
        const ptrdiff_t size = min_size(NNC_BLOCK, n - i);
        __builtin_memmove((real *)y + i, (const real *)x + i, (size_t)size * sizeof(real));
        keep(size, (real *)y + i, unused, parameters);
    }
}

#define DF_NNC_KEEPS_NONE(name, df) OF_X(act_df_##name, df)
#define DF_NNC_KEEPS_Y(name, df) OF_X(act_df_##name, df)
#define DF_NNC_KEEPS_X(name, df) \
    static void act_df_##name(ptrdiff_t n, const void *x, void *y, const double *parameters) { \
        slope_alone(act_keep_##name, n, x, y, parameters); \
    }
#define NNC_ACT(name, keeps, names, defaults, f, slope, df, d2f) \
    DF_NNC_KEEPS_##keeps(name, df) OF_X(act_d2f_##name, d2f)
#include "../tables/activations.def"
#undef NNC_ACT

/* ---- losses: dy = scale H r ------------------------------------------------------------------ */

#define NNC_LOSS(name, output, mean, hyper, defaults, value, slope, curve) \
    static void curve_##name(const nnc_loss_args *g, const void *r, ptrdiff_t ldr) { \
        PARAMETERS_OF(g) \
        for (ptrdiff_t i = 0; i < g->rows; i++) { \
            const real scale = scale_of_row(g, i); \
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
#define NNC_ROW_LOSS(name, output, mean, per_target, hyper, defaults)
#include "../tables/losses.def"
#undef NNC_LOSS
#undef NNC_ROW_LOSS

/* scale weight p_j (r_j - sum_k p_k r_k), p = softmax(z) and weight = sum_j t_j. */
static void curve_cross_entropy(const nnc_loss_args *g, const void *r_, ptrdiff_t ldr) {
    const ptrdiff_t n = g->n;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        real *z = (real *)g->y + i * g->ldy, *dz = (real *)g->dy + i * g->lddy, max, weight;
        const real *r = (const real *)r_ + i * ldr;
        fill_row(z, n);
        const real sum = exp_row(padded(n), z, dz, &max);
        entropy_of_one(g, i, max, R(0), &weight);
        const real mean = dot_row(n, dz, r) / sum, per = weight * scale_of_row(g, i) / sum;
        for (ptrdiff_t j = 0; j < n; j++) dz[j] = dz[j] * per * (r[j] - mean);
    }
}

static void curve_kl_divergence(const nnc_loss_args *g, const void *r, ptrdiff_t ldr) {
    curve_cross_entropy(g, r, ldr);
}

static void curve_gaussian_nll(const nnc_loss_args *g, const void *r, ptrdiff_t ldr) {
    const ptrdiff_t n = g->n / 2;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *m = (const real *)g->y + i * g->ldy, *v = m + n,
                   *t = (const real *)g->t + i * g->ldt, *rm = (const real *)r + i * ldr,
                   *rv = rm + n;
        real *dm = (real *)g->dy + i * g->lddy, *dv = dm + n;
        const real scale = scale_of_row(g, i);
        for (ptrdiff_t j = 0; j < n; j++) {
            const real d = m[j] - t[j], e = v_exp(-v[j]), slope = d * e;
            dm[j] = FMA(e, rm[j], -slope * rv[j]) * scale;
            dv[j] = slope * FMA(R(0.5) * d, rv[j], -rm[j]) * scale;
        }
    }
}

/* ---- activations and softmax, along a direction ---------------------------------------------- */

/* dz = f' dy and rdz = f'' rz dy + f' rdy, in place of dy and rdy. */
static void slope_along(ptrdiff_t n, const void *df, const void *d2f, const void *rz, void *dy,
                        void *rdy) {
    const real *slope = df, *curve = d2f, *along = rz;
    real *dys = dy, *rdys = rdy;
    IVDEP
    for (ptrdiff_t i = 0; i < n; i++) {
        rdys[i] = FMA(slope[i], rdys[i], curve[i] * along[i] * dys[i]);
        dys[i] = slope[i] * dys[i];
    }
}

/* The same through y = softmax(z), with ry = R y: dz = y (dy - m) and
 * rdz = ry (dy - m) + y (rdy - R m), where m = sum_j dy_j y_j. All rows are `ld` apart. */
static void softmax_along(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const void *y_,
                          const void *ry_, void *dy_, void *rdy_) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *y = (const real *)y_ + i * ld, *ry = (const real *)ry_ + i * ld;
        real *dy = (real *)dy_ + i * ld, *rdy = (real *)rdy_ + i * ld;
        real mean = 0, along = 0;
        for (ptrdiff_t j = 0; j < n; j++) {
            mean = FMA(dy[j], y[j], mean);
            along = FMA(rdy[j], y[j], FMA(dy[j], ry[j], along));
        }
        IVDEP
        for (ptrdiff_t j = 0; j < n; j++) {
            rdy[j] = FMA(ry[j], dy[j] - mean, y[j] * (rdy[j] - along));
            dy[j] = y[j] * (dy[j] - mean);
        }
    }
}

/* R y of y = log_softmax(z): rz - m, where m = sum_j exp(y_j) rz_j. All rows are `ld` apart. */
static void log_softmax_change(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const void *y_,
                               const void *rz_, void *ry_) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *y = (const real *)y_ + i * ld, *rz = (const real *)rz_ + i * ld;
        real *ry = (real *)ry_ + i * ld, mean = 0;
        for (ptrdiff_t j = 0; j < n; j++) mean = FMA(v_exp(y[j]), rz[j], mean);
        for (ptrdiff_t j = 0; j < n; j++) ry[j] = rz[j] - mean;
    }
}

/* And, as softmax_along: dz = dy - p s and rdz = rdy - p (ry s + R s), p = exp(y), s = sum dy. */
static void log_softmax_along(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const void *y_,
                              const void *ry_, void *dy_, void *rdy_) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *y = (const real *)y_ + i * ld, *ry = (const real *)ry_ + i * ld;
        real *dy = (real *)dy_ + i * ld, *rdy = (real *)rdy_ + i * ld;
        real sum = 0, along = 0;
        for (ptrdiff_t j = 0; j < n; j++) sum += dy[j], along += rdy[j];
        IVDEP
        for (ptrdiff_t j = 0; j < n; j++) {
            const real p = v_exp(y[j]);
            rdy[j] = FMA(-p, FMA(ry[j], sum, along), rdy[j]);
            dy[j] = FMA(-p, sum, dy[j]);
        }
    }
}
