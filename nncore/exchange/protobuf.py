"""ONNX's messages as bytes: that part of Protocol Buffers, and no more.

A message is a dict of fields by name; a field that may stand more than once is a list. Field
numbers and types are those of onnx.proto (github.com/onnx/onnx), the encoding is described at
protobuf.dev/programming-guides/encoding. What is read is not trusted: lengths are checked, the
depth is that of the schema, and there are at most `MOST` parts.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..files import FileFormatError

MOST = 1 << 18  # fields of all messages together
MOST_DIGITS = 10  # bytes of a varint

Message = dict[str, Any]
Buffer = bytes | memoryview


class Field(NamedTuple):
    """A field. Types are "int" (a signed varint), "float" (four bytes), "bytes", "text", "packed"
    (numbers of a fixed size, kept as bytes), or the name of a message.
    """

    number: int
    name: str
    kind: str
    many: bool  # whether it may stand more than once


# Each message: number:name:type of its fields, a * behind the type where there may be many.
_SCHEMA = """
Model 1:ir_version:int 2:producer_name:text 7:graph:Graph 8:opset_import:OperatorSet*
OperatorSet 1:domain:text 2:version:int
Graph 1:node:Node* 2:name:text 5:initializer:Tensor* 11:input:ValueInfo* 12:output:ValueInfo*
Node 1:input:text* 2:output:text* 3:name:text 4:op_type:text 5:attribute:Attribute* 7:domain:text
Attribute 1:name:text 2:f:float 3:i:int 4:s:bytes 5:t:Tensor 7:floats:float* 8:ints:int* 20:type:int
Tensor 1:dims:int* 2:data_type:int 4:float_data:packed* 5:int32_data:int* 7:int64_data:int*
    8:name:text 9:raw_data:bytes 10:double_data:packed* 13:external_data:bytes* 14:data_location:int
ValueInfo 1:name:text 2:type:Type
Type 1:tensor_type:TensorType
TensorType 1:elem_type:int 2:shape:Shape
Shape 1:dim:Dimension*
Dimension 1:dim_value:int 2:dim_param:text
"""
MESSAGES: dict[str, dict[int, Field]] = {}
for _word in _SCHEMA.split():
    if ":" not in _word:
        _fields = MESSAGES[_word] = {}
    else:
        _number, _name, _kind = _word.split(":")
        _fields[int(_number)] = Field(int(_number), _name, _kind.rstrip("*"), _kind[-1] == "*")
_WIRE = {"int": 0, "float": 5}  # all others are 2: a length, and so many bytes


# ---- writing ----


def encode(message: Message, kind: str = "Model") -> list[Buffer]:
    """Return a message as buffers to be written one behind the other, in the order of numbers."""
    parts: list[Buffer] = []
    for field in MESSAGES[kind].values():
        values = message.get(field.name)
        if values is None:
            continue
        values = values if field.many else [values]
        if field.kind in _WIRE:
            data = b"".join(_bytes_of(field.kind, each) for each in values)
            if field.many:
                parts += _delimited(field, [data])
            else:
                parts += [_varint(field.number << 3 | _WIRE[field.kind]), data]
            continue
        for each in values:
            inner = encode(each, field.kind) if field.kind in MESSAGES else [each]
            parts += _delimited(field, [each.encode()] if field.kind == "text" else inner)
    return parts


def _delimited(field: Field, parts: list[Buffer]) -> list[Buffer]:
    return [_varint(field.number << 3 | 2) + _varint(sum(map(len, parts))), *parts]


def _bytes_of(kind: str, value: Any) -> bytes:
    return _varint(value) if kind == "int" else struct.pack("<f", value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers in two's complement
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


# ---- reading ----


def decode(data: bytes, kind: str = "Model") -> Message:
    """Return the message in `data`; its bytes are views. Fields not in MESSAGES are left out."""
    return _Reader().message(memoryview(data), kind, kind)


class _Reader:
    """Reads messages, and counts what it has read."""

    def __init__(self) -> None:
        self.left = MOST

    def count(self, path: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise FileFormatError(f"{path}: more than {MOST} parts; no multilayer perceptron")

    def message(self, data: memoryview, kind: str, path: str) -> Message:
        found: Message = {}
        at = 0
        while at < len(data):
            self.count(path)
            tag, at = _varint_at(data, at, path)
            value, at = _value_at(data, at, tag & 7, path)
            field = MESSAGES[kind].get(tag >> 3)
            if field is None:
                continue
            where = f"{path}.{field.name}"
            values = self.values(field, value, tag & 7, where)
            if field.many:
                found.setdefault(field.name, []).extend(values)
            elif field.kind in MESSAGES and field.name in found:
                raise FileFormatError(f"{where} stands twice")
            else:
                found[field.name] = values[0]
        return found

    def values(self, field: Field, value: Any, wire: int, path: str) -> Sequence[Any]:
        """What a field holds: numbers may be packed, others stand alone."""
        kind = field.kind
        if kind in _WIRE and wire == 2 and field.many:
            found: list[Any] = []
            at = 0
            while at < len(value):
                self.count(path)
                number, at = _value_at(value, at, _WIRE[kind], path)
                found += self.values(field, number, _WIRE[kind], path)
            return found
        if wire != _WIRE.get(kind, 2) and not (kind == "packed" and wire in (1, 5)):
            raise FileFormatError(f"{path}: wire type {wire} is not that of {kind}")
        if kind in MESSAGES:
            return [self.message(value, kind, path)]
        if kind == "float":
            return struct.unpack("<f", value)
        try:
            return [str(value, "utf-8") if kind == "text" else value]
        except UnicodeDecodeError:
            raise FileFormatError(f"{path} is no text") from None


def _varint_at(data: memoryview, at: int, path: str) -> tuple[int, int]:
    """A signed number, and where the next one begins."""
    value = 0
    for i, digit in enumerate(data[at : at + MOST_DIGITS]):
        value |= (digit & 127) << 7 * i
        if digit < 128:
            value &= (1 << 64) - 1
            return value - (value >> 63 << 64), at + i + 1
    raise FileFormatError(f"{path}: a number is cut off, or longer than {MOST_DIGITS} bytes")


def _value_at(data: memoryview, at: int, wire: int, path: str) -> tuple[int | memoryview, int]:
    """A number, or the bytes of a field, and where the next one begins."""
    if wire == 0:
        return _varint_at(data, at, path)
    size = {1: 8, 5: 4}.get(wire)
    if wire == 2:
        size, at = _varint_at(data, at, path)
    if size is None or not 0 <= size <= len(data) - at:
        what = f"of wire type {wire}" if size is None else f"of {size} bytes"
        raise FileFormatError(
            f"{path}: a field {what}, but {len(data) - at} are left; no ONNX file, or damaged"
        )
    return data[at : at + size], at + size
