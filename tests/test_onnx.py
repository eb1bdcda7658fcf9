"""Networks are written as ONNX models that runtimes agree with, and read again."""

import io
import random
import struct
import tracemalloc

import numpy as np
import pytest

import nncore
from nncore import Activation, Dense, Embedding, LayerNorm, Network, Residual
from nncore import layers as all_layers
from nncore.exchange import onnx_writing, protobuf
from nncore.exchange.recognition import OPERATORS
from nncore.files import FileFormatError
from nncore.names import ACTIVATIONS, WHOLE_ROW

from .checks import assert_near, assert_same_bits
from .stacks import EVERY, inputs, make

DTYPES = ("float32", "float64")
PARAMETERS = {
    "sigmoid": {"gain": 2.0}, "tanh": {"gain": 0.5}, "softplus": {"beta": 3.0},
    "softsign": {"gain": 2.0}, "leaky_relu": {"slope": 0.3}, "elu": {"alpha": 0.7},
    "elliot": {"gain": 0.5}, "celu": {"alpha": 0.7}, "hard_shrink": {"width": 0.3},
    "softshrink": {"width": 0.3}, "threshold": {"threshold": -0.3, "value": 0.7},
    "squareplus": {"b": 1.7}, "sin": {"gain": 3.0}, "gaussian": {"gain": 0.7},
}  # fmt: skip


def of_activation(name, dtype, parameters=None):
    """A small network whose outputs are of this activation."""
    f = Activation(name, **parameters or {})
    hidden = "tanh" if name in (*WHOLE_ROW, "exponential", "identity") else f
    loss = None if name in WHOLE_ROW else "mse"
    network = Network(4, Dense(6, hidden), Dense(5, f), dtype=dtype, seed=1, loss=loss)
    network.theta += np.random.default_rng(0).normal(0, 0.3, network.n_params)
    return network


def rows(network, n=40):
    return np.random.default_rng(2).normal(0, 2, (n, network.n_in)).astype(network.dtype)


@pytest.fixture(scope="module")
def runtime():
    """What runs an ONNX model on X."""
    ort = pytest.importorskip("onnxruntime", reason="runs ONNX models")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4

    def run(model, X):
        return ort.InferenceSession(model, options).run(["Y"], {"X": X})[0]

    return run


def agree(got, network, X):
    """Outputs differ by the roundings of some sums and activations, and by less than 1e-6."""
    want = network.predict(X)
    assert np.ptp(want) > 0
    assert_near(got, want, min(120, 1e-6 / np.finfo(network.dtype).eps * 4))


# ---- writing ----


def test_all_activations_and_layers_can_be_written():
    assert set(onnx_writing.ACTIVATIONS) == set(ACTIVATIONS)
    known = {getattr(all_layers, name) for name in all_layers.__all__} - {all_layers.Layer}
    assert {k for k in known if issubclass(k, all_layers.Layer)} == {
        getattr(all_layers, name) for name in onnx_writing.WRITERS
    }
    assert set(PARAMETERS) == {name for name, row in ACTIVATIONS.items() if row["parameters"]}


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_run(runtime, dtype):
    for name in ACTIVATIONS:
        for opset in (13, 17, 21):
            network = of_activation(name, dtype, PARAMETERS.get(name) if opset == 17 else None)
            if name == "gelu" and dtype == "float64":
                with pytest.raises(Exception, match="Erf"):  # should it come: say so no longer
                    runtime(network.to_onnx(opset=opset), rows(network))
                continue
            agree(runtime(network.to_onnx(opset=opset), rows(network)), network, rows(network))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("opset", [13, 17, 18, 24])
def test_layers_run(runtime, dtype, opset):
    for name in EVERY:
        network = make(name, dtype)
        running = network._engine.running
        running[...] = np.random.default_rng(0).uniform(0.3, 2, len(running))
        X = inputs(name, 30).astype(dtype)
        agree(runtime(network.to_onnx(opset=opset), X), network, X)


def test_activations_far_out(runtime):
    """No form overflows where the activation does not; a factor of x may be rounded beside 1."""
    x = np.array([0.0, 1e-6, 0.4, 9, 30, 90, 1e4, 1e10, 1e18], np.float32)
    x = np.concatenate([x, -x])[:, None]
    for name in set(ACTIVATIONS) - set(WHOLE_ROW) - {"sin"}:
        for dtype in DTYPES:
            network = Network(1, Dense(1, name), dtype=dtype, loss="mse", seed=0)
            network.theta[...] = [1, 0]
            if (name, dtype) == ("gelu", "float64"):
                continue
            got, want = runtime(network.to_onnx(), x.astype(dtype)), network.predict(x)
            eps = np.finfo(dtype).eps
            finite = np.isfinite(want)
            assert (np.isfinite(got) == finite).all(), name
            bound = 8 * eps * (1 + abs(want) + np.minimum(abs(x), 40))
            assert (abs(got[finite] - want[finite]) <= bound[finite]).all(), name


