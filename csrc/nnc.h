/* nnc.h - the whole contract of the engine: types, tables, kernels, plans.
 *
 * Pure C11, no Python, no allocation, no printing: the caller owns every buffer and asks for its
 * size first. Kernels cannot fail; what can fail returns nnc_status. Matrices are row-major, a
 * leading dimension `ld` counts elements between rows. "real" below means float or double,
 * whichever the kernel table was compiled for.
 */
#ifndef NNC_H
#define NNC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { NNC_F32, NNC_F64, NNC_N_DTYPES } nnc_dtype;

typedef enum {
    NNC_OK,
    NNC_STOPPED,    /* the poll function asked to stop; the unfinished step left no trace      */
    NNC_NOT_FINITE, /* a step's loss was NaN or infinite; its update was not applied            */
    NNC_BAD_PLAN    /* sizes, offsets or table rows that cannot belong to a network             */
} nnc_status;

/* The rows of the .def tables, numbered from 0. */
typedef enum {
#define NNC_ACT(name, keeps, names, defaults, f, slope, df, d2f) NNC_ACT_##name,
#include "tables/activations.def"
#undef NNC_ACT
    NNC_N_ACTS,
    NNC_ACT_softmax = NNC_N_ACTS, /* of a whole row, so not table rows; output only */
    NNC_ACT_log_softmax
} nnc_act;

typedef enum {
#define NNC_LOSS(name, output, mean, hyper, defaults, value, slope, curve) NNC_LOSS_##name,
#define NNC_ROW_LOSS(name, output, mean, per_target, hyper, defaults) NNC_LOSS_##name,
#include "tables/losses.def"
#undef NNC_LOSS
#undef NNC_ROW_LOSS
    NNC_N_LOSSES
} nnc_loss;

typedef enum {
#define NNC_OPT(name, vectors, hyper, defaults, coefficients, rule) NNC_OPT_##name,
#include "tables/optimizers.def"
#undef NNC_OPT
    NNC_N_OPTS
} nnc_opt;

typedef enum {
#define NNC_STEP(name) NNC_STEP_##name,
#include "tables/steps.def"
#undef NNC_STEP
    NNC_N_STEPS
} nnc_step_kind;

typedef enum { NNC_KEEPS_NONE, NNC_KEEPS_X, NNC_KEEPS_Y } nnc_keeps;
typedef enum { NNC_OUTPUT_ANY, NNC_OUTPUT_sigmoid, NNC_OUTPUT_softmax } nnc_output;
typedef enum { NNC_MEAN_ELEMENTS, NNC_MEAN_ROWS } nnc_mean;

enum {
    NNC_BLOCK = 256,  /* sums over rows or over k are chains inside blocks of this length,
                         and the blocks are added in order: the canonical arithmetic           */
    NNC_ALIGN = 64,   /* bytes: alignment of arenas, and what a row of an arena is padded to    */
    NNC_SLACK = 256,  /* bytes that must be readable behind theta and behind a gemm's b         */
    NNC_MAX_COEF = 8, /* coefficients that one update rule may use                              */
    NNC_MAX_ACT_PARAMETERS = 2,
    NNC_MAX_VECTORS = 4,
    NNC_MAX_LOSS_HYPER = 2,    /* parameters of a loss: a and b                                 */
    NNC_MAX_DRAWING = 1 << 15, /* steps among which random numbers may be drawn                */
    NNC_MAX_THREADS = 64
};

/* n parameters by one step of an update rule; coef from nnc_opt_coefficients, state: the rule's
 * vectors. */
typedef void nnc_rule(ptrdiff_t n, void *theta, const void *gradient, void *const *state,
                      const double *coef);

/* What is done to a gradient g of parameters p, and to them, before the rule: l1 sign(p) + l2 p is
 * added to g, which is then limited to +-limit and multiplied by `scale`; p is multiplied by
 * `keep`, after that. */
typedef struct {
    double l1, l2, limit, scale, keep;
} nnc_shaping;

