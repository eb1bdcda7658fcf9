"""predict, evaluate and loss_and_gradient: their formulas, their bits, the arrays they write to."""

import itertools

import numpy as np
import pytest

import nncore
from nncore import Dense, Network

from .networks import (
    ACTIVATIONS,
    EPS,
    NETWORKS,
    backends,
    classifier,
    labelled,
    of_kind,
    quiet,
    soft_targets,
    state,
)

# --- predict --------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", [*ACTIVATIONS, "softmax"])
@backends
def test_predict_is_the_formula(backend, output, dtype):
    X, _ = soft_targets(300)
    network = of_kind("softplus", output, "mse", dtype=dtype, seed=0, backend=backend)
    a, b, c = network.layers
    h = np.logaddexp(0, X @ a.W.astype("float64") + a.b)
    z = np.tanh(h @ b.W.astype("float64") + b.b) @ c.W.astype("float64")
    expected = {
        "identity": z,
        "relu": np.where(z > 0, z, 0),
        "sigmoid": 1 / (1 + np.exp(-z)),
        "softplus": np.log1p(np.exp(z)),
        "softsign": z / (1 + abs(z)),
        "tanh": np.tanh(z),
        "softmax": np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    }[output]
    got = network.predict(X)
    assert got.dtype == dtype and got.shape == (300, 3) and got.flags.c_contiguous
    np.testing.assert_allclose(got, expected, rtol=0, atol=32 * EPS[dtype])


@pytest.mark.parametrize("n_out", [1, 3, 33])
def test_a_row_alone_has_the_bits_it_has_in_a_batch(n_out, isa, dtype):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(600, 20)).astype(dtype)
    network = Network(
        20, Dense(37, "tanh"), Dense(17, "softplus"),
        Dense(n_out, "softmax" if n_out > 1 else "sigmoid"), loss="mse",
        dtype=dtype, seed=0, backend=isa,
    )  # fmt: skip
    whole = network.predict(X)
    for rows in [*range(1, 20), 63, 64, 65, 255, 256, 257, 511, 513]:
        start = int(rng.integers(0, 600 - rows))
        assert network.predict(X[start : start + rows]).tobytes() == (
            whole[start : start + rows].tobytes()
        )
    for i in (0, 255, 256, 599):
        assert network.predict(X[i : i + 1]).tobytes() == whole[i].tobytes()
    order = rng.permutation(600)
    assert network.predict(X[order]).tobytes() == whole[order].tobytes()


@backends
@pytest.mark.parametrize("output", ["identity", "tanh", "softsign", "softmax"])
def test_predict_into_out(output, backend, dtype):
    X, _ = soft_targets(300)
    network = of_kind("relu", output, "mse", dtype=dtype, seed=0, backend=backend)
    expected = network.predict(X)
    base = np.full((604, 11), 7, dtype)
    raw = np.empty(300 * 3 * base.itemsize + 1, np.uint8)
    outs = {
        "contiguous": np.empty((300, 3), dtype),
        "fortran": np.empty((300, 3), dtype, order="F"),
        "columns of a wider one": base[:300, 4:7],
        "every other row": base[:600:2, 4:7],
        "rows backwards": base[303:3:-1, 4:7],
        "every other column": base[:300, 4:9:2],
        "columns backwards": base[:300, 6:3:-1],
        "misaligned": raw[1:].view(dtype).reshape(300, 3),
        "transposed": np.empty((3, 300), dtype).T,
    }
    for name, out in outs.items():
        base[...] = 7
        assert network.predict(X, out=out) is out, name
        assert out.tobytes() == expected.tobytes(), name
        if out.base is base:
            out[...] = 7
            assert (base == 7).all(), name  # nothing beside it was written


@backends
def test_out_may_overlap_the_inputs(backend):
    network = Network(4, Dense(9, "tanh"), Dense(4), dtype="float64", seed=0, backend=backend)
    base = np.random.default_rng(0).normal(size=(901, 6))
    cases = [
        (np.s_[:900, :4], np.s_[:900, :4]),
        (np.s_[:900, :4], np.s_[1:, :4]),
        (np.s_[1:, :4], np.s_[:900, :4]),
        (np.s_[:900, :4], np.s_[:900, 2:]),
        (np.s_[:900, :4], np.s_[899::-1, :4]),
        (np.s_[899::-1, :4], np.s_[:900, :4]),
        (np.s_[899::-1, :4], np.s_[1:, 2:]),
        (np.s_[:300, :4], np.s_[0:900:3, 2:]),
    ]
    for source, target in cases:
        shared = base.copy()
        expected = network.predict(shared[source].copy())
        out = shared[target]
        assert network.predict(shared[source], out=out) is out
        assert out.tobytes() == expected.tobytes()


def test_predict_of_no_rows():
    network = classifier()
    assert network.predict(np.empty((0, 5))).shape == (0, 3)
    out = np.empty((0, 3))
    assert network.predict(np.empty((0, 5)), out=out) is out


@backends
def test_predict_of_no_rows_that_are_not_aligned(backend):
    """NumPy calls such arrays aligned, since nothing is in them; the engine sees the pointer."""
    network = classifier(backend=backend)
    X, out = (np.ndarray((0, n), network.dtype, bytearray(9), offset=1) for n in (5, 3))
    assert X.flags.aligned and X.ctypes.data % X.itemsize
    assert network.predict(X).shape == (0, 3)
    assert network.predict(X, out=out) is out


