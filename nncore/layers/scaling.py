"""Columns in units that suit a network, and outputs back in the user's: fixed, never trained."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import names
from ..validation import as_parameters
from .base import Layer, Step, flag

KINDS = ("standard", "minmax")
MOST_SHOWN = 80  # characters of a repr with all numbers
_BLOCK = 1 << 16  # numbers of a block that is measured: memory is bounded


class Scaling(Layer):
    """Map each column by fixed numbers: ``y = (x - mean) / scale``, or back by `inverse`.

    As the first layer it takes inputs in the user's units. As the last layer, inverted, it gives
    predictions in the user's units, and **the loss is taken in front of it, in scaled units**: fit,
    evaluate and all that has a loss take targets in the user's units and scale them by
    ``(t - mean) / scale``. So losses, and gradients by the parameters, do not depend on the unit:
    with mse and "standard" scaling the loss on the training data is 1 - R^2, its mean over the
    outputs. `predict` and `jacobian` are in the user's units.

    Parameters
    ----------
    kind : {"standard", "minmax"}, default "standard"
        How data set the numbers: to mean 0 and (biased) standard deviation 1, or to the range
        [-1, 1]. A column of equal numbers has scale 1, so it becomes 0.
    mean, scale : array_like, shape (n_columns,) or (), optional
        The numbers themselves; scales are positive. Without them a first layer gets its numbers
        from X, and an inverted last layer from y, at the first `Network.fit`, where every row
        counts as one. Until then everything else is an error.

    Attributes
    ----------
    mean, scale : numpy.ndarray, shape (n_columns,), or None
        Read-only views, in ``net.layers`` of the network's dtype; None as long as there are none.
    inverted : bool
        Whether this is ``y = x scale + mean``.

    Notes
    -----
    Data are measured in float64, in blocks whose moments are merged (Chan, Golub and LeVeque 1983).
    In float32 a column of mean m has steps of some 1e-7 m: where that is not small beside its
    scale, use dtype="float64", or subtract m before.

    The loss must be one for any numbers: mse, half_mse, mae, huber, smooth_l1, log_cosh, quantile,
    or a registered one. Parameters of the loss, such as delta of huber, are in scaled units, too.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> X = np.linspace(1900, 2000, 50).reshape(-1, 1)
    >>> y = 250_000 + 40_000 * np.sin(X / 16)
    >>> net = nncore.Network(
    ...     1, nncore.Scaling(), nncore.Dense(20, "tanh"), nncore.Dense(1),
    ...     nncore.Scaling().inverse(), optimizer="lm", dtype="float64", seed=0)
    >>> history = net.fit(X, y, epochs=20, verbose=False)
    >>> net.layers[0].mean
    array([1950.])
    >>> bool(abs(net.predict(X) - y).max() < 4_000), history["loss"][-1] < 0.01
    (True, True)

    From data at once, also larger than memory, as an iterator of arrays:

    >>> nncore.Scaling.of(X[i : i + 10] for i in range(0, 50, 10)).scale.round(2)
    array([29.45])
    """

    scales = True
    _numbers: tuple[np.ndarray, np.ndarray] | None = None  # mean and scale in float64

    def __init__(
        self,
        kind: str = "standard",
        *,
        mean: "ArrayLike | None" = None,
        scale: "ArrayLike | None" = None,
    ) -> None:
        if not isinstance(kind, str):
            raise TypeError(
                f'kind of Scaling is "standard" or "minmax", got {type(kind).__name__}; of data: '
                "Scaling.of(X)"
            )
        self.kind = names.look_up("kind of Scaling", kind, KINDS)
        self.inverted = False
        if mean is not None or scale is not None:
            self._numbers = _checked(0.0 if mean is None else mean, 1.0 if scale is None else scale)

    @classmethod
    def of(cls, X: "ArrayLike | Iterator[ArrayLike]", kind: str = "standard") -> "Scaling":
        """Return a scaling with the numbers of these data.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_columns) or (n_rows,), or an iterator of such arrays
            Inputs or targets, such as the training data, without NaN and infinities.
        kind : {"standard", "minmax"}
        """
        return cls(kind).adapt(X)

    def inverse(self) -> "Scaling":
        """Return the scaling that leads back.

        Examples
        --------
        >>> import numpy as np
        >>> import nncore
        >>> to_celsius = nncore.Scaling(mean=32, scale=1.8)
        >>> celsius = to_celsius.map(np.array([[50.0]]))
        >>> celsius, to_celsius.inverse().map(celsius)
        (array([[10.]]), array([[50.]]))
        """
        other = type(self)(self.kind)
        numbers = self._now()
        if numbers is not None:
            mean, scale = numbers
            other._numbers = mean.astype(np.float64), scale.astype(np.float64)
        other.inverted = not self.inverted
        return other

    def adapt(self, X: "ArrayLike | Iterator[ArrayLike]") -> "Scaling":
        """Take the numbers of these data, as `of` does; in ``net.layers``, too. Return self."""
        self._take(*measure(X if isinstance(X, Iterator) else iter([X]), self.kind))
        return self

    def _take(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """Take numbers; if they do not fit, nothing has changed."""
        if "_theta" in self.__dict__:
            self._check_width(mean, self._n_in)
            found = _in_dtype(mean, scale, self._running.dtype)
            for values, to in zip(found, self.running().values(), strict=True):
                to[...] = values
        self._numbers = mean, scale

    @property
    def ready(self) -> bool:
        return self._now() is not None

    def _now(self) -> tuple[np.ndarray, np.ndarray] | None:
        """mean and scale, or None: where this is bound, what the engine has."""
        if "_theta" not in self.__dict__:
            return self._numbers
        mean, scale = self.running().values()
        return (mean, scale) if scale.all() else None

    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        numbers = self._now()
        if numbers is None:
            raise ValueError(f"{self!r} has no numbers yet: adapt it, or fit the network it is in")
        return numbers

    @property
    def mean(self) -> np.ndarray | None:
        return self._shown(0)

    @property
    def scale(self) -> np.ndarray | None:
        return self._shown(1)

    def _shown(self, which: int) -> np.ndarray | None:
        numbers = self._now()
        if numbers is None:
            return None
        view = numbers[which].view()
        view.flags.writeable = False
        return view

    def __repr__(self) -> str:
        arguments = [] if self.kind == KINDS[0] else [repr(self.kind)]
        numbers = self._now()
        if numbers is not None:
            mean, scale = numbers
            arguments += [f"mean={_digits(mean)}", f"scale={_digits(scale)}"]
            if sum(map(len, arguments)) > MOST_SHOWN:
                ends = (f"{values.min():.4g} to {values.max():.4g}" for values in numbers)
                of = f"{mean.size} columns, means {next(ends)}, scales {next(ends)}"
                return f"<Scaling of {of}{', inverted' * self.inverted}>"
        return f"Scaling({', '.join(arguments)}){'.inverse()' * self.inverted}"

    def running_shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return {"mean": (n_in,), "scale": (n_in,)}

    def initialize(self, rng: "np.random.Generator") -> None:
        self._running[...] = 0
        if self._numbers is not None:
            self._take(*self._numbers)

    def check_numbers(self) -> None:
        mean, scale = self.running().values()
        if mean.any() or scale.any():
            _in_dtype(mean, scale, mean.dtype)

    def lower(self, n_in: int, offset: int) -> list[Step]:
        if self._numbers is not None:
            self._check_width(self._numbers[0], n_in)
        return [Step("scaling", n_in, n_in, values=(float(self.inverted),))]

    def _check_width(self, mean: np.ndarray, n_in: int) -> None:
        if mean.ndim and len(mean) != n_in:
            raise ValueError(
                f"{self!r} is of {len(mean)} columns, and gets {n_in}: it needs a number for each, "
                "or one for all"
            )

    def map(self, x: "ArrayLike") -> np.ndarray:
        """Return what this layer makes of x, (n_rows, n_columns), as the engine does.

        Parameters
        ----------
        x : numpy.ndarray, shape (n_rows, n_columns)

        Raises
        ------
        ValueError
            If it has no numbers yet.
        """
        mean, scale = self._known()
        y: np.ndarray = x * scale + mean if self.inverted else (x - mean) / scale
        return y

    def unmap(self, y: "ArrayLike") -> np.ndarray:
        """Return what this layer makes y of."""
        mean, scale = self._known()
        x: np.ndarray = (y - mean) / scale if self.inverted else y * scale + mean
        return x

    def config(self) -> dict[str, Any]:
        return {"type": "scaling", "kind": self.kind, "inverted": self.inverted}

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> "Scaling":
        return cls._described(**arguments)

    @classmethod
    def _described(cls, kind: str, inverted: bool) -> "Scaling":
        layer = cls(kind)
        layer.inverted = flag(inverted, "inverted of Scaling")
        return layer


def _digits(values: np.ndarray) -> str:
    """The shortest that mean the same in their dtype."""
    return f"[{', '.join(map(str, values))}]" if values.ndim else str(values)


def measure(blocks: Any, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and scale of the columns of all these arrays, in float64."""
    rows, mean, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    shift: Any = None
    for X in blocks:
        X = as_parameters(X, "data of Scaling", None)
        X = X.reshape(-1, 1) if X.ndim == 1 else X
        if X.ndim != 2 or X.shape[1] != np.size(mean) and rows:
            wanted = f"{np.size(mean)} columns" if rows else "rows of columns"
            raise ValueError(f"Scaling needs {wanted}, got data of shape {X.shape}")
        step = max(1, _BLOCK // max(1, X.shape[1]))
        for i in range(0, len(X), step):
            part = X[i : i + step].astype(np.float64)
            bad = ~np.isfinite(part)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                raise ValueError(
                    f"data of Scaling contain NaN or infinity (first at row {rows + row}, column "
                    f"{column}). Clean or impute them."
                )
            n = len(part)
            low, high = np.minimum(low, part.min(axis=0)), np.maximum(high, part.max(axis=0))
            # Moments about a row keep their digits, and are 0 where all numbers are equal.
            shift = part[0].copy() if shift is None else shift
            with np.errstate(over="ignore", invalid="ignore"):
                part -= shift
                center = part.mean(axis=0)
                part -= center
                change = center - mean
                share = n / (rows + n)
                mean = mean + change * share
                squares = squares + (part * part).sum(axis=0) + change * (change * (rows * share))
            rows += n
    if not rows:
        raise ValueError("data of Scaling have no rows; at least one is needed.")
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = shift + mean, np.sqrt(squares / rows)
        if kind == "minmax":
            mean, scale = low / 2 + high / 2, high / 2 - low / 2
    return _checked(mean, np.where(scale == 0, 1.0, scale))


def _checked(mean: Any, scale: Any) -> tuple[np.ndarray, np.ndarray]:
    """mean and scale as float64 arrays of one shape."""
    mean, scale = (
        as_parameters(values, f"{name} of Scaling", np.float64).copy()
        for name, values in (("mean", mean), ("scale", scale))
    )
    try:
        mean, scale = np.broadcast_arrays(mean, scale)
    except ValueError:
        raise ValueError(
            "mean and scale of Scaling need one number for each column, or one for all, got shapes "
            f"{mean.shape} and {scale.shape}"
        ) from None
    if mean.ndim > 1 or not mean.size:
        raise ValueError(
            "mean and scale of Scaling need one number for each column, or one for all, got shape "
            f"{mean.shape}"
        )
    return _in_dtype(mean, scale, np.float64)


def _in_dtype(mean: np.ndarray, scale: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(over="ignore", under="ignore"):
        mean, scale = mean.astype(dtype), scale.astype(dtype)
    bad = ~(np.isfinite(mean) & (scale > 0) & (scale < np.inf))
    if bad.any():
        column = int(np.argmax(bad))
        raise ValueError(
            f"Scaling needs finite means and positive, finite scales in {np.dtype(dtype)}; column "
            f"{column} has mean {mean.flat[column]:g} and scale {scale.flat[column]:g}. A column "
            "of equal numbers gets scale 1."
        )
    return mean, scale
