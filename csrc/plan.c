/* Runs a lowered network: an array of steps, walked up for the outputs and down for the gradient.
 *
 * Rows go through all steps in blocks of NNC_BLOCK, so memory is bounded by one block whatever the
 * batch, activations stay in cache, and a gradient summed over blocks is, bit for bit, the one of a
 * single sum (nnc_gemm's canonical order). Nothing is allocated: `lay_out` divides the caller's
 * workspace.
 *
 * Gradients are named after what they belong to: dz is the gradient of the loss with respect to
 * z = x W + b, and dx, dw, db with respect to x, W, b. */
#include <math.h>
#include <string.h>

#include "nnc.h"
#include "run.inc.h"
#include "update.inc.h"

#include "steps/layer.inc.h"

#include "steps/batch_norm.inc.h"
#include "steps/called.inc.h"
#include "steps/embedding.inc.h"
#include "steps/layer_norm.inc.h"
#include "steps/prelu.inc.h"
#include "steps/random.inc.h"
#include "steps/residual.inc.h"
#include "steps/scaling.inc.h"

/* A sample takes a quarter of a microsecond: here -O3 is worth 5 %. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(HOT_CODE)
#pragma GCC push_options
#pragma GCC optimize("O3")
#include "online.inc.h"
#pragma GCC pop_options
#else
#include "online.inc.h"
#endif

/* ---- the kinds of steps --------------------------------------------------------------------- */

/* What a kind of step does; each returns whether to stop. NULL: nothing.
 *
 * fits        whether sizes and offsets of step s are such that memory is safe
 * own         bytes of what it keeps for itself in its slot
 * forward     y from x
 * backward    dx from dz, unless dx is NULL; after forward, x the same
 * parameters  (+)= their gradient; after backward of all steps
 * of_row      the gradient of the parameters from row i of the block alone, whose input is x
 * settle      what changes with the parameters, when they have changed
 * ..._along   R y, R dx and R of the gradient, after the same without R: see derive.inc.h; backward
 *             only where there is a step below */
typedef struct {
    int (*fits)(const nnc_plan *plan, int s);
    size_t (*own)(const nnc_kernels *k, const nnc_step *step, ptrdiff_t rows);
    int (*forward)(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *y,
                   ptrdiff_t ldy);
    int (*backward)(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *dx,
                    ptrdiff_t lddx);
    int (*parameters)(run *r, int s, ptrdiff_t rows, const void *x, ptrdiff_t ldx, void *gradient,
                      int accumulate);
    void (*of_row)(const run *r, int s, ptrdiff_t i, const void *x, void *gradient);
    void (*settle)(run *r, int s);
    int (*forward_along)(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                         const slot_along *at);
    int (*backward_along)(run *r, int s, ptrdiff_t rows, const along_x *in, const void *v,
                          const slot_along *at, void *dx, void *rdx, ptrdiff_t lddx);
    int (*parameters_along)(run *r, int s, ptrdiff_t rows, const along_x *in, const slot_along *at,
                            void *product, int accumulate);
} step_kind;

static int dense_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    const ptrdiff_t n_params = plan->n_params;
    if (step->n_in > n_params / step->n_out) return 0; /* so the product cannot overflow */
    if (step->w < 0 || step->w > n_params - step->n_in * step->n_out) return 0;
    return step->b <= n_params - step->n_out;
}

