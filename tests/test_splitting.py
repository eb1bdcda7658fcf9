"""validation_split: rows at random, of each class alike, the same with the same seed."""

import numpy as np
import pytest

from nncore import Dense, Network
from nncore.splitting import _parts

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
LABELS = np.sort(np.r_[np.zeros(120, int), np.ones(60, int), np.full(20, 2)])  # not shuffled
VALUES = np.arange(200.0)


def classifier(seed=0):
    return Network(4, Dense(5, "tanh"), Dense(3, "softmax"), seed=seed)


def split(net, y, share=0.25, **options):
    history = net.fit(X, y, verbose=0, validation_split=share, epochs=2, **options)
    rows = history.validation_rows
    assert rows.dtype == np.int64 and (np.diff(rows) > 0).all()
    assert 0 <= rows[0] and rows[-1] < len(X) and len(history["val_loss"]) == 2
    return rows, history


def test_of_each_class_alike():
    for y in (LABELS, np.eye(3)[LABELS]):
        rows, _ = split(classifier(), y)
        assert np.bincount(LABELS[rows]).tolist() == [30, 15, 5]
    binary = Network(4, Dense(1, "sigmoid"), seed=0)
    rows, _ = split(binary, LABELS == 2, 0.1)
    assert (LABELS[rows] == 2).sum() == 2 and len(rows) == 20
    margins = Network(4, Dense(1), loss="hinge", seed=0)
    rows, _ = split(margins, np.where(LABELS == 2, 1, -1), 0.1)
    assert (LABELS[rows] == 2).sum() == 2


def test_numbers_and_questions_are_shuffled():
    net = Network(4, Dense(1), seed=0)
    rows, _ = split(net, VALUES)
    assert len(rows) == 50 and abs(VALUES[rows].mean() - 99.5) < 25  # the last rows have 174.5
    questions = Network(4, Dense(2, "sigmoid"), seed=0)
    rows, _ = split(questions, np.column_stack([LABELS > 0, LABELS > 1]))
    assert len(rows) == 50


def test_the_same_again_with_the_same_seed():
    a, b, c = classifier(), classifier(), classifier(1)
    one, two, three = (split(net, LABELS) for net in (a, b, c))
    assert (one[0] == two[0]).all() and a.theta.tobytes() == b.theta.tobytes()
    assert dict(one[1]) == dict(two[1]) and (one[0] != three[0]).any()
    assert (split(a, LABELS)[0] != one[0]).any()  # another fit draws others


def test_it_is_as_if_the_parts_were_given():
    """With the weights of their rows; what was held out is not seen."""
    w = RNG.integers(1, 4, 200)
    net = classifier()
    rows, history = split(net, LABELS, sample_weight=w, class_weight="balanced", metrics=["f1"])
    rest = np.setdiff1d(np.arange(200), rows)
    twin = classifier()
    twin._rng.permutation(200)  # as the split has drawn
    expected = twin.fit(
        X[rest], LABELS[rest], epochs=2, verbose=0, sample_weight=w[rest], class_weight="balanced",
        validation_data=(X[rows], LABELS[rows], w[rows]), metrics=["f1"],
    )  # fmt: skip
    assert dict(history) == dict(expected) and net.theta.tobytes() == twin.theta.tobytes()
    assert expected.validation_rows is None


@pytest.mark.parametrize(
    ("sizes", "count", "parts"),
    [
        ([120, 60, 20], 50, [30, 15, 5]),
        ([5, 5, 5], 4, [2, 1, 1]),  # the largest remainders
        ([1, 1, 8], 3, [0, 0, 3]),  # not the only row of a class
        ([1, 0, 9], 9, [0, 0, 8]),  # or the last one of any: then others follow
        ([7, 2], 6, [5, 1]),
    ],
)
def test_parts(sizes, count, parts):
    assert _parts(np.array(sizes), count).tolist() == parts


def test_classes_with_one_row():
    y = np.arange(200) % 100
    y[:] = np.where(np.arange(200) < 190, 0, np.arange(200) - 189)
    net = Network(4, Dense(12, "softmax"), seed=0)
    rows, _ = split(net, y)
    assert (y[rows] == 0).all() and len(rows) == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_split": 1.0}, "validation_split must be a number from 0 to below 1, got 1.0"),
        ({"validation_split": -0.1}, "validation_split must be a number from 0 to below 1"),
        ({"validation_split": "half"}, "validation_split must be a number from 0 to below 1"),
        ({"validation_split": True}, "validation_split must be a number from 0 to below 1"),
        ({"validation_split": float("nan")}, "validation_split must be a number from 0 to below"),
        ({"validation_split": 1e-3}, "of 200 rows leaves 0 for validation and 200 for training"),
        ({"validation_split": 0.999}, "of 200 rows leaves 200 for validation and 0 for training"),
        ({"validation_split": 0.5, "validation_data": (X, LABELS)}, "validation_split, not both"),
        ({"validation_split": 0.1, "sample_weight": np.arange(200) == 7}, "sample_weight of the .* "
         "rows of validation_split is 0 for every row"),
    ],
)  # fmt: skip
def test_what_is_refused(options, message):
    net = classifier()
    before = net.theta.copy(), str(net._rng.bit_generator.state)
    with pytest.raises(ValueError, match=message):
        net.fit(X, LABELS, verbose=0, **options)
    assert (net.theta == before[0]).all() and str(net._rng.bit_generator.state) == before[1]


def test_an_error_before_training_draws_nothing():
    net = classifier()
    before = str(net._rng.bit_generator.state)
    with pytest.raises(ValueError, match="no metric"):
        net.fit(X, LABELS, verbose=0, validation_split=0.2, metrics=["none"])
    assert str(net._rng.bit_generator.state) == before


def test_zero_is_none():
    net, twin = classifier(), classifier()
    history = net.fit(X, LABELS, verbose=0, validation_split=0)
    twin.fit(X, LABELS, verbose=0)
    assert net.theta.tobytes() == twin.theta.tobytes() and list(history) == ["loss"]
