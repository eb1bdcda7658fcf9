"""Whether a network stands still, and in what: a minimum, a saddle, a plateau, or on a slope."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ...checking import _in_float64
from ...gradients import Derivatives
from ...layers.dense import positive_int
from ...threads import as_count
from ...trainers.problem import fixed_parameters, norm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network import Network

Samples = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # X, y and weights
Product = Callable[[np.ndarray], np.ndarray]

# Curvatures below so many times the largest count as none: the exact Hessian is right to some
# 1e-13 of it, and what is smaller than this is not seen by any training.
FLAT = 1e-6
# A stationary point that is nearer than this share of the parameters' length has been reached.
NEAR = 0.01
# And no more is to be gained than this share of the loss, or this one of the loss with the targets
# in random order: where a network fits exactly, the loss itself goes to 0.
GAIN, EXACT = 1e-3, 1e-9
# If moving by the parameters' own length changes the loss by less than this share of it, the loss
# does not depend on them any more. Above 1 it is a share of its root: targets of size s, far from
# the outputs, have a squared error of s^2, and gradients of s.
LEVEL = 1e-3
# Where curvature does not decide, the loss is looked at these shares of that length away, along so
# many random directions besides the flat eigenvectors; a fall is more than rounding.
REACH, RANDOM, FALL = (1e-3, 1e-2, 1e-1), 64, 1e-9
# Lanczos: products with the Hessian, and bytes of vectors (but a dozen vectors in any case).
PRODUCTS, BYTES = 60, 500_000_000

_VERDICTS = {
    "minimum": "the loss rises in every direction that bends",
    "saddle": "the loss falls along some directions and rises along others",
    "maximum": "the loss falls in every direction that bends",
    "plateau": "no slope, and the loss stays as it is along most directions or all",
    "slope": "not stationary: there is still a way down",
    "not finite": "the loss or its derivatives are NaN or infinite, and nothing can be told",
}


class StationaryPoint:
    """What `stationary_point` found.

    Attributes
    ----------
    verdict : str
        "minimum", "saddle", "maximum", "plateau", "slope" where it is no stationary point, or
        "not finite" where the loss or its derivatives are not.
    loss, gradient_norm : float
        Of the parameters that are trained, in float64.
    theta_norm : float
        Their 2-norm.
    length : float
        With what steps are compared: ``sqrt(n) median |theta|``, in which a few large parameters
        do not count, but at least the smaller one of 1 and ``sqrt(2 |loss| / max |lambda|)``,
        within which curvature changes the loss by all of it; 1 where that is 0. So parameters near
        0 can be at a minimum.
    distance : float
        How far the stationary point is that the second derivatives point at, in units of
        ``length``: the norm of ``g / max(|lambda|, 1e-6 max |lambda|)``, g along each
        eigenvector; where not all eigenvalues are known, an estimate from below. NaN where there
        are no second derivatives, or they are 0.
    gain : float
        By how much the loss would change on the way there: the sum of the squares of g by twice
        those curvatures, ``g' |H|^-1 g / 2``.
    eigenvalues : numpy.ndarray
        Of the Hessian, ascending: all of them if `exact`, otherwise the lowest and the highest one.
    accuracy : numpy.ndarray, shape (2,)
        Bounds of the errors of the lowest and the highest eigenvalue: there is an eigenvalue of the
        Hessian as near as that.
    exact : bool
        Whether these are all eigenvalues.
    n_positive, n_negative, n_flat : int or None
        Numbers of eigenvalues above ``1e-6 max |lambda|``, below minus that, and between; None
        where not all are known.
    lowest, highest : float
        The furthest that the loss fell and rose along flat directions, where it was looked at: 0 or
        less, and 0 or more; NaN where it was not.

    Examples
    --------
    >>> import nncore
    >>> layers = (nncore.Dense(1, f, bias=False, init="zeros") for f in ("tanh", "identity"))
    >>> found = nncore.stationary_point(nncore.Network(1, *layers), [[1.0]], [1.0])
    >>> found.verdict, found.eigenvalues
    ('saddle', array([-2.,  2.]))
    """

    def __init__(self, loss: float, gradient: np.ndarray, theta: np.ndarray) -> None:
        self.loss, self.gradient_norm = float(loss), norm(gradient)
        self.theta_norm = norm(theta)
        self._middle = float(np.quantile(np.abs(theta), 0.5, method="lower")) if len(theta) else 0.0
        self._middle *= len(theta) ** 0.5
        self.distance = self.gain = float("nan")
        self.exact, self._enough = False, 0.0
        self.eigenvalues, self.accuracy = np.empty(0), np.empty(0)
        self.n_positive: int | None = None
        self.n_negative: int | None = None
        self.n_flat: int | None = None
        self.lowest = self.highest = float("nan")
        self.why = ""  # without second derivatives: why there are none
        self.verdict = "slope"

    @property
    def length(self) -> float:
        """The length that steps are compared with."""
        largest = self._largest()
        bend = (2 * abs(self.loss) / largest) ** 0.5 if largest else 0.0
        return max(self._middle, min(bend, 1.0)) or 1.0

    def _largest(self) -> float:
        return float(np.abs(self.eigenvalues).max(initial=0))

    def _judge(self) -> None:
        """Set the verdict by the numbers that are there."""
        length, largest = self.length, self._largest()
        change = self.gradient_norm * length + largest * length * length / 2
        level = LEVEL * min(abs(self.loss), abs(self.loss) ** 0.5)
        if change <= level:
            self.verdict = "plateau"
        elif not (self.distance <= NEAR and self.gain <= self._enough and len(self.eigenvalues)):
            self.verdict = "slope"
        else:
            rises = self.eigenvalues[-1] > FLAT * largest
            falls = self.eigenvalues[0] < -FLAT * largest
            falls |= self.lowest < -FALL * (abs(self.loss) + largest * length * length)
            same = self.highest - self.lowest <= level
            if falls:
                self.verdict = "saddle" if rises else "maximum"
            else:
                mostly = self.n_flat is not None and 2 * self.n_flat > len(self.eigenvalues)
                self.verdict = "plateau" if same and mostly else "minimum"

    def __repr__(self) -> str:
        return (
            f"StationaryPoint({self.verdict}; loss {self.loss:.4g}, gradient norm "
            f"{self.gradient_norm:.2g})"
        )

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {_VERDICTS[self.verdict]}"]
        lines.append(f"  loss {self.loss:.6g}, gradient norm {self.gradient_norm:.2g}")
        if self.why:
            return "\n".join([*lines, f"  no second derivatives: {self.why}"])
        low, high = self.eigenvalues[0], self.eigenvalues[-1]
        if self.exact:
            lines.append(
                f"  eigenvalues of the Hessian from {low:.3g} to {high:.3g}: {self.n_positive} "
                f"positive, {self.n_negative} negative, {self.n_flat} flat (within {FLAT:g} of the "
                "largest)"
            )
        else:
            lines.append(
                f"  eigenvalues of the Hessian from {low:.3g} (or lower) to {high:.3g}, by Lanczos "
                f"to within {self.accuracy[0]:.1g} and {self.accuracy[1]:.1g}"
            )
        if self.verdict == "slope" and np.isnan(self.distance):
            lines.append("  no second derivative bends the loss: how far it falls is not told")
        elif self.verdict == "slope":
            lines.append(
                f"  by its second derivatives the stationary point is {_of_length(self.distance)} "
                f"away, and the loss changes by {self.gain:.2g} on the way; {100 * NEAR:g} % and "
                f"{self._enough:.2g} count as reached"
            )
        elif np.isfinite(self.lowest):
            lines.append(
                f"  along the flat {'one' if self.n_flat == 1 else 'ones'}, up to "
                f"{_of_length(REACH[-1])} away, the loss falls by at most {abs(self.lowest):.2g} "
                f"and rises by at most {self.highest:.2g}"
            )
        return "\n".join(lines)


def _of_length(share: float) -> str:
    """A share of the parameters' length in words, to two digits or three."""
    share = float(f"{share:.{3 if share < 0.1 else 2}g}")
    amount = f"{100 * share:g} % of" if share < 10 else f"{share:g} times"
    return f"{amount} the parameters' length"


