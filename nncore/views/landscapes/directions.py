"""Two directions in the space of the parameters: random, principal, two weights, or any."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...layers import Dense
from ...trainers.problem import _place, fixed_parameters, leaves
from ...validation import as_parameters
from ..places import find
from .path import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network import Network

Pair = tuple[float, float]


class Plane:
    """The parameters ``origin + a u + b v``, with a name for each axis.

    ``center`` are a and b of the point round which one looks, ``reach`` how far by default;
    ``explained`` which shares of the variance of a path's points the directions have.
    """

    def __init__(
        self, kind: str, origin: np.ndarray, u: np.ndarray, v: np.ndarray, labels: list[str],
        center: Pair = (0.0, 0.0), reach: Pair = (1.0, 1.0),
    ) -> None:  # fmt: skip
        self.kind, self.labels = kind, labels
        self.origin, self.u, self.v = (np.ascontiguousarray(x, np.float64) for x in (origin, u, v))
        self.center, self.reach = center, reach

    def explained(self, rows: Sequence[np.ndarray]) -> np.ndarray | None:
        """Return which share of the points' variance lies along u, and along what v adds to it."""
        mean = _mean(rows)
        total = sum(float(np.square(row - mean).sum()) for row in rows)
        if total == 0:
            return None
        u = self.u / np.linalg.norm(self.u)
        v = self.v - (self.v @ u) * u
        v /= np.linalg.norm(v)
        return np.array([sum(((row - mean) @ d) ** 2 for row in rows) / total for d in (u, v)])


