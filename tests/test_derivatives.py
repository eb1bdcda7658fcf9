"""nncore.activations: f, f' and f'' in public, over the whole range of both types."""

import copy
import math
import pickle
import re
import sys
from unittest.mock import MagicMock

import numpy as np
import pytest

import nncore
from nncore import names

from .checks import (
    NEAR_ZERO,
    SELU_LEFT,
    SELU_SCALE,
    assert_close,
    assert_same_bits,
    assert_ulps,
    density,
    exp_minus_square,
    gelu_slope,
    gelu_tanh_parts,
    gelu_tanh_slope,
    half_root,
    mish_parts,
    mish_slope,
    sigmoid,
    silu_slope,
    tiny,
    truth,
    turned,
    ulp,
    wide,
)
from .test_activations import sample

ELEMENTWISE = pytest.mark.parametrize(
    "name", [name for name in nncore.activations if name not in names.WHOLE_ROW]
)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def sigmoid_slope(x):
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2


def sech2(x):
    e = np.exp(-2 * np.abs(x))
    return 4 * e / (1 + e) ** 2


def silu_curve(x):
    y = np.minimum(np.abs(x), 1e4)
    return sigmoid_slope(y) * (2 - y * np.tanh(y / 2))


def gelu_curve(x):
    return (2 - np.square(np.clip(x, -200, 200))) * density(x)


def gelu_tanh_curve(x):
    s, other, rise = gelu_tanh_parts(x)
    start = np.longdouble("1.59576912160573071175978423973752747").astype(x.dtype)
    x = np.clip(x, -30, 30)
    return s * other * (4 * rise - 2 * start + x * rise**2 * (other - s))


def mish_curve(x):
    _, first, second = mish_parts(x)
    return 2 * first + np.clip(x, -1e4, 1e4) * second


