"""Starting values of weights and biases, by name.

`nncore.initializers` holds them; `Initializer` is one with parameters of its own. W is a matrix
(n_in, n_out), drawn in float64 and rounded to the network's dtype. U(a) is uniform from -a to a,
N(s) normal with mean 0 and standard deviation s, T(s) normal, cut at twice its deviation and then
widened until its deviation is s: that of the normal it is cut from is s / 0.87962566103423978.
Biases start at zero, but for the names marked with a star, which draw them too.

============================  =================  ===================================  ======
name                          parameters         W                                    source
============================  =================  ===================================  ======
glorot_uniform                gain=1             U(gain sqrt(6 / (n_in + n_out)))     [1]
glorot_normal                 gain=1             N(gain sqrt(2 / (n_in + n_out)))     [1]
glorot_truncated_normal       gain=1             T(gain sqrt(2 / (n_in + n_out)))     [1]
he_uniform                    slope=0            U(sqrt(6 / ((1 + slope^2) n_in)))    [2]
he_normal                     slope=0            N(sqrt(2 / ((1 + slope^2) n_in)))    [2]
he_truncated_normal           slope=0            T(sqrt(2 / ((1 + slope^2) n_in)))    [2]
lecun_uniform                 gain=1             U(gain sqrt(3 / n_in))               [3]
lecun_normal                  gain=1             N(gain sqrt(1 / n_in))               [3]
lecun_truncated_normal        gain=1             T(gain sqrt(1 / n_in))               [3]
orthogonal                    gain=1             gain Q; Q'Q = I, or QQ' = I          [4]
nguyen_widrow *               inputs, active     columns of one length, see below     [5]
torch *                                          U(1 / sqrt(n_in)), b likewise        [6]
sklearn *                     factor             U(sqrt(factor / (n_in + n_out))),    [7]
                                                 b likewise
uniform                       low=-0.05,         uniform from low to high
                              high=0.05
normal                        mean=0, std=0.05   mean + N(std)
truncated_normal              mean=0, std=0.05   mean + N(std), cut at mean +- 2 std
constant                      value=0            value
zeros, ones                                      0, 1
============================  =================  ===================================  ======

``xavier_`` is glorot, ``kaiming_`` is he, and ``keras`` is glorot_uniform, which is what Keras'
Dense starts from; Keras' ``glorot_normal``, ``he_normal`` and ``lecun_normal`` are
``..._truncated_normal`` here. ``gain`` is a number, or the name of an activation in `GAINS`.
``slope`` is that of a leaky relu.

*orthogonal*: Q has orthonormal columns, or rows where there are fewer of them, and is uniform among
all such matrices: the Q of a normal matrix's QR factors, with the signs that make the diagonal of R
positive. Its bits also depend on NumPy's LAPACK.

*nguyen_widrow* spreads the units' active regions over the inputs' range, as MATLAB's initnw does:
for n_in inputs in [-1, 1], unit j has weights of length L = 0.7 n_out^(1 / n_in) in a random
direction, and the bias t_j L with the sign of its first weight, where t_j goes from -1 to 1 in
even steps (0 for a single unit). Both are then scaled: from x in [-1, 1] to ``active``, the range
of x in which the activation bends (by default that of `ACTIVE_RANGES`), and from inputs in [-1, 1]
to ``inputs``, a pair (low, high) of numbers or of arrays (n_in,), such as (X.min(axis=0),
X.max(axis=0)). An input whose low is its high gets weights of zero and does not count as one.

*sklearn*: factor is 2 under sigmoid, else 6. scikit-learn asks what the hidden layers have: give it
to an output layer where that differs.

References: [1] Glorot and Bengio 2010. [2] He, Zhang, Ren and Sun 2015. [3] LeCun, Bottou, Orr and
Mueller 1998. [4] Saxe, McClelland and Ganguli 2014; signs: Mezzadri 2007. [5] Nguyen and Widrow
1990. [6] torch.nn.Linear. [7] sklearn.neural_network.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from . import names

TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a standard normal cut at -2 and 2 (Keras' constant)."""

ALIASES = {
    "xavier_uniform": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "xavier_truncated_normal": "glorot_truncated_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_normal": "he_normal",
    "kaiming_truncated_normal": "he_truncated_normal",
    "keras": "glorot_uniform",
    "initnw": "nguyen_widrow",
}

