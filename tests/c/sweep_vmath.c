/* Error of the functions in csrc/vmath.h, in units in the last place, and their special values.
 *
 *   cc -O3 -std=c11 -ffp-contract=off -fno-math-errno -fno-trapping-math -march=native \
 *      -Icsrc tests/c/sweep_vmath.c -o sweep_vmath -lm
 *   ./sweep_vmath            a sample: every 997th float, 400 000 doubles per function
 *   ./sweep_vmath --all      every float, 64 million doubles per function; minutes each
 *   ./sweep_vmath --all tanh exp    only these functions
 *
 * -march decides which loops are tested: x86-64 has no FMA (wider bounds), haswell is AVX2,
 * skylake-avx512 is AVX-512.  Exit status 1 if a bound or a rule below is broken.
 *
 * With FMA all seven are monotone over all floats, and --all checks that too.
 *
 * An error is |computed - true| / ulp(true), where ulp is the spacing of the type at the true
 * value.  Floats are compared with the double libm, doubles with the long double one.  The digest
 * is of all result bits: builds with FMA must agree in it, whatever the instruction set. */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__FMA__) || defined(__aarch64__)
#define HAVE_FMA 1
#else
#define HAVE_FMA 0
#endif

/* vmath.h twice: its functions and helpers get the type's prefix by renaming. */
#define v_exp PREFIX(exp)
#define v_expm1 PREFIX(expm1)
#define vm_times_expm1 PREFIX(times_expm1)
#define v_selu PREFIX(selu)
#define vm_times_sigmoid PREFIX(times_sigmoid)
#define vm_times_sigmoid_of PREFIX(times_sigmoid_of)
#define v_silu PREFIX(silu)
#define v_silu_slope PREFIX(silu_slope)
#define v_silu_curve PREFIX(silu_curve)
#define v_sigmoid_slope PREFIX(sigmoid_slope)
#define v_sech2 PREFIX(sech2)
#define v_log1p PREFIX(log1p)
#define v_log PREFIX(log)
#define v_sigmoid PREFIX(sigmoid)
#define v_tanh PREFIX(tanh)
#define v_softplus PREFIX(softplus)
#define vm_log_sum PREFIX(log_sum)
#define vm_bits PREFIX(bits)
#define vm_real PREFIX(real)
#define vm_exp_tail PREFIX(exp_tail)
#define vm_log_tail PREFIX(log_tail)

#define real float
#define ireal int32_t
#define NNC_REAL_IS_F32 1
#define R(x) x##f
#define PREFIX(name) f32_##name
#if HAVE_FMA
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif
#include "vmath.h"
#undef real
#undef ireal
#undef NNC_REAL_IS_F32
#undef R
#undef PREFIX
#undef FMA

#define real double
#define ireal int64_t
#define NNC_REAL_IS_F32 0
#define R(x) x
#define PREFIX(name) f64_##name
#if HAVE_FMA
#define FMA(a, b, c) __builtin_fma(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif
#include "vmath.h"
#undef real

/* True values.  The sign of x decides the branch, so no precision is lost on either side. */
static double exact32_sigmoid(double x) {
    double e = exp(-fabs(x));
    return x < 0 ? e / (1 + e) : 1 / (1 + e);
}
static double exact32_softplus(double x) {
    double l = log1p(exp(-fabs(x)));
    return x > 0 ? x + l : l;
}
static long double exact64_sigmoid(long double x) {
    long double e = expl(-fabsl(x));
    return x < 0 ? e / (1 + e) : 1 / (1 + e);
}
static long double exact64_softplus(long double x) {
    long double l = log1pl(expl(-fabsl(x)));
    return x > 0 ? x + l : l;
}
#define exact32_exp exp
#define exact32_expm1 expm1
#define exact32_log1p log1p
#define exact32_log log
#define exact32_tanh tanh
#define exact64_exp expl
#define exact64_expm1 expm1l
#define exact64_log1p log1pl
#define exact64_log logl
#define exact64_tanh tanhl

