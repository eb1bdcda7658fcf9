"""Learning rates that change: their formulas, what a network does with them, files."""

import copy
import json
import math
import pickle

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network, files, persistence, schedules

rng = np.random.default_rng(0)
X, LABELS = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)


def network(lr, seed=1, kind=SGD, **options):
    return Network(
        4, Dense(6, "tanh"), Dense(3, "softmax"), optimizer=kind(lr), seed=seed, dtype="float64",
        **options,
    )  # fmt: skip


def fit(net, epochs=3, **options):
    return net.fit(X, LABELS, epochs=epochs, batch_size=8, verbose=False, **options)


# --- Formulas: written as the schedulers of torch walk, from one step to the next -----------------


def walk(first, following, n=60):
    rates = [first]
    for t in range(1, n):
        rates.append(following(t, rates[-1]))
    return rates


def cosine(t, steps, high, low):
    return low + (high - low) * (1 + math.cos(math.pi * t / steps)) / 2


def restarts(n, steps, factor, high, low):
    rates, since = [], 0
    for _ in range(n):
        rates.append(cosine(since, steps, high, low))
        since += 1
        if since == steps:
            since, steps = 0, steps * factor
    return rates


def triangle(n, low, high, up, down, scale):
    rates = []
    for t in range(n):
        cycle, within = divmod(t, up + down)
        part = within / up if within <= up else 1 - (within - up) / down
        rates.append(low + (high - low) * part * scale(cycle, t))
    return rates


def one_cycle(n, steps, phases, between):
    """phases: (end, from, to)."""
    rates, begin = [], 0.0
    for t in range(n):
        begin = 0.0
        for end, start, stop in phases:
            if t <= end:
                rates.append(between(start, stop, (t - begin) / (end - begin)))
                break
            begin = end
    return rates


def cos_between(a, b, part):
    return b + (a - b) / 2 * (1 + math.cos(math.pi * part))


N = 60
FORMULAS = [
    (schedules.Constant(0.3), [0.3] * N),
    (schedules.Constant(0.3, 1 / 3, 5), [0.1] * 5 + [0.3] * 55),
    (schedules.Step(0.3, 7, 0.5), walk(0.3, lambda t, r: r * 0.5 if t % 7 == 0 else r)),
    (schedules.MultiStep(0.3, [3, 9, 9, 30], 0.5),
     walk(0.3, lambda t, r: r * {3: 0.5, 9: 0.25, 30: 0.5}.get(t, 1))),
    (schedules.Exponential(0.3, 0.9), walk(0.3, lambda t, r: r * 0.9)),
    (schedules.Linear(0.3), [0.3 * (1 / 3 + min(t, 5) / 5 * 2 / 3) for t in range(N)]),
    (schedules.Linear(0.3, 20, 1.0, 0.1),
     walk(0.3, lambda t, r: r - 0.3 * 0.9 / 20 if t <= 20 else r)),
    (schedules.Polynomial(0.3), [0.3, 0.24, 0.18, 0.12, 0.06] + [0.0] * 55),
    (schedules.Polynomial(0.3, 40, 2.0), [0.3 * (1 - min(t, 40) / 40) ** 2 for t in range(N)]),
    (schedules.Cosine(0.3, 50, 0.01), [cosine(min(t, 50), 50, 0.3, 0.01) for t in range(N)]),
    (schedules.WarmRestarts(0.3, 7, 1, 0.01), restarts(N, 7, 1, 0.3, 0.01)),
    (schedules.WarmRestarts(0.3, 7, 2, 0.01), restarts(N, 7, 2, 0.3, 0.01)),
    (schedules.Cyclic(0.01, 0.3, 8), triangle(N, 0.01, 0.3, 8, 8, lambda c, t: 1)),
    (schedules.Cyclic(0.01, 0.3, 8, 5, "triangular2"),
     triangle(N, 0.01, 0.3, 8, 5, lambda c, t: 0.5**c)),
    (schedules.Cyclic(0.01, 0.3, 8, 5, "exp_range", 0.97),
     triangle(N, 0.01, 0.3, 8, 5, lambda c, t: 0.97**t)),
    (schedules.OneCycle(0.3, N),
     one_cycle(N, N, [(17, 0.012, 0.3), (59, 0.3, 1.2e-6)], cos_between)),
    (schedules.OneCycle(0.3, N, 0.2, "linear", 10.0, 100.0),
     one_cycle(N, N, [(11, 0.03, 0.3), (59, 0.3, 3e-4)], lambda a, b, p: a + (b - a) * p)),
    (schedules.OneCycle(0.3, N, three_phase=True),
     one_cycle(N, N, [(17, 0.012, 0.3), (34, 0.3, 0.012), (59, 0.012, 1.2e-6)], cos_between)),
    (schedules.InverseScaling(0.3), [0.3 / math.sqrt(t + 1) for t in range(N)]),
    (schedules.InverseScaling(0.3, 1.0), [0.3 / (t + 1) for t in range(N)]),
    (schedules.WarmUp(0.3, 10), [0.3 * (0.1 + 0.9 * min(t, 10) / 10) for t in range(N)]),
    (schedules.WarmUp(schedules.Cosine(0.3, 50), 10, 0.0),
     [0.03 * t for t in range(10)] + [cosine(t, 50, 0.3, 0) for t in range(50)]),
    (schedules.WarmUp(lambda t: 0.3 / (1 + t), 4, 0.5),
     [0.15, 0.1875, 0.225, 0.2625] + [0.3 / (1 + t) for t in range(56)]),
]  # fmt: skip
IDS = [repr(schedule)[:60] for schedule, _ in FORMULAS]


