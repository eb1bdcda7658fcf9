"""nncore.stationary_point: minimum, saddle, plateau or slope, with the numbers that say so."""

import numpy as np
import pytest

import nncore
from nncore import Dense, Network
from nncore.views.landscapes import stationary
from nncore.views.landscapes.stationary import StationaryPoint, stationary_point

from .networks import BACKENDS, state, valued

XOR = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])


def linear(rows=30, dtype="float64", **options):
    """A regression whose minimum is known."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 3))
    y = X @ [1.0, -2, 0.5] + 0.3 + 0.1 * rng.normal(size=rows)
    network = Network(3, Dense(1, **options), dtype=dtype, seed=0)
    design = np.column_stack([X, np.ones(rows)])
    network.theta = np.linalg.lstsq(design, y, rcond=None)[0]
    return network, X, y, 2 * design.T @ design / rows


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_minimum(backend, dtype):
    network, X, y, H = linear(dtype=dtype)
    network = Network(3, Dense(1), dtype=dtype, seed=0, backend=backend)
    network.theta = linear()[0].theta
    before = state(network)
    found = stationary_point(network, X, y)
    assert state(network) == before
    assert found.verdict == "minimum" and found.exact
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(H), rtol=1e-6)
    assert (found.n_positive, found.n_negative, found.n_flat) == (4, 0, 0)
    assert found.loss == pytest.approx(network.evaluate(X, y)["loss"], rel=1e-5)
    assert found.gradient_norm < (1e-5 if dtype == "float32" else 1e-13)
    assert "minimum" in str(found) and "4 positive" in str(found)


def test_slope_and_its_distance():
    """Of a quadratic, the distance is that to its minimum."""
    network, X, y, _ = linear()
    there = network.theta.copy()
    for share, verdict in ((1e-3, "minimum"), (0.5, "slope")):
        network.theta = there + share * np.array([1.0, 0, 0, -1])
        found = stationary_point(network, X, y)
        assert found.length == 2 * np.sort(abs(network.theta))[1]
        away = np.linalg.norm(network.theta - there) / found.length
        assert found.distance == pytest.approx(away, rel=1e-9)
        assert found.verdict == verdict
    assert "slope" in str(found) and "of the parameters' length" in str(found)


@pytest.mark.parametrize("bias", [0.0, 100.0, 1e7])
@pytest.mark.parametrize("exact", [1, 500])
def test_the_size_of_a_bias_does_not_count(bias, exact):
    X = np.random.default_rng(0).normal(size=(50, 2))
    y = X @ [1.0, 2.0] + 0.1 + bias
    network = Network(2, Dense(1, bias_init=bias), dtype="float64")
    for weight, offset, verdict in ((1.5, 0, "slope"), (1.0, 0.1, "minimum")):
        network.theta = [weight, 2.0, bias + offset]
        found = stationary_point(network, X, y, exact=exact)
        assert found.verdict == verdict
        assert found.gain == pytest.approx(found.loss, rel=1e-6, abs=1e-12)  # of a quadratic
    # all of them large, and the step short beside them: all of the loss is still to be gained
    network.theta = [1005.0, 2000.0, 1000.0]
    found = stationary_point(network, X, X @ [1e3, 2e3] + 1e3, exact=exact)
    assert found.distance < stationary.NEAR and found.verdict == "slope"
    # years: one weight, or saturated units below
    for hidden in ((), (Dense(4, "tanh", bias_init=8.0),)):
        network = Network(2, *hidden, Dense(1, bias_init=1990.0), dtype="float64", seed=0)
        assert stationary_point(network, X, y - bias + 1990, exact=exact).verdict == "slope"


def test_dead_units_far_out_are_no_plateau_while_the_last_layer_learns():
    network = Network(2, Dense(4, "relu", bias_init=-100.0), Dense(3, "softmax"), seed=0)
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.repeat([0, 1, 2], [18, 8, 4])
    found = stationary_point(network, X, y)
    assert found.verdict == "slope" and found.gradient_norm > 0.2


def test_theta_and_weights():
    network, X, y, _ = linear()
    weights = np.arange(len(X), dtype=float)
    theta = network.theta + 0.1
    found = stationary_point(network, X, y, theta=theta, sample_weight=weights)
    loss, gradient = network.loss_and_gradient(X, y, theta=theta, sample_weight=weights)
    assert found.loss == loss
    assert found.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-12)


def test_saddle():
    """y = w2 w1 x with the target x: at w1 = w2 = 0 the Hessian is [[0, -c], [-c, 0]]."""
    zero = dict(bias=False, init="zeros")
    network = Network(1, Dense(1, "tanh", **zero), Dense(1, **zero))
    X = np.array([[1.0], [-1.0], [2.0]])
    found = stationary_point(network, X, X)
    c = 2 * np.mean(X**2)
    np.testing.assert_allclose(found.eigenvalues, [-c, c], rtol=1e-12)
    assert found.verdict == "saddle" and found.gradient_norm == 0


def test_a_saddle_that_second_derivatives_do_not_show():
    network = Network(2, Dense(2, "tanh", init="zeros"), Dense(1, "sigmoid", init="zeros"))
    found = stationary_point(network, *XOR)
    assert found.gradient_norm == 0 and found.eigenvalues[0] > -1e-12
    assert found.verdict == "saddle" and found.lowest < 0


def test_maximum():
    """One parameter, the output's bias behind a tanh that is far off on both sides."""
    network = Network(1, Dense(1, "gaussian", bias=False, init="zeros"), loss="mse")
    found = stationary_point(network, [[1.0], [-1.0]], [0.0, 0.0])
    assert found.verdict == "maximum" and found.eigenvalues[0] < 0


