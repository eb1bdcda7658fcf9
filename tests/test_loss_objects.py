"""nncore.Loss, nncore.losses and register_loss: what users see of losses."""

import copy
import json
import math
import pickle

import numpy as np
import pytest

import nncore
from nncore import Dense, Loss, Network, _core, files, names
from nncore.loss import from_config
from nncore.reference import LOSSES

from .test_losses import draw

NAMES = pytest.mark.parametrize("name", _core.LOSSES)
OTHER = [
    ("huber", {"delta": 0.5}), ("smooth_l1", {"beta": 2.0}), ("quantile", {"q": 0.9}),
    ("cross_entropy", {"label_smoothing": 0.1}), ("focal", {"gamma": 1.0, "alpha": 0.25}),
    ("binary_cross_entropy", {"pos_weight": 3.0, "label_smoothing": 0.2}),
]  # fmt: skip


@pytest.fixture
def registered():
    """Registers losses, and forgets them."""
    from nncore import loss

    before = dict(loss._own)
    yield nncore.register_loss
    loss._own.clear()
    loss._own.update(before)


def square(y, t):
    """(y - t)^2 of my own"""
    return (y - t) ** 2


def square_slope(y, t):
    return 2 * (y - t)


@NAMES
def test_every_loss_is_described(name):
    loss = nncore.losses[name]
    assert loss.name == name and loss.formula and loss.latex and loss.elsewhere
    assert loss.mean == _core.LOSSES[name]["mean"] and loss.output == _core.LOSSES[name]["output"]
    assert list(loss.parameters) == list(_core.LOSSES[name]["hyper"])
    assert loss.values == tuple(_core.LOSSES[name]["hyper"].values())
    assert all(parameter in loss.formula for parameter in loss.parameters)
    assert loss._repr_latex_() == f"${loss.latex}$"
    assert all(nncore.losses[alias] == loss for alias in loss.aliases)
    assert bool(loss.kinks) == (name in ("mae", "quantile", "hinge"))


@NAMES
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_mean_over_rows(name, backend):
    """The sum over each row: the mean over elements times the number of targets."""
    row = _core.LOSSES[name]
    loss = Loss(name, mean="rows")
    assert (loss == name) is (row["mean"] == "rows") and loss.mean == "rows"
    assert from_config(json.loads(json.dumps(loss.config()))) == loss
    assert pickle.loads(pickle.dumps(loss)) == loss == eval(repr(loss))
    y, t = draw(name, (7, 3), np.float64)
    if row["output"] == "softmax":
        t /= t.sum(axis=1, keepdims=True)
    times = 1 if row["mean"] == "rows" else t.shape[1]
    results = []
    for each in (name, loss):
        layer = Dense(y.shape[1], row["output"] or "identity", init=y)
        net = Network(7, layer, loss=each, dtype="float64", seed=0, backend=backend)
        weights = np.linspace(0, 2, 7)
        loss_there, gradient = net.loss_and_gradient(np.eye(7), t, sample_weight=weights)
        history = net.fit(np.eye(7), t, batch_size=7, verbose=False)  # before the update
        results.append(([loss_there, history["loss"][0]], gradient))
    (losses, gradient), (by_rows, gradient_by_rows) = results
    eps = np.finfo(np.float64).eps  # one scale in place of another: each number is rounded anew
    np.testing.assert_allclose(by_rows, times * np.array(losses), rtol=4 * eps)
    np.testing.assert_allclose(gradient_by_rows, times * gradient, rtol=0,
                               atol=8 * eps * abs(times * gradient).max())  # sums of 7 rows


def test_mean_is_refused_where_it_has_no_meaning(registered):
    registered("square", square, square_slope)
    for name, mean in (("mse", "sum"), ("half_mse", "elements"), ("square", "rows"), ("mse", [])):
        with pytest.raises(ValueError, match=f"mean of {name} must be one of"):
            Loss(name, mean=mean)


