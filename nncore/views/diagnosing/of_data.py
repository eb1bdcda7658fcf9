"""What may be wrong with data: findings of rows, columns, targets and classes."""

from collections.abc import Iterator, Sequence

import numpy as np

from ...layers import Scaling
from ...validation import targets_beyond
from .findings import Finding, some

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network import Network

# Limits, each far from what digits and the like show where all is well.
LARGE_SIZE, SMALL_SIZE = 10.0, 0.01  # root mean square of a column of X or y; 1 is meant
UNEVEN = 100.0  # standard deviation of a column by the median's
IMBALANCE = 10.0  # most frequent class by the rarest
LARGE_CONSTANT = 5.0  # a column that is this in all rows takes over
HUGE = 1e15  # squares may overflow in float32
FEW_STEPS = 100  # of float32 within the standard deviation of a column: two digits

_REGRESSIONS = ("mse", "half_mse", "mae", "huber", "smooth_l1", "log_cosh", "quantile")


def _names(network: "Network", name: str, n: int) -> list[str]:
    """What the n columns of X or y, or the n classes, are called: by name if the network knows."""
    columns = network.columns
    known: Sequence[str | int] = ()
    if columns is not None and name == "classes":
        known = columns.classes or ()
    elif columns is not None and not columns.numbered:
        known = columns.labels if name == "X" else [target.name for target in columns.targets]
    return list(map(repr, known) if len(known) == n else map(str, range(n)))


# ---- rows ----


def of_lost(
    name: str, array: np.ndarray, lost: np.ndarray, labels: bool = False
) -> Iterator[Finding]:
    """A finding of the rows of an array that have NaN or infinity."""
    if len(lost) == 0:
        return
    rows = some(len(lost), len(array), "row", "has", f" of {name}")
    first = f": row {lost[0]}" if len(lost) == 1 else f", the first is row {lost[0]}"
    good = f"np.isfinite({name})" + (".all(axis=1)" if array.ndim == 2 else "")
    put_in = "or put in what is missing."
    if labels:
        put_in += f" Then make the classes integers: {name}.astype(int)."
    yield Finding(
        _CODES[name], f"{rows} NaN or infinity{first}.",
        f"fit refuses such rows: leave them out, as {good} tells, {put_in}",
        {"rows": len(lost), "first": int(lost[0]), "share": len(lost) / len(array)},
        severity="error",
    )  # fmt: skip


def of_beyond(
    name: str,
    array: np.ndarray,
    beyond: np.ndarray,
    dtype: np.dtype,
    network: "Network",
) -> Iterator[Finding]:
    """A finding of the rows of an array with finite numbers that `dtype` does not have."""
    if len(beyond) == 0:
        return
    most, row = np.finfo(dtype).max, int(beyond[0])
    numbers = array[row : row + 1].ravel()
    column = int((np.abs(numbers) > most).argmax())
    value = float(numbers[column])
    yield Finding(
        _CODES[name],
        f"{some(len(beyond), len(array), 'row', 'has', f' of {name}')} numbers beyond the range of "
        f"{dtype}, {most:.2g}; the first is {value:.4g} in row {row}, column "
        f"{_names(network, name, len(numbers))[column]}.",
        f'If they are slips, leave these rows out. Otherwise use dtype="float64", or scale {name} '
        f"before it is {dtype}. {_scaling(name, largest=HUGE)}",
        {
            "rows": len(beyond), "first": row, "share": len(beyond) / len(array),
            "column": column, "value": value,
        },
        severity="error",
    )  # fmt: skip


_CODES = {"X": "nan_inputs", "y": "nan_targets"}


def _scaling(name: str, largest: float, layer: str | None = None) -> str:
    """The advice to scale X or y; largest: about the size of its numbers; layer: what scales it."""
    if layer:
        return (
            f"{layer} was made of other data: take its numbers anew by net.{layer}.adapt({name}), "
            f"or look at the units of {name}."
        )
    first = ""
    if largest >= HUGE:
        first = f"Divide {name} by np.abs({name}).max() first: squares of such numbers overflow. "
    if name == "y":
        return first + (
            "Scale them in the network: end it with nncore.Scaling.of(y).inverse(), y the "
            "training targets."
        )
    return first + (
        "Scale each column to mean 0 and standard deviation 1, everywhere with the numbers of the "
        "training data: begin the network with nncore.Scaling.of(X)."
    )


