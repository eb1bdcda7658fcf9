/* Products that the plan runs in parts, to be stopped in between: a sample of outputs and gradients
 * against the canonical sums, bit by bit. What counts as long is set low, so that small ones are.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nets.h"
#include "testing.h"

enum { ROWS = NNC_BLOCK, N_IN = 3, SAMPLE = 200, LONGEST = 1000000 };

static double rounded(nnc_dtype type, double x) { return type == NNC_F32 ? (double)(float)x : x; }

/* sum_p a[p a_step] b[p b_step] in canonical order, and then + bias. */
static double chain(const nnc_kernels *k, ptrdiff_t n, const void *a, ptrdiff_t a_step,
                    const void *b, ptrdiff_t b_step, double bias) {
    const nnc_dtype type = k->dtype;
    double total = 0, block = 0;
    for (ptrdiff_t p = 0; p < n; p++) {
        const double x = get(type, a, p * a_step), y = get(type, b, p * b_step);
        if (!is_fused(k))
            block = rounded(type, rounded(type, x * y) + block);
        else if (type == NNC_F32)
            block = (double)fmaf((float)x, (float)y, (float)block);
        else
            block = fma(x, y, block);
        if (p % NNC_BLOCK == NNC_BLOCK - 1 || p == n - 1) {
            total = p < NNC_BLOCK ? block : rounded(type, total + block);
            block = 0;
        }
    }
    return rounded(type, total + bias);
}

/* A table whose products are counted. */
static nnc_kernels counting;
static const nnc_kernels *counted;
static int products;

static void count_gemm(const nnc_gemm *g) {
    products++;
    counted->gemm(g);
}

static void check_long(const nnc_kernels *k, ptrdiff_t hidden_units, ptrdiff_t n_out) {
    const nnc_dtype type = k->dtype;
    const net_shape shape = {
        {N_IN, hidden_units, n_out}, {NNC_ACT_tanh, NNC_ACT_identity}, NNC_LOSS_half_mse, 0, 0};
    const int start = mark();
    net n = make_net(k, shape);
    link_net(&n);
    n.plan.longest = LONGEST;
    counted = k, counting = *k, counting.gemm = count_gemm;
    n.plan.kernels = &counting;
    nnc_plan first = n.plan;
    first.n_steps = 1;
    void *theta = fresh_theta(&n, 1), *gradient = fresh((size_t)n.plan.n_params * k->size);
    const nnc_samples s = fresh_samples(&n, ROWS, 2);
    void *hidden = fresh((size_t)(ROWS * hidden_units) * k->size);
    void *out = fresh((size_t)(ROWS * n_out) * k->size);
    void *dz = fresh((size_t)(ROWS * n_out) * k->size), *dx = fresh((size_t)ROWS * k->size);
    const void *w = at(type, theta, n.steps[1].w), *bias = at(type, theta, n.steps[1].b);
    int right = 1;
    double loss;
    where("%s %s", k->isa, n.name);
    nnc_predict(&first, theta, s.x, s.ldx, ROWS, hidden, hidden_units,
                fresh_work(&n, ROWS, NNC_PREDICT), NULL, NULL);
    products = 0;
    nnc_predict(&n.plan, theta, s.x, s.ldx, ROWS, out, n_out, fresh_work(&n, ROWS, NNC_PREDICT),
                NULL, NULL);
    check(products > 2 * n.plan.n_steps, "only %d products for the outputs", products);
    for (int i = 0; i < SAMPLE; i++) {
        const ptrdiff_t row = (ptrdiff_t)(mixed(1, (uint64_t)i) % ROWS);
        const ptrdiff_t j =
            i == 0 ? n_out - 1 : (ptrdiff_t)(mixed(2, (uint64_t)i) % (uint64_t)n_out);
        const double y = chain(k, hidden_units, at(type, hidden, row * hidden_units), 1,
                               at(type, w, j), n_out, get(type, bias, j));
        right &= get(type, out, row * n_out + j) == y;
    }
    check(right, "outputs differ from the canonical sums");

    products = 0;
    nnc_evaluate(&n.plan, theta, &s, &loss, gradient, fresh_work(&n, ROWS, NNC_GRADIENT), NULL,
                 NULL);
    check(products > 5 * n.plan.n_steps, "only %d products there and back", products);
    for (ptrdiff_t i = 0; i < ROWS; i++)
        for (ptrdiff_t j = 0; j < n_out; j++) {
            const double y = get(type, out, i * n_out + j), t = get(type, s.t, i * s.ldt + j);
            put(type, dz, i * n_out + j, rounded(type, y - t) * (1.0 / ROWS));
        }
    right = 1;
    for (int i = 0; i < SAMPLE; i++) {
        const ptrdiff_t row =
            i == 0 ? hidden_units - 1 : (ptrdiff_t)(mixed(3, (uint64_t)i) % (uint64_t)hidden_units);
        const ptrdiff_t j = (ptrdiff_t)(mixed(4, (uint64_t)i) % (uint64_t)n_out);
        const double g =
            chain(k, ROWS, at(type, hidden, row), hidden_units, at(type, dz, j), n_out, 0);
        right &= get(type, gradient, n.steps[1].w + row * n_out + j) == g;
    }
    check(right, "the gradient of the second layer differs from the canonical sums");
    right = 1;
    for (int i = 0; i < SAMPLE / 4; i++) {
        const ptrdiff_t j =
            i == 0 ? hidden_units - 1 : (ptrdiff_t)(mixed(5, (uint64_t)i) % (uint64_t)hidden_units);
        for (ptrdiff_t row = 0; row < ROWS; row++) {
            put(type, dx, row,
                chain(k, n_out, at(type, dz, row * n_out), 1, at(type, w, j * n_out), 1, 0));
            k->act_slope[NNC_ACT_tanh](1, at(type, hidden, row * hidden_units + j),
                                       at(type, dx, row), at(type, dx, row),
                                       nnc_acts[NNC_ACT_tanh].defaults);
        }
        for (ptrdiff_t input = 0; input < N_IN; input++)
            right &= get(type, gradient, n.steps[0].w + input * hidden_units + j) ==
                     chain(k, ROWS, at(type, s.x, input), s.ldx, dx, 1, 0);
    }
    check(right, "the gradient of the first layer differs from the canonical sums");
    release(start);
}

void test_long_products(void) {
    for (int t = 0; t < NNC_N_DTYPES; t++) {
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable((nnc_dtype)t, list);
        group("long products %s", type_names[t]);
        for (int i = 0; i < isas; i++) {
            check_long(list[i], 1101, 31); /* parts of rows, and of columns on the way back */
            check_long(list[i], 31, 1101); /* the other way round */
        }
    }
}
