"""Losses: what they are, their parameters, and the user's own.

`nncore.losses` holds them by name: ``nncore.losses["huber"]`` is a `Loss` with its default
parameters. Formulas are of one element, in the output y (or the raw score z under a softmax or
sigmoid that the loss contains), the target t and the parameters.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core, names
from .activation import _kernels, as_real

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .own_loss import OwnLoss
del TYPE_CHECKING

# What a parameter may be: a test, and how it is said.
_LIMITS: dict[str, tuple[Callable[[float], bool], str]] = {
    "delta": (lambda v: 1e-30 <= v <= 1e30, "between 1e-30 and 1e30"),
    "beta": (lambda v: 1e-30 <= v <= 1e30, 'between 1e-30 and 1e30; with beta = 0 it is "mae"'),
    "q": (lambda v: 0 < v < 1, "between 0 and 1, both excluded"),
    "pos_weight": (lambda v: 1e-30 <= v <= 1e30, "between 1e-30 and 1e30"),
    "label_smoothing": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "gamma": (lambda v: 0 <= v <= 1e4, "between 0 and 10000"),
    "alpha": (lambda v: 0 <= v <= 1, "None, or between 0 and 1"),
}
_NONE = -1.0  # what the engine has for alpha=None


class Loss:
    """A loss with its parameters.

    Parameters
    ----------
    name : str
        A key of `nncore.losses`, an alias, or a name given to `nncore.register_loss`.
    **parameters : float
        "huber" has ``delta``, "smooth_l1" ``beta``, "quantile" ``q``, "cross_entropy"
        ``label_smoothing``, "binary_cross_entropy" ``pos_weight`` and ``label_smoothing``, "focal"
        ``gamma`` and ``alpha``.
    mean : {"elements", "rows"}, optional
        "rows": the mean over rows of the sum over each row, for any loss of `nncore.losses`.

    Attributes
    ----------
    name : str
    parameters : dict
        All parameters; each is an attribute too, such as ``loss.delta``.
    output : {"sigmoid", "softmax"} or None
        The output activation that the loss contains: it is computed from the raw scores before it,
        without overflow and cancellation. None: it takes the outputs of any activation.
    mean : {"elements", "rows"}
        What `Network` takes the mean over: all elements, or the rows, after a sum over each row.
    per_target : int
        Outputs for each target: 2 for "gaussian_nll", whose outputs are n means and, behind them,
        n logarithms of variances.
    formula, latex : str
        The loss of one element, or of one row where there is a sum.
    kinks : str
        Where the slope jumps, and what it is taken to be there.
    elsewhere : str
        Which other libraries' losses give the same number.
    aliases : tuple of str
        Other names that are understood.

    Notes
    -----
    Equal to another loss of the same name and parameters; with default parameters also to its name.
    It cannot be changed.

    `value`, `gradient` and `hessian_vector` are the engine's own kernels. With fused multiply-add
    and default parameters, values are within 8 eps (|value| + |z| + 1) of the true ones for
    "binary_cross_entropy" and "focal", within (n + 16) eps (1 + the spread of z) for
    "cross_entropy" and "kl_divergence" of rows of n, and for the others within 8 eps of the sum of
    their terms' sizes; "log_cosh" keeps its digits where it is small. At a kink the slope is what
    ``kinks`` says; at the ends of the quadratic part of huber and smooth_l1 the curvature is 0.

    Examples
    --------
    >>> import nncore
    >>> huber = nncore.Loss("huber", delta=0.5)
    >>> huber
    Loss('huber', delta=0.5)
    >>> huber.value([0.0, 0.3, 4.0], 0.0)
    array([0.   , 0.045, 1.875])
    >>> huber.gradient([0.0, 0.3, 4.0], 0.0)
    array([0. , 0.3, 0.5])
    >>> net = nncore.Network(3, nncore.Dense(1), loss=huber)
    >>> net.loss.delta
    0.5
    """

    name: str
    mean: str
    output: str | None
    per_target: int
    formula: str
    latex: str
    kinks: str
    elsewhere: str
    _parameters: dict[str, float | None]
    _functions: "OwnLoss | None"

    def __init__(self, name: str, *, mean: str | None = None, **parameters: Any) -> None:
        name = names.look_up("loss", name, [*_core.LOSSES, *_own], names.LOSS_ALIASES)
        from .formulas import LOSSES  # many words, which importing nncore does without

        own = _own.get(name)
        row: Any = _core.LOSSES[name] if own is None else {**_OWN_ROW, "mean": own.mean}
        texts = (own.formula, "", "", "") if own else LOSSES[name]
        means = (row["mean"],) if own else (row["mean"], "rows")
        if mean is not None and mean not in means:
            raise ValueError(f"mean of {name} must be one of {sorted({*means})}, got {mean!r}")
        put = self.__dict__.update
        put(name=name, _parameters=_checked(name, row["hyper"], parameters), _functions=own)
        put(output=row["output"], mean=mean or row["mean"], per_target=row["per_target"])
        put(zip(("formula", "latex", "kinks", "elsewhere"), texts, strict=True))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Loss cannot be changed: make another, Loss({self.name!r}, ...)")

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_parameters"][name]
        except KeyError:
            raise AttributeError(f"Loss has no attribute {name!r}") from None

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self._parameters)

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(a for a, target in names.LOSS_ALIASES.items() if target == self.name)

    @property
    def values(self) -> tuple[float, ...]:
        """The parameters as the engine takes them, in the order of its table."""
        return tuple(_NONE if v is None else v for v in self._parameters.values())

    @property
    def of_rows(self) -> Callable[..., tuple[np.ndarray, np.ndarray]] | None:
        """None, or of a registered loss, the function of (y, t) that an engine calls."""
        return self._functions.of_rows if self._functions else None

    def config(self) -> str | dict[str, Any]:
        """Return what makes this loss again, as JSON values: its name, if all else is default."""
        if self == self.name:
            return self.name
        return {"type": self.name, **self._arguments_but_name()}

    def __repr__(self) -> str:
        return f"Loss({', '.join([repr(self.name), *self._changed()])})"

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self._changed())})" if self._changed() else self.name

    def _changed(self) -> list[str]:
        default = _defaults(self.name)
        changed = [f"{n}={v!r}" for n, v in self._parameters.items() if v != default[n]]
        return changed + [f"mean={self.mean!r}"] * (self.mean != self._default_mean())

    def _arguments_but_name(self) -> dict[str, Any]:
        mean = {} if self.mean == self._default_mean() else {"mean": self.mean}
        return self._parameters | mean

    def _default_mean(self) -> str:
        return self._functions.mean if self._functions else _core.LOSSES[self.name]["mean"]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.name == other and not self._changed()
        if not isinstance(other, Loss):
            return NotImplemented
        return (self.name, self.parameters, self.mean, self._functions) == (
            other.name, other.parameters, other.mean, other._functions,
        )  # fmt: skip

    def __hash__(self) -> int:
        changed = self._changed()
        return hash((self.name, *changed) if changed else self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (self.name, self._arguments_but_name())

    def _repr_latex_(self) -> str | None:
        return f"${self.latex}$" if self.latex else None

    # ---- to look at ----

    def value(self, y: "ArrayLike", t: "ArrayLike") -> Any:
        """Return the loss of each element, or of each row where it is of a whole row; no mean.

        Parameters
        ----------
        y : array_like
            Outputs; or raw scores, where ``output`` is not None. float32 is computed in float32,
            all else in float64.
        t : array_like
            Targets. They are not checked against what training would accept.
            Elementwise losses: any shapes that broadcast. Losses of rows ("cross_entropy",
            "kl_divergence", "gaussian_nll", and registered ones): `y` of shape (n_rows, n) or, for
            one row, (n,), and rows of `t` likewise; or integer labels for "cross_entropy".

        Returns
        -------
        numpy.ndarray or a NumPy number

        Examples
        --------
        >>> import nncore
        >>> float(nncore.losses["cross_entropy"].value([0.0, 0.0], 1))
        0.6931471805599453
        """
        y, t, shape = self._arguments(y, t)
        if self._functions:
            values = self._functions.of_rows(y, t)[0]
        else:
            values = np.empty(len(y))
            _kernels(y.dtype).loss_values(self.name, y, t, values, self.values)
        values = values.astype(y.dtype).reshape(shape[:-1] if self._is_of_rows() else shape)
        return values if values.ndim else values[()]

    def gradient(self, y: "ArrayLike", t: "ArrayLike") -> Any:
        """Return the derivative of `value` with respect to `y`, of the shape of `y`; no mean.

        Parameters are those of `value`.

        Examples
        --------
        >>> import nncore
        >>> nncore.losses["mse"].gradient([1.0, 2.0], 0.0)
        array([2., 4.])
        """
        y, t, shape = self._arguments(y, t)
        gradient = np.empty_like(y)
        if self._functions:
            gradient[...] = self._functions.of_rows(y, t)[1]
        else:
            _kernels(y.dtype).loss(self.name, y, t, gradient, 1.0, self.values)
        gradient = gradient.reshape(shape)
        return gradient if gradient.ndim else gradient[()]

    def hessian_vector(self, y: "ArrayLike", t: "ArrayLike", v: "ArrayLike") -> Any:
        """Return the second derivative of `value` with respect to `y`, times `v`, shaped as `y`.

        For an elementwise loss that is the curvature of each element times `v`.

        Examples
        --------
        >>> import nncore
        >>> nncore.losses["huber"].hessian_vector([0.5, 2.0], 0.0, 1.0)  # quadratic, then linear
        array([1., 0.])
        """
        if self._functions:
            raise ValueError(f"{self.name} was registered without a second derivative")
        y, t, shape = self._arguments(y, t)
        v = np.ascontiguousarray(np.broadcast_to(v, shape).reshape(y.shape), y.dtype)
        product = np.empty_like(y)
        _kernels(y.dtype).loss_curve(self.name, y, t, v, product, 1.0, self.values)
        product = product.reshape(shape)
        return product if product.ndim else product[()]

    def _is_of_rows(self) -> bool:
        return bool(self._functions) or self.name in _OF_ROWS

    def _arguments(
        self, y: "ArrayLike", t: "ArrayLike"
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
        """(y, t) as the kernels take them, and the shape of y that stands for both."""
        y = as_real(y)
        if not self._is_of_rows():
            y, t = np.broadcast_arrays(y, np.asarray(as_real(t), y.dtype))
            shape = y.shape
            y, t = (np.ascontiguousarray(a).reshape(-1, 1) for a in (y, t))
            return y, t, shape
        shape = y.shape
        if y.ndim not in (1, 2) or y.shape[-1] == 0 or y.shape[-1] % self.per_target:
            raise ValueError(f"{self.name} takes rows of y, got shape {shape}")
        y = y.reshape(-1, shape[-1])
        t = np.asarray(t)
        if self.name == "cross_entropy" and t.ndim == len(shape) - 1:
            if t.dtype.kind not in "iu" or t.size != len(y):
                raise ValueError(f"expected {len(y)} integer labels, got {t.dtype} {t.shape}")
            t = np.ascontiguousarray(t.reshape(-1), np.int64)
            if t.size and not (t.min() >= 0 and t.max() < shape[-1]):
                raise ValueError(f"labels must be in 0..{shape[-1] - 1}, got {t.min()}..{t.max()}")
            return y, t, shape
        wanted = (*shape[:-1], shape[-1] // self.per_target)
        if t.shape != wanted:
            raise ValueError(f"t has shape {t.shape}; expected {wanted} for y of shape {shape}")
        return y, np.ascontiguousarray(as_real(t), y.dtype).reshape(len(y), -1), shape


_OF_ROWS = ("cross_entropy", "kl_divergence", "gaussian_nll")
_OWN_ROW: dict[str, Any] = {"output": None, "per_target": 1, "hyper": {}}


def _defaults(name: str) -> dict[str, Any]:
    hyper = _core.LOSSES[name]["hyper"] if name in _core.LOSSES else {}
    return {n: None if n == "alpha" and v == _NONE else v for n, v in hyper.items()}


def _checked(name: str, hyper: dict[str, float], parameters: dict[str, Any]) -> dict[str, Any]:
    """All parameters of a loss, in the order of the engine's table."""
    values = _defaults(name)
    for parameter, value in parameters.items():
        if parameter not in hyper:
            has = f"only {' and '.join(hyper)}" if hyper else "none"
            raise TypeError(f"{name} has no parameter {parameter!r}, {has}")
        fits, wanted = _LIMITS[parameter]
        if value is None and parameter == "alpha":
            values[parameter] = None
            continue
        try:
            if isinstance(value, (bool, str, bytes)):
                raise TypeError
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not fits(number):
            raise ValueError(f"{parameter} of {name} must be {wanted}, got {value!r}")
        values[parameter] = number
    return values


