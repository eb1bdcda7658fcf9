"""ONNX's messages as bytes: that part of Protocol Buffers, and no more.

A message is a dict of fields by name; a field that may stand more than once is a list. Field
numbers and types are those of onnx.proto (github.com/onnx/onnx), the encoding is described at
protobuf.dev/programming-guides/encoding. What is read is not trusted: each length is checked
against the bytes that are left, nothing is copied or taken memory for but what was found, the
depth is that of the schema, and there are at most `MOST` parts in all.
"""

from __future__ import annotations

import struct
from typing import Any

from ..files import FileFormatError

MOST = 1 << 18  # fields of all messages together
MOST_DIGITS = 10  # bytes of a varint

Message = dict[str, Any]


class Field:
    """A field: its number, name, type, and whether it may stand more than once.

    Types are "int" (a signed varint), "float" (four bytes), "bytes", "text", "packed" (numbers of a
    fixed size, kept as bytes), or the name of a message.
    """

    __slots__ = ("kind", "many", "name", "number")

    def __init__(self, number: int, name: str, kind: str, many: bool = False):
        self.number, self.name, self.kind, self.many = number, name, kind, many


def _fields(text):
    """number name:type, a * behind the type where there may be many."""
    found = []
    for word in text.split():
        number, name, kind = word.split(":")
        found.append(Field(int(number), name, kind.rstrip("*"), kind.endswith("*")))
    return tuple(found)


MESSAGES: dict[str, tuple[Field, ...]] = {
    "Model": _fields(
        "1:ir_version:int 2:producer_name:text 7:graph:Graph 8:opset_import:OperatorSet*"
    ),
    "OperatorSet": _fields("1:domain:text 2:version:int"),
    "Graph": _fields(
        "1:node:Node* 2:name:text 5:initializer:Tensor* 11:input:ValueInfo* 12:output:ValueInfo*"
    ),
    "Node": _fields(
        "1:input:text* 2:output:text* 3:name:text 4:op_type:text 5:attribute:Attribute* "
        "7:domain:text"
    ),
    "Attribute": _fields(
        "1:name:text 2:f:float 3:i:int 4:s:bytes 5:t:Tensor 7:floats:float* 8:ints:int* "
        "9:strings:bytes* 20:type:int"
    ),
    "Tensor": _fields(
        "1:dims:int* 2:data_type:int 4:float_data:packed* 5:int32_data:int* 7:int64_data:int* "
        "8:name:text 9:raw_data:bytes 10:double_data:packed* 13:external_data:bytes* "
        "14:data_location:int"
    ),
    "ValueInfo": _fields("1:name:text 2:type:Type"),
    "Type": _fields("1:tensor_type:TensorType"),
    "TensorType": _fields("1:elem_type:int 2:shape:Shape"),
    "Shape": _fields("1:dim:Dimension*"),
    "Dimension": _fields("1:dim_value:int 2:dim_param:text"),
}
_WIRE = {"int": 0, "float": 5}  # all others are 2: a length, and so many bytes
_BY_NUMBER = {kind: {field.number: field for field in fields} for kind, fields in MESSAGES.items()}


# ---- writing ----


def encode(message: Message, kind: str = "Model") -> list[bytes | memoryview]:
    """Return a message as buffers to be written one behind the other, in the order of numbers."""
    parts: list[bytes | memoryview] = []
    for field in MESSAGES[kind]:
        value = message.get(field.name)
        if value is None:
            continue
        if field.many and field.kind in _WIRE:
            parts += _delimited(field, [b"".join(_number(field.kind, each) for each in value)])
            continue
        for each in value if field.many else [value]:
            if field.kind in _WIRE:
                parts += [_varint(field.number << 3 | _WIRE[field.kind]), _number(field.kind, each)]
            elif field.kind in MESSAGES:
                parts += _delimited(field, encode(each, field.kind))
            else:
                parts += _delimited(field, [each.encode() if field.kind == "text" else each])
    return parts


