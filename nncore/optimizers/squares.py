"""Rules that divide the gradient by the root of its squares so far."""

from typing import Any

from ..described import argument
from .base import STYLES, Optimizer


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer 2011).

    ``s += g^2`` from ``s = initial``; ``theta -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) +
    eps)``; in the style of Keras ``theta -= lr * g / sqrt(s + eps)``.

    Parameters
    ----------
    lr : float, schedule or callable, default 0.01
        "keras": 0.001.
    lr_decay : float, default 0.0
        At least 0; PyTorch's alone.
    initial : float, default 0.0
        What the sum of squares starts from. "keras": 0.1.
    eps : float, default 1e-10
        "keras": 1e-7, inside the root.
    style : {"torch", "keras"}, optional
        Whose formulas and defaults; without one, PyTorch's.
    weight_decay, clip_norm, clip_value, ema, swa : optional
        As in `Optimizer`.

    Examples
    --------
    >>> import nncore
    >>> nncore.Adagrad(style="keras")
    Adagrad(lr=0.001, lr_decay=0.0, initial=0.1, eps=1e-07, style='keras')
    """

    lr: float | Any = 0.01
    lr_decay: float = 0.0
    initial: float = 0.0
    eps: float = 1e-10
    style: str | None = argument(default=None, kw_only=True)

    rule = "adagrad"
    _styles = {"keras": {"lr": 0.001, "initial": 0.1, "eps": 1e-7}}

    def check(self) -> None:
        super().check()
        self._check_choice("style", STYLES[:3])
        self._check_not_negative("lr_decay", "initial")
        if self.lr_decay and self.style == "keras":
            raise ValueError("style='keras' has no lr_decay; give lr a schedule")

    @property
    def hyper(self) -> tuple[float, ...]:
        if self.style == "keras":
            return (self._rate, 0.0, 0.0, self.initial + self.eps)
        return (self._rate, self.lr_decay, self.eps, self.initial)


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012).

    ``s = rho s + (1 - rho) g^2``, ``d = sqrt(u + eps) / sqrt(s + eps) * g``,
    ``u = rho u + (1 - rho) d^2``, ``theta -= lr * d``; PyTorch and Keras differ in defaults only.

    Parameters
    ----------
    lr : float, schedule or callable, default 1.0
        "keras": 0.001.
    rho : float, default 0.9
        In [0, 1). "keras": 0.95.
    eps : float, default 1e-6
        "keras": 1e-7.
    style : {"torch", "keras"}, optional
        Whose defaults; without one, PyTorch's.
    weight_decay, clip_norm, clip_value, ema, swa : optional
        As in `Optimizer`.

    Examples
    --------
    >>> import nncore
    >>> nncore.Adadelta(style="keras")
    Adadelta(lr=0.001, rho=0.95, eps=1e-07, style='keras')
    """

    lr: float | Any = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    style: str | None = argument(default=None, kw_only=True)

    rule = "adadelta"
    _styles = {"keras": {"lr": 0.001, "rho": 0.95, "eps": 1e-7}}

    def check(self) -> None:
        super().check()
        self._check_choice("style", STYLES[:3])
        self._check_fractions("rho")

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self._rate, self.rho, self.eps)


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012).

    ``s = rho s + (1 - rho) g^2``, ``d = g / (sqrt(s) + eps)``, ``theta -= lr * d``; centered, with
    ``a = rho a + (1 - rho) g``, the root is of ``s - a^2``; with momentum ``v = momentum * v + d``
    and ``theta -= lr * v``. In the style of Keras ``d = g / sqrt(s + eps)``, and the rate is inside
    ``v``: ``v = momentum * v + lr * d``, ``theta -= v``.

    Parameters
    ----------
    lr : float, schedule or callable, default 0.01
        "keras": 0.001.
    rho : float, default 0.99
        In [0, 1); PyTorch's alpha. "keras": 0.9.
    eps : float, default 1e-8
        "keras": 1e-7.
    momentum : float, default 0.0
        In [0, 1).
    centered : bool, default False
        Whether to divide by the running deviation, not by the root of the mean square. Where
        rounding makes ``s - a^2`` negative, it counts as 0.
    style : {"torch", "keras"}, optional
        Whose formulas and defaults; without one, PyTorch's.
    weight_decay, clip_norm, clip_value, ema, swa : optional
        As in `Optimizer`.

    Examples
    --------
    >>> import nncore
    >>> nncore.RMSprop(momentum=0.9, centered=True)
    RMSprop(lr=0.01, rho=0.99, eps=1e-08, momentum=0.9, centered=True)
    """

    lr: float | Any = 0.01
    rho: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    style: str | None = argument(default=None, kw_only=True)

    _styles = {"keras": {"lr": 0.001, "rho": 0.9, "eps": 1e-7}}

    def check(self) -> None:
        super().check()
        self._check_choice("style", STYLES[:3])
        self._check_fractions("rho", "momentum")
        self._check_bools("centered")

    @property
    def rule(self) -> str:
        centered, momentum = "_centered" * self.centered, "_momentum" * (self.momentum > 0)
        return f"rmsprop{centered}{momentum}"

    @property
    def hyper(self) -> tuple[float, ...]:
        keras = self.style == "keras"
        hyper = (self._rate, self.rho, *((0.0, self.eps) if keras else (self.eps, 0.0)))
        return (*hyper, self.momentum, float(keras)) if self.momentum > 0 else hyper
