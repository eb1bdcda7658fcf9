/* Whole networks: what is refused, predict, evaluate, train, stopping. Every buffer has exactly the
 * size that nnc.h asks for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nets.h"
#include "oracle.h"
#include "testing.h"

/* ---- what nnc_plan_check refuses ---------------------------------------------------------- */

static const net_shape two_layers = {
    {3, 4, 2}, {NNC_ACT_tanh, NNC_ACT_softmax}, NNC_LOSS_cross_entropy, 0, 0};

/* Checks a plan that differs from a good one in what `change` says. */
#define EXPECT(status, what, change) \
    do { \
        net n_ = make_net(k, two_layers); \
        link_net(&n_); \
        nnc_plan *plan = &n_.plan; \
        nnc_step *steps = n_.steps; \
        (void)steps; \
        change; \
        where("%s", what); \
        check(nnc_plan_check(plan) == (status), "the status is %d", (int)nnc_plan_check(plan)); \
    } while (0)
#define REFUSED(change) EXPECT(NNC_BAD_PLAN, #change, change)
#define ACCEPTED(change) EXPECT(NNC_OK, #change, change)

void test_plan_check(void) {
    const ptrdiff_t most = PTRDIFF_MAX;
    group("plans refused");
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        const nnc_kernels *k = nnc_kernels_for("baseline", (nnc_dtype)type);
        ACCEPTED((void)0);
        ACCEPTED(steps[0].b = -1);
        ACCEPTED(plan->loss = NNC_LOSS_mse);
        ACCEPTED(plan->n_steps = 1; plan->loss = NNC_LOSS_half_mse);
        REFUSED(plan->kernels = NULL);
        REFUSED(plan->n_steps = 0);
        REFUSED(plan->n_steps = -1);
        REFUSED(plan->n_params = 0);
        REFUSED(plan->n_params = -7);
        REFUSED(plan->n_params -= 1);
        REFUSED(plan->loss = -1);
        REFUSED(plan->loss = NNC_N_LOSSES);
        REFUSED(steps[0].kind = NNC_N_STEPS);
        REFUSED(steps[1].kind = -1);
        REFUSED(steps[0].act = -1);
        ACCEPTED(steps[1].act = NNC_ACT_log_softmax);
        REFUSED(steps[1].act = NNC_ACT_log_softmax + 1);
        REFUSED(steps[0].act = NNC_ACT_log_softmax);
        REFUSED(steps[0].act_a[0] = (double)NAN);
        REFUSED(steps[0].act_a[1] = (double)INFINITY);
        ACCEPTED(steps[0].act_a[0] = 3);
        /* a loss that starts from the raw scores knows a sigmoid of gain 1 alone */
        ACCEPTED(plan->loss = NNC_LOSS_binary_cross_entropy; steps[1].act = NNC_ACT_sigmoid;
                 steps[1].act_a[0] = 1);
        REFUSED(plan->loss = NNC_LOSS_binary_cross_entropy; steps[1].act = NNC_ACT_sigmoid;
                steps[1].act_a[0] = 2);
        REFUSED(steps[0].act = NNC_ACT_softmax);  /* not the last */
        REFUSED(steps[1].act = NNC_ACT_identity); /* not what the loss is fused with */
        REFUSED(steps[1].act = NNC_ACT_sigmoid);
        REFUSED(plan->loss = NNC_LOSS_binary_cross_entropy);
        REFUSED(steps[0].n_in = 0);
        REFUSED(steps[0].n_in = -3);
        REFUSED(steps[1].n_out = 0);
        REFUSED(steps[1].n_out = -2);
        REFUSED(steps[0].n_out = 3); /* the next takes 4 */
        REFUSED(steps[1].n_in = 5);
        REFUSED(steps[0].w = -1);
        REFUSED(steps[0].w = plan->n_params - 3 * 4 + 1);
        REFUSED(steps[0].w = most);
        REFUSED(steps[0].b = plan->n_params - 4 + 1);
        REFUSED(steps[0].b = most);
        REFUSED(steps[1].b = plan->n_params);
        /* products that wrap around, and workspaces that no size_t can count */
        REFUSED(steps[0].n_in = most);
        REFUSED(steps[1].n_out = most);
        REFUSED(steps[0].n_in = most / 4 + 2);
        REFUSED(plan->n_steps = 1; steps[0].n_in = steps[0].n_out = (ptrdiff_t)1 << 32);
        REFUSED(plan->n_steps = 1; plan->n_params = most;
                steps[0].n_in = steps[0].n_out = (ptrdiff_t)1 << 32);
        REFUSED(plan->n_steps = 1; plan->loss = NNC_LOSS_mse; plan->n_params = most;
                steps[0].n_in = 1; steps[0].n_out = most; steps[0].w = 0; steps[0].b = -1);
        REFUSED(plan->n_steps = 1; plan->loss = NNC_LOSS_mse; plan->n_params = most;
                steps[0].n_in = most / 2; steps[0].n_out = 1; steps[0].w = 0; steps[0].b = -1);
    }
}

