"""Trainer: what all full-batch methods have in common."""

import abc
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..described import Described
from .line_search import LineSearch, ours
from .problem import Point, Problem, dot

Memory = dict[str, Any]


class Stuck(Exception):
    """A trainer can do nothing more. Its text becomes the stop reason.

    "minimum": no step reduces the loss, but for rounding; "mu_max": that of Levenberg-Marquardt.
    """


def no_lower(point: Point) -> Stuck:
    """Return the end of a trainer that finds no lower loss, unless it could not look for one."""
    if math.isfinite(dot(point.gradient, point.gradient)):
        return Stuck("minimum")
    raise FloatingPointError(
        "the square of the gradient's norm is beyond the largest number; scale the inputs and "
        "targets"
    )


class Trainer(Described, abc.ABC):
    """Base of the trainers that use all rows at once: an epoch is one iteration.

    A trainer has no state of its own. `iterate` gets the present `Point` and a memory, a dict of
    numbers and vectors (or of lists of them), and returns the next two. Neither is changed in
    place, so a run that is interrupted has lost nothing.

    Networks take those of `nncore.trainers`, which their files can name; `nncore.minimize` takes a
    subclass of your own too.

    Examples
    --------
    >>> import nncore
    >>> class Halfway(nncore.trainers.Trainer):
    ...     def iterate(self, problem, point, memory):
    ...         return problem.at(point.theta - 0.25 * point.gradient), memory
    >>> nncore.minimize(lambda x: (float(x @ x), 2 * x), [8.0], Halfway(), iterations=3).x
    array([1.])
    """

    full_batch = True
    rule, hyper = "sgd", (0.01,)  # which the engine has and does not use
    schedule = average = swa = None

    _remembers: ClassVar[dict[str, str]] = {}
    """What the memory holds, for files: name -> a key of `_NUMBERS`; "vector" (as long as the
    parameters), "vectors" (a list of them), "matrix" (as many rows and columns), or "free"
    (float64, of the parameters that are trained)."""
    _sometimes: ClassVar[frozenset[str]] = frozenset()
    """Those of it that may be missing, all together."""

    def begin(self, problem: Problem, point: Point, rng: "np.random.Generator") -> Memory:
        """Return the memory before the first step."""
        return {}

    @abc.abstractmethod
    def iterate(self, problem: Problem, point: Point, memory: Memory) -> tuple[Point, Memory]:
        """Return the next point and memory, or raise `Stuck`.

        Parameters
        ----------
        problem : Problem
            ``problem.at(theta)`` is the `Point` at a vector, which is not changed any more.
        point : Point
            ``theta``, ``loss`` and ``gradient`` where the last iteration ended.
        memory : dict
            What `begin` returned, or the last iteration.
        """

    def report(self, memory: Memory) -> dict[str, float]:
        """Return what the history records of a memory, by name."""
        return {}

    def recall(
        self,
        numbers: dict[str, Any],
        tensors: dict[str, np.ndarray],
        n: int,
        n_free: int,
        dtype: np.dtype,
    ) -> Memory:
        """Return the memory that a file describes, checked; empty where it had none.

        tensors: name -> array, ``name.i`` for the i-th of a list. What is used is taken out of it.
        """
        names = {name.partition(".")[0] for name in (*numbers, *tensors)}
        if not names:
            return {}
        missing = set(self._remembers) - names
        if (
            names - set(self._remembers)
            or missing - self._sometimes
            or (missing & self._sometimes not in (set(), self._sometimes))
        ):
            raise ValueError(f"a state of {sorted(names)} is not one of {type(self).__name__}")
        shapes = {"vector": (n,), "vectors": (n,), "matrix": (n, n), "free": (n_free,)}
        memory: Memory = {}
        for name in names:
            kind = self._remembers[name]
            if kind in _NUMBERS:
                memory[name] = _number(numbers.pop(name, None), name, kind)
                continue
            wanted = "float64" if kind == "free" else dtype
            found: list[np.ndarray] = []
            while (key := f"{name}.{len(found)}" if kind == "vectors" else name) in tensors:
                values = tensors.pop(key)
                if values.shape != shapes[kind] or values.dtype != wanted:
                    raise ValueError(f"optimizer.{key} is {values.dtype} {values.shape}, expected "
                                     f"{wanted} {shapes[kind]}")  # fmt: skip
                found.append(values.copy())
            if not found:
                raise ValueError(f"optimizer.{name} is missing")
            memory[name] = found if kind == "vectors" else found[0]
        if numbers:
            raise ValueError(f"{sorted(numbers)[0]} of the optimizer's state is no number")
        if len({len(values) for values in memory.values() if type(values) is list}) > 1:
            raise ValueError("lists of the optimizer's state differ in length")
        return memory

    def config(self) -> dict[str, Any]:
        """Return the arguments that make this trainer again, as JSON values.

        A subclass is described as the one of this package that it is: files name no other class.
        """
        kind = ours(self)
        values = self._shown(kind)
        return {"type": kind.__name__} | {
            name: value.config() if isinstance(value, LineSearch) else value
            for name, value in values.items()
        }


def describe(memory: Memory) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the numbers and the arrays of a memory, by name, as `Trainer.recall` takes them."""
    numbers: dict[str, float] = {}
    tensors: dict[str, np.ndarray] = {}
    for name, value in memory.items():
        if isinstance(value, list):
            tensors |= {f"{name}.{i}": each for i, each in enumerate(value)}
        elif getattr(value, "shape", ()):
            tensors[name] = value
        else:
            numbers[name] = value if type(value) is int else float(value)
    return numbers, tensors


_NUMBERS: dict[str, Callable[[Any], bool]] = {
    "number": lambda value: True,
    "number of at least 0": lambda value: value >= 0,
    "positive number": lambda value: value > 0,
    "count": lambda value: type(value) is int and value >= 0,
}


def _number(value: Any, name: str, kind: str) -> Any:
    if type(value) in (int, float) and math.isfinite(value) and _NUMBERS[kind](value):
        return value
    raise ValueError(f"{name} of the optimizer's state is {value!r}, expected a {kind}")
