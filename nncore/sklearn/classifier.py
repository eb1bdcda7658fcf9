"""MLPClassifier."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from ..described import Described
from ..loss import Loss
from .base import BaseMLP, fits, for_batches
from .data import Samples


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multilayer perceptron for classes, as scikit-learn's `MLPClassifier`.

    The objective of a batch is ``sum_i s_i l_i / S + alpha / (2 S) sum W^2``, where S is the sum of
    the weights s of its rows and l is the logarithmic loss, in a multilabel problem its sum over
    the labels. Biases are not penalised.

    Parameters
    ----------
    hidden_layer_sizes : int or array_like of int, default (100,)
        Units of each hidden layer.
    activation : str, nncore.Activation or a list of them, default "relu"
        Of the hidden layers: "identity", "logistic", "tanh", "relu", or any of
        `nncore.activations`; a list has one for each.
    solver : str or nncore optimizer, default "adam"
        "sgd", "adam", "lbfgs" as scikit-learn has them ("lbfgs" is SciPy's L-BFGS-B, in float64).
        Or a name that `nncore.Network` knows, such as "adamw" or "scg", with ``learning_rate_init``
        as the rate where it has one; or an object such as ``nncore.AdamW(0.01)``, as it is.
    alpha : float, default 0.0001
        Strength of the L2 penalty.
    batch_size : int or "auto", default "auto"
        Rows per update; "auto" is ``min(200, n_samples)``. Solvers of all rows ignore it.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Of "sgd" alone. "invscaling": ``learning_rate_init / (t_ + 1) ** power_t`` from the second
        epoch on. "adaptive": divided by 5 where training would stop, until it is 1e-6.
    learning_rate_init : float, default 0.001
    power_t : float, default 0.5
    max_iter : int, default 200
        Epochs, or iterations of solvers of all rows.
    shuffle : bool, default True
        Whether each epoch has its own order of the rows.
    random_state : int, RandomState or None, default None
        Of the first weights, the validation set, the order of rows, and dropout.
    tol : float, default 1e-4
        Training stops when the loss was above the best one minus `tol` in more than
        `n_iter_no_change` epochs in a row; with `early_stopping`, when the score was below the
        best plus `tol`. "lbfgs": when no slope is above it.
    verbose : bool, default False
        Whether to print the loss of each epoch.
    warm_start : bool, default False
        Whether `fit` goes on from the present weights, with the optimizer afresh.
    momentum : float, default 0.9
    nesterovs_momentum : bool, default True
        Both of "sgd".
    early_stopping : bool, default False
        Whether to stop by the score of a validation set, and keep the weights of the best one. It
        is ``X_val`` of `fit`, or else a part of the rows; shares of two classes are kept. Not of
        "lbfgs", which ignores it.
    validation_fraction : float, default 0.1
        That part.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999 and 1e-8
        Of "adam".
    n_iter_no_change : int or inf, default 10
    max_fun : int, default 15000
        Evaluations of the loss, of "lbfgs".
    loss : {"log_loss"}, str or nncore.Loss, default "log_loss"
        Or another of `nncore.losses` that fits the probabilities, such as
        ``nncore.Loss("focal", gamma=1.0)`` (two classes or labels), "mse" or
        ``nncore.Loss("cross_entropy", label_smoothing=0.1)`` (more classes).
    class_weight : dict, "balanced" or None, default None
        Multiplies sample weights, as elsewhere in scikit-learn; not for labels.
    dropout : float or list of float, default 0.0
        Probability with which outputs of hidden layers are dropped in training; a list has one for
        each layer.
    init : list of arrays, str, nncore.Initializer, callable or None, default None
        Starting weights: as ``coefs_`` or ``coefs_ + intercepts_`` of another estimator, or
        `init` of `nncore.Dense`. None: scikit-learn's.
    n_threads : int or None, default None
        The most threads of the engine; the result is the same with any number.

    Attributes
    ----------
    network_ : nncore.Network
        What is trained: it traces, diagnoses and saves.
    coefs_, intercepts_ : list of numpy.ndarray
        Weights (fan_in, fan_out) and biases of each layer, as views of ``network_.theta``.
    classes_ : numpy.ndarray
    loss_, best_loss_ : float
        The last and the lowest loss; ``best_loss_`` is None with `early_stopping`.
    loss_curve_ : list of float
        The mean loss of the batches of each epoch, each before its update, with the penalty.
    validation_loss_curve_ : list of float or None
        The loss of the validation set after each epoch, without the penalty.
    validation_scores_, best_validation_score_ : list of float and float, or None
        Accuracies, with `early_stopping`.
    t_ : int
        Rows that training has seen.
    n_iter_, n_layers_, n_outputs_ : int
        Epochs of the last `fit`; layers with the inputs; outputs.
    out_activation_ : str
        "softmax", or "logistic" for two classes and for labels.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    Not as in scikit-learn 1.9, here and in `MLPRegressor`:

    - ``loss_`` is the objective whose gradient is followed. With squared errors of several outputs
      scikit-learn reports the mean over the outputs and follows the gradient of their sum (its
      issue 8349); here both are of the sum, and `tol` counts for each output, so that training
      stops where it does there. With "sgd" and "adam" a logarithmic loss is reported as
      scikit-learn does, as if no probability were below ``eps``; the gradient, in both, and all
      else know the exact one.
    - A loss that is not finite ends `fit` at once, not after `max_iter` epochs; with
      `early_stopping` the best weights are kept.
    - Refused are a `momentum` of 1, sample weights that are not 0 or between 1e-100 and 1e100, and
      negative targets of "poisson".
    - "lbfgs" has a ``loss_curve_``, and prints it if `verbose`. Rounding differs, which its line
      searches magnify: as good, but in other digits after a hundred iterations.
    - After a fit to float32 predictions are float32, also of an X in float64.
    - Rows of a sparse X are made dense, some at a time: slower from some thousand columns on.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from nncore.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=1000, random_state=0))
    >>> model.fit(X, y).score(X, y) > 0.95
    True
    >>> model.predict(X[:2]), model.predict_proba(X[:2]).shape
    (array([0, 0]), (2, 3))
    """

    classes_: Any
    _label_binarizer: Any
    _parameter_constraints: dict[str, list[Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [None, dict, StrOptions({"balanced"})],
    }

    def __init__(
        self, hidden_layer_sizes: "ArrayLike" = (100,), activation: Any = "relu", *,
        solver: str | Described = "adam", alpha: float = 0.0001, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
        verbose: bool = False, warm_start: bool = False, momentum: float = 0.9,
        nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        loss: str | Loss = "log_loss", class_weight: dict[Any, float] | str | None = None,
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
            float32 is trained in float32, all else in float64. Of a sparse matrix no more than a
            block of rows is made dense at a time.
        y : array_like, shape (n_samples,) or (n_samples, n_labels)
            Classes, or 0 and 1 for each label.
        sample_weight : array_like, shape (n_samples,), optional
            Weight 2 counts as the row twice, 0 as none.
        X_val, y_val, sample_weight_val : array_like, optional
            A validation set, for ``validation_loss_curve_`` and `early_stopping`.

        Returns
        -------
        MLPClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            For data that do not fit, or if the loss or the weights become infinite or NaN.
        """
        return self._fit(X, y, sample_weight, validation=(X_val, y_val, sample_weight_val))

    @for_batches
    @fits
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> Self:  # fmt: skip
        """Train for one epoch, from the present weights and state of the optimizer on.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array_like, optional
            All classes that will ever come; needed in the first call.

        Returns
        -------
        MLPClassifier
            The estimator itself.
        """
        if _check_partial_fit_first_call(self, classes):
            labels = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if labels else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class, or the labels, of each row of X.

        Parameters
        ----------
        X : array_like, frame or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        numpy.ndarray, shape (n_samples,) or (n_samples, n_labels)
        """
        out = self._outputs(X)
        classes: np.ndarray = self._label_binarizer.inverse_transform(
            out.ravel() if out.shape[1] == 1 else out
        )
        return classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities, shape (n_samples, n_classes), in the order of ``classes_``.

        Of the dtype of ``coefs_``. X is as in `predict`.
        """
        out = self._outputs(X)
        return np.hstack([1 - out, out]) if out.shape[1] == 1 else out

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`, -inf where it is 0."""
        out = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            np.log(out, out=out)
        return out

    # ---- targets: places in classes_, or columns of labels ----

    @property
    def _is_multiclass(self) -> bool:
        return bool(self._label_binarizer.y_type_ == "multiclass")

    def _check_data(self, X: Any, y: Any, **options: Any) -> tuple[Any, np.ndarray]:
        X, y = super()._check_data(X, y, **options)
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _targets(self, y: np.ndarray, incremental: bool) -> np.ndarray:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(unique_labels(y))
        if self._label_binarizer.y_type_.startswith("multilabel"):
            columns: np.ndarray = self._label_binarizer.transform(y)
            return columns
        return np.searchsorted(self.classes_, y)

    def _check_classes(self, classes: np.ndarray) -> None:
        if self.warm_start and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {classes}"
            )
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )

    def _n_targets(self, targets: np.ndarray) -> int:
        if targets.ndim == 2:
            return int(targets.shape[1])
        return len(self.classes_) if self._is_multiclass else 1

    def _encoded(self, targets: np.ndarray) -> np.ndarray:
        if self.network_.loss.name == "cross_entropy":
            return targets.astype(np.int64, copy=False)
        if targets.ndim == 1 and self._is_multiclass:
            one_hot: np.ndarray = np.eye(len(self.classes_), dtype=self.network_.dtype)[targets]
            return one_hot
        return targets.reshape(len(targets), -1)

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        return targets.reshape(-1, 1).astype(bool) if self.n_outputs_ == 1 else None

    def _choose_loss(self) -> tuple[Loss, str]:
        output = "softmax" if self._is_multiclass else "logistic"
        if self.loss != "log_loss":
            loss = self.loss if isinstance(self.loss, Loss) else Loss(self.loss)
            if loss.name in _NOT_OF_PROBABILITIES:
                raise ValueError(
                    f'loss={self.loss!r} is not one of probabilities; use loss="log_loss"'
                )
            if loss.output not in (None, "softmax" if self._is_multiclass else "sigmoid"):
                raise ValueError(
                    f"loss={self.loss!r} is for {_OF_OUTPUT[loss.output]}, and y is "
                    f'{self._label_binarizer.y_type_}; use loss="log_loss"'
                )
            return loss, output
        if self._is_multiclass:
            return Loss("cross_entropy"), output
        one = self.n_outputs_ == 1
        return Loss("binary_cross_entropy", mean=None if one else "rows"), output

    def _times_classes(
        self, weights: np.ndarray | None, targets: np.ndarray, incremental: bool
    ) -> np.ndarray | None:
        if self.class_weight is None:
            return weights
        if targets.ndim == 2:
            raise ValueError("class_weight is for classes, and y has labels; use sample_weight")
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all rows, so not partial_fit; give a dict, such as "
                "of sklearn.utils.class_weight.compute_class_weight"
            )
        table = compute_class_weight(
            self.class_weight, classes=self.classes_, y=self.classes_[targets]
        ).astype(np.float64, copy=False)
        of_rows: np.ndarray = table[targets]
        return of_rows if weights is None else of_rows * weights

    def _most(self) -> float:
        """scikit-learn reports the loss of probabilities that are at least eps."""
        return -float(np.log(np.finfo(self.network_.dtype).eps)) if self.loss == "log_loss" else 0.0

    def _score_outputs(self, out: np.ndarray, samples: Samples) -> Any:
        """The accuracy; of labels, that all of a row are right."""
        if self._is_multiclass:
            y = samples.y if samples.y.ndim == 1 else samples.y.argmax(axis=1)
            right = out.argmax(axis=1) == y
        else:
            right = ((out > 0.5) == (samples.y > 0.5)).all(axis=1)
        return np.average(right, weights=samples.weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


_OF_OUTPUT = {"sigmoid": "two classes or labels", "softmax": "three classes or more"}
_NOT_OF_PROBABILITIES = ("hinge", "squared_hinge", "poisson", "gaussian_nll")