/* ---- predict, evaluate, train ------------------------------------------------------------- */

/* What a network must give on some samples. */
typedef struct {
    number loss, *gradient, *out;
} expectation;

/* The index of the first number that is not within its error of what is expected, or -1. */
static ptrdiff_t first_wrong(nnc_dtype type, ptrdiff_t rows, ptrdiff_t n, const void *got,
                             ptrdiff_t ld, const number *expected) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++) {
            const number *e = &expected[i * n + j];
            if (first_outside(type, 1, 1, at(type, got, i * ld + j), 1, &e->v, &e->e) >= 0)
                return i * n + j;
        }
    return -1;
}

/* The bounds must be narrow against the numbers, or the comparison says nothing. They are of the
 * worst case and grow with the widths: an eighth at most in float32, for hundreds of units. */
static void check_sharpness(nnc_dtype type, ptrdiff_t n, const number *expected, const char *what) {
    wide size = 0, error = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (W(fabs)(expected[i].v) > size) size = W(fabs)(expected[i].v);
        if (expected[i].e > error) error = expected[i].e;
    }
    check(error <= size * epsilon_of(type) * 0x1p20, "the bound of the %s is %Lg, the largest %Lg",
          what, (long double)error, (long double)size);
}

static void check_predict(const net *n, const void *theta, const nnc_samples *s,
                          const expectation *e, void *bits) {
    const nnc_kernels *k = n->plan.kernels;
    const nnc_dtype type = k->dtype;
    const ptrdiff_t rows = s->rows, n_out = outputs(n), ldo = n_out + (rows == 7 ? 3 : 0);
    const int start = mark();
    void *out = fresh((size_t)((rows - 1) * ldo + n_out) * k->size);
    nnc_status status = nnc_predict(&n->plan, theta, s->x, s->ldx, rows, out, ldo,
                                    fresh_work(n, rows, NNC_PREDICT), NULL, NULL);
    check(status == NNC_OK, "predict's status is %d", (int)status);
    const ptrdiff_t wrong = first_wrong(type, rows, n_out, out, ldo, e->out);
    check(wrong < 0, "output %td is wrong", wrong);
    check(gaps_untouched(type, rows, n_out, out, ldo), "predict wrote between the rows of out");
    const ptrdiff_t alone[] = {0, rows / 2, rows - 1};
    for (int i = 0; i < 3; i++) {
        const int here = mark();
        void *one = fresh((size_t)n_out * k->size);
        nnc_predict(&n->plan, theta, at(type, s->x, alone[i] * s->ldx), s->ldx, 1, one, n_out,
                    fresh_work(n, 1, NNC_PREDICT), NULL, NULL);
        check(!memcmp(one, at(type, out, alone[i] * ldo), (size_t)n_out * k->size),
              "row %td alone gives other bits", alone[i]);
        release(here);
    }
    for (ptrdiff_t i = 0; i < rows; i++)
        memcpy(at(type, bits, i * n_out), at(type, out, i * ldo), (size_t)n_out * k->size);
    release(start);
}

