"""Activation functions with their derivatives, as the engine computes them.

`nncore.activations` holds them by name: ``nncore.activations["tanh"]`` is an `Activation`. Formulas
are in x, the input of the activation, and y = f(x). The user's own come in by `own_activation`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core, names

INF = float("inf")


# What a parameter may be: beyond this, numbers leave float32.
_POSITIVE, _ANY = (1e-6, 1e6), (-1e6, 1e6)
_LIMITS = {
    "gain": _POSITIVE, "alpha": _POSITIVE, "beta": _POSITIVE, "b": _POSITIVE, "slope": (0.0, 1e6),
    "width": (0.0, 1e6), "threshold": _ANY, "value": _ANY,
}  # fmt: skip


def _defaults(name: str) -> dict[str, float]:
    return dict(names.ACTIVATIONS[name]["parameters"]) if name in names.ACTIVATIONS else {}


def _checked(name: str, given: dict[str, Any]) -> dict[str, float]:
    """All parameters of an activation, in the order of its row: those given, else defaults."""
    values = _defaults(name)
    for parameter, value in given.items():
        if parameter not in values:
            known = f"it has: {', '.join(values)}" if values else "it has none"
            raise TypeError(f"{name} has no parameter {parameter!r}; {known}")
        low, high = _LIMITS[parameter]
        real = isinstance(value, (int, float, np.integer, np.floating))
        if not real or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(
                f"{parameter} of {name} must be a number from {low:g} to {high:g}, got {value!r}"
            )
        values[parameter] = float(value) + 0.0  # not -0
    return values


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _with_values(text: str, parameters: dict[str, float]) -> str:
    """Put the values of parameters in a formula; a factor or divisor of 1 is left out."""
    for name, value in parameters.items():
        if value == 1 and name in ("gain", "alpha", "beta", "slope"):
            text = re.sub(rf"\b{name}(\^\d)? (?!/)(\\, )?| / {name}\b", "", text)
        shown = _number(value)
        text = re.sub(rf"\b{name}\b", f"({shown})" if value < 0 else shown, text)
    text = re.sub(r"(?<![a-z'])\(x\)", "x", text)
    return re.sub(r"^\(([^()]*)\)$", r"\1", text)


class Activation:
    """An activation function y = f(x), with its first and second derivative.

    ``nncore.activations["sigmoid"]`` is the one with the default parameters. Arguments of the
    functions are array-likes of any shape; results have that shape, and are float32 where the
    argument is float32, else float64. NaN gives NaN, and an infinite x the limit (sin has none:
    NaN).

    Parameters
    ----------
    name : str
        A name or alias in `nncore.activations`.
    **parameters : float
        "gain", from 1e-6 to 1e6, multiplies x in sigmoid, tanh, softsign, elliot, gaussian and sin:
        what FANN calls steepness. "slope" of leaky_relu on the left, from 0 to 1e6 (the slope in
        training is found from the sign of y, so it cannot be negative). "alpha" of elu and celu,
        "beta" of softplus, which is log(1 + exp(beta x)) / beta, and "b" of squareplus, all from
        1e-6 to 1e6. "width" of hard_shrink and softshrink, which map [-width, width] to 0, from 0
        to 1e6. "threshold" and "value" of threshold, -1e6 to 1e6.

    Attributes
    ----------
    name : str
    parameters : dict of str to float
        All of them, in order; empty for most.
    aliases : tuple of str
        Other names that are understood, such as "logistic" for "sigmoid".
    formula, df_formula, d2f_formula : str
        f, f' and f'' as text, in x and y = f(x).
    latex, df_latex, d2f_latex : str
        The same as LaTeX.
    range : tuple of float
        Infimum and supremum of f.
    kinks : dict
        Where f' jumps: x, and the value that `df` has there. Empty for a smooth f.
    keeps : {"x", "y", "none"}
        What training computes the slope from: x, beside f(x) on the way up; y = f(x), on the way
        back; or nothing.

    Raises
    ------
    ValueError
        If there is no such name, or a parameter is not within its limits.
    TypeError
        If the activation has no parameter of that name.

    Notes
    -----
    What names mean elsewhere differs: here "hard_sigmoid" has the slope 1/6 of PyTorch and Keras 3,
    "leaky_relu" the slope 0.01 of PyTorch, "elliot" is FANN's, from 0 to 1, MATLAB's elliotsig
    is "softsign", "satlin" clips to [0, 1] and its alias "linear_piece" is FANN's, "gelu" is the
    exact one, PyTorch's "tanh" form is "gelu_tanh", and the defaults of "threshold", 1 and 0, are
    those of Keras' ThresholdedReLU.

    `f`, `df` and `d2f` are the engine's own kernels, written in x. With fused multiply-add and the
    default parameters they are within 2, 4 and 7 units in the last place of the true value, for
    all x, where the slope is 1e-30 as where it is 1, with these exceptions. `d2f` of mish is within
    10 and of gelu_tanh within 13 units. Next to a zero that it crosses, where digits cancel, `df`
    of silu, gelu, gelu_tanh and mish is within eps / 4 and `d2f` of silu within eps / 4, of
    gelu_tanh and mish within 3/4 eps. sin is for abs(gain x) below 2^20 in float32 and 2^49 in
    float64, and NaN beyond, where rounding of x alone would turn it by more than 0.06. log_softmax
    is within some eps of the size of the scores. With a gain, beta or alpha other than 1 the
    product or quotient with x is rounded once: that is exact for powers of two, and otherwise costs
    as much as a change of x by half a unit in its last place. Identity, relu, hardtanh, relu6,
    hard_shrink, threshold and satlin are exact.

    Training takes the slope from the y it keeps, where it keeps that, which is `df_from_y`: faster,
    and within 2 units in the last place of the largest slope, since a y that is rounded to 1 cannot
    tell more.

    Examples
    --------
    >>> import nncore
    >>> sigmoid = nncore.activations["sigmoid"]
    >>> sigmoid
    <activation sigmoid: 1 / (1 + exp(-x))>
    >>> sigmoid.f([0, 1]), sigmoid.df([0, 1])
    (array([0.5       , 0.73105858]), array([0.25      , 0.19661193]))
    >>> float(sigmoid.df_from_y(0.5))
    0.25
    >>> sigmoid.df([-100.0, 100.0])  # not 0: y (1 - y) would say so
    array([3.72007598e-44, 3.72007598e-44])
    >>> nncore.activations["relu"].kinks
    {0.0: 0.0}
    >>> leaky = nncore.Activation("leaky_relu", slope=0.2)
    >>> leaky, leaky.f(-1.0), leaky.kinks
    (<activation leaky_relu(slope=0.2): x if x > 0 else 0.2 x>, np.float64(-0.2), {0.0: 0.2})
    >>> leaky == nncore.activations["leaky_relu"]
    False
    >>> net = nncore.Network(3, nncore.Dense(8, leaky), nncore.Dense(1))
    """

    name: str
    aliases: tuple[str, ...]
    formula: str
    df_formula: str
    d2f_formula: str
    latex: str
    df_latex: str
    d2f_latex: str
    range: tuple[float, float]
    keeps: str
    own: Any = None  # what a registered one calls

    def __new__(cls, name: str, **parameters: float) -> "Activation":
        name = names.activation(name)
        own = OwnActivation if name in names.own_activations else cls
        return super().__new__(_CLASSES.get(name, own))

    def __init__(self, name: str, **parameters: float) -> None:
        from .formulas import FORMULAS  # many words, which importing nncore does without

        self.name = name = names.activation(name)
        self._parameters = parameters = _checked(name, parameters)
        self._values = tuple(parameters.values())
        formulas = FORMULAS[name]
        self.aliases = tuple(a for a, target in names.ACTIVATION_ALIASES.items() if target == name)
        texts = [_with_values(text, parameters) for text in formulas[:6]]
        self.formula, self.df_formula, self.d2f_formula = texts[:3]
        self.latex, self.df_latex, self.d2f_latex = texts[3:]
        limits, kinks = formulas.range, formulas.kinks
        self.range = limits(**parameters) if callable(limits) else limits
        self._kinks = kinks(**parameters) if callable(kinks) else kinks
        self.keeps = names.ACTIVATIONS[name]["keeps"]

    def __setattr__(self, name: str, value: Any) -> None:
        if "keeps" in self.__dict__:  # the last that __init__ sets
            raise AttributeError(f"an Activation is fixed once made: {name} cannot be set")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> float:
        try:
            value: float = self.__dict__["_parameters"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}") from None
        return value

    @property
    def parameters(self) -> dict[str, float]:
        return dict(self._parameters)

    @property
    def kinks(self) -> dict[float, float]:
        return dict(self._kinks)

    def _changed(self) -> dict[str, float]:
        """The parameters that are not the defaults."""
        defaults = _defaults(self.name)
        return {p: value for p, value in self._parameters.items() if value != defaults[p]}

    def config(self) -> str | dict[str, Any]:
        """Return the name, or with other parameters than the defaults a dict, as JSON values."""
        changed = self._changed()
        return {"name": self.name, **changed} if changed else self.name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Activation):
            return NotImplemented
        return (self.name, self._values, self.own) == (other.name, other._values, other.own)

    def __hash__(self) -> int:
        return hash((self.name, self._values))

    def __str__(self) -> str:
        changed = ", ".join(f"{p}={_number(value)}" for p, value in self._changed().items())
        return f"{self.name}({changed})" if changed else self.name

    def __repr__(self) -> str:
        return f"<activation {self}: {self.formula}>"

    def _repr_latex_(self) -> str | None:
        if not self.latex:
            return None
        return f"$f(x) = {self.latex}, \\quad f'(x) = {self.df_latex}$"

    def __reduce__(self) -> tuple[Any, ...]:
        return from_config, (self.config(),)

    def __call__(self, x: "ArrayLike") -> Any:
        """Return f(x)."""
        return self.f(x)

    def f(self, x: "ArrayLike") -> Any:
        """Return y = f(x).

        Parameters
        ----------
        x : array_like
            Real numbers.

        Returns
        -------
        numpy.ndarray or a NumPy number, of the shape of `x`
        """
        return self._apply(lambda k, x, y: k.activation(self.name, x, y, self._values), x)

    def df(self, x: "ArrayLike") -> Any:
        """Return dy/dx at x; at a kink the value in `kinks`. As `f` otherwise."""
        return self._apply(lambda k, x, y: k.derivative(1, self.name, x, y, self._values), x)

    def d2f(self, x: "ArrayLike") -> Any:
        """Return the second derivative at x, away from kinks. As `f` otherwise.

        Examples
        --------
        >>> import nncore
        >>> float(nncore.activations["softplus"].d2f(0.0))
        0.25
        """
        return self._apply(lambda k, x, y: k.derivative(2, self.name, x, y, self._values), x)

    def df_from_y(self, y: "ArrayLike") -> Any:
        """Return dy/dx where f gives `y`, as training computes it.

        Raises
        ------
        ValueError
            If training computes the slope of this activation from x, and not from y.

        Examples
        --------
        >>> import nncore
        >>> float(nncore.activations["tanh"].df_from_y(0.5))
        0.75
        """
        if self.keeps == "x":
            raise ValueError(f"the slope of {self.name} is computed from x: use df(x)")

        def run(k: _core.Kernels, y: np.ndarray, dx: np.ndarray) -> None:
            dx[:] = 1
            k.slope(self.name, y, dx, dx, self._values)

        return self._apply(run, y)

    def _apply(
        self, run: Callable[[_core.Kernels, np.ndarray, np.ndarray], None], x: "ArrayLike"
    ) -> Any:
        x = as_real(x)
        y = np.empty(x.shape, x.dtype)
        run(_kernels(x.dtype), x.reshape(-1), y.reshape(-1))
        return y if y.ndim else y[()]

    def plot(
        self, low: float = -6.0, high: float = 6.0, *, second: bool | None = None, ax: Any = None
    ) -> Any:
        """Draw f with f' and f'': `nncore.plots.activation`, which says what of the arguments."""
        from . import plots

        return plots.activation(self, low, high, second=second, ax=ax)


