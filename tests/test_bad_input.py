"""Bad input: the message says what was expected and what came, and the network stays as it was."""

import contextlib
import dataclasses
import re
import warnings

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3))
Y = RNG.uniform(0.1, 0.9, (100, 2))
LABELS = RNG.integers(0, 10, 100)


def state(network):
    engine = network._engine
    return (
        network.theta.tobytes(),
        engine.state.tobytes(),
        engine.n_updates,
        engine.hyper,
        network._rng.bit_generator.state,
        network._training.locked(),
        repr(network),
    )


@contextlib.contextmanager
def refused(error, *parts, network=None):
    """Expect exactly this error with all of this in its message, and an unchanged network."""
    before = network and state(network)
    with pytest.raises(error) as caught:
        yield caught
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert type(caught.value) is error and len(message) < 500
    assert before == (network and state(network))


def trained(network, X, y):
    """The network after two updates, so that there is a state to lose."""
    network.partial_fit(X, y)
    network.partial_fit(X, y)
    return network


def regressor(dtype="float32", **options):
    network = Network(3, Dense(2, "tanh"), Dense(2), dtype=dtype, seed=0, **options)
    return trained(network, X, Y)


def single():
    return trained(Network(3, Dense(2, "tanh"), Dense(1), seed=0), X, Y[:, 0])


def classifier():
    return trained(Network(3, Dense(4, "tanh"), Dense(10, "softmax"), seed=0), X, LABELS)


def binary():
    network = Network(3, Dense(4, "tanh"), Dense(2, "sigmoid"), seed=0)
    return trained(network, X, Y.round())


# All the ways for data to come in; in the last one it is called "validation X" and "validation y".
USES = {
    "evaluate": lambda network, X, y: network.evaluate(X, y),
    "loss_and_gradient": lambda network, X, y: network.loss_and_gradient(X, y),
    "partial_fit": lambda network, X, y: network.partial_fit(X, y),
    "fit": lambda network, X, y: network.fit(X, y, epochs=2, verbose=False),
    "validation": lambda network, X_bad, y_bad: network.fit(
        X, Y if network.loss == "mse" else LABELS, validation_data=(X_bad, y_bad), verbose=False
    ),
}
uses = pytest.mark.parametrize("use", USES)


def named(use, text):
    """The text with the names that the data has in this use."""
    return re.sub(r"\b([Xy])\b", r"validation \1", text) if use == "validation" else text


class Sparse:
    shape = (100, 3)

    def toarray(self):
        raise AssertionError("nobody asked for this copy")


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


# --- Options of fit -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, np.True_, None, "3", np.nan, [2], "fill"])
@pytest.mark.parametrize("name", ["epochs", "batch_size"])
def test_numbers_of_fit(name, value):
    network = regressor()
    message = f"{name} must be an integer"
    with refused(ValueError, message, f"got {value!r}", network=network):
        network.fit(X, Y, verbose=False, **{name: value})
    network.fit(X, Y, verbose=False, **{name: np.int32(2)})


@pytest.mark.parametrize("value", ["yes", 2, None, "AUTO"])
def test_verbose(value):
    network = regressor()
    message = f'verbose must be True, False or "auto", got {value!r}'
    with refused(ValueError, message, network=network):
        network.fit(X, Y, verbose=value)


@pytest.mark.parametrize(
    "value", [3, "Xy", X, np.zeros((2, 3)), (X,), (X, Y, Y), [X], {"X": X, "y": Y}, (), True]
)
def test_validation_data(value):
    network = regressor()
    with refused(ValueError, "validation_data must be a tuple (X, y)", network=network):
        network.fit(X, Y, validation_data=value, verbose=False)