def stationary_point(
    network: "Network", X: "ArrayLike", y: "ArrayLike", *, theta: "ArrayLike | None" = None,
    sample_weight: "ArrayLike | None" = None, n_threads: int | None = None, exact: int = 500,
    seed: int = 0,
) -> StationaryPoint:  # fmt: skip
    """Tell whether a network is at a stationary point of its loss, and of which kind.

    Parameters
    ----------
    network : Network
        Stays as it is.
    X : array_like, shape (n_rows, n_in)
    y : array_like
        As in `Network.fit`.
    theta : array_like, shape (n_params,), optional
        Parameters to look at in place of the network's own.
    sample_weight, n_threads : optional
        As in `Network.fit`.
    exact : int, default 500
        Up to so many trained parameters (10,000 at most) all eigenvalues of the Hessian are
        computed, for one product with it each; beyond, the lowest and the highest by Lanczos'
        method, with up to 120 products.
    seed : int, default 0
        Of the vector that Lanczos' method starts with.

    Returns
    -------
    StationaryPoint
        ``print`` it for the verdict in words, with its evidence.

    Raises
    ------
    ValueError
        If the arrays do not fit, or are not finite.

    Notes
    -----
    All numbers are computed in float64, whatever the network's dtype, in a copy of it, and of the
    parameters that are trained. With g the gradient, H the Hessian, and L the parameters' length,
    `StationaryPoint.length`:

    - "plateau": ``|g| L + max|lambda| L^2 / 2 <= 1e-3 min(|loss|, sqrt(|loss|))``, so moving by the
      parameters' own length hardly changes the loss: all units are saturated. (The root, since far
      from large targets a squared error is their square, and its slope is not.) Or more than half
      of the eigenvalues are flat, and the loss changes by no more than that along them.
    - "slope": the stationary point that g and H point at is farther than 0.01 L, or would change
      the loss by more than 0.001 of it (and 1e-9 of the loss with the targets in random order, for
      networks that fit exactly), or there are no second derivatives (a loss of `register_loss`, an activation without ``d2f``). A classifier
      that separates its rows has no minimum: the loss falls as long as the weights grow.
    - "saddle": the lowest eigenvalue is below ``-1e-6 max|lambda|``, the highest above 1e-6 of it;
      "maximum": only the former; "minimum": no eigenvalue is so negative. Eigenvalues near 0 do not
      decide: where all are known, the loss itself is computed 0.001, 0.01 and 0.1 L away to both
      sides along the flat eigenvectors and 64 random directions between them. If it falls,
      the point is a saddle, though not by its second derivatives.

    Lanczos' eigenvalues lie between the true lowest and highest. The highest is mostly exact to
    several digits; a negative one is a proof that this is no minimum, and finding none is not quite
    a proof that it is one. `StationaryPoint.accuracy` has the bounds (Parlett 1998, "The symmetric
    eigenvalue problem", 13.2). Memory: up to 60 float64 vectors of the parameters, no more than
    0.5 GB, but 12 in any case.

    Examples
    --------
    The error of a line through two points has one minimum:

    >>> import nncore
    >>> net = nncore.Network(1, nncore.Dense(1, init=[[2.0]], bias_init=1.0), dtype="float64")
    >>> print(nncore.stationary_point(net, [[0.0], [1.0]], [1.0, 3.0]))
    minimum: the loss rises in every direction that bends
      loss 0, gradient norm 0
      eigenvalues of the Hessian from 0.382 to 2.62: 2 positive, 0 negative, 0 flat (within 1e-06 of the largest)
    """  # noqa: E501  a printed line
    if not isinstance(network, Derivatives):
        raise TypeError(f"the first argument must be a nncore.Network, got {network!r}")
    most = positive_int(exact, "exact")
    wide = _in_float64(network)
    if theta is not None:
        wide.theta = network._vector(theta, "theta")
    elif not np.isfinite(wide.theta).all():
        raise ValueError("the network's parameters are not finite: there is nothing to look at")
    data, targets, w = network._samples(X, y, sample_weight)
    data = data.astype(np.float64)
    targets = targets if targets.ndim == 1 else targets.astype(np.float64)
    samples = data, targets, w
    loss, gradient = wide.loss_and_gradient(data, targets, sample_weight=w, n_threads=n_threads)
    fixed = fixed_parameters(network)
    free = np.arange(network.n_params) if fixed is None else np.flatnonzero(~fixed)
    found = StationaryPoint(loss, gradient[free], wide.theta[free])
    mixed = np.random.default_rng(0).permutation(targets)
    of_mixed, _ = wide.loss_and_gradient(data, mixed, sample_weight=w, n_threads=n_threads)
    found._enough = max(GAIN * abs(loss), EXACT * abs(of_mixed))
    try:
        wide._check_curve()
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            raise FloatingPointError("the loss or its gradient is not finite")
        if len(free) == 0:
            found.why = "no parameter is trained"
        elif len(free) <= min(most, 10_000):
            _all_eigenvalues(found, wide, samples, gradient, free, n_threads)
        else:
            _extreme_eigenvalues(found, wide, samples, gradient, free, n_threads, seed)
        found._judge()
    except ValueError as error:  # of _check_curve
        found.why = str(error)
    except FloatingPointError as error:
        found.why, found.verdict = f"{error}; scale the inputs and targets", "not finite"
    return found


