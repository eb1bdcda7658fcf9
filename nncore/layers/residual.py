"""Skip connections."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import names
from .base import Layer, Step, Tuning

MOST_DEPTH = 64


class Residual(Layer):
    """A skip connection round a block of layers: ``y = x + block(x)``.

    He, Zhang, Ren and Sun 2016. Blocks may hold other blocks, up to 64 deep.

    Parameters
    ----------
    *layers : Layer
        The block, in order. It must have as many outputs as inputs.

    Attributes
    ----------
    layers : tuple of Layer
        The layers of the block; in ``net.layers`` with their parameters. ``lr_scale``, ``l2`` and
        so on are set there.
    trainable : bool
        Whether all layers of the block are; setting it sets it in each of them.

    Examples
    --------
    >>> import nncore
    >>> block = nncore.Residual(nncore.Dense(16, "relu"), nncore.Dense(8))
    >>> net = nncore.Network(8, block, nncore.Dense(1), seed=0)
    >>> net.layers[0].layers[1].W.shape
    (16, 8)
    """

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("Residual needs at least one layer, such as nncore.Dense(8)")
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"layer {i} of Residual must be a layer such as nncore.Dense(10), got "
                    f"{layer!r}; layers are separate arguments, not a list."
                )
            if layer.first_only:
                raise ValueError(
                    f"{layer!r} in a Residual: it can only be the first layer of a network"
                )
            if layer.activation in names.WHOLE_ROW:
                what = layer.activation
                raise ValueError(
                    f"{what} in a Residual: only the last layer may be {what}. Put a Dense with it "
                    "behind the block."
                )
        self.layers = layers
        self.depth = 1 + max(layer.depth for layer in layers)
        if self.depth > MOST_DEPTH:
            raise ValueError(f"Residual blocks may nest {MOST_DEPTH} deep, not deeper")

    @property
    def trainable(self) -> bool:
        return all(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = value

    def tunings(self) -> list[Tuning]:
        plain = Tuning()
        return [plain, *(t for layer in self.layers for t in layer.tunings()), plain]

    @property
    def mixes(self) -> bool:
        return any(layer.mixes for layer in self.layers)

    @property
    def bends(self) -> bool:
        return any(layer.bends for layer in self.layers)

    @property
    def ready(self) -> bool:
        return all(layer.ready for layer in self.layers)

    @property
    def of_batches(self) -> bool:
        return any(layer.of_batches for layer in self.layers)

    def check_numbers(self) -> None:
        for layer in self.layers:
            layer.check_numbers()

    @property
    def without_d2f(self) -> str | None:
        return next((layer.without_d2f for layer in self.layers if layer.without_d2f), None)

    def __repr__(self) -> str:
        return f"Residual({', '.join(map(repr, self.layers))})"

    def _widths(self, n_in: int) -> Iterator[tuple[Layer, int]]:
        """Yield each layer with its number of inputs; raise if the block's ends do not match."""
        width = n_in
        for layer in self.layers:
            yield layer, width
            width = layer.n_outputs(width)
        if width != n_in:
            raise ValueError(
                f"{self!r} would add {width} outputs to {n_in} inputs, but the widths must be the "
                f"same. End the block with nncore.Dense({n_in})."
            )

    def n_outputs(self, n_in: int) -> int:
        for _ in self._widths(n_in):
            pass
        return n_in

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return self._nested("shapes", n_in)

    def running_shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return self._nested("running_shapes", n_in)

    def _nested(self, method: str, n_in: int) -> dict[str, tuple[int, ...]]:
        return {
            f"{i}.{name}": shape
            for i, (layer, width) in enumerate(self._widths(n_in))
            for name, shape in getattr(layer, method)(width).items()
        }

    def lower(self, n_in: int, offset: int) -> list[Step]:
        steps = []
        for layer, width in self._widths(n_in):
            steps += layer.lower(width, offset)
            offset += layer.n_params(width)
        far = len(steps) + 1
        return [Step("fork", n_in, n_in, other=far), *steps, Step("add", n_in, n_in, other=-far)]

    def bind(self, n_in: int, theta: np.ndarray, running: np.ndarray) -> Layer:
        layers, at, place = [], 0, 0
        for layer, width in self._widths(n_in):
            end, stop = at + layer.n_params(width), place + layer.n_running(width)
            layers.append(layer.bind(width, theta[at:end], running[place:stop]))
            at, place = end, stop
        bound = super().bind(n_in, theta, running)
        bound.__dict__["layers"] = tuple(layers)  # fixed for everybody else
        return bound

    def initialize(self, rng: "np.random.Generator") -> None:
        for layer in self.layers:
            layer.initialize(rng)

    def config(self) -> dict[str, Any]:
        return {"type": "residual", "layers": [layer.config() for layer in self.layers]}

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> "Residual":
        from . import from_config

        return cls(*(from_config(layer) for layer in arguments["layers"]))

    def rows_of_summary(self, name: str, n_in: int) -> list[tuple[str, str, str, str]]:
        rows = super().rows_of_summary(name, n_in)
        indented = "  " + name
        for i, (layer, width) in enumerate(self._widths(n_in)):
            rows += layer.rows_of_summary(f"{indented}.{i}", width)
        return rows
