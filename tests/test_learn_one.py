"""One sample after the other: `learn_one`, `predict_one`, and classes that come later."""

import doctest
import threading

import numpy as np
import pytest

import nncore
from nncore import (
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    Loss,
    Network,
    PReLU,
    Residual,
    _core,
    names,
    optimizers,
    schedules,
    trainers,
)  # fmt: skip
from nncore.initializer import Initializer

from .refusals import refused, state
from .test_losses import draw

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5))
BACKENDS = pytest.mark.parametrize("backend", ["auto", "reference"])


def small(loss="mse", dtype="float32", backend="auto", optimizer="adam", n_out=3):
    loss = Loss(loss)
    last = Dense(n_out * loss.per_target, loss.output or "identity")
    return Network(
        5, Dense(7, "tanh"), last, loss=loss, dtype=dtype, backend=backend, optimizer=optimizer,
        seed=0,
    )  # fmt: skip


def targets(name, dtype):
    if name == "cross_entropy":
        return RNG.integers(0, 3, 40)
    y = draw(name, (40, 3), dtype)[1]
    return y / y.sum(axis=1, keepdims=True) if name == "kl_divergence" else y


def whole_state(net):
    engine = net._engine
    average = None if engine.average is None else engine.average.tobytes()
    return state(net), average, engine.averaged, engine.draws


def assert_learns_alike(net, X, y, forms=(np.asarray,)):
    """The bits of `partial_fit`, whatever form the samples come in."""
    twin = net.copy()
    for i in range(len(X)):
        x = forms[i % len(forms)](X[i])
        t = y[i] if y.ndim == 1 else forms[i % len(forms)](y[i])
        assert net.learn_one(x, t) == twin.partial_fit(X[i : i + 1], y[i : i + 1])
        assert net.predict_one(x).tobytes() == net.predict(X[i : i + 1])[0].tobytes()
    assert whole_state(net) == whole_state(twin)


FORMS = (np.asarray, np.ndarray.tolist, lambda a: tuple(a.tolist()), lambda a: np.repeat(a, 2)[::2])


@pytest.mark.parametrize("name", _core.LOSSES)
@BACKENDS
def test_it_is_partial_fit(name, backend, dtype):
    X_, y = X.astype(dtype), targets(name, dtype)
    if name == "mse":
        X_[3], y[3] = np.round(X_[3]), np.round(y[3])  # whole numbers in lists
    assert_learns_alike(small(name, dtype, backend), X_, y, FORMS)


@pytest.mark.parametrize(
    "rule", [*map(str.lower, optimizers.OPTIMIZERS), "momentum", "nesterov", "amsgrad"]
)
def test_every_optimizer(rule, dtype):
    X_, y, net = X.astype(dtype), targets("mse", dtype), small("mse", dtype, optimizer=rule)
    stream = net.copy()
    assert_learns_alike(net, X_, y)
    stream.fit(X_, y, batch_size=1, shuffle=False, verbose=False)
    assert stream.theta.tobytes() == net.theta.tobytes()
    assert stream._engine.state.tobytes() == net._engine.state.tobytes()


@pytest.mark.parametrize(
    "optimizer",
    [
        AdamW(0.01, weight_decay=0.1), SGD(0.1, ema=0.9), Adam(0.1, clip_norm=0.5),
        Adam(0.1, clip_value=0.1), SGD(schedules.Exponential(0.1, 0.9)),
        SGD(lambda t: 0.1 / (1 + t)),
    ],
    ids=lambda o: repr(o)[:30],
)  # fmt: skip
def test_options_of_optimizers(optimizer):
    net = small(optimizer=optimizer)
    net.layers[0].l2, net.layers[1].lr_scale = 0.1, 0.5
    if not callable(optimizer.lr) or isinstance(optimizer.lr, schedules.Schedule):
        assert_learns_alike(net, X.astype("f"), targets("mse", "float32"))
    else:  # a function cannot be copied
        assert net.learn_one(X[0], [1, 2, 3]) > 0