@pytest.mark.parametrize(("schedule", "want"), FORMULAS, ids=IDS)
def test_formulas(schedule, want):
    assert len(want) == N
    np.testing.assert_allclose([schedule(t) for t in range(N)], want, rtol=1e-12, atol=1e-17)
    state = schedule.start()
    np.testing.assert_allclose(schedule.rates(state, 0, N, 0), want, rtol=1e-12, atol=1e-17)
    halves = [schedule.rates(state, first, 20, 0) for first in (0, 20, 40)]
    np.testing.assert_array_equal(np.concatenate(halves), schedule.rates(state, 0, N, 0))


BY_EPOCH = [s for s, _ in FORMULAS if not isinstance(s, schedules.WarmUp)]


@pytest.mark.parametrize("schedule", BY_EPOCH, ids=lambda s: repr(s)[:60])
def test_by_epoch(schedule):
    """The rate of an epoch is the one that has the epoch's number as time."""
    slow = copy.copy(schedule)
    slow.per = "epoch"
    assert slow != schedule and "per='epoch'" in repr(slow)
    for epochs in (0, 1, 7):
        assert slow.rates({}, 1000, 5, epochs).tolist() == [schedule(epochs)] * 5


def test_what_stays_after_the_end():
    assert schedules.Cosine(0.1, 10, 0.02)(1000) == pytest.approx(0.02, rel=1e-12)
    assert schedules.OneCycle(0.1, 10)(1000) == pytest.approx(0.1 / 25 / 1e4, rel=1e-12)
    assert schedules.Linear(0.1, 10, 1.0, 0.5)(1000) == pytest.approx(0.05, rel=1e-12)
    assert schedules.Polynomial(0.1, 10)(1000) == 0


def plateau(values, lr=0.3, name="loss", **options):
    schedule = schedules.OnPlateau(lr, **options)
    state, rates = schedule.start(), []
    for value in values:
        rates.append(schedule.rates(state, 0, 1, 0)[0])
        schedule.end_epoch(state, {name: value})
        schedule.check_state(state)
    return rates


