/* The loss on a grid of parameters: at each point the bits of nnc_evaluate, with any number of
 * threads, however the points are divided, and stopped at any poll. */
#include <stdlib.h>
#include <string.h>

#include "nets.h"
#include "testing.h"

enum { N_A = 5, N_B = 7, POINTS = N_A * N_B };

/* Buffers of exactly the size of the contract. */
static nnc_grid fresh_grid(const net *n) {
    const ptrdiff_t p = n->plan.n_params;
    double *vectors[3], *a = fresh(N_A * sizeof *a), *b = fresh(N_B * sizeof *b);
    for (int i = 0; i < 3; i++) {
        vectors[i] = fresh((size_t)p * sizeof(double));
        fill(NNC_F64, vectors[i], p, 90 + (uint64_t)i, -0.8, 0.9);
    }
    fill(NNC_F64, a, N_A, 7, -1, 1);
    fill(NNC_F64, b, N_B, 8, -2, 1);
    return (nnc_grid){vectors[0], vectors[1], vectors[2], N_A, N_B, a, b};
}

/* One evaluation after the other. */
static void evaluate_all(net *n, const nnc_grid *g, const nnc_samples *s, double *losses) {
    const int start = mark();
    const nnc_dtype type = n->plan.kernels->dtype;
    void *theta = fresh_theta(n, 1), *work = fresh_work(n, s->rows, NNC_EVALUATE);
    for (ptrdiff_t i = 0; i < POINTS; i++) {
        for (ptrdiff_t j = 0; j < n->plan.n_params; j++) {
            const double once = g->a[i / N_B] * g->u[j], sum = g->center[j] + once;
            const double again = g->b[i % N_B] * g->v[j];
            put(type, theta, j, sum + again);
        }
        check(nnc_evaluate(&n->plan, theta, s, &losses[i], NULL, work, NULL, NULL) == NNC_OK,
              "evaluate failed");
    }
    release(start);
}

/* longest: 0, or how many points a thread may take between two polls; below 1, none is taken
 * whole. */
static void check_grid(net *n, const nnc_grid *g, const nnc_samples *s, const double *want,
                       int threads, double points) {
    const int start = mark();
    double *losses = fresh(POINTS * sizeof *losses);
    ptrdiff_t done = -1;
    n->plan.threads = threads, n->plan.spin = threads <= 2;
    n->plan.longest = points * 4.0 * (double)n->plan.n_params * (double)s->rows;
    countdown c = {0, 1 << 30};
    void *work = fresh_work(n, s->rows, NNC_LANDSCAPE);
    check(nnc_landscape(&n->plan, g, s, losses, &done, work, count_down, &c) == NNC_OK &&
              done == POINTS,
          "%d threads: not done", threads);
    check(!memcmp(losses, want, POINTS * sizeof *want), "%d threads, %g points at once: other bits",
          threads, points);
    check(points == 0 || points > 3 || c.calls > 0, "never polled");
    for (int stop_at = 1; stop_at <= c.calls && stop_at < 100; stop_at += 1 + stop_at / 2) {
        countdown stop = {0, stop_at};
        memset(losses, 0xFF, POINTS * sizeof *losses);
        const nnc_status status =
            nnc_landscape(&n->plan, g, s, losses, &done, work, count_down, &stop);
        check(status == NNC_STOPPED && done >= 0 && done < POINTS && stop.calls == stop_at,
              "%d threads, poll %d: status %d after %td points", threads, stop_at, (int)status,
              done);
        check(!memcmp(losses, want, (size_t)done * sizeof *want),
              "%d threads, poll %d: the points that are done have other bits", threads, stop_at);
    }
    n->plan.threads = 1, n->plan.longest = 0;
    release(start);
}

static void check_landscape(const nnc_kernels *k, net_shape shape, ptrdiff_t rows, int weighted) {
    static const double points[] = {0, 0.3, 3, 9};
    static nnc_kernels divided; /* claims to have one lane, so that small work is divided */
    const int start = mark();
    net n = make_net(k, shape);
    link_net(&n);
    where("%s %s, %td rows of %s%s", k->isa, type_names[k->dtype], rows, n.name,
          weighted ? ", weighted" : "");
    divided = *k, divided.lanes = 1;
    n.plan.kernels = &divided;
    nnc_samples in_order = fresh_samples(&n, rows, 5);
    if (weighted) add_weights(&in_order);
    const nnc_samples s = weighted ? fresh_shuffled(&n, &in_order) : in_order;
    const nnc_grid g = fresh_grid(&n);
    double *want = fresh(POINTS * sizeof *want);
    evaluate_all(&n, &g, &in_order, want);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        for (int threads = 1; threads <= (EMULATED ? 2 : 8); threads += threads == 1 ? 1 : 3)
            check_grid(&n, &g, &s, want, threads, points[i]);
    release(start);
}

/* The same bits on all instruction sets with fused multiply-add: the points are the same, too. */
void test_landscape(void) {
    const net_shape deep = {{33, 70, 21, 5},
                            {NNC_ACT_tanh, NNC_ACT_softplus, NNC_ACT_softmax},
                            NNC_LOSS_cross_entropy,
                            0,
                            1};
    const net_shape small = {{2, 2, 1}, {NNC_ACT_sigmoid, NNC_ACT_identity}, NNC_LOSS_mse, 0, 0};
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable((nnc_dtype)type, list);
        group("landscapes %s", type_names[type]);
        for (int i = 0; i < isas; i++) {
            check_landscape(list[i], deep, 41, 1);
            check_landscape(list[i], small, 4, 0);
            if (EMULATED) continue;
            check_landscape(list[i], deep, 300, 0);
            check_landscape(list[i], small, 600, 1);
        }
    }
}
