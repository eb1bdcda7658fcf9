/* C[m,n] = A[m,k] B[k,n] with its ends fused: see nnc_gemm in nnc.h for the contract.
 *
 * The idea: one register tile of TILE_ROWS x TILE_VECS vectors, fed by broadcasts of A and vectors
 * of B, runs a chain of at most NNC_BLOCK fused multiply-adds for each element. All around it only
 * decides which tile comes next and whether A or B is first copied to where it reads fast. No
 * choice here can change a bit of the result.
 *
 * m rows, n columns, k the length of the sums; i, j, p index them.
 */

enum {
    BLOCK_COLS = 2048 / (int)sizeof(real), /* columns of B packed at a time: 512 KB, half an L2 */
    SLIVER = (TILE_ROWS + LANES - 1) / LANES * LANES, /* a packed column of a tile's rows of A   */
    PACKED_B = (NNC_BLOCK * TILE_COLS + PAD) * (BLOCK_COLS / TILE_COLS),
    GROUP = 48 / TILE_ROWS,             /* panels of A copied at a time            */
    KEPT_PANELS = 2048 / TILE_ROWS + 1, /* of A, for all columns: 2.8 MB           */
    WIDE_VECS = 8,                      /* the tile of a single row is this many vectors wide */
    DIRECT_BYTES = 1 << 20,             /* a B no larger, an L2, is read where it lies,       */
    DIRECT_STRIDE = 1 << 11,            /* unless its rows are far apart                      */
    FAR_BYTES = 1 << 18,                /* a C no larger than this is taken to be in cache    */
};

/* How a tile finds A[i, p]: row-major rows `step` apart, or a[p * step + i] (a packed sliver, and
 * the transposed X of the weight gradient). */
enum { A_ROWS, A_COLS };

/* Packing pays when B is transposed, or when it is used often enough and reads badly as it lies:
 * from far, or in tiles that each fill one line and touch two. */
static int wants_packed_b(const nnc_gemm *g) {
    enum { LINE = 64, TILE_FILLS_A_LINE = TILE_COLS * sizeof(real) <= LINE };
    const ptrdiff_t row_bytes = g->b_row * (ptrdiff_t)sizeof(real);
    if (g->b_col != 1) return 1;
    if (g->m <= 2 * TILE_ROWS) return 0;
    const int often = g->k > NNC_BLOCK / 2 && g->m >= NNC_BLOCK / 2;
    if (TILE_FILLS_A_LINE && row_bytes % LINE && often) return 1;
    return g->k * g->n * (ptrdiff_t)sizeof(real) > DIRECT_BYTES || row_bytes >= DIRECT_STRIDE;
}

/* Packing pays when a tile's part of A would lie in the same few cache sets: a row's stretch of a
 * block and those of 11 more, or one line of each of NNC_BLOCK rows. Or when tiles use so little of
 * those lines that they fill half an L1. */
static int wants_packed_a(const nnc_gemm *g, int form, ptrdiff_t step) {
    enum { TILE_USES_HALF_A_LINE = TILE_ROWS * sizeof(real) <= 32 };
    const ptrdiff_t bytes = step * (ptrdiff_t)sizeof(real);
    if (g->n <= 2 * TILE_COLS || g->m < 2) return 0;
    if (form == A_ROWS) return bytes > 2048 && (bytes + 128) % 4096 < 256;
    if (TILE_USES_HALF_A_LINE && g->k > NNC_BLOCK / 2 && g->n >= 12 * TILE_COLS) return 1;
    return (bytes >= 1024 && bytes % 1024 == 0) || bytes > 8192;
}

/* ---- the register tile ------------------------------------------------------------------ */

typedef struct {
    ptrdiff_t k;
    const real *a;
    ptrdiff_t a_step;
    const real *b;
    ptrdiff_t b_step;
    real *c;
    ptrdiff_t ldc;
    int tail; /* elements of the last vector that exist, 1 .. LANES */
    int add;  /* c holds the sum of the earlier blocks */
    int far;  /* c is not in cache: fetch it while the sums run */
    const real *bias;
    /* While the sums of many rows run, every so many steps one line of each is fetched; 0: none. */
    const real *fetch[3];
    ptrdiff_t fetch_every;
} tile_args;

