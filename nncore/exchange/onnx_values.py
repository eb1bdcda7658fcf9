"""What tensors of an ONNX model are while it is read, and its constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..files import FileFormatError
from .links import Link
from .onnx_writing import FLOAT, FLOAT64, INT
from .protobuf import Message
from .recognition import Expression, steps

HALF, INT32 = 10, 6  # TensorProto.DataType
FLOATS = (FLOAT, FLOAT64, HALF)
MOST_LINKS = 1024  # of a chain
_TYPES = {FLOAT: ("<f4", "float_data"), FLOAT64: ("<f8", "double_data"), HALF: ("<f2", ""),
          INT: ("<i8", "int64_data"), INT32: ("<i4", "int32_data")}  # fmt: skip
_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints"}  # AttributeProto.type


class Chain:
    """What is computed from the input so far: links, each with the chain before it."""

    def __init__(self, before: Chain | None, link: Link | None, width: int | None):
        self.before, self.link, self.width = before, link, width
        self.start = Expression("", [], {}, "")  # its output, in expressions
        self.length: int = before.length + 1 if before else 0
        if self.length > MOST_LINKS:
            raise FileFormatError(f"{link.what if link else ''}: more than {MOST_LINKS} layers")

    def then(self, link: Link, width: int | None) -> Chain:
        return Chain(self, link, width)

    def links(self, since: Chain | None = None) -> list[Link] | None:
        """The links, or those since an earlier chain; None if that is no part of this one."""
        found, chain = [], self
        while chain.before is not None and chain is not since:
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
            chain = chain.then(link, chain.width)
        self.chain, self.expression = chain, chain.start
        return chain


class Part:
    """Columns of the input on their way into an Embedding, [(column, table or None)].

    columns None: all, with one table. Not flat: tokens, or rows of vectors.
    """

    def __init__(self, columns: list | None, table: np.ndarray | None = None, flat: bool = False):
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
