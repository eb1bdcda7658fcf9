/* Part of plan.c: what all runs of a plan stand on. The workspace of a block of rows, a run with
 * its caller who may want to stop, and work in parts, for threads and to be stopped in between. */
#include <stdatomic.h>
#include <stddef.h>

#include "nnc.h"

/* ---- what a plan is made of ------------------------------------------------------------- */

static const nnc_step *last_step(const nnc_plan *plan) { return &plan->steps[plan->n_steps - 1]; }

static ptrdiff_t rows_of_block(ptrdiff_t rows) { return rows < NNC_BLOCK ? rows : NNC_BLOCK; }

static const nnc_loss_info *loss_info(const nnc_plan *plan) {
    static const nnc_loss_info called = {"", NNC_OUTPUT_ANY, NNC_MEAN_ROWS, 1, "", {0}};
    return plan->loss_call ? &called : &nnc_losses[plan->loss];
}

static int fused(const nnc_plan *plan) { return loss_info(plan)->output != NNC_OUTPUT_ANY; }

/* Columns of the targets. */
static ptrdiff_t n_targets(const nnc_plan *plan) {
    return last_step(plan)->n_out / loss_info(plan)->per_target;
}

/* The numbers of each row that the mean loss is over. */
static double averaged_per_row(const nnc_plan *plan) {
    const int rows = plan->by_rows || loss_info(plan)->mean == NNC_MEAN_ROWS;
    return rows ? 1.0 : (double)n_targets(plan);
}

/* The activation that step s applies: none where the loss starts from the raw scores. */
static int step_act(const nnc_plan *plan, int s, int raw) {
    return raw && s == plan->n_steps - 1 ? NNC_ACT_identity : plan->steps[s].act;
}

/* softmax and log_softmax. */
static int of_whole_row(int act) { return act >= NNC_N_ACTS; }

static int keeps_x(int act) { return of_whole_row(act) || nnc_acts[act].keeps == NNC_KEEPS_X; }

/* How many parameters a step has from w on; those from b on are n_out, if there is a b. */
static ptrdiff_t n_weights(const nnc_step *step) {
    if (step->w < 0) return 0;
    switch (step->kind) {
    case NNC_STEP_dense: return step->n_in * step->n_out;
    case NNC_STEP_prelu:
    case NNC_STEP_embedding: return step->other;
    case NNC_STEP_batch_norm:
    case NNC_STEP_layer_norm: return step->n_out;
    default: return 0;
    }
}

static int is_dense(const nnc_plan *plan) {
    for (int s = 0; s < plan->n_steps; s++)
        if (plan->steps[s].kind != NNC_STEP_dense) return 0;
    return 1;
}

static int normalizes_batches(const nnc_plan *plan) {
    for (int s = 0; s < plan->n_steps; s++)
        if (plan->steps[s].kind == NNC_STEP_batch_norm) return 1;
    return 0;
}

/* Rows that go through all steps at a time: a whole batch, where they are normalised together. */
static ptrdiff_t block_rows(const nnc_plan *plan, ptrdiff_t rows, nnc_use use) {
    const int whole = rows < NNC_BLOCK || (use == NNC_TRAIN && normalizes_batches(plan));
    return whole ? rows : NNC_BLOCK;
}

/* One step that writes to `out` alone needs no arena: it takes all rows at once. */
static int is_one_product(const nnc_plan *plan) {
    return plan->n_steps == 1 && is_dense(plan) && !keeps_x(plan->steps[0].act);
}

/* Whether memory to pack all rows of x, from which weights beyond an L2 gain, is well spent. */
static int is_large_product(const nnc_plan *plan, ptrdiff_t rows) {
    enum { LARGE = 1 << 20 };
    return is_one_product(plan) && rows >= NNC_BLOCK &&
           plan->n_params * (ptrdiff_t)plan->kernels->size > LARGE;
}

/* ---- small networks ---------------------------------------------------------------------

 * They are so small that dividing products among tiles takes longer than the products do. On one
 * row at a time they are trained by kernels->row. */

static ptrdiff_t whole_vectors(const nnc_plan *plan, ptrdiff_t n) {
    const ptrdiff_t lanes = plan->kernels->lanes;
    return (n + lanes - 1) / lanes * lanes;
}

/* The rows in which nnc_row wants the weights of a step. */
static ptrdiff_t wide_rows(const nnc_step *s) { return s->n_out == 1 ? 1 : s->n_in; }