def _step(found: StationaryPoint, eigenvalues: np.ndarray, along: np.ndarray) -> None:
    """Set the distance: `along` is the gradient along each eigenvector."""
    largest = np.abs(eigenvalues).max(initial=0)
    if largest > 0:
        step = along / np.maximum(np.abs(eigenvalues), FLAT * largest)
        found.distance, found.gain = norm(step) / found.length, float(step @ along) / 2


def _all_eigenvalues(
    found: StationaryPoint, wide: "Network", samples: Samples, gradient: np.ndarray,
    free: np.ndarray, n_threads: int | None,
) -> None:  # fmt: skip
    product = _products(wide, samples, free, n_threads)
    H = np.stack([product(row) for row in np.eye(len(free))])
    values, vectors = np.linalg.eigh((H + H.T) / 2)
    found.eigenvalues, found.exact = values, True
    largest = np.abs(values).max()
    found.accuracy = np.full(2, 1e-13 * len(free) * largest)
    found.n_positive = int((values > FLAT * largest).sum())
    found.n_negative = int((values < -FLAT * largest).sum())
    found.n_flat = len(values) - found.n_positive - found.n_negative
    _step(found, values, vectors.T @ gradient[free])
    if found.n_flat and found.distance <= NEAR:
        _probe(found, wide, samples, free, vectors[:, np.abs(values) <= FLAT * largest], n_threads)


