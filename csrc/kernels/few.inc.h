/* A few rows through a small network and back, all by tiles that read operands where they lie. What
 * it computes is defined by gemm and the loops around it in plan.c, bit by bit. Left out is what
 * decides how a larger product is best done, which takes longer than a small one does; and short
 * rows of z, y and dz follow each other without a gap, so that an activation sees whole vectors of
 * them. No sum is longer than NNC_BLOCK. */

/* c[m, n] = A b, then + bias: t says where A, b, c and the bias lie and how long the sums are, and
 * is used up. */
NEVER_INLINE void few_product(tile_args *t, ptrdiff_t m, ptrdiff_t n, int form) {
    const row_panels panels = {m, (m + TILE_ROWS - 1) / TILE_ROWS};
    const tile_args all = *t;
    for (ptrdiff_t panel = 0; panel < panels.count; panel++) {
        const ptrdiff_t i = panel_start(panels, panel);
        const ptrdiff_t rows = panel_start(panels, panel + 1) - i;
        t->a = all.a + (form == A_ROWS ? i * t->a_step : i);
        for (ptrdiff_t j = 0; j < n; j += TILE_COLS) {
            t->b = all.b + j;
            t->c = all.c + i * t->ldc + j;
            t->bias = all.bias ? all.bias + j : NULL;
            run_tile(t, rows, min_size(TILE_COLS, n - j), form);
        }
    }
}

/* y = f(x W + b), or z alone where it is raw. */
static void few_forward(const nnc_step *s, const nnc_slot *at, const real *theta, ptrdiff_t rows,
                        const real *x, ptrdiff_t ldx, int raw) {
    tile_args t = {.k = s->n_in,
                   .a = x,
                   .a_step = ldx,
                   .b = theta + s->w,
                   .b_step = s->n_out,
                   .c = at->z,
                   .ldc = at->ld,
                   .bias = s->b >= 0 ? theta + s->b : NULL};
    few_product(&t, rows, s->n_out, A_ROWS);
    if (!raw && s->act != NNC_ACT_identity)
        nnc_activate(&kernels, s->act, 1, rows * at->ld, at->z, at->y, s->act_a);
}

/* dz of the step below from that of step s: dz W' times the slope there. */
static void few_backward(const nnc_step *s, const nnc_slot *at, const real *theta, ptrdiff_t rows,
                         real *work) {
    const nnc_slot *below = at - 1;
    tile_args t = {.k = s->n_out,
                   .a = at->dz,
                   .a_step = at->ld,
                   .b = theta + s->w,
                   .b_step = s->n_in,
                   .c = below->dz,
                   .ldc = below->ld};
    if (s->n_out > 1) { /* else W is W' */
        t.b = work, t.b_step = whole_vectors(s->n_in);
        transpose_panel(s->n_out, s->n_in, t.b_step, theta + s->w, s->n_out, work);
    }
    few_product(&t, rows, s->n_in, A_ROWS);
    if (s[-1].act != NNC_ACT_identity)
        kernels.act_slope[s[-1].act](rows * below->ld, below->z, below->dz, below->dz, s[-1].act_a);
}

/* dW = x' dz, turned where that fills more of a vector; db = the sums of dz. */
static void few_gradient(const nnc_few *r, const nnc_step *s, const nnc_slot *at, const real *x,
                         ptrdiff_t ldx) {
    const ptrdiff_t rows = r->target->rows;
    real *gradient = r->gradient, *work = r->work;
    const ptrdiff_t m = s->n_in, n = s->n_out;
    tile_args t = {.k = rows,
                   .a = x,
                   .a_step = ldx,
                   .b = at->dz,
                   .b_step = at->ld,
                   .c = gradient + s->w,
                   .ldc = n,
                   .add = r->accumulate};
    if (n <= TILE_ROWS && m % LANES == 0 && m > n && !r->accumulate) {
        t.a = at->dz, t.a_step = at->ld, t.b = x, t.b_step = ldx, t.c = work, t.ldc = m;
        few_product(&t, n, m, A_COLS);
        turn(m, n, work, m, gradient + s->w, n);
    } else {
        few_product(&t, m, n, A_COLS);
    }
    if (s->b >= 0) column_sums(rows, n, at->dz, at->ld, gradient + s->b, r->accumulate);
}

static double few(const nnc_few *r) {
    const ptrdiff_t rows = r->target->rows;
    const real *theta = r->theta, *x = r->x;
    const int last = r->n_steps - 1;
    ptrdiff_t ldx = r->ldx;
    for (int s = 0; s <= last; s++) {
        few_forward(&r->steps[s], &r->slots[s], theta, rows, x, ldx, s == last && r->raw);
        x = r->slots[s].y, ldx = r->slots[s].ld;
    }
    const nnc_step *top = &r->steps[last];
    const nnc_slot *out = &r->slots[last];
    const double loss = kernels.loss[r->loss](r->target);
    if (!r->raw && top->act != NNC_ACT_identity)
        kernels.act_slope[top->act](rows * out->ld, out->z, out->dz, out->dz, top->act_a);
    for (int s = last; s > r->lowest; s--)
        few_backward(&r->steps[s], &r->slots[s], theta, rows, r->work);
    for (int s = r->lowest; s <= last; s++) {
        x = s > 0 ? r->slots[s - 1].y : r->x, ldx = s > 0 ? r->slots[s - 1].ld : r->ldx;
        few_gradient(r, &r->steps[s], &r->slots[s], x, ldx);
    }
    return loss;
}