/* c[rows, vecs vectors] (+)= sum_p A[i,p] B[p,:], then + bias. rows, vecs and form are constants at
 * each call, so the accumulators are registers. */
ALWAYS_INLINE void tile(const tile_args *t, const int rows, const int vecs, const int form) {
    const int fetches = rows > TILE_ROWS / 2; /* fewer wait for their own sums */
    /* Copies: a store through c might otherwise change *t. */
    const real *a = t->a, *b = t->b, *bias = t->bias;
    const ptrdiff_t a_step = t->a_step, b_step = t->b_step, ldc = t->ldc;
    const int add = t->add, tail = t->tail;
    real *c = t->c;
    vec acc[TILE_ROWS][WIDE_VECS];
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < vecs; v++) acc[i][v] = VZERO;
    if (t->far) {
        const real *line = c;
        ROLLED for (int i = 0; i < rows; i++, line += ldc)
            UNROLL for (int v = 0; v < vecs; v++) __builtin_prefetch(line + v * LANES, 1);
    }
    const real *f0 = t->fetch[0], *f1 = t->fetch[1], *f2 = t->fetch[2];
    const ptrdiff_t every = t->fetch_every;
    ptrdiff_t wait = every > 0;
    for (ptrdiff_t p = t->k; p > 0; p--) {
        vec bv[WIDE_VECS];
        if (fetches && --wait == 0) {
            __builtin_prefetch(f0, 1), __builtin_prefetch(f1, 1), __builtin_prefetch(f2, 1);
            f0 += PAD, f1 += PAD, f2 += PAD, wait = every;
        }
        UNROLL for (int v = 0; v < vecs; v++) bv[v] = VLOAD(b + v * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            const vec av = VSPLAT(form == A_ROWS ? a[i * a_step] : a[i]);
            UNROLL for (int v = 0; v < vecs; v++) acc[i][v] = VFMA(av, bv[v], acc[i][v]);
        }
        b += b_step;
        a += form == A_ROWS ? 1 : a_step;
    }
    const int whole = vecs - (tail < LANES), end = (vecs - 1) * LANES; /* vectors stored whole */
    real *row = c;
    if (add)
        UNROLL for (int i = 0; i < rows; i++, row += ldc) {
            UNROLL for (int v = 0; v < vecs - 1; v++) acc[i][v] += VLOAD(row + v * LANES);
            acc[i][vecs - 1] += whole == vecs ? VLOAD(row + end) : (vec)VLOAD_N(row + end, tail);
        }
    if (bias)
        UNROLL for (int v = 0; v < vecs; v++) {
            const vec bv = VLOAD(bias + v * LANES);
            UNROLL for (int i = 0; i < rows; i++) acc[i][v] = acc[i][v] + bv;
        }
    row = c;
    UNROLL for (int i = 0; i < rows; i++, row += ldc) {
        UNROLL for (int v = 0; v < vecs - 1; v++) VSTORE(row + v * LANES, acc[i][v]);
        if (whole == vecs)
            VSTORE(row + end, acc[i][vecs - 1]);
        else
            VSTORE_N(row + end, acc[i][vecs - 1], tail);
    }
}

#ifdef HALF_SPLAT
enum { HALF = LANES / 2 };
typedef real half __attribute__((vector_size(HALF * sizeof(real))));
typedef real half_u
    __attribute__((vector_size(HALF * sizeof(real)), aligned(sizeof(real)), may_alias));

/* The tile of the last HALF columns or fewer. */
ALWAYS_INLINE void half_tile(const tile_args *t, const int rows, const int form) {
    const real *a = t->a, *b = t->b, *bias = t->bias;
    const ptrdiff_t a_step = t->a_step, b_step = t->b_step, ldc = t->ldc;
    const int add = t->add, tail = t->tail;
    real *c = t->c;
    half acc[TILE_ROWS];
    UNROLL for (int i = 0; i < rows; i++) acc[i] = (half){0};
    for (ptrdiff_t p = t->k; p > 0; p--) {
        const half bv = (half) * (const half_u *)b;
        UNROLL for (int i = 0; i < rows; i++)
            acc[i] = HALF_FMA(HALF_SPLAT(form == A_ROWS ? a[i * a_step] : a[i]), bv, acc[i]);
        b += b_step;
        a += form == A_ROWS ? 1 : a_step;
    }
    if (add)
        UNROLL for (int i = 0; i < rows; i++)
            acc[i] = (half)HALF_LOAD_N(c + i * ldc, tail) + acc[i];
    if (bias) {
        const half bv = (half) * (const half_u *)bias;
        UNROLL for (int i = 0; i < rows; i++) acc[i] = acc[i] + bv;
    }
    UNROLL for (int i = 0; i < rows; i++) HALF_STORE_N(c + i * ldc, acc[i], tail);
}
#else
enum { HALF = 0 };
#endif

