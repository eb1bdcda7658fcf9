"""Each full-batch trainer is its paper's method: it converges as that does.

On functions with known minima, by `nncore.minimize`.
"""

import math

import numpy as np
import pytest

import nncore
from nncore import (
    BFGS,
    LBFGS,
    ConjugateGradient,
    GradientDescent,
    OneStepSecant,
    Quickprop,
    Rprop,
    ScaledConjugateGradient,
    SteepestDescent,
    line_searches,
    minimize,
)
from nncore.trainers.conjugate_gradient import BETAS

from .smooth import ellipsoid, rosenbrock, shark

EXACT = line_searches.StrongWolfe(c1=1e-7, c2=1e-6)
VARIANTS = ("rprop-", "rprop+", "irprop-", "irprop+")


# --- Convergence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", ["powell", "powell_beale", None])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("n", range(2, 9))
def test_conjugate_gradient_of_n_variables_takes_n_steps(n, beta, restart):
    """Slopes along the line are below 1e-6 of those at its start, and their error is squared."""
    for seed in range(3):
        f, minimum = ellipsoid(n, 30, seed)
        trainer = ConjugateGradient(beta, EXACT, restart)
        found = minimize(f, np.zeros(n), trainer, iterations=n, gradient=0)
        assert np.linalg.norm(found.x - minimum) <= 1e-9 * np.linalg.norm(minimum)
        before = minimize(f, np.zeros(n), trainer, iterations=n - 1, gradient=0)
        assert np.linalg.norm(before.x - minimum) > 1e-5 * np.linalg.norm(minimum)


@pytest.mark.parametrize("trainer", [BFGS(EXACT), LBFGS(20, EXACT), OneStepSecant(EXACT)])
@pytest.mark.parametrize("n", range(2, 9))
def test_quasi_newton_of_n_variables_takes_n_steps(n, trainer):
    f, minimum = ellipsoid(n, 30)
    found = minimize(f, np.zeros(n), trainer, iterations=n, gradient=0)
    assert np.linalg.norm(found.x - minimum) <= 1e-8 * np.linalg.norm(minimum)


@pytest.mark.parametrize("n", range(2, 9))
def test_scaled_conjugate_gradient_takes_n_steps_where_lambda_is_small(n):
    f, minimum = ellipsoid(n, 30)
    trainer = ScaledConjugateGradient(lambda_=1e-15, sigma=1e-3, curvature="difference")
    found = minimize(f, np.zeros(n), trainer, iterations=n, gradient=0)
    assert np.linalg.norm(found.x - minimum) <= 1e-8 * np.linalg.norm(minimum)


# name -> evaluations for Rosenbrock in 2 and 10 variables and ellipsoids of condition 1e4 and 1e6
# in 10 variables until |g| <= 1e-6: medians of 25 starts and rotations when this was written.
# Medians of five differ from them by up to a third: after many steps the last bit of the first
# counts.
EVALUATIONS = {
    "cg_fletcher_reeves": (89, 284, 284, 1932),
    "cg_polak_ribiere": (89, 254, 316, 2388),
    "cg_hestenes_stiefel": (85, 250, 281, 2047),
    "cg_dai_yuan": (89, 281, 267, 1881),
    "cg_hager_zhang": (90, 259, 349, 2556),
    "cg_powell_beale": (73, 167, 100, 729),
    "scg": (130, 330, 195, 1713),
    "bfgs": (47, 98, 74, 105),
    "lbfgs": (45, 94, 160, 563),
    "one_step_secant": (89, 1713, None, None),  # it hangs on the last bit of each step
}


