/* Steps other than dense: what is refused, their gradients by central differences, and the bits,
 * which neither instruction sets nor threads, blocks, indices, pieces or the other rows may change.
 * What they compute is tested in Python against the NumPy twin, and masks here against a generator
 * of another look. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

enum { MAX = 12, N_IN = 5, N_COLUMNS = N_IN, N_LAYERED = 9, OUT = 3 };

/* What a step of the kind called calls: the table's kernels, until it is told to stop. */
typedef struct {
    const nnc_kernels *kernels;
    pthread_t caller;
    int calls, stop_at;
    atomic_int elsewhere; /* calls from other threads than that */
} functions;

typedef struct {
    const char *name;
    nnc_plan plan;
    functions called;
    nnc_step steps[MAX];
    nnc_column columns[N_COLUMNS];
    ptrdiff_t tokens; /* inputs are whole numbers below */
    nnc_tuning tuning[MAX];
} layered;

/* Adds a step that takes what the last one puts out; its parameters come behind all others. */
static nnc_step *append(layered *l, int kind, ptrdiff_t n_out) {
    nnc_plan *p = &l->plan;
    nnc_step *step = &l->steps[p->n_steps];
    const ptrdiff_t n_in = p->n_steps ? step[-1].n_out : N_IN, n = n_out ? n_out : n_in;
    *step = (nnc_step){.kind = kind, .n_in = n_in, .n_out = n, .act = NNC_ACT_identity};
    step->w = step->b = -1;
    ptrdiff_t weights = 0, biases = 0;
    switch (kind) {
    case NNC_STEP_dense: weights = n_in * n, biases = n; break;
    case NNC_STEP_batch_norm:
        step->other = p->n_running;
        p->n_running += 2 * n;
        step->p[0] = 0.3;
        /* fall through */
    case NNC_STEP_layer_norm:
        weights = biases = n;
        step->p[1] = 1e-3;
        break;
    case NNC_STEP_prelu: weights = step->other = n; break;
    case NNC_STEP_dropout: step->p[0] = 0.3, step->p[1] = 1; break;
    case NNC_STEP_noise: step->p[0] = 0.2; break;
    default: break;
    }
    if (weights) step->w = p->n_params;
    p->n_params += weights;
    if (biases) step->b = p->n_params;
    p->n_params += biases;
    p->n_steps++;
    return step;
}

static void dense(layered *l, ptrdiff_t n_out, int act) {
    nnc_step *step = append(l, NNC_STEP_dense, n_out);
    step->act = act;
    if (act < NNC_N_ACTS) memcpy(step->act_a, nnc_acts[act].defaults, sizeof step->act_a);
}

/* Makes step `first` a fork and ends its block. */
static void join(layered *l, int first) {
    nnc_step *last = append(l, NNC_STEP_add, 0);
    l->steps[first].other = l->plan.n_steps - 1 - first;
    last->other = -l->steps[first].other;
}

static void embedding(layered *l, ptrdiff_t dim) {
    ptrdiff_t width = 0, table = 0;
    for (int j = 0; j < N_COLUMNS; j++) {
        nnc_column *c = &l->columns[j];
        *c = j == 2 ? (nnc_column){0, 1, 0} : (nnc_column){l->tokens, dim + j, table};
        width += c->dim;
        table += c->n_tokens * c->dim;
    }
    nnc_step *step = append(l, NNC_STEP_embedding, width);
    step->w = l->plan.n_params, step->other = table;
    l->plan.n_params += table;
}

static int call_kernel(void *context, const nnc_act_args *g) {
    functions *f = context;
    const nnc_kernels *k = f->kernels;
    const int act = g->function ? NNC_ACT_silu : NNC_ACT_tanh;
    if (!pthread_equal(f->caller, pthread_self())) {
        atomic_fetch_add(&f->elsewhere, 1);
        return 1;
    }
    if (++f->calls == f->stop_at) return 1;
    check(g->rows > 0 && g->rows <= NNC_BLOCK, "called for %td rows", g->rows);
    for (ptrdiff_t i = 0; i < g->rows; i++)
        (g->derivative == 0   ? k->act
         : g->derivative == 1 ? k->act_df
                              : k->act_d2f)[act](g->n, at(k->dtype, g->x, i * g->ldx),
                                                 at(k->dtype, g->out, i * g->ldo),
                                                 nnc_acts[act].defaults);
    return 0;
}

