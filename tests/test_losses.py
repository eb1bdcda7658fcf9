"""Losses: values and gradients of the single kernels, and the gradients of whole networks."""

from itertools import product

import numpy as np
import pytest

from nncore import _core
from nncore.reference import LOSSES, ReferenceEngine

from .checks import (
    BLOCK,
    TRUTH,
    assert_close,
    assert_same_bits,
    central_differences,
    distance,
    gamma,
    integers,
    lower,
    noise,
    placed,
    sigmoid,
    softmax,
    tiny,
    truth,
    unit,
    wide,
)

STEPPED = dict.fromkeys(["mae", "quantile", "hinge", "huber", "smooth_l1", "squared_hinge"], True)
NAMES = pytest.mark.parametrize("name", _core.LOSSES)
FUSED_OUTPUT = {name: row["output"] for name, row in _core.LOSSES.items()}


@pytest.fixture
def widths(kernels):
    """Numbers of outputs."""
    lanes = kernels.lanes
    return sorted({1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes + 3, 1000})


def run(kernels, name, y, t, scale=1.0):
    """The summed value and its gradient times scale."""
    gradient = np.full_like(y, np.nan)
    return kernels.loss(name, y, t, gradient, scale), gradient


PER_TARGET = {name: row["per_target"] for name, row in _core.LOSSES.items()}


def draw(name, shape, dtype, seed=0):
    """(y, t) as the loss expects them; where they are scores, from small to large ones."""
    y = noise((shape[0], shape[1] * PER_TARGET[name]), dtype, seed, scale=3)
    if name in ("cross_entropy", "kl_divergence"):
        t = np.abs(noise(shape, dtype, seed + 1))  # in rows that need not sum to 1
        return y, (t / t.sum(axis=1, keepdims=True) * (1 + t[:, :1])).astype(dtype)
    if name in ("binary_cross_entropy", "focal"):
        return y, (integers(shape, dtype, seed + 1) > 0).astype(dtype)
    if name in ("hinge", "squared_hinge"):
        return y, np.where(integers(shape, dtype, seed + 1) > 0, 1, -1).astype(dtype)
    if name == "poisson":
        return y, np.abs(noise(shape, dtype, seed + 1))
    return y, noise(shape, dtype, seed + 1)


# --- Exact values and gradients, with the error of computing them ---------------------------------
# Each returns (value, its error, gradient, its error) of the sum over all elements, in the wider
# type, counting roundings of u. The sum itself is in double.


def squares(half):
    def model(y, t, u):
        d, size = y - t, 0.5 if half else 1.0
        # One rounding of the difference, which the square doubles, and one of the square.
        value, error = size * d * d, 3 * u * size * d * d
        # The difference, its product with the scale, and the scale itself.
        return value, error, 2 * size * d, 3 * u * np.abs(2 * size * d)

    return model


def binary_cross_entropy(z, t, u):
    log = np.log1p(np.exp(-np.abs(z)))
    line = np.maximum(z, 0) - z * t
    # exp and log1p are within 2 ulp, or 4 u; log1p makes no error larger.
    error = u * (np.abs(z * t) + np.abs(line) + 8 * log + np.abs(line + log))
    y = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
    return line + log, error, y - t, u * (4 * y + 3 * np.abs(y - t))


def divergence(z, t, u, additions):
    value, error, gradient, gradient_error = cross_entropy(z, t, u, additions)
    own = t * np.log(t)
    return value + own, error + 5 * u * np.abs(own), gradient, gradient_error


def sized(truth):
    """A model from (value, gradient, and the size of the terms that each is a sum of)."""

    def model(y, t, u):
        value, gradient, size, gradient_size = truth(y, t)
        return value, 8 * u * size, gradient, 8 * u * gradient_size

    return model


def mae(y, t):
    d = y - t
    return np.abs(d), np.sign(d), np.abs(d), np.abs(np.sign(d))


def huber(y, t):
    d = y - t
    value = np.where(np.abs(d) < 1, d * d / 2, np.abs(d) - 0.5)
    return value, np.clip(d, -1, 1), np.abs(d) * np.minimum(np.abs(d), 1), np.abs(d)


