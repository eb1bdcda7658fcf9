"""One gradient step taken apart: what `Network.trace` returns."""

import contextlib
import warnings
from collections.abc import Iterator
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ... import persistence
from ...activation import _kernels
from ...layers.base import views
from ..places import find, number_units
from .arithmetic import Arithmetic
from .chain import WeightTrace
from .document import Document, Shown, counted
from .layers import Kept, Traced, TracedDense, make
from .verification import Verification

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network import Network

MOST_PATTERNS = 32
MOST_WORK = 25_000_000  # patterns times parameters: some three seconds


def trace(network: "Network", x: "ArrayLike", y: "ArrayLike", weights: Any) -> "Trace":
    """What `Network.trace` does."""
    found = Trace(network.copy(), np.array(x), np.array(y))
    one = isinstance(weights, str) or (
        isinstance(weights, tuple) and len(weights) > 1 and isinstance(weights[-1], Integral)
    )
    asked = [weights] if one else weights
    found.shown = [found.weight(weight) for weight in asked]
    return found


def as_patterns(
    network: "Network", x: "ArrayLike", y: "ArrayLike"
) -> "tuple[ArrayLike, ArrayLike]":
    """Return x and y with one pattern alone as a row of it; raise if there are too many."""
    try:
        shape = np.shape(x)
    except ValueError:  # not rectangular, which is said below
        shape = ()
    if shape == (network.n_in,):
        x, y = np.asarray(x).reshape(1, -1), np.asarray(y)[None]
        if y.ndim == 1 and network.loss.name != "cross_entropy":
            y = y.reshape(1, -1)
        shape = x.shape
    rows = shape[0] if len(shape) == 2 else 1
    if rows > MOST_PATTERNS:
        raise ValueError(
            f"trace shows one pattern or a few, at most {MOST_PATTERNS}; got {rows} rows. "
            "Choose some, such as X[:3], y[:3]."
        )
    if rows * network.n_params > MOST_WORK:
        raise ValueError(
            f"{counted(rows, 'pattern')} of {counted(network.n_params, 'parameter')} are too much "
            f"to trace: at most {MOST_WORK:,} as a product. Take fewer patterns, or see "
            "loss_and_gradient."
        )
    return x, y


