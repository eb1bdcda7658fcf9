/* What derivatives beyond the gradient add to the loops above: passes of second order, and the
 * gradient of one sample. Where R is the derivative along a direction of the parameters, rz stands
 * for R z, and so on (Pearlmutter 1994). */

/* out = x * y; in place ok */
static void multiply(ptrdiff_t n, const void *x, const void *y, void *out) {
    const real *xs = x, *ys = y;
    real *to = out;
    IVDEP
    for (ptrdiff_t i = 0; i < n; i++) to[i] = xs[i] * ys[i];
}

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

/* c[i, j] = x[i] y[j], m x n without a gap: what gemm makes of sums of one product. */
static void outer(ptrdiff_t m, ptrdiff_t n, const void *x_, const void *y_, void *c_) {
    const real *x = x_, *y = y_;
    real *c = c_;
    for (ptrdiff_t i = 0; i < m; i++, c += n) {
        const vec xi = VSPLAT(x[i]);
        ptrdiff_t j = 0;
        for (; j + LANES <= n; j += LANES) VSTORE(c + j, VFMA(xi, VLOAD(y + j), VZERO));
        if (j < n) {
            const int rest = (int)(n - j);
            VSTORE_N(c + j, VFMA(xi, (vec)VLOAD_N(y + j, rest), VZERO), rest);
        }
    }
}

/* Not fused, so that all instruction sets, and who works this out in NumPy, get the same. */
static void point(ptrdiff_t n, const double *restrict center, double a, const double *restrict u,
                  double b, const double *restrict v, void *restrict out) {
    real *restrict to = out;
    for (ptrdiff_t i = 0; i < n; i++) to[i] = (real)(center[i] + a * u[i] + b * v[i]);
}
