/* Part of plan.c: what an update is beyond one rule for all parameters. Each step with its own
 * rate, penalties, decay, clipping, limited columns, or none of it if it is frozen; and the average
 * of the parameters.
 *
 * It is done to vectors as theta is laid out, and to the wide ones of a small network with the same
 * bits: a `placing` says where a step's parameters lie. Sums for norms run row by row of W. */
#include <math.h>

#include "nnc.h"

typedef struct {
    const nnc_step *steps; /* with w and b as offsets there */
    int wide;              /* rows in whole vectors, padded with zeros */
} placing;

static placing flat(const nnc_plan *plan) { return (placing){plan->steps, 0}; }

/* W, or what another kind of step has from w on, as the matrix that it is stored as. */
typedef struct {
    ptrdiff_t at, rows, n, ld;
} stored;

static stored weights_of(const nnc_plan *plan, placing p, int s) {
    const nnc_step *step = &p.steps[s];
    if (step->kind != NNC_STEP_dense) return (stored){step->w, 1, n_weights(step), n_weights(step)};
    const ptrdiff_t rows = wide_rows(step), n = step->n_in * step->n_out / rows;
    return (stored){step->w, rows, n, p.wide ? whole_vectors(plan, n) : n};
}

static ptrdiff_t size_of_biases(const nnc_plan *plan, placing p, int s) {
    const nnc_step *step = &p.steps[s];
    return step->b < 0 ? 0 : p.wide ? whole_vectors(plan, step->n_out) : step->n_out;
}

/* ---- penalties ---------------------------------------------------------------------------- */

static int is_penalised(const nnc_plan *plan) {
    if (plan->tuning)
        for (int s = 0; s < plan->n_steps; s++)
            if (plan->tuning[s].l1 != 0 || plan->tuning[s].l2 != 0) return 1;
    return 0;
}

/* The sums of |x| and x^2 of a matrix in a vector, in blocks of rows. After each there is a poll,
 * but not where the caller's vectors are behind the wide ones. */
static void add_norms(run *r, placing p, stored m, const void *vector, double *sums) {
    for (ptrdiff_t i = 0; i < m.rows; i += NNC_BLOCK) {
        const ptrdiff_t rows = m.rows - i < NNC_BLOCK ? m.rows - i : NNC_BLOCK;
        double part[2];
        r->plan->kernels->other->norms(rows, m.n, element(r, vector, m.at + i * m.ld), m.ld, part);
        sums[0] += part[0], sums[1] += part[1];
        if (!p.wide) wants_stop(r, 2.0 * (double)rows * (double)m.n);
    }
}

static double penalty(run *r, placing p, const void *theta) {
    const nnc_plan *plan = r->plan;
    double sum = 0;
    if (!is_penalised(plan)) return 0;
    for (int s = 0; s < plan->n_steps; s++) {
        const nnc_tuning *t = &plan->tuning[s];
        if (t->l1 == 0 && t->l2 == 0) continue;
        double sums[2] = {0, 0};
        add_norms(r, p, weights_of(plan, p, s), theta, sums);
        sum += t->l1 * sums[0] + t->l2 / 2 * sums[1];
    }
    return sum;
}

static double penalties(run *r) { return penalty(r, flat(r->plan), r->theta); }

static void add_penalty_gradient(const run *r, placing p, const void *theta, void *gradient) {
    const nnc_plan *plan = r->plan;
    for (int s = 0; s < plan->n_steps; s++) {
        const nnc_tuning *t = &plan->tuning[s];
        if ((t->l1 == 0 && t->l2 == 0) || (r->each && t->frozen)) continue;
        const stored w = weights_of(plan, p, s);
        const nnc_shaping shaping = {t->l1, t->l2, INFINITY, 1, 1};
        plan->kernels->other->shape(w.rows * w.ld, element(r, theta, w.at),
                                    (void *)element(r, gradient, w.at), &shaping);
    }
}

/* ---- one update, step by step --------------------------------------------------------------- */

static int is_tuned(const nnc_plan *plan, const nnc_optimizer *o) {
    return plan->tuning != NULL || o->decay != 0 || o->clip_norm != 0 || o->clip_value != 0;
}

static nnc_tuning tuning_of(const nnc_plan *plan, int s) {
    return plan->tuning ? plan->tuning[s] : (nnc_tuning){.rate = 1};
}

static int is_frozen(const run *r, int s) { return r->each && tuning_of(r->plan, s).frozen; }

/* Whether step s has parameters that are not frozen. */
static int is_trained(const run *r, int s) {
    return n_weights(&r->plan->steps[s]) > 0 && !is_frozen(r, s);
}

/* The first step that is trained; n_steps if none is. */
static int lowest_trained(const run *r) {
    int s = 0;
    while (s < r->plan->n_steps && !is_trained(r, s)) s++;
    return s;
}

/* The coefficients of the next update: of all, and of each step where they differ. before: updates
 * that were done when the run began. */
