/* The loops over activations.def: y = f(x), and dx = dy * f'(kept). */

ALWAYS_INLINE real v_softsign(real x) {
    const real size = FABS(x); /* infinite: the limit, not inf / inf */
    return size > R(1e30) ? (x > R(0) ? R(1) : R(-1)) : x / (R(1) + size);
}

/* 1 / (1 + |x|)^2, from x and not as (1 - |y|)^2, which cancels where |y| is near 1. */
ALWAYS_INLINE real v_softsign_slope(real x) {
    const real r = R(1) / (R(1) + FABS(x));
    return r * r;
}

/* A slope sees only the variable that its row keeps. */
#define KEPT_NNC_KEEPS_NONE(kept)
#define KEPT_NNC_KEEPS_X(kept) const real x = kept;
#define KEPT_NNC_KEEPS_Y(kept) const real y = kept;

#define NNC_ACT(name, keeps, f, slope, a_default) \
    static void act_##name(ptrdiff_t n, const void *from, void *to, double a_) { \
        const real *xs = from, a = (real)a_; \
        real *ys = to; \
        (void)a; \
        IVDEP \
        for (ptrdiff_t i = 0; i < n; i++) { \
            const real x = xs[i]; \
            ys[i] = f; \
        } \
    } \
    static void act_slope_##name(ptrdiff_t n, const void *kept, const void *dy, void *dx, \
                                 double a_) { \
        const real *ks = kept, *dys = dy, a = (real)a_; \
        real *dxs = dx; \
        (void)a, (void)ks; \
        IVDEP \
        for (ptrdiff_t i = 0; i < n; i++) { \
            KEPT_NNC_KEEPS_##keeps(ks[i]) dxs[i] = dys[i] * (slope); \
        } \
    }
#include "../tables/activations.def"
#undef NNC_ACT
