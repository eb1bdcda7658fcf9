"""Line searches, public as `nncore.line_searches`: how far to go along a direction.

In the comments f(a) is the loss at ``theta + a d``, f'(a) its slope along d.
"""

import abc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..described import Described
from .problem import Function, Point, Problem, dot, norm


class Trial(NamedTuple):
    """A step along a line: the loss f(step), its slope f'(step), and the `Point` there."""

    step: float
    value: float
    slope: float
    point: Point

    def is_finite(self) -> bool:
        """Whether the loss and the slope are."""
        return math.isfinite(self.value) and math.isfinite(self.slope)


class Line:
    """A problem along a direction from a point.

    Attributes
    ----------
    start : Trial
        The step 0.
    noise : float
        How far two losses here may differ by rounding alone.
    finest : float
        Steps that differ by less lead to the same parameters, but for rounding.
    """

    def __init__(self, problem: Problem, point: Point, direction: np.ndarray):
        self._problem, self._direction = problem, direction
        self.start = Trial(0.0, point.loss, dot(point.gradient, direction), point)
        self.noise = problem.eps * abs(point.loss)

    @property
    def finest(self) -> float:
        length = norm(self._direction)
        return self._problem.eps * norm(self.start.point.theta) / length if length else math.inf

    def is_above(self, a: Trial, b: Trial) -> bool:
        """Whether the loss of trial a is above that of b, by more than rounding."""
        noise = self._problem.eps * max(abs(self.start.value), abs(b.value))
        return a.value >= b.value + noise

    def _theta(self, step: float) -> np.ndarray:
        change = self._problem.dtype.type(step) * self._direction
        theta: np.ndarray = self.start.point.theta + change
        return theta

    def at(self, step: float) -> Trial:
        """Return the `Trial` at a step."""
        point = self._problem.at(self._theta(step))
        return Trial(step, point.loss, dot(point.gradient, self._direction), point)

    def value(self, step: float) -> float:
        """Return the loss alone."""
        return self._problem.value(self._theta(step))


def line(
    function: "Callable[[np.ndarray], tuple[float, ArrayLike]]",
    x: "ArrayLike",
    direction: "ArrayLike",
) -> Line:
    """Return the `Line` of a function from x along a direction.

    Parameters
    ----------
    function : callable
        ``function(x) -> (value, gradient)`` for a float64 vector x, as for `nncore.minimize`.
    x, direction : array_like, shape (n,)

    Examples
    --------
    >>> from nncore import line_searches
    >>> line = line_searches.line(lambda x: (float(x @ x), 2 * x), [3.0], [-1.0])
    >>> line.start.slope, line.at(3.0).value
    (-6.0, 0.0)
    """
    x, direction = np.array(x, float), np.array(direction, float)
    if x.ndim != 1 or direction.shape != x.shape:
        raise ValueError(f"x and direction must be vectors of one length, got {x.shape} and "
                         f"{direction.shape}")  # fmt: skip
    problem = Function(function, len(x))
    return Line(problem, problem.at(x), direction)


def ours(thing: Described) -> type[Described]:
    """The class of this package that a thing is, if it is of a subclass."""
    kinds = type(thing).__mro__
    return next(kind for kind in kinds if kind.__module__.startswith("nncore."))


class LineSearch(Described, abc.ABC):
    """Base of the line searches.

    Parameters
    ----------
    max_evaluations : int
        After so many the best step found is taken, if it is one down.
    """

    def check(self) -> None:
        own = self._arguments.items()
        self._to_floats(*(name for name, default in own if type(default) is float))
        self._check_counts("max_evaluations")

    def _check_between(self, low: float, *names: str) -> None:
        """That 0 < the first <= the second < 1, or so."""
        for name in names:
            value = getattr(self, name)
            if not low <= value < 1 or value == 0:
                raise self._refusal(name, f"in [{low:g}, 1)" if low else "in (0, 1)")

    def __call__(self, line: Line, step: float) -> Trial | None:
        """Return the `Trial` that is accepted, or None; `step` is the first one tried."""
        if not 0 < step < math.inf:
            raise ValueError(f"the first step must be positive and finite, got {step!r}")
        return self._search(line, step) if line.start.slope < 0 else None

    @abc.abstractmethod
    def _search(self, line: Line, step: float) -> Trial | None:
        """The search where the line goes down at its start."""

    def config(self) -> dict[str, Any]:
        """Return what makes this object again, as JSON values."""
        return {"type": ours(self).__name__, **self._shown(ours(self))}


