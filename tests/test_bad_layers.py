"""Layers that are refused: what is said of their arguments, and files that lie about them."""

import json
import tracemalloc

import pytest

from nncore import (
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    GaussianNoise,
    LayerNorm,
    Network,
    PReLU,
    Residual,
    files,
    persistence,
)

from .stacks import make

# --- What is refused, and what is said then -------------------------------------------------------

BAD = [
    (lambda: Dropout(1.0), "rate of Dropout must be .* at least 0 and below 1, such as 0.2, got 1"),
    (lambda: Dense("32"), "n_out of Dense must be an integer of at least 1, got '32': write 32$"),
    (lambda: Dense(3.0), "an integer of at least 1, got 3.0: write 3$"),
    (lambda: Dense(0.0), "an integer of at least 1, got 0.0$"),
    (lambda: Dense("relu", 3), "n_out of Dense must be an integer of at least 1, got 'relu'$"),
    (lambda: Dense(3, None), 'an activation is a name.*got None. For none write "identity"'),
    (lambda: Dense(3, abs), "an activation is a name.*got <built-in.*register_activation"),
    (lambda: Dense(3, {"nam": "relu"}), r"an activation is a name.*got \{'nam': 'relu'\}"),
    (lambda: Dense(3, bias_init="orthogonal"), 'not biases alone. Give bias_init a number, or an'),
    (lambda: Dropout(-0.1), "rate of Dropout"),
    (lambda: Dropout("0.5"), "rate of Dropout"),
    (lambda: Dropout(float("nan")), "rate of Dropout"),
    (lambda: Dropout(True), "rate of Dropout"),
    (lambda: Dropout(0.5, always=1), "always of Dropout must be True or False, got 1"),
    (lambda: GaussianNoise(-1), "std of GaussianNoise must be .* least 0, such as 0.1, got -1"),
    (lambda: GaussianNoise(float("inf")), "std of GaussianNoise"),
    (lambda: BatchNorm(1.5), "momentum of BatchNorm must be a number from 0 to 1.* got 1.5"),
    (lambda: BatchNorm(eps=0), "eps of BatchNorm must be a number from 1e-30 to 1, .* got 0"),
    (lambda: BatchNorm(8), "momentum of BatchNorm .*the network knows how many columns.* got 8"),
    (lambda: LayerNorm(8), "eps of LayerNorm must be .*the network knows how many columns.* got 8"),
    (lambda: LayerNorm(None), "eps of LayerNorm"),
    (lambda: PReLU(shared="yes"), "shared of PReLU must be True or False, got 'yes'"),
    (lambda: Residual(), "Residual needs at least one layer"),
    (lambda: Residual(Dense(3, "softmax")), "softmax in a Residual: only.*behind the block"),
    (lambda: Residual(Embedding(3, 1)), r"Embedding\(3, 1\) in a Residual: it can only be the fir"),
    (lambda: Embedding(0, 3), "n_tokens of Embedding must be an integer of at least 1, got 0"),
    (lambda: Embedding(3), r"needs n_tokens and dim, such as Embedding\(50, 4\).*dim=None"),
    (lambda: Embedding(3, 2, columns={0: (1, 1)}), "n_tokens and dim, or columns, not both"),
    (lambda: Embedding(columns={}), "columns of Embedding must be a dict such as"),
    (lambda: Embedding(columns=[1, 2]), "columns of Embedding must be a dict such as"),
    (lambda: Embedding(columns={-1: (2, 2)}), "number of a column"),
    (lambda: Embedding(columns={"a": (2, 2)}), "number of a column"),
    (lambda: Embedding(columns={0: 5}), "number of a column"),
    (lambda: Embedding(columns={1: (2, 0)}), "dim of column 1 of Embedding must be an integer"),
    (lambda: Network(3, Embedding(columns={3: (2, 2)}), Dense(1)),
     "names column 3, but there are 3 columns: the last is 2"),
    (lambda: Network(1 << 17, Embedding(2, 1), Dense(1)), "at most 65536 columns, not 131072"),
    (lambda: Network(3, Dense(3), Embedding(2, 2)),
     r"layer 1 is Embedding\(2, 2\), which only the first layer may be"),
    (lambda: Network(8, Residual(Dense(16), Dense(5, "tanh"))),
     r"would add 5 outputs to 8 inputs, but the widths must be the same.*Dense\(8\)"),
    (lambda: Network(3, Dropout(0.5)), "no parameters to train"),
    (lambda: Network(3, Dense(2, "softmax"), Dropout(0.5)), "layer 0 is softmax, which only"),
    (lambda: Network(3, Dense(2), PReLU(), loss="cross_entropy"),
     r'cross_entropy needs a "softmax" output, but the last layer is PReLU\(\)'),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_list_in_a_residual():
    with pytest.raises(TypeError, match="layer 0 of Residual must be a layer.*not a list"):
        Residual([Dense(3)])


LINEAR = [
    ([Dense(3), Dense(1)], True),
    ([Dense(3), Dropout(0.1), BatchNorm(), Dense(1)], True),
    ([Dense(3), Residual(Dense(3)), Dense(1)], True),
    ([Dense(3), Residual(Dense(3))], True),
    ([Dense(3), PReLU(), Dense(1)], False),
    ([Dense(3), LayerNorm(), Dense(1)], False),
    ([Dense(3), PReLU()], False),
    ([Dropout(0.5), Dense(1)], False),
    ([BatchNorm(), Dense(1)], False),
    ([Residual(Dense(4, "tanh")), Dense(1)], False),
]


@pytest.mark.parametrize(("layers", "warns"), LINEAR, ids=repr)
def test_linear_networks_are_warned_of(layers, warns):
    if warns:
        with pytest.warns(UserWarning, match="can only do what one Dense"):
            Network(4, *layers)
    else:
        Network(4, *layers)


# --- Files that lie -------------------------------------------------------------------------------


def rewritten(name, change):
    tensors, metadata = files.from_bytes(persistence.to_bytes(make(name)))
    description = json.loads(metadata["nncore"])
    change(tensors, description)
    return files.to_bytes(tensors, {"nncore": json.dumps(description)})


def refused(data, part=None):
    tracemalloc.start()
    try:
        with pytest.raises(files.FileFormatError, match=part) as caught:
            persistence.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["nested", "columns"])
