"""A process that holds one system and does what it is told through a pipe.

Between its turns it waits in a read, so it takes nothing from the others.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import numpy as np

from . import systems, timing
from .cases import Case, Data

# Given to each process: as many threads for all, in all the ways there are to say so.
THREADS = (
    "NNCORE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip
# Would hold NumPy back without being asked to.
REMOVED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
LIMITS = {
    "avx2": {
        "NNCORE_ISA": "avx2",
        "OPENBLAS_CORETYPE": "Haswell",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
}
BOOT = """
import json, os, sys
fd, place, threads, cores, path = json.loads(sys.argv[1])
if cores:
    os.sched_setaffinity(0, cores)  # before any library counts them or starts a thread
sys.path[:] = path
from nncore.bench.worker import serve
serve(fd, place, threads)
"""
WAIT = 600  # seconds for one answer: compilers are slow
WARM = 0.03  # an epoch shorter than this is run once, unmeasured, before each burst
# Seconds of unmeasured work on several threads before each burst. Processors that have just woken
# may be the two halves of one core for a while, on a virtual machine.
SPREAD = 0.1


class WorkerError(RuntimeError):
    """A worker failed; its text says how."""


class Worker:
    """The parent's end: starts the process, sends it messages, waits for its answers.

    Parameters
    ----------
    name : str
        A key of `systems.SYSTEMS`, or "probe".
    threads : int
    cores : list of int
        Where it may run; empty: anywhere.
    isa : str, optional
        A key of `LIMITS`.
    """

    def __init__(self, name: str, threads: int, cores: list[int], isa: str | None = None):
        self.name = name
        self._errors = tempfile.TemporaryFile()
        self._pipe, theirs = Pipe()
        place = systems.SYSTEMS.get(name)
        arguments = [theirs.fileno(), place, threads, cores, sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", BOOT, json.dumps(arguments)],
            env=environment(threads, isa), pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors,
        )  # fmt: skip
        theirs.close()

    def send(self, *message: Any) -> None:
        """Send a message; the answer is fetched by `receive`."""
        try:
            self._pipe.send(message)
        except OSError:
            pass  # it has died; `receive` will say so

    def receive(self) -> Any:
        """Return the answer to the oldest message that has none."""
        try:
            if not self._pipe.poll(WAIT):
                self._process.kill()  # a late answer would be taken for the next one
                raise WorkerError(f"{self.name} gave no answer in {WAIT} s")
            kind, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip()
            raise WorkerError(f"{self.name} died: {said[-2000:] or 'without a word'}") from None
        if kind == "error":
            raise WorkerError(f"{self.name}: {answer}")
        return answer

    def ask(self, *message: Any) -> Any:
        """Send a message and return the answer."""
        self.send(*message)
        return self.receive()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def environment(threads: int, isa: str | None = None) -> dict[str, str]:
    """Return the environment variables of a worker."""
    variables = {name: value for name, value in os.environ.items() if name not in REMOVED}
    variables |= dict.fromkeys(THREADS, str(threads))
    limits = LIMITS.get(isa or "", {})
    variables |= limits
    flags = [os.environ.get("XLA_FLAGS"), limits.get("XLA_FLAGS")]
    if threads == 1:
        flags.append("--xla_cpu_multi_thread_eigen=false")
    variables["XLA_FLAGS"] = " ".join(filter(None, flags))
    return variables


def installed(name: str) -> bool:
    """Whether a system can be loaded here."""
    package = systems.PACKAGES.get(name)
    return package is None or importlib.util.find_spec(package) is not None


def choose(names: list[str] | None = None) -> list[str]:
    """Return the systems to run: those named, or by default all that are installed.

    nncore comes first and is always there, since the others are compared with it.
    """
    if names is None:
        return [name for name in systems.DEFAULT if installed(name)]
    for name in names:
        if not installed(name):
            raise ValueError(
                f"{name} needs the package {systems.PACKAGES[name]}, which is not installed: "
                'pip install ".[bench]"'
            )
    return list(dict.fromkeys(["nncore", *names]))


def cores(threads: int) -> list[int]:
    """Return the cores to pin all workers to: the last of those we may use, empty if unknown."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    usable = sorted(os.sched_getaffinity(0))
    return usable[-threads:] if threads <= len(usable) else usable


