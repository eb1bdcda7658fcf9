"""Losses in NumPy: value and gradient by one function."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .activations import Array, exp_minus_abs, sigmoid, softplus


class Loss(NamedTuple):
    """A loss of s, (M, N), for targets t, (M, N) or, for cross_entropy, also labels, (M,).

    link        None: s is the output y of the network, of whatever activation. A name: s are the
                scores z before an output of this activation, which the loss contains.
    run(s, t, rows, delta, w, *hyper)  writes the gradient with respect to s to delta and returns
                the value, summed in float64; both as this block's share in a mean over `rows` rows.
                One function does both, so they belong together. Overwrites scores, but not outputs.
                w: None, or weights of the rows, (M,), or of all targets, (M, N); then `rows` is
                the sum of all weights, and what has weight 0 is as if it were not there.
    hyper       names of the parameters and their defaults
    per_target  outputs for each target: t is (M, N / per_target)
    by_rows     whether an elementwise one is a sum over each row and a mean over rows

    Examples
    --------
    >>> s, t = np.array([[1.0, 2.0]]), np.zeros((1, 2))
    >>> LOSSES["mse"].value(s, t), LOSSES["mse"].gradient(s, t)
    (2.5, array([[1., 2.]]))
    """

    link: str | None
    run: Callable[..., float]
    hyper: dict[str, float] = {}
    per_target: int = 1
    by_rows: bool = False

    def value(self, s: Array, t: Array, *hyper: float, w: Array | None = None) -> float:
        """Return the loss, a float."""
        return self._run(s, t, hyper, w, np.empty_like(s))

    def gradient(self, s: Array, t: Array, *hyper: float, w: Array | None = None) -> Array:
        """Return the gradient of `value` with respect to s, (M, N)."""
        delta = np.empty_like(s)
        self._run(s, t, hyper, w, delta)
        return delta

    def _run(
        self, s: Array, t: Array, hyper: tuple[float, ...], w: Array | None, delta: Array
    ) -> float:
        rows = len(s) if w is None else w.sum()
        return self.run(s.copy(), t, rows, delta, w, *(hyper or self.hyper.values()))


def _total(values: Array, w: Array | None) -> float:
    """The sum of the values, (M,) or (M, N), each row, or each value, times its weight."""
    if w is None:
        return _sum(values)
    if w.ndim == 2:
        return float(np.sum(np.where(w > 0, values, 0) * w, dtype=np.float64))
    if values.ndim == 2:
        values = np.add.reduce(values, axis=1, dtype=np.float64)
    return float(np.dot(w, np.where(w > 0, values, 0)))


def _scale(delta: Array, factor: float, w: Array | None) -> None:
    """delta *= factor, and each row times its weight"""
    if w is None:
        delta *= factor
    else:
        delta *= factor * w if w.ndim == 2 else (factor * w)[:, None]
        delta[w == 0] = 0


def _squares(y: Array, t: Array, delta: Array, factor: float, w: Array | None) -> float:
    # factor sum (y - t)^2
    np.subtract(y, t, out=delta)
    each = np.square(delta) if w is not None and w.ndim == 2 else np.vecdot(delta, delta)
    value = factor * _total(each, w)
    _scale(delta, 2 * factor, w)
    return value


def _mse(y: Array, t: Array, rows: float, delta: Array, w: Array | None = None) -> float:
    # mean over all elements of (y - t)^2
    return _squares(y, t, delta, 1 / (rows * y.shape[1]), w)


def _half_mse(y: Array, t: Array, rows: float, delta: Array, w: Array | None = None) -> float:
    # 1/2 (y - t)^2, summed over outputs, mean over rows
    return _squares(y, t, delta, 1 / (2 * rows), w)


def _elementwise(f: Callable[..., Array]) -> Callable[..., float]:
    """The mean over all elements of f(y, t, delta, *hyper), which also writes df/dy to delta."""

    def run(
        y: Array, t: Array, rows: float, delta: Array, w: Array | None = None, *hyper: float
    ) -> float:
        n: float = rows * y.shape[1]
        value = _total(f(y, t, delta, *hyper), w) / n
        _scale(delta, 1 / n, w)
        return value

    return run


def _mae(y: Array, t: Array, delta: Array) -> Array:  # |y - t|; the slope at 0 is 0
    np.subtract(y, t, out=delta)
    values = np.abs(delta)
    np.sign(delta, out=delta)
    return values


def _huber(y: Array, t: Array, delta: Array, bound: float) -> Array:
    # d^2 / 2 where |d| < bound, else bound (|d| - bound / 2)
    d = y - t
    np.clip(d, -bound, bound, out=delta)
    return delta * (d - delta / 2)


def _smooth_l1(y: Array, t: Array, delta: Array, beta: float) -> Array:
    # Huber's with bound beta, divided by beta
    values = _huber(y, t, delta, beta) / beta
    delta /= beta
    return values


def _log_cosh(y: Array, t: Array, delta: Array) -> Array:
    # log cosh d = log(1 + 2 sinh(d/2)^2); |d| - log 2 for large d
    d = y - t
    np.tanh(d, out=delta)
    d = np.abs(d)
    near = np.log1p(2 * np.square(np.sinh(np.minimum(d, 20) / 2)))
    return np.where(d > 20, d - math.log(2), near)


def _quantile(y: Array, t: Array, delta: Array, q: float) -> Array:
    # q (t - y) below the target, (1 - q) (y - t) above; slope 0 at it
    d = y - t
    delta[...] = np.where(d < 0, -q, np.where(d > 0, 1 - q, d))
    return delta * d


def _hinge(y: Array, t: Array, delta: Array) -> Array:  # max(1 - t y, 0); slope 0 where t y = 1
    margin = np.maximum(1 - t * y, 0)
    delta[...] = np.where(margin > 0, -t, 0)
    return margin


def _squared_hinge(y: Array, t: Array, delta: Array) -> Array:  # max(1 - t y, 0)^2
    margin = np.maximum(1 - t * y, 0)
    np.multiply(-2 * t, margin, out=delta)
    return np.square(margin)


def _poisson(y: Array, t: Array, delta: Array) -> Array:
    # exp(y) - t y, y the logarithm of the rate
    e = np.exp(y)
    np.subtract(e, t, out=delta)
    return e - t * y


def _focal(z: Array, t: Array, delta: Array, gamma: float, alpha: float) -> Array:
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


def _cross_entropy(
    z: Array, t: Array, rows: float, delta: Array, w: Array | None = None, smoothing: float = 0.0
) -> float:
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


def _kl_divergence(z: Array, t: Array, rows: float, delta: Array, w: Array | None = None) -> float:
    # sum_j t_j (log t_j - log softmax(z)_j), 0 log 0 = 0
    entropy = t * np.log(np.where(t > 0, t, 1))
    return _cross_entropy(z, t, rows, delta, w) + _total(entropy, w) / rows


def _binary_cross_entropy(
    z: Array, t: Array, rows: float, delta: Array, w: Array | None = None,
    pos_weight: float = 1.0, smoothing: float = 0.0,
) -> float:  # fmt: skip
    # -t log y - (1 - t) log(1 - y) with y = sigmoid(z), mean over all elements, is
    # max(z, 0) - z t + log1p(exp(-|z|)), where max(z, 0) - z t = z ([z > 0] - t)
    n: float = rows * z.shape[1]
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
        value += _total(np.log1p(exp_minus_abs(z, delta), out=delta), w)
        np.subtract(sigmoid(z, out=z, scratch=delta), t, out=delta)
    _scale(delta, 1 / n, w)
    return value / n


def _gaussian_nll(y: Array, t: Array, rows: float, delta: Array, w: Array | None = None) -> float:
    # of means m and, behind them, the logarithms v of the variances: 1/2 (v + (m - t)^2 exp(-v))
    n: int = t.shape[1]
    m, v = y[:, :n], y[:, n:]
    d = m - t
    slope = d * np.exp(-v)
    delta[:, :n] = slope
    delta[:, n:] = (1 - d * slope) / 2
    _scale(delta, 1 / (rows * n), w)
    return _total((v + d * slope) / 2, w) / (rows * n)


def _by_rows(run: Callable[..., float]) -> Callable[..., float]:
    """The same loss summed over each row, of a mean over elements."""
    return lambda y, t, rows, *rest: run(y, t, rows / t.shape[1], *rest)


def _own_loss(of_rows: Callable[..., Any]) -> Callable[..., float]:
    """The mean over rows of a loss that was registered: of_rows(y, t) returns values and slopes."""

    def run(y: Array, t: Array, rows: float, delta: Array, w: Array | None = None) -> float:
        kept = slice(None) if w is None else np.flatnonzero(w)
        delta[...] = 0
        if not len(y[kept]):
            return 0.0
        values, slopes = of_rows(y[kept].copy(), t[kept].copy())
        delta[kept] = slopes
        _scale(delta, 1 / rows, w)
        return _total(values, None if w is None else w[kept]) / rows

    return run


def _sum(a: Array) -> float:
    return float(np.add.reduce(a, axis=None, dtype=np.float64))


_BY_ROWS = ("half_mse", "cross_entropy", "kl_divergence")  # as they are

LOSSES = {
    "mse": Loss(None, _mse),
    "half_mse": Loss(None, _half_mse, by_rows=True),
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


def loss_of(loss: Any) -> tuple[Loss, tuple[float, ...]]:
    """Return the `Loss` and its parameters, of a name or an object with ``name`` and ``values``."""
    if getattr(loss, "of_rows", None) is not None:
        return Loss(None, _own_loss(loss.of_rows)), ()
    name = getattr(loss, "name", loss)
    row = LOSSES[name]
    if getattr(loss, "mean", None) == "rows" and name not in _BY_ROWS:
        row = row._replace(run=_by_rows(row.run), by_rows=True)
    return row, tuple(getattr(loss, "values", row.hyper.values()))
