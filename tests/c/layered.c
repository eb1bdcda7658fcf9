#include "layered.h"

#include <string.h>

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
    case NNC_STEP_scaling:
        step->other = p->n_running;
        p->n_running += 2 * n;
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
    for (int j = 0; j < N_IN; j++) {
        nnc_column *c = &l->columns[j];
        *c = j == 2 ? (nnc_column){0, 1, 0} : (nnc_column){l->tokens, dim + j, table};
        width += c->dim;
        table += c->n_tokens * c->dim;
    }
    nnc_step *step = append(l, NNC_STEP_embedding, width);
    step->w = l->plan.n_params, step->other = table;
    l->plan.n_params += table;
}

int has_batches(const layered *l) {
    for (int s = 0; s < l->plan.n_steps; s++)
        if (l->steps[s].kind == NNC_STEP_batch_norm) return 1;
    return 0;
}

size_t running_bytes(const layered *l) { return (size_t)l->plan.n_running * l->plan.kernels->size; }

int call_kernel(void *context, const nnc_act_args *g) {
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
                              : k->second->act_d2f)[act](g->n, at(k->dtype, g->x, i * g->ldx),
                                                         at(k->dtype, g->out, i * g->ldo),
                                                         nnc_acts[act].defaults);
    return 0;
}

layered *make_layered(const nnc_kernels *k, int which, ptrdiff_t more) {
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
        dense(l, N_OUT, NNC_ACT_identity);
        break;
    case 1:
        l->name = "batch_norm";
        append(l, NNC_STEP_batch_norm, 0);
        dense(l, 66 + more, NNC_ACT_silu);
        append(l, NNC_STEP_batch_norm, 0);
        dense(l, N_OUT, NNC_ACT_tanh);
        break;
    case 2:
        l->name = "layer_norm";
        append(l, NNC_STEP_layer_norm, 0);
        dense(l, 19 + more, NNC_ACT_softplus);
        append(l, NNC_STEP_layer_norm, 0);
        dense(l, N_OUT, NNC_ACT_softmax);
        l->plan.loss = NNC_LOSS_cross_entropy;
        break;
    case 3:
        l->name = "prelu";
        append(l, NNC_STEP_prelu, 0);
        dense(l, 67 + more, NNC_ACT_identity);
        append(l, NNC_STEP_prelu, 0);
        dense(l, N_OUT, NNC_ACT_identity);
        append(l, NNC_STEP_prelu, 0)->other = 1;
        l->plan.n_params -= N_OUT - 1;
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
        dense(l, N_OUT, NNC_ACT_identity);
        break;
    case 5:
        l->name = "embedding";
        l->tokens = 7;
        embedding(l, 2 + more);
        dense(l, 6, NNC_ACT_tanh);
        dense(l, N_OUT, NNC_ACT_identity);
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
        dense(l, N_OUT, NNC_ACT_sigmoid);
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
        dense(l, N_OUT, NNC_ACT_identity);
        append(l, NNC_STEP_called, 0);
        l->called.kernels = k, l->called.caller = pthread_self();
        l->plan.act_call = call_kernel, l->plan.act_context = &l->called;
        break;
    case 8:
        l->name = "scaling";
        append(l, NNC_STEP_scaling, 0);
        dense(l, 23 + more, NNC_ACT_tanh);
        append(l, NNC_STEP_scaling, 0)->p[0] = 1;
        dense(l, N_OUT, NNC_ACT_identity);
        append(l, NNC_STEP_scaling, 0)->p[0] = 1;
        break;
    default:
        l->name = "ends in batch_norm";
        dense(l, N_OUT, NNC_ACT_tanh);
        append(l, NNC_STEP_batch_norm, 0);
        break;
    }
    l->plan.steps = l->steps;
    if (l->tokens) l->steps[0].columns = l->columns;
    l->plan.running = fresh(running_bytes(l));
    fill(k->dtype, l->plan.running, l->plan.n_running, 9, 0.5, 1.5);
    where("%s %s", k->isa, l->name);
    check(nnc_plan_check(&l->plan) == NNC_OK, "refused");
    return l;
}

void *layered_theta(const layered *l) {
    const nnc_dtype type = l->plan.kernels->dtype;
    void *theta = fresh_with_slack((size_t)l->plan.n_params * size_of(type));
    fill(type, theta, l->plan.n_params, 3, -0.7, 0.8);
    return theta;
}

nnc_samples layered_samples(const layered *l, ptrdiff_t rows) {
    const nnc_dtype type = l->plan.kernels->dtype;
    nnc_samples s = {.rows = rows, .ldx = N_IN + 2, .ldt = N_OUT + 1};
    const ptrdiff_t x_size = (rows - 1) * s.ldx + N_IN, t_size = (rows - 1) * s.ldt + N_OUT;
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

void tune_layered(layered *l, nnc_optimizer *o) {
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

void *layered_work(const layered *l, ptrdiff_t rows, nnc_use use) {
    return fresh_aligned(nnc_plan_work(&l->plan, rows, use));
}

nnc_optimizer layered_momentum(const layered *l) {
    const size_t align = NNC_ALIGN, bytes = (size_t)l->plan.n_params * l->plan.kernels->size;
    nnc_optimizer o = {.opt = NNC_OPT_momentum, .hyper = nnc_opts[NNC_OPT_momentum].defaults};
    o.state[0] = fresh_aligned((bytes + align - 1) / align * align);
    memset(o.state[0], 0, bytes);
    return o;
}
