"""What the classifier and the regressor share: parameters, fitting, weights, outputs."""

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..activation import Activation
from ..described import Described
from ..initializer import Initializer
from ..layers.base import copy_into
from ..loss import Loss
from ..network import Network
from ..validation import as_targets
from ..weights import as_weights, check_weights
from . import build, data
from .epochs import Callbacks, run_epochs, run_lbfgs, start_records
from .solvers import NOT_FINITE, FullBatch, Stochastic

try:
    from sklearn.callback import CallbackSupportMixin  # from 1.9 on
except ImportError:
    CallbackSupportMixin = type("CallbackSupportMixin", (), {})

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Weights(list[np.ndarray]):
    """A list of views of the network's parameters; what is assigned to a place is copied there."""

    def __setitem__(self, place: Any, value: Any) -> None:
        copy_into(self[place], value, f"the array {place}")


def _weights(name: str, which: str) -> Any:
    """An attribute that is a list of all W, or all b, of the network."""

    def get(self: "BaseMLP") -> _Weights:
        try:
            network = self.__dict__["network_"]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name} before fit") from None
        return _Weights(getattr(layer, which) for layer in build.dense_layers(network))

    def put(self: "BaseMLP", values: Any) -> None:
        views = get(self)
        if len(values) != len(views):
            raise ValueError(f"{name} has {len(views)} arrays, got {len(values)}")
        for i, value in enumerate(values):
            views[i] = value

    return property(get, put)


def fits(method: _Function) -> _Function:
    """Decorate a method that fits: scikit-learn checks the parameters before it."""
    checked: _Function = _fit_context(prefer_skip_nested_validation=True)(method)
    return checked


def for_batches(method: _Function) -> _Function:
    """Decorate a method that is there where the solver takes batches."""
    there: _Function = available_if(BaseMLP._check_solver)(method)
    return there


