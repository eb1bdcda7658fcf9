/* The bits of steps other than dense, which neither instruction sets nor threads, blocks, indices,
 * pieces or the other rows may change; and those of a run that is stopped. */
#include <string.h>

#include "layered.h"
#include "testing.h"

/* ---- bits ------------------------------------------------------------------------------------ */

enum { ROWS = 530 };

/* Where the parameters of the steps above step s begin. */
static ptrdiff_t next_parameter(const layered *l, int s) {
    while (++s < l->plan.n_steps)
        if (l->steps[s].w >= 0) return l->steps[s].w;
    return l->plan.n_params;
}

/* Whether step s has kept its parameters and what the rule remembers of them, of which all the
 * others have changed some. */
static void check_frozen(const layered *l, const void *before, const void *theta,
                         const void *state) {
    const nnc_dtype type = l->plan.kernels->dtype;
    for (int s = 0; s < l->plan.n_steps; s++) {
        const nnc_step *step = &l->steps[s];
        if (step->w < 0) continue;
        const size_t bytes = (size_t)(next_parameter(l, s) - step->w) * size_of(type);
        const void *from = at(type, before, step->w), *to = at(type, theta, step->w);
        check((memcmp(from, to, bytes) == 0) == l->tuning[s].frozen, "step %d, frozen: %d", s,
              l->tuning[s].frozen);
        int zero = 1;
        for (size_t i = 0; i < bytes; i++) zero &= ((const char *)at(type, state, step->w))[i] == 0;
        check(zero == l->tuning[s].frozen, "state of step %d, frozen: %d", s, l->tuning[s].frozen);
    }
}

/* The bits of the derivatives beyond the gradient, of a few rows. */
static uint64_t derivatives(layered *l, const void *theta, const nnc_samples *all, uint64_t hash) {
    enum { FEW = 20 };
    const size_t size = l->plan.kernels->size, bytes = (size_t)l->plan.n_params * size;
    const int start = mark();
    nnc_samples s = *all;
    double loss, *losses = fresh(FEW * sizeof *losses);
    void *dx = fresh((size_t)(ROWS * N_IN) * size), *each = fresh(FEW * bytes);
    void *jacobian = fresh((size_t)FEW * N_OUT * bytes), *by_x = fresh(FEW * N_OUT * N_IN * size);
    nnc_input_gradient(&l->plan, theta, &s, &loss, dx, N_IN, layered_work(l, ROWS, NNC_GRADIENT),
                       NULL, NULL);
    hash = mix(mix(hash, dx, (size_t)(ROWS * N_IN) * size), &loss, sizeof loss);
    s.rows = FEW;
    void *work = layered_work(l, FEW, NNC_GRADIENT);
    nnc_sample_gradients(&l->plan, theta, &s, losses, each, work, NULL, NULL);
    hash = mix(mix(hash, each, FEW * bytes), losses, FEW * sizeof *losses);
    nnc_jacobian(&l->plan, theta, s.x, s.ldx, FEW, NNC_BY_PARAMETERS, jacobian, work, NULL, NULL);
    nnc_jacobian(&l->plan, theta, s.x, s.ldx, FEW, NNC_BY_INPUTS, by_x, work, NULL, NULL);
    hash = mix(mix(hash, jacobian, FEW * N_OUT * bytes), by_x, FEW * N_OUT * N_IN * size);
    check(l->plan.kernels->finite(FEW * N_OUT * l->plan.n_params, jacobian) &&
              l->plan.kernels->finite(FEW * N_OUT * N_IN, by_x),
          "derivatives are not finite");
    s.rows = ROWS;
    check(nnc_hessian_product(&l->plan, theta, &s, theta, &loss, each,
                              layered_work(l, ROWS, NNC_HESSIAN), NULL, NULL) == NNC_OK,
          "no Hessian product");
    hash = mix(mix(hash, each, bytes), &loss, sizeof loss);
    release(start);
    return hash;
}

