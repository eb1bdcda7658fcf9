"""Networks that several threads of a program use at once."""

import threading

import numpy as np
import pytest

from nncore import SGD, Adam, Dense, Network

from .networks import classifier, labelled, quiet, state


class Worker(threading.Thread):
    """A thread whose result, or error, `get` hands over."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self.function, self.error, self.result = function, None, None
        self.start()

    def run(self):
        try:
            self.result = self.function()
        except BaseException as error:
            self.error = error

    def get(self):
        self.join(60)
        assert not self.is_alive()
        if self.error:
            raise self.error
        return self.result


def long_fit(network, X, y, epochs=40):
    """Start a fit in a thread and return when it is under way."""
    worker = Worker(lambda: quiet(network, X, y, epochs=epochs))
    while network._engine.n_updates == 0 and worker.is_alive():
        pass
    return worker


def medium(seed=0, **options):
    return Network(64, Dense(128, "tanh"), Dense(10, "softmax"), seed=seed, **options)


def medium_data(rows=2000):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 64)).astype("float32"), rng.integers(0, 10, rows)


def test_others_may_predict_while_one_trains():
    X, y = medium_data()
    network, alone = medium(), medium()
    quiet(alone, X, y, epochs=40)
    worker = long_fit(network, X, y)

    def use():
        calls = 0
        while worker.is_alive():
            assert np.isfinite(network.predict(X)).all()
            assert np.isfinite(network.evaluate(X, y)["loss"])
            assert np.isfinite(network.loss_and_gradient(X[:300], y[:300])[1]).all()
            calls += 1
        return calls

    users = [Worker(use) for _ in range(2)]
    worker.get()
    assert sum(user.get() for user in users) > 0
    assert state(network) == state(alone)  # and nobody disturbed it


def test_predictions_in_many_threads_have_the_same_bits():
    X, _ = medium_data(600)
    network = medium()
    expected = network.predict(X).tobytes()

    def use():
        return {network.predict(X).tobytes() for _ in range(30)}

    assert all(user.get() == {expected} for user in [Worker(use) for _ in range(4)])


def test_training_twice_at_once_is_an_error():
    X, y = medium_data()
    network, alone = medium(), medium()
    quiet(alone, X, y, epochs=40)
    worker = long_fit(network, X, y)
    with pytest.raises(RuntimeError, match="is being trained in another thread"):
        network.fit(X[:10], y[:10], verbose=False)
    with pytest.raises(RuntimeError, match="is being trained in another thread"):
        network.partial_fit(X[:10], y[:10])
    assert worker.is_alive(), "the fit was over too soon for this test"
    worker.get()
    assert state(network) == state(alone)
    network.partial_fit(X, y)  # and then it may


def test_the_optimizer_cannot_be_replaced_while_training():
    """Its state vectors would be freed under the engine's hands."""
    X, y = medium_data()
    network = medium()
    worker = long_fit(network, X, y)
    held = network._engine.state  # so that, if it is replaced all the same, nothing is freed
    try:
        with pytest.raises(RuntimeError, match="is being trained in another thread"):
            network.optimizer = SGD()
        assert worker.is_alive(), "the fit was over too soon for this test"
    finally:
        worker.get()
    assert held is network._engine.state and network.optimizer == Adam()


def test_training_goes_on_after_an_error():
    X, y = labelled()
    network = classifier()
    with pytest.raises(ValueError):
        network.fit(X, y[:-1])
    network.theta[0] = np.nan
    with pytest.raises(FloatingPointError):
        quiet(network, X, y)
    network.theta[0] = 0
    quiet(network, X, y)


def test_networks_in_threads_do_not_touch_each_other():
    X, y = medium_data(500)

    def train(seed):
        network = medium(seed, dtype=["float32", "float64"][seed % 2])
        quiet(network, X, y, epochs=4)
        return state(network)

    expected = [train(seed) for seed in range(4)]
    workers = [Worker(lambda seed=seed: train(seed)) for seed in range(4)]
    assert [worker.get() for worker in workers] == expected
