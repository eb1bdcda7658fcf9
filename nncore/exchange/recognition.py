"""Which activations and layers elementwise operators of ONNX are.

Exporters write activations in many ways: silu is ``x * Sigmoid(x)``, and gelu takes five or six
operators in various orders. So an expression is not compared with patterns: it is computed at many
points and compared with each activation of nncore; parameters are looked for among the numbers in
it. What is not the same within `TOLERANCE` at all of them is not recognised.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import names
from ..activation import Activation
from ..files import FileFormatError
from ..layers import LayerNorm
from .links import Block, Columns, Curve, Link, norm, prelu

TOLERANCE = 1e-6
MOST_NODES = 64  # of one expression
MOST_NUMBERS = 12
MOST_COLUMNS = 1 << 16  # where all columns are looked at

_erf = np.frompyfunc(math.erf, 1, 1)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softplus(x):
    return np.logaddexp(x, 0)


def _elu(x, alpha=1.0):
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)).astype(np.float64))


def _shrink(x, bias=0.0, lambd=0.5):
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))


# Operators of one number, with the defaults of their attributes.
OPERATORS: dict[str, Callable] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Bool": lambda x: x != 0,
    "Celu": lambda x, alpha=1.0: _elu(x / alpha) * alpha,
    "Clip": lambda x, min=-np.inf, max=np.inf: np.clip(x, min, max),
    "Cos": np.cos,
    "Div": np.divide,
    "Elu": _elu,
    "Erf": lambda x: _erf(x).astype(np.float64),
    "Exp": np.exp,
    "Gelu": _gelu,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Log": np.log,
    "Max": np.maximum,
    "Mean": lambda x: np.mean(x, axis=-1, keepdims=True),
    "Min": np.minimum,
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, 0),
    "Selu": lambda x, alpha=1.6732631921768188, gamma=1.0507010221481323: gamma * _elu(x, alpha),
    "Shrink": _shrink,
    "Sigmoid": _sigmoid,
    "Sign": np.sign,
    "Sin": np.sin,
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Swish": lambda x, alpha=1.0: x * _sigmoid(alpha * x),
    "Tanh": np.tanh,
    "ThresholdedRelu": lambda x, alpha=1.0: np.where(x > alpha, x, 0),
    "Where": np.where,
}


_TWO = {"Add", "And", "Div", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min",
        "Mul", "Or", "Pow", "Sub"}  # fmt: skip


def accepts(op: str, n: int, attributes: dict) -> bool:
    """Whether an operator may have n arguments and these attributes."""
    code = getattr(OPERATORS[op], "__code__", None)
    known = code.co_varnames[1 : code.co_argcount] if code else ()
    right = {"Clip": (1, 2, 3), "Where": (3,)}.get(op, (2,) if op in _TWO else (1,))
    texts = all(isinstance(v, str) == (name == "approximate") for name, v in attributes.items())
    return n in right and texts and set(attributes) <= set(known)


class Expression:
    """An operator with its arguments: expressions, and arrays of no or one dimension."""

    __slots__ = ("arguments", "attributes", "op", "what")

    def __init__(self, op: str, arguments: list, attributes: dict, what: str):
        self.op, self.arguments, self.attributes, self.what = op, arguments, attributes, what

    def inner(self) -> list[Expression]:
        return [each for each in self.arguments if isinstance(each, Expression)]


def variable() -> Expression:
    """Return an expression that stands for the output of what was read so far."""
    return Expression("", [], {}, "")


def steps(e: Expression, start: Expression, width: int | None) -> list[Link]:
    """Return the links that compute `e`, given `start`, of this many columns if that is known.

    Raises
    ------
    FileFormatError
        If there are none.
    """
    if e is start:
        return []
    inner = _between(e, start)
    for first in (start, *inner[:-1]):
        if _all_through(e, first, start):
            link = _recognise(e, first, width)
            if link is not None:
                return [*steps(first, start, width), link]
    columns = _as_columns(e)
    if columns is not None:
        return [*steps(columns[0], start, width), columns[1]]
    if e.op == "Add" and len(e.inner()) == 2:
        for skipped, block in itertools.permutations(e.arguments):
            if _all_through(block, skipped, start):
                links = steps(block, skipped, width)
                added = Block(e.what, links) if links else Columns(e.what, 2.0, 0.0)
                return [*steps(skipped, start, width), added]
    shown = " of ".join(each.op for each in reversed(inner[-6:]))
    raise FileFormatError(f"{e.what}: {shown} is no activation of nncore and no map of columns")


def _between(e: Expression, start: Expression) -> list[Expression]:
    """The expressions in `e`, those before that take them, without `start`."""
    found: list[Expression] = []
    seen = {id(start)}
    stack = [(e, False)]
    while stack:
        each, complete = stack.pop()
        if complete:
            found.append(each)
            if len(found) > MOST_NODES:
                raise FileFormatError(
                    f"{e.what} is of more than {MOST_NODES} elementwise operators"
                )
        elif id(each) not in seen:
            seen.add(id(each))
            stack.append((each, True))
            stack += [(inner, False) for inner in each.inner()]
    return found


def _all_through(e, first, start):
    """Whether `e` is a function of `first` alone."""
    return first is start or all(each is not start for each in _between(e, first))


def _numbers(inner: list[Expression]) -> list[float]:
    """Numbers in expressions, and what they may be parameters as."""
    found: dict[float, None] = {}
    for e in inner:
        given = [a for a in (*e.arguments, *e.attributes.values()) if not isinstance(a, Expression)]
        for each in given:
            if not isinstance(each, str) and np.ndim(each) == 0 and np.isfinite(each):
                found |= dict.fromkeys((_short(each), abs(_short(each)), 2 * _short(each)))
    return list(found)[:MOST_NUMBERS]


def _short(number):
    """A float64; of a float32 number that with the fewest digits."""
    number = number[()] if isinstance(number, np.ndarray) else number
    return float(str(number)) if isinstance(number, np.float32) else float(number)


def _value(e: Expression, first: Expression, x: np.ndarray) -> np.ndarray:
    """The value of `e` where `first` is x."""
    known: dict[int, Any] = {id(first): x}
    for each in _between(e, first):
        inputs = [known[id(a)] if isinstance(a, Expression) else a for a in each.arguments]
        known[id(each)] = OPERATORS[each.op](*inputs, **each.attributes)
    return known[id(e)]


def _recognise(e, first, width) -> Link | None:
    """The link that computes `e` from `first`, or None."""
    inner = _between(e, first)
    vectors = any(isinstance(a, np.ndarray) and a.ndim for each in inner for a in each.arguments)
    rows = any(each.op == "Mean" for each in inner)
    numbers = _numbers(inner)
    if (rows or vectors) and (width is None or width > MOST_COLUMNS or len(inner) > 16):
        return None
    x = _points(numbers)
    if rows:
        x = np.random.default_rng(0).normal(0.5, 2, (6, width))
    elif vectors:
        x = np.repeat(np.linspace(-7, 7, 15)[:, None], width, axis=1)
    with np.errstate(all="ignore"):
        y = np.broadcast_to(np.asarray(_value(e, first, x), np.float64), x.shape)
        if rows:
            return _layer_norm(e, x, y, numbers)
        if vectors:
            return _slopes(e, x, y)
        for name, parameters in _candidates(numbers):
            try:
                f = Activation(name, **parameters)
            except ValueError:
                continue
            if _same(y, f.f(x)):
                return Curve(e.what, f)
        return _slopes(e, x, y, shared=True)


def _points(numbers):
    """Points of all sizes, also beside each number, as a column."""
    sizes = np.concatenate([np.linspace(0, 12, 61), [1e-4, 1e-2, 15, 20, 50, 1e3, 1e6]])
    beside = np.outer(numbers, [-1.001, -0.999, 0.999, 1.001]).reshape(-1)
    return np.concatenate([sizes, -sizes, beside])[:, None]


def _candidates(numbers) -> Iterator[tuple[str, dict[str, float]]]:
    """Activations with parameters; what is a gain here is weights before it."""
    for name, row in names.ACTIVATIONS.items():
        if name in names.WHOLE_ROW:
            continue
        asked = [p for p in row["parameters"] if p != "gain"]
        yield name, {}
        for values in itertools.product(numbers, repeat=len(asked)) if asked else ():
            yield name, dict(zip(asked, values, strict=True))


def _same(y, right):
    """Whether y is that, where it is finite: what overflows on the way is no other function."""
    judged = np.isfinite(y)
    close = np.abs(y - right) <= TOLERANCE * (1 + np.abs(right))
    return bool(judged.mean() > 0.6 and close[judged].all())


def _slopes(e, x, y, shared=False):
    """The link of a function with two slopes in each column, or None."""
    slope = -y[np.flatnonzero(x[:, 0] == -1)[0]]
    if not np.isfinite(slope).all() or not _same(y, np.where(x > 0, x, slope * x)):
        return None
    return prelu(e.what, slope[:1] if shared else slope, trainable=not shared)


def _layer_norm(e, x, y, numbers):
    d = x - x.mean(axis=1, keepdims=True)
    for eps in numbers:
        if eps > 0 and _same(y, d / np.sqrt((d * d).mean(axis=1, keepdims=True) + eps)):
            return norm(
                e.what, LayerNorm, x.shape[1], (np.ones(x.shape[1], np.float32), None), eps=eps
            )
    return None


def _as_columns(e):
    """What e scales or shifts by constants, and the link that does; or None."""
    if len(e.inner()) != 1 or e.op not in ("Add", "Sub", "Mul", "Div", "Neg"):
        return None
    (inner,) = e.inner()
    if e.op == "Neg":
        return inner, Columns(e.what, -1.0, 0.0)
    left, right = e.arguments
    constant = np.asarray(right if left is inner else left, np.float64)
    if e.op == "Add":
        return inner, Columns(e.what, 1.0, constant)
    if e.op == "Sub":
        sign = 1.0 if left is inner else -1.0
        return inner, Columns(e.what, sign, -sign * constant)
    if e.op == "Mul":
        return inner, Columns(e.what, constant, 0.0)
    if left is inner and (constant != 0).all():
        return inner, Columns(e.what, 1 / constant, 0.0)
    return None