def test_every_missing_key_and_tensor_is_noticed(name):
    tensors, metadata = files.from_bytes(persistence.to_bytes(make(name)))
    for tensor in tensors:
        refused(rewritten(name, lambda t, d, tensor=tensor: t.pop(tensor)), "missing|not like")

    def keys(value, path=()):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items if isinstance(value, (dict, list)) else ():
            if isinstance(value, dict):
                yield (*path, key)
            yield from keys(inner, (*path, key)) if isinstance(inner, (dict, list)) else ()

    found = list(keys(json.loads(metadata["nncore"])["config"]["layers"]))
    assert len(found) > 3
    for path in found:

        def change(tensors, description, path=path):
            at = description["config"]["layers"]
            for key in path[:-1]:
                at = at[key]
            del at[path[-1]]

        refused(rewritten(name, change))


@pytest.mark.parametrize(
    "value",
    [None, 0, "x", {}, [], [1, 2], [1, 2, -1], [1, 2.0, 3], [1, 2, True], [1 << 64, 0, 0],
     [1, 1 << 48, 0], [1, 0, 1 << 48]],
)  # fmt: skip
def test_draws_that_lie(value):
    refused(rewritten("dropout", lambda t, d: d.update(draws=value)), "draws")


def test_draws_that_are_missing():
    refused(rewritten("dropout", lambda t, d: d.pop("draws")), "'draws' is missing")
    data = rewritten("dropout", lambda t, d: d.update(draws=[(1 << 64) - 1, 5, (1 << 48) - 1]))
    network = persistence.from_bytes(data)
    assert network._engine.draws == ((1 << 64) - 1, 5, (1 << 48) - 1)


def layer_changed(change):
    return lambda tensors, description: change(description["config"]["layers"][0])


SIZES = [-1, 0, 6, 2.5, True, None, "5", [5], 2**31, 2**40, 2**63, 2**200]


@pytest.mark.parametrize("value", SIZES, ids=repr)
def test_sizes_that_lie_take_no_memory(value):
    for key in ("n_tokens", "dim"):
        change = layer_changed(lambda layer, key=key: layer.update({key: value}))
        refused(rewritten("embedding", change))
    for place in (0, 1, 2):
        change = layer_changed(lambda layer, at=place: layer["columns"][0].__setitem__(at, value))
        refused(rewritten("columns", change))
    for name in ("nested", "embedding", "batch_norm"):
        refused(rewritten(name, lambda t, d: d["config"].update(n_in=value)))


def test_a_width_that_no_tensor_bounds_takes_no_memory():
    """One shared slope fits any width."""
    network = Network(3, PReLU(shared=True), seed=0)
    data = persistence.to_bytes(network)
    tensors, metadata = files.from_bytes(data)
    text = metadata["nncore"].replace('"n_in": 3', f'"n_in": {2**31 - 1}')
    tracemalloc.start()
    wide = persistence.from_bytes(files.to_bytes(tensors, {"nncore": text}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert wide.n_in == 2**31 - 1 and peak < 200_000


def test_blocks_that_nest_without_end():
    tensors, metadata = files.from_bytes(persistence.to_bytes(Network(3, PReLU(), seed=0)))
    start, end = '{"type": "residual", "layers": [', "]}"
    inner = '{"type": "prelu", "shared": false}'
    for depth in (65, 900, 10_000):
        block = start * depth + inner + end * depth
        text = metadata["nncore"].replace(inner, block)
        assert len(text) > 20 * depth
        with pytest.raises(files.FileFormatError):
            persistence.from_bytes(files.to_bytes(tensors, {"nncore": text}))


@pytest.mark.parametrize("layers", [None, "x", 5, {}, [[]], [{"type": "residual"}], {"type": 1}])
def test_blocks_that_are_none(layers):
    refused(rewritten("nested", lambda t, d: d["config"]["layers"][0].update(layers=layers)))
