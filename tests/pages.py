"""Pages of documentation whose code is run: blocks of Python, and what they print."""

import contextlib
import doctest
import io
import re
from typing import NamedTuple

_BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\n\n?^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A block of Python at a line of its page, and the block of text right behind it, or None."""

    line: int
    code: str
    printed: str | None

    @property
    def draws(self):
        """Whether it makes pictures by matplotlib."""
        return "savefig(" in self.code


def blocks(text):
    """Return the ```python blocks of a page."""
    return [
        Block(text.count("\n", 0, found.start()) + 2, found[1], found[2])
        for found in _BLOCK.finditer(text)
    ]


def run(path, *, draw=True):
    """Run all blocks of a page in order, in one namespace, in the current folder.

    What ``>>>`` sessions print is checked, and so is what a block prints that a ```text block
    follows. draw=False leaves out the blocks that need matplotlib: no other may need them.
    """
    space = {"__name__": "__main__"}
    for block in blocks(path.read_text(encoding="utf-8")):
        if draw or not block.draws:
            space = _run(path, block, space)


def _run(path, block, space):
    if block.code.lstrip().startswith(">>>"):
        parser, runner, report = doctest.DocTestParser(), doctest.DocTestRunner(), io.StringIO()
        example = parser.get_doctest(block.code, space, path.name, str(path), block.line - 1)
        runner.run(example, out=report.write, clear_globs=False)
        assert runner.failures == 0, report.getvalue()
        return example.globs
    # Empty lines before it, so that errors name the line of the file.
    code = compile("\n" * (block.line - 1) + block.code, str(path), "exec")
    if block.printed is None:
        exec(code, space)
        return space
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, space)
    assert printed.getvalue() == block.printed, (
        f"{path}:{block.line} prints\n{printed.getvalue()}"
    )
    return space
