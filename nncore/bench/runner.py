"""Verify, then time: all systems take turns on each case."""

import dataclasses
import statistics
import sys
import time

import numpy as np
from numpy.typing import ArrayLike

from .cases import Case
from .worker import Worker, WorkerError

# Relative. A step or two of float32 is some 1e-6 off, ten deep layers a few times that.
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
BURST = 0.01  # seconds
# After a burst on several threads, libraries let their idle threads spin for a while.
REST = 0.04


def verify(result: "ArrayLike", expected: "ArrayLike", dtype: str) -> str | None:
    """Return what is wrong with losses or outputs, or None.

    Parameters
    ----------
    result, expected : array_like
        Of the system, and of the NumPy twin in float64.
    dtype : str
        "float32" or "float64": the tolerance is 1e-3 or 1e-9, relative to the value or to the
        largest one of its row.
    """
    result, expected = np.asarray(result, float), np.asarray(expected, float)
    if expected.ndim == 2 and result.shape == expected.shape[:1]:
        expected = expected.reshape(-1) if expected.shape[1] == 1 else expected
    if result.shape != expected.shape:
        return f"has the shape {result.shape}, expected {expected.shape}"
    scale = np.abs(expected)
    if expected.ndim == 2:
        scale = scale.max(axis=1, keepdims=True)
    error = np.abs(result - expected) / np.maximum(scale, np.finfo(float).tiny)
    allowed = TOLERANCE[dtype]
    wrong = np.flatnonzero(~(error <= allowed))  # NaN is wrong too
    if not wrong.size:
        return None
    i = wrong[0]
    what = f"step {i + 1}: loss" if expected.ndim == 1 else f"element {i}: output"
    return (
        f"{what} {result.flat[i]:.8g}, expected {expected.flat[i]:.8g}; "
        f"off by {error.flat[i]:.1e}, allowed {allowed:.0e}"
    )


@dataclasses.dataclass
class Result:
    """Of one case: seconds per unit of each system and form, and why others have none.

    Attributes
    ----------
    mode, case : str
        As in `Case`.
    seconds : dict of str to float
        "system", or "system form" such as "nncore out=": the median of the bursts.
    spread : dict of str to float
        The quartiles' distance as a share of the median.
    floor : float
        `Case.floor` at the medians of the probes, which took turns too.
    peak, bandwidth : float
        These medians.
    missing, failed : dict of str to str
        Why a system has no place here; what was wrong with its results.
    """

    mode: str
    case: str
    seconds: dict[str, float]
    spread: dict[str, float]
    floor: float
    peak: float
    bandwidth: float
    missing: dict[str, str]
    failed: dict[str, str]

    def best(self, system: str) -> float | None:
        """Return the seconds of the best form of a system, or None."""
        found = [s for name, s in self.seconds.items() if name.split(" ")[0] == system]
        return min(found, default=None)

    def shown(self, system: str) -> float | None:
        """Return the seconds that stand for a system: its best form, but nncore's plain call."""
        return self.seconds.get("nncore") if system == "nncore" else self.best(system)

    def ours(self) -> float | None:
        """Return nncore's seconds, of the plain call without out=."""
        return self.shown("nncore")

    def ratio(self) -> float | None:
        """Return the best peer's time over nncore's, or None."""
        peers = [s for name, s in self.seconds.items() if name.split(" ")[0] != "nncore"]
        ours = self.ours()
        return min(peers) / ours if peers and ours else None


class Race:
    """The workers of a run.

    Parameters
    ----------
    names : list of str
        Systems.
    threads : int
    cores : list of int
    isa : str, optional
    quick : bool
        Fewer bursts.
    """

    def __init__(
        self,
        names: list[str],
        threads: int,
        cores: list[int],
        isa: str | None = None,
        quick: bool = False,
    ):
        self.bursts, self.budget = (3, 1.0) if quick else (15, 12.0)
        self.rest = REST if threads > 1 else 0
        self.versions: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        for name in ("probe", *names):
            self.workers[name] = Worker(name, threads, cores, isa)
        for worker in self.workers.values():
            worker.send("hello")
        for name in list(self.workers):
            try:
                self.versions[name] = self.workers[name].receive()
            except WorkerError as error:
                self._drop(name, error)
        if "probe" in self.broken:
            self.__exit__()
            raise WorkerError(self.broken["probe"])

    def __enter__(self) -> "Race":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers.values():
            worker.close()

    def _drop(self, name: str, error: Exception) -> None:
        """A system whose process has failed is told of and left out from now on."""
        self.broken[name] = str(error)
        self.workers.pop(name).close()
        print(f"nncore bench: {error}", file=sys.stderr, flush=True)

    def run(self, case: Case) -> Result:
        """Verify all systems on a case, time those that agree; return a `Result`."""
        expected = self.workers["probe"].ask("prepare", case)
        ready, missing, failed = [], {}, {}
        for name in [name for name in self.workers if name != "probe"]:
            try:
                answer = self.workers[name].ask("prepare", case)
            except WorkerError as error:
                failed[name] = str(error)
                continue
            if reason := answer.get("cannot"):
                missing[name] = reason
                continue
            for form, result in answer["result"].items():
                if wrong := verify(result, expected, case.dtype):
                    failed[name] = f"{form}: {wrong}" if form else wrong
            if name not in failed:
                ready.append(name)
        bursts, probes = self._time(ready, failed)
        peak, bandwidth = (statistics.median(column) for column in zip(*probes, strict=True))
        medians = {name: statistics.median(values) for name, values in bursts.items()}
        spread = {
            name: float(np.subtract(*np.percentile(values, (75, 25))) / medians[name])
            for name, values in bursts.items()
        }
        return Result(
            case.mode, case.name, medians, spread, case.floor(peak, bandwidth), peak, bandwidth,
            missing, failed,
        )  # fmt: skip

    def _time(
        self, ready: list[str], failed: dict[str, str]
    ) -> tuple[dict[str, list[float]], list[tuple[float, float]]]:
        """Return {system and form: seconds of each burst}, and those of the probe."""
        bursts: dict[str, list[float]] = {}
        probes: list[tuple[float, float]] = []
        for name in list(ready):
            try:
                self.workers[name].ask("calibrate", BURST)
            except WorkerError as error:
                failed[name] = str(error)
                ready.remove(name)
        start = time.perf_counter()
        for turn in range(self.bursts):
            first = turn % max(1, len(ready))  # no one always follows the same one
            for name in ready[first:] + ready[:first]:
                time.sleep(self.rest)
                for form, seconds in self.workers[name].ask("burst").items():
                    bursts.setdefault(f"{name} {form}".strip(), []).append(seconds)
            time.sleep(self.rest)
            probes.append(self.workers["probe"].ask("burst"))
            if turn >= 2 and time.perf_counter() - start > self.budget:
                break
        return bursts, probes