def test_on_plateau_by_hand():
    # best 5, 4; then 4 bad ones: the rate falls after more than 2
    assert plateau([5, 4, 4, 4, 4, 4, 4, 4], patience=2, factor=0.5, lr=1.0) == [
        1, 1, 1, 1, 1, 0.5, 0.5, 0.5]  # fmt: skip
    # within the threshold is not better
    assert plateau([5, 4.9999, 4.9998, 1, 1], patience=0, factor=0.5, lr=1.0) == [
        1, 1, 0.5, 0.25, 0.25]  # fmt: skip
    assert plateau([5, 4.95, 4, 4], patience=0, factor=0.5, lr=1.0, threshold=0.1,
                   threshold_mode="abs") == [1, 1, 0.5, 0.5]  # fmt: skip
    # cooldown: two epochs do not count
    assert plateau([1] * 7, patience=0, factor=0.5, lr=1.0, cooldown=2) == [
        1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]  # fmt: skip
    assert plateau([1] * 5, patience=0, factor=0.5, lr=1.0, lr_min=0.4) == [1, 1, 0.5, 0.4, 0.4]
    # an accuracy rises
    assert plateau([0.5, 0.6, 0.5, 0.7], patience=0, factor=0.5, lr=1.0, name="val_accuracy",
                   monitor="val_accuracy") == [1, 1, 1, 0.5]  # fmt: skip
    assert plateau([math.nan, math.inf, 1, 2], patience=1, factor=0.5, lr=1.0) == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize("options", [
    {}, {"patience": 1}, {"patience": 2, "cooldown": 3, "factor": 0.5, "min_lr": 1e-3},
    {"threshold_mode": "abs", "threshold": 0.1, "patience": 1}])  # fmt: skip
def test_on_plateau_of_torch(options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.3)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    values = np.random.default_rng(1).normal(size=100) ** 2 + 2 / np.arange(1, 101)
    want = []
    for value in values:
        want.append(optimizer.param_groups[0]["lr"])
        theirs.step(float(value))
    ours = {{"min_lr": "lr_min"}.get(k, k): v for k, v in options.items()}
    assert plateau(values, **ours) == want


# --- What a network does with one -----------------------------------------------------------------


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_each_update_has_its_rate(kind, backend):
    """As if the rate of a number were set before each batch."""
    schedule = schedules.Cyclic(0.01, 0.2, 3)
    a, b = network(schedule, kind=kind, backend=backend), network(0.5, kind=kind, backend=backend)
    fit(a, 2, shuffle=False)
    for t in range(14):
        rows = slice(t % 7 * 8, t % 7 * 8 + 8)
        b.optimizer.lr = schedule(t)
        b.partial_fit(X[rows], LABELS[rows])
    np.testing.assert_array_equal(a.theta, b.theta)


def test_online_rows_have_their_rates():
    a, b = network(schedules.InverseScaling(0.5)), network(0.1)
    a.fit(X, LABELS, batch_size=1, shuffle=False, verbose=False)
    for t in range(50):
        b.optimizer.lr = 0.5 / math.sqrt(t + 1)
        b.partial_fit(X[t : t + 1], LABELS[t : t + 1])
    np.testing.assert_array_equal(a.theta, b.theta)


def test_history_has_the_rate():
    history = fit(network(schedules.Step(0.4, 7, 0.5)), 3)
    assert history["lr"] == [0.4, 0.2, 0.1]
    assert "lr" not in fit(network(0.1))
    history = fit(network(schedules.Exponential(0.4, 0.5, per="epoch")), 3)
    assert history["lr"] == [0.4, 0.2, 0.1]


def test_a_function():
    asked = []

    def rate(t):
        asked.append(t)
        return 0.1 / (1 + t)

    net = network(rate)
    assert isinstance(net.optimizer.lr, schedules.Function)
    fit(net, 2)
    assert asked == list(range(14))
    same = network(schedules.InverseScaling(0.1, 1.0))
    fit(same, 2)
    np.testing.assert_allclose(net.theta, same.theta, rtol=1e-12)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, "fast", None])
def test_a_function_that_gives_no_rate(bad):
    net = network(lambda t: bad if t == 9 else 0.1)
    fit(net, 1)
    before = net.theta.copy()
    with pytest.raises(ValueError, match=r"<lambda>\(9\) must be a learning rate"):
        fit(net, 1)
    np.testing.assert_array_equal(net.theta, before)
    assert net._engine.n_updates == 7


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("rates", [lambda t: -0.1 - 0 * t, lambda t: t[:0], lambda t: math.nan * t])
def test_a_schedule_of_ones_own_that_gives_no_rates(rates, per):
    class Mine(schedules.Schedule):
        lr: float = 0.1

        def at(self, t):
            return rates(t)

    net = Network(2, Dense(1), optimizer=SGD(Mine(per=per)), seed=0)
    before = net.theta.tobytes()
    with pytest.raises(ValueError, match="at of Mine must return a rate of at least 0 for each"):
        net.fit(np.ones((64, 2)), np.ones(64), verbose=False)
    assert net.theta.tobytes() == before


