/* What is done around an update rule: penalties, decay and clipping of the gradient, norms,
 * averages of the parameters. */

/* g is shaped, p only read. */
ALWAYS_INLINE void whole_shape(ptrdiff_t n, const real *restrict ps, real *restrict gs,
                               const nnc_shaping *s) {
    const real l1 = (real)s->l1, l2 = (real)s->l2, limit = (real)s->limit, scale = (real)s->scale;
    for (ptrdiff_t i = 0; i < n; i++) {
        const real p = ps[i], g = FMA(l2, p, FMA(l1, sign(p), gs[i]));
        gs[i] = (g < -limit ? -limit : g > limit ? limit : g) * scale;
    }
}

static void shape(ptrdiff_t n, const void *theta, void *gradient, const nnc_shaping *s) {
    const ptrdiff_t whole = n & -LANES;
    const int rest = (int)(n - whole);
    real *at = (real *)gradient + whole;
    whole_shape(whole, theta, gradient, s);
    if (rest) {
        real p[LANES], g[LANES];
        VSTORE(p, VLOAD_N((const real *)theta + whole, rest));
        VSTORE(g, VLOAD_N(at, rest));
        whole_shape(LANES, p, g, s);
        VSTORE_N(at, VLOAD(g), rest);
    }
}

ALWAYS_INLINE void whole_decay(ptrdiff_t n, real *ps, real keep) {
    for (ptrdiff_t i = 0; i < n; i++) ps[i] = settle(ps[i] * keep);
}

static void decay(ptrdiff_t n, void *theta, double keep) {
    const ptrdiff_t whole = n & -LANES;
    const int rest = (int)(n - whole);
    real *at = (real *)theta + whole;
    whole_decay(whole, theta, (real)keep);
    if (rest) {
        real p[LANES];
        VSTORE(p, VLOAD_N(at, rest));
        whole_decay(LANES, p, (real)keep);
        VSTORE_N(at, VLOAD(p), rest);
    }
}

static void norms(ptrdiff_t rows, ptrdiff_t n, const void *x, ptrdiff_t ldx, double *sums) {
    double size[8] = {0}, square[8] = {0};
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *xs = (const real *)x + i * ldx;
        ptrdiff_t j = 0;
        for (; j + 8 <= n; j += 8)
            for (int l = 0; l < 8; l++) {
                const double v = (double)xs[j + l];
                size[l] += __builtin_fabs(v), square[l] += v * v;
            }
        for (int l = 0; j + l < n; l++) {
            const double v = (double)xs[j + l];
            size[l] += __builtin_fabs(v), square[l] += v * v;
        }
    }
    sums[0] = fold_double(size), sums[1] = fold_double(square);
}

/* Line by line of the columns: once down for the norms, and down again. */
static void limit_columns(ptrdiff_t rows, ptrdiff_t n, void *w, ptrdiff_t ldw, double limit) {
    for (ptrdiff_t j = 0; j < n; j += PAD) {
        const ptrdiff_t width = min_size(PAD, n - j);
        real *top = (real *)w + j, factor[PAD];
        double square[PAD] = {0};
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t l = 0; l < width; l++) {
                const double v = (double)top[i * ldw + l];
                square[l] += v * v;
            }
        int any = 0;
        for (ptrdiff_t l = 0; l < width; l++) {
            const double size = __builtin_sqrt(square[l]);
            factor[l] = size > limit ? (real)(limit / size) : R(1);
            any |= size > limit;
        }
        if (!any) continue;
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t l = 0; l < width; l++) top[i * ldw + l] *= factor[l];
    }
}

ALWAYS_INLINE void whole_average(ptrdiff_t n, real *restrict to, const real *restrict from,
                                 real weight) {
    for (ptrdiff_t i = 0; i < n; i++) to[i] = settle(FMA(weight, from[i] - to[i], to[i]));
}

static void average(ptrdiff_t n, void *to, const void *from, void *const *state, const double *c) {
    const ptrdiff_t whole = n & -LANES;
    const int rest = (int)(n - whole);
    real *at = (real *)to + whole;
    (void)state;
    whole_average(whole, to, from, (real)c[0]);
    if (rest) {
        real a[LANES], p[LANES];
        VSTORE(a, VLOAD_N(at, rest));
        VSTORE(p, VLOAD_N((const real *)from + whole, rest));
        whole_average(LANES, a, p, (real)c[0]);
        VSTORE_N(at, VLOAD(a), rest);
    }
}