PLATEAUS = {
    "saturated": [Dense(2, "sigmoid", init=[[90, 90], [90, 90]], bias_init=100.0),
                  Dense(1, "sigmoid", init=[[90], [90]])],
    "dead": [Dense(2, "relu", bias_init=-10.0), Dense(1, bias_init=0.5)],
}  # fmt: skip


@pytest.mark.parametrize("case", PLATEAUS)
def test_plateau(case):
    network = Network(2, *PLATEAUS[case], loss="mse", seed=0)
    found = stationary_point(network, *XOR)
    assert found.verdict == "plateau" and "plateau" in str(found)


@pytest.mark.parametrize("size", [1e2, 1e5, 1e15])
@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize("hidden", [(), (Dense(8, "tanh"),)])
def test_far_from_large_targets_is_no_plateau(size, loss, hidden):
    """The parameters' own length changes little of such a loss, and the way down is long."""
    X, y = valued(60)
    if loss == "mae":
        size = min(size, 1e5)
    network = Network(5, *hidden, Dense(2), loss=loss, seed=0)
    found = stationary_point(network, X, size * y)
    assert found.verdict == "slope"


@pytest.mark.parametrize("share", [0.0, 1e-12, 1e-3])
def test_parameters_near_0_can_be_at_a_minimum(share):
    network = Network(1, Dense(1, bias=False, init=[[share]]), dtype="float64")
    found = stationary_point(network, [[1.0], [-1.0]], [2.0, 2.0])
    assert found.verdict == "minimum" and found.length == 1
    assert found.distance == pytest.approx(share)
    # but where inputs are large, small parameters are not near
    network.theta[:] = 1e-7
    found = stationary_point(network, [[1e6], [2e6]], [1.0, 2.0])
    assert found.verdict == "slope" and found.distance > 0.1
    assert found.length == pytest.approx((2 * found.loss / found.eigenvalues[0]) ** 0.5)


def test_a_plateau_far_out():
    """At parameters whose square overflows, and with a finite loss."""
    network = Network(1, Dense(1, "tanh"), dtype="float64")
    network.theta[:] = 1e200
    found = stationary_point(network, [[1.0], [2.0]], [0.0, 0.5])
    assert found.verdict == "plateau" and found.theta_norm == pytest.approx(2**0.5 * 1e200)


@pytest.mark.parametrize("exact", [1, 500])
def test_what_is_not_finite_is_said(exact):
    X, y = valued(20)
    network = Network(5, Dense(3, "tanh"), Dense(2), dtype="float64", seed=0)
    for theta, targets in ((network.theta * 1e160, y), (network.theta, 1e160 * y)):
        found = stationary_point(network, X, targets, theta=theta, exact=exact)
        assert found.verdict == "not finite" and "not finite; scale" in str(found)
    # the loss and its gradient are, the second derivatives are not
    network = Network(1, Dense(1, bias=False, init=[[0.0]]), dtype="float64")
    found = stationary_point(network, [[1e160]], [0.0], exact=exact)
    assert (found.loss, found.gradient_norm, found.verdict) == (0, 0, "not finite")


def test_lengths_in_words():
    said = {6.8: "680 % of", 20: "20 times", 1.234e5: "120000 times", 0.0104: "1.04 % of",
            0.1: "10 % of", 9.99: "10 times", 3e-9: "3e-07 % of"}  # fmt: skip
    for share, words in said.items():
        assert stationary._of_length(share) == f"{words} the parameters' length"


