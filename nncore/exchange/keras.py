"""Networks from Keras models that are one chain of layers."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..layers import BatchNorm, Dropout, Embedding, GaussianNoise, LayerNorm
from ..network import Network
from .links import Affine, Columns, Link, Made, build, checked, curve, kind_of, norm, prelu

_WANTED = "from_keras takes a Sequential or functional model of Keras"


def from_keras(model: Any, **options: Any) -> Network:
    """Return the network of a Keras 3 model, of any backend; Keras is not imported.

    Parameters
    ----------
    model : keras.Model
        A Sequential, or a functional model that is one chain, of layers that docs/exchange.md
        lists, built.
    **options
        Those of `nncore.Network`; dtype is by default that of the weights.

    Returns
    -------
    Network
        `predict` gives what the model's gives, but for rounding.

    Raises
    ------
    TypeError, ValueError
        If it is no such model, or a part of it has no counterpart: the layer is named.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.from_keras(keras.Sequential([
    ...     keras.Input((4,)), keras.layers.Dense(1, "gelu")]))  # doctest: +SKIP
    """
    links = [link for layer in _chain(model) for link in _links(layer)]
    return build(links, model.input_shape[-1], **options)


def _chain(model: Any) -> Iterator[Any]:
    """Yield the layers of a model, those of models in it too, if each takes what is before it."""
    kind = kind_of(model, "keras", _WANTED, "call")
    if kind not in ("Sequential", "Functional"):
        raise TypeError(f"{_WANTED}, got a {kind}")
    if not model.built:
        raise ValueError("the model is not built: give it a keras.Input, or call it once")
    ends = [*model.inputs, *model.outputs]
    if len(ends) != 2 or not all(len(end.shape) == 2 for end in ends):
        raise ValueError(
            f"inputs and outputs of the model are {[end.shape for end in ends]}; nncore maps rows "
            "of numbers to rows of numbers"
        )
    value = model.inputs[0]
    for layer in model.layers:
        kind = kind_of(layer, "keras", _WANTED)
        if kind == "InputLayer":
            continue
        if layer.input is not value:
            raise ValueError(f"layer {layer.name!r} does not take the layer before it alone")
        if len(value.shape) != 2 and kind not in ("Flatten", "Dropout", "Identity"):
            raise ValueError(f"layer {layer.name!r}, {kind} after an Embedding: put Flatten there")
        value = layer.output
        if hasattr(layer, "layers"):
            yield from _chain(layer)
        else:
            yield layer
    if value is not model.outputs[0]:
        raise ValueError("the model's output is not its last layer's, or a layer is used twice")


def _links(layer: Any) -> list[Link]:
    """The links of one layer, or of an activation that is one."""
    kind = kind_of(layer, "keras", "from_keras reads the layers of Keras", "call")
    what = f"layer {layer.name!r}, {kind}"
    if kind not in _LAYERS:
        raise ValueError(f"{what} has no counterpart in nncore; docs/exchange.md lists what has")
    config = layer.get_config()
    if kind in ("Softmax", "BatchNormalization", "LayerNormalization", "Normalization"):
        if np.ravel(config["axis"]).tolist() not in ([-1], [1]):
            raise ValueError(f"{what} has axis={config['axis']}; here it is of columns, -1")
    values = [np.asarray(v) for v in layer.get_weights()]
    found = _LAYERS[kind](_Source(what, layer, config, values, layer.trainable))
    return found if isinstance(found, list) else [found]


class _Source(NamedTuple):
    """A layer, its name for errors, its arguments and its weights."""

    what: str
    layer: Any
    config: dict[str, Any]
    values: list[np.ndarray]
    trainable: bool

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{self.what} {why}")


def _function(s: _Source) -> list[Link]:
    """The links of what a layer has as its activation."""
    name, f = s.config["activation"], s.layer.activation
    if hasattr(f, "get_config"):
        return _links(f)
    parameters = {"slope": 0.2} if name == "leaky_relu" else {}
    return [curve(s.what, name if isinstance(name, str) else repr(f), **parameters)]


def _dense(s: _Source) -> list[Link]:
    if len(s.values) != 1 + s.config["use_bias"]:
        s.refuse(f"has {len(s.values)} arrays of weights, as quantized layers have")
    b = s.values[1] if s.config["use_bias"] else None
    return [Affine(s.what, s.values[0], b, trainable=s.trainable), *_function(s)]


def _relu(s: _Source) -> Link:
    top, slope, threshold = (s.config[k] for k in ("max_value", "negative_slope", "threshold"))
    if top in (1, 6) and not slope and not threshold:
        return curve(s.what, "relu6" if top == 6 else "satlin")
    if top is not None or (slope and threshold):
        s.refuse(f"with max_value={top} has no counterpart: it may be 1 or 6, alone")
    if threshold:
        return curve(s.what, "threshold", threshold=threshold, value=0.0)
    return curve(s.what, "leaky_relu", slope=slope) if slope else curve(s.what, "relu")


def _norm(s: _Source, kind: type, **arguments: float) -> Link:
    for other in ("renorm", "rms_scaling"):
        if s.config.get(other):
            s.refuse(f"has {other}, which nncore has not")
    values = list(s.values)
    parts = [values.pop(0) if s.config[part] else None for part in ("scale", "center")]
    n, eps = s.layer.input.shape[-1], s.config["epsilon"]
    return norm(s.what, kind, n, parts + values, s.trainable, eps=eps, **arguments)


def _normalization(s: _Source) -> Link:
    found = (s.config["mean"], s.config["variance"])
    if found[0] is None and len(s.values) < 2:
        s.refuse("has no mean and variance yet: call adapt first")
    mean, variance = (np.ravel(v) for v in (s.values if found[0] is None else found)[:2])
    scale = np.maximum(np.sqrt(variance), 1e-7)  # keras.config.epsilon()
    return Columns(s.what, mean, scale, s.config["invert"])


# What each layer is: one link, or a list of them.
_LAYERS: dict[str, Callable[[_Source], Link | list[Link]]] = {
    "Dense": _dense,
    "Activation": _function,
    "ReLU": _relu,
    "LeakyReLU": lambda s: curve(s.what, "leaky_relu", slope=s.config["negative_slope"]),
    "ELU": lambda s: curve(s.what, "elu", alpha=s.config["alpha"]),
    "Softmax": lambda s: curve(s.what, "softmax"),
    "PReLU": lambda s: prelu(s.what, s.values[0], s.trainable),
    "Dropout": lambda s: Made(s.what, checked(s.what, Dropout, s.config["rate"])),
    "GaussianNoise": lambda s: Made(s.what, checked(s.what, GaussianNoise, s.config["stddev"])),
    "BatchNormalization": lambda s: _norm(s, BatchNorm, momentum=1 - s.config["momentum"]),
    "LayerNormalization": lambda s: _norm(s, LayerNorm),
    "Normalization": _normalization,
    "Rescaling": lambda s: Columns(s.what, s.config["offset"], s.config["scale"], True),
    "Embedding": lambda s: Made(
        s.what, Embedding(*s.values[0].shape, trainable=s.trainable), {"E": s.values[0]}
    ),
    "Flatten": lambda s: [],
    "Identity": lambda s: [],
}
