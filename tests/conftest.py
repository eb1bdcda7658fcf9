"""Fixtures: tests on every instruction set of this machine, in both types; the command line."""

import io
import sys
from pathlib import Path

import pytest

# `python -m pytest` puts the checkout first on the path, where nncore's source folder would be
# found before the installed package. (An engine built in place is meant to be found there.)
CHECKOUT = Path(__file__).resolve().parents[1]
if not any(file.suffix in (".so", ".pyd") for file in (CHECKOUT / "nncore").glob("_core.*")):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != CHECKOUT]

from nncore import _core  # noqa: E402

DTYPES = ("float32", "float64")
# Those that fuse multiply and add promise each other's bits; the baseline does not.
FUSED = [isa for isa in _core.isas() if isa != "baseline"]


def pytest_report_header(config):
    compiled = ", ".join(_core.build_info()["compiled"])
    return [
        f"nncore: tested instruction sets: {', '.join(_core.isas())} (compiled: {compiled})",
        f"nncore: compared bit by bit: {', '.join(FUSED) or 'none'}; default: {_core.ISA}",
    ]


@pytest.fixture(params=_core.isas())
def isa(request):
    return request.param


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture
def kernels(isa, dtype):
    """The single kernels of one instruction set and type."""
    return _core.Kernels(isa, dtype)


@pytest.fixture
def fused(isa):
    """Whether multiply-adds of this instruction set round once."""
    return isa in FUSED


@pytest.fixture
def sizes(kernels):
    """Lengths around those of a vector."""
    lanes = kernels.lanes
    return sorted({0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes + 3})


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run ``nncore`` in a folder of its own; return its exit status, what it prints, its errors.

    `stdin` is text or bytes for standard input.
    """
    monkeypatch.chdir(tmp_path)

    def run(*arguments, stdin=None):
        from nncore.cli import main

        if stdin is not None:
            data = stdin if isinstance(stdin, bytes) else stdin.encode()
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as end:  # argparse
            status = end.code
        return status, *capsys.readouterr()

    return run
