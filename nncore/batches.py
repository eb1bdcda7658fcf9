"""Batches that come one by one: what `Network.fit` and `evaluate` take in place of arrays."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import data
from .layers.dense import positive_int
from .validation import check_batches
from .weights import times_classes


class Batches:
    """Batches (X, y) or (X, y, sample_weight) that come one by one, in epochs.

    The last two arguments are those of `fit` that have no meaning with batches.

    Parameters
    ----------
    source : iterable, or function that returns one
        Gone through once in each epoch. What can only be gone through once, such as a generator, is
        enough for one epoch, or with `steps` for as long as it lasts.
    epochs : int
    steps : int or None
        Batches in an epoch; each epoch goes on where the one before has ended, and a source that is
        at its end begins again.
    """

    def __init__(
        self, source: Any, epochs: int = 1, steps: int | None = None, batch_size: Any = None,
        sample_weight: Any = None,
    ) -> None:  # fmt: skip
        for name, value in (("batch_size", batch_size), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(f"{name} is for arrays; batches bring their own")
        self._source = source
        self._steps = None if steps is None else positive_int(steps, "steps_per_epoch")
        self._ahead: list[Any] = []
        self._iterator: Iterator[Any] = iter(())
        self._begun = False
        self._once = hasattr(source, "__next__")
        if self._once and epochs > 1 and steps is None:
            raise ValueError(
                f"a generator can be gone through only once, which is one epoch of {epochs}; give "
                "a list, a function that returns a new generator, or steps_per_epoch="
            )

    @property
    def steps(self) -> int | None:
        """Batches in an epoch, as far as it is known before."""
        return self._steps or (len(self._source) if hasattr(self._source, "__len__") else None)

    def first(self) -> tuple[Any, ...]:
        """Return the first batch, which will be the first of the epoch, too."""
        self._begin()
        self._ahead = list(itertools.islice(self._iterator, 1))
        if not self._ahead:
            raise ValueError("there is no batch to train with")
        return _as_batch(self._ahead[0])

    def epoch(self) -> Iterator[tuple[Any, ...]]:
        """Yield X, y and the weights, or None, of each batch of an epoch."""
        if self._steps is None:
            if not self._ahead:
                self._begin()
            empty = True
            for item in self._rest():
                empty = False
                yield _as_batch(item)
            if empty:
                raise ValueError(
                    "there is no batch in this epoch; a function must return a new iterable each "
                    "time that it is called"
                )
            return
        if not self._begun:
            self._begin()
        for step in range(self._steps):
            item = next(self._rest(), None)
            if item is None and not self._once:
                self._begin()
                item = next(self._rest(), None)
            if item is None:
                raise ValueError(
                    f"the batches have come to an end after {step} of the {self._steps} of an "
                    "epoch; give fewer steps_per_epoch or epochs, or a function that returns a new "
                    "generator"
                )
            yield _as_batch(item)

    def skip(self, epochs: int) -> None:
        """Go through so many epochs."""
        for _ in range(epochs):
            for _ in self.epoch():
                pass

    def train(
        self, network: Any, classes: Any, missing: str | None, n_threads: int, history: Any,
        epoch: int,
    ) -> dict[str, float]:  # fmt: skip
        """Train `network` for one epoch; return the mean loss of the rows before their updates."""

        def learn(number: int, X: Any, y: Any, w: Any) -> Any:
            check_batches(network, len(X), len(X))
            return network._epoch(X, y, w, len(X), False, n_threads, history, epoch, number)

        return self._mean(network, classes, missing, learn)

    def evaluate(
        self, network: Any, classes: Any, missing: str | None, n_threads: int
    ) -> dict[str, float]:
        """Return what `Network.evaluate` says of the rows of one epoch."""

        def evaluate(number: int, X: Any, y: Any, w: Any) -> Any:
            measures = network._measures(y, w, None, network._always())
            return network._evaluate(X, y, w, n_threads, measures)

        return self._mean(network, classes, missing, evaluate)

    def _mean(
        self, network: Any, classes: Any, missing: str | None,
        scores_of: Callable[[int, Any, Any, Any], Any],
    ) -> dict[str, float]:  # fmt: skip
        """The mean over batches of what `scores_of` says of each, by their weights."""
        scores, sums = [], []
        for number, batch in enumerate(self.epoch(), 1):
            if batch[2] is not None and not np.any(batch[2]):
                continue  # it counts nothing
            X, y, w = network._samples(*batch, f"batch {number}: ", True, missing, some=False)
            w = times_classes(w, classes, y, network)
            counts = data.counts_of(y, w)
            if counts is None or counts.any():
                scores.append(scores_of(number, X, y, w))
                sums.append(len(X) if counts is None else counts.sum())
        if not sums:
            raise ValueError("no batch has weights and targets: there is no mean to take")
        total = np.sum(sums)
        return {n: float(np.dot([s[n] for s in scores], sums) / total) for n in scores[0]}

    def _rest(self) -> Iterator[Any]:
        ahead, self._ahead = self._ahead, []
        return itertools.chain(ahead, self._iterator)

    def _begin(self) -> None:
        self._begun = True
        source = self._source
        if not hasattr(source, "__iter__"):
            source = source()
        try:
            self._iterator = iter(source)
        except TypeError:
            raise TypeError(
                f"a function given as batches must return an iterable, got {type(source).__name__}"
            ) from None


def are_batches(X: Any, y: Any) -> bool:
    """Whether X, without y, is an iterable of batches or a function that returns one."""
    return (
        y is None
        and not hasattr(X, "__array__")
        and not hasattr(X, "shape")
        and not isinstance(X, (str, bytes, dict))
        and (hasattr(X, "__iter__") or callable(X))
    )


def _as_batch(item: Any) -> tuple[Any, Any, Any]:
    good = isinstance(item, (tuple, list)) and len(item) in (2, 3)
    if not good or not (hasattr(item[0], "__len__") or hasattr(item[0], "shape")):
        raise ValueError(
            "y is missing; or, to train with batches, X must yield tuples (X, y) or "
            f"(X, y, sample_weight) of arrays, got {type(item).__name__} {item!r:.60}"
        )
    X, y, weights = (*item, None)[:3]
    return X, y, weights
