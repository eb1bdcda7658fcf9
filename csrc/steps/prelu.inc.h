/* Part of plan.c: a learned slope below 0, one for each unit or one for all. */

static int prelu_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    return step->n_in == step->n_out && step->b < 0 &&
           (step->other == 1 || step->other == step->n_out) &&
           vector_fits(step->w, step->other, plan->n_params);
}

/* One slope for all is written to a vector; the other one is for its direction. */
static size_t prelu_own(const nnc_kernels *k, const nnc_step *step, ptrdiff_t rows) {
    (void)rows;
    return 2 * own_vector(k, step->n_out);
}

static int prelu_forward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                         ptrdiff_t ldy) {
    const nnc_step *step = &r->plan->steps[s];
    const nnc_kernels *k = r->plan->kernels;
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    g.y = y, g.ldy = ldy;
    if (step->other == 1) {
        const nnc_layer_args all = {.rows = 1, .n = g.n, .w = g.w, .y = own(r, s, 0)};
        k->fill(&all);
        g.w = all.y;
    }
    return run_layer(r, k->prelu, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int prelu_backward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *dx,
                          ptrdiff_t lddx) {
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    if (r->plan->steps[s].other == 1) g.w = own(r, s, 0);
    g.dx = dx, g.lddx = lddx;
    return dx && run_layer(r, r->plan->kernels->prelu_slope, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int prelu_parameters(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx,
                            void *gradient, int accumulate) {
    const nnc_step *step = &r->plan->steps[s];
    const nnc_kernels *k = r->plan->kernels;
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    g.sums = (void *)element(r, gradient, step->w);
    g.accumulate = accumulate;
    if (step->other > 1) return run_layer(r, k->prelu_sums, &g, BY_COLUMNS, WORK_PER_NUMBER);
    k->prelu_total(&g);
    return wants_stop(r, WORK_PER_NUMBER * (double)rows * (double)g.n);
}

static void prelu_of_row(const run *r, int s, ptrdiff_t i, const void *x, void *gradient) {
    const nnc_step *step = &r->plan->steps[s];
    const nnc_kernels *k = r->plan->kernels;
    nnc_layer_args g = args_of_row(r, s, i, x);
    g.sums = (void *)element(r, gradient, step->w);
    (step->other > 1 ? k->prelu_sums : k->prelu_total)(&g);
}

/* One slope for all, and its direction, are vectors, too. */
static void with_slopes(const run *r, int s, nnc_layer_args *g) {
    if (r->plan->steps[s].other > 1) return;
    const nnc_layer_args direction = {.rows = 1, .n = g->n, .w = g->vw, .y = own(r, s, 1)};
    r->plan->kernels->fill(&direction);
    g->w = own(r, s, 0), g->vw = direction.y;
}

static int prelu_forward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                               const slot_along *at) {
    nnc_layer_args g = along_args(r, s, rows, in, v, at);
    with_slopes(r, s, &g);
    return run_layer(r, r->plan->kernels->second->prelu_along, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int prelu_backward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                                const slot_along *at, void *dx, void *rdx, ptrdiff_t lddx) {
    nnc_layer_args g = down_along_args(r, s, rows, in, v, at, dx, rdx, lddx);
    with_slopes(r, s, &g);
    return run_layer(r, r->plan->kernels->second->prelu_slope_along, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int prelu_parameters_along(run *r, int s, ptrdiff_t rows, const along_x *in,
                                  const slot_along *at, void *product, int accumulate) {
    const nnc_kernels *k = r->plan->kernels;
    nnc_layer_args g = sums_along_args(r, s, rows, in, at, product, accumulate);
    if (r->plan->steps[s].other > 1)
        return run_layer(r, k->second->prelu_sums_along, &g, BY_COLUMNS, WORK_PER_NUMBER);
    k->second->prelu_total_along(&g);
    return wants_stop(r, WORK_PER_NUMBER * (double)rows * (double)g.n);
}