/* What becomes of a gradient that is used up where it is computed. */
typedef struct {
    nnc_rule *rule; /* NULL: nothing, it is kept */
    void *theta;    /* the parameters, laid out like c */
    void *state[NNC_MAX_VECTORS];
    const double *coef;
    const nnc_shaping *shaping; /* or NULL */
} nnc_update;

/* C[m,n] (+)= A[m,k] B[k,n], then + bias, then the epilogue. Strides count elements, and one of
 * each pair is 1. No alias between c and a or b. `b` and `bias` may be read NNC_SLACK bytes past
 * their end; unless they are an arena's, nothing outside the m x n elements of c and y is written.
 * Value of one element: chains of fused multiply-adds in increasing k from +0, in blocks of
 * NNC_BLOCK, block sums added in order (to c when accumulate), then + bias. Rounding error is at
 * most (min(k, NNC_BLOCK) + k / NNC_BLOCK + 1) eps sum |a||b|. */
typedef struct {
    ptrdiff_t m, n, k;
    const void *a;
    ptrdiff_t a_row, a_col;
    const void *b;
    ptrdiff_t b_row, b_col;
    void *c;
    ptrdiff_t ldc;
    int accumulate;
    const void *bias; /* n, or NULL */
    /* Epilogue, on each panel of rows while it is in cache:
     * y != NULL:    y = f(c), f = act with its parameters; y == c is allowed, unless `keep` is set
     *               and the row of act keeps X: then c becomes f'(c), which is what is kept
     * kept != NULL: c *= f', from what is kept
     * update.rule != NULL: c is the gradient of a matrix of parameters, which are updated at once;
     *               unless accumulate, or k > NNC_BLOCK, c need not be written */
    int act, keep;
    const double *act_a; /* NNC_MAX_ACT_PARAMETERS */
    void *y;
    ptrdiff_t ldy;
    const void *kept;
    ptrdiff_t ld_kept;
    nnc_update update;
    int arena;  /* what lies between the rows of c and y may be overwritten */
    void *work; /* gemm_work bytes, NNC_ALIGN aligned */
    /* NULL, or gemm_rows_work bytes: rows of A, where they are packed, serve all columns then */
    void *rows_work;
} nnc_gemm;

/* What a loss is computed from: y (raw scores where the output is fused with the loss, else
 * outputs), and targets as values [rows, n / per_target] or as one label per row. The value of a
 * row and its gradient are multiplied by its weight; with weight 0 both are 0, whatever y is. */
typedef struct {
    ptrdiff_t rows, n;
    void *y; /* rows of an arena: the padding behind column n may be overwritten */
    ptrdiff_t ldy;
    const void *t; /* values, or NULL */
    ptrdiff_t ldt;
    const int64_t *labels; /* cross_entropy only, or NULL */
    void *dy;              /* the gradient; rows of an arena too; no alias with y */
    ptrdiff_t lddy;
    double scale;          /* what the gradient is multiplied by: 1 / (number averaged over) */
    double a, b;           /* the loss's parameters */
    const double *weights; /* of the rows, at least 0; or NULL: all 1 */
    int masked;  /* targets that are NaN are missing: elementwise losses leave them out, dy is 0 */
    double most; /* what a larger value of an element or row counts as; 0: as itself */
} nnc_loss_args;

/* A loss that is not of the table. Returns non-zero to stop; otherwise *sum is what a loss of the
 * table would return, and dy is filled. Its mean is over rows. */
typedef int nnc_loss_call(void *context, const nnc_loss_args *args, double *sum);

/* One call of an activation that is not of the table: out = f(x), f'(x) or f''(x), by `derivative`,
 * of n columns of rows. What lies between the rows is not out's. */
typedef struct {
    ptrdiff_t function; /* which of the caller's */
    int derivative;
    ptrdiff_t rows, n; /* at most NNC_BLOCK rows */
    const void *x;
    ptrdiff_t ldx;
    void *out;
    ptrdiff_t ldo;
} nnc_act_args;

/* Returns non-zero to stop. It is called by the thread that runs the plan. */
typedef int nnc_act_call(void *context, const nnc_act_args *args);

/* A column of the input of an embedding: a token, whose row [dim] of a table [n_tokens, dim] at
 * theta + table is put out; or, with n_tokens 0 and dim 1, a number that is put out itself. */
