/* Activations that vmath.h does not have, of one number and without branches, as there: the normal
 * distribution under gelu, mish, sin, and others, with their derivatives where one formula would
 * lose digits. What is small on the left, x times something that decays like exp(-x^2 / 2), is
 * rounded once, at the end.
 *
 * Errors are max |computed - true| / ulp(true) with FMA, of float over all its numbers, of double
 * over some 10 million: tests/c/sweep_acts.c measures them. The polynomials are minimax fits made
 * for this file, as those of vmath.h. */

/* a b - p, p the rounded product: its error. Exact where it is not too small for the type. */
ALWAYS_INLINE real vm_product_low(real a, real b, real p) {
#if NNC_HAS_FMA
    return FMA(a, b, -p);
#else /* Dekker: products of halves are exact */
    const VM_UINT top = ~(((VM_UINT)1 << VM_PICK(12, 27)) - 1);
    const real ah = vm_real(vm_bits(a) & top), al = a - ah;
    const real bh = vm_real(vm_bits(b) & top), bl = b - bh;
    return ((ah * bh - p) + (ah * bl + al * bh)) + al * bl;
#endif
}

/* a - b, and what it lost. */
ALWAYS_INLINE real vm_difference(real a, real b, real *rest) {
    const real d = a - b, back = d - a;
    *rest = (a - (d - back)) - (b + back);
    return d;
}

/* (factor + low) exp(-(h + l)) for h >= 0, rounded once at the end, also where exp alone would be
 * denormal; low and l are rounding errors. Reduced as in v_exp. */
#define VM_FAR VM_C(120.0, 774.0) /* from there on it is 0 */
#define VM_FAR_DEEP VM_PICK(48, 96)
#define VM_TWO_TO_MINUS_FAR_DEEP VM_C(0x1p-48, 0x1p-96)
ALWAYS_INLINE real vm_times_exp(real factor, real low, real h, real l) {
    const real magic = VM_MAGIC + (VM_BIAS + VM_FAR_DEEP);
    const int far = h > VM_FAR;
    h = far ? VM_FAR : h;
    l = far ? R(0) : l;
    const real t = FMA(h, -VM_LOG2E, magic), n = t - magic;
    const real a = FMA(n, -VM_LN2_HI, -h), b = FMA(n, -VM_LN2_LO, -l), r = a + b, r2 = r * r;
    const real p = a + FMA(r2, vm_exp_tail(r, r2), b);
    const real s = vm_real(vm_bits(t) << VM_MANTISSA);
    const real result = (factor + FMA(factor, p, low)) * s * VM_TWO_TO_MINUS_FAR_DEEP;
    return far ? R(0) : result;
}

/* ---- gelu: x Phi(x), Phi the normal distribution -------------------------------------------- */

/* Phi(-y) = exp(-y^2 / 2) G / (1 + 13y / 16) for y >= 0, where G, a polynomial in
 * t = (y - 4) / (y + 4), is within 2^-28.8 (f32, degree 10, y < 15.6) or 2^-57.3 (f64, degree 24,
 * y < 39.5). The half square of y is h + l, G is g + g_low and the
 * divisor d + d_low. */
typedef struct {
    real h, l, g, g_low, d, d_low;
} normal_tail;

