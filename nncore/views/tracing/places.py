"""Which weight is meant by a name or a place."""

import numpy as np

from .chain import name_of


def find(trace, weight, i, j):
    """Return (layer, i, j) of the `Dense` as `Trace.weight` is asked for it."""
    if isinstance(weight, tuple):
        if len(weight) != 3:
            raise ValueError(f"a weight as a tuple is (layer, i, j), got {weight!r}")
        weight, i, j = weight
    if j is None and isinstance(weight, str):
        return _by_name(trace, weight)
    return _by_place(trace, weight, i, j)


def _by_name(trace, name):
    digits = name[1:].replace("_", "")
    found = []
    if name[:1] == "b" and digits.isdecimal():
        found = [
            (t, None, t.outputs.index(int(digits)))
            for t in trace._dense()
            if t.layer.bias and int(digits) in t.outputs
        ]
    elif name[:1] == "w" and digits.isdecimal() and len(digits) < 20:
        pairs = [name[1:].split("_")]
        if "_" not in name:
            pairs = [(digits[:n], digits[n:]) for n in range(1, len(digits))]
        found = [
            (t, t.inputs.index(int(i)), t.outputs.index(int(j)))
            for i, j in (pair for pair in pairs if len(pair) == 2 and all(pair))
            for t in trace._dense()
            if int(i) in t.inputs and int(j) in t.outputs and f"{int(i)}{int(j)}" == digits
        ]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(name_of(trace, *place) for place in found)
        raise ValueError(f"{name!r} may be {names}: write that")
    layers = [f"{t.outputs[0]} to {t.outputs[-1]} layer {t.name}" for t in trace._dense()[:5]]
    n_in = trace.network.n_in
    raise ValueError(
        f'there is no weight {name!r}; weights are named as "w14", from unit 1 to unit 4, and '
        f'biases as "b4". The {trace.units} units are numbered through: 1 to {n_in} are the '
        f"inputs, then {', '.join(layers)}"
    )


def _by_place(trace, layer, i, j):
    traced = next((t for t in trace.layers if t.name == str(layer)), None)
    if traced is None:
        names = ", ".join(t.name for t in trace.layers)
        raise ValueError(f"there is no layer {layer!r}; layers are: {names}")
    if traced.kind != "Dense":
        raise ValueError(
            f"layer {layer} is {traced.layer!r}: only weights and biases of Dense are shown "
            f"factor by factor. Its gradients are in trace.layers[...].gradients."
        )
    if i is None and not traced.layer.bias:
        raise ValueError(f"layer {layer} has no biases")
    for what, value, n in (("i", i, traced.n_in), ("j", j, traced.n_out)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not (what == "i" and value is None) and not (whole and 0 <= value < n):
            raise ValueError(f"{what} must be a number from 0 to {n - 1}, got {value!r}")
    return traced, i, j
