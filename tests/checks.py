"""What the tests share: inputs, guarded arrays, error models, comparers and exact arithmetic.

Nothing here runs the engine: what a kernel is compared with must not come from a kernel. The
comparers raise AssertionError themselves, and test_checkers.py shows that they do.

Errors are counted in roundings of u = eps / 2: n of them in a row leave at most gamma(n), relative.
Where a model says "products" it counts the rounding of a product on its own, which only
instruction sets without fused multiply-add make.
"""

from functools import lru_cache, partial
from itertools import count

import numpy as np

from nncore.layers import Step

BLOCK = 256  # NNC_BLOCK of nnc.h, written again: it is part of what the engine promises
ALIGN = 64
MARGIN = 256  # bytes around guarded arrays: NNC_SLACK, which may be read behind a gemm's b

# --- Types ----------------------------------------------------------------------------------------


def wide(dtype):
    """The type that references of this dtype are computed in."""
    return np.dtype(np.float64 if np.dtype(dtype) == np.float32 else np.longdouble)


def unit(dtype):
    """u: the largest relative error of one rounding, with that of the wider reference added."""
    return (np.finfo(dtype).eps + np.finfo(wide(dtype)).eps) / 2


def gamma(n, dtype):
    """The largest relative error that n roundings in a row leave."""
    n = n * wide(dtype).type(unit(dtype))
    return n / (1 - n)


def tiny(dtype):
    """The distance of the numbers next to zero: the error of a result that underflows."""
    return wide(dtype).type(np.finfo(dtype).smallest_subnormal)


def ulp(values, dtype):
    """The distance between neighbours of dtype at these values of a wider type."""
    values, bits = np.asarray(values, wide(dtype)), np.finfo(dtype).nmant + 1
    least = np.finfo(dtype).minexp - bits + 1
    exponent = np.where(values == 0, least, np.maximum(np.frexp(values)[1] - bits, least))
    return np.ldexp(wide(dtype).type(1), exponent)


# --- Inputs ---------------------------------------------------------------------------------------


def noise(shape, dtype, seed=0, scale=1.0):
    """Normal numbers that are the same in every run."""
    shape = tuple(np.atleast_1d(shape).tolist())
    return (scale * _drawn("standard_normal", shape, seed)).astype(dtype)


def integers(shape, dtype, seed=0):
    """Whole numbers so small that sums of thousands of products are exact in float32."""
    shape = tuple(np.atleast_1d(shape).tolist())
    return np.floor(127 * _drawn("random", shape, seed) - 63).astype(dtype)


@lru_cache(10_000)
def _drawn(distribution, shape, seed):
    x = getattr(np.random.default_rng([seed, *shape]), distribution)(shape)
    assert_varies(x)
    return x


def assert_varies(x):
    """Equal inputs hide swapped, repeated and skipped elements."""
    x = np.asarray(x)
    few = min(x.size, 8)
    if few > 2:
        distinct = len(np.unique(x))
        assert distinct >= few // 2, f"only {distinct} distinct values of {x.size}"


# --- Guarded arrays -------------------------------------------------------------------------------


_POOL = np.random.default_rng(4).uniform(-2, -1, 1 << 16)
_places = count(step=7919)


def _canaries(size, dtype):
    """Numbers that no two arrays have at the same place, and that every activation changes."""
    return _POOL[(next(_places) + np.arange(size)) % len(_POOL)].astype(dtype)


def _amid(shape, dtype, gap, start, around):
    """An array, the flat array it lies in, and which elements of that are its own."""
    dtype, shape = np.dtype(dtype), tuple(np.atleast_1d(shape).tolist())
    rows, columns = shape if len(shape) == 2 else (1, *shape)
    margin = MARGIN // dtype.itemsize
    first, ld = margin + start, columns + gap
    size = first + rows * ld + margin
    block = np.empty(size * dtype.itemsize + ALIGN, np.uint8)
    offset = -block.ctypes.data % ALIGN
    flat = block[offset : offset + size * dtype.itemsize].view(dtype)
    flat[:] = around(size, dtype)
    own = np.zeros(size, bool)

    def view(of):
        of = of[first : first + rows * ld].reshape(rows, ld)[:, :columns]
        return of if len(shape) == 2 else of[0]

    view(own)[...] = True
    return view(flat), flat, own