# f' and f'' in a wider type, each without cancellation, so to some 10 digits more than is tested.
TRUE_DF = {
    "identity": np.ones_like,
    "relu": lambda x: (x > 0).astype(x.dtype),
    "sigmoid": sigmoid_slope,
    "tanh": sech2,
    "softplus": sigmoid,
    "softsign": lambda x: (1 / (1 + np.abs(x))) ** 2,
    "leaky_relu": lambda x: np.where(x > 0, 1, x.dtype.type(1) / 100),
    "elu": lambda x: np.where(x > 0, 1, np.exp(x)),
    "hardtanh": lambda x: (np.abs(x) < 1).astype(x.dtype),
    "relu6": lambda x: ((x > 0) & (x < 6)).astype(x.dtype),
    "hard_sigmoid": lambda x: (np.abs(x) < 3) / x.dtype.type(6),
    "elliot": lambda x: (1 / (1 + np.abs(x))) ** 2 / 2,
    "log_sigmoid": lambda x: sigmoid(-x),
    "silu": silu_slope,
    "selu": lambda x: np.where(x > 0, SELU_SCALE, SELU_LEFT * np.exp(x)).astype(x.dtype),
    "celu": lambda x: np.where(x > 0, 1, np.exp(x)),
    "gelu": gelu_slope,
    "gelu_tanh": gelu_tanh_slope,
    "mish": mish_slope,
    "hard_swish": lambda x: np.where(
        np.abs(x) < 3, (2 * np.clip(x, -3, 3) + 3) / 6, (x > 0).astype(x.dtype)
    ),
    "tanhshrink": lambda x: np.tanh(x) ** 2,
    "hard_shrink": lambda x: (np.abs(x) > 0.5).astype(x.dtype),
    "softshrink": lambda x: (np.abs(x) > 0.5).astype(x.dtype),
    "threshold": lambda x: (x > 1).astype(x.dtype),
    "squareplus": lambda x: np.where(
        x < 0, 1 / half_root(x)[0] / half_root(x)[1], 1 - 1 / half_root(x)[0] / half_root(x)[1]
    ),
    "exponential": np.exp,
    "sin": turned(np.cos),
    "gaussian": lambda x: -2 * np.clip(x, -200, 200) * exp_minus_square(x),
    "satlin": lambda x: ((x > 0) & (x < 1)).astype(x.dtype),
    "tribas": lambda x: np.where(np.abs(x) < 1, -np.sign(x), 0).astype(x.dtype),
}
TRUE_D2F = {
    "identity": np.zeros_like,
    "relu": np.zeros_like,
    "sigmoid": lambda x: -sigmoid_slope(x) * np.tanh(x / 2),
    "tanh": lambda x: -2 * np.tanh(x) * sech2(x),
    "softplus": sigmoid_slope,
    "softsign": lambda x: -2 * np.sign(x) * (1 / (1 + np.abs(x))) ** 3,
    "leaky_relu": np.zeros_like,
    "elu": lambda x: np.where(x > 0, 0, np.exp(x)),
    "hardtanh": np.zeros_like,
    "relu6": np.zeros_like,
    "hard_sigmoid": np.zeros_like,
    "elliot": lambda x: -np.sign(x) * (1 / (1 + np.abs(x))) ** 3,
    "log_sigmoid": lambda x: -sigmoid_slope(x),
    "silu": silu_curve,
    "selu": lambda x: np.where(x > 0, 0, SELU_LEFT * np.exp(x)).astype(x.dtype),
    "celu": lambda x: np.where(x > 0, 0, np.exp(x)),
    "gelu": gelu_curve,
    "gelu_tanh": gelu_tanh_curve,
    "mish": mish_curve,
    "hard_swish": lambda x: (np.abs(x) < 3) / x.dtype.type(3),
    "tanhshrink": lambda x: 2 * np.tanh(x) * sech2(x),
    "hard_shrink": np.zeros_like,
    "softshrink": np.zeros_like,
    "threshold": np.zeros_like,
    "squareplus": lambda x: 2 / half_root(x)[1] ** 3,
    "exponential": np.exp,
    "sin": lambda x: -turned(np.sin)(x),
    "gaussian": lambda x: 4 * (np.square(np.clip(x, -200, 200)) - 0.5) * exp_minus_square(x),
    "satlin": np.zeros_like,
    "tribas": np.zeros_like,
}
# In units in the last place, and next to a zero that it crosses: what the class says.
MOST_D2F = {"gelu_tanh": 13, "mish": 10}
NEAR_ZERO_D2F = {"silu": 1 / 4, "gelu_tanh": 3 / 4, "mish": 3 / 4}


def assert_within(got, want, ulps, dtype, near=0):
    """At most so many ulp from the true value; so many denormal steps where it underflows; and
    `near` eps where that is more."""
    assert got.dtype == dtype
    nan = np.isnan(want)
    assert (nan == np.isnan(got)).all()
    top = np.finfo(dtype).max
    met = ~nan & ~(np.isinf(got) & (np.abs(want) >= top))  # beyond the largest number
    got, want = got[met], want[met]
    error = np.abs(got.astype(wide(dtype)) - want)
    bound = ulps * np.maximum(ulp(want, dtype), tiny(dtype))
    bound = np.where(np.abs(want) < 0.1, np.maximum(bound, near * np.finfo(dtype).eps), bound)
    if near:  # far from the zeros there is nothing to forgive
        assert (bound > 100 * ulps * ulp(want, dtype)).any()
    worst = np.argmax(error / bound)
    assert (error <= bound).all(), (got[worst], want[worst], error[worst] / ulp(want, dtype)[worst])


def exact(formula, x):
    with np.errstate(all="ignore"):
        return formula(x.astype(wide(x.dtype)))


