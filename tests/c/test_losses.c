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

static void check_loss(const nnc_kernels *k, int loss, ptrdiff_t rows, ptrdiff_t n, double size,
                       int by_label, double *value, void *bits) {
    const nnc_dtype type = k->dtype;
    const wide eps = epsilon_of(type);
    const size_t count = (size_t)(rows * n);
    const int start = mark();
    const int entropy = loss == NNC_LOSS_cross_entropy;
    where("%s %s of %td x %td%s, scores up to %g", k->isa, nnc_losses[loss].name, rows, n,
          by_label ? " labels" : "", size);
    nnc_loss_args g = {.rows = rows, .n = n, .ldt = n + 2, .scale = 1 / (double)(3 * rows + 1)};
    g.y = arena(type, rows, n, &g.ldy);
    g.dy = arena(type, rows, n, &g.lddy);
    void *t = fresh(rows ? (size_t)((rows - 1) * g.ldt + n) * k->size : 0);
    int64_t *labels = fresh((size_t)rows * sizeof *labels);
    wide *want = zeroed(count, sizeof *want), *bound = zeroed(count, sizeof *bound);
    wide *targets = zeroed((size_t)n, sizeof *targets);
    number *z = zeroed((size_t)n, sizeof *z), *dz = zeroed((size_t)n, sizeof *dz);
    number total = {0, 0};
    const wide scale = type == NNC_F32 ? (wide)(float)g.scale : (wide)g.scale;
    for (ptrdiff_t i = 0; i < rows; i++) {
        labels[i] = (int64_t)(mixed(5, (uint64_t)i) % (uint64_t)n);
        if (i == rows - 1) labels[i] = n - 1;
        for (ptrdiff_t j = 0; j < n; j++) {
            put(type, g.y, i * g.ldy + j, uniform(1, (uint64_t)(i * n + j), -size, size));
            put(type, t, i * g.ldt + j, uniform(2, (uint64_t)(i * n + j), 0, 1));
            z[j] = (number){get(type, g.y, i * g.ldy + j), 0};
            targets[j] = get(type, t, i * g.ldt + j);
        }
        if (entropy) {
            const number v =
                expected_cross_entropy(type, n, z, by_label ? NULL : targets, labels[i], scale, dz);
            total.v += v.v, total.e += v.e;
        }
        for (ptrdiff_t j = 0; j < n; j++) {
            wide *v = &want[i * n + j], *b = &bound[i * n + j];
            if (entropy) {
                *v = dz[j].v, *b = dz[j].e;
                continue;
            }
            const wide y = z[j].v, tj = targets[j], one = expected_loss(loss, y, tj);
            const wide s = expected_loss_slope(loss, y, tj);
            total.v += one;
            total.e += 4 * eps * (W(fabs)(one) + W(fabs)(y) + W(fabs)(y * tj) + 1);
            *v = s * scale;
            *b = 4 * eps * scale * (W(fabs)(s) + 1 + W(fabs)(tj)) + 2 * smallest_of(type);
        }
    }
    total.e += W(fabs)(total.v) * (wide)(count + 8) * (wide)DBL_EPSILON;
    if (by_label)
        g.labels = labels;
    else
        g.t = t;
    *value = k->loss[loss](&g);
    check(W(fabs)(*value - total.v) <= total.e, "the value is %.17g, expected %.17Lg", *value,
          (long double)total.v);
    const ptrdiff_t wrong = first_outside(type, rows, n, g.dy, g.lddy, want, bound);
    check(wrong < 0, "the gradient of element %td is wrong", wrong);
    check(gaps_untouched(type, rows, n, t, g.ldt), "the targets were written");
    for (ptrdiff_t i = 0; i < rows; i++)
        memcpy(at(type, bits, i * n), at(type, g.dy, i * g.lddy), (size_t)n * k->size);
    free(want), free(bound), free(targets), free(z), free(dz);
    release(start);
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
    g.y = arena(type, rows, n, &g.ldy);
    g.dy = arena(type, rows, n, &g.lddy);
    const ptrdiff_t ldr = n + 1;
    void *t = fresh((size_t)(rows * n) * k->size), *r = fresh((size_t)(rows * ldr) * k->size);
    int64_t *labels = fresh((size_t)rows * sizeof *labels);
    wide *want = zeroed((size_t)(rows * n), sizeof *want),
         *bound = zeroed((size_t)(rows * n), sizeof *bound);
    number *z = zeroed((size_t)n, sizeof *z), *p = zeroed((size_t)n, sizeof *p);
    const wide scale = type == NNC_F32 ? (wide)(float)g.scale : (wide)g.scale;
    for (ptrdiff_t i = 0; i < rows; i++) {
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
        expected_softmax(type, n, z, p);
        for (ptrdiff_t j = 0; j < n; j++) {
            const wide rj = get(type, r, i * ldr + j);
            mean += p[j].v * rj;
            spread += p[j].e * W(fabs)(rj) + (wide)(n + 4) * eps * p[j].v * W(fabs)(rj);
        }
        for (ptrdiff_t j = 0; j < n; j++) {
            const wide rj = get(type, r, i * ldr + j);
            wide *v = &want[i * n + j], *b = &bound[i * n + j];
            if (loss == NNC_LOSS_cross_entropy) {
                *v = scale * weight * p[j].v * (rj - mean);
                *b = scale * weight *
                         (p[j].e * W(fabs)(rj - mean) +
                          (p[j].v + p[j].e) * (spread + 2 * eps * (W(fabs)(rj) + W(fabs)(mean)))) +
                     8 * eps * W(fabs)(*v);
            } else {
                *v = expected_loss_curve(loss, z[j].v, get(type, t, i * n + j)) * scale * rj;
                *b = 8 * eps * W(fabs)(*v);
            }
            *b += 4 * smallest_of(type);
        }
    }
    if (by_label)
        g.labels = labels;
    else
        g.t = t;
    k->loss_curve[loss](&g, r, ldr);
    const ptrdiff_t wrong = first_outside(type, rows, n, g.dy, g.lddy, want, bound);
    check(wrong < 0, "element %td is wrong", wrong);
    check(gaps_untouched(type, rows, n, r, ldr), "the direction was written");
    for (ptrdiff_t i = 0; i < rows; i++)
        memcpy(at(type, bits, i * n), at(type, g.dy, i * g.lddy), (size_t)n * k->size);
    free(want), free(bound), free(z), free(p);
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
            for (int which = 0; which < 6 * (NNC_N_LOSSES + 1); which++) {
                /* the losses, and after them cross_entropy of labels */
                const int labels = which / 6 == NNC_N_LOSSES;
                const int loss = labels ? NNC_LOSS_cross_entropy : which / 6;
                const ptrdiff_t rows = which % 2 ? ROWS : 1, n = widths[w];
                double value = 0, first_value = 0;
                int fused = 0;
                for (int i = 0; i < isas; i++) {
                    check_loss(list[i], loss, rows, n, sizes[which % 6 / 2], labels, &value, bits);
                    if (!is_fused(list[i])) continue;
                    const size_t bytes = (size_t)(rows * n) * size_of(type);
                    if (fused++ == 0)
                        first_value = value, memcpy(first, bits, bytes);
                    else
                        check(same(value, first_value) && !memcmp(bits, first, bytes),
                              "other bits than %s", list[0]->isa);
                }
                for (int i = fused = 0; i < isas; i++) {
                    check_curve(list[i], loss, rows, n, sizes[which % 6 / 2], labels, bits);
                    if (!is_fused(list[i])) continue;
                    const size_t bytes = (size_t)(rows * n) * size_of(type);
                    if (fused++ == 0)
                        memcpy(first, bits, bytes);
                    else
                        check(!memcmp(bits, first, bytes), "other bits than %s", list[0]->isa);
                }
            }
        for (int i = 0; i < isas; i++) {
            double value;
            for (int loss = 0; loss < NNC_N_LOSSES; loss++)
                check_loss(list[i], loss, 0, 5, 1, loss == NNC_LOSS_cross_entropy, &value, bits);
            for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
                for (int s = 0; s < 3; s++)
                    for (ptrdiff_t rows = 0; rows < 4; rows++)
                        check_softmax(list[i], rows, widths[w], sizes[s]);
        }
        free(bits), free(first);
    }
}
