"""Checkpoint: training that can be killed at any time and goes on where it was."""

import contextlib
import os
import re
import time
import warnings
import zlib
from typing import Any

import numpy as np

from .. import files
from .base import Callback
from .monitored import _count, _number

_NAME = re.compile(r"epoch-(\d{8,15})\.safetensors")
_LEFT = re.compile(r"\.nncore-\d+-[0-9a-f]{8}\.tmp")  # of `files.write_bytes`, if it was killed


class Checkpoint(Callback):
    """Keep the whole state of a training in a folder, and go on from there when it is run again.

    A program that was killed, at any moment and by whatever means, is run again as it is: `fit`
    finds the newest checkpoint, does the epochs that are missing, and ends with the same bits as
    without an interruption: parameters, optimizer, random numbers, history, `Stop` and callbacks.
    When training had ended before, `fit` gives the network and the history of that; with more
    `epochs` than before it goes on.

    Parameters
    ----------
    folder : str or os.PathLike
        Of this training alone; made if it is not there.
    every : int, default 1
        Keep the state after every so many epochs,
    seconds : float, default 5
        but not before so many seconds have passed since the last time. That of the last epoch is
        kept in any case.
    keep : int, default 3
        How many checkpoints to keep. One that is damaged is passed over with a warning.
    resume : bool, default True
        False starts anew, and removes the checkpoints that are there.

    Notes
    -----
    It is called after all other callbacks. A file is written under another name, synced to the disk
    and renamed. The arguments of `fit`, the network's description, its parameters before the first
    epoch (where it has a seed, or was loaded), the data (256 rows of it are compared) and the types
    of the callbacks must be the same as when it was made; `epochs`, `n_threads` and `verbose` may
    differ, and arguments of callbacks. Batches are gone through once more, without training.
    A callback of your own is resumed if it has `get_state`
    and `set_state`. A learning rate that is a function cannot be kept in a file; what depends on
    the clock, as ``Stop(seconds=...)``, does so here, too.

    Raises
    ------
    ValueError
        From `fit`, if the newest checkpoint is of another training.
    nncore.files.FileFormatError
        From `fit`, if there are checkpoints and all are damaged.

    Examples
    --------
    >>> import tempfile
    >>> import nncore
    >>> def train(folder, epochs):
    ...     net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.1), seed=0)
    ...     keep = nncore.callbacks.Checkpoint(folder)
    ...     return net.fit([[1.0], [2.0]], [3.0, 5.0], epochs=epochs, verbose=False,
    ...                    callbacks=[keep])
    >>> with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
    ...     begun = train(folder, 5)
    ...     dict(train(folder, 20)) == dict(train(other, 20))
    True
    """

    _is_last = True

    def __init__(
        self, folder: str | os.PathLike[str], *, every: int = 1, seconds: float = 5.0,
        keep: int = 3, resume: bool = True,
    ):  # fmt: skip
        self.folder = os.fsdecode(folder)
        self.every, self.keep = _count(self, "every", every, 1), _count(self, "keep", keep, 1)
        self.seconds, self.resume = _number(self, "seconds", seconds), resume

    def __repr__(self) -> str:
        return f"Checkpoint({self.folder!r})"

    def newest(self) -> tuple[str, dict[str, np.ndarray], dict[str, str]] | None:
        """Return the path, arrays and texts of the newest good checkpoint, or None."""
        found = self._found() if self.resume else []
        for number, path in found:
            try:
                tensors, texts = files.read(path)
                if texts.pop("crc32", None) != _sum(tensors, texts):
                    raise files.FileFormatError(f"{path}: its content has changed.")
                return path, tensors, texts
            except (files.FileFormatError, OSError) as error:
                warnings.warn(
                    f"checkpoint {number} is damaged and passed over: {error}",
                    UserWarning, stacklevel=4,
                )  # fmt: skip
        if found:
            raise files.FileFormatError(
                f"all checkpoints in {self.folder} are damaged; remove them to start anew."
            )
        return None

    def _found(self) -> list[tuple[int, str]]:
        """The numbers and paths of the checkpoints, newest first."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        found = [(int(match[1]), name) for name in names if (match := _NAME.fullmatch(name))]
        return [(number, os.path.join(self.folder, name)) for number, name in sorted(found)[::-1]]

    def on_train_begin(self, logs: Any = None) -> None:
        os.makedirs(self.folder, exist_ok=True)
        for name in os.listdir(self.folder):
            if _LEFT.fullmatch(name):
                _remove(os.path.join(self.folder, name))
        if not self.resume:
            for _, path in self._found():
                _remove(path)
        self._run.describe()  # what no file can hold is refused now
        self._last = -float("inf")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        now = time.monotonic()
        due = (epoch + 1) % self.every == 0 and now - self._last >= self.seconds
        if not (due or self._run.is_over(epoch + 1)):
            return
        tensors, texts = self._run.describe()
        path = os.path.join(self.folder, f"epoch-{epoch + 1:08d}.safetensors")
        files.write(path, tensors, texts | {"crc32": _sum(tensors, texts)})
        older = [(number, old) for number, old in self._found() if number <= epoch + 1]
        for number, old in self._found():
            # those after this one are of a course that was left: damaged, and passed over
            if number > epoch + 1 or (number, old) in older[self.keep :]:
                _remove(old)
        self._last = time.monotonic()


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _sum(tensors: dict[str, np.ndarray], texts: dict[str, str]) -> str:
    """CRC-32 of all that a checkpoint holds, in order of names."""
    found = 0
    for name, text in sorted(texts.items()):
        found = zlib.crc32(f"{name} {text}".encode(), found)
    for name, array in sorted(tensors.items()):
        found = zlib.crc32(name.encode(), found)
        found = zlib.crc32(array.reshape(-1).data.cast("B") if array.size else b"", found)
    return str(found)