class Softmax(Activation):
    """softmax, a function of the whole last axis: its derivative is a matrix for each row.

    Examples
    --------
    >>> import nncore
    >>> softmax = nncore.activations["softmax"]
    >>> softmax.f([0.0, 0.0])
    array([0.5, 0.5])
    >>> softmax.df([0.0, 0.0])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """

    def f(self, x: "ArrayLike") -> np.ndarray:
        """Return y, over the last axis of x, which has at least one element."""
        x = as_real(x)
        if x.ndim == 0 or x.shape[-1] == 0:
            raise ValueError(f"{self.name} takes rows of at least one number, got shape {x.shape}")
        y = np.empty(x.shape, x.dtype)
        if y.size:
            n = x.shape[-1]
            log = self.name == "log_softmax"
            _kernels(x.dtype).softmax(x.reshape(-1, n), y.reshape(-1, n), log)
        return y

    def df(self, x: "ArrayLike") -> np.ndarray:
        """Return the Jacobians dy_i/dx_j, of shape ``x.shape + x.shape[-1:]``."""
        return self.df_from_y(self.f(x))

    def df_from_y(self, y: "ArrayLike") -> np.ndarray:
        """Return the Jacobians where softmax gives `y`: y_i ([i = j] - y_j).

        The diagonal is minus the sum of the others, since each row of a Jacobian adds up to zero:
        so it keeps its digits where y_i is close to 1.
        """
        y = as_real(y)
        jacobian: np.ndarray = -y[..., :, None] * y[..., None, :]
        here = np.arange(y.shape[-1])
        jacobian[..., here, here] = 0
        jacobian[..., here, here] = -jacobian.sum(axis=-1)
        return jacobian

    def d2f(self, x: "ArrayLike") -> Any:
        """Not available: it would be a tensor for each row."""
        raise ValueError(f"{self.name} has no d2f: its second derivative is a tensor for each row")


