"""Derivatives of networks of all kinds of layers, against differences and against the twin."""

import itertools

import numpy as np
import pytest

import nncore
from nncore import SGD

from .checks import assert_near
from .networks import EPS, backends, quiet
from .stacks import NAMES, bits, every, make, names, samples, stack

LOSSES = {
    "mse": "identity",
    "half_mse": "tanh",
    "binary_cross_entropy": "sigmoid",
    "cross_entropy": "softmax",
}
SMOOTH = ["tanh", "sigmoid", "silu", "softplus", "elu", "softsign"]
CHECKED = [
    (name, SMOOTH[i % len(SMOOTH)], loss)
    for i, (name, loss) in enumerate(itertools.product(NAMES, LOSSES))
]


# Of central differences: h^2 / 6 of third derivatives, and some roundings of numbers up to 20 over
# 2 h. The first is the larger where h is 1e-5, the second where it is 1e-6.
BY_DIFFERENCES = 2e-8


def chosen(network, most=7):
    """Numbers of some elements of each parameter: the first, the last, and some between."""
    at, found = 0, []
    for layer in network.layers:
        for values in layer.parameters().values():
            found += [at + i for i in sorted({*range(0, values.size, values.size // most + 1),
                                              values.size - 1})]  # fmt: skip
            at += values.size
    return found


def differences(loss, theta, at, h=1e-5):
    """The derivatives of loss() with respect to theta[i], i in `at`."""
    found = []
    for i in at:
        middle = theta[i]
        theta[i] = middle + h
        above = loss()
        theta[i] = middle - h
        found.append((above - loss()) / (2 * h))
        theta[i] = middle
    return np.array(found)


@backends
@pytest.mark.parametrize(("name", "activation", "loss"), CHECKED)
def test_gradient_is_that_of_the_loss(name, activation, loss, backend):
    """loss_and_gradient: nothing is drawn, running statistics are used; so in `evaluate`."""
    layers = stack(activation, LOSSES[loss])[name]
    network = make(name, layers=layers, loss=loss, backend=backend)
    X, y = samples(name, network, 23)
    quiet(network, X, y, batch_size=8)  # so that running statistics are not 0 and 1
    before, at = bits(network), chosen(network)
    value, gradient = network.loss_and_gradient(X, y)
    assert value == network.evaluate(X, y)["loss"]
    expected = differences(lambda: network.evaluate(X, y)["loss"], network.theta, at)
    assert bits(network) == before
    assert np.abs(expected).max() > 1e-3, "nearly zero: this would compare rounding errors"
    np.testing.assert_allclose(gradient[at], expected, rtol=0, atol=BY_DIFFERENCES)


@backends
@every
def test_a_training_step_goes_along_the_gradient_of_what_it_computed(name, backend):
    """With its masks, its noise and the statistics of its batch, which depend on it."""
    network = make(name, backend=backend)
    X, y = samples(name, network, 23)
    network.partial_fit(X, y)
    network.optimizer = SGD(1.0)

    def trained(theta):
        twin = network.copy()
        twin.theta = theta
        return twin.partial_fit(X, y), twin.theta

    theta = network.theta.copy()
    at = chosen(network)
    gradient = theta - trained(theta)[1]
    expected = differences(lambda: trained(theta)[0], theta, at)
    size = np.abs(expected).max()
    assert size > 1e-3
    np.testing.assert_allclose(gradient[at], expected, rtol=0, atol=BY_DIFFERENCES * max(1, size))


def refers_to_numbers(name):
    """The columns of X that are numbers."""
    return {"embedding": [], "is an embedding": [], "columns": [0, 2]}.get(name, [0, 1, 2, 3])


@every
def test_the_other_derivatives(name, isa, dtype):
    """By inputs, by row, by output: those of the twin, and differences of predictions."""
    engine, twin = (make(name, dtype, backend=backend) for backend in (isa, "reference"))
    X, y = samples(name, engine, 290)
    for network in (engine, twin):
        quiet(network, X, y, batch_size=145)
        network.theta = np.random.default_rng(2).uniform(-0.7, 0.8, network.n_params)
    twin._engine.running[:] = engine._engine.running
    assert_near(engine.input_gradient(X, y), twin.input_gradient(X, y), 50)
    losses, gradients = engine.sample_gradients(X, y)
    loss, gradient = engine.loss_and_gradient(X, y)
    assert_near(losses.mean(), loss, 8)  # added in double
    assert_near(gradients.mean(axis=0), gradient, 50)
    X, y = X[:3], y[:3]
    for a, b in zip(engine.sample_gradients(X, y), twin.sample_gradients(X, y), strict=True):
        assert_near(a, b, 50, dtype)
    for by in ("inputs", "parameters"):
        assert_near(engine.jacobian(X, by), twin.jacobian(X, by), 50)
    if dtype == "float64":
        J, h = engine.jacobian(X), 1e-6
        for j in refers_to_numbers(name):
            up, down = X.copy(), X.copy()
            up[:, j] += h
            down[:, j] -= h
            expected = (_plain(engine, up) - _plain(engine, down)) / (2 * h)
            np.testing.assert_allclose(J[:, :, j], expected, rtol=0, atol=BY_DIFFERENCES)
        for j in set(range(4)) - set(refers_to_numbers(name)):
            assert not J[:, :, j].any()


def _plain(network, X):
    """Predictions in which nothing is drawn."""
    out = np.empty((len(X), network.n_out), network.dtype)
    network._engine.predict(X, out)
    return out


@backends
@names
def test_check_gradients_finds_nothing(name, backend, dtype):
    network = make(name, dtype, backend=backend)
    X, y = samples(name, network, 9)
    quiet(network, X, y, batch_size=3)
    report = nncore.check_gradients(network, X, y, n_checks=60, second=True)
    assert report, report
    assert ("inputs" in report.errors) == (name != "embedding")


@every
def test_second_derivatives(name, isa, dtype):
    """Exact ones, against the twin's, which are differences of its gradient."""
    engine, twin = (make(name, dtype, backend=backend) for backend in (isa, "reference"))
    X, y = samples(name, engine, 290)
    quiet(engine, X, y, batch_size=145)
    twin.theta = engine.theta
    twin._engine.running[:] = engine._engine.running
    v = np.random.default_rng(4).normal(size=engine.n_params)
    found, expected = (n.hessian_vector_product(X, y, v) for n in (engine, twin))
    assert np.abs(expected).max() > 1e-3
    # The twin's are differences of gradients: nine digits of them.
    assert_near(found, expected, max(50, 1e-9 / EPS[dtype]))
    again = engine.hessian_vector_product(X, y, v, n_threads=3)
    assert again.tobytes() == found.tobytes()
    w = np.random.default_rng(5).normal(size=engine.n_params)
    there, back = float(w @ found), float(v @ engine.hessian_vector_product(X, y, w))
    assert abs(there - back) <= 30 * EPS[dtype] * float(np.abs(w) @ np.abs(found))


@every
def test_derivatives_have_the_same_bits_with_any_number_of_threads(name):
    network = make(name, "float32")
    X, y = samples(name, network, 300)
    for compute in (
        lambda n: network.input_gradient(X, y, n_threads=n),
        lambda n: network.sample_gradients(X, y, n_threads=n)[1],
        lambda n: network.jacobian(X, "parameters", n_threads=n),
    ):
        assert compute(1).tobytes() == compute(3).tobytes()
