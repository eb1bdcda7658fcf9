"""The fully connected layer."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..activation import Activation, as_activation, from_config
from ..initializer import Initializer, default_for
from ..validation import as_parameters
from .base import Layer, Step, Tuning
from .base import copy_into as _copy_into

_INIT = "the name of an initializer, an Initializer, a function (rng, n_in, n_out), or an array"

Start = str | Initializer | ArrayLike | Callable[..., ArrayLike] | None


class Dense(Layer):
    """A fully connected layer: ``y = f(x W + b)``.

    Parameters
    ----------
    n_out : int
        Number of outputs (units).
    activation : str or nncore.Activation, default "identity"
        ``f``: "celu", "elliot", "elu", "exponential", "gaussian", "gelu", "gelu_tanh",
        "hard_shrink", "hard_sigmoid", "hard_swish", "hardtanh", "identity", "leaky_relu",
        "log_sigmoid", "mish", "relu", "relu6", "satlin", "selu", "sigmoid", "silu", "sin",
        "softplus", "softshrink", "softsign", "squareplus", "tanh", "tanhshrink", "threshold",
        "tribas"; in the last layer also "softmax" and "log_softmax". Aliases are understood: see
        `nncore.activations`. With other parameters than the defaults, `nncore.Activation`; your
        own by the name given to `nncore.register_activation`.
    bias : bool, default True
        Whether there is a ``b``.
    init : str, nncore.Initializer, array_like or callable, optional
        How ``W`` starts: a name of `nncore.initializers`, one with parameters such as
        ``nncore.Initializer("he_normal", slope=0.2)``, an array of shape ``(n_in, n_out)``, or a
        function ``init(rng, n_in, n_out)`` that returns one, where ``rng`` is the network's
        `numpy.random.Generator`. By default what suits the activation: ``"he_uniform"`` under relu
        and what is like it, ``"lecun_uniform"`` under selu, else ``"glorot_uniform"``
        (`nncore.initializer.DEFAULTS`).
    bias_init : float, str, nncore.Initializer, array_like or callable, optional
        How ``b`` starts: a number, an array of shape ``(n_out,)``, or as `init`. By default zero,
        but an `init` of "nguyen_widrow", "torch" or "sklearn" draws the biases too.
    l1, l2 : float, default 0.0
        Penalties: ``l1 * sum(abs(W)) + l2 / 2 * sum(W**2)`` is part of the loss, of weights and
        not of biases. ``l2`` is PyTorch's weight_decay of SGD and Adam, twice Keras' ``L2(...)``,
        and scikit-learn's ``alpha / n_samples``.
    max_norm : float, optional
        The largest 2-norm of the weights into one unit, a column of W, after an update.
    trainable : bool, default True
        Whether training changes W and b.
    lr_scale : float, default 1.0
        Multiplies the learning rate of this layer.

    Attributes
    ----------
    l1, l2, max_norm, trainable, lr_scale
        As above; they may be changed in ``net.layers`` at any time.
    W : numpy.ndarray, shape (n_in, n_out)
        Weights, a writable view of ``net.theta``; only in ``net.layers``.
    b : numpy.ndarray, shape (n_out,), or None
        Biases, likewise.
    function : nncore.Activation
        ``f`` with its parameters.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(3, nncore.Dense(2, "sigmoid"), nncore.Dense(1), seed=0)
    >>> net.layers[0].W.shape
    (3, 2)
    >>> net.layers[0].W[0, 0] = 0.5
    >>> float(net.theta[0])
    0.5
    """

    mixes = True
    settable = Tuning._fields

    def __init__(
        self, n_out: int, activation: str | Activation = "identity", *, bias: bool = True,
        init: "Start" = None, bias_init: "Start" = None, l1: float = 0.0, l2: float = 0.0,
        max_norm: float | None = None, trainable: bool = True, lr_scale: float = 1.0,
    ) -> None:  # fmt: skip
        self.n_out = positive_int(n_out, "n_out of Dense")
        self.activation = activation
        if not isinstance(bias, (bool, np.bool_)):
            raise ValueError(f"bias of Dense must be True or False, got {bias!r}")
        self.bias = bool(bias)
        self.init = default_for(self.activation)
        if init is not None:
            self.init = _as_start(init, "init", f"{_INIT} (n_in, n_out) of numbers")
        self.bias_init = None
        if bias_init is not None:
            self.bias_init = _as_start(bias_init, "bias_init", f"a number, {_INIT} (n_out,)")
            if not self.bias:
                raise ValueError("bias_init of Dense has no meaning with bias=False: leave one out")
            if isinstance(self.bias_init, Initializer):
                self.bias_init.check_bias()
        self.l1, self.l2, self.max_norm = l1, l2, max_norm
        self.trainable, self.lr_scale = trainable, lr_scale

    def __repr__(self) -> str:
        function = repr(self.activation)
        if str(self.function) != self.activation:
            function = f"Activation({function}, {str(self.function).partition('(')[2]}"
        bias = "" if self.bias else ", bias=False"
        return f"Dense({self.n_out}, {function}{bias}{self._shown_settings()})"

    @property
    def activation(self) -> str:
        """The name of the activation."""
        return self._function.name

    @activation.setter
    def activation(self, value: Any) -> None:
        self._function = as_activation(value)

    @property
    def function(self) -> Activation:
        return self._function

    def n_outputs(self, n_in: int) -> int:
        return self.n_out

    @property
    def bends(self) -> bool:
        return self.activation != "identity"

    @property
    def without_d2f(self) -> str | None:
        own = self.function.own
        return own.name if own and own.d2f is None else None

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"W": (n_in, self.n_out)}
        return shapes | {"b": (self.n_out,)} if self.bias else shapes

    def lower(self, n_in: int, offset: int) -> list[Step]:
        b = offset + n_in * self.n_out if self.bias else -1
        if self.function.own:
            f = Step("called", self.n_out, self.n_out, function=self.function.own)
            return [Step("dense", n_in, self.n_out, w=offset, b=b), f]
        parameters = tuple(self.function.parameters.values())
        return [Step("dense", n_in, self.n_out, self.activation, parameters, offset, b)]

    def tunings(self) -> list[Tuning]:
        return super().tunings() + ([Tuning()] if self.function.own else [])

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> "Dense":
        if "activation" in arguments:
            arguments = arguments | {"activation": from_config(arguments["activation"])}
        return cls(**arguments, init="zeros")

    def config(self) -> dict[str, Any]:
        return {
            "type": "dense",
            "n_out": self.n_out,
            "activation": self.function.config(),
            "bias": self.bias,
            **self.settings(),
        }

    @property
    def W(self) -> np.ndarray:
        return self._bound()[: self._n_in * self.n_out].reshape(self._n_in, self.n_out)

    @W.setter
    def W(self, value: "ArrayLike") -> None:
        _copy_into(self.W, value, "W")

    @property
    def b(self) -> np.ndarray | None:
        return self._bound()[self._n_in * self.n_out :] if self.bias else None

    @b.setter
    def b(self, value: "ArrayLike") -> None:
        b = self.b
        if b is None:
            raise AttributeError(f"{self!r} has no bias")
        _copy_into(b, value, "b")

    def initialize(self, rng: "np.random.Generator") -> None:
        place = rng, self._n_in, self.n_out
        if isinstance(self.init, Initializer):
            W, b = self.init.with_bias(*place, self.activation)
        else:
            W, b = self._ask(self.init, "init", place), 0
        if isinstance(self.bias_init, Initializer):
            b = self.bias_init.bias(*place, self.activation)
        elif self.bias_init is not None:
            b = self._ask(self.bias_init, "bias_init", place)
        W = self._checked(W, "init", place[1:], "one row per input and one column per output")
        if self.bias:
            if np.ndim(b) == 0:
                b = np.full(self.n_out, b)
            self.b = self._checked(b, "bias_init", place[2:], "one number per output")
        self.W = W

    def _ask(self, init: Any, what: str, place: "tuple[np.random.Generator, int, int]") -> Any:
        """What the user gave, or what the user's function gives."""
        if not callable(init):
            return init
        try:
            return init(*place)
        except Exception as error:  # whatever a user's function raises: it goes on, with a note
            error.add_note(f"in {what} of {self!r}, called with the arguments (rng, n_in, n_out)")
            raise

    def _checked(self, values: Any, what: str, shape: tuple[int, ...], meaning: str) -> np.ndarray:
        array: np.ndarray = as_parameters(values, f"{what} of {self!r}", np.float64)
        if array.shape != shape:
            raise ValueError(
                f"{what} of {self!r} has shape {array.shape}; expected {shape}, {meaning}."
            )
        with np.errstate(over="ignore"):
            array = array.astype(self._theta.dtype)
        if not np.isfinite(array).all():
            raise ValueError(f"{what} of {self!r} has values that are not finite in {array.dtype}")
        return array

    def _bound(self) -> np.ndarray:
        try:
            return self._theta
        except AttributeError:
            raise AttributeError(
                f"{self!r} is only a description: the weights are in net.layers[i].W and .b"
            ) from None


def _as_start(init: Any, what: str, wanted: str) -> Any:
    """An Initializer, a function, or an array of float64."""
    if isinstance(init, str):
        return Initializer(init)
    if isinstance(init, Initializer):
        return init
    if isinstance(init, type):
        raise ValueError(f"{what} is a class, {init.__name__}; expected {wanted}")
    if callable(init):
        return init
    try:
        values = as_parameters(init, what, np.float64).copy()
        if not np.isfinite(values).all():
            raise ValueError("it has values that are not finite")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be {wanted}: {error}") from None
    return values


def positive_int(value: Any, what: str) -> int:
    """Return `value` as an int from 1 to 2^31 - 1, or say what is wrong with it."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, (bool, np.bool_)):
        meant = str(value).removesuffix(".0")  # of "32" and 32.0
        fix = f": write {meant}" if number == 0 and meant.isdecimal() and int(meant) else ""
        raise ValueError(f"{what} must be an integer of at least 1, got {value!r}{fix}")
    if number >= 1 << 31:
        raise ValueError(f"{what} must be below 2**31, got {value!r}")
    return number
