"""What a layer is, and the step it lowers itself to."""

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._core import touch
from ..validation import as_parameters


class Step(NamedTuple):
    """One step of the engine, of a kind of ``csrc/tables/steps.def``; "dense": ``y = f(x W + b)``.

    ``parameters`` are those of ``f``, in the order of its row in csrc/tables/activations.def.

    ``w`` and ``b`` are the offsets, in elements, of ``W`` (n_in, n_out) and ``b`` (n_out,) in the
    flat parameter vector; ``b`` is -1 where there is no bias. The other kinds say in steps.def what
    they use; ``values`` is p there. ``function`` is what "called" calls:
    ``function.apply(derivative, x)``.

    Examples
    --------
    >>> import nncore
    >>> nncore.Dense(2, "relu").lower(n_in=3, offset=0)[0][:4]
    ('dense', 3, 2, 'relu')
    """

    kind: str
    n_in: int
    n_out: int
    activation: str = "identity"
    parameters: tuple[float, ...] = ()
    w: int = -1
    b: int = -1
    values: tuple[float, ...] = ()
    other: int = 0
    columns: tuple[tuple[int, int, int], ...] = ()
    function: object = None


class Tuning(NamedTuple):
    """How the parameters of one step are trained; ``max_norm`` 0: any.

    Examples
    --------
    >>> import nncore
    >>> nncore.Dense(2, l2=0.1).tunings()
    [Tuning(trainable=True, lr_scale=1.0, l1=0.0, l2=0.1, max_norm=0.0)]
    """

    trainable: bool = True
    lr_scale: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    max_norm: float = 0.0


