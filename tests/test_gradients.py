"""Derivatives of networks: by parameters and inputs, row by row, of outputs, of second order."""

import re

import numpy as np
import pytest

import nncore
from nncore import Dense, Network, _core

from .checks import assert_near

ISAS = nncore.get_config()["runnable"]
BACKENDS = (*ISAS, "reference")
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in ("float32", "float64")}
HIDDEN = [name for name in nncore.activations if name not in ("softmax", "log_softmax")]


def networks():
    """(hidden, output, loss, dtype): all of them in float64; in float32 each of each once."""
    for loss, row in _core.LOSSES.items():
        several = ["identity", "softmax", "log_softmax"] if loss in ("mse", "huber") else ["tanh"]
        for output in [row["output"]] if row["output"] else several:
            for hidden in HIDDEN:
                yield hidden, output, loss, "float64"
                if hidden == "tanh" or (loss, output) == ("mse", "identity"):
                    yield hidden, output, loss, "float32"


backends = pytest.mark.parametrize("backend", BACKENDS)
dtypes = pytest.mark.parametrize("dtype", EPS)


def data(loss, rows=5, seed=0):
    rng = np.random.default_rng([seed, rows])
    X, y = rng.normal(size=(rows, 4)), rng.random((rows, 3))
    if loss in ("mae", "quantile", "hinge", "squared_hinge", "focal"):  # no kink is near
        return X, np.where(y > 0.5, 1, 0 if loss == "focal" else -1)
    return X, y / y.sum(axis=1, keepdims=True)


def of(hidden="tanh", output="softmax", loss="cross_entropy", seed=3, **options):
    """4-6-5-3 with biases that are not zero."""
    n_out = 6 if loss == "gaussian_nll" else 3
    layers = Dense(6, hidden), Dense(5, hidden), Dense(n_out, output)
    network = Network(4, *layers, loss=loss, seed=seed, **options)
    network.theta += np.random.default_rng(seed).normal(0, 0.2, network.n_params)
    return network


def everything(network, X, y):
    """All derivatives, as arrays."""
    v = np.linspace(-1, 1, network.n_params)
    loss, gradient = network.loss_and_gradient(X, y)
    return [
        np.array(loss), gradient, network.input_gradient(X, y), *network.sample_gradients(X, y),
        network.jacobian(X), network.jacobian(X, "parameters"),
        network.hessian_vector_product(X, y, v), network.hessian(X, y),
    ]  # fmt: skip


# --- Against differences --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:All hidden activations are linear")
@pytest.mark.filterwarnings("ignore:Targets span")
@pytest.mark.parametrize(("hidden", "output", "loss", "dtype"), list(networks()))
def test_derivatives_are_those_of_the_loss(hidden, output, loss, dtype):
    network = of(hidden, output, loss, dtype=dtype)
    X, y = data(loss)
    before = network.theta.tobytes()
    report = nncore.check_gradients(network, X, y, second=True)
    assert report, report
    assert report.n_checked == 4 * network.n_params + X.size
    assert network.theta.tobytes() == before


@dtypes
@backends
@pytest.mark.parametrize("output", ["softmax", "log_softmax", "identity", "sigmoid"])
def test_on_every_backend(output, backend, dtype):
    for rows in (1, 300):  # 300: more than a block
        network = of("silu", output, None, dtype=dtype, backend=backend)
        report = nncore.check_gradients(
            network, *data(network.loss, rows), n_checks=50, second=True
        )
        assert report, report


@dtypes
@pytest.mark.filterwarnings("ignore:Targets span")
@pytest.mark.parametrize("isa", ISAS)
def test_the_engine_and_its_twin_agree(isa, dtype):
    for output, loss in (
        ("softmax", "cross_entropy"), ("tanh", "mse"), ("softmax", "half_mse"),
        ("log_softmax", "cross_entropy"), ("log_softmax", "half_mse"),
    ):  # fmt: skip
        engine, twin = (of("elu", output, loss, dtype=dtype, backend=b) for b in (isa, "reference"))
        *firsts, product, hessian = zip(
            everything(engine, *data(loss)), everything(twin, *data(loss)), strict=True
        )
        assert all(a.dtype == b.dtype for a, b in (*firsts, product, hessian))
        for a, b in firsts:
            assert_near(a, b, 30, dtype)
        for a, b in (product, hessian):  # the twin's are differences of gradients: nine digits
            assert_near(a, b, max(60, 1e-9 / EPS[dtype]), dtype)


