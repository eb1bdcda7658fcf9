"""Which rows are held out for validation."""

import copy
from numbers import Real
from typing import Any

import numpy as np

from .data import Observed
from .metrics.labels import is_one_hot, two_classes
from .weights import check_weights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .checkpoints import Saved
    from .run import Samples


def split(
    network: Any, data: "Samples", share: Any, validation: Any,
    saved: "Saved | None",
) -> "tuple[np.ndarray, Samples, Samples, np.random.Generator]":  # fmt: skip
    """Divide checked data: X, y, and weights or None.

    Returns
    -------
    rows : numpy.ndarray
        Those that are held out: drawn, or where training goes on from `saved`, those of before.
    training, validation : tuple
    rng : numpy.random.Generator
        The network's own, after drawing; the network still has it as it was.
    """
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 < float(share) < 1:
        raise ValueError(f"validation_split must be a number from 0 to below 1, got {share!r}")
    if validation is not None:
        raise ValueError("give validation_data or validation_split, not both")
    if not all(isinstance(getattr(part, "values", part), np.ndarray) for part in data[:2]):
        raise ValueError(
            "validation_split copies the rows: it needs arrays, neither sparse ones nor files of "
            "another dtype; give validation_data"
        )
    rng, n = copy.deepcopy(network._rng), len(data[0])
    rows = held_out(float(share), data[1], network, rng) if saved is None else saved.rows(n)
    kept = np.ones(n, bool)
    kept[rows] = False
    X, y, w = data
    training, validation = (
        (X[part], y[part], None if w is None else w[part]) for part in (kept, rows)
    )
    for (_, t, weights), name in ((training, "training"), (validation, "validation")):
        check_weights(weights, f"sample_weight of the {name} rows of validation_split")
        if isinstance(t, Observed) and not t.counts(weights).any():
            raise ValueError(
                f"all targets of the {name} rows of validation_split are missing; give another "
                "share, or validation_data"
            )
    return rows, training, validation, rng


def held_out(share: float, y: Any, network: Any, rng: "np.random.Generator") -> np.ndarray:
    """Return the numbers of a share of the rows, drawn at random, in increasing order.

    Of each class as large a part as of all rows, to the nearest row, and never its only row; of
    classes that are not one for each row, of numbers, and where targets are missing, any rows.
    """
    n = len(y)
    count = round(share * n)
    if not 0 < count < n:
        raise ValueError(
            f"validation_split={share:g} of {n} rows leaves {count} for validation and {n - count} "
            "for training; both need some"
        )
    order = rng.permutation(n)
    classes = _classes(y, network)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
        sizes = np.bincount(classes)
        order = _first_of_each(order, sizes, _parts(sizes, count))
    return np.sort(order[:count]).astype(np.int64)


def _classes(y: Any, network: Any) -> Any:
    if isinstance(y, Observed):
        return None
    if y.ndim == 1:
        return y
    if two_classes(network, y) is not None:
        return np.unique(y[:, 0], return_inverse=True)[1]
    return y.argmax(axis=1) if is_one_hot(y) else None


def _parts(sizes: np.ndarray, count: int) -> np.ndarray:
    """How many rows of each class: by largest remainders, leaving one where there is one."""
    exact = sizes * (count / sizes.sum())
    parts: np.ndarray = np.floor(exact).astype(int)
    for k in np.argsort(parts - exact, kind="stable"):
        if parts.sum() >= count:
            break
        parts[k] += parts[k] < sizes[k] - 1
    return parts


def _first_of_each(order: np.ndarray, sizes: np.ndarray, parts: np.ndarray) -> Any:
    """The first rows of each class, then the others."""
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[np.argsort(place >= np.repeat(parts, sizes), kind="stable")]
