"""Network.collapse: equal predictions within the bound it states, and what it refuses."""

import numpy as np
import pytest

import nncore
from nncore import Dense, Dropout, Network, Residual

pytestmark = pytest.mark.filterwarnings("ignore::nncore.LinearNetworkWarning")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 7))


def network(*layers, seed=0, **options):
    net = Network(7, *layers, seed=seed, **options)
    net.theta = RNG.standard_normal(net.n_params)  # the biases, too
    return net


def bound(net, x):
    """The largest difference in z that the docstring allows, for layers that are all linear."""
    layers = net.layers
    s = np.abs(x)
    for layer in layers:
        s = s @ np.abs(layer.W.astype(float))
        s = s if layer.b is None else s + np.abs(layer.b.astype(float))
    u = {"float32": 2.0**-24, "float64": 2.0**-53}[net.dtype.name]
    k = 2 * (sum(layer.W.shape[0] for layer in layers) + len(layers) + 1)
    return k * u / (1 - k * u) * s


@pytest.mark.parametrize("widths", [(3, 1), (300, 4), (5, 2, 9), (64, 64, 64, 3)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("backend", [*nncore.get_config()["runnable"], "reference"])
def test_outputs_are_within_the_bound(widths, scale, backend, dtype):
    for bias in (True, False):
        net = network(*(Dense(n, bias=bias) for n in widths), dtype=dtype, backend=backend)
        net.theta *= scale
        x = X.astype(dtype)
        folded = net.collapse()
        assert folded.layers[0].W.shape == (7, widths[-1]) and len(folded.layers) == 1
        assert folded.layers[0].bias is bias
        difference = np.abs(folded.predict(x).astype(float) - net.predict(x))
        assert (difference <= bound(net, x)).all()
        # and the bound is no licence for anything
        folded.theta *= 2
        difference = np.abs(folded.predict(x).astype(float) - net.predict(x))
        assert (difference > bound(net, x)).mean() > 0.9


def test_by_hand():
    net = Network(2, Dense(2), Dense(1, "sigmoid"), seed=0)
    net.layers[0].W, net.layers[0].b = [[1, 2], [3, 4]], [1, -1]
    net.layers[1].W, net.layers[1].b = [[10], [100]], [5]
    [layer] = net.collapse().layers
    assert layer.W.tolist() == [[210], [430]] and layer.b.tolist() == [-85]
    assert layer.activation == "sigmoid"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_biases(first, second):
    net = network(Dense(5, bias=first), Dense(3, bias=second), dtype="float64")
    folded = net.collapse()
    assert folded.layers[0].bias is (first or second)
    assert (np.abs(folded.predict(X) - net.predict(X)) <= bound(net, X)).all()


FORMS = {
    "at the end": ((Dense(5, "tanh"), Dense(4), Dense(3)),
                   "Dense(5, 'tanh'), Dense(3, 'identity')"),
    "before a bend": ((Dense(5), Dense(4, "tanh"), Dense(3)),
                      "Dense(4, 'tanh'), Dense(3, 'identity')"),
    "twice": ((Dense(5), Dense(4, "relu"), Dense(6), Dense(3, "softmax")),
              "Dense(4, 'relu'), Dense(3, 'softmax')"),
    "nothing to fold": ((Dense(5, "tanh"), Dense(3)), "Dense(5, 'tanh'), Dense(3, 'identity')"),
    "one layer": ((Dense(3),), "Dense(3, 'identity')"),
    "something between": ((Dense(5), Dropout(0.1), Dense(3)),
                          "Dense(5, 'identity'), Dropout(0.1), Dense(3, 'identity')"),
    "in a block": ((Residual(Dense(9), Dense(9), Dense(7)), nncore.BatchNorm(), Dense(3)),
                   "Residual(Dense(7, 'identity')), BatchNorm(momentum=0.1, eps=1e-05), "
                   "Dense(3, 'identity')"),
    "blocks in blocks": ((Residual(Dense(9), Residual(Dense(2), Dense(9, "tanh")), Dense(7)),
                          Dense(3)),
                         "Residual(Dense(9, 'identity'), Residual(Dense(9, 'tanh')), "
                         "Dense(7, 'identity')), Dense(3, 'identity')"),
    "with parameters of its own": ((Dense(5), nncore.PReLU(), Dense(4), Dense(3)),
                                   "Dense(5, 'identity'), PReLU(), Dense(3, 'identity')"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_which_layers_are_folded(form):
    layers, expected = FORMS[form]
    net = network(*layers, dtype="float64")
    net._engine.running[:] = RNG.uniform(0.5, 2, net._engine.running.shape)
    before = net.theta.tobytes(), repr(net), net._engine.state.tobytes()
    folded = net.collapse()
    assert ", ".join(map(repr, folded.layers)) == expected
    np.testing.assert_allclose(folded.predict(X), net.predict(X), rtol=1e-10, atol=1e-10)
    assert before == (net.theta.tobytes(), repr(net), net._engine.state.tobytes())
    assert not np.shares_memory(folded.theta, net.theta)
    folded.fit(X, np.eye(3)[np.arange(50) % 3], verbose=False)  # it can be trained
    assert net.theta.tobytes() == before[0]


def test_activations_with_parameters_and_of_ones_own(monkeypatch):
    monkeypatch.setattr(nncore.names, "own_activations", {})
    nncore.register_activation("bent", np.tanh, lambda x: 1 - np.tanh(x) ** 2)
    for function in (nncore.Activation("leaky_relu", slope=0.3), "bent"):
        net = network(Dense(4), Dense(3, function), dtype="float64")
        nncore.register_activation("bent", np.sin, np.cos)  # the layer has the one before
        folded = net.collapse()
        assert folded.layers[0].function == net.layers[1].function
        np.testing.assert_allclose(folded.predict(X), net.predict(X), rtol=1e-12)
        nncore.register_activation("bent", np.tanh, lambda x: 1 - np.tanh(x) ** 2)


def test_what_is_taken_over():
    class Mine(Network):
        pass

    rate = nncore.schedules.Cosine(0.1, steps=50)
    net = Mine(
        7, Dense(5), Dense(2), loss=nncore.Loss("huber", delta=0.3), dtype="float64", seed=3,
        optimizer=nncore.SGD(rate, momentum=0.9), backend="reference",
    )  # fmt: skip
    net.fit(X, X[:, :2], epochs=2, verbose=False)
    folded = net.collapse()
    assert type(folded) is Mine and folded.loss == net.loss and folded.dtype == net.dtype
    assert folded.backend == "reference" and folded.optimizer == net.optimizer
    assert folded.optimizer is not net.optimizer
    assert not folded._engine.state.any() and folded._engine.n_updates == 0
    assert str(folded._rng.bit_generator.state) == str(net._rng.bit_generator.state)
    assert folded._rng is not net._rng
    assert folded.evaluate(X, X[:, :2])["loss"] == pytest.approx(net.evaluate(X, X[:, :2])["loss"])


def test_it_can_be_saved(tmp_path):
    folded = network(Dense(5), Dense(2, "tanh")).collapse()
    folded.save(tmp_path / "net")
    assert (nncore.load(tmp_path / "net").predict(X) == folded.predict(X)).all()


def test_initial_weights_are_not_drawn_again():
    def never(rng, n_in, n_out):
        calls.append(n_in)
        return np.ones((n_in, n_out))

    calls = []
    net = Network(7, Dense(4, init=never), Dense(3, "tanh"), Dense(2, init=never), seed=0)
    net.collapse()
    assert calls == [7, 3]


# ---- settings ----


def test_settings_that_both_have():
    net = network(Dense(4, trainable=False, lr_scale=2.0), Dense(3, trainable=False, lr_scale=2.0))
    [layer] = net.collapse().layers
    assert layer.trainable is False and layer.lr_scale == 2.0
    # those of layers that stay as they are stay too
    net = network(Dense(4, "tanh", l2=0.1, max_norm=2.0), Dense(3), Dense(2), Dense(2, "tanh"))
    folded = net.collapse()
    assert folded.layers[0].l2 == 0.1 and folded.layers[0].max_norm == 2.0


@pytest.mark.parametrize(
    ("layers", "message", "fix"),
    [
        ((Dense(4), Dense(3, l2=0.1)), r"layers\[1\] has l2=0.1, of a matrix",
         lambda net: setattr(net.layers[1], "l2", 0.0)),
        ((Dense(4, l1=0.5), Dense(3)), r"Set net.layers\[0\].l1 = 0.0 first",
         lambda net: setattr(net.layers[0], "l1", 0.0)),
        ((Dense(4, max_norm=3.0), Dense(3)), r"Set net.layers\[0\].max_norm = None first",
         lambda net: setattr(net.layers[0], "max_norm", None)),
        ((Dense(4), Dense(3, trainable=False)),
         r"layers\[0\] has trainable=True and layers\[1\] has trainable=False",
         lambda net: setattr(net.layers[1], "trainable", True)),
        ((Dense(4, "tanh"), Dense(4), Dense(3, lr_scale=2.0)),
         r"layers\[1\] has lr_scale=1.0 and layers\[2\] has lr_scale=2.0",
         lambda net: setattr(net.layers[1], "lr_scale", 2.0)),
        ((Residual(Dense(4), Dense(7, l2=0.1)), Dense(3, "tanh")),
         r"layers\[0\].layers\[1\] has l2=0.1",
         lambda net: setattr(net.layers[0].layers[1], "l2", 0.0)),
    ],
)  # fmt: skip
def test_settings_that_one_layer_cannot_have(layers, message, fix):
    net = network(*layers)
    before = net.theta.tobytes()
    with pytest.raises(ValueError, match=message):
        net.collapse()
    fix(net)  # as the message says
    assert net.theta.tobytes() == before
    assert len(net.collapse().layers) < len(net.layers) or isinstance(layers[0], Residual)


def test_weights_that_become_too_large():
    net = network(Dense(4), Dense(3))
    net.theta = np.full(net.n_params, 1e30)
    with pytest.raises(ValueError, match=r"2 layers from layers\[0\] on, folded into one, have "
                                         "weights that are not finite in float32"):  # fmt: skip
        net.collapse()
    net = network(Dense(4), Dense(3), dtype="float64")
    net.theta = np.full(net.n_params, 1e30)
    assert np.isfinite(net.collapse().predict(X)).all()


def test_a_linear_network_learns_no_more_than_one_layer():
    """What the warning says: at their minima, least squares, the losses are equal."""
    y = np.sin(X[:, :2])
    losses = []
    for layers in [(Dense(2),), (Dense(9), Dense(9), Dense(2))]:
        net = Network(7, *layers, optimizer="lbfgs", dtype="float64", seed=0)
        net.fit(X, y, epochs=500, verbose=False)
        losses.append(net.evaluate(X, y)["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
