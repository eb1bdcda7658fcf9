"""Activations and their derivatives in NumPy."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray | Any  # many functions of NumPy's return Any
Out = np.ndarray | None

# All keep the dtype, are accurate in the tails, and map NaN to NaN and infinities to limits.


class Activation(NamedTuple):
    """A function y = f(x), its derivative, and the step back through it in training.

    f(x, out=None, scratch=None)  y; `out` may be x itself, `scratch` is overwritten
    df(x)       dy/dx, derived on its own from x, to check others by; None for softmax
    keeps       what `backward` needs: "X" the pre-activation, "Y" the output, "NONE" nothing
    backward(kept, delta)  delta *= dy/dx; also overwrites `kept`, which nobody needs any more
    parameters  their names and defaults: all three functions take them as keywords

    Examples
    --------
    >>> sigmoid = ACTIVATIONS["sigmoid"].with_parameters((2.0,))  # gain
    >>> float(sigmoid.df(np.zeros(1))[0]), float(sigmoid.slope(np.array([0.5]))[0])
    (0.5, 0.5)
    """

    f: Callable[..., Array]
    df: Callable[..., Array] | None
    keeps: str
    backward: Callable[..., None]
    parameters: dict[str, float] = {}

    def with_parameters(self, values: tuple[float, ...]) -> "Activation":
        """Return the activation with these values of its parameters, given in their order."""
        chosen = dict(zip(self.parameters, values, strict=True))
        if chosen == self.parameters:
            return self
        return self._replace(
            f=partial(self.f, **chosen),
            df=self.df and partial(self.df, **chosen),
            backward=partial(self.backward, **chosen),
            parameters=chosen,
        )

    def slope(self, kept: Array) -> Array:
        """Return dy/dx from what is kept, as training computes it, leaving `kept` unchanged."""
        ones = np.ones_like(kept)
        self.backward(kept.copy(), ones)
        return ones


def identity(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = x"""
    return np.positive(x, out=out)


