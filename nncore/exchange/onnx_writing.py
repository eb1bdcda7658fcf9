"""A network as an ONNX model, without the onnx package."""

import itertools
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import files, layers
from ..network import Network, _as_dtype
from .protobuf import Message, encode

OPSETS = range(13, 25)
IR_VERSION = 8  # the oldest that has all that is used
MOST_BYTES = (1 << 31) - 1  # Protocol Buffers reads no more
FLOAT, INT, FLOAT64 = 1, 7, 11  # TensorProto.DataType
_TYPES = {"float32": FLOAT, "float64": FLOAT64, "int64": INT}


def write(
    network: Network, path: str | os.PathLike[str] | None, opset: int, dtype: Any
) -> bytes | None:
    """What `Network.to_onnx` does."""
    if isinstance(opset, bool) or opset not in OPSETS:
        raise ValueError(f"opset must be an integer from 13 to 24, got {opset!r}")
    if not (path is None or isinstance(path, (str, os.PathLike))):
        raise TypeError(f"path must be a path or None (returns bytes), got a {type(path).__name__}")
    network._check_ready()
    kind = network.dtype if dtype is None else _as_dtype(dtype)
    parts = encode(_model(network, Graph(int(opset), kind)))
    if sum(map(len, parts)) > MOST_BYTES:
        raise ValueError(f"the model takes more than {MOST_BYTES} bytes, which no ONNX file may")
    if path is None:
        return b"".join(parts)
    files.write_bytes(path, parts)
    return None


def _model(network: Network, graph: "Graph") -> Message:
    x = Term(graph, "X")
    for i, layer in enumerate(network.layers):
        x = graph.layer(layer, x, f"layers.{i}")
    graph.call_it("Y", x)

    def described(name: str, columns: int) -> Message:
        dims = [{"dim_param": "batch"}, {"dim_value": columns}]
        kind = {"elem_type": _TYPES[graph.dtype.name], "shape": {"dim": dims}}
        return {"name": name, "type": {"tensor_type": kind}}

    return {
        "ir_version": IR_VERSION,
        "producer_name": "nncore",
        "opset_import": [{"version": graph.opset}],
        "graph": {
            "name": "network",
            "node": graph.nodes,
            "initializer": [_tensor(name, values) for name, values in graph.constants.items()],
            "input": [described("X", network.n_in)],
            "output": [described("Y", network.n_out)],
        },
    }


def _tensor(name: str, values: np.ndarray) -> Message:
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return {
        "name": name,
        "dims": list(values.shape),
        "data_type": _TYPES[values.dtype.name],
        "raw_data": data.reshape(-1).view(np.uint8).data,
    }


class Graph:
    """Nodes and constants in the making."""

    def __init__(self, opset: int, dtype: np.dtype[Any]):
        self.opset, self.dtype = opset, dtype
        self.short = dtype == np.float32  # the type that attributes have
        self.nodes: list[Message] = []
        self.constants: dict[str, np.ndarray] = {}
        self.done: dict[tuple[str, ...], Term] = {}  # equal nodes are written once
        self.taken: dict[str, int] = {}
        self.prefix = ""

    def layer(self, layer: layers.Layer, x: "Term", prefix: str) -> "Term":
        """Return what a layer makes of x."""
        self.prefix = prefix
        for kind in type(layer).__mro__:
            if kind.__name__ in WRITERS:
                return WRITERS[kind.__name__](layer, x)
        raise ValueError(f"{prefix} is {layer!r}, for which to_onnx has no operators")

    def constant(self, name: str, values: np.ndarray) -> "Term":
        """Return parameters, in the type of the model unless they are whole numbers."""
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                values = values.astype(self.dtype)
            if not np.isfinite(values).all():
                what = f"{self.prefix}.{name}"
                raise ValueError(f"{what} has values that are not finite in {self.dtype}")
        name = f"{self.prefix}.{name}"
        self.constants[name] = values
        return Term(self, name)

    def number(self, value: float) -> "Term":
        """Return a constant that many nodes may share."""
        name = f"constant {value!r}"
        self.constants[name] = np.asarray(value, self.dtype)
        return Term(self, name)

    def node(self, op: str, inputs: "list[Term]", attributes: dict[str, Any]) -> "Term":
        """Return the output of a node."""
        key = (op, *(each.name for each in inputs), repr(attributes))
        if key not in self.done:
            name = f"{self.prefix}.{op}"
            taken = self.taken[name] = self.taken.get(name, 0) + 1
            name = f"{name}#{taken}" if taken > 1 else name
            node = {"input": [each.name for each in inputs], "output": [name], "name": name}
            described = [_attribute(*item) for item in sorted(attributes.items())]
            self.nodes.append(node | {"op_type": op, "attribute": described})
            self.done[key] = Term(self, name)
        return self.done[key]

    def call_it(self, name: str, x: "Term") -> None:
        """Give x, which a node makes, another name."""
        for node in self.nodes:
            for key in ("input", "output"):
                node[key] = [name if each == x.name else each for each in node[key]]


