#include "oracle.h"

#include <math.h>
#include <stdlib.h>

/* ---- the rows of the tables, in `wide` ---------------------------------------------------- */

typedef wide real;
#define R(x) ((wide)(x))
#define FMA(a, b, c) W(fma)(a, b, c)
#define SQRT(x) W(sqrt)(x)
#define FABS(x) W(fabs)(x)
#define v_exp(x) W(exp)(x)
#define v_expm1(x) W(expm1)(x)
#define v_log1p(x) W(log1p)(x)
#define v_tanh(x) W(tanh)(x)

static inline wide v_sigmoid(wide x) {
    const wide e = W(exp)(-W(fabs)(x));
    return (x < 0 ? e : 1) / (1 + e);
}
static inline wide v_softplus(wide x) { return (x > 0 ? x : 0) + W(log1p)(W(exp)(-W(fabs)(x))); }
static inline wide v_softsign(wide x) { return isinf(x) ? (x > 0 ? 1 : -1) : x / (1 + W(fabs)(x)); }
static inline wide v_softsign_slope(wide x) { return 1 / ((1 + W(fabs)(x)) * (1 + W(fabs)(x))); }
static inline wide v_softsign_curve(wide x) {
    const wide r = 1 / (1 + W(fabs)(x));
    return x == 0 ? 0 : (x > 0 ? -2 : 2) * r * r * r;
}
/* In two factors, so that it does not underflow before its time where `wide` is double. */
static inline wide v_silu(wide x) {
    const wide y = isinf(x) ? 1e6 : W(fabs)(x), h = W(exp)(-y / 2), m = y * h / (1 + h * h) * h;
    return x < 0 ? -m : x - m;
}
static inline wide v_silu_slope(wide x) {
    if (isinf(x)) return x > 0;
    return v_sigmoid(x) * (1 + x * v_sigmoid(-x));
}
static inline wide v_silu_curve(wide x) {
    if (isinf(x)) return 0;
    return v_sigmoid(x) * v_sigmoid(-x) * (2 - x * W(tanh)(x / 2));
}
#define VM_SELU_SCALE ((wide)1.0507009873554804934193349852946L)
#define VM_SELU_LEFT ((wide)1.7580993408473768599402175208123L)
static inline wide v_selu(wide x) { return x > 0 ? VM_SELU_SCALE * x : VM_SELU_LEFT * W(expm1)(x); }
/* exp(-x^2 / 2), with what the rounded square lost; its square is used as two factors, as above. */
static inline wide exp_half_square(wide x) {
    const wide h = x * x;
    return isinf(h) ? 0 : W(exp)(-h / 2) * (1 - W(fma)(x, x, -h) / 2);
}
static inline wide v_gaussian(wide x) {
    const wide half = exp_half_square(x);
    return half * half;
}
static inline wide v_gaussian_slope(wide x) {
    const wide half = exp_half_square(x);
    return isinf(x) ? 0 : -2 * x * half * half;
}
static inline wide v_gaussian_curve(wide x) {
    const wide half = exp_half_square(x);
    return isinf(x * x) ? 0 : 4 * W(fma)(x, x, -0.5) * half * half;
}
static const wide density_at_0 = (wide)0.398942280401432677939946059934381868L;
/* The normal distribution: erfc(u) and its slope, where u is -x / sqrt(2) rounded and `rest` what
 * that lost, the square root in two parts. */
static inline wide normal(wide x) {
    const wide high = (wide)0x1.6a09e667f3bcdp-1, low = (wide)-0x1.bdd3413b26456p-55;
    const wide u = -x * high, rest = W(fma)(-x, high, -u) - x * low;
    if (isinf(u)) return x > 0;
    const wide slope = -2 * density_at_0 * (wide)1.41421356237309504880168872420969808L;
    return (W(erfc)(u) + rest * slope * exp_half_square(x)) / 2;
}
static inline wide v_gelu(wide x) { return isinf(x) ? (x > 0 ? x : 0) : x * normal(x); }
static inline wide v_gelu_slope(wide x) {
    return isinf(x) ? x > 0 : normal(x) + x * density_at_0 * exp_half_square(x);
}
static inline wide v_gelu_curve(wide x) {
    return isinf(x * x) ? 0 : W(fma)(-x, x, 2) * density_at_0 * exp_half_square(x);
}
/* s(v + rest) of v = g x + h x^3, g and h in two parts, and `rest` what v lost: a relative error of
 * v would be one of exp(v) v times as large. */