def test_models_are_valid():
    checker = pytest.importorskip("onnx.checker", reason="checks ONNX models")
    for network in [make(name, dtype) for name in EVERY for dtype in DTYPES]:
        for opset in onnx_writing.OPSETS:
            checker.check_model(network.to_onnx(opset=opset), full_check=True)


def test_what_is_in_a_model():
    onnx = pytest.importorskip("onnx", reason="reads ONNX models")
    network = Network(3, Dense(4, "relu"), Residual(Dense(4, "tanh")), Dense(2), seed=0)
    model = onnx.load_from_string(network.to_onnx())
    (entered,), (left,) = model.graph.input, model.graph.output
    dims = [(d.dim_param or d.dim_value) for d in entered.type.tensor_type.shape.dim]
    assert (entered.name, dims) == ("X", ["batch", 3])
    dims = [(d.dim_param or d.dim_value) for d in left.type.tensor_type.shape.dim]
    assert (left.name, dims) == ("Y", ["batch", 2])
    assert [node.op_type for node in model.graph.node] == [
        "Gemm",
        "Relu",
        "Gemm",
        "Tanh",
        "Add",
        "Gemm",
    ]
    W = onnx.numpy_helper.to_array(model.graph.initializer[0])
    assert model.graph.initializer[0].name == "layers.0.W"
    assert_same_bits(W, network.layers[0].W)


def test_bytes_are_the_same_each_time(tmp_path):
    import hashlib

    network = Network(2, Dense(3, "mish"), Dense(1, "sigmoid"))
    network.theta = np.arange(network.n_params) / 8
    model = network.to_onnx()
    assert model == network.to_onnx() == network.copy().to_onnx(dtype="float32", opset=17)
    assert hashlib.sha256(model).hexdigest()[:16] == "2d54630632928ab8"
    assert network.to_onnx(tmp_path / "net.onnx") is None
    assert (tmp_path / "net.onnx").read_bytes() == model
    assert nncore.from_onnx(str(tmp_path / "net.onnx")).predict([[1, 2]]) == network.predict(
        [[1, 2]]
    )


def test_another_type(runtime):
    network = of_activation("gelu", "float64")
    X = rows(network)
    model = network.to_onnx(dtype="float32")
    agree(runtime(model, X.astype(np.float32)), Network.copy(nncore.from_onnx(model)), X)
    assert_near(runtime(model, X.astype(np.float32)), network.predict(X), 200, np.float32)
    network.layers[0].W[0, 0] = 1e300
    with pytest.raises(ValueError, match=r"layers\.0\.W has values that are not finite in float32"):
        network.to_onnx(dtype="float32")