# ---- inputs ----


def of_inputs(network: "Network", X: np.ndarray) -> Iterator[Finding]:
    """Findings of X: of all rows, and of the columns that are numbers."""
    if len(X) > 1 and (X == X[0]).all():
        one = f": {X[0, 0] + 0.0:.4g} everywhere" if (X == X[0, 0]).all() else ""
        yield Finding(
            "constant_inputs",
            f"All {len(X):,} rows of X looked at are the same{one}. From them the network can only "
            "learn one output.",
            "Look at how X was read or computed: it needs columns that differ from row to row.",
            {"rows": len(X)}, severity="error",
        )  # fmt: skip
        return
    first = network.layers[0]
    columns = np.delete(np.arange(X.shape[1]), first.tokens(X))
    if len(columns) == 0:
        return
    names = _names(network, "X", network.n_in)
    values = (first.map(X) if isinstance(first, Scaling) else X)[:, columns].astype(np.float64)
    sizes, spreads = _sizes(values)
    constant = (values == values[0]).all(axis=0)
    found = [*_of_digits(columns, X[:, columns], names)]
    if not found and type(first).__name__ not in ("BatchNorm", "LayerNorm"):
        layer = "layers[0]" if first.scales else None
        found = [*_of_sizes(columns, sizes, spreads, constant, layer, names)]
    yield from found
    if len(X) > 1:
        yield from _of_constants(columns[constant & (sizes > 0)], X, names)
        yield from _of_duplicates(columns[~constant], spreads[~constant], X, names)


