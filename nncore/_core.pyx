# cython: language_level=3, boundscheck=False, wraparound=False
# cython: initializedcheck=False, binding=False, auto_pickle=False
"""The only Cython of nncore: checks, takes pointers, releases the GIL, calls the C engine.

No arithmetic and no loop over elements happens here, and no branch on a dtype: a kernel table is
chosen once, when an Engine is made.
"""
from cpython.buffer cimport (
    PyBUF_STRIDES, PyBUF_WRITABLE, PyBUF_WRITE, PyBuffer_Release, PyObject_GetBuffer)
from cpython.exc cimport PyErr_CheckSignals, PyErr_Clear, PyErr_Occurred
from cpython.float cimport PyFloat_Check
from cpython.long cimport PyLong_CheckExact
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int64_t, uint64_t, uintptr_t

import os

import numpy as np

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()  # cpython.pythread has it as it was in 3.6
    double number_of "PyFloat_AsDouble"(object) noexcept  # -1 and an error set, where there is none

cdef extern from *:
    """
    #if defined(__GNUC__) && !defined(__clang__)
    #pragma GCC optimize("Os", "no-schedule-insns2") /* 64 KB of a wheel less than -O3; 0.06 us of a call */
    #endif
    """

cdef object _ndarray = np.ndarray
cdef object _empty = np.empty
cdef object _np_integer = np.integer
cdef tuple _np_reals = (np.float32, np.integer)  # float64 is a float

# ---- tables ----------------------------------------------------------------------------------

_KEEPS = ("none", "x", "y")
_OUTPUTS = (None, "sigmoid", "softmax")


def _activations():
    return {
        nnc_acts[i].name.decode(): {
            "keeps": _KEEPS[nnc_acts[i].keeps],
            "parameters": {
                name: nnc_acts[i].defaults[j]
                for j, name in enumerate(nnc_acts[i].parameters.decode().split())}}
        for i in range(NNC_N_ACTS)}


def _losses():
    losses = {}
    for i in range(NNC_N_LOSSES):
        names = nnc_losses[i].hyper.decode().split()
        losses[nnc_losses[i].name.decode()] = {
            "output": _OUTPUTS[nnc_losses[i].output],
            "mean": ("elements", "rows")[nnc_losses[i].mean],
            "per_target": nnc_losses[i].per_target,
            "hyper": {name: nnc_losses[i].defaults[j] for j, name in enumerate(names)}}
    return losses


def _optimizers():
    rules = {}
    for i in range(NNC_N_OPTS):
        names = nnc_opts[i].hyper.decode().split()
        values = [nnc_opts[i].defaults[j] for j in range(nnc_opts[i].n_hyper)]
        rules[nnc_opts[i].name.decode()] = {
            "vectors": nnc_opts[i].vectors, "hyper": dict(zip(names, values, strict=True))}
    return rules


ACTIVATIONS = _activations()
"""name -> what training takes the slope from ("none", "x" or "y"), and parameters with their defaults."""
LOSSES = _losses()
"""name -> the output activation it is fused with (or None), what it averages over, how many outputs
it takes for each target, and its parameters with their defaults."""
OPTIMIZERS = _optimizers()
"""name -> number of state vectors, and hyper-parameters with their defaults."""

STEPS = tuple([nnc_step_names[i].decode() for i in range(NNC_N_STEPS)])  # no generators: 7 KB
"""Kinds of steps."""

cdef dict _act_code = {name: i for i, name in enumerate((*ACTIVATIONS, "softmax", "log_softmax"))}
cdef dict _loss_code = {name: i for i, name in enumerate(LOSSES)}
cdef dict _opt_code = {name: i for i, name in enumerate(OPTIMIZERS)}
cdef dict _dtype_code = {np.dtype(np.float32): NNC_F32, np.dtype(np.float64): NNC_F64}

BLOCK = NNC_BLOCK
"""Rows that go through the network at a time."""

# ---- instruction sets ------------------------------------------------------------------------


def isas():
    """Names of the instruction sets that were compiled and can run here, best first."""
    return tuple([nnc_isa_name(i).decode() for i in range(nnc_isa_count()) if nnc_isa_runnable(i)])


def _choose_isa():
    """The instruction set that NNCORE_ISA asks for, or the best one."""
    wanted = os.environ.get("NNCORE_ISA") or None
    if wanted is not None and wanted not in isas():
        known = [nnc_isa_name(i).decode() for i in range(nnc_isa_count())]
        why = "cannot run here" if wanted in known else "is not an instruction set of nncore"
        raise ImportError(
            f"NNCORE_ISA={wanted} {why}; this machine can run: {', '.join(isas())}. "
            "Unset NNCORE_ISA to let nncore choose.")
    return wanted or isas()[0]


ISA = _choose_isa()


def build_info():
    """Compiler, its flags, and which instruction sets were compiled."""
    return {
        "compiler": nnc_build_compiler().decode(), "flags": nnc_build_flags().decode(),
        "compiled": tuple([nnc_isa_name(i).decode() for i in range(nnc_isa_count())
                          if nnc_isa_compiled(i)])}

# What ISA runs: asking the processor each time takes 40 us on a virtual machine.
cdef const nnc_kernels *_chosen[NNC_N_DTYPES]
_chosen[NNC_F32] = nnc_kernels_for(ISA.encode(), NNC_F32)
_chosen[NNC_F64] = nnc_kernels_for(ISA.encode(), NNC_F64)

