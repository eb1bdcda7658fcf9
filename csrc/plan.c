/* Runs a lowered network: an array of steps, walked up for the outputs and down for the gradient.
 *
 * Rows go through all steps in blocks of NNC_BLOCK, so memory is bounded by one block whatever the
 * batch, activations stay in cache, and a gradient summed over blocks is, bit for bit, the one of a
 * single sum (nnc_gemm's canonical order). Nothing is allocated: `frame` lays out the caller's
 * workspace.
 *
 * Gradients are named after what they belong to: dz is the gradient of the loss with respect to
 * z = x W + b, and dx, dw, db with respect to x, W, b. */
#include <math.h>
#include <string.h>

#include "nnc.h"

/* ---- what a plan is made of ------------------------------------------------------------- */

static const nnc_step *last_step(const nnc_plan *plan) { return &plan->steps[plan->n_steps - 1]; }

static int fused(const nnc_plan *plan) { return nnc_losses[plan->loss].output != NNC_OUTPUT_ANY; }

/* The activation that step s applies: none where the loss starts from the raw scores. */
static int step_act(const nnc_plan *plan, int s, int raw) {
    return raw && s == plan->n_steps - 1 ? NNC_ACT_identity : plan->steps[s].act;
}

static int keeps_x(int act) { return act == NNC_ACT_softmax || nnc_acts[act].keeps == NNC_KEEPS_X; }

static int step_fits(const nnc_step *step, ptrdiff_t n_params) {
    if (step->kind != NNC_STEP_dense || step->n_in < 1 || step->n_out < 1) return 0;
    if (step->act < 0 || step->act > NNC_ACT_softmax) return 0;
    if (step->n_in > n_params / step->n_out) return 0; /* so the product cannot overflow */
    if (step->w < 0 || step->w > n_params - step->n_in * step->n_out) return 0;
    return step->b <= n_params - step->n_out;
}

nnc_status nnc_plan_check(const nnc_plan *plan) {
    if (plan->kernels == NULL || plan->n_steps < 1 || plan->n_params < 1) return NNC_BAD_PLAN;
    if (plan->loss < 0 || plan->loss >= NNC_N_LOSSES) return NNC_BAD_PLAN;
    double width = 0; /* in double, which cannot overflow as the sizes of the arenas could */
    for (int s = 0; s < plan->n_steps; s++) {
        if (!step_fits(&plan->steps[s], plan->n_params)) return NNC_BAD_PLAN;
        width += (double)plan->steps[s].n_in + (double)plan->steps[s].n_out + 4 * NNC_ALIGN;
        if (s > 0 && plan->steps[s].n_in != plan->steps[s - 1].n_out) return NNC_BAD_PLAN;
        if (s < plan->n_steps - 1 && plan->steps[s].act == NNC_ACT_softmax) return NNC_BAD_PLAN;
    }
    if (width * 8 * NNC_BLOCK * (double)plan->kernels->size > (double)PTRDIFF_MAX)
        return NNC_BAD_PLAN;
    const nnc_output output = nnc_losses[plan->loss].output;
    const int act = last_step(plan)->act;
    if (output == NNC_OUTPUT_sigmoid && act != NNC_ACT_sigmoid) return NNC_BAD_PLAN;
    if (output == NNC_OUTPUT_softmax && act != NNC_ACT_softmax) return NNC_BAD_PLAN;
    return NNC_OK;
}

/* ---- the workspace ---------------------------------------------------------------------- */

/* Elements from row to row of an arena: whole NNC_ALIGN bytes, and not a multiple of 1 KB, for
 * rows a power of two apart share their cache sets. */
static ptrdiff_t arena_ld(const nnc_kernels *k, ptrdiff_t n) {
    const ptrdiff_t pad = NNC_ALIGN / (ptrdiff_t)k->size;
    const ptrdiff_t ld = (n + pad - 1) / pad * pad;
    return ld * (ptrdiff_t)k->size % 1024 ? ld : ld + pad;
}

/* What a step leaves for the next and for its own way back: z = x W + b and y = f(z). They are the
 * same memory unless the slope of f is written in z. */
