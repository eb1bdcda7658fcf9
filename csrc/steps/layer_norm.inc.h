/* Part of plan.c: normalisation of rows. */

static int layer_norm_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    return step->n_in == step->n_out && vector_fits(step->w, step->n_out, plan->n_params) &&
           vector_fits(step->b, step->n_out, plan->n_params) && step->p[1] > 0;
}

/* Two statistics of each row. */
static size_t layer_norm_own(const nnc_kernels *k, const nnc_step *step, ptrdiff_t rows) {
    (void)step;
    return 2 * (size_t)rows * k->size;
}

static int layer_norm_forward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                              ptrdiff_t ldy) {
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    g.y = y, g.ldy = ldy;
    g.row_stats = r->f.slots[s].own;
    g.a = r->plan->steps[s].p[1];
    return run_layer(r, r->plan->kernels->layer_norm, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int layer_norm_backward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx,
                               void *dx, ptrdiff_t lddx) {
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    g.row_stats = r->f.slots[s].own;
    g.dx = dx, g.lddx = lddx;
    return dx && run_layer(r, r->plan->kernels->layer_norm_slope, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int layer_norm_parameters(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx,
                                 void *gradient, int accumulate) {
    const nnc_step *step = &r->plan->steps[s];
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    g.row_stats = r->f.slots[s].own;
    g.sums = (void *)element(r, gradient, step->w);
    g.accumulate = accumulate;
    if (run_layer(r, r->plan->kernels->layer_norm_sums, &g, BY_COLUMNS, WORK_PER_NUMBER)) return 1;
    return sum_rows(r, rows, g.n, g.dy, g.lddy, (void *)element(r, gradient, step->b), accumulate);
}

static void layer_norm_of_row(const run *r, int s, ptrdiff_t i, const void *x, void *gradient) {
    const nnc_step *step = &r->plan->steps[s];
    nnc_layer_args g = args_of_row(r, s, i, x);
    g.row_stats = (void *)element(r, r->f.slots[s].own, 2 * i);
    g.sums = (void *)element(r, gradient, step->w);
    r->plan->kernels->layer_norm_sums(&g);
    copy_rows(r, 1, g.n, g.dy, 0, (void *)element(r, gradient, step->b), 0);
}

static int layer_norm_forward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                                    const slot_along *at) {
    nnc_layer_args g = along_args(r, s, rows, in, v, at);
    g.row_stats = r->f.slots[s].own;
    return run_layer(r, r->plan->kernels->second->layer_norm_along, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int layer_norm_backward_along(run *r, int s, ptrdiff_t rows, const along_x *in,
                                     const void *v, const slot_along *at, void *dx, void *rdx,
                                     ptrdiff_t lddx) {
    nnc_layer_args g = down_along_args(r, s, rows, in, v, at, dx, rdx, lddx);
    g.row_stats = r->f.slots[s].own;
    return run_layer(r, r->plan->kernels->second->layer_norm_slope_along, &g, BY_ROWS,
                     WORK_PER_NUMBER);
}

static int layer_norm_parameters_along(run *r, int s, ptrdiff_t rows, const along_x *in,
                                       const slot_along *at, void *product, int accumulate) {
    nnc_layer_args g = sums_along_args(r, s, rows, in, at, product, accumulate);
    g.row_stats = r->f.slots[s].own;
    return run_layer(r, r->plan->kernels->second->layer_norm_sums_along, &g, BY_COLUMNS,
                     WORK_PER_NUMBER) ||
           sum_rows(r, rows, g.n, at->rdz, g.lddy, (void *)element(r, product, r->plan->steps[s].b),
                    accumulate);
}
