"""What training data may be beside arrays: rows that are converted block by block.

A network's engine reads arrays of its own dtype where they lie. `Rows` are all other matrices that
must not be converted as a whole: sparse ones, and memory-mapped ones of another dtype. `train`,
`loss` and `predict` here call the engine for one block of them after the other, and get the bits
that it would give for the whole array.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ._core import BLOCK, all_finite, is_matrix

_BYTES = 1 << 20  # of a block: small beside any memory, large beside a call


class Sparse(Protocol):
    """A matrix in CSR form."""

    indptr: Any
    indices: Any
    data: Any

    @property
    def shape(self) -> Any: ...


Matrix = ArrayLike | Sparse
Batched = Iterable[Any] | Callable[[], Iterable[Any]]


class Rows:
    """A matrix whose rows become arrays of the engine's dtype when they are asked for."""

    ndim = 2

    def __init__(self, values: Any, dtype: Any) -> None:
        self._values, self.dtype = values, np.dtype(dtype)
        self.memory = values
        self.shape = tuple(int(n) for n in values.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return a new matrix of these rows, a slice or an array of indices."""
        with np.errstate(over="ignore"):  # infinities are found where data are checked
            return np.ascontiguousarray(self._values[rows], self.dtype)

    def not_finite(self) -> tuple[int, int, float] | None:
        """Return row, column and value of the first element that is not finite, if there is one."""
        return first_not_finite(self)


class SparseRows(Rows):
    """A matrix in CSR form: SciPy's, or anything with its indptr, indices, data and shape."""

    def __init__(self, values: Any, dtype: Any, name: str) -> None:
        super().__init__(values, dtype)
        self._starts, self._columns = np.asarray(values.indptr), np.asarray(values.indices)
        self._data = self.memory = np.asarray(values.data)
        starts, n = self._starts, len(self._columns)
        if (
            starts.shape != (len(self) + 1,)
            or self._data.shape != (n,)
            or not (starts[0] == 0 and starts[-1] <= n and (np.diff(starts) >= 0).all())
            or (n and not 0 <= self._columns.min() <= self._columns.max() < self.shape[1])
        ):
            raise ValueError(f"{name} is no valid CSR matrix: its indices do not fit its shape")
        if self._data.dtype.kind not in "biuf":
            raise ValueError(
                f"{name} has dtype {self._data.dtype}; convert it to float32 or float64"
            )

    def __getitem__(self, rows: Any) -> np.ndarray:
        first, last = self._starts[:-1][rows], self._starts[1:][rows]
        lengths = last - first
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        at = np.arange(total) + np.repeat(first - (ends - lengths), lengths)
        places = np.repeat(np.arange(len(lengths)) * self.shape[1], lengths) + self._columns[at]
        dense = np.zeros((len(lengths), self.shape[1]), self._data.dtype)
        flat, values = dense.reshape(-1), self._data[at]
        if (np.diff(places) > 0).all():
            flat[places] = values
        else:  # an element that is there more than once is a sum
            np.add.at(flat, places, values)
        with np.errstate(over="ignore"):
            return dense.astype(self.dtype, copy=False)

    def not_finite(self) -> tuple[int, int, float] | None:
        found = first_not_finite(Rows(self._data[: self._starts[-1], None], self.dtype))
        if found is None:
            return None
        row = int(np.searchsorted(self._starts, found[0], "right")) - 1
        return row, int(self._columns[found[0]]), found[2]


def as_rows(values: Any, dtype: np.dtype, name: str) -> Rows | None:
    """Return what must not be converted as a whole as `Rows`; None: `values` is something else."""
    if getattr(values, "format", "csr") != "csr" and hasattr(values, "tocsr"):
        fix = name.split(": ")[-1] + ".tocsr()"
        raise ValueError(
            f"{name} is a sparse matrix in {values.format} form; convert it with {fix}"
        )
    if all(hasattr(values, part) for part in ("indptr", "indices", "data", "shape")):
        return SparseRows(values, dtype, name)
    array = values
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    if not isinstance(array, np.memmap) or values.ndim != 2 or values.dtype.kind not in "biuf":
        return None
    fits = values.dtype == dtype and values.dtype.isnative and is_matrix(values)
    return None if fits else Rows(np.asarray(values), dtype)


def share_memory(X: Any, out: np.ndarray) -> bool:
    """Whether writing to `out` may change X."""
    return np.may_share_memory(X.memory if isinstance(X, Rows) else X, out)


def slices(array: Any, unit: int = 1, n_bytes: int = _BYTES) -> Iterator[slice]:
    """Yield slices of the rows, whole units of them, that are of about `n_bytes`."""
    rows = n_bytes // max(1, array.shape[1] * array.dtype.itemsize)
    size = max(rows // unit, 1) * unit
    for start in range(0, len(array), size):
        yield slice(start, min(start + size, len(array)))


def first_not_finite(array: Any) -> tuple[int, int, float] | None:
    """Return row, column and value of the first element that is not finite, if there is one.

    In blocks, so that Ctrl-C is answered and what is converted or marked is small.
    """
    if isinstance(array, np.ndarray) and array.nbytes <= _BYTES and all_finite(array):
        return None
    for rows in slices(array, n_bytes=16 * _BYTES if isinstance(array, np.ndarray) else _BYTES):
        block = array[rows]
        if not all_finite(block):
            row, column = np.argwhere(~np.isfinite(block))[0]
            return rows.start + int(row), int(column), float(block[row, column])
    return None


class Observed:
    """Targets of which some are missing: NaN. Without them they would be the array `values`."""

    def __init__(self, values: Any, of_rows: bool) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.ndim, self._of_rows = values.ndim, of_rows
        per_row = [np.count_nonzero(~np.isnan(values[rows]), axis=1) for rows in slices(values)]
        self._per_row = np.concatenate(per_row).astype(np.float64)
        if of_rows:  # the loss is a mean over rows
            np.minimum(self._per_row, 1, out=self._per_row)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> "Observed":
        return Observed(self.values[rows], self._of_rows)

    def counts(self, weights: np.ndarray | None) -> np.ndarray:
        """Return what each row counts in a mean."""
        return self._per_row if weights is None else self._per_row * weights


def counts_of(y: Any, weights: np.ndarray | None) -> np.ndarray | None:
    """Return what each row counts in a mean, None where all count the same."""
    return y.counts(weights) if isinstance(y, Observed) else weights


# ---- through the engine, block by block where it must be ----------------------------------


def _split(X: Any, y: Any, weights: np.ndarray | None) -> tuple[Any, Any, Rows | None]:
    """X, y as the engine takes them or as `Rows`, the counts, and the wider of the Rows or None."""
    counts = None
    if isinstance(y, Observed):
        counts, y = y.counts(weights), y.values
    parts = [a for a in (X, y) if isinstance(a, Rows)]
    return y, counts, max(parts, key=lambda a: a.shape[1]) if parts else None


def train(
    engine: Any, X: Any, y: Any, order: np.ndarray | None, batch_size: int, n_threads: int,
    weights: np.ndarray | None, rates: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """Call ``engine.train`` for whole batches at a time; return the losses of all."""
    y, counts, wide = _split(X, y, weights)
    if wide is None:
        whole = engine.train(X, y, order, batch_size, n_threads, weights, rates, counts)
        return np.asarray(whole)
    losses, first = [], engine.n_updates
    for rows in slices(wide, batch_size):
        pick = rows if order is None else order[rows]
        steps = -(-(rows.stop - rows.start) // batch_size)
        done = engine.n_updates - first
        losses.append(
            engine.train(
                X[pick], y[pick], None, batch_size, n_threads, _of(weights, pick),
                None if rates is None else rates[done : done + steps], _of(counts, pick),
            )
        )  # fmt: skip
        if not np.isfinite(losses[-1][-1]):
            break
    return np.concatenate(losses)


def loss(engine: Any, X: Any, y: Any, n_threads: int, weights: np.ndarray | None) -> float:
    """Return ``engine.loss`` of all rows."""
    y, counts, wide = _split(X, y, weights)
    if wide is None:
        return float(engine.loss(X, y, n_threads, weights=weights, counts=counts))
    value, so_far = 0.0, np.zeros(2)
    for rows in slices(wide, BLOCK):
        value = engine.loss(
            X[rows], y[rows], n_threads, weights=_of(weights, rows), counts=_of(counts, rows),
            so_far=so_far,
        )  # fmt: skip
    return value


def predict(engine: Any, X: Any, out: np.ndarray, n_threads: int, sample: bool = False) -> None:
    """Call ``engine.predict`` for all rows."""
    if not isinstance(X, Rows):
        engine.predict(X, out, n_threads, sample)
        return
    for rows in slices(X, 32):
        engine.predict(X[rows], out[rows], n_threads, sample)


def _of(values: np.ndarray | None, rows: Any) -> np.ndarray | None:
    return None if values is None else values[rows]
