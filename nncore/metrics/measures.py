"""Measures: the metrics of a network for one set of targets."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from . import classification, regression
from .classification import Decided
from .labels import is_one_hot, two_classes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..network import Network

_OF_CLASSES: dict[str, Callable[..., float]] = {
    "accuracy": classification.accuracy_of,
    "precision": classification.precision_of,
    "recall": classification.recall_of,
    "f1": classification.f1_of,
}
_OF_NUMBERS = {name: getattr(regression, name) for name in ("mae", "mse", "rmse", "r2")}
_TOP = re.compile(r"top_(?:([1-9]\d{0,5})|k)_accuracy")
_KNOWN = (
    "accuracy, precision, recall, f1, precision_macro, recall_macro, f1_macro, roc_auc, "
    "top_k_accuracy, top_3_accuracy, mae, mse, rmse, r2"
)


class Measures:
    """Metrics of a network's outputs, for targets that stay the same.

    Parameters
    ----------
    network : Network
    metrics : list of str and callable, or dict of str to them
        Names, or functions ``(y_true, y_pred) -> float``.
    y, weights : numpy.ndarray
        Checked targets, and the weights of the rows or None.
    always : tuple of str
        Names that come first.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> net = nncore.Network(2, nncore.Dense(2, "softmax", init="zeros"))
    >>> measures = nncore.metrics.Measures(net, ["accuracy"], np.array([0, 1]), None)
    >>> measures(net.predict([[1, 2], [3, 4]]))
    {'accuracy': 0.5}
    """

    _true: np.ndarray  # the class of each row, or yes and no; after `_classes`
    _k: int  # how many classes or questions
    _middle: float | None  # above what an output says yes

    def __init__(
        self, network: "Network", metrics: Any, y: Any, weights: np.ndarray | None,
        always: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self._network, self._weights = network, weights
        self._y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        self._y = self._y.view()
        self._y.flags.writeable = False  # what functions of the user's get
        self._targets = y
        named = {name: name for name in always} | by_name([] if metrics is None else metrics)
        self._functions = {name: self._function(name, metric) for name, metric in named.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the metrics, in their order."""
        return tuple(self._functions)

    def __call__(self, out: np.ndarray) -> dict[str, float]:
        """Return the values for outputs, as `Network.predict` gives them."""
        found = {}
        for name, function in self._functions.items():
            value = function(out)
            try:
                found[name] = float(value)
            except (TypeError, ValueError):
                raise TypeError(f"metric {name} must return a number, got {value!r:.80}") from None
        return found

    # ---- what the targets mean ----

    def _classes(self, metric: str) -> None:
        """Find out what the targets mean."""
        network, loss, y = self._network, self._network.loss, self._targets
        self._middle = None
        if loss.name in ("cross_entropy", "kl_divergence"):
            true, k = (y if y.ndim == 1 else y.argmax(axis=1)), network.n_out
        elif loss.output == "sigmoid" or loss.name.endswith("hinge"):
            self._middle = 0.5 if loss.output else 0.0
            true, k = y > self._middle, network.n_out
        elif (pair := two_classes(network, y)) is not None:
            self._middle = sum(pair) / 2
            true, k = y > self._middle, 1
        elif is_one_hot(y):
            true, k = y.argmax(axis=1), network.n_out
        else:
            raise ValueError(f"{metric} needs classes, and the targets of this network are numbers")
        if self._middle is not None and k == 1:
            true, k = true[:, 0].astype(int), 2
        self._true, self._k = true, k

    def _decided(self, out: np.ndarray) -> Decided:
        if self._middle is None:
            predicted = out.argmax(axis=1)
        else:
            predicted = out > self._middle
            predicted = predicted if self._true.ndim == 2 else predicted[:, 0].astype(int)
        return Decided(self._true, predicted, self._k, self._weights)

    # ---- one function for each metric, of the outputs ----

    def _function(self, name: str, metric: Any) -> Callable[..., Any]:
        if not isinstance(metric, str):
            return self._own(metric)
        if metric in _OF_NUMBERS:
            return self._of_numbers(_OF_NUMBERS[metric], name)
        top = _TOP.fullmatch(metric)
        base = metric.removesuffix("_macro")
        if base not in _OF_CLASSES and top is None and metric != "roc_auc":
            raise ValueError(f"there is no metric {metric!r}; known: {_KNOWN}, or a function")
        if not hasattr(self, "_true"):
            self._classes(metric)
        if metric == "roc_auc":
            return self._roc_auc
        if top is not None:
            if self._middle is not None:
                raise ValueError(f"{metric} needs scores for several classes in each row")
            k = int(top[1] or 5)
            return lambda out: classification.top_k_of(self._true, out, self._weights, k)
        if base == "accuracy" and base != metric:
            raise ValueError(f"there is no metric {metric!r}; known: {_KNOWN}, or a function")
        function = _OF_CLASSES[base]
        if base != metric:
            return lambda out: function(self._decided(out), "macro")
        return lambda out: function(self._decided(out))

    def _roc_auc(self, out: np.ndarray) -> float:
        true = self._true
        if self._middle is None:
            true = true[:, None] == np.arange(self._k)
        elif true.ndim == 1:
            true = true[:, None] > 0
        return classification.roc_auc_of(true, out.astype(float), self._weights)

    def _of_numbers(self, function: Callable[..., float], name: str) -> Callable[..., float]:
        if self._y.ndim == 1 and self._network.n_out > 1:
            raise ValueError(f"{name} is of numbers, and the targets of this network are labels")
        loss, width = self._network.loss, self._network.n_out // self._network.loss.per_target

        def value(out: np.ndarray) -> float:
            out = np.exp(out) if loss.name == "poisson" else out[:, :width]
            return function(self._y, out, sample_weight=self._weights)

        return value

    def _own(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of the user's, which gets the weights if it asks for them."""
        named = {}
        if self._weights is not None and _takes_weights(function):
            named = {"sample_weight": self._weights}
        return lambda out: function(self._y, out[:, 0] if out.shape[1] == 1 else out, **named)


class Partly:
    """The accuracy where targets are missing, of those that are not."""

    names = ("accuracy",)

    def __init__(self, network: "Network", y: Any, weights: np.ndarray | None) -> None:
        values = y.values[:]
        self._middle = 0.5 if network.loss.output else 0.0
        self._seen, self._true = ~np.isnan(values), values > self._middle
        self._weights, self._total = weights, y.counts(weights).sum()

    def __call__(self, out: np.ndarray) -> dict[str, float]:
        right = (((out > self._middle) == self._true) & self._seen).sum(axis=1)
        right = right.sum() if self._weights is None else right @ self._weights
        return {"accuracy": float(right / self._total)}


def _takes_weights(function: Callable[..., Any]) -> bool:
    try:
        return "sample_weight" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def by_name(metrics: Any) -> dict[str, str | Callable[..., float]]:
    """Return metrics by the name that the history has for them."""
    if isinstance(metrics, dict):
        named = list(metrics.items())
    elif isinstance(metrics, (list, tuple)):
        named = [(m if isinstance(m, str) else getattr(m, "__name__", None), m) for m in metrics]
    else:
        raise TypeError(f'metrics must be a list, such as ["f1"], or a dict, got {metrics!r}')
    for name, metric in named:
        if not isinstance(metric, str) and not callable(metric):
            raise TypeError(f"a metric is a name or a function (y_true, y_pred), got {metric!r}")
        if not isinstance(name, str) or name in ("", "loss", "<lambda>"):
            raise ValueError(
                f'the metric {metric!r} needs a name of its own: metrics={{"name": function}}'
            )
    if len({name for name, _ in named}) < len(named):
        raise ValueError(f"a metric is there twice: {', '.join(name for name, _ in named)}")
    return dict(named)
