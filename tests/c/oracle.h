/* What the engine should compute, in `wide` and written for reading: the rows of the .def tables
 * with libm behind them, and a whole network, one row at a time, each number with a bound for the
 * rounding error that the engine may make in it.
 *
 * The rows are the engine's own, so that a new one is tested without an edit here; that they mean
 * what their names say is tested in Python against nncore/reference.py. */
#ifndef ORACLE_H
#define ORACLE_H

#include "testing.h"

wide expected_act(int act, wide x, wide a);
wide expected_slope(int act, wide x, wide y, wide a);
wide expected_derivative(int act, int order, wide x, wide a);
wide expected_loss(int loss, wide y, wide t); /* elementwise ones only */
wide expected_loss_slope(int loss, wide y, wide t);
wide expected_loss_curve(int loss, wide y, wide t);

typedef struct {
    wide p, s[NNC_MAX_VECTORS];
} wide_parameter;
wide_parameter expected_update(int opt, nnc_dtype type, wide_parameter from, wide g,
                               const double *coef);

/* A number and how far the engine's may be from it. */
typedef struct {
    wide v, e;
} number;

/* value[rows, n] of softmax, the loss of a row from raw scores and its gradient times `scale`:
 * from scores z with the errors given. t: values, or NULL and `label`. */
void expected_softmax(nnc_dtype type, ptrdiff_t n, const number *z, number *y);
number expected_cross_entropy(nnc_dtype type, ptrdiff_t n, const number *z, const wide *t,
                              int64_t label, wide scale, number *dz);

/* The mean loss, and its gradient [n_params]. */
number expected_run(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                    number *gradient);
/* out[rows, n_out] */
void expected_predict(const nnc_plan *plan, const void *theta, const void *x, ptrdiff_t ldx,
                      ptrdiff_t rows, number *out);

#endif
