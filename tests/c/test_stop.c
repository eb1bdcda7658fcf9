/* Stopping: at any poll, and at a loss that is not finite; the parameters and the state are those
 * after the last whole step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nets.h"
#include "testing.h"

/* A copy of parameters and state after each whole step. */
typedef struct {
    size_t bytes;
    int vectors;
    char *saved;
} history;

static void save_step(history *h, ptrdiff_t step, const void *theta, const nnc_optimizer *o) {
    char *to = h->saved + (size_t)step * h->bytes * (size_t)(1 + h->vectors);
    memcpy(to, theta, h->bytes);
    for (int v = 0; v < h->vectors; v++)
        memcpy(to + (size_t)(v + 1) * h->bytes, o->state[v], h->bytes);
}

static int is_step(const history *h, ptrdiff_t step, const void *theta, const nnc_optimizer *o) {
    const char *at_step = h->saved + (size_t)step * h->bytes * (size_t)(1 + h->vectors);
    int same = !memcmp(at_step, theta, h->bytes);
    for (int v = 0; v < h->vectors; v++)
        same &= !memcmp(at_step + (size_t)(v + 1) * h->bytes, o->state[v], h->bytes);
    return same;
}

/* Looks, whenever it is polled, whether it sees a whole step. */
typedef struct {
    const history *h;
    const void *theta;
    const nnc_optimizer *o;
    int looks, torn;
} onlooker;

static int look(void *context) {
    onlooker *l = context;
    l->looks++;
    l->torn += !is_step(l->h, (ptrdiff_t)l->o->updates, l->theta, l->o);
    return 0;
}

/* What a poll does with the parameters of a small network, learning online, is seen and is kept. */
static void check_seen(const nnc_kernels *k) {
    enum { OPT = NNC_OPT_momentum, ROWS = 3000 };
    const net_shape shape = {{4, 6, 1}, {NNC_ACT_tanh, NNC_ACT_identity}, NNC_LOSS_mse, 0, 0};
    const int start = mark();
    net n = make_net(k, shape);
    link_net(&n);
    const size_t bytes = (size_t)n.plan.n_params * k->size;
    const nnc_samples s = fresh_samples(&n, ROWS, 3);
    void *theta = fresh_theta(&n, 1), *gradient = fresh(bytes), *first = fresh(bytes),
         *work = fresh_work(&n, 1, NNC_TRAIN);
    double *losses = fresh(ROWS * sizeof *losses);
    nnc_optimizer o = fresh_optimizer(&n, OPT);
    history h = {bytes, 1, zeroed((ROWS + 1) * 2, bytes)};
    ptrdiff_t done;
    memcpy(first, theta, bytes);
    save_step(&h, 0, theta, &o);
    for (ptrdiff_t i = 0; i < ROWS; i++) {
        const nnc_samples part = part_of(&n, &s, i, 1);
        nnc_train(&n.plan, theta, gradient, &o, &part, 1, losses, &done, work, NULL, NULL);
        save_step(&h, i + 1, theta, &o);
    }
    memcpy(theta, first, bytes);
    memset(o.state[0], 0, bytes);
    o.updates = 0;
    onlooker l = {&h, theta, &o, 0, 0};
    where("%s %s, watched", k->isa, n.name);
    nnc_train(&n.plan, theta, gradient, &o, &s, 1, losses, &done, work, look, &l);
    check(l.looks >= 2, "polled %d times", l.looks);
    check(l.torn == 0, "%d of %d times not as after the steps that were counted", l.torn, l.looks);
    check(done == ROWS && is_step(&h, ROWS, theta, &o), "watching changed the result");
    free(h.saved);
    release(start);
}

