"""nncore.plots: what is drawn, where, and what is refused."""

import sys

import numpy as np
import pytest

import nncore
from nncore import Dense, Network, plots

pytest.importorskip("matplotlib", reason='plots need pip install ".[plot]"')

from matplotlib import pyplot, rcParams  # noqa: E402
from matplotlib.colors import to_rgba  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

BLUE, RED = "#0072B2", "#D55E00"


def title(ax):
    return ax.get_title(loc="left")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def spirals(classes, rows=60):
    """Arms of a spiral, one per class."""
    t = np.linspace(0.1, 1, rows)
    angles = [4 * t + 2 * np.pi * k / classes for k in range(classes)]
    X = np.concatenate([np.stack([t * np.cos(a), t * np.sin(a)], axis=1) for a in angles])
    return X, np.repeat(np.arange(classes), rows)


@pytest.fixture(scope="module")
def digits():
    """X, y, a network, and the history of its training."""
    X, y = nncore.datasets.load_digits()
    X = X / 16
    net = Network(64, Dense(12, "tanh"), Dense(10, "softmax"), seed=0)
    history = net.fit(
        X[:900], y[:900], epochs=30, validation_data=(X[900:], y[900:]), verbose=False
    )
    return X[900:], y[900:], net, history


@pytest.fixture(scope="module")
def curve():
    """A network of two inputs that was fitted to a surface, and its data."""
    X, _ = spirals(3)
    y = np.sin(2 * X[:, 0]) * X[:, 1]
    net = Network(2, Dense(8, "tanh"), Dense(1), optimizer="lm", dtype="float64", seed=0)
    history = net.fit(X, y, epochs=40, verbose=False)
    return X, y, net, history


@pytest.fixture(params=["history", "activation", "gradient_flow", "flow over time", "weights",
                        "images", "confusion_matrix", "decision_regions"])  # fmt: skip
def draw(request, digits, curve):
    """Each kind of picture, as a function of ax."""
    X, y, net, history = digits
    watched = {f"layers[{i}].slope": [0.5, 0.1 / (1 + i)] for i in range(2)}
    return {
        "history": lambda ax: plots.history(history, ax=ax),
        "activation": lambda ax: plots.activation("gelu", ax=ax),
        "gradient_flow": lambda ax: plots.gradient_flow(net, X, y, ax=ax),
        "flow over time": lambda ax: plots.gradient_flow(watched, what="slope", ax=ax),
        "weights": lambda ax: plots.weights(net, ax=ax),
        "images": lambda ax: plots.weights(net, shape=(8, 8), ax=ax),
        "confusion_matrix": lambda ax: plots.confusion_matrix(net, X, y, ax=ax),
        "decision_regions": lambda ax: plots.decision_regions(*curve_data(curve), ax=ax),
    }[request.param]


def curve_data(curve):
    X, y, net, _ = curve
    return net, X, y


# ---- where it is drawn ----


def test_a_new_figure_is_none_of_pyplots(draw, tmp_path):
    before, settings = pyplot.get_fignums(), dict(rcParams)
    ax = draw(None)
    ax.figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 4000
    assert pyplot.get_fignums() == before and dict(rcParams) == settings
    assert title(ax)


def test_into_given_axes(draw, tmp_path):
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    assert draw(right) is right and title(right)
    assert not left.has_data() and not title(left)
    figure.savefig(tmp_path / "picture.png")


@pytest.mark.parametrize("ax", ["left", 3, [1, 2]])
def test_what_is_no_axes(draw, ax):
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes or None, got a"):
        draw(ax)


def test_an_array_of_axes_has_a_hint():
    with pytest.raises(TypeError, match=r"Of several axes give one, such as axes\[0\]"):
        plots.activation("relu", ax=Figure().subplots(1, 2))


