/* The loops over optimizers.def: one update of a flat vector of parameters. */

/* State that decays for ever must not end in denormal numbers, which are slow: below the smallest
 * normal number it is zero. NaN stays. */
ALWAYS_INLINE real settle(real s) { return FABS(s) < REAL_TINY ? R(0) : s; }

ALWAYS_INLINE real larger(real a, real b) { return (a < b) | (b != b) ? b : a; } /* or NaN */
ALWAYS_INLINE real not_below_zero(real x) { return x < R(0) ? R(0) : x; }
ALWAYS_INLINE real sign(real x) { return x > R(0) ? R(1) : x < R(0) ? R(-1) : x; }

/* A rule for n elements, whole vectors of them; state is NULL where the rule has no such vector. */
typedef void loop_of_rule(ptrdiff_t n, real *restrict ps, const real *restrict gs,
                          real *const *state, const double *c);

/* As with the activations, the end is copied to vectors of its own. */
NEVER_INLINE void run_rule(loop_of_rule *loop, int vectors, ptrdiff_t n, real *theta,
                           const real *gradient, void *const *state, const double *c) {
    const ptrdiff_t whole = n & -LANES;
    const int rest = (int)(n - whole);
    real p_end[LANES], g_end[LANES], s_end[NNC_MAX_VECTORS][LANES];
    real *at[NNC_MAX_VECTORS] = {NULL};
    for (int v = 0; v < vectors; v++) at[v] = state[v];
    if (whole) loop(whole, theta, gradient, at, c);
    if (rest == 0) return;
    VSTORE(p_end, VLOAD_N(theta + whole, rest));
    VSTORE(g_end, VLOAD_N(gradient + whole, rest));
    for (int v = 0; v < vectors; v++) {
        at[v] = s_end[v];
        VSTORE(s_end[v], VLOAD_N((const real *)state[v] + whole, rest));
    }
    loop(LANES, p_end, g_end, at, c);
    VSTORE_N(theta + whole, VLOAD(p_end), rest);
    for (int v = 0; v < vectors; v++) VSTORE_N((real *)state[v] + whole, VLOAD(s_end[v]), rest);
}

#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    static void name##_loop(ptrdiff_t n, real *restrict ps, const real *restrict gs, \
                            real *const *state, const double *c) { \
        const real c0 = (real)c[0], c1 = (real)c[1], c2 = (real)c[2], c3 = (real)c[3], \
                   c4 = (real)c[4], c5 = (real)c[5], c6 = (real)c[6], c7 = (real)c[7]; \
        real *restrict v0 = state[0], *restrict v1 = state[1], *restrict v2 = state[2], \
                       *restrict v3 = state[3]; \
        (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6, (void)c7; \
        for (ptrdiff_t i = 0; i < (n & -LANES); i++) { \
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
    } \
    static void update_##name(ptrdiff_t n, void *theta, const void *gradient, void *const *state, \
                              const double *c) { \
        run_rule(name##_loop, vectors, n, theta, gradient, state, c); \
    }
#include "../tables/optimizers.def"
#undef NNC_OPT