def guarded(shape, dtype, gap=0, start=0):
    """Return (array, intact): an array to write to, and what asserts that only it was written.

    The array starts `start` elements behind a multiple of 64 bytes, and its rows have `gap`
    elements between them. It holds arbitrary numbers, and so does all that is around it.
    """
    array, flat, own = _amid(shape, dtype, gap, start, _canaries)
    bits = np.dtype(f"u{flat.dtype.itemsize}")
    before = flat.view(bits)[~own]

    def intact():
        changed = np.flatnonzero(flat.view(bits)[~own] != before)
        if len(changed):
            at = np.flatnonzero(~own)[changed[0]] - MARGIN // flat.dtype.itemsize - start
            raise AssertionError(
                f"written outside: {len(changed)} elements, the first {at} from the start of an "
                f"array of shape {array.shape} with {gap} elements between rows"
            )

    return array, intact


def placed(values, gap=0, start=0):
    """A copy of the values amid NaNs: reading beside it shows."""
    values = np.asarray(values)
    missing = np.nan if values.dtype.kind == "f" else np.iinfo(values.dtype).min
    array, _, _ = _amid(
        values.shape, values.dtype, gap, start, lambda size, dtype: np.full(size, missing, dtype)
    )
    array[...] = values
    return array


# --- Comparers ------------------------------------------------------------------------------------


def _assert_alike(got, want):
    assert isinstance(got, np.ndarray), f"got a {type(got).__name__}, not an array"
    assert got.shape == np.shape(want), f"shape {got.shape}, expected {np.shape(want)}"


def _show(got, want, wrong, note=""):
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{np.count_nonzero(wrong)} of {wrong.size} elements, the first at {at}: "
        f"{got[at]!r}, expected {np.asarray(want)[at]!r}{note}"
    )


def assert_same_bits(got, want):
    """Every byte is the same, those of zeros' signs too; NaN need only stand where NaN stands."""
    want = np.asarray(want)
    _assert_alike(got, want)
    assert got.dtype == want.dtype, f"dtype {got.dtype}, expected {want.dtype}"
    bits = np.dtype(f"u{got.dtype.itemsize}")
    a, b = np.ascontiguousarray(got), np.ascontiguousarray(want)
    wrong = a.view(bits) != b.view(bits)
    if got.dtype.kind == "f":
        wrong &= ~(np.isnan(a) & np.isnan(b))
    assert not wrong.any(), "bits differ in " + _show(got, want, wrong)


def assert_close(got, want, bound):
    """|got - want| <= bound, element by element; `want` and `bound` are of a wider type.

    A comparison that an array of zeros would pass proves nothing and fails.
    """
    want = np.asarray(want)
    _assert_alike(got, want)
    assert want.dtype.itemsize > got.dtype.itemsize or want.dtype == np.longdouble, (
        f"a {want.dtype} is too coarse to judge {got.dtype}"
    )
    if got.size == 0:
        return
    bound = np.broadcast_to(bound, want.shape)
    assert np.isfinite(want).all() and np.isfinite(bound).all(), "the reference is not finite"
    assert (np.abs(want) > bound).any(), "the bound is so wide that zeros would pass"
    if want.size > 2:
        assert np.ptp(want) > 0, "all expected values are equal: swaps would pass"
    error = np.abs(got.astype(want.dtype) - want)
    wrong = ~(error <= bound)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0])
        note = f", error {float(error[at]):.3g} above the bound {float(bound[at]):.3g}"
        raise AssertionError("wrong in " + _show(got, want, wrong, note))


