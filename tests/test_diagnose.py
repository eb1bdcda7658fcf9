"""Network.diagnose: each finding on a network made sick on purpose, and that its advice helps."""

import copy
import math
import re
import sys
import typing

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network, Scaling, names, views
from nncore.columns import Columns, Input, Target

from .sick import (
    CASES,
    CODE,
    ROWS,
    R,
    U,
    V,
    X,
    Y,
    advice,
    changed,
    curve,
    digits,
    hidden,
    reached,
)


@pytest.mark.parametrize("make", [*CASES, *CODE], ids=lambda make: make.__name__)
def test_it_is_found_and_the_advice_helps(make):
    case, code = make(), CODE.get(make, make.__name__)
    found = [finding for finding in case.sick[0].diagnose(*case.sick[1:]) if finding.code == code]
    assert found, "the sickness is not found"
    assert case.layer is None or case.layer in [finding.layer for finding in found]
    for finding in found:
        assert finding.advice and finding.message and finding.evidence
    healed = case.healed[0].diagnose(*case.healed[1:], **case.options)
    assert code not in healed, str(healed)
    before, after = reached(case, case.sick), reached(case, case.healed, **case.options)
    print(f"{make.__name__}: loss {before:.3g} before, {after:.3g} after")
    assert after < 0.8 * before


def test_all_codes_have_a_case_and_are_in_the_docstring():
    codes = {"nan_inputs", "nan_targets"}
    for name in ("findings", "of_data"):
        module = sys.modules[f"nncore.views.diagnosing.{name}"]
        with open(module.__file__, encoding="utf-8") as file:
            codes |= set(re.findall(r'Finding\(\s*"(\w+)"', file.read()))
    assert codes == {make.__name__ for make in CASES} >= set(CODE.values())
    listed = re.findall(r"^ {8}([a-z_]+) {2,}\w", views.Views.diagnose.__doc__, re.MULTILINE)
    assert codes == set(listed) - {"code"}


def test_of_one_pattern_nothing_is_constant():
    network = Network(3, Dense(2, "sigmoid"), Dense(1, "sigmoid"), loss="half_mse", seed=0)
    assert "constant_derivative" not in network.diagnose([[0.6, 0.1, 0.7]] * 2, [[1.0]] * 2)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "elu", "leaky_relu"])
@pytest.mark.parametrize("depth", [1, 2])
def test_nothing_is_found_where_all_is_well(activation, depth):
    for epochs in (0, 20):
        network = digits(*[hidden(activation) for _ in range(depth)])
        if epochs:
            network.fit(X, Y, epochs=epochs, verbose=False)
        diagnosis = network.diagnose(X, Y)
        assert len(diagnosis) == 0, str(diagnosis)


def test_a_regression_at_its_minimum_is_well():
    """Nothing is left to learn: updates are small, and that is right."""
    network = Network(2, Dense(1), optimizer="lbfgs", seed=0, dtype="float64")
    y = U @ [[1.0], [-2.0]] + 0.1 * R.standard_normal((400, 1))
    network.fit(U, y, epochs=50, verbose=False)
    assert len(network.diagnose(U, y)) == 0
    network.optimizer = SGD(1e-3)
    diagnosis = network.diagnose(U, y, batch_size=400)
    assert len(diagnosis) == 0 and diagnosis.layers[0].update_ratio < 1e-9


# ---- the numbers ----


def test_numbers_by_hand():
    """3-2-1: every number of the layers from its definition."""
    rng = np.random.default_rng(1)
    network = Network(
        3, Dense(4, "sigmoid"), Dense(2, "tanh"), Dense(1), loss="half_mse", optimizer=SGD(0.3),
        seed=0, dtype="float64",
    )  # fmt: skip
    x, y = rng.standard_normal((50, 3)), rng.standard_normal((50, 1))
    first, second, last = network.layers
    z = x @ first.W + first.b
    a = 1 / (1 + np.exp(-z))
    b = np.tanh(a @ second.W + second.b)
    out = b @ last.W + last.b
    d3 = (out - y) / len(x)
    d2 = d3 @ last.W.T * (1 - b**2)
    d1 = d2 @ second.W.T * a * (1 - a)
    gradients = [(x.T @ d1, d1.sum(0)), (a.T @ d2, d2.sum(0)), (b.T @ d3, d3.sum(0))]
    norms = [math.hypot(*np.concatenate([g.ravel() for g in pair])) for pair in gradients]
    diagnosis = network.diagnose(x, y, batch_size=50)
    assert [n.name for n in diagnosis.layers] == ["layers[0]", "layers[1]", "layers[2]"]
    assert [n.activation for n in diagnosis.layers] == ["sigmoid", "tanh", "identity"]
    assert diagnosis.loss == pytest.approx(float(np.mean((out - y) ** 2) / 2))
    slopes = [np.mean(a * (1 - a)), np.mean(1 - b**2), 1.0]
    for number, layer, slope, norm in zip(
        diagnosis.layers, network.layers, slopes, norms, strict=True
    ):
        size = math.hypot(*layer.W.ravel(), *layer.b)
        assert number.slope == pytest.approx(slope)
        assert number.weight_norm == pytest.approx(size)
        assert number.gradient_norm == pytest.approx(norm)
        assert number.gradient_ratio == pytest.approx(norm / norms[-1])
        assert number.update_ratio == pytest.approx(0.3 * norm / size)
        assert (number.saturated, number.dead) == (0, 0)
    assert diagnosis.layers[2].constant == 1.0


