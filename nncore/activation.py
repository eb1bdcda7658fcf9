"""Activation functions with their derivatives, as the engine computes them.

`nncore.activations` holds them by name: ``nncore.activations["tanh"]`` is an `Activation`. Formulas
are in x, the input of the activation, and y = f(x).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from . import _core, names

INF = float("inf")


class Formulas(NamedTuple):
    """What is said of an activation: f, f' and f'' as text and as LaTeX, and facts of f."""

    f: str
    df: str
    d2f: str
    latex: str
    df_latex: str
    d2f_latex: str
    range: tuple[float, float] = (-INF, INF)
    kinks: dict[float, float] = {}


_FORMULAS = {
    "identity": Formulas(
        "x", "1", "0", "x", "1", "0",
    ),
    "relu": Formulas(
        "max(x, 0)", "1 if x > 0 else 0", "0",
        r"\max(x, 0)", r"[x > 0]", "0", range=(0.0, INF), kinks={0.0: 0.0},
    ),
    "sigmoid": Formulas(
        "1 / (1 + exp(-x))", "y (1 - y)", "y (1 - y) (1 - 2 y)",
        r"\frac{1}{1 + e^{-x}}", r"y \, (1 - y)", r"y \, (1 - y) \, (1 - 2 y)", range=(0.0, 1.0),
    ),
    "tanh": Formulas(
        "tanh(x)", "1 - y^2", "-2 y (1 - y^2)",
        r"\tanh x", r"1 - y^2", r"-2 y \, (1 - y^2)", range=(-1.0, 1.0),
    ),
    "softplus": Formulas(
        "log(1 + exp(x))", "1 / (1 + exp(-x))", "f'(x) (1 - f'(x))",
        r"\ln(1 + e^x)", r"\frac{1}{1 + e^{-x}}", r"f'(x) \, (1 - f'(x))", range=(0.0, INF),
    ),
    "softsign": Formulas(
        "x / (1 + |x|)", "1 / (1 + |x|)^2", "-2 sign(x) / (1 + |x|)^3",
        r"\frac{x}{1 + |x|}", r"\frac{1}{(1 + |x|)^2}",
        r"\frac{-2 \, \mathrm{sign}(x)}{(1 + |x|)^3}", range=(-1.0, 1.0),
    ),
    "leaky_relu": Formulas(
        "max(x, 0.01 x)", "1 if x > 0 else 0.01", "0",
        r"\max(x, 0.01 \, x)", r"1 \text{ if } x > 0 \text{ else } 0.01", "0", kinks={0.0: 0.01},
    ),
    "elu": Formulas(
        "x if x > 0 else exp(x) - 1", "1 if x > 0 else exp(x)", "0 if x > 0 else exp(x)",
        r"x \text{ if } x > 0 \text{ else } e^x - 1", r"1 \text{ if } x > 0 \text{ else } e^x",
        r"0 \text{ if } x > 0 \text{ else } e^x", range=(-1.0, INF),
    ),
    "hardtanh": Formulas(
        "min(max(x, -1), 1)", "1 if -1 < x < 1 else 0", "0",
        r"\min(\max(x, -1), 1)", r"[-1 < x < 1]", "0",
        range=(-1.0, 1.0), kinks={-1.0: 0.0, 1.0: 0.0},
    ),
    "relu6": Formulas(
        "min(max(x, 0), 6)", "1 if 0 < x < 6 else 0", "0",
        r"\min(\max(x, 0), 6)", r"[0 < x < 6]", "0",
        range=(0.0, 6.0), kinks={0.0: 0.0, 6.0: 0.0},
    ),
    "hard_sigmoid": Formulas(
        "min(max((x + 3) / 6, 0), 1)", "1/6 if -3 < x < 3 else 0", "0",
        r"\min(\max((x + 3) / 6, 0), 1)", r"[-3 < x < 3] / 6", "0",
        range=(0.0, 1.0), kinks={-3.0: 0.0, 3.0: 0.0},
    ),
    "elliot": Formulas(
        "(x / (1 + |x|) + 1) / 2", "1 / (2 (1 + |x|)^2)", "-sign(x) / (1 + |x|)^3",
        r"\frac{x}{2 (1 + |x|)} + \frac{1}{2}", r"\frac{1}{2 (1 + |x|)^2}",
        r"\frac{-\mathrm{sign}(x)}{(1 + |x|)^3}", range=(0.0, 1.0),
    ),
    "log_sigmoid": Formulas(
        "-log(1 + exp(-x))", "1 / (1 + exp(x))", "-f'(x) (1 - f'(x))",
        r"-\ln(1 + e^{-x})", r"\frac{1}{1 + e^x}", r"-f'(x) \, (1 - f'(x))", range=(-INF, 0.0),
    ),
    "silu": Formulas(
        "x / (1 + exp(-x))", "s (1 + x (1 - s)), s = 1 / (1 + exp(-x))",
        "s (1 - s) (2 + x (1 - 2 s)), s = 1 / (1 + exp(-x))",
        r"\frac{x}{1 + e^{-x}}", r"s \, (1 + x (1 - s)), \; s = \frac{1}{1 + e^{-x}}",
        r"s \, (1 - s) (2 + x (1 - 2 s)), \; s = \frac{1}{1 + e^{-x}}",
        range=(-0.27846454276107374, INF),
    ),
    "selu": Formulas(
        "1.0507009873554805 x if x > 0 else 1.7580993408473768 (exp(x) - 1)",
        "1.0507009873554805 if x > 0 else 1.7580993408473768 exp(x)",
        "0 if x > 0 else 1.7580993408473768 exp(x)",
        r"1.0507 x \text{ if } x > 0 \text{ else } 1.7581 (e^x - 1)",
        r"1.0507 \text{ if } x > 0 \text{ else } 1.7581 e^x",
        r"0 \text{ if } x > 0 \text{ else } 1.7581 e^x",
        range=(-1.7580993408473768, INF), kinks={0.0: 1.7580993408473768},
    ),
    "softmax": Formulas(
        "exp(x_i) / sum_j exp(x_j)", "y_i ([i = j] - y_j)", "",
        r"\frac{e^{x_i}}{\sum_j e^{x_j}}", r"y_i \, (\delta_{ij} - y_j)", "", range=(0.0, 1.0),
    ),
}  # fmt: skip