def assert_near(got, want, roundings, dtype=None):
    """|got - want| <= roundings * eps * the largest |want|, eps of `dtype`, by default got's.

    That is what two results may differ by that were summed in other orders, so many roundings of
    numbers of that size; both may be of the same type.
    """
    got, want = np.asarray(got), np.asarray(want)
    _assert_alike(got, want)
    bound = roundings * np.finfo(dtype or got.dtype).eps * np.abs(want).max(initial=0)
    assert np.isfinite(bound), "the reference is not finite"
    wrong = ~(np.abs(got - want) <= bound)
    if wrong.any():
        note = f", error {np.abs(got - want).max():.3g} above the bound {bound:.3g}"
        raise AssertionError("wrong in " + _show(got, want, wrong, note))


def assert_ulps(got, want, most):
    """|got - want| <= most units in the last place; NaN where NaN is expected, and only there.

    Where no type is wider than float64, what is expected may itself be one off.
    """
    want = np.asarray(want)
    _assert_alike(got, want)
    most += most > 0 and np.finfo(want.dtype).eps == np.finfo(got.dtype).eps
    if got.size > 2:
        assert len(np.unique(want)) > 1, "all expected values are equal: swaps would pass"
    nan = np.isnan(want)
    wrong = nan != np.isnan(got)
    assert not wrong.any(), "NaN misplaced in " + _show(got, want, wrong)
    # Beyond the largest number stands the next power of two, one ulp on.
    top = np.ldexp(want.dtype.type(1), np.finfo(got.dtype).maxexp)
    cut = [np.clip(np.where(nan, 0, a.astype(want.dtype)), -top, top) for a in (got, want)]
    spacing = ulp(np.minimum(np.abs(cut[1]), np.finfo(got.dtype).max), got.dtype)
    error = np.abs(cut[0] - cut[1]) / spacing
    if (error > most).any():
        worst = error == error.max()
        raise AssertionError(f"{float(error.max()):.3f} ulp in " + _show(got, want, worst))


def distance(a, b):
    """|a - b| / (|a| + |b|) of two vectors, which must not be nearly zero."""
    a, b = np.asarray(a, np.longdouble), np.asarray(b, np.longdouble)
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    size = np.linalg.norm(a) + np.linalg.norm(b)
    assert size > 1e-3, f"norm {float(size):.2g}: this would compare rounding errors"
    assert np.ptp(b) > 0 or b.size == 1, "all elements are equal: swaps would pass"
    return float(np.linalg.norm(a - b) / size)


# --- Correctly rounded arithmetic -----------------------------------------------------------------
# Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using
# rounding to odd" (2008): a sum rounded to odd in a longer type, then to nearest, is rounded once.


