/* Steps other than dense: what is refused, their gradients by central differences, and masks
 * against a generator of another look. What else they compute is tested in Python against the NumPy
 * twin, their bits in test_step_bits.c. */
#include <math.h>
#include <string.h>

#include "layered.h"
#include "testing.h"

/* ---- what nnc_plan_check refuses ------------------------------------------------------------- */

#define REFUSED(which, change) \
    do { \
        const int start_ = mark(); \
        layered *l = make_layered(k, which, 0); \
        nnc_step *steps = l->steps; \
        nnc_plan *plan = &l->plan; \
        (void)steps, (void)plan; \
        change; \
        where("%s: %s", l->name, #change); \
        check(nnc_plan_check(&l->plan) == NNC_BAD_PLAN, "accepted"); \
        release(start_); \
    } while (0)

static void check_refused(const nnc_kernels *k) {
    const ptrdiff_t most = PTRDIFF_MAX;
    for (int which = 0; which < N_LAYERED; which++) {
        REFUSED(which, steps[0].kind = NNC_N_STEPS);
        REFUSED(which, steps[0].n_out++);
        REFUSED(which, plan->n_params = 1);
        REFUSED(which, steps[plan->n_steps - 1].kind = NNC_STEP_embedding);
        REFUSED(which, steps[plan->n_steps - 1].kind = NNC_STEP_add);
    }
    REFUSED(0, steps[0].p[0] = 1);
    REFUSED(0, steps[0].p[0] = -0.1);
    REFUSED(0, steps[0].p[0] = NAN);
    REFUSED(0, steps[2].p[0] = NAN);
    REFUSED(0, steps[2].p[0] = -1);
    REFUSED(0, steps[0].act = NNC_ACT_tanh);
    REFUSED(1, steps[0].p[0] = 1.01);
    REFUSED(1, steps[0].p[0] = NAN);
    REFUSED(1, steps[0].p[1] = 0);
    REFUSED(1, steps[0].p[1] = NAN);
    REFUSED(1, steps[0].w = -1);
    REFUSED(1, steps[0].b = -1);
    REFUSED(1, steps[0].w = plan->n_params - N_IN + 1);
    REFUSED(1, steps[0].b = most);
    REFUSED(1, steps[0].other = -1);
    REFUSED(1, steps[0].other = plan->n_running - 2 * N_IN + 1);
    REFUSED(1, steps[0].other = most);
    REFUSED(1, plan->n_running--);
    REFUSED(1, plan->n_running = -1);
    REFUSED(1, plan->running = NULL);
    REFUSED(8, steps[0].other = -1);
    REFUSED(8, steps[0].other = plan->n_running - 2 * N_IN + 1);
    REFUSED(8, steps[0].other = most);
    REFUSED(8, plan->n_running--);
    REFUSED(2, steps[0].p[1] = 0);
    REFUSED(2, steps[2].w = plan->n_params - 18);
    REFUSED(2, steps[2].b = -1);
    REFUSED(3, steps[0].other = 2);
    REFUSED(3, steps[0].other = 0);
    REFUSED(3, steps[0].b = 0);
    REFUSED(3, steps[4].w = plan->n_params);
    REFUSED(3, steps[0].w = -1);
    REFUSED(4, steps[0].other--);
    REFUSED(4, steps[0].other = 0);
    REFUSED(4, steps[0].other = plan->n_steps);
    REFUSED(4, steps[0].other = most);
    REFUSED(4, steps[6].other = -most);
    REFUSED(4, steps[6].other = -steps[1].other; steps[4].other = -steps[0].other);
    REFUSED(5, steps[0].columns = NULL);
    REFUSED(5, steps[0].other--);
    REFUSED(5, steps[0].other = 0);
    REFUSED(5, steps[0].b = 0);
    REFUSED(5, steps[0].w = 1 + plan->n_params - steps[0].other);
    REFUSED(5, l->columns[0].n_tokens = -1);
    REFUSED(5, l->columns[0].n_tokens = most);
    REFUSED(5, l->columns[0].dim = most);
    REFUSED(5, l->columns[0].dim = 0);
    REFUSED(5, l->columns[0].dim++);
    REFUSED(5, l->columns[2].dim = 2);
    REFUSED(5, l->columns[4].table++);
    REFUSED(5, l->columns[4].table = -1);
    REFUSED(5, l->columns[4].table = most);
    REFUSED(7, steps[1].other = -1);
    REFUSED(7, plan->act_call = NULL);
    REFUSED(1, steps[0].kind = NNC_STEP_called; plan->act_call = call_kernel);
}

/* A called function that fails stops any run; parameters are as after the steps that are counted.
 */
static void check_failing_call(const nnc_kernels *k) {
    enum { LINES = 2 * NNC_BLOCK + 9, BATCH = NNC_BLOCK + 30 };
    static const nnc_use uses[] = {NNC_TRAIN,    NNC_EVALUATE, NNC_GRADIENT, NNC_GRADIENT,
                                   NNC_GRADIENT, NNC_HESSIAN,  NNC_PREDICT};
    for (size_t use = 0; use < sizeof uses / sizeof *uses; use++) {
        int calls = 0;
        for (int stop_at = 0; stop_at <= calls; stop_at++) {
            const int start = mark();
            layered *l = make_layered(k, 7, 0);
            l->called.stop_at = stop_at;
            const ptrdiff_t rows = use == 4 ? 3 : LINES, n = l->plan.n_params;
            const size_t bytes = (size_t)n * k->size;
            const nnc_samples s = layered_samples(l, rows);
            void *theta = layered_theta(l), *before = memcpy(fresh(bytes), theta, bytes);
            void *work = layered_work(l, rows, uses[use]),
                 *to = fresh(LINES * (bytes + 64 * k->size));
            nnc_optimizer o = layered_momentum(l);
            double losses[LINES];
            ptrdiff_t done = 0;
            nnc_status status;
            switch (use) {
            case 0:
                status =
                    nnc_train(&l->plan, theta, to, &o, &s, BATCH, losses, &done, work, NULL, NULL);
                break;
            case 1:
                status = nnc_evaluate(&l->plan, theta, &s, losses, NULL, work, NULL, NULL);
                break;
            case 2:
                status =
                    nnc_input_gradient(&l->plan, theta, &s, losses, to, N_IN, work, NULL, NULL);
                break;
            case 3:
                status = nnc_sample_gradients(&l->plan, theta, &s, losses, to, work, NULL, NULL);
                break;
            case 4:
                status = nnc_jacobian(&l->plan, theta, s.x, s.ldx, rows, NNC_BY_PARAMETERS, to,
                                      work, NULL, NULL);
                break;
            case 5:
                status =
                    nnc_hessian_product(&l->plan, theta, &s, theta, losses, to, work, NULL, NULL);
                break;
            default:
                status =
                    nnc_predict(&l->plan, theta, s.x, s.ldx, rows, to, N_OUT, work, NULL, NULL);
            }
            where("%s %s, run %zu, failing in call %d", k->isa, l->name, use, stop_at);
            check(status == (stop_at ? NNC_STOPPED : NNC_OK), "the status is %d", (int)status);
            check(!memcmp(before, theta, bytes) == (done == 0), "theta, after %td steps", done);
            check(done == o.updates, "%td steps, counted %td", done, (ptrdiff_t)o.updates);
            if (stop_at == 0) calls = l->called.calls;
            check(calls >= 3 && (stop_at == 0 || done <= 1), "%d calls, %td steps", calls, done);
            release(start);
        }
    }
}

static void check_one_row(const nnc_kernels *k) {
    for (int which = 0; which < N_LAYERED; which++) {
        const int start = mark();
        layered *l = make_layered(k, which, 0);
        const size_t bytes = (size_t)l->plan.n_params * k->size;
        void *theta = layered_theta(l), *gradient = fresh(bytes);
        void *before = memcpy(fresh(bytes), theta, bytes);
        nnc_optimizer o = layered_momentum(l);
        double losses[5];
        ptrdiff_t done;
        static const ptrdiff_t batches[][2] = {{1, 1}, {5, 2}, {4, 1}, {1, 9}};
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
            const nnc_samples s = layered_samples(l, batches[i][0]);
            const nnc_status status =
                nnc_train(&l->plan, theta, gradient, &o, &s, batches[i][1], losses, &done,
                          layered_work(l, batches[i][1], NNC_TRAIN), NULL, NULL);
            where("%s, %td rows in batches of %td", l->name, batches[i][0], batches[i][1]);
            const nnc_status expected = has_batches(l) ? NNC_BAD_PLAN : NNC_OK;
            check(status == expected, "the status is %d", (int)status);
            check((done == 0) == (expected != NNC_OK), "%td steps", done);
            check(expected == NNC_OK || !memcmp(before, theta, bytes), "theta has changed");
        }
        release(start);
    }
}