def _make(name: str, parameters: dict[str, Any]) -> Loss:
    return Loss(name, **parameters)


def from_config(config: Any) -> Loss:
    """Return the loss that `Loss.config` describes."""
    parameters = dict(config) if isinstance(config, dict) else {"type": config}
    name = parameters.pop("type")
    if isinstance(name, str) and name.isidentifier() and name not in losses:
        try:
            names.look_up("loss", name, losses, names.LOSS_ALIASES)
        except ValueError as error:
            raise ValueError(
                f"{error} A loss of your own has to be registered first, by nncore.register_loss."
            ) from None
    return Loss(name, **parameters)


TWO_CLASSES = (
    'For two classes use Dense(1, "sigmoid") and binary_cross_entropy; for more, one output per '
    'class, such as Dense(3, "softmax").'
)


def choose_loss(loss: "str | Loss | None", layer: Any, n_out: int) -> Loss:
    """Return the `Loss` of a network, checked against its last layer; None: the default."""
    output = layer.activation
    scores_of = "softmax" if output == "log_softmax" else output  # what the loss contains of it
    if loss is None:
        fused = {row["output"]: name for name, row in reversed(_core.LOSSES.items())}
        loss = Loss(fused.get(scores_of, "mse") if output else "mse")
    if isinstance(loss, type) and issubclass(loss, Loss):
        raise ValueError('loss is a class; write nncore.Loss("mse") with a name')
    if not isinstance(loss, Loss):
        loss = Loss(loss)
    if loss.output == output == "sigmoid" and layer.function.parameters["gain"] != 1:
        raise ValueError(
            f"{loss.name} is computed from the raw scores of a sigmoid of gain 1, but the last "
            f"layer is {layer.function}. Leave the gain out, since weights can take it up, or use "
            'loss="mse".'
        )
    if loss.output not in (None, scores_of):
        one = loss.output == "softmax" and n_out == 1
        fix = TWO_CLASSES if one else f'Use Dense({n_out}, "{loss.output}").'
        shown = f'"{output}"' if hasattr(layer, "function") else repr(layer)
        raise ValueError(
            f'{loss.name} needs a "{loss.output}" output, but the last layer is {shown}: the two '
            f"are computed together, from the raw scores. {fix}"
        )
    if n_out % loss.per_target:
        raise ValueError(
            f"{loss.name} needs a mean and the logarithm of a variance for each target, so an even "
            f"number of outputs; the last layer has {n_out}. Use Dense({2 * n_out}) for {n_out} "
            f"target{'s' if n_out > 1 else ''}."
        )
    return loss


