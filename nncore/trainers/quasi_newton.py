"""Quasi-Newton methods: BFGS, L-BFGS and one-step secant."""

import abc
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _core
from ..described import argument
from .base import Memory, Trainer, no_lower
from .line_search import Line, Trial, as_line_search
from .problem import Point, Problem, dot, norm

TYPE_CHECKING = False


class _QuasiNewton(Trainer):
    """A step along ``-H g``, H an approximation of the inverse Hessian from pairs s, y.

    s is a change of the parameters, y that of the gradient.
    """

    if TYPE_CHECKING:  # of each of them

        @property
        def line_search(self) -> Any: ...

    _sharp = False  # a search that is named goes near the minimum along the line

    def check(self) -> None:
        vars(self)["line_search"] = as_line_search(self.line_search, sharp=self._sharp)

    @abc.abstractmethod
    def _direction(self, point: Point, memory: Memory) -> np.ndarray:
        """-H g."""

    @abc.abstractmethod
    def _learn(self, memory: Memory, s: np.ndarray, y: np.ndarray) -> Memory:
        """The memory with one more pair, where s.y > 0."""

    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        trial = None
        if memory:
            trial = self._search(problem, point, self._direction(point, memory), 1.0)
        if trial is None:
            first = min(1.0, 1 / norm(point.gradient)) if point.gradient.any() else 1.0
            memory = {}
            trial = self._search(problem, point, -point.gradient, first)
        if trial is None:
            raise no_lower(point)
        s, y = trial.point.theta - point.theta, trial.point.gradient - point.gradient
        real = np.finfo(problem.dtype)
        # else H would not be positive; squares may be too small for a number
        if dot(s, y) > max(real.eps * norm(s) * norm(y), real.tiny) and dot(y, y) > real.tiny:
            memory = self._learn(memory, s, y)
        return trial.point, memory

    def recall(
        self,
        numbers: dict[str, Any],
        tensors: dict[str, np.ndarray],
        n: int,
        n_free: int,
        dtype: np.dtype,
    ) -> Memory:
        memory = super().recall(numbers, tensors, n, n_free, dtype)
        for s, y in self._pairs(memory):
            if not (dot(s, y) > 0 and dot(y, y) > 0):
                raise ValueError("the optimizer's state has a pair s, y without s.y > 0")
        return memory

    def _pairs(self, memory: Memory) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        """The pairs of a memory."""
        return ()

    def _search(
        self, problem: Problem, point: Point, direction: np.ndarray, first: float
    ) -> Trial | None:
        line = Line(problem, point, direction)
        slope = line.start.slope
        return self.line_search(line, first) if slope < 0 and math.isfinite(slope) else None


