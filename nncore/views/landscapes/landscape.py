"""The loss of a network as a landscape over two directions of its parameters."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ...gradients import Derivatives
from ...history import History
from ...layers.dense import positive_int
from ...progress import Progress
from ...threads import as_count
from . import directions as of_plane
from .path import Path
from .stationary import StationaryPoint, stationary_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...network import Network

T = TypeVar("T", bound=float)
_MOST_POINTS = 1 << 24  # 4096 x 4096


class Landscape:
    """What `landscape` computed: the loss at the points of a grid.

    Attributes
    ----------
    a, b : numpy.ndarray
        Coordinates of the grid along the two directions.
    losses : numpy.ndarray, shape (len(a), len(b))
        ``losses[i, j]`` at the parameters ``theta_at(a[i], b[j])``. Infinite or NaN where the loss
        overflows.
    kind : str
        "random", "path", "weights" or "vectors".
    labels : list of str
        What the two directions are.
    origin : numpy.ndarray, shape (n_params,)
        The parameters of a = b = 0.
    directions : numpy.ndarray, shape (2, n_params)
    center : tuple of float
        a and b of the point round which the landscape lies: the end of the path, or the network.
    center_loss : float
        The loss there.
    path : numpy.ndarray, shape (n_points, 2), or None
        a and b of the points of the plane that are nearest to those of the path. Of several paths a
        dict by name.
    path_losses : numpy.ndarray, shape (n_points,), or None
        The loss at the points of the path themselves, which need not lie in the plane; likewise.
    explained : numpy.ndarray, shape (2,), or None
        Which share of the variance of all points of paths lies along the first direction, and along
        what the second adds to it. If their sum is far below 1, the plane shows little of them.
    end : StationaryPoint or None
        What the center is: a minimum, a saddle, a plateau, or on a slope.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1, init="zeros"))
    >>> X, y = [[1.0], [2.0]], [3.0, 5.0]
    >>> found = nncore.landscape(net, X, y, directions=("w12", "b2"), shape=5, span=2)
    >>> found.lowest()
    (2.0, 1.0, 0.0)
    >>> found.theta_at(2.0, 1.0)
    array([2., 1.])
    >>> found.project([[1.5, 0.5]])
    array([[1.5, 0.5]])
    """

    def __init__(
        self, plane: of_plane.Plane, a: np.ndarray, b: np.ndarray, losses: np.ndarray
    ) -> None:
        self.kind, self.labels, self.center = plane.kind, plane.labels, plane.center
        self.origin, self.directions = plane.origin, np.stack([plane.u, plane.v])
        self.a, self.b, self.losses = a, b, losses
        self.center_loss = float("nan")
        self.explained: np.ndarray | None = None
        self.end: StationaryPoint | None = None
        # name: (points, losses); the name of one alone is ""
        self._paths: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def path(self) -> Any:
        """a and b along the path, or the paths."""
        return self._of_paths(0)

    @property
    def path_losses(self) -> Any:
        """The losses there."""
        return self._of_paths(1)

    def _of_paths(self, which: int) -> Any:
        found = {name: path[which] for name, path in self._paths.items()}
        return found.get("", found or None)

    def theta_at(self, a: float, b: float) -> np.ndarray:
        """Return the parameters at a and b, in float64: the engine rounds them to its dtype.

        Parameters
        ----------
        a, b : float

        Returns
        -------
        numpy.ndarray of float64, shape (n_params,)
        """
        theta: np.ndarray = self.origin + a * self.directions[0] + b * self.directions[1]
        return theta

    def lowest(self) -> tuple[float, float, float]:
        """Return (a, b, loss), three floats, of the point of the grid with the lowest loss."""
        finite = np.where(np.isfinite(self.losses), self.losses, np.inf)
        i, j = np.unravel_index(int(finite.argmin()), finite.shape)
        return float(self.a[i]), float(self.b[j]), float(self.losses[i, j])

    def project(self, points: "Path | ArrayLike") -> np.ndarray:
        """Return a and b of the points of the plane that are nearest to these.

        Parameters
        ----------
        points : nncore.Path, or array_like of shape (n_points, n_params)

        Returns
        -------
        numpy.ndarray of float64, shape (n_points, 2)
        """
        return of_plane.project(
            of_plane.as_rows(points, len(self.origin)), self.origin, *self.directions
        )

    def plot(
        self, ax: "Axes | None" = None, *, kind: Literal["2d", "3d"] = "2d", paths: Any = None
    ) -> "Axes":
        """Draw it, by `nncore.plots.landscape`; needs matplotlib, the extra ``plot``.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; by default a new figure. For "3d" they must have ``projection="3d"``.
        kind : {"2d", "3d"}, default "2d"
            "2d": a map with contour lines; "3d": a surface.
        paths : optional
            More paths to draw, as `landscape` takes them.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from .relief import landscape

        return landscape(self, paths=paths, kind=kind, ax=ax)

    def __repr__(self) -> str:
        n, m = self.losses.shape
        return f"Landscape({self.kind}, {n} x {m} points)"

    def __str__(self) -> str:
        finite = self.losses[np.isfinite(self.losses)]
        a, b, loss = self.lowest()
        lines = [f"{self.losses.shape[0]} x {self.losses.shape[1]} points of the loss"]
        for name, label, values in zip("ab", self.labels, (self.a, self.b), strict=True):
            lines.append(f"  {name}: {label}, from {values[0]:.4g} to {values[-1]:.4g}")
        if finite.size:
            lines.append(
                f"  loss from {loss:.4g} (at a = {a:.3g}, b = {b:.3g}) to {finite.max():.4g}; "
                f"{self.center_loss:.4g} at the center"
            )
        if finite.size < self.losses.size:
            lines.append(f"  {self.losses.size - finite.size} points are not finite")
        if self.explained is not None:
            n = sum(len(points) for points, _ in self._paths.values())
            of = "path's" if len(self._paths) == 1 else "paths'"
            lines.append(
                f"  {of_plane.percent(self.explained.sum())} of the variance of the {of} {n} "
                "points lies in this plane"
            )
        if self.end is not None:
            lines.append(str(self.end))
        return "\n".join(lines)