static void check_evaluate(const net *n, const void *theta, const nnc_samples *s,
                           const expectation *e, void *bits) {
    const nnc_dtype type = n->plan.kernels->dtype;
    const ptrdiff_t n_params = n->plan.n_params;
    const size_t bytes = (size_t)n_params * size_of(type);
    const int start = mark();
    void *gradient = fresh(bytes), *again = fresh(bytes);
    double loss = -1, alone = -2, shuffled = -3;
    check(nnc_evaluate(&n->plan, theta, s, &loss, gradient, fresh_work(n, s->rows, NNC_GRADIENT),
                       NULL, NULL) == NNC_OK,
          "evaluate failed");
    check(W(fabs)(loss - e->loss.v) <= e->loss.e, "the loss is %.17g, expected %.17Lg within %Lg",
          loss, (long double)e->loss.v, (long double)e->loss.e);
    const ptrdiff_t wrong = first_wrong(type, 1, n_params, gradient, n_params, e->gradient);
    check(wrong < 0, "gradient %td is wrong", wrong);
    nnc_evaluate(&n->plan, theta, s, &alone, NULL, fresh_work(n, s->rows, NNC_EVALUATE), NULL,
                 NULL);
    check(alone == loss, "the loss without gradient is %.17g, with %.17g", alone, loss);
    const nnc_samples mixed_up = fresh_shuffled(n, s);
    nnc_evaluate(&n->plan, theta, &mixed_up, &shuffled, again, fresh_work(n, s->rows, NNC_GRADIENT),
                 NULL, NULL);
    check(shuffled == loss && !memcmp(gradient, again, bytes), "other bits through an index");
    nnc_evaluate(&n->plan, theta, &mixed_up, &shuffled, NULL, fresh_work(n, s->rows, NNC_EVALUATE),
                 NULL, NULL);
    check(shuffled == loss, "another loss through an index");
    memcpy(bits, gradient, bytes);
    memcpy((char *)bits + bytes, &loss, sizeof loss);
    release(start);
}

static int any_weight(const nnc_samples *s) {
    int any = s->weights == NULL;
    for (ptrdiff_t i = 0; i < s->rows && !any; i++)
        any = s->weights[s->index ? s->index[i] : i] > 0;
    return any;
}

/* nnc_train does what a loop of evaluate and update does; returns the bits of the parameters. */
static void check_train(const net *n, const void *theta0, const nnc_samples *s, int opt,
                        ptrdiff_t batch, void *bits) {
    const nnc_kernels *k = n->plan.kernels;
    const ptrdiff_t n_params = n->plan.n_params, steps = (s->rows + batch - 1) / batch;
    const size_t bytes = (size_t)n_params * k->size;
    const int start = mark();
    void *thetas[2], *gradient = fresh(bytes);
    double *losses = fresh((size_t)steps * sizeof *losses);
    nnc_optimizer by_hand = fresh_optimizer(n, opt), trained = fresh_optimizer(n, opt);
    for (int i = 0; i < 2; i++) thetas[i] = memcpy(fresh_with_slack(bytes), theta0, bytes);
    where("%s %s, %td rows in batches of %td%s, %s", k->isa, n->name, s->rows, batch,
          s->index ? ", index" : "", nnc_opts[opt].name);
    ptrdiff_t done = -1;
    nnc_status status =
        nnc_train(&n->plan, thetas[0], gradient, &trained, s, batch, losses, &done,
                  fresh_work(n, s->rows < batch ? s->rows : batch, NNC_TRAIN), NULL, NULL);
    check(status == NNC_OK, "the status is %d", (int)status);
    void *work = fresh_work(n, s->rows < batch ? s->rows : batch, NNC_GRADIENT);
    int right = 1;
    for (ptrdiff_t i = 0; i < steps; i++) {
        const ptrdiff_t first = i * batch, rows = s->rows - first < batch ? s->rows - first : batch;
        const nnc_samples part = part_of(n, s, first, rows);
        double loss, coef[NNC_MAX_COEF];
        nnc_evaluate(&n->plan, thetas[1], &part, &loss, gradient, work, NULL, NULL);
        right &= !memcmp(&losses[i], &loss, sizeof loss);
        if (!any_weight(&part)) continue; /* the loss is 0, and nothing changes */
        nnc_opt_coefficients((nnc_opt)opt, by_hand.hyper, ++by_hand.updates, coef);
        k->update[opt](n_params, thetas[1], gradient, by_hand.state, coef);
    }
    check(done == steps && trained.updates == by_hand.updates,
          "%td steps of %td, %lld updates of %lld", done, steps, (long long)trained.updates,
          (long long)by_hand.updates);
    check(right, "the losses differ from steps by hand");
    check(!memcmp(thetas[0], thetas[1], bytes), "the parameters differ from steps by hand");
    for (int v = 0; v < nnc_opts[opt].vectors; v++)
        check(!memcmp(trained.state[v], by_hand.state[v], bytes),
              "the optimizer's vector %d differs from steps by hand", v);
    check(memcmp(thetas[0], theta0, bytes) != 0, "no parameter moved");
    memcpy(bits, thetas[0], bytes);
    release(start);
}

/* ---- training that is more than one rule ---------------------------------------------------- */

typedef struct {
    nnc_tuning tuning[MAX_STEPS];
    double rates[700];
} tuned;

