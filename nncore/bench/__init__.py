"""``nncore bench``: training and prediction beside NumPy and, where installed, other libraries.

Each system gets the same weights and batches, is verified against float64, and is then timed in
turns with the others, each in a process of its own on the same cores. `cases` says what is
measured, `systems` and `peers` how each one does it, `runner` who has the turn.
"""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``nncore bench`` to a parser."""
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer cases and bursts: about a minute")
    add("--only", choices=("train", "online", "predict"), help="one kind of measurement")
    add(
        "--systems", type=_names, metavar="A,B,...",
        help="by default what is installed of nncore, numpy, sklearn, torch, jax, onnx; "
        "torch-compile is there to be named",
    )  # fmt: skip
    add(
        "--case", action="append", metavar="LAYERS:ACTIVATION:LOSS:BATCH[:DTYPE]",
        help="this instead of the built-in ones, such as 30-50-20-3:tanh:mse:64; repeatable",
    )  # fmt: skip
    add("--dtype", choices=("float32", "float64"), default="float32")
    add("--threads", type=_threads, default=1, help="of every system (default: 1)")
    add("--isa", choices=("avx2",), help="limit every system to this instruction set")
    add("--json", type=Path, metavar="FILE", help="save the results")
    add("--load", type=Path, metavar="FILE", help="show saved results instead of measuring")
    add("--compare", type=Path, metavar="FILE", help="print ratios to saved results")
    add("--chart", type=Path, metavar="FILE.png", help="draw the results; needs matplotlib")


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Do what the parsed options say; return the exit status: 1 if a system failed."""
    from . import report
    from .worker import WorkerError

    try:
        _check_outputs(options)
        earlier = report.read(options.compare) if options.compare else None
        if options.load:
            document = report.read(options.load)
            report.show(document)
        else:
            document = _measure(options)
    except (ValueError, WorkerError) as error:
        parser.error(str(error))
    if options.json:
        report.write(options.json, document)
    if earlier:
        report.compare(document, earlier)
    if options.chart:
        from . import chart

        chart.draw(document, options.chart)
    return int(report.failures(document) > 0)


def main(
    arguments: Sequence[str] | None = None, prog: str = "nncore bench", epilog: str | None = None
) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0], epilog=epilog)
    add_arguments(parser)
    return run(parser.parse_args(arguments), parser)


def _check_outputs(options: argparse.Namespace) -> None:
    """What cannot be written is told before minutes of measuring."""
    for path in (options.json, options.chart):
        if path and not path.absolute().parent.is_dir():
            raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
        if path and path.is_dir():
            raise ValueError(f"cannot write {path}: it is a folder")
    if options.chart and find_spec("matplotlib") is None:
        raise ValueError('--chart needs matplotlib: pip install matplotlib, or ".[bench]"')


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all cases, printing as they come; return what `report.write` saves."""
    from . import cases, report, runner, worker

    modes = [options.only] if options.only else list(cases.MODES)
    if options.case:
        chosen = [case for text in options.case for case in cases.given(text, modes, options.dtype)]
        chosen.sort(key=lambda case: modes.index(case.mode))
    else:
        chosen = [c for mode in modes for c in cases.built_in(mode, options.dtype, options.quick)]
    if options.quick:
        chosen = [case.shorter() for case in chosen]
    names = worker.choose(options.systems)
    cores = worker.cores(options.threads)
    with runner.Race(names, options.threads, cores, options.isa, options.quick) as race:
        printer = report.Printer(report.header(race, options, cores))
        for case in chosen:
            printer.add(race.run(case))
        return printer.finish()


def _names(text: str) -> list[str]:
    from .systems import SYSTEMS

    names = text.split(",")
    for name in names:
        if name not in SYSTEMS:
            raise argparse.ArgumentTypeError(
                f"expected names out of {', '.join(SYSTEMS)}, got {name!r}"
            )
    return list(dict.fromkeys(names))


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"expected an integer from 1 to 1024, got {text!r}")
    return int(text)