/* Dense steps are run below: their activations are part of the products above and below them. */
static const step_kind kinds[NNC_N_STEPS] = {
    [NNC_STEP_dense] = {.fits = dense_fits},
    [NNC_STEP_dropout] = {.fits = dropout_fits,
                          .forward = draw_forward,
                          .backward = draw_backward,
                          .forward_along = copy_forward_along,
                          .backward_along = copy_backward_along},
    [NNC_STEP_noise] = {.fits = noise_fits,
                        .forward = draw_forward,
                        .backward = draw_backward,
                        .forward_along = copy_forward_along,
                        .backward_along = copy_backward_along},
    [NNC_STEP_batch_norm] = {.fits = batch_norm_fits,
                             .own = batch_norm_own,
                             .forward = batch_norm_forward,
                             .backward = batch_norm_backward,
                             .parameters = batch_norm_parameters,
                             .of_row = batch_norm_of_row,
                             .settle = batch_norm_settle,
                             .forward_along = batch_norm_forward_along,
                             .backward_along = batch_norm_backward_along,
                             .parameters_along = batch_norm_parameters_along},
    [NNC_STEP_layer_norm] = {.fits = layer_norm_fits,
                             .own = layer_norm_own,
                             .forward = layer_norm_forward,
                             .backward = layer_norm_backward,
                             .parameters = layer_norm_parameters,
                             .of_row = layer_norm_of_row,
                             .forward_along = layer_norm_forward_along,
                             .backward_along = layer_norm_backward_along,
                             .parameters_along = layer_norm_parameters_along},
    [NNC_STEP_prelu] = {.fits = prelu_fits,
                        .own = prelu_own,
                        .forward = prelu_forward,
                        .backward = prelu_backward,
                        .parameters = prelu_parameters,
                        .of_row = prelu_of_row,
                        .forward_along = prelu_forward_along,
                        .backward_along = prelu_backward_along,
                        .parameters_along = prelu_parameters_along},
    [NNC_STEP_embedding] = {.fits = embedding_fits,
                            .forward = embedding_forward,
                            .backward = embedding_backward,
                            .parameters = embedding_parameters,
                            .of_row = embedding_of_row,
                            .forward_along = embedding_forward_along,
                            .parameters_along = embedding_parameters_along},
    [NNC_STEP_fork] = {.fits = fork_fits,
                       .forward = fork_forward,
                       .backward = fork_backward,
                       .forward_along = copy_forward_along,
                       .backward_along = fork_backward_along},
    [NNC_STEP_add] = {.fits = add_fits,
                      .forward = add_forward,
                      .backward = add_backward,
                      .forward_along = add_forward_along,
                      .backward_along = copy_backward_along},
    [NNC_STEP_scaling] = {.fits = scaling_fits,
                          .own = scaling_own,
                          .forward = scaling_forward,
                          .backward = scaling_backward,
                          .forward_along = scaling_forward_along,
                          .backward_along = scaling_backward_along},
    [NNC_STEP_called] = {.fits = called_fits,
                         .forward = called_forward,
                         .backward = called_backward,
                         .forward_along = called_forward_along,
                         .backward_along = called_backward_along},
};

static size_t own_bytes(const nnc_plan *plan, const nnc_step *step, ptrdiff_t rows) {
    const step_kind *kind = &kinds[step->kind];
    return kind->own ? kind->own(plan->kernels, step, rows) : 0;
}

static int has_parameters(const nnc_step *step) {
    return step->kind == NNC_STEP_dense || kinds[step->kind].parameters != NULL;
}

/* ---- is it a network? ---------------------------------------------------------------------- */

static int step_fits(const nnc_plan *plan, int s) {
    const nnc_step *step = &plan->steps[s];
    if (step->kind < 0 || step->kind >= NNC_N_STEPS || step->n_in < 1 || step->n_out < 1) return 0;
    if (step->act < 0 || step->act > NNC_ACT_log_softmax) return 0;
    for (int p = 0; p < NNC_MAX_ACT_PARAMETERS; p++)
        if (!isfinite(step->act_a[p])) return 0;
    if (step->kind != NNC_STEP_dense && step->act != NNC_ACT_identity) return 0;
    return kinds[step->kind].fits(plan, s);
}

/* More than the arenas for so many rows: in double, which cannot overflow as their sizes could. */
static double most_bytes(const nnc_plan *plan, ptrdiff_t rows) {
    double width = 0;
    for (int s = 0; s < plan->n_steps; s++)
        width += (double)plan->steps[s].n_in + (double)plan->steps[s].n_out + 4 * NNC_ALIGN;
    return width * 8 * ((double)rows + 1) * (double)plan->kernels->size;
}

/* Whether a loss that starts from the raw scores knows what the step would make of them. */
static int fits_output(nnc_output output, const nnc_step *step) {
    switch (output) {
    case NNC_OUTPUT_sigmoid: return step->act == NNC_ACT_sigmoid && step->act_a[0] == 1;
    case NNC_OUTPUT_softmax: return of_whole_row(step->act);
    default: return 1;
    }
}