class Backtracking(LineSearch):
    """Backtracking to the condition of Armijo (1966).

    Accepted is the first step with ``f(a) <= f(0) + c1 a f'(0)``. After a refusal the next step is
    the minimum of the parabola through f(0), f'(0) and f(a), held between ``shrink`` and half of
    ``a`` (Dennis and Schnabel 1983, section 6.3.2). Only the accepted step costs a gradient.

    Parameters
    ----------
    c1 : float, default 1e-4
    shrink : float, default 0.1
        In (0, 0.5].
    max_evaluations : int, default 30

    Examples
    --------
    >>> import nncore
    >>> nncore.SteepestDescent(line_search=nncore.line_searches.Backtracking(c1=0.01))
    SteepestDescent(line_search=Backtracking(c1=0.01, shrink=0.1, max_evaluations=30))
    """

    c1: float = 1e-4
    shrink: float = 0.1
    max_evaluations: int = 30

    def check(self) -> None:
        super().check()
        self._check_between(0, "c1")
        if not 0 < self.shrink <= 0.5:
            raise self._refusal("shrink", "in (0, 0.5]")

    def _search(self, line: Line, step: float) -> Trial | None:
        start = line.start
        for _ in range(self.max_evaluations):
            value = line.value(step)
            if start.value > value <= start.value + self.c1 * step * start.slope:
                trial = line.at(step)
                if trial.is_finite():
                    return trial
            bend = 2 * (value - start.value - step * start.slope)  # f'' a^2 of the parabola
            ratio = -start.slope * step / bend if bend > 0 and math.isfinite(bend) else 0.0
            step *= min(max(ratio, self.shrink), 0.5)
        return None


class StrongWolfe(LineSearch):
    """The strong conditions of Wolfe (1969): ``|f'(a)| <= c2 |f'(0)|`` too, not only Armijo's.

    Nocedal and Wright 2006, algorithms 3.5 and 3.6, with cubic interpolation (3.59). Near a
    minimum, where losses differ by rounding only, Armijo's condition is replaced by the one on
    slopes of Hager and Zhang 2005, (4.3).

    Parameters
    ----------
    c1 : float, default 1e-4
    c2 : float, default 0.9
        In (c1, 1). Small, such as 0.1, for conjugate gradient; 0.9 for methods of Newton's kind,
        whose step 1 is good.
    max_evaluations : int, default 25

    Examples
    --------
    >>> from nncore import line_searches
    >>> line = line_searches.line(lambda x: (float(x @ x), 2 * x), [3.0], [-1.0])
    >>> line_searches.StrongWolfe(c2=0.1)(line, 1.0).step
    3.0
    """

    c1: float = 1e-4
    c2: float = 0.9
    max_evaluations: int = 25

    def check(self) -> None:
        super().check()
        self._check_between(0, "c1", "c2")
        if self.c1 >= self.c2:
            raise ValueError(f"c1 of StrongWolfe must be below c2, got {self.c1} and {self.c2}")

    def _is_low(self, line: Line, trial: Trial) -> bool:
        """Whether a trial is far enough down, which one with the same loss is not."""
        start = line.start
        if start.value > trial.value <= start.value + self.c1 * trial.step * start.slope:
            return True
        return (
            trial.value <= start.value + line.noise
            and trial.slope <= (2 * self.c1 - 1) * start.slope
        )

    def _is_flat(self, line: Line, trial: Trial) -> bool:
        return abs(trial.slope) <= -self.c2 * line.start.slope

    def _search(self, line: Line, step: float) -> Trial | None:  # algorithm 3.5
        before = line.start
        for tried in range(self.max_evaluations):
            trial = line.at(step)
            if (
                not trial.is_finite()
                or not self._is_low(line, trial)
                or (before is not line.start and line.is_above(trial, before))
            ):
                return self._zoom(line, before, trial, self.max_evaluations - tried - 1)
            if self._is_flat(line, trial):
                return trial
            if trial.slope >= 0:
                return self._zoom(line, trial, before, self.max_evaluations - tried - 1)
            far = step - before.step
            least = (0.1, 1.0, 3.0)[min(tried, 2)] * far  # the third time it is no parabola
            step = _between(_cubic(before, trial), step + least, step + 4 * far)
            before = trial
        return before

    def _zoom(
        self, line: Line, low: Trial, high: Trial, left: int
    ) -> Trial | None:  # algorithm 3.6
        """Between `low`, the best so far, and `high`, the other end."""
        width = math.inf
        for _ in range(left):
            wanted = _cubic(low, high) if high.is_finite() else low.step
            gap = high.step - low.step
            ends = low.step + 0.1 * gap, high.step - 0.1 * gap
            step = _between(wanted, min(ends), max(ends))
            if abs(gap) > 0.66 * width:  # the last one did not narrow it enough
                step = low.step + gap / 2
            width = abs(gap)
            if abs(gap) <= line.finest or step in (low.step, high.step):
                break
            trial = line.at(step)
            if (
                not trial.is_finite()
                or not self._is_low(line, trial)
                or (low is not line.start and line.is_above(trial, low))
            ):
                high = trial
                continue
            if self._is_flat(line, trial):
                return trial
            if trial.slope * gap >= 0:
                high = low
            low = trial
        return low if low is not line.start else None


