"""``nncore train``: a network for a table."""

import argparse
import math
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import names
from . import common, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..callbacks import EarlyStopping
    from ..columns import Columns
    from ..history import History
    from ..layers import Layer
    from ..network import Network
    from .survey import Data

_LOSSES = {
    "classification": ("cross_entropy", "binary_cross_entropy", "focal"),
    "regression": (
        "mse", "half_mse", "mae", "huber", "smooth_l1", "log_cosh", "quantile",
    ),
}  # fmt: skip

_TRAIN = """
Train a network to tell one column of a table, or several, from the others, and save it with all
that is needed to use it: what the columns are, their categories, and how they are scaled.

The task follows from the target: words, or at most 20 different whole numbers with 5 rows each,
are classes; other numbers are told as numbers. Inputs are numbers, or words, which become one
number 0 or 1 for each different word. Inputs and numeric targets are scaled inside the network.
A part of the rows is held out: training ends when their loss has become no better for a while,
and the network is that of the best epoch.
"""
_END = """
the data file:
  CSV: in UTF-8, a line for each sample, separated by commas, semicolons or tabs, names of the
  columns in the first line (otherwise columns are called 0, 1, ...); "-" is standard input.
  NPZ: arrays of numbers X, (rows, inputs), and y, or as --x and --y say. No pickle is read.
  All rows are held in memory.

examples:
  nncore train flowers.csv --target species -o flowers.safetensors
  nncore train houses.csv --target price --ignore id --categorical zip -o houses.safetensors
  nncore train houses.csv --target price --layers 64,32 --activation relu --holdout 0.1 --seed 1
  zcat big.csv.gz | nncore train - --target y --missing drop -o big.safetensors

The summary goes to standard output, progress and notes to standard error. Ctrl-C ends the
training; the best network so far is saved.

exit status: 0 done; 1 interrupted, with the best so far saved; 2 for an error
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the subparsers of ``nncore``."""
    parser = common.add_parser(
        commands, "train", _train, "make a network for a table: CSV or NPZ", _TRAIN, _END
    )
    common.add_data(parser.add_argument)
    add = parser.add_argument
    add("-o", "--output", type=Path, metavar="FILE",
        help="where to save the network, as model.safetensors (default: nowhere)")  # fmt: skip
    add("-q", "--quiet", action="store_true", help="no progress and no notes")

    add = parser.add_argument_group("what the columns are").add_argument
    add("--task", choices=tuple(_LOSSES), help="(default: follows from the target)")
    add("--categorical", action="append", default=[], metavar="COLUMN",
        help="a column of categories, though it has numbers or many words; repeatable")  # fmt: skip
    add("--numeric", action="append", default=[], metavar="COLUMN",
        help="a column of numbers: a word in it is an error; repeatable")  # fmt: skip
    add("--ignore", action="append", default=[], metavar="COLUMN",
        help="a column to leave out; repeatable")  # fmt: skip
    add("--missing", choices=("drop", "mean"),
        help="rows with empty cells (or NA, nan, null, ? among numbers): leave them out, or take "
        "the column's mean, or none of the categories, as the model then does in prediction, too; "
        "rows without a target are left out (default: an error)")  # fmt: skip

    add = parser.add_argument_group("the network").add_argument
    add("--layers", type=_layers, default=(32, 32), metavar="N,N,...",
        help='units of the hidden layers, or "none" (default: 32,32)')  # fmt: skip
    add("--activation", default="tanh", help="of the hidden layers (default: tanh)")
    add("--loss", choices=sum(_LOSSES.values(), ()), metavar="LOSS",
        help="classification: cross_entropy (the default), for two classes also "
        "binary_cross_entropy, focal; regression, of scaled targets: mse (the default), "
        + ", ".join(_LOSSES["regression"][1:]))  # fmt: skip
    add("--dtype", choices=("float32", "float64"),
        help="of weights and arithmetic (default: float32, or float64 where a column needs it, "
        "such as one of seconds since 1970)")  # fmt: skip

    add = parser.add_argument_group("training").add_argument
    add("--optimizer", default="adam", metavar="NAME",
        help='any of nncore.Network, such as sgd, adamw, or "lbfgs", "scg" and "lm", which look at '
        "all rows at once (default: adam)")  # fmt: skip
    add("--learning-rate", type=_positive, metavar="RATE",
        help="(default: 0.003 of adam, otherwise the optimizer's own)")  # fmt: skip
    add("--epochs", type=common.count, metavar="N",
        help="at most (default: some 20,000 updates, at least 200 epochs; without rows held out a "
        "quarter of that; 500 with an optimizer for all rows)")  # fmt: skip
    add("--batch-size", type=common.count, metavar="N",
        help="rows of an update (default: a hundredth of the rows, from 8 to 256)")  # fmt: skip
    add("--holdout", type=_share, default=0.2, metavar="SHARE",
        help="of the rows, of each class, for early stopping and the scores; 0: none "
        "(default: 0.2)")  # fmt: skip
    add("--patience", type=common.count, metavar="N",
        help="epochs without a better loss of the rows held out, until training ends (default: "
        "some 500 updates, at least 10 epochs; 20 with an optimizer for all rows)")  # fmt: skip
    add("--seed", type=int, default=0, help="of the rows held out and all that is drawn "
        "(default: 0; the same seed gives the same network)")  # fmt: skip
    add("--threads", type=common.count, metavar="N", help="at most (default: as many as serve)")


