"""What may be wrong: each finding with its limit, its numbers, and what helps.

`tests/test_diagnose.py` makes a network sick in each of these ways, follows the advice, and sees
the finding gone and the loss lower.
"""

from __future__ import annotations

import math

import numpy as np

from ...layers import Dense
from ...trainers.problem import norm
from ...validation import targets_beyond

# Limits, each far from what digits and the like show where all is well.
LARGE_SIZE, SMALL_SIZE = 10.0, 0.01  # root mean square of a column of X or y; 1 is meant
UNEVEN = 100.0  # standard deviation of a column by the median's
IMBALANCE = 10.0  # most frequent class by the rarest
MANY_UNITS = 0.25  # share of a layer that is saturated, or dead
ALL_UNITS = 0.9  # share whose derivative is constant
VANISHED, EXPLODED = 1e-3, 100.0  # the first layer's gradient by the last one's
LARGE_CONSTANT = 5.0  # a column that is this in all rows takes over
LARGE_UPDATE = 0.2  # of the weights, in one update; 0.001 to 0.01 is usual
SMALL_UPDATE = 1e-5
USUAL_UPDATE = 0.005
SLOPE_LEFT = 0.1  # |gradient| |theta| / loss: what the loss would change with the weights' size

_REGRESSIONS = ("mse", "half_mse", "mae", "huber", "smooth_l1", "log_cosh", "quantile")


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
    """

    def __init__(self, code, message, advice, evidence, layer=None, severity="warning"):
        self.code, self.severity, self.layer = code, severity, layer
        self.message, self.advice, self.evidence = message, advice, evidence
        self.epoch = None

    def __repr__(self):
        where = f", {self.layer}" if self.layer else ""
        when = f", epoch {self.epoch}" if self.epoch is not None else ""
        return f"<Finding {self.code}{where}{when}: {self.message}>"

    def __str__(self):
        where = f" in {self.layer}" if self.layer else ""
        return f"{self.code}{where}: {self.message} {self.advice}"


# ---- data ----


def of_not_finite(bad_inputs, bad_targets, rows):
    """Findings of rows with NaN or infinities."""
    for name, bad, code in (("X", bad_inputs, "nan_inputs"), ("y", bad_targets, "nan_targets")):
        if len(bad):
            count = f"{len(bad):,} of {rows:,} rows of {name}"
            yield Finding(
                code, f"{count} have NaN or infinity, the first is row {bad[0]}.",
                f"Leave these rows out, as np.isfinite({name}) tells, or put in what is missing; "
                "fit refuses them. A number beyond the network's dtype is infinite there: scale "
                f"{name}.",
                {"rows": len(bad), "first": int(bad[0]), "share": len(bad) / rows},
                severity="error",
            )  # fmt: skip


def of_inputs(network, X):
    """Findings of the columns of X that are numbers."""
    first = network.layers[0]
    columns = np.delete(np.arange(X.shape[1]), first.tokens(X))
    if len(columns) == 0:
        return
    values = (first.map(X) if first.scales else X)[:, columns].astype(np.float64)
    sizes, spreads = np.sqrt(np.mean(values**2, axis=0)), np.std(values, axis=0)
    constant = np.ptp(X[:, columns], axis=0) == 0
    if type(first).__name__ not in ("BatchNorm", "LayerNorm"):
        yield from _of_sizes(columns, sizes, spreads[~constant])
    if len(X) > 1:
        yield from _of_constants(columns[constant & (sizes > 0)], X)
        yield from _of_duplicates(columns[~constant], spreads[~constant], X)


_SCALE_X = (
    "Scale each column to mean 0 and standard deviation 1, everywhere with the numbers of the "
    "training data: begin the network with nncore.Scaling.of(X)."
)


def _of_sizes(columns, sizes, spreads):
    largest, where = float(sizes.max()), int(columns[sizes.argmax()])
    evidence = {"largest": largest, "column": where}
    if largest > LARGE_SIZE:
        message = f"Column {where} of X has a root mean square of {largest:.3g}."
    elif largest < SMALL_SIZE:
        message = f"No column of X has a root mean square above {largest:.3g}."
    elif len(spreads) > 1 and spreads.max() > UNEVEN * np.median(spreads):
        evidence["uneven"] = float(spreads.max() / np.median(spreads))
        message = (
            f"The largest standard deviation of a column of X is {evidence['uneven']:.3g} times "
            "the median's."
        )
    else:
        return
    yield Finding("unscaled_inputs", message, _SCALE_X, evidence)


def _listed(columns):
    names = ", ".join(str(int(c)) for c in columns[:5])
    return names + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")


def _of_constants(columns, X):
    if len(columns):
        largest = float(np.abs(X[0, columns]).max())
        yield Finding(
            "constant_columns",
            f"{len(columns)} of {X.shape[1]} columns of X have the same number in all rows looked "
            f"at: {_listed(columns)}. They act as more biases, {largest:.3g} times as large.",
            "Leave them out: X[:, np.ptp(X, axis=0) > 0].",
            {"columns": columns.tolist(), "largest": largest},
            severity="warning" if largest > LARGE_CONSTANT else "note",
        )  # fmt: skip


def _of_duplicates(columns, spreads, X):
    first, copies = {}, {}
    for column in columns:
        original = first.setdefault(X[:, column].tobytes(), column)
        if original != column:
            copies.setdefault(original, []).append(int(column))
    if copies:
        every = sorted(c for found in copies.values() for c in found)
        variances = dict(zip(columns, spreads**2, strict=True))
        most = max((1 + len(found)) * variances[column] for column, found in copies.items())
        share = float(most / sum(variances.values()))
        yield Finding(
            "duplicate_columns",
            f"{len(every)} of {X.shape[1]} columns of X are equal to others: {_listed(every)}. One "
            f"of them and its copies have {share:.0%} of the variance of X. What is there k times "
            "is learned k times as fast, and limits the learning rate of all.",
            "Leave the copies out: X[:, np.sort(np.unique(X, axis=1, return_index=True)[1])].",
            {"columns": every, "share": share},
            severity="warning" if share > 0.5 else "note",
        )  # fmt: skip


def of_targets(network, y):
    """Findings of targets that are numbers."""
    if y.ndim == 1:
        return
    beyond = targets_beyond(y, network)
    if beyond is not None:
        low, high, (bottom, top) = beyond
        activation = network._at_loss()[0].activation
        yield Finding(
            "targets_out_of_range",
            f"Targets span [{low:.4g}, {high:.4g}], and the output activation {activation} gives "
            f"({bottom:g}, {top:g}).",
            'Use an output with "identity", or scale the targets into that range.',
            {"low": low, "high": high, "bottom": float(bottom), "top": float(top)},
        )  # fmt: skip
    if network.loss.name in _REGRESSIONS:
        scaled = network._at_loss(y)[1].astype(np.float64)
        sizes = np.sqrt(np.mean(scaled**2, axis=0))
        largest = float(sizes.max())
        if largest > LARGE_SIZE or 0 < largest < SMALL_SIZE:
            yield Finding(
                "unscaled_targets",
                f"Targets have a root mean square of {largest:.3g}.",
                "Scale them in the network: end it with nncore.Scaling.of(y).inverse(), y the "
                "training targets.",
                {"largest": largest},
            )  # fmt: skip


def of_classes(network, y, w):
    """Findings of how often classes occur, by weight."""
    counts = _counts(network, y, w)
    seen = None if counts is None else np.flatnonzero(counts)
    if seen is None or len(seen) < 2:
        return
    most, least = (int(seen[f(counts[seen])]) for f in (np.argmax, np.argmin))
    ratio = float(counts[most] / counts[least])
    if ratio > IMBALANCE:
        yield Finding(
            "imbalanced_labels",
            f"Class {most} has {ratio:.3g} times the weight of class {least} ({counts[least]:.4g} "
            f"of {counts.sum():.4g}), so the loss hardly counts the rare class.",
            'Pass class_weight="balanced" to fit, evaluate and diagnose; or get more rows of it.',
            {"ratio": ratio, "most": most, "least": least, "counts": counts.tolist()},
        )  # fmt: skip


def _counts(network, y, w):
    """The weight of each class, or None where rows have none."""
    loss, n = network.loss.name, network.n_out
    if y.ndim == 1:
        return np.bincount(y, w, n).astype(np.float64)
    if loss == "cross_entropy":
        return y.sum(axis=0, dtype=np.float64) if w is None else w @ y
    if n == 1 and loss in ("binary_cross_entropy", "focal", "hinge", "squared_hinge"):
        upper = y[:, 0] > (0 if "hinge" in loss else 0.5)
        return np.bincount(upper, w, 2).astype(np.float64)
    return None


# ---- network ----


def of_parameters(network):
    """A finding of parameters that are lost."""
    bad = ~np.isfinite(network.theta)
    if bad.any():
        yield Finding(
            "nan_parameters",
            f"{int(bad.sum()):,} of {network.n_params:,} parameters are NaN or infinite.",
            "They stay so: make a new network, or go back to a copy, and train it with a smaller "
            "learning rate on scaled inputs and targets.",
            {"parameters": int(bad.sum())}, severity="error",
        )  # fmt: skip


def of_loss(loss):
    """A finding of a loss that says nothing."""
    if not math.isfinite(loss):
        yield Finding(
            "loss_not_finite", f"The loss is {loss:g}, so there is no gradient.",
            "Scale the inputs and targets to about 1, and start again from weights of the usual "
            "size: a new network, or net.lsuv(X).",
            {"loss": loss}, severity="error",
        )  # fmt: skip


def of_structure(network):
    """A finding of a network that is linear."""
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


_START_AGAIN = "start the weights again by net.lsuv(X)"


def of_layers(network, numbers, leaves, loss, gradient, updates=1):
    """Findings of the `LayerNumbers` of the leaves of a network.

    gradient: the norm of the whole gradient of the loss. updates: of how many the ratios of
    updates are the mean.
    """
    for number, leaf in zip(numbers, leaves, strict=True):
        yield from of_units(network, number, leaf.layer)
    if not any(number.dead == number.units for number in numbers):  # which says it all
        yield from of_gradients(numbers)
    # Of Dense: other layers' parameters start at 1 or 0, and their sizes mean little.
    trained = [
        number
        for number, leaf in zip(numbers, leaves, strict=True)
        if isinstance(leaf.layer, Dense) and leaf.layer.trainable
    ]
    rate = getattr(network._optimizer, "lr", None)
    slope_left = gradient * norm(network.theta) / max(abs(loss), 1e-30)
    rate = rate if isinstance(rate, float) else None
    yield from of_updates(trained, rate, slope_left, updates)


def of_units(network, number, layer):
    """Findings of how the units of one layer respond, by its `LayerNumbers`."""
    output = layer is network._at_loss()[0]
    if math.isnan(number.slope) or (output and network.loss.output):
        return  # a loss that contains its output does not need that slope
    name, units = number.name, number.units
    if number.dead >= MANY_UNITS * units:
        yield Finding(
            "dead_units",
            f"In {number.dead:.0f} of {units} units of {name} ({number.activation}) the derivative "
            "is 0 for all rows looked at: no gradient goes through them.",
            f"Scale the inputs and {_START_AGAIN}. If it comes back in training, use a smaller "
            'learning rate, or "leaky_relu".',
            {"dead": int(number.dead), "units": units, "share": number.dead / units}, name,
            "error" if number.dead == units else "warning",
        )  # fmt: skip
    if number.saturated >= MANY_UNITS:
        yield Finding(
            "saturated",
            f"{number.saturated:.0%} of the {units} units of {name} ({number.activation}) are "
            f"saturated: their derivative is below 5 % of the steepest, the mean is "
            f"{number.slope:.2g}.",
            f"Scale the inputs and {_START_AGAIN}. If it comes back in training, use a smaller "
            "learning rate.",
            {"share": number.saturated, "slope": number.slope, "units": units}, name,
        )  # fmt: skip
    if number.constant >= ALL_UNITS and layer.bends and not output:
        yield Finding(
            "constant_derivative",
            f"In {number.constant:.0%} of the {units} units of {name} ({number.activation}) the "
            f"derivative is the same for all rows, about {number.slope:.2g}: the layer is linear "
            "on these data.",
            f"Scale the inputs and {_START_AGAIN}: units bend where their inputs are about 1.",
            {"share": number.constant, "slope": number.slope, "units": units}, name,
        )  # fmt: skip


def of_gradients(numbers):
    """Findings of how the gradient changes on its way down; `numbers` in order."""
    dense = [n for n in numbers if n.kind == "Dense"]
    if len(dense) < 2 or not math.isfinite(dense[0].gradient_ratio):
        return
    first, last = dense[0], dense[-1]
    evidence = {
        "ratio": first.gradient_ratio, "first": first.gradient_norm, "last": last.gradient_norm
    }  # fmt: skip
    said = (
        f"The gradient of {first.name} is {first.gradient_ratio:.2g} times that of {last.name}: "
        f"{first.gradient_norm:.2g} and {last.gradient_norm:.2g}."
    )
    if first.gradient_ratio < VANISHED:
        yield Finding(
            "vanishing_gradient", said,
            'Use "tanh" or "relu" in place of "sigmoid" in the hidden layers, or fewer of them, '
            f"and {_START_AGAIN}.", evidence, first.name,
        )  # fmt: skip
    if first.gradient_ratio > EXPLODED:
        yield Finding(
            "exploding_gradient", said,
            f"Scale the inputs and {_START_AGAIN}; clip_norm=1.0 of the optimizer limits what is "
            "left.", evidence, first.name,
        )  # fmt: skip


def of_updates(numbers, rate, slope_left, updates=1):
    """Findings of the size of updates; rate: the learning rate, or None.

    Of a mean of many it is not known how large each was, so only what all of them did can be
    called small: an epoch of a million updates may learn with a change of 1e-6 in each.
    """
    ratios = [(n.update_ratio, n.name) for n in numbers if math.isfinite(n.update_ratio)]
    if not ratios:
        return
    largest, name = max(ratios)
    if largest > LARGE_UPDATE:
        yield Finding(
            "large_updates",
            f"One update moves {name} by {largest:.2g} times its norm.",
            f"Use a smaller learning rate{_about(rate, largest)}.", {"ratio": largest}, name,
        )  # fmt: skip
    elif largest * updates < SMALL_UPDATE and slope_left > SLOPE_LEFT:
        yield Finding(
            "small_updates",
            f"One update moves no layer by more than {largest:.2g} times its norm, although the "
            "loss would fall with larger ones.",
            f"Use a larger learning rate{_about(rate, largest)}, or an optimizer that adapts it, "
            'such as "adam".',
            {"ratio": largest, "slope_left": slope_left},
        )  # fmt: skip


def _about(rate, ratio):
    """The learning rate with which updates have a usual size."""
    if rate is None or ratio == 0:
        return ""
    return f", about {rate * USUAL_UPDATE / ratio:.1g} in place of {rate:.3g}"