def log_cosh(y, t):
    d = np.abs(y - t)
    value = np.where(d < 1, np.log1p(2 * np.sinh(np.minimum(d, 1) / 2) ** 2),
                     d + np.log1p(np.exp(-2 * d)) - np.log(d.dtype.type(2)))  # fmt: skip
    return value, np.tanh(y - t), value, np.tanh(d)


def quantile(y, t):
    return mae(y, t)[0] / 2, np.sign(y - t) / 2, np.abs(y - t) / 2, np.ones_like(y)


def hinge(y, t):
    margin = np.maximum(1 - t * y, 0)
    return margin, np.where(margin > 0, -t, 0), 1 + np.abs(y), np.ones_like(y)


def squared_hinge(y, t):
    margin = np.maximum(1 - t * y, 0)
    return margin**2, -2 * t * margin, margin * (1 + np.abs(y)), 2 * (1 + np.abs(y))


def poisson(y, t):
    e = np.exp(y)
    return e - t * y, e - t, e + np.abs(t * y), e + t


def focal(z, t):
    sign = 2 * t - 1
    up = np.logaddexp(0, sign * z)  # -log s(-x)
    down, p, q = np.logaddexp(0, -sign * z), sigmoid(sign * z), sigmoid(-sign * z)
    value, slope = q * q * down, -sign * q * q * (2 * p * down + q)
    return value, slope, (2 + 2 * up) * value, (2 + 2 * up) * np.abs(slope)


def gaussian(y, t):
    m, v = np.split(y, 2, axis=1)
    d, e = m - t, np.exp(-v)
    gradient = np.concatenate([d * e, (1 - d * d * e) / 2], axis=1)
    far = np.abs(m) + np.abs(t)
    size = np.concatenate([far * e, 1 + far**2 * e], axis=1)
    return (v + d * d * e) / 2, gradient, np.abs(v) + far**2 * e, size


def cross_entropy(z, t, u, additions):
    down = z - z.max(axis=1, keepdims=True)
    e = np.exp(down)
    total = e.sum(axis=1, keepdims=True)
    p, log = e / total, np.log(total)
    e_error = u * np.abs(down) + 4 * u
    sum_error = (p * e_error).sum(axis=1, keepdims=True) + additions * u
    value = t * (log - down)
    # log is within 2 ulp; the difference from it is rounded, and so is z - max.
    error = np.abs(t) * (sum_error + 4 * u * log + u * np.abs(down) + u * np.abs(log - down))
    weight = t.sum(axis=1, keepdims=True)
    gradient = weight * p - t
    # weight, scale, their product and quotient by the sum, and the product of that with e.
    gradient_error = weight * p * (e_error + sum_error + 5 * u) + u * (np.abs(t) + np.abs(gradient))
    return value, error, gradient, gradient_error


