"""Rows as the engine takes them, with no more of a sparse matrix made dense than a block."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse

from ..network import Network
from ..validation import as_inputs
from ..weights import sums_of_batches

BLOCK = 1 << 22  # elements that are made dense, or converted, at a time


class Samples:
    """Checked rows of data.

    X : a matrix, or CSR.
    y : targets as `as_targets` returns them.
    weights : float64 (n_rows,), at least 0, or None.
    constant : float64 (n_rows,) or None, what the loss that is reported has beside the engine's.
    """

    def __init__(
        self, X: Any, y: np.ndarray, weights: np.ndarray | None, constant: np.ndarray | None = None
    ):
        self.X = X.tocsr() if scipy.sparse.issparse(X) else X
        self.y, self.weights, self.constant = y, weights, constant
        self.is_sparse = scipy.sparse.issparse(X)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> "Samples":
        """Return some of the rows, copied."""
        parts = (self.weights, self.constant)
        return Samples(self.X[rows], self.y[rows], *(p if p is None else p[rows] for p in parts))

    def weight(self) -> float:
        return float(len(self)) if self.weights is None else float(self.weights.sum())

    def cuts(
        self, order: np.ndarray, batch_size: int, penalised: bool
    ) -> tuple[np.ndarray, list[slice]]:  # fmt: skip
        """Say how to cut an epoch into runs of whole batches that one call of the engine trains.

        The L2 penalty of a batch is divided by its weight, so batches in a run have the same one;
        and a run of a sparse matrix is no larger than a block.

        Returns
        -------
        sums : numpy.ndarray
            The weight of each batch.
        runs : list of slice
            Of the batches.
        """
        sums = sums_of_batches(self.weights, order, batch_size, len(order))
        cuts = np.flatnonzero(np.diff(sums)) + 1 if penalised else np.array([], int)
        if self.is_sparse:
            most = max(1, BLOCK // (self.X.shape[1] * batch_size))
            cuts = np.union1d(cuts, np.arange(most, len(sums), most))
        return sums, [slice(*ends) for ends in pairwise([0, *cuts.tolist(), len(sums)])]

    def at(self, index: np.ndarray) -> tuple[Any, ...]:
        """Return (X, y, index, weights) as `Engine.train` takes them, for these rows in order."""
        if not self.is_sparse:
            return self.X, self.y, index, self.weights
        some = self.take(index)
        return some.X.toarray(), some.y, None, some.weights

    def constants(self, order: np.ndarray, batch_size: int) -> Any:
        """Return what is added to the loss of each batch: a weighted mean, or 0."""
        if self.constant is None:
            return 0.0
        weights = np.ones(len(self)) if self.weights is None else self.weights
        sums, total = (
            sums_of_batches(w, order, batch_size, len(order))
            for w in (weights * self.constant, weights)
        )
        return np.divide(sums, total, out=np.zeros(len(sums)), where=total > 0)

    def constant_mean(self) -> float:
        """Return what is added to the loss of all rows."""
        return float(np.sum(self.constants(np.arange(len(self)), len(self))))

    def blocks(self, network: Network) -> Iterator[tuple[Any, ...]]:
        """Yield (X, y, weights) of all rows, X as an engine of `network` takes it."""
        if not self.is_sparse and self.X.dtype == network.dtype:
            yield as_inputs(self.X, network, finite=False), self.y, self.weights
            return
        for rows in slices(self.X):
            X = dense(self.X[rows], network)
            yield X, self.y[rows], None if self.weights is None else self.weights[rows]


def slices(X: Any) -> Iterator[slice]:
    """Yield slices of the rows of X, a block each."""
    most = max(1, BLOCK // X.shape[1])
    for start in range(0, X.shape[0], most):
        yield slice(start, start + most)


def dense(X: Any, network: Network) -> np.ndarray:
    """Return X as a matrix of the network's type."""
    X = X.toarray() if scipy.sparse.issparse(X) else X
    rows: np.ndarray = as_inputs(X, network, finite=False)
    return rows


def predict(network: Network, X: Any, n_threads: int | None) -> np.ndarray:
    """Return the outputs for the rows of X, dense or sparse."""
    if not scipy.sparse.issparse(X):
        return network.predict(dense(X, network), n_threads=n_threads)
    X = X.tocsr()
    out = np.empty((X.shape[0], network.n_out), network.dtype)
    for rows in slices(X):
        network.predict(dense(X[rows], network), out=out[rows], n_threads=n_threads)
    return out