/* ---- the gradient is the derivative of the loss ---------------------------------------------- */

/* One step of plain descent from theta to `after`, with the masks of step 5 and the statistics of
 * the batch; the running ones are put back. Returns the loss before. */
static double step_from(const layered *l, const double *theta, const nnc_samples *s, void *work,
                        double *after) {
    const double rate[] = {1};
    nnc_optimizer o = {.opt = NNC_OPT_sgd, .hyper = rate, .drawn = 5};
    const int start = mark();
    const size_t bytes = (size_t)l->plan.n_params * sizeof *theta, running = running_bytes(l);
    void *before = memcpy(fresh(running), l->plan.running, running);
    double loss = NAN;
    ptrdiff_t done;
    memcpy(after, theta, bytes);
    check(nnc_train(&l->plan, after, fresh(bytes), &o, s, s->rows, &loss, &done, work, NULL,
                    NULL) == NNC_OK &&
              o.drawn == 6,
          "a step failed");
    check(!memcmp(before, l->plan.running, running) == !has_batches(l),
          "running statistics stood still, or fixed numbers moved");
    memcpy(l->plan.running, before, running);
    release(start);
    return loss;
}

/* The loss as that step has it, or without masks and with the running statistics. */
static double loss_at(const layered *l, const double *theta, const nnc_samples *s, int training,
                      void *work, double *scratch) {
    double loss;
    if (training) return step_from(l, theta, s, work, scratch);
    nnc_evaluate(&l->plan, theta, s, &loss, NULL, work, NULL, NULL);
    return loss;
}