@DTYPES
@ELEMENTWISE
def test_values_and_derivatives_over_the_whole_range(name, dtype):
    activation, x = nncore.activations[name], sample(np.dtype(dtype))
    fused = nncore.get_config()["isa"] != "baseline"
    assert_ulps(activation.f(x), truth(name, x), 2)
    near = NEAR_ZERO.get(name, 0)
    assert_within(activation.df(x), exact(TRUE_DF[name], x), 4 + (not fused), dtype, near)
    most, near = MOST_D2F.get(name, 7) + 2 * (not fused), NEAR_ZERO_D2F.get(name, 0)
    assert_within(activation.d2f(x), exact(TRUE_D2F[name], x), most, dtype, near)


def test_the_comparison_can_fail():
    x = sample(np.dtype(np.float64))
    want = exact(TRUE_DF["tanh"], x)
    with pytest.raises(AssertionError):
        assert_within(1 - np.tanh(x) ** 2, want, 4, np.float64)
    with pytest.raises(AssertionError):
        assert_within(want.astype(np.float64) * (1 + 9 * np.finfo(float).eps), want, 4, np.float64)


@DTYPES
@ELEMENTWISE
def test_special_values(name, dtype):
    activation = nncore.activations[name]
    for function in (activation.f, activation.df, activation.d2f):
        assert np.isnan(function(np.array([np.nan, -np.nan], dtype))).all()
    ends = np.array([-np.inf, np.inf], dtype)
    if name == "sin":
        assert np.isnan([function(ends) for function in (activation.f, activation.df)]).all()
        assert np.isnan(activation.d2f(ends)).all()
        assert 1 - 1e-6 < activation.f(np.linspace(-8, 8, 100_001, dtype=dtype)).max() <= 1
        return
    slopes = {"leaky_relu": (dtype(0.01), 1), "log_sigmoid": (1, 0),
              "selu": (0, dtype(1.0507009873554805)), "exponential": (0, np.inf),
              **dict.fromkeys(("identity", "tanhshrink", "hard_shrink", "softshrink"), (1, 1)),
              **dict.fromkeys(("relu", "softplus", "elu", "silu", "celu", "gelu", "gelu_tanh",
                               "mish", "hard_swish", "threshold", "squareplus"), (0, 1)),
              }.get(name, (0, 0))  # fmt: skip
    assert activation.df(ends).tolist() == list(slopes)
    assert activation.d2f(ends).tolist() == ([0, np.inf] if name == "exponential" else [0, 0])
    limits = activation.f(ends)
    least = {"silu": -1.28, "gelu": -0.75, "gelu_tanh": -0.75, "mish": -1.19, "hard_swish": -1.5}
    if name in least:  # the least value is in between
        assert limits.tolist() == [0, np.inf]
        x = np.linspace(-0.01, 0.01, 10_001) + least[name]
        assert activation.f(x).min() == pytest.approx(activation.range[0], rel=1e-11)
    elif name in ("gaussian", "tribas"):
        assert limits.tolist() == [0, 0]
        assert (activation.f(0.0), *activation.range) == (1, 0, 1)
    else:
        assert limits.tolist() == [dtype(end) for end in activation.range]


@ELEMENTWISE
def test_derivatives_are_central_differences(name):
    activation, h = nncore.activations[name], 2.0**-17
    x = np.linspace(-6.1, 6.2, 1001)  # no bend of any of them is within h
    for function, derivative in ((activation.f, activation.df), (activation.df, activation.d2f)):
        difference = (function(x + h) - function(x - h)) / (2 * h)
        error = np.abs(difference - derivative(x))
        assert (error < 1e-9 * np.maximum(1, np.abs(derivative(x)))).all()


@DTYPES
@ELEMENTWISE
def test_slope_from_y(name, dtype):
    activation, x = nncore.activations[name], sample(np.dtype(dtype))
    x = x[np.abs(x) < (80 if name == "exponential" else 1e15)]
    if activation.keeps == "x":
        with pytest.raises(ValueError, match=f"the slope of {name} is computed from x: use df"):
            activation.df_from_y(x)
        return
    largest = wide(dtype).type({"sigmoid": 0.25, "selu": 2}.get(name, 1))
    if name == "exponential":
        largest = exact(np.exp, x)
    got = activation.df_from_y(activation.f(x))
    if name == "identity":
        assert (got == 1).all()
        return
    assert_close(got, exact(TRUE_DF[name], x), 2 * ulp(largest, dtype))


