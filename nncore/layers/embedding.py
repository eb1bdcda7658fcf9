"""Learned vectors for tokens."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..data import slices
from .base import Layer, Step, copy_into
from .dense import positive_int

MOST_COLUMNS = 1 << 16


class Embedding(Layer):
    """Replace whole numbers by learned vectors: a row of a table for each. The first layer only.

    Parameters
    ----------
    n_tokens : int
        Tokens are 0 .. n_tokens - 1; at most 2^24 of them in float32.
    dim : int
        Length of the vector of each.
    columns : dict of int to tuple (n_tokens, dim), optional
        Instead of the two: the columns of X that hold tokens, each with a table of its own. The
        other columns are numbers and go on as they are, in their places.
    trainable : bool, default True
        Whether training changes the tables.
    lr_scale : float, default 1.0
        Multiplies the learning rate of this layer.

    Attributes
    ----------
    trainable, lr_scale
        As above; they may be changed in ``net.layers`` at any time.
    E : numpy.ndarray, shape (n_tokens, dim), or dict of int to numpy.ndarray
        The table, or that of each column: writable views of ``net.theta``; only in ``net.layers``.
        They start as standard normal numbers. No weight decay touches them.

    Notes
    -----
    X is (n_rows, n_columns), of an integer dtype or of floats with whole values; there are
    ``n_columns * dim`` outputs. Gradients of a token that occurs more than once are added in the
    order of the rows.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(3, nncore.Embedding(50, 4), nncore.Dense(1), seed=0)
    >>> net.predict([[3, 49, 3]]).shape
    (1, 1)
    >>> mixed = nncore.Embedding(columns={0: (7, 2)})  # the weekday; 5 numbers follow
    >>> net = nncore.Network(6, mixed, nncore.Dense(1), seed=0)
    >>> net.layers[1].W.shape
    (7, 1)
    """

    first_only = True
    bends = True
    settable = ("trainable", "lr_scale")
    n_tokens: int | Any  # None where each column has its own
    dim: int | Any
    columns: dict[int, tuple[int, int]] | None

    def __init__(
        self, n_tokens: int | None = None, dim: int | None = None, *,
        columns: Mapping[int, tuple[int, int]] | None = None,
        trainable: bool = True, lr_scale: float = 1.0,
    ) -> None:  # fmt: skip
        self.trainable, self.lr_scale = trainable, lr_scale
        if columns is None:
            if n_tokens is None or dim is None:
                raise ValueError(
                    "Embedding needs n_tokens and dim, such as Embedding(50, 4), or columns, such "
                    f"as columns={{0: (50, 4)}}; got n_tokens={n_tokens!r} and dim={dim!r}"
                )
            self.n_tokens = positive_int(n_tokens, "n_tokens of Embedding")
            self.dim = positive_int(dim, "dim of Embedding")
            self.columns = None
            return
        if n_tokens is not None or dim is not None:
            raise ValueError("Embedding takes n_tokens and dim, or columns, not both")
        if not isinstance(columns, Mapping) or not columns:
            raise ValueError(
                "columns of Embedding must be a dict such as {3: (n_tokens, dim)}, got "
                f"{columns!r}"
            )
        self.n_tokens = self.dim = None
        self.columns = dict(sorted(_column(*item) for item in columns.items()))

    def __repr__(self) -> str:
        if self.columns is None:
            return f"Embedding({self.n_tokens}, {self.dim}{self._shown_settings()})"
        return f"Embedding(columns={self.columns!r}{self._shown_settings()})"

    def _check_columns(self, n_in: int) -> None:
        if n_in > MOST_COLUMNS:
            raise ValueError(f"Embedding takes at most {MOST_COLUMNS} columns, not {n_in}")
        if self.columns is not None and max(self.columns) >= n_in:
            raise ValueError(
                f"{self!r} names column {max(self.columns)}, but there are {n_in} columns: the "
                f"last is {n_in - 1}."
            )

    def n_outputs(self, n_in: int) -> int:
        self._check_columns(n_in)
        if self.columns is None:
            return n_in * self.dim
        return n_in - len(self.columns) + sum(dim for _, dim in self.columns.values())

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        self._check_columns(n_in)
        if self.columns is None:
            return {"E": (self.n_tokens, self.dim)}
        return {f"E{column}": shape for column, shape in self.columns.items()}

    def lower(self, n_in: int, offset: int) -> list[Step]:
        self._check_columns(n_in)
        if self.columns is None:
            columns = [(self.n_tokens, self.dim, 0)] * n_in
        else:
            columns, table = [(0, 1, 0)] * n_in, 0
            for column, (n_tokens, dim) in self.columns.items():
                columns[column] = (n_tokens, dim, table)
                table += n_tokens * dim
        return [
            Step(
                "embedding", n_in, self.n_outputs(n_in), w=offset, other=self.n_params(n_in),
                columns=tuple(columns),
            )
        ]  # fmt: skip

    @property
    def E(self) -> np.ndarray | dict[int, np.ndarray]:
        tables = self.parameters()
        if self.columns is None:
            return tables["E"]
        return {column: tables[f"E{column}"] for column in self.columns}

    @E.setter
    def E(self, value: "ArrayLike") -> None:
        if self.columns is not None:
            raise AttributeError("each column has its table: set net.layers[0].E[column][...]")
        copy_into(self.parameters()["E"], value, "E")

    def initialize(self, rng: "np.random.Generator") -> None:
        for table in self.parameters().values():
            table[...] = rng.standard_normal(table.shape)

    def bind(self, n_in: int, theta: np.ndarray, running: np.ndarray) -> Layer:
        exact = 1 << (np.finfo(theta.dtype).nmant + 1)
        sizes = [self.n_tokens] if self.columns is None else [n for n, _ in self.columns.values()]
        if max(sizes) > exact:
            raise ValueError(
                f'{theta.dtype} holds {exact} tokens, not {max(sizes)}. Use dtype="float64".'
            )
        return super().bind(n_in, theta, running)

    def check_inputs(self, X: np.ndarray, name: str) -> None:
        for rows in slices(X):
            block = X[rows]
            if self.columns is None:
                self._check_tokens(block, rows.start, 0, self.n_tokens, name)
            else:
                for column, (n_tokens, _) in self.columns.items():
                    one = block[:, column : column + 1]
                    self._check_tokens(one, rows.start, column, n_tokens, name)

    def tokens(self, X: np.ndarray) -> list[int]:
        return list(range(X.shape[1]) if self.columns is None else self.columns)

    def _check_tokens(
        self, X: np.ndarray, first_row: int, first: int, n_tokens: int, name: str
    ) -> None:
        good = (X >= 0) & (X < n_tokens) & (X == np.floor(X))
        if not good.all():
            row, column = np.argwhere(~good)[0]
            raise ValueError(
                f"{name} has {X[row, column]:g} at row {first_row + row}, column {first + column}, "
                f"which is no token of {self!r}: those are the whole numbers 0 .. {n_tokens - 1}."
            )

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"type": "embedding"}
        if self.columns is None:
            config |= {"n_tokens": self.n_tokens, "dim": self.dim}
        else:
            config["columns"] = [[column, *shape] for column, shape in self.columns.items()]
        return config | self.settings()

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> "Embedding":
        if "columns" in arguments:
            columns = {column: tuple(shape) for column, *shape in arguments["columns"]}
            arguments = arguments | {"columns": columns}
        return cls(**arguments)


def _column(column: Any, shape: Any) -> tuple[int, tuple[int, int]]:
    """One item of columns, checked."""
    try:
        number = -1 if isinstance(column, (bool, np.bool_)) else operator.index(column)
        n_tokens, dim = shape
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise ValueError(
            "columns of Embedding must be a dict of the number of a column to (n_tokens, dim), got "
            f"{column!r}: {shape!r}"
        )
    what = f"of column {number} of Embedding"
    return number, (positive_int(n_tokens, f"n_tokens {what}"), positive_int(dim, f"dim {what}"))
