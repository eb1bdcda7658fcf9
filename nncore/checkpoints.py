"""The state of a `Run` as arrays and text for a file, and a run that goes on from them.

The network is as in `persistence`. Beside it are the tensors ``history.<name>`` (int64 where all
are integers), ``validation_rows``, ``stop.<name>`` and ``callbacks.<i>.<name>``, and the metadata
entry ``run``, a JSON object: format; given, what fit was called with; done, the epochs; steps,
seconds, stop_reason of the history, and its columns in order; recorded, those of callbacks; stop
and callbacks, the numbers of their states. Nothing in a file is trusted.
"""

import json
import zlib
from typing import Any

import numpy as np

from . import persistence
from .described import checked
from .files import FileFormatError, Tensors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .run import Run, Samples

FORMAT = 1


def describe(run: "Run") -> tuple[Tensors, dict[str, str]]:
    """Return what a file of the present state holds: arrays and texts by name."""
    history, hooks = run.history, run.hooks
    tensors, texts = persistence.describe(run.network)
    for name, values in history.items():
        integers = all(type(value) is int for value in values)
        tensors[f"history.{name}"] = np.array(values, np.int64 if integers else np.float64)
    if history.validation_rows is not None:
        tensors["validation_rows"] = history.validation_rows
    states = {f"callbacks.{i}": each.get_state() for i, each in enumerate(hooks.callbacks)}
    if run.watch is not None:
        states["stop"] = run.watch.state()
    numbers: dict[str, dict[str, Any]] = {of: {} for of in states}
    for of, state in states.items():
        for name, value in state.items():
            if not isinstance(value, np.ndarray):
                numbers[of][name] = value
            elif value.dtype.name in ("float32", "float64", "int64"):
                tensors[f"{of}.{name}"] = value
            else:
                _plain(value)
    description = {
        "format": FORMAT, "given": run.given, "done": run.done, "steps": history.n_steps,
        "seconds": history.seconds, "stop_reason": history.stop_reason, "columns": list(history),
        "recorded": hooks.recorded, "states": numbers,
    }  # fmt: skip
    return tensors, texts | {"run": json.dumps(description, default=_plain)}


def _plain(value: object) -> Any:
    """A number of NumPy as one of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        "a checkpoint can hold numbers, text, lists and dicts of them, and arrays of float32, "
        f"float64 or int64, got {value!r:.80}"
    )


class Saved:
    """What was read from a checkpoint, before and while a run takes it over."""

    def __init__(self, path: str, tensors: Tensors, texts: dict[str, str]) -> None:
        self._path, self._tensors, self._texts = path, tensors, texts
        with self._careful():
            self._numbers = numbers = json.loads(texts["run"])
            if numbers["format"] != FORMAT:
                raise ValueError(f"format {numbers['format']!r:.60} is not {FORMAT}")
            self.validation_rows = self._take("validation_rows")
            rows = self.validation_rows
            if rows is not None and (rows.dtype != np.int64 or rows.ndim != 1 or not rows.size):
                raise ValueError("validation_rows are no rows")

    def _take(self, name: str) -> np.ndarray | None:
        return self._tensors.pop(name, None)

    def rows(self, n: int) -> np.ndarray:
        """Return the rows of the validation data among n."""
        rows = self.validation_rows
        with self._careful():
            if rows is None:
                raise _Other("it was made without validation_split")
            if len(rows) >= n or rows[-1] >= n:
                raise _Other(f"X has {n} rows here and more there")
            if rows[0] < 0 or (np.diff(rows) <= 0).any():
                raise ValueError("validation_rows are not in order")
        return rows

    def restore(self, run: "Run") -> int:
        """Bring a run that begins to where this one was; on an error the network is as before."""
        numbers = self._numbers
        with self._careful():
            checked(numbers, given=dict)
            _compare("", numbers["given"], json.loads(json.dumps(run.given)))
            done, steps, seconds, reason, columns, recorded, states = checked(
                numbers, done=int, steps=int, seconds=float, stop_reason=str, columns=list,
                recorded=list, states=dict,
            )  # fmt: skip
            if done > run.epochs:
                raise _Other(f"it has done {done} epochs, and fit is asked for {run.epochs}")
            history = {name: self._column(name, done) for name in columns}
            whole = [len(v) == done for name, v in history.items() if name not in recorded]
            if "loss" not in history or not all(whole) or not set(recorded) < set(history):
                raise ValueError("the history is not one of so many epochs")
            parts = {of: state | self._arrays(f"{of}.") for of, state in states.items()}
            expected = {f"callbacks.{i}" for i in range(len(run.hooks.callbacks))}
            if set(parts) != expected | ({"stop"} if run.watch is not None else set()):
                raise ValueError("the states are not those of this training")
            run.history.take(history, steps, seconds, reason)
            for i, callback in enumerate(run.hooks.callbacks):
                callback.set_state(parts[f"callbacks.{i}"])
            if run.watch is not None:
                run.watch.recall(parts["stop"])
            persistence.restore(run.network, self._tensors, self._texts)
        run.hooks.resume(recorded)
        return int(done)

    def _column(self, name: str, done: int) -> list[float]:
        values = self._take(f"history.{name}")
        if values is None or values.ndim != 1 or not 0 < len(values) <= done:
            raise ValueError(f"history.{name} has not one value for each epoch")
        found: list[float] = values.tolist()
        return found

    def _arrays(self, start: str) -> dict[str, Any]:
        names = [name for name in self._tensors if name.startswith(start)]
        return {name.removeprefix(start): self._take(name) for name in names}

    def _careful(self) -> "_Careful":
        return _Careful(self._path)


class _Other(ValueError):
    """A checkpoint is good, but of another training."""


class _Careful:
    """Says of what was found wrong in which file it was."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, _Other):
            raise ValueError(
                f"{self._path} is of another training: {error}. Use another folder, or "
                "Checkpoint(..., resume=False) to start anew and remove it."
            ) from None
        wrong = (TypeError, ValueError, AttributeError, KeyError, OverflowError, RecursionError)
        if isinstance(error, wrong) and not isinstance(error, FileFormatError):
            what = f"{type(error).__name__}: {error}"[:300]
            raise FileFormatError(f"{self._path} is not a checkpoint of nncore: {what}") from None


