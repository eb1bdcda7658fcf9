"""Networks of dense layers that several files of tests train, their data, and what they compare."""

import copy

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network

ISAS = nncore.get_config()["runnable"]
# Those that fuse multiply and add promise each other's bits; the baseline does not.
FUSED = [isa for isa in ISAS if isa != "baseline"]
BACKENDS = (*ISAS, "reference")
OPTIMIZERS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.05, momentum=0.9),
    "nesterov": SGD(0.05, momentum=0.9, nesterov=True),
    "adam": Adam(0.01),
}
ACTIVATIONS = ["identity", "relu", "sigmoid", "softplus", "softsign", "tanh"]
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in ("float32", "float64")}
backends = pytest.mark.parametrize("backend", BACKENDS)
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def classifier(dtype="float64", optimizer="adam", seed=3, **options):
    """5-7-6-3, of sizes that fill no vector."""
    layers = Dense(7, "tanh"), Dense(6, "softsign"), Dense(3, "softmax")
    optimizer = copy.copy(OPTIMIZERS[optimizer])
    return Network(5, *layers, optimizer=optimizer, dtype=dtype, seed=seed, **options)


def regressor(dtype="float64", optimizer="sgd", seed=3, **options):
    layers = Dense(7, "softplus"), Dense(2)
    optimizer = copy.copy(OPTIMIZERS[optimizer])
    return Network(5, *layers, optimizer=optimizer, dtype=dtype, seed=seed, **options)


def labelled(rows=50, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 5))
    return X, (X @ rng.normal(size=(5, 3))).argmax(axis=1)


def valued(rows=50, seed=0):
    X, _ = labelled(rows, seed)
    return X, np.column_stack([np.sin(X[:, 0]) - X[:, 1], X[:, 2] * X[:, 3]])


def next_order(rng, rows):
    """The rows in the order that the next epoch of a network with this generator has."""
    return nncore._core.shuffled(rows, rng.bit_generator.random_raw())


def state(network):
    """Everything that training changes, as comparable values."""
    engine = network._engine
    return (
        network.theta.tobytes(),
        engine.state.tobytes(),
        engine.n_updates,
        network._rng.bit_generator.state,
    )


def quiet(network, X, y, **options):
    return network.fit(X, y, verbose=False, **options)


NETWORKS = [
    ("relu", "identity", "mse"),
    ("softplus", "tanh", "half_mse"),
    ("softsign", "softmax", "mse"),
    ("tanh", "softsign", "half_mse"),
    ("identity", "softplus", "mse"),
    ("sigmoid", "sigmoid", "binary_cross_entropy"),
    ("tanh", "softmax", "cross_entropy"),
]


def of_kind(hidden, output, loss, n_out=3, **options):
    return Network(4, Dense(9, hidden), Dense(5, "tanh"), Dense(n_out, output, bias=False),
                   loss=loss, **options)  # fmt: skip


def soft_targets(rows, n_out=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 4)), rng.dirichlet(np.ones(n_out), rows)