def test_trained_networks():
    network = Network(2, Dense(2, "tanh", l2=1e-3), Dense(1, "sigmoid", l2=1e-3), seed=0,
                      optimizer="lbfgs")  # fmt: skip
    assert stationary_point(network, *XOR).verdict == "slope"
    network.fit(*XOR, epochs=300, verbose=False)
    found = stationary_point(network, *XOR)
    assert found.verdict == "minimum" and found.eigenvalues[0] > 0


def test_a_valley_is_a_minimum_and_says_so():
    """Two layers without anything between: only the product of their weights counts."""
    with pytest.warns(UserWarning, match="linear"):
        network = Network(1, Dense(1, bias=False, init=[[2.0]]), Dense(1, bias=False, init=[[0.5]]))
    X = np.array([[1.0], [2.0]])
    found = stationary_point(network, X, X)
    assert found.verdict == "minimum" and found.n_flat == 1 and found.highest > 0
    assert "along the flat one, up to 10 % of the parameters' length away" in str(found)


@pytest.mark.parametrize("exact", [500, 1])
def test_where_nothing_bends_no_distance_is_told(exact):
    """The absolute error of a linear network is made of planes."""
    X, y = valued(30)
    found = stationary_point(Network(5, Dense(2), loss="mae", seed=0), X, y, exact=exact)
    assert found.verdict == "slope" and np.isnan(found.distance)
    assert str(found).endswith("no second derivative bends the loss: how far it falls is not told")


def test_only_trained_parameters():
    network, X, y, H = linear()
    frozen = Network(3, Dense(1, trainable=False), dtype="float64", seed=0)
    frozen.theta = network.theta + 1
    found = stationary_point(frozen, X, y)
    assert found.gradient_norm == 0 and "no parameter is trained" in str(found)
    both = Network(3, nncore.LayerNorm(trainable=False), Dense(1), dtype="float64", seed=0)
    assert len(stationary_point(both, X, y).eigenvalues) == 4


@pytest.mark.parametrize("seed", range(3))
def test_lanczos_finds_the_ends_of_the_spectrum(seed, monkeypatch):
    X, y = valued(60)
    network = Network(5, Dense(12, "tanh", l2=0.01), Dense(2), seed=seed)
    all_of_them = stationary_point(network, X, y)
    assert all_of_them.exact and len(all_of_them.eigenvalues) == network.n_params
    monkeypatch.setattr(stationary, "PRODUCTS", 40)
    found = stationary_point(network, X, y, exact=1, seed=seed)
    assert not found.exact and found.n_flat is None
    ends = all_of_them.eigenvalues[[0, -1]]
    size = np.abs(ends).max()
    assert np.abs(found.eigenvalues - ends).max() < 1e-3 * size
    for value, accuracy in zip(found.eigenvalues, found.accuracy, strict=True):
        nearest = np.abs(all_of_them.eigenvalues - value).min()
        assert nearest <= accuracy + 1e-9 * size
    assert found.eigenvalues[0] >= ends[0] - 1e-9 and found.eigenvalues[1] <= ends[1] + 1e-9
    assert found.verdict == all_of_them.verdict == "slope"
    assert 0.3 < found.distance / all_of_them.distance < 1.1
    assert "Lanczos" in str(found)


def test_lanczos_of_few_directions_ends_early():
    network, X, y, H = linear()
    found = stationary_point(network, X, y, exact=1)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(H)[[0, -1]], rtol=1e-9)
    assert found.verdict == "minimum"


def test_without_second_derivatives(monkeypatch):
    monkeypatch.setattr(nncore.names, "own_activations", {})
    nncore.register_activation("cube", lambda x: x**3, lambda x: 3 * x**2)
    X, y = valued(20)
    found = stationary_point(Network(5, Dense(4, "cube"), Dense(2), seed=0), X, y)
    assert found.verdict == "slope" and np.isnan(found.distance)
    assert "cube was registered without d2f" in str(found)


def test_refused():
    network, X, y, _ = linear()
    for bad in (dict(theta=np.ones(3)), dict(theta=np.full(4, np.nan)), dict(exact=0),
                dict(sample_weight=-np.ones(30)), dict(n_threads=0)):  # fmt: skip
        with pytest.raises(ValueError):
            stationary_point(network, X, y, **bad)
    with pytest.raises(TypeError, match="Network"):
        stationary_point(None, X, y)
    network.theta[:] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        stationary_point(network, X, y)


def test_repr():
    network, X, y, _ = linear()
    found = stationary_point(network, X, y)
    assert isinstance(found, StationaryPoint) and repr(found).startswith("StationaryPoint(minimum;")
