"""Schedules that are a formula in time."""

import math

import numpy as np

from ..described import argument
from .base import Schedule


class Constant(Schedule):
    """``factor * lr`` for the first `steps`, then ``lr``; one rate by default.

    torch's ConstantLR has ``factor=1/3`` and ``steps=5``.

    Parameters
    ----------
    lr : float
    factor : float, default 1.0
    steps : int, default 0
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import Constant
    >>> schedule = Constant(0.3, factor=0.1, steps=5)  # a start at a tenth
    >>> [round(schedule(t), 4) for t in (0, 4, 5)]
    [0.03, 0.03, 0.3]
    """

    lr: float = argument()
    factor: float = 1.0
    steps: int = 0

    def check(self) -> None:
        super().check()
        self._check_not_negative("factor")
        self._check_counts("steps", least=0)

    def at(self, t: np.ndarray) -> np.ndarray:
        return self.lr * np.where(t < self.steps, self.factor, 1.0)


class Step(Schedule):
    """``lr * gamma^floor(t / step_size)`` (torch's StepLR).

    Parameters
    ----------
    lr : float
    step_size : int
        Time between changes.
    gamma : float, default 0.1
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import Step
    >>> [round(Step(0.5, 10)(t), 5) for t in (0, 9, 10, 25)]
    [0.5, 0.5, 0.05, 0.005]
    """

    lr: float = argument()
    step_size: int = argument()
    gamma: float = 0.1

    def check(self) -> None:
        super().check()
        self._check_counts("step_size")
        self._check_not_negative("gamma")

    def at(self, t: np.ndarray) -> np.ndarray:
        return self.lr * self.gamma ** (t // self.step_size)


class MultiStep(Schedule):
    """``lr * gamma^n``, n the number of milestones up to t (torch's MultiStepLR).

    Parameters
    ----------
    lr : float
    milestones : list of int
        In increasing order.
    gamma : float, default 0.1
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import MultiStep
    >>> schedule = MultiStep(0.1, [30, 60])
    >>> [round(schedule(t), 4) for t in (0, 30, 60)]
    [0.1, 0.01, 0.001]
    """

    lr: float = argument()
    milestones: list[int] = argument()
    gamma: float = 0.1

    def check(self) -> None:
        super().check()
        self._check_not_negative("gamma")
        try:
            milestones = [m.__index__() for m in self.milestones]
        except (TypeError, AttributeError):
            raise self._refusal("milestones", "a list of integers") from None
        if milestones != sorted(milestones) or any(not 0 <= m < 1 << 62 for m in milestones):
            raise self._refusal("milestones", "integers of at least 0 in increasing order")
        vars(self)["milestones"] = milestones

    def at(self, t: np.ndarray) -> np.ndarray:
        return self.lr * self.gamma ** np.searchsorted(self.milestones, t, "right").astype(float)


class Exponential(Schedule):
    """``lr * gamma^t`` (torch's ExponentialLR).

    Parameters
    ----------
    lr : float
    gamma : float
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import Exponential
    >>> schedule = Exponential(0.1, gamma=0.5)
    >>> [round(schedule(t), 4) for t in (0, 1, 2)]
    [0.1, 0.05, 0.025]
    """

    lr: float = argument()
    gamma: float = argument()

    def check(self) -> None:
        super().check()
        self._to_floats("gamma")
        self._check_not_negative("gamma")

    def at(self, t: np.ndarray) -> np.ndarray:
        rates: np.ndarray = self.lr * self.gamma**t
        return rates


class Linear(Schedule):
    """In a line between two multiples of ``lr``, then constant (torch's LinearLR).

    Parameters
    ----------
    lr : float
    steps : int, default 5
    start_factor, end_factor : float, default 1/3 and 1
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import Linear
    >>> schedule = Linear(0.1, steps=4, start_factor=0.5)
    >>> [round(schedule(t), 4) for t in (0, 2, 4, 9)]
    [0.05, 0.075, 0.1, 0.1]
    """

    lr: float = argument()
    steps: int = 5
    start_factor: float = 1 / 3
    end_factor: float = 1.0

    def check(self) -> None:
        super().check()
        self._check_counts("steps")
        self._check_not_negative("start_factor", "end_factor")

    def at(self, t: np.ndarray) -> np.ndarray:
        part = np.minimum(t, self.steps) / self.steps
        rates: np.ndarray = self.lr * (
            self.start_factor + (self.end_factor - self.start_factor) * part
        )
        return rates


class Polynomial(Schedule):
    """``lr * (1 - t / steps)^power``, then 0 (torch's PolynomialLR).

    Parameters
    ----------
    lr : float
    steps : int, default 5
    power : float, default 1.0
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import Polynomial
    >>> schedule = Polynomial(0.1, steps=10, power=2)
    >>> [round(schedule(t), 4) for t in (0, 5, 10, 20)]
    [0.1, 0.025, 0.0, 0.0]
    """

    lr: float = argument()
    steps: int = 5
    power: float = 1.0

    def check(self) -> None:
        super().check()
        self._check_counts("steps")
        self._check_not_negative("power")

    def at(self, t: np.ndarray) -> np.ndarray:
        rates: np.ndarray = self.lr * (1 - np.minimum(t, self.steps) / self.steps) ** self.power
        return rates


class Cosine(Schedule):
    """Half a cosine from ``lr`` to ``lr_min``, which it keeps (Loshchilov and Hutter 2017).

    ``lr_min + (lr - lr_min) * (1 + cos(pi t / steps)) / 2``. torch's CosineAnnealingLR (`steps` is
    its T_max) turns back up afterwards; this one stays.

    Parameters
    ----------
    lr : float
    steps : int
    lr_min : float, default 0.0
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import Cosine
    >>> [round(Cosine(0.1, steps=10)(t), 4) for t in (0, 5, 10, 20)]
    [0.1, 0.05, 0.0, 0.0]
    """

    lr: float = argument()
    steps: int = argument()
    lr_min: float = 0.0

    def check(self) -> None:
        super().check()
        self._check_counts("steps")

    def at(self, t: np.ndarray) -> np.ndarray:
        part = np.minimum(t, self.steps) / self.steps
        rates: np.ndarray = self.lr_min + (self.lr - self.lr_min) * (1 + np.cos(np.pi * part)) / 2
        return rates


class WarmRestarts(Schedule):
    """`Cosine` again and again (torch's CosineAnnealingWarmRestarts).

    Parameters
    ----------
    lr : float
    steps : int
        Length of the first period, torch's T_0.
    factor : int, default 1
        Each period is so many times as long as the one before, torch's T_mult.
    lr_min : float, default 0.0
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import WarmRestarts
    >>> schedule = WarmRestarts(0.1, steps=10, factor=2)  # periods of 10, 20, 40, ...
    >>> [round(schedule(t), 4) for t in (0, 5, 10, 20, 30)]
    [0.1, 0.05, 0.1, 0.05, 0.1]
    """

    lr: float = argument()
    steps: int = argument()
    factor: int = 1
    lr_min: float = 0.0

    def check(self) -> None:
        super().check()
        self._check_counts("steps", "factor")

    def at(self, t: np.ndarray) -> np.ndarray:
        length, begun = np.full(t.shape, float(self.steps)), np.zeros(t.shape)
        if self.factor == 1:
            begun = t // length * length
        else:  # lengths grow, so this ends after log(t) rounds
            while (over := t >= begun + length).any():
                begun = np.where(over, begun + length, begun)
                length = np.where(over, length * self.factor, length)
        part = (t - begun) / length
        rates: np.ndarray = self.lr_min + (self.lr - self.lr_min) * (1 + np.cos(np.pi * part)) / 2
        return rates


class OneCycle(Schedule):
    """Up from ``lr / div_factor`` to ``lr``, down to a fraction of that (Smith and Topin 2018).

    torch's OneCycleLR, without its momentum. After `steps` the last rate stays.

    Parameters
    ----------
    lr : float
        The highest rate, torch's max_lr.
    steps : int
        The whole length.
    pct_start : float, default 0.3
        The part of it that goes up.
    anneal : {"cos", "linear"}, default "cos"
    div_factor : float, default 25.0
        The first rate is ``lr / div_factor``,
    final_div_factor : float, default 1e4
        and the last one that divided by this.
    three_phase : bool, default False
        Down to the first rate in the time it took to come up, then to the last one.
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import OneCycle
    >>> schedule = OneCycle(0.1, steps=100)
    >>> [round(schedule(t), 4) for t in (0, 29, 99)]
    [0.004, 0.1, 0.0]
    """

    lr: float = argument()
    steps: int = argument()
    pct_start: float = 0.3
    anneal: str = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def check(self) -> None:
        super().check()
        self._check_counts("steps", least=2)
        self._check_choice("anneal", ("cos", "linear"))
        self._check_positive("div_factor", "final_div_factor")
        self._check_bools("three_phase")
        if not 0 < self.pct_start < (0.5 if self.three_phase else 1):
            raise self._refusal("pct_start", f"in (0, {0.5 if self.three_phase else 1})")

    def at(self, t: np.ndarray) -> np.ndarray:
        first = self.lr / self.div_factor
        last = first / self.final_div_factor
        up = self.pct_start * self.steps - 1
        points = [(0.0, first), (up, self.lr), (self.steps - 1.0, last)]
        if self.three_phase:
            points.insert(2, (2 * self.pct_start * self.steps - 2, first))
        t, rates = np.minimum(t, self.steps - 1.0), np.full(t.shape, last)
        for (t0, r0), (t1, r1) in reversed(list(zip(points, points[1:], strict=False))):
            part = (t - t0) / (t1 - t0) if t1 > t0 else np.ones(t.shape)
            if self.anneal == "cos":
                here = r1 + (r0 - r1) / 2 * (1 + np.cos(np.pi * part))
            else:
                here = r0 + (r1 - r0) * part
            rates = np.where(t <= t1, here, rates)
        return rates


class Cyclic(Schedule):
    """Up and down between ``lr`` and ``lr_max`` in lines (Smith 2017; torch's CyclicLR).

    Parameters
    ----------
    lr, lr_max : float
        The lowest and the highest rate.
    step_size_up : int, default 2000
    step_size_down : int, optional
        By default `step_size_up`.
    mode : {"triangular", "triangular2", "exp_range"}, default "triangular"
        The height stays, is halved with each cycle, or is multiplied by ``gamma^t``.
    gamma : float, default 1.0
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import Cyclic
    >>> schedule = Cyclic(0.01, 0.1, step_size_up=10)
    >>> [round(schedule(t), 4) for t in (0, 10, 15, 20)]
    [0.01, 0.1, 0.055, 0.01]
    """

    lr: float = argument()
    lr_max: float = argument()
    step_size_up: int = 2000
    step_size_down: int | None = None
    mode: str = "triangular"
    gamma: float = 1.0

    def check(self) -> None:
        super().check()
        self._to_floats("lr_max")
        if not self.lr <= self.lr_max < math.inf:
            raise self._refusal("lr_max", f"finite and at least lr, {self.lr!r}")
        self._check_counts("step_size_up")
        if self.step_size_down is not None:
            self._check_counts("step_size_down")
        self._check_choice("mode", ("triangular", "triangular2", "exp_range"))
        self._check_not_negative("gamma")

    def at(self, t: np.ndarray) -> np.ndarray:
        up = float(self.step_size_up)
        length = up + float(self.step_size_down or self.step_size_up)
        cycle, within = np.divmod(t, length)
        height = np.where(within <= up, within / up, (length - within) / (length - up))
        if self.mode == "triangular2":
            height = height / 2.0**cycle
        elif self.mode == "exp_range":
            height = height * self.gamma**t
        return self.lr + (self.lr_max - self.lr) * height


class InverseScaling(Schedule):
    """``lr / (t + 1)^power``, scikit-learn's invscaling.

    There, t counts samples and the rate changes after each epoch; here it counts updates, which are
    the samples where ``batch_size=1``.

    Parameters
    ----------
    lr : float
    power : float, default 0.5
        scikit-learn's power_t.
    per : {"step", "epoch"}, default "step"
        What time is counted in.

    Examples
    --------
    >>> from nncore.schedules import InverseScaling
    >>> schedule = InverseScaling(0.1)
    >>> [round(schedule(t), 4) for t in (0, 3, 99)]
    [0.1, 0.05, 0.01]
    """

    lr: float = argument()
    power: float = 0.5

    def check(self) -> None:
        super().check()
        self._check_not_negative("power")

    def at(self, t: np.ndarray) -> np.ndarray:
        return self.lr / (t + 1) ** self.power
