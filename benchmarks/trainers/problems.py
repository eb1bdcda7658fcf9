"""The problems: small, known from the trainers' papers, each with the loss that is its goal."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import nncore


class Problem(NamedTuple):
    """A network, its data, and when a run is over.

    A run reaches `goal`, or fails: after `limit` evaluations of the loss, after `seconds` (which
    only the slowest need), or when its trainer gets stuck. `rates` are the best of some that were
    tried for the three that need one.
    """

    title: str
    data: Callable
    layers: tuple[int, ...]
    output: str
    goal: float
    limit: int
    rates: dict[str, float]
    hidden: str = "tanh"
    init: str | None = None
    loss: str = "mse"
    dtype: str = "float64"
    seconds: float = 10.0

    @property
    def shape(self):
        """As in 2-3-1."""
        return "-".join(map(str, self.layers))

    def network(self, optimizer, seed, dtype=None):
        """Return a network whose parameters depend on `seed` alone."""
        n_in, *widths, n_out = self.layers
        return nncore.Network(
            n_in, *(nncore.Dense(n, self.hidden, init=self.init) for n in widths),
            nncore.Dense(n_out, self.output), loss=self.loss, optimizer=optimizer, seed=seed,
            dtype=dtype or self.dtype,
        )  # fmt: skip


def xor():
    """Exclusive or."""
    return np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float), np.array([[0], [1], [1], [0]], float)


def encoder(n):
    """One of n to itself (Ackley, Hinton and Sejnowski 1985)."""
    return np.eye(n), np.eye(n)


def parity(n):
    """Whether the number of ones among n inputs of -1 and 1 is odd."""
    bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return 2.0 * bits - 1, bits.sum(axis=1, keepdims=True) % 2.0


def two_spirals():
    """194 points of two spirals of three turns (Lang and Witbrock 1988), in the unit circle."""
    i = np.arange(97)
    angle, radius = i * np.pi / 16, (104 - i) / 104
    arm = radius[:, None] * np.column_stack((np.sin(angle), np.cos(angle)))
    return np.vstack((arm, -arm)), np.repeat([[1.0], [0.0]], 97, axis=0)


def sine(n, turns):
    """n points of so many turns of a sine."""
    x = np.linspace(-1, 1, n)[:, None]
    return x, np.sin(np.pi * turns * x)


def digits():
    """1,797 images of 8 x 8 pixels, all of them."""
    X, y = nncore.datasets.load_digits()
    return X / 8 - 1, y


PROBLEMS = {
    "xor": Problem(
        "XOR", xor, (2, 3, 1), "sigmoid", 1e-3, 2000, {"adam": 0.1, "sgd": 1, "quickprop": 0.3}
    ),
    "encoder-10": Problem(
        "encoder", lambda: encoder(10), (10, 5, 10), "sigmoid", 1e-3, 2000,
        {"adam": 0.1, "sgd": 3, "quickprop": 30}, hidden="sigmoid",
    ),
    "encoder-12": Problem(
        "encoder", lambda: encoder(12), (12, 2, 12), "sigmoid", 5e-3, 4000,
        {"adam": 0.1, "sgd": 3, "quickprop": 10}, hidden="sigmoid",
    ),
    "parity-4": Problem(
        "parity of 4 bits", lambda: parity(4), (4, 6, 1), "sigmoid", 1e-3, 2000,
        {"adam": 0.1, "sgd": 1, "quickprop": 3},
    ),
    "parity-6": Problem(
        "parity of 6 bits", lambda: parity(6), (6, 10, 1), "sigmoid", 1e-3, 2000,
        {"adam": 0.1, "sgd": 3, "quickprop": 3},
    ),
    "spirals": Problem(
        "two spirals, 194 points", two_spirals, (2, 20, 20, 1), "sigmoid", 0.05, 1000,
        {"adam": 0.03, "sgd": 3, "quickprop": 0.1}, init="nguyen_widrow",
    ),
    "sine-5": Problem(
        "one turn of a sine, 41 points", lambda: sine(41, 1), (1, 5, 1), "identity", 1e-3, 2000,
        {"adam": 0.1, "sgd": 0.3, "quickprop": 0.1}, init="nguyen_widrow",
    ),
    "sine-20": Problem(
        "two turns of a sine, 1,000 points", lambda: sine(1000, 2), (1, 20, 1), "identity", 1e-3,
        1000, {"adam": 0.1, "sgd": 0.1, "quickprop": 0.03}, init="nguyen_widrow",
    ),
    "digits": Problem(
        "digits, 1,797 images", digits, (64, 32, 10), "softmax", 0.01, 300,
        {"adam": 0.03, "sgd": 1, "quickprop": 1}, loss="cross_entropy", dtype="float32",
    ),
}  # fmt: skip
QUICK = ("xor", "sine-5")
