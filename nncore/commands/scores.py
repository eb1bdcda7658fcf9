"""How good a network is: numbers beside those of one who always says the same."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import cells, metrics
from .common import number, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..columns import Columns
    from ..network import Network

MOST_SHOWN = 12  # classes of a whole confusion matrix

# Of each metric its name, its value, and that of always saying the same, if it is of interest.
Scores = list[tuple[str, float, float | None]]


def predicted(network: "Network", columns: "Columns", out: np.ndarray) -> np.ndarray:
    """What outputs mean: the numbers of classes, or the numbers themselves."""
    if columns.classes is None:
        numbers = np.exp(out) if network.loss.name == "poisson" else out
        return numbers[:, : len(columns.targets)]
    codes: np.ndarray = out[:, 0] > 0.5 if network.n_out == 1 else out.argmax(axis=1)
    return codes.astype(np.int64, copy=False)


def usual(columns: "Columns", y: np.ndarray) -> Any:
    """The most frequent class, or the means of the targets."""
    if columns.classes is None:
        return y.mean(axis=0)
    return np.bincount(y, minlength=len(columns.classes)).argmax()


def scores(
    network: "Network", columns: "Columns", X: np.ndarray, y: np.ndarray, n_threads: int | None,
    usual: Any,
) -> Scores:  # fmt: skip
    """Return the scores of a network, beside always saying `usual`."""
    targets = y if network.n_out > 1 else y.reshape(len(y), 1)
    found = network.evaluate(X, targets, n_threads=n_threads)
    if "accuracy" in found:
        plainly = float(np.mean(y == usual)) if columns.classes else None
        return [("accuracy", found["accuracy"], plainly), ("loss", found["loss"], None)]
    told = predicted(network, columns, network.predict(X, n_threads=n_threads))
    rows: Scores = []
    for k, target in enumerate(columns.targets if told.shape == y.shape else ()):
        of = f" of {plain(target.name, 24)}" if len(columns.targets) > 1 else ""
        t, p, always = y[:, k], told[:, k].astype(float), np.full(len(y), usual[k])
        for name in ("rmse", "mae", "r2"):
            metric = getattr(metrics, name)
            values = [metric(t, p), metric(t, always)]
            if name == "r2":  # without its rounding errors; of equal targets it has no meaning
                values = [round(v, 12) + 0.0 if np.ptp(t) else np.nan for v in values]
            rows.append((name.upper() + of, values[0], values[1]))
    return [*rows, ("loss", found["loss"], None)]


def useless(found: Scores) -> bool:
    """Tell whether who always says the same is as good."""
    better = [  # by how much
        value - base if name == "accuracy" else base - value
        for name, value, base in found
        if base is not None and name.startswith(("accuracy", "RMSE"))
    ]
    return bool(better) and all(gain <= 0 for gain in better)


def lines(found: Mapping[str, Scores], columns: "Columns", usual: Any) -> Iterator[str]:
    """A table: a column for each set of rows, and one for who always says the same in the first."""
    first = next(iter(found.values()))
    says = "the mean"
    if columns.classes is not None:
        says = repr(plain(columns.classes[usual], 20)) if usual is not None else ""
    there = any(base is not None for _, _, base in first)
    rows: list[tuple[str, ...]] = [("", *found, *([f"always {says}"] if there else []))]
    for k, (name, _, base) in enumerate(first):
        values = [number(scores[k][1]) for scores in found.values()]
        rows.append((name, *values, *(["" if base is None else number(base)] if there else [])))
    return cells.as_text(rows)


def confusion(
    classes: tuple[str, ...] | tuple[int, ...], true: np.ndarray, told: np.ndarray
) -> Iterator[str]:
    """Lines that say which class was said to be which."""
    k = len(classes)
    counts = np.bincount(true * k + told, minlength=k * k).reshape(k, k)
    rows: list[tuple[str, ...]]
    if k > MOST_SHOWN:
        yield f"the most frequent errors of {k} classes:"
        wrong = counts - np.diag(counts.diagonal())
        order = np.argsort(-wrong, axis=None, kind="stable")[:10]
        rows = [("true", "said to be", "rows")]
        rows += [
            (plain(classes[i // k], 20), plain(classes[i % k], 20), f"{wrong.flat[i]:,}")
            for i in order
            if wrong.flat[i]
        ]
        yield from cells.as_text(rows)
        return
    names = [plain(name, 16) for name in classes]
    right = counts.diagonal()
    rows = [("true \\ said to be", *names, "recall")]
    for i, name in enumerate(names):
        rows.append((name, *(f"{n:,}" for n in counts[i]), _share(right[i], counts[i].sum())))
    said = zip(right, counts.sum(axis=0), strict=True)
    rows.append(("precision", *(_share(*pair) for pair in said), ""))
    yield from cells.as_text(rows)


def _share(part: float, of: float) -> str:
    return f"{part / of:.3f}" if of else "-"
