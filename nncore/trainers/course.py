"""A full-batch trainer at work on a network."""

import copy
import time

import numpy as np

from .base import Memory, Stuck
from .problem import NetworkLoss, Point, leaves, norm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..history import History
    from ..network import Network


class Course:
    """The iterations of one call of `Network.fit`.

    The network's parameters are set when an iteration is over; an interrupt before leaves them, and
    what the trainer remembers, as after the last one.
    """

    def __init__(
        self,
        network: "Network",
        X: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None,
        n_threads: int,
        history: "History",
    ):
        _check(network)
        self._network, self._history = network, history
        self._problem = NetworkLoss(network, X, y, weights, n_threads)
        self.point = self._problem.at(network.theta.copy())
        if not self.point.is_finite():
            raise FloatingPointError(
                f"The loss is {self.point.loss:g} before the first iteration, or its gradient is "
                "not finite. Scale the inputs and targets, or make a new network."
            )
        fixed = self._problem.fixed
        if network._memory is None or not _same(network._memory[1], fixed):
            rng = copy.deepcopy(network._rng)  # an error leaves that of the network as it is
            network._memory = network._optimizer.begin(self._problem, self.point, rng), fixed
            network._rng = rng

    def follow(self) -> None:
        """Go on from the network's parameters, if somebody has changed them since `advance`."""
        network = self._network
        if not np.array_equal(network.theta, self.point.theta):
            self.point = self._problem.at(network.theta.copy())
            rng = copy.deepcopy(network._rng)
            memory = network._optimizer.begin(self._problem, self.point, rng)
            network._memory, network._rng = (memory, self._problem.fixed), rng

    def go_on(self, history: "History") -> None:
        """Count on from a history that is resumed."""
        problem = self._problem
        problem.evaluations = int(history["evaluations"][-1])
        problem.gradients = int(history["gradients"][-1])

    def advance(self, epoch: int | None) -> dict[str, float]:
        """Do one iteration; return what the history records of it."""
        network, trainer, problem = self._network, self._network._optimizer, self._problem
        start = time.perf_counter()
        trainer.check()
        memory, _ = network._memory
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
                point, memory = trainer.iterate(problem, self.point, memory)
        except Stuck as stuck:
            self._history.stop_reason = str(stuck)
            point = self.point
        if not point.is_finite():
            raise FloatingPointError(
                f"Loss became {point.loss:g} at epoch {epoch}, or its gradient is not finite; that "
                "update was not applied. Use a smaller learning rate or step, or scale the inputs "
                "and targets."
            )
        if point is not self.point:
            self._history.n_steps += 1
        done = network._engine.n_updates + (point is not self.point)
        try:
            self._keep(point, memory, done)
        finally:  # again: an interrupt amid the first time would leave half of it
            self._keep(point, memory, done)
        self._history.seconds += time.perf_counter() - start
        return {
            "loss": point.loss, "gradient_norm": norm(point.gradient),
            "evaluations": problem.evaluations, "gradients": problem.gradients,
            **trainer.report(memory),
        }  # fmt: skip

    def _keep(self, point: Point, memory: Memory, done: int) -> None:
        engine = self._network._engine
        self.point, self._network._memory = point, (memory, self._problem.fixed)
        engine.theta[...], engine.n_updates = point.theta, done


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))


def _check(network: "Network") -> None:
    """Raise if the loss is not one function of the parameters, or an attribute would do nothing."""
    name = type(network._optimizer).__name__
    if network._engine.draws or any(layer.of_batches for layer in network.layers):
        raise ValueError(
            f"{name} needs a loss that is the same in each iteration, but a layer draws random "
            "numbers or normalises batches; leave Dropout, GaussianNoise and BatchNorm out, or "
            'train with "adam"'
        )
    for layer in leaves(network.layers):
        for attribute, plain in (("lr_scale", 1.0), ("max_norm", None)):
            if getattr(layer, attribute, plain) not in (plain, 0.0):
                raise ValueError(
                    f"{name} has no use for {attribute}={getattr(layer, attribute)!r} of {layer!r}"
                )
