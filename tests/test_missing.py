"""Missing targets: the loss is the mean over those that are observed."""

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network, _core

from .refusals import refused
from .test_losses import draw

RNG = np.random.default_rng(0)
N_IN, N = 4, 5
X = RNG.normal(size=(300, N_IN))
THERE = RNG.random((300, N)) < 0.6
THERE[7:11] = False
THERE[11:14] = True
WEIGHTS = RNG.integers(0, 4, 300) * 0.5
NAMES = [
    n for n, loss in _core.LOSSES.items() if loss["per_target"] == 1 and loss["output"] != "softmax"
]
EVERY = pytest.mark.parametrize("name", NAMES)
BACKENDS = pytest.mark.parametrize("backend", ["auto", "reference"])
ISAS = pytest.mark.parametrize("backend", [*_core.isas(), "reference"])


def make(name, dtype="float64", backend="auto", hidden=6, n_out=N, optimizer=None):
    output = _core.LOSSES[name]["output"] or "identity"
    return Network(
        N_IN, Dense(hidden, "tanh"), Dense(n_out, output), loss=name, dtype=dtype, backend=backend,
        seed=1, optimizer=optimizer or Adam(0.01),
    )  # fmt: skip


def targets(name):
    return np.where(THERE, draw(name, (300, N), "float64")[1], np.nan)


def loss_of(net, X, y, w=None):
    return net.evaluate(X, y, sample_weight=w, missing="mask")["loss"]


@EVERY
@ISAS
def test_one_column_that_is_there_is_a_network_of_one_output(name, backend, dtype):
    y = draw(name, (300, N), dtype)[1]
    net, one = make(name, dtype, backend), make(name, dtype, backend, n_out=1)
    for j in range(N):
        masked = np.full_like(y, np.nan)
        masked[:, j] = y[:, j]
        one.layers[0].W, one.layers[0].b = net.layers[0].W, net.layers[0].b
        one.layers[1].W, one.layers[1].b = net.layers[1].W[:, [j]], net.layers[1].b[[j]]
        expected = one.evaluate(X, y[:, j], sample_weight=WEIGHTS)["loss"]
        assert loss_of(net, X, masked, WEIGHTS) == pytest.approx(expected, rel=200 * eps(dtype))


def eps(dtype):
    return float(np.finfo(dtype).eps)


@EVERY
def test_the_mean_is_over_what_is_there(name):
    """Element by element: the sum over columns of the sums over their observed rows."""
    net, y, total, count = make(name), targets(name), 0.0, 0
    for j in range(N):
        rows = np.flatnonzero(THERE[:, j] & (WEIGHTS > 0))
        only = np.full((len(rows), N), np.nan)
        only[:, j] = y[rows, j]
        weight = WEIGHTS[rows].sum()
        total += loss_of(net, X[rows], only, WEIGHTS[rows]) * weight
        count += weight
    if name == "half_mse":  # a sum over outputs
        count = WEIGHTS[THERE.any(axis=1)].sum()
    assert loss_of(net, X, y, WEIGHTS) == pytest.approx(total / count, rel=1e-13)


@EVERY
@pytest.mark.parametrize("w", [None, WEIGHTS], ids=["plain", "weights"])
@pytest.mark.parametrize("batch", [1, 300])
def test_an_update_follows_the_slope_of_the_loss(name, w, batch):
    y = targets(name)
    rows = slice(0, 300) if batch > 1 else slice(20, 21)
    x, y, w = X[rows], y[rows], None if w is None else w[rows] + 1
    net = make(name, optimizer=SGD(1.0))
    before = net.theta.copy()
    loss = net.partial_fit(x, y, sample_weight=w, missing="mask")
    step = before - net.theta
    net.theta = before
    assert loss == pytest.approx(loss_of(net, x, y, w), rel=1e-14)
    direction = RNG.normal(size=len(before))
    h = 1e-6
    ends = []
    for sign in (1, -1):
        net.theta = before + sign * h * direction
        ends.append(loss_of(net, x, y, w))
    slope = (ends[0] - ends[1]) / (2 * h)
    assert slope == pytest.approx(step @ direction, rel=2e-6, abs=1e-7)
    assert abs(slope) > 1e-4


