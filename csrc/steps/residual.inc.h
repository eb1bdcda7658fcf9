/* Part of plan.c: x + block(x) as a fork, the steps of the block, and an add. Backwards the fork is
 * where the two gradients with respect to x meet. */

static int fork_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    if (step->n_in != step->n_out || step->other < 1 || step->other >= plan->n_steps - s) return 0;
    const nnc_step *last = step + step->other;
    return last->kind == NNC_STEP_add && last->other == -step->other && last->n_out == step->n_out;
}

static int add_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    if (step->n_in != step->n_out || step->other > -1 || step->other < -s) return 0;
    const nnc_step *first = step + step->other;
    return first->kind == NNC_STEP_fork && first->other == -step->other;
}

static int fork_forward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                        ptrdiff_t ldy) {
    copy_rows(r, rows, r->plan->steps[s].n_out, x, ldx, y, ldy);
    return 0;
}

static int add_forward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                       ptrdiff_t ldy) {
    const nnc_slot *from = &r->f.slots[s + r->plan->steps[s].other];
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    g.dy = from->y, g.lddy = from->ld;
    g.y = y, g.ldy = ldy;
    return run_layer(r, r->plan->kernels->other->add, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int add_backward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *dx,
                        ptrdiff_t lddx) {
    const nnc_slot *at = &r->f.slots[s];
    (void)x, (void)ldx;
    if (dx) copy_rows(r, rows, r->plan->steps[s].n_out, at->dz, at->ld, dx, lddx);
    return 0;
}

static int fork_backward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *dx,
                         ptrdiff_t lddx) {
    const nnc_slot *at = &r->f.slots[s], *skip = &r->f.slots[s + r->plan->steps[s].other];
    nnc_layer_args g = layer_args(r, s, rows, at->dz, at->ld);
    (void)x, (void)ldx;
    g.dy = skip->dz, g.lddy = skip->ld;
    g.y = dx, g.ldy = lddx;
    return dx && run_layer(r, r->plan->kernels->other->add, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int add_forward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                             const slot_along *at) {
    const ptrdiff_t other = r->plan->steps[s].other;
    nnc_layer_args g = along_args(r, s, rows, in, v, at);
    g.x = in->rx, g.ldx = in->ldrx;
    g.dy = at[other].ry, g.lddy = r->f.slots[s + other].ld;
    return run_layer(r, r->plan->kernels->other->add, &g, BY_ROWS, WORK_PER_NUMBER);
}

static int fork_backward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                               const slot_along *at, void *dx, void *rdx, ptrdiff_t lddx) {
    const ptrdiff_t other = r->plan->steps[s].other;
    nnc_layer_args g = down_along_args(r, s, rows, in, v, at, dx, rdx, lddx);
    g.x = at->rdz, g.ldx = g.lddy;
    g.dy = at[other].rdz;
    g.y = rdx, g.ldy = lddx;
    return run_layer(r, r->plan->kernels->other->add, &g, BY_ROWS, WORK_PER_NUMBER);
}
