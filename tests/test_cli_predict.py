"""``nncore predict`` and ``nncore evaluate``, and models that remember their columns."""

import csv
import io
import pickle
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import nncore
import nncore.cli
from nncore import Dense, Network, tables
from nncore.commands import scores
from nncore.views.tracing.show import describe

from .flowers import flowers, houses


@pytest.fixture
def models(command, tmp_path):
    """A folder with f.safetensors of f.csv (kinds) and h.safetensors of h.csv (prices)."""
    (tmp_path / "f.csv").write_text(flowers())
    (tmp_path / "h.csv").write_text(houses(), encoding="utf-8")
    for name in "fh":
        options = "-o", f"{name}.safetensors", "--epochs", 20, "-q"
        assert command("train", f"{name}.csv", *options)[0] == 0
    return tmp_path


def rows(text):
    return list(csv.reader(io.StringIO(text)))


# --- predict --------------------------------------------------------------------------------------


def test_predictions_are_those_of_the_library(command, models):
    for name in "fh":
        network = nncore.load(f"{name}.safetensors")
        X, y = network.columns.read(f"{name}.csv")
        out = network.predict(X)
        status, text, err = command("predict", f"{name}.safetensors", f"{name}.csv")
        head, *told = rows(text)
        assert (status, err, head) == (0, "", [network.columns.targets[0].name])
        if name == "f":
            assert [k for (k,) in told] == [network.columns.classes[k] for k in out.argmax(axis=1)]
            assert np.mean(out.argmax(axis=1) == y) > 0.8
        else:
            np.testing.assert_array_equal(np.array(told, np.float32), out)


def test_inputs_are_encoded_as_they_say(models):
    network = nncore.load("f.safetensors")
    X, y = network.columns.read("f.csv")
    assert network.columns.labels == ["size", "width", "color=blue", "color=deep blue", "color=red"]
    for x, label, row in zip(X, y, rows((models / "f.csv").read_text())[1:], strict=True):
        assert x[:2].tolist() == [float(row[0]), float(row[1])]
        assert x[2:].tolist() == [row[2] == word for word in ("blue", "deep blue", "red")]
        assert network.columns.classes[label] == row[3]


def test_columns_in_any_order_and_others(command, models):
    want = command("predict", "f.safetensors", "f.csv")[1]
    table = rows((models / "f.csv").read_text())
    mixed = [[row[2], "x y", row[1], "", row[0]] for row in table]
    mixed[0][1], mixed[0][3] = "note", "empty"
    with open("mixed.csv", "w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(mixed)
    status, out, err = command("predict", "f.safetensors", "mixed.csv")
    assert (status, out) == (0, want)
    assert err == "nncore predict: note: not looked at: note, empty\n"
    assert command("predict", "f.safetensors", "mixed.csv", "-q") == (0, want, "")


def test_probabilities(command, models):
    network = nncore.load("f.safetensors")
    _, out, _ = command("predict", "f.safetensors", "f.csv", "--probabilities")
    head, *told = rows(out)
    assert head == ["kind", "P(iris)", "P(lily)", "P(rose)"]
    want = network.predict(network.columns.read("f.csv")[0])
    np.testing.assert_array_equal(np.array([row[1:] for row in told], np.float32), want)
    _, out, err = command("predict", "h.safetensors", "h.csv", "--probabilities")
    assert out == "" and "--probabilities are of classes" in err


def test_standard_input_and_output(command, models):
    want = command("predict", "f.safetensors", "f.csv")[1]
    text = (models / "f.csv").read_text()
    assert command("predict", "f.safetensors", "-", stdin=text) == (0, want, "")
    assert command("predict", "f.safetensors", "-", "-o", "-", stdin=text) == (0, want, "")
    assert command("predict", "f.safetensors", "f.csv", "-o", "out.csv") == (0, "", "")
    assert (models / "out.csv").read_bytes() == want.encode()
    assert command("predict", "f.safetensors", "-", stdin="size,width,color\n")[1] == "kind\n"


def test_train_from_standard_input(command, models):
    options = "-o", "again", "--epochs", 20, "-q"
    status, out, _ = command("train", "-", *options, stdin=(models / "f.csv").read_text())
    assert status == 0 and "standard input: 90 rows" in out
    assert (models / "again").read_bytes() == (models / "f.safetensors").read_bytes()
    assert command("evaluate", "again", "-", stdin=flowers())[0] == 0


def test_names_that_csv_has_to_quote(command, tmp_path):
    lines = ['a,"the, ""kind"""'] + [f'{k},"{"x, y" if k % 2 else "z"}"' for k in range(20)]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    command("train", "d.csv", "-o", "m", "--epochs", 2, "-q")
    found = rows(command("predict", "m", "d.csv", "--probabilities")[1])
    assert found[0] == ['the, "kind"', "P(x, y)", "P(z)"]
    assert {row[0] for row in found[1:]} <= {"x, y", "z"}


def test_unknown_categories(command, models):
    text = "color,size,width\nred,1,2\npink,1,2\n"
    status, out, err = command("predict", "f.safetensors", "-", "-o", "out.csv", stdin=text)
    assert (status, out) == (2, "") and not (models / "out.csv").exists()
    assert "standard input, line 3 (row 1), column 0 ('color'): 'pink' is none of" in err
    assert "'blue', 'deep blue', 'red'" in err
    status, out, _ = command("predict", "f.safetensors", "-", "--unknown", "ignore",
                             "--probabilities", stdin=text)  # fmt: skip
    network = nncore.load("f.safetensors")
    want = network.predict([[1, 2, 0, 0, 1], [1, 2, 0, 0, 0]])
    np.testing.assert_array_equal(np.array([r[1:] for r in rows(out)[1:]], np.float32), want)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size,color\n1,red\n", "standard input lacks 'width', which the model needs; it has"),
        ("size,Width,color\n1,2,red\n", "lacks 'width'"),
        ("1,2,3\n", "has no names of columns in its first line"),
        ("size,width,color,size\n1,2,red,1\n", "has several columns 'size'"),
        ("size,width,color\n1,,red\n", "line 2 (row 0), column 1 ('width'): expected a number"),
        ("size,width,color\n1,2,\n", "column 2 ('color'): expected a category, got an empty cell"),
        ("size,width,color\n1,big,red\n", "column 1 ('width'): expected a number, got 'big'"),
        ("size,width,color\n1,inf,red\n", "column 1 ('width'): expected a number, got 'inf'"),
        ("size,width,color\n1,1_0,red\n", "expected a number, got '1_0'"),
        ("size,width,color\n1,2,red\n1,2\n", "line 3 (row 1) has 2 columns, those before have 3"),
        ("", "standard input is empty"),
        (b"size,width,color\n1,2,\xff\n", "line 2 is not text in UTF-8 (byte 0xff)"),
    ],
)
def test_data_that_do_not_fit(command, models, text, message):
    status, _, err = command("predict", "f.safetensors", "-", stdin=text)
    assert status == 2 and err.startswith("nncore predict: error: ") and message in err
    assert err.count("\n") == 1


