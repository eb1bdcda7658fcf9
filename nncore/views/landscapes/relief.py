"""A landscape drawn: contour lines from above, or a surface, with the path of a training run."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from ..plotting.drawing import BLUE, GREEN, ORANGE, PINK, RED, SKY, axes
from .directions import as_paths, percent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .landscape import Landscape

PATHS = (RED, PINK, SKY, ORANGE, BLUE, GREEN)
_WIDE = 30  # a loss that spans more than this factor is drawn on a logarithmic scale
_DECADES = 8  # but what is so far below the highest is drawn as if it were no lower
_LEVELS = 25
_SHORT = {"random": "random direction {}", "path": "principal direction {}"}


class Scale:
    """Heights and colours of the losses: the losses themselves, or their logarithms."""

    def __init__(self, landscape: "Landscape") -> None:
        finite = landscape.losses[np.isfinite(landscape.losses)]
        if not finite.size:
            raise ValueError("no loss of this landscape is finite: there is nothing to draw")
        known = np.concatenate([finite, *(losses for _, losses in landscape._paths.values())])
        low, high = float(known[np.isfinite(known)].min()), float(finite.max())
        self.log = low >= 0 and high > _WIDE * low and high > 0
        self._least = max(low, high * 10.0**-_DECADES)
        if low == high:
            low, high = low - 1e-3 * (abs(low) or 1), high + 1e-3 * (abs(high) or 1)
        self.low, self.high = float(self.heights(low)), float(self.heights(high))

    def heights(self, losses: Any) -> np.ndarray:
        """Return where losses stand on this scale; what is not finite is NaN."""
        losses = np.where(np.isfinite(losses), losses, np.nan)
        heights: np.ndarray = np.log10(np.maximum(losses, self._least)) if self.log else losses
        return heights

    def on_surface(self, landscape: "Landscape", points: np.ndarray) -> np.ndarray:
        """Return the heights of the surface at points (n, 2): bilinear; NaN beside the grid."""
        heights, places, parts, inside = self.heights(landscape.losses), [], [], True
        for x, axis in zip(points.T, (landscape.a, landscape.b), strict=True):
            at = (x - axis[0]) / (axis[-1] - axis[0]) * (len(axis) - 1)  # whole at both ends
            inside = inside & (at >= 0) & (at <= len(axis) - 1)
            places.append(np.clip(at.astype(int), 0, len(axis) - 2))
            parts.append(at - places[-1])
        (i, j), (s, t) = places, parts
        left = (1 - t) * heights[i, j] + t * heights[i, j + 1]
        right = (1 - t) * heights[i + 1, j] + t * heights[i + 1, j + 1]
        return np.where(inside, (1 - s) * left + s * right, np.nan)

    def levels(self, n: int = _LEVELS) -> np.ndarray:
        return np.linspace(self.low, self.high, n)

    def ticks(self) -> tuple[np.ndarray, list[str]]:
        """Return heights and texts for an axis of losses, some five to eight round numbers."""
        if not self.log:
            from matplotlib.ticker import MaxNLocator

            losses = MaxNLocator(6).tick_values(self.low, self.high)
        else:
            decades = np.arange(np.floor(self.low), np.ceil(self.high) + 1)
            for factors in ((1, 2, 5), (1, 3), (1,)):
                losses = np.array([f * 10.0**d for d in decades for f in factors])
                heights = self.heights(losses)
                if ((heights >= self.low) & (heights <= self.high)).sum() <= 8:
                    break
        heights = np.log10(losses) if self.log else losses
        inside = (heights >= self.low - 1e-9) & (heights <= self.high + 1e-9)
        return heights[inside], [f"{loss:.6g}" for loss in losses[inside]]


def landscape(
    landscape: "Landscape", *, paths: Any = None, kind: Literal["2d", "3d"] = "2d",
    ax: "Axes | None" = None,
) -> "Axes":  # fmt: skip
    """Draw a `nncore.Landscape`, with the paths of training runs on it.

    Parameters
    ----------
    landscape : nncore.Landscape
    paths : optional
        Paths to draw beside those of the landscape, in the ways that `nncore.landscape` takes them.
        Points of the map are those nearest to them; on a surface they lie on it, while those of the
        landscape stand at their own losses.
    kind : {"2d", "3d"}, default "2d"
        "2d": a map with contour lines; "3d": a surface. Levels and heights are logarithmic where
        the loss spans more than a factor of 30.
    ax : matplotlib.axes.Axes, optional
        Where; by default a new figure. For "3d" they must have ``projection="3d"``.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import nncore
    >>> X, y = [[1.0], [2.0]], [3.0, 5.0]
    >>> paths = {"slow": nncore.Path(), "fast": nncore.Path()}
    >>> for path, rate in zip(paths.values(), (0.02, 0.2)):
    ...     net = nncore.Network(
    ...         1, nncore.Dense(1, init="zeros"), optimizer=nncore.SGD(rate), dtype="float64")
    ...     history = net.fit(X, y, epochs=30, callbacks=[path], verbose=False)
    >>> found = nncore.landscape(net, X, y, directions=("w12", "b2"), path=paths)
    >>> ax = nncore.plots.landscape(found)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['slow: to loss 0.00492', 'fast: to loss 0.000498', 'start', \
'network: still on a slope, loss 0.000498']
    """
    if kind not in ("2d", "3d"):
        raise ValueError(f'kind must be "2d", a map, or "3d", a surface; got {kind!r}')
    given = as_paths(paths, len(landscape.origin))
    clash = sorted(given.keys() & landscape._paths.keys() - {""})
    if clash:
        raise ValueError(f"the landscape has a path {clash[0]!r} already: give it another name")
    scale = Scale(landscape)
    found: list[tuple[str, np.ndarray, np.ndarray | None]]
    found = [(name, *path) for name, path in landscape._paths.items()]
    found += [(name, landscape.project(rows), None) for name, rows in given.items()]
    lines = [
        Line(name, points, scale.on_surface(landscape, points) if losses is None
             else scale.heights(losses), losses, PATHS[i % len(PATHS)])
        for i, (name, points, losses) in enumerate(found)
    ]  # fmt: skip
    return (_draw_map if kind == "2d" else _draw_surface)(landscape, scale, lines, ax)


class Line(NamedTuple):
    """A path to be drawn: its points (n, 2), their heights, and their losses if they are known."""

    name: str
    points: np.ndarray
    heights: np.ndarray
    losses: np.ndarray | None
    color: str

    @property
    def label(self) -> str | None:
        if not self.name or self.losses is None:
            return self.name or None
        return f"{self.name}: to loss {self.losses[-1]:.3g}"


def _draw_map(landscape: "Landscape", scale: Scale, lines: list[Line], ax: Any) -> Any:
    """Contour lines, and the paths over them."""
    ax = axes(ax, (6.4, 5.0))
    a, b = landscape.a, landscape.b
    heights = np.ma.masked_invalid(scale.heights(landscape.losses).T)
    levels = scale.levels()
    filled = ax.contourf(a, b, heights, levels, cmap="viridis")
    ax.contour(a, b, heights, levels, colors="white", linewidths=0.4, alpha=0.5)
    ax.set_facecolor("0.85")  # where the loss is not finite
    bar = ax.figure.colorbar(filled, ax=ax, label="loss")
    ticks, texts = scale.ticks()
    bar.set_ticks(ticks, labels=texts)
    for line in lines:
        ax.plot(*line.points.T, "-", color="white", linewidth=2.4, alpha=0.9)
        ax.plot(*line.points.T, "-o", color=line.color, linewidth=1.2, markersize=2,
                label=line.label)  # fmt: skip
        if line.name:
            ax.plot(*line.points[-1], "s", color=line.color, markeredgecolor="white", zorder=4)
    for start, _, style in _starts(lines):
        ax.plot(*start, "o", **style, zorder=3)
    ax.plot(*landscape.center, "*", **_STAR, zorder=4, label=_end(landscape))
    ax.set(xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    ax.set(xlabel=_axis(landscape, 0), ylabel=_axis(landscape, 1))
    ax.set_title(_title(landscape), loc="left", fontsize="medium")
    ax.legend(loc="best", fontsize="small", framealpha=0.85)
    return ax


def _draw_surface(landscape: "Landscape", scale: Scale, lines: list[Line], ax: Any) -> Any:
    """A surface, its contour lines below it, and the paths on it."""
    ax = _axes_3d(ax)
    a, b, heights = landscape.a, landscape.b, scale.heights(landscape.losses)
    grid = np.meshgrid(a, b, indexing="ij")
    floor = scale.low - 0.25 * (scale.high - scale.low)
    ax.plot_surface(
        *grid, heights, cmap="viridis", vmin=scale.low, vmax=scale.high, rstride=1, cstride=1,
        linewidth=0, antialiased=False, alpha=0.9,
    )  # fmt: skip
    ax.contour(*grid, np.ma.masked_invalid(heights), scale.levels(15), zdir="z", offset=floor,
               cmap="viridis", linewidths=0.8)  # fmt: skip
    for line in lines:
        ax.plot(*line.points.T, line.heights, color=line.color, linewidth=2, zorder=10,
                label=line.label)  # fmt: skip
        ax.plot(*line.points.T, floor, color=line.color, linewidth=1, zorder=5)
        if line.name:
            ax.plot(*line.points[-1:].T, line.heights[-1:], "s", color=line.color,
                    markeredgecolor="white", zorder=12)  # fmt: skip
    for start, height, style in _starts(lines):
        ax.plot(*([x] for x in (*start, height)), "o", **style, zorder=11)
    end = (*landscape.center, float(scale.heights(landscape.center_loss)))
    ax.plot(*([x] for x in end), "*", **_STAR, zorder=13, label=_end(landscape))
    ax.set(xlim=(a[0], a[-1]), ylim=(b[0], b[-1]), zlim=(floor, scale.high))
    ax.set_xlabel(_axis(landscape, 0, short=True), labelpad=8)
    ax.set_ylabel(_axis(landscape, 1, short=True), labelpad=10)
    ax.set_zlabel("loss", labelpad=12)
    ticks, texts = scale.ticks()
    ax.set_zticks(ticks, labels=texts)
    ax.tick_params(labelsize="small")
    ax.view_init(elev=35, azim=-60)
    ax.set_title(_title(landscape), loc="left", fontsize="medium")
    ax.legend(loc="upper right", fontsize="small")
    return ax


_STAR = {"color": "#F0E442", "markeredgecolor": "black", "markersize": 15}


def _starts(lines: list[Line]) -> Iterator[tuple[np.ndarray, float, dict[str, Any]]]:
    """Yield the point, the height and the style of each mark of a start; one if all are one."""
    same = len(lines) > 1 and all(
        np.array_equal(line.points[0], lines[0].points[0]) for line in lines
    )
    for i, line in enumerate(lines[:1] if same else lines):
        style = {"markeredgecolor": "black" if same else line.color, "markersize": 8}
        style |= {"color": "white", "label": None if i else "start"}
        yield line.points[0], line.heights[0], style


def _axes_3d(ax: Any) -> Any:
    if ax is None:
        axes(None)  # says how to install what is missing
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.2, 6.0))
        figure.subplots_adjust(left=0.02, right=0.9, bottom=0.08, top=0.95)
        return figure.add_subplot(projection="3d")
    if not hasattr(axes(ax), "plot_surface"):
        raise ValueError('kind="3d" needs axes with projection="3d"')
    ax.set_box_aspect(None, zoom=0.85)  # room for the label on the right
    return ax


def _axis(landscape: "Landscape", i: int, short: bool = False) -> str:
    """What stands at an axis: a short name, and the share of the variance of the paths' points."""
    text = _SHORT.get(landscape.kind, landscape.labels[i]).format(i + 1)
    if landscape.explained is not None and landscape.kind != "weights":
        share = percent(landscape.explained[i])
        text += f" ({share})" if short else f" ({share} of the variance)"
    return text


def _title(landscape: "Landscape") -> str:
    of = {
        "random": "along two random directions",
        "path": f"in the plane of the path{'s' * (len(landscape._paths) > 1)}",
        "weights": f"over {landscape.labels[0]} and {landscape.labels[1]}",
        "vectors": "along two directions",
    }
    return f"Loss {of[landscape.kind]}"


def _end(landscape: "Landscape") -> str:
    name = "end" if "" in landscape._paths else "network"
    loss = f"loss {landscape.center_loss:.3g}"
    if landscape.end is None:
        return f"{name}: {loss}"
    verdict = landscape.end.verdict
    return f"{name}: {'still on a slope' if verdict == 'slope' else verdict}, {loss}"
