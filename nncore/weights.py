"""Weights of samples and of classes: checked, and multiplied to one number for each row.

The mean loss is ``sum w_i l_i / sum w_i``: a row of weight 2 counts as that row twice, and a row of
weight 0 as none.
"""

import operator
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Classes = tuple[list[int], np.ndarray]

_SMALLEST, _LARGEST = 1e-100, 1e100  # sums and quotients of such weights are finite


def refuse_masked(array: Any, name: str) -> None:
    """Raise for a masked array: NumPy would take what is under the mask."""
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError(f"{name} is a masked array; fill it first, with {name}.filled(...)")


def as_weights(
    weights: "ArrayLike | None", rows: int, name: str = "sample_weight", data: str = "X"
) -> Any:
    """Return weights as a new float64 array (rows,), or None."""
    if weights is None:
        return None
    refuse_masked(weights, name)
    try:
        array = np.array(weights, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers, one for each row of {data}") from None
    if array.shape == (rows, 1):
        array = array.reshape(-1)
    if array.shape != (rows,):
        raise ValueError(
            f"{name} has shape {array.shape}; expected ({rows},), one for each row of {data}."
        )
    wrong = ~((array == 0) | ((array >= _SMALLEST) & (array <= _LARGEST)))  # and NaN
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name} must be 0 or between {_SMALLEST:g} and {_LARGEST:g}, got {array[row]:g} at "
            f"row {row}."
        )
    return array


def check_weights(weights: np.ndarray | None, name: str = "sample_weight") -> None:
    """Raise if no row counts."""
    if weights is not None and not weights.any():
        raise ValueError(f"{name} is 0 for every row: there is nothing left to take the mean of.")


def warn_if_without_effect(weights: np.ndarray | None, batch_size: int) -> None:
    """Within a batch, weights are relative: in batches of one row they say only who is left out."""
    if weights is None or batch_size > 1:
        return
    if len(np.unique(weights[weights > 0])) > 1:
        warnings.warn(
            "Weights have no effect in batches of one row, but for rows of weight 0: the mean over "
            "a batch is sum w l / sum w. Use a larger batch_size.",
            UserWarning,
            stacklevel=3,
        )


def sums_of_batches(
    weights: np.ndarray | None, order: np.ndarray | None, batch_size: int, rows: int
) -> np.ndarray:
    """The weight of each batch of an epoch."""
    if weights is None:
        sums = np.full(-(-rows // batch_size), float(batch_size))
        sums[-1] = rows - batch_size * (len(sums) - 1)
        return sums
    starts = np.arange(0, rows, batch_size)
    return np.add.reduceat(weights if order is None else weights[order], starts)


def class_table(
    class_weight: "Mapping[int, float] | ArrayLike | None", y: Any, weights: np.ndarray | None,
    network: Any,
) -> Classes | None:  # fmt: skip
    """Return the classes of a network and the weight of each, or None.

    Parameters
    ----------
    class_weight : None, dict, array_like or "balanced"
        "balanced": total weight / (number of classes that occur * weight of the class), as
        scikit-learn.
    y : numpy.ndarray
        Checked targets, for "balanced".
    weights : numpy.ndarray or None
        Of the rows.
    """
    if class_weight is None:
        return None
    if hasattr(y, "counts"):
        raise ValueError(
            "class_weight needs all classes, but targets are missing; use sample_weight"
        )
    if y is None and isinstance(class_weight, str):
        raise ValueError(f"class_weight={class_weight!r} needs all labels at once, not batches")
    classes = _classes(network)
    table = np.ones(len(classes))
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                'class_weight must be a dict, an array or "balanced", got ' + repr(class_weight)
            )
        counts = np.bincount(_index_of_class(y, classes, network, "y"), weights, len(classes))
        found = counts > 0
        table[found] = counts.sum() / (np.count_nonzero(found) * counts[found])
        return classes, table
    if not isinstance(class_weight, Mapping):
        return classes, as_weights(class_weight, len(classes), "class_weight", "classes")
    for key, value in class_weight.items():
        try:
            place = classes.index(operator.index(key))
        except (TypeError, ValueError):
            raise ValueError(f"class_weight has a class {key!r}; classes are {classes}.") from None
        table[place] = as_weights([value], 1, f"class_weight of {key!r}", "classes")[0]
    return classes, table


def times_classes(
    weights: np.ndarray | None, table: Classes | None, y: Any, network: Any, name: str = "y"
) -> np.ndarray | None:
    """Return the weights of rows times those of their classes."""
    if table is None:
        return weights
    of_rows: np.ndarray = table[1][_index_of_class(y, table[0], network, name)]
    return of_rows if weights is None else weights * of_rows


def _classes(network: Any) -> list[int]:
    """The classes as they stand in targets."""
    loss = network.loss.name
    if loss == "cross_entropy":
        return list(range(network.n_out))
    if network.n_out == 1 and loss in ("binary_cross_entropy", "focal"):
        return [0, 1]
    if network.n_out == 1 and loss in ("hinge", "squared_hinge"):
        return [-1, 1]
    raise ValueError(
        "class_weight needs one class for each row: cross_entropy, or a single output with "
        f"binary_cross_entropy, focal, hinge or squared_hinge; this network has {network.n_out} "
        f"output{'s' if network.n_out > 1 else ''} and {loss}. Use sample_weight."
    )


def _index_of_class(y: Any, classes: list[int], network: Any, name: str) -> Any:
    if y.ndim == 1:
        return y
    if not isinstance(y, np.ndarray):
        y = y[:]  # rows that are converted in blocks elsewhere
    if network.loss.name == "cross_entropy":
        soft = ((y != 0) & (y != 1)).any(axis=1)
    else:
        soft = ~np.isin(y[:, 0], classes)
    if soft.any():
        row = int(soft.argmax())
        raise ValueError(
            f"class_weight needs one class for each row; row {row} of {name} is {y[row].tolist()}. "
            "Use sample_weight."
        )
    if network.loss.name == "cross_entropy":
        return y.argmax(axis=1)
    return (y[:, 0] == classes[1]).astype(np.int64)