class Trace(Shown):
    """One gradient step of a network, taken apart. `Network.trace` makes it.

    Attributes
    ----------
    x, y : ndarray
        The patterns and their targets.
    layers : list of Traced
        One for each layer, from the first: z, a, slope, delta, gradients and more, as arrays with a
        row for each pattern; see `nncore.views.tracing.layers.Traced`. Those within a `Residual`
        are behind it.
    outputs : ndarray, (n_rows, n_out)
        What the network gives.
    losses : ndarray of float64, (n_rows,)
        The loss of each pattern alone, without penalties.
    loss : float
        Their mean, with the penalties of the layers.
    gradient : ndarray, (n_params,)
        dJ/dtheta of the mean loss J, with the penalties; laid out as ``net.theta``.
    theta, new_theta : ndarray, (n_params,)
        The parameters before and after one update with all patterns as one batch; new_theta is None
        where training could not do it.
    rate : float or None
        The learning rate of this update; None of full-batch trainers, which search for theirs.
    update_by : str
        "rule", if the update is plain gradient descent, done here by its formula; otherwise
        "engine": done by the engine on a copy, because of `beyond`.
    beyond : list of str
        What goes beyond ``new = old - rate * gradient`` in this network's training.
    units : int
        How many units there are. They are numbered through, the inputs first, then the outputs of
        each layer that makes new ones: `Dense`, `Embedding`, and the sums of `Residual`. The other
        layers hand on the units they are given.

    Notes
    -----
    J of a pattern is the loss as the network defines it: the mean over the outputs, or the sum,
    as the docstring of `Network` says of each loss.
    """

    x: np.ndarray
    y: np.ndarray
    outputs: np.ndarray
    losses: np.ndarray
    loss: float
    gradient: np.ndarray

    def __init__(self, network: "Network", x: np.ndarray, y: np.ndarray) -> None:
        self.network, self.x, self.y = network, x, y
        self.shown: list[WeightTrace] = []
        self._arithmetic = Arithmetic(network.dtype, network.backend != "baseline")
        top: list[Traced] = []
        width = network.n_in
        for i, layer in enumerate(network.layers):
            top.append(make(layer, str(i), width, self._arithmetic))
            width = top[-1].n_out
        self._top = top
        # The loss is taken in front of a Scaling at the end.
        self._below = top[:-1] if network.layers[-1].scales else top
        self._targets = network._at_loss(self.y)[1]
        self.layers = [traced for first in top for traced in first.flat()]
        for traced, units in zip(self.layers, number_units(network), strict=True):
            traced.inputs, traced.outputs, traced.path = units.inputs, units.outputs, units.path
        self.units = top[-1].outputs[-1]
        with np.errstate(all="ignore"):
            self._walk()
        self._check_finite()

    # ---- up and down ----

    def _walk(self) -> None:
        a = self.x
        for traced in self._top:
            a = traced.up(a)
        self.outputs = a
        n = self.network.n_out // self.network.loss.per_target
        self._per_row = n if self.network.loss.mean == "elements" else 1
        rows = len(self.x)
        total, mean = self._down(1 / (rows * self._per_row))
        self.loss = total / (rows * self._per_row) + self._penalty()
        self.gradient = self._gradient(mean)
        # of each pattern's own loss: the same, if there is one
        kept = mean if rows == 1 else self._down(1 / self._per_row)[1]
        for traced in self.layers:
            traced.da, traced.delta, traced.dx = kept[traced.name]
        self.losses = self._losses()

    def _scores(self) -> tuple[np.ndarray, bool]:
        """What the loss is computed from, and whether that is z of the last layer."""
        fused = self.network.loss.output is not None
        return (self._below[-1].z if fused else self._below[-1].a), fused

    def _down(self, scale: float) -> tuple[float, Kept]:
        """The summed loss, and (da, delta, dx) of all layers by name, of scale times that loss."""
        loss, last = self.network.loss, self._below[-1]
        scores, fused = self._scores()
        k, d = _kernels(self.network.dtype), np.empty_like(scores)
        if loss.of_rows:
            values, slopes = loss.of_rows(scores.copy(), self._targets.copy())
            total = float(np.ones(len(self.x)) @ values)
            d[...] = (scale * np.ones(len(self.x)))[:, None] * slopes
        else:
            total = k.loss(loss.name, scores, self._targets, d, scale, loss.values)
        kept: Kept = {}
        if last is not self._top[-1]:
            scaling = self._top[-1]
            da = d / scaling.slope
            kept[scaling.name] = da, da, d
        if isinstance(last, TracedDense) and fused:
            d = last.down(None, kept, delta=d)
        elif isinstance(last, TracedDense) and last.whole_row:
            delta = np.empty_like(d)
            k.softmax_slope(scores, d, delta, last.layer.activation == "log_softmax")
            d = last.down(d, kept, delta=delta)
        else:
            d = last.down(d, kept)
        for traced in reversed(self._below[:-1]):
            d = traced.down(d, kept)
        return total, kept

    def _losses(self) -> np.ndarray:
        loss, (scores, _) = self.network.loss, self._scores()
        if loss.of_rows:
            return np.array(loss.of_rows(scores.copy(), self._targets.copy())[0], np.float64)
        values = np.empty(len(scores))
        k = _kernels(self.network.dtype)
        k.loss_values(loss.name, scores, self._targets, values, loss.values)
        return values / self._per_row

    def _gradient(self, kept: Kept) -> np.ndarray:
        """dJ/dtheta; also the gradients by name of all layers, which are views of it."""
        gradient, fma = np.zeros(self.network.n_params, self.network.dtype), self._arithmetic.fma
        at, real = 0, self.network.dtype.type
        for traced in self.layers:
            if traced.inner:
                continue  # those within have the parameters
            n = traced.layer.n_params(traced.n_in)
            traced.gradients = views(traced.layer.shapes(traced.n_in), gradient[at : at + n])
            traced.offset, at = at, at + n
            for name, values in traced.parameter_gradients(kept[traced.name][1]):
                traced.gradients[name][...] = values
            l1, l2 = real(traced.layer.l1), real(traced.layer.l2)
            if l1 or l2:
                W, g = traced.layer.W, traced.gradients["W"]
                g[...] = fma(l2, W, fma(l1, np.sign(W), g))
        return gradient

    def _penalty(self) -> float:
        return float(sum(
            t.layer.l1 * np.abs(W).sum() + t.layer.l2 / 2 * np.square(W).sum()
            for t in self.layers
            if t.layer.l1 or t.layer.l2
            for W in [t.layer.W.astype(np.float64)]
        ))  # fmt: skip

    def _check_finite(self) -> None:
        for what, values in (("the outputs", self.outputs), ("the loss", self.loss),
                             ("the gradient", self.gradient)):  # fmt: skip
            if not np.isfinite(values).all():
                raise FloatingPointError(
                    f"{what} of these patterns are NaN or infinite: there are no numbers to show. "
                    "Scale the inputs, or start from smaller weights."
                )

    def sample_gradient(self, row: int) -> np.ndarray:
        """Return the gradient of one pattern's own loss, without penalties.

        Parameters
        ----------
        row : int
            From 0.

        Returns
        -------
        numpy.ndarray, shape (n_params,)
        """
        gradient = np.zeros_like(self.gradient)
        row = range(len(self.x))[row]
        for traced in self.layers:
            if not traced.inner:
                part = views(traced.layer.shapes(traced.n_in), gradient[traced.offset :])
                some = slice(row, row + 1)
                for name, values in traced.parameter_gradients(traced.delta[some], some):
                    part[name][...] = values
        return gradient

    # ---- the update ----

    @property
    def theta(self) -> np.ndarray:
        return self.network.theta

    @property
    def beyond(self) -> list[str]:
        network = self.network
        rule, layers = network.optimizer, [t.layer for t in self.layers]
        found = []
        if rule.full_batch or rule.rule != "sgd":
            found.append(f"{rule!r} has a rule of its own")
        else:
            found += [f"{n}={getattr(rule, n):g}" for n in _AROUND if getattr(rule, n)]
        if any(layer.max_norm for layer in layers):
            found.append("max_norm limits columns of weights")
        training = {type(t.layer).__name__ for t in self.layers if t.kind in _DIFFERENT}
        found += [f"{kind} does something else in training" for kind in sorted(training)]
        return found

    @property
    def update_by(self) -> str:
        return "engine" if self.beyond else "rule"

    @property
    def rate(self) -> float | None:
        rule = self.network.optimizer
        if rule.full_batch:
            return None
        rates = None if rule.schedule is None else self.network.copy()._rates(1)
        return rule.lr if rates is None else float(rates[0])

    @cached_property
    def new_theta(self) -> np.ndarray | None:
        return self._by_engine(self.network) if self.beyond else self._by_rule()

    def rate_of(self, traced: Traced) -> float | None:
        """Return the rate of a layer: 0 if it is not trained; None of full-batch trainers."""
        if not traced.layer.trainable:
            return 0.0
        return None if self.rate is None else self.rate * traced.layer.lr_scale

    def _by_rule(self) -> np.ndarray:
        """new = old - rate * gradient, rounded once."""
        new, real = self.theta.copy(), self.network.dtype.type
        for traced in self.layers:
            if traced.layer.trainable and not traced.inner:
                part = slice(traced.offset, traced.offset + traced.layer.n_params(traced.n_in))
                rate = real(self.rate_of(traced))
                new[part] = self._arithmetic.fma(-rate, self.gradient[part], new[part])
        return new

    def _by_engine(self, network: "Network") -> np.ndarray | None:
        """The parameters after a training step of a copy, or None where there can be none."""
        if len(self.x) == 1 and any(t.kind == "BatchNorm" for t in self.layers):
            return None
        network = network.copy()
        try:
            with _quiet():
                network.partial_fit(self.x, self.y)
        except FloatingPointError:  # parameters became infinite: that is what there is to show
            pass
        return network.theta

    # ---- one weight ----

    def weight(
        self, weight: str | int | tuple[Any, ...], i: int | None = None, j: int | None = None, *,
        most: int = 8,
    ) -> WeightTrace:  # fmt: skip
        """Return the chain rule of one weight or bias of a `Dense`, factor by factor.

        Parameters
        ----------
        weight : str, int or tuple
            "w14" is the weight from unit 1 to unit 4, and "b4" the bias of unit 4; "w4_12" where
            digits alone could mean two weights. Units are numbered through: see `Trace`. Or
            "layers[0].W[2, 1]", as `nncore.landscape` takes it too. Or the number of the layer,
            with i and j beside it, or all three in a tuple; "2.0" is the first layer in the
            `Residual` number 2.
        i, j : int, optional
            Row and column of W, from 0; i = None: the bias of column j.
        most : int, default 8
            How many paths from the weight to the loss are shown one by one: all in the order of
            their units, or if there are more the largest products, and the sum of the others.

        Returns
        -------
        nncore.views.tracing.chain.WeightTrace

        Raises
        ------
        ValueError
            If there is no such weight, or the layer is no `Dense`.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(1), optimizer="sgd", dtype="float64", seed=0)
        >>> trace = net.trace([3.0, 0.5], 1.0)
        >>> trace.weight("w13").gradient == trace.weight(0, 0, 0).gradient
        True
        """
        if j is not None or not isinstance(weight, (str, tuple)):
            weight = weight, i, j
        place = find(self.network, weight)
        traced = next(traced for traced in self.layers if traced.name == place.of.name)
        if traced.kind != "Dense":
            raise ValueError(
                f"layer {traced.name} is {traced.layer!r}: only weights and biases of Dense are "
                "shown factor by factor. Its gradients are in "
                f"trace.layers[{self.layers.index(traced)}].gradients"
            )
        *row, column = place.indices
        return WeightTrace(self, traced, row[0] if row else None, column, most)

    def _dense(self) -> list[TracedDense]:
        return [traced for traced in self.layers if isinstance(traced, TracedDense)]

    # ---- against the engine ----

    def verify(self) -> Verification:
        """Hold the gradient and the update against those of the C engine, bit by bit.

        Returns
        -------
        Verification
            True where all that was compared is equal.

        Notes
        -----
        The trace is computed in NumPy, in float32 or float64 as the network is, in the order of the
        engine's canonical arithmetic, so not a bit may differ. What it shares with the engine are
        the functions of one number or one row: f, f', and the loss with its slope.

        A network on ``backend="reference"`` is held against the C engine too, since NumPy's own
        sums have another order. On ``backend="baseline"``, which has no fused multiply-adds, the
        last digits may differ if the activations run on a better instruction set.

        The update is compared where it is one, ``new = old - rate * gradient``: plain SGD, with the
        penalties, rates and frozen layers that layers may have. What goes beyond (`Trace.beyond`:
        Adam, momentum, clipping, a trainer, layers that do something else in training) is done by
        the engine itself, so that there is nothing to compare.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(3, "tanh"), nncore.Dense(1), seed=0)
        >>> result = net.trace([1.0, 2.0], 1.0).verify()
        >>> result.gradient, result.update
        (True, None)
        """
        engine = self.network
        if engine.backend == "reference":
            _, (data, _, kind), state = engine.__reduce__()
            engine = persistence.from_bytes(data, "auto", kind)
            engine.__setstate__(state)
        with _quiet():
            _, gradient = engine.loss_and_gradient(self.x, self.y)
        update = None if self.beyond else self._by_engine(engine)
        return Verification(self, gradient, update)

    # ---- to look at ----

    def __repr__(self) -> str:
        rows = len(self.x)
        patterns = "one pattern" if rows == 1 else f"{rows} patterns"
        parameters = counted(self.network.n_params, "parameter")
        return f"<trace of {patterns}: loss {self.loss:.5g}, {parameters}>"

    def to_svg(self) -> str:
        """Return a drawing of the network as SVG: units coloured by f', edges by the gradient.

        Of layers with more than 9 units some are left out. With several patterns f' is the mean of
        its absolute value.
        """
        from .picture import draw

        return draw(self)

    def _repr_html_(self) -> str:
        return f"<div>{self.to_svg()}{self._document().html()}</div>"

    def _document(self) -> Document:
        from .show import describe

        return describe(self)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of targets, which were given when the trace was made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


_AROUND = ("weight_decay", "clip_norm", "clip_value")
_DIFFERENT = ("BatchNorm", "Dropout", "GaussianNoise")
