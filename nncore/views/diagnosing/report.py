"""How a `Diagnosis` is shown: as text, and as HTML in a notebook."""

import math
import textwrap
from html import escape

from ... import cells
from .diagnosis import Diagnosis
from .findings import Finding
from .measures import LayerNumbers

_HEAD = (
    "layer", "activation", "units", "mean |f'|", "saturated", "dead", "|weights|", "|gradient|",
    "by the last", "update/weights",
)  # fmt: skip
_LEFT = 2  # so many columns of words


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _cells(n: LayerNumbers) -> tuple[str, ...]:
    return (
        f"{n.name} {n.kind}", n.activation, f"{n.units:,}", _number(n.slope, ".2g"),
        _number(n.saturated, ".0%"), "-" if math.isnan(n.slope) else f"{n.dead:,}",
        _number(n.weight_norm, ".3g"),
        _number(n.gradient_norm, ".2g"), _number(n.gradient_ratio, ".2g"),
        _number(n.update_ratio, ".1g") if n.trainable else "frozen",
    )  # fmt: skip


def _summary(diagnosis: Diagnosis) -> str:
    count = len(diagnosis)
    found = "nothing found" if not count else f"{count} finding{'s' if count > 1 else ''}"
    return (
        f"Diagnosis of {diagnosis.title}: {found}; {diagnosis.rows:,} of {diagnosis.n_rows:,} "
        f"row{'s' if diagnosis.n_rows > 1 else ''} looked at, loss {_number(diagnosis.loss, '.4g')}"
    )


def as_text(diagnosis: Diagnosis) -> str:
    """The report in 100 columns, one line for each layer and some for each finding."""
    lines = [_summary(diagnosis)]
    if diagnosis.layers:
        lines += ["", *cells.as_text([_HEAD, *map(_cells, diagnosis.layers)], _LEFT)]
    for i, finding in enumerate(diagnosis, 1):
        where = f" in {finding.layer}" if finding.layer else ""
        lines += ["", f"{i}. {finding.severity}: {finding.code}{where}"]
        for text in (finding.message, "-> " + finding.advice):
            lines += textwrap.wrap(
                text, 97, initial_indent="   ", subsequent_indent="   ", break_long_words=False,
                break_on_hyphens=False,
            )  # fmt: skip
    return "\n".join(lines)


def as_html(diagnosis: Diagnosis) -> str:
    """The report as HTML that follows the colours of its page."""
    parts = [f"<p><b>{escape(_summary(diagnosis))}</b></p>"]
    if diagnosis.layers:
        parts.append(cells.as_html([_HEAD, *map(_cells, diagnosis.layers)], _LEFT))
    if len(diagnosis):
        items = "".join(map(_item, diagnosis))
        parts.append(f"<ol>{items}</ol>")
    return "<div>" + "".join(parts) + "</div>"


def _item(finding: Finding) -> str:
    where = f" in {escape(finding.layer)}" if finding.layer else ""
    return (
        f"<li>{finding.severity}: <b>{escape(finding.code)}</b>{where}<br>"
        f"{escape(finding.message)}<br>&rarr; {escape(finding.advice)}</li>"
    )
