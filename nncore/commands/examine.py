"""``nncore trace``, ``nncore diagnose``, ``nncore landscape``: a saved network and a data file."""

import argparse
import contextlib
import io
import re
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import files
from .common import add_network_parser, check_outputs, read

FORMATS = {".txt": "text", ".md": "markdown", ".tex": "latex", ".svg": "svg", ".html": "html"}
PICTURES = (".png", ".svg", ".pdf")
T = TypeVar("T")

_TRACE = """
Take one gradient step apart: every z, a, f'(z), delta and gradient of a few samples, and the new
weights. Of a large network a summary is shown; ask for single weights with --weight.
"""
_TRACE_END = """
examples:
  nncore trace model.safetensors data.csv --row 3 --weight "layers[1].W[0, 0]"
  nncore trace model.safetensors data.csv -o step.html
  nncore trace model.safetensors data.csv --weight "layers[1].W[0, 1]" --weight "layers[1].b[0]"

exit status: 0, or 2 for an error
"""
_DIAGNOSE = """
Look for what keeps a network from learning these data: saturated and dead units, vanishing and
exploding gradients, unscaled inputs, targets out of range, imbalanced labels, and more.
"""
_DIAGNOSE_END = """
examples:
  nncore diagnose model.safetensors data.csv --target price
  nncore diagnose model.safetensors data.npz --plot gradient.png

exit status: 0 if nothing was found, 1 if something was, 2 for an error
"""
_LANDSCAPE = """
Compute the loss around a network, on a grid along two directions of its parameters, and tell what
it stands in: a minimum, a saddle, a plateau, or on a slope.
"""
_LANDSCAPE_END = """
examples:
  nncore landscape model.safetensors data.csv --plot loss.png
  nncore landscape model.safetensors data.csv --directions "layers[1].W[0, 1],layers[1].b[0]"

--npz writes a and b, the coordinates; losses, (len(a), len(b)); center, the network's a and b; and
labels, what the directions are.

exit status: 0, or 2 for an error
"""


def add_parsers(commands: Any) -> None:
    """Add the three commands to the subparsers of ``nncore``."""
    add = add_network_parser(
        commands, "trace", _trace, "take one gradient step apart, number by number", _TRACE,
        _TRACE_END,
    ).add_argument  # fmt: skip
    add("--row", type=int, action="append", metavar="N",
        help="sample to trace; repeatable, at most 32 (default: 0, the first)")  # fmt: skip
    add("--weight", action="append", default=[], metavar="NAME",
        help='weight whose chain rule is shown, such as w14, from unit 1 to unit 4, or b4; units '
        "are numbered through, the inputs first; w4_12 where digits alone are not clear; or "
        '"layers[0].W[0, 1]"; repeatable')  # fmt: skip
    add("--format", choices=tuple(FORMATS.values()),
        help=f"by default what the name of -o says ({', '.join(FORMATS)}), or text; svg is the "
        "drawn network, html both")  # fmt: skip
    add("-o", "--output", type=Path, metavar="FILE", help="write to a file, not to the terminal")

    add = add_network_parser(
        commands, "diagnose", _diagnose, "what keeps a network from learning, and advice",
        _DIAGNOSE, _DIAGNOSE_END,
    ).add_argument  # fmt: skip
    add("--batch-size", type=int, default=32, metavar="N",
        help="rows of the one update that is tried on a copy (default: 32)")  # fmt: skip
    add("--rows", type=int, default=2000, metavar="N",
        help="most rows that go through the network (default: 2000)")  # fmt: skip
    add("--plot", type=_picture, metavar="FILE.png",
        help="draw the gradient of each layer (.png, .svg, .pdf); needs matplotlib")  # fmt: skip

    add = add_network_parser(
        commands, "landscape", _landscape, "the loss around a network, and what it stands in",
        _LANDSCAPE, _LANDSCAPE_END,
    ).add_argument  # fmt: skip
    add("--directions", type=_directions, default="random", metavar="random|WEIGHT,WEIGHT",
        help='"random": two, as long as the weights of each unit (the default). Or two weights, '
        'such as w14,w46 or "layers[0].W[0, 1],layers[1].b[0]"')  # fmt: skip
    add("--points", type=_points, default=51, metavar="N[,M]",
        help="of the grid along each direction (default: 51)")  # fmt: skip
    add("--span", type=_span, metavar="S[,T]",
        help="how far to go to both sides (default: 1; weights 1.5 times their value, at least 2)",
        )  # fmt: skip
    add("--seed", type=int, default=0, help="of the random directions (default: 0)")
    add("--no-end", action="store_true",
        help="do not ask what the network stands in, which takes long for a large one")  # fmt: skip
    add("--plot", type=_picture, metavar="FILE.png",
        help="draw it (.png, .svg, .pdf); needs matplotlib")  # fmt: skip
    add("--surface", action="store_true", help="draw a surface instead of a map")
    add("--npz", type=Path, metavar="FILE.npz", help="write the numbers of the grid")