def test_divergence():
    data = X.astype("float32"), np.zeros((100, 2), "float32")
    network = Network(3, Dense(4, "relu"), Dense(2), optimizer=SGD(40), seed=0)
    twin = network.copy()
    with pytest.raises(FloatingPointError) as caught:
        network.fit(*data, epochs=50, batch_size=10, shuffle=False, verbose=False)
    pattern = (
        r"Loss became (inf|nan) at epoch (\d+), batch (\d+); that update was not applied. Try a "
        r"smaller learning rate, or scale the inputs and targets\."
    )
    match = re.fullmatch(pattern, str(caught.value))
    steps = (int(match[2]) - 1) * 10 + int(match[3]) - 1
    assert network._engine.n_updates == steps > 0
    for i in range(steps):
        rows = slice(i % 10 * 10, i % 10 * 10 + 10)
        assert np.isfinite(twin.partial_fit(data[0][rows], data[1][rows]))
    assert network.theta.tobytes() == twin.theta.tobytes()
    rows = slice(steps % 10 * 10, steps % 10 * 10 + 10)
    before = state(network)
    with pytest.raises(FloatingPointError, match=r"Loss became (inf|nan); that update was "):
        network.partial_fit(data[0][rows], data[1][rows])
    assert state(network) == before


# --- Output arrays --------------------------------------------------------------------------------


def read_only():
    out = np.empty((100, 2), "float32")
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "error", "got"),
    [
        ([[0, 0]] * 100, TypeError, "list"),
        ("out", TypeError, "str"),
        (memoryview(np.empty((100, 2), "f4")), TypeError, "memoryview"),
        (np.ma.masked_all((100, 2), "f4"), TypeError, "MaskedArray"),
        (np.empty((100, 2)), ValueError, "float64 of shape (100, 2)"),
        (np.empty((100, 2), ">f4"), ValueError, ">f4 of shape (100, 2)"),
        (np.empty((100, 2), "i4"), ValueError, "int32 of shape (100, 2)"),
        (np.empty((100, 2), object), ValueError, "object of shape (100, 2)"),
        (np.empty((100, 3), "f4"), ValueError, "float32 of shape (100, 3)"),
        (np.empty((99, 2), "f4"), ValueError, "float32 of shape (99, 2)"),
        (np.empty((2, 100), "f4"), ValueError, "float32 of shape (2, 100)"),
        (np.empty(200, "f4"), ValueError, "float32 of shape (200,)"),
        (np.empty((100, 2, 1), "f4"), ValueError, "float32 of shape (100, 2, 1)"),
        (np.empty((0, 2), "f4"), ValueError, "float32 of shape (0, 2)"),
        (read_only(), ValueError, "a read-only array"),
        (np.broadcast_to(np.float32(0), (100, 2)), ValueError, "a read-only array"),
    ],
)
def test_out(out, error, got):
    network = regressor()
    before = np.array(out).tobytes() if isinstance(out, np.ndarray) and out.dtype != object else 0
    message = f"out must be a writable float32 array of shape (100, 2), got {got}"
    with refused(error, message, network=network):
        network.predict(X, out=out)
    assert before == 0 or np.array(out).tobytes() == before


def test_out_is_not_touched_if_x_is_wrong():
    out = np.full((100, 2), 7, "float32")
    with refused(ValueError, "got X with shape (100, 4)"):
        regressor().predict(np.zeros((100, 4)), out=out)
    assert (out == 7).all()


# --- Parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[1, 2], np.zeros(15), np.zeros((14, 1)), 0, []])
def test_theta(values):
    network = regressor()
    message = f"theta has shape (14,), got {np.shape(values)}"
    with refused(ValueError, message, network=network):
        network.theta = values


@pytest.mark.parametrize("values", ["abc", None, ["a"] * 14, object()])
def test_theta_of_other_types(values):
    network = regressor()
    before = state(network)
    with pytest.raises((ValueError, TypeError)):
        network.theta = values
    assert state(network) == before


@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [("W", (2, 3), "(3, 2)"), ("W", (3,), "(3, 2)"), ("b", (3,), "(2,)")],
)
def test_shapes_of_weights(name, shape, wanted):
    network = regressor()
    with refused(ValueError, wanted, str(shape), network=network):
        setattr(network.layers[0], name, np.zeros(shape))