def test_a_rate_that_overflows():
    net = network(schedules.Exponential(1.0, 1e300))
    with pytest.raises(ValueError, match="gives a rate that is not finite"):
        fit(net)


def test_on_plateau_in_fit():
    """A loss that cannot fall: the targets are what chance gives."""
    schedule = schedules.OnPlateau(0.1, patience=1, factor=0.5, threshold=0.9)
    history = fit(network(schedule), 7)
    assert history["lr"] == [0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025]
    net = network(schedules.OnPlateau(0.1, monitor="val_accuracy"))
    with pytest.raises(ValueError, match="monitors val_accuracy: fit needs validation_data"):
        fit(net)
    fit(net, validation_data=(X, LABELS))
    net = network(schedules.OnPlateau(0.1, monitor="val_accuracy"))
    regressor = Network(4, Dense(1), optimizer=net.optimizer)
    with pytest.raises(ValueError, match="which mse does not have"):
        regressor.fit(X, LABELS, validation_data=(X, LABELS), verbose=False)


def test_on_plateau_watches_the_validation_by_default():
    schedule = schedules.OnPlateau(0.1)
    state = schedule.start()
    schedule.end_epoch(state, {"loss": 1.0, "val_loss": 2.0})
    assert state["best"] == 2.0
    schedule.end_epoch(state, {"loss": 0.5})
    assert state["best"] == 0.5


def test_an_optimizer_given_anew_starts_anew():
    net = network(schedules.Step(0.4, 7, 0.5))
    fit(net, 2)
    net.optimizer = SGD(schedules.Step(0.4, 7, 0.5))
    assert fit(net, 1)["lr"] == [0.4]


# --- Copies and files -----------------------------------------------------------------------------

SAVED = [s for s, _ in FORMULAS if not (isinstance(s, schedules.WarmUp) and callable(s.after) and
         isinstance(s.after, schedules.Function))] + [
    schedules.OnPlateau(0.2, patience=0, factor=0.5, threshold=0.5),
    schedules.WarmUp(schedules.OnPlateau(0.2, patience=0, factor=0.5, threshold=0.5), 9),
    schedules.Exponential(0.2, 0.5, per="epoch"),
]  # fmt: skip


@pytest.mark.parametrize("schedule", SAVED, ids=lambda s: repr(s)[:60])
@pytest.mark.parametrize("way", ["file", "copy", "pickle"])
def test_it_goes_on_where_it_was(schedule, way, tmp_path):
    whole, halves = (network(copy.copy(schedule)) for _ in range(2))
    fit(whole, 3)
    expected = fit(whole, 3)
    fit(halves, 3)
    if way == "file":
        halves.save(tmp_path / "m")
        again = nncore.load(tmp_path / "m")
    else:
        again = halves.copy() if way == "copy" else pickle.loads(pickle.dumps(halves))
    assert again.optimizer == halves.optimizer
    history = fit(again, 3)
    assert history["lr"] == expected["lr"] and history["loss"] == expected["loss"]
    np.testing.assert_array_equal(again.theta, whole.theta)


def test_a_function_is_copied_but_not_saved(tmp_path):
    net = network(lambda t: 0.1 / (1 + t))
    fit(net)
    again = net.copy()
    fit(net), fit(again)
    np.testing.assert_array_equal(again.theta, net.theta)
    with pytest.raises(ValueError, match="is a function, .* which a file cannot hold"):
        net.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    net.optimizer.lr = 0.1
    net.save(tmp_path / "m")
    assert nncore.load(tmp_path / "m").optimizer == SGD(0.1)


