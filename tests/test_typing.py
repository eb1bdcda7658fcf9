"""Types: mypy accepts the package and a program that uses it, and the stub says what Cython has."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "tests" / "typed_program.py"
MYPY = "mypy is not installed: pip install mypy, and the types are checked, too"


def test_the_program_runs():
    subprocess.run([sys.executable, str(PROGRAM)], check=True)


def run_mypy(tmp_path, *arguments):
    pytest.importorskip("mypy", reason=MYPY)
    cache = ["--cache-dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *cache,
         *arguments],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_mypy(tmp_path):
    """Strict, as pyproject.toml says; in one run, since most of it is NumPy."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        'import nncore\nnncore.Network("2").fit([1], epochs="many")\nnncore.Nothing\n'
        "nncore.Adam(rate=0.1)\nnncore.schedules.Cosine(0.1)\n"
    )
    found = run_mypy(tmp_path, "nncore", str(PROGRAM), str(wrong)).splitlines()
    errors = [line for line in found if ": error: " in line]
    assert [line for line in errors if "wrong.py" not in line] == []
    expected = [*["arg-type]"] * 2, "attr-defined]", *["call-arg]"] * 2]
    assert [line.rpartition("[")[2] for line in errors] == expected


# ---- the stub of the Cython part, which has no signatures at run time ----------------------------


def of_cython():
    """Names of parameters, and whether they have a default, of each function, by its place."""
    sources = ("_core.pyx", "_predictor.pxi", "_kernels.pxi")
    text = "".join((ROOT / "nncore" / name).read_text(encoding="utf-8") for name in sources)
    found, place = {}, None
    line = r"^(?:cdef )?class (\w+)|^( *)def (\w+)\(((?:[^()]|\([^()]*\))*)\)"
    for kind, indent, name, parameters in re.findall(line, text, re.MULTILINE):
        if kind:
            place = kind
            continue
        parts = [part.partition("=") for part in re.split(r",\s*", parameters.strip()) if part]
        named = [(words.split()[-1], bool(equal)) for words, equal, _ in parts]
        found[place if indent else None, name] = [each for each in named if each[0] != "self"]
    return found


def of_stub():
    tree = ast.parse((ROOT / "nncore" / "_core.pyi").read_text(encoding="utf-8"))
    for place in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
        for node in place.body:
            if isinstance(node, ast.FunctionDef):
                a = node.args
                first = [None] * (len(a.args) - len(a.defaults))
                named = list(zip(a.args, [*first, *a.defaults], strict=True))
                star = [(f"*{a.vararg.arg}" if a.vararg else "*", False)]
                star *= bool(a.vararg or a.kwonlyargs)
                only = zip(a.kwonlyargs, a.kw_defaults, strict=True)
                parameters = [(each.arg, value is not None) for each, value in named]
                parameters += star + [(each.arg, value is not None) for each, value in only]
                name = "__cinit__" if node.name == "__new__" else node.name
                own = [each for each in parameters if each[0] not in ("self", "cls")]
                yield (getattr(place, "name", None), name), own


def test_the_stub_has_the_parameters_of_cython():
    expected, stub = of_cython(), dict(of_stub())
    stub.pop(("Predictor", "_training"))  # an attribute
    assert {place: expected.get(place) for place in stub} == stub
    public = {place for place in expected if not place[1].startswith("_")}
    attributes = {("Engine", n) for n in ("averaged", "draws", "hyper", "n_updates")}
    assert public - set(stub) == attributes | {("Kernels", "lanes"), ("Kernels", "tile")}


def test_stubtest(tmp_path):
    pytest.importorskip("mypy", reason=MYPY)
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "nncore._core", "--ignore-missing-stub",
         "--ignore-disjoint-bases"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
