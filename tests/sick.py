"""Networks and data that are sick on purpose, each with what became of it by the advice.

A function for each finding of `Network.diagnose`, under its code, and more for some.
"""

import math
import re
import warnings
from functools import partial

import numpy as np

import nncore
from nncore import SGD, Adam, Dense, Initializer, Network, Scaling

X, Y = nncore.datasets.load_digits()
X, Y = X[:600] / 16, Y[:600]
ROWS = len(X)
R = np.random.default_rng(0)
U = R.uniform(-1, 1, (400, 2))
V = np.sin(3 * U[:, :1]) * U[:, 1:]  # a regression
XOR_X = np.sign(R.uniform(-1, 1, (200, 2)))
XOR_Y = (XOR_X[:, :1] * XOR_X[:, 1:] > 0).astype(float)


def hidden(activation="tanh", n=32, **options):
    return Dense(n, activation, **options)


def digits(*layers, n_in=64, **options):
    return Network(n_in, *layers, Dense(10, "softmax"), seed=0, **options)


def curve(output="identity", loss="mse", end=()):
    layers = Dense(16, "tanh"), Dense(1, output), *end
    return Network(2, *layers, loss=loss, optimizer=Adam(0.01), seed=0)


def changed(network, change):
    change(network)
    return network


class Case:
    """A network and data, the same when the advice was followed, and how to judge both."""

    def __init__(self, sick, healed, loss=None, epochs=15, layer=None, **options):
        self.sick, self.healed, self.epochs, self.layer = sick, healed, epochs, layer
        self.loss = loss or (lambda net, X, y: net.evaluate(X, y)["loss"])
        self.options = options  # of fit and diagnose, when healed


def advice(network, X, y, code):
    """What the findings of this code say."""
    [said] = {finding.advice for finding in network.diagnose(X, y) if finding.code == code}
    return said


def scaled(make, X, code="unscaled_inputs"):
    """A network and X after the advice."""
    said = advice(make(hidden()), X, Y, code)
    assert said.endswith("begin the network with nncore.Scaling.of(X).")
    if "Divide X by np.abs(X).max() first" in said:
        X = X / np.abs(X).max()
    return make(Scaling.of(X), hidden()), X, Y


def by_lsuv(network, X=X):
    """As the advice says."""
    return changed(network, lambda net: net.lsuv(X))


def nan_inputs():
    bad = X.copy()
    bad[[5, 17], 3] = np.nan, np.inf
    good = np.isfinite(bad).all(axis=1)
    return Case((digits(hidden()), bad, Y), (digits(hidden()), bad[good], Y[good]))


def nan_targets():
    bad = V.copy()
    bad[7] = np.nan
    good = np.isfinite(bad).all(axis=1)
    return Case((curve(), U, bad), (curve(), U[good], bad[good]))


def nan_parameters():
    sick = changed(digits(hidden()), lambda net: net.layers[0].W.__setitem__((3, 4), np.nan))
    return Case((sick, X, Y), (digits(hidden()), X, Y))


def loss_not_finite():
    return Case((curve(), U, 1e25 * V), (curve(), U, V))


def nan_labels():
    """NaN among integers makes them floats."""
    bad = Y.astype(float)
    bad[[7, 30]] = np.nan
    assert "integers: y.astype(int)" in advice(digits(hidden()), X, bad, "nan_targets")
    good = np.isfinite(bad)
    return Case((digits(hidden()), X, bad), (digits(hidden()), X[good], bad[good].astype(int)))


def of_size(size, dtype, code):
    make, wild = partial(digits, dtype=dtype), X.astype(np.float64) * size
    return Case((make(hidden()), wild, Y), scaled(make, wild, code))


def inputs_beyond_the_dtype():
    return of_size(1e40, "float32", "nan_inputs")


def huge_inputs():
    return of_size(1e200, "float64", "unscaled_inputs")


def targets_beyond_the_dtype():
    wild = 1e40 * V
    part = wild / np.abs(wild).max()
    said = advice(curve(), U, wild, "nan_targets")
    assert "Divide y by np.abs(y).max() first" in said and "Scaling.of(y).inverse()" in said
    return Case((curve(), U, wild), (curve(end=[Scaling.of(part).inverse()]), U, part))


def unscaled_inputs():
    wild = X * np.where(np.arange(64) % 2, 1000, 1)
    return Case((digits(hidden()), wild, Y), scaled(digits, wild))


