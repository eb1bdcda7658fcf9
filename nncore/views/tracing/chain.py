"""The chain rule of one weight: each path from it to the loss, each factor with its number."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .document import Document, Shown
from .layers import Traced, TracedDense, TracedLayerNorm
from .losses import Factor, slopes_of_loss

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .trace import Trace


class Path(NamedTuple):
    """One way from a unit to the loss: its factors, from the loss down, and their product."""

    factors: tuple[Factor, ...]
    value: float


class Chain(NamedTuple):
    """The chain rule of a weight for one pattern: ``gradient = above * slope * input``.

    above is dJ/da of the unit, the sum over all paths: those in `paths`, and `rest`, the sum of
    the others. If `paths` are all there are, they stand in the order of the units that they go
    through, so that they can be found in the drawing; otherwise they are the largest products, the
    largest first. slope is None where the loss starts from z; then above is dJ/dz. input is None
    for a bias.
    """

    paths: list[Path]
    rest: float
    above: float
    slope: Factor | None
    input: Factor | None
    gradient: float


class Routes:
    """The largest products of paths from each unit of a layer to the loss, of one pattern.

    values: (n_units, n), of `count` paths of each unit: all of them in the order of the units above
    it, or those with the largest absolute values, from the largest down.
    of_z: they start at the z of these units, not at their outputs.
    explain(unit, rank): the factors of a path.
    """

    def __init__(
        self, values: np.ndarray, count: int, explain: Callable[[int, int], list[Factor]],
        of_z: bool = False,
    ) -> None:  # fmt: skip
        self.values, self.count, self.explain, self.of_z = values, count, explain, of_z


def routes_to(trace: "Trace", target: Traced, row: int, most: int) -> Routes:
    """Return the `Routes` from the outputs of a layer."""
    return _down(trace, trace._below, target, _from_loss(trace, row), row, most)[0]


def _down(
    trace: "Trace", layers: Sequence[Traced], target: Traced, routes: Routes, row: int, most: int
) -> tuple[Routes, bool]:
    """The routes from the outputs of `target`, and whether it is one of these layers."""
    for traced in reversed(layers):
        if traced is target:
            return routes, True
        below = routes
        if isinstance(traced, (TracedDense, TracedLayerNorm)):
            below = _through_matrix(trace, traced, routes, row, most)
        elif traced.kind in ("PReLU", "BatchNorm", "Scaling"):
            below = _through_slopes(traced, routes, row)
        elif traced.kind == "Residual":
            below, found = _down(trace, traced.inner, target, routes, row, most)
            if found:
                return below, True
            below = _either(traced, below, routes, most)
        routes = below
    return routes, False


def _from_loss(trace: "Trace", row: int) -> Routes:
    slopes, of_z, factor = slopes_of_loss(trace, row)
    return Routes(slopes[:, None], 1, lambda unit, rank: [factor(unit)], of_z)


def _largest(candidates: np.ndarray, most: int) -> np.ndarray:
    """Places of the largest absolute values, from the largest down; all in order if few."""
    if len(candidates) <= most:
        return np.arange(len(candidates))
    size = -np.abs(candidates)
    if len(size) > 8 * most:
        some = np.sort(np.argpartition(size, most)[:most])
        return some[np.argsort(size[some], kind="stable")]
    return np.argsort(size, kind="stable")[:most]


def _through_matrix(
    trace: "Trace", traced: TracedDense | TracedLayerNorm, routes: Routes, row: int, most: int
) -> Routes:
    """Each input goes to all outputs: through W and f' of a Dense, or the Jacobian of LayerNorm."""
    if dense := isinstance(traced, TracedDense):
        matrix = traced.layer.W.astype(np.float64)
        if not routes.of_z:
            matrix = matrix * traced.slope[row]
    else:
        matrix = traced.jacobian(row)
    n = routes.values.shape[1]
    kept = min(most, traced.n_out * n)
    places = np.empty((traced.n_in, kept), np.intp)
    values = np.empty((traced.n_in, kept))
    for i, line in enumerate(matrix):
        candidates = (line[:, None] * routes.values).ravel()
        places[i] = _largest(candidates, kept)
        values[i] = candidates[places[i]]

    def explain(unit: int, rank: int) -> list[Factor]:
        o, above = divmod(int(places[unit, rank]), n)
        factors = routes.explain(o, above)
        if not dense:
            a, b = traced.inputs[unit], traced.outputs[o]
            text = f"LayerNorm'({b},{a})"
            latex = rf"\mathrm{{LayerNorm}}'_{{{b},{a}}}"
            what = f"derivative of output {b} of layer {traced.name} by its input {a}"
            return [*factors, Factor(text, latex, float(matrix[unit, o]), what)]
        if not routes.of_z:
            factors = [*factors, slope_factor(traced, o, row)]
        return [*factors, _weight_factor(trace, traced, unit, o)]

    return Routes(values, routes.count * traced.n_out, explain)


def _through_slopes(traced: Traced, routes: Routes, row: int) -> Routes:
    slopes = traced.slope[row].astype(np.float64)

    def explain(unit: int, rank: int) -> list[Factor]:
        a, kind = traced.outputs[unit], traced.kind
        what = f"slope of layer {traced.name} for unit {a}"
        latex = rf"\mathrm{{{kind}}}'_{{{a}}}"
        factor = Factor(f"{kind}'({a})", latex, float(slopes[unit]), what)
        return [*routes.explain(unit, rank), factor]

    return Routes(routes.values * slopes[:, None], routes.count, explain)


