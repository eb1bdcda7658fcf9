"""Curves: what `fit` recorded, and activations with their derivatives."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...activation import Activation, as_activation
from ...names import WHOLE_ROW
from . import drawing
from .drawing import BLUE, COLORS, GREEN, ORANGE, RED, SKY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORDS = {
    "loss": "training loss", "lr": "learning rate", "slope": "mean |f'|",
    "saturated": "saturated units", "dead": "dead units", "update_ratio": "update / weights",
}  # fmt: skip


# ---- training ----


def history(
    history: Mapping[str, Sequence[float]],
    *,
    names: str | Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw what `Network.fit` recorded, epoch by epoch.

    An axis is logarithmic where its values are positive and span more than a factor of 20. The
    epoch of the lowest validation loss is marked. Where a value is infinite, or a loss or accuracy
    is NaN, the line has a gap and a cross at the upper edge; other names may be NaN because they
    are not recorded in each epoch, and there the line goes on.

    Parameters
    ----------
    history : nncore.History, or a mapping of str to sequences of numbers
    names : str or sequence of str, optional
        What to draw. Losses share the axis on the left; so do accuracies. Others have one of their
        own, and there are two at most: the first on the left, the second on the right. By default
        the losses, and on the right the accuracy or, from full-batch trainers, the gradient norm.
    ax : matplotlib.axes.Axes, optional
        Where; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That on the left.

    Raises
    ------
    ValueError
        If the history is empty, has no such name, or `names` need more than two axes.

    Examples
    --------
    >>> import nncore
    >>> X, y = nncore.datasets.load_digits()
    >>> net = nncore.Network(
    ...     64, nncore.Dense(16, "relu"), nncore.Dense(10, "softmax"), seed=0)
    >>> h = net.fit(
    ...     X[:800], y[:800], epochs=5, validation_data=(X[800:], y[800:]), verbose=False)
    >>> ax = nncore.plots.history(h)
    >>> ax.get_ylabel(), [other.get_ylabel() for other in ax.figure.axes[1:]]
    ('loss', ['accuracy'])
    """
    curves = as_curves(history, _names(history, names))
    kinds = list(dict.fromkeys(map(_kind, curves)))
    if len(kinds) > 2:
        raise ValueError(
            f"{', '.join(kinds)} need an axis each, and there are two: choose fewer names, and "
            "draw the others in another ax"
        )
    ax = drawing.axes(ax)
    sides = [ax, ax.twinx()] if len(kinds) == 2 else [ax]
    handles = []
    for side, kind, colors in zip(sides, kinds, ((BLUE, SKY), (RED, ORANGE)), strict=False):
        mine = {name: values for name, values in curves.items() if _kind(name) == kind}
        if len(sides) == 1:
            colors = (BLUE, RED)
        handles += _draw_side(side, kind, mine, colors)
    epochs = max(map(len, curves.values()))
    unit = "iteration" if "gradients" in history else "epoch"
    reason = getattr(history, "stop_reason", "epochs")
    title = f"{epochs:,} {unit}{'' if epochs == 1 else 's'}"
    if reason != "epochs":
        title += f", then stopped by {reason}"
    drawing.finish(ax, title + _mark_best(curves, sides, unit), xlabel=unit)
    if epochs == 1:
        ax.set_xlim(0.5, 1.5)
    drawing.whole_numbers(ax.xaxis)
    if len(sides) == 2:
        _colour_sides(sides, (BLUE, RED))
        drawing.legend_above(ax, handles)
    else:
        ax.legend()
    return ax


def _names(history: Mapping[str, Sequence[float]], names: str | Sequence[str] | None) -> list[str]:
    """The names to draw, which the history has."""
    if not isinstance(history, Mapping):
        raise TypeError(f"history must be what fit returned, or a mapping, got {history!r}")
    if not any(map(np.size, history.values())):
        raise ValueError("the history is empty: there is no epoch to draw")
    if names is None:
        names = [
            name for name in ("loss", "val_loss", "accuracy", "val_accuracy") if name in history
        ]
        if "gradient_norm" in history and not any("accuracy" in name for name in names):
            names.append("gradient_norm")
    if not isinstance(names, Iterable):
        raise TypeError(f"names must be a name or a list of names, got {names!r}")
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in list(history)]
    if unknown or not names:
        known = [name for name in history if not name.startswith("layers[")]
        what = f"no {unknown[0]!r}" if unknown else "nothing to draw by default"
        raise ValueError(f"the history has {what}; names may be of: {', '.join(known)}")
    return names


def as_curves(
    history: Mapping[str, Sequence[float]], names: Iterable[str]
) -> dict[str, np.ndarray]:
    """Return what the history has of these names as arrays, by name."""
    curves = {}
    for name in names:
        try:
            curves[name] = np.asarray(history[name], dtype=float)
            if curves[name].ndim != 1:
                raise ValueError
        except (TypeError, ValueError):
            raise ValueError(f"{name!r} of the history is not one number per epoch") from None
    return curves


def _kind(name: str) -> str:
    """What an axis is of."""
    return next((kind for kind in ("loss", "accuracy") if name.endswith(kind)), name)


def _draw_side(
    ax: Any, kind: str, curves: dict[str, np.ndarray], colors: Sequence[str]
) -> list[Any]:
    """Draw the curves of one axis; return what the legend shows."""
    handles = []
    for i, (name, values) in enumerate(curves.items()):
        color = colors[i] if i < len(colors) else COLORS[(i + 2) % len(COLORS)]
        label = WORDS.get(name, name.replace("val_", "validation ").replace("_", " "))
        handles += draw_epochs(ax, values, color, label, whole=kind in ("loss", "accuracy"))
    if kind == "accuracy":
        ax.yaxis.set_major_formatter(drawing.percent)
    else:
        drawing.scale(ax, map(drawing.drawable, curves.values()))
    ax.margins(x=0.02)
    ax.set_ylabel(WORDS.get(kind, kind.replace("_", " ")) if kind != "loss" else kind)
    return handles