/* One function per shape, named tile_<form>_<rows>x<vecs>, and the table that finds it. */
#define TILE_FN(rows, vecs)                                                                      \
    static void tile_A_ROWS_##rows##x##vecs(const tile_args *t) { tile(t, rows, vecs, A_ROWS); } \
    static void tile_A_COLS_##rows##x##vecs(const tile_args *t) { tile(t, rows, vecs, A_COLS); }
#define TILE_ROW(form, rows, vecs) tile_##form##_##rows##x##vecs

#if TILE_ROWS == 12
#define EACH_ROWS(F, ...)                                                                        \
    F(__VA_ARGS__, 1) F(__VA_ARGS__, 2) F(__VA_ARGS__, 3) F(__VA_ARGS__, 4) F(__VA_ARGS__, 5)    \
    F(__VA_ARGS__, 6) F(__VA_ARGS__, 7) F(__VA_ARGS__, 8) F(__VA_ARGS__, 9) F(__VA_ARGS__, 10)   \
    F(__VA_ARGS__, 11) F(__VA_ARGS__, 12)
#elif TILE_ROWS == 6
#define EACH_ROWS(F, ...)                                                                        \
    F(__VA_ARGS__, 1) F(__VA_ARGS__, 2) F(__VA_ARGS__, 3) F(__VA_ARGS__, 4) F(__VA_ARGS__, 5)    \
    F(__VA_ARGS__, 6)
#else
#error "TILE_ROWS has no list of tiles"
#endif
#if TILE_VECS == 2
#define EACH_VECS(F) F(1) F(2)
#elif TILE_VECS == 4
#define EACH_VECS(F) F(1) F(2) F(3) F(4)
#else
#error "TILE_VECS has no list of tiles"
#endif

#define DEFINE_TILE(vecs, rows) TILE_FN(rows, vecs)
#define DEFINE_TILES(vecs) EACH_ROWS(DEFINE_TILE, vecs)
EACH_VECS(DEFINE_TILES)
TILE_FN(1, 8)

typedef void tile_fn(const tile_args *);
#define TILE_ENTRY_ROWS(vecs, rows) tile_A_ROWS_##rows##x##vecs,
#define TILE_ENTRY_COLS(vecs, rows) tile_A_COLS_##rows##x##vecs,
#define TILE_ENTRIES_ROWS(vecs) {EACH_ROWS(TILE_ENTRY_ROWS, vecs)},
#define TILE_ENTRIES_COLS(vecs) {EACH_ROWS(TILE_ENTRY_COLS, vecs)},
static tile_fn *const tiles[2][TILE_VECS][TILE_ROWS] = {
    [A_ROWS] = {EACH_VECS(TILE_ENTRIES_ROWS)},
    [A_COLS] = {EACH_VECS(TILE_ENTRIES_COLS)},
};

#ifdef HALF_SPLAT
#define HALF_FN(_, rows)                                                                          \
    static void half_A_ROWS_##rows(const tile_args *t) { half_tile(t, rows, A_ROWS); }            \
    static void half_A_COLS_##rows(const tile_args *t) { half_tile(t, rows, A_COLS); }
EACH_ROWS(HALF_FN, _)
#define HALF_ENTRY_ROWS(_, rows) half_A_ROWS_##rows,
#define HALF_ENTRY_COLS(_, rows) half_A_COLS_##rows,
static tile_fn *const half_tiles[2][TILE_ROWS] = {
    [A_ROWS] = {EACH_ROWS(HALF_ENTRY_ROWS, _)},
    [A_COLS] = {EACH_ROWS(HALF_ENTRY_COLS, _)},
};
#else
static tile_fn *const half_tiles[2][TILE_ROWS] = {{0}}; /* HALF is 0: never looked at */
#endif

