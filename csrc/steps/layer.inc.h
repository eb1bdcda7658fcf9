/* Part of plan.c: what the steps other than dense stand on. Each of their kinds is a file beside
 * this one and a row of `kinds` in plan.c. */
#include <string.h>

/* ---- kernels in parts ---------------------------------------------------------------------- */

static nnc_layer_args rows_of(const run *r, const nnc_layer_args *g, ptrdiff_t i, ptrdiff_t rows) {
    nnc_layer_args p = *g;
    p.rows = rows;
    p.x = element(r, g->x, i * g->ldx);
    p.y = (void *)element(r, g->y, i * g->ldy);
    p.dy = element(r, g->dy, i * g->lddy);
    p.dx = (void *)element(r, g->dx, i * g->lddx);
    p.row_stats = (void *)element(r, g->row_stats, 2 * i);
    p.draw.row += (uint32_t)i;
    p.rx = element(r, g->rx, i * g->ldrx);
    p.rdy = element(r, g->rdy, i * g->lddy);
    p.rdx = (void *)element(r, g->rdx, i * g->lddx);
    p.along = (void *)element(r, g->along, i * g->lddy);
    p.row_along = (void *)element(r, g->row_along, i);
    return p;
}

static nnc_layer_args columns_of(const run *r, const nnc_layer_args *g, ptrdiff_t j, ptrdiff_t n) {
    nnc_layer_args p = *g;
    p.n = n;
    p.x = element(r, g->x, j);
    p.y = (void *)element(r, g->y, j);
    p.dy = element(r, g->dy, j);
    p.dx = (void *)element(r, g->dx, j);
    p.w = element(r, g->w, j);
    p.b = element(r, g->b, j);
    p.mean = (void *)element(r, g->mean, j);
    p.rstd = (void *)element(r, g->rstd, j);
    p.var = (void *)element(r, g->var, j);
    p.sums = (void *)element(r, g->sums, j);
    p.dy_sums = element(r, g->dy_sums, j);
    p.rx = element(r, g->rx, j);
    p.rdy = element(r, g->rdy, j);
    p.rdx = (void *)element(r, g->rdx, j);
    p.vw = element(r, g->vw, j);
    p.vb = element(r, g->vb, j);
    p.along = (void *)element(r, g->along, j);
    return p;
}

/* What a kernel does to a row, or to a column, it does whatever the others are. */
typedef enum { BY_ROWS, BY_COLUMNS } divided;

typedef struct {
    const run *r;
    nnc_layer_kernel *kernel;
    const nnc_layer_args *g;
    divided by;
} layer_job;

static nnc_layer_args layer_at(const layer_job *job, int part, int parts) {
    enum { COLUMNS = 64 }; /* whole lines */
    const nnc_layer_args *g = job->g;
    const ptrdiff_t n = job->by == BY_ROWS ? g->rows : g->n;
    const ptrdiff_t unit = job->by == BY_ROWS ? 1 : COLUMNS,
                    from = part_start(n, unit, part, parts);
    const ptrdiff_t count = part_start(n, unit, part + 1, parts) - from;
    return (job->by == BY_ROWS ? rows_of : columns_of)(job->r, g, from, count);
}

static void layer_part(void *context, int part, int parts) {
    const layer_job *job = context;
    const nnc_layer_args p = layer_at(job, part, parts);
    if (p.rows > 0 && p.n > 0) job->kernel(&p);
}

/* Operations that an element takes as long as, about. */
enum { WORK_PER_NUMBER = 20, WORK_PER_DRAW = 80 };

/* Runs a kernel, a long one in pieces of some 50 ms at most; returns whether to stop. */
static int run_layer(run *r, nnc_layer_kernel *kernel, const nnc_layer_args *g, divided by,
                     double per_element) {
    const double whole = per_element * (double)g->rows * (double)g->n;
    const double quotient = whole / longest(r->plan);
    const ptrdiff_t most = by == BY_ROWS ? g->rows : g->n;
    const int pieces = quotient < 1 ? 1 : quotient < (double)most ? (int)quotient + 1 : (int)most;
    const layer_job all = {r, kernel, g, by};
    for (int p = 0; p < pieces; p++) {
        const nnc_layer_args piece = layer_at(&all, p, pieces);
        layer_job job = {r, kernel, &piece, by};
        nnc_run_parts(layer_part, &job, parts_for(r, whole / pieces), r->plan->spin);
        if (wants_stop(r, whole / pieces)) return 1;
    }
    return 0;
}

/* ---- what all kinds do --------------------------------------------------------------------- */

