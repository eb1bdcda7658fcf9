"""Scaling: its numbers, and that a network with it is the network of data scaled outside."""

import copy
import json
import pickle
import tracemalloc

import numpy as np
import pytest

import nncore
from nncore import SGD, Dense, Embedding, Network, Residual, Scaling, files, persistence

from .networks import BACKENDS, quiet
from .test_collapse import bound

RNG = np.random.default_rng(0)
EPS = np.finfo(np.float64).eps
X = RNG.normal(size=(300, 4)) * [1, 10, 1000, 0.01] + [0, 5, 1e4, 3]
Y = np.column_stack([2e5 + 3e4 * np.sin(X[:, 1] / 10) + 10 * X[:, 2], X[:, 0] / 500])
W = RNG.integers(0, 3, 300).astype(float)
engines = pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "reference"])
backends = pytest.mark.parametrize("backend", BACKENDS)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def pair(dtype="float64", backend="auto", kind="standard", **options):
    """A network with scalings, one without, and X and Y scaled for it in NumPy."""
    options = {"optimizer": SGD(0.05, momentum=0.9), "seed": 1} | options
    inner = Dense(9, "tanh"), Dense(2)
    x, y = Scaling.of(X.astype(dtype), kind), Scaling.of(Y.astype(dtype), kind)
    net = Network(4, Scaling(kind), *inner, Scaling(kind).inverse(), dtype=dtype,
                  backend=backend, **options)  # fmt: skip
    plain = Network(4, *inner, dtype=dtype, backend=backend, **options)
    scaled = [
        (data.astype(dtype) - s.mean.astype(dtype)) / s.scale.astype(dtype)
        for data, s in ((X, x), (Y, y))
    ]
    return net, plain, *scaled


def adapted(*arguments, **options):
    """The same, with numbers in the network."""
    net, plain, x, y = pair(*arguments, **options)
    net.layers[0].adapt(X.astype(net.dtype))
    net.layers[-1].adapt(Y.astype(net.dtype))
    return net, plain, x, y


# ---- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [1, 2, 7, 300])
def test_standard_numbers(blocks):
    data = X + [1e6, 0, 0, -1e7]  # where a sum of squares has no digits left
    found = Scaling.of(iter(np.array_split(data, blocks)))
    mean = data.mean(axis=0)
    # Means of numbers about a row: a few roundings; deviations: sums of n squares.
    np.testing.assert_allclose(found.mean, mean, rtol=8 * EPS)
    np.testing.assert_allclose(found.scale, (data - mean).std(axis=0), rtol=len(X) * EPS)


@pytest.mark.parametrize("blocks", [1, 3])
def test_minmax_is_minus_one_to_one(blocks):
    scaled = Scaling.of(iter(np.array_split(X, blocks)), "minmax").map(X)
    ends = np.abs(X).max(axis=0) / np.ptp(X, axis=0)  # how far from 0 they are
    for found, end in ((scaled.min(axis=0), -1), (scaled.max(axis=0), 1)):
        assert (np.abs(found - end) <= 4 * EPS * (1 + ends)).all()
    wide = Scaling.of([[-1.7e308], [1.7e308]], "minmax")  # their difference overflows
    assert wide.scale == 1.7e308 and wide.mean == 0


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_columns_of_one_number_become_zero(kind):
    data = np.tile([0.1, -3e20, 0], (1000, 1))  # 0.1 is no sum of itself by a thousand
    found = Scaling.of(data, kind)
    assert found.mean.tolist() == [0.1, -3e20, 0] and found.scale.tolist() == [1, 1, 1]
    assert not found.map(data).any()
    assert Scaling.of([[2.5]], kind).scale == 1


def test_what_data_may_be():
    np.testing.assert_array_equal(Scaling.of([1, 2, 3]).mean, [2])
    np.testing.assert_array_equal(Scaling.of(np.array([[True, False], [False, False]])).mean,
                                  [0.5, 0])  # fmt: skip
    np.testing.assert_array_equal(Scaling.of(X.astype("f4")).mean.dtype, np.float64)
    shifted = Scaling.of(X[::-2, ::2])
    np.testing.assert_allclose(shifted.mean, X[::-2, ::2].mean(axis=0))


