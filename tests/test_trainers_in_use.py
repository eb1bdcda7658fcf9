"""Full-batch trainers in `Network`: what they learn, how they treat rows and layers, and runs that
go on."""

import contextlib
import pickle
import random
import signal

import numpy as np
import pytest

import nncore
from nncore import (
    LBFGS,
    ConjugateGradient,
    Dense,
    GradientDescent,
    LevenbergMarquardt,
    Network,
    Rprop,
    ScaledConjugateGradient,
    Stop,
)
from nncore.trainers.course import Course

from .test_interrupt import needs_timer
from .trainees import EVERY, X, Y, bits, fit, network

ITERATIVE = [name for name in EVERY if name not in ("lm", "bayesian")]

# ---- what they learn ----


def exclusive_or():
    return [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], (Dense(3, "tanh"), Dense(1, "tanh"))


def parity():
    bits = np.array([[b >> i & 1 for i in range(4)] for b in range(16)])
    return 2 * bits - 1, bits.sum(1) % 2, (Dense(8, "tanh"), Dense(1, "tanh"))


def encoder_10():
    return np.eye(10), np.eye(10), (Dense(5, "sigmoid"), Dense(10, "sigmoid"))


def encoder_12():
    return np.eye(12), np.eye(12), (Dense(2, "sigmoid"), Dense(12, "sigmoid"))


def sine():
    x = np.linspace(-1, 1, 41)[:, None]
    return x, np.sin(np.pi * x), (Dense(5, "tanh"), Dense(1))


def spirals():
    t = np.arange(40) / 40 * 2 * np.pi + 0.5
    arm = np.column_stack([t * np.cos(t), t * np.sin(t)]) / 7
    return np.r_[arm, -arm], np.repeat([0, 1], 40), (Dense(12, "tanh"), Dense(1, "sigmoid"))


# problem -> trainer -> most epochs in the median of seven seeds, and the loss that is reached
LEARNS = {
    "xor": (exclusive_or, 0.01, {
        "cg": 40, "cg_powell_beale": 40, "cg_hager_zhang": 40, "scg": 60, "lbfgs": 30, "bfgs": 30,
        "one_step_secant": 100, "irprop+": 60, "irprop-": 60, "rprop+": 80, "rprop-": 80, "lm": 15,
        "gradient_descent_adaptive_momentum": 400, "steepest_descent": 400,
    }),
    "parity": (parity, 0.01, {
        "cg": 250, "scg": 250, "lbfgs": 120, "bfgs": 120, "irprop+": 250, "lm": 60,
    }),
    "10-5-10": (encoder_10, 0.003, {
        "cg": 150, "scg": 250, "lbfgs": 150, "irprop+": 150, "irprop-": 150,
    }),
    "12-2-12": (encoder_12, 0.01, {"irprop+": 600, "lm": 80}),
    "sine": (sine, 1e-3, {
        "cg": 200, "cg_hager_zhang": 240, "scg": 150, "lbfgs": 60, "bfgs": 60,
        "one_step_secant": 400, "lm": 35, "bayesian": 30,
    }),
    "spirals": (spirals, 0.05, {"lbfgs": 200, "scg": 500, "irprop+": 500, "bfgs": 200}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "trainer"), [(p, t) for p, (_, _, most) in LEARNS.items() for t in most]
)
def test_learns(problem, trainer):
    make, goal, most = LEARNS[problem]
    epochs = []
    for seed in range(7):
        x, y, layers = make()
        net = Network(
            np.shape(x)[1], *layers, optimizer=trainer, seed=seed, dtype="float64",
            loss="mse" if "encoder" in make.__name__ or trainer == "lm" else None,
        )  # fmt: skip
        stop = Stop(loss=goal)
        history = net.fit(x, y, epochs=2 * most[trainer], verbose=False, stop=stop)
        good = history.stop_reason == "loss"
        epochs.append(len(history["loss"]) if good else np.inf)
    assert np.median(epochs) <= most[trainer], epochs


@pytest.mark.parametrize("trainer", EVERY)
def test_the_loss_falls_in_both_types(trainer):
    for dtype in ("float64", "float32"):
        net = network(trainer, dtype)
        before = net.evaluate(X, Y)["loss"]
        history = fit(net, 40)
        assert history["loss"][-1] < (0.9999 if "descent" in trainer else 0.9) * before
        assert net.theta.dtype == dtype and net.evaluate(X, Y)["loss"] == history["loss"][-1]
        _, gradient = net.loss_and_gradient(X, Y)
        norm = np.linalg.norm(gradient.astype(float))
        assert history["gradient_norm"][-1] == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("trainer", EVERY)
