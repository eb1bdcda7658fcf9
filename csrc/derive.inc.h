/* Part of plan.c: derivatives that training does not need. By the inputs, of the loss of each
 * sample alone, of each output (Jacobians), and of second order along a direction of the
 * parameters.
 *
 * All walk the plan's steps over blocks of rows as training does, from the gradient dz of the last
 * step down; what differs is where that starts and what is taken from each dz. */
#include "nnc.h"

static char *row_at(const run *r, void *out, ptrdiff_t ld, ptrdiff_t i) {
    return (char *)element(r, out, i * ld);
}

/* The samples as one block, forward, loss and dz of all steps; scale: of the gradient. */
static int down_from_loss(run *r, const nnc_samples *block, double scale, double *sum) {
    if (forward(r, block->rows, block->x, block->ldx, fused(r->plan), NULL, 0)) return 1;
    if (loss_of_block(r, block, scale, 1, sum)) return 1;
    return down_to(r, block->rows, 0, block->x, block->ldx);
}

/* dz of all steps of output number `output` alone. */
static int down_from_output(run *r, ptrdiff_t rows, const void *x, ptrdiff_t ldx,
                            ptrdiff_t output) {
    const nnc_plan *plan = r->plan;
    const nnc_kernels *k = plan->kernels;
    const nnc_slot *at = &r->f.slots[plan->n_steps - 1];
    memset(at->dz, 0, (size_t)(rows * at->ld) * k->size);
    for (ptrdiff_t i = 0; i < rows; i++) {
        void *one = row_at(r, at->dz, at->ld, i) + (size_t)output * k->size;
        if (k->dtype == NNC_F32)
            *(float *)one = 1;
        else
            *(double *)one = 1;
    }
    output_slope(r, rows);
    return down_to(r, rows, 0, x, ldx);
}

/* ---- by the inputs: dx = dz W' of the first step --------------------------------------------- */

static int backward_x(run *r, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *dx,
                      ptrdiff_t lddx) {
    const nnc_step *first = &r->plan->steps[0];
    if (first->kind != NNC_STEP_dense)
        return kinds[first->kind].backward(r, 0, rows, x, ldx, dx, lddx);
    nnc_gemm g = {.m = rows,
                  .n = first->n_in,
                  .k = first->n_out,
                  .a = r->f.slots[0].dz,
                  .a_row = r->f.slots[0].ld,
                  .a_col = 1,
                  .b = parameter(r, first->w),
                  .b_row = 1,
                  .b_col = first->n_out,
                  .c = dx,
                  .ldc = lddx};
    return run_gemm(r, &g);
}

nnc_status nnc_input_gradient(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                              double *loss, void *dx, ptrdiff_t lddx, void *work, nnc_poll poll,
                              void *context) {
    const double count = weight_of(samples, 0, samples->rows) * averaged_per_row(plan);
    atomic_int stop = 0;
    run r =
        start(plan, theta, samples->rows, NNC_GRADIENT, plan->threads, work, poll, context, &stop);
    double sum = 0;
    for (ptrdiff_t i = 0; i < samples->rows; i += NNC_BLOCK) {
        const nnc_samples b = block_of(&r, samples, i, rows_of_block(samples->rows - i));
        if (down_from_loss(&r, &b, 1 / count, &sum)) return NNC_STOPPED;
        if (backward_x(&r, b.rows, b.x, b.ldx, row_at(&r, dx, lddx, i), lddx)) return NNC_STOPPED;
    }
    *loss = sum / count + penalties(&r);
    return NNC_OK;
}

/* ---- by the parameters, for each row ------------------------------------------------------- */

/* Rows first .. first + rows of a block whose dz are known: the gradient of each, `ld` apart. */
typedef struct {
    const run *r;
    ptrdiff_t first, rows;
    const void *x;
    ptrdiff_t ldx;
    void *gradients; /* of the block's first row */
    ptrdiff_t ld;
} rows_job;