# Where about half of the activation is lost, He's variance makes up for it; selu's own is LeCun's.
DEFAULTS = {
    **dict.fromkeys(
        ("identity", "sigmoid", "tanh", "softsign", "hardtanh", "hard_sigmoid", "elliot",
         "log_sigmoid", "softmax", "log_softmax", "tanhshrink", "hard_shrink", "softshrink",
         "exponential", "sin", "gaussian", "satlin", "tribas"),
        "glorot_uniform",
    ),
    **dict.fromkeys(
        ("relu", "leaky_relu", "elu", "relu6", "silu", "softplus", "celu", "gelu", "gelu_tanh",
         "mish", "hard_swish", "threshold", "squareplus"),
        "he_uniform",
    ),
    "selu": "lecun_uniform",
}  # fmt: skip
"""activation -> the initializer that a layer with it has by default; others: glorot_uniform."""

GAINS = {
    "identity": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),
    "selu": 3 / 4,
}
"""activation -> the gain that torch.nn.init.calculate_gain has for it."""

# sigmoid and tanh: MATLAB's, where the slope has fallen to 7 % of its largest; softsign and elliot:
# likewise. gaussian: MATLAB's. The others: where they are not constant, or have not turned.
ACTIVE_RANGES = {
    "sigmoid": (-4.0, 4.0),
    "tanh": (-2.0, 2.0),
    "softsign": (-2.76, 2.76),
    "elliot": (-2.76, 2.76),
    "hardtanh": (-1.0, 1.0),
    "hard_sigmoid": (-3.0, 3.0),
    "relu6": (0.0, 6.0),
    "satlin": (0.0, 1.0),
    "tribas": (-1.0, 1.0),
    "gaussian": (-2.0, 2.0),
    "sin": (-math.pi / 2, math.pi / 2),
}
"""activation -> the range of x in which it bends, for nguyen_widrow."""


class Site(NamedTuple):
    """The layer that starts: its numbers of inputs and outputs, and its activation's name."""

    n_in: int
    n_out: int
    activation: str


class Rule(NamedTuple):
    """One initializer.

    draw(rng, shape, site, **parameters)      an array of `shape`: (n_in, n_out), or (n_out,) where
                                              it starts biases
    parameters  their names and defaults
    biases(rng, W, site, **parameters)        the biases that go with W; None: zeros
    matrix      whether it can only start a matrix
    """

    draw: Callable[..., np.ndarray]
    parameters: dict[str, Any] = {}
    biases: Callable[..., np.ndarray] | None = None
    matrix: bool = False


# --- What is drawn --------------------------------------------------------------------------------


def _uniform(rng: "np.random.Generator", limit: float, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-limit, limit, shape)


def _cut_normal(rng: "np.random.Generator", shape: tuple[int, ...]) -> np.ndarray:
    """A standard normal cut at -2 and 2: what lies beyond is drawn again."""
    values = rng.standard_normal(shape)
    beyond = np.flatnonzero(np.abs(values) > 2)
    while beyond.size:
        again = rng.standard_normal(beyond.size)
        values.flat[beyond] = again
        beyond = beyond[np.abs(again) > 2]
    return values


def _scaled(scale: float, fan: Callable[[Site], int], form: str) -> Callable[..., np.ndarray]:
    """Of mean 0 and variance gain^2 scale / fan; for He the gain comes from the slope."""

    def draw(
        rng: "np.random.Generator", shape: tuple[int, ...], site: Site, gain: float = 1.0,
        slope: float = 0.0,
    ) -> np.ndarray:  # fmt: skip
        gain, variance = gain / math.hypot(1, slope), scale / fan(site)
        if form == "uniform":
            return _uniform(rng, gain * math.sqrt(3.0 * variance), shape)
        if form == "normal":
            return rng.normal(0.0, gain * math.sqrt(variance), shape)
        return gain * math.sqrt(variance) / TRUNCATED_STD * _cut_normal(rng, shape)

    return draw


def _torch(rng: "np.random.Generator", shape: tuple[int, ...], site: Site) -> np.ndarray:
    return _uniform(rng, 1 / math.sqrt(site.n_in), shape)


def _sklearn(
    rng: "np.random.Generator", shape: tuple[int, ...], site: Site, factor: float | None
) -> np.ndarray:
    if factor is None:
        factor = 2.0 if site.activation == "sigmoid" else 6.0
    return _uniform(rng, math.sqrt(factor / (site.n_in + site.n_out)), shape)


