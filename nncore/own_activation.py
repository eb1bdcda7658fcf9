"""Activations of the user's own: NumPy functions, whose derivatives are checked when registered."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import names
from .activation import INF, Activation

_NAMES = ("f", "df", "d2f")  # by the number of the derivative


class _Own:
    """A registered activation: its functions, and what is said of it."""

    def __init__(
        self,
        name: str,
        functions: tuple[Callable[..., Any] | None, ...],
        formula: str,
        limits: tuple[float, float],
    ) -> None:
        self.name, self.functions = name, functions
        self.formula, self.range = formula, limits
        self.kinks: dict[float, float] = {}

    @property
    def d2f(self) -> Callable[..., Any] | None:
        return self.functions[2]

    def apply(self, derivative: int, x: np.ndarray) -> np.ndarray:
        """f, f' or f'' of x, an array that the function may keep and change."""
        function, name, shape = self.functions[derivative], _NAMES[derivative], x.shape
        if function is None:
            raise ValueError(f"{self.name} was registered without {name}")
        try:
            y = np.asarray(function(x))
        except Exception as error:  # whatever a user's function raises: it goes on, with a note
            error.add_note(f"in {name} of {self.name!r}, called with {x.dtype} of shape {shape}")
            raise
        if y.shape != shape:
            raise ValueError(
                f"{name} of {self.name!r} returned shape {y.shape} for x of shape {shape}; "
                "expected the same shape"
            )
        if y.dtype.kind not in "fiub":
            raise TypeError(f"{name} of {self.name!r} returned {y.dtype}; expected real numbers")
        return y


def register_activation(
    name: str,
    f: "Callable[[np.ndarray], ArrayLike]",
    df: "Callable[[np.ndarray], ArrayLike]",
    d2f: "Callable[[np.ndarray], ArrayLike] | None" = None,
    *,
    formula: str | None = None,
    range: tuple[float, float] = (-INF, INF),
    kinks: "ArrayLike" = (),
    points: "ArrayLike | None" = None,
) -> Activation:
    """Make an activation of your own from NumPy functions, and check its derivatives.

    Parameters
    ----------
    name : str
        Its name from now on, for `Dense` and `Activation`. One that was registered before is
        replaced, for layers made from then on: also for copies and files, which know an activation
        by its name.
    f : callable
        ``f(x)`` of an array of any shape: y, of the same shape, each element from its own x alone.
    df : callable
        ``df(x)``: dy/dx, likewise. At a kink, any slope between those on both sides.
    d2f : callable, optional
        ``d2f(x)``: the second derivative, likewise; for Hessian products, which without it are a
        ValueError.
    formula : str, optional
        What `Activation.formula` says; by default the name.
    range : tuple of float, default (-inf, inf)
        Infimum and supremum of f.
    kinks : sequence of float, default ()
        Where df jumps, for `Activation.kinks` and plots. The check does not need to know.
    points : array_like, optional
        Where to check, by default numbers of both signs from 0 to 100. Give some if f is not made
        for all of these.

    Returns
    -------
    Activation

    Raises
    ------
    ValueError
        If `df` is not the derivative of `f`, or `d2f` not that of `df`: the message has the point
        and both values. If a function gives NaN, another shape, or values that depend on other
        elements; if f leaves its range; if the name is one of nncore.
    TypeError
        If a function cannot be called, or does not return real numbers.

    Notes
    -----
    The functions get copies in the network's dtype, of up to 256 rows, and are called by the thread
    that called the network: never by the threads among which products are divided. An exception in
    them ends the call and is raised as it is; in training the network is then as after the last
    whole step. Rows have the same bits in any batch only if your functions give each element the
    same bits at any place of an array: NumPy's own tanh and exp may not.

    Derivatives are compared in float64 with central differences of fourth order at several steps,
    of which the best counts, within 1e-6 of their size and what rounding of f can do. In float32
    the functions are only checked not to give NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> bent = nncore.register_activation(
    ...     "bent_identity", lambda x: (np.sqrt(x * x + 1) - 1) / 2 + x,
    ...     lambda x: x / (2 * np.sqrt(x * x + 1)) + 1, formula="(sqrt(x^2 + 1) - 1) / 2 + x")
    >>> bent
    <activation bent_identity: (sqrt(x^2 + 1) - 1) / 2 + x>
    >>> net = nncore.Network(2, nncore.Dense(8, "bent_identity"), nncore.Dense(1))
    >>> nncore.register_activation("wrong", np.tanh, lambda x: 1 - np.tanh(x))
    Traceback (most recent call last):
        ...
    ValueError: df of 'wrong' is not the derivative of f: at x = -3 df gives 1.99505475, the \
central difference of f is 0.00986603718
    """
    _check_name(name)
    for what, function in zip(_NAMES, (f, df, d2f), strict=True):
        if not callable(function) and not (what == "d2f" and function is None):
            raise TypeError(f"{what} of {name!r} must be a function of x, got {function!r}")
    if formula is not None and not isinstance(formula, str):
        raise TypeError(f"formula of {name!r} must be a string, got {formula!r}")
    own = _Own(name, (f, df, d2f), formula or f"{name}(x)", _limits(name, range))
    kinks = _numbers(kinks, f"kinks of {name!r}", 0)
    x = _POINTS if points is None else _numbers(points, "points", 1)
    with np.errstate(all="ignore"):  # far out, exp overflows
        _check(own, np.unique(np.concatenate([x, kinks])))
        own.kinks = {k: float(own.apply(1, np.array([k]))[0]) for k in kinks.tolist()}
    names.own_activations[name] = own
    return Activation(name)


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"the name of an activation must be an identifier, got {name!r}")
    if name in names.ACTIVATIONS or name in names.ACTIVATION_ALIASES:
        raise ValueError(f"{name!r} is an activation of nncore; choose another name")