def test_without_matplotlib(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "nncore-c\[plot\]"'):
        draw(None)


# ---- history ----


def test_history_of_classes(digits):
    history = digits[3]
    ax = plots.history(history)
    train, validation, ring = ax.lines
    assert np.array_equal(train.get_xdata(), np.arange(1, 31))
    assert np.array_equal(train.get_ydata(), history["loss"])
    assert np.array_equal(validation.get_ydata(), history["val_loss"])
    best = int(np.argmin(history["val_loss"]))
    assert ring.get_xydata().tolist() == [[best + 1, history["val_loss"][best]]]
    assert title(ax).startswith("30 epochs; lowest validation loss ")
    assert title(ax).endswith(f" in epoch {best + 1}")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    right = ax.figure.axes[1]
    assert np.array_equal(right.lines[0].get_ydata(), history["val_accuracy"])
    assert right.get_ylabel() == "accuracy" and right.yaxis.get_major_formatter()(0.95) == "95 %"
    assert legend(ax) == ["training loss", "validation loss", "validation accuracy"]
    assert right.yaxis.label.get_color() == right.lines[0].get_color() == RED


def test_history_of_a_full_batch_trainer(curve):
    history = curve[3]
    ax = plots.history(history)
    left, right = ax.figure.axes
    assert ax.get_xlabel() == "iteration" and "40 iterations" in title(ax)
    assert (left.get_yscale(), right.get_yscale()) == ("log", "log")
    assert np.array_equal(right.lines[0].get_ydata(), history["gradient_norm"])
    mu = plots.history(history, names="mu")
    assert len(mu.figure.axes) == 1 and mu.get_ylabel() == "mu"
    assert mu.lines[0].get_color() == BLUE


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1, 0.1], "linear"), ([1, 0.04], "log"), ([1, 0.01, 0], "log"), ([1, 0.01, -0.1], "linear"),
     ([0, 0], "linear"), ([1, np.nan, 0.01], "log"), ([1e30, 1e-30], "log")],
)  # fmt: skip
def test_a_logarithmic_axis_where_it_is_sensible(values, scale):
    ax = plots.history({"loss": values})
    assert ax.get_yscale() == scale
    assert np.array_equal(ax.lines[0].get_ydata(), values, equal_nan=True)
    ax.figure.canvas.draw()


def test_what_is_not_finite_is_a_gap_and_a_cross():
    loss = [3.0, np.inf, 1.0, np.nan, 1e308, *[0.5] * 30]
    ax = plots.history({"loss": loss, "val_loss": [2.0] * 35}, names=["loss", "val_loss"])
    line, crosses, other, _ = ax.lines
    gaps = np.isnan(line.get_ydata())
    assert np.flatnonzero(gaps).tolist() == [1, 3, 4] and len(gaps) == 35
    assert crosses.get_xdata().tolist() == [2, 4, 5] and crosses.get_marker() == "x"
    assert line.get_marker() == "o" and line.get_markevery() == [0, 2]  # single points are seen
    assert other.get_marker() == "None" and not np.isnan(other.get_ydata()).any()
    assert legend(ax) == ["training loss", "training loss: not finite", "validation loss"]
    ax.figure.canvas.draw()
    for losses in ([np.nan] * 3, [1e308, -1e308]):
        plots.history({"loss": losses}).figure.canvas.draw()


def test_what_is_not_recorded_in_each_epoch_is_no_gap():
    values = [1.0, np.nan, np.inf, np.nan, 3.0, np.nan, 4.0]
    line, crosses = plots.history({"mu": values}, names="mu").lines
    assert line.get_xdata().tolist() == [1, 3, 5, 7] and crosses.get_xdata().tolist() == [3]


def test_short_and_long_histories():
    assert plots.history({"loss": [0.5]}).get_xlim() == (0.5, 1.5)
    short = plots.history({"loss": [3.0, 2.0]})
    long = plots.history({"loss": np.linspace(2, 1, 5000)})
    assert short.lines[0].get_marker() == "o" and long.lines[0].get_marker() == "None"
    assert (title(short), title(long)) == ("2 epochs", "5,000 epochs")


def test_history_says_why_it_ended():
    net = Network(1, Dense(1), seed=0)
    history = net.fit([[1.0]], [[2.0]], epochs=3, stop=nncore.Stop(loss=1e9), verbose=False)
    assert title(plots.history(history)) == "1 epoch, then stopped by loss"


def test_the_ring_is_on_the_axis_of_losses():
    values = {"loss": [3.0, 2], "val_loss": [3.0, np.inf], "val_accuracy": [0.5, 0.6]}
    ax = plots.history(values, names=["val_accuracy", "val_loss"])
    assert ax.get_ylabel() == "accuracy"
    assert ax.figure.axes[1].lines[-1].get_xydata().tolist() == [[1, 3]]


