/* The bits of trained networks: the same on every instruction set with fused multiply-add, on every
 * machine. digests.def holds them as they were recorded; a change of it is a change of what the
 * engine promises, and says so in the commit.
 *
 * All data are made from integers. The one thing that is not the engine's own arithmetic is pow()
 * in the coefficients of adam: another libm may round it differently. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets.h"
#include "testing.h"

static const struct {
    const char *name;
    uint64_t bits;
} recorded[] = {
#include "digests.def"
    {NULL, 0}};

enum { N_KINDS = 3, ROWS = 600, BATCH = 290, EPOCHS = 3 };
static const char *const kinds[N_KINDS] = {"activation", "loss", "optimizer"};

static int count_of(int kind) {
    return kind == 0 ? NNC_N_ACTS : kind == 1 ? NNC_N_LOSSES : NNC_N_OPTS;
}

static const char *name_of(int kind, int i) {
    switch (kind) {
    case 0: return nnc_acts[i].name;
    case 1: return nnc_losses[i].name;
    default: return nnc_opts[i].name;
    }
}

/* Trains a network with this activation, loss or optimizer; hashes weights, losses, outputs. */
static uint64_t digest(const nnc_kernels *k, int kind, int which) {
    net_shape shape = {
        {7, 33, 12, 5}, {NNC_ACT_tanh, NNC_ACT_tanh, NNC_ACT_identity}, NNC_LOSS_mse, 0, 0};
    if (kind == 0) shape.acts[1] = which;
    if (kind == 0 && which != NNC_ACT_exponential) shape.acts[0] = which; /* two of it explode */
    if (kind == 1) {
        static const int outputs_of[] = {NNC_ACT_identity, NNC_ACT_sigmoid, NNC_ACT_softmax};
        shape.loss = which;
        shape.acts[2] = outputs_of[nnc_losses[which].output];
        shape.widths[3] += shape.widths[3] % nnc_losses[which].per_target;
    }
    const int start = mark(), opt = kind == 2 ? which : NNC_OPT_momentum;
    net n = make_net(k, shape);
    link_net(&n);
    const size_t bytes = (size_t)n.plan.n_params * k->size;
    const nnc_samples samples = fresh_samples(&n, ROWS, 5);
    void *theta = fresh_theta(&n, 6), *gradient = fresh(bytes),
         *work = fresh_work(&n, BATCH, NNC_TRAIN);
    void *out = fresh((size_t)(ROWS * outputs(&n)) * k->size);
    nnc_optimizer optimizer = fresh_optimizer(&n, opt);
    static const double slowly[] = {1e-5, 0.9}; /* a network of exponentials soon overflows */
    if (kind == 0 && which == NNC_ACT_exponential) optimizer.hyper = slowly;
    double losses[1 + ROWS / BATCH];
    uint64_t hash = MIX_START;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        ptrdiff_t done;
        nnc_train(&n.plan, theta, gradient, &optimizer, &samples, BATCH, losses, &done, work, NULL,
                  NULL);
        hash = mix(hash, losses, (size_t)done * sizeof *losses);
    }
    nnc_predict(&n.plan, theta, samples.x, samples.ldx, ROWS, out, outputs(&n),
                fresh_work(&n, ROWS, NNC_PREDICT), NULL, NULL);
    hash = mix(mix(hash, theta, bytes), out, (size_t)(ROWS * outputs(&n)) * k->size);
    /* processors differ in the sign of a NaN */
    check(k->finite(ROWS * outputs(&n), out), "outputs are not finite: their bits say nothing");
    release(start);
    return hash;
}

void test_digests(void) {
    group("recorded bits");
    int compared = 0;
    for (int t = 0; t < NNC_N_DTYPES; t++) {
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable((nnc_dtype)t, list);
        for (int i = 0; i < isas; i++) {
            if (!is_fused(list[i])) continue;
            for (int kind = 0; kind < N_KINDS; kind++)
                for (int which = 0; which < count_of(kind); which++) {
                    char name[100];
                    snprintf(name, sizeof name, "%s %s %s", type_names[t], kinds[kind],
                             name_of(kind, which));
                    where("%s %s", list[i]->isa, name);
                    int r = 0;
                    while (recorded[r].name && strcmp(recorded[r].name, name)) r++;
                    if (recorded[r].name == NULL) {
                        check(0, "not recorded in digests.def: run `make digests`");
                        continue;
                    }
                    const uint64_t bits = digest(list[i], kind, which);
                    check(bits == recorded[r].bits, "0x%016llx, recorded 0x%016llx",
                          (unsigned long long)bits, (unsigned long long)recorded[r].bits);
                    compared++;
                }
        }
    }
    if (!compared) printf("  no instruction set with fused multiply-add here: NOT COMPARED\n");
}

void print_digests(void) {
    printf("/* Written by `make digests` (test_core --digests): do not edit. */\n");
    for (int t = 0; t < NNC_N_DTYPES; t++) {
        const nnc_kernels *list[MAX_ISAS];
        const int isas = runnable((nnc_dtype)t, list);
        if (isas < 1 || !is_fused(list[0])) {
            fprintf(stderr, "digests are recorded on an instruction set with fused multiply-add\n");
            exit(1);
        }
        for (int kind = 0; kind < N_KINDS; kind++)
            for (int which = 0; which < count_of(kind); which++)
                printf("{\"%s %s %s\", 0x%016llx},\n", type_names[t], kinds[kind],
                       name_of(kind, which), (unsigned long long)digest(list[0], kind, which));
    }
}