def project(
    rows: Sequence[np.ndarray], origin: np.ndarray, u: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Return (k, 2): a and b of the points of the plane ``origin + a u + b v`` nearest to these."""
    # the normal equations of u and v scaled to length 1, so that neither drowns the other
    lengths = np.array([np.linalg.norm(u), np.linalg.norm(v)])
    u, v = u / lengths[0], v / lengths[1]
    cosine = float(u @ v)
    right = np.array([[(row - origin) @ u, (row - origin) @ v] for row in rows])
    found: np.ndarray = np.linalg.solve([[1, cosine], [cosine, 1]], right.T).T / lengths
    return found


def as_paths(path: Any, n_params: int) -> dict[str, list[np.ndarray]]:
    """Return a dict of the points of each path by its name; the name of one alone is ""."""
    if path is None:
        return {}
    if isinstance(path, Mapping):
        if not path or not all(isinstance(name, str) and name for name in path):
            raise ValueError(f"several paths are a dict by name, got names {list(path)!r}")
    elif isinstance(path, (list, tuple)) and any(isinstance(p, Path) for p in path):
        path = {f"path {i}": p for i, p in enumerate(path, 1)}
    else:
        path = {"": path}
    return {name: as_rows(points, n_params, name) for name, points in path.items()}


def as_rows(path: Any, n_params: int, name: str = "") -> list[np.ndarray]:
    """Return the points of a path as a list of vectors, which are not copied."""
    called = f"path {name!r}" if name else "path"
    if isinstance(path, Path):
        rows = path.thetas()
    else:
        points = as_parameters(path, called, None)
        if points.ndim != 2:
            raise ValueError(
                f"{called} must be a nncore.Path, or an array of shape (n_points, n_params); got "
                f"shape {points.shape}"
            )
        rows = list(points)
    if not rows or len(rows[0]) != n_params:
        got = "no points; a Path gets them in fit, as a callback"
        if rows:
            got = f"points of {len(rows[0])}"
        raise ValueError(f"{called} must have points of {n_params} parameters, got {got}")
    if not all(np.isfinite(row).all() for row in rows):
        raise ValueError(f"{called} contains NaN or infinity")
    return rows


def _mean(rows: Sequence[np.ndarray]) -> np.ndarray:
    total = np.zeros(len(rows[0]))
    for row in rows:
        total += row
    return total / len(rows)


def choose(
    network: "Network", directions: Any, center: np.ndarray, rows: list[np.ndarray], seed: Any
) -> Plane:
    """Return the `Plane` that the arguments of `landscape` ask for."""
    if isinstance(directions, str) and directions == "random":
        return _random(network, center, seed)
    if isinstance(directions, str) and directions == "path":
        return _principal(center, rows)
    if isinstance(directions, str) or not hasattr(directions, "__len__") or len(directions) != 2:
        raise ValueError(
            'directions must be "random", "path", two weights such as ("layers[0].W[0, 1]", '
            f'"layers[1].b[0]"), or two vectors like theta; got {directions!r}'
        )
    if all(isinstance(d, (str, tuple)) for d in directions):
        return _of_weights(network, center, directions)
    return _of_vectors(network, center, directions)


def _random(network: "Network", center: np.ndarray, seed: Any) -> Plane:
    try:
        rng = np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}") from None
    fixed = fixed_parameters(network)
    if fixed is not None and fixed.all():
        raise ValueError(
            "random directions go along what is trained, and no layer of this network is: set "
            "trainable = True in some of net.layers, or give two weights or vectors as directions"
        )
    found = [_by_filters(network, center, rng.standard_normal(network.n_params)) for _ in range(2)]
    for direction in found:
        direction[fixed if fixed is not None else slice(0)] = 0
    if not (found[0].any() and found[1].any()):
        raise ValueError(
            "random directions are as long as the weights of each unit, and all weights that are "
            "trained are 0; give two vectors as directions"
        )
    labels = [f"random direction {i}, normalised by filters" for i in (1, 2)]
    u, v = _independent(found)
    return Plane("random", center, u, v, labels)


def _by_filters(network: "Network", center: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """`drawn` with each filter scaled to the norm of that of the network; 0 where there is none."""
    direction = np.zeros(network.n_params)
    for layer in leaves(network.layers):
        for values in layer.parameters().values():
            if values.ndim != 2:
                continue
            place, axis = _place(network, values), 0 if isinstance(layer, Dense) else 1
            at, d = (x[place].reshape(values.shape) for x in (center, drawn))
            size, length = (np.linalg.norm(x, axis=axis, keepdims=True) for x in (at, d))
            direction[place] = (d * (size / length)).ravel()
    return direction


def _principal(center: np.ndarray, rows: list[np.ndarray]) -> Plane:
    if not rows:
        raise ValueError('directions="path" needs path=: a nncore.Path, or an array of thetas')
    mean = _mean(rows)
    values, vectors = np.linalg.eigh(_inner_products(rows, mean))
    values, vectors = values[::-1], vectors[:, ::-1]
    if len(rows) < 3 or values[1] <= 1e-12 * values[0]:
        raise ValueError(
            f"the {len(rows)} points of the path lie on a line, or are one: there is no second "
            'direction. Record more epochs, or use directions="random"'
        )
    u, v = np.zeros((2, len(mean)))
    for row, (of_u, of_v) in zip(rows, vectors[:, :2], strict=True):
        u += of_u * (row - mean)
        v += of_v * (row - mean)
    u /= np.linalg.norm(u)
    v -= (v @ u) * u  # rounding
    v /= np.linalg.norm(v)
    shift = np.asarray(rows[-1], np.float64) - rows[0]  # the way runs to the right and up
    u, v = (d if shift @ d >= 0 else -d for d in (u, v))
    share = values[:2] / values[values > 0].sum()
    labels = [
        f"{name} principal direction of the points, {percent(x)} of their variance"
        for name, x in zip(("first", "second"), share, strict=True)
    ]
    return Plane("path", center, u, v, labels)


def _inner_products(rows: list[np.ndarray], mean: np.ndarray) -> np.ndarray:
    """Of all pairs of rows, from which `mean` is taken: some columns at a time, in float64."""
    columns = max(1, 4_000_000 // len(rows))
    products = np.zeros((len(rows), len(rows)))
    for start in range(0, len(mean), columns):
        part = slice(start, start + columns)
        block = np.stack([row[part] for row in rows]) - mean[part]
        products += block @ block.T
    return products


def percent(share: float) -> str:
    """Return a share as text, with the digits that tell it from 0 and 100 %."""
    value = 100 * share
    if 1 <= value < 99:
        return f"{value:.0f} %"
    return f"{value:.2g} %" if value < 1 else f"{min(value, 99.99):.4g} %"


def _of_weights(network: "Network", center: np.ndarray, names: Sequence[Any]) -> Plane:
    places = [find(network, name) for name in names]
    if places[0].at == places[1].at:
        raise ValueError(f"the two weights must be two, got {names[0]!r} and {names[1]!r}")
    origin, directions = center.copy(), np.zeros((2, len(center)))
    values = []
    for direction, place in zip(directions, places, strict=True):
        values.append(float(center[place.at]))
        direction[place.at], origin[place.at] = 1, 0
    a, b = values
    reach = max(2.0, 1.5 * abs(a)), max(2.0, 1.5 * abs(b))
    labels = [name if isinstance(name, str) else str(place)
              for name, place in zip(names, places, strict=True)]  # fmt: skip
    return Plane("weights", origin, directions[0], directions[1], labels, (a, b), reach)


def _of_vectors(network: "Network", center: np.ndarray, directions: Sequence[Any]) -> Plane:
    vectors = [np.asarray(network._vector(d, "a direction"), np.float64) for d in directions]
    if not all(np.any(d) for d in vectors):
        raise ValueError("a direction must not be all zeros")
    u, v = _independent(vectors)
    return Plane("vectors", center, u, v, ["direction 1", "direction 2"])


def _independent(vectors: list[np.ndarray]) -> list[np.ndarray]:
    u, v = (d / np.linalg.norm(d) for d in vectors)
    if np.linalg.norm(v - (u @ v) * u) < 1e-6:
        raise ValueError("the two directions are one: they span a line, and not a plane")
    return vectors
