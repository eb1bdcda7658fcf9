/* One sample through a small network and back. What it computes is defined by gemm and the loops
 * around it in plan.c, bit by bit; what is left out is all that larger products need, which takes
 * longer than a few numbers do. At most NNC_BLOCK inputs to a step, so each sum is one chain.
 *
 * Everything lies in whole vectors, padded with zeros that stay zero: weights and gradient as
 * nnc_row says, the rest in rows of an arena. What is stored as a vector is loaded as that vector,
 * which a processor forwards from store to load; anything else would wait for the cache. */

/* z = x W + b, and y = f(z) unless raw. */
ALWAYS_INLINE void row_forward(const nnc_step *s, const nnc_slot *at, const real *theta,
                               const real *x, int raw) {
    const ptrdiff_t n = whole_vectors(s->n_out);
    const real *w = theta + s->w;
    real *z = at->z;
    if (s->n_out == 1) {
        real sum = 0;
        for (ptrdiff_t k = 0; k < s->n_in; k++) sum = FMA(x[k], w[k], sum);
        vec first = VZERO;
        first[0] = s->b >= 0 ? sum + theta[s->b] : sum;
        VSTORE(z, first);
    } else {
        for (ptrdiff_t j = 0; j < n; j += LANES) {
            vec sum = VZERO;
            for (ptrdiff_t k = 0; k < s->n_in; k++)
                sum = VFMA(VSPLAT(x[k]), VLOAD(w + k * n + j), sum);
            VSTORE(z + j, s->b >= 0 ? sum + VLOAD(theta + s->b + j) : sum);
        }
    }
    if (!raw && s->act != NNC_ACT_identity)
        nnc_activate(&kernels, s->act, 1, n, z, at->y, s->act_a);
}

/* dz of the step below from that of step s: dz W' times the slope there. */
ALWAYS_INLINE void row_backward(const nnc_step *s, const nnc_slot *at, const real *theta) {
    const ptrdiff_t below_n = whole_vectors(s->n_in), n = whole_vectors(s->n_out);
    const nnc_slot *below = at - 1;
    const real *dz = at->dz, *w = theta + s->w;
    real *dy = below->dz;
    if (s->n_out == 1)
        for (ptrdiff_t i = 0; i < below_n; i += LANES)
            VSTORE(dy + i, VFMA(VSPLAT(dz[0]), VLOAD(w + i), VZERO));
    else
        for (ptrdiff_t i = 0; i < s->n_in; i++, w += n) {
            real sum = 0;
            for (ptrdiff_t j = 0; j < s->n_out; j++) sum = FMA(dz[j], w[j], sum);
            dy[i] = sum;
        }
    if (s[-1].act != NNC_ACT_identity)
        kernels.act_slope[s[-1].act](below_n, below->z, dy, dy, s[-1].act_a);
}

/* dW = x' dz, db = dz, each sum from +0. x may end with its last element. */
ALWAYS_INLINE void row_gradient(const nnc_step *s, const nnc_slot *at, const real *x,
                                real *gradient) {
    const ptrdiff_t n = whole_vectors(s->n_out);
    const real *dz = at->dz;
    real *dw = gradient + s->w;
    if (s->n_out == 1) {
        for (ptrdiff_t i = 0; i < s->n_in; i += LANES)
            VSTORE(dw + i, VFMA(load_some(x + i, s->n_in - i), VSPLAT(dz[0]), VZERO));
        vec first = VZERO;
        first[0] = dz[0] + R(0);
        if (s->b >= 0) VSTORE(gradient + s->b, first);
        return;
    }
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const vec d = VLOAD(dz + j);
        for (ptrdiff_t i = 0; i < s->n_in; i++)
            VSTORE(dw + i * n + j, VFMA(VSPLAT(x[i]), d, VZERO));
        if (s->b >= 0) VSTORE(gradient + s->b + j, d + VZERO);
    }
}

/* dz of the last step from its dy. */
ALWAYS_INLINE void row_output_slope(const nnc_step *s, const nnc_slot *at) {
    real *dz = at->dz;
    if (s->n_out == 1) { /* was stored as one number */
        vec first = VZERO;
        first[0] = dz[0];
        VSTORE(dz, first);
    }
    kernels.act_slope[s->act](whole_vectors(s->n_out), at->z, dz, dz, s->act_a);
}

static double row(const nnc_row *r) {
    const real *theta = r->theta, *x = r->x;
    const int last = r->n_steps - 1;
    for (int s = 0; s <= last; s++) {
        row_forward(&r->steps[s], &r->slots[s], theta, x, s == last && r->raw);
        x = r->slots[s].y;
    }
    const nnc_step *top = &r->steps[last];
    const double loss = kernels.loss[r->loss](r->target);
    if (!r->raw && top->act != NNC_ACT_identity) row_output_slope(top, &r->slots[last]);
    for (int s = last; s > r->lowest; s--) row_backward(&r->steps[s], &r->slots[s], theta);
    x = r->lowest > 0 ? r->slots[r->lowest - 1].y : r->x;
    for (int s = r->lowest; s <= last; s++) {
        row_gradient(&r->steps[s], &r->slots[s], x, r->gradient);
        x = r->slots[s].y;
    }
    return loss;
}
