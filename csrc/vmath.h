/* Elementary functions of one number, without branches, for loops that the compiler vectorises.
 *
 * Needs from the includer: `real` (float or double), NNC_REAL_IS_F32 (1 or 0), R(x) (a literal of
 * type real) and FMA(a, b, c).  There is no include guard: to have both types in one file, include
 * it twice and rename the v_ and vm_ functions with #define in between.
 *
 * Every operation is correctly rounded (+ - * / FMA), exact, or on integers, and their order is
 * fixed by the source, so each instruction set with FMA gives the same bits.  That forbids
 * -ffast-math, -ffp-contract=fast, reciprocal estimates, tables and libm.  Tests are written
 * `x > limit ? limit : x` because this form lets NaN through.  Selects on the same condition stand
 * side by side; spread out, gcc copies all the arithmetic between them into both arms.
 *
 * The errors quoted are max |computed - true| / ulp(true) with FMA: for float over all 2^32
 * arguments, where all seven functions are also monotone, for double over 64 million random ones.
 * tests/c/sweep_vmath.c measures them again.  All polynomials are minimax fits made for this file
 * (Remez exchange in 60 digits with mpmath), the coefficients rounded from the lowest upwards,
 * each time refitting the rest. */
#include <stdint.h>

#undef VM_PICK
#undef VM_C
#if NNC_REAL_IS_F32
#define VM_PICK(f32, f64) f32
#define VM_C(f32, f64) R(f32)
#else
#define VM_PICK(f32, f64) f64
#define VM_C(f32, f64) R(f64)
#endif

#define VM_UINT VM_PICK(uint32_t, uint64_t)
#define VM_ABS(x) VM_PICK(__builtin_fabsf, __builtin_fabs)(x)
#define VM_INF VM_PICK(__builtin_inff(), __builtin_inf())
#define VM_NAN VM_PICK(__builtin_nanf(""), __builtin_nan(""))
#define VM_MANTISSA VM_PICK(23, 52) /* bits of the stored mantissa */
#define VM_BIAS VM_PICK(127, 1023)  /* of the exponent */
#define VM_SIGN ((VM_UINT)1 << VM_PICK(31, 63))
#define VM_TWO_TO_MANTISSA VM_C(0x1p23, 0x1p52)

/* x + VM_MAGIC rounds x to an integer, which then stands in the low bits of the sum: the exponent
 * field of a power of two is one shift away, and no conversion is needed. */
#define VM_MAGIC VM_C(0x1.8p23, 0x1.8p52)
#define VM_LOG2E VM_C(0x1.715476p+0, 0x1.71547652b82fep+0)
/* log(2) in two parts; n * VM_LN2_HI is exact for every n that occurs. */
#define VM_LN2 VM_C(0x1.62e43p-1, 0x1.62e42fefa39efp-1)
#define VM_LN2_HI VM_C(0x1.62e4p-1, 0x1.62e42fefa38p-1)
#define VM_LN2_LO VM_C(0x1.7f7d1cp-20, 0x1.ef35793c7673p-45)

/* exp is 0 below, or inf above; exp(-y) of such a y is 2^n with n >= -126 - VM_DEEP. */
#define VM_EXP_LO VM_C(-104.0, -746.0)
#define VM_EXP_HI VM_C(89.0, 710.0)
#define VM_DEEP VM_PICK(24, 54)
#define VM_TWO_TO_MINUS_DEEP VM_C(0x1p-24, 0x1p-54)

/* Always inlined, also where they are compiled otherwise than their callers: a loop with a call in
 * it is not vectorised. */
#ifndef VM_INLINE
#define VM_INLINE static inline __attribute__((always_inline))
#endif

VM_INLINE VM_UINT vm_bits(real x) {
    union {
        real value;
        VM_UINT bits;
    } u = {x};
    return u.bits;
}

VM_INLINE real vm_real(VM_UINT bits) {
    union {
        VM_UINT bits;
        real value;
    } u = {bits};
    return u.value;
}

/* q of exp(r) = 1 + r + r^2 q(r), |r| <= log(2)/2; r2 = r^2.  Error of the fit relative to
 * exp(r)-1: 2^-25.9 (f32, degree 4), 2^-58.0 (f64, degree 10). */
