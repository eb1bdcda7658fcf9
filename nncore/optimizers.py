"""Optimizers: descriptions of an update rule of the engine and its hyper-parameters."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, fields

from . import _core, names


class Optimizer:
    """Base of all optimizers.

    ``rule`` names a row of the engine's table, ``hyper`` gives its hyper-parameters in the row's
    order. An attribute that is changed is checked, and counts from the next epoch on; the state is
    kept as long as the rule stays the same.
    """

    rule: str
    hyper: tuple[float, ...]

    def __setattr__(self, name, value):
        """Refuse names that nothing reads, and changes that `check` refuses."""
        known = getattr(self, "__dataclass_fields__", {})
        if name not in known and not name.startswith("_") and not _declares(type(self), name):
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name!r} to set. Known: "
                f"{', '.join(known)}. A subclass must declare its own."
            )
        changes, before = name in vars(self), vars(self).get(name)  # __init__ sets, then checks
        super().__setattr__(name, value)
        if changes and name in known:
            try:
                self.check()
            except BaseException:
                super().__setattr__(name, before)
                raise

    def check(self):
        """Raise ValueError if an attribute has no meaning."""
        raise NotImplementedError

    def config(self):
        """Return the arguments that make this optimizer again, as JSON values.

        A subclass is described as the `SGD` or `Adam` it is: files name no other class.
        """
        kind = next(kind for kind in OPTIMIZERS.values() if isinstance(self, kind))
        return {"type": kind.__name__} | {f.name: getattr(self, f.name) for f in fields(kind)}


def _declares(kind, name):
    """Whether a class beyond those of this module has an attribute or annotation of this name."""
    others = (k for k in kind.__mro__ if k.__module__ not in (__name__, "builtins"))
    return any(name in vars(k) or name in inspect.get_annotations(k) for k in others)


def _check(optimizer, *, rates=(), fractions=()):
    for field in fields(optimizer):
        value = getattr(optimizer, field.name)
        if isinstance(field.default, float):
            value = _as_float(optimizer, field.name, value)
            object.__setattr__(optimizer, field.name, value)  # its own would check again
    name = type(optimizer).__name__
    for rate in rates:
        value = getattr(optimizer, rate)
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{rate} of {name} must be positive and finite, got {value!r}")
    for fraction in fractions:
        value = getattr(optimizer, fraction)
        if not 0 <= value < 1:
            raise ValueError(f"{fraction} of {name} must be at least 0 and below 1, got {value!r}")


def _as_float(optimizer, name, value):
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name} of {type(optimizer).__name__} must be a number, got {value!r}"
        ) from None


@dataclass
class SGD(Optimizer):
    """Gradient descent, by batches or sample by sample, with or without momentum.

    ``theta -= lr * g``; with momentum ``v = momentum * v + g`` and ``theta -= lr * v``; with
    Nesterov's, ``theta -= lr * (g + momentum * v)``. PyTorch's convention: ``v`` starts as the
    first gradient.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, > 0.
    momentum : float, default 0.0
        In [0, 1).
    nesterov : bool, default False
        Nesterov's momentum; needs ``momentum > 0``.

    Examples
    --------
    >>> import nncore
    >>> nncore.SGD(0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9, nesterov=False)
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self):
        self.check()

    def check(self):
        _check(self, rates=["lr"], fractions=["momentum"])
        if not isinstance(self.nesterov, bool):
            raise ValueError(f"nesterov of SGD must be True or False, got {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs a momentum above 0, such as momentum=0.9")

    @property
    def rule(self):
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def hyper(self):
        return (self.lr,) if self.momentum == 0 else (self.lr, self.momentum)


@dataclass
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with PyTorch's placement of ``eps``.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2``,
    ``theta -= lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)``.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate, > 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the running means of the gradient and of its square, in [0, 1).
    eps : float, default 1e-8
        Added to the root, at least 1.2e-38.

    Examples
    --------
    >>> import nncore
    >>> nncore.Adam(3e-4).lr
    0.0003
    """

    lr: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    rule = "adam"

    def __post_init__(self):
        self.check()

    def check(self):
        _check(self, rates=["lr", "eps"], fractions=["beta1", "beta2"])
        if self.eps < 1.2e-38:  # it would round to zero in float32, and a zero gradient to NaN
            raise ValueError(f"eps of Adam must be at least 1.2e-38, got {self.eps!r}")

    @property
    def hyper(self):
        return (self.lr, self.beta1, self.beta2, self.eps)


OPTIMIZERS = {"SGD": SGD, "Adam": Adam}

_BY_NAME = {
    "sgd": SGD,
    "momentum": lambda: SGD(momentum=_core.OPTIMIZERS["momentum"]["hyper"]["mu"]),
    "nesterov": lambda: SGD(momentum=_core.OPTIMIZERS["nesterov"]["hyper"]["mu"], nesterov=True),
    "adam": Adam,
}


def as_optimizer(optimizer):
    """Return an `Optimizer` from a name or from one."""
    if isinstance(optimizer, tuple(OPTIMIZERS.values())):  # others could not be saved
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        raise ValueError(f"optimizer is a class; write {optimizer.__name__}() with brackets")
    return _BY_NAME[names.look_up("optimizer", optimizer, _BY_NAME)]()
