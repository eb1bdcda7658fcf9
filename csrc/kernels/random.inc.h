/* Random numbers by counter, and the layers that use them. A number depends on the key, the
 * counter and its row and column alone, so no order and no number of threads can change it, and the
 * way back draws the mask again instead of keeping it. */

/* Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
 * (SC 2011): ten rounds of two products of 32 x 32 bits, with the multipliers and key increments of
 * that paper. */
ALWAYS_INLINE void philox(uint32_t c[4], const uint32_t key[2]) {
    uint32_t k0 = key[0], k1 = key[1];
    UNROLL for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)c[0] * 0xD2511F53u, p1 = (uint64_t)c[2] * 0xCD9E8D57u;
        const uint32_t c1 = c[1], c3 = c[3];
        c[0] = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c[1] = (uint32_t)p1;
        c[2] = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

enum { DRAWS = 16, DRAWN = 4 * DRAWS }; /* counters at a time, and the columns they are for */

/* bits[4 i + w] = word w of counter `first` + i, for the columns 4 first .. 4 first + n of a row */
ALWAYS_INLINE void draw_bits(const nnc_draw *d, uint32_t row, uint32_t first, ptrdiff_t n,
                             uint32_t bits[DRAWN]) {
    const uint32_t key[2] = {d->key[0], d->key[1]}, low = d->counter[0], high = d->counter[1];
    const int counters = (int)(min_size(n, DRAWN) + 3) / 4;
    for (int i = 0; i < counters; i++) {
        uint32_t c[4] = {first + (uint32_t)i, row, low, high};
        philox(c, key);
        UNROLL for (int w = 0; w < 4; w++) bits[4 * i + w] = c[w];
    }
}

static void dropout(const nnc_layer_args *g) {
    const uint32_t dropped = (uint32_t)(g->a * 0x1p32);
    const real scale = (real)(1 / (1 - g->a));
    uint32_t bits[DRAWN];
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        real *y = (real *)g->y + i * g->ldy;
        for (ptrdiff_t j = 0; j < g->n; j += DRAWN) {
            const ptrdiff_t n = min_size(DRAWN, g->n - j);
            draw_bits(&g->draw, g->draw.row + (uint32_t)i, (uint32_t)(j / 4), n, bits);
            IVDEP for (ptrdiff_t l = 0; l < n; l++) y[j + l] =
                bits[l] < dropped ? R(0) : x[j + l] * scale;
        }
    }
}

/* sin(2 pi x), |x| <= 1/4, by its Taylor series, to 1e-9 in float32 and 1e-17 in float64. */
ALWAYS_INLINE real sin_turn(real x) {
    const real t = R(6.283185307179586476925286766559) * x, t2 = t * t;
#if NNC_REAL_IS_F32
    real s = FMA(t2, R(1) / R(6227020800), R(-1) / R(39916800));
#else
    real s = FMA(t2, R(1) / R(51090942171709440000.), R(-1) / R(121645100408832000));
    s = FMA(t2, s, R(1) / R(355687428096000));
    s = FMA(t2, s, R(-1) / R(1307674368000));
    s = FMA(t2, s, R(1) / R(6227020800));
    s = FMA(t2, s, R(-1) / R(39916800));
#endif
    s = FMA(t2, s, R(1) / R(362880));
    s = FMA(t2, s, R(-1) / R(5040));
    s = FMA(t2, s, R(1) / R(120));
    s = FMA(t2, s, R(-1) / R(6));
    return FMA(t * t2, s, t);
}

/* Normal numbers by Box and Muller 1958: two from two words, r cos(2 pi t) and r sin(2 pi t) with
 * r = sqrt(-2 log u), where u and t + 1/2 are odd multiples of 2^-24, the same in both types. So
 * none is beyond 5.77, where one of 1.3e8 would be. */
ALWAYS_INLINE void normal_pair(uint32_t for_u, uint32_t for_t, real *first, real *second) {
    const real u = ((real)(int32_t)(for_u >> 9) + R(0.5)) * R(0x1p-23);
    const real t = ((real)(int32_t)(for_t >> 9) + R(0.5)) * R(0x1p-23) - R(0.5);
    const real r = SQRT(R(-2) * v_log(u));
    const real side = R(0.25) - FABS(t); /* cos of t is sin of it */
    const real sine = sin_turn(R(0.25) - FABS(side));
    *first = r * sin_turn(side);
    *second = r * (t < R(0) ? -sine : sine);
}

static void noise(const nnc_layer_args *g) {
    const real a = (real)g->a;
    uint32_t bits[DRAWN];
    real normal[DRAWN];
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        real *y = (real *)g->y + i * g->ldy;
        for (ptrdiff_t j = 0; j < g->n; j += DRAWN) {
            const ptrdiff_t n = min_size(DRAWN, g->n - j);
            draw_bits(&g->draw, g->draw.row + (uint32_t)i, (uint32_t)(j / 4), n, bits);
            for (ptrdiff_t l = 0; l < n; l += 2)
                normal_pair(bits[l], bits[l + 1], normal + l, normal + l + 1);
            IVDEP for (ptrdiff_t l = 0; l < n; l++) y[j + l] = FMA(a, normal[l], x[j + l]);
        }
    }
}