# --- The checker ----------------------------------------------------------------------------------


class Wrong(Network):
    """A network whose derivatives are changed by `spoil`."""

    spoil = staticmethod(lambda what, values: values)

    def loss_and_gradient(self, X, y, **options):
        loss, gradient = super().loss_and_gradient(X, y, **options)
        return loss, self.spoil("parameters", gradient)

    def input_gradient(self, X, y, **options):
        return self.spoil("inputs", super().input_gradient(X, y, **options))

    def hessian_vector_product(self, X, y, v, **options):
        return self.spoil("second order", super().hessian_vector_product(X, y, v, **options))


def wrong(what, change, dtype="float64"):
    network = Wrong(4, Dense(6, "tanh"), Dense(3), dtype=dtype, seed=0)

    def spoil(which, values):
        values = values.copy()
        if which == what:
            change(values.reshape(-1))
        return values

    network.spoil = spoil
    return network


def nothing(values):
    pass


def zero(values):
    values[:] = 0


def one_sign(values):
    values[9] *= -1


def a_little(values):
    values[9] *= 1.01


def scaled(values):
    values *= 0.99


def shifted(values):
    values[:] = np.roll(values, 1)


def not_a_number(values):
    values[9] = np.nan


@dtypes
@pytest.mark.parametrize("change", [zero, one_sign, a_little, scaled, shifted, not_a_number])
@pytest.mark.parametrize("what", ["parameters", "inputs", "second order"])
def test_a_wrong_derivative_is_found(what, change, dtype):
    X, y = data("mse")
    assert nncore.check_gradients(wrong(what, nothing, dtype), X, y, second=True)
    report = nncore.check_gradients(wrong(what, change, dtype), X, y, second=True)
    assert not report and report.error > report.tolerance
    where = {"parameters": r"layers\[", "inputs": r"X\[", "second order": r"\(H v\)\["}
    assert re.match(where[what], report.where)
    assert "WRONG" in repr(report) and report.where in repr(report)
    if change in (one_sign, a_little, not_a_number):
        place = {"parameters": "layers[0].W[1, 3]", "inputs": "X[2, 1]", "second order": "(H v)[9]"}
        assert report.where.startswith(place[what])


def test_the_report():
    X, y = data("cross_entropy")
    report = nncore.check_gradients(of(dtype="float64"), X, y, inputs=False)
    assert isinstance(report, nncore.GradientReport)
    assert list(report.errors) == [f"layers[{i}].{name}" for i in range(3) for name in "Wb"]
    assert max(report.errors.values()) == report.error <= 1e-7 == report.tolerance
    assert report.analytic == pytest.approx(report.numeric, rel=report.tolerance, abs=0)
    assert "right" in repr(report)
    assert not nncore.check_gradients(of(), X, y, tolerance=1e-12)  # float32 rounds


def test_the_check_of_a_large_network_draws_places():
    network = Network(4, Dense(300, "tanh"), Dense(3, "softmax"), seed=0)
    X, y = data("cross_entropy")
    found = [nncore.check_gradients(network, X, y, n_checks=40, seed=s) for s in (0, 0, 1)]
    assert all(found) and 36 <= found[0].n_checked - X.size <= 44
    assert found[0].errors == found[1].errors != found[2].errors
    assert list(found[0].errors) == [
        "layers[0].W", "layers[0].b", "layers[1].W", "layers[1].b", "inputs"
    ]  # fmt: skip


def test_kinks_between_the_points_are_no_error():
    network = Network(1, Dense(1, "relu", init=[[1.0]]), Dense(1, init=[[1.0]]), dtype="float64")
    for x in (1e-4, 1e-5, -1e-5):
        assert nncore.check_gradients(network, [[x]], [[1.0]], second=True)


# --- What they mean -------------------------------------------------------------------------------


