"""What is installed: importing it, its command, its metadata, the choice of the instruction set."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import nncore

ISAS = nncore.get_config()["runnable"]
ALL_ISAS = ("avx512", "avx2", "neon", "baseline")


def python(code, cwd, *, check=True, **environment):
    """Run code in a new process, in a folder where no source tree is in the way."""
    variables = {name: value for name, value in os.environ.items() if name != "NNCORE_ISA"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=variables | environment, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    if check:
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
    return result


def command(*arguments, cwd, check=True, **environment):
    """Run the command that the installation has put beside Python."""
    program = shutil.which("nncore", path=sysconfig.get_path("scripts"))
    assert program, "the command nncore is not installed"
    variables = {name: value for name, value in os.environ.items() if name != "NNCORE_ISA"}
    result = subprocess.run(
        [program, *arguments], cwd=cwd, env=variables | environment, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    if check:
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
    return result


# --- Importing ------------------------------------------------------------------------------------


def test_source_folder_without_engine_says_so(tmp_path):
    source = Path(__file__).parents[1] / "nncore"
    ignored = shutil.ignore_patterns("_core.*", "__pycache__")
    shutil.copytree(source, tmp_path / "nncore", ignore=ignored)
    # An editable installation would find the engine in its own folder.
    code = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'ditable' not in repr(f)]; "
    result = python(code + "import nncore", tmp_path, check=False)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last == (
        f"ImportError: this is nncore's source folder ({tmp_path / 'nncore'}), which has no "
        "compiled engine: install it with `pip install .` in the checkout, then run Python in "
        "another folder (or use `pip install -e .` to build the engine in place)."
    )
    assert "During handling" not in result.stderr and "direct cause" not in result.stderr


def test_another_missing_module_is_not_mistaken_for_it(tmp_path):
    code = """
import sys
class NoNumpy:
    def find_spec(name, path=None, target=None):
        if name == "numpy":
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
sys.meta_path.insert(0, NoNumpy)
try:
    import nncore
except ImportError as error:
    print(error)
"""
    assert python(code, tmp_path).stdout == "No module named 'numpy'\n"


LOOK = """
import sys, json, threading, os
before = set(sys.modules)
import numpy
with_numpy = set(sys.modules)
def threads():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
n = threads()
import nncore
added = set(sys.modules) - with_numpy
print(json.dumps({
    "others": sorted({name.partition(".")[0] for name in set(sys.modules) - before}
                     - set(sys.stdlib_module_names) - {"numpy", "nncore"}),
    "threads": [n, threads(), threading.active_count()],
    "added": sorted(added),
}))
"""


def test_import_loads_nothing_more_and_starts_nothing(tmp_path):
    found = json.loads(python(LOOK, tmp_path).stdout)
    # These two are made in memory by every module compiled with Cython.
    ours = re.compile("cython_runtime|_cython_.*")
    assert [name for name in found["others"] if not ours.fullmatch(name)] == []
    before, after, active = found["threads"]
    assert before == after and active == 1
    for name in ("sklearn", "scipy", "torch", "pandas", "matplotlib", "Cython", "multiprocessing",
                 "nncore.demo", "nncore.cli", "argparse"):  # fmt: skip
        assert name not in found["added"]


def test_import_time(tmp_path):
    """Only shown: what a machine does in the meantime is not known."""
    code = (
        "import time; import numpy; start = time.perf_counter(); import nncore; "
        "print(time.perf_counter() - start)"
    )
    times = [float(python(code, tmp_path).stdout) for _ in range(3)]
    print(f"\nimport of nncore over that of NumPy: {1e3 * min(times):.1f} ms")


DENORMAL = """
import numpy as np
def denormals():
    small = np.full(37, 1e-40, "float32"), np.full(37, 1e-310, "float64")
    return [bool((a * a.dtype.type(0.5) != 0).all() and (a + a == 2 * a).all()) for a in small]
print(denormals())
import nncore
print(denormals())
def train(seed, isa):
    X = np.random.default_rng(seed).normal(size=(500, 9))
    for dtype in ("float32", "float64"):
        net = nncore.Network(9, nncore.Dense(7, "tanh"), nncore.Dense(1, "sigmoid"), seed=seed,
                             dtype=dtype, backend=isa)
        net.fit(X, X[:, 0] > 0, epochs=2, verbose=False)
        net.predict(X)
