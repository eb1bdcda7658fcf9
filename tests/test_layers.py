"""Layers beside Dense: what each computes, forwards and backwards, in training and elsewhere."""

import itertools
import json
import math
import pickle
import re
import signal
import sys
import threading
import tracemalloc

import numpy as np
import pytest

import nncore
from nncore import (
    SGD,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    GaussianNoise,
    LayerNorm,
    Network,
    PReLU,
    Residual,
    _core,
    files,
    persistence,
)
from nncore.reference import steps as reference_steps

ISAS = _core.isas()
FUSED = [isa for isa in ISAS if isa != "baseline"]
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in ("float32", "float64")}


def stack(activation="tanh", output="identity", n_out=3):
    """Networks of four inputs, by name; widths fill no vector, and one is more than 64."""
    last = Dense(n_out, output)
    return {
        "dropout": [Dropout(0.2), Dense(70, activation), Dropout(0.4), last],
        "noise": [GaussianNoise(0.3), Dense(67, activation), GaussianNoise(0.2), last],
        "batch_norm": [BatchNorm(0.3), Dense(66, activation), BatchNorm(eps=1e-3), last],
        "layer_norm": [LayerNorm(), Dense(71, activation), LayerNorm(1e-3), last],
        "prelu": [PReLU(), Dense(9, activation), Dense(65), PReLU(), Dense(7), PReLU(shared=True),
                  last],
        "residual": [Dense(6, activation), Residual(Dense(68, activation), Dense(6)), last],
        "nested": [Residual(Residual(Dense(4, activation)), PReLU(), Residual(LayerNorm())),
                   Residual(Dense(5, activation), BatchNorm(), Dropout(0.3), Dense(4)), last],
        "embedding": [Embedding(11, 17), Dense(9, activation), last],
        "columns": [Embedding(columns={1: (11, 3), 3: (7, 65)}), Dense(9, activation), last],
    }  # fmt: skip


# The last step is no dense one: what it writes is the output itself.
ENDS = {
    "ends in dropout": [Dense(6, "tanh"), Dropout(0.3)],
    "ends in noise": [Dense(6, "tanh"), GaussianNoise(0.3)],
    "ends in batch_norm": [Dense(6, "silu"), BatchNorm()],
    "ends in layer_norm": [Dense(6, "silu"), LayerNorm()],
    "ends in prelu": [Dense(6), PReLU()],
    "ends in residual": [Dense(6, "tanh"), Residual(Dense(6, "silu"))],
    "is an embedding": [Embedding(11, 3)],
    "is a batch_norm": [BatchNorm()],
}
NAMES = list(stack())
EVERY = {**stack(), **ENDS}
every = pytest.mark.parametrize("name", EVERY)
names = pytest.mark.parametrize("name", NAMES)


def inputs(name, rows, seed=0):
    """Inputs that the network of this name takes, float64."""
    rng = np.random.default_rng([seed, rows])
    X = rng.normal(size=(rows, 4))
    if "embedding" in name:
        X = rng.integers(0, 11, (rows, 4)).astype(float)
    if "columns" in name:
        X[:, 1], X[:, 3] = rng.integers(0, 11, rows), rng.integers(0, 7, rows)
    return X


def samples(name, network, rows, seed=0):
    X = inputs(name, rows, seed)
    rng = np.random.default_rng([seed, rows, 1])
    if network.loss == "cross_entropy":
        return X, rng.integers(0, network.n_out, rows)
    return X, rng.uniform(0.1, 0.9, (rows, network.n_out))


def make(name, dtype="float64", optimizer="momentum", seed=3, layers=None, **options):
    layers = EVERY[name] if layers is None else layers
    network = Network(4, *layers, dtype=dtype, optimizer=optimizer, seed=seed, **options)
    # No parameter has the value that hides another: gamma 1, beta 0, bias 0.
    network.theta += np.random.default_rng(1).normal(0, 0.2, network.n_params).astype(dtype)
    return network


def quiet(network, X, y, **options):
    return network.fit(X, y, verbose=False, **options)


def bits(network):
    """All that training changes."""
    engine = network._engine
    return (
        network.theta.tobytes(), engine.running.tobytes(), engine.state.tobytes(),
        engine.n_updates, engine.draws, str(network._rng.bit_generator.state),
    )  # fmt: skip


def widths(layers, width=4):
    for layer in layers:
        yield layer, width
        width = layer.n_outputs(width)


# --- The engine and its twin ----------------------------------------------------------------------


def test_both_engines_know_every_kind():
    assert set(_core.STEPS) == {"dense", *reference_steps.STEPS}
    lowered = [step.kind for name in NAMES for layer, width in widths(stack()[name])
               for step in layer.lower(width, 0)]  # fmt: skip
    assert {*lowered, "called"} == set(_core.STEPS)  # that one is in test_own_activations


