"""Callbacks that look at one number of the history."""

import math
import operator
import os
from typing import Any

from ..described import checked
from ..stopping import Best
from .base import Callback

_UP = {"acc", "accuracy", "auc", "f1", "precision", "r2", "recall"}
_OTHERS = (".h5", ".hdf5", ".joblib", ".keras", ".npz", ".onnx", ".pickle", ".pkl", ".pt", ".pth")
_DOWN = {"error", "gradient", "loss", "mae", "mse", "rmse"}


class _Monitored(Callback):
    """Base of callbacks with a `monitor`: a name of the history."""

    _baseline: float | None = None

    def __init__(
        self, monitor: str, mode: str, min_delta: float = 0.0, verbose: int = 0,
        value: float | None = None,
    ):  # fmt: skip
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be a name of the history, got {monitor!r}")
        self.monitor, self.verbose = monitor, verbose
        self.mode = self._mode(mode)
        self.min_delta = abs(_number(self, "min_delta", min_delta))
        self._first = value if value is None else _number(self, "initial_value_threshold", value)

    def _mode(self, mode: str) -> str:
        if mode in ("min", "max"):
            return mode
        if mode != "auto":
            raise ValueError(f'mode must be "auto", "min" or "max", got {mode!r}')
        words = set(self.monitor.split("_"))
        if bool(words & _UP) == bool(words & _DOWN):
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor}: expected loss or a metric, behind "
                'val_ for rows held out; or, for a number of your own, mode="max" or mode="min"'
            )
        return "max" if words & _UP else "min"

    def on_train_begin(self, logs: Any = None) -> None:
        self._best = Best(self.mode, self.min_delta, self._first, self._baseline)
        if self.monitor.startswith("val_") and self._run.validation is None:
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor}: fit needs validation_data or "
                'validation_split; or give monitor="loss"'
            )

    def _value(self, logs: dict[str, float]) -> float | None:
        """The number of this epoch, or None where a callback has not recorded it in this one."""
        if self.monitor not in logs and self.monitor not in self.history:
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor}, which is not measured; there are: "
                f"{', '.join(logs)}"
            )
        return logs.get(self.monitor)

    def _say(self, epoch: int, text: str) -> None:
        if self.verbose:
            self._run.progress.say(f"epoch {epoch + 1}: {text}")

    @property
    def best(self) -> float:
        """The best value of what is monitored in the last training."""
        return self._best.value

    def get_state(self) -> dict[str, Any]:
        return self._best.state()

    def set_state(self, state: dict[str, Any]) -> None:
        self._best.recall(state, self.network)


class EarlyStopping(_Monitored):
    """End training when a number of the history gets no better.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A name of the history.
    min_delta : float, default 0
        Better is better by more than this.
    patience : int, default 0
        Training ends after so many epochs in a row that were no better; 0 is as 1.
    verbose : int, default 0
        1 prints a line when this ends the training: which epoch was best, and whose weights stay.
    mode : {"auto", "min", "max"}, default "auto"
        Whether it should become smaller or larger; "auto" knows it of losses and `nncore.metrics`.
    baseline : float, optional
        Only what is better than this, too, ends a row of epochs that were no better.
    restore_best_weights : bool, default False
        The network ends with the parameters of the best epoch, however training ended.
    start_from_epoch : int, default 0
        What was in the epochs before this one, counted from 0, is not looked at.

    Attributes
    ----------
    best, best_epoch : float, int
        The best value, and its epoch, counted from 0; None if there was none.
    stopped_epoch : int
        The epoch in which this ended the training; 0 if it did not.

    Notes
    -----
    `nncore.Stop` has this as ``max_fail``, and more conditions.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.1), seed=0)
    >>> stopping = nncore.callbacks.EarlyStopping("loss", min_delta=1e-3, patience=2)
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], epochs=500, verbose=False,
    ...                   callbacks=[stopping])
    >>> history.stop_reason, stopping.stopped_epoch == stopping.best_epoch + 2
    ('EarlyStopping', True)
    """

    def __init__(
        self, monitor: str = "val_loss", min_delta: float = 0, patience: int = 0, verbose: int = 0,
        mode: str = "auto", baseline: float | None = None, restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):  # fmt: skip
        super().__init__(monitor, mode, min_delta, verbose)
        self.patience = _count(self, "patience", patience)
        self._baseline = baseline if baseline is None else _number(self, "baseline", baseline)
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = _count(self, "start_from_epoch", start_from_epoch)

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin()
        self.best_epoch: int | None = None
        self.stopped_epoch = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = self._value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self._best.look(value, self.network if self.restore_best_weights else None):
            self.best_epoch = epoch
        elif self._best.since >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            best, last = self.best_epoch, epoch
            where = "never better than at the start"
            if best is not None:
                where = f"best in epoch {best + 1}"
                last = best if self.restore_best_weights else epoch
            weights = f"the weights are those of epoch {last + 1}"
            self._say(epoch, f"training ends; {self.monitor} was {where}, {weights}")
            self.stop()

    def on_train_end(self, logs: Any = None) -> None:
        self._best.restore(self.network)

    def get_state(self) -> dict[str, Any]:
        epochs = {} if self.best_epoch is None else {"best_epoch": self.best_epoch}
        return super().get_state() | epochs | {"stopped_epoch": self.stopped_epoch}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        (self.stopped_epoch,) = checked(state, stopped_epoch=int)
        if "best_epoch" in state:
            (self.best_epoch,) = checked(state, best_epoch=int)


