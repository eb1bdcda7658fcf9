#include "nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int output_of(int loss) {
    switch (nnc_losses[loss].output) {
    case NNC_OUTPUT_sigmoid: return NNC_ACT_sigmoid;
    case NNC_OUTPUT_softmax: return NNC_ACT_softmax;
    default: return NNC_ACT_identity;
    }
}

int net_shapes(net_shape list[MAX_NETS]) {
    enum { SOFTMAX = NNC_ACT_softmax, RELU = NNC_ACT_relu, TANH = NNC_ACT_tanh };
    int n = 0;
#define NET(...) list[n++] = (net_shape)__VA_ARGS__
    for (int act = 0; act < NNC_N_ACTS; act++)
        NET({{9, 17, 6},
             {act == NNC_ACT_exponential ? TANH : act, act},
             act % 2 ? NNC_LOSS_mse : NNC_LOSS_half_mse,
             0,
             0});
    for (int loss = 0; loss < NNC_N_LOSSES; loss++) {
        NET({{5, 8, 7, 4}, {TANH, RELU, output_of(loss)}, loss, 0, 0});
        /* a softmax of one output would be constant */
        NET({{3, nnc_losses[loss].per_target + (output_of(loss) == SOFTMAX)},
             {output_of(loss)},
             loss,
             0,
             0});
    }
    NET({{20, 10}, {SOFTMAX}, NNC_LOSS_cross_entropy, 0, 1});
    NET({{5, 16, 3}, {NNC_ACT_softsign, SOFTMAX}, NNC_LOSS_cross_entropy, 1, 1});
    NET({{6, 5, 4}, {TANH, SOFTMAX}, NNC_LOSS_mse, 0, 0});
    NET({{6, 5, 11}, {NNC_ACT_softplus, SOFTMAX}, NNC_LOSS_half_mse, 1, 0});
    NET({{5, 8, 3}, {TANH, NNC_ACT_log_softmax}, NNC_LOSS_cross_entropy, 0, 1});
    NET({{6, 5, 4}, {TANH, NNC_ACT_log_softmax}, NNC_LOSS_mse, 0, 0});
    NET({{3, 70}, {NNC_ACT_log_softmax}, NNC_LOSS_mse, 0, 0});
    /* rows of 1 KB in float32, in float64 (an arena pads them), and wider than a tile */
    NET({{2, 256, 2}, {RELU, NNC_ACT_sigmoid}, NNC_LOSS_mse, 0, 0});
    NET({{2, 128, 129}, {NNC_ACT_softsign, TANH}, NNC_LOSS_half_mse, 1, 0});
    /* more than 64 KB of parameters: with biases, too, updated where the gradient is computed */
    NET({{2, 130, 129}, {TANH, NNC_ACT_identity}, NNC_LOSS_mse, 0, 0});
    /* several tiles in the products of few rows, and a first layer whose gradient is turned */
    NET({{33, 40, 5}, {NNC_ACT_softsign, NNC_ACT_identity}, NNC_LOSS_mse, 0, 0});
    NET({{32, 3}, {NNC_ACT_sigmoid}, NNC_LOSS_mse, 0, 0});
    /* few parameters, but sums of more than a block */
    NET({{1, 2, 300}, {TANH, NNC_ACT_identity}, NNC_LOSS_mse, 0, 0});
    NET({{1, 1, 1, 1, 1},
         {TANH, NNC_ACT_softplus, NNC_ACT_sigmoid, NNC_ACT_softsign},
         NNC_LOSS_half_mse,
         0,
         0});
    if (n > MAX_NETS) abort();
    if (EMULATED || UNDER_ASAN) { /* a third; all of them run on guarded pages */
        const int all = n;
        n = 0;
        for (int i = 0; i < all; i += 3) list[n++] = list[i];
    }
    return n;
}

/* Parameters lie in an order of their own: the last step's first, and biases before weights in
 * every second one. */
net make_net(const nnc_kernels *kernels, net_shape shape) {
    net n = {.shape = shape};
    ptrdiff_t offset = 0;
    int steps = 0;
    while (steps < MAX_STEPS && shape.widths[steps + 1]) steps++;
    for (int s = steps - 1; s >= 0; s--) {
        const ptrdiff_t n_in = shape.widths[s], n_out = shape.widths[s + 1];
        const int first = s % 2 && !shape.without_bias;
        const int act = shape.acts[s];
        n.steps[s] = (nnc_step){.kind = NNC_STEP_dense,
                                .n_in = n_in,
                                .n_out = n_out,
                                .act = act,
                                .w = offset + first * n_out,
                                .b = shape.without_bias ? -1 : offset + !first * n_in * n_out};
        if (act < NNC_N_ACTS)
            memcpy(n.steps[s].act_a, nnc_acts[act].defaults, sizeof n.steps[s].act_a);
        offset += n_in * n_out + !shape.without_bias * n_out;
    }
    size_t length = 0;
    for (int s = 0; s < steps; s++)
        length +=
            (size_t)snprintf(n.name + length, sizeof n.name - length, "%td-", shape.widths[s]);
    const int last = shape.acts[steps - 1];
    snprintf(n.name + length, sizeof n.name - length, "%td %s %s %s%s%s", shape.widths[steps],
             nnc_acts[shape.acts[0] % NNC_N_ACTS].name,
             last == NNC_ACT_softmax       ? "softmax"
             : last == NNC_ACT_log_softmax ? "log_softmax"
                                           : nnc_acts[last].name,
             nnc_losses[shape.loss].name, shape.by_label ? " of labels" : "",
             shape.without_bias ? " without bias" : "");
    n.plan = (nnc_plan){.kernels = kernels,
                        .n_steps = steps,
                        .n_params = offset,
                        .loss = shape.loss,
                        .threads = 1,
                        .loss_a = nnc_losses[shape.loss].defaults[0],
                        .loss_b = nnc_losses[shape.loss].defaults[1]};
    return n;
}

