"""A network made again of given layers, which takes over what is not in the layers."""

import copy
from collections.abc import Sequence

from ..initializer import Initializer
from ..layers import Dense, Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..network import Network


def rebuild(network: "Network", layers: Sequence[Layer]) -> "Network":
    """Return a network of `layers`, with the optimizer (afresh) and the random state of `network`.

    The parameters are for the caller to fill. Nothing of the user's is called.
    """
    twin = type(network).__new__(type(network))
    optimizer = copy.deepcopy(network._optimizer)
    twin._build(
        network.n_in, layers, network.loss, optimizer, network.dtype, 0, network._backend
    )  # fmt: skip
    twin._rng = copy.deepcopy(network._rng)
    if network._engine.draws:
        twin._engine.draws = network._engine.draws
    return twin


def described(layer: Layer) -> Layer:
    """Return a bound layer as a description that starts without drawing or asking anybody."""
    inner = getattr(layer, "layers", None)
    if inner is not None:
        return type(layer)(*(described(each) for each in inner))
    if not isinstance(layer, Dense):
        return layer  # what is bound is bound again, as a copy
    plain = copy.copy(layer)
    plain.init, plain.bias_init = Initializer("zeros"), None
    return plain
