"""Tensors and nodes of an ONNX model: what they are, and a function for each operator.

It takes the reader, a description of the node, its inputs and its attributes, and returns the
value of its output. Operators of one number are in `recognition.OPERATORS`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..files import FileFormatError
from ..layers import BatchNorm, Embedding, Layer, LayerNorm
from .links import Affine, Link, Made, curve, norm, prelu
from .onnx_writing import FLOAT, FLOAT64, INT
from .protobuf import Message
from .recognition import Expression, steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .onnx_reading import Reader

HALF, INT32, BOOL = 10, 6, 9  # TensorProto.DataType
FLOATS = (FLOAT, FLOAT64, HALF)
MOST_LINKS = 1024  # of a chain
_TYPES = {FLOAT: ("<f4", "float_data"), FLOAT64: ("<f8", "double_data"), HALF: ("<f2", ""),
          INT: ("<i8", "int64_data"), INT32: ("<i4", "int32_data")}  # fmt: skip
_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints"}  # AttributeProto.type


class Chain:
    """What is computed from the input so far: links, each with the chain before it."""

    def __init__(self, before: "Chain | None", link: Link | None, width: int | None):
        self.before, self.link, self.width = before, link, width
        self.start = Expression("", [], {}, "")  # its output, in expressions
        self.length: int = before.length + 1 if before else 0
        if link and self.length > MOST_LINKS:
            raise FileFormatError(f"{link.what}: more than {MOST_LINKS} layers")

    def links(self, since: "Chain | None" = None) -> list[Link] | None:
        """The links, or those since an earlier chain; None if that is no part of this one."""
        found, chain = [], self
        while chain.before and chain.link and chain is not since:
            found.append(chain.link)
            chain = chain.before
        return found[::-1] if since is None or chain is since else None


class Value:
    """A tensor (rows, columns): an expression of the output of a chain."""

    def __init__(self, chain: Chain, expression: Expression | None = None):
        self.chain, self.expression = chain, expression or chain.start

    def complete(self) -> Chain:
        """The chain that computes it: always the same one."""
        chain = self.chain
        for link in steps(self.expression, chain.start, chain.width):
            chain = Chain(chain, link, chain.width)
        self.chain, self.expression = chain, chain.start
        return chain


class Part:
    """Columns of the input on their way into an Embedding, [(column, table or None)].

    columns None: all, with one table. Not flat: tokens, or rows of vectors.
    """

    def __init__(
        self, columns: list[tuple[int, np.ndarray | None]] | None, table: np.ndarray | None = None,
        flat: bool = False,
    ):  # fmt: skip
        self.columns, self.table, self.flat = columns, table, flat


def attributes_of(node: Message) -> dict[str, Any]:
    """Attributes by name: np.float32, int, str, a tensor, or a list of numbers."""
    found = {}
    for each in node.get("attribute", []):
        value = each.get(_ATTRIBUTES.get(each.get("type"), ""))
        if each.get("type") == 1:
            value = np.float32(value or 0)
        elif each.get("type") == 3:
            value = bytes(value or b"").decode("utf-8", "replace")
        found[each.get("name", "")] = value
    return found


def array(tensor: Message, what: str) -> np.ndarray:
    """Return a tensor as an array, which takes no memory that the file does not fill."""
    if tensor.get("external_data") or tensor.get("data_location", 0):
        raise FileFormatError(f"{what} is in another file (external data), which is not read")
    kind, dims = tensor.get("data_type", 0), tensor.get("dims", [])
    if kind not in _TYPES:
        raise FileFormatError(f"{what} is of type {kind}; floats, int32 and int64 are read")
    dtype, key = np.dtype(_TYPES[kind][0]), _TYPES[kind][1]
    if len(dims) > 8 or not all(0 < n < 1 << 40 for n in dims):
        raise FileFormatError(f"{what} has the shape {dims[:9]}")
    data, values = tensor.get("raw_data", b""), tensor.get(key)
    if values and not len(data):
        data = np.asarray(values, dtype).tobytes() if dtype.kind == "i" else b"".join(values)
    size = math.prod(dims) * dtype.itemsize
    if len(data) != size:
        raise FileFormatError(f"{what}: {dims} are {size} bytes, but {len(data)} bytes are there")
    return np.frombuffer(data, dtype).reshape(dims).astype(dtype.newbyteorder("="), copy=False)


def per_column(values: Any, width: int | None) -> np.ndarray:
    """Return a constant as a number, or as one for each column."""
    if not isinstance(values, np.ndarray):
        raise ValueError("a constant is left out, or computed")
    flat = values.reshape(-1)
    if flat.size == 1:
        return flat.reshape(())
    if values.shape not in ((flat.size,), (1, flat.size)) or width not in (None, flat.size):
        raise ValueError(f"a constant of shape {values.shape} for {width} columns")
    return flat


# ---- operators ----

Inputs = list[Any]  # Values, Parts, arrays; None where one is left out
Attributes = dict[str, Any]


def _then(value: Any, link: Link, n_in: int | None = None, n_out: int | None = None) -> Value:
    """The value of a link behind another; of as many columns, unless these are given."""
    if not isinstance(value, Value):
        raise ValueError("its first input must depend on the input of the model")
    chain = value.complete()
    if n_in is not None and chain.width not in (None, n_in):
        raise ValueError(f"takes {n_in} columns, but there are {chain.width}")
    return Value(Chain(chain, link, n_out or n_in or chain.width))


def _matrix(value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind != "f":
        raise ValueError("its weights must be a constant matrix of numbers")
    return value


def _matmul(
    reader: "Reader", what: str, inputs: Inputs, attributes: Attributes, b: np.ndarray | None = None
) -> Value:
    W = _matrix(inputs[1])
    return _then(inputs[0], Affine(what, W, b), *W.shape)


def _gemm(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Value:
    x, W, b = (*inputs, None)[:3]
    W = _matrix(W).T if attributes.get("transB", 0) else _matrix(W)
    alpha, beta = (W.dtype.type(attributes.get(name, 1)) for name in ("alpha", "beta"))
    if b is not None:
        b = np.broadcast_to(per_column(b, W.shape[1]) * beta, W.shape[1:])
    return _matmul(reader, what, [x, W * alpha], attributes, b)


def _norm(kind: type[Layer], n: int) -> Callable[..., Value]:
    def read(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Value:
        x, *values = inputs
        if not all(isinstance(v, np.ndarray) and v.ndim == 1 for v in values):
            raise ValueError("needs constant vectors")
        if len({v.size for v in values}) != 1:
            raise ValueError(f"its vectors differ in length: {[v.size for v in values]}")
        eps = attributes.get("epsilon", np.float32(1e-5))
        # Beside float32 weights the decimal that was meant.
        eps = float(eps if values[0].dtype == np.float64 else str(eps))
        link = norm(what, kind, values[0].size, [*values, None][:n], eps=eps)
        return _then(x, link, link.n_in)

    return read


def _prelu(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Value:
    link = prelu(what, per_column(inputs[1], None))
    return _then(inputs[0], link, link.n_in)


def _softmax(name: str) -> Callable[..., Value]:
    return lambda reader, what, inputs, attributes: _then(inputs[0], curve(what, name))


def _mean(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Value:
    axes = attributes["axes"] if "axes" in attributes else inputs[1].tolist()
    if axes not in ([-1], [1]):
        raise ValueError("axes must be -1")
    return Value(inputs[0].chain, Expression("RowMean", [inputs[0].expression], {}, what))


def _dropout(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Any:
    if inputs[2:] and np.any(inputs[2]):
        raise ValueError("is in training mode")
    return inputs[0]


def _constant(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> np.ndarray:
    for name, value in attributes.items():
        if name == "value":
            return array(value, what)
        if name in ("value_float", "value_floats", "value_int", "value_ints"):
            return np.asarray(value, np.float32 if "float" in name else np.int64)
    raise ValueError("only tensors of numbers are read")


def _transpose(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> np.ndarray:
    return _matrix(inputs[0]).T


# ---- columns of the input, and tokens in them ----


def _part(reader: "Reader", value: Any) -> Any:
    """The input itself as a part of it; other values as they are."""
    whole = isinstance(value, Value) and value.expression is reader.start.start
    return Part(None) if whole else value


def _flat(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Any:
    part = inputs[0]
    return (
        Part(part.columns, part.table, True) if getattr(part, "table", None) is not None else part
    )


def _reshape(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Any:
    value, shape = inputs[0], np.ravel(inputs[1]).tolist()
    n = value.chain.width if isinstance(value, Value) else _width(reader, value)
    if len(shape) != 2 or shape[0] not in (-1, 0) or shape[1] not in (n, -1 if n else n):
        raise ValueError(f"to {shape} is not read, only to (rows, columns)")
    return _flat(reader, what, inputs, attributes)


def _width(reader: "Reader", part: Part) -> int | None:
    n = reader.n_in if part.columns is None else len(part.columns)
    return n if part.table is None or n is None else n * part.table.shape[1]


def _cast(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Any:
    value, to = inputs[0], attributes.get("to")
    if to in FLOATS and isinstance(value, (Value, np.ndarray)):
        return value
    if to == BOOL and isinstance(value, Value):
        return Value(value.chain, Expression("Bool", [value.expression], {}, what))
    if to in (INT, INT32):
        if isinstance(value, np.ndarray):
            return value.astype(np.int64)
        value = _part(reader, value)
        if isinstance(value, Part) and value.table is None:
            return Part(value.columns)
    raise ValueError(f"to type {to} of this is not read")


def _gather(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Part:
    """Columns of the input, or rows of a table by tokens."""
    axis, (data, indices) = attributes.get("axis", 0), inputs
    whole, part = _part(reader, data), _part(reader, indices)
    if axis == 0 and isinstance(part, Part) and part.table is None:
        table = _matrix(data)
        return Part(part.columns and [(column, table) for column, _ in part.columns], table)
    if axis == 1 and isinstance(whole, Part) and isinstance(data, Value) and indices.ndim == 1:
        return Part([(column, None) for column in indices.tolist()], None, True)
    raise ValueError("neither takes columns of the input nor rows of a table by it")


def _concat(reader: "Reader", what: str, inputs: Inputs, attributes: Attributes) -> Part:
    if not all(isinstance(each, Part) and each.flat and each.columns for each in inputs):
        raise ValueError("joins other things than columns of the input")
    return Part([column for each in inputs for column in each.columns], None, True)


def embedded(reader: "Reader", what: str, part: Part) -> Value:
    """The value of columns of the input, some of them or all tokens of an Embedding."""
    if not part.flat:
        raise ValueError("takes tokens or rows of vectors, neither looked up nor flattened")
    x = Value(reader.start)
    if part.columns is None and part.table is not None:
        layer, values = Embedding(*part.table.shape), {"E": part.table}
        return _then(x, Made(what, layer, values), None, _width(reader, part))
    columns = part.columns or []
    tables = {column: table for column, table in columns if table is not None}
    n = len(columns)
    if [column for column, _ in columns] != list(range(n)) or reader.n_in not in (None, n):
        raise ValueError("the columns of the input are not all there, in their order")
    if not tables:
        return x
    layer = Embedding(columns={column: table.shape for column, table in tables.items()})
    link = Made(what, layer, {f"E{column}": table for column, table in tables.items()}, n)
    return _then(x, link, n, layer.n_outputs(n))


# Each operator: its function, how many inputs it needs, and which attributes it may have where
# not all are read, the default first.
NODES: dict[str, tuple[Callable[..., Any], int, dict[str, tuple[Any, ...]]]] = {
    "BatchNormalization": (_norm(BatchNorm, 4), 5, {"training_mode": (0,)}),
    "Cast": (_cast, 1, {}),
    "Concat": (_concat, 1, {"axis": (1, -1)}),
    "Constant": (_constant, 0, {}),
    "Dropout": (_dropout, 1, {}),
    "Flatten": (_flat, 1, {"axis": (1,)}),
    "Gather": (_gather, 2, {}),
    "Gemm": (_gemm, 2, {"transA": (0,)}),
    "Identity": (lambda reader, what, inputs, attributes: inputs[0], 1, {}),
    "LayerNormalization": (_norm(LayerNorm, 2), 2, {"axis": (-1, 1)}),
    "LogSoftmax": (_softmax("log_softmax"), 1, {"axis": (-1, 1)}),
    "MatMul": (_matmul, 2, {}),
    "PRelu": (_prelu, 2, {}),
    "ReduceMean": (_mean, 1, {"keepdims": (1,)}),
    "Reshape": (_reshape, 2, {}),
    "Softmax": (_softmax("softmax"), 1, {"axis": (-1, 1)}),
    "Transpose": (_transpose, 1, {"perm": ([1, 0],)}),
}
TAKE_PARTS = ("Cast", "Concat", "Flatten", "Gather", "Identity", "Reshape")