def _alike(draw: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Biases that are drawn as the weights are."""
    return lambda rng, W, site, **parameters: draw(rng, (site.n_out,), site, **parameters)


def _orthogonal(
    rng: "np.random.Generator", shape: tuple[int, ...], site: Site, gain: float
) -> np.ndarray:
    tall = rng.standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(tall)
    q *= np.copysign(gain, np.diagonal(r))
    return q if shape[0] >= shape[1] else q.T


# Of inputs that hardly vary W is too large: the layer says so.
@np.errstate(over="ignore", invalid="ignore")
def _nguyen_widrow(
    rng: "np.random.Generator", shape: tuple[int, ...], site: Site, inputs: Any,
    active: tuple[float, float] | None,
) -> np.ndarray:  # fmt: skip
    _, half = _middle(*_active(active, site))
    low, high = _input_range(inputs, site)
    varies = high > low
    W = rng.standard_normal(shape)
    W[~varies] = 0
    W *= half * _length(site, varies) / np.sqrt(np.sum(np.square(W), axis=0))
    W[varies] /= _middle(low, high)[1][varies, None]
    return W


@np.errstate(over="ignore", invalid="ignore")
def _nguyen_widrow_biases(
    rng: "np.random.Generator", W: np.ndarray, site: Site, inputs: Any,
    active: tuple[float, float] | None,
) -> np.ndarray:  # fmt: skip
    centre, half = _middle(*_active(active, site))
    low, high = _input_range(inputs, site)
    varies = high > low
    t = np.linspace(-1, 1, site.n_out) if site.n_out > 1 else np.zeros(1)
    spread = half * _length(site, varies) * t * np.sign(W[varies.argmax()])
    biases: np.ndarray = centre + spread - _middle(low, high)[0] @ W
    return biases


def _length(site: Site, varies: np.ndarray) -> float:
    return 0.7 * site.n_out ** (1 / np.count_nonzero(varies))


def _middle(low: Any, high: Any) -> tuple[Any, Any]:
    """The middle of a range, and half its width."""
    return 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low


def _active(active: tuple[float, float] | None, site: Site) -> tuple[float, float]:
    active = ACTIVE_RANGES.get(site.activation) if active is None else active
    if active is None:
        raise ValueError(
            f"nguyen_widrow does not know where {site.activation} bends; say it, such as "
            'Initializer("nguyen_widrow", active=(-1, 1)), or use another initializer. '
            f"Known: {', '.join(sorted(ACTIVE_RANGES))}."
        )
    return active


def _input_range(inputs: Any, site: Site) -> tuple[np.ndarray, np.ndarray]:
    for side in inputs:
        if np.shape(side) not in ((), (site.n_in,)):
            raise ValueError(
                f"inputs of nguyen_widrow are the ranges of {np.size(side)} inputs, but the layer "
                f"has {site.n_in}"
            )
    low, high = inputs
    return np.broadcast_to(low, site.n_in), np.broadcast_to(high, site.n_in)


RULES = {
    f"{family}_{form}": Rule(_scaled(scale, fan, form), parameters)
    for family, scale, fan, parameters in (
        ("glorot", 2.0, lambda site: site.n_in + site.n_out, {"gain": 1.0}),
        ("he", 2.0, lambda site: site.n_in, {"slope": 0.0}),
        ("lecun", 1.0, lambda site: site.n_in, {"gain": 1.0}),
    )
    for form in ("uniform", "normal", "truncated_normal")
} | {
    "orthogonal": Rule(_orthogonal, {"gain": 1.0}, matrix=True),
    "nguyen_widrow": Rule(
        _nguyen_widrow, {"inputs": (-1.0, 1.0), "active": None}, _nguyen_widrow_biases, matrix=True
    ),
    "torch": Rule(_torch, biases=_alike(_torch)),
    "sklearn": Rule(_sklearn, {"factor": None}, _alike(_sklearn)),
    "uniform": Rule(
        lambda rng, shape, site, low, high: rng.uniform(low, high, shape),
        {"low": -0.05, "high": 0.05},
    ),
    "normal": Rule(
        lambda rng, shape, site, mean, std: rng.normal(mean, std, shape),
        {"mean": 0.0, "std": 0.05},
    ),
    "truncated_normal": Rule(
        lambda rng, shape, site, mean, std: mean + std * _cut_normal(rng, shape),
        {"mean": 0.0, "std": 0.05},
    ),
    "constant": Rule(lambda rng, shape, site, value: np.full(shape, value), {"value": 0.0}),
    "zeros": Rule(lambda rng, shape, site: np.zeros(shape)),
    "ones": Rule(lambda rng, shape, site: np.ones(shape)),
}

# --- Parameters -----------------------------------------------------------------------------------


# The largest number that a parameter may be: what is computed with it stays finite in float64.
_LARGEST = 1e300


def _number(value: Any) -> float:
    number = _as_float(value)
    if not abs(number) <= _LARGEST:
        raise ValueError(f"must be a number of at most {_LARGEST:g} in size, got {value!r}")
    return number


def _positive(value: Any) -> float:
    number = _as_float(value)
    if not 0 < number <= _LARGEST:
        raise ValueError(f"must be a positive number of at most {_LARGEST:g}, got {value!r}")
    return number


def _as_float(value: Any) -> float:
    try:
        return math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _gain(value: Any) -> float:
    if not isinstance(value, str):
        return _positive(value)
    try:
        return GAINS[names.ACTIVATION_ALIASES.get(value, value)]
    except KeyError:
        raise ValueError(
            f"must be a number or an activation out of {', '.join(sorted(GAINS))}, got {value!r}"
        ) from None


def _interval(value: Any) -> tuple[float, float]:
    """(low, high), numbers with low < high."""
    low, high = (_number(side) for side in _pair(value))
    if not low < high:
        raise ValueError(f"must be (low, high) with low < high, got {value!r}")
    return low, high


def _ranges(value: Any) -> tuple[Any, ...]:
    """(low, high), numbers or arrays with one value per input; where low is high it is constant."""
    try:
        low, high = (np.array(side, np.float64) for side in _pair(value))
        fit = low.ndim < 2 and high.ndim < 2 and low.size > 0 and high.size > 0
        fit &= low.shape == high.shape or low.ndim != high.ndim
    except (TypeError, ValueError):
        fit = False
    if not (fit and np.abs(low).max() <= _LARGEST and np.abs(high).max() <= _LARGEST):
        raise ValueError(
            "must be (low, high), finite numbers or arrays with one value per input, such as "
            f"(X.min(axis=0), X.max(axis=0)), got {value!r}"
        )
    if not ((low <= high).all() and (low < high).any()):
        raise ValueError(f"must be (low, high) with low < high for some input, got {value!r}")
    low.flags.writeable = high.flags.writeable = False
    return tuple(side if side.ndim else float(side) for side in (low, high))


def _pair(value: Any) -> Any:
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != 2:
        raise ValueError(f"must be a pair (low, high), got {value!r}")
    return value


_CHECKS = {
    "gain": _gain,
    "slope": _number,
    "inputs": _ranges,
    "active": lambda value: None if value is None else _interval(value),
    "factor": lambda value: None if value is None else _positive(value),
    "low": _number,
    "high": _number,
    "mean": _number,
    "std": _positive,
    "value": _number,
}

# --- What users hold ------------------------------------------------------------------------------


class Initializer:
    """How weights start: an initializer by name, with parameters.

    Parameters
    ----------
    name : str
        A key of `nncore.initializers`, or an alias: see the table in `nncore.initializer`.
    **parameters
        Those of that name, as in the table; the others keep their defaults.

    Attributes
    ----------
    name : str
    aliases : tuple of str
        Other names that are understood, such as "xavier_uniform" for "glorot_uniform".
    parameters : dict
        All parameters with their values.

    Raises
    ------
    ValueError
        If there is no such name or parameter, or a value has no meaning.

    Notes
    -----
    It is fixed once made, and can start any number of layers.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> init = nncore.Initializer("he_normal", slope=0.2)
    >>> init
    Initializer('he_normal', slope=0.2)
    >>> init(np.random.default_rng(0), 3, 2).shape
    (3, 2)
    >>> net = nncore.Network(3, nncore.Dense(2, "leaky_relu", init=init), nncore.Dense(1), seed=0)
    >>> nncore.Initializer("orthogonal", gain="relu").parameters
    {'gain': 1.4142135623730951}
    """

    name: str
    _parameters: dict[str, Any]

    def __init__(self, name: str, **parameters: Any) -> None:
        name = names.look_up("initializer", name, [*RULES, *ALIASES])
        name = ALIASES.get(name, name)
        known = RULES[name].parameters
        for given in parameters:
            if not known:
                raise ValueError(f"{name} has no parameters, got {given!r}")
            names.look_up(f"parameter of {name}", given, known)
        checked: dict[str, Any] = {}
        for key, value in (known | parameters).items():
            try:
                checked[key] = _CHECKS[key](value)
            except ValueError as error:
                raise ValueError(f"{key} of {name} {error}") from None
        if name == "uniform" and not checked["low"] < checked["high"]:
            raise ValueError(f"uniform needs low < high, got {checked['low']}, {checked['high']}")
        self.__dict__.update(name=name, _parameters=checked)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an Initializer is fixed when it is made: {name} cannot be set")

    def __repr__(self) -> str:
        values = "".join(f", {name}={_shown(value)}" for name, value in self._parameters.items())
        return f"Initializer({self.name!r}{values})"

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(alias for alias, name in ALIASES.items() if name == self.name)

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self._parameters)

    def __call__(
        self, rng: "np.random.Generator", n_in: int, n_out: int, activation: str = "identity"
    ) -> np.ndarray:
        """Return starting weights.

        Parameters
        ----------
        rng : numpy.random.Generator
        n_in, n_out : int
            The layer's inputs and outputs, at least 1.
        activation : str, default "identity"
            The layer's: nguyen_widrow and sklearn depend on it.

        Returns
        -------
        numpy.ndarray, shape (n_in, n_out), of float64
        """
        site = Site(n_in, n_out, names.activation(activation))
        return RULES[self.name].draw(rng, (n_in, n_out), site, **self._parameters)

    def with_bias(
        self, rng: "np.random.Generator", n_in: int, n_out: int, activation: str = "identity"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return starting weights (n_in, n_out) and the biases (n_out,) that go with them.

        Those are zeros, but for nguyen_widrow, torch and sklearn. Parameters as in a call.

        Examples
        --------
        >>> import numpy as np
        >>> import nncore
        >>> W, b = nncore.initializers["torch"].with_bias(np.random.default_rng(0), 4, 3)
        >>> W.shape, bool(abs(b).max() <= 0.5)
        ((4, 3), True)
        """
        W = self(rng, n_in, n_out, activation)
        biases = RULES[self.name].biases
        if biases is None:
            return W, np.zeros(n_out)
        site = Site(n_in, n_out, names.activation(activation))
        return W, biases(rng, W, site, **self._parameters)

    def bias(
        self, rng: "np.random.Generator", n_in: int, n_out: int, activation: str = "identity"
    ) -> np.ndarray:
        """Return biases (n_out,) drawn by this initializer, with the variance that W would have.

        Raises
        ------
        ValueError
            If it can only start a matrix: orthogonal and nguyen_widrow.

        Parameters are as in a call.

        Examples
        --------
        >>> import numpy as np
        >>> import nncore
        >>> nncore.Initializer("constant", value=0.1).bias(np.random.default_rng(0), 4, 2)
        array([0.1, 0.1])
        """
        self.check_bias()
        site = Site(n_in, n_out, names.activation(activation))
        return RULES[self.name].draw(rng, (n_out,), site, **self._parameters)

    def check_bias(self) -> None:
        """Raise ValueError if this initializer cannot start biases."""
        if RULES[self.name].matrix:
            raise ValueError(
                f"{self.name} starts a matrix of weights, and not biases alone. Give bias_init a "
                'number, or another initializer such as "uniform".'
            )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return f"<{value.size} values>" if isinstance(value, np.ndarray) else repr(value)


class Initializers(Mapping[str, Initializer]):
    """All initializers by name, with default parameters; an alias finds its own too.

    What each draws is in the table of `nncore.initializer`.

    Examples
    --------
    >>> import nncore
    >>> list(nncore.initializers)
    ['glorot_uniform', 'glorot_normal', 'glorot_truncated_normal', 'he_uniform', 'he_normal', \
'he_truncated_normal', 'lecun_uniform', 'lecun_normal', 'lecun_truncated_normal', 'orthogonal', \
'nguyen_widrow', 'torch', 'sklearn', 'uniform', 'normal', 'truncated_normal', 'constant', 'zeros', \
'ones']
    >>> nncore.initializers["kaiming_normal"]
    Initializer('he_normal', slope=0.0)
    """

    def __init__(self) -> None:
        self._all = {name: Initializer(name) for name in RULES}

    def __getitem__(self, name: str) -> Initializer:
        if name not in self:
            names.look_up("initializer", name, [*RULES, *ALIASES])
        return self._all[ALIASES.get(name, name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._all or name in ALIASES)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<initializers: {', '.join(self)}>"


initializers = Initializers()


def default_for(activation: str) -> Initializer:
    """Return the `Initializer` that a layer with this activation has by default."""
    return initializers[DEFAULTS.get(activation, "glorot_uniform")]


def as_initializer(init: str | Initializer) -> Initializer:
    """Return an `Initializer` from a name or from one."""
    return init if isinstance(init, Initializer) else Initializer(init)
