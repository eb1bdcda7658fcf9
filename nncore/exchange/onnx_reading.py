"""Networks from ONNX models, without the onnx package."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import FileFormatError
from ..layers.residual import MOST_DEPTH
from .links import Block, Link, build
from .onnx_nodes import ML_NODES, NODES, OF_CONSTANTS, TAKE_PARTS, concat
from .onnx_values import FLOATS, Chain, Part, Value, array, attributes_of, constant, per_column
from .protobuf import Message, decode
from .recognition import OPERATORS, Expression, accepts

if TYPE_CHECKING:
    from ..network import Network

ML = "ai.onnx.ml"
MOST_BYTES = 1 << 31


def from_onnx(
    model: str | os.PathLike | bytes, output: str | None = None, *, loss: object = None,
    optimizer: object = "adam", dtype: object = None, seed: int | None = None,
    backend: str = "auto",
) -> Network:  # fmt: skip
    """Return the network of an ONNX model that is a multilayer perceptron.

    Neither onnx nor a runtime is needed. Nothing in the file is trusted: every length is checked
    before anything is allocated.

    Parameters
    ----------
    model : str, os.PathLike or bytes
        The path of a file, or what is in one.
    output : str, optional
        Which output of the model; by default the last one that is not made of labels.
    loss : str or nncore.Loss, optional
        As in `nncore.Network`: by default what the last activation asks for.
    optimizer : str or nncore.Optimizer, default "adam"
        As in `nncore.Network`.
    dtype : {"float32", "float64"}, optional
        By default that of the weights.
    seed, backend : optional
        As in `nncore.Network`.

    Returns
    -------
    Network
        `predict` gives that output of the model, but for rounding.

    Raises
    ------
    nncore.files.FileFormatError
        A ValueError: the file is damaged, or a node has no counterpart here; it is named.

    Notes
    -----
    ================================ =============================================================
    Gemm, MatMul                     `Dense`
    BatchNormalization               `BatchNorm`, momentum 0.1
    LayerNormalization, or in parts  `LayerNorm`
    PRelu                            `PReLU`
    Softmax, LogSoftmax              of the last `Dense`
    Add of two computed tensors      `Residual`, of what lies between them
    Gather of rows by tokens         `Embedding`, of the first layer
    Add, Sub, Mul, Div by constants  part of the weights beside them
    elementwise operators            the activation of nncore that they are, in whatever way it is
                                     written: it is recognised by its values, within 1e-6
    Cast, Identity, Dropout,         nothing, where they change nothing
    Flatten, Reshape
    Scaler, ZipMap, Cast, Concat     as skl2onnx makes them: probabilities are read, not the label;
                                     of two classes the column of the second
    ================================ =============================================================

    An activation that follows no Gemm or MatMul becomes a layer that is not trained: relu and
    leaky_relu a `PReLU`, others a `Dense` whose W is the identity matrix. So does a map of columns
    with no weights beside it. Weights in other files (external data) are refused.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(2, nncore.Dense(3, "gelu"), nncore.Dense(1, "sigmoid"), seed=0)
    >>> twin = nncore.from_onnx(net.to_onnx())
    >>> twin
    Network(2, Dense(3, 'gelu'), Dense(1, 'sigmoid'), loss='binary_cross_entropy', \
optimizer=Adam(lr=0.001, beta1=0.9, beta2=0.999, eps=1e-08))
    """
    options = dict(loss=loss, optimizer=optimizer, dtype=dtype, seed=seed, backend=backend)
    if isinstance(model, (str, os.PathLike)):
        data, where = _contents(model), os.fsdecode(model)
    elif isinstance(model, (bytes, bytearray, memoryview)):
        data, where = bytes(model), "the model"
    else:
        raise TypeError(f"from_onnx takes a path or bytes, got a {type(model).__name__}")
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused in the end
            reader = _Reader(decode(data))
            links = reader.links(output)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise FileFormatError(f"{where}: {error}") from error
    return build(links, reader.n_in, **options)


def _contents(path):
    """What is in a file; a device or pipe would not end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
        raise FileFormatError(f"{os.fsdecode(path)} is not a file of at most {MOST_BYTES} bytes")
    with open(path, "rb") as file:
        return file.read()


