"""What fit tells: the history that it returns, and what it prints on its way."""

import io
import re
import sys

import numpy as np
import pytest

import nncore
from nncore import SGD, Dense, Network

from .networks import classifier, labelled, quiet, regressor, valued

# --- History --------------------------------------------------------------------------------------


def test_history():
    X, y = labelled(50)
    network = classifier()
    history = quiet(network, X, y, epochs=4, batch_size=16)
    assert list(history) == ["loss"] and len(history) == 1 and len(history["loss"]) == 4
    assert history.n_steps == 16 and history.seconds > 0
    assert isinstance(history, nncore.History) and "4 epochs; loss " in repr(history)
    assert "val_loss" not in history and history.get("val_loss") is None
    history = quiet(network, X, y, epochs=2, validation_data=[X[:7], y[:7]])
    assert {name: len(values) for name, values in history.items()} == {
        "loss": 2, "val_loss": 2, "val_accuracy": 2,
    }  # fmt: skip
    assert history.n_steps == 4
    scores = network.evaluate(X[:7], y[:7])
    assert (history["val_loss"][-1], history["val_accuracy"][-1]) == (
        scores["loss"], scores["accuracy"],
    )  # fmt: skip
    assert all(type(value) is float for values in history.values() for value in values)
    X, Y = valued()
    history = quiet(regressor(), X, Y, validation_data=(X, Y))
    assert list(history) == ["loss", "val_loss"]
    assert repr(nncore.History()) == "History(0 epochs)"


def test_history_weights_batches_by_their_rows():
    X, y = labelled(50)
    a, b = classifier(), classifier()
    history = quiet(a, X, y, batch_size=48, shuffle=False)
    losses = b.partial_fit(X[:48], y[:48]), b.partial_fit(X[48:], y[48:])
    assert history["loss"] == [pytest.approx((48 * losses[0] + 2 * losses[1]) / 50, rel=1e-14)]


# --- What is printed ------------------------------------------------------------------------------


def test_nothing_is_printed_unless_asked(capfd):
    X, y = labelled()
    network = classifier()
    for verbose in (False, "auto"):  # under the tests, stderr is no terminal
        network.fit(X, y, epochs=5, validation_data=(X, y), verbose=verbose)
    network.fit(X, y)
    network.partial_fit(X, y)
    network.predict(X)
    network.evaluate(X, y)
    network.copy()
    assert capfd.readouterr() == ("", "")


def test_verbose_prints_lines_to_stderr(capfd):
    X, y = labelled()
    history = classifier().fit(X, y, epochs=5, validation_data=(X, y), verbose=True)
    out, err = capfd.readouterr()
    assert out == "" and "\r" not in err
    lines = err.splitlines()
    assert lines[0].startswith("epoch 1/5  loss ") and lines[-1].startswith("epoch 5/5  loss ")
    last = re.findall(r"(\w+) (\d\S*)", lines[-1].removeprefix("epoch 5/5"))
    assert last[:3] == [(name, f"{values[-1]:.4g}") for name, values in history.items()]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_one_line_that_is_rewritten(capfd, monkeypatch):
    X, y = labelled()
    monkeypatch.setattr(sys, "stderr", Terminal())
    classifier().fit(X, y, epochs=5)
    text = sys.stderr.getvalue()
    assert text.startswith("\repoch 1/5") and "\repoch 5/5" in text
    assert text.endswith("\n") and text.count("\n") == 1
    network = Network(5, Dense(3), optimizer=SGD(1e30), seed=0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(FloatingPointError):
        network.fit(X, np.eye(3)[y], epochs=100, batch_size="full")
    assert sys.stderr.getvalue().endswith("\n")  # so that the traceback begins a line
    monkeypatch.setattr(sys, "stderr", Terminal())
    classifier().fit(X, y, epochs=5, verbose=False)
    assert sys.stderr.getvalue() == ""
    assert capfd.readouterr().out == ""


class Logger:
    """What programs put in the place of stderr: often no more than this."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("verbose", [False, "auto", True])
@pytest.mark.parametrize("kind", ["none", "closed", "logger"])
def test_without_a_proper_stderr(monkeypatch, kind, verbose):
    stream = {"none": None, "closed": io.StringIO(), "logger": Logger()}[kind]
    if kind == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)  # None: as under pythonw
    classifier().fit(*labelled(), epochs=2, verbose=verbose)
    if kind == "logger":
        assert ("epoch 2/2" in stream.text) == (verbose is True)


def test_what_ended_it_is_said():
    net = Network(1, Dense(1), optimizer=SGD(1e30), seed=0)
    history = net.fit(
        [[1.0], [2.0]], [3.0, 5.0], batch_size=1, verbose=False,
        callbacks=[nncore.callbacks.TerminateOnNaN()],
    )  # fmt: skip
    assert history.error.startswith("Loss became inf at epoch 1, batch 2; that update was not")
    assert repr(history) == f"History(0 epochs; {history.error})"
    assert Network(1, Dense(1), seed=0).fit([[1.0]], [1.0], verbose=False).error is None