/* `more` units: so that work is divided among threads, and parameters are updated at once. */
static layered *make(const nnc_kernels *k, int which, ptrdiff_t more) {
    layered *l = fresh(sizeof *l);
    memset(l, 0, sizeof *l);
    l->plan = (nnc_plan){.kernels = k, .loss = NNC_LOSS_half_mse, .threads = 1, .seed = 77};
    switch (which) {
    case 0:
        l->name = "dropout, noise";
        append(l, NNC_STEP_dropout, 0);
        dense(l, 70 + more, NNC_ACT_tanh);
        append(l, NNC_STEP_noise, 0);
        append(l, NNC_STEP_dropout, 0);
        dense(l, OUT, NNC_ACT_identity);
        break;
    case 1:
        l->name = "batch_norm";
        append(l, NNC_STEP_batch_norm, 0);
        dense(l, 66 + more, NNC_ACT_silu);
        append(l, NNC_STEP_batch_norm, 0);
        dense(l, OUT, NNC_ACT_tanh);
        break;
    case 2:
        l->name = "layer_norm";
        append(l, NNC_STEP_layer_norm, 0);
        dense(l, 19 + more, NNC_ACT_softplus);
        append(l, NNC_STEP_layer_norm, 0);
        dense(l, OUT, NNC_ACT_softmax);
        l->plan.loss = NNC_LOSS_cross_entropy;
        break;
    case 3:
        l->name = "prelu";
        append(l, NNC_STEP_prelu, 0);
        dense(l, 67 + more, NNC_ACT_identity);
        append(l, NNC_STEP_prelu, 0);
        dense(l, OUT, NNC_ACT_identity);
        append(l, NNC_STEP_prelu, 0)->other = 1;
        l->plan.n_params -= OUT - 1;
        break;
    case 4:
        l->name = "forks";
        append(l, NNC_STEP_fork, 0);
        append(l, NNC_STEP_fork, 0);
        dense(l, 33 + more, NNC_ACT_tanh);
        dense(l, N_IN, NNC_ACT_silu);
        join(l, 1);
        append(l, NNC_STEP_prelu, 0);
        join(l, 0);
        dense(l, OUT, NNC_ACT_identity);
        break;
    case 5:
        l->name = "embedding";
        l->tokens = 7;
        embedding(l, 2 + more);
        dense(l, 6, NNC_ACT_tanh);
        dense(l, OUT, NNC_ACT_identity);
        break;
    case 6:
        l->name = "all, and a fork after an activation";
        l->tokens = 3;
        embedding(l, 3);
        dense(l, 20 + more, NNC_ACT_softsign);
        append(l, NNC_STEP_fork, 0);
        append(l, NNC_STEP_layer_norm, 0);
        append(l, NNC_STEP_dropout, 0);
        dense(l, 20 + more, NNC_ACT_tanh);
        append(l, NNC_STEP_batch_norm, 0);
        join(l, 2);
        append(l, NNC_STEP_noise, 0);
        dense(l, OUT, NNC_ACT_sigmoid);
        l->plan.loss = NNC_LOSS_binary_cross_entropy;
        break;
    case 7:
        l->name = "called";
        dense(l, 21 + more, NNC_ACT_identity);
        append(l, NNC_STEP_called, 0);
        append(l, NNC_STEP_fork, 0);
        dense(l, 21 + more, NNC_ACT_identity);
        append(l, NNC_STEP_called, 0)->other = 1;
        join(l, 2);
        dense(l, OUT, NNC_ACT_identity);
        append(l, NNC_STEP_called, 0);
        l->called.kernels = k, l->called.caller = pthread_self();
        l->plan.act_call = call_kernel, l->plan.act_context = &l->called;
        break;
    default:
        l->name = "ends in batch_norm";
        dense(l, OUT, NNC_ACT_tanh);
        append(l, NNC_STEP_batch_norm, 0);
        break;
    }
    l->plan.steps = l->steps;
    if (l->tokens) l->steps[0].columns = l->columns;
    const size_t bytes = (size_t)l->plan.n_running * k->size;
    l->plan.running = fresh(bytes);
    fill(k->dtype, l->plan.running, l->plan.n_running, 9, 0.5, 1.5);
    where("%s %s", k->isa, l->name);
    check(nnc_plan_check(&l->plan) == NNC_OK, "refused");
    return l;
}

