"""Callbacks that call a function, or write what there is."""

import csv
import inspect
import os
from collections.abc import Callable
from typing import IO, Any

from ..described import Described, checked
from .base import HOOKS, Callback
from .monitored import rate_of


class LearningRateScheduler(Callback):
    """Set the learning rate of each epoch by a function.

    The history gets "lr". Where a rate per update is wanted, or a file that holds it, give the
    optimizer one of `nncore.schedules`.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, lr)`` or ``schedule(epoch)`` returns the rate of an epoch, counted from 0.
    verbose : int, default 0
        1 prints a line for each epoch.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.1), seed=0)
    >>> halve = nncore.callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2 if epoch else lr)
    >>> net.fit([[1.0]], [3.0], epochs=3, verbose=False, callbacks=[halve])["lr"]
    [0.1, 0.05, 0.025]
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        if not callable(schedule):
            raise TypeError(f"schedule must be a function of the epoch, got {schedule!r}")
        self.schedule, self.verbose = schedule, verbose
        try:
            inspect.signature(schedule).bind(0, 0.1)
            self._takes_rate = not isinstance(schedule, Described)  # whose signature is the class's
        except (TypeError, ValueError):  # it has one argument, or nobody knows
            self._takes_rate = False

    def on_train_begin(self, logs: Any = None) -> None:
        rate_of(self)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        lr = self.schedule(epoch, rate_of(self)) if self._takes_rate else self.schedule(epoch)
        self.network.optimizer.lr = float(lr)
        if self.verbose:
            self._run.progress.say(f"epoch {epoch + 1}: the learning rate is {lr:g}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["lr"] = rate_of(self)


class CSVLogger(Callback):
    """Write the history to a file, a line for each epoch as it ends.

    The columns are "epoch", counted from 0, and what the first epoch has; ``NA`` where a later one
    has no such number. A training that is resumed from a `Checkpoint` leaves the same file as
    one that was never interrupted.

    Parameters
    ----------
    filename : str or os.PathLike
    separator : str, default ","
    append : bool, default False
        Keep the lines that are there, which must have the same columns.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.1), seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "log.csv")
    ...     log = nncore.callbacks.CSVLogger(path)
    ...     history = net.fit([[1.0]], [3.0], epochs=2, verbose=False, callbacks=[log])
    ...     print(path.read_text().splitlines()[0])
    epoch,loss
    """

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ):
        self.filename, self.separator = os.fspath(filename), separator
        if not (isinstance(separator, str) and len(separator) == 1 and separator not in '\r\n"'):
            raise ValueError(f"separator must be one character, got {separator!r}")
        self.append = append

    def on_train_begin(self, logs: Any = None) -> None:
        with open(self.filename, "a"):  # that it can be written is found out now
            self._columns: list[str] | None = None
            self._size = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        columns = ["epoch", *logs] if self._columns is None else self._columns
        with open(self.filename, "r+", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator, lineterminator="\n")
            if self._columns is None and self._begin(file, columns):
                writer.writerow(columns)
            self._columns = columns
            file.seek(0, os.SEEK_END)
            values = {"epoch": epoch, **logs}
            writer.writerow([values.get(name, "NA") for name in columns])
            self._size = file.tell()

    def _begin(self, file: IO[str], columns: list[str]) -> bool:
        """Make place, and return whether the file needs a header."""
        if not self.append:
            file.truncate(0)
            return True
        header = next(csv.reader(file, delimiter=self.separator), None)
        if header is not None and header != columns:
            raise ValueError(
                f"{self.filename} has the columns {', '.join(header)}, and this training "
                f"{', '.join(columns)}: choose another file, or append=False"
            )
        return header is None

    def get_state(self) -> dict[str, Any]:
        return {} if self._columns is None else {"columns": self._columns, "size": self._size}

    def set_state(self, state: dict[str, Any]) -> None:
        """Drop the lines of epochs that will be done again."""
        if not state:
            return
        columns, size = checked(state, columns=list, size=int)
        if not all(type(name) is str for name in columns):
            raise ValueError("columns of a state are not text")
        if os.path.getsize(self.filename) >= size:  # else it is another file, which begins anew
            self._columns, self._size = columns, size
            os.truncate(self.filename, size)


class LambdaCallback(Callback):
    """Call functions between epochs, without a class for them.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : callable, optional
        Called with the epoch, counted from 0, and the logs, as the hooks of `Callback`.
    on_train_begin, on_train_end : callable, optional
        Called with the logs.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.1), seed=0)
    >>> tell = nncore.callbacks.LambdaCallback(
    ...     on_epoch_end=lambda epoch, logs: print(epoch, sorted(logs)))
    >>> history = net.fit([[1.0]], [3.0], epochs=2, verbose=False, callbacks=[tell])
    0 ['loss']
    1 ['loss']
    """

    def __init__(self, **hooks: Callable[..., object] | None):
        for name, function in hooks.items():
            if name not in HOOKS:
                raise TypeError(
                    f"LambdaCallback has no {name}: an epoch is one call of C, and the hooks are "
                    f"{', '.join(HOOKS)}"
                )
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"{name} must be a function, got {function!r}")
            setattr(self, name, function)