def test_both_backends_go_the_same_way(trainer):
    """A few iterations: after them rounding decides where a search stops."""
    nets = [network(trainer, backend=backend) for backend in ("auto", "reference")]
    losses = [fit(net, 4)["loss"] for net in nets]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-8)
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("trainer", EVERY)
def test_threads_give_the_same_bits(trainer):
    x = np.random.default_rng(0).uniform(-1, 1, (600, 2))
    ends = set()
    units = 20 if trainer in ("lm", "bayesian") else 64
    for threads in (1, 2):
        net = Network(2, Dense(units, "tanh"), Dense(1), optimizer=trainer, seed=0)
        net.fit(x, x[:, :1] * x[:, 1:], epochs=2, verbose=False, n_threads=threads)
        ends.add(net.theta.tobytes())
    assert len(ends) == 1


@pytest.mark.parametrize("trainer", EVERY)
def test_a_row_of_weight_2_is_there_twice(trainer):
    w = np.random.default_rng(1).integers(0, 3, len(X))
    weighted, repeated = network(trainer), network(trainer)
    losses = fit(weighted, 4, sample_weight=w)["loss"]
    rows = np.repeat(np.arange(len(X)), w)
    again = repeated.fit(X[rows], Y[rows], epochs=4, verbose=False)["loss"]
    np.testing.assert_allclose(losses, again, rtol=1e-8)
    np.testing.assert_allclose(weighted.theta, repeated.theta, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("trainer", EVERY)
def test_what_is_not_trainable_does_not_move(trainer):
    net = network(trainer)
    net.layers[1].trainable = False
    for frozen, moving in ((1, (0, 2)), (0, (1, 2)), (2, (0, 1))):
        before = [layer.W.copy() for layer in net.layers]
        biases = [layer.b.copy() for layer in net.layers]
        fit(net, 3)
        for i in (0, 1, 2):
            assert (net.layers[i].W == before[i]).all() == (i == frozen)
            assert (net.layers[i].b == biases[i]).all() == (i == frozen)
        net.layers[frozen].trainable = True
        net.layers[(frozen - 1) % 3].trainable = False
        assert moving
    shown = network(trainer)
    shown.layers[0].trainable = False
    twin = shown.copy()
    fit(shown, 3), fit(twin, 1), fit(twin, 2)
    assert bits(shown) == bits(twin)


def test_penalties_are_part_of_the_loss():
    for trainer in ("lbfgs", "cg", "scg", "bfgs"):
        net = Network(2, Dense(1, l2=0.5), optimizer=trainer, dtype="float64", seed=0)
        net.fit(X, Y, epochs=100, verbose=False)
        A = np.column_stack([X, np.ones(len(X))])
        # mse + 0.25 |W|^2 is least where 2 / n A'(A t - y) + 0.5 W = 0
        want = np.linalg.solve(2 / len(X) * A.T @ A + np.diag([0.5, 0.5, 0]),
                               2 / len(X) * A.T @ Y[:, 0])  # fmt: skip
        np.testing.assert_allclose(net.theta, want, atol=1e-6)


# ---- history ----


def test_what_the_history_has():
    common = ["loss", "gradient_norm", "evaluations", "gradients"]
    bayesian = ["mu", "alpha", "beta", "effective_parameters"]
    for trainer, own in (("lbfgs", []), ("scg", ["lambda"]), ("lm", ["mu"]),
                         ("traingda", ["lr"]), ("bayesian", bayesian)):  # fmt: skip
        history = fit(network(trainer), 3, validation_data=(X, Y))
        assert list(history) == [*common, *own, "val_loss"]
        assert {len(values) for values in history.values()} == {3}
        assert history["val_loss"] == history["loss"]
        assert history.n_steps == 3 and history.seconds > 0 and history.stop_reason == "epochs"
        assert history["evaluations"][0] >= 2 and sorted(history["evaluations"])


def test_partial_fit_is_one_iteration():
    for trainer in EVERY:
        one, other = network(trainer), network(trainer)
        before = one.evaluate(X, Y)["loss"]
        assert one.partial_fit(X, Y) == before
        history = fit(other, 1)
        assert bits(one) == bits(other)
        assert one.partial_fit(X, Y) == history["loss"][0]


# ---- runs that go on ----

WAYS = {
    "nothing": lambda net, path: net,
    "copy": lambda net, path: net.copy(),
    "pickle": lambda net, path: pickle.loads(pickle.dumps(net)),
    "file": lambda net, path: (net.save(path), nncore.load(path))[1],
}
MORE = [
    *EVERY, ConjugateGradient("hestenes_stiefel", restart=None), LBFGS(3, "hager_zhang"),
    Rprop(step_start=(0.01, 0.2)), ScaledConjugateGradient(curvature="difference"),
    LevenbergMarquardt("marquardt"), LevenbergMarquardt("nielsen"),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trainer", MORE, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_halves_are_a_whole(trainer, way, dtype, tmp_path):
    whole, half = network(trainer, dtype), network(trainer, dtype)
    losses = fit(whole, 9)["loss"]
    first = fit(half, 4)["loss"]
    half = WAYS[way](half, tmp_path / "net")
    assert half.optimizer == whole.optimizer
    assert first + fit(half, 5)["loss"] == losses
    assert bits(half) == bits(whole)


def test_assigning_an_optimizer_starts_afresh():
    net = network("lbfgs")
    fit(net, 5)
    assert net._memory is not None
    net.optimizer = net.optimizer
    assert net._memory is None
    theta = net.theta.copy()
    net.optimizer = "adam"
    fit(net, 1)
    net.optimizer = "cg"
    fit(net, 1)
    assert (net.theta != theta).all()


@needs_timer
@pytest.mark.parametrize("trainer", ["cg", "lbfgs", "lm", "irprop+"])
def test_an_interrupt_leaves_the_last_iteration(trainer):
    """Ctrl-C at any place in C or Python: what is there is what so many iterations give."""
    x = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    y = x[:, :1] * x[:, 1:]
    rng, struck = random.Random(0), 0
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for trial in range(60):
            net = network(trainer)
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(
                    signal.ITIMER_REAL, rng.uniform(0.5, 1.5) * (0.005 + 0.001 * trial)
                )
                net.fit(x, y, epochs=10**6, verbose=False)
            signal.setitimer(signal.ITIMER_REAL, 0)
            done = net._engine.n_updates
            if done:
                struck += 1
                twin = network(trainer)
                twin.fit(x, y, epochs=done, verbose=False)
                assert bits(net) == bits(twin)
            if struck == 6:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert struck == 6


def test_an_interrupt_between_memory_and_parameters(monkeypatch):
    keep, calls = Course._keep, []

    def struck(self, point, memory, done):
        calls.append(done)
        if calls.count(3) == 1:
            self._network._memory = memory, None
            raise KeyboardInterrupt
        keep(self, point, memory, done)

    net, twin = network("lbfgs"), network("lbfgs")
    fit(twin, 3)
    monkeypatch.setattr(Course, "_keep", struck)
    with pytest.raises(KeyboardInterrupt):
        fit(net, 5)
    assert bits(net) == bits(twin)


def test_a_step_to_infinity_is_not_applied():
    net = network(GradientDescent(lr=1e300))
    before = net.theta.copy()
    with pytest.raises(FloatingPointError, match="at epoch 1, .*that update was not applied"):
        fit(net)
    assert (net.theta == before).all() and net._engine.n_updates == 0
    net = network("lbfgs", "float32")
    net.theta = np.full(net.n_params, 3e38)
    with pytest.raises(FloatingPointError, match="before the first iteration"):
        fit(net)


# ---- theta_to_loss ----


@pytest.mark.parametrize("weighted", [False, True])
def test_theta_to_loss(weighted):
    net = network("adam")
    net.layers[1].trainable = False
    w = np.arange(1.0, 25) if weighted else None
    f = net.theta_to_loss(X, Y, sample_weight=w)
    theta, before = net.theta + 0.1, net.theta.copy()
    loss, gradient = f(theta)
    assert f.evaluations == 1 and gradient.dtype == "float64"
    fixed = np.zeros(net.n_params, bool)
    fixed[15:33] = True  # the 5 x 3 weights and 3 biases between
    assert (gradient[fixed] == 0).all() and (gradient[~fixed] != 0).all()
    for i in np.flatnonzero(~fixed):
        step = np.zeros_like(theta)
        step[i] = 1e-6
        slope = (f(theta + step)[0] - f(theta - step)[0]) / 2e-6
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-9)
    assert (net.theta == before).all()
    other = f(theta)[1]
    assert other is not gradient and (other == gradient).all()
    net.theta = theta
    assert loss == net.evaluate(X, Y, sample_weight=w)["loss"]
    for wrong in (theta[:-1], theta[None], 3.0):
        with pytest.raises(ValueError, match=r"theta must have shape \(37,\), got"):
            f(wrong)


def test_theta_to_loss_in_minimize_is_fit():
    net = network("lbfgs")
    found = nncore.minimize(net.theta_to_loss(X, Y), net.theta, "lbfgs", iterations=12)
    fit(net, 12)
    np.testing.assert_allclose(found.x, net.theta, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["cg", "scg"])
def test_frozen_parameters_count_for_no_restart(name):
    """A network behind a frozen layer is trained as the same one on that layer's outputs."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
    whole = nncore.Network(3, nncore.Dense(5, "tanh", trainable=False), nncore.Dense(1),
                           optimizer=name, dtype="float64", seed=0)  # fmt: skip
    first, last = whole.layers
    alone = nncore.Network(5, nncore.Dense(1), optimizer=name, dtype="float64", seed=0)
    alone.layers[0].W = last.W
    Z = np.tanh(X @ first.W + first.b)
    losses = [net.fit(data, y, epochs=12, verbose=False)["loss"]
              for net, data in ((whole, X), (alone, Z))]  # fmt: skip
    np.testing.assert_allclose(*losses, rtol=1e-9)
