"""Every row of optimizers.def: one step by hand, many against the twin, and what state does."""

import numpy as np
import pytest

from nncore import _core
from nncore.reference import OPTIMIZERS

from .checks import (
    assert_close,
    assert_same_bits,
    canonical_update,
    guarded,
    noise,
    placed,
    unit,
    wide,
)

NAMES = pytest.mark.parametrize("name", _core.OPTIMIZERS)
VECTORS = {name: row["vectors"] for name, row in _core.OPTIMIZERS.items()}
# Unlike the defaults and each other, so that a swapped pair shows.
HYPER = {
    "sgd": (0.3,),
    "momentum": (0.3, 0.7),
    "nesterov": (0.3, 0.7),
    "adam": (0.3, 0.8, 0.95, 1e-3),
    "dampened": (0.3, 0.7, 0.4),
    "velocity": (0.3, 0.7),
    "velocity_nesterov": (0.3, 0.7),
    "adam_keras": (0.3, 0.8, 0.95, 1e-3),
    "amsgrad": (0.3, 0.8, 0.85, 1e-3),
    "amsgrad_keras": (0.3, 0.8, 0.85, 1e-3),
    "adagrad": (0.3, 0.05, 1e-3, 0.02),
    "adadelta": (0.7, 0.8, 1e-2),
    "rmsprop": (0.3, 0.8, 1e-2, 0.03),
    "rmsprop_momentum": (0.3, 0.8, 1e-2, 0.03, 0.6, 0),
    "rmsprop_centered": (0.3, 0.8, 1e-2, 0.03),
    "rmsprop_centered_momentum": (0.3, 0.8, 1e-2, 0.03, 0.6, 1),
    "adamax": (0.3, 0.8, 0.95, 1e-3, 2e-3),
    "nadam": (0.3, 0.8, 0.95, 1e-3, 0.5),
    "radam": (0.3, 0.8, 0.95, 1e-3),
    "lion": (0.3, 0.8, 0.95),
}


def squares(name):
    """The vectors that are means or sums of squares, or of absolute values."""
    if name.startswith(("rms", "adagrad")):
        return (0,)
    return (0, 1) if name == "adadelta" else (1, 2)


# Its sums, or largest values, do not decay.
LASTING = {"adagrad", "amsgrad", "amsgrad_keras", "adamax"}
STEPS = 50


def start(name, n, dtype, seed=0):
    """(theta, gradient, state), not at its beginning but as it may be later."""
    theta, gradient = noise(n, dtype, seed), noise(n, dtype, seed + 1)
    state = [noise(n, dtype, seed + 2 + i) for i in range(VECTORS[name])]
    return theta, gradient, [np.abs(s) if i in squares(name) else s for i, s in enumerate(state)]


# --- One step by hand -----------------------------------------------------------------------------


def by_hand(kernels, name, hyper, theta, gradient, state, t=1):
    theta, gradient = (np.array(v, kernels.dtype) for v in (theta, gradient))
    state = [np.array(s, kernels.dtype) for s in state]
    kernels.update(name, theta, gradient, state, hyper, t)
    return theta.tolist(), [s.tolist() for s in state]


def test_sgd_by_hand(kernels):
    assert by_hand(kernels, "sgd", (0.5,), [1, 2, -3], [4, -2, 0], []) == ([-1, 3, -3], [])


def test_momentum_by_hand(kernels):
    """The first buffer is the first gradient, not (1 - mu) of it."""
    hyper = (0.5, 0.25)
    first = by_hand(kernels, "momentum", hyper, [1, 2], [4, -2], [[0, 0]])
    assert first == ([-1, 3], [[4, -2]])
    second = by_hand(kernels, "momentum", hyper, first[0], [1, 8], first[1], 2)
    assert second == ([-2, -0.75], [[2, 7.5]])