class Losses(Mapping[str, Loss]):
    """All losses by name, with default parameters; an alias finds its loss too.

    Examples
    --------
    >>> import nncore
    >>> list(nncore.losses)[:15]
    ['mse', 'half_mse', 'mae', 'huber', 'smooth_l1', 'log_cosh', 'quantile', 'hinge', \
'squared_hinge', 'poisson', 'binary_cross_entropy', 'focal', 'cross_entropy', 'kl_divergence', \
'gaussian_nll']
    >>> nncore.losses["pinball"].formula
    'q (t - y) if y < t else (1 - q) (y - t)'
    """

    def __getitem__(self, name: str) -> Loss:
        return Loss(name)

    def __contains__(self, name: object) -> bool:
        return name in _core.LOSSES or name in _own or name in names.LOSS_ALIASES

    def __iter__(self) -> Iterator[str]:
        return iter([*_core.LOSSES, *_own])

    def __len__(self) -> int:
        return len(_core.LOSSES) + len(_own)

    def __repr__(self) -> str:
        return f"<losses: {', '.join(self)}>"


losses = Losses()

# ---- the user's own ------------------------------------------------------------------------------


_own: "dict[str, OwnLoss]" = {}


def register_loss(
    name: str,
    value: "Callable[[np.ndarray, np.ndarray], ArrayLike]",
    gradient: "Callable[[np.ndarray, np.ndarray], ArrayLike]",
    *,
    points: "tuple[ArrayLike, ArrayLike] | None" = None,
) -> Loss:
    """Make a loss of your own from two NumPy functions, and check its gradient.

    Parameters
    ----------
    name : str
        Its name from now on, for `Network` and `Loss`. One that was registered before is replaced,
        for networks made from then on: also for copies and files, which know a loss by its name.
    value : callable
        ``value(y, t)`` of outputs and targets, both (n_rows, n): the loss of each element, (n_rows,
        n), whose mean is over all elements; or of each row, (n_rows,), whose mean is over the rows.
        A row's values must not depend on the other rows.
    gradient : callable
        ``gradient(y, t)``: the derivative of the value with respect to y, (n_rows, n). Where the
        value has kinks, any slope between those on both sides.
    points : tuple (y, t), optional
        Outputs and targets to check the gradient at, (n_rows, n). By default normal numbers, and
        then outputs whose residuals y - t are 3, 10, 30, 100, 300 and 1,000 times as large. Give
        some if your loss needs others, such as positive outputs: then it is checked there alone.

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If the gradient is not the derivative of the value: the message has the point, what
        `gradient` gives there, and the central difference of `value`.

    Notes
    -----
    The functions get arrays of the network's dtype and are called for each block of up to 256 rows.
    An exception in them ends training and is raised as it is; the network is as after the last
    whole step. A file that names a registered loss can be loaded where it is registered.

    The check allows 1e-5 of the slope, 1e-9 of the value and of y times the slope, and what the
    central difference is uncertain by. Nothing is compared where residuals are so large that the
    value overflows, but a gradient that is NaN beside a finite value is refused.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> cauchy = nncore.register_loss(
    ...     "cauchy", lambda y, t: np.log1p((y - t) ** 2),
    ...     lambda y, t: 2 * (y - t) / (1 + (y - t) ** 2))
    >>> net = nncore.Network(2, nncore.Dense(1), loss="cauchy")
    >>> nncore.register_loss("wrong", lambda y, t: (y - t) ** 2, lambda y, t: y - t)
    Traceback (most recent call last):
        ...
    ValueError: gradient of 'wrong' disagrees with value: at y = 0.126, t = 1.37 \
(row 0, column 0) gradient gives -1.24073325, the central difference is -2.4814665
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"the name of a loss must be an identifier, got {name!r}")
    if name in _core.LOSSES or name in names.LOSS_ALIASES:
        raise ValueError(f"{name!r} is a loss of nncore; choose another name")
    for what, function in (("value", value), ("gradient", gradient)):
        if not callable(function):
            raise TypeError(f"{what} of {name!r} must be a function of (y, t), got {function!r}")
    from .own_loss import OwnLoss, check

    own = OwnLoss(name, value, gradient)
    check(own, points)
    _own[name] = own
    return Loss(name)
