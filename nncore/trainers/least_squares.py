"""Levenberg-Marquardt, and Bayesian regularisation on top of it."""

import math
from collections.abc import Callable

import numpy as np

from ..described import argument
from .base import Memory, Stuck, Trainer
from .problem import Point, Problem, Squares, dot


class LevenbergMarquardt(Trainer):
    """Levenberg-Marquardt (Levenberg 1944, Marquardt 1963), for losses that are sums of squares.

    With the residuals e and their Jacobian J, a step solves ``(J'J + mu D) d = -J'e``. "matlab", as
    trainlm does (Hagan and Menhaj 1994): D is the identity, and mu goes down by `decrease` after a
    step that reduces the loss and up by `increase` after one that does not. "nielsen" (1999): mu
    follows the ratio r of the reduction to the one expected, ``mu max(1/3, 1 - (2 r - 1)^3)``, or
    grows by 2, 4, 8, ...; it starts at ``mu max(diag J'J)``. "marquardt": the same with D the
    largest diagonal of J'J so far, so the units of the parameters do not matter (More 1978).

    J'J is added up in float64 over blocks of rows, so memory holds a few matrices of
    n_params x n_params and one block. Ctrl-C waits for the solution of one system. The loss is
    "mse" or "half_mse"; penalties l2 are part of it. The history has ``mu``.

    Parameters
    ----------
    damping : {"matlab", "nielsen", "marquardt"}, default "matlab"
    mu : float, default 0.001
        The first one.
    increase, decrease : float, default 10.0 and 0.1
    mu_max : float, default 1e10
        Beyond it the run ends.
    block_rows : int, optional
        Rows whose Jacobian is computed at a time; by default as many as fit in 16 MB.
    max_bytes : float, default 2e9
        The most memory to take.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> x = np.linspace(-1, 1, 41)[:, None]
    >>> net = nncore.Network(
    ...     1, nncore.Dense(5, "tanh"), nncore.Dense(1), seed=0, dtype="float64", optimizer="lm")
    >>> history = net.fit(x, np.sin(np.pi * x), epochs=50, verbose=False)
    >>> history["loss"][-1] < 1e-4
    True
    """

    damping: str = "matlab"
    mu: float = 0.001
    increase: float = 10.0
    decrease: float = 0.1
    mu_max: float = 1e10
    block_rows: int | None = argument(default=None, kw_only=True)
    max_bytes: float = argument(default=2e9, kw_only=True)

    _remembers = {"mu": "positive number", "growth": "positive number", "scales": "free"}
    _sometimes = frozenset(("scales",))

    def check(self) -> None:
        self._to_floats("mu", "increase", "decrease", "mu_max", "max_bytes")
        self._check_choice("damping", ("matlab", "nielsen", "marquardt"))
        self._check_positive("mu", "mu_max", "max_bytes")
        if self.mu > self.mu_max:
            raise ValueError(
                f"mu of {type(self).__name__} is above mu_max: {self.mu} and {self.mu_max}"
            )
        if not 1 < self.increase < math.inf:
            raise self._refusal("increase", "above 1")
        if not 0 < self.decrease < 1:
            raise self._refusal("decrease", "in (0, 1)")
        if self.block_rows is not None:
            self._check_counts("block_rows")

    def begin(self, problem: Problem, point: Point, rng: "np.random.Generator") -> Memory:
        squares = self._squares(problem)  # raises what there is to raise
        memory = self._first(squares, point)
        largest = 1.0
        if self.damping == "nielsen":
            largest = float(self._normal(squares, point, memory).diagonal().max(initial=0)) or 1.0
        return memory | {"mu": min(self.mu * largest, self.mu_max), "growth": 2.0}

    def _first(self, squares: Squares, point: Point) -> Memory:
        """The memory before the first step, but for that of the damping."""
        return {}

    def report(self, memory: Memory) -> dict[str, float]:
        return {"mu": memory["mu"]}

    def _squares(self, problem: Problem) -> Squares:
        return problem.squares(self.block_rows, self.max_bytes)

    def _normal(self, squares: Squares, point: Point, memory: Memory) -> np.ndarray:
        normal = squares.normal(point.theta)
        _diagonal(normal)[...] += squares.penalty
        return normal

    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        squares = self._squares(problem)
        normal = self._normal(squares, point, memory)
        # the loss over `scale` is a sum of squares, and J'e half its gradient
        pull = (0.5 / squares.scale) * point.gradient[squares.free].astype(np.float64)
        return self._descend(
            problem, point, memory, squares, normal, pull, lambda p: p.loss / squares.scale
        )

    def _descend(
        self,
        problem: Problem,
        point: Point,
        memory: Memory,
        squares: Squares,
        normal: np.ndarray,
        pull: np.ndarray,
        objective: Callable[[Point], float],
    ) -> tuple[Point, Memory]:
        """Return a point where `objective` is lower, and the memory with mu after it.

        The objective is about ``objective(point) + 2 d.pull + d.normal d`` after the change d.
        """
        memory = dict(memory)
        scales = self._scales(normal, memory)
        before = objective(point)
        while memory["mu"] <= self.mu_max:
            d = _solve(normal, memory["mu"] * scales, -pull)
            if d is not None:
                change = np.zeros(problem.n, problem.dtype)
                with np.errstate(over="ignore"):  # then the loss is not finite
                    change[squares.free] = d
                if not change.any():
                    raise Stuck("minimum")
                new = problem.at(point.theta + change)
                fall = before - objective(new) if new.is_finite() else -1.0
                if fall > 0:
                    self._relax(memory, fall / dot(d, memory["mu"] * scales * d - pull))
                    return new, memory
            self._tighten(memory)
        raise Stuck("mu_max")

    def _scales(self, normal: np.ndarray, memory: Memory) -> np.ndarray:
        """D; `memory` keeps the largest so far."""
        if self.damping != "marquardt":
            return np.ones(len(normal))
        memory["scales"] = np.maximum(normal.diagonal(), memory.get("scales", 0.0))
        return np.where(memory["scales"] > 0, memory["scales"], 1.0)

    def _relax(self, memory: Memory, ratio: float) -> None:
        if self.damping == "matlab":
            factor = self.decrease
        else:
            factor = max(1 / 3, 1 - (2 * ratio - 1) ** 3)
            memory["growth"] = 2.0
        memory["mu"] = max(memory["mu"] * factor, 1e-20)

    def _tighten(self, memory: Memory) -> None:
        if self.damping == "matlab":
            memory["mu"] *= self.increase
        else:
            memory["mu"] *= memory["growth"]
            memory["growth"] *= 2


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    """The diagonal of a contiguous matrix, to write to."""
    return matrix.reshape(-1)[:: len(matrix) + 1]