@pytest.mark.parametrize(
    ("history", "options", "error", "message"),
    [
        (3, {}, TypeError, "history must be what fit returned, or a mapping, got 3"),
        ({}, {}, ValueError, "the history is empty"),
        (nncore.History(), {}, ValueError, "the history is empty"),
        ({"loss": [1]}, {"names": "lr"}, ValueError, "no 'lr'; names may be of: loss"),
        ({"mu": [1]}, {}, ValueError, "nothing to draw by default; names may be of: mu"),
        ({"loss": [[1, 2]]}, {}, ValueError, "'loss' of the history is not one number per epoch"),
        ({"loss": 0.5}, {}, ValueError, "'loss' of the history is not one number per epoch"),
        ({"loss": [1]}, {"names": 3}, TypeError, "must be a name or a list of names, got 3"),
        ({"loss": [1]}, {"names": [["loss"]]}, ValueError, "the history has no \\['loss'\\]"),
        ({"loss": ["a"]}, {}, ValueError, "'loss' of the history is not one number per epoch"),
        ({"loss": [1], "lr": [1], "mu": [1]}, {"names": ["loss", "lr", "mu"]}, ValueError,
         "loss, lr, mu need an axis each, and there are two"),
    ],
)  # fmt: skip
def test_history_refuses(history, options, error, message):
    with pytest.raises(error, match=message):
        plots.history(history, **options)


# ---- activations ----


def test_activation_with_derivatives():
    ax = plots.activation("gelu", -3, 4)
    gelu = nncore.activations["gelu"]
    for line, function in zip(ax.lines, (gelu.f, gelu.df, gelu.d2f), strict=True):
        x, y = line.get_data()
        assert -3 < x[0] < -2.99 and 3.99 < x[-1] < 4 and np.array_equal(y, function(x))
    assert legend(ax) == ["f(x)", "f'(x)", "f''(x)"]
    assert title(ax) == f"gelu: {gelu.formula}" and ax.get_xlabel() == "x"


def test_kinks_are_marked_with_the_value_there():
    ax = plots.activation(nncore.Activation("leaky_relu", slope=0.2), second=False)
    *parts, dot = ax.lines
    assert len(parts) == 4 and dot.get_xydata().tolist() == [[0, 0.2]]
    assert parts[2].get_xdata()[-1] < 0 < parts[3].get_xdata()[0]
    assert set(parts[2].get_ydata()) == {0.2} and set(parts[3].get_ydata()) == {1.0}
    assert legend(ax)[-1] == "f'(0) = 0.2"
    assert len(plots.activation("relu", 1, 2).lines) == 3  # its kink is elsewhere


def test_numbers_of_a_title_are_short():
    assert title(plots.activation("selu")) == "selu: 1.0507 x if x > 0 else 1.7581 (exp(x) - 1)"


def test_activation_plots_itself():
    ax = nncore.activations["relu"].plot(-1, 1)
    assert legend(ax) == legend(plots.activation("relu", -1, 1))
    with pytest.raises(ValueError, match="softmax is a function of whole rows"):
        plots.activation("softmax")
    for ends in ((1, 1), (-6, np.inf), (np.nan, 3), (-1e308, 1e308)):
        with pytest.raises(ValueError, match="expected low < high, both within 1e300"):
            plots.activation("relu", *ends)
    with pytest.raises(ValueError, match="low and high must be numbers, got 'a' and 3"):
        plots.activation("relu", "a", 3)
    with pytest.raises(ValueError, match="second must be True, False or None, got 'no'"):
        plots.activation("relu", second="no")


@pytest.mark.parametrize("ends", [(-6, 1000), (800, 1000), (-1e300, 1e300)])
def test_activation_beyond_what_is_finite(ends):
    ax = plots.activation("exponential", *ends)
    ax.figure.canvas.draw()
    x, y = ax.lines[0].get_data()
    assert not np.isnan(x).any() and (np.isnan(y) == (np.exp(np.minimum(x, 705)) > 1e300)).all()
    assert legend(ax)[0] == "f(x), where it is finite"


# ---- layers ----


