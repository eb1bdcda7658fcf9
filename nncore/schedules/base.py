"""What a schedule is, and what a network does with one."""

import abc
from typing import Any

import numpy as np

from ..described import Described

TYPE_CHECKING = False

SCHEDULES: "dict[str, type[Schedule]]" = {}  # by name, what a file can hold: filled by __init__.py


class Schedule(Described, abc.ABC, kw_only=True):
    """Base of all schedules: ``schedule(t)`` is the rate after `t` updates (or epochs).

    A class of your own has its arguments as annotated attributes, and `at`; no file can hold it.

    Examples
    --------
    >>> class Sawtooth(Schedule):
    ...     lr: float = 0.1
    ...     length: int = 10
    ...
    ...     def at(self, t):
    ...         return self.lr * (1 - t % self.length / self.length)
    >>> Sawtooth(length=4)(6)
    0.05
    """

    per: str = "step"

    if TYPE_CHECKING:  # of subclasses

        @property
        def lr(self) -> float: ...
        @property
        def lr_min(self) -> float: ...

    def check(self) -> None:
        own = self._arguments.items()
        self._to_floats(*(n for n, default in own if type(default) is float or n == "lr"))
        if "lr" in self._arguments:
            self._check_positive("lr")
        if "lr_min" in self._arguments:
            self._check_not_negative("lr_min")
            if self.lr_min > self.lr:
                raise self._refusal("lr_min", f"at most lr, {self.lr!r}")
        self._check_choice("per", ("step", "epoch"))

    @abc.abstractmethod
    def at(self, t: np.ndarray) -> np.ndarray:
        """Return the rates at the times `t`, a float64 array of whole numbers."""

    def __call__(self, t: float) -> float:
        return float(self.at(np.array([t], np.float64))[0])

    def config(self) -> dict[str, Any]:
        """Return the arguments that make this schedule again, as JSON values."""
        if type(self) is not SCHEDULES.get(type(self).__name__):
            raise ValueError(
                f"{self!r} is not one of nncore.schedules, so a file cannot hold it; set "
                "optimizer.lr to one of them or to a number before saving"
            )
        return {"type": type(self).__name__} | self._shown(type(self))

    # ---- what a network does with it ----

    def start(self) -> dict[str, Any]:
        """Return the state to begin with: JSON values, for those that look at the losses."""
        return {}

    @np.errstate(over="ignore", under="ignore")
    def rates(self, state: dict[str, Any], updates: int, steps: int, epochs: int) -> np.ndarray:
        """Return the rates of the next `steps` updates, after so many updates and epochs."""
        if self.per == "step":
            times = np.arange(updates, updates + steps, dtype=np.float64)
        else:
            times = np.array([epochs], np.float64)
        rates = np.ascontiguousarray(self.at(times), np.float64)
        if rates.shape != times.shape or not (rates >= 0).all():
            raise ValueError(
                f"at of {type(self).__name__} must return a rate of at least 0 for each of "
                f"{len(times)} times, got {rates!r:.80}"
            )
        return np.broadcast_to(rates, steps).copy() if self.per == "epoch" else rates

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise ValueError if a state, read from a file, is none that `start` leads to."""
        if state != {}:
            raise ValueError(f"{type(self).__name__} has no state, got {state!r}")

    def end_epoch(self, state: dict[str, Any], values: dict[str, float]) -> None:
        """Look at the last values of the history, by name, and change the state."""

    def monitored(self) -> str | None:
        """Return the name of what `end_epoch` needs, or None."""
        return None
