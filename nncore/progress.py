"""The progress line: one line that is rewritten in a terminal, a few lines in a log."""

from __future__ import annotations

import sys
import time


class Progress:
    """Shows epochs, or what else is counted, as they end, on stderr.

    ``verbose`` is True, False, or "auto": shown only where stderr is a terminal.
    """

    def __init__(self, epochs, verbose, unit="epoch"):
        if not isinstance(verbose, (bool, str)) or verbose not in (True, False, "auto"):
            raise ValueError(f'verbose must be True, False or "auto", got {verbose!r}')
        self.stream = None if getattr(sys.stderr, "closed", False) else sys.stderr
        self.terminal = bool(getattr(self.stream, "isatty", bool)())
        self.shown = self.stream is not None and (self.terminal if verbose == "auto" else verbose)
        self.epochs, self.unit = epochs, unit
        self.every = 0.1 if self.terminal else 2.0  # seconds between lines
        self.last = 0.0
        self.width = 0
        self.start = time.perf_counter()

    def update(self, epoch, history):
        """Show the state after `epoch` epochs, unless a line was shown just before."""
        if not self.shown:
            return
        now = time.perf_counter()
        if now - self.last < self.every and epoch < self.epochs:
            return
        self.last = now
        values = "  ".join(f"{key} {history[key][-1]:.4g}" for key in history.shown())
        left = (now - self.start) / epoch * (self.epochs - epoch)
        parts = f"{self.unit} {epoch}/{self.epochs}", values, f"{left:.0f} s left"
        line = "  ".join(filter(None, parts))
        if self.terminal:
            self.stream.write("\r" + line.ljust(self.width))
            self.width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def close(self):
        """End the line."""
        if self.width:
            self.stream.write("\n")
            self.stream.flush()
