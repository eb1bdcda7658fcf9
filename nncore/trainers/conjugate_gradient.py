"""Conjugate gradient, with a line search, and scaled, without one."""

import math
from typing import Any

import numpy as np

from .base import Memory, Trainer, no_lower
from .line_search import Line, Trial, as_line_search
from .problem import Point, Problem, dot, norm


def _ratio(a: float, b: float) -> float:
    return a / b if b else 0.0


def _fletcher_reeves(g: np.ndarray, new: np.ndarray, y: np.ndarray, d: np.ndarray) -> float:
    return _ratio(dot(new, new), dot(g, g))


def _polak_ribiere(g: np.ndarray, new: np.ndarray, y: np.ndarray, d: np.ndarray) -> float:
    return max(0.0, _ratio(dot(new, y), dot(g, g)))


def _hestenes_stiefel(g: np.ndarray, new: np.ndarray, y: np.ndarray, d: np.ndarray) -> float:
    return _ratio(dot(new, y), dot(d, y))


def _dai_yuan(g: np.ndarray, new: np.ndarray, y: np.ndarray, d: np.ndarray) -> float:
    return _ratio(dot(new, new), dot(d, y))


def _hager_zhang(g: np.ndarray, new: np.ndarray, y: np.ndarray, d: np.ndarray) -> float:
    dy = dot(d, y)
    beta = _ratio(dot(y, new) - 2 * dot(y, y) * _ratio(dot(d, new), dy), dy)  # (1.3)
    least = -1 / (norm(d) * min(0.01, norm(g)))  # (1.6)
    return max(beta, least)


BETAS = {
    "fletcher_reeves": _fletcher_reeves,
    "polak_ribiere": _polak_ribiere,
    "hestenes_stiefel": _hestenes_stiefel,
    "dai_yuan": _dai_yuan,
    "hager_zhang": _hager_zhang,
}
"""name -> beta of the gradients g and `new`, y = new - g, and the direction d that led there."""


