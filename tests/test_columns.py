"""Columns that a model remembers: in files that are not trusted, and what ``info`` and ``show``
say."""

import copy
import json
import os
import pickle

import numpy as np
import pytest

import nncore
from nncore import Dense, Network, files
from nncore.columns import Columns, Input, Target
from nncore.files import FileFormatError

COLUMNS = Columns(
    [Input("size", None, 1.5), Input("color", ("blue", "red"), 0)],
    [Target("kind", ("a", "b", "c"))],
)


def network(columns=COLUMNS):
    net = Network(3, Dense(4, "tanh"), Dense(3, "softmax"), seed=0)
    net.columns = columns
    return net


def test_columns_stay_with_the_network(tmp_path):
    net = network()
    net.save(tmp_path / "m")
    for other in (nncore.load(tmp_path / "m"), net.copy(), copy.copy(net),
                  pickle.loads(pickle.dumps(net))):  # fmt: skip
        assert other.columns.inputs == COLUMNS.inputs and other.columns.targets == COLUMNS.targets
        np.testing.assert_array_equal(other.theta, net.theta)
    assert Network(3, Dense(1)).columns is None
    nncore.load(tmp_path / "m").save(tmp_path / "again")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "again").read_bytes()


BAD = [
    ("[]", "not inputs and targets"),
    ("{", "."),
    ('{"inputs": [], "targets": []}', "not a list of descriptions"),
    ({"inputs": 3}, "not a list"),
    ({"inputs": [3]}, "does not describe a column"),
    ({"inputs": [{"name": 3}]}, "no name"),
    ({"inputs": [{"fill": 3}]}, "'name' is missing"),
    ({"inputs": [{"name": "a", "more": 1}]}, "does not describe"),
    ({"inputs": [{"name": "a", "classes": ["b"]}]}, "does not describe"),
    ({"inputs": [{"name": "a", "categories": []}]}, "list"),
    ({"inputs": [{"name": "a", "categories": ["b", "b", "c"]}]}, "are no categories"),
    ({"inputs": [{"name": "a", "categories": [1, 2, 3]}]}, "are no categories"),
    ({"inputs": [{"name": "a", "categories": [["b"], "c"]}]}, "."),
    ({"inputs": [{"name": "a", "fill": "1"}]}, "no number for empty cells"),
    ({"inputs": [{"name": "a", "fill": True}]}, "no number for empty cells"),
    ('{"inputs": [{"name": "a", "fill": NaN}], "targets": [{"name": "y"}]}', "NaN is no number"),
    ('{"inputs": [{"name": "a", "fill": 1e999}], "targets": [{"name": "y"}]}', "inf is no number"),
    ({"inputs": [{"name": "a"}]}, "columns of 1 inputs"),
    ({"inputs": [{"name": "a"}, {"name": "a"}, {"name": "b"}]}, "the same name"),
    ({"targets": [{"name": "size"}]}, "the same name"),
    ({"targets": [{"name": "y", "classes": ["a", "b"]}]}, "2 outputs"),
    ({"targets": [{"name": "y", "classes": ["a", 1, 2]}]}, "are no classes"),
    ({"targets": [{"name": "y", "classes": [1, 2.0, 3]}]}, "are no classes"),
    ({"targets": [{"name": "y", "fill": 1}]}, "does not describe"),
    ({"targets": [{"name": "y"}]}, "1 outputs"),
    ({"targets": [{"name": "y", "classes": [1, 2]}, {"name": "z"}]}, "several targets"),
    ('{"inputs": ' + "[" * 100_000, "."),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_files_are_not_trusted(tmp_path, command, bad, message):
    net = network()
    net.save("m")
    tensors, metadata = files.read("m")
    if not isinstance(bad, str):
        bad = json.dumps(json.loads(metadata["columns"]) | bad)
    files.write("m", tensors, metadata | {"columns": bad})
    with pytest.raises(FileFormatError, match=message):
        nncore.load("m")
    status, out, err = command("info", "m")
    assert (status, out) == (2, "") and err.startswith("nncore info: error: m ")


def test_descriptions_too_long_for_a_file(command, tmp_path):
    rows = [f"{k},{'w' * 90}{k},{k % 7}.5" for k in range(5_000)]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,y", *rows]))
    status, _, err = command("train", "d.csv", "--epochs", 1, "-o", "m", "--categorical", "b",
                             "--layers", "1")  # fmt: skip
    assert status == 2 and "more than 400,000 bytes" in err and os.listdir() == ["d.csv"]


# --- info and show --------------------------------------------------------------------------------


def test_info(command, tmp_path):
    net = network()
    net.fit(np.eye(3), [0, 1, 2], epochs=4, verbose=False)
    net.save("m")
    status, out, err = command("info", "m")
    assert (status, err) == (0, "")
    for part in (f"m, {(tmp_path / 'm').stat().st_size:,} bytes", "31 of float32", "4 updates, 4",
                 "cross_entropy", "Adam(lr=0.001", "number, 1.5 where empty",
                 "2 categories: blue, red; none of them where empty", "3 classes: a, b, c",
                 ):  # fmt: skip
        assert part in out
    Network(3, Dense(1)).save("plain")
    assert "none known; inputs are numbers in order" in command("info", "plain")[1]
    assert "isa:" in command("info")[1]
    assert "no: No such file" in command("info", "no")[2]


def test_names_are_shown_without_control_characters(command, tmp_path):
    name = "\x1b[31mred\x07" + "x" * 100
    net = network(
        Columns([Input(name), Input("b"), Input("c")], [Target("y", ("\x1b[0m", "b", "c"))])
    )
    net.save("m")
    for arguments in (["info", "m"], ["show", "m"]):
        out = command(*arguments)[1]
        assert "\x1b" not in out and "\x07" not in out and "x" * 40 not in out


def test_show(command, tmp_path):
    net = network()
    net.save("m")
    status, out, err = command("show", "m")
    assert (status, err) == (0, "") and "1 Dense  softmax     4 -> 3" in out
    lines = [line.split() for line in out.splitlines()]
    for k, name in enumerate(("size", "color=blue", "color=red")):
        assert ["W", name, *(f"{w:.4g}" for w in net.layers[0].W[k])] in lines
    assert ["b", *(f"{b:.4g}" for b in net.layers[1].b)] in lines
    one = command("show", "m", "--layer", 1)[1]
    assert one in out and "layers[0]" not in one
    _, _, err = command("show", "m", "--layer", 2)
    assert "--layer 2: there are layers 0 to 1" in err


def test_show_of_large_and_other_layers(command, tmp_path):
    Network(
        100, nncore.Scaling(mean=5.0), nncore.Residual(Dense(100, "relu"), nncore.BatchNorm()),
        nncore.PReLU(), nncore.Dropout(0.5), Dense(2), seed=0,
    ).save("m")  # fmt: skip
    status, out, err = command("show", "m")
    assert (status, err) == (0, "") and len(out.splitlines()) < 60
    assert "mean (100,): mean 5, std 0, " in out and "100.0% zeros" in out
    network = Network(3, nncore.Embedding(5, 2), Dense(1), seed=0)
    network.theta[0] = np.nan
    network.save("m")
    assert command("show", "m")[0] == 0
