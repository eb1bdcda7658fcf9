"""fit and partial_fit do the steps that plain NumPy does, whatever the engine and the batches."""

import copy

import numpy as np
import pytest

from nncore import SGD, Dense, Network

from .networks import (
    EPS,
    NETWORKS,
    classifier,
    labelled,
    next_order,
    of_kind,
    optimizers,
    quiet,
    regressor,
    soft_targets,
    state,
    valued,
)

# --- Rows and their order -------------------------------------------------------------------------


def online_sgd(theta, X, Y, order, lr):
    """The textbook loop for 5-7-2, tanh, identity, half squared error; return the losses."""
    W1, b1 = theta[:35].reshape(5, 7).copy(), theta[35:42].copy()
    W2, b2 = theta[42:56].reshape(7, 2).copy(), theta[56:].copy()
    losses = []
    for i in order:
        h = np.tanh(X[i] @ W1 + b1)
        error = h @ W2 + b2 - Y[i]
        losses.append(error @ error / 2)
        back = W2 @ error * (1 - h * h)
        W2 -= lr * np.outer(h, error)
        b2 -= lr * error
        W1 -= lr * np.outer(X[i], back)
        b1 -= lr * back
    return np.concatenate([W1.ravel(), b1, W2.ravel(), b2]), losses