def _sizes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square and standard deviation of each column, also where squares overflow."""
    largest = np.abs(values).max(axis=0)
    largest[largest == 0] = 1
    scaled = values / largest
    return largest * np.sqrt(np.mean(scaled**2, axis=0)), largest * np.std(scaled, axis=0)


def _of_digits(columns: np.ndarray, X: np.ndarray, names: list[str]) -> Iterator[Finding]:
    """A finding of columns so far from 0 that float32 has few numbers where they differ."""
    if X.dtype != np.float32:
        return
    largest = np.abs(X).max(axis=0)
    _, spreads = _sizes(X.astype(np.float64))
    steps = spreads / np.spacing(largest)
    exact = (X == np.rint(X)).all(axis=0) & (largest <= 2**24)  # integers without rounding
    coarse = np.flatnonzero((spreads > 0) & (steps < FEW_STEPS) & ~exact)
    if len(coarse) == 0:
        return
    worst = coarse[steps[coarse].argmin()]
    digits = max(0.0, float(np.log10(steps[worst])))
    many = len(coarse) > 1
    yield Finding(
        "unscaled_inputs",
        f"{_named(columns[coarse], names, 'Column')} of X {'have' if many else 'has'} numbers near "
        f"{largest[worst]:.3g} that differ by {spreads[worst]:.3g} (standard deviation): float32 "
        f"keeps {digits:.1f} digits of that{' at worst' if many else ''}.",
        "Scale X in float64, before it becomes float32: (X - X.mean(axis=0)) / X.std(axis=0), "
        "everywhere with these numbers of the training data; nncore.Scaling in the network comes "
        'too late. Or make the network with dtype="float64", begun with nncore.Scaling.of(X).',
        {
            "largest": float(largest[worst]), "column": int(columns[worst]),
            "columns": columns[coarse].tolist(), "digits": digits,
        },
    )  # fmt: skip


def _of_sizes(
    columns: np.ndarray,
    sizes: np.ndarray,
    spreads: np.ndarray,
    constant: np.ndarray,
    layer: str | None,
    names: list[str],
) -> Iterator[Finding]:
    name = _scaled("X", layer)
    largest, where = float(sizes.max()), int(columns[sizes.argmax()])
    evidence = {"largest": largest, "column": where, "columns": [where]}
    moving = columns[~constant]
    with np.errstate(all="ignore"):  # quotients may overflow
        ratios = spreads[~constant] / (np.median(spreads[~constant]) if len(moving) else 1.0)
    if largest > LARGE_SIZE:
        message, evidence["columns"] = _large(name, columns, sizes, names)
    elif 0 < largest < SMALL_SIZE:
        message = f"No column of {name} has a root mean square above {largest:.3g}."
    elif len(moving) > 1 and ratios.max() > UNEVEN:
        evidence["uneven"] = float(ratios.max())
        evidence["columns"] = uneven = moving[ratios > UNEVEN].tolist()
        message = (
            f"{_named(uneven, names, 'Column')} of {name} "
            f"{'has' if len(uneven) == 1 else 'have up to'} {ratios.max():.3g} times the median "
            "standard deviation of all columns."
        )
    else:
        return
    yield Finding("unscaled_inputs", message, _scaling("X", largest, layer), evidence)


def _scaled(name: str, layer: str | None) -> str:
    return f"{name} scaled by {layer}" if layer else name


def _large(
    name: str, columns: np.ndarray, sizes: np.ndarray, names: list[str]
) -> tuple[str, list[int]]:
    """What is said of columns that are too large, and which these are."""
    large = columns[sizes > LARGE_SIZE].tolist()
    which = f"{_named(large, names, 'Column')} of {name}"
    if len(large) == 1:
        return f"{which} has a root mean square of {sizes.max():.3g}.", large
    return (
        f"{which} have root mean squares above {LARGE_SIZE:g}, the largest {sizes.max():.3g} in "
        f"column {names[columns[sizes.argmax()]]}."
    ), large


def _named(columns: Sequence[int] | np.ndarray, names: list[str], noun: str = "column") -> str:
    return f"{noun}{'s' if len(columns) > 1 else ''} {_listed(columns, names)}"


def _listed(numbers: Sequence[int] | np.ndarray, names: list[str]) -> str:
    first = ", ".join(names[n] for n in numbers[:5])
    return first + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


def _of_constants(columns: np.ndarray, X: np.ndarray, names: list[str]) -> Iterator[Finding]:
    if len(columns):
        largest = float(np.abs(X[0, columns]).max())
        one = len(columns) == 1
        yield Finding(
            "constant_columns",
            f"{some(len(columns), X.shape[1], 'column', 'has', ' of X')} the same number in all "
            f"rows looked at: {_named(columns, names)}. "
            f"{'It acts as one more bias,' if one else 'They act as more biases, up to'} "
            f"{largest:.3g} times as large.",
            "Leave them out: X[:, np.ptp(X, axis=0) > 0].",
            {"columns": columns.tolist(), "largest": largest},
            severity="warning" if largest > LARGE_CONSTANT else "note",
        )  # fmt: skip


def _of_duplicates(
    columns: np.ndarray, spreads: np.ndarray, X: np.ndarray, names: list[str]
) -> Iterator[Finding]:
    first: dict[bytes, int] = {}
    copies: dict[int, list[int]] = {}
    for column in columns.tolist():
        original = first.setdefault(X[:, column].tobytes(), column)
        if original != column:
            copies.setdefault(original, []).append(column)
    if copies:
        every = sorted(c for found in copies.values() for c in found)
        variances = dict(zip(columns.tolist(), (spreads / spreads.max()) ** 2, strict=True))
        most = max((1 + len(found)) * variances[column] for column, found in copies.items())
        share = float(most / sum(variances.values()))
        copied = some(len(every), X.shape[1], "column", "is", " of X")
        others = "another" if len(every) == 1 else "others"
        yield Finding(
            "duplicate_columns",
            f"{copied} equal to {others}: {_named(every, names)}. A column and its copies have up "
            f"to {share:.0%} of the variance of X. What is there k times is learned k times as "
            "fast, and limits the learning rate of all.",
            "Leave the copies out: X[:, np.sort(np.unique(X, axis=1, return_index=True)[1])].",
            {"columns": every, "share": share},
            severity="warning" if share > 0.5 else "note",
        )  # fmt: skip


# ---- targets ----


def of_targets(network: "Network", y: np.ndarray, w: np.ndarray | None) -> Iterator[Finding]:
    """Findings of targets, numbers or classes; w: the weights of the rows, or None."""
    if len(y) == 0:
        return
    if len(y) > 1 and (y == y[0]).all():
        classes = _names(network, "classes", network.n_out)
        what = f"class {classes[y[0]]}" if y.ndim == 1 else f"the target{_number(y[0])}"
        yield Finding(
            "constant_targets",
            f"All {len(y):,} rows have {what}: there is nothing to learn from X.",
            "Look at how y was read or computed, or get rows with other targets.",
            {"rows": len(y)},
        )  # fmt: skip
        return
    if y.ndim == 2:
        yield from _of_numbers(network, y)
    yield from _of_classes(network, y, w)


def _number(target: np.ndarray) -> str:
    return f" {target[0] + 0.0:.4g}" if len(target) == 1 else " of the first one"


def _of_numbers(network: "Network", y: np.ndarray) -> Iterator[Finding]:
    beyond = targets_beyond(y, network)
    if beyond is not None:
        low, high, (bottom, top) = beyond
        output = network._at_loss()[0]
        given = output.function.f(np.linspace(-9.0, 9.0, 37))
        left, right = "[" if bottom in given else "(", "]" if top in given else ")"
        yield Finding(
            "targets_out_of_range",
            f"Targets span [{low:.4g}, {high:.4g}], and the output activation {output.activation} "
            f"gives {left}{bottom:g}, {top:g}{right}.",
            'Use an output with "identity", or scale the targets into that range.',
            {"low": low, "high": high, "bottom": float(bottom), "top": float(top)},
        )  # fmt: skip
    if network.loss.name in _REGRESSIONS:
        sizes, _ = _sizes(network._at_loss(y)[1].astype(np.float64))
        largest = float(sizes.max())
        if largest > LARGE_SIZE or 0 < largest < SMALL_SIZE:
            last = len(network.layers) - 1
            layer = f"layers[{last}]" if network.layers[last].scales else None
            message = f"{_scaled('Targets', layer)} have a root mean square of {largest:.3g}."
            if len(sizes) > 1 and largest > LARGE_SIZE:
                message, _ = _large(
                    _scaled("y", layer),
                    np.arange(len(sizes)),
                    sizes,
                    _names(network, "y", len(sizes)),
                )
            advice = _scaling("y", largest, layer)
            yield Finding("unscaled_targets", message, advice, {"largest": largest})


def _of_classes(network: "Network", y: np.ndarray, w: np.ndarray | None) -> Iterator[Finding]:
    """Findings of how often classes occur, by weight."""
    counts = _counts(network, y, w)
    if counts is None or np.count_nonzero(counts) < 2:
        return
    seen = np.flatnonzero(counts)
    names = _names(network, "classes", len(counts))
    missing = np.flatnonzero(counts == 0).tolist()
    if missing:
        yield Finding(
            "missing_classes",
            f"{some(len(missing), len(counts), 'class', 'has')} no row: {_listed(missing, names)}. "
            f"The network learns never to give {'it' if len(missing) == 1 else 'them'}.",
            "Get rows of them. If there are no such classes, number the others anew, classes, y = "
            "np.unique(y, return_inverse=True), and give the last layer len(classes) outputs.",
            {"classes": missing, "counts": counts.tolist()}, severity="note",
        )  # fmt: skip
    most, least = (int(seen[f(counts[seen])]) for f in (np.argmax, np.argmin))
    ratio = float(counts[most] / counts[least])
    if ratio > IMBALANCE:
        yield Finding(
            "imbalanced_labels",
            f"Class {names[most]} has {ratio:.3g} times the weight of class {names[least]} "
            f"({counts[least]:.4g} of {counts.sum():.4g}), so the loss hardly counts the rare one.",
            'Pass class_weight="balanced" to fit, evaluate and diagnose; or get more rows of it.',
            {"ratio": ratio, "most": most, "least": least, "counts": counts.tolist()},
        )  # fmt: skip


def _counts(network: "Network", y: np.ndarray, w: np.ndarray | None) -> np.ndarray | None:
    """The weight of each class, or None where rows have none."""
    loss, n = network.loss.name, network.n_out
    if y.ndim == 1:
        return np.bincount(y, w, n).astype(np.float64)
    if loss == "cross_entropy":
        counts: np.ndarray = y.sum(axis=0, dtype=np.float64) if w is None else w @ y
        return counts
    if n == 1 and loss in ("binary_cross_entropy", "focal", "hinge", "squared_hinge"):
        upper = y[:, 0] > (0 if "hinge" in loss else 0.5)
        return np.bincount(upper, w, 2).astype(np.float64)
    return None
