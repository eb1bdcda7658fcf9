"""Every row of activations.def: values, slopes, special values, and every place in a vector."""

from functools import lru_cache

import numpy as np
import pytest

from nncore import _core
from nncore.reference import ACTIVATIONS

from .checks import (
    PARAMETERS,
    SELU_LEFT,
    SELU_SCALE,
    TRUTH,
    assert_close,
    assert_same_bits,
    assert_ulps,
    exp_minus_square,
    gamma,
    gelu_slope,
    gelu_tanh_slope,
    guarded,
    mish_slope,
    noise,
    placed,
    silu_slope,
    tiny,
    truth,
    turned,
    ulp,
    unit,
    wide,
)

NAMES = pytest.mark.parametrize("name", _core.ACTIVATIONS)
KEEPS = {name: row["keeps"] for name, row in _core.ACTIVATIONS.items()}


def test_every_activation_has_a_truth():
    assert TRUTH.keys() == _core.ACTIVATIONS.keys() == SLOPES.keys() == LIMITS.keys()


def test_defaults_of_parameters():
    for name, row in _core.ACTIVATIONS.items():
        assert tuple(row["parameters"].values()) == PARAMETERS.get(name, ())


@lru_cache
def sample(dtype):
    """Numbers of all sizes: every 19997th float, or random doubles; and the corners. No NaN."""
    info = np.finfo(dtype)
    if dtype == np.float32:
        x = np.arange(0, 2**32, 19_997, dtype=np.uint64).astype(np.uint32).view(np.float32)
    else:
        rng = np.random.default_rng(5)
        bits = rng.integers(0, 2**64, 50_000, dtype=np.uint64)
        evenly = [rng.uniform(-w, w, 12_000) for w in (0.05, 0.4, 1, 2, 5, 20, 40, 100, 760, 1e4)]
        x = np.concatenate([bits.view(np.float64), *evenly])
    corners = [0, info.smallest_subnormal, info.tiny / 3, info.tiny, info.eps**2, info.eps / 4,
               info.eps / 2, info.eps, 0.5, 1, 2, 17, 37, 87, 88.7, 103, 104, 709, 746, 1e10, 1e30,
               info.max / 2, info.max, np.inf]  # fmt: skip
    x = np.concatenate([x[~np.isnan(x)], np.array([*corners, *np.negative(corners)], dtype)])
    x.flags.writeable = False
    return x


@lru_cache
def true_values(name, dtype):
    return truth(name, sample(dtype))


def apply(kernels, name, x):
    y, intact = guarded(x.shape, kernels.dtype)
    kernels.activation(name, np.ascontiguousarray(x), y)
    intact()
    return y


def kept_of(kernels, name, written_in):
    """What the slope is taken from: y, or what is made of x on the way up."""
    if KEEPS[name] != "x":
        return written_in
    x, intact = guarded(written_in.shape, kernels.dtype)
    y, y_intact = guarded(written_in.shape, kernels.dtype)
    x[...] = written_in
    kernels.activation(name, x, y, keep=True)
    intact(), y_intact()
    assert_same_bits(y, apply(kernels, name, written_in))
    return x


def slope(kernels, name, written_in, dy=None):
    dx, intact = guarded(written_in.shape, kernels.dtype)
    kept = kept_of(kernels, name, written_in)
    kernels.slope(name, kept, np.ones_like(kept) if dy is None else dy, dx)
    intact()
    return dx


# --- Values ---------------------------------------------------------------------------------------


@NAMES
def test_values(kernels, fused, name):
    exact = name in ("identity", "relu", "hardtanh", "relu6", "hard_shrink", "threshold", "satlin")
    x, want = sample(kernels.dtype), true_values(name, kernels.dtype)
    most = 3 if name in WITHOUT_FMA_3 and not fused else 2
    if name == "sin" and not fused:  # turns are counted to some thousands
        near = np.abs(x) < 8000
        x, want = x[near], want[near]
    assert_ulps(apply(kernels, name, x), want, 0 if exact else most)


WITHOUT_FMA_3 = ("selu", "gelu", "gelu_tanh", "mish", "tanhshrink")

