/* softmax and log_softmax of rows, and what the losses of whole rows share with them. */

/* Partial results of one row, combined PAD columns at a time. */
#define EACH_LANE for (int l = 0; l < PAD; l++)

/* The largest of n, a multiple of PAD. */
ALWAYS_INLINE real max_of_row(ptrdiff_t n, const real *z) {
    real part[PAD];
    EACH_LANE part[l] = z[l];
    for (ptrdiff_t j = PAD; j < n; j += PAD)
        EACH_LANE part[l] = z[j + l] > part[l] ? z[j + l] : part[l];
    real top = part[0];
    EACH_LANE top = part[l] > top ? part[l] : top;
    return top;
}

/* e[j] = exp(z[j] - max z) for j < n, a multiple of PAD; returns their sum. A NaN in z makes the
 * sum NaN, whether or not the comparisons saw it. e may be z. */
NEVER_INLINE real exp_row(ptrdiff_t n, const real *z, real *e, real *max) {
    const real top = max_of_row(n, z);
    real part[PAD];
    *max = top;
    for (ptrdiff_t j = 0; j < n; j++) e[j] = v_exp(z[j] - top);
    EACH_LANE part[l] = e[l];
    for (ptrdiff_t j = PAD; j < n; j += PAD) EACH_LANE part[l] += e[j + l];
    return fold(part);
}

/* Makes a row whole PADs long with scores that add nothing. */
ALWAYS_INLINE void fill_row(real *z, ptrdiff_t n) {
    for (ptrdiff_t j = n; j < padded(n); j++) z[j] = -__builtin_inff();
}

/* Rows of few columns are worked on TEAM at a time, side by side: column j of them is e[j], and
 * what a row alone would do one by one is one instruction for all. The order of each sum is that of
 * exp_row. */
enum { TEAM = PAD, NARROW = 2 * PAD };

typedef struct {
    real e[NARROW * TEAM]; /* exp(z - max z) of column j and row l at [j * TEAM + l] */
    real max[TEAM], sum[TEAM];
} team;

static void exp_team(ptrdiff_t rows, ptrdiff_t n, const real *z, ptrdiff_t ldz, team *t) {
    real part[PAD * TEAM], *e = t->e;
    ptrdiff_t live = min_size(PAD, n);
    transpose_panel(n, rows, TEAM, z, ldz, e);
    for (int l = 0; l < TEAM; l++) t->max[l] = e[l];
    for (ptrdiff_t j = 1; j < n; j++)
        for (int l = 0; l < TEAM; l++) {
            const real x = e[j * TEAM + l];
            t->max[l] = x > t->max[l] ? x : t->max[l];
        }
    for (ptrdiff_t j = 0; j < n; j++)
        for (int l = 0; l < TEAM; l++) e[j * TEAM + l] = v_exp(e[j * TEAM + l] - t->max[l]);
    for (ptrdiff_t x = 0; x < live * TEAM; x++) part[x] = e[x];
    for (ptrdiff_t x = PAD * TEAM; x < n * TEAM; x++) part[x - PAD * TEAM] += e[x];
    for (ptrdiff_t half = PAD / 2; half > 0; half /= 2) { /* partial sums of nothing are left out */
        for (ptrdiff_t x = half * TEAM; x < live * TEAM; x++) part[x - half * TEAM] += part[x];
        live = min_size(live, half);
    }
    for (int l = 0; l < TEAM; l++) t->sum[l] = part[l];
}

/* to[l, j] = e[j, l] */
static void put_team(ptrdiff_t rows, ptrdiff_t n, const team *t, real *to, ptrdiff_t ld) {
    real across[TEAM * NARROW];
    const ptrdiff_t width = padded(n);
    transpose_panel(TEAM, n, width, t->e, TEAM, across);
    for (ptrdiff_t l = 0; l < rows; l++)
        for (ptrdiff_t j = 0; j < n; j += LANES) {
            const vec v = VLOAD(across + l * width + j);
            if (n - j >= LANES)
                VSTORE(to + l * ld + j, v);
            else
                VSTORE_N(to + l * ld + j, v, (int)(n - j));
        }
}

