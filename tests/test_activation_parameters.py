"""Activations with parameters of the user's: nncore.Activation, in layers, in files."""

import copy
import json
import pickle

import numpy as np
import pytest

import nncore
from nncore import Activation, Dense, Network, _core, files
from nncore.reference import ACTIVATIONS

from .checks import assert_same_bits, central_differences, distance
from .test_derivatives import assert_formulas_are_right

GAINS = ("sigmoid", "tanh", "softsign", "elliot", "sin", "gaussian")
CASES = [
    *((name, {"gain": gain}) for name in GAINS for gain in (0.3, 2.0)),
    *(("leaky_relu", {"slope": slope}) for slope in (0.0, 0.2, 1.0, 1.7)),
    *((name, {"alpha": alpha}) for name in ("elu", "celu") for alpha in (0.4, 2.5)),
    *(("softplus", {"beta": beta}) for beta in (0.25, 3.0)),
    *((name, {"width": width}) for name in ("hard_shrink", "softshrink") for width in (0.0, 0.9)),
    ("threshold", {"threshold": -0.4}),
    ("threshold", {"value": 2.0}),
    ("threshold", {"threshold": 0.2, "value": -1.5}),
    ("squareplus", {"b": 0.3}),
    ("squareplus", {"b": 1.0}),
]
EACH = pytest.mark.parametrize("name, parameters", CASES)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
BACKENDS = pytest.mark.parametrize("backend", [*_core.isas(), "reference"])


def test_every_parameter_is_tried():
    tried = {(name, p) for name, parameters in CASES for p in parameters}
    table = {(name, p) for name, row in _core.ACTIVATIONS.items() for p in row["parameters"]}
    assert tried == table


# --- The object -----------------------------------------------------------------------------------


@EACH
def test_derivatives_are_central_differences(name, parameters):
    activation, h = Activation(name, **parameters), 2.0**-17
    x = np.linspace(-6.1, 6.2, 1001)
    for bend in (0, *activation.kinks):
        x = x[np.abs(x - bend) > 2 * h]
    for function, derivative in ((activation.f, activation.df), (activation.df, activation.d2f)):
        difference = (function(x + h) - function(x - h)) / (2 * h)
        assert np.abs(difference - derivative(x)).max() < 1e-8


@EACH
@DTYPES
def test_slope_from_y(name, parameters, dtype):
    activation = Activation(name, **parameters)
    if activation.keeps != "y":
        return
    x = np.linspace(-6, 6, 4001).astype(dtype)
    slope = activation.df(x)
    error = np.abs(activation.df_from_y(activation.f(x)) - slope)
    assert error.max() <= 4 * np.finfo(dtype).eps * max(1, slope.max())


@EACH
@DTYPES
def test_the_reference_has_the_same(name, parameters, dtype):
    activation = Activation(name, **parameters)
    twin = ACTIVATIONS[name].with_parameters(tuple(activation.parameters.values()))
    x = np.linspace(-5, 5, 801).astype(dtype)
    bound = 40 * np.finfo(dtype).eps
    assert np.abs(activation.f(x) - twin.f(x.copy())).max() <= bound * np.abs(twin.f(x)).max()
    assert np.abs(activation.df(x) - twin.df(x)).max() <= bound * np.abs(twin.df(x)).max()
    kept = x if twin.keeps == "X" else twin.f(x.copy())
    largest = np.abs(twin.df(x)).max()
    assert np.abs(activation.df(x) - twin.slope(kept)).max() <= bound * largest


@EACH
@DTYPES
def test_kinks_and_range(name, parameters, dtype):
    activation = Activation(name, **parameters)
    assert set(activation.kinks) <= {0.0, *np.multiply(-1, [*parameters.values()]),
                                     *parameters.values(), 1.0}  # fmt: skip
    for x, slope in activation.kinks.items():
        x = np.dtype(dtype).type(x)
        assert activation.df(x) == np.dtype(dtype).type(slope)
        if activation.keeps == "y":
            assert activation.df_from_y(activation.f(x)) == np.dtype(dtype).type(slope)
        before, after = (np.nextafter(x, np.dtype(dtype).type(to)) for to in (-np.inf, np.inf))
        jumps = np.abs(activation.df(after) - activation.df(before)) > 1e-3
        assert jumps or parameters.get("width") == 0
    x = np.concatenate([np.linspace(-5000, 5000, 2001), np.linspace(-4, 4, 2001)])
    y = activation.f(x.astype(dtype))
    low, high = (np.dtype(dtype).type(end) for end in activation.range)
    assert low <= y.min() and y.max() <= high
    assert np.isinf(low) or y.min() - low < 0.02


@EACH
def test_formulas(name, parameters):
    assert_formulas_are_right(Activation(name, **parameters))
    for value in parameters.values():
        assert repr(value).removesuffix(".0") in Activation(name, **parameters).latex or value == 1


