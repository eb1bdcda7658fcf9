/* The loops over optimizers.def: one update of a flat vector of parameters. */

/* State that decays for ever must not end in denormal numbers, which are slow: below the smallest
 * normal number it is zero. NaN stays. */
ALWAYS_INLINE real settle(real s) { return FABS(s) < REAL_TINY ? R(0) : s; }

ALWAYS_INLINE real larger(real a, real b) { return (a < b) | (b != b) ? b : a; } /* or NaN */
ALWAYS_INLINE real not_below_zero(real x) { return x < R(0) ? R(0) : x; }
ALWAYS_INLINE real sign(real x) { return x > R(0) ? R(1) : x < R(0) ? R(-1) : x; }

typedef struct {
    real *p;
    const real *g;
    real *s[NNC_MAX_VECTORS]; /* NULL where the rule has no such vector */
} moving;

/* As with the activations, the end is copied to vectors of its own, and the same loop runs again.
 */
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    static void update_##name(ptrdiff_t n, void *theta, const void *gradient, void *const *state, \
                              const double *c) { \
        const real c0 = (real)c[0], c1 = (real)c[1], c2 = (real)c[2], c3 = (real)c[3], \
                   c4 = (real)c[4], c5 = (real)c[5], c6 = (real)c[6], c7 = (real)c[7]; \
        const ptrdiff_t whole = n & -LANES; \
        const int rest = (int)(n - whole); \
        real p_end[LANES], g_end[LANES], s_end[NNC_MAX_VECTORS][LANES]; \
        moving m = {theta, gradient, {NULL}}; \
        (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6, (void)c7; \
        for (int v = 0; v < (vectors); v++) m.s[v] = state[v]; \
        for (ptrdiff_t count = whole;; count = LANES) { \
            real *restrict ps = m.p, *restrict v0 = m.s[0], *restrict v1 = m.s[1], \
                           *restrict v2 = m.s[2], *restrict v3 = m.s[3]; \
            const real *restrict gs = m.g; \
            for (ptrdiff_t i = 0; i < (count & -LANES); i++) { \
                real g = gs[i], p = ps[i], s0 = (vectors) > 0 ? v0[i] : 0, \
                     s1 = (vectors) > 1 ? v1[i] : 0, s2 = (vectors) > 2 ? v2[i] : 0, \
                     s3 = (vectors) > 3 ? v3[i] : 0; \
                rule; \
                ps[i] = p; \
                if ((vectors) > 0) v0[i] = s0; \
                if ((vectors) > 1) v1[i] = s1; \
                if ((vectors) > 2) v2[i] = s2; \
                if ((vectors) > 3) v3[i] = s3; \
            } \
            if (m.p == p_end || !rest) break; \
            VSTORE(p_end, VLOAD_N((const real *)theta + whole, rest)); \
            VSTORE(g_end, VLOAD_N((const real *)gradient + whole, rest)); \
            for (int v = 0; v < (vectors); v++) \
                VSTORE(s_end[v], VLOAD_N((const real *)state[v] + whole, rest)); \
            m = (moving){p_end, g_end, {s_end[0], s_end[1], s_end[2], s_end[3]}}; \
        } \
        if (!rest) return; \
        VSTORE_N((real *)theta + whole, VLOAD(p_end), rest); \
        for (int v = 0; v < (vectors); v++) \
            VSTORE_N((real *)state[v] + whole, VLOAD(s_end[v]), rest); \
    }
#include "../tables/optimizers.def"
#undef NNC_OPT

/* ---- around a rule ------------------------------------------------------------------------ */

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
