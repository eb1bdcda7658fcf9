"""Numbers of each layer of a network on some data: slopes, gradients, what an update changes.

The slope f' of an activation is what training multiplies by. What `Network.diagnose` and `Monitor`
say comes from these numbers.
"""

import copy
import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ...activation import Activation
from ...history import History
from ...layers import Dense, Layer
from ...layers.base import views
from ...lsuv import outputs
from ...names import WHOLE_ROW
from ...trainers.problem import norm
from ..rebuilt import described, rebuild

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network import Network

FLAT = 0.05
"""A unit is saturated if its mean abs(f') is below this part of the steepest slope."""

STEADY = 0.01
"""A unit's derivative is constant if over the rows it varies by less than this part of itself."""


ALIKE = 1e-4
"""Gradients are equal if they differ by no more than this part: the backends round differently."""


class LayerNumbers(NamedTuple):
    """What `Network.diagnose` measured of one layer: Python's own str, int and float.

    A float is NaN, and a number of units 0, where there is no such number: f' is of `Dense` layers,
    but not of softmax, which works on whole rows.

    Attributes
    ----------
    name : str
        Such as "layers[0]", or "layers[1].layers[0]" in a `Residual`.
    kind : str
        "Dense", ...
    activation : str
        Of a `Dense` layer; otherwise "".
    units : int
        Outputs.
    slope : float
        Mean abs(f'), over rows and units.
    saturated : float
        Share of the units, 0 to 1, whose mean abs(f') is below 5 % of the activation's steepest
        slope (between -1 and 1), but not 0 for all rows.
    dead : int
        Number of units whose f' is 0 for all rows.
    constant : float
        Share of the units whose f' is not 0 and varies by less than 1 % over the rows, where their
        input varies.
    copies : int
        Number of units of a `Dense` layer that have the gradient of the first unit with the same
        weights.
    weight_norm : float
        2-norm of the parameters.
    gradient_norm : float
        2-norm of the gradient of the loss by them.
    gradient_ratio : float
        That, by the last `Dense` layer's.
    update_ratio : float
        2-norm of the change that one update makes to them, by `weight_norm`.
    trainable : bool
        Whether training changes them.
    """

    name: str
    kind: str
    activation: str
    units: int
    slope: float
    saturated: float
    dead: int
    constant: float
    copies: int
    weight_norm: float
    gradient_norm: float
    gradient_ratio: float
    update_ratio: float
    trainable: bool


class Leaf(NamedTuple):
    """A layer that holds no others, with the place of its parameters in theta."""

    name: str
    layer: Layer
    place: slice


def leaves(layers: Iterable[Layer], within: str = "", at: int = 0) -> list[Leaf]:
    """Return the layers with parameters, those inside of others in their place."""
    found = []
    for i, layer in enumerate(layers):
        name, size = f"{within}layers[{i}]", layer._theta.size
        if hasattr(layer, "layers"):
            found += leaves(layer.layers, f"{name}.", at)
        elif size:
            found.append(Leaf(name, layer, slice(at, at + size)))
        at += size
    return found


class Slopes(NamedTuple):
    """How the units of a layer respond; the fields are those of `LayerNumbers`."""

    slope: float
    saturated: float
    dead: int
    constant: float


NO_SLOPES = Slopes(math.nan, math.nan, 0, math.nan)


def slopes_of_layers(network: "Network", X: np.ndarray) -> dict[int, Slopes]:
    """Return the `Slopes` of each `Dense` layer with a slope, by the layer's id."""
    found: dict[int, Slopes] = {}
    with np.errstate(all="ignore"):
        _forward(network, network.layers, X, found)
    return found


def _forward(
    network: "Network", layers: Iterable[Layer], X: np.ndarray, found: dict[int, Slopes]
) -> np.ndarray:
    """What layers give for X; the slopes in them go to `found`."""
    for layer in layers:
        if hasattr(layer, "layers"):
            X = X + _forward(network, layer.layers, X, found)
        elif isinstance(layer, Dense):
            z = X @ layer.W
            if layer.bias:
                z += layer.b
            X = layer.function.f(z)
            if layer.activation not in WHOLE_ROW:
                found[id(layer)] = _slopes(layer.function, z, X)
        else:
            X = outputs(network, layer, X)
    return X


def _slopes(function: Activation, z: np.ndarray, y: np.ndarray) -> Slopes:
    # As training has it: of tanh 1 - y^2, which is 0 where y is rounded to 1.
    df = function.df(z) if function.keeps == "x" else function.df_from_y(y)
    df = np.abs(df)
    means, largest, least = df.mean(axis=0, dtype=np.float64), df.max(axis=0), df.min(axis=0)
    dead = largest == 0
    flat = (means < FLAT * steepest(function)) & ~dead
    moved = (z != z[:1]).any(axis=0)  # of rows that are all the same nothing can be told
    constant = (largest - least < STEADY * largest) & ~dead & moved
    n = len(means)
    n_flat, n_dead, n_constant = (int(np.count_nonzero(a)) for a in (flat, dead, constant))
    return Slopes(float(means.sum()) / n, n_flat / n, n_dead, n_constant / n)