@backends
def test_a_linear_network_has_its_textbook_derivatives(backend):
    X, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    network = Network(3, Dense(3), loss="half_mse", dtype="float64", seed=0, backend=backend)
    W, error = network.layers[0].W, network.predict(X) - y
    assert_near(network.input_gradient(X, y), error @ W.T / 20, 8)
    assert_near(network.jacobian(X), np.broadcast_to(W.T, (20, 3, 3)), 8)
    ones = np.column_stack([X, np.ones(20)])
    curvature = np.kron(ones.T @ ones / 20, np.eye(3))
    exact = 20 if backend != "reference" else 1e-10 / EPS["float64"]  # the twin's: ten digits
    assert_near(network.hessian(X, y), curvature, exact)


@dtypes
@pytest.mark.parametrize("isa", ISAS)
def test_each_row_is_that_row_alone(isa, dtype):
    for output, loss in (("softmax", "cross_entropy"), ("tanh", "mse"), ("sigmoid", None)):
        network = of("elu", output, loss, dtype=dtype, backend=isa)
        X, y = data(loss, 300)
        losses, gradients = network.sample_gradients(X, y)
        assert losses.dtype == np.float64 and gradients.dtype == dtype
        for i in (0, 1, 255, 256, 299):
            loss, gradient = network.loss_and_gradient(X[i : i + 1], y[i : i + 1])
            assert loss == losses[i]
            np.testing.assert_array_equal(gradients[i], gradient)
        loss, gradient = network.loss_and_gradient(X, y)
        assert_near(losses.mean(), loss, 8)  # added in double
        assert_near(gradients.mean(axis=0), gradient, 50)


@backends
def test_jacobians_follow_the_outputs(backend):
    network = of("softsign", "softmax", "mse", dtype="float64", backend=backend)
    X, y = data("mse")
    by_inputs, by_parameters = network.jacobian(X), network.jacobian(X, "parameters")
    assert by_inputs.shape == (5, 3, 4) and by_parameters.shape == (5, 3, network.n_params)
    direction = np.random.default_rng(1).normal(size=(5, 4))
    h = 1e-6
    change = (network.predict(X + h * direction) - network.predict(X - h * direction)) / (2 * h)
    found = np.einsum("rkj,rj->rk", by_inputs, direction)
    np.testing.assert_allclose(found, change, rtol=0, atol=1e-9)  # 9 roundings below 1 over 2 h
    dy = 2 * (network.predict(X) - y) / y.size  # of the mean squared error
    gradient = np.einsum("rk,rkj->j", dy, by_parameters)
    assert_near(gradient, network.loss_and_gradient(X, y)[1], 15)  # a sum of 15
    gradient = np.einsum("rk,rkj->rj", dy, by_inputs)
    assert_near(gradient, network.input_gradient(X, y), 15)
    assert network.jacobian(np.empty((0, 4))).shape == (0, 3, 4)


def test_labels_are_one_hot_rows():
    X, _ = data("cross_entropy")
    labels = np.array([0, 2, 1, 1, 0])
    for a, b in zip(
        everything(of(dtype="float64"), X, labels),
        everything(of(dtype="float64"), X, np.eye(3)[labels]),
        strict=True,
    ):
        assert_near(a, b, 8)


def test_the_hessian_is_symmetric_and_gives_its_products():
    network, (X, y) = of("tanh", dtype="float64"), data("cross_entropy")
    H = network.hessian(X, y)
    np.testing.assert_array_equal(H, H.T)
    v = np.random.default_rng(0).normal(size=network.n_params)
    assert_near(network.hessian_vector_product(X, y, v), H @ v, 30)


@backends
def test_other_parameters(backend):
    a, b = (of(seed=s, dtype="float64", backend=backend) for s in (3, 4))
    X, y = data("cross_entropy")
    before = a.theta.tobytes()
    v = np.ones(a.n_params)
    for call in (
        lambda net, **at: net.loss_and_gradient(X, y, **at)[1],
        lambda net, **at: net.input_gradient(X, y, **at),
        lambda net, **at: net.sample_gradients(X, y, **at)[1],
        lambda net, **at: net.jacobian(X, **at),
        lambda net, **at: net.hessian_vector_product(X, y, v, **at),
        lambda net, **at: net.hessian(X, y, **at),
    ):
        np.testing.assert_array_equal(call(a, theta=b.theta), call(b))
        np.testing.assert_array_equal(call(a, theta=b.theta.tolist()), call(b))
    assert a.theta.tobytes() == before
    assert a.loss_and_gradient(X, y, theta=b.theta)[0] == b.evaluate(X, y)["loss"]


