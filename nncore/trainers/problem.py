"""What trainers minimise: a loss of one flat vector, whose evaluations are counted."""

import abc
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..layers import Layer
    from ..network import Network


class Point(NamedTuple):
    """Parameters, and the loss and its gradient there. The arrays are not changed any more."""

    theta: np.ndarray
    loss: float
    gradient: np.ndarray

    def is_finite(self) -> bool:
        """Whether the loss and each number of the gradient are finite."""
        if not np.isfinite(self.loss):
            return False
        # one number tells, unless squares overflow
        return math.isfinite(dot(self.gradient, self.gradient)) or bool(
            np.isfinite(self.gradient).all()
        )


dot = _core.dot
"""a . b of two vectors of one dtype, infinite where it overflows: np.dot would warn there."""


def norm(a: np.ndarray) -> float:
    """The 2-norm, also where squares would overflow."""
    square = dot(a, a)
    if np.isfinite(square) and square > 1e-30:
        return math.sqrt(square)
    largest = float(np.abs(a).max(initial=0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    scaled = a / largest
    return largest * math.sqrt(dot(scaled, scaled))


class Problem(abc.ABC):
    """A function to minimise.

    Attributes
    ----------
    evaluations : int
        How often the loss was computed, with its gradient or without.
    gradients : int
        How often the gradient was computed; a product with the Hessian or a Jacobian counts as one.
    n_free : int
        How many of the n parameters are trained.
    eps : float
        Relative rounding error that a loss is expected to have.
    """

    def __init__(self, n: int, dtype: Any):
        self.n = self.n_free = n
        self.dtype = np.dtype(dtype)
        self.eps = 4 * float(np.finfo(self.dtype).eps)
        self.evaluations = self.gradients = 0

    def value(self, theta: np.ndarray) -> float:
        """Return the loss at `theta`."""
        return self.at(theta).loss

    @abc.abstractmethod
    def at(self, theta: np.ndarray) -> Point:
        """Return the `Point` at `theta`, which the caller does not change afterwards."""

    def curvature(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray | None:
        """Return the Hessian at `theta` times `v`, or None where only differences can tell."""
        return None

    def free(self, vector: np.ndarray) -> np.ndarray:
        """Set what stands for parameters that are not trained to zero, and return the vector."""
        return vector

    def squares(self, block_rows: int | None = None, max_bytes: float = math.inf) -> "Squares":
        """Return the loss as `Squares`, or raise ValueError."""
        raise ValueError(
            "this trainer needs a sum of squares with its residuals, which only the loss of a "
            'network has; for a function use "bfgs" or "lbfgs"'
        )


class Squares(NamedTuple):
    """A loss ``scale * (sum_i w_i e_i^2 + sum_j penalty_j theta_j^2)`` of residuals e.

    j goes over the indices `free`, the parameters that are trained, and w are the weights of rows,
    so a row of weight 2 is two of `n_residuals`. ``normal(theta)`` is J'WJ, in float64, of the
    Jacobian J of the residuals by those parameters.
    """

    scale: float
    n_residuals: float
    penalty: np.ndarray
    free: np.ndarray
    normal: Callable[[np.ndarray], np.ndarray]


class Function(Problem):
    """A function ``f(x) -> (value, gradient)`` of the user's."""

    def __init__(
        self,
        function: "Callable[[np.ndarray], tuple[float, ArrayLike]]",
        n: int,
        dtype: Any = np.float64,
    ):
        super().__init__(n, dtype)
        self._function = function

    def at(self, theta: np.ndarray) -> Point:
        self.evaluations += 1
        self.gradients += 1
        found = self._function(theta)
        if not (isinstance(found, tuple) and len(found) == 2 and np.ndim(found[0]) == 0):
            raise TypeError(
                "the function must return two things, its value, a number, and its gradient, got "
                f"{type(found).__name__} {found!r:.60}"
            )
        loss, gradient = found
        gradient = np.array(gradient, self.dtype)  # a copy: the function may use its array again
        if gradient.shape != (self.n,):
            raise ValueError(
                f"the gradient of the function must have shape ({self.n},), got {gradient.shape}"
            )
        return Point(theta, float(loss), gradient)


def leaves(layers: Iterable["Layer"]) -> Iterator["Layer"]:
    """Yield the layers, with those inside of others in their place."""
    for layer in layers:
        inner = getattr(layer, "layers", None)
        if inner is None:
            yield layer
        else:
            yield from leaves(inner)


def _place(network: "Network", values: np.ndarray) -> slice:
    """Where an array of parameters lies in theta, as a slice."""
    at = values.__array_interface__["data"][0] - network.theta.__array_interface__["data"][0]
    return slice(at // values.itemsize, at // values.itemsize + values.size)


def fixed_parameters(network: "Network") -> np.ndarray | None:
    """Which parameters are not trained, as a vector of bools, or None if all are."""
    frozen = [layer for layer in leaves(network.layers) if not layer.trainable]
    fixed = np.zeros(network.n_params, bool)
    for layer in frozen:
        for values in layer.parameters().values():
            fixed[_place(network, values)] = True
    return fixed if fixed.any() else None


def _penalties(network: "Network") -> tuple[np.ndarray, bool]:
    """The l2 of each parameter, as a vector, and whether any layer has an l1."""
    l2 = np.zeros(network.n_params)
    for layer in leaves(network.layers):
        if layer.l2:
            l2[_place(network, layer.parameters()["W"])] = layer.l2
    return l2, any(layer.l1 for layer in leaves(network.layers))


class NetworkLoss(Problem):
    """The mean loss of a network over all rows, with the penalties of its layers.

    Parameters that are not trained have gradient 0.
    """

    def __init__(
        self,
        network: "Network",
        X: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None = None,
        n_threads: int = 0,
    ):
        super().__init__(network.n_params, network.dtype)
        self._network = network
        self._engine: _core.Engine = network._engine
        self._samples = X, y
        self._weights, self._n_threads = weights, n_threads
        self._theta = _core.aligned_zeros(self.n, self.dtype)  # as the engine's tiles need it
        self._along: np.ndarray | None = None
        self.fixed = fixed_parameters(network)
        if self.fixed is not None:
            self.n_free -= int(np.count_nonzero(self.fixed))

    def value(self, theta: np.ndarray) -> float:
        self.evaluations += 1
        self._theta[...] = theta
        return self._engine.loss(
            *self._samples, self._n_threads, theta=self._theta, weights=self._weights
        )

    def at(self, theta: np.ndarray) -> Point:
        self.evaluations += 1
        self.gradients += 1
        self._theta[...] = theta
        gradient = np.empty(self.n, self.dtype)
        loss = self._engine.loss_and_gradient(
            *self._samples, gradient, self._n_threads, self._theta, self._weights
        )
        return Point(theta, loss, self.free(gradient))

    def curvature(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray | None:
        if self._along is None:
            self._along = _core.aligned_zeros(self.n, self.dtype)
        self.gradients += 1
        self._theta[...] = theta
        self._along[...] = v
        product = np.empty(self.n, self.dtype)
        try:
            self._engine.hessian_product(
                *self._samples, self._along, product, self._n_threads, self._theta, self._weights
            )
        except ValueError:  # a registered loss has no second derivative
            return None
        return self.free(product)

    def free(self, vector: np.ndarray) -> np.ndarray:
        if self.fixed is not None:
            vector[self.fixed] = 0
        return vector

    def squares(self, block_rows: int | None = None, max_bytes: float = math.inf) -> Squares:
        network, (X, _) = self._network, self._samples
        if network.loss.name not in ("mse", "half_mse"):
            raise ValueError(
                "this trainer needs a loss that is a sum of squares, mse or half_mse, got "
                f'{network.loss.name}; use "scg" or "lbfgs"'
            )
        penalty, l1 = _penalties(network)
        if l1:
            raise ValueError("a penalty l1 is no square, which this trainer needs; use l2=")
        total = len(X) if self._weights is None else float(self._weights.sum())
        mean = network.n_out if network.loss.name == "mse" else 2
        scale = 1 / (total * mean)
        free = np.arange(self.n) if self.fixed is None else np.flatnonzero(~self.fixed)
        rows = self._rows_of_block(len(free), block_rows, max_bytes)
        return Squares(
            scale, total * network.n_out, penalty[free] / (2 * scale), free,
            lambda theta: self._normal(theta, rows, free),
        )  # fmt: skip

    def _rows_of_block(self, n_free: int, block_rows: int | None, max_bytes: float) -> int:
        """How many rows' Jacobian is computed at a time; raise if memory does not suffice."""
        n_out, rows = self._network.n_out, len(self._samples[0])
        row = n_out * (self.n * self.dtype.itemsize + 8 * n_free)  # as it is, and in float64
        matrices = 4 * 8 * n_free**2  # J'J, damped, its factor, and one of the solver's
        wanted = min(rows, block_rows or max(1, int(16e6 // row)))
        need = matrices + wanted * row
        if need > max_bytes:
            advice = "pass a smaller block_rows=" if matrices < max_bytes else "raise max_bytes="
            raise ValueError(
                f"Levenberg-Marquardt would need {need / 1e9:.3g} GB, {matrices / 1e9:.3g} for "
                f"matrices of {n_free:,} x {n_free:,} and the rest for the Jacobian of {wanted:,} "
                f'rows, and max_bytes allows {max_bytes / 1e9:.3g} GB; {advice}, or use "scg" or '
                '"lbfgs"'
            )
        return wanted

    def _normal(self, theta: np.ndarray, rows: int, free: np.ndarray) -> np.ndarray:
        X, weights = self._samples[0], self._weights
        self.gradients += 1
        self._theta[...] = theta
        normal = np.zeros((len(free), len(free)))
        block = np.empty((rows, self._network.n_out, self.n), self.dtype)
        for start in range(0, len(X), rows):
            part = X[start : start + rows]
            J = block[: len(part)]
            self._engine.jacobian(part, True, J, self._n_threads, self._theta, of_loss=True)
            if weights is not None:
                J *= np.sqrt(weights[start : start + rows])[:, None, None]
            flat = J.reshape(-1, self.n)
            flat = (flat if len(free) == self.n else flat[:, free]).astype(np.float64, copy=False)
            normal += flat.T @ flat
        return normal


class OfTheta:
    """A `NetworkLoss` as a function of float64 parameters: what `Network.theta_to_loss` returns."""

    def __init__(self, problem: Problem):
        self._problem = problem

    @property
    def evaluations(self) -> int:
        """How often it was called."""
        return self._problem.evaluations

    def __call__(self, theta: "ArrayLike") -> tuple[float, np.ndarray]:
        theta = np.asarray(theta)
        if theta.shape != (self._problem.n,):
            raise ValueError(f"theta must have shape ({self._problem.n},), got {theta.shape}")
        point = self._problem.at(theta)
        return point.loss, point.gradient.astype(np.float64)