static ptrdiff_t wide_weights(const nnc_plan *plan, const nnc_step *s) {
    const ptrdiff_t rows = wide_rows(s);
    return rows * whole_vectors(plan, s->n_in * s->n_out / rows);
}

static ptrdiff_t wide_size(const nnc_plan *plan) {
    ptrdiff_t size = 0;
    for (int s = 0; s < plan->n_steps; s++) {
        size += wide_weights(plan, &plan->steps[s]);
        if (plan->steps[s].b >= 0) size += whole_vectors(plan, plan->steps[s].n_out);
    }
    return size;
}

/* Whether the first step only scales the inputs. */
static int is_scaled(const nnc_plan *plan) {
    return plan->n_steps > 1 && plan->steps[0].kind == NNC_STEP_scaling;
}

/* The plan without it. */
static nnc_plan above_scaling(const nnc_plan *plan) {
    nnc_plan above = *plan;
    if (is_scaled(plan)) {
        above.steps++, above.n_steps--;
        if (above.tuning) above.tuning++;
    }
    return above;
}

/* Whether the kernels for small networks know all of it: dense steps alone, a loss of the table
 * that has the last activation in it or an activation of numbers, and no sum longer than NNC_BLOCK,
 * but for those over rows. */
static int is_plain(const nnc_plan *plan) {
    if (plan->loss_call || !is_dense(plan)) return 0;
    for (int s = 0; s < plan->n_steps; s++) { /* dz of the first step is not summed */
        const nnc_step *step = &plan->steps[s];
        if (step->n_in > NNC_BLOCK || (s > 0 && step->n_out > NNC_BLOCK)) return 0;
    }
    return fused(plan) || !of_whole_row(last_step(plan)->act);
}

static int is_small(const nnc_plan *plan) {
    enum { FEW_PARAMS = 1024, FEW_PADDED = 4096 };
    return plan->n_params <= FEW_PARAMS && wide_size(plan) <= FEW_PADDED;
}

/* Operations of the products for that many rows. */
static double operations(const nnc_plan *plan, ptrdiff_t rows, nnc_use use) {
    return (use == NNC_GRADIENT || use == NNC_TRAIN ? 6.0 : 2.0) * (double)rows *
           (double)plan->n_params;
}

/* Operations for each lane, so that they take about as long on each instruction set. */
enum {
    WORK_PER_THREADS = 1250000, /* some 200 us: a step or call that may wake threads at all    */
    WORK_PER_PART = 40000,      /* some 6 us: what one of them must at least have to do        */
    PART_WORK = 300000000       /* some 50 ms: the longest that nothing may stop               */
};

/* Whether a step is so short that it is for one thread. */
static int is_short(const nnc_plan *plan, double work) {
    return work < (double)WORK_PER_THREADS * plan->kernels->lanes;
}

/* So many parameters that they are updated where their gradient is computed. */
static int is_large(const nnc_plan *plan) {
    enum { LARGE_BYTES = 1 << 16 };
    return plan->n_params * (ptrdiff_t)plan->kernels->size > LARGE_BYTES;
}

/* ---- the workspace ---------------------------------------------------------------------- */

/* Elements from row to row of an arena: whole NNC_ALIGN bytes, and not a multiple of 1 KB, for
 * rows a power of two apart share their cache sets. */
static ptrdiff_t arena_ld(const nnc_kernels *k, ptrdiff_t n) {
    const ptrdiff_t pad = NNC_ALIGN / (ptrdiff_t)k->size;
    const ptrdiff_t ld = (n + pad - 1) / pad * pad;
    return ld * (ptrdiff_t)k->size % 1024 ? ld : ld + pad;
}

/* Steps that are for one thread are trained by kernels->few, a block at a time, while what is put
 * out is in an L1: there activations come after whole products. */
static int is_few(const nnc_plan *plan, ptrdiff_t rows) {
    enum { L1_BYTES = 1 << 15 };
    if (is_large(plan)) return 0;
    for (int s = 0; s < plan->n_steps; s++) {
        const size_t ld = (size_t)arena_ld(plan->kernels, plan->steps[s].n_out);
        if ((size_t)rows_of_block(rows) * ld * plan->kernels->size > L1_BYTES) return 0;
    }
    return plan->threads == 1 || is_short(plan, operations(plan, rows, NNC_TRAIN));
}