def test_nesterov_by_hand(kernels):
    hyper = (0.5, 0.25)
    first = by_hand(kernels, "nesterov", hyper, [1, 2], [4, -2], [[0, 0]])
    assert first == ([-1.5, 3.25], [[4, -2]])  # by 0.5 (g + 0.25 g)
    second = by_hand(kernels, "nesterov", hyper, first[0], [1, 8], first[1], 2)
    assert second == ([-2.25, -1.6875], [[2, 7.5]])


def test_adam_by_hand(kernels):
    """Of fractions that are exact: the bias corrections turn g / 2 and g^2 / 4 into g and g^2."""
    theta, (m, v) = by_hand(kernels, "adam", (0.5, 0.5, 0.75, 2.0), [1, 2], [6, -2], [[0] * 2] * 2)
    assert (m, v) == ([3, -1], [9, 1])
    assert theta == pytest.approx([1 - 0.5 * 6 / 8, 2 + 0.5 * 2 / 4], rel=1e-6)
    # Second step: m = 3/2 + 1 = 2.5, / 0.75; v = 27/4 + 1 = 7.75, / 0.4375
    theta, (m, v) = by_hand(kernels, "adam", (0.5, 0.5, 0.75, 2.0), [1], [2], [[3], [9]], 2)
    assert (m, v) == ([2.5], [7.75])
    want = 1 - 0.5 * (2.5 / 0.75) / ((7.75 / 0.4375) ** 0.5 + 2)
    assert theta == pytest.approx([want], rel=1e-6 if kernels.dtype == np.float32 else 1e-15)


def test_adam_moves_by_the_rate_at_first(kernels):
    """Whatever the size of the gradient, if it is far above eps."""
    gradient = np.array([1e-3, -7, 1e4])
    theta, _ = by_hand(kernels, "adam", (0.01, 0.9, 0.999, 1e-12), [0] * 3, gradient, [[0] * 3] * 2)
    assert theta == pytest.approx([-0.01, 0.01, -0.01], rel=1e-6)


# --- Many steps against the reference -------------------------------------------------------------
# The reference runs in the wider type. Beside it runs a bound of the error of theta and of each
# state vector, by the rule of propagation: each operation adds u times its result, each constant
# that is rounded to the type u times what it multiplies; without fused multiply-add (products) the
# product in it adds u times itself.


def grown(name, hyper, t, u, products, theta, g, old, new, e_theta, e_state):
    """The errors after step t: theta is after it, old and new are the state around it."""
    size = np.abs
    if name == "sgd":
        (lr,) = hyper
        return e_theta + u * size(lr * g) * (1 + products) + u * size(theta), []
    if name in ("momentum", "nesterov"):
        lr, mu = hyper
        (v,), (v_old,), (e,) = new, old, e_state
        e = mu * e + u * size(mu * v_old) * (1 + products) + u * size(v)
        move, e_move = v, e
        if name == "nesterov":
            move = g + mu * v
            e_move = mu * e + u * size(mu * v) * (1 + products) + u * size(move)
        e_theta = e_theta + lr * e_move + u * size(lr * move) * (1 + products) + u * size(theta)
        return e_theta, [e]
    if name != "adam":
        return grown_numerically(name, hyper, t, u, theta, g, old, new, e_theta, e_state)
    lr, b1, b2, eps = hyper
    (m, v), (m_old, v_old), (em, ev) = new, old, e_state
    em = b1 * em + u * size(b1 * m_old) * (1 + products) + 2 * u * (1 - b1) * size(g) + u * size(m)
    ev = b2 * ev + u * b2 * v_old * (1 + products) + 3 * u * (1 - b2) * g * g + u * v
    root = 1 / (1 - b2**t) ** 0.5
    below = np.sqrt(v) * root + eps
    # The root halves a relative error; itself, its factor and eps are rounded, and the sum.
    e_below = np.sqrt(v) * root * (ev / (2 * v) + (2 + products) * u) + u * eps + u * below
    quotient, rate = m / below, lr / (1 - b1**t)
    e_quotient = (em + size(quotient) * e_below) / below + u * size(quotient)
    move = rate * quotient
    return e_theta + rate * e_quotient + u * size(move) * (1 + products) + u * size(theta), [em, ev]


