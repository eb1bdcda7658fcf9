"""The NumPy twin of the C engine: what every operation means, written a second time.

It is there to be read: each formula takes a few lines. The tests hold the C engine against it, so
it shares no code with it, imports only NumPy, and works in float64 as in float32. The benchmarks
race against it, so it is what a careful NumPy user would write: buffers are allocated once, a
training step works in place, and no operation is done that is not needed.

`ACTIVATIONS`, `LOSSES` and `OPTIMIZERS` have the keys of the tables of the C engine, and
`ReferenceEngine` has the methods of its engine, so a network can be driven by either.
"""

from .activations import ACTIVATIONS, LOG_SOFTMAX, SOFTMAX, Activation
from .engine import BLOCK, ReferenceEngine
from .losses import LOSSES, Loss
from .optimizers import OPTIMIZERS, Optimizer

__all__ = [
    "ACTIVATIONS",
    "BLOCK",
    "LOG_SOFTMAX",
    "LOSSES",
    "OPTIMIZERS",
    "SOFTMAX",
    "Activation",
    "Loss",
    "Optimizer",
    "ReferenceEngine",
]
