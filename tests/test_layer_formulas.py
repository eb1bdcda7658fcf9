"""What each layer beside Dense computes, forwards and backwards, in training and elsewhere."""

import re

import numpy as np
import pytest

import nncore
from nncore import SGD, BatchNorm, Dense, Dropout, Embedding, LayerNorm, Network, PReLU, Residual

from .checks import assert_near
from .networks import EPS, backends, quiet
from .stacks import bits, inputs, make, samples

# --- BatchNorm ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 50, 256, 257, 1000])
@backends
def test_batch_norm_is_the_formula(rows, backend):
    """Statistics of the whole batch; running ones by PyTorch's convention.

    Numbers of about 100 and their mean are rounded at 50 times their deviation.
    """
    close = 200 * EPS["float64"]
    rng = np.random.default_rng(rows)
    network = Network(5, BatchNorm(0.3, eps=0.01), PReLU(), dtype="float64", optimizer=SGD(1e-30),
                      loss="half_mse", backend=backend)  # fmt: skip
    layer = network.layers[0]
    gamma, beta = rng.normal(size=(2, 5))
    layer.gamma, layer.beta = gamma, beta
    network.layers[1].slope = 1  # so that it does nothing, to 1e-30
    X = rng.normal(100, 2, size=(rows, 5))
    mean, var = np.zeros(5), np.ones(5)
    for _ in range(3):
        X = X + 1
        out = (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0) + 0.01) * gamma + beta
        T = rng.normal(size=(rows, 5))
        loss = network.partial_fit(X, T)
        assert loss == pytest.approx(0.5 * np.square(out - T).sum() / rows, rel=close)
        mean = 0.7 * mean + 0.3 * X.mean(axis=0)
        var = 0.7 * var + 0.3 * X.var(axis=0, ddof=1)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=close)
        np.testing.assert_allclose(layer.running_var, var, rtol=close)
    out = (X - mean) / np.sqrt(var + 0.01) * gamma + beta
    np.testing.assert_allclose(network.predict(X), out, rtol=close)
    loss = 0.5 * np.square(out - T).sum() / rows
    assert network.evaluate(X, T)["loss"] == pytest.approx(loss, rel=close)


def test_a_large_mean_does_not_drown_the_variance():
    X = 1e4 + np.random.default_rng(0).normal(size=(512, 3)).astype("float32")
    network = Network(3, BatchNorm(1.0), Dense(1), optimizer=SGD(1e-30))
    network.partial_fit(X, X[:, :1])
    exact = X.astype(float).var(axis=0, ddof=1)
    # A chain of 512 additions; what the mean lost at 1e4, 6e-4, counts squared.
    np.testing.assert_allclose(network.layers[0].running_var, exact, rtol=512 * EPS["float32"] / 2)


def test_momentum_0_and_1():
    X = np.random.default_rng(0).normal(size=(20, 3))
    still, newest = (Network(3, BatchNorm(m), Dense(1), dtype="float64") for m in (0, 1))
    for network in (still, newest):
        quiet(network, X, X[:, 0], batch_size=10, shuffle=False)
    np.testing.assert_array_equal(still._engine.running, [0, 0, 0, 1, 1, 1])
    assert_near(newest.layers[0].running_mean, X[10:].mean(axis=0), 5)  # a sum of 10


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize(
    ("rows", "batch_size", "said"),
    [(33, 32, "the last of 33 rows in batches of 32"), (5, 1, "this"), (1, "full", "this"),
     (1, 10, "this")],
)  # fmt: skip
def test_a_batch_of_one_row_is_refused(rows, batch_size, said, backend):
    network = make("nested", backend=backend)
    X, y = samples("nested", network, rows)
    before = bits(network)
    with pytest.raises(ValueError, match=f"at least two rows.*{said} is a batch of one row"):
        quiet(network, X, y, batch_size=batch_size)
    assert bits(network) == before
    assert np.isfinite(network.predict(X[:1])).all()
    network.evaluate(X[:1], y[:1]), network.loss_and_gradient(X[:1], y[:1])