# At -inf, 0 and +inf; sigmoid, tanh and softsign reach their limits, and none leaves them.
LIMITS = {
    "identity": (-np.inf, 0, np.inf),
    "relu": (0, 0, np.inf),
    "sigmoid": (0, 0.5, 1),
    "tanh": (-1, 0, 1),
    "softplus": (0, np.log(2), np.inf),
    "softsign": (-1, 0, 1),
    "leaky_relu": (-np.inf, 0, np.inf),
    "elu": (-1, 0, np.inf),
    "hardtanh": (-1, 0, 1),
    "relu6": (0, 0, 6),
    "hard_sigmoid": (0, 0.5, 1),
    "elliot": (0, 0.5, 1),
    "log_sigmoid": (-np.inf, -np.log(2), 0),
    "silu": (0, 0, np.inf),
    "selu": (-1.7580993408473768, 0, np.inf),
    "celu": (-1, 0, np.inf),
    "gelu": (0, 0, np.inf),
    "gelu_tanh": (0, 0, np.inf),
    "mish": (0, 0, np.inf),
    "hard_swish": (0, 0, np.inf),
    "tanhshrink": (-np.inf, 0, np.inf),
    "hard_shrink": (-np.inf, 0, np.inf),
    "softshrink": (-np.inf, 0, np.inf),
    "threshold": (0, 0, np.inf),
    "squareplus": (0, 1, np.inf),
    "exponential": (0, 1, np.inf),
    "sin": (np.nan, 0, np.nan),
    "gaussian": (0, 1, 0),
    "satlin": (0, 0, 1),
    "tribas": (0, 1, 0),
}
# The least and the greatest value where it is none of these.
LEAST = {"silu": -0.2784646, "gelu": -0.1699713, "gelu_tanh": -0.1700408, "mish": -0.3088435,
         "hard_swish": -0.37500006, "sin": -1}  # fmt: skip
GREATEST = {"sin": 1, "gaussian": 1, "tribas": 1}


@NAMES
def test_special_values(kernels, name):
    dtype, (low, middle, high) = kernels.dtype, LIMITS[name]
    y = apply(kernels, name, np.array([-np.inf, 0, np.inf, -np.nan, np.nan], dtype))
    assert np.array_equal(y[[0, 2]], np.array([low, high], dtype), equal_nan=True)
    assert np.isnan(y[3:]).all()
    if name in ("softplus", "log_sigmoid"):
        assert_ulps(y[1:2], np.array([middle], wide(dtype)), 2)
    else:
        assert y[1] == middle
    values = apply(kernels, name, sample(dtype))
    assert np.nanmin(values) >= LEAST.get(name, dtype.type(low))
    assert np.nanmax(values) <= GREATEST.get(name, high)


@pytest.mark.parametrize("name", ["identity", "tanh", "softsign", "tanhshrink", "sin"])
def test_odd_functions(kernels, name):
    x = sample(kernels.dtype)
    assert_same_bits(apply(kernels, name, -x), -apply(kernels, name, x))
    zeros = np.array([0.0, -0.0], kernels.dtype)
    assert_same_bits(apply(kernels, name, zeros), zeros)


@pytest.mark.parametrize("name", ["identity", "relu", "tanh", "softsign", "sin"])
def test_denormals_survive(kernels, name):
    """Nothing flushes them to zero: near it these functions are x."""
    x = np.finfo(kernels.dtype).smallest_subnormal * np.arange(1, 90).astype(kernels.dtype)
    assert_same_bits(apply(kernels, name, x), x)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "softsign"])
def test_no_early_saturation(kernels, name):
    """Near the ends of its range the function still tells arguments apart."""
    x = np.array([5, 6, 7], kernels.dtype)
    assert (np.diff(apply(kernels, name, x)) > 0).all()
    assert (np.diff(apply(kernels, name, -x)) < 0).all()


# --- Places ---------------------------------------------------------------------------------------


@NAMES
def test_every_size_and_start(kernels, sizes, name):
    """An element's bits do not depend on where it stands, nor is anything else written."""
    x = 3 * noise(sizes[-1] + 20, kernels.dtype)
    dy = noise(x.shape, kernels.dtype, 1)
    whole = apply(kernels, name, x)
    whole_slope = slope(kernels, name, whole if KEEPS[name] == "y" else x, dy)
    kept = whole if KEEPS[name] == "y" else kept_of(kernels, name, x)
    for n in sizes:
        for shift in range(18):
            here = slice(shift, shift + n)
            y, intact = guarded(n, kernels.dtype, start=shift % 5)
            kernels.activation(name, placed(x[here], start=shift), y)
            intact()
            assert_same_bits(y, whole[here])
            if KEEPS[name] == "x":
                assert_same_bits(kept_of(kernels, name, x[here]), kept[here])
            dx, intact = guarded(n, kernels.dtype, start=shift % 3)
            kernels.slope(name, placed(kept[here], start=shift), placed(dy[here]), dx)
            intact()
            assert_same_bits(dx, whole_slope[here])


@NAMES
def test_in_place(kernels, sizes, name):
    for n in sizes:
        x, dy = 3 * noise(n, kernels.dtype), noise(n, kernels.dtype, 1)
        y, intact = guarded(n, kernels.dtype, start=1)
        y[:] = x
        kernels.activation(name, y, y)
        intact()
        assert_same_bits(y, apply(kernels, name, x))
        written_in = y.copy() if KEEPS[name] == "y" else x
        dx, intact = guarded(n, kernels.dtype, start=1)
        dx[:] = dy
        kernels.slope(name, kept_of(kernels, name, written_in), dx, dx)
        intact()
        assert_same_bits(dx, slope(kernels, name, written_in, dy))


