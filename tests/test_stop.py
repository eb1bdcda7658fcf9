"""Stop: each condition ends a fit exactly where it is met, and the history says which."""

import math

import numpy as np
import pytest

import nncore
from nncore import SGD, Dense, GradientDescent, Network, Stop
from nncore.stopping import Watch

X = np.linspace(-1, 1, 21)[:, None]
Y = np.sin(np.pi * X)
V, W = X[::2] + 0.03, np.sin(np.pi * X[::2]) + 0.1


def network(optimizer="lbfgs", seed=0):
    return Network(
        1, Dense(6, "tanh"), Dense(1), optimizer=optimizer, seed=seed, dtype="float64"
    )  # fmt: skip


def fit(stop, optimizer="lbfgs", epochs=300, validated=False):
    net = network(optimizer)
    data = (V, W) if validated else None
    return net, net.fit(X, Y, epochs=epochs, verbose=False, stop=stop, validation_data=data)


def first(values, condition):
    """How many epochs until a value meets a condition."""
    return next(i for i, value in enumerate(values, 1) if condition(value))


# ---- conditions of the training ----


def test_without_a_condition_the_epochs_are_done():
    for stop in (None, Stop(), Stop(loss=0.0)):
        _, history = fit(stop, epochs=5)
        assert history.stop_reason == "epochs" and len(history["loss"]) == 5


def test_loss():
    _, whole = fit(None)
    _, history = fit(Stop(loss=1e-3))
    assert history.stop_reason == "loss"
    assert len(history["loss"]) == first(whole["loss"], lambda v: v <= 1e-3) < 300
    assert history["loss"] == whole["loss"][: len(history["loss"])]


def test_loss_of_an_optimizer_of_batches():
    net = network("adam")
    history = net.fit(X, Y, epochs=2000, verbose=False, stop=Stop(loss=0.2))
    assert history.stop_reason == "loss"
    assert history["loss"][-1] <= 0.2 < min(history["loss"][:-1])


def test_gradient():
    _, history = fit(Stop(gradient=1e-2))
    assert history.stop_reason == "gradient"
    assert history["gradient_norm"][-1] <= 1e-2 < min(history["gradient_norm"][:-1])


@pytest.mark.parametrize("optimizer", ["lbfgs", "sgd"])
def test_step(optimizer):
    net = network(optimizer)
    path = [net.theta.copy()]
    for _ in range(40):
        net.fit(X, Y, epochs=1, verbose=False)
        path.append(net.theta.copy())
    steps = [float(np.linalg.norm(b - a)) for a, b in zip(path, path[1:], strict=False)]
    goal = sorted(steps)[3]
    _, history = fit(Stop(step=goal), optimizer)
    assert history.stop_reason == "step"
    assert len(history["loss"]) == first(steps, lambda v: v <= goal)


def test_a_refused_step_is_no_short_one():
    """Gradient descent with a rate that is much too large refuses its first steps."""
    optimizer = GradientDescent(lr=1e4, adaptive=True)
    net, history = fit(Stop(step=1e-9), optimizer, epochs=30)
    assert history.stop_reason == "epochs"
    assert 0 < history.n_steps < 30


def test_evaluations():
    _, history = fit(Stop(evaluations=20))
    assert history.stop_reason == "evaluations"
    assert history["evaluations"][-1] >= 20 > history["evaluations"][-2]
    net, _ = fit(None, epochs=10)  # they are those of one fit
    more = net.fit(X, Y, epochs=300, verbose=False, stop=Stop(evaluations=5))
    assert more["evaluations"][-1] >= 5 > more["evaluations"][0] > 1


def test_seconds():
    _, history = fit(Stop(seconds=0))
    assert history.stop_reason == "seconds" and len(history["loss"]) == 1
    _, history = fit(Stop(seconds=3600), epochs=3)
    assert history.stop_reason == "epochs"
    net = network("sgd")
    history = net.fit(X, Y, epochs=10**8, verbose=False, stop=Stop(seconds=0.05))
    assert history.stop_reason == "seconds" and len(history["loss"]) > 1


