"""What may be wrong with a network: each finding with its limit, its numbers, and what helps.

`tests/test_diagnose.py` makes a network sick in each of these ways, and data in those of
`of_data`, follows the advice, and sees the finding gone and the loss lower.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...layers import Dense, Layer
from ...trainers.problem import norm
from .measures import LayerNumbers, Leaf, is_straight, steepest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network import Network

# Limits, each far from what digits and the like show where all is well.
MANY_UNITS = 0.25  # share of a layer that is saturated, or dead
ALL_UNITS = 0.9  # share whose derivative is constant, or that are copies of the others
VANISHED, EXPLODED = 1e-3, 100.0  # the first layer's gradient by the last one's
GENTLE = 0.5  # an activation with a smaller steepest slope lets gradients vanish layer by layer
SMALL_WEIGHTS = 0.01  # norm by the root of the units, which it is about at the start
LARGE_UPDATE = 0.2  # of the weights, in one update; 0.001 to 0.01 is usual
SMALL_UPDATE = 1e-5
USUAL_UPDATE = 0.005
SLOPE_LEFT = 0.1  # |gradient| |theta| / loss: what the loss would change with the weights' size


class Finding:
    """One thing that keeps a network from learning.

    Attributes
    ----------
    code : str
        What it is, such as "saturated"; `Network.diagnose` lists them.
    severity : {"error", "warning", "note"}
        "error": nothing can be learned, or nothing below that layer. "note": it costs little here.
    layer : str or None
        Such as "layers[0]", where it is of one layer.
    evidence : dict
        The numbers, by name.
    message : str
        The evidence as a sentence.
    advice : str
        What to do.
    epoch : int or None
        When `Monitor` saw it first, counted from 0.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(2, nncore.Dense(1), seed=0)
    >>> [finding] = net.diagnose([[99.0, 0.0], [0.0, 1.0]], [0.0, 1.0])
    >>> finding.code, finding.evidence["column"]
    ('unscaled_inputs', 0)
    """

    def __init__(
        self,
        code: str,
        message: str,
        advice: str,
        evidence: dict[str, Any],
        layer: str | None = None,
        severity: str = "warning",
    ):
        self.code, self.severity, self.layer = code, severity, layer
        self.message, self.advice, self.evidence = message, advice, evidence
        self.epoch: int | None = None

    def __repr__(self) -> str:
        where = f", {self.layer}" if self.layer else ""
        when = f", epoch {self.epoch}" if self.epoch is not None else ""
        return f"<Finding {self.code}{where}{when}: {self.message}>"

    def __str__(self) -> str:
        where = f" in {self.layer}" if self.layer else ""
        return f"{self.code}{where}: {self.message} {self.advice}"


def some(count: int, total: int, noun: str, verb: str, of: str = "") -> str:
    """Such as "1 of 3 rows of X has", of "row", "has" and " of X"."""
    nouns = noun if total == 1 else noun + ("es" if noun.endswith("s") else "s")
    verb = verb if count == 1 else {"is": "are", "has": "have"}[verb]
    return f"{count:,} of {total:,} {nouns}{of} {verb}"


def of_parameters(network: "Network") -> Iterator[Finding]:
    """A finding of parameters that are lost."""
    bad = int(np.count_nonzero(~np.isfinite(network.theta)))
    if bad:
        yield Finding(
            "nan_parameters",
            f"{some(bad, network.n_params, 'parameter', 'is')} NaN or infinite.",
            "They stay so: make a new network, or go back to a copy, and train it with a smaller "
            "learning rate on scaled inputs and targets.",
            {"parameters": bad}, severity="error",
        )  # fmt: skip


def of_loss(loss: float, X: np.ndarray) -> Iterator[Finding]:
    """A finding of a loss that says nothing."""
    if not math.isfinite(loss):
        yield Finding(
            "loss_not_finite", f"The loss is {loss:g}, and fit stops where it is.",
            "Scale the inputs and targets to about 1, and start again from weights of the usual "
            f"size: a new network{', or net.lsuv(X)' if X.any() else ''}.",
            {"loss": loss}, severity="error",
        )  # fmt: skip


def of_structure(network: "Network", leaves: list[Leaf]) -> Iterator[Finding]:
    """Findings of a network that is linear, or that no training changes."""
    mixing = [layer for layer in network.layers if layer.mixes]
    last = network.layers.index(mixing[-1]) if mixing else 0
    if len(mixing) > 1 and not any(layer.bends for layer in network.layers[:last]):
        yield Finding(
            "linear",
            f"All hidden activations are linear: the derivative is constant, and {len(mixing)} "
            "layers of weights can only do what one does.",
            'Use "tanh" or "relu" in the hidden layers. If linear is meant, one layer does it: '
            "net.collapse().",
            {"layers": len(mixing)},
        )  # fmt: skip
    if not any(leaf.layer.trainable for leaf in leaves):
        yield Finding(
            "nothing_trained",
            "No layer is trained: all that have parameters have trainable=False.",
            f"Set it where the network is to learn: net.{leaves[-1].name}.trainable = True.",
            {"layers": len(leaves)}, severity="error",
        )  # fmt: skip


_START_AGAIN = "start the weights again by net.lsuv(X)"


def of_layers(
    network: "Network",
    numbers: list[LayerNumbers],
    leaves: list[Leaf],
    loss: float,
    gradient: float,
    X: np.ndarray,
    updates: int = 1,
) -> Iterator[Finding]:
    """Findings of the `LayerNumbers` of the leaves of a network.

    gradient: the norm of the whole gradient of the loss. X: the rows; where all are the
    same, nothing is told of units and slopes. updates: of how many the ratios of updates are the
    mean.
    """
    varied = (X != X[0]).any()
    last = network._at_loss()[0]
    blocked = False  # by a layer that lets no gradient through, or acts as one unit
    for number, leaf in zip(numbers, leaves, strict=True):
        hidden = leaf.layer is not last
        found = [*of_copies(number, X)] if hidden else []
        if varied and not found:
            found = [*of_units(network, number, leaf.layer)]
        blocked = blocked or any(finding.severity == "error" for finding in found)
        yield from found
    # Of Dense: other layers' parameters start at 1 or 0, and their sizes mean little.
    trained = [
        (number, leaf.layer)
        for number, leaf in zip(numbers, leaves, strict=True)
        if isinstance(leaf.layer, Dense) and leaf.layer.trainable
    ]
    if blocked:
        return
    if varied:
        yield from of_gradients(trained)
    rate = getattr(network._optimizer, "lr", None)
    slope_left = gradient * norm(network.theta) / max(abs(loss), 1e-30)
    rate = rate if isinstance(rate, float) else None
    yield from of_updates([number for number, _ in trained], rate, slope_left, updates)


def of_copies(number: LayerNumbers, X: np.ndarray) -> Iterator[Finding]:
    """A finding of units of a hidden layer that training cannot tell apart."""
    if number.copies and number.copies >= ALL_UNITS * (number.units - 1):  # some may be pruned
        copies = some(number.copies + 1, number.units, "unit", "is", f" of {number.name}")
        start = f"{_START_AGAIN}, or " if X.any() else ""  # of rows of zeros lsuv learns nothing
        yield Finding(
            "symmetric_units",
            f"{copies} like another one: the same weights and the same gradient. Training changes "
            "them alike, so they stay so.",
            f"Break the symmetry: {start}make a new network, whose weights are drawn "
            "at random unless init says otherwise.",
            {"copies": number.copies, "units": number.units}, number.name, "error",
        )  # fmt: skip


def of_units(network: "Network", number: LayerNumbers, layer: Layer) -> Iterator[Finding]:
    """Findings of how the units of one layer respond, by its `LayerNumbers`."""
    output = layer is network._at_loss()[0]
    if not isinstance(layer, Dense) or math.isnan(number.slope) or (output and network.loss.output):
        return  # a loss that contains its output does not need that slope
    name, units = number.name, number.units
    of = f" of {name} ({number.activation})"
    if number.dead >= MANY_UNITS * units:
        yield Finding(
            "dead_units",
            f"{some(number.dead, units, 'unit', 'is', of)} dead: the derivative is 0 for all rows "
            "looked at, and no gradient goes through.",
            f"Scale the inputs and {_START_AGAIN}. If it comes back in training, use a smaller "
            'learning rate, or "leaky_relu".',
            {"dead": number.dead, "units": units, "share": number.dead / units}, name,
            "error" if number.dead == units else "warning",
        )  # fmt: skip
    if number.saturated >= MANY_UNITS:
        yield Finding(
            "saturated",
            f"{some(round(number.saturated * units), units, 'unit', 'is', of)} saturated: the "
            f"derivative is below 5 % of the steepest; the layer's mean is {number.slope:.2g}.",
            f"Scale the inputs and {_START_AGAIN}. If it comes back in training, use a smaller "
            "learning rate.",
            {"share": number.saturated, "slope": number.slope, "units": units}, name,
        )  # fmt: skip
    if number.constant >= ALL_UNITS and layer.bends and not output:
        heal = f"Scale the inputs and {_START_AGAIN}: units bend where their inputs are about 1."
        if is_straight(layer.function):
            heal = f'Use "tanh" in place of "{number.activation}", which is straight up to 2.'
        yield Finding(
            "constant_derivative",
            f"{some(round(number.constant * units), units, 'unit', 'has', of)} the same derivative "
            f"for all rows, about {number.slope:.2g}: the layer is linear on these data.",
            heal, {"share": number.constant, "slope": number.slope, "units": units}, name,
        )  # fmt: skip


def of_gradients(trained: list[tuple[LayerNumbers, Dense]]) -> Iterator[Finding]:
    """Findings of how the gradient changes on its way down: of (numbers, layer), in order."""
    if len(trained) < 2 or trained[-1][0].gradient_norm == 0:
        return
    (first, _), (last, _) = trained[0], trained[-1]
    ratio = first.gradient_norm / last.gradient_norm
    evidence = {"ratio": ratio, "first": first.gradient_norm, "last": last.gradient_norm}
    said = (
        f"The gradient of {first.name} is {ratio:.2g} times that of {last.name}: "
        f"{first.gradient_norm:.2g} and {last.gradient_norm:.2g}."
    )
    started = all(number.weight_norm > 0 for number, _ in trained[1:])  # else the first update does
    if ratio < VANISHED and started:
        gentle = [n.activation for n, layer in trained[:-1] if steepest(layer.function) < GENTLE]
        use = [f'use "tanh" or "relu" in place of "{gentle[0]}"'] if gentle else []
        use += ["use fewer hidden layers"] if len(trained) > 2 else []
        yield Finding(
            "vanishing_gradient", said,
            f"Scale the inputs and {', or '.join([_START_AGAIN, *use])}.", evidence, first.name,
        )  # fmt: skip
    if ratio > EXPLODED:
        yield Finding(
            "exploding_gradient", said,
            f"Scale the inputs and {_START_AGAIN}; clip_norm=1.0 of the optimizer limits what is "
            "left.", evidence, first.name,
        )  # fmt: skip


def of_updates(
    numbers: list[LayerNumbers], rate: float | None, slope_left: float, updates: int = 1
) -> Iterator[Finding]:
    """Findings of the size of updates; rate: the learning rate, or None.

    Of a mean of many it is not known how large each was, so only what all of them did can be
    called small: an epoch of a million updates may learn with a change of 1e-6 in each. Beside
    weights at 0 or near it any update is large, and is not called so.
    """
    ratios = [(n.update_ratio, n) for n in numbers if not math.isnan(n.update_ratio)]
    if not ratios:
        return
    largest, number = max(ratios, key=lambda each: each[0])
    if largest > LARGE_UPDATE:
        if number.weight_norm >= SMALL_WEIGHTS * math.sqrt(number.units):
            yield Finding(
                "large_updates",
                f"One update moves {number.name} by {largest:.2g} times its norm.",
                f"Use a smaller learning rate{_about(rate, largest)}.", {"ratio": largest},
                number.name,
            )  # fmt: skip
    elif (
        largest * updates < SMALL_UPDATE
        and slope_left > SLOPE_LEFT
        and all(n.weight_norm > 0 for n in numbers)
    ):
        yield Finding(
            "small_updates",
            f"One update moves no layer by more than {largest:.2g} times its norm, although the "
            "loss would fall with larger ones.",
            f"Use a larger learning rate{_about(rate, largest)}, or an optimizer that adapts it, "
            'such as "adam".',
            {"ratio": largest, "slope_left": slope_left},
        )  # fmt: skip


def _about(rate: float | None, ratio: float) -> str:
    """The learning rate with which updates have a usual size."""
    if rate is None or not 0 < ratio < math.inf:
        return ""
    return f", about {rate * USUAL_UPDATE / ratio:.1g} in place of {rate:.3g}"