def grown_numerically(name, hyper, t, u, theta, g, old, new, e_theta, e_state):
    """The same, where no formula of its own is written: the errors before the step are passed
    through the reference, one vector at a time and both ways; to that the step adds its own, some
    roundings of what it computes, each as large as the same without signs, so without cancellation.
    A square root near zero, or a sign, would make that wrong, so the data keep away from them.
    """
    update = OPTIMIZERS[name].update

    def step(state, gradient):
        after, move, state = np.zeros_like(g), np.empty_like(g), np.array(state)
        update(after, gradient, state, move, t, *hyper)
        return [after, *state]

    before = [np.array(v) for v in old]
    exact = step(before, g)
    errors = [e_theta, *(np.zeros_like(g) for _ in old)]
    for v, error in enumerate(e_state):
        worst = np.zeros((len(exact), len(g)), g.dtype)
        for way in (-1, 1):
            moved = [b + way * error * (i == v) for i, b in enumerate(before)]
            here = step(moved, g)
            worst = np.maximum(worst, np.abs(np.array(here) - np.array(exact)))
        errors = [e + w for e, w in zip(errors, worst, strict=True)]
    roundings = 12 * u
    size = step([np.abs(b) for b in before], np.abs(g))
    scale = 4 if "centered" in name else 1  # the difference of squares, here never below a fourth
    errors = [e + scale * roundings * np.abs(s) for e, s in zip(errors, size, strict=True)]
    return errors[0] + u * np.abs(theta), errors[1:]


@NAMES
def test_many_steps_agree_with_the_reference(kernels, fused, name):
    n, to, hyper = 37, wide(kernels.dtype), HYPER[name]
    u, products = 1.001 * to.type(unit(kernels.dtype)), 0 if fused else 1
    theta, _, _ = start(name, n, kernels.dtype)
    state = [np.zeros(n, kernels.dtype) for _ in range(VECTORS[name])]
    want, want_state = theta.astype(to), np.zeros((VECTORS[name], n), to)
    e_theta, e_state = np.zeros(n, to), [np.zeros(n, to) for _ in state]
    move = np.empty(n, to)
    for t in range(1, STEPS + 1 + (name == "lion")):  # an odd number of moves of one length
        g = noise(n, kernels.dtype, seed=100 + t)
        old = want_state.copy()
        kernels.update(name, theta, g, state, hyper, t)
        g = g.astype(to)
        OPTIMIZERS[name].update(want, g, want_state, move, t, *hyper)
        e_theta, e_state = grown(
            name, hyper, t, u, products, want, g, old, want_state, e_theta, e_state
        )
        assert_close(theta, want, e_theta)
        for got, expected, error in zip(state, want_state, e_state, strict=True):
            assert_close(got, expected, error)
    assert np.abs(want - noise(n, kernels.dtype)).min() > 1e-3, "every parameter has moved"
    most = 2000 * (8 if "centered" in name else 1)
    assert e_theta.max() < most * u, "the bound still says something after all steps"


# --- The bits of one step -------------------------------------------------------------------------


@NAMES
@pytest.mark.parametrize("t", [1, 7])
def test_bits_of_one_step(kernels, fused, name, t):
    theta, g, state = start(name, 201, kernels.dtype)
    want, want_state = canonical_update(name, fused, theta, g, state, HYPER[name], t)
    kernels.update(name, theta, g, state, HYPER[name], t)
    assert_same_bits(theta, want)
    for got, expected in zip(state, want_state, strict=True):
        assert_same_bits(got, expected)


