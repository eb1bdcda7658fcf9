"""The callbacks that Keras names: each condition and rate as Keras has them, worked by hand."""

import csv
import math
import os
import sys

import numpy as np
import pytest

import nncore
from nncore import SGD, Callback, Dense, Network
from nncore.callbacks import (
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)

X = np.linspace(-1, 1, 21)[:, None]
Y = np.sin(np.pi * X)


def network(optimizer=None, **options):
    layers = Dense(6, "tanh"), Dense(1)
    return Network(1, *layers, optimizer=optimizer or SGD(0.1), seed=0, **options)


def fit(net, *callbacks, epochs=4, **options):
    return net.fit(X, Y, epochs=epochs, verbose=0, callbacks=list(callbacks), **options)


class Puts(Callback):
    """Puts prescribed numbers into the history; None: in that epoch there is none."""

    def __init__(self, values, name="score"):
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        if self.values[epoch] is not None:
            logs[self.name] = self.values[epoch]


def stopped(values, **options):
    """After how many epochs it ends, and with the parameters of which epoch."""
    net, thetas = network(), []
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: thetas.append(net.theta.copy()))
    stopping = EarlyStopping("score", mode=options.pop("mode", "min"), **options)
    history = fit(net, Puts(values), keep, stopping, epochs=len(values))
    ends = [i for i, theta in enumerate(thetas) if (theta == net.theta).all()]
    assert (history.stop_reason == "EarlyStopping") == (stopping.stopped_epoch > 0)
    return len(history["loss"]), ends[0]


# ---- EarlyStopping ----


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([5, 4, 3, 3, 3, 3], {"patience": 2}, (5, 4)),
        ([5, 4, 3, 3, 3, 3], {"patience": 2, "restore_best_weights": True}, (5, 2)),
        ([5, 4, 3, 3, 3], {}, (4, 3)),  # 0 is as 1
        ([5, 4, 3, 3, 3], {"patience": 1}, (4, 3)),
        ([5, 4, 3.9, 3, 3, 3], {"patience": 2, "min_delta": 1}, (5, 4)),  # 3.9 is better, 4 not
        ([5, 4.1, 4, 4, 4, 4], {"patience": 2, "min_delta": -1}, (3, 2)),
        ([1, 2, 3, 3, 2, 9], {"patience": 2, "mode": "max"}, (5, 4)),
        ([3, 2, 4, 5, 1], {"patience": 9, "restore_best_weights": True}, (5, 4)),
        ([3, 2, 4, 5], {"patience": 9, "restore_best_weights": True}, (4, 1)),  # not stopped
        ([9, 8, 7, 6, 5], {"patience": 3, "baseline": 1}, (5, 4)),  # better, but not than that
        ([9, 8, 8, 8, 5], {"patience": 3, "baseline": 1}, (3, 2)),
        ([9, 0.5, 8, 8, 8], {"patience": 3, "baseline": 1}, (5, 4)),
        ([1, 2, 9, 9, 8, 8, 8], {"patience": 2, "start_from_epoch": 2}, (7, 6)),
        ([math.nan, 2, 3, 3], {"patience": 2, "restore_best_weights": True}, (4, 1)),
        ([5, None, None, 6, None, 7], {"patience": 2}, (6, 5)),  # what is not there is not counted
    ],
)
def test_early_stopping(values, options, expected):
    assert stopped(values, **options) == expected


def test_early_stopping_counts_as_stop_does():
    V = X[::2] + 0.03, np.sin(np.pi * X[::2]) + 0.1
    a, b = network("lbfgs"), network("lbfgs")
    stopping = EarlyStopping(patience=5, restore_best_weights=True)
    one = fit(a, stopping, epochs=300, validation_data=V)
    two = fit(b, epochs=300, validation_data=V, stop=nncore.Stop(max_fail=5))
    assert dict(one) == dict(two) and a.theta.tobytes() == b.theta.tobytes()
    assert a._memory is None and one.stop_reason == "EarlyStopping"
    assert stopping.best == min(one["val_loss"])
    assert stopping.best_epoch == int(np.argmin(one["val_loss"]))
    assert stopping.stopped_epoch == stopping.best_epoch + 5 == len(one["loss"]) - 1


@pytest.mark.parametrize(
    "values, restore, said",
    [
        ([2, 1, 1], True, "best in epoch 2, the weights are those of epoch 2"),
        (
            [math.nan, math.nan],
            True,
            "never better than at the start, the weights are those of epoch 2",
        ),
    ],
)
def test_the_line_says_whose_weights_stay(values, restore, said, capsys):
    stopping = EarlyStopping("score", mode="min", restore_best_weights=restore, verbose=1)
    fit(network(), Puts(values), stopping, epochs=3)
    assert f"epoch {len(values)}: training ends; score was {said}" in capsys.readouterr().err