OTHER_CODE /* what is around tiles is as fast */

/* ---- packing ---------------------------------------------------------------------------- */

/* The rows of A in panels of at most TILE_ROWS, alike to one row. */
typedef struct {
    ptrdiff_t m, count;
} row_panels;

ALWAYS_INLINE ptrdiff_t panel_start(row_panels all, ptrdiff_t panel) {
    return all.count == 1 ? all.m * panel : all.m * panel / all.count; /* a division is slow */
}

/* Elements from one packed panel of B to the next: one line more than it has, so that panels which
 * are written side by side do not share their cache sets. */
ALWAYS_INLINE ptrdiff_t panel_size(ptrdiff_t k, ptrdiff_t width) { return k * width + PAD; }

/* Panels of TILE_COLS columns of B, the last one narrower and padded with zeros to whole
 * vectors: to[panel][p][j], each panel one stream. B[p, j] = b[p * row + j * col]. */
static void pack_b(ptrdiff_t k, ptrdiff_t n, const real *b, ptrdiff_t row, ptrdiff_t col,
                   real *restrict to) {
    const ptrdiff_t size = panel_size(k, TILE_COLS), whole = n / TILE_COLS * TILE_COLS;
    const ptrdiff_t width = whole_vectors(n - whole);
    if (col != 1) {
        for (ptrdiff_t j = 0; j < whole; j += TILE_COLS, to += size)
            transpose_panel(k, TILE_COLS, TILE_COLS, b + j * col, col, to);
        transpose_panel(k, n - whole, width, b + whole * col, col, to);
        return;
    }
    for (ptrdiff_t p = 0; p < k; p++, b += row) {
        real *at = to + p * TILE_COLS;
        for (ptrdiff_t j = 0; j < whole; j += TILE_COLS, at += size)
            UNROLL for (int v = 0; v < TILE_VECS; v++)
                VSTORE(at + v * LANES, VLOAD(b + j + v * LANES));
        at += p * (width - TILE_COLS); /* rows of the last panel are shorter */
        for (ptrdiff_t v = 0; v < width; v += LANES)
            VSTORE(at + v, load_some(b + whole + v, n - whole - v));
    }
}

/* The rows of `panels` tiles, from panel `first` on: to[panel][p][i] = A[start of panel + i, p], so
 * that a tile reads its rows in one stream. */
static void pack_a(row_panels all, ptrdiff_t k, ptrdiff_t first, ptrdiff_t panels,
                   const real *a, ptrdiff_t step, int form, real *restrict to) {
    ptrdiff_t start[GROUP + 1];
    for (ptrdiff_t i = 0; i <= panels; i++) start[i] = panel_start(all, first + i);
    if (form == A_ROWS) {
        for (ptrdiff_t i = 0; i < panels; i++)
            transpose_panel(k, start[i + 1] - start[i], SLIVER, a + start[i] * step, step,
                            to + i * k * SLIVER);
        return;
    }
    for (ptrdiff_t p = 0; p < k; p++, a += step)
        for (ptrdiff_t i = 0; i < panels; i++) {
            __builtin_prefetch(a + start[i] + 8 * step);
            UNROLL for (int v = 0; v < SLIVER; v += LANES)
                VSTORE(to + (i * k + p) * SLIVER + v, load_some(a + start[i] + v, all.m - start[i] - v));
        }
}

/* ---- the loops around ------------------------------------------------------------------- */

/* Rows p .. p + k and columns j .. j + n of B. */
typedef struct {
    ptrdiff_t p, k, j, n;
    const real *b; /* packed panels, or B itself */
    ptrdiff_t b_row;
    int packed;
} b_block;

/* What is read when a panel of tiles is done, and is fetched while it runs: three times so many
 * rows of n elements, ld apart. */
typedef struct {
    const real *at[3];
    ptrdiff_t rows, n, ld;
} ahead;

/* The parameters that a panel updates. */
static ahead next_update(const nnc_gemm *g, ptrdiff_t offset, ptrdiff_t rows, ptrdiff_t n) {
    const nnc_update *u = &g->update;
    const real *theta = (const real *)u->theta + offset;
    ahead next = {{theta, theta, theta}, rows, n, g->ldc};
    for (int v = 0; v < 2; v++)
        if (u->state[v]) next.at[1 + v] = (const real *)u->state[v] + offset;
    return next;
}

