"""``nncore train``: what it makes of a table, what it prints, and what it refuses."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import nncore
from nncore import callbacks, tables
from nncore.columns import Input, Target
from nncore.commands import survey

from .flowers import flowers, houses

QUICK = ("--epochs", "5", "-q")


def scores(out):
    """The numbers of the table that is printed, by name."""
    value = r" +([-\d.,e]+)"
    line = rf"^(\w+(?: of \w+)?){value}(?:{value})?(?:{value})?$"
    found = re.findall(line, out, re.MULTILINE)
    return {name: [float(v.replace(",", "")) for v in row if v] for name, *row in found}


def test_classes(command, tmp_path):
    (tmp_path / "f.csv").write_text(flowers())
    status, out, err = command("train", "f.csv", "--target", "kind", "-o", "f.safetensors")
    assert status == 0 and "epoch" in err
    assert "f.csv: 90 rows, 3 inputs, 1 of them words with 3 categories" in out
    assert "kind, 3 classes: iris, lily, rose" in out and "saved as f.safetensors" in out
    held, training, always = scores(out)["accuracy"]
    assert held > 0.9 and training > 0.9 and always == pytest.approx(1 / 3, abs=0.01)
    network = nncore.load("f.safetensors")
    assert network.columns.inputs == (
        Input("size"), Input("width"), Input("color", ("blue", "deep blue", "red")),
    )  # fmt: skip
    assert network.columns.targets == (Target("kind", ("iris", "lily", "rose")),)
    assert network.n_in == 5 and network.loss == "cross_entropy"
    np.testing.assert_array_equal(network.layers[0].scale[2:], 1)  # of categories
    assert "not saved: -o" in command("train", "f.csv", *QUICK)[1]


def test_numbers(command, tmp_path):
    (tmp_path / "h.csv").write_text(houses(), encoding="utf-8")
    status, out, err = command("train", "h.csv", "-o", "h.safetensors", "-q")
    assert (status, err) == (0, "") and "price (numbers)" in out
    found = scores(out)
    assert found["R2"][0] > 0.9 and found["R2"][2] < 0.1
    assert 10 < found["MAE"][0] < found["RMSE"][0] < found["RMSE"][2] / 3
    network = nncore.load("h.safetensors")
    X, y = network.columns.read("h.csv")
    assert X.shape == (80, 5)
    told = network.predict(X)
    assert np.sqrt(np.mean((told - y) ** 2)) < found["RMSE"][2] / 3  # in the unit of the target


def test_the_report_is_what_the_library_measures(command, tmp_path):
    """With nothing held out all rows are those of training."""
    (tmp_path / "h.csv").write_text(houses(), encoding="utf-8")
    (tmp_path / "f.csv").write_text(flowers())
    for name in ("h", "f"):
        _, out, _ = command(
            "train", f"{name}.csv", "--holdout", "0", "-o", "m", "--seed", 3, *QUICK
        )
        network = nncore.load("m")
        X, y = network.columns.read(f"{name}.csv")
        for metric, value in network.evaluate(X, y).items():
            assert scores(out)[metric][0] == pytest.approx(value, rel=1e-3)
        assert "held out" not in out and "best" not in out


@pytest.mark.parametrize("epochs", [15, 400], ids=["all epochs", "stopped early"])
def test_the_report_is_of_the_network_that_is_saved(command, tmp_path, epochs):
    """Not of the last epoch, which a wild rate makes a worse one. Errors add up by rows."""
    (tmp_path / "h.csv").write_text(houses(), encoding="utf-8")
    options = "--learning-rate", 0.1, "--epochs", epochs, "--patience", 20, "-o", "m", "-q"
    _, out, _ = command("train", "h.csv", *options)
    ran, best = map(int, re.search(r"(\d+) epochs.* is that of epoch (\d+)$", out, re.M).groups())
    assert best < ran == epochs if epochs == 15 else best + 20 == ran < epochs
    told = nncore.load("m")
    X, y = told.columns.read("h.csv")
    held, training, _ = scores(out)["MAE"]
    error = np.abs(told.predict(X) - y).mean()
    assert (held * 16 + training * 64) / 80 == pytest.approx(error, rel=1e-3)  # four digits
    command("train", "h.csv", *options[:3], best, *options[4:6], "-o", "again", "-q")
    np.testing.assert_array_equal(nncore.load("again").predict(X), told.predict(X))


def test_the_same_seed_gives_the_same_file(command, tmp_path):
    (tmp_path / "f.csv").write_text(flowers())
    files = []
    for seed in (0, 0, 1):
        command("train", "f.csv", "-o", "m", "--seed", seed, *QUICK)
        files.append((tmp_path / "m").read_bytes())
    assert files[0] == files[1] != files[2]


def test_options_of_the_network(command, tmp_path):
    (tmp_path / "f.csv").write_text(flowers())
    options = ("--layers", "7,3", "--activation", "relu", "--optimizer", "momentum", "--dtype",
               "float64", "--learning-rate", "0.02", "--batch-size", "9", "--epochs", "4",
               "--holdout", "0.5", "--threads", "1")  # fmt: skip
    status, out, _ = command("train", "f.csv", "-o", "m", "-q", *options)
    network = nncore.load("m")
    dense = network.layers[1:]
    assert status == 0 and [layer.n_out for layer in dense] == [7, 3, 3]
    assert [layer.activation for layer in dense] == ["relu", "relu", "softmax"]
    assert network.dtype == "float64" and network.optimizer.lr == 0.02
    assert network._engine.n_updates == 4 * 5 and "45 rows, 4 epochs" in out
    command("train", "f.csv", "-o", "m", "--layers", "none", *QUICK)
    assert len(nncore.load("m").layers) == 2


@pytest.mark.parametrize("optimizer", ["lbfgs", "scg"])
def test_full_batch_optimizers(command, tmp_path, optimizer):
    (tmp_path / "f.csv").write_text(flowers())
    status, out, _ = command("train", "f.csv", "--optimizer", optimizer, "-q")
    assert status == 0 and scores(out)["accuracy"][0] > 0.9


def test_losses(command, tmp_path):
    (tmp_path / "h.csv").write_text(houses(), encoding="utf-8")
    pairs = "\n".join(["a,b", *(f"{k % 7},{'yes' if k % 7 > 3 else 'no'}" for k in range(70))])
    (tmp_path / "pairs.csv").write_text(pairs)
    command("train", "h.csv", "--loss", "huber", "-o", "m", *QUICK)
    assert nncore.load("m").loss == "huber"
    _, out, _ = command("train", "pairs.csv", "--loss", "binary_cross_entropy", "-o", "m", "-q")
    assert scores(out)["accuracy"][0] == 1
    network = nncore.load("m")
    assert network.n_out == 1 and network.columns.classes == ("no", "yes")
    told = command("predict", "m", "-", "--probabilities", stdin="a\n0\n6\n")[1].splitlines()
    assert told[0] == "b,P(no),P(yes)" and told[1][:3] == "no," and told[2][:4] == "yes,"
    (no, not_yes), (not_no, yes) = ([float(p) for p in line.split(",")[1:]] for line in told[1:])
    assert no + not_yes == pytest.approx(1) and not_no + yes == pytest.approx(1)
    assert no > 0.5 < yes
    assert "said to be" in command("evaluate", "m", "pairs.csv")[1]
    _, _, err = command("train", "h.csv", "--loss", "cross_entropy")
    assert "loss of a regression" in err
    (tmp_path / "f.csv").write_text(flowers())
    _, _, err = command("train", "f.csv", "--loss", "focal")
    assert "focal is for two classes, and there are 3" in err


# --- what the columns are -------------------------------------------------------------------------


def table(cells, target="y", rows=40):
    """CSV of a column x that `cells` gives by row number, and a target that is a number."""
    lines = [f"{cells(k)},{k % 8},{(k * 7 % 13) + 0.5}" for k in range(rows)]
    return "\n".join([f"x,z,{target}", *lines]) + "\n"


@pytest.mark.parametrize(
    ("target", "task", "found"),
    [
        (lambda k: k % 3, None, (0, 1, 2)),
        (lambda k: 2 * (k % 2) - 1, None, (-1, 1)),
        (lambda k: k % 13, None, None),  # too few rows of each
        (lambda k: k % 13, "classification", tuple(range(13))),
        (lambda k: k % 3 + 0.5, None, None),
        (lambda k: k % 2, "regression", None),
        (lambda k: f"{k % 2}.0", None, (0, 1)),
        (lambda k: "NY"[k % 2], None, ("N", "Y")),
        (lambda k: ("1", "2", "x")[k % 3], None, ("1", "2", "x")),
    ],
)
def test_the_task_follows_from_the_target(command, tmp_path, target, task, found):
    lines = "\n".join(["a,y", *(f"{k * k % 11},{target(k)}" for k in range(40))])
    (tmp_path / "d.csv").write_text(lines)
    status, out, err = command(
        "train", "d.csv", "-o", "m", *QUICK, *(["--task", task] if task else [])
    )
    assert (status, err) == (0, "")
    assert nncore.load("m").columns.classes == found
    assert ("R2" in out) == (found is None)


def test_kinds_of_columns(command, tmp_path):
    (tmp_path / "d.csv").write_text(table(lambda k: (10, 2, 3)[k % 3]))
    for options, kind in (
        ((), None),
        (("--categorical", "x"), ("2", "3", "10")),  # in the order of numbers
        (("--categorical", "0"), ("2", "3", "10")),
        (("--numeric", "x"), None),
    ):
        assert command("train", "d.csv", "-o", "m", *options, *QUICK)[0] == 0
        assert nncore.load("m").columns.inputs[0] == Input("x", kind)
    assert command("train", "d.csv", "-o", "m", "--ignore", "x", *QUICK)[0] == 0
    assert nncore.load("m").columns.inputs == (Input("z"),)


def test_several_targets(command, tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{1000 * a + 5:.3f},{-a:.4f}" for a in rng.normal(size=60)]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,c", *rows]))
    options = "--target", "b", "--target", "c"
    status, out, _ = command("train", "d.csv", *options, "-o", "m", "-q")
    found = scores(out)
    assert status == 0 and found["R2 of b"][0] > 0.9 and found["R2 of c"][0] > 0.9
    assert found["RMSE of b"][2] > 500 * found["RMSE of c"][2]
    assert command("predict", "m", "-", stdin="a\n1\n")[1].startswith("b,c\n")


def test_npz_and_tables_without_names(command, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(int) + 4
    np.savez("d.npz", a=X, b=y)
    status, out, _ = command("train", "d.npz", "--x", "a", "--y", "b", "-o", "m", "-q")
    assert status == 0 and nncore.load("m").columns.classes == (4, 5)
    np.savetxt("d.csv", np.column_stack([X, y]), delimiter=",")
    np.savetxt("x.csv", X, delimiter=",")
    assert command("train", "d.csv", "-o", "n", "-q")[0] == 0
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()
    told = command("predict", "m", "x.csv")[1]
    np.savez("x.npz", X=X)
    assert told == command("predict", "m", "x.npz")[1] and told.startswith("prediction\n")
    assert np.mean(np.array(told.split()[1:], int) == y) > 0.9
    assert command("evaluate", "m", "d.csv")[1].split("rows")[1] == command(
        "evaluate", "m", "d.npz", "--x", "a", "--y", "b"
    )[1].split("rows")[1]  # fmt: skip


def test_large_numbers_get_float64(command, tmp_path):
    (tmp_path / "d.csv").write_text(table(lambda k: 1_700_000_000 + 60 * (k * 3 % 17)))
    command("train", "d.csv", "-o", "m", *QUICK)
    assert nncore.load("m").dtype == "float64"


# --- empty cells ----------------------------------------------------------------------------------

GAPS = {3: "", 5: "NA", 20: " "}


def with_gaps(word=False):
    kinds = ("red", "green")
    return table(lambda k: GAPS.get(k, kinds[k % 2] if word else k % 5))


def test_empty_cells_are_an_error_by_default(command, tmp_path):
    (tmp_path / "d.csv").write_text(with_gaps())
    status, _, err = command("train", "d.csv")
    assert status == 2 and "d.csv, line 5 (row 3), column 0 ('x'): the cell is empty" in err
    assert "--missing drop" in err and "--missing mean" in err
    (tmp_path / "d.csv").write_text(
        "a,y\n" + "".join(f"{k},{k * 3 % 7}.5\n" for k in range(9)) + "3,\n"
    )
    status, _, err = command("train", "d.csv")
    assert status == 2 and "line 11 (row 9), column 1 ('y')" in err and "--missing mean" not in err
    status, out, err = command("train", "d.csv", "--missing", "mean", "--epochs", 1)
    assert status == 0 and "1 of 10 rows have empty cells and are left out" in err
    assert "d.csv: 9 rows, 1 input\n" in out and ", 1 epoch" in out


def test_sizes_of_numbers(command, tmp_path):
    def row(k, cell):
        return "x,y\n" + "".join(f"{cell if i == k else i},{i % 7}.5\n" for i in range(40))

    (tmp_path / "d.csv").write_text(row(7, "1e39"))  # too large for float32
    status, out, _ = command("train", "d.csv", "-o", "wide", *QUICK)
    assert status == 0 and "of float64" in out
    (tmp_path / "d.csv").write_text(row(7, "1e300"))
    status, _, err = command("train", "d.csv", *QUICK)
    assert status == 2 and "d.csv, line 9 (row 7), column 0 ('x'): expected a number up to" in err
    (tmp_path / "d.csv").write_text(row(0, "0"))
    assert command("train", "d.csv", "-o", "m", *QUICK)[0] == 0
    nncore.Network(1, nncore.Dense(1)).save("plain")
    (tmp_path / "d.csv").write_text(row(7, "1e39"))
    for name in ("m", "plain"):
        for work in ("predict", "evaluate", "trace"):
            status, out, err = command(work, name, "d.csv")
            assert status == 2, (name, work)
            assert "line 9 (row 7), column 0 ('x'): expected a number up to 3.4e+38, got" in err


def test_codes_are_words(command, tmp_path):
    text = "".join(f"0{k % 2}0{k % 3},{k % 7},{k % 2 and '007' or 7}\n" for k in range(60))
    (tmp_path / "d.csv").write_text("zip,n,agent\n" + text)
    status, out, err = command("train", "d.csv", "-o", "m", "--epochs", 2)
    assert status == 0 and "agent, 2 classes: 007, 7" in out
    assert "column 'zip' has '0000', so its numbers are taken as words" in err
    columns = nncore.load("m").columns
    assert columns.inputs[0].categories == ("0000", "0001", "0002", "0100", "0101", "0102")
    options = "--numeric", "zip", "--numeric", "agent", "--target", "n"
    status, _, err = command("train", "d.csv", *options, "--epochs", 1)
    assert status == 0 and "'zip'" not in err
    (tmp_path / "d.csv").write_text("zip,n\n" + "".join(f"0{k},{k % 5}.5\n" for k in range(60)))
    status, _, err = command("train", "d.csv")
    assert status == 2 and "60 different words" in err and "--numeric zip" in err


def test_codes_among_many_numbers(command, tmp_path, monkeypatch):
    """Where a column is one of numbers already, it is asked what they are."""
    monkeypatch.setattr(survey, "MOST_UNDECIDED", 5)
    monkeypatch.setattr(tables, "MOST_CELLS", 40)
    text = "".join(f"{k % 10 if k < 50 else '007'},{k % 7}.5\n" for k in range(60))
    (tmp_path / "d.csv").write_text("zip,n\n" + text)
    status, _, err = command("train", "d.csv", "-q")
    assert status == 2 and "line 52 (row 50), column 0 ('zip'): '007' begins with 0" in err
    assert "--categorical zip" in err and "--numeric zip" in err
    command("train", "d.csv", "--categorical", "zip", "-o", "words", *QUICK)
    assert len(nncore.load("words").columns.inputs[0].categories) == 11
    command("train", "d.csv", "--numeric", "zip", "-o", "numbers", *QUICK)
    assert nncore.load("numbers").columns.inputs[0] == Input("zip")


def test_cells_of_several_lines(command, tmp_path):
    text = "".join(f'{k},"{"two" if k % 2 else "three"}\nlines",{k % 2}\n' for k in range(40))
    (tmp_path / "d.csv").write_text(f'n,"kind\nof text",y\n{text}')
    assert command("train", "d.csv", "-o", "m", *QUICK)[0] == 0
    columns = nncore.load("m").columns
    assert columns.inputs[1] == Input("kind\nof text", ("three\nlines", "two\nlines"))
    assert len(command("predict", "m", "d.csv")[1].split()) == 41
    (tmp_path / "d.csv").write_text(f'n,"kind\nof text",y\n{text}x,"two\nlines",1\n')
    status, _, err = command("predict", "m", "d.csv")
    assert status == 2 and "line 83 (row 40), column 0 ('n'): expected a number, got 'x'" in err


def test_useless_networks_are_told(command, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "d.csv").write_text(
        "x,y\n" + "".join(f"{a:.3f},{b:.3f}\n" for a, b in rng.normal(size=(60, 2)))
    )
    told = "no better than always the same answer"
    assert told in command("train", "d.csv", "-q", "--learning-rate", 1, "--epochs", 2)[1]
    (tmp_path / "h.csv").write_text(houses(), encoding="utf-8")
    assert told not in command("train", "h.csv", "-q")[1]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"PK\3\4\x14\0", "d.csv is a ZIP or Excel file, not CSV text"),
        (b"\x1f\x8b\x08\0", "d.csv is a gzip file, not CSV text"),
        (b"# made by me\na,b\n1,2\n", "its first line, '# made by me', has no comma"),
    ],
)
def test_what_is_no_table(command, tmp_path, start, message):
    (tmp_path / "d.csv").write_bytes(start)
    status, _, err = command("train", "d.csv")
    assert status == 2 and message in err
    status, _, err = command("train", "")
    assert status == 2 and "expected the name of a file" in err


def test_rows_with_empty_cells_are_dropped(command, tmp_path):
    (tmp_path / "d.csv").write_text(with_gaps())
    status, out, err = command("train", "d.csv", "-o", "m", "--missing", "drop", "--epochs", 2)
    assert status == 0 and "3 of 40 rows have empty cells and are left out" in err
    assert "d.csv: 37 rows" in out
    status, _, err = command("predict", "m", "-", stdin="x,z\n1,2\n,3\n")
    assert status == 2 and "line 3 (row 1), column 0 ('x'): expected a number, got an empty" in err


def test_empty_cells_get_the_mean(command, tmp_path):
    (tmp_path / "d.csv").write_text(with_gaps())
    assert command("train", "d.csv", "-o", "m", "--missing", "mean", "--holdout", 0, *QUICK)[0] == 0
    mean = float(np.mean([k % 5 for k in range(40) if k not in GAPS]))
    column = nncore.load("m").columns.inputs[0]
    assert column.fill == pytest.approx(mean, rel=1e-12)
    told = command("predict", "m", "-", stdin=f"x,z\n{mean!r},2\n,2\nNaN,2\n")[1].split()
    assert told[1] == told[2] == told[3]
    (tmp_path / "d.csv").write_text(with_gaps(word=True))
    status, _, _ = command("train", "d.csv", "-o", "m", "--missing", "mean", *QUICK)
    column = nncore.load("m").columns.inputs[0]
    assert (status, column) == (0, Input("x", ("NA", "green", "red"), 0))  # among words NA is one
    told = command("predict", "m", "-", "--unknown", "ignore", stdin="x,z\n,2\nblue,2\n")[1].split()
    assert told[1] == told[2]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (lambda k: f"id{k}", r"column 'x' has 40 different words .*'id0'.*--ignore x"),
        (lambda k: f"2024-01-{k % 9 + 1:02}", "dates or times, such as '2024-01-01'.*--ignore x"),
        (lambda k: f"{k % 9}.12.2020 10:30", "dates or times"),
        (lambda k: f'"{k},5"', r"line 2 .*expected a number, got '0,5': write decimal points"),
        (lambda k: f'"{k},5"' if k else 4, r"line 3 .*expected a number, got '1,5': write decimal"),
        (lambda k: "oops" if k == 7 else k % 20, r"line 9 \(row 7\), column 0 \('x'\): expected a "
         "number, as most cells of this column are, got 'oops'"),
        (lambda k: '"3,5"' if k == 7 else k, r"line 9 \(row 7\), .* '3,5': write decimal points"),
        (lambda k: "1e999" if k == 7 else k, r"line 9 \(row 7\), .*expected a number, got '1e999'"),
        (lambda k: "", r"line 2 \(row 0\), column 0 \('x'\): the cell is empty"),
        (lambda k: "1,2" if k == 5 else 1, r"line 7 \(row 5\) has 4 columns, those before have 3"),
        (lambda k: '"a' if k == 5 else "b", r"line 7 .*is not CSV"),
    ],
)  # fmt: skip
def test_columns_that_teach_nothing(command, tmp_path, cells, message):
    (tmp_path / "d.csv").write_text(table(cells))
    status, out, err = command("train", "d.csv", "-o", "m")
    assert (status, out) == (2, "") and re.search(message, err) and not (tmp_path / "m").exists()
    assert err.count("\n") == 1


def test_many_numbers_then_a_word(command, tmp_path):
    """A column of more different numbers than are kept as text is one of numbers from then on."""
    (tmp_path / "d.csv").write_text(table(lambda k: "?" if k == 5 else k, rows=1500))
    _, _, err = command("train", "d.csv")
    assert "line 7 (row 5), column 0 ('x'): the cell is empty" in err
    (tmp_path / "d.csv").write_text(table(lambda k: "x" if k == 90_000 else k, rows=90_002))
    _, _, err = command("train", "d.csv", "--missing", "drop")
    assert "line 90002 (row 90000), column 0 ('x'): expected a number, got 'x'" in err
    assert "--categorical x" in err
    (tmp_path / "d.csv").write_text(table(lambda k: f"w{k}", rows=10_100))
    _, _, err = command("train", "d.csv")
    assert "line 10002 (row 10000), column 0 ('x'): more than 10,000 different words" in err
    assert command("train", "d.csv", "--ignore", "x", "--epochs", 1, "-q")[0] == 0


def test_a_column_that_counts_the_rows_is_noted(command, tmp_path):
    (tmp_path / "d.csv").write_text(table(lambda k: k + 1))
    _, _, err = command("train", "d.csv", "--epochs", 1)
    assert "note: column 'x' counts the rows" in err and "--ignore x" in err
    assert command("train", "d.csv", *QUICK)[2] == ""


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", "", "d.csv is empty"),
        ("a,y\n", "", "d.csv has a header and no rows"),
        ("y\n1\n2\n", "", "no columns for the inputs beside the target"),
        ("a,a,y\n1,2,3\n", "", "has 2 columns 'a'; rename them"),
        ("a,y\n1,2\n" + "".join(f'{k},"3,{k}"\n' for k in range(12)), "",
         "line 3 (row 1), column 1 ('y'): expected a number, got '3,0': write decimal points"),
        ("a,y\n1,2\n", "--target z", "no column 'z' for the target; its 2 columns"),
        ("a,y\n1,2\n", "--ignore z", "no column 'z' for --ignore"),
        ("a,y\n1,2\n", "--ignore y", "column 'y' is given for two things at once"),
        ("a,y\n1,2\n", "--categorical a --numeric a", "column 'a' is given for two things at once"),
        ("a,y\n1,2\n", "--target y --target y", "target 'y' is given twice"),
        ("a,y\n1,2\n2,3.5\n", "--holdout 0.1", "leaves none on one side"),
        ("a,y\n1,2.5\n1,2.5\n", "", "target 'y': 2.5 in all rows, nothing to learn"),
        ("a,y\n1,b\n1,b\n2,b\n3,b\n4,b\n", "", "one class in all rows"),
        ("a,y\n" + "".join(f"{k},w{k}\n" for k in range(30)), "", "30 different values in 30 rows"),
        ("a,b,y\n1,c,2\n2,d,3\n", "--target b --target y", "several targets have to be numbers"),
        ("a,y\n1,0.5\n2,1.5\n3,1\n", "--task classification", "classes are words or whole numbers"),
        ("a,y\n1,b\n2,c\n3,b\n", "--task regression", "words are no target of a regression"),
        ("a,y\n" + "".join(f"{k},{'n/k' if k == 7 else k}.5\n" for k in range(30)), "",
         "d.csv, line 9 (row 7), column 1 ('y'): expected a number, as most cells of this column"),
        ("a,y\n1,2\n", "--learning-rate 0", "expected a positive number, got '0'"),
        ("a,y\n1,2\n", "--holdout 1", "expected a number from 0 to below 1"),
        ("a,y\n1,2\n", "--layers 3,0", "expected numbers as 32,16, or none; got '3,0'"),
        ("a,y\n1,2\n", "--epochs 1.5", "expected an integer of at least 1"),
        ("a,y\n1,2\n", "--seed -1", "--seed must be at least 0"),
        ("a,y\n1,2\n2,3.5\n3,1\n", "--holdout 0 --activation rel", "rel"),
        ("a,y\n1,2\n2,3.5\n3,1\n", "--holdout 0 --optimizer adan", "adan"),
        ("a,y\n1,2\n2,3.5\n3,1\n", "--holdout 0 --optimizer lm --learning-rate 1", "lm has none"),
        ("a,y\n1,2\n", "--x b", "--x and --y are for NPZ files"),
        ("a,y\n1,2\n", "-o no/m", "there is no folder no"),
        ("a,y\n1,2\n", "-o d.csv", "it is read here"),
    ],
)  # fmt: skip
def test_refusals(command, tmp_path, text, options, message):
    (tmp_path / "d.csv").write_text(text)
    status, out, err = command("train", "d.csv", *options.split())
    assert (status, out) == (2, "") and message in err and os.listdir(tmp_path) == ["d.csv"]
    assert err.splitlines()[-1].startswith("nncore train: error: ")


def test_arrays_that_do_not_fit(command, tmp_path):
    good = np.arange(12.0).reshape(6, 2)
    for X, y, message in (
        (good[0], [1, 2], "expected X of rows and columns"),
        (good, [1, 2, 3], "as many rows of y"),
        (np.where(good == 4, np.nan, good), np.arange(6) / 7, "row 2, column 0: the cell is empty"),
        (np.where(good == 5, np.inf, good), np.arange(6) / 7, "row 2, column 1: infinite"),
    ):
        np.savez("d.npz", X=X, y=y)
        status, _, err = command("train", "d.npz")
        assert status == 2 and message in err, err
    _, _, err = command("train", "d.npz", "--ignore", "1")
    assert "--ignore are for CSV files" in err


def test_a_loss_that_explodes(command, tmp_path):
    (tmp_path / "h.csv").write_text(houses(), encoding="utf-8")
    status, _, err = command("train", "h.csv", "--optimizer", "sgd", "--learning-rate", "1e9",
                             "--activation", "relu", "-q", "-o", "m")  # fmt: skip
    assert status == 2 and "smaller learning rate" in err and not (tmp_path / "m").exists()


# --- interrupted ----------------------------------------------------------------------------------


def test_interrupted_keeps_the_best(command, tmp_path, monkeypatch):
    head, *rows = flowers().splitlines()
    kinds = np.random.default_rng(0).permutation([row.split(",")[-1] for row in rows])
    noise = [f"{row.rpartition(',')[0]},{kind}" for row, kind in zip(rows, kinds, strict=True)]
    (tmp_path / "f.csv").write_text("\n".join([head, *noise]))  # the loss held out will grow
    losses = []

    def stop(self, epoch, logs=None):
        losses.append(logs["val_loss"])
        if epoch == 60:
            raise KeyboardInterrupt
        return later(self, epoch, logs)

    later = callbacks.EarlyStopping.on_epoch_end
    monkeypatch.setattr(callbacks.EarlyStopping, "on_epoch_end", stop)
    status, out, err = command("train", "f.csv", "-o", "m", "--patience", 99, "-q")
    best = int(np.argmin(losses[:60])) + 1
    assert (status, err) == (1, "") and losses[-1] > 1.1 * losses[best - 1]
    assert f"61 epochs, interrupted; the network is that of epoch {best}" in out
    assert "interrupted: best network so far saved as m" in out
    assert scores(out)["loss"][0] == pytest.approx(losses[best - 1], rel=1e-3)
    assert command("evaluate", "m", "f.csv")[0] == 0


def test_interrupted_before_there_is_anything(command, tmp_path, monkeypatch):
    (tmp_path / "f.csv").write_text(flowers())

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(nncore.Network, "fit", stop)
    status, out, err = command("train", "f.csv", "-o", "m")
    assert (status, out) == (130, "") and not (tmp_path / "m").exists()
    assert err.endswith("error: interrupted before the first epoch was over; nothing is saved\n")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c(tmp_path):
    """The signal itself, while epochs go on."""
    (tmp_path / "f.csv").write_text(flowers(3000))
    arguments = ["train", "f.csv", "-o", "m", "--patience", "1000000", "--epochs", "1000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nncore", *arguments], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip  # a shell's background jobs ignore the signal, and hand that on
    try:
        for line in process.stderr:
            if line.startswith("epoch"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1 and "interrupted: best network so far saved as m" in out
    assert "Traceback" not in err and nncore.load(tmp_path / "m").columns.classes


def test_help(command):
    status, out, err = command("train", "--help")
    assert (status, err) == (0, "") and max(map(len, out.splitlines())) <= 100
    for word in ("exit status: 0", "examples:", "--missing", "Ctrl-C", "standard input"):
        assert word in out
