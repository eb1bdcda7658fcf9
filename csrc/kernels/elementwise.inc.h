/* The loops over activations.def: y = f(x), and dx = dy times the slope from what was kept. */

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

/* A loop over n elements, whole vectors of them; one that computes f alone only reads xs. */
typedef void loop_of_x(ptrdiff_t n, real *xs, real *ys, const double *parameters);
typedef void loop_of_y(ptrdiff_t n, const real *ys, const real *dys, real *dxs,
                       const double *parameters);

/* Runs a loop over whole vectors. What is left at the end is copied to a vector of its own, on
 * which it runs again, so that takes the same instructions. keep: x changes, too. */
NEVER_INLINE void run_of_x(loop_of_x *loop, ptrdiff_t n, real *x, real *y, const double *parameters,
                           int keep) {
    const ptrdiff_t whole = n & -LANES;
    const int rest = (int)(n - whole);
    real last_x[LANES], last_y[LANES];
    if (whole) loop(whole, x, y, parameters);
    if (rest == 0) return;
    VSTORE(last_x, VLOAD_N(x + whole, rest));
    loop(LANES, last_x, last_y, parameters);
    VSTORE_N(y + whole, VLOAD(last_y), rest);
    if (keep) VSTORE_N(x + whole, VLOAD(last_x), rest);
}

NEVER_INLINE void run_of_y(loop_of_y *loop, ptrdiff_t n, const real *kept, const real *dy, real *dx,
                           const double *parameters) {
    const ptrdiff_t whole = n & -LANES;
    const int rest = (int)(n - whole);
    real last_kept[LANES], last[LANES];
    if (whole) loop(whole, kept, dy, dx, parameters);
    if (rest == 0) return;
    VSTORE(last_kept, VLOAD_N(kept + whole, rest));
    VSTORE(last, VLOAD_N(dy + whole, rest));
    loop(LANES, last_kept, last, last, parameters);
    VSTORE_N(dx + whole, VLOAD(last), rest);
}

#define ALL_ELEMENTS \
    const real a = (real)parameters[0], b = (real)parameters[1]; \
    (void)a, (void)b; \
    IVDEP \
    for (ptrdiff_t i = 0; i < (n & -LANES); i++)

#define OF_X(name, expression) \
    static void name##_loop(ptrdiff_t n, real *xs, real *ys, const double *parameters) { \
        ALL_ELEMENTS { \
            const real x = xs[i]; \
            ys[i] = expression; \
        } \
    } \
    static void name(ptrdiff_t n, const void *x, void *y, const double *parameters) { \
        run_of_x(name##_loop, n, (real *)x, y, parameters, 0); \
    }

/* A slope that is written in x shares most of its operations with f: both are computed on the way
 * up, and kept is the slope itself. */
#define F_AND_SLOPE(name, f, slope) \
    static void keep_##name##_loop(ptrdiff_t n, real *xs, real *ys, const double *parameters) { \
        ALL_ELEMENTS { \
            const real x = xs[i]; \
            ys[i] = f; \
            xs[i] = slope; \
        } \
    } \
    static void act_keep_##name(ptrdiff_t n, void *x, void *y, const double *parameters) { \
        run_of_x(keep_##name##_loop, n, x, y, parameters, 1); \
    }

/* dx = dy times the slope, which is written in what is kept, called y. */
#define SLOPE_OF_KEPT(name, slope) \
    static void slope_##name##_loop(ptrdiff_t n, const real *ys, const real *dys, real *dxs, \
                                    const double *parameters) { \
        ALL_ELEMENTS { \
            const real y = ys[i]; \
            (void)y; \
            dxs[i] = dys[i] * (slope); \
        } \
    } \
    static void act_slope_##name(ptrdiff_t n, const void *kept, const void *dy, void *dx, \
                                 const double *parameters) { \
        run_of_y(slope_##name##_loop, n, kept, dy, dx, parameters); \
    }

/* Where it is the slope that is kept. */
SLOPE_OF_KEPT(kept, y)

#define LOOPS_NNC_KEEPS_NONE(name, f, slope) SLOPE_OF_KEPT(name, slope)
#define LOOPS_NNC_KEEPS_Y(name, f, slope) SLOPE_OF_KEPT(name, slope)
#define LOOPS_NNC_KEEPS_X(name, f, slope) F_AND_SLOPE(name, f, slope)
#define NNC_ACT(name, keeps, names, defaults, f, slope, df, d2f) \
    OF_X(act_##name, f) LOOPS_NNC_KEEPS_##keeps(name, f, slope)
#include "../tables/activations.def"
#undef NNC_ACT