def test_gradient_of_each_layer(digits):
    X, y, net, _ = digits
    block = nncore.Residual(Dense(6, "relu"), nncore.Dropout(0.1), Dense(8))
    net = Network(64, Dense(8, "tanh"), block, Dense(10, "softmax"), seed=0)
    ax = plots.gradient_flow(net, X, y)
    loss, gradient = net.loss_and_gradient(X, y)
    parts = np.split(gradient, np.cumsum([65 * 8, 9 * 6, 7 * 8]))
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == pytest.approx([np.linalg.norm(part) for part in parts], rel=1e-6)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == ["0  Dense 64 to 8", "1.0  Dense 8 to 6", "1.2  Dense 6 to 8",
                      "2  Dense 8 to 10"]  # fmt: skip
    assert title(ax) == f"Gradient of each layer, at loss {loss:.3g}"
    assert ax.get_xscale() == "linear" and ax.yaxis_inverted()


def test_a_vanishing_gradient_is_seen(digits):
    X, y, _, _ = digits
    net = Network(64, *(Dense(8, "sigmoid") for _ in range(8)), Dense(10, "softmax"), seed=0)
    ax = plots.gradient_flow(net, X, y)
    widths = [bar.get_width() for bar in ax.patches]
    assert ax.get_xscale() == "log" and 0 < ax.get_xlim()[0] < min(widths)
    net = Network(2, Dense(1, init="zeros"))
    assert plots.gradient_flow(net, [[1, 1]], [[0]]).get_xscale() == "linear"  # all is 0
    level = plots.gradient_flow(net, [[1, 1]], [[0]])
    assert level.get_xlim() == (0, 1) and [t.get_text() for t in level.texts] == ["0"]
    over_time = plots.gradient_flow({"layers[0].gradient_norm": [0.0, 0.0]})
    assert over_time.get_ylim() == (-0.02, 1)


