"""Pictures of training, of networks and of what they decide.

All need matplotlib, the extra ``plot``: ``pip install "nncore-c[plot]"``. Each function draws into
``ax``, or into a new figure that is not one of pyplot's, and returns the axes. So
``nncore.plots.history(h).figure`` shows the picture in a notebook, ``.figure.savefig("h.png")``
writes it, and ``ax=pyplot.gca()`` draws for ``pyplot.show()``.
"""

from .views.landscapes.relief import landscape
from .views.plotting.classes import confusion_matrix, decision_regions
from .views.plotting.curves import activation, history
from .views.plotting.layers import gradient_flow, weights

__all__ = [
    "activation",
    "confusion_matrix",
    "decision_regions",
    "gradient_flow",
    "history",
    "landscape",
    "weights",
]