/* Every setting at once, but for the two ways to clip. One step of several is frozen. */
static nnc_optimizer tune(net *n, tuned *t, int opt, ptrdiff_t rows, ptrdiff_t steps) {
    nnc_optimizer o = fresh_optimizer(n, opt);
    const size_t bytes = (size_t)n->plan.n_params * n->plan.kernels->size;
    for (int s = 0; s < n->plan.n_steps; s++)
        t->tuning[s] =
            (nnc_tuning){.frozen = n->plan.n_steps > 1 && s == (rows + 1) % n->plan.n_steps,
                         .rate = 0.5 + s,
                         .l1 = s % 2 ? 0.002 : 0,
                         .l2 = s % 3 ? 0 : 0.01,
                         .max_norm = s % 2 ? 0 : 0.3};
    for (ptrdiff_t i = 0; i < steps; i++) t->rates[i] = 0.02 / (double)(1 + i);
    n->plan.tuning = t->tuning, o.rates = t->rates;
    o.decay = 0.3, o.weight = 0.25;
    *(rows % 2 ? &o.clip_norm : &o.clip_value) = rows % 2 ? 0.05 : 1e-3;
    o.average = memset(fresh_aligned((bytes + NNC_ALIGN - 1) / NNC_ALIGN * NNC_ALIGN), 0, bytes);
    return o;
}

/* One tuned update of flat vectors, from the gradient that nnc_evaluate gives. */
static void update_by_hand(const net *n, nnc_optimizer *o, double rate, void *theta,
                           char *gradient) {
    const nnc_kernels *k = n->plan.kernels;
    double square = 0, sums[2], scale = 1;
    for (int s = 0; s < n->plan.n_steps; s++) {
        const nnc_step *step = &n->steps[s];
        const ptrdiff_t rows = step->n_out == 1 ? 1 : step->n_in;
        if (n->plan.tuning[s].frozen) continue;
        for (ptrdiff_t i = 0; i < rows; i += NNC_BLOCK) {
            const ptrdiff_t some = rows - i < NNC_BLOCK ? rows - i : NNC_BLOCK;
            const ptrdiff_t width = step->n_out == 1 ? step->n_in : step->n_out;
            k->other->norms(some, width, at(k->dtype, gradient, step->w + i * width), width, sums);
            square += sums[1];
        }
        if (step->b < 0) continue;
        k->other->norms(1, step->n_out, at(k->dtype, gradient, step->b), step->n_out, sums);
        square += sums[1];
    }
    if (o->clip_norm > 0 && sqrt(square) > o->clip_norm) scale = o->clip_norm / sqrt(square);
    ++o->updates;
    for (int s = 0; s < n->plan.n_steps; s++) {
        const nnc_step *step = &n->steps[s];
        const nnc_tuning *t = &n->plan.tuning[s];
        if (t->frozen) continue;
        double hyper[NNC_MAX_COEF], coef[NNC_MAX_COEF];
        memcpy(hyper, o->hyper, (size_t)nnc_opts[o->opt].n_hyper * sizeof *hyper);
        hyper[0] = rate * t->rate;
        nnc_opt_coefficients((nnc_opt)o->opt, hyper, o->updates, coef);
        const nnc_shaping shaping = {0, 0, o->clip_value > 0 ? o->clip_value : INFINITY, scale, 1};
        for (int biases = 0; biases < 1 + (step->b >= 0); biases++) {
            const ptrdiff_t from = biases ? step->b : step->w;
            const ptrdiff_t count = biases ? step->n_out : step->n_in * step->n_out;
            void *p = at(k->dtype, theta, from), *g = at(k->dtype, gradient, from);
            void *state[NNC_MAX_VECTORS] = {NULL};
            for (int v = 0; v < nnc_opts[o->opt].vectors; v++)
                state[v] = at(k->dtype, o->state[v], from);
            k->other->shape(count, p, g, &shaping);
            k->other->decay(count, p, biases ? 1 : 1 - hyper[0] * o->decay);
            k->update[o->opt](count, p, g, state, coef);
        }
        if (t->max_norm > 0)
            k->other->limit_columns(step->n_in, step->n_out, at(k->dtype, theta, step->w),
                                    step->n_out, t->max_norm);
    }
    k->other->average(n->plan.n_params, o->average, theta, NULL,
                      o->averaged ? &o->weight : &(double){1});
    ++o->averaged;
}

