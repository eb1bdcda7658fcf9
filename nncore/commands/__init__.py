"""The commands of ``nncore``: a saved network and a table."""

from __future__ import annotations

from . import evaluate, examine, predict, show, train
from .common import run

__all__ = ["add_parsers", "run"]


def add_parsers(commands):
    """Add the commands to the subparsers of ``nncore``."""
    for module in (train, predict, evaluate, show, examine):
        module.add_parsers(commands)