def test_flow_over_time():
    known = [0.1, 0.01, 1e-6]
    history = {"loss": [1, 2, 3], "layers[0].slope": [0.1, 0.1, 0.1]}
    history |= {f"layers[{i}].gradient_norm": [g, np.nan, g / 2] for i, g in enumerate(known)}
    history["layers[3].layers[1].gradient_norm"] = [1.0, 1.0, 1.0]
    ax = plots.gradient_flow(history)
    assert ax.get_yscale() == "log" and ax.get_ylabel() == "gradient norm"
    assert ax.lines[2].get_xydata().tolist() == [[1, 1e-6], [3, 5e-7]]
    rare = {"layers[0].dead": [0.0, *[np.nan] * 99]}
    ax_of_rare = plots.gradient_flow(rare, what="dead")
    assert ax_of_rare.get_xlim() == (-1, 102) and ax_of_rare.get_ylim() == (-0.2, 1.2)
    assert legend(ax) == ["0", "1", "2", "3.1"]
    slope = plots.gradient_flow(history, what="slope")
    assert title(slope) == "Mean |f'| of each layer" and len(slope.lines) == 1
    for message, what in (("no 'dead' of layers; it has: slope, gradient_norm", "dead"),
                          ("it has", "loss")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            plots.gradient_flow(history, what=what)
    share = plots.gradient_flow({"layers[0].saturated": [0.0, 0.25]}, what="saturated")
    assert share.yaxis.get_major_formatter()(0.25) == "25 %" and share.get_ylim()[1] > 1


def test_many_layers_are_not_all_named():
    history = {f"layers[{i}].gradient_norm": [1.0, 2.0] for i in range(40)}
    ax = plots.gradient_flow(history)
    assert len(ax.lines) == 40 and len(legend(ax)) == 12
    assert legend(ax)[0] == "0" and legend(ax)[-1] == "39"


def test_gradient_flow_refuses(digits):
    X, y, net, history = digits
    with pytest.raises(ValueError, match=r"no 'gradient_norm' of layers; train with a nncore.Mon"):
        plots.gradient_flow(history)
    with pytest.raises(TypeError, match="X and y are for a network"):
        plots.gradient_flow(history, X, y)
    with pytest.raises(TypeError, match="a history alone, or a network with X and y"):
        plots.gradient_flow(net, X)
    with pytest.raises(TypeError, match="source must be a nncore.Network or a history, got a str"):
        plots.gradient_flow("net", X, y)


def test_weights_as_a_matrix(digits):
    net = digits[2]
    ax = plots.weights(net, 1)
    image = ax.images[0]
    assert np.array_equal(image.get_array(), net.layers[1].W)
    low, high = image.get_clim()
    assert -low == high == np.abs(net.layers[1].W).max()
    assert image.get_cmap().name == "RdBu_r" and ax.figure.axes[1].get_ylabel() == "weight"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("unit", "input")
    assert title(ax) == "Weights of layer 1, Dense 12 to 10"
    assert ax.get_ylim() == (11.5, -0.5) and len(ax.texts) == 0
    some = plots.weights(net, net.layers[0], units=[7, 2])
    assert np.array_equal(some.images[0].get_array(), net.layers[0].W[:, [7, 2]])
    assert title(some) == "Weights of layer 0, Dense 64 to 12, 2 of 12 units"
    assert [text.get_text() for text in some.get_xticklabels()] == ["7", "2"]


def test_a_few_large_weights_do_not_hide_the_others():
    W = np.full((30, 30), 0.1)
    W[0, 0] = 50
    ax = plots.weights(Network(30, Dense(30, init=W)))
    assert ax.images[0].get_clim() == pytest.approx((-0.1, 0.1))
    assert ax.images[0].colorbar.extend == "both"


def test_a_small_matrix_has_its_numbers():
    ax = plots.weights(Network(3, Dense(2, init=[[1, 2], [3, -4], [5, 0.1234]])))
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3", "-4", "5", "0.123"]
    zero = plots.weights(Network(3, Dense(2, init="zeros")))
    assert zero.images[0].get_clim() == (-1, 1)


def test_numbers_that_would_overlap_are_left_out():
    wide, high = Network(2, Dense(32), seed=0), Network(40, Dense(1), seed=0)
    assert not plots.weights(wide).texts and not plots.weights(high).texts
    small = Network(4, Dense(4), seed=0)
    assert not plots.weights(small, ax=Figure(figsize=(2, 2)).subplots()).texts
    ax = plots.weights(Network(8, Dense(8), seed=0), ax=Figure(figsize=(8, 5)).subplots())
    ax.figure.canvas.draw()
    width, height = (abs(np.diff(ax.transData.transform([(0, 0), (1, 1)]), axis=0))).ravel()
    assert len(ax.texts) == 64
    assert max(text.get_window_extent().width for text in ax.texts) < width
    assert max(text.get_window_extent().height for text in ax.texts) < height


def test_weights_as_images(digits):
    net = digits[2]
    ax = plots.weights(net, shape=(8, 8), units=[0, 3, 5, 7])
    picture, W = ax.images[0].get_array(), net.layers[0].W
    assert picture.shape == (17, 17) and ax.get_aspect() == 1
    assert np.array_equal(picture[:8, 9:], W[:, 3].reshape(8, 8))
    assert np.array_equal(picture[9:, :8], W[:, 5].reshape(8, 8))
    assert picture.mask[8].all() and picture.mask[:, 8].all()
    many = plots.weights(Network(12, Dense(150, "tanh"), Dense(1), seed=0), shape=(3, 4))
    assert title(many) == "Weights of layer 0, Dense 12 to 150, 100 of 150 units"


def test_a_large_matrix_is_shown_by_means():
    W = np.arange(2100.0)[:, None] + np.zeros(5)
    ax = plots.weights(Network(2100, Dense(5, init=W), dtype="float64"))
    picture = ax.images[0].get_array()
    assert picture.shape == (700, 5) and np.array_equal(picture[:, 0], 1 + 3 * np.arange(700))
    assert title(ax).endswith(", means of 3 x 1") and ax.get_ylim() == (2099.5, -0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 3}, "layer must be a number below 3 or one of net.layers, got 3"),
        ({"layer": "0"}, "layer must be a number below 3"),
        ({"layer": 1}, "has no weight matrix in this network; those that have: 0, 2"),
        ({"layer": Dense(3)}, "has no weight matrix in this network"),
        ({"shape": 8}, r"shape must be two integers such as \(8, 8\)"),
        ({"shape": (2, 4)}, r"shape \(2, 4\) does not hold the 6 weights into a unit"),
        ({"shape": (-2, -3)}, "does not hold the 6 weights"),
        ({"units": [4]}, r"units must be a list of integers from 0 to 3, got \[4\]"),
        ({"units": []}, "units must be a list of integers from 0 to 3"),
        ({"units": [[1], [2, 3]]}, "units must be a list of integers from 0 to 3"),
        ({"units": 0.5}, "units must be a list of integers from 0 to 3"),
    ],
)
def test_weights_refuse(options, message):
    net = Network(6, Dense(4, "tanh"), nncore.LayerNorm(), Dense(1), seed=0)
    with pytest.raises(ValueError, match=message):
        plots.weights(net, **options)


