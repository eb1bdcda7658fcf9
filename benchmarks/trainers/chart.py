"""A picture: the median loss of each trainer against time."""

from __future__ import annotations

import numpy as np

from .problems import PROBLEMS

CHARTED = ("digits", "sine-20", "spirals")
COLORS = {
    "lm": "#d1242f", "lbfgs": "#4c78a8", "bfgs": "#2f4b6e", "scg": "#54a24b",
    "cg_polak_ribiere": "#9ecae9", "irprop+": "#f58518", "steepest_descent": "#b5b5b5",
    "adam": "#b279a2", "sgd": "#8c6d31",
}  # fmt: skip


def draw(results, path):
    """Write a chart of runs to a file whose ending says the format; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in CHARTED if name in results] or list(results)[:3]
    figure, axes = pyplot.subplots(
        1, len(names), figsize=(3.4 * len(names), 3.2), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[0], names, strict=True):
        _panel(axis, name, results[name])
    marks = {}
    for axis in axes[0]:
        marks |= {label: m for m, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    marks = {name: marks[name] for name in COLORS if name in marks}
    figure.legend(
        marks.values(), marks.keys(), loc="outside upper center", ncols=5, frameon=False, fontsize=8
    )
    figure.supxlabel("loss against milliseconds", fontsize=8, color="0.35")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    if str(path).endswith(".png"):  # lines of few colours: a third of the bytes
        from PIL import Image

        with Image.open(path) as image:
            small = image.convert("RGB").quantize(96, dither=Image.Dither.NONE)
        small.save(path, optimize=True)


def _panel(axis, name, runs):
    problem = PROBLEMS[name]
    for trainer, color in COLORS.items():
        if trainer in runs and (curve := median_curve(runs[trainer])) is not None:
            axis.plot(*curve, color=color, label=trainer, linewidth=1.4)
    axis.axhline(problem.goal, color="0.4", linewidth=0.8, linestyle=":")
    axis.set(xscale="log", yscale="log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.yaxis.set_minor_formatter("")
    axis.set_title(f"{problem.title.split(',')[0]}, {problem.shape}", fontsize=9, loc="left")


def median_curve(runs):
    """Milliseconds and the median loss then, until half of the runs are over.

    A run that reached its goal stays there, one that failed where it failed.
    """
    runs = [run for run in runs if run.losses]
    if not runs:
        return None
    last = np.median([run.times[-1] for run in runs])
    first = np.median([run.times[0] for run in runs])
    if not first < last:
        return None
    grid = np.geomspace(first, last, 100)
    losses = []
    for run in runs:
        epoch = np.searchsorted(run.times, grid, side="right") - 1
        losses.append(np.asarray(run.losses)[np.maximum(epoch, 0)])
    return 1e3 * grid, np.median(losses, axis=0)
