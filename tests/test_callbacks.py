"""Callbacks: when they are called, what they see, and what becomes of a network when one fails."""

import math
import threading

import numpy as np
import pytest

import nncore
from nncore import SGD, Callback, Dense, Network, Stop
from nncore.callbacks import HOOKS

X = np.linspace(-1, 1, 21)[:, None]
Y = np.sin(np.pi * X)
OPTIMIZERS = ["adam", "lbfgs"]  # of batches, and of all rows at once


def network(optimizer="adam", **options):
    return Network(1, Dense(6, "tanh"), Dense(1), optimizer=optimizer, seed=0, **options)


def fit(net, *callbacks, epochs=4, **options):
    return net.fit(X, Y, epochs=epochs, verbose=False, callbacks=list(callbacks), **options)


class Log(Callback):
    """Writes down each call."""

    def __init__(self):
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append(("train begin", dict(logs)))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("begin", epoch, dict(logs)))

    def on_epoch_end(self, epoch, logs=None):
        assert self.network is not None and len(self.history["loss"]) == epoch + 1
        self.calls.append(("end", epoch, dict(logs)))

    def on_train_end(self, logs=None):
        self.calls.append(("train end", dict(logs)))


class At(Callback):
    """Does something at the end of an epoch."""

    def __init__(self, epoch, what):
        self.epoch, self.what = epoch, what

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.what(self, logs)


# ---- when, and with what ----


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_calls_in_order(optimizer):
    log = Log()
    history = fit(network(optimizer), log, epochs=3, validation_data=(X, Y))
    names = ("loss", "val_loss") if optimizer == "adam" else tuple(history)
    values = [{name: history[name][i] for name in names} for i in range(3)]
    assert log.calls == [
        ("train begin", {}), ("begin", 0, {}), ("end", 0, values[0]), ("begin", 1, {}),
        ("end", 1, values[1]), ("begin", 2, {}), ("end", 2, values[2]), ("train end", values[2]),
    ]  # fmt: skip


def test_the_learning_rate_is_in_the_logs():
    log = Log()
    history = fit(network(SGD(nncore.schedules.Cosine(0.1, steps=20))), log, epochs=2)
    assert [call[2]["lr"] for call in log.calls if call[0] == "end"] == history["lr"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_has_the_same_bits(optimizer):
    plain, watched = network(optimizer), network(optimizer)
    expected = plain.fit(X, Y, epochs=5, verbose=False)
    for callbacks in ([], [Log(), Callback()]):
        watched = network(optimizer)
        history = watched.fit(X, Y, epochs=5, verbose=False, callbacks=callbacks)
        assert watched.theta.tobytes() == plain.theta.tobytes()
        assert dict(history) == dict(expected) and history.stop_reason == "epochs"


def test_what_a_callback_sees():
    seen = {}

    class See(Callback):
        def on_train_begin(self, logs=None):
            seen.update(network=self.network, params=self.params, data=self.data,
                        history=self.history)  # fmt: skip

    see, net, w = See(), network(), np.ones(21)
    history = fit(net, see, epochs=2, batch_size=8, sample_weight=w)
    assert seen["network"] is net and seen["history"] is history
    assert seen["params"] == {"epochs": 2, "steps": 3, "batch_size": 8}
    np.testing.assert_allclose(seen["data"][0], X, rtol=1e-6)
    assert len(seen["data"]) == 3 and (seen["data"][2] == w).all()
    assert see.network is see.history is see.params is see.data is None
    fit(network("lbfgs"), see)
    assert seen["params"] == {"epochs": 4, "steps": 1, "batch_size": 21}


def test_an_instance_can_be_used_again():
    log = Log()
    for _ in range(2):
        fit(network(), log, epochs=1)
    assert len(log.calls) == 8


# ---- what they record ----


def test_numbers_in_the_logs_go_into_the_history():
    def put(name, value):
        return lambda callback, logs: logs.update({name: value})

    more = fit(network(), At(1, put("a", 3)), At(2, put("b", np.float32(0.5))), At(3, put("a", 4)))
    assert [repr(v) for v in more["a"]] == ["nan", "3.0", "nan", "4.0"]
    assert [repr(v) for v in more["b"]] == ["nan", "nan", "0.5", "nan"]
    assert list(more) == ["loss", "a", "b"] and len(more["loss"]) == 4


def test_what_fit_measured_stays():
    def change(callback, logs):
        logs["loss"] = -1.0
        del logs["val_loss"]
        logs["twice"] = 2.0

    history = fit(network(), At(0, change), epochs=2, validation_data=(X, Y))
    assert min(history["loss"] + history["val_loss"]) > 0
    assert len(history["val_loss"]) == 2 and history["twice"][0] == 2


def test_a_callback_sees_what_those_before_it_put_in():
    seen = []
    first = At(0, lambda callback, logs: logs.update(x=1.0))
    second = At(0, lambda callback, logs: (seen.append(logs["x"]), logs.update(x=2.0)))
    assert fit(network(), first, second, epochs=1)["x"] == [2.0] and seen == [1.0]


@pytest.mark.parametrize("value", ["high", None, np.zeros(3), {}])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="logs are numbers by name; At put in 'mine': "):
        fit(network(), At(0, lambda callback, logs: logs.update(mine=value)))


