"""Networks from scikit-learn's multilayer perceptrons, and the scalers before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .links import Affine, Columns, build
from .objects import ancestor

if TYPE_CHECKING:
    from ..network import Network

_ACTIVATIONS = {"logistic": "sigmoid", "exp": "exponential"}


def from_sklearn(
    estimator: object, *, loss: object = None, optimizer: object = "adam", dtype: object = None,
    seed: int | None = None, backend: str = "auto",
) -> Network:  # fmt: skip
    """Return the network of a fitted estimator of scikit-learn, which is not imported.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline
        Fitted. Scalers in a Pipeline before the perceptron become part of its first layer's
        weights, and the transformer of a TransformedTargetRegressor of its last layer's:

        ====================== ==============================
        StandardScaler         ``(x - mean_) / scale_``
        MinMaxScaler           ``x scale_ + min_``
        MaxAbsScaler           ``x / scale_``
        RobustScaler           ``(x - center_) / scale_``
        ====================== ==============================

        MinMaxScaler with clip=True, and everything else, is refused.
    loss : str or nncore.Loss, optional
        As in `nncore.Network`: by default what the last activation asks for.
    optimizer : str or nncore.Optimizer, default "adam"
        As in `nncore.Network`; it starts afresh.
    dtype : {"float32", "float64"}, optional
        By default that of the weights: scikit-learn's is that of the data it was fitted on.
    seed, backend : optional
        As in `nncore.Network`.

    Returns
    -------
    Network
        `predict` gives what the estimator's ``predict_proba`` (of two classes the column of the
        second) or ``predict`` gives, but for rounding: that of a folded scaler is
        ``|W| |mean| / scale`` times the unit of rounding. Which column is which class says
        ``estimator.classes_``. "identity", "logistic", "tanh" and "relu" are "identity",
        "sigmoid", "tanh" and "relu"; outputs are "sigmoid" for two classes or many labels,
        "softmax" for more classes, "identity" or "exponential" (Poisson loss) for numbers.

    Raises
    ------
    TypeError
        If it is no such estimator.
    ValueError
        If it is not fitted, or a part of it has no counterpart.

    Examples
    --------
    >>> import nncore
    >>> from sklearn.datasets import load_iris  # doctest: +SKIP
    >>> from sklearn.neural_network import MLPClassifier  # doctest: +SKIP
    >>> X, y = load_iris(return_X_y=True)  # doctest: +SKIP
    >>> classifier = MLPClassifier(random_state=0).fit(X, y)  # doctest: +SKIP
    >>> net = nncore.from_sklearn(classifier)  # doctest: +SKIP
    >>> bool(abs(net.predict(X) - classifier.predict_proba(X)).max() < 1e-12)  # doctest: +SKIP
    True
    """
    options = dict(loss=loss, optimizer=optimizer, dtype=dtype, seed=seed, backend=backend)
    return build(_links(estimator), **options)


def _links(estimator):
    kind = ancestor(estimator, "sklearn", "from_sklearn takes a fitted MLPClassifier, MLPRegressor "
                    "or Pipeline of scikit-learn")  # fmt: skip
    if kind == "TransformedTargetRegressor":
        inner = _links(_fitted(estimator, "regressor_", kind))
        return [*inner, *_backwards(_scaler(estimator.transformer_))]
    if kind == "Pipeline":
        *before, (_, last) = estimator.steps
        steps = [step for _, step in before if step is not None and step != "passthrough"]
        return [link for step in steps for link in _scaler(step)] + _links(last)
    if kind not in ("MLPClassifier", "MLPRegressor"):
        raise TypeError(
            f"from_sklearn reads MLPClassifier and MLPRegressor, not {kind}; pipelines may hold "
            "scalers before them"
        )
    coefs = _fitted(estimator, "coefs_", kind)
    names = [estimator.activation] * (len(coefs) - 1) + [estimator.out_activation_]
    return [
        Affine(f"layer {i} of {kind}", W, b, _activation(name))
        for i, (W, b, name) in enumerate(zip(coefs, estimator.intercepts_, names, strict=True))
    ]


def _activation(name):
    from ..activation import as_activation

    return as_activation(_ACTIVATIONS.get(name, name))


def _fitted(estimator, name, kind):
    if not hasattr(estimator, name):
        raise ValueError(f"this {kind} is not fitted yet: call fit first")
    return getattr(estimator, name)


def _scaler(step):
    """The links of a fitted scaler."""
    kind = ancestor(step, "sklearn", "a step of the pipeline is no scaler of scikit-learn")
    if kind == "MinMaxScaler":
        scale, shift = _fitted(step, "scale_", kind), step.min_
        if step.clip:
            raise ValueError("MinMaxScaler with clip=True is not linear, so no weights hold it")
        return [Columns(kind, scale, shift)]
    if kind not in ("StandardScaler", "MaxAbsScaler", "RobustScaler"):
        raise ValueError(
            f"{kind} has no counterpart in nncore: scalers before a perceptron may be "
            "StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler. Apply it to X yourself."
        )
    scale = _fitted(step, "scale_", kind)
    scale = 1.0 if scale is None else 1 / np.asarray(scale, np.float64)
    middle = {"StandardScaler": "mean_", "RobustScaler": "center_"}.get(kind)
    with_middle = getattr(step, "with_mean", getattr(step, "with_centering", False))
    middle = getattr(step, middle) if middle and with_middle else 0.0
    return [Columns(kind, scale, -middle * scale)]


def _backwards(links):
    """The links of the inverse of scalers."""
    return [Columns(each.what, 1 / each.scale, -each.shift / each.scale) for each in links[::-1]]