cdef const nnc_kernels *_kernels(isa, dtype) except NULL:
    cdef int code = _dtype_code[np.dtype(dtype)]
    cdef const nnc_kernels *table
    table = _chosen[code] if isa == ISA else nnc_kernels_for(isa.encode(), code)
    if table == NULL:
        raise ValueError(f"instruction set {isa!r} cannot run here; can: {', '.join(isas())}")
    return table

# ---- threads ---------------------------------------------------------------------------------

MAX_THREADS = NNC_MAX_THREADS
"""The most threads that one call may use."""

cdef int _n_threads = 1, _n_processors = 1


def set_threads(threads, processors):
    """How many threads a call uses that does not say; and how many processors there are for them.

    With more threads than processors, waiting threads sleep at once.
    """
    global _n_threads, _n_processors
    _n_threads, _n_processors = threads, processors


def threads():
    """How many threads a call uses that does not say."""
    return _n_threads

cdef nnc_plan _with_threads(const nnc_plan *plan, int n_threads) noexcept:
    """The plan for a call with that many threads; 0: as many as usual."""
    cdef nnc_plan p = plan[0]
    p.threads = n_threads if n_threads else _n_threads
    p.spin = p.threads <= _n_processors
    return p

# ---- pointers and memory ---------------------------------------------------------------------

cdef struct matrix:
    char *data
    ptrdiff_t rows, cols, ld

cdef bint _is_matrix(object array, size_t size, bint write, matrix *m):
    """Whether `array` is what the engine can use in place, and where it is.

    That is two dimensions, elements of `size` bytes, rows of any distance, each contiguous and
    aligned. The pointer is good while the caller holds the array.
    """
    cdef Py_buffer b
    try:
        PyObject_GetBuffer(array, &b, PyBUF_STRIDES | (PyBUF_WRITABLE if write else 0))
    except (BufferError, ValueError):  # NumPy's word for a read-only array is ValueError
        return False
    cdef bint fits = b.ndim == 2 and b.itemsize == <Py_ssize_t>size
    if fits:
        m.data, m.rows, m.cols = <char *>b.buf, b.shape[0], b.shape[1]
        m.ld = b.strides[0] // <Py_ssize_t>size if m.rows > 1 else m.cols
        fits = ((m.cols <= 1 or b.strides[1] == b.itemsize)
                and (m.rows <= 1 or b.strides[0] % b.itemsize == 0)
                and <uintptr_t>b.buf % size == 0)
    PyBuffer_Release(&b)
    return fits

cdef int _matrix(object array, size_t size, bint write, matrix *m) except -1:
    if not _is_matrix(array, size, write, m):
        raise ValueError("expected a 2-D array of contiguous, aligned rows of the engine's dtype")
    return 0


def is_matrix(array, write=False):
    """Whether an engine of the array's dtype can use it where it lies: read it, or write to it."""
    cdef matrix m
    return _is_matrix(array, array.itemsize, write, &m)


def all_finite(array):
    """Whether no element is infinite or NaN, of a 2-D array that `is_matrix`."""
    cdef matrix m
    cdef const nnc_kernels *k = _kernels(ISA, array.dtype)
    cdef ptrdiff_t i = 0
    _matrix(array, k.size, False, &m)
    if m.ld == m.cols:  # the rows are one run
        m.rows, m.cols = 1, m.rows * m.cols
    with nogil:
        while i < m.rows and k.finite(m.cols, m.data + i * m.ld * <ptrdiff_t>k.size):
            i += 1
    return i == m.rows

cdef char *_vector(object array, ptrdiff_t n, size_t size, bint write) except? NULL:
    cdef Py_buffer b
    PyObject_GetBuffer(array, &b, PyBUF_STRIDES | (PyBUF_WRITABLE if write else 0))
    cdef char *data = <char *>b.buf
    cdef bint fits = (b.ndim == 1 and b.itemsize == <Py_ssize_t>size and b.shape[0] == n
                      and (n <= 1 or b.strides[0] == b.itemsize) and <uintptr_t>b.buf % size == 0)
    PyBuffer_Release(&b)
    if not fits:
        raise ValueError(f"expected a contiguous, aligned vector of {n} elements of {size} bytes")
    return data


cdef bint _all_below(ptrdiff_t n, const int64_t *indices, ptrdiff_t count) noexcept nogil:
    """Whether all are from 0 to n - 1."""
    cdef bint outside = False
    cdef ptrdiff_t i
    for i in range(count):
        outside |= <uint64_t>indices[i] >= <uint64_t>n
    return not outside


def dot(x, y):
    """x . y of two vectors of one dtype, summed in double in one order on any processor."""
    cdef const nnc_kernels *k = _chosen[<int>_dtype_code[x.dtype]]
    cdef ptrdiff_t n = len(x)
    return k.other.dot(n, _vector(x, n, k.size, False), _vector(y, n, k.size, False))


def two_loops(s, y, q):
    """q = H q, where lists of vectors s and y with s.y = 1 stand for H: see kernels/pairs.inc.h."""
    cdef ptrdiff_t m = len(s), n = len(q), i
    cdef const nnc_kernels *k = _kernels(ISA, q.dtype)
    cdef char *to = _vector(q, n, k.size, True)
    if m == 0 or len(y) != m:
        raise ValueError(f"expected as many y as s, at least one, got {len(y)} and {m}")
    cdef _Work work = _Work()
    work.reserve(m * (2 * sizeof(void *) + sizeof(double)))
    cdef const void **pairs = <const void **>work.at
    cdef double *alpha = <double *>(pairs + 2 * m)
    for i in range(m):
        pairs[2 * i] = _vector(s[i], n, k.size, False)
        pairs[2 * i + 1] = _vector(y[i], n, k.size, False)
    with nogil:
        k.other.two_loops(n, m, pairs, to, alpha)