/* dW = x' dz and db = dz of row i, for each step. */
static void gradient_of_row(const rows_job *job, ptrdiff_t i) {
    const nnc_plan *plan = job->r->plan;
    const nnc_kernels *k = plan->kernels;
    char *gradient = row_at(job->r, job->gradients, job->ld, i);
    const void *x = element(job->r, job->x, i * job->ldx);
    for (int s = 0; s < plan->n_steps; s++) {
        const nnc_step *step = &plan->steps[s];
        const nnc_slot *at = &job->r->f.slots[s];
        const void *dz = element(job->r, at->dz, i * at->ld);
        if (step->kind != NNC_STEP_dense) {
            if (has_parameters(step)) kinds[step->kind].of_row(job->r, s, i, x, gradient);
        } else {
            k->outer(step->n_in, step->n_out, x, dz, gradient + (size_t)step->w * k->size);
            if (step->b >= 0)
                memcpy(gradient + (size_t)step->b * k->size, dz, (size_t)step->n_out * k->size);
        }
        x = element(job->r, at->y, i * at->ld);
    }
}

static void gradients_of_part(void *context, int part, int parts) {
    const rows_job *job = context;
    const ptrdiff_t end = part_start(job->rows, 1, part + 1, parts);
    for (ptrdiff_t i = part_start(job->rows, 1, part, parts); i < end; i++)
        gradient_of_row(job, job->first + i);
}

static int gradients_of_rows(run *r, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *gradients,
                             ptrdiff_t ld) {
    enum { FEW = 16 }; /* between two polls */
    for (ptrdiff_t i = 0; i < rows; i += FEW) {
        rows_job job = {r, i, rows - i < FEW ? rows - i : FEW, x, ldx, gradients, ld};
        const double work = (double)WORK_PER_UPDATED * (double)(job.rows * r->plan->n_params);
        nnc_run_parts(gradients_of_part, &job, parts_for(r, work), r->plan->spin);
        if (wants_stop(r, work)) return 1;
    }
    return 0;
}

nnc_status nnc_sample_gradients(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                                double *losses, void *gradients, void *work, nnc_poll poll,
                                void *context) {
    const double count = averaged_per_row(plan);
    atomic_int stop = 0;
    run r =
        start(plan, theta, samples->rows, NNC_GRADIENT, plan->threads, work, poll, context, &stop);
    for (ptrdiff_t i = 0; i < samples->rows; i += NNC_BLOCK) {
        const nnc_samples b = block_of(&r, samples, i, rows_of_block(samples->rows - i));
        if (forward(&r, b.rows, b.x, b.ldx, fused(plan), NULL, 0)) return NNC_STOPPED;
        for (ptrdiff_t row = 0; row < b.rows; row++) {
            nnc_loss_args g = loss_args(&r, &b, row, 1, 1 / count);
            double value = 0;
            g.weights = NULL;
            if (add_loss(&r, &g, &value)) return NNC_STOPPED;
            losses[i + row] = value / count;
        }
        if (!fused(plan)) output_slope(&r, b.rows);
        if (down_to(&r, b.rows, 0, b.x, b.ldx)) return NNC_STOPPED;
        void *to = row_at(&r, gradients, plan->n_params, i);
        if (gradients_of_rows(&r, b.rows, b.x, b.ldx, to, plan->n_params)) return NNC_STOPPED;
    }
    return NNC_OK;
}

/* ---- Jacobians of the outputs ---------------------------------------------------------------- */

