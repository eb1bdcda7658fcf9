"""Callbacks of `nncore.Network.fit`, with the names, arguments and meaning that Keras gives them.

>>> import nncore
>>> from nncore.callbacks import EarlyStopping, ReduceLROnPlateau
>>> X, y = nncore.datasets.load_digits()
>>> net = nncore.Network(64, nncore.Dense(32, "relu"), nncore.Dense(10, "softmax"), seed=0)
>>> history = net.fit(X / 16, y, epochs=100, validation_split=0.2, verbose=False, callbacks=[
...     ReduceLROnPlateau(patience=3), EarlyStopping(patience=8, restore_best_weights=True)])
>>> history.stop_reason, min(history["val_loss"]) < 0.2
('EarlyStopping', True)

An epoch is one call of C, so the hooks are those between epochs (`Callback`). `Checkpoint` is what
Keras calls BackupAndRestore: training goes on where it was killed. Keras' History needs no
callback: `fit` returns one, and callbacks have it as ``self.history``.
"""

import importlib
from typing import Any

from .base import HOOKS, Callback, Hooks, check_callbacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .monitored import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TerminateOnNaN
    from .simple import CSVLogger, LambdaCallback, LearningRateScheduler
del TYPE_CHECKING

__all__ = [
    "HOOKS", "CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "Hooks", "LambdaCallback",
    "LearningRateScheduler", "ModelCheckpoint", "ReduceLROnPlateau", "TerminateOnNaN",
    "check_callbacks",
]  # fmt: skip

_LATER = {
    "Checkpoint": "checkpoint", "EarlyStopping": "monitored", "ModelCheckpoint": "monitored",
    "ReduceLROnPlateau": "monitored", "TerminateOnNaN": "monitored", "CSVLogger": "simple",
    "LambdaCallback": "simple", "LearningRateScheduler": "simple",
}  # fmt: skip
_OF_KERAS = {
    "BackupAndRestore": "it is nncore.callbacks.Checkpoint",
    "History": "fit returns the history, and callbacks have it as self.history",
    "ProgbarLogger": "it is verbose=1 of fit",
    "SwapEMAWeights": "give the optimizer ema=0.999, and use net.averaged()",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    why = f": {_OF_KERAS[name]}" if name in _OF_KERAS else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{why}")