nnc_status nnc_plan_check(const nnc_plan *plan) {
    if (plan->kernels == NULL || plan->n_steps < 1 || plan->n_params < 1) return NNC_BAD_PLAN;
    if (plan->n_running < 0 || (plan->n_running > 0 && plan->running == NULL)) return NNC_BAD_PLAN;
    if (plan->loss < 0 || plan->loss >= NNC_N_LOSSES) return NNC_BAD_PLAN;
    for (int s = 0; s < plan->n_steps; s++) {
        if (!step_fits(plan, s)) return NNC_BAD_PLAN;
        if (s > 0 && plan->steps[s].n_in != plan->steps[s - 1].n_out) return NNC_BAD_PLAN;
        if (s < plan->n_steps - 1 && of_whole_row(plan->steps[s].act)) return NNC_BAD_PLAN;
    }
    if (most_bytes(plan, NNC_BLOCK) > (double)PTRDIFF_MAX) return NNC_BAD_PLAN;
    if (last_step(plan)->n_out % loss_info(plan)->per_target) return NNC_BAD_PLAN;
    return fits_output(loss_info(plan)->output, last_step(plan)) ? NNC_OK : NNC_BAD_PLAN;
}

/* ---- up: y = f(x W + b) ------------------------------------------------------------------ */

/* Runs all steps on rows of x. The last step's y goes to `out` if given; raw: its activation is
 * left to the loss. Returns whether to stop. */
static int forward(run *r, ptrdiff_t rows, const void *x, ptrdiff_t ldx, int raw, void *out,
                   ptrdiff_t ldo) {
    const nnc_plan *plan = r->plan;
    for (int s = 0; s < plan->n_steps; s++) {
        const nnc_step *step = &plan->steps[s];
        nnc_slot to = r->f.slots[s];
        const int act = step_act(plan, s, raw);
        void *y = to.y;
        ptrdiff_t ldy = to.ld;
        if (out && s == plan->n_steps - 1) {
            y = out, ldy = ldo;
            if (!keeps_x(act)) to.z = out, to.ld = ldo;
        }
        if (step->kind != NNC_STEP_dense) {
            if (kinds[step->kind].forward(r, s, rows, x, ldx, y, ldy)) return 1;
            x = y, ldx = ldy;
            continue;
        }
        nnc_gemm g = {.m = rows,
                      .n = step->n_out,
                      .k = step->n_in,
                      .a = x,
                      .a_row = ldx,
                      .a_col = 1,
                      .b = parameter(r, step->w),
                      .b_row = step->n_out,
                      .b_col = 1,
                      .c = to.z,
                      .ldc = to.ld,
                      .bias = parameter(r, step->b),
                      .arena = y != out};
        if (act != NNC_ACT_identity && !of_whole_row(act))
            g.act = act, g.act_a = step->act_a, g.y = y, g.ldy = ldy, g.keep = r->f.keeps;
        if (run_gemm(r, &g)) return 1;
        if (of_whole_row(act))
            (act == NNC_ACT_softmax ? plan->kernels->softmax : plan->kernels->log_softmax)(
                rows, step->n_out, to.z, to.ld, y, ldy);
        x = y;
        ldx = ldy;
    }
    return 0;
}

/* ---- the loss: its sum, and dz of the last step -------------------------------------------- */

/* The loss of rows first .. first + rows of a block that has been forward; scale: of its gradient.
 */
static nnc_loss_args loss_args(const run *r, const nnc_samples *block, ptrdiff_t first,
                               ptrdiff_t rows, double scale) {
    const nnc_slot *at = &r->f.slots[r->plan->n_steps - 1];
    return (nnc_loss_args){.rows = rows,
                           .n = last_step(r->plan)->n_out,
                           .y = (void *)element(r, fused(r->plan) ? at->z : at->y, first * at->ld),
                           .ldy = at->ld,
                           .t = element(r, block->t, first * block->ldt),
                           .ldt = block->ldt,
                           .labels = block->labels ? block->labels + first : NULL,
                           .dy = (void *)element(r, at->dz, first * at->ld),
                           .lddy = at->ld,
                           .scale = scale,
                           .a = r->plan->loss_a,
                           .b = r->plan->loss_b,
                           .most = r->plan->loss_most,
                           .weights = block->weights ? block->weights + first : NULL,
                           .masked = block->counts != NULL};
}