for isa in nncore.get_config()["runnable"]:
    train(0, isa)
    print(denormals())
import threading
def in_thread():
    train(1, "auto")
    print(denormals())
thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
"""


def test_denormal_numbers_stay_what_they_are(tmp_path):
    """Some libraries switch the processor to flush them to zero, for all of the process."""
    lines = python(DENORMAL, tmp_path).stdout.splitlines()
    assert lines == ["[True, True]"] * (3 + len(ISAS))


@pytest.mark.parametrize("isa", ISAS)
def test_the_engine_itself_keeps_denormal_numbers(isa):
    for dtype, small in (("float32", 1e-40), ("float64", 1e-310)):
        net = nncore.Network(1, nncore.Dense(1, init=[[1]]), dtype=dtype, backend=isa)
        assert net.predict([[small]])[0, 0] == np.dtype(dtype).type(small) != 0


# --- The instruction set --------------------------------------------------------------------------

SHOW = (
    "import nncore; print(nncore.get_config()['isa'], nncore.Network(2, nncore.Dense(1)).backend)"
)


@pytest.mark.parametrize("isa", ISAS)
def test_forced_instruction_set(isa, tmp_path):
    assert python(SHOW, tmp_path, NNCORE_ISA=isa).stdout.split() == [isa, isa]
    assert f"isa:       {isa}\n" in command("info", cwd=tmp_path, NNCORE_ISA=isa).stdout


def test_by_default_the_best_one(tmp_path):
    assert python(SHOW, tmp_path).stdout.split() == [ISAS[0], ISAS[0]]
    assert python(SHOW, tmp_path, NNCORE_ISA="").stdout.split() == [ISAS[0], ISAS[0]]
    assert list(ISAS) == [isa for isa in ALL_ISAS if isa in ISAS] and ISAS[-1] == "baseline"


@pytest.mark.parametrize("isa", [*sorted(set(ALL_ISAS) - set(ISAS)), "sse9", "AVX2", "0"])
def test_an_instruction_set_that_cannot_be_had_is_an_error(isa, tmp_path):
    """Never a fallback: who forces one wants to know."""
    result = python(SHOW, tmp_path, check=False, NNCORE_ISA=isa)
    assert result.returncode == 1 and result.stdout == ""
    why = "cannot run here" if isa in ALL_ISAS else "is not an instruction set of nncore"
    assert result.stderr.strip().splitlines()[-1] == (
        f"ImportError: NNCORE_ISA={isa} {why}; this machine can run: {', '.join(ISAS)}. "
        "Unset NNCORE_ISA to let nncore choose."
    )


def test_a_forced_instruction_set_computes_the_same(tmp_path):
    code = (
        "import nncore, numpy as np; X = np.random.default_rng(0).normal(size=(300, 9)); "
        "net = nncore.Network(9, nncore.Dense(7, 'tanh'), nncore.Dense(1), seed=0); "
        "net.fit(X, X[:, 0], verbose=False); print(*net.predict(X).ravel().tolist())"
    )
    results = {
        isa: np.array(python(code, tmp_path, NNCORE_ISA=isa).stdout.split(), float) for isa in ISAS
    }
    for isa in ISAS:
        np.testing.assert_allclose(results[isa], results[ISAS[0]], atol=1e-5)
    if "avx512" in ISAS:
        np.testing.assert_array_equal(results["avx512"], results["avx2"])


# --- The command ----------------------------------------------------------------------------------


def test_version(tmp_path):
    assert nncore.__version__ == importlib.metadata.version("nncore-c")
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", nncore.__version__)
    assert command("--version", cwd=tmp_path).stdout == f"nncore {nncore.__version__}\n"


def test_info(tmp_path):
    lines = command("info", cwd=tmp_path).stdout.splitlines()
    shown = dict(line.split(":", 1) for line in lines)
    shown = {name: value.strip() for name, value in shown.items()}
    config = nncore.get_config() | {"isa": ISAS[0]}
    assert list(shown) == list(config)
    for name, value in config.items():
        assert shown[name] == (", ".join(value) if isinstance(value, tuple) else value)
    assert shown["nncore"] == nncore.__version__ and shown["numpy"] == np.__version__
    assert set(ISAS) <= set(config["compiled"]) and "-ffast-math" not in shown["flags"]


def test_show_config(capsys):
    nncore.show_config()
    out, err = capsys.readouterr()
    assert err == "" and f"runnable:  {', '.join(ISAS)}\n" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "invalid choice: 'fly'"),
        ([], "the following arguments are required: command"),
        (["info", "--verbose"], "unrecognized arguments: --verbose"),
        (["demo", "--epochs", "0"], "--epochs: expected an integer of at least 1, got '0'"),
        (["demo", "--epochs", "many"], "expected an integer of at least 1, got 'many'"),
    ],
)
def test_wrong_commands(arguments, message, tmp_path):
    result = command(*arguments, cwd=tmp_path, check=False)
    assert result.returncode == 2 and result.stdout == ""
    assert message in result.stderr and "usage: nncore" in result.stderr
    assert "Traceback" not in result.stderr


def test_help(tmp_path):
    out = command("--help", cwd=tmp_path).stdout
    assert all(word in out for word in ("demo", "info", "--version"))


# --- Metadata -------------------------------------------------------------------------------------


def test_metadata():
    metadata = importlib.metadata.metadata("nncore-c")
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert {"LICENSE", "nncore/datasets/DIGITS.md"} <= set(metadata.get_all("License-File"))
    assert not any(line.startswith("License ::") for line in metadata.get_all("Classifier"))
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert needed == ["numpy>=2.0"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload().strip() or metadata["Description"], "README.md is missing"


def test_files_of_the_distribution():
    files = importlib.metadata.files("nncore-c")
    names = {file.as_posix() for file in files}
    for name in ("LICENSE", "DIGITS.md"):
        texts = [file for file in files if ".dist-info/licenses/" in file.as_posix()
                 and file.name == name]  # fmt: skip
        assert len(texts) == 1 and texts[0].read_text().strip()
    if not any("__editable__" in name for name in names):
        assert {"nncore/__init__.py", "nncore/py.typed", "nncore/layers/dense.py",
                "nncore/datasets/digits.npz"} <= names  # fmt: skip
        assert any(re.match(r"nncore/_core\..*(so|pyd)$", name) for name in names)
    # Neither sources of the engine nor tests, and nothing beside the package.
    assert not any(name.endswith((".pyx", ".c", ".h", ".def")) for name in names)
    others = ("tests/", "csrc/", "benchmarks/", "docs/", "tools/")
    assert not any(name.startswith(others) for name in names)


def test_public_names():
    assert sorted(nncore.__all__) == sorted(set(nncore.__all__))
    for name in nncore.__all__:
        assert getattr(nncore, name).__doc__.strip()
    visible = {name for name in vars(nncore) if not name.startswith("_")}
    modules = {name for name in visible if type(getattr(nncore, name)) is type(sys)}
    lazy = {name for name in nncore.__all__ if name not in visible}
    assert visible - modules == set(nncore.__all__) - modules - lazy
    for found in (getattr(nncore, name) for name in lazy):
        home = found.__name__ if type(found) is type(sys) else found.__module__
        assert home.startswith("nncore.")


@pytest.mark.parametrize("name", ["plots", "line_searches", "schedules", "trainers", "files"])
def test_modules_can_be_imported(name):
    """In each of the ways that Python has, as the first thing of a program."""
    program = f"import nncore.{name} as module; import nncore; from nncore import {name} as other; "
    program += f"assert module is other is nncore.{name}, module"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=os.sep, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    module = getattr(nncore, name)
    assert module.__name__ == f"nncore.{name}" and module.__doc__


def test_python_m_nncore_is_the_command(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "nncore", *arguments],
            cwd=tmp_path,  # not the folder of the sources
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"nncore {nncore.__version__}\n")
    wrong = run("dance")
    assert wrong.returncode == 2 and wrong.stderr.startswith("usage: nncore ")