def _delimited(field, parts):
    return [_varint(field.number << 3 | 2) + _varint(sum(map(len, parts))), *parts]


def _number(kind, value):
    return _varint(value) if kind == "int" else struct.pack("<f", value)


def _varint(value):
    value &= (1 << 64) - 1  # negative numbers in two's complement
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


# ---- reading ----


def decode(data: bytes | bytearray | memoryview, kind: str = "Model") -> Message:
    """Return the message in `data`; its bytes are views. Fields not in MESSAGES are left out.

    Raises
    ------
    FileFormatError
        If the bytes are no such message.
    """
    return _Reader().message(memoryview(data), kind, kind)


class _Reader:
    """Reads messages, and counts what it has read."""

    def __init__(self):
        self.left = MOST

    def message(self, data, kind, path):
        found: Message = {}
        at, end = 0, len(data)
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise FileFormatError(f"{path}: more than {MOST} parts; no multilayer perceptron")
            tag, at = _read_varint(data, at, path)
            wire, field = tag & 7, _BY_NUMBER[kind].get(tag >> 3)
            value, at = _read_value(data, at, wire, path)
            if field is not None:
                self.keep(found, field, value, wire, f"{path}.{field.name}")
        return found

    def keep(self, found, field, value, wire, path):
        """Put a value into the message that it is of."""
        kind = field.kind
        packed = wire == 2 and field.many and kind in _WIRE
        loose = kind == "packed" and wire in (1, 5)
        if wire != _WIRE.get(kind, 2) and not packed and not loose:
            raise FileFormatError(f"{path}: wire type {wire} is not that of {kind}")
        if packed:
            found.setdefault(field.name, []).extend(self.numbers(value, kind, path))
            return
        if kind == "text":
            value = _text(value, path)
        elif kind == "int":
            value = _signed(value)
        elif kind == "float":
            value = _float(value)
        elif kind in MESSAGES:
            if field.name in found and not field.many:
                raise FileFormatError(f"{path} stands twice")
            value = self.message(value, kind, path)
        if field.many:
            found.setdefault(field.name, []).append(value)
        else:
            found[field.name] = value

    def numbers(self, data, kind, path):
        """The numbers of a packed field."""
        found, at = [], 0
        if kind == "float" and len(data) % 4:
            raise FileFormatError(f"{path}: {len(data)} bytes are no float32 numbers")
        while at < len(data):
            self.left -= 1
            if self.left < 0:
                raise FileFormatError(f"{path}: more than {MOST} parts; no multilayer perceptron")
            if kind == "float":
                found.append(_float(data[at : at + 4]))
                at += 4
            else:
                value, at = _read_varint(data, at, path)
                found.append(_signed(value))
        return found


def _read_varint(data, at, path):
    value = 0
    for i, digit in enumerate(data[at : at + MOST_DIGITS]):
        value |= (digit & 127) << 7 * i
        if digit < 128:
            return value & (1 << 64) - 1, at + i + 1
    raise FileFormatError(f"{path}: a number is cut off, or longer than {MOST_DIGITS} bytes")


def _read_value(data, at, wire, path):
    """A varint, or the bytes of a field, and where the next one begins."""
    if wire == 0:
        return _read_varint(data, at, path)
    if wire == 2:
        size, at = _read_varint(data, at, path)
    elif wire in (1, 5):
        size = 8 if wire == 1 else 4
    else:
        raise FileFormatError(
            f"{path}: wire type {wire} is not one of ONNX; no ONNX file, or damaged"
        )
    if size > len(data) - at:
        raise FileFormatError(
            f"{path}: a field of {size} bytes, but {len(data) - at} are left; no ONNX file, or cut "
            "off"
        )
    return data[at : at + size], at + size


def _text(data, path):
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise FileFormatError(f"{path} is no text") from None


def _signed(value):
    return value - (1 << 64) if value >> 63 else value


def _float(data):
    return struct.unpack("<f", data)[0]