/* A panel's share of the block of B that is packed after this one, in thirds. */
static ahead next_block(const nnc_gemm *g, const b_block *block, ptrdiff_t panel,
                        ptrdiff_t panels) {
    const int down = block->j + block->n == g->n;
    const ptrdiff_t p = block->p + (down ? block->k : 0), j = down ? 0 : block->j + block->n;
    if (!block->packed || p == g->k) return (ahead){.rows = 0};
    const ptrdiff_t k = min_size(NNC_BLOCK, g->k - p), n = min_size(BLOCK_COLS, g->n - j);
    const int turned = g->b_col != 1;
    const ptrdiff_t lines = turned ? n : k, ld = turned ? g->b_col : g->b_row;
    const ptrdiff_t first = lines * panel / panels;
    const ptrdiff_t third = (lines * (panel + 1) / panels - first + 2) / 3;
    const real *at = (const real *)g->b + p * g->b_row + j * g->b_col + first * ld;
    return (ahead){{at, at + third * ld, at + 2 * third * ld}, third, turned ? k : n, ld};
}

/* A tile's share of it: some rows, or the first of them where they do not follow each other. */
static void fetch_part(tile_args *t, const ahead *next, ptrdiff_t tile, ptrdiff_t count) {
    const ptrdiff_t row = next->rows * tile / count;
    const ptrdiff_t length = next->rows * (tile + 1) / count - row;
    const ptrdiff_t run = next->n == next->ld ? length * next->n : next->n;
    const ptrdiff_t lines = (run + PAD - 1) / PAD;
    for (int v = 0; v < 3; v++) t->fetch[v] = next->at[v] + row * next->ld;
    t->fetch_every = length == 0 ? 0 : (t->k + lines - 1) / lines;
}

/* The tile of so many columns, at most TILE_COLS or, of one row, WIDE_VECS whole vectors, where
 * t->b, c and bias begin; a half tile moves these on. */
ALWAYS_INLINE void run_tile(tile_args *t, ptrdiff_t rows, ptrdiff_t cols, int form) {
    const ptrdiff_t width = whole_vectors(cols), tail = cols - (width - LANES);
    const int halve = tail <= HALF; /* the last vector goes to a half tile */
    const ptrdiff_t vecs = width / LANES - halve;
    t->tail = (int)(halve ? LANES : tail);
    if (vecs > TILE_VECS)
        (form == A_ROWS ? tile_A_ROWS_1x8 : tile_A_COLS_1x8)(t);
    else if (vecs > 0)
        tiles[form][vecs - 1][rows - 1](t);
    if (!halve) return;
    t->c += vecs * LANES;
    t->b += vecs * LANES;
    if (t->bias) t->bias += vecs * LANES;
    t->tail = (int)tail;
    half_tiles[form][rows - 1](t);
}

/* One panel of A's rows against a block of B. */
static void run_tiles(tile_args *t, const b_block *block, ptrdiff_t rows, int form, real *c,
                      const real *bias, const ahead *next) {
    const ptrdiff_t n = block->n, tiles_of_row = (n + TILE_COLS - 1) / TILE_COLS;
    const int wide = rows == 1 && !block->packed;
    const ptrdiff_t step = wide ? WIDE_VECS * LANES : TILE_COLS;
    const real *panel = block->b;
    t->fetch_every = 0;
    for (ptrdiff_t j = 0; j < n;) {
        ptrdiff_t cols = min_size(step, n - j);
        if (wide && cols < step) cols = min_size(TILE_COLS, cols);
        t->c = c + j;
        t->bias = bias ? bias + j : NULL;
        t->b = block->packed ? panel : block->b + j;
        t->b_step = block->packed ? whole_vectors(cols) : block->b_row;
        if (next->rows) fetch_part(t, next, j / TILE_COLS, tiles_of_row);
        run_tile(t, rows, cols, form);
        panel += panel_size(t->k, whole_vectors(cols));
        j += cols;
    }
}