nnc_status nnc_jacobian(const nnc_plan *plan, const void *theta, const void *x, ptrdiff_t ldx,
                        ptrdiff_t rows, nnc_by by, void *jacobian, void *work, nnc_poll poll,
                        void *context) {
    const ptrdiff_t n_out = last_step(plan)->n_out;
    const ptrdiff_t n = by == NNC_BY_INPUTS ? plan->steps[0].n_in : plan->n_params;
    atomic_int stop = 0;
    run r = start(plan, theta, rows, NNC_GRADIENT, plan->threads, work, poll, context, &stop);
    for (ptrdiff_t i = 0; i < rows; i += NNC_BLOCK) {
        const ptrdiff_t size = rows_of_block(rows - i);
        const void *from = element(&r, x, i * ldx);
        if (forward(&r, size, from, ldx, 0, NULL, 0)) return NNC_STOPPED;
        for (ptrdiff_t output = 0; output < n_out; output++) {
            void *to = row_at(&r, jacobian, n, i * n_out + output);
            if (down_from_output(&r, size, from, ldx, output)) return NNC_STOPPED;
            if (by == NNC_BY_INPUTS ? backward_x(&r, size, from, ldx, to, n_out * n)
                                    : gradients_of_rows(&r, size, from, ldx, to, n_out * n))
                return NNC_STOPPED;
        }
    }
    return NNC_OK;
}

/* ---- second order: (d/dt) gradient(theta + t v) at t = 0 -------------------------------------

 * With R for d/dt at t = 0, each line of the gradient's way gives one by the product rule
 * (Pearlmutter 1994, "Fast exact multiplication by the Hessian"):
 *   z  = x W + b     R z  = R x W + x V + c           where v holds V and c as theta holds W and b
 *   y  = f(z)        R y  = f'(z) R z
 *   dz = f'(z) dy    R dz = f''(z) R z dy + f'(z) R dy
 *   dx = dz W'       R dx = R dz W' + dz V'
 *   dW = x' dz       R dW = R x' dz + x' R dz,        R db = sum of R dz */

static void slope_of_step(run *r, ptrdiff_t rows, int s, const slot_along *at) {
    const nnc_slot *here = &r->f.slots[s];
    r->plan->kernels->other->slope_along(rows * here->ld, at->df, at->d2f, at->rz, here->dz,
                                         at->rdz);
}

/* z, y, f'(z), f''(z), R z and R y of step s. `x` and its `rx`, NULL for 0, are rows apart by ldx
 * and, as those of a slot, by the same. */
static int forward_along(run *r, ptrdiff_t rows, int s, int raw, const void *x, ptrdiff_t ldx,
                         const void *rx, const char *v, const slot_along *at) {
    const nnc_plan *plan = r->plan;
    const nnc_kernels *k = plan->kernels;
    const nnc_step *step = &plan->steps[s];
    const nnc_slot *to = &r->f.slots[s];
    if (step->kind != NNC_STEP_dense) {
        const along_x in = {x, rx, ldx, ldx};
        return kinds[step->kind].forward(r, s, rows, x, ldx, to->y, to->ld) ||
               kinds[step->kind].forward_along(r, s, rows, &in, v, at);
    }
    const int act = step_act(plan, s, raw), bends = act != NNC_ACT_identity;
    const void *c = step->b < 0 ? NULL : element(r, v, step->b);
    const ptrdiff_t n = rows * to->ld;
    void *z = bends && !of_whole_row(act) ? at->d2f : to->z;
    nnc_gemm g = {.m = rows,
                  .n = step->n_out,
                  .k = step->n_in,
                  .a = x,
                  .a_row = ldx,
                  .a_col = 1,
                  .b = parameter(r, step->w),
                  .b_row = step->n_out,
                  .b_col = 1,
                  .c = z,
                  .ldc = to->ld,
                  .bias = parameter(r, step->b),
                  .arena = 1};
    if (run_gemm(r, &g)) return 1;
    g.b = element(r, v, step->w), g.c = at->rz, g.bias = rx ? NULL : c;
    if (run_gemm(r, &g)) return 1;
    g.a = rx, g.b = parameter(r, step->w), g.bias = c, g.accumulate = 1;
    if (rx && run_gemm(r, &g)) return 1;
    if (act == NNC_ACT_softmax) {
        k->softmax(rows, step->n_out, z, to->ld, to->y, to->ld);
        k->softmax_slope(rows, step->n_out, to->y, to->ld, at->rz, to->ld, at->ry, to->ld);
    } else if (act == NNC_ACT_log_softmax) {
        k->log_softmax(rows, step->n_out, z, to->ld, to->y, to->ld);
        k->other->log_softmax_change(rows, step->n_out, to->ld, to->y, at->rz, at->ry);
    } else if (bends) {
        k->act[act](n, z, to->y, step->act_a);
        k->other->act_df[act](n, z, at->df, step->act_a);
        k->other->act_d2f[act](n, z, at->d2f, step->act_a);
        k->multiply(n, at->df, at->rz, at->ry);
    }
    return 0;
}

