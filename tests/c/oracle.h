/* What the engine should compute, in `wide` and written for reading: the rows of the .def tables
 * with libm behind them, and a whole network, one row at a time, each number with a bound for the
 * rounding error that the engine may make in it.
 *
 * The rows are the engine's own, so that a new one is tested without an edit here; that they mean
 * what their names say is tested in Python against nncore/reference.py. */
#ifndef ORACLE_H
#define ORACLE_H

#include "testing.h"

wide expected_act(int act, wide x, const double *a);
wide expected_slope(int act, wide x, wide y, const double *a);
wide expected_derivative(int act, int order, wide x, const double *a);
/* elementwise losses only */
wide expected_loss(int loss, wide y, wide t, wide a, wide b);
wide expected_loss_slope(int loss, wide y, wide t, wide a, wide b);
wide expected_loss_curve(int loss, wide y, wide t, wide a, wide b);

typedef struct {
    wide p, s[NNC_MAX_VECTORS];
} wide_parameter;
wide_parameter expected_update(int opt, nnc_dtype type, wide_parameter from, wide g,
                               const double *coef);

/* A number and how far the engine's may be from it. */
typedef struct {
    wide v, e;
} number;

/* softmax of a row, and the loss of a row with its gradient times `scale`, of outputs or raw scores
 * with the errors given. t: values, or NULL and `label`. */
void expected_softmax(nnc_dtype type, ptrdiff_t n, const number *z, number *y);
void expected_log_softmax(nnc_dtype type, ptrdiff_t n, const number *z, number *y);
number expected_loss_of_row(nnc_dtype type, int loss, ptrdiff_t n, const number *y, const wide *t,
                            int64_t label, wide scale, double a, double b, number *dy);

/* The mean loss, and its gradient [n_params]. */
number expected_run(const nnc_plan *plan, const void *theta, const nnc_samples *samples,
                    number *gradient);
/* out[rows, n_out] */
void expected_predict(const nnc_plan *plan, const void *theta, const void *x, ptrdiff_t ldx,
                      ptrdiff_t rows, number *out);

#endif
