"""Bad data: the message says what was expected and what came, and the network stays as it was."""

import numpy as np
import pytest

from nncore import Dense, Network

from .refusals import (
    LABELS,
    USES,
    Sparse,
    X,
    Y,
    binary,
    classifier,
    named,
    refused,
    regressor,
    single,
    uses,
)

# --- Shapes and types of X ------------------------------------------------------------------------

EXPECTS = "Network expects 3 input features (layer 0: Dense 3->2), got X with shape "
WITH_TEXT = np.array([[1, "x", 2], [3, 4, 5]], object)

BAD_X = {
    "too wide": (np.zeros((100, 4)), EXPECTS + "(100, 4)."),
    "too narrow": (np.zeros((100, 2)), EXPECTS + "(100, 2)."),
    "no columns": (np.zeros((100, 0)), EXPECTS + "(100, 0)."),
    "one row": (np.zeros(3), EXPECTS + "(3,). One sample is a row: X.reshape(1, -1)."),
    "1-D": (np.zeros(100), EXPECTS + "(100,)."),
    "0-D": (3.5, EXPECTS + "()."),
    "3-D": (np.zeros((100, 3, 2)), EXPECTS + "(100, 3, 2)."),
    "images": (
        np.zeros((100, 3, 1)),
        EXPECTS + "(100, 3, 1). Flatten each sample: X.reshape(len(X), -1).",
    ),
    "empty list": ([], EXPECTS + "(0,)."),
    "no rows, wrong width": (np.zeros((0, 4)), EXPECTS + "(0, 4)."),
    "strings": ([["a", "b", "c"]], "X has dtype <U1; convert it to float32 or float64"),
    "numbers as strings": ([["1", "2", "3"]], "X has dtype <U1; convert it to float32"),
    "bytes": ([[b"a", b"b", b"c"]], "X has dtype |S1; convert it to float32 or float64"),
    "objects": (
        WITH_TEXT,
        "X has dtype object; convert it to float32 or float64 (column 1 holds strings).",
    ),
    "objects in rows": (WITH_TEXT[:1], "X has dtype object; convert it to float32 or float64 (col"),
    "complex": (X.astype(complex), "X has dtype complex128; convert it to float32 or float64."),
    "dates": (np.zeros((2, 3), "M8[D]"), "X has dtype datetime64[D]; convert it to float32"),
    "records": (np.zeros((2, 3), [("a", "f4")]), "X has dtype [('a', '<f4')]; convert it to"),
    "None": (None, "X is None; expected an array of numbers."),
    "Nones": ([[1, None, 2]], "X has dtype object; convert it to float32 or float64."),
    "dict": ({"a": [1]}, "X has dtype object; convert it to float32 or float64."),
    "generator": ((row for row in X), "X has dtype object; convert it to float32 or float64."),
    "huge integers": ([[10**40, 0, 1]], "X has dtype object; convert it to float32 or float64."),
    "ragged": ([[1, 2, 3], [4, 5]], "X is not a rectangular array: "),
    "sparse": (Sparse(), "X is a sparse matrix; convert it with X.toarray()"),
    "masked": (np.ma.masked_equal(X.round(), 0), "X is a masked array; fill it first, with X.fill"),
}


@pytest.mark.parametrize("case", BAD_X)
@pytest.mark.parametrize("use", ["predict", *USES])
def test_x(use, case):
    network = regressor()
    value, message = BAD_X[case]
    with refused(ValueError, named(use, message), network=network):
        if use == "predict":
            network.predict(value)
        else:
            USES[use](network, value, Y)


def test_hint_for_a_single_feature():
    network = Network(1, Dense(1))
    with refused(ValueError, "got X with shape (5,). One feature is a column: X.reshape(-1, 1)."):
        network.predict(np.zeros(5))


NOT_FINITE = {
    "NaN": (np.nan, "contains NaN as float32 (first at row 17, column 1). Clean, impute or scale"),
    "infinity": (np.inf, "contains infinity as float32 (first at row 17, column 1). Clean, imp"),
    "minus infinity": (-np.inf, "contains infinity as float32 (first at row 17, column 1). Clean"),
    "too large for float32": (1e39, "contains infinity as float32 (first at row 17, column 1)."),
}


@pytest.mark.parametrize("case", NOT_FINITE)
@uses
def test_values_that_are_not_finite(use, case):
    network = regressor()
    value, message = NOT_FINITE[case]
    for good, name in ((X, "X "), (Y, "y ")):
        bad = good.copy()
        bad[17, 1] = bad[18, 0] = value
        with refused(ValueError, named(use, name + message), network=network):
            USES[use](network, *((bad, Y) if good is X else (X, bad)))