def test_what_is_not_written(tmp_path, monkeypatch):
    network = Network(2, Dense(2, "tanh"), Dense(1), seed=0)
    for opset in (12, 25, None, "17", 17.5):
        with pytest.raises(ValueError, match="from 13 to 24"):
            network.to_onnx(opset=opset)
    with pytest.raises(ValueError, match="dtype must be"):
        network.to_onnx(dtype="float16")
    with pytest.raises(TypeError, match="a path or None .* got a BytesIO"):
        network.to_onnx(io.BytesIO())
    path = tmp_path / "net.onnx"
    path.write_bytes(b"before")
    draws = Network(2, Dense(2, "tanh"), nncore.Dropout(0.5, always=True), Dense(1), seed=0)
    with pytest.raises(ValueError, match=r"layers\.1 is Dropout\(0\.5, always=True\)"):
        draws.to_onnx(path)
    network.layers[0].W[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        network.to_onnx(path)
    assert path.read_bytes() == b"before"
    monkeypatch.setattr(nncore.names, "own_activations", {})
    nncore.register_activation("mine", lambda x: x * x, lambda x: 2 * x)
    with pytest.raises(ValueError, match=r"layers\.0 is .*an activation of your own"):
        Network(2, Dense(2, "mine"), Dense(1)).to_onnx()


# ---- reading what was written ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_are_read_again(dtype):
    for name in ACTIVATIONS:
        for opset in (13, 20):
            for parameters in ({}, PARAMETERS.get(name, {})):
                network = of_activation(name, dtype, parameters)
                twin = nncore.from_onnx(network.to_onnx(opset=opset))
                assert twin.dtype == dtype and len(twin.layers) == 2
                if "gain" in parameters:  # it is in the weights now
                    assert_near(twin.predict(rows(network)), network.predict(rows(network)), 64)
                    continue
                assert_same_bits(twin.predict(rows(network)), network.predict(rows(network)))
                if name != "celu" or parameters:  # with alpha 1 it is elu
                    assert twin.layers[1].function == network.layers[1].function


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_are_read_again(dtype):
    for name in EVERY:
        for opset in (13, 17, 24):
            network = make(name, dtype)
            twin = nncore.from_onnx(network.to_onnx(opset=opset))
            X = inputs(name, 30)
            assert_same_bits(twin.predict(X), network.predict(X))
            kept = [k for k in map(repr, network.layers) if not k.startswith(("Dropout", "Gauss"))]
            assert len(twin.layers) <= len(kept)


# ---- reading what others write ----

FLOAT, DOUBLE = 1, 11


def tensor(name, values, dtype=np.float32, **fields):
    values = np.asarray(values, dtype)
    kind = {"f4": FLOAT, "f8": DOUBLE, "i8": 7, "f2": 10}[values.dtype.str[1:]]
    return {"name": name, "dims": list(values.shape), "data_type": kind,
            "raw_data": values.tobytes()} | fields  # fmt: skip


def node(op, inputs, output, domain="", **attributes):
    return {
        "op_type": op, "input": inputs.split(), "output": output.split(), "domain": domain,
        "attribute": [_attribute(*item) for item in attributes.items()],
    }  # fmt: skip


def _attribute(name, value):
    if isinstance(value, list):
        return {"name": name, "floats": value, "type": 6}
    return (
        onnx_writing._attribute(name, value)
        if not isinstance(value, dict)
        else value | {"name": name}
    )


def model(nodes, constants, n_in=3, outputs="Y", entered=("X",), opset=17):
    """The bytes of a model; n_in None: without a shape."""
    shape = {"dim": [{"dim_param": "n"}, {"dim_value": n_in}]}
    kind = {"elem_type": FLOAT} | ({} if n_in is None else {"shape": shape})
    inputs = [{"name": name, "type": {"tensor_type": kind}} for name in entered]
    graph = {"node": nodes, "initializer": constants, "input": inputs,
             "output": [{"name": name} for name in outputs.split()]}  # fmt: skip
    opsets = [{"version": opset}, {"domain": "ai.onnx.ml", "version": 1}]
    return b"".join(protobuf.encode({"ir_version": 8, "graph": graph, "opset_import": opsets}))


RNG = np.random.default_rng(5)
X = RNG.normal(size=(20, 3)).astype(np.float32)
W, V, B = (RNG.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4, 2), (4,)))
CONSTANTS = [tensor("W", W), tensor("V", V), tensor("b", B), tensor("two", 2.0),
             tensor("s", [1, 2, 3]), tensor("t", [[3, 4]]), tensor("WT", W.T)]  # fmt: skip


def check(nodes, want, layers=None, constants=CONSTANTS, x=X, **options):
    network = nncore.from_onnx(model(nodes, constants, **options))
    assert_near(network.predict(x).astype(np.float64), np.asarray(want, np.float64), 64, np.float32)
    if layers is not None:
        assert repr(network.layers) == layers
    return network


def test_affine_maps_of_others():
    want = np.tanh(X @ W + B) @ V
    layers = "(Dense(4, 'tanh'), Dense(2, 'identity', bias=False))"
    end = [node("Tanh", "z", "h"), node("MatMul", "h V", "Y")]
    check([node("Gemm", "X W b", "z"), *end], want, layers)
    check([node("MatMul", "X W", "m"), node("Add", "b m", "z"), *end], want, layers)
    check([node("Gemm", "X WT b", "z", transB=1), *end], want, layers, n_in=None)
    check([node("Transpose", "WT", "W2"), node("Gemm", "X W2 b", "z"), *end], want, layers)
    check([node("Identity", "X", "x"), node("Cast", "x", "x2", to=1), node("Flatten", "x2", "x3"),
           node("Gemm", "x3 W b", "d"), node("Dropout", "d", "z"), *end], want, layers)  # fmt: skip
    want = np.tanh(0.5 * (X @ W) + 2 * B) @ V
    check([node("Gemm", "X W b", "z", alpha=0.5, beta=2.0), *end], want, layers)
    constant = node("Constant", "", "c", value={"t": tensor("", [-1, 3], np.int64), "type": 4})
    check([constant, node("Reshape", "X c", "x"), node("Gemm", "x W b", "z"), *end],
          np.tanh(X @ W + B) @ V, layers)  # fmt: skip