def test_errors_name_the_line_in_later_blocks(command, models, monkeypatch):
    monkeypatch.setattr(tables, "MOST_CELLS", 12)
    text = "size,width,color\n" + "1,2,red\n" * 20
    assert command("predict", "f.safetensors", "-", stdin=text)[1].count("\n") == 21
    _, _, err = command("predict", "f.safetensors", "-", stdin=text + "\n1,2,\n")
    assert "line 23 (row 20), column 2" in err


def test_memory_does_not_grow_with_the_file(command, models, monkeypatch):
    """A file eight times the size takes no more than some blocks."""
    monkeypatch.setattr(tables, "MOST_CELLS", 2048)
    peaks = []
    for n in (2_000, 16_000):
        with open("big.csv", "w") as file:
            file.write("size,width,color\n" + "1.25,3000,red\n" * n)
        tracemalloc.start()
        assert command("predict", "f.safetensors", "big.csv", "-o", "out.csv")[0] == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        with open("out.csv") as file:
            assert sum(1 for _ in file) == n + 1
    assert peaks[1] < 1.2 * peaks[0] + 1e5


def test_models_without_columns(command, tmp_path):
    classes = Network(2, Dense(3, "softmax"), seed=0)
    numbers = Network(2, Dense(2, "tanh"), Dense(2), seed=0)
    X = np.arange(8.0).reshape(4, 2)
    classes.save("classes")
    numbers.save("numbers")
    text = "\n".join(f"{a},{b}" for a, b in X)
    for start in ("", "p,q\n"):
        _, out, _ = command("predict", "classes", "-", stdin=start + text)
        assert out.split() == ["prediction", *map(str, classes.predict(X).argmax(axis=1))]
        head, *told = rows(command("predict", "numbers", "-", stdin=start + text)[1])
        assert head == ["prediction 0", "prediction 1"]
        np.testing.assert_array_equal(np.array(told, np.float32), numbers.predict(X))
    status, _, err = command("predict", "numbers", "-", stdin="1\n2\n")
    assert status == 2 and "has 1 column; the model, which knows no names, expects 2 inputs" in err
    for name, more in (("classes", ",7,8"), ("numbers", ",7,8,9")):
        status, _, err = command("predict", name, "-", stdin=f"1,2{more}\n3,4{more}\n")
        assert status == 2 and "columns; the model" in err
    status, out, err = command("predict", "classes", "-", stdin="y,b,a\n1,2,3\n")
    assert status == 0 and err == "nncore predict: note: not looked at: a\n"
    assert command("predict", "classes", "-", stdin="1,2,3\n") == (0, out, "")
    assert rows(command("predict", "classes", "-", "--probabilities", stdin=text)[1])[0] == [
        "prediction", "P(0)", "P(1)", "P(2)",
    ]  # fmt: skip


