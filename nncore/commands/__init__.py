"""The commands of ``nncore``: a saved network and a table."""

from typing import Any

from . import evaluate, examine, predict, show, train
from .common import add_parser, count, run

__all__ = ["add_parser", "add_parsers", "count", "run"]


def add_parsers(commands: Any) -> None:
    """Add the commands to the subparsers of ``nncore``."""
    for module in (train, predict, evaluate, show, examine):
        module.add_parsers(commands)