# ---- the commands ----


def _trace(options: Namespace) -> int:
    from ..views.tracing.show import describe

    check_outputs(options, options.output)
    suffix = options.output.suffix.lower() if options.output else ""
    kind = options.format or FORMATS.get(suffix or ".txt")
    if kind is None:
        raise ValueError(
            f"cannot tell from its name what {options.output} is to be: expected "
            f"{', '.join(FORMATS)}, or say --format"
        )
    network, X, y = read(options)
    rows = options.row or [0]
    for row in rows:
        if not 0 <= row < len(X):
            raise ValueError(f"--row {row}: {options.data} has rows 0 to {len(X) - 1}")
        if rows.count(row) > 1:
            raise ValueError(f"--row {row} is given twice")
    trace = network.trace(X[rows], y[rows], weights=options.weight)
    document = describe(trace, rows)
    write: dict[str, Callable[[], str]] = {
        "text": lambda: f"{document.text()}\n",
        "markdown": document.markdown,
        "latex": document.latex,
        "svg": lambda: f"{trace.to_svg()}\n",
        "html": lambda: _PAGE.format(f"<div>{trace.to_svg()}</div>\n{document.html()}"),
    }
    written = write[kind]()
    if options.output:
        files.write_bytes(options.output, [written.encode()])
    else:
        sys.stdout.write(written)
    return 0


def _diagnose(options: Namespace) -> int:
    check_outputs(options, options.plot, picture=options.plot)
    network, X, y = read(options)
    diagnosis = network.diagnose(X, y, batch_size=options.batch_size, rows=options.rows)
    print(diagnosis)
    if options.plot:
        from .. import plots

        _write_picture(options.plot, plots.gradient_flow(network, X, y))
    return int(len(diagnosis) > 0)


def _landscape(options: Namespace) -> int:
    from .. import landscape

    check_outputs(options, options.plot, options.npz, picture=options.plot)
    if options.surface and not options.plot:
        raise ValueError("--surface is a kind of picture: say --plot FILE.png")
    network, X, y = read(options)
    found = landscape(
        network, X, y, directions=options.directions,
        shape=options.points, span=options.span, seed=options.seed, end=not options.no_end,
    )  # fmt: skip
    print(found)
    if options.npz:
        buffer = io.BytesIO()
        np.savez(buffer, a=found.a, b=found.b, losses=found.losses, center=found.center,
                 labels=found.labels)  # fmt: skip
        files.write_bytes(options.npz, [buffer.getbuffer()])
    if options.plot:
        _write_picture(options.plot, found.plot(kind="3d" if options.surface else "2d"))
    return 0


_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>One step of a network</title>
<body style="font-family: sans-serif">
{}
</html>
"""


# ---- arguments and pictures ----


def _write_picture(path: Path, ax: Any) -> None:
    from ..views.plotting import drawing

    files.write_bytes(path, [drawing.as_bytes(ax, path.suffix[1:].lower())])


def _picture(text: str) -> Path:
    if Path(text).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"expected a name with {', '.join(PICTURES)}, got {text}")
    return Path(text)


def _directions(text: str) -> str | list[str]:
    names = [name.strip() for name in re.split(r",(?![^\[]*\])", text)]  # not within brackets
    if names == ["random"]:
        return "random"
    if len(names) != 2:
        raise argparse.ArgumentTypeError(f"expected random, or two weights as w14,w46; got {text}")
    return names


def _points(text: str) -> tuple[int, ...]:
    return _one_or_two(text, int, lambda n: n >= 2, "integers of at least 2")


def _span(text: str) -> tuple[float, ...]:
    return _one_or_two(text, float, lambda s: 0 < s < np.inf, "positive numbers")


def _one_or_two(
    text: str, kind: Callable[[str], T], is_good: Callable[[T], bool], wanted: str
) -> tuple[T, ...]:
    with contextlib.suppress(ValueError):
        values = tuple(map(kind, text.split(",")))
        if len(values) <= 2 and all(map(is_good, values)):
            return values * (3 - len(values))
    raise argparse.ArgumentTypeError(f"expected one or two {wanted}, got {text!r}")
