/* Threads: jobs in parts, from anywhere, across forks; and networks, whose bits the number of
 * threads must not change. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nets.h"
#include "testing.h"

/* Forks are tested without sanitizers. ThreadSanitizer ends a child that starts threads; in one of
 * AddressSanitizer the allocator's locks stay as other threads had them, so new threads hang. */
#define FORKS (!SANITIZED && !EMULATED)

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- jobs --------------------------------------------------------------------------------- */

enum { MOST_PARTS = 128 };

typedef struct {
    atomic_int runs[MOST_PARTS], wrong, elsewhere; /* elsewhere: parts that a worker ran */
    pthread_t caller;
    int parts, rounding, meet; /* meet: no part ends before a worker has one, or for 10 s */
} job;

static void count_part(void *context, int part, int parts) {
    job *j = context;
    if (part < 0 || part >= parts || parts != j->parts) {
        atomic_fetch_add(&j->wrong, 1);
        return;
    }
    atomic_fetch_add(&j->runs[part], 1);
    const int at_home = pthread_equal(pthread_self(), j->caller);
    if (!at_home) atomic_fetch_add(&j->elsewhere, 1);
    if (part == 0 && !at_home) atomic_fetch_add(&j->wrong, 1);
    volatile double one = 1, three = 3, third = one / three; /* to nearest, it is rounded down */
    if (fegetround() != j->rounding) atomic_fetch_add(&j->wrong, 1);
    if ((third > 1.0 / 3) != (j->rounding == FE_UPWARD)) atomic_fetch_add(&j->wrong, 1);
    if (j->meet)
        for (const double end = seconds() + 10; !atomic_load(&j->elsewhere) && seconds() < end;)
            sched_yield();
}

/* Whether each part of a job runs once; or, if `meet`, whether workers take part in it, too. */
static int job_is_done(int parts, int meet) {
    job j = {.caller = pthread_self(), .rounding = fegetround(), .meet = meet};
    j.parts = parts < NNC_MAX_THREADS ? parts : NNC_MAX_THREADS;
    nnc_run_parts(count_part, &j, parts, parts < 4);
    int right = !atomic_load(&j.wrong) && (!meet || atomic_load(&j.elsewhere));
    for (int i = 0; i < MOST_PARTS; i++) right &= atomic_load(&j.runs[i]) == (i < j.parts);
    return right;
}

static void check_jobs(void) {
    static const int parts[] = {0, 1, 2, 3, 4, 8, 64, 100};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        where("%d parts", parts[i]);
        for (int repeat = 0; repeat < 20; repeat++)
            check(job_is_done(parts[i], 0), "parts run not once each");
        if (parts[i] >= 2) check(job_is_done(parts[i], 1), "no worker came");
    }
    where("rounding");
    fesetround(FE_UPWARD);
    for (int i = 2; i < 9; i++) check(job_is_done(i, 1), "not the caller's, upwards");
    fesetround(FE_TONEAREST);
    for (int i = 2; i < 9; i++) check(job_is_done(i, 1), "not the caller's, to nearest");
}

static void nest(void *context, int part, int parts) {
    (void)part, (void)parts;
    if (!job_is_done(3, 0) || !job_is_done(64, 0)) atomic_store((atomic_int *)context, 0);
}

static void *call_often(void *right) {
    for (int i = 0; i < 200; i++)
        if (!job_is_done(2 + i % 7, 0)) atomic_store((atomic_int *)right, 0);
    return NULL;
}

static void check_callers(void) {
    atomic_int right = 1;
    pthread_t callers[4];
    where("jobs inside of parts");
    for (int i = 0; i < 50; i++) nnc_run_parts(nest, &right, 4, 1);
    check(atomic_load(&right), "parts run not once each");
    where("four callers at once");
    for (int i = 0; i < 4; i++) check(!pthread_create(&callers[i], NULL, call_often, &right), "-");
    for (int i = 0; i < 4; i++) pthread_join(callers[i], NULL);
    check(atomic_load(&right), "parts run not once each");
    where("afterwards");
    check(job_is_done(4, 1), "no worker came");
}

/* ---- forks -------------------------------------------------------------------------------- */