@DTYPES
@ELEMENTWISE
def test_kinks_are_where_the_slope_jumps(name, dtype):
    activation, x = nncore.activations[name], np.arange(-8, 8.25, 0.25, dtype)
    before = activation.df(np.nextafter(x, dtype(-np.inf)))
    after = activation.df(np.nextafter(x, dtype(np.inf)))
    jumps = np.abs(after - before) > 1e-5 * np.maximum(1, np.abs(after))
    assert x[jumps].tolist() == sorted(activation.kinks)
    for x, slope in activation.kinks.items():
        for at in (x, -0.0) if x == 0 else (x,):
            assert activation.df(dtype(at)) == dtype(slope)
        if activation.keeps == "y":
            assert activation.df_from_y(activation.f(dtype(x))) == dtype(slope)


@ELEMENTWISE
def test_shapes_and_types(name):
    activation = nncore.activations[name]
    x = np.random.default_rng(0).standard_normal((3, 5, 7))
    for function in (activation.f, activation, activation.df, activation.d2f):
        whole = function(x)
        assert whole.shape == x.shape and whole.dtype == np.float64
        assert_same_bits(function(x[:, ::2, ::-1]), whole[:, ::2, ::-1].copy())
        assert_same_bits(function(np.asfortranarray(x)), whole)
        assert function(x.astype(np.float32)).dtype == np.float32
        assert function(x[0].tolist()).tolist() == whole[0].tolist()
        one = function(float(x[0, 0, 0]))
        assert isinstance(one, np.float64) and one == whole[0, 0, 0]
        assert function(np.float32(0.5)).dtype == np.float32
        assert function(3).dtype == np.float64 and function(np.int8(3)) == function(3.0)
        assert function(np.ones(3, np.float16)).dtype == np.float64
        assert function([]).shape == (0,) and function(np.ones((0, 4))).shape == (0, 4)
        for wrong in ("0.5", [1j], np.ones(2, np.longdouble), None):
            with pytest.raises(TypeError, match="expected real numbers up to float64, got"):
                function(wrong)


@ELEMENTWISE
def test_arguments_are_only_read(name):
    activation, x = nncore.activations[name], np.linspace(-1, 1, 9)
    x.flags.writeable = False
    before = x.tobytes()
    for function in (activation.f, activation.df, activation.d2f):
        function(x)
    assert x.tobytes() == before


def test_a_layer_computes_what_the_activation_does():
    x = np.random.default_rng(1).standard_normal((40, 3))
    for name, activation in nncore.activations.items():
        net = nncore.Network(3, nncore.Dense(3, activation, init=np.eye(3)), dtype="float64")
        assert net.layers[0].activation == name
        assert_same_bits(net.predict(x), activation.f(x))


# --- softmax ----------------------------------------------------------------------------------


@DTYPES
def test_softmax_jacobian(dtype):
    softmax = nncore.activations["softmax"]
    x = (4 * np.random.default_rng(2).standard_normal((3, 2, 5))).astype(dtype)
    x[0, 0] = [30 if dtype == np.float32 else 60, 0, -3, 1, 2]  # y_0 rounds to 1, 1 - y_0 to 0
    y, jacobian = softmax.f(x), softmax.df(x)
    e = np.exp(x.astype(wide(dtype)) - x.max(axis=-1, keepdims=True))
    s = e / e.sum(axis=-1, keepdims=True)
    want = -s[..., :, None] * s[..., None, :]
    others = s.sum(axis=-1, keepdims=True) - s
    others[0, 0, 0] = s[0, 0, 1:].sum()
    want[..., range(5), range(5)] = s * others
    assert y.dtype == jacobian.dtype == dtype
    assert jacobian.shape == (3, 2, 5, 5)
    assert np.abs(jacobian / want - 1).max() < 30 * np.finfo(dtype).eps
    assert_same_bits(softmax.df_from_y(y), jacobian)


