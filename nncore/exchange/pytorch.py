"""Networks from PyTorch's Sequential modules and from dicts of weights."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import BatchNorm, Dense, Embedding, Layer, LayerNorm, PReLU, Residual
from .links import Affine, Link, Made, build, checked, curve, dropout, norm, prelu
from .objects import ancestor

if TYPE_CHECKING:
    from ..network import Network

# Modules that are activations: the name here, and parameters here by their attributes there.
_ACTIVATIONS: dict[str, tuple[str, dict[str, str]]] = {
    "CELU": ("celu", {"alpha": "alpha"}),
    "ELU": ("elu", {"alpha": "alpha"}),
    "Hardshrink": ("hard_shrink", {"width": "lambd"}),
    "Hardsigmoid": ("hard_sigmoid", {}),
    "Hardswish": ("hard_swish", {}),
    "LeakyReLU": ("leaky_relu", {"slope": "negative_slope"}),
    "LogSigmoid": ("log_sigmoid", {}),
    "Mish": ("mish", {}),
    "ReLU": ("relu", {}),
    "ReLU6": ("relu6", {}),
    "SELU": ("selu", {}),
    "SiLU": ("silu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Softplus": ("softplus", {"beta": "beta"}),
    "Softshrink": ("softshrink", {"width": "lambd"}),
    "Softsign": ("softsign", {}),
    "Tanh": ("tanh", {}),
    "Tanhshrink": ("tanhshrink", {}),
    "Threshold": ("threshold", {"threshold": "threshold", "value": "value"}),
}
_HARDTANH = {(-1, 1): "hardtanh", (0, 1): "satlin", (0, 6): "relu6"}
# What torch calls the parameters of a layer.
_TENSORS = {
    "Dense": {"weight": "W", "bias": "b"},
    "PReLU": {"weight": "slope"},
    "Embedding": {"weight": "E"},
    "LayerNorm": {"weight": "gamma", "bias": "beta"},
    "BatchNorm": {"weight": "gamma", "bias": "beta", "running_mean": "running_mean",
                  "running_var": "running_var"},
}  # fmt: skip
_WANTED = "from_torch takes a torch.nn.Sequential, a state_dict or the path of a .safetensors file"


def from_torch(
    module_or_state_dict: object,
    layers: Sequence[Layer | str] | Mapping[str, Layer | str] | None = None, *,
    loss: object = None, optimizer: object = "adam", dtype: object = None,
    seed: int | None = None, backend: str = "auto",
) -> Network:  # fmt: skip
    """Return the network of a PyTorch module or of its weights; PyTorch is not imported.

    Parameters
    ----------
    module_or_state_dict : torch.nn.Module, dict or path
        A Sequential, which may hold others, of:

        =============================== ===================================================
        Linear                          `Dense`, whose W is ``weight.T``
        activations                     part of the `Dense` before them, see Notes
        BatchNorm1d                     `BatchNorm` with the same momentum and eps
        LayerNorm over the last axis    `LayerNorm` with the same eps
        PReLU                           `PReLU`
        Dropout                         `Dropout`
        Embedding and then Flatten      `Embedding`
        Identity, Flatten               nothing
        =============================== ===================================================

        Or a state_dict, of tensors or arrays, or the path of a ``.safetensors`` file that holds
        one: then `layers` are needed, since weights do not say what is done with them.
    layers : sequence or dict, optional
        The layers of a state_dict: descriptions, such as ``nncore.Dense(10, "softmax")``; a name of
        an activation stands for a `Dense` with it. In a sequence they are in the order of the
        weights, which files do not have: there the names must be numbered, as "0.weight" or
        "fc1.weight" are. Or a dict from the prefix of the names, such as "fc1", to the layer.
    loss : str or nncore.Loss, optional
        As in `nncore.Network`: by default what the last activation asks for. (A network that ends
        in Linear and was trained with CrossEntropyLoss or BCEWithLogitsLoss gives raw scores; add
        the Softmax or Sigmoid to have probabilities, and that loss.)
    optimizer : str or nncore.Optimizer, default "adam"
        As in `nncore.Network`; it starts afresh.
    dtype : {"float32", "float64"}, optional
        By default "float64" if the weights are, else "float32".
    seed, backend : optional
        As in `nncore.Network`.

    Returns
    -------
    Network
        `predict` gives what the module gives in ``eval()`` mode, but for rounding.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If a part of it has no counterpart: the module is named.

    Notes
    -----
    CELU, ELU, GELU (also approximate="tanh"), Hardshrink, Hardsigmoid, Hardswish, Hardtanh (to
    [-1, 1], [0, 1] or [0, 6]), LeakyReLU, LogSigmoid, Mish, ReLU, ReLU6, SELU, SiLU, Sigmoid,
    Softplus, Softshrink, Softsign, Tanh, Tanhshrink and Threshold are what they are called here,
    with their parameters; Softmax and LogSoftmax too, at the end. An activation that follows no
    Linear becomes a layer that is not trained: ReLU and LeakyReLU a `PReLU`, others a `Dense` whose
    W is the identity matrix.

    Refused are modules of your own, and what a layer here could not go on training as it was
    trained there: BatchNorm1d without running statistics or with momentum=None, Embedding with
    max_norm, RReLU, AlphaDropout. The row of padding_idx is trained like any other. Where
    ``requires_grad`` is off for all weights of a module, its layer is not ``trainable``.

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
    options = dict(loss=loss, optimizer=optimizer, dtype=dtype, seed=seed, backend=backend)
    source = module_or_state_dict
    in_order = True
    if isinstance(source, (str, os.PathLike)):
        source, in_order = _read(source), False
    if isinstance(source, Mapping):
        return build(_of_weights(source, layers, in_order), **options)
    if layers is not None:
        raise TypeError("layers are for a state_dict; a module says itself what its layers are")
    return build(_links(_modules(source)), **options)


