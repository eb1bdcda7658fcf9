"""Networks from PyTorch's Sequential modules and from dicts of weights."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files, names
from ..layers import BatchNorm, Dense, Dropout, Embedding, Layer, LayerNorm, PReLU, Residual
from .links import Affine, Link, Made, build, checked, curve, kind_of, norm, prelu

if TYPE_CHECKING:
    from ..network import Network

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
    module_or_state_dict: object,
    layers: Sequence[Layer | str] | Mapping[str, Layer | str] | None = None,
    **options: Any,
) -> Network:
    """Return the network of a PyTorch module or of its weights; PyTorch is not imported.

    Parameters
    ----------
    module_or_state_dict : torch.nn.Module, dict or path
        A Sequential, which may hold others; docs/exchange.md lists the modules that are read. An
        activation that follows no Linear becomes a layer that is not trained. Or a state_dict, of
        tensors or arrays, or the path of a ``.safetensors`` file that holds one: then `layers` are
        needed, since weights do not say what is done with them.
    layers : sequence or dict, optional
        Descriptions, such as ``nncore.Dense(10, "softmax")``; a name of an activation stands for a
        `Dense` with it. In a sequence they are in the order of the weights, which files do not
        have: there the names must be numbered, as "0.weight" or "fc1.weight" are. Or a dict from
        the prefix of the names, such as "fc1", to the layer.
    **options
        loss, optimizer, dtype, seed and backend, as in `nncore.Network`; dtype is by default
        "float64" if the weights are, else "float32". (A network that was trained with
        CrossEntropyLoss gives raw scores; add the Softmax to have probabilities, and that loss.)

    Returns
    -------
    Network
        `predict` gives what the module gives in ``eval()`` mode, but for rounding.

    Raises
    ------
    TypeError
        If it is none of these, or a module of your own.
    ValueError
        If a part of it has no counterpart: the module is named.

    Examples
    --------
    >>> import nncore
    >>> import torch  # doctest: +SKIP
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 1))  # doctest: +SKIP
    >>> nncore.from_torch(module).layers  # doctest: +SKIP
    (Dense(8, 'gelu'), Dense(1, 'identity'))

    Of weights alone:

    >>> import numpy as np
    >>> weights = {"0.weight": np.ones((2, 3)), "0.bias": np.zeros(2), "2.weight": np.ones((1, 2))}
    >>> net = nncore.from_torch(weights, ["tanh", nncore.Dense(1, bias=False)])
    >>> net.predict([[0.0, 0.0, 0.5]]).round(3)
    array([[0.924]])
    """
    source, in_order = module_or_state_dict, True
    if isinstance(source, (str, os.PathLike)):
        if not os.fsdecode(source).endswith(".safetensors"):
            raise ValueError(
                f"{_WANTED}, got the path {os.fsdecode(source)!r}. Other files of PyTorch are "
                "pickles, which can run code: read it with torch.load(path, weights_only=True)."
            )
        source, in_order = files.read(source)[0], False
    if isinstance(source, Mapping):
        return build(_of_weights(source, layers, in_order), **options)
    if layers is not None:
        raise TypeError("layers are for a state_dict; a module says itself what its layers are")
    return build(_links(_modules(source)), **options)


def _array(tensor, what):
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


def _links(modules):
    links: list[Link] = []
    flat = True  # an Embedding gives rows of vectors, until Flatten
    for what, kind, module in modules:
        if not flat and kind not in ("Flatten", "Identity", "Dropout"):
            raise ValueError(f"{what} after an Embedding: put Flatten() between them")
        flat = kind == "Flatten" or (flat and kind != "Embedding")
        if kind == "Flatten" and module.start_dim != 1:
            raise ValueError(f"{what}: only start_dim=1 is read")
        if kind not in ("Flatten", "Identity"):
            read = _LAYERS.get(kind)
            links.append(read(what, module) if read else _activation(what, kind, module))
    if not flat:
        raise ValueError("the model ends in an Embedding: put Flatten() behind it")
    return links


def _activation(what, kind, module):
    name = _NAMES.get(kind, kind.lower())
    name = names.ACTIVATION_ALIASES.get(name, name)
    if kind == "GELU" and module.approximate == "tanh":
        name = "gelu_tanh"
    elif kind == "Hardtanh":
        name = _HARDTANH.get((module.min_val, module.max_val))
        what = f"{what} to [{module.min_val}, {module.max_val}]"
    elif name in names.WHOLE_ROW and module.dim not in (None, 1, -1):
        raise ValueError(f"{what} has dim={module.dim}; here it is of rows, dim=1")
    if name not in names.ACTIVATIONS:
        raise ValueError(f"{what} has no counterpart in nncore; docs/exchange.md lists what has")
    parameters = [p for p in names.ACTIVATIONS[name]["parameters"] if p != "gain"]
    return curve(what, name, **{p: getattr(module, _ATTRIBUTES.get(p, p)) for p in parameters})


def _weights(what, module):
    """weight and bias, or None, and whether one of them is trained."""
    found = [getattr(module, name, None) for name in ("weight", "bias")]
    trained = any(v is not None and v.requires_grad for v in found)
    return *(None if v is None else _array(v, what) for v in found), trained


def _linear(what, module):
    W, b, trained = _weights(what, module)
    return Affine(what, W.T, b, trainable=trained)


def _prelu(what, module):
    slope, _, trained = _weights(what, module)
    return prelu(what, slope, trained)


def _embedding(what, module):
    if module.max_norm is not None:
        raise ValueError(f"{what} has max_norm, which changes vectors in use")
    table, _, trained = _weights(what, module)
    return Made(what, checked(what, Embedding, *table.shape, trainable=trained), {"E": table})


def _layer_norm(what, module):
    if len(module.normalized_shape) != 1:
        raise ValueError(f"{what} is over {len(module.normalized_shape)} axes; here it is of 1")
    *values, trained = _weights(what, module)
    return norm(what, LayerNorm, *module.normalized_shape, values, trained, eps=module.eps)


def _batch_norm(what, module):
    if module.running_mean is None or module.momentum is None:
        raise ValueError(
            f"{what} needs running statistics and a momentum, not track_running_stats=False or "
            "momentum=None"
        )
    *values, trained = _weights(what, module)
    values += [_array(v, what) for v in (module.running_mean, module.running_var)]
    return norm(
        what, BatchNorm, module.num_features, values, trained, eps=module.eps,
        momentum=module.momentum,
    )  # fmt: skip


_LAYERS: dict[str, Callable[[str, Any], Link]] = {
    "BatchNorm1d": _batch_norm,
    "Dropout": lambda what, module: Made(what, Dropout(module.p)),
    "Embedding": _embedding,
    "LayerNorm": _layer_norm,
    "Linear": _linear,
    "PReLU": _prelu,
}


# ---- weights alone ----


def _of_weights(weights, layers, in_order):
    """The links of a state_dict and of the layers that its tensors are of."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in weights.items():
        prefix, _, last = str(name).rpartition(".")
        if last != "num_batches_tracked":
            groups.setdefault(prefix, {})[last] = _array(tensor, f"{name!r} of the state_dict")
    if layers is None or isinstance(layers, str):
        raise TypeError(
            "a state_dict does not say what is done with its weights: give the layers or their "
            f'activations in a list, such as ["relu", "softmax"], for: {list(groups)}'
        )
    if isinstance(layers, Mapping):
        order = [k for k, layer in layers.items() if type(layer).__name__ not in _WITHOUT]
        if set(order) != set(groups):
            raise ValueError(f"layers name {list(layers)}, the weights {list(groups)}")
        layers = layers.values()
    else:
        order = list(groups) if in_order else _numbered(groups)
    left = iter(order)
    links = [_with_values(layer, left, groups) for layer in layers]
    for prefix in left:
        raise ValueError(f"{prefix!r} and what follows belong to none of the {len(links)} layers")
    return links


