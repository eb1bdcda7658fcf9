/* PReLU (He, Zhang, Ren and Sun 2015), embeddings, and what residual connections add. */

static void prelu(const nnc_layer_args *g) {
    const real *w = g->w;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        real *y = (real *)g->y + i * g->ldy;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) y[j] = x[j] < R(0) ? w[j] * x[j] : x[j];
    }
}

static void prelu_slope(const nnc_layer_args *g) {
    const real *w = g->w;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        const real *dy = (const real *)g->dy + i * g->lddy;
        real *dx = (real *)g->dx + i * g->lddx;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) dx[j] = x[j] > R(0) ? dy[j] : w[j] * dy[j];
    }
}

SUM_COLUMNS(prelu_sums, FMA(dy, x < R(0) ? x : R(0), sum))

static void prelu_total(const nnc_layer_args *g) {
    real *to = g->sums;
    for (ptrdiff_t i0 = 0; i0 < g->rows; i0 += NNC_BLOCK) {
        const ptrdiff_t end = min_size(g->rows, i0 + NNC_BLOCK);
        real part = 0;
        for (ptrdiff_t i = i0; i < end; i++) {
            const real *x = (const real *)g->x + i * g->ldx;
            const real *dy = (const real *)g->dy + i * g->lddy;
            real sum;
            SUM_ROW(sum, g->n, dy[j] * (x[j] < R(0) ? x[j] : R(0)));
            part += sum;
        }
        *to = g->accumulate || i0 > 0 ? *to + part : part;
    }
}

static void add(const nnc_layer_args *g) {
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        const real *dy = (const real *)g->dy + i * g->lddy;
        real *y = (real *)g->y + i * g->ldy;
        IVDEP
        for (ptrdiff_t j = 0; j < g->n; j++) y[j] = x[j] + dy[j];
    }
}

static void fill(const nnc_layer_args *g) {
    const real value = *(const real *)g->w;
    for (ptrdiff_t j = 0; j < g->n; j++) ((real *)g->y)[j] = value;
}

static void scaling(const nnc_layer_args *g) {
    const real *mean = g->b, *scale = g->w;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        real *y = (real *)g->y + i * g->ldy;
        if (g->a != 0) {
            IVDEP
            for (ptrdiff_t j = 0; j < g->n; j++) y[j] = x[j] * scale[j] + mean[j];
        } else {
            IVDEP
            for (ptrdiff_t j = 0; j < g->n; j++) y[j] = (x[j] - mean[j]) / scale[j];
        }
    }
}

/* The row of the table that x names. Who calls has checked that there is one; memory is safe in any
 * case. */
ALWAYS_INLINE ptrdiff_t token(const nnc_column *c, real x) {
    const ptrdiff_t row = x >= R(0) && x < (real)c->n_tokens ? (ptrdiff_t)x : 0;
    return c->table + row * c->dim;
}

static void embed(const nnc_layer_args *g) {
    const real *w = g->w;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        real *y = (real *)g->y + i * g->ldy;
        for (ptrdiff_t j = 0; j < g->n; j++) {
            const nnc_column *c = &g->columns[j];
            const real *from = c->n_tokens ? w + token(c, x[j]) : x + j;
            for (ptrdiff_t l = 0; l < c->dim; l++) y[l] = from[l];
            y += c->dim;
        }
    }
}

static void embed_slope(const nnc_layer_args *g) {
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *dy = (const real *)g->dy + i * g->lddy;
        real *dx = (real *)g->dx + i * g->lddx;
        for (ptrdiff_t j = 0; j < g->n; j++) {
            dx[j] = g->columns[j].n_tokens ? R(0) : *dy;
            dy += g->columns[j].dim;
        }
    }
}

static void embed_sums(const nnc_layer_args *g) {
    real *sums = g->sums;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const real *x = (const real *)g->x + i * g->ldx;
        const real *dy = (const real *)g->dy + i * g->lddy;
        for (ptrdiff_t j = 0; j < g->n; j++) {
            const nnc_column *c = &g->columns[j];
            real *to = sums + token(c, x[j]);
            for (ptrdiff_t l = 0; c->n_tokens && l < c->dim; l++) to[l] += dy[l];
            dy += c->dim;
        }
    }
}