def test_running_statistics_are_restored_too():
    def frozen():  # nothing changes but the running statistics
        frozen = {"trainable": False}
        layers = Dense(4, "tanh", **frozen), nncore.BatchNorm(**frozen), Dense(1, **frozen)
        return Network(1, *layers, seed=0)

    net, twin = frozen(), frozen()
    stopping = EarlyStopping("score", mode="min", restore_best_weights=True, patience=9)
    fit(net, Puts([1, 2, 3]), stopping, epochs=3)
    fit(twin, epochs=1)
    assert net._engine.running.tobytes() == twin._engine.running.tobytes()


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [("loss", "min"), ("val_loss", "min"), ("val_accuracy", "max"), ("val_f1_macro", "max"),
     ("val_roc_auc", "max"), ("rmse", "min"), ("val_r2", "max"), ("gradient_norm", "min"),
     ("val_top_3_accuracy", "max")],
)  # fmt: skip
def test_what_auto_knows(monitor, mode):
    assert EarlyStopping(monitor).mode == mode == ReduceLROnPlateau(monitor).mode


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping("mine"), ValueError, "EarlyStopping monitors mine: expected loss"),
        (lambda: EarlyStopping("accuracy_loss"), ValueError, 'mode="max" or mode="min"'),
        (lambda: EarlyStopping(mode="up"), ValueError, 'mode must be "auto", "min" or "max"'),
        (lambda: EarlyStopping(patience=1.5), ValueError, "patience of EarlyStopping must be an i"),
        (lambda: EarlyStopping(patience=-1), ValueError, "patience of EarlyStopping must be an in"),
        (lambda: EarlyStopping(min_delta="x"), ValueError, "min_delta of EarlyStopping must be a"),
        (lambda: EarlyStopping(baseline=math.nan), ValueError, "baseline of EarlyStopping must be"),
        (lambda: EarlyStopping(3), TypeError, "monitor must be a name of the history, got 3"),
        (lambda: ReduceLROnPlateau(factor=1), ValueError, r"factor of .* must be in \[0, 1\)"),
        (lambda: ReduceLROnPlateau(cooldown=None), ValueError, "cooldown of ReduceLROnPlateau mus"),
        (lambda: ModelCheckpoint("x", every=0), ValueError, "every of ModelCheckpoint must be an"),
        (lambda: ModelCheckpoint("x", "mine", save_best_only=True), ValueError, "expected loss"),
        (lambda: LearningRateScheduler(0.1), TypeError, "schedule must be a function of the epoch"),
        (lambda: LambdaCallback(on_batch_end=print), TypeError, "has no on_batch_end: an epoch is"),
        (lambda: LambdaCallback(on_epoch_end=3), TypeError, "on_epoch_end must be a function, go"),
        (lambda: CSVLogger("x", separator="::"), ValueError, "separator must be one character"),
        (lambda: nncore.callbacks.BackupAndRestore, AttributeError, "it is nncore.callbacks.Check"),
        (lambda: nncore.callbacks.History, AttributeError, "fit returns the history"),
        (lambda: nncore.callbacks.Nothing, AttributeError, "no attribute 'Nothing'$"),
    ],
)
def test_arguments_that_have_no_meaning(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_what_is_not_measured():
    net = network()
    before = net.theta.copy()
    for callback in (EarlyStopping(), ReduceLROnPlateau(),
                     ModelCheckpoint("x", save_best_only=True)):  # fmt: skip
        with pytest.raises(ValueError, match="monitors val_loss: fit needs validation_data or val"):
            fit(net, callback)
    assert (net.theta == before).all()
    with pytest.raises(ValueError, match="monitors acc, which is not measured; there are: loss"):
        fit(net, EarlyStopping("acc"))


def test_verbose_says_so(capsys):
    fit(network(), Puts([2, 1, 1]), EarlyStopping("score", mode="min", verbose=1), epochs=3)
    reduce = ReduceLROnPlateau("score", mode="min", patience=1, verbose=1)
    fit(network(), Puts([2, 2]), reduce, epochs=2)
    fit(network(), LearningRateScheduler(lambda epoch: 0.5, verbose=1), epochs=1)
    out, err = capsys.readouterr()
    assert out == "" and err == (
        "epoch 3: training ends; score was best in epoch 2, the weights are those of epoch 3\n"
        "epoch 2: the learning rate is now 0.01\n"
        "epoch 1: the learning rate is 0.5\n"
    )


# ---- learning rates ----


@pytest.mark.parametrize(
    ("values", "options", "rates"),
    [
        ([5, 4, 4, 4, 4, 4], {"patience": 2}, [8, 8, 8, 8, 4, 4]),
        ([5, 4, 4, 4, 4, 4], {"patience": 0}, [8, 8, 8, 4, 2, 1]),
        ([5, 4.5, 4.4, 4.3, 4.2], {"patience": 2, "min_delta": 1}, [8, 8, 8, 4, 4]),
        # an epoch of cooling down is not counted
        ([4, 4, 4, 4, 4, 4, 4], {"patience": 1, "cooldown": 1}, [8, 8, 4, 2, 1, 0.5, 0.25]),
        ([4, 4, 4, 4, 4, 4, 4], {"patience": 1, "cooldown": 2}, [8, 8, 4, 4, 2, 2, 1]),
        ([4] * 7, {"patience": 2, "min_lr": 3 * 2**-20}, [8, 8, 8, 4, 4, 3, 3]),
        ([1, 2, 3, 3, 2], {"patience": 2, "mode": "max"}, [8, 8, 8, 8, 8]),
        ([4, 4, 4], {"patience": 1, "factor": 0.0}, [8, 8, 8]),  # no rate may be 0
    ],
)
def test_reduce_lr_on_plateau(values, options, rates):
    options = {"factor": 0.5, "mode": "min"} | options
    net, reduce = network(SGD(8 * 2**-20)), ReduceLROnPlateau("score", **options)
    history = fit(net, Puts(values), reduce, epochs=len(values))
    assert history["lr"] == [rate * 2**-20 for rate in rates]  # halves are exact
    assert net.optimizer.lr <= history["lr"][-1]


def test_learning_rate_scheduler():
    net = network()
    history = fit(net, LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)), epochs=3)
    assert history["lr"] == [0.1, 0.05, 0.1 / 3]
    twin = network()
    for lr in history["lr"]:
        twin.optimizer.lr = lr
        fit(twin, epochs=1)
    assert net.theta.tobytes() == twin.theta.tobytes()
    history = fit(network(), LearningRateScheduler(nncore.schedules.Step(0.4, 2, 0.5)))
    assert history["lr"] == [0.4, 0.4, 0.2, 0.2]
    with pytest.raises(ValueError, match="lr of SGD must be positive and finite, got -1.0"):
        fit(network(), LearningRateScheduler(lambda epoch, lr: -1))


