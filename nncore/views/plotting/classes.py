"""What a network decides, beside what is true: confusion matrices and decision regions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...loss import Loss
from ...metrics.labels import is_one_hot, numbered, two_classes
from ...validation import as_inputs, as_targets
from . import drawing
from .drawing import BLUE, COLORS, DIVERGING, RED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...network import Network

_MARKERS = "os^DvPX*<>"
_MOST = 200  # classes of a confusion matrix
_OF_ROWS = ("cross_entropy", "kl_divergence")


# ---- which class ----


def _checked(net: "Network", X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    X = as_inputs(X, net)
    return X, as_targets(y, len(X), net)


def decided(
    net: "Network", X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str]] | None:
    """Return the true and the predicted class of each row, and all classes.

    None for regression: neither labels, nor one-hot rows, nor one output of two values.
    """
    pair = two_classes(net, y)
    if pair is not None:
        if not np.isin(y, pair).all():
            raise ValueError(f"y must be {pair[0]:g} or {pair[1]:g} to be compared with classes")
        above = net.predict(X)[:, 0] > sum(pair) / 2
        return (y[:, 0] == pair[1]).astype(int), above.astype(int), [f"{v:g}" for v in pair]
    if y.ndim == 2 and net.loss.name not in _OF_ROWS and not is_one_hot(y):
        return None
    true = y if y.ndim == 1 else y.argmax(axis=1)
    return true, net.predict(X).argmax(axis=1), [str(k) for k in range(net.n_out)]


def confusion_matrix(
    *data: Any, names: Sequence[str] | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw how often each true class (row) was predicted to be which (column).

    In each cell is the number of rows and, where there is room, their share of the true class.
    What is right is blue, what is wrong red; the colour is the root of the share, so that one error
    in a hundred is seen.

    Parameters
    ----------
    *data : y_true, y_pred; or net, X, y
        Two of labels (numbers or strings), one-hot rows, or rows of probabilities or scores, whose
        largest is the class; numbers between 0 and 1, one per row, are the probability of class 1.
        Or a network with data as for `Network.evaluate`.
    names : sequence of str, optional
        Of the classes, in order; by default the labels.
    ax : matplotlib.axes.Axes, optional
        Where; by default a new figure, which is larger where there are many classes.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the data are not of classes, of more than 200, or do not fit each other.

    Examples
    --------
    >>> import nncore
    >>> ax = nncore.plots.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], names=["ham", "spam"])
    >>> ax.get_title(loc="left")
    'Accuracy 75.0 %: 3 of 4 right'
    """
    if len(data) == 3:
        net = drawing.network(data[0])
        found = decided(net, *_checked(net, *data[1:]))
        if found is None:
            raise ValueError(f"y has no classes: targets of {net.loss} are numbers here")
    elif len(data) == 2 and not drawing.is_network(data[0]):
        found = numbered(*data)
    else:
        got = ", ".join(type(each).__name__ for each in data) or "nothing"
        raise TypeError(f"expected y_true and y_pred, or net, X and y; got {got}")
    true, predicted, classes = found
    if not len(true):
        raise ValueError("there are no rows to compare")
    classes = _named(names, classes)
    k = len(classes)
    if k > _MOST:
        raise ValueError(f"there are {k:,} classes, and up to {_MOST} can be drawn; is y numbers?")
    counts = np.bincount(true * k + predicted, minlength=k * k).reshape(k, k)
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    side = min(20, max(4.8, 1.4 + (0.42 if k <= 12 else 0.28) * k))
    ax = drawing.axes(ax, (side + 0.2, side))
    signed = np.sqrt(share) * np.where(np.eye(k, dtype=bool), -1, 1)
    ax.imshow(signed, cmap=DIVERGING, vmin=-1.15, vmax=1.15)
    cell = min(drawing.cell_size(ax, k, k))  # points along a side
    _write_cells(ax, counts, share, signed, cell)
    right = int(counts.trace())
    title = f"Accuracy {100 * right / len(true):.1f} %: {right:,} of {len(true):,} right"
    drawing.finish(ax, title, grid=False, xlabel="predicted class", ylabel="true class")
    size = 10 if k <= 12 else 8
    step = int(np.ceil(1.1 * size / cell))
    wide = max(map(len, classes)) * size * 0.6 > step * cell
    ax.set_xticks(range(0, k, step), classes[::step], rotation=90 if wide else 0)
    ax.set_yticks(range(0, k, step), classes[::step])
    ax.tick_params(length=0, labelsize=size)
    ax.spines[:].set_visible(False)
    return ax