def _attribute(name: str, value: float | list[int]) -> Message:
    if isinstance(value, float):
        return {"name": name, "f": value, "type": 1}
    if isinstance(value, int):
        return {"name": name, "i": value, "type": 2}
    return {"name": name, "ints": value, "type": 7}


def _operator(op: str, swapped: bool = False) -> "Callable[[Term, Any], Term]":
    def apply(self: "Term", other: Any) -> "Term":
        if swapped:
            return self.graph.number(other).to(op, self)
        return self if op in ("Mul", "Div") and other == 1 else self.to(op, other)

    return apply


class Term:
    """A tensor of the graph: what is computed with it becomes nodes. Factors of 1 are left out."""

    def __init__(self, graph: Graph, name: str):
        self.graph, self.name = graph, name

    def to(self, op: str, *others: Any, **attributes: Any) -> "Term":
        """Return the output of a node that takes this first."""
        others = tuple(self.graph.number(o) if isinstance(o, float) else o for o in others)
        return self.graph.node(op, [self, *others], attributes)

    def param(self, name: str, values: np.ndarray) -> "Term":
        return self.graph.constant(name, values)

    def __neg__(self) -> "Term":
        return self.to("Neg")

    __add__ = __radd__ = _operator("Add")
    __sub__, __rsub__ = _operator("Sub"), _operator("Sub", swapped=True)
    __mul__ = __rmul__ = _operator("Mul")
    __truediv__, __rtruediv__ = _operator("Div"), _operator("Div", swapped=True)


# ---- activations ----
#
# An attribute is float32, and ONNX Runtime has some operators in float32 alone: in float64
# activations are written in Relu, Exp, Log, Abs, Clip, ... . None of the forms loses digits that
# count beside 1, or overflows where the activation does not.

_SELU = 1.0507009873554804934193349852946
_SELU_LEFT = 1.7580993408473768599402175208123


def _below(x: Term) -> Term:  # min(x, 0)
    return -(-x).to("Relu")


def _native(op: str, wide: Callable[..., Term]) -> Callable[..., Term]:
    """The operator in float32, else what it is made of."""
    return lambda x, **p: x.to(op, **p) if x.graph.short else wide(x, **p)


_softplus = _native("Softplus", lambda x: x.to("Relu") + (1.0 + (-x.to("Abs")).to("Exp")).to("Log"))
_softsign = _native("Softsign", lambda x: x / (1.0 + x.to("Abs")))
_leaky = _native("LeakyRelu", lambda x, alpha: x.to("Relu") - alpha * (-x).to("Relu"))
_elu = _native("Elu", lambda x, alpha: x.to("Relu") + alpha * (_below(x).to("Exp") - 1.0))


def _gelu_tanh(x: Term) -> Term:
    return 0.5 * (x * (1.0 + (math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))).to("Tanh")))


ACTIVATIONS: dict[str, Callable[..., Term]] = {
    "identity": lambda x: x,
    "relu": lambda x: x.to("Relu"),
    "sigmoid": lambda x, gain: (gain * x).to("Sigmoid"),
    "tanh": lambda x, gain: (gain * x).to("Tanh"),
    "softplus": lambda x, beta: _softplus(beta * x) / beta,
    "softsign": lambda x, gain: _softsign(gain * x),
    "leaky_relu": lambda x, slope: _leaky(x, alpha=slope),
    "elu": _elu,
    "hardtanh": lambda x: x.to("Clip", -1.0, 1.0),
    "relu6": lambda x: x.to("Clip", 0.0, 6.0),
    "hard_sigmoid": lambda x: ((x + 3.0) / 6.0).to("Clip", 0.0, 1.0),
    "elliot": lambda x, gain: 0.5 * _softsign(gain * x) + 0.5,
    "log_sigmoid": lambda x: -_softplus(-x),
    "silu": lambda x: x * x.to("Sigmoid"),
    "selu": lambda x: _SELU * x.to("Relu") + _elu(_below(x), alpha=1.0) * _SELU_LEFT,
    "celu": lambda x, alpha: x.to("Relu") + alpha * _elu(_below(x) / alpha, alpha=1.0),
    "gelu": lambda x: 0.5 * (x * (1.0 + (x / math.sqrt(2.0)).to("Erf"))),
    "gelu_tanh": _gelu_tanh,
    "mish": lambda x: x * _softplus(x).to("Tanh"),
    "hard_swish": lambda x: x * ((x + 3.0) / 6.0).to("Clip", 0.0, 1.0),
    "tanhshrink": lambda x: x - x.to("Tanh"),
    "hard_shrink": lambda x, width: x.to("Abs").to("Greater", width).to("Where", x, 0.0),
    "softshrink": lambda x, width: x - x.to("Clip", -width, width),
    "threshold": lambda x, threshold, value: x.to("Greater", threshold).to("Where", x, value),
    "squareplus": lambda x, b: x.to("Relu") + b / 2 / (x.to("Abs") + (x * x + b).to("Sqrt")),
    "exponential": lambda x: x.to("Exp"),
    "sin": lambda x, gain: (gain * x).to("Sin"),
    "gaussian": lambda x, gain: (-(gain * x) * (gain * x)).to("Exp"),
    "satlin": lambda x: x.to("Clip", 0.0, 1.0),
    "tribas": lambda x: (1.0 - x.to("Abs")).to("Relu"),
    "softmax": lambda x: x.to("Softmax", axis=-1),
    "log_softmax": lambda x: x.to("LogSoftmax", axis=-1),
}