#if FORKS
/* Whether a child that runs jobs, as do its own children, ends well and in time. */
static int child_is_fine(int generations) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        int right = job_is_done(64, 0); /* the first of many new workers are early */
        for (int i = 2; i < 5; i++) right &= job_is_done(i, 0);
        right &= job_is_done(4, 1);
        if (generations > 1) right &= child_is_fine(generations - 1);
        _exit(!right);
    }
    int status = -1;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static atomic_int fork_load; /* 1: run jobs, 0: end */

static void slow_part(void *context, int part, int parts) {
    (void)part, (void)parts;
    for (int i = 0; i < 2000; i++) atomic_fetch_add((atomic_int *)context, 1);
}

static void *call_until_told(void *done) {
    atomic_int sum = 0;
    for (int jobs = 0; atomic_load(&fork_load); jobs++) {
        nnc_run_parts(slow_part, &sum, 2 + jobs % 30, jobs & 1);
        atomic_fetch_add((atomic_int *)done, 1);
    }
    return NULL;
}

typedef struct {
    atomic_int begun, forked, finished[4];
    pid_t child;
} forking_job;

/* Part 0 forks while some other part is with a worker, which the child does not have. */
static void fork_in_part(void *context, int part, int parts) {
    forking_job *f = context;
    (void)parts;
    if (part > 0) atomic_fetch_add(&f->begun, 1);
    atomic_int *event = part > 0 ? &f->forked : &f->begun;
    for (const double end = seconds() + 10; !atomic_load(event) && seconds() < end;) sched_yield();
    if (part == 0) {
        f->child = fork();
        if (f->child == 0) alarm(20);
        atomic_store(&f->forked, 1);
    }
    atomic_fetch_add(&f->finished[part], 1);
}

static void check_forks(int repeats) {
    where("children and grandchildren");
    for (int i = 0; i < 10; i++) check(child_is_fine(3), "a child failed or hung");
    where("forks while another thread runs jobs");
    pthread_t busy;
    atomic_int done = 0;
    atomic_store(&fork_load, 1);
    check(!pthread_create(&busy, NULL, call_until_told, &done), "no thread");
    for (int i = 0; i < repeats; i++) check(child_is_fine(1 + i % 2), "a child failed or hung");
    const int before = atomic_load(&done);
    for (const double end = seconds() + 10; atomic_load(&done) == before && seconds() < end;)
        sched_yield();
    check(atomic_load(&done) != before, "the parent's jobs do not go on");
    atomic_store(&fork_load, 0);
    pthread_join(busy, NULL);

    where("forks inside of part 0");
    for (int i = 0; i < repeats / 2; i++) {
        forking_job f = {0};
        nnc_run_parts(fork_in_part, &f, 4, 1);
        int right = 1, status = -1;
        for (int part = 0; part < 4; part++) right &= atomic_load(&f.finished[part]) == 1;
        if (f.child == 0) _exit(!(right && job_is_done(4, 1)));
        check(right, "the parent's parts run not once each");
        check(waitpid(f.child, &status, 0) == f.child && WIFEXITED(status) &&
                  WEXITSTATUS(status) == 0,
              "the child failed or hung");
    }
}
#endif

/* ---- networks ----------------------------------------------------------------------------- */

/* A table that counts: products of a part of the rows or columns, gathers, updates. It claims to
 * have one lane, so that small work is divided. */
static nnc_kernels counting;
static const nnc_kernels *counted;
static const net *counted_net;
static atomic_int by_rows, by_columns, gathers, updates;

static void count_gemm(const nnc_gemm *g) {
    static const ptrdiff_t rows[] = {NNC_BLOCK, 300 - NNC_BLOCK, 100, 37, 26, 700 % NNC_BLOCK};
    int whole_n = 0, whole_m = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) whole_m |= g->m == rows[i];
    for (int s = 0; s <= counted_net->plan.n_steps; s++) {
        whole_n |= g->n == counted_net->shape.widths[s];
        whole_m |= g->m == counted_net->shape.widths[s];
    }
    if (!whole_m) atomic_fetch_add(&by_rows, 1);
    if (!whole_n) atomic_fetch_add(&by_columns, 1);
    counted->gemm(g);
}