static void *parameters_of(const layered *l) {
    const nnc_dtype type = l->plan.kernels->dtype;
    void *theta = fresh_with_slack((size_t)l->plan.n_params * size_of(type));
    fill(type, theta, l->plan.n_params, 3, -0.7, 0.8);
    return theta;
}

static nnc_samples samples_of(const layered *l, ptrdiff_t rows) {
    const nnc_dtype type = l->plan.kernels->dtype;
    nnc_samples s = {.rows = rows, .ldx = N_IN + 2, .ldt = OUT + 1};
    const ptrdiff_t x_size = (rows - 1) * s.ldx + N_IN, t_size = (rows - 1) * s.ldt + OUT;
    void *x = fresh((size_t)x_size * size_of(type)), *t = fresh((size_t)t_size * size_of(type));
    fill(type, x, x_size, 5, -1.2, 1.5);
    fill(type, t, t_size, 6, 0, 1);
    if (l->tokens)
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < N_IN; j++)
                if (j != 2)
                    put(type, x, i * s.ldx + j,
                        (double)(mixed(8, (uint64_t)(i * N_IN + j)) % (uint64_t)l->tokens));
    s.x = x, s.t = t;
    return s;
}

/* Frozen steps, rates, penalties of dense steps, and gradients clipped by their norm or by value.
 */
static void tune(layered *l, nnc_optimizer *o) {
    for (int s = 0; s < l->plan.n_steps; s++) {
        const int dense = l->steps[s].kind == NNC_STEP_dense;
        l->tuning[s] = (nnc_tuning){.frozen = s % 3 == 1,
                                    .rate = 1 + 0.25 * s,
                                    .l1 = dense ? 1e-4 : 0,
                                    .l2 = dense ? 1e-3 : 0,
                                    .max_norm = dense ? 1.5 : 0};
    }
    l->plan.tuning = l->tuning;
    o->decay = 0.01;
    *(l->plan.n_steps % 2 ? &o->clip_norm : &o->clip_value) = 0.05;
}

/* Where the parameters of the steps above step s begin. */
static ptrdiff_t next_parameter(const layered *l, int s) {
    while (++s < l->plan.n_steps)
        if (l->steps[s].w >= 0) return l->steps[s].w;
    return l->plan.n_params;
}

/* Whether step s has kept its parameters and what the rule remembers of them, of which all the
 * others have changed some. */
static void check_frozen(const layered *l, const void *before, const void *theta,
                         const void *state) {
    const nnc_dtype type = l->plan.kernels->dtype;
    for (int s = 0; s < l->plan.n_steps; s++) {
        const nnc_step *step = &l->steps[s];
        if (step->w < 0) continue;
        const size_t bytes = (size_t)(next_parameter(l, s) - step->w) * size_of(type);
        const void *from = at(type, before, step->w), *to = at(type, theta, step->w);
        check((memcmp(from, to, bytes) == 0) == l->tuning[s].frozen, "step %d, frozen: %d", s,
              l->tuning[s].frozen);
        int zero = 1;
        for (size_t i = 0; i < bytes; i++) zero &= ((const char *)at(type, state, step->w))[i] == 0;
        check(zero == l->tuning[s].frozen, "state of step %d, frozen: %d", s, l->tuning[s].frozen);
    }
}

static void *work_of(const layered *l, ptrdiff_t rows, nnc_use use) {
    return fresh_aligned(nnc_plan_work(&l->plan, rows, use));
}

static nnc_optimizer momentum_of(const layered *l) {
    const size_t align = NNC_ALIGN, bytes = (size_t)l->plan.n_params * l->plan.kernels->size;
    nnc_optimizer o = {.opt = NNC_OPT_momentum, .hyper = nnc_opts[NNC_OPT_momentum].defaults};
    o.state[0] = fresh_aligned((bytes + align - 1) / align * align);
    memset(o.state[0], 0, bytes);
    return o;
}

/* ---- what nnc_plan_check refuses ------------------------------------------------------------- */

