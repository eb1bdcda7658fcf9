/* Part of plan.c: an activation that is a function of the caller's, as a step of its own behind a
 * dense one without an activation.
 *
 * It is called by the thread that runs the plan, and never in a part of a job. So it may wait for a
 * lock, such as Python's: a worker that did could keep everybody who waits for the job. Nothing is
 * kept for the way back, since x is still there. */

static int called_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    return s > 0 && step->n_in == step->n_out && step->other >= 0 && plan->act_call != NULL;
}

/* out = f(x) or a derivative of it, NNC_BLOCK rows at a time with a poll after each, for nobody
 * knows how long a call takes; returns whether to stop. */
static int call_function(run *r, int s, int derivative, ptrdiff_t rows, const void *x,
                         ptrdiff_t ldx, void *out, ptrdiff_t ldo) {
    const nnc_plan *plan = r->plan;
    const nnc_step *step = &plan->steps[s];
    for (ptrdiff_t i = 0; i < rows; i += NNC_BLOCK) {
        const nnc_act_args g = {.function = step->other,
                                .derivative = derivative,
                                .rows = rows_of_block(rows - i),
                                .n = step->n_out,
                                .x = element(r, x, i * ldx),
                                .ldx = ldx,
                                .out = (void *)element(r, out, i * ldo),
                                .ldo = ldo};
        if (plan->act_call(plan->act_context, &g)) {
            atomic_store(r->stop, 1);
            return 1;
        }
        if (wants_stop(r, WORK_PER_POLL)) return 1;
    }
    return 0;
}

static int called_forward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                          ptrdiff_t ldy) {
    return call_function(r, s, 0, rows, x, ldx, y, ldy);
}

/* dx = dy f'(x). There is a step below, so all are rows of arenas, of the same length. */
static int called_backward(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *dx,
                           ptrdiff_t lddx) {
    for (ptrdiff_t i = 0; i < rows && dx != NULL; i += NNC_BLOCK) {
        const ptrdiff_t block = rows_of_block(rows - i);
        void *to = (void *)element(r, dx, i * lddx);
        if (call_function(r, s, 1, block, element(r, x, i * ldx), ldx, to, lddx)) return 1;
        r->plan->kernels->multiply(block * lddx, element(r, r->f.slots[s].dz, i * lddx), to, to);
    }
    return 0;
}

/* R y = f'(x) R x */
static int called_forward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                                const slot_along *at) {
    const ptrdiff_t ld = r->f.slots[s].ld;
    (void)v;
    if (call_function(r, s, 1, rows, in->x, in->ldx, at->df, ld)) return 1;
    r->plan->kernels->multiply(rows * ld, at->df, in->rx, at->ry);
    return 0;
}

/* R dx = f''(x) R x dy + f'(x) R dy, where R dy lies; dy is not needed any more. */
static int called_backward_along(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                                 const slot_along *at, void *dx, void *rdx, ptrdiff_t lddx) {
    (void)v, (void)dx;
    if (call_function(r, s, 2, rows, in->x, in->ldx, at->d2f, lddx)) return 1;
    r->plan->kernels->second->slope_along(rows * lddx, at->df, at->d2f, in->rx, r->f.slots[s].dz,
                                          at->rdz);
    copy_rows(r, rows, r->plan->steps[s].n_out, at->rdz, lddx, rdx, lddx);
    return 0;
}
