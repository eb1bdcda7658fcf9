"""How many threads the C engine uses: what the process may use, unless told otherwise."""

import importlib
import math
import operator
import os
import sys
from typing import Any

import numpy as np

from . import _core

_limit: int | None = None  # what set_num_threads said
_ready = False  # whether _core knows
_registered = False  # whether threadpoolctl knows


def get_num_threads() -> int:
    """Return the most threads that a call uses which does not say ``n_threads=``.

    That is what `set_num_threads` set, or the environment variable ``NNCORE_NUM_THREADS``, or else
    ``OMP_NUM_THREADS``, or else the number of processors that this process may use: those of its
    affinity mask, and no more than its control group's quota of processor time.

    Returns
    -------
    int

    Examples
    --------
    >>> import nncore
    >>> nncore.get_num_threads() >= 1
    True
    """
    use_default()
    return _core.threads()


def set_num_threads(n: int | None) -> None:
    """Set the most threads that a call uses which does not say ``n_threads=``, in this process.

    The number of threads never changes a result: the bits are the same.

    Parameters
    ----------
    n : int or None
        From 1 to 64; None returns to the default, read anew: see `get_num_threads`.

    Examples
    --------
    >>> import nncore
    >>> nncore.set_num_threads(1)
    >>> nncore.get_num_threads()
    1
    >>> nncore.set_num_threads(None)
    """
    global _limit, _ready
    _limit = as_count(n) or None
    _ready = False
    use_default()


def use_default() -> None:
    """Tell the engine the number of threads, unless it knows."""
    global _ready
    if not _ready:
        usable, quota = processors(), cpu_quota()
        threads = _limit or _from_environment() or max(1, math.ceil(min(usable, quota)))
        # Under a quota, waiting in a loop would use up what the work needs.
        _core.set_threads(min(threads, _core.MAX_THREADS), usable if quota >= usable else 0)
        _ready = True


def as_count(n_threads: Any) -> int:
    """Return a number of threads for the engine; 0 for None, as many as usual."""
    if n_threads is None:
        return 0
    try:
        count = operator.index(n_threads)
    except TypeError:
        count = 0
    if not 1 <= count <= _core.MAX_THREADS or isinstance(n_threads, (bool, np.bool_)):
        raise ValueError(
            f"the number of threads must be an integer from 1 to {_core.MAX_THREADS}, or None, "
            f"got {n_threads!r}"
        )
    return count


def _from_environment() -> int:
    own = os.environ.get("NNCORE_NUM_THREADS", "").strip()
    if own:
        if not (own.isascii() and own.isdigit() and int(own) > 0):
            raise ValueError(
                f"NNCORE_NUM_THREADS={own} is not a number of threads; set it to an integer of at "
                "least 1, or unset it"
            )
        return int(own)
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # OpenMP allows a list
    return int(first) if first.isascii() and first.isdigit() else 0


def processors() -> int:
    """Return the number of processors in this process's affinity mask."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(proc: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> float:
    """Return how many processors' time the control groups grant, infinity without a limit.

    Version 2 has one tree with ``cpu.max``, version 1 a tree of the controller ``cpu``; a limit
    holds for all groups below it. In a container the path may lead nowhere: then only its root is
    looked at.
    """
    quota = math.inf
    for line in _read(proc).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            trees, files = [root], ["cpu.max"]
        elif "cpu" in controllers.split(","):
            trees = [f"{root}/{controllers}", f"{root}/cpu"]
            files = ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for tree in trees:
            for depth in range(len(parts) + 1):
                folder = "/".join([tree, *parts[:depth]])
                words = " ".join(_read(f"{folder}/{file}") for file in files).split()
                if len(words) == 2 and all(map(str.isdecimal, words)):
                    if int(words[0]) > 0 and int(words[1]) > 0:
                        quota = min(quota, int(words[0]) / int(words[1]))
    return quota


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def register_threadpoolctl() -> None:
    """Let threadpoolctl know nncore, as ``user_api="nncore"``: its limits set `set_num_threads`.

    Importing nncore does so if threadpoolctl was imported before; call this if it comes later.

    Examples
    --------
    >>> import nncore, threadpoolctl  # doctest: +SKIP
    >>> nncore.threads.register_threadpoolctl()  # doctest: +SKIP
    >>> with threadpoolctl.threadpool_limits(1, user_api="nncore"):  # doctest: +SKIP
    ...     net.fit(X, y)
    """
    global _registered
    threadpoolctl: Any = importlib.import_module("threadpoolctl")
    if _registered:
        return

    class NncoreController(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = internal_api = "nncore"
        filename_prefixes = ("_core.",)
        check_symbols = ("nnc_max_threads",)

        def get_num_threads(self) -> int:
            return get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            set_num_threads(min(num_threads, _core.MAX_THREADS))

        def get_version(self) -> str:
            return str(sys.modules[__package__].__version__)

    threadpoolctl.register(NncoreController)
    _registered = True


if "threadpoolctl" in sys.modules:
    register_threadpoolctl()
