"""Networks of all kinds of layers: the engine and its twin, bits, copies and files, one step."""

import inspect
import pickle
import signal
import sys
import threading
import tracemalloc

import numpy as np
import pytest

import nncore
from nncore import (
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

from .checks import assert_near
from .networks import EPS, FUSED, quiet
from .stacks import EVERY, NAMES, bits, every, make, samples, stack

# --- The engine and its twin ----------------------------------------------------------------------


def widths(layers, width=4):
    for layer in layers:
        yield layer, width
        width = layer.n_outputs(width)


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
        assert_near(a, b, 100)  # some 70 steps, which do not make differences larger
        assert_near(engine.theta, twin.theta, 100)
        assert_near(engine._engine.running, twin._engine.running, 100)
    assert engine._engine.draws == twin._engine.draws
    assert_near(engine.predict(X), twin.predict(X), 100)
    (a, g), (b, h) = (n.loss_and_gradient(X, y) for n in (engine, twin))
    assert a == pytest.approx(b, rel=100 * EPS["float64"], abs=0)
    assert_near(g, h, 100)


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
    again._engine.running[:] = network._engine.running  # among which are numbers of a Scaling
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


# --- A step, and one that is interrupted ----------------------------------------------------------


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
    if threading.current_thread() is not threading.main_thread():  # never under plain pytest
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


@pytest.mark.parametrize(
    "public",
    [Dense, nncore.Scaling, nncore.Scaling.of, nncore.Activation.f, nncore.Loss.value,
     nncore.register_loss, nncore.register_activation],
)  # fmt: skip
def test_signatures_are_readable(public):
    """ArrayLike is a union of some 400 characters, where it is not left a name."""
    assert "numpy._typing" not in str(inspect.signature(public))