@functools.lru_cache(maxsize=64)
def steepest(function: Activation) -> float:
    """The largest abs(f') between -1 and 1; beyond, where there is none."""
    for end in (1.0, 10.0, 1e3, 1e7):
        x = np.linspace(-end, end, 201)
        largest = float(np.abs(function.df(x)).max())
        if 0 < largest < math.inf:
            return largest
    return 1.0


def is_straight(function: Activation) -> bool:
    """Whether an activation is linear between -2 and 2, where units are that are started well."""
    df = function.df(np.linspace(-2.0, 2.0, 41))
    return bool((df == df[0]).all())


def loss_and_gradient(
    network: "Network", X: np.ndarray, y: np.ndarray, w: np.ndarray | None
) -> tuple[float, np.ndarray]:
    """As `Network.loss_and_gradient`, of what is checked already."""
    gradient = np.empty(network.n_params, network.dtype)
    return network._engine.loss_and_gradient(X, y, gradient, weights=w), gradient


def update_ratios(
    network: "Network", X: np.ndarray, y: np.ndarray, w: np.ndarray | None, found: list[Leaf]
) -> list[float]:
    """Return what one update with these rows as a batch would change of each leaf, relatively.

    It is done on a network made for it. NaN with a full-batch trainer, whose line search sees to
    its steps, and where there is nothing to compare with.
    """
    alone = len(X) == 1 and any(layer.of_batches for layer in network.layers)
    if network._optimizer.full_batch or alone:
        return [math.nan] * len(found)
    twin = _twin(network)
    try:
        twin._epoch(X, y, w, len(X), False, 0, History(), None)
    except FloatingPointError:
        return [math.nan] * len(found)
    return [
        relative_change(network.theta[leaf.place], twin.theta[leaf.place]) for leaf in found
    ]  # fmt: skip


def relative_change(before: np.ndarray, after: np.ndarray) -> float:
    """The 2-norm of a change by that of what was before; NaN where that is 0."""
    size = norm(before)
    return norm(after - before) / size if size else math.nan


def _twin(network: "Network") -> "Network":
    """A network that goes on from where this one is: parameters, optimizer's state, schedule.

    Not `Network.copy`, which lets a pending change of the optimizer's rule count now.
    """
    twin = rebuild(network, [described(layer) for layer in network.layers])
    engine, other = network._engine, twin._engine
    twin.theta[...], other.running[...] = network.theta, engine.running
    if other.rule == engine.rule:
        other.state[...], other.n_updates = engine.state, engine.n_updates
        twin._epochs, twin._course = network._epochs, copy.deepcopy(network._course)
    return twin


def numbers(
    network: "Network",
    found: list[Leaf],
    slopes: dict[int, Slopes],
    gradient: np.ndarray,
    updates: list[float],
) -> list[LayerNumbers]:
    """Return the `LayerNumbers` of each leaf."""
    norms = [norm(gradient[leaf.place]) for leaf in found]
    dense = [size for size, leaf in zip(norms, found, strict=True) if isinstance(leaf.layer, Dense)]
    last = dense[-1] if dense else 0.0
    return [
        LayerNumbers(
            leaf.name, type(leaf.layer).__name__,
            str(leaf.layer.function) if isinstance(leaf.layer, Dense) else "",
            int(leaf.layer.n_outputs(leaf.layer._n_in)), *slopes.get(id(leaf.layer), NO_SLOPES),
            _copies(network, leaf, gradient[leaf.place]), norm(network.theta[leaf.place]), size,
            size / last if last else math.nan, update, leaf.layer.trainable,
        )
        for leaf, size, update in zip(found, norms, updates, strict=True)
    ]  # fmt: skip


def _copies(network: "Network", leaf: Leaf, gradient: np.ndarray) -> int:
    """How many units have the gradient of the first one with the same weights."""
    layer = leaf.layer
    if not isinstance(layer, Dense) or len(np.unique(layer.W[0])) == layer.n_out:
        return 0
    shapes = layer.shapes(layer._n_in)
    (weights, slopes) = (
        np.vstack(list(views(shapes, flat).values()))
        for flat in (network.theta[leaf.place], gradient)
    )
    first: dict[bytes, int] = {}
    original = np.arange(layer.n_out)
    for unit in range(layer.n_out):
        original[unit] = first.setdefault((weights[:, unit] + 0.0).tobytes(), unit)
    largest = np.abs(slopes).max(axis=0)
    with np.errstate(invalid="ignore"):  # infinite ones
        apart = np.abs(slopes - slopes[:, original]).max(axis=0)
    same = (original != np.arange(layer.n_out)) & (apart <= ALIKE * largest)
    if network._engine.draws:  # what is dropped or added at random tells them apart
        same &= largest == 0
    return int(np.count_nonzero(same))
