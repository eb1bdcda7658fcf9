"""Pictures of training, of networks and of what they decide; public as ``nncore.plots``.

All need matplotlib, the extra ``plot``: ``pip install "nncore-c[plot]"``. Each function draws into
``ax``, or into a new figure that is not one of pyplot's, and returns the axes. So
``nncore.plots.history(h).figure`` shows the picture in a notebook, ``.figure.savefig("h.png")``
writes it, and ``ax=pyplot.gca()`` draws for ``pyplot.show()``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping

import numpy as np

from ...activation import INF, as_activation
from ...layers import Dense, Layer
from ...names import WHOLE_ROW
from ...trainers.problem import norm
from . import drawing
from .classes import confusion_matrix, decision_regions
from .drawing import BLUE, COLORS, DIVERGING, GREEN, ORANGE, RED, SKY, numbered, shape_of

__all__ = [
    "activation",
    "confusion_matrix",
    "decision_regions",
    "gradient_flow",
    "history",
    "weights",
]

_WORDS = {
    "loss": "training loss", "lr": "learning rate", "slope": "mean |f'|",
    "saturated": "saturated units", "dead": "dead units", "update_ratio": "update / weights",
}  # fmt: skip


# ---- training ----


def history(history, *, names=None, ax=None):
    """Draw what `Network.fit` recorded, epoch by epoch.

    An axis is logarithmic where its values are positive and span more than a factor of 20. The
    epoch of the lowest validation loss is marked.

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
    curves = _curves(history, names)
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


def _curves(history, names):
    """The values to draw, as arrays by name."""
    if not isinstance(history, Mapping):
        raise TypeError(f"history must be what fit returned, or a mapping, got {history!r}")
    if not any(map(len, history.values())):
        raise ValueError("the history is empty: there is no epoch to draw")
    if names is None:
        names = [
            name for name in ("loss", "val_loss", "accuracy", "val_accuracy") if name in history
        ]
        if "gradient_norm" in history and not any("accuracy" in name for name in names):
            names.append("gradient_norm")
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in history]
    if unknown or not names:
        known = [name for name in history if not name.startswith("layers[")]
        what = f"no {unknown[0]!r}" if unknown else "nothing to draw by default"
        raise ValueError(f"the history has {what}; names may be of: {', '.join(known)}")
    curves = {}
    for name in names:
        try:
            curves[name] = np.asarray(history[name], dtype=float)
            if curves[name].ndim != 1:
                raise ValueError
        except (TypeError, ValueError):
            raise ValueError(f"{name!r} of the history is not one number per epoch") from None
    return curves


def _kind(name):
    """What an axis is of."""
    return next((kind for kind in ("loss", "accuracy") if name.endswith(kind)), name)


def _draw_side(ax, kind, curves, colors):
    """Draw the curves of one axis; return what the legend shows."""
    handles = []
    for i, (name, values) in enumerate(curves.items()):
        color = colors[i] if i < len(colors) else COLORS[(i + 2) % len(COLORS)]
        label = _WORDS.get(name, name.replace("val_", "validation ").replace("_", " "))
        handles += ax.plot(
            *_points(values), color=color, label=label, markersize=4,
            marker="o" if np.isfinite(values).sum() <= 20 else None,
        )  # fmt: skip
    if kind == "accuracy":
        ax.yaxis.set_major_formatter(drawing.percent)
    else:
        drawing.log_if_wide(ax, curves.values())
    ax.margins(x=0.02)
    ax.set_ylabel(_WORDS.get(kind, kind.replace("_", " ")) if kind != "loss" else kind)
    return handles


def _points(values):
    """Epochs and values where there are any: some are not recorded in each epoch."""
    known = np.flatnonzero(np.isfinite(values))
    return known + 1, values[known]


def _mark_best(curves, sides, unit):
    """A ring round the lowest validation loss; return what the title says of it."""
    losses = curves.get("val_loss", np.empty(0))
    if len(losses) < 2 or not np.isfinite(losses).any():
        return ""
    best = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))
    side = next(ax for ax in sides if ax.get_ylabel() == "loss")
    side.plot(
        best + 1,
        losses[best],
        "o",
        color=side.xaxis.label.get_color(),
        markersize=9,
        markerfacecolor="none",
    )
    return f"; lowest validation loss {losses[best]:.3g} in {unit} {best + 1:,}"


