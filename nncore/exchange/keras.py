"""Networks from Keras models that are one chain of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from ..layers import BatchNorm, Embedding, GaussianNoise, LayerNorm
from .links import Affine, Columns, Link, Made, build, checked, curve, dropout, norm, prelu
from .objects import ancestor

if TYPE_CHECKING:
    from ..network import Network

# Functions: what they are here, where that differs from an alias of the same name.
_FUNCTIONS: dict[str, tuple[str, dict[str, float]]] = {
    "leaky_relu": ("leaky_relu", {"slope": 0.2}),
    "hard_silu": ("hard_swish", {}),
    "soft_shrink": ("softshrink", {}),
    "tanh_shrink": ("tanhshrink", {}),
    "hard_tanh": ("hardtanh", {}),
    **{
        name: (name, {})
        for name in (
            "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_swish",
            "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid",
            "silu", "softmax", "softplus", "softsign", "squareplus", "swish", "tanh",
        )
    },
}  # fmt: skip
_WANTED = "from_keras takes a Sequential or functional model of Keras"


def from_keras(
    model: object, *, loss: object = None, optimizer: object = "adam", dtype: object = None,
    seed: int | None = None, backend: str = "auto",
) -> Network:  # fmt: skip
    """Return the network of a Keras 3 model, of any backend; Keras is not imported.

    Parameters
    ----------
    model : keras.Model
        A Sequential, or a functional model whose layers form one chain, built, of:

        ===================================== ==============================================
        Dense                                 `Dense`; kernels are (n_in, n_out) in both
        activations, as names or layers       part of the `Dense` before them, see Notes
        BatchNormalization                    `BatchNorm`, whose momentum is 1 minus Keras'
                                              (0.01), eps as there (1e-3)
        LayerNormalization                    `LayerNorm`, eps as there (1e-3)
        PReLU                                 `PReLU`
        Dropout, GaussianNoise                `Dropout`, `GaussianNoise`
        Embedding and then Flatten            `Embedding`
        Normalization, Rescaling              part of the weights beside them
        InputLayer, Identity, Flatten         nothing
        ===================================== ==============================================

    loss : str or nncore.Loss, optional
        As in `nncore.Network`: by default what the last activation asks for. (A model compiled with
        from_logits=True gives raw scores; its last activation is linear.)
    optimizer : str or nncore.Optimizer, default "adam"
        As in `nncore.Network`; it starts afresh.
    dtype : {"float32", "float64"}, optional
        By default that of the weights.
    seed, backend : optional
        As in `nncore.Network`.

    Returns
    -------
    Network
        `predict` gives what ``model.predict`` gives, but for rounding.

    Raises
    ------
    TypeError
        If it is no such model.
    ValueError
        If a part of it has no counterpart: the layer is named.

    Notes
    -----
    The functions celu, elu, exponential, gelu (exact), hard_shrink, hard_sigmoid, hard_swish,
    hard_tanh, linear, log_sigmoid, log_softmax, mish, relu, relu6, selu, sigmoid, silu,
    soft_shrink, softmax, softplus, softsign, squareplus, tanh and tanh_shrink are what they are
    called here. leaky_relu has the slope 0.2 as a function and 0.3 as the layer LeakyReLU; here
    the default is 0.01. ELU and Softmax are read as layers, and ReLU with a negative_slope, a
    threshold, or a max_value of 1 or 6. softmax and log_softmax may only be the last. An activation
    that follows no Dense becomes a layer that is not trained: relu and leaky_relu a `PReLU`, others
    a `Dense` whose W is the identity matrix.

    Regularizers, constraints and the optimizer are not taken over. In training BatchNormalization
    keeps the biased variance of batches, `BatchNorm` the unbiased one.

    Examples
    --------
    >>> import nncore
    >>> import keras  # doctest: +SKIP
    >>> model = keras.Sequential([
    ...     keras.Input((4,)), keras.layers.Dense(8, "gelu"), keras.layers.Dense(1),
    ... ])  # doctest: +SKIP
    >>> nncore.from_keras(model).layers  # doctest: +SKIP
    (Dense(8, 'gelu'), Dense(1, 'identity'))
    """
    options = dict(loss=loss, optimizer=optimizer, dtype=dtype, seed=seed, backend=backend)
    layers = list(_chain(model))
    n_in = model.input_shape[-1]  # type: ignore[attr-defined]
    return build([link for layer in layers for link in _links(layer)], n_in, **options)


def _chain(model: Any) -> Iterator[Any]:
    """Yield the layers of a model, those of models in it too, if each takes what is before it."""
    kind = ancestor(model, "keras", _WANTED, "call")
    if kind not in ("Sequential", "Functional"):
        raise TypeError(f"{_WANTED}, got a {kind}")
    if not model.built:
        raise ValueError("the model is not built: give it a keras.Input, or call it once")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs"
        )
    value = model.inputs[0]
    if len(value.shape) != 2 or len(model.outputs[0].shape) != 2:
        raise ValueError(
            f"the model maps {value.shape} to {model.outputs[0].shape}; nncore maps rows of "
            "numbers, (None, n), to rows of numbers, (None, m)"
        )
    for layer in model.layers:
        if ancestor(layer, "keras", _WANTED) == "InputLayer":
            continue
        if layer.input is not value:
            raise ValueError(
                f"layer {layer.name!r} does not take the output of the layer before it alone: "
                "nncore reads a chain of layers"
            )
        value = layer.output
        if hasattr(layer, "layers"):
            yield from _chain(layer)
        else:
            yield layer
    if value is not model.outputs[0]:
        raise ValueError(
            "the model's output is not that of its last layer, or a layer is used twice"
        )


def _links(layer):
    """The links of one layer of the chain."""
    kind = type(layer).__name__
    if len(layer.input.shape) != 2 and kind not in ("Flatten", "Dropout", "Identity"):
        raise ValueError(
            f"layer {layer.name!r}, {kind} after an Embedding: put Flatten between them"
        )
    return _read(layer)


def _read(layer):
    kind = ancestor(layer, "keras", "from_keras reads the layers of Keras", "call")
    what = f"layer {layer.name!r}, {kind}"
    if kind not in _LAYERS:
        raise ValueError(
            f"{what} has no counterpart in nncore; `help(nncore.from_keras)` lists what is read"
        )
    values = [np.asarray(v) for v in layer.get_weights()]
    return _LAYERS[kind](_Source(what, layer, layer.get_config(), values))


class _Source(NamedTuple):
    """A layer, its name for errors, its arguments and its weights."""

    what: str
    layer: Any
    config: dict[str, Any]
    values: list[np.ndarray]

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{self.what} {why}")

    def check_axis(self) -> None:
        axis = self.config["axis"]
        if (list(axis) if isinstance(axis, (list, tuple)) else [axis]) not in ([-1], [1]):
            self.refuse(f"has axis={axis}; here it is of columns, -1")

    def weights(self, n: int) -> list[np.ndarray]:
        if len(self.values) != n:
            self.refuse(f"has {len(self.values)} arrays of weights, as quantized layers have")
        return self.values


def _function(s: _Source) -> list[Link]:
    """The links of what a layer has as its activation."""
    name, f = s.config["activation"], s.layer.activation
    if not isinstance(name, str) and hasattr(f, "get_config"):
        return _read(f)
    if not isinstance(name, str) or name not in _FUNCTIONS:
        shown = name if isinstance(name, str) else getattr(f, "__name__", name)
        s.refuse(f"has the activation {shown!r}, which has no counterpart in nncore")
    found, parameters = _FUNCTIONS[name]
    return [curve(s.what, found, **parameters)]


def _dense(s: _Source) -> list[Link]:
    W, b = (*s.weights(1 + s.config["use_bias"]), None)[:2]
    return [Affine(s.what, W, b, trainable=s.layer.trainable), *_function(s)]


def _relu(s: _Source) -> list[Link]:
    top, slope, threshold = (s.config[k] for k in ("max_value", "negative_slope", "threshold"))
    if top is None and not threshold:
        return [curve(s.what, "leaky_relu", slope=slope) if slope else curve(s.what, "relu")]
    if top is None and not slope:
        return [curve(s.what, "threshold", threshold=threshold, value=0.0)]
    if top not in (1, 6) or slope or threshold:
        s.refuse(f"with max_value={top} has no counterpart: it may be 1 or 6, alone")
    return [curve(s.what, "relu6" if top == 6 else "satlin")]


def _softmax(s: _Source) -> list[Link]:
    s.check_axis()
    return [curve(s.what, "softmax")]


def _batch_norm(s: _Source) -> list[Link]:
    return _norm(s, BatchNorm, "renorm", momentum=1 - s.config["momentum"])


def _layer_norm(s: _Source) -> list[Link]:
    return _norm(s, LayerNorm, "rms_scaling")


def _norm(s: _Source, kind: type, other: str, **arguments: float) -> list[Link]:
    s.check_axis()
    if s.config.get(other):
        s.refuse(f"has {other}, which nncore has not")
    values = list(s.values)
    gamma = values.pop(0) if s.config["scale"] else None
    beta = values.pop(0) if s.config["center"] else None
    n, values = s.layer.input.shape[-1], [gamma, beta, *values]
    return [norm(s.what, kind, n, values, s.layer.trainable, eps=s.config["epsilon"], **arguments)]


def _normalization(s: _Source) -> list[Link]:
    s.check_axis()
    found = (s.config["mean"], s.config["variance"])
    if found[0] is None and len(s.values) < 2:
        s.refuse("has no mean and variance yet: call adapt first")
    found = s.values[:2] if found[0] is None else found
    mean, variance = (np.asarray(v, np.float64).reshape(-1) for v in found)
    scale = np.maximum(np.sqrt(variance), 1e-7)  # keras.config.epsilon()
    if s.config["invert"]:
        return [Columns(s.what, scale, mean)]
    return [Columns(s.what, 1 / scale, -mean / scale)]


def _rescaling(s: _Source) -> list[Link]:
    scale, shift = (np.asarray(s.config[k], np.float64) for k in ("scale", "offset"))
    return [Columns(s.what, scale, shift)]


def _embedding(s: _Source) -> list[Link]:
    (table,) = s.weights(1)
    layer = checked(s.what, Embedding, *table.shape, trainable=s.layer.trainable)
    return [Made(s.what, layer, {"E": table})]


def _nothing(s: _Source) -> list[Link]:
    return []


_LAYERS: dict[str, Callable[[_Source], list[Link]]] = {
    "Dense": _dense,
    "Activation": _function,
    "ReLU": _relu,
    "LeakyReLU": lambda s: [curve(s.what, "leaky_relu", slope=s.config["negative_slope"])],
    "ELU": lambda s: [curve(s.what, "elu", alpha=s.config["alpha"])],
    "Softmax": _softmax,
    "PReLU": lambda s: [prelu(s.what, s.values[0], s.layer.trainable)],
    "Dropout": lambda s: dropout(s.what, s.config["rate"]),
    "GaussianNoise": lambda s: [Made(s.what, checked(s.what, GaussianNoise, s.config["stddev"]))],
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "Embedding": _embedding,
    "Flatten": _nothing,
    "Identity": _nothing,
}
