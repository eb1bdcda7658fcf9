/* Kernels over one array or its rows, each on buffers of exactly its size: elementwise functions
 * and slopes, sums, gathers, updates. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"
#include "testing.h"

/* ---- activations and their slopes --------------------------------------------------------- */

/* Arguments over all magnitudes, with the special ones first. */
static double argument(uint64_t i) {
    static const double special[] = {0.0, 1.0, 0.5, 1e-30, 0x1p-140, 0x1p-149, 20,
                                     88,  104, 709, 746,   1e30,     3e38,     INFINITY};
    enum { SPECIAL = 2 * sizeof special / sizeof *special };
    if (i < SPECIAL) return i % 2 ? -special[i / 2] : special[i / 2];
    const double scale[] = {1, 4, 30, 1e-3};
    return uniform(11, i, -1, 1) * scale[i % 4];
}

/* The error that a derivative may have where digits cancel: that of silu and the like where it
 * crosses zero, that of selu, written in y, far on the left. */
static wide near_root(int act, int order, nnc_dtype type) {
    const wide eps = epsilon_of(type);
    switch (act) {
    case NNC_ACT_silu: return eps / 8;
    case NNC_ACT_selu: return eps / 2;
    case NNC_ACT_gelu: return order == 1 ? eps / 4 : 0;
    case NNC_ACT_gelu_tanh:
    case NNC_ACT_mish: return order == 1 ? eps / 4 : 3 * eps / 4;
    default: return 0;
    }
}

static int ulps_of_derivative(int act, int order) {
    if (order == 1) return 4;
    return act == NNC_ACT_gelu_tanh ? 13 : act == NNC_ACT_mish ? 10 : 7;
}

/* Whether `got` is within the bound, an infinity where numbers end, or NaN where none is wanted. */
static int agrees(nnc_dtype type, double got, wide want, wide bound) {
    const double top = type == NNC_F32 ? (double)FLT_MAX : DBL_MAX;
    if (isnan(want)) return isnan(got);
    if (isinf(got) && W(fabs)(want) >= top) return (got > 0) == (want > 0);
    return W(fabs)(got - want) <= bound;
}

/* Writes every size, out of place and in place, and expects what one number at a time gives. */
static void check_lengths(const nnc_kernels *k, int act, const void *x, const void *kept,
                          const void *one_by_one, const void *slopes_one_by_one, ptrdiff_t n_all) {
    const nnc_dtype type = k->dtype;
    const size_t size = k->size;
    const double *a = nnc_acts[act].defaults;
    for (ptrdiff_t n = 0; n <= n_all; n += n < 70 ? 1 : n_all - 70) {
        where("%s %s of %td numbers", k->isa, nnc_acts[act].name, n);
        const int start = mark();
        void *from = fresh((size_t)n * size), *to = fresh((size_t)n * size);
        void *slope = fresh((size_t)n * size), *dx = fresh((size_t)n * size);
        memcpy(from, x, (size_t)n * size);
        k->act[act](n, from, to, a);
        check(first_different(type, 1, n, to, n, one_by_one) < 0, "depends on the length");
        check(first_different(type, 1, n, from, n, x) < 0, "changed its argument");
        k->act[act](n, from, from, a);
        check(first_different(type, 1, n, from, n, one_by_one) < 0, "in place differs");
        memcpy(from, x, (size_t)n * size), memcpy(slope, kept, (size_t)n * size);
        k->act_slope[act](n, slope, from, dx, a);
        check(first_different(type, 1, n, dx, n, slopes_one_by_one) < 0,
              "the slope depends on the length");
        k->act_slope[act](n, slope, from, from, a);
        check(first_different(type, 1, n, from, n, slopes_one_by_one) < 0,
              "the slope in place differs");
        memcpy(from, x, (size_t)n * size);
        nnc_activate(k, act, 1, n, from, to, a);
        check(first_different(type, 1, n, to, n, one_by_one) < 0, "kept for a way back, y differs");
        check(!k->act_keep[act] || first_different(type, 1, n, from, n, kept) < 0,
              "the slope that is kept depends on the length");
        release(start);
    }
}

