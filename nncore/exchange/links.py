"""What importers make of a model, a list of links, and the network of such a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from ..activation import Activation, as_activation
from ..layers import BatchNorm, Dense, Dropout, Embedding, Layer, LayerNorm, PReLU, Residual
from ..names import WHOLE_ROW
from ..network import Network, check_backend, check_layers

IDENTITY = as_activation("identity")
MOST_DIAGONAL = 4096  # columns of a Dense that only scales: 16 million weights


class Affine(NamedTuple):
    """``f(x W + b)``, W of shape (n_in, n_out)."""

    what: str  # its name in the other library's terms, for errors
    W: np.ndarray
    b: np.ndarray | None = None
    function: Activation = IDENTITY
    trainable: bool = True


class Columns(NamedTuple):
    """``scale x + shift`` for each column, or for all where these are numbers."""

    what: str
    scale: np.ndarray | float
    shift: np.ndarray | float


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
    links: list
    depth: int = 1  # of blocks in one another


Link = Affine | Columns | Curve | Made | Block
T = TypeVar("T")


def curve(what: str, name: str, **parameters: float) -> Curve:
    """Return the link of an activation, or say that nncore has it not with such parameters."""
    return Curve(what, checked(what, Activation, name, **parameters))


def dropout(what: str, rate: float) -> list[Link]:
    """Return the links of a dropout, none where nothing is dropped."""
    return [Made(what, checked(what, Dropout, rate))] if rate else []


def norm(
    what: str, kind: type, n: int, values: Sequence, trainable: bool = True, **arguments: float
) -> Made:
    """Return a BatchNorm or LayerNorm of n columns; values: gamma, beta, mean, variance or None.

    Where neither gamma nor beta is given, they are 1 and 0 and stay so.
    """
    names = ("gamma", "beta", "running_mean", "running_var")[: 4 if kind is BatchNorm else 2]
    found = dict(zip(names, (*values, None, None), strict=False))
    trainable = trainable and not (found["gamma"] is None and found["beta"] is None)
    layer = checked(what, kind, trainable=trainable, **arguments)
    for name, value in found.items():
        plain = np.full(n, name in ("gamma", "running_var"), np.float32)
        found[name] = plain if value is None else np.asarray(value)
    if kind is BatchNorm and not (found["running_var"] >= 0).all():
        raise ValueError(f"{what} has a variance that is negative or NaN")
    return Made(what, layer, found, n)


def prelu(what: str, slope: np.ndarray, trainable: bool = True) -> Made:
    """Return a PReLU of these slopes, one or one for each column."""
    slope = np.asarray(slope).reshape(-1)
    layer = PReLU(shared=slope.size == 1, trainable=trainable)
    return Made(what, layer, {"slope": slope}, None if slope.size == 1 else slope.size)


def checked(what: str, make: Callable[..., T], *args: object, **kwargs: object) -> T:
    """Return what `make` makes; its errors name the part of the model that they are of."""
    try:
        return make(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from None


def build(
    links: Iterable[Link], n_in: int | None = None, *, loss: object = None,
    optimizer: object = "adam", dtype: object = None, seed: int | None = None,
    backend: str = "auto",
) -> Network:  # fmt: skip
    """Return the network of links.

    dtype None: that of the weights. n_in None: what the first links take.
    """
    from ..network import _as_dtype, _as_rng

    links = list(links)
    dtype = _as_dtype(dtype or _dtype_of(links))
    with np.errstate(all="ignore"):  # what is not finite is refused by _fill
        links = tidy(links)
    if not links:
        raise ValueError("the model has no layers")
    backend = check_backend(backend)
    _as_rng(seed)
    n_in = n_in or _inputs_of(links)
    found, _ = _made(links, n_in)
    layers = [layer for layer, _ in found]
    check_layers(layers)
    network = Network.__new__(Network)
    network._build(n_in, layers, loss, optimizer, dtype, seed, backend)
    for layer, (_, values) in zip(network.layers, found, strict=True):
        for name, place in (layer.parameters() | layer.running()).items():
            _fill(place, *values[name], name)
    return network


def tidy(links: Iterable[Link]) -> list[Link]:
    """Put maps of columns into the affine map or normalisation beside them.

    Activations go into the affine map before them. All is computed in float64.
    """
    done: list[Link] = []
    for link in links:
        last = done[-1] if done else None
        if isinstance(link, Block):
            link = link._replace(links=tidy(link.links))
        if isinstance(link, Columns) and (merged := _scaled(last, link)) is not None:
            done[-1] = merged
        elif isinstance(link, Affine) and isinstance(last, Columns):
            done[-1] = _after(last, link)
        elif isinstance(link, Curve) and _is_plain(last):
            done[-1] = last._replace(function=link.function)
        elif not (isinstance(link, Curve) and link.function == IDENTITY):
            done.append(link)
    return done


def _is_plain(link):
    return isinstance(link, Affine) and link.function == IDENTITY


def _wide(values):
    return np.asarray(values, np.float64)


def _scaled(last, link):
    """The link that does `last` and then `link`, or None."""
    scale, shift = _wide(link.scale), _wide(link.shift)
    if isinstance(last, Columns):
        _check_columns(last.scale, link)
        _check_columns(last.shift, link)
        return Columns(link.what, last.scale * scale, last.shift * scale + shift)
    if _is_plain(last):
        _check_columns(last.W[0], link)
        b = None if last.b is None else _wide(last.b) * scale
        if np.any(shift != 0):
            b = (0 if b is None else b) + np.broadcast_to(shift, last.W.shape[1:])
        return last._replace(W=_wide(last.W) * scale, b=b)
    if isinstance(last, Made) and isinstance(last.layer, (BatchNorm, LayerNorm)):
        gamma, beta = last.values["gamma"], last.values["beta"]
        _check_columns(gamma, link)
        values = {"gamma": _wide(gamma) * scale, "beta": _wide(beta) * scale + shift}
        return last._replace(values=last.values | values)
    return None


def _after(first, link):
    """The affine map that does the columns `first` and then `link`."""
    scale, shift, W = _wide(first.scale), _wide(first.shift), _wide(link.W)
    _check_columns(W[:, 0], first)
    b = link.b
    if np.any(shift != 0):
        b = (0 if b is None else _wide(b)) + np.broadcast_to(shift, W.shape[:1]) @ W
    return link._replace(W=W * np.reshape(scale, (-1, 1)), b=b)


def _check_columns(values, link):
    sizes = {np.size(part) for part in (values, link.scale, link.shift)} - {1}
    if len(sizes) > 1:
        raise ValueError(f"{link.what}: numbers of columns differ: {sorted(sizes)}")


# ---- layers ----


def _arrays(links):
    for link in links:
        if isinstance(link, Block):
            yield from _arrays(link.links)
        elif isinstance(link, Affine):
            yield link.W
        elif isinstance(link, Made):
            yield from link.values.values()


def _dtype_of(links):
    wide = any(values.dtype == np.float64 for values in _arrays(links))
    return "float64" if wide else "float32"


def _width_taken(links):
    """The number of inputs that the links ask for, or None."""
    for link in links:
        if isinstance(link, Affine):
            return len(link.W)
        if isinstance(link, Columns) and np.size(link.scale + link.shift) > 1:
            return np.size(link.scale + link.shift)
        n_in = _width_taken(link.links) if isinstance(link, Block) else getattr(link, "n_in", None)
        if n_in is not None:
            return n_in
    return None


def _inputs_of(links):
    tokens = isinstance(links[0], Made) and isinstance(links[0].layer, Embedding)
    width = _width_taken(links[tokens:])
    if width is None:
        raise ValueError("the number of inputs is unknown: nothing in the model has weights of it")
    return width // links[0].layer.dim if tokens else width


def _made(links, width):
    """Return [(layer, {name: (values, what)})] of links, and the number of outputs."""
    found = []
    for link in links:
        taken = _width_taken([link])
        if taken is not None and taken != width:
            raise ValueError(f"{link.what} takes {taken} inputs, but there are {width} before it")
        if isinstance(link, Block):
            inner, end = _made(link.links, width)
            layer = checked(link.what, Residual, *(layer for layer, _ in inner))
            if end != width:
                raise ValueError(f"{link.what}: {end} outputs are added to {width} inputs")
            values = {f"{i}.{k}": v for i, (_, each) in enumerate(inner) for k, v in each.items()}
        else:
            if isinstance(link, Columns | Curve):
                link = _alone(link, width, links)
            layer, values = _layer(link)
            values = {name: (value, link.what) for name, value in values.items()}
        width = checked(link.what, layer.n_outputs, width)
        found.append((layer, values))
    return found, width


def _layer(link):
    if isinstance(link, Made):
        return link.layer, link.values
    layer = Dense(
        link.W.shape[1], link.function, bias=link.b is not None, init="zeros",
        trainable=link.trainable,
    )  # fmt: skip
    return layer, {"W": link.W} if link.b is None else {"W": link.W, "b": link.b}


def _alone(link, width, links):
    """The link of a layer for what stands beside no affine map: one that stays as it is.

    Rectifiers are a PReLU, other activations a Dense of the identity matrix, and columns that are
    scaled a Dense of a diagonal one, whose outputs are the same numbers but for rounding.
    """
    if isinstance(link, Curve) and link.function.name in ("relu", "leaky_relu"):
        return prelu(link.what, link.function.parameters.get("slope", 0.0), trainable=False)
    if isinstance(link, Curve) and link.function.name in WHOLE_ROW and link is not links[-1]:
        raise ValueError(f"{link.what}: only the last layer may be {link.function.name}")
    if width > MOST_DIAGONAL:
        raise ValueError(
            f"{link.what} follows no layer of weights; {width} columns are too many for one of its "
            f"own (at most {MOST_DIAGONAL})"
        )
    if isinstance(link, Curve):
        return Affine(link.what, np.eye(width), None, link.function, False)
    shift = np.broadcast_to(_wide(link.shift), (width,))
    b = shift if np.any(shift != 0) else None
    return Affine(
        link.what, np.diag(np.broadcast_to(_wide(link.scale), (width,))), b, IDENTITY, False
    )


def _fill(place, values, what, name):
    values = np.asarray(values)
    if values.shape != place.shape:
        raise ValueError(f"{name} of {what} has shape {values.shape}; expected {place.shape}")
    with np.errstate(over="ignore"):
        place[...] = values
    if not np.isfinite(place).all():
        raise ValueError(f"{name} of {what} has values that are not finite in {place.dtype}")