def _named(names: Sequence[str] | None, classes: list[str]) -> list[str]:
    if names is None:
        return classes
    try:
        names = [str(name) for name in names]
    except TypeError:
        raise TypeError(f"names must be a list, a name for each class, got {names!r}") from None
    if len(names) != len(classes):
        raise ValueError(f"there are {len(classes)} classes, got {len(names)} names")
    return names


def _write_cells(
    ax: Any, counts: np.ndarray, share: np.ndarray, signed: np.ndarray, cell: float
) -> None:
    """Counts, and where cells have room their shares, in a size that fits."""
    size = min(11, 1.25 * cell / max(3, len(f"{counts.max():,}")))
    if size < 4:  # nobody could read it
        return
    for (row, column), count in np.ndenumerate(counts):
        if count == 0 and row != column:
            continue
        style = {"ha": "center", "color": "white" if abs(signed[row, column]) > 0.7 else "black"}
        if cell < 25:
            ax.text(column, row, f"{count:,}", va="center", fontsize=size, **style)
            continue
        digits = 1 if cell > 50 else 0
        ax.text(column, row, f"{count:,}", va="bottom", fontsize=size, **style)
        ax.text(
            column, row + 0.04, f"{100 * share[row, column]:.{digits}f} %", va="top",
            fontsize=min(0.75 * size, cell / 4), **style,
        )  # fmt: skip


# ---- where ----