def _limits(name: str, limits: Any) -> tuple[float, float]:
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise ValueError(f"range of {name!r} must be two numbers (low, high), got {limits!r}")
    return low, high


def _numbers(values: Any, what: str, least: int) -> np.ndarray:
    try:
        numbers = np.array(list(values) if isinstance(values, dict) else values, np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if numbers.size < least or not np.isfinite(numbers).all():
        raise ValueError(f"{what} must be finite numbers, got {values!r}")
    return numbers.reshape(-1) + 0.0  # not -0


# ---- the checks ----------------------------------------------------------------------------------

_SIZES = np.concatenate([np.geomspace(1e-6, 100, 145), [0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10]])
_POINTS = np.concatenate([-_SIZES, [0.0], _SIZES])

# (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h is within about h^4 + rounding / h. Next to 0, where
# many functions bend, steps have to be smaller than x.
_STENCIL = ((1, 8), (-1, -8), (2, -1), (-2, 1))
_STEPS, _PARTS = (1e-3, 1e-4, 1e-5, 1e-6), (1 / 8, 1 / 64)

_ROUNDING = 64 * 2.0**-52  # of a value of 1: a dozen operations
_TOLERANCE = 1e-6


def _check(own: _Own, x: np.ndarray) -> None:
    """Raise if anything is wrong with the functions, seen at the points x in increasing order."""
    for derivative in range(3 if own.d2f else 2):
        _check_values(own, derivative, x)
        if derivative:
            _check_derivative(own, derivative, x)
    y, (low, high) = own.apply(0, x.copy()), own.range
    beyond = (y < low - 1e-12 * max(1, abs(low))) | (y > high + 1e-12 * max(1, abs(high)))
    if beyond.any():
        i = int(beyond.argmax())
        raise ValueError(
            f"f of {own.name!r} leaves its range {own.range}: at x = {x[i]:.6g} it is {y[i]:.6g}"
        )


def _check_values(own: _Own, derivative: int, x: np.ndarray) -> None:
    """Raise where values are NaN, or depend on more than their own x."""
    what = f"{_NAMES[derivative]} of {own.name!r}"
    for dtype in (np.float64, np.float32):
        y = own.apply(derivative, x.astype(dtype))
        if np.isnan(y).any():
            at = x[int(np.isnan(y).argmax())]
            raise ValueError(
                f"{what} is NaN at x = {at:.6g} in {np.dtype(dtype)}; if it is not made for such "
                "x, give points=[...] that it is made for"
            )
    y = own.apply(derivative, x.copy())
    other = x[: len(x) // 2 * 2][::-1]  # without the last, if there is one too many
    found = own.apply(derivative, other.reshape(-1, 2).copy()).reshape(-1)[::-1]
    # roundings differ with the shape; those of a function of small values are small, too
    scale = min(1.0, float(np.abs(y[np.isfinite(y)]).max(initial=0)))
    alike = np.isclose(found, y[: len(found)], rtol=1e-9, atol=1e-12 * scale)
    if not alike.all():
        i = int(np.argmin(alike))
        raise ValueError(
            f"{what} at x = {x[i]:.6g} depends on the other elements, or on more than x: "
            f"{y[i]:.6g} in one array, {found[i]:.6g} in another"
        )


def _check_derivative(own: _Own, derivative: int, x: np.ndarray) -> None:
    """Raise where a derivative is not the slope of what it is the derivative of."""
    value = own.apply(derivative, x.copy()).astype(np.float64)

    def below(x: np.ndarray) -> np.ndarray:
        return own.apply(derivative - 1, x.copy()).astype(np.float64)

    here = below(x)
    inside = np.isfinite(here) & (np.abs(x) <= 1)
    size = np.abs(here[inside]).max(initial=0)  # of what is added up on the way to small values
    good, closest = ~np.isfinite(here), np.full(x.shape, np.nan)
    for h in _steps(x):
        values = [below(x + k * h) for k, _ in _STENCIL]
        slope = sum(w * v for (_, w), v in zip(_STENCIL, values, strict=True)) / (12 * h)
        rounding = _ROUNDING * np.maximum(size, np.max(np.abs(values), axis=0)) / h
        off = np.abs(slope - value)
        good |= off <= _TOLERANCE * np.maximum(np.abs(slope), np.abs(value)) + rounding
        closest = np.where(off >= np.abs(closest - value), closest, slope)
    good |= _between_slopes(below, x, here, value)
    good &= np.isfinite(value) | ~np.isfinite(here)
    if not good.all():
        off = np.where(good, -1.0, np.nan_to_num(np.abs(closest - value), nan=INF))
        i = min(np.flatnonzero(off >= 0.99 * off.max()), key=lambda i: abs(x[i]))
        name, of = _NAMES[derivative], _NAMES[derivative - 1]
        raise ValueError(
            f"{name} of {own.name!r} is not the derivative of {of}: at x = {x[i]:.6g} {name} gives "
            f"{value[i]:.9g}, the central difference of {of} is {closest[i]:.9g}"
        )


def _steps(x: np.ndarray) -> Iterator[np.ndarray]:
    for step in _STEPS:
        yield step * np.maximum(1, np.abs(x))
    for part in _PARTS:
        yield part * np.where(x == 0, 1e-3, np.abs(x))


def _between_slopes(
    below: Callable[[np.ndarray], np.ndarray], x: np.ndarray, here: np.ndarray, value: np.ndarray
) -> np.ndarray:
    """Where a function bends at x itself and its derivative is between the slopes on both sides,
    or where it jumps and has none."""
    h = np.minimum(1e-5 * np.maximum(1, np.abs(x)), np.where(x == 0, 1, np.abs(x) / 8))
    left, right = (
        (4 * below(x + s * h) - below(x + 2 * s * h) - 3 * here) / (2 * s * h) for s in (-1, 1)
    )
    slack = _TOLERANCE * np.abs(value)
    between: np.ndarray = value >= np.minimum(left, right) - slack
    between &= value <= np.maximum(left, right) + slack
    rise, part = (np.abs(below(x + step) - below(x - step)) for step in (h, h / 16))
    jumps = np.isfinite(value) & (part > rise / 2) & (part > 1e3 * _ROUNDING * np.abs(here))
    between |= jumps
    return between