/* Trains, evaluates, predicts; all bits that come out. */
static uint64_t run(layered *l, ptrdiff_t batch, const int64_t *index, const nnc_samples *from,
                    int tuned) {
    const nnc_kernels *k = l->plan.kernels;
    const int start = mark();
    const size_t bytes = (size_t)l->plan.n_params * k->size,
                 size = (size_t)(ROWS * N_OUT) * k->size;
    nnc_samples s = *from;
    s.index = index;
    void *theta = layered_theta(l), *gradient = fresh(bytes), *out = fresh(size);
    void *before = memcpy(fresh(bytes), theta, bytes);
    nnc_optimizer o = layered_momentum(l);
    if (tuned) tune_layered(l, &o);
    double losses[ROWS], loss;
    ptrdiff_t done;
    uint64_t hash = MIX_START;
    for (int epoch = 0; epoch < 2; epoch++) {
        check(nnc_train(&l->plan, theta, gradient, &o, &s, batch, losses, &done,
                        layered_work(l, batch < ROWS ? batch : ROWS, NNC_TRAIN), NULL,
                        NULL) == NNC_OK,
              "training failed");
        check(done == (ROWS + batch - 1) / batch, "%td steps", done);
        hash = mix(hash, losses, (size_t)done * sizeof *losses);
    }
    if (tuned) check_frozen(l, before, theta, o.state[0]);
    check(o.drawn == (uint64_t)(2 * done), "drawn %llu times", (unsigned long long)o.drawn);
    hash = mix(mix(hash, theta, bytes), l->plan.running, running_bytes(l));
    nnc_evaluate(&l->plan, theta, &s, &loss, gradient, layered_work(l, ROWS, NNC_GRADIENT), NULL,
                 NULL);
    hash = mix(mix(hash, gradient, bytes), &loss, sizeof loss);
    if (index == NULL) hash = derivatives(l, theta, &s, hash);
    double alone;
    nnc_evaluate(&l->plan, theta, &s, &alone, NULL, layered_work(l, ROWS, NNC_EVALUATE), NULL,
                 NULL);
    check(alone == loss, "another loss without the gradient");
    nnc_predict(&l->plan, theta, from->x, from->ldx, ROWS, out, N_OUT,
                layered_work(l, ROWS, NNC_PREDICT), NULL, NULL);
    hash = mix(hash, out, size);
    check(k->finite(ROWS * N_OUT, out), "outputs are not finite");
    for (ptrdiff_t i = 0; i < ROWS; i += 67) {
        const int here = mark();
        void *one = fresh((size_t)N_OUT * k->size);
        nnc_predict(&l->plan, theta, at(k->dtype, from->x, i * from->ldx), from->ldx, 1, one, N_OUT,
                    layered_work(l, 1, NNC_PREDICT), NULL, NULL);
        check(!memcmp(one, at(k->dtype, out, i * N_OUT), (size_t)N_OUT * k->size),
              "row %td alone gives other bits", i);
        release(here);
    }
    l->plan.sample = 1, l->plan.draw = 3;
    nnc_predict(&l->plan, theta, from->x, from->ldx, ROWS, out, N_OUT,
                layered_work(l, ROWS, NNC_PREDICT), NULL, NULL);
    hash = mix(hash, out, size);
    check(l->called.elsewhere == 0, "functions were called in parts of jobs");
    release(start);
    return hash;
}

/* The same samples in another order, behind an index that puts them right. */
static nnc_samples turned(const layered *l, const nnc_samples *s, int64_t *index) {
    const nnc_dtype type = l->plan.kernels->dtype;
    nnc_samples t = layered_samples(l, s->rows);
    for (ptrdiff_t i = 0; i < s->rows; i++) {
        const ptrdiff_t to = (i * 101 + 7) % s->rows;
        index[i] = to;
        for (ptrdiff_t j = 0; j < N_IN; j++)
            put(type, (void *)t.x, to * t.ldx + j, get(type, s->x, i * s->ldx + j));
        for (ptrdiff_t j = 0; j < N_OUT; j++)
            put(type, (void *)t.t, to * t.ldt + j, get(type, s->t, i * s->ldt + j));
    }
    return t;
}

static void check_bits(nnc_dtype type, int which, ptrdiff_t batch, int tuned) {
    const nnc_kernels *list[MAX_ISAS];
    const int isas = runnable(type, list);
    uint64_t first = 0;
    for (int i = 0, fused = 0; i < isas; i++) {
        const int start = mark();
        layered *l = make_layered(list[i], which, 0);
        const nnc_samples s = layered_samples(l, ROWS);
        where("%s %s, batches of %td%s", list[i]->isa, l->name, batch, tuned ? ", tuned" : "");
        const uint64_t bits = run(l, batch, NULL, &s, tuned);
        int64_t *index = fresh(ROWS * sizeof *index);
        layered *again = make_layered(list[i], which, 0);
        const nnc_samples t = turned(again, &s, index);
        where("%s %s, batches of %td, through an index%s", list[i]->isa, l->name, batch,
              tuned ? ", tuned" : "");
        const uint64_t through = run(again, batch, index, &t, tuned);
        /* predictions are in the order of the rows, so only what comes before can agree */
        check(through != 0 && !memcmp(l->plan.running, again->plan.running, running_bytes(l)),
              "other running statistics");
        if (is_fused(list[i])) {
            if (fused++ == 0) first = bits;
            check(bits == first, "other bits than %s", list[0]->isa);
        }
        release(start);
    }
}