static void check_gradient(const nnc_kernels *k, int which, int training) {
    const int start = mark();
    layered *l = make_layered(k, which, 0);
    const ptrdiff_t n = l->plan.n_params, rows = 11;
    const size_t bytes = (size_t)n * sizeof(double);
    double *theta = layered_theta(l), *gradient = fresh(bytes), *scratch = fresh_with_slack(bytes);
    const nnc_samples s = layered_samples(l, rows);
    void *work = layered_work(l, rows, training ? NNC_TRAIN : NNC_EVALUATE);
    double loss, largest = 0;
    if (training) {
        loss = step_from(l, theta, &s, work, scratch);
        for (ptrdiff_t i = 0; i < n; i++) gradient[i] = theta[i] - scratch[i];
    } else {
        nnc_evaluate(&l->plan, theta, &s, &loss, gradient, layered_work(l, rows, NNC_GRADIENT),
                     NULL, NULL);
    }
    check(loss == loss_at(l, theta, &s, training, work, scratch), "another loss the second time");
    const double h = 0x1p-18;
    for (ptrdiff_t p = 0; p < n; p += 1 + n / 200) {
        const double before = theta[p];
        theta[p] = before + h;
        const double up = loss_at(l, theta, &s, training, work, scratch);
        theta[p] = before - h;
        const double down = loss_at(l, theta, &s, training, work, scratch);
        theta[p] = before;
        const double quotient = (up - down) / (2 * h);
        where("%s %s%s", k->isa, l->name, training ? ", training" : "");
        check(fabs(quotient - gradient[p]) <= 1e-7, "gradient %td is %.12g, the quotient %.12g", p,
              gradient[p], quotient);
        if (fabs(quotient) > largest) largest = fabs(quotient);
    }
    check(largest > 1e-3, "all derivatives are nearly 0: %g", largest);
    release(start);
}

/* ---- masks ----------------------------------------------------------------------------------- */