def relu(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = max(x, 0); the slope at 0 is 0"""
    return np.maximum(x, 0, out=out)


def _relu_backward(y: Array, delta: Array) -> None:  # 1 where y > 0, else 0
    # np.sign and masked assignment branch on every element, and on real data guess badly: 5 times
    # slower than this comparison.
    np.greater(y, 0, out=y)
    delta *= y


def _times(x: Array, gain: float, out: Out = None) -> Array:
    """gain x, or x itself where the gain is 1."""
    return x if gain == 1 else np.multiply(x, gain, out=out)


def sigmoid(x: Array, out: Out = None, scratch: Out = None, gain: float = 1) -> Array:
    """y = 1 / (1 + exp(-gain x)), computed as e / (1 + e) with e = exp(gain x).

    So the smallest y keep their relative accuracy. From x = 40 on the quotient rounds to 1, so x
    is cut there and exp cannot overflow.
    """
    e = np.exp(np.minimum(_times(x, gain, out), 40, out=out), out=out)
    return np.divide(e, np.add(e, 1, out=scratch), out=out)


def _sigmoid_slope(x: Array, gain: float = 1) -> Array:
    e = np.exp(-np.abs(_times(x, gain)))
    return _times(e / np.square(1 + e), gain)


def _sigmoid_backward(y: Array, delta: Array, gain: float = 1) -> None:  # gain y (1 - y)
    delta *= y
    np.subtract(1, y, out=y)
    delta *= y
    _times(delta, gain, delta)


def tanh(x: Array, out: Out = None, scratch: Out = None, gain: float = 1) -> Array:
    """y = tanh(gain x)"""
    return np.tanh(_times(x, gain, out), out=out)


def _tanh_slope(x: Array, gain: float = 1) -> Array:
    # 1 / cosh(x)^2, without the overflow of cosh and what 1 - y^2 loses
    e = np.square(np.exp(-np.abs(_times(x, gain))))
    return _times(4 * e / np.square(1 + e), gain)


def _tanh_backward(y: Array, delta: Array, gain: float = 1) -> None:  # gain (1 - y^2)
    y *= y
    np.subtract(1, y, out=y)
    delta *= y
    _times(delta, gain, delta)


def softplus(x: Array, out: Out = None, scratch: Out = None, beta: float = 1) -> Array:
    """y = log(1 + exp(beta x)) / beta, with log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))"""
    x = _times(x, beta, out)
    tail = np.log1p(exp_minus_abs(x, scratch), out=scratch)
    return _times(np.add(np.maximum(x, 0, out=out), tail, out=out), 1 / beta, out)


def exp_minus_abs(x: Array, out: Out) -> Array:
    return np.exp(np.negative(np.abs(x, out=out), out=out), out=out)


def _softplus_backward(y: Array, delta: Array, beta: float = 1) -> None:  # 1 - exp(-beta y)
    np.negative(_times(y, beta, y), out=y)
    np.expm1(y, out=y)
    delta *= y
    np.negative(delta, out=delta)


def softsign(x: Array, out: Out = None, scratch: Out = None, gain: float = 1) -> Array:
    """y = gain x / (1 + |gain x|); from 1e20 on that rounds to 1, and the cut avoids inf / inf"""
    x = np.clip(_times(x, gain, scratch), -1e20, 1e20, out=scratch)
    return np.divide(x, np.add(np.abs(x, out=out), 1, out=out), out=out)


def _softsign_slope(x: Array, gain: float = 1) -> Array:
    return _times(np.square(1 / (1 + np.abs(_times(x, gain)))), gain)


def _softsign_backward(x: Array, delta: Array, gain: float = 1) -> None:
    # gain / (1 + |gain x|)^2, divided twice since the square can overflow
    np.abs(_times(x, gain, x), out=x)
    x += 1
    delta /= x
    delta /= x
    _times(delta, gain, delta)


def leaky_relu(x: Array, out: Out = None, scratch: Out = None, slope: float = 0.01) -> Array:
    """y = x where x > 0, else slope x; the slope at 0 is that on the left"""
    larger = np.maximum if slope <= 1 else np.minimum
    return larger(x, np.multiply(x, slope, out=scratch), out=out)


def _leaky_relu_slope(x: Array, slope: float = 0.01) -> Array:
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(slope))


def _leaky_relu_backward(y: Array, delta: Array, slope: float = 0.01) -> None:
    delta *= _leaky_relu_slope(y, slope)


def elu(x: Array, out: Out = None, scratch: Out = None, alpha: float = 1) -> Array:
    """y = x where x > 0, else alpha (exp(x) - 1)"""
    tail = _times(np.expm1(np.minimum(x, 0, out=scratch), out=scratch), alpha, scratch)
    return np.add(np.maximum(x, 0, out=out), tail, out=out)


def _elu_slope(x: Array, alpha: float = 1) -> Array:
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(alpha) * np.exp(np.minimum(x, 0)))


def _elu_backward(y: Array, delta: Array, alpha: float = 1) -> None:
    # 1 where y > 0, else y + alpha
    delta *= np.where(y > 0, y.dtype.type(1), y + y.dtype.type(alpha))


def hardtanh(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = min(max(x, -1), 1); the slope at -1 and 1 is 0"""
    return np.clip(x, -1, 1, out=out)


def _hardtanh_backward(y: Array, delta: Array) -> None:
    delta *= np.abs(y, out=y) < 1


