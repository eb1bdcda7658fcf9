"""``nncore predict``: what a saved network says of new rows."""

import argparse
import contextlib
import csv
import io
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import files, tables
from . import common, scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..columns import Columns
    from ..network import Network

_PREDICT = """
Say what a network tells of each row of a table: a line of CSV for each, in the same order, with the
class or the numbers under the name of the target.
"""
_END = """
the data file:
  CSV: a model of "nncore train" finds its columns by their names, in any order; others are not
  looked at. Of other models, and of those made without names, all cells are numbers in order. Large
  files are read in blocks: memory does not grow with them. "-" is standard input.
  NPZ: an array X, (rows, inputs), or as --x says. No pickle is read.

examples:
  nncore predict flowers.safetensors new.csv
  nncore predict flowers.safetensors new.csv --probabilities -o told.csv
  zcat big.csv.gz | nncore predict model.safetensors - > told.csv

exit status: 0, or 2 for an error; -o leaves no half-written file
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the subparsers of ``nncore``."""
    add = common.add_parser(
        commands, "predict", _predict, "tell classes or numbers of new rows, as CSV", _PREDICT, _END
    ).add_argument
    add("model", type=common.file, help="what nncore train or Network.save has written")
    add("data", type=common.file,
        help="a CSV file, - for standard input, or an NPZ file (named .npz)")  # fmt: skip
    add("-o", "--output", type=Path, metavar="FILE.csv",
        help="write to a file (default, and for -: standard output)")  # fmt: skip
    add("--probabilities", action="store_true",
        help="a column P(class) for each class, behind that of the class")  # fmt: skip
    add("--unknown", choices=("error", "ignore"), default="error",
        help="a word that is none of a column's categories: an error, or none of them "
        "(default: error)")  # fmt: skip
    add("-q", "--quiet", action="store_true", help="no notes")
    add("--header", action=argparse.BooleanOptionalAction,
        help="whether the first line of a CSV file has names (default: found out)")  # fmt: skip
    add("--x", metavar="NAME", help="array of inputs in an NPZ file (default: X)")
    add("--threads", type=common.count, metavar="N", help="at most (default: as many as serve)")


def _predict(options: Namespace) -> int:
    output = None if options.output in (None, Path("-")) else options.output
    common.check_outputs(options, output)
    network, columns = common.load(options)
    if options.probabilities and columns.classes is None:
        raise ValueError("--probabilities are of classes, and this model tells numbers")
    with contextlib.ExitStack() as stack:
        blocks = _blocks(columns, options, stack)
        parts = _lines(network, columns, blocks, options)
        if output:
            files.write_bytes(output, parts)
        else:
            binary = getattr(sys.stdout, "buffer", None)  # text could be in another code than UTF-8
            for part in parts:
                binary.write(part) if binary else sys.stdout.write(part.decode())
            if binary:
                binary.flush()
    return 0


def _blocks(
    columns: "Columns", options: Namespace, stack: contextlib.ExitStack
) -> Iterator[np.ndarray]:
    """Inputs, some rows at a time."""
    if common.is_npz(options):
        X = tables.read_array(options.data, options.x or "X")
        X, _ = columns.of_arrays(X, None, str(options.data))
        return (X[i : i + 4096] for i in range(0, len(X), 4096))
    table = stack.enter_context(tables.open_csv(options.data, options.header))
    places = columns.find(table)
    if not options.quiet:
        names = table.names or list(map(str, range(table.columns)))
        told = [target.name for target in columns.targets]
        used = {names[j] for j in places}
        others = [name for name in names if name not in used and name not in told]
        if others:
            shown = ", ".join(common.plain(name) for name in others[:8])
            more = ", ..." if len(others) > 8 else ""
            print(f"{options.prog}: note: not looked at: {shown}{more}", file=sys.stderr)
    return (X for X, _ in columns.blocks(table, unknown=options.unknown))


def _lines(
    network: "Network", columns: "Columns", blocks: Iterable[np.ndarray], options: Namespace
) -> Iterator[bytes]:
    """CSV in UTF-8, a buffer for each block."""
    buffer = io.StringIO(newline="")
    write = csv.writer(buffer, lineterminator="\n").writerow
    names = [target.name for target in columns.targets]
    if columns.numbered:
        names = (
            ["prediction"] if len(names) == 1 else [f"prediction {k}" for k in range(len(names))]
        )
    if options.probabilities:
        names += [f"P({name})" for name in columns.classes or ()]
    write(names)
    for X in blocks:
        out = network.predict(X, n_threads=options.threads)
        told = scores.predicted(network, columns, out)
        if columns.classes is None:
            rows = ([str(value) for value in row] for row in told)
        else:
            rows = ([columns.classes[k]] for k in told)
        if options.probabilities:
            if network.n_out == 1:
                out = np.concatenate([1 - out, out], axis=1)
            rows = ([*row, *map(str, p)] for row, p in zip(rows, out, strict=True))
        for row in rows:
            write(row)
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    if buffer.getvalue():  # no rows
        yield buffer.getvalue().encode()