def _colour_sides(sides, colors):
    """Two axes, each in the colour of its lines, those of the first in front."""
    sides[0].set_zorder(sides[1].get_zorder() + 1)
    sides[0].patch.set_visible(False)
    for ax, color in zip(sides, colors, strict=True):
        ax.yaxis.label.set_color(color)
        ax.tick_params(axis="y", which="both", colors=color)
    sides[1].spines[["top", "left"]].set_visible(False)


# ---- functions ----


def activation(activation, low=-6.0, high=6.0, *, second=None, ax=None):
    """Draw an activation f with its derivatives f' and f''.

    Where f' jumps, the curves are interrupted, and a dot is the value that is taken there.

    Parameters
    ----------
    activation : str, dict or nncore.Activation
        As of `nncore.Dense`; not softmax, which is no function of one number.
    low, high : float
        From where to where.
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
    low, high = float(low), float(high)
    if not -INF < low < high < INF:
        raise ValueError(f"expected finite low < high, got {low} and {high}")
    if second is None:
        second = function.own is None or function.own.d2f is not None
    kinks = {x: slope for x, slope in sorted(function.kinks.items()) if low < x < high}
    ends = [low, *kinks, high]
    pieces = [  # a jump is not a slope
        np.linspace(np.nextafter(left, right), np.nextafter(right, left), 401)
        for left, right in zip(ends[:-1], ends[1:], strict=True)
    ]
    curves = [("f(x)", function.f, "-", BLUE), ("f'(x)", function.df, "--", RED)]
    if second:
        curves.append(("f''(x)", function.d2f, ":", GREEN))
    values = [[f(x) for x in pieces] for _, f, _, _ in curves]  # a user's function may fail
    ax = drawing.axes(ax)
    for (label, _, style, color), parts in zip(curves, values, strict=True):
        for x, y in zip(pieces, parts, strict=True):
            ax.plot(x, y, style, color=color, label=label)
            label = None
    if kinks:
        taken = ", ".join(f"f'({x:.3g}) = {slope:.3g}" for x, slope in kinks.items())
        label = taken if len(kinks) <= 3 else f"f' at {len(kinks)} kinks"
        ax.plot(*zip(*kinks.items(), strict=True), "o", color=RED, label=label)
    formula = re.sub(r"\d+\.\d{6,}", lambda found: f"{float(found[0]):.5g}", function.formula)
    drawing.finish(ax, f"{function}: {formula}", xlabel="x")
    ax.legend()
    return ax


# ---- layers ----


def gradient_flow(source, X=None, y=None, *, what="gradient_norm", ax=None):
    """Draw how much gradient reaches each layer: as bars now, or as lines over training.

    Parameters
    ----------
    source : Network, or nncore.History
        A network, with `X` and `y`: the 2-norm of the gradient of the mean loss by the parameters
        of each layer. Or the history of a training that a `nncore.Monitor` watched: a line per
        layer, the first ones dark.
    X : array_like, shape (n_rows, n_in), optional
    y : array_like, optional
        As in `Network.fit`.
    what : str, default "gradient_norm"
        What of a history to draw: also "slope", the mean of |f'|, "saturated", the share of units
        with next to no slope, "dead", their number without any, or "update_ratio". Epochs that the
        monitor did not look at have no point; with ``every=1`` it looks at all.
    ax : matplotlib.axes.Axes, optional
        Where; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import nncore
    >>> X, y = nncore.datasets.load_digits()
    >>> layers = [nncore.Dense(16, "sigmoid") for _ in range(4)]
    >>> net = nncore.Network(64, *layers, nncore.Dense(10, "softmax"), seed=0)
    >>> ax = nncore.plots.gradient_flow(net, X / 16, y)
    >>> len(ax.patches), ax.get_xscale()
    (5, 'log')
    """
    if isinstance(source, Mapping):
        if X is not None or y is not None:
            raise TypeError("X and y are for a network: a history is drawn as it is")
        return _flow_over_time(source, what, ax)
    if X is None or y is None:
        raise TypeError("gradient_flow needs a history alone, or a network with X and y")
    if what != "gradient_norm":
        raise ValueError(
            f"of a network only its gradient_norm is drawn, not {what!r}; that is for a history of "
            "nncore.Monitor"
        )
    loss, gradient = drawing.network(source).loss_and_gradient(X, y)
    labels, norms, at = [], [], 0
    for number, layer in numbered(source.layers):
        size = sum(values.size for values in layer.parameters().values())
        if size:
            labels.append(f"{number}  {type(layer).__name__} {shape_of(layer)}")
            norms.append(norm(gradient[at : at + size]))
        at += size
    ax = drawing.axes(ax, (6.4, max(2.4, 0.3 * len(norms) + 1.2)))
    bars = ax.barh(range(len(norms)), norms, color=BLUE, height=0.7)
    ax.bar_label(bars, fmt="%.2g", padding=3, fontsize="small")
    ax.set_yticks(range(len(norms)), labels)
    ax.invert_yaxis()
    ax.margins(x=0.1)  # for the numbers
    if drawing.log_if_wide(ax, [norms], "x"):
        ax.set_xlim(left=min(size for size in norms if size > 0) / 2)
    drawing.finish(
        ax, f"Gradient of each layer, at loss {loss:.3g}", xlabel="2-norm of the layer's gradient"
    )
    ax.grid(visible=False, axis="y")
    return ax


def _flow_over_time(history, what, ax):
    layers = _layers_of(history, what)
    ax = drawing.axes(ax)
    from matplotlib import colormaps

    colors = colormaps["viridis"](np.linspace(0, 0.9, len(layers)))
    named = np.linspace(0, len(layers) - 1, min(len(layers), 12)).round()
    for i, (name, values) in enumerate(layers.items()):
        ax.plot(
            *_points(values), color=colors[i], label=name if i in named else None, markersize=4,
            marker="o" if np.isfinite(values).sum() <= 20 else None,
        )  # fmt: skip
    if what == "saturated":
        ax.yaxis.set_major_formatter(drawing.percent)
        ax.set_ylim(-0.02, 1.02)
    elif what == "dead":
        ax.set_ylim(-0.2, max(1, np.nan_to_num(np.concatenate([*layers.values()])).max()) + 0.2)
        drawing.whole_numbers(ax.yaxis)
    else:
        drawing.log_if_wide(ax, layers.values())
    last = max(map(len, layers.values()))  # the axis has all epochs, looked at or not
    ax.set_xlim(1 - max(0.02 * last, 0.1), last + max(0.02 * last, 0.1))
    words = _WORDS.get(what, what.replace("_", " "))
    drawing.finish(ax, f"{words[0].upper()}{words[1:]} of each layer", xlabel="epoch", ylabel=words)
    drawing.whole_numbers(ax.xaxis)
    ax.legend(title="layer", **drawing.BESIDE)
    return ax


def _layers_of(history, what):
    """What a `nncore.Monitor` recorded of each layer, by the layer's number as in a summary."""
    found = {name: re.fullmatch(r"((?:\.?layers\[\d+\])+)\.(\w+)", name) for name in history}
    found = {name: match.groups() for name, match in found.items() if match}
    layers = {
        ".".join(re.findall(r"\d+", layer)): name
        for name, (layer, recorded) in found.items()
        if recorded == what
    }
    if not layers:
        known = ", ".join(dict.fromkeys(recorded for _, recorded in found.values()))
        hint = f"it has: {known}" if known else "train with a nncore.Monitor"
        raise ValueError(f"the history has no {what!r} of layers; {hint}")
    curves = _curves(history, layers.values())
    return dict(zip(layers, curves.values(), strict=True))