def relu6(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = min(max(x, 0), 6); the slope at 0 and 6 is 0"""
    return np.clip(x, 0, 6, out=out)


def _relu6_backward(y: Array, delta: Array) -> None:
    delta *= (y > 0) & (y < 6)


def hard_sigmoid(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = min(max((x + 3) / 6, 0), 1); the slope at -3 and 3 is 0"""
    y = np.add(x, 3, out=out)
    y = np.divide(y, 6, out=out)
    return np.clip(y, 0, 1, out=out)


def _hard_sigmoid_backward(x: Array, delta: Array) -> None:
    delta *= np.abs(x, out=x) < 3
    delta /= 6


def elliot(x: Array, out: Out = None, scratch: Out = None, gain: float = 1) -> Array:
    """y = (z / (1 + |z|) + 1) / 2, z = gain x: h for z < 0, else 1 - h, h = 1 / (2 (1 + |z|))"""
    x = _times(x, gain, out)
    h = np.divide(0.5, np.add(np.abs(x, out=scratch), 1, out=scratch), out=scratch)
    y = np.where(x < 0, h, 1 - h)
    return np.positive(y, out=out)


def _elliot_slope(x: Array, gain: float = 1) -> Array:  # half that of softsign
    return _softsign_slope(x, gain) / 2


def _elliot_backward(x: Array, delta: Array, gain: float = 1) -> None:
    _softsign_backward(x, delta, gain)
    delta *= 0.5


def log_sigmoid(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = log(sigmoid(x)) = min(x, 0) - log1p(exp(-|x|))"""
    tail = np.log1p(exp_minus_abs(x, scratch), out=scratch)
    return np.subtract(np.minimum(x, 0, out=out), tail, out=out)


def _log_sigmoid_backward(y: Array, delta: Array) -> None:  # 1 - exp(y)
    np.expm1(y, out=y)
    delta *= y
    np.negative(delta, out=delta)


def silu(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = x sigmoid(x); x is cut at -1e4, where y is 0, so -inf gives its limit"""
    s = sigmoid(x)
    return np.multiply(np.maximum(x, -1e4, out=out), s, out=out)


def _silu_slope(x: Array) -> Array:
    # s + x s (1 - s), on each side of 0 without cancellation of 1 - s
    s, other = sigmoid(x), sigmoid(-x)
    return s * (1 + np.clip(x, -1e4, 1e4) * other)


def _silu_backward(x: Array, delta: Array) -> None:
    delta *= _silu_slope(x)


SELU_SCALE = 1.0507009873554804934193349852946
SELU_LEFT = 1.7580993408473768599402175208123  # SELU_SCALE times alpha, 1.6732632423543772848


def selu(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = 1.0507 x where x > 0, else 1.7581 (exp(x) - 1)"""
    tail = np.expm1(np.minimum(x, 0, out=scratch), out=scratch)
    tail *= SELU_LEFT
    y = np.multiply(np.maximum(x, 0, out=out), SELU_SCALE, out=out)
    return np.add(y, tail, out=out)


def _selu_backward(y: Array, delta: Array) -> None:  # 1.0507 where y > 0, else y + 1.7581
    delta *= np.where(y > 0, y.dtype.type(SELU_SCALE), y + y.dtype.type(SELU_LEFT))


def celu(x: Array, out: Out = None, scratch: Out = None, alpha: float = 1) -> Array:
    """y = x where x > 0, else alpha (exp(x / alpha) - 1)"""
    tail = np.minimum(x, 0, out=scratch)
    tail = np.expm1(_times(tail, 1 / alpha, scratch), out=scratch)
    return np.add(np.maximum(x, 0, out=out), _times(tail, alpha, scratch), out=out)


def _celu_slope(x: Array, alpha: float = 1) -> Array:
    return np.exp(np.minimum(x, 0) / alpha)


def _celu_backward(y: Array, delta: Array, alpha: float = 1) -> None:
    # 1 where y > 0, else y / alpha + 1
    _times(np.minimum(y, 0, out=y), 1 / alpha, y)
    y += 1
    delta *= y


# NumPy has none; this one takes an element at a time
_erfc: Callable[[Array], Array] = np.frompyfunc(math.erfc, 1, 1)


def _normal(x: Array) -> tuple[Array, Array]:
    """The normal distribution, and its density."""
    cut = np.clip(x, -100, 100)
    density = np.exp(-np.square(cut) / 2) / math.sqrt(2 * math.pi)
    return (_erfc(-cut / math.sqrt(2)) / 2).astype(x.dtype), density


def gelu(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = x Phi(x), Phi the normal distribution; x is cut, so -inf gives its limit"""
    return np.multiply(np.maximum(x, -1e4), _normal(x)[0], out=out)


def _gelu_slope(x: Array) -> Array:  # Phi(x) + x phi(x)
    normal, density = _normal(x)
    return normal + np.clip(x, -100, 100) * density


def _gelu_backward(x: Array, delta: Array) -> None:
    delta *= _gelu_slope(x)


GELU_CUBE = 0.044715
GELU_ROOT = math.sqrt(2 / math.pi)


def gelu_tanh(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = x (1 + t) / 2 = x s(2 u), t = tanh(u), u = sqrt(2 / pi) (x + 0.044715 x^3)"""
    cut = np.maximum(x, -100)
    s = sigmoid(2 * GELU_ROOT * np.minimum(cut, 100) * (1 + GELU_CUBE * np.minimum(cut, 100) ** 2))
    return np.multiply(cut, s, out=out)


def _gelu_tanh_slope(x: Array) -> Array:  # with s = s(2 u): s + x 2 u' s (1 - s)
    x = np.clip(x, -100, 100)
    u = GELU_ROOT * x * (1 + GELU_CUBE * x**2)
    rise = GELU_ROOT * (1 + 3 * GELU_CUBE * x**2)
    return sigmoid(2 * u) * (1 + 2 * x * rise * sigmoid(-2 * u))


def _gelu_tanh_backward(x: Array, delta: Array) -> None:
    delta *= _gelu_tanh_slope(x)


def mish(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = x tanh(log(1 + exp(x))); x is cut at -1e4, where y is 0, so -inf gives its limit"""
    t = np.tanh(softplus(x, None, scratch), out=scratch)
    return np.multiply(np.maximum(x, -1e4, out=out), t, out=out)


def _mish_slope(x: Array) -> Array:  # t + x s(x) (1 - t^2), t = tanh(log(1 + exp(x)))
    t = np.tanh(softplus(x))
    return t + np.clip(x, -1e4, 1e4) * sigmoid(x) * (1 - t * t)


def _mish_backward(x: Array, delta: Array) -> None:
    delta *= _mish_slope(x)


def hard_swish(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = x min(max(x + 3, 0), 6) / 6; the slope at -3 is 0, at 3 it is 1"""
    ramp = np.clip(np.add(x, 3, out=scratch), 0, 6, out=scratch)
    ramp /= 6
    return np.multiply(np.maximum(x, -4, out=out), ramp, out=out)


def _hard_swish_slope(x: Array) -> Array:
    inside = (2 * np.clip(x, -3, 3) + 3) / 6
    return np.where(np.abs(x) < 3, inside, (x > 0).astype(x.dtype))


def _hard_swish_backward(x: Array, delta: Array) -> None:
    delta *= _hard_swish_slope(x)


def tanhshrink(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = x - tanh(x), which near 0 has only the digits that the difference leaves"""
    return np.subtract(x, np.tanh(x, out=scratch), out=out)


def _tanhshrink_slope(x: Array) -> Array:
    return np.square(np.tanh(x))


def _tanhshrink_backward(x: Array, delta: Array) -> None:
    delta *= np.square(np.tanh(x, out=x), out=x)


def hard_shrink(x: Array, out: Out = None, scratch: Out = None, width: float = 0.5) -> Array:
    """y = x where |x| > width, else 0; the slope at the ends is 0"""
    return np.multiply(x, np.abs(x, out=scratch) > width, out=out)


def softshrink(x: Array, out: Out = None, scratch: Out = None, width: float = 0.5) -> Array:
    """y = x - width where x > width, x + width where x < -width, else 0"""
    return np.subtract(x, np.clip(x, -width, width, out=scratch), out=out)


def _shrink_slope(x: Array, width: float = 0.5) -> Array:
    return (np.abs(x) > x.dtype.type(width)).astype(x.dtype)


def _shrink_backward(y: Array, delta: Array, width: float = 0.5) -> None:  # of both
    delta *= y != 0


def threshold(
    x: Array, out: Out = None, scratch: Out = None, threshold: float = 1, value: float = 0
) -> Array:
    """y = x where x > threshold, else value"""
    return np.positive(np.where(x <= x.dtype.type(threshold), x.dtype.type(value), x), out=out)


def _threshold_slope(x: Array, threshold: float = 1, value: float = 0) -> Array:
    return (x > x.dtype.type(threshold)).astype(x.dtype)


def _threshold_backward(x: Array, delta: Array, threshold: float = 1, value: float = 0) -> None:
    delta *= x > x.dtype.type(threshold)


def _half_root(x: Array, b: float) -> Array:  # half of |x| + sqrt(x^2 + b)
    size = np.abs(x)
    return size / 2 + np.hypot(size, x.dtype.type(math.sqrt(b))) / 2


def squareplus(x: Array, out: Out = None, scratch: Out = None, b: float = 4) -> Array:
    """y = (x + sqrt(x^2 + b)) / 2, on the left b / 4 over the same of -x, which does not cancel"""
    half = _half_root(x, b)
    return np.positive(np.where(x < 0, b / 4 / half, half), out=out)


def _squareplus_slope(x: Array, b: float = 4) -> Array:  # (1 + x / root) / 2
    half = _half_root(x, b)
    left = b / 4 / half / np.hypot(x, x.dtype.type(math.sqrt(b)))
    return np.where(x < 0, left, 1 - left)


def _squareplus_backward(y: Array, delta: Array, b: float = 4) -> None:  # y^2 / (y^2 + b / 4)
    np.divide(math.sqrt(b) / 2, y, out=y)
    delta /= np.add(np.square(y, out=y), 1, out=y)


def exponential(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = exp(x)"""
    return np.exp(x, out=out)


def _exponential_backward(y: Array, delta: Array) -> None:
    delta *= y


def _turn(x: Array, gain: float) -> Array:
    """gain x, or NaN where its rounding alone is an angle of more than 0.06."""
    x = _times(x, gain)
    return np.where(np.abs(x) < (2.0**20 if x.dtype == np.float32 else 2.0**49), x, np.nan)


def sin(x: Array, out: Out = None, scratch: Out = None, gain: float = 1) -> Array:
    """y = sin(gain x)"""
    return np.sin(_turn(x, gain).astype(x.dtype, copy=False), out=out)


def _sin_slope(x: Array, gain: float = 1) -> Array:
    return _times(np.cos(_turn(x, gain).astype(x.dtype, copy=False)), gain)


def _sin_backward(x: Array, delta: Array, gain: float = 1) -> None:
    delta *= _sin_slope(x, gain)


def gaussian(x: Array, out: Out = None, scratch: Out = None, gain: float = 1) -> Array:
    """y = exp(-(gain x)^2); x is cut where that is 0, so no square overflows"""
    cut = np.clip(_times(x, gain, out), -200, 200, out=out)
    return np.exp(np.negative(np.square(cut, out=out), out=out), out=out)


def _gaussian_slope(x: Array, gain: float = 1) -> Array:  # -2 gain^2 x y
    cut = np.clip(_times(x, gain), -200, 200)
    return _times(-2 * cut * np.exp(-np.square(cut)), gain)


def _gaussian_backward(x: Array, delta: Array, gain: float = 1) -> None:
    delta *= _gaussian_slope(x, gain)


def satlin(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = min(max(x, 0), 1); the slope at 0 and 1 is 0"""
    return np.clip(x, 0, 1, out=out)


def _satlin_backward(y: Array, delta: Array) -> None:
    delta *= (y > 0) & (y < 1)


def tribas(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y = max(1 - |x|, 0); the slope at -1, 0 and 1 is 0"""
    y = np.subtract(1, np.abs(x, out=out), out=out)
    return np.maximum(y, 0, out=out)


def _tribas_slope(x: Array) -> Array:
    return -np.sign(x) * (np.abs(x) < 1)


def _tribas_backward(x: Array, delta: Array) -> None:
    delta *= _tribas_slope(x)


def softmax(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y_j = exp(x_j) / sum_k exp(x_k) over the last axis, after subtracting the largest x"""
    y = np.subtract(x, np.max(x, axis=-1, keepdims=True), out=out)
    y = np.exp(y, out=out)
    return np.divide(y, np.sum(y, axis=-1, keepdims=True), out=out)


def _softmax_backward(y: Array, delta: Array) -> None:
    # the full Jacobian: y_j (delta_j - sum_k delta_k y_k)
    delta -= np.vecdot(delta, y)[:, None]
    delta *= y


def log_softmax(x: Array, out: Out = None, scratch: Out = None) -> Array:
    """y_j = x_j - log(sum_k exp(x_k)) over the last axis, after subtracting the largest x"""
    y = np.subtract(x, np.max(x, axis=-1, keepdims=True), out=out)
    return np.subtract(y, np.log(np.sum(np.exp(y), axis=-1, keepdims=True)), out=out)


def _log_softmax_backward(y: Array, delta: Array) -> None:
    # the full Jacobian: delta_j - exp(y_j) sum_k delta_k
    np.exp(y, out=y)
    y *= np.sum(delta, axis=-1, keepdims=True)
    delta -= y


ACTIVATIONS = {
    "identity": Activation(identity, np.ones_like, "NONE", lambda kept, delta: None),
    "relu": Activation(relu, lambda x: np.heaviside(x, 0), "Y", _relu_backward),
    "sigmoid": Activation(sigmoid, _sigmoid_slope, "Y", _sigmoid_backward, {"gain": 1}),
    "tanh": Activation(tanh, _tanh_slope, "Y", _tanh_backward, {"gain": 1}),
    "softplus": Activation(
        softplus, lambda x, beta=1: sigmoid(x, gain=beta), "Y", _softplus_backward, {"beta": 1}
    ),
    "softsign": Activation(softsign, _softsign_slope, "X", _softsign_backward, {"gain": 1}),
    "leaky_relu": Activation(
        leaky_relu, _leaky_relu_slope, "Y", _leaky_relu_backward, {"slope": 0.01}
    ),
    "elu": Activation(elu, _elu_slope, "Y", _elu_backward, {"alpha": 1}),
    "hardtanh": Activation(
        hardtanh, lambda x: (np.abs(x) < 1).astype(x.dtype), "Y", _hardtanh_backward
    ),
    "relu6": Activation(relu6, lambda x: ((x > 0) & (x < 6)).astype(x.dtype), "Y", _relu6_backward),
    "hard_sigmoid": Activation(
        hard_sigmoid, lambda x: (np.abs(x) < 3) / x.dtype.type(6), "X", _hard_sigmoid_backward
    ),
    "elliot": Activation(elliot, _elliot_slope, "X", _elliot_backward, {"gain": 1}),
    "log_sigmoid": Activation(log_sigmoid, lambda x: sigmoid(-x), "Y", _log_sigmoid_backward),
    "silu": Activation(silu, _silu_slope, "X", _silu_backward),
    "selu": Activation(
        selu,
        lambda x: np.where(
            x > 0, x.dtype.type(SELU_SCALE), x.dtype.type(SELU_LEFT) * np.exp(np.minimum(x, 0))
        ),
        "Y",
        _selu_backward,
    ),
    "celu": Activation(celu, _celu_slope, "Y", _celu_backward, {"alpha": 1}),
    "gelu": Activation(gelu, _gelu_slope, "X", _gelu_backward),
    "gelu_tanh": Activation(gelu_tanh, _gelu_tanh_slope, "X", _gelu_tanh_backward),
    "mish": Activation(mish, _mish_slope, "X", _mish_backward),
    "hard_swish": Activation(hard_swish, _hard_swish_slope, "X", _hard_swish_backward),
    "tanhshrink": Activation(tanhshrink, _tanhshrink_slope, "X", _tanhshrink_backward),
    "hard_shrink": Activation(hard_shrink, _shrink_slope, "Y", _shrink_backward, {"width": 0.5}),
    "softshrink": Activation(softshrink, _shrink_slope, "Y", _shrink_backward, {"width": 0.5}),
    "threshold": Activation(
        threshold, _threshold_slope, "X", _threshold_backward, {"threshold": 1, "value": 0}
    ),
    "squareplus": Activation(squareplus, _squareplus_slope, "Y", _squareplus_backward, {"b": 4}),
    "exponential": Activation(exponential, np.exp, "Y", _exponential_backward),
    "sin": Activation(sin, _sin_slope, "X", _sin_backward, {"gain": 1}),
    "gaussian": Activation(gaussian, _gaussian_slope, "X", _gaussian_backward, {"gain": 1}),
    "satlin": Activation(
        satlin, lambda x: ((x > 0) & (x < 1)).astype(x.dtype), "Y", _satlin_backward
    ),
    "tribas": Activation(tribas, _tribas_slope, "X", _tribas_backward),
}
SOFTMAX = Activation(softmax, None, "Y", _softmax_backward)
LOG_SOFTMAX = Activation(log_softmax, None, "Y", _log_softmax_backward)