def decision_regions(
    net: "Network",
    X: "ArrayLike",
    y: "ArrayLike",
    *,
    resolution: int = 200,
    names: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw what a network with two inputs says everywhere round its data, and the data.

    For two classes by one output: its value, with the line where it decides, and for hinge losses
    the margins of -1 and 1. For several classes: the colour of the most probable, the paler the
    closer another comes. Otherwise the output as a surface with lines of equal height; points have
    the colour of their target.

    Parameters
    ----------
    net : Network
        With two inputs.
    X : array_like, shape (n_rows, 2)
    y : array_like
        As in `Network.fit`.
    resolution : int, default 200
        Points of the grid along each input, 2 to 2000.
    names : sequence of str, optional
        Of the classes, in order.
    ax : matplotlib.axes.Axes, optional
        Where; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the network has not two inputs, or several outputs that are no classes, or outputs that
        are not finite.

    Examples
    --------
    >>> import nncore
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = nncore.Network(2, nncore.Dense(8, "tanh"), nncore.Dense(1, "sigmoid"), seed=0,
    ...     optimizer="lbfgs")
    >>> history = net.fit(X, y, epochs=100, verbose=False)
    >>> nncore.plots.decision_regions(net, X, y).get_title(loc="left")
    'Accuracy 100.0 % of 4 points'
    """
    if drawing.network(net).n_in != 2:
        raise ValueError(f"decision_regions draws networks with 2 inputs, this one has {net.n_in}")
    if not isinstance(resolution, (int, np.integer)) or not 2 <= resolution <= 2000:
        raise ValueError(f"resolution must be an integer from 2 to 2000, got {resolution!r}")
    X, y = _checked(net, X, y)
    if not len(X):
        raise ValueError("X has no rows; at least one is needed.")
    found, pair = decided(net, X, y), two_classes(net, y)
    if found is None and y.shape[1] > 1:
        raise ValueError(f"{y.shape[1]} outputs that are no classes are no one surface to draw")
    low, high = X.min(axis=0).astype(float), X.max(axis=0).astype(float)
    span = np.where(high > low, high - low, 1.0)
    low, high = low - 0.08 * span, high + 0.08 * span
    x1, x2 = (np.linspace(*ends, resolution) for ends in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)
    Z = net.predict(grid).astype(float).reshape(resolution, resolution, -1)
    if not np.isfinite(Z).all():
        raise ValueError("the network's outputs are not finite here; are its parameters?")
    if found is not None:
        true, predicted, classes = found
        classes = _named(names, classes)
    ax = drawing.axes(ax)
    if found is None:
        _draw_surface(ax, x1, x2, Z[:, :, 0], X, y[:, 0])
        title = f"Loss {net.evaluate(X, y)['loss']:.3g} of {len(X):,} points"
    else:
        if pair is not None:
            _draw_score(ax, x1, x2, Z[:, :, 0], pair, net.loss)
            colors = [BLUE, RED]
        else:
            colors = [COLORS[k % len(COLORS)] for k in range(len(classes))]
            _draw_classes(ax, x1, x2, Z, colors, net)
        _draw_points(ax, X, true, colors, classes)
        title = f"Accuracy {100 * np.mean(true == predicted):.1f} % of {len(X):,} points"
    drawing.finish(ax, title, grid=False, xlabel="input 0", ylabel="input 1")
    ax.set(xlim=x1[[0, -1]], ylim=x2[[0, -1]])
    return ax


def _draw_score(
    ax: Any,
    x1: np.ndarray,
    x2: np.ndarray,
    score: np.ndarray,
    pair: tuple[float, float],
    loss: Loss,
) -> None:
    """The output of a network that decides by one."""
    from matplotlib.colors import LinearSegmentedColormap

    low, high = pair
    middle, half = (low + high) / 2, (high - low) / 2
    margin = np.abs(score - middle).max() > 1.001 * half  # scores go on beyond the targets
    reach = half * (2 if margin else 1)
    image = _picture(
        ax, x1, x2, score, vmin=middle - reach, vmax=middle + reach, alpha=0.5,
        cmap=LinearSegmentedColormap.from_list("two classes", [BLUE, "white", RED]),
    )  # fmt: skip
    label = f"probability of class {high:g}" if loss.output else "output"
    ax.figure.colorbar(image, ax=ax, label=label, extend="both" if margin else "neither")
    if np.ptp(score) > 1e-6 * half:  # otherwise the line would be one of rounding
        ax.contour(x1, x2, score, levels=[middle], colors="0.15", linewidths=1.5)
    if loss.name.endswith("hinge"):
        ax.contour(x1, x2, score, levels=pair, colors="0.15", linewidths=0.9, linestyles="dashed")


def _draw_classes(
    ax: Any, x1: np.ndarray, x2: np.ndarray, Z: np.ndarray, colors: list[str], net: "Network"
) -> None:
    """Regions of classes, pale where another is as probable."""
    from matplotlib.colors import to_rgb

    order = np.sort(Z, axis=-1)
    lead = order[:, :, -1] - order[:, :, -2]
    lead /= max(lead.max(), 1e-300)
    strength = (0.15 + 0.4 * lead)[:, :, None]
    best = Z.argmax(axis=-1)
    rgb = np.array([to_rgb(color) for color in colors])
    _picture(ax, x1, x2, 1 - strength * (1 - rgb[best]))
    for k in np.unique(best):
        others = np.delete(Z, k, axis=-1).max(axis=-1)
        if (best != k).any():
            ax.contour(x1, x2, Z[:, :, k] - others, levels=[0], colors="0.3", linewidths=0.8)


def _draw_surface(
    ax: Any,
    x1: np.ndarray,
    x2: np.ndarray,
    surface: np.ndarray,
    X: np.ndarray,
    target: np.ndarray,
) -> None:
    """The output as heights, and the data in the colours of their targets."""
    ends = min(surface.min(), target.min()), max(surface.max(), target.max())
    norm = {"cmap": "viridis", "vmin": ends[0], "vmax": ends[1]}
    image = _picture(ax, x1, x2, surface, **norm)
    if surface.max() > surface.min():
        lines = ax.contour(
            x1, x2, surface, levels=8, colors="white", linewidths=0.7, linestyles="solid"
        )
        ax.clabel(lines, fontsize=7)
    ax.scatter(*X.T, c=target, s=_size(X), edgecolors="black", linewidths=0.6, **norm)
    ax.figure.colorbar(image, ax=ax, label="output, and targets of the points")


def _draw_points(
    ax: Any, X: np.ndarray, true: np.ndarray, colors: list[str], names: list[str]
) -> None:
    for k, name in enumerate(names):
        rows = X[true == k]
        if len(rows):
            ax.scatter(
                *rows.T, s=_size(X), color=colors[k], marker=_MARKERS[k % len(_MARKERS)],
                edgecolors="white", linewidths=0.5, label=name,
            )  # fmt: skip
    ax.legend(title="class", markerscale=6 / _size(X) ** 0.5, **drawing.BESIDE)


def _size(X: np.ndarray) -> float:
    return float(np.clip(8000 / len(X), 12, 36))


def _picture(ax: Any, x1: np.ndarray, x2: np.ndarray, values: np.ndarray, **style: Any) -> Any:
    """An image whose pixels lie round the points of the grid."""
    ends = [end for x in (x1, x2) for end in (x[0] - (x[1] - x[0]) / 2, x[-1] + (x[1] - x[0]) / 2)]
    return ax.imshow(values, origin="lower", extent=ends, aspect="auto", **style)