ALWAYS_INLINE normal_tail vm_normal_tail(real y) {
    const real square = y * y, t = (y - R(4)) / (y + R(4)), t2 = t * t, t4 = t2 * t2, t8 = t4 * t4;
#if NNC_REAL_IS_F32
    const real c0 = R(0x1.9ae008p-2), c0_low = R(-0x1.7543aap-27);
    const real a = FMA(R(0x1.1c3a64p-5), t, R(-0x1.c4b1d0p-4));
    const real b = FMA(R(-0x1.4dcceap-6), t, R(0x1.40e00ap-7));
    const real c = FMA(R(-0x1.041f5ep-8), t, R(0x1.a97354p-7));
    const real e = FMA(R(0x1.1483c0p-11), t, R(-0x1.033174p-13));
    const real f = FMA(R(-0x1.e88514p-15), t, R(-0x1.0bb616p-14));
    const real p = FMA(f, t8, FMA(FMA(e, t2, c), t4, FMA(b, t2, a)));
#else
    const real c0 = R(0x1.9ae007455e2abp-2), c0_low = R(-0x1.594fc64bdbb8fp-56);
    const real a = FMA(R(0x1.1c3a6515a0ff4p-5), t, R(-0x1.c4b1d2caf0bb9p-4));
    const real b = FMA(R(-0x1.4dcd09fc77aa3p-6), t, R(0x1.40e2c299e6f22p-7));
    const real c = FMA(R(-0x1.0421362639ff5p-8), t, R(0x1.a95af000fbb62p-7));
    const real e = FMA(R(0x1.159d351a977e0p-11), t, R(-0x1.d6fbbb4c626e5p-14));
    const real f = FMA(R(-0x1.14dcdb3fadcdfp-14), t, R(-0x1.65a1bf6eb0e6cp-14));
    const real n = FMA(R(0x1.58712c9136993p-17), t, R(0x1.303c04d51e70bp-16));
    const real i = FMA(R(-0x1.0c5f3ba19dcf2p-19), t, R(-0x1.8b0356a46b19bp-19));
    const real j = FMA(R(0x1.cf4c92ffdff3cp-22), t, R(0x1.87711b3cbd565p-22));
    const real k = FMA(R(-0x1.7be5aaf1d15fep-24), t, R(-0x1.2858d8e3715f6p-28));
    const real m = FMA(R(0x1.d1129c3bd3f64p-27), t, R(-0x1.3d25b6346c682p-26));
    const real o = FMA(R(-0x1.ad5041e4ebff5p-32), t, R(0x1.f96954ece1e0cp-28));
    const real q = FMA(R(-0x1.5c991d6b1efb5p-32), t, R(-0x1.62c9cbc029ddbp-30));
    const real low_half =
        FMA(FMA(FMA(j, t2, i), t4, FMA(n, t2, f)), t8, FMA(FMA(e, t2, c), t4, FMA(b, t2, a)));
    const real p = FMA(FMA(FMA(q, t2, o), t4, FMA(m, t2, k)), t8 * t8, low_half);
#endif
    const real d = FMA(R(0.8125), y, R(1)), more = FMA(t, p, c0_low), g = c0 + more;
    return (normal_tail){.h = R(0.5) * square,
                         .l = R(0.5) * vm_product_low(y, y, square),
                         .g = g,
                         .g_low = more - (g - c0),
                         .d = d,
                         .d_low = FMA(R(0.8125), y, R(1) - d)};
}

/* factor G / (1 + 13y / 16), as a rounded quotient and the rest. */
ALWAYS_INLINE real vm_over(normal_tail q, real factor, real *rest) {
    const real i = R(1) / q.d, residual = FMA(-i, q.d_low, FMA(-i, q.d, R(1)));
    const real product = factor * q.g, quotient = product * i;
    const real low = FMA(factor, q.g_low, vm_product_low(factor, q.g, product));
    *rest = FMA(quotient, residual, FMA(low, i, vm_product_low(product, i, quotient)));
    return quotient;
}

ALWAYS_INLINE real v_gelu(real x) {
    const real y = FABS(x);
    const normal_tail q = vm_normal_tail(y);
    real rest, quotient = vm_over(q, y, &rest);
    const real m = vm_times_exp(quotient, rest, q.h, q.l);
    return x < R(0) ? -m : x - m;
}

#define VM_DENSITY_AT_0 R(0.398942280401432677939946) /* 1 / sqrt(2 pi) */

/* Phi(x) + x phi(x), phi the density: on the left D = Phi(-y) - y phi(y), on the right 1 - D. */
ALWAYS_INLINE real v_gelu_slope(real x) {
    const real y = FABS(x);
    const normal_tail q = vm_normal_tail(y);
    real rest, quotient = vm_over(q, R(1), &rest);
    const real d = vm_times_exp(FMA(-VM_DENSITY_AT_0, y, quotient), rest, q.h, q.l);
    return x < R(0) ? d : R(1) - d;
}