def shuffled(ptrdiff_t n, uint64_t key):
    """0 .. n - 1 in a random order, which the 64 bits of the key determine."""
    order = np.empty(n, np.int64)
    cdef int64_t *at = <int64_t *>_vector(order, n, sizeof(int64_t), True)
    with nogil:
        nnc_shuffle(n, key, at)
    return order


def aligned_zeros(shape, dtype):
    """Zeros aligned to NNC_ALIGN bytes, with NNC_SLACK readable bytes behind them."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.intp)) * dtype.itemsize
    block = np.zeros(size + NNC_ALIGN + NNC_SLACK, np.uint8)
    start = -block.ctypes.data % NNC_ALIGN
    return block[start:start + size].view(dtype).reshape(shape)

cdef class _Work:
    """Aligned workspace that grows; one run at a time uses it."""
    cdef void *block
    cdef char *at
    cdef size_t size
    cdef bint busy

    def __dealloc__(self):
        PyMem_Free(self.block)

    cdef int reserve(self, size_t size) except -1:
        if size <= self.size:
            return 0
        if size > SIZE_MAX // 2:
            raise MemoryError("a batch of so many rows needs more workspace than there can be")
        # Fresh pages of the system are zero, and not touched before they are needed.
        cdef char *block = <char *>PyMem_Calloc(size + NNC_ALIGN, 1)
        if block == NULL:
            raise MemoryError(f"cannot allocate {size} bytes of workspace")
        PyMem_Free(self.block)
        self.block = block
        self.size = size
        self.at = block + (-<uintptr_t>block % NNC_ALIGN)
        return 0

cdef _Work _borrow(_Work work, size_t size):
    """The engine's own workspace, or a new one if a run in another thread has it."""
    if work.busy:
        work = _Work()
    work.reserve(size)
    work.busy = True
    return work

# ---- Ctrl-C ----------------------------------------------------------------------------------

cdef class _Watch:
    """Answers Ctrl-C while the engine runs: looks for signals every 20 ms, and may report."""
    cdef double next_look
    cdef object error, report  # report(done): None, or what shows progress
    cdef ptrdiff_t done

    def __cinit__(self):
        self.next_look = _now() + 0.02

cdef double _now() noexcept nogil:
    cdef timespec t
    timespec_get(&t, TIME_UTC)
    return <double>t.tv_sec + 1e-9 * <double>t.tv_nsec

cdef int _poll(void *context) noexcept nogil:
    cdef double now = _now(), next_look = (<_Watch>context).next_look
    if next_look - 0.02 <= now < next_look:  # earlier: the clock was set back
        return 0
    with gil:
        watch = <_Watch>context
        watch.next_look = now + 0.02
        try:
            PyErr_CheckSignals()
            if watch.report is not None:
                watch.report(watch.done)
        except BaseException as error:
            watch.error = error
            return 1
    return 0

# ---- functions of the user's -------------------------------------------------------------------

cdef object _array_at(const void *data, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, dtype):
    """The matrix that lies there, as an array that does not own it."""
    cdef ptrdiff_t size = dtype.itemsize, down = -ld if ld < 0 else ld
    cdef char *first = <char *>data + (rows - 1) * ld * size if ld < 0 else <char *>data
    buffer = PyMemoryView_FromMemory(first, ((rows - 1) * down + n) * size, PyBUF_WRITE)
    array = np.ndarray((rows, n), dtype, buffer, strides=(down * size, size))
    return array[::-1] if ld < 0 else array

cdef class _Own:
    """What one run calls: a loss and activations that were registered, and an error of theirs."""
    cdef object loss, dtype, error
    cdef list functions

    def __cinit__(self, loss, functions, dtype):
        self.loss, self.functions, self.dtype = loss, functions, dtype

    cdef int apply(self, const nnc_act_args *g) except -1:
        x = _array_at(g.x, g.rows, g.n, g.ldx, self.dtype).copy()
        out = _array_at(g.out, g.rows, g.n, g.ldo, self.dtype)
        out[...] = self.functions[g.function].apply(g.derivative, x)
        return 0

    cdef int run_loss(self, const nnc_loss_args *g, double *total) except -1:
        # Copies: the functions may keep what they get.
        rows = slice(None)
        weights = np.ones(g.rows)
        if g.weights != NULL:
            weights[:] = _array_at(g.weights, 1, g.rows, g.rows, np.dtype(np.float64))[0]
            rows = np.flatnonzero(weights)
            weights = weights[rows]
        y = _array_at(g.y, g.rows, g.n, g.ldy, self.dtype)[rows].copy()
        t = _array_at(g.t, g.rows, g.n, g.ldt, self.dtype)[rows].copy()
        dy = _array_at(g.dy, g.rows, g.n, g.lddy, self.dtype)
        dy[...] = 0
        total[0] = 0
        if len(y):
            values, gradient = self.loss.of_rows(y, t)
            total[0] = weights @ values
            dy[rows] = (g.scale * weights)[:, None] * gradient
        return 0

cdef int _call_loss(void *context, const nnc_loss_args *args, double *total) noexcept nogil:
    with gil:
        own = <_Own>context
        try:
            return own.run_loss(args, total)
        except BaseException as error:
            own.error = error
            return 1

cdef int _call_activation(void *context, const nnc_act_args *args) noexcept nogil:
    with gil:
        own = <_Own>context
        try:
            return own.apply(args)
        except BaseException as error:
            own.error = error
            return 1

