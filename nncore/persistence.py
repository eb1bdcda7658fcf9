"""A network as bytes: what is in a saved file, and how one is read back without trusting it.

The container is safetensors (`nncore.files`). The tensors are ``layers.<i>.<name>`` for each
parameter and running statistic (in a `Residual` ``layers.<i>.<j>.<name>``), ``optimizer.<j>`` for
the state vectors, or ``optimizer.<name>`` for what a full-batch trainer remembers, and
``optimizer.average`` for an average of the parameters. The metadata entry ``nncore`` is a JSON
object: format, config (what `Network.config` returns), updates, rng; where they are not 0 or empty
epochs, averaged, schedule (its state), memory (the numbers that a full-batch trainer remembers);
and where a layer draws random numbers draws: their seed, and how many training steps and
predictions have drawn. The entry ``columns`` is what `Columns.to_json` returns, if there are any.
"""

import copy
import json
import os
import reprlib
from collections.abc import Collection
from typing import Any

import numpy as np

from . import files, names
from .files import FileFormatError, Tensors
from .layers import Layer
from .layers.dense import positive_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .network import Network

FORMAT = 1


def to_bytes(network: "Network", for_copy: bool = False) -> bytes:
    """Return `network` as the bytes of a safetensors file.

    for_copy: its optimizer is handed on beside them, so the bytes need not hold a rate that is a
    function.
    """
    return files.to_bytes(*describe(network, for_copy))


def save(network: "Network", path: str | os.PathLike[str]) -> None:
    """Write `network` to `path`, whole or not at all."""
    files.write(path, *describe(network))


def from_bytes(
    data: bytes, backend: str = "auto", kind: "type[Network] | None" = None
) -> "Network":
    """Return the network in `data`, as a `kind` of Network (by default a plain one)."""
    from .network import check_backend

    check_backend(backend)
    return _rebuild(*files.from_bytes(data), "the data", backend, kind)


def load(path: str, backend: str = "auto") -> "Network":
    """Return the network in the file at `path`."""
    if str(path).endswith(".onnx"):
        raise FileFormatError(f"{path} is not of Network.save: nncore.from_onnx reads ONNX files")
    tensors, texts = files.read(path)
    if "run" in texts:
        raise FileFormatError(
            f"{path} is a checkpoint, the state of a whole training, and not of Network.save. fit "
            "goes on from it, called as before: callbacks=[nncore.callbacks.Checkpoint("
            f"{os.path.dirname(path) or '.'!r})]"
        )
    return _rebuild(tensors, texts, path, backend)


def restore(network: "Network", tensors: Tensors, metadata: dict[str, str]) -> None:
    """Bring a network to the state of one of the same layers, which `describe` gave.

    The network is as before if this raises.
    """
    from .trainers.problem import leaves

    other = _rebuild(tensors, metadata, "the checkpoint", network._backend)
    optimizer, found = network._optimizer, other._optimizer
    pairs = list(zip(leaves(network.layers), leaves(other.layers), strict=False))
    settings = [{name: getattr(like, name) for name in layer.settable} for layer, like in pairs]
    for layer, like in pairs:
        _set(like, {name: getattr(layer, name) for name in like.settable})
    same = network._config_with(optimizer) | {"optimizer": None}
    if other._config_with(optimizer) | {"optimizer": None} != same or not isinstance(
        optimizer, type(found)
    ):
        raise FileFormatError("the checkpoint is of a network of other layers or another optimizer")
    for (layer, _), values in zip(pairs, settings, strict=True):
        _set(layer, values)
    vars(optimizer).update((name, getattr(found, name)) for name in found._arguments)
    network._start_rule(optimizer)
    _fill(network, tensors, json.loads(metadata["nncore"]))