@EACH
def test_what_it_is(name, parameters):
    activation, default = Activation(name, **parameters), nncore.activations[name]
    values = {**_core.ACTIVATIONS[name]["parameters"], **parameters}
    assert activation.name == name and activation.parameters == values
    assert activation != default and activation != name
    assert activation == Activation(name, **values) and hash(activation) == hash(
        Activation(name, **values)
    )
    for again in (pickle.loads(pickle.dumps(activation)), copy.deepcopy(activation)):
        assert again == activation and again.parameters == values
    shown = ", ".join(f"{p}={repr(v).removesuffix('.0')}" for p, v in parameters.items())
    assert str(activation) == f"{name}({shown})"
    assert repr(activation).startswith(f"<activation {name}({shown}): ")
    assert activation.config() == {"name": name, **parameters}
    assert repr(Dense(2, activation)) == f"Dense(2, Activation({name!r}, {shown}))"


def test_defaults_are_the_default_activation():
    for name, activation in nncore.activations.items():
        again = Activation(name, **activation.parameters)
        assert again == activation and type(again) is type(activation)
        assert str(again) == again.config() == name
    assert Activation("logistic", gain=1) == nncore.activations["sigmoid"]
    nncore.activations["elu"].parameters["alpha"] = 7
    assert nncore.activations["elu"].parameters == {"alpha": 1}


@EACH
def test_numpy_numbers_and_integers(name, parameters):
    for kind in (np.float32, np.float64):
        given = {p: kind(v) for p, v in parameters.items()}
        values = Activation(name, **given).parameters
        assert all(type(v) is float for v in values.values())
        assert values == {**values, **{p: float(v) for p, v in given.items()}}
    assert Activation("elu", alpha=2) == Activation("elu", alpha=np.int64(2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1, 1e7, "1", None, True, [1.0], 1j])
@pytest.mark.parametrize("name, parameter", [
    ("leaky_relu", "slope"), ("elu", "alpha"), ("softplus", "beta"), ("sigmoid", "gain"),
    ("hard_shrink", "width"), ("squareplus", "b")])  # fmt: skip
def test_values_refused(name, parameter, value):
    with pytest.raises(ValueError, match=f"{parameter} of {name} must be a number from .* to 1e"):
        Activation(name, **{parameter: value})


def test_zero():
    for name, parameter in [("elu", "alpha"), ("celu", "alpha"), ("softplus", "beta"),
                            ("tanh", "gain"), ("squareplus", "b")]:  # fmt: skip
        with pytest.raises(ValueError, match="from 1e-06 to 1e"):
            Activation(name, **{parameter: 0})
    assert Activation("leaky_relu", slope=-0.0).f(-1.0) == 0


def test_names_refused():
    with pytest.raises(TypeError, match="relu has no parameter 'slope'; it has none"):
        Activation("relu", slope=1)
    with pytest.raises(TypeError, match="threshold has no parameter 'gain'; it has: threshold, va"):
        Activation("threshold", gain=1)
    with pytest.raises(ValueError, match="Unknown activation 'leaky'"):
        Activation("leaky", slope=1)


# --- In networks ----------------------------------------------------------------------------------


def network(name, parameters, backend, dtype="float64", loss="half_mse"):
    activation = Activation(name, **parameters)
    return Network(3, Dense(6, activation), Dense(4, activation), Dense(2), loss=loss, dtype=dtype,
                   backend=backend, seed=3)  # fmt: skip


def samples(rows, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.5, 1.5, (rows, 3)), rng.uniform(-1, 1, (rows, 2))


@EACH
@BACKENDS
def test_gradients(name, parameters, backend):
    net, (X, y) = network(name, parameters, backend), samples(9)
    _, gradient = net.loss_and_gradient(X, y)
    differences = central_differences(lambda: net.loss_and_gradient(X, y)[0], net.theta, 1e-6)
    assert distance(gradient, differences) < 1e-7


@EACH
@DTYPES
def test_all_backends_agree(name, parameters, dtype):
    X, y = (a.astype(dtype) for a in samples(70, 1))
    nets = [network(name, parameters, backend, dtype) for backend in [*_core.isas(), "reference"]]
    for net in nets:
        net.fit(X, y, epochs=3, batch_size=16, verbose=False)
    for net in nets[1:]:
        assert distance(net.theta, nets[0].theta) < 300 * np.finfo(dtype).eps
    fused = [net for net in nets if net.backend not in ("baseline", "reference")]
    for net in fused[1:]:
        assert_same_bits(net.theta.copy(), fused[0].theta.copy())


@EACH
@DTYPES
def test_online_is_a_batch_of_one(name, parameters, dtype):
    """The path of one row at a time has the bits of the general one."""
    nets = [network(name, parameters, "auto", dtype) for _ in range(2)]
    X, y = (a.astype(dtype) for a in samples(40, 2))
    nets[0].fit(X, y, batch_size=1, shuffle=False, verbose=False)
    for row in range(len(X)):
        nets[1].partial_fit(X[row : row + 1], y[row : row + 1])
    assert_same_bits(nets[0].theta.copy(), nets[1].theta.copy())