/* Elements from row to row of what step s puts out. Few rows that are short follow each other
 * without a gap, but for those whose padding the loss overwrites; one row is kernels->row's, too,
 * which wants whole vectors. */
static ptrdiff_t slot_ld(const nnc_plan *plan, int s, ptrdiff_t rows, int few) {
    enum { SHORT_BYTES = 3 * NNC_ALIGN };
    const ptrdiff_t n = plan->steps[s].n_out;
    const int overwritten = s == plan->n_steps - 1 && loss_info(plan)->output == NNC_OUTPUT_softmax;
    const int is_short_row = n * (ptrdiff_t)plan->kernels->size < SHORT_BYTES;
    const int gapless = few && rows > 1 && is_short_row && !overwritten;
    return gapless ? n : arena_ld(plan->kernels, n);
}

/* The parameters of a small network and what moves with them, each row in whole vectors. */
typedef struct {
    nnc_step *steps; /* the plan's, with w and b as offsets there */
    ptrdiff_t n;
    void *theta, *gradient, *state[NNC_MAX_VECTORS], *average;
} wide_vectors;

/* The next update of one step's parameters. */
typedef struct {
    double coef[NNC_MAX_COEF];
    nnc_shaping weights, biases;
} step_update;

/* The workspace of one block of rows. */
typedef struct {
    ptrdiff_t block;
    nnc_slot *slots;
    char *gemm_work; /* of each thread */
    void *rows_work;
    void *x, *t; /* gathered rows, where an index is given */
    int64_t *labels;
    double *weights;
    ptrdiff_t ldx, ldt;
    wide_vectors wide; /* to train a small network on one row at a time */
    step_update *each;
    int keeps; /* what the way back needs is kept */
    int few;   /* rows are trained by kernels->few */
    size_t used;
} frame;

static void *take(frame *f, char *work, size_t bytes) {
    void *p = work ? work + f->used : NULL;
    f->used += (bytes + NNC_ALIGN - 1) / NNC_ALIGN * NNC_ALIGN;
    return p;
}

/* Bytes of what a step keeps for itself: in plan.c, with all else of its kind. */
static size_t own_bytes(const nnc_plan *plan, const nnc_step *step, ptrdiff_t rows);

/* Lays the workspace out for the blocks of so many rows; with work == NULL it only counts the
 * bytes. Without training nothing is kept: the steps' outputs take turns in two arenas. */
static frame lay_out(const nnc_plan *plan, ptrdiff_t all_rows, nnc_use use, int threads,
                     char *work) {
    const nnc_kernels *k = plan->kernels;
    const ptrdiff_t n_in = plan->steps[0].n_in, n_out = last_step(plan)->n_out;
    const ptrdiff_t rows = block_rows(plan, all_rows, use);
    const size_t row_bytes = (size_t)rows * k->size;
    const nnc_plan above = above_scaling(plan);
    const int plain = use == NNC_TRAIN && is_plain(&above), few = plain && is_few(plan, all_rows);
    frame f = {.block = rows,
               .few = few,
               .ldx = arena_ld(k, n_in),
               .ldt = few ? n_out : arena_ld(k, n_out)};
    f.slots = take(&f, work, (size_t)plan->n_steps * sizeof(nnc_slot));
    f.gemm_work = take(&f, work, k->gemm_work * (size_t)threads);
    if (use == NNC_PREDICT && is_large_product(plan, rows))
        f.rows_work = take(&f, work, k->gemm_rows_work);
    ptrdiff_t widest = 0;
    for (int s = 0; s < plan->n_steps; s++) {
        const ptrdiff_t ld = arena_ld(k, plan->steps[s].n_out);
        if (ld > widest) widest = ld;
    }
    const size_t wide = row_bytes * (size_t)widest, out = row_bytes * (size_t)f.ldt;
    void *turns[2] = {NULL, NULL}, *z = NULL, *dy = NULL;
    if (use != NNC_PREDICT) {
        f.x = take(&f, work, row_bytes * (size_t)f.ldx);
        f.t = take(&f, work, out);
        f.labels = take(&f, work, (size_t)rows * sizeof(int64_t));
        f.weights = take(&f, work, (size_t)rows * sizeof(double));
    }
    const int keeps = f.keeps = use == NNC_GRADIENT || use == NNC_TRAIN;
    if (!keeps) {
        for (int turn = 0; turn < 2; turn++) turns[turn] = take(&f, work, wide);
        z = take(&f, work, wide);
        dy = take(&f, work, out);
    }
    for (int s = 0; s < plan->n_steps; s++) {
        const int apart = keeps_x(plan->steps[s].act);
        nnc_slot at = {.y = turns[s % 2], .z = z, .dz = dy, .ld = slot_ld(plan, s, rows, few)};
        /* Without gaps, a tile reads whole vectors behind the last row of dz. */
        const size_t bytes = row_bytes * (size_t)at.ld + (use == NNC_TRAIN ? NNC_ALIGN : 0);
        if (plan->steps[s].kind == NNC_STEP_fork && !keeps) at.y = take(&f, work, bytes);
        if (keeps) {
            at.y = take(&f, work, bytes);
            at.dz = take(&f, work, bytes);
            at.z = apart ? take(&f, work, bytes) : NULL;
        }
        if (!apart) at.z = at.y;
        const size_t own = own_bytes(plan, &plan->steps[s], rows);
        if (own) at.own = take(&f, work, own);
        if (work) f.slots[s] = at;
    }
    if (use == NNC_TRAIN) f.each = take(&f, work, (size_t)plan->n_steps * sizeof(step_update));
    if (plain && rows == 1 && is_small(&above)) {
        wide_vectors *w = &f.wide;
        w->n = wide_size(&above);
        w->steps = take(&f, work, (size_t)plan->n_steps * sizeof(nnc_step));
        const size_t bytes = (size_t)w->n * k->size;
        w->theta = take(&f, work, bytes);
        w->gradient = take(&f, work, bytes);
        for (int v = 0; v < NNC_MAX_VECTORS; v++) w->state[v] = take(&f, work, bytes);
        w->average = take(&f, work, bytes);
    }
    return f;
}