def _either(traced: Traced, block: Routes, skip: Routes, most: int) -> Routes:
    """Through the block of a Residual, or past it."""
    both = np.concatenate([block.values, skip.values], axis=1)
    places = np.array([_largest(line, min(most, both.shape[1])) for line in both])
    n = block.values.shape[1]

    def explain(unit: int, rank: int) -> list[Factor]:
        at = int(places[unit, rank])
        if at < n:
            return block.explain(unit, at)
        what = f"past the block of layer {traced.name}"
        return [*skip.explain(unit, at - n), Factor("skip", r"\mathrm{skip}", 1.0, what)]

    return Routes(np.take_along_axis(both, places, 1), block.count + skip.count, explain)


def slope_factor(traced: Traced, j: int, row: int) -> Factor:
    """f'(z) of unit j of a `Dense`."""
    unit = traced.outputs[j]
    f = traced.layer.function
    what = f"slope of {f} at z{unit} = {traced.z[row, j]:.5g}"
    formula = re.sub(r"\by\b", "a", re.sub(r"\bx\b", "z", f.df_formula))  # y is the target here
    if len(formula) < 30:
        what += f": {formula}" + (f", a = {traced.a[row, j]:.5g}" * (formula != f.df_formula))
    return Factor(f"f'(z{unit})", f"f'(z_{{{unit}}})", float(traced.slope[row, j]), what)


def _weight_factor(trace: "Trace", traced: Traced, i: int, j: int) -> Factor:
    name = name_of(trace, traced, i, j)
    what = f"weight from {unit_name(trace, traced.inputs[i])} to unit {traced.outputs[j]}"
    return Factor(name, latex_of(name), float(traced.layer.W[i, j]), what)


def name_of(trace: "Trace", traced: Traced, i: int | None, j: int) -> str:
    """The name of a weight, or of a bias if i is None: "w14", "w4_12", "b4"."""
    to = traced.outputs[j]
    if i is None:
        return f"b{to}"
    return f"w{traced.inputs[i]}{'_' if trace.units > 9 else ''}{to}"


def latex_of(name: str) -> str:
    return f"{name[0]}_{{{name[1:].replace('_', ',')}}}"


def unit_name(trace: "Trace", unit: int) -> str:
    return f"x{unit}" if unit <= trace.network.n_in else f"a{unit}"


class WeightTrace(Shown):
    """The chain rule of one weight or bias. `Trace.weight` makes it.

    Attributes
    ----------
    name : str
        Such as "w14" or "b4".
    layer : str
        Name of the layer.
    i, j : int
        Row and column of W; i is None for a bias.
    gradient : float
        dJ/dw of the mean loss, with the penalties: an element of `Trace.gradient`.
    penalty : float
        The penalties' part of it: l1 sign(w) + l2 w.
    chains : list of Chain
        For each pattern the factors with their numbers and formulas.
    n_paths : int
        How many paths there are from the unit to the loss.
    old, new : float
        The weight before and after the update; new is None where training could not do it.
    rate : float or None
        The learning rate of its layer; 0.0 if it is not trained.
    """

    def __init__(
        self, trace: "Trace", traced: Traced, i: int | None, j: int, most: int = 8
    ) -> None:
        if isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1:
            raise ValueError(f"most must be an integer of at least 1, got {most!r}")
        self.trace, self._traced = trace, traced
        self.name, self.layer, self.i, self.j = name_of(trace, traced, i, j), traced.name, i, j
        n_in, n_out, layer = traced.n_in, traced.n_out, traced.layer
        at = traced.offset + (n_in * n_out + j if i is None else i * n_out + j)
        self.gradient, self.old = float(trace.gradient[at]), float(trace.theta[at])
        self.new = None if trace.new_theta is None else float(trace.new_theta[at])
        self.rate = trace.rate_of(traced)
        self.penalty = 0.0 if i is None else layer.l1 * np.sign(self.old) + layer.l2 * self.old
        self.penalty = float(self.penalty)
        self.chains = [self._chain(row, int(most)) for row in range(len(trace.x))]

    def _chain(self, row: int, most: int) -> Chain:
        traced, i, j = self._traced, self.i, self.j
        routes = routes_to(self.trace, traced, row, most)
        self.n_paths = routes.count
        values = routes.values[j]
        paths = [Path(tuple(routes.explain(j, r)), float(v)) for r, v in enumerate(values[:most])]
        above = float((traced.delta if routes.of_z else traced.da)[row, j])
        rest = above - sum(path.value for path in paths) if len(paths) < routes.count else 0.0
        slope = None if routes.of_z else slope_factor(traced, j, row)
        delta = traced.delta[row, j]
        source, gradient = None, float(delta)
        if i is not None:
            unit = traced.inputs[i]
            name = unit_name(self.trace, unit)
            what = f"output of unit {unit}"
            if name[0] == "x":
                what = f"input {unit}" + ", scaled" * self.trace.network.layers[0].scales
            value = float(traced.x[row, i])
            source = Factor(name, f"{name[0]}_{{{unit}}}", value, what)
            gradient = float(traced.x[row, i] * delta)
        return Chain(paths, rest, above, slope, source, gradient)

    @property
    def unit(self) -> int:
        """Number of the unit that the weight leads to."""
        return self._traced.outputs[self.j]

    def __repr__(self) -> str:
        return f"<{self.name} = {self.old:.5g}, dJ/d{self.name} = {self.gradient:.5g}>"

    def _document(self) -> Document:
        from .show import describe_weight

        return describe_weight(self)