def test_scaled_inputs_and_outputs_of_others():
    before = [node("Sub", "X s", "d"), node("Div", "d two", "x")]
    after = [node("Mul", "h t", "m"), node("Sub", "two m", "Y")]
    z = np.maximum((X - [1, 2, 3]) / 2 @ W + B, 0)
    nodes = [
        *before,
        node("Gemm", "x W b", "z"),
        node("Relu", "z", "r"),
        node("MatMul", "r V", "h"),
    ]
    scaled = "Scaling(mean=[1.0, 2.0, 3.0], scale=[2.0, 2.0, 2.0])"
    layers = f"({scaled}, Dense(4, 'relu'), Dense(2, 'identity'))"
    check([*nodes, *after], 2 - z @ V * [3, 4], layers)
    nodes = [*nodes, node("Mul", "h t", "m"), node("Add", "m two", "Y")]
    network = check(nodes, z @ V * [3, 4] + 2)
    first, *_, last = network.layers
    assert_same_bits(first.mean, np.array([1, 2, 3], np.float32))
    assert (first.inverted, last.inverted, last.scale.tolist()) == (False, True, [3, 4])


@pytest.mark.parametrize("dtype", DTYPES)
def test_scalings_are_read_again(dtype):
    """First and last, bit by bit; a network without its numbers is not written."""
    for scale in (1.0, [0.7, 3.0]):
        here = nncore.Scaling(mean=[3.0, 0.1], scale=scale)
        network = Network(2, here, Dense(2, "tanh"), here.inverse(), dtype=dtype, seed=0)
        twin = nncore.from_onnx(network.to_onnx())
        assert [type(layer) for layer in twin.layers] == [nncore.Scaling, Dense, nncore.Scaling]
        x = rows(network)
        assert_same_bits(twin.predict(x), network.predict(x))
        y = network.predict(x)[::-1]
        assert_same_bits(twin.loss_and_gradient(x, y)[1], network.loss_and_gradient(x, y)[1])
        for layer, right in zip(twin.layers[::2], network.layers[::2], strict=True):
            assert layer.inverted == right.inverted
            assert_same_bits(layer.mean, right.mean)
            assert_same_bits(layer.scale, right.scale)
    with pytest.raises(ValueError, match="has no numbers yet"):
        Network(2, nncore.Scaling(), Dense(1), seed=0).to_onnx()


def test_activations_in_the_words_of_others():
    """Whatever order and operators an exporter takes."""
    numbers = {"half": 0.5, "root2": 2**0.5, "one": 1, "three": 3, "cube": 0.044715, "six": 6,
               "u": (2 / np.pi) ** 0.5, "zero": 0, "below": -0.5}  # fmt: skip
    constants = [*CONSTANTS, *(tensor(name, value) for name, value in numbers.items())]
    z = [node("Gemm", "X W b", "z")]
    cases = {
        "gelu": [("Div", "z root2", "a"), ("Erf", "a", "e"), ("Add", "e one", "f"),
                 ("Mul", "z f", "g"), ("Mul", "g half", "Y")],
        "gelu_tanh": [("Pow", "z three", "a"), ("Mul", "a cube", "c"), ("Add", "z c", "d"),
                      ("Mul", "d u", "e"), ("Tanh", "e", "f"), ("Add", "one f", "g"),
                      ("Mul", "half z", "h"), ("Mul", "g h", "Y")],
        "silu": [("Sigmoid", "z", "a"), ("Mul", "a z", "Y")],
        "mish": [("Softplus", "z", "a"), ("Tanh", "a", "c"), ("Mul", "z c", "Y")],
        "hard_swish": [("Add", "z three", "a"), ("Clip", "a zero six", "c"), ("Mul", "z c", "d"),
                       ("Div", "d six", "Y")],
        "sigmoid": [("Neg", "z", "a"), ("Exp", "a", "c"), ("Add", "c one", "d"),
                    ("Reciprocal", "d", "Y")],
        "softplus": [("Exp", "z", "a"), ("Add", "one a", "c"), ("Log", "c", "Y")],
        "relu": [("Max", "zero z", "Y")],
        "relu6": [("Relu", "z", "a"), ("Min", "a six", "Y")],
        "tanhshrink": [("Tanh", "z", "a"), ("Sub", "z a", "Y")],
        "log_sigmoid": [("Sigmoid", "z", "a"), ("Log", "a", "Y")],
        "hard_shrink": [("Greater", "z half", "a"), ("Less", "z below", "c"), ("Or", "a c", "d"),
                        ("Where", "d z zero", "Y")],
        "gaussian": [("Mul", "z z", "a"), ("Neg", "a", "c"), ("Exp", "c", "Y")],
    }  # fmt: skip
    for name, steps in cases.items():
        nodes = [node(*step) for step in steps]
        want = nncore.activations[name].f(X @ W + B)
        network = check([*z, *nodes], want, constants=constants)
        assert [layer.activation for layer in network.layers] == [name]
    clip = node("Clip", "z", "Y", min=0.0, max=6.0)  # as before opset 11
    check([*z, clip], np.clip(X @ W + B, 0, 6), "(Dense(4, 'relu6'),)", opset=9)
    half = [node("Clip", "z zero", "Y")]
    check([*z, *half], np.maximum(X @ W + B, 0), "(Dense(4, 'relu'),)", constants=constants)
    twice = [node("Mul", "z two", "a"), node("Tanh", "a", "t1"), node("Add", "t1 one", "Y")]
    check([*z, *twice], np.tanh(2 * (X @ W + B)) + 1, constants=constants)


