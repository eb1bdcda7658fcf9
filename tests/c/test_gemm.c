/* The GEMM: every element against the canonical sum written as plain loops, bit by bit; a sample
 * of elements against `wide` with the bound of nnc.h; and nothing touched outside. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

typedef struct {
    ptrdiff_t m, n, k;
} shape;

/* A product without its memory layout: dense row-major matrices, and the block sums of the
 * canonical order, fused and not. */
typedef struct {
    nnc_dtype type;
    shape size;
    ptrdiff_t blocks;
    void *a, *b, *c, *bias, *kept;
    void *sums[2]; /* [blocks][m, n]; of separate and of fused multiply-adds */
} problem;

/* How one call lays it out. */
typedef struct {
    int transpose_a, transpose_b, accumulate, with_bias, arena, all_rows;
    enum { PLAIN, IN_PLACE, APART, SLOPE } epilogue;
    int act;
    ptrdiff_t lda, ldb, ldc, ldy, ld_kept;
} layout;

/* sums[p, i, j] = the p-th block's sum of element i, j. */
#define BLOCK_SUMS(real, multiply_add, name) \
    static void name(const problem *q, const real *a, const real *b, real *sums) { \
        const ptrdiff_t m = q->size.m, n = q->size.n, k = q->size.k; \
        for (ptrdiff_t i = 0; i < m; i++) \
            for (ptrdiff_t p = 0; p < k; p++) { \
                real *to = sums + (p / NNC_BLOCK * m + i) * n; \
                for (ptrdiff_t j = 0; j < n; j++) \
                    to[j] = multiply_add(a[i * k + p], b[p * n + j], to[j]); \
            } \
    }
#define SEPARATE(x, y, z) ((x) * (y) + (z))
BLOCK_SUMS(float, SEPARATE, separate_f32)
BLOCK_SUMS(double, SEPARATE, separate_f64)
BLOCK_SUMS(float, fmaf, fused_f32)
BLOCK_SUMS(double, fma, fused_f64)

static void *numbers(nnc_dtype type, ptrdiff_t n, uint64_t seed) {
    void *p = zeroed((size_t)n, size_of(type));
    fill(type, p, n, seed, -1, 1);
    return p;
}

static problem make_problem(nnc_dtype type, shape s) {
    const uint64_t seed = (uint64_t)(s.m * 1000003 + s.n * 1009 + s.k);
    problem q = {.type = type, .size = s, .blocks = s.k ? (s.k - 1) / NNC_BLOCK + 1 : 1};
    q.a = numbers(type, s.m * s.k, seed);
    q.b = numbers(type, s.k * s.n, seed + 1);
    q.c = numbers(type, s.m * s.n, seed + 2);
    q.bias = numbers(type, s.n, seed + 3);
    q.kept = numbers(type, s.m * s.n, seed + 4);
    for (int fused = 0; fused < 2; fused++)
        q.sums[fused] = zeroed((size_t)(q.blocks * s.m * s.n), size_of(type));
    if (type == NNC_F32)
        separate_f32(&q, q.a, q.b, q.sums[0]), fused_f32(&q, q.a, q.b, q.sums[1]);
    else
        separate_f64(&q, q.a, q.b, q.sums[0]), fused_f64(&q, q.a, q.b, q.sums[1]);
    return q;
}

static void free_problem(problem *q) {
    free(q->a), free(q->b), free(q->c), free(q->bias), free(q->kept);
    free(q->sums[0]), free(q->sums[1]);
}

/* x + y, rounded to the type. */
static double sum(nnc_dtype type, double x, double y) {
    return type == NNC_F32 ? (double)((float)x + (float)y) : x + y;
}

/* What must stand in c before the epilogue. */
static void expected_c(const problem *q, const layout *l, int fused, void *c) {
    const ptrdiff_t n = q->size.n, count = q->size.m * n;
    for (ptrdiff_t e = 0; e < count; e++) {
        double s = get(q->type, q->sums[fused], e);
        if (l->accumulate) s = sum(q->type, get(q->type, q->c, e), s);
        for (ptrdiff_t p = 1; p < q->blocks; p++)
            s = sum(q->type, s, get(q->type, q->sums[fused], p * count + e));
        if (l->with_bias) s = sum(q->type, s, get(q->type, q->bias, e % n));
        put(q->type, c, e, s);
    }
}

