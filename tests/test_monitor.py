"""Monitor: what it records, that it changes nothing, and that it keeps to its share of the time."""

import copy
import math

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Initializer, Monitor, Network

X, Y = nncore.datasets.load_digits()
X, Y = X[:300] / 16, Y[:300]


def digits(*layers, **options):
    layers = layers or (Dense(16, "relu"),)
    return Network(64, *layers, Dense(10, "softmax"), seed=0, **options)


def fit(net, monitor, epochs=4, **options):
    return net.fit(X, Y, epochs=epochs, verbose=False, callbacks=[monitor], **options)


def recorded(history):
    return {name: values for name, values in history.items() if name.startswith("layers[")}


def test_names():
    block = nncore.Residual(Dense(8, "tanh"), Dense(16))
    net = Network(64, Dense(16, "relu"), block, nncore.BatchNorm(), Dense(10, "softmax"), seed=0)
    history = fit(net, Monitor(every=1))
    of_units = ["slope", "saturated", "dead", "gradient_norm", "update_ratio"]
    expected = [f"layers[0].{name}" for name in of_units]
    for i in range(2):
        expected += [f"layers[1].layers[{i}].{name}" for name in of_units]
    for i in (2, 3):
        expected += [f"layers[{i}].{name}" for name in of_units[3:]]
    assert list(recorded(history)) == expected
    for values in recorded(history).values():
        assert len(values) == 4 and all(type(v) is float and math.isfinite(v) for v in values)
    assert "layers[" not in repr(history)


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_numbers_are_those_of_a_diagnosis(backend):
    """Of all rows; the update is that of the epoch."""
    net, twin = (digits(Dense(12, "tanh"), backend=backend) for _ in range(2))
    history = fit(net, Monitor(rows=1000, every=1), epochs=2)
    for epoch in range(2):
        before = twin.theta.copy()
        twin.fit(X, Y, verbose=False)
        for number, place in zip(
            twin.diagnose(X, Y).layers, (slice(0, 64 * 12 + 12), slice(64 * 12 + 12, None)),
            strict=True,
        ):  # fmt: skip
            for name in ("slope", "saturated", "dead", "gradient_norm"):
                if number.activation != "softmax" or name == "gradient_norm":
                    assert history[f"{number.name}.{name}"][epoch] == pytest.approx(
                        getattr(number, name), rel=1e-4
                    )
            change = np.linalg.norm(twin.theta[place] - before[place])
            expected = change / np.linalg.norm(before[place]) / 10  # updates of an epoch
            found = history[f"{number.name}.update_ratio"][epoch]
            assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("optimizer", [Adam(), SGD(0.1, momentum=0.9), "lbfgs", "irprop+"])
def test_training_has_the_same_bits(optimizer):
    layers = [Dense(8, "tanh")]
    if isinstance(optimizer, nncore.Optimizer):
        layers += [nncore.BatchNorm(), nncore.Dropout(0.3)]
    plain, watched = digits(*layers, optimizer=optimizer), digits(*layers, optimizer=optimizer)
    expected = plain.fit(X, Y, epochs=4, verbose=False)
    history = fit(watched, Monitor(every=2))
    assert watched.theta.tobytes() == plain.theta.tobytes()
    assert watched._engine.state.tobytes() == plain._engine.state.tobytes()
    assert watched._engine.draws == plain._engine.draws
    assert watched._rng.bit_generator.state == plain._rng.bit_generator.state
    assert all(history[name] == values for name, values in expected.items())
    for values in recorded(history).values():
        assert [math.isnan(value) for value in values] == [False, True, False, True]


def test_updates_are_counted_where_no_epoch_is_whole():
    """One update per epoch: what is recorded is that update."""
    net, twin = digits(optimizer=SGD(0.1)), digits(optimizer=SGD(0.1))
    history = fit(net, Monitor(rows=300, every=1), epochs=1, batch_size="full")
    number = twin.diagnose(X, Y, batch_size=300).layers[0]
    assert history["layers[0].update_ratio"][0] == pytest.approx(number.update_ratio, rel=1e-4)