@pytest.mark.parametrize("callback", [ReduceLROnPlateau("loss"), LearningRateScheduler(float)])
def test_rates_that_cannot_be_set(callback):
    name = type(callback).__name__
    with pytest.raises(ValueError, match=f"LBFGS has no learning rate for {name} to change"):
        fit(network("lbfgs"), callback)
    schedule = SGD(nncore.schedules.Cosine(0.1, steps=9))
    with pytest.raises(ValueError, match=f"{name} sets the learning rate, but the optimizer has a"):
        fit(network(schedule), callback)


# ---- ModelCheckpoint ----


def test_model_checkpoint(tmp_path):
    kept = ModelCheckpoint(tmp_path / "{epoch:02d}-{loss:.3f}.net")
    net = network()
    history = fit(net, kept, epochs=3)
    names = [f"{i + 1:02d}-{loss:.3f}.net" for i, loss in enumerate(history["loss"])]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    again = nncore.load(tmp_path / names[1])
    fit(again, epochs=1)
    assert again.theta.tobytes() == net.theta.tobytes()
    with pytest.raises(ValueError, match="cannot be filled in .KeyError: 'f1'.; there are: epoch"):
        fit(network(), ModelCheckpoint("{f1}"))


@pytest.mark.parametrize(
    ("options", "saved"),
    [({}, {0, 1, 4}), ({"initial_value_threshold": 3.5}, {4}), ({"mode": "max"}, {0, 3}),
     ({"every": 2}, {1, 5})],
)  # fmt: skip
def test_only_the_best(tmp_path, options, saved):
    values, found = [5, 4, 4, 6, 3, 3], set()
    path = tmp_path / "best"

    def look(epoch, logs):
        if path.exists():
            found.add(epoch)
            path.unlink()

    save = ModelCheckpoint(path, "score", save_best_only=True, **{"mode": "min"} | options)
    fit(network(), Puts(values), save, LambdaCallback(on_epoch_end=look), epochs=6)
    assert found == saved


# ---- CSVLogger ----