/* As check_train, with every setting of a step and of the optimizer. */
static void check_tuned(net *n, const void *theta0, const nnc_samples *s, int opt, ptrdiff_t batch,
                        void *bits) {
    const ptrdiff_t n_params = n->plan.n_params, steps = (s->rows + batch - 1) / batch;
    const size_t size = n->plan.kernels->size, bytes = (size_t)n_params * size;
    const int start = mark();
    tuned settings;
    void *thetas[3], *gradient = fresh(bytes);
    double *losses = fresh((size_t)steps * sizeof *losses);
    nnc_optimizer o[3];
    where("%s %s, %td rows in batches of %td%s, %s, tuned", n->plan.kernels->isa, n->name, s->rows,
          batch, s->index ? ", index" : "", nnc_opts[opt].name);
    for (int i = 0; i < 3; i++) {
        thetas[i] = memcpy(fresh_with_slack(bytes), theta0, bytes);
        o[i] = tune(n, &settings, opt, s->rows, steps);
    }
    const ptrdiff_t most = s->rows < batch ? s->rows : batch;
    for (int i = 0; i < 2; i++) {
        ptrdiff_t done = -1;
        n->plan.threads = 1 + i;
        const nnc_status status = nnc_train(&n->plan, thetas[i], gradient, &o[i], s, batch, losses,
                                            &done, fresh_work(n, most, NNC_TRAIN), NULL, NULL);
        check(status == NNC_OK && done == steps && o[i].updates == steps && o[i].averaged == steps,
              "status %d, %td steps of %td", (int)status, done, steps);
    }
    n->plan.threads = 1;
    void *work = fresh_work(n, most, NNC_GRADIENT);
    int right = 1;
    for (ptrdiff_t i = 0; i < steps; i++) {
        const ptrdiff_t first = i * batch, rows = s->rows - first < batch ? s->rows - first : batch;
        const nnc_samples part = part_of(n, s, first, rows);
        double loss;
        nnc_evaluate(&n->plan, thetas[2], &part, &loss, gradient, work, NULL, NULL);
        update_by_hand(n, &o[2], settings.rates[i], thetas[2], gradient);
        right &= !memcmp(&losses[i], &loss, sizeof loss);
    }
    check(right, "the losses differ from steps by hand");
    for (int i = 0; i < 2; i++) {
        check(!memcmp(thetas[i], thetas[2], bytes), "the parameters differ, %d threads", 1 + i);
        check(!memcmp(o[i].average, o[2].average, bytes), "the average differs, %d threads", 1 + i);
        for (int v = 0; v < nnc_opts[opt].vectors; v++)
            check(!memcmp(o[i].state[v], o[2].state[v], bytes), "vector %d differs", v);
    }
    for (int i = 0; i < n->plan.n_steps; i++) {
        const nnc_step *step = &n->steps[i];
        const size_t from = (size_t)step->w * size, w = (size_t)(step->n_in * step->n_out) * size;
        const int moved = memcmp((char *)thetas[0] + from, (const char *)theta0 + from, w) != 0;
        check(moved != n->plan.tuning[i].frozen, "step %d %s", i, moved ? "moved" : "stayed");
    }
    memcpy(bits, thetas[0], bytes);
    n->plan.tuning = NULL;
    release(start);
}