static const wide gelu_g = (wide)0x1.9884533d43651p+0, gelu_g_low = (wide)-0x1.cbc0d30ebfd15p-54,
                  gelu_h = (wide)0x1.2444f2a4d8b4bp-4, gelu_h_low = (wide)-0x1.6c843a29d1c70p-61;
static inline wide gelu_v(wide x, wide *rest) {
    const wide q = x * x, p = gelu_h * q, s = gelu_g + p, v = x * s;
    const wide of_p = W(fma)(gelu_h, q, -p) + gelu_h * W(fma)(x, x, -q) + gelu_h_low * q;
    const wide larger = gelu_g > p ? gelu_g : p, smaller = gelu_g > p ? p : gelu_g;
    *rest = W(fma)(x, s, -v) + x * (smaller - (s - larger) + of_p + gelu_g_low);
    return v;
}
static inline wide gelu_sigmoid(wide v, wide rest) {
    return v_sigmoid(v) * (1 + rest * v_sigmoid(-v));
}
static inline wide v_gelu_tanh(wide x) {
    if (W(fabs)(x) > 1e3) return x > 0 ? x : 0;
    wide rest;
    const wide v = gelu_v(x, &rest), m = W(exp)(-W(fabs)(v) / 2);
    /* in two factors, as silu */
    return x * (v < 0 ? m : 1) / (1 + m * m) * (v < 0 ? m : 1) * (1 + rest * v_sigmoid(-v));
}
static inline wide v_gelu_tanh_slope(wide x) {
    if (W(fabs)(x) > 1e3) return x > 0;
    wide rest;
    const wide v = gelu_v(x, &rest), rise = gelu_g + 3 * gelu_h * x * x;
    return gelu_sigmoid(v, rest) * (1 + x * rise * gelu_sigmoid(-v, -rest));
}
static inline wide v_gelu_tanh_curve(wide x) {
    if (W(fabs)(x) > 1e3) return 0;
    wide rest;
    const wide v = gelu_v(x, &rest), rise = gelu_g + 3 * gelu_h * x * x;
    return gelu_sigmoid(v, rest) * gelu_sigmoid(-v, -rest) *
           (2 * rise + 6 * gelu_h * x * x - x * rise * rise * W(tanh)(v / 2));
}
/* In n = e (e + 2) with e = exp(x): tanh(log(1 + e)) = n / (n + 2); on the right in 1 / e. */
static inline wide v_mish(wide x) {
    const wide half = W(exp)(-W(fabs)(x) / 2), q = half * half;
    if (isinf(x)) return x > 0 ? x : 0;
    return x < 0 ? x * half * (q + 2) / (q * (q + 2) + 2) * half
                 : x * (1 + 2 * q) / (1 + 2 * q + 2 * q * q);
}
static inline wide v_mish_slope(wide x) {
    const wide half = W(exp)(-W(fabs)(x) / 2), q = half * half;
    if (isinf(x)) return x > 0;
    const wide d = x < 0 ? 2 + 2 * q + q * q : 1 + 2 * q + 2 * q * q;
    if (x < 0) return half * ((2 + q) / d + x * 4 * (1 + q) / (d * d)) * half;
    return (1 + 2 * q) / d + x * 4 * (1 + q) * q * q / (d * d);
}
static inline wide v_mish_curve(wide x) {
    const wide half = W(exp)(-W(fabs)(x) / 2), q = half * half;
    if (isinf(x)) return 0;
    const wide d = x < 0 ? 2 + 2 * q + q * q : 1 + 2 * q + 2 * q * q;
    const wide rise = 4 * (1 + q) / (d * d); /* of the tanh, over q or q q */
    if (x < 0)
        return half *
               (2 * rise +
                x * (4 * (1 + 2 * q) / (d * d) - 16 * q * (1 + q) * (1 + q) / (d * d * d))) *
               half;
    return 2 * rise * q * q + x * 4 * q * q * ((2 + q) * d - 4 * (1 + q) * (1 + q)) / (d * d * d);
}
/* x - tanh(x); near 0 by x^3 / G, G the continued fraction of tanh. */
static inline wide v_tanhshrink(wide x) {
    const wide z = x * x;
    wide g = 35;
    if (W(fabs)(x) > 1) return x - W(tanh)(x);
    for (int k = 33; k >= 3; k -= 2) g = k + z / g;
    return x * z / (g + z); /* tanh = x / (1 + z / g), g = 3 + z / (5 + ...) */
}
static inline wide v_tanh_squared(wide x) { return W(tanh)(x) * W(tanh)(x); }
static inline wide v_sin(wide x) { return W(fabs)(x) < 0x1p52 ? W(sin)(x) : (wide)NAN; }
static inline wide v_cos(wide x) { return W(fabs)(x) < 0x1p52 ? W(cos)(x) : (wide)NAN; }
/* Half of |x| + sqrt(x^2 + b). */
static inline wide half_of(wide x, wide b) {
    return (W(fabs)(x) + (W(fabs)(x) > 1e100 ? W(fabs)(x) : W(sqrt)(x * x + b))) / 2;
}
static inline wide v_squareplus(wide x, wide b) {
    return x < 0 ? b / 4 / half_of(x, b) : half_of(x, b);
}
static inline wide v_squareplus_slope(wide x, wide b) {
    const wide root = 2 * half_of(x, b) - W(fabs)(x);
    const wide left = b / 4 / half_of(x, b) / (isinf(x) ? 1 : root);
    return x < 0 ? left : 1 - left;
}
static inline wide v_squareplus_curve(wide x, wide b) {
    const wide root = W(fabs)(x) > 1e100 ? W(fabs)(x) : W(sqrt)(x * x + b);
    return b / 2 / root / root / root;
}
static inline wide v_squareplus_slope_of(wide y, wide b) { return 1 / (1 + b / 4 / y / y); }
static inline wide v_elliot(wide x) {
    const wide r = 1 / (1 + W(fabs)(x)) / 2;
    return x < 0 ? r : 1 - r;
}
static inline wide v_sigmoid_slope(wide x) { return v_sigmoid(x) * v_sigmoid(-x); }
/* In two factors, as above. */
static inline wide v_sech2(wide x) { return 1 / W(cosh)(x) * (1 / W(cosh)(x)); }
static inline wide v_positive(wide x) { return x < 0 ? 0 : x; }
static inline wide v_square(wide x) { return x * x; }
static inline wide v_clip(wide d, wide a) { return d > a ? a : d < -a ? -a : d; }
static inline wide v_huber(wide d, wide a) {
    return W(fabs)(d) > a ? a * W(fabs)(d) - a * a / 2 : d * d / 2;
}
static inline wide v_smooth_l1(wide d, wide a) { return v_huber(d, a) / a; }
static inline wide v_log_cosh(wide d) {
    const wide h = W(sinh)(W(fabs)(d) < 1 ? d / 2 : 0);
    return W(fabs)(d) < 1 ? W(log1p)(2 * h * h)
                          : W(fabs)(d) + W(log1p)(W(exp)(-2 * W(fabs)(d))) - W(log)(2);
}
static inline wide v_smoothed(wide t, wide smoothing) {
    return t * (1 - smoothing) + smoothing / 2;
}
static inline wide v_binary(wide z, wide t, wide w) {
    return w * t * v_softplus(-z) + (1 - t) * v_softplus(z);
}
static inline wide v_binary_slope(wide z, wide t, wide w) {
    return (1 - t) * v_sigmoid(z) - w * t * v_sigmoid(-z);
}
static inline wide v_binary_curve(wide z, wide t, wide w) {
    return (1 - t + w * t) * v_sigmoid_slope(z);
}
/* In p = s(x), x = z (2 t - 1); log p apart, since p may be 0. */
static inline wide focal_weight(wide t, wide alpha) {
    return alpha < 0 ? 1 : alpha * t + (1 - alpha) * (1 - t);
}
static inline wide v_focal(wide z, wide t, wide gamma, wide alpha) {
    const wide x = (2 * t - 1) * z;
    return focal_weight(t, alpha) * W(pow)(v_sigmoid(-x), gamma) * v_softplus(-x);
}
static inline wide v_focal_slope(wide z, wide t, wide gamma, wide alpha) {
    const wide x = (2 * t - 1) * z, p = v_sigmoid(x), q = v_sigmoid(-x), l = v_softplus(-x);
    return -(2 * t - 1) * focal_weight(t, alpha) * W(pow)(q, gamma) * (gamma * p * l + q);
}
static inline wide v_focal_curve(wide z, wide t, wide gamma, wide alpha) {
    const wide x = (2 * t - 1) * z, p = v_sigmoid(x), q = v_sigmoid(-x), l = v_softplus(-x);
    return (2 * t - 1) * (2 * t - 1) * focal_weight(t, alpha) * W(pow)(q, gamma) * p *
           (gamma * gamma * p * l + gamma * q * (2 - l) + q);
}

