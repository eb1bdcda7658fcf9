/* The loops over activations.def: y = f(x), f'(x), and dx = dy * f'(kept). */

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
#define KEPT_NNC_KEEPS_NONE(kept) (void)(kept);
#define KEPT_NNC_KEEPS_X(kept) const real x = kept;
#define KEPT_NNC_KEEPS_Y(kept) const real y = kept;

/* The loops run over whole vectors. What is left at the end is copied to a vector of its own, and
 * the same loop runs again on that, so it takes the same instructions. */
#define OF_X(name, expression) \
    static void name(ptrdiff_t n, const void *from, void *to, const double *parameters) { \
        const real a = (real)parameters[0], b = (real)parameters[1]; \
        const ptrdiff_t whole = n & -LANES; \
        const int rest = (int)(n - whole); \
        const real *xs = from; \
        real *ys = to, last[LANES]; \
        (void)a, (void)b; \
        for (ptrdiff_t count = whole;; count = LANES) { \
            IVDEP \
            for (ptrdiff_t i = 0; i < (count & -LANES); i++) { \
                const real x = xs[i]; \
                ys[i] = expression; \
            } \
            if (ys == last || !rest) break; \
            VSTORE(last, VLOAD_N((const real *)from + whole, rest)); \
            xs = ys = last; \
        } \
        if (rest) VSTORE_N((real *)to + whole, VLOAD(last), rest); \
    }

#define NNC_ACT(name, keeps, names, defaults, f, slope, df, d2f) \
    OF_X(act_##name, f) \
    OF_X(act_df_##name, df) \
    static void act_slope_##name(ptrdiff_t n, const void *kept, const void *dy, void *dx, \
                                 const double *parameters) { \
        const real a = (real)parameters[0], b = (real)parameters[1]; \
        const ptrdiff_t whole = n & -LANES; \
        const int rest = (int)(n - whole); \
        const real *ks = kept, *dys = dy; \
        real *dxs = dx, last_kept[LANES], last[LANES]; \
        (void)a, (void)b; \
        for (ptrdiff_t count = whole;; count = LANES) { \
            IVDEP \
            for (ptrdiff_t i = 0; i < (count & -LANES); i++) { \
                KEPT_NNC_KEEPS_##keeps(ks[i]) dxs[i] = dys[i] * (slope); \
            } \
            if (dxs == last || !rest) break; \
            VSTORE(last_kept, VLOAD_N((const real *)kept + whole, rest)); \
            VSTORE(last, VLOAD_N((const real *)dy + whole, rest)); \
            ks = last_kept, dys = dxs = last; \
        } \
        if (rest) VSTORE_N((real *)dx + whole, VLOAD(last), rest); \
    }
#include "../tables/activations.def"
#undef NNC_ACT
