"""nncore.datasets: the digits are the published ones, and a split is fair and repeatable."""

import time
import zlib
from importlib import resources

import numpy as np
import pytest

from nncore import datasets
from nncore.datasets import load_digits, split

COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as the creators state them


# Digits


def test_digits_are_the_published_ones():
    X, y = load_digits()
    assert X.shape == (1797, 64) and X.dtype == np.float32
    assert y.shape == (1797,) and y.dtype == np.int64
    assert np.bincount(y).tolist() == COUNTS
    assert X.min() == 0 and X.max() == 16 and (X == np.round(X)).all()
    assert X.sum(dtype=np.float64) == 561718 and y.sum() == 8070
    # The checksums are of the rows in scikit-learn's order, one byte per value.
    assert zlib.crc32(X.astype(np.uint8).tobytes()) == 0xF3A2533C
    assert zlib.crc32(y.astype(np.uint8).tobytes()) == 0xF86FC929


def test_first_image_is_upright():
    X, y = load_digits()
    assert y[0] == 0
    rows = ["".join(" #"[int(value > 7)] for value in row) for row in X[0].reshape(8, 8)]
    assert rows == [
        "   ##   ",
        "  ####  ",
        "  #  ## ",
        "  #  ## ",
        "  #  ## ",
        "  #  #  ",
        "  # ##  ",
        "   ##   ",
    ]


def test_digits_are_ordinary_arrays():
    for array in load_digits():
        assert array.flags.c_contiguous and array.flags.writeable and array.dtype.isnative
        assert array.flags.owndata


