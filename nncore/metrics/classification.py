"""Metrics of classes. `accuracy` says what labels and predictions may be."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..weights import as_weights, check_weights
from .labels import is_one_hot, numbered


class Decided(NamedTuple):
    """Which class each row is, and which it is said to be.

    `true` and `predicted` are numbers of classes (n,), or of questions (n, k) of yes and no.
    """

    true: np.ndarray
    predicted: np.ndarray
    k: int
    weights: np.ndarray | None

    @property
    def of_questions(self) -> bool:
        return self.true.ndim == 2


def decide(y_true: "ArrayLike", y_pred: "ArrayLike", sample_weight: "ArrayLike | None") -> Decided:
    """Return the classes that labels, probabilities or scores of any kind mean."""
    T = np.asarray(y_true)
    if T.ndim == 2 and T.shape[1] > 1 and np.isin(T, (0, 1)).all() and not is_one_hot(T):
        P = np.asarray(y_pred)
        if P.shape != T.shape:
            raise ValueError(f"y_true has shape {T.shape}, but y_pred {P.shape}")
        return Decided(T > 0.5, P > 0.5, T.shape[1], _weights(sample_weight, len(T)))
    true, predicted, classes = numbered(y_true, y_pred)
    k = len(classes)
    if k == 1:  # the other of two classes does not occur
        k, there = 2, int(classes[0] not in ("0", "-1"))
        true, predicted = true + there, predicted + there
    return Decided(true, predicted, k, _weights(sample_weight, len(true)))


def _weights(sample_weight: "ArrayLike | None", rows: int) -> np.ndarray | None:
    weights: np.ndarray | None = as_weights(sample_weight, rows, data="y_true")
    check_weights(weights)
    return weights


def accuracy(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, sample_weight: "ArrayLike | None" = None
) -> float:  # fmt: skip
    """Return the share of rows whose class is right; where columns are questions, of answers.

    Parameters
    ----------
    y_true : array_like, shape (n_rows,) or (n_rows, k)
        Labels (numbers or text), one-hot rows, or rows of 0 and 1 with any number of ones, of which
        each column is a question of its own.
    y_pred : array_like, shape (n_rows,) or (n_rows, k)
        Labels, rows of probabilities or scores, whose largest is the class, or one probability for
        each row, of the larger of two classes.
    sample_weight : array_like, shape (n_rows,), optional
        2 is the row twice, 0 none.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the two do not fit, or single scores are no probabilities; give ``scores > 0``.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.accuracy([0, 1, 2, 2], [0, 2, 2, 2])
    0.75
    """
    return accuracy_of(decide(y_true, y_pred, sample_weight))


def accuracy_of(found: Decided) -> float:
    right = found.true == found.predicted
    if found.of_questions:
        right = right.mean(axis=1)
    return float(np.average(right, weights=found.weights))


def confusion_matrix(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, sample_weight: "ArrayLike | None" = None
) -> np.ndarray:  # fmt: skip
    """Return how often each true class (row) was said to be which (column).

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As in `accuracy`, but no questions.

    Returns
    -------
    numpy.ndarray, shape (k, k)
        Integers; with weights their sums, float64.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.confusion_matrix([0, 1, 1, 1], [0, 1, 1, 0])
    array([[1, 0],
           [1, 2]])
    """
    found = decide(y_true, y_pred, sample_weight)
    if found.of_questions:
        raise ValueError("a confusion matrix needs one class for each row of y_true")
    return confusion_of(found)


def confusion_of(found: Decided) -> np.ndarray:
    k = found.k
    counts = np.bincount(found.true * k + found.predicted, found.weights, k * k)
    return counts.reshape(k, k)


def precision(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, average: str = "auto",
    sample_weight: "ArrayLike | None" = None,
) -> float:  # fmt: skip
    """Return ``tp / (tp + fp)``: the share of what is said to be of a class that is.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As in `accuracy`.
    average : {"auto", "binary", "macro"}, default "auto"
        "binary": of the larger of two classes, "macro": the mean over the classes that occur, true
        or predicted. "auto": binary where there are two.

    Returns
    -------
    float
        Where nothing was said to be of the class, 0.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.precision([0, 1, 1, 0], [1, 1, 1, 0])
    0.6666666666666666
    """
    return precision_of(decide(y_true, y_pred, sample_weight), average)


def recall(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, average: str = "auto",
    sample_weight: "ArrayLike | None" = None,
) -> float:  # fmt: skip
    """Return ``tp / (tp + fn)``: the share of a class that is found.

    Parameters
    ----------
    y_true, y_pred, average, sample_weight
        As in `precision`.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.recall([0, 1, 1, 0], [1, 1, 0, 0])
    0.5
    """
    return recall_of(decide(y_true, y_pred, sample_weight), average)


def f1(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, average: str = "auto",
    sample_weight: "ArrayLike | None" = None,
) -> float:  # fmt: skip
    """Return ``2 tp / (2 tp + fp + fn)``, the harmonic mean of precision and recall.

    The macro mean is that of the classes' F1 (averaged F1 of Opitz and Burst 2019).

    Parameters
    ----------
    y_true, y_pred, average, sample_weight
        As in `precision`.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.f1([0, 1, 1, 0], [1, 1, 0, 0])
    0.5
    """
    return f1_of(decide(y_true, y_pred, sample_weight), average)


def precision_of(found: Decided, average: str = "auto") -> float:
    return _averaged(found, average, lambda tp, fp, fn: (tp, tp + fp))


def recall_of(found: Decided, average: str = "auto") -> float:
    return _averaged(found, average, lambda tp, fp, fn: (tp, tp + fn))


def f1_of(found: Decided, average: str = "auto") -> float:
    return _averaged(found, average, lambda tp, fp, fn: (2 * tp, 2 * tp + fp + fn))


def _averaged(
    found: Decided, average: str, ratio: Callable[..., tuple[np.ndarray, np.ndarray]]
) -> float:
    if average not in ("auto", "binary", "macro"):
        raise ValueError(f'average must be "auto", "binary" or "macro", got {average!r}')
    two = found.k == 2 and not found.of_questions
    if average == "binary" and not two:
        raise ValueError(f'average="binary" is for two classes, and there are {found.k}')
    if found.of_questions:
        t, p = found.true, found.predicted
        w = np.ones(len(t)) if found.weights is None else found.weights
        tp, fp, fn = w @ (t & p), w @ (p & ~t), w @ (t & ~p)
    else:
        counts = confusion_of(found)
        tp = counts.diagonal()
        fp, fn = counts.sum(axis=0) - tp, counts.sum(axis=1) - tp
    above, below = ratio(tp, fp, fn)
    values = np.divide(above, below, out=np.zeros(len(tp)), where=below > 0)
    if two and average != "macro":
        return float(values[1])
    return float((values if found.of_questions else values[tp + fp + fn > 0]).mean())


def top_k_accuracy(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, k: int = 5,
    sample_weight: "ArrayLike | None" = None,
) -> float:  # fmt: skip
    """Return the share of rows whose class is among the `k` with the highest scores.

    Parameters
    ----------
    y_true : array_like, shape (n_rows,) or (n_rows, n_classes)
        Labels from 0 on, or one-hot rows.
    y_pred : array_like, shape (n_rows, n_classes)
        Scores. Of equal ones the first is the higher.
    k : int, default 5
    sample_weight : array_like, shape (n_rows,), optional

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.top_k_accuracy([2, 0], [[0.5, 0.2, 0.3], [0.1, 0.3, 0.6]], k=2)
    0.5
    """
    scores = np.asarray(y_pred)
    if scores.ndim != 2:
        raise ValueError(f"y_pred must be scores of shape (n_rows, n_classes), got {scores.shape}")
    labels = np.asarray(y_true)
    labels = labels.argmax(axis=1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.ravel()
    n = scores.shape[1]
    whole = labels.dtype.kind in "iub" and len(labels) == len(scores)
    if not whole or (labels < 0).any() or (labels >= n).any():
        raise ValueError(f"y_true must be one label from 0 to {n - 1} for each row of y_pred")
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}")
    return top_k_of(labels.astype(int), scores, _weights(sample_weight, len(labels)), k)


def top_k_of(true: np.ndarray, scores: np.ndarray, weights: np.ndarray | None, k: int) -> float:
    own = np.take_along_axis(scores, true[:, None], axis=1)
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < true[:, None]))
    return float(np.average(before.sum(axis=1) < k, weights=weights))


def roc_auc(
    y_true: "ArrayLike", y_pred: "ArrayLike", *, sample_weight: "ArrayLike | None" = None
) -> float:  # fmt: skip
    """Return the area under the ROC curve: how often a row of a class scores above another.

    Equal scores count half (Mann-Whitney's U over the number of pairs; Fawcett 2006). With several
    columns, the mean over those with both kinds of rows: each class against the rest.

    Parameters
    ----------
    y_true : array_like, shape (n_rows,) or (n_rows, k)
        Labels, or columns of 0 and 1.
    y_pred : array_like, shape (n_rows,) or (n_rows, k)
        Scores of the larger of two classes, or of the classes in order.
    sample_weight : array_like, shape (n_rows,), optional

    Returns
    -------
    float
        NaN where only one class occurs.

    Examples
    --------
    >>> from nncore import metrics
    >>> metrics.roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    scores, T = np.asarray(y_pred, float), np.asarray(y_true)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if T.ndim == 2 and T.shape[1] == 1:
        T = T[:, 0]
    if scores.ndim != 2 or T.ndim not in (1, 2) or len(T) != len(scores):
        raise ValueError(f"y_true has shape {T.shape}, but y_pred {np.shape(y_pred)}")
    k = scores.shape[1]
    if T.ndim == 1:
        classes = np.unique(T)
        if k == 1:
            if len(classes) > 2:
                raise ValueError(f"y_true has {len(classes)} classes, but y_pred one score")
            T = (T == classes[-1])[:, None] if len(classes) == 2 else np.zeros((len(T), 1), bool)
        else:
            if T.dtype.kind in "iub" and classes[0] >= 0 and classes[-1] < k:
                classes = np.arange(k)
            elif len(classes) != k:
                raise ValueError(f"y_true has {len(classes)} classes, but y_pred {k} scores a row")
            T = T[:, None] == classes
    if T.shape != scores.shape:
        raise ValueError(f"y_true has shape {np.shape(y_true)}, but y_pred {np.shape(y_pred)}")
    return roc_auc_of(T > 0, scores, _weights(sample_weight, len(T)))


def roc_auc_of(true: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> float:
    areas = [_area(t, s, weights) for t, s in zip(true.T, scores.T, strict=True)]
    found = [area for area in areas if area is not None]
    return float(np.mean(found)) if found else np.nan


def _area(true: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> float | None:
    """The area of one class, or None where there are only rows of it, or none."""
    if not np.isfinite(scores).all():
        return np.nan
    order = np.argsort(scores, kind="stable")
    w = np.ones(len(true)) if weights is None else weights[order]
    ties = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    positive = np.add.reduceat(w * true[order], ties)
    negative = np.add.reduceat(w * ~true[order], ties)
    pairs = positive.sum() * negative.sum()
    return float(positive @ (np.cumsum(negative) - negative / 2) / pairs) if pairs else None
