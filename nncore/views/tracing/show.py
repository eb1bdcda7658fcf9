"""What is said of a trace, and of a weight in it, as documents."""

from collections.abc import Sequence

import numpy as np

from ...layers import Dense
from .chain import Chain, WeightTrace, name_of, unit_name
from .document import Both, Document, apart, counted, latex_number, number
from .layers import Traced
from .losses import Factor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network import Network
    from .trace import Trace

MOST_UNITS, MOST_PARAMETERS, MOST_ROWS = 40, 100, 4  # of a trace that is shown number by number
MOST_LAYERS = 60
MOST_FACTORS = 12  # of a product


# ---- a trace -------------------------------------------------------------------------------------


def describe(trace: "Trace", lines: Sequence[int] | None = None) -> Document:
    """The document of a `Trace`; for the command `lines`, the patterns' rows in the data file."""
    document = Document()
    rows, network = len(trace.x), trace.network
    which = _patterns_of(trace, lines)
    patterns = "one pattern" if rows == 1 else f"{rows} patterns"
    if lines:
        patterns = which[0] if rows == 1 else f"rows {', '.join(map(str, lines))}"
    document.title(f"One step with {patterns}: {_of(network)}")
    penalties = trace.loss - float(np.mean(trace.losses))
    loss = f"J = {number(trace.loss)}, the {network.loss} of {which[0] if lines else 'the pattern'}"
    if rows > 1:
        loss = f"J = {number(trace.loss)}, the mean {network.loss} of {_list(trace.losses)}"
    if any(t.layer.l1 or t.layer.l2 for t in trace.layers):
        loss += f", with penalties of {number(penalties)}"
    document.paragraph(loss + ".")
    small = trace.units <= MOST_UNITS and network.n_params <= MOST_PARAMETERS
    if small and rows <= MOST_ROWS:
        for row in range(rows):
            _units(document, trace, row, f" of {which[row]}" if rows > 1 or lines else "")
        _parameters(document, trace)
    else:
        _summary(document, trace, lines)
    document.paragraph(_update(trace))
    for weight in trace.shown:
        document.extend(describe_weight(weight, lines))
    return document


def _patterns_of(trace: "Trace", lines: Sequence[int] | None) -> list[str]:
    """What the patterns are called."""
    return [f"row {at}" for at in lines or ()] or [f"pattern {at}" for at in range(len(trace.x))]


def _of(network: "Network") -> str:
    """Sizes and activations, such as "3-2-1"."""
    widths, names, width = [str(network.n_in)], [], network.n_in
    for layer in network.layers:
        width = layer.n_outputs(width)
        widths.append(str(width))
        names.append(str(layer.function) if isinstance(layer, Dense) else type(layer).__name__)
    return f"{'-'.join(widths)}, {', '.join(names)}, loss {network.loss}"


def _list(values: np.ndarray) -> str:
    shown = ", ".join(number(v) for v in values[:MOST_ROWS])
    return shown + (", ..." if len(values) > MOST_ROWS else "")


def _units(document: Document, trace: "Trace", row: int, of: str) -> None:
    """All numbers of one pattern, a line for each unit."""
    document.title(f"Units{of}")
    lines = []
    for i, x in enumerate(trace.x[row], 1):
        dx = trace.layers[0].dx[row, i - 1]
        lines.append([str(i), "input", "", number(x), "", number(dx), ""])
    for traced in trace.layers:
        for j, unit in enumerate(traced.outputs):
            z, slope, da = (
                None if values is None else values[row, j]
                for values in (traced.z, traced.slope, traced.da)
            )
            delta = traced.delta[row, j] if traced.z is not None else None
            what = f"{traced.name} {_kind(traced)}"
            values = [z, traced.a[row, j], slope, da, delta]
            lines.append([str(unit), what, *(number(v) for v in values)])
    document.table(["unit", "layer", "z", "a", "f'(z)", "dJ/da", "dJ/dz"], lines)


def _kind(traced: Traced) -> str:
    return str(traced.layer.function) if traced.kind == "Dense" else traced.kind