@pytest.mark.parametrize(
    "layers",
    [
        (Dense(40, "relu"), Dense(30, "gelu"), Dense(3)), (Dense(4), PReLU(), Dense(3)),
        (Dense(6, "tanh"), Dropout(0.3), Dense(3)), (Dropout(0.3, always=True), Dense(3)),
        (LayerNorm(), Residual(Dense(5, "tanh")), Dense(3)), (Dense(300, "tanh"), Dense(3)),
        (Embedding(9, 2), Dense(3)),
    ],
    ids=str,
)  # fmt: skip
def test_every_layer(layers):
    X_ = np.abs(X.round()).clip(0, 8) if isinstance(layers[0], Embedding) else X
    X_, y = X_.astype("f"), targets("mse", "float32")
    net = Network(5, *layers, seed=0)
    twin = net.copy()
    for x, t in zip(X_, y, strict=True):
        assert net.learn_one(x, t) == twin.partial_fit([x], [t])
    assert whole_state(net) == whole_state(twin)
    if not net._engine.draws:
        assert net.predict_one(X_[0]).tobytes() == net.predict(X_[:1])[0].tobytes()


def test_a_large_network_learns_without_the_gil():
    net = Network(5, Dense(3000, "tanh"), Dense(3), seed=0)
    assert net.n_params > 10000
    assert_learns_alike(net, X.astype("f"), targets("mse", "float32"))
    assert not net._training.locked()


def test_functions_of_the_user_are_called(monkeypatch):
    monkeypatch.setattr(names, "own_activations", {})
    nncore.register_activation("tanh_by_hand", lambda x: np.tanh(x), lambda x: 1 - np.tanh(x) ** 2)
    net = Network(5, Dense(4, "tanh_by_hand"), Dense(3), seed=0)
    assert_learns_alike(net, X.astype("f"), targets("mse", "float32"))


@BACKENDS
def test_attributes_that_change_count_from_the_next_sample(backend):
    net = small(backend=backend, optimizer=SGD(0.1))
    twin, y = net.copy(), targets("mse", "float32")
    changes = [
        lambda n: setattr(n.optimizer, "lr", 0.5),
        lambda n: setattr(n.layers[0], "trainable", False),
        lambda n: setattr(n.layers[1], "l2", 0.5), lambda n: setattr(n, "optimizer", Adam(0.1)),
        lambda n: setattr(n.optimizer, "ema", 0.9), lambda n: setattr(n.optimizer, "ema", None),
        lambda n: setattr(n.optimizer, "lr", schedules.Cosine(0.1, 8)),
        lambda n: setattr(n.optimizer, "lr", 0.2), lambda n: n.fit(X, y, verbose=False),
        lambda n: setattr(n, "theta", np.ones(n.n_params)),
    ]  # fmt: skip
    for change in changes:
        for each in (net, twin):
            change(each)
        for x, t in zip(X[:6], y, strict=False):
            assert net.learn_one(x.astype("f"), t) == twin.partial_fit([x], [t])
        assert whole_state(net) == whole_state(twin)


def test_a_copy_and_a_file_learn_alike(tmp_path):
    net = small()
    for x in X.astype("f"):
        net.learn_one(x, x[:3])
    net.save(tmp_path / "net")
    others = net.copy(), nncore.load(tmp_path / "net")
    for x in X.astype("f"):
        losses = {each.learn_one(x, x[1:4]) for each in (net, *others)}
        assert len(losses) == 1


def test_scalars_and_labels_of_many_kinds():
    one, dtype = small(n_out=1), np.float32
    twin = one.copy()
    for t in (1.5, np.float32(0.1), np.float64(0.1), 3, np.int8(-3), True, np.array(0.3), [0.25],
              np.array([0.75], dtype), 2**60 + 1, np.longdouble(0.1)):  # fmt: skip
        assert one.learn_one(X[0], t) == twin.partial_fit(X[:1], np.asarray(t).reshape(1, 1)), t
    classes = small("cross_entropy")
    twin = classes.copy()
    for t in (2, np.int64(1), np.uint8(0), True, np.bool_(False), np.array(2), [0.5, 0.5, 0]):
        assert classes.learn_one(X[0], t) == twin.partial_fit(X[:1], np.asarray(t)[None]), t