def test_nan_far_down_a_large_array():
    """The check goes through blocks of rows; none may be left out."""
    many = np.zeros((1_000_003, 3), "float32")
    network = regressor()
    for row in (0, 349_524, 349_525, 699_049, 1_000_002):
        many[row, 1] = np.nan
        with refused(ValueError, f"(first at row {row}, column 1)", network=network):
            network.evaluate(many, np.zeros((1_000_003, 2)))
        many[row, 1] = 0


def test_float64_reaches_further():
    big = np.full((4, 3), 1e39)
    network = regressor("float64")
    assert np.isfinite(network.predict(big)).all()
    network.partial_fit(big, np.zeros((4, 2)))
    with refused(ValueError, "X contains infinity as float64", network=network):
        network.partial_fit(big * np.inf, np.zeros((4, 2)))


def test_predict_takes_nan():
    assert np.isnan(regressor().predict([[0, np.nan, 0]])).all()


# --- Targets --------------------------------------------------------------------------------------

BAD_Y = {
    "labels for a regression": (
        LABELS,
        "y has shape (100,) and the network has 2 outputs; expected (100, 2). For class labels "
        'use a "softmax" output with loss="cross_entropy".',
    ),
    "one column": (Y[:, :1], "y has shape (100, 1) and the network has 2 outputs; expected (100"),
    "three columns": (X, "y has shape (100, 3) and the network has 2 outputs; expected (100, 2)."),
    "transposed": (Y.T, "y has shape (2, 100) and the network has 2 outputs; expected (100, 2)."),
    "0-D": (0.5, "y has shape () and the network has 2 outputs; expected (100, 2)."),
    "3-D": (Y[:, :, None], "y has shape (100, 2, 1) and the network has 2 outputs; expected (100"),
    "too few": (Y[:90], "X has 100 rows but y has 90."),
    "too many": (np.vstack([Y, Y]), "X has 100 rows but y has 200."),
    "none": (Y[:0], "X has 100 rows but y has 0."),
    "None": (None, "y is None; expected an array of numbers."),
    "strings": (Y.astype(str), "y has dtype <U32; convert it to float32 or float64."),
    "complex": (Y.astype(complex), "y has dtype complex128; convert it to float32 or float64."),
    "ragged": ([[1, 2], [3]], "y is not a rectangular array: "),
    "sparse": (Sparse(), "y is a sparse matrix; convert it with y.toarray()"),
    "masked": (np.ma.masked_less(Y, 0.5), "y is a masked array; fill it first, with y.filled(...)"),
}


@pytest.mark.parametrize("case", BAD_Y)
@uses
def test_y_of_two_outputs(use, case):
    network = regressor()
    value, message = BAD_Y[case]
    with refused(ValueError, named(use, message), network=network):
        USES[use](network, X, value)


@pytest.mark.parametrize("shape", [(100, 2), (1, 100), (100, 100), (100, 1, 1), ()])
def test_y_of_one_output(shape):
    network = single()
    message = f"y has shape {shape} and the network has 1 output; expected (100, 1)."
    with refused(ValueError, message, network=network):
        network.fit(X, np.zeros(shape), verbose=False)
    with refused(ValueError, "X has 100 rows but y has 90.", network=network):
        network.fit(X, np.zeros(90), verbose=False)


NEEDS = "cross_entropy needs integer labels in 0..9 or one-hot rows"
NUMBER_THEM = "Number the labels, e.g. with classes, "  # y = np.unique(y, return_inverse=True)
ROW_3 = np.where(np.arange(100) == 3, 10, LABELS)

