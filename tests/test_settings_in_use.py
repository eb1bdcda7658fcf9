"""Settings that are changed, replaced or combined between runs: what they say then counts."""

import numpy as np
import pytest

import nncore
from nncore import SGD, Activation, Dense, Network, schedules

BACKENDS = pytest.mark.parametrize("backend", [nncore.get_config()["runnable"][0], "reference"])
X = np.random.default_rng(0).standard_normal((24, 3))
Y = np.random.default_rng(1).standard_normal((24, 2))


def trained(optimizer, epochs=3, **options):
    network = Network(3, Dense(2), optimizer=optimizer, dtype="float64", seed=0, **options)
    network.fit(X, Y, epochs=epochs, verbose=False)
    return network


@BACKENDS
@pytest.mark.parametrize("options", [{"ema": 0.9}, {"swa": 1}])
def test_an_average_outlives_a_rule_that_is_about_to_change(options, backend):
    network = trained(SGD(0.01, momentum=0.9, **options), backend=backend)
    before = network.averaged().theta.copy()
    network.optimizer.momentum = 0.0
    np.testing.assert_array_equal(network.averaged().theta, before)


@BACKENDS
def test_another_kind_of_average_starts_afresh(backend):
    network = trained(SGD(0.1, ema=0.99), backend=backend)
    network.optimizer.ema, network.optimizer.swa = None, 1
    thetas = []
    for _ in range(4):
        network.fit(X, Y, verbose=False)
        thetas.append(network.theta.copy())
    np.testing.assert_allclose(network.averaged().theta, np.mean(thetas, axis=0), rtol=1e-12)
    network.optimizer.swa = None
    network.fit(X, Y, verbose=False)
    with pytest.raises(ValueError, match="no average"):
        network.averaged()
    again = nncore.Network.copy(trained(SGD(0.1, ema=0.99), backend=backend))
    kept = again.averaged().theta.copy()
    again.fit(X, Y, verbose=False)
    assert np.abs(again.averaged().theta - kept).max() < np.abs(again.theta - kept).max()


@BACKENDS
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("batch_size", [1, 2])
def test_rates_follow_the_updates_and_not_the_batches(batch_size, backend):
    """Batches of weight 0 are as if they were not there, under a schedule too."""
    weights = np.ones(24)
    weights[[0, 1, 6, 7, 22, 23]] = 0
    histories, thetas = [], []
    for rows in (slice(None), weights > 0):
        network = Network(
            3, Dense(2), optimizer=SGD(lambda t: 0.01 * (t + 1)), dtype="float64", seed=0,
            backend=backend,
        )  # fmt: skip
        histories.append(
            network.fit(X[rows], Y[rows], epochs=2, batch_size=batch_size, shuffle=False,
                        sample_weight=weights[rows], verbose=False)
        )  # fmt: skip
        thetas.append(network.theta.copy())
    np.testing.assert_allclose(thetas[0], thetas[1], rtol=1e-12)
    assert histories[0]["lr"] == pytest.approx(histories[1]["lr"])
    assert histories[0].n_steps == histories[1].n_steps


@BACKENDS
@pytest.mark.parametrize("size", [1e-46, 1e50])
def test_weights_that_float32_does_not_hold(size, backend):
    network = Network(3, Dense(2), seed=0, backend=backend)
    one, other = (network.loss_and_gradient(X, Y, sample_weight=np.full(24, w)) for w in (1, size))
    assert one[0] == pytest.approx(other[0], rel=1e-6)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-5, atol=1e-6)


def test_a_changed_schedule_counts():
    network = trained(SGD(schedules.OnPlateau(0.1, patience=100)), epochs=1)
    network.optimizer.lr.lr = 0.01
    assert network.fit(X, Y, verbose=False)["lr"] == [0.01]


class Own(schedules.Schedule):
    lr: float = ...

    def at(self, t):
        return self.lr / (1 + t)


def test_a_schedule_of_ones_own(tmp_path):
    network = trained(SGD(Own(0.1)))
    with pytest.raises(ValueError, match="a file cannot hold it"):
        network.save(tmp_path / "net")
    assert not (tmp_path / "net").exists()
    twin = network.copy()
    for net in (network, twin):
        net.fit(X, Y, verbose=False)
    np.testing.assert_array_equal(network.theta, twin.theta)


def test_an_activation_is_fixed():
    leaky = Activation("leaky_relu", slope=0.2)
    assert leaky.slope == 0.2
    for name, value in (("slope", 5.0), ("name", "relu"), ("range", (0, 1)), ("other", 1)):
        with pytest.raises(AttributeError, match="fixed"):
            setattr(leaky, name, value)
    with pytest.raises(AttributeError, match="no attribute 'gain'"):
        leaky.gain  # noqa: B018
    assert leaky.f(-1.0) == -0.2 and nncore.activations["silu"].name == "silu"


def test_results_may_lie_where_the_inputs_do():
    network = Network(3, Dense(8, "tanh"), Dense(1), seed=0)
    y = Y[:20, :1]
    out = np.zeros((20, network.n_params), np.float32)
    out[:, :3] = X[:20]
    alone = network.sample_gradients(out[:, :3].copy(), y)[1]
    np.testing.assert_array_equal(network.sample_gradients(out[:, :3], y, out=out)[1], alone)


def test_a_small_loss_is_checked_as_closely():
    with pytest.raises(ValueError, match="disagrees with value"):
        nncore.register_loss("tiny", lambda y, t: 1e-6 * (y - t) ** 2, lambda y, t: 0 * y)
