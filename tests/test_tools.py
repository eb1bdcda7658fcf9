"""The checks of tools/ find what they look for, and nothing in this tree."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def layering(root):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "layering.py"), str(root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.stderr
    return done.returncode, done.stdout


def copy_tree(to):
    """A copy of the sources, to be spoiled."""
    for folder in ("csrc", "nncore"):
        ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.npz", "_core.c")
        shutil.copytree(ROOT / folder, to / folder, ignore=ignored)
    return to


def append(root, file, line):
    """Add to a file; the number of the last line that was added."""
    before = (root / file).read_text()
    (root / file).write_text(f"{before}\n{line}\n")
    return len(before.splitlines()) + 1 + len(line.splitlines())


def test_this_tree_is_in_order():
    status, output = layering(ROOT)
    assert status == 0, output


FLAGGED = (
    ("csrc/nnc.h", '#include "plan.c"', "contract may not include plan"),
    ("csrc/vmath.h", "#include <math.h>", "contract may not include <math.h>"),
    ("csrc/kernels/real.h", '#include "../cpu.h"', "kernels may not include dispatch"),
    ("csrc/kernels/real.h", '#  include "../isa/portable.h"', "kernels may not include isa"),
    ("csrc/isa/avx2_f32.c", "#include <stdio.h>", "isa may not include <stdio.h>"),
    ("csrc/cpu.c", "#include <stdlib.h>", "dispatch may not include <stdlib.h>"),
    ("csrc/plan.c", "#include <Python.h>", "plan may not include <Python.h>"),
    ("csrc/plan.c", '#include "nowhere.h"', "cannot find what this includes"),
    ("csrc/plan.c", "#include SOMETHING", "cannot find what this includes"),
    ("nncore/reference/steps.py", "from nncore import _core", "reference may not import _core"),
    ("nncore/reference/steps.py", "from .._core import ISA", "reference may not import _core"),
    ("nncore/reference/steps.py", "import nncore.names", "reference may not import names"),
    ("nncore/reference/steps.py", "import scipy.special", "NumPy, not scipy.special"),
    ("nncore/files.py", "from . import persistence", "files may not import persistence"),
    ("nncore/names.py", "from .layers.dense import Dense", "names may not import layers"),
    ("nncore/names.py", "def f():\n    from . import network", "names may not import network"),
    ("nncore/optimizers/base.py", "from .. import Network", "optimizers may not import __init__"),
    ("nncore/layers/base.py", "from ..network import load", "layers may not import network"),
    ("nncore/layers/dense.py", "from .. import load", "layers may not import __init__"),
    ("nncore/persistence.py", "from . import network", "persistence may not import network"),
    ("nncore/network.py", "from .demo import run", "network may not import demo"),
    ("nncore/network.py", "class A:\n    import nncore.cli", "network may not import cli"),
    ("nncore/bench/peers.py", "import torch", "NumPy, not torch"),
    ("nncore/bench/peers.py", "def f():\n    import tensorflow", "NumPy, not tensorflow"),
    ("nncore/bench/runner.py", "def f():\n    import torch", "NumPy, not torch"),
    ("nncore/bench/cases.py", "from ..demo import run", "bench may not import demo"),
    ("nncore/network.py", "from .bench import cases", "network may not import bench"),
    ("nncore/names.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch", "NumPy, not torch"),
    ("nncore/_core.pyx", "from . import names", "_core may not import names"),
    ("nncore/_core.pyx", "import torch", "NumPy, not torch"),
    ("nncore/_kernels.pxi", "import nncore.reference", "_kernels may not import reference"),
)  # fmt: skip


@pytest.fixture(scope="module")
def flagged(tmp_path_factory):
    """What is said of a tree with all these lines, by case."""
    tree = copy_tree(tmp_path_factory.mktemp("flagged"))
    places = {case: f"{case[0]}:{append(tree, *case[:2])}: " for case in FLAGGED}
    status, output = layering(tree)
    *problems, summary = output.splitlines()
    assert status == 1
    assert summary == f"layering: {len(FLAGGED)} problems", output
    return {
        case: [problem for problem in problems if problem.startswith(place)]
        for case, place in places.items()
    }


@pytest.mark.parametrize("case", FLAGGED)
def test_layering_flags(flagged, case):
    (problem,) = flagged[case]
    assert case[2] in problem


def test_layering_flags_what_stands_nowhere(tmp_path):
    tree, files = copy_tree(tmp_path), ("csrc/extra.c", "csrc/kernels.c", "nncore/extra.py")
    for file in files:
        (tree / file).write_text("")
    status, output = layering(tree)
    assert status == 1
    for file in files:
        (problem,) = (line for line in output.splitlines() if line.startswith(f"{file}:1: "))
        assert "stands in no layer" in problem


def test_layering_allows(tmp_path):
    tree = copy_tree(tmp_path)
    for file, line in (
        ("nncore/persistence.py", "def again():\n    from .network import load"),
        ("nncore/layers/dense.py", "from .base import Layer"),
        ("nncore/network.py", "from nncore.layers import Dense"),
        ("nncore/cli.py", "from . import demo, Network"),
        ("nncore/files.py", "import xml.etree"),
        ("nncore/names.py", "if TYPE_CHECKING:\n    from .network import Network"),
        ("nncore/bench/peers.py", "def f():\n    import jax.numpy, onnx"),
        ("nncore/bench/chart.py", "def f():\n    from matplotlib import pyplot"),
        ("csrc/plan.c", '// #include <stdio.h>\n#include "kernels/real.h"'),
    ):
        append(tree, file, line)
    assert layering(tree) == (0, "layering: in order\n")


def test_layering_needs_a_tree(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "layering.py"), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "there is no folder" in done.stderr


SYMBOLS = {
    "static int hidden; extern int *nnc_table_good_f32; int *nnc_table_good_f32 = &hidden;": None,
    "int nnc_table_good_f32, more;": "not its tables alone",
    "static int nothing;": "not its tables alone",
    "#include <stdlib.h>\nvoid *nnc_table_good_f32(void) { return malloc(9); }": "calls ['malloc']",
    "double fma(double, double, double);\n"
    "double nnc_table_good_f32(double x) { return fma(x, x, x); }": "calls ['fma']",
}


@pytest.mark.parametrize("source", SYMBOLS)
def test_symbols(tmp_path, source):
    if not (shutil.which("cc") and shutil.which("nm")):
        pytest.skip("needs cc and nm")
    (tmp_path / "isa").mkdir()
    (tmp_path / "source.c").write_text(source)
    subprocess.run(
        ["cc", "-fno-builtin", "-c", "source.c", "-o", "isa/good_f32.o"], cwd=tmp_path, check=True
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "symbols.py"), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    expected = SYMBOLS[source]
    assert done.returncode == (expected is not None), done.stdout
    assert expected is None or expected in done.stdout


def test_flags():
    command = [sys.executable, str(ROOT / "tools" / "flags.py")]
    flags = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "-ffp-contract=off" in flags
    assert "-ffast-math" not in flags