static void prepare_update(run *r, const nnc_optimizer *o, int64_t before, double *coef) {
    double hyper[NNC_MAX_COEF];
    for (int i = 0; i < nnc_opts[o->opt].n_hyper; i++) hyper[i] = o->hyper[i];
    if (o->rates) hyper[0] = o->rates[o->updates - before];
    const double rate = hyper[0], limit = o->clip_value > 0 ? o->clip_value : INFINITY;
    if (r->each == NULL) {
        nnc_opt_coefficients(o->opt, hyper, o->updates + 1, coef);
        return;
    }
    for (int s = 0; s < r->plan->n_steps; s++) {
        const nnc_tuning t = tuning_of(r->plan, s);
        step_update *u = &r->each[s];
        hyper[0] = rate * t.rate;
        nnc_opt_coefficients(o->opt, hyper, o->updates + 1, u->coef);
        const double decay = r->plan->steps[s].kind == NNC_STEP_dense ? hyper[0] * o->decay : 0;
        u->weights = (nnc_shaping){t.l1, t.l2, limit, 1, 1 - decay};
        u->biases = (nnc_shaping){0, 0, limit, 1, 1};
    }
}

/* The update of W or b of step s, n elements from `at` on. */
static nnc_update update_of(const run *r, const nnc_update *all, int s, int biases, ptrdiff_t at) {
    nnc_update u = update_at(r, all, at);
    if (r->each) {
        u.coef = r->each[s].coef;
        u.shaping = biases ? &r->each[s].biases : &r->each[s].weights;
    }
    return u;
}

/* Scales the gradient with the penalties in it, or rather has it scaled, to the largest norm. The
 * penalties are then done. */
static void clip_by_norm(run *r, placing p, const nnc_update *all, void *gradient, double most) {
    const nnc_plan *plan = r->plan;
    double sums[2] = {0, 0};
    if (is_penalised(plan)) add_penalty_gradient(r, p, all->theta, gradient);
    for (int s = 0; s < plan->n_steps; s++) {
        if (!is_trained(r, s)) continue;
        const ptrdiff_t n = size_of_biases(plan, p, s);
        add_norms(r, p, weights_of(plan, p, s), gradient, sums);
        if (n > 0) add_norms(r, p, (stored){p.steps[s].b, 1, n, n}, gradient, sums);
    }
    const double norm = sqrt(sums[1]), scale = norm > most ? most / norm : 1;
    for (int s = 0; s < plan->n_steps; s++) {
        step_update *u = &r->each[s];
        u->weights.l1 = u->weights.l2 = 0;
        u->weights.scale = u->biases.scale = scale;
    }
}

/* One step's parameters. */
static void update_step(const run *r, placing p, int s, const nnc_update *all, void *gradient) {
    const stored w = weights_of(r->plan, p, s);
    const nnc_update of_w = update_of(r, all, s, 0, w.at);
    update_range(r, &of_w, w.rows * w.ld, (void *)element(r, gradient, w.at));
    const ptrdiff_t n = size_of_biases(r->plan, p, s), b = p.steps[s].b;
    if (n == 0) return;
    const nnc_update of_b = update_of(r, all, s, 1, b);
    update_range(r, &of_b, n, (void *)element(r, gradient, b));
}

static void update_steps(const run *r, placing p, const nnc_update *all, void *gradient) {
    for (int s = 0; s < r->plan->n_steps; s++)
        if (is_trained(r, s)) update_step(r, p, s, all, gradient);
}

/* ---- after it --------------------------------------------------------------------------- */

typedef struct {
    const run *r;
    ptrdiff_t rows, n, ld;
    void *w;
    double limit;
} limit_job;

static void limit_part(void *context, int part, int parts) {
    const limit_job *job = context;
    const ptrdiff_t unit = NNC_ALIGN / (ptrdiff_t)job->r->plan->kernels->size;
    const ptrdiff_t from = part_start(job->n, unit, part, parts);
    job->r->plan->kernels->other->limit_columns(
        job->rows, part_start(job->n, unit, part + 1, parts) - from,
        (void *)element(job->r, job->w, from), job->ld, job->limit);
}

static void limit_norms(run *r, placing p, void *theta) {
    enum { PIECE_COLS = 512 };
    for (int s = 0; s < r->plan->n_steps; s++) {
        const nnc_step *step = &p.steps[s];
        const double limit = tuning_of(r->plan, s).max_norm;
        if (limit == 0 || step->kind != NNC_STEP_dense || is_frozen(r, s)) continue;
        const ptrdiff_t ld = step->n_out == 1 ? 1 : weights_of(r->plan, p, s).ld;
        for (ptrdiff_t j = 0; j < step->n_out; j += PIECE_COLS) {
            const ptrdiff_t n = step->n_out - j < PIECE_COLS ? step->n_out - j : PIECE_COLS;
            limit_job job = {r, step->n_in, n, ld, (void *)element(r, theta, step->w + j), limit};
            const double operations = 2.0 * WORK_PER_UPDATED * (double)step->n_in * (double)n;
            nnc_run_parts(limit_part, &job, parts_for(r, operations), r->plan->spin);
            if (!p.wide) wants_stop(r, operations);
        }
    }
}

/* Ends an update: columns of W that are too long, and the average, of n parameters. */
static void finish_update(run *r, placing p, nnc_optimizer *o, void *theta, void *average,
                          ptrdiff_t n) {
    r->committed = 1;
    if (r->each) limit_norms(r, p, theta);
    if (average) {
        const double weight = o->averaged ? o->weight : 1;
        const nnc_update u = {r->plan->kernels->other->average, average, {NULL}, &weight, NULL};
        update_range(r, &u, n, theta);
        ++o->averaged;
    }
    ++o->updates;
    ++o->drawn;
    r->committed = 0;
}
