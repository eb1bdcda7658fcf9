"""Networks from ONNX models, without the onnx package."""

import os
import stat
import warnings
from typing import Any

import numpy as np

from ..files import FileFormatError
from ..layers.residual import MOST_DEPTH
from ..network import Network
from .links import Block, Link, build
from .onnx_nodes import (
    NODES,
    TAKE_PARTS,
    Chain,
    Part,
    Value,
    array,
    attributes_of,
    embedded,
    per_column,
)  # fmt: skip
from .protobuf import Message, decode
from .recognition import OPERATORS, Expression

MOST_BYTES = 1 << 31
OPSETS = range(7, 29)  # in which the operators that are read mean the same
OWN = ("", "ai.onnx")  # ONNX's own domain
_DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def from_onnx(
    model: str | os.PathLike[str] | bytes, output: str | None = None, **options: Any
) -> Network:
    """Return the network of an ONNX model that is a multilayer perceptron.

    Nothing in the file is trusted. docs/exchange.md lists the operators that are read; activations
    are recognised by their values, within 1e-6, in whatever operators they are written.

    Parameters
    ----------
    model : str, os.PathLike or bytes
        The path of a file, or what is in one.
    output : str, optional
        Which output of the model, by default the last.
    **options
        Those of `nncore.Network`; dtype is by default that of the weights.

    Returns
    -------
    Network
        `predict` gives that output of the model, but for rounding.

    Raises
    ------
    nncore.files.FileFormatError
        A ValueError: the file is damaged, of an opset before 7, or a node has no counterpart
        here; it is named. After opset 28, the newest that was looked at, there is a warning.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(2, nncore.Dense(3, "gelu"), nncore.Dense(1, "sigmoid"), seed=0)
    >>> nncore.from_onnx(net.to_onnx()).layers
    (Dense(3, 'gelu'), Dense(1, 'sigmoid'))
    """
    if isinstance(model, (str, os.PathLike)):
        data, where = _contents(model), os.fsdecode(model)
    elif isinstance(model, (bytes, bytearray, memoryview)):
        data, where = bytes(model), "the model"
    else:
        raise TypeError(
            f"from_onnx takes a path or bytes, got a {type(model).__name__}; of a ModelProto it "
            "takes model.SerializeToString()"
        )
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused in the end
            content = decode(data)
            reader = Reader(content)
            _check_opset(content)
            links = reader.links(output)
    except _DAMAGE as error:
        fix = " (nncore.load reads what nncore saved)" * where.endswith(".safetensors")
        raise FileFormatError(f"{where}: {error}{fix}") from error
    return build(links, reader.n_in, **options)


def _check_opset(model: Message) -> None:
    """Operators of the same name may compute something else in other opsets."""
    found = [o.get("version", 0) for o in model.get("opset_import", [])
             if o.get("domain", "") in OWN]  # fmt: skip
    if not found or found[0] < OPSETS[0]:
        raise FileFormatError(
            f"its opset is {found[0] if found else 'missing'}; {OPSETS[0]} to {OPSETS[-1]} are "
            "read, since older operators differ: export it again, or see onnx.version_converter"
        )
    if found[0] > OPSETS[-1]:
        warnings.warn(
            f"the model's opset is {found[0]}, and operators are read as they are in "
            f"{OPSETS[0]} to {OPSETS[-1]}: compare what it predicts, or export it in one of them",
            stacklevel=3,
        )


