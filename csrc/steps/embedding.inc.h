/* Part of plan.c: rows of tables for columns of tokens; only where the samples come in. */

static int embedding_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    ptrdiff_t width = 0;
    if (s > 0 || step->columns == NULL || step->b >= 0 || step->other < 1 ||
        !vector_fits(step->w, step->other, plan->n_params))
        return 0;
    for (ptrdiff_t j = 0; j < step->n_in; j++) {
        const nnc_column *c = &step->columns[j];
        if (c->dim < 1 || c->dim > step->n_out || width > step->n_out - c->dim) return 0;
        width += c->dim;
        if (c->n_tokens == 0 ? c->dim != 1
                             : c->n_tokens < 0 || c->n_tokens > step->other / c->dim ||
                                   !vector_fits(c->table, c->n_tokens * c->dim, step->other))
            return 0;
    }
    return width == step->n_out;
}

static nnc_layer_args embedding_args(const run *r, int s, ptrdiff_t rows, const void *x,
                                     ptrdiff_t ldx) {
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    g.n = r->plan->steps[s].n_in;
    g.columns = r->plan->steps[s].columns;
    return g;
}

static int embedding_forward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                             ptrdiff_t ldy) {
    const nnc_step *step = &r->plan->steps[s];
    nnc_layer_args g = embedding_args(r, s, rows, x, ldx);
    g.y = y, g.ldy = ldy;
    return run_layer(r, r->plan->kernels->other->embed, &g, BY_ROWS,
                     WORK_PER_GATHERED * (double)step->n_out / (double)step->n_in);
}

/* By the inputs that are numbers; tokens have no derivative, and get 0. */
static int embedding_backward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *dx,
                              ptrdiff_t lddx) {
    nnc_layer_args g = embedding_args(r, s, rows, x, ldx);
    g.dx = dx, g.lddx = lddx;
    if (dx) r->plan->kernels->other->embed_slope(&g);
    return 0;
}

static void scatter(const run *r, int s, nnc_layer_args *g, void *gradient, int accumulate) {
    const nnc_step *step = &r->plan->steps[s];
    const nnc_kernels *k = r->plan->kernels;
    g->sums = (void *)element(r, gradient, step->w);
    if (!accumulate) memset(g->sums, 0, (size_t)step->other * k->size);
    k->other->embed_sums(g);
}

/* In the order of the rows, which no threads may change. */
static int embedding_parameters(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx,
                                void *gradient, int accumulate) {
    nnc_layer_args g = embedding_args(r, s, rows, x, ldx);
    scatter(r, s, &g, gradient, accumulate);
    return wants_stop(r, WORK_PER_GATHERED * (double)rows * (double)r->plan->steps[s].n_out);
}

static void embedding_of_row(const run *r, int s, ptrdiff_t i, const void *x, void *gradient) {
    nnc_layer_args g = embedding_args(r, s, 1, x, 0);
    g.dy = args_of_row(r, s, i, x).dy;
    scatter(r, s, &g, gradient, 0);
}

/* R y are the rows of v; numbers stand still. */
static int embedding_forward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                                   const slot_along *at) {
    const nnc_kernels *k = r->plan->kernels;
    nnc_layer_args g = embedding_args(r, s, rows, in->x, in->ldx);
    g.w = element(r, v, r->plan->steps[s].w);
    g.y = at->ry;
    k->other->embed(&g);
    for (ptrdiff_t i = 0; i < rows; i++) {
        ptrdiff_t place = i * g.ldy;
        for (ptrdiff_t j = 0; j < g.n; place += g.columns[j++].dim)
            if (g.columns[j].n_tokens == 0) memset((void *)element(r, at->ry, place), 0, k->size);
    }
    return 0;
}

static int embedding_parameters_along(run *r, int s, ptrdiff_t rows, const along_x *in,
                                      const slot_along *at, void *product, int accumulate) {
    nnc_layer_args g = embedding_args(r, s, rows, in->x, in->ldx);
    g.dy = at->rdz;
    scatter(r, s, &g, product, accumulate);
    return 0;
}
