"""What the commands share: arguments, data files, errors and their exit status."""

import argparse
import contextlib
import math
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import files, tables
from ..files import FileFormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np

    from ..columns import Columns
    from ..network import Network

_DATA = """\
the data file:
  CSV: in UTF-8, a line for each sample, separated by commas, semicolons or tabs; "-" is standard
  input. A model of "nncore train" finds its columns by their names. Of other models all cells are
  numbers, the target is the last column, or as many columns as the network has outputs, and all
  others are inputs; --target names it where it stands elsewhere. Class labels are integers from 0.
  NPZ: arrays X, (rows, inputs), and y, or as --x and --y say. No pickle is read.
  Rows and columns are counted from 0. At most 134,217,728 numbers are read, all of them into
  memory, at some 18 bytes each. What was scaled outside the network in training is so here, too.
"""


# What files that are no models begin with, and what to do with them.
_OTHERS = {
    b"PK\3\4": "a ZIP file: arrays in NPZ are data, which come behind the model; what torch.save "
    "wrote goes through nncore.from_torch and Network.save",
    b"\x80": "a pickle, which could run code: none is read",
    b"\x89HDF": "HDF5, as of Keras: it goes through nncore.from_keras and Network.save",
    b"\x08": "ONNX, maybe: it goes through nncore.from_onnx and Network.save",
}


def add_parser(
    commands: Any, name: str, work: Callable[[Namespace], int], line: str, description: str,
    end: str,
) -> argparse.ArgumentParser:  # fmt: skip
    """Add a command that `run` runs; return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=line, description=description, epilog=end,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(work=work, prog=parser.prog)
    return parser


def add_network_parser(
    commands: Any, name: str, work: Callable[[Namespace], int], line: str, description: str,
    end: str,
) -> argparse.ArgumentParser:  # fmt: skip
    """Add a command for a saved network and a data file."""
    parser = add_parser(commands, name, work, line, description, _DATA + end)
    parser.add_argument("model", type=file, help="what nncore train or Network.save has written")
    add_data(parser.add_argument)
    return parser


def add_data(add: Callable[..., Any]) -> None:
    """Add the arguments that say what is read."""
    add("data", type=file, help="a CSV file, - for standard input, or an NPZ file (named .npz)")
    add("--target", action="append", metavar="COLUMN",
        help="target column of a CSV file, by name or number; repeatable (default: the last)",
        )  # fmt: skip
    add("--header", action=argparse.BooleanOptionalAction,
        help="whether the first line of a CSV file has names (default: found out)")  # fmt: skip
    add("--x", metavar="NAME", help="array of inputs in an NPZ file (default: X)")
    add("--y", metavar="NAME", help="array of targets in an NPZ file (default: y)")


def run(options: Namespace) -> int:
    """Do what the parsed options say; return the exit status: 2 for an error, which is printed."""
    status = 2

    def warn(message: object, *_: object, **__: object) -> None:
        print(f"{options.prog}: warning: {message}", file=sys.stderr)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = warn
            return int(options.work(options))
    except BrokenPipeError:  # no error: see cli
        raise
    except KeyboardInterrupt as error:
        message, status = f"interrupted {error}".rstrip(), 130  # as shells say of SIGINT
    except OSError as error:
        named = error.filename is not None and error.strerror
        message = f"{os.fsdecode(error.filename)}: {error.strerror}" if named else str(error)
    except MemoryError as error:
        message = f"not enough memory. {error}"
    except (ArithmeticError, ImportError, ValueError) as error:
        message = str(error)
    print(f"{options.prog}: error: {message}", file=sys.stderr)
    return status


def load(options: Namespace) -> "tuple[Network, Columns]":
    """The network, and the columns that it knows or has."""
    from ..columns import Columns

    network = open_model(options.model)
    return network, Columns.of(network)


def open_model(path: Path) -> "Network":
    """The network in a file; the error of another file says what to do with it."""
    from .. import load

    try:
        network: Network = load(path)
        return network
    except FileFormatError as error:
        raise FileFormatError(f"{error}{_hint(path)}") from None


def _hint(path: Path) -> str:
    if not path.is_file() or path.suffix == ".onnx":
        return ""
    with path.open("rb") as file:
        start = file.read(64)
    for first, what in _OTHERS.items():
        if start.startswith(first):
            return f" It is {what}"
    if start and start.isascii() and "".join(start.decode().split()).isprintable():
        return " It is text, maybe the data: the model comes first"
    with contextlib.suppress(FileFormatError):
        texts = files.read(path)[1]
        if "run" in texts:
            return ". It is a checkpoint, which fit goes on from; Network.save then writes a model"
        if "nncore" not in texts:
            return ". Weights of other libraries go through nncore.from_torch and Network.save"
    return ""


def is_npz(options: Namespace) -> bool:
    """Whether the data are arrays; arguments for the other kind of file are errors."""
    if options.data.suffix.lower() == ".npz":
        if options.header is not None or getattr(options, "target", None):
            raise ValueError("--target and --header are for CSV files; for NPZ say --y NAME")
        return True
    if options.x or getattr(options, "y", None):
        raise ValueError("--x and --y are for NPZ files; for CSV say --target COLUMN")
    return False


def read(options: Namespace) -> "tuple[Network, np.ndarray, np.ndarray]":
    """The network, X and y."""
    network, columns = load(options)
    arrays = is_npz(options)
    names = {"x": options.x or "X", "y": options.y or "y"}
    labels = network.loss.name == "cross_entropy"
    if network.columns is None and not arrays:
        n_out = network.n_out
        X, y = tables.read_csv(
            options.data, target=options.target, n_inputs=network.n_in,
            n_targets=(1, n_out) if labels else (n_out // network.loss.per_target,), labels=labels,
            header=options.header, most=columns.most,
        )  # fmt: skip
    elif arrays:
        X, y = tables.read_npz(options.data, labels=labels, **names)
        if network.columns is not None:
            X, y = columns.of_arrays(X, y, str(options.data))
    else:
        if options.target:
            raise ValueError("the model knows its target: leave --target out")
        X, y = columns.read(options.data, options.header)
    if not len(X) == len(y) > 0:
        raise ValueError(f"{options.data}: X has {len(X)} rows and y has {len(y)}")
    return network, X, y


def check_outputs(options: Namespace, *paths: Path | None, picture: Path | None = None) -> None:
    """What cannot be written, or would overwrite what is read, is told before the work."""
    for path in filter(None, paths):
        for read in filter(None, (getattr(options, "model", None), options.data)):
            if path.exists() and read.exists() and path.samefile(read):
                raise ValueError(f"cannot write {path}: it is read here; give another name")
        if not path.absolute().parent.is_dir():
            raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a device or pipe"
            raise ValueError(f"cannot write {path}: it is {kind}")
    if picture:
        from ..views.plotting import drawing

        drawing.axes(None)  # says how to install what is missing


def plain(text: object, most: int = 40) -> str:
    """A name from a file as it may be printed: no control characters, not too long."""
    line = "".join(c if c.isprintable() else "?" for c in str(text))
    return line if len(line) <= most else line[: most - 3] + "..."


def number(value: float) -> str:
    """A number with some four digits, as people write it."""
    if math.isnan(value):
        return "undefined"
    if not 1e-4 <= abs(value) < 1e9:
        return f"{value:.4g}"
    return f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"


def file(text: str) -> Path:
    """The type of an argument that is a file to read."""
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file, got ''")
    return Path(text)


def count(text: str) -> int:
    """The type of an argument that counts."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:19]) < 1 << 31):
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)