def test_what_is_nearly_an_activation_is_none():
    """relu, but for a bump at 0.5 or a bound that is far away."""
    z = [node("Gemm", "X W b", "z"), node("Relu", "z", "r")]
    bump = [node("Sub", "z half", "d"), node("Abs", "d", "a"), node("Sub", "small a", "c"),
            node("Relu", "c", "e"), node("Add", "r e", "Y")]  # fmt: skip
    constants = [*CONSTANTS, tensor("half", 0.5), tensor("small", 0.05), tensor("far", 3e4)]
    for nodes in (bump, [node("Min", "r far", "Y")]):
        with pytest.raises(FileFormatError, match="no activation of nncore"):
            nncore.from_onnx(model([*z, *nodes], constants))


def test_sums_are_residual_blocks():
    U = RNG.normal(size=(4, 4)).astype(np.float32)
    constants = [*CONSTANTS, tensor("U", U)]
    nodes = [node("Gemm", "X W b", "z"), node("Relu", "z", "r"), node("MatMul", "r U", "m"),
             node("Add", "m z", "Y")]  # fmt: skip
    z = X @ W + B
    check(nodes, z + np.maximum(z, 0) @ U, constants=constants)
    nodes[-1] = node("Add", "r m", "Y")
    check(nodes, np.maximum(z, 0) + np.maximum(z, 0) @ U,
          "(Dense(4, 'relu'), Residual(Dense(4, 'identity', bias=False)))", constants)  # fmt: skip
    check([node("Gemm", "X W b", "z"), node("Tanh", "z", "t1"), node("Add", "z t1", "Y")],
          z + np.tanh(z))  # fmt: skip


def test_one_of_many_outputs():
    nodes = [node("Gemm", "X W b", "z"), node("Tanh", "z", "h"), node("ArgMax", "h", "label")]
    check(nodes, np.tanh(X @ W + B), outputs="label h")
    data = model(nodes, CONSTANTS, outputs="h label")
    assert nncore.from_onnx(data, "h").n_out == 4
    with pytest.raises(FileFormatError, match="ArgMax"):
        nncore.from_onnx(data)
    with pytest.raises(FileFormatError, match="no output 'no'"):
        nncore.from_onnx(data, "no")


def test_tensors_of_others():
    fields = {"dims": [3, 4], "name": "W"}
    packed = {"data_type": FLOAT, "float_data": [W.tobytes()]}
    check([node("MatMul", "X W", "Y")], X @ W, constants=[fields | packed])
    loose = {"data_type": FLOAT, "float_data": [struct.pack("<f", v) for v in W.ravel()]}
    data = model([node("MatMul", "X W", "Y")], [fields | loose])
    assert_same_bits(nncore.from_onnx(data).layers[0].W, W)
    doubles = {"data_type": DOUBLE, "double_data": [W.astype(float).tobytes()]}
    network = check([node("MatMul", "X W", "Y")], X @ W, constants=[fields | doubles])
    assert network.dtype == np.float64
    half = tensor("W", W, np.float16)
    check([node("MatMul", "X W", "Y")], X @ W.astype(np.float16), constants=[half])


def test_what_others_run(runtime):
    """ONNX Runtime and the reader take hand-made models to be the same."""
    nodes = [node("Sub", "X s", "x"), node("Gemm", "x WT b", "z", transB=1, alpha=0.5),
             node("Elu", "z", "e", alpha=0.3), node("MatMul", "e V", "m"), node("Add", "m t", "a"),
             node("Softmax", "a", "Y")]  # fmt: skip
    data = model(nodes, CONSTANTS)
    assert_near(nncore.from_onnx(data).predict(X), runtime(data, X), 32)