cdef object _what_stopped(_Watch watch, _Own own):
    """The error that has ended a run."""
    return watch.error if own is None or own.error is None else own.error

cdef uint64_t _settings = 1


def touch():
    """An attribute of an optimizer or a layer has changed: see `Predictor.learn_one`."""
    global _settings
    _settings += 1



cdef class Exclusive:
    """What one run at a time may hold, as a context.

    It is entered and left in C: a Ctrl-C cannot fall between taking it and being sure to give it
    back, as it can around a lock of Python's.
    """
    cdef bint held
    cdef unsigned long thread  # that holds it

    def __enter__(self):
        if self.held:
            if self.thread == PyThread_get_thread_ident():
                raise RuntimeError(
                    "this network is being trained by the fit whose callback, or function, makes "
                    "this call: train a copy here, net.copy(), or the network when that fit is over"
                )
            raise RuntimeError("this network is being trained in another thread")
        self.held = True
        self.thread = PyThread_get_thread_ident()

    def __exit__(self, *error):
        self.held = False

    def locked(self):
        """Whether a run holds it."""
        return self.held

# ---- the engine ------------------------------------------------------------------------------

cdef int _set_parameters(double *a, values) except -1:
    """The parameters of an activation, in the order of its row."""
    if len(values) > NNC_MAX_ACT_PARAMETERS:
        raise ValueError(f"at most {NNC_MAX_ACT_PARAMETERS} parameters, got {values!r}")
    for i in range(NNC_MAX_ACT_PARAMETERS):
        a[i] = values[i] if i < len(values) else 0.0
    return 0

cdef int _count(counts, nnc_samples *s) except -1:
    if counts is not None:
        s.counts = <const double *>_vector(counts, s.rows, sizeof(double), False)
        if s.labels != NULL:
            raise ValueError("labels are not missing")
    return 0

cdef enum:  # which derivative
    _BY_X, _BY_ROW, _OUTPUTS_BY_X, _OUTPUTS_BY_THETA, _ALONG