#define REFUSED(which, change) \
    do { \
        const int start_ = mark(); \
        layered *l = make(k, which, 0); \
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

/* ---- the gradient is the derivative of the loss ---------------------------------------------- */

/* One step of plain descent from theta: its loss before, and theta after. */
static double step_by(const layered *l, double *theta, const nnc_samples *s, void *work) {
    const double rate[] = {1};
    nnc_optimizer o = {.opt = NNC_OPT_sgd, .hyper = rate, .drawn = 5};
    const int start = mark();
    double loss = NAN;
    ptrdiff_t done;
    check(nnc_train(&l->plan, theta, fresh((size_t)l->plan.n_params * sizeof *theta), &o, s,
                    s->rows, &loss, &done, work, NULL, NULL) == NNC_OK &&
              o.drawn == 6,
          "a step failed");
    release(start);
    return loss;
}

/* The loss with the masks of step 5 and the statistics of the batch, or without and the running
 * ones; by a copy of theta and of the running statistics. */
static double loss_at(layered *l, const double *theta, const nnc_samples *s, int training,
                      void *work, void *scratch) {
    double loss;
    if (training) {
        const size_t kept = (size_t)l->plan.n_running * sizeof(double);
        void *before = memcpy(zeroed(kept + 1, 1), l->plan.running, kept);
        memcpy(scratch, theta, (size_t)l->plan.n_params * sizeof(double));
        loss = step_by(l, scratch, s, work);
        memcpy(l->plan.running, before, kept);
        free(before);
    } else {
        nnc_evaluate(&l->plan, theta, s, &loss, NULL, work, NULL, NULL);
    }
    return loss;
}

static void check_gradient(const nnc_kernels *k, int which, int training) {
    const int start = mark();
    layered *l = make(k, which, 0);
    const ptrdiff_t n = l->plan.n_params, rows = 11;
    const size_t bytes = (size_t)n * sizeof(double);
    double *theta = parameters_of(l), *gradient = fresh(bytes), *scratch = fresh_with_slack(bytes);
    const nnc_samples s = samples_of(l, rows);
    void *work = work_of(l, rows, training ? NNC_TRAIN : NNC_EVALUATE);
    double loss, largest = 0;
    if (training) {
        void *kept = fresh((size_t)l->plan.n_running * sizeof(double));
        memcpy(kept, l->plan.running, (size_t)l->plan.n_running * sizeof(double));
        memcpy(scratch, theta, bytes);
        loss = step_by(l, scratch, &s, work);
        for (ptrdiff_t i = 0; i < n; i++) gradient[i] = theta[i] - scratch[i];
        check(!l->plan.n_running ||
                  memcmp(kept, l->plan.running, (size_t)l->plan.n_running * sizeof(double)),
              "running statistics stood still");
        memcpy(l->plan.running, kept, (size_t)l->plan.n_running * sizeof(double));
    } else {
        nnc_evaluate(&l->plan, theta, &s, &loss, gradient, work_of(l, rows, NNC_GRADIENT), NULL,
                     NULL);
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

/* ---- bits ------------------------------------------------------------------------------------ */

enum { ROWS = 530 };

/* Trains, evaluates, predicts; all bits that come out. */
static uint64_t mix(uint64_t hash, const void *p, size_t bytes) { /* FNV-1a */
    const unsigned char *from = p;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ from[i]) * 0x100000001B3u;
    return hash;
}

/* The bits of the derivatives beyond the gradient, of a few rows. */
static uint64_t derivatives(layered *l, const void *theta, const nnc_samples *all, uint64_t hash) {
    enum { FEW = 20 };
    const size_t size = l->plan.kernels->size, bytes = (size_t)l->plan.n_params * size;
    const int start = mark();
    nnc_samples s = *all;
    double loss, *losses = fresh(FEW * sizeof *losses);
    void *dx = fresh((size_t)(ROWS * N_IN) * size), *each = fresh(FEW * bytes);
    void *jacobian = fresh((size_t)FEW * OUT * bytes), *by_x = fresh(FEW * OUT * N_IN * size);
    nnc_input_gradient(&l->plan, theta, &s, &loss, dx, N_IN, work_of(l, ROWS, NNC_GRADIENT), NULL,
                       NULL);
    hash = mix(mix(hash, dx, (size_t)(ROWS * N_IN) * size), &loss, sizeof loss);
    s.rows = FEW;
    void *work = work_of(l, FEW, NNC_GRADIENT);
    nnc_sample_gradients(&l->plan, theta, &s, losses, each, work, NULL, NULL);
    hash = mix(mix(hash, each, FEW * bytes), losses, FEW * sizeof *losses);
    nnc_jacobian(&l->plan, theta, s.x, s.ldx, FEW, NNC_BY_PARAMETERS, jacobian, work, NULL, NULL);
    nnc_jacobian(&l->plan, theta, s.x, s.ldx, FEW, NNC_BY_INPUTS, by_x, work, NULL, NULL);
    hash = mix(mix(hash, jacobian, FEW * OUT * bytes), by_x, FEW * OUT * N_IN * size);
    check(l->plan.kernels->finite(FEW * OUT * l->plan.n_params, jacobian) &&
              l->plan.kernels->finite(FEW * OUT * N_IN, by_x),
          "derivatives are not finite");
    s.rows = ROWS;
    check(nnc_hessian_product(&l->plan, theta, &s, theta, &loss, each,
                              work_of(l, ROWS, NNC_HESSIAN), NULL, NULL) == NNC_OK,
          "no Hessian product");
    hash = mix(mix(hash, each, bytes), &loss, sizeof loss);
    release(start);
    return hash;
}

static uint64_t run(layered *l, ptrdiff_t batch, const int64_t *index, const nnc_samples *from,
                    int tuned) {
    const nnc_kernels *k = l->plan.kernels;
    const int start = mark();
    const size_t bytes = (size_t)l->plan.n_params * k->size, size = (size_t)(ROWS * OUT) * k->size;
    nnc_samples s = *from;
    s.index = index;
    void *theta = parameters_of(l), *gradient = fresh(bytes), *out = fresh(size);
    void *before = memcpy(fresh(bytes), theta, bytes);
    nnc_optimizer o = momentum_of(l);
    if (tuned) tune(l, &o);
    double losses[ROWS], loss;
    ptrdiff_t done;
    uint64_t hash = 0xCBF29CE484222325u;
    for (int epoch = 0; epoch < 2; epoch++) {
        check(nnc_train(&l->plan, theta, gradient, &o, &s, batch, losses, &done,
                        work_of(l, batch < ROWS ? batch : ROWS, NNC_TRAIN), NULL, NULL) == NNC_OK,
              "training failed");
        check(done == (ROWS + batch - 1) / batch, "%td steps", done);
        hash = mix(hash, losses, (size_t)done * sizeof *losses);
    }
    if (tuned) check_frozen(l, before, theta, o.state[0]);
    check(o.drawn == (uint64_t)(2 * done), "drawn %llu times", (unsigned long long)o.drawn);
    hash = mix(mix(hash, theta, bytes), l->plan.running, (size_t)l->plan.n_running * k->size);
    nnc_evaluate(&l->plan, theta, &s, &loss, gradient, work_of(l, ROWS, NNC_GRADIENT), NULL, NULL);
    hash = mix(mix(hash, gradient, bytes), &loss, sizeof loss);
    if (index == NULL) hash = derivatives(l, theta, &s, hash);
    double alone;
    nnc_evaluate(&l->plan, theta, &s, &alone, NULL, work_of(l, ROWS, NNC_EVALUATE), NULL, NULL);
    check(alone == loss, "another loss without the gradient");
    nnc_predict(&l->plan, theta, from->x, from->ldx, ROWS, out, OUT, work_of(l, ROWS, NNC_PREDICT),
                NULL, NULL);
    hash = mix(hash, out, size);
    check(k->finite(ROWS * OUT, out), "outputs are not finite");
    for (ptrdiff_t i = 0; i < ROWS; i += 67) {
        const int here = mark();
        void *one = fresh((size_t)OUT * k->size);
        nnc_predict(&l->plan, theta, at(k->dtype, from->x, i * from->ldx), from->ldx, 1, one, OUT,
                    work_of(l, 1, NNC_PREDICT), NULL, NULL);
        check(!memcmp(one, at(k->dtype, out, i * OUT), (size_t)OUT * k->size),
              "row %td alone gives other bits", i);
        release(here);
    }
    l->plan.sample = 1, l->plan.draw = 3;
    nnc_predict(&l->plan, theta, from->x, from->ldx, ROWS, out, OUT, work_of(l, ROWS, NNC_PREDICT),
                NULL, NULL);
    hash = mix(hash, out, size);
    check(l->called.elsewhere == 0, "functions were called in parts of jobs");
    release(start);
    return hash;
}

/* The same samples in another order, behind an index that puts them right. */
static nnc_samples turned(const layered *l, const nnc_samples *s, int64_t *index) {
    const nnc_dtype type = l->plan.kernels->dtype;
    nnc_samples t = samples_of(l, s->rows);
    for (ptrdiff_t i = 0; i < s->rows; i++) {
        const ptrdiff_t to = (i * 101 + 7) % s->rows;
        index[i] = to;
        for (ptrdiff_t j = 0; j < N_IN; j++)
            put(type, (void *)t.x, to * t.ldx + j, get(type, s->x, i * s->ldx + j));
        for (ptrdiff_t j = 0; j < OUT; j++)
            put(type, (void *)t.t, to * t.ldt + j, get(type, s->t, i * s->ldt + j));
    }
    return t;
}

static void check_bits(nnc_dtype type, int which, ptrdiff_t batch, int tuned) {
    const nnc_kernels *list[MAX_ISAS];
    const int isas = runnable(type, list);
    uint64_t first = 0;
    for (int i = 0, fused = 0; i < isas; i++) {
        const int start = mark();
        layered *l = make(list[i], which, 0);
        const nnc_samples s = samples_of(l, ROWS);
        where("%s %s, batches of %td%s", list[i]->isa, l->name, batch, tuned ? ", tuned" : "");
        const uint64_t bits = run(l, batch, NULL, &s, tuned);
        int64_t *index = fresh(ROWS * sizeof *index);
        layered *again = make(list[i], which, 0);
        const nnc_samples t = turned(again, &s, index);
        where("%s %s, batches of %td, through an index%s", list[i]->isa, l->name, batch,
              tuned ? ", tuned" : "");
        const uint64_t through = run(again, batch, index, &t, tuned);
        /* predictions are in the order of the rows, so only what comes before can agree */
        check(through != 0 && !memcmp(l->plan.running, again->plan.running,
                                      (size_t)l->plan.n_running * size_of(type)),
              "other running statistics");
        if (is_fused(list[i])) {
            if (fused++ == 0) first = bits;
            check(bits == first, "other bits than %s", list[0]->isa);
        }
        release(start);
    }
}

/* lanes: work is divided, and cut in pieces, by operations per lane. */
static void check_divided(const nnc_kernels *from, int which, int tuned) {
    static const int threads[] = {1, 2, EMULATED ? 3 : 8};
    nnc_kernels k = *from;
    k.lanes = 1;
    uint64_t bits[2][sizeof threads / sizeof *threads];
    for (int piecewise = 0; piecewise < 2; piecewise++)
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
            const int start = mark();
            layered *l = make(&k, which, 96);
            l->plan.threads = threads[i];
            if (piecewise) l->plan.longest = 30000;
            const nnc_samples s = samples_of(l, ROWS);
            where("%s %s, %d threads%s", k.isa, l->name, threads[i], piecewise ? ", pieces" : "");
            bits[piecewise][i] = run(l, 400, NULL, &s, tuned);
            check(bits[piecewise][i] == bits[0][0], "other bits than one thread's");
            release(start);
        }
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

/* ---- stopping -------------------------------------------------------------------------------- */

typedef struct {
    int calls, stop_at;
} countdown;

static int count_down(void *context) {
    countdown *c = context;
    return ++c->calls == c->stop_at;
}

/* Stopped at any poll, parameters and running statistics are those of the steps that are counted.
 */
static void check_stop(const nnc_kernels *k, int which, int tuned) {
    enum { STEPS = 3, BATCH = 300 };
    const int start = mark();
    uint64_t after[STEPS + 1] = {0};
    int stopped = 0, polls = 0;
    /* first runs of 0 to STEPS steps, then some of the polls of the last */
    for (int stop_at = -STEPS; stop_at <= polls; stop_at += stop_at > 0 ? 1 + polls / 12 : 1) {
        const int here = mark();
        layered *l = make(k, which, 500);
        l->plan.longest = 200000;
        const size_t bytes = (size_t)l->plan.n_params * k->size;
        nnc_samples s = samples_of(l, STEPS * BATCH);
        void *theta = parameters_of(l);
        nnc_optimizer o = momentum_of(l);
        if (tuned) tune(l, &o);
        double losses[STEPS];
        ptrdiff_t done;
        countdown c = {0, stop_at};
        if (stop_at <= 0) s.rows = (STEPS + stop_at) * BATCH; /* a run of so many steps */
        const nnc_status status = nnc_train(&l->plan, theta, fresh(bytes), &o, &s, BATCH, losses,
                                            &done, work_of(l, BATCH, NNC_TRAIN), count_down, &c);
        const uint64_t bits = mix(mix(mix(1, theta, bytes), o.state[0], bytes), l->plan.running,
                                  (size_t)l->plan.n_running * k->size);
        if (stop_at <= 0) {
            after[done] = bits;
            polls = c.calls;
        } else {
            where("%s %s, stopped at poll %d", k->isa, l->name, stop_at);
            check(bits == after[done], "not as after %td steps", done);
            check(done == o.updates && (uint64_t)done == o.drawn, "counted wrongly");
            stopped += status == NNC_STOPPED && done < STEPS;
        }
        release(here);
    }
    check(stopped > 2, "stopped %d times", stopped);
    release(start);
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
            layered *l = make(k, 7, 0);
            l->called.stop_at = stop_at;
            const ptrdiff_t rows = use == 4 ? 3 : LINES, n = l->plan.n_params;
            const size_t bytes = (size_t)n * k->size;
            const nnc_samples s = samples_of(l, rows);
            void *theta = parameters_of(l), *before = memcpy(fresh(bytes), theta, bytes);
            void *work = work_of(l, rows, uses[use]), *to = fresh(LINES * (bytes + 64 * k->size));
            nnc_optimizer o = momentum_of(l);
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
                status = nnc_predict(&l->plan, theta, s.x, s.ldx, rows, to, OUT, work, NULL, NULL);
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
        layered *l = make(k, which, 0);
        const size_t bytes = (size_t)l->plan.n_params * k->size;
        void *theta = parameters_of(l), *gradient = fresh(bytes);
        void *before = memcpy(fresh(bytes), theta, bytes);
        nnc_optimizer o = momentum_of(l);
        double losses[5];
        ptrdiff_t done;
        static const ptrdiff_t batches[][2] = {{1, 1}, {5, 2}, {4, 1}, {1, 9}};
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
            const nnc_samples s = samples_of(l, batches[i][0]);
            const nnc_status status =
                nnc_train(&l->plan, theta, gradient, &o, &s, batches[i][1], losses, &done,
                          work_of(l, batches[i][1], NNC_TRAIN), NULL, NULL);
            where("%s, %td rows in batches of %td", l->name, batches[i][0], batches[i][1]);
            const nnc_status expected = l->plan.n_running ? NNC_BAD_PLAN : NNC_OK;
            check(status == expected, "the status is %d", (int)status);
            check((done == 0) == (expected != NNC_OK), "%td steps", done);
            check(expected == NNC_OK || !memcmp(before, theta, bytes), "theta has changed");
        }
        release(start);
    }
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
        isas = runnable((nnc_dtype)type, kernels);
        group("steps: bits %s", type_names[type]);
        for (int which = 0; which < N_LAYERED; which++) {
            check_bits((nnc_dtype)type, which, 37, 0);
            check_bits((nnc_dtype)type, which, 1000, 0);
            check_bits((nnc_dtype)type, which, 37, 1);
        }
        for (int isa = 0; isa < isas; isa++) check_masks(kernels[isa]);
        group("steps: stopping %s", type_names[type]);
        /* the last is too small to be polled in the middle */
        for (int which = 0; which < N_LAYERED - 1; which++)
            check_stop(kernels[0], which, type == NNC_F64);
    }
}

void test_step_threads(void) {
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        const nnc_kernels *kernels[MAX_ISAS];
        const int isas = runnable((nnc_dtype)type, kernels);
        group("threads: steps %s", type_names[type]);
        for (int isa = 0; isa < isas; isa++)
            for (int which = 0; which < N_LAYERED; which++)
                for (int tuned = 0; tuned < 2; tuned++) check_divided(kernels[isa], which, tuned);
    }
}
