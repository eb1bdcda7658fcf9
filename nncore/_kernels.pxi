# Single kernels, for the tests and the benchmarks. Part of _core.pyx.

cdef int _parameters(int act, values, double *a) except -1:
    """The parameters of an activation: its defaults, unless a tuple of values is given."""
    if act >= NNC_N_ACTS:
        raise ValueError("softmax is no function of one number")
    if values is not None:
        return _set_parameters(a, values)
    for i in range(NNC_MAX_ACT_PARAMETERS):
        a[i] = nnc_acts[act].defaults[i]
    return 0


cdef class Kernels:
    """The kernels of one instruction set and dtype. Arrays must have that dtype."""
    cdef const nnc_kernels *k
    cdef _Work work
    cdef readonly object dtype
    cdef readonly str isa

    def __cinit__(self, isa=None, dtype="float32"):
        self.isa, self.dtype = isa or ISA, np.dtype(dtype)
        self.k = _kernels(self.isa, self.dtype)
        self.work = _Work()

    @property
    def lanes(self):
        return self.k.lanes

    @property
    def tile(self):
        return self.k.tile_rows, self.k.tile_cols

    def gemm(self, a, b, c, *, transpose_a=False, transpose_b=False, bias=None, accumulate=False,
             activation=None, parameters=None, y=None, kept=None, b_has_slack=False):
        """c = op(a) op(b), with the ends of nnc_gemm: see csrc/nnc.h.

        The kernel may read a little past a b that is not transposed, so it is copied, unless it
        is told to be of `aligned_zeros`.
        """
        cdef matrix ma, mb, mc, my, mk
        cdef nnc_gemm g
        cdef double[2] p
        if not transpose_b and not b_has_slack:
            padded = aligned_zeros(b.shape, self.dtype)
            padded[...] = b
            b = padded
        memset(&g, 0, sizeof(g))
        self.work.reserve(self.k.gemm_work + self.k.gemm_rows_work)
        _matrix(a, self.k.size, False, &ma)
        _matrix(b, self.k.size, False, &mb)
        _matrix(c, self.k.size, True, &mc)
        g.m, g.k = (ma.cols if transpose_a else ma.rows), (ma.rows if transpose_a else ma.cols)
        g.n = mb.rows if transpose_b else mb.cols
        if (mb.cols if transpose_b else mb.rows) != g.k or mc.rows != g.m or mc.cols != g.n:
            raise ValueError("shapes do not fit")
        g.a, g.b, g.c, g.ldc = ma.data, mb.data, mc.data, mc.ld
        g.a_row, g.a_col = (1 if transpose_a else ma.ld), (ma.ld if transpose_a else 1)
        g.b_row, g.b_col = (1 if transpose_b else mb.ld), (mb.ld if transpose_b else 1)
        g.accumulate, g.work = accumulate, self.work.at
        g.rows_work = self.work.at + self.k.gemm_work
        if bias is not None:
            padded_bias = aligned_zeros(g.n, self.dtype)
            padded_bias[...] = bias
            g.bias = _vector(padded_bias, g.n, self.k.size, False)
        if activation is not None:
            g.act = _act_code[activation]
            _parameters(g.act, parameters, p)
            g.act_a = p
            if kept is not None:
                _matrix(kept, self.k.size, False, &mk)
                g.kept, g.ld_kept = mk.data, mk.ld
                if mk.rows != g.m or mk.cols != g.n:
                    raise ValueError("shapes do not fit")
            else:
                _matrix(c if y is None else y, self.k.size, True, &my)
                g.y, g.ldy = my.data, my.ld
                if my.rows != g.m or my.cols != g.n:
                    raise ValueError("shapes do not fit")
        with nogil:
            self.k.gemm(&g)

    def activation(self, name, x, y, parameters=None, keep=False):
        """y = f(x), of vectors; y may be x. keep: what `slope` wants is kept, in y or in x, which
        is then f'(x), and not y."""
        cdef ptrdiff_t n = len(x)
        cdef char *px = _vector(x, n, self.k.size, keep)
        cdef char *py = _vector(y, n, self.k.size, True)
        cdef int act = _act_code[name]
        cdef double[2] p
        _parameters(act, parameters, p)
        nnc_activate(self.k, act, keep, n, px, py, p)

    def derivative(self, order, name, x, y, parameters=None):
        """y = f'(x) (order 1) or f''(x) (order 2), of vectors; y may be x."""
        cdef ptrdiff_t n = len(x)
        cdef char *px = _vector(x, n, self.k.size, False)
        cdef char *py = _vector(y, n, self.k.size, True)
        cdef int act = _act_code[name]
        cdef double[2] p
        _parameters(act, parameters, p)
        if order == 1:
            self.k.other.act_df[act](n, px, py, p)
        elif order == 2:
            self.k.other.act_d2f[act](n, px, py, p)
        else:
            raise ValueError(f"order must be 1 or 2, got {order!r}")

    def slope(self, name, kept, dy, dx, parameters=None):
        """dx = dy times the slope, from what `activation` kept; dx may be dy."""
        cdef ptrdiff_t n = len(kept)
        cdef char *pk = _vector(kept, n, self.k.size, False)
        cdef char *pd = _vector(dy, n, self.k.size, False)
        cdef char *px = _vector(dx, n, self.k.size, True)
        cdef int act = _act_code[name]
        cdef double[2] p
        _parameters(act, parameters, p)
        self.k.act_slope[act](n, pk, pd, px, p)

    def softmax(self, z, y, log=False):
        """y = softmax of each row of z, or its logarithm."""
        cdef matrix mz, my
        padded = aligned_zeros((z.shape[0], -(-z.shape[1] // 16) * 16), self.dtype)
        padded[:, :z.shape[1]] = z
        _matrix(padded, self.k.size, True, &mz)
        _matrix(y, self.k.size, True, &my)
        if my.rows != mz.rows or my.cols != z.shape[1]:
            raise ValueError("shapes do not fit")
        (self.k.log_softmax if log else self.k.softmax)(
            my.rows, my.cols, mz.data, mz.ld, my.data, my.ld)

    def softmax_slope(self, y, dy, dz, log=False):
        """dz = y * (dy - sum_j dy_j y_j) of each row, or of log_softmax; dz may be dy."""
        cdef matrix my, md, mz
        _matrix(y, self.k.size, False, &my)
        _matrix(dy, self.k.size, False, &md)
        _matrix(dz, self.k.size, True, &mz)
        if not (my.rows == md.rows == mz.rows and my.cols == md.cols == mz.cols):
            raise ValueError("shapes do not fit")
        (self.k.log_softmax_slope if log else self.k.softmax_slope)(
            my.rows, my.cols, my.data, my.ld, md.data, md.ld, mz.data, mz.ld)

    def loss(self, name, y, t, dy, scale=1.0, parameters=None, weights=None):
        """The summed value; dy = its slope times scale. t: values, or int64 labels."""
        cdef nnc_loss_args g
        keep = self.loss_args(name, y, t, scale, parameters, weights, &g)
        value = self.k.loss[<int>_loss_code[name]](&g)
        dy[...] = keep[1][:, :y.shape[1]]
        return value

    def loss_values(self, name, y, t, values, parameters=None):
        """values[i] = the value of row i, a vector of float64."""
        cdef nnc_loss_args g
        cdef int code = _loss_code[name]
        keep = self.loss_args(name, y, t, 1.0, parameters, None, &g)
        cdef ptrdiff_t rows = g.rows, i
        cdef double *to = <double *>_vector(values, rows, sizeof(double), True)
        g.rows = 1
        for i in range(rows):
            to[i] = self.k.loss[code](&g)
            g.y = <char *>g.y + g.ldy * <ptrdiff_t>self.k.size
            if g.labels != NULL:
                g.labels += 1
            else:
                g.t = <char *>g.t + g.ldt * <ptrdiff_t>self.k.size

    cdef tuple loss_args(self, name, y, t, scale, parameters, weights, nnc_loss_args *g):
        """Fills g; returns the arenas (y, dy) that it points to."""
        cdef matrix my, mt, md
        memset(g, 0, sizeof(g[0]))
        if parameters is None:
            parameters = LOSSES[name]["hyper"].values()
        g.a, g.b = (*parameters, 0, 0)[:2]
        if weights is not None:
            g.weights = <const double *>_vector(weights, y.shape[0], sizeof(double), False)
        width = -(-y.shape[1] // 16) * 16
        arena_y, arena_dy = [aligned_zeros((y.shape[0], width), self.dtype) for _ in range(2)]
        arena_y[:, :y.shape[1]] = y
        _matrix(arena_y, self.k.size, True, &my)
        _matrix(arena_dy, self.k.size, True, &md)
        g.rows, g.n, g.scale = my.rows, y.shape[1], scale
        g.y, g.ldy, g.dy, g.lddy = my.data, my.ld, md.data, md.ld
        if t.ndim == 1:
            g.labels = <const int64_t *>_vector(t, my.rows, sizeof(int64_t), False)
        else:
            _matrix(t, self.k.size, False, &mt)
            if mt.rows != g.rows or mt.cols * LOSSES[name]["per_target"] != g.n:
                raise ValueError("shapes do not fit")
            g.t, g.ldt = mt.data, mt.ld
        return arena_y, arena_dy

    def loss_curve(self, name, y, t, r, dy, scale=1.0, parameters=None, weights=None):
        """dy = scale times the Hessian of the summed loss times r; arguments as in `loss`."""
        cdef matrix mr
        cdef nnc_loss_args g
        _matrix(r, self.k.size, False, &mr)
        if mr.rows != y.shape[0] or mr.cols != y.shape[1]:
            raise ValueError("shapes do not fit")
        keep = self.loss_args(name, y, t, scale, parameters, weights, &g)
        self.k.other.loss_curve[<int>_loss_code[name]](&g, mr.data, mr.ld)
        dy[...] = keep[1][:, :y.shape[1]]

    def column_sums(self, x, s, accumulate=False):
        """s (+)= the sum over the rows of x, at most BLOCK of them."""
        cdef matrix m
        _matrix(x, self.k.size, False, &m)
        if m.rows > NNC_BLOCK:
            raise ValueError("too many rows")
        self.k.column_sums(m.rows, m.cols, m.data, m.ld,
                           _vector(s, m.cols, self.k.size, True), accumulate)

    def gather(self, index, x, y):
        """y[i] = x[index[i]]"""
        cdef matrix mx, my
        _matrix(x, self.k.size, False, &mx)
        _matrix(y, self.k.size, True, &my)
        cdef char *at = _vector(index, my.rows, sizeof(int64_t), False)
        if mx.cols != my.cols or (my.rows and (index.min() < 0 or index.max() >= mx.rows)):
            raise ValueError("shapes do not fit")
        self.k.gather(my.rows, my.cols, <const int64_t *>at, mx.data, mx.ld, my.data, my.ld)

    def finite(self, x):
        """Whether no element of the vector x is infinite or NaN."""
        return bool(self.k.finite(len(x), _vector(x, len(x), self.k.size, False)))

    def update(self, name, theta, gradient, state, hyper, t):
        """The t-th update (t from 1) of the vector theta, in place."""
        cdef double h[8]
        cdef double coef[8]
        cdef void *vectors[4]
        cdef int code = _opt_code[name]
        cdef ptrdiff_t n = len(theta)
        if len(state) != nnc_opts[code].vectors or len(hyper) != nnc_opts[code].n_hyper:
            raise ValueError("state or hyper-parameters do not fit the rule")
        for i, value in enumerate(hyper):
            h[i] = value
        for i, vector in enumerate(state):
            vectors[i] = _vector(vector, n, self.k.size, True)
        nnc_opt_coefficients(<nnc_opt>code, h, t, coef)
        self.k.update[code](n, _vector(theta, n, self.k.size, True),
                            _vector(gradient, n, self.k.size, False), vectors, coef)

    def shape(self, theta, gradient, l1=0.0, l2=0.0, limit=float("inf"), scale=1.0):
        """The gradient with penalties, limited and scaled, in place."""
        cdef ptrdiff_t n = len(theta)
        cdef nnc_shaping s = nnc_shaping(l1=l1, l2=l2, limit=limit, scale=scale, keep=1)
        self.k.other.shape(n, _vector(theta, n, self.k.size, False),
                           _vector(gradient, n, self.k.size, True), &s)

    def decay(self, theta, keep):
        """theta *= keep, settled."""
        self.k.other.decay(len(theta), _vector(theta, len(theta), self.k.size, True), keep)

    def norms(self, x):
        """The sums of |x| and of x^2, of a matrix."""
        cdef matrix m
        cdef double sums[2]
        _matrix(x, self.k.size, False, &m)
        self.k.other.norms(m.rows, m.cols, m.data, m.ld, sums)
        return sums[0], sums[1]

    def limit_columns(self, w, limit):
        """Columns of w with a larger norm are scaled to it, in place."""
        cdef matrix m
        _matrix(w, self.k.size, True, &m)
        self.k.other.limit_columns(m.rows, m.cols, m.data, m.ld, limit)

    def average(self, to, x, weight):
        """to += weight (x - to)"""
        cdef double coef = weight
        cdef ptrdiff_t n = len(to)
        self.k.other.average(n, _vector(to, n, self.k.size, True),
                             _vector(x, n, self.k.size, False), NULL, &coef)

    def fma_probe(self, iterations):
        """Runs fused multiply-adds on registers alone; returns the operations done."""
        cdef double sink[8]
        cdef ptrdiff_t n = iterations
        cdef double operations
        with nogil:
            operations = self.k.fma_probe(n, sink)
        return operations
