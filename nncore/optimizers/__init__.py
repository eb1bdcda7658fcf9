"""Optimizers: descriptions of an update rule of the engine and its hyper-parameters.

What all of them take by name: ``weight_decay``, ``clip_norm``, ``clip_value``, ``ema``, ``swa``,
as `Optimizer` says. The learning rate may be a number, one of `nncore.schedules`, or a function of
the number of updates done. All numbers are rounded to the network's dtype where they are used: a
rate below 1.2e-38 is zero in float32.
"""

from collections.abc import Callable
from typing import Any

from .. import _core
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .base import OPTIMIZERS, Optimizer
from .momentum import SGD, Lion
from .squares import Adadelta, Adagrad, RMSprop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..trainers import Trainer
del TYPE_CHECKING

__all__ = [
    "OPTIMIZERS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "as_optimizer",
]  # fmt: skip

OPTIMIZERS.update(
    (kind.__name__, kind)
    for kind in (SGD, AdamW, Adam, Adagrad, Adadelta, RMSprop, Adamax, NAdam, RAdam, Lion)
)

_BY_NAME: dict[str, Callable[[], Optimizer]] = {
    kind.__name__.lower(): kind for kind in OPTIMIZERS.values()
} | {
    "momentum": lambda: SGD(momentum=_core.OPTIMIZERS["momentum"]["hyper"]["mu"]),
    "nesterov": lambda: SGD(momentum=_core.OPTIMIZERS["nesterov"]["hyper"]["mu"], nesterov=True),
    "amsgrad": lambda: Adam(amsgrad=True),
}


def as_optimizer(optimizer: Any) -> "Optimizer | Trainer":
    """Return an `Optimizer` or a `nncore.trainers.Trainer` from a name or from one."""
    if isinstance(optimizer, Optimizer) and isinstance(optimizer, tuple(OPTIMIZERS.values())):
        return optimizer  # others could not be saved
    if isinstance(optimizer, str) and optimizer in _BY_NAME:
        return _BY_NAME[optimizer]()
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        raise ValueError(f"optimizer is a class; write {optimizer.__name__}() with brackets")
    from .. import trainers  # which many programs never need

    return trainers.as_trainer(optimizer, _BY_NAME)