@pytest.mark.filterwarnings("ignore")
def test_models_of_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="writes ONNX models")
    pytest.importorskip("onnx", reason="PyTorch writes ONNX models with it")
    nn = torch.nn
    path = tmp_path / "module.onnx"
    for f in (nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Mish(), nn.CELU(0.7), nn.Softplus(2.0),
              nn.Hardshrink(0.3), nn.Softshrink(), nn.LogSigmoid(), nn.SELU()):  # fmt: skip
        module = nn.Sequential(nn.Linear(3, 5), f, nn.LayerNorm(5), nn.Linear(5, 2), nn.Softmax(1))
        for opset in (14, 17):
            torch.onnx.export(module, (torch.tensor(X),), path, dynamo=False, opset_version=opset)
            network = nncore.from_onnx(path)
            with torch.no_grad():
                assert_near(network.predict(X), module(torch.tensor(X)).numpy(), 8)
            assert [type(layer) for layer in network.layers] == [Dense, LayerNorm, Dense]


# ---- what is refused ----

GEMM = node("Gemm", "X W b", "Y")


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        ([node("Conv", "X W", "Y")], {}, "Conv: this operator has no counterpart"),
        ([node("Gemm", "X W b", "Y", domain="mine")], {}, "Gemm of mine"),
        ([node("Gemm", "X X", "Y")], {}, "weights must be a constant"),
        ([node("Gemm", "W X", "Y")], {}, "weights must be a constant"),
        ([node("Gemm", "X V", "Y")], {}, "takes 4 columns, but there are 3"),
        ([node("Gemm", "X W s", "Y")], {}, r"a constant of shape \(3,\) for 4 columns"),
        ([node("Gemm", "X", "Y")], {}, "needs 2 inputs"),
        ([node("Gemm", "X W b", "Y", transA=1)], {}, "transA must be 0"),
        ([node("Add", "X t", "Y")], {}, r"shape \(1, 2\) for 3 columns"),
        ([node("Relu", "Y", "Y")], {}, "computed from itself"),
        ([node("Relu", "b2", "Y"), node("Relu", "Y", "b2")], {}, "computed from itself"),
        ([GEMM, node("Relu", "X", "Y")], {}, "two nodes make 'Y'"),
        ([node("Relu", "no", "Y")], {}, "'no' is neither"),
        ([], {}, "'Y' is neither"),
        ([node("Identity", "W", "Y")], {}, "the same for all inputs"),
        ([node("Add", "X Z", "Y")], {"entered": ("X", "Z")}, "more than one input"),
        ([GEMM], {"n_in": 7}, "takes 3 columns, but there are 7"),
        ([GEMM], {"outputs": ""}, "no output"),
        ([node("Gemm", "X W b", "z"), node("Erf", "z", "Y")], {}, "Erf is no activation"),
        ([node("Gemm", "X W b", "z"), node("Softmax", "z", "Y", axis=0)], {}, "axis must be"),
        ([node("MatMul", "X W", "z"), node("MatMul", "X W", "y"), node("Mul", "z y", "Y")], {},
         "only Add is read"),
        ([node("MatMul", "X W", "z"), node("MatMul", "X W", "y"), node("Add", "z y", "Y")], {},
         "neither of its inputs"),
        ([node("BatchNormalization", "X s s s s", "Y", training_mode=1)], {}, "_mode must be 0"),
        ([node("BatchNormalization", "X s s s s", "Y m v")], {"opset": 9}, "is in training mode"),
        ([node("BatchNormalization", "X s s s b", "Y")], {}, "differ in length"),
        ([node("BatchNormalization", "X s s", "Y")], {}, "needs 5 inputs"),
        ([node("BatchNormalization", "X s s s neg", "Y")], {}, "variance that is negative"),
        ([node("LayerNormalization", "X s s", "Y", axis=0)], {}, "axis must be -1"),
        ([node("Dropout", "X", "z Y")], {}, "is not its first output"),
        ([node("Relu", "X", "Y", alpha=1.0)], {}, "unexpected keyword"),
        ([node("Abs", "X s", "Y")], {}, "cannot have 2 inputs"),
        ([node("Clip", "X s two", "Y")], {}, "is no activation"),
        ([node("Gather", "X s", "Y")], {}, "Gather: neither"),
        ([node("Cast", "X", "Y", to=8)], {}, "to type 8"),
        ([node("Cast", "W", "U", to=9), node("MatMul", "X U", "Y")], {}, "to type 9"),
        ([node("Transpose", "W", "U", perm=(0, 1)), node("MatMul", "X U", "Y")], {}, "perm must"),
        ([node("Concat", "X X", "Y", axis=1)], {}, "joins other things"),
        ([node("Reshape", "X two", "Y")], {}, "Reshape: to"),
        ([node("Normalizer", "X", "Y", domain="ai.onnx.ml")], {}, "Normalizer of ai.onnx.ml"),
        ([node("Mean", "X", "Y")], {}, "Mean: this operator"),
        ([node("If", "X", "Y")], {}, "If: this operator"),
    ],
)  # fmt: skip
def test_refused_models(nodes, options, message):
    constants = [*CONSTANTS, tensor("neg", [1, 1, -1])]
    with pytest.raises(FileFormatError, match=message):
        nncore.from_onnx(model(nodes, constants, **options))


