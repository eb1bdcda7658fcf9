/* Part of plan.c: online learning in a small network, one sample after the other by kernels->row.
 *
 * For the length of a run, parameters and the optimizer's vectors are wide: copied to rows of whole
 * vectors, so that what was stored as a vector is loaded as that vector. Bits are those of
 * nnc_train in batches of one. What a small network is, and how wide, is said in run.inc.h. */
#include <math.h>
#include <string.h>

#include "nnc.h"

static void copy_row(void *flat, void *at, size_t bytes, int back) {
    memcpy(back ? flat : at, back ? at : flat, bytes);
}

/* Copies a vector of parameters to its wide form, or back. */
static void copy_wide(const nnc_plan *plan, const wide_vectors *w, char *flat, char *at, int back) {
    const size_t size = plan->kernels->size;
    if (!back) memset(at, 0, (size_t)w->n * size);
    for (int s = 0; s < plan->n_steps; s++) {
        const nnc_step *from = &plan->steps[s], *to = &w->steps[s];
        const ptrdiff_t rows = wide_rows(from), n = from->n_in * from->n_out / rows;
        const size_t ld = (size_t)whole_vectors(plan, n) * size, bytes = (size_t)n * size;
        for (ptrdiff_t i = 0; i < rows; i++)
            copy_row(flat + (size_t)from->w * size + (size_t)i * bytes,
                     at + (size_t)to->w * size + (size_t)i * ld, bytes, back);
        if (from->b >= 0)
            copy_row(flat + (size_t)from->b * size, at + (size_t)to->b * size,
                     (size_t)from->n_out * size, back);
    }
}

static void copy_all_wide(const nnc_plan *plan, const wide_vectors *w, const nnc_update *update,
                          const nnc_optimizer *optimizer, int back) {
    copy_wide(plan, w, update->theta, w->theta, back);
    if (optimizer->average) copy_wide(plan, w, optimizer->average, w->average, back);
    for (int v = 0; v < NNC_MAX_VECTORS; v++)
        if (update->state[v]) copy_wide(plan, w, update->state[v], w->state[v], back);
}

/* Lays the wide vectors out, and clears what is between the rows there. */
static void start_wide(const run *r, const wide_vectors *w) {
    const nnc_plan *plan = r->plan;
    ptrdiff_t at = 0;
    for (int s = 0; s < plan->n_steps; s++) {
        const nnc_step *from = &plan->steps[s];
        nnc_step *to = &w->steps[s];
        *to = *from;
        to->w = at;
        at += wide_weights(plan, from);
        if (from->b >= 0) to->b = at, at += whole_vectors(plan, from->n_out);
        memset(r->f.slots[s].dz, 0, (size_t)r->f.slots[s].ld * plan->kernels->size);
    }
    memset(w->gradient, 0, (size_t)w->n * plan->kernels->size);
}

/* scaled: how the inputs are scaled, or NULL. */
static nnc_status rows_of_wide(run *r, const wide_vectors *w, nnc_optimizer *optimizer,
                               const nnc_update *update, double *coef, const nnc_samples *samples,
                               nnc_layer_args *scaled, double *losses, ptrdiff_t *steps_done) {
    const nnc_plan *plan = r->plan;
    const nnc_kernels *k = plan->kernels;
    const nnc_slot *top = &r->f.slots[plan->n_steps - 1];
    const double per_row = averaged_per_row(plan);
    const int64_t before = optimizer->updates;
    const placing place = {w->steps, 1};
    const int penalised = is_penalised(plan);
    nnc_update in_place = *update;
    in_place.theta = w->theta;
    memcpy(in_place.state, w->state, sizeof in_place.state);
    nnc_loss_args target = {.rows = 1,
                            .n = last_step(plan)->n_out,
                            .y = fused(plan) ? top->z : top->y,
                            .dy = top->dz,
                            .scale = 1 / per_row,
                            .a = plan->loss_a,
                            .b = plan->loss_b,
                            .masked = samples->counts != NULL,
                            .most = plan->loss_most};
    nnc_row row = {.steps = w->steps,
                   .slots = r->f.slots,
                   .n_steps = plan->n_steps,
                   .theta = w->theta,
                   .gradient = w->gradient,
                   .raw = fused(plan),
                   .lowest = r->lowest,
                   .loss = plan->loss,
                   .target = &target};
    for (ptrdiff_t step = 0; step < samples->rows; step++) {
        const ptrdiff_t i = samples->index ? samples->index[step] : step;
        row.x = row_of(samples->x, samples->ldx, i, k->size);
        if (scaled) {
            scaled->x = row.x;
            k->other->scaling(scaled);
            row.x = scaled->y;
        }
        target.t = row_of(samples->t, samples->ldt, i, k->size);
        target.labels = samples->labels ? samples->labels + i : NULL;
        double count = per_row;
        if (samples->weights) {
            target.weights = samples->weights + i;
            count *= *target.weights;
        }
        if (samples->counts) count = samples->counts[i];
        target.scale = 1 / count;
        if (count == 0) {
            losses[step] = 0, ++*steps_done;
            continue;
        }
        prepare_update(r, optimizer, before, coef);
        losses[step] = k->row(&row) / count;
        if (penalised) losses[step] += penalty(r, place, w->theta);
        if (!isfinite(losses[step])) return NNC_NOT_FINITE;
        if (optimizer->clip_norm > 0)
            clip_by_norm(r, place, &in_place, w->gradient, optimizer->clip_norm);
        if (r->each)
            update_steps(r, place, &in_place, w->gradient);
        else
            update->rule(w->n, w->theta, w->gradient, w->state, coef);
        finish_update(r, place, optimizer, w->theta, optimizer->average ? w->average : NULL, w->n);
        ++*steps_done;
        /* Who is polled may look at the parameters, and change them. */
        const double operations = 10.0 * (double)plan->n_params;
        const int seen = will_poll(r, operations);
        if (seen) copy_all_wide(plan, w, update, optimizer, 1);
        if (wants_stop(r, operations)) return NNC_STOPPED;
        if (seen) copy_all_wide(plan, w, update, optimizer, 0);
    }
    return NNC_OK;
}

/* As nnc_train in batches of one, and the same bits. A first step that scales the inputs is done
 * beside the plan. */
static nnc_status train_wide(run *r, nnc_optimizer *optimizer, const nnc_update *update,
                             double *coef, const nnc_samples *samples, double *losses,
                             ptrdiff_t *steps_done) {
    const wide_vectors *w = &r->f.wide;
    const nnc_plan above = above_scaling(r->plan);
    const int beside = is_scaled(r->plan);
    nnc_layer_args scaled;
    if (beside) scaled = scaling_args(r, 0, 1, NULL, 0, r->f.slots[0].y, 0);
    r->plan = &above;
    r->f.slots += beside, r->lowest -= beside;
    start_wide(r, w);
    copy_all_wide(&above, w, update, optimizer, 0);
    const nnc_status status = rows_of_wide(r, w, optimizer, update, coef, samples,
                                           beside ? &scaled : NULL, losses, steps_done);
    copy_all_wide(&above, w, update, optimizer, 1);
    return status;
}
