"""Derivatives of a network: by its parameters, its inputs, row by row, and of second order."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .threads import as_count
from .validation import as_inputs, as_parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .loss import Loss
    from .trainers.problem import OfTheta


class Derivatives:
    """The methods of `Network` that return derivatives; no parameter is changed by any of them."""

    n_in: int
    n_out: int
    n_params: int
    dtype: np.dtype
    loss: "Loss"
    layers: tuple[Any, ...]  # what one has is its class's
    _engine: _core.Engine
    _samples: Callable[..., tuple[Any, Any, np.ndarray | None]]
    _tune_if_idle: Callable[[], None]

    def loss_and_gradient(
        self, X: "ArrayLike", y: "ArrayLike", *, theta: "ArrayLike | None" = None,
        sample_weight: "ArrayLike | None" = None, n_threads: int | None = None,
    ) -> tuple[float, np.ndarray]:  # fmt: skip
        """Return the mean loss over all rows, with the penalties of layers, and its gradient.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`.
        theta : array_like, shape (n_params,), optional
            Parameters to use in place of the network's own, which stay as they are.
        sample_weight : array_like, shape (n_rows,), optional
            As in `fit`: the mean loss is ``sum w l / sum w``.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        loss : float
        gradient : numpy.ndarray, shape (n_params,)
            Of exactly this loss, laid out as ``theta``: of all parameters, whether they are
            trainable or not, and before any clipping.

        Notes
        -----
        The loss is that of `evaluate`, here and in all derivatives: no layer draws random numbers,
        and `BatchNorm` uses its running statistics, so each row is on its own.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(1, nncore.Dense(1, init="zeros"), loss="half_mse")
        >>> loss, gradient = net.loss_and_gradient([[2.0]], [[3.0]])
        >>> loss, gradient
        (4.5, array([-6., -3.], dtype=float32))
        """
        x, t, w = self._samples(X, y, sample_weight)
        gradient = np.empty(self.n_params, self.dtype)
        self._tune_if_idle()
        loss = self._engine.loss_and_gradient(
            x, t, gradient, as_count(n_threads), self._parameters(theta), w
        )
        return loss, gradient

    def theta_to_loss(
        self, X: "ArrayLike", y: "ArrayLike", *, sample_weight: "ArrayLike | None" = None,
        n_threads: int | None = None,
    ) -> "OfTheta":  # fmt: skip
        """Return the mean loss as a function of the parameters, for any optimizer outside.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`; both are checked now, and not again.
        sample_weight, n_threads : optional
            As in `loss_and_gradient`.

        Returns
        -------
        callable
            ``f(theta) -> (loss, gradient)``, with a fresh float64 gradient, which is 0 for
            parameters that are not trainable. The network's own ``theta`` stays as it is.
            ``f.evaluations`` counts the calls.

        Examples
        --------
        With SciPy: ``minimize(f, net.theta, jac=True, method="L-BFGS-B")``.

        >>> import nncore
        >>> net = nncore.Network(1, nncore.Dense(1, init="zeros"), loss="half_mse")
        >>> f = net.theta_to_loss([[2.0]], [[3.0]])
        >>> f([0.0, 1.0])
        (2.0, array([-4., -2.]))
        """
        from .trainers.problem import NetworkLoss, OfTheta

        x, t, w = self._samples(X, y, sample_weight)
        self._tune_if_idle()
        network: Any = self
        return OfTheta(NetworkLoss(network, x, t, w, as_count(n_threads)))

    def input_gradient(
        self, X: "ArrayLike", y: "ArrayLike", *, theta: "ArrayLike | None" = None,
        sample_weight: "ArrayLike | None" = None, n_threads: int | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return the gradient of the mean loss by the inputs.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`.
        theta, sample_weight, n_threads : optional
            As in `loss_and_gradient`.

        Returns
        -------
        numpy.ndarray, shape (n_rows, n_in)
            dL/dX: how the mean loss over all rows changes with each input.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(1, init=[[3.0], [-1.0]]), loss="half_mse")
        >>> net.input_gradient([[1.0, 1.0]], [[0.0]])
        array([[ 6., -2.]], dtype=float32)
        """
        x, t, w = self._samples(X, y, sample_weight)
        gradient = np.empty(x.shape, self.dtype)
        self._engine.input_gradient(x, t, gradient, as_count(n_threads), self._parameters(theta), w)
        return gradient

    def sample_gradients(
        self, X: "ArrayLike", y: "ArrayLike", *, out: np.ndarray | None = None,
        theta: "ArrayLike | None" = None, n_threads: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return the loss of each row alone, and its gradient by the parameters.

        Their means over the rows are the loss and the gradient of `loss_and_gradient`, but for the
        penalties of layers, which are no row's.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`.
        out : numpy.ndarray, shape (n_rows, n_params), optional
            Of the network's dtype and C-contiguous: the gradients are written here. With large
            networks that saves the time in which the system finds fresh memory.
        theta, n_threads : optional
            As in `loss_and_gradient`.

        Returns
        -------
        losses : numpy.ndarray, shape (n_rows,)
            In float64.
        gradients : numpy.ndarray, shape (n_rows, n_params)

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(1, nncore.Dense(1, init="zeros"), loss="half_mse")
        >>> losses, gradients = net.sample_gradients([[2.0], [1.0]], [[3.0], [-1.0]])
        >>> losses
        array([4.5, 0.5])
        >>> gradients
        array([[-6., -3.],
               [ 1.,  1.]], dtype=float32)
        """
        x, t, _ = self._samples(X, y)
        out = self._result(out, (len(x), self.n_params))
        x, t = (a.copy() if np.may_share_memory(a, out) else a for a in (x, t))
        losses = np.empty(len(x))
        self._engine.sample_gradients(
            x, t, losses, out, as_count(n_threads), self._parameters(theta)
        )
        return losses, out

    def jacobian(
        self, X: "ArrayLike", by: str = "inputs", *, out: np.ndarray | None = None,
        theta: "ArrayLike | None" = None, n_threads: int | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return the derivatives of each output of each row.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        by : {"inputs", "parameters"}, default "inputs"
        out : numpy.ndarray, optional
            Of the result's shape and the network's dtype, C-contiguous: filled and returned.
        theta, n_threads : optional
            As in `loss_and_gradient`.

        Returns
        -------
        numpy.ndarray, shape (n_rows, n_out, n_in) or (n_rows, n_out, n_params)
            ``[i, k, j]`` is the derivative of ``predict(X)[i, k]`` by input j of row i, or by
            ``theta[j]``.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(1, "sigmoid", init=[[4.0], [-8.0]]))
        >>> net.jacobian([[0.0, 0.0]])
        array([[[ 1., -2.]]], dtype=float32)
        """
        if by not in ("inputs", "parameters"):
            raise ValueError(f'by must be "inputs" or "parameters", got {by!r}')
        x = as_inputs(X, self)
        n = self.n_in if by == "inputs" else self.n_params
        out = self._result(out, (len(x), self.n_out, n))
        x = x.copy() if np.may_share_memory(x, out) else x
        if len(x):
            self._engine.jacobian(
                x, by == "parameters", out, as_count(n_threads), self._parameters(theta)
            )
        return out

    def hessian_vector_product(
        self, X: "ArrayLike", y: "ArrayLike", v: "ArrayLike", *, theta: "ArrayLike | None" = None,
        sample_weight: "ArrayLike | None" = None, n_threads: int | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return H v, where H is the Hessian of the mean loss, with the penalties of layers.

        It is exact but for rounding, for some two and a half times the work of a gradient:
        Pearlmutter's R-operator (1994, "Fast exact multiplication by the Hessian") carried through
        the network, with the second derivatives of activations and loss.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`.
        v : array_like, shape (n_params,)
            Laid out as ``theta``.
        theta, sample_weight, n_threads : optional
            As in `loss_and_gradient`.

        Returns
        -------
        numpy.ndarray, shape (n_params,)

        Notes
        -----
        At a kink, as that of relu, the second derivative is taken to be 0, as on both sides. A loss
        of `register_loss` has none, nor has an activation of `register_activation` without d2f:
        that is a ValueError.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(1, nncore.Dense(1, init="zeros"), loss="half_mse")
        >>> net.hessian_vector_product([[2.0]], [[3.0]], [1.0, 0.0])
        array([4., 2.], dtype=float32)
        """
        self._check_curve()
        x, t, w = self._samples(X, y, sample_weight)
        v = self._vector(v, "v")
        product = np.empty(self.n_params, self.dtype)
        self._tune_if_idle()
        self._engine.hessian_product(
            x, t, v, product, as_count(n_threads), self._parameters(theta), w
        )
        return product

    def hessian(
        self, X: "ArrayLike", y: "ArrayLike", *, theta: "ArrayLike | None" = None,
        sample_weight: "ArrayLike | None" = None, n_threads: int | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return the Hessian of the loss of `loss_and_gradient`, of up to 10,000 parameters.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`.
        theta, sample_weight, n_threads : optional
            As in `loss_and_gradient`.

        Returns
        -------
        numpy.ndarray, shape (n_params, n_params)
            Symmetric: one `hessian_vector_product` for each row, and the mean with the transpose,
            from which it differs by rounding.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(1, nncore.Dense(1, init="zeros"), loss="half_mse")
        >>> net.hessian([[2.0]], [[3.0]])
        array([[4., 2.],
               [2., 1.]], dtype=float32)
        """
        most = 10_000
        if self.n_params > most:
            raise ValueError(
                f"the Hessian of {self.n_params:,} parameters has {self.n_params**2:.1e} elements; "
                f"at most {most:,} parameters. hessian_vector_product needs no matrix."
            )
        self._check_curve()
        x, t, w = self._samples(X, y, sample_weight)
        theta, n_threads = self._parameters(theta), as_count(n_threads)
        H = np.empty((self.n_params, self.n_params), self.dtype)
        v = _core.aligned_zeros(self.n_params, self.dtype)
        self._tune_if_idle()
        for i, row in enumerate(H):
            v[i] = 1
            self._engine.hessian_product(x, t, v, row, n_threads, theta, w)
            v[i] = 0
        H += H.T.copy()
        H *= 0.5
        return H

    def _check_curve(self) -> None:
        if self.loss.of_rows:
            raise ValueError(f"{self.loss.name} was registered without a second derivative")
        for layer in self.layers:
            if layer.without_d2f:
                raise ValueError(f"{layer.without_d2f} was registered without d2f")

    def _parameters(self, theta: "ArrayLike | None") -> np.ndarray | None:
        return None if theta is None else self._vector(theta, "theta")

    def _vector(self, values: "ArrayLike", name: str) -> np.ndarray:
        """Values for all parameters, as the engine reads them."""
        values = as_parameters(values, name, self.dtype)
        if values.shape != (self.n_params,):
            raise ValueError(f"{name} must have shape ({self.n_params},), got {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} contains NaN or infinity as {self.dtype}")
        vector = _core.aligned_zeros(self.n_params, self.dtype)
        vector[...] = values
        return vector

    def _result(self, out: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
        if out is None:
            return np.empty(shape, self.dtype)
        wanted = f"a writable, C-contiguous {self.dtype} array of shape {shape}"
        if type(out) is not np.ndarray:
            raise TypeError(f"out must be {wanted}, got {type(out).__name__}")
        flags = out.flags
        if out.shape != shape or out.dtype != self.dtype:
            raise ValueError(f"out must be {wanted}, got {out.dtype} of shape {out.shape}")
        if not (flags.c_contiguous and flags.writeable and flags.aligned):
            raise ValueError(f"out must be {wanted}")
        return out