@DTYPES
def test_log_softmax(dtype):
    log_softmax, softmax = nncore.activations["log_softmax"], nncore.activations["softmax"]
    for n in (2, 5, 70):
        x = (8 * np.random.default_rng(n).standard_normal((9, n))).astype(dtype)
        x[0, 0] = 300  # the other probabilities are 0 in float32
        w = x.astype(wide(dtype))
        w -= w.max(axis=-1, keepdims=True)
        want = w - np.log(np.exp(w).sum(axis=-1, keepdims=True))
        y = log_softmax.f(x)
        assert y.dtype == dtype and np.isfinite(y).all()
        assert (np.abs(y - want) <= 3 * np.finfo(dtype).eps * (4 + np.abs(want))).all()
        for row in (0, 4, 8):
            assert_same_bits(log_softmax.f(x[row]), y[row])
        p, jacobian = softmax.f(x), log_softmax.df(x)
        others = np.eye(n) * (1 - p.astype(float))[..., None] - (1 - np.eye(n)) * p[..., None, :]
        assert jacobian.shape == (9, n, n) and jacobian.dtype == dtype
        assert np.abs(jacobian - others).max() < 300 * np.finfo(dtype).eps
        assert np.abs(jacobian.sum(axis=-1)).max() < 8 * np.finfo(dtype).eps


def test_jacobian_of_log_softmax_is_the_difference():
    log_softmax, h = nncore.activations["log_softmax"], 1e-5
    x = np.random.default_rng(6).standard_normal(5)
    steps = h * np.eye(5)
    differences = (log_softmax.f(x + steps) - log_softmax.f(x - steps)).T / (2 * h)
    assert np.abs(log_softmax.df(x) - differences).max() < 1e-9


@pytest.mark.parametrize("name", names.WHOLE_ROW)
def test_softmax_of_what_is_no_row(name):
    softmax = nncore.activations[name]
    for wrong in (1.0, np.ones((3, 0))):
        with pytest.raises(ValueError, match="softmax takes rows of at least one number"):
            softmax.f(wrong)
    assert softmax.f(np.ones((0, 3))).shape == (0, 3)
    with pytest.raises(ValueError, match="has no d2f"):
        softmax.d2f([1.0, 2.0])
    with pytest.raises(ValueError, match="no curve to plot"):
        softmax.plot()


# --- Names --------------------------------------------------------------------------------------


def test_all_activations_are_there():
    assert list(nncore.activations) == list(names.ACTIVATIONS)
    assert len(nncore.activations) >= 7
    for name, activation in nncore.activations.items():
        assert activation.name == name
        assert activation.formula and activation.df_formula and activation.latex
        assert name in repr(activation)
        assert activation.formula in repr(activation)
        assert activation._repr_latex_().startswith("$f(x) = ")


def test_aliases():
    aliases = {alias for each in nncore.activations.values() for alias in each.aliases}
    assert aliases == set(names.ACTIVATION_ALIASES)
    for alias in aliases:
        found = nncore.activations[alias]
        assert alias in nncore.activations and alias in found.aliases
        assert nncore.Dense(2, alias).activation == found.name
    assert "nonsense" not in nncore.activations
    with pytest.raises(ValueError, match='Unknown activation "?\'Tanh\'.*Did you mean "tanh"'):
        nncore.activations["Tanh"]


