/* The loops over optimizers.def: one update of a flat vector of parameters. */

/* State that decays for ever must not end in denormal numbers, which are slow: below the smallest
 * normal number it is zero. NaN stays. */
ALWAYS_INLINE real settle(real s) { return FABS(s) < REAL_TINY ? R(0) : s; }

#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    static void update_##name(ptrdiff_t n, void *theta, const void *gradient, void *const *state, \
                              const double *c) { \
        const real c0 = (real)c[0], c1 = (real)c[1], c2 = (real)c[2], c3 = (real)c[3], \
                   c4 = (real)c[4], c5 = (real)c[5], c6 = (real)c[6]; \
        real *restrict ps = theta; \
        const real *restrict gs = gradient; \
        real *restrict v0 = (vectors) > 0 ? state[0] : NULL; \
        real *restrict v1 = (vectors) > 1 ? state[1] : NULL; \
        (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6; \
        for (ptrdiff_t i = 0; i < n; i++) { \
            const real g = gs[i]; \
            real p = ps[i], s0 = (vectors) > 0 ? v0[i] : 0, s1 = (vectors) > 1 ? v1[i] : 0; \
            rule; \
            ps[i] = p; \
            if ((vectors) > 0) v0[i] = s0; \
            if ((vectors) > 1) v1[i] = s1; \
        } \
    }
#include "../tables/optimizers.def"
#undef NNC_OPT