typedef struct {
    ptrdiff_t n_tokens, dim, table;
} nnc_column;

/* One row of steps.def. Dense: y = f(x W + b), W[n_in, n_out] at theta + w, b[n_out] at theta + b
 * (b < 0: no bias). The other kinds have the identity as act; the rest is what steps.def says. */
typedef struct {
    int kind;
    ptrdiff_t n_in, n_out;
    int act;
    double act_a[NNC_MAX_ACT_PARAMETERS];
    ptrdiff_t w, b;
    double p[2];
    ptrdiff_t other;
    const nnc_column *columns;
} nnc_step;

/* What a step leaves for the next and for its own way back: z = x W + b and y = f(z), the same
 * memory unless the slope of f is written in z, which then becomes f'(z) if there is a way back;
 * the gradient dz; and what its kind needs. Rows are `ld` apart. */
typedef struct {
    void *z, *y, *dz;
    ptrdiff_t ld;
    void *own;
} nnc_slot;

/* Random numbers by counter: four of 32 bits, for columns 4 c0 .. 4 c0 + 3 of a row, are Philox4x32
 * of the key and of (c0, row, counter[0], counter[1]). */
typedef struct {
    uint32_t key[2], counter[2], row;
} nnc_draw;

/* What the kernels of steps other than dense work on: n columns of rows. Nothing between the rows
 * is read or written. Sums over rows are chains in blocks of NNC_BLOCK, added in order. */
typedef struct {
    ptrdiff_t rows, n;
    const void *x; /* the input, and the output y */
    ptrdiff_t ldx;
    void *y;
    ptrdiff_t ldy;
    const void *dy; /* the gradients of the loss with respect to y and x */
    ptrdiff_t lddy;
    void *dx;
    ptrdiff_t lddx;
    const void *w, *b;       /* parameters of each column */
    void *mean, *rstd, *var; /* of each column: mean, 1 / standard deviation, variance */
    void *row_stats;         /* of each row in turn: mean, 1 / standard deviation */
    void *sums;              /* of each column */
    const void *dy_sums;
    int accumulate; /* sums are added to what stands there */
    double a;       /* a rate, a standard deviation, eps, a factor */
    nnc_draw draw;
    const nnc_column *columns;
    /* Derivatives along a direction of the parameters, see kernels/along.inc.h: of x (or NULL: 0),
     * dy and dx, the direction of w and b, and what the way up leaves for the way down. */
    const void *rx;
    ptrdiff_t ldrx;
    const void *rdy; /* rows as dy's */
    void *rdx;       /* rows as dx's */
    const void *vw, *vb;
    void *along, *row_along; /* rows as dy's; a number for each */
} nnc_layer_args;

typedef void nnc_layer_kernel(const nnc_layer_args *);

/* One sample of a small network, no sum of which is longer than NNC_BLOCK. Parameters and gradient
 * are padded with zeros to whole vectors of `lanes`: each row of W, or all of it where n_out is 1,
 * and b; the steps' w and b are offsets there. */
typedef struct {
    const nnc_step *steps;
    const nnc_slot *slots; /* for one row; behind the n_out elements of dz are zeros */
    int n_steps;
    const void *theta, *x;
    void *gradient;
    int raw;    /* the loss starts from the raw scores */
    int lowest; /* the gradient of the steps below is not needed */
    int loss;
    const nnc_loss_args *target; /* of one row, with y and dy in the last slot */
} nnc_row;

/* Some rows of a small network, at most NNC_BLOCK, no sum of which is longer than that. Parameters
 * and gradient lie as the plan's. Rows in slots may follow each other without a gap, or what is in
 * the gaps may be overwritten; the last are an arena's where the loss overwrites their padding.
 * NNC_ALIGN bytes are readable behind them. */
typedef struct {
    const nnc_step *steps;
    const nnc_slot *slots;
    int n_steps;
    const void *theta, *x;
    ptrdiff_t ldx;
    void *gradient, *work; /* work: for one gemm call */
    int accumulate;        /* the gradient holds the sums of earlier blocks of rows */
    int raw;               /* the loss starts from the raw scores */
    int lowest;            /* the gradient of the steps below is not needed */
    int loss;
    const nnc_loss_args *target; /* with y and dy in the last slot */
} nnc_few;