/* (2 - x^2) phi(x) */
ALWAYS_INLINE real v_gelu_curve(real x) {
    const real square = x * x, low = vm_product_low(x, x, square);
    const real bend = (R(2) - square) - low;
    return vm_times_exp(VM_DENSITY_AT_0 * bend, R(0), R(0.5) * square, R(0.5) * low);
}

/* ---- gelu_tanh: x s(v), s the sigmoid, v = 2 sqrt(2 / pi) (x + 0.044715 x^3) ------------------
 */

#define VM_GELU_1 VM_C(0x1.988454p+0, 0x1.9884533d43651p+0) /* 2 sqrt(2 / pi) */
#define VM_GELU_1_LOW VM_C(-0x1.857936p-25, -0x1.cbc0d30ebfd15p-54)
#define VM_GELU_3 VM_C(0x1.2444f2p-4, 0x1.2444f2a4d8b4bp-4) /* times 0.044715 */
#define VM_GELU_3_LOW VM_C(0x1.49b16ap-29, -0x1.6c843a29d1c70p-61)
#define VM_GELU_FAR VM_C(11.25, 21.79) /* from there on x s(v) and its derivatives are 0 */

/* v of y >= 0 as a rounded number and the rest. */
ALWAYS_INLINE real vm_gelu_argument(real y, real *rest) {
    const real square = y * y, cube = VM_GELU_3 * square, sum = VM_GELU_1 + cube;
    const real other = sum - VM_GELU_1;
    real low = (VM_GELU_1 - (sum - other)) + (cube - other);
    low += vm_product_low(VM_GELU_3, square, cube) + VM_GELU_1_LOW;
    low = FMA(VM_GELU_3, vm_product_low(y, y, square), FMA(VM_GELU_3_LOW, square, low));
    const real v = y * sum;
    *rest = FMA(y, low, vm_product_low(y, sum, v));
    return v;
}

ALWAYS_INLINE real v_gelu_tanh(real x) {
    const real size = FABS(x), y = size > VM_GELU_FAR ? VM_GELU_FAR : size;
    real rest, v = vm_gelu_argument(y, &rest);
    const real m = vm_times_sigmoid_of(y, v, rest), left = size > VM_GELU_FAR ? R(0) : m;
    return x < R(0) ? -left : x - left;
}

/* x v' = 3v - 4 sqrt(2 / pi) x, as a rounded number and the rest. */
ALWAYS_INLINE real vm_gelu_rise(real y, real v, real rest, real *low) {
    const real more = R(3) * v, less = R(2) * VM_GELU_1 * y;
    real lost, rise = vm_difference(more, less, &lost);
    lost += vm_product_low(R(3), v, more);
    lost -= vm_product_low(R(2) * VM_GELU_1, y, less);
    lost += FMA(R(-2) * VM_GELU_1_LOW, y, R(3) * rest);
    const real sum = rise + lost;
    *low = (rise - sum) + lost;
    return sum;
}

/* On the left D = s(-v) (1 - x v' s(v)), on the right 1 - D. With q = s(-v), which has more digits
 * than s(v), the factor is (1 - x v') + x v' q. */
ALWAYS_INLINE real v_gelu_tanh_slope(real x) {
    const real size = FABS(x), y = size > VM_GELU_FAR ? VM_GELU_FAR : size;
    real rest, low, v = vm_gelu_argument(y, &rest);
    const real rise = vm_gelu_rise(y, v, rest, &low);
    const real factor = (R(1) - rise) + FMA(rise, v_sigmoid(-v), -low);
    const real m = vm_times_sigmoid_of(factor, v, rest);
    const real d = size > VM_GELU_FAR ? R(0) : m;
    return x < R(0) ? d : R(1) - d;
}

