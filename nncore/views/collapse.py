"""Linear layers folded into the layer behind them: W = W1 W2, b = b1 W2 + b2."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..layers import Dense, Layer, Residual
from .rebuilt import described, rebuild

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..network import Network

# The name of the first layer, and layers that are one together: one of any kind, or some Dense.
Chain = tuple[str, list[Any]]


def collapse(network: "Network") -> "Network":
    """Return the network that `Network.collapse` describes."""
    chains = _chains(network.layers)
    folded = rebuild(network, [_describe(*chain) for chain in chains])
    for layer, chain in zip(folded.layers, chains, strict=True):
        _fill(layer, *chain)
    return folded


def _chains(layers: Sequence[Layer], within: str = "") -> list[Chain]:
    chains: list[Chain] = []
    for i, layer in enumerate(layers):
        before = chains[-1][1][-1] if chains else None
        if isinstance(before, Dense) and not before.bends and isinstance(layer, Dense):
            chains[-1][1].append(layer)
        else:
            chains.append((f"{within}layers[{i}]", [layer]))
    return chains


def _describe(name: str, chain: list[Any]) -> Layer:
    """The layer that a chain becomes, without its parameters."""
    if len(chain) == 1:
        [layer] = chain
        if isinstance(layer, Residual):
            return Residual(*(_describe(*each) for each in _chains(layer.layers, f"{name}.")))
        return described(layer)
    _check_settings(name, chain)
    last = chain[-1]
    return Dense(
        last.n_out, last.function, bias=any(layer.bias for layer in chain), init="zeros",
        trainable=last.trainable, lr_scale=last.lr_scale,
    )  # fmt: skip


def _check_settings(name: str, chain: list[Dense]) -> None:
    """Raise where one layer cannot be trained as the layers of a chain are."""
    within, _, number = name.rpartition("[")
    for i, layer in enumerate(chain, int(number.rstrip("]"))):
        place = f"{within}[{i}]"
        for setting, plain in (("l1", 0.0), ("l2", 0.0), ("max_norm", None)):
            value = getattr(layer, setting)
            if value != plain:
                raise ValueError(
                    f"{place} has {setting}={value!r}, of a matrix that would be no more after "
                    f"folding. Set net.{place}.{setting} = {plain} first."
                )
        for setting in ("trainable", "lr_scale"):
            value, other = getattr(layer, setting), getattr(chain[0], setting)
            if value != other:
                raise ValueError(
                    f"{name} has {setting}={other!r} and {place} has {setting}={value!r}, but they "
                    f"would be one layer. Set {setting} of both to the same value first."
                )


def _fill(layer: Any, name: str, chain: list[Any]) -> None:
    """Give a layer the parameters of its chain."""
    if len(chain) > 1:
        layer.W, b = _product(name, chain, layer._theta.dtype)
        if layer.bias:
            layer.b = b
    elif isinstance(layer, Residual):
        for inner, each in zip(layer.layers, _chains(chain[0].layers, f"{name}."), strict=True):
            _fill(inner, *each)
    else:
        layer._theta[...], layer._running[...] = chain[0]._theta, chain[0]._running


def _product(name: str, chain: list[Dense], dtype: "DTypeLike") -> tuple[np.ndarray, np.ndarray]:
    """W and b of a chain, of the network's dtype."""
    W = chain[0].W.astype(np.float64)
    b = np.zeros(chain[0].n_out) if chain[0].b is None else chain[0].b.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for layer in chain[1:]:
            W, b = W @ layer.W, b @ layer.W
            if layer.bias:
                b += layer.b
        W, b = W.astype(dtype), b.astype(dtype)
    if not (np.isfinite(W).all() and np.isfinite(b).all()):
        raise ValueError(
            f"the {len(chain)} layers from {name} on, folded into one, have weights that are not "
            f"finite in {dtype}"
        )
    return W, b
