"""Timing on machines that drift: systems take turns in short bursts, medians are compared."""

import platform
import statistics
import time

import numpy as np

import nncore
from nncore import _core


def take_turns(calls, *, bursts=15, seconds=0.01):
    """Median seconds per call of each of `calls`, in bursts of about `seconds`, in turns."""
    counts = []
    for call in calls:  # also warms up
        call()
        start, n = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds and n < 1 << 20:
            call()
            n += 1
        counts.append(max(1, round(n * seconds / max(spent, 1e-9))))
    results = [[] for _ in calls]
    for _ in range(bursts):
        for call, count, result in zip(calls, counts, results, strict=True):
            turns = range(count)
            start = time.perf_counter()
            for _ in turns:
                call()
            result.append((time.perf_counter() - start) / count)
    return [statistics.median(result) for result in results]


def fma_peak(kernels, seconds=0.2):
    """Operations per second of fused multiply-adds on registers alone: the best of many bursts."""
    best, iterations, start = 0.0, 20_000, time.perf_counter()
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        operations = kernels.fma_probe(iterations)
        best = max(best, operations / (time.perf_counter() - begin))
    return best


def processor():
    """The processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def print_header():
    """What every table needs to be read later."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    print(
        f"nncore {nncore.__version__} ({_core.build_info()['compiler']}), NumPy {np.__version__} "
        f"({blas['name']} {blas['version']}), one thread; {processor()}"
    )
