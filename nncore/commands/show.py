"""``nncore info`` and ``nncore show``: what is in a saved network."""

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import cells
from ..tables import count as _n
from . import common

MOST_ROWS, MOST_COLUMNS = 24, 12  # of weights that are shown one by one
MOST_LINES = 40  # columns of a table that are listed

_INFO = """
Without a model: versions, compiler, and the instruction sets that were compiled, that can run here,
and that was chosen. With one: what is in the file.
"""
_SHOW = """
Show a network: a table of its layers, then the weights of each layer. Small matrices are shown
whole, a row for each input and a column for each unit; of large ones mean, standard deviation,
extremes, the share of zeros, and how the values are spread between the extremes.
"""
_INFO_END = """
examples:
  nncore info
  nncore info model.safetensors

exit status: 0, or 2 for an error
"""
_SHOW_END = """
examples:
  nncore show model.safetensors
  nncore show model.safetensors --layer 1

exit status: 0, or 2 for an error
"""


def add_parsers(commands: Any) -> None:
    """Add the two commands to the subparsers of ``nncore``."""
    common.add_parser(
        commands, "info", _info, "versions and instruction sets; or what is in a model", _INFO,
        _INFO_END,
    ).add_argument(
        "model", type=Path, nargs="?", help="what nncore train or Network.save has written"
    )  # fmt: skip
    add = common.add_parser(
        commands, "show", _show, "the layers and weights of a model", _SHOW, _SHOW_END
    ).add_argument
    add("model", type=Path, help="what nncore train or Network.save has written")
    add("--layer", type=int, metavar="N", help="only this one, counted from 0")


def _info(options: Namespace) -> int:
    if options.model is None:
        from ..info import show_config

        show_config()
        return 0
    from .. import persistence

    network = common.open_model(options.model)
    engine = network._engine
    facts = {
        "file": f"{common.plain(options.model, 200)}, {options.model.stat().st_size:,} bytes",
        "format": f"safetensors, nncore format {persistence.FORMAT}",
        "network": f"{_n(network.n_in, 'input')}, {_n(len(network.layers), 'layer')}, "
        f"{_n(network.n_out, 'output')}",
        "parameters": f"{network.n_params:,} of {network.dtype}",
        "loss": str(network.loss),
        "optimizer": repr(network.optimizer),
        "trained": f"{_n(engine.n_updates, 'update')}, {_n(network._epochs, 'epoch')} of fit",
    }
    for key, value in facts.items():
        print(f"{key + ':':12} {value}")
    columns = network.columns
    if columns is None:
        print(f"{'columns:':12} none known; inputs are numbers in order")
        return 0
    rows = [_row("input", c.name, c.categories, c.fill) for c in columns.inputs]
    rows += [_row("target", c.name, c.classes, None) for c in columns.targets]
    of = f"{_n(len(columns.inputs), 'column')} of inputs"
    print(f"\n{of}, {_n(columns.width, 'number')} of each row")
    for role, name, what in rows[: MOST_LINES // 2] + rows[MOST_LINES // 2 :][-MOST_LINES // 2 :]:
        print(f"{role:7} {name:24} {what}")
    if len(rows) > MOST_LINES:
        print(f"{len(rows) - MOST_LINES} columns between them are not shown")
    return 0


def _row(
    role: str, name: str, words: Sequence[object] | None, fill: float | None
) -> tuple[str, str, str]:
    what = "number"
    if words:
        shown = ", ".join(common.plain(word, 20) for word in words[:6])
        kind = "categories" if role == "input" else "classes"
        what = f"{len(words)} {kind}: {shown}{', ...' * (len(words) > 6)}"
    if fill is not None:
        what += "; none of them where empty" if words else f", {fill:.6g} where empty"
    return role, common.plain(name, 24), what


def _show(options: Namespace) -> int:
    network = common.open_model(options.model)
    layers: Sequence[int] = range(len(network.layers))
    if options.layer is not None:
        if options.layer not in layers:
            raise ValueError(f"--layer {options.layer}: there are layers 0 to {layers[-1]}")
        layers = [options.layer]
    else:
        network.summary()
    names = [f"x{j + 1}" for j in range(network.n_in)]
    if network.columns is not None and not network.columns.numbered:
        names = network.columns.labels
    for i in layers:
        layer = network.layers[i]
        values = layer.parameters() | layer.running()
        if not values:
            continue
        print(f"\nlayers[{i}] {common.plain(repr(layer), 90)}")
        # what comes in are the table's columns as long as layers take each by itself
        first = not any(before.parameters() for before in network.layers[:i])
        for line in _weights(values, names if first else None):
            print(line)
    return 0


def _weights(values: dict[str, np.ndarray], names: list[str] | None) -> Iterator[str]:
    """Lines that show the arrays of a layer: a table if all are small, else a line for each."""
    shapes = [array.shape for array in values.values()]
    width = shapes[0][-1]
    small = all(len(s) <= 2 and s[-1] == width and s[0] <= MOST_ROWS for s in shapes)
    if all(len(shape) == 1 for shape in shapes) and small:  # a row for each column that comes in
        heads = names if names and len(names) == width else [str(j) for j in range(width)]
        yield from _table(
            ["", *values], zip(heads, zip(*values.values(), strict=True), strict=True)
        )
    elif small and width <= MOST_COLUMNS:
        rows: list[tuple[str, Iterable[float]]] = []
        for name, array in values.items():
            heads = [name]
            if array.ndim == 2:
                known = names if names and len(names) == len(array) else range(len(array))
                heads = [f"{name} {head}" for head in known]
            rows += zip(heads, array.reshape(len(heads), -1), strict=True)
        yield from _table(["", *map(str, range(width))], rows)
    else:
        for name, array in values.items():
            yield f"{name} {array.shape}: {_spread(array)}"


def _table(top: list[str], rows: Iterable[tuple[str, Iterable[float]]]) -> Iterator[str]:
    return cells.as_text(
        [top, *((common.plain(h, 24), *(f"{v:.4g}" for v in values)) for h, values in rows)]
    )


def _spread(array: np.ndarray) -> str:
    """Mean, standard deviation, extremes, zeros, and a histogram of ten bins."""
    values = array.astype(np.float64).ravel()
    if not np.isfinite(values).all():
        return f"{np.count_nonzero(~np.isfinite(values)):,} numbers are not finite"
    counts, _ = np.histogram(values, bins=10)
    bars = "".join(" .:-=+*#%@"[-(-9 * n // counts.max())] for n in counts)
    zeros = np.mean(values == 0)
    return (
        f"mean {values.mean():.4g}, std {values.std():.4g}, {values.min():.4g} [{bars}] "
        f"{values.max():.4g}{f', {zeros:.1%} zeros' if zeros else ''}"
    )