def weights(net, layer=0, *, shape=None, units=None, ax=None):
    """Draw the weight matrix of a layer: blue is negative, white 0, red positive.

    The colours end where 99.5 % of the weights do, so that a few large ones do not hide all others.

    Parameters
    ----------
    net : Network
    layer : int or Layer, default 0
        Its number in ``net.layers``, or the layer itself, which may be one of a `Residual`.
    shape : tuple of int, optional
        Draw the weights into each unit as an image of this shape, such as (8, 8) for the digits.
    units : sequence of int, optional
        Which units, by default all; as images, the first 100.
    ax : matplotlib.axes.Axes, optional
        Where; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Notes
    -----
    Of a matrix with more than 1,000 rows or columns the means of blocks are drawn. Weights that are
    not finite are left empty.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(64, nncore.Dense(12, "tanh"), nncore.Dense(10, "softmax"), seed=0)
    >>> nncore.plots.weights(net, 0, shape=(8, 8)).get_title(loc="left")
    'Weights of layer 0, Dense 64 to 12'
    """
    name, W = _matrix(net, layer)
    if shape is not None:
        shape = _as_shape(shape, len(W))
    chosen = _as_units(units, W.shape[1], None if shape is None else 100)
    drawn = W[:, chosen].astype(float)
    sizes = np.abs(drawn[np.isfinite(drawn)])
    largest = sizes.max(initial=0)
    limit = float(np.quantile(sizes, 0.995)) if sizes.size > 200 else largest
    extend = "both" if largest > limit else "neither"
    title = f"Weights of {name}"
    if len(chosen) < W.shape[1]:
        title += f", {len(chosen)} of {W.shape[1]} units"
    if shape is not None:
        picture = _grid(drawn, shape)
    else:
        picture, block = _shrunk(drawn)
        title += f", means of {block}" if block else ""
    ax = drawing.axes(ax)
    image = ax.imshow(
        picture, cmap=DIVERGING, vmin=-limit or -1, vmax=limit or 1,
        aspect="equal" if shape else "auto",
        extent=None if shape else (-0.5, len(chosen) - 0.5, len(W) - 0.5, -0.5),
    )  # fmt: skip
    ax.figure.colorbar(image, ax=ax, extend=extend, label="weight", shrink=0.8 if shape else 1)
    if shape is None:
        drawing.finish(ax, title, grid=False, xlabel="unit", ylabel="input")
        drawing.whole_numbers(ax.xaxis)
        drawing.whole_numbers(ax.yaxis)
        if units is not None:
            ax.set_xticks(range(len(chosen)), chosen)
        if picture.size <= 64:
            _write_values(ax, picture, limit)
    else:
        drawing.finish(ax, title, grid=False, xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return ax


def _matrix(net, layer):
    """The name and the weights of a layer."""
    layers = list(numbered(drawing.network(net).layers))
    if not isinstance(layer, Layer):
        try:
            layer = net.layers[operator.index(layer)]
        except (TypeError, IndexError):
            raise ValueError(
                f"layer must be a number below {len(net.layers)} or one of net.layers, got "
                f"{layer!r}"
            ) from None
    number = next((number for number, one in layers if one is layer), None)
    if number is None or not isinstance(layer, Dense):
        known = ", ".join(number for number, one in layers if isinstance(one, Dense))
        raise ValueError(
            f"{layer!r} has no weight matrix in this network; those that have: {known}"
        )
    return f"layer {number}, Dense {shape_of(layer)}", layer.W


def _as_shape(shape, n_in):
    try:
        rows, columns = map(operator.index, shape)
    except (TypeError, ValueError):
        raise ValueError(f"shape must be two integers such as (8, 8), got {shape!r}") from None
    if min(rows, columns) < 1 or rows * columns != n_in:
        raise ValueError(f"shape {shape!r} does not hold the {n_in} weights into a unit")
    return rows, columns


def _as_units(units, n_out, most):
    if units is None:
        return np.arange(n_out)[:most]
    chosen = np.asarray(units)
    whole = chosen.dtype.kind in "iu" and chosen.ndim == 1 and chosen.size
    if not whole or chosen.min() < 0 or chosen.max() >= n_out:
        raise ValueError(f"units must be numbers from 0 to {n_out - 1}, got {units!r}")
    return chosen


def _grid(W, shape):
    """The columns of W as images side by side, with nothing (NaN) between them."""
    n = W.shape[1]
    middle = np.sqrt(1.3 * n * shape[0] / shape[1])  # as wide as a figure is
    near = range(max(1, int(0.75 * middle)), min(n, int(1.3 * middle) + 1) + 1)
    across = min(near, key=lambda number: (-n % number, abs(number - middle)))
    down = -(-n // across)
    gap = max(1, min(shape) // 8)
    grid = np.full((down * (shape[0] + gap) - gap, across * (shape[1] + gap) - gap), np.nan)
    for i, image in enumerate(W.T):
        row, column = (i // across) * (shape[0] + gap), (i % across) * (shape[1] + gap)
        grid[row : row + shape[0], column : column + shape[1]] = image.reshape(shape)
    return grid


def _shrunk(W, most=1000):
    """W, or the means of its blocks where it is large, and what the blocks are."""
    rows, columns = (-(-size // most) for size in W.shape)
    if rows == columns == 1:
        return W, None
    for axis, size in enumerate((rows, columns)):
        starts = np.arange(0, W.shape[axis], size)
        counts = np.diff(np.append(starts, W.shape[axis]))
        W = np.add.reduceat(W, starts, axis=axis) / np.expand_dims(counts, 1 - axis)
    return W, f"{rows} x {columns}"


def _write_values(ax, picture, limit):
    for (row, column), value in np.ndenumerate(picture):
        color = "white" if abs(value) > 0.6 * limit else "black"
        ax.text(column, row, f"{value:.3g}", ha="center", va="center", color=color, fontsize=8)
