/* Part of plan.c: dropout and noise. The way back draws the same numbers again. */

static int dropout_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    return step->n_in == step->n_out && step->p[0] >= 0 && step->p[0] < 1 && s < NNC_MAX_DRAWING;
}

static int noise_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    return step->n_in == step->n_out && step->p[0] >= 0 && s < NNC_MAX_DRAWING;
}

static int is_drawn(const run *r, const nnc_step *step) {
    const int always = step->kind == NNC_STEP_dropout && step->p[1] != 0;
    return r->training || (always && r->sample);
}

/* The counter has the number of the training step, or of the prediction, in 47 bits; which of the
 * two it is; and the place of the layer. */
static nnc_layer_args drawn_args(const run *r, int s, ptrdiff_t rows, const void *x,
                                 ptrdiff_t ldx) {
    nnc_layer_args g = layer_args(r, s, rows, x, ldx);
    const uint64_t seed = r->plan->seed;
    g.a = r->plan->steps[s].p[0];
    g.draw =
        (nnc_draw){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                   .counter = {(uint32_t)r->draw, (uint32_t)(r->draw >> 32) << 16 |
                                                      (uint32_t)!r->training << 15 | (uint32_t)s},
                   .row = (uint32_t)r->first};
    return g;
}

static int draw_forward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                        ptrdiff_t ldy) {
    const nnc_step *step = &r->plan->steps[s];
    const nnc_kernels *k = r->plan->kernels;
    if (!is_drawn(r, step)) {
        copy_rows(r, rows, step->n_out, x, ldx, y, ldy);
        return 0;
    }
    nnc_layer_args g = drawn_args(r, s, rows, x, ldx);
    g.y = y, g.ldy = ldy;
    return run_layer(r, step->kind == NNC_STEP_dropout ? k->other->dropout : k->other->noise, &g,
                     BY_ROWS, WORK_PER_DRAW);
}

static int draw_backward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *dx,
                         ptrdiff_t lddx) {
    const nnc_step *step = &r->plan->steps[s];
    const nnc_slot *at = &r->f.slots[s];
    (void)x, (void)ldx;
    if (dx == NULL) return 0;
    if (step->kind == NNC_STEP_noise || !is_drawn(r, step)) {
        copy_rows(r, rows, step->n_out, at->dz, at->ld, dx, lddx);
        return 0;
    }
    nnc_layer_args g = drawn_args(r, s, rows, at->dz, at->ld);
    g.y = dx, g.ldy = lddx;
    return run_layer(r, r->plan->kernels->other->dropout, &g, BY_ROWS, WORK_PER_DRAW);
}

/* Nothing is drawn outside of training: R goes through as it is. */
static int copy_forward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                              const slot_along *at) {
    const nnc_slot *to = &r->f.slots[s];
    const ptrdiff_t n = r->plan->steps[s].n_out;
    (void)v;
    if (in->rx)
        copy_rows(r, rows, n, in->rx, in->ldrx, at->ry, to->ld);
    else
        memset(at->ry, 0, (size_t)(rows * to->ld) * r->plan->kernels->size);
    return 0;
}

static int copy_backward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                               const slot_along *at, void *dx, void *rdx, ptrdiff_t lddx) {
    (void)in, (void)v, (void)dx;
    copy_rows(r, rows, r->plan->steps[s].n_out, at->rdz, r->f.slots[s].ld, rdx, lddx);
    return 0;
}
