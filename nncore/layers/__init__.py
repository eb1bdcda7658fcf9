"""Layers: descriptions that lower themselves to steps of the engine. No arithmetic is here.

Those beside `Dense` are imported when they are first named: importing nncore stays cheap.
"""

from typing import Any

from .. import names
from .base import Layer, Step, Tuning
from .dense import Dense

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .embedding import Embedding
    from .normalization import BatchNorm, LayerNorm
    from .prelu import PReLU
    from .random import Dropout, GaussianNoise
    from .residual import Residual
    from .scaling import Scaling
del TYPE_CHECKING

__all__ = [
    "BatchNorm", "Dense", "Dropout", "Embedding", "GaussianNoise", "Layer", "LayerNorm", "PReLU",
    "Residual", "Scaling", "Step", "Tuning",
]  # fmt: skip

# The type in a config: the class and the module it is in.
_TYPES = {
    "dense": ("Dense", "dense"),
    "dropout": ("Dropout", "random"),
    "gaussian_noise": ("GaussianNoise", "random"),
    "batch_norm": ("BatchNorm", "normalization"),
    "layer_norm": ("LayerNorm", "normalization"),
    "prelu": ("PReLU", "prelu"),
    "residual": ("Residual", "residual"),
    "embedding": ("Embedding", "embedding"),
    "scaling": ("Scaling", "scaling"),
}
_MODULES = dict(_TYPES.values())


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def from_config(config: dict[str, Any]) -> Layer:
    """Return the layer of which `config` is the config, without its parameters."""
    arguments = dict(config)
    kind, _ = _TYPES[names.look_up("type of layer", arguments.pop("type"), _TYPES)]
    layer = (Dense if kind == "Dense" else __getattr__(kind)).from_config(arguments)
    for key in layer.config():  # what is left out is not meant to be the default
        config[key]
    return layer
