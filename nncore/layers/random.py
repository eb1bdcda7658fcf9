"""Layers that are random in training: dropout and noise."""

import math
from typing import Any

from .base import Layer, Step, flag, real

_RATE = "of at least 0 and below 1, such as 0.2"


class Dropout(Layer):
    """Inverted dropout: in training ``y = m x / (1 - rate)``, m 0 with probability `rate`, else 1.

    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014. Otherwise ``y = x``:
    `predict`, `evaluate` and `loss_and_gradient` drop nothing.

    Parameters
    ----------
    rate : float
        The probability of being dropped, at least 0 and below 1.
    always : bool, default False
        Whether `predict` drops as well, with new masks in each call: the spread of its outputs is
        that of Monte Carlo dropout (Gal and Ghahramani 2016). `evaluate` and `loss_and_gradient`
        still drop nothing.

    Notes
    -----
    A mask is a function of the network's seed, the number of the training step (for `predict`, of
    the call of it) since the network was made, the layer, the row in the batch and the column
    (Philox4x32-10; Salmon et al. 2011). So the same seed gives the same masks with any number of
    threads; copies and files go on where the network was.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> net = nncore.Network(
    ...     1, nncore.Dense(500, "tanh"), nncore.Dropout(0.1, always=True), nncore.Dense(1), seed=0)
    >>> samples = np.stack([net.predict([[0.5]]) for _ in range(100)])
    >>> bool(samples.std() > 0.01)
    True
    """

    def __init__(self, rate: float, *, always: bool = False) -> None:
        self.rate = real(rate, "rate of Dropout", lambda r: 0 <= r < 1, _RATE)
        self.always = flag(always, "always of Dropout")

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g}{', always=True' if self.always else ''})"

    def lower(self, n_in: int, offset: int) -> list[Step]:
        return [Step("dropout", n_in, n_in, values=(self.rate, float(self.always)))]

    def config(self) -> dict[str, Any]:
        return {"type": "dropout", "rate": self.rate, "always": self.always}


class GaussianNoise(Layer):
    """In training ``y = x + std n`` with independent standard normal n; otherwise ``y = x``.

    Parameters
    ----------
    std : float
        The standard deviation, at least 0.

    Notes
    -----
    The noise depends on what the masks of `Dropout` depend on. It is Box and Muller's transform of
    numbers with 23 bits, so none of it is beyond 5.77 standard deviations.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(3, nncore.GaussianNoise(0.1), nncore.Dense(1))
    """

    def __init__(self, std: float) -> None:
        self.std = real(
            std, "std of GaussianNoise", lambda s: 0 <= s < math.inf, "of at least 0, such as 0.1"
        )

    def __repr__(self) -> str:
        return f"GaussianNoise({self.std:g})"

    def lower(self, n_in: int, offset: int) -> list[Step]:
        return [Step("noise", n_in, n_in, values=(self.std,))]

    def config(self) -> dict[str, Any]:
        return {"type": "gaussian_noise", "std": self.std}