def test_a_description_has_no_weights():
    layer = Dense(3, "tanh")
    Network(2, layer)
    for name in "W", "b":
        with refused(AttributeError, "Dense(3, 'tanh') is only a description", "net.layers[i].W"):
            getattr(layer, name)
        with refused(AttributeError, "Dense(3, 'tanh') is only a description", "net.layers[i].W"):
            setattr(layer, name, 0)


@pytest.mark.parametrize("init", [[[1, 2, 3], [4, 5, 6]], [1, 2], 3.0, [[[1]]], []])
def test_shape_of_init(init):
    message = f"init of Dense(2, 'relu') has shape {np.shape(init)}; expected (3, 2), one row per"
    with refused(ValueError, message):
        Network(3, Dense(2, "relu", init=init))


@pytest.mark.parametrize("init", [[[1, 2], [3]], [["a", "b"]], np.zeros, {"W": 1}, 1j])
def test_init_that_is_no_array(init):
    with pytest.raises((ValueError, TypeError), match=r"\binit\b"):
        Network(3, Dense(2, init=init))


@pytest.mark.parametrize(
    "init", [np.ones((3, 2), complex), np.ma.masked_all((3, 2)), np.full((3, 2), "1")]
)
def test_init_that_would_lose_something(init):
    """The imaginary part, the mask, or that it is text."""
    with refused(ValueError, "init must be the name of an initializer, ", "or an array (n_in, n_o"):
        Network(3, Dense(2, init=init))


# --- Names ----------------------------------------------------------------------------------------

ALL_ACTIVATIONS = (
    "Known: elliot, elliotsig, elu, hard_sigmoid, hardtanh, identity, leaky_relu, linear, "
    "log_sigmoid, logistic, logsig, poslin, purelin, relu, relu6, satlins, selu, sigmoid, "
    "silu, softmax, softplus, softsign, swish, tanh, tansig."
)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (
            lambda: Dense(2, "sigmiod"),
            ["Unknown activation 'sigmiod'. Did you mean \"sigmoid\"? " + ALL_ACTIVATIONS],
        ),
        (
            lambda: Dense(2, "ReLU"),
            ["Unknown activation 'ReLU'. Did you mean \"relu\"? " + ALL_ACTIVATIONS],
        ),
        (
            lambda: Dense(2, "TANHH"),
            ["Unknown activation 'TANHH'. Did you mean \"tanh\"? " + ALL_ACTIVATIONS],
        ),
        (
            lambda: Dense(2, "Logistic"),
            ["Unknown activation 'Logistic'. Did you mean \"logistic\"? " + ALL_ACTIVATIONS],
        ),
        (lambda: Dense(2, "qqq"), ["Unknown activation 'qqq'. " + ALL_ACTIVATIONS]),
        (lambda: Dense(2, None), ["Unknown activation None. " + ALL_ACTIVATIONS]),
        (lambda: Dense(2, ["relu"]), ["Unknown activation ['relu']. ", ALL_ACTIVATIONS]),
        (lambda: Dense(2, np.tanh), ["Unknown activation <ufunc 'tanh'>", ALL_ACTIVATIONS]),
        (
            lambda: Dense(2, init="he_uniforn"),
            ["Unknown initializer 'he_uniforn'. Did you mean \"he_uniform\"? Known: ", "zeros."],
        ),
        (
            lambda: Network(2, Dense(2), loss="crossentropy"),
            ["Unknown loss 'crossentropy'. Did you mean \"cross_entropy\"? Known: ", "half_mse, "],
        ),
        (lambda: Network(2, Dense(2), loss=3), ["Unknown loss 3. Known: ", "mse, "]),
        (lambda: Network(2, Dense(2), loss=["mse"]), ["Unknown loss ['mse']. "]),
        (
            lambda: Network(2, Dense(2), optimizer="adm"),
            ["Unknown optimizer 'adm'. Did you mean \"adam\"? Known: adam, momentum, ", "sgd."],
        ),
        (lambda: Network(2, Dense(2), optimizer=None), ["Unknown optimizer None. Known: adam, mo"]),
        (
            lambda: Network(2, Dense(2), optimizer=nncore.Optimizer()),
            ["Unknown optimizer <nncore.optimizers.Optimizer object", "Known: adam, momentum, "],
        ),
        (lambda: Network(2, Dense(2), optimizer=0.1), ["Unknown optimizer 0.1. Known: adam, mom"]),
        (
            lambda: Network(2, Dense(2), optimizer=SGD),
            ["optimizer is a class; write SGD() with brackets"],
        ),
    ],
)
def test_unknown_names(make, parts):
    with refused(ValueError, *parts):
        make()