@pytest.mark.parametrize("weights", [None, np.linspace(0, 2, 7)])
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy", "mse"])
def test_losses_that_are_reported_may_be_limited(name, weights):
    """`most` of `Engine.train`: each element, or row of cross_entropy, counts as no more."""
    y, t = draw(name, (7, 3), np.float64)
    t = t / t.sum(axis=1, keepdims=True) if name == "cross_entropy" else t
    y *= 5
    output = _core.LOSSES[name]["output"] or "identity"
    made = [
        Network(7, Dense(3, output, init=y), loss=name, dtype="float64", seed=0) for _ in range(3)
    ]
    values = np.atleast_2d(Loss(name).value(y, t).T).T
    most = float(np.median(values))
    order = np.arange(7)
    for network, limit in zip(made, (0.0, most, 1e9), strict=True):
        got = network._engine.train(np.eye(7), t, order, 7, 1, weights, None, most=limit)
        counted = np.minimum(values, limit or np.inf).mean(axis=1)
        assert got[0] == pytest.approx(np.average(counted, weights=weights), rel=1e-12)
        assert np.array_equal(network.theta, made[0].theta)  # the update is the same


def test_aliases_are_of_losses():
    assert set(names.LOSS_ALIASES.values()) <= set(_core.LOSSES)
    assert not set(names.LOSS_ALIASES) & set(_core.LOSSES)
    assert Loss("pinball", q=0.1) == Loss("quantile", q=0.1) and Loss("l1") == "mae"


@pytest.mark.parametrize("name, parameters", OTHER)
def test_parameters(name, parameters):
    loss, default = Loss(name, **parameters), Loss(name)
    assert loss.parameters == parameters and loss != default and loss != name
    assert default == name and hash(default) == hash(name) and loss != 3
    assert all(getattr(loss, n) == v for n, v in parameters.items())
    again = Loss(name, **parameters)
    assert again == loss and hash(again) == hash(loss)
    for way in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)),
                lambda x: eval(repr(x), {"Loss": Loss})):  # fmt: skip
        assert way(loss) == loss and way(default) == default
    assert str(loss).startswith(name + "(") and str(default) == name
    assert default.config() == name
    assert loss.config() == {"type": name, **parameters} == json.loads(json.dumps(loss.config()))
    loss.parameters.clear()
    assert loss == again


