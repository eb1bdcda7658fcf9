"""Each full-batch trainer does the steps of its paper, as a transcription of its formulas does.

Nothing of nncore is used in the transcriptions, which go parameter by parameter or build matrices.
"""

import math

import numpy as np
import pytest

from nncore import (
    BFGS,
    LBFGS,
    ConjugateGradient,
    GradientDescent,
    OneStepSecant,
    Quickprop,
    Rprop,
    ScaledConjugateGradient,
)
from nncore.trainers.conjugate_gradient import BETAS
from nncore.trainers.problem import Function

from .smooth import ellipsoid, rosenbrock, shark, wavy

VARIANTS = ("rprop-", "rprop+", "irprop-", "irprop+")


def path(trainer, function, x, steps):
    """The points of a trainer, from x on."""
    problem = Function(function, len(x))
    point = problem.at(np.array(x, float))
    memory = trainer.begin(problem, point, np.random.default_rng(0))
    yield point, memory
    for _ in range(steps):
        point, memory = trainer.iterate(problem, point, memory)
        yield point, memory


def points(trainer, function, x, steps):
    return np.array([point.theta for point, _ in path(trainer, function, x, steps)])


def rprop(variant, f, x, steps, start=0.1, low=1e-6, high=50.0, minus=0.5, plus=1.2):
    """Igel and Huesken 2003, algorithms 1 to 4, parameter by parameter."""
    x = np.array(x, float)
    n = len(x)
    size, last, change, E_last = [start] * n, [0.0] * n, [0.0] * n, math.inf
    yield x.copy()
    for _ in range(steps):
        E, g = f(x)
        g = [float(each) for each in g]
        for i in range(n):
            if last[i] * g[i] > 0:
                size[i] = min(size[i] * plus, high)
                change[i] = -math.copysign(size[i], g[i])
                x[i] += change[i]
                last[i] = g[i]
            elif last[i] * g[i] < 0:
                size[i] = max(size[i] * minus, low)
                if variant == "rprop-":
                    change[i] = -math.copysign(size[i], g[i])
                    x[i] += change[i]
                    last[i] = g[i]
                    continue
                if variant == "rprop+" or (variant == "irprop+" and E > E_last):
                    x[i] -= change[i]
                last[i] = 0.0
            else:
                change[i] = -math.copysign(size[i], g[i]) if g[i] else 0.0
                x[i] += change[i]
                last[i] = g[i]
        E_last = E
        yield x.copy()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("f", [rosenbrock, ellipsoid(4, 50)[0], shark])
def test_rprop_is_the_papers(variant, f):
    start = [-1.2, 1.0, 0.5, 2.0]
    want = np.array(list(rprop(variant, f, start, 150)))
    assert len(np.unique(want[:, 0])) > 20
    np.testing.assert_allclose(points(Rprop(variant), f, start, 150), want, rtol=1e-10, atol=1e-12)


def test_variants_of_rprop_differ():
    ends = [points(Rprop(variant), rosenbrock, [-1.2, 1.0], 60)[-1] for variant in VARIANTS]
    assert len({end.tobytes() for end in ends}) == 4