typedef struct {
    void *z, *y;
    ptrdiff_t ld;
} slot;

/* The workspace of one block of rows. */
typedef struct {
    slot *slots;
    void *gemm_work;
    void *x, *t; /* gathered rows, where an index is given */
    int64_t *labels;
    ptrdiff_t ldx, ldt;
    void *d[2]; /* gradients on their way down, in turns */
    size_t used;
} frame;

static void *take(frame *f, char *work, size_t bytes) {
    void *p = work ? work + f->used : NULL;
    f->used += (bytes + NNC_ALIGN - 1) / NNC_ALIGN * NNC_ALIGN;
    return p;
}

/* Lays the workspace out for blocks of `rows` rows; with work == NULL it only counts the bytes.
 * Without training nothing is kept: the steps' outputs take turns in two arenas. */
static frame lay_out(const nnc_plan *plan, ptrdiff_t rows, int training, char *work) {
    const nnc_kernels *k = plan->kernels;
    const ptrdiff_t n_in = plan->steps[0].n_in, n_out = last_step(plan)->n_out;
    const size_t row_bytes = (size_t)rows * k->size;
    frame f = {.ldx = arena_ld(k, n_in), .ldt = arena_ld(k, n_out)};
    f.slots = take(&f, work, (size_t)plan->n_steps * sizeof(slot));
    f.gemm_work = take(&f, work, k->gemm_work);
    f.x = take(&f, work, row_bytes * (size_t)f.ldx);
    f.t = take(&f, work, row_bytes * (size_t)f.ldt);
    f.labels = take(&f, work, (size_t)rows * sizeof(int64_t));

    ptrdiff_t widest = 0;
    for (int s = 0; s < plan->n_steps; s++) {
        const ptrdiff_t ld = arena_ld(k, plan->steps[s].n_out);
        if (ld > widest) widest = ld;
    }
    const size_t wide = row_bytes * (size_t)widest;
    for (int turn = 0; turn < 2; turn++) f.d[turn] = take(&f, work, wide);
    void *turns[2] = {NULL, NULL}, *z = NULL;
    if (!training) {
        for (int turn = 0; turn < 2; turn++) turns[turn] = take(&f, work, wide);
        z = take(&f, work, wide);
    }
    for (int s = 0; s < plan->n_steps; s++) {
        const ptrdiff_t ld = arena_ld(k, plan->steps[s].n_out);
        const size_t bytes = row_bytes * (size_t)ld;
        const int apart = keeps_x(plan->steps[s].act);
        void *y = training ? take(&f, work, bytes) : turns[s % 2];
        void *kept = !apart ? y : training ? take(&f, work, bytes) : z;
        if (work) f.slots[s] = (slot){.z = kept, .y = y, .ld = ld};
    }
    return f;
}

size_t nnc_plan_work(const nnc_plan *plan, ptrdiff_t rows, int training) {
    return lay_out(plan, rows < NNC_BLOCK ? rows : NNC_BLOCK, training, NULL).used;
}

/* ---- one run: a plan, its parameters and a caller who may want to stop -------------------- */

typedef struct {
    const nnc_plan *plan;
    const char *theta;
    frame f;
    nnc_poll poll;
    void *context;
    double work_left; /* operations until the next poll */
} run;

enum { WORK_PER_POLL = 4000000, WORK_PER_CALL = 4000 }; /* operations: about 50 us, and 50 ns */

static int wants_stop(run *r, double operations) {
    if ((r->work_left -= operations + WORK_PER_CALL) > 0) return 0;
    r->work_left = WORK_PER_POLL;
    return r->poll != NULL && r->poll(r->context);
}

static const void *element(const run *r, const void *at, ptrdiff_t offset) {
    return at ? (const char *)at + offset * (ptrdiff_t)r->plan->kernels->size : NULL;
}

static const void *parameter(const run *r, ptrdiff_t offset) {
    return offset < 0 ? NULL : element(r, r->theta, offset);
}