def test_states_that_a_file_may_not_hold(tmp_path):
    net = network(schedules.OnPlateau(0.2))
    fit(net)
    tensors, metadata = files.from_bytes(persistence.to_bytes(net))

    def changed(edit):
        description = json.loads(metadata["nncore"])
        edit(description)
        return files.to_bytes(tensors, {"nncore": json.dumps(description)})

    assert persistence.from_bytes(changed(lambda d: None))._epochs == 3
    for key, values in {
        "lr": [-1.0, "a", None, 1], "best": ["a", []], "bad": [-1, 0.5, True, None],
        "cooling": [1 << 70],
    }.items():  # fmt: skip
        for value in values:
            data = changed(lambda d, key=key, value=value: d["schedule"].update({key: value}))
            with pytest.raises(files.FileFormatError):
                persistence.from_bytes(data)
    edits = [
        lambda d: d.update(schedule=[1]), lambda d: d.update(schedule={"x": 1}),
        lambda d: d.update(epochs=-1), lambda d: d.update(averaged="1"),
        lambda d: d["config"]["optimizer"].update(lr={"type": "Sine"}),
        lambda d: d["config"]["optimizer"].update(lr={"lr": 0.1}),
        lambda d: d["config"]["optimizer"].update(lr={"type": "Cosine", "lr": 0.1}),
        lambda d: d["config"]["optimizer"].update(lr=0.1),
    ]  # fmt: skip
    for edit in edits:
        with pytest.raises(files.FileFormatError):
            persistence.from_bytes(changed(edit))


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: schedules.Cosine(), "Cosine needs lr"),
        (lambda: schedules.Cosine(0.1), "Cosine needs steps"),
        (lambda: schedules.Step(0.1, 2, 3, 4), "Step takes at most 3 arguments"),
        (lambda: schedules.Step(0.1, 2, lr=1), "Step got two values for lr"),
        (lambda: schedules.Step(0.1, 2, gama=1), "Step has no argument 'gama'. Known: lr, step_s"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(TypeError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: schedules.Cosine(-1, 5), "lr of Cosine must be positive and finite, got -1.0"),
        (lambda: schedules.Cosine("a", 5), "lr of Cosine must be a number, got 'a'"),
        (lambda: schedules.Cosine(0.1, 0), "steps of Cosine must be an integer of at least 1"),
        (lambda: schedules.Cosine(0.1, 2.5), "steps of Cosine must be an integer of at least 1"),
        (lambda: schedules.Cosine(0.1, 5, 0.2), "lr_min of Cosine must be at most lr"),
        (lambda: schedules.Cosine(0.1, 5, per="day"), 'per of Cosine must be one of "step", "epoc'),
        (lambda: schedules.MultiStep(0.1, [3, 2]), "milestones of MultiStep must be integers"),
        (lambda: schedules.MultiStep(0.1, 3), "milestones of MultiStep must be a list"),
        (lambda: schedules.OneCycle(0.1, 10, 1.5), "pct_start of OneCycle must be in"),
        (lambda: schedules.Cyclic(0.1, 0.01), "lr_max of Cyclic must be finite and at least lr"),
        (lambda: schedules.OnPlateau(0.1, 1.5), r"factor of OnPlateau must be in \(0, 1\)"),
        (lambda: schedules.WarmUp(schedules.Cosine(0.1, 5), 0), "steps of WarmUp must be an int"),
        (lambda: schedules.WarmUp("a", 3), "after of WarmUp must be a positive rate, .* got 'a'"),
        (lambda: SGD("a"), "lr of SGD must be a number, a schedule or a function"),
    ],
)
def test_wrong_values(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_attributes_are_checked():
    schedule = schedules.Cosine(0.1, 5)
    with pytest.raises(ValueError, match="steps of Cosine"):
        schedule.steps = 0
    with pytest.raises(AttributeError, match="Cosine has no attribute 'step' to set. Known: lr"):
        schedule.step = 3
    assert schedule == schedules.Cosine(0.1, 5) != schedules.Cosine(0.1, 6)
    schedule.steps = np.int64(7)
    assert schedule.config() == {"type": "Cosine", "lr": 0.1, "steps": 7, "lr_min": 0.0}
