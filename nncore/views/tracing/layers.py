"""Each kind of layer, up for its outputs and down for the gradient, in canonical arithmetic.

Up keeps what the chain rule needs: x, what came in; a, what goes out; and in `Dense` z = x W + b
and the slope f'(z). Down takes dJ/da and gives dJ/dx; `kept` gets (dJ/da, delta), delta = dJ/dz.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...layers.base import Layer, views
from .arithmetic import Arithmetic

# dJ/da (None where the loss starts from z), dJ/dz and dJ/dx of a layer, by its name.
Kept = dict[str, tuple[np.ndarray | None, np.ndarray, np.ndarray]]
Gradients = Iterator[tuple[str, np.ndarray]]


def make(layer: Layer, name: str, n_in: int, arithmetic: Arithmetic) -> "Traced":
    """Return the `Traced` of a bound layer."""
    kind = type(layer)
    found = next((KINDS[base.__name__] for base in kind.__mro__ if base.__name__ in KINDS), None)
    if found is None:
        raise TypeError(
            f"layer {name} is {layer!r}, a kind that trace does not know; it knows: "
            f"{', '.join(KINDS)}"
        )
    return found(layer, name, n_in, arithmetic)


class Traced:
    """A layer at work on the patterns of a trace.

    Attributes
    ----------
    layer : Layer
        With the parameters that the network had.
    name : str
        Its number in ``net.layers``; "2.0" is the first layer in the `Residual` number 2.
    path : str
        The same as names of weights have it: "layers[2].layers[0]".
    x, a : ndarray, (n_rows, n_in) and (n_rows, n_out)
        What comes in and what goes out.
    z, slope : ndarray, (n_rows, n_out), or None
        Of `Dense`: ``x W + b``, and f'(z) as training has it. softmax and log_softmax have no
        slope of single numbers: None.
    da, delta : ndarray, (n_rows, n_out)
        dJ/da and dJ/dz of each pattern's own loss J; where there is no z, both are dJ/da. da is
        None where the loss contains the output's activation and starts from z.
    dx : ndarray, (n_rows, n_in)
        dJ/dx of each pattern's own loss.
    gradients : dict of str to ndarray
        By name, of the mean loss over all patterns, with the penalties.
    inputs, outputs : list of int
        Numbers of the units.
    """

    layer: Any  # of the kind that the class is for
    path: str
    x: np.ndarray
    a: np.ndarray
    z: np.ndarray | Any = None  # Any: no questions where it cannot be None
    slope: np.ndarray | Any = None
    da: np.ndarray | Any
    delta: np.ndarray
    dx: np.ndarray
    inputs: list[int]
    outputs: list[int]
    offset: int  # of its parameters in theta
    whole_row = False  # whether the activation is of a row: there is no slope
    inner: Sequence["Traced"] = ()  # layers within

    def __init__(self, layer: Layer, name: str, n_in: int, arithmetic: Arithmetic) -> None:
        self.layer, self.name, self.n_in = layer, name, n_in
        self.n_out = layer.n_outputs(n_in)
        self.arithmetic = arithmetic
        self.gradients: dict[str, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"<layer {self.name}: {self.layer!r}>"

    def flat(self) -> list["Traced"]:
        """This layer and those within, in the order of their parameters."""
        return [self, *(t for traced in self.inner for t in traced.flat())]

    @property
    def kind(self) -> str:
        return next(base.__name__ for base in type(self.layer).__mro__ if base.__name__ in KINDS)

    def up(self, x: np.ndarray) -> np.ndarray:
        """Compute a, of x; also what the way down needs."""
        self.x, self.a = x, self._up(x)
        return self.a

    def down(self, da: np.ndarray, kept: Kept) -> np.ndarray:
        """Return dJ/dx."""
        dx: np.ndarray = self._down(da)
        kept[self.name] = da, da, dx
        return dx

    def parameter_gradients(self, d: np.ndarray, rows: slice = slice(None)) -> Gradients:
        """Yield (name, gradient) summed over these rows, whose delta is d."""
        return iter(())

    def _up(self, x: np.ndarray) -> Any:
        return x

    def _down(self, da: np.ndarray) -> Any:
        return da


class TracedDense(Traced):
    def _up(self, x: np.ndarray) -> Any:
        layer, f = self.layer, self.layer.function
        self.z = self.arithmetic.product(x, layer.W, layer.b)
        a = f.f(self.z)
        self.whole_row = f.name in ("softmax", "log_softmax")
        if not self.whole_row:
            self.slope = f.df(self.z) if f.keeps == "x" else f.df_from_y(a)
        return a

    def down(
        self, da: np.ndarray | None, kept: Kept, delta: np.ndarray | None = None
    ) -> np.ndarray:
        """delta: where the loss starts from z, or of a softmax; otherwise it is da f'(z)."""
        if delta is None:
            delta = da * self.slope
        dx = self.arithmetic.product(delta, self.layer.W.T)
        kept[self.name] = da, delta, dx
        return dx

    def parameter_gradients(self, d: np.ndarray, rows: slice = slice(None)) -> Gradients:
        yield "W", self.arithmetic.product(self.x[rows].T, d)
        if self.layer.bias:
            yield "b", self.arithmetic.column_sums(d)


class TracedPReLU(Traced):
    def _up(self, x: np.ndarray) -> Any:
        self.slope = np.where(x > 0, x.dtype.type(1), self.layer.slope)
        return np.where(x < 0, self.layer.slope * x, x)

    def _down(self, da: np.ndarray) -> Any:
        return np.where(self.x > 0, da, self.slope * da)

    def parameter_gradients(self, d: np.ndarray, rows: slice = slice(None)) -> Gradients:
        low = np.where(self.x[rows] < 0, self.x[rows], 0)
        sums = self.arithmetic
        if self.layer.shared:
            yield "slope", sums.column_sums(sums.row_sums(d * low))
        else:
            yield "slope", sums.column_products(d, low)


