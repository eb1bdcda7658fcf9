"""A network as bytes: what is in a saved file, and how one is read back without trusting it.

The container is safetensors (`nncore.files`). The tensors are ``layers.<i>.<name>`` for each
parameter and running statistic (in a `Residual` ``layers.<i>.<j>.<name>``), and ``optimizer.<j>``
for the state vectors; the metadata entry ``nncore`` is a JSON
object: format, config (what `Network.config` returns), updates, rng, and where a layer draws random
numbers draws: their seed, and how many training steps and predictions have drawn.
"""

from __future__ import annotations

import json
import reprlib

import numpy as np

from . import files, names
from .files import FileFormatError
from .layers.dense import positive_int

FORMAT = 1


def to_bytes(network):
    """Return `network` as the bytes of a safetensors file."""
    return files.to_bytes(*_describe(network))


def save(network, path):
    """Write `network` to `path`, whole or not at all."""
    files.write(path, *_describe(network))


def from_bytes(data, backend="auto", kind=None):
    """Return the network in `data`, as a `kind` of Network (by default a plain one)."""
    from .network import check_backend

    check_backend(backend)
    return _rebuild(*files.from_bytes(data), "the data", backend, kind)


def load(path, backend="auto"):
    """Return the network in the file at `path`."""
    return _rebuild(*files.read(path), path, backend)


def _describe(network):
    network._settle_optimizer()
    tensors = {
        f"layers.{i}.{name}": values
        for i, layer in enumerate(network.layers)
        for name, values in (layer.parameters() | layer.running()).items()
    }
    engine = network._engine
    tensors |= {f"optimizer.{j}": vector for j, vector in enumerate(engine.state)}
    description = {
        "format": FORMAT,
        "config": network.config(),
        "updates": int(engine.n_updates),
        "rng": network._rng.bit_generator.state,
    }
    if engine.draws:
        description["draws"] = list(engine.draws)
    return tensors, {"nncore": json.dumps(description)}


def _rebuild(tensors, metadata, where, backend, kind=None):
    try:
        description = json.loads(metadata["nncore"], parse_constant=_refuse)
        if description["format"] != FORMAT:
            found = reprlib.repr(description["format"])
            raise FileFormatError(
                f"{where} was written in format {found}; this version of nncore reads format "
                f"{FORMAT}. Update the package."
            )
        config = description["config"]
        layers = _checked_layers(config, tensors)
        network = _make(config, layers, backend, kind)
        _fill(network, tensors, description)
    except FileFormatError:
        raise
    except KeyError as error:
        missing = reprlib.repr(error.args[0])
        message = f"{where} is not a network of nncore: {missing} is missing"
        raise FileFormatError(message) from None
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        what = str(error) if len(str(error)) < 300 else str(error)[:300] + " ..."
        raise FileFormatError(f"{where} does not hold a valid network: {what}") from None
    return network


def _refuse(constant):
    raise ValueError(f"{constant} is not a number that a network has")


def _checked_layers(config, tensors):
    """The layers described, which may only ask for parameters that are there: none is allocated."""
    from .layers import from_config

    layers, width = [], positive_int(config["n_in"], "n_in")
    for i, described in enumerate(config["layers"]):
        layer = from_config(described)
        wanted = layer.shapes(width) | layer.running_shapes(width)
        for name, shape in wanted.items():
            found = tensors[f"layers.{i}.{name}"]
            if found.shape != shape or found.dtype != config["dtype"]:
                raise ValueError(
                    f"layers.{i}.{name} is {found.dtype} {found.shape}; the description says "
                    f"{config['dtype']} {shape}"
                )
        layers.append(layer)
        width = layer.n_outputs(width)
    return layers


def _make(config, layers, backend, kind):
    from .network import Network, check_layers
    from .optimizers import OPTIMIZERS

    check_layers(layers)
    optimizer = dict(config["optimizer"])
    rule = names.look_up("optimizer", optimizer.pop("type"), OPTIMIZERS)
    optimizer = OPTIMIZERS[rule](**optimizer)
    network = Network.__new__(kind or Network)
    network._build(config["n_in"], layers, config["loss"], optimizer, config["dtype"], 0, backend)
    return network


def _fill(network, tensors, description):
    left = set(tensors)
    for i, layer in enumerate(network.layers):
        for name, values in (layer.parameters() | layer.running()).items():
            values[...] = tensors[f"layers.{i}.{name}"]
            left.discard(f"layers.{i}.{name}")
    for j, vector in enumerate(network._engine.state):
        found = tensors[f"optimizer.{j}"]
        if found.shape != vector.shape or found.dtype != vector.dtype:
            raise ValueError(f"optimizer.{j} is {found.dtype} {found.shape}, not like the weights")
        vector[...] = found
        left.discard(f"optimizer.{j}")
    if left:
        raise ValueError(f"{sorted(left)[0]!r} belongs to no layer")
    updates = description["updates"]
    if type(updates) is not int or not 0 <= updates < 1 << 62:
        raise ValueError(f"updates is {updates!r}, not a count")
    network._engine.n_updates = updates
    if network._engine.draws or "draws" in description:
        network._engine.draws = _draws(description["draws"])
    rng = np.random.PCG64()
    rng.state = description["rng"]
    network._rng = np.random.Generator(rng)


def _draws(counts):
    """The seed and the counts of a description, checked."""
    good = isinstance(counts, list) and len(counts) == 3
    if not good or not all(
        type(count) is int and 0 <= count < 1 << bits
        for count, bits in zip(counts, (64, 48, 48), strict=True)
    ):
        raise ValueError(f"draws is {reprlib.repr(counts)}, not a seed and two counts")
    return tuple(counts)
