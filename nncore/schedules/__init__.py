"""Schedules: learning rates that change, given as the ``lr`` of an optimizer.

>>> import nncore
>>> from nncore import schedules
>>> warm = schedules.WarmUp(schedules.Cosine(0.1, steps=1000), steps=100)
>>> optimizer = nncore.SGD(warm, momentum=0.9)
>>> [round(warm(t), 4) for t in (0, 50, 100, 600, 1100)]
[0.001, 0.0505, 0.1, 0.05, 0.0]

Time ``t`` is counted in updates since the optimizer was given to the network, so the first one has
``t = 0``; with ``per="epoch"`` in epochs of `nncore.Network.fit`. Formulas and defaults are those
of ``torch.optim.lr_scheduler`` where it has them, in the closed form; its schedulers are mostly
stepped once an epoch, which is ``per="epoch"`` here. Saved with the network, a schedule goes on
where it was.

A function of ``t`` is a schedule too, ``SGD(lambda t: 0.1 / (1 + t))``, but no file can hold it.
"""

from typing import Any

from .. import names
from .base import SCHEDULES, Schedule
from .compound import Function, WarmUp, as_schedule
from .curves import (
    Constant,
    Cosine,
    Cyclic,
    Exponential,
    InverseScaling,
    Linear,
    MultiStep,
    OneCycle,
    Polynomial,
    Step,
    WarmRestarts,
)
from .plateau import OnPlateau

__all__ = [
    "SCHEDULES", "Constant", "Cosine", "Cyclic", "Exponential", "Function", "InverseScaling",
    "Linear", "MultiStep", "OnPlateau", "OneCycle", "Polynomial", "Schedule", "Step",
    "WarmRestarts", "WarmUp", "as_schedule", "from_config",
]  # fmt: skip

SCHEDULES.update(
    (kind.__name__, kind)
    for kind in (
        Constant, Step, MultiStep, Exponential, Linear, Polynomial, Cosine, WarmRestarts, OneCycle,
        Cyclic, InverseScaling, OnPlateau, WarmUp,
    )
)  # fmt: skip


def from_config(config: dict[str, Any]) -> Schedule:
    """Return the schedule that `Schedule.config` describes.

    Examples
    --------
    >>> from_config(Cosine(0.1, steps=10).config())
    Cosine(lr=0.1, steps=10, lr_min=0.0)
    """
    arguments = dict(config)
    kind = SCHEDULES[names.look_up("schedule", arguments.pop("type"), SCHEDULES)]
    if kind is WarmUp:
        arguments["after"] = from_config(arguments["after"])
    return kind(**arguments)
