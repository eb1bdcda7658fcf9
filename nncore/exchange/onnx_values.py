"""What tensors of an ONNX model are while it is read, and its constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..files import FileFormatError
from .links import Link
from .onnx_writing import FLOAT, FLOAT64, INT
from .protobuf import Message
from .recognition import Expression, steps, variable

HALF, INT32, BOOL = 10, 6, 9  # TensorProto.DataType
FLOATS = (FLOAT, FLOAT64, HALF)
MOST_LINKS = 1024  # of a chain
_TYPES = {FLOAT: ("<f4", "float_data"), FLOAT64: ("<f8", "double_data"), HALF: ("<f2", None),
          INT: ("<i8", "int64_data"), INT32: ("<i4", "int32_data")}  # fmt: skip


class Chain:
    """What is computed from the input so far: links, each with the chain before it."""

    __slots__ = ("before", "length", "link", "start", "width")

    def __init__(self, before: Chain | None, link: Link | None, width: int | None):
        self.before, self.link, self.width = before, link, width
        self.start = variable()  # its output, in expressions
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

    __slots__ = ("chain", "expression")

    def __init__(self, chain: Chain, expression: Expression | None = None):
        self.chain, self.expression = chain, expression or chain.start

    def complete(self) -> Chain:
        """The chain that computes it: always the same one."""
        if self.expression is not self.chain.start:
            chain = self.chain
            for link in steps(self.expression, chain.start, chain.width):
                chain = chain.then(link, chain.width)
            self.chain, self.expression = chain, chain.start
        return self.chain


class Part:
    """Columns of the input on their way into an Embedding."""

    def __init__(self, columns: list[int] | None, table: np.ndarray | None = None, flat=True):
        self.columns, self.table, self.flat = columns, table, flat


# ---- tensors and attributes ----


def attributes_of(node: Message) -> dict[str, Any]:
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
        raise FileFormatError(
            f"{what} is of type {kind}, not float16, float32, float64, int32 or int64"
        )
    code, key = _TYPES[kind]
    dtype = np.dtype(code)
    if len(dims) > 8 or not all(0 < n < 1 << 40 for n in dims):
        raise FileFormatError(f"{what} has the shape {dims[:9]}")
    data = tensor.get("raw_data", b"")
    if not len(data) and key in tensor:
        values = tensor[key]
        data = (
            b"".join(values)
            if key.endswith(("float_data", "double_data"))
            else _ints(values, dtype)
        )
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


def constant(what, node):
    attributes = {a.get("name"): a for a in node.get("attribute", [])}
    if "value" in attributes and "t" in attributes["value"]:
        return array(attributes["value"]["t"], what)
    for name, key, kind in (
        ("value_float", "f", np.float32),
        ("value_floats", "floats", np.float32),
        ("value_int", "i", np.int64),
        ("value_ints", "ints", np.int64),
    ):
        if name in attributes and key in attributes[name]:
            return np.asarray(attributes[name][key], kind)
    raise FileFormatError(f"{what}: only tensors of numbers are read")


def per_column(values, width, what):
    """A constant as a number, or as one for each column."""
    if not isinstance(values, np.ndarray):
        raise FileFormatError(f"{what}: a constant is left out, or computed")
    if values.size == 1:
        return values.reshape(())
    flat = values.reshape(-1)
    if values.shape not in ((flat.size,), (1, flat.size)) or width not in (None, flat.size):
        raise FileFormatError(f"{what}: a constant of shape {values.shape} for {width} columns")
    return flat