/* One of the formulas in the row of an activation. */
enum { ACT, SLOPE, DF, D2F };

static wide of_act(int formula, int act, wide x, wide y, const double *parameters) {
    const wide a = parameters[0], b = parameters[1];
    (void)a, (void)b;
    switch (act) {
#define NNC_ACT(name, keeps, names, defaults, f, slope, df, d2f) \
    case NNC_ACT_##name: \
        return formula == ACT     ? (wide)(f) \
               : formula == SLOPE ? (wide)(slope) \
               : formula == DF    ? (wide)(df) \
                                  : (wide)(d2f);
#define NNC_SLOPE of_act(SLOPE, act, x, y, parameters)
#include "tables/activations.def"
#undef NNC_SLOPE
#undef NNC_ACT
    default: abort();
    }
}

wide expected_act(int act, wide x, const double *a) { return of_act(ACT, act, x, 0, a); }

wide expected_slope(int act, wide x, wide y, const double *a) {
    return of_act(SLOPE, act, x, y, a);
}

wide expected_derivative(int act, int order, wide x, const double *a) {
    return of_act(order == 1 ? DF : D2F, act, x, 0, a);
}

/* One of the formulas in the row of an elementwise loss. */
enum { LOSS, LOSS_SLOPE, LOSS_CURVE };

