"""What importers make of a model, a list of links, and the network of such a list."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeGuard, TypeVar

import numpy as np

from ..activation import Activation, as_activation
from ..layers import Dense, Embedding, Layer, PReLU, Residual, Scaling
from ..names import WHOLE_ROW
from ..network import Network, _as_dtype, check_layers

IDENTITY = as_activation("identity")
MOST_DIAGONAL = 4096  # columns of a Dense of the identity matrix: 16 million weights


class Affine(NamedTuple):
    """``f(x W + b)``, W of shape (n_in, n_out)."""

    what: str  # its name in the other library's terms, for errors
    W: np.ndarray
    b: np.ndarray | None = None
    function: Activation = IDENTITY
    trainable: bool = True


class Columns(NamedTuple):
    """``(x - mean) / scale``, or ``x scale + mean``; a number for each column, or for all."""

    what: str
    mean: Any = 0.0
    scale: Any = 1.0
    inverted: bool = False


class Curve(NamedTuple):
    """An activation on its own."""

    what: str
    function: Activation


class Made(NamedTuple):
    """A layer of nncore, with its parameters and running statistics by name."""

    what: str
    layer: Layer
    values: dict[str, np.ndarray] = {}
    n_in: int | None = None  # None: any


class Block(NamedTuple):
    """``x + links(x)``."""

    what: str
    links: "list[Link]"


Link = Affine | Columns | Curve | Made | Block
T = TypeVar("T")


def kind_of(value: object, package: str, wanted: str, overridden: str | None = None) -> str:
    """Return the name of the class of `package` that `value` is of, or raise TypeError.

    package : a name, or some with blanks between; none is imported. A class derived from
    it may not override that method: it would compute something else.
    """
    kind = type(value)
    if isinstance(value, type):
        raise TypeError(f"{wanted}, got the class {value.__name__}: make an object of it")
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] in package.split():
            if not overridden or getattr(kind, overridden) is getattr(base, overridden):
                return base.__name__
            raise TypeError(
                f"{kind.__name__} has a {overridden} of its own; {wanted}. (nncore.from_onnx reads "
                "what it exports to ONNX.)"
            )
    raise TypeError(f"{wanted}, got {kind.__module__}.{kind.__qualname__}")


def checked(what: str, make: Callable[..., T], *args: object, **kwargs: object) -> T:
    """Return what `make` makes; its errors name the part of the model that they are of."""
    try:
        return make(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from None


def curve(what: str, name: str, **parameters: float) -> Curve:
    """Return the link of an activation, or say that nncore has it not with such parameters."""
    return Curve(what, checked(what, Activation, name, **parameters))


def norm(
    what: str, kind: type, n: int, values: Sequence[Any], trainable: bool = True, **arguments: float
) -> Made:
    """Return a BatchNorm or LayerNorm of n columns; values: gamma, beta, mean, variance or None.

    Where neither gamma nor beta is given, they are 1 and 0 and stay so.
    """
    trainable = trainable and not (values[0] is None and values[1] is None)
    layer = checked(what, kind, trainable=trainable, **arguments)
    found = {}
    for name, value in zip(("gamma", "beta", "running_mean", "running_var"), values, strict=False):
        plain = np.full(n, name == "gamma", np.float32)
        found[name] = plain if value is None else np.asarray(value)
    if not (found.get("running_var", np.zeros(1)) >= 0).all():
        raise ValueError(f"{what} has a variance that is negative or NaN")
    return Made(what, layer, found, n)


def prelu(what: str, slope: np.ndarray | float, trainable: bool = True) -> Made:
    """Return a PReLU of these slopes, one or one for each column."""
    slope = np.asarray(slope).reshape(-1)
    layer = PReLU(shared=slope.size == 1, trainable=trainable)
    return Made(what, layer, {"slope": slope}, _size(slope))


def _size(values: Any) -> int | None:
    return None if np.size(values) == 1 else np.size(values)


# ---- the network ----


def build(
    links: Iterable[Link], n_in: int | None = None, *, loss: Any = None, optimizer: Any = "adam",
    dtype: Any = None, seed: Any = None, backend: str = "auto",
) -> Network:  # fmt: skip
    """Return the network of links; by default of their type, and of the inputs that they take."""
    links = list(links)
    if dtype is None:
        wide = any(values.dtype == np.float64 for values in _arrays(links))
        dtype = "float64" if wide else "float32"
    dtype = _as_dtype(dtype)
    with np.errstate(all="ignore"):  # what is not finite is refused by _fill
        links = tidy(links)
    if not links:
        raise ValueError("the model has no layers")
    n_in = n_in or _inputs_of(links)
    found, _ = _layers(links, n_in)
    layers = [layer for layer, _ in found]
    check_layers(layers)
    network = Network.__new__(Network)
    network._build(n_in, layers, loss, optimizer, dtype, seed, backend)
    for layer, (_, values) in zip(network.layers, found, strict=True):
        places = layer.parameters() | layer.running()
        for name, (value, what) in values.items():
            _fill(places[name], np.asarray(value), f"{name} of {what}")
    return network


def _arrays(links: Iterable[Link]) -> Iterator[np.ndarray]:
    for link in links:
        if isinstance(link, Block):
            yield from _arrays(link.links)
        elif isinstance(link, Affine):
            yield link.W
        elif isinstance(link, Made):
            yield from link.values.values()


def _fill(place: np.ndarray, values: np.ndarray, what: str) -> None:
    if values.shape != place.shape:
        raise ValueError(f"{what} has shape {values.shape}; expected {place.shape}")
    with np.errstate(over="ignore"):
        place[...] = values
    if not np.isfinite(place).all():
        raise ValueError(f"{what} has values that are not finite in {place.dtype}")


# ---- links beside one another ----


def tidy(links: Iterable[Link], whole: bool = True) -> list[Link]:
    """Put activations into the affine map before them, and maps of columns into what is there.

    At the start and the end of the whole, and beside no weights, they become a `Scaling`.
    """
    done: list[Link] = []
    joined = _joined(links)
    for i, link in enumerate(joined):
        last = done[-1] if done else None
        if isinstance(link, Curve) and _is_plain(last):
            done[-1] = last._replace(function=link.function)
        elif isinstance(link, Columns):
            end = whole and i == len(joined) - 1
            scaled = end and np.all(link.scale > 0) and np.any(link.scale != 1)
            if _is_plain(last) and not scaled:
                done[-1] = _in_weights(last, link)
            elif isinstance(last, Made) and "gamma" in last.values:
                done[-1] = _in_norm(last, link)
            else:
                done.append(_scaling(link, end))
        elif isinstance(link, Block):
            done.append(link._replace(links=tidy(link.links, False)))
        else:
            done.append(link)
    return done


def _joined(links: Iterable[Link]) -> list[Link]:
    """The links, without those that do nothing, and maps of columns one behind the other as one."""
    done: list[Link] = []
    for link in links:
        last = done[-1] if done else None
        if isinstance(link, Columns):
            link = link._replace(mean=_wide(link.mean), scale=_wide(link.scale))
            if isinstance(last, Columns):
                done[-1] = checked(link.what, _then, last, link)
                continue
            if _is_plain(last) and last.b is None and np.all(link.scale == 1):
                done[-1] = _in_weights(last, link)
                continue
        if not (isinstance(link, Curve) and link.function == IDENTITY):
            done.append(link)
    return done


def _wide(values: Any) -> np.ndarray:
    wide = np.asarray(values, np.float64)
    return wide.reshape(()) if wide.size == 1 else wide


def _is_plain(link: Link | None) -> TypeGuard[Affine]:
    return isinstance(link, Affine) and link.function == IDENTITY


def _line(link: Columns) -> tuple[np.ndarray, np.ndarray]:
    """a and b of a map of columns ``a x + b``."""
    if link.inverted:
        return link.scale, link.mean
    return 1 / link.scale, -link.mean / link.scale


def _then(first: Columns, second: Columns) -> Columns:
    """Two maps of columns as one; as they were, where they are the parts of a `Scaling`."""
    if first.inverted == second.inverted:
        shift, scale = (second, first) if first.inverted else (first, second)
        if np.all(shift.scale == 1) and np.all(scale.mean == 0):
            np.broadcast(shift.mean, scale.scale)
            return Columns(second.what, shift.mean, scale.scale, first.inverted)
    (a, b), (c, d) = _line(first), _line(second)
    return Columns(second.what, b * c + d, a * c, True)


def _line_of(link: Columns, n: int) -> list[np.ndarray]:
    return [checked(link.what, np.broadcast_to, values, (n,)) for values in _line(link)]


def _in_weights(last: Affine, link: Columns) -> Affine:
    a, b = _line_of(link, last.W.shape[1])
    W = last.W if (a == 1).all() else last.W * a
    if last.b is not None:
        b = last.b * a + b
    return last._replace(W=W, b=b if last.b is not None or b.any() else None)


def _in_norm(last: Made, link: Columns) -> Made:
    gamma, beta = last.values["gamma"], last.values["beta"]
    a, b = _line_of(link, gamma.size)
    return last._replace(values=last.values | {"gamma": gamma * a, "beta": beta * a + b})


def _scaling(link: Columns, end: bool) -> Made:
    what, mean, scale, inverted = link
    if end and not inverted:
        (scale, mean), inverted = _line(link), True
    layer = checked(what, Scaling, mean=mean, scale=scale)
    return Made(what, layer.inverse() if inverted else layer, {}, _size(layer.mean))


# ---- layers ----


def _takes(links: Iterable[Link]) -> int | None:
    """The number of inputs that the links ask for, or None."""
    for link in links:
        if isinstance(link, Affine):
            return len(link.W)
        n_in: int | None = getattr(link, "n_in", None)
        if isinstance(link, Block):
            n_in = _takes(link.links)
        if n_in is not None:
            return n_in
    return None


def _inputs_of(links: list[Link]) -> int:
    first = links[0].layer if isinstance(links[0], Made) else None
    size = first.dim if isinstance(first, Embedding) else None  # of the rows of each token
    width = _takes(links[size is not None :])
    if width is None:
        raise ValueError("the number of inputs is unknown: nothing in the model has weights of it")
    return width // (size or 1)


def _layers(
    links: list[Link], width: int
) -> tuple[list[tuple[Layer, dict[str, tuple[np.ndarray, str]]]], int]:
    """Return [(layer, {name: (values, what)})] of links, and the number of outputs."""
    found = []
    layer: Layer
    for link in links:
        if _takes([link]) not in (None, width):
            raise ValueError(
                f"{link.what} takes {_takes([link])} inputs, but there are {width} before it"
            )
        if isinstance(link, Block):
            inner, end = _layers(link.links, width)
            layer = checked(link.what, Residual, *(layer for layer, _ in inner))
            if end != width:
                raise ValueError(f"{link.what}: {end} outputs are added to {width} inputs")
            values = {f"{i}.{k}": v for i, (_, each) in enumerate(inner) for k, v in each.items()}
        else:
            layer, plain = _layer(link, width, link is links[-1])
            values = {name: (value, link.what) for name, value in plain.items()}
        width = checked(link.what, layer.n_outputs, width)
        found.append((layer, values))
    return found, width


def _layer(link: Link, width: int, is_last: bool) -> tuple[Layer, dict[str, np.ndarray]]:
    """The layer of a link, and its values; an activation alone becomes one that stays as it is."""
    if isinstance(link, Curve):
        name = link.function.name
        if name in ("relu", "leaky_relu"):
            link = prelu(link.what, link.function.parameters.get("slope", 0.0), False)
        elif name in WHOLE_ROW and not is_last:
            raise ValueError(f"{link.what}: only the last layer may be {name}")
        elif width > MOST_DIAGONAL:
            raise ValueError(
                f"{link.what} follows no layer of weights; {width} columns are too many for one of "
                f"its own (at most {MOST_DIAGONAL})"
            )
        else:
            link = Affine(link.what, np.eye(width), None, link.function, False)
    if isinstance(link, Made):
        return link.layer, link.values
    assert isinstance(link, Affine)  # tidy leaves no Columns
    what, W, b, f, trainable = link
    values = {"W": W} if b is None else {"W": W, "b": b}
    return Dense(W.shape[1], f, bias=b is not None, init="zeros", trainable=trainable), values