def landscape(
    network: "Network", X: "ArrayLike", y: "ArrayLike", *,
    directions: str | Sequence[Any] | np.ndarray | None = None, center: "ArrayLike | None" = None,
    path: Any = None, shape: int | tuple[int, int] = 51,
    span: float | tuple[float, float] | None = None, end: bool = True, seed: int = 0,
    sample_weight: "ArrayLike | None" = None, n_threads: int | None = None,
    verbose: bool | int | str = "auto",
) -> Landscape:  # fmt: skip
    """Compute the loss at the points of a grid along two directions of the parameters.

    Parameters
    ----------
    network : Network
        Stays as it is.
    X : array_like, shape (n_rows, n_in)
    y : array_like
        As in `Network.fit`.
    directions : str or pair, optional
        - "random": drawn with `seed`, each filter as long as the network's own (Li et al. 2018,
          "Visualizing the loss landscape of neural nets"). The weights into a unit of `Dense` are a
          filter, so is a token's row of `Embedding`. Along biases, other vectors, and parameters
          that are not trained, the direction is 0.
        - "path": the two principal directions of `path`, or of all points of several.
        - two weights, by name, such as ``("layers[0].W[0, 1]", "layers[1].b[0]")``, or
          ``("w14", "b6")`` with units numbered through, the inputs first, or as tuples (layer, i,
          j) or (layer, j): as `Trace.weight` takes them. The coordinates are then their values.
        - two vectors like ``theta``.

        By default "path" if there is a path, else "random".
    center : array_like, shape (n_params,), optional
        Parameters round which the landscape lies: by default where the one path ends, or the
        network's.
    path : optional
        Where training came through, in order: a `nncore.Path` or an array of shape (n_points,
        n_params). Several as a dict of them by name, such as ``{"online": path1, "batch": path2}``,
        or as a list of Path.
    shape : int or pair of int, default 51
        How many points along each direction, at least 2; at most 16,777,216 in all.
    span : float or pair, optional
        How far to go from the center to both sides, in units of the directions; one for both or one
        for each. By default 1; for weights 1.5 times their value, but at least 2; and in any case
        so far that the path lies on the map.
    end : bool, default True
        Whether to look at what the center is, as `stationary_point`.
    seed : int, default 0
        Of the random directions.
    sample_weight, n_threads : optional
        As in `Network.fit`. The result has the same bits with any number of threads.
    verbose : bool or "auto", default "auto"
        A progress line on stderr; "auto" shows it in a terminal only.

    Returns
    -------
    Landscape

    Raises
    ------
    ValueError
        If there is no such plane: directions that are one, a path on a line, weights that are not
        there.
    KeyboardInterrupt
        On Ctrl-C, within 0.1 s.

    Notes
    -----
    The grid is one call of C. At each point the parameters are computed in float64 and rounded to
    the network's dtype; the loss, with the penalties of layers, has the bits of `Network.evaluate`
    there. A point costs one evaluation of all rows: ``2 * n_rows * n_params`` operations and
    the activations. Memory: some ten float64 vectors of the parameters, and for each thread a block
    of 256 rows and the parameters. For millions of parameters give some hundred rows, a small
    `shape` and ``end=False``, since `stationary_point` takes up to 0.5 GB.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(2, nncore.Dense(2, "tanh"), nncore.Dense(1), seed=1)
    >>> path = nncore.Path()
    >>> path.record(net)
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> for _ in range(50):
    ...     history = net.fit(X, y, epochs=10, verbose=False)
    ...     path.record(net)
    >>> found = nncore.landscape(net, X, y, path=path)
    >>> found.losses.shape, len(found.path)
    ((51, 51), 51)
    """
    if not isinstance(network, Derivatives):
        raise TypeError(f"the first argument must be a nncore.Network, got {network!r}")
    data, targets, w = network._samples(X, y, sample_weight)
    threads = as_count(n_threads)
    if not isinstance(end, (bool, np.bool_)):
        raise ValueError(f"end must be True or False, got {end!r}")
    sizes = _pair(shape, "shape", _at_least_2)
    n_points = sizes[0] * sizes[1]
    if n_points > _MOST_POINTS:
        raise ValueError(f"shape {sizes} has {n_points:,} points; the most are {_MOST_POINTS:,}")
    paths = of_plane.as_paths(path, network.n_params)
    rows = [row for points in paths.values() for row in points]
    if center is not None:
        at = network._vector(center, "center")
    else:
        at = network._vector(paths[""][-1] if "" in paths else network.theta, "the center")
    if directions is None:
        directions = "path" if rows else "random"
    plane = of_plane.choose(network, directions, at.astype(np.float64), rows, seed)
    coordinates = of_plane.project(rows, plane.origin, plane.u, plane.v) if rows else None
    a, b = (
        np.linspace(low, high, n)
        for (low, high), n in zip(_ranges(plane, coordinates, span), sizes, strict=True)
    )
    network._tune_if_idle()
    progress = Progress(n_points, verbose, "point")
    nothing = History()

    def report(done: int) -> None:
        if done:
            progress.update(done, nothing)

    try:
        losses = network._engine.landscape(
            data, targets, plane.origin, plane.u, plane.v, a, b, threads, w, report
        )
        report(losses.size)
    finally:
        progress.close()
    found = Landscape(plane, a, b, losses)
    found.center_loss = network._engine.loss(data, targets, threads, at, w)
    for name, points in paths.items():
        thetas = (network._vector(point, "path") for point in points)
        along = [network._engine.loss(data, targets, threads, theta, w) for theta in thetas]
        on_map = of_plane.project(points, plane.origin, plane.u, plane.v)
        found._paths[name] = on_map, np.array(along)
    found.explained = plane.explained(rows) if rows else None
    if end:
        found.end = stationary_point(
            network, data, targets, theta=at, sample_weight=w, n_threads=threads or None
        )
    return found


