/* Part of plan.c: the loss at the points of a grid in the space of the parameters.
 *
 * Each point is an evaluation of its own, so threads divide the points, each with a frame and a
 * copy of the parameters; where one point takes long, or a function is called, they divide its
 * products instead. */
#include "nnc.h"

/* What the evaluation of one point costs, in operations. Elements of activations, of the loss and
 * of the parameters' copy are not products, but bound by memory as gathering is. */
static double work_of_point(const nnc_plan *plan, ptrdiff_t rows) {
    double elements = (double)plan->n_params;
    for (int s = 0; s < plan->n_steps; s++) elements += (double)rows * (double)plan->steps[s].n_out;
    return operations(plan, rows, NNC_EVALUATE) + WORK_PER_GATHERED * elements +
           (double)WORK_PER_CALL * (double)plan->n_steps;
}

/* Among how many threads points may be divided; 1: their products are. */
static int threads_of_points(const nnc_plan *plan, ptrdiff_t rows) {
    if (plan->loss_call || plan->act_call) return 1; /* by the caller's thread alone */
    return 2 * work_of_point(plan, rows) > longest(plan) ? 1 : plan->threads;
}

/* The parameters of a point, behind which a product may read. */
static void *take_theta(const nnc_plan *plan, frame *f, char *work) {
    return take(f, work, (size_t)plan->n_params * plan->kernels->size + NNC_SLACK);
}

static size_t work_per_part(const nnc_plan *plan, ptrdiff_t rows) {
    const int threads = threads_of_points(plan, rows) > 1 ? 1 : plan->threads;
    frame f = lay_out(plan, rows, NNC_EVALUATE, threads, NULL);
    take_theta(plan, &f, NULL);
    return f.used;
}

typedef struct {
    const nnc_plan *plan;
    const nnc_grid *grid;
    const nnc_samples *samples;
    double *losses;
    ptrdiff_t from, to; /* the points of this job */
    char *work;
    int threads; /* among which products are divided; 1 where points are */
    nnc_poll poll;
    void *context;
    atomic_int stop;
} landscape_job;

static void landscape_part(void *context, int part, int parts) {
    landscape_job *job = context;
    const nnc_plan *plan = job->plan;
    const nnc_grid *grid = job->grid;
    const ptrdiff_t rows = job->samples->rows, n_b = grid->n_b;
    char *work = job->work + (size_t)part * work_per_part(plan, rows);
    run r = start(plan, NULL, rows, NNC_EVALUATE, job->threads, work, part == 0 ? job->poll : NULL,
                  job->context, &job->stop);
    void *theta = take_theta(plan, &r.f, work);
    r.theta = theta;
    const ptrdiff_t points = job->to - job->from;
    const ptrdiff_t end = job->from + part_start(points, 1, part + 1, parts);
    for (ptrdiff_t p = job->from + part_start(points, 1, part, parts); p < end; p++) {
        plan->kernels->point(plan->n_params, grid->center, grid->a[p / n_b], grid->u,
                             grid->b[p % n_b], grid->v, theta);
        if (loss_and_gradient(&r, job->samples, 0, rows, &job->losses[p], NULL, NULL, 0)) return;
    }
}

nnc_status nnc_landscape(const nnc_plan *plan, const nnc_grid *grid, const nnc_samples *samples,
                         double *losses, ptrdiff_t *done, void *work, nnc_poll poll,
                         void *context) {
    const ptrdiff_t rows = samples->rows, points = grid->n_a * grid->n_b;
    const int threads = threads_of_points(plan, rows);
    const double each = work_of_point(plan, rows), most = longest(plan) / 2 / each;
    landscape_job job = {.plan = plan,
                         .grid = grid,
                         .samples = samples,
                         .losses = losses,
                         .work = work,
                         .threads = threads > 1 ? 1 : plan->threads,
                         .poll = poll,
                         .context = context};
    for (*done = 0; *done < points && !atomic_load(&job.stop); *done = job.to) {
        const ptrdiff_t left = points - *done;
        const double wanted = most * threads;
        const ptrdiff_t size = wanted < 1 ? 1 : wanted < (double)left ? (ptrdiff_t)wanted : left;
        const double job_work = each * (double)size;
        const run shared = {.plan = plan, .threads = threads_for(plan, job_work)};
        const int parts = threads > 1 ? parts_for(&shared, job_work) : 1;
        job.from = *done, job.to = *done + size;
        nnc_run_parts(landscape_part, &job, parts, plan->spin);
        if (atomic_load(&job.stop)) break;
        if (job.to < points && poll != NULL && poll(context)) atomic_store(&job.stop, 1);
    }
    return atomic_load(&job.stop) || *done < points ? NNC_STOPPED : NNC_OK;
}