# ---- modules ----


def _modules(module: Any, name: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield name, kind and module of all that a Sequential holds, in order."""
    kind = ancestor(module, "torch", _WANTED, "forward")
    if kind == "Sequential":
        for i, each in enumerate(module):  # named_children leaves out what stands there twice
            yield from _modules(each, f"{name}.{i}" if name else f"{i}")
    elif kind == "Module":
        raise TypeError(f"{_WANTED}, got a module of no kind")
    else:
        yield f"module {name or 'itself'}, {kind}", kind, module


def _links(modules):
    links: list[Link] = []
    flat = True  # an Embedding gives rows of vectors, until Flatten
    for what, kind, module in modules:
        if not flat and kind not in ("Flatten", "Identity", "Dropout"):
            raise ValueError(f"{what} after an Embedding: put Flatten() between them")
        if kind == "Flatten" and (module.start_dim, module.end_dim) not in ((1, -1), (1, 1)):
            raise ValueError(f"{what}: only start_dim=1 and end_dim=-1 are read")
        flat = kind == "Flatten" or (flat and kind != "Embedding")
        links += _link(what, kind, module)
    if not flat:
        raise ValueError("the model ends in an Embedding: put Flatten() behind it")
    return links


def _link(what, kind, module):
    """The links of one module."""
    if kind in ("Identity", "Flatten"):
        return []
    if kind in ("Softmax", "LogSoftmax"):
        if module.dim not in (None, 1, -1):
            raise ValueError(f"{what} has dim={module.dim}; here it is of rows, dim=1")
        return [curve(what, "softmax" if kind == "Softmax" else "log_softmax")]
    if kind == "GELU":
        return [curve(what, "gelu" if module.approximate == "none" else "gelu_tanh")]
    if kind == "Hardtanh":
        name = _HARDTANH.get((module.min_val, module.max_val))
        if name is None:
            raise ValueError(f"{what} to [{module.min_val}, {module.max_val}] has no counterpart")
        return [curve(what, name)]
    if kind in _ACTIVATIONS:
        name, attributes = _ACTIVATIONS[kind]
        return [curve(what, name, **{p: getattr(module, a) for p, a in attributes.items()})]
    if kind == "Dropout":
        return dropout(what, module.p)
    if kind not in ("Linear", "PReLU", "BatchNorm1d", "LayerNorm", "Embedding"):
        raise ValueError(
            f"{what} has no counterpart in nncore; `help(nncore.from_torch)` lists what is read"
        )
    values = {name: _array(tensor, what) for name, tensor in module.state_dict().items()}
    trained = [parameter.requires_grad for parameter in module.parameters()]
    return [_layer(what, kind, module, values, any(trained))]


def _layer(what, kind, module, values, trainable):
    weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
    weight, bias = (None if v is None else _array(v, what) for v in (weight, bias))
    if kind == "Linear":
        return Affine(what, weight.T, bias, trainable=trainable)
    if kind == "PReLU":
        return prelu(what, weight, trainable)
    if kind == "Embedding":
        if module.max_norm is not None:
            raise ValueError(f"{what} has max_norm, which changes vectors in use")
        layer = checked(what, Embedding, *weight.shape, trainable=trainable)
        return Made(what, layer, {"E": weight})
    if kind == "LayerNorm":
        if len(module.normalized_shape) != 1:
            raise ValueError(f"{what} is over {len(module.normalized_shape)} axes; here it is of 1")
        n = module.normalized_shape[0]
        return norm(what, LayerNorm, n, (weight, bias), trainable, eps=module.eps)
    if "running_mean" not in values:
        raise ValueError(f"{what} has track_running_stats=False, so it has no statistics to keep")
    if module.momentum is None:
        raise ValueError(f"{what} has momentum=None, a mean of all batches; set it to a number")
    statistics = (values["running_mean"], values["running_var"])
    return norm(
        what, BatchNorm, module.num_features, (weight, bias, *statistics), trainable,
        eps=module.eps, momentum=module.momentum,
    )  # fmt: skip


def _array(tensor, what):
    """A tensor as an array of float32 or float64."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if not tensor.is_floating_point():
            return tensor.numpy()
        tensor = tensor if tensor.element_size() == 8 else tensor.float()
        return tensor.numpy().copy()  # else it would change with the module
    values = np.asarray(tensor)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{what} must be a tensor or an array of numbers, got {tensor!r:.60}")
    return values if values.dtype == np.float64 else values.astype(np.float32)


# ---- weights alone ----


def _read(path):
    from .. import files

    if not os.fsdecode(path).endswith(".safetensors"):
        raise ValueError(
            f"{_WANTED}, got the path {os.fsdecode(path)!r}. Other files of PyTorch are pickles, "
            "which can run code: read it with torch.load(path, weights_only=True)."
        )
    return files.read(path)[0]


def _of_weights(weights, layers, in_order):
    """The links of a state_dict and of the layers that its tensors are of."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in weights.items():
        prefix, _, last = str(name).rpartition(".")
        if last != "num_batches_tracked":
            groups.setdefault(prefix, {})[last] = _array(tensor, f"{name!r} of the state_dict")
    shown = ", ".join(map(repr, groups))
    if not groups:
        raise ValueError("the state_dict has no weights")
    if layers is None:
        raise TypeError(
            "a state_dict does not say what is done with its weights: give the layers or their "
            f'activations as well, such as from_torch(weights, ["relu", ...]), for: {shown}'
        )
    if isinstance(layers, Mapping):
        if set(_with_weights(layers)) != set(groups):
            raise ValueError(f"layers name {', '.join(map(repr, layers))}; the weights {shown}")
        order, layers = iter(_with_weights(layers)), list(layers.values())
    else:
        order = iter(groups if in_order else _numbered(groups))
        if isinstance(layers, str):
            raise TypeError('layers must be a sequence such as ["relu", "softmax"], got a str')
        layers = list(layers)
    links = [_with_values(layer, order, groups) for layer in layers]
    left = list(order)
    if left:
        raise ValueError(f"{left[0]!r} and what follows belong to none of the {len(links)} layers")
    return links


def _with_weights(layers):
    return [name for name, layer in layers.items() if type(layer).__name__ not in _WITHOUT]


_WITHOUT = ("Dropout", "GaussianNoise")


def _numbered(groups):
    """The prefixes by their numbers, as files have no order."""
    texts = {re.sub(r"\d+", "#", prefix) for prefix in groups}
    if len(texts) > 1:
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
    tensors = groups[prefix]
    names = _TENSORS.get(kind, {})
    found = {names.get(name, name): values for name, values in tensors.items()}
    if kind == "Dense" and np.ndim(tensors.get("weight")) == 2:
        found["W"] = found["W"].T
        if isinstance(layer, str):
            layer = Dense(len(tensors["weight"]), layer, bias="b" in found)
    shapes = {} if isinstance(layer, str) else layer.shapes(1 << 16) | layer.running_shapes(1 << 16)
    if not names or set(found) != set(shapes):
        shown = {name: values.shape for name, values in tensors.items()}
        raise ValueError(f"{layer!r} cannot have the weights of {prefix!r}: {shown}")
    free = isinstance(layer, Embedding) or (isinstance(layer, PReLU) and layer.shared)
    n_in = None if free else len(found[next(iter(shapes))])
    return Made(f"{prefix!r}, {layer!r}", layer, found, n_in)
