"""The NumPy twin of the engine's derivatives beyond the gradient: what they mean, in few lines.

Everything is made from the gradient of a loss, so it is as right as that is, and slow: nothing
here is an opponent in a benchmark.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


class Derivatives:
    """What `ReferenceEngine` has beside `loss_and_gradient`. Arrays come as there.

    A subclass has `again(loss=None, dtype=None, theta=None, of_loss=False)`, which returns an
    engine of the same steps, or of those up to the loss, and `input_gradient(X, y, dx)`.
    """

    theta: np.ndarray
    again: Callable[..., Any]
    _output: Any

    def sample_gradients(
        self,
        X: np.ndarray,
        y: np.ndarray,
        losses: np.ndarray,
        gradients: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
    ) -> None:
        """Write the loss of each row alone to losses, (M,), its gradient to gradients, (M, P).

        Those of the data, without the penalties.
        """
        engine = self.again(theta=theta)
        engine.set_tuning(None)
        for i in range(len(X)):
            row = slice(i, i + 1)
            losses[i] = engine.loss_and_gradient(X[row], y[row], gradients[i])

    def jacobian(
        self,
        X: np.ndarray,
        by_parameters: bool,
        jacobian: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        of_loss: bool = False,
    ) -> None:
        """Write dy_k/dx_j, (M, n_out, n_in), or dy_k/dtheta_j, (M, n_out, P), to jacobian.

        The gradient of half the squared error is y - t: with t = y - e_k it is that of output k.
        of_loss: of the outputs that the loss takes, in front of a scaling at the end.
        """
        engine = self.again("half_mse", theta=theta, of_loss=True)
        engine.set_tuning(None)
        y = np.empty(jacobian.shape[:2], self.theta.dtype)
        engine.predict(X, y)
        for i in range(len(X)):
            row = slice(i, i + 1)
            for k in range(y.shape[1]):
                t = y[row].copy()
                t[0, k] -= 1
                if by_parameters:
                    engine.loss_and_gradient(X[row], t, jacobian[i, k])
                else:
                    engine.input_gradient(X[row], t, jacobian[i, k][None])
        if self._output is not None and not of_loss:
            jacobian *= self._output.slopes()[:, None]

    def hessian_product(
        self,
        X: np.ndarray,
        y: np.ndarray,
        v: np.ndarray,
        product: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> float:
        """Return the mean loss; write its Hessian times v to product, (P,).

        The derivative of the gradient along v, by central differences of fourth order in float64:
        about ten digits, unless a kink lies within the step.
        """
        theta = self.theta if theta is None else theta
        engine = self.again(dtype=np.float64)
        X = X.astype(np.float64)
        y = y if y.ndim == 1 else y.astype(np.float64)
        h = 1e-5 / max(float(np.abs(v).max(initial=0)), 1e-300)
        gradient, total = np.empty(theta.size), np.zeros(theta.size)
        for steps, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            engine.theta[:] = theta
            engine.theta += steps * h * v.astype(np.float64)
            engine.loss_and_gradient(X, y, gradient, weights=weights)
            total += weight * gradient
        product[:] = total / (12 * h)
        engine = self.again(theta=theta)
        value: float = engine.loss(X.astype(self.theta.dtype), y.astype(y.dtype), weights=weights)
        return value
