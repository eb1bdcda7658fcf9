/* Products of vectors, and the two loops of L-BFGS: a vector times the inverse Hessian that pairs
 * s, y stand for. */

typedef double eight __attribute__((vector_size(8 * sizeof(double))));
typedef real eight_u
    __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real)), may_alias));
#define EIGHT(p) __builtin_convertvector(*(const eight_u *)(p), eight)

/* x . y in double: 32 interleaved sums, folded in halves. */
static double dot(ptrdiff_t n, const void *x_, const void *y_) {
    const real *x = x_, *y = y_;
    enum { SIDE = 4 };
    eight sum[SIDE] = {{0}};
    ptrdiff_t i = 0;
    for (; i + SIDE * 8 <= n; i += SIDE * 8) UNROLL for (int v = 0; v < SIDE; v++) sum[v] += EIGHT(x + i + v * 8) * EIGHT(y + i + v * 8);
    for (int v = 0; i + v < n; v++) sum[v / 8][v % 8] += (double)x[i + v] * (double)y[i + v];
    const eight all = (sum[0] + sum[2]) + (sum[1] + sum[3]);
    double part[8];
    for (int l = 0; l < 8; l++) part[l] = all[l];
    return fold_double(part);
}

/* q += a x */
static void add_multiple(ptrdiff_t n, real a, const real *restrict x, real *restrict q) {
    for (ptrdiff_t i = 0; i < n; i++) q[i] = FMA(a, x[i], q[i]);
}

/* q = H q, Nocedal and Wright 2006, algorithm 7.4, from H = s.y / y.y of the newest pair (7.20).
 * pairs[2i] is s and pairs[2i + 1] y of pair i, oldest first, each scaled so that s.y = 1; n
 * elements each, no two the same memory. alpha: m doubles of work. */
static void two_loops(ptrdiff_t n, ptrdiff_t m, const void *const *pairs, void *q, double *alpha) {
    for (ptrdiff_t i = m - 1; i >= 0; i--) {
        alpha[i] = dot(n, pairs[2 * i], q);
        add_multiple(n, (real)-alpha[i], pairs[2 * i + 1], q);
    }
    const real *y = pairs[2 * m - 1];
    const real scale = (real)(1 / dot(n, y, y));
    for (ptrdiff_t i = 0; i < n; i++) ((real *)q)[i] *= scale;
    for (ptrdiff_t i = 0; i < m; i++)
        add_multiple(n, (real)(alpha[i] - dot(n, pairs[2 * i + 1], q)), pairs[2 * i], q);
}
