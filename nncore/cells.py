"""Tables of words and numbers, as text and as HTML; the first row is the head."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

Rows = Iterable[Sequence[str]]


def as_text(rows: Rows, left: int = 1) -> Iterator[str]:
    """Yield lines; so many columns are words and stand to the left, the others to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(
            cell.ljust(width) if j < left else cell.rjust(width)
            for j, (cell, width) in enumerate(cells)
        ).rstrip()


def as_html(rows: Rows, left: int = 1) -> str:
    """Return a table, in the colours of the page around it."""
    lines = []
    for i, row in enumerate(rows):
        tag = "td" if i else "th"
        cells = "".join(
            f'<{tag} style="text-align: {"left" if j < left else "right"}">{escape(cell)}</{tag}>'
            for j, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"