def _between(x: float, low: float, high: float) -> float:
    return low if not x >= low else min(x, high)


def _cubic(a: Trial, b: Trial) -> float:
    """The minimum of the cubic through two trials (Nocedal and Wright 3.59); NaN if none."""
    if a.step == b.step:
        return a.step
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step)
    under = d1 * d1 - a.slope * b.slope
    if not under >= 0:
        return math.nan
    d2 = math.copysign(math.sqrt(under), b.step - a.step)
    below = b.slope - a.slope + 2 * d2
    return b.step - (b.step - a.step) * (b.slope + d2 - d1) / below if below else math.nan


class HagerZhang(LineSearch):
    """The approximate Wolfe conditions of CG_DESCENT (Hager and Zhang 2005, section 4).

    Accepted is a step with Wolfe's conditions ``f(a) <= f(0) + delta a f'(0)`` and
    ``f'(a) >= sigma f'(0)``, or with ``(2 delta - 1) f'(0) >= f'(a) >= sigma f'(0)`` where f(a) is
    at most ``f(0) + eps |f(0)|``: that one can be met to the last digit. The names below are those
    of the paper.

    Parameters
    ----------
    delta : float, default 0.1
        In (0, 0.5).
    sigma : float, default 0.9
        In [delta, 1).
    eps : float, default 1e-6
        Relative increase of the loss that counts as none.
    theta : float, default 0.5
        Where an interval is cut whose end goes uphill.
    gamma : float, default 0.66
        An interval that shrank by less is halved.
    rho : float, default 5.0
        How fast a step grows until the minimum is bracketed, > 1.
    max_evaluations : int, default 50

    Examples
    --------
    >>> from nncore import line_searches
    >>> line = line_searches.line(lambda x: (float(x @ x), 2 * x), [3.0], [-1.0])
    >>> line_searches.HagerZhang(sigma=0.1)(line, 2.0).step
    3.0
    """

    delta: float = 0.1
    sigma: float = 0.9
    eps: float = 1e-6
    theta: float = 0.5
    gamma: float = 0.66
    rho: float = 5.0
    max_evaluations: int = 50

    def check(self) -> None:
        super().check()
        self._check_between(0, "delta", "sigma", "theta", "gamma")
        self._check_not_negative("eps")
        if not self.delta < 0.5:
            raise self._refusal("delta", "in (0, 0.5)")
        if self.sigma < self.delta:
            raise self._refusal("sigma", f"in [delta, 1) with delta={self.delta}")
        if not (self.rho > 1 and math.isfinite(self.rho)):
            raise self._refusal("rho", "above 1")

    def _search(self, line: Line, step: float) -> Trial | None:
        return _HagerZhang(self, line).search(step)


class _Found(Exception):
    """A trial that is accepted ends the search wherever it is met."""


