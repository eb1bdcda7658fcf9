/* Losses, softmax and its slope: values and gradients within the rounding errors that they may
 * make, nothing touched outside of arenas, the same bits on all fused instruction sets. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"
#include "testing.h"

/* Whether two results are the same number; NaNs are. */
static int same(double x, double y) {
    return x == y ? !signbit(x) == !signbit(y) : isnan(x) && isnan(y);
}

/* A fresh arena: rows padded to NNC_ALIGN bytes. */
static void *arena(nnc_dtype type, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t *ld) {
    const ptrdiff_t pad = NNC_ALIGN / (ptrdiff_t)size_of(type);
    *ld = (n + pad - 1) / pad * pad;
    return fresh_aligned((size_t)(rows * *ld) * size_of(type));
}

/* Parameters that are not the default, of losses that have some. */
static void other_parameters(int loss, double *a, double *b) {
    const double *d = nnc_losses[loss].defaults;
    *a = d[0] + (d[0] > 0.9 ? 0.7 : 0.3), *b = d[1] + (d[1] < 0 ? 1.25 : 0.2);
    if (nnc_losses[loss].hyper[0] == 0) *a = *b = 0;
}

static void check_loss(const nnc_kernels *k, int loss, ptrdiff_t rows, ptrdiff_t n, double size,
                       int by_label, int with_weights, double *value, void *bits) {
    const nnc_dtype type = k->dtype;
    const size_t count = (size_t)(rows * n);
    const int start = mark();
    const ptrdiff_t n_targets = n / nnc_losses[loss].per_target;
    where("%s %s of %td x %td%s%s, scores up to %g", k->isa, nnc_losses[loss].name, rows, n,
          by_label ? " labels" : "", with_weights ? " with weights" : "", size);
    nnc_loss_args g = {
        .rows = rows, .n = n, .ldt = n_targets + 2, .scale = 1 / (double)(3 * rows + 1)};
    g.a = nnc_losses[loss].defaults[0], g.b = nnc_losses[loss].defaults[1];
    if (rows % 2 == 0 || with_weights) other_parameters(loss, &g.a, &g.b);
    double *weights = fresh((size_t)rows * sizeof *weights);
    g.y = arena(type, rows, n, &g.ldy);
    g.dy = arena(type, rows, n, &g.lddy);
    void *t = fresh(rows ? (size_t)((rows - 1) * g.ldt + n_targets) * k->size : 0);
    int64_t *labels = fresh((size_t)rows * sizeof *labels);
    wide *want = zeroed(count, sizeof *want), *bound = zeroed(count, sizeof *bound);
    wide *targets = zeroed((size_t)n, sizeof *targets);
    number *z = zeroed((size_t)n, sizeof *z), *dz = zeroed((size_t)n, sizeof *dz);
    number total = {0, 0};
    for (ptrdiff_t i = 0; i < rows; i++) {
        labels[i] = (int64_t)(mixed(5, (uint64_t)i) % (uint64_t)n);
        if (i == rows - 1) labels[i] = n - 1;
        for (ptrdiff_t j = 0; j < n; j++) {
            put(type, g.y, i * g.ldy + j, uniform(1, (uint64_t)(i * n + j), -size, size));
            z[j] = (number){get(type, g.y, i * g.ldy + j), 0};
        }
        for (ptrdiff_t j = 0; j < n_targets; j++) {
            put(type, t, i * g.ldt + j, uniform(2, (uint64_t)(i * n + j), 0, 1));
            targets[j] = get(type, t, i * g.ldt + j);
        }
        weights[i] = i % 3 == 1 ? 0 : uniform(4, (uint64_t)i, 0.5, 3);
        const double weight = with_weights ? weights[i] : 1;
        if (weight == 0) continue;
        const double of_row = g.scale * weight;
        const wide scale = type == NNC_F32 ? (wide)(float)of_row : (wide)of_row;
        const number v = expected_loss_of_row(type, loss, n, z, by_label ? NULL : targets,
                                              labels[i], scale, g.a, g.b, dz);
        total.v += weight * v.v, total.e += weight * v.e;
        for (ptrdiff_t j = 0; j < n; j++) want[i * n + j] = dz[j].v, bound[i * n + j] = dz[j].e;
    }
    total.e += W(fabs)(total.v) * (wide)(count + 8) * (wide)DBL_EPSILON;
    if (by_label)
        g.labels = labels;
    else
        g.t = t;
    if (with_weights) g.weights = weights;
    *value = k->loss[loss](&g);
    check(W(fabs)(*value - total.v) <= total.e, "the value is %.17g, expected %.17Lg", *value,
          (long double)total.v);
    const ptrdiff_t wrong = first_outside(type, rows, n, g.dy, g.lddy, want, bound);
    check(wrong < 0, "the gradient of element %td is wrong", wrong);
    check(gaps_untouched(type, rows, n_targets, t, g.ldt), "the targets were written");
    for (ptrdiff_t i = 0; i < rows; i++)
        memcpy(at(type, bits, i * n), at(type, g.dy, i * g.lddy), (size_t)n * k->size);
    free(want), free(bound), free(targets), free(z), free(dz);
    release(start);
}