/* The bound of nnc.h, for a sample of the elements. */
static void check_error(const problem *q, const layout *l, const void *c, ptrdiff_t ldc) {
    enum { SAMPLE = 24 };
    const ptrdiff_t m = q->size.m, n = q->size.n, k = q->size.k, count = m * n;
    const wide eps = epsilon_of(q->type);
    const wide terms = (wide)((k < NNC_BLOCK ? k : NNC_BLOCK) + k / NNC_BLOCK + 1);
    for (int s = 0; s < SAMPLE && s < count; s++) {
        const ptrdiff_t e =
            count <= SAMPLE ? s : (ptrdiff_t)(mixed(7, (uint64_t)s) % (uint64_t)count);
        const ptrdiff_t i = e / n, j = e % n;
        wide value = 0, size = 0;
        for (ptrdiff_t p = 0; p < k; p++) {
            const wide term = (wide)get(q->type, q->a, i * k + p) * get(q->type, q->b, p * n + j);
            value += term, size += W(fabs)(term);
        }
        if (l->accumulate) value += get(q->type, q->c, e), size += W(fabs)(get(q->type, q->c, e));
        if (l->with_bias)
            value += get(q->type, q->bias, j), size += W(fabs)(get(q->type, q->bias, j));
        const wide bound = (terms + 2) * eps * size;
        check(first_outside(q->type, 1, 1, at(q->type, c, i * ldc + j), 1, &value, &bound) < 0,
              "element %td, %td is beyond the error bound", i, j);
    }
}

/* A fresh matrix with exactly the bytes that rows `ld` apart need; from: dense, or NULL. */
static void *matrix(nnc_dtype type, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const void *from,
                    int transposed, int with_slack) {
    const size_t bytes = rows && n ? (size_t)((rows - 1) * ld + n) * size_of(type) : 0;
    void *p = with_slack ? fresh_with_slack(bytes) : fresh(bytes);
    for (ptrdiff_t i = 0; from && i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++)
            put(type, p, i * ld + j, get(type, from, transposed ? j * rows + i : i * n + j));
    return p;
}

static void run(const nnc_kernels *kernels, const problem *q, const layout *l, void *work,
                void *rows_work) {
    const nnc_dtype type = q->type;
    const ptrdiff_t m = q->size.m, n = q->size.n, k = q->size.k;
    const int start = mark();
    where("%s m %td n %td k %td%s%s lda %td ldb %td ldc %td%s%s%s epilogue %d %s ldy %td",
          kernels->isa, m, n, k, l->transpose_a ? " A'" : "", l->transpose_b ? " B'" : "", l->lda,
          l->ldb, l->ldc, l->accumulate ? " accumulate" : "", l->with_bias ? " bias" : "",
          l->arena ? " arena" : "", (int)l->epilogue, nnc_acts[l->act].name, l->ldy);

    nnc_gemm g = {
        .m = m, .n = n, .k = k, .ldc = l->ldc, .accumulate = l->accumulate, .arena = l->arena};
    g.a = l->transpose_a ? matrix(type, k, m, l->lda, q->a, 1, 0)
                         : matrix(type, m, k, l->lda, q->a, 0, 0);
    g.a_row = l->transpose_a ? 1 : l->lda, g.a_col = l->transpose_a ? l->lda : 1;
    g.b = l->transpose_b ? matrix(type, n, k, l->ldb, q->b, 1, 1)
                         : matrix(type, k, n, l->ldb, q->b, 0, 1);
    g.b_row = l->transpose_b ? 1 : l->ldb, g.b_col = l->transpose_b ? l->ldb : 1;
    g.c = matrix(type, m, n, l->ldc, l->accumulate ? q->c : NULL, 0, 0);
    if (l->with_bias) g.bias = matrix(type, 1, n, n, q->bias, 0, 1);
    if (l->epilogue != PLAIN) g.act = l->act, g.act_a = nnc_acts[l->act].defaults;
    if (l->epilogue == IN_PLACE) g.y = g.c, g.ldy = l->ldc;
    if (l->epilogue == APART) g.y = matrix(type, m, n, l->ldy, NULL, 0, 0), g.ldy = l->ldy;
    if (l->epilogue == SLOPE)
        g.kept = matrix(type, m, n, l->ld_kept, q->kept, 0, 0), g.ld_kept = l->ld_kept;
    g.work = work, g.rows_work = rows_work;
    kernels->gemm(&g);

    void *want = zeroed((size_t)(m * n), size_of(type));
    void *want_y = zeroed((size_t)(m * n), size_of(type));
    expected_c(q, l, is_fused(kernels), want);
    if (l->epilogue == PLAIN || l->epilogue == APART) check_error(q, l, g.c, l->ldc);
    if (l->epilogue == APART) kernels->act[l->act](m * n, want, want_y, g.act_a);
    if (l->epilogue == IN_PLACE) kernels->act[l->act](m * n, want, want, g.act_a);
    if (l->epilogue == SLOPE) kernels->act_slope[l->act](m * n, q->kept, want, want, g.act_a);
    ptrdiff_t wrong = first_different(type, m, n, g.c, l->ldc, want);
    check(wrong < 0, "c differs from the canonical value at %td, %td", wrong / (n + !n),
          wrong % (n + !n));
    check(l->arena || gaps_untouched(type, m, n, g.c, l->ldc), "c was written between its rows");
    if (l->epilogue == APART) {
        wrong = first_different(type, m, n, g.y, l->ldy, want_y);
        check(wrong < 0, "y differs at %td, %td", wrong / (n + !n), wrong % (n + !n));
        check(l->arena || gaps_untouched(type, m, n, g.y, l->ldy),
              "y was written between its rows");
    }
    free(want), free(want_y);
    release(start);
}