def test_minimum_and_mu_max():
    for optimizer, reason in (("cg", "minimum"), ("scg", "minimum"), ("bfgs", "minimum"),
                              ("lm", "mu_max")):  # fmt: skip
        net = Network(1, Dense(1), optimizer=optimizer, seed=0, dtype="float64")
        history = net.fit(X, Y, epochs=3000, verbose=False, stop=Stop(loss=0.0))
        assert history.stop_reason == reason, optimizer
        assert history.n_steps == len(history["loss"]) - 1
        assert history["gradient_norm"][-1] < 1e-6
        # a trainer that can do nothing more is the reason, not that its step was 0
        net = Network(1, Dense(1), optimizer=optimizer, seed=0, dtype="float64")
        history = net.fit(X, Y, epochs=3000, verbose=False, stop=Stop(step=0.0))
        assert history.stop_reason == reason, optimizer


def test_the_history_of_a_trainer_that_is_stuck_at_once():
    net = Network(1, Dense(1), optimizer=nncore.LevenbergMarquardt(mu=1.0, mu_max=1.0), seed=0)
    net.fit(X, Y, epochs=100, verbose=False)
    net.optimizer = net.optimizer  # starts afresh
    history = net.fit(X, Y, epochs=100, verbose=False)
    assert history.stop_reason == "mu_max" and "mu 1" in repr(history)


# ---- conditions of the validation ----


def prescribed(losses, stop, training=None):
    """When a `Watch` ends a fit whose validation losses are these, and why."""
    net = network()
    watch, history = Watch(stop, net), nncore.History()
    for i, loss in enumerate(losses, 1):
        train = training[i - 1] if training else 1 / i
        history.append(loss=train, val_loss=loss)
        net.theta[:] = i
        if watch.is_over(history):
            return i, history.stop_reason, watch, net
    return None, history.stop_reason, watch, net


def test_max_fail():
    losses = [5, 4, 4, 3, 3.5, 3, 3.2, 2, 2]
    assert prescribed(losses, Stop(max_fail=3))[:2] == (7, "max_fail")
    assert prescribed(losses, Stop(max_fail=1))[:2] == (3, "max_fail")
    assert prescribed(losses, Stop(max_fail=4))[0] is None
    assert prescribed([1, math.nan, math.nan], Stop(max_fail=2))[0] == 3


def test_generalization_loss():
    """GL = 100 (E / E_opt - 1): 3 is 50 % above 2."""
    losses = [4, 2, 2.5, 3, 4]
    assert prescribed(losses, Stop(generalization_loss=49))[:2] == (4, "generalization_loss")
    assert prescribed(losses, Stop(generalization_loss=50))[0] == 5  # above, not at least
    assert prescribed(losses, Stop(generalization_loss=24))[0] == 3
    assert prescribed([-1, -2, -1], Stop(generalization_loss=1))[0] is None  # no percents there


def test_progress():
    """P_k = 1000 (mean / lowest - 1) of the training losses of a strip."""
    losses = [8, 6, 4, 3, 2.2, 2, 2.001, 2.002, 2.003]
    for stop, want in ((Stop(progress=1.1, strip=3), 9), (Stop(progress=0.4, strip=3), None),
                       (Stop(progress=51, strip=2), 6)):  # fmt: skip
        assert prescribed([1] * 9, stop, losses)[0] == want
        if want:
            strip = losses[want - stop.strip : want]
            assert 1000 * (np.mean(strip) / min(strip) - 1) < stop.progress
    net = network()
    history = net.fit(X, Y, epochs=4000, verbose=False, stop=Stop(progress=0.5, strip=4))
    assert history.stop_reason == "progress" and len(history["loss"]) % 4 == 0
    strips = np.reshape(history["loss"], (-1, 4))
    P = 1000 * (strips.mean(axis=1) / strips.min(axis=1) - 1)
    assert P[-1] < 0.5 <= P[:-1].min()


def test_progress_quotient():
    """PQ = GL / P_k at the end of each strip."""
    training = [10, 9, 8, 7, 6.9, 6.8]
    losses = [5, 4, 5, 6, 6, 6]
    GL = 50.0
    P = 1000 * (np.mean(training[3:]) / 6.8 - 1)
    stop = Stop(progress_quotient=GL / P - 0.1, strip=3)
    assert prescribed(losses, stop, training)[:2] == (6, "progress_quotient")
    assert prescribed(losses, Stop(progress_quotient=GL / P + 0.1, strip=3), training)[0] is None
    # no progress at all, and a loss above the lowest: as large as can be
    assert prescribed([1, 2], Stop(progress_quotient=1e9, strip=2), [3, 3])[0] == 2
    assert prescribed([1, 1], Stop(progress_quotient=0, strip=2), [3, 3])[0] is None


