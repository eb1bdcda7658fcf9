# Part of _core.pyx: what a Network calls most often, with few rows or one.

cdef enum: _FEW = 128  # numbers of a list that are put on the stack
cdef double _EXACT = 2.0 ** 53  # whole numbers up to here are doubles

cdef bint _numbers(object values, ptrdiff_t n, size_t size, object dtype, double *to, char **at):
    """Whether `values` are n numbers that the engine can use; `at`: where they lie, or `to`.

    That is an array of the engine's dtype, or a list or tuple of floats, here rounded to it.
    """
    cdef Py_buffer b
    cdef ptrdiff_t i
    cdef bint fits
    if type(values) is _ndarray:
        if values.dtype is not dtype:
            return False
        PyObject_GetBuffer(values, &b, PyBUF_STRIDES)
        fits = (b.ndim == 1 and b.shape[0] == n and (n == 1 or b.strides[0] == b.itemsize)
                and <uintptr_t>b.buf % size == 0)
        at[0] = <char *>b.buf  # good while the caller holds the array
        PyBuffer_Release(&b)
        return fits
    if not (type(values) is list or type(values) is tuple) or n > _FEW or len(values) != n:
        return False
    at[0] = <char *>to
    for i in range(n):
        if not _number(values[i], i, size, at[0]):
            return False
    return True

cdef bint _number(object value, ptrdiff_t i, size_t size, char *to) except -1:
    """Whether `value` is a number that a double holds; it is put to place i."""
    if not PyFloat_Check(value) and not PyLong_CheckExact(value):
        if not isinstance(value, _np_reals):
            return False
    cdef double number = number_of(value)
    if number == -1 and PyErr_Occurred():  # a whole number beyond all doubles
        PyErr_Clear()
        return False
    if size == sizeof(float):
        (<float *>to)[i] = <float>number
    else:
        (<double *>to)[i] = number
    return PyFloat_Check(value) or -_EXACT <= number <= _EXACT

