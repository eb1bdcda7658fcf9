/* The loops over optimizers.def: one update of a flat vector of parameters. */

/* State that decays for ever must not end in denormal numbers, which are slow: below the smallest
 * normal number it is zero. NaN stays. */
ALWAYS_INLINE real settle(real s) { return FABS(s) < REAL_TINY ? R(0) : s; }

typedef struct {
    real *p;
    const real *g;
    real *s0, *s1; /* NULL where the rule has no such vector */
} moving;

/* As with the activations, the end is copied to vectors of its own. */
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    ALWAYS_INLINE void whole_update_##name(ptrdiff_t n, const moving *m, const double *c) { \
        const real c0 = (real)c[0], c1 = (real)c[1], c2 = (real)c[2], c3 = (real)c[3], \
                   c4 = (real)c[4], c5 = (real)c[5], c6 = (real)c[6]; \
        real *restrict ps = m->p, *restrict v0 = m->s0, *restrict v1 = m->s1; \
        const real *restrict gs = m->g; \
        (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6; \
        for (ptrdiff_t i = 0; i < n; i++) { \
            const real g = gs[i]; \
            real p = ps[i], s0 = (vectors) > 0 ? v0[i] : 0, s1 = (vectors) > 1 ? v1[i] : 0; \
            rule; \
            ps[i] = p; \
            if ((vectors) > 0) v0[i] = s0; \
            if ((vectors) > 1) v1[i] = s1; \
        } \
    } \
    static void update_##name(ptrdiff_t n, void *theta, const void *gradient, void *const *state, \
                              const double *c) { \
        const ptrdiff_t whole = n & -LANES; \
        const int rest = (int)(n - whole); \
        const moving m = {theta, gradient, (vectors) > 0 ? state[0] : NULL, \
                          (vectors) > 1 ? state[1] : NULL}; \
        whole_update_##name(whole, &m, c); \
        if (rest) { \
            real p[LANES], g[LANES], s0[LANES], s1[LANES]; \
            VSTORE(p, VLOAD_N(m.p + whole, rest)); \
            VSTORE(g, VLOAD_N(m.g + whole, rest)); \
            if ((vectors) > 0) VSTORE(s0, VLOAD_N(m.s0 + whole, rest)); \
            if ((vectors) > 1) VSTORE(s1, VLOAD_N(m.s1 + whole, rest)); \
            whole_update_##name(LANES, &(moving){p, g, s0, s1}, c); \
            VSTORE_N(m.p + whole, VLOAD(p), rest); \
            if ((vectors) > 0) VSTORE_N(m.s0 + whole, VLOAD(s0), rest); \
            if ((vectors) > 1) VSTORE_N(m.s1 + whole, VLOAD(s1), rest); \
        } \
    }
#include "../tables/optimizers.def"
#undef NNC_OPT