def test_arrays(command, models):
    status, _, err = command("predict", "f.safetensors", "x.npz")
    assert status == 2 and "x.npz: No such file" in err
    np.savez("x.npz", X=np.ones((2, 3)))
    _, _, err = command("predict", "f.safetensors", "x.npz")
    assert "x.npz: the model has columns of words, which only CSV has" in err
    Network(2, Dense(1), seed=0).save("m")
    _, _, err = command("predict", "m", "x.npz")
    assert "the model has 2 inputs, got X of shape (2, 3)" in err
    np.savez("x.npz", X=np.array([[1, 2], [3, np.nan]]))
    assert "X has NaN in row 1, column 1" in command("predict", "m", "x.npz")[2]
    assert "array 'Z'" in command("predict", "m", "x.npz", "--x", "Z")[2]


# --- evaluate -------------------------------------------------------------------------------------


def test_evaluate_classes(command, models):
    network = nncore.load("f.safetensors")
    X, y = network.columns.read("f.csv")
    status, out, err = command("evaluate", "f.safetensors", "f.csv")
    found = network.evaluate(X, y)
    assert (status, err) == (0, "") and "f.csv: 90 rows" in out
    line = next(line for line in out.splitlines() if line.startswith("accuracy")).split()
    assert float(line[1]) == pytest.approx(found["accuracy"], abs=1e-4)
    assert float(line[2]) == pytest.approx(1 / 3, abs=1e-4)
    told = network.predict(X).argmax(axis=1)
    for k, name in enumerate(network.columns.classes):
        counts = [str(np.sum((y == k) & (told == j))) for j in range(3)]
        recall = f"{np.mean(told[y == k] == k):.3f}"
        assert [name, *counts, recall] in [line.split() for line in out.splitlines()]
    precision = [f"{np.mean(y[told == k] == k):.3f}" for k in range(3)]
    assert ["precision", *precision] in [line.split() for line in out.splitlines()]


def test_confusion():
    text = list(scores.confusion(("a", "b", "c"), np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1])))
    assert [line.split() for line in text] == [
        ["true", "\\", "said", "to", "be", "a", "b", "c", "recall"],
        ["a", "1", "2", "0", "0.333"],
        ["b", "0", "1", "0", "1.000"],
        ["c", "0", "0", "0", "-"],
        ["precision", "1.000", "0.333", "-"],
    ]


def test_evaluate_numbers(command, models):
    network = nncore.load("h.safetensors")
    X, y = network.columns.read("h.csv")
    _, out, _ = command("evaluate", "h.safetensors", "h.csv", "--threads", 1)
    found = {line.split()[0]: line.split()[1:] for line in out.splitlines()[2:] if line}
    error = network.predict(X).astype(float) - y
    for name, value in (
        ("RMSE", np.sqrt(np.mean(error**2))), ("MAE", np.mean(abs(error))),
        ("R2", 1 - np.mean(error**2) / np.var(y)),
    ):  # fmt: skip
        assert float(found[name][0].replace(",", "")) == pytest.approx(value, rel=1e-3)
    assert float(found["RMSE"][1].replace(",", "")) == pytest.approx(np.std(y), rel=1e-3)


def test_evaluate_other_targets(command, models):
    _, _, err = command("evaluate", "f.safetensors", "-", stdin=flowers().replace("rose", "tulip"))
    assert "line 2 (row 0), column 3 ('kind'): 'tulip' is none of the model's classes" in err
    _, _, err = command("evaluate", "f.safetensors", "-", stdin="size,width,color\n1,2,red\n")
    assert "lacks 'kind'" in err
    text = "size,town,year,price\n50,Ulm,2000,\n"
    _, _, err = command("evaluate", "h.safetensors", "-", stdin=text)
    assert "line 2 (row 0), column 3 ('price'): the target is missing" in err
    _, _, err = command("evaluate", "f.safetensors", "f.csv", "--target", "kind")
    assert "the model knows its target" in err
    _, _, err = command("evaluate", "f.safetensors", "-", stdin="size,width,color,kind\n")
    assert "has a header and no rows" in err


