"""Schedules: learning rates that change, given as the ``lr`` of an optimizer.

>>> import nncore
>>> from nncore import schedules
>>> warm = schedules.WarmUp(schedules.Cosine(0.1, steps=1000), steps=100)
>>> optimizer = nncore.SGD(warm, momentum=0.9)
>>> [round(warm(t), 4) for t in (0, 50, 100, 600, 1100)]
[0.001, 0.0505, 0.1, 0.05, 0.0]

Time ``t`` is counted in updates since the optimizer was given to the network, so the first one has
``t = 0``; with ``per="epoch"`` in epochs of `nncore.Network.fit`. Formulas and defaults are those
of ``torch.optim.lr_scheduler`` where it has them, in the closed form; its schedulers are mostly
stepped once an epoch, which is ``per="epoch"`` here. Saved with the network, a schedule goes on
where it was.

A function of ``t`` is a schedule too, ``SGD(lambda t: 0.1 / (1 + t))``, but no file can hold it.
"""

from __future__ import annotations

import math

import numpy as np

from .described import Described


class Schedule(Described):
    """Base of all schedules: ``schedule(t)`` is the rate after `t` updates (or epochs)."""

    per: str = "step"

    _by_name = _quiet = frozenset(("per",))

    def check(self):
        own = self._arguments.items()
        self._to_floats(*(n for n, default in own if type(default) is float or n == "lr"))
        if "lr" in self._arguments:
            self._check_positive("lr")
        if "lr_min" in self._arguments:
            self._check_not_negative("lr_min")
            if self.lr_min > self.lr:
                raise self._refusal("lr_min", f"at most lr, {self.lr!r}")
        self._check_choice("per", ("step", "epoch"))

    def at(self, t):
        """Return the rates at the times `t`, a float64 array of whole numbers."""
        raise NotImplementedError

    def __call__(self, t):
        return float(self.at(np.array([t], np.float64))[0])

    def config(self):
        """Return the arguments that make this schedule again, as JSON values."""
        if type(self) is not SCHEDULES.get(type(self).__name__):
            raise ValueError(
                f"{self!r} is not one of nncore.schedules, so a file cannot hold it; set "
                "optimizer.lr to one of them or to a number before saving"
            )
        return {"type": type(self).__name__} | self._shown(type(self))

    # ---- what a network does with it ----

    def start(self):
        """Return the state to begin with: JSON values, for those that look at the losses."""
        return {}

    @np.errstate(over="ignore", under="ignore")
    def rates(self, state, updates, steps, epochs):
        """Return the rates of the next `steps` updates, after so many updates and epochs."""
        if self.per == "step":
            rates = self.at(np.arange(updates, updates + steps, dtype=np.float64))
        else:
            rates = np.full(steps, self.at(np.array([epochs], np.float64))[0])
        return np.ascontiguousarray(rates, np.float64)

    def check_state(self, state):
        """Raise ValueError if a state, read from a file, is none that `start` leads to."""
        if state != {}:
            raise ValueError(f"{type(self).__name__} has no state, got {state!r}")

    def end_epoch(self, state, values):
        """Look at the last values of the history, by name, and change the state."""

    def monitored(self):
        """Return the name of what `end_epoch` needs, or None."""
        return None


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
    """

    lr: float = ...
    factor: float = 1.0
    steps: int = 0

    def check(self):
        super().check()
        self._check_not_negative("factor")
        self._check_counts("steps", least=0)

    def at(self, t):
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
    >>> [round(Step(0.5, 10)(t), 5) for t in (0, 9, 10, 25)]
    [0.5, 0.5, 0.05, 0.005]
    """

    lr: float = ...
    step_size: int = ...
    gamma: float = 0.1

    def check(self):
        super().check()
        self._check_counts("step_size")
        self._check_not_negative("gamma")

    def at(self, t):
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
    """

    lr: float = ...
    milestones: list = ...
    gamma: float = 0.1

    def check(self):
        super().check()
        self._check_not_negative("gamma")
        try:
            milestones = [m.__index__() for m in self.milestones]
        except (TypeError, AttributeError):
            raise self._refusal("milestones", "a list of integers") from None
        if milestones != sorted(milestones) or any(not 0 <= m < 1 << 62 for m in milestones):
            raise self._refusal("milestones", "integers of at least 0 in increasing order")
        vars(self)["milestones"] = milestones

    def at(self, t):
        return self.lr * self.gamma ** np.searchsorted(self.milestones, t, "right").astype(float)


class Exponential(Schedule):
    """``lr * gamma^t`` (torch's ExponentialLR).

    Parameters
    ----------
    lr : float
    gamma : float
    per : {"step", "epoch"}, default "step"
        What time is counted in.
    """

    lr: float = ...
    gamma: float = ...

    def check(self):
        super().check()
        self._to_floats("gamma")
        self._check_not_negative("gamma")

    def at(self, t):
        return self.lr * self.gamma**t


class Linear(Schedule):
    """In a line between two multiples of ``lr``, then constant (torch's LinearLR).

    Parameters
    ----------
    lr : float
    steps : int, default 5
    start_factor, end_factor : float, default 1/3 and 1
    per : {"step", "epoch"}, default "step"
        What time is counted in.
    """

    lr: float = ...
    steps: int = 5
    start_factor: float = 1 / 3
    end_factor: float = 1.0

    def check(self):
        super().check()
        self._check_counts("steps")
        self._check_not_negative("start_factor", "end_factor")

    def at(self, t):
        part = np.minimum(t, self.steps) / self.steps
        return self.lr * (self.start_factor + (self.end_factor - self.start_factor) * part)


class Polynomial(Schedule):
    """``lr * (1 - t / steps)^power``, then 0 (torch's PolynomialLR).

    Parameters
    ----------
    lr : float
    steps : int, default 5
    power : float, default 1.0
    per : {"step", "epoch"}, default "step"
        What time is counted in.
    """

    lr: float = ...
    steps: int = 5
    power: float = 1.0

    def check(self):
        super().check()
        self._check_counts("steps")
        self._check_not_negative("power")

    def at(self, t):
        return self.lr * (1 - np.minimum(t, self.steps) / self.steps) ** self.power


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
    >>> [round(Cosine(0.1, steps=10)(t), 4) for t in (0, 5, 10, 20)]
    [0.1, 0.05, 0.0, 0.0]
    """

    lr: float = ...
    steps: int = ...
    lr_min: float = 0.0

    def check(self):
        super().check()
        self._check_counts("steps")

    def at(self, t):
        part = np.minimum(t, self.steps) / self.steps
        return self.lr_min + (self.lr - self.lr_min) * (1 + np.cos(np.pi * part)) / 2


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
    """

    lr: float = ...
    steps: int = ...
    factor: int = 1
    lr_min: float = 0.0

    def check(self):
        super().check()
        self._check_counts("steps", "factor")

    def at(self, t):
        length, begun = np.full(t.shape, float(self.steps)), np.zeros(t.shape)
        if self.factor == 1:
            begun = t // length * length
        else:  # lengths grow, so this ends after log(t) rounds
            while (over := t >= begun + length).any():
                begun = np.where(over, begun + length, begun)
                length = np.where(over, length * self.factor, length)
        part = (t - begun) / length
        return self.lr_min + (self.lr - self.lr_min) * (1 + np.cos(np.pi * part)) / 2


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
    """

    lr: float = ...
    steps: int = ...
    pct_start: float = 0.3
    anneal: str = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def check(self):
        super().check()
        self._check_counts("steps", least=2)
        self._check_choice("anneal", ("cos", "linear"))
        self._check_positive("div_factor", "final_div_factor")
        self._check_bools("three_phase")
        if not 0 < self.pct_start < (0.5 if self.three_phase else 1):
            raise self._refusal("pct_start", f"in (0, {0.5 if self.three_phase else 1})")

    def at(self, t):
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
    """

    lr: float = ...
    lr_max: float = ...
    step_size_up: int = 2000
    step_size_down: int | None = None
    mode: str = "triangular"
    gamma: float = 1.0

    def check(self):
        super().check()
        self._to_floats("lr_max")
        if not self.lr <= self.lr_max < math.inf:
            raise self._refusal("lr_max", f"finite and at least lr, {self.lr!r}")
        self._check_counts("step_size_up")
        if self.step_size_down is not None:
            self._check_counts("step_size_down")
        self._check_choice("mode", ("triangular", "triangular2", "exp_range"))
        self._check_not_negative("gamma")

    def at(self, t):
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
    """

    lr: float = ...
    power: float = 0.5

    def check(self):
        super().check()
        self._check_not_negative("power")

    def at(self, t):
        return self.lr / (t + 1) ** self.power


class OnPlateau(Schedule):
    """Multiplied by `factor` after epochs without progress (torch's ReduceLROnPlateau).

    After each epoch of `Network.fit` what is monitored is compared with its best value so far.
    After more than `patience` epochs in a row that were no better the rate is reduced.

    Parameters
    ----------
    lr : float
        The first rate.
    factor : float, default 0.1
        In (0, 1).
    patience : int, default 10
    threshold : float, default 1e-4
        Better is below ``best - threshold * abs(best)``, or below ``best - threshold`` where
        ``threshold_mode="abs"``; of an accuracy, above the best by as much.
    threshold_mode : {"rel", "abs"}, default "rel"
    cooldown : int, default 0
        Epochs after a reduction in which none counts as bad.
    lr_min : float, default 0.0
    monitor : str, optional
        A name of the history: "loss", "val_loss" or "val_accuracy". By default "val_loss" with
        validation data, and "loss" without.
    """

    lr: float = ...
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    cooldown: int = 0
    lr_min: float = 0.0
    monitor: str | None = None
    per: str = "epoch"

    def check(self):
        super().check()
        self._check_choice("per", ("epoch",))
        if not 0 < self.factor < 1:
            raise self._refusal("factor", "in (0, 1)")
        self._check_counts("patience", "cooldown", least=0)
        self._check_not_negative("threshold")
        self._check_choice("threshold_mode", ("rel", "abs"))
        self._check_choice("monitor", (None, "loss", "val_loss", "val_accuracy"))

    def start(self):
        return {"lr": self.lr, "best": None, "bad": 0, "cooling": 0}

    def at(self, t):
        return np.full(t.shape, self.lr)

    def rates(self, state, updates, steps, epochs):
        return np.full(steps, state["lr"])

    def monitored(self):
        return self.monitor

    def check_state(self, state):
        lr, best = state["lr"], state["best"]
        counts = [state[name] for name in ("bad", "cooling")]
        if (
            set(state) != {"lr", "best", "bad", "cooling"}
            or type(lr) is not float
            or not 0 <= lr < math.inf
            or not (best is None or (type(best) is float and math.isfinite(best)))
            or any(type(count) is not int or not 0 <= count < 1 << 62 for count in counts)
        ):
            raise ValueError(f"a state that OnPlateau cannot have: {state!r}")

    def end_epoch(self, state, values):
        name = self.monitor or ("val_loss" if "val_loss" in values else "loss")
        value, best = float(values[name]), state["best"]
        upwards = name.endswith("accuracy")
        better = best is None or self._is_better(value, best, upwards)
        if better and math.isfinite(value):
            state["best"], state["bad"] = value, 0
        else:
            state["bad"] += 1
        if state["cooling"] > 0:
            state["cooling"], state["bad"] = state["cooling"] - 1, 0
        if state["bad"] > self.patience:
            reduced = max(state["lr"] * self.factor, self.lr_min)
            if state["lr"] - reduced > 1e-8:  # as torch's eps
                state["lr"] = reduced
            state["cooling"], state["bad"] = self.cooldown, 0

    def _is_better(self, value, best, upwards):
        if upwards:
            value, best = -value, -best
        margin = self.threshold * (abs(best) if self.threshold_mode == "rel" else 1)
        return value < best - margin


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
    >>> [round(WarmUp(0.5, steps=5)(t), 4) for t in range(7)]
    [0.1, 0.18, 0.26, 0.34, 0.42, 0.5, 0.5]
    """

    after: Schedule = ...
    steps: int = ...
    start_factor: float | None = None
    per: str = "step"

    def check(self):
        super().check()
        self._check_choice("per", ("step",))
        self._check_counts("steps")
        vars(self)["after"] = as_schedule(self.after)
        if self.start_factor is not None:
            self._to_floats("start_factor")
            self._check_not_negative("start_factor")

    def config(self):
        return super().config() | {"after": self.after.config()}

    def start(self):
        return self.after.start()

    def at(self, t):
        return self._rise(t, self.after(0), self.after.at(np.maximum(t - self.steps, 0)))

    def rates(self, state, updates, steps, epochs):
        t = np.arange(updates, updates + steps, dtype=np.float64)
        warm = int(np.clip(self.steps - updates, 0, steps))
        first = self.after.rates(state, 0, 1, epochs)[0]
        later = self.after.rates(state, max(updates - self.steps, 0), steps - warm, epochs)
        return self._rise(t, first, np.concatenate([np.full(warm, first), later]))

    def _rise(self, t, first, later):
        start = 1 / self.steps if self.start_factor is None else self.start_factor
        return np.where(t < self.steps, first * (start + (1 - start) * (t / self.steps)), later)

    def check_state(self, state):
        self.after.check_state(state)

    def end_epoch(self, state, values):
        self.after.end_epoch(state, values)

    def monitored(self):
        return self.after.monitored()


class Function(Schedule):
    """What a callable is: its value at each update."""

    function: object = ...

    def check(self):
        super().check()
        if not callable(self.function):
            raise self._refusal("function", "callable")

    def at(self, t):
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

    def config(self):
        raise ValueError(
            f"the learning rate is a function, {self.function!r}, which a file cannot hold; use "
            "one of nncore.schedules, or set optimizer.lr to a number before saving"
        )


SCHEDULES = {
    kind.__name__: kind
    for kind in (
        Constant, Step, MultiStep, Exponential, Linear, Polynomial, Cosine, WarmRestarts, OneCycle,
        Cyclic, InverseScaling, OnPlateau, WarmUp,
    )
}  # fmt: skip


def as_schedule(value):
    """Return a `Schedule` from one, a function of the updates done, or a number."""
    if isinstance(value, Schedule):
        return value
    return Function(value) if callable(value) else Constant(value)


def from_config(config):
    """Return the schedule that `Schedule.config` describes."""
    from . import names

    arguments = dict(config)
    kind = SCHEDULES[names.look_up("schedule", arguments.pop("type"), SCHEDULES)]
    if kind is WarmUp:
        arguments["after"] = from_config(arguments["after"])
    return kind(**arguments)