def _parameters(document: Document, trace: "Trace") -> None:
    document.title("Parameters" if len(trace.x) == 1 else "Parameters, dJ/dw in the mean")
    names = []
    for traced in trace.layers:
        if traced.inner:
            continue
        for name, values in traced.gradients.items():
            for at in np.ndindex(values.shape):
                if traced.kind == "Dense":
                    names.append(name_of(trace, traced, *(at if name == "W" else (None, *at))))
                else:
                    names.append(f"{traced.path}.{name}[{', '.join(map(str, at))}]")
    new = trace.theta if trace.new_theta is None else trace.new_theta
    lines = [
        [name, number(old), number(g), number(after - old), apart(after, old)]
        for name, old, g, after in zip(names, trace.theta, trace.gradient, new, strict=True)
    ]
    header, n = ["weight", "old", "dJ/dw", "change", "new"], 3 if trace.new_theta is None else 5
    document.table(header[:n], [line[:n] for line in lines])


def _summary(document: Document, trace: "Trace", lines_of_file: Sequence[int] | None) -> None:
    """A line for each layer."""
    parameters = counted(trace.network.n_params, "parameter")
    more = "" if lines_of_file else ", all numbers are in trace.layers"
    document.paragraph(
        f"{trace.units:,} units and {parameters}: here a summary{more}. flat: the share of units "
        "with |f'(z)| < 0.01. |delta| is the norm of dJ/dz, the root of the mean square over "
        "patterns, and |dJ/dw| that of the mean gradient."
    )
    lines = []
    for traced in trace.layers[:MOST_LAYERS]:
        slope = None if traced.slope is None else np.abs(traced.slope)
        flat = "" if slope is None else f"{100 * np.mean(slope < 0.01):.0f}%"
        z = None if traced.z is None else np.mean(np.abs(traced.z))
        gradient = None
        if traced.gradients:
            gradient = np.sqrt(sum(np.square(g).sum() for g in traced.gradients.values()))
        delta = np.sqrt(np.square(traced.delta).sum(axis=1).mean())
        values = [z, np.mean(np.abs(traced.a)), None if slope is None else slope.mean()]
        lines.append([
            f"{traced.name} {_kind(traced)}", "-".join(map(str, _ends(traced.outputs))),
            *(number(v) for v in values), flat, number(delta), number(gradient),
        ])  # fmt: skip
    header = ["layer", "units", "mean |z|", "mean |a|", "mean |f'|", "flat", "|delta|", "|dJ/dw|"]
    document.table(header, lines)
    if len(trace.layers) > MOST_LAYERS:
        more = counted(len(trace.layers) - MOST_LAYERS, "more layer")
        document.paragraph(f"... and {more}")
    largest = _largest_weight(trace)
    if largest:
        name, value = largest
        ask = f"--weight {name}" if lines_of_file else f'trace.weight("{name}")'
        document.paragraph(
            f"The largest gradient of a weight: dJ/d{name} = {number(value)}; {ask} shows it."
        )


def _ends(units: list[int]) -> list[int]:
    return units[:1] if len(units) == 1 else [units[0], units[-1]]


def _largest_weight(trace: "Trace") -> tuple[str, float] | None:
    """The name of the weight with the largest gradient, and that, or None."""
    best = None
    for traced in trace._dense():
        g = traced.gradients["W"]
        i, j = np.unravel_index(np.argmax(np.abs(g)), g.shape)
        if best is None or abs(g[i, j]) > best[0]:
            best = abs(g[i, j]), (name_of(trace, traced, int(i), int(j)), g[i, j])
    return best and best[1]


def _update(trace: "Trace") -> str:
    rule = trace.network.optimizer
    if not trace.beyond:
        return f"Update by {rule!r}: new = old - rate * dJ/dw, with the rate {number(trace.rate)}."
    why = "; ".join(trace.beyond)
    if trace.new_theta is None:
        return f"No update is shown ({why}): BatchNorm cannot train with a single pattern."
    return (
        f"The update is more than new = old - rate * dJ/dw ({why}); it was done by the engine, on "
        "a copy."
    )


# ---- a weight ------------------------------------------------------------------------------------


def describe_weight(weight: WeightTrace, lines: Sequence[int] | None = None) -> Document:
    """The document of a `WeightTrace`; lines as of `describe`."""
    document = Document()
    document.title(_title(weight))
    chains, first = weight.chains, weight.chains[0]
    if len(chains) > 1:
        _patterns(document, weight, lines)
    elif weight.n_paths == 1:
        factors = [*first.paths[0].factors, *_own(first)]
        _derivative(document, weight, _product(factors), _numbers(factors))
        document.table(
            ["factor", "number", "what it is"],
            [[f.text, number(f.value), f.meaning] if f else ["..."] * 3 for f in _few(factors)],
        )
    else:
        _derivative(document, weight, _sum(weight, first), _sum_numbers(first))
        _paths(document, weight, first)
    if weight.n_paths > 1 or len(chains) > 1:
        factor = first.paths[0].factors[0]
        document.paragraph(f"{factor.text} is the {factor.meaning}.")
    _rule(document, weight)
    return document


