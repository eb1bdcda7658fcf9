"""``nncore bench``: its cases, its floor, its verification, its files, and the command itself."""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import nncore
from nncore import bench
from nncore.bench import cases, report, runner, systems, timing, worker
from nncore.bench.cases import Case

# --- Cases ----------------------------------------------------------------------------------------


def test_parse():
    case = Case.parse("30-50x2-20-3:tanh:softmax:64:float64", "online")
    assert case.layers == (30, 50, 50, 20, 3) and case.batch == 64
    assert case.loss == "cross_entropy" and case.output == "softmax"
    assert (case.dtype, case.mode, case.optimizer) == ("float64", "online", "sgd")
    assert Case.parse("3-1:relu:mse:2", "train").dtype == "float32"


@pytest.mark.parametrize("mode", cases.MODES)
def test_names_are_read_back(mode):
    for case in cases.built_in(mode, "float64"):
        assert Case.parse(case.name, mode) == case
    assert len(cases.built_in(mode, quick=True)) < len(cases.built_in(mode))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3-2-1", "a case is layers:activation:loss:batch or"),
        ("3-2-1:tanh:mse:4:float32:x", "a case is layers:activation:loss:batch or"),
        ("3:tanh:mse:4", "at least inputs and outputs"),
        ("3--1:tanh:mse:4", "numbers joined by -"),
        ("3-2x-1:tanh:mse:4", "numbers joined by -"),
        ("3-two:tanh:mse:4", "numbers joined by -"),
        ("3-0-1:tanh:mse:4", "a layer of a case must be an integer from 1"),
        ("3-2x0-1:tanh:mse:4", "a number of layers of a case must be an integer from 1"),
        ("3-99999999:tanh:mse:4", "a layer of a case must be an integer from 1"),
        ("3-1:swish:mse:4", "activation of a case must be one of elu, gelu"),
        ("3-1:tanh:hinge:4", "loss of a case must be one of mse, half_mse"),
        ("3-1:tanh:mse:4:float16", "dtype of a case must be one of float32, float64"),
        ("3-1:tanh:mse:0", "the batch of a case must be an integer from 1"),
        ("3-1:tanh:mse:", "the batch of a case must be an integer from 1"),
        ("3-1:tanh:mse:1e3", "the batch of a case must be an integer from 1"),
        ("3-1:tanh:softmax:8", "cross_entropy needs at least 2 outputs"),
    ],
)
def test_parse_says_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        Case.parse(text, "train")


def test_a_given_shape_is_measured_in_each_mode():
    found = cases.given("3-4-2:tanh:mse:16", ["train", "online", "predict"])
    assert [(case.mode, case.batch) for case in found] == [
        ("train", 16), ("online", 1), ("predict", 1), ("predict", 16)
    ]  # fmt: skip


@pytest.mark.parametrize("mode", cases.MODES)
def test_data(mode):
    for case in cases.given("5-4x2-3:relu:softmax:8", [mode]):
        data = cases.Data.of(case)
        assert data.X.dtype == np.float32 and data.X.nbytes < 32 << 20
        if mode == "predict":
            assert len(data.X) == case.batch
        else:
            assert len(data.X) == case.batch * case.steps
            assert set(data.y) == {0, 1, 2}
        wide = cases.Data.of(case, "float64")
        np.testing.assert_array_equal(data.X, wide.X)
        for pair, wide_pair in zip(data.weights, wide.weights, strict=True):
            for a, b in zip(pair, wide_pair, strict=True):
                np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(data.order, wide.order)


# --- The floor ------------------------------------------------------------------------------------


def test_floor_of_a_step():
    case = Case.parse("3-4-2:tanh:mse:10:float64", "train")
    operations = 2 * 10 * (3 * (3 * 4 + 4 * 2) - 3 * 4)  # no gradient of the inputs
    assert case.operations == operations
    nbytes = 8 * (4 * 4 + 5 * 2)
    assert math.isclose(case.floor(1e9, 1e10), operations / 1e9 + 7 * nbytes / 1e10)


def test_floor_of_a_sample():
    case = Case.parse("3-2:tanh:mse:1", "online")
    assert math.isclose(case.floor(1e9, 1e10), 2 * 2 * 6 / 1e9 + 3 * 4 * 8 / 1e10)


def test_floor_of_a_prediction():
    case = Case.parse("3-2:tanh:mse:5", "predict")
    assert case.operations == 2 * 5 * 6
    assert math.isclose(case.floor(1e9, 1e30), 60 / 1e9)
    assert math.isclose(case.floor(1e30, 1e9), 32 / 1e9)


def test_probes():
    assert timing.copy_rate(100, 0.001) > 1e8
    assert timing.copy_rate(2 << 20, 0.001) > 1e8
    assert timing.in_threads(lambda: 2.0, 3) == 6.0


# --- Verification ---------------------------------------------------------------------------------