def _pair(value: Any, name: str, check: Callable[[Any, str], T]) -> tuple[T, T]:
    values = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{name} must be one number or two, got {value!r}")
    return check(values[0], name), check(values[1], name)


def _at_least_2(value: Any, name: str) -> int:
    if positive_int(value, name) < 2:
        raise ValueError(f"{name} must be at least 2: a grid has points, got {value!r}")
    return int(value)


def _positive(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < 1e150 or isinstance(value, (bool, np.bool_, str)):
        raise ValueError(f"{name} must be a positive number below 1e150, got {value!r}")
    return number


def _ranges(plane: of_plane.Plane, path: np.ndarray | None, span: Any) -> list[of_plane.Pair]:
    """From where to where the grid goes along each direction."""
    if span is not None:
        reach = _pair(span, "span", _positive)
        return [(c - r, c + r) for c, r in zip(plane.center, reach, strict=True)]
    ranges = [(c - r, c + r) for c, r in zip(plane.center, plane.reach, strict=True)]
    if path is None:
        return ranges
    low = np.minimum(path.min(axis=0), plane.center)
    high = np.maximum(path.max(axis=0), plane.center)
    if plane.kind == "path":  # in units of theta: the path alone says what is far
        margin = np.maximum(0.25 * (high - low), 0.1 * (high - low).max())
        return [*zip(low - margin, high + margin, strict=True)]
    margin = 0.1 * (high - low)
    return [
        (min(r[0], lo - m), max(r[1], hi + m))
        for r, lo, hi, m in zip(ranges, low, high, margin, strict=True)
    ]