/* What a product with the Hessian needs beside the slots, see derive.inc.h. */
typedef struct {
    void *df, *d2f, *rz, *ry, *rdz; /* rows as in the step's slot; ry is rz where f is identity */
} slot_along;

static slot_along *lay_out_along(const nnc_plan *plan, ptrdiff_t rows, frame *f, char *work) {
    slot_along *slots = take(f, work, (size_t)plan->n_steps * sizeof(slot_along));
    for (int s = 0; s < plan->n_steps; s++) {
        const ptrdiff_t ld = arena_ld(plan->kernels, plan->steps[s].n_out);
        const size_t bytes = (size_t)(rows * ld) * plan->kernels->size;
        slot_along at;
        at.df = take(f, work, bytes);
        at.d2f = take(f, work, bytes);
        at.rz = take(f, work, bytes);
        at.ry = step_act(plan, s, fused(plan)) == NNC_ACT_identity ? at.rz : take(f, work, bytes);
        at.rdz = take(f, work, bytes);
        if (work) slots[s] = at;
    }
    return slots;
}

/* ---- one run: a plan, its parameters and a caller who may want to stop -------------------- */

typedef struct {
    const nnc_plan *plan;
    const char *theta;
    frame f;
    int threads;
    nnc_poll poll;
    void *context;
    double work_left;  /* operations until the next poll */
    atomic_int *stop;  /* the poll has asked for it */
    int committed;     /* parameters have changed: the step is finished first */
    step_update *each; /* training: of each step, where one update is not for all */
    int lowest;        /* training: the first step with parameters that are not frozen */
    int training;      /* random numbers are drawn, batches give their own statistics */
    int sample;        /* what is random in predictions is drawn */
    uint64_t draw;     /* number of the training step or prediction */
    ptrdiff_t first;   /* row of the batch, or of the prediction, that comes first in the block */
} run;

enum { WORK_PER_POLL = 4000000, WORK_PER_CALL = 4000 }; /* operations: about 50 us, and 50 ns */

/* Whether wants_stop, called with as many operations, polls. */
static int will_poll(const run *r, double operations) {
    return r->poll != NULL && r->work_left <= operations + WORK_PER_CALL;
}

static int wants_stop(run *r, double operations) {
    if ((r->work_left -= operations + WORK_PER_CALL) <= 0) {
        r->work_left = WORK_PER_POLL;
        if (r->poll != NULL && r->poll(r->context)) atomic_store(r->stop, 1);
    }
    return !r->committed && atomic_load_explicit(r->stop, memory_order_relaxed);
}