def test_verify():
    losses = np.array([1.0, 0.5, 0.25])
    assert runner.verify(losses * (1 + 5e-4), losses, "float32") is None
    wrong = runner.verify(losses * [1, 1.01, 1], losses, "float32")
    assert wrong == "step 2: loss 0.505, expected 0.5; off by 1.0e-02, allowed 1e-03"
    assert runner.verify(losses * (1 + 1e-8), losses, "float64")
    assert runner.verify(losses * (1 + 1e-10), losses, "float64") is None
    assert "nan" in runner.verify([1.0, math.nan, 0.25], losses, "float32")
    assert "has the shape (2,), expected (3,)" in runner.verify(losses[:2], losses, "float32")


def test_verify_outputs():
    outputs = np.array([[1e-9, 1.0], [0.5, 0.5]])
    assert runner.verify(outputs + [[1e-7, 0], [0, 0]], outputs, "float32") is None
    assert "element 2: output 0.6" in runner.verify(outputs + [[0], [0.1]], outputs, "float32")
    assert runner.verify([1.0, 2.0], [[1.0], [2.0]], "float64") is None


WRONG = """
from nncore.bench.systems import NumPy

class Wrong(NumPy):
    def of(self, case, data):
        net = super().of(case, data)
        net.layers[0].b = 0  # a bias forgotten
        return net

class Dying(NumPy):
    def trainer(self, case, data):
        import os, sys
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(3)
"""


@pytest.fixture
def wrong(tmp_path, monkeypatch):
    """Two systems that fail, in a module that only this test knows."""
    (tmp_path / "wrong_systems.py").write_text(WRONG)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(systems.SYSTEMS, "wrong", "wrong_systems:Wrong")
    monkeypatch.setitem(systems.SYSTEMS, "dying", "wrong_systems:Dying")


def test_a_wrong_system_is_not_timed(wrong, capsys):
    case = Case.parse("3-4-2:tanh:mse:4", "train").shorter()
    with runner.Race(["nncore", "wrong", "dying"], 1, worker.cores(1), quick=True) as race:
        result = race.run(case)
        report.Printer(report.header(race, OPTIONS, [0])).add(result)
        again = race.run(case)
    assert list(result.seconds) == ["nncore"] and result.seconds["nncore"] > 0
    assert "step 1: loss" in result.failed["wrong"] and "allowed 1e-03" in result.failed["wrong"]
    assert "dying died: out of luck" in result.failed["dying"]
    assert set(again.failed) == {"wrong", "dying"}
    out = capsys.readouterr().out
    assert f"FAILED, not timed: wrong on {case.name}: step 1: loss" in out


# --- Files ----------------------------------------------------------------------------------------

OPTIONS = argparse.Namespace(threads=1, isa=None)
HEADER = {
    "processor": "P", "machine": "m", "python": "3", "date": "today", "threads": 1, "cores": [0],
    "isa": "not limited", "bursts": 3, "versions": {"nncore": "nncore 1", "numpy": "NumPy 2"},
    "broken": {},
}  # fmt: skip


def document(factor=1.0, **header):
    seconds = {"nncore": 1e-6 / factor, "nncore out=": 5e-7, "numpy": 3e-6, "numpy out=": 2e-6}
    results = [
        runner.Result("predict", f"3-{n}:tanh:mse:1:float32", seconds, dict.fromkeys(seconds, 0.0),
                      1e-7, 1e11, 1e10, {"onnx": "is away"}, {})
        for n in (1, 2)
    ]  # fmt: skip
    return {
        "format": report.FORMAT,
        "header": HEADER | header,
        "results": [vars(result) for result in results],
    }


def test_results_are_read_back(tmp_path):
    report.write(tmp_path / "a.json", document())
    assert report.read(tmp_path / "a.json") == document()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "nncore bench 0"}', '"x"'])
def test_another_file_is_told(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match="a.json is not a file that `nncore bench --json`"):
        report.read(tmp_path / "a.json")
    with pytest.raises(ValueError, match="cannot read"):
        report.read(tmp_path / "b.json")


def test_show_and_compare(capsys):
    report.show(document())
    out = capsys.readouterr().out
    # The best form of a peer, over nncore's plain call.
    assert "1.00" in out and "2.00 x" in out and "10 %" in out
    assert "geometric mean of best peer / nncore over all 2 cases: 2.00" in out
    report.compare(document(factor=1.25), document())
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["geometric", "mean", "1.250", "1.000"]
    report.compare(document(threads=2), document())
    assert "not comparable: threads was 1, is 2" in capsys.readouterr().out


# --- Workers and the command ----------------------------------------------------------------------


