/* The loops over activations.def: y = f(x), f'(x), f''(x), and dx = dy * f'(kept). */

ALWAYS_INLINE real v_softsign(real x) {
    const real size = FABS(x); /* infinite: the limit, not inf / inf */
    return size > R(1e30) ? (x > R(0) ? R(1) : R(-1)) : x / (R(1) + size);
}

/* 1 / (1 + |x|)^2, from x and not as (1 - |y|)^2, which cancels where |y| is near 1. */
ALWAYS_INLINE real v_softsign_slope(real x) {
    const real r = R(1) / (R(1) + FABS(x));
    return r * r;
}

/* -2 sign(x) / (1 + |x|)^3; at 0, where it jumps from 2 to -2, the middle. */
ALWAYS_INLINE real v_softsign_curve(real x) {
    const real r = R(1) / (R(1) + FABS(x)), curve = R(-2) * (r * r * r);
    return x > R(0) ? curve : x < R(0) ? -curve : x;
}

/* (x / (1 + |x|) + 1) / 2, on each side the form that does not cancel. */
ALWAYS_INLINE real v_elliot(real x) {
    const real r = R(0.5) / (R(1) + FABS(x));
    return x < R(0) ? r : R(1) - r;
}

/* A slope sees only the variable that its row keeps. */
#define KEPT_NNC_KEEPS_NONE(kept)
#define KEPT_NNC_KEEPS_X(kept) const real x = kept;
#define KEPT_NNC_KEEPS_Y(kept) const real y = kept;

/* The loops run over whole vectors. What is left at the end is copied to a vector of its own, so it
 * takes the same instructions. */
#define OF_X(name, expression) \
    ALWAYS_INLINE void whole_##name(ptrdiff_t n, const real *xs, real *ys, real a) { \
        (void)a; \
        IVDEP \
        for (ptrdiff_t i = 0; i < n; i++) { \
            const real x = xs[i]; \
            ys[i] = expression; \
        } \
    } \
    static void name(ptrdiff_t n, const void *from, void *to, double a) { \
        const ptrdiff_t whole = n & -LANES; \
        const int rest = (int)(n - whole); \
        whole_##name(whole, from, to, (real)a); \
        if (rest) { \
            real x[LANES], y[LANES]; \
            VSTORE(x, VLOAD_N((const real *)from + whole, rest)); \
            whole_##name(LANES, x, y, (real)a); \
            VSTORE_N((real *)to + whole, VLOAD(y), rest); \
        } \
    }

#define NNC_ACT(name, keeps, f, slope, a_default, df, d2f) \
    OF_X(act_##name, f) \
    OF_X(act_df_##name, df) \
    OF_X(act_d2f_##name, d2f) \
    ALWAYS_INLINE void whole_slope_##name(ptrdiff_t n, const real *ks, const real *dys, real *dxs, \
                                          real a) { \
        (void)a, (void)ks; \
        IVDEP \
        for (ptrdiff_t i = 0; i < n; i++) { \
            KEPT_NNC_KEEPS_##keeps(ks[i]) dxs[i] = dys[i] * (slope); \
        } \
    } \
    static void act_slope_##name(ptrdiff_t n, const void *kept, const void *dy, void *dx, \
                                 double a) { \
        const ptrdiff_t whole = n & -LANES; \
        const int rest = (int)(n - whole); \
        whole_slope_##name(whole, kept, dy, dx, (real)a); \
        if (rest) { \
            real k[LANES], d[LANES]; \
            VSTORE(k, VLOAD_N((const real *)kept + whole, rest)); \
            VSTORE(d, VLOAD_N((const real *)dy + whole, rest)); \
            whole_slope_##name(LANES, k, d, d, (real)a); \
            VSTORE_N((real *)dx + whole, VLOAD(d), rest); \
        } \
    }
#include "../tables/activations.def"
#undef NNC_ACT