static void check_act(const nnc_kernels *k, int act, ptrdiff_t n, void *bits) {
    const nnc_dtype type = k->dtype;
    const double *a = nnc_acts[act].defaults;
    const wide eps = epsilon_of(type), least = 2 * smallest_of(type);
    void *x = zeroed((size_t)n, k->size), *y = zeroed((size_t)n, k->size);
    void *kept = zeroed((size_t)n, k->size), *dx = zeroed((size_t)n, k->size);
    where("%s %s", k->isa, nnc_acts[act].name);
    for (ptrdiff_t i = 0; i < n; i++) {
        put(type, x, i, argument((uint64_t)i));
        k->act[act](1, at(type, x, i), at(type, y, i), a);
        const double xi = get(type, x, i), yi = get(type, y, i);
        const wide want = expected_act(act, xi, a), bound = 4 * eps * W(fabs)(want) + least;
        check(isinf(xi) ? isnan(yi) == isnan(want) : agrees(type, yi, want, bound),
              "f(%.17g) = %.17g, expected %.17Lg", xi, yi, (long double)want);
        const int keeps_x = nnc_acts[act].keeps == NNC_KEEPS_X;
        const double ki = keeps_x ? xi : yi;
        put(type, kept, i, ki);
        if (keeps_x) k->act_keep[act](1, at(type, kept, i), at(type, dx, i), a);
        check(!keeps_x || !memcmp(at(type, dx, i), at(type, y, i), k->size),
              "f(%.17g) has other bits beside its slope", xi);
        k->act_slope[act](1, at(type, kept, i), at(type, x, i), at(type, dx, i), a);
        if (isinf(xi) || isinf(ki)) continue;
        const wide s = expected_slope(act, xi, ki, a), d = s * xi;
        const double got = get(type, dx, i);
        check(agrees(type, got, d,
                     4 * eps * W(fabs)(xi) * (W(fabs)(s) + !is_fused(k)) + least +
                         (least + near_root(act, 1, type)) * W(fabs)(xi)),
              "slope at kept %.17g times %.17g is %.17g, expected %.17Lg", ki, xi, got,
              (long double)d);
    }
    check_lengths(k, act, x, kept, y, dx, n);
    double nan = NAN, out = 0;
    float nan32 = NAN, out32 = 0;
    if (type == NNC_F32)
        k->act[act](1, &nan32, &out32, a), out = (double)out32;
    else
        k->act[act](1, &nan, &out, a);
    check(isnan(out), "NaN gives %g", out);
    memcpy(bits, y, (size_t)n * k->size);
    memcpy((char *)bits + (size_t)n * k->size, dx, (size_t)n * k->size);
    free(x), free(y), free(kept), free(dx);
}

/* The first and second derivative of an activation, each of `n` numbers alone, all together and in
 * every length; their bits go to `bits`. */