def test_threads_change_no_bit():
    network = Network(60, Dense(200, "tanh"), Dense(170, "silu"), Dense(7, "softmax"), seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 60)), rng.integers(0, 7, 300)
    v = rng.normal(size=network.n_params)
    for call in (
        lambda n: network.input_gradient(X, y, n_threads=n),
        lambda n: network.sample_gradients(X[:60], y[:60], n_threads=n)[1],
        lambda n: network.jacobian(X, n_threads=n),
        lambda n: network.hessian_vector_product(X, y, v, n_threads=n),
    ):
        np.testing.assert_array_equal(call(1), call(3))


def test_results_can_be_written_to_given_arrays():
    network, (X, y) = of(), data("cross_entropy")
    out = np.full((5, network.n_params), np.nan, np.float32)
    assert network.sample_gradients(X, y, out=out)[1] is out
    np.testing.assert_array_equal(out, network.sample_gradients(X, y)[1])
    out = np.full((5, 3, 4), np.nan, np.float32)
    assert network.jacobian(X, out=out) is out
    np.testing.assert_array_equal(out, network.jacobian(X))


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n, X, y: n.loss_and_gradient(X, y, theta=[1.0]), ValueError, r"theta must have"),
        (lambda n, X, y: n.input_gradient(X, y, theta=n.theta[None]), ValueError, r"\(83,\)"),
        (lambda n, X, y: n.jacobian(X, theta=n.theta * np.nan), ValueError, "NaN"),
        (lambda n, X, y: n.hessian_vector_product(X, y, [1.0]), ValueError, "v must have shape"),
        (lambda n, X, y: n.hessian_vector_product(X, y, n.theta * np.inf), ValueError, "v cont"),
        (lambda n, X, y: n.hessian_vector_product(X, y, "v"), ValueError, "v has dtype"),
        (lambda n, X, y: n.jacobian(X, "weights"), ValueError, '"inputs" or "parameters"'),
        (lambda n, X, y: n.jacobian(X[:, :2]), ValueError, "expects 4 input features"),
        (lambda n, X, y: n.jacobian(X * np.nan), ValueError, "NaN"),
        (lambda n, X, y: n.jacobian(X, out=[1]), TypeError, "out must be"),
        (lambda n, X, y: n.jacobian(X, out=np.empty((5, 3, 4))), ValueError, "got float64"),
        (
            lambda n, X, y: n.jacobian(X, out=np.empty((5, 4, 3), "f").transpose(0, 2, 1)),
            ValueError,
            "C-contiguous",
        ),
        (lambda n, X, y: n.sample_gradients(X, y, out=n.theta), ValueError, r"\(5, 83\)"),
        (lambda n, X, y: n.sample_gradients(X[:0], y[:0]), ValueError, "no rows"),
        (lambda n, X, y: nncore.check_gradients(n, X, y[:2]), ValueError, "5 rows but y has 2"),
    ],
)
def test_bad_arguments(call, error, message):
    network, (X, y) = of(), data("cross_entropy")
    before = network.theta.tobytes()
    with pytest.raises(error, match=message):
        call(network, X, y)
    assert network.theta.tobytes() == before


def test_the_hessian_of_a_large_network_is_refused():
    network = Network(100, Dense(100, "tanh"), Dense(1))
    with pytest.raises(ValueError, match="hessian_vector_product needs no matrix"):
        network.hessian(np.ones((1, 100)), [[1.0]])


def test_odd_arguments_of_the_checker():
    network = of()
    X, y = data("cross_entropy")
    with pytest.raises(TypeError, match="first argument must be a nncore.Network, got 3"):
        nncore.check_gradients(3, X, y)
    for n_checks in (0, -1, 1.5, None):
        with pytest.raises(ValueError, match="n_checks must be an integer of at least 1"):
            nncore.check_gradients(network, X, y, n_checks=n_checks)