VM_INLINE real vm_exp_tail(real r, real r2) {
#if NNC_REAL_IS_F32
    real a = FMA(R(0x1.5554aap-3), r, R(0.5));
    real b = FMA(R(0x1.122beep-7), r, R(0x1.55553ap-5));
    return FMA(FMA(R(0x1.6cd2c8p-10), r2, b), r2, a);
#else
    real r4 = r2 * r2;
    real a = FMA(R(0x1.5555555555559p-3), r, R(0.5));
    real b = FMA(R(0x1.111111110f664p-7), r, R(0x1.5555555555556p-5));
    real c = FMA(R(0x1.a01a01afea665p-13), r, R(0x1.6c16c16c159e0p-10));
    real d = FMA(R(0x1.71ddf8e9ea188p-19), r, R(0x1.a01a01aceb457p-16));
    real e = FMA(R(0x1.af5bfaffff4f5p-26), r, R(0x1.27e4ebb34d2aap-22));
    a = FMA(b, r2, a);
    c = FMA(d, r2, c);
    e = FMA(R(0x1.1f050df6588e4p-29), r2, e);
    return FMA(FMA(e, r4, c), r4, a);
#endif
}

/* What log(1+f) lacks to f, -1/4 <= f <= 1/2.  With s = f/(2+f), z = s^2:
 * log(1+f) = 2 atanh(s) = f - s (f - z P(z)).  Error of the fit relative to log(1+f):
 * 2^-28.4 (f32, degree 2), 2^-62.6 (f64, degree 7). */
VM_INLINE real vm_log_tail(real f, real plus) {
    real s = f / (R(2.0) + f), z = s * s, z2 = z * z;
#if NNC_REAL_IS_F32
    real p = FMA(R(0x1.36ee9p-2), z2, FMA(R(0x1.992a9ap-2), z, R(0x1.5555b4p-1)));
#else
    real a = FMA(R(0x1.999999999c187p-2), z, R(0x1.555555555554fp-1));
    real b = FMA(R(0x1.c71c7490dc151p-3), z, R(0x1.24924921e32dfp-2));
    real c = FMA(R(0x1.3b35ca03a3838p-3), z, R(0x1.745c4a9567f66p-3));
    real d = FMA(R(0x1.1b85cbe2a139ep-3), z, R(0x1.0dcaf7ffd6ed1p-3));
    real p = FMA(FMA(FMA(d, z2, c), z2, b), z2, a);
#endif
    return FMA(-s, FMA(-z, p, f), plus);
}

/* k log(2) + log(1+f): the large parts are added first and their rounding error put back. */
VM_INLINE real vm_log_sum(real k, real f) {
    real high = FMA(k, VM_LN2_HI, f);
    real low = f - FMA(k, -VM_LN2_HI, high);
    return high + (low + vm_log_tail(f, k * VM_LN2_LO));
}

/* exp(x).  f32 0.914 ulp, f64 0.882 ulp.
 * x = n log(2) + r; exp(x) = 2^n (1 + p), p = r + r^2 q(r), r = a + b with a exact, so that only
 * small terms are rounded.  2^n is applied in two halves, as it may lie outside the type. */
VM_INLINE real v_exp(real x) {
    const real magic = VM_MAGIC + 2 * VM_BIAS;
    x = x < VM_EXP_LO ? VM_EXP_LO : x;
    x = x > VM_EXP_HI ? VM_EXP_HI : x;
    real t = FMA(x, VM_LOG2E, magic), n = t - magic;
    real a = FMA(n, -VM_LN2_HI, x), b = n * -VM_LN2_LO, r = a + b, r2 = r * r;
    real p = a + FMA(r2, vm_exp_tail(r, r2), b);
    VM_UINT whole = vm_bits(t), half = whole >> 1;
    real s = vm_real(half << VM_MANTISSA);
    return FMA(p, s, s) * vm_real((whole - half) << VM_MANTISSA);
}

/* factor (exp(x) - 1).  With a factor of 1, f32 1.149 ulp, f64 1.213 ulp.
 * Reduced as in exp: 2^n (a + rest) + (2^n - 1), all halved so that 2^n exists for the largest n.
 * The sum of the two large terms keeps its rounding error. */
