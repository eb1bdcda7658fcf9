"""Which class a target or an output means."""

import numpy as np
from numpy.typing import ArrayLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..network import Network

_LIKE_TARGETS = ("mse", "half_mse", "mae", "huber", "smooth_l1", "log_cosh")


def two_classes(net: "Network", y: np.ndarray) -> tuple[float, float] | None:
    """The two targets of a network with one output, or None if it has more or does regression."""
    if net.n_out != 1:
        return None
    if net.loss.output == "sigmoid":
        return 0.0, 1.0
    if net.loss.name.endswith("hinge"):
        return -1.0, 1.0
    values = np.unique(y) if net.loss.name in _LIKE_TARGETS else y[:0]
    return (float(values[0]), float(values[1])) if len(values) == 2 else None


def is_one_hot(y: np.ndarray) -> bool:
    """Whether each row has one 1 and otherwise zeros."""
    return bool(y.shape[1] > 1 and len(np.unique(y)) == 2 and ((y > 0).sum(axis=1) == 1).all())


def _labels(values: "ArrayLike", name: str) -> tuple[np.ndarray, int | None]:
    """One label per row, and the number of classes where rows of it were given."""
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(
            f"{name} must be labels or rows with one number per class, got shape {values.shape}"
        )
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError(f"{name} has numbers that are not finite")
        if values.ndim == 1:
            if not (values == np.round(values)).all():
                if values.min() < 0 or values.max() > 1:
                    raise ValueError(
                        f"{name} has scores, which may mean anything: give labels, such as "
                        "scores > 0, or probabilities"
                    )
                values = values > 0.5
            values = values.astype(int)
    elif values.dtype.kind == "b":
        values = values.astype(int)
    elif values.dtype.kind not in "iuUSO" or (values.ndim == 2 and values.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be labels or rows of numbers, got dtype {values.dtype}")
    if values.ndim == 2:
        return values.argmax(axis=1), values.shape[1]
    return values, None


def numbered(y_true: "ArrayLike", y_pred: "ArrayLike") -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return labels of any kind as numbers of classes, and the classes as text."""
    (true, n), (predicted, m) = _labels(y_true, "y_true"), _labels(y_pred, "y_pred")
    if len(true) != len(predicted):
        raise ValueError(f"y_true has {len(true)} rows but y_pred has {len(predicted)}.")
    if n and m and n != m:
        raise ValueError(f"y_true has {n} classes but y_pred has {m}")
    k = n or m
    if k:  # rows: classes are the numbers of their columns
        for labels, name in ((true, "y_true"), (predicted, "y_pred")):
            if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= k:
                raise ValueError(f"labels of {name} must be numbers from 0 to {k - 1}")
        return true, predicted, [str(label) for label in range(k)]
    try:
        if (true.dtype.kind in "iu") != (predicted.dtype.kind in "iu"):
            raise TypeError
        classes, numbers = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    except TypeError:
        raise ValueError("y_true and y_pred have labels of different kinds") from None
    return numbers[: len(true)], numbers[len(true) :], [str(label) for label in classes]
