"""check_gradients: hold a network's derivatives against differences of its own loss."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .gradients import Derivatives
from .layers.dense import positive_int
from .validation import as_inputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .network import Network

# Largest relative errors that are rounding: what is checked is computed in this type.
_TOLERANCES = {"float32": 2e-3, "float64": 1e-7}

# Central differences of fourth order, (8 (L(h) - L(-h)) - (L(2h) - L(-2h))) / 12 h, are within
# about h^4 + eps / h. Where they disagree, smaller steps follow: a kink between the points spoils
# all differences that span it, and a wrong derivative is wrong at any step.
_STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
_STENCIL = ((1, 8), (-1, -8), (2, -1), (-2, 1))


class GradientReport:
    """What `check_gradients` found. True if every error is within the tolerance.

    Attributes
    ----------
    error : float
        The largest relative error: ``|analytic - numeric|`` over the larger of the two, or over a
        hundredth of the largest derivative of that kind, if that is more.
    where : str
        The place of that error, such as ``"layers[0].W[3, 1]"`` or ``"X[0, 2]"``.
    analytic, numeric : float
        The derivative there: what the network computes, and what differences of its loss say.
    errors : dict of str to float
        The largest error of each kind: of each layer's parameters, of the inputs, of second order.
    n_checked : int
        Derivatives that were compared.
    tolerance : float

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(2, nncore.Dense(3, "tanh"), nncore.Dense(1), dtype="float64", seed=0)
    >>> report = nncore.check_gradients(net, [[0.1, 0.2]], [1.0])
    >>> list(report.errors), report.n_checked
    (['layers[0].W', 'layers[0].b', 'layers[1].W', 'layers[1].b', 'inputs'], 15)
    """

    def __init__(self, tolerance: float) -> None:
        self.error, self.where, self.analytic, self.numeric = 0.0, "", 0.0, 0.0
        self.errors: dict[str, float] = {}
        self.n_checked, self.tolerance = 0, tolerance

    def add(
        self,
        kind: str,
        places: Sequence[str],
        analytic: np.ndarray,
        numeric: np.ndarray,
        scale: float,
    ) -> None:
        """Compare vectors of derivatives; places[i] says where the i-th is."""
        size = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), scale / 100)
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = np.where(analytic == numeric, 0.0, np.abs(analytic - numeric) / size)
        errors = np.where(np.isnan(errors), np.inf, errors)  # NaN agrees with nothing
        self.n_checked += len(errors)
        if not len(errors):
            return
        i = int(errors.argmax())
        self.errors[kind] = max(self.errors.get(kind, 0.0), float(errors[i]))
        if errors[i] > self.error or not self.where:
            self.error, self.where = float(errors[i]), places[i]
            self.analytic, self.numeric = float(analytic[i]), float(numeric[i])

    def __bool__(self) -> bool:
        return self.error <= self.tolerance

    def __repr__(self) -> str:
        verdict = "right" if self else "WRONG"
        lines = [f"{kind:24}{error:10.1e}" for kind, error in self.errors.items()]
        return "\n".join(
            [
                f"derivatives {verdict}: largest relative error {self.error:.1e}, tolerance "
                f"{self.tolerance:.0e}, {self.n_checked} compared",
                f"at {self.where}: computed {self.analytic:.9g}, by differences {self.numeric:.9g}",
                *lines,
            ]
        )


def check_gradients(
    network: "Network", X: "ArrayLike", y: "ArrayLike", *, inputs: bool = True,
    second: bool = False, n_checks: int = 1000, seed: int = 0, tolerance: float | None = None,
) -> GradientReport:  # fmt: skip
    """Compare a network's derivatives with differences of its own loss, and report.

    The differences are taken in float64 through the forward pass alone, in a copy of the network
    that computes in float64 on the same backend.

    Parameters
    ----------
    network : Network
        Stays as it is.
    X : array_like, shape (n_rows, n_in)
    y : array_like
        As in `Network.fit`. Few rows are enough, and fast.
    inputs : bool, default True
        Check `Network.input_gradient` too.
    second : bool, default False
        Check `Network.hessian_vector_product` too, along three random directions, against
        differences of the gradient.
    n_checks : int, default 1000
        Of so many parameters, and so many inputs, the derivatives are compared: drawn at random,
        evenly from all layers, where there are more.
    seed : int, default 0
        Of that draw.
    tolerance : float, optional
        The relative error up to which the report is true: 1e-7 in float64, 2e-3 in float32.

    Returns
    -------
    GradientReport

    Notes
    -----
    Exactly at a kink, where a derivative is one-sided, the differences give the mean of both sides
    and the report is false: relu units whose input is exactly 0, say where X has rows of zeros.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(3, nncore.Dense(4, "tanh"), nncore.Dense(1, "sigmoid"),
    ...                      dtype="float64", seed=0)
    >>> report = nncore.check_gradients(net, [[0.1, 0.2, 0.3], [1, 0, -1]], [[0], [1]])
    >>> bool(report), report.error < 1e-7
    (True, True)
    """
    if not isinstance(network, Derivatives):
        raise TypeError(f"the first argument must be a nncore.Network, got {network!r}")
    positive_int(n_checks, "n_checks")
    rows, targets = as_inputs(X, network).astype(np.float64), np.asarray(y)
    rng = np.random.default_rng(seed)
    report = GradientReport(_TOLERANCES[network.dtype.name] if tolerance is None else tolerance)
    wide = _in_float64(network)
    _check_parameters(network, wide, rows, targets, n_checks, rng, report)
    if inputs:
        _check_inputs(network, wide, rows, targets, n_checks, rng, report)
    if second:
        for number in range(3):
            _check_second(network, wide, rows, targets, number, rng, report)
    return report


def _in_float64(network: "Network") -> "Network":
    """A network of the same layers, loss and parameters that computes in float64."""
    wide = type(network).__new__(type(network))
    wide._build(network.n_in, network.layers, network.loss, "sgd", "float64", 0, network._backend)
    wide.theta = network.theta
    wide._engine.running[...] = network._engine.running
    return wide


def _check_parameters(
    network: "Network", wide: "Network", X: np.ndarray, y: np.ndarray, n_checks: int,
    rng: "np.random.Generator", report: GradientReport,
) -> None:  # fmt: skip
    _, gradient = network.loss_and_gradient(X, y)
    scale = _largest(gradient)
    samples = wide._samples(X, y)[:2]
    theta = wide._vector(wide.theta, "theta")  # a copy, which the engine takes as it is
    tensors = [
        (f"layers[{i}].{name}", values.shape, _offset(network, values), values.size)
        for i, layer in enumerate(network.layers)
        for name, values in layer.parameters().items()
    ]

    def loss(i: int, step: float) -> float:
        there = theta[i]
        theta[i] = there + step
        value = wide._engine.loss(*samples, 0, theta)
        theta[i] = there
        return value

    for name, shape, offset, size in tensors:
        chosen = _choose(size, max(1, n_checks * size // network.n_params), rng)
        numeric = [_difference(loss, offset + i, gradient[offset + i], scale) for i in chosen]
        places = [f"{name}{_subscript(i, shape)}" for i in chosen]
        report.add(name, places, gradient[offset + chosen], np.array(numeric), scale)


def _check_inputs(
    network: "Network", wide: "Network", X: np.ndarray, y: np.ndarray, n_checks: int,
    rng: "np.random.Generator", report: GradientReport,
) -> None:  # fmt: skip
    gradient = network.input_gradient(X, y)
    scale = _largest(gradient)
    rows, targets, _ = wide._samples(X.copy(), y)
    flat, values = rows.reshape(-1), gradient.reshape(-1)

    def loss(i: int, step: float) -> float:
        there = flat[i]
        flat[i] = there + step
        value = wide._engine.loss(rows, targets)
        flat[i] = there
        return value

    numbers = np.delete(np.arange(X.size).reshape(X.shape), network.layers[0].tokens(X), axis=1)
    chosen = numbers.ravel()[_choose(numbers.size, n_checks, rng)]
    numeric = [_difference(loss, i, values[i], scale) for i in chosen]
    places = [f"X{_subscript(i, X.shape)}" for i in chosen]
    report.add("inputs", places, values[chosen], np.array(numeric), scale)


def _check_second(
    network: "Network", wide: "Network", X: np.ndarray, y: np.ndarray, number: int,
    rng: "np.random.Generator", report: GradientReport,
) -> None:  # fmt: skip
    v = rng.standard_normal(network.n_params)
    v = v.astype(network.dtype).astype(np.float64)
    product = network.hessian_vector_product(X, y, v).astype(np.float64)
    scale = _largest(product)
    numeric, best = np.zeros(network.n_params), np.full(network.n_params, np.inf)
    for step in _STEPS:
        found = sum(
            weight * wide.loss_and_gradient(X, y, theta=wide.theta + k * step * v)[1]
            for k, weight in _STENCIL
        ) / (12 * step)
        error = np.abs(found - product)
        numeric = np.where(error < best, found, numeric)
        best = np.fmin(error, best)
        if best.max(initial=0) <= 1e-9 * scale:
            break
    places = [f"(H v)[{i}], direction {number}" for i in range(len(v))]
    report.add("second order", places, product, numeric, scale)


def _difference(
    loss: Callable[[int, float], float], i: int, analytic: float, scale: float
) -> float:
    """The derivative of loss(i, .) at 0, by the step that agrees best with `analytic`."""
    best = np.nan
    for step in _STEPS:
        found = sum(weight * loss(i, k * step) for k, weight in _STENCIL) / (12 * step)
        if not abs(found - analytic) >= abs(best - analytic):
            best = found
        if abs(best - analytic) <= 1e-10 * scale:
            break
    return best


def _largest(values: np.ndarray) -> float:
    return float(np.fmax.reduce(np.abs(values), axis=None, initial=0))  # NaN apart


def _choose(size: int, n: int, rng: "np.random.Generator") -> np.ndarray:
    return np.arange(size) if size <= n else np.sort(rng.choice(size, n, replace=False))


def _offset(network: "Network", values: np.ndarray) -> Any:
    """Where a parameter array begins in network.theta."""
    return (values.__array_interface__["data"][0] - network.theta.ctypes.data) // values.itemsize


def _subscript(i: int, shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(str(int(n)) for n in np.unravel_index(i, shape)) + "]"