/* z is an arena row: its padding is overwritten. y is exact: n columns are written. */
static void softmax(ptrdiff_t rows, ptrdiff_t n, void *z_, ptrdiff_t ldz, void *y, ptrdiff_t ldy) {
    ptrdiff_t i = 0;
    for (; n <= NARROW && i + 2 < rows; i += TEAM) {
        const ptrdiff_t size = min_size(TEAM, rows - i);
        team t;
        exp_team(size, n, (real *)z_ + i * ldz, ldz, &t);
        for (ptrdiff_t j = 0; j < n; j++)
            for (int l = 0; l < TEAM; l++) t.e[j * TEAM + l] /= t.sum[l];
        put_team(size, n, &t, (real *)y + i * ldy, ldy);
    }
    for (; i < rows; i++) {
        real *z = (real *)z_ + i * ldz, *to = (real *)y + i * ldy, max;
        fill_row(z, n);
        const real sum = exp_row(padded(n), z, z, &max);
        for (ptrdiff_t j = 0; j < n; j++) to[j] = z[j] / sum;
    }
}

/* sum_j x_j y_j */
ALWAYS_INLINE real dot_row(ptrdiff_t n, const real *x, const real *y) {
    real part[PAD];
    EACH_LANE part[l] = 0;
    ptrdiff_t j = 0;
    for (; j + PAD <= n; j += PAD) EACH_LANE part[l] = FMA(x[j + l], y[j + l], part[l]);
    for (int l = 0; j + l < n; l++) part[l] = FMA(x[j + l], y[j + l], part[l]);
    return fold(part);
}

/* The whole Jacobian: dz = y * (dy - sum_j dy_j y_j). */
static void softmax_slope(ptrdiff_t rows, ptrdiff_t n, const void *y_, ptrdiff_t ldy,
                          const void *dy_, ptrdiff_t lddy, void *dz_, ptrdiff_t lddz) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *y = (const real *)y_ + i * ldy, *dy = (const real *)dy_ + i * lddy;
        real *dz = (real *)dz_ + i * lddz;
        const real mean = dot_row(n, dy, y);
        IVDEP
        for (ptrdiff_t j = 0; j < n; j++) dz[j] = y[j] * (dy[j] - mean);
    }
}

/* y = (z - max z) - log(sum exp(z - max z)): the logarithm of softmax, which does not leave the
 * scores, so it is finite where softmax is 0. z is an arena row: its padding is overwritten. */
static void log_softmax(ptrdiff_t rows, ptrdiff_t n, void *z_, ptrdiff_t ldz, void *y,
                        ptrdiff_t ldy) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        real *z = (real *)z_ + i * ldz, *to = (real *)y + i * ldy, part[PAD] = {0};
        fill_row(z, n);
        const real max = max_of_row(padded(n), z);
        for (ptrdiff_t j = 0; j < n; j += PAD) EACH_LANE part[l] += v_exp(z[j + l] - max);
        const real log_sum = v_log(fold(part));
        for (ptrdiff_t j = 0; j < n; j++) to[j] = (z[j] - max) - log_sum;
    }
}

/* The whole Jacobian: dz = dy - exp(y) sum_j dy_j. */
static void log_softmax_slope(ptrdiff_t rows, ptrdiff_t n, const void *y_, ptrdiff_t ldy,
                              const void *dy_, ptrdiff_t lddy, void *dz_, ptrdiff_t lddz) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *y = (const real *)y_ + i * ldy, *dy = (const real *)dy_ + i * lddy;
        real *dz = (real *)dz_ + i * lddz, part[PAD];
        EACH_LANE part[l] = 0;
        ptrdiff_t j = 0;
        for (; j + PAD <= n; j += PAD) EACH_LANE part[l] += dy[j + l];
        for (int l = 0; j + l < n; l++) part[l] += dy[j + l];
        const real sum = fold(part);
        IVDEP
        for (j = 0; j < n; j++) dz[j] = FMA(-v_exp(y[j]), sum, dy[j]);
    }
}
