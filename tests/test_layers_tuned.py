"""Layers beside Dense under what training can be told: weights of samples, frozen layers, rates of
their own, clipping, decay; and the same inside a Residual."""

import json
import pickle
import warnings

import numpy as np
import pytest

import nncore
from nncore import (
    SGD,
    Activation,
    Adam,
    AdamW,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    GaussianNoise,
    LayerNorm,
    Network,
    PReLU,
    Residual,
    files,
    persistence,
    schedules,
)

from .checks import assert_near
from .networks import FUSED
from .networks import backends as on_every_backend

EPS = float(np.finfo("float64").eps)


def stack(name):
    """Layers of four inputs and three outputs. "large" is updated while gradients are in cache."""
    return {
        "norms": [Dense(70, "tanh"), BatchNorm(0.3), LayerNorm(), PReLU(), Dropout(0.2), Dense(3)],
        "block": [Dense(6, "tanh"), GaussianNoise(0.1),
                  Residual(Dense(68, Activation("elu", alpha=0.5)), BatchNorm(),
                           PReLU(shared=True), Residual(LayerNorm()), Dense(6)), Dense(3)],
        "columns": [Embedding(columns={1: (11, 3), 3: (7, 65)}), LayerNorm(), Dense(9, "tanh"),
                    Dropout(0.3), Dense(3)],
        "large": [Dense(300, "tanh"), BatchNorm(), PReLU(),
                  Residual(Dense(70, "tanh"), LayerNorm(), Dropout(0.1), Dense(300)), LayerNorm(),
                  Dense(3)],
    }[name]  # fmt: skip


NAMES = ("norms", "block", "columns", "large")
every = pytest.mark.parametrize("name", NAMES)


def make(name, optimizer="momentum", dtype="float64", backend="auto", **options):
    network = Network(
        4, *stack(name), optimizer=optimizer, dtype=dtype, backend=backend, seed=3, **options
    )
    spread = 0.02 if name == "large" else 0.2  # what it gives must not grow with its width
    network.theta += np.random.default_rng(1).normal(0, spread, network.n_params).astype(dtype)
    return network


def samples(name, rows=150, seed=0):
    """X, y and weights, a third of which are 0."""
    rng = np.random.default_rng([seed, rows])
    X, y = rng.normal(size=(rows, 4)), rng.uniform(0.1, 0.9, (rows, 3))
    if name == "columns":
        X[:, 1], X[:, 3] = rng.integers(0, 11, rows), rng.integers(0, 7, rows)
    return X, y, rng.uniform(0.2, 3, rows) * (rng.random(rows) > 0.3)


def parts(network):
    """Every layer with parameters of its own, and where they are in theta."""

    def within(layers):
        for layer in layers:
            if isinstance(layer, Residual):
                yield from within(layer.layers)
            elif layer.parameters():
                yield layer

    start, size = network.theta.ctypes.data, network.theta.itemsize
    for layer in within(network.layers):
        at = (layer._theta.ctypes.data - start) // size
        yield layer, slice(at, at + layer._theta.size)


def fit(network, data, epochs=2, batch_size=40, **options):
    X, y, weights = data
    return network.fit(
        X, y, sample_weight=weights, epochs=epochs, batch_size=batch_size, verbose=False, **options
    )


def bits(network):
    engine = network._engine
    average = None if engine.average is None else engine.average.tobytes()
    return (
        network.theta.tobytes(), engine.running.tobytes(), engine.state.tobytes(), average,
        engine.averaged, engine.n_updates, engine.draws, str(network._rng.bit_generator.state),
    )  # fmt: skip


# --- The engine and its twin ----------------------------------------------------------------------


def plain(network):
    pass


def some_frozen(network):
    for i, (layer, _) in enumerate(parts(network)):
        layer.trainable = i % 2 == 1


def top_only(network):
    for layer in network.layers[:-1]:
        layer.trainable = False


def own_rates(network):
    for i, (layer, _) in enumerate(parts(network)):
        layer.lr_scale = 0.25 + i / 4


