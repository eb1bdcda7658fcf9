"""A network with more outputs than it had, which goes on learning where it was."""

import copy
from typing import Any

import numpy as np

from ..initializer import Initializer
from ..layers import Dense
from ..layers.dense import positive_int
from .rebuilt import described, rebuild

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..network import Network


def with_classes(network: "Network", n_classes: int, init: Any) -> "Network":
    """Return the network that `Network.with_classes` describes."""
    last, n = network.layers[-1], positive_int(n_classes, "n_classes")
    if not isinstance(last, Dense):
        raise ValueError(f"only Dense can be given more outputs; the last layer is {last!r}")
    if network.loss.per_target > 1:
        raise ValueError(f"the outputs of {network.loss.name} are no classes")
    if last.n_out == 1:
        raise ValueError(
            "one output tells two classes apart and has no place for a third: begin with "
            "Dense(2, 'softmax') where more may come"
        )
    if n <= last.n_out:
        raise ValueError(
            f"n_classes counts all classes, those that are there too: more than {last.n_out}, got "
            f"{n_classes!r}"
        )
    network._settle_optimizer()
    layers = [described(layer) for layer in network.layers[:-1]]
    wide = rebuild(network, [*layers, _widened(last, n, "zeros")])
    new, engine, was = _start(last, n, init, wide._rng), wide._engine, network._engine
    _widen(was.theta, engine.theta, last, n, new)
    for old, state in zip(was.state, engine.state, strict=True):
        _widen(old, state, last, n, np.zeros_like(new))
    if was.average is not None:
        engine.keep_average()
        _widen(was.average, engine.average, last, n, new)  # type: ignore[arg-type]  # it is there
    engine.running[...] = was.running
    engine.n_updates, engine.averaged = was.n_updates, was.averaged
    wide._epochs, wide._course = network._epochs, copy.deepcopy(network._course)
    wide._averages = network._averages
    return wide


def _widened(layer: Dense, n_out: int, init: Any) -> Dense:
    """A description of this layer with other outputs."""
    return Dense(n_out, layer.function, bias=layer.bias, init=init, **layer.settings())


def _start(last: Dense, n: int, init: Any, rng: "np.random.Generator") -> np.ndarray:
    """The weights of the new outputs, with a last row for their biases."""
    drawn = init is None or callable(init) or isinstance(init, (str, Initializer))
    layer: Any = _widened(last, n if drawn else n - last.n_out, init)
    theta = np.zeros(layer.n_params(last._n_in), last._theta.dtype)
    layer = layer.bind(last._n_in, theta, theta[:0])
    layer.initialize(rng)
    W = np.vstack([layer.W, layer.b if layer.bias else theta[: layer.n_out]])
    return W[:, last.n_out - n :]


def _widen(old: np.ndarray, wide: np.ndarray, last: Dense, n: int, new: np.ndarray) -> None:
    """Fill a vector of the wide network's parameters with the old one and `new` outputs."""
    n_in, n_old = last._n_in, last.n_out
    head = old.size - last.n_params(n_in)
    wide[:head] = old[:head]
    rows = n_in + last.bias  # b lies behind W as one more row of it
    to = wide[head:].reshape(rows, n)
    to[:, :n_old] = old[head:].reshape(rows, n_old)
    to[:, n_old:] = new[:rows]