@EACH
@BACKENDS
def test_files(tmp_path, name, parameters, backend):
    net, (X, y) = network(name, parameters, backend), samples(20)
    net.fit(X, y, verbose=False)
    net.save(tmp_path / "net")
    again = nncore.load(tmp_path / "net", backend=backend)
    for other in (again, net.copy(), pickle.loads(pickle.dumps(net))):
        assert other.layers[0].function == net.layers[0].function
        assert other.config() == net.config()
        assert_same_bits(other.predict(X), net.predict(X))
    net.fit(X, y, verbose=False)
    again.fit(X, y, verbose=False)
    assert_same_bits(again.theta.copy(), net.theta.copy())


def test_files_of_default_parameters_have_names_alone(tmp_path):
    net = Network(2, Dense(3, Activation("elu", alpha=1)), Dense(1))
    assert [layer["activation"] for layer in net.config()["layers"]] == ["elu", "identity"]


BAD = [
    {"name": "leaky_relu", "slope": -1}, {"name": "leaky_relu", "slope": "0.1"},
    {"name": "leaky_relu", "slope": None}, {"name": "leaky_relu", "slope": [0.1]},
    {"name": "leaky_relu", "slope": 1e300}, {"name": "leaky_relu", "alpha": 0.1},
    {"name": "leaky_relu", "self": 0.1}, {"name": "leaky_relu", "cls": 0.1}, {"slope": 0.1},
    {"name": "maxout"}, {"name": {"name": "relu"}}, {"name": ["relu"]}, {}, {"name": "softmax"},
    {"name": "leaky_relu", "slope": True}, ["leaky_relu", 0.1],
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_files(tmp_path, bad):
    net = Network(2, Dense(3, Activation("leaky_relu", slope=0.3)), Dense(1))
    net.save(tmp_path / "net")
    tensors, metadata = files.read(tmp_path / "net")
    description = json.loads(metadata["nncore"])
    assert description["config"]["layers"][0]["activation"] == {"name": "leaky_relu", "slope": 0.3}
    description["config"]["layers"][0]["activation"] = bad
    files.write(tmp_path / "bad", tensors, {"nncore": json.dumps(description)})
    with pytest.raises(files.FileFormatError):
        nncore.load(tmp_path / "bad")


# --- With losses ----------------------------------------------------------------------------------


@BACKENDS
def test_a_gain_under_a_loss_that_starts_from_the_scores(backend):
    steep = Activation("sigmoid", gain=2)
    for loss in (None, "binary_cross_entropy"):
        with pytest.raises(ValueError, match=r"sigmoid of gain 1, but .* sigmoid\(gain=2\)"):
            Network(2, Dense(3, "tanh"), Dense(1, steep), loss=loss, backend=backend)
    net = Network(2, Dense(1, steep), loss="mse", backend=backend, dtype="float64")
    net.layers[0].W, net.layers[0].b = [[1], [2]], 0.5
    assert net.predict([[1.0, 1.0]]) == pytest.approx(1 / (1 + np.exp(-7)))


@BACKENDS
@DTYPES
def test_log_softmax_under_cross_entropy(backend, dtype):
    """The same training as softmax, whose logarithm it predicts."""
    X, y = samples(60)[0].astype(dtype), np.arange(60) % 4
    nets = [Network(3, Dense(5, "tanh"), Dense(4, output), seed=1, dtype=dtype, backend=backend)
            for output in ("softmax", "log_softmax")]  # fmt: skip
    assert nets[1].loss == "cross_entropy"
    histories = [net.fit(X, y, epochs=3, batch_size=7, verbose=False, validation_data=(X, y))
                 for net in nets]  # fmt: skip
    assert dict(histories[0]) == dict(histories[1])
    assert_same_bits(nets[0].theta.copy(), nets[1].theta.copy())
    p, log_p = (net.predict(X) for net in nets)
    assert np.abs(np.log(p) - log_p).max() < 20 * np.finfo(dtype).eps
    assert np.abs(np.exp(log_p).sum(axis=1) - 1).max() < 20 * np.finfo(dtype).eps
    one_hot = np.eye(4, dtype=dtype)[y]
    assert nets[1].evaluate(X, one_hot)["loss"] == pytest.approx(nets[1].evaluate(X, y)["loss"])


@BACKENDS
def test_gradient_through_log_softmax(backend):
    X, y = samples(9)
    for n_out in (2, 40):
        net = Network(3, Dense(5, "tanh"), Dense(n_out, "log_softmax"), loss="mse", seed=1,
                      dtype="float64", backend=backend)  # fmt: skip
        target = -np.abs(np.resize(y, (9, n_out)))
        _, gradient = net.loss_and_gradient(X, target)
        differences = central_differences(
            lambda: net.loss_and_gradient(X, target)[0], net.theta, 1e-6  # noqa: B023
        )
        assert distance(gradient, differences) < 1e-7


def test_log_softmax_is_for_the_last_layer():
    with pytest.raises(ValueError, match="layer 0 is log_softmax, which only the last layer may"):
        Network(2, Dense(3, "log_softmax"), Dense(1))
    with pytest.raises(ValueError, match="a log_softmax of one output is always 0"):
        Network(2, Dense(1, "log_softmax"))
    with pytest.raises(ValueError, match='binary_cross_entropy needs a "sigmoid" output'):
        Network(2, Dense(2, "log_softmax"), loss="binary_cross_entropy")
