"""The full-batch trainers: epochs, gradients and time to a goal, beside Adam, SGD and others."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import time
from pathlib import Path

from nncore.bench import worker
from nncore.bench.timing import print_header

from . import chart as pictures
from . import table, work
from .peers import sections
from .problems import PROBLEMS, QUICK
from .race import compete


def run(quick=False, seeds=None, peers=False, chart=None, write=None, neurolab=None):
    """Print the tables as Markdown; write them to a page, and a chart, if wanted."""
    seeds = seeds or (3 if quick else 20)
    _check(peers, chart, write, neurolab)
    start = time.perf_counter()
    print_header()
    with one_thread():
        if peers:
            lines = [line for part in _told(sections(seeds, quick, neurolab)) for line in part]
            lines += ["**The trainers' own work**", "", *_told(work.lines(quick))]
            _show("peers", lines, write)
        else:
            names = QUICK if quick else tuple(PROBLEMS)
            results = compete(names, seeds, progress=_progress)
            _show("problems", table.problems_table(names), write)
            _show("race", table.race_tables(results, seeds), write)
            if chart:
                pictures.draw(results, chart)
    _progress(f"{time.perf_counter() - start:.0f} s in all")


def _check(peers, chart, write, neurolab):
    """Raise SystemExit for what would fail at the end, or do nothing."""
    if peers and chart:
        sys.exit("--chart shows the trainers alone; leave --peers out")
    if neurolab and not peers:
        sys.exit("--neurolab goes with --peers")
    if chart and not importlib.util.find_spec("matplotlib"):
        sys.exit("--chart needs matplotlib")
    if chart and not Path(chart).absolute().parent.is_dir():
        sys.exit(f"cannot write {chart}: there is no such folder")
    if write:
        try:
            for section in ("peers",) if peers else ("problems", "race"):
                table.split(write, section)
        except (OSError, ValueError) as error:
            sys.exit(f"cannot write {write}: {error}")


def _show(section, lines, write):
    lines = list(lines)
    print("", *lines, sep="\n")
    if write:
        table.write(write, section, lines)


def _told(parts):
    for part in parts:
        _progress(part if isinstance(part, str) else part[0].strip("*"))
        yield part


def _progress(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def one_thread():
    """One core, and one thread for NumPy's BLAS, which solves for Levenberg-Marquardt."""
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("threadpoolctl"):
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(1))
        else:
            print("threadpoolctl is not installed: NumPy may use more threads than one")
        if cores := worker.cores(1):
            stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores)
        yield
