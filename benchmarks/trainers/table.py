"""Results as Markdown, and Markdown between the markers of a page."""

from __future__ import annotations

import math
from pathlib import Path

from .problems import PROBLEMS
from .race import TRAINERS, summary


def rows_of(cells):
    """Return the lines of a table; the first row is its head, the first column is text."""
    head, *rows = ([str(cell) for cell in row] for row in cells)
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]


def number(value):
    """Three digits are enough."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value else "0"


def problems_table(names):
    """What the problems are."""
    yield from rows_of(
        [("problem", "network", "outputs", "loss", "goal", "evaluations at most")]
        + [
            (f"{name}: {p.title}", p.shape, p.output, p.loss, f"{p.goal:g}", f"{p.limit:,}")
            for name, p in ((name, PROBLEMS[name]) for name in names)
        ]
    )


def race_tables(results, seeds):
    """Two tables of all trainers and problems: time and failures, and the work behind it."""
    yield f"Median milliseconds to the goal, and in brackets how many of {seeds} runs failed:"
    yield ""
    yield from _table(results, _time)
    yield ""
    yield "Median epochs / gradients to the goal:"
    yield ""
    yield from _table(results, _work)


def _table(results, cell):
    trainers = [t for t in TRAINERS if any(t in runs for runs in results.values())]
    return rows_of(
        [("trainer", *results)]
        + [
            (trainer, *(cell(summary(runs[trainer])) if trainer in runs else ""
                        for runs in results.values()))
            for trainer in trainers
        ]
    )  # fmt: skip


def _time(found):
    failed = f" ({found.failed})" if found.failed else ""
    return number(1e3 * found.seconds) + failed


def _work(found):
    if not math.isfinite(found.epochs):
        return "-"
    return f"{found.epochs:.0f} / {found.gradients:.0f}"


def split(path, section):
    """Return what stands before and after the lines of a section of a page, markers included."""
    text = Path(path).read_text(encoding="utf-8")
    begin, end = f"<!-- begin {section} -->\n", f"<!-- end {section} -->"
    if not (text.count(begin) == text.count(end) == 1 and text.index(begin) < text.index(end)):
        raise ValueError(f"there is no {begin.strip()} with {end} after it")
    return text[: text.index(begin) + len(begin)], text[text.index(end) :]


def write(path, section, lines):
    """Put lines between ``<!-- begin SECTION -->`` and ``<!-- end SECTION -->`` of a page."""
    before, after = split(path, section)
    Path(path).write_text("\n".join([before, *lines, "", after]), encoding="utf-8")
