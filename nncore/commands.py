"""``nncore trace``, ``nncore diagnose``, ``nncore landscape``: a saved network and a data file."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
import warnings
from pathlib import Path

import numpy as np

from . import files, tables

FORMATS = {".txt": "text", ".md": "markdown", ".tex": "latex", ".svg": "svg", ".html": "html"}
PICTURES = (".png", ".svg", ".pdf")

_DATA = """\
the data file:
  CSV: numbers in UTF-8, a line for each sample, separated by commas, semicolons or tabs. The target
  is the last column, or as many columns as the network has outputs, and all others are inputs;
  --target names it where it stands elsewhere. Class labels are integers from 0.
  NPZ: arrays X, (rows, inputs), and y, or as --x and --y say. No pickle is read.
  Rows and columns are counted from 0. At most 134,217,728 numbers are read, all of them into
  memory, at some 18 bytes each. Scale inputs as the network was trained with.
"""

_TRACE = """
Take one gradient step apart: every z, a, f'(z), delta and gradient of a few samples, and the new
weights. Of a large network a summary is shown; ask for single weights with --weight.
"""
_TRACE_END = """
examples:
  nncore trace model.safetensors data.csv --row 3 --weight w14
  nncore trace model.safetensors data.csv -o step.html
  nncore trace model.safetensors data.csv --weight "layers[0].W[0, 1]" --weight b4

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
  nncore landscape model.safetensors data.csv --directions w14,w46 --points 101 --npz loss.npz

--npz writes a and b, the coordinates; losses, (len(a), len(b)); center, the network's a and b; and
labels, what the directions are.

