"""Metrics of numbers. `mae` says what targets and predictions may be."""

import numpy as np
from numpy.typing import ArrayLike

from ..weights import as_weights, check_weights


def mae(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, sample_weight: "ArrayLike | None" = None
) -> float:  # fmt: skip
    """Return the mean of ``abs(y_true - y_pred)``.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n_rows,) or (n_rows, n_outputs)
        Numbers, as many in both. Of several outputs the mean is returned.
    sample_weight : array_like, shape (n_rows,), optional
        2 is the row twice, 0 none.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.mae([1, 2], [1.5, 1])
    0.75
    """
    t, p, w = _numbers(y_true, y_pred, sample_weight)
    return float(np.average(np.abs(t - p), axis=0, weights=w).mean())


def mse(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, sample_weight: "ArrayLike | None" = None
) -> float:  # fmt: skip
    """Return the mean of ``(y_true - y_pred)**2``.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As in `mae`.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.mse([1, 2], [1.5, 1])
    0.625
    """
    return float(_squares(*_numbers(y_true, y_pred, sample_weight)).mean())


def rmse(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, sample_weight: "ArrayLike | None" = None
) -> float:  # fmt: skip
    """Return the root of the mean of ``(y_true - y_pred)**2``, of each output.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As in `mae`.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.rmse([1, 2, 3], [1, 2, 0]) == 3**0.5
    True
    """
    return float(np.sqrt(_squares(*_numbers(y_true, y_pred, sample_weight))).mean())


def r2(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, sample_weight: "ArrayLike | None" = None
) -> float:  # fmt: skip
    """Return the coefficient of determination, ``1 - sum (t - p)^2 / sum (t - mean t)^2``.

    Where the targets are all the same, 1 if the predictions are too, and else 0, as scikit-learn.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As in `mae`.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.r2([1, 2, 3], [1, 2, 2])
    0.5
    """
    t, p, w = _numbers(y_true, y_pred, sample_weight)
    errors, spread = _squares(t, p, w), _squares(t, np.average(t, axis=0, weights=w), w)
    constant = spread == 0
    ratio = np.divide(errors, spread, out=(errors > 0).astype(float), where=~constant)
    return float((1 - ratio).mean())


def _squares(t: np.ndarray, p: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    return np.average((t - p) ** 2, axis=0, weights=w)


def _numbers(
    y_true: "ArrayLike", y_pred: "ArrayLike", sample_weight: "ArrayLike | None"
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    t, p = np.asarray(y_true, float), np.asarray(y_pred, float)
    t, p = (a[:, None] if a.ndim == 1 else a for a in (t, p))
    if t.shape != p.shape or t.ndim != 2 or not t.size:
        raise ValueError(
            f"y_true and y_pred must be rows of as many numbers, got the shapes "
            f"{np.shape(y_true)} and {np.shape(y_pred)}"
        )
    weights = as_weights(sample_weight, len(t), data="y_true")
    check_weights(weights)
    return t, p, weights