def test_evaluate_models_without_columns(command, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), np.arange(40) % 20
    network = Network(2, Dense(20, "softmax"), seed=0)
    network.save("m")
    np.savez("d.npz", X=X, y=y)
    status, out, _ = command("evaluate", "m", "d.npz")
    assert status == 0 and f"{network.evaluate(X, y)['accuracy']:.4g}"[:5] in out
    assert "the most frequent errors of 20 classes" in out  # too many for a matrix
    for layers, loss in (([Dense(1, "sigmoid")], None), ([Dense(1)], "poisson"),
                         ([Dense(2)], "gaussian_nll")):  # fmt: skip
        network = Network(2, *layers, loss=loss, seed=0)
        network.save("m")
        np.savez("d.npz", X=X, y=y % 2)
        status, out, err = command("evaluate", "m", "d.npz")
        assert (status, err) == (0, "") and "loss" in out
    np.savez("d.npz", X=X, y=np.eye(2)[y % 2])
    Network(2, Dense(2, "softmax"), seed=0).save("m")
    status, out, err = command("evaluate", "m", "d.npz")
    assert (status, err) == (0, "") and "accuracy" in out


# --- the other commands ---------------------------------------------------------------------------


def test_the_other_commands_encode_as_well(command, models):
    network = nncore.load("f.safetensors")
    X, y = network.columns.read("f.csv")
    status, out, _ = command("trace", "f.safetensors", "f.csv", "--row", 4)
    assert (status, out) == (0, f"{describe(network.trace(X[[4]], y[[4]]), [4]).text()}\n")
    _, out, _ = command("diagnose", "f.safetensors", "f.csv")
    assert out == f"{network.diagnose(X, y, batch_size=32, rows=2000)}\n"
    status, out, _ = command(
        "landscape", "f.safetensors", "-", "--points", 3, "--no-end", stdin=flowers()
    )
    assert (status, out) == (0, f"{nncore.landscape(network, X, y, shape=3, end=False)}\n")


@pytest.mark.parametrize("name", ["predict", "evaluate", "info", "show", "demo"])
def test_help(command, name):
    status, out, err = command(name, "--help")
    assert (status, err) == (0, "") and max(map(len, out.splitlines())) <= 100
    assert "exit status: 0" in out and "examples:" in out
    assert name in command("--help")[1]


def test_evaluate_of_one_row_and_without_a_class(command, models):
    one = "\n".join((models / "h.csv").read_text(encoding="utf-8").split("\n")[:2])
    out = command("evaluate", "h.safetensors", "-", stdin=one + "\n")[1]
    assert ": 1 row\n" in out and re.search(r"^R2 +undefined +undefined$", out, re.MULTILINE)
    status, _, err = command(
        "evaluate", "f.safetensors", "-", stdin="size,width,color,kind\n1,2,red,\n"
    )
    assert status == 2 and "('kind'): the target is missing, expected one of the model's" in err


def test_interrupted_before_it_starts(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(nncore.cli, "_main", interrupt)
    assert nncore.cli.main([]) == 130
    assert capsys.readouterr().err == "nncore: error: interrupted\n"


# --- files that are no models ---------------------------------------------------------------------


def checkpoint(net):
    net.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=1, verbose=False,
            callbacks=[nncore.callbacks.Checkpoint("run")])  # fmt: skip
    return next(Path("run").glob("*.safetensors")).read_bytes()


NO_MODELS = {
    "CSV": (lambda net: b"a,b\r\n1,2\n", "It is text, maybe the data: the model comes first"),
    "NPZ": (lambda net: b"PK\3\4" + bytes(99), "NPZ are data, which come behind the model"),
    "pickle": (lambda net: pickle.dumps([1.0]), "It is a pickle"),
    "HDF5": (lambda net: b"\x89HDF\r\n\x1a\n" + bytes(99), "through nncore.from_keras"),
    "ONNX": (lambda net: net.to_onnx(), "through nncore.from_onnx and Network.save"),
    "checkpoint": (checkpoint, "It is a checkpoint, which fit goes on from"),
    "weights": (
        lambda net: nncore.files.to_bytes({"0.weight": np.ones((1, 2))}, {}), "nncore.from_torch"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_MODELS)
def test_what_is_no_model(command, tmp_path, kind):
    make, advice = NO_MODELS[kind]
    network = Network(2, Dense(1), seed=0)
    (tmp_path / "m").write_bytes(make(network))
    (tmp_path / "d.csv").write_text("1,2\n")
    for words in (("info", "m"), ("show", "m"), ("predict", "m", "d.csv"), ("trace", "m", "d.csv")):
        status, out, err = command(*words)
        assert (status, out) == (2, "") and advice in err and err.count("\n") == 1
    network.save("any name")
    assert command("predict", "any name", "d.csv")[0] == 0
