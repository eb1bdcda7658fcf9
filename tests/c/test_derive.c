/* Derivatives beyond the gradient. In float64 the baseline is held against differences of the loss,
 * the outputs and the gradient, everything else against the baseline. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nets.h"
#include "testing.h"

enum { INPUTS, LOSSES, SAMPLES, JACOBIAN_X, JACOBIAN_THETA, PRODUCT, N_KINDS };
static const char *const names[N_KINDS] = {"gradient by the inputs",     "loss of each row",
                                           "gradient of each row",       "Jacobian by the inputs",
                                           "Jacobian by the parameters", "Hessian product"};

/* All of them for some samples, as double. */
typedef struct {
    double loss[2]; /* beside the first and the last */
    double *values[N_KINDS];
    ptrdiff_t sizes[N_KINDS];
} derivatives;

static double *as_double(nnc_dtype type, const void *p, ptrdiff_t n) {
    double *values = zeroed((size_t)n, sizeof *values);
    for (ptrdiff_t i = 0; i < n; i++) values[i] = get(type, p, i);
    return values;
}

static void release_all(derivatives *d) {
    for (int kind = 0; kind < N_KINDS; kind++) free(d->values[kind]);
}

static void keep(derivatives *d, int kind, nnc_dtype type, const void *p, ptrdiff_t n) {
    d->values[kind] = as_double(type, p, n);
    d->sizes[kind] = n;
}

static derivatives derive(const net *n, const void *theta, const nnc_samples *s, const void *v) {
    const nnc_kernels *k = n->plan.kernels;
    const nnc_dtype type = k->dtype;
    const ptrdiff_t rows = s->rows, n_in = inputs(n), n_out = outputs(n), p = n->plan.n_params;
    const ptrdiff_t ld = n_in + 2;
    derivatives d = {.loss = {0}};
    const int start = mark();
    void *dx = fresh((size_t)((rows - 1) * ld + n_in) * k->size);
    double *losses = fresh((size_t)rows * sizeof *losses);
    void *samples = fresh((size_t)(rows * p) * k->size), *product = fresh((size_t)p * k->size);
    void *by_x = fresh((size_t)(rows * n_out * n_in) * k->size);
    void *by_theta = fresh((size_t)(rows * n_out * p) * k->size);
    void *work = fresh_work(n, rows, NNC_GRADIENT), *more = fresh_work(n, rows, NNC_HESSIAN);
    int good =
        NNC_OK == nnc_input_gradient(&n->plan, theta, s, &d.loss[0], dx, ld, work, NULL, NULL);
    good &= NNC_OK == nnc_sample_gradients(&n->plan, theta, s, losses, samples, work, NULL, NULL);
    good &=
        NNC_OK == nnc_hessian_product(&n->plan, theta, s, v, &d.loss[1], product, more, NULL, NULL);
    if (!s->index) {
        good &= NNC_OK == nnc_jacobian(&n->plan, theta, s->x, s->ldx, rows, NNC_BY_INPUTS, by_x,
                                       work, NULL, NULL);
        good &= NNC_OK == nnc_jacobian(&n->plan, theta, s->x, s->ldx, rows, NNC_BY_PARAMETERS,
                                       by_theta, work, NULL, NULL);
        keep(&d, JACOBIAN_X, type, by_x, rows * n_out * n_in);
        keep(&d, JACOBIAN_THETA, type, by_theta, rows * n_out * p);
    }
    check(good, "a status is not NNC_OK");
    check(gaps_untouched(type, rows, n_in, dx, ld), "wrote between the rows of dx");
    d.values[INPUTS] = zeroed((size_t)(rows * n_in), sizeof(double));
    d.sizes[INPUTS] = rows * n_in;
    for (ptrdiff_t i = 0; i < rows * n_in; i++)
        d.values[INPUTS][i] = get(type, dx, i / n_in * ld + i % n_in);
    keep(&d, LOSSES, NNC_F64, losses, rows);
    keep(&d, SAMPLES, type, samples, rows * p);
    keep(&d, PRODUCT, type, product, p);
    release(start);
    return d;
}

/* Whether two vectors agree within `tolerance` of the largest element, and are not all zero. */
static int agree(ptrdiff_t n, const double *a, const double *b, double tolerance) {
    double largest = 0, error = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(b[i]));
        const double off = fabs(a[i] - b[i]);
        error = off <= error ? error : off; /* NaN stays */
    }
    return error <= tolerance * largest;
}

