"""The examples in the documentation do what they say."""

import contextlib
import doctest
import importlib.util
import io
import pkgutil
import re
from pathlib import Path

import pytest

import nncore
from nncore import names

from . import pages

ROOT = Path(__file__).parents[1]
MODULES = [
    "nncore",
    *(
        module.name
        for module in pkgutil.walk_packages(nncore.__path__, "nncore.")
        if not any(part.startswith("_") for part in module.name.split("."))
    ),
]
if importlib.util.find_spec("sklearn") is None:
    MODULES = [name for name in MODULES if not name.startswith("nncore.sklearn")]
# their examples make pictures
DRAWING = tuple(
    f"nncore.views.{name}"
    for name in ("plotting.classes", "plotting.curves", "plotting.layers", "landscapes.relief")
)


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


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "name",
    [
        "README.md", "HACKING.md", "docs/command_line.md", "docs/data.md", "docs/exchange.md",
        "docs/trainers.md",
        "docs/why_the_derivative.md",
    ],
)  # fmt: skip
def test_code_blocks(name, tmp_path, monkeypatch):
    """All blocks of a file in order, in one namespace; what they print is checked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "own_activations", {})
    path = page(name)
    pages.run(path, draw=False)
    if name == "README.md":
        assert pages.blocks(path.read_text(encoding="utf-8")), "README.md shows no code"


@pytest.mark.filterwarnings("default")
def test_pictures(tmp_path, monkeypatch):
    """The blocks that draw make the pictures that the page shows."""
    pytest.importorskip("matplotlib", reason='plots need pip install ".[plot]"')
    path = page("docs/why_the_derivative.md")
    monkeypatch.chdir(tmp_path)
    pages.run(path)
    shown = re.findall(r"!\[.+\]\(why_the_derivative/(.+)\)", path.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(file.name for file in tmp_path.iterdir())
    assert sorted(shown) == sorted(file.name for file in path.with_suffix("").iterdir())
    assert sum(file.stat().st_size for file in path.with_suffix("").iterdir()) < 500_000


def page(name):
    path = ROOT / name
    if not path.exists() and name != "README.md":
        pytest.skip(f"{name} is not here: these are the sources of a release")
    return path


@pytest.mark.parametrize(
    ("code", "printed", "right"),
    [("print(1 + 1)", "2\n", True), ("print(1 + 1)", "3\n", False), (">>> 1 + 1\n2", None, True),
     (">>> 1 + 1\n3", None, False), ("assert a == 1", None, True), ("print()", "", False)],
)  # fmt: skip
def test_what_a_page_prints_is_checked(code, printed, right, tmp_path, capsys):
    text = f"Text.\n\n```python\na = 1\n```\n\nMore:\n\n```python\n{code}\n```\n"
    if printed is not None:
        text += f"\n```text\n{printed}```\n"
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    assert [block.line for block in pages.blocks(text)] == [4, 10]
    if right:
        pages.run(path)
    else:
        with pytest.raises(AssertionError):
            pages.run(path)