def hard_functions(seed):
    """Each with its start."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(10, 10)))
    yield from (
        (rosenbrock, np.tile([-1.2, 1.0], pairs) + 0.01 * rng.normal(size=2 * pairs))
        for pairs in (1, 5)
    )
    for condition in (1e4, 1e6):
        A = Q * np.geomspace(1, condition, 10) @ Q.T
        yield lambda x, A=A: (float(x @ A @ x), 2 * A @ x), np.ones(10)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_hard_functions(name):
    for case, median in enumerate(EVALUATIONS[name]):
        if median is None:
            continue
        needed = []
        for seed in range(5):
            f, start = list(hard_functions(seed))[case]
            found = minimize(f, start, name, iterations=5000, gradient=1e-6)
            assert found.stop_reason == "gradient" and found.gradient_norm <= 1e-6
            assert found.value <= 1e-11
            needed.append(found.evaluations)
        assert np.median(needed) <= 1.5 * median


@pytest.mark.parametrize("name", VARIANTS)
def test_rprop_does_not_mind_the_scales_of_parameters(name):
    """Shark's ellipsoid of condition 1e6, not rotated: signs of the gradient say the same."""
    found = minimize(shark, np.ones(10), Rprop(name, step_min=1e-12), iterations=300, value=1e-6)
    assert found.stop_reason == "value"
    assert found.iterations < 150


def test_quickprop_jumps_to_the_minimum_of_a_parabola():
    """The second slope gives the parabola; only lr S that is added before is not its."""
    f = lambda x: (float(x @ x), 2 * x)  # noqa: E731
    found = minimize(f, [1.0, -2.0], Quickprop(lr=0.1, decay=0, mu=10), iterations=100)
    assert found.stop_reason == "gradient" and found.iterations <= 12


def test_quickprop_on_the_ellipsoid():
    f = lambda x: (float(x @ x + 0.5 * x[0] ** 2), 2 * x + [x[0], 0])  # noqa: E731
    found = minimize(f, [3.0, 3.0], Quickprop(lr=0.1, decay=0), iterations=200)
    assert found.stop_reason == "gradient" and found.iterations <= 40


@pytest.mark.parametrize("search", ["strong_wolfe", "hager_zhang", "backtracking"])
@pytest.mark.parametrize("kind", [SteepestDescent, LBFGS, BFGS, ConjugateGradient])
def test_every_line_search_with_every_trainer(kind, search):
    f, minimum = ellipsoid(6, 20)
    found = minimize(f, np.zeros(6), kind(line_search=search), iterations=1000, gradient=1e-7)
    assert found.stop_reason == "gradient"
    assert np.linalg.norm(found.x - minimum) <= 1e-6


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gradient_descent_adapts_its_rate(momentum):
    f, minimum = ellipsoid(4, 20)
    above = lambda x: (f(x)[0] - f(minimum)[0], f(x)[1])  # noqa: E731
    trainer = GradientDescent(lr=1e3, momentum=momentum, adaptive=True)
    found = minimize(above, np.zeros(4), trainer, iterations=3000, gradient=1e-6)
    assert found.stop_reason == "gradient"
    assert np.linalg.norm(found.x - minimum) <= 1e-6


def test_gradient_descent_adapts_where_losses_are_negative():
    """4 % above the last loss is up, also of a negative one."""
    f = lambda x: (float(x @ x) - 1000, 2 * x)  # noqa: E731
    trainer = GradientDescent(lr=0.01, adaptive=True)
    found = minimize(f, [1.0, 2.0], trainer, iterations=100, gradient=1e-6)
    assert found.stop_reason == "gradient"
    assert found.iterations < 100


@pytest.mark.parametrize("scale", [1e-170, 1e-86, 1e-30, 1e6, 1e140])
@pytest.mark.parametrize("name", ["cg", "cg_hager_zhang", "cg_powell_beale", "scg", "lbfgs",
                                  "bfgs", "one_step_secant", "steepest_descent"])  # fmt: skip
def test_scales_at_the_ends_of_float64(name, scale):
    """Squares that underflow or overflow are no errors and no warnings."""
    f = lambda x: (float(x @ x), 2 * x)  # noqa: E731
    found = minimize(f, [scale, -scale / 7], name, gradient=0, iterations=40)
    assert np.isfinite(found.x).all()
    assert abs(found.x).max() <= scale
    assert not 1e-100 < scale < 1e100 or abs(found.x).max() <= 1e-4 * scale


@pytest.mark.parametrize("name", ["cg", "scg", "lbfgs", "bfgs", "one_step_secant"])
def test_at_the_minimum_it_ends(name):
    """Rounding lets no step down, and no trainer goes on for ever."""
    f, _ = ellipsoid(5, 100)
    g = lambda x: (f(x)[0] + 1e6, f(x)[1])  # noqa: E731
    found = minimize(g, np.zeros(5), name, gradient=0, iterations=3000)
    assert found.stop_reason == "minimum" or found.gradient_norm == 0
    assert found.gradient_norm < 1e-3


