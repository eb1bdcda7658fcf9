"""scikit-learn's estimators of multilayer perceptrons, on nncore's engine.

`MLPClassifier` and `MLPRegressor` have the parameters, defaults, fitted attributes, warnings and
errors of those of `sklearn.neural_network`, so that a script is faster after one changed line::

    from nncore.sklearn import MLPClassifier

The same ``random_state`` gives the same first weights, batches and validation set, and with the
solvers "sgd", "adam" and "lbfgs" the same numbers but for rounding. What scikit-learn does not have
comes behind its own parameters and changes nothing by default: an activation for each layer,
dropout, class weights, other losses and optimizers, starting weights, a validation set of one's
own. ``network_`` is the `nncore.Network` inside. What is not as in scikit-learn is in the notes of
`MLPClassifier`.

Needs scikit-learn 1.6 or newer: ``pip install "nncore-c[sklearn]"``.
"""

try:
    import sklearn as _sklearn
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ImportError(
        'nncore.sklearn needs scikit-learn: pip install "nncore-c[sklearn]"'
    ) from None
if tuple(map(int, _sklearn.__version__.split(".")[:2])) < (1, 6):
    raise ImportError(
        f"nncore.sklearn needs scikit-learn 1.6 or newer, this is {_sklearn.__version__}: "
        'pip install --upgrade "nncore-c[sklearn]"'
    )

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