def value_of(text, scope):
    """The value of a formula as `Activation` writes it: "a b, a = ..., b = ..."."""
    text, *definitions = re.split(r", (?=\w = )", text)
    for definition in reversed(definitions):
        name, meaning = definition.split(" = ", 1)
        scope = scope | {name: value_of(meaning, scope)}
    text = re.sub(r"(.+) if (.+) else (.+)", r"where(\2, \1, \3)", text)
    text = re.sub(r"(-?\d) < x < (\d)", r"(x>\1)&(x<\2)", text)
    text = re.sub(r"\|([^|]+)\|", r"abs(\1)", text).replace("f'(x)", "slope").replace("^", "**")
    text = text.replace("max(", "maximum(").replace("min(", "minimum(")
    code = re.sub(r"(?<=[\w.)]) +(?=[\w.(])", " * ", text)  # 2 y (1 - y)
    return eval(code.replace(" * > * ", ">"), {}, scope)


NAMES = "exp log tanh sin cos sqrt sign where maximum minimum abs".split()
FUNCTIONS = {name: getattr(np, name) for name in NAMES}
FUNCTIONS |= {"erf": np.vectorize(math.erf), "pi": np.pi}


def assert_formulas_are_right(activation):
    x = np.linspace(-3.003, 3.001, 61)
    scope = FUNCTIONS | {"x": x, "y": activation.f(x), "slope": activation.df(x)}
    texts = activation.formula, activation.df_formula, activation.d2f_formula
    for text, function in zip(texts, (activation.f, activation.df, activation.d2f), strict=True):
        # As written, formulas cancel: some roundings of terms of about 1, whatever is left of them.
        error = np.abs(value_of(text, scope) - function(x))
        bound = 16 * np.finfo(float).eps * np.maximum(1, np.abs(function(x)))
        assert (error <= bound * max(1, *activation.parameters.values(), 1) ** 2).all(), text


@ELEMENTWISE
def test_formulas_say_what_is_computed(name):
    """The text of f, f' and f'' is evaluated: a formula in a docstring can be wrong."""
    assert_formulas_are_right(nncore.activations[name])


def test_copies_and_pickles_are_the_same_object():
    for activation in nncore.activations.values():
        assert pickle.loads(pickle.dumps(activation)) is activation
        assert copy.deepcopy(activation) is activation
    nncore.activations["relu"].kinks.clear()
    assert nncore.activations["relu"].kinks == {0.0: 0.0}


# --- Plots --------------------------------------------------------------------------------------


def test_plot_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "nncore-c\[plot\]"'):
        nncore.activations["tanh"].plot()


class Axes(MagicMock):
    """Takes note of what is drawn; the engine's tests need no matplotlib."""

    def __init__(self):
        super().__init__()
        self.curves, self.points = {}, []

    def _get_child_mock(self, **options):
        return MagicMock(**options)

    def plot(self, x, y, style, color=None, label=None):
        if style == "o":
            self.points += zip(x, y, strict=True)
        else:
            self.curves.setdefault(style, []).append((x, y))
        return [self]

    def set_title(self, title, **_):
        self.title = title


@ELEMENTWISE
def test_plot(name):
    activation, ax = nncore.activations[name], Axes()
    assert activation.plot(-4, 7, second=True, ax=ax) is ax
    assert set(ax.curves) == {"-", "--", ":"}
    for style, function in (("-", activation.f), ("--", activation.df), (":", activation.d2f)):
        parts = ax.curves[style]
        assert len(parts) == 1 + len(activation.kinks)
        assert parts[0][0][0] < -3.99 and parts[-1][0][-1] > 6.99
        for x, y in parts:
            assert_same_bits(y, function(x))
    assert ax.points == sorted(activation.kinks.items())
    assert ax.title.startswith(f"{name}: ")
    assert set(plotted(activation)) == {"-", "--", ":"}
    assert set(plotted(activation, second=False)) == {"-", "--"}


def plotted(activation, **options):
    ax = Axes()
    activation.plot(ax=ax, **options)
    return ax.curves


@pytest.mark.parametrize("span", [(1, 1), (2, 1), (0, np.inf), (np.nan, 1)])
def test_plot_of_nothing(span):
    with pytest.raises(ValueError, match="expected low < high, both within"):
        nncore.activations["tanh"].plot(*span, ax=Axes())