def draw_epochs(
    ax: Any, values: np.ndarray, color: Any, label: str | None, whole: bool = False
) -> list[Any]:
    """Draw a line over the epochs, with crosses where values are infinite; return what is drawn.

    whole: there is a value for each epoch, so that NaN is one; otherwise it says that there is none
    """
    shown = drawing.drawable(values)
    gaps = np.isnan(shown) if whole else np.isnan(shown) & ~np.isnan(values)
    at = np.flatnonzero(gaps | np.isfinite(shown))
    line = shown[at]
    known = np.isfinite(line)
    around = np.pad(known, 1)
    few = known.sum() <= 20
    alone = known & (few | ~(around[:-2] | around[2:]))  # a line of one point is not seen
    handles: list[Any] = ax.plot(
        at + 1, line, color=color, label=label, marker="o" if alone.any() else None, markersize=4,
        markevery=np.flatnonzero(alone).tolist(),
    )  # fmt: skip
    if gaps.any():
        epochs = np.flatnonzero(gaps) + 1
        handles += ax.plot(
            epochs, np.ones(len(epochs)), "x", color=color, markersize=6, clip_on=False,
            transform=ax.get_xaxis_transform(), label=label and f"{label}: not finite",
        )  # fmt: skip
    return handles


def _mark_best(curves: dict[str, np.ndarray], sides: list[Any], unit: str) -> str:
    """A ring round the lowest validation loss; return what the title says of it."""
    losses = drawing.drawable(curves.get("val_loss", ()))
    if len(losses) < 2 or not np.isfinite(losses).any():
        return ""
    best = int(np.nanargmin(losses))
    side = next(ax for ax in sides if ax.get_ylabel() == "loss")
    color = side.xaxis.label.get_color()
    side.plot(best + 1, losses[best], "o", color=color, markersize=9, markerfacecolor="none")
    return f"; lowest validation loss {losses[best]:.3g} in {unit} {best + 1:,}"


def _colour_sides(sides: list[Any], colors: Sequence[str]) -> None:
    """Two axes, each in the colour of its lines, those of the first in front."""
    sides[0].set_zorder(sides[1].get_zorder() + 1)
    sides[0].patch.set_visible(False)
    for ax, color in zip(sides, colors, strict=True):
        ax.yaxis.label.set_color(color)
        ax.tick_params(axis="y", which="both", colors=color)
    sides[1].spines[["top", "left"]].set_visible(False)


# ---- functions ----


def activation(
    activation: str | dict[str, Any] | Activation,
    low: float = -6.0,
    high: float = 6.0,
    *,
    second: bool | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw an activation f with its derivatives f' and f''.

    Where f' jumps, the curves are interrupted, and a dot is the value that is taken there. What is
    NaN, infinite, or beyond 1e300, is left out, and the legend says so.

    Parameters
    ----------
    activation : str, dict or nncore.Activation
        As of `nncore.Dense`; not softmax, which is no function of one number.
    low, high : float
        From where to where, within 1e300.
    second : bool, optional
        Whether to draw f'' too, by default where the activation has one.
    ax : matplotlib.axes.Axes, optional
        Where; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import nncore
    >>> ax = nncore.plots.activation("relu", -2, 2)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['f(x)', "f'(x)", "f''(x)", "f'(0) = 0"]
    """
    function = as_activation(activation)
    if function.name in WHOLE_ROW:
        raise ValueError(f"{function.name} is a function of whole rows: there is no curve to plot")
    try:
        low, high = float(low), float(high)
    except (TypeError, ValueError):
        raise ValueError(f"low and high must be numbers, got {low!r} and {high!r}") from None
    if not (low < high and np.isfinite(drawing.drawable((low, high))).all()):
        raise ValueError(f"expected low < high, both within 1e300, got {low} and {high}")
    if second is None:
        second = function.own is None or function.own.d2f is not None
    elif not isinstance(second, bool):
        raise ValueError(f"second must be True, False or None, got {second!r}")
    kinks = {x: slope for x, slope in sorted(function.kinks.items()) if low < x < high}
    ends = [low, *kinks, high]
    pieces = [  # a jump is not a slope
        np.linspace(np.nextafter(left, right), np.nextafter(right, left), 401)
        for left, right in zip(ends[:-1], ends[1:], strict=True)
    ]
    curves = [("f(x)", function.f, "-", BLUE), ("f'(x)", function.df, "--", RED)]
    if second:
        curves.append(("f''(x)", function.d2f, ":", GREEN))
    with np.errstate(all="ignore"):  # a user's function may overflow, and it may fail
        values = [[drawing.drawable(f(x)) for x in pieces] for _, f, _, _ in curves]
    ax = drawing.axes(ax)
    for (label, _, style, color), parts in zip(curves, values, strict=True):
        if np.isnan(np.concatenate(parts)).any():
            label += ", where it is finite"
        for x, y in zip(pieces, parts, strict=True):
            ax.plot(x, y, style, color=color, label=label)
            label = ""
    if kinks:
        taken = ", ".join(f"f'({x:.3g}) = {slope:.3g}" for x, slope in kinks.items())
        label = taken if len(kinks) <= 3 else f"f' at {len(kinks)} kinks"
        ax.plot(*zip(*kinks.items(), strict=True), "o", color=RED, label=label)
    formula = re.sub(r"\d+\.\d{6,}", lambda found: f"{float(found[0]):.5g}", function.formula)
    drawing.finish(ax, f"{function}: {formula}", xlabel="x")
    ax.legend()
    return ax
