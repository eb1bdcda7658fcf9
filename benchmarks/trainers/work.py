"""What the trainers themselves cost, beside the engine's evaluations."""

from __future__ import annotations

import statistics
import time

import numpy as np

import nncore
from nncore.trainers import as_trainer
from nncore.trainers.problem import NetworkLoss

from .problems import PROBLEMS


def lines(quick=False):
    """The figures, as lines of Markdown."""
    for dtype in ("float32", "float64"):
        ms = 1e3 * levenberg_marquardt(dtype, 5 if quick else 60)
        yield f"* Levenberg-Marquardt, 1-20-1, 1,000 samples, {dtype}: {ms:.2f} ms per iteration."
    rows = 1000 if quick else 10_000
    for name in ("cg", "lbfgs"):
        share = own_share(name, rows, 4 if quick else 25)
        yield (
            f"* `{name}`, 784-128-10, {rows:,} rows, float32: {100 * share:.1f} % of the time of "
            "its gradients is its own work."
        )


def levenberg_marquardt(dtype, iterations):
    """Median seconds per iteration: a Jacobian, J'J, a solution or more, an evaluation or more."""
    problem = PROBLEMS["sine-20"]
    net = problem.network("lm", 0, dtype)
    loss = NetworkLoss(net, *(a.astype(dtype) for a in problem.data()), n_threads=1)
    return statistics.median(seconds for seconds, _ in iterate("lm", loss, net.theta, iterations))


def own_share(name, rows, iterations):
    """The time of a run outside the engine, over that inside: the median of its iterations.

    The first half is left out: L-BFGS has not yet all of its pairs.
    """
    rng = np.random.default_rng(0)
    net = nncore.Network(784, nncore.Dense(128, "relu"), nncore.Dense(10, "softmax"), seed=0)
    X = rng.random((rows, 784), np.float32)
    loss = NetworkLoss(net, X, rng.integers(0, 10, rows), n_threads=1)
    loss._engine = engine = Timed(loss._engine)
    shares = []
    for seconds, _ in iterate(name, loss, net.theta, iterations):
        shares.append((seconds - engine.seconds) / engine.seconds)
        engine.seconds = 0.0
    return statistics.median(shares[max(1, len(shares) // 2) :])


def iterate(name, loss, theta, iterations):
    """Yield the seconds of each iteration, and the point after it."""
    trainer = as_trainer(name)
    point = loss.at(theta.copy())
    memory = trainer.begin(loss, point, np.random.default_rng(0))
    if isinstance(loss._engine, Timed):
        loss._engine.seconds = 0.0
    for _ in range(iterations):
        start = time.perf_counter()
        point, memory = trainer.iterate(loss, point, memory)
        yield time.perf_counter() - start, point


class Timed:
    """An engine that knows how long its evaluations took."""

    def __init__(self, engine):
        self._engine, self.seconds = engine, 0.0

    def __getattr__(self, name):
        call = getattr(self._engine, name)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return timed