def test_digits_are_new_at_every_call():
    before = [array.copy() for array in load_digits()]
    for array in load_digits():
        array[:] = -1
    for array, copy in zip(load_digits(), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_file_is_small_and_quick():
    path = resources.files("nncore.datasets").joinpath("digits.npz")
    assert len(path.read_bytes()) <= 60_000
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        load_digits()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.02


def test_attribution_is_beside_the_data():
    text = resources.files("nncore.datasets").joinpath("DIGITS.md").read_text(encoding="utf-8")
    for words in ("Alpaydin", "Kaynak", "UCI", "creativecommons.org/licenses/by/4.0", "Changes"):
        assert words in text


def test_public_names():
    assert datasets.__all__ == ["load_digits", "split"]


# Split


def rows(n_classes, n_rows):
    """Rows that know their number, of classes in turn."""
    return np.arange(n_rows), np.arange(n_rows) % n_classes


@pytest.mark.parametrize("test_size", [0.1, 0.2, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_split_is_stratified_disjoint_and_complete(test_size, seed):
    _, y = load_digits()
    number = np.arange(len(y))
    train, test, y_train, y_test = split(number, y, test_size=test_size, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([train, test])), number)
    np.testing.assert_array_equal(y_train, y[train])
    np.testing.assert_array_equal(y_test, y[test])
    assert np.bincount(y_test).tolist() == [round(test_size * n) for n in COUNTS]
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()


def test_split_takes_rows_of_X_and_y_together():
    X, y = load_digits()
    label = {row.tobytes(): digit for row, digit in zip(X, y, strict=True)}
    X_train, X_test, y_train, y_test = split(X, y)
    assert X_train.shape == (1438, 64) and X_test.shape == (359, 64)
    for part, labels in ((X_train, y_train), (X_test, y_test)):
        assert part.dtype == X.dtype and labels.dtype == y.dtype
        assert [label[row.tobytes()] for row in part] == labels.tolist()


def test_split_is_fixed_by_the_seed():
    X, y = rows(2, 20)
    first = split(X, y, test_size=0.3)
    np.random.seed(1)  # the global generator plays no part
    for a, b in zip(first, split(X, y, test_size=0.3, seed=np.int64(0)), strict=True):
        np.testing.assert_array_equal(a, b)
    # The same rows on every machine, so that published accuracies can be repeated.
    assert first[1].tolist() == [4, 5, 7, 8, 12, 19]
    assert split(X, y, test_size=0.3, seed=1)[1].tolist() == [1, 3, 8, 14, 16, 17]


def test_every_row_is_held_out_by_some_seed():
    X, y = rows(3, 12)
    seen = {row for seed in range(40) for row in split(X, y, test_size=0.25, seed=seed)[1].tolist()}
    assert seen == set(range(12))


@pytest.mark.parametrize("test_size, n_test", [(0.01, 1), (0.99, 2), (0.5, 2)])
def test_every_class_is_on_both_sides(test_size, n_test):
    X, y = rows(4, 12)
    _, _, y_train, y_test = split(X, y, test_size=test_size)
    assert np.bincount(y_test).tolist() == [n_test] * 4
    assert np.bincount(y_train).tolist() == [3 - n_test] * 4


def test_split_of_unequal_classes():
    y = np.array([0] * 100 + [1] * 10)
    assert np.bincount(split(y, y, test_size=0.2)[3]).tolist() == [20, 2]


@pytest.mark.parametrize("labels", [["b", "a"], [b"x", b"y"], [True, False], [-5, 2**40]])
def test_split_takes_any_classes(labels):
    y = labels * 5
    _, _, y_train, y_test = split(list(range(10)), y, test_size=0.4)
    assert sorted(y_train.tolist()) == sorted(labels * 3)
    assert sorted(y_test.tolist()) == sorted(labels * 2)


def test_split_returns_copies():
    X, y = np.zeros((6, 3, 2)), np.array([0, 1] * 3)
    parts = split(X, y, test_size=0.3)
    assert [part.shape for part in parts] == [(4, 3, 2), (2, 3, 2), (4,), (2,)]
    for part in parts:
        part[...] = 9
    assert (X == 0).all() and y.tolist() == [0, 1] * 3


@pytest.mark.parametrize("shape", [(10,), (10, 1), (10, 3)])
def test_split_of_targets_that_are_no_classes(shape):
    X, y = np.arange(10), np.random.default_rng(0).normal(size=shape)
    with pytest.raises(
        (TypeError, ValueError), match="for numbers to be predicted .*stratify=False"
    ):
        split(X, y)
    train, test, y_train, y_test = split(X, y, test_size=0.3, stratify=False)
    assert sorted([*train, *test]) == list(range(10)) and len(test) == 3
    assert np.array_equal(y_train, y[train]) and np.array_equal(y_test, y[test])
    assert test.tolist() != split(X, y, test_size=0.3, seed=1, stratify=False)[1].tolist()


@pytest.mark.parametrize(
    "y, options, match",
    [
        ([0.5], {"stratify": False}, "y needs 2 rows or more, .*; y has 1 rows"),
        (0.5, {"stratify": False}, "equally many rows"),
        ([0, 0], {"stratify": "y"}, "stratify must be True or False; got 'y'"),
    ],
)
def test_bad_use_without_classes(y, options, match):
    with pytest.raises(ValueError, match=match):
        split(np.zeros(np.size(y)), y, **options)


@pytest.mark.parametrize("test_size", [0, 1, 0.0, 1.0, -0.2, 1.5, 20, True, "0.2", None, np.nan])
def test_bad_test_size(test_size):
    with pytest.raises(ValueError, match=f"test_size must be a share .* got {test_size!r}"):
        split(*rows(2, 8), test_size=test_size)


@pytest.mark.parametrize("seed", [-1, None, 1.0, True, "0"])
def test_bad_seed(seed):
    with pytest.raises(ValueError, match=f"seed must be an integer of at least 0; got {seed!r}"):
        split(*rows(2, 8), seed=seed)


@pytest.mark.parametrize(
    "X, y, error, match",
    [
        (np.zeros((4, 2)), np.eye(4), ValueError, r"shape \(4, 4\).*y.argmax"),
        (np.zeros(1), np.int64(1), ValueError, r"one class label per row.*shape \(\)"),
        (np.zeros(4), np.zeros(4), TypeError, r"dtype float64.*y.astype\(int\)"),
        (np.zeros(4), np.array([None] * 4), TypeError, "dtype object"),
        (np.zeros((3, 2)), [0, 1, 0, 1], ValueError, r"X is \(3, 2\), y is \(4,\)"),
        (np.zeros(5), [0, 1, 0, 1], ValueError, r"X is \(5,\), y is \(4,\)"),
        (np.float64(1), [0, 0], ValueError, r"X is \(\), y is \(2,\)"),
        (np.zeros(3), [0, 0, 7], ValueError, "class 7 has 1 row"),
        (np.zeros(3), ["a", "a", "b"], ValueError, "class 'b' has 1 row"),
        (np.zeros(0), np.zeros(0, int), ValueError, "y has 0 rows"),
    ],
)
def test_bad_rows(X, y, error, match):
    with pytest.raises(error, match=match):
        split(X, y)


def test_options_are_given_by_name():
    with pytest.raises(TypeError):
        split(*rows(2, 8), 0.5)