/* Kernels that are never the greater part of a step of dense layers, apart: instruction sets with
 * equal bits may share them. */
typedef struct {
    /* ---- of steps other than dense ---- */
    nnc_layer_kernel *dropout; /* y = x / (1 - a) or, with probability a, 0 */
    nnc_layer_kernel *noise;   /* y = x + a times a normal number */
    /* mean, 1 / sqrt(biased variance + a) and unbiased variance of the columns of x */
    nnc_layer_kernel *batch_moments;
    nnc_layer_kernel *batch_scale;      /* rstd = 1 / sqrt(var + a) */
    nnc_layer_kernel *batch_running;    /* one row: dx += a (x - dx) */
    nnc_layer_kernel *batch_norm;       /* y = (x - mean) rstd w + b */
    nnc_layer_kernel *batch_norm_slope; /* dx = w rstd (dy - a dy_sums - (x - mean) rstd a sums) */
    nnc_layer_kernel *batch_norm_sums;  /* sums (+)= sum over rows of dy (x - mean) rstd */
    nnc_layer_kernel *layer_norm;       /* row_stats, with eps = a; y = (x - mean) rstd w + b */
    nnc_layer_kernel *layer_norm_slope;
    nnc_layer_kernel *layer_norm_sums;
    nnc_layer_kernel *prelu;       /* y = x, or w x below 0 */
    nnc_layer_kernel *prelu_slope; /* dx = dy, or w dy at 0 and below */
    nnc_layer_kernel *prelu_sums;  /* sums (+)= sum over rows of dy min(0, x) */
    nnc_layer_kernel *prelu_total; /* sums[0] (+)= the same over rows and columns */
    nnc_layer_kernel *embed;       /* y = what the n columns of x name, tables in w */
    nnc_layer_kernel *embed_slope; /* dx = dy of columns that are numbers, and 0 */
    nnc_layer_kernel
        *embed_sums;           /* sums, laid out as w, += dy at the rows that x names, in order */
    nnc_layer_kernel *add;     /* y = x + dy */
    nnc_layer_kernel *fill;    /* one row: y = w[0] */
    nnc_layer_kernel *scaling; /* y = (x - b) / w or, if a is not 0, x w + b, rounded twice */
    /* ---- around updates ---- */
    /* p and its gradient before the rule; `decay` only multiplies by `keep` and settles */
    void (*shape)(ptrdiff_t n, const void *theta, void *gradient, const nnc_shaping *);
    void (*decay)(ptrdiff_t n, void *theta, double keep);
    /* sums[2] = the sums of |x| and of x^2, in double */
    void (*norms)(ptrdiff_t rows, ptrdiff_t n, const void *x, ptrdiff_t ldx, double *sums);
    /* columns of w whose 2-norm is above `limit` are scaled to it */
    void (*limit_columns)(ptrdiff_t rows, ptrdiff_t n, void *w, ptrdiff_t ldw, double limit);
    nnc_rule *average; /* theta is the average, gradient what goes in with the weight coef[0] */
    /* x . y, in double */
    double (*dot)(ptrdiff_t n, const void *x, const void *y);
    /* q = H q by m pairs (s, y) with s.y = 1, see kernels/pairs.inc.h; alpha[m] is work */
    void (*two_loops)(ptrdiff_t n, ptrdiff_t m, const void *const *pairs, void *q, double *alpha);
    /* ---- of derivatives of second order ---- */
    /* y = f'(x) and f''(x), as act of nnc_kernels */
    void (*act_df[NNC_N_ACTS])(ptrdiff_t n, const void *x, void *y, const double *a);
    void (*act_d2f[NNC_N_ACTS])(ptrdiff_t n, const void *x, void *y, const double *a);
    /* dy = scale times the Hessian of the loss, with respect to y, times r; no alias with r */
    void (*loss_curve[NNC_N_LOSSES])(const nnc_loss_args *, const void *r, ptrdiff_t ldr);
    /* dy becomes dz = f' dy, and rdy becomes f'' rz dy + f' rdy */
    void (*slope_along)(ptrdiff_t n, const void *df, const void *d2f, const void *rz, void *dy,
                        void *rdy);
    /* the same through y = softmax(z); ry its derivative along the direction; rows `ld` apart */
    void (*softmax_along)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const void *y, const void *ry,
                          void *dy, void *rdy);
    /* R y of y = log_softmax(z) from rz = R z; and as softmax_along, of log_softmax */
    void (*log_softmax_change)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const void *y,
                               const void *rz, void *ry);
    void (*log_softmax_along)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const void *y,
                              const void *ry, void *dy, void *rdy);
    /* the derivatives along a direction of what those of nnc_kernels compute */
    nnc_layer_kernel *batch_norm_along, *batch_norm_slope_along, *batch_norm_sums_along;
    nnc_layer_kernel *layer_norm_along, *layer_norm_slope_along, *layer_norm_sums_along;
    nnc_layer_kernel *prelu_along, *prelu_slope_along, *prelu_sums_along, *prelu_total_along;
} nnc_other_kernels;