static void check_derivative(const nnc_kernels *k, int act, int order, ptrdiff_t n, void *bits) {
    void (*const f)(ptrdiff_t, const void *, void *, const double *) =
        order == 1 ? k->other->act_df[act] : k->other->act_d2f[act];
    const nnc_dtype type = k->dtype;
    const double *a = nnc_acts[act].defaults;
    const wide eps = epsilon_of(type), least = 4 * smallest_of(type);
    const int start = mark(), ulps = ulps_of_derivative(act, order) + !is_fused(k);
    void *x = fresh((size_t)n * k->size), *y = fresh((size_t)n * k->size);
    where("%s derivative %d of %s", k->isa, order, nnc_acts[act].name);
    for (ptrdiff_t i = 0; i < n; i++) {
        put(type, x, i, argument((uint64_t)i));
        f(1, at(type, x, i), at(type, y, i), a);
        const double xi = get(type, x, i), yi = get(type, y, i);
        const wide want = expected_derivative(act, order, xi, a);
        check(agrees(type, yi, want,
                     ulps * eps * W(fabs)(want) + least + near_root(act, order, type)),
              "at %.17g it is %.17g, expected %.17Lg", xi, yi, (long double)want);
    }
    for (ptrdiff_t m = 0; m <= n; m += m < 70 ? 1 : n - 70) {
        const int here = mark();
        void *from = fresh((size_t)m * k->size), *to = fresh((size_t)m * k->size);
        memcpy(from, x, (size_t)m * k->size);
        f(m, from, to, a);
        check(first_different(type, 1, m, to, m, y) < 0, "depends on the length %td", m);
        f(m, from, from, a);
        check(first_different(type, 1, m, from, m, y) < 0, "in place differs for %td", m);
        release(here);
    }
    put(type, x, 0, (double)NAN);
    f(1, x, x, a);
    check(isnan(get(type, x, 0)), "NaN gives %g", get(type, x, 0));
    memcpy(bits, y, (size_t)n * k->size);
    release(start);
}

/* The slope of each row is the derivative of its function, in `wide`, and so are df and d2f. */
static void check_row(int act) {
    const wide h = W(sqrt)((wide)WIDE_EPSILON) * 16;
    where("%s", nnc_acts[act].name);
    for (int i = 0; i < 200; i++) {
        const double *a = nnc_acts[act].defaults;
        const wide x = uniform(3, (uint64_t)i, -8, 8);
        const wide y = expected_act(act, x, a), s = expected_slope(act, x, y, a);
        const wide d = (expected_act(act, x + h, a) - expected_act(act, x - h, a)) / (2 * h);
        const wide df = expected_derivative(act, 1, x, a), d2f = expected_derivative(act, 2, x, a);
        const wide d2 =
            (expected_derivative(act, 1, x + h, a) - expected_derivative(act, 1, x - h, a)) /
            (2 * h);
        check(W(fabs)(s - df) <= 1e-12, "slope at %Lg is %Lg, df %Lg", (long double)x,
              (long double)s, (long double)df);
        check(W(fabs)(d2 - d2f) <= 1e-6, "d2f at %Lg is %Lg, the difference quotient %Lg",
              (long double)x, (long double)d2f, (long double)d2);
        check(W(fabs)(d - s) <= 1e-6, "slope at %Lg is %Lg, the difference quotient %Lg",
              (long double)x, (long double)s, (long double)d);
    }
}

void test_elementwise(void) {
    enum { N = 1000 };
    group("slopes in activations.def");
    for (int act = 0; act < NNC_N_ACTS; act++) check_row(act);
    for (int t = 0; t < NNC_N_DTYPES; t++) {
        const nnc_dtype type = (nnc_dtype)t;
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable(type, list);
        group("activations %s", type_names[t]);
        const size_t size = N * size_of(type), bytes = 4 * size;
        for (int act = 0; act < NNC_N_ACTS; act++) {
            void *first = zeroed(1, bytes), *bits = zeroed(1, bytes);
            int fused = 0;
            for (int i = 0; i < isas; i++) {
                check_act(list[i], act, N, bits);
                for (int order = 1; order <= 2; order++)
                    check_derivative(list[i], act, order, N,
                                     (char *)bits + (size_t)(order + 1) * size);
                if (!is_fused(list[i])) continue;
                if (fused++ == 0)
                    memcpy(first, bits, bytes);
                else
                    check(memcmp(first, bits, bytes) == 0, "other bits than %s", list[0]->isa);
            }
            free(first), free(bits);
        }
    }
}

/* ---- sums over rows, gather ----------------------------------------------------------------- */

