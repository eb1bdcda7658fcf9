"""When `Network.fit` ends before its last epoch."""

from __future__ import annotations

import math
import time

import numpy as np

from .described import Described


class Stop(Described):
    """Conditions that end `Network.fit`, whichever comes first; ``history.stop_reason`` says which.

    All are given by name. Losses are those of the history. In the formulas E(t) is the validation
    loss after epoch t and E_opt the lowest so far; GL and P_k are from Prechelt 1998 ("Early
    stopping - but when?").

    Parameters
    ----------
    loss : float, optional
        The goal: a training loss of at most this.
    gradient : float, optional
        The 2-norm of the gradient is at most this. Of full-batch trainers.
    step : float, optional
        The 2-norm of the change of the parameters in an epoch is at most this.
    evaluations : int, optional
        So many evaluations of the loss in this fit. Of full-batch trainers; it is looked at after
        each iteration, so a few more are possible.
    seconds : float, optional
        Since `fit` began; looked at after each epoch.
    max_fail : int, optional
        The validation loss was not below E_opt in so many epochs in a row.
    generalization_loss : float, optional
        ``GL(t) = 100 (E(t) / E_opt - 1)``, in percent, is above this.
    progress_quotient : float, optional
        ``PQ(t) = GL(t) / P_k(t)`` is above this, looked at after each strip of k epochs.
    progress : float, optional
        The training progress ``P_k(t) = 1000 (mean / lowest - 1)`` of the training losses of the
        last k epochs, in per mille, is below this, looked at after each strip. Prechelt has 0.1.
    strip : int, default 5
        k.
    restore_best : bool, default True
        With conditions on the validation loss, the network ends with the parameters of E_opt.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(3, "tanh"), nncore.Dense(1), seed=0, optimizer="lm")
    >>> history = net.fit([[0.0], [0.5], [1.0]], [0.0, 0.8, 0.9], epochs=500, verbose=False,
    ...                   stop=nncore.Stop(loss=1e-4))
    >>> history.stop_reason
    'loss'
    """

    loss: float | None = None
    gradient: float | None = None
    step: float | None = None
    evaluations: int | None = None
    seconds: float | None = None
    max_fail: int | None = None
    generalization_loss: float | None = None
    progress_quotient: float | None = None
    progress: float | None = None
    strip: int = 5
    restore_best: bool = True

    _by_name = frozenset((
        "loss", "gradient", "step", "evaluations", "seconds", "max_fail", "generalization_loss",
        "progress_quotient", "progress", "strip", "restore_best",
    ))  # fmt: skip
    _quiet = _by_name

    def check(self):
        for name in (
            "loss", "gradient", "step", "seconds", "generalization_loss", "progress_quotient",
            "progress",
        ):  # fmt: skip
            if getattr(self, name) is not None:
                self._to_floats(name)
                if math.isnan(getattr(self, name)):
                    raise self._refusal(name, "a number")
        for name in ("gradient", "step", "seconds", "generalization_loss", "progress_quotient"):
            if getattr(self, name) is not None:
                self._check_not_negative(name)
        for name in ("evaluations", "max_fail"):
            if getattr(self, name) is not None:
                self._check_counts(name)
        self._check_counts("strip")
        self._check_bools("restore_best")

    @property
    def needs_validation(self):
        """The first condition on the validation loss, or None."""
        for name in ("max_fail", "generalization_loss", "progress_quotient"):
            if getattr(self, name) is not None:
                return name
        return None

    @property
    def needs_trainer(self):
        """The first condition that only full-batch trainers have, or None."""
        for name in ("gradient", "evaluations"):
            if getattr(self, name) is not None:
                return name
        return None


class Watch:
    """What a `Stop` has seen of one fit."""

    def __init__(self, stop, network):
        self._stop, self._network = stop, network
        self._start = time.perf_counter()
        self._lowest, self._since = math.inf, 0
        self._best = None  # parameters and running statistics of the lowest validation loss
        self._last, self._done = network.theta.copy() if stop.step is not None else None, 0

    def is_over(self, history):
        """Look at the last epoch; say in ``history.stop_reason`` which condition it met, if any."""
        stop = self._stop
        if stop.needs_validation is not None:
            self._look_at(history["val_loss"][-1])
        reached = {
            "loss": lambda: history["loss"][-1] <= stop.loss,
            "gradient": lambda: history["gradient_norm"][-1] <= stop.gradient,
            "step": lambda: self._step(history) <= stop.step,
            "evaluations": lambda: history["evaluations"][-1] >= stop.evaluations,
            "seconds": lambda: time.perf_counter() - self._start >= stop.seconds,
            "max_fail": lambda: self._since >= stop.max_fail,
            "generalization_loss": lambda: self._loss_of(history) > stop.generalization_loss,
            "progress_quotient": lambda: self._quotient(history) > stop.progress_quotient,
            "progress": lambda: self._progress(history) < stop.progress,
        }
        for name, condition in reached.items():
            if getattr(stop, name) is not None and condition():
                history.stop_reason = name
                return True
        return False

    def _look_at(self, loss):
        if loss < self._lowest:
            self._lowest, self._since = loss, 0
            if self._stop.restore_best:
                engine = self._network._engine
                self._best = engine.theta.copy(), engine.running.copy()
        else:
            self._since += 1

    def _step(self, history):
        if history.n_steps == self._done:  # a trainer that adapts its rate refused the step
            return math.inf
        self._done = history.n_steps
        change = self._network.theta - self._last
        self._last = self._network.theta.copy()
        return float(np.linalg.norm(change))

    def _loss_of(self, history):  # GL
        return 100 * (history["val_loss"][-1] / self._lowest - 1) if self._lowest > 0 else 0.0

    def _progress(self, history):  # P_k
        losses = history["loss"]
        if len(losses) % self._stop.strip:
            return math.inf
        strip = losses[-self._stop.strip :]
        return 1000 * (sum(strip) / len(strip) / min(strip) - 1) if min(strip) > 0 else math.inf

    def _quotient(self, history):  # PQ
        progress, loss = self._progress(history), self._loss_of(history)
        if progress == 0:
            return math.inf if loss > 0 else 0.0
        return loss / progress

    def restore(self):
        """Put back the best parameters, if there are any; return whether they were others."""
        if self._best is None:
            return False
        theta, running = self._best
        engine = self._network._engine
        if np.array_equal(theta, engine.theta):
            return False
        engine.theta[...], engine.running[...] = theta, running
        return True