def test_the_engine_refuses_one_row_too():
    network = make("batch_norm")
    X, y = samples("batch_norm", network, 3)
    before = bits(network)
    with pytest.raises(ValueError, match="one row"):
        network._engine.train(X, y, None, 2)
    assert bits(network) == before


def test_a_loss_that_is_not_finite_leaves_the_statistics():
    network = Network(2, BatchNorm(), Dense(1), dtype="float32")
    before = bits(network)[:5]
    with pytest.raises(FloatingPointError):
        network.partial_fit(np.ones((4, 2)), np.full((4, 1), 1e30))
    assert bits(network)[:5] == before


def test_a_constant_column_is_finite_and_leaves_no_denormals():
    network = Network(2, BatchNorm(0.5), Dense(1), optimizer=SGD(0.01))
    X = np.zeros((8, 2), "float32")
    quiet(network, X, X[:, 0], epochs=400)
    assert np.isfinite(network.theta).all()
    np.testing.assert_array_equal(network._engine.running, 0)


# --- LayerNorm, PReLU, Residual -------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 7, 16, 65])
@backends
def test_layer_norm_is_the_formula(width, backend):
    rng = np.random.default_rng(width)
    network = Network(width, LayerNorm(0.01), dtype="float64", backend=backend)
    gamma, beta = rng.normal(size=(2, width))
    network.layers[0].gamma, network.layers[0].beta = gamma, beta
    X = rng.normal(10, 2, size=(300, width))
    centred = X - X.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt(X.var(axis=1, keepdims=True) + 0.01) * gamma + beta
    # Rounded at 10, and divided by at least 0.1: some 100 eps, times gamma.
    np.testing.assert_allclose(network.predict(X), expected, rtol=0, atol=300 * EPS["float64"])


@pytest.mark.parametrize("shared", [False, True])
@backends
def test_prelu_is_the_formula(shared, backend):
    rng = np.random.default_rng(0)
    network = Network(70, PReLU(shared=shared), dtype="float64", loss="half_mse", backend=backend)
    slope = network.layers[0].slope
    assert slope.shape == ((1,) if shared else (70,)) and (slope == 0.25).all()
    slope[...] = rng.normal(size=slope.shape)
    X, T = rng.normal(size=(2, 600, 70))
    X[0, :3] = 0, -0.0, 1e-320
    out = np.where(X > 0, X, slope * X)
    np.testing.assert_array_equal(network.predict(X), out)
    each = ((out - T) / 600 * np.minimum(X, 0)).sum(axis=0)
    _, gradient = network.loss_and_gradient(X, T)
    assert_near(gradient, each.sum(keepdims=True) if shared else each, 30)  # sums of 600


def test_the_slope_of_prelu_at_0_is_the_learned_one():
    network = Network(1, Dense(1, bias=False, init=[[0.0]]), PReLU(), loss="half_mse",
                      dtype="float64")  # fmt: skip
    _, gradient = network.loss_and_gradient([[1.0]], [[-4.0]])
    assert gradient.tolist() == [4 * 0.25, 0.0]


@backends
def test_residual_is_the_formula(backend):
    network = Network(4, Residual(Dense(9, "tanh"), Dense(4)), Dense(2), dtype="float64", seed=0,
                      backend=backend)  # fmt: skip
    first, second = network.layers[0].layers
    last = network.layers[1]
    X = inputs("", 300)
    hidden = X + np.tanh(X @ first.W + first.b) @ second.W + second.b
    assert_near(network.predict(X), hidden @ last.W + last.b, 17)  # three sums: of 9, 4 and 4


