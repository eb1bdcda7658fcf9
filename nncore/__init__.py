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
    from . import callbacks as callbacks  # not all of these are in __all__
    from . import columns as columns
    from . import files as files
    from . import line_searches as line_searches
    from . import metrics as metrics
    from . import plots as plots
    from . import reference as reference
    from . import schedules as schedules
    from . import sklearn as sklearn
    from . import trainers as trainers
    from .callbacks import Callback
    from .checking import GradientReport, check_gradients
    from .exchange.keras import from_keras
    from .exchange.onnx_reading import from_onnx
    from .exchange.pytorch import from_torch
    from .exchange.scikit_learn import from_sklearn
    from .layers import (
        BatchNorm,
        Dropout,
        Embedding,
        GaussianNoise,
        LayerNorm,
        PReLU,
        Residual,
        Scaling,
    )  # fmt: skip
    from .own_activation import register_activation
    from .stopping import Stop
    from .trainers.conjugate_gradient import ConjugateGradient, ScaledConjugateGradient
    from .trainers.descent import GradientDescent, SteepestDescent
    from .trainers.least_squares import BayesianRegularization, LevenbergMarquardt
    from .trainers.minimize import minimize
    from .trainers.quasi_newton import BFGS, LBFGS, OneStepSecant
    from .trainers.rprop import Quickprop, Rprop
    from .validation import LinearNetworkWarning
    from .views.diagnosing.diagnosis import Diagnosis, Finding
    from .views.diagnosing.monitor import Monitor
    from .views.landscapes.landscape import Landscape, landscape
    from .views.landscapes.path import Path
    from .views.landscapes.stationary import StationaryPoint, stationary_point
    from .views.lr_find import lr_find

__version__ = "0.1.0"


# What only some programs need is imported when it is first named: importing stays cheap.
_LATER = (
    dict.fromkeys(layers.__all__, "layers")
    | dict.fromkeys(("GradientReport", "check_gradients"), "checking")
    | dict.fromkeys(
        (
            "BFGS", "BayesianRegularization", "ConjugateGradient", "GradientDescent", "LBFGS",
            "LevenbergMarquardt", "OneStepSecant", "Quickprop", "Rprop",
            "ScaledConjugateGradient", "SteepestDescent", "minimize",
        ),
        "trainers",
    )
    | dict.fromkeys(("Diagnosis", "Finding"), "views.diagnosing.diagnosis")
    | {
        "from_keras": "exchange.keras", "from_onnx": "exchange.onnx_reading",
        "from_sklearn": "exchange.scikit_learn", "from_torch": "exchange.pytorch",
    }
    | dict.fromkeys(("Landscape", "landscape"), "views.landscapes.landscape")
    | dict.fromkeys(("StationaryPoint", "stationary_point"), "views.landscapes.stationary")
    | {
        "Callback": "callbacks", "LinearNetworkWarning": "validation",
        "Monitor": "views.diagnosing.monitor", "Path": "views.landscapes.path", "Stop": "stopping",
        "lr_find": "views.lr_find", "register_activation": "own_activation",
    }
)  # fmt: skip
_MODULES = (
    "callbacks", "columns", "files", "line_searches", "metrics", "plots", "reference", "schedules",
    "sklearn", "trainers",
)  # fmt: skip


if not TYPE_CHECKING:  # else a name that does not exist would have a type

    def __getattr__(name):
        import importlib

        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name in _LATER:
            return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


del TYPE_CHECKING


__all__ = [
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BFGS",
    "BatchNorm",
    "BayesianRegularization",
    "Callback",
    "ConjugateGradient",
    "Dense",
    "Diagnosis",
    "Dropout",
    "Embedding",
    "Finding",
    "GaussianNoise",
    "GradientDescent",
    "GradientReport",
    "History",
    "Initializer",
    "LBFGS",
    "Landscape",
    "Layer",
    "LayerNorm",
    "LevenbergMarquardt",
    "LinearNetworkWarning",
    "Lion",
    "Loss",
    "Monitor",
    "NAdam",
    "Network",
    "OneStepSecant",
    "Optimizer",
    "PReLU",
    "Path",
    "Quickprop",
    "RAdam",
    "RMSprop",
    "Residual",
    "Rprop",
    "SGD",
    "ScaledConjugateGradient",
    "Scaling",
    "StationaryPoint",
    "SteepestDescent",
    "Stop",
    "activations",
    "check_gradients",
    "datasets",
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "get_config",
    "get_num_threads",
    "initializers",
    "landscape",
    "line_searches",
    "load",
    "losses",
    "lr_find",
    "minimize",
    "register_activation",
    "register_loss",
    "set_num_threads",
    "show_config",
    "stationary_point",
]