/* The part of a product in rows i .. i + m and columns j .. j + n. */
static nnc_gemm part(const run *r, const nnc_gemm *g, ptrdiff_t i, ptrdiff_t m, ptrdiff_t j,
                     ptrdiff_t n) {
    nnc_gemm p = *g;
    p.m = m, p.n = n;
    p.a = element(r, g->a, i * g->a_row);
    p.b = element(r, g->b, j * g->b_col);
    p.c = (void *)element(r, g->c, i * g->ldc + j);
    p.y = (void *)element(r, g->y, i * g->ldy + j);
    p.kept = element(r, g->kept, i * g->ld_kept + j);
    p.bias = element(r, g->bias, j);
    return p;
}

/* Runs a product, a long one in parts of some 50 ms at most; returns whether to stop. A part has a
 * multiple of the columns that a kernel packs at a time, and many rows, so little is packed twice.
 */
static int run_gemm(run *r, nnc_gemm *g) {
    enum { PART_COLS = 512, PART_ROWS = 64, PART_WORK = 300000000 /* operations for each lane */ };
    const double per_element = 2.0 * (double)g->k;
    const double whole = per_element * (double)g->m * (double)g->n;
    const double usual = (double)PART_WORK * r->plan->kernels->lanes;
    const double most = r->plan->longest > 0 ? r->plan->longest : usual;
    g->work = r->f.gemm_work;
    if (whole <= most) {
        r->plan->kernels->gemm(g);
        return wants_stop(r, whole);
    }
    ptrdiff_t rows = (ptrdiff_t)(most / (per_element * PART_COLS));
    if (rows < PART_ROWS) rows = PART_ROWS;
    for (ptrdiff_t j = 0; j < g->n; j += PART_COLS)
        for (ptrdiff_t i = 0; i < g->m; i += rows) {
            const ptrdiff_t m = g->m - i < rows ? g->m - i : rows;
            const ptrdiff_t n = g->n - j < PART_COLS ? g->n - j : PART_COLS;
            const nnc_gemm p = part(r, g, i, m, j, n);
            r->plan->kernels->gemm(&p);
            if (wants_stop(r, per_element * (double)m * (double)n)) return 1;
        }
    return 0;
}

/* ---- up: y = f(x W + b) ------------------------------------------------------------------ */

/* Runs all steps on rows of x. The last step's y goes to `out` if given; raw: its activation is
 * left to the loss. Returns whether to stop. */
