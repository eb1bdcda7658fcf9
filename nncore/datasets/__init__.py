"""One small data set to learn and to measure with, and a way to hold a part of it out."""

import os

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["load_digits", "split"]


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1,797 images of handwritten digits and their labels.

    The test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI
    Machine Learning Repository, CC BY 4.0; see DIGITS.md beside this file), in the order
    scikit-learn has it too. The arrays are new at every call and may be changed.

    Returns
    -------
    X : ndarray of float32, shape (1797, 64)
        One image of 8 x 8 pixels per row. Values are whole numbers from 0 (paper) to 16 (ink):
        scale before training, as ``X / 8 - 1`` or ``X / 16``.
    y : ndarray of int64, shape (1797,)
        The digits, 0 to 9.

    Examples
    --------
    >>> from nncore.datasets import load_digits
    >>> X, y = load_digits()
    >>> X.shape, y.shape
    ((1797, 64), (1797,))
    >>> X = X / 16
    >>> print(X.min(), X.max(), y[:5])
    0.0 1.0 [0 1 2 3 4]
    """
    path = os.path.join(os.path.dirname(__file__), "digits.npz")
    with np.load(path, allow_pickle=False) as data:
        return data["pixels"].T.astype(np.float32, order="C"), data["labels"].astype(np.int64)


def split(
    X: "ArrayLike",
    y: "ArrayLike",
    *,
    test_size: float = 0.2,
    seed: int = 0,
    stratify: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hold out a part of the rows, by default the same share of every class.

    Parameters
    ----------
    X : array_like, shape (n_rows, ...)
    y : array_like of integers, booleans or strings, shape (n_rows,)
        The class of each row. Without `stratify`, targets of any type and shape (n_rows, ...).
    test_size : float
        Share of each class to hold out, between 0 and 1. It is rounded to whole rows, with at
        least one row of every class on either side.
    seed : int
        Which rows: the same seed gives the same split.
    stratify : bool
        False takes all rows as one class: for targets that are numbers.

    Returns
    -------
    X_train, X_test, y_train, y_test : ndarray
        Copies, each in the order of the original rows.

    Examples
    --------
    >>> from nncore.datasets import load_digits, split
    >>> X_train, X_test, y_train, y_test = split(*load_digits(), test_size=0.25)
    >>> X_train.shape, X_test.shape
    ((1347, 64), (450, 64))
    """
    X, y = np.asarray(X), np.asarray(y)
    if not isinstance(stratify, (bool, np.bool_)):
        raise ValueError(f"stratify must be True or False; got {stratify!r}.")
    if stratify and y.ndim != 1:
        raise ValueError(
            f"y must hold one class label per row, shape (n_rows,); got shape {y.shape}. "
            "For one-hot rows pass y.argmax(axis=1), for numbers to be predicted stratify=False."
        )
    if stratify and y.dtype.kind not in "biuSU":
        raise TypeError(
            f"y must hold classes (integers, booleans or strings); got dtype {y.dtype}. "
            "Convert labels with y.astype(int); for numbers to be predicted pass stratify=False."
        )
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y):
        raise ValueError(f"X and y must have equally many rows; X is {X.shape}, y is {y.shape}.")
    if not isinstance(test_size, (float, np.floating)) or not 0 < test_size < 1:
        raise ValueError(
            f"test_size must be a share such as 0.2, over 0, below 1; got {test_size!r}."
        )
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0; got {seed!r}.")
    label = y if stratify else np.zeros(len(y), int)
    classes, counts = np.unique(label, return_counts=True)
    if len(y) == 0 or counts.min() < 2:
        few = f"y has {len(y)} rows"
        if stratify and len(y):
            few = f"class {classes[counts.argmin()].item()!r} has 1 row"
        what = "every class needs" if stratify else "y needs"
        raise ValueError(f"{what} 2 rows or more, to train and to test; {few}.")

    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(y), bool)
    for each, count in zip(classes, counts, strict=True):
        n_test = min(max(round(test_size * count), 1), count - 1)
        held_out[rng.permutation(np.flatnonzero(label == each))[:n_test]] = True
    return X[~held_out], X[held_out], y[~held_out], y[held_out]
