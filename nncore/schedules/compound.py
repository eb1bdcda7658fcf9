"""Schedules made of others, or of a function of the user's."""

import math
from typing import Any

import numpy as np

from ..described import argument
from .base import Schedule
from .curves import Constant


class WarmUp(Schedule):
    """In a line up to the first rate of another schedule, then that one.

    Its time begins when the warm-up ends, as with torch's SequentialLR after LinearLR. A schedule
    with ``per="epoch"`` counts its epochs from the start, so the line then leads to the rate of the
    present epoch; ``warm(t)`` called by hand knows of no epochs and takes them for updates.

    Parameters
    ----------
    after : float, Schedule or callable
    steps : int
        Length of the warm-up, in updates.
    start_factor : float, optional
        The first rate is so many times that one; by default ``1 / steps``.

    Examples
    --------
    >>> from nncore.schedules import WarmUp
    >>> [round(WarmUp(0.5, steps=5)(t), 4) for t in range(7)]
    [0.1, 0.18, 0.26, 0.34, 0.42, 0.5, 0.5]
    """

    after: Schedule | Any = argument()
    steps: int = argument()
    start_factor: float | None = None

    def check(self) -> None:
        super().check()
        self._check_choice("per", ("step",))
        self._check_counts("steps")
        try:
            vars(self)["after"] = as_schedule(self.after)
        except ValueError:
            raise self._refusal("after", "a positive rate, a schedule or a function") from None
        if self.start_factor is not None:
            self._to_floats("start_factor")
            self._check_not_negative("start_factor")

    def config(self) -> dict[str, Any]:
        return super().config() | {"after": self.after.config()}

    def start(self) -> dict[str, Any]:
        return self.after.start()

    def at(self, t: np.ndarray) -> np.ndarray:
        return self._rise(t, self.after(0), self.after.at(np.maximum(t - self.steps, 0)))

    def rates(self, state: dict[str, Any], updates: int, steps: int, epochs: int) -> np.ndarray:
        t = np.arange(updates, updates + steps, dtype=np.float64)
        warm = int(np.clip(self.steps - updates, 0, steps))
        first = self.after.rates(state, 0, 1, epochs)[0]
        later = self.after.rates(state, max(updates - self.steps, 0), steps - warm, epochs)
        return self._rise(t, first, np.concatenate([np.full(warm, first), later]))

    def _rise(self, t: np.ndarray, first: float, later: np.ndarray) -> np.ndarray:
        start = 1 / self.steps if self.start_factor is None else self.start_factor
        return np.where(t < self.steps, first * (start + (1 - start) * (t / self.steps)), later)

    def check_state(self, state: dict[str, Any]) -> None:
        self.after.check_state(state)

    def end_epoch(self, state: dict[str, Any], values: dict[str, float]) -> None:
        self.after.end_epoch(state, values)

    def monitored(self) -> str | None:
        return self.after.monitored()


class Function(Schedule):
    """What a callable is: its value at each update.

    Examples
    --------
    >>> import nncore
    >>> optimizer = nncore.SGD(lambda t: 0.1 / (1 + t))  # becomes a Function
    >>> optimizer.lr(3)
    0.025
    """

    function: Any = argument()

    def check(self) -> None:
        super().check()
        if not callable(self.function):
            raise self._refusal("function", "callable")

    def at(self, t: np.ndarray) -> np.ndarray:
        name = getattr(self.function, "__name__", repr(self.function))
        rates = []
        for each in t.tolist():
            value = self.function(int(each))
            try:
                rates.append(float(value))
            except (TypeError, ValueError):
                raise ValueError(
                    f"{name}({int(each)}) must be a learning rate, got {value!r}"
                ) from None
            if not 0 <= rates[-1] < math.inf:
                raise ValueError(
                    f"{name}({int(each)}) must be a learning rate, at least 0 and finite, got "
                    f"{value!r}"
                )
        return np.array(rates, np.float64)

    def config(self) -> dict[str, Any]:
        raise ValueError(
            f"the learning rate is a function, {self.function!r}, which a file cannot hold; use "
            "one of nncore.schedules, or set optimizer.lr to a number before saving"
        )


def as_schedule(value: Any) -> Schedule:
    """Return a `Schedule` from one, a function of the updates done, or a number.

    Parameters
    ----------
    value : Schedule, callable or float

    Examples
    --------
    >>> as_schedule(0.1)(5), as_schedule(lambda t: 0.1 / (1 + t))(3)
    (0.1, 0.025)
    """
    if isinstance(value, Schedule):
        return value
    return Function(value) if callable(value) else Constant(value)
