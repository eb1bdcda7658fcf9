"""Smooth functions with known minima, as ``f(x) -> (value, gradient)``; nothing of nncore."""

import numpy as np


def ellipsoid(n, condition, seed=0):
    """A quadratic 1/2 x'Ax - b'x with a rotated A, and its minimum."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    A = Q * np.geomspace(1, condition, n) @ Q.T
    A, b = (A + A.T) / 2, rng.normal(size=n)
    return (lambda x: (float(0.5 * x @ A @ x - b @ x), A @ x - b)), np.linalg.solve(A, b)


def rosenbrock(x):
    a, b = x[:-1], x[1:]
    g = np.zeros_like(x)
    g[:-1] = -2 * (1 - a) - 400 * a * (b - a * a)
    g[1:] += 200 * (b - a * a)
    return float(((1 - a) ** 2 + 100 * (b - a * a) ** 2).sum()), g


def shark(x):
    """Shark's ellipsoid: axis i has the curvature 10^(6 i / (n - 1)), here not rotated."""
    w = np.geomspace(1, 1e6, len(x))
    return float(w @ (x * x)), 2 * w * x


def wavy(x):
    """Not convex: Moller's lambda is raised here."""
    return float(np.sum(np.cos(3 * x) + 0.1 * x * x)), -3 * np.sin(3 * x) + 0.2 * x