# --- In the process -------------------------------------------------------------------------------


def serve(fd: int, place: str | None, threads: int) -> None:
    """Answer messages until the pipe is closed; `place` as in SYSTEMS, or None: the probe."""
    pipe, holder = Connection(fd), None
    while True:
        try:
            method, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            if holder is None:
                holder = Holder(place, threads) if place else Probe(threads)
            answer = "done", getattr(holder, method)(*arguments)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            answer = "error", f"{type(error).__name__}: {error} ({where})"
        pipe.send(answer)


class Holder:
    """The system of this process and what it is measured on."""

    def __init__(self, place: str, threads: int):
        self.system: systems.System = systems.load(place, threads)
        self.threads = threads

    def hello(self) -> str:
        return self.system.version()

    def prepare(self, case: Case) -> dict[str, Any]:
        """Make ready for a case. Return why that is impossible, or what is to be verified."""
        self.calls: dict[str, Callable[[], Any]] = {}
        self.trainer: systems.Trainer | None = None  # with it the last one's memory is freed
        if reason := self.system.cannot(case):
            return {"cannot": reason}
        data = Data.of(case)
        if case.mode == "predict":
            forms = self.system.predictor(case, data)
            result = {form: np.array(call()) for form, call in forms.items()}
            self.calls, self.units = forms, 1
        else:
            self.trainer = self.system.trainer(case, data)
            result = {"": np.array(self.trainer.losses(data.batches(case.batch)), float)}
            self.calls, self.units = {"": self.trainer.epoch}, case.steps
        return {"result": result}

    def calibrate(self, seconds: float) -> float:
        """Find how many calls a burst of about `seconds` takes; return the seconds of a round."""
        self.counts = {f: timing.calibrate(call, seconds) for f, call in self.calls.items()}
        return sum(self.burst().values()) * self.units * max(self.counts.values())

    def burst(self) -> dict[str, float]:
        """Return the seconds per unit of each form of the call, now."""
        spent = {}
        for form, call in self.calls.items():
            # Whoever had the turn before has filled the caches.
            if self.threads > 1:
                timing.run_for(call, SPREAD)
            elif self.units == 1:
                timing.burst(call, 1 + self.counts[form] // 10)
            elif getattr(self, "last", 0) < WARM:
                call()
            seconds = timing.burst(call, self.counts[form])
            self.last = seconds
            spent[form] = seconds / self.units
        return spent


class Probe:
    """Measures the processor, and says what the losses and outputs must be."""

    def __init__(self, threads: int):
        self.threads = threads

    def hello(self) -> str:
        return timing.processor()

    def prepare(self, case: Case) -> np.ndarray:
        """Return losses or outputs in float64 by the reference backend."""
        from .. import _core

        self.kernels = _core.Kernels(None, case.dtype)
        self.nbytes = case.n_params * np.dtype(case.dtype).itemsize
        system, data = systems.NumPy(1), Data.of(case, "float64")
        net = system.of(case, data)
        if case.mode == "predict":
            return net.predict(data.X)
        # Each batch is copied out here, so this does not depend on how a system gathers rows.
        return np.array([net.partial_fit(data.X[i], data.y[i]) for i in data.batches(case.batch)])

    def burst(self) -> tuple[float, float]:
        """Return operations and bytes per second, now."""
        peak = timing.in_threads(lambda: timing.fma_peak(self.kernels, 0.01), self.threads)
        share = self.nbytes // self.threads
        if share < timing.LARGE_COPY:
            return peak, self.threads * timing.copy_rate(share)
        return peak, timing.in_threads(lambda: timing.copy_rate(share), self.threads)