static void check_net(net_shape shape, nnc_dtype type, ptrdiff_t rows, int with_weights) {
    const nnc_kernels *list[MAX_ISAS];
    const int isas = runnable(type, list), start = mark();
    net n = make_net(list[0], shape);
    link_net(&n);
    where("%s, %td rows%s", n.name, rows, with_weights ? " with weights" : "");
    check(nnc_plan_check(&n.plan) == NNC_OK, "refused");
    const size_t outs = (size_t)(rows * outputs(&n)), n_params = (size_t)n.plan.n_params;
    const void *theta = fresh_theta(&n, 1);
    nnc_samples samples = fresh_samples(&n, rows, 10);
    if (with_weights) add_weights(&samples);
    expectation e = {.gradient = zeroed(n_params, sizeof(number)),
                     .out = zeroed(outs, sizeof(number))};
    expected_predict(&n.plan, theta, samples.x, samples.ldx, rows, e.out);
    e.loss = expected_run(&n.plan, theta, &samples, e.gradient);
    check_sharpness(type, (ptrdiff_t)outs, e.out, "outputs");
    check_sharpness(type, (ptrdiff_t)n_params, e.gradient, "gradient");

    const size_t size = size_of(type), bytes = (outs + 3 * n_params) * size + sizeof(double);
    char *bits = zeroed(bytes, 1), *first = zeroed(bytes, 1), *spare = zeroed(bytes, 1);
    static int turn; /* every rule, on nets of every kind */
    const int opt = (int)((rows + turn++) % NNC_N_OPTS);
    const ptrdiff_t batch = rows <= 7 ? 1 + rows / 3 : rows == 256 ? 1000 : rows == 257 ? 64 : 300;
    for (int i = 0, fused = 0; i < isas; i++) {
        n.plan.kernels = list[i];
        const int here = mark();
        where("%s %s, %td rows", list[i]->isa, n.name, rows);
        check_predict(&n, theta, &samples, &e, bits);
        check_evaluate(&n, theta, &samples, &e, bits + outs * size);
        const nnc_samples shuffled = fresh_shuffled(&n, &samples);
        check_train(&n, theta, &shuffled, opt, batch,
                    bits + (outs + n_params) * size + sizeof(double));
        check_train(&n, theta, &samples, opt, batch,
                    bits + (outs + n_params) * size + sizeof(double));
        if (!with_weights) /* which its steps by hand do not have */
            check_tuned(&n, theta, rows % 2 ? &shuffled : &samples, (opt + 7) % NNC_N_OPTS, batch,
                        bits + (outs + 2 * n_params) * size + sizeof(double));
        if (rows == 7) { /* row by row, and batches of weight 0 */
            check_train(&n, theta, &shuffled, (opt + 3) % NNC_N_OPTS, 1, spare);
            check_train(&n, theta, &samples, opt, 1, spare);
            check_train(&n, theta, &samples, opt, 3, spare);
            if (!with_weights) check_tuned(&n, theta, &samples, (opt + 11) % NNC_N_OPTS, 1, spare);
        }
        release(here);
        if (!is_fused(list[i])) continue;
        if (fused++ == 0)
            memcpy(first, bits, bytes);
        else
            check(!memcmp(first, bits, bytes), "other bits than %s", list[0]->isa);
    }
    free(e.gradient), free(e.out), free(bits), free(first), free(spare);
    release(start);
}

void test_networks(void) {
    static const ptrdiff_t rows[] = {1, 7, 256, 257, 600};
    net_shape list[MAX_NETS];
    const int nets = net_shapes(list);
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        group("networks %s", type_names[type]);
        for (int i = 0; i < nets; i++)
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
                const int large = list[i].widths[1] > 100, biased = !list[i].without_bias;
                if (!large || rows[r] == 7 || rows[r] == 257 || (biased && rows[r] == 600))
                    check_net(list[i], (nnc_dtype)type, rows[r], 0);
                if (rows[r] == 1 || rows[r] == 7 || (!large && rows[r] == 257))
                    check_net(list[i], (nnc_dtype)type, rows[r], 1);
            }
    }
    group("networks without rows");
    for (int type = 0; type < NNC_N_DTYPES; type++)
        for (int i = 0; i < nets; i++) {
            const int start = mark();
            net n = make_net(nnc_kernels_for("baseline", (nnc_dtype)type), list[i]);
            link_net(&n);
            where("%s", n.name);
            void *theta = fresh_theta(&n, 1), *work = fresh_work(&n, 0, NNC_TRAIN);
            nnc_optimizer optimizer = fresh_optimizer(&n, 0);
            const nnc_samples none = fresh_samples(&n, 0, 1);
            ptrdiff_t done = -1;
            check(nnc_predict(&n.plan, theta, fresh(0), inputs(&n), 0, fresh(0), outputs(&n),
                              fresh_work(&n, 0, NNC_PREDICT), NULL, NULL) == NNC_OK,
                  "predict failed");
            check(nnc_train(&n.plan, theta, fresh((size_t)n.plan.n_params * sizeof(double)),
                            &optimizer, &none, 5, fresh(0), &done, work, NULL, NULL) == NNC_OK &&
                      done == 0,
                  "train failed");
            release(start);
        }
}

/* ---- the gradient is the derivative of the loss --------------------------------------------- */

