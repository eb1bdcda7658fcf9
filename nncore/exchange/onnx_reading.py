"""Networks from ONNX models, without the onnx package."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import FileFormatError
from ..layers import BatchNorm, Embedding, LayerNorm
from .links import Affine, Block, Columns, Curve, Link, Made, build, curve, norm, prelu
from .onnx_writing import FLOAT, FLOAT64, INT
from .protobuf import Message, decode
from .recognition import OPERATORS, Expression, accepts, steps, variable

if TYPE_CHECKING:
    from ..network import Network

ML = "ai.onnx.ml"
HALF, INT32 = 10, 6
_TYPES = {FLOAT: ("<f4", "float_data"), FLOAT64: ("<f8", "double_data"), HALF: ("<f2", None),
          INT: ("<i8", "int64_data"), INT32: ("<i4", "int32_data")}  # fmt: skip


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
        with open(model, "rb") as file:
            data, where = file.read(), os.fsdecode(model)
    elif isinstance(model, (bytes, bytearray, memoryview)):
        data, where = bytes(model), "the model"
    else:
        raise TypeError(f"from_onnx takes a path or bytes, got a {type(model).__name__}")
    try:
        reader = _Reader(decode(data))
        links = reader.links(output)
    except FileFormatError as error:
        raise FileFormatError(f"{where}: {error}") from None
    return build(links, reader.n_in, **options)


class _Chain:
    """What is computed from the input so far: links, each with the chain before it."""

    __slots__ = ("before", "link", "start", "width")

    def __init__(self, before: _Chain | None, link: Link | None, width: int | None):
        self.before, self.link, self.width = before, link, width
        self.start = variable()  # its output, in expressions

    def then(self, link: Link, width: int | None) -> _Chain:
        return _Chain(self, link, width)

    def links(self, since: _Chain | None = None) -> list[Link] | None:
        """The links, or those since an earlier chain; None if that is no part of this one."""
        found, chain = [], self
        while chain.before is not None and chain is not since:
            found.append(chain.link)
            chain = chain.before
        return found[::-1] if since is None or chain is since else None


class _Value:
    """A tensor (rows, columns): an expression of the output of a chain."""

    __slots__ = ("chain", "expression")

    def __init__(self, chain: _Chain, expression: Expression | None = None):
        self.chain, self.expression = chain, expression or chain.start

    def complete(self) -> _Chain:
        """The chain that computes it: always the same one."""
        if self.expression is not self.chain.start:
            chain = self.chain
            for link in steps(self.expression, chain.start, chain.width):
                chain = chain.then(link, chain.width)
            self.chain, self.expression = chain, chain.start
        return self.chain


class _Part:
    """Columns of the input on their way into an Embedding."""

    def __init__(self, columns: list[int] | None, table: np.ndarray | None = None, flat=True):
        self.columns, self.table, self.flat = columns, table, flat


class _Reader:
    """Follows the nodes from the output back to the input."""

    def __init__(self, model: Message):
        graph = model.get("graph")
        if graph is None:
            raise FileFormatError("there is no graph in it; is it an ONNX file?")
        self.graph = graph
        self.constants = {t.get("name", ""): t for t in graph.get("initializer", [])}
        self.opset = max(
            (o.get("version", 1) for o in model.get("opset_import", []) if not o.get("domain")),
            default=1,
        )
        self.makers: dict[str, Message] = {}
        for node in graph.get("node", []):
            for name in node.get("output", []):
                if name in self.makers:
                    raise FileFormatError(f"two nodes make {name!r}")
                self.makers[name] = node
        self.inputs = [v for v in graph.get("input", []) if v.get("name") not in self.constants]
        self.values: dict[str, Any] = {}
        self.start: _Chain | None = None
        self.n_in: int | None = None

    def links(self, output: str | None) -> list[Link]:
        names = [v.get("name", "") for v in self.graph.get("output", [])]
        if not names or (output is not None and output not in names):
            raise FileFormatError(f"there is no output {output!r}, but {names}")
        name = output if output is not None else self._numbers_of(names)
        value = self.value(name)
        if isinstance(value, _Part):
            value = self._embedded(value, name)
        if not isinstance(value, _Value):
            raise FileFormatError(f"the output {name!r} is the same for all inputs")
        return value.complete().links() or []

    def _numbers_of(self, names):
        """The last output that is no label, as classifiers have."""
        for name in reversed(names):
            node = self.makers.get(name, {})
            to_int = node.get("op_type") == "Cast" and _attributes(node).get("to") not in _FLOATS
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
                raise FileFormatError(f"the input {name!r} has the shape {dims}, not (rows, columns)")
            self.n_in = dims[1]
        self.start = _Chain(None, None, self.n_in)
        return _Value(self.start)

    def _made(self, node):
        """What a node makes."""
        op, domain = node.get("op_type", ""), node.get("domain", "")
        what = f"node {node.get('name') or node.get('output', [''])[0]!r}, {op}"
        attributes = _attributes(node)
        inputs = [self.values[name] if name else None for name in node.get("input", [])]
        if domain in ("", "ai.onnx", ML):
            read = (_ML if domain == ML else _NODES).get(op)
            constant = inputs and all(isinstance(each, np.ndarray) for each in inputs)
            if domain != ML and constant and op in _OF_CONSTANTS:
                return _OF_CONSTANTS[op](what, inputs, attributes)
            parts = [self._as_value(each, what) for each in inputs] if op not in _PARTS else inputs
            if read is not None and parts:
                return read(self, what, parts, attributes)
            if domain != ML and op in OPERATORS:
                return self._elementwise(op, what, parts, attributes)
        if op == "Constant":
            return _constant(what, node)
        raise FileFormatError(
            f"{what}{f' of {domain}' if domain else ''}: this operator has no counterpart in "
            "nncore; `help(nncore.from_onnx)` lists what is read"
        )

    def _as_value(self, value, what):
        """A value that is not on its way into an embedding."""
        if not isinstance(value, _Part):
            return value
        return self._embedded(value, what)

    def _elementwise(self, op, what, inputs, attributes):
        values = [each for each in inputs if isinstance(each, _Value)]
        if not values or not accepts(op, len(inputs), attributes):
            raise FileFormatError(f"{what}: cannot have {len(inputs)} inputs and {attributes}")
        chains = {id(each.chain): each.chain for each in values}
        if len(chains) > 1:
            if op != "Add" or len(values) != 2:
                raise FileFormatError(f"{what}: of two computed tensors only Add is read")
            return self._residual(what, *values)
        chain = values[0].chain
        arguments = [
            each.expression if isinstance(each, _Value) else _per_column(each, chain.width, what)
            for each in inputs
        ]
        if op == "Clip" and None in [None if each is None else 0 for each in arguments]:
            arguments = [
                np.float64(bound) if each is None else each
                for each, bound in zip(arguments, (0, -np.inf, np.inf), strict=False)
            ]
        if any(each is None for each in arguments):
            raise FileFormatError(f"{what}: an input is left out")
        return _Value(chain, Expression(op, arguments, attributes, what))

    def _residual(self, what, *values):
        """The sum of a tensor and of what is computed from it."""
        chains = [each.complete() for each in values]
        for skipped, end in (chains, chains[::-1]):
            inner = end.links(skipped)
            if inner:
                return _Value(skipped.then(Block(what, inner), skipped.width))
        raise FileFormatError(f"{what}: neither of its inputs is computed from the other")

    # ---- embeddings ----

    def _embedded(self, part, what):
        """The value of an embedding of all columns."""
        return _concat(self, what, [part], {"axis": 1})


def _per_column(values, width, what):
    """A constant as a number, or as one for each column."""
    if values is None or values.size == 1:
        return None if values is None else values.reshape(())
    flat = values.reshape(-1)
    if values.shape not in ((flat.size,), (1, flat.size)) or width not in (None, flat.size):
        raise FileFormatError(f"{what}: a constant of shape {values.shape} for {width} columns")
    return flat


# ---- nodes: functions of the reader, the node's description, its inputs and attributes ----


def _constant(what, node):
    attributes = {a.get("name"): a for a in node.get("attribute", [])}
    if "value" in attributes and "t" in attributes["value"]:
        return array(attributes["value"]["t"], what)
    for name, key, kind in (("value_float", "f", np.float32), ("value_floats", "floats", np.float32),
                            ("value_int", "i", np.int64), ("value_ints", "ints", np.int64)):
        if name in attributes and key in attributes[name]:
            return np.asarray(attributes[name][key], kind)
    raise FileFormatError(f"{what}: only tensors of numbers are read")


def _matrix(value, what):
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind != "f":
        raise FileFormatError(f"{what}: its weights must be a constant matrix of numbers")
    return value


def _chain(inputs, what, n=None):
    """The chain that the first input completes."""
    if not isinstance(inputs[0], _Value):
        raise FileFormatError(f"{what}: its first input must depend on the input of the model")
    chain = inputs[0].complete()
    if n is not None and chain.width not in (None, n):
        raise FileFormatError(f"{what}: takes {n} columns, but there are {chain.width}")
    return chain


def _affine(what, inputs, W, b=None):
    W = _matrix(W, what)
    chain = _chain(inputs, what, len(W))
    return _Value(chain.then(Affine(what, W, b), W.shape[1]))


def _gemm(reader, what, inputs, attributes):
    if len(inputs) < 2 or attributes.get("transA", 0):
        raise FileFormatError(f"{what}: needs two inputs, and transA=0")
    W = _matrix(inputs[1], what)
    W = W.T if attributes.get("transB", 0) else W
    alpha, beta = (float(attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    b = inputs[2] if len(inputs) > 2 else None
    if b is not None:
        b = _per_column(b if isinstance(b, np.ndarray) else np.ones((2, 2)), W.shape[1], what)
        b = np.broadcast_to(b if beta == 1 else b * np.float64(beta), W.shape[1:])
    return _affine(what, inputs, W if alpha == 1 else W * np.float64(alpha), b)


def _matmul(reader, what, inputs, attributes):
    if len(inputs) != 2:
        raise FileFormatError(f"{what}: needs two inputs")
    return _affine(what, inputs, inputs[1])


def _vectors(what, inputs, n):
    """Constants of the same length, which must be there."""
    found = inputs[1:]
    if len(found) != n or not all(isinstance(v, np.ndarray) and v.ndim == 1 for v in found):
        raise FileFormatError(f"{what}: needs {n} constant vectors")
    if len({v.size for v in found}) != 1:
        raise FileFormatError(f"{what}: its vectors differ in length: {[v.size for v in found]}")
    return found


def _batch_norm(reader, what, inputs, attributes):
    if attributes.get("training_mode", 0):
        raise FileFormatError(f"{what}: is in training mode")
    values = _vectors(what, inputs, 4)
    eps = _float(attributes.get("epsilon", np.float32(1e-5)), values[0])
    link = norm(what, BatchNorm, values[0].size, values, eps=eps)
    return _Value(_chain(inputs, what, link.n_in).then(link, link.n_in))


def _layer_norm(reader, what, inputs, attributes):
    if attributes.get("axis", -1) not in (-1, 1):
        raise FileFormatError(f"{what}: axis must be -1")
    values = _vectors(what, inputs, len(inputs) - 1)
    eps = _float(attributes.get("epsilon", np.float32(1e-5)), values[0])
    link = norm(what, LayerNorm, values[0].size, (*values, None)[:2], eps=eps)
    return _Value(_chain(inputs, what, link.n_in).then(link, link.n_in))


def _float(number, beside):
    """An attribute; beside float32 weights the decimal that was meant."""
    short = isinstance(number, np.float32) and beside.dtype != np.float64
    return float(str(number)) if short else float(number)


def _prelu(reader, what, inputs, attributes):
    if len(inputs) != 2 or not isinstance(inputs[1], np.ndarray):
        raise FileFormatError(f"{what}: needs constant slopes")
    chain = _chain(inputs, what)
    link = prelu(what, _per_column(inputs[1], chain.width, what))
    return _Value(chain.then(link, chain.width))


def _softmax(name):
    def read(reader, what, inputs, attributes):
        if attributes.get("axis", 1) not in (-1, 1):
            raise FileFormatError(f"{what}: axis must be -1 or 1")
        chain = _chain(inputs, what)
        return _Value(chain.then(curve(what, name), chain.width))

    return read


def _mean(reader, what, inputs, attributes):
    axes = attributes.get("axes", inputs[1].reshape(-1).tolist() if len(inputs) > 1 else None)
    if axes not in ([-1], [1]) or attributes.get("keepdims", 1) != 1:
        raise FileFormatError(f"{what}: axes must be -1, and keepdims 1")
    if not isinstance(inputs[0], _Value):
        raise FileFormatError(f"{what}: its input must depend on the input of the model")
    return _Value(
        inputs[0].chain, Expression("Mean", [inputs[0].expression], {}, what)
    )


def _same(reader, what, inputs, attributes):
    return inputs[0]


def _dropout(reader, what, inputs, attributes):
    if len(inputs) > 2 and inputs[2] is not None and np.any(inputs[2]):
        raise FileFormatError(f"{what}: is in training mode")
    return inputs[0]


def _flatten(reader, what, inputs, attributes):
    if attributes.get("axis", 1) != 1:
        raise FileFormatError(f"{what}: axis must be 1")
    return _flat(inputs[0])


def _flat(value):
    return _Part(value.columns, value.table) if isinstance(value, _Part) else value


def _reshape(reader, what, inputs, attributes):
    shape = inputs[1].reshape(-1).tolist() if isinstance(inputs[1], np.ndarray) else []
    value = inputs[0]
    n = value.chain.width if isinstance(value, _Value) else _columns_of(reader, value)
    if len(shape) != 2 or shape[0] not in (-1, 0) or shape[1] not in (n, -1 if n else n):
        raise FileFormatError(f"{what}: to {shape} is not read, only to (rows, columns)")
    return _flat(value)


def _columns_of(reader, part):
    n = reader.n_in if part.columns is None else len(part.columns)
    return n if part.table is None or n is None else n * part.table.shape[1]


def _cast(reader, what, inputs, attributes):
    to, value = attributes.get("to"), inputs[0]
    if to in _FLOATS and isinstance(value, _Value):
        return value
    if to in (INT, INT32):
        if isinstance(value, _Value) and value.chain is reader.start and value.expression is value.chain.start:
            return _Part(None, flat=True)
        if isinstance(value, _Part) and value.table is None:
            return value
    raise FileFormatError(f"{what}: to type {to} of this is not read")


def _gather(reader, what, inputs, attributes):
    """Columns of the input, or rows of a table by tokens."""
    axis, (data, indices) = attributes.get("axis", 0), inputs
    if isinstance(indices, _Value) and indices.chain is reader.start:
        indices = _Part(None)  # an input of whole numbers
    if axis == 0 and isinstance(indices, _Part) and indices.table is None:
        return _Part(indices.columns, _matrix(data, what), flat=False)
    if axis == 1 and isinstance(data, _Value) and data.chain is reader.start:
        if isinstance(indices, np.ndarray) and indices.dtype.kind == "i" and indices.ndim == 1:
            return _Part(indices.tolist())
    raise FileFormatError(f"{what}: neither takes columns of the input nor rows of a table by it")


def _concat(reader, what, inputs, attributes):
    """The columns of an embedding, or the probabilities of two classes."""
    if attributes.get("axis") not in (1, -1):
        raise FileFormatError(f"{what}: axis must be 1")
    if len(inputs) == 2 and _are_two_classes(*inputs):
        return inputs[1]
    if not inputs or not all(isinstance(each, _Part) and each.flat for each in inputs):
        raise FileFormatError(f"{what}: joins other things than columns of the input")
    if len(inputs) == 1 and inputs[0].columns is None and inputs[0].table is not None:
        table = inputs[0].table
        link = Made(what, Embedding(*table.shape), {"E": table})
        n = _columns_of(reader, inputs[0])
        return _Value(reader.start.then(link, n))
    if any(each.columns is None for each in inputs):
        raise FileFormatError(f"{what}: joins other things than columns of the input")
    order = [column for each in inputs for column in each.columns]
    if order != list(range(reader.n_in or len(order))):
        raise FileFormatError(f"{what}: the columns of the input are not all there, in their order")
    tables = {
        column: each.table for each in inputs if each.table is not None for column in each.columns
    }
    if not tables:
        return _Value(reader.start)
    layer = Embedding(columns={column: table.shape for column, table in tables.items()})
    values = {f"E{column}": table for column, table in tables.items()}
    link = Made(what, layer, values, len(order))
    return _Value(reader.start.then(link, layer.n_outputs(len(order))))


def _are_two_classes(first, second):
    """Whether these are 1 - p and p, of one column."""
    if not (isinstance(first, _Value) and isinstance(second, _Value)):
        return False
    e = first.expression
    return (
        first.chain is second.chain
        and e.op == "Sub"
        and e.arguments[1] is second.expression
        and not isinstance(e.arguments[0], Expression)
        and np.ndim(e.arguments[0]) == 0
        and e.arguments[0] == 1
        and first.chain.width == 1
    )


def _scaler(reader, what, inputs, attributes):
    """(x - offset) scale."""
    chain = _chain(inputs, what)
    offset, scale = (
        _per_column(np.asarray(attributes.get(name, [default]), np.float64), chain.width, what)
        for name, default in (("offset", 0), ("scale", 1))
    )
    return _Value(chain.then(Columns(what, scale, -offset * scale), chain.width))


_FLOATS = (FLOAT, FLOAT64, HALF)
_NODES: dict[str, Callable] = {
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": _concat,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "Identity": _same,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax("log_softmax"),
    "MatMul": _matmul,
    "PRelu": _prelu,
    "ReduceMean": _mean,
    "Reshape": _reshape,
    "Softmax": _softmax("softmax"),
}
_ML: dict[str, Callable] = {"Scaler": _scaler, "ZipMap": _same}
_PARTS = ("Cast", "Concat", "Flatten", "Gather", "Identity", "Reshape")  # take parts of the input
_OF_CONSTANTS: dict[str, Callable] = {
    "Cast": lambda what, inputs, attributes: inputs[0],
    "Identity": lambda what, inputs, attributes: inputs[0],
    "Transpose": lambda what, inputs, attributes: _matrix(inputs[0], what).T,
}


# ---- tensors and attributes ----


def _attributes(node: Message) -> dict[str, Any]:
    """Attributes by name: np.float32, int, str, or lists of them."""
    found = {}
    for each in node.get("attribute", []):
        if "f" in each and each.get("type", 1) == 1:
            value = np.float32(each["f"])
        elif "s" in each and each.get("type", 3) == 3:
            value = bytes(each["s"]).decode("utf-8", "replace")
        else:
            value = next((each[k] for k in ("i", "floats", "ints") if k in each), None)
        if value is not None:
            found[each.get("name", "")] = value
    return found


def array(tensor: Message, what: str) -> np.ndarray:
    """Return a tensor as an array, which takes no memory that the file does not fill."""
    if tensor.get("external_data") or tensor.get("data_location", 0):
        raise FileFormatError(f"{what} is in another file (external data), which is not read")
    kind, dims = tensor.get("data_type", 0), tensor.get("dims", [])
    if kind not in _TYPES:
        raise FileFormatError(f"{what} is of type {kind}, not float16, float32, float64, int32 or int64")
    code, key = _TYPES[kind]
    dtype = np.dtype(code)
    if len(dims) > 8 or not all(0 < n < 1 << 40 for n in dims):
        raise FileFormatError(f"{what} has the shape {dims[:9]}")
    data = tensor.get("raw_data", b"")
    if not len(data) and key in tensor:
        values = tensor[key]
        data = b"".join(values) if key.endswith(("float_data", "double_data")) else _ints(values, dtype)
    if len(data) != math.prod(dims) * dtype.itemsize:
        raise FileFormatError(
            f"{what} has the shape {dims}, of {math.prod(dims) * dtype.itemsize} bytes, but "
            f"{len(data)} bytes of data"
        )
    return np.frombuffer(data, dtype).reshape(dims).astype(dtype.newbyteorder("="), copy=False)


def _ints(values, dtype):
    try:
        return np.asarray(values, dtype).tobytes()
    except OverflowError:
        raise FileFormatError(f"a number is beyond {dtype}") from None