def test_losses_cannot_be_changed():
    loss = Loss("huber")
    with pytest.raises(AttributeError, match="a Loss cannot be changed: make another"):
        loss.delta = 2
    with pytest.raises(AttributeError, match="Loss has no attribute 'beta'"):
        _ = loss.beta
    assert loss.delta == 1


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Loss("hubert"), "Unknown loss 'hubert'. Did you mean \"huber\"? Known: "),
        (lambda: Loss("huber", beta=1), "huber has no parameter 'beta', only delta"),
        (lambda: Loss("mse", a=1), "mse has no parameter 'a', none"),
        (lambda: Loss("huber", delta=0), "delta of huber must be between 1e-30 and 1e30, got 0"),
        (lambda: Loss("huber", delta=-1.0), "delta of huber must be between"),
        (lambda: Loss("huber", delta=math.nan), "delta of huber must be between"),
        (lambda: Loss("huber", delta=math.inf), "delta of huber must be between"),
        (lambda: Loss("huber", delta="1"), "delta of huber must be between"),
        (lambda: Loss("huber", delta=True), "delta of huber must be between"),
        (lambda: Loss("huber", delta=None), "delta of huber must be between"),
        (lambda: Loss("smooth_l1", beta=0), 'with beta = 0 it is "mae", got 0'),
        (lambda: Loss("quantile", q=1), "q of quantile must be between 0 and 1, both excluded"),
        (lambda: Loss("cross_entropy", label_smoothing=1), "at least 0 and below 1, got 1"),
        (lambda: Loss("binary_cross_entropy", pos_weight=0), "pos_weight of binary_cross_entropy"),
        (lambda: Loss("focal", gamma=-1), "gamma of focal must be between 0 and 10000, got -1"),
        (lambda: Loss("focal", alpha=-1), "alpha of focal must be None, or between 0 and 1"),
        (lambda: Network(2, Dense(1), loss=Loss), "loss is a class; write nncore.Loss("),
        (lambda: Network(2, Dense(3), loss="gaussian_nll"), "Use Dense(6) for 3 targets."),
        (lambda: Network(2, Dense(3), loss="focal"), 'focal needs a "sigmoid" output'),
        (lambda: Network(2, Dense(3), loss="kl_divergence"), 'kl_divergence needs a "softmax" out'),
    ],
)
def test_bad_losses(make, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert message in str(caught.value)


@NAMES
def test_value_and_gradient(name, dtype):
    """What is looked at is what training averages: in the reference's meaning."""
    loss, twin = nncore.losses[name], LOSSES[name]
    y, t = draw(name, (6, 4), dtype)
    values, gradient = loss.value(y, t), loss.gradient(y, t)
    assert values.dtype == gradient.dtype == dtype and gradient.shape == y.shape
    of_rows = name in ("cross_entropy", "kl_divergence", "gaussian_nll")
    assert values.shape == ((6,) if of_rows else y.shape)
    y, t = y.astype(float), t.astype(float)
    total = twin.value(y, t) * (t.size if loss.mean == "elements" else 6)
    eps = float(np.finfo(dtype).eps)
    assert values.sum(dtype=float) == pytest.approx(total, rel=200 * eps)
    slopes = twin.gradient(y, t) * (t.size if loss.mean == "elements" else 6)
    np.testing.assert_allclose(gradient, slopes, rtol=100 * eps, atol=100 * eps)
    if dtype == "float64":
        h, v = 1e-5, np.linspace(-1, 1, y.size).reshape(y.shape)
        difference = (loss.gradient(y + h * v, t) - loss.gradient(y - h * v, t)) / (2 * h)
        np.testing.assert_allclose(loss.hessian_vector(y, t, v), difference, rtol=1e-5, atol=1e-6)


def test_shapes_and_types():
    mse = nncore.losses["mse"]
    assert mse.value(3, 1) == 4 and mse.gradient(3, 1) == 4 and mse.hessian_vector(3, 1, 0.5) == 1
    assert mse.value([[1.0, 2.0]], [[0.0], [1.0]]).tolist() == [[1, 4], [0, 1]]
    assert mse.value(np.float32([1]), 0).dtype == np.float32
    entropy = nncore.losses["cross_entropy"]
    rows = entropy.value(np.zeros((2, 4)), [1, 3])
    assert rows.tolist() == [math.log(4), math.log(4)] == entropy.value(
        np.zeros((2, 4)), np.eye(4)[[1, 3]]
    ).tolist()
    assert entropy.gradient([0.0, 0.0], 0).tolist() == [-0.5, 0.5]
    for y, t, message in [
        (np.zeros((2, 4)), [1, 4], "labels must be in 0..3, got 1..4"),
        (np.zeros((2, 4)), [1], "expected 2 integer labels, got int64 (1,)"),
        (np.zeros((2, 4)), [1.0, 2.0], "expected 2 integer labels, got float64 (2,)"),
        (np.zeros((2, 4)), np.zeros((2, 3)), "t has shape (2, 3); expected (2, 4)"),
        (np.float64(1), 0, "cross_entropy takes rows of y, got shape ()"),
    ]:
        with pytest.raises(ValueError) as caught:
            entropy.value(y, t)
        assert message in str(caught.value)


# --- Networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, parameters", OTHER)
def test_networks_have_parameters(name, parameters, tmp_path):
    loss = Loss(name, **parameters)
    network = Network(3, Dense(4, "tanh"), Dense(2, loss.output or "identity"), loss=loss, seed=0)
    assert network.loss == loss and repr(loss) in repr(network)
    assert network.config()["loss"] == loss.config()
    network.save(tmp_path / "a.safetensors")
    for again in (nncore.load(tmp_path / "a.safetensors"), network.copy(),
                  pickle.loads(pickle.dumps(network))):  # fmt: skip
        assert again.loss == loss
        X, t = np.ones((2, 3)), np.zeros((2, 2))
        t[:, 0] = 1
        assert again.evaluate(X, t) == network.evaluate(X, t)
        plain = Network(3, *network.layers, loss=name, seed=0)
        plain.theta = network.theta
        assert again.evaluate(X, t)["loss"] != plain.evaluate(X, t)["loss"]


def with_loss(path, loss):
    """The file of a network, with another description of its loss."""
    Network(2, Dense(2), seed=0).save(path)
    tensors, metadata = files.read(path)
    description = json.loads(metadata["nncore"])
    assert description["config"]["loss"] == "mse"  # as files have always had it
    description["config"]["loss"] = loss
    files.write(path, tensors, {"nncore": json.dumps(description)})
    return path


@pytest.mark.parametrize("loss", ["mse", "mean_squared_error", {"type": "mse"}, "mae",
                                  {"type": "huber", "delta": 2}])  # fmt: skip
def test_files(tmp_path, loss):
    network = nncore.load(with_loss(tmp_path / "a.safetensors", loss))
    assert network.loss == Loss(**{"name": loss}) if isinstance(loss, str) else True
    assert network.loss.name in ("mse", "mae", "huber")


@pytest.mark.parametrize(
    "loss",
    [{"type": "huber", "delta": -1}, {"type": "huber", "delta": "1"}, {"type": "huber", "b": 1},
     {"type": "huber", "delta": None}, {"type": "huber", "delta": [1]}, {"delta": 1}, {}, [], 3,
     {"type": ["huber"]}, {"type": "mine"}, "mine", {"type": "huber", "name": "mse"},
     {"type": "cross_entropy", "label_smoothing": 0.1}],
)  # fmt: skip
def test_bad_losses_in_files(tmp_path, loss):
    with pytest.raises(files.FileFormatError):
        nncore.load(with_loss(tmp_path / "a.safetensors", loss))


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize(
    "loss, output, targets, message",
    [
        ("hinge", "identity", [[1, -1], [1, 0]],
         "hinge needs targets -1 or 1; got 0 at row 1, column 1 of y. For classes 0 and 1 give 2"),
        ("squared_hinge", "tanh", [[1, -1], [2, 1]], "got 2 at row 1, column 0 of y."),
        ("poisson", "identity", [[1, 0], [-3, 1]],
         "poisson needs targets of at least 0; got -3 at row 1, column 0 of y. It is for counts"),
        ("focal", "sigmoid", [[1, 0], [0.5, 1]],
         "focal needs targets 0 or 1; got 0.5 at row 1, column 0 of y. For probabilities use"),
        ("kl_divergence", "softmax", [[1, 0], [0.5, 0.4]],
         "kl_divergence needs rows that sum to 1; row 1 of y sums to 0.9."),
        ("kl_divergence", "softmax", [[1, 0], [1.5, -0.5]],
         "kl_divergence needs targets in [0, 1]; got 1.5 at row 1, column 0 of y."),
        ("kl_divergence", "softmax", [1, 0], "y has shape (2,) and the network has 2 outputs"),
        ("gaussian_nll", "identity", [[1, 0], [1, 2]],
         "expected (2, 1). gaussian_nll has a mean and a variance for each target."),
    ],
)  # fmt: skip
def test_targets_out_of_range(backend, loss, output, targets, message):
    network = Network(1, Dense(2, output), loss=loss, seed=0, backend=backend)
    before = network.theta.copy()
    for use in (network.evaluate, network.partial_fit, network.fit, network.loss_and_gradient):
        with pytest.raises(ValueError) as caught:
            use(np.ones((2, 1)), targets)
        assert message in str(caught.value)
    assert (network.theta == before).all()


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_what_losses_estimate(backend):
    """A constant, fitted: the mean, the median, a quantile, a rate, a mean with its variance."""
    rng = np.random.default_rng(0)
    y = rng.gamma(2.0, 1.5, (400, 1))
    X = np.ones((400, 1))

    def fitted(loss, n_out=1, target=y):
        network = Network(
            1, Dense(n_out, bias=False), loss=loss, optimizer=nncore.Adam(0.02), dtype="float64",
            seed=0, backend=backend,
        )  # fmt: skip
        network.fit(X, target, epochs=1500, batch_size="full", verbose=False)
        return network.predict(X[:1])[0]

    assert fitted("mse")[0] == pytest.approx(y.mean(), rel=1e-3)
    assert fitted("mae")[0] == pytest.approx(np.median(y), abs=0.05)
    assert fitted(Loss("quantile", q=0.9))[0] == pytest.approx(np.quantile(y, 0.9), abs=0.1)
    counts = rng.poisson(3.0, (400, 1))
    assert np.exp(fitted("poisson", target=counts))[0] == pytest.approx(counts.mean(), rel=1e-3)
    mean, log_variance = fitted("gaussian_nll", 2)
    assert mean == pytest.approx(y.mean(), rel=1e-2)
    assert np.exp(log_variance) == pytest.approx(y.var(), rel=2e-2)


def test_accuracy_of_two_classes():
    X = np.array([[1.0], [2.0], [-1.0], [3.0]])
    for loss, low, output in [("hinge", -1, "identity"), ("squared_hinge", -1, "tanh"),
                              ("focal", 0, "sigmoid")]:  # fmt: skip
        network = Network(1, Dense(1, output, init=[[1.0]], bias=False), loss=loss)
        scores = network.evaluate(X, [1, 1, low, low])
        assert scores["accuracy"] == 0.75


# --- Losses of one's own --------------------------------------------------------------------------


def test_a_registered_loss_is_one_of_the_losses(registered, tmp_path):
    mine = registered("mine", square, square_slope)
    assert mine == Loss("mine") == nncore.losses["mine"] and mine != "mse"
    assert "mine" in nncore.losses and list(nncore.losses)[-1] == "mine"
    assert mine.formula == "(y - t)^2 of my own" and mine.mean == "elements"
    assert mine.value([[1.0, 2.0]], [[0.0, 0.0]]).tolist() == [2.5]
    assert mine.gradient([[1.0, 2.0]], [[0.0, 0.0]]).tolist() == [[1.0, 2.0]]
    with pytest.raises(ValueError, match="mine was registered without a second derivative"):
        mine.hessian_vector([[1.0, 2.0]], [[0.0, 0.0]], [[0.0, 0.0]])
    assert pickle.loads(pickle.dumps(mine)) == mine
    network = Network(2, Dense(1), loss="mine", seed=0)
    network.save(tmp_path / "a.safetensors")
    assert nncore.load(tmp_path / "a.safetensors").loss == mine == network.copy().loss
    from nncore import loss

    del loss._own["mine"]
    with pytest.raises(files.FileFormatError, match="registered first, by nncore.register_loss"):
        nncore.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("of_rows", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hidden", [(), (300,)])
def test_a_registered_loss_trains_as_a_loss_of_the_table(
    registered, dtype, of_rows, weighted, hidden
):
    if of_rows:
        registered("mine", lambda y, t: ((y - t) ** 2).sum(1) / 2, lambda y, t: y - t)
    else:
        registered("mine", square, square_slope)
    rng = np.random.default_rng(0)
    X, y = rng.uniform(-0.9, 0.9, (2, 600, 3)).astype(dtype)
    w = rng.integers(0, 3, 600) if weighted else None
    layers = [Dense(n, "tanh") for n in hidden]
    results = []
    for loss in ("mine", "half_mse" if of_rows else "mse"):
        for backend in ("auto", "reference"):
            network = Network(3, *layers, Dense(3, "tanh"), loss=loss, dtype=dtype, seed=0,
                              backend=backend)  # fmt: skip
            history = network.fit(X, y, batch_size=270, epochs=3, sample_weight=w, verbose=False)
            value, gradient = network.loss_and_gradient(X, y, sample_weight=w)
            scores = network.evaluate(X, y, sample_weight=w)["loss"]
            results.append([*history["loss"], value, scores, *gradient, *network.theta])
    for other in results[:3]:
        np.testing.assert_allclose(results[3], other, rtol=2e-4 if dtype == "float32" else 1e-9,
                                   atol=2e-5 if dtype == "float32" else 1e-10)  # fmt: skip


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt(), None])
def test_an_error_stops_training_after_the_last_whole_step(registered, backend, error):
    calls, fail = [0], [False]

    def value(y, t):
        calls[0] += 1
        if fail[0] and calls[0] == 3:
            if error is not None:
                raise error
            return np.zeros(5)
        return (y - t) ** 2

    registered("mine", value, square_slope)
    X, y = np.random.default_rng(0).standard_normal((2, 40, 2))
    network = Network(2, Dense(2), loss="mine", seed=0, backend=backend)
    twin = network.copy()
    twin.fit(X[:20], y[:20], batch_size=10, shuffle=False, verbose=False)
    calls[0], fail[0] = 0, True
    with pytest.raises(ValueError if error is None else type(error)) as caught:
        network.fit(X, y, batch_size=10, shuffle=False, verbose=False)
    if error is None:
        assert "value of 'mine' returned shape (5,) for y of shape (10, 2)" in str(caught.value)
    else:
        assert caught.value is error
    assert (network.theta == twin.theta).all()
    network.fit(X, y, verbose=False)  # it is usable


