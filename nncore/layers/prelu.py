"""The rectifier whose slope below zero is learned."""

from typing import Any

import numpy as np

from .base import Layer, Step, flag, view


class PReLU(Layer):
    """``y = x`` where x > 0, else ``slope x``, with learned slopes.

    He, Zhang, Ren and Sun 2015. The derivative with respect to a slope is the sum of
    ``min(0, x)`` times that with respect to y; with respect to x it is 1 above 0, and `slope` at 0
    and below.

    Parameters
    ----------
    shared : bool, default False
        Whether all units share one slope; otherwise each has its own.
    trainable : bool, default True
        Whether training changes the slopes.
    lr_scale : float, default 1.0
        Multiplies the learning rate of this layer.

    Attributes
    ----------
    trainable, lr_scale
        As above; they may be changed in ``net.layers`` at any time.
    slope : numpy.ndarray, shape (n_in,), or (1,) if shared
        0.25 at the start: a writable view of ``net.theta``; only in ``net.layers``. No weight decay
        touches it.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(2, nncore.PReLU(), nncore.Dense(1))
    >>> net.layers[0].slope
    array([0.25, 0.25], dtype=float32)
    """

    bends = True
    settable = ("trainable", "lr_scale")

    def __init__(
        self, *, shared: bool = False, trainable: bool = True, lr_scale: float = 1.0
    ) -> None:
        self.shared = flag(shared, "shared of PReLU")
        self.trainable, self.lr_scale = trainable, lr_scale

    def __repr__(self) -> str:
        shared = ", shared=True" if self.shared else ""
        return f"PReLU({(shared + self._shown_settings()).removeprefix(', ')})"

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return {"slope": (1 if self.shared else n_in,)}

    slope: np.ndarray | Any = view("slope")

    def initialize(self, rng: "np.random.Generator") -> None:
        self.slope = 0.25

    def lower(self, n_in: int, offset: int) -> list[Step]:
        return [Step("prelu", n_in, n_in, w=offset, other=1 if self.shared else n_in)]

    def config(self) -> dict[str, Any]:
        return {"type": "prelu", "shared": self.shared} | self.settings()