def test_blocks_nest_deeply():
    layer = Dense(3, "tanh")
    for _ in range(20):
        layer = Residual(layer)
    network = Network(3, layer, dtype="float64", seed=0)
    twin = Network(3, Dense(3, "tanh"), dtype="float64", seed=0)
    X = np.random.default_rng(0).normal(size=(9, 3))
    assert_near(network.predict(X), 20 * X + twin.predict(X), 20)
    assert bits(network.copy()) == bits(network)


# --- Embedding ------------------------------------------------------------------------------------


@backends
def test_embedding_is_a_table(backend, dtype):
    network = Network(3, Embedding(6, 5), loss="half_mse", dtype=dtype, seed=0, backend=backend)
    E = network.layers[0].E
    assert E.shape == (6, 5) and 0.5 < E.std() < 1.5
    X = np.random.default_rng(0).integers(0, 6, (400, 3))
    np.testing.assert_array_equal(network.predict(X), E[X].reshape(400, 15))
    for kind in (np.uint8, np.int64, np.float64, bool):
        some = X.astype(kind)
        np.testing.assert_array_equal(network.predict(some), E[some.astype(int)].reshape(400, 15))
    T = np.zeros((400, 15))
    _, gradient = network.loss_and_gradient(X, T)
    counts = np.bincount(X.ravel(), minlength=6)
    most = counts.max() / 2 + 3  # a chain of so many equal numbers, half an eps each
    np.testing.assert_allclose(
        gradient.reshape(6, 5), E * counts[:, None] / 400, rtol=most * EPS[dtype]
    )


@backends
def test_columns_of_numbers_go_through(backend):
    layer = Embedding(columns={np.int64(2): (5, 2), 0: [3, 1]})
    network = Network(4, layer, dtype="float64", seed=0, backend=backend)
    E = network.layers[0].E
    assert list(E) == [0, 2] and E[0].shape == (3, 1) and E[2].shape == (5, 2)
    X = np.array([[2, 0.5, 4, -7.25], [0, 1e300, 0, 3]])
    expected = [[*E[0][2], 0.5, *E[2][4], -7.25], [*E[0][0], 1e300, *E[2][0], 3]]
    np.testing.assert_array_equal(network.predict(X), expected)
    assert layer.n_outputs(4) == 5 and network.n_params == 13


@pytest.mark.parametrize("value", [-1, 11, 2.5, 1e30])
@pytest.mark.parametrize("name", ["embedding", "columns"])
def test_what_is_no_token_is_refused(name, value):
    network = make(name)
    X, y = samples(name, network, 10)
    X[4, 3] = value
    before = bits(network)
    known = 10 if name == "embedding" else 6
    message = rf"{re.escape(f'{value:g}')} at row 4, column 3, .* whole numbers 0 \.\. {known}\."
    for call in (
        lambda: network.predict(X), lambda: quiet(network, X, y),
        lambda: network.evaluate(X, y), lambda: network.loss_and_gradient(X, y),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="X has " + message):
            call()
    with pytest.raises(ValueError, match="validation X has " + message):
        quiet(network, *samples(name, network, 10), validation_data=(X, y))
    assert bits(network) == before


def test_nan_is_no_token_and_goes_through_where_numbers_do():
    network = make("columns")
    X = inputs("columns", 3)
    X[1, 0] = np.nan
    assert np.isnan(network.predict(X)).any(axis=1).tolist() == [False, True, False]
    X[1, 1] = np.nan
    with pytest.raises(ValueError, match="X has nan at row 1, column 1, which is no token"):
        network.predict(X)


def test_the_engine_stays_in_its_memory_whatever_the_tokens(isa, dtype):
    """Nobody gets here but through the check above."""
    network = make("embedding", dtype, backend=isa)
    wild = np.array([[np.nan, np.inf, -np.inf, 1e38], [-1, 11, 1e9, -0.0]] * 3, dtype)
    out, zero = np.empty((6, 3), dtype), np.empty((6, 3), dtype)
    network._engine.predict(wild, out)
    network._engine.predict(np.zeros_like(wild), zero)
    assert out.tobytes() == zero.tobytes()
    network._engine.train(wild, np.zeros((6, 3), dtype), None, 4)