def test_a_registered_loss_has_first_derivatives_alone(registered):
    registered("mine", square, square_slope)
    X, y = np.random.default_rng(0).standard_normal((2, 5, 2))
    for backend in ("auto", "reference"):
        network = Network(2, Dense(3, "tanh"), Dense(2), loss="mine", dtype="float64", seed=0,
                          backend=backend)  # fmt: skip
        assert nncore.check_gradients(network, X, y)
        losses, gradients = network.sample_gradients(X, y)
        np.testing.assert_allclose(losses, square(network.predict(X), y).mean(1), rtol=1e-12)
        np.testing.assert_allclose(
            gradients.mean(0), network.loss_and_gradient(X, y)[1], atol=1e-14
        )
        with pytest.raises(ValueError, match="mine was registered without a second derivative"):
            network.hessian(X, y)
        with pytest.raises(ValueError, match="mine was registered without a second derivative"):
            network.hessian_vector_product(X, y, network.theta)


def test_functions_get_copies(registered):
    """What they keep stays theirs, and what they change is not the network's."""
    kept = []

    def value(y, t):
        kept.append((y, t))
        values = (y - t) ** 2
        t[...] = 1e9
        return values

    registered("mine", value, square_slope)
    X, y = np.random.default_rng(0).standard_normal((2, 40, 2)).astype("float32")
    target = y.copy()
    network = Network(2, Dense(2), loss="mine", seed=0)
    out = network.predict(X)
    kept.clear()
    network.evaluate(X, y)
    assert (y == target).all() and (kept[0][0] == out).all()
    network.fit(X, y, epochs=20, verbose=False)
    assert (kept[0][0] == out).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("mse", square, square_slope), "'mse' is a loss of nncore; choose another name"),
        (("l1", square, square_slope), "'l1' is a loss of nncore"),
        (("a b", square, square_slope), "the name of a loss must be an identifier"),
        ((3, square, square_slope), "the name of a loss must be an identifier, got 3"),
        (("mine", 3, square_slope), "value of 'mine' must be a function of (y, t), got 3"),
        (("mine", square, square),
         "gradient of 'mine' disagrees with value: at y = "),
        (("mine", square, lambda y, t: square_slope(y, t)[0]), "gradient of 'mine' returned shape"),
        (("mine", lambda y, t: 1.0, square_slope), "value of 'mine' returned shape ()"),
        (("mine", lambda y, t: np.log(y), lambda y, t: 1 / y), "'mine' is not finite at the poi"),
        (("mine", lambda y, t: (y - y.mean(0)) ** 2, square_slope), "depends on the other rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered(registered, arguments, message):
    with np.errstate(invalid="ignore"), pytest.raises((ValueError, TypeError)) as caught:
        registered(*arguments)
    assert message in str(caught.value)
    assert "mine" not in nncore.losses


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-13, 1e-300])
def test_a_loss_of_small_values_is_checked_as_closely(registered, size):
    with pytest.raises(ValueError, match="depends on the other rows"):
        registered("mine", lambda y, t: size * (y - t) ** 2 / len(y),
                   lambda y, t: size * 2 * (y - t) / len(y))  # fmt: skip
    with pytest.raises(ValueError, match="disagrees with value"):
        registered("mine", lambda y, t: size * (y - t) ** 2, lambda y, t: size * 1.99 * (y - t))
    registered("mine", lambda y, t: size * (y - t) ** 2, lambda y, t: size * 2 * (y - t))