/* A layout that depends on nothing but `which`. */
static layout choose(const problem *q, int orientation, uint64_t which) {
    static const ptrdiff_t gaps[] = {0, 0, 0, 1, 3, 7, 19};
    uint64_t bits = mixed(99, which);
#define CHOOSE(n) ((bits = mixed(bits, 1)) % (n))
#define GAP gaps[CHOOSE(sizeof gaps / sizeof *gaps)]
    layout l = {.transpose_a = orientation & 1, .transpose_b = orientation >> 1};
    const ptrdiff_t n = q->size.n;
    l.accumulate = (int)CHOOSE(2);
    l.with_bias = (int)CHOOSE(2);
    l.arena = CHOOSE(3) == 0;
    l.epilogue = CHOOSE(4);
    l.act = (int)CHOOSE(NNC_N_ACTS);
    l.lda = (l.transpose_a ? q->size.m : q->size.k) + GAP;
    if (CHOOSE(4) == 0 && l.lda <= 1024) l.lda = 1024; /* rows that share cache sets are packed */
    l.ldb = (l.transpose_b ? q->size.k : n) + GAP;
    l.ldc = n + GAP;
    l.ldy = CHOOSE(2) ? l.ldc : n + GAP;
    l.ld_kept = CHOOSE(2) ? l.ldc : n + GAP;
    l.all_rows = (int)CHOOSE(2);
    return l;
}

static uint64_t layouts_chosen;

static void test_shape(nnc_dtype type, shape s, int layouts) {
    const nnc_kernels *list[MAX_ISAS];
    const int isas = runnable(type, list);
    const int start = mark();
    void *work[MAX_ISAS], *rows_work[MAX_ISAS];
    problem q = make_problem(type, s);
    for (int i = 0; i < isas; i++) {
        work[i] = fresh_aligned(list[i]->gemm_work);
        rows_work[i] = fresh_aligned(list[i]->gemm_rows_work);
    }
    for (int orientation = 0; orientation < 4; orientation++)
        for (int which = 0; which < layouts; which++) {
            const layout l = choose(&q, orientation, layouts_chosen++);
            for (int i = 0; i < isas; i++)
                run(list[i], &q, &l, work[i], l.all_rows ? rows_work[i] : NULL);
        }
    release(start);
    free_problem(&q);
}

void test_gemm(void) {
    static const ptrdiff_t ms[] = {1, 2, 3, 5, 6, 7, 11, 12, 13, 25, 31};
    static const ptrdiff_t ns[] = {1,  2,  3,  4,  5,  7,  8,  9,   15,  16,  17,  23,  31, 32,
                                   33, 47, 63, 64, 65, 70, 97, 127, 128, 129, 130, 200, 257};
    static const ptrdiff_t ks[] = {1,  2,  3,   7,   8,   15,  16,  17,  31,
                                   33, 64, 100, 255, 256, 257, 511, 513, 600};
    /* every branch: nothing at all, wide rows, several column blocks, everything packed */
    static const shape shapes[] = {
        {0, 5, 3},      {5, 0, 3},       {4, 7, 0},      {1, 40, 0},     {0, 0, 0},
        {13, 33, 0},    {1, 1, 1},       {1, 384, 40},   {1, 300, 9},    {2, 513, 65},
        {13, 600, 40},  {30, 513, 300},  {40, 1030, 33}, {26, 257, 257}, {64, 64, 64},
        {100, 10, 256}, {37, 129, 520},  {256, 17, 20},  {257, 3, 7},    {24, 64, 600},
        {25, 65, 1025}, {61, 530, 1025}, {2070, 513, 3}, {130, 21, 131},
    };
    enum { N = sizeof ns / sizeof *ns, K = sizeof ks / sizeof *ks };
    for (int t = 0; t < NNC_N_DTYPES; t++) {
        const nnc_dtype type = (nnc_dtype)t;
        group("gemm %s", type_names[t]);
        layouts_chosen = 0;
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) test_shape(type, shapes[i], 3);
        for (size_t i = 0; i < sizeof ms / sizeof *ms; i++)
            for (size_t j = 0; j < N; j++)
                test_shape(type, (shape){ms[i], ns[j], ks[(7 * i + 5 * j) % K]}, 1);
        /* one shape in every combination of what a call may ask for */
        for (int i = 0; i < 3; i++)
            test_shape(type, ((shape[]){{7, 19, 5}, {25, 70, 270}, {1, 33, 12}})[i], 100);
    }
}
