"""How tests look at what is refused: the error, its text, and a network that stays as it was."""

import contextlib
import re

import numpy as np
import pytest

from nncore import Dense, Network

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3))
Y = RNG.uniform(0.1, 0.9, (100, 2))
LABELS = RNG.integers(0, 10, 100)


def state(network):
    engine = network._engine
    return (
        network.theta.tobytes(),
        engine.state.tobytes(),
        engine.n_updates,
        engine.hyper,
        network._rng.bit_generator.state,
        network._training.locked(),
        repr(network),
    )


@contextlib.contextmanager
def refused(error, *parts, network=None):
    """Expect exactly this error with all of this in its message, and an unchanged network."""
    before = network and state(network)
    with pytest.raises(error) as caught:
        yield caught
    message = str(caught.value)
    for part in parts:
        assert part in message, f"{part!r} is not in {message!r}"
    assert type(caught.value) is error, f"a {type(caught.value).__name__}"
    assert len(message) < 500, f"{len(message)} characters"
    assert before == (network and state(network)), "the network has changed"


def trained(network, X, y):
    """The network after two updates, so that there is a state to lose."""
    network.partial_fit(X, y)
    network.partial_fit(X, y)
    return network


def regressor(dtype="float32", **options):
    network = Network(3, Dense(2, "tanh"), Dense(2), dtype=dtype, seed=0, **options)
    return trained(network, X, Y)


def single():
    return trained(Network(3, Dense(2, "tanh"), Dense(1), seed=0), X, Y[:, 0])


def classifier():
    return trained(Network(3, Dense(4, "tanh"), Dense(10, "softmax"), seed=0), X, LABELS)


def binary():
    network = Network(3, Dense(4, "tanh"), Dense(2, "sigmoid"), seed=0)
    return trained(network, X, Y.round())


# All the ways for data to come in; in the last one it is called "validation X" and "validation y".
USES = {
    "evaluate": lambda network, X, y: network.evaluate(X, y),
    "loss_and_gradient": lambda network, X, y: network.loss_and_gradient(X, y),
    "partial_fit": lambda network, X, y: network.partial_fit(X, y),
    "fit": lambda network, X, y: network.fit(X, y, epochs=2, verbose=False),
    "validation": lambda network, X_bad, y_bad: network.fit(
        X, Y if network.loss == "mse" else LABELS, validation_data=(X_bad, y_bad), verbose=False
    ),
}
uses = pytest.mark.parametrize("use", USES)


def named(use, text):
    """The text with the names that the data has in this use."""
    return re.sub(r"\b([Xy])\b", r"validation \1", text) if use == "validation" else text


class Sparse:
    shape = (100, 3)

    def toarray(self):
        raise AssertionError("nobody asked for this copy")