static wide of_loss(int formula, int loss, wide y, wide t, wide a, wide b) {
    (void)a, (void)b;
    switch (loss) {
#define NNC_LOSS(name, output, mean, hyper, defaults, value, slope, curve) \
    case NNC_LOSS_##name: \
        return formula == LOSS         ? (wide)(value) \
               : formula == LOSS_SLOPE ? (wide)(slope) \
                                       : (wide)(curve);
#define NNC_ROW_LOSS(name, output, mean, per_target, hyper, defaults)
#include "tables/losses.def"
#undef NNC_LOSS
#undef NNC_ROW_LOSS
    default: abort();
    }
}

wide expected_loss(int loss, wide y, wide t, wide a, wide b) {
    return of_loss(LOSS, loss, y, t, a, b);
}

wide expected_loss_slope(int loss, wide y, wide t, wide a, wide b) {
    return of_loss(LOSS_SLOPE, loss, y, t, a, b);
}

wide expected_loss_curve(int loss, wide y, wide t, wide a, wide b) {
    return of_loss(LOSS_CURVE, loss, y, t, a, b);
}

static inline wide larger(wide a, wide b) { return a < b || b != b ? b : a; }
static inline wide not_below_zero(wide x) { return x < 0 ? 0 : x; }
static inline wide sign(wide x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
static wide settle_f32(wide s) { return W(fabs)(s) < FLT_MIN ? 0 : s; }
static wide settle_f64(wide s) { return W(fabs)(s) < DBL_MIN ? 0 : s; }

wide_parameter expected_update(int opt, nnc_dtype type, wide_parameter from, wide g,
                               const double *coef) {
    wide (*settle)(wide) = type == NNC_F32 ? settle_f32 : settle_f64;
    wide c[NNC_MAX_COEF], p = from.p, s0 = from.s[0], s1 = from.s[1], s2 = from.s[2],
                          s3 = from.s[3];
    for (int i = 0; i < NNC_MAX_COEF; i++)
        c[i] = type == NNC_F32 ? (wide)(float)coef[i] : (wide)coef[i];
    const wide c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], c4 = c[4], c5 = c[5], c6 = c[6],
               c7 = c[7];
    (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6, (void)c7, (void)settle;
    switch (opt) {
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) \
    case NNC_OPT_##name: rule; break;
#include "tables/optimizers.def"
#undef NNC_OPT
    default: abort();
    }
    from.p = p, from.s[0] = s0, from.s[1] = s1, from.s[2] = s2, from.s[3] = s3;
    return from;
}

/* ---- numbers with errors ------------------------------------------------------------------ */