class Activation:
    """An activation function y = f(x), with its first and second derivative.

    Made by nncore: ``nncore.activations["sigmoid"]``. Arguments are array-likes of any shape;
    results have that shape, and are float32 where the argument is float32, else float64. NaN gives
    NaN, and an infinite x the limit.

    Attributes
    ----------
    name : str
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
        What training keeps to find the slope on the way back: x, y = f(x), or nothing.

    Notes
    -----
    What names mean elsewhere differs: here "hard_sigmoid" has the slope 1/6 of PyTorch and Keras 3,
    "leaky_relu" the slope 0.01 of PyTorch, "elliot" is FANN's, from 0 to 1, and MATLAB's elliotsig
    is "softsign".

    `f`, `df` and `d2f` are the engine's own kernels, written in x: with fused multiply-add within
    2, 4 and 7 units in the last place of the true value, for all x, where the slope is 1e-30 as
    where it is 1; but next to a zero that it crosses, a derivative of silu is within eps / 4.
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
    """

    def __init__(self, name, formulas):
        self.name = name
        self.aliases = tuple(a for a, target in names.ACTIVATION_ALIASES.items() if target == name)
        self.formula, self.df_formula, self.d2f_formula = formulas[:3]
        self.latex, self.df_latex, self.d2f_latex = formulas[3:6]
        self.range = formulas.range
        self.keeps = names.ACTIVATIONS[name]["keeps"]
        self._kinks = formulas.kinks

    @property
    def kinks(self):
        return dict(self._kinks)

    def __repr__(self):
        return f"<activation {self.name}: {self.formula}>"

    def _repr_latex_(self):
        return f"$f(x) = {self.latex}, \\quad f'(x) = {self.df_latex}$"

    def __reduce__(self):
        return _by_name, (self.name,)

    def __call__(self, x):
        """Return f(x)."""
        return self.f(x)

    def f(self, x):
        """Return y = f(x).

        Parameters
        ----------
        x : array_like
            Real numbers.

        Returns
        -------
        numpy.ndarray or a NumPy number, of the shape of `x`
        """
        return self._apply(lambda k, x, y: k.activation(self.name, x, y), x)

    def df(self, x):
        """Return dy/dx at x; at a kink the value in `kinks`. As `f` otherwise."""
        return self._apply(lambda k, x, y: k.derivative(1, self.name, x, y), x)

    def d2f(self, x):
        """Return the second derivative at x, away from kinks. As `f` otherwise."""
        return self._apply(lambda k, x, y: k.derivative(2, self.name, x, y), x)

    def df_from_y(self, y):
        """Return dy/dx where f gives `y`, as training computes it.

        Raises
        ------
        ValueError
            If training keeps x for this activation, and not y.
        """
        if self.keeps == "x":
            raise ValueError(f"the slope of {self.name} is computed from x: use df(x)")

        def run(k, y, dx):
            dx[:] = 1
            k.slope(self.name, y, dx, dx)

        return self._apply(run, y)

    def _apply(self, run, x):
        x = as_real(x)
        y = np.empty(x.shape, x.dtype)
        run(_kernels(x.dtype), x.reshape(-1), y.reshape(-1))
        return y if y.ndim else y[()]

    def plot(self, low=-6.0, high=6.0, *, second=False, ax=None):
        """Draw f and f' between `low` and `high`; needs matplotlib, the extra ``plot``.

        Parameters
        ----------
        low, high : float
        second : bool, default False
            Draw f'' too.
        ax : matplotlib.axes.Axes, optional
            Where; by default a new figure of pyplot.

        Returns
        -------
        matplotlib.axes.Axes
        """
        low, high = float(low), float(high)
        if not -INF < low < high < INF:
            raise ValueError(f"expected finite low < high, got {low} and {high}")
        if ax is None:
            ax = _new_axes()
        curves = [("f(x)", self.f, "-"), ("f'(x)", self.df, "--"), ("f''(x)", self.d2f, ":")]
        ends = [low, *sorted(x for x in self._kinks if low < x < high), high]
        for label, function, style in curves[: 3 if second else 2]:
            color = None
            for left, right in zip(ends[:-1], ends[1:], strict=True):  # a jump is not a slope
                x = np.linspace(np.nextafter(left, right), np.nextafter(right, left), 401)
                [line] = ax.plot(x, function(x), style, color=color, label=label)
                color, label = line.get_color(), None
            if function == self.df:
                for x in ends[1:-1]:
                    ax.plot(x, self._kinks[x], "o", color=color)
        ax.set(title=f"{self.name}: {self.formula}", xlabel="x")
        ax.grid(alpha=0.3)
        ax.legend()
        return ax


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

    def f(self, x):
        """Return y = softmax(x) over the last axis of x, which has at least one element."""
        x = as_real(x)
        if x.ndim == 0 or x.shape[-1] == 0:
            raise ValueError(f"softmax takes rows of at least one number, got shape {x.shape}")
        y = np.empty(x.shape, x.dtype)
        if y.size:
            rows = x.shape[-1]
            _kernels(x.dtype).softmax(x.reshape(-1, rows), y.reshape(-1, rows))
        return y

    def df(self, x):
        """Return the Jacobians dy_i/dx_j, of shape ``x.shape + x.shape[-1:]``."""
        return self.df_from_y(self.f(x))

    def df_from_y(self, y):
        """Return the Jacobians where softmax gives `y`: y_i ([i = j] - y_j).

        The diagonal is minus the sum of the others, since each row of a Jacobian adds up to zero:
        so it keeps its digits where y_i is close to 1.
        """
        y = as_real(y)
        jacobian = -y[..., :, None] * y[..., None, :]
        here = np.arange(y.shape[-1])
        jacobian[..., here, here] = 0
        jacobian[..., here, here] = -jacobian.sum(axis=-1)
        return jacobian

    def d2f(self, x):
        """Not available: it would be a tensor for each row."""
        raise ValueError("softmax has no d2f: its second derivative is a tensor for each row")

    def plot(self, low=-6.0, high=6.0, *, second=False, ax=None):
        """Not available: softmax is no function of one number."""
        raise ValueError("softmax is a function of whole rows: there is no curve to plot")


