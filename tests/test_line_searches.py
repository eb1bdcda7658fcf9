"""Line searches keep what they promise: on smooth functions, steep, flat and infinite ones."""

import math

import numpy as np
import pytest

from nncore import line_searches
from nncore.trainers.line_search import Backtracking, HagerZhang, StrongWolfe, as_line_search

SEARCHES = {
    "backtracking": Backtracking(),
    "strong_wolfe": StrongWolfe(),
    "sharp": StrongWolfe(c2=0.1),
    "exact": StrongWolfe(c1=1e-7, c2=1e-6, max_evaluations=60),
    "hager_zhang": HagerZhang(),
    "sharp_hager_zhang": HagerZhang(sigma=0.1),
}


class Along:
    """A function f(a) with slope f'(a) of one variable, as a line from 0 along 1."""

    def __init__(self, f, slope):
        self.f, self.slope, self.calls = f, slope, 0
        self.line = line_searches.line(self._both, [0.0], [1.0])

    def _both(self, x):
        self.calls += 1
        return float(self.f(x[0])), np.array([float(self.slope(x[0]))])


def polynomial(seed):
    """A quartic that goes down at 0 and up far away, with bends between."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=5) * [1, 1, 3, 3, 1]
    c[1], c[4] = -abs(c[1]) - 0.1, abs(c[4]) + 0.05
    p = np.polynomial.Polynomial(c)
    return p, p.deriv()


def waves(seed):
    rng = np.random.default_rng(seed)
    a, w, k = rng.uniform(0.1, 1), rng.uniform(1, 5), rng.uniform(0.2, 2)
    # a parabola from its minimum at k, with waves that leave the slope at 0 negative
    a = min(a, 0.9 * k / w)
    return (
        lambda x: 0.5 * (x - k) ** 2 + a * math.sin(w * x) * math.exp(-x),
        lambda x: x - k + a * (w * math.cos(w * x) - math.sin(w * x)) * math.exp(-x),
    )


def wall(x):  # -log(1 - x) - 3 x, infinite from 1 on
    return -math.log1p(-x) - 3 * x if x < 1 else math.inf


def no_number(x):
    return wall(x) if x < 1 else math.nan


def wall_slope(x):
    return 1 / (1 - x) - 3 if x < 1 else math.nan


def more_thuente(beta):  # their function 2: very flat, then steep
    return lambda a: (a + beta) ** 5 - 2 * (a + beta) ** 4, (
        lambda a: 5 * (a + beta) ** 4 - 8 * (a + beta) ** 3
    )


def scaled(pair, by, stretch=1.0):
    f, slope = pair
    return lambda x: by * f(stretch * x), lambda x: by * stretch * slope(stretch * x)


FUNCTIONS = {
    **{f"polynomial {i}": polynomial(i) for i in range(12)},
    **{f"waves {i}": waves(i) for i in range(12)},
    "wall": (wall, wall_slope),
    "NaN": (no_number, wall_slope),
    "flat at first": more_thuente(0.004),
    "very flat": scaled(waves(3), 1e-12),
    "very steep": scaled(waves(4), 1e12),
    "narrow": scaled(waves(5), 1.0, 1e6),
    "wide": scaled(waves(6), 1.0, 1e-4),
}


def is_low(line, trial, c1):
    """Armijo's condition; where losses differ by rounding only, that on the slopes."""
    start = line.start
    return trial.value <= start.value + c1 * trial.step * start.slope or (
        trial.value <= start.value + line.noise
        and trial.slope <= (2 * c1 - 1) * start.slope
    )  # fmt: skip


def assert_promised(search, line, trial):
    start = line.start
    if isinstance(search, Backtracking):
        assert trial.value <= start.value + search.c1 * trial.step * start.slope
    elif isinstance(search, StrongWolfe):
        assert is_low(line, trial, search.c1)
        assert abs(trial.slope) <= search.c2 * abs(start.slope)
    else:
        assert trial.slope >= search.sigma * start.slope
        wolfe = trial.value <= start.value + search.delta * trial.step * start.slope
        near = trial.slope <= (2 * search.delta - 1) * start.slope
        assert wolfe or near
        assert trial.value <= start.value + max(search.eps * abs(start.value), line.noise)