@pytest.mark.parametrize("constant", [1.0, 1e3, -1e6])
def test_a_constant_in_a_loss_does_not_hide_its_gradient(registered, constant):
    """The tolerance is what rounding makes of the values, some 1e-9 of them, and no more."""
    size = 1e-6 * abs(constant)
    with pytest.raises(ValueError, match="disagrees with value"):
        registered("mine", lambda y, t: constant + size * (y - t) ** 2, lambda y, t: 0 * y)
    registered("mine", lambda y, t: constant + size * (y - t) ** 2,
               lambda y, t: size * 2 * (y - t))  # fmt: skip


def test_a_wrong_gradient_is_shown_with_both_values(registered):
    """Wrong in one place only: that place is named."""

    def slope(y, t):
        gradient = 2 * (y - t)
        gradient[y > 3] *= 1.01
        return gradient

    registered("fine_there", square, slope, points=([[1.0, 2.0]], [[0.0, 0.0]]))
    with pytest.raises(ValueError) as caught:
        registered("mine", square, slope, points=([[1.0, 2.0], [0.0, 4.0]], np.zeros((2, 2))))
    assert str(caught.value) == (
        "gradient of 'mine' disagrees with value: at y = 4, t = 0 (row 1, column 1) gradient gives "
        "8.08, the central difference is 8"
    )
    logs = registered("mine", lambda y, t: -t * np.log(y), lambda y, t: -t / y,
                      points=([[0.3, 0.8]], [[1.0, 2.0]]))  # fmt: skip
    assert logs.value([[0.5, 1.0]], [[1.0, 1.0]])[0] == pytest.approx(math.log(2) / 2)


