"""Levenberg-Marquardt and Bayesian regularisation beside dense NumPy, and what they find."""

import numpy as np
import pytest

from nncore import BayesianRegularization, Dense, LevenbergMarquardt, Network
from nncore.trainers.problem import NetworkLoss

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (23, 2))
Y = np.column_stack([np.sin(2 * X[:, 0]) * X[:, 1], X[:, 0] ** 2 - 0.3])
WEIGHTS = RNG.integers(1, 4, 23).astype(float)


def network(optimizer, loss="mse", dtype="float64", l2=0.0, seed=1, **options):
    return Network(
        2, Dense(4, "tanh", l2=l2), Dense(2, l2=2 * l2), loss=loss, optimizer=optimizer, seed=seed,
        dtype=dtype, **options,
    )  # fmt: skip


def problem_of(net, weights=None):
    problem = NetworkLoss(net, *net._samples(X, Y, weights), 1)
    return problem, problem.at(net.theta.copy())


def by_differences(net, theta, h=1e-6):
    """The Jacobian of the residuals of all rows by central differences."""
    columns = []
    for i in range(len(theta)):
        step = np.zeros_like(theta)
        step[i] = h
        values = []
        for sign in (1, -1):
            net.theta = theta + sign * step
            values.append(net.predict(X).ravel())
        columns.append((values[0] - values[1]) / (2 * h))
    net.theta = theta
    return np.array(columns).T


@pytest.mark.parametrize("block_rows", [None, 1, 5, 23])
@pytest.mark.parametrize("loss", ["mse", "half_mse"])
@pytest.mark.parametrize("weighted", [False, True])
def test_squares_are_the_loss_its_gradient_and_its_curvature(loss, weighted, block_rows):
    """scale (|e|^2 + penalty) is the loss, 2 scale (J'e + penalty theta) its gradient."""
    net = network("lm", loss, l2=0.02)
    w = WEIGHTS if weighted else None
    problem, point = problem_of(net, w)
    squares = problem.squares(block_rows)
    theta = net.theta.copy()
    root = np.sqrt(np.repeat(w if weighted else np.ones(23), 2))
    e = root * (net.predict(X) - Y).ravel()
    J = root[:, None] * by_differences(net, theta)
    assert squares.n_residuals == 2 * (WEIGHTS.sum() if weighted else 23)
    value = squares.scale * (e @ e + squares.penalty @ theta**2)
    assert value == pytest.approx(point.loss, rel=1e-12)
    assert point.loss == pytest.approx(net.evaluate(X, Y, sample_weight=w)["loss"], rel=1e-12)
    gradient = 2 * squares.scale * (J.T @ e + squares.penalty * theta)
    np.testing.assert_allclose(point.gradient, gradient, atol=1e-8)
    np.testing.assert_allclose(squares.normal(theta), J.T @ J, atol=1e-7)


def dense_lm(net, steps, loss, l2, damping, mu0):
    """Levenberg-Marquardt with the whole Jacobian, in the notation of its papers."""
    theta = net.theta.copy()
    P = np.r_[np.full(8, l2), np.zeros(4), np.full(8, 2 * l2), np.zeros(2)]  # W, b, W, b
    P *= len(X)  # both losses are |e|^2 / (2 rows) here, and the penalty is P theta^2 / 2
    twin = net.copy()

    def residuals(t):
        twin.theta = t
        return (twin.predict(X) - Y).ravel()

    def F(t):
        e = residuals(t)
        return e @ e + P @ t**2

    mu, nu, D = None, 2.0, 0.0
    yield theta
    for _ in range(steps):
        J = twin.jacobian(X, "parameters", theta=theta).reshape(-1, len(theta))
        A, g = J.T @ J + np.diag(P), J.T @ residuals(theta) + P * theta
        D = np.maximum(D, A.diagonal())
        scales = np.diag(D) if damping == "marquardt" else np.eye(len(theta))
        if mu is None:
            mu = mu0 * (A.diagonal().max() if damping == "nielsen" else 1)
        while True:
            d = np.linalg.solve(A + mu * scales, -g)
            fall = F(theta) - F(theta + d)
            if fall > 0:
                break
            mu, nu = (mu * 10, nu) if damping == "matlab" else (mu * nu, 2 * nu)
        expected = d @ (mu * scales @ d - g)  # both twice what Nielsen has
        if damping == "matlab":
            mu *= 0.1
        else:
            mu, nu = mu * max(1 / 3, 1 - (2 * fall / expected - 1) ** 3), 2.0
        theta = theta + d
        yield theta


