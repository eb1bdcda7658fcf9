"""MLPRegressor."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d

from ..described import Described
from ..loss import Loss
from .base import BaseMLP, fits, for_batches
from .data import Samples


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multilayer perceptron that predicts numbers, as scikit-learn's `MLPRegressor`.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, str or nncore.Loss, default "squared_error"
        Half the squared error or half the Poisson deviance (targets at least 0), as scikit-learn
        has them, summed over the outputs; or a loss of `nncore.losses`, such as "huber" or
        ``nncore.Loss("quantile", q=0.9)``. "gaussian_nll" learns a variance too, in ``network_``.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate : optional
        As in `MLPClassifier`, like all that follow.
    learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose : optional
    warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction : optional
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun, dropout, init, n_threads : optional

    Attributes
    ----------
    network_ : nncore.Network
        With "poisson" it gives the logarithm of what `predict` returns.
    validation_scores_ : list of float or None
        R^2 after each epoch, with ``early_stopping``.
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_loss_curve_, t_, n_iter_, \
n_layers_, n_outputs_, out_activation_, best_validation_score_, n_features_in_, feature_names_in_
        As in `MLPClassifier`.

    Notes
    -----
    What is not as in scikit-learn is in the notes of `MLPClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from nncore.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", random_state=0)
    >>> model.fit(X, X.ravel() ** 2).score(X, X.ravel() ** 2) > 0.99
    True
    >>> abs(model.predict([[0.5]]) - 0.25) < 0.05
    array([ True])
    """

    def __init__(
        self, loss: str | Loss = "squared_error", hidden_layer_sizes: "ArrayLike" = (100,),
        activation: Any = "relu", *,
        solver: str | Described = "adam", alpha: float = 0.0001, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
        verbose: bool = False, warm_start: bool = False, momentum: float = 0.9,
        nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        dropout: "ArrayLike" = 0.0, init: Any = None, n_threads: int | None = None,
    ):  # fmt: skip
        self._keep(locals())

    @fits
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:  # fmt: skip
        """Train from the first weights on, or with ``warm_start`` from the present ones.

        Parameters
        ----------
        X : array_like, frame or sparse matrix, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight, X_val, y_val, sample_weight_val : optional
            As in `MLPClassifier.fit`.

        Returns
        -------
        MLPRegressor
            The estimator itself.
        """
        return self._fit(X, y, sample_weight, validation=(X_val, y_val, sample_weight_val))

    @for_batches
    @fits
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch, from the present weights and state of the optimizer on.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        MLPRegressor
            The estimator itself.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the predictions for the rows of X.

        Parameters
        ----------
        X : array_like, frame or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        numpy.ndarray, shape (n_samples,) or (n_samples, n_outputs)
            Of the dtype of ``coefs_``.
        """
        out = self._predicted(self._outputs(X))
        return out.ravel() if out.shape[1] == 1 else out

    def _predicted(self, out: np.ndarray) -> np.ndarray:
        """Means from outputs."""
        if self.network_.loss.per_target > 1:
            out = np.ascontiguousarray(out[:, : self.n_outputs_])
        if self.out_activation_ == "exp":
            np.exp(out, out=out)
        return out

    def _check_data(self, X: Any, y: Any, **options: Any) -> tuple[Any, np.ndarray]:
        X, y = super()._check_data(X, y, y_numeric=True, **options)
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _choose_loss(self) -> tuple[Loss, str]:
        loss = self.loss
        if isinstance(loss, str):
            other = {"squared_error": "half_mse", "log_loss": "binary_cross_entropy"}
            loss = other.get(loss, loss)
            several = loss == "poisson" and self.n_outputs_ > 1
            loss = Loss(loss, mean="rows") if several else Loss(loss)
        if loss.output is not None:
            raise ValueError(
                f'loss={self.loss!r} is of classes: use MLPClassifier, or loss="squared_error"'
            )
        return loss, "exp" if loss.name == "poisson" else "identity"

    def _targets(self, y: np.ndarray, incremental: bool) -> np.ndarray:
        return y.reshape(len(y), -1)

    def _n_targets(self, targets: np.ndarray) -> int:
        return int(targets.shape[1])

    def _encoded(self, targets: np.ndarray) -> np.ndarray:
        return targets

    def _constant(self, y: np.ndarray) -> np.ndarray | None:
        """The deviance is 0 where the prediction is the target; the engine's loss is not."""
        loss = self.network_.loss
        if loss.name != "poisson":
            return None
        t = y.astype(np.float64)
        terms: np.ndarray = t * np.log(np.where(t > 0, t, 1)) - t
        terms = terms.sum(axis=1) if loss.mean == "rows" else terms.mean(axis=1)
        return terms

    def _score_outputs(self, out: np.ndarray, samples: Samples) -> Any:
        from sklearn.metrics import r2_score  # slow to import

        return r2_score(samples.y, self._predicted(out), sample_weight=samples.weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
