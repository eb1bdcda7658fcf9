"""Which rows are held out for validation."""

from __future__ import annotations

import copy
from numbers import Real

import numpy as np

from .metrics.labels import is_one_hot, two_classes
from .weights import check_weights


def split(network, data, share, validation, saved):
    """Divide checked data: X, y, and weights or None.

    Returns
    -------
    rows : numpy.ndarray
        Those that are held out: drawn, or where training goes on from `saved`, those of before.
    training, validation : tuple
    rng : numpy.random.Generator
        The network's own, after drawing; the network still has it as it was.
    """
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share < 1:
        raise ValueError(f"validation_split must be a number from 0 to below 1, got {share!r}")
    if validation is not None:
        raise ValueError("give validation_data or validation_split, not both")
    rng, n = copy.deepcopy(network._rng), len(data[0])
    rows = held_out(share, data[1], network, rng) if saved is None else saved.rows(n)
    kept = np.ones(n, bool)
    kept[rows] = False
    parts = [tuple(a if a is None else a[which] for a in data) for which in (kept, rows)]
    for (_, _, weights), name in zip(parts, ("training", "validation"), strict=True):
        check_weights(weights, f"sample_weight of the {name} rows of validation_split")
    return rows, *parts, rng


def held_out(share, y, network, rng):
    """Return the numbers of a share of the rows, drawn at random, in increasing order.

    Of each class as large a part as of all rows, to the nearest row, and never its only row; of
    classes that are not one for each row, and of numbers, any rows.
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


def _classes(y, network):
    if y.ndim == 1:
        return y
    if two_classes(network, y) is not None:
        return np.unique(y[:, 0], return_inverse=True)[1]
    return y.argmax(axis=1) if is_one_hot(y) else None


def _parts(sizes, count):
    """How many rows of each class: by largest remainders, leaving one where there is one."""
    exact = sizes * (count / sizes.sum())
    parts = np.floor(exact).astype(int)
    for k in np.argsort(parts - exact, kind="stable"):
        if parts.sum() >= count:
            break
        parts[k] += parts[k] < sizes[k] - 1
    return parts


def _first_of_each(order, sizes, parts):
    """The first rows of each class, then the others."""
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[np.argsort(place >= np.repeat(parts, sizes), kind="stable")]
