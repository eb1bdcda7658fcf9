/* Error of the activations and of their derivatives, in units in the last place, as each kernel
 * table computes them.
 *
 *   make sweep_acts          every float of each row, some million doubles: minutes
 *   sweep_acts [step] [doubles] [name ...]    every step-th float, so many doubles, these rows
 *
 * The true values are those of tests/c/oracle.c in long double. Near a zero of a derivative that is
 * crossed, digits cancel: there the error is shown relative to eps as well. The default
 * parameters are used. Exit status 1 if f is off by more than 2 ulp, df by more than 4. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

enum { BATCH = 1 << 14 };

typedef struct {
    double ulps, where, near; /* near: the largest error in eps where the value is below 0.1 */
} worst;

static double ulps_of(nnc_dtype type, double got, long double want) {
    const int digits = type == NNC_F32 ? FLT_MANT_DIG : DBL_MANT_DIG;
    const int lowest = (type == NNC_F32 ? FLT_MIN_EXP : DBL_MIN_EXP) - digits;
    const long double top = type == NNC_F32 ? 0x1p128L : 0x1p1024L;
    long double v = isinf(got) ? (got > 0 ? top : -top) : (long double)got;
    want = want > top ? top : want < -top ? -top : want;
    int e;
    frexpl(want, &e);
    if (fabsl(want) == top) e--;
    e = e - digits < lowest ? lowest : e - digits;
    return (double)ldexpl(fabsl(v - want), -e);
}

static void note(worst *w, nnc_dtype type, int order, double x, double got, long double want) {
    if (isnan(want) && isnan(got)) return;
    const double eps = type == NNC_F32 ? FLT_EPSILON : DBL_EPSILON;
    /* a unit in the last place is at least |want| eps / 2: no new worst, and most are not */
    if (fabsl(got - want) <= w->ulps * fabsl(want) * (eps / 2)) return;
    const double u = ulps_of(type, got, want);
    if (order && fabsl(want) < 0.1L && u > (order == 1 ? 4 : 7)) {
        const double near = (double)fabsl((long double)got - want) / eps;
        if (!(near < w->near)) w->near = near;
        return;
    }
    if (!(u <= w->ulps)) w->ulps = u, w->where = x;
}

static uint64_t random_state = 7;
static uint64_t random_bits(void) {
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static double random_double(void) {
    static const double widths[] = {0.05, 0.4, 1, 1.5, 2, 3, 5, 10, 20, 40, 100, 760, 1e4, 1e9};
    const uint64_t u = random_bits();
    double x;
    if (u % 8 == 0) {
        const uint64_t b = random_bits();
        memcpy(&x, &b, sizeof x);
        return x;
    }
    x = widths[(u >> 8) % (sizeof widths / sizeof *widths)] * (double)(random_bits() >> 11) *
        0x1p-53;
    return (u >> 40) & 1 ? -x : x;
}

static int sweep(const nnc_kernels *k, int act, uint64_t step, uint64_t doubles) {
    static float x32[BATCH], y32[BATCH];
    static double x64[BATCH], y64[BATCH];
    const nnc_dtype type = k->dtype;
    double a[NNC_MAX_ACT_PARAMETERS];
    for (int p = 0; p < NNC_MAX_ACT_PARAMETERS; p++)
        a[p] = k->dtype == NNC_F32 ? (double)(float)nnc_acts[act].defaults[p]
                                   : nnc_acts[act].defaults[p];
    const uint64_t all = type == NNC_F32 ? (uint64_t)1 << 32 : doubles;
    worst w[3] = {{0, 0, 0}};
    for (uint64_t at = 0; at < all;) {
        ptrdiff_t n = 0;
        for (; n < BATCH && at < all; at += type == NNC_F32 ? step : 1, n++)
            if (type == NNC_F32) {
                const uint32_t bits = (uint32_t)at;
                memcpy(&x32[n], &bits, sizeof bits);
            } else
                x64[n] = random_double();
        for (int order = 0; order < 3; order++) {
            (order == 0   ? k->act[act]
             : order == 1 ? k->act_df[act]
                          : k->second->act_d2f[act])(n, type == NNC_F32 ? (void *)x32 : (void *)x64,
                                                     type == NNC_F32 ? (void *)y32 : (void *)y64,
                                                     a);
            for (ptrdiff_t i = 0; i < n; i++) {
                const double x = type == NNC_F32 ? (double)x32[i] : x64[i];
                const double y = type == NNC_F32 ? (double)y32[i] : y64[i];
                if (isnan(x)) {
                    if (!isnan(y)) w[order].ulps = INFINITY, w[order].where = x;
                    continue;
                }
                if (isinf(x)) continue;
                if (act == NNC_ACT_sin && fabs(x) >= (type == NNC_F32 ? 0x1p20 : 0x1p49)) continue;
                note(&w[order], type, order, x, y,
                     (long double)(order == 0 ? expected_act(act, (wide)x, a)
                                              : expected_derivative(act, order, (wide)x, a)));
            }
        }
    }
    printf("%-12s %s %-8s", nnc_acts[act].name, type == NNC_F32 ? "f32" : "f64", k->isa);
    for (int order = 0; order < 3; order++) {
        printf("  %s %7.4f at %-13.8g",
               order == 0   ? "f"
               : order == 1 ? "df"
                            : "d2f",
               w[order].ulps, w[order].where);
        if (w[order].near > 0) printf(" (near a zero %.3f eps)", w[order].near);
    }
    puts("");
    fflush(stdout);
    return !(w[0].ulps <= 2) || !(w[1].ulps <= 4);
}

int main(int argc, char **argv) {
    const uint64_t step = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const uint64_t doubles = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
    int failures = 0;
    for (int act = 0; act < NNC_N_ACTS; act++) {
        int wanted = argc <= 3;
        for (int i = 3; i < argc; i++) wanted |= !strcmp(argv[i], nnc_acts[act].name);
        for (int t = 0; wanted && t < NNC_N_DTYPES; t++)
            for (int i = 0; i < nnc_isa_count(); i++) {
                const nnc_kernels *k = nnc_kernels_for(nnc_isa_name(i), (nnc_dtype)t);
                if (k == NULL) continue;
                failures += sweep(k, act, step, doubles);
                break; /* those with FMA give the same bits */
            }
    }
    return failures != 0;
}
