"""The command ``nncore``."""

import contextlib
import os
import sys
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

_DEMO = """
Train a network on 1,797 handwritten digits with the C engine and with NumPy, from the same weights,
and compare the two in time, accuracy and loss.
"""
_DEMO_END = """
examples:
  nncore demo
  nncore demo --epochs 5

exit status: 0, or 2 for an error
"""
_END = """
examples:
  nncore train flowers.csv --target species -o flowers.safetensors
  nncore predict flowers.safetensors new.csv
  nncore train --help

exit status: 0 done; 1 as the command says; 2 for an error
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    try:
        try:
            return _main(arguments)
        finally:  # after --help too
            if sys.stdout:
                sys.stdout.flush()
    except KeyboardInterrupt:  # in an import; later see run
        print("nncore: error: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # nothing is left to be flushed at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has seen enough, such as head
            return 141  # what a shell says of programs that the signal SIGPIPE has ended
        print(f"nncore: error: {error}", file=sys.stderr)
        return 2


def _main(arguments: Sequence[str] | None) -> int:
    import argparse  # here, as all that takes time: main answers Ctrl-C

    from . import __version__, bench
    from .commands import add_parser, add_parsers, count, run

    parser = argparse.ArgumentParser(
        prog="nncore", description="A neural-network core for the CPU.", epilog=_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"nncore {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    add_parsers(commands)
    line = "training and prediction, timed beside NumPy and other libraries"
    command = commands.add_parser("bench", help=line)
    bench.add_arguments(command)
    command.set_defaults(work=lambda options: bench.run(options, command), prog=command.prog)
    line = "train on handwritten digits, in C and in NumPy, and compare"
    demo = add_parser(commands, "demo", _demo, line, _DEMO, _DEMO_END)
    demo.add_argument("--epochs", type=count, default=80, help="passes over the data (default: 80)")
    return run(parser.parse_args(arguments))


def _demo(options: "Namespace") -> int:
    from .demo import run

    run(options.epochs)
    return 0
