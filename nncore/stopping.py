"""When `Network.fit` ends before its last epoch."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .described import Described, checked, checked_array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .history import History
    from .network import Network


class Stop(Described, kw_only=True):
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

    def check(self) -> None:
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
    def needs_validation(self) -> str | None:
        """The first condition on the validation loss, or None."""
        for name in ("max_fail", "generalization_loss", "progress_quotient"):
            if getattr(self, name) is not None:
                return name
        return None

    @property
    def needs_trainer(self) -> str | None:
        """The first condition that only full-batch trainers have, or None."""
        for name in ("gradient", "evaluations"):
            if getattr(self, name) is not None:
                return name
        return None


class Best:
    """The best value so far of what is monitored, how long ago it was, and the parameters there.

    A value is better if it is below the best, or above where `mode` is "max", by more than
    `min_delta`; NaN never is. `since` counts the epochs after the last one that was, and that was
    better than the `baseline`, too.
    """

    def __init__(
        self, mode: str = "min", min_delta: float = 0.0, value: float | None = None,
        baseline: float | None = None,
    ) -> None:  # fmt: skip
        self._sign, self._min_delta = (1.0 if mode == "min" else -1.0), min_delta
        self._baseline = baseline
        self.value, self.since = (self._sign * math.inf if value is None else value), 0
        self._kept: tuple[np.ndarray, ...] | None = None  # theta and running statistics

    def is_better(self, value: float, than: float) -> bool:
        return self._sign * value + self._min_delta < self._sign * than

    def look(self, value: float, network: "Network | None" = None) -> bool:
        """Count an epoch; return whether its value is the best, and keep the parameters if so."""
        self.since += 1
        if not self.is_better(value, self.value):
            return False
        self.value = value
        if self._baseline is None or self.is_better(value, self._baseline):
            self.since = 0
        if network is not None:
            engine = network._engine
            self._kept = engine.theta.copy(), engine.running.copy()
        return True

    def restore(self, network: "Network") -> None:
        """Put back the best parameters, if there are any."""
        if self._kept is None:
            return
        engine = network._engine
        if not np.array_equal(self._kept[0], engine.theta):
            network._memory = None  # a trainer's directions are of another place
        engine.theta[...], engine.running[...] = self._kept

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        kept = {} if self._kept is None else dict(zip(_KEPT, self._kept, strict=True))
        return {"value": float(self.value), "since": self.since} | kept

    def recall(self, state: dict[str, Any], network: "Network") -> None:
        """Take over a state that was read from a file."""
        self.value, self.since = checked(state, value=float, since=int)
        engine = network._engine
        if "theta" in state:
            alike = engine.theta, engine.running
            self._kept = tuple(
                checked_array(state, *each) for each in zip(_KEPT, alike, strict=True)
            )


_KEPT = ("theta", "running")


class Watch:
    """What a `Stop` has seen of one fit."""

    def __init__(self, stop: Stop, network: Any) -> None:
        self.stop, self._network = stop, network
        self._start = time.perf_counter()
        self._best = Best()  # of the validation loss
        self._last, self._done = network.theta.copy() if stop.step is not None else None, 0

    def is_over(self, history: "History") -> bool:
        """Look at the last epoch; say in ``history.stop_reason`` which condition it met, if any."""
        stop = self.stop
        if stop.needs_validation is not None:
            kept = self._network if stop.restore_best else None
            self._best.look(history["val_loss"][-1], kept)
        reached: dict[str, Callable[[float], bool]] = {
            "loss": lambda limit: history["loss"][-1] <= limit,
            "gradient": lambda limit: history["gradient_norm"][-1] <= limit,
            "step": lambda limit: self._step(history) <= limit,
            "evaluations": lambda limit: history["evaluations"][-1] >= limit,
            "seconds": lambda limit: time.perf_counter() - self._start >= limit,
            "max_fail": lambda limit: self._best.since >= limit,
            "generalization_loss": lambda limit: self._loss_of(history) > limit,
            "progress_quotient": lambda limit: self._quotient(history) > limit,
            "progress": lambda limit: self._progress(history) < limit,
        }
        for name, condition in reached.items():
            limit = getattr(stop, name)
            if limit is not None and condition(limit):
                history.stop_reason = name
                return True
        return False

    def _step(self, history: "History") -> float:
        if history.n_steps == self._done:  # a trainer that adapts its rate refused the step
            return math.inf
        self._done = history.n_steps
        change = self._network.theta - self._last
        self._last = self._network.theta.copy()
        return float(np.linalg.norm(change))

    def _loss_of(self, history: "History") -> float:  # GL
        lowest = self._best.value
        return 100 * (history["val_loss"][-1] / lowest - 1) if lowest > 0 else 0.0

    def _progress(self, history: "History") -> float:  # P_k
        losses = history["loss"]
        if len(losses) % self.stop.strip:
            return math.inf
        strip = losses[-self.stop.strip :]
        return 1000 * (sum(strip) / len(strip) / min(strip) - 1) if min(strip) > 0 else math.inf

    def _quotient(self, history: "History") -> float:  # PQ
        progress, loss = self._progress(history), self._loss_of(history)
        if progress == 0:
            return math.inf if loss > 0 else 0.0
        return loss / progress

    def restore(self) -> None:
        """Put back the best parameters, if there are any."""
        self._best.restore(self._network)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        last = {} if self._last is None else {"last": self._last}
        seconds = time.perf_counter() - self._start
        return self._best.state() | last | {"seconds": seconds, "done": self._done}

    def recall(self, state: dict[str, Any]) -> None:
        """Take over a state that was read from a file."""
        self._best.recall(state, self._network)
        seconds, self._done = checked(state, seconds=float, done=int)
        self._start -= seconds
        if self._last is not None:
            self._last = checked_array(state, "last", self._network.theta)
