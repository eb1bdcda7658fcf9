"""The object Network: its parameters, seeds and copies, its optimizer, names and text."""

import copy

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network

from .networks import FUSED, ISAS, backends, classifier, labelled, optimizers, quiet, state, valued

# --- Parameters -----------------------------------------------------------------------------------


@backends
def test_theta_and_the_layers_are_one_block(backend):
    network = classifier("float32", backend=backend)
    X, y = labelled()
    first, second, third = network.layers
    assert network.n_params == network.theta.size == 5 * 7 + 7 + 7 * 6 + 6 + 6 * 3 + 3
    flat = [p.ravel() for layer in network.layers for p in (layer.W, layer.b)]
    np.testing.assert_array_equal(network.theta, np.concatenate(flat))
    for array in (network.theta, first.W, first.b, second.W, second.b, third.W, third.b):
        assert np.shares_memory(array, network.theta) and array.flags.writeable
        before = network.predict(X)
        array += 0.25
        assert not np.array_equal(network.predict(X), before)  # the engine sees it
    first.W[4, 6] = 3
    first.b[0] = 4
    second.W[0, 1] = 5
    assert (network.theta[34], network.theta[35], network.theta[43]) == (3, 4, 5)
    network.theta[34] = -1
    assert first.W[4, 6] == -1
    theta, W = network.theta, first.W
    quiet(network, X, y)
    assert np.shares_memory(theta, network.theta) and W.tobytes() == theta[:35].tobytes()


def test_setters_copy():
    network = classifier("float32")
    block, first = network.theta, network.layers[0]
    values = np.arange(network.n_params)
    network.theta = values
    values[:] = -1
    np.testing.assert_array_equal(block, np.arange(network.n_params))
    W, b = np.full((5, 7), 0.5), [1, 2, 3, 4, 5, 6, 7]
    first.W, first.b = W, b
    W[:] = -1
    assert (block[:35] == 0.5).all() and block[35:42].tolist() == b
    first.W *= 2
    first.b -= 1
    network.theta += 1
    assert (block[:35] == 2).all() and block[35:42].tolist() == b
    assert network.theta is block or np.shares_memory(network.theta, block)


def test_views_outlive_the_network():
    theta, W = (lambda network: (network.theta, network.layers[0].W))(classifier())
    for _ in range(20):  # would be likely to reuse freed memory
        classifier().theta.fill(9)
    theta[0] = 5
    assert W[0, 0] == 5 and not (theta == 9).any()


def test_a_layer_can_be_used_again():
    layer = Dense(4, "tanh")
    network = Network(4, layer, layer, Dense(1), seed=0)
    twin = Network(4, layer, layer, Dense(1), seed=0)
    assert not np.array_equal(network.layers[0].W, network.layers[1].W)
    network.layers[0].W = 0
    assert network.layers[1].W.any() and twin.layers[0].W.any()
    assert layer not in network.layers and not hasattr(layer, "_theta")


def test_layer_without_bias():
    network = Network(5, Dense(4, "tanh", bias=False), Dense(2, bias=False), dtype="float64")
    assert network.n_params == 28 and network.layers[0].b is None
    assert not network.predict(np.zeros((1, 5))).any()
    quiet(network, *valued(), epochs=3)
    assert not network.predict(np.zeros((1, 5))).any()
    with pytest.raises(AttributeError, match=r"Dense\(4, 'tanh', bias=False\) has no bias"):
        network.layers[0].b = 1


@pytest.mark.parametrize(
    ("activation", "init", "variance"),
    [
        ("tanh", None, 2 / 500),
        ("sigmoid", None, 2 / 500),
        ("relu", None, 2 / 300),
        ("softplus", None, 2 / 300),
        ("tanh", "glorot_normal", 2 / 500),
        ("tanh", "he_uniform", 2 / 300),
        ("tanh", "he_normal", 2 / 300),
        ("relu", "lecun_uniform", 1 / 300),
        ("relu", "lecun_normal", 1 / 300),
        ("relu", "zeros", 0),
    ],
)
def test_starting_weights(activation, init, variance):
    network = Network(300, Dense(200, activation, init=init), dtype="float64", seed=0)
    W, b = network.layers[0].W, network.layers[0].b
    assert not b.any()
    # Of 60,000 draws, the mean of the squares scatters by 0.6 % at most (normal).
    assert np.mean(W**2) == pytest.approx(variance, rel=0.03)
    assert abs(W.mean()) <= 5 * np.sqrt(variance / W.size)
    if init and init.endswith("normal"):
        assert np.abs(W).max() > 3.5 * np.sqrt(variance)
    else:
        assert np.abs(W).max() <= np.sqrt(3 * variance)