# --- minimize -------------------------------------------------------------------------------------


def test_minimize_counts_and_says_why():
    calls = []
    f = lambda x: calls.append(x.copy()) or rosenbrock(x)  # noqa: E731
    start = np.array([-1.2, 1.0])
    found = minimize(f, start, "lbfgs")
    assert found.evaluations == len(calls) and found.stop_reason == "gradient"
    np.testing.assert_array_equal(start, [-1.2, 1.0])
    assert found.value == rosenbrock(found.x)[0]
    assert minimize(rosenbrock, start, iterations=3)[3:] == (3, 5, "iterations")
    found = minimize(rosenbrock, start, value=0.5)
    assert found.stop_reason == "value" and found.value <= 0.5
    assert minimize(rosenbrock, np.ones(2))[3:] == (0, 1, "gradient")


def test_minimize_with_a_function_that_ends_to_be_finite():
    log = lambda x: (-math.log(x[0]) + x[0] if x[0] > 0 else math.nan, [1 - 1 / x[0]])  # noqa: E731
    for name in ("cg", "cg_hager_zhang", "scg", "lbfgs", "bfgs", "one_step_secant"):
        found = minimize(log, [0.01], name)
        assert found.x[0] == pytest.approx(1, abs=1e-6), name
    found = minimize(lambda x: (1 - x[0] if x[0] < 9 else math.nan, [-1.0]), [0.0], "quickprop")
    assert not math.isfinite(found.value) and found.stop_reason == "not_finite"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((lambda x: (math.nan, x), [1.0]), FloatingPointError, "the function is nan at the start"),
        ((lambda x: (0.0, [math.inf]), [1.0]), FloatingPointError, "or its gradient is"),
        ((lambda x: (0.0, [1.0, 2.0]), [1.0]), ValueError, r"must have shape \(1,\), got \(2,\)"),
        ((rosenbrock, [[1.0, 2.0]]), ValueError, r"x must be a vector, got shape \(1, 2\)"),
        ((rosenbrock, 3.0), ValueError, "x must be a vector"),
        ((rosenbrock, [1.0, 2.0], "lm"), ValueError, 'for a function use "bfgs" or "lbfgs"'),
        ((rosenbrock, [1.0, 2.0], "bayesian"), ValueError, "needs a sum of squares"),
        ((rosenbrock, [1.0, 2.0], "adam"), ValueError, "Known: bayesian, .* Only such full-batch"),
        ((rosenbrock, [1.0, 2.0], nncore.Adam()), ValueError, r"such as nncore\.LBFGS\(\)"),
        (
            (rosenbrock, [1.0, 2.0], LBFGS),
            ValueError,
            r"is a class; write LBFGS\(\) with brackets$",
        ),
    ],
)
def test_minimize_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        minimize(*arguments)


class Mine(nncore.trainers.Trainer):
    def iterate(self, problem, point, memory):
        return problem.at(point.theta - 0.25 * point.gradient), memory


def test_a_trainer_of_ones_own_is_for_functions():
    assert minimize(lambda x: (float(x @ x), 2 * x), [8.0, -4.0], Mine()).stop_reason == "gradient"
    with pytest.raises(ValueError, match="Mine is a trainer of your own.* nncore.minimize takes"):
        nncore.Network(1, nncore.Dense(1), optimizer=Mine())


def test_public_names():
    assert nncore.minimize is minimize and nncore.Rprop is Rprop


def test_squares_that_overflow_are_no_minimum():
    def steep(x):
        return 1e200 * float(x @ x), 2e200 * x

    for name in ("lbfgs", "bfgs", "cg", "steepest_descent", "one_step_secant"):
        with pytest.raises(FloatingPointError, match="scale the inputs"):
            minimize(steep, [1.0, 2.0], name)


@pytest.mark.parametrize("wrong", [lambda x: x @ x, lambda x: (x, x), lambda x: [1.0, x]])
def test_a_function_must_return_its_value_and_its_gradient(wrong):
    with pytest.raises(TypeError, match="its value, a number, and its gradient"):
        minimize(wrong, [1.0, 2.0])
