"""What ``nncore train`` says at the end."""

from argparse import Namespace

from ..tables import count
from . import common, scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np

    from ..columns import Columns
    from ..network import Network
    from .survey import Data
    from .train import Course


def write(
    network: "Network", data: "Data", train: "np.ndarray", held: "np.ndarray", run: "Course",
    options: Namespace,
) -> None:  # fmt: skip
    """Print what was trained on what, how it ended, and how good it is."""
    columns = data.columns
    print(f"{common.plain(data.name)}: {count(len(data.X), 'row')}, {_inputs(columns)}")
    print(f"target: {_target(columns)}")
    print(
        f"network: {_shape(network)}, {network.n_params:,} parameters of {network.dtype}, loss "
        f"{network.loss.name}, optimizer {options.optimizer}"
    )
    print(f"training: {count(len(train), 'row')}, {_end(run)}")
    usual = scores.usual(columns, data.y[train])
    parts = {"training": train} | ({"held out": held} if len(held) else {})
    found = {
        name: scores.scores(network, columns, data.X[rows], data.y[rows], options.threads, usual)
        for name, rows in reversed(parts.items())
    }
    print()
    for line in scores.lines(found, columns, usual):
        print(line)
    print()
    if scores.useless(next(iter(found.values()))):
        print("no better than always the same answer: nothing was learned that serves\n")
    if options.output:
        what = "best network so far" if run.stopping and run.interrupted else "network"
        where = common.plain(options.output, 200)
        print(f"{'interrupted: ' * run.interrupted}{what} saved as {where}")
    else:
        print(f"{'interrupted; ' * run.interrupted}not saved: -o model.safetensors does that")


def _inputs(columns: "Columns") -> str:
    words = sum(column.categories is not None for column in columns.inputs)
    text = count(len(columns.inputs), "input")
    if words:
        text += f", {words} of them words with {columns.width - len(columns.inputs) + words}"
        text += " categories"
    return text


def _target(columns: "Columns") -> str:
    if columns.classes is None:
        return ", ".join(common.plain(t.name) for t in columns.targets[:10]) + " (numbers)"
    shown = ", ".join(common.plain(c, 20) for c in columns.classes[:8])
    more = ", ..." if len(columns.classes) > 8 else ""
    return f"{common.plain(columns.targets[0].name)}, {len(columns.classes)} classes: {shown}{more}"


def _shape(network: "Network") -> str:
    from .. import Dense

    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    sizes = "-".join(str(n) for n in (network.n_in, *(layer.n_out for layer in dense)))
    return f"{sizes} {dense[0].activation}" if len(dense) > 1 else sizes


def _end(run: "Course") -> str:
    text = count(run.epochs, "epoch")
    best = run.stopping.best_epoch if run.stopping else None
    if run.history is None:
        text += ", interrupted"
    elif best is not None and run.stopping and run.stopping.stopped_epoch:
        text += f", the last {run.epochs - 1 - best} no better"
    elif run.history.stop_reason != "epochs":
        text += f", ended by: {run.history.stop_reason}"
    if best is not None:
        text += f"; the network is that of epoch {best + 1}"
    return text