@pytest.mark.parametrize("optimizer", [
    SGD(nncore.schedules.Cosine(0.1, steps=5, per="epoch"), momentum=0.9),
    Adam(nncore.schedules.Cosine(0.01, steps=60), clip_norm=0.1),
])  # fmt: skip
def test_the_update_is_the_next_one(optimizer):
    """From the optimizer's state and the schedule as they are."""
    network = digits(hidden(l2=0.01), optimizer=optimizer)
    network.fit(X, Y, epochs=2, verbose=False)
    ratios = [n.update_ratio for n in network.diagnose(X, Y, batch_size=50).layers]
    chosen = np.random.default_rng(0).permutation(ROWS)[:50]
    before = network.theta.copy()
    network.partial_fit(X[chosen], Y[chosen])
    for ratio, place in zip(ratios, (slice(0, 65 * 32), slice(65 * 32, None)), strict=True):
        change = np.linalg.norm(network.theta[place] - before[place])
        assert ratio == pytest.approx(change / np.linalg.norm(before[place]), rel=1e-5)


def test_units_are_counted():
    """Of 8 tanh units, 2 are dead, 3 more saturated and 1 linear."""
    network = Network(1, Dense(8, "tanh"), Dense(1), seed=0, dtype="float64")
    network.layers[0].W = [[1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1.0, 2.0]]
    network.layers[0].b = [30.0, -30.0, 5.0, 5.0, -5.0, 0.0, 0.0, 0.5]
    x = np.linspace(-1, 1, 101)[:, None]
    first = network.diagnose(x, x).layers[0]
    assert (first.dead, first.saturated) == (2, 3 / 8)
    assert first.constant == 1 / 2  # four that hardly move
    network = Network(1, Dense(4, "relu"), Dense(1), seed=0)
    network.layers[0].W = [[1.0, 1.0, -1.0, 1.0]]
    network.layers[0].b = [0.0, 2.0, -2.0, -0.97]
    first = network.diagnose(x, x).layers[0]
    assert (first.dead, first.saturated, first.constant) == (1, 1 / 4, 1 / 4)


def test_units_within_residual_blocks_and_other_layers():
    network = Network(
        64, nncore.BatchNorm(), nncore.Residual(hidden("tanh"), nncore.PReLU(), Dense(64)),
        nncore.Dropout(0.5), Dense(10, "softmax"), seed=0,
    )  # fmt: skip
    diagnosis = network.diagnose(X, Y)
    assert [(n.name, n.kind) for n in diagnosis.layers] == [
        ("layers[0]", "BatchNorm"), ("layers[1].layers[0]", "Dense"),
        ("layers[1].layers[1]", "PReLU"), ("layers[1].layers[2]", "Dense"), ("layers[3]", "Dense"),
    ]  # fmt: skip
    gradient = network.loss_and_gradient(X, Y)[1]
    size = math.sqrt(sum(n.gradient_norm**2 for n in diagnosis.layers))
    assert size == pytest.approx(np.linalg.norm(gradient.astype(float)), rel=1e-4)
    assert math.isnan(diagnosis.layers[0].slope) and 0.2 < diagnosis.layers[1].slope < 0.9
    assert all(0 < n.update_ratio < 0.2 for n in diagnosis.layers)


def test_tokens_are_no_numbers():
    network = Network(3, nncore.Embedding(columns={0: (900, 2)}), hidden(), Dense(1), seed=0)
    x = np.column_stack([R.integers(0, 900, 400), U])
    assert len(network.diagnose(x, V)) == 0


def test_reference_and_engine_agree():
    for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-10)):
        found = [
            digits(hidden("relu"), hidden("sigmoid"), dtype=dtype, backend=backend).diagnose(X, Y)
            for backend in ("auto", "reference")
        ]
        for a, b in zip(*(d.layers for d in found), strict=True):
            assert a[:4] == b[:4]
            np.testing.assert_allclose(a[4:], b[4:], rtol=tolerance)


# ---- what it leaves alone ----