class LogSoftmax(Softmax):
    """log_softmax, the logarithm of softmax: in the last layer, outputs are log-probabilities.

    Examples
    --------
    >>> import nncore
    >>> nncore.activations["log_softmax"].f([0.0, -1000.0])
    array([    0., -1000.])
    """

    def df_from_y(self, y: "ArrayLike") -> np.ndarray:
        """Return the Jacobians where log_softmax gives `y`: [i = j] - exp(y_j).

        The diagonal is the sum of the other probabilities, which keeps its digits.
        """
        p = activations["exponential"].f(y)
        jacobian = np.broadcast_to(-p[..., None, :], (*p.shape, p.shape[-1])).copy()
        here = np.arange(p.shape[-1])
        jacobian[..., here, here] = 0
        jacobian[..., here, here] = -jacobian.sum(axis=-1)
        return jacobian


class OwnActivation(Activation):
    """An activation of `nncore.register_activation`, computed by the user's functions.

    Of texts it has ``formula``, and no LaTeX.
    """

    def __init__(self, name: str, **parameters: float) -> None:
        self.name, self.own = name, names.own_activations[name]
        self._parameters = _checked(name, parameters)
        self._values, self.aliases = (), ()
        self.formula, self.df_formula, self.d2f_formula = self.own.formula, "", ""
        self.latex = self.df_latex = self.d2f_latex = ""
        self.range, self._kinks = self.own.range, self.own.kinks
        self.keeps = "x"

    def f(self, x: "ArrayLike") -> Any:
        """Return y = f(x), of the shape of x."""
        return self._call(0, x)

    def df(self, x: "ArrayLike") -> Any:
        """Return dy/dx at x."""
        return self._call(1, x)

    def d2f(self, x: "ArrayLike") -> Any:
        """Return the second derivative at x; a ValueError if it was registered without."""
        return self._call(2, x)

    def _call(self, derivative: int, x: "ArrayLike") -> Any:
        x = as_real(x)
        y = self.own.apply(derivative, np.array(x, ndmin=1))  # a copy
        y = y.astype(x.dtype).reshape(x.shape)
        return y if y.ndim else y[()]