static void count_gather(ptrdiff_t rows, ptrdiff_t n, const int64_t *index, const void *x,
                         ptrdiff_t ldx, void *y, ptrdiff_t ldy) {
    atomic_fetch_add(&gathers, 1);
    counted->gather(rows, n, index, x, ldx, y, ldy);
}

#define COUNT_UPDATE(name) \
    static void count_##name(ptrdiff_t n, void *theta, const void *gradient, void *const *state, \
                             const double *coef) { \
        atomic_fetch_add(&updates, 1); \
        counted->update[NNC_OPT_##name](n, theta, gradient, state, coef); \
    }
COUNT_UPDATE(sgd)
COUNT_UPDATE(adam)

typedef struct {
    int rows, columns, gathers, updates, predict_rows;
} counts;

/* Trains, evaluates and predicts; returns all bits, and counts. */
static counts run_net(net *n, const nnc_samples *s, const nnc_samples *test, int opt,
                      ptrdiff_t batch, int threads, char *bits) {
    const nnc_kernels *k = counted;
    const ptrdiff_t n_out = outputs(n), steps = (s->rows + batch - 1) / batch;
    const size_t bytes = (size_t)n->plan.n_params * k->size;
    const int start = mark();
    void *theta = fresh_theta(n, 1), *gradient = fresh(bytes);
    void *out = fresh((size_t)(test->rows * n_out) * k->size);
    double *losses = fresh((size_t)(steps + 1) * sizeof *losses);
    nnc_optimizer o = fresh_optimizer(n, opt);
    ptrdiff_t done = -1;
    n->plan.threads = threads, n->plan.spin = threads <= 2;
    n->plan.longest = 600.0 * (double)n->plan.n_params; /* predictions in jobs of 300 rows */
    atomic_store(&by_rows, 0), atomic_store(&by_columns, 0);
    atomic_store(&gathers, 0), atomic_store(&updates, 0);
    check(nnc_train(&n->plan, theta, gradient, &o, s, batch, losses, &done,
                    fresh_work(n, s->rows < batch ? s->rows : batch, NNC_TRAIN), NULL,
                    NULL) == NNC_OK &&
              done == steps,
          "training failed");
    counts c = {atomic_load(&by_rows), atomic_load(&by_columns), atomic_load(&gathers),
                atomic_load(&updates), 0};
    nnc_evaluate(&n->plan, theta, s, losses + steps, gradient, fresh_work(n, s->rows, NNC_GRADIENT),
                 NULL, NULL);
    atomic_store(&by_rows, 0);
    nnc_predict(&n->plan, theta, test->x, test->ldx, test->rows, out, n_out,
                fresh_work(n, test->rows, NNC_PREDICT), NULL, NULL);
    c.predict_rows = atomic_load(&by_rows);
    memcpy(bits, theta, bytes), bits += bytes;
    memcpy(bits, gradient, bytes), bits += bytes;
    for (int v = 0; v < nnc_opts[opt].vectors; v++, bits += bytes) memcpy(bits, o.state[v], bytes);
    memcpy(bits, losses, (size_t)(steps + 1) * sizeof *losses);
    memcpy(bits + (size_t)(steps + 1) * sizeof *losses, out,
           (size_t)(test->rows * n_out) * k->size);
    release(start);
    return c;
}

static int stop_at_once(void *calls) {
    ++*(int *)calls;
    return 1;
}

/* A prediction that is stopped at its first poll does not go beyond its first 300 rows. */
static void check_stopped(const net *n, const nnc_samples *test) {
    const ptrdiff_t n_out = outputs(n);
    const size_t row = (size_t)n_out * size_of(n->plan.kernels->dtype);
    const int start = mark();
    char *out = fresh((size_t)test->rows * row);
    int calls = 0;
    check(nnc_predict(&n->plan, fresh_theta(n, 1), test->x, test->ldx, test->rows, out, n_out,
                      fresh_work(n, test->rows, NNC_PREDICT), stop_at_once, &calls) == NNC_STOPPED,
          "it did not stop");
    check(calls >= 1 && calls <= 2, "polled %d times", calls);
    check(is_untouched(out + 300 * row, (size_t)(test->rows - 300) * row), "it went on");
    release(start);
}

/* expected: which of its kinds of work a network divides (updates: of all parameters at once). */
static void check_threads(const nnc_kernels *k, net_shape shape, ptrdiff_t rows, ptrdiff_t batch,
                          int opt, counts expected) {
    enum { TEST_ROWS = 700 };
    static const int threads[] = {1, 2, 3, 4, 8};
    const int start = mark();
    net n = make_net(k, shape);
    link_net(&n);
    counted = k, counted_net = &n, counting = *k, counting.lanes = 1;
    counting.gemm = count_gemm, counting.gather = count_gather;
    counting.update[NNC_OPT_sgd] = count_sgd, counting.update[NNC_OPT_adam] = count_adam;
    n.plan.kernels = &counting;
    const nnc_samples in_order = fresh_samples(&n, rows, 2), test = fresh_samples(&n, TEST_ROWS, 5);
    const nnc_samples s = fresh_shuffled(&n, &in_order);
    const size_t bytes = ((size_t)(2 + nnc_opts[opt].vectors) * (size_t)n.plan.n_params +
                          (size_t)(TEST_ROWS * outputs(&n))) *
                             k->size +
                         (size_t)((rows + batch - 1) / batch + 1) * sizeof(double);
    char *bits = zeroed(bytes, 1), *alone = zeroed(bytes, 1);
    counts one = {0};
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        where("%s %s, %s, batches of %td, %d threads", k->isa, n.name, nnc_opts[opt].name, batch,
              threads[i]);
        const counts c = run_net(&n, &s, &test, opt, batch, threads[i], bits);
        if (i == 0) {
            one = c;
            memcpy(alone, bits, bytes);
            check(!c.rows && !c.columns && !c.predict_rows, "one thread has divided work");
            continue;
        }
        check(!memcmp(alone, bits, bytes), "other bits than one thread's");
        check((c.rows > 0) == expected.rows, "%d products of some rows", c.rows);
        check((c.columns > 0) == expected.columns, "%d products of some columns", c.columns);
        check((c.gathers > one.gathers) == expected.gathers, "%d gathers, %d alone", c.gathers,
              one.gathers);
        check(!expected.updates || c.updates > one.updates, "%d updates, %d alone", c.updates,
              one.updates);
        check((c.predict_rows > 0) == expected.predict_rows, "%d products of predict",
              c.predict_rows);
        check_stopped(&n, &test);
    }
    free(bits), free(alone);
    release(start);
}