static void check_column_sums(const nnc_kernels *k, ptrdiff_t rows, ptrdiff_t n, int accumulate) {
    const nnc_dtype type = k->dtype;
    const ptrdiff_t ld = n + rows % 3;
    const int start = mark();
    where("%s column_sums of %td x %td%s", k->isa, rows, n, accumulate ? ", accumulated" : "");
    void *x = fresh(rows && n ? (size_t)((rows - 1) * ld + n) * k->size : 0);
    void *s = fresh((size_t)n * k->size), *want = zeroed((size_t)n, k->size);
    if (accumulate) fill(type, s, n, 3, -1, 1);
    for (ptrdiff_t i = 0; i < rows; i++)
        fill(type, at(type, x, i * ld), n, 40 + (uint64_t)i, -1, 1);
    for (ptrdiff_t j = 0; j < n; j++) {
        double sum = 0;
        for (ptrdiff_t i = 0; i < rows; i++) {
            sum += get(type, x, i * ld + j);
            if (type == NNC_F32) sum = (double)(float)sum; /* as if added in float */
        }
        put(type, want, j, accumulate ? get(type, s, j) + sum : sum);
    }
    k->column_sums(rows, n, x, ld, s, accumulate);
    check(first_different(type, 1, n, s, n, want) < 0, "differs from the chain over rows");
    free(want);
    release(start);
}

static void check_gather(const nnc_kernels *k, ptrdiff_t rows, ptrdiff_t n) {
    const nnc_dtype type = k->dtype;
    enum { SOURCE = 23 };
    const ptrdiff_t ldx = n + n % 2, ldy = n + 1 + n % 3;
    const ptrdiff_t whole = (n + k->lanes - 1) / k->lanes * k->lanes;
    const ptrdiff_t filled = whole <= ldy ? whole : n;
    const int start = mark();
    where("%s gather of %td x %td", k->isa, rows, n);
    void *x = fresh(n ? (size_t)((SOURCE - 1) * ldx + n) * k->size : 0);
    void *y = fresh(rows && n ? (size_t)((rows - 1) * ldy + filled) * k->size : 0);
    int64_t *index = fresh((size_t)rows * sizeof *index);
    for (ptrdiff_t i = 0; i < SOURCE && n; i++)
        fill(type, at(type, x, i * ldx), n, 70 + (uint64_t)i, -1, 1);
    for (ptrdiff_t i = 0; i < rows; i++)
        index[i] = i < 2 ? (SOURCE - 1) * (1 - i) : (int64_t)(mixed(6, (uint64_t)i) % SOURCE);
    k->gather(rows, n, index, x, ldx, y, ldy);
    int right = 1;
    for (ptrdiff_t i = 0; i < rows; i++)
        right &= !memcmp(at(type, y, i * ldy), at(type, x, index[i] * ldx), (size_t)n * k->size);
    check(right, "rows differ");
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = n; j < filled; j++) right &= get(type, y, i * ldy + j) == 0;
    check(right, "rows do not end in zeros");
    check(gaps_untouched(type, rows, filled, y, ldy), "written between the rows");
    release(start);
}

/* The sum that `dot` promises. */
static double canonical_dot(nnc_dtype type, ptrdiff_t n, const void *x, const void *y) {
    double sum[32] = {0};
    for (ptrdiff_t i = 0; i < n; i++) sum[i % 32] += get(type, x, i) * get(type, y, i);
    for (int half = 16; half > 0; half /= 2)
        for (int l = 0; l < half; l++) sum[l] += sum[l + half];
    return sum[0];
}

static void add_multiple(nnc_dtype type, ptrdiff_t n, double a, const void *x, void *q) {
    for (ptrdiff_t i = 0; i < n; i++)
        put(type, q, i,
            type == NNC_F32 ? fmaf((float)a, (float)get(type, x, i), (float)get(type, q, i))
                            : fma(a, get(type, x, i), get(type, q, i)));
}