def test_opsets(recwarn):
    """In those that were looked at operators are as they are read; older ones differ."""
    read = [GEMM, node("Tanh", "Y", "Z")]
    for opset in (1, 5, 6):
        with pytest.raises(FileFormatError, match=rf"opset is {opset}; 7 to 28 are read"):
            nncore.from_onnx(model(read, CONSTANTS, outputs="Z", opset=opset))
    for opset in (7, 28):
        check(read, np.tanh(X @ W + B), outputs="Z", opset=opset)
    assert not recwarn.list
    for opset in (29, 99):
        with pytest.warns(UserWarning, match=f"opset is {opset}, and .* in 7 to 28") as told:
            check(read, np.tanh(X @ W + B), outputs="Z", opset=opset)
        assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dims": [3, 5]}, "60 bytes, but 48 bytes"),
        ({"dims": [-3, -4]}, "has the shape"),
        ({"dims": [1 << 62, 4]}, "has the shape"),
        ({"dims": [1 << 39] * 8}, "bytes, but 48"),
        ({"dims": [1] * 9}, "has the shape"),
        ({"dims": [0, 4], "raw_data": b""}, "has the shape"),
        ({"data_type": 16}, "of type 16"),
        ({"data_location": 1}, "external data"),
        ({"external_data": [b"\n\x08location"]}, "external data"),
        ({"raw_data": b"", "float_data": [b"123"]}, "but 3 bytes"),
        ({"data_type": 6, "raw_data": b"", "int32_data": [1 << 40] * 12}, "out of bounds"),
    ],
)
def test_refused_tensors(fields, message):
    constant = tensor("W", W) | fields
    with pytest.raises(FileFormatError, match=message):
        nncore.from_onnx(model([node("MatMul", "X W", "Y")], [constant]))


def test_weights_that_are_not_finite():
    for value in (np.nan, np.inf):
        constant = tensor("W", np.where(W == W[1, 1], value, W))
        with pytest.raises(ValueError, match="not finite"):
            nncore.from_onnx(model([node("MatMul", "X W", "Y")], [constant]))


def test_what_is_no_model(tmp_path):
    for data, message in (
        (b"", "no graph"), (b"hello, world", "wire type"), (b"PK\x03\x04" + bytes(99), "wire type"),
        (b"\x3a\xff\xff\xff\xff\x0f", "4294967295 bytes, but 0 are left"),
        (b"\x08" + b"\x80" * 10 + b"\x00\x3a\x00", "longer than 10 bytes"),
        (b"\x0a\x00", "wire type 2"),
        (b"\x3a\x00\x3a\x00", "stands twice"), (b"\x12\x02\xff\xfe", "is no text"),
        (b"\x3a\x00", "its opset is missing"),
        (b"\x3a\x00\x42\x02\x10\x11", "there is no output in its graph"),
    ):  # fmt: skip
        with pytest.raises(FileFormatError, match=message):
            nncore.from_onnx(data)
    with pytest.raises(TypeError, match="path or bytes.*SerializeToString"):
        nncore.from_onnx(3)
    with pytest.raises(FileNotFoundError):
        nncore.from_onnx(tmp_path / "no.onnx")
    with pytest.raises(FileFormatError, match="not a file"):
        nncore.from_onnx("/dev/zero")


def test_deep_and_long_models():
    layer = [tensor("W", np.eye(3)), tensor("p", [0.5])]
    nodes = [node("PRelu", f"x{i} p", f"x{i + 1}") for i in range(2000)]
    nodes[0]["input"][0], nodes[-1]["output"][0] = "X", "Y"
    with pytest.raises(FileFormatError, match="more than 1024 layers"):
        nncore.from_onnx(model([node("MatMul", "X W", "z"), *nodes], layer))
    nodes = [node("Relu", f"x{i}", f"x{i + 1}") for i in range(2000)]
    nodes[0]["input"][0], nodes[-1]["output"][0] = "X", "Y"
    with pytest.raises(FileFormatError, match="more than 64 elementwise"):
        nncore.from_onnx(model(nodes, layer))
    nodes, name = [], "X"  # x + x W, in one another
    for i in range(80):
        nodes += [node("MatMul", f"{name} W", f"m{i}"), node("Add", f"X m{i}", f"a{i}")]
        name = f"a{i}"
    with pytest.raises(FileFormatError, match="more than 64 sums"):
        nncore.from_onnx(model(nodes, layer, outputs=name))
    many = b"\x3a" + protobuf._varint(1 << 20) + b"\x0a\x00" * (1 << 19)
    with pytest.raises(FileFormatError, match="parts"):
        nncore.from_onnx(many)


