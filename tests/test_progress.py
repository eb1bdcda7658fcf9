"""The progress of a fit: in terminals of any width, notebooks, and logs."""

import io
import os
import re
import sys
import types

import numpy as np
import pytest

import nncore
from nncore import Dense, History, Network
from nncore.callbacks import Callback
from nncore.progress import Progress, _clock, _fit, _short, _width

X = np.linspace(-1, 1, 21)[:, None]
Y = np.sin(np.pi * X)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes a terminal of so many columns; what was written is its value."""

    def make(columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return make


def history(**values):
    found = History()
    found.append(**values)
    return found


def screen(text, columns):
    """What stands in a terminal in the end: its lines. A full line goes on in the next one."""
    lines, x = [""], 0
    for c in text:
        if c == "\n":
            lines, x = [*lines, ""], 0
        elif c == "\r":
            x = 0
        else:
            assert c.isprintable(), repr(c)
            if x >= columns:
                lines, x = [*lines, ""], 0
            lines[-1] = lines[-1][:x] + c + lines[-1][x + _width(c) :]
            x += _width(c)
    return lines


def show(progress, epochs, every=None, **values):
    for epoch in range(1, epochs + 1):
        progress.last = -9.0  # as if a second had passed
        progress.update(epoch, history(**values))
    progress.close()


@pytest.mark.parametrize("columns", [10, 20, 33, 40, 64, 80, 81, 120, 250])
def test_it_never_wraps(terminal, columns):
    out = terminal(columns)
    values = {"loss": 0.123456, "val_loss": 1e-30, "f1_macro": 0.5, "中文": 1.0, "a\nb\x1b[": 2.0}
    show(Progress(1000, 1), 1000, **values)
    lines = screen(out.getvalue(), columns)
    assert len(lines) == 2 and lines[1] == ""
    assert lines[0].startswith("epoch 1000/1000"[: columns - 1])
    assert max(map(_width, out.getvalue().replace("\n", "").split("\r"))) < columns
    assert "\x1b" not in out.getvalue()
    assert ("loss 0.1235" in lines[0]) == (columns > 30)
    assert ("[====" in lines[0]) == (columns >= 120) and ("val_loss" in lines[0]) == (columns >= 64)


def test_the_bar(terminal):
    out = terminal(90)
    show(Progress(4, 1), 4, loss=1.0)
    drawn = re.findall(r"\repoch (\d)/4  \[(=*>? *)\]  loss 1  \S+ [mu]?s/epoch", out.getvalue())
    assert [epoch for epoch, _ in drawn] == ["1", "2", "3", "4"]
    assert [bar.count("=") for _, bar in drawn] == [6, 12, 18, 24]
    assert {len(bar) for _, bar in drawn} == {24}
    assert "left" in out.getvalue() and "left" not in screen(out.getvalue(), 90)[0]


def test_a_terminal_that_becomes_narrower(terminal, monkeypatch):
    out, progress = terminal(100), Progress(3, 1)
    progress.update(1, history(loss=1.0))
    monkeypatch.setenv("COLUMNS", "30")
    progress.last = -9
    before = len(out.getvalue())
    progress.update(2, history(loss=1.0))
    assert len(out.getvalue()) - before <= 30


def test_a_real_terminal(monkeypatch):
    pty = pytest.importorskip("pty", reason="only on Windows: there are no pseudo-terminals")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, np.array([24, 44, 0, 0], np.uint16).tobytes())
    with open(theirs, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        Network(1, Dense(3, "tanh"), Dense(1), seed=0).fit(X, Y, epochs=50)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    os.close(theirs)
    lines = screen(text.replace("\r\n", "\n"), 44)
    assert len(lines) == 2 and lines[0].startswith("epoch 50/50  loss ") and len(lines[0]) < 44


def test_in_a_notebook(monkeypatch):
    """What ipykernel has for stderr is no terminal, but a carriage return works."""
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", stream)
    Network(1, Dense(1), seed=0).fit(X, Y, epochs=3)
    assert stream.getvalue().startswith("\repoch 1/3  [") and stream.getvalue().count("\n") == 1


def test_each_verbose(monkeypatch, terminal):
    def written(stream, verbose, epochs=5):
        monkeypatch.setattr(sys, "stderr", stream)
        Network(1, Dense(1), seed=0).fit(X, Y, epochs=epochs, verbose=verbose)
        return stream.getvalue()

    terminal(80)
    for verbose in (0, False):
        assert written(Terminal(), verbose) == written(io.StringIO(), verbose) == ""
    assert written(io.StringIO(), "auto") == ""
    for verbose in (1, True, "auto"):
        assert written(Terminal(), verbose).startswith("\repoch 1/5  [")
    for verbose in (1, True):
        lines = written(io.StringIO(), verbose).splitlines()
        assert [line[:9] for line in lines] == ["epoch 1/5", "epoch 5/5"]
    for stream in (io.StringIO(), Terminal()):
        lines = written(stream, 2).splitlines()
        assert [line[:11] for line in lines] == [f"epoch {i}/5  " for i in range(1, 6)]
        assert not any("\r" in line for line in lines)
    assert written(io.StringIO(), np.bool_(True).item()) != ""
    for verbose in (3, -1, "yes", None, 1.0, [1]):
        with pytest.raises(ValueError, match='verbose must be 0, 1, 2, True, False or "auto", got'):
            Progress(3, verbose)


def test_a_log_has_a_line_every_few_seconds(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    now = [100.0]
    monkeypatch.setattr("nncore.progress.time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    progress = Progress(100, 1)
    for epoch in range(1, 101):
        now[0] += 0.3
        progress.update(epoch, history(loss=1.0))
    lines = out.getvalue().splitlines()
    assert 14 <= len(lines) <= 17
    assert lines[0] == "epoch 1/100  loss 1  300 ms/epoch  30 s left"
    assert lines[-1] == "epoch 100/100  loss 1  300 ms/epoch"


def test_where_it_stopped_is_shown(terminal):
    class End(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 6:
                self.stop()

    out = terminal(80)
    Network(1, Dense(1), seed=0).fit(X, Y, epochs=50, callbacks=[End()])
    assert screen(out.getvalue(), 80)[0].startswith("epoch 7/50")


def test_what_callbacks_say_has_a_line_of_its_own(terminal):
    out, progress = terminal(80), Progress(3, 1)
    progress.update(1, history(loss=1.0))
    progress.say("said")
    progress.update(3, history(loss=1.0))
    progress.close()
    lines = [line.rstrip() for line in screen(out.getvalue(), 80)]
    assert lines[0] == "said" and lines[1].startswith("epoch 3/3") and lines[2:] == [""]


def test_what_was_done_before_takes_no_time(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    now = [0.0]
    monkeypatch.setattr("nncore.progress.time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    progress = Progress(100, 2)
    progress.begin(90)
    now[0] = 2.0
    progress.update(91, history(loss=1.0))
    assert out.getvalue() == "epoch 91/100  loss 1  2 s/epoch  18 s left\n"


def test_words():
    assert [_short(s) for s in (0.0000123, 0.0123, 1.234)] == ["12.3 us", "12.3 ms", "1.23 s"]
    assert [_clock(s) for s in (0, 59.4, 61, 3600, 366100)] == [
        "0 s", "59 s", "1:01", "1:00:00", "101:41:40",
    ]  # fmt: skip
    assert _fit("a", ["b", "c"], ["t"], 0.5, 7) == "a  b  t"  # times come before other values
    assert _fit("abc", [], [], 1, 2) == "ab" and _fit("abc", [], [], 1, -1) == ""
    assert nncore.progress.Progress is Progress
