/* Sums over rows, and the gather of shuffled rows.
 *
 * Every sum has one order, whatever the vector width: chains in increasing row order, or PAD (or
 * 8, in double) interleaved partial sums that are folded in halves. */

/* Folds PAD partial sums. */
ALWAYS_INLINE real fold(real part[PAD]) {
    for (int half = (int)PAD / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) part[l] += part[l + half];
    return part[0];
}

ALWAYS_INLINE double fold_double(double part[8]) {
    for (int half = 4; half > 0; half /= 2)
        for (int l = 0; l < half; l++) part[l] += part[l + half];
    return part[0];
}

enum { WIDTH = 4 }; /* vectors side by side, to hide the latency of the additions */

/* Unrolled, so that the sums are registers. */
ALWAYS_INLINE void add_vectors(vec sum[WIDTH], const real *row) {
    UNROLL for (int v = 0; v < WIDTH; v++) sum[v] += VLOAD(row + v * LANES);
}

/* s[n] (+)= sum_i x[i, :], a chain over i for each column. */
static void column_sums(ptrdiff_t rows, ptrdiff_t n, const void *x_, ptrdiff_t ldx, void *s_,
                        int accumulate) {
    const real *x = x_;
    real *s = s_;
    ptrdiff_t j = 0;
    for (; j + WIDTH * LANES <= n; j += WIDTH * LANES) {
        vec sum[WIDTH] = {{0}};
        for (ptrdiff_t i = 0; i < rows; i++) add_vectors(sum, x + i * ldx + j);
        for (int v = 0; v < WIDTH; v++) {
            real *to = s + j + v * LANES;
            VSTORE(to, accumulate ? VLOAD(to) + sum[v] : sum[v]);
        }
    }
    for (; j < n; j += LANES) {
        const int width = (int)min_size(LANES, n - j);
        vec sum = {0};
        for (ptrdiff_t i = 0; i < rows; i++)
            sum += width == LANES ? VLOAD(x + i * ldx + j) : (vec)VLOAD_N(x + i * ldx + j, width);
        real *to = s + j;
        if (width == LANES)
            VSTORE(to, accumulate ? VLOAD(to) + sum : sum);
        else
            VSTORE_N(to, accumulate ? (vec)VLOAD_N(to, width) + sum : sum, width);
    }
}

/* y[i, :] = x[index[i], :]; the rows lie anywhere, so those of more than a vector are fetched two
 * rows ahead. A row ends in a whole vector if there is room, since one that is stored in part is
 * loaded late. */
static void gather(ptrdiff_t rows, ptrdiff_t n, const int64_t *index, const void *x, ptrdiff_t ldx,
                   void *y, ptrdiff_t ldy) {
    const ptrdiff_t whole = n & -LANES;
    const int rest = (int)(n - whole), room = whole + LANES <= ldy;
    real *to = y;
    if (n == 1 && ldy == 1) {
        for (ptrdiff_t i = 0; i < rows; i++) to[i] = ((const real *)x)[index[i] * ldx];
        return;
    }
    for (ptrdiff_t i = 0; i < rows; i++, to += ldy) {
        const real *from = (const real *)x + index[i] * ldx;
        if (whole) {
            const real *later = (const real *)x + index[min_size(i + 2, rows - 1)] * ldx;
            for (ptrdiff_t j = 0; j < whole; j += LANES) {
                __builtin_prefetch(later + j);
                VSTORE(to + j, VLOAD(from + j));
            }
        }
        if (rest == 0) continue;
        const vec end = (vec)VLOAD_N(from + whole, rest);
        if (room)
            VSTORE(to + whole, end);
        else
            VSTORE_N(to + whole, end, rest);
    }
}

/* Whether none of n numbers is infinite or NaN: has an exponent of ones. */
static int all_finite(ptrdiff_t n, const void *x) {
    const ivec ones = (ivec)(vec)VSPLAT((real)__builtin_inf());
    ivec found = {0};
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) found |= ((ivec)VLOAD((const real *)x + i) & ones) == ones;
    if (i < n) {
        const vec rest = (vec)VLOAD_N((const real *)x + i, (int)(n - i));
        found |= ((ivec)rest & ones) == ones;
    }
    ireal any = 0;
    for (int l = 0; l < LANES; l++) any |= found[l];
    return !any;
}
