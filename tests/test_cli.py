"""``nncore trace``, ``diagnose`` and ``landscape``: a saved network and a data file, and reading
such files."""

import importlib.util
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import nncore
from nncore import SGD, Dense, Network, tables
from nncore.cli import main
from nncore.files import FileFormatError
from nncore.views.tracing.show import describe

has_matplotlib = importlib.util.find_spec("matplotlib") is not None
drawn = pytest.mark.skipif(not has_matplotlib, reason='plots need pip install ".[plot]"')

ROWS = "x1,x2,x3,y\n1,0,1,1\n0,1,1,0\n1,1,0,1\n0,0,1,0\n"
X = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]], float)
Y = np.array([1, 0, 1, 0])


def regression():
    """The 3-2-1 network of sigmoids, in float64."""
    return Network(
        3, Dense(2, "sigmoid", init=[[0.1, -0.2], [0.3, 0.4], [-0.5, 0.6]]),
        Dense(1, "sigmoid", init=[[0.7], [-0.8]]), loss="half_mse", optimizer=SGD(0.5),
        dtype="float64",
    )  # fmt: skip


def classifier():
    return Network(3, Dense(4, "tanh"), Dense(3, "softmax"), seed=0)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with networks and data, which is the current one."""
    monkeypatch.chdir(tmp_path)
    regression().save("net.safetensors")
    classifier().save("classes.safetensors")
    (tmp_path / "data.csv").write_text(ROWS)
    np.savez("data.npz", X=X, y=Y)
    return tmp_path


@pytest.fixture
def run(place, capsys):
    """Run a command; return its exit status, what it prints, and its errors."""

    def call(*arguments):
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as end:  # argparse
            status = end.code
        return status, *capsys.readouterr()

    return call


# --- trace ----------------------------------------------------------------------------------------


def of_rows(trace, *rows):
    """What is printed of a trace; the command calls patterns by their rows in the file."""
    return describe(trace, rows).text()


def test_rows_are_named_as_in_the_file(run):
    _, out, _ = run("trace", "net.safetensors", "data.csv", "--row", 3)
    assert out.startswith("One step with row 3: 3-2-1") and "half_mse of row 3." in out
    assert "\nUnits of row 3\n" in out and "pattern" not in out
    asked = "--row", 3, "--row", 1, "--weight", "b4"
    _, out, _ = run("trace", "net.safetensors", "data.csv", *asked)
    assert out.startswith("One step with rows 3, 1: ") and "pattern" not in out
    assert "\nUnits of row 3\n" in out and "\nUnits of row 1\n" in out
    table = out.split("  row ")[1].splitlines()
    assert [line.split()[0] for line in table[1:3]] == ["3", "1"]
    status, out, err = run("trace", "net.safetensors", "data.csv", *["--row", 3] * 2)
    assert (status, out, err) == (2, "", "nncore trace: error: --row 3 is given twice\n")


def test_a_summary_says_the_option_of_the_command(run):
    large = Network(30, Dense(20, "tanh"), Dense(1), seed=0)
    large.save("large.safetensors")
    np.savez("large.npz", X=np.ones((2, 30)), y=np.ones(2))
    _, out, _ = run("trace", "large.safetensors", "large.npz")
    name = re.search(r"--weight (w\d+_51) shows it", out)[1]
    assert "trace." not in out and run("trace", "large.safetensors", "large.npz", "--weight", name)
    text = str(large.trace(np.ones(30), 1.0))
    assert f'trace.weight("{name}") shows it' in text and "numbers are in trace.layers" in text


def test_trace_is_that_of_the_library(run):
    trace = regression().trace(X[[2]], Y[[2]], weights=["w14", "b6"])
    for name in ("w14", "layers[0].W[0, 0]"):
        got = run("trace", "net.safetensors", "data.csv", "--row", 2, "--weight", name,
                  "--weight", "b6")  # fmt: skip
        assert got == (0, f"{of_rows(trace, 2)}\n", "")
        assert "dJ/dw14 = (h - y) f'(z6) w46 f'(z4) x1" in got[1]


def test_trace_takes_the_first_row_or_those_asked_for(run):
    for rows in ([0], [3], [1, 3]):
        asked = [a for row in rows for a in ("--row", row)]
        for data in ("data.csv", "data.npz"):
            status, out, _ = run("trace", "net.safetensors", data, *(asked if rows != [0] else []))
            trace = regression().trace(X[rows], Y[rows])
            assert (status, out) == (0, f"{of_rows(trace, *rows)}\n")


@pytest.mark.parametrize(
    ("name", "suffix", "start"),
    [
        ("text", "txt", "One step with row 0"),
        ("markdown", "md", "**One step"),
        ("latex", "tex", r"\paragraph{One step"),
        ("svg", "svg", "<svg "),
        ("html", "html", "<!DOCTYPE html>"),
    ],
)
def test_formats_by_name_and_by_suffix(run, place, name, suffix, start):
    status, out, err = run("trace", "net.safetensors", "data.csv", "--format", name)
    assert (status, err) == (0, "") and out.startswith(start) and out.endswith("\n")
    assert run("trace", "net.safetensors", "data.csv", "-o", f"step.{suffix}") == (0, "", "")
    assert (place / f"step.{suffix}").read_text(encoding="utf-8") == out
    if name == "html":
        assert "<svg " in out and "<table" in out and out.rstrip().endswith("</html>")
    given = run("trace", "net.safetensors", "data.csv", "-o", "step.x", "--format", name)
    assert given == (0, "", "") and (place / "step.x").read_text(encoding="utf-8") == out


def test_warnings_are_one_line(run, place):
    Network(3, Dense(1, "sigmoid", init=np.zeros((3, 1))), loss="mse").save("small.safetensors")
    (place / "far.csv").write_text("1,0,1,7\n")
    status, _, err = run("trace", "small.safetensors", "far.csv")
    assert status == 0 and err.count("\n") == 1
    assert err.startswith("nncore trace: warning: Targets span [7, 7] but the output activation is")


def test_targets_are_as_the_loss_wants_them(run, place):
    """Labels or shares of classes, and n means with n variances for n targets."""
    one_hot = np.eye(3)[Y]
    rows = [",".join(map(str, [*x, *t])) for x, t in zip(X, one_hot, strict=True)]
    (place / "shares.csv").write_text("\n".join(rows))
    pair = Network(3, Dense(2), loss="gaussian_nll", seed=0)
    pair.save("pair.safetensors")
    for network, data, trace in (
        ("classes", "data.csv", classifier().trace(X[[0]], Y[[0]])),
        ("classes", "shares.csv", classifier().trace(X[[0]], one_hot[[0]])),
        ("pair", "data.csv", pair.trace(X[[0]], Y[[0]])),
    ):
        assert run("trace", f"{network}.safetensors", data) == (0, f"{of_rows(trace, 0)}\n", "")
    status, _, err = run("trace", "pair.safetensors", "shares.csv")
    assert status == 2 and "6 columns; expected 3 for the inputs and 1 for the target" in err


# --- diagnose -------------------------------------------------------------------------------------


def test_diagnose_tells_by_its_exit_status(run, place):
    rng = np.random.default_rng(0)
    well = rng.normal(size=(60, 3))
    labels = np.arange(60) % 3
    np.savez("well.npz", X=well, y=labels)
    np.savez("sick.npz", X=np.where(np.arange(3) == 1, 1e4, 1) * well, y=labels)
    assert len(classifier().diagnose(well, labels)) == 0  # or this tests something else
    status, out, err = run("diagnose", "classes.safetensors", "well.npz")
    assert (status, err) == (0, "") and "nothing found" in out
    status, out, err = run("diagnose", "classes.safetensors", "sick.npz")
    assert (status, err) == (1, "") and "unscaled_inputs" in out
    with np.load("sick.npz") as sick:
        assert out == f"{classifier().diagnose(sick['X'], labels)}\n"
    options = "--rows", 40, "--batch-size", 8
    _, out, _ = run("diagnose", "classes.safetensors", "sick.npz", *options)
    assert "40 of 60 rows looked at" in out


def test_nan_in_the_data_is_a_finding(run, place):
    (place / "holes.csv").write_text(ROWS + "nan,1,0,1\n")
    status, out, err = run("diagnose", "net.safetensors", "holes.csv")
    assert (status, err) == (1, "") and "nan_inputs" in out


# --- landscape ------------------------------------------------------------------------------------


def test_landscape_writes_what_the_library_computes(run, place):
    status, out, err = run(
        "landscape", "net.safetensors", "data.csv", "--directions", "w14, layers[1].b[0]",
        "--points", "7,5", "--span", "2,0.5", "--npz", "grid.npz",
    )  # fmt: skip
    found = nncore.landscape(
        regression(), X, Y, directions=("w14", "layers[1].b[0]"), shape=(7, 5), span=(2, 0.5)
    )
    assert (status, out, err) == (0, f"{found}\n", "")
    with np.load("grid.npz", allow_pickle=False) as grid:
        for name in ("a", "b", "losses"):
            np.testing.assert_array_equal(grid[name], getattr(found, name))
        assert tuple(grid["center"]) == found.center and list(grid["labels"]) == found.labels


def test_landscape_along_random_directions(run):
    got = run("landscape", "classes.safetensors", "data.npz", "--points", 4, "--seed", 3,
              "--no-end")  # fmt: skip
    found = nncore.landscape(classifier(), X, Y, shape=4, seed=3, end=False)
    assert got == (0, f"{found}\n", "")
    assert run("landscape", "classes.safetensors", "data.npz", "--directions", "random",
               "--points", 4, "--seed", 3, "--no-end") == got  # fmt: skip
    assert len(run("landscape", "classes.safetensors", "data.npz", "--points", 4)[1]) > len(got[1])


# --- Pictures -------------------------------------------------------------------------------------


@drawn
@pytest.mark.parametrize("more", [["diagnose"], ["landscape"], ["landscape", "--surface"]])
@pytest.mark.parametrize(
    ("name", "start"), [("p.png", b"\x89PNG"), ("p.svg", b"<?xml"), ("p.PDF", b"%PDF")]
)
def test_pictures(run, place, more, name, start):
    command, *rest = more
    small = ["--points", 5] if command == "landscape" else []
    status, out, err = run(command, "net.safetensors", "data.csv", *rest, *small, "--plot", name)
    assert status in (0, 1) and out and err == ""
    first = (place / name).read_bytes()
    assert first.startswith(start) and b"CreationDate" not in first and b"<dc:date>" not in first
    run(command, "net.safetensors", "data.csv", *rest, *small, "--plot", name)
    assert (place / name).read_bytes() == first


@pytest.mark.parametrize("command", ["diagnose", "landscape"])
def test_without_matplotlib_there_is_a_hint(run, place, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = run(command, "net.safetensors", "data.csv", "--plot", "p.png")
    assert (status, out) == (2, "") and not (place / "p.png").exists()
    expected = 'plotting needs matplotlib: pip install "nncore-c[plot]"'
    assert err == f"nncore {command}: error: {expected}\n"


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trace no data.csv", "no: No such file or directory"),
        ("trace net.safetensors no.csv", "no.csv: No such file or directory"),
        ("trace net.safetensors no.npz", "no.npz: No such file or directory"),
        ("trace data.csv data.csv", "not a safetensors file"),
        ("trace net.safetensors net.safetensors", "line 1 is not text in UTF-8 (byte 0x"),
        ("trace net.safetensors data.csv --row 4", "--row 4: data.csv has rows 0 to 3"),
        ("trace net.safetensors data.csv --row -1", "--row -1: data.csv has rows 0 to 3"),
        ("trace net.safetensors data.csv --weight w99", "there is no weight 'w99'"),
        ("trace net.safetensors data.csv --target z", "data.csv has no column 'z' for the target"),
        ("trace net.safetensors data.csv --x X", "--x and --y are for NPZ files"),
        ("trace net.safetensors data.npz --target y", "--target and --header are for CSV files"),
        ("trace net.safetensors data.npz --y t", "no array 't'; it has: 'X', 'y'"),
        ("trace net.safetensors data.csv -o no/step.txt", "there is no folder no"),
        ("trace net.safetensors data.csv -o .", "cannot write .: it is a folder"),
        ("trace net.safetensors data.csv --format pdf", "invalid choice: 'pdf'"),
        ("trace net.safetensors data.csv -o t.pdf", "what t.pdf is to be: expected .txt, .md, .te"),
        ("landscape net.safetensors data.csv --seed -1", "seed must be an integer of at least 0"),
        ("landscape net.safetensors data.csv --span 1e200", "span must be a positive number below"),
        ("diagnose net.safetensors data.csv --rows 0", "rows must be an integer of at least 1"),
        ("diagnose net.safetensors data.csv --plot p.jpg", "expected a name with .png, .svg, .pdf"),
        ("landscape net.safetensors data.csv --points 1", "expected one or two integers of at l"),
        ("landscape net.safetensors data.csv --points 3,3,3", "expected one or two integers of a"),
        ("landscape net.safetensors data.csv --span nan", "expected one or two positive numbers"),
        ("landscape net.safetensors data.csv --directions w14", "expected random, or two weights"),
        ("landscape net.safetensors data.csv --directions w14,w99", "w99"),
        ("landscape net.safetensors data.csv --surface", "say --plot FILE.png"),
        ("landscape net.safetensors data.csv --points 9000000", "has 81,000,000,000,000 points"),
    ],
)  # fmt: skip
def test_errors(run, place, arguments, message):
    before = sorted(os.listdir(place))
    status, out, err = run(*arguments.split())
    assert (status, out) == (2, "") and sorted(os.listdir(place)) == before
    last = err.splitlines()[-1]
    assert last.startswith(f"nncore {arguments.split()[0]}: error: ") and message in last


@pytest.mark.parametrize(
    "command",
    ["trace net.safetensors data.csv -o data.csv",
     "trace net.safetensors data.csv -o net.safetensors",
     "landscape net.safetensors data.npz --points 3 --npz data.npz"],
)  # fmt: skip
def test_what_is_read_is_not_overwritten(run, place, command):
    before = {name: (place / name).read_bytes() for name in os.listdir(place)}
    status, _, err = run(*command.split())
    assert status == 2 and "it is read here" in err
    assert before == {name: (place / name).read_bytes() for name in os.listdir(place)}


def test_a_failed_write_leaves_the_file(run, place, monkeypatch):
    (place / "step.md").write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device", "step.md")

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = run("trace", "net.safetensors", "data.csv", "-o", "step.md")
    assert (status, err) == (2, "nncore trace: error: step.md: No space left on device\n")
    assert (place / "step.md").read_text() == "before"
    assert not [name for name in os.listdir(place) if name.endswith(".tmp")]


def test_interrupted(run, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(nncore.Network, "diagnose", stop)
    got = run("diagnose", "net.safetensors", "data.csv")
    assert got == (130, "", "nncore diagnose: error: interrupted\n")


@pytest.mark.parametrize("command", ["trace net.safetensors data.csv", "trace --help", "info",
                                     "diagnose net.safetensors data.csv"])  # fmt: skip
def test_a_reader_that_has_seen_enough_is_no_error(place, command):
    """As ``nncore trace ... | head`` does; the status is that of other programs there."""
    arguments = command.split()
    code = (
        "import os, sys; from nncore.cli import main; read, write = os.pipe(); os.dup2(write, 1); "
        "os.close(write); os.close(read); "
        f"sys.exit(main({arguments!r}))"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=buffered, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("command", ["info", "trace net.safetensors data.csv"])
def test_a_full_disk_is_one(place, command):
    code = f"import sys; from nncore.cli import main; sys.exit(main({command.split()!r}))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=place, stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=60,
        )  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.endswith("error: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("command", ["trace", "diagnose", "landscape"])
def test_help(run, command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    for word in ("exit status: 0", "examples:", "the data file:", f"{tables.MOST_NUMBERS:,}",
                 "--target COLUMN", f"nncore {command} model.safetensors data."):  # fmt: skip
        assert word in out
    assert max(map(len, out.splitlines())) <= 100
    assert command in run("--help")[1]


# --- CSV ------------------------------------------------------------------------------------------


@pytest.fixture
def csv(tmp_path):
    """Write a text or bytes to a file and read it as CSV."""

    def read(content, **options):
        path = tmp_path / "d.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tables.read_csv(path, **options)

    return read


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_csv_dialects(csv, separator, end, start):
    text = ROWS.replace(",", separator).replace("\n", end)
    for content in (text, text.rstrip(), text.replace("x1", '"x1"').replace("0", ' "0"'[1:])):
        inputs, targets = csv(start + content.encode(), n_inputs=3)
        np.testing.assert_array_equal(inputs, X)
        np.testing.assert_array_equal(targets, Y)
        assert inputs.dtype == targets.dtype == np.float64


def test_csv_cells_may_go_on_in_the_next_line(csv):
    X, y = csv('"a\nb",c\r\n"1\r\n",2\r\n\n3,"\n\n4"\n')
    assert (X.tolist(), y.tolist()) == ([[1], [3]], [2, 4])


def test_csv_header(csv):
    for mark in ("", "\ufeff"):  # found to have none, with Windows' byte order mark or without
        assert len(csv(f"{mark}1,2\n3,4\n")[0]) == 2
    assert len(csv("1,2\n3,4\n", header=True)[0]) == 1  # names that are numbers
    inputs, targets = csv("9,8,7\n1,2,3\n", header=True, target=["9"])
    assert (inputs.tolist(), targets.tolist()) == ([[2, 3]], [1])  # the name comes first
    with pytest.raises(FileFormatError, match=r"line 1 has numbers and 'b': say --header"):
        csv("1,b\n3,4\n")
    assert len(csv("1,b\n3,4\n", header=True)[0]) == 1
    with pytest.raises(FileFormatError, match=r"line 1 \(row 0\), column 1: .* got 'b'"):
        csv("1,b\n3,4\n", header=False)


@pytest.mark.parametrize(
    ("target", "columns"),
    [(["b"], [1]), (["-1"], [3]), (["0"], [0]), (["d", "a"], [3, 0]), (["c", "1"], [2, 1])],
)
def test_csv_targets_by_name_and_number(csv, target, columns):
    table = np.arange(12.0).reshape(3, 4)
    text = "a, b,c,d\n" + "\n".join(",".join(map(str, row)) for row in table)
    inputs, targets = csv(text, target=target, n_targets=(len(target),))
    left = [j for j in range(4) if j not in columns]
    np.testing.assert_array_equal(inputs, table[:, left])
    np.testing.assert_array_equal(targets.reshape(3, -1), table[:, columns])


def test_csv_takes_as_many_targets_as_there_are_columns_left(csv):
    text = "0.5,1,0,0\n0.25,0,0,1\n"
    inputs, targets = csv(text, n_inputs=1, n_targets=(1, 3), labels=True)
    assert inputs.shape == (2, 1) and targets.dtype == float and targets.shape == (2, 3)
    inputs, targets = csv("0.5,2\n0.25,0.0\n", n_inputs=1, n_targets=(1, 3), labels=True)
    assert targets.dtype == np.int64 and targets.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, r"d\.csv is empty"),
        ("\n \n", {}, r"d\.csv is empty"),
        ("a,b\n", {}, r"d\.csv has a header and no rows"),
        ("a,b\n1,2\n\n3,x\n", {}, r"line 4 \(row 1\), column 1 \('b'\): expected a number, got"),
        ("a,b\n1,\n", {}, r"line 2 \(row 0\), column 1 \('b'\): .*got an empty cell"),
        ("1,2\n3,1_0\n", {}, r"line 2 \(row 1\), column 1: expected a number, got '1_0'"),
        ("1,2\n3,1,5\n", {}, r"line 2 \(row 1\) has 3 columns, those before have 2"),
        ("1;2\n3;4\n3;1,5\n", {}, r"column 1: .* got '1,5': write decimal points, not commas"),
        ("1,5;2,0\n3,5;4,0\n", {}, r"line 1 has '1,5', a number with a decimal comma"),
        ("a;b\n1;2,0\n", {}, r"line 2 has '2,0', a number with a decimal comma: write"),
        ("1.5\t-2,5e3\n", {}, r"line 1 has '-2,5e3', a number with a decimal comma"),
        ("1,2\n3\n", {}, r"line 2 \(row 1\) has 1 column, those before have 2"),
        ("1\n3\n", {}, r"has 1 column; expected at least one column for the inputs and 1 for"),
        ("1,2,3\n", {"n_inputs": 4}, r"has 3 columns; expected 4 for the inputs and 1 for"),
        ("1,2,3\n", {"n_inputs": 1, "n_targets": (1, 3)}, r"expected 1 for .* and 1 or 3 for"),
        ("1,2,3\n", {"target": ["0", "1"]}, r"has 3 columns, 2 given as target; expected at"),
        ("1,2,3\n", {"target": ["3"]}, r"no column '3' .* numbered 0 to 2$"),
        ("a,b\n1,2\n", {"target": ["c"]}, r"no column 'c' .* numbered 0 to 1: 'a', 'b'$"),
        ("a,a\n1,2\n", {"target": ["a"]}, r"has 2 columns 'a'; give its number"),
        ("1,2,3\n", {"target": ["0", "0"], "n_targets": (2,)}, "given twice"),
        ("1,2\n1,2.5\n", {"labels": True}, r"line 2 .*expected an integer class label, got '2.5'"),
        ("1,nan\n", {"labels": True, "header": False}, r"an integer class label, got 'nan'"),
        ("1,1e300\n", {"labels": True}, r"a number up to 1e\+150, got '1e300'"),
        (b"a,b\n1,2\n3,\xe9\n", {}, r"line 3 is not text in UTF-8 \(byte 0xe9\)"),
        ("a,b\n".encode("utf-16"), {}, r"line 1 is not text in UTF-8 \(byte 0xff\)"),
        ('a,b\n1,"2\n', {}, r"line 2 is not CSV: unexpected end of data; is a quote not closed"),
        ('a,b\n1,"2\n3,4\n5,6\n', {}, r"line 2 is not CSV: unexpected end of data"),
        ('a,b\n1,"2"\n\n3,"4\n', {}, r"line 4 is not CSV"),
        ('a,b\n1,"2"3\n', {}, r"line 2 is not CSV: .*; is a quote not closed, or not doubled"),
        ('"a\nb",c\n1,2\n"3\n4",5\n', {}, r"line 4 \(row 1\), column 0 .*number, got '3\\n4'"),
        ("1,2\r3,4\r", {}, r"line 1 is not CSV: lines have to end in LF or CR LF, not in CR alone"),
        ("a|b\n1|2\n", {"target": ["b"]}, r"there is no comma, .* in its first line: 'a\|b'"),
        ("1,\x002\n3,4", {"header": False}, r"line 1 is not text in UTF-8 \(byte 0x00\)"),
        ("a,b\n".encode("utf-16-le"), {}, r"line 1 is not text in UTF-8 \(byte 0x00\)"),
    ],
)  # fmt: skip
def test_csv_errors_say_where(csv, content, options, message):
    with pytest.raises(ValueError, match=message):
        csv(content, **options)


def test_csv_is_bounded(csv, monkeypatch):
    monkeypatch.setattr(tables, "MOST_NUMBERS", 4)
    assert csv("1,2\n3,4\n")[0].shape == (2, 1)
    with pytest.raises(FileFormatError, match=r"line 3 .*at most 4 numbers are read"):
        csv("1,2\n3,4\n5,6\n")
    monkeypatch.setattr(tables, "MOST_LINE", 6)
    with pytest.raises(FileFormatError, match=r"line 2 has more than 6 bytes"):
        csv("1,2\n3," + "4" * 5)
    with pytest.raises(FileFormatError, match=r"line 2 goes on for too long; is a quote not"):
        csv('1,2\n"\n' + "4\n" * 5)


# --- NPZ ------------------------------------------------------------------------------------------


def test_npz_by_other_names_and_types(run, place):
    np.savez_compressed("d.npz", inputs=X.astype("f4"), t=Y.astype("f8"), X=X[:1], y=Y)
    want = of_rows(classifier().trace(X[[1]], Y[[1]]), 1)
    got = run("trace", "classes.safetensors", "d.npz", "--x", "inputs", "--y", "t", "--row", 1)
    assert got == (0, f"{want}\n", "")
    status, _, err = run("trace", "classes.safetensors", "d.npz")
    assert status == 2 and "d.npz: X has 1 rows and y has 4" in err


@pytest.mark.parametrize("bad", ["pickle", "text", "complex", "scalar", "bomb", "short", "v3"])
def test_npz_with_what_is_no_array_of_numbers(place, bad):
    arrays = {"pickle": np.array([{}], object), "text": np.array(["a"]), "scalar": np.float64(3),
              "complex": X * 1j}  # fmt: skip
    np.savez("d.npz", X=arrays.get(bad, X), y=Y)
    if bad not in arrays:
        shape = {"bomb": (1 << 40, 1 << 40), "short": (5, 3), "v3": (4, 3)}[bad]
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        head = (b"\x93NUMPY\x01\x00" if bad != "v3" else b"\x93NUMPY\x03\x00") + b"\x76\x00"
        with zipfile.ZipFile("d.npz", "w") as archive:
            archive.writestr("X.npy", head + text.encode() + X.tobytes())
    message = {
        "bomb": "array 'X': shape .* is more than the file holds", "v3": "array 'X' has format",
        "short": "d.npz is damaged",
    }.get(bad, r"d\.npz, array 'X': expected rows of real numbers")  # fmt: skip
    with pytest.raises(FileFormatError, match=message):
        tables.read_npz("d.npz")


def test_npz_that_is_damaged_or_none(place):
    whole = (place / "data.npz").read_bytes()
    (place / "none.npz").write_bytes(b"1,2\n")
    with pytest.raises(FileFormatError, match=r"none\.npz is damaged, or no NPZ file"):
        tables.read_npz("none.npz")
    rng = np.random.default_rng(0)
    for _ in range(300):  # nothing but the error that is promised
        damaged = bytearray(whole)
        for at in rng.integers(len(whole), size=3):
            damaged[at] = rng.integers(256)
        (place / "d.npz").write_bytes(damaged[: rng.integers(1, len(whole) + 1)]
                                      if rng.random() < 0.3 else damaged)  # fmt: skip
        try:
            tables.read_npz("d.npz")
        except FileFormatError:
            pass


def test_npz_labels_are_integers(place):
    np.savez("d.npz", X=X, y=Y + 0.5)
    with pytest.raises(FileFormatError, match=r"d\.npz: y must be integer class labels"):
        tables.read_npz("d.npz", labels=True)
    assert tables.read_npz("d.npz")[1].tolist() == (Y + 0.5).tolist()
    np.savez("d.npz", X=X, y=np.array([0, np.nan, 1, 1]))
    with pytest.raises(FileFormatError, match="integer class labels"):
        tables.read_npz("d.npz", labels=True)
