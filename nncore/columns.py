"""What the columns of a table are, as a model remembers them, and rows of a file as its numbers."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from reprlib import repr as short
from typing import Any, NamedTuple

import numpy as np

from . import tables
from .files import FileFormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .network import Network

__all__ = ["Columns", "Input", "Target"]

MOST_TEXT = 400_000  # characters of a description, which has to fit into the header of a file


class Input(NamedTuple):
    """A column of inputs: numbers, or words as one number 0 or 1 for each of the categories.

    `fill` is what an empty cell counts as, None where it is an error; of categories it is 0: none.
    """

    name: str
    categories: tuple[str, ...] | None = None
    fill: float | None = None

    @property
    def width(self) -> int:
        """How many numbers of a row it is."""
        return 1 if self.categories is None else len(self.categories)


class Target(NamedTuple):
    """A column of targets: numbers, or classes, which are all words or all integers."""

    name: str
    classes: tuple[str, ...] | tuple[int, ...] | None = None


class Columns:
    """The columns of a table that a network was made for: ``network.columns``.

    Parameters
    ----------
    inputs : sequence of Input
    targets : sequence of Target
        One, or several of numbers.

    Names that are the numbers 0, 1, ... are places in a table without names.

    Examples
    --------
    >>> columns = Columns([Input("size"), Input("color", ("blue", "red"))], [Target("price")])
    >>> columns.labels
    ['size', 'color=blue', 'color=red']
    >>> columns.width, columns.classes is None  # numbers of a row; what is told are numbers, too
    (3, True)
    >>> Columns.from_json(columns.to_json()).inputs == columns.inputs
    True
    """

    most = tables.MOST_SIZE  # of a number
    counts: tuple[int, ...] = ()  # how many columns a table may have, if only so many

    def __init__(self, inputs: Iterable[Input], targets: Iterable[Target]):
        self.inputs, self.targets = tuple(inputs), tuple(targets)

    @classmethod
    def of(cls, network: "Network") -> "Columns":
        """Return those of a network, or if it knows none, numbers in order."""
        if network.columns is not None:
            return network.columns
        n = network.n_in
        classes = tuple(range(network.n_out)) if network.loss.name == "cross_entropy" else None
        n_targets = 1 if classes else network.n_out // network.loss.per_target
        targets = [Target(str(n + j), classes) for j in range(n_targets)]
        columns = cls([Input(str(j)) for j in range(n)], targets)
        columns.counts = (n, n + n_targets, n + network.n_out)
        return columns._sized(network)

    def _sized(self, network: "Network") -> "Columns":
        self.most = min(tables.MOST_SIZE, float(np.finfo(network.dtype).max))
        return self

    @property
    def width(self) -> int:
        """How many numbers a row of inputs is."""
        return sum(column.width for column in self.inputs)

    @property
    def classes(self) -> tuple[str, ...] | tuple[int, ...] | None:
        """The classes of the target, in the order of the outputs; None of numbers."""
        return self.targets[0].classes

    @property
    def numbered(self) -> bool:
        """Whether the columns have places instead of names."""
        return all(name.isascii() and name.isdigit() for name in self._names())

    @property
    def labels(self) -> list[str]:
        """A name for each of the numbers that a row is."""
        return [
            c.name if category is None else f"{c.name}={category}"
            for c in self.inputs
            for category in c.categories or (None,)
        ]

    def _names(self, targets: bool = True) -> list[str]:
        names = [column.name for column in self.inputs]
        return names + [target.name for target in self.targets] if targets else names

    # ---- rows of files ----

    def find(self, table: tables.Csv, targets: bool = False) -> list[int]:
        """Return where the columns are in a table: the inputs, then on request the targets."""
        wanted = self._names(targets)
        if self.numbered:
            if table.columns == len(wanted):
                return list(range(table.columns))
            least = 1 + max(int(name) for name in wanted)
            if table.columns < least or self.counts and table.columns not in self.counts:
                raise FileFormatError(
                    f"{table.name} has {tables.count(table.columns, 'column')}; the model, which "
                    f"knows no names, expects {tables.count(len(self.inputs), 'input')}, with or "
                    "without the target behind them"
                )
            names = list(map(str, range(table.columns)))
        elif table.names is None:
            raise FileFormatError(
                f"{table.name} has no names of columns in its first line; the model finds "
                f"{_listed(wanted)} by name"
            )
        else:
            names = table.names
        missing = [name for name in wanted if name not in names]
        if missing:
            raise FileFormatError(
                f"{table.name} lacks {_listed(missing)}, which the model needs; it has "
                f"{_listed(names)}"
            )
        twice = [name for name in wanted if names.count(name) > 1]
        if twice:
            raise FileFormatError(f"{table.name} has several columns {_listed(twice[:1])}")
        return [names.index(name) for name in wanted]

    def blocks(
        self, table: tables.Csv, *, targets: bool = False, unknown: str = "error"
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield inputs and targets of a table, some rows at a time.

        Parameters
        ----------
        table : Csv
        targets : bool, default False
            Whether the targets are needed; else they are None.
        unknown : {"error", "ignore"}
            A word that is none of the categories: an error, or none of them.

        Raises
        ------
        FileFormatError
            With the line and the column of what is wrong.
        """
        places = self.find(table, targets)
        split = len(self.inputs)
        for block in table.blocks():
            block = block._replace(most=self.most)
            X = np.zeros((len(block.lines), self.width))
            at = 0
            for column, j in zip(self.inputs, places[:split], strict=True):
                into = X[:, at : at + column.width]
                (_numbers if column.categories is None else _one_hot)(
                    into, column, block, j, unknown
                )
                at += column.width
            yield X, self._targets(block, places[split:]) if targets else None

    def _targets(self, block: tables.Block, places: list[int]) -> np.ndarray:
        if self.classes is not None:
            return _labels(self.classes, block, places[0])
        y = np.stack([block.numbers(j) for j in places], axis=1)
        for i, k in np.argwhere(np.isnan(y))[:1]:
            raise block.error(i, places[k], "the target is missing")
        return y

    def read(
        self, path: str | os.PathLike[str], header: bool | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return all inputs and targets of a CSV file, as `nncore.Network.evaluate` takes them.

        Parameters
        ----------
        path : str or os.PathLike
            "-" is standard input.
        header : bool, optional
            Whether the first line has names; by default it is found out.

        Returns
        -------
        X : ndarray of float64, (n_rows, width)
        y : ndarray
            Of classes int64, (n_rows,), their places in `classes`; of numbers float64,
            (n_rows, n_targets).

        Raises
        ------
        FileFormatError
            With the line and the column of what is wrong.

        Examples
        --------
        >>> import tempfile
        >>> columns = Columns([Input("color", ("blue", "red"))], [Target("kind", ("a", "b"))])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/d.csv", "w") as file:
        ...         print("kind,color\\nb,red\\na,blue", file=file)
        ...     columns.read(f"{folder}/d.csv")
        (array([[0., 1.],
               [1., 0.]]), array([1, 0]))
        """
        with tables.open_csv(path, header) as table:
            parts = list(self.blocks(table, targets=True))
            if not parts:
                raise FileFormatError(f"{table.name} has a header and no rows")
        X, y = (np.concatenate(part) for part in zip(*parts, strict=True))
        return X, y

    def of_arrays(self, X: np.ndarray, y: np.ndarray | None, name: str) -> tuple[np.ndarray, Any]:
        """Return arrays of the columns' numbers, such as an NPZ file has, as `read` returns them.

        Parameters
        ----------
        X : ndarray, (n_rows, n_inputs)
            NaN is what an empty cell is in a file.
        y : ndarray, (n_rows,) or (n_rows, n_targets), or None
        name : str
            What errors begin with.

        Raises
        ------
        ValueError
            If they do not fit.

        Examples
        --------
        >>> columns = Columns([Input("size", fill=7.0)], [Target("kind", (3, 5))])
        >>> columns.of_arrays(np.array([[1.0], [np.nan]]), np.array([5, 3]), "flats")
        (array([[1.],
               [7.]]), array([1, 0]))
        """
        if any(column.categories for column in self.inputs):
            raise ValueError(f"{name}: the model has columns of words, which only CSV has")
        if X.ndim != 2 or X.shape[1] != len(self.inputs):
            raise ValueError(
                f"{name}: the model has {len(self.inputs)} inputs, got X of shape {X.shape}"
            )
        X = X.astype(np.float64)
        for i, j in np.argwhere(np.abs(X) > self.most)[:1]:
            raise ValueError(
                f"{name}: expected numbers up to {self.most:.3g}, got {X[i, j]:g} in row {i}, "
                f"column {j}"
            )
        gaps = np.isnan(X)
        for i, j in np.argwhere(gaps)[:1]:
            if self.inputs[j].fill is None:
                raise ValueError(f"{name}: X has NaN in row {i}, column {j}")
        X[gaps] = np.array([c.fill for c in self.inputs], float)[np.nonzero(gaps)[1]]
        if y is None:
            return X, None
        if y.shape not in ((len(X),), (len(X), len(self.targets))):
            raise ValueError(f"{name}: expected {len(X)} rows of targets, got y of shape {y.shape}")
        if self.classes is None:
            return X, y.reshape(len(X), -1).astype(np.float64)
        codes = _codes(y.reshape(-1).tolist(), self.classes)
        for i in np.flatnonzero(codes < 0)[:1]:
            raise ValueError(
                f"{name}: y has {y.reshape(-1)[i]} in row {i}, which is none of the model's "
                f"classes: {_listed(self.classes)}"
            )
        return X, codes

    # ---- in a file ----

    def to_json(self) -> str:
        """Return a description for `from_json`; ValueError if it is too long for a file."""
        text = json.dumps(
            {"inputs": list(map(_plain, self.inputs)), "targets": list(map(_plain, self.targets))},
            ensure_ascii=False, allow_nan=False,
        )  # fmt: skip
        if len(text.encode("utf-8", "surrogatepass")) > MOST_TEXT:
            raise ValueError(
                f"names and categories take more than {MOST_TEXT:,} bytes, which a model file does "
                "not hold; leave out columns of many different words with --ignore"
            )
        return text

    @classmethod
    def from_json(cls, text: str) -> "Columns":
        """Return what `to_json` described; ValueError if it is no such description."""
        found = json.loads(text, parse_constant=_refuse)
        if type(found) is not dict or found.keys() != {"inputs", "targets"}:
            raise ValueError("columns are not inputs and targets")
        inputs = [Input(**_checked(c, "categories", "fill")) for c in _list(found["inputs"])]
        targets = [Target(**_checked(c, "classes")) for c in _list(found["targets"])]
        columns = cls(inputs, targets)
        if len(set(columns._names())) < len(inputs) + len(targets):
            raise ValueError("two columns have the same name")
        if len(targets) > 1 and any(target.classes for target in targets):
            raise ValueError("classes, and several targets")
        return columns

    def check(self, network: "Network") -> "Columns":
        """Return self if a network fits to these columns, else raise ValueError."""
        wanted = len(self.targets) * network.loss.per_target
        if self.classes is not None:
            wanted = 1 if len(self.classes) == 2 and network.n_out == 1 else len(self.classes)
        if (network.n_in, network.n_out) != (self.width, wanted):
            raise ValueError(
                f"columns of {self.width} inputs and {wanted} outputs, and a network of "
                f"{network.n_in} and {network.n_out}"
            )
        return self._sized(network)


def _labels(classes: tuple[str, ...] | tuple[int, ...], block: tables.Block, j: int) -> np.ndarray:
    values = block.words(j) if isinstance(classes[0], str) else block.numbers(j).tolist()
    codes = _codes(values, classes)
    for i in np.flatnonzero(codes < 0).tolist()[:1]:
        cell = block.cells[j][i].strip()
        got = f"{short(cell)} is none" if cell else "the target is missing, expected one"
        raise block.error(i, j, f"{got} of the model's classes: {_listed(classes)}")
    return codes


def _numbers(into: np.ndarray, column: Input, block: tables.Block, j: int, unknown: str) -> None:
    values = block.numbers(j)
    gaps = np.isnan(values)
    if gaps.any():
        if column.fill is None:
            raise block.error(int(gaps.argmax()), j, "expected a number, got an empty cell")
        values[gaps] = column.fill
    into[:, 0] = values


def _one_hot(into: np.ndarray, column: Input, block: tables.Block, j: int, unknown: str) -> None:
    words, categories = block.words(j), column.categories or ()
    codes = _codes(words, categories)
    rows = np.flatnonzero(codes >= 0)
    into[rows, codes[rows]] = 1
    for i in np.flatnonzero(codes < 0).tolist():
        if not words[i] and column.fill is None:
            raise block.error(i, j, "expected a category, got an empty cell")
        if words[i] and unknown == "error":
            raise block.error(
                i, j, f"{short(words[i])} is none of the model's categories: "
                f"{_listed(categories)}",
            )  # fmt: skip


def _codes(values: Iterable[object], known: Iterable[object]) -> np.ndarray:
    """The place of each value in `known`, -1 where it is not there."""
    places = {value: k for k, value in enumerate(known)}
    return np.array([places.get(value, -1) for value in values], np.int64)


def _listed(values: Sequence[object], most: int = 10) -> str:
    more = f", ... ({len(values)})" if len(values) > most else ""
    return ", ".join(short(value) for value in values[:most]) + more


# ---- descriptions, in which nothing is trusted ----


def _plain(column: Input | Target) -> dict[str, Any]:
    return {key: value for key, value in column._asdict().items() if value is not None}


def _list(found: Any) -> list[Any]:
    if type(found) is not list or not found:
        raise ValueError("columns are not a list of descriptions")
    return found


def _checked(found: dict[str, Any], words: str, fill: str | None = None) -> dict[str, Any]:
    """The arguments of a column."""
    if type(found) is not dict or not found.keys() <= {"name", words, fill}:
        raise ValueError(f"{short(found)} does not describe a column")
    if type(found["name"]) is not str:
        raise ValueError(f"{short(found['name'])} is no name of a column")
    if words in found:
        values = _list(found[words])
        kinds = {type(value) for value in values}
        if kinds != {str} and (kinds != {int} or fill) or len(set(values)) < len(values):
            raise ValueError(f"{short(values)} are no {words}")
        found = found | {words: tuple(values)}
    if fill in found:
        value = found[fill]
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"{short(value)} is no number for empty cells")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of a column")
