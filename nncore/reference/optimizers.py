"""Update rules in NumPy."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .activations import Array


class Optimizer(NamedTuple):
    """A rule that updates all parameters, a vector theta, from the gradient g of the same length.

    n_vectors   number of state vectors, zero before the first update
    hyper       names of the hyper-parameters and their defaults
    update(theta, g, state, move, t, *hyper)  does step t = 1, 2, ... in place on theta and on the
                rows of state, (n_vectors, n_params); `move` is scratch, (n_params,)

    Examples
    --------
    >>> theta, state = np.ones(2), np.zeros((1, 2))
    >>> OPTIMIZERS["momentum"].update(theta, np.ones(2), state, np.empty(2), 1, 0.1, 0.9)
    >>> theta, state
    (array([0.9, 0.9]), array([[1., 1.]]))
    """

    n_vectors: int
    hyper: dict[str, float]
    update: Callable[..., None]


def _sgd(theta: Array, g: Array, state: Array, move: Array, t: int, lr: float) -> None:
    # theta -= lr g
    theta -= np.multiply(g, lr, out=move)


def _momentum(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, mu: float,
) -> None:  # fmt: skip
    # v = mu v + g;  theta -= lr v
    (v,) = state
    v *= mu
    v += g
    theta -= np.multiply(v, lr, out=move)


def _nesterov(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, mu: float,
) -> None:  # fmt: skip
    # v = mu v + g;  theta -= lr (g + mu v)
    (v,) = state
    v *= mu
    v += g
    np.multiply(v, mu, out=move)
    move += g
    move *= lr
    theta -= move


def _adam(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, beta1: float, beta2: float, eps: float,
) -> None:  # fmt: skip
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


def _dampened(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, mu: float, dampening: float,
) -> None:  # fmt: skip
    # v = mu v + (1 - dampening) g, but v = g at first;  theta -= lr v
    (v,) = state
    v *= mu
    v += g if t == 1 else np.multiply(g, 1 - dampening, out=move)
    theta -= np.multiply(v, lr, out=move)


def _velocity(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, mu: float,
) -> None:  # fmt: skip
    # v = mu v + lr g;  theta -= v
    (v,) = state
    v *= mu
    v += np.multiply(g, lr, out=move)
    theta -= v


def _velocity_nesterov(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, mu: float,
) -> None:  # fmt: skip
    # v = mu v + lr g;  theta -= mu v + lr g
    (v,) = state
    v *= mu
    v += np.multiply(g, lr, out=move)
    theta -= move
    theta -= np.multiply(v, mu, out=move)


def _moments(m: Array, v: Array, g: Array, move: Array, beta1: float, beta2: float) -> None:
    # m = beta1 m + (1 - beta1) g, v likewise of g^2
    m *= beta1
    m += np.multiply(g, 1 - beta1, out=move)
    v *= beta2
    np.multiply(g, g, out=move)
    move *= 1 - beta2
    v += move


def _adam_keras(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, beta1: float, beta2: float, eps: float,
) -> None:  # fmt: skip
    # theta -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
    m, v = state
    _moments(m, v, g, move, beta1, beta2)
    np.sqrt(v, out=move)
    move += eps
    np.divide(m, move, out=move)
    move *= lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    theta -= move


def _amsgrad(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, beta1: float, beta2: float, eps: float,
) -> None:  # fmt: skip
    # adam with the largest v so far
    m, v, largest = state
    _moments(m, v, g, move, beta1, beta2)
    np.maximum(v, largest, out=largest)
    root = math.sqrt(1 - beta2**t)
    np.sqrt(largest, out=move)
    move += eps * root
    np.divide(m, move, out=move)
    move *= lr * root / (1 - beta1**t)
    theta -= move


def _amsgrad_keras(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, beta1: float, beta2: float, eps: float,
) -> None:  # fmt: skip
    root = math.sqrt(1 - beta2**t)
    _amsgrad(theta, g, state, move, t, lr, beta1, beta2, eps / root)


def _adagrad(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, lr_decay: float, eps: float, eps_root: float,
) -> None:  # fmt: skip
    # s += g^2;  theta -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s + eps_root) + eps)
    (s,) = state
    s += np.multiply(g, g, out=move)
    np.add(s, eps_root, out=move)
    np.sqrt(move, out=move)
    move += eps
    np.divide(g, move, out=move)
    move *= lr / (1 + (t - 1) * lr_decay)
    theta -= move


def _adadelta(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, rho: float, eps: float,
) -> None:  # fmt: skip
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


def _rms_quotient(
    g: Array, s: Array, a: Array | None, move: Array,
    rho: float, eps: float, eps_root: float,
) -> Array:  # fmt: skip
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


def _rmsprop(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, rho: float, eps: float, eps_root: float,
) -> None:  # fmt: skip
    # theta -= lr quotient
    (s,) = state
    theta -= np.multiply(_rms_quotient(g, s, None, move, rho, eps, eps_root), lr, out=move)


def _rmsprop_centered(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, rho: float, eps: float, eps_root: float,
) -> None:  # fmt: skip
    s, a = state
    theta -= np.multiply(_rms_quotient(g, s, a, move, rho, eps, eps_root), lr, out=move)


def _rms_velocity(theta: Array, v: Array, move: Array, lr: float, mu: float, early: float) -> None:
    # v = mu v + quotient;  theta -= lr v;  early: v = mu v + lr quotient;  theta -= v
    v *= mu
    if early:
        v += np.multiply(move, lr, out=move)
        theta -= v
    else:
        v += move
        theta -= np.multiply(v, lr, out=move)


def _rmsprop_momentum(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, rho: float, eps: float, eps_root: float, mu: float, early: float,
) -> None:  # fmt: skip
    s, v = state
    _rms_velocity(theta, v, _rms_quotient(g, s, None, move, rho, eps, eps_root), lr, mu, early)


def _rmsprop_centered_momentum(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, rho: float, eps: float, eps_root: float, mu: float, early: float,
) -> None:  # fmt: skip
    s, a, v = state
    _rms_velocity(theta, v, _rms_quotient(g, s, a, move, rho, eps, eps_root), lr, mu, early)


def _adamax(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, beta1: float, beta2: float, eps: float, eps_max: float,
) -> None:  # fmt: skip
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


def _nadam(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, beta1: float, beta2: float, eps: float, momentum_decay: float,
) -> None:  # fmt: skip
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


def _radam(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, beta1: float, beta2: float, eps: float,
) -> None:  # fmt: skip
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


def _lion(
    theta: Array, g: Array, state: Array, move: Array, t: int,
    lr: float, beta1: float, beta2: float,
) -> None:  # fmt: skip
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
