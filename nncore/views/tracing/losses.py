"""The slope of the loss at an output, where each path of the chain rule starts."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from .document import number
from .layers import Traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .trace import Trace


class Factor(NamedTuple):
    """A factor of the chain rule: how it is written, its number, and what it is in words."""

    text: str
    latex: str
    value: float
    meaning: str


# With h for the output and y for the target, before the mean over the outputs.
_SLOPES = {
    "half_mse": "({h} - {y})",
    "mse": "({h} - {y})",  # times 2
    "mae": "sign({h} - {y})",
    "huber": "clip({h} - {y}, -{delta:g}, {delta:g})",
    "smooth_l1": "clip(({h} - {y}) / {beta:g}, -1, 1)",
    "log_cosh": "tanh({h} - {y})",
    "poisson": "(exp({h}) - {y})",
    "binary_cross_entropy": "({h} - {y})",
    "cross_entropy": "({h} - {y})",
    "kl_divergence": "({h} - {y})",
}
_PLAIN = {"pos_weight": 1, "label_smoothing": 0}  # otherwise the slope is not that


def slopes_of_loss(trace: "Trace", row: int) -> tuple[np.ndarray, bool, Callable[[int], Factor]]:
    """Return the slopes, (n_out,) in float64; whether they are dJ/dz; and a factor by unit."""
    last = trace._below[-1]
    of_z = last.da is None or last.whole_row
    d = (last.delta if of_z else last.da)[row].astype(np.float64)
    if not of_z or last.da is None:
        return d, of_z, lambda unit: _of_output(trace, last, unit, float(d[unit]))
    return d, of_z, lambda unit: _of_whole_row(trace, last, row, unit, float(d[unit]))


def _names(trace: "Trace", last: Traced, unit: int) -> tuple[int, str, str]:
    """The number of a unit, and how its output and its target are called."""
    unit = last.outputs[unit]
    return (unit, "h", "y") if trace.network.n_out == 1 else (unit, f"h{unit}", f"y{unit}")


def _of_output(trace: "Trace", last: Traced, unit: int, value: float) -> Factor:
    """The slope of the loss by the output, or by z where the loss contains the activation."""
    loss, n = trace.network.loss, trace._per_row
    unit, h, y = _names(trace, last, unit)
    body = _SLOPES.get(loss.name)
    if any(loss.parameters.get(name, plain) != plain for name, plain in _PLAIN.items()):
        body = None
    what = f"slope of {loss.name} at the output" + ", scaled" * trace.network.layers[-1].scales
    if last.da is None:
        output = trace.network._at_loss()[0].activation
        what = f"slope of {loss.name} and of {output} in one, dJ/dz{unit}"
        h = f"exp({h})" if output == "log_softmax" else h  # the probability
    why = ["2 from the square"] if loss.name == "mse" else []
    if n > 1:
        why.append(f"1/{n} from the mean over {n} outputs")
    if body is None:
        text = f"dJ/dz{unit}" if last.da is None else f"dJ/d{h}"
        if len(loss.formula) < 50 and not loss._functions:
            formula = re.sub(r"\b[yt]\b", lambda name: {"y": "h", "t": "y"}[name[0]], loss.formula)
            what += f", where it is {formula}"
    else:
        factor = Fraction(2 if loss.name == "mse" else 1, n)
        text = body.format(h=h, y=y, **loss.parameters)
        text = text if factor == 1 else f"{factor} {text}"
    return _factor(text, value, f"{what}: {' times '.join(why)}" if why else what)


def _of_whole_row(trace: "Trace", last: Traced, row: int, unit: int, value: float) -> Factor:
    """dJ/dz of a softmax that the loss does not contain: each z moves all outputs."""
    g, h = (x[row].astype(np.float64) for x in (last.da, last.a))
    output, at = trace.network.layers[-1].activation, unit
    unit, name, _ = _names(trace, last, unit)
    if output == "softmax":
        text, total, what = f"{name} (g{unit} - sum g h)", g @ h, "sum g h"
    else:
        text, total, what = f"(g{unit} - exp({name}) sum g)", g.sum(), "sum g"
    name = trace.network.loss.name
    meaning = f"slope of {name} and of {output} in one, dJ/dz{unit}, with g = dJ/dh"
    if len(trace.x) == 1:
        meaning += f": g{unit} = {number(g[at])}, {what} = {number(total)}"
    return _factor(text, value, meaning)


def _factor(text: str, value: float, meaning: str) -> Factor:
    latex = re.sub(r"^(\d+)/(\d+) ", r"\\tfrac{\1}{\2} ", text)
    latex = re.sub(r"^dJ/d(\w+)$", r"\\frac{\\partial J}{\\partial \1}", latex)
    latex = re.sub(r"\b([hygz])(\d+)\b", r"\1_{\2}", latex)
    latex = re.sub(r"\b(sign|clip|tanh|exp)\b", r"\\mathrm{\1}", latex).replace("sum ", r"\sum ")
    return Factor(text, latex, value, meaning)
