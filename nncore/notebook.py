"""What a notebook shows of a `Network` and of a `History`: HTML in the colours of its page."""

import math
from collections.abc import Iterable, Mapping
from html import escape

from . import cells

_WIDTH, _HEIGHT = 360, 120  # of the picture, in pixels
_DASHES = {"loss": "", "val_loss": "5 3"}


def network_html(rows: Iterable[tuple[str, ...]], title: str, note: str) -> str:
    """Return the table of `Network.summary`."""
    return f"<div><p><b>{escape(title)}</b></p>{cells.as_html(rows, 3)}<p>{escape(note)}</p></div>"


def history_html(values: Mapping[str, list[float]], title: str) -> str:
    """Return a table of first, lowest, highest and last values, and the curves of the losses."""
    rows: list[tuple[str, ...]] = [("", "first", "lowest", "highest", "last")]
    for name, column in values.items():
        known = [v for v in column if not math.isnan(v)] or [math.nan]
        rows.append((name, *(f"{v:.4g}" for v in (known[0], min(known), max(known), known[-1]))))
    curves = {name: values[name] for name in _DASHES if len(values.get(name, ())) > 1}
    return f"<div><p><b>{escape(title)}</b></p>{_picture(curves)}{cells.as_html(rows)}</div>"


def _picture(curves: Mapping[str, list[float]]) -> str:
    """The losses by epoch; where all are positive their logarithms."""
    finite = [v for values in curves.values() for v in values if math.isfinite(v)]
    if not finite or min(finite) == max(finite):
        return ""
    scale = math.log if min(finite) > 0 else float
    low, high = scale(min(finite)), scale(max(finite))
    lines = []
    for name, values in curves.items():
        points = " ".join(
            f"{_WIDTH * i / (len(values) - 1):.1f},{_HEIGHT * (high - scale(v)) / (high - low):.1f}"
            for i, v in enumerate(values)
            if math.isfinite(v)
        )
        lines.append(f'<polyline points="{points}" stroke-dasharray="{_DASHES[name]}"/>')
    what = "loss" if len(curves) == 1 else "loss, and dashed val_loss"
    kind = ", logarithmic" if scale is math.log else ""
    return (
        f'<svg viewBox="-2 -2 {_WIDTH + 4} {_HEIGHT + 4}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'fill="none" stroke="currentColor">{"".join(lines)}</svg>'
        f"<p>{what} by epoch{kind}: {min(finite):.4g} to {max(finite):.4g}</p>"
    )
