/* Networks with steps of every kind, and the samples for them; the same on every machine. */
#ifndef LAYERED_H
#define LAYERED_H

#include <pthread.h>
#include <stdatomic.h>

#include "testing.h"

enum { MAX_LAYERED_STEPS = 12, N_IN = 5, N_OUT = 3, N_LAYERED = 10 };

/* What a step of the kind called calls: the table's kernels, until it is told to stop. */
typedef struct {
    const nnc_kernels *kernels;
    pthread_t caller;
    int calls, stop_at;
    atomic_int elsewhere; /* calls from other threads than that */
} functions;

typedef struct {
    const char *name;
    nnc_plan plan;
    functions called;
    nnc_step steps[MAX_LAYERED_STEPS];
    nnc_column columns[N_IN];
    ptrdiff_t tokens; /* inputs are whole numbers below */
    nnc_tuning tuning[MAX_LAYERED_STEPS];
} layered;

/* Network number `which` of N_LAYERED, fresh, as all below. `more` units: so that work is divided
 * among threads, and parameters are updated at once. */
layered *make_layered(const nnc_kernels *k, int which, ptrdiff_t more);
int call_kernel(void *context, const nnc_act_args *g); /* an nnc_act_call on functions */
size_t running_bytes(const layered *l);
int has_batches(const layered *l); /* whether it normalises them */

/* Buffers of exactly the size that the contract asks for, and an optimizer whose state is zero. */
void *layered_theta(const layered *l);
void *layered_work(const layered *l, ptrdiff_t rows, nnc_use use);
nnc_samples layered_samples(const layered *l, ptrdiff_t rows);
nnc_optimizer layered_momentum(const layered *l);

/* Frozen steps, rates, penalties of dense steps, and gradients clipped by their norm or by value.
 */
void tune_layered(layered *l, nnc_optimizer *o);

#endif
