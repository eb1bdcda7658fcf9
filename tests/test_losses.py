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
    softmax,
    tiny,
    truth,
    unit,
    wide,
)

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


def draw(name, shape, dtype, seed=0):
    """(y, t) as the loss expects them; where they are scores, from small to large ones."""
    y = noise(shape, dtype, seed, scale=3)
    if name == "cross_entropy":
        t = np.abs(noise(shape, dtype, seed + 1))  # in rows that need not sum to 1
        return y, (t / t.sum(axis=1, keepdims=True) * (1 + t[:, :1])).astype(dtype)
    if name == "binary_cross_entropy":
        return y, (integers(shape, dtype, seed + 1) > 0).astype(dtype)
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
    rows = {
        "mse": squares(half=False),
        "half_mse": squares(half=True),
        "binary_cross_entropy": binary_cross_entropy,
        "cross_entropy": lambda *a: cross_entropy(*a, -(-y.shape[1] // pad) + int(np.log2(pad))),
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
        if name == "cross_entropy" and n == 1:  # of one class: both are 0
            assert value == 0
            assert (np.abs(gradient) <= slope_error).all()
        else:
            assert error < abs(want) / 1000
            assert_close(gradient, slope, slope_error)


@NAMES
def test_agrees_with_the_reference(kernels, widths, name):
    """reference.py averages; the kernel leaves the average to its caller."""
    for n in widths:
        y, t = draw(name, (3, n), kernels.dtype)
        count = 3 * n if _core.LOSSES[name]["mean"] == "elements" else 3
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
    if n > 1 or name != "cross_entropy":
        assert np.abs(want).max() > 0.05
    # Third derivatives are below 1; the values are rounded by a few u of their sum of terms.
    error = float(model(kernels, name, y, t)[1]) + 2.0**-50 * abs(value)
    assert np.abs(gradient - want).max() <= 1e-10 / 6 + 2 * error / 2e-5


@NAMES
@pytest.mark.parametrize("n", [1, 3, 17])
def test_curve_is_the_central_difference(isa, name, n):
    kernels, h = _core.Kernels(isa, "float64"), 1e-5
    y, t = draw(name, (2, n), np.float64)
    r, got = noise((2, n), np.float64, 9), np.full((2, n), np.nan)
    kernels.loss_curve(name, y, t, r, got, 0.7)
    above, below = run(kernels, name, y + h * r, t, 0.7), run(kernels, name, y - h * r, t, 0.7)
    if n > 1 or name != "cross_entropy":
        assert np.abs(got).max() > 0.05
    assert np.abs(got - (above[1] - below[1]) / (2 * h)).max() <= 1e-9


@NAMES
def test_curve_in_both_types(kernels, widths, name):
    """Against float64, of the same numbers; labels and strides change nothing."""
    for n in widths:
        y, t = draw(name, (5, n), kernels.dtype)
        r, got, wanted = noise((5, n), kernels.dtype, 9), np.empty_like(y), np.empty((5, n))
        kernels.loss_curve(name, y, t, r, got, 0.5)
        double = _core.Kernels(kernels.isa, "float64")
        double.loss_curve(name, *(a.astype(float) for a in (y, t, r)), wanted, 0.5)
        size = np.abs(r).max() * (1 + np.abs(t).sum(axis=1).max())
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
    y = np.empty((0, 3), kernels.dtype)
    assert run(kernels, name, y, y.copy())[0] == 0


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


# --- Whole networks -------------------------------------------------------------------------------

HIDDEN = list(TRUTH)
OUTPUTS = [
    (loss, output)
    for loss in _core.LOSSES
    for output in ([FUSED_OUTPUT[loss]] if FUSED_OUTPUT[loss] else [*TRUTH, "softmax"])
]
STEP = 2e-6  # of the differences
NEAR = 100 * STEP  # no pre-activation comes closer to a point where f' jumps or bends
BENDS = {"relu": (0,), "leaky_relu": (0,), "elu": (0,), "selu": (0,), "hardtanh": (-1, 1),
         "relu6": (0, 6), "hard_sigmoid": (-3, 3)}  # fmt: skip
BATCH = 300  # one block of rows and a part of another


def away_from_bends(z, bends):
    """Biases that put the first bend in the middle of each unit's values and all bends into gaps
    between them: no difference crosses one, and slopes differ from sample to sample."""
    if len(z) == 1:
        return np.array([0.5, -0.3, 0.2, 0.7])[: z.shape[1]] - z[0]
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
        bends = BENDS.get(step.activation)
        b[...] = away_from_bends(X @ W, bends) if bends else rng.uniform(-1, 1, len(b))
        z = X @ W + b
        assert all(np.abs(z - bend).min() >= NEAR for bend in bends or ())
        X = np.float64(softmax(z) if step.activation == "softmax" else truth(step.activation, z))
    return X


def network(isa, loss, output, hidden, rows):
    """Two or three layers: (steps, (engine, reference engine, X, y, where the parameters lie))."""
    other = HIDDEN[(HIDDEN.index(hidden) + 2) % len(HIDDEN)]
    inner = [(4, hidden)] if rows == 1 else [(4, hidden), (3, other)]
    steps, n_params = lower(3, *inner, (3, output), lead=rows % 3)
    shape = (steps, n_params, loss, np.dtype("float64"))
    engine, reference = _core.Engine(*shape, isa), ReferenceEngine(*shape)
    rng = np.random.default_rng([rows, len(loss), len(hidden), len(output)])
    X = rng.standard_normal((rows, 3))
    outputs = fill(engine.theta, steps, X, rng)
    reference.theta[:] = engine.theta
    if loss == "cross_entropy" and rows != 7:
        y = rng.integers(0, 3, rows)
    else:
        y = rng.uniform(0.05, 0.6, (rows, 3))
        for _ in range(100):  # not where so small a loss cancels
            if rows > 1 or np.abs(outputs - y).min() > 0.05:
                break
            y = rng.uniform(0.05, 0.6, (rows, 3))
    return steps, (engine, reference, X, y, slice(steps[0].w, None))


@pytest.mark.parametrize("loss, output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradient_of_networks(isa, loss, output, hidden):
    """Every loss over every output it fits and every hidden activation, by central differences of
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
        roundings = roundings_on_a_way(engine, rows)
        assert distance(gradient[own], expected[own]) <= gamma(roundings, np.float64)


def roundings_on_a_way(engine, rows):
    """At most: in the sum over the rows; and in each layer, up and down, in sums over 4 units and
    a few more, less than there are parameters. Nothing here is so saturated, or cancels so much,
    that it would enlarge their errors."""
    return min(rows, BLOCK) + rows // BLOCK + len(engine.theta)


@pytest.mark.parametrize("loss, output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
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
        most = float(gamma(roundings_on_a_way(engine, rows), np.float32))
        assert reference.loss_and_gradient(X, y, expected) == pytest.approx(value, rel=most)
        assert distance(gradient[own], expected[own]) <= most
