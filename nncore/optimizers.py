"""Optimizers: descriptions of an update rule of the engine and its hyper-parameters.

What all of them take by name: ``weight_decay``, ``clip_norm``, ``clip_value``, ``ema``, ``swa``,
as `Optimizer` says. The learning rate may be a number, one of `nncore.schedules`, or a function of
the number of updates done. All numbers are rounded to the network's dtype where they are used: a
rate below 1.2e-38 is zero in float32.
"""

from collections.abc import Callable
from typing import Any

from . import _core
from .described import Described

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .schedules import Schedule
    from .trainers import Trainer
del TYPE_CHECKING

STYLES = (None, "torch", "keras", "sklearn")


class Optimizer(Described):
    """Base of all optimizers.

    ``rule`` names a row of the engine's table, ``hyper`` gives its hyper-parameters in the row's
    order. An attribute that is changed is checked, and counts from the next epoch on; the state is
    kept as long as the rule stays the same.

    Parameters
    ----------
    weight_decay : float, default 0.0
        Decoupled: weights, not biases, are multiplied by ``1 - lr * weight_decay`` before each
        update (Loshchilov and Hutter 2019), so ``SGD(weight_decay=...)`` is SGDW. An L2 penalty
        in the loss, what PyTorch's SGD and Adam call weight_decay, is ``Dense(l2=...)``.
    clip_norm : float, optional
        A gradient with a larger 2-norm, over all parameters that are trained and with the
        penalties in it, is scaled to it. Large gradients then go through memory once more.
    clip_value : float, optional
        Each element of the gradient is limited to plus and minus this. Not with `clip_norm`.
    ema : float, optional
        Keep an average of the parameters: ``average = ema * average + (1 - ema) * theta`` after
        each update, from ``average = theta`` after the first; in [0, 1), such as 0.999.
        `Network.averaged` returns the network with it.
    swa : int, optional
        Keep the mean of the parameters at the end of each epoch of `Network.fit` from this one on
        (stochastic weight averaging, Izmailov and others 2018); epochs are counted from 1 since
        the optimizer was given to the network. Not with `ema`.
    """

    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    ema: float | None = None
    swa: int | None = None

    _by_name = _quiet = frozenset(
        ("weight_decay", "clip_norm", "clip_value", "ema", "swa", "style")
    )

    lr: float | Any  # it may be set to a schedule or a function
    eps: float
    full_batch = False  # unlike `nncore.trainers`

    @property
    def rule(self) -> str:
        """The name of a row of the engine's table of update rules."""
        raise NotImplementedError

    @property
    def hyper(self) -> tuple[float, ...]:
        """The hyper-parameters of `rule`, in the row's order."""
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        _core.touch()

    def check(self) -> None:
        self._check_rate()
        own = self._arguments.items()
        self._to_floats(*(n for n, default in own if type(default) is float and n != "lr"))
        self._check_not_negative("weight_decay")
        for name in ("clip_norm", "clip_value", "ema"):
            if getattr(self, name) is not None:
                self._to_floats(name)
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                self._check_positive(name)
        if self.ema is not None:
            self._check_fractions("ema")
        if self.swa is not None:
            self._check_counts("swa")
            if self.ema is not None:
                raise ValueError("an average is kept by ema or by swa, not by both")
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("a gradient is clipped by clip_norm or by clip_value, not by both")
        if "eps" in self._arguments:
            self._check_positive("eps")
            if self.eps < 1.2e-38:  # it would be zero in float32, and a zero gradient give NaN
                name = type(self).__name__
                raise ValueError(f"eps of {name} must be at least 1.2e-38, got {self.eps!r}")

    def _check_rate(self) -> None:
        """lr: a number, a schedule, or a function."""
        lr = vars(self).get("lr", 1.0)  # the base alone has none
        if type(lr) is not float:
            if callable(lr):
                from . import schedules

                vars(self)["lr"] = schedules.as_schedule(lr)
                return
            wanted = "a number, a schedule or a function of the updates done"
            vars(self)["lr"] = self._as_float("lr", lr, wanted)
        if "lr" in self._arguments:
            self._check_positive("lr")

    @property
    def average(self) -> str | None:
        """Which average of the parameters is kept: "ema", "swa" or None."""
        return "ema" if self.ema else "swa" if self.swa else None

    @property
    def schedule(self) -> "Schedule | None":
        """The schedule of the rate, or None if it is a number."""
        lr: Any = self.lr
        return None if type(lr) is float else lr

    @property
    def _rate(self) -> float:
        """The rate in `hyper`; a schedule's rates are given to the engine beside it."""
        return self.lr if type(self.lr) is float else 1.0

    def config(self) -> dict[str, Any]:
        """Return the arguments that make this optimizer again, as JSON values.

        A subclass is described as the one of this module that it is: files name no other class.

        Raises
        ------
        ValueError
            If the learning rate is a function: no file can hold one.
        """
        kind = next(kind for kind in OPTIMIZERS.values() if isinstance(self, kind))
        config = {"type": kind.__name__} | self._shown(kind)
        if self.schedule is not None:
            config["lr"] = self.schedule.config()
        return config


def _styled(style: str | None) -> str:
    return "keras" if style in ("keras", "sklearn") else "torch"


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
    style: str | None = None

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
        if self.dampening and _styled(self.style) == "keras":
            raise ValueError(f"style={self.style!r} has no dampening")

    @property
    def rule(self) -> str:
        if self.momentum == 0:
            return "sgd"
        if _styled(self.style) == "keras":
            return "velocity_nesterov" if self.nesterov else "velocity"
        return "nesterov" if self.nesterov else "dampened" if self.dampening else "momentum"

    @property
    def hyper(self) -> tuple[float, ...]:
        if self.momentum == 0:
            return (self._rate,)
        dampening = (self.dampening,) if self.dampening else ()
        return (self._rate, self.momentum, *dampening)


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
    style: str | None = None

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
        return f"{rule}_keras" if _styled(self.style) == "keras" else rule

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

    weight_decay: float = 0.01

    _quiet = Adam._quiet - {"weight_decay"}
    _styles = {"keras": {"eps": 1e-7, "weight_decay": 0.004}}

    def check(self) -> None:
        super().check()
        self._check_choice("style", STYLES[:3])


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
    """

    lr: float | Any = 0.01
    lr_decay: float = 0.0
    initial: float = 0.0
    eps: float = 1e-10
    style: str | None = None

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
    """

    lr: float | Any = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    style: str | None = None

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
    """

    lr: float | Any = 0.01
    rho: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    style: str | None = None

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
    """

    lr: float | Any = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    style: str | None = None

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
    """

    lr: float | Any = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum_decay: float = 0.004
    style: str | None = None

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


# By the names that files use; a subclass before its parent.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__: kind
    for kind in (SGD, AdamW, Adam, Adagrad, Adadelta, RMSprop, Adamax, NAdam, RAdam, Lion)
}

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
    from . import trainers  # which many programs never need

    return trainers.as_trainer(optimizer, _BY_NAME)
