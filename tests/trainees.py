"""A small network, its data, and what a fit of a full-batch trainer changes, for several tests."""

import numpy as np

from nncore import Dense, Network
from nncore.trainers import BY_NAME

X = np.random.default_rng(0).uniform(-1, 1, (24, 2))
Y = (np.sin(3 * X[:, 0]) * X[:, 1])[:, None]
EVERY = sorted(BY_NAME)


def network(optimizer, dtype="float64", seed=0, **options):
    layers = Dense(5, "tanh"), Dense(3, "sigmoid"), Dense(1)
    return Network(2, *layers, optimizer=optimizer, dtype=dtype, seed=seed, **options)


def fit(net, epochs=6, **options):
    return net.fit(X, Y, epochs=epochs, verbose=False, **options)


def bits(net):
    """All that a fit changes."""
    memory = net._memory and {
        name: np.asarray(value).tobytes() for name, value in net._memory[0].items()
    }
    return net.theta.tobytes(), memory, net._rng.bit_generator.state, net._engine.n_updates