def test_names_of_layers_are_not_in_the_progress(capsys):
    put = At(0, lambda callback, logs: logs.update({"layers[0].x": 1.0, "mine": 2.0}))
    history = network().fit(X, Y, verbose=True, callbacks=[put])
    assert "mine 2" in capsys.readouterr().err and "mine 2" in repr(history)
    assert "layers" not in repr(history) and "layers[0].x" in history


# ---- stopping ----


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("reason", "said"), [(None, "At"), ("enough", "enough")])
def test_a_callback_can_stop(optimizer, reason, said):
    net, log = network(optimizer), Log()
    history = fit(net, At(2, lambda callback, logs: callback.stop(reason)), log, epochs=9)
    assert len(history["loss"]) == 3 and history.stop_reason == said
    assert [call[0] for call in log.calls].count("end") == 3 and log.calls[-1][0] == "train end"
    twin = network(optimizer)
    twin.fit(X, Y, epochs=3, verbose=False)
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_the_first_reason_stays():
    second = At(1, lambda callback, logs: callback.stop("second"))
    first = At(1, lambda callback, logs: callback.stop("first"))
    assert fit(network(), first, second).stop_reason == "first"
    assert fit(network(), second, stop=Stop(loss=1e9), epochs=2).stop_reason == "loss"


def test_at_the_beginning_it_stops_after_one_epoch():
    class Early(Callback):
        def on_train_begin(self, logs=None):
            self.stop()

    history = fit(network(), Early())
    assert len(history["loss"]) == 1 and history.stop_reason == "Early"


@pytest.mark.parametrize("reason", ["", "epochs", 3])
def test_reasons_that_say_nothing(reason):
    with pytest.raises(ValueError, match='reason must be a text other than "epochs"'):
        fit(network(), At(0, lambda callback, logs: callback.stop(reason)))


def test_stop_outside_of_fit():
    with pytest.raises(RuntimeError, match=r"Callback.stop\(\) has a meaning only while fit runs"):
        Callback().stop()


def test_stop_restores_the_best_before_the_training_ends():
    """Also when a callback ends it, with the epoch that is the last one looked at."""
    seen = []

    class End(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 30:
                self.stop()

        def on_train_end(self, logs=None):
            seen.append(self.network.evaluate(X + 0.03, Y + 0.1)["loss"])

    history = network("lbfgs").fit(
        X, Y, epochs=99, verbose=False, callbacks=[End()], stop=Stop(max_fail=1000),
        validation_data=(X + 0.03, Y + 0.1),
    )  # fmt: skip
    assert history.stop_reason == "End" and len(history["loss"]) == 31
    assert seen == [pytest.approx(min(history["val_loss"]), rel=1e-6)]


def test_a_trainer_that_is_stuck_says_so():
    log = Log()
    net = Network(1, Dense(1), optimizer="cg", seed=0, dtype="float64")
    history = fit(net, log, epochs=3000)
    assert history.stop_reason == "minimum" and len(log.calls) == 2 * len(history["loss"]) + 2


# ---- errors ----


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_error_leaves_the_network_after_its_last_whole_epoch(optimizer):
    def fail(callback, logs):
        raise LookupError("mine")

    net, callback = network(optimizer), At(2, fail)
    with pytest.raises(LookupError, match="mine"):
        fit(net, Log(), callback, stop=Stop(max_fail=50), validation_data=(X, Y))
    twin = network(optimizer)
    twin.fit(X, Y, epochs=3, verbose=False)
    assert net.theta.tobytes() == twin.theta.tobytes() and net._epochs == 3
    assert callback.network is None
    net.fit(X, Y, epochs=2, verbose=False)  # it goes on, as if nothing had been
    twin.fit(X, Y, epochs=2, verbose=False)
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_in_each_hook(hook):
    def fail(self, *arguments):
        raise LookupError(hook)

    callback, net = type("Fails", (Callback,), {hook: fail})(), network()
    with pytest.raises(LookupError, match=hook):
        fit(net, callback, epochs=2)
    epochs = {"on_train_begin": 0, "on_epoch_begin": 0, "on_epoch_end": 1, "on_train_end": 2}[hook]
    twin = network()
    if epochs:
        twin.fit(X, Y, epochs=epochs, verbose=False)
    assert net.theta.tobytes() == twin.theta.tobytes()
    assert callback.network is None and not net._training.locked()


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (Callback(), r"callbacks must be a list: callbacks=\[Callback\(...\)\], got a Callback"),
        ([Callback], r"Callback in callbacks is a class; write Callback\(\) with brackets"),
        ([nncore.Monitor], r"Monitor in callbacks is a class; write Monitor\(\) with brackets"),
        ([print], "<built-in function print> in callbacks is a function; derive a class"),
        ([int], "<class 'int'> in callbacks is a function; derive a class"),
        ([3], "3 in callbacks is no callback; derive a class from nncore.Callback"),
        ("all", "callbacks must be a list of nncore.Callback, got 'all'"),
        (print, "callbacks must be a list of nncore.Callback, got <built-in function print>"),
        ([None], "None in callbacks is no callback"),
    ],
)
def test_what_is_no_list_of_callbacks(callbacks, message):
    net = network()
    before = net.theta.copy(), str(net._rng.bit_generator.state)
    with pytest.raises(TypeError, match=message):
        net.fit(X, Y, verbose=False, callbacks=callbacks)
    assert (net.theta == before[0]).all() and str(net._rng.bit_generator.state) == before[1]


