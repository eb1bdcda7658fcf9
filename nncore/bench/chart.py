"""A picture of results for a README: a group of marks per case, on a logarithmic scale."""

from pathlib import Path
from typing import Any

from .cases import Case
from .runner import Result

COLORS = {
    "nncore": "#d1242f", "numpy": "#4c78a8", "sklearn": "#f58518", "torch": "#b279a2",
    "torch-compile": "#7a4f70", "jax": "#54a24b", "onnx": "#8c6d31",
}  # fmt: skip
TITLES = {
    "train": "training step",
    "online": "online learning, per sample",
    "predict": "prediction, per call",
}


def draw(document: dict[str, Any], path: Path) -> None:
    """Write a chart of a document to a file whose ending says the format; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = [Result(**result) for result in document["results"]]
    modes = list(dict.fromkeys(result.mode for result in results))
    counts = [sum(result.mode == mode for result in results) for mode in modes]
    figure, axes = pyplot.subplots(
        len(modes), 1, figsize=(9, 1.1 * len(modes) + 0.34 * sum(counts) + 0.6), squeeze=False,
        height_ratios=[count + 1 for count in counts], layout="constrained",
    )  # fmt: skip
    for axis, mode in zip(axes[:, 0], modes, strict=True):
        _panel(axis, mode, [result for result in results if result.mode == mode])
    marks: dict[str, Any] = {}
    for axis in axes[:, 0]:
        marks |= {label: m for m, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    marks["floor"] = marks.pop("floor")  # last
    figure.legend(
        marks.values(), marks.keys(), loc="outside upper center", ncols=len(marks), frameon=False
    )
    head = document["header"]
    what = f"{head['processor']}, threads: {head['threads']}, instruction set: {head['isa']}"
    figure.supxlabel(f"microseconds, logarithmic ({what})", fontsize=8, color="0.35")
    figure.savefig(path, dpi=144)
    pyplot.close(figure)


def _panel(axis: Any, mode: str, results: list[Result]) -> None:
    """One mode: a row per case, a mark per system, the floor as a tick."""
    systems = [name for name in COLORS if any(result.shown(name) for result in results)]
    for name in systems:
        points = [
            (1e6 * seconds, row)
            for row, result in enumerate(results) if (seconds := result.shown(name))
        ]  # fmt: skip
        ours = name == "nncore"  # large, and behind: it must not hide a peer that is as fast
        axis.scatter(
            *zip(*points, strict=True), s=80 if ours else 30, marker="D" if ours else "o",
            color=COLORS[name], label=name, zorder=3 if ours else 4,
        )  # fmt: skip
    axis.scatter(
        [1e6 * result.floor for result in results], range(len(results)), marker="|", s=160,
        color="0.2", label="floor", zorder=5,
    )  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(results)), [_label(result) for result in results], fontsize=8)
    axis.invert_yaxis()
    axis.margins(y=0.6 / max(1, len(results)))
    axis.grid(axis="x", color="0.9")
    axis.grid(axis="y", color="0.95")
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(left=False)
    axis.set_title(TITLES[mode], fontsize=9, loc="left")


def _label(result: Result) -> str:
    case = Case.parse(result.case, result.mode)
    what = "rows" if case.mode == "predict" else "batch"
    return f"{case.shape} {case.activation}, {what} {case.batch}"