def _train(options: Namespace) -> int:
    common.check_outputs(options, options.output)
    data = _read(options)
    if not options.quiet:
        for note in data.notes:
            print(f"{options.prog}: note: {note}", file=sys.stderr)
    train, held = _divide(data, options)
    network = _network(data, train, options)
    run = _fit(network, data, train, held, options)
    if options.output:
        network.save(options.output)
    report.write(network, data, train, held, run, options)
    return int(run.interrupted)


def _read(options: Namespace) -> "Data":
    from . import survey

    if options.seed < 0:
        raise ValueError(f"--seed must be at least 0, got {options.seed}")
    chosen = {"missing": options.missing, "task": options.task}
    if common.is_npz(options):
        if options.categorical or options.numeric or options.ignore:
            raise ValueError("--categorical, --numeric and --ignore are for CSV files")
        return survey.read_npz(options.data, x=options.x or "X", y=options.y or "y", **chosen)
    return survey.read_csv(
        options.data, header=options.header, target=options.target, numeric=options.numeric,
        categorical=options.categorical, ignore=options.ignore, **chosen,
    )  # fmt: skip


def _divide(data: "Data", options: Namespace) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the rows to train on, and of those held out."""
    from ..splitting import held_out

    rows, share = len(data.X), options.holdout
    if not share:
        return np.arange(rows), np.arange(0)
    if not 0 < round(share * rows) < rows:
        raise ValueError(
            f"--holdout {share:g} of {rows} rows leaves none on one side; give another share, or 0"
        )
    classes = data.y if data.columns.classes else np.zeros(rows, np.int64)
    held = held_out(share, classes, None, np.random.default_rng(options.seed))
    return np.setdiff1d(np.arange(rows), held), held


def _network(data: "Data", train: np.ndarray, options: Namespace) -> "Network":
    """The network, scaled as the rows of training are; empty cells of `data` are filled."""
    from .. import Dense, Network, Scaling
    from ..optimizers import as_optimizer

    columns = data.columns
    if options.missing == "mean":
        columns = _fill(data, train)
    of_inputs = Scaling.of(data.X[train])
    mean = np.where(data.scaled, np.asarray(of_inputs.mean), 0.0)
    scale = np.where(data.scaled, np.asarray(of_inputs.scale), 1.0)
    hidden = [Dense(n, options.activation) for n in options.layers]
    task = "classification" if columns.classes else "regression"
    loss = options.loss or _LOSSES[task][0]
    names.look_up(f"loss of a {task}", loss, _LOSSES[task])
    ends: list[Layer] = []
    width = data.y.shape[-1]
    if columns.classes is None:
        of_targets = Scaling.of(data.y[train])
        ends = [Dense(width), of_targets.inverse()]
        mean = np.append(mean, np.asarray(of_targets.mean))
        scale = np.append(scale, np.asarray(of_targets.scale))
    elif loss == "cross_entropy":
        ends = [Dense(len(columns.classes), "softmax")]
    elif len(columns.classes) == 2:
        ends = [Dense(1, "sigmoid")]
    else:
        raise ValueError(f"{loss} is for two classes, and there are {len(columns.classes)}")
    n = data.X.shape[1]
    # float32 would leave less than 3 digits, or none
    coarse = (np.abs(mean) > 1e4 * scale).any() or (np.abs(np.log10(scale)) > 30).any()
    coarse |= max(np.abs(data.X).max(), np.abs(data.y).max()) > 1e38
    optimizer = as_optimizer(options.optimizer)
    if options.learning_rate or type(optimizer).__name__ == "Adam":
        if not hasattr(optimizer, "lr"):
            raise ValueError(f"--learning-rate: {options.optimizer} has none")
        optimizer.lr = options.learning_rate or 3e-3
    network = Network(
        n, Scaling(mean=mean[:n], scale=scale[:n]), *hidden, *ends, loss=loss,
        optimizer=optimizer, seed=options.seed,
        dtype=options.dtype or ("float64" if coarse else "float32"),
    )  # fmt: skip
    network.columns = columns.check(network)
    return network


def _fill(data: "Data", train: np.ndarray) -> "Columns":
    """Fill empty cells of numbers with the means of the training rows; return the new columns."""
    from ..columns import Columns

    known = ~np.isnan(data.X)
    rows = known & np.isin(np.arange(len(known)), train)[:, None]
    rows = np.where(rows.any(axis=0), rows, known)
    means = np.mean(data.X, axis=0, where=rows)
    data.X[...] = np.where(known, data.X, means)
    inputs, at = [], 0
    for column in data.columns.inputs:
        inputs.append(column._replace(fill=0 if column.categories else float(means[at])))
        at += column.width
    return Columns(inputs, data.columns.targets)


# ---- training ----


class Course:
    """What became of the training."""

    interrupted = False
    stopping: "EarlyStopping | None" = None
    history: "History | None" = None
    epochs = 0


def _fit(
    network: "Network", data: "Data", train: np.ndarray, held: np.ndarray, options: Namespace
) -> Course:
    """Train; Ctrl-C ends it like any other condition."""
    from ..callbacks import Callback, EarlyStopping

    run = Course()

    class Count(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            run.epochs = epoch + 1

    class Stopping(EarlyStopping):
        def restore(self) -> None:
            self._best.restore(network)

    targets = data.y if network.n_out > 1 else data.y.reshape(len(data.y), 1)
    rows, full = len(train), network.optimizer.full_batch
    size = options.batch_size or 1 << round(math.log2(min(256, max(8, rows / 100))))
    steps = 1 if full else -(-rows // min(size, rows))
    callbacks: list[Callback] = [Count()]
    validation = stopping = None
    if len(held):
        patience = options.patience or (20 if full else max(10, math.ceil(500 / steps)))
        run.stopping = stopping = Stopping(patience=patience, restore_best_weights=True)
        callbacks.append(stopping)
        validation = data.X[held], targets[held]
    epochs = max(200, 20_000 // steps) if len(held) else max(50, 5_000 // steps)
    if full:
        epochs = 500
    try:
        run.history = network.fit(
            data.X[train], targets[train], epochs=options.epochs or epochs,
            batch_size=options.batch_size if full else size, validation_data=validation,
            verbose=not options.quiet, n_threads=options.threads, callbacks=callbacks,
        )  # fmt: skip
    except KeyboardInterrupt:
        run.interrupted = True
        if not run.epochs or (stopping and stopping.best_epoch is None):
            raise KeyboardInterrupt("before the first epoch was over; nothing is saved") from None
        if stopping:
            stopping.restore()
    return run


# ---- arguments ----


def _layers(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    try:
        return tuple(common.count(n) for n in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected numbers as 32,16, or none; got {text!r}"
        ) from None


def _positive(text: str) -> float:
    return _number(text, lambda value: 0 < value < math.inf, "a positive number")


def _share(text: str) -> float:
    return _number(text, lambda value: 0 <= value < 1, "a number from 0 to below 1")


def _number(text: str, is_good: Callable[[float], bool], wanted: str) -> float:
    try:
        if is_good(value := float(text)):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
