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