@pytest.mark.parametrize("shuffle", [True, False])
def test_batch_size_1_is_online_learning(isa, shuffle):
    X, Y = valued(60)
    network = Network(
        5, Dense(7, "tanh"), Dense(2), loss="half_mse", optimizer=SGD(0.05), dtype="float64",
        seed=1, backend=isa,
    )  # fmt: skip
    start, rng = network.theta.copy(), copy.deepcopy(network._rng)
    history = quiet(network, X, Y, epochs=3, batch_size=1, shuffle=shuffle)
    orders = [next_order(rng, 60) if shuffle else np.arange(60) for _ in range(3)]
    theta, losses = online_sgd(start, X, Y, np.concatenate(orders), 0.05)
    np.testing.assert_allclose(network.theta, theta, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(history["loss"], np.mean(np.split(np.array(losses), 3), axis=1))
    assert history.n_steps == 180


def test_an_epoch_visits_every_row_once():
    """With next to no learning, the mean of the batches' losses is the loss of the data."""
    X, Y = valued(101)
    Y *= np.arange(1, 102)[:, None]  # losses of the rows are far apart
    network = regressor(optimizer="sgd")
    network.optimizer = SGD(1e-14)
    loss = network.evaluate(X, Y)["loss"]
    for batch_size in (1, 7, 32, 100, "full"):
        history = quiet(network, X, Y, epochs=2, batch_size=batch_size)
        np.testing.assert_allclose(history["loss"], loss, rtol=1e-9)


def test_each_epoch_has_its_own_order():
    X, Y = valued(40)
    network = regressor()
    rng = copy.deepcopy(network._rng)
    twin = network.copy()
    quiet(network, X, Y, epochs=3, batch_size=8)
    for _ in range(3):
        order = next_order(rng, 40)
        quiet(twin, X[order], Y[order], batch_size=8, shuffle=False)
    assert network.theta.tobytes() == twin.theta.tobytes()


@optimizers
def test_full_batch_is_one_step_along_the_gradient(optimizer, dtype):
    X, y = labelled(400)
    networks = [classifier(dtype, optimizer) for _ in range(3)]
    for network, size in zip(networks, ("full", 400, 10**6), strict=True):
        history = quiet(network, X, y, epochs=4, batch_size=size, shuffle=False)
        assert history.n_steps == 4
    assert len({state(network)[:3] for network in networks}) == 1
    network = classifier(dtype, "sgd")
    loss, gradient = network.loss_and_gradient(X, y)
    expected = network.theta - 0.1 * gradient.astype("float64")
    history = quiet(network, X, y, batch_size="full")
    assert history["loss"] == pytest.approx([loss], rel=10 * EPS[dtype])
    np.testing.assert_allclose(network.theta, expected, atol=4 * EPS[dtype])


# --- The engine and its twin ----------------------------------------------------------------------


@optimizers
def test_engine_and_reference_train_alike_in_float64(isa, optimizer):
    X, y = labelled(50)
    engine, oracle = (classifier("float64", optimizer, backend=b) for b in (isa, "reference"))
    assert engine.theta.tobytes() == oracle.theta.tobytes()
    for fit in ({"batch_size": 16}, {"batch_size": "full"}):  # 40 steps and 10
        a, b = (quiet(network, X, y, epochs=10, **fit) for network in (engine, oracle))
        assert a.n_steps == b.n_steps
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-10)
    assert engine._engine.n_updates == oracle._engine.n_updates == 50
    np.testing.assert_allclose(engine.theta, oracle.theta, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(engine._engine.state, oracle._engine.state, rtol=1e-7, atol=1e-11)


@optimizers
def test_engine_and_reference_train_alike_in_float32(isa, optimizer):
    """Two float32 runs may differ by what float32 itself costs: the distance to float64."""
    X, y = labelled(50)
    exact, oracle, engine = (
        classifier(dtype, optimizer, backend=b)
        for dtype, b in [("float64", "reference"), ("float32", "reference"), ("float32", isa)]
    )
    exact.theta = oracle.theta
    curves = [np.array(quiet(n, X, y, epochs=12, batch_size=16)["loss"])
              for n in (exact, oracle, engine)]  # fmt: skip
    cost = max(np.abs(curves[1] / curves[0] - 1).max(), 4 * EPS["float32"])
    assert cost < 1e-5
    assert np.abs(curves[2] / curves[0] - 1).max() <= 4 * cost
    cost = max(np.abs(oracle.theta - exact.theta).max(), 4 * EPS["float32"])
    assert np.abs(engine.theta - exact.theta).max() <= 4 * cost


@pytest.mark.parametrize("rows", [257, 600])
@pytest.mark.parametrize(("hidden", "output", "loss"), NETWORKS)
def test_batches_over_256_rows(hidden, output, loss, rows):
    """The engine takes batches through in blocks; that must not show."""
    X, Y = soft_targets(rows)
    engine, oracle = (
        of_kind(hidden, output, loss, dtype="float64", seed=0, backend=b)
        for b in ("auto", "reference")
    )
    a, b = (network.loss_and_gradient(X, Y) for network in (engine, oracle))
    assert a[0] == pytest.approx(b[0], rel=1e-13)
    np.testing.assert_allclose(a[1], b[1], rtol=1e-11, atol=1e-13)
    assert engine.evaluate(X, Y) == pytest.approx(oracle.evaluate(X, Y), rel=1e-13)
    assert engine.evaluate(X, Y)["loss"] == pytest.approx(a[0], rel=1e-13)
    for size in (256, 300, "full"):
        a, b = (quiet(network, X, Y, epochs=2, batch_size=size) for network in (engine, oracle))
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-11)
    np.testing.assert_allclose(engine.theta, oracle.theta, rtol=1e-8, atol=1e-11)


# --- partial_fit ----------------------------------------------------------------------------------


@optimizers
def test_partial_fit_does_the_steps_of_fit(optimizer):
    X, y = labelled(50)
    a, b = (classifier("float32", optimizer) for _ in range(2))
    history = quiet(a, X, y, batch_size=16, shuffle=False)
    losses = [b.partial_fit(X[i : i + 16], y[i : i + 16]) for i in range(0, 50, 16)]
    assert [len(losses), history.n_steps] == [4, 4]
    assert all(type(loss) is float for loss in losses)
    assert history["loss"] == [pytest.approx(np.dot(losses, [16, 16, 16, 2]) / 50, rel=1e-15)]
    assert state(a) == state(b)
    assert b._engine.n_updates == 4


def test_partial_fit_returns_the_loss_before_the_update():
    X, y = labelled()
    network = classifier()
    before = network.evaluate(X, y)["loss"]
    assert network.partial_fit(X, y) == pytest.approx(before, rel=1e-14)
    assert network.evaluate(X, y)["loss"] < before