def _solve(matrix: np.ndarray, diagonal: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """The solution of ``(matrix + diag(diagonal)) d = right``, or None if it does not go down.

    By LAPACK's LU: NumPy has no solver for the factor of Cholesky, and two general ones take
    longer.
    """
    damped = matrix.copy()
    _diagonal(damped)[...] += diagonal
    try:
        d = np.linalg.solve(damped, right)
    except np.linalg.LinAlgError:
        return None
    return d if np.isfinite(d).all() and dot(d, right) >= 0 else None


class BayesianRegularization(LevenbergMarquardt):
    """Levenberg-Marquardt with the penalty that the data ask for, MATLAB's trainbr.

    MacKay 1992; Foresee and Hagan 1997: the objective is ``beta E_D + alpha E_W``, with E_D the sum
    of squared residuals and E_W that of squared parameters. After each step, with ``H = 2 beta J'J
    + 2 alpha I``, the effective number of parameters is ``gamma = n - 2 alpha trace(H^-1)``, and
    ``alpha = gamma / (2 E_W)``, ``beta = (N - gamma) / (2 E_D)`` for N residuals; at first alpha is
    0 and beta 1. The history has ``alpha``, ``beta`` and ``effective_parameters``; ``loss`` is that
    of the network.

    Scale inputs and targets to about [-1, 1]: one alpha is for all parameters. Start hidden layers
    with ``init="nguyen_widrow"``, as they do: from small weights it may give all parameters up.

    Parameters
    ----------
    mu, increase, decrease, mu_max, block_rows, max_bytes, damping : optional
        As in `LevenbergMarquardt`, but for ``mu = 0.005``.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> x = np.linspace(-1, 1, 41)[:, None]
    >>> noise = np.random.default_rng(0).normal(0, 0.2, x.shape)
    >>> net = nncore.Network(
    ...     1, nncore.Dense(20, "tanh", init="nguyen_widrow"), nncore.Dense(1), seed=0,
    ...     dtype="float64", optimizer="bayesian")
    >>> history = net.fit(x, np.sin(np.pi * x) + noise, epochs=100, verbose=False)
    >>> net.n_params, history["effective_parameters"][-1] < 20
    (61, True)
    """

    mu: float = 0.005

    _remembers = LevenbergMarquardt._remembers | {
        "alpha": "number of at least 0", "beta": "positive number",
        "effective_parameters": "number of at least 0",
    }  # fmt: skip

    def _squares(self, problem: Problem) -> Squares:
        squares = super()._squares(problem)
        if squares.penalty.any():
            raise ValueError(
                "BayesianRegularization finds the penalty itself; remove l2= of layers"
            )
        return squares

    def _first(self, squares: Squares, point: Point) -> Memory:
        return {"alpha": 0.0, "beta": 1.0, "effective_parameters": float(len(squares.free))}

    def report(self, memory: Memory) -> dict[str, float]:
        names = ("mu", "alpha", "beta", "effective_parameters")
        return {name: memory[name] for name in names}

    @staticmethod
    def _weights(squares: Squares, point: Point, gamma: float) -> dict[str, float]:
        """alpha and beta for gamma effective parameters: Foresee and Hagan, (11) and (12)."""
        theta = point.theta[squares.free].astype(np.float64)
        e_w, e_d = dot(theta, theta), point.loss / squares.scale
        freedom = squares.n_residuals - gamma
        most = 1e100  # where there is no error left, or nothing to learn
        alpha = min(gamma / (2 * e_w), most) if e_w > 0 else 1.0
        beta = min(freedom / (2 * e_d), most) if e_d > 0 and freedom > 0 else 1.0
        return {"alpha": alpha, "beta": beta, "effective_parameters": gamma}

    def _normal(self, squares: Squares, point: Point, memory: Memory) -> np.ndarray:
        normal: np.ndarray = memory["beta"] * squares.normal(point.theta)
        _diagonal(normal)[...] += memory["alpha"]
        return normal

    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        squares = self._squares(problem)
        alpha: float = memory["alpha"]
        beta: float = memory["beta"]
        normal = self._normal(squares, point, memory)
        theta, gradient = (
            a[squares.free].astype(np.float64) for a in (point.theta, point.gradient)
        )
        pull = (0.5 * beta / squares.scale) * gradient + alpha * theta

        def objective(p: Point) -> float:
            w = p.theta[squares.free].astype(np.float64)
            return beta * p.loss / squares.scale + alpha * dot(w, w)

        new, memory = self._descend(problem, point, memory, squares, normal, pull, objective)
        # H / 2 is `normal` at the point before, as good as the one after it near the end. By its
        # eigenvalues e, n - 2 alpha trace(H^-1) is the sum of 1 - alpha / e, here not cancelled.
        _diagonal(normal)[...] -= alpha
        of_data = np.linalg.eigvalsh(normal)
        of_data = of_data[of_data > len(normal) * np.finfo(float).eps * of_data[-1]]  # not rounding
        gamma = float((of_data / (of_data + alpha)).sum())
        return new, memory | self._weights(squares, new, gamma)
