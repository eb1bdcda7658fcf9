# The parts of csrc/nnc.h that Python uses.
from libc.stdint cimport int64_t, uint64_t

cdef extern from "string.h" nogil:
    void *memset(void *, int, size_t)

cdef extern from "stdint.h" nogil:
    const size_t SIZE_MAX

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int timespec_get(timespec *, int)
    enum: TIME_UTC

cdef extern from "nnc.h" nogil:
    enum: NNC_F32, NNC_F64, NNC_N_DTYPES
    enum: NNC_BLOCK, NNC_ALIGN, NNC_SLACK, NNC_MAX_THREADS, NNC_MAX_VECTORS
    enum: NNC_MAX_ACT_PARAMETERS
    enum: NNC_N_ACTS, NNC_N_LOSSES, NNC_N_OPTS
    enum: NNC_N_STEPS, NNC_STEP_dropout, NNC_STEP_noise, NNC_STEP_batch_norm, NNC_STEP_called
    enum: NNC_STEP_scaling
    enum: NNC_LOSS_cross_entropy
    ctypedef enum nnc_status:
        NNC_OK
        NNC_STOPPED
        NNC_NOT_FINITE
        NNC_BAD_PLAN
    ctypedef int nnc_dtype
    ctypedef int nnc_opt
    ctypedef void nnc_rule(ptrdiff_t, void *, const void *, void **, const double *) noexcept nogil

    ctypedef struct nnc_shaping:
        double l1, l2, limit, scale, keep

    ctypedef struct nnc_gemm:
        ptrdiff_t m, n, k
        const void *a
        ptrdiff_t a_row, a_col
        const void *b
        ptrdiff_t b_row, b_col
        void *c
        ptrdiff_t ldc
        int accumulate
        const void *bias
        int act
        const double *act_a
        void *y
        ptrdiff_t ldy
        const void *kept
        ptrdiff_t ld_kept
        void *work
        void *rows_work

    ctypedef struct nnc_loss_args:
        ptrdiff_t rows, n
        void *y
        ptrdiff_t ldy
        const void *t
        ptrdiff_t ldt
        const int64_t *labels
        void *dy
        ptrdiff_t lddy
        double scale
        double a, b
        const double *weights
        int masked
    ctypedef int nnc_loss_call(void *, const nnc_loss_args *, double *) noexcept nogil

    ctypedef struct nnc_act_args:
        ptrdiff_t function
        int derivative
        ptrdiff_t rows, n
        const void *x
        ptrdiff_t ldx
        void *out
        ptrdiff_t ldo
    ctypedef int nnc_act_call(void *, const nnc_act_args *) noexcept nogil

    ctypedef struct nnc_layer_args:
        ptrdiff_t rows, n
        const void *x
        ptrdiff_t ldx
        void *y
        ptrdiff_t ldy
        const void *w
        const void *b
        double a

    ctypedef struct nnc_other_kernels:
        void (*scaling)(const nnc_layer_args *) noexcept nogil
        void (*shape)(ptrdiff_t, const void *, void *, const nnc_shaping *) noexcept nogil
        void (*decay)(ptrdiff_t, void *, double) noexcept nogil
        void (*norms)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, double *) noexcept nogil
        double (*dot)(ptrdiff_t, const void *, const void *) noexcept nogil
        void (*two_loops)(
            ptrdiff_t, ptrdiff_t, const void *const *, void *, double *) noexcept nogil
        void (*limit_columns)(ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, double) noexcept nogil
        nnc_rule *average
        void (**act_df)(ptrdiff_t, const void *, void *, const double *) noexcept nogil
        void (**act_d2f)(ptrdiff_t, const void *, void *, const double *) noexcept nogil
        void (**loss_curve)(const nnc_loss_args *, const void *, ptrdiff_t) noexcept nogil

    ctypedef struct nnc_kernels:
        size_t size, gemm_work, gemm_rows_work
        int lanes, tile_rows, tile_cols
        void (*gemm)(const nnc_gemm *) noexcept nogil
        void (**act)(ptrdiff_t, const void *, void *, const double *) noexcept nogil
        void (**act_slope)(ptrdiff_t, const void *, const void *, void *,
                           const double *) noexcept nogil
        void (*softmax)(ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        double (**loss)(const nnc_loss_args *) noexcept nogil
        void (*softmax_slope)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, const void *,
                              ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*log_softmax)(ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, void *,
                            ptrdiff_t) noexcept nogil
        void (*log_softmax_slope)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, const void *,
                                  ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*column_sums)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, void *, int) noexcept nogil
        void (*gather)(ptrdiff_t, ptrdiff_t, const int64_t *, const void *, ptrdiff_t, void *,
                       ptrdiff_t) noexcept nogil
        nnc_rule **update
        int (*finite)(ptrdiff_t, const void *) noexcept nogil
        const nnc_other_kernels *other
        double (*fma_probe)(ptrdiff_t, void *) noexcept nogil

    int nnc_isa_count()
    const char *nnc_isa_name(int)
    int nnc_isa_compiled(int)
    int nnc_isa_runnable(int)
    void nnc_activate(const nnc_kernels *, int, int, ptrdiff_t, void *, void *,
                      const double *) noexcept nogil
    const nnc_kernels *nnc_kernels_for(const char *, nnc_dtype)
    const char *nnc_build_compiler()
    const char *nnc_build_flags()

    ctypedef struct nnc_act_info:
        const char *name
        int keeps
        const char *parameters
        double *defaults
    ctypedef struct nnc_loss_info:
        const char *name
        int output, mean, per_target
        const char *hyper
        double *defaults
    ctypedef struct nnc_opt_info:
        const char *name
        int vectors
        const char *hyper
        int n_hyper
        double *defaults
    const char **nnc_step_names
    const nnc_act_info *nnc_acts
    const nnc_loss_info *nnc_losses
    const nnc_opt_info *nnc_opts
    void nnc_opt_coefficients(nnc_opt, const double *, int64_t, double *)
    void nnc_shuffle(ptrdiff_t, uint64_t, int64_t *)

    ctypedef struct nnc_column:
        ptrdiff_t n_tokens, dim, table
    ctypedef struct nnc_step:
        int kind
        ptrdiff_t n_in, n_out
        int act
        double act_a[2]
        ptrdiff_t w, b
        double *p
        ptrdiff_t other
        const nnc_column *columns
    ctypedef struct nnc_tuning:
        int frozen
        double rate, l1, l2, max_norm
    ctypedef struct nnc_plan:
        const nnc_kernels *kernels
        const nnc_step *steps
        int n_steps
        ptrdiff_t n_params
        int loss
        double longest
        int threads, spin
        const nnc_tuning *tuning
        double loss_a, loss_b
        double loss_most
        int by_rows
        nnc_loss_call *loss_call
        void *loss_context
        nnc_act_call *act_call
        void *act_context
        ptrdiff_t n_running
        void *running
        uint64_t seed, draw
        int sample
    ctypedef struct nnc_samples:
        ptrdiff_t rows
        const int64_t *index
        const void *x
        ptrdiff_t ldx
        const void *t
        ptrdiff_t ldt
        const int64_t *labels
        const double *weights
        const double *counts
        double *so_far
    ctypedef struct nnc_optimizer:
        int opt
        const double *hyper
        void **state
        int64_t updates
        const double *rates
        double decay, clip_norm, clip_value
        void *average
        double weight
        int64_t averaged
        uint64_t drawn
    ctypedef int (*nnc_poll)(void *) noexcept nogil

    nnc_status nnc_plan_check(const nnc_plan *)
    ctypedef enum nnc_use:
        NNC_PREDICT, NNC_EVALUATE, NNC_GRADIENT, NNC_TRAIN, NNC_HESSIAN, NNC_LANDSCAPE
    size_t nnc_plan_work(const nnc_plan *, ptrdiff_t, nnc_use)
    nnc_status nnc_predict(const nnc_plan *, const void *, const void *, ptrdiff_t, ptrdiff_t,
                           void *, ptrdiff_t, void *, nnc_poll, void *)
    nnc_status nnc_evaluate(const nnc_plan *, const void *, const nnc_samples *, double *, void *,
                            void *, nnc_poll, void *)
    nnc_status nnc_train(const nnc_plan *, void *, void *, nnc_optimizer *, const nnc_samples *,
                         ptrdiff_t, double *, ptrdiff_t *, void *, nnc_poll, void *)

    ctypedef enum nnc_by:
        NNC_BY_INPUTS, NNC_BY_PARAMETERS
    nnc_status nnc_input_gradient(const nnc_plan *, const void *, const nnc_samples *, double *,
                                  void *, ptrdiff_t, void *, nnc_poll, void *)
    nnc_status nnc_sample_gradients(const nnc_plan *, const void *, const nnc_samples *, double *,
                                    void *, void *, nnc_poll, void *)
    nnc_status nnc_jacobian(const nnc_plan *, const void *, const void *, ptrdiff_t, ptrdiff_t,
                            nnc_by, void *, void *, nnc_poll, void *)
    nnc_status nnc_hessian_product(const nnc_plan *, const void *, const nnc_samples *,
                                   const void *, double *, void *, void *, nnc_poll, void *)

    ctypedef struct nnc_grid:
        const double *center
        const double *u
        const double *v
        ptrdiff_t n_a, n_b
        const double *a
        const double *b
    nnc_status nnc_landscape(const nnc_plan *, const nnc_grid *, const nnc_samples *, double *,
                             ptrdiff_t *, void *, nnc_poll, void *)
