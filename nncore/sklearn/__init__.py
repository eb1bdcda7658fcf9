"""scikit-learn's estimators of multilayer perceptrons, on nncore's engine.

`MLPClassifier` and `MLPRegressor` have the parameters, defaults, fitted attributes, warnings and
errors of those of `sklearn.neural_network`, so that a script is faster after one changed line::

    from nncore.sklearn import MLPClassifier

The same ``random_state`` gives the same first weights, batches and validation set, and with the
solvers "sgd", "adam" and "lbfgs" the same numbers but for rounding. What scikit-learn does not have
comes behind its own parameters and changes nothing by default: an activation for each layer,
dropout, class weights, other losses and optimizers, starting weights, a validation set of one's
own. ``network_`` is the `nncore.Network` inside.

Other than in scikit-learn:

- ``loss_`` is the objective whose gradient is followed. With squared errors of several outputs
  scikit-learn reports the mean over the outputs and follows the gradient of their sum; here both
  are of the sum, and ``tol`` counts for each output, so that training stops where it does there.
  With "sgd" and "adam" a logarithmic loss is reported as scikit-learn does, as if
  no probability were below ``eps``; the gradient, in both, and all else know the exact one.
- A loss that is not finite ends `fit` at once, not after ``max_iter`` epochs; with
  ``early_stopping`` the best weights are kept.
- ``momentum`` is below 1; sample weights are 0 or between 1e-100 and 1e100.
- `fit` with "lbfgs" has a ``loss_curve_``, and prints it if ``verbose``.

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