BAD_LABELS = {
    "too large": (
        ROW_3,
        f"{NEEDS}; got label 10 at row 3. Give the last layer 11 outputs, or relabel.",
    ),
    "too large, as a column": (ROW_3[:, None], f"{NEEDS}; got label 10 at row 3."),
    "far too large": (ROW_3.astype("u8") * 2**60, f"{NEEDS}; got label "),
    "floats": (
        LABELS.astype(float),
        f"{NEEDS} of shape (100, 10); got y of dtype float64 and shape (100,). If they are labels, "
        "use y.astype(int).",
    ),
    "a column of floats": (LABELS[:, None] / 2, f"{NEEDS} of shape (100, 10); got y of dtype flo"),
    "floats and NaN": (
        np.where(np.arange(100) == 3, np.nan, LABELS),
        "y contains NaN as float64 (first at row 3, column 0).",
    ),
    "half floats and NaN": (np.full(200, np.nan, "f2")[::2], "y contains NaN as float64 (first "),
    "strings": (LABELS.astype(str), "y has dtype <U21. ", f"{NEEDS}. {NUMBER_THEM}"),
    "a column of strings": (
        LABELS[:, None].astype(str),
        f"y has dtype <U21. {NEEDS}. ",
        NUMBER_THEM,
    ),
    "objects": (LABELS.astype(object), "y has dtype object. ", NUMBER_THEM),
    "None": (None, "y is None; expected an array of numbers. ", NEEDS),
    "too few": (LABELS[:90], "X has 100 rows but y has 90."),
    "too many": (np.zeros(101, int), "X has 100 rows but y has 101."),
    "one-hot of fewer classes": (
        np.eye(9)[LABELS % 9],
        "y has shape (100, 9) and the network has 10 outputs; expected (100, 10).",
    ),
    "0-D": (3, "y has shape () and the network has 10 outputs; expected (100, 10)."),
    "fewer rows": (np.eye(10)[LABELS[:90]], "X has 100 rows but y has 90."),
    "not one": (
        np.eye(10)[LABELS] * 0.9,
        "cross_entropy needs rows that sum to 1; row 0 of y sums to 0.9.",
    ),
    "two-hot": (np.ones((100, 10)), "cross_entropy needs rows that sum to 1; row 0 of y sums to 1"),
    "negative": (
        np.where(np.arange(10) == 4, -1.0, 2 / 9) * np.ones((100, 1)),
        "cross_entropy needs targets in [0, 1]; got -1 at row 0, column 4 of y.",
    ),
    "NaN": (np.eye(10)[LABELS] * np.nan, "y contains NaN as float32 (first at row 0, column 0)."),
}


@pytest.mark.parametrize("case", BAD_LABELS)
@uses
def test_labels(use, case):
    network = classifier()
    value, *messages = BAD_LABELS[case]
    with refused(ValueError, *(named(use, part) for part in messages), network=network):
        USES[use](network, X, value)


def test_negative_labels():
    network = classifier()
    with refused(ValueError, f"{NEEDS}; got label -1 at row 3.", network=network) as _:
        network.fit(X, np.where(np.arange(100) == 3, -1, 9), verbose=False)
    with pytest.raises(ValueError) as caught:
        network.fit(X, np.where(np.arange(100) == 3, -1, 9), verbose=False)
    assert "10 outputs" not in str(caught.value)  # it has 10, and more would not help


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.where(Y < 0.5, -1, 1), "binary_cross_entropy needs targets in [0, 1]; got -1 at "),
        (np.full((100, 2), 1.5), "binary_cross_entropy needs targets in [0, 1]; got 1.5 at "),
        (LABELS, "y has shape (100,) and the network has 2 outputs; expected (100, 2)."),
        (Y * np.nan, "y contains NaN as float32 (first at row 0, column 0)."),
    ],
)
@uses
def test_targets_of_binary_cross_entropy(use, value, message):
    network = binary()
    if use == "validation":
        with refused(ValueError, named(use, message), network=network):
            network.fit(X, Y, validation_data=(X, value), verbose=False)
    else:
        with refused(ValueError, message, network=network):
            USES[use](network, X, value)


@uses
def test_no_rows(use):
    for network, y in ((regressor(), Y), (classifier(), LABELS)):
        with refused(ValueError, named(use, "X has no rows; at least one is needed."),
                     network=network):  # fmt: skip
            USES[use](network, X[:0], y[:0])
        with refused(ValueError, named(use, f"X has 0 rows but y has {len(y)}."), network=network):
            USES[use](network, X[:0], y)


def test_masked_arrays_everywhere():
    """NumPy would take what is under the mask."""
    net, x = regressor(), np.ma.masked_equal(X[0], X[0, 0])
    y = np.ma.masked_equal(Y[0], Y[0, 0])
    for name, call in {
        "x": lambda: net.predict_one(x), "y": lambda: net.learn_one(X[0], y),
        "sample_weight": lambda: net.fit(X, Y, sample_weight=np.ma.masked_less(np.ones(100), 2)),
    }.items():  # fmt: skip
        with refused(ValueError, f"{name} is a masked array; fill it first", network=net):
            call()
