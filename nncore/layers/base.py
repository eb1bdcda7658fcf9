"""What a layer is, and the step it lowers itself to."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Step:
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


class Layer:
    """Base of all layers.

    A layer the user makes is a description. `Network` gives each one its number of inputs and a
    stretch of the flat parameter vector by `bind`, which returns the layer that stands in
    ``net.layers``.
    """

    def __setattr__(self, name, value):
        if "_theta" in self.__dict__ and name in self.config():
            raise AttributeError(f"{name} is fixed when a Network is made; make a new one")
        super().__setattr__(name, value)

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