@every
def test_engine_and_twin_train_alike(name, isa):
    """Step by step, masks and noise and statistics included; batches in one block and in more."""
    engine, twin = (make(name, backend=backend) for backend in (isa, "reference"))
    X, y = samples(name, engine, 600)
    for batch_size in (20, 300, "full"):
        a, b = (quiet(n, X, y, epochs=2, batch_size=batch_size)["loss"] for n in (engine, twin))
        np.testing.assert_allclose(a, b, rtol=1e-10)
        np.testing.assert_allclose(engine.theta, twin.theta, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(engine._engine.running, twin._engine.running, rtol=1e-10)
    assert engine._engine.draws == twin._engine.draws
    np.testing.assert_allclose(engine.predict(X), twin.predict(X), rtol=1e-9, atol=1e-11)
    (a, g), (b, h) = (n.loss_and_gradient(X, y) for n in (engine, twin))
    assert a == pytest.approx(b, rel=1e-10)
    np.testing.assert_allclose(g, h, rtol=1e-8, atol=1e-11)


@every
def test_float32_costs_what_float32_costs(name, isa):
    """Two float32 runs may differ by what float32 itself costs: the distance to float64."""
    exact, twin, engine = (
        make(name, dtype, backend=backend)
        for dtype, backend in [("float64", "reference"), ("float32", "reference"),
                               ("float32", isa)]
    )  # fmt: skip
    exact.theta = twin.theta
    X, y = samples(name, exact, 300)
    X = X.astype("float32").astype(float)  # the same inputs for all
    curves = [np.array(quiet(n, X, y, epochs=3, batch_size=50)["loss"])
              for n in (exact, twin, engine)]  # fmt: skip
    cost = max(np.abs(curves[1] / curves[0] - 1).max(), 8 * EPS["float32"])
    assert cost < 1e-4
    assert np.abs(curves[2] / curves[0] - 1).max() <= 4 * cost
    cost = max(np.abs(twin.theta - exact.theta).max(), 8 * EPS["float32"])
    assert np.abs(engine.theta - exact.theta).max() <= 4 * cost


# --- Gradients ------------------------------------------------------------------------------------

LOSSES = {
    "mse": "identity",
    "half_mse": "tanh",
    "binary_cross_entropy": "sigmoid",
    "cross_entropy": "softmax",
}
SMOOTH = ["tanh", "sigmoid", "silu", "softplus", "elu", "softsign"]
CHECKED = [
    (name, SMOOTH[i % len(SMOOTH)], loss)
    for i, (name, loss) in enumerate(itertools.product(NAMES, LOSSES))
]


def chosen(network, most=7):
    """Numbers of some elements of each parameter: the first, the last, and some between."""
    at, found = 0, []
    for layer in network.layers:
        for values in layer.parameters().values():
            found += [at + i for i in sorted({*range(0, values.size, values.size // most + 1),
                                              values.size - 1})]  # fmt: skip
            at += values.size
    return found


def differences(loss, theta, at, h=1e-5):
    """The derivatives of loss() with respect to theta[i], i in `at`."""
    found = []
    for i in at:
        middle = theta[i]
        theta[i] = middle + h
        above = loss()
        theta[i] = middle - h
        found.append((above - loss()) / (2 * h))
        theta[i] = middle
    return np.array(found)


@pytest.mark.parametrize("backend", (*ISAS, "reference"))
@pytest.mark.parametrize(("name", "activation", "loss"), CHECKED)
def test_gradient_is_that_of_the_loss(name, activation, loss, backend):
    """loss_and_gradient: nothing is drawn, running statistics are used; so in `evaluate`."""
    layers = stack(activation, LOSSES[loss])[name]
    network = make(name, layers=layers, loss=loss, backend=backend)
    X, y = samples(name, network, 23)
    quiet(network, X, y, batch_size=8)  # so that running statistics are not 0 and 1
    before, at = bits(network), chosen(network)
    value, gradient = network.loss_and_gradient(X, y)
    assert value == pytest.approx(network.evaluate(X, y)["loss"], rel=1e-14)
    expected = differences(lambda: network.evaluate(X, y)["loss"], network.theta, at)
    assert bits(network) == before
    assert np.abs(expected).max() > 1e-3, "nearly zero: this would compare rounding errors"
    np.testing.assert_allclose(gradient[at], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("backend", (*ISAS, "reference"))
@every
def test_a_training_step_goes_along_the_gradient_of_what_it_computed(name, backend):
    """With its masks, its noise and the statistics of its batch, which depend on it."""
    network = make(name, backend=backend)
    X, y = samples(name, network, 23)
    network.partial_fit(X, y)
    network.optimizer = SGD(1.0)

    def trained(theta):
        twin = network.copy()
        twin.theta = theta
        return twin.partial_fit(X, y), twin.theta

    theta = network.theta.copy()
    at = chosen(network)
    gradient = theta - trained(theta)[1]
    expected = differences(lambda: trained(theta)[0], theta, at)
    size = np.abs(expected).max()
    assert size > 1e-3
    np.testing.assert_allclose(gradient[at], expected, rtol=0, atol=1e-7 * max(1, size))


def refers_to_numbers(name):
    """The columns of X that are numbers."""
    return {"embedding": [], "is an embedding": [], "columns": [0, 2]}.get(name, [0, 1, 2, 3])


@every
def test_the_other_derivatives(name, isa, dtype):
    """By inputs, by row, by output: those of the twin, and differences of predictions."""
    engine, twin = (make(name, dtype, backend=backend) for backend in (isa, "reference"))
    X, y = samples(name, engine, 290)
    for network in (engine, twin):
        quiet(network, X, y, batch_size=145)
        network.theta = np.random.default_rng(2).uniform(-0.7, 0.8, network.n_params)
    twin._engine.running[:] = engine._engine.running
    close = {"rtol": 1e-9, "atol": 1e-11} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(engine.input_gradient(X, y), twin.input_gradient(X, y), **close)
    losses, gradients = engine.sample_gradients(X, y)
    loss, gradient = engine.loss_and_gradient(X, y)
    assert losses.mean() == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(gradients.mean(axis=0), gradient, **close)
    X, y = X[:3], y[:3]
    for a, b in zip(engine.sample_gradients(X, y), twin.sample_gradients(X, y), strict=True):
        np.testing.assert_allclose(a, b, **close)
    for by in ("inputs", "parameters"):
        np.testing.assert_allclose(engine.jacobian(X, by), twin.jacobian(X, by), **close)
    if dtype == "float64":
        J, h = engine.jacobian(X), 1e-6
        for j in refers_to_numbers(name):
            up, down = X.copy(), X.copy()
            up[:, j] += h
            down[:, j] -= h
            expected = (_plain(engine, up) - _plain(engine, down)) / (2 * h)
            np.testing.assert_allclose(J[:, :, j], expected, rtol=0, atol=1e-7)
        for j in set(range(4)) - set(refers_to_numbers(name)):
            assert not J[:, :, j].any()


def _plain(network, X):
    """Predictions in which nothing is drawn."""
    out = np.empty((len(X), network.n_out), network.dtype)
    network._engine.predict(X, out)
    return out


@pytest.mark.parametrize("backend", (*ISAS, "reference"))
@names
def test_check_gradients_finds_nothing(name, backend, dtype):
    network = make(name, dtype, backend=backend)
    X, y = samples(name, network, 9)
    quiet(network, X, y, batch_size=3)
    report = nncore.check_gradients(network, X, y, n_checks=60, second=True)
    assert report, report
    assert ("inputs" in report.errors) == (name != "embedding")


@every
def test_second_derivatives(name, isa, dtype):
    """Exact ones, against the twin's, which are differences of its gradient."""
    engine, twin = (make(name, dtype, backend=backend) for backend in (isa, "reference"))
    X, y = samples(name, engine, 290)
    quiet(engine, X, y, batch_size=145)
    twin.theta = engine.theta
    twin._engine.running[:] = engine._engine.running
    v = np.random.default_rng(4).normal(size=engine.n_params)
    found, expected = (n.hessian_vector_product(X, y, v) for n in (engine, twin))
    size = float(np.abs(expected).max())
    assert size > 1e-3
    close = 1e-7 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(found, expected, rtol=0, atol=close * size)
    again = engine.hessian_vector_product(X, y, v, n_threads=3)
    assert again.tobytes() == found.tobytes()
    w = np.random.default_rng(5).normal(size=engine.n_params)
    there, back = float(w @ found), float(v @ engine.hessian_vector_product(X, y, w))
    assert there == pytest.approx(back, rel=1e-9 if dtype == "float64" else 1e-3)


@every
def test_derivatives_have_the_same_bits_with_any_number_of_threads(name):
    network = make(name, "float32")
    X, y = samples(name, network, 300)
    for compute in (
        lambda n: network.input_gradient(X, y, n_threads=n),
        lambda n: network.sample_gradients(X, y, n_threads=n)[1],
        lambda n: network.jacobian(X, "parameters", n_threads=n),
    ):
        assert compute(1).tobytes() == compute(3).tobytes()


# --- Bits -----------------------------------------------------------------------------------------


@pytest.mark.skipif(len(FUSED) < 2, reason="this machine has one instruction set with FMA at most")
@every
def test_every_instruction_set_gives_the_same_bits(name, dtype):
    found = []
    for isa in FUSED:
        network = make(name, dtype, backend=isa)
        X, y = samples(name, network, 530)
        quiet(network, X, y, epochs=2, batch_size=37)
        quiet(network, X, y, batch_size=400)
        loss, gradient = network.loss_and_gradient(X, y)
        found.append((bits(network), loss, gradient.tobytes(), network.predict(X).tobytes()))
    assert all(each == found[0] for each in found)


WIDE = {
    "random": [GaussianNoise(0.1), Dense(256, "relu"), Dropout(0.5), Dense(256), PReLU()],
    "norms": [LayerNorm(), Dense(256, "relu"), BatchNorm(), Dense(256), LayerNorm()],
    "residual": [Residual(Dense(256, "relu"), BatchNorm(), Dense(256)), PReLU(shared=True)],
}


@pytest.mark.parametrize("name", WIDE)
def test_threads_do_not_change_a_bit(name, dtype):
    """Wide enough that kernels are divided among them."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(900, 256)), rng.normal(size=(900, 256))
    found = []
    for threads in (1, 2, 5):
        network = Network(256, *WIDE[name], dtype=dtype, seed=0)
        quiet(network, X, y, epochs=2, batch_size=450, n_threads=threads)
        loss, gradient = network.loss_and_gradient(X, y, n_threads=threads)
        out = network.predict(X, n_threads=threads)
        found.append((bits(network), loss, gradient.tobytes(), out.tobytes()))
    assert found[0] == found[1] == found[2]


@every
def test_a_row_alone_has_the_bits_it_has_in_a_batch(name, isa, dtype):
    network = make(name, dtype, backend=isa)
    X, y = samples(name, network, 300)
    quiet(network, X, y)
    X = X.astype(dtype)
    together = network.predict(X)
    for rows in (slice(0, 1), slice(7, 8), slice(299, 300), slice(100, 103), slice(2, 260)):
        assert network.predict(X[rows]).tobytes() == together[rows].tobytes()
    out = np.full((300, network.n_out + 2), 7.0, dtype)
    network.predict(X, out=out[:, 1:-1])
    np.testing.assert_array_equal(out[:, 1:-1], together)
    assert (out[:, [0, -1]] == 7).all(), "written beside the outputs"


@every
def test_gradient_has_the_same_bits_through_an_index(name):
    """One epoch unshuffled, and one in an order that undoes a shuffle."""
    a, b = (make(name, "float32") for _ in range(2))
    X, y = samples(name, a, 300)
    order = np.random.default_rng(5).permutation(300)
    X, y = X.astype("float32"), y if y.ndim == 1 else y.astype("float32")
    back = np.argsort(order)
    a._engine.train(X, y, None, 290 if len(a._engine.running) else 256)
    b._engine.train(X[order], y[order], back, 290 if len(a._engine.running) else 256)
    assert bits(a) == bits(b)


# --- Copies and files -----------------------------------------------------------------------------


@pytest.fixture(params=["copy", "pickle", "file"])
def duplicate(request, tmp_path):
    def through_a_file(network):
        network.save(tmp_path / "net")
        return nncore.load(tmp_path / "net", backend=network._backend)

    return {
        "copy": Network.copy,
        "pickle": lambda network: pickle.loads(pickle.dumps(network)),
        "file": through_a_file,
    }[request.param]


@pytest.mark.parametrize("backend", ["auto", "reference"])
@every
def test_copies_go_on_with_the_same_masks_and_statistics(name, duplicate, backend):
    network = make(name, "float32", backend=backend)
    X, y = samples(name, network, 70)
    quiet(network, X, y, batch_size=32)
    network.predict(X)
    twin = duplicate(network)
    assert bits(twin) == bits(network)
    assert repr(twin) == repr(network) and twin.config() == network.config()
    for each in (network, twin):
        quiet(each, X, y, epochs=2, batch_size=32)
    assert bits(twin) == bits(network)
    assert twin.predict(X).tobytes() == network.predict(X).tobytes()


@every
def test_config_makes_the_network_again(name):
    network = make(name, seed=0)
    layers = [nncore.layers.from_config(layer.config()) for layer in network.layers]
    again = Network(4, *layers, dtype="float64", loss=network.loss)
    assert repr(again.layers) == repr(network.layers)
    assert again.n_params == network.n_params
    known = {each: getattr(nncore, each) for each in nncore.__all__}
    assert repr(eval(repr(EVERY[name]), known)) == repr(EVERY[name])


def test_names_in_files():
    network = make("nested")
    tensors, _ = files.from_bytes(persistence.to_bytes(network))
    assert {name for name in tensors if not name.startswith("optimizer")} == {
        "layers.0.0.0.W", "layers.0.0.0.b", "layers.0.1.slope", "layers.0.2.0.gamma",
        "layers.0.2.0.beta", "layers.1.0.W", "layers.1.0.b", "layers.1.1.gamma",
        "layers.1.1.beta", "layers.1.1.running_mean", "layers.1.1.running_var",
        "layers.1.3.W", "layers.1.3.b", "layers.2.W", "layers.2.b",
    }  # fmt: skip


def test_parameters_are_views():
    network = make("nested")
    views = [v for layer in network.layers for v in layer.parameters().values()]
    assert sum(v.size for v in views) == network.n_params
    network.theta = np.arange(network.n_params)
    np.testing.assert_array_equal(np.concatenate([v.ravel() for v in views]), network.theta)
    block = network.layers[1]
    block.layers[1].gamma = 5
    block.layers[1].running_var[2] = 7
    assert (network.theta == 5).sum() >= 5 and 7 in network._engine.running
    with pytest.raises(ValueError, match=r"gamma has shape \(5,\), got \(4,\)"):
        block.layers[1].gamma = np.ones(4)
    with pytest.raises(AttributeError, match="fixed when a Network is made"):
        block.layers = ()
    with pytest.raises(AttributeError, match="only a description"):
        _ = BatchNorm().gamma


def test_summary(capsys):
    block = Residual(Dense(8, "relu"), Residual(Dense(8)), Dense(5))
    Network(4, Dense(5, "tanh"), BatchNorm(), block, PReLU(), seed=0).summary()
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "layer            activation  in -> out  parameters",
        "0 Dense          tanh        4 -> 5             25",
        "1 BatchNorm      identity    5 -> 5             10",
        "2 Residual       identity    5 -> 5            165",
        "  2.0 Dense      relu        5 -> 8             48",
        "  2.1 Residual   identity    8 -> 8             72",
        "    2.1.0 Dense  identity    8 -> 8             72",
        "  2.2 Dense      identity    8 -> 5             45",
        "3 PReLU          identity    5 -> 5              5",
    ]


# --- Random numbers -------------------------------------------------------------------------------


def test_philox_gives_the_known_answers():
    """kat_vectors of the Random123 distribution: counter, key, result."""
    known = [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ]  # fmt: skip
    for counter, key, result in known:
        counter, key = ([int(word, 16) for word in words.split()] for words in (counter, key))
        found = reference_steps.philox(counter, key)
        assert " ".join(f"{int(word):08x}" for word in found) == result


def masks(network, rows, columns):
    """What `predict` of a network that is a single Dropout(0.5, always=True) drops."""
    return network.predict(np.ones((rows, columns), network.dtype)) == 0


def dropping(columns, **options):
    """A network whose outputs are its inputs with half of them dropped."""
    network = Network(columns, Dropout(0.5, always=True), PReLU(), **options)
    network.layers[1].slope = 1
    return network


@pytest.mark.parametrize("columns", [1, 3, 64, 65, 200])
def test_masks_are_those_of_the_generator(columns, isa, dtype):
    """By seed, call, layer, row and column, and by nothing else."""
    network = dropping(columns, seed=4, backend=isa, dtype=dtype)
    mode = reference_steps.Mode()
    mode.seed = network._engine.draws[0]
    for mode.number in range(3):
        expected = reference_steps.words(mode, 0, (300, columns)) < 2**31
        np.testing.assert_array_equal(masks(network, 300, columns), expected)
    assert network._engine.draws == (mode.seed, 0, 3)


def test_masks_are_fresh_and_reproducible():
    a, b, c = (dropping(50, seed=seed) for seed in (1, 1, 2))
    first, second = masks(a, 100, 50), masks(a, 100, 50)
    assert 0.45 < first.mean() < 0.55 and 0.45 < (first ^ second).mean() < 0.55
    np.testing.assert_array_equal(masks(b, 100, 50), first)
    assert 0.45 < (masks(c, 100, 50) ^ first).mean() < 0.55
    rows, columns = first.mean(axis=1), first.mean(axis=0)
    assert rows.min() > 0.2 and rows.max() < 0.8 and columns.min() > 0.2 and columns.max() < 0.8
    assert len({row.tobytes() for row in first}) == 100


def test_without_a_seed_masks_differ():
    assert (masks(dropping(50), 20, 50) != masks(dropping(50), 20, 50)).any()


def test_evaluate_and_the_gradient_drop_nothing():
    layers = [Dense(20, "tanh"), Dropout(0.5, always=True), Dense(3, "softmax")]
    network = Network(4, *layers, seed=0, dtype="float64")
    plain = Network(4, layers[0], layers[2], seed=0, dtype="float64")
    X, y = samples("", network, 50)
    before = network._engine.draws
    assert network.evaluate(X, y) == plain.evaluate(X, y)
    a, b = network.loss_and_gradient(X, y), plain.loss_and_gradient(X, y)
    assert a[0] == b[0] and a[1].tobytes() == b[1].tobytes()
    assert network._engine.draws == before
    assert (network.predict(X) != plain.predict(X)).any()
    off = Network(4, layers[0], Dropout(0.5), layers[2], seed=0, dtype="float64")
    assert off.predict(X).tobytes() == plain.predict(X).tobytes()
    assert off._engine.draws == before


def test_predictions_do_not_change_the_masks_of_training():
    a, b = (make("dropout", layers=[Dense(9, "tanh"), Dropout(0.5, always=True), Dense(3)])
            for _ in range(2))  # fmt: skip
    X, y = samples("dropout", a, 40)
    a.predict(X)
    quiet(a, X, y), quiet(b, X, y)
    assert a.theta.tobytes() == b.theta.tobytes()


def test_a_new_optimizer_does_not_draw_the_old_masks_again():
    network = make("dropout")
    X, y = samples("dropout", network, 64)
    quiet(network, X, y, batch_size=32)
    network.optimizer = "adam"
    assert network._engine.draws[1:] == (2, 0)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.9])
def test_dropout_keeps_the_mean(rate):
    network = Network(1000, Dropout(rate, always=True), PReLU(), seed=0, dtype="float64")
    out = network.predict(np.full((1000, 1000), 3.0))
    kept = out != 0
    assert np.unique(out[kept]) == pytest.approx(3 / (1 - rate), rel=1e-15)
    error = 5 * np.sqrt(rate * (1 - rate) / 1e6)  # five standard errors
    assert abs(kept.mean() - (1 - rate)) <= error


def test_dropout_drops_nan_too_and_keeps_it_elsewhere():
    network = dropping(8, seed=0)
    X = np.ones((50, 8), "float32")
    X[:, 3] = np.nan
    out = network.predict(X)
    assert np.isnan(out[:, 3]).any() and (out[:, 3] == 0).any()
    assert not np.isnan(np.delete(out, 3, axis=1)).any()


def normal(columns, rows=2000):
    step = GaussianNoise(1.0).lower(columns, 0)[0]
    mode = reference_steps.Mode()
    mode.training, mode.seed, mode.number = True, 12345, 7
    engine = type("Engine", (), {"mode": mode, "theta": None, "gradient": None})
    x, y = np.zeros((rows, columns)), np.empty((rows, columns))
    reference_steps.Noise(step, 0, engine).forward(x, y)
    return y


def test_noise_is_normal():
    n = np.sort(normal(100).ravel())
    assert abs(n.mean()) < 5 / np.sqrt(n.size)
    assert abs(n.var() - 1) < 5 * np.sqrt(2 / n.size)
    assert abs((n**4).mean() - 3) < 5 * np.sqrt(96 / n.size)
    at = np.arange(-3, 3.1, 0.25)
    expected = np.array([0.5 * (1 + np.sign(x) * math.erf(abs(x) / np.sqrt(2))) for x in at])
    error = 5 * np.sqrt(expected * (1 - expected) / n.size)
    assert (np.abs(np.searchsorted(n, at) / n.size - expected) < error).all()
    assert np.abs(n).max() < 5.77


def test_noise_of_neighbours_is_independent():
    n = normal(8, 50_000)
    correlation = np.corrcoef(n.T) - np.eye(8)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(n))
    assert abs(np.corrcoef(n[1:, 0], n[:-1, 0])[0, 1]) < 5 / np.sqrt(len(n))


# --- BatchNorm ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 50, 256, 257, 1000])
@pytest.mark.parametrize("backend", [*ISAS, "reference"])
def test_batch_norm_is_the_formula(rows, backend):
    """Statistics of the whole batch; running ones by PyTorch's convention."""
    rng = np.random.default_rng(rows)
    network = Network(5, BatchNorm(0.3, eps=0.01), PReLU(), dtype="float64", optimizer=SGD(1e-30),
                      loss="half_mse", backend=backend)  # fmt: skip
    layer = network.layers[0]
    gamma, beta = rng.normal(size=(2, 5))
    layer.gamma, layer.beta = gamma, beta
    network.layers[1].slope = 1  # so that it does nothing, to 1e-30
    X = rng.normal(100, 2, size=(rows, 5))
    mean, var = np.zeros(5), np.ones(5)
    for _ in range(3):
        X = X + 1
        out = (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0) + 0.01) * gamma + beta
        T = rng.normal(size=(rows, 5))
        loss = network.partial_fit(X, T)
        assert loss == pytest.approx(0.5 * np.square(out - T).sum() / rows, rel=1e-10)
        mean = 0.7 * mean + 0.3 * X.mean(axis=0)
        var = 0.7 * var + 0.3 * X.var(axis=0, ddof=1)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-13)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-10)
    out = (X - mean) / np.sqrt(var + 0.01) * gamma + beta
    np.testing.assert_allclose(network.predict(X), out, rtol=1e-10)
    assert network.evaluate(X, T)["loss"] == pytest.approx(
        0.5 * np.square(out - T).sum() / rows, rel=1e-10)  # fmt: skip


