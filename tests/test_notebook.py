"""What a notebook shows of networks and histories."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from nncore import Dense, History, Network


class Cells(HTMLParser):
    """The text of each row of the table, and tags that were opened and not closed."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.open, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def history(**columns):
    made = History()
    for i in range(len(next(iter(columns.values())))):
        made.append(**{name: values[i] for name, values in columns.items()})
    return made


def test_a_network_is_its_summary(capsys):
    net = Network(3, Dense(2, "tanh"), Dense(1), seed=0)
    cells = Cells(net._repr_html_())
    assert cells.rows[0] == ["layer", "activation", "in -> out", "parameters"]
    assert cells.rows[1:] == [
        ["0 Dense", "tanh", "3 -> 2", "8"],
        ["1 Dense", "identity", "2 -> 1", "3"],
    ]
    assert not cells.open
    net.summary()
    printed = capsys.readouterr().out
    assert all(cell in printed for row in cells.rows for cell in row)
    assert printed.splitlines()[-1] in cells.text


def test_names_are_escaped():
    made = history(loss=[2.0, 1.0])
    made.append(**{"<b>&": 3.0})
    assert ["<b>&", "3", "3", "3", "3"] in Cells(made._repr_html_()).rows


def test_a_history_is_a_table_and_curves():
    made = history(loss=[8.0, 1.0, 2.0], val_loss=[4.0, 4.0, 2.0], val_accuracy=[0.5, np.nan, 0.75])
    html = made._repr_html_()
    cells = Cells(html)
    assert cells.rows == [
        ["", "first", "lowest", "highest", "last"], ["loss", "8", "1", "8", "2"],
        ["val_loss", "4", "2", "4", "2"], ["val_accuracy", "0.5", "0.5", "0.75", "0.75"],
    ]  # fmt: skip
    assert "History of 3 epochs" in cells.text
    assert "loss, and dashed val_loss by epoch, logarithmic: 1 to 8" in cells.text
    first, second = re.findall(r'points="([^"]*)"', html)
    assert first == "0.0,0.0 180.0,120.0 360.0,80.0"  # log 8, log 1, log 2
    assert second == "0.0,40.0 180.0,40.0 360.0,80.0"


@pytest.mark.parametrize(
    ("values", "points"),
    [
        ([3.0, np.inf, 1.0], "0.0,0.0 360.0,120.0"),  # a gap
        ([1.0, 0.0], "0.0,0.0 360.0,120.0"),  # no logarithm
        ([1.0, 1.0], None),
        ([np.nan, np.nan], None),
        ([1.0], None),
        ([], None),
    ],
)
def test_curves_of_odd_losses(values, points):
    made = history(loss=values) if values else History()
    html = made._repr_html_()
    assert not Cells(html).open
    assert re.findall(r'points="([^"]*)"', html) == ([] if points is None else [points])
    assert ("logarithmic" in html) == (points is not None and 0.0 not in values)
