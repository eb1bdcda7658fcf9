"""Checks of what users pass in, before anything of a network is touched.

Each returns an array that the engine can read, or raises an error that says what was expected,
what came, and what to do.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ._core import LOSSES, is_matrix
from .data import Observed, Rows, as_rows, first_not_finite, slices
from .weights import refuse_masked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .layers import Layer
    from .loss import Loss


class LinearNetworkWarning(UserWarning):
    """The hidden layers of a network are linear, so that it can only do what one layer does.

    Given once, when such a `Network` is made; copies and files are not warned of again. A network
    of one layer is linear on purpose. To make many of them without it,
    ``warnings.simplefilter("ignore", nncore.LinearNetworkWarning)``.

    Examples
    --------
    >>> import warnings
    >>> import nncore
    >>> with warnings.catch_warnings(record=True, action="always") as given:
    ...     net = nncore.Network(2, nncore.Dense(3), nncore.Dense(1), seed=0)
    >>> given[0].category.__name__
    'LinearNetworkWarning'
    """


def check_linear(layers: "Sequence[Layer]") -> None:
    """Warn where nothing bends between two layers of weights: then the layers are one."""
    mixing = [i for i, layer in enumerate(layers) if layer.mixes]
    if len(mixing) > 1 and not any(layer.bends for layer in layers[: mixing[-1]]):
        last = layers[mixing[-1]]
        one = f"Dense({last.n_out})" if hasattr(last, "n_out") else "Dense"
        fix = 'Use a nonlinear activation, such as "tanh".'
        if all(hasattr(layer, "n_out") for layer in layers[: mixing[-1] + 1]):
            fix += " Or, to have that one layer, call net.collapse()."
        warnings.warn(
            f"All hidden activations are linear: these {len(layers)} layers can only do what one "
            f"{one} does. {fix}",
            LinearNetworkWarning,
            stacklevel=3,
        )


def check_batches(network: Any, rows: int, batch_size: int) -> None:
    """Raise where a batch of one row would have to be normalised."""
    if any(layer.of_batches for layer in network.layers) and 1 in (batch_size, rows % batch_size):
        last = (
            f"the last of {rows} rows in batches of {batch_size} is"
            if batch_size > 1
            else "this is"
        )
        raise ValueError(
            f"BatchNorm needs at least two rows in each batch, since one has no variance; {last} a "
            "batch of one row. Use another batch_size, or leave one row out."
        )


def as_inputs(
    X: Any, network: Any, name: str = "X", *, finite: bool = True, in_blocks: bool = False,
    ready: bool = True,
) -> Any:  # fmt: skip
    """Return X as (rows, n_in) of the network's dtype, copied only where it must be.

    in_blocks: what must not be copied as a whole comes as `Rows`. ready: whether a `Scaling`
    without numbers is an error.
    """
    if ready:
        network._check_ready()
    names = _columns(X)
    rows = as_rows(X, network.dtype, name) if in_blocks else None
    X = _as_real(X, name, network.dtype) if rows is None else rows
    if X.ndim != 2 or X.shape[1] != network.n_in:
        first = network.layers[0]
        raise ValueError(
            f"Network expects {network.n_in} input features (layer 0: {type(first).__name__} "
            f"{network.n_in}->{first.n_outputs(network.n_in)}), got {name} with shape {X.shape}."
            + _hint(X, network.n_in, name)
        )
    if finite:
        _check_finite(X, name, names)
    network.layers[0].check_inputs(X, name)
    return X


def _hint(X: Any, n_in: int, name: str) -> str:
    if X.ndim == 1 and X.shape[0] == n_in:
        return f" One sample is a row: {name}.reshape(1, -1)."
    if X.ndim == 1 and n_in == 1:
        return f" One feature is a column: {name}.reshape(-1, 1)."
    if X.ndim > 2 and np.prod(X.shape[1:]) == n_in:
        return f" Flatten each sample: {name}.reshape(len({name}), -1)."
    return ""


def as_row(x: "ArrayLike", name: str) -> np.ndarray:
    """Return one sample as a matrix, or its targets as those of one row."""
    if x is None:
        raise ValueError(f"{name} is None; expected what belongs to one sample.")
    refuse_masked(x, name)
    x = np.asarray(x)
    if x.ndim > 1 or (name == "x" and x.ndim == 0):
        raise ValueError(
            f"{name} has shape {x.shape}; expected one sample, without a dimension of rows. For "
            "several use predict or partial_fit."
        )
    return x[None]


def as_targets(
    y: Any, rows: int, network: Any, name: str = "y", data: str = "X", *, warn: bool = True,
    in_blocks: bool = False, missing: str | None = None,
) -> Any:  # fmt: skip
    """Return y as (rows, n_out) of the network's dtype, or as int64 labels (rows,).

    warn: of targets that the output cannot give. in_blocks: as in `as_inputs`. missing: "mask"
    gives `Observed` targets.
    """
    if missing is not None:
        _check_mask(missing, network)
    names = _columns(y)
    if network.loss.name == "cross_entropy":
        y = _as_classes(y, rows, network, name, data)
        if y.ndim == 1:
            return y
    in_place = as_rows(y, network.dtype, name) if in_blocks else None
    y = _as_real(y, name, network.dtype) if in_place is None else in_place
    n_targets = network.n_out // network.loss.per_target
    if y.ndim == 1 and n_targets == 1:
        y = y.reshape(-1, 1)
    if y.ndim != 2 or y.shape[1] != n_targets:
        hint = ""
        if n_targets < network.n_out:
            hint = f" {network.loss.name} has a mean and a variance for each target."
        elif network.n_out > 1 and y.ndim == 1:
            hint = ' For class labels use a "softmax" output with loss="cross_entropy".'
        raise ValueError(
            f"{name} has shape {y.shape} and the network has {network.n_out} "
            f"output{'s' if network.n_out > 1 else ''}; expected ({rows}, {n_targets}).{hint}"
        )
    _check_rows(y, rows, name, data)
    masks = can_mask(network) and not network.optimizer.full_batch
    _check_finite(y, name, names, missing, masks)
    _check_meaning(y, network, name)
    beyond = targets_beyond(y, network) if warn else None
    if beyond is not None:
        low, high, (bottom, top) = beyond
        warnings.warn(
            f"Targets span [{low:g}, {high:g}] but the output activation is "
            f'{network._at_loss()[0].activation}, range ({bottom:g}, {top:g}). Use "identity" or '
            "scale the targets.",
            UserWarning,
            stacklevel=4,  # the caller of fit, through _samples
        )
    return y if missing is None else Observed(y, network.loss.mean == "rows")


def _check_mask(missing: str, network: Any) -> None:
    if missing != "mask":
        raise ValueError(f'missing must be None or "mask", got {missing!r}')
    if not can_mask(network):
        raise ValueError(
            f'missing="mask" needs a loss of single targets, such as mse or binary_cross_entropy; '
            f"{network.loss.name} is of whole rows. Leave rows out, with sample_weight=0."
        )


def can_mask(network: Any) -> bool:
    """Whether the loss is computed target by target, so that some may be missing."""
    info = LOSSES.get(network.loss.name)
    return info is not None and info["per_target"] == 1 and info["output"] != "softmax"


def _as_classes(y: Any, rows: int, network: Any, name: str, data: str) -> Any:
    """Integer labels (rows,), or rows of class weights that sum to 1."""
    n = network.n_out
    wanted = f" cross_entropy needs integer labels in 0..{n - 1} or one-hot rows."
    y = _as_array(y, name, wanted, labels=True)
    if y.ndim == 2 and y.shape[1] == 1 and n > 1:
        y = y[:, 0]
    if y.ndim != 1:
        return y
    _check_rows(y, rows, name, data)
    if y.dtype.kind not in "iub":
        _check_finite(_as_real(y.reshape(-1, 1), name, np.float64), name)
        raise ValueError(
            f"cross_entropy needs integer labels in 0..{n - 1} or one-hot rows of shape "
            f"({rows}, {n}); got {name} of dtype {y.dtype} and shape {y.shape}. "
            f"If they are labels, use {name}.astype(int)."
        )
    bad = (y < 0) | (y >= n)
    if bad.any():
        row = int(bad.argmax())
        fix = "Relabel."
        if y.min() >= 0:
            fix = f"Give the last layer {int(y.max()) + 1} outputs, or relabel."
        raise ValueError(
            f"cross_entropy needs integer labels in 0..{n - 1} or one-hot rows; got label "
            f"{int(y[row])} at row {row}. {fix}"
        )
    return np.ascontiguousarray(y, dtype=np.int64)


# What a loss asks of its targets: the lowest and the highest, whether there is nothing between
# them, and this in words with the fix.
_BETWEEN = (0, 1, False, "targets in [0, 1]", "")
_SIGNS = (-1, 1, True, "targets -1 or 1", " For classes 0 and 1 give 2 * y - 1.")
_TARGETS: dict[str, tuple[float, float, bool, str, str]] = {
    "cross_entropy": _BETWEEN,
    "kl_divergence": _BETWEEN,
    "binary_cross_entropy": _BETWEEN,
    "focal": (0, 1, True, "targets 0 or 1", ' For probabilities use "binary_cross_entropy".'),
    "hinge": _SIGNS,
    "squared_hinge": _SIGNS,
    "poisson": (
        0, math.inf, False, "targets of at least 0",
        ' It is for counts; for other numbers use "mse".',
    ),
}  # fmt: skip


def target_limits(network: Any) -> tuple[float, float, bool]:
    """Return the lowest and highest target that nothing is to be said of, and if only those two."""
    loss = network.loss
    if loss.name in _TARGETS:
        return _TARGETS[loss.name][:3]
    return (*_ends_of_output(network), False)


def _check_meaning(y: Any, network: Any, name: str) -> None:
    """Raise for targets with which the loss has no meaning."""
    loss = network.loss
    if loss.name not in _TARGETS or len(y) == 0:
        return
    low, high, ends, needed, fix = _TARGETS[loss.name]
    for rows in slices(y):
        block = y[rows]
        wrong = (block != low) & (block != high) if ends else (block < low) | (block > high)
        wrong &= block == block  # what is missing is not wrong
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"{loss.name} needs {needed}; got {block[row, column]:g} at row "
                f"{rows.start + row}, column {column} of {name}.{fix}"
            )
        if loss.output == "softmax":
            off = np.abs(block.sum(axis=1) - 1) > 1e-3
            if off.any():
                row = int(off.argmax())
                raise ValueError(
                    f"{loss.name} needs rows that sum to 1; row {rows.start + row} of {name} sums "
                    f"to {block[row].sum():g}."
                )


def check_scaled(loss: "Loss", layers: "Sequence[Layer]") -> None:
    """Raise if the last layer scales targets that the loss does not take as any numbers."""
    if layers[-1].scales and (loss.name in _TARGETS or loss.per_target > 1):
        raise ValueError(
            f"{loss.name} does not take scaled targets: leave {layers[-1]!r} out as the last layer,"
            ' or use a loss for any numbers, such as "mse" or "huber"'
        )


def targets_beyond(y: Any, network: Any) -> tuple[float, float, tuple[float, float]] | None:
    """Return the ends of y and of the output's range if it cannot give all of y, else None.

    Both in front of a `Scaling` at the end.
    """
    bottom, top = _ends_of_output(network)
    if len(y) == 0 or (bottom, top) == (-math.inf, math.inf):
        return None
    low, high = math.inf, -math.inf
    for rows in slices(y):  # fmin and fmax: what is missing is left out
        block = network._at_loss(y[rows])[1]
        low = np.fmin(low, np.fmin.reduce(block, axis=None))
        high = np.fmax(high, np.fmax.reduce(block, axis=None))
    beyond = low < bottom or high > top
    return (float(low), float(high), (bottom, top)) if beyond else None


def _ends_of_output(network: Any) -> Any:
    """The range of what the loss takes, where targets are to be in it and nothing else checks."""
    loss = network.loss
    function = getattr(network._at_loss()[0], "function", None)  # without one: any outputs
    if loss.name in _TARGETS or loss.per_target > 1 or loss.of_rows or function is None:
        return -math.inf, math.inf  # checked, or any number will do, or who knows
    return function.range


def as_out(out: object, rows: int, network: Any) -> None:
    """Check an output array: it is filled in place, so nothing about it can be converted."""
    wanted = f"a writable {network.dtype} array of shape ({rows}, {network.n_out})"
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):  # masks would stay
        raise TypeError(f"out must be {wanted}, got {type(out).__name__}")
    if out.shape != (rows, network.n_out) or out.dtype != network.dtype:
        raise ValueError(f"out must be {wanted}, got {out.dtype} of shape {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"out must be {wanted}, got a read-only array")


def as_parameters(values: "ArrayLike", name: str, dtype: "DTypeLike | None") -> np.ndarray:
    """Return values for parameters as an array of real numbers."""
    return np.asarray(_as_array(values, name), dtype=dtype)


def _as_array(value: Any, name: str, wanted: str = "", labels: bool = False) -> np.ndarray:
    """An ndarray of bool, int or float, whatever it came as; or what is wrong with it."""
    if value is None:
        raise ValueError(f"{name} is None; expected an array of numbers.{wanted}")
    if _columns(value) is not None:
        value = _from_frame(value, name)
    if hasattr(value, "toarray"):
        fix = name.split(": ")[-1] + ".toarray()"
        raise ValueError(f"{name} is a sparse matrix; convert it with {fix}")
    refuse_masked(value, name)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None
    if array.dtype.kind in "biuf":
        return array
    named = getattr(value, "name", None)  # of a Series
    if isinstance(named, str) and array.ndim == 1:
        name = f"{name} ({named!r})"
    if labels and array.ndim and array.size == len(array) and array.dtype.kind in "OSTU":
        raise ValueError(
            f"{name} has dtype {array.dtype}.{wanted} Number the labels, e.g. with "
            "classes, y = np.unique(y, return_inverse=True)."
        )
    hint = ""
    if array.dtype.kind == "O" and array.ndim == 2:
        odd = [j for j in range(array.shape[1]) if any(isinstance(v, str) for v in array[:, j])]
        hint = f" (column {odd[0]} holds strings)" if odd else ""
    raise ValueError(
        f"{name} has dtype {array.dtype}; convert it to float32 or float64{hint}.{wanted}"
    )


def _columns(value: object) -> list[Any] | None:
    """The names of the columns of a data frame, or None."""
    columns = getattr(value, "columns", None)
    return None if columns is None or not hasattr(value, "__array__") else [*columns]


def _from_frame(frame: Any, name: str) -> np.ndarray:
    """A frame as an array, if each of its columns is of numbers."""
    array = np.asarray(frame)
    kinds = [str(dtype).lower()[:8] for dtype in getattr(frame, "dtypes", ())]
    if array.dtype.kind in "biuf" and "category" not in kinds:
        return array
    columns = []
    for i, column in enumerate(frame.columns):
        series = frame.iloc[:, i] if hasattr(frame, "iloc") else frame[column]
        values, kind = np.asarray(series), getattr(series.dtype, "kind", "O")
        if values.dtype.kind == "O" and kind in "biuf":  # numbers of which some may be missing
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        if values.dtype.kind not in "biuf" or kinds[i : i + 1] == ["category"]:
            raise ValueError(
                f"column {column!r} of {name} has dtype {series.dtype}; make numbers of it, such "
                "as one column for each category, or leave it out"
            )
        columns.append(values)
    return np.column_stack(columns) if columns else array


def _as_real(value: Any, name: str, dtype: "DTypeLike") -> np.ndarray:
    array = _as_array(value, name)
    with np.errstate(over="ignore"):  # found by the check for infinities
        array = np.asarray(array, dtype=dtype)
    if array.ndim == 2 and not is_matrix(array):
        array = array.copy(order="C")  # ascontiguousarray would leave it misaligned
    return array


def _check_rows(y: Any, rows: int, name: str, data: str) -> None:
    if len(y) != rows:
        raise ValueError(f"{data} has {rows} rows but {name} has {len(y)}.")


def _check_finite(
    array: Any, name: str, columns: list[Any] | None = None, missing: str | None = None,
    masks: bool = False,
) -> None:  # fmt: skip
    found = array.not_finite() if isinstance(array, Rows) else first_not_finite(array)
    if found is not None and missing is not None:
        found = _first_infinite(array)
    if found is None:
        return
    row, column, value = found
    what = "NaN" if np.isnan(value) else "infinity"
    of = "" if columns is None else f" {columns[column]!r}"
    mask = ' Or, if it stands for a missing target, give missing="mask".' if masks else ""
    raise ValueError(
        f"{name} contains {what} as {array.dtype} (first at row {row}, column {column}{of}). "
        f"Clean, impute or scale it.{mask if what == 'NaN' else ''}"
    )


def _first_infinite(array: Any) -> tuple[int, int, float] | None:
    for rows in slices(array):
        infinite = np.argwhere(np.isinf(array[rows]))
        if len(infinite):
            row, column = infinite[0]
            return rows.start + row, column, np.inf
    return None
