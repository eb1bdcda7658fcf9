"""Checkpoints: what was killed goes on with the same bits, and nothing in a file is trusted."""

import itertools
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, BatchNorm, Callback, Dense, Dropout, Network, Stop, files, schedules
from nncore.callbacks import (
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from nncore.files import FileFormatError

KILLS = int(os.environ.get("NNCORE_TEST_KILLS", "15"))

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = np.sin(X[:, :1]) + 0.3 * X[:, 1:2]
LABELS = (Y[:, 0] > 0).astype(int)
VALIDATION = X[:15] + 0.1, Y[:15]


class Killed(Exception):
    pass


def dies(epoch):
    """Dies in that epoch, before its end is told to callbacks that come after it."""

    def die(at, logs):
        if at == epoch:
            raise Killed

    return LambdaCallback(on_epoch_end=die)


def state(net):
    engine = net._engine
    average = None if engine.average is None else engine.average.tobytes()
    course = net._course[1] if net._course else {}  # the state of a schedule
    return (
        net.theta.tobytes(), engine.state.tobytes(), engine.running.tobytes(), average,
        engine.averaged, engine.n_updates, engine.hyper, engine.draws, net._epochs, course,
        str(net._rng.bit_generator.state), net.config(),
    )  # fmt: skip


def values(history):
    return {name: [float(v).hex() for v in column] for name, column in history.items()}


def regressor(optimizer, *layers, seed=0, **options):
    layers = layers or (Dense(6, "tanh"),)
    return Network(4, *layers, Dense(1), optimizer=optimizer, seed=seed, **options)


# name -> makes a network, and what fit gets beside the data
CASES = {
    "adam": lambda: (regressor("adam"), {}),
    "momentum, weights": lambda: (
        regressor(SGD(0.05, momentum=0.9, nesterov=True)), {"sample_weight": np.arange(60) % 3},
    ),
    "not shuffled": lambda: (regressor("rmsprop"), {"shuffle": False, "batch_size": 8}),
    "schedule by step, ema": lambda: (
        regressor(Adam(schedules.Cosine(0.05, steps=100), ema=0.9)), {},
    ),
    "schedule by epoch, swa": lambda: (
        regressor(SGD(schedules.Step(0.1, 3, per="epoch"), swa=4)), {},
    ),
    "schedule that looks": lambda: (
        regressor(SGD(schedules.OnPlateau(0.5, patience=0))), {"validation_data": VALIDATION},
    ),
    "dropout, noise": lambda: (
        regressor("adam", Dense(8, "relu"), Dropout(0.3), nncore.GaussianNoise(0.1)), {},
    ),
    "batch norm": lambda: (
        regressor("adam", Dense(8), BatchNorm(), nncore.PReLU()),
        {"validation_data": VALIDATION, "stop": Stop(max_fail=50)},
    ),
    "stop": lambda: (
        regressor(SGD(0.2)),
        {"validation_data": VALIDATION, "stop": Stop(max_fail=4, step=1e-7, progress=0.01)},
    ),
    "reference": lambda: (regressor("adam", Dropout(0.2), Dense(5, "tanh"), backend="reference"),
                          {}),
    "split, metrics": lambda: (
        regressor("adam", dtype="float64"),
        {"validation_split": 0.25, "metrics": ["r2"], "train_metrics": ["mae"]},
    ),
} | {
    name: lambda name=name: (regressor(name, dtype="float64"), {"validation_data": VALIDATION})
    for name in ("lbfgs", "cg", "scg", "bfgs", "irprop+", "quickprop", "lm", "bayesian")
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits(name, tmp_path):
    def train(folder, *more, epochs=12):
        net, options = CASES[name]()
        keep = Checkpoint(folder, seconds=0)
        callbacks = [EarlyStopping("loss", patience=9), *more, keep]
        return net, net.fit(X, Y, epochs=epochs, verbose=0, callbacks=callbacks, **options)

    nothing = LambdaCallback()
    net, history = train(tmp_path / "whole", nothing)
    folder = tmp_path / "parts"
    for epoch in (0, 1, 5, 6):
        with pytest.raises(Killed):
            train(folder, dies(epoch))
    train(folder, nothing, epochs=8)  # and one that ends, and is to go on
    for _ in range(2):  # the second time all is done already
        again, resumed = train(folder, nothing)
        assert state(again) == state(net)
        assert values(resumed) == values(history) and list(resumed) == list(history)
        assert resumed.stop_reason == history.stop_reason and resumed.n_steps == history.n_steps
        assert np.array_equal(resumed.validation_rows, history.validation_rows)
    plain, options = CASES[name]()
    expected = plain.fit(X, Y, epochs=12, verbose=0, **options)
    assert state(plain) == state(net) and values(expected) == values(history)  # it changes nothing


def test_what_callbacks_remember(tmp_path):
    """Each goes on where it was, and what they leave is the same."""

    def train(folder, *more):
        net = regressor(SGD(0.3), dtype="float64")
        callbacks = [
            nncore.Monitor(every=3), nncore.Path(most=5),
            ReduceLROnPlateau("loss", factor=0.5, patience=2, cooldown=1, min_delta=0.01),
            LearningRateScheduler(lambda epoch, lr: lr * 0.99),
            EarlyStopping("val_loss", patience=3, min_delta=1e-3, restore_best_weights=True),
            ModelCheckpoint(folder / "best", save_best_only=True),
            CSVLogger(folder / "log.csv"), *more, Checkpoint(folder, seconds=0),
        ]  # fmt: skip
        folder.mkdir(exist_ok=True)
        history = net.fit(
            X, Y, epochs=60, verbose=0, validation_data=VALIDATION, callbacks=callbacks
        )
        return net, history, callbacks

    net, history, before = train(tmp_path / "whole", LambdaCallback())
    for epoch in (1, 4, 7, 8):
        with pytest.raises(Killed):
            train(tmp_path / "parts", dies(epoch))
    again, resumed, after = train(tmp_path / "parts", LambdaCallback())
    assert state(again) == state(net) and values(resumed) == values(history)
    assert history.stop_reason == "EarlyStopping" and len(set(history["lr"])) > 2
    assert (before[0].looks, str(before[0].findings)) == (after[0].looks, str(after[0].findings))
    assert before[1].epochs == after[1].epochs
    assert np.array_equal(np.asarray(before[1]), np.asarray(after[1]))
    for name in ("best", "best_epoch", "stopped_epoch"):
        assert getattr(before[4], name) == getattr(after[4], name)
    for name in ("best", "log.csv"):
        whole, parts = (tmp_path / folder / name for folder in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name


def test_what_callbacks_have_changed(tmp_path):
    """Settings of the optimizer, its rule too, and of layers are as they were."""

    class Changes(Callback):
        def on_epoch_end(self, epoch, logs=None):
            net = self.network
            if epoch == 2:
                net.optimizer.momentum, net.optimizer.ema = 0.9, 0.5
            if epoch == 4:
                net.layers[0].trainable, net.layers[1].layers[0].l2 = False, 0.01

    def train(folder, *more):
        net = regressor(SGD(0.05), Dense(5, "tanh"), nncore.Residual(Dense(5, "tanh"), Dense(5)))
        callbacks = [Changes(), *more, Checkpoint(folder, seconds=0)]
        return net, net.fit(X, Y, epochs=9, verbose=0, callbacks=callbacks)

    net, history = train(tmp_path / "whole", LambdaCallback())
    for epoch in (2, 3, 4, 5, 7):
        with pytest.raises(Killed):
            train(tmp_path / "parts", dies(epoch))
    again, resumed = train(tmp_path / "parts", LambdaCallback())
    assert state(again) == state(net) and values(resumed) == values(history)
    assert again.optimizer.momentum == 0.9 and not again.layers[0].trainable


def test_a_callback_of_the_users(tmp_path):
    class Counts(Callback):
        def on_train_begin(self, logs=None):
            self.n, self.sums = 0, np.zeros(2)

        def on_epoch_end(self, epoch, logs=None):
            self.n += 1
            self.sums += logs["loss"]

        def get_state(self):
            return {"n": self.n, "sums": self.sums, "odd": [None, "text", 0.1, {"a": True}]}

        def set_state(self, state):
            assert state["odd"] == [None, "text", 0.1, {"a": True}]
            self.n, self.sums = state["n"], state["sums"]

    def train(epochs):
        counts = Counts()
        history = regressor("adam").fit(
            X, Y, epochs=epochs, verbose=0, callbacks=[Checkpoint(tmp_path), counts]
        )
        return counts, history

    train(3)
    counts, history = train(7)
    assert counts.n == 7 and len(history["loss"]) == 7
    *_, total = itertools.accumulate(history["loss"])  # the same additions
    assert (counts.sums == total).all()


def test_a_network_without_a_seed(tmp_path):
    """The rows that were held out, the weights and the order are those of the first time."""

    def train(epochs):
        net = regressor("adam", seed=None)
        net.fit(X, Y, verbose=0, epochs=epochs, validation_split=0.2,
                callbacks=[keep := Checkpoint(tmp_path)])  # fmt: skip
        assert keep.network is None
        return net

    first = train(4)
    assert state(train(4)) == state(first)
    assert train(9).theta.tobytes() != first.theta.tobytes()


def test_a_state_that_no_file_can_hold(tmp_path):
    class Keeps(Callback):
        def __init__(self, what):
            self.what = what

        def get_state(self):
            return {"what": self.what}

    for what in (np.float32(0.5), [np.int64(3)], np.arange(3), None):
        regressor("adam").fit(
            X, Y, verbose=0, callbacks=[Keeps(what), Checkpoint(tmp_path, resume=False)]
        )
    for what in ({1, 2}, print, np.array([True]), np.array(["a"])):
        net = regressor("adam")
        before = state(net)
        with pytest.raises(TypeError, match="a checkpoint can hold numbers"):
            net.fit(X, Y, verbose=0, callbacks=[Keeps(what), Checkpoint(tmp_path, resume=False)])
        assert state(net) == before


# ---- files ----


def trained(folder, epochs=6, **options):
    net = regressor("adam")
    history = net.fit(X, Y, epochs=epochs, verbose=0, callbacks=[Checkpoint(folder, **options)])
    return net, history


def test_which_files_are_kept(tmp_path):
    trained(tmp_path / "all", seconds=0)
    assert numbers(tmp_path / "all") == [4, 5, 6]
    trained(tmp_path / "one", seconds=0, keep=1)
    assert numbers(tmp_path / "one") == [6]
    trained(tmp_path / "some", seconds=0, every=4, keep=9)
    assert numbers(tmp_path / "some") == [4, 6]
    trained(tmp_path / "clock")
    assert numbers(tmp_path / "clock") == [1, 6]


def numbers(folder):
    return sorted(int(path.name[6:14]) for path in folder.iterdir())


def test_what_a_kill_left_is_removed(tmp_path):
    for name in (".nncore-1-0123abcd.tmp", ".nncore-mine.tmp", "notes"):
        (tmp_path / name).write_text("x")
    trained(tmp_path)
    assert sorted(os.listdir(tmp_path))[:2] == [".nncore-mine.tmp", "epoch-00000001.safetensors"]


def test_anew(tmp_path):
    net, _ = trained(tmp_path, seconds=0)
    again, history = trained(tmp_path, epochs=2, seconds=0, resume=False)
    assert len(history["loss"]) == 2 and numbers(tmp_path) == [1, 2]
    assert again.theta.tobytes() != net.theta.tobytes()


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "empty":
        data = b""
    elif how == "bit":
        data[-5] ^= 1
    elif how == "text":
        data = data.replace(b"stop_reason", b"stop_raeson", 1)
    elif how == "digit":
        data = data.replace(b'\\"steps\\":', b'\\"steps\\":1', 1).replace(b" ", b"", 1)
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "empty", "bit", "text", "digit"])
def test_a_damaged_file_is_passed_over(tmp_path, how):
    net, history = trained(tmp_path, seconds=0)
    damage(tmp_path / "epoch-00000006.safetensors", how)
    with pytest.warns(UserWarning, match="checkpoint 6 is damaged and passed over: .*00006") as met:
        again, resumed = trained(tmp_path, seconds=0)
    assert met[0].filename == __file__
    assert state(again) == state(net) and values(resumed) == values(history)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(tmp_path, seconds=0)  # it has been replaced


def test_what_was_passed_over_is_removed(tmp_path):
    def train(*more):
        callbacks = [*more, Checkpoint(tmp_path, seconds=0)]
        regressor("adam").fit(X, Y, epochs=6, verbose=0, callbacks=callbacks)

    train(LambdaCallback())
    for number in (5, 6):
        damage(tmp_path / f"epoch-0000000{number}.safetensors", "cut")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(Killed):
        train(dies(5))
    assert numbers(tmp_path) == [4, 5]  # 6 would have been the newest


def test_all_are_damaged(tmp_path):
    trained(tmp_path, seconds=0)
    for path in tmp_path.iterdir():
        damage(path, "cut")
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(FileFormatError, match="all checkpoints in .* are damaged; remove them"),
    ):
        trained(tmp_path)