/* s(-v) s(v) (2 v' + x v'' - x v'^2 tanh(v / 2)), which is even. */
ALWAYS_INLINE real v_gelu_tanh_curve(real x) {
    const real size = FABS(x), y = size > VM_GELU_FAR ? VM_GELU_FAR : size, square = y * y;
    real rest, low, v = vm_gelu_argument(y, &rest);
    const real rise = vm_gelu_rise(y, v, rest, &low);
    const real slope = FMA(R(3) * VM_GELU_3, square, VM_GELU_1);
    const real bend = FMA(R(12) * VM_GELU_3, square, R(2) * VM_GELU_1);
    const real factor = FMA(-rise * slope, v_tanh(R(0.5) * v), bend);
    const real d = vm_times_sigmoid_of(factor * v_sigmoid(v), v, rest);
    return size > VM_GELU_FAR ? R(0) : d;
}

/* ---- mish: x tanh(log(1 + exp(x))) ------------------------------------------------------------

 * With q = exp(-|x|) the tanh is, on the left, q (1 - K), K = q (1 + q) / (2 + 2q + q^2), and on
 * the right 1 - K, K = 2 q^2 / (1 + 2q + 2q^2). */
typedef struct {
    int left;
    real y, q, i, more; /* |x|, exp(-y), and i (1 + more) is 1 over the divisor of K */
} mish_parts;

ALWAYS_INLINE mish_parts vm_mish(real x) {
    const real size = FABS(x), y = size > VM_FAR ? VM_FAR : size, q = v_exp(-y), q2 = q + q;
    const int left = x < R(0);
    const real first = left ? R(2) : R(1), sum = first + q2, factor = left ? q : q2;
    const real d = FMA(factor, q, sum), low = (q2 - (sum - first)) + FMA(factor, q, sum - d);
    const real i = R(1) / d;
    return (mish_parts){left, y, q, i, FMA(-i, low, FMA(-i, d, R(1)))};
}

ALWAYS_INLINE real v_mish(real x) {
    const mish_parts p = vm_mish(x);
    const real quotient = (p.left ? FMA(p.q, p.q, p.q) : (p.q + p.q) * p.q) * p.i;
    const real k = FMA(quotient, p.more, quotient), t = FMA(-p.y, k, p.y);
    const real m = vm_times_exp(t, FMA(-p.y, k, p.y - t), FABS(x), R(0));
    return p.left ? -m : FMA(-p.y, k, x);
}

/* The derivative is, with d the divisor of K,
 *   q (4 (1 - y) + q (6 - 4y + q (4 + q))) / d^2 on the left, y = |x|,
 *   1 + 2 q^2 (2x - 1 + 2q (x - 1) - 2 q^2) / d^2 on the right. */
ALWAYS_INLINE real v_mish_slope(real x) {
    const mish_parts p = vm_mish(x);
    const real left = FMA(p.q, FMA(p.q, R(4) + p.q, FMA(R(-4), p.y, R(6))), R(4) - R(4) * p.y);
    const real right = FMA(R(2) * p.q, (p.y - R(1)) - p.q, FMA(R(2), p.y, R(-1)));
    const real above = p.left ? left : R(2) * p.q * p.q * right;
    const real quotient = above * p.i * p.i, ratio = FMA(quotient, p.more + p.more, quotient);
    const real m = vm_times_exp(ratio, R(0), FABS(x), R(0));
    return p.left ? m : R(1) + ratio;
}

/* The second one, in y = |x|: 4 q (2 (1 + q) d - y (2 + 2q - 3q^2 - 2q^3)) / d^3 on the left and
 * 4 q^2 (2 (1 + q) d - y (2 + 3q - 2q^2 - 2q^3)) / d^3 on the right. */
ALWAYS_INLINE real v_mish_curve(real x) {
    const mish_parts p = vm_mish(x);
    const real q = p.q, q2 = q + q, d = p.left ? FMA(q, q, R(2) + q2) : FMA(q2, q, R(1) + q2);
    const real first = p.left ? R(2) : R(3), second = p.left ? R(3) : R(2);
    const real bend = FMA(q, FMA(-q, second + q2, first), R(2));
    const real quotient = R(4) * FMA(q2 + R(2), d, -(p.y * bend)) * p.i * p.i * p.i;
    const real ratio = FMA(quotient, R(3) * p.more, quotient);
    return vm_times_exp(p.left ? ratio : ratio * q, R(0), FABS(x), R(0));
}