# --- Bits -----------------------------------------------------------------------------------------


@backends
def test_the_same_seed_gives_the_same_bits(backend, dtype):
    X, y = labelled(100)
    networks = [classifier(dtype, seed=seed, backend=backend) for seed in (7, 7, 8)]
    assert networks[0].theta.tobytes() == networks[1].theta.tobytes()
    assert not np.array_equal(networks[0].theta, networks[2].theta)
    for network in networks:
        quiet(network, X, y, epochs=3)
    assert state(networks[0]) == state(networks[1])


def test_the_seed_is_also_that_of_the_shuffling():
    X, Y = valued()
    thetas = set()
    for seed, shuffle in [(1, True), (2, True), (1, False), (2, False)]:
        network = Network(5, Dense(2, init="zeros"), dtype="float64", seed=seed)
        quiet(network, X, Y, epochs=2, batch_size=8, shuffle=shuffle)
        thetas.add(network.theta.tobytes())
    assert len(thetas) == 3  # without shuffling the seed plays no part here


def test_without_a_seed_networks_differ():
    assert len({Network(5, Dense(3)).theta.tobytes() for _ in range(5)}) == 5


def test_global_random_state_is_left_alone(isa):
    np.random.seed(0)
    before = np.random.get_state()[1].tobytes()
    quiet(classifier(backend=isa), *labelled())
    assert np.random.get_state()[1].tobytes() == before


@pytest.mark.skipif(len(FUSED) < 2, reason="this machine has one instruction set with FMA at most")
def test_every_instruction_set_gives_the_same_bits(dtype):
    X, y = labelled(300)
    states = []
    for isa in FUSED:
        network = classifier(dtype, backend=isa)
        quiet(network, X, y, epochs=3, batch_size=100)
        states.append((state(network), network.predict(X).tobytes(), network.evaluate(X, y)))
    assert all(each == states[0] for each in states)


@pytest.mark.parametrize("duplicate", [Network.copy, copy.copy, copy.deepcopy])
@optimizers
def test_copy_goes_on_like_the_original_and_apart_from_it(optimizer, dtype, duplicate):
    X, y = labelled(60)
    network = classifier(dtype, optimizer)
    quiet(network, X, y, epochs=2)
    before = state(network)
    twin = duplicate(network)
    assert state(twin) == before
    assert not np.shares_memory(twin.theta, network.theta)
    a = quiet(twin, X, y, epochs=2)
    assert state(network) == before
    b = quiet(network, X, y, epochs=2)
    assert state(twin) == state(network) and dict(a) == dict(b)
    twin.layers[0].W = 0
    twin.optimizer.lr = 5
    assert network.layers[0].W.any() and network.optimizer.lr != 5


@backends
@pytest.mark.parametrize("duplicate", [Network.copy, copy.copy, copy.deepcopy])
def test_a_copy_runs_on_the_same_backend(duplicate, backend):
    assert duplicate(classifier(backend=backend)).backend == backend


# --- The optimizer --------------------------------------------------------------------------------


def test_a_new_optimizer_starts_afresh():
    X, y = labelled()
    network = classifier(optimizer="adam")
    quiet(network, X, y, epochs=2)
    assert network._engine.n_updates == 4 and network._engine.state.any()
    network.optimizer = Adam(0.01)
    assert network._engine.n_updates == 0 and not network._engine.state.any()
    fresh = classifier(optimizer="adam")
    fresh.theta = network.theta
    for each in (network, fresh):
        quiet(each, X, y, epochs=2, shuffle=False)
    assert state(network)[:3] == state(fresh)[:3]
    network.optimizer = "nesterov"
    assert network.optimizer == SGD(0.01, momentum=0.9, nesterov=True)
    assert network._engine.state.shape == (1, network.n_params)


@backends
@pytest.mark.parametrize(
    ("optimizer", "change"),
    [(SGD(0.1), {"lr": 0.02}), (SGD(0.1, momentum=0.5), {"lr": 0.02, "momentum": 0.8}),
     (Adam(), {"lr": 0.02, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3})],
)  # fmt: skip
def test_a_changed_hyper_parameter_counts_and_the_state_stays(optimizer, change, backend):
    X, y = labelled()
    optimizer, changed = copy.copy(optimizer), copy.copy(optimizer)
    for name, value in change.items():
        setattr(changed, name, value)
    a, b, c = (classifier(backend=backend) for _ in range(3))
    a.optimizer, b.optimizer, c.optimizer = optimizer, copy.copy(optimizer), changed
    for network in (a, b):
        network.partial_fit(X, y)
    assert state(a) == state(b)
    for name, value in change.items():
        setattr(a.optimizer, name, value)
    c.theta = a.theta
    c._engine.state[...] = a._engine.state
    c._engine.n_updates = 1
    for network in (a, b, c):
        network.partial_fit(X, y)
    assert state(a) == state(c)
    assert state(a) != state(b)