def _numbered(groups):
    """The prefixes by their numbers, as files have no order."""
    if len({re.sub(r"\d+", "#", prefix) for prefix in groups}) > 1:
        raise ValueError(
            "a file does not keep the order of its weights, and these names are not numbered: "
            f'give layers as a dict, such as {{"{next(iter(groups))}": "relu", ...}}'
        )
    return sorted(groups, key=lambda prefix: [int(n) for n in re.findall(r"\d+", prefix)])


def _with_values(layer, order, groups):
    """The link of a layer with the next weights; a Residual takes those of all of its layers."""
    if isinstance(layer, Residual):
        inner = [_with_values(each, order, groups) for each in layer.layers]
        values = {f"{i}.{k}": v for i, each in enumerate(inner) for k, v in each.values.items()}
        return Made("Residual", layer, values, inner[0].n_in)
    if not isinstance(layer, (str, Layer)):
        raise TypeError(f"layers are layers or names of activations, got {layer!r}")
    kind = "Dense" if isinstance(layer, str) else type(layer).__name__
    if kind in _WITHOUT:
        return Made(kind, layer)
    prefix = next(order, None)
    if prefix is None:
        raise ValueError(f"there are fewer weights than layers: none are left for {layer!r}")
    ours = dict(zip(("weight", "bias"), _TENSORS.get(kind, ()), strict=False))
    found = {ours.get(name, name): values for name, values in groups[prefix].items()}
    if kind == "Dense" and np.ndim(found.get("W")) == 2:
        found["W"] = found["W"].T
        if isinstance(layer, str):
            layer = Dense(found["W"].shape[1], layer, bias="b" in found)
    shapes = {} if isinstance(layer, str) else layer.shapes(1 << 16) | layer.running_shapes(1 << 16)
    if set(found) != set(shapes) or not ours:
        shown = {name: values.shape for name, values in groups[prefix].items()}
        raise ValueError(f"{layer!r} cannot have the weights of {prefix!r}: {shown}")
    free = kind == "Embedding" or (isinstance(layer, PReLU) and layer.shared)
    n_in = None if free else len(found[next(iter(shapes))])
    return Made(f"{prefix!r}, {layer!r}", layer, found, n_in)