def _softmax(y):
    e = np.exp(y - y.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


_RIGHT = {
    "huber": (lambda d, y, t: np.where(abs(d) <= 1, d * d / 2, abs(d) - 0.5),
              lambda d, y, t: np.clip(d, -1, 1)),
    "log_cosh, which overflows": (lambda d, y, t: np.log(np.cosh(d)), lambda d, y, t: np.tanh(d)),
    "poisson": (lambda d, y, t: np.exp(y) - t * y, lambda d, y, t: np.exp(y) - t),
    "poisson of the math module": (
        lambda d, y, t: np.vectorize(math.exp)(y) - t * y,  # raises OverflowError
        lambda d, y, t: np.vectorize(math.exp)(y) - t,
    ),
    "linex": (lambda d, y, t: np.exp(d) - d - 1, lambda d, y, t: np.exp(d) - 1),
    "exp of the square": (lambda d, y, t: np.exp(d * d), lambda d, y, t: 2 * d * np.exp(d * d)),
    "tenth power": (lambda d, y, t: d**10, lambda d, y, t: 10 * d**9),
    "softplus": (lambda d, y, t: np.log(1 + np.exp(d)), lambda d, y, t: 1 / (1 + np.exp(-d))),
    "welsch": (lambda d, y, t: 1 - np.exp(-d * d), lambda d, y, t: 2 * d * np.exp(-d * d)),
    "a far offset": (lambda d, y, t: 1e8 * d * d + 1e8, lambda d, y, t: 2e8 * d),
    "waves": (lambda d, y, t: np.sin(d), lambda d, y, t: np.cos(d)),
    "cross_entropy of rows": (
        lambda d, y, t: 1e6 * (np.logaddexp.reduce(y, axis=1) - y[:, 0]),
        lambda d, y, t: 1e6 * (_softmax(y) - np.eye(y.shape[1])[0]),
    ),
    "norm of rows": (lambda d, y, t: np.sqrt((d * d).sum(1)),
                     lambda d, y, t: d / np.sqrt((d * d).sum(1))[:, None]),
}  # fmt: skip


@pytest.mark.parametrize("case", _RIGHT)
def test_right_gradients_pass_at_large_residuals(registered, case):
    value, gradient = _RIGHT[case]
    registered("mine", lambda y, t: value(y - t, y, t), lambda y, t: gradient(y - t, y, t))


_OTHERS = ("kl_divergence", "gaussian_nll")  # their targets are no normal numbers


@pytest.mark.parametrize("name", [name for name in nncore.losses if name not in _OTHERS])
def test_losses_of_the_package_pass_as_ones_own(registered, name):
    registered("mine", nncore.losses[name].value, nncore.losses[name].gradient)


@pytest.mark.parametrize(
    ("value", "gradient"),
    [
        (lambda d: np.where(abs(d) <= 4, d * d / 2, 4 * abs(d) - 8), lambda d: d),
        (lambda d: np.where(abs(d) <= 900, d * d / 2, 900 * abs(d) - 405_000), lambda d: d),
        (lambda d: d * d / 2, lambda d: np.clip(d, -5, 5)),
        (lambda d: np.exp(d) - d - 1, lambda d: np.where(d < -4, 0, np.exp(d) - 1)),
        (lambda d: np.logaddexp(0, d), lambda d: np.exp(d) / (1 + np.exp(d))),  # NaN from 710 on
    ],
    ids=["huber at 4", "huber at 900", "clipped square", "linex on one side", "NaN"],
)
def test_gradients_that_are_wrong_far_away(registered, value, gradient):
    with pytest.raises(ValueError, match="gradient of 'mine' disagrees with value: at y = "):
        registered("mine", lambda y, t: value(y - t), lambda y, t: gradient(y - t))
    points = np.array([[0.5], [1.0]]), np.zeros((2, 1))  # only these are asked for
    registered("mine", lambda y, t: value(y - t), lambda y, t: gradient(y - t), points=points)
