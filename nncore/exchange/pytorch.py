"""Networks from PyTorch's Sequential modules and from dicts of weights."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import files, names
from ..layers import BatchNorm, Dense, Dropout, Embedding, Layer, LayerNorm, PReLU, Residual
from ..network import Network
from .links import Affine, Curve, Link, Made, build, checked, curve, kind_of, norm, prelu

_WANTED = "from_torch takes a torch.nn.Sequential, a state_dict or the path of a .safetensors file"
# Activations whose names there are not an alias here, and parameters by their attributes there.
_NAMES = {"LeakyReLU": "leaky_relu"}
_ATTRIBUTES = {"width": "lambd", "slope": "negative_slope"}
_HARDTANH = {(-1, 1): "hardtanh", (0, 1): "satlin", (0, 6): "relu6"}
# What weight and bias are called here.
_TENSORS = {
    "Dense": ("W", "b"), "PReLU": ("slope",), "Embedding": ("E",), "LayerNorm": ("gamma", "beta"),
    "BatchNorm": ("gamma", "beta"),
}  # fmt: skip
_WITHOUT = ("Dropout", "GaussianNoise", "Scaling")


def from_torch(
    module_or_state_dict: Any,
    layers: Sequence[Layer | str] | Mapping[str, Layer | str] | None = None,
    **options: Any,
) -> Network:
    """Return the network of a PyTorch module or of its weights; PyTorch is not imported.

    Parameters
    ----------
    module_or_state_dict : torch.nn.Module, dict or path
        A Sequential of modules that docs/exchange.md lists; a state_dict, of tensors or arrays; or
        the path of a ``.safetensors`` file that holds one.
    layers : sequence or dict, optional
        What is done with the weights of a state_dict: layers, such as
        ``nncore.Dense(10, "softmax")``, or names of activations for a `Dense` with them. In a
        sequence they are in the order of the weights; those of files must be numbered, as
        "0.weight" or "fc1.weight" are. Or a dict from the prefix of names, "fc1", to the layer.
    **options
        Those of `nncore.Network`; dtype is by default that of the weights.

    Returns
    -------
    Network
        `predict` gives what the module gives in ``eval()`` mode, but for rounding.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or a part of it has no counterpart: the module is named.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> weights = {"0.weight": np.ones((2, 3)), "0.bias": np.zeros(2), "2.weight": np.ones((1, 2))}
    >>> net = nncore.from_torch(weights, ["tanh", nncore.Dense(1, bias=False)])
    >>> net.predict([[0.0, 0.0, 0.5]]).round(3)
    array([[0.924]])
    """
    source, in_order = module_or_state_dict, True
    if isinstance(source, (str, os.PathLike)):
        if not os.fsdecode(source).endswith(".safetensors"):
            raise ValueError(
                f"{_WANTED}, got {source!r}; read a pickle with torch.load(path, weights_only=True)"
            )
        (source, about), in_order = files.read(source), False
        if "nncore" in about:
            raise ValueError("this is a network that nncore saved: read it with nncore.load")
    if isinstance(source, Mapping):
        return build(_of_weights(source, layers, in_order), **options)
    if layers is not None:
        raise TypeError("layers are for a state_dict; a module says itself what its layers are")
    return build(_links(_modules(source)), **options)


def _array(tensor: Any, what: str) -> np.ndarray:
    """A tensor as an array of float32 or float64."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        wide = tensor.element_size() == 8
        tensor = (tensor.double() if wide else tensor.float()).numpy().copy()
    values = np.asarray(tensor)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{what} must be a tensor or an array of numbers, got {tensor!r:.60}")
    return values if values.dtype == np.float64 else values.astype(np.float32)


# ---- modules ----


