"""`fit` and `evaluate` with batches that come one by one."""

import numpy as np
import pytest

import nncore
from nncore import Adam, Dense, Network, schedules

from .refusals import refused

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 5))
LABELS = RNG.integers(0, 3, 90)
W = RNG.integers(0, 3, 90) * 0.5
BATCHES = [(X[i : i + 20], LABELS[i : i + 20], W[i : i + 20]) for i in range(0, 90, 20)]
PLAIN = [batch[:2] for batch in BATCHES]


def make(backend="auto", **options):
    return Network(
        5, Dense(6, "tanh"), Dense(3, "softmax"), backend=backend, seed=0, dtype="float64",
        **options,
    )  # fmt: skip


class Loader:
    """Like torch's DataLoader: it can be gone through again, and gives lists of tensors."""

    def __iter__(self):
        return ([Tensor(x), Tensor(y)] for x, y in PLAIN)

    def __len__(self):
        return len(PLAIN)


class Tensor:
    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


SOURCES = {
    "list": lambda: PLAIN,
    "function": lambda: lambda: iter(PLAIN),
    "loader": Loader,
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_batches_have_the_bits_of_arrays(source, backend):
    rate = schedules.Cosine(0.02, 12)
    one, other = (make(backend, optimizer=Adam(rate, ema=0.9)) for _ in range(2))
    expected = one.fit(
        X, LABELS, batch_size=20, epochs=3, shuffle=False, verbose=False, class_weight={1: 3},
        validation_data=(X, LABELS),
    )  # fmt: skip
    history = other.fit(
        SOURCES[source](), epochs=3, verbose=False, class_weight={1: 3}, validation_data=(X, LABELS)
    )
    assert one.theta.tobytes() == other.theta.tobytes()
    assert one._engine.average.tobytes() == other._engine.average.tobytes()
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-14)
    assert history["val_loss"] == expected["val_loss"] and history["lr"] == expected["lr"]
    assert history.n_steps == expected.n_steps == 15


def test_batches_bring_weights():
    one, other = make(), make()
    one.fit(X, LABELS, sample_weight=W, batch_size=20, shuffle=False, verbose=False)
    other.fit(BATCHES, verbose=False)
    assert one.theta.tobytes() == other.theta.tobytes()
    empty = [(X[:9], LABELS[:9], np.zeros(9)), *BATCHES]
    assert make().fit(empty, verbose=False).n_steps == 5
    with refused(ValueError, "no batch has weights and targets", network=one):
        one.fit(empty[:1])


def test_evaluate_takes_batches():
    net = make()
    net.layers[0].l2 = 0.3
    for source, w in ((PLAIN, None), (iter(BATCHES), W)):
        expected = net.evaluate(X, LABELS, sample_weight=w)
        assert net.evaluate(source) == pytest.approx(expected, rel=1e-13)


def test_a_generator_is_one_epoch():
    net = make()
    with refused(ValueError, "only once", "steps_per_epoch", network=net):
        net.fit(iter(PLAIN), epochs=2)
    twin = make()
    twin.fit(PLAIN, verbose=False)
    net.fit((batch for batch in PLAIN), verbose=False)
    assert net.theta.tobytes() == twin.theta.tobytes()
    again = iter(PLAIN)
    with pytest.raises(ValueError, match="a function must return a new iterable"):
        net.fit(lambda: again, epochs=2, verbose=False)


def test_steps_per_epoch_go_on_where_the_last_epoch_ended():
    one, other = make(), make()
    one.fit([*PLAIN, *PLAIN[:1]], verbose=False)
    history = other.fit(PLAIN, epochs=2, steps_per_epoch=3, verbose=False)  # begins again after 5
    assert one.theta.tobytes() == other.theta.tobytes() and history.n_steps == 6
    endless = (PLAIN[i % 5] for i in iter(int, 1))
    assert other.fit(endless, epochs=3, steps_per_epoch=4, verbose=False).n_steps == 12
    with pytest.raises(ValueError, match="come to an end after 2 of the 3"):
        other.fit(iter(PLAIN), epochs=2, steps_per_epoch=3, verbose=False)


@pytest.mark.parametrize("steps", [None, 2])
def test_callbacks_see_the_first_batch_and_it_is_trained_once(steps):
    class Look(nncore.Callback):
        def on_train_begin(self, logs=None):
            self.seen, self.told = self.data[0].copy(), dict(self.params)

    look, net, twin = Look(), make(), make()
    net.fit(
        (b for b in BATCHES), steps_per_epoch=steps, verbose=False,
        callbacks=[look, nncore.Monitor()],
    )  # fmt: skip
    twin.fit(BATCHES[:steps], verbose=False)
    assert net.theta.tobytes() == twin.theta.tobytes()
    assert look.seen.tobytes() == X[:20].tobytes() and look.told["steps"] == steps


def test_what_is_no_batch_is_named():
    net = make()
    for source in ([[1.0, 2.0]] * 5, [1.0, 2.0], [("a",)], lambda: [3], [{"x": X}]):
        with refused(ValueError, "y is missing", "tuples (X, y)", network=net):
            net.fit(source)
    with refused(ValueError, "y is None", network=net):
        net.fit(X)
    with refused(TypeError, "must return an iterable, got int", network=net):
        net.fit(lambda: 3)
    with refused(ValueError, "no batch", network=net):
        net.fit([])
    with refused(ValueError, "batch 2: X has 20 rows but batch 2: y has 3", network=make()):
        make().fit([PLAIN[0], (X[:20], LABELS[:3])])
    for name, value in (("batch_size", 3), ("sample_weight", W), ("class_weight", "balanced")):
        with refused(ValueError, name, "batches", network=net):
            net.fit(PLAIN, **{name: value})
    with refused(ValueError, "steps_per_epoch is for batches", network=net):
        net.fit(X, LABELS, steps_per_epoch=3)


def test_an_error_says_which_batch():
    net = Network(5, Dense(1), optimizer=nncore.SGD(1e200), seed=0, dtype="float64")
    with pytest.raises(FloatingPointError, match=r"at epoch 1, batch 2; that update was not"):
        net.fit([(x, x[:, :1]) for x, _ in PLAIN], verbose=False)


def test_torch():
    torch = pytest.importorskip("torch", reason="torch is another package")
    set_ = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(LABELS))
    loader = torch.utils.data.DataLoader(set_, batch_size=20)
    one, other = make(), make()
    one.fit(loader, epochs=2, verbose=False)
    other.fit(X, LABELS, epochs=2, batch_size=20, shuffle=False, verbose=False)
    assert one.theta.tobytes() == other.theta.tobytes()
