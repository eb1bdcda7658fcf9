"""Networks learn what they should, and one step of theirs is the one worked out by hand."""

import copy

import numpy as np
import pytest

from nncore import SGD, Adam, Dense, Network

from .networks import EPS, OPTIMIZERS, backends, optimizers, quiet

# --- It learns ------------------------------------------------------------------------------------

XOR = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])


@backends
def test_learns_xor(backend, dtype):
    network = Network(
        2, Dense(8, "tanh"), Dense(1, "sigmoid"), optimizer=Adam(0.1), dtype=dtype, seed=0,
        backend=backend,
    )  # fmt: skip
    history = quiet(network, *XOR, epochs=300, batch_size=4)
    assert history["loss"][0] > 0.5 and history["loss"][-1] < 0.01
    np.testing.assert_array_equal(network.predict(XOR[0]).ravel() > 0.5, XOR[1])
    assert network.evaluate(*XOR)["accuracy"] == 1


def spirals(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    radius = np.sqrt(rng.uniform(0.02, 1, rows))
    angle = 5 * radius + labels * 2 * np.pi / 3 + rng.normal(0, 0.08, rows)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), labels


def test_learns_three_spirals(dtype):
    network = Network(
        2, Dense(24, "relu"), Dense(24, "tanh"), Dense(3, "softmax"), optimizer=Adam(0.01),
        dtype=dtype, seed=0,
    )  # fmt: skip
    linear = Network(2, Dense(3, "softmax"), optimizer=Adam(0.01), dtype=dtype, seed=0)
    train, test = spirals(900, 0), spirals(600, 1)
    for each in (network, linear):
        quiet(each, *train, epochs=80, batch_size=32)
    assert network.evaluate(*test)["accuracy"] > 0.96
    assert linear.evaluate(*test)["accuracy"] < 0.75  # so the layers between do the work


def moons(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    angle = rng.uniform(0, np.pi, rows)
    X = np.column_stack([np.cos(angle), np.sin(angle)])
    X[labels == 1] = [1, 0.5] - X[labels == 1]
    return X + rng.normal(0, 0.1, (rows, 2)), labels


@optimizers
def test_learns_two_moons(optimizer):
    network = Network(
        2, Dense(16, "softplus"), Dense(1, "sigmoid"), optimizer=copy.copy(OPTIMIZERS[optimizer]),
        seed=0,
    )  # fmt: skip
    if optimizer == "sgd":
        network.optimizer.lr = 1
    history = quiet(network, *moons(400, 0), epochs=150, validation_data=moons(300, 1))
    assert history["val_accuracy"][-1] > 0.95
    assert history["val_loss"][-1] < 0.2 < history["val_loss"][0]


@pytest.mark.parametrize("loss", ["mse", "half_mse"])
def test_learns_a_function(loss):
    x = np.linspace(-3, 3, 200)
    network = Network(
        1, Dense(20, "tanh"), Dense(2), loss=loss, optimizer=Adam(0.02), dtype="float64", seed=0
    )
    y = np.column_stack([np.sin(x), x**2 / 9])
    quiet(network, x[:, None], y, epochs=300, batch_size=20)
    assert np.abs(network.predict(x[:, None]) - y).max() < 0.1


# --- The worked example: 3-2-1, sigmoid, target 0, one step of SGD(0.1) ---------------------------
# Worked out with 40 decimal digits.

GOLDEN = {
    "half_mse": (
        0.29295839892268616,
        [
            *(0.09982033389812673, 0.19959686203731685),
            *(0.29976044519750231, 0.09946248271642247),
            *(0.49979038954781452, -0.00047032762313034),
            *(0.09970055649687788, 0.09932810339552809),
            *(0.09066634595793801, 0.19210568923100635),
            0.98625743997361194,
        ],
        0.76098665900378620,
    ),
    "binary_cross_entropy": (
        1.45009511462222929,
        [
            *(0.09899927101876634, 0.19775454669252477),
            *(0.29866569469168846, 0.09700606225669969),
            *(0.49883248285522740, -0.00261969552538777),
            *(0.09833211836461057, 0.09625757782087462),
            *(0.04801212914783178, 0.15602918140357222),
            0.92345479780904800,
        ],
        0.73987024230944136,
    ),
}


@pytest.mark.parametrize("loss", GOLDEN)
@backends
def test_worked_example(backend, dtype, loss):
    network = Network(
        3, Dense(2, "sigmoid", init=[[0.1, 0.2], [0.3, 0.1], [0.5, 0]]),
        Dense(1, "sigmoid", init=[[0.1], [0.2]]), loss=loss, optimizer=SGD(0.1), dtype=dtype,
        backend=backend,
    )  # fmt: skip
    network.layers[0].b = [0.1, 0.1]
    network.layers[1].b = 1
    np.testing.assert_array_equal(
        network.theta, np.array([0.1, 0.2, 0.3, 0.1, 0.5, 0, 0.1, 0.1, 0.1, 0.2, 1], dtype)
    )
    # A handful of roundings of numbers up to 1.5.
    exact = {"rtol": 0, "atol": 8 * EPS[dtype]}
    value, theta, output = GOLDEN[loss]
    X, y = [[0.6, 0.8, 0.7]], [0]
    np.testing.assert_allclose(network.predict(X), [[0.76545202190952002]], **exact)
    history = quiet(network, X, y, batch_size=1)
    np.testing.assert_allclose(history["loss"], [value], **exact)
    np.testing.assert_allclose(network.theta, theta, **exact)
    np.testing.assert_allclose(network.predict(X), [[output]], **exact)
