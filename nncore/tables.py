"""Data files that a command is given: CSV with the standard library, NPZ with NumPy.

Nothing in a file is trusted or executed. A line may have `MOST_LINE` bytes, and a file
`MOST_NUMBERS` numbers; reading takes some 18 bytes of memory for each of them, and one line.
"""

import contextlib
import csv
import itertools
import math
import os
import re
import sys
import zipfile
from array import array
from collections.abc import Iterable, Iterator
from reprlib import repr as short
from typing import IO, Any, NamedTuple

import numpy as np

from .files import FileFormatError

MOST_NUMBERS = 1 << 27  # a gigabyte
MOST_LINE = 1 << 22
MOST_CELLS = 1 << 16  # of a block
MOST_SIZE = 1e150  # of a number: its square is finite
DECIMAL_COMMA = re.compile(r'\s*"?[-+]?\d+,\d+(e[-+]?\d+)?"?\s*', re.IGNORECASE)
_EXACT = 1 << 53  # the largest label that a float64 holds exactly


def read_csv(
    path: str | os.PathLike[str], *, target: list[str] | None = None, n_inputs: int | None = None,
    n_targets: tuple[int, ...] = (1,), labels: bool = False, header: bool | None = None,
    most: float = MOST_SIZE,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Read inputs and targets from a CSV file of numbers in UTF-8.

    Cells are separated by commas, semicolons or tabs, whichever the first line has most of; quotes
    are as usual, and a cell in quotes may go on in the next line. Empty lines are left out.

    Parameters
    ----------
    path : str or os.PathLike
    target : sequence of str, optional
        The target columns, by name or number: 0 is the first column, -1 the last one. By default
        the last ones: those behind the first `n_inputs`.
    n_inputs : int, optional
        How many columns must be left for X.
    n_targets : tuple of int, default (1,)
        How many target columns there may be.
    labels : bool, default False
        Whether one target column alone holds class labels, which must be integers.
    header : bool, optional
        Whether the first line has names. By default it has where no cell of it is a number.
    most : float, default 1e150
        The largest size of a number.

    Returns
    -------
    X : ndarray of float64, (n_rows, n_inputs)
    y : ndarray, (n_rows,) or (n_rows, n_targets)
        float64; labels are int64.

    Raises
    ------
    FileFormatError
        With the file, line and column of what is wrong.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(f"{folder}/d.csv", "w") as file:
    ...         print("height,weight,kind\\n1.5,2,0\\n1.25,3,1", file=file)
    ...     read_csv(f"{folder}/d.csv", target=["kind"], labels=True)
    (array([[1.5 , 2.  ],
           [1.25, 3.  ]]), array([0, 1]))
    """
    with open_csv(path, header) as file:
        names, columns, name = file.names, file.columns, file.name
        chosen = _targets(target, names, columns, n_inputs, n_targets, name)
        label = chosen[0] if labels and len(chosen) == 1 else None
        table = _numbers(file.rows, names, columns, label, name, most)
    X = table[:, [j for j in range(columns) if j not in chosen]]
    y = table[:, chosen] if len(chosen) > 1 else table[:, chosen[0]].copy()
    return X, y if label is None else y.astype(np.int64)


@contextlib.contextmanager
def open_csv(path: str | os.PathLike[str], header: bool | None = None) -> "Iterator[Csv]":
    """Open a CSV file, or standard input for "-", and read its first line: a context of a `Csv`."""
    name = os.fsdecode(path)
    source: Any = contextlib.nullcontext(sys.stdin.buffer) if name == "-" else open(path, "rb")
    name = "standard input" if name == "-" else name
    with source as file:
        rows = _rows(file, name)
        first = next(rows, None)
        if first is None:
            raise FileFormatError(f"{name} is empty; expected a line for each sample")
        names = _header(first, name, header)
        yield Csv(name, names, len(first[1]), rows if names else itertools.chain([first], rows))


class Csv(NamedTuple):
    """An open CSV file: what its columns are called, if they are, and the rows that are left."""

    name: str
    names: list[str] | None
    columns: int
    rows: Iterator[tuple[int, list[str]]]

    def blocks(self) -> "Iterator[Block]":
        """Yield the rows, some at a time, as a `Block` of columns: memory is bounded."""
        row = 0
        while True:
            lines: list[int] = []
            cells: list[list[str]] = []
            size = 0
            for number, line in self.rows:
                if len(line) != self.columns:
                    raise FileFormatError(
                        f"{self.name}, line {number} (row {row + len(lines)}) has "
                        f"{count(len(line), 'column')}, those before have {self.columns}"
                    )
                lines.append(number)
                cells.append(line)
                size += len(line) + sum(map(len, line)) // 16
                if size >= MOST_CELLS:
                    break
            if not lines:
                return
            yield Block(self, row, lines, list(zip(*cells, strict=True)))
            row += len(lines)


class Block(NamedTuple):
    """Some rows: the first one's number, the lines they stand in, and a tuple for each column."""

    table: Csv
    row: int
    lines: list[int]
    cells: list[tuple[str, ...]]
    most: float = MOST_SIZE

    def numbers(self, j: int) -> np.ndarray:
        """Return column j as numbers, NaN where a cell is empty or says that there is none."""
        cells = self.cells[j]
        found = (math.nan if value is None else value for value in map(as_number, cells))
        values = np.fromiter(found, np.float64, len(cells))
        for i in np.flatnonzero(~(np.abs(values) <= self.most)).tolist():
            if not is_missing(cells[i]) and not np.isnan(as_number(cells[i]) or math.inf):
                raise self.error(i, j, no_number(cells[i], self.most))
        return values

    def words(self, j: int) -> list[str]:
        """Return column j as text."""
        return [cell.strip() for cell in self.cells[j]]

    def error(self, i: int, j: int, what: str) -> FileFormatError:
        """Return the error that says what is wrong with a cell."""
        return FileFormatError(f"{self.place(i, j)}: {what}")

    def place(self, i: int, j: int) -> str:
        """Return where cell i of column j is."""
        names = self.table.names
        called = f" ({short(names[j])})" if names else ""
        return f"{self.table.name}, line {self.lines[i]} (row {self.row + i}), column {j}{called}"


def no_number(cell: str, most: float = MOST_SIZE) -> str:
    """Say what is wrong with a cell that is no number, or one too large."""
    value = as_number(cell)
    limit = "" if value is None or math.isinf(value) else f" up to {most:.3g}"
    return f"expected a number{limit}, got {quoted(cell)}"


def quoted(cell: str) -> str:
    """A cell that is no number, as errors show it."""
    comma = ": write decimal points, not commas" if DECIMAL_COMMA.fullmatch(cell) else ""
    return short(cell) + comma


def is_missing(cell: str) -> bool:
    """Tell whether a cell of numbers has none."""
    return cell.strip().lower() in ("", "na", "n/a", "nan", "null", "?")


def _rows(file: IO[bytes], name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that is not empty, and the number of the line it begins in."""
    delimiter, rows, lines = None, 0, _lines(file, name)
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        rows += 1
        if rows <= 2:  # the header, if there is one, and the first numbers
            _refuse_decimal_commas(line, where)
        delimiter = delimiter or max(",;\t", key=line.count)
        row = itertools.chain([line], _going_on(lines, where))
        try:
            yield number, next(csv.reader(row, delimiter=delimiter, strict=True))
        except csv.Error as error:
            what = f"{error}; is a quote not closed, or not doubled?" if '"' in line else error
            if "\r" in line.rstrip("\r\n"):
                what = "lines have to end in LF or CR LF, not in CR alone"
            raise FileFormatError(f"{where} is not CSV: {what}") from None


def _going_on(lines: Iterator[tuple[int, str]], where: str) -> Iterator[str]:
    """Yield the lines that a quoted cell goes on in: csv.reader asks while a quote is open."""
    left = MOST_LINE
    for _, line in lines:
        left -= len(line)
        if left < 0:
            raise FileFormatError(f"{where} goes on for too long; is a quote not closed?")
        yield line


def _lines(file: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line."""
    for number in itertools.count(1):
        raw = file.readline(MOST_LINE + 1)
        if not raw:
            return
        where = f"{name}, line {number}"
        if number == 1 and raw.startswith((b"PK\3\4", b"\x1f\x8b")):
            kind = "a ZIP or Excel" if raw[:1] == b"P" else "a gzip"
            raise FileFormatError(f"{name} is {kind} file, not CSV text; unpack it or save as CSV")
        if len(raw) > MOST_LINE:
            raise FileFormatError(f"{where} has more than {MOST_LINE:,} bytes; is this a CSV file?")
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            wrong = 0 if "\0" in line else None  # UTF-16 without its mark has no other
        except UnicodeDecodeError as error:
            wrong = error.object[error.start]
        if wrong is not None:
            raise FileFormatError(
                f"{where} is not text in UTF-8 (byte 0x{wrong:02x}); save the file as CSV in UTF-8"
            )
        yield number, line


def _refuse_decimal_commas(line: str, where: str) -> None:
    """In "1,5;2,0" a comma is not what separates columns."""
    cells = re.split("[;\t]", line)
    found = next((cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)), None)
    if found and len(cells) > 1:
        raise FileFormatError(
            f"{where} has {short(found.strip())}, a number with a decimal comma: write decimal "
            "points (in a spreadsheet, save with an English locale)"
        )


def count(n: int, what: str) -> str:
    """A number of things, as people write it."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def as_number(cell: str) -> float | None:
    """The number in a cell, or None."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _header(first: tuple[int, list[str]], name: str, header: bool | None) -> list[str] | None:
    """The names of the columns, or None."""
    number, cells = first
    if header is None:
        words = [cell for cell in cells if cell.strip() and as_number(cell) is None]
        if words and any(as_number(cell) is not None for cell in cells):
            raise FileFormatError(
                f"{name}, line {number} has numbers and {short(words[0])}: say --header if these "
                "are names of columns, --no-header if it is data"
            )
        header = bool(words)
    return [cell.strip() for cell in cells] if header else None


def _targets(
    target: list[str] | None, names: list[str] | None, columns: int, n_inputs: int | None,
    n_targets: tuple[int, ...], name: str,
) -> list[int]:  # fmt: skip
    """The numbers of the target columns."""
    counts = " or ".join(map(str, n_targets))
    if target is None:
        n = n_targets[0] if n_inputs is None else columns - n_inputs
        chosen = list(range(columns - n, columns))
    else:
        chosen = [find_column(t, names, columns, name) for t in target]
        if len(set(chosen)) < len(chosen):
            raise ValueError("a target column is given twice")
        n = len(chosen)
    if n not in n_targets or columns <= n or n_inputs not in (None, columns - n):
        inputs = "at least one column" if n_inputs is None else f"{n_inputs}"
        given = "" if target is None else f", {n} given as target"
        raise FileFormatError(
            f"{name} has {count(columns, 'column')}{given}; expected {inputs} for the "
            f"inputs and {counts} for the target"
        )
    return chosen


def find_column(
    target: str, names: list[str] | None, columns: int, name: str, role: str = "the target"
) -> int:
    """Return the number of a column that is given by its name or its number."""
    found = [j for j, called in enumerate(names or ()) if called == target]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{name} has {len(found)} columns {short(target)}; give its number")
    try:
        return range(columns)[int(target)]
    except (ValueError, IndexError):
        have = f": {', '.join(map(short, names[:10]))}{', ...' * (columns > 10)}" if names else ""
        there = f"its {columns} columns are numbered 0 to {columns - 1}{have}"
        if columns == 1:
            there = f"there is no comma, semicolon or tab in its first line{have}"
        raise ValueError(f"{name} has no column {short(target)} for {role}; {there}") from None


def _numbers(
    rows: Iterable[tuple[int, list[str]]], names: list[str] | None, columns: int,
    label: int | None, name: str, most: float,
) -> np.ndarray:  # fmt: skip
    """All cells as (n_rows, columns); those of the column `label` must be integers."""
    values, row = array("d"), -1
    for row, (number, cells) in enumerate(rows):
        where = f"{name}, line {number} (row {row})"
        if len(cells) != columns:
            raise FileFormatError(
                f"{where} has {count(len(cells), 'column')}, those before have {columns}"
            )
        if len(values) + columns > MOST_NUMBERS:
            raise FileFormatError(f"{where}: at most {MOST_NUMBERS:,} numbers are read; split it")
        numbers: list[Any] = list(map(as_number, cells))
        bad, wanted = None, "a number"
        if None in numbers:
            bad = numbers.index(None)
        elif max(map(abs, numbers)) > most:
            bad = next(j for j in range(columns) if abs(numbers[j]) > most)
            wanted = f"a number up to {most:.3g}"
        elif label is not None:
            value = numbers[label]
            if not (value.is_integer() and abs(value) <= _EXACT):
                bad, wanted = label, "an integer class label"
        if bad is not None:
            got = quoted(cells[bad]) if cells[bad].strip() else "an empty cell"
            called = f" ({short(names[bad])})" if names else ""
            raise FileFormatError(f"{where}, column {bad}{called}: expected {wanted}, got {got}")
        values.extend(numbers)
    if row < 0:
        raise FileFormatError(f"{name} has a header and no rows")
    return np.frombuffer(values).reshape(-1, columns)


def read_npz(
    path: str | os.PathLike[str], *, x: str = "X", y: str = "y", labels: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Read two arrays of real numbers from an NPZ file, without pickle.

    labels: whether a `y` of one column holds class labels: integers, which may be stored as floats.
    """
    X, targets = _arrays(path, (x, y))
    if labels and targets.dtype.kind == "f" and targets.size == len(targets):
        if not ((targets == np.rint(targets)) & (abs(targets) <= _EXACT)).all():  # neither NaN
            raise FileFormatError(f"{os.fsdecode(path)}: {y} must be integer class labels")
        targets = targets.astype(np.int64)
    return X, targets


def read_array(path: str | os.PathLike[str], key: str) -> np.ndarray:
    """Read one array as `read_npz` does."""
    return _arrays(path, (key,))[0]


def _arrays(path: str | os.PathLike[str], keys: tuple[str, ...]) -> list[np.ndarray]:
    name = os.fsdecode(path)
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return [_array(archive, key, name) for key in keys]
        except (FileFormatError, MemoryError):
            raise
        except Exception as error:  # damaged files: zipfile and NumPy promise no kinds
            what = str(error)[:300]
            raise FileFormatError(f"{name} is damaged, or no NPZ file of numbers: {what}") from None


def _array(archive: zipfile.ZipFile, key: str, name: str) -> np.ndarray:
    """One array, whose size is checked before memory is taken for it."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if key not in members:
        have = ", ".join(map(short, list(members)[:10])) or "none"
        raise FileFormatError(f"{name} has no array {short(key)}; it has: {have}. See --x and --y")
    info, where = members[key], f"{name}, array {short(key)}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileFormatError(f"{where} is compressed as NumPy never does")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise FileFormatError(f"{where} has format {version}, which is not of real numbers")
        read = f"read_array_header_{version[0]}_0"
        shape, _, dtype = getattr(np.lib.format, read)(file)
    if dtype.kind not in "fiub" or not shape:
        raise FileFormatError(f"{where}: expected rows of real numbers, got {dtype}, shape {shape}")
    size = math.prod(shape)
    if size > MOST_NUMBERS or size * dtype.itemsize > info.file_size:
        raise FileFormatError(
            f"{where}: shape {shape} is more than the file holds, or than {MOST_NUMBERS:,} numbers"
        )
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