@backends
def test_nan_stays_in_its_row(backend):
    X, _ = soft_targets(20)
    for hidden, output in itertools.product(ACTIVATIONS, [*ACTIVATIONS, "softmax"]):
        network = of_kind(hidden, output, "mse", dtype="float64", seed=0, backend=backend)
        expected = network.predict(X)
        bad = X.copy()
        bad[7, 2] = np.nan
        got = network.predict(bad)
        assert np.isnan(got[7]).all(), (hidden, output)
        np.testing.assert_allclose(np.delete(got, 7, 0), np.delete(expected, 7, 0), rtol=1e-14)


# --- evaluate, loss_and_gradient ------------------------------------------------------------------


@backends
def test_evaluate(backend):
    X, Y = soft_targets(300)
    for output, loss in [("identity", "mse"), ("softmax", "mse"), ("tanh", "half_mse")]:
        network = of_kind("tanh", output, loss, dtype="float64", seed=0, backend=backend)
        squares = (network.predict(X) - Y) ** 2
        value = squares.mean() if loss == "mse" else squares.sum() / 600
        assert network.evaluate(X, Y) == {"loss": pytest.approx(value, rel=1e-12)}

    labels = Y.argmax(axis=1)
    network = of_kind("tanh", "softmax", "cross_entropy", dtype="float64", seed=0, backend=backend)
    p = network.predict(X)
    expected = {
        "loss": pytest.approx(-np.log(p[np.arange(300), labels]).mean(), rel=1e-12),
        "accuracy": np.mean(p.argmax(axis=1) == labels),
    }
    assert network.evaluate(X, labels) == expected
    assert network.evaluate(X, np.eye(3)[labels]) == expected
    expected["loss"] = pytest.approx(-(Y * np.log(p)).sum() / 300, rel=1e-12)
    assert network.evaluate(X, Y) == expected

    bits = (Y > 0.3).astype(int)
    network = of_kind("tanh", "sigmoid", None, dtype="float64", seed=0, backend=backend)
    assert network.loss == "binary_cross_entropy"
    p = network.predict(X)
    assert network.evaluate(X, bits) == {
        "loss": pytest.approx(-np.where(bits, np.log(p), np.log(1 - p)).mean(), rel=1e-12),
        "accuracy": np.mean((p > 0.5) == bits),
    }
    assert all(type(value) is float for value in network.evaluate(X, bits).values())


@pytest.mark.parametrize("rows", [9, 300])
@pytest.mark.parametrize(("hidden", "output", "loss"), NETWORKS)
def test_gradient_is_that_of_the_loss(hidden, output, loss, rows, isa):
    X, Y = soft_targets(rows)
    network = of_kind(hidden, output, loss, dtype="float64", seed=0, backend=isa)
    network.theta += np.random.default_rng(1).normal(0, 0.2, network.n_params)  # no bias is zero
    before = state(network)
    value, gradient = network.loss_and_gradient(X, Y)
    assert state(network) == before
    assert type(value) is float and gradient.shape == (network.n_params,)
    assert value == pytest.approx(network.evaluate(X, Y)["loss"], rel=1e-14)
    expected, h = np.empty(network.n_params), 1e-5
    for i in range(network.n_params):
        middle = network.theta[i]
        network.theta[i] = middle + h
        above = network.evaluate(X, Y)["loss"]
        network.theta[i] = middle - h
        expected[i] = (above - network.evaluate(X, Y)["loss"]) / (2 * h)
        network.theta[i] = middle
    size = np.abs(expected).max()
    assert size > 1e-3, "nearly zero: this would compare rounding errors"
    assert np.abs(gradient - expected).max() <= 1e-6 * size


def test_every_gradient_is_an_array_of_its_own():
    X, y = labelled()
    network = classifier("float32")
    first = network.loss_and_gradient(X, y)[1]
    kept = first.copy()
    network.partial_fit(X, y)
    second = network.loss_and_gradient(X, y)[1]
    assert first.dtype == np.float32 and not np.may_share_memory(first, network.theta)
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)


@backends
def test_labels_are_one_hot_rows(backend, dtype):
    X, y = labelled(300)
    a, b = (classifier(dtype, backend=backend) for _ in range(2))
    eps = EPS[dtype]
    (loss, gradient), (value, other) = (
        network.loss_and_gradient(X, t) for network, t in ((a, y), (b, np.eye(3, dtype=int)[y]))
    )
    assert loss == pytest.approx(value, rel=32 * eps)
    np.testing.assert_allclose(gradient, other, rtol=0, atol=32 * eps)
    histories = quiet(a, X, y, epochs=3), quiet(b, X, np.eye(3)[y], epochs=3)
    np.testing.assert_allclose(*(h["loss"] for h in histories), rtol=1000 * eps)


def test_a_score_of_minus_infinity_costs_nothing_where_the_target_is_zero():
    net = nncore.Network(1, nncore.Dense(3, "softmax", bias=False, init=[[1, 2, -1e20]]))
    X = np.full((4, 1), 1e20, np.float32)  # scores 1e20, 2e20 and -inf
    one_hot = np.tile(np.eye(3, dtype=np.float32)[1], (4, 1))
    for y in ([1] * 4, one_hot):
        assert net.evaluate(X, y)["loss"] == 0 and net.evaluate(X[:1], y[:1])["loss"] == 0