class _Reader:
    """Follows the nodes from the output back to the input."""

    def __init__(self, model: Message):
        graph = model.get("graph")
        if graph is None:
            raise FileFormatError("there is no graph in it; is it an ONNX file?")
        self.graph = graph
        self.constants = {t.get("name", ""): t for t in graph.get("initializer", [])}
        self.makers: dict[str, Message] = {}
        for node in graph.get("node", []):
            for name in filter(None, node.get("output", [])):
                if name in self.makers:
                    raise FileFormatError(f"two nodes make {name!r}")
                self.makers[name] = node
        self.inputs = [v for v in graph.get("input", []) if v.get("name") not in self.constants]
        self.values: dict[str, Any] = {}
        self.start: Chain | None = None
        self.n_in: int | None = None

    def links(self, output: str | None) -> list[Link]:
        names = [v.get("name", "") for v in self.graph.get("output", [])]
        if not names or (output is not None and output not in names):
            raise FileFormatError(f"there is no output {output!r}, but {names}")
        name = output if output is not None else self._numbers_of(names)
        value = self._embedded(self.value(name), name)
        if not isinstance(value, Value):
            raise FileFormatError(f"the output {name!r} is the same for all inputs")
        return value.complete().links() or []

    def _numbers_of(self, names):
        """The last output that is no label, as classifiers have."""
        for name in reversed(names):
            node = self.makers.get(name, {})
            to_int = node.get("op_type") == "Cast" and attributes_of(node).get("to") not in FLOATS
            if not to_int and node.get("op_type") not in ("ArgMax", "ArrayFeatureExtractor"):
                return name
        return names[-1]

    # ---- values ----

    def value(self, name: str) -> Any:
        """The value of a tensor; the nodes before it are read first."""
        waiting, open_now = [name], set()
        while waiting:
            name = waiting[-1]
            if name in self.values:
                waiting.pop()
                continue
            node = self.makers.get(name)
            needed = node.get("input", []) if node else []
            missing = [each for each in needed if each and each not in self.values]
            if missing:
                if name in open_now:
                    raise FileFormatError(f"{name!r} is computed from itself")
                open_now.add(name)
                waiting += missing
                continue
            waiting.pop()
            if node and name != node["output"][0]:
                raise FileFormatError(f"{name!r}, not the first output of its node, is not read")
            self.values[name] = self._made(node) if node else self._given(name)
        return self.values[name]

    def _given(self, name):
        """An initializer or the input."""
        if name in self.constants:
            return array(self.constants[name], f"initializer {name!r}")
        if name not in [each.get("name") for each in self.inputs]:
            raise FileFormatError(f"{name!r} is neither made by a node nor given")
        if self.start is not None:
            raise FileFormatError(f"more than one input is used, the second {name!r}")
        value = next(each for each in self.inputs if each.get("name") == name)
        shape = value.get("type", {}).get("tensor_type", {}).get("shape")
        if shape is not None:
            dims = [each.get("dim_value") for each in shape.get("dim", [])]
            if len(dims) != 2 or not all(n is None or 0 < n < 1 << 31 for n in dims[1:]):
                raise FileFormatError(
                    f"the input {name!r} has the shape {dims}, not (rows, columns)"
                )
            self.n_in = dims[1]
        self.start = Chain(None, None, self.n_in)
        return Value(self.start)

    def _made(self, node):
        """What a node makes."""
        op, domain = node.get("op_type", ""), node.get("domain", "")
        what = f"node {node.get('name') or node['output'][0]!r}, {op}"
        if op == "Constant":
            return constant(what, node)
        attributes = attributes_of(node)
        inputs = [self.values[name] if name else None for name in node.get("input", [])]
        if domain in ("", "ai.onnx") and inputs:
            if op in OF_CONSTANTS and isinstance(inputs[0], np.ndarray):
                return OF_CONSTANTS[op](what, inputs[0], attributes)
            if op not in TAKE_PARTS:
                inputs = [self._embedded(each, what) for each in inputs]
            if op in NODES:
                return NODES[op](self, what, inputs, attributes)
            if op in OPERATORS:
                return self._elementwise(op, what, inputs, attributes)
        elif domain == ML and op in ML_NODES and inputs:
            return ML_NODES[op](self, what, inputs, attributes)
        raise FileFormatError(
            f"{what}{f' of {domain}' if domain else ''}: this operator has no counterpart in "
            "nncore; `help(nncore.from_onnx)` lists what is read"
        )

    def _embedded(self, value, what):
        """A value; of a part of the input that of the embedding which it makes alone."""
        return concat(self, what, [value], {"axis": 1}) if isinstance(value, Part) else value

    def _elementwise(self, op, what, inputs, attributes):
        values = [each for each in inputs if isinstance(each, Value)]
        if not values or not accepts(op, len(inputs), attributes):
            raise FileFormatError(f"{what}: cannot have {len(inputs)} inputs and {attributes}")
        chains = {id(each.chain): each.chain for each in values}
        if len(chains) > 1:
            if op != "Add" or len(values) != 2:
                raise FileFormatError(f"{what}: of two computed tensors only Add is read")
            return self._residual(what, *values)
        chain = values[0].chain
        if op == "Clip":  # a bound may be left out
            bounds = zip(inputs, (None, -np.inf, np.inf), strict=False)
            inputs = [np.asarray(bound) if each is None else each for each, bound in bounds]
        arguments = [
            each.expression if isinstance(each, Value) else per_column(each, chain.width, what)
            for each in inputs
        ]
        return Value(chain, Expression(op, arguments, attributes, what))

    def _residual(self, what, *values):
        """The sum of a tensor and of what is computed from it."""
        chains = [each.complete() for each in values]
        for skipped, end in (chains, chains[::-1]):
            inner = end.links(skipped)
            if inner:
                depth = 1 + max(
                    [each.depth for each in inner if isinstance(each, Block)], default=0
                )
                if depth > MOST_DEPTH:
                    raise FileFormatError(f"{what}: more than {MOST_DEPTH} sums in one another")
                return Value(skipped.then(Block(what, inner, depth), skipped.width))
        raise FileFormatError(f"{what}: neither of its inputs is computed from the other")