/* One instruction set and type: a const table of kernels. */
typedef struct {
    const char *isa;
    nnc_dtype dtype;
    size_t size;                      /* of real */
    size_t gemm_work, gemm_rows_work; /* bytes for one gemm call, multiples of NNC_ALIGN */
    int lanes, tile_rows, tile_cols;
    void (*gemm)(const nnc_gemm *);
    /* y = f(x); in place ok. a: NNC_MAX_ACT_PARAMETERS, those of the row first */
    void (*act[NNC_N_ACTS])(ptrdiff_t n, const void *x, void *y, const double *a);
    /* of rows that keep X, else NULL: y = f(x), and x becomes f'(x); not in place */
    void (*act_keep[NNC_N_ACTS])(ptrdiff_t n, void *x, void *y, const double *a);
    /* dx = dy * f', from kept y or, where the row keeps X, from kept f'; in place on dy ok */
    void (*act_slope[NNC_N_ACTS])(ptrdiff_t n, const void *kept, const void *dy, void *dx,
                                  const double *a);
    /* y = softmax of each row of z, or its logarithm; the rows of z are an arena's and are
     * overwritten */
    void (*softmax)(ptrdiff_t rows, ptrdiff_t n, void *z, ptrdiff_t ldz, void *y, ptrdiff_t ldy);
    void (*log_softmax)(ptrdiff_t rows, ptrdiff_t n, void *z, ptrdiff_t ldz, void *y,
                        ptrdiff_t ldy);
    /* dz = y * (dy - sum_j dy_j y_j) of each row; in place on dy ok */
    void (*softmax_slope)(ptrdiff_t rows, ptrdiff_t n, const void *y, ptrdiff_t ldy, const void *dy,
                          ptrdiff_t lddy, void *dz, ptrdiff_t lddz);
    /* dz = dy - exp(y) sum_j dy_j of each row; in place on dy ok */
    void (*log_softmax_slope)(ptrdiff_t rows, ptrdiff_t n, const void *y, ptrdiff_t ldy,
                              const void *dy, ptrdiff_t lddy, void *dz, ptrdiff_t lddz);
    /* returns the sum over rows and columns of the value, not averaged; fills dy */
    double (*loss[NNC_N_LOSSES])(const nnc_loss_args *);
    nnc_rule *update[NNC_N_OPTS];
    /* s[n] (+)= sum over rows, at most NNC_BLOCK of them, in increasing order from +0 */
    void (*column_sums)(ptrdiff_t rows, ptrdiff_t n, const void *x, ptrdiff_t ldx, void *s,
                        int accumulate);
    /* y[i,:] = x[index[i],:]; where the rows of y have room for whole vectors, zeros behind it */
    void (*gather)(ptrdiff_t rows, ptrdiff_t n, const int64_t *index, const void *x, ptrdiff_t ldx,
                   void *y, ptrdiff_t ldy);
    /* out = x * y; in place ok */
    void (*multiply)(ptrdiff_t n, const void *x, const void *y, void *out);
    /* c[m, n], without a gap, = x[i] * y[j] */
    void (*outer)(ptrdiff_t m, ptrdiff_t n, const void *x, const void *y, void *c);
    /* whether none of n numbers is infinite or NaN */
    int (*finite)(ptrdiff_t n, const void *x);
    /* out = center + a u + b v, in double, each operation rounded, and then to real */
    void (*point)(ptrdiff_t n, const double *center, double a, const double *u, double b,
                  const double *v, void *out);
    const nnc_other_kernels *other;
    /* returns the loss and fills the gradient, with the bits of the kernels above */
    double (*row)(const nnc_row *);
    /* the same of some rows, each the same bits; steps that are frozen have their gradient, too */
    double (*few)(const nnc_few *);
    /* register-only fused multiply-adds: returns the operations done; for the peak probe */
    double (*fma_probe)(ptrdiff_t iterations, void *sink);
} nnc_kernels;