def _title(weight: WeightTrace) -> str:
    trace, traced = weight.trace, weight._traced
    value = number(weight.old)
    if weight.i is None:
        return f"{weight.name} = {value}: bias of unit {weight.unit}, layer {weight.layer}"
    source = unit_name(trace, traced.inputs[weight.i])
    return (
        f"{weight.name} = {value}: weight from {source} to unit {weight.unit}, layer {weight.layer}"
    )


def _own(chain: Chain) -> list[Factor]:
    """The factors of the weight's own unit: its slope and its input."""
    return [factor for factor in (chain.slope, chain.input) if factor is not None]


def _few(factors: Sequence[Factor]) -> Sequence[Factor | None]:
    """The factors at both ends, where there are very many."""
    if len(factors) <= MOST_FACTORS:
        return factors
    half = MOST_FACTORS // 2
    return [*factors[:half], None, *factors[-half:]]


def _product(factors: Sequence[Factor]) -> Both:
    factors = [f or Factor("...", r"\cdots", 1.0, "") for f in _few(factors)]
    return " ".join(f.text for f in factors), r" \, ".join(f.latex for f in factors)


def _numbers(factors: Sequence[Factor]) -> Both:
    return _times([f and f.value for f in _few(factors)])


def _times(values: Sequence[float | None]) -> Both:
    """A product of numbers; None stands for those that are left out."""
    latex = [r"\cdots" if v is None else latex_number(v) for v in values]
    text = " * ".join("..." if v is None else number(v) for v in values)
    return text, r" \cdot ".join(latex)


def _of_weight(weight: WeightTrace) -> Both:
    name = weight.name
    at = name[1:].replace("_", ",")
    return f"dJ/d{name}", rf"\frac{{\partial J}}{{\partial {name[0]}_{{{at}}}}}"


def _symbol(weight: WeightTrace) -> Both:
    return weight.name, f"{weight.name[0]}_{{{weight.name[1:].replace('_', ',')}}}"


def _penalised(weight: WeightTrace, formula: Both, numbers: Both) -> tuple[Both, Both]:
    """Both with what penalties add."""
    layer, (name, latex) = weight._traced.layer, _symbol(weight)
    if weight.i is None:
        return formula, numbers
    for size, text, tex, value in (
        (layer.l2, f"l2 {name}", rf"\lambda_2 \, {latex}", weight.old),
        (layer.l1, f"l1 sign({name})", rf"\lambda_1 \, \mathrm{{sign}} {latex}",
         np.sign(weight.old)),
    ):  # fmt: skip
        if size:
            product = _times([size, value])
            formula = f"{formula[0]} + {text}", f"{formula[1]} + {tex}"
            numbers = f"{numbers[0]} + {product[0]}", f"{numbers[1]} + {product[1]}"
    return formula, numbers


def _derivative(document: Document, weight: WeightTrace, formula: Both, numbers: Both) -> None:
    formula, numbers = _penalised(weight, formula, numbers)
    total = number(weight.gradient)
    document.equation(_of_weight(weight), [formula, numbers, (total, total)])


def _sum(weight: WeightTrace, chain: Chain) -> Both:
    """The sum over all paths, in symbols."""
    paths = [_product(path.factors) for path in chain.paths]
    own = _product(_own(chain))
    if weight.n_paths > len(paths) or sum(len(text) for text, _ in paths) > 70:
        text, latex = f"(sum over {weight.n_paths:,} paths)", r"\Bigl(\sum_{\text{paths}}\Bigr)"
    else:
        text = f"({' + '.join(t for t, _ in paths)})"
        latex = rf"\Bigl({' + '.join(t for _, t in paths)}\Bigr)"
    return f"{text} {own[0]}".strip(), rf"{latex} \, {own[1]}"


def _sum_numbers(chain: Chain) -> Both:
    return _times([chain.above, *(f.value for f in _own(chain))])


