"""nncore.landscape: the loss on a grid, its directions, the path on it, and the picture."""

import io
import signal
import sys

import numpy as np
import pytest

import nncore
from nncore import Dense, Network
from nncore.views import places
from nncore.views.landscapes import directions
from nncore.views.landscapes.landscape import Landscape

from .networks import BACKENDS, classifier, labelled, regressor, state, valued
from .stacks import EVERY, make, samples
from .test_interrupt import interrupted

XOR = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])


def xor(optimizer="adam", **options):
    return Network(2, Dense(2, "tanh"), Dense(1), seed=1, optimizer=optimizer, **options)


def trained(network, X, y, calls=20, **options):
    path = nncore.Path()
    path.record(network)
    for _ in range(calls):
        network.fit(X, y, verbose=False, **options)
        path.record(network)
    return path


# --- the numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_point_is_an_evaluation(backend, dtype):
    X, y = labelled(70)
    network = classifier(dtype, backend=backend)
    before = state(network)
    found = nncore.landscape(network, X, y, shape=(4, 3), end=False)
    assert state(network) == before
    assert found.losses.shape == (4, 3) and found.losses.dtype == np.float64
    f = network.theta_to_loss(X, y)
    for i, a in enumerate(found.a):
        for j, b in enumerate(found.b):
            theta = found.theta_at(a, b)
            assert found.losses[i, j] == f(theta)[0]
            network.theta = theta
            assert found.losses[i, j] == network.evaluate(X, y)["loss"]


def test_backends_agree():
    X, y = labelled(70)
    found = [
        nncore.landscape(classifier(backend=b), X, y, shape=5, end=False).losses for b in BACKENDS
    ]
    for losses in found[1:]:
        np.testing.assert_allclose(losses, found[0], rtol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_all_layers_and_threads(name):
    network = make(name)
    X, y = samples(name, network, 300)
    vectors = np.random.default_rng(0).normal(0, 0.1, (2, network.n_params))
    first, *others = (
        nncore.landscape(
            network, X, y, directions=vectors, shape=(3, 5), end=False, n_threads=threads
        )
        for threads in (1, 2, 5)
    )
    for found in others:
        assert (found.losses == first.losses).all()
    loss, _ = network.loss_and_gradient(X, y, theta=first.theta_at(first.a[2], first.b[1]))
    assert first.losses[2, 1] == loss


def test_weights_of_rows_and_penalties():
    X, y = valued(40)
    weights = np.random.default_rng(0).uniform(0, 2, 40)
    network = Network(5, Dense(4, "tanh", l2=0.1), Dense(2, l1=0.01), seed=0)
    found = nncore.landscape(network, X, y, sample_weight=weights, shape=3)
    theta = found.theta_at(found.a[0], found.b[2])
    loss, _ = network.loss_and_gradient(X, y, theta=theta, sample_weight=weights)
    assert found.losses[0, 2] == loss
    assert found.center_loss == network.evaluate(X, y, sample_weight=weights)["loss"]


def test_what_overflows_is_not_finite():
    X, y = valued(20)
    vectors = np.ones((2, regressor("float32").n_params))
    vectors[1, 0] = 2
    found = nncore.landscape(
        regressor("float32"), X, y, directions=vectors, span=1e30, shape=4, end=False
    )
    assert not np.isfinite(found.losses).all()
    with np.errstate(all="raise"):
        assert "not finite" in str(found)


def test_registered_functions(monkeypatch):
    monkeypatch.setattr(nncore.names, "own_activations", {})
    nncore.register_activation("cube", lambda x: x**3, lambda x: 3 * x**2)
    X, y = valued(20)
    network = Network(5, Dense(4, "cube"), Dense(2), seed=0)
    found = nncore.landscape(network, X, y, shape=3, n_threads=2)
    loss, _ = network.loss_and_gradient(X, y, theta=found.theta_at(found.a[0], found.b[2]))
    assert found.losses[0, 2] == loss
    assert found.end.verdict == "slope" and "cube" in str(found.end)

    calls = []

    def f(x):
        if calls and calls[0] == 0:
            raise ZeroDivisionError("in f")
        if calls:
            calls[0] -= 1
        return x + x**3

    nncore.register_activation("breaks", f, lambda x: 1 + 3 * x**2)
    network = Network(5, Dense(4, "breaks"), Dense(2), seed=0)
    calls.append(4)
    with pytest.raises(ZeroDivisionError, match="in f"):
        nncore.landscape(network, X, y, shape=3)


# --- directions -----------------------------------------------------------------------------------


def test_random_directions_are_normalised_by_filters():
    network = Network(4, nncore.LayerNorm(), Dense(6, "tanh"), Dense(3, trainable=False), Dense(2),
                      seed=0)  # fmt: skip
    network.theta += 0.1
    found = nncore.landscape(network, np.ones((3, 4)), np.ones((3, 2)), shape=2, end=False)
    for direction in found.directions:
        there = network.copy()
        there.theta = direction
        for i in (1, 3):
            size, own = (np.linalg.norm(n.layers[i].W, axis=0) for n in (there, network))
            np.testing.assert_allclose(size, own, rtol=1e-6)
            assert not there.layers[i].b.any()
        assert not there.layers[0]._theta.any() and not there.layers[2]._theta.any()
    again = nncore.landscape(network, np.ones((3, 4)), np.ones((3, 2)), shape=2, end=False)
    other = nncore.landscape(network, np.ones((3, 4)), np.ones((3, 2)), shape=2, seed=1, end=False)
    assert (again.directions == found.directions).all()
    assert not (other.directions == found.directions).all(axis=1).any()


def test_rows_of_an_embedding_are_filters():
    network = Network(2, nncore.Embedding(5, 3), Dense(1), seed=0)
    plane = directions.choose(network, "random", network.theta.astype(float), None, 0)
    table = plane.u[:15].reshape(5, 3)
    own = network.theta[:15].reshape(5, 3)
    np.testing.assert_allclose(
        np.linalg.norm(table, axis=1), np.linalg.norm(own, axis=1), rtol=1e-6
    )


def test_principal_directions():
    """Against the singular vectors of the whole matrix."""
    network = xor()
    path = trained(network, *XOR, epochs=20)
    found = nncore.landscape(network, *XOR, path=path, shape=5)
    points = np.asarray(path, np.float64)
    assert points.shape == (21, network.n_params) and (points[-1] == network.theta).all()
    _, sizes, vectors = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    assert found.kind == "path"
    for direction, vector in zip(found.directions, vectors, strict=False):
        assert abs(direction @ vector) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found.explained, (sizes**2 / (sizes**2).sum())[:2], rtol=1e-6)
    np.testing.assert_allclose(
        found.path, (points - points[-1]) @ found.directions.T, atol=1e-6
    )
    assert found.path[-1] == pytest.approx([0, 0], abs=1e-12) and (found.path[0] <= 1e-9).all()
    f = network.theta_to_loss(*XOR)
    assert found.path_losses.tolist() == [f(p)[0] for p in points]
    low, high = found.path.min(axis=0), found.path.max(axis=0)
    for axis, values in enumerate((found.a, found.b)):
        assert values[0] < low[axis] and high[axis] < values[-1]
    assert "% of the variance" in str(found)


