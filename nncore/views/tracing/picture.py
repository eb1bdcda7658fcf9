"""A drawing of a traced network as SVG, made of text alone."""

import html
from collections.abc import Iterator

import numpy as np

from ..places import MAKES_UNITS
from .document import number
from .layers import Traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .trace import Trace

Point = tuple[float, float]
MOST_SHOWN = 8  # units of a layer
MOST_COLUMNS = 6  # layers at each end
LABELLED = 12  # edges with their numbers, at most
RADIUS, COLUMN, LINE, TOP, LEFT = 21, 200, 82, 80, 52
FLAT, STEEP = (255, 244, 214), (196, 72, 8)  # |f'| from 0 to the largest
UP, DOWN, INK, PALE = "#1f6fb4", "#c2332f", "#2b2b2b", "#8a8a8a"


class Column:
    """Units that are drawn above each other: places by number, None for those left out."""

    def __init__(self, x: int, units: list[int], height: int, title: str) -> None:
        self.x, self.title = x, title
        n = len(units)
        self.hidden = n - MOST_SHOWN if n > MOST_SHOWN + 1 else 0
        shown = list(range(n))
        if self.hidden:
            half = MOST_SHOWN // 2
            shown = [*range(half), *range(n - half, n)]
        lines = len(shown) + bool(self.hidden)
        first = TOP + (height - LINE * (lines - 1)) / 2
        gap = len(shown) // 2 if self.hidden else len(shown) + 1
        self.gap_y = first + LINE * gap
        self.places: dict[int, Point] = {
            k: (x, first + LINE * (at + (at >= gap))) for at, k in enumerate(shown)
        }


def draw(trace: "Trace") -> str:
    """The drawing of a `Trace`."""
    groups: list[tuple[str, list[int], Traced | None]]
    groups = [("inputs", list(range(1, trace.network.n_in + 1)), None)]
    numbered = [t for t in trace.layers if t.kind in MAKES_UNITS]
    numbered.sort(key=lambda traced: traced.outputs[0])
    for t in numbered:
        what = str(t.layer.function) if t.kind == "Dense" else t.kind
        groups.append((f"{t.name} {what}", t.outputs, t))
    left_out = len(groups) - 2 * MOST_COLUMNS if len(groups) > 2 * MOST_COLUMNS + 1 else 0
    if left_out:
        groups = groups[:MOST_COLUMNS] + groups[-MOST_COLUMNS:]
    lines = max(min(len(units), MOST_SHOWN + 1) for _, units, _ in groups)
    height = LINE * max(1, lines - 1)
    columns: list[Column] = []
    at: dict[int, Point] = {}
    for c, (title, units, _) in enumerate(groups):
        c += left_out > 0 and c >= MOST_COLUMNS
        column = Column(LEFT + COLUMN * c, units, height, title)
        columns.append(column)
        at |= {units[k]: place for k, place in column.places.items()}
    width = max(columns[-1].x + LEFT + 20, 560)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + height + 118}" '
        f'width="{width}" font-family="sans-serif" font-size="11" fill="{INK}">',
        '<rect width="100%" height="100%" fill="white"/>',
        *_edges(numbered, at),
        *_skips(numbered, at),
    ]
    steepest = max((np.abs(t.slope).max() for t in numbered if t.slope is not None), default=0.0)
    for column, (_, units, traced) in zip(columns, groups, strict=True):
        parts.append(_text(column.x, 26, html.escape(column.title), "middle", 'font-weight="bold"'))
        parts += _handed_on(trace, units, column.x, height)
        if column.hidden:
            note = f"{column.hidden:,} more"
            parts.append(_text(column.x, column.gap_y + 4, note, "middle", f'fill="{PALE}"'))
        for k, place in column.places.items():
            parts += _unit(trace, traced, k, units[k], place, steepest)
    if left_out:
        note = f"{left_out} more layers"
        x = LEFT + COLUMN * MOST_COLUMNS
        parts.append(_text(x, TOP + height / 2, note, "middle", f'fill="{PALE}"'))
    parts += _legend(trace, TOP + height + 62, steepest)
    return "\n".join([*parts, "</svg>"])


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{text}</text>'


def _handed_on(trace: "Trace", units: list[int], x: int, height: int) -> Iterator[str]:
    """A bar behind units whose outputs go through layers that make no units, and their names."""
    through = [t for t in trace.layers if t.kind not in MAKES_UNITS and t.outputs == units]
    if not through:
        return
    names = [f"{t.name} {t.kind}" for t in through]
    said = f"then {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    yield _text(x, 42, html.escape(said), "middle", f'font-size="10" fill="{PALE}"')
    yield (
        f'<rect x="{x + RADIUS + 9}" y="{TOP - RADIUS}" width="5" height="{height + 2 * RADIUS}" '
        f'rx="2" fill="{PALE}" fill-opacity="0.6"><title>{html.escape(", ".join(names))}</title>'
        "</rect>"
    )


