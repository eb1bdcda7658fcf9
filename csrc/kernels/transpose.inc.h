/* Transposing, in registers; and the ends of rows. */

#if LANES == 2
#define LOW_HALVES 0, 2
#define HIGH_HALVES 1, 3
#elif LANES == 4
#define LOW_HALVES 0, 4, 1, 5
#define HIGH_HALVES 2, 6, 3, 7
#elif LANES == 8
#define LOW_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOW_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif

/* Elements of a row of n, padded to whole vectors. */
ALWAYS_INLINE ptrdiff_t whole_vectors(ptrdiff_t n) { return (n + LANES - 1) / LANES * LANES; }

/* Transposes LANES x LANES in place: interleaving row i with row i + LANES / 2, log2(LANES)
 * times over, is the transpose. */
ALWAYS_INLINE void transpose(vec r[LANES]) {
    UNROLL for (int stage = 1; stage < LANES; stage *= 2) {
        vec s[LANES];
        UNROLL for (int i = 0; i < LANES / 2; i++) {
            s[2 * i] = SHUFFLE(r[i], r[i + LANES / 2], LOW_HALVES);
            s[2 * i + 1] = SHUFFLE(r[i], r[i + LANES / 2], HIGH_HALVES);
        }
        UNROLL for (int i = 0; i < LANES; i++) r[i] = s[i];
    }
}

/* The first n elements at p, and zeros. */
ALWAYS_INLINE vec load_some(const real *p, ptrdiff_t n) {
    return n >= LANES ? VLOAD(p) : n > 0 ? (vec)VLOAD_N(p, (int)n) : VZERO;
}

/* to[p * width + j] = from[j * step + p] for j < n, 0 for n <= j < width; width is a multiple of
 * LANES. */
static void transpose_panel(ptrdiff_t k, ptrdiff_t n, ptrdiff_t width, const real *from,
                            ptrdiff_t step, real *restrict to) {
    for (ptrdiff_t j0 = 0; j0 < width; j0 += LANES)
        for (ptrdiff_t p = 0; p < k; p += LANES) {
            vec r[LANES];
            UNROLL for (int j = 0; j < LANES; j++)
                r[j] = j0 + j < n ? load_some(from + (j0 + j) * step + p, k - p) : VZERO;
            transpose(r);
            UNROLL for (int q = 0; q < LANES; q++)
                if (q < k - p) VSTORE(to + (p + q) * width + j0, r[q]);
        }
}