def _two_sum(a, b):  # a + b = s + e, exactly
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def _two_product(a, b):  # a b = p + e, exactly (Dekker)
    def halves(x):
        t = x * 134217729.0  # 2^27 + 1
        high = t - (t - x)
        return high, x - high

    p = a * b
    (ah, al), (bh, bl) = halves(a), halves(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _odd_sum(a, b):  # a + b in float64, rounded to odd where it is not exact
    s, e = _two_sum(a, b)
    even = s.view(np.int64) & 1 == 0
    return np.where((e != 0) & even, np.nextafter(s, np.copysign(np.inf, e)), s)


def fma(a, b, c):
    """a b + c, rounded once, of arrays of float32 or float64 (without overflow or underflow)."""
    a, b, c = np.broadcast_arrays(a, b, c)
    if c.dtype == np.float32:
        product = a.astype(np.float64) * b.astype(np.float64)  # exact
        return _odd_sum(product, c.astype(np.float64)).astype(np.float32)
    high, low = _two_product(a, b)
    middle, lowest = _two_sum(c, low)
    top, rest = _two_sum(high, middle)
    return top + _odd_sum(lowest, rest)


def multiply_add(fused):
    """fma, or the same with two roundings as an instruction set without it computes it."""
    return fma if fused else lambda a, b, c: a * b + c


def canonical_product(a, b, c=None, bias=None, fused=True):
    """(c +) a b (+ bias), in the order and with the roundings that nnc.h promises."""
    step = multiply_add(fused)
    for first in range(0, max(a.shape[1], 1), BLOCK):
        total = np.zeros((a.shape[0], b.shape[1]), a.dtype)
        for p in range(first, min(first + BLOCK, a.shape[1])):
            total = step(a[:, p, None], b[None, p, :], total)
        c = total if c is None else c + total
    return c if bias is None else c + bias


def canonical_column_sums(x, s=None):
    """(s +) the sums over rows, in increasing order."""
    total = np.zeros(x.shape[1], x.dtype)
    for row in x:
        total = total + row
    return total if s is None else s + total


def canonical_update(name, fused, theta, g, state, hyper, t):
    """The rows of optimizers.def, operation by operation."""
    real, fma = theta.dtype.type, multiply_add(fused)
    if name == "sgd":
        return fma(real(-hyper[0]), g, theta), []
    if name in ("momentum", "nesterov"):
        lr, mu = map(real, hyper)
        v = fma(mu, state[0], g)
        return fma(-lr, fma(mu, v, g) if name == "nesterov" else v, theta), [v]
    return _CANONICAL[name](real, fma, theta, g, state, t, *hyper)


def _moments(real, fma, g, state, b1, b2):
    m = fma(real(b1), state[0], real(1 - b1) * g)
    return m, fma(real(b2), state[1], real(1 - b2) * (g * g))


def _adam(real, fma, theta, g, state, t, lr, b1, b2, eps, *, largest=False, keras=False):
    m, v = _moments(real, fma, g, state, b1, b2)
    top = np.maximum(v, state[2]) if largest else v
    root = 1 / np.sqrt(1 - b2**t)
    below = fma(np.sqrt(top), real(root), real(eps * root if keras else eps))
    theta = fma(-real(lr / (1 - b1**t)), m / below, theta)
    return theta, [m, v, top] if largest else [m, v]


def _dampened(real, fma, theta, g, state, t, lr, mu, dampening):
    v = fma(real(mu), state[0], real(1 if t == 1 else 1 - dampening) * g)
    return fma(real(-lr), v, theta), [v]


def _velocity(real, fma, theta, g, state, t, lr, mu, *, nesterov=False):
    v = fma(real(mu), state[0], real(lr) * g)
    return theta - (fma(real(mu), v, real(lr) * g) if nesterov else v), [v]


def _adagrad(real, fma, theta, g, state, t, lr, lr_decay, eps, eps_root):
    s = fma(g, g, state[0])
    below = np.sqrt(s + real(eps_root)) + real(eps)
    return fma(-real(lr / (1 + (t - 1) * lr_decay)), g / below, theta), [s]


def _adadelta(real, fma, theta, g, state, t, lr, rho, eps):
    s = fma(real(rho), state[0], real(1 - rho) * (g * g))
    d = g * (np.sqrt(state[1] + real(eps)) / np.sqrt(s + real(eps)))
    return fma(-real(lr), d, theta), [s, fma(real(rho), state[1], real(1 - rho) * (d * d))]


def _rmsprop(real, fma, theta, g, state, t, lr, rho, eps, eps_root, mu=None, early=0, *,
             centered=False):  # fmt: skip
    s = fma(real(rho), state[0], real(1 - rho) * (g * g))
    state, under = [s, *state[1:]], s
    if centered:
        state[1] = fma(real(rho), state[1], real(1 - rho) * g)
        under = np.maximum(fma(-state[1], state[1], s), real(0))
    move = g / (np.sqrt(under + real(eps_root)) + real(eps))
    if mu is not None:
        state[-1] = move = fma(real(mu), state[-1], real(lr if early else 1) * move)
    return fma(-real(1 if early else lr), move, theta), state


def _adamax(real, fma, theta, g, state, t, lr, b1, b2, eps, eps_max):
    m = fma(real(b1), state[0], real(1 - b1) * g)
    u = np.maximum(np.abs(g) + real(eps_max), real(b2) * state[1])
    return fma(-real(lr / (1 - b1**t)), m / (u + real(eps)), theta), [m, u]


def _nadam(real, fma, theta, g, state, t, lr, b1, b2, eps, decay):
    m, v = _moments(real, fma, g, state, b1, b2)
    mu = [b1 * (1 - 0.5 * 0.96 ** (i * decay)) for i in range(1, t + 2)]
    product = np.prod(mu[:-1])
    c0, c1 = lr * (1 - mu[-2]) / (1 - product), lr * mu[-1] / (1 - product * mu[-1])
    below = fma(np.sqrt(v), real(1 / np.sqrt(1 - b2**t)), real(eps))
    return theta - fma(real(c0), g, real(c1) * m) / below, [m, v]


def _radam(real, fma, theta, g, state, t, lr, b1, b2, eps):
    m, v = _moments(real, fma, g, state, b1, b2)
    n = 2 / (1 - b2) - 1
    length = n - 2 * t * b2**t / (1 - b2**t)
    rate = lr / (1 - b1**t)
    if length <= 5:
        return fma(-real(rate), m, theta), [m, v]
    r = (length - 4) * (length - 2) * n / ((n - 4) * (n - 2) * length) * (1 - b2**t)
    return fma(-real(rate * np.sqrt(r)), m / (np.sqrt(v) + real(eps)), theta), [m, v]


def _lion(real, fma, theta, g, state, t, lr, b1, b2):
    (m,) = state
    theta = fma(-real(lr), np.sign(fma(real(b1), m, real(1 - b1) * g)), theta)
    return theta, [fma(real(b2), m, real(1 - b2) * g)]


_CANONICAL = {
    "adam": _adam,
    "adam_keras": partial(_adam, keras=True),
    "amsgrad": partial(_adam, largest=True),
    "amsgrad_keras": partial(_adam, largest=True, keras=True),
    "dampened": _dampened,
    "velocity": _velocity,
    "velocity_nesterov": partial(_velocity, nesterov=True),
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "rmsprop": _rmsprop,
    "rmsprop_momentum": _rmsprop,
    "rmsprop_centered": partial(_rmsprop, centered=True),
    "rmsprop_centered_momentum": partial(_rmsprop, centered=True),
    "adamax": _adamax,
    "nadam": _nadam,
    "radam": _radam,
    "lion": _lion,
}


# --- Activations in a wider type ------------------------------------------------------------------


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def silu_slope(x):
    """On the left a product, on the right 1 minus that of -x."""
    y = np.minimum(np.abs(x), 1e4)
    left = (1 - y * sigmoid(y)) * sigmoid(-y)
    return np.where(x < 0, left, 1 - left)


def _pair_product(a, b):
    """a b = p + e, exactly but for underflow, in the type of the arrays (Dekker)."""
    p = a * b
    factor = p.dtype.type(2) ** ((np.finfo(p.dtype).nmant + 2) // 2) + 1

    def halves(x):
        t = x * factor
        high = t - (t - x)
        return high, x - high

    (ah, al), (bh, bl) = halves(a), halves(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def exp_minus_square(x, half=1):
    """exp(-half x^2), without what the rounded square would lose."""
    x = np.clip(x, -200, 200)
    square, rest = _pair_product(x, x)
    return np.exp(-half * square) * (1 - half * rest)


def density(x):
    """Of the normal distribution."""
    return exp_minus_square(x, x.dtype.type(0.5)) / np.sqrt(2 * _constant("pi", x.dtype))


def _constant(name, dtype):
    digits = {"pi": "3.14159265358979323846264338327950288", "cube": "0.044715"}
    return np.longdouble(digits[name]).astype(dtype)


def normal(x):
    """The normal distribution, on the left to all its digits: a series near 0, a continued
    fraction for the tail."""
    y = np.abs(x)
    near = term = np.minimum(y, 1.5)
    for n in range(3, 60, 2):
        term = term * np.square(np.minimum(y, 1.5)) / n
        near = near + term
    fraction = np.maximum(y, 1.5)
    for n in range(200, 0, -1):
        fraction = np.maximum(y, 1.5) + n / fraction
    left = np.where(y < 1.5, x.dtype.type(0.5) - density(y) * near, density(y) / fraction)
    return np.where(x < 0, left, 1 - left)


def gelu_slope(x):
    return normal(x) + np.clip(x, -200, 200) * density(x)


def gelu_argument(x):
    """2 sqrt(2 / pi) (x + 0.044715 x^3), x cut at 30, as a sum of two, and its derivative."""
    x = np.clip(x, -30, 30)
    g = np.sqrt(8 / _constant("pi", x.dtype))
    exact = np.longdouble("1.59576912160573071175978423973752747") - np.longdouble(g)
    square, lost_square = _pair_product(x, x)
    cube = _constant("cube", x.dtype)
    of_cube = (np.longdouble("0.044715") - np.longdouble(cube)).astype(x.dtype)
    scaled, lost_scaled = _pair_product(cube, square)
    factor = 1 + scaled
    low = np.where(scaled < 1, (scaled - (factor - 1)), (1 - (factor - scaled)))
    low = low + lost_scaled + cube * lost_square + of_cube * square
    product, lost_product = _pair_product(x, factor)
    v, lost = _pair_product(g, product)
    rest = lost + g * (lost_product + x * low) + exact.astype(x.dtype) * product
    return v, rest, g * (1 + 3 * cube * square)


def gelu_tanh_parts(x):
    """s(v), s(-v) and v' where v is the argument, each to all its digits."""
    v, rest, rise = gelu_argument(np.abs(x))
    small = np.exp(-v) * (1 - rest)
    small, large = small / (1 + small), 1 / (1 + small)
    return np.where(x < 0, small, large), np.where(x < 0, large, small), rise


def gelu_tanh_slope(x):
    s, other, rise = gelu_tanh_parts(x)
    return s * (1 + np.clip(x, -30, 30) * rise * other)


def mish_parts(x):
    """t = tanh(log(1 + exp(x))), t' and t'', with q = exp(-|x|)."""
    q = np.exp(-np.abs(x))
    d = np.where(x < 0, 2 + 2 * q + q * q, 1 + 2 * q + 2 * q * q)
    t = np.where(x < 0, q * (2 + q), 1 + 2 * q) / d
    scale = np.where(x < 0, q, q * q)
    first = 4 * scale * (1 + q) / d**2
    left = (1 + 2 * q) * d - 4 * q * (1 + q) ** 2
    right = (2 + q) * d - 4 * (1 + q) ** 2
    return t, first, 4 * scale * np.where(x < 0, left, right) / d**3


def mish_slope(x):
    t, first, _ = mish_parts(x)
    return t + np.clip(x, -1e4, 1e4) * first


def tanhshrink(x):
    """x - tanh(x); near 0 from the continued fraction of tanh."""
    z = np.square(np.clip(x, -1, 1))
    fraction = 41
    for n in range(39, 1, -2):
        fraction = n + z / fraction
    return np.where(np.abs(x) < 1, x * z / (fraction + z), x - np.tanh(x))


def half_root(x, b=4):
    """Half of |x| + sqrt(x^2 + b), and the root."""
    root = np.hypot(x, np.sqrt(x.dtype.type(b)))
    return np.abs(x) / 2 + root / 2, root


def turned(function):
    """sin or cos; NaN where the engine no longer has a phase."""

    def of(x, end=None):
        end = end or (2.0**20 if x.dtype == np.float64 else 2.0**49)
        return function(np.where(np.abs(x) < end, x, np.nan))

    return of


def _softsign(x):
    return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(np.where(np.isinf(x), 1, x))))


SELU_SCALE = np.longdouble("1.0507009873554804934193349852946")
SELU_ALPHA = np.longdouble("1.6732632423543772848170429916717")
SELU_LEFT = SELU_SCALE * SELU_ALPHA
TRUTH = {
    "identity": lambda x: x,
    "relu": lambda x: np.where(x < 0, 0, x),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softplus": lambda x: np.where(x < 0, 0, x) + np.log1p(np.exp(-np.abs(x))),
    "softsign": _softsign,
    "leaky_relu": lambda x: np.where(x > 0, x, x / 100),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hard_sigmoid": lambda x: np.clip((x + 3) / 6, 0, 1),
    "elliot": lambda x: np.where(x < 0, 1 / (1 - x), 2 - 1 / (1 + x)) / 2,
    "log_sigmoid": lambda x: np.where(x < 0, x, 0) - np.log1p(np.exp(-np.abs(x))),
    "silu": lambda x: np.where(x == -np.inf, 0, x * sigmoid(x)),
    "selu": lambda x: (SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x))).astype(x.dtype),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: np.maximum(x, -200) * normal(x),
    "gelu_tanh": lambda x: np.maximum(x, -30) * gelu_tanh_parts(x)[0],
    "mish": lambda x: np.maximum(x, -1e4) * mish_parts(x)[0],
    "hard_swish": lambda x: np.maximum(x, -4) * np.clip(x + 3, 0, 6) / 6,
    "tanhshrink": tanhshrink,
    "hard_shrink": lambda x: np.where(np.abs(x) <= 0.5, 0, x),
    "softshrink": lambda x: x - np.clip(x, -0.5, 0.5),
    "threshold": lambda x: np.where(x <= 1, 0, x),
    "squareplus": lambda x: np.where(x < 0, 1 / half_root(x)[0], half_root(x)[0]),
    "exponential": np.exp,
    "sin": turned(np.sin),
    "gaussian": exp_minus_square,
    "satlin": lambda x: np.clip(x, 0, 1),
    "tribas": lambda x: np.where(np.abs(x) < 1, 1 - np.abs(x), np.where(np.isnan(x), x, 0)),
}
# Where a derivative crosses zero, digits cancel: its error there, relative to eps.
NEAR_ZERO = {"silu": 1 / 4, "gelu": 1 / 4, "gelu_tanh": 1 / 4, "mish": 1 / 4}