class LBFGS(_QuasiNewton):
    """BFGS with limited memory (Nocedal 1980; Liu and Nocedal 1989).

    ``d = -H g`` from the last pairs of s and y by the two-loop recursion, Nocedal and Wright 2006,
    algorithm 7.4, from ``H = s.y / y.y``.

    Parameters
    ----------
    memory : int, default 10
        How many pairs are kept: each is two vectors of the length of the parameters.
    line_search : str or LineSearch, default "strong_wolfe"
        "hager_zhang", "backtracking", or one of `nncore.line_searches`.

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(
    ...     2, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"), seed=0, optimizer="lbfgs")
    >>> history = net.fit(X, y, epochs=100, verbose=False)
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    memory: int = 10
    line_search: Any = "strong_wolfe"

    _remembers = {"s": "vectors", "y": "vectors"}

    def check(self) -> None:
        super().check()
        self._check_counts("memory")

    def _pairs(self, memory: Memory) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        return zip(memory.get("s", ()), memory.get("y", ()), strict=True)

    def _direction(self, point: Point, memory: Memory) -> np.ndarray:
        direction = -point.gradient
        _core.two_loops(memory["s"], memory["y"], direction)
        return direction

    def _learn(self, memory: Memory, s: np.ndarray, y: np.ndarray) -> Memory:
        scale = dot(s, y) ** -0.5  # then s.y = 1, which changes no H and saves half of the products
        pair = scale * s, scale * y
        kept = self.memory - 1
        past = (memory.get(name, [])[-kept:] if kept else [] for name in "sy")
        return {name: [*old, new] for name, old, new in zip("sy", past, pair, strict=True)}


class OneStepSecant(_QuasiNewton):
    """The one-step secant method (Battiti 1992): BFGS that only remembers the last step.

    ``d = -g + A s + B y`` with ``B = s.g / s.y`` and
    ``A = -(1 + y.y / s.y) s.g / s.y + y.g / s.y``.

    Parameters
    ----------
    line_search : str or LineSearch, default "strong_wolfe"
        "hager_zhang", "backtracking", or one of `nncore.line_searches`. By name the first two are
        sharp, as in `ConjugateGradient`: step 1 is not as good as that of BFGS.

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(
    ...     2, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"), seed=0, optimizer="oss")
    >>> history = net.fit(X, y, epochs=100, verbose=False)
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    line_search: Any = "strong_wolfe"

    _sharp = True
    _remembers = {"s": "vector", "y": "vector"}

    def _pairs(self, memory: Memory) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        return [(memory["s"], memory["y"])] if memory else ()

    def _direction(self, point: Point, memory: Memory) -> np.ndarray:
        g, s, y = point.gradient, memory["s"], memory["y"]
        sy, sg, yg = dot(s, y), dot(s, g), dot(y, g)
        a = -(1 + dot(y, y) / sy) * sg / sy + yg / sy
        direction: np.ndarray = g.dtype.type(a) * s + g.dtype.type(sg / sy) * y - g
        return direction

    def _learn(self, memory: Memory, s: np.ndarray, y: np.ndarray) -> Memory:
        return {"s": s, "y": y}


class BFGS(_QuasiNewton):
    """Broyden, Fletcher, Goldfarb and Shanno (1970), with the whole matrix.

    ``H = (I - r s y') H (I - r y s') + r s s'`` with ``r = 1 / s.y``, Nocedal and Wright 2006,
    (6.17), from (6.20): ``H = s.y / y.y``. For networks of up to a few thousand parameters.

    Parameters
    ----------
    line_search : str or LineSearch, default "strong_wolfe"
        "hager_zhang", "backtracking", or one of `nncore.line_searches`.
    max_bytes : float, default 1e9
        The most that two matrices of all parameters may take: one is made from the other.

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(
    ...     2, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"), seed=0, optimizer="bfgs")
    >>> history = net.fit(X, y, epochs=100, verbose=False)
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    line_search: Any = "strong_wolfe"
    max_bytes: float = argument(default=1e9, kw_only=True)

    _remembers = {"H": "matrix"}

    def check(self) -> None:
        super().check()
        self._to_floats("max_bytes")
        self._check_positive("max_bytes")

    def begin(self, problem: Problem, point: Point, rng: "np.random.Generator") -> Memory:
        wanted = 2 * problem.n**2 * problem.dtype.itemsize
        if wanted > self.max_bytes:
            raise ValueError(
                f"BFGS needs two matrices of {problem.n:,} x {problem.n:,} parameters, "
                f"{wanted / 1e9:.1f} GB, and max_bytes allows {self.max_bytes / 1e9:.1f} GB; "
                'raise max_bytes=, or use "lbfgs" or "scg"'
            )
        return {}

    def _direction(self, point: Point, memory: Memory) -> np.ndarray:
        direction: np.ndarray = -(memory["H"] @ point.gradient)
        return direction

    def _learn(self, memory: Memory, s: np.ndarray, y: np.ndarray) -> Memory:
        sy = dot(s, y)
        real = s.dtype.type
        if memory:
            H = memory["H"]
        else:
            H = np.zeros((len(s), len(s)), s.dtype)
            np.fill_diagonal(H, sy / dot(y, y))
        Hy = H @ y
        # H + s u' + u s': Nocedal and Wright 2006, (6.17), in one product
        u = real((1 + dot(y, Hy) / sy) / sy / 2) * s - Hy * real(1 / sy)
        new = np.column_stack((s, u)) @ np.vstack((u, s))
        new += H
        return {"H": new}