static void check_pairs(const nnc_kernels *k, ptrdiff_t n, ptrdiff_t m) {
    const nnc_dtype type = k->dtype;
    const size_t bytes = (size_t)n * k->size;
    enum { MOST = 3 };
    const void *pairs[2 * MOST];
    const int start = mark();
    where("%s dot and two_loops of %td, %td pairs", k->isa, n, m);
    for (ptrdiff_t i = 0; i < 2 * m; i++) {
        void *v = fresh(bytes);
        fill(type, v, n, 80 + (uint64_t)i, -1, 1);
        pairs[i] = v;
    }
    void *q = fresh(bytes), *want = fresh(bytes);
    double *alpha = fresh((size_t)m * sizeof *alpha), expected[MOST];
    fill(type, q, n, 90, -1, 1);
    memcpy(want, q, bytes);
    for (ptrdiff_t i = m - 1; i >= 0; i--) {
        expected[i] = canonical_dot(type, n, pairs[2 * i], want);
        check(k->other->dot(n, pairs[2 * i], want) == expected[i], "dot differs");
        add_multiple(type, n, -expected[i], pairs[2 * i + 1], want);
    }
    double scale = 1 / canonical_dot(type, n, pairs[2 * m - 1], pairs[2 * m - 1]);
    if (type == NNC_F32) scale = (double)(float)scale;
    for (ptrdiff_t i = 0; i < n; i++) put(type, want, i, get(type, want, i) * scale);
    for (ptrdiff_t i = 0; i < m; i++)
        add_multiple(type, n, expected[i] - canonical_dot(type, n, pairs[2 * i + 1], want),
                     pairs[2 * i], want);
    k->other->two_loops(n, m, pairs, q, alpha);
    if (is_fused(k))
        check(first_different(type, 1, n, q, n, want) < 0, "differs from the two loops");
    release(start);
}

void test_rows(void) {
    static const ptrdiff_t counts[] = {0, 1, 2, 7, 8, 255, 256};
    for (int t = 0; t < NNC_N_DTYPES; t++) {
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable((nnc_dtype)t, list);
        group("column_sums, gather %s", type_names[t]);
        for (int i = 0; i < isas; i++)
            for (ptrdiff_t n = 0; n < 150; n += n < 70 ? 1 : 13)
                for (size_t r = 0; r < sizeof counts / sizeof *counts; r++) {
                    check_column_sums(list[i], counts[r], n, 0);
                    check_column_sums(list[i], counts[r], n, 1);
                    check_gather(list[i], counts[r] < 9 ? counts[r] : 40, n);
                }
        group("dot, two_loops %s", type_names[t]);
        for (int i = 0; i < isas; i++)
            for (ptrdiff_t n = 1; n < 150; n++)
                for (ptrdiff_t m = 1; m <= 3; m++) check_pairs(list[i], n, m);
    }
}

/* ---- updates ------------------------------------------------------------------------------ */