VM_INLINE real vm_times_expm1(real factor, real x) {
    const real magic = VM_MAGIC + (VM_BIAS - 1);
    real y = x < R(-60.0) ? R(-60.0) : x;
    y = y > VM_EXP_HI ? VM_EXP_HI : y;
    real t = FMA(y, VM_LOG2E, magic), n = t - magic;
    real a = FMA(n, -VM_LN2_HI, y), b = n * -VM_LN2_LO, r = a + b, r2 = r * r;
    real rest = FMA(r2, vm_exp_tail(r, r2), b);
    real s = vm_real(vm_bits(t) << VM_MANTISSA), s1 = s - R(0.5);
    real high = FMA(s, a, s1), low = FMA(s, a, s1 - high);
    real twice = factor + factor, z = FMA(twice, high, twice * FMA(s, rest, low));
    return VM_ABS(x) < VM_C(0x1p-26, 0x1p-55) ? factor * x : z; /* tiny: -0 and denormals */
}
VM_INLINE real v_expm1(real x) { return vm_times_expm1(R(1.0), x); }

/* Klambauer et al. 2017: lambda, and lambda alpha on the left.  f32 1.13
 * ulp, f64 1.03 ulp over 14 million random arguments. */
#define VM_SELU_SCALE R(1.0507009873554804934193349852946)
#define VM_SELU_LEFT R(1.7580993408473768599402175208123)
VM_INLINE real v_selu(real x) {
    real left = vm_times_expm1(VM_SELU_LEFT, x);
    return x > R(0.0) ? VM_SELU_SCALE * x : left;
}

/* log(1+u) for u in [0, inf].  f32 0.955 ulp, f64 0.945 ulp.
 * 1+u = 2^k (1+f) with 3/4 <= 1+f < 3/2, k from the bits of the rounded 1+u; f = 2^-k u + (2^-k-1)
 * is then exact or nearly so. */
VM_INLINE real v_log1p(real u) {
    int huge = u > VM_C(0x1p30, 0x1p60); /* log(1+u) = log(u), and 2^-k would be denormal */
    real v = huge ? R(0.25) * u : u, k0 = huge ? R(2.0) : R(0.0);
    VM_UINT e = (vm_bits(R(1.0) + v) + (vm_bits(R(1.0)) - vm_bits(R(0.75)))) >> VM_MANTISSA;
    real k = vm_real(e | vm_bits(VM_TWO_TO_MANTISSA)) - (VM_TWO_TO_MANTISSA + VM_BIAS);
    real s = vm_real((2 * (VM_UINT)VM_BIAS - e) << VM_MANTISSA);
    real y = vm_log_sum(k + k0, FMA(v, s, s - R(1.0)));
    return u < VM_INF ? y : u;
}

/* log(x).  f32 0.955 ulp, f64 0.939 ulp.  log(0) = -inf, NaN below.
 * x = 2^k (1+f), 3/4 <= 1+f < 3/2, taken from the bits; denormals are scaled up first. */
VM_INLINE real v_log(real x) {
    int tiny = x < VM_C(0x1p-126, 0x1p-1022);
    real m = tiny ? x * VM_TWO_TO_MANTISSA : x, k0 = tiny ? R(0.0) - VM_MANTISSA : R(0.0);
    VM_UINT u = vm_bits(m) + (vm_bits(R(1.0)) - vm_bits(R(0.75)));
    VM_UINT fraction = u & (((VM_UINT)1 << VM_MANTISSA) - 1);
    real k = vm_real((u >> VM_MANTISSA) | vm_bits(VM_TWO_TO_MANTISSA));
    k = k - (VM_TWO_TO_MANTISSA + VM_BIAS) + k0;
    real y = vm_log_sum(k, vm_real(fraction + vm_bits(R(0.75))) - R(1.0));
    y = x < VM_INF ? y : x;
    return x > R(0.0) ? y : x == R(0.0) ? -VM_INF : VM_NAN;
}

/* 1 / (1 + exp(-x)).  f32 1.178 ulp, f64 1.116 ulp.
 * With exp(|x|) = (1+p) / c, c = 2^n: sigmoid(-|x|) = c / (1 + c + p).  The rounding error `low`
 * of the divisor and that of the quotient are put back by one Newton step; left alone, they make
 * 2 ulp.  The other side is 1 minus this one. */
VM_INLINE real v_sigmoid(real x) {
    const real magic = VM_MAGIC + (VM_BIAS + VM_DEEP);
    real y = VM_ABS(x);
    y = y > -VM_EXP_LO ? -VM_EXP_LO : y;
    real t = FMA(y, -VM_LOG2E, magic), n = t - magic;
    real r = FMA(n, VM_LN2_LO, FMA(n, VM_LN2_HI, y)), r2 = r * r;
    real p = FMA(r2, vm_exp_tail(r, r2), r);
    real c = vm_real(vm_bits(t) << VM_MANTISSA) * VM_TWO_TO_MINUS_DEEP; /* may be denormal */
    real g = c + p, d = R(1.0) + g, low = g - (d - R(1.0));
    real i = R(1.0) / d, residual = FMA(-i, low, FMA(-i, d, R(1.0)));
    real q = i * c;
    q = FMA(residual, q, q);
    return x < R(0.0) ? q : R(1.0) - q;
}