# ---- classes ----


def cells(ax):
    """The texts of a confusion matrix by row and column."""
    found = {}
    for text in ax.texts:
        column, row = text.get_position()
        found.setdefault((int(row), int(column)), []).append(text.get_text())
    return found


def test_confusion_of_two_classes():
    true, predicted = ["ham"] * 9 + ["spam"] * 4, ["ham"] * 8 + ["spam"] * 5
    ax = plots.confusion_matrix(true, predicted)
    assert cells(ax) == {
        (0, 0): ["8", "88.9 %"], (0, 1): ["1", "11.1 %"], (1, 1): ["4", "100.0 %"],
    }  # fmt: skip
    assert title(ax) == "Accuracy 92.3 %: 12 of 13 right"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["ham", "spam"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    signed = ax.images[0].get_array()
    assert signed[0, 0] == -np.sqrt(8 / 9) and signed[0, 1] == np.sqrt(1 / 9) and signed[1, 0] == 0


@pytest.mark.parametrize(
    ("true", "predicted"),
    [
        ([0, 1, 2, 2], [0, 2, 2, 2]),
        (np.eye(3)[[0, 1, 2, 2]], np.array([[3, 1, 2], [0, 1, 2], [0, 0, 1], [-3, -2, -1]]) / 3),
        ([0, 1, 2, 2], np.eye(3, dtype=bool)[[0, 2, 2, 2]]),
        ([[0], [1], [2], [2]], [0.0, 2.0, 2.0, 2.0]),
    ],
)
def test_labels_one_hot_rows_and_probabilities(true, predicted):
    ax = plots.confusion_matrix(true, predicted, names="abc")
    assert {place: texts[0] for place, texts in cells(ax).items()} == {
        (0, 0): "1", (1, 2): "1", (1, 1): "0", (2, 2): "2"
    }  # fmt: skip
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]


def test_probabilities_of_two_classes_and_labels_of_any_number():
    assert title(plots.confusion_matrix([0, 1, 1], [0.2, 0.7, 0.4])).endswith("2 of 3 right")
    ax = plots.confusion_matrix([True, False], [[0.9], [0.8]])
    assert title(ax).endswith("1 of 2 right")
    ax = plots.confusion_matrix([-7, 300], [300, 300])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["-7", "300"]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge", "half_mse"])
def test_confusion_of_a_network_with_one_output(loss):
    X, y = spirals(2)
    y = 2 * y - 1 if loss == "hinge" else y
    output = "identity" if loss == "hinge" else "sigmoid"
    net = Network(2, Dense(9, "tanh"), Dense(1, output), loss=loss, optimizer="lbfgs", seed=0)
    net.fit(X, y, epochs=20, verbose=False)
    ax = plots.confusion_matrix(net, X, y)
    above = net.predict(X)[:, 0] > (0 if loss == "hinge" else 0.5)
    right = int((above == (y == 1)).sum())
    assert title(ax).endswith(f": {right} of 120 right")
    assert [t.get_text() for t in ax.get_xticklabels()] == [str(v) for v in np.unique(y)]


def test_confusion_of_a_network_with_many(digits):
    X, y, net, _ = digits
    accuracy = net.evaluate(X, y)["accuracy"]
    for target in (y, np.eye(10)[y]):
        ax = plots.confusion_matrix(net, X, target)
        assert title(ax).startswith(f"Accuracy {100 * accuracy:.1f} %")
    rows = Network(64, Dense(10), seed=0)  # one-hot targets of squared errors
    ax = plots.confusion_matrix(rows, X, np.eye(10)[y])
    assert f"{(rows.predict(X).argmax(axis=1) == y).sum()} of 897" in title(ax)