@NAMES
def test_inputs_are_only_read(kernels, name):
    x, dy = noise(37, kernels.dtype), noise(37, kernels.dtype, 1)
    for array in (x, dy):
        array.flags.writeable = False
    before = x.tobytes(), dy.tobytes()
    apply(kernels, name, x)
    slope(kernels, name, x, dy)
    assert before == (x.tobytes(), dy.tobytes())


# --- Slopes ---------------------------------------------------------------------------------------

# Written in what is kept, in a form that is accurate in a wider type, with the error of computing
# it: roundings, each at most u relative, of terms of these sizes. The last is that of dy * slope.
SLOPES = {
    "identity": (np.ones_like, lambda y, s: 0 * s),
    "relu": (lambda y: (y > 0).astype(y.dtype), lambda y, s: 0 * s),
    "sigmoid": (lambda y: y * (1 - y), lambda y, s: 2 * s),
    # y * y has a rounding of its own without fused multiply-add; 1 in place of y^2 allows it.
    "tanh": (lambda y: (1 - y) * (1 + y), lambda y, s: s + y * y),
    "softplus": (lambda y: -np.expm1(-y), lambda y, s: 4 * s),  # expm1 is within 2 ulp
    "softsign": (lambda x: 1 / (1 + np.abs(x)) ** 2, lambda x, s: 5 * s),
    "leaky_relu": (lambda y: np.where(y > 0, 1, y.dtype.type(0.01)), lambda y, s: s),
    "elu": (lambda y: np.where(y > 0, 1, y + 1), lambda y, s: s),
    "hardtanh": (lambda y: (np.abs(y) < 1).astype(y.dtype), lambda y, s: 0 * s),
    "relu6": (lambda y: ((y > 0) & (y < 6)).astype(y.dtype), lambda y, s: 0 * s),
    "hard_sigmoid": (lambda x: (np.abs(x) < 3) / x.dtype.type(6), lambda x, s: s),
    "elliot": (lambda x: 0.5 / (1 + np.abs(x)) ** 2, lambda x, s: 5 * s),
    "log_sigmoid": (lambda y: -np.expm1(y), lambda y, s: 4 * s),
    "silu": (silu_slope, lambda x, s: 8 * np.abs(s) + 0.5),
    "selu": (lambda y: np.where(y > 0, SELU_SCALE, y + SELU_LEFT).astype(y.dtype),
             lambda y, s: s + 2),
    "celu": (lambda y: np.where(y > 0, 1, y + 1), lambda y, s: 2 * s + np.abs(y)),
    "gelu": (gelu_slope, lambda x, s: 8 * np.abs(s) + 1),
    "gelu_tanh": (gelu_tanh_slope, lambda x, s: 8 * np.abs(s) + 1),
    "mish": (mish_slope, lambda x, s: 8 * np.abs(s) + 1),
    "hard_swish": (
        lambda x: np.where(np.abs(x) < 3, (2 * np.clip(x, -3, 3) + 3) / 6, x > 0),
        lambda x, s: 3 * np.abs(s),
    ),
    "tanhshrink": (lambda x: np.tanh(x) ** 2, lambda x, s: 6 * s),
    "hard_shrink": (lambda y: (y != 0).astype(y.dtype), lambda y, s: 0 * s),
    "softshrink": (lambda y: (y != 0).astype(y.dtype), lambda y, s: 0 * s),
    "threshold": (lambda x: (x > 1).astype(x.dtype), lambda x, s: 0 * s),
    "squareplus": (lambda y: 1 / (1 + np.square(1 / y)), lambda y, s: 6 * s),
    "exponential": (lambda y: y, lambda y, s: 0 * s),
    "sin": (turned(np.cos), lambda x, s: 8 * np.abs(s)),
    "gaussian": (lambda x: -2 * x * exp_minus_square(x), lambda x, s: 8 * np.abs(s)),
    "satlin": (lambda y: ((y > 0) & (y < 1)).astype(y.dtype), lambda y, s: 0 * s),
    "tribas": (lambda x: np.where(np.abs(x) < 1, -np.sign(x), 0), lambda x, s: 0 * s),
}


@lru_cache
def moderate(name, dtype):
    """The part of the sample whose squares exist, and the function."""
    most = {"exponential": 80, "sin": 1e4}.get(name, 1e15)
    return sample(dtype)[np.abs(sample(dtype)) < most]


@lru_cache
def true_slopes(name, dtype):
    """f'(x) as nncore.reference writes it for checks, in the wider type."""
    return ACTIVATIONS[name].df(moderate(name, dtype).astype(wide(dtype)))


