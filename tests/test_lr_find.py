"""nncore.lr_find: the range test, of a copy; training with what it suggests."""

import sys

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network
from nncore.views.lr_find import LearningRates

from .networks import BACKENDS, classifier, labelled, regressor, state, valued


def spirals(n=150):
    r = np.linspace(0.1, 1, n)
    arm = np.column_stack([r * np.cos(5 * r), r * np.sin(5 * r)])
    return np.concatenate([arm, -arm]), np.repeat([0.0, 1.0], n)


def wavy(n=400):
    X = np.random.default_rng(0).normal(size=(n, 4))
    return X, np.sin(X[:, 0]) + X[:, 1] * X[:, 2]


def digits():
    X, y = nncore.datasets.load_digits()
    return X / 16, y


CASES = {
    "digits": (digits, [64, Dense(32, "relu"), Dense(10, "softmax")], 5),
    "spirals": (spirals, [2, Dense(24, "tanh"), Dense(24, "tanh"), Dense(1, "sigmoid")], 150),
    "regression": (wavy, [4, Dense(24, "tanh"), Dense(1)], 20),
}
OPTIMIZERS = {"sgd": SGD, "momentum": lambda lr: SGD(lr, momentum=0.9), "adam": Adam}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", CASES)
def test_training_with_the_suggestion_learns_well(case, optimizer):
    """Beside rates 30 times smaller and 30 times larger."""
    data, layers, epochs = CASES[case]
    X, y = data()
    make = OPTIMIZERS[optimizer]

    def loss(lr):
        network = Network(*layers, optimizer=make(lr), seed=0)
        try:
            network.fit(X, y, epochs=epochs, verbose=False)
        except FloatingPointError:
            return np.inf
        return network.evaluate(X, y)["loss"]

    found = nncore.lr_find(Network(*layers, optimizer=make(0.01), seed=0), X, y)
    losses = [loss(found.suggestion * factor) for factor in (1 / 30, 1, 30)]
    print(f"\n{case}, {optimizer}: {found.suggestion:.2g}, losses {losses}")
    assert losses[1] < 0.9 * losses[0] or losses[1] < 0.02
    assert losses[1] < 0.9 * losses[2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_steps_are_those_of_training(backend):
    """The losses of the batches, done again by hand."""
    X, y = valued(40)
    network = regressor("float64", "momentum", backend=backend)
    found = nncore.lr_find(network, X, y, start=1e-3, end=0.1, steps=12, batch_size=10, seed=5)
    np.testing.assert_allclose(found.lrs, np.geomspace(1e-3, 0.1, 12))
    rng = np.random.default_rng(5)
    rng.permutation(40)  # the rows that are looked at: here all
    twin = regressor("float64", "momentum", backend=backend)
    step = 0
    for _ in range(3):
        order = rng.permutation(40)
        for i in range(0, 40, 10):
            twin._optimizer.lr = float(found.lrs[step])
            rows = order[i : i + 10]
            at, after = twin.partial_fit(X[rows], y[rows]), twin.evaluate(X, y)["loss"]
            assert at == pytest.approx(found.losses[step], rel=1e-12)
            assert after == pytest.approx(found.smoothed[step], rel=1e-12)
            step += 1


def test_nothing_of_the_network_changes():
    X, y = labelled(100)
    layers = nncore.Dropout(0.2), Dense(6, "tanh"), nncore.BatchNorm(), Dense(3, "softmax")
    network = Network(5, *layers, optimizer=Adam(0.01, ema=0.9), seed=0)
    network.fit(X, y, verbose=False)
    before = state(network), network._engine.running.tobytes(), network._engine.draws
    twin = network.copy()
    first = nncore.lr_find(network, X, y)
    assert (state(network), network._engine.running.tobytes(), network._engine.draws) == before
    again = nncore.lr_find(network, X, y)
    assert (first.losses == again.losses).all() and (first.smoothed == again.smoothed).all()
    assert first.suggestion == again.suggestion
    other = nncore.lr_find(network, X, y, seed=1)
    assert not np.array_equal(first.losses[:5], other.losses[:5])
    for n in (network, twin):
        n.fit(X, y, verbose=False)
    assert (network.theta == twin.theta).all()


def test_it_ends_where_the_loss_explodes():
    X, y = valued(100)
    found = nncore.lr_find(regressor("float64"), X, y, end=1e6)
    assert found.stop_reason == "exploded" and len(found.lrs) < 100
    assert len(found.lrs) == len(found.losses) == len(found.smoothed)
    assert found.smoothed[-1] > 4 * found.before and (found.smoothed[:-1] <= 4 * found.before).all()
    assert found.suggestion == pytest.approx(found.limit / 10)
    assert found.lowest < found.limit


def test_a_loss_that_is_not_finite_ends_it():
    found = nncore.lr_find(regressor("float32"), *valued(100), start=1e30, end=1e38)
    assert found.stop_reason == "not finite" and len(found.lrs) == 0
    assert found.limit == 1e30 and found.suggestion is None and found.lowest is None
    rates = LearningRates(np.geomspace(0.01, 100, 5), [3, 2, 1], [3, 2, 1], 4.0, "not finite")
    assert rates.limit == 10 and rates.suggestion == 1.0 and rates.lowest == 1.0


def test_without_a_rise_it_is_a_tenth_of_the_best():
    found = nncore.lr_find(regressor("float64"), *valued(100), end=1e-2)
    assert found.stop_reason == "end" and found.limit is None and len(found.lrs) == 100
    assert found.suggestion == pytest.approx(found.lowest / 10)


def test_without_a_fall_there_is_no_suggestion():
    found = nncore.lr_find(regressor("float64"), *valued(100), end=1e-6)
    assert found.suggestion is None and "no suggestion" in str(found)
    assert "none" in repr(found)


def far(size):
    X, y = valued(100)
    return X, size * y


def test_the_cause_is_said_where_there_is_no_suggestion():
    zero = Network(5, Dense(2, init="zeros"), seed=0)
    dead = Network(5, Dense(4, "relu", bias_init=-99.0), Dense(2, bias=False), seed=0)
    plain = Network(5, Dense(3, "tanh", bias=False), Dense(2, bias=False), seed=0)
    best = Network(5, Dense(2), optimizer="lbfgs", dtype="float64", seed=0)
    X, y = valued(100)
    best.fit(X, y, epochs=100, verbose=False)
    best.optimizer = "sgd"
    low, high = dict(end=1e-6), dict(start=1e30, end=1e38)
    narrow = regressor("float32")
    for network, data, options, cause in (
        (narrow, far(1e25), {}, "the loss is inf at the start, before any step. Scale"),
        (zero, (X, 0 * y), {}, "the loss is 0 at the start: there is nothing left to learn"),
        (narrow, (X, y), high, "the first rate, 1e+30, gave a loss"),
        (dead, (X, y), {}, "units are dead or saturated, see net.diagnose"),
        (plain, (0 * X, y), {}, "since all inputs are 0: look at X"),
        (plain, (X, y), dict(end=1e-40, start=1e-42), "too small for a gradient of norm"),
        (regressor("float64"), (X, y), low, "up to the last rate, 1e-06. Give a higher end"),
        (best, (X, y), {}, "At a minimum there is none"),
    ):
        found = nncore.lr_find(network, *data, **options)
        assert found.suggestion is None and cause in found.why, found
        assert " ".join(str(found).split()).startswith(f"no suggestion: {found.why}")
    assert nncore.lr_find(regressor(), X, y).why == ""


def test_where_the_loss_is_not_finite_is_said():
    rates = LearningRates(np.geomspace(0.01, 100, 5), [3, 2, 1], [3, 2, 1], 4.0, "not finite")
    assert str(rates).endswith("with rate 1\n  not finite from rate 10 on")
    rates = LearningRates(np.geomspace(0.01, 100, 5), [3, 2, 1], [3, 2, 9], 4.0, "exploded")
    assert str(rates).endswith("with rate 0.1\n  higher than at the start from rate 1 on")


def test_networks_that_nothing_can_move_are_refused():
    frozen = Network(5, Dense(3, "tanh", trainable=False), Dense(2, trainable=False), seed=0)
    with pytest.raises(ValueError, match="no layer of this network is trained: .* trainable ="):
        nncore.lr_find(frozen, *valued(20))
    lost = regressor()
    lost.theta[3] = np.nan
    with pytest.raises(ValueError, match="the network's parameters are not finite"):
        nncore.lr_find(lost, *valued(20))


def test_a_schedule_is_not_followed():
    X, y = labelled(100)
    plain, scheduled = classifier(optimizer="sgd"), classifier(optimizer="sgd")
    scheduled.optimizer = SGD(nncore.schedules.Exponential(0.1, 0.5))
    assert (nncore.lr_find(plain, X, y).losses == nncore.lr_find(scheduled, X, y).losses).all()
    twin = classifier(optimizer="sgd")
    twin.optimizer = SGD(nncore.schedules.Exponential(0.1, 0.5))
    for network in (scheduled, twin):
        network.fit(X, y, epochs=3, verbose=False)
    assert (scheduled.theta == twin.theta).all()


def test_weights_of_rows():
    X, y = valued(100)
    weights = np.zeros(100)
    weights[:12] = 1
    found = nncore.lr_find(regressor("float64"), X, y, sample_weight=weights, batch_size=5)
    alone = regressor("float64").evaluate(X[:12], y[:12])["loss"]
    assert found.before == pytest.approx(alone, rel=1e-12)
    assert (found.losses > 0).all()


@pytest.mark.parametrize("trainer", ["lbfgs", "scg", "rprop-"])
def test_full_batch_trainers_have_no_rate(trainer):
    network = regressor()
    network.optimizer = trainer
    with pytest.raises(ValueError, match="no learning rate"):
        nncore.lr_find(network, *valued(20))


BAD = [
    dict(start=0), dict(start=-1), dict(end="10"), dict(end=np.inf), dict(start=2, end=1),
    dict(start=1, end=1), dict(steps=9), dict(steps=20.5), dict(batch_size=0),
    dict(batch_size="some"), dict(n_threads=0), dict(verbose="loud"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", BAD)
def test_refused(arguments):
    network = regressor()
    before = state(network)
    with pytest.raises(ValueError):
        nncore.lr_find(network, *valued(20), **arguments)
    assert state(network) == before


def test_not_a_network():
    with pytest.raises(TypeError, match="Network"):
        nncore.lr_find(Dense(1), *valued(20))


def test_plot(tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason='plots need pip install ".[plot]"')
    matplotlib.use("Agg")
    X, y = labelled(100)
    for end in (10, 1e-6):
        found = nncore.lr_find(classifier(), X, y, end=end)
        ax = found.plot()
        ax.figure.savefig(tmp_path / "rates.png")
        assert found.plot(ax) is ax and ax.get_xscale() == "log"
    for before in (1.0, np.inf):
        rates = LearningRates(np.geomspace(1, 2, 5), [], [], before, "not finite")
        rates.plot().figure.savefig(tmp_path / "rates.png")


def test_plot_without_matplotlib(monkeypatch):
    found = nncore.lr_find(classifier(), *labelled(100))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"nncore-c\[plot\]"):
        found.plot()
