"""Metrics: numbers that say how good predictions are, of arrays, or named in `Network.fit`.

>>> import nncore
>>> X, y = nncore.datasets.load_digits()
>>> net = nncore.Network(64, nncore.Dense(32, "relu"), nncore.Dense(10, "softmax"), seed=0)
>>> history = net.fit(X / 16, y, epochs=3, validation_split=0.2, verbose=False,
...                   metrics=["f1_macro", "top_3_accuracy"])
>>> list(history)
['loss', 'val_loss', 'val_accuracy', 'val_f1_macro', 'val_top_3_accuracy']
>>> nncore.metrics.accuracy(y, net.predict(X / 16)) == net.evaluate(X / 16, y)["accuracy"]
True

Names are "accuracy", "precision", "recall", "f1", "precision_macro", "recall_macro", "f1_macro",
"roc_auc", "top_k_accuracy" (of 5; or "top_3_accuracy"), "mae", "mse", "rmse" and "r2". Precision,
recall and F1 are those of the larger of two classes, and otherwise macro means. What a class is,
and how it is told from the outputs, follows from the loss: the largest output, or above 1/2 for a
sigmoid and above 0 for hinge losses; targets of other losses are classes if they are one-hot rows
or have two values. The outputs of "poisson" are logarithms of what is compared with the targets.
"""

from .classification import (
    accuracy,
    confusion_matrix,
    f1,
    precision,
    recall,
    roc_auc,
    top_k_accuracy,
)
from .measures import Measures
from .regression import mae, mse, r2, rmse

__all__ = [
    "Measures", "accuracy", "confusion_matrix", "f1", "mae", "mse", "precision", "r2", "recall",
    "rmse", "roc_auc", "top_k_accuracy",
]  # fmt: skip