cdef class Engine:
    """A lowered network with its parameters, gradient and optimizer state.

    `Network` checks everything that reaches an engine; what is checked again here only keeps the
    memory safe. `reference.ReferenceEngine` is its NumPy twin.

    Where the last of several steps is a scaling, the loss is taken before it, and the targets go
    back through it. `pending`: scalings may be without numbers; `Network` looks.
    """
    cdef nnc_plan plan  # up to where the loss is taken
    cdef int n_steps
    cdef nnc_step *steps
    cdef nnc_column *columns
    cdef bint random, samples, checked  # steps draw, predictions do, inputs are checked before
    cdef public bint pending
    cdef nnc_optimizer opt
    cdef double hyper_values[8]
    cdef nnc_tuning *tuning
    cdef char *theta_data
    cdef char *gradient_data
    cdef _Work predict_work, train_work
    cdef object own_loss
    cdef list functions  # activations that are called, as steps number them
    cdef readonly object theta, dtype, running
    cdef readonly str isa, rule
    cdef object gradient
    cdef readonly object state, average
    cdef readonly double ema
    cdef tuple _hyper

    def __cinit__(self, steps, n_params, loss, dtype, isa=None):
        cdef ptrdiff_t i
        self.dtype = np.dtype(dtype)
        self.isa = isa or ISA
        self.plan.kernels = _kernels(self.isa, self.dtype)
        self.plan.n_params = n_params
        self.plan.longest = 0
        if getattr(loss, "of_rows", None) is None:
            name = getattr(loss, "name", loss)
            values = getattr(loss, "values", (*LOSSES[name]["hyper"].values(),))
            self.plan.loss = _loss_code[name]
            self.plan.loss_a, self.plan.loss_b = (*values, 0, 0)[:2]
            self.plan.by_rows = getattr(loss, "mean", None) == "rows"
        else:
            self.own_loss, self.plan.loss_call = loss, _call_loss
        self.n_steps = self.plan.n_steps = len(steps)
        self.steps = <nnc_step *>PyMem_Calloc(len(steps), sizeof(nnc_step))
        self.columns = <nnc_column *>PyMem_Calloc(len(steps[0].columns) + 1, sizeof(nnc_column))
        self.tuning = <nnc_tuning *>PyMem_Malloc(len(steps) * sizeof(nnc_tuning))
        if self.steps == NULL or self.columns == NULL or self.tuning == NULL:
            raise MemoryError()
        self.plan.steps = self.steps
        self.functions = []
        for i, step in enumerate(steps):
            self._set_step(i, step)
        if self.functions:
            self.plan.act_call = _call_activation
        self.running = aligned_zeros(self.plan.n_running, self.dtype)
        self.plan.running = _vector(self.running, self.plan.n_running, self.plan.kernels.size, True)
        cdef nnc_plan outputs = self.plan
        if self.n_steps > 1 and self.steps[self.n_steps - 1].kind == NNC_STEP_scaling:
            self.plan.n_steps -= 1
            outputs.loss, outputs.loss_call = 0, NULL  # one that takes any outputs
        if nnc_plan_check(&self.plan) != NNC_OK or nnc_plan_check(&outputs) != NNC_OK:
            raise ValueError("these steps are not a network")
        self.theta = aligned_zeros(n_params, self.dtype)
        self.gradient = aligned_zeros(n_params, self.dtype)
        self.theta_data = _vector(self.theta, n_params, self.plan.kernels.size, True)
        self.gradient_data = _vector(self.gradient, n_params, self.plan.kernels.size, True)
        self.predict_work = _Work()
        self.train_work = _Work()
        self.set_optimizer("sgd", (0.01,))

    cdef int _set_step(self, ptrdiff_t i, step) except -1:
        cdef nnc_step *to = &self.steps[i]
        cdef ptrdiff_t j
        to.kind = STEPS.index(step.kind)
        to.n_in, to.n_out, to.w, to.b = step.n_in, step.n_out, step.w, step.b
        to.act, to.other = _act_code[step.activation], step.other
        _set_parameters(to.act_a, step.parameters)
        for j, value in enumerate(step.values):
            to.p[j] = value
        self.pending |= to.kind == NNC_STEP_scaling
        if to.kind == NNC_STEP_batch_norm or to.kind == NNC_STEP_scaling:  # in order of the steps
            to.other = self.plan.n_running
            self.plan.n_running += 2 * to.n_out
        if to.kind == NNC_STEP_called:
            to.other = len(self.functions)
            self.functions.append(step.function)
        self.random |= to.kind == NNC_STEP_dropout or to.kind == NNC_STEP_noise
        if to.kind == NNC_STEP_dropout and to.p[1]:
            self.samples = True
        if step.columns:
            if i > 0 or len(step.columns) != to.n_in:
                raise ValueError("these steps are not a network")
            for j, column in enumerate(step.columns):
                self.columns[j] = nnc_column(n_tokens=column[0], dim=column[1], table=column[2])
            to.columns = self.columns
            self.checked = True
        return 0

    def __dealloc__(self):
        PyMem_Free(self.steps)
        PyMem_Free(self.tuning)
        PyMem_Free(self.columns)

    @property
    def draws(self):
        """Seed of the random numbers; how many training steps, and predictions, have drawn.

        None where no step draws any.
        """
        return (self.plan.seed, self.opt.drawn, self.plan.draw) if self.random else None

    @draws.setter
    def draws(self, values):
        self.plan.seed, self.opt.drawn, self.plan.draw = values

    def set_optimizer(self, name, hyper):
        """Chooses the update rule; its state starts at zero, and no average is kept."""
        code = _opt_code[name]
        cdef int vectors = nnc_opts[<int>code].vectors
        state = aligned_zeros((vectors, -(-self.plan.n_params // 16) * 16), self.dtype)
        self.opt.opt = code
        self.rule = name
        self.hyper = hyper
        self.opt.updates = self.opt.averaged = 0
        self.average, self.opt.average = None, NULL
        self.set_options()
        self.state = state[:, :self.plan.n_params]
        for i in range(NNC_MAX_VECTORS):
            self.opt.state[i] = NULL if i >= vectors else _vector(
                self.state[i], self.plan.n_params, self.plan.kernels.size, True)

    @property
    def hyper(self):
        """Hyper-parameters of the update rule, in the order of its row."""
        return self._hyper

    @hyper.setter
    def hyper(self, values):
        if len(values) != nnc_opts[self.opt.opt].n_hyper:
            raise ValueError(f"expected {nnc_opts[self.opt.opt].n_hyper} hyper-parameters")
        self._hyper = tuple(values)
        for i, value in enumerate(values):
            self.hyper_values[i] = value
        self.opt.hyper = self.hyper_values

    @property
    def n_updates(self):
        """Updates done with the present optimizer."""
        return self.opt.updates

    @n_updates.setter
    def n_updates(self, value):
        self.opt.updates = value

    def set_options(self, decay=0.0, clip_norm=0.0, clip_value=0.0, ema=0.0):
        """What goes with any rule; 0: nothing. ema: what `average` keeps of itself per update."""
        self.opt.decay, self.opt.clip_norm, self.opt.clip_value = decay, clip_norm, clip_value
        self.ema, self.opt.weight = ema, 1 - ema
        if ema > 0:
            self.keep_average()

    def keep_average(self):
        """Makes `average`, zero at first, if there is none; `averaged` counts what is in it."""
        if self.average is None:
            self.average = aligned_zeros(self.plan.n_params, self.dtype)
            self.opt.averaged = 0

    def forget_average(self):
        """Keeps no average until there is one again."""
        self.average, self.opt.average = None, NULL
        self.opt.averaged = 0

    @property
    def averaged(self):
        """How many parameter vectors are in the average."""
        return self.opt.averaged

    @averaged.setter
    def averaged(self, value):
        self.opt.averaged = value

    def set_tuning(self, tuning):
        """How each step is trained, as `layers.Tuning`s; None: all alike, without penalties."""
        if tuning is None:
            self.plan.tuning = NULL
            return
        if len(tuning) != self.n_steps:
            raise ValueError("one for each step")
        for i, step in enumerate(tuning):
            self.tuning[i] = nnc_tuning(
                frozen=not step.trainable, rate=step.lr_scale, l1=step.l1, l2=step.l2,
                max_norm=step.max_norm)
        self.plan.tuning = self.tuning

    def predict(self, X, out, n_threads=0, sample=False):
        """out[...] = outputs for the rows of X. The two must not overlap.

        sample: what is random in predictions is drawn, anew in each call.
        """
        cdef matrix x, y
        _matrix(X, self.plan.kernels.size, False, &x)
        _matrix(out, self.plan.kernels.size, True, &y)
        if not self.fits(&x, &y):
            raise ValueError("shapes of X and out do not fit the network")
        self.run_predict(&x, &y, n_threads, sample)

    cdef bint fits(self, matrix *x, matrix *y) noexcept:
        return (x.cols == self.steps[0].n_in and y.rows == x.rows
                and y.cols == self.steps[self.plan.n_steps - 1].n_out)

    cdef int run_predict(self, matrix *x, matrix *y, int n_threads, bint sample) except -1:
        cdef nnc_status status
        cdef _Own own = self.call_own()
        cdef nnc_plan plan = self.call_plan(n_threads, own)
        plan.n_steps = self.n_steps
        if sample and self.samples:
            plan.sample = True
            self.plan.draw += 1
        cdef _Watch watch = None
        cdef nnc_poll poll = NULL
        cdef _Work work = _borrow(self.predict_work, nnc_plan_work(&plan, x.rows, NNC_PREDICT))
        # About 1 ms, or nobody knows how long: worth interrupting.
        if <double>x.rows * <double>self.plan.n_params > 1e7 or plan.act_call != NULL:
            watch, poll = _Watch(), _poll
        try:
            with nogil:
                status = nnc_predict(&plan, self.theta_data, x.data, x.ld, x.rows, y.data,
                                     y.ld, work.at, poll, <void *>watch)
        finally:
            work.busy = False
        if status == NNC_STOPPED:
            raise _what_stopped(watch, own)
        return 0

    cdef nnc_plan call_plan(self, int n_threads, _Own own) noexcept:  # it only copies
        cdef nnc_plan plan = _with_threads(&self.plan, n_threads)
        plan.loss_context = plan.act_context = <void *>own
        return plan

    cdef _Own call_own(self):
        if self.plan.loss_call == NULL and self.plan.act_call == NULL:
            return None
        return _Own(self.own_loss, self.functions, self.dtype)

    cdef object _samples(self, X, y, weights, nnc_samples *s):
        """Fills `s`; returns what has to stay alive while it is used."""
        cdef matrix x, t
        cdef char *to
        cdef size_t size = self.plan.kernels.size
        _matrix(X, size, False, &x)
        if x.cols != self.steps[0].n_in:
            raise ValueError("X does not fit the network")
        s.rows, s.index, s.x, s.ldx = x.rows, NULL, x.data, x.ld
        s.t, s.ldt, s.labels, s.weights, s.counts, s.so_far = NULL, 0, NULL, NULL, NULL, NULL
        cdef ptrdiff_t n_out = self.steps[self.plan.n_steps - 1].n_out
        if weights is not None:
            if weights.dtype != np.float64:
                raise ValueError("weights are of float64")
            s.weights = <const double *>_vector(weights, x.rows, sizeof(double), False)
        if y.ndim == 1:
            s.labels = <const int64_t *>_vector(y, x.rows, sizeof(int64_t), False)
            if self.own_loss is not None or self.plan.loss != NNC_LOSS_cross_entropy:
                raise ValueError("only cross_entropy takes labels")
            if y.dtype != np.int64 or not _all_below(n_out, s.labels, x.rows):
                raise ValueError("labels do not fit the network")
        else:
            _matrix(y, size, False, &t)
            if self.own_loss is None:
                n_out //= nnc_losses[self.plan.loss].per_target
            if t.rows != x.rows or t.cols != n_out:
                raise ValueError("y does not fit the network")
            s.t, s.ldt = t.data, t.ld
            if self.plan.n_steps < self.n_steps:
                y = _empty((t.rows, t.cols), self.dtype)
                to = _vector(y.reshape(-1), t.rows * t.cols, size, True)
                self._scale_targets(&t, to)
                s.t, s.ldt = to, t.cols
        return y

    cdef void _scale_targets(self, matrix *t, char *to) noexcept:
        """Back through the last step: where the loss is taken. Nothing in it raises."""
        cdef const nnc_kernels *k = self.plan.kernels
        cdef const nnc_step *step = &self.steps[self.n_steps - 1]
        cdef char *numbers = <char *>self.plan.running + step.other * <ptrdiff_t>k.size
        cdef nnc_layer_args g
        memset(&g, 0, sizeof(g))
        g.rows, g.n, g.x, g.ldx, g.y, g.ldy = t.rows, t.cols, t.data, t.ld, to, t.cols
        g.b, g.w = numbers, numbers + t.cols * <ptrdiff_t>k.size
        g.a = step.p[0] == 0
        with nogil:
            k.other.scaling(&g)

    def loss(self, X, y, n_threads=0, theta=None, weights=None, counts=None, so_far=None):
        """The mean loss over the rows of X, with the penalties; at the parameters `theta`, if given.

        counts: as in `train`. so_far: float64 (2,), zeros before the first of several calls that
        are one: all but the last for a multiple of BLOCK rows; the last one's result is that of all.
        """
        return self._evaluate(X, y, None, n_threads, theta, weights, counts, so_far)

    def loss_and_gradient(self, X, y, gradient, n_threads=0, theta=None, weights=None):
        """The same, with its gradient, laid out as theta, written to `gradient`."""
        return self._evaluate(X, y, gradient, n_threads, theta, weights)

    cdef char *_parameters(self, theta) except NULL:
        """Where they lie. `theta`: None for the engine's own, or of `aligned_zeros`."""
        if theta is None:
            return self.theta_data
        return _vector(theta, self.plan.n_params, self.plan.kernels.size, False)

    cdef double _evaluate(self, X, y, gradient, int n_threads, theta, weights, counts=None,
                          so_far=None) except? -1:
        cdef nnc_samples s
        cdef _Own own = self.call_own()
        cdef nnc_plan plan = self.call_plan(n_threads, own)
        cdef nnc_status status
        cdef double loss = 0
        cdef char *g = NULL
        cdef char *at = self._parameters(theta)
        y = self._samples(X, y, weights, &s)
        _count(counts, &s)
        if so_far is not None:
            s.so_far = <double *>_vector(so_far, 2, sizeof(double), True)
        if gradient is not None:
            g = _vector(gradient, self.plan.n_params, self.plan.kernels.size, True)
        cdef _Work work = _borrow(
            self.train_work,
            nnc_plan_work(&plan, s.rows, NNC_EVALUATE if gradient is None else NNC_GRADIENT))
        cdef _Watch watch = _Watch()
        try:
            with nogil:
                status = nnc_evaluate(&plan, at, &s, &loss, g, work.at, _poll, <void *>watch)
        finally:
            work.busy = False
        if status == NNC_STOPPED:
            raise _what_stopped(watch, own)
        return loss

    def train(self, X, y, order, batch_size, n_threads=0, weights=None, rates=None, counts=None,
              most=0.0):
        """Trains on batches of the rows of X, in the order of the indices `order` (or None).

        rates: float64, the learning rate of each update, in place of the rule's. most: what a larger
        loss of one element (or row) counts as in the losses that are returned. Returns the loss of
        each step before its update. A loss that is not finite ends the run before its update and
        is the last one returned. Ctrl-C ends it after a whole step. A batch whose weights are all 0
        is a step that changes nothing, with loss 0. counts: where targets that are NaN are missing,
        float64, what each row counts in the mean of its batch.
        """
        cdef nnc_samples s
        cdef nnc_status status
        cdef _Own own = self.call_own()
        cdef nnc_plan plan = self.call_plan(n_threads, own)
        cdef ptrdiff_t done = 0, batch = batch_size, n
        plan.loss_most = most
        y = self._samples(X, y, weights, &s)
        _count(counts, &s)
        if batch < 1:
            raise ValueError("batch_size must be at least 1")
        if order is not None:
            n = s.rows
            s.rows = len(order)
            s.index = <const int64_t *>_vector(order, s.rows, sizeof(int64_t), False)
            if not _all_below(n, s.index, s.rows):
                raise ValueError("order has indices outside X")
        losses = np.zeros(-(-s.rows // batch), np.float64)
        cdef double *loss_data = <double *>_vector(losses, len(losses), sizeof(double), True)
        self.opt.rates = self.opt.average = NULL
        if rates is not None:
            self.opt.rates = <const double *>_vector(rates, len(losses), sizeof(double), False)
        if self.ema > 0:
            self.opt.average = _vector(self.average, self.plan.n_params, self.plan.kernels.size, True)
        cdef _Work work = _borrow(
            self.train_work, nnc_plan_work(&plan, min(batch, s.rows), NNC_TRAIN))
        cdef _Watch watch = _Watch()
        try:
            with nogil:
                status = nnc_train(&plan, self.theta_data, self.gradient_data, &self.opt, &s,
                                   batch, loss_data, &done, work.at, _poll, <void *>watch)
        finally:
            work.busy = False
        if status == NNC_STOPPED:
            raise _what_stopped(watch, own)
        if status == NNC_BAD_PLAN:
            raise ValueError("a batch of one row has no variance")
        return losses[:done + 1] if status == NNC_NOT_FINITE else losses

    cdef nnc_status learn(self, nnc_samples *s, double *loss, Exclusive lock) except *:
        """One update by one row. A small network keeps the GIL: it is a matter of microseconds."""
        cdef nnc_plan plan = self.call_plan(0, None)
        cdef nnc_status status
        cdef ptrdiff_t done
        cdef _Watch watch
        self.opt.rates = self.opt.average = NULL
        if self.ema > 0:
            self.opt.average = _vector(self.average, plan.n_params, plan.kernels.size, True)
        cdef _Work work = _borrow(self.train_work, nnc_plan_work(&plan, 1, NNC_TRAIN))
        if plan.n_params < 10000:
            status = nnc_train(&plan, self.theta_data, self.gradient_data, &self.opt, s, 1, loss,
                               &done, work.at, NULL, NULL)
            work.busy = False
            return status
        watch = _Watch()
        lock.held, lock.thread = True, PyThread_get_thread_ident()
        try:
            with nogil:
                status = nnc_train(&plan, self.theta_data, self.gradient_data, &self.opt, s, 1,
                                   loss, &done, work.at, _poll, <void *>watch)
        finally:
            work.busy = lock.held = False
        if status == NNC_STOPPED:
            raise watch.error
        return status

    def input_gradient(self, X, y, dx, n_threads=0, theta=None, weights=None):
        """The mean loss; dx (rows, n_in) = its gradient with respect to X."""
        cdef nnc_samples s
        cdef matrix m
        y = self._samples(X, y, weights, &s)
        _matrix(dx, self.plan.kernels.size, True, &m)
        if m.rows != s.rows or m.cols != self.steps[0].n_in:
            raise ValueError("dx does not fit X")
        return self._derive(_BY_X, &s, theta, n_threads, m.data, m.ld, NULL, NULL)

    def sample_gradients(self, X, y, losses, gradients, n_threads=0, theta=None):
        """losses[i] and gradients[i] of row i alone."""
        cdef nnc_samples s
        y = self._samples(X, y, None, &s)
        cdef char *each = _vector(losses, s.rows, sizeof(double), True)
        cdef char *to = _vector(gradients.reshape(-1), s.rows * self.plan.n_params,
                                self.plan.kernels.size, True)
        self._derive(_BY_ROW, &s, theta, n_threads, to, 0, <double *>each, NULL)

    def jacobian(self, X, by_parameters, jacobian, n_threads=0, theta=None, of_loss=False):
        """jacobian[i, k] = the gradient of output k of row i, by its inputs or the parameters.

        of_loss: of the outputs as the loss takes them, before a scaling at the end.
        """
        cdef nnc_samples s
        cdef matrix x
        _matrix(X, self.plan.kernels.size, False, &x)
        if x.cols != self.steps[0].n_in:
            raise ValueError("X does not fit the network")
        memset(&s, 0, sizeof(s))
        s.rows, s.x, s.ldx = x.rows, x.data, x.ld
        cdef ptrdiff_t n = self.plan.n_params if by_parameters else x.cols
        n *= x.rows * self.steps[self.plan.n_steps - 1].n_out
        cdef char *to = _vector(jacobian.reshape(-1), n, self.plan.kernels.size, True)
        cdef int what = _OUTPUTS_BY_THETA if by_parameters else _OUTPUTS_BY_X
        self._derive(what, &s, theta, n_threads, to, 0, NULL, NULL,
                     self.plan.n_steps if of_loss else self.n_steps)

    def hessian_product(self, X, y, v, product, n_threads=0, theta=None, weights=None):
        """The mean loss; product = its Hessian times v, which is of `aligned_zeros`."""
        cdef nnc_samples s
        cdef size_t size = self.plan.kernels.size
        y = self._samples(X, y, weights, &s)
        cdef char *along = _vector(v, self.plan.n_params, size, False)
        cdef char *to = _vector(product, self.plan.n_params, size, True)
        return self._derive(_ALONG, &s, theta, n_threads, to, 0, NULL, along)

    def landscape(self, X, y, center, u, v, a, b, n_threads=0, weights=None, report=None):
        """losses[i, j]: of the parameters ``center + a[i] u + b[j] v``, rounded to the dtype.

        All float64. report(done) is called now and then with the number of points that are done.
        """
        cdef nnc_samples s
        cdef nnc_grid g
        cdef nnc_status status
        cdef ptrdiff_t n = self.plan.n_params
        cdef _Own own = self.call_own()
        cdef nnc_plan plan = self.call_plan(n_threads, own)
        y = self._samples(X, y, weights, &s)
        losses = np.zeros((len(a), len(b)))
        cdef double *to = <double *>_vector(losses.reshape(-1), losses.size, sizeof(double), True)
        g.center = <const double *>_vector(center, n, sizeof(double), False)
        g.u = <const double *>_vector(u, n, sizeof(double), False)
        g.v = <const double *>_vector(v, n, sizeof(double), False)
        g.n_a, g.n_b = len(a), len(b)
        g.a = <const double *>_vector(a, g.n_a, sizeof(double), False)
        g.b = <const double *>_vector(b, g.n_b, sizeof(double), False)
        cdef _Work work = _borrow(self.train_work, nnc_plan_work(&plan, s.rows, NNC_LANDSCAPE))
        cdef _Watch watch = _Watch()
        watch.report = report
        cdef void *context = <void *>watch
        cdef ptrdiff_t *done = &watch.done
        try:
            with nogil:
                status = nnc_landscape(&plan, &g, &s, to, done, work.at, _poll, context)
        finally:
            work.busy = False
        if status == NNC_STOPPED:
            raise _what_stopped(watch, own)
        return losses

    cdef double _derive(self, int what, nnc_samples *s, theta, int n_threads, char *to,
                        ptrdiff_t ld, double *losses, char *v, int n_steps=0) except? -1:
        """The one way through the engine of all derivatives beyond the gradient.

        n_steps: how many are walked; 0: those of the loss.
        """
        cdef _Own own = self.call_own()
        cdef nnc_plan plan = self.call_plan(n_threads, own)
        if n_steps:
            plan.n_steps = n_steps
        cdef nnc_status status = NNC_OK
        cdef double loss = 0
        cdef char *at = self._parameters(theta)
        cdef _Work work = _borrow(self.train_work, nnc_plan_work(
            &plan, s.rows, NNC_HESSIAN if what == _ALONG else NNC_GRADIENT))
        cdef _Watch watch = _Watch()
        cdef void *context = <void *>watch
        try:
            with nogil:
                if what == _BY_X:
                    status = nnc_input_gradient(&plan, at, s, &loss, to, ld, work.at, _poll,
                                                context)
                elif what == _BY_ROW:
                    status = nnc_sample_gradients(&plan, at, s, losses, to, work.at, _poll,
                                                  context)
                elif what == _ALONG:
                    status = nnc_hessian_product(&plan, at, s, v, &loss, to, work.at, _poll,
                                                 context)
                else:
                    status = nnc_jacobian(
                        &plan, at, s.x, s.ldx, s.rows,
                        NNC_BY_INPUTS if what == _OUTPUTS_BY_X else NNC_BY_PARAMETERS, to,
                        work.at, _poll, context)
        finally:
            work.busy = False
        if status == NNC_STOPPED:
            raise _what_stopped(watch, own)
        if status != NNC_OK:
            raise ValueError("this loss has no second derivative")
        return loss

# ---- the call that has to be fast -------------------------------------------------------------

cdef bint _apart(matrix *x, matrix *y, size_t size) noexcept:
    """Whether two matrices with rows in increasing order share no byte."""
    if x.rows == 0 or y.rows == 0:
        return True
    cdef char *x_end = x.data + ((x.rows - 1) * x.ld + x.cols) * <ptrdiff_t>size
    cdef char *y_end = y.data + ((y.rows - 1) * y.ld + y.cols) * <ptrdiff_t>size
    return x.ld >= 0 and y.ld >= 0 and (x_end <= y.data or y_end <= x.data)

include "_predictor.pxi"
include "_kernels.pxi"