def test_changes_of_other_callbacks_are_no_updates():
    class Double(nncore.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.network.theta *= 2

    history = digits(optimizer=SGD(1e-6)).fit(
        X, Y, epochs=3, verbose=False, callbacks=[Monitor(every=1), Double()]
    )
    assert max(history["layers[0].update_ratio"]) < 1e-4


def test_rows_of_weight_0_are_not_looked_at():
    w = (np.arange(300) % 3 == 0).astype(float)
    kept = w > 0
    a, b = digits(), digits()
    first = fit(a, Monitor(rows=50, every=1), epochs=1, sample_weight=w, shuffle=False,
                batch_size="full")  # fmt: skip
    second = b.fit(X[kept], Y[kept], verbose=False, callbacks=[Monitor(rows=50, every=1)],
                   shuffle=False, batch_size="full")  # fmt: skip
    for name, values in recorded(first).items():
        assert values == pytest.approx(second[name], rel=1e-4), name


# ---- findings ----


def test_findings_come_once_with_their_epoch():
    net = digits(Dense(16, "tanh", init=Initializer("normal", std=30)), optimizer=SGD(1e-3))
    monitor = Monitor(every=1)
    fit(net, monitor)
    found = [(f.code, f.layer, f.epoch) for f in monitor.findings]
    assert ("saturated", "layers[0]", 0) in found or ("dead_units", "layers[0]", 0) in found
    assert len(found) == len({each[:2] for each in found})
    fit(digits(), monitor)
    assert monitor.findings == []  # of the last training


def test_units_that_stay_equal_are_seen():
    monitor, net = Monitor(every=1), digits(optimizer=SGD(0.1))
    net.theta[:] = 0
    fit(net, monitor)
    [finding] = monitor.findings
    assert (finding.code, finding.layer, finding.epoch) == ("symmetric_units", "layers[0]", 0)


def test_units_that_die_in_training_are_seen():
    net = digits(Dense(16, "relu"), optimizer=SGD(0.05))

    class Kill(nncore.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.network.layers[0].b = -100

    monitor = Monitor(every=1)
    history = net.fit(X, Y, epochs=4, verbose=False, callbacks=[Kill(), monitor])
    [finding] = [f for f in monitor.findings if f.code == "dead_units"]
    assert (finding.layer, finding.epoch, finding.severity) == ("layers[0]", 2, "error")
    assert history["layers[0].dead"][2:] == [16.0, 16.0] and history["layers[0].dead"][1] < 16
    assert history["layers[0].gradient_norm"][3] == 0


def test_too_large_a_rate_is_seen():
    monitor = Monitor(every=1)
    fit(digits(optimizer=Adam(3.0)), monitor, epochs=1, batch_size="full")
    assert "large_updates" in [f.code for f in monitor.findings]


def test_many_small_updates_are_not_too_small():
    """Online: each moves the weights by a millionth, all of them move them well."""
    net, monitor = digits(optimizer=SGD(1e-5)), Monitor(every=1)
    history = fit(net, monitor, epochs=1, batch_size=1)
    assert max(history["layers[0].update_ratio"]) < 1e-5 and monitor.findings == []
    fit(digits(optimizer=SGD(1e-9)), monitor, epochs=1, batch_size=1)
    assert [finding.code for finding in monitor.findings] == ["small_updates"]


def test_with_full_batch_trainers():
    history = fit(digits(optimizer="lbfgs"), Monitor(every=1), epochs=6)
    assert all(ratio > 0 for ratio in history["layers[0].update_ratio"])


# ---- how much it takes ----


class Clock:
    """A clock by which training an epoch takes 1 s, and a look as long as is said."""

    def __init__(self, monitor, looks):
        self.now, self.looks, self.monitor = 0.0, looks, monitor
        monitor._clock = lambda: self.now
        self.look = monitor._look
        monitor._look = self.slowly

    def slowly(self):
        self.now += self.looks(self.monitor.looks)
        return self.look()


class Epochs(nncore.Callback):
    """Makes ``history.seconds`` the number of epochs, and watches the share."""

    def __init__(self, monitor):
        self.monitor, self.taken = monitor, []

    def on_epoch_end(self, epoch, logs=None):
        self.history.seconds = epoch + 1.0
        self.taken.append(self.monitor.seconds)


@pytest.mark.parametrize(
    ("look", "epochs"),
    [
        (lambda n: 0.001, 30),  # every epoch
        (lambda n: 0.5, 100),  # every tenth
        (lambda n: 3.0, 100),
        (lambda n: 0.1 * (n + 1), 200),  # dearer and dearer
    ],
)
def test_it_keeps_to_its_share(look, epochs):
    monitor = Monitor()
    Clock(monitor, look)
    watch = Epochs(monitor)
    history = digits(Dense(2, "tanh")).fit(
        X[:32], Y[:32], epochs=epochs, verbose=False, callbacks=[watch, monitor]
    )
    slopes = history["layers[0].slope"]
    looks = [i for i, value in enumerate(slopes) if not math.isnan(value)]
    assert looks[0] == 0 and len(looks) == monitor.looks and len(slopes) == epochs
    costs = [look(n) for n in range(monitor.looks)]
    assert monitor.seconds == pytest.approx(sum(costs))
    # at any time at most the share, and one look
    for epoch, taken in enumerate(watch.taken, 1):
        assert taken <= 0.05 * epoch + max(costs)
    if len(looks) > 1:
        before = sum(costs[:-1])
        assert before + costs[-2] <= 0.05 * epochs
    # and not much less: it looks when it may
    assert monitor.seconds + max(costs) >= min(0.05 * (epochs - 2), 0.001 * epochs)


def test_a_look_is_one_gradient_and_one_forward_pass(monkeypatch):
    """Its cost in rows, whatever the size of the data: `rows` forward and `rows` of a gradient."""
    from nncore.views.diagnosing import measures

    forward, gradient = [], []
    run = measures._forward
    norms = measures.loss_and_gradient
    monkeypatch.setattr(
        measures, "_forward",
        lambda network, layers, x, found: (forward.append(len(x)),
                                           run(network, layers, x, found))[1],
    )  # fmt: skip
    monkeypatch.setattr(
        measures, "loss_and_gradient",
        lambda network, x, *rest: (gradient.append(len(x)), norms(network, x, *rest))[1],
    )  # fmt: skip
    monitor = Monitor(rows=40, every=3)
    fit(digits(), monitor, epochs=7)
    assert forward == gradient == [40, 40, 40] and monitor.looks == 3
    assert Monitor().rows == 256


def test_epochs_without_a_look_add_nothing_to_the_logs():
    seen = []

    class See(nncore.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(len(logs))

    digits().fit(X, Y, epochs=4, verbose=False, callbacks=[Monitor(every=3), See()])
    assert seen[1] == seen[2] == 1 < seen[0] == seen[3]


# ---- form and errors ----


def test_it_lets_go_of_the_data():
    monitor = Monitor()
    fit(digits(), monitor)
    assert monitor._samples is monitor._before is monitor.data is None
    copy.deepcopy(monitor)


def test_how_it_is_shown():
    assert repr(Monitor()) == "Monitor(256, share=0.05)"
    assert repr(Monitor(64, every=10)) == "Monitor(64, share=0.05, every=10)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, "rows of Monitor must be an integer of at least 1, got 0"),
        ({"every": 0.5}, "every of Monitor must be an integer of at least 1, got 0.5"),
        ({"share": 0}, "share of Monitor must be a number above 0, got 0"),
        ({"share": math.nan}, "share of Monitor must be a number above 0, got nan"),
        ({"share": "some"}, "share of Monitor must be a number above 0, got 'some'"),
    ],
)
def test_arguments_that_have_no_meaning(arguments, message):
    with pytest.raises(ValueError, match=message):
        Monitor(**arguments)