/* Adds the value to *sum, fills dy; returns whether to stop. */
static int add_loss(const run *r, const nnc_loss_args *g, double *sum) {
    const nnc_plan *plan = r->plan;
    double value = 0;
    if (plan->loss_call == NULL)
        value = plan->kernels->loss[plan->loss](g);
    else if (plan->loss_call(plan->loss_context, g, &value))
        return 1;
    *sum += value;
    return 0;
}

/* dz of the last step from its dy: nothing where the loss starts from z. */
static void output_slope(const run *r, ptrdiff_t rows) {
    const nnc_kernels *k = r->plan->kernels;
    const nnc_step *step = last_step(r->plan);
    const nnc_slot *at = &r->f.slots[r->plan->n_steps - 1];
    if (of_whole_row(step->act))
        (step->act == NNC_ACT_softmax ? k->softmax_slope : k->log_softmax_slope)(
            rows, step->n_out, at->y, at->ld, at->dz, at->ld, at->dz, at->ld);
    else if (step->act != NNC_ACT_identity)
        k->act_slope[step->act](rows * at->ld, keeps_x(step->act) ? at->z : at->y, at->dz, at->dz,
                                step->act_a);
}

/* Adds the loss of a block to *sum; and dz of the last step if there is a gradient to come. Returns
 * whether to stop. */
static int loss_of_block(const run *r, const nnc_samples *block, double scale, int with_gradient,
                         double *sum) {
    const nnc_loss_args g = loss_args(r, block, 0, block->rows, scale);
    if (add_loss(r, &g, sum)) return 1;
    if (with_gradient && !fused(r->plan)) output_slope(r, block->rows);
    return 0;
}

/* ---- down: dz of each step, then dW = x' dz and db = sum of dz ----------------------------- */

/* Through step s, which is not dense: dx, and with the slope of the step below its dz. */
static int backward_layer(run *r, ptrdiff_t rows, int s, const void *x, ptrdiff_t ldx,
                          int with_dx) {
    const nnc_step *step = &r->plan->steps[s], *below = step - (s > 0);
    const nnc_slot *at = &r->f.slots[s] - (s > 0);
    if (s > 0) x = at->y, ldx = at->ld;
    if (kinds[step->kind].backward(r, s, rows, x, ldx, with_dx ? at->dz : NULL, at->ld)) return 1;
    if (with_dx && below->act != NNC_ACT_identity)
        r->plan->kernels->act_slope[below->act](rows * at->ld, keeps_x(below->act) ? at->z : at->y,
                                                at->dz, at->dz, below->act_a);
    return 0;
}