def test_rprop_is_torchs():
    torch = pytest.importorskip("torch")
    x = torch.tensor([-1.2, 1.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Rprop([x], lr=0.01)
    want = [x.detach().numpy().copy()]
    for _ in range(100):
        x.grad = torch.from_numpy(rosenbrock(x.detach().numpy())[1])
        optimizer.step()
        want.append(x.detach().numpy().copy())
    got = points(Rprop("irprop-", step_start=0.01), rosenbrock, want[0], 100)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


def test_rprop_draws_its_first_steps():
    rprop = Rprop(step_start=(0.01, 0.3))
    point, memory = next(path(rprop, shark, np.ones(200), 0))
    assert memory["steps"].min() >= 0.01 and memory["steps"].max() <= 0.3
    assert memory["steps"].std() == pytest.approx(0.29 / 12**0.5, rel=0.1)


def quickprop(f, x, steps, lr, mu, decay):
    """Fahlman's program of 1988, parameter by parameter: S is the slope dE/dw."""
    x = np.array(x, float)
    shrink = mu / (1 + mu)
    d, last = [0.0] * len(x), [0.0] * len(x)
    yield x.copy()
    for _ in range(steps):
        g = f(x)[1]
        for i in range(len(x)):
            S = g[i] + decay * x[i]
            step = 0.0
            if d[i] > 0:
                step -= lr * S if S < 0 else 0.0
                step += mu * d[i] if S <= shrink * last[i] else d[i] * S / (last[i] - S)
            elif d[i] < 0:
                step -= lr * S if S > 0 else 0.0
                step += mu * d[i] if S >= shrink * last[i] else d[i] * S / (last[i] - S)
            else:
                step -= lr * S
            x[i], d[i], last[i] = x[i] + step, step, S
        yield x.copy()


@pytest.mark.parametrize(("lr", "mu", "decay"), [(0.002, 1.75, 0), (0.01, 1.2, 1e-2)])
def test_quickprop_is_fahlmans(lr, mu, decay):
    f = lambda x: (0.0, np.tanh(x - [1, -1, 0.5]) + 0.1 * np.sin(5 * x))  # noqa: E731
    want = np.array(list(quickprop(f, [3.0, 2.0, -1.0], 40, lr, mu, decay)))
    got = points(Quickprop(lr, mu, decay), f, want[0], 40)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_quickprop_where_the_slope_stays():
    """On a straight line the parabola has no minimum: the change grows by mu, and is a number."""
    f = lambda x: (float(x.sum()), np.ones_like(x))  # noqa: E731
    got = np.diff(points(Quickprop(lr=1, mu=1e17, decay=0), f, [0.0], 3)[:, 0])
    np.testing.assert_allclose(got, [-1, -1e17, -1e34], rtol=1e-12)


def test_gradient_descent_is_matlabs():
    f, _ = ellipsoid(3, 5)
    x, change, want = np.ones(3), 0.0, [np.ones(3)]
    for _ in range(50):
        change = 0.8 * change - 0.2 * 0.05 * f(x)[1]
        x = x + change
        want.append(x)
    got = points(GradientDescent(0.05, momentum=0.8), f, np.ones(3), 50)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_adaptive_gradient_descent_is_matlabs():
    f, minimum = ellipsoid(3, 50)
    g = lambda x: (f(x)[0] - f(minimum)[0], f(x)[1])  # noqa: E731
    x, lr, change, want, refused = np.ones(3), 0.02, 0.0, [np.ones(3)], 0
    for _ in range(80):
        step = 0.9 * change - 0.1 * lr * g(x)[1]
        before, after = g(x)[0], g(x + step)[0]
        if after > 1.04 * before:
            lr, change, refused = 0.7 * lr, 0.0, refused + 1
        else:
            x, change = x + step, step
            lr *= 1.05 if after < before else 1
        want.append(x)
    assert refused > 2
    got = points(GradientDescent(0.02, 0.9, True), g, np.ones(3), 80)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def moller(f, x, steps, sigma0=5e-5, lam=5e-7):
    """Scaled conjugate gradient, Moller 1993, section 4, steps 1 to 9."""
    x, n = np.array(x, float), len(x)
    lam_bar, success, k = 0.0, True, 1
    r = p = -f(x)[1]
    yield x.copy()
    accepted = 0
    while accepted < steps:
        if p @ r <= 0:  # nncore's own: a direction that goes up is left
            p, k = r, 1
        p2 = p @ p
        if success:
            sigma = sigma0 / p2**0.5
            s = (f(x + sigma * p)[1] - f(x)[1]) / sigma
            delta = p @ s
        delta += (lam - lam_bar) * p2
        if delta <= 0:
            lam_bar = 2 * (lam - delta / p2)
            delta = -delta + lam * p2
            lam = lam_bar
        mu = p @ r
        alpha = mu / delta
        comparison = 2 * delta * (f(x)[0] - f(x + alpha * p)[0]) / mu**2
        if comparison >= 0:
            x = x + alpha * p
            r_new = -f(x)[1]
            lam_bar, success, accepted = 0.0, True, accepted + 1
            p = r_new if k % n == 0 else r_new + (r_new @ r_new - r_new @ r) / mu * p
            r, k = r_new, k + 1
            if comparison >= 0.75:
                lam /= 4
            yield x.copy()
        else:
            lam_bar, success = lam, False
        if comparison < 0.25:
            lam += delta * (1 - comparison) / p2


@pytest.mark.parametrize(("f", "steps"), [(rosenbrock, 12), (wavy, 10)])
def test_scaled_conjugate_gradient_is_mollers(f, steps):
    start = [0.3, -1.1, 0.15]
    want = np.array(list(moller(f, start, steps)))
    trainer = ScaledConjugateGradient(curvature="difference")
    np.testing.assert_allclose(points(trainer, f, start, steps), want, rtol=1e-5, atol=1e-7)


def bfgs_matrix(pairs, H):
    """(6.17) of Nocedal and Wright for each pair, as written."""
    for s, y in pairs:
        rho, eye = 1 / (s @ y), np.eye(len(s))
        H = (eye - rho * np.outer(s, y)) @ H @ (eye - rho * np.outer(y, s)) + rho * np.outer(s, s)
    return H


def pairs_of(run):
    theta = [point.theta for point, _ in run]
    gradient = [point.gradient for point, _ in run]
    return list(zip(np.diff(theta, axis=0), np.diff(gradient, axis=0), strict=True))


def test_bfgs_matrix_is_617():
    run = list(path(BFGS(), rosenbrock, [-1.2, 1.0, 0.3], 8))
    pairs = pairs_of(run)
    s, y = pairs[0]
    want = bfgs_matrix(pairs, np.eye(3) * (s @ y) / (y @ y))
    H = run[-1][1]["H"]
    np.testing.assert_allclose(H, want, rtol=1e-9, atol=1e-12 * abs(want).max())
    np.testing.assert_allclose(H @ pairs[-1][1], pairs[-1][0], rtol=1e-9)  # the secant equation


@pytest.mark.parametrize("memory", [1, 3, 10])
def test_lbfgs_direction_is_that_of_the_matrix(memory):
    trainer = LBFGS(memory)
    run = list(path(trainer, rosenbrock, [-1.2, 1.0, 0.3, -0.4], 8))
    point, kept = run[-1]
    pairs = pairs_of(run)[-memory:]
    assert len(kept["s"]) == min(memory, 8)
    s, y = pairs[-1]
    H = bfgs_matrix(pairs, np.eye(4) * (s @ y) / (y @ y))
    got = trainer._direction(point, kept)
    np.testing.assert_allclose(got, -H @ point.gradient, rtol=1e-8)


def test_one_step_secant_is_memoryless_bfgs():
    trainer = OneStepSecant()
    run = list(path(trainer, rosenbrock, [-1.2, 1.0, 0.3, -0.4], 5))
    point, kept = run[-1]
    H = bfgs_matrix(pairs_of(run)[-1:], np.eye(4))
    np.testing.assert_allclose(trainer._direction(point, kept), -H @ point.gradient, rtol=1e-9)


FORMULAS = {
    "fletcher_reeves": lambda g, h, y, d: h @ h / (g @ g),
    "polak_ribiere": lambda g, h, y, d: max(0, h @ y / (g @ g)),
    "hestenes_stiefel": lambda g, h, y, d: h @ y / (d @ y),
    "dai_yuan": lambda g, h, y, d: h @ h / (d @ y),
    "hager_zhang": lambda g, h, y, d: max(
        (y - 2 * d * (y @ y) / (d @ y)) @ h / (d @ y),
        -1 / (np.linalg.norm(d) * min(0.01, np.linalg.norm(g))),
    ),
}


@pytest.mark.parametrize("beta", FORMULAS)
def test_betas_of_any_gradients(beta):
    rng = np.random.default_rng(0)
    found = set()
    for scale in (0.003, 0.05, 1.0):  # below and above 0.01, which (1.6) of Hager and Zhang has
        for _ in range(50):
            g, h, d = scale * rng.normal(size=(3, 4))
            want = FORMULAS[beta](g, h, h - g, d)
            assert BETAS[beta](g, h, h - g, d) == pytest.approx(want, rel=1e-9)
            found.add(want)
    assert len(found) > 50


@pytest.mark.parametrize("beta", FORMULAS)
def test_conjugate_directions(beta):
    """Without Powell's restart: each direction is beta d - g', or -g' after n steps."""
    run = list(path(ConjugateGradient(beta, restart=None), wavy, [0.3, -1.1, 0.15, 0.6], 9))
    fresh = conjugate = 0
    for (p, memory), (q, after) in zip(run[1:], run[2:], strict=False):
        g, h, d = p.gradient, q.gradient, memory["direction"]
        want = FORMULAS[beta](g, h, h - g, d) * d - h
        if after["age"] == 0:
            fresh += 1
            assert memory["age"] == 3 or want @ h >= 0
            want = -h
        else:
            conjugate += 1
        np.testing.assert_allclose(after["direction"], want, rtol=1e-12)
    assert fresh and conjugate > 3


def test_powells_restart():
    run = list(path(ConjugateGradient(), rosenbrock, [-1.2, 1.0, 0.7], 30))
    restarts = 0
    for (p, _), (q, after) in zip(run[1:], run[2:], strict=False):
        if abs(p.gradient @ q.gradient) >= 0.2 * (q.gradient @ q.gradient):
            restarts += 1
            np.testing.assert_array_equal(after["direction"], -q.gradient)
    assert restarts > 3


def test_powell_beale_keeps_the_direction_of_its_last_restart():
    """Powell 1977: each direction is -g' + beta d + gamma d_t, with t the last restart."""
    trainer = ConjugateGradient("hestenes_stiefel", restart="powell_beale")
    run = list(path(trainer, rosenbrock, [-1.2, 1.0] * 4, 60))
    three = two = 0
    t = None
    for (p, memory), (q, after) in zip(run[1:], run[2:], strict=False):
        g, h, d = p.gradient, q.gradient, memory["direction"]
        y = h - g
        want = FORMULAS["hestenes_stiefel"](g, h, y, d) * d - h
        assert after["age"] > 0
        if after["age"] == 1:
            t, two = (d, y), two + 1
        elif t is not None:
            three += 1
            want = want + (h @ t[1]) / (t[0] @ t[1]) * t[0]
            assert abs(g @ h) < 0.2 * (h @ h)
            assert -1.2 * (h @ h) <= want @ h <= -0.8 * (h @ h)
        if t is not None:
            np.testing.assert_array_equal(after["restart_direction"], t[0])
        np.testing.assert_allclose(after["direction"], want, rtol=1e-10)
    assert three > 10 and two > 3
