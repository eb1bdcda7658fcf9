"""A loss of the user's own: two NumPy functions, and the check of the gradient."""

import contextlib
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

Function = Callable[[np.ndarray, np.ndarray], ArrayLike]


class OwnLoss:
    """A registered loss: its functions, and what its mean is over."""

    def __init__(self, name: str, value: Function, gradient: Function) -> None:
        self.name, self.value, self.gradient = name, value, gradient
        self.mean = "rows"
        self.formula = (getattr(value, "__doc__", None) or f"{name}(y, t)").strip().split("\n")[0]

    def of_rows(self, y: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values of the rows in float64, and their gradients; means over the elements of a row,
        where it is of elements."""
        values = np.asarray(self.value(y.copy(), t.copy()))  # it may change its own
        wanted = y.shape if self.mean == "elements" else y.shape[:1]
        if values.shape != wanted:
            raise ValueError(
                f"value of {self.name!r} returned shape {values.shape} for y of shape {y.shape}; "
                f"expected {wanted}"
            )
        gradient = np.asarray(self.gradient(y, t))
        if gradient.shape != y.shape:
            raise ValueError(
                f"gradient of {self.name!r} returned shape {gradient.shape}; expected that of y, "
                f"{y.shape}"
            )
        values = values.astype(np.float64)
        if self.mean == "elements":
            return values.mean(axis=1), gradient / y.shape[1]
        return values, gradient


def check(own: OwnLoss, points: "tuple[ArrayLike, ArrayLike] | None") -> None:
    """Raise if the gradient is not the derivative of the value; find out what the mean is over."""
    y, t = _points(points)
    usual = _check_gradient(own, y, t)
    for factor in (3, 10, 30, 100, 300, 1000) if points is None else ():
        with np.errstate(all="ignore"), contextlib.suppress(ArithmeticError):  # they may overflow
            _check_far_gradient(own, t + factor * (y - t), t, usual)


def _points(points: "tuple[ArrayLike, ArrayLike] | None") -> tuple[np.ndarray, np.ndarray]:
    if points is None:
        rng = np.random.default_rng(0)
        return rng.standard_normal((7, 3)), rng.standard_normal((7, 3))
    try:
        y, t = (np.array(p, np.float64, ndmin=2) for p in points)
    except (TypeError, ValueError):
        raise ValueError("points must be a tuple (y, t) of arrays of numbers") from None
    if y.shape != t.shape or y.ndim != 2 or y.size == 0:
        raise ValueError(f"points must be y and t of one shape, got {y.shape} and {t.shape}")
    return y, t


def _check_gradient(own: OwnLoss, y: np.ndarray, t: np.ndarray) -> float:
    """Raise where the gradient is not the central difference of the value; return its size.

    Also find out whether the mean is over elements or rows.
    """
    first = _values(own, y, t)
    own.mean = "elements" if first.shape == y.shape else "rows"
    gradient = _gradient(own, y, t)
    if not (np.isfinite(first).all() and np.isfinite(gradient).all()):
        raise ValueError(
            f"{own.name!r} is not finite at the points where it is checked; give points=(y, t) "
            "that it is made for"
        )
    size = np.abs(first).max()  # what values are rounded at
    close = {"rtol": 1e-9, "atol": 1e-12 * size}
    if len(y) > 1 and not np.allclose(_values(own, y[1:], t[1:]), first[1:], **close):
        raise ValueError(f"a row's value of {own.name!r} depends on the other rows")
    for j in range(y.shape[1]):
        difference = _difference(own, y, t, j, 6e-6)
        # What is left of the third derivative, h^2 of it, and some fifty roundings over 2 h.
        slope = np.abs(difference) + np.abs(difference).max()
        _compare(own, y, t, j, gradient, difference, 1e-5 * slope + 1e-9 * size)
    return float(np.abs(gradient).max())


def _check_far_gradient(own: OwnLoss, y: np.ndarray, t: np.ndarray, usual: float) -> None:
    """The same where slopes of neighbours differ by any factor, and much is not finite.

    Each row is judged by itself: what its value is rounded at is its size, or that of terms which
    cancel, y times a usual slope. Two steps tell what the difference is uncertain by.
    """
    gradient = _gradient(own, y, t)
    size = np.abs(_values(own, y, t)).reshape(len(y), -1)
    for j in range(y.shape[1]):
        wide, narrow = (_difference(own, y, t, j, h) for h in (6e-6, 3e-6))
        known = np.isfinite(wide) & np.isfinite(narrow)
        rounded = 1e-9 * (size[:, min(j, size.shape[1] - 1)] + usual * np.abs(y).max(axis=1))
        allowed = 1e-5 * np.abs(wide) + rounded + 2 * np.abs(wide - narrow)
        _compare(own, y, t, j, gradient, wide, np.where(known, allowed, np.inf))


def _values(own: OwnLoss, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.asarray(own.value(y.copy(), t.copy()))


def _gradient(own: OwnLoss, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The gradient of each value, not of a mean."""
    return own.of_rows(y.copy(), t.copy())[1] * (y.shape[1] if own.mean == "elements" else 1)


def _difference(own: OwnLoss, y: np.ndarray, t: np.ndarray, j: int, h: float) -> np.ndarray:
    """The central difference of each row's value along column j, of steps relative to y."""
    above, below = y.copy(), y.copy()
    h = h * np.maximum(1, np.abs(y[:, j]))
    above[:, j] += h
    below[:, j] -= h
    rise = (_values(own, above, t) - _values(own, below, t)).reshape(len(y), -1).sum(axis=1)
    difference: np.ndarray = rise / (above[:, j] - below[:, j])
    return difference


def _compare(
    own: OwnLoss,
    y: np.ndarray,
    t: np.ndarray,
    j: int,
    gradient: np.ndarray,
    difference: np.ndarray,
    allowed: np.ndarray,
) -> None:
    right = np.abs(difference - gradient[:, j]) <= allowed  # NaN is not
    wrong = ~(right | np.isinf(allowed))
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"gradient of {own.name!r} disagrees with value: at y = {y[i, j]:.3g}, "
            f"t = {t[i, j]:.3g} (row {i}, column {j}) gradient gives {gradient[i, j]:.9g}, "
            f"the central difference is {difference[i]:.9g}"
        )