def test_environment(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "1")
    variables = worker.environment(2)
    assert "OPENBLAS_CORETYPE" not in variables and "OPENBLAS_L2_SIZE" not in variables
    for name in ("NNCORE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        assert variables[name] == "2"
    monkeypatch.setenv("XLA_FLAGS", "--of_the_user")
    assert "--of_the_user" in worker.environment(1)["XLA_FLAGS"].split()
    limited = worker.environment(1, "avx2")
    assert limited["OPENBLAS_CORETYPE"] == "Haswell" and limited["NNCORE_ISA"] == "avx2"
    assert "--xla_cpu_max_isa=AVX2" in limited["XLA_FLAGS"].split()


def test_choose(monkeypatch):
    assert worker.choose(["numpy"]) == ["nncore", "numpy"]
    assert {"nncore", "numpy"} <= set(worker.choose())
    monkeypatch.setitem(systems.PACKAGES, "torch", "no_such_package")
    assert "torch" not in worker.choose()
    with pytest.raises(ValueError, match="torch needs the package no_such_package"):
        worker.choose(["torch"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--systems", "nncore,matlab"], "expected names out of nncore, numpy"),
        (["--threads", "0"], "expected an integer from 1 to 1024, got '0'"),
        (["--case", "3-1:tanh:mse"], "a case is layers:activation:loss:batch"),
        (["--only", "sleep"], "invalid choice: 'sleep'"),
        (["--json", "no/where.json"], "cannot write no/where.json: there is no folder no"),
        (["--json", "."], "cannot write .: it is a folder"),
        (["--load", "nowhere.json"], "cannot read nowhere.json"),
        (["--compare", "nowhere.json"], "cannot read nowhere.json"),
    ],
)
def test_wrong_options(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        bench.main(arguments)
    assert error.value.code == 2 and message in capsys.readouterr().err


def test_the_command(tmp_path):
    program = shutil.which("nncore", path=sysconfig.get_path("scripts"))
    assert program, "the command nncore is not installed"
    arguments = [
        "bench", "--quick", "--systems", "nncore,numpy", "--only", "train",
        "--case", "3-4-2:tanh:mse:4", "--json", "a.json",
    ]  # fmt: skip
    result = subprocess.run(
        [program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    [line] = [line for line in result.stdout.splitlines() if line.startswith("3-4-2:")]
    name, ours, numpys, ratio, _, floor, share, _ = line.split()
    assert name == "3-4-2:tanh:mse:4" and float(ours) > 0 and float(numpys) > 0
    assert float(ratio) > 0 and float(floor) < float(ours) and 0 <= float(share) <= 100
    saved = json.loads((tmp_path / "a.json").read_text())
    [saved] = saved["results"]
    assert set(saved["seconds"]) == {"nncore", "numpy"} and not saved["failed"]
    again = subprocess.run(
        [program, "bench", "--load", "a.json", "--compare", "a.json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert line in again.stdout.splitlines()
    assert again.stdout.splitlines()[-1].split() == ["geometric", "mean", "1.000", "1.000"]


def test_a_limit_that_cannot_run_is_told(monkeypatch, capsys):
    monkeypatch.setitem(worker.LIMITS, "avx2", {"NNCORE_ISA": "sse9"})
    with pytest.raises(SystemExit):
        bench.main(["--quick", "--isa", "avx2", "--systems", "numpy"])
    assert "probe died" in (err := capsys.readouterr().err) and "sse9 is not" in err


def test_importing_nncore_does_not_import_it():
    code = "import sys, nncore; print([name for name in sys.modules if 'bench' in name])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=os.sep, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


# --- python -m benchmarks activations -------------------------------------------------------------

CHECKOUT = Path(__file__).resolve().parents[1]


def activations(*arguments, before=""):
    """Run the benchmark as `python -m benchmarks activations --quick`, after some code."""
    code = f"import sys; sys.argv[1:] = {['activations', '--quick', *arguments]!r}\n"
    code += "from benchmarks.__main__ import main\n" + before + "main()"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=120
    )


def test_activations(dtype):
    result = activations("--dtype", dtype)
    assert result.returncode == 0, result.stderr
    assert f"elements of {dtype}, in ns each" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    [title] = [line[1:] for line in lines if line[:1] == ["activation"]]
    rows = {line[0]: line[1:] for line in lines if line and line[0] in nncore.activations}
    assert set(rows) == set(nncore.activations) - {"identity", "softmax", "log_softmax"}
    for cells in rows.values():
        assert len(cells) == len(title)
        for name, cell in zip(title, cells, strict=True):
            if name == "nncore":
                assert float(cell) > 0
            else:  # PyTorch lacks some, and a difference of times can be negative
                assert cell == "-" or float(cell) >= 0


WRONG_SLOPE = """
from nncore import reference
row = reference.ACTIVATIONS["tanh"]
reference.ACTIVATIONS["tanh"] = row._replace({})
"""


def test_a_wrong_activation_is_not_timed():
    """NumPy's tanh without the square, and then a truth that nncore does not meet."""
    result = activations(
        before=WRONG_SLOPE.format("backward=row.backward.__globals__['_relu_backward']")
    )
    assert result.returncode == 0, result.stderr
    assert "FAILED, not timed: numpy, tanh: backward is " in result.stdout
    result = activations(before=WRONG_SLOPE.format("df=row.f"))
    assert result.returncode == 1
    assert "AssertionError: nncore, tanh: backward is " in result.stderr
