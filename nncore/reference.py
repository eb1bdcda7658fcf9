"""The NumPy twin of the C engine: what every operation means, written a second time.

It is there to be read: each formula takes a few lines. The tests hold the C engine against it, so
it shares no code with it, imports only NumPy, and works in float64 as in float32. The benchmarks
race against it, so it is what a careful NumPy user would write: buffers are allocated once, a
training step works in place, and no operation is done that is not needed.

`ACTIVATIONS`, `LOSSES` and `OPTIMIZERS` have the keys of the tables of the C engine, and
`ReferenceEngine` has the methods of its engine, so a network can be driven by either.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from . import reference_steps
from .reference_derivatives import Derivatives

# Rows per block outside of training: memory stays bounded, matrix products stay efficient.
BLOCK = 512

# --- Activations ----------------------------------------------------------------------------------
# All keep the dtype, are accurate in the tails, and map NaN to NaN and infinities to limits.


class Activation(NamedTuple):
    """A function y = f(x), its derivative, and the step back through it in training.

    f(x, out=None, scratch=None)  y; `out` may be x itself, `scratch` is overwritten
    df(x)       dy/dx, derived on its own from x, to check others by; None for softmax
    keeps       what `backward` needs: "X" the pre-activation, "Y" the output, "NONE" nothing
    backward(kept, delta)  delta *= dy/dx; also overwrites `kept`, which nobody needs any more
    parameters  their names and defaults: all three functions take them as keywords
    """

    f: Callable
    df: Callable | None
    keeps: str
    backward: Callable
    parameters: dict[str, float] = {}

    def with_parameters(self, values):
        """Return the activation with these values of its parameters, given in their order."""
        chosen = dict(zip(self.parameters, values, strict=True))
        if chosen == self.parameters:
            return self
        f, df, backward = (partial(each, **chosen) for each in (self.f, self.df, self.backward))
        return self._replace(f=f, df=df, backward=backward, parameters=chosen)

    def slope(self, kept):
        """Return dy/dx from what is kept, as training computes it, leaving `kept` unchanged."""
        ones = np.ones_like(kept)
        self.backward(kept.copy(), ones)
        return ones


def identity(x, out=None, scratch=None):
    """y = x"""
    return np.positive(x, out=out)


def relu(x, out=None, scratch=None):
    """y = max(x, 0); the slope at 0 is 0"""
    return np.maximum(x, 0, out=out)


def _relu_backward(y, delta):  # 1 where y > 0, else 0
    # np.sign and masked assignment branch on every element, and on real data guess badly: 5 times
    # slower than this comparison.
    np.greater(y, 0, out=y)
    delta *= y


def _times(x, gain, out=None):
    """gain x, or x itself where the gain is 1."""
    return x if gain == 1 else np.multiply(x, gain, out=out)


def sigmoid(x, out=None, scratch=None, gain=1):
    """y = 1 / (1 + exp(-gain x)), computed as e / (1 + e) with e = exp(gain x).

    So the smallest y keep their relative accuracy. From x = 40 on the quotient rounds to 1, so x
    is cut there and exp cannot overflow.
    """
    e = np.exp(np.minimum(_times(x, gain, out), 40, out=out), out=out)
    return np.divide(e, np.add(e, 1, out=scratch), out=out)


def _sigmoid_slope(x, gain=1):
    e = np.exp(-np.abs(_times(x, gain)))
    return _times(e / np.square(1 + e), gain)


def _sigmoid_backward(y, delta, gain=1):  # gain y (1 - y)
    delta *= y
    np.subtract(1, y, out=y)
    delta *= y
    _times(delta, gain, delta)


def tanh(x, out=None, scratch=None, gain=1):
    """y = tanh(gain x)"""
    return np.tanh(_times(x, gain, out), out=out)


def _tanh_slope(x, gain=1):  # 1 / cosh(x)^2, without the overflow of cosh and what 1 - y^2 loses
    e = np.square(np.exp(-np.abs(_times(x, gain))))
    return _times(4 * e / np.square(1 + e), gain)


def _tanh_backward(y, delta, gain=1):  # gain (1 - y^2)
    y *= y
    np.subtract(1, y, out=y)
    delta *= y
    _times(delta, gain, delta)


def softplus(x, out=None, scratch=None, beta=1):
    """y = log(1 + exp(beta x)) / beta, with log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))"""
    x = _times(x, beta, out)
    tail = np.log1p(_exp_minus_abs(x, scratch), out=scratch)
    return _times(np.add(np.maximum(x, 0, out=out), tail, out=out), 1 / beta, out)


def _exp_minus_abs(x, out):
    return np.exp(np.negative(np.abs(x, out=out), out=out), out=out)


def _softplus_backward(y, delta, beta=1):  # 1 - exp(-beta y)
    np.negative(_times(y, beta, y), out=y)
    np.expm1(y, out=y)
    delta *= y
    np.negative(delta, out=delta)


def softsign(x, out=None, scratch=None, gain=1):
    """y = gain x / (1 + |gain x|); from 1e20 on that rounds to 1, and the cut avoids inf / inf"""
    x = np.clip(_times(x, gain, scratch), -1e20, 1e20, out=scratch)
    return np.divide(x, np.add(np.abs(x, out=out), 1, out=out), out=out)


def _softsign_slope(x, gain=1):
    return _times(np.square(1 / (1 + np.abs(_times(x, gain)))), gain)


def _softsign_backward(x, delta, gain=1):
    # gain / (1 + |gain x|)^2, divided twice since the square can overflow
    np.abs(_times(x, gain, x), out=x)
    x += 1
    delta /= x
    delta /= x
    _times(delta, gain, delta)


def leaky_relu(x, out=None, scratch=None, slope=0.01):
    """y = x where x > 0, else slope x; the slope at 0 is that on the left"""
    larger = np.maximum if slope <= 1 else np.minimum
    return larger(x, np.multiply(x, slope, out=scratch), out=out)


def _leaky_relu_slope(x, slope=0.01):
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(slope))


def _leaky_relu_backward(y, delta, slope=0.01):
    delta *= _leaky_relu_slope(y, slope)


def elu(x, out=None, scratch=None, alpha=1):
    """y = x where x > 0, else alpha (exp(x) - 1)"""
    tail = _times(np.expm1(np.minimum(x, 0, out=scratch), out=scratch), alpha, scratch)
    return np.add(np.maximum(x, 0, out=out), tail, out=out)


def _elu_slope(x, alpha=1):
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(alpha) * np.exp(np.minimum(x, 0)))


def _elu_backward(y, delta, alpha=1):  # 1 where y > 0, else y + alpha
    delta *= np.where(y > 0, y.dtype.type(1), y + y.dtype.type(alpha))


def hardtanh(x, out=None, scratch=None):
    """y = min(max(x, -1), 1); the slope at -1 and 1 is 0"""
    return np.clip(x, -1, 1, out=out)


def _hardtanh_backward(y, delta):
    delta *= np.abs(y, out=y) < 1


def relu6(x, out=None, scratch=None):
    """y = min(max(x, 0), 6); the slope at 0 and 6 is 0"""
    return np.clip(x, 0, 6, out=out)


def _relu6_backward(y, delta):
    delta *= (y > 0) & (y < 6)


def hard_sigmoid(x, out=None, scratch=None):
    """y = min(max((x + 3) / 6, 0), 1); the slope at -3 and 3 is 0"""
    y = np.add(x, 3, out=out)
    y = np.divide(y, 6, out=out)
    return np.clip(y, 0, 1, out=out)


def _hard_sigmoid_backward(x, delta):
    delta *= np.abs(x, out=x) < 3
    delta /= 6


def elliot(x, out=None, scratch=None, gain=1):
    """y = (z / (1 + |z|) + 1) / 2, z = gain x: h for z < 0, else 1 - h, h = 1 / (2 (1 + |z|))"""
    x = _times(x, gain, out)
    h = np.divide(0.5, np.add(np.abs(x, out=scratch), 1, out=scratch), out=scratch)
    y = np.where(x < 0, h, 1 - h)
    return np.positive(y, out=out)


def _elliot_slope(x, gain=1):  # half that of softsign
    return _softsign_slope(x, gain) / 2


def _elliot_backward(x, delta, gain=1):
    _softsign_backward(x, delta, gain)
    delta *= 0.5


def log_sigmoid(x, out=None, scratch=None):
    """y = log(sigmoid(x)) = min(x, 0) - log1p(exp(-|x|))"""
    tail = np.log1p(_exp_minus_abs(x, scratch), out=scratch)
    return np.subtract(np.minimum(x, 0, out=out), tail, out=out)


def _log_sigmoid_backward(y, delta):  # 1 - exp(y)
    np.expm1(y, out=y)
    delta *= y
    np.negative(delta, out=delta)


def silu(x, out=None, scratch=None):
    """y = x sigmoid(x); x is cut at -1e4, where y is 0, so -inf gives its limit"""
    s = sigmoid(x)
    return np.multiply(np.maximum(x, -1e4, out=out), s, out=out)


def _silu_slope(x):  # s + x s (1 - s), on each side of 0 without cancellation of 1 - s
    s, other = sigmoid(x), sigmoid(-x)
    return s * (1 + np.clip(x, -1e4, 1e4) * other)


def _silu_backward(x, delta):
    delta *= _silu_slope(x)


SELU_SCALE = 1.0507009873554804934193349852946
SELU_LEFT = 1.7580993408473768599402175208123  # SELU_SCALE times alpha, 1.6732632423543772848


def selu(x, out=None, scratch=None):
    """y = 1.0507 x where x > 0, else 1.7581 (exp(x) - 1)"""
    tail = np.expm1(np.minimum(x, 0, out=scratch), out=scratch)
    tail *= SELU_LEFT
    y = np.multiply(np.maximum(x, 0, out=out), SELU_SCALE, out=out)
    return np.add(y, tail, out=out)


def _selu_backward(y, delta):  # 1.0507 where y > 0, else y + 1.7581
    delta *= np.where(y > 0, y.dtype.type(SELU_SCALE), y + y.dtype.type(SELU_LEFT))


def celu(x, out=None, scratch=None, alpha=1):
    """y = x where x > 0, else alpha (exp(x / alpha) - 1)"""
    tail = np.minimum(x, 0, out=scratch)
    tail = np.expm1(_times(tail, 1 / alpha, scratch), out=scratch)
    return np.add(np.maximum(x, 0, out=out), _times(tail, alpha, scratch), out=out)


def _celu_slope(x, alpha=1):
    return np.exp(np.minimum(x, 0) / alpha)


def _celu_backward(y, delta, alpha=1):  # 1 where y > 0, else y / alpha + 1
    _times(np.minimum(y, 0, out=y), 1 / alpha, y)
    y += 1
    delta *= y


_erfc = np.frompyfunc(math.erfc, 1, 1)  # NumPy has none; this one takes an element at a time


def _normal(x):
    """The normal distribution, and its density."""
    cut = np.clip(x, -100, 100)
    density = np.exp(-np.square(cut) / 2) / math.sqrt(2 * math.pi)
    return (_erfc(-cut / math.sqrt(2)) / 2).astype(x.dtype), density


def gelu(x, out=None, scratch=None):
    """y = x Phi(x), Phi the normal distribution; x is cut, so -inf gives its limit"""
    return np.multiply(np.maximum(x, -1e4), _normal(x)[0], out=out)


def _gelu_slope(x):  # Phi(x) + x phi(x)
    normal, density = _normal(x)
    return normal + np.clip(x, -100, 100) * density


def _gelu_backward(x, delta):
    delta *= _gelu_slope(x)


GELU_CUBE = 0.044715
GELU_ROOT = math.sqrt(2 / math.pi)


def gelu_tanh(x, out=None, scratch=None):
    """y = x (1 + t) / 2 = x s(2 u), t = tanh(u), u = sqrt(2 / pi) (x + 0.044715 x^3)"""
    cut = np.maximum(x, -100)
    s = sigmoid(2 * GELU_ROOT * np.minimum(cut, 100) * (1 + GELU_CUBE * np.minimum(cut, 100) ** 2))
    return np.multiply(cut, s, out=out)


def _gelu_tanh_slope(x):  # with s = s(2 u): s + x 2 u' s (1 - s)
    x = np.clip(x, -100, 100)
    u = GELU_ROOT * x * (1 + GELU_CUBE * x**2)
    rise = GELU_ROOT * (1 + 3 * GELU_CUBE * x**2)
    return sigmoid(2 * u) * (1 + 2 * x * rise * sigmoid(-2 * u))


def _gelu_tanh_backward(x, delta):
    delta *= _gelu_tanh_slope(x)


def mish(x, out=None, scratch=None):
    """y = x tanh(log(1 + exp(x))); x is cut at -1e4, where y is 0, so -inf gives its limit"""
    t = np.tanh(softplus(x, None, scratch), out=scratch)
    return np.multiply(np.maximum(x, -1e4, out=out), t, out=out)


def _mish_slope(x):  # t + x s(x) (1 - t^2), t = tanh(log(1 + exp(x)))
    t = np.tanh(softplus(x))
    return t + np.clip(x, -1e4, 1e4) * sigmoid(x) * (1 - t * t)


def _mish_backward(x, delta):
    delta *= _mish_slope(x)


def hard_swish(x, out=None, scratch=None):
    """y = x min(max(x + 3, 0), 6) / 6; the slope at -3 is 0, at 3 it is 1"""
    ramp = np.clip(np.add(x, 3, out=scratch), 0, 6, out=scratch)
    ramp /= 6
    return np.multiply(np.maximum(x, -4, out=out), ramp, out=out)


def _hard_swish_slope(x):
    inside = (2 * np.clip(x, -3, 3) + 3) / 6
    return np.where(np.abs(x) < 3, inside, (x > 0).astype(x.dtype))


def _hard_swish_backward(x, delta):
    delta *= _hard_swish_slope(x)


def tanhshrink(x, out=None, scratch=None):
    """y = x - tanh(x), which near 0 has only the digits that the difference leaves"""
    return np.subtract(x, np.tanh(x, out=scratch), out=out)


def _tanhshrink_slope(x):
    return np.square(np.tanh(x))


def _tanhshrink_backward(x, delta):
    delta *= np.square(np.tanh(x, out=x), out=x)


def hard_shrink(x, out=None, scratch=None, width=0.5):
    """y = x where |x| > width, else 0; the slope at the ends is 0"""
    return np.multiply(x, np.abs(x, out=scratch) > width, out=out)


def softshrink(x, out=None, scratch=None, width=0.5):
    """y = x - width where x > width, x + width where x < -width, else 0"""
    return np.subtract(x, np.clip(x, -width, width, out=scratch), out=out)


def _shrink_slope(x, width=0.5):
    return (np.abs(x) > x.dtype.type(width)).astype(x.dtype)


def _shrink_backward(y, delta, width=0.5):  # of both
    delta *= y != 0


def threshold(x, out=None, scratch=None, threshold=1, value=0):
    """y = x where x > threshold, else value"""
    return np.positive(np.where(x <= x.dtype.type(threshold), x.dtype.type(value), x), out=out)


def _threshold_slope(x, threshold=1, value=0):
    return (x > x.dtype.type(threshold)).astype(x.dtype)


def _threshold_backward(x, delta, threshold=1, value=0):
    delta *= x > x.dtype.type(threshold)


def _half_root(x, b):  # half of |x| + sqrt(x^2 + b)
    size = np.abs(x)
    return size / 2 + np.hypot(size, x.dtype.type(math.sqrt(b))) / 2


def squareplus(x, out=None, scratch=None, b=4):
    """y = (x + sqrt(x^2 + b)) / 2, on the left b / 4 over the same of -x, which does not cancel"""
    half = _half_root(x, b)
    return np.positive(np.where(x < 0, b / 4 / half, half), out=out)


def _squareplus_slope(x, b=4):  # (1 + x / root) / 2
    half = _half_root(x, b)
    left = b / 4 / half / np.hypot(x, x.dtype.type(math.sqrt(b)))
    return np.where(x < 0, left, 1 - left)


def _squareplus_backward(y, delta, b=4):  # y^2 / (y^2 + b / 4)
    np.divide(math.sqrt(b) / 2, y, out=y)
    delta /= np.add(np.square(y, out=y), 1, out=y)


def exponential(x, out=None, scratch=None):
    """y = exp(x)"""
    return np.exp(x, out=out)


def _exponential_backward(y, delta):
    delta *= y


def _turn(x, gain):
    """gain x, or NaN where its rounding alone is an angle of more than 0.06."""
    x = _times(x, gain)
    return np.where(np.abs(x) < (2.0**20 if x.dtype == np.float32 else 2.0**49), x, np.nan)


def sin(x, out=None, scratch=None, gain=1):
    """y = sin(gain x)"""
    return np.sin(_turn(x, gain).astype(x.dtype, copy=False), out=out)


def _sin_slope(x, gain=1):
    return _times(np.cos(_turn(x, gain).astype(x.dtype, copy=False)), gain)


def _sin_backward(x, delta, gain=1):
    delta *= _sin_slope(x, gain)


def gaussian(x, out=None, scratch=None, gain=1):
    """y = exp(-(gain x)^2); x is cut where that is 0, so no square overflows"""
    cut = np.clip(_times(x, gain, out), -200, 200, out=out)
    return np.exp(np.negative(np.square(cut, out=out), out=out), out=out)


def _gaussian_slope(x, gain=1):  # -2 gain^2 x y
    cut = np.clip(_times(x, gain), -200, 200)
    return _times(-2 * cut * np.exp(-np.square(cut)), gain)


def _gaussian_backward(x, delta, gain=1):
    delta *= _gaussian_slope(x, gain)


def satlin(x, out=None, scratch=None):
    """y = min(max(x, 0), 1); the slope at 0 and 1 is 0"""
    return np.clip(x, 0, 1, out=out)


def _satlin_backward(y, delta):
    delta *= (y > 0) & (y < 1)


def tribas(x, out=None, scratch=None):
    """y = max(1 - |x|, 0); the slope at -1, 0 and 1 is 0"""
    y = np.subtract(1, np.abs(x, out=out), out=out)
    return np.maximum(y, 0, out=out)


def _tribas_slope(x):
    return -np.sign(x) * (np.abs(x) < 1)


def _tribas_backward(x, delta):
    delta *= _tribas_slope(x)


def softmax(x, out=None, scratch=None):
    """y_j = exp(x_j) / sum_k exp(x_k) over the last axis, after subtracting the largest x"""
    y = np.subtract(x, np.max(x, axis=-1, keepdims=True), out=out)
    y = np.exp(y, out=out)
    return np.divide(y, np.sum(y, axis=-1, keepdims=True), out=out)


def _softmax_backward(y, delta):  # the full Jacobian: y_j (delta_j - sum_k delta_k y_k)
    delta -= np.vecdot(delta, y)[:, None]
    delta *= y


def log_softmax(x, out=None, scratch=None):
    """y_j = x_j - log(sum_k exp(x_k)) over the last axis, after subtracting the largest x"""
    y = np.subtract(x, np.max(x, axis=-1, keepdims=True), out=out)
    return np.subtract(y, np.log(np.sum(np.exp(y), axis=-1, keepdims=True)), out=out)


def _log_softmax_backward(y, delta):  # the full Jacobian: delta_j - exp(y_j) sum_k delta_k
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

# --- Losses ---------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """A loss of s, (M, N), for targets t, (M, N) or, for cross_entropy, also labels, (M,).

    link        None: s is the output y of the network, of whatever activation. A name: s are the
                scores z before an output of this activation, which the loss contains.
    run(s, t, rows, delta, w, *hyper)  writes the gradient with respect to s to delta and returns
                the value, summed in float64; both as this block's share in a mean over `rows` rows.
                One function does both, so they belong together. Overwrites scores, but not outputs.
                w: None, or weights of the rows, (M,); then `rows` is the sum of all weights, and
                rows of weight 0 are as if they were not there.
    hyper       names of the parameters and their defaults
    per_target  outputs for each target: t is (M, N / per_target)
    """

    link: str | None
    run: Callable
    hyper: dict[str, float] = {}
    per_target: int = 1

    def value(self, s, t, *hyper, w=None):
        """Return the loss, a float."""
        return self._run(s, t, hyper, w, np.empty_like(s))

    def gradient(self, s, t, *hyper, w=None):
        """Return the gradient of `value` with respect to s, (M, N)."""
        delta = np.empty_like(s)
        self._run(s, t, hyper, w, delta)
        return delta

    def _run(self, s, t, hyper, w, delta):
        rows = len(s) if w is None else w.sum()
        return self.run(s.copy(), t, rows, delta, w, *(hyper or self.hyper.values()))


def _total(values, w):
    """The sum of the values of all rows, (M,) or (M, N), each row times its weight."""
    if w is None:
        return _sum(values)
    if values.ndim == 2:
        values = np.add.reduce(values, axis=1, dtype=np.float64)
    return float(np.dot(w, np.where(w > 0, values, 0)))


def _scale(delta, factor, w):
    """delta *= factor, and each row times its weight"""
    if w is None:
        delta *= factor
    else:
        delta *= (factor * w)[:, None]
        delta[w == 0] = 0


def _squares(y, t, delta, factor, w):  # factor sum (y - t)^2
    np.subtract(y, t, out=delta)
    value = factor * _total(np.vecdot(delta, delta), w)
    _scale(delta, 2 * factor, w)
    return value


def _mse(y, t, rows, delta, w=None):  # mean over all elements of (y - t)^2
    return _squares(y, t, delta, 1 / (rows * y.shape[1]), w)


def _half_mse(y, t, rows, delta, w=None):  # 1/2 (y - t)^2, summed over outputs, mean over rows
    return _squares(y, t, delta, 1 / (2 * rows), w)


def _elementwise(f):
    """The mean over all elements of f(y, t, delta, *hyper), which also writes df/dy to delta."""

    def run(y, t, rows, delta, w=None, *hyper):
        n = rows * y.shape[1]
        value = _total(f(y, t, delta, *hyper), w) / n
        _scale(delta, 1 / n, w)
        return value

    return run


def _mae(y, t, delta):  # |y - t|; the slope at 0 is 0
    np.subtract(y, t, out=delta)
    values = np.abs(delta)
    np.sign(delta, out=delta)
    return values


def _huber(y, t, delta, bound):  # d^2 / 2 where |d| < bound, else bound (|d| - bound / 2)
    d = y - t
    np.clip(d, -bound, bound, out=delta)
    return delta * (d - delta / 2)


def _smooth_l1(y, t, delta, beta):  # Huber's with bound beta, divided by beta
    values = _huber(y, t, delta, beta) / beta
    delta /= beta
    return values


def _log_cosh(y, t, delta):  # log cosh d = log(1 + 2 sinh(d/2)^2); |d| - log 2 for large d
    d = y - t
    np.tanh(d, out=delta)
    d = np.abs(d)
    near = np.log1p(2 * np.square(np.sinh(np.minimum(d, 20) / 2)))
    return np.where(d > 20, d - math.log(2), near)


def _quantile(y, t, delta, q):  # q (t - y) below the target, (1 - q) (y - t) above; slope 0 at it
    d = y - t
    delta[...] = np.where(d < 0, -q, np.where(d > 0, 1 - q, d))
    return delta * d


def _hinge(y, t, delta):  # max(1 - t y, 0); slope 0 where t y = 1
    margin = np.maximum(1 - t * y, 0)
    delta[...] = np.where(margin > 0, -t, 0)
    return margin


def _squared_hinge(y, t, delta):  # max(1 - t y, 0)^2
    margin = np.maximum(1 - t * y, 0)
    np.multiply(-2 * t, margin, out=delta)
    return np.square(margin)


def _poisson(y, t, delta):  # exp(y) - t y, y the logarithm of the rate
    e = np.exp(y)
    np.subtract(e, t, out=delta)
    return e - t * y


def _focal(z, t, delta, gamma, alpha):
    # -c (1 - p)^gamma log p, p = sigmoid(x), x = z for t = 1 and -z for t = 0; c = alpha for t = 1
    # and 1 - alpha for t = 0, or 1 if alpha is negative
    sign = 2 * t - 1
    x = sign * z
    p, q = sigmoid(x), sigmoid(-x)
    loss = softplus(-x)  # -log p
    c = 1 if alpha < 0 else alpha * t + (1 - alpha) * (1 - t)
    c = c * np.exp(-gamma * softplus(x))  # (1 - p)^gamma, without its underflow before its time
    np.multiply(-sign * c, gamma * p * loss + q, out=delta)
    return c * loss


def _cross_entropy(z, t, rows, delta, w=None, smoothing=0.0):
    # -sum_j t_j log softmax(z)_j, mean over rows
    # = total log(sum_j exp z_j) - sum_j t_j z_j, where total = sum_j t_j. Subtracting the largest z
    # from all changes neither this nor the softmax, and exp cannot overflow then.
    if smoothing:  # as PyTorch: (1 - smoothing) t + smoothing / N
        n = z.shape[1]
        t = (np.eye(n, dtype=z.dtype)[t] if t.ndim == 1 else t) * (1 - smoothing) + smoothing / n
    np.subtract(z, np.maximum.reduce(z, axis=1, keepdims=True), out=delta)
    if t.ndim == 1:  # labels: t is 1 at one place of each row, given as places in the flat matrix
        flat, places = delta.reshape(-1), np.arange(0, delta.size, delta.shape[1]) + t
        score = flat.take(places)
        np.exp(delta, out=delta)
        norm = np.add.reduce(delta, axis=1)
        value = _total(np.log(norm) - score, w) / rows
        delta /= (norm * rows)[:, None]
        flat[places] -= 1 / rows
    else:
        score, total = np.vecdot(delta, t), np.add.reduce(t, axis=1)
        np.exp(delta, out=delta)
        norm = np.add.reduce(delta, axis=1)
        value = _total(total * np.log(norm) - score, w) / rows
        delta *= (total / norm)[:, None]
        delta -= t
        delta *= 1 / rows
    if w is not None:
        _scale(delta, 1, w)
    return value


def _kl_divergence(z, t, rows, delta, w=None):
    # sum_j t_j (log t_j - log softmax(z)_j), 0 log 0 = 0
    entropy = t * np.log(np.where(t > 0, t, 1))
    return _cross_entropy(z, t, rows, delta, w) + _total(entropy, w) / rows


def _binary_cross_entropy(z, t, rows, delta, w=None, pos_weight=1.0, smoothing=0.0):
    # -t log y - (1 - t) log(1 - y) with y = sigmoid(z), mean over all elements, is
    # max(z, 0) - z t + log1p(exp(-|z|)), where max(z, 0) - z t = z ([z > 0] - t)
    n = rows * z.shape[1]
    if smoothing:
        t = t + smoothing * (0.5 - t)
    if pos_weight != 1:  # of the first term
        both = 1 + (pos_weight - 1) * t
        value = _total(both * softplus(-z) + (1 - t) * z, w)
        np.subtract(both * sigmoid(z), pos_weight * t, out=delta)
    else:
        np.greater(z, 0, out=delta)
        delta -= t
        delta *= z
        value = _total(delta, w)
        value += _total(np.log1p(_exp_minus_abs(z, delta), out=delta), w)
        np.subtract(sigmoid(z, out=z, scratch=delta), t, out=delta)
    _scale(delta, 1 / n, w)
    return value / n


def _gaussian_nll(y, t, rows, delta, w=None):
    # of means m and, behind them, the logarithms v of the variances: 1/2 (v + (m - t)^2 exp(-v))
    n = t.shape[1]
    m, v = y[:, :n], y[:, n:]
    d = m - t
    slope = d * np.exp(-v)
    delta[:, :n] = slope
    delta[:, n:] = (1 - d * slope) / 2
    _scale(delta, 1 / (rows * n), w)
    return _total((v + d * slope) / 2, w) / (rows * n)


def _own_loss(of_rows):
    """The mean over rows of a loss that was registered: of_rows(y, t) returns values and slopes."""

    def run(y, t, rows, delta, w=None):
        kept = slice(None) if w is None else np.flatnonzero(w)
        delta[...] = 0
        if not len(y[kept]):
            return 0.0
        values, slopes = of_rows(y[kept].copy(), t[kept].copy())
        delta[kept] = slopes
        _scale(delta, 1 / rows, w)
        return _total(values, None if w is None else w[kept]) / rows

    return run


def _sum(a):
    return float(np.add.reduce(a, axis=None, dtype=np.float64))


LOSSES = {
    "mse": Loss(None, _mse),
    "half_mse": Loss(None, _half_mse),
    "mae": Loss(None, _elementwise(_mae)),
    "huber": Loss(None, _elementwise(_huber), {"delta": 1.0}),
    "smooth_l1": Loss(None, _elementwise(_smooth_l1), {"beta": 1.0}),
    "log_cosh": Loss(None, _elementwise(_log_cosh)),
    "quantile": Loss(None, _elementwise(_quantile), {"q": 0.5}),
    "hinge": Loss(None, _elementwise(_hinge)),
    "squared_hinge": Loss(None, _elementwise(_squared_hinge)),
    "poisson": Loss(None, _elementwise(_poisson)),
    "binary_cross_entropy": Loss(
        "sigmoid", _binary_cross_entropy, {"pos_weight": 1.0, "label_smoothing": 0.0}
    ),
    "focal": Loss("sigmoid", _elementwise(_focal), {"gamma": 2.0, "alpha": -1.0}),
    "cross_entropy": Loss("softmax", _cross_entropy, {"label_smoothing": 0.0}),
    "kl_divergence": Loss("softmax", _kl_divergence),
    "gaussian_nll": Loss(None, _gaussian_nll, per_target=2),
}


def _loss_of(loss):
    """Return the `Loss` and its parameters, of a name or an object with ``name`` and ``values``."""
    if getattr(loss, "of_rows", None) is not None:
        return Loss(None, _own_loss(loss.of_rows)), ()
    row = LOSSES[getattr(loss, "name", loss)]
    return row, tuple(getattr(loss, "values", row.hyper.values()))


# --- Optimizers -----------------------------------------------------------------------------------


class Optimizer(NamedTuple):
    """A rule that updates all parameters, a vector theta, from the gradient g of the same length.

    n_vectors   number of state vectors, zero before the first update
    hyper       names of the hyper-parameters and their defaults
    update(theta, g, state, move, t, *hyper)  does step t = 1, 2, ... in place on theta and on the
                rows of state, (n_vectors, n_params); `move` is scratch, (n_params,)
    """

    n_vectors: int
    hyper: dict[str, float]
    update: Callable


def _sgd(theta, g, state, move, t, lr):  # theta -= lr g
    theta -= np.multiply(g, lr, out=move)


def _momentum(theta, g, state, move, t, lr, mu):  # v = mu v + g;  theta -= lr v
    (v,) = state
    v *= mu
    v += g
    theta -= np.multiply(v, lr, out=move)


def _nesterov(theta, g, state, move, t, lr, mu):  # v = mu v + g;  theta -= lr (g + mu v)
    (v,) = state
    v *= mu
    v += g
    np.multiply(v, mu, out=move)
    move += g
    move *= lr
    theta -= move


def _adam(theta, g, state, move, t, lr, beta1, beta2, eps):
    # m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
    # theta -= lr / (1 - beta1^t) m / (sqrt(v) / root + eps),  root = sqrt(1 - beta2^t);
    # below, the last quotient is extended by root, which saves a pass over the vector
    m, v = state
    m *= beta1
    m += np.multiply(g, 1 - beta1, out=move)
    v *= beta2
    np.multiply(g, g, out=move)
    move *= 1 - beta2
    v += move
    root = math.sqrt(1 - beta2**t)
    np.sqrt(v, out=move)
    move += eps * root
    np.divide(m, move, out=move)
    move *= lr * root / (1 - beta1**t)
    theta -= move


def _dampened(theta, g, state, move, t, lr, mu, dampening):
    # v = mu v + (1 - dampening) g, but v = g at first;  theta -= lr v
    (v,) = state
    v *= mu
    v += g if t == 1 else np.multiply(g, 1 - dampening, out=move)
    theta -= np.multiply(v, lr, out=move)


def _velocity(theta, g, state, move, t, lr, mu):  # v = mu v + lr g;  theta -= v
    (v,) = state
    v *= mu
    v += np.multiply(g, lr, out=move)
    theta -= v


def _velocity_nesterov(theta, g, state, move, t, lr, mu):
    # v = mu v + lr g;  theta -= mu v + lr g
    (v,) = state
    v *= mu
    v += np.multiply(g, lr, out=move)
    theta -= move
    theta -= np.multiply(v, mu, out=move)


def _moments(m, v, g, move, beta1, beta2):  # m = beta1 m + (1 - beta1) g, v likewise of g^2
    m *= beta1
    m += np.multiply(g, 1 - beta1, out=move)
    v *= beta2
    np.multiply(g, g, out=move)
    move *= 1 - beta2
    v += move


def _adam_keras(theta, g, state, move, t, lr, beta1, beta2, eps):
    # theta -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
    m, v = state
    _moments(m, v, g, move, beta1, beta2)
    np.sqrt(v, out=move)
    move += eps
    np.divide(m, move, out=move)
    move *= lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    theta -= move


def _amsgrad(theta, g, state, move, t, lr, beta1, beta2, eps):  # adam with the largest v so far
    m, v, largest = state
    _moments(m, v, g, move, beta1, beta2)
    np.maximum(v, largest, out=largest)
    root = math.sqrt(1 - beta2**t)
    np.sqrt(largest, out=move)
    move += eps * root
    np.divide(m, move, out=move)
    move *= lr * root / (1 - beta1**t)
    theta -= move


def _amsgrad_keras(theta, g, state, move, t, lr, beta1, beta2, eps):
    root = math.sqrt(1 - beta2**t)
    _amsgrad(theta, g, state, move, t, lr, beta1, beta2, eps / root)


def _adagrad(theta, g, state, move, t, lr, lr_decay, eps, eps_root):
    # s += g^2;  theta -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s + eps_root) + eps)
    (s,) = state
    s += np.multiply(g, g, out=move)
    np.add(s, eps_root, out=move)
    np.sqrt(move, out=move)
    move += eps
    np.divide(g, move, out=move)
    move *= lr / (1 + (t - 1) * lr_decay)
    theta -= move


def _adadelta(theta, g, state, move, t, lr, rho, eps):
    # s = rho s + (1 - rho) g^2;  d = sqrt((u + eps) / (s + eps)) g
    # u = rho u + (1 - rho) d^2;  theta -= lr d
    s, u = state
    s *= rho
    np.multiply(g, g, out=move)
    move *= 1 - rho
    s += move
    np.divide(u + eps, s + eps, out=move)
    np.sqrt(move, out=move)
    move *= g
    u *= rho
    u += (1 - rho) * move * move
    move *= lr
    theta -= move


def _rms_quotient(g, s, a, move, rho, eps, eps_root):
    # s = rho s + (1 - rho) g^2;  move = g / (sqrt(s + eps_root) + eps); centered, with
    # a = rho a + (1 - rho) g, the root is of s - a^2
    s *= rho
    np.multiply(g, g, out=move)
    move *= 1 - rho
    s += move
    if a is None:
        np.add(s, eps_root, out=move)
    else:
        a *= rho
        a += np.multiply(g, 1 - rho, out=move)
        np.subtract(s, a * a, out=move)
        np.maximum(move, 0, out=move)
        move += eps_root
    np.sqrt(move, out=move)
    move += eps
    return np.divide(g, move, out=move)


def _rmsprop(theta, g, state, move, t, lr, rho, eps, eps_root):  # theta -= lr quotient
    (s,) = state
    theta -= np.multiply(_rms_quotient(g, s, None, move, rho, eps, eps_root), lr, out=move)


def _rmsprop_centered(theta, g, state, move, t, lr, rho, eps, eps_root):
    s, a = state
    theta -= np.multiply(_rms_quotient(g, s, a, move, rho, eps, eps_root), lr, out=move)


def _rms_velocity(theta, v, move, lr, mu, early):
    # v = mu v + quotient;  theta -= lr v;  early: v = mu v + lr quotient;  theta -= v
    v *= mu
    if early:
        v += np.multiply(move, lr, out=move)
        theta -= v
    else:
        v += move
        theta -= np.multiply(v, lr, out=move)


def _rmsprop_momentum(theta, g, state, move, t, lr, rho, eps, eps_root, mu, early):
    s, v = state
    _rms_velocity(theta, v, _rms_quotient(g, s, None, move, rho, eps, eps_root), lr, mu, early)


def _rmsprop_centered_momentum(theta, g, state, move, t, lr, rho, eps, eps_root, mu, early):
    s, a, v = state
    _rms_velocity(theta, v, _rms_quotient(g, s, a, move, rho, eps, eps_root), lr, mu, early)


def _adamax(theta, g, state, move, t, lr, beta1, beta2, eps, eps_max):
    # m = beta1 m + (1 - beta1) g;  u = max(beta2 u, |g| + eps_max)
    # theta -= lr / (1 - beta1^t) m / (u + eps)
    m, u = state
    m *= beta1
    m += np.multiply(g, 1 - beta1, out=move)
    u *= beta2
    np.abs(g, out=move)
    move += eps_max
    np.maximum(u, move, out=u)
    np.add(u, eps, out=move)
    np.divide(m, move, out=move)
    move *= lr / (1 - beta1**t)
    theta -= move


def _nadam(theta, g, state, move, t, lr, beta1, beta2, eps, momentum_decay):
    # mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);  product = mu_1 ... mu_t
    # theta -= lr ((1 - mu_t) / (1 - product) g + mu_(t+1) / (1 - product mu_(t+1)) m)
    #          / (sqrt(v / (1 - beta2^t)) + eps)
    m, v = state
    _moments(m, v, g, move, beta1, beta2)
    some = min(t, 4000 if beta1 < 0.99 else t)  # the product of more is 0
    mu = beta1 * (1 - 0.5 * 0.96 ** (momentum_decay * np.arange(1, some + 1)))
    now, following = (beta1 * (1 - 0.5 * 0.96 ** (momentum_decay * i)) for i in (t, t + 1))
    product = float(np.prod(mu))
    np.sqrt(v, out=move)
    move *= 1 / math.sqrt(1 - beta2**t)
    move += eps
    numerator = g * (lr * (1 - now) / (1 - product))
    numerator += m * (lr * following / (1 - product * following))
    theta -= np.divide(numerator, move, out=move)


def _radam(theta, g, state, move, t, lr, beta1, beta2, eps):
    # n = 2 / (1 - beta2) - 1;  n_t = n - 2 t beta2^t / (1 - beta2^t);  rate = lr / (1 - beta1^t)
    # n_t <= 5: theta -= rate m;  else theta -= rate r sqrt(1 - beta2^t) m / (sqrt(v) + eps), where
    # r^2 = (n_t - 4) (n_t - 2) n / ((n - 4) (n - 2) n_t)
    m, v = state
    _moments(m, v, g, move, beta1, beta2)
    rate, n = lr / (1 - beta1**t), 2 / (1 - beta2) - 1
    n_t = n - 2 * t * beta2**t / (1 - beta2**t)
    if n_t <= 5:
        theta -= np.multiply(m, rate, out=move)
        return
    r = math.sqrt((n_t - 4) * (n_t - 2) * n / ((n - 4) * (n - 2) * n_t))
    np.sqrt(v, out=move)
    move += eps
    np.divide(m, move, out=move)
    move *= rate * r * math.sqrt(1 - beta2**t)
    theta -= move


def _lion(theta, g, state, move, t, lr, beta1, beta2):
    # theta -= lr sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
    (m,) = state
    np.multiply(m, beta1, out=move)
    move += g * (1 - beta1)
    np.sign(move, out=move)
    move *= lr
    theta -= move
    m *= beta2
    m += np.multiply(g, 1 - beta2, out=move)


_BETAS = {"lr": 0.001, "beta1": 0.9, "beta2": 0.999}
_RMS = {"lr": 0.01, "rho": 0.99, "eps": 1e-8, "eps_root": 0.0}

OPTIMIZERS = {
    "sgd": Optimizer(0, {"lr": 0.01}, _sgd),
    "momentum": Optimizer(1, {"lr": 0.01, "mu": 0.9}, _momentum),
    "nesterov": Optimizer(1, {"lr": 0.01, "mu": 0.9}, _nesterov),
    "adam": Optimizer(2, {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}, _adam),
    "dampened": Optimizer(1, {"lr": 0.01, "mu": 0.9, "dampening": 0.9}, _dampened),
    "velocity": Optimizer(1, {"lr": 0.01, "mu": 0.9}, _velocity),
    "velocity_nesterov": Optimizer(1, {"lr": 0.01, "mu": 0.9}, _velocity_nesterov),
    "adam_keras": Optimizer(2, {**_BETAS, "eps": 1e-7}, _adam_keras),
    "amsgrad": Optimizer(3, {**_BETAS, "eps": 1e-8}, _amsgrad),
    "amsgrad_keras": Optimizer(3, {**_BETAS, "eps": 1e-7}, _amsgrad_keras),
    "adagrad": Optimizer(1, {"lr": 0.01, "lr_decay": 0.0, "eps": 1e-10, "eps_root": 0.0}, _adagrad),
    "adadelta": Optimizer(2, {"lr": 1.0, "rho": 0.9, "eps": 1e-6}, _adadelta),
    "rmsprop": Optimizer(1, _RMS, _rmsprop),
    "rmsprop_momentum": Optimizer(2, {**_RMS, "mu": 0.9, "early": 0.0}, _rmsprop_momentum),
    "rmsprop_centered": Optimizer(2, _RMS, _rmsprop_centered),
    "rmsprop_centered_momentum": Optimizer(
        3, {**_RMS, "mu": 0.9, "early": 0.0}, _rmsprop_centered_momentum
    ),
    "adamax": Optimizer(2, {**_BETAS, "lr": 0.002, "eps": 0.0, "eps_max": 1e-8}, _adamax),
    "nadam": Optimizer(2, {**_BETAS, "lr": 0.002, "eps": 1e-8, "momentum_decay": 0.004}, _nadam),
    "radam": Optimizer(2, {**_BETAS, "eps": 1e-8}, _radam),
    "lion": Optimizer(1, {"lr": 0.0001, "beta1": 0.9, "beta2": 0.99}, _lion),
}

# --- The engine -----------------------------------------------------------------------------------


class ReferenceEngine(Derivatives):
    """Predicts with and trains a lowered network.

    Parameters
    ----------
    steps : sequence of Step
        Each has `kind`, `n_in`, `n_out`; a "dense" one `activation` with its `parameters`, and in
        `w` and `b` the offsets of W (n_in, n_out) and of the bias (n_out,) in theta; b = -1: no
        bias. The other kinds are in `reference_steps`.
    n_params : int
        Length of theta.
    loss : str or nncore.Loss
        A key of `LOSSES`, or an object with that as ``name`` and its parameters as ``values``.
    dtype : dtype
        float32 or float64, of theta and of every floating-point array given.

    Attributes
    ----------
    theta : ndarray, (n_params,)
        All parameters, zero at the start. Write into it; do not replace it.
    state : ndarray, (n_vectors, n_params)
        What the optimizer remembers.
    average : ndarray, (n_params,), or None
        An average of theta, of `averaged` of them.
    rule : str
        Name of the update rule.
    hyper : tuple of float
        Hyper-parameters of the rule; may be replaced between calls.
    n_updates : int
        Updates since `set_optimizer`.
    running : ndarray
        Running statistics of the batch_norm steps, in their order: means, then variances.
    draws : tuple of int, or None
        The seed of the random numbers, and how many training steps and predictions have drawn, if
        any step does.
    isa : str
        "reference", where the C engine names its instruction set.

    Notes
    -----
    Arrays are expected as `Network` makes them: checked, of the right dtype, C-contiguous. X is
    (M, n_in); y is (M, n_out), or for cross_entropy also int64 labels, (M,). Overflow raises no
    warnings: a run that diverges shows it in a loss that is not finite. `n_threads` is there for
    the C engine's sake: threads are NumPy's business here.
    """

    isa = "reference"

    def __init__(self, steps, n_params, loss, dtype):
        self._steps, self._given_loss = list(steps), loss
        self._loss, self._loss_hyper = _loss_of(loss)
        kinds = {step.kind for step in self._steps}
        if kinds - {"dense", *reference_steps.STEPS}:
            raise ValueError(f"{sorted(kinds)} are not all kinds of steps")
        self._is_dense = kinds == {"dense"}
        self._draws = not kinds.isdisjoint({"dropout", "noise"})
        self._samples = any(step.kind == "dropout" and step.values[1] for step in self._steps)
        self._mode, self._trained, self._predicted = reference_steps.Mode(), 0, 0
        wide = sum(2 * step.n_out for step in self._steps if step.kind == "batch_norm")
        self.running = np.zeros(wide, dtype)
        if not _contains(self._loss.link, self._steps[-1]):
            raise ValueError(f"loss {loss!r} needs a {self._loss.link} output")
        self.theta = np.zeros(n_params, dtype)
        self._gradient = np.zeros_like(self.theta)
        self._move = np.empty_like(self.theta)
        self._buffers, self._capacity, self._passes = None, 0, {}
        self.set_optimizer("sgd", tuple(OPTIMIZERS["sgd"].hyper.values()))
        self.set_tuning(None)

    def again(self, loss=None, dtype=None, theta=None):
        """Return an engine of the same steps, with a copy of these parameters or of `theta`."""
        engine = ReferenceEngine(
            self._steps, self.theta.size, loss or self._given_loss, dtype or self.theta.dtype
        )
        engine.theta[:] = self.theta if theta is None else theta
        engine.set_tuning(self._tuning)
        engine.running[:] = self.running
        return engine

    def set_optimizer(self, name, hyper):
        """Train with this rule from now on; `hyper` in the order of `OPTIMIZERS[name].hyper`."""
        n_vectors, _, self._update = OPTIMIZERS[name]
        self.rule, self.hyper = name, tuple(hyper)
        self.state = np.zeros((n_vectors, self.theta.size), self.theta.dtype)
        self.n_updates = self.averaged = 0
        self.average = None
        self.set_options()

    def set_options(self, decay=0.0, clip_norm=0.0, clip_value=0.0, ema=0.0):
        """Set what goes with any rule, 0 is nothing.

        decay       W -= lr decay W before each update, lr being that of the step; of dense steps
        clip_norm   a gradient with a larger norm, of all that is trained, is scaled to it
        clip_value  elements of the gradient are limited to +- this
        ema         average = ema average + (1 - ema) theta after each update, theta after the first
        """
        self.decay, self.clip_norm, self.clip_value, self.ema = decay, clip_norm, clip_value, ema
        if ema > 0:
            self.keep_average()

    def keep_average(self):
        """Make `average`, zero at first, if there is none; `averaged` counts what is in it."""
        if self.average is None:
            self.average, self.averaged = np.zeros_like(self.theta), 0

    def set_tuning(self, tuning):
        """Train each step in its own way, or all alike if it is None.

        Each has `trainable`; `lr_scale`, which multiplies lr; `l1` and `l2`, for the penalty
        l1 sum |w| + l2 / 2 sum w^2 of W in the loss; and `max_norm`, if not 0 the largest norm of a
        column of W after an update.
        """
        self._tuning = tuning

    @property
    def draws(self):
        return (self._mode.seed, self._trained, self._predicted) if self._draws else None

    @draws.setter
    def draws(self, values):
        self._mode.seed, self._trained, self._predicted = values

    @np.errstate(all="ignore")
    def predict(self, X, out, n_threads=0, sample=False):
        """Write the outputs of the network for X to out, (M, n_out).

        sample: what is random in predictions is drawn, anew in each call.
        """
        self._mode.sample, self._mode.number = sample, self._predicted
        self._predicted += sample and self._samples
        for rows, work in self._blocks(len(X)):
            out[rows] = work.predict(X[rows])
        self._mode.sample = False

    @np.errstate(all="ignore")
    def loss(self, X, y, n_threads=0, theta=None, weights=None):
        """Return the mean loss over all rows, with the penalties; at theta, if given."""
        if theta is not None:
            return self.again(theta=theta).loss(X, y, weights=weights)
        total = len(X) if weights is None else weights.sum()
        if not total:
            return 0.0
        value = sum(
            work.loss(X[rows], y[rows], total, None if weights is None else weights[rows])
            for rows, work in self._blocks(len(X))
        )
        return value + self._penalty()

    @np.errstate(all="ignore")
    def loss_and_gradient(self, X, y, gradient, n_threads=0, theta=None, weights=None):
        """Return the same; write its gradient, of all parameters, to gradient, (n_params,)."""
        if theta is not None:
            return self.again(theta=theta).loss_and_gradient(X, y, gradient, weights=weights)
        total = len(X) if weights is None else weights.sum()
        value = 0.0
        gradient[:] = 0
        if not total:
            return value
        for rows, work in self._blocks(len(X)):
            w = None if weights is None else weights[rows]
            value += work.loss(X[rows], y[rows], total, w)
            work.backward(X[rows])
            gradient += self._gradient
        self._add_penalty_gradient(gradient)
        return value + self._penalty()

    @np.errstate(all="ignore")
    def input_gradient(self, X, y, dx, n_threads=0, theta=None, weights=None):
        """Return the mean loss over all rows; write its gradient by X to dx, (M, n_in)."""
        if theta is not None:
            return self.again(theta=theta).input_gradient(X, y, dx, weights=weights)
        total = len(X) if weights is None else weights.sum()
        value = 0.0
        for rows, work in self._blocks(len(X)):
            w = None if weights is None else weights[rows]
            value += work.loss(X[rows], y[rows], total, w)
            work.backward(X[rows])
            work.input_gradient(dx[rows])
        return value + self._penalty()

    @np.errstate(all="ignore")
    def train(self, X, y, order, batch_size, n_threads=0, weights=None, rates=None):
        """Update theta once per batch; return the loss of each batch before its update.

        Batches are consecutive slices of `order`, int64 row numbers, or of all rows in turn if it
        is None; the last may be shorter. If a loss is not finite, training stops before the update
        and this loss is the last one returned. A batch whose weights are all 0 is left out, with
        loss 0. `rates` are the learning rates of the steps, in place of the first hyper-parameter.
        """
        n_rows = len(X) if order is None else len(order)
        losses = np.empty(-(-n_rows // batch_size))
        self._mode.training, self._mode.first = True, 0
        try:
            return self._train(X, y, order, batch_size, n_rows, losses, weights, rates)
        finally:
            self._mode.training = False

    def _train(self, X, y, order, batch_size, n_rows, losses, weights, rates):
        for i in range(len(losses)):
            self._mode.number = self._trained
            rows = slice(i * batch_size, min((i + 1) * batch_size, n_rows))
            work = self._pass(rows.stop - rows.start)
            x, t = (X[rows], y[rows]) if order is None else work.gather(X, y, order[rows])
            w, total = None, len(x)
            if weights is not None:
                w = weights[rows] if order is None else weights[order[rows]]
                total = w.sum()
                if total == 0:
                    losses[i] = 0
                    continue
            losses[i] = loss = work.loss(x, t, total, w) + self._penalty()
            if not math.isfinite(loss):
                return losses[: i + 1]
            work.backward(x)
            self.n_updates += 1
            self._step(self.hyper[0] if rates is None else float(rates[i]))
            if self.ema > 0:
                keep = self.ema if self.averaged else 0.0
                self.average += (1 - keep) * (self.theta - self.average)
                self.averaged += 1
            self._trained += 1
            work.settle()
        return losses

    def _step(self, lr):
        """Update theta by the gradient: all at once, or each step in its own way."""
        theta, g, hyper = self.theta, self._gradient, self.hyper[1:]
        if not (self._tuning or self.decay or self.clip_norm or self.clip_value):
            self._update(theta, g, self.state, self._move, self.n_updates, lr, *hyper)
            return
        self._add_penalty_gradient(g)
        trained = [(step, how) for step, how in self._tuned() if how is None or how.trainable]
        if self.clip_value:
            np.clip(g, -self.clip_value, self.clip_value, out=g)
        if self.clip_norm:
            parts = [g[part] for step, _ in trained for part in _places(step)]
            norm = math.sqrt(sum(float(np.sum(np.square(p, dtype=np.float64))) for p in parts))
            if norm > self.clip_norm:
                g *= self.clip_norm / norm
        for step, how in trained:
            rate = lr if how is None else lr * how.lr_scale
            if step.kind == "dense" and self.decay:
                W, _ = _parameters(step, theta)
                W *= 1 - rate * self.decay
            for part in _places(step):
                self._update(
                    theta[part], g[part], self.state[:, part], self._move[part], self.n_updates,
                    rate, *hyper,
                )  # fmt: skip
            if how is not None and how.max_norm:
                W, _ = _parameters(step, theta)
                norms = np.sqrt(np.sum(np.square(W, dtype=np.float64), axis=0))
                W *= how.max_norm / np.maximum(norms, how.max_norm)

    def _tuned(self):
        return zip(self._steps, self._tuning or [None] * len(self._steps), strict=True)

    def _penalty(self):
        value = 0.0
        for step, how in self._tuned():
            if how is not None and (how.l1 or how.l2):
                W = _parameters(step, self.theta)[0].astype(np.float64)
                value += how.l1 * np.abs(W).sum() + how.l2 / 2 * np.square(W).sum()
        return float(value)

    def _add_penalty_gradient(self, gradient):
        for step, how in self._tuned():
            if how is not None and (how.l1 or how.l2):
                W, dW = _parameters(step, self.theta)[0], _parameters(step, gradient)[0]
                dW += how.l1 * np.sign(W) + how.l2 * W

    def _blocks(self, n_rows):
        for start in range(0, n_rows, BLOCK):
            stop = min(start + BLOCK, n_rows)
            self._mode.first = start
            yield slice(start, stop), self._pass(stop - start)

    def _pass(self, n_rows):
        """Return the prepared pass over n_rows rows; those of all sizes share the same buffers."""
        if n_rows > self._capacity:
            self._buffers, self._capacity, self._passes = self._allocate(n_rows), n_rows, {}
        if n_rows not in self._passes:
            self._passes[n_rows] = (_Pass if self._is_dense else _MixedPass)(self, n_rows)
        return self._passes[n_rows]

    def _allocate(self, n_rows):
        """Return the arrays for a gathered batch (X, y or labels), and z, y, delta of each step."""
        first, last, dtype = self._steps[0], self._steps[-1], self.theta.dtype
        n_targets = last.n_out // self._loss.per_target
        batch = [np.empty((n_rows, n), dtype) for n in (first.n_in, n_targets)]
        arrays = []
        for step in self._steps:
            z, delta = (np.empty((n_rows, step.n_out), dtype) for _ in range(2))
            # In place, unless the backward pass needs the pre-activation.
            arrays.append((z, np.empty_like(z) if _activation(step).keeps == "X" else z, delta))
        return (*batch, np.empty(n_rows, np.int64)), arrays


class _Pass:
    """The forward and backward pass over a fixed number of rows.

    All views are made here, once: the steps of small networks are so short that making them anew
    in each of them would be felt.
    """

    def __init__(self, engine, n_rows):
        batch, arrays = engine._buffers
        self._x, self._y, self._labels = (a[:n_rows] for a in batch)
        self._ones = np.ones(n_rows, engine.theta.dtype)
        self._loss, self._hyper, self._link = engine._loss.run, engine._loss_hyper, None
        self._forward, self._backward = [], []
        x_T = delta_below = None
        for step, of_step in zip(engine._steps, arrays, strict=True):
            z, y, delta = (a[:n_rows] for a in of_step)
            W, b = _parameters(step, engine.theta)
            dW, db = _parameters(step, engine._gradient)
            function = _activation(step)
            f, keeps, slope = function.f, function.keeps, function.backward
            if engine._loss.link and step is engine._steps[-1]:
                self._link = f  # the loss contains it, so only `predict` applies it
            if keeps == "NONE" or self._link:
                f = slope = None
            self._forward.append((W, b, z, y, delta, f))
            kept = z if keeps == "X" else y
            self._backward.insert(0, (slope, kept, delta, x_T, dW, db, W.T, delta_below))
            x_T, delta_below = y.T, delta
        self._delta = delta

    def gather(self, X, y, rows):
        """Return these rows of X and y, in the buffers."""
        # In the default mode, "raise", NumPy would gather into a temporary array first.
        to = self._labels if y.ndim == 1 else self._y
        return X.take(rows, 0, self._x, "clip"), y.take(rows, 0, to, "clip")

    def forward(self, x):
        """Return the outputs or, if the loss has a link, the scores."""
        for W, b, z, y, scratch, f in self._forward:
            np.dot(x, W, out=z)
            if b is not None:
                np.add(z, b, out=z)
            if f is not None:
                f(z, y, scratch)
            x = y
        return x

    def predict(self, x):
        """Return the outputs."""
        y = self.forward(x)
        return self._link(y, y, self._delta) if self._link else y

    def loss(self, x, t, rows, w=None):
        """Return the share of x in the mean loss over `rows` rows, ready for `backward`."""
        return self._loss(self.forward(x), t, rows, self._delta, w, *self._hyper)

    def backward(self, x):
        """Write the gradient of the last `loss`, which was of x, to the vector of the engine."""
        for slope, kept, delta, x_T, dW, db, W_T, delta_below in self._backward:
            if slope is not None:
                slope(kept, delta)
            np.dot(x.T if x_T is None else x_T, delta, out=dW)
            if db is not None:
                np.dot(self._ones, delta, out=db)
            if delta_below is not None:
                np.dot(delta, W_T, out=delta_below)

    def input_gradient(self, dx):
        """Write to dx, (n_rows, n_in), what `backward` has found for the inputs."""
        _, _, delta, _, _, _, W_T, _ = self._backward[-1]
        np.dot(delta, W_T, out=dx)

    def settle(self):
        """After an update: nothing but parameters has changed."""


class _MixedPass(_Pass):
    """The same for steps of all kinds."""

    def __init__(self, engine, n_rows):
        self.mode, self.theta, self.gradient = engine._mode, engine.theta, engine._gradient
        self.running, self._running_at, self.made = engine.running, 0, []
        batch, arrays = engine._buffers
        self._x, self._y, self._labels = (a[:n_rows] for a in batch)
        self._dx = np.empty((n_rows, engine._steps[0].n_in), self.theta.dtype)
        self._loss, self._hyper, self._link = engine._loss.run, engine._loss_hyper, None
        self._steps = []
        for place, (step, of_step) in enumerate(zip(engine._steps, arrays, strict=True)):
            _, y, delta = (a[:n_rows] for a in of_step)
            if step.kind == "dense":
                last = place == len(engine._steps) - 1 and engine._loss.link
                self._link = _activation(step).f if last else None
                run = _Dense(step, self.theta, self.gradient, of_step, n_rows, fused=last)
            else:
                run = reference_steps.STEPS[step.kind](step, place, self)
            self.made.append(run)
            self._steps.append((run, y, delta))
        self._delta = delta

    def place_running(self, n):
        """Return where the next n numbers of the running statistics are."""
        self._running_at += n
        return self._running_at - n

    def forward(self, x):
        for run, y, _ in self._steps:
            run.forward(x, y)
            x = y
        return x

    def backward(self, x):
        below = [(x, self._dx), *((y, delta) for _, y, delta in self._steps[:-1])]
        for (run, y, delta), (inputs, dx) in zip(self._steps[::-1], below[::-1], strict=True):
            run.backward(inputs, y, delta, dx)

    def input_gradient(self, dx):
        dx[...] = self._dx

    def settle(self):
        for run in self.made:
            run.settle()


class _Dense:
    """A dense step by itself, with the interface of those in `reference_steps`."""

    def __init__(self, step, theta, gradient, arrays, n_rows, fused):
        self.W, self.b = _parameters(step, theta)
        self.dW, self.db = _parameters(step, gradient)
        self.z, self.y, self.scratch = (a[:n_rows] for a in arrays)
        self.activation = ACTIVATIONS["identity"] if fused else _activation(step)

    def forward(self, x, y):
        np.dot(x, self.W, out=self.z)
        if self.b is not None:
            self.z += self.b
        if self.activation.keeps != "NONE":
            self.activation.f(self.z, y, self.scratch)

    def backward(self, x, y, dy, dx):
        if self.activation.keeps != "NONE":
            self.activation.backward(self.z if self.activation.keeps == "X" else y, dy)
        np.dot(x.T, dy, out=self.dW)
        if self.db is not None:
            np.sum(dy, axis=0, out=self.db)
        if dx is not None:
            np.dot(dy, self.W.T, out=dx)

    def settle(self):
        pass


def _activation(step):
    if step.activation in ("softmax", "log_softmax"):
        return SOFTMAX if step.activation == "softmax" else LOG_SOFTMAX
    return ACTIVATIONS[step.activation].with_parameters(step.parameters)


def _contains(link, step):
    """Whether a loss with this link knows what the step makes of its scores."""
    if link == "softmax":
        return step.activation in ("softmax", "log_softmax")
    return link is None or (step.activation == link and _activation(step) is ACTIVATIONS[link])


def _places(step):
    """Return where the parameters of a step are in a flat vector."""
    if step.w < 0:
        return []
    size = step.n_in * step.n_out if step.kind == "dense" else step.other or step.n_out
    places = [slice(step.w, step.w + size)]
    return places if step.b < 0 else [*places, slice(step.b, step.b + step.n_out)]


def _parameters(step, flat):
    """Return the views W (n_in, n_out) and b (n_out,), or None, of a step into a flat vector."""
    W = flat[step.w : step.w + step.n_in * step.n_out].reshape(step.n_in, step.n_out)
    return W, None if step.b < 0 else flat[step.b : step.b + step.n_out]