/* y = f(x); keep: and what act_slope wants is in y, or in x where the row keeps X. */
static inline void nnc_activate(const nnc_kernels *k, int act, int keep, ptrdiff_t n, void *x,
                                void *y, const double *a) {
    if (keep && k->act_keep[act])
        k->act_keep[act](n, x, y, a);
    else
        k->act[act](n, x, y, a);
}

/* ---- cpu.c, dispatch.c: which tables can run -------------------------------------------- */

int nnc_isa_count(void);
const char *nnc_isa_name(int i); /* in order of preference, best first */
int nnc_isa_compiled(int i);     /* the compiler could build it */
int nnc_isa_runnable(int i);     /* compiled, and this CPU and OS can run it */
const nnc_kernels *nnc_kernels_for(const char *isa, nnc_dtype dtype); /* NULL: cannot run */
const char *nnc_build_compiler(void);
const char *nnc_build_flags(void);

/* ---- tables.c: the rows of the .def tables as data ---------------------------------------- */

typedef struct {
    const char *name;
    nnc_keeps keeps;
    const char *parameters; /* their names, space separated */
    double defaults[NNC_MAX_ACT_PARAMETERS];
} nnc_act_info;
typedef struct {
    const char *name;
    nnc_output output; /* the output activation it is fused with (softmax: or log_softmax), with
                          default parameters; ANY: all, not fused */
    nnc_mean mean;
    int per_target;    /* outputs for each target */
    const char *hyper; /* names of the parameters a and b, space separated */
    double defaults[NNC_MAX_LOSS_HYPER];
} nnc_loss_info;
typedef struct {
    const char *name;
    int vectors;       /* state vectors of the length of theta */
    const char *hyper; /* names of hyper-parameters, space separated */
    int n_hyper;
    double defaults[NNC_MAX_COEF];
} nnc_opt_info;

extern const char *const nnc_step_names[NNC_N_STEPS];
extern const nnc_act_info nnc_acts[NNC_N_ACTS];
extern const nnc_loss_info nnc_losses[NNC_N_LOSSES];
extern const nnc_opt_info nnc_opts[NNC_N_OPTS];

/* coef of the t-th update (t from 1), in double, from the hyper-parameters */
void nnc_opt_coefficients(nnc_opt opt, const double *hyper, int64_t t, double *coef);

/* ---- shuffle.c ------------------------------------------------------------------------------ */

/* order[0 .. n - 1] = 0 .. n - 1 in a random order, which the key determines */
void nnc_shuffle(ptrdiff_t n, uint64_t key, int64_t *order);

/* ---- pool.c: threads -------------------------------------------------------------------- */

extern const int nnc_max_threads; /* exported: threadpoolctl knows the library by it */

/* One of the parts 0 .. parts - 1 of a job. What it computes may not depend on who runs it. */
typedef void nnc_part(void *context, int part, int parts);

/* Runs all parts, at most NNC_MAX_THREADS, and returns when they are done. The caller's thread runs
 * part 0, other threads may run others. Part 0 may fork; the child runs the other parts again.
 * spin: threads may wait in a loop for the next job before they sleep; there should be no more of
 * them than processors. */
void nnc_run_parts(nnc_part *run, void *context, int parts, int spin);

/* ---- plan.c: a lowered network ---------------------------------------------------------- */

