"""Layer-sequential unit variance: a start that looks at data (Mishkin and Matas 2016).

From the first layer to the last, weights are drawn orthonormal and divided by the standard
deviation of what the layer then gives for a batch: so each layer hands on what the next one can
use, whatever its activation does to the variance.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .layers import Dense, Layer, Residual

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .network import Network


def start(network: "Network", X: np.ndarray, init: Callable[..., Any] | None) -> list[float]:
    """Start the Dense layers of `network`; return the variance of each before it was scaled."""
    theta, random = network.theta.copy(), network._rng.bit_generator.state
    try:
        return _start(network, network.layers, X, init)
    except BaseException:
        network.theta = theta
        network._rng.bit_generator.state = random
        raise


def _start(
    network: "Network", layers: Sequence[Layer], X: np.ndarray, init: Callable[..., Any] | None,
    within: str = "",
) -> list[float]:  # fmt: skip
    """Start layers that stand one behind the other and get X."""
    variances: list[float] = []
    for i, layer in enumerate(layers):
        if isinstance(layer, Residual):
            variances += _start(network, layer.layers, X, init, f"{within}{i}.")
        elif isinstance(layer, Dense):
            if init is not None:
                layer.W = init(network._rng, *layer.W.shape, layer.activation)
            variances.append(_scale(network, layer, f"{within}{i}", X))
        X = outputs(network, layer, X)
    return variances


def _scale(network: "Network", layer: Dense, name: str, X: np.ndarray) -> float:
    """Scale W until x W has the variance 1 over all rows and units; return it as it was before.

    Mishkin and Matas repeat this until the variance is near enough. Once is as near as rounding
    allows: without biases x W is proportional to W.
    """
    if layer.bias:
        layer.b = 0
    z = outputs(network, layer, X, Dense(layer.n_out, bias=layer.bias))
    with np.errstate(all="ignore"):
        variance = float(z.var(dtype=np.float64))
        W = (layer.W / np.sqrt(variance)).astype(network.dtype)
    if not (0 < variance < np.inf and np.isfinite(W).all()):
        raise ValueError(
            f"layer {name}: x W has the variance {variance:g} on this batch, and no factor of W "
            "makes it 1. Scale the inputs, or give a batch whose rows differ."
        )
    layer.W = W
    return variance


def outputs(network: "Network", layer: Any, X: np.ndarray, like: Layer | None = None) -> np.ndarray:
    """What a layer gives for its inputs X; or what another one `like` it would give."""
    steps = (like or layer).lower(layer._n_in, 0)
    engine = network._engine_for(steps, max(1, layer._theta.size))
    engine.theta[: layer._theta.size] = layer._theta
    engine.running[:] = layer._running
    out = np.empty((len(X), steps[-1].n_out), network.dtype)
    engine.predict(X, out, 0)
    return out