def test_memory_is_bounded(tmp_path):
    data = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f4", (1_000_000, 8))
    tracemalloc.start()
    Scaling.of(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.parametrize(("data", "message"), [
    (np.where(np.arange(8).reshape(4, 2) == 5, np.nan, 1), "NaN.*row 2, column 1"),
    (iter([[[1.0]], [[np.inf]]]), "infinity.*row 1, column 0"),
    (np.zeros((0, 3)), "no rows"),
    (iter([]), "no rows"),
    (np.zeros((2, 2, 2)), r"data of shape \(2, 2, 2\)"),
    (iter([np.ones((2, 3)), np.ones((2, 2))]), r"3 columns, got data of shape \(2, 2\)"),
    ([["a"]], "dtype"),
    (None, "None"),
    ([[1e300], [-1e300]], "column 0 has mean 0 and scale inf"),
])  # fmt: skip
def test_data_that_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        Scaling.of(data)


@pytest.mark.parametrize("arguments", [
    {"mean": [0, 0], "scale": [1, 0]}, {"scale": -1}, {"scale": np.nan}, {"mean": np.inf},
    {"mean": [1, 2], "scale": [1, 2, 3]}, {"mean": [[1]]}, {"mean": "a"}, {"mean": []},
    {"kind": "max"},
])  # fmt: skip
def test_numbers_that_are_refused(arguments):
    with pytest.raises(ValueError, match="Scaling"):
        Scaling(**arguments)


def test_data_in_place_of_a_kind():
    with pytest.raises(TypeError, match=r"Scaling\.of\(X\)"):
        Scaling(X)


def test_repr_and_inverse():
    layer = Scaling(mean=[1, 2], scale=[3, 4])
    assert repr(layer) == "Scaling(mean=[1.0, 2.0], scale=[3.0, 4.0])"
    back = layer.inverse()
    assert repr(back) == f"{layer!r}.inverse()" and repr(back.inverse()) == repr(layer)
    np.testing.assert_array_equal(back.map(layer.map(X[:, :2])), layer.unmap(layer.map(X[:, :2])))
    assert repr(Scaling("minmax").inverse()) == "Scaling('minmax').inverse()"
    many = Scaling.of(np.outer([-1, 1], np.geomspace(1, 512, 10)), "minmax")
    assert repr(many) == "<Scaling of 10 columns, means 0 to 0, scales 1 to 512>"
    assert repr(many.inverse()) == f"{repr(many)[:-1]}, inverted>"
    with pytest.raises(ValueError, match="read-only"):
        layer.mean[0] = 1
    for call in (Scaling().map, Scaling().inverse().unmap):
        with pytest.raises(ValueError, match="has no numbers yet: adapt it, or fit"):
            call(X)


# ---- a network with it is one without it, of scaled data ---------------------------------------


@engines
@dtypes
@pytest.mark.parametrize("batch_size", [1, 7, "full"])
@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_training_has_the_bits_of_scaled_data(backend, dtype, batch_size, kind):
    net, plain, x, y = pair(dtype, backend, kind)
    for weights in (None, np.minimum(W, 1)):
        options = {"epochs": 2, "batch_size": batch_size, "sample_weight": weights}
        assert quiet(net, X, Y, **options)["loss"] == quiet(plain, x, y, **options)["loss"]
    assert net.theta.tobytes() == plain.theta.tobytes()
    end = net.layers[-1]
    np.testing.assert_array_equal(net.predict(X), plain.predict(x) * end.scale + end.mean)
    assert net.predict(X[5:6])[0].tolist() == net.predict(X)[5].tolist()


def test_the_reference_trains_the_same():
    nets = [pair(backend=backend)[0] for backend in ("auto", "reference")]
    for net in nets:
        quiet(net, X, Y, epochs=2, batch_size=7, sample_weight=W)
    # Each of 2 * 43 updates moves a parameter by what has some 32 roundings in it.
    for a, b in ([net.theta for net in nets], [net.predict(X) for net in nets]):
        np.testing.assert_allclose(a, b, rtol=0, atol=86 * 32 * EPS * np.abs(b).max())


@engines
@dtypes
def test_the_loss_is_one(backend, dtype):
    """All that has a loss has that of scaled targets."""
    net, plain, x, y = adapted(dtype, backend)
    loss, gradient = net.loss_and_gradient(X, Y, sample_weight=W)
    expected, wanted = plain.loss_and_gradient(x, y, sample_weight=W)
    assert loss == expected and gradient.tobytes() == wanted.tobytes()
    assert net.evaluate(X, Y, sample_weight=W)["loss"] == loss
    found, wanted = (n.sample_gradients(*data)[1] for n, data in ((net, (X, Y)), (plain, (x, y))))
    np.testing.assert_array_equal(found, wanted)
    v = RNG.normal(size=net.n_params)
    found, wanted = (n.hessian_vector_product(*data, v)
                     for n, data in ((net, (X, Y)), (plain, (x, y))))  # fmt: skip
    np.testing.assert_array_equal(found, wanted)
    f = net.theta_to_loss(X, Y, sample_weight=W)
    assert f(net.theta)[0] == loss
    point = nncore.landscape(net, X, Y, shape=3, sample_weight=W, end=False, verbose=False)
    assert point.center_loss == loss


@backends
@dtypes
def test_derivatives_are_in_the_users_units(backend, dtype):
    net, plain, x, y = adapted(dtype, backend)
    start, end = net.layers[0], net.layers[-1]
    units = end.scale[:, None].astype("f8") / start.scale
    terms = np.abs(plain.layers[0].W) @ np.abs(plain.layers[1].W)  # that each element is a sum of
    error = np.abs(net.jacobian(X) - plain.jacobian(x) * units) / (terms.T * units)
    assert error.max() < 16 * np.finfo(dtype).eps  # nine products and what is around them
    wanted = plain.jacobian(x, "parameters").astype("f8") * end.scale[:, None]
    np.testing.assert_allclose(net.jacobian(X, "parameters"), wanted, rtol=4 * np.finfo(dtype).eps)
    found, wanted = net.input_gradient(X, Y), plain.input_gradient(x, y) / start.scale
    np.testing.assert_allclose(found, wanted, rtol=2 * np.finfo(dtype).eps)
    assert nncore.check_gradients(net, X[:9], Y[:9], inputs=True, second=True)


@dtypes
def test_the_unit_does_not_matter(dtype):
    """In another unit, here by powers of two, training has the same bits."""
    losses, thetas = [], []
    for unit in (1, 2.0**12, 2.0**-9):
        net = pair(dtype)[0]
        losses.append(quiet(net, X * unit, Y / unit, epochs=3)["loss"])
        thetas.append(net.theta.tobytes())
    assert losses[0] == losses[1] == losses[2] and len(set(thetas)) == 1


def test_the_loss_is_what_is_left_of_the_variance():
    net = pair(optimizer="adam")[0]
    quiet(net, X, Y, epochs=20)
    left = np.mean((net.predict(X) - Y) ** 2, axis=0) / Y.var(axis=0)
    assert net.evaluate(X, Y)["loss"] == pytest.approx(left.mean(), rel=1e-12)


@pytest.mark.parametrize("optimizer", ["lm", "bayesian", "lbfgs", "scg", "irprop+"])
def test_full_batch_trainers(optimizer):
    net, plain, x, y = pair(optimizer=optimizer)
    a, b = quiet(net, X, Y, epochs=4), quiet(plain, x, y, epochs=4)
    assert a["loss"] == b["loss"]
    assert net.theta.tobytes() == plain.theta.tobytes()
    twin = pair(optimizer=optimizer, backend="reference")[0]
    np.testing.assert_allclose(quiet(twin, X, Y, epochs=4)["loss"], a["loss"], rtol=1e-9)


def test_online_learning_row_by_row():
    net, plain, x, y = adapted("float32")
    for i in range(20):
        rows = slice(i, i + 1)
        assert net.partial_fit(X[rows], Y[rows]) == plain.partial_fit(x[rows], y[rows])
    assert net.theta.tobytes() == plain.theta.tobytes()


def test_other_starts_and_rates():
    net, plain, x, y = adapted()
    assert net.lsuv(X) == plain.lsuv(x) and net.theta.tobytes() == plain.theta.tobytes()
    found, wanted = nncore.lr_find(net, X, Y, seed=0), nncore.lr_find(plain, x, y, seed=0)
    assert found.suggestion == wanted.suggestion


def test_tuned_small_networks_online():
    options = {"optimizer": nncore.Adam(0.01, clip_norm=0.5, ema=0.9)}
    nets = adapted(**options)[:2]
    for net in nets:
        hidden = next(layer for layer in net.layers if isinstance(layer, Dense))
        hidden.l2, hidden.max_norm, net.layers[-1].trainable = 0.01, 1.0, net is nets[0]
    nets[1].layers[-1].trainable = True
    quiet(nets[0], X, Y, batch_size=1)
    quiet(nets[1], *pair()[2:], batch_size=1)
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()
    assert nets[0].averaged().theta.tobytes() == nets[1].averaged().theta.tobytes()


@dtypes
def test_a_trace_is_the_engines_bits(dtype):
    net = adapted(dtype, optimizer=SGD(0.1))[0]
    for rows in (slice(0, 1), slice(0, 5)):
        trace = net.trace(X[rows], Y[rows])
        assert trace.verify() and trace.verify().update
        np.testing.assert_array_equal(trace.outputs, net.predict(X[rows]))
    [chain] = net.trace(X[0], Y[0]).weight(1, 2, 3).chains
    assert chain.input.meaning == "input 3, scaled"
    assert chain.paths[0].factors[0].meaning.startswith("slope of mse at the output, scaled: ")
    assert sum(path.value for path in chain.paths) + chain.rest == pytest.approx(chain.above)
    last = net.trace(X[0], Y[0]).layers[-1]
    np.testing.assert_allclose(last.da * net.layers[-1].scale, last.dx)


def test_collapse_leaves_it():
    net = Network(4, Scaling.of(X), Dense(3, "tanh"), Dense(2), Dense(2),
                  Scaling.of(Y).inverse(), seed=0, dtype="float64")  # fmt: skip
    folded = net.collapse()
    assert [type(layer).__name__ for layer in folded.layers] == [
        "Scaling", "Dense", "Dense", "Scaling",
    ]  # fmt: skip
    x, mean = net.layers[0].map(X), net.layers[-1].mean
    inner = Network(4, *(Dense(d.n_out, d.activation, init=d.W, bias_init=d.b) for d in
                         net.layers[1:-1]), dtype="float64")  # fmt: skip
    limit = bound(inner, x) * net.layers[-1].scale + 4 * EPS * np.abs(net.predict(X) - mean)
    limit += 2 * EPS * (np.abs(mean) + np.abs(net.predict(X)))  # of the scaling itself
    assert (np.abs(folded.predict(X) - net.predict(X)) <= limit).all()


# ---- numbers from the first fit ------------------------------------------------------------------


@dtypes
def test_repr_of_what_is_adapted(dtype):
    net = Network(1, Scaling(), Dense(1), Scaling("minmax").inverse(), dtype=dtype, seed=0)
    assert [repr(net.layers[i]) for i in (0, 2)] == ["Scaling()", "Scaling('minmax').inverse()"]
    net.fit(X[:, :1], Y[:, :1], epochs=1, verbose=False)
    for layer in (net.layers[0], net.layers[2]):
        again = eval(repr(layer), {"Scaling": Scaling})
        assert (again.kind, again.inverted) == (layer.kind, layer.inverted)
        np.testing.assert_array_equal(again.mean.astype(dtype), layer.mean)
        np.testing.assert_array_equal(again.scale.astype(dtype), layer.scale)


def test_the_first_fit_gives_the_numbers():
    net = pair()[0]
    assert net.layers[0].mean is None and net.layers[-1].scale is None
    quiet(net, X[:200], Y[:200], validation_data=(X[200:], Y[200:]), stop=nncore.Stop(max_fail=9))
    np.testing.assert_array_equal(net.layers[0].mean, Scaling.of(X[:200]).mean)
    np.testing.assert_array_equal(net.layers[-1].scale, Scaling.of(Y[:200]).scale)
    before = net.layers[0].scale.copy()
    quiet(net, 3 * X, Y)
    np.testing.assert_array_equal(net.layers[0].scale, before)
    net.layers[0].adapt(3 * X)
    np.testing.assert_allclose(net.layers[0].scale, Scaling.of(3 * X).scale)


def test_numbers_that_are_there_stay():
    net = Network(4, Scaling.of(2 * X), Dense(2), Scaling().inverse(), dtype="float64")
    quiet(net, X, Y)
    np.testing.assert_array_equal(net.layers[0].scale, Scaling.of(2 * X).scale)
    np.testing.assert_array_equal(net.layers[-1].scale, Scaling.of(Y).scale)


@backends
def test_without_numbers_there_is_an_error(backend):
    net = pair(backend=backend)[0]
    calls = [
        lambda: net.predict(X), lambda: net.predict(X, out=np.empty((300, 2))),
        lambda: net.evaluate(X, Y), lambda: net.partial_fit(X, Y), lambda: net.jacobian(X),
        lambda: net.loss_and_gradient(X, Y), lambda: net.diagnose(X, Y), lambda: net.lsuv(X),
        lambda: net.trace(X[0], Y[0]), lambda: net.theta_to_loss(X, Y),
        lambda: nncore.check_gradients(net, X, Y), lambda: copy.deepcopy(net).predict(X),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match=r"layers\[0\], Scaling\(\), has no numbers yet"):
            call()
    net.layers[0].adapt(X)
    with pytest.raises(ValueError, match=r"layers\[3\].*net\.layers\[3\]\.adapt\(data\)"):
        net.predict(X)


def test_a_call_that_fails_leaves_it_without_numbers():
    net = pair("float32")[0]
    for options in ({"epochs": 0}, {"batch_size": "all"}, {"validation_data": (X, Y[:, :1])}):
        with pytest.raises(ValueError):
            quiet(net, X, Y, **options)
    with pytest.raises(ValueError, match="infinity as float32"):
        quiet(net, X * 1e38, Y)
    assert net.layers[0].mean is None and net.layers[-1].mean is None


@pytest.mark.parametrize("layers", [
    [Scaling().inverse(), Dense(2)], [Dense(3, "tanh"), Scaling(), Dense(2)],
    [Residual(Scaling(), Dense(4, "tanh")), Dense(2)],
    [Dense(3, "tanh"), Scaling().inverse(), Dense(2)],
])  # fmt: skip
def test_elsewhere_there_have_to_be_numbers(layers):
    net = Network(4, *layers)
    with pytest.raises(ValueError, match="has no numbers yet"):
        quiet(net, X, Y)


def test_behind_an_embedding():
    tokens = np.column_stack([RNG.integers(0, 5, 300), X[:, 2]])
    mean, scale = [0, 0, 0, X[:, 2].mean()], [1, 1, 1, X[:, 2].std()]
    net = Network(2, Embedding(columns={0: (5, 3)}), Scaling(mean=mean, scale=scale),
                  Dense(6, "tanh"), Dense(1), seed=0)  # fmt: skip
    quiet(net, tokens, X[:, :1])
    assert np.isfinite(net.predict(tokens)).all()


def test_numbers_too_small_for_float32():
    with pytest.raises(ValueError, match="in float32; column 1 has mean 0 and scale 0"):
        Network(2, Scaling(scale=[1, 1e-60]), Dense(1))
    net = Network(2, Scaling(), Dense(1), seed=0)
    with pytest.raises(ValueError, match="float32"):
        net.layers[0].adapt([[0, 0], [1e-59, 1]])
    assert net.layers[0].mean is None
    with pytest.raises(ValueError, match="is of 3 columns, and gets 2"):
        net.layers[0].adapt(np.ones((2, 3)))
    with pytest.raises(ValueError, match="is of 3 columns, and gets 2"):
        Network(2, Scaling.of(np.ones((2, 3))), Dense(1))


# ---- what may stand at the end -------------------------------------------------------------------


@pytest.mark.parametrize(("output", "loss"), [
    ("identity", "gaussian_nll"), ("identity", "poisson"), ("identity", "hinge"),
    ("sigmoid", "binary_cross_entropy"), ("identity", "cross_entropy"), ("sigmoid", "focal"),
])  # fmt: skip
def test_losses_of_other_targets_are_refused(output, loss):
    with pytest.raises(ValueError, match="Scaling"):
        Network(4, Dense(2, output), Scaling.of(Y).inverse(), loss=loss)


def test_the_last_leads_back():
    with pytest.raises(ValueError, match=r"Scaling\.of\(y\)\.inverse\(\)"):
        Network(4, Dense(2), Scaling.of(Y))
    with pytest.raises(ValueError, match="softmax, which only the last layer"):
        Network(4, Dense(2, "softmax"), Scaling.of(Y).inverse())


@pytest.mark.parametrize("loss", ["mse", "half_mse", "mae", "huber", "quantile", "log_cosh"])
def test_losses_of_any_numbers(loss):
    net, plain, x, y = pair(loss=loss)
    assert quiet(net, X, Y, epochs=2)["loss"] == quiet(plain, x, y, epochs=2)["loss"]


def test_targets_that_the_output_cannot_give():
    net = Network(4, Dense(2, "sigmoid"), Scaling.of(Y).inverse(), loss="mse")
    with pytest.warns(UserWarning, match="output activation is sigmoid"):
        net.evaluate(X, Y)
    net = Network(4, Dense(2, "tanh"), Scaling.of(Y, "minmax").inverse(), dtype="float64")
    net.evaluate(np.ones((300, 4)), Y)  # no warning


def test_a_diagnosis_looks_behind_it():
    assert {"unscaled_inputs", "unscaled_targets"} <= {f.code for f in pair()[1].diagnose(X, Y)}
    found = [finding.code for finding in adapted()[0].diagnose(X, Y)]
    assert "unscaled_inputs" not in found and "unscaled_targets" not in found


# ---- copies and files ----------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("fitted", [True, False])
def test_copies_and_files(dtype, fitted, tmp_path):
    net = pair(dtype, kind="minmax")[0]
    if fitted:
        quiet(net, X, Y)
    net.save(tmp_path / "net")
    copies = [net.copy(), copy.deepcopy(net), pickle.loads(pickle.dumps(net)),
              nncore.load(tmp_path / "net")]  # fmt: skip
    for other in copies:
        assert repr(other) == repr(net) and other.config() == net.config()
        assert quiet(other, X, Y)["loss"] == quiet(net.copy(), X, Y)["loss"]
        assert (net.layers[0].mean is not None) == fitted
        if fitted:
            np.testing.assert_array_equal(other.layers[-1].scale, net.layers[-1].scale)


def _edited(change, described=False):
    net = adapted()[0]
    tensors, metadata = files.from_bytes(persistence.to_bytes(net))
    tensors = {name: values.copy() for name, values in tensors.items()}
    description = json.loads(metadata["nncore"])
    change(description["config"]["layers"][0] if described else tensors)
    return files.to_bytes(tensors, {"nncore": json.dumps(description)})


@pytest.mark.parametrize("change", [
    lambda t: t["layers.0.scale"].__setitem__(1, 0),
    lambda t: t["layers.0.scale"].__setitem__(1, -1),
    lambda t: t["layers.3.scale"].__setitem__(1, np.inf),
    lambda t: t["layers.3.scale"].__setitem__(slice(None), 0),
    lambda t: t["layers.0.mean"].__setitem__(0, np.nan),
    lambda t: t.__setitem__("layers.0.mean", np.zeros(5)),
    lambda t: t.pop("layers.0.scale"),
])  # fmt: skip
def test_numbers_in_files_are_not_trusted(change):
    with pytest.raises(files.FileFormatError):
        persistence.from_bytes(_edited(change))


@pytest.mark.parametrize("change", [
    {"kind": "robust"}, {"kind": 3}, {"inverted": 1}, {"inverted": None}, {"mean": 1.0},
])  # fmt: skip
def test_descriptions_in_files_are_not_trusted(change):
    with pytest.raises(files.FileFormatError):
        persistence.from_bytes(_edited(lambda layer: layer.update(change), described=True))


def test_attributes():
    net = adapted()[0]
    with pytest.raises(ValueError, match="read-only"):
        net.layers[0].scale[0] = 0
    with pytest.raises(AttributeError):
        net.layers[0].mean = 3
    with pytest.raises(AttributeError, match="fixed when a Network is made"):
        net.layers[0].kind = "minmax"
    net.layers[0].trainable = False  # as of all layers
    net.summary()