/* How the parameters of one step are trained. The penalty l1 sum |w| + l2 / 2 sum w^2 of its W is
 * part of the loss. Steps other than dense have no W: there l1, l2 and max_norm are 0. */
typedef struct {
    int frozen;      /* neither they nor the optimizer's state of them change */
    double rate;     /* multiplies the learning rate */
    double l1, l2;   /* of W, not of b */
    double max_norm; /* the largest 2-norm of a column of W after an update; 0: any */
} nnc_tuning;

typedef struct {
    const nnc_kernels *kernels;
    const nnc_step *steps; /* each feeds the next */
    int n_steps;
    ptrdiff_t n_params;
    int loss;
    double longest; /* operations that run without a poll; 0: about 50 ms of them */
    int threads;    /* that may work at once, 1 .. NNC_MAX_THREADS */
    int spin;       /* they may spin: see nnc_run_parts */
    double loss_a, loss_b;
    double loss_most; /* `most` of the loss; the gradient is that of the loss without it */
    int by_rows;      /* an elementwise loss is summed over each row: the mean is over rows */
    nnc_loss_call *loss_call; /* NULL, or what is called instead of the table's loss */
    void *loss_context;
    nnc_act_call *act_call; /* what steps of the kind called call */
    void *act_context;
    const nnc_tuning *tuning; /* of each step, or NULL: rate 1 and the rest 0 */
    /* Of steps other than dense. */
    ptrdiff_t n_running;
    void *running; /* [n_running] running statistics, which nnc_train updates with the parameters,
                      and the numbers of scaling steps */
    uint64_t seed; /* of random numbers */
    uint64_t draw; /* number of the prediction */
    int sample;    /* in predictions draw what is random there too */
} nnc_plan;

/* Samples: X[., n_in of the first step], targets and weights as in nnc_loss_args; index: which
 * rows, in order, or NULL for 0, 1, 2, ... Labels must have been checked against n_out, weights to
 * be finite and at least 0. The mean is sum w_i l_i / sum w_i: weight 2 is the row twice.
 *
 * counts: where targets may be missing, in an elementwise loss, w_i times what row i counts in the
 * mean: the number of its targets, or for a mean over rows 1 if there is any. so_far: the sum of
 * the values and of the weights or counts of rows before these, which belong to the same mean;
 * nnc_evaluate adds these rows', so that the last of several calls, each but the last for a
 * multiple of NNC_BLOCK rows, returns the loss of all, with the bits of one call. */
typedef struct {
    ptrdiff_t rows;
    const int64_t *index;
    const void *x;
    ptrdiff_t ldx;
    const void *t;
    ptrdiff_t ldt;
    const int64_t *labels;
    const double *weights; /* NULL: all 1 */
    const double *counts;  /* NULL: no target is missing */
    double *so_far;        /* [2], or NULL: none */
} nnc_samples;

/* Called between pieces of work of some 50 ms at most; non-zero means stop. */
typedef int (*nnc_poll)(void *context);

typedef struct {
    int opt;
    const double *hyper;
    void *state[NNC_MAX_VECTORS]; /* NNC_ALIGN aligned, n_params each; NULL beyond the rule's */
    int64_t updates;              /* done so far; counted up with each step */
    const double *rates;          /* of each update of the run, in place of hyper[0]; or NULL */
    double decay;                 /* W *= 1 - rate decay before each update, decoupled from it; of
                                     dense steps */
    double clip_norm, clip_value; /* of the gradient with the penalties', 0: none. The norm is of
                                     all parameters that are trained */
    void *average;    /* NULL, or a vector like state[]: average += weight (theta - average) */
    double weight;    /* after each update; 1 after the first */
    int64_t averaged; /* how often that was done; counted up */
    uint64_t drawn;   /* updates done so far, of any optimizer: what they drew */
} nnc_optimizer;

nnc_status nnc_plan_check(const nnc_plan *plan);

typedef enum {
    NNC_PREDICT,
    NNC_EVALUATE,
    NNC_GRADIENT,
    NNC_TRAIN,
    NNC_HESSIAN,
    NNC_LANDSCAPE
} nnc_use;

