"""What a layer is, and the step it lowers itself to."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import numpy as np


class Step(NamedTuple):
    """One step of the engine: ``y = f(x W + b)``.

    ``parameters`` are those of ``f``, in the order of its row in csrc/tables/activations.def.

    ``w`` and ``b`` are the offsets, in elements, of ``W`` (n_in, n_out) and ``b`` (n_out,) in the
    flat parameter vector; ``b`` is -1 where there is no bias.
    """

    kind: str
    n_in: int
    n_out: int
    activation: str
    parameters: tuple[float, ...]
    w: int
    b: int


class Tuning(NamedTuple):
    """How the parameters of one step are trained; ``max_norm`` 0: any."""

    trainable: bool = True
    lr_scale: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    max_norm: float = 0.0


class Layer:
    """Base of all layers.

    A layer the user makes is a description. `Network` gives each one its number of inputs and a
    stretch of the flat parameter vector by `bind`, which returns the layer that stands in
    ``net.layers``.

    Attributes
    ----------
    trainable : bool
        Whether training changes the parameters. If not, the optimizer's state of them stays too,
        and nothing is computed for the layers below the lowest one that is trained.
    lr_scale : float
        Multiplies the learning rate of this layer.
    l1, l2 : float
        ``l1 * sum(abs(W)) + l2 / 2 * sum(W**2)`` is part of the loss, of weights and not of biases.
    max_norm : float or None
        After each update a column of W, the weights into one unit, with a larger 2-norm is scaled
        to it.

    All of them may be changed in ``net.layers`` at any time, and count from the next call or epoch.
    """

    trainable = True
    lr_scale = 1.0
    l1 = 0.0
    l2 = 0.0
    max_norm = None

    def __setattr__(self, name, value):
        if name in Tuning._fields:
            value = _as_setting(type(self).__name__, name, value)
        elif "_theta" in self.__dict__ and name in self.config():
            raise AttributeError(f"{name} is fixed when a Network is made; make a new one")
        super().__setattr__(name, value)

    def tuning(self) -> Tuning:
        """Return how the parameters are trained."""
        return Tuning(self.trainable, self.lr_scale, self.l1, self.l2, self.max_norm or 0.0)

    def settings(self) -> dict:
        """Return the attributes of training that are not as they are by default, for `config`."""
        return {
            name: getattr(self, name)
            for name in Tuning._fields
            if getattr(self, name) != getattr(Layer, name)
        }

    def n_params(self, n_in: int) -> int:
        """Return the number of parameters, given the number of inputs."""
        raise NotImplementedError

    def n_outputs(self, n_in: int) -> int:
        """Return the number of outputs, given the number of inputs."""
        raise NotImplementedError

    def lower(self, n_in: int, offset: int) -> list[Step]:
        """Return the steps that compute this layer, with parameters from `offset` on."""
        raise NotImplementedError

    def initialize(self, rng: np.random.Generator) -> None:
        """Fill the bound parameters with their starting values."""
        raise NotImplementedError

    def config(self) -> dict:
        """Return the arguments that make this layer again, as JSON values."""
        raise NotImplementedError

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the bound parameters by name, as writable views of ``net.theta``."""
        raise NotImplementedError

    def bind(self, n_in: int, theta: np.ndarray) -> Layer:
        """Return a copy of this layer whose parameters are views of `theta`."""
        bound = copy.copy(self)
        bound._n_in = n_in
        bound._theta = theta
        return bound


def _as_setting(layer, name, value):
    """The value of an attribute of training, or what is wrong with it."""
    if name == "trainable":
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"trainable of {layer} must be True or False, got {value!r}")
        return bool(value)
    if name == "max_norm" and value is None:
        return None
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} of {layer} must be a number, got {value!r}") from None
    zero = name in ("l1", "l2")
    if not (0 < number < math.inf or (zero and number == 0)):
        wanted = "at least 0 and finite" if zero else "positive and finite"
        raise ValueError(f"{name} of {layer} must be {wanted}, got {value!r}")
    return number