static int forward(run *r, ptrdiff_t rows, const void *x, ptrdiff_t ldx, int raw, void *out,
                   ptrdiff_t ldo) {
    const nnc_plan *plan = r->plan;
    for (int s = 0; s < plan->n_steps; s++) {
        const nnc_step *step = &plan->steps[s];
        slot to = r->f.slots[s];
        const int act = step_act(plan, s, raw);
        void *y = to.y;
        ptrdiff_t ldy = to.ld;
        if (out && s == plan->n_steps - 1) {
            y = out, ldy = ldo;
            if (!keeps_x(act)) to = (slot){out, out, ldo};
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
        if (act != NNC_ACT_identity && act != NNC_ACT_softmax)
            g.act = act, g.act_a = step->act_a, g.y = y, g.ldy = ldy;
        if (run_gemm(r, &g)) return 1;
        if (act == NNC_ACT_softmax) plan->kernels->softmax(rows, step->n_out, to.z, to.ld, y, ldy);
        x = y;
        ldx = ldy;
    }
    return 0;
}

/* ---- the loss: its sum, and dz of the last step in d[0] ----------------------------------- */

static double loss_of_block(run *r, ptrdiff_t rows, const void *t, ptrdiff_t ldt,
                            const int64_t *labels, double scale, int with_gradient) {
    const nnc_plan *plan = r->plan;
    const nnc_kernels *k = plan->kernels;
    const nnc_step *step = last_step(plan);
    const slot at = r->f.slots[plan->n_steps - 1];
    nnc_loss_args g = {.rows = rows,
                       .n = step->n_out,
                       .y = fused(plan) ? at.z : at.y,
                       .ldy = at.ld,
                       .t = t,
                       .ldt = ldt,
                       .labels = labels,
                       .dy = r->f.d[0],
                       .lddy = at.ld,
                       .scale = scale};
    const double sum = k->loss[plan->loss](&g);
    if (!with_gradient || fused(plan)) return sum;
    if (step->act == NNC_ACT_softmax)
        k->softmax_slope(rows, step->n_out, at.y, at.ld, g.dy, at.ld, g.dy, at.ld);
    else if (step->act != NNC_ACT_identity)
        k->act_slope[step->act](rows * at.ld, keeps_x(step->act) ? at.z : at.y, g.dy, g.dy,
                                step->act_a);
    return sum;
}

/* ---- down: dW = x' dz, db = sum of dz, dx = dz W' times the slope of the step below -------- */

static int backward(run *r, ptrdiff_t rows, const void *x, ptrdiff_t ldx, char *gradient,
                    int accumulate) {
    const nnc_plan *plan = r->plan;
    const nnc_kernels *k = plan->kernels;
    for (int s = plan->n_steps - 1, turn = 0; s >= 0; s--, turn = 1 - turn) {
        const nnc_step *step = &plan->steps[s];
        const slot *below = s > 0 ? &r->f.slots[s - 1] : NULL;
        const void *dz = r->f.d[turn];
        const ptrdiff_t ld = r->f.slots[s].ld;
        nnc_gemm dw = {.m = step->n_in,
                       .n = step->n_out,
                       .k = rows,
                       .a = below ? below->y : x,
                       .a_row = 1,
                       .a_col = below ? below->ld : ldx,
                       .b = dz,
                       .b_row = ld,
                       .b_col = 1,
                       .c = gradient + (size_t)step->w * k->size,
                       .ldc = step->n_out,
                       .accumulate = accumulate};
        if (run_gemm(r, &dw)) return 1;
        if (step->b >= 0)
            k->column_sums(rows, step->n_out, dz, ld, gradient + (size_t)step->b * k->size,
                           accumulate);
        if (!below) break;
        nnc_gemm dx = {.m = rows,
                       .n = step->n_in,
                       .k = step->n_out,
                       .a = dz,
                       .a_row = ld,
                       .a_col = 1,
                       .b = parameter(r, step->w),
                       .b_row = 1,
                       .b_col = step->n_out,
                       .c = r->f.d[1 - turn],
                       .ldc = below->ld,
                       .arena = 1};
        const nnc_step *source = step - 1;
        if (source->act != NNC_ACT_identity) {
            dx.act = source->act, dx.act_a = source->act_a;
            dx.kept = keeps_x(source->act) ? below->z : below->y, dx.ld_kept = below->ld;
        }
        if (run_gemm(r, &dx)) return 1;
    }
    return 0;
}

/* ---- samples ---------------------------------------------------------------------------- */

static const void *row_of(const void *x, ptrdiff_t ld, ptrdiff_t i, size_t size) {
    return x == NULL ? NULL : (const char *)x + (size_t)(i * ld) * size;
}

/* The samples first .. first + rows as one contiguous block: gathered, or where they lie. */
static nnc_samples block_of(run *r, const nnc_samples *all, ptrdiff_t first, ptrdiff_t rows) {
    const nnc_kernels *k = r->plan->kernels;
    const ptrdiff_t n_in = r->plan->steps[0].n_in, n_out = last_step(r->plan)->n_out;
    nnc_samples b = {.rows = rows};
    if (all->index == NULL) {
        b.x = row_of(all->x, all->ldx, first, k->size), b.ldx = all->ldx;
        b.t = row_of(all->t, all->ldt, first, k->size), b.ldt = all->ldt;
        b.labels = all->labels ? all->labels + first : NULL;
        return b;
    }
    const int64_t *index = all->index + first;
    k->gather(rows, n_in, index, all->x, all->ldx, r->f.x, r->f.ldx);
    b.x = r->f.x, b.ldx = r->f.ldx;
    if (all->labels) {
        for (ptrdiff_t i = 0; i < rows; i++) r->f.labels[i] = all->labels[index[i]];
        b.labels = r->f.labels;
    } else {
        k->gather(rows, n_out, index, all->t, all->ldt, r->f.t, r->f.ldt);
        b.t = r->f.t, b.ldt = r->f.ldt;
    }
    return b;
}

/* The mean loss over samples first .. first + rows, and its gradient unless NULL. */
static nnc_status loss_and_gradient(run *r, const nnc_samples *all, ptrdiff_t first, ptrdiff_t rows,
                                    double *loss, char *gradient) {
    const nnc_plan *plan = r->plan;
    const int per_row = nnc_losses[plan->loss].mean == NNC_MEAN_ROWS;
    const double count = (double)rows * (per_row ? 1.0 : (double)last_step(plan)->n_out);
    double sum = 0;
    for (ptrdiff_t i = 0; i < rows; i += NNC_BLOCK) {
        const ptrdiff_t size = rows - i < NNC_BLOCK ? rows - i : NNC_BLOCK;
        const nnc_samples b = block_of(r, all, first + i, size);
        if (forward(r, size, b.x, b.ldx, fused(plan), NULL, 0)) return NNC_STOPPED;
        sum += loss_of_block(r, size, b.t, b.ldt, b.labels, 1 / count, gradient != NULL);
        if (gradient && backward(r, size, b.x, b.ldx, gradient, i > 0)) return NNC_STOPPED;
    }
    *loss = sum / count;
    return NNC_OK;
}

/* ---- the public runs -------------------------------------------------------------------- */

static run start(const nnc_plan *plan, const void *theta, ptrdiff_t rows, int training, void *work,
                 nnc_poll poll, void *context) {
    const ptrdiff_t block = rows < NNC_BLOCK ? rows : NNC_BLOCK;
    return (run){plan, theta, lay_out(plan, block, training, work), poll, context, WORK_PER_POLL};
}

nnc_status nnc_predict(const nnc_plan *plan, const void *theta, const void *x, ptrdiff_t ldx,
                       ptrdiff_t rows, void *out, ptrdiff_t ldo, void *work, nnc_poll poll,
                       void *context) {
    const size_t size = plan->kernels->size;
    run r = start(plan, theta, rows, 0, work, poll, context);
    /* One step that writes to `out` alone needs no arena: W is packed once for all rows. */
    const ptrdiff_t most = plan->n_steps == 1 && !keeps_x(plan->steps[0].act) ? rows : NNC_BLOCK;
    for (ptrdiff_t i = 0; i < rows; i += most) {
        const ptrdiff_t block = rows - i < most ? rows - i : most;
        char *to = (char *)out + (size_t)(i * ldo) * size;
        if (forward(&r, block, row_of(x, ldx, i, size), ldx, 0, to, ldo)) return NNC_STOPPED;
    }
    return NNC_OK;
}

nnc_status nnc_evaluate(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                        double *loss, void *gradient, void *work, nnc_poll poll, void *context) {
    run r = start(plan, theta, samples->rows, gradient != NULL, work, poll, context);
    return loss_and_gradient(&r, samples, 0, samples->rows, loss, gradient);
}

nnc_status nnc_train(const nnc_plan *plan, void *theta, void *gradient, nnc_optimizer *optimizer,
                     const nnc_samples *samples, ptrdiff_t batch_size, double *losses,
                     ptrdiff_t *steps_done, void *work, nnc_poll poll, void *context) {
    const ptrdiff_t largest = samples->rows < batch_size ? samples->rows : batch_size;
    run r = start(plan, theta, largest, 1, work, poll, context);
    *steps_done = 0;
    for (ptrdiff_t i = 0; i < samples->rows; i += batch_size) {
        const ptrdiff_t rows = samples->rows - i < batch_size ? samples->rows - i : batch_size;
        double *loss = losses + *steps_done, coef[NNC_MAX_COEF];
        const nnc_status status = loss_and_gradient(&r, samples, i, rows, loss, gradient);
        if (status != NNC_OK) return status;
        if (!isfinite(*loss)) return NNC_NOT_FINITE;
        nnc_opt_coefficients(optimizer->opt, optimizer->hyper, ++optimizer->updates, coef);
        plan->kernels->update[optimizer->opt](plan->n_params, theta, gradient, optimizer->state,
                                              coef);
        ++*steps_done;
        if (wants_stop(&r, 10.0 * (double)plan->n_params)) return NNC_STOPPED;
    }
    return NNC_OK;
}