@EVERY
@pytest.mark.filterwarnings("ignore:Weights have no effect")
@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("w", [None, WEIGHTS], ids=["plain", "weights"])
def test_the_twin_trains_alike(name, batch_size, w, dtype):
    y, found = targets(name), []
    for backend in ("auto", "reference"):
        net = make(name, dtype, backend)
        history = net.fit(
            X, y, batch_size=batch_size, missing="mask", sample_weight=w, verbose=False,
            validation_data=(X, y),
        )  # fmt: skip
        found.append((net.theta, history))
    (a, one), (b, other) = found
    np.testing.assert_allclose(a, b, rtol=2e4 * eps(dtype), atol=2e4 * eps(dtype))
    assert one["loss"] == pytest.approx(other["loss"], rel=1e3 * eps(dtype))
    assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e3 * eps(dtype))
    assert one.n_steps == other.n_steps


@pytest.mark.parametrize("hidden", [6, 300])
@pytest.mark.parametrize("batch_size", [1, 40])
def test_all_instruction_sets_agree(hidden, batch_size, dtype):
    found = set()
    for isa in set(_core.isas()) - {"baseline"}:
        net = make("huber", dtype, isa, hidden)
        net.fit(X, targets("huber"), batch_size=batch_size, missing="mask", verbose=False)
        found.add(net.theta.tobytes())
    assert len(found) <= 1


@BACKENDS
def test_rows_without_targets_count_nothing(backend):
    y = targets("mse")
    kept = THERE.any(axis=1)
    nets = [make("mse", backend=backend) for _ in range(2)]
    options = {"batch_size": 1, "shuffle": False, "missing": "mask", "verbose": False}
    one, other = nets[0].fit(X, y, **options), nets[1].fit(X[kept], y[kept], **options)
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()
    assert one.n_steps == other.n_steps == kept.sum()
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-14)


@BACKENDS
def test_nothing_missing_is_nothing_changed(backend, dtype):
    y = draw("mse", (300, N), dtype)[1]
    nets = [make("mse", dtype, backend) for _ in range(2)]
    nets[0].fit(X, y, verbose=False)
    nets[1].fit(X, y, verbose=False, missing="mask")
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e3 * eps(dtype), atol=eps(dtype))


def test_accuracy_is_of_what_is_there():
    y = targets("binary_cross_entropy").round()
    net = make("binary_cross_entropy")
    right = (net.predict(X) > 0.5) == (y > 0.5)
    scores = net.evaluate(X, y, missing="mask")
    assert scores["accuracy"] == pytest.approx(right[THERE].mean(), rel=1e-14)
    weights = np.broadcast_to(WEIGHTS[:, None], y.shape)[THERE]
    scores = net.evaluate(X, y, missing="mask", sample_weight=WEIGHTS)
    assert scores["accuracy"] == pytest.approx(np.average(right[THERE], weights=weights), rel=1e-14)


def test_rows_in_blocks_and_batches(tmp_path):
    y = targets("mse")
    np.save(tmp_path / "y.npy", y)
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    nets = [make("mse", "float32") for _ in range(3)]
    options = {"missing": "mask", "verbose": False, "shuffle": False}
    nets[0].fit(X, y, **options)
    nets[1].fit(X, mapped, **options)
    nets[2].fit([(X[i : i + 32], y[i : i + 32]) for i in range(0, 300, 32)], **options)
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes() == nets[2].theta.tobytes()
    assert loss_of(nets[0], X, y) == loss_of(nets[0], X, mapped)