@pytest.mark.parametrize("damping", ["matlab", "nielsen", "marquardt"])
@pytest.mark.parametrize(("loss", "l2"), [("mse", 0.0), ("half_mse", 0.01), ("mse", 0.01)])
def test_steps_are_those_of_the_dense_method(damping, loss, l2):
    net = network(LevenbergMarquardt(damping, mu=0.3, block_rows=4), loss, l2=l2)
    for want in dense_lm(net, 8, loss, l2, damping, 0.3):
        np.testing.assert_allclose(net.theta, want, rtol=1e-6, atol=1e-8)
        net.fit(X, Y, verbose=False)


@pytest.mark.parametrize("damping", ["matlab", "nielsen", "marquardt"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["mse", "half_mse"])
def test_the_end_is_stationary_for_the_whole_loss(loss, weighted, damping):
    net = network(LevenbergMarquardt(damping), loss, l2=0.01)
    w = WEIGHTS if weighted else None
    history = net.fit(X, Y, epochs=300, verbose=False, sample_weight=w)
    _, gradient = net.loss_and_gradient(X, Y, sample_weight=w)
    assert np.linalg.norm(gradient) < 1e-6
    assert history["loss"][-1] == pytest.approx(net.evaluate(X, Y, sample_weight=w)["loss"])


def test_in_float32_the_loss_is_as_low_as_its_rounding():
    ends = {}
    for dtype in ("float64", "float32"):
        net = network("lm", dtype=dtype)
        net.theta = network("lm").theta
        ends[dtype] = net.fit(X, Y, epochs=15, verbose=False)["loss"][-1]
    assert ends["float32"] == pytest.approx(ends["float64"], rel=0.05, abs=1e-9)


def test_damping_scaled_by_marquardt_does_not_mind_units():
    """With an input in thousandths each step is the same, but for its units."""
    ends = []
    for unit in (1.0, 1000.0):
        net = Network(1, Dense(1), optimizer=LevenbergMarquardt("marquardt"), dtype="float64",
                      seed=0)  # fmt: skip
        net.theta = [1.0 / unit, 0.5]
        net.fit(X[:, :1] * unit, Y[:, 0], epochs=1, verbose=False)
        ends.append(net.theta * [unit, 1])
    np.testing.assert_allclose(*ends, rtol=1e-9)


def noisy_line(n=60):
    x = np.linspace(-1, 1, n)[:, None]
    return x, 0.5 * x + 0.1 * np.random.default_rng(3).normal(size=x.shape)


@pytest.mark.parametrize("weighted", [False, True])
def test_alpha_beta_and_gamma_are_what_foresee_and_hagan_say(weighted):
    x, y = noisy_line()
    w = np.random.default_rng(1).integers(1, 4, len(x)).astype(float) if weighted else None
    net = Network(1, Dense(8, "tanh"), Dense(1), seed=0, dtype="float64", optimizer="trainbr")
    history = net.fit(x, y, epochs=500, verbose=False, sample_weight=w)
    alpha, beta, gamma = (history[k][-1] for k in ("alpha", "beta", "effective_parameters"))
    N = len(x) if w is None else w.sum()
    E_D = history["loss"][-1] * N
    E_W = net.theta @ net.theta
    assert alpha == pytest.approx(gamma / (2 * E_W), rel=1e-9)
    assert beta == pytest.approx((N - gamma) / (2 * E_D), rel=1e-9)
    J = net.jacobian(x, "parameters").reshape(len(x), -1)
    if w is not None:
        J *= np.sqrt(w)[:, None]
    H = 2 * beta * J.T @ J + 2 * alpha * np.eye(net.n_params)
    by_paper = net.n_params - 2 * alpha * np.trace(np.linalg.inv(H))
    assert gamma == pytest.approx(by_paper, rel=1e-3)
    # and theta is the minimum of beta E_D + alpha E_W
    _, g = net.loss_and_gradient(x, y, sample_weight=w)
    assert np.linalg.norm(beta * N * g + 2 * alpha * net.theta) < 1e-2 * np.linalg.norm(
        2 * alpha * net.theta
    )


def test_a_line_needs_few_parameters_and_a_sine_more():
    """25 parameters; the smooth line is worth 2 to 5 of them."""
    x, line = noisy_line()
    wave = np.sin(2 * np.pi * x) + 0.05 * np.random.default_rng(3).normal(size=x.shape)
    found = {}
    for name, y in (("line", line), ("wave", wave)):
        runs = []
        for seed in range(3):
            net = Network(
                1, Dense(8, "tanh", init="nguyen_widrow"), Dense(1), seed=seed, dtype="float64",
                optimizer="bayesian",
            )  # fmt: skip
            runs.append(net.fit(x, y, epochs=200, verbose=False)["effective_parameters"][-1])
        found[name] = np.median(runs)
        assert min(runs) > 1.5, "it gave up all parameters"
    assert 1.5 < found["line"] < 5 < found["wave"] < 25


def test_it_does_better_than_least_squares_on_few_noisy_rows():
    x, y = noisy_line(15)
    xt = np.linspace(-1, 1, 101)[:, None]
    errors = {"lm": [], "bayesian": []}
    for name, found in errors.items():
        for seed in range(5):
            net = Network(1, Dense(10, "tanh"), Dense(1), seed=seed, dtype="float64",
                          optimizer=name)  # fmt: skip
            net.fit(x, y, epochs=100, verbose=False)
            found.append(np.mean((net.predict(xt) - 0.5 * xt) ** 2))
    assert np.median(errors["bayesian"]) < 0.2 * np.median(errors["lm"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["bayesian", "lm", LevenbergMarquardt("nielsen"),
                                       BayesianRegularization(damping="marquardt")])  # fmt: skip
@pytest.mark.parametrize("case", ["zeros", "ones", "one row", "huge", "tiny", "zero theta"])
def test_odd_data_are_no_errors(case, optimizer, dtype):
    x = np.linspace(-1, 1, 20)[:, None]
    large = {"float32": 1e15, "float64": 1e140}[dtype]
    y = {"zeros": 0 * x, "ones": 1 + 0 * x, "huge": large * x, "tiny": x / large}.get(case, 3 * x)
    if case == "one row":
        x, y = x[:1], y[:1]
    net = Network(1, Dense(3, "tanh"), Dense(1), seed=0, dtype=dtype, optimizer=optimizer)
    if case == "zero theta":
        net.theta = np.zeros(net.n_params)
    first = net.evaluate(x, y)["loss"]
    history = net.fit(x, y, epochs=60, verbose=False)
    assert np.isfinite(net.theta).all() and repr(history)
    assert history["loss"][-1] <= first * (1 + 1e-6)
    net.copy()  # its numbers can be saved


def test_memory_is_bounded_before_it_is_taken():
    net = network(LevenbergMarquardt(max_bytes=1e4))
    n = net.n_params  # 22
    before = net.theta.copy(), str(net._rng.bit_generator.state)
    with pytest.raises(ValueError, match=rf"matrices of {n} x {n} .* raise max_bytes="):
        net.fit(X, Y, verbose=False)
    matrices, row = 4 * 8 * n * n, 2 * n * 16
    net.optimizer = LevenbergMarquardt(max_bytes=matrices + 4 * row)
    with pytest.raises(ValueError, match="the Jacobian of 23 rows.* pass a smaller block_rows="):
        net.fit(X, Y, verbose=False)
    net.optimizer = LevenbergMarquardt(max_bytes=matrices + 4 * row, block_rows=5)
    with pytest.raises(ValueError, match="block_rows="):
        net.fit(X, Y, verbose=False)
    assert (net.theta == before[0]).all() and str(net._rng.bit_generator.state) == before[1]
    net.optimizer = LevenbergMarquardt(max_bytes=matrices + 4 * row, block_rows=4)
    net.fit(X, Y, verbose=False)
    assert (net.theta != before[0]).any()


def test_blocks_change_rounding_only():
    ends = []
    for rows in (None, 1, 7, 23, 1000):
        net = network(LevenbergMarquardt(block_rows=rows))
        net.fit(X, Y, epochs=5, verbose=False)
        ends.append(net.theta.copy())
    for end in ends:
        np.testing.assert_allclose(end, ends[0], rtol=1e-8, atol=1e-10)


def test_what_is_no_sum_of_squares_is_refused():
    cases = [
        (Network(2, Dense(3, "softmax"), optimizer="lm"), np.zeros(23, int), "got cross_entropy"),
        (Network(2, Dense(2), loss="mae", optimizer="bayesian"), Y, "got mae; use .scg. or"),
        (Network(2, Dense(2, l1=0.1), optimizer="lm"), Y, "a penalty l1 is no square"),
        (Network(2, Dense(2, l2=0.1), optimizer="bayesian"), Y, "remove l2= of layers"),
    ]
    for net, y, message in cases:
        before = net.theta.copy(), str(net._rng.bit_generator.state)
        with pytest.raises(ValueError, match=message):
            net.fit(X, y, verbose=False)
        assert (net.theta == before[0]).all() and str(net._rng.bit_generator.state) == before[1]
    net = network("bayesian")
    net.fit(X, Y, verbose=False)
    net.layers[0].l2 = 0.1  # it is looked at in each fit
    with pytest.raises(ValueError, match="remove l2= of layers"):
        net.fit(X, Y, verbose=False)


def test_mu_in_the_history():
    net = network(LevenbergMarquardt(mu=0.1))
    history = net.fit(X, Y, epochs=6, verbose=False)
    assert all(mu > 0 for mu in history["mu"]) and history["mu"][0] == pytest.approx(1e-2)
    assert [len(history[name]) for name in ("loss", "gradient_norm", "evaluations")] == [6, 6, 6]