def test_a_wrong_optimizer_leaves_the_old_one():
    network = regressor()
    with refused(ValueError, "Unknown optimizer 'adagrad'. ", network=network):
        network.optimizer = "adagrad"


@pytest.mark.parametrize("dtype", ["float16", "int32", ">f4", ">f8", "c8", "floot32", 32, object])
def test_dtype(dtype):
    with refused(ValueError, f'dtype must be "float32" or "float64", got {dtype!r}'):
        Network(2, Dense(2), dtype=dtype)


@pytest.mark.parametrize("backend", ["avx", "AVX2", "neon", "cuda", "", 3, ["avx2"], True])
def test_backend(backend):
    known = ", ".join(nncore.get_config()["runnable"])
    if backend in nncore.get_config()["runnable"]:
        backend = "avx1024"
    with refused(ValueError, 'backend must be "auto", "reference" or', known, repr(backend)):
        Network(2, Dense(2), backend=backend)


@pytest.mark.parametrize("seed", ["a", 1.5, -1, [1.5], object()])
def test_seed(seed):
    with pytest.raises((ValueError, TypeError), match=r"\bseed\b"):
        Network(2, Dense(2), seed=seed)


# --- Layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -3, 2.0, 2.5, True, np.True_, "3", None, [3], np.nan])
def test_sizes(value):
    with refused(ValueError, f"n_in of Network must be an integer of at least 1, got {value!r}"):
        Network(value, Dense(2))
    with refused(ValueError, f"n_out of Dense must be an integer of at least 1, got {value!r}"):
        Dense(value)


def test_the_number_of_inputs_comes_first():
    message = "the first argument of Network is the number of inputs: Network(n_in, Dense(3, 'ide"
    for more in ([], [Dense(1)]):
        with refused(TypeError, message):
            Network(Dense(3), *more)


def test_layers_are_needed():
    with refused(ValueError, "Network needs at least one layer, such as nncore.Dense(1)"):
        Network(2)


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("value", [[Dense(2), Dense(1)], 10, "relu", Dense, None, (Dense(2),)])
def test_what_is_no_layer(value, position):
    layers = [Dense(3, "relu")] * position + [value]
    with refused(
        TypeError, f"layer {position} must be a layer such as nncore.Dense(10), got {value!r}; ",
        "layers are separate arguments, not a list.",
    ):  # fmt: skip
        Network(2, *layers)


@pytest.mark.parametrize("position", [0, 1])
def test_softmax_in_the_middle(position):
    layers = [Dense(3, "relu")] * position + [Dense(3, "softmax"), Dense(1)]
    with refused(ValueError, f"layer {position} is softmax, which only the last layer may be"):
        Network(2, *layers)


@pytest.mark.parametrize(
    ("loss", "needed"), [("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")]
)
@pytest.mark.parametrize("output", ["identity", "softmax", "sigmoid", "tanh"])
def test_loss_and_output_must_fit(loss, needed, output):
    if output == needed:
        assert Network(2, Dense(3, output), loss=loss).loss == loss
        return
    with refused(
        ValueError, f'{loss} needs a "{needed}" output, but the last layer is "{output}"',
        f'Use Dense(3, "{needed}").',
    ):  # fmt: skip
        Network(2, Dense(3, output), loss=loss)


