"""Monitor: the numbers of a diagnosis, recorded while a network trains."""

import math
import time
from typing import Any

import numpy as np

from ...callbacks import Callback
from ...described import checked
from ...layers.base import real
from ...layers.dense import positive_int
from ...names import WHOLE_ROW
from ...trainers.problem import norm
from . import findings, measures
from .findings import Finding
from .measures import LayerNumbers

_OF_UNITS = ("slope", "saturated", "dead")


class Monitor(Callback):
    """Record in the history how the layers of a network respond while it trains.

    Give it to ``fit(..., callbacks=[nncore.Monitor()])``. After an epoch it looks at up to `rows`
    rows of the training data, always the same ones, and records for each layer i with parameters
    (in a `Residual` ``layers[i].layers[j]``):

    ===================================== ==========================================================
    ``history["layers[i].gradient_norm"]`` 2-norm of the gradient of the loss by its parameters
    ``history["layers[i].update_ratio"]``  2-norm of their change in this epoch, by their own 2-norm
                                           before it and the number of its updates: the mean size of
                                           an update, where updates that cancel count for less
    ``history["layers[i].slope"]``         mean abs(f') over rows and units; of `Dense` layers, but
                                           not under softmax, as the next two
    ``history["layers[i].saturated"]``     share of units, 0 to 1, with a mean abs(f') below 5 % of
                                           the activation's steepest slope, but not 0 for all rows
    ``history["layers[i].dead"]``          number of units with f' = 0 for all rows
    ===================================== ==========================================================

    In epochs at whose end it did not look they are NaN. What a callback before it in the list
    changes at the end of an epoch would count as an update: put the monitor first.

    It changes nothing in the network and draws no random numbers: training has the same bits with
    it and without.

    Parameters
    ----------
    rows : int, default 256
        The most rows to look at. A look costs about as much as training 4/3 of so many rows, and
        some passes over the parameters.
    share : float, default 0.05
        The part of the training time that it may take: it looks after the first epoch, and then
        whenever its looks so far, and one more like the last, take no more than this share of
        ``history.seconds``. So at any time its looks have taken at most that share and one look.
        How often it looks then depends on the clock; what it sees does not.
    every : int, optional
        Look after every so many epochs instead, from the first one on, whatever it costs.

    Attributes
    ----------
    findings : list of Finding
        What was found in the last training: each code of `Network.diagnose` that is of layers or
        updates, once for each layer, with the ``epoch`` (from 0) in which it was seen first. They
        are no warnings: much of it passes by itself.
    seconds : float
        Time that the looks of the last training took.
    looks : int
        How many there were.

    Examples
    --------
    >>> import nncore
    >>> X, y = nncore.datasets.load_digits()
    >>> net = nncore.Network(
    ...     64, nncore.Dense(32, "relu"), nncore.Dense(10, "softmax"), seed=0)
    >>> monitor = nncore.Monitor(every=1)
    >>> history = net.fit(X / 16, y, epochs=3, verbose=False, callbacks=[monitor])
    >>> [name for name in history if name.startswith("layers[0]")]  # doctest: +NORMALIZE_WHITESPACE
    ['layers[0].slope', 'layers[0].saturated', 'layers[0].dead', 'layers[0].gradient_norm',
     'layers[0].update_ratio']
    >>> len(history["layers[0].slope"]), monitor.findings
    (3, [])
    """

    _clock = staticmethod(time.perf_counter)
    _next: int | None  # the epoch after which it looks
    _samples: Any  # these three are None when fit does not run
    _leaves: Any
    _before: Any

    def __init__(self, rows: int = 256, *, share: float = 0.05, every: int | None = None):
        self.rows = positive_int(rows, "rows of Monitor")
        self.share = real(share, "share of Monitor", lambda s: 0 < s < math.inf, "above 0")
        self.every = every if every is None else positive_int(every, "every of Monitor")
        self.findings: list[Finding] = []
        self.seconds, self.looks = 0.0, 0

    def __repr__(self) -> str:
        every = f", every={self.every}" if self.every is not None else ""
        return f"Monitor({self.rows}, share={self.share:g}{every})"

    def on_train_begin(self, logs: Any = None) -> None:
        self.findings, self.seconds, self.looks = [], 0.0, 0
        X, y, w = self.data
        if hasattr(y, "counts"):
            raise ValueError("a Monitor cannot look at rows with missing targets")
        n = len(X) if w is None else np.count_nonzero(w)
        chosen = np.random.default_rng(0).permutation(n)[: self.rows]
        if w is not None:  # rows of weight 0 are not trained
            chosen = np.flatnonzero(w)[chosen]
        self._samples = X[chosen], y[chosen], None if w is None else w[chosen]
        self._leaves = measures.leaves(self.network.layers)
        self._seen: set[tuple[str, str | None]] = set()
        self._begin(0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Here, so that what other callbacks do between epochs is no update.
        if self._next == epoch:
            start = self._clock()
            self._before = self.network.theta.copy(), self.history.n_steps
            self.seconds += self._clock() - start

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._next == epoch:
            start = self._clock()
            numbers = self._look()
            logs |= self._by_name(numbers)
            self._find(numbers, epoch)
            self.looks += 1
            last = self._clock() - start
            self.seconds += last
            self._last = last
            self._begin(epoch + 1)
        elif self._next is None:
            self._begin(epoch + 1)

    def get_state(self) -> dict[str, Any]:
        found = [
            vars(finding) | {"evidence": {k: float(v) for k, v in finding.evidence.items()}}
            for finding in self.findings
        ]
        clock = {} if self.looks == 0 else {"last": self._last}
        return {
            "looks": self.looks, "seconds": self.seconds, "findings": found,
            "looks_next": self._next is not None,
        } | clock  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> None:
        self.looks, self.seconds, found, looks_next = checked(
            state, looks=int, seconds=float, findings=list, looks_next=bool
        )
        if self.looks:
            (self._last,) = checked(state, last=float)
        for each in found:
            code, message, advice, evidence = checked(
                each, code=str, message=str, advice=str, evidence=dict
            )
            finding = Finding(code, message, advice, evidence, each["layer"], each["severity"])
            (finding.epoch,) = checked(each, epoch=int)
            self.findings.append(finding)
            self._seen.add((finding.code, finding.layer))
        self._next = self._run.done if looks_next else None

    def on_train_end(self, logs: Any = None) -> None:
        self._samples = self._leaves = self._before = None

    def _begin(self, epoch: int) -> None:
        """Decide whether to look at the end of this epoch, which comes next."""
        if self.every is not None:
            self._next = epoch if epoch % self.every == 0 else None
        elif self.looks == 0 or self.seconds + self._last <= self.share * self.history.seconds:
            self._next = epoch
        else:
            self._next = None

    def _look(self) -> list[LayerNumbers]:
        """The `LayerNumbers` of each layer, with the updates of this epoch."""
        network, leaves = self.network, self._leaves
        slopes = measures.slopes_of_layers(network, self._samples[0])
        self._loss, gradient = measures.loss_and_gradient(network, *self._samples)
        self._whole = norm(gradient)
        theta, steps = self._before
        self._updates = updates = max(1, self.history.n_steps - steps)
        changes = [
            measures.relative_change(theta[leaf.place], network.theta[leaf.place]) / updates
            for leaf in leaves
        ]
        return measures.numbers(network, leaves, slopes, gradient, changes)

    def _by_name(self, numbers: list[LayerNumbers]) -> dict[str, float]:
        found: dict[str, float] = {}
        for number, leaf in zip(numbers, self._leaves, strict=True):
            names = ["gradient_norm", "update_ratio"]
            if hasattr(leaf.layer, "function") and leaf.layer.activation not in WHOLE_ROW:
                names = [*_OF_UNITS, *names]
            found |= {f"{leaf.name}.{name}": float(getattr(number, name)) for name in names}
        return found

    def _find(self, numbers: list[LayerNumbers], epoch: int) -> None:
        if not math.isfinite(self._loss):
            return
        for finding in findings.of_layers(
            self.network, numbers, self._leaves, self._loss, self._whole, self._samples[0],
            self._updates,
        ):  # fmt: skip
            if (finding.code, finding.layer) not in self._seen:
                self._seen.add((finding.code, finding.layer))
                finding.epoch = epoch
                self.findings.append(finding)