/* ---- x - tanh(x) ----------------------------------------------------------------------------

 * |x| < 1.4: |x|^3 / G(x^2), G as in v_tanh: 2^-26.9 (f32, degree 4), 2^-59.6 (f64, degree 10). */
ALWAYS_INLINE real v_tanhshrink(real x) {
    const real y = FABS(x), z = y * y;
#if NNC_REAL_IS_F32
    real g = FMA(R(-0x1.479158p-17), z, R(0x1.06608ep-12));
    g = FMA(FMA(g, z, R(-0x1.765762p-8)), z, R(0x1.33332cp+0));
#else
    real g = FMA(R(-0x1.e19476ba7cbdfp-44), z, R(0x1.cf9ef72ac1b86p-39));
    g = FMA(FMA(g, z, R(-0x1.3b611ef4d0854p-34)), z, R(0x1.91ca49fea9920p-30));
    g = FMA(FMA(g, z, R(-0x1.fbe7f399593bap-26)), z, R(0x1.4175b7f519babp-21));
    g = FMA(FMA(g, z, R(-0x1.997cb8159d1f2p-17)), z, R(0x1.0a4e158414437p-12));
    g = FMA(FMA(g, z, R(-0x1.767dce4348a35p-8)), z, R(0x1.3333333333332p+0));
#endif
    const real under = FMA(g, z, R(3)), i = R(1) / under, cube = y * z, quotient = cube * i;
    const real low = FMA(y, vm_product_low(y, y, z), vm_product_low(y, z, cube));
    const real near = FMA(FMA(-quotient, under, cube) + low, i, quotient), far = y - v_tanh(y);
    return vm_real(vm_bits(y < R(1.4) ? near : far) | (vm_bits(x) & VM_SIGN));
}

ALWAYS_INLINE real v_tanh_squared(real x) {
    const real t = v_tanh(x);
    return t * t;
}

/* ---- sin -------------------------------------------------------------------------------------

 * sin(x) = (-1)^n sin(r) with x = (n + shift) pi + r, |r| < 1.64, shift 0; for cos it is 1/2, and
 * -sin(r). Pi stands in five parts, and what r loses is kept, so that digits do not cancel near
 * multiples of pi. From VM_SIN_END on, where neighbours are 1/8 apart, it is NaN, as for infinity.
 The error of the fit relative to sin is 2^-31.0 (f32, degree 11), 2^-61.5 (f64, 17).
 * Without FMA only for n of less than 13 (26) bits. */
#define VM_SIN_END VM_C(0x1p20, 0x1p49)
ALWAYS_INLINE real vm_sin(real x, real shift) {
    const real u = FMA(x, R(0.318309886183790671537768), -shift), t = u + VM_MAGIC;
    const real m = (t - VM_MAGIC) + shift;
    const real a = FMA(-m, VM_C(0x1.92p+1, 0x1.921fb58p+1), x);
    const real b = FMA(-m, VM_C(0x1.fb4p-11, -0x1.dde974p-26), a);
    const real third = VM_C(0x1.444p-23, 0x1.1a6263p-53), c = m * third;
    const real fourth = VM_C(0x1.68c234p-38, 0x1.8a2e03707344ap-80), d = m * fourth;
    real rest, more;
    const real high = vm_difference(vm_difference(b, c, &rest), d, &more);
    rest = ((rest - vm_product_low(m, third, c)) + more) - vm_product_low(m, fourth, d);
    rest = FMA(-m, VM_C(0x1.898cc6p-63, 0x1.024e088a8p-134), rest);
    const real r = vm_difference(high, -rest, &more), low = more, z = r * r;
#if NNC_REAL_IS_F32
    real s = FMA(R(-0x1.ad2774p-26), z, R(0x1.727464p-19));
    s = FMA(FMA(FMA(s, z, R(-0x1.a021a4p-13)), z, R(0x1.111132p-7)), z, R(-0x1.555556p-3));
#else
    real s = FMA(R(0x1.873fa2bf7cfddp-49), z, R(-0x1.ae3aa5e393bafp-41));
    s = FMA(FMA(s, z, R(0x1.6123abfc8844dp-33)), z, R(-0x1.ae645457eeae5p-26));
    s = FMA(FMA(s, z, R(0x1.71de3a51a9640p-19)), z, R(-0x1.a01a01a012f48p-13));
    s = FMA(FMA(s, z, R(0x1.11111111110b2p-7)), z, R(-0x1.5555555555555p-3));
#endif
    const real cosine = FMA(R(-0.4053), z, R(1)); /* of r, close enough for what is low */
    const real sine = r + FMA(r * z, s, low * cosine);
    const VM_UINT odd = vm_bits(t) << VM_PICK(31, 63);
    return FABS(x) < VM_SIN_END ? vm_real(vm_bits(sine) ^ odd) : VM_NAN;
}