def test_a_softmax_of_one_output():
    """It is constant, so it cannot learn."""
    fix = 'For two classes use Dense(1, "sigmoid") and binary_cross_entropy; for more, one output'
    for loss in (None, "cross_entropy", "mse"):
        with refused(ValueError, "a softmax of one output is always 1", fix):
            Network(2, Dense(3, "tanh"), Dense(1, "softmax"), loss=loss)
    with refused(ValueError, 'cross_entropy needs a "softmax" output', fix) as caught:
        Network(2, Dense(1, "sigmoid"), loss="cross_entropy")
    assert 'Dense(1, "softmax")' not in str(caught.value)


# --- Optimizers -----------------------------------------------------------------------------------

RATES = [0, -0.1, np.nan, np.inf, -np.inf]
JUNK = [True, None, "fast", "0.1", [0.1], 1j, 10**400]
FRACTIONS = [1, -0.1, 1.5, np.nan, np.inf]


@pytest.mark.parametrize(
    ("kind", "name", "values", "wanted"),
    [
        (SGD, "lr", RATES, "must be positive and finite"),
        (SGD, "momentum", FRACTIONS, "must be at least 0 and below 1"),
        (Adam, "lr", RATES, "must be positive and finite"),
        (Adam, "eps", RATES, "must be positive and finite"),
        (Adam, "beta1", FRACTIONS, "must be at least 0 and below 1"),
        (Adam, "beta2", FRACTIONS, "must be at least 0 and below 1"),
    ],
)
def test_hyper_parameters(kind, name, values, wanted):
    for value in values:
        with refused(ValueError, f"{name} of {kind.__name__} {wanted}, got {float(value)!r}"):
            kind(**{name: value})


@pytest.mark.parametrize("value", JUNK, ids=lambda value: repr(value)[:9])
def test_hyper_parameters_that_are_no_numbers(value):
    for kind, name in [(SGD, "lr"), (SGD, "momentum"), (Adam, "lr"), (Adam, "beta2")]:
        with refused(ValueError, f"{name} of {kind.__name__} must be "):
            kind(**{name: value})


def test_nesterov_needs_momentum():
    with refused(ValueError, "nesterov=True needs a momentum above 0, such as momentum=0.9"):
        SGD(0.1, nesterov=True)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.array])
def test_numbers_of_numpy_are_numbers(kind):
    number = kind(0.5)
    assert SGD(number) == SGD(0.5) and type(SGD(number).lr) is float
    assert type(SGD(np.int8(1)).lr) is float


@pytest.mark.parametrize(
    ("name", "value"), [("lr", -1), ("lr", np.nan), ("lr", "a"), ("beta1", 1.0), ("eps", 0)]
)
def test_an_attribute_changed_to_nonsense(name, value):
    """It is refused where it is assigned, and the network goes on with the value it had."""
    network = regressor(optimizer=Adam())
    with refused(ValueError, f"{name} of Adam must be", network=network):
        setattr(network.optimizer, name, value)
    assert network.optimizer == Adam()
    network.partial_fit(X, Y)


@pytest.mark.parametrize("use", ["partial_fit", "fit"])
def test_nonsense_that_was_not_assigned(use):
    network = regressor(optimizer=Adam())
    vars(network.optimizer)["lr"] = -1.0
    with refused(ValueError, "lr of Adam must be positive", network=network):
        USES[use](network, X, Y)


def test_changes_that_need_each_other():
    optimizer = SGD(0.1)
    with refused(ValueError, "nesterov=True needs a momentum above 0"):
        optimizer.nesterov = True
    assert optimizer == SGD(0.1)
    optimizer.momentum = np.float32(0.5)
    optimizer.nesterov = True
    assert optimizer == SGD(0.1, 0.5, True) and type(optimizer.momentum) is float


@pytest.mark.parametrize("name", ["learning_rate", "Lr", "rule", "state"])
@pytest.mark.parametrize(
    ("kind", "known"), [(SGD, "lr, momentum, nesterov"), (Adam, "lr, beta1, beta2, eps")]
)
def test_an_attribute_that_an_optimizer_does_not_have(kind, known, name):
    optimizer = kind()
    with refused(AttributeError, f"{kind.__name__} has no attribute {name!r}", f"{known}."):
        setattr(optimizer, name, 1)
    assert vars(optimizer) == vars(kind())


