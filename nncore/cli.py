"""The command ``nncore``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys


def main(arguments=None):
    """Run the command line; return the exit status."""
    try:
        try:
            return _main(arguments)
        finally:  # after --help too
            if sys.stdout:
                sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # nothing is left to be flushed at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has seen enough, such as head
            return 141  # what a shell says of programs that the signal SIGPIPE has ended
        print(f"nncore: error: {error}", file=sys.stderr)
        return 2


def _main(arguments):
    from . import __version__, bench
    from .commands import add_parsers, run

    parser = argparse.ArgumentParser(
        prog="nncore", description="A neural-network core for the CPU."
    )
    parser.add_argument("--version", action="version", version=f"nncore {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    demo = commands.add_parser(
        "demo", help="train on handwritten digits, in C and in NumPy, and compare"
    )
    demo.add_argument("--epochs", type=int, default=80, help="passes over the data (default: 80)")
    command = commands.add_parser(
        "bench", help="training and prediction, timed beside NumPy and other libraries"
    )
    bench.add_arguments(command)
    add_parsers(commands)
    commands.add_parser("info", help="show versions, compiler, and instruction sets")
    options = parser.parse_args(arguments)
    if options.command == "demo":
        if options.epochs < 1:
            parser.error("--epochs must be at least 1")
        from .demo import run as run_demo

        run_demo(options.epochs)
    elif options.command == "bench":
        return bench.run(options, command)
    elif options.command != "info":
        return run(options)
    else:
        from .info import show_config

        show_config()
    return 0
