"""Network.diagnose: numbers of each layer, and what in them and in the data hinders learning."""

from __future__ import annotations

import math

import numpy as np

from ...layers.dense import positive_int
from ...validation import as_inputs, as_targets
from ...weights import as_weights, check_weights, class_table
from . import findings, measures
from .findings import Finding
from .measures import LayerNumbers

__all__ = ["Diagnosis", "Finding", "LayerNumbers", "diagnose"]


class Diagnosis:
    """What `Network.diagnose` found. Iterating gives the findings; printed it is a report.

    Attributes
    ----------
    findings : tuple of Finding
        Errors first, notes last. ``"saturated" in diagnosis`` says whether there is one of that
        code.
    layers : tuple of LayerNumbers
        The numbers of each layer with parameters; empty where parameters or all rows are not
        finite.
    loss : float
        Of the rows looked at, as `Network.evaluate` has it; NaN where it could not be computed.
    rows, n_rows : int
        Rows that were looked at, and that were given.
    title : str
        What the network is, in short.
    """

    def __init__(self, title, found, layers, loss, rows, n_rows):
        order = {"error": 0, "warning": 1, "note": 2}
        self.findings = tuple(sorted(found, key=lambda finding: order[finding.severity]))
        self.layers, self.loss = tuple(layers), loss
        self.rows, self.n_rows, self.title = rows, n_rows, title

    def __iter__(self):
        return iter(self.findings)

    def __len__(self):
        return len(self.findings)

    def __bool__(self):
        raise TypeError(
            "whether a diagnosis is true could mean two things: use len(diagnosis) > 0 for whether "
            "something was found"
        )

    def __contains__(self, code):
        return any(finding.code == code for finding in self.findings)

    def __repr__(self):
        codes = ", ".join(dict.fromkeys(finding.code for finding in self.findings))
        return f"<Diagnosis of {self.title}: {codes or 'nothing found'}>"

    def __str__(self):
        from .report import as_text

        return as_text(self)

    def _repr_html_(self):
        from .report import as_html

        return as_html(self)


def diagnose(network, X, y, sample_weight, class_weight, batch_size, rows, seed):
    """Return the `Diagnosis` that `Network.diagnose` describes."""
    batch_size = positive_int(batch_size, "batch_size")
    rows = positive_int(rows, "rows")
    X, y, w, found, n_rows = _samples(network, X, y, sample_weight, class_weight)
    order = np.random.default_rng(seed).permutation(len(X))[:rows]
    found += findings.of_targets(network, y) if len(y) else ()
    found += findings.of_classes(network, y, w)
    X, y = X[order], y[order]
    w = None if w is None else w[order]
    if len(X):
        found += findings.of_inputs(network, X)
    found += findings.of_structure(network)
    found += findings.of_parameters(network)
    layers, loss = (), math.nan
    if len(X) and "nan_parameters" not in {finding.code for finding in found}:
        layers, loss = _of_network(network, X, y, w, batch_size, found)
    return Diagnosis(_title(network), found, layers, loss, len(X), n_rows)


def _title(network):
    widths = [network.n_in]
    for layer in network.layers:
        n = layer.n_outputs(widths[-1])
        widths += [n] if layer.mixes or n != widths[-1] else []
    return "-".join(map(str, widths))


def _samples(network, X, y, sample_weight, class_weight):
    """The rows that are finite and count, checked as `fit` checks them, and findings of others."""
    X = as_inputs(X, network, finite=False)
    n_rows = len(X)
    if n_rows == 0:
        raise ValueError("X has no rows; at least one is needed.")
    bad_inputs, bad_targets = _not_finite(X), np.zeros(0, np.int64)
    raw = np.asarray(y)
    if raw.dtype.kind == "f" and raw.ndim in (1, 2) and len(raw) == n_rows:
        bad_targets = _not_finite(raw.reshape(n_rows, -1))
    found = list(findings.of_not_finite(bad_inputs, bad_targets, n_rows))
    w = as_weights(sample_weight, n_rows)
    if found:
        good = np.ones(n_rows, bool)
        good[bad_inputs] = good[bad_targets] = False
        X, y, w = X[good], raw[good], None if w is None else w[good]
    y = as_targets(y, len(X), network, warn=False)
    if len(X):
        check_weights(w)
        w = network._weights(w, class_table(class_weight, y, w, network), y)
    if w is not None and not w.all():
        X, y, w = X[w > 0], y[w > 0], w[w > 0]
    return X, y, w, found, n_rows


def _not_finite(array):
    """The rows with NaN or infinity."""
    block = max(1, (1 << 20) // max(1, array.shape[1]))  # bounded memory for the masks
    parts = [
        start + np.flatnonzero(~np.isfinite(array[start : start + block]).all(axis=1))
        for start in range(0, len(array), block)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _of_network(network, X, y, w, batch_size, found):
    """The numbers of each layer, and the loss; what is wrong with them goes to `found`."""
    leaves = measures.leaves(network.layers)
    slopes = measures.slopes_of_layers(network, X)
    network._tune_if_idle()
    loss, gradients, whole = measures.gradient_norms(network, X, y, w, leaves)
    batch = slice(0, batch_size)
    updates = measures.update_ratios(
        network, X[batch], y[batch], None if w is None else w[batch], leaves
    )
    numbers = measures.numbers(network, leaves, slopes, gradients, updates)
    found += findings.of_loss(loss)
    if math.isfinite(loss):
        found += findings.of_layers(network, numbers, leaves, loss, whole)
    return numbers, loss