def test_one_instance_at_one_place():
    log = Log()
    with pytest.raises(RuntimeError, match="this Log is at work in another call of fit, or twice"):
        fit(network(), log, log)
    assert log.network is None
    again = At(0, lambda callback, logs: fit(network(), callback))
    with pytest.raises(RuntimeError, match="this At is at work in another call of fit"):
        fit(network(), again)
    assert again.network is None


@pytest.mark.parametrize("hook", ["on_batch_end", "on_train_batch_begin", "on_epoch_finish"])
def test_hooks_that_would_never_be_called(hook):
    with pytest.raises(TypeError, match=f"Mine.{hook} would never be called: an epoch is one"):
        type("Mine", (Callback,), {hook: lambda self, *a: None})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_within_training_is_refused(optimizer):
    """It is said who trains: this fit in its own thread, another thread in any other."""
    seen = []

    def elsewhere(callback, logs):
        def train():
            with pytest.raises(RuntimeError, match="is being trained in another thread$"):
                callback.network.fit(X, Y, verbose=False)
            seen.append(True)

        thread = threading.Thread(target=train)
        thread.start()
        thread.join()

    net = network(optimizer)
    fit(net, At(0, elsewhere))
    assert seen == [True]
    for what in (
        lambda callback, logs: callback.network.fit(X, Y, verbose=False),
        lambda callback, logs: callback.network.partial_fit(X, Y),
        lambda callback, logs: setattr(callback.network, "optimizer", "sgd"),
    ):
        with pytest.raises(RuntimeError, match="is being trained by the fit whose callback"):
            fit(net, At(0, what))
    fit(net, At(0, lambda callback, logs: fit(callback.network.copy())))  # as it says


# ---- what they change ----


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_parameters_that_a_callback_sets_count(optimizer):
    def halve(callback, logs):
        callback.network.theta *= 0.5

    net = network(optimizer)
    history = fit(net, At(1, halve), epochs=3)
    twin = network(optimizer)
    twin.fit(X, Y, epochs=2, verbose=False)
    twin.theta *= 0.5
    if optimizer == "lbfgs":
        twin.optimizer = "lbfgs"  # its memory is of another place
    assert twin.fit(X, Y, verbose=False)["loss"] == history["loss"][-1:]
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_settings_that_a_callback_sets_count():
    def slow(callback, logs):
        callback.network.optimizer.lr = 1e-9

    net = network(SGD(0.1))
    history = fit(net, At(1, slow), epochs=6)
    assert history["loss"][1] > 1.01 * history["loss"][2] and history.n_steps == 6
    assert math.isclose(history["loss"][3], history["loss"][5], rel_tol=1e-6)


def test_it_may_predict_copy_and_save(tmp_path):
    kept = []

    def keep(callback, logs):
        net = callback.network
        net.save(tmp_path / "net")
        kept.extend((net.copy(), net.predict(X), net.diagnose(*callback.data[:2])))

    net = network()
    fit(net, At(1, keep), epochs=4)
    twin, loaded = network(), nncore.load(tmp_path / "net")
    twin.fit(X, Y, epochs=2, verbose=False)
    assert kept[0].theta.tobytes() == loaded.theta.tobytes() == twin.theta.tobytes()
    assert (kept[1] == twin.predict(X)).all()
    for other in (kept[0], loaded):
        other.fit(X, Y, epochs=2, verbose=False)
        assert other.theta.tobytes() == net.theta.tobytes()
