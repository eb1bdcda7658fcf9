"""``nncore evaluate``: how good a saved network is on a table."""

from argparse import Namespace
from typing import Any

from ..tables import count
from . import common, scores

_EVALUATE = """
Say how good a network is on rows whose targets are known: its loss; of classes the accuracy and
which were taken for which; of numbers the root mean square error (RMSE), the mean absolute error
(MAE), both in the unit of the target, and R2, the share of the variance that is told. Beside them
stands who always says the most frequent class, or the mean.
"""
_END = """
examples:
  nncore evaluate flowers.safetensors test.csv
  nncore evaluate digits.safetensors test.npz --x images --y labels

exit status: 0, or 2 for an error
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the subparsers of ``nncore``."""
    add = common.add_network_parser(
        commands, "evaluate", _evaluate, "loss, accuracy and errors on rows with known targets",
        _EVALUATE, _END,
    ).add_argument  # fmt: skip
    add("--threads", type=common.count, metavar="N", help="at most (default: as many as serve)")


def _evaluate(options: Namespace) -> int:
    from ..columns import Columns

    network, X, y = common.read(options)
    columns = Columns.of(network)
    if columns.classes is not None and y.ndim > 1:  # shares of classes
        columns = Columns(columns.inputs, [t._replace(classes=None) for t in columns.targets])
    y = y.reshape(len(y), -1) if columns.classes is None else y
    usual = scores.usual(columns, y)
    print(f"{common.plain(options.data)}: {count(len(X), 'row')}")
    print()
    found = scores.scores(network, columns, X, y, options.threads, usual)
    for line in scores.lines({"value": found}, columns, usual):
        print(line)
    if columns.classes is not None:
        out = network.predict(X, n_threads=options.threads)
        print()
        for line in scores.confusion(columns.classes, y, scores.predicted(network, columns, out)):
            print(line)
    return 0