/* dz and R dz of the last step. */
static int loss_along(run *r, const nnc_samples *block, double scale, double *sum,
                      const slot_along *at) {
    const nnc_plan *plan = r->plan;
    const nnc_kernels *k = plan->kernels;
    const nnc_step *step = last_step(plan);
    const nnc_slot *top = &r->f.slots[plan->n_steps - 1];
    const nnc_loss_args g = loss_args(r, block, 0, block->rows, scale);
    nnc_loss_args along = g;
    along.dy = at->rdz;
    if (add_loss(r, &g, sum)) return 1;
    k->other->loss_curve[plan->loss](&along, at->ry, top->ld);
    if (fused(plan)) return 0;
    if (of_whole_row(step->act))
        (step->act == NNC_ACT_softmax ? k->other->softmax_along : k->other->log_softmax_along)(
            block->rows, step->n_out, top->ld, top->y, at->ry, top->dz, at->rdz);
    else if (step->act != NNC_ACT_identity)
        slope_of_step(r, block->rows, plan->n_steps - 1, at);
    return 0;
}

/* dz and R dz of step s from those of the step above. */
static int backward_along(run *r, ptrdiff_t rows, int s, const char *v, const slot_along *at) {
    const nnc_step *step = &r->plan->steps[s], *above = step + 1;
    const nnc_slot *here = &r->f.slots[s], *from = here + 1;
    if (above->kind != NNC_STEP_dense) {
        const step_kind *kind = &kinds[above->kind];
        const along_x in = {here->y, at->ry, here->ld, here->ld};
        if (kind->backward(r, s + 1, rows, here->y, here->ld, here->dz, here->ld) ||
            kind->backward_along(r, s + 1, rows, &in, v, at + 1, here->dz, at->rdz, here->ld))
            return 1;
        if (step->act != NNC_ACT_identity) slope_of_step(r, rows, s, at);
        return 0;
    }
    nnc_gemm g = {.m = rows,
                  .n = step->n_out,
                  .k = above->n_out,
                  .a = from->dz,
                  .a_row = from->ld,
                  .a_col = 1,
                  .b = parameter(r, above->w),
                  .b_row = 1,
                  .b_col = above->n_out,
                  .c = here->dz,
                  .ldc = here->ld,
                  .arena = 1};
    if (run_gemm(r, &g)) return 1;
    g.b = element(r, v, above->w), g.c = at->rdz;
    if (run_gemm(r, &g)) return 1;
    g.a = at[1].rdz, g.b = parameter(r, above->w), g.accumulate = 1;
    if (run_gemm(r, &g)) return 1;
    if (step->act != NNC_ACT_identity) slope_of_step(r, rows, s, at);
    return 0;
}