def _contents(path: str | os.PathLike[str]) -> bytes:
    """What is in a file; a device or pipe would not end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
        raise FileFormatError(f"{os.fsdecode(path)} is not a file of at most {MOST_BYTES} bytes")
    with open(path, "rb") as file:
        return file.read()


class Reader:
    """Follows the nodes from the output back to the input."""

    def __init__(self, model: Message):
        if "graph" not in model:
            raise FileFormatError("there is no graph in it; is it an ONNX file?")
        self.graph: Message = model["graph"]
        self.constants = {t.get("name", ""): t for t in self.graph.get("initializer", [])}
        self.makers: dict[str, Message] = {}
        for node in self.graph.get("node", []):
            for name in filter(None, node.get("output", [])):
                if name in self.makers:
                    raise FileFormatError(f"two nodes make {name!r}")
                self.makers[name] = node
        self.values: dict[str, Any] = {}
        self.input: str | None = None  # its name, once it is met
        self.start = Chain(None, None, None)
        self.n_in: int | None = None

    def links(self, output: str | None) -> list[Link]:
        names = [v.get("name", "") for v in self.graph.get("output", [])]
        if not names:
            raise FileFormatError("there is no output in its graph")
        if output not in (None, *names):
            raise FileFormatError(f"there is no output {output!r}, but {names}")
        name = names[-1] if output is None else output
        value = self.value(name)
        if isinstance(value, Part):
            value = embedded(self, name, value)
        if not isinstance(value, Value):
            raise FileFormatError(f"the output {name!r} is the same for all inputs")
        return value.complete().links() or []

    def value(self, name: str) -> Any:
        """The value of a tensor; the nodes before it are read first."""
        waiting = [name]
        open_now: set[str] = set()
        while waiting:
            name = waiting[-1]
            node = self.makers.get(name)
            missing = [each for each in (node or {}).get("input", []) if each not in self.values]
            if name in self.values or not any(missing):
                waiting.pop()
                if name not in self.values:
                    self.values[name] = self._made(node, name) if node else self._given(name)
            elif name in open_now:
                raise FileFormatError(f"{name!r} is computed from itself")
            else:
                open_now.add(name)
                waiting += filter(None, missing)
        return self.values[name]

    def _given(self, name: str) -> np.ndarray | Value:
        """An initializer or the input."""
        if name in self.constants:
            return array(self.constants[name], f"initializer {name!r}")
        value = next((v for v in self.graph.get("input", []) if v.get("name") == name), None)
        if value is None:
            raise FileFormatError(f"{name!r} is neither made by a node nor given")
        if self.input is not None:
            raise FileFormatError(f"more than one input is used, the second {name!r}")
        shape = value.get("type", {}).get("tensor_type", {}).get("shape")
        if shape is not None:
            dims = [each.get("dim_value") for each in shape.get("dim", [])]
            if len(dims) != 2 or not (dims[1] is None or 0 < dims[1] < 1 << 31):
                raise FileFormatError(f"the input {name!r} has the shape {dims}, not (rows, n)")
            self.n_in = dims[1]
        self.input, self.start = name, Chain(None, None, self.n_in)
        return Value(self.start)

    def _made(self, node: Message, name: str) -> Any:
        """What a node makes."""
        op, domain = node.get("op_type", ""), node.get("domain", "")
        what = f"node {node.get('name') or name!r}, {op}{f' of {domain}' if domain else ''}"
        try:
            if domain not in OWN or op not in (*NODES, *OPERATORS):
                raise ValueError("this operator has no counterpart; docs/exchange.md lists all")
            if name != node["output"][0]:
                raise ValueError(f"{name!r} is not its first output")
            return self._output(op, what, node)
        except FileFormatError:
            raise
        except _DAMAGE as error:
            told = str(error).startswith(what)
            raise FileFormatError(f"{error}" if told else f"{what}: {error}") from error

    def _output(self, op: str, what: str, node: Message) -> Any:
        attributes = attributes_of(node)
        inputs = [self.values[name] if name else None for name in node.get("input", [])]
        if op not in TAKE_PARTS:
            inputs = [embedded(self, what, v) if isinstance(v, Part) else v for v in inputs]
        if op not in NODES:
            return self._elementwise(op, what, inputs, attributes)
        read, needed, allowed = NODES[op]
        if len(inputs) < needed:
            raise ValueError(f"needs {needed} inputs")
        if op == "BatchNormalization" and any(node["output"][1:]):
            raise ValueError("is in training mode: it has more than one output")
        for name, values in allowed.items():
            if attributes.get(name, values[0]) not in values:
                raise ValueError(f"{name} must be {values[0]}, not {attributes[name]}")
        return read(self, what, inputs, attributes)

    def _elementwise(
        self, op: str, what: str, inputs: list[Any], attributes: dict[str, Any]
    ) -> Value:
        values = [each for each in inputs if isinstance(each, Value)]
        f = OPERATORS[op]
        if not values or (isinstance(f, np.ufunc) and (attributes or len(inputs) != f.nin)):
            raise ValueError(f"cannot have {len(inputs)} inputs and {attributes}")
        chain = values[0].chain
        if any(each.chain is not chain for each in values):
            if op != "Add":
                raise ValueError("of two computed tensors only Add is read")
            return self._residual(what, *values)
        if op == "Clip":  # a bound may be left out
            bounds = zip(inputs, (None, -np.inf, np.inf), strict=False)
            inputs = [np.asarray(bound) if each is None else each for each, bound in bounds]
        arguments = [
            each.expression if isinstance(each, Value) else per_column(each, chain.width)
            for each in inputs
        ]
        return Value(chain, Expression(op, arguments, attributes, what))

    def _residual(self, what: str, *values: Value) -> Value:
        """The sum of a tensor and of what is computed from it."""
        chains = [each.complete() for each in values]
        for skipped, end in (chains, chains[::-1]):
            inner = end.links(skipped)
            if inner:
                if _depth(inner) >= MOST_DEPTH:
                    raise ValueError(f"more than {MOST_DEPTH} sums in one another")
                return Value(Chain(skipped, Block(what, inner), skipped.width))
        raise ValueError("neither of its inputs is computed from the other")


def _depth(links: list[Link]) -> int:
    return max((1 + _depth(each.links) for each in links if isinstance(each, Block)), default=0)