def test_attributes_that_a_subclass_of_an_optimizer_has():
    @dataclasses.dataclass
    class Decaying(Adam):
        decay: float = 0.5
        peak: "int" = 0

        def __post_init__(self):
            self._seen = []
            super().__post_init__()

    class Plain(SGD):
        epoch: int
        note = ""

        def __init__(self):
            super().__init__(0.1)
            self.epoch, self.note, self._cache = 3, "mine", {}

    optimizer, plain = Decaying(0.1), Plain()
    optimizer.decay, optimizer.peak = 1, 3
    assert optimizer.decay == 1.0 and plain.epoch == 3 and plain.note == "mine"
    with refused(ValueError, "decay of Decaying must be a number"):
        optimizer.decay = "fast"
    with refused(AttributeError, "Known: lr, momentum, nesterov. A subclass must declare its own"):
        plain.other = 1


# --- Warnings -------------------------------------------------------------------------------------


def warned(function):
    """Return the messages of what the function warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    for warning in caught:
        assert warning.category is UserWarning
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("use", ["Network", *USES])
def test_warnings_point_at_the_line_of_the_user(use):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = Network(3, Dense(2), Dense(2, "tanh"))
        if use != "Network":
            USES[use](network, X, Y + 1)
    assert caught[-1].filename == __file__


def test_linear_layers():
    message = (
        "All hidden activations are linear: these 3 layers can only do what one Dense(1) does. "
        'Use a nonlinear activation, such as "tanh".'
    )
    assert warned(lambda: Network(4, Dense(3), Dense(2), Dense(1))) == [message]
    assert len(warned(lambda: Network(4, Dense(3), Dense(1, "sigmoid")))) == 1
    for layers in [(Dense(1),), (Dense(1, "relu"),), (Dense(3), Dense(2, "relu"), Dense(1)),
                   (Dense(3, "relu"), Dense(2), Dense(1))]:  # fmt: skip
        assert warned(lambda layers=layers: Network(4, *layers)) == []


def test_linear_layers_are_warned_of_once():
    """Not again where nothing new is described."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        network = Network(4, Dense(3), Dense(2))
    assert warned(lambda: network.copy()) == []


@pytest.mark.parametrize(
    ("output", "low", "high", "interval"),
    [
        ("sigmoid", -3, 8, "(0, 1)"),
        ("tanh", -3, 8, "(-1, 1)"),
        ("softsign", -1, 2, "(-1, 1)"),
        ("relu", -3, 8, "(0, inf)"),
        ("softplus", -0.5, 8, "(0, inf)"),
        ("softmax", 0, 2, "(0, 1)"),
    ],
)
@uses
def test_output_range(use, output, low, high, interval):
    target = np.linspace(low, high, 200).reshape(100, 2)
    network = Network(3, Dense(2, output), loss="mse", seed=0)
    expected = (
        f"Targets span [{low:g}, {high:g}] but the output activation is {output}, range "
        f'{interval}. Use "identity" or scale the targets.'
    )
    assert warned(lambda: USES[use](network, X, target)) == [expected]


@uses
def test_targets_within_the_range_are_fine(use):
    for output, low, high in [("sigmoid", 0, 1), ("tanh", -1, 1), ("relu", 0, 99),
                              ("identity", -99, 99), ("softmax", 0, 1)]:  # fmt: skip
        network = Network(3, Dense(2, output), loss="mse", seed=0)
        target = np.linspace(low, high, 200).reshape(100, 2)
        assert warned(lambda n=network, t=target: USES[use](n, X, t)) == []


# --- Files ----------------------------------------------------------------------------------------


