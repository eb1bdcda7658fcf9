"""Gradient descent with all rows: along a line, or with a rate of its own that may adapt."""

from typing import Any

import numpy as np

from .base import Memory, Trainer, no_lower
from .line_search import Line, as_line_search
from .problem import Point, Problem, dot, norm


class SteepestDescent(Trainer):
    """A line search along ``-g`` (Cauchy 1847).

    Parameters
    ----------
    line_search : str or LineSearch, default "strong_wolfe"
        "hager_zhang", "backtracking", or one of `nncore.line_searches`.

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(
    ...     2, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"), seed=0,
    ...     optimizer="steepest_descent")
    >>> history = net.fit(X, y, epochs=100, verbose=False)
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    line_search: Any = "strong_wolfe"

    _remembers = {"change": "number"}

    def check(self) -> None:
        vars(self)["line_search"] = as_line_search(self.line_search)

    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        g = point.gradient
        square = dot(g, g)
        if not square > 0:
            raise no_lower(point)
        # the same first-order change as before: Nocedal and Wright 2006, (3.60)
        first = memory["change"] / square if memory else min(1.0, 1 / norm(g))
        trial = self.line_search(Line(problem, point, -g), min(first, 1e10) or 1.0)
        if trial is None:
            raise no_lower(point)
        return trial.point, {"change": trial.step * square}


class GradientDescent(Trainer):
    """Gradient descent with all rows, MATLAB's traingd, traingdm, traingda and traingdx.

    ``change = momentum * change - (1 - momentum) * lr * g``, ``theta += change``. With `adaptive`,
    after Vogl and others 1988: a loss of more than `max_increase` times the last one refuses the
    step, lr becomes ``decrease * lr`` and the momentum starts at rest; a lower loss makes lr
    ``increase * lr``. The history has ``lr``.

    Parameters
    ----------
    lr : float, default 0.01
    momentum : float, default 0.0
        In [0, 1).
    adaptive : bool, default False
    increase, decrease, max_increase : float, default 1.05, 0.7 and 1.04

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(
    ...     2, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"), seed=0,
    ...     optimizer=nncore.GradientDescent(0.1, momentum=0.9, adaptive=True))
    >>> history = net.fit(X, y, epochs=300, verbose=False)
    >>> history["lr"][-1] > 0.1
    True
    """

    lr: float = 0.01
    momentum: float = 0.0
    adaptive: bool = False
    increase: float = 1.05
    decrease: float = 0.7
    max_increase: float = 1.04

    _remembers = {"change": "vector", "lr": "positive number"}

    def check(self) -> None:
        self._to_floats("lr", "momentum", "increase", "decrease", "max_increase")
        self._check_positive("lr")
        self._check_fractions("momentum")
        self._check_bools("adaptive")
        for name in ("increase", "max_increase"):
            if not 1 <= getattr(self, name) < np.inf:
                raise self._refusal(name, "at least 1")
        if not 0 < self.decrease < 1:
            raise self._refusal("decrease", "in (0, 1)")

    def begin(self, problem: Problem, point: Point, rng: "np.random.Generator") -> Memory:
        return {"change": np.zeros_like(point.theta), "lr": self.lr}

    def report(self, memory: Memory) -> dict[str, float]:
        return {"lr": memory["lr"]}

    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        real = problem.dtype.type
        lr = memory["lr"] if self.adaptive else self.lr
        change = real(self.momentum) * memory["change"]
        change -= real((1 - self.momentum) * lr) * point.gradient
        new = problem.at(point.theta + change)
        if not self.adaptive:
            return new, {"change": change, "lr": lr}
        most = point.loss + (self.max_increase - 1) * abs(point.loss)
        if not new.is_finite() or new.loss > most:
            if lr < 1e-30:
                raise no_lower(point)
            return point, {"change": np.zeros_like(change), "lr": lr * self.decrease}
        return new, {"change": change, "lr": lr * self.increase if new.loss < point.loss else lr}