class ConjugateGradient(Trainer):
    """Nonlinear conjugate gradient with a line search.

    ``d = -g`` at first, then ``d = -g' + beta d``, where g and g' are the gradients before and
    after the step along d, and ``y = g' - g``:

    * "fletcher_reeves" (1964): ``g'.g' / g.g``
    * "polak_ribiere" (1969), not below 0 (Powell 1984): ``g'.y / g.g``
    * "hestenes_stiefel" (1952): ``g'.y / d.y``
    * "dai_yuan" (1999): ``g'.g' / d.y``
    * "hager_zhang" (2005), (1.3) and (1.6):
      ``(y - 2 d y.y / d.y).g' / d.y``, at least ``-1 / (|d| min(0.01, |g|))``

    It starts again with ``d = -g'`` after as many steps as parameters are trained, where d does not
    go down, and as `restart` says.

    Parameters
    ----------
    beta : str, default "polak_ribiere"
    line_search : str or LineSearch, default "strong_wolfe"
        Or "hager_zhang", "backtracking", or one of `nncore.line_searches`. By name the first two
        are sharp: ``StrongWolfe(c2=0.1)``, ``HagerZhang(sigma=0.1)``.
    restart : {None, "powell", "powell_beale"}, default None
        "powell" (1977): where ``|g.g'| >= 0.2 g'.g'``. "powell_beale": there it goes on from the
        direction d_t that it has, and adds ``gamma d_t`` to each d that follows,
        ``gamma = g'.y_t / d_t.y_t`` (Beale 1972); also where d is far from -g'.

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(
    ...     2, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"), seed=0, optimizer="cg")
    >>> history = net.fit(X, y, epochs=100, verbose=False)
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    beta: str = "polak_ribiere"
    line_search: Any = "strong_wolfe"
    restart: str | None = None

    _remembers = {
        "direction": "vector", "age": "count", "fall": "number", "step": "number",
        "restart_direction": "vector", "restart_change": "vector",
    }  # fmt: skip
    _sometimes = frozenset(("restart_direction", "restart_change"))

    def check(self) -> None:
        self._check_choice("beta", tuple(BETAS))
        self._check_choice("restart", (None, "powell", "powell_beale"))
        vars(self)["line_search"] = as_line_search(self.line_search, sharp=True)

    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        if not memory or not _goes_down(point.gradient, memory["direction"]):
            memory = _fresh(point)
        trial = self._search(problem, point, memory)
        if trial is None and memory["age"] > 0:
            memory = _fresh(point)
            trial = self._search(problem, point, memory)
        if trial is None:
            raise no_lower(point)
        return trial.point, self._next(problem, point, trial, memory)

    def _search(self, problem: Problem, point: Point, memory: Memory) -> Trial | None:
        line = Line(problem, point, memory["direction"])
        if not line.start.slope < 0:
            return None
        if memory.get("fall", 0.0) < 0:  # as much down as before: Nocedal and Wright, after (3.60)
            most = max(1.0, memory["step"])
            first = min(1.01 * 2 * memory["fall"] / line.start.slope, most)
        else:
            first = min(1.0, 1 / norm(point.gradient))
        trial: Trial | None = self.line_search(line, first or 1.0)
        return trial

    def _next(self, problem: Problem, point: Point, trial: Trial, memory: Memory) -> Memory:
        g, new, d = point.gradient, trial.point.gradient, memory["direction"]
        y, square = new - g, dot(new, new)
        kept = {"fall": trial.value - point.loss, "step": trial.step, "age": memory["age"] + 1}
        far = self.restart and abs(dot(g, new)) >= 0.2 * square
        again = far or kept["age"] >= problem.n_free
        direction = BETAS[self.beta](g, new, y, d) * d - new
        if self.restart == "powell_beale":
            longer = None if again else _with_third_term(direction, new, square, memory)
            if longer is None:  # t is this step, and the next one has no third term
                kept |= {"restart_direction": d, "restart_change": y, "age": 1}
            else:
                kept |= {name: memory[name] for name in self._sometimes}
                direction = longer
            again = False
        if again or not _goes_down(new, direction):
            return {"direction": -new, "fall": kept["fall"], "step": kept["step"], "age": 0}
        return {"direction": direction, **kept}


def _with_third_term(
    direction: np.ndarray, new: np.ndarray, square: float, memory: Memory
) -> np.ndarray | None:
    """Beale's direction, or None where there is none, or it is far from -g'."""
    if "restart_direction" not in memory:
        return None
    d_t, y_t = memory["restart_direction"], memory["restart_change"]
    longer = direction + _ratio(dot(new, y_t), dot(d_t, y_t)) * d_t
    return longer if -1.2 * square <= dot(longer, new) <= -0.8 * square else None


def _fresh(point: Point) -> Memory:
    return {"direction": -point.gradient, "age": 0}


def _goes_down(gradient: np.ndarray, direction: np.ndarray) -> bool:
    slope = dot(gradient, direction)
    return math.isfinite(slope) and slope < 0


class ScaledConjugateGradient(Trainer):
    """Scaled conjugate gradient (Moller 1993): no line search, but a trust region along d.

    The curvature along the direction p is measured, and raised by lambda until it is positive and
    the loss falls as it says.

    Parameters
    ----------
    sigma : float, default 5e-5
        Distance over which a difference of gradients measures the curvature; in float32 it is at
        least 3.5e-4.
    lambda_ : float, default 5e-7
        The first lambda.
    curvature : {"exact", "difference"}, default "exact"
        "exact": a product with the Hessian (Pearlmutter 1994), at twice the time of a gradient;
        "difference": as in the paper. A registered loss has no second derivative; there it is
        always a difference. The history has ``lambda``.

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(
    ...     2, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"), seed=0, optimizer="scg")
    >>> history = net.fit(X, y, epochs=100, verbose=False)
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    sigma: float = 5e-5
    lambda_: float = 5e-7
    curvature: str = "exact"

    _remembers = {"direction": "vector", "lambda": "positive number", "age": "count"}

    def check(self) -> None:
        self._to_floats("sigma", "lambda_")
        self._check_positive("sigma", "lambda_")
        self._check_choice("curvature", ("exact", "difference"))

    def begin(self, problem: Problem, point: Point, rng: "np.random.Generator") -> Memory:
        return {"direction": -point.gradient, "lambda": self.lambda_, "age": 0}

    def report(self, memory: Memory) -> dict[str, float]:
        return {"lambda": memory["lambda"]}

    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        p, raised, age = memory["direction"], memory["lambda"], memory["age"]
        if not _goes_down(point.gradient, p):  # which the paper leaves open
            p, age = -point.gradient, 0
        square, mu = dot(p, p), -dot(p, point.gradient)
        if square == 0:
            raise no_lower(point)
        bent = dot(p, self._bent(problem, point, p))  # 2.
        for _ in range(60):
            delta = bent + raised * square  # 3.
            if delta <= 0:  # 4.
                raised = 2 * (raised - delta / square)
                delta = bent + raised * square
            alpha = mu / delta  # 5.
            theta = point.theta + problem.dtype.type(alpha) * p
            if np.array_equal(theta, point.theta):
                break
            new = problem.at(theta)
            if new.is_finite():
                comparison = 2 * delta * (point.loss - new.loss) / mu / mu  # 6.
            else:
                comparison = -1.0
            if comparison >= 0.75:  # 7.
                raised = max(raised / 4, 1e-15)
            elif comparison < 0.25:  # 8.
                raised += delta * (1 - comparison) / square
            if comparison >= 0:
                return new, self._next(problem, point, new, p, mu, raised, age + 1)
        raise no_lower(point)

    def _next(
        self,
        problem: Problem,
        point: Point,
        new: Point,
        p: np.ndarray,
        mu: float,
        raised: float,
        age: int,
    ) -> Memory:
        if age >= problem.n_free:
            return {"direction": -new.gradient, "lambda": raised, "age": 0}
        r = new.gradient
        beta = (dot(r, r) - dot(r, point.gradient)) / mu
        return {"direction": beta * p - r, "lambda": raised, "age": age}

    def _bent(self, problem: Problem, point: Point, p: np.ndarray) -> np.ndarray:
        """The Hessian times p."""
        exact = problem.curvature(point.theta, p) if self.curvature == "exact" else None
        if exact is not None:
            return exact
        least = 3.5e-4 if problem.dtype.itemsize == 4 else 0.0
        sigma = problem.dtype.type(max(self.sigma, least) / norm(p))
        near = problem.at(point.theta + sigma * p)
        bent: np.ndarray = (near.gradient - point.gradient) / sigma
        return bent