def _paths(document: Document, weight: WeightTrace, chain: Chain) -> None:
    """The paths with their products."""
    lines = []
    for path in chain.paths:
        lines.append([_product(path.factors)[0], _numbers(path.factors)[0], number(path.value)])
    hidden, header = weight.n_paths - len(chain.paths), "path, from the loss down"
    if hidden:
        lines.append([f"the other {counted(hidden, 'path')}", "", number(chain.rest)])
        header += "; the largest"
    lines.append(["sum of all paths", "", number(chain.above)])
    document.table([header, "numbers", "product"], lines)


def _patterns(document: Document, weight: WeightTrace, of_file: Sequence[int] | None) -> None:
    """A line for each pattern."""
    first = weight.chains[0]
    if weight.n_paths == 1:
        symbols = [f.text for f in first.paths[0].factors]
        numbers = [[f.value for f in chain.paths[0].factors] for chain in weight.chains]
        formula = _product([*first.paths[0].factors, *_own(first)])
    else:
        symbols = ["sum of paths"]
        numbers = [[chain.above] for chain in weight.chains]
        formula = _sum(weight, first)
    symbols += [f.text for f in _own(first)]
    lines = [
        [str(row), *(number(v) for v in values), *(number(f.value) for f in _own(chain)),
         number(chain.gradient)]
        for row, values, chain in zip(of_file or range(len(numbers)), numbers, weight.chains,
                                      strict=True)
    ]  # fmt: skip
    document.table(["row" if of_file else "pattern", *symbols, "product"], lines)
    n = len(weight.chains)
    total = sum(chain.gradient for chain in weight.chains)
    mean = f"{number(total)} / {n}", rf"{number(total)} / {n}"
    formula = f"mean of {formula[0]}", rf"\frac{{1}}{{{n}}} \sum_{{\text{{patterns}}}} {formula[1]}"
    _derivative(document, weight, formula, mean)


def _rule(document: Document, weight: WeightTrace) -> None:
    """The update, in the words of a textbook where it is that."""
    trace, name = weight.trace, _symbol(weight)
    left = f"new {name[0]}", rf"{name[1]}^{{\mathrm{{new}}}}"
    if weight.new is None:
        document.paragraph(_update(trace))
        return
    new = (apart(weight.new, weight.old),) * 2
    if weight.rate == 0:
        document.equation(left, [("old, since the layer is not trained", r"\mathrm{old}"), new])
        return
    if trace.beyond:
        move = weight.new - weight.old
        sign, size = "-" if move < 0 else "+", number(abs(move))
        line = f"{number(weight.old)} {sign} {size}"
        document.equation(left, [(f"old {sign} {size}", rf"\mathrm{{old}} {sign} {size}"),
                                 (line, line), new])  # fmt: skip
        document.paragraph(_update(trace))
        return
    document.equation(left, *_textbook(weight, new))


def _textbook(weight: WeightTrace, new: Both) -> tuple[list[Both], str]:
    """new = old + rate * delta * f'(e) * input."""
    chains, first = weight.chains, weight.chains[0]
    factors = ["delta"] + ["f'(e)"] * (first.slope is not None) + ["input"] * (weight.i is not None)
    latex = [r"\delta"] + ["f'(e)"] * (first.slope is not None)
    latex += [r"\mathrm{input}"] * (weight.i is not None)
    if len(chains) == 1:
        inner = [-first.above, *(f.value for f in _own(first))]
        text, tex = " * ".join(factors), r" \cdot ".join(latex)
    else:
        inner = [-sum(chain.gradient for chain in chains) / len(chains)]
        text = f"mean({' * '.join(factors)})"
        tex = rf"\overline{{{' '.join(latex)}}}"
    formula = f"old + rate * {text}", rf"\mathrm{{old}} + \eta \cdot {tex}"
    product = _times([weight.rate, *inner])
    numbers = f"{number(weight.old)} + {product[0]}", f"{number(weight.old)} + {product[1]}"
    if weight.penalty:
        extra = _times([weight.rate, weight.penalty])
        formula = f"{formula[0]} - rate * penalty", rf"{formula[1]} - \eta \cdot \mathrm{{penalty}}"
        numbers = f"{numbers[0]} - {extra[0]}", f"{numbers[1]} - {extra[1]}"
    last = weight._traced is weight.trace._below[-1]
    n_out = weight.trace.network.n_out
    above = f"a{weight.unit}" if not last else "h" if n_out == 1 else f"h{weight.unit}"
    after = f", with e = z{weight.unit} and delta = -dJ/d{above}"
    if first.slope is None:
        after = f", with delta = -dJ/dz{weight.unit}, which has the slope of the output in it"
    return [formula, numbers, new], after