class ModelCheckpoint(_Monitored):
    """Save the network after epochs, or after those that were the best so far.

    Each file is a whole network for `nncore.load`. To go on with a training that was killed, use
    `Checkpoint`.

    Parameters
    ----------
    filepath : str or os.PathLike
        Where; ``"{epoch:03d}-{val_loss:.3f}.safetensors"`` is filled in with the epoch, counted
        from 1, and numbers of the history. Without such a field the file is replaced. A name of
        another format, such as "net.h5", is a ValueError.
    monitor, verbose, mode : optional
        As in `EarlyStopping`; `monitor` only counts with `save_best_only`.
    save_best_only : bool, default False
        Save only where `monitor` is better than before.
    every : int, default 1
        Save, or look, after every so many epochs.
    initial_value_threshold : float, optional
        With `save_best_only`, the first value has to be better than this.

    Examples
    --------
    >>> import os, tempfile
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.1), seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save = nncore.callbacks.ModelCheckpoint(folder + "/after {epoch}", every=2)
    ...     history = net.fit([[1.0], [2.0]], [3.0, 5.0], epochs=4, verbose=False, callbacks=[save])
    ...     sorted(os.listdir(folder))
    ['after 2', 'after 4']
    """

    def __init__(
        self, filepath: str | os.PathLike[str], monitor: str = "val_loss", verbose: int = 0,
        save_best_only: bool = False, mode: str = "auto", every: int = 1,
        initial_value_threshold: float | None = None,
    ):  # fmt: skip
        self.filepath = os.fsdecode(filepath)
        if self.filepath.lower().endswith(_OTHERS):
            raise ValueError(
                f"filepath {self.filepath!r} of ModelCheckpoint says another format, but files are "
                "safetensors, for nncore.load; let it end in .safetensors"
            )
        self.save_best_only = save_best_only
        super().__init__(monitor, mode, 0.0, verbose, initial_value_threshold)
        self.every = _count(self, "every", every, 1)

    def _mode(self, mode: str) -> str:
        return super()._mode(mode) if self.save_best_only else "min"

    def on_train_begin(self, logs: Any = None) -> None:
        if self.save_best_only:
            super().on_train_begin()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self.every:
            return
        if self.save_best_only:
            value = self._value(logs)
            if value is None or not self._best.look(value):
                return
        try:
            path = self.filepath.format_map({"epoch": epoch + 1, **logs})
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            raise ValueError(
                f"filepath {self.filepath!r} of ModelCheckpoint cannot be filled in "
                f"({type(error).__name__}: {error}); there are: epoch, {', '.join(logs)}"
            ) from None
        self.network.save(path)
        self._say(epoch, f"saved {path}")

    def get_state(self) -> dict[str, Any]:
        return super().get_state() if self.save_best_only else {}

    def set_state(self, state: dict[str, Any]) -> None:
        if self.save_best_only:
            super().set_state(state)