def rows(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old\n")
    log = CSVLogger(path)
    history = fit(network(), Puts([1, None, 3]), log, epochs=3, validation_data=(X, Y))
    found = rows(path)
    assert found[0] == ["epoch", "loss", "val_loss", "score"]
    assert [row[0] for row in found[1:]] == ["0", "1", "2"]
    assert [float(row[1]) for row in found[1:]] == history["loss"]  # all digits
    assert [row[3] for row in found[1:]] == ["1", "NA", "3"]
    before = path.read_text()
    fit(network(), Puts([1, 2]), CSVLogger(path, append=True), epochs=2, validation_data=(X, Y))
    assert path.read_text().startswith(before) and len(rows(path)) == 6
    with pytest.raises(ValueError, match="has the columns epoch, loss, val_loss, score, and"):
        fit(network(), CSVLogger(path, append=True))
    fit(network(), CSVLogger(path, ";"), epochs=1)
    assert rows(path, ";")[0] == ["epoch", "loss"] and len(rows(path)) == 2
    fit(network(), CSVLogger(tmp_path / "new", append=True), epochs=1)
    assert len(rows(tmp_path / "new")) == 2


def test_a_log_that_cannot_be_written_is_found_out_before_training(tmp_path):
    net = network()
    before = net.theta.copy()
    with pytest.raises(FileNotFoundError):
        fit(net, CSVLogger(tmp_path / "no" / "log.csv"))
    assert (net.theta == before).all()


@pytest.mark.parametrize("name", ["net.h5", "{epoch}.KERAS", "net.weights.h5", "net.pkl", "a.pth"])
def test_files_are_not_named_after_other_formats(name):
    with pytest.raises(ValueError, match=r"let it end in \.safetensors"):
        ModelCheckpoint(name)


# ---- TerminateOnNaN ----


@pytest.mark.parametrize("optimizer", [SGD(1e3), SGD(1e30)])
def test_terminate_on_nan(optimizer):
    with pytest.raises(FloatingPointError):
        fit(network(optimizer, dtype="float64"), epochs=60)
    net = network(optimizer, dtype="float64")
    seen = []
    end = LambdaCallback(on_train_end=lambda logs: seen.append(logs))
    history = fit(net, TerminateOnNaN(), end, epochs=60)
    assert history.stop_reason == "TerminateOnNaN" and len(history.get("loss", ())) < 60
    assert np.isfinite(net.theta).all() and len(seen) == 1
    assert all(math.isfinite(loss) for loss in history.get("loss", ()))
    with pytest.raises(FloatingPointError, match="Loss became"):
        fit(network(optimizer, dtype="float64"), TerminateOnNaN(raise_error=True), epochs=60)


def test_terminate_on_a_validation_loss_that_is_not_finite():
    far = np.full((1, 1), 3e38), np.full((1, 1), -3e38)
    history = fit(network(), TerminateOnNaN(), validation_data=far)
    assert len(history["loss"]) == 1 and history.stop_reason == "TerminateOnNaN"
    assert history.error == "val_loss became inf at epoch 1"
    with pytest.raises(FloatingPointError, match="val_loss became inf at epoch 1"):
        fit(network(), TerminateOnNaN(True), validation_data=far)


def test_with_early_stopping_the_best_is_there():
    net = network(SGD(nncore.schedules.Exponential(0.1, 3.0)), dtype="float64")
    stopping = EarlyStopping("loss", patience=999, restore_best_weights=True)
    history = fit(net, stopping, TerminateOnNaN(), epochs=900, batch_size="full")
    assert history.stop_reason == "TerminateOnNaN" and np.isfinite(net.theta).all()
    at = stopping.best_epoch + 1
    twin = network(SGD(nncore.schedules.Exponential(0.1, 3.0)), dtype="float64")
    fit(twin, epochs=at, batch_size="full")
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_lambda_callback():
    calls = []
    tell = LambdaCallback(
        on_train_begin=lambda logs: calls.append("begin"),
        on_epoch_begin=lambda epoch, logs: calls.append(epoch),
        on_epoch_end=lambda epoch, logs: calls.append(sorted(logs)), on_train_end=None,
    )  # fmt: skip
    fit(network(), tell, epochs=2)
    assert calls == ["begin", 0, ["loss"], 1, ["loss"]]


def test_importing_them_is_lazy():
    code = (
        "import sys, nncore; nncore.Callback; found = set(sys.modules); "
        "print([n for n in ('csv', 'inspect', 'nncore.callbacks.simple') if n in found])"
    )
    import subprocess

    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=os.sep, capture_output=True, text=True)
    assert "nncore.callbacks.simple" not in found.stdout and found.returncode == 0
