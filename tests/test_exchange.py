"""Models of scikit-learn, PyTorch and Keras become networks that predict the same."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import nncore
from nncore import BatchNorm, Dense, Dropout, Embedding, LayerNorm, PReLU, Residual, Scaling
from nncore.activation import as_activation
from nncore.exchange.links import Affine, Columns, build, curve, norm

from .checks import assert_near, assert_same_bits

RNG = np.random.default_rng(0)
BACKENDS = ("torch", "jax", "tensorflow")  # of Keras


@pytest.fixture
def sklearn():
    return pytest.importorskip("sklearn", reason="models of scikit-learn")


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="models of PyTorch")
    torch.manual_seed(0)
    return torch


@pytest.fixture(scope="module")
def keras():
    backend = next(filter(_is_here, BACKENDS), None)
    if backend is None:
        pytest.skip("models of Keras need one of its backends")
    os.environ.setdefault("KERAS_BACKEND", backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras", reason="models of Keras")


def _is_here(name):
    import importlib.util

    return importlib.util.find_spec(name) is not None


def alike(network, X, want):
    """Outputs are equal but for the roundings of the sums of all layers, and to 1e-6."""
    got = network.predict(X)
    want = np.asarray(want).reshape(got.shape)
    terms = 8 * len(network.layers) + sum(
        len(layer.W) for layer in network.layers if isinstance(layer, Dense)
    )
    assert np.ptp(want) > 0
    assert_near(got, want, min(terms, 1e-6 / np.finfo(network.dtype).eps))


# ---- scikit-learn ----


def _fitted(sklearn, y, before=(), regressor=False, dtype=np.float64, **arguments):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline

    X = np.random.default_rng(1).normal(3, 2, (60, 4)).astype(dtype)
    kind = MLPRegressor if regressor else MLPClassifier
    last = kind(hidden_layer_sizes=(6, 5), max_iter=20, random_state=0, **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(*before, last).fit(X, y) if before else last.fit(X, y), X


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_classifiers(sklearn, activation):
    many, two, labels = RNG.integers(0, 3, 60), RNG.integers(0, 2, 60), RNG.integers(0, 2, (60, 3))
    for y, loss in ((many, "cross_entropy"), (two, "binary_cross_entropy"),
                    (labels, "binary_cross_entropy")):  # fmt: skip
        model, X = _fitted(sklearn, y, activation=activation)
        network = nncore.from_sklearn(model)
        want = model.predict_proba(X)
        alike(network, X, want[:, 1:] if want.shape[1] == 2 else want)
        assert network.loss == loss and network.dtype == np.float64


def test_regressors(sklearn):
    y = RNG.normal(size=(60, 2))
    for target, arguments in ((y, {}), (y[:, 0], {}), (abs(y[:, 0]), {"loss": "poisson"})):
        model, X = _fitted(sklearn, target, regressor=True, **arguments)
        network = nncore.from_sklearn(model)
        alike(network, X, model.predict(X))
        assert network.loss == "mse"


def test_scalers_become_a_layer(sklearn):
    from sklearn import preprocessing as p

    scalers = [
        [p.StandardScaler()], [p.StandardScaler(with_mean=False)], [p.MinMaxScaler((-1, 2))],
        [p.StandardScaler(with_std=False)], [p.MaxAbsScaler()],
        [p.MinMaxScaler(), "passthrough", p.StandardScaler()],
    ]  # fmt: skip
    for before in scalers:
        model, X = _fitted(sklearn, RNG.integers(0, 3, 60), before)
        network = nncore.from_sklearn(model)
        alike(network, X, model.predict_proba(X))
        assert [type(layer) for layer in network.layers] == [Scaling, Dense, Dense, Dense]


def test_float32_models_stay_float32(sklearn):
    from sklearn.preprocessing import StandardScaler

    model, X = _fitted(sklearn, RNG.integers(0, 3, 60), [StandardScaler()], dtype=np.float32)
    network = nncore.from_sklearn(model)
    assert network.dtype == np.float32
    alike(network, X, model.predict_proba(X))
    assert nncore.from_sklearn(model, dtype="float64").dtype == np.float64


def test_estimators_of_nncore(sklearn):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from nncore.sklearn import MLPClassifier, MLPRegressor

    rng = np.random.default_rng(0)
    X, y = rng.normal(3, 2, (60, 4)), rng.integers(0, 3, 60)
    arguments = {"hidden_layer_sizes": (6,), "dropout": 0.1, "max_iter": 3, "tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPClassifier(random_state=0, **arguments).fit(X, y)
        piped = make_pipeline(StandardScaler(), MLPClassifier(**arguments)).fit(X, y)
        rates = MLPRegressor(loss="poisson", **arguments).fit(X, y)
    network, want = nncore.from_sklearn(model), model.predict_proba(X)
    assert repr(network.layers) == repr(model.network_.layers)
    assert not set(map(id, network.layers)) & set(map(id, model.network_.layers))
    assert_same_bits(network.predict(X), model.network_.predict(X))
    network.fit(X, y, epochs=1, verbose=False)
    assert_same_bits(model.predict_proba(X), want)
    network = nncore.from_sklearn(make_pipeline(piped))
    assert type(network.layers[0]) is Scaling
    alike(network, X, piped.predict_proba(X))
    network = nncore.from_sklearn(rates)
    alike(network, X, np.log(rates.predict(X)))
    assert network.loss == "poisson" and nncore.from_sklearn(rates, loss="mse").loss == "mse"
    with pytest.raises(ValueError, match="MLPClassifier is not fitted yet"):
        nncore.from_sklearn(MLPClassifier())
    with pytest.raises(TypeError, match="got the class MLPClassifier"):
        nncore.from_sklearn(MLPClassifier)


def test_what_is_refused_of_scikit_learn(sklearn):
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures

    with pytest.raises(ValueError, match="MLPClassifier is not fitted yet"):
        nncore.from_sklearn(MLPClassifier())
    with pytest.raises(TypeError, match=r"got builtins\.int"):
        nncore.from_sklearn(3)
    with pytest.raises(TypeError, match="not MinMaxScaler"):
        nncore.from_sklearn(MinMaxScaler())
    for before, message in ((PolynomialFeatures(), r"PolynomialFeatures\(\) has no counterpart"),
                            (MinMaxScaler(clip=True), "clip=True")):  # fmt: skip
        model, _ = _fitted(sklearn, RNG.integers(0, 3, 60), [before])
        with pytest.raises(ValueError, match=message):
            nncore.from_sklearn(model)


# ---- PyTorch ----


def _torch_activations(nn):
    return [
        nn.CELU(0.7), nn.ELU(1.3), nn.GELU(), nn.GELU("tanh"), nn.Hardshrink(0.3), nn.Hardsigmoid(),
        nn.Hardswish(), nn.Hardtanh(), nn.Hardtanh(0, 1), nn.Hardtanh(0, 6), nn.LeakyReLU(),
        nn.LeakyReLU(0.3), nn.LogSigmoid(), nn.Mish(), nn.ReLU(), nn.ReLU6(), nn.SELU(), nn.SiLU(),
        nn.Sigmoid(), nn.Softplus(), nn.Softplus(2.0), nn.Softshrink(0.2), nn.Softsign(), nn.Tanh(),
        nn.Tanhshrink(), nn.Threshold(0.1, 0.2),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_modules(torch, dtype):
    nn = torch.nn
    for f in _torch_activations(nn):
        module = nn.Sequential(
            nn.Linear(5, 7), f, nn.BatchNorm1d(7, eps=1e-3), f, nn.Sequential(nn.LayerNorm(7), f),
            nn.PReLU(7), nn.Dropout(0.2), nn.Linear(7, 3, bias=False), nn.PReLU(), nn.Identity(),
        ).to(getattr(torch, dtype))  # fmt: skip
        for values in (*module.parameters(), *module.buffers()):
            if values.is_floating_point():
                values.data += torch.rand_like(values) / 2
        X = 2 * torch.randn(40, 5, dtype=values.dtype if values.is_floating_point() else None)
        X = X.to(getattr(torch, dtype))
        network = nncore.from_torch(module)
        assert network.dtype == dtype
        with torch.no_grad():
            alike(network, X.numpy(), module.eval()(X))


def test_activations_go_into_the_dense_before_them(torch):
    nn = torch.nn
    module = nn.Sequential(nn.Linear(2, 3), nn.SiLU(), nn.Linear(3, 2), nn.Softmax(dim=1))
    network = nncore.from_torch(module, optimizer=nncore.SGD(0.1), seed=3)
    assert repr(network.layers) == "(Dense(3, 'silu'), Dense(2, 'softmax'))"
    assert network.loss == "cross_entropy" and isinstance(network.optimizer, nncore.SGD)
    assert nncore.from_torch(module, loss="mse").loss == "mse"
    before = module[0].weight.detach().clone()
    network.layers[0].W[...] = 0
    assert torch.equal(module[0].weight, before)


def test_embeddings_and_frozen_modules(torch):
    nn = torch.nn
    module = nn.Sequential(
        nn.Embedding(9, 4), nn.Dropout(0.1), nn.Flatten(), nn.Linear(12, 5),
        nn.BatchNorm1d(5, affine=False, momentum=0.3), nn.LogSigmoid(), nn.Linear(5, 2),
        nn.LogSoftmax(dim=-1),
    )  # fmt: skip
    module[3].requires_grad_(False)
    X = torch.randint(0, 9, (20, 3))
    network = nncore.from_torch(module)
    with torch.no_grad():
        alike(network, X.numpy(), module.eval()(X))
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [Embedding, Dropout, Dense, BatchNorm, Dense, Dense]
    assert [layer.trainable for layer in network.layers[2:]] == [False, False, False, True]
    assert network.layers[3].momentum == 0.3 and network.n_in == 3


def test_what_would_train_otherwise_is_refused(torch):
    nn = torch.nn
    for name in ("weight", "bias"):
        for linear in (nn.Linear(3, 3), nn.BatchNorm1d(3)):
            getattr(linear, name).requires_grad = False
            with pytest.raises(ValueError, match="module 0, .* frozen in part"):
                nncore.from_torch(nn.Sequential(linear, nn.Linear(3, 1)))
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    for second in (one, other):
        module = nn.Sequential(one, nn.Tanh(), nn.Sequential(second))
        with pytest.raises(ValueError, match=r"module 2\.0, Linear shares .* module 0, Linear"):
            nncore.from_torch(module)
    X = torch.randn(4, 3)
    module = nn.Sequential(one.requires_grad_(False), nn.Tanh(), one, nn.Linear(3, 1))
    with torch.no_grad():
        alike(nncore.from_torch(module), X.numpy(), module(X))


def test_an_imported_network_trains(torch):
    nn = torch.nn
    module = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    X = np.random.default_rng(2).normal(size=(64, 3))
    y = X.sum(axis=1)
    network = nncore.from_torch(module, optimizer=nncore.Adam(0.02), seed=0)
    history = network.fit(X, y, epochs=90, verbose=False)
    assert history["loss"][-1] < 0.2 * history["loss"][0]


def test_what_is_refused_of_modules(torch):
    nn = torch.nn

    class Doubled(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    class Mine(nn.Module):
        def forward(self, x):
            return x

    linear = nn.Linear(3, 2)
    for module, error, message in (
        (Doubled(linear), TypeError, "forward of its own"),
        (Mine(), TypeError, "forward of its own"),
        (nn.Sequential(linear, nn.Sequential(nn.RReLU())), ValueError, r"module 1\.0, RReLU"),
        (nn.Sequential(linear, nn.Linear(3, 1)), ValueError, "takes 3 inputs, but there are 2"),
        (nn.Sequential(linear, nn.Softmax(0)), ValueError, "dim=0"),
        (nn.Sequential(nn.Softmax(1), linear), ValueError, "only the last layer"),
        (nn.Sequential(linear, nn.Hardtanh(-2, 2)), ValueError, r"Hardtanh to \[-2, 2\]"),
        (nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 1)), ValueError, r"put Flatten\(\)"),
        (nn.Sequential(nn.Embedding(3, 2, max_norm=1.0), nn.Flatten()), ValueError, "max_norm"),
        (nn.Sequential(nn.BatchNorm1d(3, momentum=None)), ValueError, "momentum=None"),
        (
            nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)),
            ValueError,
            "running_mean=None",
        ),
        (nn.Sequential(nn.LayerNorm((2, 3))), ValueError, r"normalized_shape=\(2, 3\)"),
        (nn.Sequential(linear, nn.LeakyReLU(-1.0)), ValueError, "module 1, LeakyReLU: slope"),
        (nn.Sequential(), ValueError, "no layers"),
        (nn.Sequential(nn.ReLU()), ValueError, "number of inputs is unknown"),
    ):
        with pytest.raises(error, match=message):
            nncore.from_torch(module)
    with pytest.raises(TypeError, match="layers are for a state_dict"):
        nncore.from_torch(linear, ["relu"])
    linear.weight.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="W of module itself, Linear has values that are n"):
        nncore.from_torch(linear)


def test_state_dicts(torch, tmp_path):
    nn = torch.nn
    module = nn.Sequential(
        *(layer for _ in range(5) for layer in (nn.Linear(4, 4), nn.Tanh())), nn.BatchNorm1d(4),
        nn.LayerNorm(4), nn.PReLU(4), nn.Linear(4, 2), nn.Softmax(1),
    ).double().eval()  # fmt: skip
    X = torch.randn(30, 4, dtype=torch.float64)
    layers = ["tanh"] * 5 + [BatchNorm(), LayerNorm(), PReLU(), Dropout(0.1), Dense(2, "softmax")]
    with torch.no_grad():
        want = module(X)
    alike(nncore.from_torch(module.state_dict(), layers), X.numpy(), want)

    save_file = pytest.importorskip("safetensors.torch", reason="its files").save_file
    path = tmp_path / "model.safetensors"
    save_file(module.state_dict(), path)  # in the order of the texts: 0, 10, 12, 2, ...
    alike(nncore.from_torch(path, layers), X.numpy(), want)
    names = [*map(str, range(0, 10, 2)), "10", "11", "12", "", "13"]
    alike(nncore.from_torch(str(path), dict(zip(names, layers, strict=True))), X.numpy(), want)


def test_weights_of_a_residual_block():
    rng = np.random.default_rng(0)
    shapes = {"a": (6, 3), "b": (3, 6), "c": (1, 3)}
    weights = {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
    weights["b.bias"] = rng.normal(size=3)
    block = Residual(Dense(6, "tanh", bias=False), Dense(3))
    network = nncore.from_torch(weights, [block, Dense(1, bias=False)])
    X = rng.normal(size=(5, 3))
    A, B, C = (weights[f"{name}.weight"].T for name in shapes)
    alike(network, X, (X + np.tanh(X @ A) @ B + weights["b.bias"]) @ C)


def test_what_is_refused_of_weights(tmp_path):
    weights = {"fc.weight": np.ones((4, 3)), "fc.bias": np.ones(4), "out.weight": np.ones((2, 4))}
    for layers, error, message in (
        (None, TypeError, "give the layers or their activations"),
        (["relu"], ValueError, "'out' and what follows belong to none"),
        (["relu"] * 3, ValueError, "fewer weights than layers"),
        ("relu", TypeError, "activations in a list"),
        ([1, 2], TypeError, "names of activations, got 1"),
        ([Dense(5), "relu"], ValueError, "takes 4 inputs, but there are 5"),
        ([BatchNorm(), "relu"], ValueError, "cannot have the weights of 'fc'"),
        ([Dense(4, bias=False), "relu"], ValueError, "cannot have the weights of 'fc'"),
        (["relu", Dense(2)], ValueError, "cannot have the weights of 'out'"),
        (["rleu", "relu"], ValueError, "Did you mean"),
        (
            {"fc": "relu", "end": "relu"},
            ValueError,
            r"\['fc', 'end'\], the weights \['fc', 'out'\]",
        ),
        ([Embedding(columns={0: (2, 2)}), "relu"], ValueError, "cannot have the weights"),
    ):
        with pytest.raises(error, match=message):
            nncore.from_torch(weights, layers)
    with pytest.raises(ValueError, match="'foo' and what follows"):
        nncore.from_torch({**weights, "foo": np.ones(2)}, ["relu", "identity"])
    with pytest.raises(ValueError, match="fewer weights"):
        nncore.from_torch({}, ["relu"])
    with pytest.raises(TypeError, match="'a' of the state_dict"):
        nncore.from_torch({"a": "text"}, ["relu"])
    with pytest.raises(ValueError, match="weights_only=True"):
        nncore.from_torch("model.pt", ["relu"])
    path = tmp_path / "model.safetensors"
    nncore.files.write(path, weights, {})
    with pytest.raises(ValueError, match="not numbered"):
        nncore.from_torch(path, ["relu", "softmax"])
    network = nncore.from_torch(path, {"fc": "relu", "out": "softmax"})
    assert repr(network.layers) == "(Dense(4, 'relu'), Dense(2, 'softmax', bias=False))"


# ---- Keras ----


def _outputs(keras, model, X):
    return keras.ops.convert_to_numpy(model(X, training=False))


def _keras_model(keras, layers, n_in=5):
    model = keras.Sequential([keras.Input((n_in,)), *layers])
    rng = np.random.default_rng(0)
    weights = model.get_weights()
    model.set_weights([w + rng.uniform(0.1, 0.5, w.shape).astype(w.dtype) for w in weights])
    return model


FUNCTIONS = [
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softplus", "softsign", "squareplus", "tanh", "tanh_shrink",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_keras_functions(keras):
    X = np.random.default_rng(1).normal(0, 1, (30, 5)).astype(np.float32)
    for name in FUNCTIONS:
        model = _keras_model(keras, [keras.layers.Dense(6, name), keras.layers.Dense(3)])
        alike(nncore.from_keras(model), X, _outputs(keras, model, X))


@pytest.mark.filterwarnings("ignore")
def test_keras_layers(keras):
    L = keras.layers
    X = np.random.default_rng(1).normal(0, 2, (30, 5)).astype(np.float32)
    for layer in (
        L.ReLU(), L.ReLU(6), L.ReLU(1.0), L.ReLU(negative_slope=0.1), L.ReLU(threshold=0.4),
        L.LeakyReLU(), L.ELU(0.7), L.PReLU(), L.PReLU(shared_axes=[1]), L.GaussianNoise(0.2),
        L.Dropout(0.3), L.BatchNormalization(), L.BatchNormalization(scale=False),
        L.BatchNormalization(center=False, scale=False, momentum=0.9), L.LayerNormalization(),
        L.LayerNormalization(center=False), L.Rescaling(0.3, 2.0), L.Activation("tanh"),
        L.Normalization(mean=np.arange(4), variance=[1, 2, 3, 4]), L.Softmax(), L.Identity(),
        L.Normalization(mean=np.arange(4), variance=[1, 2, 3, 4], invert=True), L.Flatten(),
    ):  # fmt: skip
        model = _keras_model(keras, [L.Dense(6, L.LeakyReLU()), L.Dense(4, use_bias=False), layer])
        network = nncore.from_keras(model)
        assert network.dtype == np.float32
        alike(network, X, _outputs(keras, model, X))
    leaky = nncore.from_keras(model).layers[0].function
    assert leaky == nncore.Activation("leaky_relu", slope=0.3)


@pytest.mark.filterwarnings("ignore")
def test_keras_models(keras):
    L = keras.layers
    scaled = L.Normalization()
    scaled.adapt(np.random.default_rng(0).normal(3, 2, (50, 5)))
    inputs = keras.Input((5,))
    inner = keras.Sequential([L.Dense(4, "relu"), L.BatchNormalization(trainable=False)])
    outputs = L.Dense(1, "sigmoid")(inner(scaled(inputs)))
    model = keras.Model(inputs, outputs)
    X = np.random.default_rng(1).normal(3, 2, (20, 5)).astype(np.float32)
    network = nncore.from_keras(model, optimizer="sgd")
    alike(network, X, _outputs(keras, model, X))
    assert network.loss == "binary_cross_entropy" and isinstance(network.optimizer, nncore.SGD)
    assert isinstance(network.layers[0], Scaling)
    assert [layer.trainable for layer in network.layers[1:]] == [True, False, True]
    assert network.layers[2].momentum == pytest.approx(0.01)

    tokens = _keras_model(keras, [L.Embedding(7, 3), L.Flatten(), L.Dense(2, "softmax")], 2)
    X = np.random.default_rng(1).integers(0, 7, (9, 2))
    alike(nncore.from_keras(tokens), X, _outputs(keras, tokens, X))


@pytest.mark.filterwarnings("ignore")
def test_what_is_refused_of_keras(keras):
    L, inputs = keras.layers, keras.Input((4,))
    dense = L.Dense(4)

    class Mine(L.Dense):
        def call(self, x):
            return 2 * super().call(x)

    hidden = L.Dense(4)(inputs)
    for model, error, message in (
        (3, TypeError, r"got builtins\.int"),
        (keras.Model(inputs, L.Add()([hidden, inputs])), ValueError, "'add.*alone"),
        (keras.Model(inputs, dense(dense(inputs))), ValueError, "used twice"),
        (keras.Model(inputs, [hidden, L.Dense(1)(hidden)]), ValueError, "outputs of the model are"),
        (keras.Sequential([L.Dense(3)]), ValueError, "not built"),
        (keras.Sequential([inputs, L.Dense(3, "glu")]), ValueError, "'glu'"),
        (keras.Sequential([inputs, L.RMSNormalization()]), ValueError, "RMSNormalization"),
        (keras.Sequential([inputs, Mine(3)]), TypeError, "call of its own"),
        (keras.Sequential([keras.Input((4, 3)), L.Dense(3)]), ValueError, "rows"),
        (keras.Sequential([inputs, L.ReLU(2.0)]), ValueError, "max_value=2"),
        (keras.Sequential([inputs, L.Softmax(), L.Dense(2)]), ValueError, "only the last layer"),
    ):
        with pytest.raises(error, match=message):
            nncore.from_keras(model)


# ---- links ----


def line(what, scale, shift):
    return Columns(what, shift, scale, True)


def test_maps_of_columns_become_weights_or_scalings():
    rng = np.random.default_rng(0)
    W, V, b = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=4)
    s, t, u = rng.uniform(1, 2, 3), rng.normal(size=3), rng.uniform(1, 2, 2)
    X = rng.normal(size=(20, 3))
    tanh = curve("f", "tanh")
    for sign, kinds in ((1, [Scaling, Dense, Dense, Scaling]), (-1, [Scaling, Dense, Dense])):
        links = [line("s", s, t), line("2", 2.0, 1.0), Affine("W", W, b), line("0.5", 0.5, 0.0),
                 tanh, Affine("V", V), line("u", sign * u, 3.0)]  # fmt: skip
        network = build(links)
        want = np.tanh(0.5 * ((2 * (s * X + t) + 1) @ W + b)) @ V * (sign * u) + 3
        alike(network, X, want)
        assert [type(layer) for layer in network.layers] == kinds
        assert network.layers[-1].scales == (sign == 1)
    gamma, beta = rng.normal(size=(2, 3))
    normal = norm("n", LayerNorm, 3, (gamma, beta))
    network = build([normal, line("s", s, t)])
    d = X - X.mean(axis=1, keepdims=True)
    y = gamma * d / np.sqrt((d * d).mean(axis=1, keepdims=True) + 1e-5) + beta
    alike(network, X, s * y + t)
    assert len(network.layers) == 1


def test_the_parts_of_a_scaling_are_that_scaling():
    m, s = np.array([1.0, -2, 0.3]), np.array([0.7, 3.0, 1 / 3])
    W = Affine("W", np.ones((3, 3)), np.ones(3), as_activation("tanh"))
    network = build([Columns("m", m), Columns("s", 0.0, s), W, Columns("s", 0.0, s, True),
                     Columns("m", m, inverted=True)])  # fmt: skip
    first, _, last = network.layers
    assert (first.inverted, last.inverted, network.loss) == (False, True, "mse")
    for layer in (first, last):
        assert_same_bits(layer.mean, m)
        assert_same_bits(layer.scale, s)


def test_what_stands_alone_stays_as_it_is_in_training():
    X = np.random.default_rng(0).normal(size=(20, 3))
    links = [curve("e", "tanh"), line("s", np.array([1.0, 2, 3]), 1.0), curve("g", "relu"),
             curve("h", "silu"), Affine("W", np.ones((3, 1)))]  # fmt: skip
    network = build(links, seed=0)
    y = np.maximum(np.tanh(X) * [1, 2, 3] + 1, 0)
    alike(network, X, (y / (1 + np.exp(-y))).sum(axis=1, keepdims=True))
    assert [type(layer) for layer in network.layers] == [Dense, Scaling, PReLU, Dense, Dense]
    before = network.theta.copy()
    network.fit(X, X[:, 0], epochs=3, verbose=False)
    assert_same_bits(network.theta[:-4], before[:-4])
    with pytest.raises(ValueError, match="5000 columns are too many"):
        build([curve("f", "tanh"), Affine("W", np.ones((5000, 1)))])
    with pytest.raises(ValueError, match="s: .*broadcast"):
        build([Affine("W", np.ones((3, 2))), Columns("s", 0.0, -np.ones(3))])
    with pytest.raises(ValueError, match="takes 2 inputs, but there are 3"):
        build([Affine("W", np.ones((3, 3)), function=as_activation("tanh")),
               Columns("s", 0.0, np.ones(2))])  # fmt: skip
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="s: Scaling needs finite means and positive"):
            build([Columns("s", 0.0, scale), Affine("W", np.ones((3, 1)))])


def test_options_are_checked_first():
    links = [Affine("W", np.ones((3, 1)))]
    for options in ({"dtype": "int8"}, {"backend": "gpu"}, {"seed": -1}, {"loss": "mes"},
                    {"optimizer": "adma"}):  # fmt: skip
        with pytest.raises(ValueError):
            build(links, **options)
    network = build(links, backend="reference", dtype="float32", loss="mae")
    assert (network.backend, network.dtype, network.loss) == ("reference", np.float32, "mae")
    with pytest.raises(ValueError, match="not finite in float32"):
        build([Affine("W", np.full((3, 1), 1e300))], dtype="float32")


def test_nothing_is_imported():
    code = (
        "import sys, nncore\n"
        "net = nncore.Network(2, nncore.Dense(2, 'gelu'), nncore.Dense(1), seed=0)\n"
        "nncore.from_onnx(net.to_onnx())\n"
        "for read in (nncore.from_sklearn, nncore.from_torch, nncore.from_keras):\n"
        "    try:\n"
        "        read(object())\n"
        "    except TypeError:\n"
        "        pass\n"
        "others = {'onnx', 'onnxruntime', 'torch', 'sklearn', 'keras', 'safetensors', 'google'}\n"
        "assert not others & set(sys.modules), others & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=os.sep)


def test_errors_name_the_right_reader(tmp_path):
    network = nncore.Network(3, Dense(3, "relu"), Dense(2), seed=0)
    saved, written = tmp_path / "net.safetensors", tmp_path / "net.onnx"
    network.save(saved)
    network.to_onnx(written)
    with pytest.raises(ValueError, match=r"read it with nncore\.load"):
        nncore.from_torch(saved, ["relu", "identity"])
    with pytest.raises(nncore.files.FileFormatError, match=r"nncore\.load reads"):
        nncore.from_onnx(saved)
    with pytest.raises(nncore.files.FileFormatError, match=r"nncore\.from_onnx reads"):
        nncore.load(written)


def test_safetensors_reads_what_nncore_saves(tmp_path):
    load_file = pytest.importorskip("safetensors.numpy", reason="its files").load_file
    network = nncore.Network(3, Dense(4, "relu"), BatchNorm(), Dense(2), dtype="float64", seed=0)
    network.save(tmp_path / "net.safetensors")
    found = load_file(tmp_path / "net.safetensors")
    assert_same_bits(found["layers.0.W"], network.layers[0].W)
    assert_same_bits(found["layers.1.running_var"], network.layers[1].running_var)
    assert {name.partition(".")[0] for name in found} == {"layers", "optimizer"}


@pytest.mark.filterwarnings("ignore")
def test_the_examples_with_other_packages(tmp_path, monkeypatch):
    """The ```py blocks of docs/exchange.md, which test_docs does not run, where they can be."""
    page = Path(__file__).parents[1] / "docs" / "exchange.md"
    if not page.exists():
        pytest.skip("docs/ is not here: these are the sources of a release")
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "__main__"}
    found = re.findall(r"^```(py|python)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    assert sum(kind == "py" for kind, _ in found) == 5
    for kind, code in found:
        packages = re.findall(r"^(?:import|from) (\w+)", code, re.M)
        if "keras" in packages:
            packages += [] if any(map(_is_here, BACKENDS)) else ["a backend of Keras"]
        if "torch.onnx" in code:
            packages.append("onnx")
        if kind == "python" or all(map(_is_here, packages)):
            exec(code, space)