@pytest.mark.parametrize("first", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", SEARCHES)
def test_accepted_steps_keep_the_conditions(kind, name, first):
    along, search = Along(*FUNCTIONS[name]), SEARCHES[kind]
    trial = search(along.line, first)
    assert trial is not None and 0 < trial.step < math.inf
    assert trial.value == along.f(trial.step) and trial.slope == along.slope(trial.step)
    assert trial.point.theta[0] == trial.step
    assert along.calls <= 1 + search.max_evaluations + (kind == "backtracking")
    assert_promised(search, along.line, trial)


# Evaluations, beside that at the start, in the mean over FUNCTIONS that are scaled about 1.
@pytest.mark.parametrize(
    ("kind", "most"),
    [("backtracking", 3.5), ("strong_wolfe", 3), ("sharp", 5), ("hager_zhang", 4),
     ("sharp_hager_zhang", 6)],
)  # fmt: skip
def test_few_evaluations(kind, most):
    calls = []
    for i in range(12):
        for pair in (polynomial(i), waves(i)):
            along = Along(*pair)
            SEARCHES[kind](along.line, 1.0)
            calls.append(along.calls - 1)
    assert np.mean(calls) <= most, np.mean(calls)


def test_backtracking_needs_a_gradient_only_where_it_accepts():
    along = Along(wall, wall_slope)
    values = []
    along.line.value = lambda step: values.append(step) or wall(step)
    trial = Backtracking()(along.line, 4.0)
    assert values[-1] == trial.step and len(values) > 1
    assert along.calls == 2  # at the start and at the accepted step
    assert all(0.1 * a <= b <= 0.5 * a for a, b in zip(values, values[1:], strict=False))


def test_backtracking_goes_on_where_the_gradient_is_infinite():
    """f falls as 1 - sqrt(1 - x), upside down: at 1 the value is fine and the slope infinite."""
    f = lambda x: math.sqrt(1 - x) if x <= 1 else math.inf  # noqa: E731
    slope = lambda x: -0.5 / math.sqrt(1 - x) if x < 1 else -math.inf  # noqa: E731
    along = Along(f, slope)
    trial = Backtracking()(along.line, 1.0)
    assert trial is not None and 0 < trial.step < 1


def test_backtracking_uses_the_parabola():
    """On a parabola the second step is its minimum, if that is between 0.1 and 0.5 of the first."""
    along = Along(lambda x: (x - 0.3) ** 2, lambda x: 2 * (x - 0.3))
    assert Backtracking()(along.line, 1.0).step == pytest.approx(0.3, rel=1e-15)


def test_wolfe_finds_the_minimum_of_a_cubic_at_once():
    """(3.59) is exact for a cubic: bracketed by 0 and 2, the minimum is the next step."""
    along = Along(lambda x: x**3 - 3 * x + 1, lambda x: 3 * x * x - 3)
    trial = StrongWolfe(c1=1e-9, c2=1e-8)(along.line, 1.5)
    assert trial.step == pytest.approx(1.0, abs=1e-8)
    assert along.calls == 3


def test_hager_zhang_finds_the_minimum_of_a_parabola_by_one_secant():
    along = Along(lambda x: (x - 0.3) ** 2, lambda x: 2 * (x - 0.3))
    trial = HagerZhang(sigma=0.1)(along.line, 1.0)
    assert trial.step == pytest.approx(0.3, rel=1e-12)
    assert along.calls == 3


@pytest.mark.parametrize(
    ("f", "slope", "search", "first", "steps"),
    [
        # S2: the first secant is the new upper end, so the next goes through it and the old one
        (lambda x: -(x**3) / 3 + 1.5 * x**2 - x, lambda x: -x * x + 3 * x - 1,
         HagerZhang(delta=0.49, sigma=0.5), 1.0, [1, 1 / 2, 1 / 3]),
        # S3: likewise the lower end
        (lambda x: x**3 / 3 + x * x / 2 - x, lambda x: x * x + x - 1,
         HagerZhang(sigma=0.1), 1.5, [1.5, 0.4, 0.4 / 0.56]),
    ],
)  # fmt: skip
def test_secant_steps_of_hager_and_zhang(f, slope, search, first, steps):
    tried = []
    along = Along(lambda x: tried.append(x) or f(x), slope)
    search(along.line, first)
    np.testing.assert_allclose(tried[1:], steps, rtol=1e-12)


@pytest.mark.parametrize("kind", SEARCHES)
def test_nothing_where_the_direction_does_not_go_down(kind):
    for slope in (1.0, 0.0):
        # uphill at 0, and yet lower at 1
        along = Along(lambda x, s=slope: s * x - 10 * x * x, lambda x, s=slope: s - 20 * x)
        assert SEARCHES[kind](along.line, 1.0) is None
        assert along.calls == 1


@pytest.mark.parametrize("kind", SEARCHES)
def test_nothing_where_no_step_is_lower(kind):
    """The slope at 0 is wrong: it says down, but each step goes up, or is not finite."""
    for f, slope in (
        (lambda x: 1 + x, lambda x: -1.0 if x == 0 else 1.0),
        (lambda x: 1.0 if x == 0 else math.inf, lambda x: -1.0),
        (lambda x: 1.0 if x == 0 else math.nan, lambda x: -1.0 if x == 0 else math.nan),
    ):
        along = Along(f, slope)
        assert SEARCHES[kind](along.line, 1.0) is None
        assert along.calls <= 1 + SEARCHES[kind].max_evaluations


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_line_that_goes_down_for_ever_ends(kind):
    along = Along(lambda x: -x, lambda x: -1.0)
    trial = SEARCHES[kind](along.line, 1.0)
    assert trial is not None and trial.value < 0
    assert along.calls <= 2 + SEARCHES[kind].max_evaluations


@pytest.mark.parametrize("kind", ["strong_wolfe", "sharp", "hager_zhang"])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_with_few_evaluations_the_best_is_taken(kind, most):
    search = SEARCHES[kind]
    search = as_line_search(search.config() | {"max_evaluations": most})
    for pair in FUNCTIONS.values():
        along = Along(*pair)
        trial = search(along.line, 0.5)
        assert along.calls <= 1 + most
        if trial is not None:
            noise = max(along.line.noise, getattr(search, "eps", 0) * abs(along.line.start.value))
            assert trial.value <= along.line.start.value + noise


def test_near_the_minimum_slopes_decide():
    """Where f cannot tell any more: 1 + (x - 1)^2 1e-20 is 1 at each step."""
    for search in (StrongWolfe(c2=0.1), HagerZhang(sigma=0.1)):
        along = Along(lambda x: 1 + 1e-20 * (x - 1) ** 2, lambda x: 2e-20 * (x - 1))
        trial = search(along.line, 0.1)
        assert trial is not None and abs(trial.slope) <= 0.1 * 2e-20


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf])
def test_a_first_step_that_is_none_is_refused(kind, step):
    along = Along(*polynomial(0))
    with pytest.raises(ValueError, match="first step must be positive and finite"):
        SEARCHES[kind](along.line, step)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Backtracking(c1=0), r"c1 of Backtracking must be in \(0, 1\), got 0"),
        (lambda: Backtracking(c1=1), "c1 of Backtracking must be in"),
        (lambda: Backtracking(shrink=0.6), r"shrink of Backtracking must be in \(0, 0.5\]"),
        (lambda: Backtracking(max_evaluations=0), "max_evaluations of Backtracking must be an int"),
        (lambda: StrongWolfe(c1=0.5, c2=0.1), "c1 of StrongWolfe must be below c2, got 0.5 and"),
        (lambda: StrongWolfe(c2=1.0), r"c2 of StrongWolfe must be in \(0, 1\), got 1"),
        (lambda: StrongWolfe(c2=math.nan), "c2 of StrongWolfe must be in"),
        (lambda: StrongWolfe(c2="x"), "c2 of StrongWolfe must be a number, got 'x'"),
        (lambda: HagerZhang(delta=0.5), r"delta of HagerZhang must be in \(0, 0.5\), got 0.5"),
        (lambda: HagerZhang(sigma=0.05), r"sigma of HagerZhang must be in \[delta, 1\) with"),
        (lambda: HagerZhang(rho=1), "rho of HagerZhang must be above 1"),
        (lambda: HagerZhang(eps=-1), "eps of HagerZhang must be at least 0"),
        (lambda: HagerZhang(gamma=1), "gamma of HagerZhang must be in"),
        (lambda: HagerZhang(step=1), "HagerZhang has no argument 'step'. Known: delta, sigma"),
        (lambda: as_line_search("wolf"), 'Unknown line search \'wolf\'. Did you mean "wolfe"'),
        (lambda: as_line_search(3), "Unknown line search 3"),
        (lambda: as_line_search({"type": "Wolfe"}), "Unknown line search 'Wolfe'"),
        (lambda: line_searches.line(lambda x: (0.0, x), [1.0], [1.0, 2.0]), "must be vectors"),
        (lambda: line_searches.line(lambda x: (0.0, [1.0]), [1.0, 0.0], [1.0, 2.0]),
         r"gradient of the function must have shape \(2,\), got \(1,\)"),
    ],
)  # fmt: skip
def test_refusals(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_names_and_configs():
    assert as_line_search("wolfe") == StrongWolfe() and as_line_search("wolfe", True).c2 == 0.1
    assert as_line_search("hager_zhang", True) == HagerZhang(sigma=0.1)
    assert as_line_search("armijo") == as_line_search("backtracking", True) == Backtracking()
    for search in SEARCHES.values():
        assert as_line_search(search) is search
        assert as_line_search(search.config()) == search
        assert eval(repr(search)) == search
