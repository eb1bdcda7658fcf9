/* Networks to test plans with, and the samples for them; the same on every machine. */
#ifndef NETS_H
#define NETS_H

#include "testing.h"

enum { MAX_STEPS = 4, MAX_NETS = 100 };

typedef struct {
    ptrdiff_t widths[MAX_STEPS + 1]; /* of the input and of each step; 0 ends */
    int acts[MAX_STEPS];
    int loss;
    int without_bias, by_label;
} net_shape;

typedef struct {
    nnc_plan plan;
    nnc_step steps[MAX_STEPS];
    net_shape shape;
    char name[120];
} net;

/* Every activation, every loss with the output it needs, and shapes that are awkward. */
int net_shapes(net_shape list[MAX_NETS]);
net make_net(const nnc_kernels *kernels, net_shape shape); /* points into itself: call link_net */
void link_net(net *n);

ptrdiff_t inputs(const net *n);
ptrdiff_t outputs(const net *n);

/* Fresh buffers of exactly the size that the contract asks for. */
void *fresh_theta(const net *n, uint64_t seed);
void *fresh_work(const net *n, ptrdiff_t rows, nnc_use use);
nnc_samples fresh_samples(const net *n, ptrdiff_t rows, uint64_t seed);
/* The same samples in another order behind an index that puts them right. */
nnc_samples fresh_shuffled(const net *n, const nnc_samples *samples);
/* Gives the rows weights: 0 for some, alone and in a row. */
void add_weights(nnc_samples *samples);
nnc_samples part_of(const net *n, const nnc_samples *samples, ptrdiff_t first, ptrdiff_t rows);

/* An optimizer with the default hyper-parameters; its state is fresh and zero. */
nnc_optimizer fresh_optimizer(const net *n, int opt);

#endif