class BaseMLP(CallbackSupportMixin, BaseEstimator):
    """Base of `MLPClassifier` and `MLPRegressor`; they say what the targets are."""

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [str, Activation, "array-like"],
        "solver": [str, Described],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "loss": [str, Loss],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "init": [None, str, Initializer, callable, list, tuple],
        "n_threads": [None, Interval(Integral, 1, 64, closed="both")],
    }

    coefs_: list[np.ndarray] = _weights("coefs_", "W")
    intercepts_: list[np.ndarray] = _weights("intercepts_", "b")
    network_: Network
    loss_: float
    best_loss_: float | Any  # or None, like those that follow
    validation_loss_curve_: list[float] | Any
    validation_scores_: list[float] | Any
    best_validation_score_: float | Any
    loss_curve_: list[float]
    t_: int
    n_iter_: int
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    _is_stochastic: bool

    def _keep(self, arguments: dict[str, Any]) -> None:
        """Set the parameters, from the ``locals()`` of ``__init__``."""
        for name in self._get_param_names():
            setattr(self, name, arguments[name])

    def _check_solver(self) -> bool:
        """For `available_if` of partial_fit."""
        if build.is_stochastic(self.solver) and self.solver != "lbfgs":
            return True
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {self.solver} is not "
            "stochastic."
        )

    # ---- fitting ----

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, incremental: bool = False,
        validation: tuple[Any, ...] = (None, None, None),
    ) -> Self:  # fmt: skip
        """Train. Where a first fit fails, the estimator is as it was before."""
        first = not hasattr(self, "network_") or not (self.warm_start or incremental)
        before = dict(vars(self))
        try:
            return self._fit_from(first, X, y, sample_weight, incremental, validation)
        except Exception:
            if first:
                for name in set(vars(self)) - set(before):
                    if not name.startswith(("_callback", "_skl")):  # scikit-learn's to tear down
                        delattr(self, name)
                self.__dict__.update(before)
            raise

    def _fit_from(
        self, first: bool, X: Any, y: Any, sample_weight: Any, incremental: bool,
        validation: tuple[Any, ...],
    ) -> Self:  # fmt: skip
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        build.hidden_sizes(self)
        given = X, y
        X, y = self._check_data(X, y, reset=first, multi_output=True, dtype=_DTYPES)
        weights = None
        if sample_weight is not None:
            weights = as_weights(_check_sample_weight(sample_weight, X), X.shape[0])
        targets = self._targets(y, incremental)
        weights = self._times_classes(weights, targets, incremental)
        check_weights(weights)
        rng = check_random_state(self.random_state)
        callbacks = Callbacks(self, *given, sample_weight)
        if first:
            self._start(X, targets, rng)
        elif self._n_targets(targets) != self.n_outputs_:
            raise ValueError(
                f"y has {self._n_targets(targets)} outputs, and those before had {self.n_outputs_}"
            )
        network = self.network_
        resumes = incremental and self._is_stochastic
        if not resumes:
            network.optimizer = build.make_optimizer(self)
        self._is_stochastic = not network.optimizer.full_batch
        samples = self._samples(X, targets, weights)
        with network._training:
            try:
                self._train(samples, targets, validation, rng, callbacks, incremental)
            except FloatingPointError as error:
                raise ValueError(f"{NOT_FINITE} ({error})") from None
        if not np.isfinite(network.theta).all():
            raise ValueError(NOT_FINITE)
        callbacks.end()
        return self

    def _check_data(self, X: Any, y: Any, **options: Any) -> tuple[Any, np.ndarray]:
        X, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], **options)
        return X, y

    def _start(self, X: Any, targets: np.ndarray, rng: "np.random.RandomState") -> None:
        """Make the network, at its first weights."""
        self.n_outputs_ = self._n_targets(targets)
        loss, self.out_activation_ = self._choose_loss()
        output = {"logistic": "sigmoid", "exp": "identity"}.get(
            self.out_activation_, self.out_activation_
        )
        n_out = self.n_outputs_ * loss.per_target
        network = build.make_network(self, X.shape[1], n_out, output, loss, X.dtype, rng)
        self.network_, self._is_stochastic = network, False
        self.n_layers_ = len(self.coefs_) + 1
        self.__dict__.pop("_best_theta", None)
        start_records(self)

    def _samples(self, X: Any, targets: np.ndarray, weights: np.ndarray | None) -> data.Samples:
        """Checked rows as the engine takes them."""
        network = self.network_
        X = X.astype(network.dtype, copy=False)
        if isinstance(X, np.ndarray) and self.solver != "lbfgs":
            X = data.dense(X, network)
        y = as_targets(self._encoded(targets), X.shape[0], network, warn=False)
        return data.Samples(X, y, weights, self._constant(y))

    def _constant(self, y: np.ndarray) -> np.ndarray | None:
        """What `Samples.constant` is."""

    def _train(
        self, samples: data.Samples, targets: np.ndarray, given: tuple[Any, ...],
        rng: "np.random.RandomState", callbacks: Callbacks, incremental: bool,
    ) -> None:  # fmt: skip
        network, order = self.network_, np.arange(len(samples))
        if network.optimizer.full_batch:
            build.check_solver(self, network)
        validation = None if given[0] is None else self._own_validation(*given)
        if self.solver == "lbfgs":
            run_lbfgs(self, samples, validation, callbacks)
        else:
            if self.early_stopping and validation is None:
                order, held_out = self._split(targets, rng)
                validation = samples.take(held_out)
            self._check_monitor(validation)
            if self.early_stopping and validation is not None and len(validation) < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size "
                    "of your dataset."
                )
            arguments = order, network, samples, self.alpha, self.n_threads or 0
            if network.optimizer.full_batch:
                solver: FullBatch | Stochastic = FullBatch(*arguments)
            else:
                rows = self._batch_rows(len(order))
                solver = Stochastic(*arguments, batch_size=rows, most=self._most())
            run_epochs(self, solver, validation, rng, callbacks, incremental)
        for layer in build.dense_layers(network):
            layer.l2 = self.alpha / samples.weight()  # so that its loss is the objective
        network._tune()

    def _check_monitor(self, validation: data.Samples | None) -> None:
        schedule = self.network_.optimizer.schedule
        if schedule is not None and schedule.monitored() == "val_accuracy":
            raise ValueError('the schedule monitors val_accuracy; use monitor="val_loss" here')
        self.network_._check_monitor(validation is not None)

    def _batch_rows(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows)
        if self.batch_size > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped.",
                stacklevel=7,
            )
        return int(min(self.batch_size, rows))

    def _split(self, targets: np.ndarray, rng: "np.random.RandomState") -> Any:
        """Rows to train on and rows held out, by scikit-learn's numbers."""
        from sklearn.model_selection import train_test_split  # slow to import

        return train_test_split(
            np.arange(len(targets)), random_state=rng, test_size=self.validation_fraction,
            stratify=self._strata(targets),
        )  # fmt: skip

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        """The classes that a split keeps the shares of, or None."""

    def _own_validation(self, X: Any, y: Any, sample_weight: Any) -> data.Samples:
        if y is None:
            raise ValueError("X_val needs y_val")
        X, y = self._check_data(X, y, reset=False, multi_output=True, dtype=_DTYPES)
        weights = None
        if sample_weight is not None:
            weights = as_weights(
                _check_sample_weight(sample_weight, X), X.shape[0], "sample_weight_val", "X_val"
            )
        targets = self._targets(y, incremental=True)
        if self._n_targets(targets) != self.n_outputs_:
            raise ValueError(f"y_val has {self._n_targets(targets)} outputs, y {self.n_outputs_}")
        weights = self._times_classes(weights, targets, incremental=True)
        check_weights(weights, "sample_weight_val")
        return self._samples(X, targets, weights)

    def _times_classes(
        self, weights: np.ndarray | None, targets: np.ndarray, incremental: bool
    ) -> np.ndarray | None:
        return weights

    def _most(self) -> float:
        """What a larger loss is reported as; 0: as itself."""
        return 0.0

    # ---- use ----

    def _outputs(self, X: Any) -> np.ndarray:
        """What the network gives for the rows of X."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return data.predict(self.network_, X, self.n_threads)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


_DTYPES = (np.float64, np.float32)
