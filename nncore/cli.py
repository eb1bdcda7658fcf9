"""The command ``nncore``."""

from __future__ import annotations

import argparse


def main(arguments=None):
    """Run the command line; return the exit status."""
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
    options = parser.parse_args(arguments)
    if options.command == "demo":
        if options.epochs < 1:
            parser.error("--epochs must be at least 1")
        from .demo import run as run_demo

        run_demo(options.epochs)
    elif options.command == "bench":
        return bench.run(options, command)
    else:
        return run(options)
    return 0