/* Philox4x32-10 once more, and one counter at a time. */
static uint32_t word_of(uint64_t seed, uint64_t draw, int stream, int layer, ptrdiff_t row,
                        ptrdiff_t column) {
    uint32_t c[4] = {(uint32_t)(column / 4), (uint32_t)row, (uint32_t)draw,
                     (uint32_t)(draw >> 32 << 16) + (uint32_t)(stream * 32768 + layer)};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        const uint64_t a = 3528531795u * (uint64_t)c[0], b = 3449720151u * (uint64_t)c[2];
        const uint32_t next[] = {(uint32_t)(b >> 32) ^ c[1] ^ key[0], (uint32_t)b,
                                 (uint32_t)(a >> 32) ^ c[3] ^ key[1], (uint32_t)a};
        memcpy(c, next, sizeof c);
        key[0] += 2654435769u, key[1] += 3144134277u;
    }
    return c[column % 4];
}

static void check_masks(const nnc_kernels *k) {
    enum { WIDTH = 75, LINES = 300, PLACE = 2 };
    static const uint64_t draws[] = {0, 1, 4294967296u * 3 + 9, (1u << 20)};
    const int start = mark();
    const nnc_dtype type = k->dtype;
    nnc_step steps[PLACE + 1];
    for (int s = 0; s < PLACE; s++) /* a slope that does nothing */
        steps[s] = (nnc_step){
            .kind = NNC_STEP_prelu, .n_in = WIDTH, .n_out = WIDTH, .w = 0, .b = -1, .other = 1};
    steps[PLACE] = (nnc_step){
        .kind = NNC_STEP_dropout, .n_in = WIDTH, .n_out = WIDTH, .w = -1, .b = -1, .p = {0.75, 1}};
    nnc_plan plan = {.kernels = k,
                     .steps = steps,
                     .n_steps = PLACE + 1,
                     .n_params = 1,
                     .loss = NNC_LOSS_mse,
                     .threads = 1,
                     .seed = 0x123456789ABCDEFu,
                     .sample = 1};
    void *theta = fresh_with_slack(size_of(type)), *x = fresh(WIDTH * LINES * size_of(type));
    void *out = fresh(WIDTH * LINES * size_of(type));
    put(type, theta, 0, 1);
    for (ptrdiff_t i = 0; i < WIDTH * LINES; i++) put(type, x, i, 1);
    where("%s", k->isa);
    check(nnc_plan_check(&plan) == NNC_OK, "refused");
    for (size_t d = 0; d < sizeof draws / sizeof *draws; d++) {
        plan.draw = draws[d];
        nnc_predict(&plan, theta, x, WIDTH, LINES, out, WIDTH,
                    fresh_aligned(nnc_plan_work(&plan, LINES, NNC_PREDICT)), NULL, NULL);
        ptrdiff_t wrong = 0, dropped = 0;
        for (ptrdiff_t i = 0; i < LINES; i++)
            for (ptrdiff_t j = 0; j < WIDTH; j++) {
                const int drop = word_of(plan.seed, draws[d], 1, PLACE, i, j) < 3u << 30;
                wrong += get(type, out, i * WIDTH + j) != (drop ? 0 : 4);
                dropped += drop;
            }
        check(wrong == 0, "%td of %d are wrong", wrong, WIDTH * LINES);
        check(dropped > WIDTH * LINES * 7 / 10 && dropped < WIDTH * LINES * 8 / 10, "%td dropped",
              dropped);
    }
    release(start);
}

void test_steps(void) {
    group("steps: refused");
    check_refused(nnc_kernels_for("baseline", NNC_F32));
    check_refused(nnc_kernels_for("baseline", NNC_F64));
    check_one_row(nnc_kernels_for("baseline", NNC_F32));
    check_failing_call(nnc_kernels_for("baseline", NNC_F64));
    const nnc_kernels *kernels[MAX_ISAS];
    int isas = runnable(NNC_F64, kernels);
    group("steps: gradients by central differences");
    for (int isa = 0; isa < isas; isa++)
        for (int which = 0; which < N_LAYERED; which++)
            for (int training = 0; training < 2; training++)
                check_gradient(kernels[isa], which, training);
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        group("steps: masks %s", type_names[type]);
        isas = runnable((nnc_dtype)type, kernels);
        for (int isa = 0; isa < isas; isa++) check_masks(kernels[isa]);
    }
}
