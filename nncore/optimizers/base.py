"""What all update rules take, and what an optimizer is to a network."""

from typing import Any

from .. import _core
from ..described import Described

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..schedules import Schedule

OPTIMIZERS: "dict[str, type[Optimizer]]" = {}
"""By the names that files use, a subclass before its parent: filled by __init__.py."""

STYLES = (None, "torch", "keras", "sklearn")


class Optimizer(Described, kw_only=True):
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

    Examples
    --------
    >>> import nncore
    >>> optimizer = nncore.Adam(weight_decay=0.01, clip_norm=1.0, ema=0.999)
    >>> optimizer.lr = 3e-4  # in ``net.optimizer``, too: from the next epoch on
    >>> optimizer.clip_norm = -1
    Traceback (most recent call last):
        ...
    ValueError: clip_norm of Adam must be positive and finite, got -1.0
    """

    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    ema: float | None = None
    swa: int | None = None

    if TYPE_CHECKING:  # of subclasses

        @property
        def lr(self) -> Any: ...
        @lr.setter
        def lr(self, lr: Any) -> None: ...  # a schedule or a function, too
        @property
        def eps(self) -> float: ...

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
                from .. import schedules

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


def styled(style: str | None) -> str:
    """Return whose formulas a style has."""
    return "keras" if style in ("keras", "sklearn") else "torch"
