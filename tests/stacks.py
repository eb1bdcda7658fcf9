"""Networks with every kind of layer, their data, and what tests of them compare."""

import numpy as np
import pytest

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
    Scaling,
)


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
        "scaling": [Scaling(mean=[0.3, -0.2, 0, 0.5], scale=[0.7, 1.3, 0.9, 2]),
                    Dense(66, activation), Scaling(mean=0.1, scale=0.8).inverse(), last],
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
    "ends in scaling": [Dense(6, "tanh"),
                        Scaling(mean=0.4, scale=[0.5, 2, 0.7, 1.2, 0.9, 0.6]).inverse()],
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


def bits(network):
    """All that training changes."""
    engine = network._engine
    return (
        network.theta.tobytes(), engine.running.tobytes(), engine.state.tobytes(),
        engine.n_updates, engine.draws, str(network._rng.bit_generator.state),
    )  # fmt: skip