def all_at_once(network):
    some_frozen(network), own_rates(network)
    for layer, _ in parts(network):
        if isinstance(layer, Dense):
            layer.l1, layer.l2, layer.max_norm = 0.001, 0.02, 1.5


# The bias of a Dense below a BatchNorm has the gradient 0. Adam divides its rounding errors by eps.
# Where that is 1e-5, an eps of float64 is 2e-11 of a step.
SETTINGS = {
    "weights": (plain, "momentum"),
    "frozen": (some_frozen, "adam"),
    "frozen below": (top_only, "momentum"),
    "rates": (own_rates, SGD(0.01)),
    "decay": (plain, AdamW(0.01, weight_decay=0.1)),
    "norm": (some_frozen, SGD(0.1, momentum=0.9, clip_norm=0.05)),
    "value": (own_rates, Adam(0.01, eps=1e-5, clip_value=1e-3, ema=0.9)),
    "all": (all_at_once, AdamW(schedules.Cosine(0.01, 40), clip_norm=0.5, weight_decay=0.1)),
}
settings = pytest.mark.parametrize("setting", SETTINGS)


def tuned(name, setting, **options):
    tune, optimizer = SETTINGS[setting]
    network = make(name, optimizer, **options)
    tune(network)
    return network


@settings
@every
def test_engine_and_twin_train_alike(name, setting, isa):
    engine, twin = (tuned(name, setting, backend=backend) for backend in (isa, "reference"))
    data, start = samples(name), engine.theta.copy()
    for batch_size in (40, 35, "full"):
        a, b = (fit(n, data, batch_size=batch_size)["loss"] for n in (engine, twin))
        np.testing.assert_allclose(a, b, rtol=2e-11)
    moved = np.abs(twin.theta - start).max()
    assert moved > 1e-4
    np.testing.assert_allclose(engine.theta, twin.theta, rtol=0, atol=1e-9 * moved)  # 50 of those
    np.testing.assert_allclose(engine._engine.running, twin._engine.running, rtol=2e-11, atol=1e-12)
    for mine, its in zip(engine._engine.state, twin._engine.state, strict=True):
        np.testing.assert_allclose(mine, its, rtol=0, atol=5e-9 * np.abs(its).max())
    assert engine._engine.n_updates == twin._engine.n_updates
    assert engine._engine.draws == twin._engine.draws
    assert engine._engine.averaged == twin._engine.averaged
    X, y, weights = data
    for n in (engine, twin):
        n.theta, n._engine.running[:] = twin.theta, twin._engine.running
    a, b = (n.loss_and_gradient(X, y, sample_weight=weights) for n in (engine, twin))
    # Of the same parameters and running statistics.
    assert a[0] == pytest.approx(b[0], rel=1e-12, abs=0)
    np.testing.assert_allclose(a[1], b[1], rtol=0, atol=1e-12 * np.abs(b[1]).max())


@pytest.mark.skipif(len(FUSED) < 2, reason="this machine has one instruction set with FMA at most")
@settings
@every
def test_every_instruction_set_gives_the_same_bits(name, setting, dtype):
    found = []
    for isa in FUSED:
        network = tuned(name, setting, dtype=dtype, backend=isa)
        fit(network, samples(name))
        fit(network, samples(name, 500), batch_size="full")
        found.append(bits(network))
    assert all(each == found[0] for each in found)


