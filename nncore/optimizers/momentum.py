"""Gradient descent with and without momentum, and by the sign of the momentum."""

from typing import Any

from ..described import argument
from .base import STYLES, Optimizer, styled


class SGD(Optimizer):
    """Gradient descent, by batches or sample by sample, with or without momentum.

    ``theta -= lr * g``; with momentum ``v = momentum * v + g`` and ``theta -= lr * v``; with
    Nesterov's, ``theta -= lr * (g + momentum * v)``. PyTorch's convention: ``v`` starts as the
    first gradient. In that of Keras and scikit-learn the rate is inside ``v``, which differs where
    the rate changes: ``v = momentum * v + lr * g`` and ``theta -= v``, or with Nesterov's
    ``theta -= momentum * v + lr * g``.

    Parameters
    ----------
    lr : float, schedule or callable, default 0.01
        Learning rate, > 0; below 1.2e-38 it is zero in float32. "torch" and "sklearn": 0.001.
    momentum : float, default 0.0
        In [0, 1). "sklearn": 0.9.
    nesterov : bool, default False
        Nesterov's momentum; needs ``momentum > 0``. "sklearn": True.
    dampening : float, default 0.0
        ``v = momentum * v + (1 - dampening) * g`` after the first step; in [0, 1], needs momentum,
        and neither Nesterov's nor the styles of Keras and scikit-learn.
    style : {"torch", "keras", "sklearn"}, optional
        Whose formulas and defaults; without one, PyTorch's formulas and the defaults above.
    weight_decay, clip_norm, clip_value, ema, swa : optional
        As in `Optimizer`.

    Examples
    --------
    >>> import nncore
    >>> nncore.SGD(0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9, nesterov=False)
    """

    lr: float | Any = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    style: str | None = argument(default=None, kw_only=True)

    _quiet = Optimizer._quiet | {"dampening"}
    _styles = {
        "torch": {"lr": 0.001},
        "sklearn": {"lr": 0.001, "momentum": 0.9, "nesterov": True},
    }

    def check(self) -> None:
        super().check()
        self._check_choice("style", STYLES)
        self._check_fractions("momentum")
        self._check_bools("nesterov")
        if not 0 <= self.dampening <= 1:
            raise self._refusal("dampening", "in [0, 1]")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs a momentum above 0, such as momentum=0.9")
        if self.dampening and (self.momentum == 0 or self.nesterov):
            raise ValueError("dampening needs a momentum above 0 that is not Nesterov's")
        if self.dampening and styled(self.style) == "keras":
            raise ValueError(f"style={self.style!r} has no dampening")

    @property
    def rule(self) -> str:
        if self.momentum == 0:
            return "sgd"
        if styled(self.style) == "keras":
            return "velocity_nesterov" if self.nesterov else "velocity"
        return "nesterov" if self.nesterov else "dampened" if self.dampening else "momentum"

    @property
    def hyper(self) -> tuple[float, ...]:
        if self.momentum == 0:
            return (self._rate,)
        dampening = (self.dampening,) if self.dampening else ()
        return (self._rate, self.momentum, *dampening)


class Lion(Optimizer):
    """Lion (Chen and others 2023): every parameter moves by the rate.

    ``theta -= lr * sign(beta1 m + (1 - beta1) g)``, then ``m = beta2 m + (1 - beta2) g``.

    Parameters
    ----------
    lr : float, schedule or callable, default 0.0001
        The paper advises a third to a tenth of Adam's. (Keras' default is 0.001.)
    beta1, beta2 : float, default 0.9 and 0.99
        In [0, 1).
    weight_decay, clip_norm, clip_value, ema, swa : optional
        As in `Optimizer`. The paper's weight decay is three to ten times that of AdamW.

    Examples
    --------
    >>> import nncore
    >>> nncore.Lion(1e-4, weight_decay=0.1)
    Lion(lr=0.0001, beta1=0.9, beta2=0.99, weight_decay=0.1)
    """

    lr: float | Any = 0.0001
    beta1: float = 0.9
    beta2: float = 0.99

    rule = "lion"

    def check(self) -> None:
        super().check()
        self._check_fractions("beta1", "beta2")

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self._rate, self.beta1, self.beta2)