/* The terms of focal's second derivative without their signs, which cancel near its root. */
static wide focal_terms(wide z, wide t, wide gamma) {
    const wide x = (2 * t - 1) * z, p = 1 / (1 + W(exp)(-x)), q = 1 / (1 + W(exp)(x));
    const wide l = W(log1p)(W(exp)(-W(fabs)(x))) + (x < 0 ? -x : 0);
    return W(pow)(q, gamma) * p * (gamma * gamma * p * l + q * (gamma * (2 + l) + 1));
}

/* The Hessian times a direction: curve * scale * r, or that of a softmax. */
static void check_curve(const nnc_kernels *k, int loss, ptrdiff_t rows, ptrdiff_t n, double size,
                        int by_label, void *bits) {
    const nnc_dtype type = k->dtype;
    const wide eps = epsilon_of(type);
    const int start = mark();
    where("%s curve of %s of %td x %td%s, scores up to %g", k->isa, nnc_losses[loss].name, rows, n,
          by_label ? " labels" : "", size);
    nnc_loss_args g = {.rows = rows, .n = n, .ldt = n, .scale = 1 / (double)(2 * rows + 1)};
    double *weights = fresh((size_t)rows * sizeof *weights);
    other_parameters(loss, &g.a, &g.b);
    g.weights = weights;
    g.y = arena(type, rows, n, &g.ldy);
    g.dy = arena(type, rows, n, &g.lddy);
    const ptrdiff_t ldr = n + 1;
    void *t = fresh((size_t)(rows * n) * k->size), *r = fresh((size_t)(rows * ldr) * k->size);
    int64_t *labels = fresh((size_t)rows * sizeof *labels);
    wide *want = zeroed((size_t)(rows * n), sizeof *want),
         *bound = zeroed((size_t)(rows * n), sizeof *bound);
    number *z = zeroed((size_t)n, sizeof *z), *p = zeroed((size_t)n, sizeof *p);
    const int softmax = nnc_losses[loss].output == NNC_OUTPUT_softmax;
    const wide a = type == NNC_F32 ? (wide)(float)g.a : (wide)g.a,
               b = type == NNC_F32 ? (wide)(float)g.b : (wide)g.b;
    for (ptrdiff_t i = 0; i < rows; i++) {
        weights[i] = i % 3 == 1 ? 0 : uniform(4, (uint64_t)i, 0.5, 3);
        const double of_row = g.scale * weights[i];
        const wide scale = type == NNC_F32 ? (wide)(float)of_row : (wide)of_row;
        wide weight = by_label, mean = 0, spread = 0;
        labels[i] = (int64_t)(mixed(5, (uint64_t)i) % (uint64_t)n);
        for (ptrdiff_t j = 0; j < n; j++) {
            const uint64_t place = (uint64_t)(i * n + j);
            put(type, g.y, i * g.ldy + j, uniform(1, place, -size, size));
            put(type, t, i * n + j, uniform(2, place, 0, 1));
            put(type, r, i * ldr + j, uniform(3, place, -2, 1));
            z[j] = (number){get(type, g.y, i * g.ldy + j), 0};
            if (!by_label) weight += get(type, t, i * n + j);
        }
        if (loss == NNC_LOSS_cross_entropy) weight = (1 - (wide)g.a) * weight + (wide)g.a;
        expected_softmax(type, n, z, p);
        for (ptrdiff_t j = 0; j < n; j++) {
            const wide rj = get(type, r, i * ldr + j);
            mean += p[j].v * rj;
            spread += p[j].e * W(fabs)(rj) + (wide)(n + 4) * eps * p[j].v * W(fabs)(rj);
        }
        for (ptrdiff_t j = 0; j < n; j++) {
            const wide rj = get(type, r, i * ldr + j);
            wide *v = &want[i * n + j], *limit = &bound[i * n + j];
            if (softmax) {
                *v = scale * weight * p[j].v * (rj - mean);
                *limit =
                    scale * weight *
                        (p[j].e * W(fabs)(rj - mean) +
                         (p[j].v + p[j].e) * (spread + 2 * eps * (W(fabs)(rj) + W(fabs)(mean)))) +
                    8 * eps * W(fabs)(*v);
            } else {
                const wide tj = get(type, t, i * n + j);
                const wide size_of_d = 1 + W(fabs)(z[j].v) + W(fabs)(tj);
                *v = expected_loss_curve(loss, z[j].v, tj, a, b) * scale * rj;
                const wide terms = loss == NNC_LOSS_focal
                                       ? focal_terms(z[j].v, tj, a) * W(fabs)(scale * rj)
                                       : W(fabs)(*v);
                *limit = 8 * eps * (1 + a) * size_of_d * terms;
                if (loss == NNC_LOSS_focal) /* s(x) may be denormal, and is multiplied */
                    *limit += smallest_of(type) * (1 + a) * (1 + a) * size_of_d;
            }
            *limit += 4 * smallest_of(type);
        }
    }
    if (by_label)
        g.labels = labels;
    else
        g.t = t;
    k->other->loss_curve[loss](&g, r, ldr);
    const ptrdiff_t wrong = first_outside(type, rows, n, g.dy, g.lddy, want, bound);
    check(wrong < 0, "element %td is wrong", wrong);
    check(gaps_untouched(type, rows, n, r, ldr), "the direction was written");
    for (ptrdiff_t i = 0; i < rows; i++)
        memcpy(at(type, bits, i * n), at(type, g.dy, i * g.lddy), (size_t)n * k->size);
    free(want), free(bound), free(z), free(p);
    release(start);
}