@NAMES
def test_every_size_and_start(kernels, sizes, name):
    """A parameter's bits do not depend on where it stands, nor is anything else written."""
    whole, g, state = start(name, sizes[-1] + 20, kernels.dtype)
    theta_before, state_before = whole.copy(), [s.copy() for s in state]
    kernels.update(name, whole, g, state, HYPER[name], 3)
    for n in sizes:
        for shift in range(18):
            here = slice(shift, shift + n)
            theta, *intact = guarded(n, kernels.dtype, start=shift)
            theta[:] = theta_before[here]
            parts = [guarded(n, kernels.dtype, start=(shift + i) % 7) for i in range(len(state))]
            for (part, _), before in zip(parts, state_before, strict=True):
                part[:] = before[here]
            gradient = placed(g[here], start=shift % 3)
            kernels.update(name, theta, gradient, [part for part, _ in parts], HYPER[name], 3)
            for check in intact + [check for _, check in parts]:
                check()
            assert_same_bits(theta, whole[here])
            assert_same_bits(gradient, g[here])
            for (part, _), after in zip(parts, state, strict=True):
                assert_same_bits(part, after[here])


# --- State ----------------------------------------------------------------------------------------


@NAMES
def test_state_vectors(kernels, name):
    assert VECTORS[name] == OPTIMIZERS[name].n_vectors
    theta, g, state = start(name, 5, kernels.dtype)
    state = [np.zeros_like(theta) for _ in state]
    kernels.update(name, theta, g, state, HYPER[name], 1)
    assert all((vector != 0).all() for vector in state), "each one is used"
    for wrong in (state[:-1], [*state, theta.copy()]):
        if len(wrong) != VECTORS[name]:
            with pytest.raises(ValueError, match="do not fit the rule"):
                kernels.update(name, theta, g, wrong, HYPER[name], 1)
    with pytest.raises(ValueError, match="do not fit the rule"):
        kernels.update(name, theta, g, state, HYPER[name][1:], 1)


@NAMES
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_values(kernels, name, bad):
    """NaN in a gradient shows in its parameter and its state, and in no other."""
    theta, g, state = start(name, 41, kernels.dtype)
    g[[2, 40]] = bad
    kernels.update(name, theta, g, state, HYPER[name], 1)
    moved = [] if name == "lion" and np.isinf(bad) else [theta]  # by lr, as by any gradient
    for vector in (*moved, *state):
        assert np.flatnonzero(~np.isfinite(vector)).tolist() == [2, 40]
    if np.isnan(bad):
        assert np.isnan(theta[[2, 40]]).all()


@pytest.mark.parametrize("name", [name for name, vectors in VECTORS.items() if vectors])
def test_state_settles_at_zero(kernels, name):
    """Under gradients of zero it decays to 0 and leaves out the denormal numbers, which are slow:
    they would be with a network for good once a unit has died."""
    least = np.finfo(kernels.dtype).tiny
    theta = np.zeros(24, kernels.dtype)
    state = [least * np.linspace(1, 400, 24, dtype=theta.dtype) for _ in range(VECTORS[name])]
    if name in ("momentum", "nesterov", "dampened", "velocity", "velocity_nesterov", "lion"):
        state[0][::2] *= -1
    hyper = (0.0, *HYPER[name][1:])
    for t in range(1, 250):
        kernels.update(name, theta, np.zeros_like(theta), state, hyper, t)
        for vector in state:
            assert ((vector == 0) | (np.abs(vector) >= least)).all(), "denormal"
    assert name in LASTING or not any(vector.any() for vector in state)


@NAMES
def test_a_zero_gradient_and_state_change_nothing(kernels, name):
    theta, g, state = start(name, 33, kernels.dtype)
    before, zeros = theta.copy(), [np.zeros_like(s) for s in state]
    kernels.update(name, theta, np.zeros_like(g), zeros, HYPER[name], 1)
    assert_same_bits(theta, before)
    largest = zeros.pop() if name == "adamax" else np.array([0])  # of |g| + eps
    assert (largest == largest.dtype.type(HYPER[name][-1] * (name == "adamax"))).all()
    assert not any(vector.any() for vector in zeros)