/* (f(at + h along) - f(at - h along)) / 2 h, of n numbers that `f` writes. */
enum { OF_LOSS, OF_OUTPUTS, OF_GRADIENT };
static double *difference(const net *n, int what, const double *theta, const nnc_samples *s,
                          const double *along_theta, const double *along_x, ptrdiff_t size) {
    const double h = 2e-7; /* small: a kink may lie between */
    const ptrdiff_t p = n->plan.n_params, n_in = inputs(n), n_out = outputs(n);
    double *sum = zeroed((size_t)size, sizeof *sum);
    for (int side = -1; side <= 1; side += 2) {
        const int start = mark();
        double *there = fresh_with_slack((size_t)p * sizeof *there);
        double *x = fresh((size_t)((s->rows - 1) * s->ldx + n_in) * sizeof *x);
        double *out = zeroed((size_t)size, sizeof *out), loss;
        for (ptrdiff_t i = 0; i < p; i++)
            there[i] = theta[i] + (along_theta ? side * h * along_theta[i] : 0);
        for (ptrdiff_t i = 0; i < s->rows * n_in; i++) {
            const ptrdiff_t place = i / n_in * s->ldx + i % n_in;
            x[place] = ((const double *)s->x)[place] + (along_x ? side * h * along_x[i] : 0);
        }
        nnc_samples moved = *s;
        moved.x = x;
        if (what == OF_OUTPUTS)
            nnc_predict(&n->plan, there, x, s->ldx, s->rows, out, n_out,
                        fresh_work(n, s->rows, NNC_PREDICT), NULL, NULL);
        else
            nnc_evaluate(&n->plan, there, &moved, what == OF_LOSS ? out : &loss,
                         what == OF_LOSS ? NULL : out,
                         fresh_work(n, s->rows, what == OF_LOSS ? NNC_EVALUATE : NNC_GRADIENT),
                         NULL, NULL);
        for (ptrdiff_t i = 0; i < size; i++) sum[i] += side * out[i] / (2 * h);
        free(out);
        release(start);
    }
    return sum;
}

/* The Jacobians times a direction, summed over it, are the change of the outputs. */
static double *times(const double *jacobian, ptrdiff_t rows, ptrdiff_t n_out, ptrdiff_t n,
                     const double *along, ptrdiff_t along_ld) {
    double *change = zeroed((size_t)(rows * n_out), sizeof *change);
    for (ptrdiff_t i = 0; i < rows * n_out; i++)
        for (ptrdiff_t j = 0; j < n; j++)
            change[i] += jacobian[i * n + j] * along[i / n_out * along_ld + j];
    return change;
}

static void check_against_differences(const net *n, const double *theta, const nnc_samples *s,
                                      const double *v, const derivatives *d) {
    const ptrdiff_t rows = s->rows, n_in = inputs(n), n_out = outputs(n), p = n->plan.n_params;
    const int start = mark();
    double *along_x = fresh((size_t)(rows * n_in) * sizeof *along_x), loss = 0;
    double total[2] = {0}; /* with its size, since it may cancel */
    fill(NNC_F64, along_x, rows * n_in, 77, -1, 1);
    for (ptrdiff_t i = 0; i < rows * n_in; i++) {
        total[0] += d->values[INPUTS][i] * along_x[i];
        total[1] += fabs(d->values[INPUTS][i] * along_x[i]);
    }
    for (ptrdiff_t i = 0; i < rows; i++) loss += d->values[LOSSES][i] / (double)rows;
    check(agree(1, &loss, &d->loss[0], 1e-13) && agree(1, &loss, &d->loss[1], 1e-13),
          "losses differ");
    double *mean = zeroed((size_t)p, sizeof *mean);
    for (ptrdiff_t i = 0; i < rows * p; i++) mean[i % p] += d->values[SAMPLES][i] / (double)rows;
    double *gradient = fresh((size_t)p * sizeof *gradient), unused;
    nnc_evaluate(&n->plan, theta, s, &unused, gradient, fresh_work(n, rows, NNC_GRADIENT), NULL,
                 NULL);
    check(agree(p, mean, gradient, 1e-13), "the rows' gradients are not the gradient");
    double *change = difference(n, OF_LOSS, theta, s, NULL, along_x, 2);
    change[1] = total[1];
    struct {
        int kind;
        double *got, *want;
        ptrdiff_t size;
    } pairs[] = {
        {INPUTS, total, change, 2},
        {PRODUCT, d->values[PRODUCT], difference(n, OF_GRADIENT, theta, s, v, NULL, p), p},
        {JACOBIAN_X, times(d->values[JACOBIAN_X], rows, n_out, n_in, along_x, n_in),
         difference(n, OF_OUTPUTS, theta, s, NULL, along_x, rows * n_out), rows * n_out},
        {JACOBIAN_THETA, times(d->values[JACOBIAN_THETA], rows, n_out, p, v, 0),
         difference(n, OF_OUTPUTS, theta, s, v, NULL, rows * n_out), rows * n_out},
    };
    for (int i = 0; i < 4; i++) {
        check(agree(pairs[i].size, pairs[i].got, pairs[i].want, 1e-5), "%s: not the difference",
              names[pairs[i].kind]);
        if (i > 1) free(pairs[i].got);
        free(pairs[i].want);
    }
    free(mean);
    release(start);
}

