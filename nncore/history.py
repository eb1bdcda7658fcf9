"""History: what a call of `Network.fit` recorded."""

from collections.abc import Iterator, Mapping

import numpy as np


class History(Mapping[str, list[float]]):
    """What `Network.fit` recorded: lists with one value per epoch, by name.

    ``history["loss"]`` is the mean of the losses of the epoch's batches, each before its update,
    weighted by their rows, or by the sums of their rows' weights; with validation data there is
    ``"val_loss"`` too, for classes ``"val_accuracy"``, and the metrics. Where the learning rate has
    a schedule, ``"lr"`` is that of the epoch's last update. Penalties of layers are part of all
    losses.

    With a full-batch trainer an epoch is an iteration, and ``history["loss"]`` is the loss after
    it; there are ``"gradient_norm"``, ``"evaluations"`` of the loss so far and ``"gradients"``,
    where a Jacobian or a product with the Hessian counts as one, and what the trainer reports, such
    as ``"mu"``. What callbacks record has NaN in epochs without it; names of what belongs to one
    layer, such as ``"layers[0].slope"`` of `Monitor`, are left out where a history is shown.

    Attributes
    ----------
    stop_reason : str
        Why `Network.fit` ended: "epochs", the name of a condition of `Stop`, what a callback said,
        or with a full-batch trainer "minimum" (no step reduces the loss any more) or "mu_max".
    seconds : float
        Time spent in training steps, without validation and progress.
    n_steps : int
        Updates done.
    validation_rows : numpy.ndarray or None
        The rows that `validation_split` held out, in increasing order, int64.
    error : str or None
        What `callbacks.TerminateOnNaN` has kept from being raised: which loss, and where.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1), seed=0)
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], epochs=50, batch_size=1, verbose=False)
    >>> len(history["loss"]), history.n_steps, history.stop_reason
    (50, 100, 'epochs')
    >>> history["loss"][-1] < history["loss"][0]
    True
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self.stop_reason = "epochs"
        self.seconds = 0.0
        self.n_steps = 0
        self.validation_rows: np.ndarray | None = None
        self.error: str | None = None

    def __getitem__(self, name: str) -> list[float]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        epochs = len(self._values.get("loss", ()))
        last = ", ".join(f"{name} {self[name][-1]:.4g}" for name in self.shown())
        said = last if epochs else self.error
        return f"History({epochs} epochs; {said})" if said else f"History({epochs} epochs)"

    def _repr_html_(self) -> str:
        from .notebook import history_html

        title = f"History of {len(self._values.get('loss', ()))} epochs"
        return history_html({name: self[name] for name in self.shown()}, title)

    def append(self, **values: float) -> None:
        """Add one epoch's values."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def column(self, name: str) -> list[float]:
        """Return the list of a name, a new one if there is none."""
        return self._values.setdefault(name, [])

    def take(
        self, values: dict[str, list[float]], n_steps: int, seconds: float, stop_reason: str
    ) -> None:
        """Begin with what was recorded before."""
        self._values |= values
        self.n_steps, self.seconds, self.stop_reason = n_steps, seconds, stop_reason

    def shown(self) -> list[str]:
        """Return the names of what belongs to no single layer."""
        return [name for name in self._values if not name.startswith("layers[")]