/* s(x) s(-x), s the sigmoid: the derivative of s.  With q = s(-|x|) <= 1/2, which is accurate where
 * it is small, q (1 - q). */
VM_INLINE real v_sigmoid_slope(real x) {
    real q = v_sigmoid(-VM_ABS(x));
    return q * (R(1.0) - q);
}

/* 1 / cosh(x)^2, the derivative of tanh.  With e = exp(-2|x|), 4 e / (1 + e)^2; what
 * 1 + e lost in rounding is put back. */
VM_INLINE real v_sech2(real x) {
    real y = VM_ABS(x), e = v_exp(R(-2.0) * y), d = R(1.0) + e, low = e - (d - R(1.0));
    return R(4.0) * e / FMA(d, d, R(2.0) * d * low);
}

/* tanh(x).  f32 0.980 ulp, f64 0.969 ulp.
 * |x| < 0.90625: |x| - |x|^3 / G(x^2), where G(z) = z / (1 - tanh(sqrt z) / sqrt z) is close to
 * 3 + 6z/5; the fit's error relative to tanh is 2^-29.9 (f32, degree 3), 2^-56.8 (f64, degree 7).
 * Above: 1 - 2c / (1 + c + p) with exp(2|x|) = (1+p) / c, c = 2^n.  One division serves both. */
VM_INLINE real v_tanh(real x) {
    const real magic = VM_MAGIC + (VM_BIAS + 1);
    real y = VM_ABS(x), h = y + y, z = y * y;
    h = h > R(40.0) ? R(40.0) : h;
    real t = FMA(h, -VM_LOG2E, magic), n = t - magic;
    real r = FMA(n, VM_LN2_LO, FMA(n, VM_LN2_HI, h)), r2 = r * r;
    real p = FMA(r2, vm_exp_tail(r, r2), r);
    real c = vm_real(vm_bits(t) << VM_MANTISSA); /* 2c */
    real d = FMA(c, R(0.5), R(1.0)) + p;
#if NNC_REAL_IS_F32
    real g = FMA(R(0x1.e67d02p-13), z, R(-0x1.759372p-8));
    g = FMA(FMA(g, z, R(0x1.3332fap+0)), z, R(0x1.800002p+1));
#else
    real g = FMA(R(0x1.50e3db405e0bcp-30), z, R(-0x1.f5ff174d7dccbp-26));
    g = FMA(FMA(g, z, R(0x1.41502239db962p-21)), z, R(-0x1.997ba18a75050p-17));
    g = FMA(FMA(g, z, R(0x1.0a4e132a65721p-12)), z, R(-0x1.767dce3dadb3ap-8));
    g = FMA(FMA(g, z, R(0x1.3333333332cc3p+0)), z, R(0x1.8000000000014p+1));
#endif
    real yz = y * z;
    int small = y < R(0.90625);
    real base = small ? y : R(1.0), over = small ? yz : c, under = small ? g : d;
    return vm_real(vm_bits(base - over / under) | (vm_bits(x) & VM_SIGN));
}

/* s(-(y + rest)), s the sigmoid, in parts, for 0 <= y <= VM_TIMES_HI: with exp(y + rest) = (1+p) /
 * c as in v_sigmoid, i = 1 / (1 + c + p), of which `residual` is what its rounding errors take
 * away, and c = scale VM_TWO_TO_MINUS_TIMES_DEEP. */
#define VM_TIMES_HI VM_C(109.0, 752.0) /* y exp(-y) is 0 from there on */
#define VM_TIMES_DEEP VM_PICK(48, 96)  /* y + rest may go up to 120, 774 */
#define VM_TWO_TO_MINUS_TIMES_DEEP VM_C(0x1p-48, 0x1p-96)
typedef struct {
    real scale, p, i, residual;
} vm_parts;
VM_INLINE vm_parts vm_sigmoid_parts(real y, real rest) {
    const real magic = VM_MAGIC + (VM_BIAS + VM_TIMES_DEEP);
    real t = FMA(y, -VM_LOG2E, magic), n = t - magic;
    real r = FMA(n, VM_LN2_LO, FMA(n, VM_LN2_HI, y)) + rest, r2 = r * r;
    real p = FMA(r2, vm_exp_tail(r, r2), r);
    real s = vm_real(vm_bits(t) << VM_MANTISSA), c = s * VM_TWO_TO_MINUS_TIMES_DEEP;
    real g = c + p, d = R(1.0) + g, low = g - (d - R(1.0));
    real i = R(1.0) / d;
    return (vm_parts){s, p, i, FMA(-i, low, FMA(-i, d, R(1.0)))};
}