static const void *element(const run *r, const void *at, ptrdiff_t offset) {
    return at ? (const char *)at + offset * (ptrdiff_t)r->plan->kernels->size : NULL;
}

static const void *row_of(const void *x, ptrdiff_t ld, ptrdiff_t i, size_t size) {
    return x == NULL ? NULL : (const char *)x + (size_t)(i * ld) * size;
}

static const void *parameter(const run *r, ptrdiff_t offset) {
    return offset < 0 ? NULL : element(r, r->theta, offset);
}

/* ---- work in parts: for threads, and to be stopped in between ------------------------------ */

/* Operations that may pass without a poll. */
static double longest(const nnc_plan *plan) {
    return plan->longest > 0 ? plan->longest : (double)PART_WORK * plan->kernels->lanes;
}

/* How many threads a step or call of so many operations may use. In shorter ones threads would
 * fall asleep between products that are worth dividing. */
static int threads_for(const nnc_plan *plan, double operations) {
    return is_short(plan, operations) ? 1 : plan->threads;
}

/* Among how many threads to divide so many operations. */
static int parts_for(const run *r, double operations) {
    if (r->threads == 1) return 1;
    const double most = operations / ((double)WORK_PER_PART * r->plan->kernels->lanes);
    return most < 2 ? 1 : most < r->threads ? (int)most : r->threads;
}

/* Where part p of n things begins, in whole units. */
static ptrdiff_t part_start(ptrdiff_t n, ptrdiff_t unit, int p, int parts) {
    const ptrdiff_t at = (n + unit - 1) / unit * p / parts * unit;
    return at < n ? at : n;
}

static nnc_update update_at(const run *r, const nnc_update *update, ptrdiff_t offset) {
    nnc_update u = *update;
    u.theta = (void *)element(r, u.theta, offset);
    for (int v = 0; v < NNC_MAX_VECTORS; v++) u.state[v] = (void *)element(r, u.state[v], offset);
    return u;
}

/* The part of a product in rows i .. i + m and columns j .. j + n. */
static nnc_gemm gemm_at(const run *r, const nnc_gemm *g, ptrdiff_t i, ptrdiff_t m, ptrdiff_t j,
                        ptrdiff_t n) {
    nnc_gemm p = *g;
    p.m = m, p.n = n;
    p.a = element(r, g->a, i * g->a_row);
    p.b = element(r, g->b, j * g->b_col);
    p.c = (void *)element(r, g->c, i * g->ldc + j);
    p.y = (void *)element(r, g->y, i * g->ldy + j);
    p.kept = element(r, g->kept, i * g->ld_kept + j);
    p.bias = element(r, g->bias, j);
    p.update = update_at(r, &g->update, i * g->ldc + j);
    p.arena = g->arena && n == g->n; /* the rest of a row may be another part's */
    return p;
}

typedef struct {
    const run *r;
    const nnc_gemm *g;
} gemm_job;

/* The longer side is divided: what belongs to the other one is packed by each thread. */
static void gemm_part(void *context, int part, int parts) {
    const gemm_job *job = context;
    const nnc_gemm *g = job->g;
    const nnc_kernels *k = job->r->plan->kernels;
    const int by_rows = g->m >= g->n;
    const ptrdiff_t size = by_rows ? g->m : g->n, unit = by_rows ? k->tile_rows : k->tile_cols;
    const ptrdiff_t from = part_start(size, unit, part, parts);
    const ptrdiff_t count = part_start(size, unit, part + 1, parts) - from;
    if (count == 0) return;
    nnc_gemm p = by_rows ? gemm_at(job->r, g, from, count, 0, g->n)
                         : gemm_at(job->r, g, 0, g->m, from, count);
    p.work = job->r->f.gemm_work + (size_t)part * k->gemm_work;
    p.rows_work = NULL;
    k->gemm(&p);
}

static void divide_gemm(const run *r, nnc_gemm *g, double operations) {
    const int parts = parts_for(r, operations);
    g->work = r->f.gemm_work;
    g->rows_work = r->f.rows_work;
    if (parts == 1)
        r->plan->kernels->gemm(g);
    else
        nnc_run_parts(gemm_part, &(gemm_job){r, g}, parts, r->plan->spin);
}

/* Runs a product, a long one in pieces of some 50 ms at most; returns whether to stop. A piece has
 * a multiple of the columns that a kernel packs at a time, and many rows, so little is packed
 * twice. */
