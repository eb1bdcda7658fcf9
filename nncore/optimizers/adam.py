"""Adam and what has been made of it."""

from typing import Any

from ..described import argument
from .base import STYLES, Optimizer, styled


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with PyTorch's placement of ``eps``.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2``,
    ``theta -= lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)``. Keras and scikit-learn
    add eps to the root of ``v`` that is not corrected:
    ``theta -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps)``.

    Parameters
    ----------
    lr : float, schedule or callable, default 0.001
        Learning rate, > 0; below 1.2e-38 it is zero in float32.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the running means of the gradient and of its square, in [0, 1).
    eps : float, default 1e-8
        Added to the root, at least 1.2e-38. "keras": 1e-7.
    amsgrad : bool, default False
        Divide by the largest ``v`` so far (Reddi, Kale and Kumar 2018).
    style : {"torch", "keras", "sklearn"}, optional
        Whose formulas and defaults; without one, PyTorch's.
    weight_decay, clip_norm, clip_value, ema, swa : optional
        As in `Optimizer`.

    Examples
    --------
    >>> import nncore
    >>> nncore.Adam(3e-4).lr
    0.0003
    >>> nncore.Adam(style="keras").eps
    1e-07
    """

    lr: float | Any = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    amsgrad: bool = False
    style: str | None = argument(default=None, kw_only=True)

    _quiet = Optimizer._quiet | {"amsgrad"}
    _styles = {"keras": {"eps": 1e-7}}

    def check(self) -> None:
        super().check()
        self._check_choice("style", STYLES)
        self._check_fractions("beta1", "beta2")
        self._check_bools("amsgrad")
        if self.amsgrad and self.style == "sklearn":
            raise ValueError("style='sklearn' has no amsgrad")

    @property
    def rule(self) -> str:
        rule = "amsgrad" if self.amsgrad else "adam"
        return f"{rule}_keras" if styled(self.style) == "keras" else rule

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self._rate, self.beta1, self.beta2, self.eps)


class AdamW(Adam):
    """`Adam` with decoupled weight decay (Loshchilov and Hutter 2019).

    Weights, not biases, are multiplied by ``1 - lr * weight_decay`` before each update.

    Parameters
    ----------
    lr, beta1, beta2, eps, amsgrad, clip_norm, clip_value, ema, swa : optional
        As in `Adam`.
    weight_decay : float, default 0.01
        "keras": 0.004.
    style : {"torch", "keras"}, optional
        Whose formulas and defaults; without one, PyTorch's.

    Examples
    --------
    >>> import nncore
    >>> nncore.AdamW().weight_decay
    0.01
    """

    weight_decay = 0.01

    _quiet = Adam._quiet - {"weight_decay"}
    _styles = {"keras": {"eps": 1e-7, "weight_decay": 0.004}}

    def check(self) -> None:
        super().check()
        self._check_choice("style", STYLES[:3])


class Adamax(Optimizer):
    """Adamax (Kingma and Ba 2015, section 7.1).

    ``m = beta1 m + (1 - beta1) g``, ``u = max(beta2 u, |g| + eps)``,
    ``theta -= lr / (1 - beta1^t) * m / u``; in the style of Keras ``u = max(beta2 u, |g|)`` and
    ``m / (u + eps)``.

    Parameters
    ----------
    lr : float, schedule or callable, default 0.002
        "keras": 0.001.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1).
    eps : float, default 1e-8
        "keras": 1e-7.
    style : {"torch", "keras"}, optional
        Whose formulas and defaults; without one, PyTorch's.
    weight_decay, clip_norm, clip_value, ema, swa : optional
        As in `Optimizer`.

    Examples
    --------
    >>> import nncore
    >>> nncore.Adamax(style="keras")
    Adamax(lr=0.001, beta1=0.9, beta2=0.999, eps=1e-07, style='keras')
    """

    lr: float | Any = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    style: str | None = argument(default=None, kw_only=True)

    rule = "adamax"
    _styles = {"keras": {"lr": 0.001, "eps": 1e-7}}

    def check(self) -> None:
        super().check()
        self._check_choice("style", STYLES[:3])
        self._check_fractions("beta1", "beta2")

    @property
    def hyper(self) -> tuple[float, ...]:
        eps = (self.eps, 0.0) if self.style == "keras" else (0.0, self.eps)
        return (self._rate, self.beta1, self.beta2, *eps)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016).

    ``m`` and ``v`` as in `Adam`; ``mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)``,
    ``theta -= lr ((1 - mu_t) / (1 - mu_1 ... mu_t) g + mu_(t+1) / (1 - mu_1 ... mu_(t+1)) m) /
    (sqrt(v / (1 - beta2^t)) + eps)``.

    Parameters
    ----------
    lr : float, schedule or callable, default 0.002
        "keras": 0.001.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1).
    eps : float, default 1e-8
        "keras": 1e-7.
    momentum_decay : float, default 0.004
        At least 0. "keras": 1.
    style : {"torch", "keras"}, optional
        Whose defaults; without one, PyTorch's.
    weight_decay, clip_norm, clip_value, ema, swa : optional
        As in `Optimizer`.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(3, nncore.Dense(1), optimizer=nncore.NAdam(momentum_decay=0.01))
    """

    lr: float | Any = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum_decay: float = 0.004
    style: str | None = argument(default=None, kw_only=True)

    rule = "nadam"
    _styles = {"keras": {"lr": 0.001, "eps": 1e-7, "momentum_decay": 1.0}}

    def check(self) -> None:
        super().check()
        self._check_choice("style", STYLES[:3])
        self._check_fractions("beta1", "beta2")
        self._check_not_negative("momentum_decay")

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self._rate, self.beta1, self.beta2, self.eps, self.momentum_decay)


class RAdam(Optimizer):
    """Rectified Adam (Liu and others 2020), as PyTorch has it.

    ``m`` and ``v`` as in `Adam`; with ``n = 2 / (1 - beta2) - 1`` and
    ``n_t = n - 2 t beta2^t / (1 - beta2^t)``: while ``n_t <= 5``,
    ``theta -= lr m / (1 - beta1^t)``, then ``theta -= lr r_t m / (1 - beta1^t) sqrt(1 - beta2^t) /
    (sqrt(v) + eps)``, where ``r_t^2 = (n_t - 4) (n_t - 2) n / ((n - 4) (n - 2) n_t)``.

    Parameters
    ----------
    lr : float, schedule or callable, default 0.001
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1).
    eps : float, default 1e-8
    weight_decay, clip_norm, clip_value, ema, swa : optional
        As in `Optimizer`.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(3, nncore.Dense(1), optimizer=nncore.RAdam(weight_decay=0.01))
    """

    lr: float | Any = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    rule = "radam"

    def check(self) -> None:
        super().check()
        self._check_fractions("beta1", "beta2")

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self._rate, self.beta1, self.beta2, self.eps)