def test_projection_onto_any_two_directions_is_the_nearest_point():
    rng = np.random.default_rng(0)
    network = xor("sgd", dtype="float64")
    vectors = rng.normal(size=(2, network.n_params)) * [[1], [1e3]]
    points = rng.normal(size=(7, network.n_params))
    found = nncore.landscape(network, *XOR, path=points, directions=vectors, shape=2, end=False)
    want, _, _, _ = np.linalg.lstsq(vectors.T, (points - points[-1]).T, rcond=None)
    np.testing.assert_allclose(found.path, want.T, rtol=1e-9, atol=1e-12)
    assert 0 < found.explained.sum() < 1


NAMES = [
    ("layers[0].W[0, 1]", "layers[1].b[0]"), ((0, 0, 1), (1, 0)), ("w15", "b6"),
    ("w1_5", "b6"), ("layers[0].W[0,1]", "b6"),
]  # fmt: skip


@pytest.mark.parametrize("names", NAMES)
def test_two_weights(names):
    network = Network(3, Dense(2, "sigmoid"), Dense(1), seed=0, dtype="float64")
    X, y = np.random.default_rng(0).normal(size=(10, 3)), np.ones(10)
    found = nncore.landscape(network, X, y, directions=names, shape=(5, 4), end=False)
    w, b = network.layers[0].W[0, 1], network.layers[1].b[0]
    assert found.center == (w, b)
    there = network.copy()
    there.layers[0].W[0, 1], there.layers[1].b[0] = found.a[3], found.b[1]
    assert (found.theta_at(found.a[3], found.b[1]) == there.theta).all()
    assert found.losses[3, 1] == there.evaluate(X, y)["loss"]
    assert found.a[0] <= 0 <= found.a[-1] and found.a[0] < w < found.a[-1]


