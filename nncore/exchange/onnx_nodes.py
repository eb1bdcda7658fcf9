"""What the nodes of an ONNX model are: a function for each operator.

It takes the reader, a description of the node for errors, its inputs and its attributes, and
returns the value of its output. Operators of one number are in `recognition.OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..files import FileFormatError
from ..layers import BatchNorm, Embedding, LayerNorm
from .links import Affine, Columns, Made, curve, norm, prelu
from .onnx_values import BOOL, FLOATS, INT, INT32, Part, Value, per_column
from .recognition import Expression


def matrix(value, what):
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind != "f":
        raise FileFormatError(f"{what}: its weights must be a constant matrix of numbers")
    return value


def _chain(inputs, what, n=None):
    """The chain that the first input completes."""
    if not isinstance(inputs[0], Value):
        raise FileFormatError(f"{what}: its first input must depend on the input of the model")
    chain = inputs[0].complete()
    if n is not None and chain.width not in (None, n):
        raise FileFormatError(f"{what}: takes {n} columns, but there are {chain.width}")
    return chain


def _affine(what, inputs, W, b=None):
    W = matrix(W, what)
    chain = _chain(inputs, what, len(W))
    return Value(chain.then(Affine(what, W, b), W.shape[1]))


def _gemm(reader, what, inputs, attributes):
    if len(inputs) < 2 or attributes.get("transA", 0):
        raise FileFormatError(f"{what}: needs two inputs, and transA=0")
    W = matrix(inputs[1], what)
    W = W.T if attributes.get("transB", 0) else W
    alpha, beta = (float(attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    b = inputs[2] if len(inputs) > 2 else None
    if b is not None:
        b = per_column(b, W.shape[1], what)
        b = np.broadcast_to(b * W.dtype.type(beta), W.shape[1:])
    return _affine(what, inputs, W * W.dtype.type(alpha), b)


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
    return Value(_chain(inputs, what, link.n_in).then(link, link.n_in))


def _layer_norm(reader, what, inputs, attributes):
    if attributes.get("axis", -1) not in (-1, 1):
        raise FileFormatError(f"{what}: axis must be -1")
    values = _vectors(what, inputs, len(inputs) - 1)
    eps = _float(attributes.get("epsilon", np.float32(1e-5)), values[0])
    link = norm(what, LayerNorm, values[0].size, (*values, None)[:2], eps=eps)
    return Value(_chain(inputs, what, link.n_in).then(link, link.n_in))


def _float(number, beside):
    """An attribute; beside float32 weights the decimal that was meant."""
    short = isinstance(number, np.float32) and beside.dtype != np.float64
    return float(str(number)) if short else float(number)


def _prelu(reader, what, inputs, attributes):
    if len(inputs) != 2 or not isinstance(inputs[1], np.ndarray):
        raise FileFormatError(f"{what}: needs constant slopes")
    chain = _chain(inputs, what)
    link = prelu(what, per_column(inputs[1], chain.width, what))
    return Value(chain.then(link, chain.width))


def _softmax(name):
    def read(reader, what, inputs, attributes):
        if attributes.get("axis", 1) not in (-1, 1):
            raise FileFormatError(f"{what}: axis must be -1 or 1")
        chain = _chain(inputs, what)
        return Value(chain.then(curve(what, name), chain.width))

    return read


def _mean(reader, what, inputs, attributes):
    axes = attributes.get("axes", inputs[1].reshape(-1).tolist() if len(inputs) > 1 else None)
    if axes not in ([-1], [1]) or attributes.get("keepdims", 1) != 1:
        raise FileFormatError(f"{what}: axes must be -1, and keepdims 1")
    if not isinstance(inputs[0], Value):
        raise FileFormatError(f"{what}: its input must depend on the input of the model")
    return Value(inputs[0].chain, Expression("Mean", [inputs[0].expression], {}, what))


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
    return Part(value.columns, value.table) if isinstance(value, Part) else value


def _reshape(reader, what, inputs, attributes):
    shape = inputs[1].reshape(-1).tolist() if isinstance(inputs[1], np.ndarray) else []
    value = inputs[0]
    n = value.chain.width if isinstance(value, Value) else _columns_of(reader, value)
    if len(shape) != 2 or shape[0] not in (-1, 0) or shape[1] not in (n, -1 if n else n):
        raise FileFormatError(f"{what}: to {shape} is not read, only to (rows, columns)")
    return _flat(value)


def _columns_of(reader, part):
    n = reader.n_in if part.columns is None else len(part.columns)
    return n if part.table is None or n is None else n * part.table.shape[1]


def _cast(reader, what, inputs, attributes):
    to, value = attributes.get("to"), inputs[0]
    if to in FLOATS and isinstance(value, Value):
        return value
    if to == BOOL and isinstance(value, Value):
        return Value(value.chain, Expression("Bool", [value.expression], {}, what))
    if to in (INT, INT32):
        value = _part(reader, value)
        if isinstance(value, Part) and value.table is None:
            return value
    raise FileFormatError(f"{what}: to type {to} of this is not read")


def _cast_constant(what, value, attributes):
    to = attributes.get("to")
    if to not in (*FLOATS, INT, INT32):
        raise FileFormatError(f"{what}: to type {to} is not read")
    return value if to in FLOATS else value.astype(np.int64)


def _transpose(what, value, attributes):
    if attributes.get("perm", [1, 0]) != [1, 0]:
        raise FileFormatError(f"{what}: perm must be [1, 0]")
    return matrix(value, what).T


def _part(reader, value):
    """The input itself as a part of it; other values as they are."""
    whole = isinstance(value, Value) and value.expression is getattr(reader.start, "start", None)
    return Part(None) if whole else value


def _gather(reader, what, inputs, attributes):
    """Columns of the input, or rows of a table by tokens."""
    axis, (data, indices) = attributes.get("axis", 0), inputs
    indices = _part(reader, indices)  # an input of whole numbers needs no Cast
    if axis == 0 and isinstance(indices, Part) and indices.table is None:
        return Part(indices.columns, matrix(data, what), flat=False)
    if axis == 1 and isinstance(_part(reader, data), Part) and data is not _part(reader, data):
        if isinstance(indices, np.ndarray) and indices.dtype.kind == "i" and indices.ndim == 1:
            return Part(indices.tolist())
    raise FileFormatError(f"{what}: neither takes columns of the input nor rows of a table by it")


def concat(reader, what, inputs, attributes):
    """The columns of an embedding, or the probabilities of two classes."""
    if attributes.get("axis") not in (1, -1):
        raise FileFormatError(f"{what}: axis must be 1")
    if len(inputs) == 2 and _are_two_classes(*inputs):
        return inputs[1]
    if not inputs or not all(isinstance(each, Part) and each.flat for each in inputs):
        raise FileFormatError(f"{what}: joins other things than columns of the input")
    if len(inputs) == 1 and inputs[0].columns is None and inputs[0].table is not None:
        table = inputs[0].table
        link = Made(what, Embedding(*table.shape), {"E": table})
        n = _columns_of(reader, inputs[0])
        return Value(reader.start.then(link, n))
    if any(each.columns is None for each in inputs):
        raise FileFormatError(f"{what}: joins other things than columns of the input")
    order = [column for each in inputs for column in each.columns]
    if order != list(range(len(order))) or len(order) != (reader.n_in or len(order)):
        raise FileFormatError(f"{what}: the columns of the input are not all there, in their order")
    tables = {
        column: each.table for each in inputs if each.table is not None for column in each.columns
    }
    if not tables:
        return Value(reader.start)
    layer = Embedding(columns={column: table.shape for column, table in tables.items()})
    values = {f"E{column}": table for column, table in tables.items()}
    link = Made(what, layer, values, len(order))
    return Value(reader.start.then(link, layer.n_outputs(len(order))))


def _are_two_classes(first, second):
    """Whether these are 1 - p and p, of one column."""
    if not (isinstance(first, Value) and isinstance(second, Value)):
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
        per_column(np.asarray(attributes.get(name, [default]), np.float64), chain.width, what)
        for name, default in (("offset", 0), ("scale", 1))
    )
    return Value(chain.then(Columns(what, scale, -offset * scale), chain.width))


NODES: dict[str, Callable] = {
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": concat,
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
ML_NODES: dict[str, Callable] = {"Scaler": _scaler, "ZipMap": _same}
TAKE_PARTS = ("Cast", "Concat", "Flatten", "Gather", "Identity", "Reshape")
OF_CONSTANTS: dict[str, Callable] = {
    "Cast": _cast_constant,
    "Identity": lambda what, value, attributes: value,
    "Transpose": _transpose,
}
