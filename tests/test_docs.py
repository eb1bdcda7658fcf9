"""The examples in the documentation do what they say."""

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest

import nncore
from nncore import names

ROOT = Path(__file__).parents[1]
MODULES = [
    "nncore",
    *(
        module.name
        for module in pkgutil.walk_packages(nncore.__path__, "nncore.")
        if not any(part.startswith("_") for part in module.name.split("."))
    ),
]
DRAWING = ("nncore.views.plots", "nncore.views.classes")  # their examples make pictures


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, tmp_path, monkeypatch):
    if name in DRAWING:
        pytest.importorskip("matplotlib", reason='plots need pip install ".[plot]"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "own_activations", {})  # what examples register is forgotten
    module = importlib.import_module(name)
    assert module.__doc__ and module.__doc__.strip()
    report = io.StringIO()
    with contextlib.redirect_stdout(report):
        failed, _ = doctest.testmod(module)
    assert failed == 0, report.getvalue()


def test_the_examples_were_found():
    examples = sum(
        len(found.examples)
        for name in MODULES
        for found in doctest.DocTestFinder().find(importlib.import_module(name))
    )
    assert examples >= 40
    for public in (nncore.Network, nncore.Dense, nncore.SGD, nncore.Adam,
                   nncore.Network.loss_and_gradient, nncore.datasets.load_digits,
                   nncore.get_config):  # fmt: skip
        assert ">>> " in public.__doc__


def blocks(text):
    """Return (line, code) of the ```python blocks."""
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start()) + 2, match[1]) for match in found]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["README.md", "HACKING.md", "docs/trainers.md"])
def test_code_blocks(name, tmp_path, monkeypatch):
    """All blocks of a file in order, in one namespace; what >>> sessions print is checked."""
    path = ROOT / name
    if not path.exists() and name != "README.md":
        pytest.skip(f"{name} is not here: these are the sources of a release")
    text = path.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "__main__"}
    for line, code in blocks(text):
        if code.lstrip().startswith(">>>"):
            example = doctest.DocTestParser().get_doctest(code, space, name, str(path), line - 1)
            report = io.StringIO()
            runner = doctest.DocTestRunner()
            runner.run(example, out=report.write, clear_globs=False)
            assert runner.failures == 0, report.getvalue()
            space = example.globs
        else:
            # Empty lines before it, so that errors name the line of the file.
            exec(compile("\n" * (line - 1) + code, str(path), "exec"), space)
    if name == "README.md":
        assert blocks(text), "README.md shows no code"