def _set(layer: Layer, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        setattr(layer, name, value)


def describe(network: "Network", for_copy: bool = False) -> tuple[Tensors, dict[str, str]]:
    """Return the arrays and the text of a file by name."""
    network._settle_optimizer()
    tensors = {
        f"layers.{i}.{name}": values
        for i, layer in enumerate(network.layers)
        for name, values in (layer.parameters() | layer.running()).items()
    }
    engine = network._engine
    tensors |= {f"optimizer.{j}": vector for j, vector in enumerate(engine.state)}
    if engine.average is not None:
        tensors["optimizer.average"] = engine.average
    numbers: dict[str, Any] = {}
    if network._memory:
        from .trainers.base import describe

        numbers, arrays = describe(network._memory[0])
        tensors |= {f"optimizer.{name}": values for name, values in arrays.items()}
    schedule = network._optimizer.schedule
    description = {
        "format": FORMAT,
        "config": _config(network, for_copy),
        "updates": int(engine.n_updates),
        "rng": network._rng.bit_generator.state,
    }
    course = {
        "epochs": network._epochs,
        "averaged": int(engine.averaged),
        "schedule": network._schedule_state() if schedule is not None else {},
        "memory": numbers,
    }
    description |= {name: value for name, value in course.items() if value}
    if engine.draws:
        description["draws"] = list(engine.draws)
    metadata = {"nncore": json.dumps(description)}
    if network.columns is not None:
        metadata["columns"] = network.columns.to_json()
    return tensors, metadata


def _config(network: "Network", for_copy: bool) -> dict[str, Any]:
    if not for_copy or network._optimizer.schedule is None:
        return network.config()
    try:
        return network.config()
    except ValueError:  # a function, which is handed on beside the bytes
        plain = copy.copy(network._optimizer)
        plain.lr = 1.0
        return network._config_with(plain)


def _rebuild(
    tensors: Tensors, metadata: dict[str, str], where: str, backend: str,
    kind: "type[Network] | None" = None,
) -> "Network":  # fmt: skip
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
        if "columns" in metadata:
            from .columns import Columns

            network.columns = Columns.from_json(metadata["columns"]).check(network)
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


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number that a network has")


def _checked_layers(config: dict[str, Any], tensors: Tensors) -> list[Layer]:
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


def _make(
    config: dict[str, Any], layers: list[Layer], backend: str, kind: "type[Network] | None"
) -> "Network":
    from .loss import from_config
    from .network import Network, check_layers
    from .optimizers import OPTIMIZERS

    check_layers(layers)
    optimizer = dict(config["optimizer"])
    known: dict[str, Any] = OPTIMIZERS
    if optimizer.get("type") not in known:
        from .trainers import TRAINERS

        known = known | TRAINERS
    rule = names.look_up("optimizer", optimizer.pop("type"), known)
    if isinstance(optimizer.get("lr"), dict):
        from . import schedules

        optimizer["lr"] = schedules.from_config(optimizer["lr"])
    network = Network.__new__(kind or Network)
    loss = from_config(config["loss"])
    made = known[rule](**optimizer)
    network._build(config["n_in"], layers, loss, made, config["dtype"], 0, backend)
    return network


def _fill(network: "Network", tensors: Tensors, description: dict[str, Any]) -> None:
    left = set(tensors)
    for i, layer in enumerate(network.layers):
        for name, values in (layer.parameters() | layer.running()).items():
            values[...] = tensors[f"layers.{i}.{name}"]
            left.discard(f"layers.{i}.{name}")
        layer.check_numbers()
    for j, vector in enumerate(network._engine.state):
        found = tensors[f"optimizer.{j}"]
        if found.shape != vector.shape or found.dtype != vector.dtype:
            raise ValueError(f"optimizer.{j} is {found.dtype} {found.shape}, not like the weights")
        vector[...] = found
        left.discard(f"optimizer.{j}")
    engine = network._engine
    if "optimizer.average" in left:
        found = tensors["optimizer.average"]
        if found.shape != network.theta.shape or found.dtype != network.dtype:
            raise ValueError("optimizer.average is not like the weights")
        engine.keep_average()
        average: Any = engine.average
        average[...] = found
        left.discard("optimizer.average")
    if network._optimizer.full_batch:
        left -= _remember(network, tensors, description.get("memory", {}), left)
    elif "memory" in description:
        raise ValueError(f"{type(network._optimizer).__name__} has no memory")
    if left:
        raise ValueError(f"{sorted(left)[0]!r} belongs to no layer")
    engine.n_updates = _count(description["updates"], "updates")
    engine.averaged = _count(description.get("averaged", 0), "averaged")
    network._epochs = _count(description.get("epochs", 0), "epochs")
    _resume(network, description.get("schedule", {}))
    if engine.draws or "draws" in description:
        engine.draws = _draws(description["draws"])
    rng = np.random.PCG64()
    rng.state = description["rng"]
    network._rng = np.random.Generator(rng)


def _remember(
    network: "Network", tensors: Tensors, numbers: dict[str, Any], left: Collection[str]
) -> set[str]:
    """Give a full-batch trainer its memory; return the names of the tensors that it took."""
    from .trainers.problem import fixed_parameters

    if type(numbers) is not dict:
        raise ValueError(f"memory is {reprlib.repr(numbers)}, not numbers by name")
    found = {
        name.removeprefix("optimizer."): tensors[name]
        for name in left
        if name.startswith("optimizer.")
    }
    taken = {f"optimizer.{name}" for name in found}
    fixed = fixed_parameters(network)
    n_free = network.n_params if fixed is None else int((~fixed).sum())
    memory = network._optimizer.recall(numbers, found, network.n_params, n_free, network.dtype)
    if memory:
        network._memory = memory, fixed
    return taken - {f"optimizer.{name}" for name in found}


def _count(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{name} is {value!r}, not a count")
    return value


def _draws(counts: Any) -> tuple[int, int, int]:
    """The seed and the counts of a description, checked."""
    good = isinstance(counts, list) and len(counts) == 3
    if not good or not all(
        type(count) is int and 0 <= count < 1 << bits
        for count, bits in zip(counts, (64, 48, 48), strict=True)
    ):
        raise ValueError(f"draws is {reprlib.repr(counts)}, not a seed and two counts")
    return tuple(counts)


def _resume(network: "Network", state: dict[str, Any]) -> None:
    """Let the schedule of the rate go on where it was."""
    schedule = network._optimizer.schedule
    if schedule is None and state:
        raise ValueError("a state of a schedule, but no schedule")
    if state:
        schedule.check_state(state)
        network._course = (copy.deepcopy(schedule), state)