def test_tokens_that_float32_cannot_tell_apart():
    layer = Embedding(2**24 + 1, 1)
    with pytest.raises(ValueError, match=r"float32 holds 16777216 tokens.*dtype=\"float64\""):
        Network(1, layer)
    tables = Embedding(columns={0: (2**24 + 1, 1)})
    with pytest.raises(ValueError, match="float32 holds 16777216 tokens"):
        Network(1, tables)
    network = Network(1, Embedding(2**24, 1), Dense(1), seed=0)
    last = network.layers[0].E[-1, 0] * network.layers[1].W[0, 0]
    assert network.predict(np.array([[2**24 - 1]]))[0, 0] == last


def test_tokens_that_do_not_occur_stay_under_sgd():
    network = Network(2, Embedding(9, 3), Dense(1), optimizer=SGD(0.1), seed=0)
    before = network.layers[0].E.copy()
    quiet(network, np.array([[1, 2], [2, 7]]), [0.0, 1.0], epochs=5)
    moved = (network.layers[0].E != before).all(axis=1)
    assert np.flatnonzero(moved).tolist() == [1, 2, 7]
    assert np.flatnonzero((network.layers[0].E != before).any(axis=1)).tolist() == [1, 2, 7]


# --- Layers do what they are for ------------------------------------------------------------------


def test_layers_help_where_they_should():
    """BatchNorm and residual connections train a deep network that plain layers do not."""
    X, y = nncore.datasets.load_digits()
    X, test, labels, expected = X[:1200] / 16, X[1200:] / 16, y[:1200], y[1200:]
    deep = [layer for _ in range(8)
            for layer in (Residual(Dense(64, bias=False), BatchNorm(), PReLU()),)]  # fmt: skip
    network = Network(64, *deep, Dropout(0.2), Dense(10, "softmax"), seed=0)
    quiet(network, X, labels, epochs=8)
    assert network.evaluate(test, expected)["accuracy"] > 0.9


def test_monte_carlo_dropout_is_less_sure_away_from_the_data():
    x = np.linspace(-1, 1, 200)[:, None]
    network = Network(1, Dense(100, "relu"), Dropout(0.1, always=True), Dense(100, "relu"),
                      Dropout(0.1, always=True), Dense(1), seed=0, optimizer="adam")  # fmt: skip
    quiet(network, x, np.sin(3 * x), epochs=60)
    spread = np.std([network.predict([[0.0], [5.0]]) for _ in range(200)], axis=0)
    assert spread[1] > 3 * spread[0]


def test_an_embedding_learns_what_tokens_mean():
    rng = np.random.default_rng(0)
    tokens, meaning = rng.integers(0, 30, (2000, 2)), rng.normal(size=30)
    y = meaning[tokens[:, 0]] - meaning[tokens[:, 1]]
    network = Network(2, Embedding(30, 3), Dense(16, "tanh"), Dense(1), seed=0,
                      optimizer=nncore.Adam(0.01))  # fmt: skip
    quiet(network, tokens, y, epochs=30)
    assert network.evaluate(tokens, y)["loss"] < 0.05 * y.var()


def test_lsuv_looks_through_the_other_layers():
    layers = [Embedding(columns={0: (5, 3)}), Dense(8, "relu"), BatchNorm(), Dropout(0.3)]
    layers += [Residual(Dropout(0.1), Dense(8, "tanh")), LayerNorm(), PReLU(), Dense(2)]
    network = Network(4, *layers, seed=0, dtype="float64")
    X = np.random.default_rng(0).normal(size=(64, 4))
    X[:, 0] = np.random.default_rng(1).integers(0, 5, 64)
    assert len(network.lsuv(X)) == 3  # the one in the block too
    assert network.predict(X).var() == pytest.approx(1, rel=30 * EPS["float64"], abs=0)