@BACKENDS
@pytest.mark.parametrize("ready", [False, True])
def test_what_is_refused(backend, ready):
    net, inf = small(backend=backend), float("inf")
    classes, signs = small("cross_entropy", backend=backend), small("hinge", backend=backend)
    if ready:
        net.learn_one(X[0], [1, 2, 3])
        classes.learn_one(X[0], 1)
        signs.learn_one(X[0], [1, -1, 1])
    y = [0.0, 0.0, 0.0]
    for x in (np.full(5, np.nan, "f"), [0, 0, inf, 0, 0], [0.0, 1e39, 0, 0, 0]):
        with refused(ValueError, "X contains", "row 0", network=net):
            net.learn_one(x, y)
    for x in (X[0, :4], X[:1], 3.0, None, [[1, 2, 3, 4, 5]], list(X[0]) + [1.0], [10**400] * 5):
        with refused(ValueError, network=net):
            net.learn_one(x, y)
        with refused(ValueError, network=net):
            net.predict_one(x)
    for t in ([0, inf, 0], [0.0, 0.0, -1e39], [0, 0], None, 1.0, [[0, 0, 0]], [0, 0, np.nan],
              "abc", ["a", "b", "c"], [0, 10**400, 0]):  # fmt: skip
        with refused(ValueError, "y ", network=net):
            net.learn_one(X[0], t)
    for t in (3, -1, 1.0, np.float32(1), None, [0.5, 0.1, 0.1], 10**30, "a"):
        with refused(ValueError, network=classes):
            classes.learn_one(X[0].astype("f"), t)
    with refused(ValueError, "hinge needs targets -1 or 1", network=signs):
        signs.learn_one(X[0].astype("f"), [1, 0.5, 1])
    with refused(ValueError, "at least two rows"):
        Network(5, BatchNorm(), Dense(3), seed=0).learn_one(X[0], y)


def test_targets_beyond_the_output_are_warned_of():
    net = Network(5, Dense(1, "tanh"), seed=0)
    net.learn_one(X[0], 0.5)
    with pytest.warns(UserWarning, match="Targets span"):
        net.learn_one(X[0].astype("f"), 2.0)


def test_numbers_that_overflow_are_said():
    net = small(optimizer=SGD(1e38))
    with pytest.raises(FloatingPointError, match="Loss became inf|parameters infinite"):
        for _ in range(5):
            net.learn_one(X[0].astype("f"), [1e3, 1e3, 1e3])
    twin = small(optimizer=SGD(1e38))
    with pytest.raises(FloatingPointError):
        for _ in range(5):
            twin.partial_fit(X[:1], [[1e3, 1e3, 1e3]])
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_a_full_batch_trainer_takes_its_one_row():
    nets = [small(optimizer=trainers.LBFGS()) for _ in range(2)]
    assert nets[0].learn_one(X[0], [1, 2, 3]) == nets[1].partial_fit(X[:1], [[1, 2, 3]])
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()


def test_only_one_thread_learns():
    net = Network(5, Dense(200, "tanh"), Dense(3), seed=0)
    net.learn_one(X[0].astype("f"), [0.0, 0, 0])
    inside, go_on, errors = threading.Event(), threading.Event(), []

    class Wait(nncore.Callback):
        def on_epoch_end(self, epoch, logs=None):
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(
        target=net.fit, args=(X, np.zeros((40, 3))),
        kwargs={"callbacks": [Wait()], "verbose": False},
    )  # fmt: skip
    thread.start()
    inside.wait(10)
    with refused(RuntimeError, "trained in another thread", network=net):
        net.learn_one(X[0].astype("f"), [0.0, 0, 0])
    assert net.predict_one(X[0]).shape == (3,)
    go_on.set()
    thread.join()
    assert not errors and net.learn_one(X[0].astype("f"), [0.0, 0, 0]) > 0