cdef class Predictor:
    """Base of `Network`: `predict` without a Python frame where nothing has to be converted.

    A subclass sets ``_engine`` and has a method ``_predict_any`` for all other arguments.
    """
    cdef Engine c_engine
    cdef object any_engine
    cdef readonly Exclusive _training  # held while parameters or optimizer change
    cdef uint64_t ready  # the settings that the engine has; 0: `learn_one` goes the long way
    cdef double low, high
    cdef bint ends

    def __cinit__(self, *args, **kwargs):
        self._training = Exclusive()

    @property
    def _engine(self):
        return self.any_engine

    @_engine.setter
    def _engine(self, engine):
        self.any_engine = engine
        self.c_engine = engine if isinstance(engine, Engine) else None

    def predict(self, X, *, out=None, n_threads=None):
        """predict($self, X, *, out=None, n_threads=None)
--

        Return the outputs for the rows of X.

        In the C engine a row's result has the same bits alone and in any batch, unless a Dropout is
        always on. NaN in X gives NaN.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        out : numpy.ndarray, shape (n_rows, n_out), optional
            Of the network's dtype: filled and returned. It may overlap X.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        numpy.ndarray, shape (n_rows, n_out)
            Class probabilities, if the last activation is softmax.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(3, "softmax"), seed=0)
        >>> net.predict([[0.5, -1.0], [2.0, 0.0]]).shape
        (2, 3)
        """
        cdef Engine engine = self.c_engine
        cdef matrix x, y
        cdef size_t size
        cdef int threads = 0
        if (engine is None or engine.checked or engine.pending or type(X) is not _ndarray
                or X.dtype is not engine.dtype):
            return self._predict_any(X, out, n_threads)
        if n_threads is not None:
            if type(n_threads) is not int or not 1 <= n_threads <= NNC_MAX_THREADS:
                return self._predict_any(X, out, n_threads)
            threads = n_threads
        size = engine.plan.kernels.size
        if not _is_matrix(X, size, False, &x) or x.cols != engine.steps[0].n_in:
            return self._predict_any(X, out, n_threads)
        if out is None:
            out = _empty((x.rows, engine.steps[engine.plan.n_steps - 1].n_out), engine.dtype)
        elif type(out) is not _ndarray or out.dtype is not engine.dtype:
            return self._predict_any(X, out, n_threads)
        if not (_is_matrix(out, size, True, &y) and engine.fits(&x, &y) and _apart(&x, &y, size)):
            return self._predict_any(X, out, n_threads)
        engine.run_predict(&x, &y, threads, True)
        return out

    def predict_one(self, x):
        """predict_one($self, x)
--

        Return the outputs for one sample: as ``predict([x])[0]``, and the same bits.

        Without the cost of making a matrix of it: about a microsecond for a small network.

        Parameters
        ----------
        x : array_like, shape (n_in,)
            An array of the network's dtype, or a list or tuple of numbers, is the fastest.

        Returns
        -------
        numpy.ndarray, shape (n_out,)

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(1, init=[[1], [2]]))
        >>> net.predict_one([3.0, 4.0])
        array([11.], dtype=float32)
        """
        cdef Engine engine = self.c_engine
        cdef matrix m, y
        cdef double xs[_FEW]
        if engine is None or engine.checked or engine.pending:
            return self._predict_one_any(x)
        m.rows = y.rows = 1
        m.cols = m.ld = engine.steps[0].n_in
        if not _numbers(x, m.cols, engine.plan.kernels.size, engine.dtype, xs, &m.data):
            return self._predict_one_any(x)
        y.cols = y.ld = engine.steps[engine.plan.n_steps - 1].n_out
        out = _empty(y.cols, engine.dtype)
        y.data = _vector(out, y.cols, engine.plan.kernels.size, True)
        engine.run_predict(&m, &y, 0, True)
        return out

    def learn_one(self, x, y):
        """learn_one($self, x, y)
--

        Do one update with one sample; as ``partial_fit([x], [y])``, and the same bits.

        Without the cost of making matrices of it: about a microsecond for a small network. The
        optimizer's state is kept. With a schedule of the rate, a full-batch trainer, an `Embedding`,
        or functions of your own in the network it goes the way of `partial_fit`.

        Parameters
        ----------
        x : array_like, shape (n_in,)
            An array of the network's dtype, or a list or tuple of numbers, is the fastest.
        y : number, or array_like of shape (n_targets,)
            The targets; for cross_entropy a class label or one weight for each class.

        Returns
        -------
        float
            The sample's loss before the update. With `predict_one` before it a stream is tested and
            then trained on ("prequential" evaluation).

        Raises
        ------
        ValueError
            As `fit` does, for NaN too; the network is then as before.
        FloatingPointError
            As `fit` does.
        RuntimeError
            If another thread trains this network.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(1), optimizer=nncore.SGD(0.1), seed=0)
        >>> for x in [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 200:
        ...     loss = net.learn_one(x, x[0] - 2 * x[1])
        >>> net.predict_one([3.0, 1.0]).round(3)
        array([1.], dtype=float32)
        """
        cdef Engine engine = self.c_engine
        cdef double xs[_FEW]
        cdef double ts[_FEW]
        cdef double loss = 0
        cdef int64_t label
        cdef nnc_samples s
        cdef nnc_status status
        if (self.ready != _settings or self._training.held
                or not _one_sample(self, engine, x, y, xs, ts, &label, &s)):
            return self._learn_one_any(x, y)
        status = engine.learn(&s, &loss, self._training)
        if status == NNC_NOT_FINITE:
            self._refuse_loss(loss)
        if not engine.plan.kernels.finite(engine.plan.n_params, engine.theta_data):
            self._check_parameters()
        return loss

    def _unknown_settings(self):
        """A number for the settings of now, another one after each `touch`; 0: the engine has them."""
        return 0 if self.ready == _settings else _settings

    def _be_ready(self, settings, double low, double high, bint ends):
        """The engine has these settings: `learn_one` need not look at them before they change.

        Targets below `low` or above `high` go the long way, and with `ends` those between them.
        """
        cdef Engine engine = self.c_engine
        self.low, self.high, self.ends = low, high, ends
        if not (engine is None or engine.checked or engine.plan.n_running or engine.functions
                or engine.own_loss is not None):
            self.ready = settings

cdef bint _one_sample(Predictor self, Engine engine, x, y, double *xs, double *ts, int64_t *label,
                      nnc_samples *s) except -1:
    """Whether x and y are a sample that nothing has to be said of; it is put to `s`."""
    cdef const nnc_kernels *k = engine.plan.kernels
    cdef ptrdiff_t j, n = engine.steps[engine.plan.n_steps - 1].n_out
    cdef double value
    cdef char *at = NULL
    memset(s, 0, sizeof(s[0]))
    s.rows, s.ldx = 1, engine.steps[0].n_in
    if not (_numbers(x, s.ldx, k.size, engine.dtype, xs, &at) and k.finite(s.ldx, at)):
        return False
    s.x = at
    if engine.plan.loss == NNC_LOSS_cross_entropy:
        if not PyLong_CheckExact(y):
            if not isinstance(y, _np_integer):
                return False
            y = PyNumber_Index(y)
        if not 0 <= y < n:
            return False
        label[0] = y
        s.labels = label
        return True
    n //= nnc_losses[engine.plan.loss].per_target
    at = <char *>ts
    if not (n == 1 and _number(y, 0, k.size, at) or _numbers(y, n, k.size, engine.dtype, ts, &at)):
        return False
    if not k.finite(n, at):
        return False
    for j in range(n):
        value = (<float *>at)[j] if k.size == sizeof(float) else (<double *>at)[j]
        if not (value == self.low or value == self.high if self.ends
                else self.low <= value <= self.high):
            return False
    s.t, s.ldt = at, n
    return True
