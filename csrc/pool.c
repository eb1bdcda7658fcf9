/* The threads. A job is a function called once for each of its parts; the caller runs part 0 and
 * whatever no worker has taken by then, so a job is done even if no worker ever comes.
 *
 * Workers are started on first use, wait for the next job in a short spin, then sleep. One job runs
 * at a time: a caller that finds the pool busy does its parts alone. What a part computes must not
 * depend on who runs it, so neither choice can change a bit.
 *
 * A forked child has no workers: there the pool starts anew (no lock is taken around a fork, so a
 * thread may fork while another trains). */
#if !defined(_WIN32)
#define _GNU_SOURCE
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "nnc.h"

enum { SPIN_NS = 50000, YIELD_NS = 3000, SPINS_PER_LOOK = 16 };

/* The job on offer: its number, its parts, and the first one that nobody has taken. One word, so
 * that a worker which comes late cannot take a part of another job than it saw. */
typedef uint64_t ticket;
#define TICKET(job, parts, next) ((ticket)(job) << 32 | (ticket)(parts) << 16 | (ticket)(next))
#define JOB(t) ((uint32_t)((t) >> 32))
#define PARTS(t) ((int)((t) >> 16 & 0xffff))
#define NEXT(t) ((int)((t) & 0xffff))

static struct {
    atomic_int busy; /* a caller has the pool */
    int workers;     /* started; the caller's, while it has the pool */
    int generation;  /* of processes: forked children have other numbers than their parents */
    atomic_int handles_forks;
    nnc_part *run; /* of the job, with context and environment */
    void *context;
    fenv_t environment; /* the caller's rounding and exceptions hold in all parts */
    _Atomic(ticket) offer;
    atomic_int left;   /* parts that are not done */
    atomic_int spin;   /* whether waiting may spin: not if there are more threads than processors */
    atomic_int asleep; /* workers that sleep */
    atomic_int waiting;    /* the caller sleeps */
    pthread_mutex_t mutex; /* for sleeping only */
    pthread_cond_t offered, finished;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER,
          .offered = PTHREAD_COND_INITIALIZER,
          .finished = PTHREAD_COND_INITIALIZER};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Whether the spin may go on; `until` is set on the first call. */
static int spins(int64_t *until) {
    if (!atomic_load_explicit(&pool.spin, memory_order_relaxed)) return 0;
    for (int i = 0; i < SPINS_PER_LOOK; i++) relax();
    const int64_t now = now_ns();
    if (*until == 0) *until = now + SPIN_NS;
    if (now > *until - SPIN_NS + YIELD_NS) sched_yield(); /* who is waited for may need this CPU */
    return now < *until;
}

/* Takes the next part of the job that is on offer; returns it, or -1 if none is left. */
static int take_part(void) {
    ticket t = atomic_load(&pool.offer);
    while (NEXT(t) < PARTS(t))
        if (atomic_compare_exchange_weak(&pool.offer, &t, t + 1)) return NEXT(t);
    return -1;
}

/* Runs parts until none is left. The job cannot end before a part that was taken has, so what
 * belongs to it may be read. */
static void run_parts(int is_worker) {
    for (int part; (part = take_part()) >= 0;) {
        if (is_worker) fesetenv(&pool.environment);
        pool.run(pool.context, part, PARTS(atomic_load(&pool.offer)));
        if (atomic_fetch_sub(&pool.left, 1) > 1 || !atomic_load(&pool.waiting)) continue;
        pthread_mutex_lock(&pool.mutex);
        pthread_cond_signal(&pool.finished);
        pthread_mutex_unlock(&pool.mutex);
    }
}

static void wait_for_job(uint32_t seen) {
    int64_t until = 0;
    while (JOB(atomic_load(&pool.offer)) == seen) {
        if (spins(&until)) continue;
        pthread_mutex_lock(&pool.mutex);
        atomic_fetch_add(&pool.asleep, 1);
        while (JOB(atomic_load(&pool.offer)) == seen) pthread_cond_wait(&pool.offered, &pool.mutex);
        atomic_fetch_sub(&pool.asleep, 1);
        pthread_mutex_unlock(&pool.mutex);
    }
}

static void *work(void *unused) {
    for (;;) {
        const uint32_t seen = JOB(atomic_load(&pool.offer));
        run_parts(1);
        wait_for_job(seen);
    }
    return unused;
}

/* Parts of a job that was on offer are taken away, or the first new worker would run them. */
static void start_anew_in_child(void) {
    pool.workers = 0;
    pool.generation++;
    atomic_store(&pool.offer, 0);
    atomic_store(&pool.left, 0);
    pthread_mutex_init(&pool.mutex, NULL);
    pthread_cond_init(&pool.offered, NULL);
    pthread_cond_init(&pool.finished, NULL);
    atomic_store(&pool.asleep, 0);
    atomic_store(&pool.waiting, 0);
    atomic_store(&pool.busy, 0);
}

/* Signals are the business of the program's own threads. If one cannot be started, there are fewer.
 */
static void start_workers(int wanted) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; pool.workers < wanted; pool.workers++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL)) break;
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Before the pool is busy for the first time, or a child could find it busy for ever. Two threads
 * may both do it. */
static int handles_forks(void) {
    if (!atomic_load(&pool.handles_forks))
        atomic_store(&pool.handles_forks, !pthread_atfork(NULL, NULL, start_anew_in_child));
    return atomic_load(&pool.handles_forks);
}

static void wait_for_parts(void) {
    int64_t until = 0;
    while (atomic_load(&pool.left) > 0) {
        if (spins(&until)) continue;
        pthread_mutex_lock(&pool.mutex);
        atomic_store(&pool.waiting, 1);
        while (atomic_load(&pool.left) > 0) pthread_cond_wait(&pool.finished, &pool.mutex);
        atomic_store(&pool.waiting, 0);
        pthread_mutex_unlock(&pool.mutex);
    }
}

void nnc_run_parts(nnc_part *run, void *context, int parts, int spin) {
    int idle = 0;
    if (parts > NNC_MAX_THREADS) parts = NNC_MAX_THREADS;
    if (parts < 2 || !handles_forks() || !atomic_compare_exchange_strong(&pool.busy, &idle, 1)) {
        for (int part = 0; part < parts; part++) run(context, part, parts);
        return;
    }
    if (pool.workers < parts - 1) start_workers(parts - 1);
    pool.run = run, pool.context = context;
    fegetenv(&pool.environment);
    atomic_store(&pool.left, parts);
    atomic_store(&pool.spin, spin);
    atomic_store(&pool.offer, TICKET(JOB(atomic_load(&pool.offer)) + 1, parts, 1));
    if (atomic_load(&pool.asleep) > 0) {
        pthread_mutex_lock(&pool.mutex);
        for (int part = 1; part < parts; part++) pthread_cond_signal(&pool.offered);
        pthread_mutex_unlock(&pool.mutex);
    }
    const int generation = pool.generation;
    run(context, 0, parts);
    if (pool.generation != generation) { /* part 0 has forked, and the workers are the parent's */
        for (int part = 1; part < parts; part++) run(context, part, parts);
        return;
    }
    atomic_fetch_sub(&pool.left, 1);
    run_parts(0);
    wait_for_parts();
    atomic_store(&pool.busy, 0);
}

#else /* one thread */
#include "nnc.h"

void nnc_run_parts(nnc_part *run, void *context, int parts, int spin) {
    (void)spin;
    for (int part = 0; part < parts; part++) run(context, part, parts);
}
#endif

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const int nnc_max_threads = NNC_MAX_THREADS;