def test_files(tmp_path):
    network, path = regressor(), tmp_path / "m.safetensors"
    with refused(FileNotFoundError, str(path)):
        nncore.load(path)
    with refused(nncore.files.FileFormatError, str(tmp_path), "regular file"):
        nncore.load(tmp_path)
    path.write_text("hello")
    with refused(nncore.files.FileFormatError, str(path), "not a safetensors file"):
        nncore.load(path)
    path.write_bytes(b"\x80\x04\x95" + bytes(500))
    with refused(nncore.files.FileFormatError, str(path)):
        nncore.load(path)
    nncore.files.write(path, {"weight": np.zeros(3)}, {"format": "pt"})
    with refused(
        nncore.files.FileFormatError, f"{path} is not a network of nncore: 'nncore' is missing"
    ):
        nncore.load(path)
    network.save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with refused(nncore.files.FileFormatError, str(path), "copy the file again"):
        nncore.load(path)
    for value in (None, 3.5):
        with refused(TypeError, "os.PathLike"):
            nncore.load(value)
        with refused(TypeError, "os.PathLike", network=network):
            network.save(value)
    with refused(FileNotFoundError, "nowhere", network=network):
        network.save(tmp_path / "nowhere" / "m.safetensors")


def test_load_with_a_wrong_backend_does_not_blame_the_file(tmp_path):
    regressor().save(tmp_path / "m")
    with refused(ValueError, 'backend must be "auto"', "'cuda'"):
        nncore.load(tmp_path / "m", backend="cuda")


@pytest.mark.parametrize("name", ["n_in", "n_out", "n_params", "loss", "dtype", "layers"])
def test_what_the_engine_was_made_for_is_fixed(name):
    network = regressor()
    before = getattr(network, name)
    with pytest.raises(AttributeError, match=f"{name} is fixed"):
        setattr(network, name, before)
    assert getattr(network, name) is before


@pytest.mark.parametrize("name", ["n_out", "activation", "bias"])
def test_a_layer_in_a_network_is_fixed(name):
    layer = regressor().layers[0]
    with pytest.raises(AttributeError, match=f"{name} is fixed"):
        setattr(layer, name, getattr(layer, name))


def test_an_update_that_overflows_is_told():
    network = nncore.Network(1, nncore.Dense(1, init=[[1e-10]]), optimizer="sgd")
    with pytest.raises(FloatingPointError, match="The last update made parameters infinite"):
        network.partial_fit([[3e25]], [[0.0]])


NEW_ONE = "make a new network, or go back to a copy made before, and use a smaller learning rate"


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_parameters_that_are_lost_need_a_new_network(value):
    """A smaller learning rate alone would bring the same error again."""
    network = Network(1, Dense(1), optimizer="sgd")
    network.layers[0].W = value
    lost = "" if value == 1e30 else "The parameters are no longer finite: " + NEW_ONE
    with refused(FloatingPointError, "at epoch 1, batch 1;", NEW_ONE, lost):
        network.fit([[1.0]], [[0.0]], verbose=False)
    with refused(FloatingPointError, "; that update was not applied", NEW_ONE, lost) as caught:
        network.partial_fit([[1.0]], [[0.0]])
    assert "epoch" not in str(caught.value)


def test_a_loss_that_grew_in_this_fit_asks_for_a_smaller_rate():
    network = Network(1, Dense(1, init=[[1.0]]), optimizer=SGD(1e12))
    with pytest.raises(FloatingPointError, match=r"batch \d; .* Try a smaller learning rate"):
        network.fit(np.ones((9, 1)), np.zeros(9), batch_size=1, verbose=False)


@pytest.mark.parametrize("value", [None, "1", 1j, [[None]]])
def test_parameters_are_numbers(value):
    network = regressor()
    with refused(ValueError, "W is None" if value is None else "W has dtype", network=network):
        network.layers[0].W = value
    with refused(ValueError, "theta has dtype", network=network):
        network.theta = np.full(
            network.n_params, value, dtype=None if value != [[None]] else object
        )


def test_switches_are_true_or_false():
    with pytest.raises(ValueError, match="bias of Dense must be True or False"):
        nncore.Dense(3, bias="no")
    with pytest.raises(ValueError, match="nesterov of SGD must be True or False"):
        nncore.SGD(0.1, momentum=0.5, nesterov="no")