/* The arguments of step s: its input, what its slot keeps, its parameters. */
static nnc_layer_args layer_args(const run *r, int s, ptrdiff_t rows, const void *x,
                                 ptrdiff_t ldx) {
    const nnc_step *step = &r->plan->steps[s];
    const nnc_slot *at = &r->f.slots[s];
    return (nnc_layer_args){.rows = rows,
                            .n = step->n_out,
                            .x = x,
                            .ldx = ldx,
                            .y = at->y,
                            .ldy = at->ld,
                            .dy = at->dz,
                            .lddy = at->ld,
                            .w = parameter(r, step->w),
                            .b = parameter(r, step->b)};
}

/* The same of row i of the block, whose input is x. */
static nnc_layer_args args_of_row(const run *r, int s, ptrdiff_t i, const void *x) {
    const nnc_slot *at = &r->f.slots[s];
    nnc_layer_args g = layer_args(r, s, 1, x, 0);
    g.dy = element(r, at->dz, i * at->ld);
    return g;
}

/* Vector v, of n elements, of what a step has in its slot. */
static size_t own_vector(const nnc_kernels *k, ptrdiff_t n) {
    const size_t align = NNC_ALIGN;
    return ((size_t)n * k->size + align - 1) / align * align;
}

static void *own(const run *r, int s, int v) {
    return (char *)r->f.slots[s].own +
           (size_t)v * own_vector(r->plan->kernels, r->plan->steps[s].n_out);
}

static void copy_rows(const run *r, ptrdiff_t rows, ptrdiff_t n, const void *x, ptrdiff_t ldx,
                      void *y, ptrdiff_t ldy) {
    for (ptrdiff_t i = 0; i < rows; i++)
        memcpy((void *)element(r, y, i * ldy), element(r, x, i * ldx),
               (size_t)n * r->plan->kernels->size);
}

/* s[n] (+)= the sums over any number of rows; returns whether to stop. */
static int sum_rows(run *r, ptrdiff_t rows, ptrdiff_t n, const void *x, ptrdiff_t ldx, void *s,
                    int accumulate) {
    for (ptrdiff_t i = 0; i < rows; i += NNC_BLOCK) {
        if (i > 0 && wants_stop(r, (double)WORK_PER_NUMBER * NNC_BLOCK * (double)n)) return 1;
        r->plan->kernels->column_sums(rows - i < NNC_BLOCK ? rows - i : NNC_BLOCK, n,
                                      element(r, x, i * ldx), ldx, s, accumulate || i > 0);
    }
    return 0;
}

static int vector_fits(ptrdiff_t at, ptrdiff_t n, ptrdiff_t size) {
    return at >= 0 && n <= size && at <= size - n;
}

static int is_between(double x, double low, double high) { return x >= low && x <= high; }

/* ---- along a direction v of the parameters: see derive.inc.h --------------------------------- */

/* x and R x of a step, R x NULL for 0. */
typedef struct {
    const void *x, *rx;
    ptrdiff_t ldx, ldrx;
} along_x;

/* What forward_along needs: R y is written. */
static nnc_layer_args along_args(const run *r, int s, ptrdiff_t rows, const along_x *in,
                                 const void *v, const slot_along *at) {
    const nnc_step *step = &r->plan->steps[s];
    nnc_layer_args g = layer_args(r, s, rows, in->x, in->ldx);
    g.rx = in->rx, g.ldrx = in->ldrx;
    g.vw = step->w < 0 ? NULL : element(r, v, step->w);
    g.vb = step->b < 0 ? NULL : element(r, v, step->b);
    g.y = at->ry;
    g.rdy = at->rdz;
    g.along = at->df, g.row_along = at->d2f;
    return g;
}

/* The same for R dx, and for the sums in the product. */
static nnc_layer_args down_along_args(const run *r, int s, ptrdiff_t rows, const along_x *in,
                                      const void *v, const slot_along *at, void *dx, void *rdx,
                                      ptrdiff_t lddx) {
    nnc_layer_args g = along_args(r, s, rows, in, v, at);
    g.dx = dx, g.rdx = rdx, g.lddx = lddx;
    return g;
}

static nnc_layer_args sums_along_args(const run *r, int s, ptrdiff_t rows, const along_x *in,
                                      const slot_along *at, void *product, int accumulate) {
    nnc_layer_args g = along_args(r, s, rows, in, NULL, at);
    g.vw = g.vb = NULL;
    g.sums = (void *)element(r, product, r->plan->steps[s].w);
    g.accumulate = accumulate;
    return g;
}
