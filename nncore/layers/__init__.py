"""Layers: descriptions that lower themselves to steps of the engine. No arithmetic is here."""

from .. import names
from .base import Layer, Step
from .dense import Dense
from .embedding import Embedding
from .normalization import BatchNorm, LayerNorm
from .prelu import PReLU
from .random import Dropout, GaussianNoise
from .residual import Residual

__all__ = [
    "BatchNorm", "Dense", "Dropout", "Embedding", "GaussianNoise", "Layer", "LayerNorm", "PReLU",
    "Residual", "Step",
]  # fmt: skip

_TYPES = {
    "dense": Dense,
    "dropout": Dropout,
    "gaussian_noise": GaussianNoise,
    "batch_norm": BatchNorm,
    "layer_norm": LayerNorm,
    "prelu": PReLU,
    "residual": Residual,
    "embedding": Embedding,
}


def from_config(config):
    """Return the layer of which `config` is the config, without its parameters."""
    arguments = dict(config)
    name = names.look_up("type of layer", arguments.pop("type"), _TYPES)
    layer = _TYPES[name].from_config(arguments)
    for key in layer.config():  # what is left out is not meant to be the default
        config[key]
    return layer