@lru_cache
def kept_sample(name, dtype):
    """(what is kept, the slope there in the wider type, its error in roundings)."""
    kept = moderate(name, dtype)
    if KEEPS[name] == "y":
        kept = truth(name, kept).astype(dtype)
    formula, roundings = SLOPES[name]
    exact = formula(kept.astype(wide(dtype)))
    return kept, exact, roundings(kept.astype(wide(dtype)), exact)


@NAMES
def test_slope_from_what_is_kept(kernels, fused, name):
    dtype = kernels.dtype
    kept, exact, roundings = kept_sample(name, dtype)
    dy, error = noise(kept.shape, dtype, 2), 1.001 * unit(dtype) * roundings
    if name == "tanh" and fused:
        error = gamma(1, dtype) * exact
    if name != "identity":
        assert_close(slope(kernels, name, kept), exact, error + tiny(dtype))
    want = dy * exact
    bound = np.abs(dy) * error + gamma(1, dtype) * np.abs(want) + (1 + np.abs(dy)) * tiny(dtype)
    assert_close(slope(kernels, name, kept, dy), want, bound)


@NAMES
def test_slope_after_the_function(kernels, name):
    """What backward computes is the derivative of what forward did: the slope at x, from the y
    that the kernel itself made of it, against the derivative that the NumPy twin writes in x. Near
    the ends a rounded y no longer knows it to many digits: the error is 2 ulp of the largest slope.
    """
    dtype, x = kernels.dtype, moderate(name, kernels.dtype)
    y = apply(kernels, name, x)
    got = slope(kernels, name, y if KEEPS[name] == "y" else x)
    want = true_slopes(name, dtype)
    largest = wide(dtype).type({"sigmoid": 0.25, "selu": 2}.get(name, 1))
    if name == "exponential":
        largest = want
    if name == "identity":
        assert (got == 1).all()
    else:
        assert_close(got, want, 2 * ulp(largest, dtype))


@NAMES
def test_slope_is_the_central_difference(isa, name):
    """Of the kernel's own values, in float64. The third derivatives are below 2 (softsign: 6), the
    values below 8 and within 2 ulp, so the difference is off by so much at most."""
    kernels, h = _core.Kernels(isa, "float64"), 2.0**-17
    x = np.linspace(-7, 7, 1999)
    for bend in (-3, -1, -0.5, 0, 0.5, 1, 3):  # some derivative jumps there, of one or another
        x = x[np.abs(x - bend) > 2 * h]
    above, below, y = (apply(kernels, name, v) for v in (x + h, x - h, x))
    got = slope(kernels, name, y if KEEPS[name] == "y" else x)
    differences = (above - below) / (2 * h)
    bound = h**2 * (6 if name == "softsign" else 2) / 6 + 2 * 2 * np.spacing(8.0) / (2 * h)
    assert (np.abs(got - differences) <= bound * np.maximum(1, np.abs(got))).all()
    assert bound < 1e-9
    assert np.abs(differences).max() > 0.15


@NAMES
def test_slope_agrees_with_the_reference(kernels, name):
    dtype, x = kernels.dtype, 3 * noise(500, kernels.dtype)
    kept = apply(kernels, name, x) if KEEPS[name] == "y" else x
    want = ACTIVATIONS[name].slope(kept.astype(wide(dtype)))
    got = slope(kernels, name, kept)
    if name == "identity":
        assert (got == want).all()
    else:
        assert_close(got, want, 5 * float(unit(dtype)) * np.maximum(np.abs(want), kept * kept))


@pytest.mark.parametrize("name", [name for name, keeps in KEEPS.items() if keeps != "none"])
def test_missing_values_in_kept(kernels, sizes, name):
    """NaN must not turn into a slope of 0 or 1."""
    for n in sizes[1:]:
        for at in {0, n // 2, n - 1}:
            kept = np.abs(noise(n, kernels.dtype)) / 8
            kept[at] = np.nan
            missing = np.isnan(slope(kernels, name, kept))
            assert missing[at]
            assert missing.sum() == 1


@NAMES
def test_missing_values_in_dy(kernels, name):
    """A slope of 0 does not hide them either."""
    kept, dy = np.zeros(40, kernels.dtype), noise(40, kernels.dtype)
    dy[[3, 38]] = np.nan
    missing = np.isnan(slope(kernels, name, kept, dy))
    assert np.flatnonzero(missing).tolist() == [3, 38]


def test_relu_slope_is_one_or_zero(kernels):
    y = np.array([0, -0.0, np.finfo(kernels.dtype).smallest_subnormal, 1, 1e30, np.inf])
    got = slope(kernels, "relu", y.astype(kernels.dtype), np.full(6, 3, kernels.dtype))
    assert got.tolist() == [0, 0, 3, 3, 3, 3]