@pytest.mark.parametrize("first", [0, 10])
def test_a_batch_without_targets_counts_nothing(first):
    """As in an array of the same rows."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    Y[first : first + 10] = np.nan
    net = Network(4, Dense(2), seed=0)
    other = net.copy()
    batches = [(X[i : i + 10], Y[i : i + 10]) for i in (0, 10, 20)]
    history = net.fit(batches, missing="mask", verbose=False)
    other.fit(X, Y, missing="mask", batch_size=10, shuffle=False, verbose=False)
    assert net.theta.tobytes() == other.theta.tobytes() and np.isfinite(history["loss"]).all()
    got, want = (net.evaluate(*data, missing="mask")["loss"] for data in ((batches,), (X, Y)))
    assert got == pytest.approx(want, rel=1e-6)


def test_refusals():
    y, net = targets("mse"), make("mse")
    with refused(ValueError, "y contains NaN", 'give missing="mask"', network=net):
        net.fit(X, y)
    with refused(ValueError, "missing must be None or", network=net):
        net.fit(X, y, missing="drop")
    infinite = y.copy()
    infinite[5, 2] = np.inf
    with refused(ValueError, "y contains infinity", "row 5, column 2", network=net):
        net.fit(X, infinite, missing="mask")
    with refused(ValueError, "all targets in y are missing", network=net):
        net.fit(X, np.full((300, N), np.nan), missing="mask")
    signs = np.where(THERE, 1.0, np.nan)
    signs[20, 1] = 0.5
    with refused(ValueError, "hinge needs targets -1 or 1; got 0.5 at row 20, column 1"):
        make("hinge").fit(X, signs, missing="mask")
    classes = Network(N_IN, Dense(3, "softmax"), seed=0)
    with refused(ValueError, "cross_entropy is of whole rows", "sample_weight=0", network=classes):
        classes.fit(X, np.zeros(300, int), missing="mask")
    full = make("mse", optimizer="lbfgs")
    for call in (full.fit, full.partial_fit):
        with refused(ValueError, "no missing targets; leave their rows out", network=full):
            call(X, y, missing="mask")
    with refused(ValueError, "y contains NaN", "scale it.", network=full):
        full.learn_one(X[0], y[0])
    with refused(ValueError, 'partial_fit([x], [y], missing="mask")', network=net):
        net.learn_one(X[0], y[0])
    for data in ({"metrics": ["mae"], "validation_data": (X, y)}, {"train_metrics": ["mae"]}):
        with refused(ValueError, "some of several are missing", "net.predict(X)", network=net):
            net.fit(X, y, missing="mask", **data)
    with refused(ValueError, "Monitor", "missing", network=net):
        net.fit(X, y, missing="mask", callbacks=[nncore.Monitor()])
    one = make("binary_cross_entropy", n_out=1)
    with refused(ValueError, "class_weight", "missing", network=one):
        one.fit(X, THERE[:, 0] * 1.0, missing="mask", class_weight={0: 2})


# ---- of one target: rows without it are left out ----


@pytest.mark.parametrize("w", [None, WEIGHTS], ids=["plain", "weights"])
def test_metrics_of_one_target(w):
    """As of the rows that have it, alone."""
    for name, metrics in (
        ("mse", ["mae", "r2", lambda t, p: np.max(t - p)]),
        ("binary_cross_entropy", ["f1", "roc_auc"]),
    ):
        metrics = {str(i): metric for i, metric in enumerate(metrics)}
        y, kept = targets(name)[:, :1].round(), THERE[:, 0]
        net = make(name, n_out=1)
        some = net.evaluate(X, y, sample_weight=w, metrics=metrics, missing="mask")
        weights = None if w is None else w[kept]
        alone = net.evaluate(X[kept], y[kept], sample_weight=weights, metrics=metrics)
        assert some == pytest.approx(alone, rel=1e-13) and len(some) > len(metrics)
        options = {"missing": "mask", "sample_weight": w, "verbose": False, "metrics": metrics}
        history = net.fit(X, y, validation_data=(X, y), train_metrics=metrics, **options)
        if w is None:
            assert all(history[f"val_{name}"] == history[name] for name in metrics)


def test_validation_split():
    y, net = targets("mse"), make("mse")
    history = net.fit(X, y, missing="mask", validation_split=0.25, sample_weight=WEIGHTS)
    rows = history.validation_rows
    assert len(rows) == 75 and len(set(rows)) == 75
    kept = np.setdiff1d(np.arange(300), rows)
    expected = loss_of(net, X[rows], y[rows], WEIGHTS[rows])
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-13)
    twin = make("mse")
    twin._rng.permutation(300)  # as the rows were drawn
    twin.fit(X[kept], y[kept], missing="mask", sample_weight=WEIGHTS[kept])
    assert twin.theta.tobytes() == net.theta.tobytes()
    rare = np.full((300, 1), np.nan)
    rare[5] = 1.0
    one = make("mse", n_out=1)
    with refused(ValueError, "rows of validation_split are missing", network=one):
        one.fit(X, rare, missing="mask", validation_split=0.25)


def test_targets_beyond_the_output_are_still_noticed():
    net = Network(N_IN, Dense(N, "tanh"), seed=0)
    with pytest.warns(UserWarning, match="Targets span"):
        net.fit(X, targets("mse") * 3, missing="mask", verbose=False)
