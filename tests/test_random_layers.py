"""Dropout and GaussianNoise: their random numbers, and when they draw them."""

import math

import numpy as np
import pytest

from nncore import Dense, Dropout, GaussianNoise, Network, PReLU
from nncore.reference import steps as reference_steps

from .networks import quiet
from .stacks import make, samples


def test_philox_gives_the_known_answers():
    """kat_vectors of the Random123 distribution: counter, key, result."""
    known = [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ]  # fmt: skip
    for counter, key, result in known:
        counter, key = ([int(word, 16) for word in words.split()] for words in (counter, key))
        found = reference_steps.philox(counter, key)
        assert " ".join(f"{int(word):08x}" for word in found) == result


def masks(network, rows, columns):
    """What `predict` of a network that is a single Dropout(0.5, always=True) drops."""
    return network.predict(np.ones((rows, columns), network.dtype)) == 0


def dropping(columns, **options):
    """A network whose outputs are its inputs with half of them dropped."""
    network = Network(columns, Dropout(0.5, always=True), PReLU(), **options)
    network.layers[1].slope = 1
    return network


@pytest.mark.parametrize("columns", [1, 3, 64, 65, 200])
def test_masks_are_those_of_the_generator(columns, isa, dtype):
    """By seed, call, layer, row and column, and by nothing else."""
    network = dropping(columns, seed=4, backend=isa, dtype=dtype)
    mode = reference_steps.Mode()
    mode.seed = network._engine.draws[0]
    for mode.number in range(3):
        expected = reference_steps.words(mode, 0, (300, columns)) < 2**31
        np.testing.assert_array_equal(masks(network, 300, columns), expected)
    assert network._engine.draws == (mode.seed, 0, 3)


def test_masks_are_fresh_and_reproducible():
    a, b, c = (dropping(50, seed=seed) for seed in (1, 1, 2))
    first, second = masks(a, 100, 50), masks(a, 100, 50)
    assert 0.45 < first.mean() < 0.55 and 0.45 < (first ^ second).mean() < 0.55
    np.testing.assert_array_equal(masks(b, 100, 50), first)
    assert 0.45 < (masks(c, 100, 50) ^ first).mean() < 0.55
    rows, columns = first.mean(axis=1), first.mean(axis=0)
    assert rows.min() > 0.2 and rows.max() < 0.8 and columns.min() > 0.2 and columns.max() < 0.8
    assert len({row.tobytes() for row in first}) == 100


def test_without_a_seed_masks_differ():
    assert (masks(dropping(50), 20, 50) != masks(dropping(50), 20, 50)).any()


def test_evaluate_and_the_gradient_drop_nothing():
    layers = [Dense(20, "tanh"), Dropout(0.5, always=True), Dense(3, "softmax")]
    network = Network(4, *layers, seed=0, dtype="float64")
    plain = Network(4, layers[0], layers[2], seed=0, dtype="float64")
    X, y = samples("", network, 50)
    before = network._engine.draws
    assert network.evaluate(X, y) == plain.evaluate(X, y)
    a, b = network.loss_and_gradient(X, y), plain.loss_and_gradient(X, y)
    assert a[0] == b[0] and a[1].tobytes() == b[1].tobytes()
    assert network._engine.draws == before
    assert (network.predict(X) != plain.predict(X)).any()
    off = Network(4, layers[0], Dropout(0.5), layers[2], seed=0, dtype="float64")
    assert off.predict(X).tobytes() == plain.predict(X).tobytes()
    assert off._engine.draws == before


def test_predictions_do_not_change_the_masks_of_training():
    a, b = (make("dropout", layers=[Dense(9, "tanh"), Dropout(0.5, always=True), Dense(3)])
            for _ in range(2))  # fmt: skip
    X, y = samples("dropout", a, 40)
    a.predict(X)
    quiet(a, X, y), quiet(b, X, y)
    assert a.theta.tobytes() == b.theta.tobytes()


def test_a_new_optimizer_does_not_draw_the_old_masks_again():
    network = make("dropout")
    X, y = samples("dropout", network, 64)
    quiet(network, X, y, batch_size=32)
    network.optimizer = "adam"
    assert network._engine.draws[1:] == (2, 0)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.9])
def test_dropout_keeps_the_mean(rate):
    network = Network(1000, Dropout(rate, always=True), PReLU(), seed=0, dtype="float64")
    out = network.predict(np.full((1000, 1000), 3.0))
    kept = out != 0
    assert np.unique(out[kept]) == pytest.approx(3 / (1 - rate), rel=1e-15, abs=0)
    error = 5 * np.sqrt(rate * (1 - rate) / 1e6)  # five standard errors
    assert abs(kept.mean() - (1 - rate)) <= error


def test_dropout_drops_nan_too_and_keeps_it_elsewhere():
    network = dropping(8, seed=0)
    X = np.ones((50, 8), "float32")
    X[:, 3] = np.nan
    out = network.predict(X)
    assert np.isnan(out[:, 3]).any() and (out[:, 3] == 0).any()
    assert not np.isnan(np.delete(out, 3, axis=1)).any()


def normal(columns, rows=2000):
    step = GaussianNoise(1.0).lower(columns, 0)[0]
    mode = reference_steps.Mode()
    mode.training, mode.seed, mode.number = True, 12345, 7
    engine = type("Engine", (), {"mode": mode, "theta": None, "gradient": None})
    x, y = np.zeros((rows, columns)), np.empty((rows, columns))
    reference_steps.Noise(step, 0, engine).forward(x, y)
    return y


def test_noise_is_normal():
    n = np.sort(normal(100).ravel())
    assert abs(n.mean()) < 5 / np.sqrt(n.size)
    assert abs(n.var() - 1) < 5 * np.sqrt(2 / n.size)
    assert abs((n**4).mean() - 3) < 5 * np.sqrt(96 / n.size)
    at = np.arange(-3, 3.1, 0.25)
    expected = np.array([0.5 * (1 + np.sign(x) * math.erf(abs(x) / np.sqrt(2))) for x in at])
    error = 5 * np.sqrt(expected * (1 - expected) / n.size)
    assert (np.abs(np.searchsorted(n, at) / n.size - expected) < error).all()
    assert np.abs(n).max() < 5.77


def test_noise_of_neighbours_is_independent():
    n = normal(8, 50_000)
    correlation = np.corrcoef(n.T) - np.eye(8)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(n))
    assert abs(np.corrcoef(n[1:, 0], n[:-1, 0])[0, 1]) < 5 / np.sqrt(len(n))