/* Of two outputs for each target: the Hessian is four numbers. */
static void check_gaussian_curve(const nnc_kernels *k, ptrdiff_t rows, ptrdiff_t n, double size,
                                 void *bits) {
    const nnc_dtype type = k->dtype;
    const wide eps = epsilon_of(type);
    const int start = mark();
    where("%s curve of gaussian_nll of %td x %td, outputs up to %g", k->isa, rows, n, size);
    nnc_loss_args g = {.rows = rows, .n = n, .ldt = n, .scale = 0.3};
    g.y = arena(type, rows, n, &g.ldy);
    g.dy = arena(type, rows, n, &g.lddy);
    void *t = fresh((size_t)(rows * n) * k->size), *r = fresh((size_t)(rows * n) * k->size);
    fill(type, t, rows * n, 2, 0, 1), fill(type, r, rows * n, 3, -2, 1);
    wide *want = zeroed((size_t)(rows * n), sizeof *want),
         *bound = zeroed((size_t)(rows * n), sizeof *bound);
    const wide scale = type == NNC_F32 ? (wide)(float)g.scale : (wide)g.scale;
    for (ptrdiff_t i = 0; i < rows; i++) {
        for (ptrdiff_t j = 0; j < n; j++)
            put(type, g.y, i * g.ldy + j, uniform(1, (uint64_t)(i * n + j), -size, size));
        for (ptrdiff_t j = 0; j < n / 2; j++) {
            const ptrdiff_t at_m = i * n + j, at_v = at_m + n / 2;
            const wide m = get(type, g.y, i * g.ldy + j), v = get(type, g.y, i * g.ldy + n / 2 + j);
            const wide d = m - get(type, t, i * n + j), e = W(exp)(-v);
            const wide rm = get(type, r, at_m), rv = get(type, r, at_v);
            want[at_m] = scale * (e * rm - d * e * rv);
            want[at_v] = scale * (d * d * e / 2 * rv - d * e * rm);
            const wide far = W(fabs)(d) + 1, terms = W(fabs)(rm) + far * W(fabs)(rv);
            bound[at_m] = scale * 8 * eps * e * terms + 4 * smallest_of(type);
            bound[at_v] = scale * 8 * eps * e * far * terms + 4 * smallest_of(type);
        }
    }
    g.t = t;
    k->other->loss_curve[NNC_LOSS_gaussian_nll](&g, r, n);
    const ptrdiff_t wrong = first_outside(type, rows, n, g.dy, g.lddy, want, bound);
    check(wrong < 0, "element %td is wrong", wrong);
    for (ptrdiff_t i = 0; i < rows; i++)
        memcpy(at(type, bits, i * n), at(type, g.dy, i * g.lddy), (size_t)n * k->size);
    free(want), free(bound);
    release(start);
}

