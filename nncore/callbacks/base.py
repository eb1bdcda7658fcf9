"""The base of callbacks, and what calls them."""

import math
from collections.abc import Iterable
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..history import History
    from ..network import Network
    from ..run import Run
    from .checkpoint import Checkpoint

HOOKS = ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end")


class Callback:
    """Base of what `Network.fit` calls between epochs; the names are those of Keras.

    Subclass it, override some of the four methods, and give instances to
    ``fit(..., callbacks=[...])``, which calls them in the order of the list. An epoch is one call
    of C, so there is nothing to call within it: a subclass with a hook for batches is a TypeError.

    Attributes
    ----------
    network : Network
        The network that is trained. In a hook its parameters, its layers' attributes and the
        attributes of ``network.optimizer`` may be changed, and count from the next epoch on; it may
        predict, be copied and be saved. Training it there, or giving it another optimizer, is a
        RuntimeError: it is being trained. A copy may be trained.
    history : History
        What `fit` will return.
    params : dict
        "epochs", "steps" (updates in an epoch) and "batch_size" of this call of `fit`.
    data : tuple
        The training data as `fit` checked them: X, y, and the weights of the rows or None; of
        batches the first one. Not copies: do not change them. What is converted in blocks, such as
        a sparse X, gives arrays by indexing: ``X[rows]``.

    All four are there while `fit` runs, and None before and after it.

    What a callback has to remember when training is resumed from a `callbacks.Checkpoint` it
    returns from `get_state`, and takes back in `set_state`.

    Notes
    -----
    An error in a hook ends the training and goes on to the caller of `fit`. The network is then as
    after its last whole epoch; a `Stop` restores no parameters.

    Examples
    --------
    >>> import nncore
    >>> class StopAt(nncore.Callback):
    ...     def __init__(self, loss):
    ...         self.loss = loss
    ...     def on_epoch_end(self, epoch, logs):
    ...         logs["margin"] = logs["loss"] - self.loss
    ...         if logs["loss"] < self.loss:
    ...             self.stop("low enough")
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.1), seed=0)
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], epochs=500, verbose=False,
    ...                   callbacks=[StopAt(0.01)])
    >>> history.stop_reason, history["margin"][-1] < 0
    ('low enough', True)
    >>> len(history["margin"]) == len(history["loss"])
    True
    """

    network: "Network | Any" = None
    history: "History | Any" = None
    params: Any = None
    data: Any = None
    _run: "Run | Any" = None  # the call of fit
    _is_last = False  # whether it is called after all others
    _ends_on_nan = False  # whether a loss that is not finite ends the training without an error

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in vars(cls):
            if name.startswith("on_") and name not in HOOKS:
                raise TypeError(
                    f"{cls.__name__}.{name} would never be called: an epoch is one call of C, and "
                    f"the hooks are {', '.join(HOOKS)}"
                )

    def on_train_begin(self, logs: dict[str, float]) -> None:
        """Called before the first epoch, with an empty dict."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        """Called before each epoch. Epochs are counted from 0, as in Keras; `logs` is empty."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Called after each epoch, so that ``history["loss"][epoch]`` is its loss.

        Parameters
        ----------
        epoch : int
            Counted from 0 in this call of `fit`.
        logs : dict of str to float
            What `fit` measured in this epoch, such as "loss" and "val_loss", and what the callbacks
            before this one put in. A number put in under a new name is recorded in the history,
            which has NaN for epochs without it.
        """

    def on_train_end(self, logs: dict[str, float]) -> None:
        """Called when training has ended without an error, with the `logs` of the last epoch.

        The network is as `fit` leaves it: what a `Stop` restores has been restored.
        """

    def get_state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of this callback, by name; by default nothing.

        JSON values, and arrays of float32, float64 or int64.
        """
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_state` returned, after `on_train_begin` of a resumed training.

        It was read from a file, so it should be checked: a ValueError says that it is wrong.
        """

    def stop(self, reason: str | None = None) -> None:
        """End the training after this epoch.

        Parameters
        ----------
        reason : str, optional
            What ``history.stop_reason`` will say, by default the name of the class. A reason that
            is there already stays.
        """
        if self.history is None:
            raise RuntimeError(f"{type(self).__name__}.stop() has a meaning only while fit runs")
        reason = type(self).__name__ if reason is None else reason
        if not isinstance(reason, str) or reason in ("", "epochs"):
            raise ValueError(
                'reason must be a text other than "epochs", which says that nothing stopped the '
                f"training; got {reason!r}"
            )
        if self.history.stop_reason == "epochs":
            self.history.stop_reason = reason


class Hooks:
    """The callbacks of one call of `Network.fit`, from `begin` to `close`."""

    _history: "History | Any"
    _network: "Network | Any"
    _measured: tuple[str, ...]  # what is in the history but for `_recorded`; from the first epoch

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = sorted(check_callbacks(callbacks), key=lambda callback: callback._is_last)
        self._at_work: list[Callback] = []
        self._recorded: dict[str, list[float]] = {}
        self._logs: dict[str, float] = {}
        last = [callback for callback in self.callbacks if callback._is_last]
        if len(last) > 1:
            raise ValueError("one Checkpoint is enough: the list of callbacks has several")
        self.checkpoint: Checkpoint | Any = last[0] if last else None
        self.end_on_nan = any(callback._ends_on_nan for callback in self.callbacks)

    def begin(self, run: "Run") -> None:
        """Tell the callbacks that training begins."""
        self._history, self._network = run.history, run.network
        for callback in self.callbacks:
            if callback.network is not None:
                raise RuntimeError(
                    f"this {type(callback).__name__} is at work in another call of fit, or twice "
                    "in the list; make one for each"
                )
            self._at_work.append(callback)
            callback.network, callback.history = run.network, run.history
            callback.params, callback.data, callback._run = run.params, run.data, run
        for callback in self.callbacks:
            callback.on_train_begin({})

    @property
    def recorded(self) -> list[str]:
        """The names that callbacks have put into the history."""
        return list(self._recorded)

    def resume(self, recorded: Iterable[str]) -> None:
        """Go on with a history that has values already, of callbacks under the names `recorded`."""
        self._measured = tuple(name for name in self._history if name not in recorded)
        self._recorded = {name: self._history.column(name) for name in recorded}
        self._logs = {name: values[-1] for name, values in self._history.items()}

    def begin_epoch(self, epoch: int) -> None:
        """Call them before an epoch, counted from 0."""
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch, {})

    def end_epoch(self, epoch: int) -> None:
        """Call them with the last values of the history, and record what they add."""
        history = self._history
        if not hasattr(self, "_measured"):
            self._measured = tuple(history)
        logs = self._logs = {name: history[name][-1] for name in self._measured}
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)
            self._network._settle_rule()  # so that those after it can save the network
            self._record(callback, epoch, logs)

    def _record(self, callback: Callback, epoch: int, logs: dict[str, float]) -> None:
        """Take over the numbers under new names; epochs before that lack them get NaN.

        Those after them get theirs with the next number, or at the end: an epoch in which nobody
        has anything to say takes no time.
        """
        for name in logs:
            if name in self._measured:
                continue
            try:
                if not isinstance(name, str):
                    raise TypeError
                value = float(logs[name])
            except (TypeError, ValueError):
                raise TypeError(
                    f"logs are numbers by name; {type(callback).__name__} put in "
                    f"{name!r}: {logs[name]!r}"
                ) from None
            if name not in self._recorded:
                self._recorded[name] = self._history.column(name)
            values = self._recorded[name]
            _fill(values, epoch + 1)
            values[epoch] = value

    def end(self) -> None:
        """Tell them that training has ended."""
        epochs = len(self._history.get("loss", ()))
        for values in self._recorded.values():
            _fill(values, epochs)
        for callback in self.callbacks:
            callback.on_train_end(dict(self._logs))

    def close(self) -> None:
        """Let go of the network and the data."""
        self._network = None
        for callback in self._at_work:
            callback.network = callback.history = callback.params = callback.data = None
            callback._run = None


def _fill(values: list[float], length: int) -> None:
    values.extend([math.nan] * (length - len(values)))


def check_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Return the callbacks as a tuple, or raise a TypeError that says what is wrong with them."""
    if isinstance(callbacks, Callback):
        name = type(callbacks).__name__
        raise TypeError(f"callbacks must be a list: callbacks=[{name}(...)], got a {name}")
    if not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"callbacks must be a list of nncore.Callback, got {callbacks!r}")
    for callback in callbacks:
        if isinstance(callback, type) and issubclass(callback, Callback):
            raise TypeError(
                f"{callback.__name__} in callbacks is a class; write {callback.__name__}() with "
                "brackets"
            )
        if not isinstance(callback, Callback):
            what = "a function" if callable(callback) else "no callback"
            raise TypeError(
                f"{callback!r} in callbacks is {what}; derive a class from nncore.Callback, with a "
                "method such as on_epoch_end(self, epoch, logs)"
            )
    return tuple(callbacks)