/* Three updates in a row; each compared with `wide`, from where the engine stood before it. */
static void check_update(const nnc_kernels *k, int opt, ptrdiff_t n, void *bits) {
    const nnc_dtype type = k->dtype;
    const wide eps = epsilon_of(type), least = 8 * smallest_of(type);
    const size_t bytes = (size_t)n * k->size;
    const int start = mark(), vectors = nnc_opts[opt].vectors;
    where("%s %s of %td", k->isa, nnc_opts[opt].name, n);
    void *theta = fresh(bytes), *gradient = fresh(bytes), *state[NNC_MAX_VECTORS] = {0};
    wide_parameter *from = zeroed((size_t)n, sizeof *from);
    fill(type, theta, n, 50, -1, 1);
    for (int v = 0; v < vectors; v++) state[v] = memset(fresh(bytes), 0, bytes);
    for (int step = 1; step <= 3; step++) {
        double coef[NNC_MAX_COEF];
        nnc_opt_coefficients((nnc_opt)opt, nnc_opts[opt].defaults, step, coef);
        fill(type, gradient, n, 60 + (uint64_t)step, -1, 1);
        for (ptrdiff_t i = 0; i < n; i++) {
            from[i].p = get(type, theta, i);
            for (int v = 0; v < vectors; v++) from[i].s[v] = get(type, state[v], i);
        }
        k->update[opt](n, theta, gradient, state, coef);
        int right = 1, moved = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            const wide g = get(type, gradient, i);
            const wide_parameter want = expected_update(opt, type, from[i], g, coef);
            wide_parameter size = from[i]; /* the same without cancellation */
            size.p = 0;
            for (int v = 0; v < vectors; v++) size.s[v] = W(fabs)(size.s[v]);
            size = expected_update(opt, type, size, W(fabs)(g), coef);
            const wide p = get(type, theta, i);
            right &=
                W(fabs)(p - want.p) <= 16 * eps * (W(fabs)(from[i].p) + W(fabs)(size.p)) + least;
            for (int v = 0; v < vectors; v++)
                right &= W(fabs)(get(type, state[v], i) - want.s[v]) <= 4 * eps * size.s[v] + least;
            moved += p != from[i].p;
        }
        check(right, "update %d is wrong", step);
        check(moved == n, "update %d moved %d of %td parameters", step, moved, n);
    }
    if (bits) {
        memcpy(bits, theta, bytes);
        for (int v = 0; v < vectors; v++)
            memcpy((char *)bits + (size_t)(v + 1) * bytes, state[v], bytes);
    }
    free(from);
    release(start);
}

/* Decaying state ends at zero, not in denormal numbers, and NaN stays. */
static void check_settling(const nnc_kernels *k, int opt) {
    const nnc_dtype type = k->dtype;
    enum { N = 3 };
    double coef[NNC_MAX_COEF], theta[N] = {0}, gradient[N] = {0}, state[NNC_MAX_VECTORS][N];
    void *vectors[NNC_MAX_VECTORS] = {state[0], state[1], state[2], state[3]};
    where("%s %s of decayed state", k->isa, nnc_opts[opt].name);
    nnc_opt_coefficients((nnc_opt)opt, nnc_opts[opt].defaults, 1000, coef);
    const double smallest = type == NNC_F32 ? FLT_MIN : DBL_MIN;
    for (int v = 0; v < NNC_MAX_VECTORS; v++)
        for (int i = 0; i < N; i++) put(type, state[v], i, i == 0 ? smallest : i == 1 ? 1 : NAN);
    k->update[opt](N, theta, gradient, vectors, coef);
    for (int v = 0; v < nnc_opts[opt].vectors; v++) {
        const double left = get(type, state[v], 0); /* what does not decay may stay */
        check(left == 0 || left >= smallest, "state %d is denormal", v);
        check(get(type, state[v], 1) > 0.5, "state %d was lost", v);
        check(isnan(get(type, state[v], 2)), "state %d lost its NaN", v);
    }
}

void test_updates(void) {
    enum { LONGEST = 257, VECTORS = 1 + NNC_MAX_VECTORS };
    for (int t = 0; t < NNC_N_DTYPES; t++) {
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable((nnc_dtype)t, list);
        const size_t room = LONGEST * VECTORS * sizeof(double);
        void *first = zeroed(1, room), *bits = zeroed(1, room);
        group("updates %s", type_names[t]);
        for (int opt = 0; opt < NNC_N_OPTS; opt++) {
            int fused = 0;
            for (int i = 0; i < isas; i++) {
                for (ptrdiff_t n = 0; n < 70; n++) check_update(list[i], opt, n, NULL);
                check_update(list[i], opt, LONGEST, bits);
                if (is_fused(list[i])) {
                    if (fused++ == 0)
                        memcpy(first, bits, room);
                    else
                        check(!memcmp(first, bits, room), "other bits than %s", list[0]->isa);
                }
                check_settling(list[i], opt);
                char *sink = fresh((size_t)list[i]->lanes * list[i]->size);
                check(list[i]->fma_probe(10, sink) > 0, "the probe did nothing");
                release(mark() - 1);
            }
        }
        free(first), free(bits);
    }
}
