"""Layers drawn: how much gradient reaches each, and their weights."""

import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...layers import Dense, Layer
from ...trainers.problem import norm
from . import drawing
from .curves import WORDS, as_curves, draw_epochs
from .drawing import BLUE, DIVERGING, numbered, shape_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...network import Network


def gradient_flow(
    source: "Network | Mapping[str, Sequence[float]]",
    X: "ArrayLike | None" = None,
    y: "ArrayLike | None" = None,
    *,
    what: str = "gradient_norm",
    ax: "Axes | None" = None,
) -> "Axes":
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
    net = drawing.network(source, "source must be a nncore.Network or a history")
    loss, gradient = net.loss_and_gradient(X, y)
    labels, norms, at = [], [], 0
    for number, layer in numbered(net.layers):
        size = sum(values.size for values in layer.parameters().values())
        if size:
            labels.append(f"{number}  {type(layer).__name__} {shape_of(layer)}")
            norms.append(norm(gradient[at : at + size]))
        at += size
    ax = drawing.axes(ax, (6.4, max(2.4, 0.3 * len(norms) + 1.2)))
    bars = ax.barh(range(len(norms)), drawing.drawable(norms), color=BLUE, height=0.7)
    ax.bar_label(bars, [f"{size:.2g}" for size in norms], padding=3, fontsize="small")
    ax.set_yticks(range(len(norms)), labels)
    ax.invert_yaxis()
    ax.margins(x=0.1)  # for the numbers
    if drawing.scale(ax, [norms], "x"):
        ax.set_xlim(left=min(size for size in norms if size > 0) / 2)
    drawing.finish(
        ax, f"Gradient of each layer, at loss {loss:.3g}", xlabel="2-norm of the layer's gradient"
    )
    ax.grid(visible=False, axis="y")
    return ax


def _flow_over_time(history: Mapping[str, Sequence[float]], what: str, ax: "Axes | None") -> "Axes":
    layers = _layers_of(history, what)
    ax = drawing.axes(ax)
    from matplotlib import colormaps

    colors = colormaps["viridis"](np.linspace(0, 0.9, len(layers)))
    named = np.linspace(0, len(layers) - 1, min(len(layers), 12)).round()
    for i, (name, values) in enumerate(layers.items()):
        draw_epochs(ax, values, colors[i], name if i in named else None)
    if what == "saturated":
        ax.yaxis.set_major_formatter(drawing.percent)
        ax.set_ylim(-0.02, 1.02)
    elif what == "dead":
        ax.set_ylim(-0.2, max(1, np.nan_to_num(np.concatenate([*layers.values()])).max()) + 0.2)
        drawing.whole_numbers(ax.yaxis)
    else:
        drawing.scale(ax, map(drawing.drawable, layers.values()))
    last = max(map(len, layers.values()))  # the axis has all epochs, looked at or not
    ax.set_xlim(1 - max(0.02 * last, 0.1), last + max(0.02 * last, 0.1))
    words = WORDS.get(what, what.replace("_", " "))
    drawing.finish(ax, f"{words[0].upper()}{words[1:]} of each layer", xlabel="epoch", ylabel=words)
    drawing.whole_numbers(ax.xaxis)
    ax.legend(title="layer", **drawing.BESIDE)
    return ax


def _layers_of(history: Mapping[str, Sequence[float]], what: str) -> dict[str, np.ndarray]:
    """What a `nncore.Monitor` recorded of each layer, by the layer's number as in a summary."""
    found = {}
    for name in history:
        if match := re.fullmatch(r"((?:\.?layers\[\d+\])+)\.(\w+)", name):
            found[name] = match[1], match[2]
    layers = {
        ".".join(re.findall(r"\d+", layer)): name
        for name, (layer, recorded) in found.items()
        if recorded == what
    }
    if not layers:
        known = ", ".join(dict.fromkeys(recorded for _, recorded in found.values()))
        hint = f"it has: {known}" if known else "train with a nncore.Monitor"
        raise ValueError(f"the history has no {what!r} of layers; {hint}")
    curves = as_curves(history, layers.values())
    return dict(zip(layers, curves.values(), strict=True))


def weights(
    net: "Network",
    layer: int | Layer = 0,
    *,
    shape: Sequence[int] | None = None,
    units: Sequence[int] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
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


def _matrix(net: "Network", layer: int | Layer) -> tuple[str, np.ndarray]:
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


def _as_shape(shape: Sequence[int], n_in: int) -> tuple[int, int]:
    try:
        rows, columns = map(operator.index, shape)
    except (TypeError, ValueError):
        raise ValueError(f"shape must be two integers such as (8, 8), got {shape!r}") from None
    if min(rows, columns) < 1 or rows * columns != n_in:
        raise ValueError(f"shape {shape!r} does not hold the {n_in} weights into a unit")
    return rows, columns


def _as_units(units: Sequence[int] | None, n_out: int, most: int | None) -> np.ndarray:
    if units is None:
        return np.arange(n_out)[:most]
    try:
        chosen = np.asarray(units)
    except ValueError:  # of lists of different lengths
        chosen = np.zeros(0)
    whole = chosen.dtype.kind in "iu" and chosen.ndim == 1 and chosen.size
    if not whole or chosen.min() < 0 or chosen.max() >= n_out:
        raise ValueError(f"units must be a list of integers from 0 to {n_out - 1}, got {units!r}")
    return chosen


def _grid(W: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
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


def _shrunk(W: np.ndarray, most: int = 1000) -> tuple[np.ndarray, str | None]:
    """W, or the means of its blocks where it is large, and what the blocks are."""
    rows, columns = (-(-size // most) for size in W.shape)
    if rows == columns == 1:
        return W, None
    for axis, size in enumerate((rows, columns)):
        starts = np.arange(0, W.shape[axis], size)
        counts = np.diff(np.append(starts, W.shape[axis]))
        W = np.add.reduceat(W, starts, axis=axis) / np.expand_dims(counts, 1 - axis)
    return W, f"{rows} x {columns}"


def _write_values(ax: Any, picture: np.ndarray, limit: float) -> None:
    """The numbers in their cells, if all of them fit."""
    texts = [f"{value:.3g}" for value in picture.ravel()]
    height, width = drawing.cell_size(ax, *picture.shape)
    if height < 10 or 0.8 * width < 5 * max(map(len, texts)):  # 0.8: beside the axes is a colorbar
        return
    for ((row, column), value), text in zip(np.ndenumerate(picture), texts, strict=True):
        color = "white" if abs(value) > 0.6 * limit else "black"
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