class ReduceLROnPlateau(_Monitored):
    """Multiply the learning rate by a factor when a number of the history gets no better.

    The history gets "lr", the rate of each epoch. `nncore.schedules.OnPlateau` is the same idea
    with the details of PyTorch.

    Parameters
    ----------
    monitor, verbose, mode : optional
        As in `EarlyStopping`.
    factor : float, default 0.1
        At least 0 and below 1.
    patience : int, default 10
        The rate is reduced after so many epochs in a row that were no better; 0 is as 1.
    min_delta : float, default 1e-4
        Better is better by more than this.
    cooldown : int, default 0
        So many epochs after a reduction are not counted.
    min_lr : float, default 0
        The rate never goes below.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.3), seed=0)
    >>> reduce = nncore.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=3)
    >>> history = net.fit([[1.0], [2.0], [3.0]], [3.0, 4.0, 3.5], epochs=100, batch_size=1,
    ...                   verbose=False, callbacks=[reduce])
    >>> history["lr"][0], history["lr"][-1] < 0.01
    (0.3, True)
    """

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10, verbose: int = 0,
        mode: str = "auto", min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0,
    ):  # fmt: skip
        super().__init__(monitor, mode, min_delta, verbose)
        self.factor, self.min_lr = _number(self, "factor", factor), _number(self, "min_lr", min_lr)
        if not 0 <= self.factor < 1:
            raise ValueError(f"factor of ReduceLROnPlateau must be in [0, 1), got {factor!r}")
        self.patience = _count(self, "patience", patience)
        self.cooldown = _count(self, "cooldown", cooldown)

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin()
        self._cooling = 0
        rate_of(self)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        lr = logs["lr"] = rate_of(self)
        value = self._value(logs)
        if value is None:
            return
        if self._cooling:
            self._cooling, self._best.since = self._cooling - 1, 0
        if self._best.look(value):
            return
        if self._cooling:
            self._best.since = 0
        elif self._best.since >= self.patience and lr > self.min_lr:
            lr = max(lr * self.factor, self.min_lr)
            if lr > 0:  # no rate may be 0
                self.network.optimizer.lr = lr
                self._say(epoch, f"the learning rate is now {lr:g}")
            self._cooling, self._best.since = self.cooldown, 0

    def get_state(self) -> dict[str, Any]:
        return super().get_state() | {"cooling": self._cooling}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        (self._cooling,) = checked(state, cooling=int)


class TerminateOnNaN(Callback):
    """End training when a loss is NaN or infinite, without an error.

    `fit` raises FloatingPointError by itself when the training loss is, without applying that
    update. With this it returns the history of the epochs before instead, whose ``stop_reason`` is
    "TerminateOnNaN" and whose ``error`` says which loss, in which epoch and batch. A validation
    loss that is not finite ends the training, too.

    Parameters
    ----------
    raise_error : bool, default False
        Raise FloatingPointError, of a validation loss too.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(1e3), seed=0)
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], epochs=50, verbose=False,
    ...                   callbacks=[nncore.callbacks.TerminateOnNaN()])
    >>> history.stop_reason, len(history["loss"]) < 50
    ('TerminateOnNaN', True)
    """

    def __init__(self, raise_error: bool = False):
        self.raise_error = raise_error
        self._ends_on_nan = not raise_error

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name in ("loss", "val_loss"):
            value = logs.get(name, 0.0)
            if not math.isfinite(value):
                error = f"{name} became {value:g} at epoch {epoch + 1}"
                if self.raise_error:
                    raise FloatingPointError(error)
                self.history.error = error
                self.stop()


def rate_of(callback: Callback) -> float:
    """The learning rate that a callback may set, or what is wrong."""
    optimizer, name = callback.network.optimizer, type(callback).__name__
    if not hasattr(optimizer, "lr"):
        raise ValueError(f"{type(optimizer).__name__} has no learning rate for {name} to change")
    if optimizer.schedule is not None:
        raise ValueError(
            f"{name} sets the learning rate, but the optimizer has a schedule, {optimizer.lr!r}; "
            "give it a number"
        )
    return float(optimizer.lr)


def _number(callback: Callback, name: str, value: Any) -> float:
    try:
        if isinstance(value, (bool, str, bytes)) or math.isnan(value):
            raise TypeError
        return float(value)
    except TypeError:
        kind = type(callback).__name__
        raise ValueError(f"{name} of {kind} must be a number, got {value!r}") from None


def _count(callback: Callback, name: str, value: Any, least: int = 0) -> int:
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if whole and (count := operator.index(value)) >= least:
        return count
    kind = type(callback).__name__
    raise ValueError(f"{name} of {kind} must be an integer of at least {least}, got {value!r}")