/* s += a b: the error of the factors, and `roundings` of the product's. */
static void add_product(number *s, number a, number b, wide roundings) {
    const wide size = W(fabs)(a.v * b.v);
    s->v += a.v * b.v;
    s->e += W(fabs)(a.v) * b.e + a.e * W(fabs)(b.v) + a.e * b.e + roundings * size;
}

/* The roundings that a sum of n products in canonical order, and what is added to it, makes. */
static wide roundings(nnc_dtype type, ptrdiff_t n) {
    const ptrdiff_t chain = n < NNC_BLOCK ? n : NNC_BLOCK;
    return (wide)(chain + n / NNC_BLOCK + 3) * epsilon_of(type);
}

/* No activation is steeper near z, nor is its slope. */
static wide steepest(int act, number z) {
    return act == NNC_ACT_exponential ? W(exp)(z.v + z.e) : 2;
}

static number activated(nnc_dtype type, int act, number z, const double *a) {
    const wide y = expected_act(act, z.v, a);
    return (number){y,
                    steepest(act, z) * z.e + 4 * epsilon_of(type) * W(fabs)(y) + smallest_of(type)};
}

static number slope_of(nnc_dtype type, int act, number z, number y, const double *a) {
    const wide s = expected_slope(act, z.v, y.v, a);
    const wide kept = z.e > y.e ? z.e : y.e;
    wide e = steepest(act, z) * kept + 4 * epsilon_of(type) * (W(fabs)(s) + 1);
    if (W(fabs)(z.v) <= z.e) e += 1; /* may be on the other side of a kink */
    return (number){s, e};
}

static number times(nnc_dtype type, number a, number b) {
    number product = {0, smallest_of(type)};
    add_product(&product, a, b, 2 * epsilon_of(type));
    return product;
}

static wide as_real(nnc_dtype type, double x) { return type == NNC_F32 ? (wide)(float)x : (wide)x; }

/* ---- losses of one row -------------------------------------------------------------------- */

void expected_softmax(nnc_dtype type, ptrdiff_t n, const number *z, number *y) {
    wide top = z[0].v, sum = 0, worst = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        if (z[j].v > top) top = z[j].v;
        if (z[j].e > worst) worst = z[j].e;
    }
    for (ptrdiff_t j = 0; j < n; j++) sum += W(exp)(z[j].v - top);
    for (ptrdiff_t j = 0; j < n; j++) {
        const wide p = W(exp)(z[j].v - top) / sum;
        y[j].v = p;
        /* z - top is rounded, exp is, the sum is a tree; and all scores may be off by `worst` */
        y[j].e = p * (2 * worst + epsilon_of(type) * ((top - z[j].v) + (wide)n + 10)) +
                 4 * smallest_of(type);
    }
}

/* z - top - log(sum): rounded at their size. */
void expected_log_softmax(nnc_dtype type, ptrdiff_t n, const number *z, number *y) {
    wide top = z[0].v, sum = 0, worst = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        if (z[j].v > top) top = z[j].v;
        if (z[j].e > worst) worst = z[j].e;
    }
    for (ptrdiff_t j = 0; j < n; j++) sum += W(exp)(z[j].v - top);
    for (ptrdiff_t j = 0; j < n; j++) {
        y[j].v = z[j].v - top - W(log)(sum);
        y[j].e =
            2 * worst + epsilon_of(type) * (2 * (top - z[j].v) + 4 * W(log)(sum) + (wide)n + 10);
    }
}

/* The targets of a row: values, or the label's single 1; smoothed. */
static wide target_at(const wide *t, ptrdiff_t n, int64_t label, wide smoothing, ptrdiff_t j) {
    return (1 - smoothing) * (t ? t[j] : j == label) + smoothing / (wide)n;
}

static number entropy_row(nnc_dtype type, ptrdiff_t n, const number *z, const wide *t,
                          int64_t label, wide scale, wide smoothing, number *dz) {
    const wide eps = epsilon_of(type);
    number value = {0, 0};
    wide top = z[0].v, sum = 0, worst = 0, weight = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        if (z[j].v > top) top = z[j].v;
        if (z[j].e > worst) worst = z[j].e;
        weight += target_at(t, n, label, smoothing, j);
    }
    for (ptrdiff_t j = 0; j < n; j++) sum += W(exp)(z[j].v - top);
    expected_softmax(type, n, z, dz);
    for (ptrdiff_t j = 0; j < n; j++) {
        const wide tj = target_at(t, n, label, smoothing, j), below = top - z[j].v;
        value.v += tj * (W(log)(sum) + below);
        value.e += W(fabs)(tj) * (2 * worst + eps * (4 * W(log)(sum) + 4 * below + (wide)n + 10));
        dz[j].e =
            W(fabs)(scale) * (weight * (dz[j].e + 6 * eps * dz[j].v) + 4 * eps * W(fabs)(tj)) +
            4 * smallest_of(type);
        dz[j].v = scale * (weight * dz[j].v - tj);
    }
    return value;
}