static void check_softmax(const nnc_kernels *k, ptrdiff_t rows, ptrdiff_t n, double size) {
    const nnc_dtype type = k->dtype;
    const wide eps = epsilon_of(type);
    const int start = mark();
    where("%s softmax of %td x %td, scores up to %g", k->isa, rows, n, size);
    ptrdiff_t ldz;
    void *z = arena(type, rows, n, &ldz);
    const ptrdiff_t ldy = n + 1, lddy = n + 3;
    const size_t bytes = rows ? (size_t)((rows - 1) * ldy + n) * k->size : 0;
    const size_t dbytes = rows ? (size_t)((rows - 1) * lddy + n) * k->size : 0;
    void *y = fresh(bytes), *dy = fresh(dbytes), *dz = fresh(dbytes);
    number *zs = zeroed((size_t)n, sizeof *zs), *ys = zeroed((size_t)n, sizeof *ys);
    wide *want = zeroed((size_t)(rows * n), sizeof *want);
    wide *bound = zeroed((size_t)(rows * n), sizeof *bound);
    for (ptrdiff_t i = 0; i < rows; i++) {
        for (ptrdiff_t j = 0; j < n; j++) {
            put(type, z, i * ldz + j, uniform(21, (uint64_t)(i * n + j), -size, size));
            put(type, dy, i * lddy + j, uniform(22, (uint64_t)(i * n + j), -2, 1));
            zs[j] = (number){get(type, z, i * ldz + j), 0};
        }
        expected_softmax(type, n, zs, ys);
        for (ptrdiff_t j = 0; j < n; j++) want[i * n + j] = ys[j].v, bound[i * n + j] = ys[j].e;
    }
    k->softmax(rows, n, z, ldz, y, ldy);
    check(first_outside(type, rows, n, y, ldy, want, bound) < 0, "the output is wrong");
    check(gaps_untouched(type, rows, n, y, ldy), "y was written between its rows");
    for (ptrdiff_t i = 0; i < rows; i++) {
        wide mean = 0, mean_size = 0;
        for (ptrdiff_t j = 0; j < n; j++) {
            const wide term = (wide)get(type, y, i * ldy + j) * get(type, dy, i * lddy + j);
            mean += term, mean_size += W(fabs)(term);
        }
        for (ptrdiff_t j = 0; j < n; j++) {
            const wide yj = get(type, y, i * ldy + j), dj = get(type, dy, i * lddy + j);
            want[i * n + j] = yj * (dj - mean);
            bound[i * n + j] = eps * yj * ((wide)(n + 4) * mean_size + 2 * W(fabs)(dj)) +
                               (wide)(n + 4) * smallest_of(type);
        }
    }
    k->softmax_slope(rows, n, y, ldy, dy, lddy, dz, lddy);
    check(first_outside(type, rows, n, dz, lddy, want, bound) < 0, "the slope is wrong");
    check(gaps_untouched(type, rows, n, dz, lddy), "dz was written between its rows");
    k->softmax_slope(rows, n, y, ldy, dy, lddy, dy, lddy);
    check(!bytes || !memcmp(dy, dz, dbytes), "the slope in place differs");
    free(zs), free(ys), free(want), free(bound);
    release(start);
}

