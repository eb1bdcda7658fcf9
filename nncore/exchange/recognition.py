"""Which activations and layers elementwise operators of ONNX are.

Exporters write activations in many ways, so an expression is not compared with patterns: it is
computed at many points and compared with each activation of nncore; parameters are looked for
among the numbers in it. What is not the same within `TOLERANCE` at all points is not recognised.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import names
from ..activation import Activation
from ..files import FileFormatError
from ..layers import LayerNorm
from .links import Block, Columns, Curve, Link, Made, checked, norm, prelu

TOLERANCE = 1e-6
MOST_NODES = 64  # of one expression
MOST_NUMBERS = 12
MOST_COLUMNS = 1 << 16  # where all columns are looked at

_erf: Any = np.frompyfunc(math.erf, 1, 1)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _elu(x: Any, *, alpha: float = 1.0) -> Any:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _gelu(x: Any, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return x * _sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3))
    return x / 2 * (1 + OPERATORS["Erf"](x / math.sqrt(2)))


# Operators of one number, with the defaults of their attributes. Bool and RowMean are Cast and
# ReduceMean.
OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": np.absolute,
    "Add": np.add,
    "Bool": lambda x: x != 0,
    "Celu": lambda x, *, alpha=1.0: _elu(x / alpha) * alpha,
    "Clip": lambda x, min=-np.inf, max=np.inf: np.clip(x, min, max),
    "Div": np.divide,
    "Elu": _elu,
    "Erf": lambda x: _erf(x).astype(np.float64),
    "Exp": np.exp,
    "Gelu": _gelu,
    "Greater": np.greater,
    "HardSigmoid": lambda x, *, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda x, *, alpha=0.01: np.where(x < 0, alpha * x, x),
    "Less": np.less,
    "Log": np.log,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Or": np.logical_or,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, 0),
    "RowMean": lambda x: np.mean(x, axis=-1, keepdims=True),
    "Selu": lambda x, *, alpha=1.6732631921768188, gamma=1.0507010221481323: (
        gamma * _elu(x, alpha=alpha)
    ),
    "Sigmoid": _sigmoid,
    "Sin": np.sin,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "Where": lambda condition, x, y: np.where(condition, x, y),
}


class Expression:
    """An operator with its arguments: expressions, and arrays of no or one dimension."""

    def __init__(self, op: str, arguments: list[Any], attributes: dict[str, Any], what: str):
        self.op, self.arguments, self.attributes, self.what = op, arguments, attributes, what

    def inner(self) -> "list[Expression]":
        return [each for each in self.arguments if isinstance(each, Expression)]


def steps(e: Expression, start: Expression, width: int | None) -> list[Link]:
    """Return the links that compute `e`, given `start`, of this many columns if that is known."""
    if e is start:
        return []
    inner = _between(e, start)
    for first in (start, *inner[:-1]):
        if _is_of(e, first, start) and (link := _recognise(e, first, width)):
            return [*steps(first, start, width), link]
    if columns := _columns(e):
        return [*steps(e.inner()[0], start, width), columns]
    if e.op == "Add" and len(e.inner()) == 2:
        for skipped, block in itertools.permutations(e.arguments):
            if block is not skipped and _is_of(block, skipped, start):
                added = Block(e.what, steps(block, skipped, width))
                return [*steps(skipped, start, width), added]
    shown = " of ".join(each.op for each in reversed(inner[-6:]))
    raise FileFormatError(f"{e.what}: {shown} is no activation of nncore and no map of columns")


def _between(e: Expression, start: Expression) -> list[Expression]:
    """The expressions in `e`, those before that take them, without `start`."""
    found: dict[int, Expression] = {}
    stack = [e]
    while stack:
        each = stack[-1]
        missing = [a for a in each.inner() if a is not start and id(a) not in found]
        stack += missing
        if not missing:
            found[id(stack.pop())] = each
        if len(found) > MOST_NODES or len(stack) > MOST_NODES**2:
            raise FileFormatError(f"{e.what} is of more than {MOST_NODES} elementwise operators")
    return list(found.values())


def _is_of(e: Expression, first: Expression, start: Expression) -> bool:
    """Whether `e` is a function of `first` alone."""
    return first is start or all(each is not start for each in _between(e, first))


def _recognise(e: Expression, first: Expression, width: int | None) -> Link | None:
    """The link that computes `e` from `first`, or None."""
    inner = _between(e, first)
    given = [a for each in inner for a in (*each.arguments, *each.attributes.values())]
    given = [a for a in given if not isinstance(a, (Expression, str))]
    vectors = any(np.ndim(a) for a in given)
    rows = any(each.op == "RowMean" for each in inner)
    n = width or 0
    if (rows or vectors) and not (0 < n <= MOST_COLUMNS and len(inner) <= 16):
        return None
    # Numbers in it, and what they may be parameters as.
    decimals = [_decimal(a) for a in given if np.ndim(a) == 0 and np.isfinite(a)]
    parts = dict.fromkeys(b for a in decimals for b in (a, abs(a), 2 * a))
    numbers = list(parts)[:MOST_NUMBERS]
    x = _points(numbers)
    if rows:
        x = np.random.default_rng(0).normal(0.5, 2, (6, n))
    elif vectors:
        x = np.repeat(np.linspace(-7, 7, 15)[:, None], n, axis=1)
    with np.errstate(all="ignore"):
        y: dict[int, Any] = {id(first): x}
        for each in inner:
            inputs = [y[id(a)] if isinstance(a, Expression) else a for a in each.arguments]
            y[id(each)] = checked(each.what, OPERATORS[each.op], *inputs, **each.attributes)
        values = np.broadcast_to(np.asarray(y[id(e)], np.float64), x.shape)
        if rows:
            return _layer_norm(e.what, x, values, numbers)
        return (None if vectors else _curve(e.what, x, values, numbers)) or _slopes(
            e.what, x, values, vectors
        )


def _decimal(number: Any) -> float:
    """A float64; of a float32 number that with the fewest digits."""
    number = np.asarray(number)[()]
    return float(str(number) if isinstance(number, np.float32) else number)


def _points(numbers: list[float]) -> np.ndarray:
    """Points of all sizes, also beside each number, as a column."""
    sizes = np.concatenate([np.linspace(0, 12, 61), [1e-4, 1e-2, 15, 20, 50, 1e3, 1e6]])
    beside = np.outer(numbers, [-1.001, -0.999, 0.999, 1.001]).reshape(-1)
    return np.concatenate([sizes, -sizes, beside])[:, None]


def _same(y: np.ndarray, right: np.ndarray) -> bool:
    """Whether y is that, where it is finite: what overflows on the way is no other function."""
    judged = np.isfinite(y)
    close = np.abs(y - right) <= TOLERANCE * (1 + np.abs(right))
    return bool(judged.mean() > 0.6 and close[judged].all())


def _curve(what: str, x: np.ndarray, y: np.ndarray, numbers: list[float]) -> Curve | None:
    """The activation, with parameters among the numbers; a gain is in the weights before it."""
    for name, row in names.ACTIVATIONS.items():
        asked = [p for p in row["parameters"] if p != "gain"]
        choices = itertools.product(numbers, repeat=len(asked)) if asked else ()
        for values in ((), *choices) if name not in names.WHOLE_ROW else ():
            try:
                f = Activation(name, **dict(zip(asked, values, strict=False)))
            except ValueError:
                continue
            if _same(y, f.f(x)):
                return Curve(what, f)
    return None


def _slopes(what: str, x: np.ndarray, y: np.ndarray, vectors: bool) -> Made | None:
    """The PReLU of a function with two slopes, of each column or of all, or None."""
    slope = -y[np.flatnonzero(x[:, 0] == -1)[0]]
    if (
        not np.isfinite(slope).all()
        or (slope == 1).all()
        or not _same(y, np.where(x > 0, x, slope * x))
    ):
        return None
    return prelu(what, slope, trainable=vectors)


def _layer_norm(what: str, x: np.ndarray, y: np.ndarray, numbers: list[float]) -> Made | None:
    d, n = x - x.mean(axis=1, keepdims=True), x.shape[1]
    for eps in numbers:
        if eps > 0 and _same(y, d / np.sqrt((d * d).mean(axis=1, keepdims=True) + eps)):
            return norm(what, LayerNorm, n, (np.ones(n, np.float32), None), eps=eps)
    return None


def _columns(e: Expression) -> Columns | None:
    """The link of what scales or shifts by constants, or None."""
    if len(e.inner()) != 1 or e.op not in ("Add", "Sub", "Mul", "Div", "Neg"):
        return None
    what, left = e.what, isinstance(e.arguments[0], Expression)
    constant = np.asarray(-1.0 if e.op == "Neg" else e.arguments[left], np.float64)
    if e.op == "Add" or (e.op == "Sub" and left):
        return Columns(what, constant, 1.0, e.op == "Add")
    if e.op == "Sub":
        return Columns(what, constant, -1.0, True)
    return None if e.op == "Div" and not left else Columns(what, 0.0, constant, e.op != "Div")