static number divergence_row(nnc_dtype type, ptrdiff_t n, const number *z, const wide *t,
                             wide scale, number *dz) {
    number value = entropy_row(type, n, z, t, 0, scale, 0, dz);
    for (ptrdiff_t j = 0; j < n; j++) {
        const wide own = t[j] > 0 ? t[j] * W(log)(t[j]) : 0;
        value.v += own, value.e += 2 * epsilon_of(type) * W(fabs)(own);
    }
    return value;
}

static number gaussian_row(nnc_dtype type, ptrdiff_t n, const number *y, const wide *t, wide scale,
                           number *dy) {
    const wide eps = epsilon_of(type);
    number value = {0, 0};
    for (ptrdiff_t j = 0; j < n; j++) {
        const number m = y[j], v = y[n + j];
        /* the largest that exp(-v) can be; it is rounded, and so is the difference */
        const wide d = m.v - t[j], e = W(exp)(-v.v), most = W(exp)(v.e - v.v);
        const wide far = W(fabs)(d) + m.e + eps * (W(fabs)(m.v) + W(fabs)(t[j]));
        const wide off = far * most * (1 + 4 * eps) - W(fabs)(d) * e;
        const wide off_square = far * far * most * (1 + 8 * eps) - d * d * e;
        value.v += (v.v + d * d * e) / 2;
        value.e += v.e + off_square + 4 * eps * (W(fabs)(v.v) + d * d * e);
        dy[j] = (number){scale * d * e, scale * (off + 4 * eps * W(fabs)(d) * e)};
        dy[n + j] =
            (number){scale * (1 - d * d * e) / 2, scale * (off_square + 4 * eps * (1 + d * d * e))};
        dy[j].e += smallest_of(type), dy[n + j].e += smallest_of(type);
    }
    return value;
}

/* An elementwise loss: from y, or from raw scores where it is fused. Where y may be a little off,
 * so are value and slope: by what they are there. */
static number elementwise_row(nnc_dtype type, int loss, ptrdiff_t n, const number *y, const wide *t,
                              wide scale, wide a, wide b, number *dy) {
    const wide eps = epsilon_of(type);
    number value = {0, 0};
    for (ptrdiff_t j = 0; j < n; j++) {
        const wide v = expected_loss(loss, y[j].v, t[j], a, b);
        const wide s = expected_loss_slope(loss, y[j].v, t[j], a, b);
        wide v_off = 0, s_off = 0;
        for (int side = -1; side <= 1; side += 2) {
            const wide beside = y[j].v + side * y[j].e;
            v_off += W(fabs)(expected_loss(loss, beside, t[j], a, b) - v);
            s_off += W(fabs)(expected_loss_slope(loss, beside, t[j], a, b) - s);
        }
        const wide size = W(fabs)(y[j].v) * (1 + W(fabs)(t[j])) + W(fabs)(t[j]) + 1;
        const wide steep = 1 + a + W(fabs)(expected_loss_curve(loss, y[j].v, t[j], a, b));
        value.v += v;
        value.e += v_off + 4 * eps * (W(fabs)(v) + size * (1 + a));
        dy[j].v = scale * s;
        dy[j].e = scale * (s_off + 4 * eps * (W(fabs)(s) + size * steep)) + smallest_of(type);
    }
    return value;
}

number expected_loss_of_row(nnc_dtype type, int loss, ptrdiff_t n, const number *y, const wide *t,
                            int64_t label, wide scale, double a, double b, number *dy) {
    switch (loss) {
    case NNC_LOSS_cross_entropy: return entropy_row(type, n, y, t, label, scale, a, dy);
    case NNC_LOSS_kl_divergence: return divergence_row(type, n, y, t, scale, dy);
    case NNC_LOSS_gaussian_nll: return gaussian_row(type, n / 2, y, t, scale, dy);
    default:
        return elementwise_row(type, loss, n, y, t, scale, as_real(type, a), as_real(type, b), dy);
    }
}