def test_named_units():
    network = Network(12, Dense(3, "tanh"), Dense(2), seed=0)
    assert places.find(network, "w12_13").at == 11 * 3
    assert places.find(network, "w15_17").at == 12 * 3 + 3 + 2 * 2 + 1
    assert places.find(network, "b15").at == 12 * 3 + 2
    inner = Network(2, nncore.Residual(Dense(3, "tanh"), Dense(2)), Dense(1), seed=0)
    assert places.find(inner, "layers[0].1.W[2, 1]").at == 6 + 3 + 5


BAD = {
    "no such directions": dict(directions="sideways"),
    "a number for directions": dict(directions=5),
    "three directions": dict(directions=np.ones((3, 9))),
    "path without a path": dict(directions="path"),
    "the same weight": dict(directions=("w13", (0, 0, 0))),
    "no such weight": dict(directions=("w13", "layers[0].W[2, 0]")),
    "no such layer": dict(directions=("w13", "layers[7].W[0, 0]")),
    "not a name": dict(directions=("w13", "v11")),
    "over a layer": dict(directions=("w13", "w15")),
    "equal vectors": dict(directions=[np.ones(9), 2 * np.ones(9)]),
    "a zero vector": dict(directions=[np.ones(9), np.zeros(9)]),
    "short vectors": dict(directions=[np.ones(8), np.zeros(8)]),
    "NaN": dict(directions=[np.ones(9), np.full(9, np.nan)]),
    "path of others": dict(path=np.ones((4, 8))),
    "flat path": dict(path=np.ones(9)),
    "path that stands still": dict(path=np.ones((4, 9))),
    "path on a line": dict(path=np.outer(np.arange(4), np.ones(9))),
    "path with NaN": dict(path=np.full((4, 9), np.nan)),
    "center of others": dict(center=np.ones(8)),
    "one point": dict(shape=1),
    "too many points": dict(shape=10**30),
    "seed below 0": dict(seed=-1),
    "seed of text": dict(seed="one"),
    "seed of a fraction": dict(seed=0.5),
    "span that overflows": dict(span=1e308),
    "three sizes": dict(shape=(3, 3, 3)),
    "no span": dict(span=0),
    "span of text": dict(span="wide"),
    "endless span": dict(span=np.inf),
    "end of text": dict(end="yes"),
    "verbose": dict(verbose="loud"),
    "threads": dict(n_threads=0),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(case):
    network = xor()
    before = state(network)
    with pytest.raises(ValueError) as error:
        nncore.landscape(network, *XOR, **BAD[case])
    assert len(str(error.value)) > 20
    assert state(network) == before


def test_not_a_network():
    with pytest.raises(TypeError, match="Network"):
        nncore.landscape("xor", *XOR)


def test_weights_of_zero_have_no_random_direction():
    network = Network(2, Dense(1, init="zeros"))
    with pytest.raises(ValueError, match="all weights"):
        nncore.landscape(network, *XOR)
    frozen = Network(2, Dense(1, trainable=False))
    with pytest.raises(ValueError, match="no layer of this network is: set trainable = True"):
        nncore.landscape(frozen, *XOR)
    assert nncore.landscape(frozen, *XOR, directions=("w13", "b3"), shape=3).kind == "weights"


# --- progress and Ctrl-C --------------------------------------------------------------------------


def test_progress(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    nncore.landscape(xor(), *XOR, shape=(4, 5), verbose=True, end=False)
    assert "point 20/20  " in out.getvalue()
    nncore.landscape(xor(), *XOR, shape=3, end=False)
    assert out.getvalue().count("\n") == 1


@pytest.mark.parametrize("case", ["many small points", "long points"])
def test_interrupted(case, record_property):
    if case == "many small points":
        network, X = Network(8, Dense(8, "tanh"), Dense(1), seed=0), np.zeros((64, 8), "float32")
    else:
        network = Network(256, Dense(512, "tanh"), Dense(1), seed=0)
        X = np.broadcast_to(np.zeros(256, "float32"), (100_000, 256))
    before = state(network)
    interrupted(
        record_property, case,
        lambda: nncore.landscape(network, X, np.zeros((len(X), 1), "float32"), shape=1000),
    )  # fmt: skip
    assert state(network) == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer")
def test_an_error_in_a_handler_ends_it():
    def handler(*_):
        raise LookupError("from the handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(LookupError):
            nncore.landscape(xor(), *XOR, shape=3000, end=False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- Path -----------------------------------------------------------------------------------------


def test_a_path_thins_itself_and_keeps_both_ends():
    network = Network(1, Dense(1), seed=0)
    path = nncore.Path(every=2, most=10)
    for epoch in range(100):
        network.theta = [epoch, -epoch]
        path.record(network)
        assert len(path) <= 10
        assert path.epochs[0] == 0 and path.epochs[-1] == epoch
        assert np.asarray(path)[:, 0].tolist() == path.epochs
    gaps = np.diff(path.epochs[:-1])
    assert len(set(gaps.tolist())) == 1 and gaps[0] == path.every


def test_a_path_as_a_callback():
    network, path = xor(), nncore.Path()
    for _ in range(2):
        network.fit(*XOR, epochs=5, callbacks=[path], verbose=False)
    assert path.epochs == list(range(11))
    assert (np.asarray(path)[-1] == network.theta).all()


def test_a_path_ends_where_stop_restores_parameters():
    class Spoil(nncore.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 3:
                self.network.theta += 10

    network, path = xor(), nncore.Path()
    stop = nncore.Stop(max_fail=2)
    history = network.fit(*XOR, epochs=9, validation_data=XOR, stop=stop,
                          callbacks=[path, Spoil()], verbose=False)  # fmt: skip
    assert history.stop_reason == "max_fail"
    assert (np.asarray(path)[-1] == network.theta).all()


def test_paths_that_are_refused():
    for bad in (dict(every=0), dict(most=2), dict(every=1.5)):
        with pytest.raises(ValueError):
            nncore.Path(**bad)
    path = nncore.Path()
    assert len(path) == 0 and np.asarray(path).shape == (0, 0)
    with pytest.raises(ValueError, match="no points; a Path gets them in fit"):
        nncore.landscape(xor(), *XOR, path=path)
    with pytest.raises(TypeError, match=r"takes a nncore\.Network, got ndarray"):
        path.record(xor().theta)
    path.record(xor())
    with pytest.raises(ValueError, match="make a new Path"):
        path.record(Network(1, Dense(1)))


# --- the picture ----------------------------------------------------------------------------------


@pytest.fixture
def drawn():
    matplotlib = pytest.importorskip("matplotlib", reason='plots need pip install ".[plot]"')
    matplotlib.use("Agg")
    network = xor()
    path = trained(network, *XOR, epochs=20)
    return nncore.landscape(network, *XOR, path=path, shape=21)


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_plot(drawn, kind, tmp_path):
    ax = drawn.plot(kind=kind)
    ax.figure.savefig(tmp_path / "landscape.png")
    assert "principal direction 1" in ax.get_xlabel() and "%" in ax.get_ylabel()
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[0] == "start" and drawn.end.verdict in texts[1]


def test_plot_on_given_axes(drawn):
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert drawn.plot(ax) is ax
    with pytest.raises(ValueError, match="3d"):
        drawn.plot(ax, kind="3d")
    ax = Figure().add_subplot(projection="3d")
    assert drawn.plot(ax, kind="3d") is ax
    with pytest.raises(ValueError, match='kind must be "2d", a map, or "3d", a surface'):
        drawn.plot(kind="4d")


@pytest.mark.parametrize("case", ["infinite", "all infinite", "level", "negative", "zero"])
def test_plot_of_odd_losses(drawn, case):
    losses = drawn.losses
    if case == "infinite":
        losses[:5] = np.inf
        losses[7, 7] = np.nan
    elif case == "all infinite":
        losses[:] = np.nan
        with pytest.raises(ValueError, match="nothing to draw"):
            drawn.plot()
        return
    elif case == "level":
        losses[:] = drawn.path_losses[:] = 0.25
    elif case == "negative":
        losses -= 1
    else:
        losses[3, 3] = 0
    for kind in ("2d", "3d"):
        drawn.plot(kind=kind).figure.canvas.draw()


def test_labels_of_a_surface_are_clear_of_its_ticks(drawn):
    from matplotlib.figure import Figure

    for ax in (None, Figure(figsize=(5, 4)).add_subplot(1, 2, 2, projection="3d")):
        ax = drawn.plot(ax, kind="3d")
        ax.figure.canvas.draw()
        for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
            ticks = [label.get_window_extent() for label in axis.get_ticklabels() if label._text]
            label = axis.label.get_window_extent()
            if axis is not ax.yaxis or ax.figure.get_figwidth() > 6:  # a box round slanted text
                assert not any(label.overlaps(tick) for tick in ticks), axis.axis_name
        right = ax.zaxis.label.get_window_extent().x1
        assert right <= ax.figure.bbox.x1


@pytest.fixture
def several():
    """Two paths from one start, and where the second ends."""
    paths = {}
    for name, optimizer in (("slow", nncore.SGD(0.02)), ("fast", nncore.SGD(0.2))):
        network = xor(optimizer)
        paths[name] = trained(network, *XOR, epochs=20)
    return network, paths


def test_several_paths(several):
    network, paths = several
    found = nncore.landscape(network, *XOR, path=paths, shape=21)
    assert found.kind == "path" and list(found.path) == ["slow", "fast"]
    f = network.theta_to_loss(*XOR)
    for name, path in paths.items():
        points = np.asarray(path, np.float64)
        np.testing.assert_allclose(
            found.path[name], (points - found.origin) @ found.directions.T, atol=1e-6
        )
        assert found.path_losses[name].tolist() == [f(p)[0] for p in points]
        for axis, values in enumerate((found.a, found.b)):
            assert values[0] < found.path[name][:, axis].min()
            assert found.path[name][:, axis].max() < values[-1]
    everything = np.concatenate([np.asarray(p, np.float64) for p in paths.values()])
    _, sizes, _ = np.linalg.svd(everything - everything.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(found.explained, (sizes**2 / (sizes**2).sum())[:2], rtol=1e-5)
    assert (found.origin == network.theta).all() and "of the paths' 42 points" in str(found)
    as_list = nncore.landscape(network, *XOR, path=list(paths.values()), shape=2, end=False)
    assert list(as_list.path) == ["path 1", "path 2"]
    arrays = {name: np.asarray(path) for name, path in paths.items()}
    again = nncore.landscape(network, *XOR, path=arrays, shape=21, end=False)
    assert (again.losses == found.losses).all()


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_several_paths_drawn(several, kind):
    pytest.importorskip("matplotlib", reason='plots need pip install ".[plot]"')
    network, paths = several
    found = nncore.landscape(network, *XOR, path=paths, shape=21)
    ax = nncore.plots.landscape(found, kind=kind)
    ax.figure.canvas.draw()
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    ends = [f"{name}: to loss {losses[-1]:.3g}" for name, losses in found.path_losses.items()]
    assert texts[:3] == [*ends, "start"] and texts[3].startswith("network: ")
    later = nncore.landscape(network, *XOR, directions="random", shape=21, end=False)
    ax = later.plot(kind=kind, paths=paths)
    ax.figure.canvas.draw()
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["slow", "fast", "start", f"network: loss {later.center_loss:.3g}"]
    assert found.plot(kind=kind, paths={"third": paths["slow"]}).has_data()
    with pytest.raises(ValueError, match="has a path 'fast' already: give it another name"):
        found.plot(kind=kind, paths=paths)


def test_a_path_that_is_given_to_the_picture_lies_on_the_surface(drawn):
    from nncore.views.landscapes.relief import Scale

    i, j = np.array([0, 3, 19]), np.array([20, 5, 0])
    points = np.stack([drawn.a[i], drawn.b[j]], axis=1)
    scale = Scale(drawn)
    np.testing.assert_allclose(
        scale.on_surface(drawn, points), scale.heights(drawn.losses[i, j]), rtol=1e-9
    )
    middle = (points[1:2] + [drawn.a[4], drawn.b[6]]) / 2
    corners = scale.heights(drawn.losses[3:5, 5:7])
    np.testing.assert_allclose(scale.on_surface(drawn, middle), corners.mean(), rtol=1e-9)
    assert np.isnan(scale.on_surface(drawn, np.array([[drawn.a[-1] + 1, 0.0]]))).all()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ({}, "several paths are a dict by name, got names"),
        ({1: "path"}, r"several paths are a dict by name, got names \[1\]"),
        ({"a": np.zeros((3, 2))}, "path 'a' must have points of 9 parameters, got points of 2"),
        ({"a": np.zeros(13)}, r"path 'a' must be a nncore.Path, or an array .* shape \(13,\)"),
        ([nncore.Path(), nncore.Path()], "path 'path 1' must have points of 9 .*, got no points"),
        ({"a": np.full((3, 9), np.nan)}, "path 'a' contains NaN"),
    ],
)
def test_several_paths_refused(path, message):
    with pytest.raises(ValueError, match=message):
        nncore.landscape(xor(), *XOR, path=path)


def test_plot_without_matplotlib(monkeypatch):
    found = nncore.landscape(xor(), *XOR, shape=3)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for kind in ("2d", "3d"):
        with pytest.raises(ImportError, match=r"nncore-c\[plot\]"):
            found.plot(kind=kind)


def test_shown():
    found = nncore.landscape(xor(), *XOR, shape=3)
    assert isinstance(found, Landscape) and repr(found) == "Landscape(random, 3 x 3 points)"
    a, b, loss = found.lowest()
    assert loss == found.losses.min() and "random direction 1" in str(found)
    assert a in found.a and b in found.b
