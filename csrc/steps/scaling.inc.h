/* Part of plan.c: columns in other units, by fixed numbers that no gradient touches. */

static int scaling_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    const ptrdiff_t n = step->n_out;
    return step->n_in == n && n <= PTRDIFF_MAX / 2 &&
           vector_fits(step->other, 2 * n, plan->n_running);
}

/* A mean of 0, for derivatives. */
static size_t scaling_own(const nnc_kernels *k, const nnc_step *step, ptrdiff_t rows) {
    (void)rows;
    return own_vector(k, step->n_out);
}

static nnc_layer_args scaling_args(const run *r, int s, ptrdiff_t rows, const void *x,
                                   ptrdiff_t ldx, void *y, ptrdiff_t ldy) {
    const nnc_step *step = &r->plan->steps[s];
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    g.y = y, g.ldy = ldy;
    g.b = element(r, r->plan->running, step->other);
    g.w = element(r, g.b, step->n_out);
    g.a = step->p[0];
    return g;
}

static int scaling_forward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                           ptrdiff_t ldy) {
    const nnc_layer_args g = scaling_args(r, s, rows, x, ldx, y, ldy);
    return run_layer(r, r->plan->kernels->scaling, &g, BY_ROWS, WORK_PER_NUMBER);
}

/* y = the derivative times x, of both directions: that is a diagonal matrix. */
static int scaling_slope(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                         ptrdiff_t ldy) {
    nnc_layer_args g = scaling_args(r, s, rows, x, ldx, y, ldy);
    g.b = memset(own(r, s, 0), 0, (size_t)g.n * r->plan->kernels->size);
    return run_layer(r, r->plan->kernels->scaling, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int scaling_backward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *dx,
                            ptrdiff_t lddx) {
    const nnc_slot *at = &r->f.slots[s];
    (void)x, (void)ldx;
    return dx && scaling_slope(r, s, rows, at->dz, at->ld, dx, lddx);
}

static int scaling_forward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                                 const slot_along *at) {
    if (in->rx == NULL) return copy_forward_along(r, s, rows, in, v, at);
    return scaling_slope(r, s, rows, in->rx, in->ldrx, at->ry, r->f.slots[s].ld);
}

static int scaling_backward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                                  const slot_along *at, void *dx, void *rdx, ptrdiff_t lddx) {
    (void)in, (void)v, (void)dx;
    return scaling_slope(r, s, rows, at->rdz, r->f.slots[s].ld, rdx, lddx);
}