def _compare(place: str, before: Any, now: Any) -> None:
    """Raise with the first place where two JSON values differ."""
    if type(before) is type(now) is dict and before.keys() == now.keys():
        for name, value in now.items():
            _compare(f"{place}.{name}" if place else name, before[name], value)
    elif type(before) is type(now) is list and len(before) == len(now):
        for i, value in enumerate(now):
            _compare(f"{place}[{i}]", before[i], value)
    elif before != now:
        if place == "start":
            raise _Other("it began with other parameters: another seed, or a network trained since")
        raise _Other(_difference(place, before, now))


def _difference(place: str, before: Any, now: Any) -> str:
    """Say what differs; of data in words, since a CRC tells nobody anything."""
    name, _, what = place.replace("data.", "").partition(".")
    if None in (before, now) and "data" in place:
        return f"{name} was {'' if now is None else 'not '}given before"
    if what == "values":
        return f"{name} has other values than before"
    if what.startswith("shape["):
        return f"{name} has {now} {'columns' if '1' in what else 'rows'} here and {before} there"
    return f"{place} is {now!r:.120} here and {before!r:.120} there"


def given(run: "Run") -> dict[str, Any]:
    """Return what must be the same when a run is resumed, as JSON values."""
    return {
        "data": _fingerprint(run.data),
        "validation data": run.validation and _fingerprint(run.validation),
        "network": run.network.config(),
        "start": _start(run.network),
        "batch_size": run.params["batch_size"],
        "shuffle": bool(run.shuffle),
        "metrics": [list(measures.names) for measures in run.measures if measures],
        "stop": None if run.watch is None else repr(run.watch.stop),
        "callbacks": [type(callback).__name__ for callback in run.hooks.callbacks],
    }


def _start(network: Any) -> int | None:
    """A CRC-32 of where training starts; None where that is drawn anew in each program."""
    if not network._seeded:
        return None
    return zlib.crc32(network.theta, network._engine.n_updates & 0xFFFFFFFF)


def _fingerprint(data: "Samples") -> dict[str, Any]:
    """Shapes, and a CRC-32 of 256 rows."""
    found: dict[str, Any] = {}
    for name, array in zip(("X", "y", "sample_weight"), data, strict=True):
        array = getattr(array, "values", array)  # of targets that are partly missing
        found[name] = None
        if array is not None:
            rows = np.linspace(0, len(array) - 1, min(len(array), 256)).astype(int)
            values = zlib.crc32(np.ascontiguousarray(array[rows]).data)
            found[name] = {"shape": [*array.shape], "values": values}
    return found