def _edges(numbered: list[Traced], at: dict[int, Point]) -> Iterator[str]:
    """Lines for the weights of `Dense`: colour says the gradient's sign, width its size."""
    dense = [t for t in numbered if t.kind == "Dense"]
    found = [
        (float(traced.gradients["W"][i, j]), at[a], at[b])
        for traced in dense
        for i, a in enumerate(traced.inputs)
        if a in at
        for j, b in enumerate(traced.outputs)
        if b in at
    ]
    largest = max((abs(g) for g, _, _ in found), default=0.0)
    by_end: dict[Point, list[tuple[float, float, float]]] = {}
    for g, (x0, y0), (x1, y1) in sorted(found, key=lambda edge: abs(edge[0])):
        root = (abs(g) / largest) ** 0.5 if largest else 0.0
        color = PALE if g == 0 else DOWN if g > 0 else UP
        yield (
            f'<line x1="{x0}" y1="{y0:.1f}" x2="{x1}" y2="{y1:.1f}" stroke="{color}" '
            f'stroke-width="{0.6 + 5 * root:.2f}" stroke-opacity="{0.3 + 0.5 * root:.2f}"/>'
        )
        by_end.setdefault((x1, y1), []).append((y0, x0, g))
    if len(found) > LABELLED:
        return
    for (x1, y1), edges in by_end.items():
        for place, (y0, x0, g) in enumerate(sorted(edges)):
            part = 0.3 + 0.42 * (place + 0.5) / len(edges)  # so that numbers do not meet
            x, y = x0 + part * (x1 - x0), y0 + part * (y1 - y0)
            halo = 'font-size="10" paint-order="stroke" stroke="white" stroke-width="3.5"'
            yield _text(x, y + 3.5, number(float(f"{g:.3g}")), "middle", halo)


def _skips(numbered: list[Traced], at: dict[int, Point]) -> Iterator[str]:
    """Dashed lines past the blocks of `Residual`."""
    for traced in numbered:
        if traced.kind == "Residual":
            ends = (traced.inputs, traced.inner[-1].outputs)
            for sources in ends:
                for a, b in zip(sources, traced.outputs, strict=True):
                    if a in at and b in at:
                        (x0, y0), (x1, y1) = at[a], at[b]
                        bend = 0 if sources is ends[1] else -44
                        yield (
                            f'<path d="M{x0} {y0:.1f} Q{(x0 + x1) / 2} {(y0 + y1) / 2 + bend:.1f} '
                            f'{x1} {y1:.1f}" fill="none" stroke="{PALE}" stroke-dasharray="5 4"/>'
                        )


def _color(share: float) -> str:
    mixed = (round(a + (b - a) * share) for a, b in zip(FLAT, STEEP, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def _unit(
    trace: "Trace", traced: Traced | None, k: int, unit: int, place: Point, steepest: float
) -> Iterator[str]:
    """A circle with its value; beside it its number, and f' below."""
    x, y = place
    values = trace.x[:, k] if traced is None else traced.a[:, k]
    fill, stroke, below = "white", INK, ""
    if traced is not None and traced.slope is not None:
        slope = float(np.abs(traced.slope[:, k]).mean())
        share = slope / steepest if steepest else 0.0
        fill, below = _color(share), f"f' {number(float(f'{slope:.3g}'))}"
        if slope == 0:
            fill, stroke = "#e4e4e4", PALE
    name = f"x{unit}" if traced is None else f"{unit}"
    one = len(values) == 1
    inside = number(float(f"{values[0]:.3g}")) if one else name
    dark = traced is not None and traced.slope is not None and below and share > 0.6
    yield (
        f'<circle cx="{x}" cy="{y:.1f}" r="{RADIUS}" fill="{fill}" stroke="{stroke}" '
        'stroke-width="1.3"/>'
    )
    yield _text(x, y + 4, inside, "middle", f'fill="{"white" if dark else INK}"')
    halo = 'paint-order="stroke" stroke="white" stroke-width="3"'
    if one:
        yield _text(x, y - RADIUS - 5, name, "middle", f'font-weight="bold" {halo}')
    if below:
        yield _text(x, y + RADIUS + 13, below, "middle", f'font-size="10" {halo}')


def _legend(trace: "Trace", y: int, steepest: float) -> Iterator[str]:
    one = len(trace.x) == 1
    steps = 24
    for i in range(steps):
        color = _color(i / (steps - 1))
        yield f'<rect x="{LEFT + i * 5}" y="{y}" width="5.5" height="11" fill="{color}"/>'
    yield _text(LEFT, y - 6, "slope |f'| of the unit" if one else "mean slope |f'| of the unit")
    yield _text(LEFT, y + 24, "0")
    yield _text(LEFT + steps * 5, y + 24, number(float(f"{steepest:.3g}")), "end")
    yield f'<rect x="{LEFT + steps * 5 + 14}" y="{y}" width="11" height="11" fill="#e4e4e4"/>'
    yield _text(LEFT + steps * 5 + 30, y + 10, "f' = 0")
    x = LEFT + steps * 5 + 100
    kind = "gradient" if one else "mean gradient"
    yield _text(x, y - 6, f"{kind} dJ/dw of the weight; width by its size")
    for i, (color, said) in enumerate(((DOWN, "positive: the step lowers w"),
                                       (UP, "negative: the step raises w"))):  # fmt: skip
        at = y + 6 + 18 * i
        ends = f'x1="{x}" y1="{at}" x2="{x + 26}" y2="{at}"'
        yield f'<line {ends} stroke="{color}" stroke-width="4"/>'
        yield _text(x + 34, at + 4, said)
    said = "in the circle: the unit's output a" if one else "in the circle: the unit's number"
    yield _text(LEFT, y + 42, said, "start", f'fill="{PALE}"')
