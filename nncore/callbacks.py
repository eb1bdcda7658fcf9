"""Callback: what `Network.fit` calls between epochs."""

from __future__ import annotations

import math

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
        RuntimeError: it is being trained.
    history : History
        What `fit` will return.
    params : dict
        "epochs", "steps" (updates in an epoch) and "batch_size" of this call of `fit`.
    data : tuple
        The training data as `fit` checked them: X, y, and the weights of the rows or None; of
        batches the first one. Not copies: do not change them. What is converted in blocks, such as
        a sparse X, gives arrays by indexing: ``X[rows]``.

    All four are there while `fit` runs, and None before and after it.

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

    network = None
    history = None
    params = None
    data = None

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name in vars(cls):
            if name.startswith("on_") and name not in HOOKS:
                raise TypeError(
                    f"{cls.__name__}.{name} would never be called: an epoch is one call of C, and "
                    f"the hooks are {', '.join(HOOKS)}"
                )

    def on_train_begin(self, logs=None):
        """Called before the first epoch, with an empty dict."""

    def on_epoch_begin(self, epoch, logs=None):
        """Called before each epoch. Epochs are counted from 0, as in Keras; `logs` is empty."""

    def on_epoch_end(self, epoch, logs=None):
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

    def on_train_end(self, logs=None):
        """Called when training has ended without an error, with the `logs` of the last epoch.

        The network is as `fit` leaves it: what a `Stop` restores has been restored.
        """

    def stop(self, reason=None):
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

    def __init__(self, callbacks):
        self._callbacks = check_callbacks(callbacks)
        self._at_work = []
        self._measured, self._recorded = None, {}
        self._logs = {}

    def begin(self, network, history, params, data):
        """Tell the callbacks that training begins."""
        self._history = history
        for callback in self._callbacks:
            if callback.network is not None:
                raise RuntimeError(
                    f"this {type(callback).__name__} is at work in another call of fit, or twice "
                    "in the list; make one for each"
                )
            self._at_work.append(callback)
            callback.network, callback.history = network, history
            callback.params, callback.data = params, data
        for callback in self._callbacks:
            callback.on_train_begin({})

    def begin_epoch(self, epoch):
        for callback in self._callbacks:
            callback.on_epoch_begin(epoch, {})

    def end_epoch(self, epoch):
        """Call them with the last values of the history, and record what they add."""
        history = self._history
        if self._measured is None:
            self._measured = tuple(history)
        logs = self._logs = {name: history[name][-1] for name in self._measured}
        for callback in self._callbacks:
            callback.on_epoch_end(epoch, logs)
            self._record(callback, epoch, logs)

    def _record(self, callback, epoch, logs):
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

    def end(self):
        """Tell them that training has ended."""
        epochs = len(self._history["loss"])
        for values in self._recorded.values():
            _fill(values, epochs)
        for callback in self._callbacks:
            callback.on_train_end(dict(self._logs))

    def close(self):
        """Let go of the network and the data."""
        for callback in self._at_work:
            callback.network = callback.history = callback.params = callback.data = None


def _fill(values, length):
    values.extend([math.nan] * (length - len(values)))


def check_callbacks(callbacks):
    """Return the callbacks as a tuple, or say what is wrong with them."""
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