def _probe(
    found: StationaryPoint, wide: "Network", samples: Samples, free: np.ndarray, flat: np.ndarray,
    n_threads: int | None,
) -> None:  # fmt: skip
    """Look at the loss itself along the span of the columns of `flat`."""
    X, y, w = samples
    mixed = np.random.default_rng(0).standard_normal((RANDOM, flat.shape[1])) @ flat.T
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    steps = np.multiply.outer((-1, 1), REACH).ravel() * found.length
    center, one = wide.theta.copy(), np.zeros(1)
    u, nothing = np.zeros((2, wide.n_params))
    changes = [0.0]
    for direction in [*flat.T, *mixed]:
        u[free] = direction
        losses = wide._engine.landscape(
            X, y, center, u, nothing, steps, one, as_count(n_threads), w
        )
        changes += [float(losses.min()) - found.loss, float(losses.max()) - found.loss]
    found.lowest, found.highest = min(changes), max(changes)


def _extreme_eigenvalues(
    found: StationaryPoint, wide: "Network", samples: Samples, gradient: np.ndarray,
    free: np.ndarray, n_threads: int | None, seed: int,
) -> None:  # fmt: skip
    product = _products(wide, samples, free, n_threads)
    start = np.random.default_rng(seed).standard_normal(len(free))
    values, last, _ = _lanczos(product, start)
    found.eigenvalues, found.accuracy = values[[0, -1]], last[[0, -1]]
    if found.gradient_norm == 0:
        found.distance = found.gain = 0.0
        return
    along, _, first = _lanczos(product, gradient[free])
    found.eigenvalues = np.array([min(values[0], along[0]), max(values[-1], along[-1])])
    _step(
        found, np.append(along, found.eigenvalues), np.append(found.gradient_norm * first, [0, 0])
    )


def _products(
    wide: "Network", samples: Samples, free: np.ndarray, n_threads: int | None
) -> Product:
    """v -> H v, of the parameters that are trained."""
    X, y, w = samples
    engine, threads = wide._engine, as_count(n_threads)
    v, whole = wide._vector(np.zeros(wide.n_params), "v"), np.empty(wide.n_params)

    def product(direction: np.ndarray) -> np.ndarray:
        v[free] = direction
        engine.hessian_product(X, y, v, whole, threads, None, w)
        if not np.isfinite(whole).all():
            raise FloatingPointError("they are not finite")
        along: np.ndarray = whole[free]
        return along

    return product


def _lanczos(product: Product, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ritz values of a symmetric matrix, ascending; bounds of their errors; and for each the first
    component of its eigenvector in the basis, which is that along `start`.

    Lanczos' method with full reorthogonalisation (Parlett 1998, 13.3).
    """
    n = len(start)
    most = min(n, PRODUCTS, max(12, BYTES // (8 * n)))
    basis = np.empty((most, n))
    basis[0] = start / norm(start)
    diagonal, beside = np.zeros(most), np.zeros(most)
    k = 0
    while True:
        w = product(basis[k])
        diagonal[k] = basis[k] @ w
        for _ in range(2):  # twice is enough
            w = w - basis[: k + 1].T @ (basis[: k + 1] @ w)
        beside[k] = norm(w)
        k += 1
        size = np.abs(diagonal[:k]).max() + beside[:k].max()
        if k == most or beside[k - 1] <= 1e-12 * size:
            break
        basis[k] = w / beside[k - 1]
    T = np.diag(diagonal[:k]) + np.diag(beside[: k - 1], 1) + np.diag(beside[: k - 1], -1)
    values, vectors = np.linalg.eigh(T)
    return values, beside[k - 1] * np.abs(vectors[-1]) + 1e-13 * size, vectors[0]
