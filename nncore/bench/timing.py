"""Timing on machines that drift: systems take turns in short bursts, medians are compared."""

import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import __version__, _core

LARGE_COPY = 1 << 20  # bytes; from here on NumPy copies, without the interpreter's lock


def calibrate(call: Callable[[], object], seconds: float) -> int:
    """Return how many calls take about `seconds`; also warms up."""
    if burst(call, 1) > 10 * seconds:  # so slow that its first call tells as much
        return 1
    start, n = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds and n < 1 << 20:
        call()
        n += 1
    return max(1, round(n * seconds / max(spent, 1e-9)))


def run_for(call: Callable[[], object], seconds: float) -> None:
    """Run `call` again and again for at least so long."""
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        call()


def burst(call: Callable[[], object], count: int) -> float:
    """Return the seconds per call of `count` calls."""
    turns = range(count)
    start = time.perf_counter()
    for _ in turns:
        call()
    return (time.perf_counter() - start) / count


def take_turns(
    calls: Iterable[Callable[[], object]], *, bursts: int = 15, seconds: float = 0.01
) -> list[float]:
    """Median seconds per call of each of `calls`, in bursts of about `seconds`, in turns."""
    counts = [calibrate(call, seconds) for call in calls]
    results: list[list[float]] = [[] for _ in calls]
    for _ in range(bursts):
        for call, count, result in zip(calls, counts, results, strict=True):
            result.append(burst(call, count))
    return [statistics.median(result) for result in results]


def fma_peak(kernels: _core.Kernels, seconds: float = 0.2) -> float:
    """Operations per second of fused multiply-adds on registers alone: the best of many bursts."""
    best, iterations, start = 0.0, 20_000, time.perf_counter()
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        operations = kernels.fma_probe(iterations)
        best = max(best, operations / (time.perf_counter() - begin))
    return best


def copy_rate(nbytes: int, seconds: float = 0.01) -> float:
    """Bytes per second, read and written, of copies of `nbytes`: the best of many.

    At least 16 KB are copied, so that what a call from Python costs hardly counts.
    """
    source: Any
    target: Any
    source, target = (np.ones(max(1 << 14, nbytes), np.uint8) for _ in range(2))
    if source.size < LARGE_COPY:  # np.copyto takes half a microsecond before it starts
        source, target = memoryview(source), memoryview(target)

        def copy() -> None:
            target[:] = source
    else:

        def copy() -> None:
            np.copyto(target, source)

    best, start = 0.0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        copy()
        best = max(best, 2 * len(source) / (time.perf_counter() - begin))
    return best


def in_threads(probe: Callable[[], float], threads: int) -> float:
    """Return the sum of what `probe` returns in that many threads at once."""
    results, barrier = [], threading.Barrier(threads)

    def run() -> None:
        barrier.wait()
        results.append(probe())

    others = [threading.Thread(target=run) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    run()
    for thread in others:
        thread.join()
    return sum(results)


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def blas() -> str:
    """Name and version of NumPy's BLAS."""
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"


def print_header() -> None:
    """What every table needs to be read later."""
    print(
        f"nncore {__version__} ({_core.build_info()['compiler']}), NumPy {np.__version__} "
        f"({blas()}), one thread; {processor()}"
    )