/* Bytes of workspace for that many rows: NNC_HESSIAN for a Hessian product, NNC_GRADIENT for every
 * other derivative. The plan's threads count. */
size_t nnc_plan_work(const nnc_plan *plan, ptrdiff_t rows, nnc_use use);

/* out[rows, n_out] = the network's output. Any number of rows; a row's bits do not depend on the
 * others. `out` may not alias x. work: of nnc_plan_work(plan, rows, NNC_PREDICT). */
nnc_status nnc_predict(const nnc_plan *plan, const void *theta, const void *x, ptrdiff_t ldx,
                       ptrdiff_t rows, void *out, ptrdiff_t ldo, void *work, nnc_poll poll,
                       void *context);

/* *loss = the mean loss over the samples plus the penalties; gradient[n_params] unless NULL, of all
 * parameters, frozen or not, and work of NNC_EVALUATE or NNC_GRADIENT bytes. Both are 0 where the
 * weights sum to 0. Nothing is drawn, and batch_norm uses its running statistics. */
nnc_status nnc_evaluate(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                        double *loss, void *gradient, void *work, nnc_poll poll, void *context);

/* Trains on consecutive batches of the samples, the last one shorter if need be; losses[i] is the
 * loss of step i before its update. Samples may not lie in theta or gradient. *steps_done counts
 * finished steps, also when stopped. work: for the rows of the largest batch. A batch whose weights
 * sum to 0 is a step that changes nothing, with loss 0. Bad plan: a batch of one row for a
 * batch_norm. */
nnc_status nnc_train(const nnc_plan *plan, void *theta, void *gradient, nnc_optimizer *optimizer,
                     const nnc_samples *samples, ptrdiff_t batch_size, double *losses,
                     ptrdiff_t *steps_done, void *work, nnc_poll poll, void *context);

/* ---- derive.inc.h: derivatives beyond the gradient ------------------------------------------

 * Weights of the samples, if there are any, must not all be 0. */

/* The gradient of the mean loss by the inputs: dx[rows, n_in], rows lddx apart. */
nnc_status nnc_input_gradient(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                              double *loss, void *dx, ptrdiff_t lddx, void *work, nnc_poll poll,
                              void *context);

/* losses[i], and in gradients[rows, n_params] its gradient: of sample i alone, so without weight.
 */
nnc_status nnc_sample_gradients(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                                double *losses, void *gradients, void *work, nnc_poll poll,
                                void *context);

typedef enum { NNC_BY_INPUTS, NNC_BY_PARAMETERS } nnc_by;

/* jacobian[rows, n_out, n_in or n_params]: the derivatives of each output of each row. */
nnc_status nnc_jacobian(const nnc_plan *plan, const void *theta, const void *x, ptrdiff_t ldx,
                        ptrdiff_t rows, nnc_by by, void *jacobian, void *work, nnc_poll poll,
                        void *context);

/* product[n_params] = H v, H the Hessian of the mean loss: exact, but for rounding. At a kink f''
 * is what the activation's row says, as if it were none. NNC_SLACK must be readable behind v.
 * NNC_BAD_PLAN: a loss that is called has no second derivative. (An activation that is called and
 * has none stops the run.) */
nnc_status nnc_hessian_product(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                               const void *v, double *loss, void *product, void *work,
                               nnc_poll poll, void *context);

/* ---- landscape.inc.h: the loss on a grid of parameters -------------------------------------- */

/* The points center + a[i] u + b[j] v; center, u and v have n_params elements each. */
typedef struct {
    const double *center, *u, *v;
    ptrdiff_t n_a, n_b;
    const double *a, *b;
} nnc_grid;

/* losses[i * n_b + j] = the loss of nnc_evaluate at the point of a[i] and b[j], rounded to real.
 * Points are taken in this order, and *done counts those that are finished: it is brought up to
 * date, and the poll called, every 25 ms or so. Weights must not all be 0. */
nnc_status nnc_landscape(const nnc_plan *plan, const nnc_grid *grid, const nnc_samples *samples,
                         double *losses, ptrdiff_t *done, void *work, nnc_poll poll, void *context);

#ifdef __cplusplus
}
#endif
#endif
