"""One run after the other: each trainer on each problem from the same seeds."""

from __future__ import annotations

import math
import statistics
import time
from typing import NamedTuple

import nncore

from .problems import PROBLEMS

TRAINERS = (
    "steepest_descent", "cg_fletcher_reeves", "cg_polak_ribiere", "cg_hestenes_stiefel",
    "cg_dai_yuan", "cg_hager_zhang", "cg_powell_beale", "scg", "one_step_secant", "lbfgs", "bfgs",
    "rprop-", "rprop+", "irprop-", "irprop+", "quickprop", "lm", "bayesian", "adam", "sgd",
)  # fmt: skip


class Run(NamedTuple):
    """What became of one run; `losses` and `times` of its epochs."""

    reached: bool
    gradients: int
    seconds: float
    losses: list
    times: list

    @property
    def epochs(self):
        return len(self.losses)


def applies(trainer, problem):
    """Whether a trainer is for a problem."""
    if trainer == "bayesian":  # the others have fewer data than parameters, or classes
        return problem.loss == "mse" and problem.output == "identity"
    return trainer != "lm" or problem.loss == "mse"


def optimizer_of(trainer, problem):
    """What `nncore.Network` is given."""
    if trainer == "adam":
        return nncore.Adam(problem.rates["adam"])
    if trainer == "sgd":
        return nncore.SGD(problem.rates["sgd"], momentum=0.9)
    if trainer == "quickprop":
        return nncore.Quickprop(problem.rates["quickprop"])
    return trainer


def run_once(trainer, problem, data, seed):
    """Train a new network until it reaches the goal or fails."""
    net = problem.network(optimizer_of(trainer, problem), seed)
    conditions = {"loss": problem.goal, "seconds": problem.seconds}
    if trainer not in ("adam", "sgd"):
        conditions["evaluations"] = problem.limit
    stop = nncore.Stop(**conditions)
    start = time.perf_counter()
    try:
        history = net.fit(
            *data, epochs=problem.limit, batch_size="full", shuffle=False, verbose=False,
            n_threads=1, stop=stop,
        )  # fmt: skip
    except FloatingPointError:  # the rate is too large here
        return Run(False, 0, math.inf, [], [])
    seconds = time.perf_counter() - start
    losses = history["loss"]
    # An epoch is as long as the evaluations in it.
    work = history.get("evaluations", range(1, len(losses) + 1))
    gradients = history["gradients"][-1] if "gradients" in history else len(losses)
    times = [seconds * w / work[-1] for w in work]
    return Run(history.stop_reason == "loss", gradients, seconds, losses, times)


def compete(names, seeds, trainers=TRAINERS, progress=None):
    """Return {problem: {trainer: [Run of each seed]}}; trainers take turns, a seed each."""
    results = {}
    for name in names:
        problem = PROBLEMS[name]
        data = problem.data()
        runs = results[name] = {t: [] for t in trainers if applies(t, problem)}
        start = time.perf_counter()
        for trainer in runs:  # imports and caches
            run_once(trainer, problem._replace(limit=3), data, 0)
        for seed in range(seeds):
            for trainer, done in runs.items():
                done.append(run_once(trainer, problem, data, seed))
        if progress:
            progress(f"{name}: {seeds} seeds, {time.perf_counter() - start:.1f} s")
    return results


class Summary(NamedTuple):
    """Medians over all seeds, a failed run being one that takes for ever; and failures."""

    epochs: float
    gradients: float
    seconds: float
    failed: int
    n: int


def summary(runs):
    """Return the `Summary` of the runs of a trainer."""
    medians = (
        statistics.median_high([getattr(run, what) if run.reached else math.inf for run in runs])
        for what in ("epochs", "gradients", "seconds")
    )
    return Summary(*medians, sum(not run.reached for run in runs), len(runs))
