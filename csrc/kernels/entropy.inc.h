/* Rows with weights, for all losses; and the cross-entropy. */

/* What a value counts as; a NaN stays one. */
ALWAYS_INLINE double most_of(const nnc_loss_args *g) {
    return g->most > 0 ? g->most : __builtin_inf();
}
ALWAYS_INLINE double counted(double value, double most) { return value > most ? most : value; }

/* ---- rows with weights ----------------------------------------------------------------------- */

static const void *loss_row(const void *at, ptrdiff_t ld, ptrdiff_t i) {
    return at == NULL ? NULL : (const real *)at + i * ld;
}

/* The runs of targets of a row that are not missing, each as it would be alone. */
static double observed_of_row(double (*loss)(const nnc_loss_args *), const nnc_loss_args *row) {
    const real *t = row->t;
    double sum = 0;
    nnc_loss_args run = *row;
    run.masked = 0;
    for (ptrdiff_t j = 0; j < row->n; j += run.n) {
        const int missing = t[j] != t[j];
        for (run.n = 1; j + run.n < row->n; run.n++)
            if ((t[j + run.n] != t[j + run.n]) != missing) break;
        run.y = (real *)row->y + j, run.dy = (real *)row->dy + j, run.t = t + j;
        for (ptrdiff_t l = 0; missing && l < run.n; l++) ((real *)run.dy)[l] = 0;
        if (!missing) sum += loss(&run);
    }
    return sum;
}

/* Each row as it would be alone; one of weight 0 is not looked at. In each loss it would be 600
 * bytes more. */
NEVER_INLINE double weighted_rows(double (*loss)(const nnc_loss_args *), const nnc_loss_args *g) {
    double sum = 0;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        nnc_loss_args row = *g;
        row.rows = 1, row.weights = NULL;
        row.y = (real *)g->y + i * g->ldy;
        row.dy = (real *)g->dy + i * g->lddy;
        row.t = loss_row(g->t, g->ldt, i);
        row.labels = g->labels ? g->labels + i : NULL;
        const double weight = g->weights ? g->weights[i] : 1;
        row.scale = g->scale * weight;
        if (weight > 0)
            sum += weight * (g->masked ? observed_of_row(loss, &row) : loss(&row));
        else
            for (ptrdiff_t j = 0; j < g->n; j++) ((real *)row.dy)[j] = 0;
    }
    return sum;
}

ALWAYS_INLINE real scale_of_row(const nnc_loss_args *g, ptrdiff_t i) {
    return (real)(g->weights ? g->scale * g->weights[i] : g->scale);
}

/* ---- the cross-entropy ------------------------------------------------------------------------
 */

/* -sum_j t_j log softmax(z)_j = sum_j t_j (log sum_i exp(z_i - max) - (z_j - max)), and
 * dz = softmax(z) sum_j t_j - t. A label is the row t with a single 1. With label smoothing a, t
 * stands for (1 - a) t + a / n, as in PyTorch. The parts of a row: */

/* Its value, and the sum of its t. */
ALWAYS_INLINE double entropy_of_row(const nnc_loss_args *g, ptrdiff_t i, real max, real log_sum,
                                    real *weight) {
    const real *z = (const real *)g->y + i * g->ldy;
    double row = 0, total = 0, all = 0;
    if (g->t == NULL) {
        row = (double)(log_sum - (z[g->labels[i]] - max));
        total = 1;
    } else {
        const real *t = (const real *)g->t + i * g->ldt;
        for (ptrdiff_t j = 0; j < g->n; j++) {
            total += (double)t[j];
            if (t[j] != 0) row += (double)t[j] * (double)(log_sum - (z[j] - max)); /* not 0 inf */
        }
    }
    *weight = (real)total;
    if (g->a == 0) return row;
    for (ptrdiff_t j = 0; j < g->n; j++) all += (double)(log_sum - (z[j] - max));
    *weight = (real)((1 - g->a) * total + g->a);
    return (1 - g->a) * row + g->a / (double)g->n * all;
}

/* The same, once for all that do not need it for many rows of few columns. */
NEVER_INLINE double entropy_of_one(const nnc_loss_args *g, ptrdiff_t i, real max, real log_sum,
                                   real *weight) {
    return entropy_of_row(g, i, max, log_sum, weight);
}

/* dz -= t, times scale. */
ALWAYS_INLINE void subtract_targets(const nnc_loss_args *g, ptrdiff_t i, real scale) {
    real *dz = (real *)g->dy + i * g->lddy;
    if (g->a != 0) {
        const real each = (real)(g->a / (double)g->n) * scale;
        for (ptrdiff_t j = 0; j < g->n; j++) dz[j] -= each;
        scale *= (real)(1 - g->a);
    }
    if (g->t == NULL) {
        dz[g->labels[i]] -= scale;
        return;
    }
    const real *t = (const real *)g->t + i * g->ldt;
    for (ptrdiff_t j = 0; j < g->n; j++) dz[j] = FMA(-scale, t[j], dz[j]);
}

static double loss_cross_entropy(const nnc_loss_args *g) {
    const ptrdiff_t n = g->n;
    const real scale = (real)g->scale;
    const double most = most_of(g);
    double value = 0;
    ptrdiff_t i = 0;
    if (g->weights) return weighted_rows(loss_cross_entropy, g);
    for (; n <= NARROW && i + 2 < g->rows; i += TEAM) {
        const ptrdiff_t size = min_size(TEAM, g->rows - i);
        real log_sum[TEAM], per[TEAM], weight[TEAM] = {0};
        team t;
        exp_team(size, n, (const real *)g->y + i * g->ldy, g->ldy, &t);
        for (int l = 0; l < TEAM; l++) log_sum[l] = v_log(t.sum[l]);
        for (ptrdiff_t l = 0; l < size; l++)
            value += counted(entropy_of_row(g, i + l, t.max[l], log_sum[l], &weight[l]), most);
        for (int l = 0; l < TEAM; l++) per[l] = weight[l] * scale / t.sum[l];
        for (ptrdiff_t j = 0; j < n; j++)
            for (int l = 0; l < TEAM; l++) t.e[j * TEAM + l] *= per[l];
        real *dz = (real *)g->dy + i * g->lddy;
        if (g->lddy == padded(n)) /* in whole vectors, padding too, which are loaded sooner */
            transpose_panel(size, n, g->lddy, t.e, TEAM, dz);
        else
            put_team(size, n, &t, dz, g->lddy);
        for (ptrdiff_t l = 0; l < size; l++) subtract_targets(g, i + l, scale);
    }
    for (; i < g->rows; i++) {
        real *z = (real *)g->y + i * g->ldy, *dz = (real *)g->dy + i * g->lddy, max, weight;
        fill_row(z, n);
        const real sum = exp_row(padded(n), z, dz, &max);
        value += counted(entropy_of_one(g, i, max, v_log(sum), &weight), most);
        const real per = weight * scale / sum;
        for (ptrdiff_t j = 0; j < padded(n); j++) dz[j] *= per;
        subtract_targets(g, i, scale);
    }
    return value;
}
