"""Path: the parameters that a training run came through, thinned so that memory is bounded."""

from typing import Any

import numpy as np

from ...callbacks import Callback
from ...described import checked, checked_array
from ...gradients import Derivatives
from ...layers.dense import positive_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network import Network

Point = tuple[int, np.ndarray]  # the epoch and theta


class Path(Callback):
    """Records the parameters of a network while it learns, for `nncore.landscape`.

    A callback of `Network.fit`: ``net.fit(X, y, callbacks=[path])``; or call `record` yourself.

    Parameters
    ----------
    every : int, default 1
        Record after so many epochs.
    most : int, default 200
        Keep at most so many points. When they are full, every second one is dropped and `every`
        doubles: memory is that of `most` copies of ``theta``.

    Attributes
    ----------
    epochs : list of int
        The epoch of each point: 0 is the start, and those of several calls of `fit` are counted on.

    Notes
    -----
    ``len(path)`` is the number of points, ``np.asarray(path)`` the points, of shape
    (n_points, n_params). The first and the last are always kept.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.1), seed=0)
    >>> path = nncore.Path()
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], epochs=20, callbacks=[path], verbose=False)
    >>> len(path), path.epochs[-1]
    (21, 20)
    """

    def __init__(self, *, every: int = 1, most: int = 200) -> None:
        self.every = positive_int(every, "every")
        self.most = positive_int(most, "most")
        if self.most < 3:
            raise ValueError(f"most must be at least 3, or there is no path, got {most!r}")
        self._kept: list[Point] = []
        self._last: Point | None = None  # where the last point is not to be kept for long
        self._epoch = -1

    @property
    def epochs(self) -> list[int]:
        """The epoch of each point."""
        return [epoch for epoch, _ in self._points()]

    def _points(self) -> list[Point]:
        return self._kept if self._last is None else [*self._kept, self._last]

    def record(self, network: "Network") -> None:
        """Record where a network is, after one more epoch; the first call is the start.

        Parameters
        ----------
        network : Network

        Raises
        ------
        ValueError
            If it has another number of parameters than before.
        """
        if not isinstance(network, Derivatives):
            raise TypeError(f"record takes a nncore.Network, got {type(network).__name__}")
        theta = network.theta
        if self._kept and len(theta) != len(self._kept[0][1]):
            raise ValueError(
                f"this path is of a network of {len(self._kept[0][1])} parameters, and this one "
                f"has {len(theta)}; make a new Path for it"
            )
        self._epoch += 1
        self._last = self._epoch, theta.copy()
        if self._epoch % self.every == 0:
            self._kept.append(self._last)
            self._last = None
        if len(self._kept) >= self.most:
            last = self._kept[-1]
            del self._kept[1::2]
            self.every *= 2
            if self._kept[-1] is not last:
                self._last = last

    def __len__(self) -> int:
        return len(self._points())

    def thetas(self) -> list[np.ndarray]:
        """Return the points: a list of vectors, (n_params,), that are not to be changed."""
        return [theta for _, theta in self._points()]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.thetas(), dtype) if self._kept else np.empty((0, 0), dtype)

    def __repr__(self) -> str:
        return f"Path({len(self)} points, epochs 0 to {max(self._epoch, 0)})"

    # ---- as a callback of fit ----

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self._epoch < 0:
            self.record(self.network)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.record(self.network)

    def get_state(self) -> dict[str, Any]:
        points = self._points()
        return {
            "every": self.every, "at": self._epoch, "kept": len(self._kept),
            "epochs": np.array([epoch for epoch, _ in points], np.int64),
            "thetas": np.array([theta for _, theta in points]),
        }  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> None:
        every, at, kept = checked(state, every=int, at=int, kept=int)
        epochs, thetas = state["epochs"], state["thetas"]
        n, dtype = len(epochs), self.network.dtype
        checked_array(state, "thetas", np.empty((n, self.network.n_params), dtype))
        if every < 1 or epochs.dtype != np.int64 or epochs.shape != (n,) or n - kept not in (0, 1):
            raise ValueError("a state that a Path cannot have")
        points = list(zip(epochs.tolist(), thetas, strict=True))
        self.every, self._epoch, self._kept = every, at, points[:kept]
        self._last = points[-1] if n > kept else None

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """The path ends where `fit` leaves the network: a `Stop` may have restored parameters."""
        epoch, theta = self._points()[-1]
        if not np.array_equal(theta, self.network.theta):
            self._last = epoch, self.network.theta.copy()
            if self._kept[-1][0] == epoch and len(self._kept) > 1:
                del self._kept[-1]