def model(kernels, name, y, t):
    to, u = wide(kernels.dtype), 1.001 * unit(kernels.dtype)
    y, t = y.astype(to), t.astype(to)
    pad = 64 // kernels.dtype.itemsize
    additions = -(-y.shape[1] // pad) + int(np.log2(pad))
    rows = {
        "mse": squares(half=False),
        "half_mse": squares(half=True),
        "mae": sized(mae),
        "huber": sized(huber),
        "smooth_l1": sized(huber),
        "log_cosh": sized(log_cosh),
        "quantile": sized(quantile),
        "hinge": sized(hinge),
        "squared_hinge": sized(squared_hinge),
        "poisson": sized(poisson),
        "binary_cross_entropy": binary_cross_entropy,
        "focal": sized(focal),
        "cross_entropy": lambda *a: cross_entropy(*a, additions),
        "kl_divergence": lambda *a: divergence(*a, additions),
        "gaussian_nll": sized(gaussian),
    }
    value, error, gradient, gradient_error = rows[name](y, t, u)
    sum_error = np.finfo(np.float64).eps * y.size * np.abs(value).sum() / 2
    return value.sum(), error.sum() + sum_error, gradient, gradient_error + tiny(kernels.dtype)


@NAMES
def test_value_and_gradient(kernels, widths, name):
    for n, rows in product(widths, (1, 4)):
        y, t = draw(name, (rows, n), kernels.dtype)
        value, gradient = run(kernels, name, y, t)
        want, error, slope, slope_error = model(kernels, name, y, t)
        assert abs(value - want) <= error
        if FUSED_OUTPUT[name] == "softmax" and n == 1:  # of one class
            assert (np.abs(gradient) <= slope_error).all()
        elif rows * n < 5 and STEPPED.get(name):  # the few slopes may be equal
            assert (np.abs(gradient - slope) <= slope_error).all()
        else:
            assert error < abs(want) / 1000
            assert_close(gradient, slope, slope_error)


@NAMES
def test_agrees_with_the_reference(kernels, widths, name):
    """nncore.reference averages; the kernel leaves the average to its caller."""
    for n in widths:
        y, t = draw(name, (3, n), kernels.dtype)
        count = t.size if _core.LOSSES[name]["mean"] == "elements" else 3
        value, gradient = run(kernels, name, y, t, 1 / count)
        _, error, _, slope_error = model(kernels, name, y, t)
        y, t = y.astype(np.float64), t.astype(np.float64)
        want, slope = LOSSES[name].value(y, t), LOSSES[name].gradient(y, t)
        # In float64 both sides have errors of this size.
        assert abs(value / count - want) <= float(2 * error / count)
        assert np.abs(gradient - slope).max() <= float(2 * slope_error.max() / count)
        assert np.abs(slope).max() > 0 or n == 1


@NAMES
@pytest.mark.parametrize("n", [1, 3, 17])
def test_gradient_is_the_central_difference(isa, name, n):
    kernels = _core.Kernels(isa, "float64")
    y, t = draw(name, (2, n), np.float64)
    want = central_differences(lambda: run(kernels, name, y, t)[0], y)
    value, gradient = run(kernels, name, y, t)
    if n > 1 or FUSED_OUTPUT[name] != "softmax":
        assert np.abs(want).max() > 0.05
    # The third derivatives are below `third`; values are rounded by a few u of their sum of terms.
    third = np.exp(np.abs(y)).max() * 30 if name in ("poisson", "gaussian_nll") else 1
    error = float(model(kernels, name, y, t)[1]) + 2.0**-50 * abs(value)
    assert np.abs(gradient - want).max() <= third * 1e-10 / 6 + 2 * error / 2e-5


@NAMES
@pytest.mark.parametrize("n", [1, 3, 17])
def test_curve_is_the_central_difference(isa, name, n):
    kernels, h = _core.Kernels(isa, "float64"), 1e-5
    y, t = draw(name, (2, n), np.float64)
    r, got = noise(y.shape, np.float64, 9), np.full_like(y, np.nan)
    kernels.loss_curve(name, y, t, r, got, 0.7)
    above, below = run(kernels, name, y + h * r, t, 0.7), run(kernels, name, y - h * r, t, 0.7)
    if name in ("mae", "quantile", "hinge"):
        assert (got == 0).all()
    elif n > 1:
        assert np.abs(got).max() > 0.003
    size = 1 + np.abs(got).max() + np.abs(above[1]).max()
    assert np.abs(got - (above[1] - below[1]) / (2 * h)).max() <= 1e-9 * size * 10


@NAMES
def test_curve_in_both_types(kernels, widths, name):
    """Against float64, of the same numbers; labels, strides and other rows change nothing."""
    for n in widths:
        y, t = draw(name, (5, n), kernels.dtype)
        r, got, wanted = noise(y.shape, kernels.dtype, 9), np.empty_like(y), np.empty(y.shape)
        kernels.loss_curve(name, y, t, r, got, 0.5)
        double = _core.Kernels(kernels.isa, "float64")
        double.loss_curve(name, *(a.astype(float) for a in (y, t, r)), wanted, 0.5)
        size = np.abs(r).max() * (1 + np.abs(t).sum(axis=1).max()) * (1 + np.abs(wanted).max())
        assert np.abs(got - wanted).max() <= float((n + 40) * size * unit(kernels.dtype))
        again = np.empty_like(y)
        kernels.loss_curve(name, y, placed(t, 2, 1), placed(r, 3, 1), again, 0.5)
        assert_same_bits(again, got)
        kernels.loss_curve(name, y[3:4], t[3:4], r[3:4], again[:1], 0.5)
        assert_same_bits(again[0], got[3])
    labels, one_hot = np.arange(5) * 3 % n, np.zeros((5, n), kernels.dtype)
    one_hot[np.arange(5), labels] = 1
    if name == "cross_entropy":
        kernels.loss_curve(name, y, labels, r, got)
        kernels.loss_curve(name, y, one_hot, r, again)
        assert_same_bits(got, again)


@NAMES
def test_scale_multiplies_the_gradient_alone(kernels, name):
    y, t = draw(name, (3, 21), kernels.dtype)
    value, gradient = run(kernels, name, y, t)
    for scale in (0.5, 2.0**-20):
        value_again, scaled = run(kernels, name, y, t, scale)
        assert value_again == value
        assert_same_bits(scaled, gradient * kernels.dtype.type(scale))
    assert np.abs(gradient).max() > 0.1


@NAMES
def test_rows_do_not_know_each_other(kernels, name):
    y, t = draw(name, (5, 21), kernels.dtype)
    value, gradient = run(kernels, name, y, t)
    single = [run(kernels, name, y[i : i + 1], t[i : i + 1]) for i in range(5)]
    assert value == pytest.approx(sum(v for v, _ in single), rel=1e-14)
    assert_same_bits(np.concatenate([g for _, g in single]), gradient)
    again = run(kernels, name, placed(y, 3, 1), placed(t, 5, 1))  # strided and unaligned
    assert again[0] == value
    assert_same_bits(again[1], gradient)


@NAMES
def test_no_rows(kernels, name):
    y = np.empty((0, 4), kernels.dtype)
    assert run(kernels, name, y, y[:, : 4 // PER_TARGET[name]].copy())[0] == 0


@pytest.mark.parametrize("n", [1, 2, 7, 16, 17, 1000])
def test_labels_are_rows_with_a_single_one(kernels, n):
    z, labels = noise((6, n), kernels.dtype, scale=3), np.arange(6) * 7 % n
    labels[-1] = n - 1
    one_hot = np.zeros((6, n), kernels.dtype)
    one_hot[np.arange(6), labels] = 1
    value, gradient = run(kernels, "cross_entropy", z, labels, 0.3)
    value_of_rows, gradient_of_rows = run(kernels, "cross_entropy", z, one_hot, 0.3)
    assert value == value_of_rows
    assert_same_bits(gradient, gradient_of_rows)


@pytest.mark.parametrize("size", [100, 1e4, 1e30])
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_extreme_scores(kernels, name, size):
    """No exponential overflows, and no logarithm is taken of 0."""
    rng = np.random.default_rng(3)
    z = (rng.choice([-1, 1, 0.5, 0], (20, 21)) * size).astype(kernels.dtype)
    t = np.eye(21, dtype=kernels.dtype)[np.arange(20)]
    value, gradient = run(kernels, name, z, t)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() <= 1
    assert np.abs(gradient).max() > 0.4
    want, error, slope, slope_error = model(kernels, name, z, t)
    assert abs(value - want) <= error
    assert_close(gradient, slope, slope_error)


def test_values_by_hand(kernels):
    y, t = np.array([[1, 2], [3, -1]], kernels.dtype), np.array([[0, 2], [1, 3]], kernels.dtype)
    value, gradient = run(kernels, "mse", y, t)
    assert (value, gradient.tolist()) == (1 + 0 + 4 + 16, [[2, 0], [4, -8]])
    value, gradient = run(kernels, "half_mse", y, t)
    assert (value, gradient.tolist()) == (10.5, [[1, 0], [2, -4]])
    zeros, labels = np.zeros((2, 4), kernels.dtype), np.array([1, 3])
    value, gradient = run(kernels, "cross_entropy", zeros, labels)
    assert value == pytest.approx(2 * np.log(4), rel=float(3 * np.finfo(y.dtype).eps))
    assert gradient.tolist() == [[0.25, -0.75, 0.25, 0.25], [0.25, 0.25, 0.25, -0.75]]
    value, gradient = run(kernels, "cross_entropy", zeros, np.full((2, 4), 0.5, kernels.dtype))
    assert gradient.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]  # rows that sum to 2, not 1
    value, gradient = run(kernels, "binary_cross_entropy", zeros, np.eye(2, 4).astype(y.dtype))
    assert value == pytest.approx(8 * np.log(2), rel=float(3 * np.finfo(y.dtype).eps))
    assert gradient.tolist() == [[-0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, 0.5]]


@NAMES
@pytest.mark.parametrize("at", [0, 9, 20])
def test_missing_values(kernels, name, at):
    for place in (0, 1):
        given = draw(name, (3, 21), kernels.dtype)
        given[place][1, at] = np.nan
        value, gradient = run(kernels, name, *given)
        assert np.isnan(value)
        assert np.isnan(gradient[1, at])
        assert np.isfinite(gradient[[0, 2]]).all()


# --- Parameters, kinks and weights ----------------------------------------------------------------

OTHERS = {
    "huber": [(0.3,), (2.5,)], "smooth_l1": [(0.3,), (2.5,)], "quantile": [(0.1,), (0.75,)],
    "binary_cross_entropy": [(3.0, 0.0), (0.4, 0.1)], "cross_entropy": [(0.1,), (0.5,)],
    "focal": [(0.0, -1.0), (1.5, 0.25), (5.0, 0.9)],
}  # fmt: skip
GIVEN = [(name, values) for name, all_values in OTHERS.items() for values in all_values]


def test_every_parameter_is_tried():
    assert set(OTHERS) == {name for name, row in _core.LOSSES.items() if row["hyper"]}


@pytest.mark.parametrize("name, values", GIVEN)
@pytest.mark.parametrize("n", [1, 5, 40])
def test_parameters(kernels, name, values, n):
    """Against the reference in float64; and the gradient is that of the value."""
    y, t = draw(name, (4, n), kernels.dtype)
    count = t.size if _core.LOSSES[name]["mean"] == "elements" else 4
    gradient = np.empty_like(y)
    value = kernels.loss(name, y, t, gradient, 1 / count, values) / count
    y, t = y.astype(float), t.astype(float)
    twin, eps = LOSSES[name], float(np.finfo(kernels.dtype).eps)
    size = 40 * eps * (1 + np.abs(y).max()) * (1 + sum(np.abs(values)))
    assert value == pytest.approx(twin.value(y, t, *values), rel=size, abs=size)
    expected = twin.gradient(y, t, *values)
    np.testing.assert_allclose(gradient, expected, rtol=size, atol=size / 4)
    default = twin.gradient(y, t)
    assert np.abs(expected - default).max() > 1e-3 or (name, n) == ("cross_entropy", 1)
    differences = central_differences(lambda: twin.value(y, t, *values), y)
    np.testing.assert_allclose(expected, differences, atol=1e-8)
    if kernels.dtype == np.float64:
        r, product, h = noise(y.shape, y.dtype, 8), np.empty_like(y), 1e-5
        kernels.loss_curve(name, y, t, r, product, 1 / count, values)
        above, below = (twin.gradient(y + k * r, t, *values) for k in (h, -h))
        np.testing.assert_allclose(product, (above - below) / (2 * h), atol=1e-8)


def test_parameters_mean_what_they_say(kernels):
    """Identities between losses."""
    y, t = draw("huber", (5, 9), kernels.dtype)
    a, b = np.empty_like(y), np.empty_like(y)
    eps = float(np.finfo(kernels.dtype).eps)

    def alike(first, second, factor=1.0):
        value, other = (kernels.loss(*args[:2], t, g, 1.0, *args[2:])
                        for args, g in ((first, a), (second, b)))  # fmt: skip
        assert value == pytest.approx(factor * other, rel=40 * eps)
        np.testing.assert_allclose(a, factor * b, rtol=40 * eps, atol=40 * eps)

    alike(("huber", y, (0.7,)), ("smooth_l1", y, (0.7,)), 0.7)
    alike(("huber", y, (1e6,)), ("half_mse", y))
    alike(("quantile", y, (0.5,)), ("mae", y), 0.5)
    t = (t > 0).astype(t.dtype)
    alike(("focal", y, (0.0, -1.0)), ("binary_cross_entropy", y))
    alike(("focal", y, (2.0, 0.5)), ("focal", y, (2.0, -1.0)), 0.5)
    one_hot = np.eye(9, dtype=t.dtype)[[0, 3, 8, 8, 1]]
    t = one_hot
    kernels.loss("cross_entropy", y, t, a, 1.0, (0.1,))
    t = (0.9 * one_hot + 0.1 / 9).astype(t.dtype)
    kernels.loss("cross_entropy", y, t, b, 1.0)
    np.testing.assert_allclose(a, b, rtol=40 * eps, atol=40 * eps)
    kernels.loss("cross_entropy", y, np.array([0, 3, 8, 8, 1]), b, 1.0, (0.1,))
    np.testing.assert_allclose(a, b, rtol=40 * eps, atol=40 * eps)


@pytest.mark.parametrize("n", [1, 3, 40])  # the ends of vectors too
def test_slopes_at_kinks_are_zero(kernels, n):
    y, gradient = np.full((2, n), 3, kernels.dtype), np.empty((2, n), kernels.dtype)
    for name in ("mae", "quantile", "huber", "smooth_l1", "log_cosh", "mse"):
        assert kernels.loss(name, y, y, gradient, 1.0) == 0
        assert (gradient == 0).all()
    for name in ("hinge", "squared_hinge"):
        t = (np.where(np.arange(n) % 2, 1, -1) + np.zeros_like(y)).astype(y.dtype)
        assert kernels.loss(name, t, t, gradient, 1.0) == 0
        assert (gradient == 0).all()
    for name, at in (("huber", 1), ("smooth_l1", 1)):  # where they go over, both sides agree
        kernels.loss(name, y + at, y, gradient, 1.0)
        assert (gradient == 1).all()


@pytest.mark.parametrize("scale", [1e-3, 1e-6])
def test_log_cosh_keeps_its_digits_near_zero(kernels, scale):
    d = noise((1, 500), kernels.dtype, scale=scale)
    exact = d.astype(wide(kernels.dtype))
    exact = np.log1p(2 * np.sinh(exact / 2) ** 2)
    zero, slope = np.zeros((1, 1), d.dtype), np.empty((1, 1), d.dtype)
    for i in range(0, 500, 50):
        value = kernels.loss("log_cosh", d[:, i : i + 1], zero, slope)
        assert abs(value - exact[0, i]) <= 6 * np.finfo(d.dtype).eps * exact[0, i]


@NAMES
def test_weights_multiply_rows(kernels, name):
    """Value and gradient of each row; and a row of weight 0 is not looked at."""
    y, t = draw(name, (6, 8), kernels.dtype)
    weights = np.array([2.0, 0.0, 0.25, 1.0, 0.0, 3.7])
    y[4] = np.inf
    gradient, of_row, r = np.full_like(y, np.nan), np.empty_like(y[:1]), noise(y.shape, y.dtype, 3)
    value, expected = kernels.loss(name, y, t, gradient, 0.3, None, weights), 0
    for i in (0, 2, 3, 5):
        expected += weights[i] * kernels.loss(
            name, y[i : i + 1], t[i : i + 1], of_row, 0.3 * weights[i]
        )
        assert_same_bits(gradient[i], of_row[0])
    assert value == pytest.approx(expected, rel=1e-14)
    assert (gradient[[1, 4]] == 0).all()
    y[4] = 1
    kernels.loss_curve(name, y, t, r, gradient, 0.3, None, weights)
    for i in range(6):
        kernels.loss_curve(
            name, y[i : i + 1], t[i : i + 1], r[i : i + 1], of_row, 0.3 * weights[i]
        )
        assert_same_bits(gradient[i], of_row[0])


# --- Whole networks -------------------------------------------------------------------------------

HIDDEN = list(TRUTH)
OUTPUTS_OF = {"sigmoid": ["sigmoid"], "softmax": ["softmax", "log_softmax"]}
OUTPUTS = [
    (loss, output)
    for loss in _core.LOSSES
    for output in (
        OUTPUTS_OF[FUSED_OUTPUT[loss]] if FUSED_OUTPUT[loss]
        else [*TRUTH, "softmax", "log_softmax"] if loss in ("mse", "half_mse")
        else ["identity", "sigmoid", "softmax"]
    )
]  # fmt: skip
STEP = 2e-6  # of the differences
NEAR = 100 * STEP  # no pre-activation comes closer to a point where f' jumps or bends
BENDS = {"relu": (0,), "leaky_relu": (0,), "elu": (0,), "selu": (0,), "hardtanh": (-1, 1),
         "relu6": (0, 6), "hard_sigmoid": (-3, 3), "celu": (0,), "hard_swish": (-3, 3),
         "hard_shrink": (-0.5, 0.5), "softshrink": (-0.5, 0.5), "threshold": (1,),
         "satlin": (0, 1), "tribas": (-1, 0, 1)}  # fmt: skip
BATCH = 300  # one block of rows and a part of another


def away_from_bends(z, bends):
    """Biases that put the first bend in the middle of each unit's values and all bends into gaps
    between them: no difference crosses one, and slopes differ from sample to sample."""
    if len(z) == 1:
        return np.array([0.6, 1.35, -0.35, 0.25])[: z.shape[1]] - z[0]
    ordered, quarter = np.sort(z, axis=0), len(z) // 4
    middles = (ordered[:-1] + ordered[1:])[quarter : len(z) - 1 - quarter] / 2
    tried = bends[0] - middles
    gaps = np.abs(z + tried[:, None, :] - np.reshape(bends, (-1, 1, 1, 1))).min(axis=(0, 2))
    chosen = tried[gaps.argmax(axis=0), range(z.shape[1])]
    alike = bends[0] - np.median(z, axis=0) + 0.25  # where there is no gap
    return np.where(gaps.max(axis=0) > 2 * NEAR, chosen, alike)


def fill(theta, steps, X, rng):
    """Random parameters, such that the samples X keep away from where activations bend."""
    for step in steps:
        W = theta[step.w : step.w + step.n_in * step.n_out].reshape(step.n_in, step.n_out)
        b = theta[step.b : step.b + step.n_out]
        W[...] = rng.uniform(-1, 1, W.shape)
        if step.activation == "exponential":
            W *= 0.2  # it would outgrow all others, and what comes after it
        bends = BENDS.get(step.activation)
        b[...] = away_from_bends(X @ W, bends) if bends else rng.uniform(-1, 1, len(b))
        z = X @ W + b
        assert all(np.abs(z - bend).min() >= NEAR for bend in bends or ())
        X = np.float64(outputs_of(step.activation, z))
    return X


def targets_of(loss, outputs, rng):
    """Targets for these outputs: none where the loss has a kink, or is so small that it cancels."""
    rows, shape = len(outputs), outputs.shape
    if loss == "cross_entropy" and rows != 7:
        return rng.integers(0, 3, rows)
    if loss in ("mae", "quantile", "hinge", "squared_hinge"):
        signs = rng.choice([-1.0, 1.0], shape)
        signs[0] = [1, -1, 1]  # equal slopes do not move a softmax
        if loss in ("mae", "quantile"):
            return outputs + signs * rng.uniform(0.05, 0.5, shape)
        return np.where(np.abs(signs * outputs - 1) < 0.05, -signs, signs)
    if loss == "focal":
        return rng.integers(0, 2, shape).astype(float)
    shape = (rows, shape[1] // PER_TARGET[loss])
    y = rng.uniform(0.05, 0.6, shape)
    if loss == "kl_divergence":
        return y / y.sum(axis=1, keepdims=True)
    if PER_TARGET[loss] == 1:
        for _ in range(100):
            if rows > 1 or np.abs(outputs - y).min() > 0.05:
                break
            y = rng.uniform(0.05, 0.6, shape)
    return y


def outputs_of(activation, z):
    if activation in ("softmax", "log_softmax"):
        return np.log(softmax(z)) if activation == "log_softmax" else softmax(z)
    return truth(activation, z)


def network(isa, loss, output, hidden, rows):
    """Two or three layers: (steps, (engine, reference engine, X, y, where the parameters lie))."""
    other = HIDDEN[(HIDDEN.index(hidden) + 2) % len(HIDDEN)]
    inner = [(4, hidden)] if rows == 1 else [(4, hidden), (3, other)]
    n_out = 2 + PER_TARGET[loss] if PER_TARGET[loss] > 1 else 3
    steps, n_params = lower(3, *inner, (n_out, output), lead=rows % 3)
    shape = (steps, n_params, loss, np.dtype("float64"))
    engine, reference = _core.Engine(*shape, isa), ReferenceEngine(*shape)
    rng = np.random.default_rng([rows, len(loss), len(hidden), len(output)])
    X = rng.standard_normal((rows, 3))
    outputs = fill(engine.theta, steps, X, rng)
    reference.theta[:] = engine.theta
    y = targets_of(loss, outputs, rng)
    return steps, (engine, reference, X, y, slice(steps[0].w, None))


# Each activation under each loss, before the usual outputs; and each as the output, after tanh. In
# float32 and beside the best instruction set each of them once.
GRID = [
    (loss, output, hidden)
    for loss, output in OUTPUTS
    for hidden in HIDDEN
    if hidden == "tanh" or output in ("identity", "sigmoid", "softmax")
]


SMALL_GRID = [
    (loss, output, hidden)
    for loss, output, hidden in GRID
    if hidden == "tanh" or (loss, output) == ("mse", "identity")
]


@pytest.mark.parametrize(
    "isa, loss, output, hidden",
    [(isa, *of) for isa in _core.isas() for of in (GRID if isa == _core.ISA else SMALL_GRID)],
)
def test_gradient_of_networks(isa, loss, output, hidden):
    """Every loss with every output it fits and every hidden activation, by central differences of
    the loss itself: one row, some, and more than a block."""
    for rows in (1, 7, BATCH):
        _, (engine, reference, X, y, own) = network(isa, loss, output, hidden, rows)
        gradient, expected = (np.full_like(engine.theta, np.nan) for _ in range(2))
        value = engine.loss_and_gradient(X, y, gradient)
        assert value == engine.loss(X, y)
        theta = engine.theta[own]
        differences = central_differences(lambda: engine.loss(X, y), theta, STEP)  # noqa: B023
        assert distance(gradient[own], differences) <= 1e-7

        assert reference.loss_and_gradient(X, y, expected) == pytest.approx(value, rel=1e-14)
        roundings = roundings_on_a_way(engine, rows, hidden)
        assert distance(gradient[own], expected[own]) <= gamma(roundings, np.float64)


def roundings_on_a_way(engine, rows, hidden):
    """At most: in the sum over the rows; and in each layer, up and down, in sums over 4 units and
    a few more, less than there are parameters. Nothing here is so saturated, or cancels so much,
    that it would enlarge their errors, but where ENLARGES says so."""
    return ENLARGES.get(hidden, 1) * (min(rows, BLOCK) + rows // BLOCK + len(engine.theta))


# An error of x, relative to 1, is one of the whole exp(x), and twice so in its slope; x - 1/2 of x
# near 1 has half its size and all its error.
ENLARGES = {"exponential": 16, "softshrink": 4}


@pytest.mark.parametrize("loss, output, hidden", SMALL_GRID)
def test_gradient_of_networks_in_float32(isa, loss, output, hidden):
    """Against float64, of the same numbers."""
    for rows in (7, BATCH):
        steps, (_, reference, X, y, own) = network(isa, loss, output, hidden, rows)
        engine = _core.Engine(steps, len(reference.theta), loss, np.dtype("float32"), isa)
        engine.theta[:] = reference.theta
        gradient, expected = np.empty_like(engine.theta), np.empty_like(reference.theta)
        y = y if y.ndim == 1 else y.astype(np.float32)
        value = engine.loss_and_gradient(X.astype(np.float32), y, gradient)
        reference.theta[:] = engine.theta
        X, y = X.astype(np.float32).astype(float), y if y.ndim == 1 else y.astype(float)
        most = float(gamma(roundings_on_a_way(engine, rows, hidden), np.float32))
        assert reference.loss_and_gradient(X, y, expected) == pytest.approx(value, rel=most)
        assert distance(gradient[own], expected[own]) <= most