def test_many_threads_that_learn_lose_no_update():
    net = small()
    net.learn_one(X[0].astype("f"), [0.0, 0, 0])
    samples, y = X.astype("f"), targets("mse", "float32")

    def learn():
        for i in range(400):
            net.learn_one(samples[i % 40], y[i % 40])

    threads = [threading.Thread(target=learn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert net._engine.n_updates == 1601 and np.isfinite(net.theta).all()


def test_the_examples_in_their_docstrings():
    for method in (Network.learn_one, Network.predict_one):
        example = doctest.DocTestParser().get_doctest(method.__doc__, {}, method.__name__, None, 0)
        assert len(example.examples) > 2 and doctest.DocTestRunner().run(example).failed == 0


# ---- classes that come later ---------------------------------------------------------------------


def grown(optimizer="adam", backend="auto", **options):
    net = Network(
        5, Dense(6, "tanh"), Dense(3, "softmax", **options), optimizer=optimizer, backend=backend,
        seed=0,
    )  # fmt: skip
    for i, x in enumerate(X):
        net.learn_one(x, i % 3)
    return net


@BACKENDS
@pytest.mark.parametrize("bias", [True, False])
def test_old_classes_keep_everything(backend, bias):
    net = grown(Adam(0.01, ema=0.9), backend, bias=bias)
    before = whole_state(net)
    wide = net.with_classes(5)
    assert whole_state(net) == before and wide.n_out == 5
    head = 5 * 6 + 6

    def columns(flat, n):
        return flat[head:].reshape(-1, n)

    engines = net._engine, wide._engine
    pairs = [(e.theta for e in engines), (e.average for e in engines), *zip(
        *(e.state for e in engines), strict=True)]  # fmt: skip
    for place, (old, new) in enumerate(pairs):
        assert new[:head].tobytes() == old[:head].tobytes()
        np.testing.assert_array_equal(columns(new, 5)[:, :3], columns(old, 3))
        assert (columns(new, 5)[:6, 3:] != 0).all() == (place < 2)
    assert engines[0].n_updates == engines[1].n_updates == 40
    assert wide.with_classes(6).theta.size == net.n_params + 3 * (6 + bias)


def test_it_learns_the_new_class_and_goes_into_a_file(tmp_path):
    net = grown().with_classes(4)
    for x in np.repeat(X, 20, axis=0):
        net.learn_one(x, 3)
    assert net.predict(X).argmax(axis=1).tolist() == [3] * 40
    net.save(tmp_path / "net")
    other = nncore.load(tmp_path / "net")
    assert other.learn_one(X[0], 0) == net.learn_one(X[0], 0)


def test_starting_weights_of_new_classes():
    net = grown(Adam(schedules.Cosine(0.1, 50)))
    W = RNG.normal(size=(6, 2)).astype("f")
    wide = net.with_classes(5, init=W)
    np.testing.assert_array_equal(wide.layers[1].W[:, 3:], W)
    assert wide.layers[1].b[3:].tolist() == [0, 0]
    assert (net.with_classes(5, init="zeros").layers[1].W[:, 3:] == 0).all()
    drawn = [net.with_classes(200, init=i).layers[1].W for i in (None, Initializer("he_normal"))]
    assert 0 < drawn[0][:, 3:].std() != drawn[1][:, 3:].std()
    again = net.copy().with_classes(200)
    assert again.theta.tobytes() == net.with_classes(200).theta.tobytes()
    assert wide.optimizer == net.optimizer
    assert wide.partial_fit(X[:1], [4]) > 0 and net.partial_fit(X[:1], [2]) > 0
    assert wide._last_rate == net._last_rate  # the schedule goes on


def test_labels_of_any_elementwise_loss():
    net = Network(5, LayerNorm(), Dense(4, "relu"), Dense(2, "sigmoid"), seed=0)
    net.partial_fit(X, X[:, :2] > 0)
    net.layers[1].trainable, net.layers[2].l2 = False, 0.1
    wide = net.with_classes(3)
    assert not wide.layers[1].trainable and wide.layers[2].l2 == 0.1
    np.testing.assert_array_equal(wide.predict(X)[:, :2], net.predict(X))


def test_what_cannot_grow():
    net = grown()
    for n in (3, 2, 0, 1.5, True, None):
        with refused(ValueError, "n_classes", network=net):
            net.with_classes(n)
    with refused(ValueError, "init", "(6, 1)", network=net):
        net.with_classes(4, init=np.zeros((6, 2)))
    with refused(ValueError, "only Dense"):
        Network(5, Dense(3), PReLU(), seed=0).with_classes(4)
    with refused(ValueError, "gaussian_nll"):
        small("gaussian_nll").with_classes(8)
    with refused(ValueError, "Dense(2, 'softmax')"):
        Network(5, Dense(3, "tanh"), Dense(1, "sigmoid"), seed=0).with_classes(3)
