/* What derivatives of samples and the landscape add to the loops above. */

/* out = x * y; in place ok */
static void multiply(ptrdiff_t n, const void *x, const void *y, void *out) {
    const real *xs = x, *ys = y;
    real *to = out;
    IVDEP
    for (ptrdiff_t i = 0; i < n; i++) to[i] = xs[i] * ys[i];
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
