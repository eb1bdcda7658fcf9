"""Pages of documentation whose code is run: blocks of Python or commands, and what they print."""

import contextlib
import doctest
import io
import re
import shlex
from typing import NamedTuple

from nncore import _core

_BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\n\n?^```text\n(.*?)^```$)?|^```console\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"-?\d[\d,.]*(?:e[-+]?\d+)?")


class Block(NamedTuple):
    """A block of Python at a line of its page, and the block of text right behind it, or None; or a
    session of commands, each behind a $, with all that they print."""

    line: int
    code: str
    printed: str | None
    session: str | None = None

    @property
    def draws(self):
        """Whether it makes pictures by matplotlib."""
        return "savefig(" in self.code


def blocks(text):
    """Return the ```python and the ```console blocks of a page."""
    return [
        Block(text.count("\n", 0, found.start()) + 2, found[1] or "", found[2], found[3])
        for found in _BLOCK.finditer(text)
    ]


def run(path, *, draw=True):
    """Run all blocks of a page in order, in one namespace, in the current folder.

    What ``>>>`` sessions print is checked, and so is what a block prints that a ```text block
    follows, and what commands print. draw=False leaves out the blocks that need matplotlib: no
    other may need them.
    """
    space = {"__name__": "__main__"}
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.session is not None:
            _run_session(path, block)
        elif draw or not block.draws:
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


def _run_session(path, block):
    """Run the commands of nncore in a session, and compare what they print.

    Errors are shown as well, but no progress: commands that train have -q. Instruction sets that
    fuse multiply and add print the same digits; others the same but for the numbers.
    """
    from nncore.cli import main

    for part in re.split(r"^\$ ", block.session, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "nncore", f"{path}:{block.line} runs {program}"
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            with contextlib.redirect_stderr(printed):
                main(arguments)
        got, want = printed.getvalue().rstrip("\n"), expected.rstrip("\n")
        if _core.ISA == "baseline":
            got, want = (" ".join(_NUMBER.sub("0", text).split()) for text in (got, want))
        assert got == want, f"{path}:{block.line}: {command} prints\n{printed.getvalue()}"
