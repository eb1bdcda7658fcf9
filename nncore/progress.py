"""The progress of a training: a bar in a terminal or notebook, lines in a log."""

import os
import sys
import time
from typing import Any


class Progress:
    """Shows epochs, or what else is counted, as they end, on stderr.

    verbose: 0 or False, nothing; 1 or True, in a terminal or a notebook one line that is rewritten,
    with a bar where there is room, elsewhere a line every few seconds; 2, a line for each epoch;
    "auto", as 1 in a terminal or a notebook and otherwise nothing.
    """

    def __init__(self, epochs: int, verbose: bool | int | str, unit: str = "epoch") -> None:
        known = isinstance(verbose, (bool, int, str)) and verbose in (0, 1, 2, "auto")
        if not known:
            raise ValueError(f'verbose must be 0, 1, 2, True, False or "auto", got {verbose!r}')
        self.stream: Any = None if getattr(sys.stderr, "closed", False) else sys.stderr
        self.notebook = type(self.stream).__module__.startswith("ipykernel")
        rewritten = self.notebook or bool(getattr(self.stream, "isatty", bool)())
        self.shown = self.stream is not None and (rewritten if verbose == "auto" else bool(verbose))
        self.bar = rewritten and verbose != 2
        self.epochs, self.unit = epochs, unit
        self.every = 0.0 if verbose == 2 else 0.1 if self.bar else 2.0  # seconds between lines
        self.last = 0.0
        self.shown_epoch = self.epoch = 0
        self.width = 0  # of what is in the line
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Measure times from now on; so many epochs were done before."""
        self.first, self.start = epoch, time.perf_counter()

    def update(self, epoch: int, history: Any) -> None:
        """Show the state after `epoch` epochs, unless a line was shown just before."""
        if not self.shown:
            return
        self.epoch = epoch
        now = time.perf_counter()
        if now - self.last >= self.every or epoch >= self.epochs:
            self.last = now
            self._show(epoch, history, (now - self.start) / (epoch - self.first))

    def _show(self, epoch: int, history: Any, seconds: float) -> None:
        self.shown_epoch = epoch
        head = f"{self.unit} {epoch}/{self.epochs}"
        values = [f"{_printable(key)} {history[key][-1]:.4g}" for key in history.shown()]
        times = [f"{_short(seconds)}/{self.unit}"]
        if epoch < self.epochs:
            times.append(f"{_clock(seconds * (self.epochs - epoch))} left")
        if not self.bar:
            self.stream.write("  ".join([head, *values, *times]) + "\n")
        else:
            room = self._columns() - 1  # a full line would make the terminal begin another
            line = _fit(head, values, times, epoch / self.epochs, room)
            self.stream.write("\r" + line + " " * (min(self.width, room) - _width(line)))
            self.width = _width(line)
        self.stream.flush()

    def _columns(self) -> int:
        if self.notebook:
            return 100
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except (AttributeError, OSError, ValueError):
            import shutil  # with five modules that importing nncore can do without

            return shutil.get_terminal_size().columns

    def say(self, text: str) -> None:
        """Print a line of its own."""
        if self.stream is not None:
            clear = "\r" + " " * self.width + "\r" if self.width else ""
            self.stream.write(f"{clear}{text}\n")
            self.stream.flush()
            self.width = 0

    def close(self, history: Any = None) -> None:
        """Show the last epoch, if it was not, and end the line."""
        if self.shown and history is not None and self.epoch > self.shown_epoch:
            seconds = (time.perf_counter() - self.start) / (self.epoch - self.first)
            self._show(self.epoch, history, seconds)
        if self.width:
            self.stream.write("\n")
            self.stream.flush()
            self.width = 0


def _fit(head: str, values: list[str], times: list[str], share: float, room: int) -> str:
    """As much as there is room for: the first value, the times, other values, the bar."""
    kept, used = [head], _width(head)
    for part in (*values[:1], *times, *values[1:]):
        used += 2 + _width(part)
        if used > room:
            break
        kept.append(part)
    parts = [part for part in (head, *values, *times) if part in kept]
    line = "  ".join(parts)
    cells = min(24, room - _width(line) - 4)
    if cells >= 6 and len(parts) == 1 + len(values) + len(times):
        done = int(cells * share)
        bar = "[" + "=" * done + ">" * (done < cells) + " " * (cells - done - 1) + "]"
        line = "  ".join([head, bar, *parts[1:]])
    return line[: max(room, 0)]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _width(text: str) -> int:
    """The columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return len(text) + sum(unicodedata.east_asian_width(c) in "WF" for c in text)


def _short(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} us"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