enum { BLOCK = 4096 };
enum { DOMAIN_NOT_NEGATIVE = 1, ODD = 2, SIGNED_ZERO = 4 };

/* name, bounds (float, double, then both without FMA), smallest and largest value, rules.
 * The float bounds are the maxima over all arguments, rounded up; the double ones leave room. */
#define FUNCTIONS(X) \
    X(exp, 0.92, 0.95, 0.94, 0.95, 0, INFINITY, 0) \
    X(expm1, 1.15, 1.3, 1.27, 1.3, -1, INFINITY, SIGNED_ZERO) \
    X(log1p, 0.96, 1.0, 0.95, 1.0, 0, INFINITY, DOMAIN_NOT_NEGATIVE) \
    X(log, 0.96, 1.0, 1.01, 1.05, -INFINITY, INFINITY, 0) \
    X(sigmoid, 1.18, 1.2, 1.43, 1.5, 0, 1, 0) \
    X(tanh, 0.98, 1.0, 0.99, 1.05, -1, 1, ODD | SIGNED_ZERO) \
    X(softplus, 1.66, 1.65, 1.82, 1.8, 0, INFINITY, 0)

/* The loops as the library runs them, and the references over the same block. */
#define LOOPS(name, ...) \
    static void loop32_##name(size_t n, const float *restrict x, float *restrict y) { \
        for (size_t i = 0; i < n; i++) y[i] = f32_##name(x[i]); \
    } \
    static void loop64_##name(size_t n, const double *restrict x, double *restrict y) { \
        for (size_t i = 0; i < n; i++) y[i] = f64_##name(x[i]); \
    } \
    static void true32_##name(size_t n, const float *restrict x, double *restrict y) { \
        for (size_t i = 0; i < n; i++) y[i] = exact32_##name((double)x[i]); \
    } \
    static void true64_##name(size_t n, const double *restrict x, long double *restrict y) { \
        for (size_t i = 0; i < n; i++) y[i] = exact64_##name((long double)x[i]); \
    }
FUNCTIONS(LOOPS)

struct function {
    const char *name;
    void (*loop32)(size_t, const float *restrict, float *restrict);
    void (*loop64)(size_t, const double *restrict, double *restrict);
    void (*true32)(size_t, const float *restrict, double *restrict);
    void (*true64)(size_t, const double *restrict, long double *restrict);
    double bound32, bound64, lo, hi;
    int rules;
};
#if HAVE_FMA
#define BOUNDS(with32, with64, without32, without64) with32, with64
#else
#define BOUNDS(with32, with64, without32, without64) without32, without64
#endif
#define ROW(name, a, b, c, d, lo, hi, rules) \
    {#name, loop32_##name, loop64_##name, true32_##name, true64_##name, BOUNDS(a, b, c, d), lo, \
     hi,    rules},
static const struct function functions[] = {FUNCTIONS(ROW)};

static int failures;

struct result {
    double worst, where;
    uint64_t tested, drops; /* drops: neighbours in x whose values are in the wrong order */
    double deepest;         /* the largest drop, in ulp */
    uint64_t digest;
};

static void fail(const char *name, const char *rule, double x, double y, double expected) {
    if (++failures <= 40)
        printf("FAIL %s: %s: x=%.17g (%a) gave %.17g (%a), expected %.17g\n", name, rule, x, x, y,
               y, expected);
}