void test_gradients(void) {
    net_shape list[MAX_NETS];
    const nnc_kernels *kernels[MAX_ISAS];
    const int nets = net_shapes(list), isas = runnable(NNC_F64, kernels);
    const double h = 0x1p-18;
    /* h^2 / 6 times the third derivative, and the rounding of two losses divided by 2 h */
    const double tolerance = 2e-8;
    group("gradients by central differences");
    for (int i = 0; i < nets; i++)
        for (int isa = 0; isa < isas; isa++) {
            const int start = mark();
            net n = make_net(kernels[isa], list[i]);
            link_net(&n);
            where("%s %s", kernels[isa]->isa, n.name);
            double *theta = fresh_theta(&n, 4), loss, up, down, largest = 0;
            double *gradient = fresh((size_t)n.plan.n_params * sizeof(double));
            const nnc_samples s = fresh_samples(&n, 7, 20);
            void *work = fresh_work(&n, 7, NNC_EVALUATE);
            nnc_evaluate(&n.plan, theta, &s, &loss, gradient, fresh_work(&n, 7, NNC_GRADIENT), NULL,
                         NULL);
            for (ptrdiff_t p = 0; p < n.plan.n_params; p += 1 + n.plan.n_params / 300) {
                const double before = theta[p];
                theta[p] = before + h;
                nnc_evaluate(&n.plan, theta, &s, &up, NULL, work, NULL, NULL);
                theta[p] = before - h;
                nnc_evaluate(&n.plan, theta, &s, &down, NULL, work, NULL, NULL);
                theta[p] = before;
                const double quotient = (up - down) / (2 * h);
                check(fabs(quotient - gradient[p]) <= tolerance,
                      "gradient %td is %.12g, the quotient %.12g", p, gradient[p], quotient);
                if (fabs(quotient) > largest) largest = fabs(quotient);
            }
            check(largest > 1e-3, "all derivatives are nearly 0: %g", largest);
            release(start);
        }
}

/* ---- a loss that is not of the table -------------------------------------------------------- */

typedef struct {
    const nnc_kernels *kernels;
    int calls, stop_at;
} called;

/* half_mse by its kernel, until it is told to stop. */
static int call_half_mse(void *context, const nnc_loss_args *args, double *sum) {
    called *c = context;
    if (++c->calls == c->stop_at) return 1;
    *sum = c->kernels->loss[NNC_LOSS_half_mse](args);
    return 0;
}

void test_called_loss(void) {
    enum { ROWS = 700, BATCH = 300, SMALL = 100 };
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable((nnc_dtype)type, list);
        group("called losses %s", type_names[type]);
        for (int i = 0; i < 2 * isas; i++) {
            const int start = mark(), small = i >= isas;
            net own = make_net(list[i % isas], (net_shape){{4, small ? 5 : 120, 3},
                                                           {NNC_ACT_tanh, NNC_ACT_tanh},
                                                           NNC_LOSS_half_mse,
                                                           0,
                                                           0});
            link_net(&own);
            net table = own;
            link_net(&table);
            where("%s %s", list[i % isas]->isa, own.name);
            called c = {list[i % isas], 0, 0};
            own.plan.loss_call = call_half_mse, own.plan.loss_context = &c;
            own.plan.loss = NNC_LOSS_mse; /* not looked at */
            check(nnc_plan_check(&own.plan) == NNC_OK, "refused");
            nnc_samples s = fresh_samples(&own, ROWS, 3);
            add_weights(&s);
            const size_t bytes = (size_t)own.plan.n_params * size_of((nnc_dtype)type);
            void *mine = fresh_theta(&own, 2), *its = fresh_theta(&table, 2);
            void *gradient = fresh(bytes), *before = fresh(bytes);
            double losses[ROWS], want[ROWS];
            ptrdiff_t done;
            const ptrdiff_t batches[] = {BATCH, SMALL, 1};
            for (int b = 0; b < 3; b++) {
                nnc_optimizer a = fresh_optimizer(&own, NNC_OPT_sgd), o = a;
                void *work = fresh_work(&table, batches[b], NNC_TRAIN);
                check(nnc_train(&own.plan, mine, gradient, &a, &s, batches[b], losses, &done,
                                fresh_work(&own, batches[b], NNC_TRAIN), NULL, NULL) == NNC_OK,
                      "stopped");
                nnc_train(&table.plan, its, gradient, &o, &s, batches[b], want, &done, work, NULL,
                          NULL);
                check(!memcmp(mine, its, bytes), "other parameters, batches of %td", batches[b]);
                check(!memcmp(losses, want, (size_t)done * sizeof *losses), "other losses");
            }
            memcpy(before, mine, bytes);
            c.calls = 0, c.stop_at = 2; /* the second block of the first batch */
            nnc_optimizer a = fresh_optimizer(&own, NNC_OPT_sgd);
            check(nnc_train(&own.plan, mine, gradient, &a, &s, BATCH, losses, &done,
                            fresh_work(&own, BATCH, NNC_TRAIN), NULL, NULL) == NNC_STOPPED &&
                      done == 0 && a.updates == 0,
                  "not stopped, or %td steps done", done);
            check(!memcmp(mine, before, bytes), "an unfinished step left a trace");
            c.calls = 0;
            check(nnc_evaluate(&own.plan, mine, &s, losses, NULL,
                               fresh_work(&own, ROWS, NNC_EVALUATE), NULL, NULL) == NNC_STOPPED,
                  "evaluate was not stopped");
            release(start);
        }
    }
}

