"""Which parameter is meant by a name: one grammar for traces, landscapes and the command line.

- "w14" is the weight from unit 1 to unit 4, and "b4" the bias of unit 4; "w4_12" where digits alone
  could mean two weights. Units are numbered through, the inputs first, then the outputs of each
  layer that makes new ones: `Dense`, `Embedding`, and the sums of `Residual`. The other layers hand
  on the units they are given.
- "layers[0].W[2, 1]" is the element of any parameter, as Python would write it; within a `Residual`
  "layers[1].layers[0].W[2, 1]", or "layers[1].0.W[2, 1]" as its parameters are called.
- A tuple is (layer, i, j) for a weight, (layer, j) or (layer, None, j) for a bias; a layer is its
  number, or "1.0" within a `Residual`.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..layers import Layer
from ..trainers.problem import _place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..network import Network

MAKES_UNITS = ("Dense", "Embedding", "Residual")
_PATH = re.compile(
    r"layers\[(N)\]((?:\.layers\[N\]|\.N)*)\.(\w+)\[(N)(?:,\s*(N))?\]".replace("N", r"\d{1,18}")
)
_UNITS = re.compile(r"w(N)[_,](N)|w([1-9]\d{1,18})|b_?(N)".replace("N", r"[1-9]\d{0,18}"))


class Units(NamedTuple):
    """A layer, its name ("1.0" within a `Residual`), and the numbers of its units."""

    name: str
    layer: Layer
    inputs: list[int]
    outputs: list[int]

    @property
    def path(self) -> str:
        return f"layers[{self.name.replace('.', '].layers[')}]"


class Place(NamedTuple):
    """An element of a parameter: that of a layer, and where it is in theta."""

    of: Units
    key: str
    indices: tuple[int, ...]
    at: int

    def __str__(self) -> str:
        return f"{self.of.path}.{self.key}[{', '.join(map(str, self.indices))}]"


def is_a(layer: Layer, names: Sequence[str]) -> bool:
    """Whether the layer's type, or one that it is made from, has one of these names."""
    return any(base.__name__ in names for base in type(layer).__mro__)


def number_units(network: "Network") -> list[Units]:
    """Return the `Units` of all layers, those within a `Residual` behind it."""
    inputs = list(range(1, network.n_in + 1))
    return _numbered(network.layers, inputs, network.n_in + 1, "")[0]


def _numbered(
    layers: Sequence[Layer], inputs: list[int], number: int, before: str
) -> tuple[list[Units], int]:
    found: list[Units] = []
    for i, layer in enumerate(layers):
        name, n_out = f"{before}{i}", layer.n_outputs(len(inputs))
        within, number = _numbered(getattr(layer, "layers", ()), inputs, number, f"{name}.")
        outputs = inputs
        if is_a(layer, MAKES_UNITS) or n_out != len(inputs):
            outputs = list(range(number, number + n_out))
            number += n_out
        found += [Units(name, layer, inputs, outputs), *within]
        inputs = outputs
    return found, number


def find(network: "Network", asked: Any) -> Place:
    """Return the place that is meant by a name or a tuple; raise if there is none."""
    layers = number_units(network)
    if isinstance(asked, tuple):
        return _by_tuple(network, layers, asked)
    path = _PATH.fullmatch(asked) if isinstance(asked, str) else None
    return _by_path(network, layers, asked, path) if path else _by_units(network, layers, asked)


def _at(network: "Network", of: Units, key: str, index: tuple[int, ...]) -> Place:
    values = of.layer.parameters()[key]
    start = _place(network, values).start
    return Place(of, key, index, start + int(np.ravel_multi_index(index, values.shape)))


