"""lr_find: the learning-rate range test."""

import math
import textwrap
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..gradients import Derivatives
from ..history import History
from ..layers.base import real
from ..layers.dense import positive_int
from ..progress import Progress
from ..threads import as_count
from ..trainers.problem import fixed_parameters, norm
from .plotting.drawing import axes, finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..network import Network

ROWS = 1000  # at most so many are looked at after each step
EXPLODED = 4.0  # the test ends where the loss is so many times the one that it began with
BELOW = 10.0  # the suggestion is so many times below the rate that does not learn any more


class LearningRates:
    """What `lr_find` found.

    Attributes
    ----------
    lrs : numpy.ndarray, shape (n_steps,)
        Learning rates, each the same factor above the one before.
    losses : numpy.ndarray, shape (n_steps,)
        The loss of each step's batch before its update: every batch has other rows, so it jumps.
    smoothed : numpy.ndarray, shape (n_steps,)
        The loss after each step, of the same rows each time, so it does not jump.
    before : float
        The loss of these rows at the start.
    suggestion : float or None
        A learning rate to train with; None if no rate made the loss fall.
    why : str
        Where there is no suggestion: the cause, as far as numbers tell, and what to do.
    lowest : float or None
        The rate after which ``smoothed`` was lowest; None if the first gave no finite loss.
    limit : float or None
        The first rate beyond it after which the loss was higher than at the start, or not finite;
        None if there was none.
    stop_reason : str
        "end": the last rate was reached; "exploded"; or "not finite".
    """

    def __init__(
        self, lrs: np.ndarray, losses: list[float], smoothed: list[float], before: float,
        stop_reason: str, stuck: str = "",
    ) -> None:  # fmt: skip
        n = len(smoothed)  # the rate after these is the one that gave no finite loss
        self.lrs, self.losses, self.smoothed = lrs[:n], np.array(losses[:n]), np.array(smoothed)
        self.before, self.stop_reason = before, stop_reason
        self.suggestion: float | None = None
        self.lowest: float | None = None
        self.why = ""
        self.limit = float(lrs[n]) if stop_reason == "not finite" else None
        if n:
            at = int(self.smoothed.argmin())
            self.lowest = float(lrs[at])
            worse = np.flatnonzero(self.smoothed[at:] > before)
            if len(worse):
                self.limit = float(lrs[at + worse[0]])
            if self.smoothed[at] < before - 1e-3 * abs(before):
                self.suggestion = (self.limit or self.lowest) / BELOW
        if self.suggestion is None:
            self.why = self._why(lrs, stuck)

    def _why(self, lrs: np.ndarray, stuck: str) -> str:
        """What kept the loss from falling, of all the rates that were to be tried."""
        if not math.isfinite(self.before):
            return (
                f"the loss is {self.before:g} at the start, before any step. Scale the inputs and "
                "targets, or start from smaller weights: a new network, or net.lsuv(X)."
            )
        if self.before == 0:
            return "the loss is 0 at the start: there is nothing left to learn."
        if self.lowest is None:
            return f"the first rate, {lrs[0]:.2g}, gave a loss that is not finite. Start lower."
        if (self.smoothed == self.before).all():
            return f"no rate up to {self.lrs[-1]:.2g} changed the loss: {stuck}"
        if self.lowest == lrs[-1]:
            return (
                f"the loss fell by less than a thousandth, up to the last rate, {lrs[-1]:.2g}. "
                "Give a higher end, or look at net.diagnose."
            )
        return (
            "no rate made the loss fall by a thousandth of it. At a minimum there is none, see "
            "nncore.stationary_point; otherwise start lower, or look at net.diagnose."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the losses against the rates; needs matplotlib, the extra ``plot``.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; by default new axes.

        Returns
        -------
        matplotlib.axes.Axes
        """
        ax = axes(ax, (6.4, 4.0))
        ax.plot(self.lrs, self.losses, color="0.75", linewidth=1, label="of each batch, before")
        ax.plot(
            self.lrs, self.smoothed, color="#0072B2", linewidth=2, label="of all, after the step"
        )
        ax.axhline(self.before, color="0.4", linewidth=0.8, linestyle=":", label="at the start")
        if self.suggestion is not None:
            at = np.interp(np.log(self.suggestion), np.log(self.lrs), self.smoothed)
            ax.axvline(self.suggestion, color="#D55E00", linewidth=1, linestyle="--")
            ax.plot(self.suggestion, at, "o", color="#D55E00", markersize=7,
                    label=f"suggestion {self.suggestion:.2g}")  # fmt: skip
        if len(self.smoothed):
            low = min(float(self.smoothed.min()), float(self.losses.min()))
            high = max(float(self.losses[: len(self.losses) // 2 + 1].max()), self.before)
            room = high - low or abs(high) or 1.0
            ax.set_ylim(low - 0.08 * room, high + 0.4 * room)
        elif self.limit is not None:  # the first rate
            ax.set_xlim(self.limit / 10, self.limit * 10)
        ax.set_xscale("log")
        finish(ax, "Learning-rate range test", xlabel="learning rate", ylabel="loss")
        ax.legend(loc="lower left", fontsize="small")
        return ax

    def __repr__(self) -> str:
        found = "none" if self.suggestion is None else f"{self.suggestion:.2g}"
        return f"LearningRates(suggestion {found}; {len(self.lrs)} steps, {self.stop_reason})"

    def __str__(self) -> str:
        if self.suggestion is None:
            lines = textwrap.wrap(f"no suggestion: {self.why}", 79)
        else:
            lines = [f"suggested learning rate {self.suggestion:.2g}"]
        if self.lowest is not None:
            lines.append(
                f"  loss {self.before:.4g} at the start, {self.smoothed.min():.4g} after the step "
                f"with rate {self.lowest:.2g}"
            )
            if self.limit is not None:
                what = "not finite" if self.limit > self.lrs[-1] else "higher than at the start"
                lines.append(f"  {what} from rate {self.limit:.2g} on")
        return "\n".join(lines)


def lr_find(
    network: "Network", X: "ArrayLike", y: "ArrayLike", *, start: float = 1e-7, end: float = 10.0,
    steps: int = 100, batch_size: int | Literal["full"] = 32, seed: int | None = 0,
    sample_weight: "ArrayLike | None" = None, n_threads: int | None = None,
    verbose: bool | int | str = "auto",
) -> LearningRates:  # fmt: skip
    """Look for a learning rate: the range test, of a copy of the network.

    The copy is trained with a rate that rises exponentially from step to step, until the loss
    explodes (Smith 2017, "Cyclical learning rates for training neural networks", 3.3).

    Parameters
    ----------
    network : Network
        With the optimizer that it will be trained with. Not a bit of it changes.
    X : array_like, shape (n_rows, n_in)
    y : array_like
        As in `Network.fit`.
    start, end : float, default 1e-7 and 10
        The first and the last learning rate.
    steps : int, default 100
        Updates to do, at least 10.
    batch_size : int or "full", default 32
        Rows of an update: those that it will be trained with, since the best rate depends on them.
    seed : int, default 0
        Of the order of the rows. The same seed gives the same result.
    sample_weight, n_threads, verbose : optional
        As in `Network.fit`.

    Returns
    -------
    LearningRates
        ``.suggestion`` is the rate, ``.plot()`` the curve.

    Raises
    ------
    ValueError
        With a full-batch trainer, which has no learning rate; if no layer is trained, or the
        parameters are not finite; and for arguments that do not fit.

    Notes
    -----
    After each step the loss of the same rows is computed, at most 1,000 of them, instead of a
    running mean over batches: noise then hides no minimum. The suggestion is a tenth of the first
    rate, beyond the one with the lowest loss, after which the loss is higher than it was at the
    start; if there is none, a tenth of the rate with the lowest loss. If the loss never falls by a
    thousandth, there is no suggestion. The test ends where the loss is 4 times that of the start.

    Momentum, weight decay, clipping and the layers' ``lr_scale`` count as in training. A schedule
    of the optimizer is not followed: the suggestion is for the rate that it starts from. The rates
    are for the beginning of training; at a plateau at the start the test sees little.

    Examples
    --------
    >>> import nncore
    >>> X, y = nncore.datasets.load_digits()
    >>> net = nncore.Network(
    ...     64, nncore.Dense(32, "relu"), nncore.Dense(10, "softmax"), optimizer="adam", seed=0)
    >>> found = nncore.lr_find(net, X / 16, y)
    >>> 0.003 < found.suggestion < 0.1
    True
    >>> net.optimizer = nncore.Adam(found.suggestion)
    """
    if not isinstance(network, Derivatives):
        raise TypeError(f"the first argument must be a nncore.Network, got {network!r}")
    if network._optimizer.full_batch:
        raise ValueError(
            f"{type(network._optimizer).__name__} finds its steps itself: it has no learning rate "
            'to look for. lr_find is for optimizers for batches, such as "sgd" or "adam"'
        )
    fixed = fixed_parameters(network)
    if fixed is not None and fixed.all():
        raise ValueError(
            "no layer of this network is trained: there is no learning rate to look for. Set "
            "trainable = True in those of net.layers that are to learn"
        )
    if not np.isfinite(network.theta).all():
        raise ValueError(
            "the network's parameters are not finite, and no rate makes them so: make a new "
            "network, or go back to a copy"
        )
    start, end = (
        real(value, f"{name} of lr_find", lambda x: 0 < x < math.inf, "above 0")
        for name, value in (("start", start), ("end", end))
    )
    if not start < end:
        raise ValueError(f"start must be below end, got {start:g} and {end:g}")
    if positive_int(steps, "steps") < 10:
        raise ValueError(f"steps must be at least 10, or there is no curve, got {steps}")
    data, targets, w = network._samples(X, y, sample_weight)
    lrs, size = np.geomspace(start, end, steps), network._batch_size(batch_size, len(data))
    rng, progress = np.random.default_rng(seed), Progress(steps, verbose, "step")
    try:
        return _range_test(network, data, targets, w, lrs, size, rng, as_count(n_threads), progress)
    finally:
        progress.close()


def _range_test(
    network: "Network", X: np.ndarray, y: np.ndarray, w: np.ndarray | None, lrs: np.ndarray,
    batch_size: int, rng: "np.random.Generator", n_threads: int, progress: Progress,
) -> LearningRates:  # fmt: skip
    tried = network.copy()
    tried._refresh_optimizer()
    looked_at = np.sort(rng.permutation(len(X))[:ROWS])
    if w is not None and not w[looked_at].any():
        looked_at = np.flatnonzero(w)[:ROWS]
    inputs, targets = (np.ascontiguousarray(a[looked_at]) for a in (X, y))
    weights = None if w is None else np.ascontiguousarray(w[looked_at])

    def loss() -> float:
        return tried._engine.loss(inputs, targets, n_threads, weights=weights)

    losses: list[float] = []
    smoothed: list[float] = []
    before, reason, nothing = loss(), "end", History()
    batches = _batches(len(X), batch_size, w, rng)
    for i in range(len(lrs)):
        batch = next(batches)
        [at] = tried._engine.train(X, y, batch, len(batch), n_threads, w, lrs[i : i + 1])
        after = loss()
        if not (math.isfinite(at) and math.isfinite(after)):
            reason = "not finite"
            break
        losses.append(float(at))
        smoothed.append(after)
        progress.update(i + 1, nothing)
        if after - before > (EXPLODED - 1) * abs(before):
            reason = "exploded"
            break
    stuck = ""
    if smoothed and all(after == before for after in smoothed):
        stuck = _stuck(network, inputs, targets, weights, n_threads)
    return LearningRates(lrs, losses, smoothed, before, reason, stuck)


def _stuck(
    network: "Network", X: np.ndarray, y: np.ndarray, w: np.ndarray | None, n_threads: int
) -> str:
    """Why no step changes the loss of these rows."""
    gradient = np.empty_like(network.theta)
    network._engine.loss_and_gradient(X, y, gradient, n_threads, None, w)
    fixed = fixed_parameters(network)
    size = norm(gradient if fixed is None else gradient[~fixed])
    if size:
        return (
            f"they are too small for a gradient of norm {size:.2g}. Give a higher end, or see "
            "net.diagnose."
        )
    if not X.any():
        return "no gradient reaches the parameters, since all inputs are 0: look at X."
    return (
        "no gradient reaches the parameters that are trained: units are dead or saturated, see "
        "net.diagnose."
    )


def _batches(
    rows: int, batch_size: int, weights: np.ndarray | None, rng: "np.random.Generator"
) -> Iterator[np.ndarray]:
    """Whole batches without end, each pass in an order of its own."""
    while True:
        order = rng.permutation(rows)
        for i in range(0, rows - batch_size + 1, batch_size):
            batch = order[i : i + batch_size]
            if weights is None or weights[batch].any():
                yield batch
