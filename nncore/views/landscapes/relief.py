"""A landscape drawn: contour lines from above, or a surface, with the path of a training run."""

from __future__ import annotations

import numpy as np

from ..plotting.drawing import axes
from .directions import percent

_WIDE = 30  # a loss that spans more than this factor is drawn on a logarithmic scale
_DECADES = 8  # but what is so far below the highest is drawn as if it were no lower
_LEVELS = 25
_SHORT = {"random": "random direction {}", "path": "principal direction {}"}


class Scale:
    """Heights and colours of the losses: the losses themselves, or their logarithms."""

    def __init__(self, landscape):
        finite = landscape.losses[np.isfinite(landscape.losses)]
        if not finite.size:
            raise ValueError("no loss of this landscape is finite: there is nothing to draw")
        low, high = float(finite.min()), float(finite.max())
        if landscape.path_losses is not None:
            low = min(low, float(landscape.path_losses.min()))
        self.log = low >= 0 and high > _WIDE * low and high > 0
        self._least = max(low, high * 10.0**-_DECADES)
        if low == high:
            low, high = low - 1e-3 * (abs(low) or 1), high + 1e-3 * (abs(high) or 1)
        self.low, self.high = float(self.heights(low)), float(self.heights(high))

    def heights(self, losses):
        """Return where losses stand on this scale; what is not finite is NaN."""
        losses = np.where(np.isfinite(losses), losses, np.nan)
        return np.log10(np.maximum(losses, self._least)) if self.log else losses

    def levels(self, n=_LEVELS):
        return np.linspace(self.low, self.high, n)

    def ticks(self):
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


def draw_map(landscape, ax):
    """Draw contour lines, and the path over them."""
    ax = axes(ax, (6.4, 5.0))
    scale = Scale(landscape)
    a, b, heights = (
        landscape.a,
        landscape.b,
        np.ma.masked_invalid(scale.heights(landscape.losses).T),
    )
    levels = scale.levels()
    filled = ax.contourf(a, b, heights, levels, cmap="viridis")
    ax.contour(a, b, heights, levels, colors="white", linewidths=0.4, alpha=0.5)
    ax.set_facecolor("0.85")  # where the loss is not finite
    bar = ax.figure.colorbar(filled, ax=ax, label="loss")
    ticks, texts = scale.ticks()
    bar.set_ticks(ticks, labels=texts)
    if landscape.path is not None:
        ax.plot(*landscape.path.T, "-", color="white", linewidth=2.4, alpha=0.9)
        ax.plot(*landscape.path.T, "-o", color="#D55E00", linewidth=1.2, markersize=2)
        ax.plot(*landscape.path[0], "o", color="white", markeredgecolor="#D55E00", markersize=8,
                label="start", zorder=3)  # fmt: skip
    at = landscape.center
    ax.plot(*at, "*", color="#F0E442", markeredgecolor="black", markersize=15, zorder=4,
            label=_end(landscape))  # fmt: skip
    ax.set(
        xlim=(a[0], a[-1]),
        ylim=(b[0], b[-1]),
        xlabel=_axis(landscape, 0),
        ylabel=_axis(landscape, 1),
    )
    ax.set_title(_title(landscape), loc="left", fontsize="medium")
    ax.legend(loc="upper right", fontsize="small", framealpha=0.85)
    return ax


def draw_surface(landscape, ax):
    """Draw a surface, its contour lines below it, and the path on it."""
    ax = _axes_3d(ax)
    scale = Scale(landscape)
    a, b, heights = landscape.a, landscape.b, scale.heights(landscape.losses)
    grid = np.meshgrid(a, b, indexing="ij")
    floor = scale.low - 0.25 * (scale.high - scale.low)
    ax.plot_surface(
        *grid, heights, cmap="viridis", vmin=scale.low, vmax=scale.high, rstride=1, cstride=1,
        linewidth=0, antialiased=False, alpha=0.9,
    )  # fmt: skip
    ax.contour(*grid, np.ma.masked_invalid(heights), scale.levels(15), zdir="z", offset=floor,
               cmap="viridis", linewidths=0.8)  # fmt: skip
    if landscape.path is not None:
        line = (*landscape.path.T, scale.heights(landscape.path_losses))
        ax.plot(*line, color="#D55E00", linewidth=2, zorder=10)
        ax.plot(*(x[:1] for x in line), "o", color="white", markeredgecolor="#D55E00",
                markersize=8, zorder=11, label="start")  # fmt: skip
        ax.plot(*landscape.path.T, floor, color="#D55E00", linewidth=1, zorder=5)
    end = (*landscape.center, float(scale.heights(landscape.center_loss)))
    ax.plot(*([x] for x in end), "*", color="#F0E442", markeredgecolor="black", markersize=14,
            zorder=12, label=_end(landscape))  # fmt: skip
    ax.set(xlabel=_axis(landscape, 0, short=True), ylabel=_axis(landscape, 1, short=True),
           zlabel="loss", xlim=(a[0], a[-1]), ylim=(b[0], b[-1]),
           zlim=(floor, scale.high))  # fmt: skip
    ax.zaxis.labelpad = 12
    ticks, texts = scale.ticks()
    ax.set_zticks(ticks, labels=texts)
    ax.view_init(elev=35, azim=-60)
    ax.set_title(_title(landscape), loc="left", fontsize="medium")
    ax.legend(loc="upper right", fontsize="small")
    return ax


def _axes_3d(ax):
    if ax is None:
        axes(None)  # says how to install what is missing
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.2, 6.0))
        figure.subplots_adjust(left=0.02, right=0.9, bottom=0.08, top=0.95)
        return figure.add_subplot(projection="3d")
    if not hasattr(axes(ax), "plot_surface"):
        raise ValueError('kind="3d" needs axes with projection="3d"')
    return ax


def _axis(landscape, i, short=False):
    """What stands at an axis: a short name, and the share of the path's variance."""
    text = _SHORT.get(landscape.kind, landscape.labels[i]).format(i + 1)
    if landscape.explained is not None and landscape.kind != "weights":
        share = percent(landscape.explained[i])
        text += f" ({share})" if short else f" ({share} of the path's variance)"
    return text


def _title(landscape):
    of = {
        "random": "along two random directions",
        "path": "in the plane of the path",
        "weights": f"over {landscape.labels[0]} and {landscape.labels[1]}",
        "vectors": "along two directions",
    }
    return f"Loss {of[landscape.kind]}"


def _end(landscape):
    name = "end" if landscape.path is not None else "network"
    loss = f"loss {landscape.center_loss:.3g}"
    if landscape.end is None:
        return f"{name}: {loss}"
    verdict = landscape.end.verdict
    return f"{name}: {'still on a slope' if verdict == 'slope' else verdict}, {loss}"