# ---- layers ----


def _dense(layer: layers.Dense, x: Term) -> Term:
    f = layer.function
    if f.own:
        what = f"{x.graph.prefix} is {layer!r}"
        raise ValueError(f"{what}: to_onnx has no operators for an activation of your own")
    weights = [x.param("W", layer.W)] + ([] if layer.b is None else [x.param("b", layer.b)])
    return ACTIVATIONS[f.name](x.to("Gemm", *weights), **f.parameters)


def _batch_norm(layer: layers.BatchNorm, x: Term) -> Term:
    eps, var = layer.eps, layer.running_var
    if not x.graph.short:  # what the attribute loses of eps
        var = var + (eps - float(np.float32(eps)))
    values = {"gamma": layer.gamma, "beta": layer.beta, "mean": layer.running_mean, "var": var}
    return x.to("BatchNormalization", *itertools.starmap(x.param, values.items()), epsilon=eps)


def _layer_norm(layer: layers.LayerNorm, x: Term) -> Term:
    gamma, beta = x.param("gamma", layer.gamma), x.param("beta", layer.beta)
    if x.graph.short and x.graph.opset >= 17:
        return x.to("LayerNormalization", gamma, beta, axis=-1, epsilon=layer.eps)
    d = x - _mean(x)
    return d / (_mean(d * d) + layer.eps).to("Sqrt") * gamma + beta


def _mean(x: Term) -> Term:
    if x.graph.opset < 18:
        return x.to("ReduceMean", axes=[-1], keepdims=1)
    return x.to("ReduceMean", x.param("last axis", np.asarray([-1], np.int64)), keepdims=1)


def _prelu(layer: layers.PReLU, x: Term) -> Term:
    slope = x.param("slope", layer.slope)
    return x.to("PRelu", slope) if x.graph.short else x.to("Relu") - slope * (-x).to("Relu")


def _residual(layer: layers.Residual, x: Term) -> Term:
    y, prefix = x, x.graph.prefix
    for i, each in enumerate(layer.layers):
        y = x.graph.layer(each, y, f"{prefix}.{i}")
    x.graph.prefix = prefix
    return x + y


def _scaling(layer: layers.Scaling, x: Term) -> Term:
    mean, scale = (x.param(k, np.asarray(getattr(layer, k))) for k in ("mean", "scale"))
    return x * scale + mean if layer.inverted else (x - mean) / scale


def _embedding(layer: layers.Embedding, x: Term) -> Term:
    if layer.columns is None:
        return _vectors(x, x.param("E", np.asarray(layer.E)))
    parts = []
    for tokens, columns in itertools.groupby(range(layer._n_in), layer.columns.__contains__):
        for some in [[column] for column in columns] if tokens else [list(columns)]:
            indices = x.param(f"columns from {some[0]}", np.asarray(some, np.int64))
            part = x.to("Gather", indices, axis=1)
            if tokens:
                part = _vectors(part, x.param(f"E{some[0]}", layer.E[some[0]]))
            parts.append(part)
    return parts[0] if len(parts) == 1 else parts[0].to("Concat", *parts[1:], axis=1)


def _vectors(x: Term, table: Term) -> Term:
    return table.to("Gather", x.to("Cast", to=INT), axis=0).to("Flatten", axis=1)


def _dropout(layer: layers.Dropout, x: Term) -> Term:
    if layer.always and layer.rate:
        raise ValueError(
            f"{x.graph.prefix} is {layer!r}, which drops in predict too; ONNX cannot draw the "
            "same: only a Dropout without always is left out"
        )
    return x


# What each layer is in ONNX: a function of the layer and its input, which returns its output.
WRITERS: dict[str, Callable[[Any, Term], Term]] = {
    "Dense": _dense,
    "BatchNorm": _batch_norm,
    "LayerNorm": _layer_norm,
    "PReLU": _prelu,
    "Residual": _residual,
    "Scaling": _scaling,
    "Embedding": _embedding,
    "Dropout": _dropout,
    "GaussianNoise": lambda layer, x: x,
}