/* ---- missing targets, and a mean over several calls -------------------------------------------
 */

/* Makes some targets NaN, and all of some rows; counts: what is left of each row. */
static void punch_holes(const net *n, nnc_samples *s, double *counts) {
    const ptrdiff_t n_out = outputs(n);
    for (ptrdiff_t i = 0; i < s->rows; i++) {
        counts[i] = 0;
        for (ptrdiff_t j = 0; j < n_out; j++) {
            const int missing = i % 5 == 3 || mixed(9, (uint64_t)(i * n_out + j)) % 3 == 0;
            void *t = at(n->plan.kernels->dtype, s->t, i * s->ldt + j);
            if (missing) memset(t, 0xff, size_of(n->plan.kernels->dtype)); /* a NaN */
            counts[i] += !missing;
        }
        if (s->weights) counts[i] *= s->weights[i];
    }
    s->counts = counts;
}

void test_missing(void) {
    enum { ROWS = 600, BYTES = 1 << 17 };
    const int losses[] = {NNC_LOSS_mse, NNC_LOSS_binary_cross_entropy};
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable((nnc_dtype)type, list), start = mark();
        group("missing targets %s", type_names[type]);
        char *first = zeroed(BYTES, 1), *bits = zeroed(BYTES, 1);
        for (int c = 0; c < 8; c++) {
            const ptrdiff_t batch = c & 1 ? 1 : 270;
            for (int i = 0; i < isas; i++) {
                const int here = mark(), last = c & 2 ? NNC_ACT_sigmoid : NNC_ACT_identity;
                net n = make_net(
                    list[i],
                    (net_shape){{4, 9, 19}, {NNC_ACT_tanh, last}, losses[c >> 1 & 1], 0, 0});
                link_net(&n);
                where("%s %s, batches of %td%s", list[i]->isa, n.name, batch, c & 4 ? ", w" : "");
                nnc_samples s = fresh_samples(&n, ROWS, 3);
                if (c & 4) add_weights(&s);
                punch_holes(&n, &s, fresh(ROWS * sizeof(double)));
                void *theta = fresh_theta(&n, 2);
                const size_t bytes = (size_t)n.plan.n_params * list[i]->size;
                nnc_optimizer o = fresh_optimizer(&n, NNC_OPT_adam);
                double *steps = fresh(ROWS * sizeof(double)), whole = 0, parts = 0;
                ptrdiff_t done = 0;
                check(nnc_train(&n.plan, theta, fresh(bytes), &o, &s, batch, steps, &done,
                                fresh_work(&n, batch, NNC_TRAIN), NULL, NULL) == NNC_OK,
                      "a loss was not finite");
                void *work = fresh_work(&n, ROWS, NNC_EVALUATE);
                nnc_evaluate(&n.plan, theta, &s, &whole, NULL, work, NULL, NULL);
                check(isfinite(whole) && whole > 0, "the loss is %g", whole);
                double so_far[2] = {0, 0};
                for (ptrdiff_t from = 0; from < ROWS; from += 2 * NNC_BLOCK) {
                    const ptrdiff_t left = ROWS - from;
                    nnc_samples p = part_of(&n, &s, from, left < 512 ? left : 512);
                    p.so_far = so_far, p.counts = s.counts + from;
                    nnc_evaluate(&n.plan, theta, &p, &parts, NULL, work, NULL, NULL);
                }
                check(parts == whole, "%.17g in two calls, %.17g in one", parts, whole);
                memcpy(bits, theta, bytes), memcpy(bits + bytes, &whole, sizeof whole);
                if (i == 0)
                    memcpy(first, bits, BYTES);
                else if (strcmp(list[i]->isa, "baseline"))
                    check(!memcmp(first, bits, bytes + sizeof whole), "other bits than %s",
                          list[0]->isa);
                release(here);
            }
        }
        free(first), free(bits);
        release(start);
    }
}