static float f32_from(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static double f64_from(uint64_t u) {
    double f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* One value by the rules; returns false if there is no error to measure. */
static int by_the_rules(const struct function *f, const char *type, double x, double y,
                        long double t, double largest) {
    if (x != x || t != t) {
        if (y == y) fail(f->name, "NaN expected", x, y, (double)t);
        return 0;
    }
    if (y != y || y < f->lo || y > f->hi) {
        fail(f->name, type, x, y, (double)t);
        return 0;
    }
    if ((f->rules & SIGNED_ZERO) && !signbit(y) != !signbit((double)t))
        fail(f->name, "sign", x, y, (double)t);
    if (isinf(y) && !isinf(t) && fabsl(t) <= largest)
        fail(f->name, "overflow too early", x, y, (double)t);
    if (isinf(x) || x == 0) {
        if (isinf(t) && (long double)y != t) fail(f->name, "limit", x, y, (double)t);
        return !isinf(t);
    }
    return 1;
}

static uint64_t bits_of(double y) {
    uint64_t u;
    y = y == y ? y : 0; /* the bits of a NaN are nobody's promise */
    memcpy(&u, &y, sizeof u);
    return u ^ u >> 29; /* those of a float stand at the top */
}

static double error32(float y, double t) {
    int e;
    double top = 0x1p128;
    double v = y > FLT_MAX ? top : y < -FLT_MAX ? -top : (double)y;
    t = t > top ? top : t < -top ? -top : t;
    frexp(t, &e);
    e = t == top ? 128 : e; /* the spacing below the overflow threshold */
    e = e < -125 ? -125 : e;
    return fabs(v - t) * f64_from((uint64_t)(1023 + 24 - e) << 52);
}

static double error64(double y, long double t) {
    int e;
    long double top = 0x1p1023L * 2;
    long double v = y > DBL_MAX ? top : y < -DBL_MAX ? -top : (long double)y;
    t = t > top ? top : t < -top ? -top : t;
    frexpl(t, &e);
    e = t == top ? 1024 : e;
    e = e < -1021 ? -1021 : e;
    return (double)ldexpl(fabsl(v - t), 53 - e);
}

static void note(struct result *r, double error, double x) {
    r->tested++;
    if (error > r->worst) {
        r->worst = error;
        r->where = x;
    }
}

static void block32(const struct function *f, struct result *r, size_t n, const float *x) {
    static float y[BLOCK], minus_x[BLOCK], minus_y[BLOCK];
    static double t[BLOCK];
    f->loop32(n, x, y);
    f->true32(n, x, t);
    for (size_t i = 0; i < n; i++) r->digest = (r->digest ^ bits_of(y[i])) * 0x100000001b3u;
    for (size_t i = 0; i < n; i++)
        if (by_the_rules(f, "float out of range", x[i], y[i], t[i], FLT_MAX))
            note(r, error32(y[i], t[i]), x[i]);
    if (f->rules & ODD) {
        for (size_t i = 0; i < n; i++) minus_x[i] = -x[i];
        f->loop32(n, minus_x, minus_y);
        for (size_t i = 0; i < n; i++)
            if (x[i] == x[i] && (minus_y[i] != -y[i] || !signbit(minus_y[i]) == !signbit(y[i])))
                fail(f->name, "float f(-x) == -f(x)", x[i], minus_y[i], -(double)y[i]);
    }
    for (size_t i = 1; i < n; i++) {
        float low = x[i - 1] < x[i] ? y[i - 1] : y[i], high = x[i - 1] < x[i] ? y[i] : y[i - 1];
        if (low > high) {
            double depth = error32(low, high);
            r->drops++;
            r->deepest = depth > r->deepest ? depth : r->deepest;
        }
    }
}

static void block64(const struct function *f, struct result *r, size_t n, const double *x) {
    static double y[BLOCK], minus_x[BLOCK], minus_y[BLOCK];
    static long double t[BLOCK];
    f->loop64(n, x, y);
    f->true64(n, x, t);
    for (size_t i = 0; i < n; i++) r->digest = (r->digest ^ bits_of(y[i])) * 0x100000001b3u;
    for (size_t i = 0; i < n; i++)
        if (by_the_rules(f, "double out of range", x[i], y[i], t[i], DBL_MAX))
            note(r, error64(y[i], t[i]), x[i]);
    if (f->rules & ODD) {
        for (size_t i = 0; i < n; i++) minus_x[i] = -x[i];
        f->loop64(n, minus_x, minus_y);
        for (size_t i = 0; i < n; i++)
            if (x[i] == x[i] && (minus_y[i] != -y[i] || !signbit(minus_y[i]) == !signbit(y[i])))
                fail(f->name, "double f(-x) == -f(x)", x[i], minus_y[i], -y[i]);
    }
}

/* All floats of one sign in the order of their bits; blocks overlap by one for the order test. */
static void sweep32(const struct function *f, struct result *r, uint32_t step) {
    static float x[BLOCK];
    for (int negative = 0; negative <= !(f->rules & DOMAIN_NOT_NEGATIVE); negative++) {
        uint64_t u = 0, end = 0x80000000u;
        while (u < end) {
            size_t n = 0;
            for (; n < BLOCK && u < end; n++, u += step)
                x[n] = f32_from((uint32_t)u | (negative ? 0x80000000u : 0));
            block32(f, r, n, x);
            if (u < end) u -= step;
        }
    }
}

static uint64_t random_state;
static uint64_t random_bits(void) {
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Any bit pattern, then evenly in [-w, w] for several widths, then next to the corners. */
static double random_double(int not_negative) {
    static const double widths[] = {0.05, 0.4, 1.0, 1.5, 2.0, 5.0, 20.0, 50.0, 760.0, 1e4};
    static const double corners[] = {0.34657359027997264,
                                     0.65625,
                                     1.0,
                                     0.70710678118654752,
                                     2.0,
                                     0.5,
                                     709.782712893384,
                                     745.1332191019412,
                                     18.7,
                                     36.7,
                                     37.4};
    uint64_t u = random_bits();
    double unit = (double)(random_bits() >> 11) * 0x1p-53, x;
    size_t kind = u % 16;
    if (kind < 2)
        x = f64_from(random_bits());
    else if (kind < 3)
        x = corners[(u >> 8) % (sizeof corners / sizeof *corners)] * (1 + (unit - 0.5) * 1e-3);
    else
        x = widths[(u >> 8) % (sizeof widths / sizeof *widths)] * unit;
    x = (u >> 40) & 1 ? -x : x;
    return not_negative ? fabs(x) : x;
}

static void sweep64(const struct function *f, struct result *r, uint64_t count) {
    static double x[BLOCK];
    random_state = 20251;
    for (uint64_t done = 0; done < count; done += BLOCK) {
        for (size_t i = 0; i < BLOCK; i++) x[i] = random_double(f->rules & DOMAIN_NOT_NEGATIVE);
        block64(f, r, BLOCK, x);
    }
}

static void specials(const struct function *f, struct result *r32, struct result *r64) {
    static const double values[] = {0.0,
                                    0x1p-1074,
                                    0x1p-1022,
                                    0x1p-149,
                                    0x1p-126,
                                    0x1p-60,
                                    0x1p-54,
                                    0x1p-30,
                                    0x1p-25,
                                    0.5,
                                    0.65625,
                                    0.6931471805599453,
                                    1.0,
                                    2.0,
                                    9.02,
                                    10.0,
                                    16.64,
                                    17.33,
                                    19.1,
                                    20.0,
                                    37.0,
                                    40.0,
                                    87.33,
                                    87.34,
                                    88.0,
                                    88.7,
                                    88.72283,
                                    88.72284,
                                    88.7229,
                                    89.0,
                                    103.2,
                                    103.28,
                                    103.97,
                                    103.98,
                                    104.0,
                                    127.0,
                                    128.0,
                                    708.3,
                                    708.4,
                                    709.78,
                                    709.782712893384,
                                    709.7827128933841,
                                    710.0,
                                    744.0,
                                    745.13,
                                    745.1332191019412,
                                    745.14,
                                    746.0,
                                    1e4,
                                    1e10,
                                    0x1p60,
                                    1e30,
                                    0x1p127,
                                    0x1.fffffep127,
                                    1e300,
                                    DBL_MAX,
                                    INFINITY,
                                    NAN};
    float x32[128];
    double x64[128];
    size_t n = 0;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int negative = 0; negative <= !(f->rules & DOMAIN_NOT_NEGATIVE); negative++, n++) {
            x64[n] = negative ? -values[i] : values[i];
            x32[n] = (float)x64[n];
        }
    block32(f, r32, n, x32);
    block64(f, r64, n, x64);
    r32->drops = 0;
    r32->deepest = 0;
}

static void exactly(const char *rule, double y, double expected) {
    if (y != expected || !signbit(y) != !signbit(expected))
        fail(rule, "exact value", 0, y, expected);
}

static void exact_values(void) {
    exactly("exp(0)", f32_exp(0.0f), 1);
    exactly("exp(-0)", f32_exp(-0.0f), 1);
    exactly("exp(0)", f64_exp(0.0), 1);
    exactly("exp(-0)", f64_exp(-0.0), 1);
    exactly("expm1(-0)", f32_expm1(-0.0f), -0.0);
    exactly("expm1(-0)", f64_expm1(-0.0), -0.0);
    exactly("tanh(-0)", f32_tanh(-0.0f), -0.0);
    exactly("tanh(-0)", f64_tanh(-0.0), -0.0);
    exactly("tanh(0)", f32_tanh(0.0f), 0.0);
    exactly("tanh(0)", f64_tanh(0.0), 0.0);
    exactly("tanh(inf)", f32_tanh(INFINITY), 1);
    exactly("tanh(inf)", f64_tanh(INFINITY), 1);
    exactly("sigmoid(0)", f32_sigmoid(0.0f), 0.5);
    exactly("sigmoid(0)", f64_sigmoid(0.0), 0.5);
    exactly("sigmoid(inf)", f32_sigmoid(INFINITY), 1);
    exactly("sigmoid(-inf)", f32_sigmoid(-INFINITY), 0);
    exactly("sigmoid(inf)", f64_sigmoid(INFINITY), 1);
    exactly("sigmoid(-inf)", f64_sigmoid(-INFINITY), 0);
    exactly("log(1)", f32_log(1.0f), 0);
    exactly("log(1)", f64_log(1.0), 0);
    exactly("log(0)", f32_log(0.0f), -INFINITY);
    exactly("log(0)", f64_log(0.0), -INFINITY);
    exactly("log1p(0)", f32_log1p(0.0f), 0);
    exactly("log1p(0)", f64_log1p(0.0), 0);
}

static void report(const char *name, const char *type, const struct result *r, double bound) {
    printf("%-9s%s max %.4f ulp at %.17g (%a), bound %.2f, %llu values, digest %016llx", name, type,
           r->worst, r->where, r->where, bound, (unsigned long long)r->tested,
           (unsigned long long)r->digest);
    if (r->drops)
        printf(", %llu pairs fall (by up to %.1f ulp)", (unsigned long long)r->drops, r->deepest);
    puts("");
    if (r->drops && HAVE_FMA) fail(name, "not monotone", r->where, 0, 0);
    fflush(stdout);
    if (!(r->worst <= bound)) fail(name, "bound exceeded", r->where, r->worst, bound);
}

int main(int argc, char **argv) {
    int all = argc > 1 && !strcmp(argv[1], "--all");
    printf("%s, %s\n", HAVE_FMA ? "FMA" : "no FMA", all ? "all floats" : "sample");
    exact_values();
    int known = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const struct function *f = &functions[i];
        struct result r32 = {0}, r64 = {0};
        int wanted = argc <= 1 + all;
        for (int a = 1 + all; a < argc; a++) wanted |= !strcmp(argv[a], f->name);
        if (!wanted) continue;
        known++;
        specials(f, &r32, &r64);
        sweep32(f, &r32, all ? 1 : 997);
        report(f->name, "f32", &r32, f->bound32);
        if (LDBL_MANT_DIG < 64) continue; /* no better reference for double here */
        sweep64(f, &r64, all ? 1u << 26 : 400000);
        report(f->name, "f64", &r64, f->bound64);
    }
    if (!known) puts("no such function");
    if (failures) printf("%d failures\n", failures);
    return failures || !known;
}