def everything(network):
    engine = network._engine
    return (
        network.theta.tobytes(), engine.state.tobytes(), engine.running.tobytes(),
        engine.n_updates, engine.draws, engine.rule, engine.hyper, network._epochs,
        copy.deepcopy(network._course and network._course[1]),
        None if engine.average is None else engine.average.tobytes(), engine.averaged,
        str(network._rng.bit_generator.state), repr(network.config()), network._memory is None,
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", [
    Adam(0.01, ema=0.9), SGD(nncore.schedules.OnPlateau(0.1), momentum=0.9), "lbfgs", "rprop",
])  # fmt: skip
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_nothing_of_the_network_changes(optimizer, backend):
    layers = [hidden(), Dense(10, "softmax", l2=1e-3)]
    if isinstance(optimizer, nncore.Optimizer):
        layers[1:1] = [nncore.BatchNorm(), nncore.Dropout(0.2)]
    network = Network(64, *layers, optimizer=optimizer, seed=3, backend=backend)
    network.fit(X[:100], Y[:100], epochs=2, verbose=False)
    twin, before, given = network.copy(), everything(network), (X.copy(), Y.copy())
    diagnosis = network.diagnose(X, Y)
    assert everything(network) == before
    assert (X == given[0]).all() and (Y == given[1]).all()
    again = network.diagnose(X, Y)
    assert str(again) == str(diagnosis)
    network.fit(X[:100], Y[:100], epochs=2, verbose=False)
    twin.fit(X[:100], Y[:100], epochs=2, verbose=False)
    assert network.theta.tobytes() == twin.theta.tobytes()


def test_a_pending_change_of_the_rule_stays_pending():
    network = digits(hidden(), optimizer=SGD(0.1, momentum=0.9))
    network.fit(X, Y, verbose=False)
    network.optimizer.momentum = 0.0
    before = everything(network)
    assert network.diagnose(X, Y).layers[0].update_ratio > 0
    assert everything(network) == before


def test_functions_of_the_user_are_not_asked_for_weights():
    calls = []

    def start(rng, n_in, n_out):
        calls.append(n_in)
        return rng.standard_normal((n_in, n_out)) / 8

    network = digits(hidden(init=start))
    assert len(network.diagnose(X, Y)) == 0 and calls == [64]


# ---- rows ----


def test_rows_are_bounded_and_said():
    network = digits(hidden())
    diagnosis = network.diagnose(X, Y, rows=100)
    assert (diagnosis.rows, diagnosis.n_rows) == (100, 600)
    assert "100 of 600 rows" in str(diagnosis)
    assert str(network.diagnose(X, Y, rows=100)) == str(diagnosis)
    assert network.diagnose(X, Y, rows=100, seed=1).loss != diagnosis.loss
    chosen = np.random.default_rng(0).permutation(600)[:100]
    assert diagnosis.loss == pytest.approx(network.evaluate(X[chosen], Y[chosen])["loss"])


def test_rows_that_do_not_count_are_not_looked_at():
    network, w = digits(hidden()), (Y < 5).astype(float)
    diagnosis = network.diagnose(X, Y, sample_weight=w)
    assert diagnosis.rows == (Y < 5).sum()
    assert diagnosis.loss == pytest.approx(network.evaluate(X[Y < 5], Y[Y < 5])["loss"])


def test_bad_rows_anywhere_are_counted():
    bad = X.copy()
    bad[[3, 599], 0] = np.nan
    diagnosis = digits(hidden()).diagnose(bad, Y, rows=50)
    [finding] = diagnosis
    assert finding.evidence == {"rows": 2, "first": 3, "share": 2 / 600}
    assert finding.severity == "error" and diagnosis.rows == 50
    nothing = digits(hidden()).diagnose(np.full((4, 64), np.nan), Y[:4])
    assert "nan_inputs" in nothing and nothing.layers == () and nothing.rows == 0
    assert "nan_inputs" in str(nothing)


def test_numbers_beyond_the_dtype_are_named():
    wild = U.copy()
    wild[5, 1], wild[9, 0], wild[7, 0] = 1e39, -2e39, np.nan
    diagnosis = curve().diagnose(wild, V)
    lost, beyond = (finding for finding in diagnosis if finding.code == "nan_inputs")
    assert lost.evidence == {"rows": 1, "first": 7, "share": 1 / 400}
    assert lost.message == "1 of 400 rows of X has NaN or infinity: row 7."
    assert beyond.evidence == {
        "rows": 2, "first": 5, "share": 2 / 400, "column": 1, "value": 1e39
    }  # fmt: skip
    assert "beyond the range of float32, 3.4e+38; the first is 1e+39 in row 5" in beyond.message
    assert diagnosis.rows == 397
    [finding] = curve().diagnose(U, np.where(np.arange(400)[:, None] == 3, 1e39, V))
    assert (finding.code, finding.evidence["value"]) == ("nan_targets", 1e39)
    wide = Network(2, Dense(16, "tanh"), Dense(1), dtype="float64", seed=0)
    assert "nan_inputs" not in wide.diagnose(np.where(np.isnan(wild), 0, wild), V)


