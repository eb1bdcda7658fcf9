"""A short document that is written once and shown as text, Markdown, LaTeX or HTML."""

import abc
import html
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

Both = tuple[str, str]  # as text and as LaTeX
Rows = list[list[str]]  # of a table, the header first
Equation = tuple[Both, list[Both], str]


class Document:
    """Titles, paragraphs, tables and equations, in order."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, Any]] = []

    def title(self, text: str) -> None:
        self._parts.append(("title", text))

    def paragraph(self, text: str) -> None:
        self._parts.append(("paragraph", text))

    def table(self, header: list[str], rows: Rows) -> None:
        self._parts.append(("table", [header, *rows]))

    def equation(self, left: Both, rights: list[Both], after: str = "") -> None:
        """left = rights[0] = rights[1] ..., each (text, LaTeX); `after` follows the first one."""
        self._parts.append(("equation", (left, rights, after)))

    def extend(self, other: "Document") -> None:
        self._parts += other._parts

    def _written(self, how: dict[str, Callable[[Any], str]], between: str) -> str:
        return between.join(how[kind](content) for kind, content in self._parts)

    def text(self) -> str:
        how = {
            "title": lambda text: f"\n{text}",
            "paragraph": lambda text: textwrap.fill(text, 96, break_on_hyphens=False),
            "table": lambda rows: "\n".join(_aligned(rows)),
            "equation": _text_equation,
        }
        return self._written(how, "\n").removeprefix("\n")

    def markdown(self) -> str:
        how = {
            "title": lambda text: f"**{_escaped(text)}**",
            "paragraph": _escaped,
            "table": _markdown_table,
            "equation": lambda parts: "$$\n" + _latex_equation(*parts) + "\n$$" + _after(parts[2]),
        }
        return self._written(how, "\n\n") + "\n"

    def latex(self) -> str:
        how = {
            "title": lambda text: rf"\paragraph{{{_latex(text)}}}",
            "paragraph": _latex,
            "table": _latex_table,
            "equation": lambda parts: (
                "\\[\n" + _latex_equation(*parts) + "\n\\]" + _after(_latex(parts[2]))
            ),
        }
        return self._written(how, "\n\n") + "\n"

    def html(self) -> str:
        how = {
            "title": lambda text: f"<p><b>{html.escape(text)}</b></p>",
            "paragraph": lambda text: f"<p>{html.escape(text)}</p>",
            "table": _html_table,
            "equation": lambda parts: f"<pre>{html.escape(_text_equation(parts))}</pre>",
        }
        return self._written(how, "\n")


def number(value: float | None) -> str:
    """A number with five digits; nothing for None."""
    if value is None:
        return ""
    text = f"{float(value) + 0.0:.5g}"
    return re.sub(r"e([+-])0(\d)$", r"e\g<1>\2", text)


def counted(n: int, what: str) -> str:
    """Such as "1 path" or "2,000 paths"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def apart(value: float, other: float) -> str:
    """A number with as many digits as tell it from another one."""
    digits = next((d for d in range(5, 17) if f"{value:.{d}g}" != f"{other:.{d}g}"), 5)
    return f"{value:.{digits}g}" if digits > 5 else number(value)


def latex_number(value: float) -> str:
    text = number(value)
    if "e" in text:
        digits, power = text.split("e")
        text = rf"{digits} \cdot 10^{{{int(power)}}}"
    return f"({text})" if text.startswith("-") else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?(\d[\d,]*(\.\d+)?(e[+-]?\d+)?|inf|nan)%?|", text) is not None


def _columns(rows: Rows) -> list[bool]:
    """Whether each column below the header holds numbers."""
    return [all(_is_number(row[i]) for row in rows[1:]) for i in range(len(rows[0]))]


def _aligned(rows: Rows) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = _columns(rows)
    for row in rows:
        cells = [
            cell.rjust(width) if of_numbers else cell.ljust(width)
            for cell, width, of_numbers in zip(row, widths, right, strict=True)
        ]
        yield "  " + "  ".join(cells).rstrip()


def _text_equation(parts: Equation) -> str:
    left, rights, after = parts
    indent = " " * len(left[0])
    lines = [f"{left[0]} = {rights[0][0]}{after}"]
    return "\n".join([*lines, *(f"{indent} = {text}" for text, _ in rights[1:])])


def _latex_equation(left: Both, rights: list[Both], after: str) -> str:
    lines = " \\\\\n".join(f"&= {latex}" for _, latex in rights)
    return f"\\begin{{aligned}}\n{left[1]} {lines}\n\\end{{aligned}}"


def _after(text: str) -> str:
    return f"\n\n{text.removeprefix(', ')}" if text else ""


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_`|<>$])", r"\\\1", text)


def _latex(text: str) -> str:
    text = re.sub(r"([#$%&_{}])", r"\\\1", text.replace("\\", r"\textbackslash "))
    text = text.replace("^", r"\^{}").replace("~", r"\~{}")
    return re.sub(r"([|<>])", r"$\1$", text)


def _markdown_table(rows: Rows) -> str:
    lines = ["| " + " | ".join(map(_escaped, row)) + " |" for row in rows]
    rule = "| " + " | ".join("--:" if right else ":--" for right in _columns(rows)) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def _latex_table(rows: Rows) -> str:
    kinds = "".join("r" if right else "l" for right in _columns(rows))
    head, *lines = (" & ".join(map(_latex, row)) + r" \\" for row in rows)
    body = "\n".join([head, r"\hline", *lines])
    return f"\\begin{{tabular}}{{{kinds}}}\n{body}\n\\end{{tabular}}"


def _html_table(rows: Rows) -> str:
    def line(row: list[str], tag: str) -> str:
        cells = (
            f'<{tag} style="text-align:{"right" if right else "left"}">{html.escape(cell)}</{tag}>'
            for cell, right in zip(row, of_numbers, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    of_numbers = _columns(rows)
    lines = [line(rows[0], "th"), *(line(row, "td") for row in rows[1:])]
    return f"<table>{''.join(lines)}</table>"


class Shown(abc.ABC):
    """What is shown as a document."""

    @abc.abstractmethod
    def _document(self) -> Document:
        """The `Document`."""

    def __str__(self) -> str:
        return self._document().text()

    def to_markdown(self) -> str:
        """Return what `print` shows as Markdown, with formulas in LaTeX between dollars."""
        return self._document().markdown()

    def to_latex(self) -> str:
        """Return what `print` shows as LaTeX, to be put into a document that uses amsmath."""
        return self._document().latex()

    def _repr_html_(self) -> str:
        return self._document().html()
