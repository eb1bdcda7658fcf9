/* Part of plan.c: normalisation of columns. In training by the mean and variance of the batch,
 * which is one block then; otherwise by the running ones, which the step before left. */

/* What a step keeps in its slot, each a vector of n_out. */
enum { BATCH_MEAN, BATCH_RSTD, BATCH_VAR, BATCH_SUMS, BATCH_DY_SUMS, BATCH_VECTORS };

static int batch_norm_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    const ptrdiff_t n = step->n_out;
    return step->n_in == n && vector_fits(step->w, n, plan->n_params) &&
           vector_fits(step->b, n, plan->n_params) && n <= PTRDIFF_MAX / 2 &&
           vector_fits(step->other, 2 * n, plan->n_running) && is_between(step->p[0], 0, 1) &&
           step->p[1] > 0;
}

static size_t batch_norm_own(const nnc_kernels *k, const nnc_step *step, ptrdiff_t rows) {
    (void)rows;
    return BATCH_VECTORS * own_vector(k, step->n_out);
}

/* The running mean, or variance. */
static void *running(const run *r, int s, int variance) {
    const nnc_step *step = &r->plan->steps[s];
    return (void *)element(r, r->plan->running, step->other + variance * step->n_out);
}

static nnc_layer_args batch_args(const run *r, int s, ptrdiff_t rows, const void *x,
                                 ptrdiff_t ldx) {
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    g.mean = r->training ? own(r, s, BATCH_MEAN) : running(r, s, 0);
    g.var = r->training ? own(r, s, BATCH_VAR) : running(r, s, 1);
    g.rstd = own(r, s, BATCH_RSTD);
    g.sums = own(r, s, BATCH_SUMS);
    return g;
}

static int batch_norm_forward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                              ptrdiff_t ldy) {
    const nnc_kernels *k = r->plan->kernels;
    nnc_layer_args g = batch_args(r, s, rows, x, ldx);
    g.y = y, g.ldy = ldy;
    g.a = r->plan->steps[s].p[1];
    if (!r->training)
        k->batch_scale(&g);
    else if (run_layer(r, k->batch_moments, &g, BY_COLUMNS, WORK_PER_NUMBER))
        return 1;
    return run_layer(r, k->batch_norm, &g, BY_ROWS, WORK_PER_NUMBER);
}

/* In training the statistics depend on x, too: dx lacks the mean of dy, and what of dy goes along
 * with x. */
static int batch_norm_backward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx,
                               void *dx, ptrdiff_t lddx) {
    const nnc_kernels *k = r->plan->kernels;
    nnc_layer_args g = batch_args(r, s, rows, x, ldx);
    void *dy_sums = own(r, s, BATCH_DY_SUMS);
    if (!r->training) {
        memset(g.sums, 0, (size_t)g.n * k->size);
        memset(dy_sums, 0, (size_t)g.n * k->size);
    } else if (sum_rows(r, rows, g.n, g.dy, g.lddy, dy_sums, 0) ||
               run_layer(r, k->batch_norm_sums, &g, BY_COLUMNS, WORK_PER_NUMBER)) {
        return 1;
    }
    g.dx = dx, g.lddx = lddx;
    g.dy_sums = dy_sums;
    g.a = 1 / (double)rows;
    return dx && run_layer(r, k->batch_norm_slope, &g, BY_ROWS, WORK_PER_NUMBER);
}

/* In training the sums are there: dx needed them. */
static int batch_norm_parameters(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx,
                                 void *gradient, int accumulate) {
    const nnc_step *step = &r->plan->steps[s];
    nnc_layer_args g = batch_args(r, s, rows, x, ldx);
    void *gamma = (void *)element(r, gradient, step->w);
    void *beta = (void *)element(r, gradient, step->b);
    if (r->training) {
        copy_rows(r, 1, g.n, g.sums, 0, gamma, 0);
        copy_rows(r, 1, g.n, own(r, s, BATCH_DY_SUMS), 0, beta, 0);
        return 0;
    }
    g.sums = gamma, g.accumulate = accumulate;
    return run_layer(r, r->plan->kernels->batch_norm_sums, &g, BY_COLUMNS, WORK_PER_NUMBER) ||
           sum_rows(r, rows, g.n, g.dy, g.lddy, beta, accumulate);
}

static void batch_norm_of_row(const run *r, int s, ptrdiff_t i, const void *x, void *gradient) {
    const nnc_step *step = &r->plan->steps[s];
    nnc_layer_args g = batch_args(r, s, 1, x, 0);
    g.dy = args_of_row(r, s, i, x).dy;
    g.sums = (void *)element(r, gradient, step->w);
    r->plan->kernels->batch_norm_sums(&g);
    copy_rows(r, 1, g.n, g.dy, 0, (void *)element(r, gradient, step->b), 0);
}

/* With the update of the parameters: r' = r + momentum (batch's - r), of the unbiased variance. */
static void batch_norm_settle(run *r, int s) {
    const nnc_step *step = &r->plan->steps[s];
    for (int variance = 0; variance < 2; variance++) {
        const nnc_layer_args g = {.rows = 1,
                                  .n = step->n_out,
                                  .x = own(r, s, variance ? BATCH_VAR : BATCH_MEAN),
                                  .dx = running(r, s, variance),
                                  .a = step->p[0]};
        r->plan->kernels->batch_running(&g);
    }
}

/* Along v, with running statistics. */
static void with_running(const run *r, int s, nnc_layer_args *g) {
    g->mean = running(r, s, 0);
    g->rstd = own(r, s, BATCH_RSTD);
}

static int batch_norm_forward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                                    const slot_along *at) {
    nnc_layer_args g = along_args(r, s, rows, in, v, at);
    with_running(r, s, &g);
    return run_layer(r, r->plan->kernels->second->batch_norm_along, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int batch_norm_backward_along(run *r, int s, ptrdiff_t rows, const along_x *in,
                                     const void *v, const slot_along *at, void *dx, void *rdx,
                                     ptrdiff_t lddx) {
    nnc_layer_args g = down_along_args(r, s, rows, in, v, at, dx, rdx, lddx);
    with_running(r, s, &g);
    return run_layer(r, r->plan->kernels->second->batch_norm_slope_along, &g, BY_ROWS,
                     WORK_PER_NUMBER);
}

static int batch_norm_parameters_along(run *r, int s, ptrdiff_t rows, const along_x *in,
                                       const slot_along *at, void *product, int accumulate) {
    nnc_layer_args g = sums_along_args(r, s, rows, in, at, product, accumulate);
    with_running(r, s, &g);
    return run_layer(r, r->plan->kernels->second->batch_norm_sums_along, &g, BY_COLUMNS,
                     WORK_PER_NUMBER) ||
           sum_rows(r, rows, g.n, at->rdz, g.lddy, (void *)element(r, product, r->plan->steps[s].b),
                    accumulate);
}