class TracedNorm(Traced):
    """What both normalisations share: a = unit gamma + beta."""

    def _normed(self, x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        self.scale = 1 / np.sqrt(variance + x.dtype.type(self.layer.eps))
        self.unit = (x - mean) * self.scale
        return self.arithmetic.fma(self.unit, self.layer.gamma, self.layer.beta)

    def parameter_gradients(self, d: np.ndarray, rows: slice = slice(None)) -> Gradients:
        yield "gamma", self.arithmetic.column_products(d, self.unit[rows])
        yield "beta", self.arithmetic.column_sums(d)


class TracedBatchNorm(TracedNorm):
    def _up(self, x: np.ndarray) -> Any:
        a = self._normed(x, self.layer.running_mean, self.layer.running_var)
        self.slope = np.broadcast_to(self.layer.gamma * self.scale, x.shape)
        return a

    def _down(self, da: np.ndarray) -> Any:
        return self.slope * da


class TracedLayerNorm(TracedNorm):
    def _up(self, x: np.ndarray) -> Any:
        n = x.dtype.type(self.n_in)
        mean = self.arithmetic.row_sums(x) / n
        squares = self.arithmetic.row_sums((x - mean) * (x - mean))
        return self._normed(x, mean, squares / n)

    def _down(self, da: np.ndarray) -> Any:
        n, fma, sums = da.dtype.type(self.n_in), self.arithmetic.fma, self.arithmetic.row_sums
        gamma = self.layer.gamma
        mean = sums(da * gamma) / n
        along = sums(da * gamma * self.unit) / n
        return self.scale * fma(-self.unit, along, fma(da, gamma, -mean))

    def jacobian(self, row: int) -> np.ndarray:
        """da_o / dx_i of one pattern, (n_in, n_out)."""
        unit, n = self.unit[row], self.n_in
        jacobian = np.eye(n) - (1 + np.outer(unit, unit)) / n
        jacobian *= self.scale[row] * self.layer.gamma
        return jacobian


class TracedScaling(Traced):
    def _up(self, x: np.ndarray) -> Any:
        scale, one = self.layer.scale, x.dtype.type(1)
        self.slope = np.broadcast_to(scale if self.layer.inverted else one / scale, x.shape)
        return self.layer.map(x)

    def _down(self, da: np.ndarray) -> Any:
        return da * self.layer.scale if self.layer.inverted else da / self.layer.scale


class TracedEmbedding(Traced):
    def __init__(self, layer: Layer, name: str, n_in: int, arithmetic: Arithmetic) -> None:
        super().__init__(layer, name, n_in, arithmetic)
        self.columns = layer.lower(n_in, 0)[0].columns  # (n_tokens, dim, first of its table)

    def _places(self, values: np.ndarray, flat: np.ndarray) -> Iterator[tuple[Any, Any, Any]]:
        """Yield, for each row, what of `values` belongs to which part of `flat`; a number: None."""
        for x, row in zip(self.x, values, strict=True):
            first = 0
            for token, (n_tokens, dim, table) in zip(x, self.columns, strict=True):
                place = slice(first, first + dim)
                at = table + int(token) * dim if n_tokens else None
                yield row[place], token, None if at is None else flat[at : at + dim]
                first += dim

    def _up(self, x: np.ndarray) -> Any:
        self.x = x
        a = np.empty((len(x), self.n_out), x.dtype)
        for to, number, entry in self._places(a, self.layer._theta):
            to[:] = number if entry is None else entry
        return a

    def _down(self, da: np.ndarray) -> Any:
        places = self._places(da, self.layer._theta)
        dx = [d[0] if entry is None else 0 for d, _, entry in places]  # tokens have no derivative
        return np.array(dx, da.dtype).reshape(self.x.shape)

    def parameter_gradients(self, d: np.ndarray, rows: slice = slice(None)) -> Gradients:
        flat = np.zeros_like(self.layer._theta)
        full = np.zeros((len(self.x), self.n_out), d.dtype)
        full[rows] = d
        for some, _, entry in self._places(full, flat):
            if entry is not None:
                entry += some
        yield from views(self.layer.shapes(self.n_in), flat).items()


class TracedResidual(Traced):
    def __init__(self, layer: Layer, name: str, n_in: int, arithmetic: Arithmetic) -> None:
        super().__init__(layer, name, n_in, arithmetic)
        self.inner = [
            make(inner, f"{name}.{i}", width, arithmetic)
            for i, (inner, width) in enumerate(self.layer._widths(n_in))
        ]

    def _up(self, x: np.ndarray) -> Any:
        a = x
        for traced in self.inner:
            a = traced.up(a)
        return a + x

    def down(self, da: np.ndarray, kept: Kept) -> np.ndarray:
        d = da
        for traced in reversed(self.inner):
            d = traced.down(d, kept)
        dx: np.ndarray = d + da
        kept[self.name] = da, da, dx
        return dx


KINDS = {
    "Dense": TracedDense,
    "PReLU": TracedPReLU,
    "Dropout": Traced,
    "GaussianNoise": Traced,
    "BatchNorm": TracedBatchNorm,
    "LayerNorm": TracedLayerNorm,
    "Residual": TracedResidual,
    "Embedding": TracedEmbedding,
    "Scaling": TracedScaling,
}