class _HagerZhang:
    """One search; a, b, c and theta as in the paper."""

    def __init__(self, rule: HagerZhang, line: Line):
        self.rule, self.line, self.start = rule, line, line.start
        self.most = line.start.value + max(rule.eps * abs(line.start.value), line.noise)
        self.left = rule.max_evaluations
        self.best: Trial | None = None
        self.accepted: Trial | None = None

    def search(self, step: float) -> Trial | None:
        try:
            a, b = self._bracket(step)
            while True:
                width = b.step - a.step
                a, b = self._secant2(a, b)  # L1
                if b.step - a.step > self.rule.gamma * width:  # L2
                    a, b = self._update(a, b, (a.step + b.step) / 2)
                if not b.step - a.step < width or width <= self.line.finest:
                    raise _Found
        except _Found:
            lower = self.best is not None and self.best.value < self.start.value
            return self.accepted or (self.best if lower else None)

    def _at(self, step: float) -> Trial:
        if self.left == 0:
            raise _Found
        self.left -= 1
        trial, start, rule = self.line.at(step), self.start, self.rule
        if trial.is_finite() and trial.value <= self.most:
            if self.best is None or trial.value < self.best.value:
                self.best = trial
            wolfe = start.value > trial.value <= start.value + rule.delta * step * start.slope  # T1
            near = trial.slope <= (2 * rule.delta - 1) * start.slope  # T2
            if (wolfe or near) and trial.slope >= rule.sigma * start.slope:
                self.accepted = trial
                raise _Found
        return trial

    def _bracket(self, step: float) -> tuple[Trial, Trial]:
        low = self.start
        while True:
            trial = self._at(step)
            if trial.is_finite() and trial.slope >= 0:  # B1
                return low, trial
            if not trial.is_finite() or trial.value > self.most:  # B2
                return self._cut(self.start if not trial.is_finite() else low, trial)
            low, step = trial, self.rule.rho * step  # B3

    def _cut(self, a: Trial, b: Trial) -> tuple[Trial, Trial]:  # U3
        """a goes down, b lies too high: an interval between them whose end goes up."""
        while True:
            d = self._at((1 - self.rule.theta) * a.step + self.rule.theta * b.step)
            if not d.is_finite():
                b = d
            elif d.slope >= 0:
                return a, d
            elif d.value <= self.most:
                a = d
            else:
                b = d

    def _update(self, a: Trial, b: Trial, step: float) -> tuple[Trial, Trial]:  # U0 to U3
        if not a.step < step < b.step:
            return a, b
        c = self._at(step)
        if not c.is_finite():
            return self._cut(a, c)
        if c.slope >= 0:
            return a, c
        return (c, b) if c.value <= self.most else self._cut(a, c)

    def _secant2(self, a: Trial, b: Trial) -> tuple[Trial, Trial]:
        c = _secant(a, b)
        low, high = self._update(a, b, c)  # S1
        again = math.nan
        if c == high.step:
            again = _secant(b, high)  # S2
        elif c == low.step:
            again = _secant(a, low)  # S3
        return self._update(low, high, again)  # S4: outside, it changes nothing


def _secant(a: Trial, b: Trial) -> float:
    below = b.slope - a.slope
    return (a.step * b.slope - b.step * a.slope) / below if below else math.nan


SEARCHES = {kind.__name__: kind for kind in (Backtracking, StrongWolfe, HagerZhang)}
"""By the names that files use."""

_KINDS = tuple(SEARCHES.values())
_BY_NAME: dict[str, Callable[..., LineSearch]] = {
    "backtracking": Backtracking, "armijo": Backtracking, "strong_wolfe": StrongWolfe,
    "wolfe": StrongWolfe, "hager_zhang": HagerZhang,
}  # fmt: skip


def as_line_search(search: Any, sharp: bool = False) -> LineSearch:
    """Return a `LineSearch` from one, its name, or its config.

    sharp: what a name stands for goes near the minimum along the line, as conjugate gradient needs.
    """
    if isinstance(search, _KINDS):
        return search
    from .. import names

    if isinstance(search, dict):
        search = dict(search)
        name = names.look_up("line search", search.pop("type", None), SEARCHES)
        return SEARCHES[name](**search)
    kind = _BY_NAME[names.look_up("line search", search, _BY_NAME)]
    return kind(**_SHARP.get(kind, {})) if sharp else kind()


_SHARP: dict[Any, dict[str, float]] = {StrongWolfe: {"c2": 0.1}, HagerZhang: {"sigma": 0.1}}