def test_where_rows_are_lost_errors_speak_of_those_that_were_given():
    network, labels, lost = digits(hidden()), Y.astype(float), X.copy()
    labels[3] = lost[4, 0] = np.nan
    good = np.isfinite(labels)
    assert network.diagnose(X, labels).loss == network.diagnose(X[good], Y[good]).loss
    column = np.where(np.arange(ROWS) == 3, np.nan, Y)[:, None]
    assert network.diagnose(lost, column).rows == ROWS - 2
    for x, y, message in [
        (lost, np.where(np.arange(ROWS) == 50, 10, Y), "got label 10 at row 50"),
        (X, np.where(np.arange(ROWS) == 50, 10, labels), "got label 10 at row 50"),
        (X, np.where(np.arange(ROWS) == 50, 0.5, labels), r"y of dtype float64 and shape \(600,\)"),
        (X, labels[:50], "X has 600 rows but y has 50"),
        (X, np.full(5, np.nan), "X has 600 rows but y has 5"),
        (X, Y.astype(float), r"use y.astype\(int\)"),  # as fit has it
        (np.ma.masked_invalid(lost), Y, "X is a masked array"),
        (X, np.ma.masked_invalid(labels), "y is a masked array"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            network.diagnose(x, y)
    nothing = network.diagnose(X, np.full(ROWS, np.nan))
    assert [f.code for f in nothing] == ["nan_targets"] and nothing.rows == 0
    signs = Network(2, Dense(1, "tanh"), loss="hinge", seed=0)
    assert "nan_targets" in signs.diagnose(U, np.full((400, 1), np.nan))
    wrong = np.ones(400)
    wrong[2], wrong[8] = np.nan, 2
    with pytest.raises(ValueError, match="hinge needs targets -1 or 1; got 2 at row 8"):
        signs.diagnose(U, wrong)


def test_tokens_can_be_missing():
    network = Network(2, nncore.Embedding(9, 3), Dense(1), seed=0)
    x = R.integers(0, 9, (400, 2)).astype(float)
    x[0, 1] = np.nan
    assert [f.code for f in network.diagnose(x, V)] == ["nan_inputs"]
    x[5, 0] = 9
    with pytest.raises(ValueError, match="X has 9 at row 5, column 0, which is no token"):
        network.diagnose(x, V)
    assert "constant_inputs" in network.diagnose(np.ones((400, 2)), V)


def named(network, inputs, targets):
    network.columns = Columns(map(Input, inputs), targets).check(network)
    return network


def test_columns_have_the_names_that_the_network_knows():
    def messages(X, y):
        network = Network(3, Dense(4, "tanh"), Dense(2, "softmax"), seed=0)
        network = named(network, ["Size", "Age", "Copy"], [Target("kind", ("cat", "dog"))])
        return {f.code: (f.message, f.evidence) for f in network.diagnose(X, y)}

    x = np.column_stack([U[:, 0], 100 * U[:, 1], U[:, 0]])
    found = messages(x, np.arange(400) > 380)
    message, evidence = found["unscaled_inputs"]
    assert message.startswith("Column 'Age' of X has a root mean square of")
    assert evidence["columns"] == [1]
    assert "column 'Copy'. A column and" in found["duplicate_columns"][0]
    assert found["imbalanced_labels"][0].startswith(
        "Class 'cat' has 20.1 times the weight of class 'dog'"
    )
    found = messages(np.where([False, True, True], 7.0, x), np.arange(400) % 2)
    assert "columns 'Age', 'Copy'. They act" in found["constant_columns"][0]
    assert "same number in all" in found["constant_columns"][0]
    found = messages(x, np.zeros(400, int))
    assert found["constant_targets"][0].startswith("All 400 rows have class 'cat'")
    x[3, 1] = 1e40
    assert "in row 3, column 'Age'." in messages(x, np.arange(400) % 2)["nan_inputs"][0]


def test_targets_have_the_names_that_the_network_knows():
    network = named(
        Network(2, Dense(4, "tanh"), Dense(2), seed=0), "ab", [Target("price"), Target("rent")]
    )
    [finding] = network.diagnose(U, np.column_stack([100 * V, V]))
    assert finding.message.startswith("Column 'price' of y has a root mean square")
    # places in a table without names are no names
    network = named(Network(2, Dense(1), seed=0), "12", [Target("0")])
    [finding] = network.diagnose(U * [1, 100], V)
    assert finding.message.startswith("Column 1 of X has")


@pytest.mark.parametrize("first", [(), (nncore.BatchNorm(),), (Scaling(mean=[1e6], scale=[1]),)])
def test_how_much_of_a_large_offset_is_left(first):
    def found(x, dtype="float32"):
        network = Network(1, *first, Dense(4, "tanh"), Dense(1), seed=0, dtype=dtype)
        findings = network.diagnose(x[:, None], V)
        return [f for f in findings if f.code == "unscaled_inputs" and "digits" in f.evidence]

    few = np.random.default_rng(0).choice([-1.0, 1.0], 400) + 0.25 * U[:, 0]
    [finding] = found(1e6 + few)
    # float32 has a number each 1/16 there, and 16 times the deviation of about 1
    assert finding.evidence["digits"] == pytest.approx(math.log10(16 * few.std()), abs=0.01)
    assert "Column 0 of X has numbers near 1e+06 that differ by 1.0" in finding.message
    assert "float32 keeps 1.2 digits of that." in finding.message
    assert finding.evidence["columns"] == [0]
    assert not found(1e6 + few, "float64")
    assert not found(1e6 + 10 * few)  # 160 numbers
    assert not found(1e6 + np.round(8 * few))  # integers, which are exact
    assert found(1e9 + np.round(100 * few))  # beyond 2^24 they are not
    assert not found(np.full(400, 1e6))


def test_layers_that_are_not_trained_are_marked():
    diagnosis = digits(hidden(trainable=False), hidden()).diagnose(X, Y)
    assert [number.trainable for number in diagnosis.layers] == [False, True, True]
    ends = [line.split()[-1] for line in str(diagnosis).splitlines()[3:6]]
    assert ends[0] == "frozen" and "frozen" not in ends[1:]
    assert diagnosis._repr_html_().count("frozen") == 1


def test_columns_are_named():
    finding = curve().diagnose(U * [1, 100], V).findings[0]
    assert finding.message == "Column 1 of X has a root mean square of 56.6."
    wild = X * np.where(np.arange(64) % 8 == 4, 300, 1)
    finding = digits(hidden()).diagnose(wild, Y).findings[0]
    assert finding.evidence["columns"] == list(range(4, 64, 8))
    assert "Columns 4, 12, 20, 28, 36 and 3 more of X have" in finding.message
    uneven = np.column_stack([X[:, 20] * 9, X / 500, X[:, 20] * 8])
    finding = digits(hidden(), n_in=66).diagnose(uneven, Y).findings[0]
    assert finding.message.startswith("Columns 0, 65 of X have up to ")
    assert finding.evidence["columns"] == [0, 65]
    two = Network(2, Dense(4, "tanh"), Dense(2), seed=0)
    finding = two.diagnose(U, np.column_stack([100 * V, 50 * V])).findings[0]
    assert finding.message.startswith("Columns 0, 1 of y have root mean squares above 10")


@pytest.mark.parametrize("size", [1e-200, 1e160, 1e300])
def test_sizes_whose_squares_are_no_numbers(size):
    x = np.column_stack([U, U[:, 0], np.ones(400)]) * size
    network = Network(4, Dense(8, "tanh"), Dense(1), dtype="float64", seed=0)
    found = {finding.code: finding for finding in network.diagnose(x, V * size)}
    rms = np.sqrt(np.mean(x[:, 3] / size) ** 2) * size
    assert found["unscaled_inputs"].evidence["largest"] == pytest.approx(rms)
    assert found["unscaled_targets"].evidence["largest"] == pytest.approx(
        size * np.sqrt(np.mean(V**2))
    )
    assert found["duplicate_columns"].evidence["share"] == pytest.approx(2 / 3, rel=0.1)
    assert found["constant_columns"].evidence["columns"] == [3]


def test_data_that_are_all_the_same():
    network = digits(hidden())
    diagnosis = network.diagnose(np.full_like(X, 500), Y)
    assert diagnosis.findings[0].code == "constant_inputs" and "unscaled_inputs" not in diagnosis
    [finding] = network.diagnose(X * -0.0, Y)
    assert finding.message.startswith("All 600 rows of X looked at are the same: 0 everywhere. ")
    assert [f.code for f in network.diagnose(X, np.eye(10)[0 * Y])] == ["constant_targets"]
    [finding] = curve().diagnose(U, 0 * V + 5000)
    assert finding.message == "All 400 rows have the target 5000: there is nothing to learn from X."
    [finding] = curve("sigmoid", None).diagnose(U, 0 * V)
    assert finding.code == "constant_targets"
    # of one row nothing is constant
    assert len(curve().diagnose(U[:1], V[:1])) == 0


def test_of_rows_that_are_the_same_units_tell_nothing():
    sick = Network(2, Dense(8, "relu", bias_init=-9.0), Dense(1), seed=0)
    assert "dead_units" in sick.diagnose(U, V)
    one = sick.diagnose(U[:1], V[:1])
    assert len(one) == 0 and "1 of 1 row looked at" in str(one)
    assert [f.code for f in sick.diagnose(0 * U, V)] == ["constant_inputs"]


def test_data_far_from_those_of_the_scaling():
    y = 5 * V + 3
    network = Network(2, Scaling.of(U), Dense(8, "tanh"), Dense(1), Scaling.of(y).inverse(), seed=0)
    assert len(network.diagnose(U, y)) == 0
    x, y = 1000 * U, 1000 * y
    found = {f.code: f for f in network.diagnose(x, y)}
    inputs, targets = found["unscaled_inputs"], found["unscaled_targets"]
    assert "of X scaled by layers[0] have root mean squares above" in inputs.message
    assert targets.message.startswith("Targets scaled by layers[3] have a root mean square of")
    for finding, call in ((inputs, "layers[0].adapt(X)"), (targets, "layers[3].adapt(y)")):
        assert f"was made of other data: take its numbers anew by net.{call}" in finding.advice
    network.layers[0].adapt(x)
    network.layers[3].adapt(y)
    assert len(network.diagnose(x, y)) == 0


@pytest.mark.parametrize(
    ("output", "span"),
    [("relu", "[0, inf)"), ("sigmoid", "(0, 1)"), ("hard_sigmoid", "[0, 1]"), ("tanh", "(-1, 1)"),
     ("softplus", "(0, inf)"), ("gaussian", "(0, 1]")],
)  # fmt: skip
def test_the_range_of_an_output(output, span):
    found = {f.code: f for f in curve(output).diagnose(U, 3 * V)}
    assert found["targets_out_of_range"].message.endswith(f"gives {span}.")


def test_classes_that_are_missing():
    some = Y < 8
    for y in (Y[some], np.eye(10)[Y[some]]):
        [finding] = digits(hidden()).diagnose(X[some], y)
        assert (finding.code, finding.severity) == ("missing_classes", "note")
        assert finding.evidence["classes"] == [8, 9]
        assert finding.message.startswith("2 of 10 classes have no row: 8, 9. ")
    w = (Y != 3) * 1.0
    [finding] = digits(hidden()).diagnose(X, Y, sample_weight=w)
    assert finding.message.startswith("1 of 10 classes has no row: 3. The network learns never to")
    rest = np.flatnonzero(Y % 2)
    classes, y = np.unique(Y[rest], return_inverse=True)  # as the advice says
    network = Network(64, hidden(), Dense(len(classes), "softmax"), seed=0)
    assert len(network.diagnose(X[rest], y)) == 0


def test_labels_of_other_forms():
    rare = np.flatnonzero((Y != 3) | (np.arange(ROWS) % 20 == 3))
    one_hot = np.eye(10)[Y[rare]]
    network = digits(hidden())
    for y in (Y[rare], one_hot):
        [finding] = network.diagnose(X[rare], y)
        assert finding.code == "imbalanced_labels" and finding.evidence["least"] == 3


# ---- one cause, one finding ----


def test_weights_near_0_are_the_cause():
    """And not the learning rate, beside them."""
    sick = changed(curve(), lambda net: net.theta.__imul__(1e-20))
    diagnosis = sick.diagnose(U, V)
    assert {f.code for f in diagnosis} == {"constant_derivative", "vanishing_gradient"}
    assert diagnosis.layers[1].update_ratio > 1e6


def test_a_layer_that_starts_at_0_moves_with_the_first_update():
    network = Network(64, hidden(), Dense(10, "softmax", init="zeros"), seed=0)
    diagnosis = network.diagnose(X, Y)
    assert diagnosis.layers[0].gradient_norm == 0 and len(diagnosis) == 0
    block = nncore.Residual(hidden("relu", 16), Dense(64, init="zeros"))
    assert len(digits(block, hidden()).diagnose(X, Y)) == 0


def test_where_no_gradient_comes_through_no_rate_is_to_blame():
    sick = changed(curve(), lambda net: net.theta.__imul__(1e10))
    assert [f.code for f in sick.diagnose(U, V)] == ["dead_units"]


def test_an_update_without_end():
    network = Network(2, Dense(16, "tanh"), Dense(1), optimizer=SGD(1e38), seed=0)
    finding = network.diagnose(U, 1000 * V).findings[1]
    assert finding.code == "large_updates" and finding.evidence["ratio"] == math.inf
    assert finding.advice == "Use a smaller learning rate."


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies_are_counted(backend, dtype):
    network = digits(hidden(), hidden(n=20), dtype=dtype, backend=backend)
    first, second, last = network.layers
    first.W[:, 5:9], first.b[7] = first.W[:, :1], 1  # three have the weights of unit 0,
    second.W[5:7] = second.W[0]  # and two of these its gradient
    diagnosis = network.diagnose(X, Y)
    assert [n.copies for n in diagnosis.layers] == [2, 0, 0] and len(diagnosis) == 0
    second.W[:], last.W[:] = 0.01, 0.02
    diagnosis = network.diagnose(X, Y)
    assert [n.copies for n in diagnosis.layers] == [3, 19, 0]
    [finding] = diagnosis
    assert (finding.code, finding.layer, finding.severity) == (
        "symmetric_units", "layers[1]", "error"
    )  # fmt: skip
    assert finding.message.startswith("20 of 20 units of layers[1] are like another one")


def test_units_that_a_penalty_has_removed_are_no_sickness():
    network = digits(hidden("relu"))
    network.layers[0].W[:, :20] = network.layers[1].W[:20] = 0
    diagnosis = network.diagnose(X, Y)
    assert diagnosis.layers[0].copies == 19 and "symmetric_units" not in diagnosis


def test_dropout_tells_copies_apart():
    network = digits(hidden(), nncore.Dropout(0.5))
    network.layers[0].W[:], network.layers[2].W[:] = 0.01, 0.02
    assert "symmetric_units" not in network.diagnose(X, Y)
    network.theta[:] = 0  # but not where there is no gradient
    assert "symmetric_units" in network.diagnose(X, Y)


def test_gradients_are_compared_between_layers_that_are_trained():
    network = digits(*[hidden("sigmoid", 24) for _ in range(9)])
    whole = {f.code: f for f in network.diagnose(X, Y)}["vanishing_gradient"]
    network.layers[0].trainable = network.layers[-1].trainable = False
    finding = {f.code: f for f in network.diagnose(X, Y)}["vanishing_gradient"]
    assert (whole.layer, finding.layer) == ("layers[0]", "layers[1]")
    assert f"that of layers[8]: {finding.evidence['first']:.2g} and" in finding.message
    assert finding.evidence["ratio"] == finding.evidence["first"] / finding.evidence["last"]
    for layer in network.layers:
        layer.trainable = False
    last = {f.code: f for f in network.diagnose(X, Y)}["nothing_trained"]
    assert "net.layers[9].trainable = True" in last.advice


def test_columns_of_any_sizes_are_compared():
    x = np.column_stack([U[:, 0], U[:, 1] * 1e-320, U[:, 1] * 1e-310])
    network = Network(3, Dense(4, "tanh"), Dense(1), dtype="float64", seed=0)
    finding = network.diagnose(x, V).findings[0]
    assert finding.evidence["uneven"] > 1e300 and finding.evidence["columns"] == [0]


def test_a_network_of_one_unit_is_no_copy():
    network = Network(2, Dense(1, "tanh", init="zeros"), Dense(1), seed=0)
    assert "symmetric_units" not in network.diagnose(U, V)


# ---- severity, form, errors ----


def test_all_numbers_are_pythons_own():
    network = digits(nncore.BatchNorm(), hidden("relu"), nncore.PReLU(), hidden("sigmoid"))
    for number in network.diagnose(X, Y).layers:
        types = {name: type(value) for name, value in number._asdict().items()}
        assert types == typing.get_type_hints(type(number))
        assert number.dead == number.copies == 0


def test_the_batch_may_be_all_rows():
    network = digits(hidden())
    full = network.diagnose(X, Y, batch_size="full", rows=200)
    assert full.layers == network.diagnose(X, Y, batch_size=200, rows=200).layers
    assert full.layers != network.diagnose(X, Y, rows=200).layers


def test_a_loss_that_is_not_finite_may_have_a_gradient():
    diagnosis = curve().diagnose(U, 1e25 * V)
    assert diagnosis.layers[0].gradient_norm > 1e20
    assert diagnosis.findings[0].message == "The loss is inf, and fit stops where it is."
    with pytest.raises(FloatingPointError, match="Loss became inf"):
        curve().fit(U, 1e25 * V, verbose=False)


def test_one_of_something():
    one = Network(1, Dense(1, "relu", init=[[1.0]], bias_init=-9.0), Dense(1), seed=0)
    text = str(one.diagnose([[1.0], [2.0]], [[1.0], [1.0]]))
    assert "1 of 1 unit of layers[0] (relu) is dead" in text
    one = Network(1, Dense(1, bias=False), seed=0)
    one.theta[:] = np.nan
    [finding] = one.diagnose([[1.0], [2.0]], [[1.0], [3.0]])
    assert finding.message == "1 of 1 parameter is NaN or infinite."
    more = np.column_stack([X, np.ones(ROWS), X[:, 20]])
    constant, copied = (f.message for f in digits(hidden(), n_in=66).diagnose(more, Y))
    assert constant == (
        "1 of 66 columns of X has the same number in all rows looked at: column 64. It acts as one "
        "more bias, 1 times as large."
    )
    assert copied.startswith("1 of 66 columns of X is equal to another: column 65. A column")


def test_a_layer_that_is_dead_as_a_whole_is_an_error():
    network = digits(hidden("relu", bias_init=-99.0))
    assert [(f.code, f.severity) for f in network.diagnose(X, Y)] == [("dead_units", "error")]


def test_fewer_hidden_layers_are_no_advice_for_one():
    """But for several."""
    for depth in (1, 2):
        network = digits(*[hidden("sigmoid") for _ in range(depth)])
        for layer in network.layers[1:]:
            layer.W *= 1e-4
        said = advice(network, X, Y, "vanishing_gradient")
        assert ("fewer hidden layers" in said) is (depth > 1)
        assert said.endswith(('in place of "sigmoid".', ", or use fewer hidden layers."))


def test_of_rows_of_zeros_lsuv_is_no_advice():
    def said(code, factor, x, y):
        return advice(changed(curve(), lambda net: net.theta.__imul__(factor)), x, y, code)

    for x, is_said in ((U, True), (0 * U, False)):
        assert ("lsuv" in said("symmetric_units", 0, x, V)) is is_said
        assert ("lsuv" in said("loss_not_finite", 1, x, 1e25 * V)) is is_said
    with pytest.raises(ValueError, match="the variance 0"):
        curve().lsuv(0 * U)


def test_small_constants_and_single_copies_are_notes():
    more = np.column_stack([X, np.ones(ROWS), X[:, 20]])
    diagnosis = digits(hidden(), n_in=66).diagnose(more, Y)
    assert [(f.code, f.severity) for f in diagnosis] == [
        ("constant_columns", "note"), ("duplicate_columns", "note")
    ]  # fmt: skip
    assert diagnosis.findings[1].evidence["columns"] == [65]


def test_what_is_as_it_should_be_is_not_found():
    # sigmoid under its own loss: the slope at the output is not needed
    network = curve("sigmoid", None)
    network.layers[-1].W *= 1000
    assert "saturated" not in network.diagnose(U, (V > 0).astype(float))
    # a narrow linear layer between others is a choice
    network = digits(hidden(), Dense(5), hidden())
    assert len(network.diagnose(X, Y)) == 0
    # inputs that the network scales itself
    network = digits(nncore.BatchNorm(), hidden())
    network.fit(X * 100, Y, epochs=3, verbose=False)
    assert "unscaled_inputs" not in network.diagnose(X * 100, Y)
    # a layer that is not trained does not move
    network = digits(hidden(trainable=False), optimizer=SGD(0.1))
    assert "small_updates" not in network.diagnose(X, Y)


def test_how_it_is_shown():
    network = changed(digits(hidden(), optimizer=Adam(1.0)), lambda n: n.theta.__imul__(100))
    diagnosis = network.diagnose(X, Y)
    text = str(diagnosis)
    assert max(map(len, text.splitlines())) <= 120
    for part in ("layers[0] Dense", "mean |f'|", "warning: saturated in layers[0]", "net.lsuv(X)"):
        assert part in text
    assert [f for f in diagnosis] == list(diagnosis.findings) and "saturated" in diagnosis
    assert "dead" not in diagnosis and len(diagnosis) == len(diagnosis.findings) > 0
    assert repr(diagnosis).startswith("<Diagnosis of 64-32-10: saturated")
    assert "layers[0]" in repr(diagnosis.findings[0]) and "lsuv" in str(diagnosis.findings[0])
    html = diagnosis._repr_html_()
    assert html.count("<tr>") == 3 and html.count("<li>") == len(diagnosis)
    assert "&lt;" not in html or "<script" not in html
    with pytest.raises(TypeError, match="len\\(diagnosis\\) > 0"):
        bool(diagnosis)


def test_an_activation_of_ones_own(monkeypatch):
    monkeypatch.setattr(names, "own_activations", {})
    nncore.register_activation("bent", np.tanh, lambda x: 1 - np.tanh(x) ** 2)
    diagnosis = digits(hidden("bent")).diagnose(X, Y)
    assert len(diagnosis) == 0 and diagnosis.layers[0].activation == "bent"
    np.testing.assert_allclose(
        diagnosis.layers[0].slope, digits(hidden("tanh")).diagnose(X, Y).layers[0].slope, rtol=1e-5
    )


def test_text_is_escaped_in_html():
    diagnosis = digits(hidden()).diagnose(X, Y)
    diagnosis.title = "<script>"
    assert "<script>" not in diagnosis._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, "rows must be an integer of at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be an integer of at least 1, got -1"),
        ({"batch_size": "all"}, "batch_size must be an integer or \"full\", got 'all'"),
        ({"sample_weight": np.zeros(600)}, "sample_weight is 0 for every row"),
        ({"sample_weight": [1, 2]}, "sample_weight has shape"),
        ({"class_weight": "even"}, 'class_weight must be a dict, an array or "balanced"'),
    ],
)
def test_arguments_that_have_no_meaning(arguments, message):
    with pytest.raises(ValueError, match=message):
        digits(hidden()).diagnose(X, Y, **arguments)


def test_data_that_do_not_fit():
    network = digits(hidden())
    for x, y, message in [
        (X[:, :3], Y, "expects 64 input features"), (X, Y[:5], "X has 600 rows but y has 5"),
        (X[:0], Y[:0], "X has no rows"), (X, Y + 1, "got label 10"), (X, None, "y is None"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            network.diagnose(x, y)