static void check_networks(nnc_dtype type) {
    const nnc_kernels *list[MAX_ISAS];
    const int isas = runnable(type, list);
    /* large enough to be updated where the gradient is computed (more than 64 KB) */
    const net_shape wide_one = {{33, 301, 77, 5},
                                {NNC_ACT_tanh, NNC_ACT_softplus, NNC_ACT_softmax},
                                NNC_LOSS_cross_entropy,
                                0,
                                1};
    /* too small for that: updates are divided */
    const net_shape narrow = {
        {40, 90, 31}, {NNC_ACT_relu, NNC_ACT_identity}, NNC_LOSS_half_mse, 0, 0};
    for (int i = 0; i < isas; i++) {
        check_threads(list[i], wide_one, 400, 300, NNC_OPT_adam, (counts){1, 1, 1, 0, 1});
        check_threads(list[i], wide_one, 100, 37, NNC_OPT_sgd, (counts){1, 1, 0, 0, 1});
        check_threads(list[i], narrow, 400, 300, NNC_OPT_sgd, (counts){1, 1, 1, 1, 1});
        check_threads(list[i], narrow, 400, 300, NNC_OPT_adam, (counts){1, 1, 1, 1, 1});
    }
}

void test_threads(void) {
    group("threads: jobs");
    check_jobs();
    check_callers();
#if FORKS
    group("threads: forks");
    check_forks(100);
#endif
    for (int type = 0; type < NNC_N_DTYPES; type++) {
        group("threads: networks %s", type_names[type]);
        check_networks((nnc_dtype)type);
    }
}
