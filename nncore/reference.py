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
    """

    f: Callable
    df: Callable | None
    keeps: str
    backward: Callable

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


def sigmoid(x, out=None, scratch=None):
    """y = 1 / (1 + exp(-x)), computed as e / (1 + e) with e = exp(x).

    So the smallest y keep their relative accuracy. From x = 40 on the quotient rounds to 1, so x
    is cut there and exp cannot overflow.
    """
    e = np.exp(np.minimum(x, 40, out=out), out=out)
    return np.divide(e, np.add(e, 1, out=scratch), out=out)


def _sigmoid_slope(x):
    e = np.exp(-np.abs(x))
    return e / np.square(1 + e)


def _sigmoid_backward(y, delta):  # y (1 - y)
    delta *= y
    np.subtract(1, y, out=y)
    delta *= y


def tanh(x, out=None, scratch=None):
    """y = tanh(x)"""
    return np.tanh(x, out=out)


def _tanh_slope(x):  # 1 / cosh(x)^2, without the overflow of cosh and the cancellation of 1 - y^2
    e = np.square(np.exp(-np.abs(x)))
    return 4 * e / np.square(1 + e)


def _tanh_backward(y, delta):  # 1 - y^2
    y *= y
    np.subtract(1, y, out=y)
    delta *= y


def softplus(x, out=None, scratch=None):
    """y = log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))"""
    tail = np.log1p(_exp_minus_abs(x, scratch), out=scratch)
    return np.add(np.maximum(x, 0, out=out), tail, out=out)


def _exp_minus_abs(x, out):
    return np.exp(np.negative(np.abs(x, out=out), out=out), out=out)


def _softplus_backward(y, delta):  # 1 - exp(-y)
    np.negative(y, out=y)
    np.expm1(y, out=y)
    delta *= y
    np.negative(delta, out=delta)


def softsign(x, out=None, scratch=None):
    """y = x / (1 + |x|); from |x| = 1e20 on that rounds to 1, and the cut avoids inf / inf"""
    x = np.clip(x, -1e20, 1e20, out=scratch)
    return np.divide(x, np.add(np.abs(x, out=out), 1, out=out), out=out)


def _softsign_backward(x, delta):  # 1 / (1 + |x|)^2, divided twice since the square can overflow
    np.abs(x, out=x)
    x += 1
    delta /= x
    delta /= x


LEAK = 0.01  # of leaky_relu


def leaky_relu(x, out=None, scratch=None):
    """y = x where x > 0, else 0.01 x; the slope at 0 is 0.01"""
    return np.maximum(x, np.multiply(x, LEAK, out=scratch), out=out)


def _leaky_relu_backward(y, delta):
    delta *= np.where(y > 0, y.dtype.type(1), y.dtype.type(LEAK))


def elu(x, out=None, scratch=None):
    """y = x where x > 0, else exp(x) - 1, which is never below x"""
    tail = np.expm1(np.minimum(x, 0, out=scratch), out=scratch)
    return np.maximum(x, tail, out=out)


def _elu_backward(y, delta):  # 1 where y > 0, else y + 1
    np.minimum(y, 0, out=y)
    y += 1
    delta *= y


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


def elliot(x, out=None, scratch=None):
    """y = (x / (1 + |x|) + 1) / 2 = h where x < 0, else 1 - h, with h = 1 / (2 (1 + |x|))"""
    h = np.divide(0.5, np.add(np.abs(x, out=scratch), 1, out=scratch), out=scratch)
    y = np.where(x < 0, h, 1 - h)
    return np.positive(y, out=out)


def _elliot_backward(x, delta):  # 1 / (2 (1 + |x|)^2), divided twice since the square can overflow
    _softsign_backward(x, delta)
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


def softmax(x, out=None, scratch=None):
    """y_j = exp(x_j) / sum_k exp(x_k) over the last axis, after subtracting the largest x"""
    y = np.subtract(x, np.max(x, axis=-1, keepdims=True), out=out)
    y = np.exp(y, out=out)
    return np.divide(y, np.sum(y, axis=-1, keepdims=True), out=out)


def _softmax_backward(y, delta):  # the full Jacobian: y_j (delta_j - sum_k delta_k y_k)
    delta -= np.vecdot(delta, y)[:, None]
    delta *= y


ACTIVATIONS = {
    "identity": Activation(identity, np.ones_like, "NONE", lambda kept, delta: None),
    "relu": Activation(relu, lambda x: np.heaviside(x, 0), "Y", _relu_backward),
    "sigmoid": Activation(sigmoid, _sigmoid_slope, "Y", _sigmoid_backward),
    "tanh": Activation(tanh, _tanh_slope, "Y", _tanh_backward),
    "softplus": Activation(softplus, sigmoid, "Y", _softplus_backward),
    "softsign": Activation(
        softsign, lambda x: np.square(1 / (1 + np.abs(x))), "X", _softsign_backward
    ),
    "leaky_relu": Activation(
        leaky_relu, lambda x: np.where(x > 0, 1, x.dtype.type(LEAK)), "Y", _leaky_relu_backward
    ),
    "elu": Activation(elu, lambda x: np.exp(np.minimum(x, 0)), "Y", _elu_backward),
    "hardtanh": Activation(
        hardtanh, lambda x: (np.abs(x) < 1).astype(x.dtype), "Y", _hardtanh_backward
    ),
    "relu6": Activation(relu6, lambda x: ((x > 0) & (x < 6)).astype(x.dtype), "Y", _relu6_backward),
    "hard_sigmoid": Activation(
        hard_sigmoid, lambda x: (np.abs(x) < 3) / x.dtype.type(6), "X", _hard_sigmoid_backward
    ),
    "elliot": Activation(
        elliot, lambda x: np.square(1 / (1 + np.abs(x))) / 2, "X", _elliot_backward
    ),
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
}
SOFTMAX = Activation(softmax, None, "Y", _softmax_backward)

# --- Losses ---------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """A loss of s, (M, N), for targets t, (M, N) or, for cross_entropy, also labels, (M,).

    link        None: s is the output y of the network, of whatever activation. A name: s are the
                scores z before an output of this activation, which the loss contains.
    run(s, t, rows, delta)  writes the gradient with respect to s to delta and returns the value,
                summed in float64; both as this block's share in a mean over `rows` rows. One
                function does both, so they belong together. Overwrites scores, but not outputs.
    """

    link: str | None
    run: Callable

    def value(self, s, t):
        """Return the loss, a float."""
        return self.run(s.copy(), t, len(s), np.empty_like(s))

    def gradient(self, s, t):
        """Return the gradient of `value` with respect to s, (M, N)."""
        delta = np.empty_like(s)
        self.run(s.copy(), t, len(s), delta)
        return delta


def _squares(y, t, delta, weight):  # weight sum (y - t)^2
    np.subtract(y, t, out=delta)
    value = weight * _sum(np.vecdot(delta, delta))
    delta *= 2 * weight
    return value


def _mse(y, t, rows, delta):  # mean over all elements of (y - t)^2
    return _squares(y, t, delta, 1 / (rows * y.shape[1]))


def _half_mse(y, t, rows, delta):  # 1/2 (y - t)^2, summed over outputs, mean over rows
    return _squares(y, t, delta, 1 / (2 * rows))


def _cross_entropy(z, t, rows, delta):  # -sum_j t_j log softmax(z)_j, mean over rows
    # = total log(sum_j exp z_j) - sum_j t_j z_j, where total = sum_j t_j. Subtracting the largest z
    # from all changes neither this nor the softmax, and exp cannot overflow then.
    np.subtract(z, np.maximum.reduce(z, axis=1, keepdims=True), out=delta)
    if t.ndim == 1:  # labels: t is 1 at one place of each row, given as places in the flat matrix
        flat, places = delta.reshape(-1), np.arange(0, delta.size, delta.shape[1]) + t
        score = flat.take(places)
        np.exp(delta, out=delta)
        norm = np.add.reduce(delta, axis=1)
        value = _sum(np.log(norm) - score) / rows
        delta /= (norm * rows)[:, None]
        flat[places] -= 1 / rows
    else:
        score, total = np.vecdot(delta, t), np.add.reduce(t, axis=1)
        np.exp(delta, out=delta)
        norm = np.add.reduce(delta, axis=1)
        value = _sum(total * np.log(norm) - score) / rows
        delta *= (total / norm)[:, None]
        delta -= t
        delta *= 1 / rows
    return value


def _binary_cross_entropy(z, t, rows, delta):
    # -t log y - (1 - t) log(1 - y) with y = sigmoid(z), mean over all elements, is
    # max(z, 0) - z t + log1p(exp(-|z|)), where max(z, 0) - z t = z ([z > 0] - t)
    n = rows * z.shape[1]
    np.greater(z, 0, out=delta)
    delta -= t
    delta *= z
    value = _sum(delta)
    value += _sum(np.log1p(_exp_minus_abs(z, delta), out=delta))
    np.subtract(sigmoid(z, out=z, scratch=delta), t, out=delta)
    delta *= 1 / n
    return value / n


def _sum(a):
    return float(np.add.reduce(a, axis=None, dtype=np.float64))


LOSSES = {
    "mse": Loss(None, _mse),
    "half_mse": Loss(None, _half_mse),
    "cross_entropy": Loss("softmax", _cross_entropy),
    "binary_cross_entropy": Loss("sigmoid", _binary_cross_entropy),
}

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


OPTIMIZERS = {
    "sgd": Optimizer(0, {"lr": 0.01}, _sgd),
    "momentum": Optimizer(1, {"lr": 0.01, "mu": 0.9}, _momentum),
    "nesterov": Optimizer(1, {"lr": 0.01, "mu": 0.9}, _nesterov),
    "adam": Optimizer(2, {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}, _adam),
}

# --- The engine -----------------------------------------------------------------------------------


class ReferenceEngine(Derivatives):
    """Predicts with and trains a lowered network.

    Parameters
    ----------
    steps : sequence of Step
        Each has `kind`, `n_in`, `n_out`; a "dense" one `activation`, and in `w` and `b` the offsets
        of W (n_in, n_out) and of the bias (n_out,) in theta; b = -1: no bias. The other kinds are
        in `reference_steps`.
    n_params : int
        Length of theta.
    loss : str
        A key of `LOSSES`.
    dtype : dtype
        float32 or float64, of theta and of every floating-point array given.

    Attributes
    ----------
    theta : ndarray, (n_params,)
        All parameters, zero at the start. Write into it; do not replace it.
    state : ndarray, (n_vectors, n_params)
        What the optimizer remembers.
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
        self._steps, self._loss, self._loss_name = list(steps), LOSSES[loss], loss
        kinds = {step.kind for step in self._steps}
        if kinds - {"dense", *reference_steps.STEPS}:
            raise ValueError(f"{sorted(kinds)} are not all kinds of steps")
        self._is_dense = kinds == {"dense"}
        self._draws = not kinds.isdisjoint({"dropout", "noise"})
        self._samples = any(step.kind == "dropout" and step.values[1] for step in self._steps)
        self._mode, self._trained, self._predicted = reference_steps.Mode(), 0, 0
        wide = sum(2 * step.n_out for step in self._steps if step.kind == "batch_norm")
        self.running = np.zeros(wide, dtype)
        if self._loss.link not in (None, self._steps[-1].activation):
            raise ValueError(f"loss {loss!r} needs a {self._loss.link} output")
        self.theta = np.zeros(n_params, dtype)
        self._gradient = np.zeros_like(self.theta)
        self._move = np.empty_like(self.theta)
        self._buffers, self._capacity, self._passes = None, 0, {}
        self.set_optimizer("sgd", tuple(OPTIMIZERS["sgd"].hyper.values()))

    def again(self, loss=None, dtype=None, theta=None):
        """Return an engine of the same steps, with a copy of these parameters or of `theta`."""
        engine = ReferenceEngine(
            self._steps, self.theta.size, loss or self._loss_name, dtype or self.theta.dtype
        )
        engine.theta[:] = self.theta if theta is None else theta
        engine.running[:] = self.running
        return engine

    def set_optimizer(self, name, hyper):
        """Train with this rule from now on; `hyper` in the order of `OPTIMIZERS[name].hyper`."""
        n_vectors, _, self._update = OPTIMIZERS[name]
        self.rule, self.hyper = name, tuple(hyper)
        self.state = np.zeros((n_vectors, self.theta.size), self.theta.dtype)
        self.n_updates = 0

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
    def loss(self, X, y, n_threads=0, theta=None):
        """Return the mean loss over all rows; at the parameters theta, if given."""
        if theta is not None:
            return self.again(theta=theta).loss(X, y)
        return sum(work.loss(X[rows], y[rows], len(X)) for rows, work in self._blocks(len(X)))

    @np.errstate(all="ignore")
    def loss_and_gradient(self, X, y, gradient, n_threads=0, theta=None):
        """Return the mean loss over all rows; write its gradient to gradient, (n_params,)."""
        if theta is not None:
            return self.again(theta=theta).loss_and_gradient(X, y, gradient)
        value = 0.0
        gradient[:] = 0
        for rows, work in self._blocks(len(X)):
            value += work.loss(X[rows], y[rows], len(X))
            work.backward(X[rows])
            gradient += self._gradient
        return value

    @np.errstate(all="ignore")
    def input_gradient(self, X, y, dx, n_threads=0, theta=None):
        """Return the mean loss over all rows; write its gradient by X to dx, (M, n_in)."""
        if theta is not None:
            return self.again(theta=theta).input_gradient(X, y, dx)
        value = 0.0
        for rows, work in self._blocks(len(X)):
            value += work.loss(X[rows], y[rows], len(X))
            work.backward(X[rows])
            work.input_gradient(dx[rows])
        return value

    @np.errstate(all="ignore")
    def train(self, X, y, order, batch_size, n_threads=0):
        """Update theta once per batch; return the loss of each batch before its update.

        Batches are consecutive slices of `order`, int64 row numbers, or of all rows in turn if it
        is None; the last may be shorter. If a loss is not finite, training stops before the update
        and this loss is the last one returned.
        """
        n_rows = len(X) if order is None else len(order)
        losses = np.empty(-(-n_rows // batch_size))
        self._mode.training, self._mode.first = True, 0
        try:
            return self._train(X, y, order, batch_size, n_rows, losses)
        finally:
            self._mode.training = False

    def _train(self, X, y, order, batch_size, n_rows, losses):
        for i in range(len(losses)):
            self._mode.number = self._trained
            rows = slice(i * batch_size, min((i + 1) * batch_size, n_rows))
            work = self._pass(rows.stop - rows.start)
            x, t = (X[rows], y[rows]) if order is None else work.gather(X, y, order[rows])
            losses[i] = loss = work.loss(x, t, len(x))
            if not math.isfinite(loss):
                return losses[: i + 1]
            work.backward(x)
            self.n_updates += 1
            self._update(
                self.theta, self._gradient, self.state, self._move, self.n_updates, *self.hyper
            )
            self._trained += 1
            work.settle()
        return losses

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
        batch = [np.empty((n_rows, n), dtype) for n in (first.n_in, last.n_out)]
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
        self._loss, self._link = engine._loss.run, None
        self._forward, self._backward = [], []
        x_T = delta_below = None
        for step, of_step in zip(engine._steps, arrays, strict=True):
            z, y, delta = (a[:n_rows] for a in of_step)
            W, b = _parameters(step, engine.theta)
            dW, db = _parameters(step, engine._gradient)
            f, _, keeps, slope = _activation(step)
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

    def loss(self, x, t, rows):
        """Return the share of x in the mean loss over `rows` rows, ready for `backward`."""
        return self._loss(self.forward(x), t, rows, self._delta)

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
        self._loss, self._link = engine._loss.run, None
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
        self.activation.backward(self.z if self.activation.keeps == "X" else y, dy)
        np.dot(x.T, dy, out=self.dW)
        if self.db is not None:
            np.sum(dy, axis=0, out=self.db)
        if dx is not None:
            np.dot(dy, self.W.T, out=dx)

    def settle(self):
        pass


def _activation(step):
    return SOFTMAX if step.activation == "softmax" else ACTIVATIONS[step.activation]


def _parameters(step, flat):
    """Return the views W (n_in, n_out) and b (n_out,), or None, of a step into a flat vector."""
    W = flat[step.w : step.w + step.n_in * step.n_out].reshape(step.n_in, step.n_out)
    return W, None if step.b < 0 else flat[step.b : step.b + step.n_out]