def test_momentum_switched_on_later_is_refused_clearly_or_works():
    """It changes the rule, whose state the engine does not have."""
    X, y = labelled()
    network = classifier(optimizer="sgd")
    network.partial_fit(X, y)
    try:
        network.optimizer.momentum = 0.9
        network.partial_fit(X, y)
    except (ValueError, AttributeError) as error:
        assert "momentum" in str(error) and "optimizer" in str(error)
    assert state(network.copy()) == state(network)  # in any case it can be saved


# --- Types, names, text ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.float64, float, "f4"])
def test_dtype(dtype):
    network = Network(5, Dense(3), dtype=dtype)
    wanted = np.dtype(dtype)
    assert network.dtype == wanted and network.theta.dtype == wanted
    assert network.layers[0].W.dtype == network.layers[0].b.dtype == wanted
    assert network.predict(np.ones((2, 5))).dtype == wanted
    assert network.loss_and_gradient(np.ones((2, 5)), np.ones((2, 3)))[1].dtype == wanted
    assert network._engine.state.dtype == wanted
    assert Network(5, Dense(3)).dtype == np.float32


@pytest.mark.parametrize(
    ("output", "loss"),
    [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("identity", "mse"),
     ("tanh", "mse"), ("relu", "mse")],
)  # fmt: skip
def test_default_loss(output, loss):
    assert Network(2, Dense(3, output)).loss == loss


@pytest.mark.parametrize(
    ("name", "loss"),
    [("squared_error", "mse"), ("mean_squared_error", "mse"), ("half_squared_error", "half_mse")],
)
def test_other_names_of_losses(name, loss):
    assert Network(2, Dense(3), loss=name).loss == loss


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("sgd", SGD()), ("adam", Adam()), ("momentum", SGD(momentum=0.9)),
     ("nesterov", SGD(momentum=0.9, nesterov=True))],
)  # fmt: skip
def test_optimizer_by_name(name, optimizer):
    assert Network(2, Dense(3), optimizer=name).optimizer == optimizer
    assert SGD().lr == 0.01 and Adam() == Adam(0.001, 0.9, 0.999, 1e-8)


@backends
def test_backend(backend):
    assert Network(2, Dense(3), backend=backend).backend == backend


def test_backend_by_default_is_the_chosen_instruction_set():
    assert Network(2, Dense(3)).backend == nncore.get_config()["isa"]
    assert classifier(backend="auto").backend in ISAS and "baseline" in ISAS


def test_repr():
    network = Network(
        4, Dense(3, "relu", bias=False), Dense(2, "softmax"), optimizer=SGD(0.5), dtype="float64"
    )
    assert repr(network) == (
        "Network(4, Dense(3, 'relu', bias=False), Dense(2, 'softmax'), loss='cross_entropy', "
        "optimizer=SGD(lr=0.5, momentum=0.0, nesterov=False))"
    )


def test_config_makes_the_network_again():
    network = classifier("float64", "nesterov")
    config = network.config()
    assert config["n_in"] == 5 and config["dtype"] == "float64"
    assert config["loss"] == "cross_entropy"
    assert config["optimizer"] == {"type": "SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True}
    layers = [Dense(c["n_out"], c["activation"], bias=c["bias"]) for c in config["layers"]]
    again = Network(config["n_in"], *layers, loss=config["loss"], dtype=config["dtype"],
                    optimizer=SGD(0.05, momentum=0.9, nesterov=True))  # fmt: skip
    assert again.config() == config


def test_summary(capsys):
    network = Network(
        1000, Dense(200, "relu"), Dense(10, "softmax", bias=False), optimizer=SGD(0.5)
    )
    assert network.summary() is None
    head, first, second, last = capsys.readouterr().out.splitlines()
    assert head.split() == "layer activation in -> out parameters".split()
    assert first.split() == ["0", "Dense", "relu", "1000", "->", "200", "200,200"]
    assert second.split() == ["1", "Dense", "softmax", "200", "->", "10", "2,000"]
    assert len(head) == len(first) == len(second)
    for fact in ("202,200 parameters", "float32", "cross_entropy", "lr=0.5", network.backend):
        assert fact in last