@settings
def test_threads_do_not_change_a_bit(setting, dtype):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(900, 256)), rng.normal(size=(900, 256)), rng.uniform(0, 2, 900)
    tune, optimizer = SETTINGS[setting]
    found = []
    for threads in (1, 2, 5):
        block = Residual(LayerNorm(), Dense(256, "relu"), BatchNorm(), Dense(256), PReLU())
        network = Network(
            256, PReLU(), block, Dropout(0.2), Dense(256), optimizer=optimizer, dtype=dtype, seed=0
        )
        tune(network)
        fit(network, data, batch_size=450, n_threads=threads)
        found.append(bits(network))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_table_is_updated_at_its_rate(threads, dtype):
    """Its update is divided among threads."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 20_000, (600, 4)), rng.normal(size=(600, 3))

    def trained(scale, n_threads, **options):
        layers = Embedding(20_000, 16, lr_scale=scale), Dense(3, **options)
        network = Network(4, *layers, optimizer=SGD(0.5), dtype=dtype, seed=0)
        before = network.layers[0].E.copy()
        network.partial_fit(X, y, n_threads=n_threads)
        return network, network.layers[0].E - before

    network, moved = trained(0.25, threads)
    twin, whole = trained(1.0, 1)
    # E, whose numbers are below 8, is rounded twice, at 2 eps; the whole step then counts a quarter
    np.testing.assert_allclose(moved, whole / 4, rtol=0, atol=3 * np.finfo(dtype).eps)
    assert np.abs(moved).max() > 1e-4
    assert network.layers[1].W.tobytes() == twin.layers[1].W.tobytes()
    assert bits(network) == bits(trained(0.25, 3 - threads)[0])


# --- Weights of samples ---------------------------------------------------------------------------


@on_every_backend
@every
def test_batches_of_weight_0_change_nothing(name, backend):
    """No update, no draw, no new statistics: as if those rows were not there."""
    a, b = (make(name, backend=backend) for _ in range(2))
    X, y, weights = samples(name, 120)
    weights[40:80] = 0
    fit(a, (X, y, weights), 1, shuffle=False)
    rest = np.r_[0:40, 80:120]
    fit(b, (X[rest], y[rest], weights[rest]), 1, shuffle=False)
    assert bits(a)[:-1] == bits(b)[:-1]
    assert a._engine.n_updates == 2 and (a._engine.draws is None or a._engine.draws[1] == 2)


@on_every_backend
def test_statistics_of_a_batch_do_not_look_at_weights(backend):
    X, y, weights = samples("norms", 30)
    found = []
    for w in (None, weights):
        network = Network(4, BatchNorm(), Dense(3), dtype="float64", seed=0, backend=backend)
        network.partial_fit(X, y, sample_weight=w)
        found.append(network._engine.running.tobytes())
    assert found[0] == found[1]


@on_every_backend
@every
def test_the_gradient_is_that_of_the_weighted_loss(name, backend):
    network = make(name, backend=backend)
    X, y, weights = samples(name, 20)
    _, gradient = network.loss_and_gradient(X, y, sample_weight=weights)
    rng = np.random.default_rng(2)
    for _ in range(3):
        v = rng.normal(size=network.n_params)
        theta, h = network.theta.copy(), 1e-6
        ends = []
        for sign in (1, -1):
            network.theta = theta + sign * h * v
            ends.append(network.evaluate(X, y, sample_weight=weights)["loss"])
        network.theta = theta
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(gradient @ v, rel=1e-7)


# --- Frozen layers and their rates ----------------------------------------------------------------


@on_every_backend
@every
def test_each_layer_can_be_frozen(name, backend):
    data = samples(name)
    for i in range(len(list(parts(make(name))))):
        network = make(name, "adam", backend=backend)
        fit(network, data, 1)  # there is a state
        layer, _ = list(parts(network))[i]
        layer.trainable = False
        theta, state = network.theta.copy(), network._engine.state.copy()
        running = network._engine.running.copy()
        fit(network, data, 1)
        for j, (_, at) in enumerate(parts(network)):
            same = theta[at].tobytes() == network.theta[at].tobytes()
            kept = state[:, at].tobytes() == network._engine.state[:, at].tobytes()
            assert (same, kept) == (i == j, i == j), (i, j)
        if running.size:  # statistics go on
            assert not np.any(running == network._engine.running)


@on_every_backend
@every
def test_all_frozen(name, backend):
    network = make(name, backend=backend)
    for layer in network.layers:
        layer.trainable = False
    theta = network.theta.tobytes()
    fit(network, samples(name), 1)
    assert network.theta.tobytes() == theta and network._engine.n_updates == 4


@on_every_backend
def test_a_block_is_frozen_as_one(backend):
    network = make("block", backend=backend)
    block = network.layers[2]
    assert block.trainable
    block.trainable = False
    assert not any(layer.trainable for layer in block.layers)
    assert not block.layers[3].layers[0].trainable
    before = block._theta.tobytes()
    fit(network, samples("block"), 1)
    assert block._theta.tobytes() == before
    block.layers[1].trainable = True
    assert not block.trainable
    fit(network, samples("block"), 1)
    assert block._theta.tobytes() != before
    block.trainable = True
    assert block.trainable and block.layers[3].layers[0].trainable


@on_every_backend
@every
def test_lr_scale_scales_the_step(name, backend):
    X, y, weights = samples(name, 40)
    steps = []
    for scale in (1.0, 0.5):
        network = make(name, SGD(0.1), backend=backend)
        for i, (layer, _) in enumerate(parts(network)):
            layer.lr_scale = scale if i % 2 else 1.0
        before = network.theta.copy()
        network.partial_fit(X, y, sample_weight=weights)
        steps.append((network.theta - before, [at for _, at in parts(network)]))
    (whole, places), (scaled, _) = steps
    for i, at in enumerate(places):
        factor = 0.5 if i % 2 else 1.0
        np.testing.assert_allclose(scaled[at], factor * whole[at], rtol=0, atol=4 * EPS)  # of theta


# --- Clipping and decay ---------------------------------------------------------------------------


@on_every_backend
@every
def test_clip_norm_is_of_all_that_is_trained(name, backend):
    X, y, weights = samples(name, 40)
    network = make(name, SGD(1.0, clip_norm=1e-3), backend=backend)
    places = list(parts(network))
    places[1][0].trainable = False
    before = network.theta.copy()
    network.partial_fit(X, y, sample_weight=weights)
    step = network.theta - before
    assert np.linalg.norm(step) == pytest.approx(1e-3, rel=1e-12, abs=0)  # theta is rounded at 1
    for i, (_, at) in enumerate(places):
        assert np.any(step[at]) == (i != 1)


@on_every_backend
@every
def test_decay_is_of_weights_of_dense_layers_alone(name, backend):
    X, y, weights = samples(name, 40)
    found = []
    for decay in (0.0, 0.5):
        network = make(name, AdamW(0.125, weight_decay=decay), backend=backend)
        start = network.theta.copy()
        network.partial_fit(X, y, sample_weight=weights)
        found.append(network)
    without, decayed = found
    for (layer, at), (twin, _) in zip(parts(decayed), parts(without), strict=True):
        if not isinstance(layer, Dense):
            np.testing.assert_array_equal(layer._theta, twin._theta)
            continue
        n = layer.W.size
        wanted = twin.W.ravel() - 0.125 * 0.5 * start[at][:n]
        np.testing.assert_allclose(layer.W.ravel(), wanted, rtol=0, atol=8 * EPS)
        np.testing.assert_array_equal(layer.b, twin.b)


@pytest.mark.parametrize("name", ["l1", "l2", "max_norm"])
def test_penalties_inside_a_block(name):
    """They are of its Dense layers, and count in the loss and the gradient."""
    network, plain = make("block"), make("block")
    layer = network.layers[2].layers[0]
    setattr(layer, name, 0.5)
    X, y, weights = samples("block")
    a, b = (n.loss_and_gradient(X, y, sample_weight=weights) for n in (network, plain))
    W = layer.W
    extra = {"l1": np.abs(W).sum() / 2, "l2": np.square(W).sum() / 4, "max_norm": 0}[name]
    assert a[0] - b[0] == pytest.approx(extra, rel=20 * EPS, abs=20 * EPS)
    slope = {"l1": np.sign(W) / 2, "l2": W / 2, "max_norm": 0 * W}[name]
    wanted = b[1].copy()
    [at] = [at for each, at in parts(network) if each is layer]
    wanted[at][: W.size] += slope.ravel()
    np.testing.assert_allclose(a[1], wanted, rtol=0, atol=4 * EPS)
    network.partial_fit(X, y)
    if name == "max_norm":
        assert np.linalg.norm(layer.W, axis=0).max() <= 0.5 * (1 + 1e-12)


# --- Activations with parameters, and losses ------------------------------------------------------


@on_every_backend
@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_activation_parameters_inside_a_block(alpha, backend):
    block = Residual(Dense(6, Activation("elu", alpha=alpha)), LayerNorm(), Dense(4))
    network = Network(4, block, PReLU(), Dense(3), dtype="float64", seed=0, backend=backend)
    X, y, _ = samples("norms", 9)
    inner = network.layers[0].layers
    z = X @ inner[0].W + inner[0].b
    h = np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))
    h = (h - h.mean(axis=1, keepdims=True)) / np.sqrt(h.var(axis=1, keepdims=True) + 1e-5)
    h = X + h @ inner[2].W + inner[2].b
    h = np.where(h > 0, h, h / 4)
    wanted = h @ network.layers[2].W + network.layers[2].b
    assert_near(network.predict(X), wanted, 20)  # sums of up to 6
    assert nncore.check_gradients(network, X, y)
    again = persistence.from_bytes(persistence.to_bytes(network), backend)
    assert again.predict(X).tobytes() == network.predict(X).tobytes()
    assert repr(again) == repr(network)


SMOOTH = nncore.Loss("cross_entropy", label_smoothing=0.1)


@pytest.mark.parametrize("loss", [None, "kl_divergence", SMOOTH], ids=str)
def test_log_softmax_behind_other_layers(loss, isa):
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(50, 4)), np.eye(3)[rng.integers(0, 3, 50)], rng.uniform(size=50)
    found = []
    for backend in (isa, "reference"):
        layers = Dense(8), BatchNorm(), PReLU(), Dense(3, "log_softmax")
        network = Network(4, *layers, loss=loss, dtype="float64", seed=0, backend=backend)
        found.append((fit(network, (X, y, w))["loss"], network.predict(X)))
    # The bias below BatchNorm has the gradient 0, and Adam divides its roundings by 1e-8.
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-13)
    assert_near(found[0][1], found[1][1], 1e-10 / EPS)


@on_every_backend
def test_a_loss_of_ones_own_behind_other_layers(backend):
    nncore.register_loss(
        "half_square_of_tests", lambda y, t: np.square(y - t).sum(axis=1) / 2, lambda y, t: y - t
    )
    X, y, weights = samples("block", 40)
    found = []
    for loss in ("half_square_of_tests", "half_mse"):
        network = make("block", loss=loss, backend=backend)
        fit(network, (X, y, weights), batch_size=20)
        found.append(network.theta.copy())
    del nncore.loss._own["half_square_of_tests"]
    assert_near(found[0], found[1], 20)


def test_a_last_layer_that_is_not_dense_and_losses():
    with pytest.raises(ValueError, match="gaussian_nll needs a mean and the logarithm.*has 3"):
        Network(4, Dense(3), BatchNorm(), loss="gaussian_nll")
    network = Network(4, Dense(4), LayerNorm(), loss="gaussian_nll", seed=0)
    X, y, _ = samples("norms", 10)
    network.partial_fit(X, y[:, :2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Network(4, Dense(3, "sigmoid"), PReLU(), seed=0).partial_fit(X, 100 * y)
    with pytest.raises(ValueError, match=r'focal needs a "sigmoid" output.*is Residual\(Dense'):
        Network(4, Residual(Dense(4, "sigmoid")), loss="focal")
    with pytest.raises(ValueError, match="log_softmax in a Residual: only the last layer may be"):
        Residual(Dense(4, "log_softmax"))


# --- Files and copies -----------------------------------------------------------------------------

COURSES = {
    "ema": AdamW(schedules.Cosine(0.05, 40), ema=0.9, clip_norm=0.5, weight_decay=0.1),
    "swa": SGD(0.05, momentum=0.9, swa=2, clip_value=0.1),
}


@pytest.mark.parametrize("way", ["file", "copy", "pickle"])
@pytest.mark.parametrize("course", COURSES)
@every
def test_training_goes_on(name, course, way, tmp_path):
    """In the middle of everything: masks, statistics, schedule, average, frozen layers, rates."""
    data = samples(name)
    whole, half = (make(name, COURSES[course]) for _ in range(2))
    for network in (whole, half):
        all_at_once(network)
    fit(whole, data, 6)
    fit(half, data, 3)
    if way == "file":
        half.save(tmp_path / "m")
        again = nncore.load(tmp_path / "m")
    else:
        again = half.copy() if way == "copy" else pickle.loads(pickle.dumps(half))
    assert bits(again) == bits(half) and repr(again) == repr(half)
    assert again.config() == half.config()
    fit(again, data, 3)
    assert bits(again) == bits(whole)
    assert again.averaged().predict(data[0]).tobytes() == (
        whole.averaged().predict(data[0]).tobytes()
    )


LAYERS = {
    "batch_norm": lambda **options: BatchNorm(**options),
    "layer_norm": lambda **options: LayerNorm(**options),
    "prelu": lambda **options: PReLU(**options),
    "embedding": lambda **options: Embedding(5, 2, **options),
    "columns": lambda **options: Embedding(columns={0: (5, 2)}, **options),
}
kinds = pytest.mark.parametrize("kind", LAYERS)


@kinds
def test_settings_are_arguments_and_in_the_config(kind):
    made = LAYERS[kind]
    assert not {"trainable", "lr_scale"} & set(made().config())  # files older programs can read
    layer = made(trainable=False, lr_scale=0.5)
    assert repr(layer).endswith("trainable=False, lr_scale=0.5)")
    known = {each: getattr(nncore, each) for each in nncore.__all__}
    assert repr(eval(repr(layer), known)) == repr(layer)
    again = nncore.layers.from_config(layer.config())
    assert (again.trainable, again.lr_scale) == (False, 0.5) and repr(again) == repr(layer)
    again.trainable, again.lr_scale = True, 1.0
    assert again.config() == made().config()


@kinds
def test_settings_that_are_wrong(kind):
    layer = LAYERS[kind]()
    name = type(layer).__name__
    with pytest.raises(ValueError, match=f"trainable of {name} must be True or False, got 1"):
        LAYERS[kind](trainable=1)
    with pytest.raises(ValueError, match=f"lr_scale of {name} must be positive and finite, got 0"):
        layer.lr_scale = 0
    for setting in ("l1", "l2", "max_norm"):
        with pytest.raises(AttributeError, match=f"{setting} of {name} cannot be set: only the w"):
            setattr(layer, setting, 0.1)
        with pytest.raises(TypeError):
            LAYERS[kind](**{setting: 0.1})
    assert layer.trainable and layer.lr_scale == 1 and layer.l2 == 0


@pytest.mark.parametrize("layer", [Dropout(0.5), GaussianNoise(1.0), Residual(Dense(3))], ids=repr)
def test_layers_without_parameters_of_their_own(layer):
    for setting in ("lr_scale", "l1", "l2", "max_norm"):
        with pytest.raises(AttributeError, match=f"{setting} of .* cannot be set: it has no param"):
            setattr(layer, setting, 0.5)
    with pytest.raises(ValueError, match="trainable of .* must be True or False"):
        layer.trainable = "no"


@pytest.mark.parametrize(
    "change", [{"l2": 0.1}, {"lr_scale": -1}, {"lr_scale": "fast"}, {"trainable": 2}], ids=repr
)
def test_files_with_settings_that_are_wrong(change):
    tensors, metadata = files.from_bytes(persistence.to_bytes(make("norms")))
    description = json.loads(metadata["nncore"])
    description["config"]["layers"][2] |= change
    data = files.to_bytes(tensors, {"nncore": json.dumps(description)})
    with pytest.raises(nncore.files.FileFormatError, match="does not hold a valid network"):
        persistence.from_bytes(data)