def coarse_inputs():
    """A Scaling gets what float32 has left of a large offset."""
    far = U + 1e6
    sick = Network(2, Scaling.of(far), Dense(16, "tanh"), Dense(1), optimizer=Adam(0.01), seed=0)
    assert "Scale X in float64" in advice(sick, far, V, "unscaled_inputs")
    return Case(
        (sick, far, V), (curve(), (far - far.mean(axis=0)) / far.std(axis=0), V), epochs=150
    )


def small_inputs():
    tiny = X * 1e-12
    return Case((digits(hidden()), tiny, Y), scaled(digits, tiny))


def uneven_inputs():
    wild = np.column_stack([X[:, 20] * 9, X / 500])
    make = partial(digits, n_in=65)
    return Case((make(hidden()), wild, Y), scaled(make, wild))


def constant_inputs():
    def loss(net, _, y):
        return net.evaluate(X, y)["loss"]

    return Case((digits(hidden()), 0 * X, Y), (digits(hidden()), X, Y), loss)


def constant_targets():
    return Case((digits(hidden()), X, 0 * Y + 2), (digits(hidden()), X, Y), of_all_digits)


def missing_classes():
    some = Y < 8
    return Case((digits(hidden()), X[some], Y[some]), (digits(hidden()), X, Y), of_all_digits)


def of_all_digits(net, *_):
    return net.evaluate(X, Y)["loss"]


def constant_columns():
    more = np.column_stack([X, np.full(ROWS, 8.0)])
    left = more[:, np.ptp(more, axis=0) > 0]
    return Case(
        (digits(hidden(), n_in=65, optimizer=SGD(0.5)), more, Y),
        (digits(hidden(), n_in=left.shape[1], optimizer=SGD(0.5)), left, Y),
    )


def duplicate_columns():
    more = np.column_stack([X] + [X[:, 20:21]] * 100)
    left = more[:, np.sort(np.unique(more, axis=1, return_index=True)[1])]
    return Case(
        (digits(hidden(), n_in=164, optimizer=SGD(0.5)), more, Y),
        (digits(hidden(), n_in=left.shape[1], optimizer=SGD(0.5)), left, Y),
    )


def unscaled_targets():
    wild = 1000 * V + 5000
    healed = curve(end=[Scaling.of(wild).inverse()])

    def loss(net, X, y):  # of all that varies, what is left
        return float(np.mean((net.predict(X) - wild) ** 2) / wild.var())

    return Case((curve(), U, wild), (healed, U, wild), loss, epochs=60)


def targets_out_of_range():
    return Case((curve("sigmoid"), U, 3 * V), (curve(), U, 3 * V), epochs=40)


def imbalanced_labels():
    rare = np.flatnonzero((Y < 5) | (np.arange(ROWS) % 20 == 3))
    data = X[rare], Y[rare]

    def loss(net, X, y):
        return net.evaluate(X, y, class_weight="balanced")["loss"]

    def make():
        return digits(hidden(n=8))

    return Case((make(), *data), (make(), *data), loss, epochs=40, class_weight="balanced")


def imbalanced_two_classes():
    y = (U[:, :1] + 0.1 * R.standard_normal((400, 1)) > 0.95).astype(float)

    def loss(net, X, y):
        return net.evaluate(X, y, class_weight="balanced")["loss"]

    def make():
        return curve("sigmoid", None)

    return Case((make(), U, y), (make(), U, y), loss, class_weight="balanced")


def linear():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nncore.LinearNetworkWarning)
        sick = Network(2, Dense(8), Dense(8), Dense(1, "sigmoid"), seed=0)
    healed = Network(2, Dense(8, "tanh"), Dense(8, "tanh"), Dense(1, "sigmoid"), seed=0)
    return Case((sick, XOR_X, XOR_Y), (healed, XOR_X, XOR_Y), epochs=100)


def nothing_trained():
    layers = hidden(trainable=False), Dense(10, "softmax", trainable=False)
    sick, healed = Network(64, *layers, seed=0), Network(64, *layers, seed=0)
    healed.layers[-1].trainable = True
    return Case((sick, X, Y), (healed, X, Y))


def symmetric_units():
    def make():  # of 0 and -0
        return changed(digits(hidden()), lambda net: net.theta.__imul__(0))

    return Case((make(), X, Y), (by_lsuv(make()), X, Y), layer="layers[0]")