static void check_same_bits(const derivatives *a, const derivatives *b, const char *what) {
    check(a->loss[0] == b->loss[0] && a->loss[1] == b->loss[1], "%s: other losses", what);
    for (int kind = 0; kind < N_KINDS; kind++)
        if (a->values[kind] && b->values[kind])
            check(
                !memcmp(a->values[kind], b->values[kind], (size_t)a->sizes[kind] * sizeof(double)),
                "%s: the %s has other bits", what, names[kind]);
}

static void check_net(const nnc_kernels *k, net_shape shape, ptrdiff_t rows,
                      const derivatives *want) {
    const int start = mark();
    net n = make_net(k, shape);
    link_net(&n);
    where("%s %s, %td rows of %s", k->isa, type_names[k->dtype], rows, n.name);
    const nnc_samples s = fresh_samples(&n, rows, 5), shuffled = fresh_shuffled(&n, &s);
    void *theta = fresh_theta(&n, 6), *v = fresh_theta(&n, 7);
    derivatives d = derive(&n, theta, &s, v), again = derive(&n, theta, &shuffled, v);
    check_same_bits(&d, &again, "through an index");
    release_all(&again);
    n.plan.threads = 3;
    again = derive(&n, theta, &s, v);
    check_same_bits(&d, &again, "with three threads");
    if (want) {
        for (int kind = 0; kind < N_KINDS; kind++)
            check(agree(d.sizes[kind], d.values[kind], want->values[kind],
                        k->dtype == NNC_F32 ? 2e-5 : 1e-13),
                  "the %s is not the baseline's", names[kind]);
    } else {
        n.plan.threads = 1;
        check_against_differences(&n, theta, &s, v, &d);
    }
    release_all(&again);
    release_all(&d);
    release(start);
}

void test_derivatives(void) {
    static const ptrdiff_t rows[] = {1, 7, 259};
    net_shape shapes[MAX_NETS];
    const int n_shapes = net_shapes(shapes);
    const nnc_kernels *baseline = nnc_kernels_for("baseline", NNC_F64);
    group("derivatives beyond the gradient");
    for (int i = 0; i < n_shapes; i++)
        for (int j = 0; j < 3; j++) {
            net n = make_net(baseline, shapes[i]);
            link_net(&n);
            if (rows[j] * n.plan.n_params * outputs(&n) > 500000) continue; /* Jacobians */
            check_net(baseline, shapes[i], rows[j], NULL);
            const int start = mark();
            const nnc_samples s = fresh_samples(&n, rows[j], 5);
            derivatives want = derive(&n, fresh_theta(&n, 6), &s, fresh_theta(&n, 7));
            for (int type = 0; type < NNC_N_DTYPES; type++) {
                const nnc_kernels *list[MAX_ISAS];
                const int count = runnable((nnc_dtype)type, list);
                for (int isa = 0; isa < count; isa++)
                    if (list[isa] != baseline) check_net(list[isa], shapes[i], rows[j], &want);
            }
            release_all(&want);
            release(start);
        }
}