ALWAYS_INLINE real v_sin(real x) {
    const real y = vm_sin(x, R(0));
    return x == R(0) ? x : y; /* -0 */
}
ALWAYS_INLINE real v_cos(real x) { return -vm_sin(x, R(0.5)); }

/* ---- exp(-x^2) and its derivatives ------------------------------------------------------------
 */

ALWAYS_INLINE real vm_times_gaussian(real factor, real x) {
    const real square = x * x;
    return vm_times_exp(factor, R(0), square, vm_product_low(x, x, square));
}
ALWAYS_INLINE real v_gaussian(real x) { return vm_times_gaussian(R(1), x); }
ALWAYS_INLINE real v_gaussian_slope(real x) { return vm_times_gaussian(R(-2) * x, x); }
ALWAYS_INLINE real v_gaussian_curve(real x) {
    const real square = x * x, bend = (square - R(0.5)) + vm_product_low(x, x, square);
    return vm_times_gaussian(R(4) * bend, x);
}

/* ---- squareplus: (x + root) / 2 with root = sqrt(x^2 + b), b > 0 --------------------------------

 * On the left b / 4 over half (|x| + root), which does not cancel. Where b no longer counts the
 root
 * is |x|, so squares do not overflow. */
ALWAYS_INLINE real vm_root(real y, real b) {
    const real root = SQRT(FMA(y, y, b));
    return y > VM_C(0x1p40, 0x1p100) ? y : root;
}
/* Half of |x| + root for x >= 0, b / 4 over that for x < 0: rounded once. */
ALWAYS_INLINE real v_squareplus(real x, real b) {
    const real y = FABS(x), root = vm_root(y, b), half = R(0.5) * root + R(0.5) * y;
    const int huge = y > VM_C(0x1p40, 0x1p100);
    /* What the square, its sum with b, the root and its sum with y lost. */
    const real square = y * y, sum = square + b, back = sum - square;
    const real lost = ((square - (sum - back)) + (b - back)) + vm_product_low(y, y, square);
    const real of_root = (((sum - root * root) - vm_product_low(root, root, root * root)) + lost);
    const real rest = R(0.25) * of_root / root + (R(0.5) * y - (half - R(0.5) * root));
    const real low = huge ? R(0) : rest;
    const real c = R(0.25) * b, i = R(1) / half, quotient = c * i;
    const real residual = FMA(-i, low, FMA(-i, half, R(1)));
    const real left = FMA(quotient, residual, vm_product_low(c, i, quotient)) + quotient;
    return x < R(0) ? (y == VM_INF ? R(0) : left) : half + low;
}
ALWAYS_INLINE real v_squareplus_slope(real x, real b) {
    const real y = FABS(x), left = v_squareplus(-y, b) / vm_root(y, b);
    return x < R(0) ? left : R(1) - left;
}
ALWAYS_INLINE real v_squareplus_curve(real x, real b) {
    const real root = vm_root(FABS(x), b);
    return R(0.5) * b / root / root / root;
}
/* From y, which is (x^2 + b / 4) over half the root or the like: 1 / (1 + b / (4 y^2)). */
ALWAYS_INLINE real v_squareplus_slope_of(real y, real b) {
    const real z = R(0.5) * SQRT(b) / y;
    return R(1) / FMA(z, z, R(1));
}