def test_nothing_large_is_allocated():
    huge = (1 << 31) - 1
    mean = [node("ReduceMean", "X", "m", axes=-1), node("Sub", "X m", "Y")]
    mean[0]["attribute"] = [{"name": "axes", "ints": [-1], "type": 7}]
    for nodes, constants in (
        (mean, CONSTANTS), ([node("PRelu", "X two", "Y")], CONSTANTS),
        ([node("Tanh", "X", "Y")], CONSTANTS), ([node("MatMul", "X W", "Y")], CONSTANTS),
        ([node("Gather", "X ints", "a", axis=1), node("Concat", "a a", "Y", axis=1)],
         [*CONSTANTS, tensor("ints", [0, 1], np.int64)]),
        ([node("Cast", "X", "c", to=7), node("Gather", "V c", "g"), node("Flatten", "g", "Y")],
         CONSTANTS),
    ):  # fmt: skip
        data = model(nodes, constants, n_in=huge)
        tracemalloc.start()
        try:
            nncore.from_onnx(data)
        except ValueError:
            pass
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 4 << 20, nodes


def test_damaged_models():
    """Files cut off at each byte, and with bytes changed: a network or an error, and no other."""
    whole = [make(name, dtype).to_onnx(opset=opset) for name in ("nested", "columns", "prelu")
             for dtype, opset in (("float32", 17), ("float64", 13))]  # fmt: skip
    small = [of_activation(name, dtype).to_onnx() for name in ("gelu", "celu", "threshold")
             for dtype in DTYPES]  # fmt: skip
    draw = random.Random(0)
    damaged = [small[0][:end] for end in range(len(small[0]))]
    for _ in range(2500):
        data = bytearray(draw.choice(small if draw.random() < 0.8 else whole))
        for _ in range(draw.randint(1, 5)):
            at, size = draw.randrange(len(data)), draw.randint(1, 12)
            how = draw.randrange(5)
            if how == 0:
                data[at] = draw.randrange(256)
            elif how == 1:
                del data[at : at + size]
                data = data or bytearray(1)
            elif how == 2:
                data[at:at] = draw.randbytes(size)
            elif how == 3:
                data[at : at + size] = b"\xff" * size
            else:
                other = draw.randrange(len(data))
                data[at : at + size] = data[other : other + size]
        damaged.append(bytes(data))
    read = 0
    for data in damaged:
        try:
            nncore.from_onnx(data)
            read += 1
        except ValueError as error:
            assert 0 < len(str(error)) < 4000
    assert 0 < read < len(damaged) / 2


def test_the_operators_are_those_of_onnx():
    """What the reader computes for each is what ONNX says."""
    onnx = pytest.importorskip("onnx", reason="defines the operators")
    from onnx.reference import ReferenceEvaluator

    x = np.linspace(-4, 4, 33)[:, None] + 0.01
    own = {"Add", "Bool", "Or", "RowMean", "Where"}  # of bools, and names of our own
    for op, f in OPERATORS.items():
        if op in own:
            continue
        two = op in ("Div", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul",
                     "Pow", "Sub")  # fmt: skip
        positive = np.abs(x) if op in ("Log", "Sqrt", "Pow") else x
        given = [positive, 2.5 - x][: 1 + two]
        names = ["a", "b"][: 1 + two]
        spec = onnx.helper.make_node(op, names, ["y"])
        graph = onnx.helper.make_graph(
            [spec], "g", [onnx.helper.make_tensor_value_info(n, DOUBLE, None) for n in names],
            [onnx.helper.make_tensor_value_info("y", DOUBLE, None)],
        )  # fmt: skip
        whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 24)])
        (want,) = ReferenceEvaluator(whole).run(None, dict(zip(names, given, strict=True)))
        np.testing.assert_allclose(f(*given), want, rtol=1e-6, atol=1e-7, err_msg=op)


def test_embeddings_of_integers():
    table = RNG.normal(size=(7, 2)).astype(np.float32)
    tokens = RNG.integers(0, 7, (9, 3))
    nodes = [node("Gather", "E X", "g"), node("Flatten", "g", "Y")]  # X is of integers
    network = check(nodes, table[tokens].reshape(9, 6), "(Embedding(7, 2),)",
                    [tensor("E", table)], tokens)  # fmt: skip
    assert isinstance(network.layers[0], Embedding)