/* Updates the parameters of rows i .. i + rows and columns j .. j + n by their gradient c. */
static void update_parameters(const nnc_gemm *g, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t j,
                              ptrdiff_t n, real *c, ptrdiff_t ld) {
    const nnc_update *u = &g->update;
    const int one_run = n == g->ldc && n == ld;
    const ptrdiff_t runs = one_run ? 1 : rows, length = one_run ? rows * n : n;
    for (ptrdiff_t r = 0; r < runs; r++) {
        const ptrdiff_t at = (i + r) * g->ldc + j;
        void *state[NNC_MAX_VECTORS];
        for (int v = 0; v < NNC_MAX_VECTORS; v++)
            state[v] = u->state[v] ? (real *)u->state[v] + at : NULL;
        real *theta = (real *)u->theta + at;
        if (u->shaping) {
            NNC_OTHER.shape(length, theta, c + r * ld, u->shaping);
            if (u->shaping->keep != 1) NNC_OTHER.decay(length, theta, u->shaping->keep);
        }
        u->rule(length, theta, c + r * ld, state, u->coef);
    }
}

/* The activation, or the slope of the layer below, on rows i .. i + rows and columns
 * j .. j + n of C while they are in cache. */
static void epilogue(const nnc_gemm *g, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t j, ptrdiff_t n) {
    if (g->y == NULL && g->kept == NULL) return;
    real *c = (real *)g->c + i * g->ldc + j;
    real *y = g->y ? (real *)g->y + i * g->ldy + j : c;
    const real *kept = g->kept ? (const real *)g->kept + i * g->ld_kept + j : NULL;
    const ptrdiff_t ld = g->ldc;
    /* Rows that lie close together are one run. */
    const int one_run = n == g->n && (ld == n || (g->arena && ld < n + 2 * PAD)) &&
                        (g->y == NULL || g->ldy == ld) && (g->kept == NULL || g->ld_kept == ld);
    const ptrdiff_t runs = one_run ? 1 : rows, length = one_run ? (rows - 1) * ld + n : n;
    for (ptrdiff_t r = 0; r < runs; r++) {
        if (kept)
            kernels.act_slope[g->act](length, kept + r * g->ld_kept, c + r * ld, c + r * ld, g->act_a);
        else
            nnc_activate(&kernels, g->act, g->keep, length, c + r * ld, y + r * g->ldy, g->act_a);
    }
}

NEVER_INLINE void gemm_of_tiles(const nnc_gemm *g) {
    const ptrdiff_t m = g->m, n = g->n;
    const int form = g->a_col == 1 ? A_ROWS : A_COLS;
    const ptrdiff_t a_step = form == A_ROWS ? g->a_row : g->a_col;
    const row_panels panels = {m, (m + TILE_ROWS - 1) / TILE_ROWS};
    const int pack_b_first = wants_packed_b(g), pack_a_first = wants_packed_a(g, form, a_step);
    const int fleeting = g->update.rule && !g->accumulate && g->k <= NNC_BLOCK; /* C is used up */
    const ptrdiff_t block_cols = pack_b_first || fleeting ? BLOCK_COLS : n;
    const ptrdiff_t ldc = fleeting ? min_size(n, BLOCK_COLS) : g->ldc;
    const int far = !fleeting && m * g->ldc * (ptrdiff_t)sizeof(real) > FAR_BYTES;
    /* Packed rows of A serve all columns where there is room to keep them. */
    const int keep_a = g->rows_work && n > block_cols && panels.count <= KEPT_PANELS;
    real *packed_b = g->work, *panel_c = packed_b + PACKED_B;
    real *packed_a = keep_a ? g->rows_work : panel_c + TILE_ROWS * BLOCK_COLS;

    ptrdiff_t p = 0;
    do { /* at least once: for k = 0 the sums are +0 */
        const ptrdiff_t k = min_size(NNC_BLOCK, g->k - p);
        const int last = p + k == g->k;
        const real *a = (const real *)g->a + p * g->a_col;
        const int add = g->accumulate || p > 0;
        tile_args t = {.k = k, .ldc = ldc, .add = add, .far = far};
        for (ptrdiff_t j = 0; j < n; j += block_cols) {
            const ptrdiff_t cols = min_size(block_cols, n - j);
            const real *b = (const real *)g->b + p * g->b_row + j * g->b_col;
            b_block block = {p, k, j, cols, b, g->b_row, pack_b_first};
            if (pack_b_first) {
                pack_b(k, cols, b, g->b_row, g->b_col, packed_b);
                block.b = packed_b;
            }
            const real *bias = last && g->bias ? (const real *)g->bias + j : NULL;
            for (ptrdiff_t panel = 0; panel < panels.count; panel++) {
                const ptrdiff_t i = panel_start(panels, panel);
                const ptrdiff_t rows = panel_start(panels, panel + 1) - i, in_group = panel % GROUP;
                t.a = a + i * g->a_row, t.a_step = a_step;
                if (pack_a_first) {
                    const ptrdiff_t first = keep_a ? panel - in_group : 0;
                    real *group = packed_a + first * k * SLIVER;
                    if (in_group == 0 && (j == 0 || !keep_a))
                        pack_a(panels, k, panel, min_size(GROUP, panels.count - panel), a, a_step,
                               form, group);
                    t.a = group + in_group * k * SLIVER, t.a_step = SLIVER;
                }
                real *c = fleeting ? panel_c : (real *)g->c + i * ldc + j;
                const ahead next = g->update.rule
                                       ? next_update(g, i * g->ldc + j, rows, cols)
                                       : next_block(g, &block, panel, panels.count);
                run_tiles(&t, &block, rows, pack_a_first ? A_COLS : form, c, bias, &next);
                if (last && g->update.rule)
                    update_parameters(g, i, rows, j, cols, c, ldc);
                else if (last)
                    epilogue(g, i, rows, j, cols);
            }
        }
        p += k;
    } while (p < g->k);
}

