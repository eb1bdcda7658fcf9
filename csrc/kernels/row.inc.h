/* One sample through a small network and back. What it computes is defined by gemm and the loops
 * around it in plan.c, bit by bit; what is left out is all that larger products need, which takes
 * longer than a few numbers do. At most NNC_BLOCK inputs to a step, so each sum is one chain. */

/* z = x W + b, and y = f(z) unless raw. Whole vectors: z and y are rows of an arena, and what is
 * read behind the end of W and b is slack. */
ALWAYS_INLINE void row_forward(const nnc_step *s, const nnc_slot *at, const real *theta,
                               const real *x, int raw) {
    const ptrdiff_t n = s->n_out;
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const real *w = theta + s->w + j;
        vec sum = VZERO;
        for (ptrdiff_t k = 0; k < s->n_in; k++, w += n) sum = VFMA(VSPLAT(x[k]), VLOAD(w), sum);
        if (s->b >= 0) sum = sum + VLOAD(theta + s->b + j);
        VSTORE((real *)at->z + j, sum);
    }
    if (!raw && s->act != NNC_ACT_identity)
        kernels.act[s->act](whole_vectors(n), at->z, at->y, s->act_a);
}

/* dz of the step below from that of step s: dz W' times the slope there. */
ALWAYS_INLINE void row_backward(const nnc_step *s, const nnc_slot *at, const real *theta) {
    const ptrdiff_t n = s->n_out;
    const nnc_slot *below = at - 1;
    const real *dz = at->dz, *w = theta + s->w;
    real *dy = below->dz;
    for (ptrdiff_t i = 0; i < s->n_in; i++, w += n) {
        real sum = 0;
        for (ptrdiff_t j = 0; j < n; j++) sum = FMA(dz[j], w[j], sum);
        dy[i] = sum;
    }
    if (s[-1].act != NNC_ACT_identity)
        kernels.act_slope[s[-1].act](whole_vectors(s->n_in), below->z, dy, dy, s[-1].act_a);
}

/* dW = x' dz, db = dz, each sum from +0. A vector may run over the end of its row of W, which the
 * next row then makes good, but not over the last. */
ALWAYS_INLINE void row_gradient(const nnc_step *s, const nnc_slot *at, const real *x,
                                real *gradient) {
    const ptrdiff_t n = s->n_out, size = s->n_in * n;
    const real *dz = at->dz;
    for (ptrdiff_t i = 0; i < s->n_in; i++)
        for (ptrdiff_t j = 0; j < n; j += LANES) {
            const vec dw = VFMA(VSPLAT(x[i]), VLOAD(dz + j), VZERO);
            const ptrdiff_t to = i * n + j;
            if (to + LANES <= size)
                VSTORE(gradient + s->w + to, dw);
            else
                VSTORE_N(gradient + s->w + to, dw, (int)(size - to));
        }
    for (ptrdiff_t j = 0; s->b >= 0 && j < n; j++) gradient[s->b + j] = dz[j] + R(0);
}

static double row(const nnc_row *r) {
    const real *theta = r->theta, *x = r->x;
    const int last = r->n_steps - 1;
    for (int s = 0; s <= last; s++) {
        row_forward(&r->steps[s], &r->slots[s], theta, x, s == last && r->raw);
        x = r->slots[s].y;
    }
    const nnc_step *top = &r->steps[last];
    void *dz = r->slots[last].dz;
    const double loss = kernels.loss[r->loss](r->target);
    if (!r->raw && top->act != NNC_ACT_identity)
        kernels.act_slope[top->act](whole_vectors(top->n_out), r->slots[last].z, dz, dz,
                                    top->act_a);
    for (int s = last; s > 0; s--) row_backward(&r->steps[s], &r->slots[s], theta);
    x = r->x;
    for (int s = 0; s <= last; s++) {
        row_gradient(&r->steps[s], &r->slots[s], x, r->gradient);
        x = r->slots[s].y;
    }
    return loss;
}