void link_net(net *n) { n->plan.steps = n->steps; }

ptrdiff_t inputs(const net *n) { return n->steps[0].n_in; }
ptrdiff_t outputs(const net *n) { return n->steps[n->plan.n_steps - 1].n_out; }

void *fresh_theta(const net *n, uint64_t seed) {
    const nnc_dtype type = n->plan.kernels->dtype;
    void *theta = fresh_with_slack((size_t)n->plan.n_params * size_of(type));
    fill(type, theta, n->plan.n_params, seed, -0.7, 0.8);
    return theta;
}

void *fresh_work(const net *n, ptrdiff_t rows, nnc_use use) {
    return fresh_aligned(nnc_plan_work(&n->plan, rows, use));
}

nnc_samples fresh_samples(const net *n, ptrdiff_t rows, uint64_t seed) {
    const nnc_kernels *k = n->plan.kernels;
    const ptrdiff_t n_in = inputs(n), n_out = outputs(n) / nnc_losses[n->plan.loss].per_target;
    nnc_samples s = {.rows = rows, .ldx = n_in + rows % 3, .ldt = n_out + rows % 2};
    const ptrdiff_t x_size = rows ? (rows - 1) * s.ldx + n_in : 0;
    const ptrdiff_t t_size = rows ? (rows - 1) * s.ldt + n_out : 0;
    void *x = fresh((size_t)x_size * k->size);
    fill(k->dtype, x, x_size, seed, -1.2, 1.5);
    s.x = x;
    if (n->shape.by_label) {
        int64_t *labels = fresh((size_t)rows * sizeof *labels);
        for (ptrdiff_t i = 0; i < rows; i++)
            labels[i] = (int64_t)(mixed(seed + 1, (uint64_t)i) % (uint64_t)n_out);
        s.labels = labels;
    } else {
        void *t = fresh((size_t)t_size * k->size);
        fill(k->dtype, t, t_size, seed + 2, 0, 1);
        s.t = t;
    }
    return s;
}

nnc_samples fresh_shuffled(const net *n, const nnc_samples *from) {
    const nnc_kernels *k = n->plan.kernels;
    const ptrdiff_t rows = from->rows, n_in = inputs(n);
    const ptrdiff_t n_out = outputs(n) / nnc_losses[n->plan.loss].per_target;
    nnc_samples s = {.rows = rows, .ldx = n_in + 1, .ldt = n_out + 2};
    char *x = fresh((size_t)((rows - 1) * s.ldx + n_in) * k->size), *t = NULL;
    int64_t *index = fresh((size_t)rows * sizeof *index), *labels = NULL;
    double *weights = from->weights ? fresh((size_t)rows * sizeof *weights) : NULL;
    if (from->labels)
        labels = fresh((size_t)rows * sizeof *labels);
    else
        t = fresh((size_t)((rows - 1) * s.ldt + n_out) * k->size);
    const ptrdiff_t stride = rows % 101 ? 101 : 103; /* without common divisor for the rows used */
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t to = (i * stride + rows / 2) % rows;
        index[i] = to;
        memcpy(at(k->dtype, x, to * s.ldx), at(k->dtype, from->x, i * from->ldx),
               (size_t)n_in * k->size);
        if (labels) labels[to] = from->labels[i];
        if (weights) weights[to] = from->weights[i];
        if (t)
            memcpy(at(k->dtype, t, to * s.ldt), at(k->dtype, from->t, i * from->ldt),
                   (size_t)n_out * k->size);
    }
    s.x = x, s.t = t, s.labels = labels, s.index = index, s.weights = weights;
    return s;
}

void add_weights(nnc_samples *s) {
    double *weights = fresh((size_t)s->rows * sizeof *weights);
    for (ptrdiff_t i = 0; i < s->rows; i++)
        weights[i] = i % 7 > 3 && s->rows > 2 ? 0 : uniform(77, (uint64_t)i, 0.2, 3);
    s->weights = weights;
}

nnc_samples part_of(const net *n, const nnc_samples *all, ptrdiff_t first, ptrdiff_t rows) {
    const nnc_dtype type = n->plan.kernels->dtype;
    nnc_samples s = *all;
    s.rows = rows;
    if (all->index) {
        s.index = all->index + first;
        return s;
    }
    s.x = at(type, all->x, first * all->ldx);
    if (all->t) s.t = at(type, all->t, first * all->ldt);
    if (all->labels) s.labels = all->labels + first;
    if (all->weights) s.weights = all->weights + first;
    return s;
}

nnc_optimizer fresh_optimizer(const net *n, int opt) {
    nnc_optimizer o = {.opt = opt, .hyper = nnc_opts[opt].defaults};
    const size_t align = NNC_ALIGN, bytes = (size_t)n->plan.n_params * n->plan.kernels->size;
    const size_t room = (bytes + align - 1) / align * align;
    for (int v = 0; v < nnc_opts[opt].vectors; v++) {
        o.state[v] = fresh_aligned(room);
        memset(o.state[v], 0, bytes);
    }
    return o;
}