/* lanes: work is divided, and cut in pieces, by operations per lane. */
static void check_divided(const nnc_kernels *from, int which, int tuned) {
    static const int threads[] = {1, 2, EMULATED ? 3 : 8};
    nnc_kernels k = *from;
    k.lanes = 1;
    uint64_t bits[2][sizeof threads / sizeof *threads];
    for (int piecewise = 0; piecewise < 2; piecewise++)
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
            const int start = mark();
            layered *l = make_layered(&k, which, 96);
            l->plan.threads = threads[i];
            if (piecewise) l->plan.longest = 30000;
            const nnc_samples s = layered_samples(l, ROWS);
            where("%s %s, %d threads%s", k.isa, l->name, threads[i], piecewise ? ", pieces" : "");
            bits[piecewise][i] = run(l, 400, NULL, &s, tuned);
            check(bits[piecewise][i] == bits[0][0], "other bits than one thread's");
            release(start);
        }
}

/* ---- stopping -------------------------------------------------------------------------------- */

/* Stopped at any poll, parameters and running statistics are those of the steps that are counted.
 */
static void check_stop(const nnc_kernels *k, int which, int tuned) {
    enum { STEPS = 3, BATCH = 300 };
    const int start = mark();
    uint64_t after[STEPS + 1] = {0};
    int stopped = 0, polls = 0;
    /* first runs of 0 to STEPS steps, then some of the polls of the last */
    for (int stop_at = -STEPS; stop_at <= polls; stop_at += stop_at > 0 ? 1 + polls / 12 : 1) {
        const int here = mark();
        layered *l = make_layered(k, which, 500);
        l->plan.longest = 200000;
        const size_t bytes = (size_t)l->plan.n_params * k->size;
        nnc_samples s = layered_samples(l, STEPS * BATCH);
        void *theta = layered_theta(l);
        nnc_optimizer o = layered_momentum(l);
        if (tuned) tune_layered(l, &o);
        double losses[STEPS];
        ptrdiff_t done;
        countdown c = {0, stop_at};
        if (stop_at <= 0) s.rows = (STEPS + stop_at) * BATCH; /* a run of so many steps */
        const nnc_status status =
            nnc_train(&l->plan, theta, fresh(bytes), &o, &s, BATCH, losses, &done,
                      layered_work(l, BATCH, NNC_TRAIN), count_down, &c);
        const uint64_t bits =
            mix(mix(mix(1, theta, bytes), o.state[0], bytes), l->plan.running, running_bytes(l));
        if (stop_at <= 0) {
            after[done] = bits;
            polls = c.calls;
        } else {
            where("%s %s, stopped at poll %d", k->isa, l->name, stop_at);
            check(bits == after[done], "not as after %td steps", done);
            check(done == o.updates && (uint64_t)done == o.drawn, "counted wrongly");
            stopped += status == NNC_STOPPED && done < STEPS;
        }
        release(here);
    }
    check(stopped > 2, "stopped %d times", stopped);
    release(start);
}

void test_step_bits(void) {
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        group("steps: bits %s", type_names[type]);
        for (int which = 0; which < N_LAYERED; which++) {
            check_bits((nnc_dtype)type, which, 37, 0);
            if (!EMULATED) check_bits((nnc_dtype)type, which, 1000, 0);
            check_bits((nnc_dtype)type, which, 37, 1);
        }
        const nnc_kernels *kernels[MAX_ISAS];
        runnable((nnc_dtype)type, kernels);
        group("steps: stopping %s", type_names[type]);
        /* the last is too small to be polled in the middle */
        for (int which = 0; which < N_LAYERED - 1; which += EMULATED ? N_LAYERED : 1)
            check_stop(kernels[0], which, type == NNC_F64);
    }
}

void test_step_threads(void) {
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        const nnc_kernels *kernels[MAX_ISAS];
        const int isas = runnable((nnc_dtype)type, kernels);
        group("threads: steps %s", type_names[type]);
        /* how work is divided is one code for all instruction sets */
        for (int isa = 0; isa < (SANITIZED ? 1 : isas); isa++)
            for (int which = 0; which < N_LAYERED; which += EMULATED ? N_LAYERED : 1)
                for (int tuned = EMULATED || isa > 0 || (SANITIZED && type > 0); tuned < 2; tuned++)
                    check_divided(kernels[isa], which, tuned);
    }
}
