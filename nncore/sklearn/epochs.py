"""Epoch after epoch until scikit-learn's rule, its early stopping or a callback ends them."""

import math
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .data import Samples, predict
from .solvers import LBFGS, NOT_FINITE, FullBatch, Stochastic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import BaseMLP


class Callbacks:
    """scikit-learn's callbacks around a fit and its epochs; it has some from 1.9 on."""

    def __init__(self, estimator: "BaseMLP", X: Any, y: Any, sample_weight: Any):
        self._root: Any = None
        self._epoch: Any = None
        if not hasattr(estimator, "_init_callback_context"):
            return
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._about = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._root = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self._each = hasattr(estimator, "_skl_callbacks")
        self._root.call_on_fit_task_begin(**self._about)

    def _fitted(self) -> dict[str, Any]:
        """What stands for the estimator as if it had stopped now; made only if somebody asks."""
        return {"network_": self._about["estimator"].network_.copy()}

    def begin_epoch(self) -> None:
        if self._root is not None and self._each:
            self._epoch = self._root.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._about)

    def end_epoch(self) -> bool:
        """Return whether to stop."""
        if self._epoch is None:
            return False
        return bool(
            self._epoch.call_on_fit_task_end(**self._about, reconstruction_attributes=self._fitted)
        )

    def end(self) -> None:
        if self._root is not None:
            self._root.call_on_fit_task_end(**self._about, reconstruction_attributes=self._fitted)


def start_records(e: "BaseMLP") -> None:
    """Give an estimator the attributes that its epochs are recorded in."""
    e.n_iter_ = e.t_ = 0
    e.loss_curve_, e.validation_loss_curve_ = [], None
    e._no_improvement_count = 0
    e.validation_scores_ = [] if e.early_stopping else None
    e.best_validation_score_ = -np.inf if e.early_stopping else None
    e.best_loss_ = None if e.early_stopping else np.inf


def run_epochs(
    e: "BaseMLP", solver: Stochastic | FullBatch, validation: Samples | None,
    rng: "np.random.RandomState", callbacks: Callbacks, incremental: bool,
) -> None:  # fmt: skip
    """Train; n_iter_, t_, loss_curve_ and the others of `start_records` say how it went.

    validation : Samples or None
    """
    if validation is not None and e.validation_loss_curve_ is None:
        e.validation_loss_curve_ = []
    if e.early_stopping and e.validation_scores_ is None:  # it was switched on for a warm start
        e.validation_scores_, e.best_validation_score_, e.best_loss_ = [], -np.inf, None
    if not e.early_stopping and e.best_loss_ is None:
        e.best_loss_ = np.inf
    if e.early_stopping and not hasattr(e, "_best_theta"):
        e._best_theta = e.network_.theta.copy()
    e.n_iter_ = 0
    try:
        for _ in range(1 if incremental else e.max_iter):
            callbacks.begin_epoch()
            if e.shuffle and hasattr(solver, "shuffle"):
                solver.shuffle(rng)
            _record(e, solver, validation, solver.epoch())
            if not math.isfinite(e.loss_):
                if not e.early_stopping:
                    raise ValueError(NOT_FINITE)
                _warn(
                    f"Training diverged in iteration {e.n_iter_}: the loss is {e.loss_}. The "
                    "weights of the best validation score are kept."
                )
                break
            wants_stop = callbacks.end_epoch()
            if _adapt(e, solver) or solver.is_over or wants_stop or incremental:
                break
            if e.n_iter_ == e.max_iter:
                _warn(
                    f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the "
                    "optimization hasn't converged yet."
                )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=7)
    if e.early_stopping:
        e.network_.theta[...] = e._best_theta


def _warn(text: str) -> None:
    warnings.warn(text, ConvergenceWarning, stacklevel=8)


def _record(
    e: "BaseMLP", solver: Stochastic | FullBatch, validation: Samples | None, loss: float
) -> None:
    e.loss_ = loss
    e.n_iter_ += 1
    e.t_ += len(solver.order)
    e.loss_curve_.append(loss)
    if e.verbose:
        print(f"Iteration {e.n_iter_}, loss = {loss:.8f}")
    values = {"loss": loss}
    if validation is not None:
        finite = math.isfinite(loss)
        values["val_loss"] = solver.plain_loss(validation) if finite else math.nan
        e.validation_loss_curve_.append(values["val_loss"])
    solver.history.append(**values)
    solver.end_epoch()
    if validation is not None and e.early_stopping:
        score = _score(e, validation) if finite else math.nan
        e.validation_scores_.append(score)
        if e.verbose:
            print(f"Validation score: {score:f}")
        better = not score < e.best_validation_score_ + e.tol
        if score > e.best_validation_score_:
            e.best_validation_score_ = score
            e._best_theta = e.network_.theta.copy()
    else:
        # scikit-learn looks at the mean over outputs, this is the sum
        outputs = e.n_outputs_ if e.network_.loss.name == "half_mse" else 1
        better = not loss > e.best_loss_ - outputs * e.tol
        e.best_loss_ = min(loss, e.best_loss_)
    e._no_improvement_count = 0 if better else e._no_improvement_count + 1


def _score(e: "BaseMLP", validation: Samples) -> float:
    out = predict(e.network_, validation.X, e.n_threads)
    return float(e._score_outputs(out, validation)) if np.isfinite(out).all() else math.nan


def _adapt(e: "BaseMLP", solver: Any) -> bool:
    """Change the learning rate as ``learning_rate`` says; return whether training is over."""
    if e.solver == "sgd" and e.learning_rate == "invscaling":
        solver.set_rate(e.learning_rate_init / (e.t_ + 1) ** e.power_t)
    if e._no_improvement_count <= e.n_iter_no_change:
        return False
    what = "Validation score" if e.early_stopping else "Training loss"
    text = (
        f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive "
        "epochs."
    )
    adaptive = e.solver == "sgd" and e.learning_rate == "adaptive"
    over = not adaptive or solver.learning_rate <= 1e-6
    if over:
        text += f"{' Learning rate too small.' if adaptive else ''} Stopping."
    else:
        solver.set_rate(solver.learning_rate / 5.0)
        e._no_improvement_count = 0
        text += f" Setting learning rate to {solver.learning_rate:f}"
    if e.verbose:
        print(text)
    return over


def run_lbfgs(
    e: "BaseMLP", samples: Samples, validation: Samples | None, callbacks: Callbacks
) -> None:
    """As `run_epochs` for ``solver="lbfgs"``, which has no early stopping."""
    solver = LBFGS(e.network_, samples, e.alpha, e.n_threads or 0)
    if validation is not None and e.validation_loss_curve_ is None:
        e.validation_loss_curve_ = []

    def report(loss: float) -> bool:
        callbacks.begin_epoch()
        e.n_iter_ += 1
        e.loss_ = loss
        e.loss_curve_.append(loss)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {loss:.8f}")
        if validation is not None:
            e.validation_loss_curve_.append(solver.plain_loss(validation))
        return callbacks.end_epoch()

    e.n_iter_, before = 0, len(e.loss_curve_)
    e.n_iter_ = solver.run(e.max_iter, e.max_fun, e.tol, report)
    for curve in (e.loss_curve_, e.validation_loss_curve_ or []):
        del curve[before + e.n_iter_ :]  # of an iteration that Ctrl-C has ended
    e.loss_ = solver.loss
    e.best_loss_ = None if e.early_stopping else min(e.loss_curve_, default=solver.loss)