/* ---- a network ---------------------------------------------------------------------------- */

typedef struct {
    number *z, *y, *d; /* of one row: before and after the activation, gradient of z */
} layer_row;

typedef struct {
    const nnc_plan *plan;
    nnc_dtype type;
    const void *theta;
    number *x;
    layer_row *rows;
} network;

static number parameter(const network *net, ptrdiff_t i) {
    return (number){get(net->type, net->theta, i), 0};
}

static network open_network(const nnc_plan *plan, const void *theta) {
    network net = {plan, plan->kernels->dtype, theta, NULL, NULL};
    net.x = zeroed((size_t)plan->steps[0].n_in, sizeof *net.x);
    net.rows = zeroed((size_t)plan->n_steps, sizeof *net.rows);
    for (int s = 0; s < plan->n_steps; s++) {
        const ptrdiff_t n = plan->steps[s].n_out;
        net.rows[s] =
            (layer_row){zeroed((size_t)n, sizeof(number)), zeroed((size_t)n, sizeof(number)),
                        zeroed((size_t)n, sizeof(number))};
    }
    return net;
}

static void close_network(network *net) {
    for (int s = 0; s < net->plan->n_steps; s++)
        free(net->rows[s].z), free(net->rows[s].y), free(net->rows[s].d);
    free(net->rows), free(net->x);
}

static void forward(network *net, const void *x) {
    const nnc_dtype type = net->type;
    for (ptrdiff_t i = 0; i < net->plan->steps[0].n_in; i++)
        net->x[i] = (number){get(type, x, i), 0};
    for (int s = 0; s < net->plan->n_steps; s++) {
        const nnc_step *step = &net->plan->steps[s];
        const number *in = s ? net->rows[s - 1].y : net->x;
        const layer_row *row = &net->rows[s];
        const wide r = roundings(type, step->n_in);
        for (ptrdiff_t j = 0; j < step->n_out; j++) {
            number z = {0, 0}, one = {1, 0};
            for (ptrdiff_t i = 0; i < step->n_in; i++)
                add_product(&z, in[i], parameter(net, step->w + i * step->n_out + j), r);
            if (step->b >= 0) add_product(&z, one, parameter(net, step->b + j), r);
            row->z[j] = z;
            if (step->act < NNC_N_ACTS) row->y[j] = activated(type, step->act, z, step->act_a);
        }
        if (step->act == NNC_ACT_softmax) expected_softmax(type, step->n_out, row->z, row->y);
        if (step->act == NNC_ACT_log_softmax)
            expected_log_softmax(type, step->n_out, row->z, row->y);
    }
}

/* From the gradient of the last y, in d, to that of the last z. */
static void through_output(network *net) {
    const nnc_dtype type = net->type;
    const nnc_step *step = &net->plan->steps[net->plan->n_steps - 1];
    const layer_row *row = &net->rows[net->plan->n_steps - 1];
    if (step->act == NNC_ACT_softmax) {
        number mean = {0, 0};
        const wide r = (wide)(step->n_out + 2) * epsilon_of(type);
        for (ptrdiff_t j = 0; j < step->n_out; j++) add_product(&mean, row->d[j], row->y[j], r);
        for (ptrdiff_t j = 0; j < step->n_out; j++) {
            const number d = row->d[j];
            const number difference = {d.v - mean.v,
                                       d.e + mean.e +
                                           2 * epsilon_of(type) * (W(fabs)(d.v) + W(fabs)(mean.v))};
            row->d[j] = times(type, row->y[j], difference);
        }
        return;
    }
    if (step->act == NNC_ACT_log_softmax) {
        number sum = {0, 0}, one = {1, 0};
        const wide r = (wide)(step->n_out + 2) * epsilon_of(type);
        for (ptrdiff_t j = 0; j < step->n_out; j++) add_product(&sum, row->d[j], one, r);
        for (ptrdiff_t j = 0; j < step->n_out; j++) {
            const number y = row->y[j];
            const wide p = W(exp)(y.v);
            const number share =
                times(type, (number){p, p * (2 * y.e + 2 * epsilon_of(type))}, sum);
            row->d[j].v -= share.v;
            row->d[j].e += share.e + epsilon_of(type) * W(fabs)(row->d[j].v);
        }
        return;
    }
    for (ptrdiff_t j = 0; j < step->n_out; j++)
        row->d[j] =
            times(type, row->d[j], slope_of(type, step->act, row->z[j], row->y[j], step->act_a));
}

