"""What all plots share: where they are drawn, and colours that everybody can tell apart."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...layers import Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Okabe and Ito 2008, "Color universal design": distinct with any kind of colour blindness.
BLUE, RED, GREEN, ORANGE, SKY, PINK = COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7",
)  # fmt: skip
DIVERGING = "RdBu_r"  # negative blue, 0 white, positive red


LARGEST = 1e300  # matplotlib adds margins, and cannot draw what lies close to overflow


def drawable(values: Any) -> np.ndarray:
    """Return values as floats, with NaN for what no picture can show: NaN, infinity, and almost."""
    values = np.asarray(values, dtype=float)
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def axes(ax: Any, size: tuple[float, float] | None = None) -> "Axes":
    """Return `ax`, or the axes of a new figure that is not one of pyplot."""
    if ax is None:
        try:
            from matplotlib import figure
        except ImportError:
            raise ImportError('plotting needs matplotlib: pip install "nncore-c[plot]"') from None
        return figure.Figure(figsize=size, layout="constrained").add_subplot()
    if not hasattr(ax, "set_title"):
        hint = " Of several axes give one, such as axes[0]." if np.ndim(ax) else ""
        if isinstance(ax, str):
            hint = " What is drawn, and how, goes by name, such as kind='3d'."
        raise TypeError(f"ax must be a matplotlib Axes or None, got a {type(ax).__name__}.{hint}")
    given: Axes = ax
    return given


def as_bytes(ax: Any, kind: str) -> memoryview:
    """A picture as a file: the same picture has the same bytes, since there is no date."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with rc_context({"svg.hashsalt": "nncore"}):
        ax.figure.savefig(buffer, format=kind, dpi=150, metadata=undated)
    return buffer.getbuffer()


def finish(ax: Any, title: str, *, grid: bool = True, **labels: Any) -> None:
    """Set the texts of `ax`, and leave out lines that say nothing."""
    ax.set_title(title, loc="left", fontsize="medium")
    ax.set(**labels)
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(alpha=0.3)
        ax.set_axisbelow(True)


def legend_above(ax: Any, handles: list[Any]) -> None:
    """A legend between the axes and their title, for where lines cross all of the axes."""
    inches = ax.get_position().width * ax.figure.get_size_inches()[0]
    columns = min(len(handles), max(1, int(inches / 1.4)))
    ax.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False,
        borderaxespad=0.1, borderpad=0.2, fontsize="small",
    )  # fmt: skip
    pad = 8 + 14 * -(-len(handles) // columns)
    ax.set_title(ax.get_title(loc="left"), loc="left", fontsize="medium", pad=pad)


def scale(ax: Any, curves: Iterable[Any], which: str = "y") -> bool:
    """Make an axis logarithmic where values span a factor of 20 and none is negative; whether.

    Where all values are 0, they lie at the end of an axis from 0 to 1.
    """
    values = np.concatenate([np.ravel(values) for values in curves])
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if values.size and not values.any():
        low = 0 if which == "x" else -0.02  # a line is seen above its axis
        ax.set(**{f"{which}lim": (low, 1)})
    if not positive.size or values.min() < 0 or positive.max() < 20 * positive.min():
        return False
    getattr(ax, f"set_{which}scale")("log", nonpositive="clip")  # a zero lies at the bottom
    axis = getattr(ax, f"{which}axis")
    if positive.max() < 300 * positive.min():
        axis.get_major_locator().set_params(subs=(1, 2, 5))
    axis.set_major_formatter(_number)
    axis.set_minor_formatter("")
    return True


def whole_numbers(axis: Any) -> None:
    """Put the ticks of an axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def percent(value: float, _: Any = None) -> str:
    """A share as text, for the ticks of an axis."""
    return f"{100 * value:g} %"


def is_network(net: Any) -> bool:
    """Whether this is a `nncore.Network`, which is not imported for it."""
    return hasattr(net, "loss_and_gradient")


def network(net: Any, wanted: str = "net must be a nncore.Network") -> Any:
    """Return `net` if it is a network."""
    if not is_network(net):
        raise TypeError(f"{wanted}, got a {type(net).__name__}")
    return net


def _number(value: float, _: Any) -> str:
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    digits, exponent = f"{value:.0e}".split("e")
    factor = "" if digits == "1" else rf"{digits} \times "
    return f"${factor}10^{{{int(exponent)}}}$"


# At the right, outside.
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "frameon": False}


def numbered(layers: Iterable[Layer], before: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield the layers with their numbers, "1.0" for those in a Residual, as in a summary."""
    for i, layer in enumerate(layers):
        if hasattr(layer, "layers"):
            yield from numbered(layer.layers, f"{before}{i}.")
        else:
            yield f"{before}{i}", layer


def cell_size(ax: Any, rows: int, columns: int) -> tuple[float, float]:
    """Height and width of a cell in points, if `ax` is divided into rows and columns."""
    box, (width, height) = ax.get_position(), ax.figure.get_size_inches()
    return 72 * box.height * height / rows, 72 * box.width * width / columns


def shape_of(layer: Layer) -> str:
    """The inputs and outputs of a layer of a network, as text."""
    n_in = layer._inputs()
    return f"{n_in} to {layer.n_outputs(n_in)}"