def as_real(x):
    """Return x as a contiguous array of float32 if it is one, else of float64."""
    array = np.asarray(x)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(f"expected real numbers up to float64, got {array.dtype}")
    dtype = np.float32 if array.dtype == np.float32 else np.float64
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _kernels(dtype):
    if dtype not in _made:
        _made[dtype] = _core.Kernels(None, dtype)
    return _made[dtype]


_made = {}


def _new_axes():
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('plotting needs matplotlib: pip install "nncore-c[plot]"') from None
    return pyplot.figure(layout="constrained").add_subplot()


class Activations(Mapping):
    """All activations by name; an alias finds its activation too.

    Examples
    --------
    >>> import nncore
    >>> list(nncore.activations)
    ['identity', 'relu', 'sigmoid', 'tanh', 'softplus', 'softsign', 'leaky_relu', 'elu', \
'hardtanh', 'relu6', 'hard_sigmoid', 'elliot', 'log_sigmoid', 'silu', 'selu', 'softmax']
    >>> nncore.activations["logistic"]
    <activation sigmoid: 1 / (1 + exp(-x))>
    """

    def __init__(self):
        self._all = {
            name: (Softmax if name == "softmax" else Activation)(name, _FORMULAS[name])
            for name in names.ACTIVATIONS
        }

    def __getitem__(self, name):
        return self._all[names.activation(name)]

    def __contains__(self, name):
        return name in self._all or name in names.ACTIVATION_ALIASES

    def __iter__(self):
        return iter(self._all)

    def __len__(self):
        return len(self._all)

    def __repr__(self):
        return f"<activations: {', '.join(self)}>"


activations = Activations()


def _by_name(name):
    return activations[name]
