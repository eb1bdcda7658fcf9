"""One small data set to learn and to measure with, and a way to hold a part of it out."""

import os

import numpy as np

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
        divide by 16 before training.
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
    X: np.ndarray, y: np.ndarray, *, test_size: float = 0.2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hold out a part of the rows, the same share of every class.

    Parameters
    ----------
    X : array_like, shape (n_rows, ...)
    y : array_like of integers, booleans or strings, shape (n_rows,)
        The class of each row.
    test_size : float
        Share of each class to hold out, between 0 and 1. It is rounded to whole rows, with at
        least one row of every class on either side.
    seed : int
        Which rows: the same seed gives the same split.

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
    if y.ndim != 1:
        raise ValueError(
            f"y must hold one class label per row, shape (n_rows,); got shape {y.shape}. "
            "For one-hot rows pass y.argmax(axis=1)."
        )
    if y.dtype.kind not in "biuSU":
        raise TypeError(
            f"y must hold classes (integers, booleans or strings); got dtype {y.dtype}. "
            "Convert labels with y.astype(int); numbers to be predicted have no classes."
        )
    if X.ndim == 0 or len(X) != len(y):
        raise ValueError(f"X and y must have equally many rows; X is {X.shape}, y is {y.shape}.")
    if not isinstance(test_size, (float, np.floating)) or not 0 < test_size < 1:
        raise ValueError(
            f"test_size must be a share such as 0.2, over 0, below 1; got {test_size!r}."
        )
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0; got {seed!r}.")
    classes, counts = np.unique(y, return_counts=True)
    if len(y) == 0 or counts.min() < 2:
        few = f"class {classes[counts.argmin()].item()!r} has 1 row" if len(y) else "y is empty"
        raise ValueError(f"every class needs 2 rows or more, to train and to test; {few}.")

    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(y), bool)
    for label, count in zip(classes, counts, strict=True):
        n_test = min(max(round(test_size * count), 1), count - 1)
        held_out[rng.permutation(np.flatnonzero(y == label))[:n_test]] = True
    return X[~held_out], X[held_out], y[~held_out], y[held_out]