exit status: 0, or 2 for an error
"""


def add_parsers(commands):
    """Add the three commands to the subparsers of ``nncore``."""
    add = _parser(
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

    add = _parser(
        commands, "diagnose", _diagnose, "what keeps a network from learning, and advice",
        _DIAGNOSE, _DIAGNOSE_END,
    ).add_argument  # fmt: skip
    add("--batch-size", type=int, default=32, metavar="N",
        help="rows of the one update that is tried on a copy (default: 32)")  # fmt: skip
    add("--rows", type=int, default=2000, metavar="N",
        help="most rows that go through the network (default: 2000)")  # fmt: skip
    add("--plot", type=_picture, metavar="FILE.png",
        help="draw the gradient of each layer (.png, .svg, .pdf); needs matplotlib")  # fmt: skip

    add = _parser(
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


def _parser(commands, name, work, line, description, end):
    parser = commands.add_parser(
        name, help=line, description=description, epilog=_DATA + end,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(work=work, prog=parser.prog)
    add = parser.add_argument
    add("model", type=Path, help="what Network.save has written")
    add("data", type=Path, help="a CSV file, or an NPZ file (named .npz)")
    add("--target", action="append", metavar="COLUMN",
        help="target column of a CSV file, by name or by number; repeatable")  # fmt: skip
    add("--header", action=argparse.BooleanOptionalAction,
        help="whether the first line of a CSV file has names (default: found out)")  # fmt: skip
    add("--x", metavar="NAME", help="array of inputs in an NPZ file (default: X)")
    add("--y", metavar="NAME", help="array of targets in an NPZ file (default: y)")
    return parser


def run(options):
    """Do what the parsed options say; return the exit status: 2 for an error, which is printed."""

    def warn(message, *_, **__):
        print(f"{options.prog}: warning: {message}", file=sys.stderr)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = warn
            return options.work(options)
    except BrokenPipeError:  # no error: see cli
        raise
    except KeyboardInterrupt:
        message = "interrupted"
    except OSError as error:
        named = error.filename is not None and error.strerror
        message = f"{os.fsdecode(error.filename)}: {error.strerror}" if named else error
    except MemoryError as error:
        message = f"not enough memory. {error}"
    except (ArithmeticError, ImportError, ValueError) as error:
        message = error
    print(f"{options.prog}: error: {message}", file=sys.stderr)
    return 2


# ---- the commands ----


def _trace(options):
    from .views.tracing.show import describe

    _check_outputs(options, options.output)
    suffix = options.output.suffix.lower() if options.output else ""
    kind = options.format or FORMATS.get(suffix or ".txt")
    if kind is None:
        raise ValueError(
            f"cannot tell from its name what {options.output} is to be: expected "
            f"{', '.join(FORMATS)}, or say --format"
        )
    network, X, y = _read(options)
    rows = options.row or [0]
    for row in rows:
        if not 0 <= row < len(X):
            raise ValueError(f"--row {row}: {options.data} has rows 0 to {len(X) - 1}")
        if rows.count(row) > 1:
            raise ValueError(f"--row {row} is given twice")
    trace = network.trace(X[rows], y[rows], weights=options.weight)
    document = describe(trace, rows)
    written = {
        "text": lambda: f"{document.text()}\n",
        "markdown": document.markdown,
        "latex": document.latex,
        "svg": lambda: f"{trace.to_svg()}\n",
        "html": lambda: _PAGE.format(f"<div>{trace.to_svg()}</div>\n{document.html()}"),
    }[kind]()
    if options.output:
        files.write_bytes(options.output, [written.encode()])
    else:
        sys.stdout.write(written)
    return 0


def _diagnose(options):
    _check_outputs(options, options.plot, picture=options.plot)
    network, X, y = _read(options)
    diagnosis = network.diagnose(X, y, batch_size=options.batch_size, rows=options.rows)
    print(diagnosis)
    if options.plot:
        from . import plots

        _write_picture(options.plot, plots.gradient_flow(network, X, y))
    return int(len(diagnosis) > 0)


def _landscape(options):
    from . import landscape

    _check_outputs(options, options.plot, options.npz, picture=options.plot)
    if options.surface and not options.plot:
        raise ValueError("--surface is a kind of picture: say --plot FILE.png")
    network, X, y = _read(options)
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


# ---- what they share ----


def _read(options):
    """The network, X and y."""
    from . import load

    network = load(options.model)
    loss, n_out = network.loss, network.n_out
    labels = loss.name == "cross_entropy"
    if options.data.suffix.lower() == ".npz":
        if options.target or options.header is not None:
            raise ValueError("--target and --header are for CSV files; for NPZ say --y NAME")
        X, y = tables.read_npz(options.data, x=options.x or "X", y=options.y or "y", labels=labels)
    else:
        if options.x or options.y:
            raise ValueError("--x and --y are for NPZ files; for CSV say --target COLUMN")
        X, y = tables.read_csv(
            options.data, target=options.target, n_inputs=network.n_in,
            n_targets=(1, n_out) if labels else (n_out // loss.per_target,), labels=labels,
            header=options.header,
        )  # fmt: skip
    if not len(X) == len(y) > 0:
        raise ValueError(f"{options.data}: X has {len(X)} rows and y has {len(y)}")
    return network, X, y


def _check_outputs(options, *paths, picture=None):
    """What cannot be written, or would overwrite what is read, is told before the work."""
    for path in filter(None, paths):
        for read in (options.model, options.data):
            if path.exists() and read.exists() and path.samefile(read):
                raise ValueError(f"cannot write {path}: it is read here; give another name")
        if not path.absolute().parent.is_dir():
            raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
        if path.is_dir():
            raise ValueError(f"cannot write {path}: it is a folder")
    if picture:
        from .views.plotting import drawing

        drawing.axes(None)  # says how to install what is missing


def _write_picture(path, ax):
    from .views.plotting import drawing

    files.write_bytes(path, [drawing.as_bytes(ax, path.suffix[1:].lower())])


def _picture(text):
    if Path(text).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"expected a name with {', '.join(PICTURES)}, got {text}")
    return Path(text)


def _directions(text):
    names = [name.strip() for name in re.split(r",(?![^\[]*\])", text)]  # not within brackets
    if names == ["random"]:
        return "random"
    if len(names) != 2:
        raise argparse.ArgumentTypeError(f"expected random, or two weights as w14,w46; got {text}")
    return names


def _points(text):
    return _one_or_two(text, int, lambda n: n >= 2, "integers of at least 2")


def _span(text):
    return _one_or_two(text, float, lambda s: 0 < s < np.inf, "positive numbers")


def _one_or_two(text, kind, is_good, wanted):
    with contextlib.suppress(ValueError):
        values = tuple(map(kind, text.split(",")))
        if len(values) <= 2 and all(map(is_good, values)):
            return values * (3 - len(values))
    raise argparse.ArgumentTypeError(f"expected one or two {wanted}, got {text!r}")