def test_conditions_on_validation_in_a_fit():
    """The validation data are shifted, so fitting the training data well makes them worse."""
    for stop in (Stop(max_fail=5), Stop(generalization_loss=1.0),
                 Stop(progress_quotient=0.05, strip=5)):  # fmt: skip
        net, history = fit(stop, validated=True)
        assert history.stop_reason == stop.needs_validation
        best = min(history["val_loss"])
        assert history["val_loss"][-1] > best
        assert net.evaluate(V, W)["loss"] == pytest.approx(best, rel=1e-12)
        assert net._memory is None  # of another place


def test_restore_best():
    net, history = fit(Stop(max_fail=5), validated=True)
    at = int(np.argmin(history["val_loss"])) + 1
    twin = network()
    twin.fit(X, Y, epochs=at, verbose=False)
    assert net.theta.tobytes() == twin.theta.tobytes()
    left, history = fit(Stop(max_fail=5, restore_best=False), validated=True)
    assert left.evaluate(V, W)["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-12)
    # also where something else ended it
    net, history = fit(Stop(max_fail=1000), epochs=len(history["loss"]), validated=True)
    assert history.stop_reason == "epochs" and net.theta.tobytes() == twin.theta.tobytes()
    net.fit(X, Y, epochs=3, verbose=False)  # and it goes on from there


def test_restore_best_puts_back_running_statistics():
    net = Network(1, Dense(4, "tanh"), nncore.BatchNorm(), Dense(1), optimizer=SGD(0.5), seed=0)
    stop = Stop(max_fail=3)
    history = net.fit(X, Y, epochs=500, verbose=False, stop=stop, validation_data=(V, W))
    assert history.stop_reason == "max_fail"
    assert net.evaluate(V, W)["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-6)


def test_the_first_condition_in_order_is_the_reason():
    _, history = fit(Stop(loss=1e9, gradient=1e9, step=1e9, evaluations=1, seconds=0))
    assert history.stop_reason == "loss"


# ---- errors ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "x"}, "loss of Stop must be a number, got 'x'"),
        ({"loss": math.nan}, "loss of Stop must be a number, got nan"),
        ({"gradient": -1}, "gradient of Stop must be at least 0 and finite, got -1"),
        ({"step": math.inf}, "step of Stop must be at least 0 and finite"),
        ({"seconds": True}, "seconds of Stop must be a number, got True"),
        ({"max_fail": 0}, "max_fail of Stop must be an integer of at least 1, got 0"),
        ({"max_fail": 2.0}, "max_fail of Stop must be an integer"),
        ({"evaluations": -3}, "evaluations of Stop must be an integer"),
        ({"strip": 0}, "strip of Stop must be an integer"),
        ({"generalization_loss": -1}, "generalization_loss of Stop must be at least 0"),
        ({"restore_best": 1}, "restore_best of Stop must be True or False, got 1"),
        ({"patience": 3}, "Stop has no argument 'patience'. Known: loss, gradient"),
    ],
)
def test_arguments_that_have_no_meaning(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Stop(**arguments)


@pytest.mark.parametrize(
    ("optimizer", "stop", "error", "message"),
    [
        ("lbfgs", Stop(max_fail=3), ValueError, r"Stop\(max_fail=...\) needs validation_data"),
        ("adam", Stop(progress_quotient=3), ValueError, r"Stop\(progress_quotient=...\) needs val"),
        ("adam", Stop(gradient=1e-3), ValueError, r'for full-batch trainers such as "lbfgs"; Adam'),
        ("adam", Stop(evaluations=3), ValueError, r"Stop\(evaluations=...\) is for full-batch"),
        ("lbfgs", "loss", TypeError, r"stop must be a nncore.Stop, such as Stop\(loss=1e-3\)"),
        ("lbfgs", {"loss": 1}, TypeError, "stop must be a nncore.Stop"),
    ],
)
def test_a_stop_that_fit_refuses(optimizer, stop, error, message):
    net = network(optimizer)
    before = net.theta.copy(), str(net._rng.bit_generator.state)
    with pytest.raises(error, match=message):
        net.fit(X, Y, epochs=3, verbose=False, stop=stop)
    assert (net.theta == before[0]).all() and str(net._rng.bit_generator.state) == before[1]


def test_a_stop_is_shown_by_what_it_has():
    assert repr(Stop(loss=0.1, max_fail=3)) == "Stop(loss=0.1, max_fail=3)"
    assert Stop(loss=1) == Stop(loss=1.0) != Stop(loss=2)
    with pytest.raises(TypeError, match="arguments by name, got 1 without: loss, gradient"):
        Stop(1e-3)