def equal_units():
    """Not 0, and in a block of a network."""

    def make():
        block = nncore.Residual(hidden("sigmoid", 16, init="zeros"), Dense(64, init="zeros"))
        net = digits(block, hidden("relu", init=Initializer("constant", value=0.1)))
        return changed(net, lambda net: net.layers[2].W.__setitem__(slice(None), 0.01))

    return Case((make(), X, Y), (by_lsuv(make()), X, Y), layer="layers[1]")


def constant_derivative():
    def make():
        init = Initializer("normal", std=1e-4)
        return digits(hidden(init=init), hidden(init=init), optimizer=SGD(0.05))

    return Case((make(), X, Y), (by_lsuv(make()), X, Y), layer="layers[0]")


def straight_units():
    sick, healed = (digits(hidden(f), hidden(f)) for f in ("hard_sigmoid", "tanh"))
    said = advice(sick, X, Y, "constant_derivative")
    assert said == 'Use "tanh" in place of "hard_sigmoid", which is straight up to 2.'
    return Case((sick, X, Y), (healed, X, Y))


def saturated():
    def make():
        return digits(hidden("relu"), hidden(init=Initializer("normal", std=20)))

    return Case((make(), X, Y), (by_lsuv(make()), X, Y), layer="layers[1]")


def dead_units():
    def make():
        return digits(hidden("relu", bias_init=-5.0))

    return Case((make(), X, Y), (by_lsuv(make()), X, Y), layer="layers[0]")


def vanishing_gradient():
    sick, healed = (digits(*[hidden(f, 24) for _ in range(6)]) for f in ("sigmoid", "tanh"))
    return Case((sick, X, Y), (by_lsuv(healed), X, Y), layer="layers[0]")


def vanishing_by_weights():
    """Of an activation that is steep enough: nothing is said of sigmoid."""

    def make():
        return changed(digits(hidden(), optimizer=SGD(0.05)), lambda net: net.theta.__imul__(1e-6))

    assert "sigmoid" not in advice(make(), X, Y, "vanishing_gradient")
    return Case((make(), X, Y), (by_lsuv(make()), X, Y), layer="layers[0]")


def exploding_gradient():
    def make():
        init = Initializer("orthogonal", gain=6)
        return digits(*[hidden("tanh", 32, init=init) for _ in range(12)])

    return Case((make(), X, Y), (by_lsuv(make()), X, Y), layer="layers[0]")


def _rate(network, code):
    """The learning rate that the advice names."""
    [finding] = [f for f in network.diagnose(X, Y) if f.code == code]
    return float(re.search(r"about ([\d.e+-]+) in place", finding.advice)[1])


def large_updates():
    sick = digits(hidden(), optimizer=Adam(2.0))
    healed = digits(hidden(), optimizer=Adam(_rate(sick, "large_updates")))
    return Case((sick, X, Y), (healed, X, Y), layer="layers[0]")


def small_updates():
    sick = digits(hidden(), optimizer=SGD(1e-6))
    healed = digits(hidden(), optimizer=SGD(_rate(sick, "small_updates")))
    return Case((sick, X, Y), (healed, X, Y))


CASES = [
    nan_inputs, nan_targets, nan_parameters, loss_not_finite, constant_inputs, constant_targets,
    unscaled_inputs, constant_columns, duplicate_columns, unscaled_targets, targets_out_of_range,
    missing_classes, imbalanced_labels, linear, nothing_trained, symmetric_units,
    constant_derivative, saturated, dead_units, vanishing_gradient, exploding_gradient,
    large_updates, small_updates,
]  # fmt: skip
CODE = {
    nan_labels: "nan_targets", inputs_beyond_the_dtype: "nan_inputs",
    targets_beyond_the_dtype: "nan_targets", huge_inputs: "unscaled_inputs",
    small_inputs: "unscaled_inputs", coarse_inputs: "unscaled_inputs",
    uneven_inputs: "unscaled_inputs",
    imbalanced_two_classes: "imbalanced_labels", equal_units: "symmetric_units",
    vanishing_by_weights: "vanishing_gradient", straight_units: "constant_derivative",
}  # fmt: skip  # more cases of those


def reached(case, data, **options):
    """The loss after training; infinite where it fails."""
    network, X, y = data
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Targets span")
            network.fit(X, y, epochs=case.epochs, verbose=False, **options)
            return case.loss(network, X, y)
    except (ValueError, FloatingPointError):
        return math.inf