static int run_gemm(run *r, nnc_gemm *g) {
    enum { PIECE_COLS = 512, PIECE_ROWS = 64 };
    const double per_element = 2.0 * (double)g->k;
    const double whole = per_element * (double)g->m * (double)g->n;
    const double most = longest(r->plan);
    if (whole <= most) {
        divide_gemm(r, g, whole);
        return wants_stop(r, whole);
    }
    ptrdiff_t rows = (ptrdiff_t)(most / (per_element * PIECE_COLS));
    if (rows < PIECE_ROWS) rows = PIECE_ROWS;
    for (ptrdiff_t j = 0; j < g->n; j += PIECE_COLS)
        for (ptrdiff_t i = 0; i < g->m; i += rows) {
            const ptrdiff_t m = g->m - i < rows ? g->m - i : rows;
            const ptrdiff_t n = g->n - j < PIECE_COLS ? g->n - j : PIECE_COLS;
            const double operations = per_element * (double)m * (double)n;
            nnc_gemm piece = gemm_at(r, g, i, m, j, n);
            divide_gemm(r, &piece, operations);
            if (wants_stop(r, operations)) return 1;
        }
    return 0;
}

/* Gathering and updating are bound by memory: an element takes as long as so many operations. */
enum { WORK_PER_GATHERED = 40, WORK_PER_UPDATED = 40 };

typedef struct {
    const run *r;
    ptrdiff_t rows, n;
    const int64_t *index;
    const void *x;
    ptrdiff_t ldx;
    void *y;
    ptrdiff_t ldy;
} gather_job;

static void gather_part(void *context, int part, int parts) {
    const gather_job *g = context;
    const ptrdiff_t i = part_start(g->rows, 1, part, parts);
    const ptrdiff_t rows = part_start(g->rows, 1, part + 1, parts) - i;
    g->r->plan->kernels->gather(rows, g->n, g->index + i, g->x, g->ldx,
                                (void *)element(g->r, g->y, i * g->ldy), g->ldy);
}

static void gather(const run *r, ptrdiff_t rows, ptrdiff_t n, const int64_t *index, const void *x,
                   ptrdiff_t ldx, void *y, ptrdiff_t ldy) {
    gather_job job = {r, rows, n, index, x, ldx, y, ldy};
    const int parts = parts_for(r, (double)WORK_PER_GATHERED * (double)rows * (double)n);
    if (parts == 1)
        r->plan->kernels->gather(rows, n, index, x, ldx, y, ldy);
    else
        nnc_run_parts(gather_part, &job, parts, r->plan->spin);
}

/* One update of n parameters: a piece at a time, while it is in cache, where it has two passes. */
static void apply_update(const run *r, const nnc_update *u, ptrdiff_t n, void *gradient) {
    enum { PIECE = 4096 };
    const nnc_kernels *k = r->plan->kernels;
    if (u->shaping == NULL) {
        u->rule(n, u->theta, gradient, u->state, u->coef);
        return;
    }
    for (ptrdiff_t i = 0; i < n; i += PIECE) {
        const ptrdiff_t size = n - i < PIECE ? n - i : PIECE;
        const nnc_update at = update_at(r, u, i);
        void *g = (void *)element(r, gradient, i);
        k->other->shape(size, at.theta, g, u->shaping);
        if (u->shaping->keep != 1) k->other->decay(size, at.theta, u->shaping->keep);
        u->rule(size, at.theta, g, at.state, u->coef);
    }
}

typedef struct {
    const run *r;
    const nnc_update *update;
    ptrdiff_t n;
    void *gradient;
} update_job;

static void update_part(void *context, int part, int parts) {
    const update_job *job = context;
    const ptrdiff_t unit = 4096, from = part_start(job->n, unit, part, parts);
    const nnc_update u = update_at(job->r, job->update, from);
    apply_update(job->r, &u, part_start(job->n, unit, part + 1, parts) - from,
                 (void *)element(job->r, job->gradient, from));
}

static void update_range(const run *r, const nnc_update *update, ptrdiff_t n, void *gradient) {
    update_job job = {r, update, n, gradient};
    const int parts = parts_for(r, (double)WORK_PER_UPDATED * (double)n);
    if (parts == 1)
        apply_update(r, update, n, gradient);
    else
        nnc_run_parts(update_part, &job, parts, r->plan->spin);
}
