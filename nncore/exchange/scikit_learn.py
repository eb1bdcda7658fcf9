"""Networks from scikit-learn's multilayer perceptrons, and the scalers before them."""

from typing import Any

from ..activation import as_activation
from ..network import Network
from .links import Affine, Columns, Link, Made, build, kind_of

# What scalers compute, of their attributes.
_SCALERS = {
    "StandardScaler": lambda s: Columns(
        "StandardScaler", s.mean_ if s.with_mean else 0.0, s.scale_ if s.with_std else 1.0
    ),
    "MinMaxScaler": lambda s: Columns("MinMaxScaler", s.min_, s.scale_, True),
    "MaxAbsScaler": lambda s: Columns("MaxAbsScaler", 0.0, s.scale_),
}


def from_sklearn(estimator: Any, **options: Any) -> Network:
    """Return the network of a fitted estimator of scikit-learn, which is not imported.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline
        Fitted, of scikit-learn or of `nncore.sklearn` (a copy of its ``network_``, with its loss;
        the optimizer starts afresh). In a Pipeline, StandardScaler, MinMaxScaler and MaxAbsScaler
        may stand before the perceptron: together they become a `Scaling`, the first layer.
    **options
        Those of `nncore.Network`; dtype is by default that of the weights.

    Returns
    -------
    Network
        `predict` gives what ``predict_proba`` (of two classes the column of the second) or
        ``predict`` gives, but for rounding. Columns are in the order of ``classes_``. The loss is
        "mse" for all regressors of scikit-learn, also of ``loss="poisson"``.

    Raises
    ------
    TypeError, ValueError
        If it is no such estimator, is not fitted, or a part of it has no counterpart.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.from_sklearn(make_pipeline(
    ...     StandardScaler(), MLPClassifier()).fit(X, y))  # doctest: +SKIP
    """
    links, last = _links(estimator), estimator
    while hasattr(last, "steps"):
        last = last.steps[-1][1]
    loss = getattr(getattr(last, "network_", None), "loss", None)
    options.setdefault("loss", loss)
    return build(links, **options)


def _links(estimator: Any) -> list[Link]:
    wanted = "from_sklearn takes a fitted MLPClassifier, MLPRegressor or Pipeline of scikit-learn"
    kind = kind_of(estimator, "sklearn nncore", wanted)
    if kind == "Pipeline":
        *before, (_, last) = estimator.steps
        steps = [step for _, step in before if step is not None and step != "passthrough"]
        return [*map(_scaler, steps), *_links(last)]
    if kind not in ("MLPClassifier", "MLPRegressor"):
        raise TypeError(f"{wanted}, not {kind}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"this {kind} is not fitted yet: call fit first")
    if hasattr(estimator, "network_"):
        return [
            Made(f"layer {i} of {kind}", layer, layer.parameters() | layer.running(), layer._n_in)
            for i, layer in enumerate(estimator.network_.layers)
        ]
    layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    names = [estimator.activation] * (len(layers) - 1) + [estimator.out_activation_]
    return [
        Affine(f"layer {i} of {kind}", W, b, as_activation(name))
        for i, ((W, b), name) in enumerate(zip(layers, names, strict=True))
    ]


def _scaler(step: Any) -> Columns:
    kind = kind_of(step, "sklearn", "a step of the pipeline is no scaler of scikit-learn")
    if kind not in _SCALERS or getattr(step, "clip", False):
        raise ValueError(
            f"{step!r} has no counterpart in nncore: scalers before a perceptron may be "
            f"{', '.join(_SCALERS)}, without clip. Apply it to X yourself."
        )
    if not hasattr(step, "scale_"):
        raise ValueError(f"this {kind} is not fitted yet: call fit first")
    return _SCALERS[kind](step)
