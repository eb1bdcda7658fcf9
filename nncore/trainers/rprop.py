"""Methods with a step of its own for each parameter: Rprop and Quickprop."""

import math
from typing import Any

import numpy as np

from .base import Memory, Trainer
from .problem import Point, Problem

VARIANTS = ("rprop-", "rprop+", "irprop-", "irprop+")


class Rprop(Trainer):
    """Resilient backpropagation (Riedmiller and Braun 1993): only signs of the gradient count.

    The step of each parameter grows by `eta_plus` while its gradient keeps its sign, and shrinks by
    `eta_minus` where that changes. What else happens there is the variant (Igel and Huesken 2003):

    * "rprop-": nothing, the parameter moves by the smaller step;
    * "irprop-": it stays this once (PyTorch's Rprop);
    * "rprop+": its last change is taken back;
    * "irprop+": it is taken back if the loss has risen, and it stays this once.

    Parameters
    ----------
    variant : str, default "irprop+"
    step_start : float or tuple of two, default 0.1
        The steps at the start, of all parameters or drawn between two bounds for each. PyTorch's is
        0.01.
    step_min, step_max : float, default 1e-6 and 50.0
    eta_minus, eta_plus : float, default 0.5 and 1.2

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(
    ...     2, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"), seed=0, optimizer="irprop+")
    >>> history = net.fit(X, y, epochs=100, verbose=False)
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    variant: str = "irprop+"
    step_start: float | tuple[float, float] = 0.1
    step_min: float = 1e-6
    step_max: float = 50.0
    eta_minus: float = 0.5
    eta_plus: float = 1.2

    _remembers = {"steps": "vector", "gradient": "vector", "change": "vector", "loss": "number"}

    def check(self) -> None:
        self._check_choice("variant", VARIANTS)
        self._to_floats("step_min", "step_max", "eta_minus", "eta_plus")
        self._check_positive("step_min", "step_max")
        if self.step_min > self.step_max:
            raise ValueError(
                f"step_min of Rprop is above step_max: {self.step_min} and {self.step_max}"
            )
        if not 0 < self.eta_minus < 1:
            raise self._refusal("eta_minus", "in (0, 1)")
        if not 1 <= self.eta_plus < math.inf:
            raise self._refusal("eta_plus", "at least 1")
        self._check_start()

    def _check_start(self) -> None:
        """A number, or two."""
        value: Any = self.step_start
        pair = "a number, or a tuple of two"
        if isinstance(value, (tuple, list)):
            value = tuple(self._as_float("step_start", v, pair) for v in value)
            good = len(value) == 2 and 0 < value[0] <= value[1] < math.inf
        else:
            value = self._as_float("step_start", value, pair)
            good = 0 < value < math.inf
        if not good:
            raise self._refusal("step_start", f"{pair} in order, positive and finite")
        vars(self)["step_start"] = value

    def begin(self, problem: Problem, point: Point, rng: "np.random.Generator") -> Memory:
        if isinstance(self.step_start, tuple):
            steps = rng.uniform(*self.step_start, problem.n).astype(problem.dtype)
        else:
            steps = np.full(problem.n, self.step_start, problem.dtype)
        zero = np.zeros(problem.n, problem.dtype)
        return {"steps": steps, "gradient": zero, "change": zero, "loss": point.loss}

    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        g, steps = point.gradient, memory["steps"]
        turned = np.sign(g)  # then 1 where the sign stays, -1 where it changes, else 0
        turned *= np.sign(memory["gradient"])
        back = turned < 0
        real = problem.dtype.type
        factor = np.where(back, real(self.eta_minus), real(1))
        factor[turned > 0] = self.eta_plus
        steps = np.clip(steps * factor, self.step_min, self.step_max)
        change = -np.copysign(steps, g)
        change[g == 0] = 0
        seen = g  # by the next iteration
        if self.variant != "rprop-":
            seen = np.where(back, real(0), g)  # no change of sign can follow
            change[back] = 0
        risen = point.loss > memory["loss"]
        if self.variant == "rprop+" or (self.variant == "irprop+" and risen):
            change[back] = -memory["change"][back]
        new = problem.at(point.theta + change)
        return new, {"steps": steps, "gradient": seen, "change": change, "loss": point.loss}


class Quickprop(Trainer):
    """Quickprop (Fahlman 1988): for each parameter a parabola through its last two slopes.

    With ``S = g + decay theta`` and the last change d: ``d' = d S / (S_last - S)``, but no more
    than ``mu d``, and that where the slope has not become smaller; ``- lr S`` is added unless the
    last change went beyond the minimum.

    Parameters
    ----------
    lr : float, default 0.5
    mu : float, default 1.75
        The most by which a change may grow.
    decay : float, default 0.0
        Of the parameters. Fahlman's 1e-4 goes with the sum of the errors of all rows; beside their
        mean it keeps networks from their minimum.

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(
    ...     2, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"), seed=0, optimizer="quickprop")
    >>> history = net.fit(X, y, epochs=100, verbose=False)
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    lr: float = 0.5
    mu: float = 1.75
    decay: float = 0.0

    _remembers = {"change": "vector", "slope": "vector"}

    def check(self) -> None:
        self._to_floats("lr", "mu", "decay")
        self._check_positive("lr", "mu")
        self._check_not_negative("decay")

    def begin(self, problem: Problem, point: Point, rng: "np.random.Generator") -> Memory:
        zero = np.zeros(problem.n, problem.dtype)
        return {"change": zero, "slope": zero}

    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        real = problem.dtype.type
        S, last, d = point.gradient, memory["slope"], memory["change"]
        if self.decay:
            S = problem.free(S + real(self.decay) * point.theta)
        # In the direction of the last change, s and s0 are how much each slope points down it.
        s, s0 = -S * np.sign(d), -last * np.sign(d)
        growing = s >= real(self.mu / (1 + self.mu)) * s0  # the parabola would go beyond mu d
        with np.errstate(divide="ignore", invalid="ignore"):
            change = d * np.where(growing, real(self.mu), s / (s0 - s))
        change[d == 0] = 0
        change -= np.where(s >= 0, real(self.lr) * S, real(0))
        new = problem.at(point.theta + change)
        return new, {"change": change, "slope": S}