def test_a_large_mean_does_not_drown_the_variance():
    X = 1e4 + np.random.default_rng(0).normal(size=(512, 3)).astype("float32")
    network = Network(3, BatchNorm(1.0), Dense(1), optimizer=SGD(1e-30))
    network.partial_fit(X, X[:, :1])
    np.testing.assert_allclose(
        network.layers[0].running_var, X.astype(float).var(axis=0, ddof=1), rtol=1e-3
    )


def test_momentum_0_and_1():
    X = np.random.default_rng(0).normal(size=(20, 3))
    still, newest = (Network(3, BatchNorm(m), Dense(1), dtype="float64") for m in (0, 1))
    for network in (still, newest):
        quiet(network, X, X[:, 0], batch_size=10, shuffle=False)
    np.testing.assert_array_equal(still._engine.running, [0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(newest.layers[0].running_mean, X[10:].mean(axis=0))


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize(
    ("rows", "batch_size", "said"),
    [(33, 32, "the last of 33 rows in batches of 32"), (5, 1, "this"), (1, "full", "this"),
     (1, 10, "this")],
)  # fmt: skip
def test_a_batch_of_one_row_is_refused(rows, batch_size, said, backend):
    network = make("nested", backend=backend)
    X, y = samples("nested", network, rows)
    before = bits(network)
    with pytest.raises(ValueError, match=f"at least two rows.*{said} is a batch of one row"):
        quiet(network, X, y, batch_size=batch_size)
    assert bits(network) == before
    assert np.isfinite(network.predict(X[:1])).all()
    network.evaluate(X[:1], y[:1]), network.loss_and_gradient(X[:1], y[:1])


def test_the_engine_refuses_one_row_too():
    network = make("batch_norm")
    X, y = samples("batch_norm", network, 3)
    before = bits(network)
    with pytest.raises(ValueError, match="one row"):
        network._engine.train(X, y, None, 2)
    assert bits(network) == before


def test_a_loss_that_is_not_finite_leaves_the_statistics():
    network = Network(2, BatchNorm(), Dense(1), dtype="float32")
    before = bits(network)[:5]
    with pytest.raises(FloatingPointError):
        network.partial_fit(np.ones((4, 2)), np.full((4, 1), 1e30))
    assert bits(network)[:5] == before


def test_a_constant_column_is_finite_and_leaves_no_denormals():
    network = Network(2, BatchNorm(0.5), Dense(1), optimizer=SGD(0.01))
    X = np.zeros((8, 2), "float32")
    quiet(network, X, X[:, 0], epochs=400)
    assert np.isfinite(network.theta).all()
    np.testing.assert_array_equal(network._engine.running, 0)


# --- LayerNorm, PReLU, Residual -------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 7, 16, 65])
@pytest.mark.parametrize("backend", [*ISAS, "reference"])
def test_layer_norm_is_the_formula(width, backend):
    rng = np.random.default_rng(width)
    network = Network(width, LayerNorm(0.01), dtype="float64", backend=backend)
    gamma, beta = rng.normal(size=(2, width))
    network.layers[0].gamma, network.layers[0].beta = gamma, beta
    X = rng.normal(10, 2, size=(300, width))
    centred = X - X.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt(X.var(axis=1, keepdims=True) + 0.01) * gamma + beta
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("backend", [*ISAS, "reference"])
def test_prelu_is_the_formula(shared, backend):
    rng = np.random.default_rng(0)
    network = Network(70, PReLU(shared=shared), dtype="float64", loss="half_mse", backend=backend)
    slope = network.layers[0].slope
    assert slope.shape == ((1,) if shared else (70,)) and (slope == 0.25).all()
    slope[...] = rng.normal(size=slope.shape)
    X, T = rng.normal(size=(2, 600, 70))
    X[0, :3] = 0, -0.0, 1e-320
    out = np.where(X > 0, X, slope * X)
    np.testing.assert_allclose(network.predict(X), out, rtol=1e-15)
    each = ((out - T) / 600 * np.minimum(X, 0)).sum(axis=0)
    _, gradient = network.loss_and_gradient(X, T)
    np.testing.assert_allclose(gradient, each.sum(keepdims=True) if shared else each, rtol=1e-10,
                               atol=1e-14)  # fmt: skip


def test_the_slope_of_prelu_at_0_is_the_learned_one():
    network = Network(1, Dense(1, bias=False, init=[[0.0]]), PReLU(), loss="half_mse",
                      dtype="float64")  # fmt: skip
    _, gradient = network.loss_and_gradient([[1.0]], [[-4.0]])
    assert gradient.tolist() == [4 * 0.25, 0.0]


@pytest.mark.parametrize("backend", [*ISAS, "reference"])
def test_residual_is_the_formula(backend):
    network = Network(4, Residual(Dense(9, "tanh"), Dense(4)), Dense(2), dtype="float64", seed=0,
                      backend=backend)  # fmt: skip
    first, second = network.layers[0].layers
    last = network.layers[1]
    X = inputs("", 300)
    hidden = X + np.tanh(X @ first.W + first.b) @ second.W + second.b
    np.testing.assert_allclose(network.predict(X), hidden @ last.W + last.b, rtol=1e-12, atol=1e-13)


def test_blocks_nest_deeply():
    layer = Dense(3, "tanh")
    for _ in range(20):
        layer = Residual(layer)
    network = Network(3, layer, dtype="float64", seed=0)
    twin = Network(3, Dense(3, "tanh"), dtype="float64", seed=0)
    X = np.random.default_rng(0).normal(size=(9, 3))
    np.testing.assert_allclose(network.predict(X), 20 * X + twin.predict(X), rtol=1e-13)
    assert bits(network.copy()) == bits(network)


# --- Embedding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [*ISAS, "reference"])
def test_embedding_is_a_table(backend, dtype):
    network = Network(3, Embedding(6, 5), loss="half_mse", dtype=dtype, seed=0, backend=backend)
    E = network.layers[0].E
    assert E.shape == (6, 5) and 0.5 < E.std() < 1.5
    X = np.random.default_rng(0).integers(0, 6, (400, 3))
    np.testing.assert_array_equal(network.predict(X), E[X].reshape(400, 15))
    for kind in (np.uint8, np.int64, np.float64, bool):
        some = X.astype(kind)
        np.testing.assert_array_equal(network.predict(some), E[some.astype(int)].reshape(400, 15))
    T = np.zeros((400, 15))
    _, gradient = network.loss_and_gradient(X, T)
    counts = np.bincount(X.ravel(), minlength=6)
    np.testing.assert_allclose(gradient.reshape(6, 5), E * counts[:, None] / 400,
                               rtol=400 * EPS[dtype])  # fmt: skip


@pytest.mark.parametrize("backend", [*ISAS, "reference"])
def test_columns_of_numbers_go_through(backend):
    layer = Embedding(columns={np.int64(2): (5, 2), 0: [3, 1]})
    network = Network(4, layer, dtype="float64", seed=0, backend=backend)
    E = network.layers[0].E
    assert list(E) == [0, 2] and E[0].shape == (3, 1) and E[2].shape == (5, 2)
    X = np.array([[2, 0.5, 4, -7.25], [0, 1e300, 0, 3]])
    expected = [[*E[0][2], 0.5, *E[2][4], -7.25], [*E[0][0], 1e300, *E[2][0], 3]]
    np.testing.assert_array_equal(network.predict(X), expected)
    assert layer.n_outputs(4) == 5 and network.n_params == 13


@pytest.mark.parametrize("value", [-1, 11, 2.5, 1e30])
@pytest.mark.parametrize("name", ["embedding", "columns"])
def test_what_is_no_token_is_refused(name, value):
    network = make(name)
    X, y = samples(name, network, 10)
    X[4, 3] = value
    before = bits(network)
    known = 10 if name == "embedding" else 6
    message = rf"{re.escape(f'{value:g}')} at row 4, column 3, .* whole numbers 0 \.\. {known}\."
    for call in (
        lambda: network.predict(X), lambda: quiet(network, X, y),
        lambda: network.evaluate(X, y), lambda: network.loss_and_gradient(X, y),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="X has " + message):
            call()
    with pytest.raises(ValueError, match="validation X has " + message):
        quiet(network, *samples(name, network, 10), validation_data=(X, y))
    assert bits(network) == before


def test_nan_is_no_token_and_goes_through_where_numbers_do():
    network = make("columns")
    X = inputs("columns", 3)
    X[1, 0] = np.nan
    assert np.isnan(network.predict(X)).any(axis=1).tolist() == [False, True, False]
    X[1, 1] = np.nan
    with pytest.raises(ValueError, match="X has nan at row 1, column 1, which is no token"):
        network.predict(X)


def test_the_engine_stays_in_its_memory_whatever_the_tokens(isa, dtype):
    """Nobody gets here but through the check above."""
    network = make("embedding", dtype, backend=isa)
    wild = np.array([[np.nan, np.inf, -np.inf, 1e38], [-1, 11, 1e9, -0.0]] * 3, dtype)
    out, zero = np.empty((6, 3), dtype), np.empty((6, 3), dtype)
    network._engine.predict(wild, out)
    network._engine.predict(np.zeros_like(wild), zero)
    assert out.tobytes() == zero.tobytes()
    network._engine.train(wild, np.zeros((6, 3), dtype), None, 4)


def test_tokens_that_float32_cannot_tell_apart():
    layer = Embedding(2**24 + 1, 1)
    with pytest.raises(ValueError, match=r"float32 holds 16777216 tokens.*dtype=\"float64\""):
        Network(1, layer)
    tables = Embedding(columns={0: (2**24 + 1, 1)})
    with pytest.raises(ValueError, match="float32 holds 16777216 tokens"):
        Network(1, tables)
    network = Network(1, Embedding(2**24, 1), Dense(1), seed=0)
    last = network.layers[0].E[-1, 0] * network.layers[1].W[0, 0]
    assert network.predict(np.array([[2**24 - 1]]))[0, 0] == last


def test_tokens_that_do_not_occur_stay_under_sgd():
    network = Network(2, Embedding(9, 3), Dense(1), optimizer=SGD(0.1), seed=0)
    before = network.layers[0].E.copy()
    quiet(network, np.array([[1, 2], [2, 7]]), [0.0, 1.0], epochs=5)
    moved = (network.layers[0].E != before).all(axis=1)
    assert np.flatnonzero(moved).tolist() == [1, 2, 7]
    assert np.flatnonzero((network.layers[0].E != before).any(axis=1)).tolist() == [1, 2, 7]


# --- What is refused, and what is said then -------------------------------------------------------

BAD = [
    (lambda: Dropout(1.0), "rate of Dropout must be a number of at least 0 and below 1, got 1.0"),
    (lambda: Dropout(-0.1), "rate of Dropout"),
    (lambda: Dropout("0.5"), "rate of Dropout"),
    (lambda: Dropout(float("nan")), "rate of Dropout"),
    (lambda: Dropout(True), "rate of Dropout"),
    (lambda: Dropout(0.5, always=1), "always of Dropout must be True or False, got 1"),
    (lambda: GaussianNoise(-1), "std of GaussianNoise must be a number of at least 0, got -1"),
    (lambda: GaussianNoise(float("inf")), "std of GaussianNoise"),
    (lambda: BatchNorm(1.5), "momentum of BatchNorm must be a number from 0 to 1, got 1.5"),
    (lambda: BatchNorm(eps=0), "eps of BatchNorm must be a number of at least 1e-30, got 0"),
    (lambda: LayerNorm(None), "eps of LayerNorm"),
    (lambda: PReLU(shared="yes"), "shared of PReLU must be True or False, got 'yes'"),
    (lambda: Residual(), "Residual needs at least one layer"),
    (lambda: Residual(Dense(3, "softmax")), "softmax in a Residual: only the last layer"),
    (lambda: Residual(Embedding(3, 1)), r"Embedding\(3, 1\) in a Residual: it can only be the fir"),
    (lambda: Embedding(0, 3), "n_tokens of Embedding must be an integer of at least 1, got 0"),
    (lambda: Embedding(3), "dim of Embedding must be an integer of at least 1, got None"),
    (lambda: Embedding(3, 2, columns={0: (1, 1)}), "n_tokens and dim, or columns, not both"),
    (lambda: Embedding(columns={}), "columns of Embedding must be a dict such as"),
    (lambda: Embedding(columns=[1, 2]), "columns of Embedding must be a dict such as"),
    (lambda: Embedding(columns={-1: (2, 2)}), "number of a column"),
    (lambda: Embedding(columns={"a": (2, 2)}), "number of a column"),
    (lambda: Embedding(columns={0: 5}), "number of a column"),
    (lambda: Embedding(columns={1: (2, 0)}), "dim of column 1 of Embedding must be an integer"),
    (lambda: Network(3, Embedding(columns={3: (2, 2)}), Dense(1)),
     "names column 3, but there are 3 columns: the last is 2"),
    (lambda: Network(1 << 17, Embedding(2, 1), Dense(1)), "at most 65536 columns, not 131072"),
    (lambda: Network(3, Dense(3), Embedding(2, 2)),
     r"layer 1 is Embedding\(2, 2\), which only the first layer may be"),
    (lambda: Network(8, Residual(Dense(16), Dense(5, "tanh"))),
     r"would add 5 outputs to 8 inputs, but the widths must be the same.*Dense\(8\)"),
    (lambda: Network(3, Dropout(0.5)), "no parameters to train"),
    (lambda: Network(3, Dense(2, "softmax"), Dropout(0.5)), "layer 0 is softmax, which only"),
    (lambda: Network(3, Dense(2), PReLU(), loss="cross_entropy"),
     r'cross_entropy needs a "softmax" output, but the last layer is PReLU\(\)'),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_list_in_a_residual():
    with pytest.raises(TypeError, match="layer 0 of Residual must be a layer.*not a list"):
        Residual([Dense(3)])


LINEAR = [
    ([Dense(3), Dense(1)], True),
    ([Dense(3), Dropout(0.1), BatchNorm(), Dense(1)], True),
    ([Dense(3), Residual(Dense(3)), Dense(1)], True),
    ([Dense(3), Residual(Dense(3))], True),
    ([Dense(3), PReLU(), Dense(1)], False),
    ([Dense(3), LayerNorm(), Dense(1)], False),
    ([Dense(3), PReLU()], False),
    ([Dropout(0.5), Dense(1)], False),
    ([BatchNorm(), Dense(1)], False),
    ([Residual(Dense(4, "tanh")), Dense(1)], False),
]


@pytest.mark.parametrize(("layers", "warns"), LINEAR, ids=repr)
def test_linear_networks_are_warned_of(layers, warns):
    if warns:
        with pytest.warns(UserWarning, match="can only do what one Dense"):
            Network(4, *layers)
    else:
        Network(4, *layers)


# --- Files that lie -------------------------------------------------------------------------------


def rewritten(name, change):
    tensors, metadata = files.from_bytes(persistence.to_bytes(make(name)))
    description = json.loads(metadata["nncore"])
    change(tensors, description)
    return files.to_bytes(tensors, {"nncore": json.dumps(description)})


def refused(data, part=None):
    tracemalloc.start()
    try:
        with pytest.raises(files.FileFormatError, match=part) as caught:
            persistence.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["nested", "columns"])
def test_every_missing_key_and_tensor_is_noticed(name):
    tensors, metadata = files.from_bytes(persistence.to_bytes(make(name)))
    for tensor in tensors:
        refused(rewritten(name, lambda t, d, tensor=tensor: t.pop(tensor)), "missing|not like")

    def keys(value, path=()):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items if isinstance(value, (dict, list)) else ():
            if isinstance(value, dict):
                yield (*path, key)
            yield from keys(inner, (*path, key)) if isinstance(inner, (dict, list)) else ()

    found = list(keys(json.loads(metadata["nncore"])["config"]["layers"]))
    assert len(found) > 3
    for path in found:

        def change(tensors, description, path=path):
            at = description["config"]["layers"]
            for key in path[:-1]:
                at = at[key]
            del at[path[-1]]

        refused(rewritten(name, change))


@pytest.mark.parametrize(
    "value",
    [None, 0, "x", {}, [], [1, 2], [1, 2, -1], [1, 2.0, 3], [1, 2, True], [1 << 64, 0, 0],
     [1, 1 << 48, 0], [1, 0, 1 << 48]],
)  # fmt: skip
def test_draws_that_lie(value):
    refused(rewritten("dropout", lambda t, d: d.update(draws=value)), "draws")


def test_draws_that_are_missing():
    refused(rewritten("dropout", lambda t, d: d.pop("draws")), "'draws' is missing")
    data = rewritten("dropout", lambda t, d: d.update(draws=[(1 << 64) - 1, 5, (1 << 48) - 1]))
    network = persistence.from_bytes(data)
    assert network._engine.draws == ((1 << 64) - 1, 5, (1 << 48) - 1)


def layer_changed(change):
    return lambda tensors, description: change(description["config"]["layers"][0])


SIZES = [-1, 0, 6, 2.5, True, None, "5", [5], 2**31, 2**40, 2**63, 2**200]


@pytest.mark.parametrize("value", SIZES, ids=repr)
def test_sizes_that_lie_take_no_memory(value):
    for key in ("n_tokens", "dim"):
        change = layer_changed(lambda layer, key=key: layer.update({key: value}))
        refused(rewritten("embedding", change))
    for place in (0, 1, 2):
        change = layer_changed(lambda layer, at=place: layer["columns"][0].__setitem__(at, value))
        refused(rewritten("columns", change))
    for name in ("nested", "embedding", "batch_norm"):
        refused(rewritten(name, lambda t, d: d["config"].update(n_in=value)))


def test_a_width_that_no_tensor_bounds_takes_no_memory():
    """One shared slope fits any width."""
    network = Network(3, PReLU(shared=True), seed=0)
    data = persistence.to_bytes(network)
    tensors, metadata = files.from_bytes(data)
    text = metadata["nncore"].replace('"n_in": 3', f'"n_in": {2**31 - 1}')
    tracemalloc.start()
    wide = persistence.from_bytes(files.to_bytes(tensors, {"nncore": text}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert wide.n_in == 2**31 - 1 and peak < 200_000


def test_blocks_that_nest_without_end():
    tensors, metadata = files.from_bytes(persistence.to_bytes(Network(3, PReLU(), seed=0)))
    start, end = '{"type": "residual", "layers": [', "]}"
    inner = '{"type": "prelu", "shared": false}'
    for depth in (65, 900, 10_000):
        block = start * depth + inner + end * depth
        text = metadata["nncore"].replace(inner, block)
        assert len(text) > 20 * depth
        with pytest.raises(files.FileFormatError):
            persistence.from_bytes(files.to_bytes(tensors, {"nncore": text}))


@pytest.mark.parametrize("layers", [None, "x", 5, {}, [[]], [{"type": "residual"}], {"type": 1}])
def test_blocks_that_are_none(layers):
    refused(rewritten("nested", lambda t, d: d["config"]["layers"][0].update(layers=layers)))


# --- Training -------------------------------------------------------------------------------------


def test_layers_help_where_they_should():
    """BatchNorm and residual connections train a deep network that plain layers do not."""
    X, y = nncore.datasets.load_digits()
    X, test, labels, expected = X[:1200] / 16, X[1200:] / 16, y[:1200], y[1200:]
    deep = [layer for _ in range(8)
            for layer in (Residual(Dense(64, bias=False), BatchNorm(), PReLU()),)]  # fmt: skip
    network = Network(64, *deep, Dropout(0.2), Dense(10, "softmax"), seed=0)
    quiet(network, X, labels, epochs=8)
    assert network.evaluate(test, expected)["accuracy"] > 0.9


def test_monte_carlo_dropout_is_less_sure_away_from_the_data():
    x = np.linspace(-1, 1, 200)[:, None]
    network = Network(1, Dense(100, "relu"), Dropout(0.1, always=True), Dense(100, "relu"),
                      Dropout(0.1, always=True), Dense(1), seed=0, optimizer="adam")  # fmt: skip
    quiet(network, x, np.sin(3 * x), epochs=60)
    spread = np.std([network.predict([[0.0], [5.0]]) for _ in range(200)], axis=0)
    assert spread[1] > 3 * spread[0]


def test_an_embedding_learns_what_tokens_mean():
    rng = np.random.default_rng(0)
    tokens, meaning = rng.integers(0, 30, (2000, 2)), rng.normal(size=30)
    y = meaning[tokens[:, 0]] - meaning[tokens[:, 1]]
    network = Network(2, Embedding(30, 3), Dense(16, "tanh"), Dense(1), seed=0,
                      optimizer=nncore.Adam(0.01))  # fmt: skip
    quiet(network, tokens, y, epochs=30)
    assert network.evaluate(tokens, y)["loss"] < 0.05 * y.var()


@pytest.mark.parametrize("batch_size", [2, 32])
def test_a_step_allocates_nothing(batch_size):
    layers = [Embedding(5, 1), *stack()["nested"][:-1], GaussianNoise(0.1), Dense(3, "softmax")]
    network = make("nested", "float32", layers=layers)
    rng = np.random.default_rng(0)

    def run(steps):
        rows = steps * batch_size
        X = rng.integers(0, 5, (rows, 4)).astype("float32")
        y = rng.integers(0, 3, rows)
        network._engine.train(X, y, None, batch_size)  # the workspace is there
        tracemalloc.start()
        blocks = sys.getallocatedblocks()
        losses = network._engine.train(X, y, None, batch_size)
        blocks = sys.getallocatedblocks() - blocks
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - losses.nbytes, blocks

    few, many = run(10), run(1000)
    assert abs(many[0] - few[0]) < 1000 and abs(many[1] - few[1]) < 20, (few, many)


def test_an_interrupted_epoch_is_after_a_whole_step():
    """A handler raises in the middle; statistics and masks are those of the steps done."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("Python answers signals in the main thread only")
    network = make("nested", "float32", layers=[Dense(300, "tanh"), *WIDE["norms"], Dropout(0.3),
                                                Dense(4)])  # fmt: skip
    X = np.random.default_rng(0).normal(size=(200_000, 4)).astype("float32")
    twin, calls = network.copy(), []

    def handler(number, frame):
        calls.append(network._engine.n_updates)
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGINT, handler)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            network._engine.train(X, X, None, 100)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, old)
    done = network._engine.n_updates
    assert done in (calls[0], calls[0] + 1) and 0 < done < 2000
    assert network._engine.draws[1] == done
    twin._engine.train(X[: 100 * done], X[: 100 * done], None, 100)
    assert bits(twin) == bits(network)


def test_lsuv_looks_through_the_other_layers():
    layers = [Embedding(columns={0: (5, 3)}), Dense(8, "relu"), BatchNorm(), Dropout(0.3)]
    layers += [Residual(Dropout(0.1), Dense(8, "tanh")), LayerNorm(), PReLU(), Dense(2)]
    network = Network(4, *layers, seed=0, dtype="float64")
    X = np.random.default_rng(0).normal(size=(64, 4))
    X[:, 0] = np.random.default_rng(1).integers(0, 5, 64)
    assert len(network.lsuv(X)) == 3  # the one in the block too
    assert network.predict(X).var() == pytest.approx(1, rel=1e-12)