def test_many_classes_have_numbers_where_they_can_be_read():
    labels = np.arange(900) % 30
    ax = plots.confusion_matrix(labels, np.roll(labels, 1))
    assert ax.figure.get_size_inches()[0] > 9
    assert len(ax.texts) == 60 and min(text.get_fontsize() for text in ax.texts) > 6
    small = plots.confusion_matrix(labels, labels, ax=Figure(figsize=(3, 3)).subplots())
    assert not small.texts and len(small.get_xticks()) < 30


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (([0, 1],), {}, TypeError, "expected y_true and y_pred, or net, X and y; got list"),
        ((), {}, TypeError, "got nothing"),
        ((Network(1, Dense(2)), [0]), {}, TypeError, "net, X and y; got Network, list"),
        (([0, 1], [0, 1]), {"names": 2}, TypeError, "a name for each class, got 2"),
        (([0, 1], [0]), {}, ValueError, "y_true has 2 rows but y_pred has 1"),
        (([], []), {}, ValueError, "y_true must be labels or rows"),
        (([0, 1], ["a", "b"]), {}, ValueError, "labels of different kinds"),
        (([-1, 1], [-0.3, 2.5]), {}, ValueError, "y_pred has scores"),
        (([0, 1], [0.3, np.nan]), {}, ValueError, "y_pred has numbers that are not finite"),
        (([0, 3], np.eye(3)[:2]), {}, ValueError, "labels of y_true must be numbers from 0 to 2"),
        ((np.eye(2), np.eye(3)[:2]), {}, ValueError, "y_true has 2 classes but y_pred has 3"),
        (([0, 1], [1j, 2]), {}, ValueError, "y_pred must be labels or rows of numbers"),
        (([0, 1], [0, 1]), {"names": ["a"]}, ValueError, "there are 2 classes, got 1 names"),
        (("net", [0], [1]), {}, TypeError, "net must be a nncore.Network, got a str"),
    ],
)
def test_confusion_refuses(data, options, error, message):
    with pytest.raises(error, match=message):
        plots.confusion_matrix(*data, **options)


def test_parameters_that_are_lost():
    net = Network(2, Dense(3, "tanh"), Dense(1), seed=0)
    net.layers[0].W[0, 0] = np.nan
    ax = plots.weights(net)
    assert ax.images[0].get_array().mask[0, 0]
    assert ax.images[0].get_clim()[1] == np.nanmax(np.abs(net.layers[0].W))
    with pytest.raises(ValueError, match="the network's outputs are not finite here"):
        plots.decision_regions(net, [[1, 2]], [0.5])
    plots.gradient_flow(net, [[1, 2]], [0.5]).figure.canvas.draw()


def test_too_many_classes():
    with pytest.raises(ValueError, match="there are 1,000 classes, and up to 200 can be drawn"):
        plots.confusion_matrix(np.arange(1000), np.arange(1000))
    largest = plots.confusion_matrix(np.arange(200), np.arange(200))
    assert largest.figure.get_size_inches().max() < 21 and not largest.texts


def test_confusion_refuses_regression(curve):
    with pytest.raises(ValueError, match="y has no classes: targets of mse are numbers here"):
        plots.confusion_matrix(*curve_data(curve))


# ---- decision regions ----


def test_regions_of_one_sigmoid():
    X, y = spirals(2)
    net = Network(2, Dense(9, "tanh"), Dense(1, "sigmoid"), optimizer="lbfgs", seed=0)
    net.fit(X, y, epochs=30, verbose=False)
    ax = plots.decision_regions(net, X, y, resolution=41, names=["in", "out"])
    [image] = ax.images
    left, right, bottom, top = image.get_extent()
    x1, x2 = (np.linspace(*ends, 83)[1::2] for ends in ((left, right), (bottom, top)))
    grid = np.array([(a, b) for b in x2 for a in x1])
    expected = net.predict(grid).reshape(41, 41)
    assert np.allclose(image.get_array(), expected, atol=1e-4)
    assert image.get_clim() == (0, 1) and image.origin == "lower"
    assert image.colorbar.ax.get_ylabel() == "probability of class 1"
    lines, first, second = ax.collections
    assert np.array_equal(first.get_offsets(), X[y == 0].astype("float32"))
    assert np.array_equal(second.get_offsets(), X[y == 1].astype("float32"))
    assert np.array_equal(lines.levels, [0.5]) and legend(ax) == ["in", "out"]
    assert tuple(first.get_facecolor()[0]) == to_rgba(BLUE)
    accuracy = net.evaluate(X, y)["accuracy"]
    assert title(ax) == f"Accuracy {100 * accuracy:.1f} % of 120 points"
    assert (X.min(0) > [left, bottom]).all() and (X.max(0) < [right, top]).all()


def test_regions_of_hinge_scores_have_margins():
    X, y = spirals(2)
    net = Network(2, Dense(1, init=[[5.0], [-3.0]]), loss="hinge")
    ax = plots.decision_regions(net, X, 2 * y - 1, resolution=20)
    middle, margins, *_ = ax.collections
    assert middle.levels == [0] and np.array_equal(margins.levels, [-1, 1])
    assert ax.images[0].get_clim() == (-2, 2) and ax.images[0].colorbar.extend == "both"
    assert legend(ax) == ["-1", "1"]