def changed(path, change):
    """Change the description of a checkpoint, with a sum that fits."""
    from nncore.callbacks.checkpoint import _sum

    tensors, texts = files.read(path)
    run = json.loads(texts["run"])
    change(run, tensors)
    texts["run"] = json.dumps(run)
    del texts["crc32"]
    files.write(path, tensors, texts | {"crc32": _sum(tensors, texts)})


def put(*keys, value):
    def change(run, tensors):
        for key in keys[:-1]:
            run = run[key]
        run[keys[-1]] = value

    return change


WRONG = {
    "format": put("format", value=2),
    "done": put("done", value=5),
    "no done": put("done", value=0),
    "done is no number": put("done", value="6"),
    "done is huge": put("done", value=2**70),
    "seconds": put("seconds", value=1),
    "reason": put("stop_reason", value=None),
    "columns": put("columns", value=["loss", "val_loss"]),
    "columns are no text": put("columns", value=[["loss"]]),
    "no loss": put("columns", value=[]),
    "recorded": put("recorded", value=["loss"]),
    "recorded others": put("recorded", value=[3]),
    "given": put("given", value=[]),
    "states": put("states", value={}),
    "states of others": put("states", "callbacks.7", value={}),
    "a state is no dict": put("states", "callbacks.0", value=[1]),
    "best": put("states", "callbacks.0", "value", value="low"),
    "since": put("states", "callbacks.0", "since", value=-1),
    "epoch": put("states", "callbacks.0", "stopped_epoch", value=None),
    "parameters": lambda run, tensors: tensors.update({"callbacks.0.theta": np.zeros(3)}),
    "types": lambda run, tensors: tensors.update(
        {"callbacks.0.theta": tensors["callbacks.0.theta"].astype("float64")}
    ),
    "history": lambda run, tensors: tensors.update({"history.loss": np.zeros((6, 1))}),
    "long history": lambda run, tensors: tensors.update({"history.loss": np.zeros(9)}),
    "no weights": lambda run, tensors: tensors.pop("layers.0.W"),
    "no state": lambda run, tensors: tensors.pop("optimizer.1"),
    "more": lambda run, tensors: tensors.update(more=np.zeros(3)),
    "rows": lambda run, tensors: tensors.update(validation_rows=np.zeros((2, 2))),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_file_says_is_not_trusted(tmp_path, name):
    """With a sum that fits: somebody made it so."""

    def train():
        stopping = EarlyStopping("loss", patience=9, restore_best_weights=True)
        net.fit(X, Y, epochs=6, verbose=0, callbacks=[stopping, Checkpoint(tmp_path)])

    net = regressor("adam")
    train()
    net = regressor("adam")
    before = state(net)
    changed(tmp_path / "epoch-00000006.safetensors", WRONG[name])
    with pytest.raises(FileFormatError, match="^(.*00006.safetensors|the checkpoint) "):
        train()
    assert state(net) == before


def test_a_network_of_other_layers_in_a_file(tmp_path):
    """The description that is compared fits, but the network beside it is another."""
    trained(tmp_path)
    path = tmp_path / "epoch-00000006.safetensors"
    other = regressor("adam", Dense(5, "tanh"))
    other.fit(X, Y, epochs=1, verbose=0)
    other.save(tmp_path / "other")

    def swap(run, tensors):
        mine = [name for name in tensors if not name.startswith("history")]
        for each in mine:
            del tensors[each]
        tensors.update(files.read(tmp_path / "other")[0])

    changed(path, swap)
    tensors, texts = files.read(path)
    texts["nncore"] = files.read(tmp_path / "other")[1]["nncore"]
    from nncore.callbacks.checkpoint import _sum

    del texts["crc32"]
    files.write(path, tensors, texts | {"crc32": _sum(tensors, texts)})
    with pytest.raises(FileFormatError, match="a network of other layers or another optimizer"):
        trained(tmp_path)


# ---- another training ----


OTHERS = {
    "network.optimizer.lr": {"net": lambda: regressor(Adam(0.5))},
    "network.layers": {"net": lambda: regressor("adam", Dense(7, "tanh"), Dense(7, "tanh"))},
    "it began with other parameters": {"net": lambda: moved(regressor("adam"))},
    "batch_size": {"batch_size": 5},
    "shuffle": {"shuffle": False},
    "X has 59 rows here and 60 there": {"data": (X[1:], Y[1:])},
    "X has 5 columns here and 4 there": {
        "data": (np.c_[X, Y], Y), "net": lambda: Network(5, Dense(1), seed=0)
    },
    "X has other values than before": {"data": (X + 1, Y)},
    "y has other values than before": {"data": (X, Y + 1)},
    "sample_weight was not given before": {"sample_weight": np.ones(60)},
    "validation data was not given before": {"validation_data": VALIDATION},
    "metrics": {"train_metrics": ["mae"]},
    "stop": {"stop": Stop(loss=1e-9)},
    "callbacks": {"callbacks": [LambdaCallback()]},
    "it has done 6 epochs, and fit is asked for 3": {"epochs": 3},
    "it was made without validation_split": {"validation_split": 0.5},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_checkpoint_of_another_training(tmp_path, what):
    trained(tmp_path)
    options = dict(OTHERS[what])
    net = options.pop("net", lambda: regressor("adam"))()
    data, more = options.pop("data", (X, Y)), options.pop("callbacks", [])
    before = state(net)
    options = {"epochs": 6, "verbose": 0} | options
    with pytest.raises(
        ValueError, match=rf"is of another training: {what}.* Use another folder, or"
    ) as met:
        net.fit(*data, callbacks=[Checkpoint(tmp_path), *more], **options)
    assert not isinstance(met.value, FileFormatError)
    assert state(net) == before


def test_what_no_file_can_hold_is_refused_before_training(tmp_path):
    net = regressor(SGD(lambda t: 0.1))
    before = net.theta.copy()
    with pytest.raises(ValueError, match="is a function, .*, which a file cannot hold"):
        net.fit(X, Y, verbose=0, callbacks=[Checkpoint(tmp_path)])
    assert (net.theta == before).all()


def test_arguments():
    for options in ({"every": 0}, {"keep": 0}, {"every": 1.5}, {"seconds": "x"}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} of Checkpoint must be"):
            Checkpoint("folder", **options)
    with pytest.raises(ValueError, match="one Checkpoint is enough"):
        regressor("adam").fit(X, Y, callbacks=[Checkpoint("a"), Checkpoint("b")])
    assert repr(Checkpoint("a/b")) == "Checkpoint('a/b')"


# ---- killed ----


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only on Windows: there are no forks to kill")
def test_trainings_that_are_killed(tmp_path):
    """SIGKILL at random moments, and the bits of a training that never was: `NNCORE_TEST_KILLS`."""
    program = Path(__file__).with_name("killed.py")
    found = subprocess.run(
        [sys.executable, program, str(tmp_path), str(KILLS), "0"], cwd=tmp_path,
        capture_output=True, text=True, timeout=120 + KILLS,
    )  # fmt: skip
    assert found.stderr == ""
    kills, ended, _, same = found.stdout.split()
    assert int(kills) >= KILLS and int(ended) >= 3 and same == "True"


def moved(net):
    net.theta[0] += 1
    return net


def test_a_network_without_a_seed_goes_on(tmp_path):
    """Its starting weights are others in each program."""
    def train(epochs):
        net = Network(4, Dense(1), optimizer="adam")
        return net.fit(X, Y, epochs=epochs, verbose=0, callbacks=[Checkpoint(tmp_path, seconds=0)])

    first, second = train(3), train(5)
    assert second["loss"][:3] == first["loss"] and len(second["loss"]) == 5


def test_a_network_trained_since_is_not_overwritten(tmp_path):
    net = Network(4, Dense(1), optimizer="adam", seed=0)
    net.fit(X, Y, epochs=3, verbose=0, callbacks=[Checkpoint(tmp_path)])
    theta = net.theta.copy()
    with pytest.raises(ValueError, match="began with other parameters: another seed"):
        net.fit(X, Y, epochs=9, verbose=0, callbacks=[Checkpoint(tmp_path)])
    np.testing.assert_array_equal(net.theta, theta)


@pytest.mark.parametrize("kind", ["generator", "function", "its own random numbers"])
def test_batches_go_on_where_they_were(tmp_path, kind, capsys):
    def train(epochs, *folder):
        rng = np.random.default_rng(0)

        def some(count):
            for i in range(count):
                rows = rng.integers(0, len(X), 8) if kind[0] == "i" else slice(i % 7, i % 7 + 8)
                yield X[rows], Y[rows]

        more = {"steps_per_epoch": 5} if kind == "generator" else {}
        source = some(1000) if kind == "generator" else lambda: some(5)
        net = Network(4, Dense(6, "tanh"), Dense(1), optimizer="adam", seed=0)
        calls = [Checkpoint(f, seconds=0) for f in folder]
        net.fit(source, epochs=epochs, verbose=2, callbacks=calls, **more)
        return net.theta

    train(4, tmp_path)
    np.testing.assert_array_equal(train(9, tmp_path), train(9))
    assert f"going on after epoch 4 of {tmp_path}" in capsys.readouterr().err


def test_validation_data_that_have_changed(tmp_path):
    def fit(data):
        checkpoint = Checkpoint(tmp_path)
        regressor("adam").fit(X, Y, verbose=0, callbacks=[checkpoint], validation_data=data)

    V, v = VALIDATION
    fit((V, v))
    for data, what in (
        ((V[1:], v[1:]), "X has 14 rows here and 15 there"),
        ((V, v + 1), "y has other values than before"),
        (None, "data was given before"),
    ):
        with pytest.raises(ValueError, match=f"is of another training: validation {what}. Use"):
            fit(data)


def test_fewer_rows_than_were_split(tmp_path):
    split = {"validation_split": 0.5}
    regressor("adam").fit(X, Y, verbose=0, callbacks=[Checkpoint(tmp_path)], **split)
    with pytest.raises(ValueError, match="of another training: X has 20 rows here and more there"):
        regressor("adam").fit(X[:20], Y[:20], verbose=0, callbacks=[Checkpoint(tmp_path)], **split)


def test_load_says_what_a_checkpoint_is(tmp_path):
    trained(tmp_path)
    path = max(tmp_path.iterdir())
    with pytest.raises(FileFormatError) as met:
        nncore.load(path)
    assert str(met.value).startswith(f"{path} is a checkpoint, ")
    assert f"callbacks=[nncore.callbacks.Checkpoint({str(tmp_path)!r})]" in str(met.value)