static void check_stopping(const nnc_kernels *k, net_shape shape, ptrdiff_t n_rows, ptrdiff_t batch,
                           int wanted_inside) {
    enum { OPT = NNC_OPT_adam, MOST = 500 };
    const ptrdiff_t steps = (n_rows + batch - 1) / batch;
    const int start = mark();
    net n = make_net(k, shape);
    link_net(&n);
    n.plan.longest = 1e6; /* so products stop in between, too */
    const size_t bytes = (size_t)n.plan.n_params * k->size;
    const nnc_samples s = fresh_samples(&n, n_rows, 3);
    void *theta = fresh_theta(&n, 1), *gradient = fresh(bytes),
         *work = fresh_work(&n, batch, NNC_TRAIN);
    double *losses = fresh((size_t)steps * sizeof *losses);
    nnc_optimizer o = fresh_optimizer(&n, OPT);
    ptrdiff_t done;
    const int vectors = nnc_opts[OPT].vectors;
    history h = {bytes, vectors, zeroed((size_t)((steps + 1) * (1 + vectors)), bytes)};
    where("%s %s", k->isa, n.name);
    save_step(&h, 0, theta, &o);
    for (ptrdiff_t i = 0; i < steps; i++) {
        const ptrdiff_t rows = n_rows - i * batch < batch ? n_rows - i * batch : batch;
        const nnc_samples part = part_of(&n, &s, i * batch, rows);
        nnc_train(&n.plan, theta, gradient, &o, &part, batch, losses, &done, work, NULL, NULL);
        save_step(&h, i + 1, theta, &o);
    }
    ptrdiff_t inside = 0, last_done = -1;
    nnc_status status = NNC_STOPPED;
    for (int stop_at = 1; status == NNC_STOPPED && stop_at < MOST; stop_at++) {
        countdown c = {0, stop_at};
        where("%s %s, stopped at poll %d", k->isa, n.name, stop_at);
        memcpy(theta, h.saved, bytes);
        o.updates = 0;
        for (int v = 0; v < vectors; v++) memset(o.state[v], 0, bytes);
        done = -1;
        status =
            nnc_train(&n.plan, theta, gradient, &o, &s, batch, losses, &done, work, count_down, &c);
        check(c.calls == stop_at || status == NNC_OK, "polled %d times", c.calls);
        check(done >= 0 && done <= steps && o.updates == done, "%td steps, %lld updates", done,
              (long long)o.updates);
        check(is_step(&h, done, theta, &o), "parameters or state are not those after %td steps",
              done);
        check(done >= last_done, "%td steps after %td", done, last_done);
        inside += done == last_done;
        last_done = done;
    }
    where("%s %s", k->isa, n.name);
    check(status == NNC_OK && done == steps, "never finished");
    check(inside >= wanted_inside, "stopped inside a step only %td times", inside);

    const ptrdiff_t n_out = outputs(&n);
    void *out = fresh((size_t)(n_rows * n_out) * k->size);
    double loss;
    countdown c = {0, 1}, d = {0, 1};
    check(nnc_predict(&n.plan, theta, s.x, s.ldx, n_rows, out, n_out,
                      fresh_work(&n, n_rows, NNC_PREDICT), count_down,
                      &c) == (c.calls ? NNC_STOPPED : NNC_OK),
          "predict did not stop");
    check(nnc_evaluate(&n.plan, theta, &s, &loss, gradient, fresh_work(&n, n_rows, NNC_GRADIENT),
                       count_down, &d) == (d.calls ? NNC_STOPPED : NNC_OK),
          "evaluate did not stop");
    check(wanted_inside == 0 || (c.calls && d.calls), "predict or evaluate did not poll");
    free(h.saved);
    release(start);
}

/* A loss that is not finite ends training before its update. */
static void check_not_finite(const nnc_kernels *k, double poison) {
    enum { ROWS = 16, BATCH = 4, OPT = NNC_OPT_momentum };
    const net_shape shape = {{3, 5, 2}, {NNC_ACT_relu, NNC_ACT_identity}, NNC_LOSS_mse, 0, 0};
    const int start = mark();
    net n = make_net(k, shape);
    link_net(&n);
    const size_t bytes = (size_t)n.plan.n_params * k->size;
    const nnc_samples good = fresh_samples(&n, ROWS, 3), part = part_of(&n, &good, 0, 2 * BATCH);
    nnc_samples bad = good;
    void *x = fresh((size_t)((ROWS - 1) * good.ldx + 3) * k->size), *gradient = fresh(bytes);
    memcpy(x, good.x, (size_t)((ROWS - 1) * good.ldx + 3) * k->size);
    put(k->dtype, x, 10 * good.ldx + 1, poison); /* row 10 is in the third batch */
    bad.x = x;
    void *theta[2] = {fresh_theta(&n, 1), fresh_theta(&n, 1)},
         *work = fresh_work(&n, BATCH, NNC_TRAIN);
    nnc_optimizer o[2] = {fresh_optimizer(&n, OPT), fresh_optimizer(&n, OPT)};
    double *losses = fresh(ROWS / BATCH * sizeof *losses);
    ptrdiff_t done;
    where("%s, input %g", k->isa, poison);
    nnc_train(&n.plan, theta[0], gradient, &o[0], &part, BATCH, losses, &done, work, NULL, NULL);
    const nnc_status status =
        nnc_train(&n.plan, theta[1], gradient, &o[1], &bad, BATCH, losses, &done, work, NULL, NULL);
    check(status == NNC_NOT_FINITE, "the status is %d", (int)status);
    check(done == 2 && o[1].updates == 2, "%td steps, %lld updates", done, (long long)o[1].updates);
    check(!isfinite(losses[2]), "the loss is %g", losses[2]);
    check(!memcmp(theta[0], theta[1], bytes) && !memcmp(o[0].state[0], o[1].state[0], bytes),
          "not as after two steps");
    release(start);
}

void test_poll(void) {
    /* most polls are between two products, and most are behind an update */
    const net_shape deep = {{64, 150, 40, 10},
                            {NNC_ACT_tanh, NNC_ACT_relu, NNC_ACT_softmax},
                            NNC_LOSS_cross_entropy,
                            0,
                            1};
    const net_shape flat = {{200, 200}, {NNC_ACT_identity}, NNC_LOSS_mse, 0, 0};
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable((nnc_dtype)type, list);
        group("stopping %s", type_names[type]);
        for (int i = 0; i < isas; i++) {
            check_stopping(list[i], deep, 700, 300, 3);
            check_stopping(list[i], flat, 24, 1, 0);
            check_seen(list[i]);
            check_not_finite(list[i], NAN);
            check_not_finite(list[i], INFINITY);
            check_not_finite(list[i], type == NNC_F32 ? 1e30 : 1e300);
        }
    }
}