def truth(name, x):
    """f(x) in the wider type of x's."""
    with np.errstate(all="ignore"):
        return TRUTH[name](x.astype(wide(x.dtype)))


def softmax(z):
    """softmax of each row, in the wider type of z's."""
    z = z.astype(wide(z.dtype))
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# --- Networks -------------------------------------------------------------------------------------


PARAMETERS = {
    "leaky_relu": (0.01,), "hard_shrink": (0.5,), "softshrink": (0.5,), "threshold": (1.0, 0.0),
    "squareplus": (4.0,),
    **dict.fromkeys(("sigmoid", "tanh", "softplus", "softsign", "elu", "elliot", "celu", "sin",
                     "gaussian"), (1.0,)),
}  # fmt: skip


def lower(n_in, *layers, bias=True, lead=0):
    """Return (steps, n_params) of dense layers given as (n_out, activation).

    `lead` parameters that belong to nobody come first, to move the others off alignment.
    """
    steps, n_params = [], lead
    for n_out, activation in layers:
        w, b = n_params, n_params + n_in * n_out
        n_params = b + n_out * bias
        a = PARAMETERS.get(activation, ())
        steps.append(Step("dense", n_in, n_out, activation, a, w, b if bias else -1))
        n_in = n_out
    return steps, n_params


def central_differences(f, theta, h=1e-5):
    """The gradient of f() with respect to the array theta, which f reads."""
    gradient = np.empty_like(theta)
    for i in np.ndindex(theta.shape):
        middle = theta[i]
        theta[i] = middle + h
        above = f()
        theta[i] = middle - h
        gradient[i] = (above - f()) / (2 * h)
        theta[i] = middle
    return gradient