_CLASSES = {"softmax": Softmax, "log_softmax": LogSoftmax}


def as_real(x: Any) -> np.ndarray:
    """Return x as a contiguous array of float32 if it is one, else of float64."""
    array = np.asarray(x)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(f"expected real numbers up to float64, got {array.dtype}")
    dtype = np.float32 if array.dtype == np.float32 else np.float64
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _kernels(dtype: Any) -> _core.Kernels:
    if dtype not in _made:
        _made[dtype] = _core.Kernels(None, dtype)
    return _made[dtype]


_made: dict[Any, _core.Kernels] = {}


class Activations(Mapping[str, Activation]):
    """All activations by name; an alias finds its activation too.

    Examples
    --------
    >>> import nncore
    >>> list(nncore.activations)[:32]
    ['identity', 'relu', 'sigmoid', 'tanh', 'softplus', 'softsign', 'leaky_relu', 'elu', \
'hardtanh', 'relu6', 'hard_sigmoid', 'elliot', 'log_sigmoid', 'silu', 'selu', 'celu', 'gelu', \
'gelu_tanh', 'mish', 'hard_swish', 'tanhshrink', 'hard_shrink', 'softshrink', 'threshold', \
'squareplus', 'exponential', 'sin', 'gaussian', 'satlin', 'tribas', 'softmax', 'log_softmax']
    >>> nncore.activations["logistic"]
    <activation sigmoid: 1 / (1 + exp(-x))>
    """

    def __init__(self) -> None:
        self._made: dict[str, Activation] = {}

    def __getitem__(self, name: str) -> Activation:
        name = names.activation(name)
        if name in names.own_activations:  # which may be registered anew
            return Activation(name)
        if name not in self._made:
            self._made[name] = Activation(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return (
            name in names.ACTIVATIONS
            or name in names.own_activations
            or name in names.ACTIVATION_ALIASES
        )

    def __iter__(self) -> Iterator[str]:
        return iter([*names.ACTIVATIONS, *names.own_activations])

    def __len__(self) -> int:
        return len(names.ACTIVATIONS) + len(names.own_activations)

    def __repr__(self) -> str:
        return f"<activations: {', '.join(self)}>"


activations = Activations()


def as_activation(value: Any) -> Activation:
    """Return the activation of a name or config; an Activation is returned as it is."""
    if isinstance(value, Activation):
        return value
    if isinstance(value, dict) and "name" in value:
        parameters = dict(value)
        return Activation(parameters.pop("name"), **parameters)
    if not isinstance(value, str):
        raise ValueError(
            'an activation is a name, such as "tanh", or an nncore.Activation, got '
            f'{value!r}. For none write "identity"; a function of your own gets a name from '
            "nncore.register_activation."
        )
    return activations[value]


def from_config(config: Any) -> Activation:
    """Return what `Activation.config` describes, which may be known elsewhere only."""
    try:
        return as_activation(config)
    except ValueError as error:
        name = config.get("name") if isinstance(config, dict) else config
        if not isinstance(name, str) or not name.isidentifier() or name in activations:
            raise
        unknown, _, known = str(error).partition(" Known:")
        raise ValueError(
            f"{unknown} An activation of your own has to be registered first, by "
            f"nncore.register_activation. Known:{known}"
        ) from None
