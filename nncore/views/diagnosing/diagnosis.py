"""Network.diagnose: numbers of each layer, and what in them and in the data hinders learning."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...layers.dense import positive_int
from ...trainers.problem import norm
from ...validation import as_inputs, as_targets
from ...weights import as_weights, check_weights, class_table
from . import findings, measures, of_data
from .findings import Finding
from .measures import LayerNumbers, Leaf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network import Network

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

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(2, nncore.Dense(1), seed=0)
    >>> diagnosis = net.diagnose([[99.0, 0.0], [0.0, 1.0]], [0.0, 1.0])
    >>> diagnosis
    <Diagnosis of 2-1: unscaled_inputs>
    >>> "unscaled_inputs" in diagnosis, len(diagnosis), diagnosis.layers[0].units
    (True, 1, 1)
    """

    def __init__(
        self,
        title: str,
        found: Iterable[Finding],
        layers: Iterable[LayerNumbers],
        loss: float,
        rows: int,
        n_rows: int,
    ):
        order = {"error": 0, "warning": 1, "note": 2}
        self.findings = tuple(sorted(found, key=lambda finding: order[finding.severity]))
        self.layers, self.loss = tuple(layers), loss
        self.rows, self.n_rows, self.title = rows, n_rows, title

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __bool__(self) -> bool:
        raise TypeError(
            "whether a diagnosis is true could mean two things: use len(diagnosis) > 0 for whether "
            "something was found"
        )

    def __contains__(self, code: str) -> bool:
        return any(finding.code == code for finding in self.findings)

    def __repr__(self) -> str:
        codes = ", ".join(dict.fromkeys(finding.code for finding in self.findings))
        return f"<Diagnosis of {self.title}: {codes or 'nothing found'}>"

    def __str__(self) -> str:
        from .report import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from .report import as_html

        return as_html(self)


def diagnose(
    network: "Network",
    X: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    batch_size: int | str,
    rows: int,
    seed: int,
) -> Diagnosis:
    """Return the `Diagnosis` that `Network.diagnose` describes."""
    rows = positive_int(rows, "rows")
    if not isinstance(batch_size, str):
        batch_size = positive_int(batch_size, "batch_size")
    elif batch_size != "full":
        raise ValueError(f'batch_size must be an integer or "full", got {batch_size!r}')
    X, y, w, found, n_rows = _samples(network, X, y, sample_weight, class_weight)
    order = np.random.default_rng(seed).permutation(len(X))[:rows]
    found += of_data.of_targets(network, y, w)
    X, y = X[order], y[order]
    w = None if w is None else w[order]
    leaves = measures.leaves(network.layers)
    found += findings.of_structure(network, leaves)
    found += findings.of_parameters(network)
    layers: list[LayerNumbers] = []
    loss = math.nan
    if len(X):
        found += of_data.of_inputs(network, X)
        if "nan_parameters" not in {finding.code for finding in found}:
            batch = len(X) if isinstance(batch_size, str) else batch_size
            layers, loss = _of_network(network, X, y, w, batch, leaves, found)
    return Diagnosis(_title(network), found, layers, loss, len(X), n_rows)


def _title(network: "Network") -> str:
    widths = [network.n_in]
    for layer in network.layers:
        n = layer.n_outputs(widths[-1])
        widths += [n] if layer.mixes or n != widths[-1] else []
    return "-".join(map(str, widths))


def _samples(
    network: "Network", X: Any, y: Any, sample_weight: Any, class_weight: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, list[Finding], int]:
    """The rows that are finite and count, checked as `fit` checks them, and findings of others."""
    X, bad_inputs, found = _without_gaps("X", X, network)
    X = as_inputs(X, network, finite=False)
    n_rows = len(X)
    if n_rows == 0:
        raise ValueError("X has no rows; at least one is needed.")
    w = as_weights(sample_weight, n_rows)
    y, bad_targets, more = _without_gaps("y", y, network)
    found += more
    left = 0 if len(bad_targets) == n_rows else n_rows  # of no target at all only the shape counts
    y = as_targets(y[:0] if left == 0 else y, left, network, warn=False)
    if found:
        good = np.ones(n_rows, bool)
        good[bad_inputs] = good[bad_targets] = False
        X, y, w = X[good], y[good[:left]], None if w is None else w[good]
    if len(X):
        check_weights(w)
        w = network._weights(w, class_table(class_weight, y, w, network), y)
    if w is not None and not w.all():
        X, y, w = X[w > 0], y[w > 0], w[w > 0]
    return X, y, w, found, n_rows


def _without_gaps(
    name: str, given: Any, network: "Network"
) -> tuple[Any, np.ndarray, list[Finding]]:
    """What was given as X or y, the rows that `fit` would refuse, and what is found in them.

    Another row stands in their place, so that the checks of `fit` speak of rows as they are.
    """
    array = None if isinstance(given, np.ma.MaskedArray) else _as_floats(given)
    if array is None:
        return given, np.arange(0), []  # `fit`'s checks say what is wrong with it, if anything is
    labels = name == "y" and network.loss.name == "cross_entropy" and network.n_out > 1
    labels = labels and array.size == len(array)
    dtype = array.dtype if labels else network.dtype
    lost, beyond = _gaps(array if array.ndim == 2 else array[:, None], dtype)
    bad = np.union1d(lost, beyond)
    if len(bad):
        good = np.delete(np.arange(len(array)), bad)
        given = array.copy()
        given[bad] = array[good[0]] if len(good) else 0
        if labels and (given == np.floor(given)).all() and np.abs(given).max() < 2**53:
            given = given.astype(np.int64)  # only NaN made them floats
    found = [*of_data.of_lost(name, array, lost, labels)]
    return given, bad, [*found, *of_data.of_beyond(name, array, beyond, dtype, network)]


def _as_floats(given: Any) -> np.ndarray | None:
    try:
        array = np.asarray(given)
    except ValueError:
        return None
    return array if array.dtype.kind == "f" and array.ndim in (1, 2) else None


def _gaps(array: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The rows with NaN or infinity, and the others that have them once they are of `dtype`."""
    lost, beyond = np.zeros((2, len(array)), bool)
    block = max(1, (1 << 20) // max(1, array.shape[1]))  # bounded memory for the masks
    for start in range(0, len(array), block):
        part = slice(start, start + block)
        lost[part] = ~np.isfinite(array[part]).all(axis=1)
        if array.dtype.itemsize > dtype.itemsize:
            with np.errstate(over="ignore"):
                beyond[part] = ~np.isfinite(array[part].astype(dtype)).all(axis=1)
    return np.flatnonzero(lost), np.flatnonzero(beyond & ~lost)


def _of_network(
    network: "Network",
    X: np.ndarray,
    y: np.ndarray,
    w: np.ndarray | None,
    batch_size: int,
    leaves: list[Leaf],
    found: list[Finding],
) -> tuple[list[LayerNumbers], float]:
    """The numbers of each layer, and the loss; what is wrong with them goes to `found`."""
    slopes = measures.slopes_of_layers(network, X)
    network._tune_if_idle()
    loss, gradient = measures.loss_and_gradient(network, X, y, w)
    batch = slice(0, batch_size)
    updates = measures.update_ratios(
        network, X[batch], y[batch], None if w is None else w[batch], leaves
    )
    numbers = measures.numbers(network, leaves, slopes, gradient, updates)
    found += findings.of_loss(loss, X)
    if math.isfinite(loss):
        found += findings.of_layers(network, numbers, leaves, loss, norm(gradient), X)
    return numbers, loss