def _by_path(network: "Network", layers: list[Units], asked: str, path: re.Match[str]) -> Place:
    number, within, key, *places = path.groups()
    name = ".".join([number, *re.findall(r"\d+", within)])
    index = tuple(int(i) for i in places if i is not None)
    for of in layers:
        values = of.layer.parameters().get(key) if of.name == name else None
        if values is not None and len(index) == values.ndim:
            if all(i < n for i, n in zip(index, values.shape, strict=True)):
                return _at(network, of, key, index)
    known = [
        f"{of.path}.{key} of shape {values.shape}"
        for of in layers
        if not hasattr(of.layer, "layers")
        for key, values in of.layer.parameters().items()
    ]
    more = f"; and {len(known) - 12} more" if len(known) > 12 else ""
    raise ValueError(
        f"there is no weight {asked!r} in this network, which has {'; '.join(known[:12])}{more}"
    )


def _by_units(network: "Network", layers: list[Units], asked: object) -> Place:
    match = _UNITS.fullmatch(asked) if isinstance(asked, str) else None
    dense = [of for of in layers if is_a(of.layer, ("Dense",))]
    found: list[tuple[Units, str, tuple[int, ...]]] = []
    if match:
        source, target, digits, bias = match.groups()
        pairs = [(source, target)] if source else []
        if digits:
            pairs = [(digits[:n], digits[n:]) for n in range(1, len(digits)) if digits[n] != "0"]
        found = [
            (of, "W", (of.inputs.index(int(i)), of.outputs.index(int(j))))
            for i, j in pairs
            for of in dense
            if int(i) in of.inputs and int(j) in of.outputs
        ]
        if bias:
            unit = int(bias)
            found = [(of, "b", (of.outputs.index(unit),)) for of in dense
                     if "b" in of.layer.parameters() and unit in of.outputs]  # fmt: skip
    if len(found) == 1:
        return _at(network, *found[0])
    if found:
        names = [f"w{of.inputs[at[0]]}_{of.outputs[at[1]]}" for of, _, at in found]
        raise ValueError(f"{asked!r} may be {' or '.join(names)}: write that")
    spans = [f"{_span(of.outputs)} layer {of.name}" for of in dense[:5]]
    raise ValueError(
        f'there is no weight {asked!r:.80}; weights are named as "w14", from unit 1 to unit 4, and '
        f'biases as "b4", or any as "layers[0].W[2, 1]". Units are numbered through, 1 to '
        f"{max(of.outputs[-1] for of in layers):,}: first the inputs, {_span(layers[0].inputs)}, "
        f"then {', '.join(spans)}"
    )


def _span(units: list[int]) -> str:
    return f"{units[0]}" if len(units) == 1 else f"{units[0]} to {units[-1]}"


def _by_tuple(network: "Network", layers: list[Units], asked: tuple[Any, ...]) -> Place:
    if len(asked) not in (2, 3) or asked[-1] is None:
        raise ValueError(
            "a weight by its numbers is (layer, i, j), and a bias is (layer, None, j), or as a "
            f"tuple (layer, j); got {asked!r}"
        )
    number, i, j = asked if len(asked) == 3 else (asked[0], None, asked[1])
    of = next((of for of in layers if of.name == str(number)), None)
    if of is None:
        names = ", ".join(of.name for of in layers[:20])
        raise ValueError(f"there is no layer {number!r}; layers are: {names}")
    parameters = of.layer.parameters()
    key = "b" if i is None else "W"
    if key not in parameters:
        has = "biases" if i is None else "matrix of weights W"
        known = ", ".join(f"{of.path}.{name}" for name in parameters) or "none"
        raise ValueError(
            f"layer {number} has no {has}, it is {of.layer!r}; its parameters are: {known}"
        )
    sizes = parameters[key].shape
    index = ((i,) if i is not None else ()) + (j,)
    for what, value, n in zip("ij"[-len(sizes) :], index, sizes, strict=True):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or not 0 <= value < n:
            raise ValueError(f"{what} must be a number from 0 to {n - 1}, got {value!r}")
    return _at(network, of, key, tuple(map(int, index)))