/* factor * s(-(y + rest)), rounded once at the end, also where s(-y) alone would be denormal: the
 * rounding errors of the quotient and of its product with the factor are put back. */
VM_INLINE real vm_times_parts(real factor, vm_parts q) {
    real product = factor * q.i, error = FMA(factor, q.i, -product);
    return (product + FMA(product, q.residual, error)) * q.scale * VM_TWO_TO_MINUS_TIMES_DEEP;
}
VM_INLINE real vm_times_sigmoid_of(real factor, real y, real rest) {
    return vm_times_parts(factor, vm_sigmoid_parts(y, rest));
}
VM_INLINE real vm_times_sigmoid(real factor, real y) {
    return vm_times_sigmoid_of(factor, y, R(-0.0));
}

/* x s(x), f32 1.19 ulp, f64 1.10 ulp over 14 million random arguments: with m = |x| s(-|x|), -m on
 * the left and x - m on the right. */
VM_INLINE real v_silu(real x) {
    real y = VM_ABS(x), capped = y > VM_TIMES_HI ? VM_TIMES_HI : y;
    real m = vm_times_sigmoid(capped, capped);
    return x < R(0.0) ? -m : x - m;
}

/* Its derivative: on the left D = q (1 - y (1 - q)) with y = |x|, q = s(-y), on the right 1 - D.
 * 1 - q = (1+p) / (1 + c + p): one exponential and one division serve both. */
VM_INLINE real v_silu_slope(real x) {
    real y = VM_ABS(x), capped = y > VM_TIMES_HI ? VM_TIMES_HI : y;
    vm_parts q = vm_sigmoid_parts(capped, R(-0.0));
    real e = R(1.0) + q.p, low = q.p - (e - R(1.0));
    real product = e * q.i, error = FMA(low, q.i, FMA(e, q.i, -product));
    real other = product + FMA(product, q.residual, error);
    real d = vm_times_parts(FMA(-capped, other, R(1.0)), q);
    return x < R(0.0) ? d : R(1.0) - d;
}

/* And its second one, which is even: q (1 - q) (2 - y tanh(y / 2)). */
VM_INLINE real v_silu_curve(real x) {
    real y = VM_ABS(x), capped = y > VM_TIMES_HI ? VM_TIMES_HI : y;
    real bend = FMA(-capped, v_tanh(R(0.5) * capped), R(2.0));
    return vm_times_sigmoid(v_sigmoid(capped) * bend, capped);
}

/* log(1 + exp(x)).  f32 1.656 ulp, f64 1.576 ulp.
 * max(x, 0) + log1p(exp(-|x|)), exp(-|x|) = e = 2^n (1+p).  1+e is 2 (1 + p/2) for n = 0 and
 * 3/2 (1 + p/3) for n = -1, which skips the rounding of e where it would show most. */
VM_INLINE real v_softplus(real x) {
    const real magic = VM_MAGIC + (VM_BIAS + VM_DEEP);
    real y = VM_ABS(x);
    y = y > -VM_EXP_LO ? -VM_EXP_LO : y;
    real t = FMA(y, -VM_LOG2E, magic), n = t - magic;
    real r = FMA(n, -VM_LN2_LO, FMA(n, -VM_LN2_HI, -y)), r2 = r * r;
    real p = FMA(r2, vm_exp_tail(r, r2), r);
    real s = vm_real(vm_bits(t) << VM_MANTISSA);
    real e = FMA(p, s, s) * VM_TWO_TO_MINUS_DEEP;
    real p2 = R(0.5) * p, p3 = VM_C(0x1.555556p-2, 0x1.5555555555555p-2) * p;
    real ln15 = VM_C(0x1.9f323ep-2, 0x1.9f323ecbf984cp-2);
    int n0 = n > R(-0.5), n1 = n > R(-1.5);
    real f = n0 ? p2 : n1 ? p3 : e, base = n0 ? VM_LN2 : n1 ? ln15 : R(0.0);
    real l = vm_log_tail(f, f);
    return base + (x > R(0.0) ? x + l : l);
}