/* dz of step s from that of the step above: dz W' there, times the slope here. */
static int backward_dz(run *r, ptrdiff_t rows, int s) {
    const nnc_step *step = &r->plan->steps[s], *above = step + 1;
    const nnc_slot *here = &r->f.slots[s], *from = here + 1;
    nnc_gemm dy = {.m = rows,
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
    if (step->act != NNC_ACT_identity) {
        dy.act = step->act, dy.act_a = step->act_a;
        dy.kept = keeps_x(step->act) ? here->z : here->y, dy.ld_kept = here->ld;
    }
    return run_gemm(r, &dy);
}

/* The gradient of step s's parameters. With an update, it is used up at once. */
static int backward_parameters(run *r, ptrdiff_t rows, int s, const void *x, ptrdiff_t ldx,
                               char *gradient, int accumulate, const nnc_update *update) {
    const nnc_kernels *k = r->plan->kernels;
    const nnc_step *step = &r->plan->steps[s];
    const nnc_slot *here = &r->f.slots[s];
    if (step->kind != NNC_STEP_dense) {
        if (kinds[step->kind].parameters(r, s, rows, s > 0 ? here[-1].y : x,
                                         s > 0 ? here[-1].ld : ldx, gradient, accumulate))
            return 1;
        if (update) update_step(r, flat(r->plan), s, update, gradient);
        return 0;
    }
    nnc_gemm dw = {.m = step->n_in,
                   .n = step->n_out,
                   .k = rows,
                   .a = s > 0 ? here[-1].y : x,
                   .a_row = 1,
                   .a_col = s > 0 ? here[-1].ld : ldx,
                   .b = here->dz,
                   .b_row = here->ld,
                   .b_col = 1,
                   .c = gradient + (size_t)step->w * k->size,
                   .ldc = step->n_out,
                   .accumulate = accumulate};
    if (update) dw.update = update_of(r, update, s, 0, step->w);
    if (run_gemm(r, &dw)) return 1;
    if (step->b < 0) return 0;
    void *db = gradient + (size_t)step->b * k->size;
    if (sum_rows(r, rows, step->n_out, here->dz, here->ld, db, accumulate)) return 1;
    if (update) {
        const nnc_update u = update_of(r, update, s, 1, step->b);
        apply_update(r, &u, step->n_out, db);
    }
    return 0;
}

/* dz of all steps from `lowest` on, from that of the last. */
static int down_to(run *r, ptrdiff_t rows, int lowest, const void *x, ptrdiff_t ldx) {
    for (int s = r->plan->n_steps - 1; s >= lowest; s--) {
        if (r->plan->steps[s].kind != NNC_STEP_dense) {
            if (backward_layer(r, rows, s, x, ldx, s > lowest)) return 1;
        } else if (s > lowest && backward_dz(r, rows, s - 1)) {
            return 1;
        }
    }
    return 0;
}

/* update: parameters as soon as their gradient is known; NULL: the gradient is kept. */
static int backward(run *r, ptrdiff_t rows, const void *x, ptrdiff_t ldx, char *gradient,
                    int accumulate, const nnc_update *update) {
    const nnc_step *steps = r->plan->steps;
    const int last = r->plan->n_steps - 1;
    int lowest = r->lowest; /* with parameters: what is below needs no gradient */
    while (lowest < last && !has_parameters(&steps[lowest])) lowest++;
    if (down_to(r, rows, lowest, x, ldx)) return 1;
    r->committed = update != NULL;
    for (int s = last; s >= lowest; s--)
        if (has_parameters(&steps[s]) && !is_frozen(r, s) &&
            backward_parameters(r, rows, s, x, ldx, gradient, accumulate, update))
            return 1;
    r->committed = 0;
    return 0;
}

/* ---- samples ---------------------------------------------------------------------------- */

/* The samples first .. first + rows as one contiguous block: gathered, or where they lie. */
static nnc_samples block_of(run *r, const nnc_samples *all, ptrdiff_t first, ptrdiff_t rows) {
    const nnc_kernels *k = r->plan->kernels;
    const ptrdiff_t n_in = r->plan->steps[0].n_in;
    nnc_samples b = {.rows = rows, .counts = all->counts};
    if (all->index == NULL) {
        b.x = row_of(all->x, all->ldx, first, k->size), b.ldx = all->ldx;
        b.t = row_of(all->t, all->ldt, first, k->size), b.ldt = all->ldt;
        b.labels = all->labels ? all->labels + first : NULL;
        b.weights = all->weights ? all->weights + first : NULL;
        return b;
    }
    const int64_t *index = all->index + first;
    gather(r, rows, n_in, index, all->x, all->ldx, r->f.x, r->f.ldx);
    b.x = r->f.x, b.ldx = r->f.ldx;
    if (all->labels) {
        for (ptrdiff_t i = 0; i < rows; i++) r->f.labels[i] = all->labels[index[i]];
        b.labels = r->f.labels;
    } else {
        gather(r, rows, n_targets(r->plan), index, all->t, all->ldt, r->f.t, r->f.ldt);
        b.t = r->f.t, b.ldt = r->f.ldt;
    }
    if (all->weights) {
        for (ptrdiff_t i = 0; i < rows; i++) r->f.weights[i] = all->weights[index[i]];
        b.weights = r->f.weights;
    }
    return b;
}

/* The sum of the weights, or of the counts, of samples first .. first + rows and those before. */
static double weight_of(const nnc_samples *all, ptrdiff_t first, ptrdiff_t rows) {
    const double *of_row = all->counts ? all->counts : all->weights;
    double sum = all->so_far ? all->so_far[1] : 0;
    if (of_row == NULL) return sum + (double)rows;
    for (ptrdiff_t i = first; i < first + rows; i++) sum += of_row[all->index ? all->index[i] : i];
    return sum;
}

/* Whether parameters are updated where their gradient is computed, while it is in cache: that must
 * not take longer than nothing may stop. */
static int updates_at_once(const run *r, ptrdiff_t rows) {
    const double n = (double)r->plan->n_params, lanes = r->plan->kernels->lanes;
    return is_large(r->plan) && 2 * n * (double)rows < (double)PART_WORK * lanes;
}

static void settle_all(run *r) {
    for (int s = 0; s < r->plan->n_steps; s++)
        if (kinds[r->plan->steps[s].kind].settle) kinds[r->plan->steps[s].kind].settle(r, s);
}

/* A block of few rows of a small network: adds its loss to *sum, and computes or adds to the
 * gradient. A first step that scales the inputs is done beside the others. Returns whether to stop.
 */
static int few_rows(run *r, const nnc_samples *block, double scale, char *gradient, int accumulate,
                    double *sum) {
    const nnc_plan *plan = r->plan;
    const int scaled = is_scaled(plan);
    const nnc_loss_args target = loss_args(r, block, 0, block->rows, scale);
    nnc_few few = {.steps = plan->steps + scaled,
                   .slots = r->f.slots + scaled,
                   .n_steps = plan->n_steps - scaled,
                   .theta = r->theta,
                   .x = block->x,
                   .ldx = block->ldx,
                   .gradient = gradient,
                   .work = r->f.gemm_work,
                   .accumulate = accumulate,
                   .raw = fused(plan),
                   .lowest = r->lowest - scaled,
                   .loss = plan->loss,
                   .target = &target};
    if (scaled) {
        const nnc_slot *to = r->f.slots;
        if (scaling_forward(r, 0, block->rows, block->x, block->ldx, to->y, to->ld)) return 1;
        few.x = to->y, few.ldx = to->ld;
    }
    *sum += plan->kernels->few(&few);
    return wants_stop(r, operations(plan, block->rows, NNC_TRAIN));
}

/* The mean loss over samples first .. first + rows and the penalties, its gradient unless NULL, and
 * the update unless NULL or the loss is not finite. clip_norm: of the gradient, 0: none. */
static nnc_status loss_and_gradient(run *r, const nnc_samples *all, ptrdiff_t first, ptrdiff_t rows,
                                    double *loss, char *gradient, const nnc_update *update,
                                    double clip_norm) {
    const nnc_plan *plan = r->plan;
    const double weight = weight_of(all, first, rows);
    const double count = all->counts ? weight : weight * averaged_per_row(plan);
    const int at_once = update && updates_at_once(r, rows) && clip_norm == 0;
    const int penalised = is_penalised(plan);
    const double extra = penalties(r);
    double sum = all->so_far ? all->so_far[0] : 0;
    for (ptrdiff_t i = 0; i < rows; i += r->f.block) {
        const ptrdiff_t size = rows - i < r->f.block ? rows - i : r->f.block;
        const int at_end = i + size == rows;
        r->first = i;
        const nnc_samples b = block_of(r, all, first + i, size);
        if (r->f.few) {
            if (few_rows(r, &b, 1 / count, gradient, i > 0, &sum)) return NNC_STOPPED;
        } else {
            if (forward(r, size, b.x, b.ldx, fused(plan), NULL, 0)) return NNC_STOPPED;
            if (loss_of_block(r, &b, 1 / count, gradient != NULL, &sum)) return NNC_STOPPED;
        }
        *loss = sum / count + extra;
        if (update && !isfinite(*loss)) return NNC_NOT_FINITE;
        if (gradient && !r->f.few &&
            backward(r, size, b.x, b.ldx, gradient, i > 0, at_end && at_once ? update : NULL))
            return NNC_STOPPED;
    }
    if (all->so_far) all->so_far[0] = sum, all->so_far[1] = weight;
    if (update && clip_norm > 0) clip_by_norm(r, flat(plan), update, gradient, clip_norm);
    if (update && !at_once && r->each)
        update_steps(r, flat(plan), update, gradient);
    else if (update && !at_once)
        update_range(r, update, plan->n_params, gradient);
    if (!update && gradient && penalised) add_penalty_gradient(r, flat(plan), r->theta, gradient);
    if (update) settle_all(r);
    return NNC_OK;
}

/* ---- the public runs -------------------------------------------------------------------- */

static run start(const nnc_plan *plan, const void *theta, ptrdiff_t rows, nnc_use use, int threads,
                 void *work, nnc_poll poll, void *context, atomic_int *stop) {
    return (run){.plan = plan,
                 .theta = theta,
                 .f = lay_out(plan, rows, use, threads, work),
                 .threads = threads == 1 ? 1 : threads_for(plan, operations(plan, rows, use)),
                 .poll = poll,
                 .context = context,
                 .work_left = WORK_PER_POLL,
                 .stop = stop};
}

/* Predictions of many rows are divided by rows, each part with a frame of its own; in those of few
 * rows, or where a function is called, products are divided. */
enum { MANY_ROWS = 32 };

static int predict_parts(const nnc_plan *plan, ptrdiff_t rows) {
    if (is_one_product(plan) || plan->act_call) return 1;
    const double work = operations(plan, rows, NNC_PREDICT);
    const int parts = parts_for(&(run){.plan = plan, .threads = threads_for(plan, work)}, work);
    return rows < (ptrdiff_t)MANY_ROWS * parts ? 1 : parts;
}

#include "landscape.inc.h"

size_t nnc_plan_work(const nnc_plan *plan, ptrdiff_t rows, nnc_use use) {
    const int parts = use == NNC_PREDICT ? predict_parts(plan, rows) : 1;
    if (most_bytes(plan, block_rows(plan, rows, use)) > (double)PTRDIFF_MAX)
        return SIZE_MAX; /* nobody has that */
    if (use == NNC_LANDSCAPE)
        return (size_t)threads_of_points(plan, rows) * work_per_part(plan, rows);
    const nnc_use keeps = use == NNC_HESSIAN ? NNC_GRADIENT : use;
    frame f = lay_out(plan, rows, keeps, parts > 1 ? 1 : plan->threads, NULL);
    if (use == NNC_HESSIAN) lay_out_along(plan, f.block, &f, NULL);
    return (size_t)parts * f.used;
}

typedef struct {
    const nnc_plan *plan;
    const void *theta, *x;
    ptrdiff_t ldx, rows, from, to; /* of all rows, those of this job */
    void *out;
    ptrdiff_t ldo;
    char *work;
    size_t work_per_part;
    nnc_poll poll;
    void *context;
    atomic_int stop;
} predict_job;

static void predict_part(void *context, int part, int parts) {
    predict_job *job = context;
    const nnc_plan *plan = job->plan;
    const ptrdiff_t unit = plan->kernels->tile_rows;
    const size_t size = plan->kernels->size;
    run r = start(plan, job->theta, job->rows, NNC_PREDICT, parts > 1 ? 1 : plan->threads,
                  job->work + (size_t)part * job->work_per_part, part == 0 ? job->poll : NULL,
                  job->context, &job->stop);
    r.sample = plan->sample, r.draw = plan->draw;
    const ptrdiff_t rows = job->to - job->from;
    const ptrdiff_t end = job->from + part_start(rows, unit, part + 1, parts);
    const ptrdiff_t most = is_one_product(plan) ? job->rows : NNC_BLOCK;
    for (ptrdiff_t i = job->from + part_start(rows, unit, part, parts); i < end; i += most) {
        const ptrdiff_t block = end - i < most ? end - i : most;
        char *to = (char *)job->out + (size_t)(i * job->ldo) * size;
        const void *from = row_of(job->x, job->ldx, i, size);
        r.first = i;
        if (forward(&r, block, from, job->ldx, 0, to, job->ldo)) return;
    }
}

nnc_status nnc_predict(const nnc_plan *plan, const void *theta, const void *x, ptrdiff_t ldx,
                       ptrdiff_t rows, void *out, ptrdiff_t ldo, void *work, nnc_poll poll,
                       void *context) {
    const int parts = predict_parts(plan, rows);
    predict_job job = {.plan = plan,
                       .theta = theta,
                       .x = x,
                       .ldx = ldx,
                       .rows = rows,
                       .out = out,
                       .ldo = ldo,
                       .work = work,
                       .work_per_part = nnc_plan_work(plan, rows, NNC_PREDICT) / (size_t)parts,
                       .poll = poll,
                       .context = context};
    /* Of the parts only the caller's own polls, and that may be done long before the others: so no
     * job is long, and there is a poll after each. */
    const double most = longest(plan) / 2 / (double)plan->n_params;
    const ptrdiff_t few = (ptrdiff_t)MANY_ROWS * parts;
    const ptrdiff_t each = parts == 1 || most > (double)rows ? rows
                           : most > (double)few              ? (ptrdiff_t)most
                                                             : few;
    for (; job.from < rows && !atomic_load(&job.stop); job.from = job.to) {
        job.to = rows - job.from < each ? rows : job.from + each;
        nnc_run_parts(predict_part, &job, parts, plan->spin);
        if (job.to < rows && poll != NULL && poll(context)) atomic_store(&job.stop, 1);
    }
    return atomic_load(&job.stop) ? NNC_STOPPED : NNC_OK;
}

nnc_status nnc_evaluate(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                        double *loss, void *gradient, void *work, nnc_poll poll, void *context) {
    atomic_int stop = 0;
    run r = start(plan, theta, samples->rows, gradient ? NNC_GRADIENT : NNC_EVALUATE, plan->threads,
                  work, poll, context, &stop);
    if ((samples->weights || samples->counts) && weight_of(samples, 0, samples->rows) == 0) {
        *loss = 0;
        if (gradient) memset(gradient, 0, (size_t)plan->n_params * plan->kernels->size);
        return NNC_OK;
    }
    return loss_and_gradient(&r, samples, 0, samples->rows, loss, gradient, NULL, 0);
}

nnc_status nnc_train(const nnc_plan *plan, void *theta, void *gradient, nnc_optimizer *optimizer,
                     const nnc_samples *samples, ptrdiff_t batch_size, double *losses,
                     ptrdiff_t *steps_done, void *work, nnc_poll poll, void *context) {
    const ptrdiff_t largest = samples->rows < batch_size ? samples->rows : batch_size;
    double coef[NNC_MAX_COEF];
    nnc_update update = {plan->kernels->update[optimizer->opt], theta, {NULL}, coef, NULL};
    memcpy(update.state, optimizer->state, sizeof update.state);
    atomic_int stop = 0;
    run r = start(plan, theta, largest, NNC_TRAIN, plan->threads, work, poll, context, &stop);
    *steps_done = 0;
    if (normalizes_batches(plan) && samples->rows > 0 &&
        (batch_size == 1 || samples->rows % batch_size == 1))
        return NNC_BAD_PLAN;
    if (is_tuned(plan, optimizer)) r.each = r.f.each;
    r.lowest = lowest_trained(&r);
    const int64_t before = optimizer->updates;
    r.training = 1;
    /* For one row alone, going wide and back takes longer than it saves, if there is a state. */
    if (r.f.wide.n > 0 && (samples->rows > 1 || optimizer->state[0] == NULL))
        return train_wide(&r, optimizer, &update, coef, samples, losses, steps_done);
    for (ptrdiff_t i = 0; i < samples->rows; i += batch_size) {
        const ptrdiff_t rows = samples->rows - i < batch_size ? samples->rows - i : batch_size;
        if (weight_of(samples, i, rows) == 0) {
            losses[(*steps_done)++] = 0;
            continue;
        }
        prepare_update(&r, optimizer, before, coef);
        r.draw = optimizer->drawn;
        const nnc_status status = loss_and_gradient(&r, samples, i, rows, losses + *steps_done,
                                                    gradient, &update, optimizer->clip_norm);
        if (status != NNC_OK) return status;
        finish_update(&r, flat(plan), optimizer, theta, optimizer->average, plan->n_params);
        ++*steps_done;
        if (wants_stop(&r, 10.0 * (double)plan->n_params)) return NNC_STOPPED;
    }
    return NNC_OK;
}

#include "derive.inc.h"