def test_a_score_that_is_the_same_everywhere_has_no_line():
    X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])
    tiny = 1e-9  # as rounding leaves it
    net = Network(2, Dense(1, init=[[tiny], [-tiny]], bias_init=0.5), loss="mse", dtype="float64")
    drawn = len(plots.decision_regions(net, X, y, resolution=20).collections)
    net.layers[0].W *= 1e8
    assert len(plots.decision_regions(net, X, y, resolution=20).collections) == drawn + 1


def test_regions_of_several_classes():
    X, y = spirals(3)
    net = Network(2, Dense(9, "tanh"), Dense(3, "softmax"), optimizer="lbfgs", seed=0)
    net.fit(X, y, epochs=30, verbose=False)
    ax = plots.decision_regions(net, X, y, resolution=30)
    image = ax.images[0].get_array()
    left, right, bottom, top = ax.images[0].get_extent()
    x1, x2 = (np.linspace(*ends, 61)[1::2] for ends in ((left, right), (bottom, top)))
    best = net.predict([(a, b) for b in x2 for a in x1]).argmax(axis=1).reshape(30, 30)
    colors = np.array([to_rgba(c)[:3] for c in (BLUE, RED, "#009E73")])
    nearest = np.abs((1 - image[:, :, None]) / (1 - image.min(-1))[:, :, None, None]
                     - (1 - colors) / (1 - colors.min(-1))[:, None]).sum(-1).argmin(-1)  # fmt: skip
    assert (nearest == best).all() and len(np.unique(best)) == 3
    assert legend(ax) == ["0", "1", "2"]


def test_a_surface_and_its_points(curve):
    X, y, net, _ = curve
    ax = plots.decision_regions(net, X, y, resolution=25)
    points = ax.collections[-1]
    assert np.array_equal(points.get_array(), y) and np.array_equal(points.get_offsets(), X)
    assert points.get_clim() == ax.images[0].get_clim()
    assert ax.images[0].get_array().shape == (25, 25) and ax.get_legend() is None
    assert title(ax) == f"Loss {net.evaluate(X, y)['loss']:.3g} of 180 points"
    mean = Network(2, Dense(2), loss="gaussian_nll", seed=0, dtype="float64")
    assert plots.decision_regions(mean, X, y).figure.axes[1].get_ylabel().startswith("output")


def test_one_point_and_one_class():
    net = Network(2, Dense(1, "sigmoid"), seed=0)
    ax = plots.decision_regions(net, [[3, 4]], [1], resolution=5)
    assert np.allclose(ax.get_xlim(), (2.92, 3.08)) and legend(ax) == ["1"]
    flat = Network(2, Dense(1, init="zeros"), seed=0)
    plots.decision_regions(flat, [[3, 4]], [0.0], resolution=5).figure.canvas.draw()


def test_regions_refuse(digits, curve):
    X, y, net, _ = digits
    with pytest.raises(ValueError, match="draws networks with 2 inputs, this one has 64"):
        plots.decision_regions(net, X, y)
    net, X, y = curve_data(curve)
    for resolution in (1, 2001, 3.5, "9"):
        with pytest.raises(ValueError, match=f"integer from 2 to 2000, got {resolution!r}"):
            plots.decision_regions(net, X, y, resolution=resolution)
    with pytest.raises(ValueError, match="Network expects 2 input features"):
        plots.decision_regions(net, X[:, :1], y)
    with pytest.raises(ValueError, match="X has no rows"):
        plots.decision_regions(net, np.empty((0, 2)), np.empty((0, 1)))
    with pytest.raises(ValueError, match="2 outputs that are no classes are no one surface"):
        plots.decision_regions(Network(2, Dense(2), seed=0), X, np.stack([y, y], axis=1))
    two = Network(2, Dense(1, "sigmoid"), seed=0)
    with pytest.raises(ValueError, match="y must be 0 or 1 to be compared with classes"):
        plots.decision_regions(two, [[0, 1]], [0.3])
    with pytest.raises(ValueError, match="there are 2 classes, got 3 names"):
        plots.decision_regions(two, [[0, 1]], [1], names="abc")
