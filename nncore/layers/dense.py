"""The fully connected layer."""

from __future__ import annotations

import operator

import numpy as np

from .. import initializers, names
from ..activation import Activation
from ..validation import as_parameters
from .base import Layer, Step
from .base import copy_into as _copy_into

# He's variance makes up for the half that is lost; selu's own is LeCun's.
_INITS = dict.fromkeys(("relu", "leaky_relu", "elu", "relu6", "silu", "softplus"), "he_uniform")
_INITS["selu"] = "lecun_uniform"


class Dense(Layer):
    """A fully connected layer: ``y = f(x W + b)``.

    Parameters
    ----------
    n_out : int
        Number of outputs (units).
    activation : str or nncore.Activation, default "identity"
        ``f``: "elliot", "elu", "hard_sigmoid", "hardtanh", "identity", "leaky_relu",
        "log_sigmoid", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign",
        "tanh"; in the last layer also "softmax". Aliases are understood: see `nncore.activations`.
    bias : bool, default True
        Whether there is a ``b``. It starts at zero.
    init : str or array_like, optional
        How ``W`` starts: a name of `nncore.initializers`, or an array of shape
        ``(n_in, n_out)``. By default ``"he_uniform"`` under relu, leaky_relu, elu, relu6, silu
        and softplus, ``"lecun_uniform"`` under selu, and ``"glorot_uniform"`` under every other
        activation.

    Attributes
    ----------
    W : numpy.ndarray, shape (n_in, n_out)
        Weights, a writable view of ``net.theta``; only in ``net.layers``.
    b : numpy.ndarray, shape (n_out,), or None
        Biases, likewise.

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

    def __init__(self, n_out, activation="identity", *, bias=True, init=None):
        self.n_out = positive_int(n_out, "n_out of Dense")
        if isinstance(activation, Activation):
            activation = activation.name
        self.activation = names.activation(activation)
        if not isinstance(bias, (bool, np.bool_)):
            raise ValueError(f"bias of Dense must be True or False, got {bias!r}")
        self.bias = bool(bias)
        if init is None:
            init = _INITS.get(self.activation, "glorot_uniform")
        if isinstance(init, str):
            init = names.look_up("initializer", init, initializers.INITIALIZERS)
        else:
            init = _as_weights(init)
        self.init = init

    def __repr__(self):
        return f"Dense({self.n_out}, {self.activation!r}{'' if self.bias else ', bias=False'})"

    def n_outputs(self, n_in):
        return self.n_out

    @property
    def bends(self):
        return self.activation != "identity"

    def shapes(self, n_in):
        shapes = {"W": (n_in, self.n_out)}
        return shapes | {"b": (self.n_out,)} if self.bias else shapes

    def lower(self, n_in, offset):
        b = offset + n_in * self.n_out if self.bias else -1
        parameter = names.ACTIVATIONS[self.activation]["a"]
        return [Step("dense", n_in, self.n_out, self.activation, parameter, offset, b)]

    @classmethod
    def from_config(cls, arguments):
        return cls(**arguments, init="zeros")

    def config(self):
        return {
            "type": "dense",
            "n_out": self.n_out,
            "activation": self.activation,
            "bias": self.bias,
        }

    @property
    def W(self):
        return self._bound()[: self._n_in * self.n_out].reshape(self._n_in, self.n_out)

    @W.setter
    def W(self, value):
        _copy_into(self.W, value, "W")

    @property
    def b(self):
        return self._bound()[self._n_in * self.n_out :] if self.bias else None

    @b.setter
    def b(self, value):
        if not self.bias:
            raise AttributeError(f"{self!r} has no bias")
        _copy_into(self.b, value, "b")

    def initialize(self, rng):
        if isinstance(self.init, str):
            self.W = initializers.INITIALIZERS[self.init](rng, self._n_in, self.n_out)
        elif self.init.shape != self.W.shape:
            raise ValueError(
                f"init of {self!r} has shape {self.init.shape}; expected {self.W.shape}, "
                "one row per input and one column per output."
            )
        else:
            self.W = self.init
        if self.bias:
            self.b = 0

    def _bound(self):
        try:
            return self._theta
        except AttributeError:
            raise AttributeError(
                f"{self!r} is only a description: the weights are in net.layers[i].W and .b"
            ) from None


def _as_weights(init):
    try:
        weights = as_parameters(init, "init", np.float64).copy()
        if not np.isfinite(weights).all():
            raise ValueError("it has values that are not finite")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"init must be the name of an initializer or an array (n_in, n_out) of numbers: {error}"
        ) from None
    return weights


def positive_int(value, what):
    """Return `value` as an int from 1 to 2^31 - 1, or say what is wrong with it."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{what} must be an integer of at least 1, got {value!r}")
    if number >= 1 << 31:
        raise ValueError(f"{what} must be below 2**31, got {value!r}")
    return number
