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
    check(nnc_evaluate(&n->plan, theta, s, &loss, gradient, fresh_work(n, s->rows, NNC_TRAIN), NULL,
                       NULL) == NNC_OK,
          "evaluate failed");
    check(W(fabs)(loss - e->loss.v) <= e->loss.e, "the loss is %.17g, expected %.17Lg within %Lg",
          loss, (long double)e->loss.v, (long double)e->loss.e);
    const ptrdiff_t wrong = first_wrong(type, 1, n_params, gradient, n_params, e->gradient);
    check(wrong < 0, "gradient %td is wrong", wrong);
    nnc_evaluate(&n->plan, theta, s, &alone, NULL, fresh_work(n, s->rows, NNC_EVALUATE), NULL,
                 NULL);
    check(alone == loss, "the loss without gradient is %.17g, with %.17g", alone, loss);
    const nnc_samples mixed_up = fresh_shuffled(n, s);
    nnc_evaluate(&n->plan, theta, &mixed_up, &shuffled, again, fresh_work(n, s->rows, NNC_TRAIN),
                 NULL, NULL);
    check(shuffled == loss && !memcmp(gradient, again, bytes), "other bits through an index");
    nnc_evaluate(&n->plan, theta, &mixed_up, &shuffled, NULL, fresh_work(n, s->rows, NNC_EVALUATE),
                 NULL, NULL);
    check(shuffled == loss, "another loss through an index");
    memcpy(bits, gradient, bytes);
    memcpy((char *)bits + bytes, &loss, sizeof loss);
    release(start);
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
    check(done == steps && trained.updates == steps, "%td steps, %lld updates done of %td", done,
          (long long)trained.updates, steps);
    void *work = fresh_work(n, s->rows < batch ? s->rows : batch, NNC_TRAIN);
    int right = 1;
    for (ptrdiff_t i = 0; i < steps; i++) {
        const ptrdiff_t first = i * batch, rows = s->rows - first < batch ? s->rows - first : batch;
        const nnc_samples part = part_of(n, s, first, rows);
        double loss, coef[NNC_MAX_COEF];
        nnc_evaluate(&n->plan, thetas[1], &part, &loss, gradient, work, NULL, NULL);
        nnc_opt_coefficients((nnc_opt)opt, by_hand.hyper, ++by_hand.updates, coef);
        k->update[opt](n_params, thetas[1], gradient, by_hand.state, coef);
        right &= !memcmp(&losses[i], &loss, sizeof loss);
    }
    check(right, "the losses differ from steps by hand");
    check(!memcmp(thetas[0], thetas[1], bytes), "the parameters differ from steps by hand");
    for (int v = 0; v < nnc_opts[opt].vectors; v++)
        check(!memcmp(trained.state[v], by_hand.state[v], bytes),
              "the optimizer's vector %d differs from steps by hand", v);
    check(memcmp(thetas[0], theta0, bytes) != 0, "no parameter moved");
    memcpy(bits, thetas[0], bytes);
    release(start);
}

static void check_net(net_shape shape, nnc_dtype type, ptrdiff_t rows) {
    const nnc_kernels *list[MAX_ISAS];
    const int isas = runnable(type, list), start = mark();
    net n = make_net(list[0], shape);
    link_net(&n);
    where("%s, %td rows", n.name, rows);
    check(nnc_plan_check(&n.plan) == NNC_OK, "refused");
    const size_t outs = (size_t)(rows * outputs(&n)), n_params = (size_t)n.plan.n_params;
    const void *theta = fresh_theta(&n, 1);
    const nnc_samples samples = fresh_samples(&n, rows, 10);
    expectation e = {.gradient = zeroed(n_params, sizeof(number)),
                     .out = zeroed(outs, sizeof(number))};
    expected_predict(&n.plan, theta, samples.x, samples.ldx, rows, e.out);
    e.loss = expected_run(&n.plan, theta, &samples, e.gradient);
    check_sharpness(type, (ptrdiff_t)outs, e.out, "outputs");
    check_sharpness(type, (ptrdiff_t)n_params, e.gradient, "gradient");

    const size_t size = size_of(type), bytes = (outs + 2 * n_params) * size + sizeof(double);
    char *bits = zeroed(bytes, 1), *first = zeroed(bytes, 1);
    const int opt = (int)(rows % NNC_N_OPTS);
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
        release(here);
        if (!is_fused(list[i])) continue;
        if (fused++ == 0)
            memcpy(first, bits, bytes);
        else
            check(!memcmp(first, bits, bytes), "other bits than %s", list[0]->isa);
    }
    free(e.gradient), free(e.out), free(bits), free(first);
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
                    check_net(list[i], (nnc_dtype)type, rows[r]);
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
            nnc_evaluate(&n.plan, theta, &s, &loss, gradient, fresh_work(&n, 7, NNC_TRAIN), NULL,
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