def _modules(module: Any, name: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield name, kind and module of all that a Sequential holds, in order."""
    kind = kind_of(module, "torch", _WANTED, "forward")
    if kind == "Sequential":
        for i, each in enumerate(module):  # named_children leaves out what stands there twice
            yield from _modules(each, f"{name}.{i}" if name else f"{i}")
    else:
        yield f"module {name or 'itself'}, {kind}", kind, module


def _links(modules: Iterable[tuple[str, str, Any]]) -> list[Link]:
    links: list[Link] = []
    seen: dict[int, str] = {}  # by the id of a trained tensor
    flat = True  # an Embedding gives rows of vectors, until Flatten
    for what, kind, module in modules:
        if not flat and kind not in ("Flatten", "Identity", "Dropout"):
            raise ValueError(f"{what} after an Embedding: put Flatten() between them")
        flat = kind == "Flatten" or (flat and kind != "Embedding")
        for name, is_read in _READ.get(kind, {}).items():
            if not is_read(getattr(module, name)):
                raise ValueError(f"{what} has {name}={getattr(module, name)}, which is not read")
        if kind in _LAYERS:
            weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
            tensors = [v for v in (weight, bias) if v is not None]
            free = [v for v in tensors if v.requires_grad]
            if free and len(free) < len(tensors):
                raise ValueError(f"{what} is frozen in part: set requires_grad alike for both")
            for v in free:
                if seen.setdefault(id(v), what) != what:
                    raise ValueError(
                        f"{what} shares weights with {seen[id(v)]}; here each would be trained "
                        "alone. Freeze them, or give the state_dict and the layers."
                    )
            W, b = (None if v is None else _array(v, what) for v in (weight, bias))
            links.append(_LAYERS[kind](what, module, W, b, bool(free)))
        elif kind not in ("Flatten", "Identity"):
            links.append(_activation(what, kind, module))
    if not flat:
        raise ValueError("the model ends in an Embedding: put Flatten() behind it")
    return links


def _activation(what: str, kind: str, module: Any) -> Curve:
    name = _NAMES.get(kind, kind.lower())
    name = names.ACTIVATION_ALIASES.get(name, name)
    if kind == "GELU" and module.approximate == "tanh":
        name = "gelu_tanh"
    elif kind == "Hardtanh":
        name = _HARDTANH.get((module.min_val, module.max_val), "")
        what = f"{what} to [{module.min_val}, {module.max_val}]"
    if name not in names.ACTIVATIONS:
        raise ValueError(f"{what} has no counterpart in nncore; docs/exchange.md lists what has")
    parameters = [p for p in names.ACTIVATIONS[name]["parameters"] if p != "gain"]
    return curve(what, name, **{p: getattr(module, _ATTRIBUTES.get(p, p)) for p in parameters})


def _batch_norm(
    what: str, module: Any, gamma: np.ndarray | None, beta: np.ndarray | None, trained: bool
) -> Made:
    values = [gamma, beta, *(_array(v, what) for v in (module.running_mean, module.running_var))]
    arguments = {"eps": module.eps, "momentum": module.momentum}
    return norm(what, BatchNorm, module.num_features, values, trained, **arguments)


# What each module with weights is, and which values of attributes are read.
_LAYERS: dict[str, Callable[..., Link]] = {
    "BatchNorm1d": _batch_norm,
    "Dropout": lambda what, module, *_: Made(what, Dropout(module.p)),
    "Embedding": lambda what, module, E, _, trained: Made(
        what, checked(what, Embedding, *E.shape, trainable=trained), {"E": E}
    ),
    "LayerNorm": lambda what, module, gamma, beta, trained: norm(
        what, LayerNorm, module.normalized_shape[0], (gamma, beta), trained, eps=module.eps
    ),
    "Linear": lambda what, module, W, b, trained: Affine(what, W.T, b, trainable=trained),
    "PReLU": lambda what, module, slope, _, trained: prelu(what, slope, trained),
}
_OF_ROWS = {"dim": (None, 1, -1).__contains__}
_READ: dict[str, dict[str, Callable[[Any], bool]]] = {
    "BatchNorm1d": {name: lambda v: v is not None for name in ("running_mean", "momentum")},
    "Embedding": {"max_norm": lambda v: v is None},
    "Flatten": {"start_dim": lambda v: v == 1},
    "LayerNorm": {"normalized_shape": lambda v: len(v) == 1},
    "LogSoftmax": _OF_ROWS,
    "Softmax": _OF_ROWS,
}


# ---- weights alone ----


def _of_weights(
    weights: Mapping[Any, Any],
    layers: Sequence[Layer | str] | Mapping[str, Layer | str] | None,
    in_order: bool,
) -> list[Made]:
    """The links of a state_dict and of the layers that its tensors are of."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in weights.items():
        prefix, _, last = str(name).rpartition(".")
        if last != "num_batches_tracked":
            groups.setdefault(prefix, {})[last] = _array(tensor, f"{name!r} of the state_dict")
    if layers is None or isinstance(layers, str):
        raise TypeError(
            "weights do not say what is done with them: give the layers or their activations in a "
            f'list, such as ["relu", "softmax"], for {list(groups)}'
        )
    if isinstance(layers, Mapping):
        order = [k for k, layer in layers.items() if type(layer).__name__ not in _WITHOUT]
        if set(order) != set(groups):
            raise ValueError(f"layers name {list(layers)}, the weights {list(groups)}")
        layers = list(layers.values())
    else:
        order = list(groups) if in_order else _numbered(groups)
    left = iter(order)
    links = [_with_values(layer, left, groups) for layer in layers]
    for prefix in left:
        prefix = prefix or next(iter(groups[prefix]))
        raise ValueError(f"{prefix!r} and what follows belong to none of the {len(links)} layers")
    return links


def _numbered(groups: Iterable[str]) -> list[str]:
    """The prefixes by their numbers, as files have no order."""
    if len({re.sub(r"\d+", "#", prefix) for prefix in groups}) > 1:
        raise ValueError(
            "files keep no order, and these names are not numbered: give layers as a dict, such as "
            f'{{"{next(iter(groups))}": "relu", ...}}'
        )
    return sorted(groups, key=lambda prefix: [int(n) for n in re.findall(r"\d+", prefix)])


def _with_values(
    layer: Layer | str, order: Iterator[str], groups: Mapping[str, dict[str, np.ndarray]]
) -> Made:
    """The link of a layer with the next weights; a Residual takes those of all of its layers."""
    if isinstance(layer, Residual):
        inner = [_with_values(each, order, groups) for each in layer.layers]
        values = {f"{i}.{k}": v for i, each in enumerate(inner) for k, v in each.values.items()}
        return Made("Residual", layer, values, inner[0].n_in)
    if not isinstance(layer, (str, Layer)):
        raise TypeError(f"layers are layers or names of activations, got {layer!r}")
    kind = "Dense" if isinstance(layer, str) else type(layer).__name__
    if isinstance(layer, Layer) and kind in _WITHOUT:
        return Made(kind, layer)
    prefix = next(order, None)
    if prefix is None:
        raise ValueError(f"there are fewer weights than layers: none are left for {layer!r}")
    ours = dict(zip(("weight", "bias"), _TENSORS.get(kind, ()), strict=False))
    found = {ours.get(name, name): values for name, values in groups[prefix].items()}
    W = found.get("W")
    if kind == "Dense" and W is not None and W.ndim == 2:
        found["W"] = W.T
        if isinstance(layer, str):
            layer = Dense(len(W), layer, bias="b" in found)
    shapes = {} if isinstance(layer, str) else layer.shapes(1 << 16) | layer.running_shapes(1 << 16)
    if isinstance(layer, str) or set(found) != set(shapes) or not ours:
        shown = {name: values.shape for name, values in groups[prefix].items()}
        raise ValueError(f"{layer!r} cannot have the weights of {prefix!r}: {shown}")
    free = kind == "Embedding" or (isinstance(layer, PReLU) and layer.shared)
    n_in = None if free else len(found[next(iter(shapes))])
    return Made(f"{prefix!r}, {layer!r}", layer, found, n_in)
