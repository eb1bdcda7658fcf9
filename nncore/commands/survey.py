"""What the columns of a new table are: numbers, categories, or nothing to learn from."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr as short
from typing import NamedTuple, TypeVar

import numpy as np

from .. import tables
from ..columns import Columns, Input, Target
from ..files import FileFormatError

MOST_UNDECIDED = 1000  # different cells, all numbers, that make a column one of numbers
MOST_WORDS = 10_000  # different ones in a column
MOST_CLASSES = 20  # whole numbers that are taken as classes
T = TypeVar("T")
_CODE = re.compile(r"0\d+")  # 007 is another than 7
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|\d{1,2}:\d\d(:\d\d.*)?")


class Data(NamedTuple):
    """A table to learn from.

    X has NaN where a number is missing; `scaled` says which of its columns are numbers; y is
    (n_rows,) of int64, the numbers of the classes, or (n_rows, n_targets) of float64.
    """

    name: str
    columns: Columns
    X: np.ndarray
    y: np.ndarray
    scaled: np.ndarray
    notes: list[str]


def read_csv(
    path: Path, *, header: bool | None, target: list[str] | None, categorical: list[str],
    numeric: list[str], ignore: list[str], missing: str | None, task: str | None,
) -> Data:  # fmt: skip
    """Return the `Data` of a CSV file."""
    with tables.open_csv(path, header) as table:
        names = table.names or list(map(str, range(table.columns)))
        for name in names:
            if names.count(name) > 1:
                raise FileFormatError(
                    f"{table.name} has {names.count(name)} columns {short(name)}; rename them"
                )

        def find(columns: list[str], role: str) -> list[int]:
            return [
                tables.find_column(c, table.names, table.columns, table.name, role) for c in columns
            ]

        targets = find(target or [names[-1]], "the target")
        words, numbers = find(categorical, "--categorical"), find(numeric, "--numeric")
        ignored = find(ignore, "--ignore")
        chosen = [*targets, *words, *numbers, *ignored]
        for j in chosen:
            if chosen.count(j) > 1 and (j in ignored or [*words, *numbers].count(j) > 1):
                raise ValueError(f"column {short(names[j])} is given for two things at once")
            if targets.count(j) > 1:
                raise ValueError(f"target {short(names[j])} is given twice")
        inputs = [j for j in range(table.columns) if j not in targets and j not in ignored]
        if not inputs:
            only = ""
            if table.columns == 1:
                only = f": its first line, {short(names[0])}, has no comma, semicolon or tab"
            raise FileFormatError(
                f"{table.name} has no columns for the inputs beside the target{only}"
            )
        found = {
            j: Found(names[j], j, "words" if j in words else "numbers" if j in numbers else None)
            for j in (*inputs, *targets)
        }
        rows = 0
        for block in table.blocks():
            rows += len(block.lines)
            if rows * len(found) > tables.MOST_NUMBERS:
                raise FileFormatError(
                    f"{table.name}: at most {tables.MOST_NUMBERS:,} cells are read"
                )
            for column in found.values():
                column.add(block)
        if not rows:
            raise FileFormatError(f"{table.name} has a header and no rows")
    for column in found.values():
        column.decide()
    kept, notes = _without_gaps(found, targets, rows, missing)
    classes, y = _targets([found[j] for j in targets], kept, task, table.name)
    described = [found[j].describe(kept) for j in inputs]
    width = sum(each.width for each in described)
    if len(y) * width > tables.MOST_NUMBERS:
        raise FileFormatError(
            f"{table.name}: its categories make {width:,} numbers of each row, which is too many; "
            "leave out columns of many different words with --ignore"
        )
    columns = Columns(described, [Target(names[j], classes) for j in targets])
    columns.to_json()  # what does not fit into a file is said before the work
    X = np.zeros((len(y), width))
    scaled = np.zeros(width, bool)
    at = 0
    for j, each in zip(inputs, described, strict=True):
        found[j].encode(X[:, at : at + each.width], kept, each)
        scaled[at : at + each.width] = each.categories is None
        notes += found[j].notes(kept)
        at += each.width
    return Data(table.name, columns, X, y, scaled, notes)


def read_npz(path: Path, *, x: str, y: str, missing: str | None, task: str | None) -> Data:
    """Return the `Data` of two arrays."""
    X, given = tables.read_npz(path, x=x, y=y)
    if X.ndim != 2 or not X.shape[1] or given.ndim > 2 or not len(X) == len(given) > 0:
        raise FileFormatError(
            f"{path}: expected X of rows and columns, and as many rows of y; got the shapes "
            f"{X.shape} and {given.shape}"
        )
    n = X.shape[1]
    found = [Found(str(j), j, "numbers") for j in range(n + given.reshape(len(X), -1).shape[1])]
    for column, values in zip(found, [*X.T, *given.reshape(len(X), -1).T], strict=True):
        column.take(values.astype(np.float64), str(path))
    everything = dict(enumerate(found))
    targets = list(range(n, len(found)))
    kept, notes = _without_gaps(everything, targets, len(X), missing)
    classes, labels = _targets(found[n:], kept, task, str(path))
    columns = Columns(
        [Input(str(j)) for j in range(n)], [Target(f.name, classes) for f in found[n:]]
    )
    return Data(str(path), columns, X[kept].astype(np.float64), labels, np.ones(n, bool), notes)


class Found:
    """A column while it is read: numbers, or codes of its different cells."""

    values: np.ndarray
    words: list[str]

    def __init__(self, name: str, j: int, kind: str | None):
        self.name, self.j, self.kind = name, j, kind
        self.told = kind is not None
        self._codes: dict[str, int] = {}
        self._places: list[str] = []
        self._parts: list[np.ndarray] = []
        self.gap: str | None = None  # where the first empty cell is

    def add(self, block: tables.Block) -> None:
        if self.kind == "numbers":
            try:
                values = block.numbers(self.j)
            except FileFormatError as error:
                raise FileFormatError(
                    f"{error}; if these are categories, say --categorical {self.name}"
                ) from None
            if not self.told:
                self._refuse_a_code(block)
            if self.gap is None and np.isnan(values).any():
                self.gap = block.place(int(np.isnan(values).argmax()), self.j)
            self._parts.append(values)
            return
        words, codes = block.words(self.j), self._codes
        try:
            found = [codes[word] for word in words]
        except KeyError:
            for i, word in enumerate(words):
                if word not in codes:
                    codes[word] = len(codes)
                    self._places.append(block.place(i, self.j))
            found = [codes[word] for word in words]
        self._parts.append(np.array(found))
        if len(codes) > MOST_UNDECIDED and self.kind is None and self._are_numbers():
            self._become_numbers()
        elif len(codes) > MOST_WORDS:
            raise FileFormatError(
                f"{self._places[MOST_WORDS]}: more than {MOST_WORDS:,} different words; leave this "
                f"column out by --ignore {self.name}"
            )

    def take(self, values: np.ndarray, name: str) -> None:
        """Take numbers of an array."""
        bad = np.abs(values) > tables.MOST_SIZE
        if bad.any():
            raise FileFormatError(f"{name}, row {bad.argmax()}, column {self.j}: infinite or huge")
        if np.isnan(values).any():
            self.gap = f"{name}, row {np.isnan(values).argmax()}, column {self.j}"
        self.values = values

    def _are_numbers(self) -> bool:
        return all(
            tables.is_missing(w) or (tables.as_number(w) is not None and not _CODE.fullmatch(w))
            for w in self._codes
        )

    def _refuse_a_code(self, block: tables.Block) -> None:
        """007 is another than 7, but the cells before are numbers already."""
        words = block.words(self.j)
        for i in (i for i, word in enumerate(words) if _CODE.fullmatch(word)):
            raise FileFormatError(
                f"{block.place(i, self.j)}: {short(words[i])} begins with 0, and no number before "
                f"does; say --categorical {self.name} if these are codes, --numeric {self.name} if "
                "they are numbers"
            )

    def _become_numbers(self) -> None:
        self.kind = "numbers"
        numbers = np.empty(len(self._codes))
        for k, word in enumerate(self._codes):
            missing = tables.is_missing(word)
            numbers[k] = np.nan if missing else float(word)
            if missing and self.gap is None:
                self.gap = self._places[k]
            if abs(numbers[k]) > tables.MOST_SIZE:
                raise FileFormatError(f"{self._places[k]}: {tables.no_number(word)}")
        self._parts = [numbers[codes] for codes in self._parts]
        self._codes = {}

    def decide(self) -> None:
        """All cells were seen: set the values, and of words what the codes mean."""
        if self.kind is None and self._are_numbers():
            self._become_numbers()
        self.values = np.concatenate(self._parts)
        self._parts = []
        if self.kind == "numbers":
            return
        self.words = sorted(self._codes.keys() - {""}, key=_order)
        if "" in self._codes:
            self.gap = self._places[self._codes[""]]
        place = {word: k for k, word in enumerate(self.words)}
        self.values = np.array([place.get(word, -1) for word in self._codes])[self.values]

    @property
    def gaps(self) -> np.ndarray:
        return np.isnan(self.values) if self.kind == "numbers" else self.values < 0

    def describe(self, kept: np.ndarray) -> Input:
        """Return the `Input`; columns that no network learns from are refused."""
        if self.gaps[kept].all():
            raise FileFormatError(
                f"column {short(self.name)} is empty: leave it out by --ignore {self.name}"
            )
        if self.kind == "numbers":
            return Input(self.name)
        used = np.unique(self.values[kept])
        words = tuple(self.words[k] for k in used if k >= 0)
        if self.kind is None:
            self._refuse(words, int(np.count_nonzero(kept)))
        return Input(self.name, words)

    def _refuse(self, words: tuple[str, ...], rows: int) -> None:
        sample, column = words[:200], f"column {short(self.name)}"
        advice = (
            f"leave it out by --ignore {self.name}, or say --categorical {self.name} if each word "
            "is a category"
        )
        if _CODE.fullmatch(sample[0]):
            advice += f", or --numeric {self.name} if they are numbers"
        if all(map(_DATE.fullmatch, sample)):
            raise FileFormatError(
                f"{column} has dates or times, such as {short(sample[0])}, which are no numbers: "
                f"make columns of numbers of them, as the year and the month; {advice}"
            )
        self.refuse_a_word(f"Mend it, or {advice}")
        if len(words) > max(10, rows / 2):
            raise FileFormatError(
                f"{column} has {len(words):,} different words in {rows:,} rows, such as "
                f"{short(sample[0])}: names or numbers of the rows, or free text, from which "
                f"nothing is learned; {advice}"
            )

    def refuse_a_word(self, advice: str) -> None:
        """Raise if most of the different cells are numbers, or were with decimal points: say where
        the first is that is not.
        """
        odd = [w for w in self.words if tables.as_number(w) is None and not tables.is_missing(w)]
        few = len(odd) < len(self.words) / 2
        if odd and (few or all(map(tables.DECIMAL_COMMA.fullmatch, odd))):
            word = min(odd, key=self._codes.__getitem__)
            most = ", as most cells of this column are" * few
            raise FileFormatError(
                f"{self._places[self._codes[word]]}: expected a number{most}, got "
                f"{tables.quoted(word)}. {advice}"
            )

    def encode(self, into: np.ndarray, kept: np.ndarray, described: Input) -> None:
        values = self.values[kept]
        if described.categories is None:
            into[:, 0] = values
            return
        used = [self.words.index(word) for word in described.categories]
        into[...] = values[:, None] == np.array(used)

    def notes(self, kept: np.ndarray) -> Iterator[str]:
        values = self.values[kept]
        codes = [] if self.kind else [*filter(_CODE.fullmatch, self.words)]
        if codes:
            yield (
                f"column {short(self.name)} has {short(codes[0])}, so its numbers are taken as "
                f"words; if they are none, say --numeric {self.name}"
            )
        if self.kind == "numbers" and len(values) >= 20 and (np.diff(values) == 1).all():
            yield (
                f"column {short(self.name)} counts the rows; if it is a number of theirs, leave it "
                f"out by --ignore {self.name}"
            )
        elif (values == values[0]).all():
            yield f"column {short(self.name)} is the same in all rows"


def _order(word: str) -> tuple[bool, float, str]:
    number = tables.as_number(word)
    return (number is None, 0.0 if number is None else number, word)


def _without_gaps(
    found: Mapping[int, Found], targets: list[int], rows: int, missing: str | None
) -> tuple[np.ndarray, list[str]]:
    """Which rows are kept; an empty cell that is not allowed is an error."""
    for j, column in found.items():
        if column.gap is not None and missing is None:
            fixes = "--missing drop leaves out rows with empty cells"
            if j not in targets:
                fixes += ", --missing mean takes the mean of the column"
            raise FileFormatError(f"{column.gap}: the cell is empty. {fixes}")
    kept = np.ones(rows, bool)
    for j in found if missing == "drop" else targets:
        kept &= ~found[j].gaps
    if not kept.any():
        raise FileFormatError("each row has an empty cell; see --missing mean, or --ignore")
    dropped = rows - int(np.count_nonzero(kept))
    return kept, [f"{dropped:,} of {rows:,} rows have empty cells and are left out"] * (dropped > 0)


def _targets(
    found: list[Found], kept: np.ndarray, task: str | None, name: str
) -> tuple[tuple[str, ...] | tuple[int, ...] | None, np.ndarray]:
    """The classes or None, and y."""
    words = [f for f in found if f.kind != "numbers"]
    first = found[0]
    column = f"{name}, column {short((words or found)[0].name)}"
    if len(found) > 1:
        if words or task == "classification":
            raise FileFormatError(f"{column}: several targets have to be numbers")
        task = "regression"
    values = first.values[kept]
    if words:
        if task != "classification" and first.kind is None and len(first.words) > 10:
            first.refuse_a_word(f"If these are classes, say --categorical {first.name}")
        if task == "regression":
            raise FileFormatError(f"{column}: words are no target of a regression")
        return _classes(first.words, values, column)
    known = np.unique(values)
    whole = (known == np.rint(known)).all() and abs(known).max() < 1 << 53
    if task is None:
        few = len(known) <= min(MOST_CLASSES, len(values) / 5)
        task = "classification" if whole and few else "regression"
    if task == "regression":
        y = np.stack([f.values[kept] for f in found], axis=1)
        for f, low, high in zip(found, y.min(axis=0), y.max(axis=0), strict=True):
            if low == high:
                raise FileFormatError(
                    f"{name}, target {short(f.name)}: {low:g} in all rows, nothing to learn"
                )
        return None, y
    if not whole:
        raise FileFormatError(
            f"{column}: classes are words or whole numbers, and this column has others; see "
            f"--task regression, or --categorical {first.name}"
        )
    codes = np.searchsorted(known, values)
    return _classes([int(value) for value in known], codes, column)


def _classes(
    names: Sequence[T], codes: np.ndarray, column: str
) -> tuple[tuple[T, ...], np.ndarray]:
    used, codes = np.unique(codes, return_inverse=True)
    if len(used) < 2:
        raise FileFormatError(f"{column}: one class in all rows, nothing to learn")
    if len(used) > max(10, len(codes) / 2):
        raise FileFormatError(
            f"{column}: {len(used):,} different values in {len(codes):,} rows are no classes"
        )
    return tuple(names[k] for k in used), codes.astype(np.int64)
