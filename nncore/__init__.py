"""nncore: a neural-network core for the CPU, fast, exact and visible.

>>> import nncore
>>> X, y = nncore.datasets.load_digits()
>>> net = nncore.Network(
...     64, nncore.Dense(32, "relu"), nncore.Dense(10, "softmax"), seed=0)
>>> history = net.fit(X / 16, y, epochs=5, verbose=False)
>>> history["loss"][-1] < history["loss"][0]
True
"""

try:
    from ._core import ISA as _ISA  # noqa: F401
except ModuleNotFoundError as _error:
    if _error.name != "nncore._core":
        raise
    raise ImportError(
        f"this is nncore's source folder ({__path__[0]}), which has no compiled "
        "engine: install it with `pip install .` in the checkout, then run Python in another "
        "folder (or use `pip install -e .` to build the engine in place)."
    ) from None

from . import datasets, layers
from .activation import Activation, activations
from .info import get_config, show_config
from .initializer import Initializer, initializers
from .layers import Dense, Layer
from .loss import Loss, losses, register_loss
from .network import History, Network, load
from .optimizers import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
)
from .threads import get_num_threads, set_num_threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .layers import (
        BatchNorm,
        Dropout,
        Embedding,
        GaussianNoise,
        LayerNorm,
        PReLU,
        Residual,
    )  # fmt: skip
    from .own_activation import register_activation
del TYPE_CHECKING

__version__ = "0.1.0"


def __getattr__(name):
    # What only some programs need is imported when it is first named: importing stays cheap.
    import importlib

    if name in ("files", "reference", "schedules"):
        return importlib.import_module(f"{__name__}.{name}")
    if name in layers.__all__:
        return getattr(layers, name)
    if name == "register_activation":
        return importlib.import_module(f"{__name__}.own_activation").register_activation
    if name in ("GradientReport", "check_gradients"):
        return getattr(importlib.import_module(f"{__name__}.checking"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "SGD",
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Embedding",
    "GaussianNoise",
    "GradientReport",
    "History",
    "Initializer",
    "Layer",
    "LayerNorm",
    "Lion",
    "Loss",
    "NAdam",
    "Network",
    "Optimizer",
    "PReLU",
    "RAdam",
    "RMSprop",
    "Residual",
    "activations",
    "check_gradients",
    "datasets",
    "get_config",
    "get_num_threads",
    "initializers",
    "load",
    "losses",
    "register_activation",
    "register_loss",
    "set_num_threads",
    "show_config",
]