/* ---- few columns of a weight gradient --------------------------------------------------------- */

/* C = X' D of few columns would fill a part of each vector, and walk down X. C' = D' X fills whole
 * ones and has the same bits, since the two factors of a multiply-add are equals. */
static int is_better_turned(const nnc_gemm *g) {
    const int plain = !g->bias && !g->y && !g->kept;
    return plain && g->a_row == 1 && g->b_col == 1 && g->n <= TILE_ROWS && (g->m & -LANES) > g->n;
}

static void turn(ptrdiff_t rows, ptrdiff_t n, const real *from, ptrdiff_t from_ld, real *to,
                 ptrdiff_t to_ld) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++) to[i * to_ld + j] = from[j * from_ld + i];
}

/* The first m rows, a multiple of LANES: nothing is read behind a row of X. */
static void gemm_turned(const nnc_gemm *g, ptrdiff_t m) {
    real *part = (real *)g->work + PACKED_B; /* where a fleeting panel would lie */
    for (ptrdiff_t i = 0; i < m; i += BLOCK_COLS) {
        const ptrdiff_t rows = min_size(BLOCK_COLS, m - i);
        real *c = (real *)g->c + i * g->ldc;
        const nnc_gemm turned = {.m = g->n,
                                 .n = rows,
                                 .k = g->k,
                                 .a = g->b,
                                 .a_row = 1,
                                 .a_col = g->b_row,
                                 .b = (const real *)g->a + i,
                                 .b_row = g->a_col,
                                 .b_col = 1,
                                 .c = part,
                                 .ldc = BLOCK_COLS,
                                 .accumulate = g->accumulate,
                                 .work = g->work};
        if (g->accumulate) turn(g->n, rows, c, g->ldc, part, BLOCK_COLS);
        gemm_of_tiles(&turned);
        turn(rows, g->n, part, BLOCK_COLS, c, g->ldc);
        if (g->update.rule) update_parameters(g, i, rows, 0, g->n, c, g->ldc);
    }
}

static void gemm(const nnc_gemm *g) {
    if (!is_better_turned(g)) {
        gemm_of_tiles(g);
        return;
    }
    const ptrdiff_t m = g->m & -LANES, done = m * g->ldc;
    gemm_turned(g, m);
    if (m == g->m) return;
    nnc_gemm rest = *g;
    rest.m = g->m - m, rest.a = (const real *)g->a + m, rest.c = (real *)g->c + done;
    if (g->update.theta) rest.update.theta = (real *)g->update.theta + done;
    for (int v = 0; v < NNC_MAX_VECTORS; v++)
        if (g->update.state[v]) rest.update.state[v] = (real *)g->update.state[v] + done;
    gemm_of_tiles(&rest);
}
