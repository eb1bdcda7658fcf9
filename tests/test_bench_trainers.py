"""``python -m benchmarks trainers``: its runs, its tables and its chart."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = """# A page

<!-- begin problems -->
<!-- end problems -->
between
<!-- begin race -->
old
<!-- end race -->
after
"""


@pytest.fixture
def modules(monkeypatch):
    """The modules of the benchmark, by name."""
    monkeypatch.syspath_prepend(str(CHECKOUT))
    from benchmarks.trainers import chart, peers, problems, race, table

    return {m.__name__.rpartition(".")[2]: m for m in (chart, peers, problems, race, table)}


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "trainers", "--quick", "--seeds", "2", *arguments],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=120, **options,
    )  # fmt: skip


def cells_of(text):
    """{first cell: other cells} of all rows of all tables."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    found = {}
    for first, *rest in rows:
        found.setdefault(first, []).append(rest)
    return found


def test_the_command(tmp_path, modules):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    result = command("--write", str(page))
    assert result.returncode == 0, result.stderr
    assert "sine-5: 2 seeds" in result.stderr
    times, work = (cells_of(result.stdout)["lm"][i] for i in (0, 1))
    assert float(times[1]) > 0
    epochs, gradients = map(int, work[1].split(" / "))
    assert 3 <= epochs <= 12 and 2 * epochs < gradients <= 4 * epochs
    others = cells_of(result.stdout)
    assert set(others) >= set(modules["race"].TRAINERS)
    assert others["bayesian"][0][0].strip() == ""  # not for XOR
    assert int(others["cg_polak_ribiere"][1][1].split(" / ")[0]) > 3 * epochs
    text = page.read_text()
    assert text.startswith("# A page\n\n<!-- begin problems -->\n\n| problem |")
    assert "| xor: XOR | 2-3-1 |" in text and "old" not in text
    assert "<!-- end problems -->\nbetween\n<!-- begin race -->\n" in text
    assert text.endswith("|\n\n<!-- end race -->\nafter\n")


def test_failures_do_not_count_as_fast(modules):
    Run, summary = modules["race"].Run, modules["race"].summary
    good, bad = Run(True, 7, 0.1, [1.0, 0.5], [0.05, 0.1]), Run(False, 1, 0.001, [1.0], [0.001])
    assert summary([good, good, bad]) == (2, 7, 0.1, 1, 3)
    half = summary([good, bad])
    assert half.failed == 1 and math.isinf(half.seconds) and math.isinf(half.epochs)


def test_a_run_fails_at_its_limit(modules):
    race, problem = modules["race"], modules["problems"].PROBLEMS["sine-5"]
    run = race.run_once("steepest_descent", problem._replace(limit=5), problem.data(), 0)
    assert not run.reached and 5 <= run.gradients < 20
    assert run.times[-1] == run.seconds and len(run.times) == run.epochs
    run = race.run_once("adam", problem._replace(limit=5), problem.data(), 0)
    assert not run.reached and run.gradients == run.epochs == 5


def test_the_data(modules):
    problems = modules["problems"].PROBLEMS.items()
    shapes = {name: tuple(map(np.shape, problem.data())) for name, problem in problems}
    assert shapes["parity-4"] == ((16, 4), (16, 1)) and shapes["spirals"] == ((194, 2), (194, 1))
    bits, odd = modules["problems"].parity(4)
    assert set(bits.ravel()) == {-1, 1} and len(np.unique(bits, axis=0)) == 16
    np.testing.assert_array_equal(odd[:, 0], (bits > 0).sum(axis=1) % 2)


def test_a_page_without_markers_is_told(modules, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="there is no <!-- begin race --> with <!-- end race -->"):
        modules["table"].write(page, "race", ["x"])
    assert page.read_text() == "nothing"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--write", "none.md"], "cannot write none.md: "),
        (["--write", "README.md"], "there is no <!-- begin problems -->"),
        (["--peers", "--chart", "a.png"], "--chart shows the trainers alone"),
        (["--neurolab", "python"], "--neurolab goes with --peers"),
        (["--seeds", "0"], "expected an integer from 1"),
    ],
)
def test_wrong_options(arguments, message):
    """They are told before a run of minutes."""
    result = command(*arguments)
    assert result.returncode != 0 and message in result.stderr and not result.stdout


def test_peers_that_differ_are_not_timed(modules):
    check = modules["peers"].check
    assert check("it", [1.0, 2.0], [1.0, 2.0 + 1e-12], "float64") < 1e-10
    with pytest.raises(AssertionError, match="it: the losses differ by 1.0e-06"):
        check("it", [1.0, 2.0], [1.0, 2.0 + 2e-6], "float64")


def test_peers_that_are_missing_are_told():
    """Whatever is installed here."""
    hidden = "import sys; sys.modules |= dict.fromkeys(('scipy.optimize', 'torch', 'pyrenn'))\n"
    code = hidden + "from benchmarks.trainers.peers import sections\n"
    code += "for lines in sections(1, quick=True): print(*lines, sep='\\n')"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Not measured: ") == 5
    assert "--neurolab names a Python with neurolab" in result.stdout


def test_median_curve(modules):
    Run, curve = modules["race"].Run, modules["chart"].median_curve
    runs = [
        Run(True, 4, 4.0, [8.0, 4.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]),
        Run(True, 2, 2.0, [6.0, 1.0], [1.0, 2.0]),  # it stays there
        Run(False, 4, 4.0, [9.0, 9.0, 9.0, 9.0], [1.0, 2.0, 3.0, 4.0]),
        Run(False, 0, math.inf, [], []),  # it has no curve
    ]
    milliseconds, losses = curve(runs)
    assert math.isclose(milliseconds[0], 1e3) and math.isclose(milliseconds[-1], 4e3)
    assert losses[0] == 8 and losses[-2] == 2 and set(losses) <= {8.0, 4.0, 2.0, 1.0}
    assert curve(runs[3:]) is None


def test_chart(modules, tmp_path):
    pytest.importorskip("matplotlib")
    results = modules["race"].compete(["xor"], 2, trainers=("lm", "scg", "adam"))
    modules["chart"].draw(results, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