/* R dW and R db of step s, added to those of earlier blocks if there were any. */
static int parameters_along(run *r, const nnc_samples *block, int s, const slot_along *at,
                            int accumulate, char *product) {
    const nnc_kernels *k = r->plan->kernels;
    const nnc_step *step = &r->plan->steps[s];
    const nnc_slot *here = &r->f.slots[s];
    if (step->kind != NNC_STEP_dense) {
        const along_x below = {s > 0 ? here[-1].y : block->x, s > 0 ? at[-1].ry : NULL,
                               s > 0 ? here[-1].ld : block->ldx, s > 0 ? here[-1].ld : 0};
        return has_parameters(step) && kinds[step->kind].parameters_along(r, s, block->rows, &below,
                                                                          at, product, accumulate);
    }
    nnc_gemm g = {.m = step->n_in,
                  .n = step->n_out,
                  .k = block->rows,
                  .a = s > 0 ? here[-1].y : block->x,
                  .a_row = 1,
                  .a_col = s > 0 ? here[-1].ld : block->ldx,
                  .b = at->rdz,
                  .b_row = here->ld,
                  .b_col = 1,
                  .c = product + (size_t)step->w * k->size,
                  .ldc = step->n_out,
                  .accumulate = accumulate};
    if (run_gemm(r, &g)) return 1;
    if (s > 0) {
        g.a = at[-1].ry, g.b = here->dz, g.accumulate = 1;
        if (run_gemm(r, &g)) return 1;
    }
    if (step->b >= 0)
        k->column_sums(block->rows, step->n_out, at->rdz, here->ld,
                       product + (size_t)step->b * k->size, accumulate);
    return 0;
}

static int product_of_block(run *r, const nnc_samples *block, double scale, const char *v,
                            const slot_along *slots, int accumulate, double *sum, char *product) {
    const nnc_plan *plan = r->plan;
    const void *x = block->x, *rx = NULL;
    ptrdiff_t ldx = block->ldx;
    for (int s = 0; s < plan->n_steps; s++) {
        if (forward_along(r, block->rows, s, fused(plan), x, ldx, rx, v, &slots[s])) return 1;
        x = r->f.slots[s].y, ldx = r->f.slots[s].ld, rx = slots[s].ry;
    }
    if (loss_along(r, block, scale, sum, &slots[plan->n_steps - 1])) return 1;
    for (int s = plan->n_steps - 2; s >= 0; s--)
        if (backward_along(r, block->rows, s, v, &slots[s])) return 1;
    for (int s = plan->n_steps - 1; s >= 0; s--)
        if (parameters_along(r, block, s, &slots[s], accumulate, product)) return 1;
    return 0;
}

/* Of l1 sum |w| + l2 / 2 sum w^2, second derivatives l2 are left. */
static void penalties_along(const run *r, const void *v, void *product) {
    const nnc_plan *plan = r->plan;
    for (int s = 0; s < plan->n_steps; s++) {
        if (plan->tuning[s].l2 == 0) continue;
        const stored w = weights_of(plan, flat(plan), s);
        const nnc_shaping shaping = {0, plan->tuning[s].l2, INFINITY, 1, 1};
        plan->kernels->other->shape(w.rows * w.ld, element(r, v, w.at),
                                    (void *)element(r, product, w.at), &shaping);
    }
}

nnc_status nnc_hessian_product(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                               const void *v, double *loss, void *product, void *work,
                               nnc_poll poll, void *context) {
    const double count = weight_of(samples, 0, samples->rows) * averaged_per_row(plan);
    atomic_int stop = 0;
    if (plan->loss_call) return NNC_BAD_PLAN; /* it has no second derivative */
    run r =
        start(plan, theta, samples->rows, NNC_GRADIENT, plan->threads, work, poll, context, &stop);
    const slot_along *slots = lay_out_along(plan, rows_of_block(samples->rows), &r.f, work);
    double sum = 0;
    for (ptrdiff_t i = 0; i < samples->rows; i += NNC_BLOCK) {
        const nnc_samples b = block_of(&r, samples, i, rows_of_block(samples->rows - i));
        if (product_of_block(&r, &b, 1 / count, v, slots, i > 0, &sum, product)) return NNC_STOPPED;
    }
    if (is_penalised(plan)) penalties_along(&r, v, product);
    *loss = sum / count + penalties(&r);
    return NNC_OK;
}