/* The exponential of the next size would be infinite. */
static double most_score(int loss) {
    return loss == NNC_LOSS_poisson || loss == NNC_LOSS_gaussian_nll ? 30 : 1000;
}

void test_losses(void) {
    static const ptrdiff_t widths[] = {1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 31, 33, 64, 65, 100};
    static const double sizes[] = {1, 30, 1000};
    enum { ROWS = 7, WIDEST = 100 };
    for (int t = 0; t < NNC_N_DTYPES; t++) {
        const nnc_dtype type = (nnc_dtype)t;
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable(type, list);
        void *bits = zeroed(ROWS * WIDEST, sizeof(double)),
             *first = zeroed(ROWS * WIDEST, sizeof(double));
        group("losses %s", type_names[t]);
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            for (int which = 0; which < 12 * (NNC_N_LOSSES + 1); which++) {
                /* the losses, and after them cross_entropy of labels */
                const int labels = which / 12 == NNC_N_LOSSES, with_weights = which % 12 >= 6;
                const int loss = labels ? NNC_LOSS_cross_entropy : which / 12;
                const ptrdiff_t rows = which % 2 ? ROWS : 1, n = widths[w];
                const double size = sizes[which % 6 / 2];
                if (n % nnc_losses[loss].per_target) continue;
                if (size > most_score(loss)) continue;
                double value = 0, first_value = 0;
                int fused = 0;
                const size_t bytes = (size_t)(rows * n) * size_of(type);
                for (int i = 0; i < isas; i++) {
                    check_loss(list[i], loss, rows, n, size, labels, with_weights, &value, bits);
                    if (!is_fused(list[i])) continue;
                    if (fused++ == 0)
                        first_value = value, memcpy(first, bits, bytes);
                    else
                        check(same(value, first_value) && !memcmp(bits, first, bytes),
                              "other bits than %s", list[0]->isa);
                }
                for (int i = fused = 0; i < isas; i++) {
                    if (loss == NNC_LOSS_gaussian_nll)
                        check_gaussian_curve(list[i], rows, n, size, bits);
                    else
                        check_curve(list[i], loss, rows, n, size, labels, bits);
                    if (!is_fused(list[i])) continue;
                    if (fused++ == 0)
                        memcpy(first, bits, bytes);
                    else
                        check(!memcmp(bits, first, bytes), "other bits than %s", list[0]->isa);
                }
            }
        for (int i = 0; i < isas; i++) {
            double value;
            for (int loss = 0; loss < NNC_N_LOSSES; loss++)
                check_loss(list[i], loss, 0, 6, 1, loss == NNC_LOSS_cross_entropy, 0, &value, bits);
            for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
                for (int s = 0; s < 3; s++)
                    for (ptrdiff_t rows = 0; rows < 4; rows++)
                        check_softmax(list[i], rows, widths[w], sizes[s]);
        }
        free(bits), free(first);
    }
}
