"""How layers and parameters are trained beyond the rule: penalties, decay, clipping, norms, frozen
layers, rates of layers, averages. The engine against its twin, and each against its meaning."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, AdamW, Dense, Lion, Network, RMSprop, _core, schedules

from .checks import assert_same_bits, central_differences, noise
from .test_tables import OF_ROW

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
rng = np.random.default_rng(0)
X, LABELS = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)

# Rates at which a network learns this in 50 steps, and no more.
RATES = {"adadelta": 1.0, "sgd": 0.1, "adagrad": 0.05}
RULES = {}
for name, of_row in OF_ROW.items():
    RULES[name] = copy.copy(of_row)
    RULES[name].lr = RATES.get(name, 0.002)
    if "eps" in vars(of_row):  # so that no tiny gradient makes a large move
        RULES[name].eps = 1e-3
SETTINGS = {
    "plain": ({}, {}),
    "decay": ({"weight_decay": 0.1}, {"l2": 0.02, "l1": 0.003, "lr_scale": 0.7}),
    "norm": ({"clip_norm": 0.2}, {"l2": 0.02, "max_norm": 0.9}),
    "value": ({"clip_value": 0.01, "ema": 0.9}, {"l1": 0.003}),
}


def network(optimizer=None, dtype="float64", first=None, second=None, **options):
    return Network(
        5, Dense(7, "tanh", **(first or {})), Dense(6, "softplus", **(second or {})),
        Dense(3, "softmax"), optimizer=copy.copy(optimizer or SGD(0.1)), dtype=dtype, seed=2,
        **options,
    )  # fmt: skip


def with_options(optimizer, options):
    optimizer = copy.copy(optimizer)
    for name, value in options.items():
        setattr(optimizer, name, value)
    return optimizer


def fit(net, epochs=10, batch_size=8, **options):
    return net.fit(X, LABELS, epochs=epochs, batch_size=batch_size, verbose=False, **options)


def trained(rule, setting, dtype, backend):
    options, layer = SETTINGS[setting]
    net = network(with_options(RULES[rule], options), dtype, first=layer, backend=backend)
    return net


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rule", RULES)
def test_engine_and_reference_for_fifty_steps_in_float64(isa, rule, setting):
    a, b = (trained(rule, setting, "float64", backend) for backend in (isa, "reference"))
    start = a.theta.copy()
    assert fit(a)["loss"] == pytest.approx(fit(b)["loss"], rel=1e-9)
    assert a._engine.n_updates == b._engine.n_updates == 50
    moved = np.abs(b.theta - start).max()
    assert moved > 1e-4 and np.ptp(b.theta) > 0
    np.testing.assert_allclose(a.theta, b.theta, rtol=0, atol=1e-8 * moved)
    for mine, its in zip(a._engine.state, b._engine.state, strict=True):
        np.testing.assert_allclose(mine, its, rtol=0, atol=1e-8 * np.abs(its).max())
    if setting == "value":
        assert a._engine.averaged == b._engine.averaged == 50
        np.testing.assert_allclose(a._engine.average, b._engine.average, rtol=0, atol=1e-8 * moved)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rule", RULES)
def test_engine_and_reference_for_fifty_steps_in_float32(isa, rule, setting):
    """They may differ by what float32 itself costs: the distance of its twin to float64."""
    exact, oracle, engine = (
        trained(rule, setting, dtype, backend)
        for dtype, backend in [("float64", "reference"), ("float32", "reference"), ("float32", isa)]
    )
    exact.theta = oracle.theta
    curves = [np.array(fit(net)["loss"]) for net in (exact, oracle, engine)]
    cost = max(np.abs(curves[1] - curves[0]).max(), 4 * EPS["float32"])
    assert cost < (1e-2 if rule == "lion" else 1e-4)  # a sign may fall the other way
    assert np.abs(curves[2] - curves[0]).max() <= 8 * cost
    cost = max(np.abs(oracle.theta - exact.theta).max(), 4 * EPS["float32"])
    if rule != "lion":
        assert np.abs(engine.theta - exact.theta).max() <= 8 * cost


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rule", RULES)
def test_online_is_batches_of_one(dtype, rule, setting):
    """Many rows in one call and one row in each; the C tests compare the general way with them."""
    a, b = (trained(rule, setting, dtype, "auto") for _ in range(2))
    fit(a, 1, 1, shuffle=False)
    for i in range(len(X)):
        b.partial_fit(X[i : i + 1], LABELS[i : i + 1])
    assert_same_bits(a.theta, b.theta)
    assert_same_bits(np.ascontiguousarray(a._engine.state), np.ascontiguousarray(b._engine.state))


LARGE = [(200, "tanh"), (170, "relu"), (7, "softmax")]


@pytest.mark.parametrize("options", [
    {"weight_decay": 0.1}, {"clip_norm": 0.05}, {"clip_value": 1e-3, "ema": 0.9},
    {"weight_decay": 0.1, "ema": 0.5}])  # fmt: skip
@pytest.mark.parametrize("rule", ["sgd", "amsgrad", "lion"])
def test_number_of_threads_and_instruction_set_change_no_bit(dtype, rule, options):
    """Of a network whose parameters are updated where their gradient is computed."""
    data, labels = noise((307, 260), dtype), np.arange(307) % 7
    runs = []
    isas = [isa for isa in _core.isas() if isa != "baseline"] or _core.isas()
    for isa, n_threads in itertools.product(isas, (1, 2, 3)):
        optimizer = with_options(RULES[rule], options)
        layers = [
            Dense(n, act, l2=0.01 * i, l1=1e-4 * (2 - i), max_norm=None if i else 0.8)
            for i, (n, act) in enumerate(LARGE)
        ]
        layers[1].lr_scale = 0.3
        net = Network(260, *layers, optimizer=optimizer, dtype=dtype, seed=1, backend=isa)
        net.layers[2].trainable = False
        history = net.fit(data, labels, epochs=2, batch_size=100, verbose=False,
                          n_threads=n_threads)  # fmt: skip
        average = net._engine.average if net._engine.average is not None else net.theta
        runs.append([net.theta, net._engine.state, average, np.array(history["loss"])])
    for run in runs[1:]:
        for one, other in zip(runs[0], run, strict=True):
            assert_same_bits(np.ascontiguousarray(other), np.ascontiguousarray(one))


# --- Kernels --------------------------------------------------------------------------------------


def test_shape(kernels, sizes):
    for n in (*sizes, 201):
        p, g = noise(n, kernels.dtype), noise(n, kernels.dtype, 1)
        p[:2] = 0
        got = g.copy()
        before = p.copy()
        kernels.shape(p, got, l1=0.25, l2=0.5, limit=0.75, scale=0.5)
        wide = p.astype("float64")
        want = np.clip(g + 0.25 * np.sign(wide) + 0.5 * wide, -0.75, 0.75) * 0.5
        np.testing.assert_allclose(got, want, rtol=0, atol=4 * EPS[kernels.dtype.name])
        assert_same_bits(p, before)
        unchanged = g.copy()
        kernels.shape(p, unchanged)
        assert_same_bits(unchanged, g)


def test_decay_settles(kernels, sizes):
    least = np.finfo(kernels.dtype).tiny
    for n in (*sizes, 201):
        p = noise(n, kernels.dtype)
        p[: n // 2] = least
        want = p * kernels.dtype.type(0.75)
        want[: n // 2] = 0
        kernels.decay(p, 0.75)
        assert_same_bits(p, want)


def test_norms(kernels, sizes):
    for rows, n in itertools.product((0, 1, 5), (*sizes, 201)):
        x = noise((rows, n + 3), kernels.dtype)[:, :n]
        size, square = kernels.norms(x)
        assert size == pytest.approx(np.abs(x).sum(dtype="float64"), rel=1e-13)
        assert square == pytest.approx(np.square(x, dtype="float64").sum(), rel=1e-13)


def test_limit_columns(kernels, sizes):
    for n in (*sizes, 201):
        w = noise((6, n), kernels.dtype) * np.linspace(0, 1, n, dtype=kernels.dtype)
        norms = np.linalg.norm(w.astype("float64"), axis=0)
        got, limit = w.copy(), 1.0
        kernels.limit_columns(got, limit)
        over = norms > limit
        assert n < 5 or (over.any() and not over.all())
        assert_same_bits(got[:, ~over], w[:, ~over])
        want = w[:, over] / norms[over]
        np.testing.assert_allclose(got[:, over], want, rtol=4 * EPS[kernels.dtype.name])


def test_average(kernels, sizes):
    for n in (*sizes, 201):
        x, to = noise(n, kernels.dtype), noise(n, kernels.dtype, 1)
        want = to + 0.25 * (x.astype("float64") - to)
        kernels.average(to, x, 0.25)
        np.testing.assert_allclose(to, want, rtol=0, atol=2 * EPS[kernels.dtype.name])
        zero = np.zeros_like(x)
        kernels.average(zero, x, 1)
        assert_same_bits(zero, x)


# --- Penalties ------------------------------------------------------------------------------------

backends = pytest.mark.parametrize("backend", ["auto", "reference"])
PENALISED = {"first": {"l1": 0.03, "l2": 0.2}, "second": {"l2": 0.5}}


@backends
def test_the_loss_has_the_penalties(backend):
    with_them, without = network(backend=backend, **PENALISED), network(backend=backend)
    W = [layer.W for layer in without.layers]
    penalty = 0.03 * np.abs(W[0]).sum() + 0.1 * (W[0] ** 2).sum() + 0.25 * (W[1] ** 2).sum()
    assert penalty > 1
    for use in (
        lambda net: net.evaluate(X, LABELS)["loss"],
        lambda net: net.loss_and_gradient(X, LABELS)[0],
        lambda net: net.copy().fit(X, LABELS, batch_size=40, verbose=False)["loss"][0],
        lambda net: net.copy().partial_fit(X, LABELS),
    ):
        assert use(with_them) == pytest.approx(use(without) + penalty, rel=1e-12)
    same = with_them.evaluate(X, LABELS)["accuracy"]
    assert same == without.evaluate(X, LABELS)["accuracy"]


@backends
@pytest.mark.parametrize("rows", [1, 40, 300])
def test_the_gradient_is_of_exactly_this_loss(backend, rows):
    net = network(backend=backend, **PENALISED)
    net.layers[1].trainable = False  # its gradient is given all the same
    data, labels = np.resize(X, (rows, 5)), np.resize(LABELS, rows)
    _, gradient = net.loss_and_gradient(data, labels)
    want = central_differences(lambda: net.loss_and_gradient(data, labels)[0], net.theta)
    np.testing.assert_allclose(gradient, want, rtol=1e-6, atol=1e-8)


@backends
def test_derivatives_beyond_the_gradient(backend, dtype):
    """Those of the loss have the penalties; those of rows and outputs do not."""
    atol = max(64 * EPS[dtype], 1e-9 if backend == "reference" else 0)  # which takes differences
    net, plain = (network(dtype=dtype, backend=backend, **p) for p in (PENALISED, {}))
    report = nncore.check_gradients(net, X[:5], LABELS[:5], second=True)
    assert report, report
    v = noise(net.n_params, dtype)
    extra = np.zeros(net.n_params)
    extra[:35], extra[42:84] = 0.2, 0.5
    a, b = (one.hessian_vector_product(X, LABELS, v) for one in (net, plain))
    np.testing.assert_allclose(a, b + extra * v, rtol=0, atol=atol)
    a, b = (np.diag(one.hessian(X, LABELS)) for one in (net, plain))
    np.testing.assert_allclose(a, b + extra, rtol=0, atol=atol)
    for use in (
        lambda one: one.sample_gradients(X, LABELS)[1],
        lambda one: one.input_gradient(X, LABELS),
        lambda one: one.jacobian(X, "parameters"),
    ):
        np.testing.assert_array_equal(use(net), use(plain))
    elsewhere = net.theta * 0.5
    value, gradient = net.loss_and_gradient(X, LABELS, theta=elsewhere)
    net.theta = elsewhere
    want, its = net.loss_and_gradient(X, LABELS)
    assert value == want
    np.testing.assert_array_equal(gradient, its)


@backends
def test_a_step_along_it(backend):
    """So l2 is what PyTorch calls weight_decay of SGD, on weights."""
    net = network(SGD(0.1), backend=backend, **PENALISED)
    _, gradient = net.loss_and_gradient(X, LABELS)
    want = net.theta - 0.1 * gradient
    bias, plain = net.layers[0].b.copy(), network(SGD(0.1), backend=backend)
    plain.partial_fit(X, LABELS)
    net.partial_fit(X, LABELS)
    np.testing.assert_allclose(net.theta, want, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(net.layers[0].b, plain.layers[0].b, rtol=1e-12, atol=1e-15)
    assert (net.layers[0].b != bias).all()
    shrunk = plain.layers[1].W - 0.1 * 0.5 * network().layers[1].W
    np.testing.assert_allclose(net.layers[1].W, shrunk, rtol=1e-10, atol=1e-14)


def test_a_penalty_given_later_counts_at_once():
    net = network()
    before = net.loss_and_gradient(X, LABELS)[0]
    net.layers[0].l2 = 0.5
    W = net.layers[0].W
    assert net.loss_and_gradient(X, LABELS)[0] == pytest.approx(before + 0.25 * (W**2).sum())
    net.layers[0].l2 = 0
    assert net.loss_and_gradient(X, LABELS)[0] == before


def test_a_loss_that_is_not_finite_by_its_penalty():
    net = network(dtype="float32", first={"l2": 1e308})
    before = net.theta.copy()
    net.layers[0].W *= 1e9
    before = net.theta.copy()
    with pytest.raises(FloatingPointError, match="Loss became inf"):
        net.partial_fit(X, LABELS)
    np.testing.assert_array_equal(net.theta, before)


# --- Decay, clipping, norms -----------------------------------------------------------------------


@backends
@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), AdamW(0.01), Lion(0.01),
                                       RMSprop(0.01, style="keras")])  # fmt: skip
def test_decoupled_weight_decay(backend, optimizer):
    """W (1 - lr decay) before the step, and the state as without."""
    a, b = (
        network(with_options(optimizer, {"weight_decay": decay}), backend=backend)
        for decay in (0.5, 0.0)
    )
    start = [layer.W.copy() for layer in a.layers]
    for net in (a, b):
        net.partial_fit(X, LABELS)
    np.testing.assert_array_equal(a._engine.state, b._engine.state)
    for with_it, without, W in zip(a.layers, b.layers, start, strict=True):
        want = without.W - optimizer.lr * 0.5 * W
        np.testing.assert_allclose(with_it.W, want, rtol=1e-10, atol=1e-14)
        np.testing.assert_array_equal(with_it.b, without.b)


@backends
@pytest.mark.parametrize("most", [1e-3, 0.1, 10.0])
def test_clip_norm(backend, most):
    net = network(SGD(1.0, clip_norm=most), backend=backend, **PENALISED)
    _, g = net.loss_and_gradient(X, LABELS)
    norm, before = np.linalg.norm(g), net.theta.copy()
    net.partial_fit(X, LABELS)
    np.testing.assert_allclose(before - net.theta, g * min(1, most / norm), rtol=1e-9, atol=1e-14)


@backends
def test_clip_norm_is_of_what_is_trained(backend):
    net = network(SGD(1.0, clip_norm=1e-3), backend=backend)
    net.layers[1].trainable = False
    before = net.theta.copy()
    net.partial_fit(X, LABELS)
    assert np.linalg.norm(net.theta - before) == pytest.approx(1e-3, rel=1e-9)


@backends
def test_clip_value(backend):
    net = network(SGD(1.0, clip_value=0.02), backend=backend, **PENALISED)
    _, g = net.loss_and_gradient(X, LABELS)
    assert (np.abs(g) > 0.02).any() and (np.abs(g) < 0.02).any()
    before = net.theta.copy()
    net.partial_fit(X, LABELS)
    np.testing.assert_allclose(before - net.theta, np.clip(g, -0.02, 0.02), rtol=1e-9, atol=1e-14)


@backends
def test_max_norm(backend):
    net = network(SGD(0.5), first={"max_norm": 0.6}, backend=backend)
    assert np.linalg.norm(net.layers[0].W, axis=0).max() > 0.6
    fit(net, 3)
    norms = np.linalg.norm(net.layers[0].W, axis=0)
    assert norms.max() <= 0.6 * (1 + 1e-12) and norms.max() > 0.59
    assert np.linalg.norm(net.layers[1].W, axis=0).max() > 0.6


# --- Layers that are not trained, or at a rate of their own ---------------------------------------


@backends
@pytest.mark.parametrize("frozen", [[0], [1], [2], [0, 1], [0, 2], [0, 1, 2]])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_frozen_layers_stay(backend, frozen, batch_size):
    net = network(Adam(0.01, ema=0.5), backend=backend, **PENALISED)
    fit(net, 1, batch_size)
    for i in frozen:
        net.layers[i].trainable = False
    places, at = [], 0
    for layer in net.layers:
        places.append(slice(at, at + layer.W.size + layer.b.size))
        at += layer.W.size + layer.b.size
    theta, moments = net.theta.copy(), np.array(net._engine.state)
    fit(net, 1, batch_size)
    for i, place in enumerate(places):
        same = [
            np.array_equal(net.theta[place], theta[place]),
            np.array_equal(net._engine.state[:, place], moments[:, place]),
        ]
        assert same == [i in frozen] * 2
    for i in frozen:
        net.layers[i].trainable = True
    fit(net, 1, batch_size)
    assert (net.theta != theta).all()


@backends
def test_the_others_learn_as_if_alone(backend):
    """A network on the outputs of a frozen layer is that of the layers above."""
    whole = network(SGD(0.1, momentum=0.9), backend=backend)
    whole.layers[0].trainable = False
    hidden = np.tanh(X @ whole.layers[0].W + whole.layers[0].b)
    upper = Network(7, Dense(6, "softplus"), Dense(3, "softmax"), dtype="float64", backend=backend,
                    optimizer=SGD(0.1, momentum=0.9))  # fmt: skip
    for mine, its in zip(upper.layers, whole.layers[1:], strict=True):
        mine.W, mine.b = its.W, its.b
    for _ in range(20):
        whole.partial_fit(X, LABELS), upper.partial_fit(hidden, LABELS)
    np.testing.assert_allclose(whole.theta[42:], upper.theta, rtol=1e-9)


@backends
@pytest.mark.parametrize("rule", RULES)
def test_a_rate_of_a_layer(backend, rule):
    """What it moves by in the first step is in proportion."""
    a, b = network(RULES[rule], backend=backend), network(RULES[rule], backend=backend)
    b.layers[1].lr_scale = 0.25
    start = a.theta.copy()
    for net in (a, b):
        net.partial_fit(X, LABELS)
    moved = [net.theta - start for net in (a, b)]
    scale = np.ones_like(start)
    scale[42:90] = 0.25
    assert np.abs(moved[0]).min() > 0
    np.testing.assert_allclose(moved[1], scale * moved[0], rtol=1e-9, atol=1e-15)


def test_a_rate_of_a_layer_scales_a_schedule_and_the_decay():
    a = network(SGD(schedules.Step(0.1, 3, 0.5), weight_decay=0.3))
    b = network(SGD(schedules.Step(0.2, 3, 0.5), weight_decay=0.3))
    for layer in b.layers:
        layer.lr_scale = 0.5
    fit(a, 2), fit(b, 2)
    np.testing.assert_allclose(a.theta, b.theta, rtol=1e-12)


# --- Averages -------------------------------------------------------------------------------------


@backends
@pytest.mark.parametrize("batch_size", [1, 8])
def test_ema(backend, batch_size):
    net = network(SGD(0.5, ema=0.8), backend=backend)
    plain, want = network(SGD(0.5), backend=backend), None
    for first in range(0, 40, batch_size):
        rows = slice(first, first + batch_size)
        plain.partial_fit(X[rows], LABELS[rows])
        want = plain.theta.copy() if want is None else 0.8 * want + 0.2 * plain.theta
    fit(net, 1, batch_size, shuffle=False)
    np.testing.assert_array_equal(net.theta, plain.theta)
    averaged = net.averaged()
    np.testing.assert_allclose(averaged.theta, want, rtol=1e-12, atol=1e-15)
    assert type(averaged) is Network and averaged is not net
    assert not np.array_equal(averaged.predict(X), net.predict(X))


@backends
def test_swa(backend):
    net, plain = network(SGD(0.5, swa=3), backend=backend), network(SGD(0.5), backend=backend)
    kept = []
    for epoch in range(1, 7):
        fit(plain, 1)
        fit(net, 1)
        if epoch >= 3:
            kept.append(plain.theta.copy())
            np.testing.assert_allclose(net.averaged().theta, np.mean(kept, axis=0), rtol=1e-12)
        else:
            with pytest.raises(ValueError, match="no average of the parameters is kept"):
                net.averaged()


def test_no_average():
    net = network()
    fit(net, 1)
    with pytest.raises(ValueError, match="give the optimizer ema=0.999, or swa=10"):
        net.averaged()
    with pytest.raises(ValueError, match="by ema or by swa, not by both"):
        SGD(0.1, ema=0.9, swa=3)


# --- Copies and files -----------------------------------------------------------------------------

FULL = {
    "ema": AdamW(schedules.Cosine(0.05, 60), ema=0.9, clip_norm=0.5),
    "swa": SGD(0.1, momentum=0.9, swa=2, weight_decay=0.01, clip_value=0.1),
    "style": RMSprop(momentum=0.5, centered=True, style="keras"),
    "amsgrad": Adam(amsgrad=True),
    **{f"rule {name}": optimizer for name, optimizer in RULES.items()},
}


@pytest.mark.parametrize("way", ["file", "copy", "pickle"])
@pytest.mark.parametrize("name", FULL)
def test_training_goes_on(name, way, tmp_path):
    layers = {"first": {"l2": 0.01, "max_norm": 1.0}, "second": {"lr_scale": 0.5, "l1": 0.001}}
    whole, parts = (network(FULL[name], **layers) for _ in range(2))
    for net in (whole, parts):
        net.layers[2].trainable = False
    fit(whole, 3), fit(whole, 3)
    fit(parts, 3)
    if way == "file":
        parts.save(tmp_path / "m")
        again = nncore.load(tmp_path / "m")
    else:
        again = parts.copy() if way == "copy" else pickle.loads(pickle.dumps(parts))
    assert again.optimizer == parts.optimizer and repr(again) == repr(parts)
    assert again.config() == parts.config()
    fit(again, 3)
    assert_same_bits(again.theta, whole.theta)
    if name in ("ema", "swa"):
        assert_same_bits(again.averaged().theta, whole.averaged().theta)


def test_what_is_by_default_is_not_in_files():
    """So that they can be read where it is not known."""
    config = network(Adam()).config()
    assert config["optimizer"] == {
        "type": "Adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8
    }  # fmt: skip
    assert config["layers"][0] == {"type": "dense", "n_out": 7, "activation": "tanh", "bias": True}
    net = network(Adam(ema=0.5), first={"l2": 1, "trainable": False})
    assert net.config()["optimizer"]["ema"] == 0.5
    assert net.config()["layers"][0]["l2"] == 1.0 and not net.config()["layers"][0]["trainable"]


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("l2", -1, "l2 of Dense must be at least 0 and finite, got -1"),
        ("l1", np.nan, "l1 of Dense must be at least 0"),
        ("l1", "a", "l1 of Dense must be a number, got 'a'"),
        ("l2", None, "l2 of Dense must be a number, got None"),
        ("l2", True, "l2 of Dense must be a number, got True"),
        ("max_norm", 0, "max_norm of Dense must be positive and finite, got 0"),
        ("lr_scale", 0, "lr_scale of Dense must be positive and finite, got 0"),
        ("lr_scale", np.inf, "lr_scale of Dense must be positive and finite, got inf"),
        ("trainable", 1, "trainable of Dense must be True or False, got 1"),
    ],
)
def test_settings_of_layers(name, value, words):
    with pytest.raises(ValueError, match=words):
        Dense(3, **{name: value})
    net = network()
    before = getattr(net.layers[0], name)
    with pytest.raises(ValueError, match=words):
        setattr(net.layers[0], name, value)
    assert getattr(net.layers[0], name) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight_decay": -1}, "weight_decay of SGD must be at least 0 and finite, got -1.0"),
        ({"weight_decay": None}, "weight_decay of SGD must be a number, got None"),
        ({"clip_norm": 0}, "clip_norm of SGD must be positive and finite, got 0.0"),
        ({"clip_value": "a"}, "clip_value of SGD must be a number, got 'a'"),
        ({"clip_norm": 1, "clip_value": 1}, "by clip_norm or by clip_value, not by both"),
        ({"ema": 1}, "ema of SGD must be at least 0 and below 1, got 1.0"),
        ({"swa": 0}, "swa of SGD must be an integer of at least 1, got 0"),
        ({"dampening": 0.5}, "dampening needs a momentum above 0"),
        ({"momentum": 0.5, "dampening": 0.5, "style": "keras"}, "style='keras' has no dampening"),
    ],
)
def test_options_of_optimizers(options, words):
    with pytest.raises(ValueError, match=words):
        SGD(0.1, **options)
    with pytest.raises(TypeError, match="SGD has no argument 'learning_rate'. Known: lr, moment"):
        SGD(learning_rate=0.1)