/* Adds this row's part of the gradient. */
static void backward(network *net, number *gradient, ptrdiff_t all_rows) {
    const nnc_dtype type = net->type;
    const wide by_rows = roundings(type, all_rows);
    for (int s = net->plan->n_steps - 1; s >= 0; s--) {
        const nnc_step *step = &net->plan->steps[s];
        const number *in = s ? net->rows[s - 1].y : net->x, *d = net->rows[s].d;
        const number one = {1, 0};
        for (ptrdiff_t j = 0; j < step->n_out; j++) {
            for (ptrdiff_t i = 0; i < step->n_in; i++)
                add_product(&gradient[step->w + i * step->n_out + j], in[i], d[j], by_rows);
            if (step->b >= 0) add_product(&gradient[step->b + j], one, d[j], by_rows);
        }
        if (s == 0) return;
        const layer_row *below = &net->rows[s - 1];
        for (ptrdiff_t i = 0; i < step->n_in; i++) {
            number dx = {0, 0};
            for (ptrdiff_t j = 0; j < step->n_out; j++)
                add_product(&dx, d[j], parameter(net, step->w + i * step->n_out + j),
                            roundings(type, step->n_out));
            below->d[i] = times(
                type, dx, slope_of(type, step[-1].act, below->z[i], below->y[i], step[-1].act_a));
        }
    }
}

static wide weight_of_row(const nnc_samples *s, ptrdiff_t i) {
    return s->weights ? (wide)s->weights[s->index ? s->index[i] : i] : 1;
}

number expected_run(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                    number *gradient) {
    network net = open_network(plan, theta);
    const nnc_step *last = &plan->steps[plan->n_steps - 1];
    const layer_row *top = &net.rows[plan->n_steps - 1];
    const nnc_loss_info *info = &nnc_losses[plan->loss];
    const ptrdiff_t n = last->n_out;
    const ptrdiff_t targets = n / info->per_target;
    wide count = 0;
    for (ptrdiff_t i = 0; i < samples->rows; i++) count += weight_of_row(samples, i);
    if (info->mean == NNC_MEAN_ELEMENTS) count *= (wide)targets;
    wide *t = zeroed((size_t)n, sizeof *t);
    number loss = {0, 0};
    for (ptrdiff_t i = 0; i < plan->n_params; i++) gradient[i] = (number){0, 0};
    for (ptrdiff_t i = 0; i < samples->rows; i++) {
        const ptrdiff_t row = samples->index ? (ptrdiff_t)samples->index[i] : i;
        const wide weight = weight_of_row(samples, i);
        if (weight == 0) continue;
        forward(&net, at(net.type, samples->x, row * samples->ldx));
        for (ptrdiff_t j = 0; j < targets && samples->t; j++)
            t[j] = get(net.type, samples->t, row * samples->ldt + j);
        const number of_row = expected_loss_of_row(
            net.type, plan->loss, n, info->output != NNC_OUTPUT_ANY ? top->z : top->y,
            samples->t ? t : NULL, samples->labels ? samples->labels[row] : -1, weight / count,
            plan->loss_a, plan->loss_b, top->d);
        if (info->output == NNC_OUTPUT_ANY) through_output(&net);
        loss.v += weight * of_row.v / count, loss.e += weight * of_row.e / count;
        backward(&net, gradient, samples->rows);
    }
    loss.e += W(fabs)(loss.v) * (wide)(samples->rows * n + 4) * (wide)DBL_EPSILON;
    free(t);
    close_network(&net);
    return loss;
}

void expected_predict(const nnc_plan *plan, const void *theta, const void *x, ptrdiff_t ldx,
                      ptrdiff_t rows, number *out) {
    network net = open_network(plan, theta);
    const layer_row *top = &net.rows[plan->n_steps - 1];
    const ptrdiff_t n = plan->steps[plan->n_steps - 1].n_out;
    for (ptrdiff_t i = 0; i < rows; i++) {
        forward(&net, at(net.type, x, i * ldx));
        for (ptrdiff_t j = 0; j < n; j++) out[i * n + j] = top->y[j];
    }
    close_network(&net);
}
