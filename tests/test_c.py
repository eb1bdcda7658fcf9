"""Builds and runs the C tests of tests/c with the flags of setup.py, as `make test-c` does."""

import os
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = sorted((ROOT / "csrc").rglob("*.c"))
TESTS = sorted(p for p in (ROOT / "tests" / "c").glob("*.c") if not p.name.startswith("sweep_"))


def find_compiler(variable, fallback):
    """The command that builds extensions here: $CC or $CXX, Python's own, or the usual name."""
    for command in (os.environ.get(variable), sysconfig.get_config_var(variable), fallback):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    return pytest.skip(f"no compiler: neither ${variable} nor {fallback} can be run")


def run(*command):
    """Run a command and return what it printed; fail with that if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(f"{shlex.join(map(str, command))}\n{done.stdout}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def cc():
    return find_compiler("CC", "cc")


@pytest.fixture(scope="module")
def flags():
    """Those of setup.py; with WERROR=-Werror, as for make, no warning may come either."""
    strict = shlex.split(os.environ.get("WERROR", ""))
    warnings = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", *strict] if strict else []
    return [*runpy.run_path(str(ROOT / "tools" / "flags.py"))["flags"](), *warnings]


@pytest.fixture(scope="module")
def objects(cc, flags, tmp_path_factory):
    """The folder in which all of csrc and tests/c is compiled."""
    folder = tmp_path_factory.mktemp("c")

    def compile_one(source):
        to = folder / source.relative_to(ROOT).with_suffix(".o")
        to.parent.mkdir(parents=True, exist_ok=True)
        return run(*cc, *flags, f"-I{ROOT / 'csrc'}", "-c", source, "-o", to)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, ENGINE + TESTS))
    return folder


def test_core(cc, flags, objects):
    program = objects / "test_core"
    run(*cc, *flags, *sorted(objects.rglob("*.o")), "-lm", "-o", program)
    output = run(program)
    print(output)
    assert output.splitlines()[-1].endswith(" passed, 0 failed")


def test_symbols(objects):
    if not shutil.which(os.environ.get("NM", "nm")):
        pytest.skip("no nm")
    print(run(sys.executable, ROOT / "tools" / "symbols.py", objects / "csrc"))


@pytest.mark.parametrize(
    ("variable", "name", "language", "standard"),
    [("CC", "cc", "c", "c11"), ("CXX", "c++", "c++", "c++11")],
)
def test_header_alone(variable, name, language, standard):
    header = ROOT / "csrc" / "nnc.h"
    warnings = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
    command = find_compiler(variable, name)
    run(*command, "-x", language, f"-std={standard}", *warnings, "-fsyntax-only", header)