class Layer:
    """Base of all layers.

    A layer the user makes is a description. `Network` gives each one its number of inputs and a
    stretch of the flat parameter vector by `bind`, which returns the layer that stands in
    ``net.layers``.

    Attributes
    ----------
    trainable : bool
        Whether training changes the parameters. If not, the optimizer's state of them stays too,
        and nothing is computed for the layers below the lowest one that is trained.
    lr_scale : float
        Multiplies the learning rate of this layer; only of layers with parameters of their own.
    l1, l2 : float
        ``l1 * sum(abs(W)) + l2 / 2 * sum(W**2)`` is part of the loss, of weights and not of biases.
        Only of `Dense`.
    max_norm : float or None
        After each update a column of W, the weights into one unit, with a larger 2-norm is scaled
        to it. Only of `Dense`.

    All of them may be changed in ``net.layers`` at any time, and count from the next call or epoch.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(3, nncore.Dense(2, "tanh"), nncore.PReLU(), nncore.Dense(1), seed=0)
    >>> {name: values.shape for name, values in net.layers[0].parameters().items()}
    {'W': (3, 2), 'b': (2,)}
    >>> net.layers[0].trainable = False  # only what is behind it is trained now
    >>> [layer.n_params(2) for layer in net.layers[1:]]
    [2, 3]
    """

    trainable = True
    lr_scale = 1.0
    l1 = 0.0
    l2 = 0.0
    max_norm: float | None = None
    # which of these; trainable has no effect where there are no parameters
    settable: tuple[str, ...] = ("trainable",)

    activation = "identity"
    scales = False  # whether it is a Scaling, in front of which a loss is taken if it is the last
    first_only = False  # whether it takes samples and nothing else
    depth = 0  # of layers in it

    # of one that is bound
    _n_in: int
    _theta: np.ndarray
    _running: np.ndarray

    @property
    def mixes(self) -> bool:
        """Whether it mixes its inputs, as a matrix does."""
        return False

    @property
    def bends(self) -> bool:
        """Whether it is nonlinear between layers that mix."""
        return False

    @property
    def ready(self) -> bool:
        """Whether it has all numbers that it needs."""
        return True

    @property
    def of_batches(self) -> bool:
        """Whether training mixes the rows of a batch."""
        return False

    @property
    def without_d2f(self) -> str | None:
        """The name of an activation in it that has no second derivative."""
        return None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Tuning._fields:
            value = self._as_setting(name, value)
        elif "_theta" in self.__dict__ and name in self.config():
            raise AttributeError(f"{name} is fixed when a Network is made; make a new one")
        super().__setattr__(name, value)
        touch()

    def tunings(self) -> list[Tuning]:
        """Return how the parameters are trained, one for each step that `lower` returns."""
        return [Tuning(self.trainable, self.lr_scale, self.l1, self.l2, self.max_norm or 0.0)]

    def settings(self) -> dict[str, Any]:
        """Return the attributes of training that are not as they are by default, for `config`."""
        return {
            name: getattr(self, name)
            for name in self.settable
            if getattr(self, name) != getattr(Layer, name)
        }

    def _shown_settings(self) -> str:
        return "".join(f", {name}={value!r}" for name, value in self.settings().items())

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters by name, in the order of the flat vector."""
        return {}

    def running_shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what training keeps that has no gradient, likewise."""
        return {}

    def n_params(self, n_in: int) -> int:
        """Return the number of parameters, given the number of inputs."""
        return sum(math.prod(shape) for shape in self.shapes(n_in).values())

    def n_running(self, n_in: int) -> int:
        """Return the number of numbers that training keeps and that have no gradient."""
        return sum(math.prod(shape) for shape in self.running_shapes(n_in).values())

    def n_outputs(self, n_in: int) -> int:
        """Return the number of outputs, given the number of inputs: by default the same."""
        return n_in

    def lower(self, n_in: int, offset: int) -> list[Step]:
        """Return the steps that compute this layer, with parameters from `offset` on."""
        raise NotImplementedError

    def initialize(self, rng: "np.random.Generator") -> None:
        """Fill what is bound with its starting values."""

    def config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again, as JSON values."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> "Layer":
        """Return the layer of a config without its type, whose parameters are filled later."""
        return cls(**arguments)

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the bound parameters by name, as writable views of ``net.theta``."""
        return views(self.shapes(self._inputs()), self._theta)

    def running(self) -> dict[str, np.ndarray]:
        """Return what training keeps and no gradient touches, by name, as writable views."""
        return views(self.running_shapes(self._inputs()), self._running)

    def bind(self, n_in: int, theta: np.ndarray, running: np.ndarray) -> "Layer":
        """Return a copy of this layer whose parameters are views of `theta`."""
        bound = copy.copy(self)
        bound._n_in = n_in
        bound._running = running
        bound._theta = theta
        return bound

    def check_numbers(self) -> None:
        """Raise if what a file had as running statistics cannot be."""

    def check_inputs(self, X: np.ndarray, name: str) -> None:
        """Raise if X, (n_rows, n_in), is not what this layer takes as the first of a network."""

    def tokens(self, X: np.ndarray) -> list[int]:
        """Return the columns of X that are no numbers, so that nothing has a derivative by them."""
        return []

    def rows_of_summary(self, name: str, n_in: int) -> list[tuple[str, str, str, str]]:
        """Return the lines of `Network.summary` for this layer."""
        shape = f"{n_in} -> {self.n_outputs(n_in)}"
        kind = f"{name} {type(self).__name__}"
        return [(kind, self.activation, shape, f"{self.n_params(n_in):,}")]

    def _as_setting(self, name: str, value: Any) -> Any:
        """The value of an attribute of training, or what is wrong with it."""
        kind = type(self).__name__
        if name not in self.settable:
            why = "it has no parameters of its own"
            if "lr_scale" in self.settable:
                why = "only the weights of Dense are penalised and limited"
            raise AttributeError(f"{name} of {kind} cannot be set: {why}")
        return _checked_setting(kind, name, value)

    def _inputs(self) -> int:
        try:
            return self._n_in
        except AttributeError:
            raise AttributeError(
                f"{self!r} is only a description: the parameters are in net.layers[i]"
            ) from None


def _checked_setting(layer: str, name: str, value: Any) -> Any:
    """The value of an attribute of training, or what is wrong with it."""
    if name == "trainable":
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"trainable of {layer} must be True or False, got {value!r}")
        return bool(value)
    if name == "max_norm" and value is None:
        return None
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} of {layer} must be a number, got {value!r}") from None
    zero = name in ("l1", "l2")
    if not (0 < number < math.inf or (zero and number == 0)):
        wanted = "at least 0 and finite" if zero else "positive and finite"
        raise ValueError(f"{name} of {layer} must be {wanted}, got {value!r}")
    return number


def views(shapes: dict[str, tuple[int, ...]], flat: np.ndarray) -> dict[str, np.ndarray]:
    """Return views of these shapes, one behind the other in a flat vector."""
    found, at = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        found[name] = flat[at : at + size].reshape(shape)
        at += size
    return found


def view(name: str, of: str = "parameters") -> Any:
    """Return the attribute that is a bound parameter; assigning copies into it."""

    def get(layer: Layer) -> np.ndarray:
        found: np.ndarray = getattr(layer, of)()[name]
        return found

    def put(layer: Layer, value: "ArrayLike") -> None:
        copy_into(get(layer), value, name)

    return property(get, put)


def copy_into(parameter: np.ndarray, value: "ArrayLike", name: str) -> None:
    """Set a parameter to a number or to an array of exactly its shape."""
    values: np.ndarray = as_parameters(value, name, parameter.dtype)
    if values.ndim and values.shape != parameter.shape:
        raise ValueError(f"{name} has shape {parameter.shape}, got {values.shape}")
    parameter[...] = values


def real(value: Any, what: str, accept: Callable[[float], bool], wanted: str) -> float:
    """Return `value` as a float that `accept` accepts, or say what is `wanted`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not accept(number) or isinstance(value, (bool, np.bool_, str)):
        raise ValueError(f"{what} must be a number {wanted}, got {value!r}")
    return number


def flag(value: Any, what: str) -> bool:
    """Return `value` as a bool, or say what is wrong with it."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{what} must be True or False, got {value!r}")
    return bool(value)
