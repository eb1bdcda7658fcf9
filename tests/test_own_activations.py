"""register_activation: the user's own functions as activations, in every place where one stands."""

import copy
import functools
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import nncore
from nncore import SGD, Activation, Dense, Network, files, names

from .test_interrupt import interrupted

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
BACKENDS = pytest.mark.parametrize("backend", ["auto", "baseline", "reference"])

# Functions in NumPy that the table has as well, and whether theirs is exactly the same: there
# results are equal, elsewhere the rounding of tanh and exp differs.
COPIES = {
    "tanh": (
        np.tanh,
        lambda x: 1 - np.tanh(x) ** 2,
        lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
    ),
    "relu": (lambda x: np.maximum(x, 0), lambda x: x > 0, lambda x: np.zeros_like(x)),
    "softplus": (
        lambda x: np.logaddexp(0, x),
        lambda x: 1 / (1 + np.exp(-x)),
        lambda x: np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2,
    ),
}
NAMES = pytest.mark.parametrize("name", COPIES)


@pytest.fixture
def registered(monkeypatch):
    """Registers activations, and forgets them; "my_tanh" and so on are there."""
    monkeypatch.setattr(names, "own_activations", {})
    for name, functions in COPIES.items():
        nncore.register_activation(f"my_{name}", *functions)
    return nncore.register_activation


def dense(n_out, function, **options):
    """Starts alike whatever the activation is called."""
    return Dense(n_out, function, init="glorot_uniform", **options)


def tolerance(dtype):
    """A few hundred roundings of numbers around 1."""
    return {"rtol": 2e-4, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-11}


def data(rows, n_in, n_out, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X, y = rng.uniform(-1.5, 1.5, (rows, n_in)), rng.uniform(0.1, 0.9, (rows, n_out))
    return X.astype(dtype), y.astype(dtype)


def shown(network, X, y, second=True):
    """All that a network can be asked for, by name. X has few rows."""
    v = np.linspace(-1, 1, network.n_params)
    w = np.arange(len(X)) % 3
    found = {
        "predict": network.predict(X),
        "one row": network.predict(X[:1]),
        "evaluate": network.evaluate(X, y)["loss"],
        "loss_and_gradient": np.hstack(network.loss_and_gradient(X, y, sample_weight=w)),
        "input_gradient": network.input_gradient(X, y, sample_weight=w),
        "sample_gradients": np.column_stack(network.sample_gradients(X, y)),
        "jacobian": network.jacobian(X),
        "by parameters": network.jacobian(X, "parameters"),
    }
    if second:
        found["hessian_vector_product"] = network.hessian_vector_product(X, y, v)
    return found


def assert_alike(found, wanted, dtype, exactly=False):
    assert found.keys() == wanted.keys()
    for what, values in found.items():
        if exactly:
            assert np.array_equal(values, wanted[what]), what
        else:
            np.testing.assert_allclose(values, wanted[what], **tolerance(dtype), err_msg=what)


# --- What it is -----------------------------------------------------------------------------------


def test_it_is_one_of_the_activations(registered, dtype):
    mine = registered("mine", np.tanh, lambda x: 1 - np.tanh(x) ** 2, formula="tanh(x) of my own",
                      range=(-1, 1), kinks=[0.5])  # fmt: skip
    assert mine == Activation("mine") == nncore.activations["mine"]
    assert mine != nncore.activations["tanh"] and hash(mine) == hash(Activation("mine"))
    assert "mine" in nncore.activations and list(nncore.activations)[-1] == "mine"
    assert len(nncore.activations) == len(list(nncore.activations))
    assert (mine.name, str(mine), mine.aliases, mine.parameters) == ("mine", "mine", (), {})
    assert repr(mine) == "<activation mine: tanh(x) of my own>"
    assert mine.formula == "tanh(x) of my own" and mine._repr_latex_() is None
    assert mine.range == (-1.0, 1.0) and mine.keeps == "x"
    assert mine.kinks == {0.5: 1 - np.tanh(0.5) ** 2}
    assert mine.config() == "mine" and pickle.loads(pickle.dumps(mine)) == mine
    x = np.linspace(-3, 3, 12, dtype=dtype).reshape(2, 3, 2)
    for got in (mine.f(x), mine(x)):
        assert got.dtype == dtype and np.array_equal(got, np.tanh(x))
    assert mine.df(x).dtype == dtype and np.array_equal(mine.df(x), 1 - np.tanh(x) ** 2)
    assert isinstance(mine.f(0.5), np.float64) and mine.f(0.5) == np.tanh(0.5)
    assert mine.f([]).shape == (0,)
    with pytest.raises(ValueError, match="mine was registered without d2f"):
        mine.d2f(x)
    with pytest.raises(ValueError, match=r"the slope of mine is computed from x: use df\(x\)"):
        mine.df_from_y(x)
    with pytest.raises(TypeError, match="mine has no parameter 'gain'; it has none"):
        Activation("mine", gain=2)
    with pytest.raises(AttributeError, match="fixed once made"):
        mine.range = (0, 1)
    assert nncore.activations["my_relu"].formula == "my_relu(x)"
    assert nncore.activations["my_relu"].range == (-np.inf, np.inf)
    assert nncore.activations["my_tanh"].d2f(0.5) == COPIES["tanh"][2](0.5)


def test_it_plots_itself(registered):
    pytest.importorskip("matplotlib", reason='plots need pip install ".[plot]"')
    mine = registered("mine", *COPIES["relu"], kinks=[0])
    axes = mine.plot(-2, 2, second=True)
    assert len(axes.lines) == 2 * 3 + 1  # each in two parts, and the value at the kink
    assert axes.get_title(loc="left") == "mine: mine(x)"
    two = registered("mine", *COPIES["relu"][:2])
    with pytest.raises(ValueError, match="registered without d2f"):
        two.plot(second=True)
    assert len(two.plot(-2, 2).get_legend().get_texts()) == 2  # f and f'


def test_a_layer_with_it_is_described_as_others(registered, capsys):
    layer = Dense(3, "my_tanh", l2=0.1)
    assert repr(layer) == "Dense(3, 'my_tanh', l2=0.1)" and layer.bends
    assert layer.activation == "my_tanh" and layer.function == nncore.activations["my_tanh"]
    assert layer.init == nncore.initializers["glorot_uniform"]
    network = Network(2, layer, Dense(1, nncore.activations["my_relu"]), seed=0)
    assert network.config()["layers"][0]["activation"] == "my_tanh"
    network.summary()
    assert "my_tanh" in capsys.readouterr().out
    with pytest.raises(ValueError, match="nguyen_widrow does not know where my_tanh bends"):
        Network(2, Dense(3, "my_tanh", init="nguyen_widrow"))
    X, _ = data(200, 2, 1, "float32")
    network.lsuv(X)
    assert float((X @ network.layers[0].W).var()) == pytest.approx(1, rel=1e-5)
    # what a network without one is lowered to has not changed
    assert [step.kind for step in Dense(3, "tanh").lower(2, 0)] == ["dense"]


# --- In every place, on every backend, it does what the built-in one does -------------------------


@NAMES
@BACKENDS
@pytest.mark.parametrize("places", ["hidden", "output", "both"])
def test_all_derivatives(registered, name, backend, places, dtype):
    X, y = data(23, 4, 3, dtype)
    results = []
    for function in (f"my_{name}", name):
        hidden = name if places == "output" else function
        output = name if places == "hidden" else function
        network = Network(4, dense(7, hidden), Dense(6, "tanh"), dense(3, output), dtype=dtype,
                          seed=3, backend=backend)  # fmt: skip
        results.append(shown(network, X, y))
    exactly = name == "relu" and backend != "reference"
    # The twin's Hessian products are differences, which a kink between two points spoils.
    if name == "relu" and backend == "reference":
        results = [{k: v for k, v in r.items() if "hessian" not in k} for r in results]
    assert_alike(*results, dtype, exactly)


@NAMES
@BACKENDS
@pytest.mark.parametrize("batch_size", [1, 16, 300, "full"])  # a block has 256 rows
@pytest.mark.parametrize("hidden", [5, 60])  # online: small enough for a way of its own
def test_training(registered, name, backend, batch_size, hidden, dtype):
    X, y = data(40 if batch_size == 1 else 600, 3, 2, dtype)
    V, v = data(300, 3, 2, dtype, 1)
    weights = np.arange(len(X)) % (2 if batch_size == 1 else 4)
    results = []
    for function in (f"my_{name}", name):
        network = Network(3, dense(hidden, function), dense(2, function), dtype=dtype, seed=1,
                          optimizer=SGD(0.05, momentum=0.9), backend=backend)  # fmt: skip
        history = network.fit(X, y, epochs=3, batch_size=batch_size, validation_data=(V, v),
                              sample_weight=weights, verbose=False)  # fmt: skip
        loss = network.partial_fit(X[:30], y[:30])
        results.append({
            "history": [*history["loss"], *history["val_loss"], loss], "theta": network.theta,
            "predict": network.predict(V), "state": network._engine.state,
        })  # fmt: skip
    assert not np.array_equal(results[0]["theta"], Network(
        3, Dense(hidden, "tanh"), Dense(2, "tanh"), dtype=dtype, seed=1).theta)  # fmt: skip
    assert_alike(*results, dtype, exactly=name == "relu" and backend != "reference")


@pytest.mark.parametrize("loss", [n for n in nncore.losses if nncore.losses[n].output is None])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_every_loss(registered, loss, backend):
    X, y = data(40, 3, 2, "float64")
    y = np.where(y > 0.5, 1.0, -1.0) if "hinge" in loss else y
    results, n_out = [], 2 * nncore.losses[loss].per_target
    for function in ("my_softplus", "softplus"):
        network = Network(3, dense(5, function), dense(n_out, function), loss=loss,
                          dtype="float64", seed=1, backend=backend)  # fmt: skip
        history = network.fit(X, y, epochs=2, batch_size=7, verbose=False)
        results.append({"loss": history["loss"], "theta": network.theta})
        # rounding differs, so mae's and quantile's kinks would be met on other sides by chance only
        results[-1] |= shown(network, X, y, second=backend == "auto")
    assert_alike(*results, "float64")


def test_losses_that_contain_the_output_are_refused(registered):
    for loss in ("cross_entropy", "binary_cross_entropy"):
        with pytest.raises(ValueError, match="but the last layer is \"my_tanh\""):
            Network(2, Dense(2, "my_tanh"), loss=loss)
    assert Network(2, Dense(2, "my_tanh")).loss == "mse"
    network = Network(2, Dense(4, "my_tanh"), Dense(3, "softmax"), seed=0)
    assert nncore.check_gradients(network, *data(5, 2, 3, "float32")[:1], [0, 1, 2, 1, 0])


def test_beside_a_registered_loss(registered):
    from nncore import loss

    before = dict(loss._own)
    nncore.register_loss("mine", lambda y, t: (y - t) ** 2, lambda y, t: 2 * (y - t))
    try:
        results = []
        X, y = data(300, 3, 2, "float64")
        for of in ("mine", "mse"):
            network = Network(3, Dense(4, "my_tanh"), Dense(2), loss=of, dtype="float64", seed=0)
            results.append({"loss": network.fit(X, y, verbose=False)["loss"]})
        assert_alike(*results, "float64")
    finally:
        loss._own.clear()
        loss._own.update(before)


def layers(function, random):
    """All kinds of layers. Random ones come first: their numbers depend on the step they are."""
    return (
        nncore.Embedding(columns={0: (4, 3)}),
        *([nncore.Dropout(0.2, always=True), nncore.GaussianNoise(0.1)] if random else []),
        dense(6, function, l2=0.01, l1=0.001, max_norm=2.0, lr_scale=0.5),
        nncore.BatchNorm(),
        nncore.Residual(
            dense(5, function), nncore.LayerNorm(),
            nncore.Residual(dense(5, function, bias=False)), dense(6, function),
        ),
        nncore.PReLU(),
        dense(4, function, trainable=False),
        dense(2, function),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["tanh", "softplus"])
@BACKENDS
def test_all_layers_and_what_is_tuned(registered, name, backend, dtype):
    X, y = data(300, 2, 2, dtype)
    X[:, 0] = np.arange(300) % 4
    results = []
    for function in (f"my_{name}", name):
        network = Network(2, *layers(function, random=True), dtype=dtype, seed=1, backend=backend,
                          optimizer=nncore.AdamW(0.003, clip_norm=0.5, ema=0.9))  # fmt: skip
        frozen = network.layers[-2].W.copy()
        history = network.fit(X, y, epochs=2, batch_size=70, verbose=False)
        assert (network.layers[-2].W == frozen).all()
        results.append({
            "loss": history["loss"], "theta": network.theta, "running": network._engine.running,
            "average": network.averaged().theta, "Monte Carlo": network.predict(X),
        })  # fmt: skip
        results[-1] |= shown(network, X[:20], y[:20])
    assert_alike(*results, dtype)


@pytest.mark.parametrize("random", [False, True])
def test_c_and_its_twin(registered, random, dtype):
    X, y = data(300, 2, 2, dtype)
    X[:, 0] = np.arange(300) % 4
    results = []
    for backend in ("auto", "reference"):
        network = Network(2, *layers("my_tanh", random), dtype=dtype, seed=1, backend=backend,
                          optimizer=SGD(0.01))  # fmt: skip
        history = network.fit(X, y, epochs=2, batch_size=70, verbose=False)
        results.append({"loss": history["loss"], "theta": network.theta})
        results[-1] |= shown(network, X[:20], y[:20])
    assert_alike(*results, dtype)
    assert nncore.check_gradients(network, X[:8], y[:8], second=True)


def test_the_hessian(registered):
    X, y = data(9, 3, 2, "float64")
    ours, theirs = (
        Network(3, dense(4, f"{my}softplus"), dense(2, f"{my}tanh"), dtype="float64", seed=0)
        for my in ("my_", "")
    )
    np.testing.assert_allclose(ours.hessian(X, y), theirs.hessian(X, y), rtol=1e-9, atol=1e-12)
    assert nncore.check_gradients(ours, X, y, second=True)


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_without_d2f_there_is_no_second_order(registered, backend):
    registered("mine", *COPIES["tanh"][:2])
    X, y = data(5, 2, 2, "float64")
    for network in (
        Network(2, Dense(3, "mine"), Dense(2), dtype="float64", seed=0, backend=backend),
        Network(2, nncore.Residual(nncore.Residual(Dense(2, "mine"))), dtype="float64", seed=0,
                backend=backend),
    ):  # fmt: skip
        assert nncore.check_gradients(network, X, y)
        for ask in (lambda n: n.hessian(X, y), lambda n: n.hessian_vector_product(X, y, n.theta)):
            with pytest.raises(ValueError, match="mine was registered without d2f"):
                ask(network)
        if backend == "auto":  # which keeps to that by itself
            with pytest.raises(ValueError, match="mine was registered without d2f"):
                network._engine.hessian_product(
                    X, y, network._parameters(network.theta), np.empty(network.n_params)
                )


# --- Files, copies, names -------------------------------------------------------------------------


def test_files_and_copies_know_it_by_its_name(registered, tmp_path):
    X, y = data(50, 2, 1, "float32")
    path = tmp_path / "a.safetensors"
    network = Network(2, nncore.Residual(Dense(2, "my_tanh")), Dense(1, "my_softplus"), seed=0)
    network.fit(X, y, verbose=False)
    network.save(path)
    twins = [nncore.load(path), network.copy(), copy.deepcopy(network)]
    twins += [pickle.loads(pickle.dumps(network)), nncore.load(path, backend="reference")]
    network.fit(X, y, verbose=False)
    for twin in twins:
        assert twin.layers[1].function == network.layers[1].function
        twin.fit(X, y, verbose=False)
        if twin.backend != "reference":
            assert (twin.theta == network.theta).all()
        else:
            np.testing.assert_allclose(twin.theta, network.theta, rtol=1e-4, atol=1e-5)
    description, data_of = Dense(3, "my_tanh"), pickle.dumps(network)
    assert pickle.loads(pickle.dumps(description)).function == description.function
    described = pickle.dumps(description)
    # where it is not registered
    names.own_activations.clear()
    told = "has to be registered first, by nncore.register_activation"
    with pytest.raises(files.FileFormatError, match=f"Unknown activation 'my_tanh'.*{told}"):
        nncore.load(path)
    for pickled in (data_of, described):
        with pytest.raises(ValueError, match=told):
            pickle.loads(pickled)
    with pytest.raises(ValueError) as caught:
        Dense(3, "my_tanh")
    assert "Unknown activation 'my_tanh'. Did you" in str(caught.value)
    network.fit(X, y, verbose=False)  # those that are there go on


def test_one_that_is_registered_again_is_for_networks_from_then_on(registered, tmp_path):
    registered("mine", lambda x: 2 * x, lambda x: np.full_like(x, 2), lambda x: np.zeros_like(x))
    before, layer = Activation("mine"), Dense(1, "mine", init=[[1.0]])
    network = Network(1, layer)
    network.save(tmp_path / "a")
    registered("mine", lambda x: 3 * x, lambda x: np.full_like(x, 3))
    assert before != Activation("mine") and before.f(1.0) == 2
    assert nncore.activations["mine"].f(1.0) == 3
    assert network.predict([[1.0]]) == 2 and Network(1, layer).predict([[1.0]]) == 2
    assert Network(1, Dense(1, "mine", init=[[1.0]])).predict([[1.0]]) == 3
    assert network.copy().predict([[1.0]]) == 3 == nncore.load(tmp_path / "a").predict([[1.0]])
    with pytest.raises(ValueError, match="is not the derivative of f"):
        registered("mine", lambda x: 4 * x, lambda x: np.full_like(x, 3))
    assert Activation("mine").f(1.0) == 3  # what could not be registered replaces nothing


# --- Errors, Ctrl-C -------------------------------------------------------------------------------


class Trap:
    """A function that does something else in one of its calls."""

    def __init__(self, function, action):
        self.function, self.action, self.left, self.calls = function, action, -1, 0

    def __call__(self, x):
        self.calls += 1
        self.left -= 1
        return self.action(x) if self.left == 0 else self.function(x)


def _raise(error, x):
    raise error


ACTIONS = {
    "error": (functools.partial(_raise, RuntimeError("mine")), RuntimeError, "mine"),
    "shape": (lambda x: x[:1], ValueError, r"returned shape \(1, 6\) for x of shape"),
    "scalar": (lambda x: 1.0, ValueError, r"returned shape \(\) for x of shape"),
    "type": (lambda x: x + 1j, TypeError, r"returned complex\d+; expected real numbers"),
    "interrupt": (functools.partial(_raise, KeyboardInterrupt()), KeyboardInterrupt, None),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_an_error_stops_training_after_the_last_whole_step(registered, action, which, backend):
    act, kind, message = ACTIONS[action]
    functions = list(COPIES["tanh"])
    functions[which] = trap = Trap(functions[which], act)
    registered("mine", *functions)
    X, y = data(900, 2, 6, "float32")
    network = Network(2, nncore.BatchNorm(), Dense(6, "mine"), Dense(6, "mine"), seed=0,
                      backend=backend)  # fmt: skip
    batch = 300
    trap.calls = 0
    network.copy().fit(X[:batch], y[:batch], batch_size=batch, shuffle=False, verbose=False)
    per_step = trap.calls
    assert per_step >= 2
    for at in range(1, 2 * per_step + 1):
        twin, ours = network.copy(), network.copy()
        whole = (at - 1) // per_step
        if whole:
            twin.fit(X[:batch], y[:batch], batch_size=batch, shuffle=False, verbose=False)
        trap.left = at
        with pytest.raises(kind, match=message):
            ours.fit(X, y, batch_size=batch, shuffle=False, verbose=False)
        assert ours._engine.n_updates == whole
        for of in ("theta", "state", "running"):
            mine, its = getattr(ours._engine, of), getattr(twin._engine, of)
            assert mine.tobytes() == its.tobytes(), of
        ours.fit(X[batch : 2 * batch], y[:batch], batch_size=batch, shuffle=False, verbose=False)
        twin.fit(X[batch : 2 * batch], y[:batch], batch_size=batch, shuffle=False, verbose=False)
        assert (ours.theta == twin.theta).all()  # it is usable


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_errors_elsewhere(registered, backend):
    trap = Trap(np.tanh, functools.partial(_raise, LookupError("mine")))
    registered("mine", trap, *COPIES["tanh"][1:])
    X, y = data(700, 2, 3, "float32")
    network = Network(2, Dense(4, "mine"), nncore.Dropout(0.5, always=True), Dense(3, "mine"),
                      seed=0, backend=backend)  # fmt: skip
    theta, drawn = network.theta.copy(), network._engine.draws[1]
    v = np.ones(network.n_params)
    calls = {
        "predict": lambda: network.predict(X),
        "predict, converted": lambda: network.predict(X.tolist()),
        "evaluate": lambda: network.evaluate(X, y),
        "loss_and_gradient": lambda: network.loss_and_gradient(X, y),
        "input_gradient": lambda: network.input_gradient(X, y),
        "sample_gradients": lambda: network.sample_gradients(X[:9], y[:9]),
        "jacobian": lambda: network.jacobian(X[:9]),
        "hessian_vector_product": lambda: network.hessian_vector_product(X, y, v),
        "partial_fit": lambda: network.partial_fit(X, y),
        "f": lambda: nncore.activations["mine"].f(X),
    }
    loss = network.evaluate(X, y)["loss"]
    for what, call in calls.items():
        for at in (1, 2):
            trap.left = 1 if what == "f" else at
            with pytest.raises(LookupError, match="mine"):
                call()
        assert network.evaluate(X, y)["loss"] == loss, what  # nothing is drawn there
        if what != "partial_fit":
            call()
    assert (network.theta == theta).all() and network._engine.draws[1] == drawn
    call = calls["partial_fit"]
    call()
    assert (network.theta != theta).any()


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(),
    reason="Python answers signals in the main thread only",
)
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("function", ["in Python", "in C"])
@pytest.mark.parametrize("use", ["fit", "predict", "hessian_vector_product"])
def test_ctrl_c(registered, use, function, backend, record_property):
    """Whether it meets the function or the engine."""
    calls = [0]

    def tanh(x):
        calls[0] += 1
        return np.tanh(x)

    f, df, d2f = COPIES["tanh"]
    registered("mine", tanh if function == "in Python" else f, df, d2f)
    X, y = data(4000, 30, 2, "float32")
    network = Network(30, Dense(40, "mine"), Dense(2, "mine"), seed=0, backend=backend)
    theta = network.theta.copy()
    if use == "predict":
        wide = np.broadcast_to(X[:1], (10**7, 30))
        out = np.empty((10**7, 2), "float32")

        def run():
            network._engine.predict(wide, out)
    elif use == "fit":
        def run():
            network.fit(X, y, epochs=10**6, verbose=False)
    else:
        def run():
            while True:
                network.hessian_vector_product(X, y, theta)
    interrupted(record_property, f"{use}, {function}", run)
    assert np.isfinite(network.theta).all()
    assert use == "fit" or (network.theta == theta).all()
    network.fit(X[:50], y[:50], verbose=False)


def test_functions_get_copies(registered):
    """What they keep stays theirs, and what they change is not the network's."""
    kept = []

    def f(x):
        kept.append(x)
        y = np.tanh(x)
        x[...] = 1e9
        return y

    def df(x):
        np.tanh(x, out=x)
        x *= x
        np.subtract(1, x, out=x)
        return x

    registered("mine", f, df)
    X, y = data(300, 2, 2, "float64")
    for backend in ("auto", "reference"):
        ours, theirs = (
            Network(2, Dense(4, name), Dense(2, name), dtype="float64", seed=0, backend=backend)
            for name in ("mine", "my_tanh")
        )
        kept.clear()
        for network in (ours, theirs):
            network.fit(X, y, epochs=2, verbose=False)
        np.testing.assert_allclose(ours.theta, theirs.theta, rtol=1e-10, atol=1e-12)
        assert len(kept) > 4 and all((x == 1e9).all() for x in kept)


def test_warnings_of_functions_are_theirs(registered):
    registered("mine", lambda x: np.log1p(np.exp(x)), lambda x: 1 / (1 + np.exp(-x)))
    network = Network(1, Dense(1, "mine", init=[[1.0]]))
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        network.predict([[1000.0]])
    with np.errstate(over="ignore"):
        assert network.predict([[1000.0], [np.nan]]).ravel().tolist()[0] == np.inf


# --- Threads --------------------------------------------------------------------------------------


def test_threads_share_the_products_alone(registered):
    """The same bits with any number, and the functions are called by the caller's thread."""
    callers = set()

    def f(x):
        callers.add(threading.get_ident())
        return np.tanh(x)

    registered("mine", f, *COPIES["tanh"][1:])
    X, y = data(600, 300, 40, "float32")
    results = []
    for n_threads in (1, 2, 5):
        network = Network(300, Dense(400, "mine"), Dense(300, "mine"), Dense(40, "mine"), seed=0)
        network.fit(X, y, batch_size=300, verbose=False, n_threads=n_threads)
        v = np.ones(network.n_params)
        results.append([
            network.theta, network.predict(X, n_threads=n_threads),
            network.loss_and_gradient(X, y, n_threads=n_threads)[1],
            network.hessian_vector_product(X, y, v, n_threads=n_threads),
            network.input_gradient(X, y, n_threads=n_threads),
        ])  # fmt: skip
    for other in results[1:]:
        for mine, its in zip(results[0], other, strict=True):
            assert mine.tobytes() == its.tobytes()
    assert callers == {threading.get_ident()}


def test_threads_of_python_train_and_predict_at_once(registered):
    X, y = data(400, 5, 2, "float32")
    networks = [Network(5, Dense(30, "my_tanh"), Dense(2, "my_softplus"), seed=i) for i in range(3)]
    shared = networks[0].copy()
    wanted = shared.predict(X)
    for network in networks[1:]:
        network.fit(X, y, epochs=5, verbose=False, n_threads=2)
    trained = [n.theta.copy() for n in networks[1:]]
    again = [Network(5, Dense(30, "my_tanh"), Dense(2, "my_softplus"), seed=i) for i in (1, 2)]
    failures = []

    def train(network):
        network.fit(X, y, epochs=5, verbose=False, n_threads=2)

    def predict():
        for _ in range(50):
            if not np.array_equal(shared.predict(X, n_threads=2), wanted):
                failures.append("another prediction")

    threads = [threading.Thread(target=train, args=(n,)) for n in again]
    threads += [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures and not any(t.is_alive() for t in threads)
    for network, theta in zip(again, trained, strict=True):
        assert (network.theta == theta).all()


def test_a_function_may_use_the_network(registered):
    """That it belongs to, too: predictions have workspaces of their own."""
    seen = []

    def f(x):
        if network is not None and not seen:
            seen.append(True)
            seen.append(network.predict(X))
            with pytest.raises(RuntimeError, match="by the fit whose callback, or function, makes"):
                network.partial_fit(X, y)
        return np.tanh(x)

    network = None
    registered("mine", f, *COPIES["tanh"][1:])
    X, y = data(40, 2, 2, "float32")
    network = Network(2, Dense(4, "mine"), Dense(2), seed=0)
    twin = Network(2, Dense(4, "my_tanh"), Dense(2), seed=0)
    expected = twin.predict(X)
    for each in (network, twin):
        each.fit(X, y, batch_size=40, verbose=False)
    assert (seen[1] == expected).all() and (network.theta == twin.theta).all()


PROGRAM = """
import os, sys, threading, time
import numpy as np, nncore
calls = [0]

def f(x):
    calls[0] += 1
    if {fork} and calls[0] == 200:
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        else:
            calls[0] = -10**9
            threading.Timer(120, os._exit, (3,)).start()
            net.copy().fit(X, y, batch_size=256, epochs=1, verbose=False, n_threads=3)
            os._exit(0)
    return np.tanh(x)

nncore.register_activation("mine", f, lambda x: 1 - np.tanh(x) ** 2)
rng = np.random.default_rng(0)
X, y = rng.standard_normal((2, 2000, 300)).astype("float32")
net = nncore.Network(300, nncore.Dense(300, "mine"), nncore.Dense(300, "mine"), seed=0)
net.fit(X, y, batch_size=256, epochs=20 if {fork} else 1, verbose=False, n_threads=3)
if not {fork}:
    thread = threading.Thread(
        target=net.fit, args=(X, y), daemon=True,
        kwargs=dict(epochs=10**6, verbose=False, n_threads=3))
    thread.start()
    time.sleep(0.3)
print("end", flush=True)
"""


@pytest.mark.parametrize("fork", [pytest.param(True, marks=can_fork), False])
def test_a_fork_in_a_function_and_the_end_of_a_program(tmp_path, fork):
    """The child has the thread that is in the function and no other; a daemon thread that waits
    for Python's lock at the end of a program does not keep it."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM.format(fork=fork)], cwd=tmp_path, text=True,
        capture_output=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


# --- What cannot be registered --------------------------------------------------------------------

tanh, slope = COPIES["tanh"][:2]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("tanh", tanh, slope), "'tanh' is an activation of nncore; choose another name"),
        (("swish", tanh, slope), "'swish' is an activation of nncore; choose another name"),
        (("softmax", tanh, slope), "'softmax' is an activation of nncore"),
        (("a b", tanh, slope), "the name of an activation must be an identifier, got 'a b'"),
        ((3, tanh, slope), "the name of an activation must be an identifier, got 3"),
        (("mine", 3, slope), "f of 'mine' must be a function of x, got 3"),
        (("mine", tanh, "slope"), "df of 'mine' must be a function of x, got 'slope'"),
        (("mine", tanh, None), "df of 'mine' must be a function of x, got None"),
        (("mine", tanh, slope, 3), "d2f of 'mine' must be a function of x, got 3"),
        (("mine", lambda x: 1.0, slope), "f of 'mine' returned shape ()"),
        (("mine", tanh, lambda x: slope(x)[:3]), "df of 'mine' returned shape (3,) for x of shape"),
        (("mine", np.sqrt, slope), "f of 'mine' is NaN at x = -100 in float64; if it is not made"),
        (("mine", tanh, np.log), "df of 'mine' is NaN at x = -100 in float64"),
        (("mine", lambda x: np.sinh(x) / np.cosh(x), slope), "f of 'mine' is NaN at x = -1"),
        (("mine", lambda x: x + 1j, slope), "f of 'mine' returned complex128; expected real num"),
        (("mine", lambda x: np.array([None] * x.size).reshape(x.shape), slope), "returned object"),
        (("mine", lambda x: tanh(x) - tanh(x).mean(), slope), "depends on the other elements"),
        (("mine", lambda x: np.cumsum(x, -1), slope), "f of 'mine' at x = "),
        (("mine", tanh, lambda x: slope(x) + np.random.rand(*x.shape)), "or on more than x"),
        (("mine", tanh, slope, slope), "d2f of 'mine' is not the derivative of df: at x = "),
        (("mine", tanh, lambda x: np.where(x > 3, np.inf, slope(x))), "df gives inf"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered(registered, arguments, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        registered(*arguments)
    assert message in str(caught.value)
    assert "mine" not in nncore.activations and nncore.activations["tanh"].own is None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"range": (0, 1)}, "f of 'mine' leaves its range (0.0, 1.0): at x = -100 it is -1"),
        ({"range": (1, -1)}, "range of 'mine' must be two numbers (low, high), got (1, -1)"),
        ({"range": 3}, "range of 'mine' must be two numbers (low, high), got 3"),
        ({"kinks": ["a"]}, "kinks of 'mine' must be finite numbers, got ['a']"),
        ({"kinks": [np.inf]}, "kinks of 'mine' must be finite numbers, got [inf]"),
        ({"points": []}, "points must be finite numbers, got []"),
        ({"points": [np.nan]}, "points must be finite numbers, got [nan]"),
        ({"formula": 3}, "formula of 'mine' must be a string, got 3"),
    ],
)
def test_options_that_cannot_be(registered, options, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        registered("mine", tanh, slope, **options)
    assert message in str(caught.value)
    assert "mine" not in nncore.activations


def wrong(factor, low, high):
    """A slope that is wrong between two points alone."""
    return lambda x: slope(x) * np.where((x > low) & (x < high), factor, 1)


@pytest.mark.parametrize(
    "functions, at, given, true",
    [
        ((tanh, lambda x: 1 - tanh(x)), -3, None, None),
        ((tanh, lambda x: -slope(x)), 0, -1, 1),
        ((tanh, lambda x: 1.00001 * slope(x)), 0, 1.00001, 1),
        ((tanh, wrong(1.01, 0.6, 0.7)), 0.63, None, None),
        ((tanh, wrong(0, -1e-3, -1e-5)), -1.1e-5, 0, 1),
        ((lambda x: 1e-9 * tanh(x), lambda x: 0 * x), 0, 0, 1e-9),
        ((lambda x: 1e9 * tanh(x), lambda x: 1.001e9 * slope(x)), 0, 1.001e9, 1e9),
        ((lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1, 0.01)), -1e-6, 0.01, 0),
        ((lambda x: np.maximum(x, 0), lambda x: np.where(x == 0, 2, x > 0)), 0, 2, 0.5),
        ((np.abs, lambda x: np.ones_like(x)), -8.8e-4, 1, -1),
        ((lambda x: x**3, lambda x: 3 * x), None, None, None),
    ],
)  # fmt: skip
def test_a_wrong_derivative_is_shown_with_both_values(registered, functions, at, given, true):
    with pytest.raises(ValueError) as caught:
        registered("mine", *functions)
    text = str(caught.value)
    start, end = "df of 'mine' is not the derivative of f: at x = ", ", the central difference of f"
    assert text.startswith(start)
    x = float(text[len(start) :].split(" df gives ")[0])
    value = float(text[: text.index(end)].split(" df gives ")[1])
    difference = float(text.rsplit(" is ", 1)[1])
    assert value == pytest.approx(float(functions[1](np.array([x]))[0]), rel=1e-5, abs=1e-12)
    if at is not None:
        assert x == pytest.approx(at, rel=0.15, abs=1e-12)
    if given is not None:
        assert value == pytest.approx(given, rel=1e-6)
        assert difference == pytest.approx(true, rel=1e-6, abs=1e-12)


RIGHT = {
    "with a kink": (lambda x: np.maximum(x, 0.1 * x), lambda x: np.where(x < 0, 0.1, 1)),
    "between the slopes": (np.abs, np.sign),
    "with a jump": (lambda x: np.where(x > 1, x + 1, 0), lambda x: x > 1),
    "steps": (np.floor, np.zeros_like),
    "with cancellation": (lambda x: np.log(1 + np.exp(x)), lambda x: 1 / (1 + np.exp(-x))),
    "that overflows": (lambda x: np.exp(x * x), lambda x: 2 * x * np.exp(x * x)),
    "steep": (lambda x: tanh(1000 * x), lambda x: 1000 * slope(1000 * x)),
    "fast": (lambda x: np.sin(30 * x), lambda x: 30 * np.cos(30 * x)),
    "small": (lambda x: 1e-12 * tanh(x), lambda x: 1e-12 * slope(x)),
    "large": (lambda x: 1e12 * x**3, lambda x: 3e12 * x * x),
    "of whole numbers": (lambda x: x, lambda x: np.ones(x.shape, int)),
    "wider": (lambda x: np.float64(2) * x, lambda x: np.full(x.shape, 2.0)),
    "snake": (lambda x: x + np.sin(x) ** 2, lambda x: 1 + np.sin(2 * x)),
}


@pytest.mark.parametrize("what", RIGHT)
def test_right_derivatives_are_accepted(registered, what):
    registered("mine", *RIGHT[what])


@pytest.mark.parametrize("name", [n for n in nncore.activations if n not in names.WHOLE_ROW])
def test_all_of_the_table_can_be_registered(registered, name):
    """Their derivatives are right, so the check must not refuse one."""
    its = nncore.activations[name]
    mine = registered("mine", its.f, its.df, its.d2f, range=its.range, kinks=its.kinks)
    assert mine.kinks == its.kinks and mine.range == its.range
    registered("mine", its.f, its.df, its.d2f)


def test_an_error_of_a_function_says_where_it_was_called(registered):
    def f(x):
        if x.ndim > 1:
            raise RuntimeError("rows")
        return tanh(x)

    with pytest.raises(RuntimeError, match="rows") as caught:
        registered("mine", f, slope)
    [note] = caught.value.__notes__
    assert note.startswith("in f of 'mine', called with float64 of shape (")


def test_where_it_is_checked(registered):
    with pytest.raises(ValueError, match="NaN"):
        registered("mine", np.sqrt, lambda x: 0.5 / np.sqrt(x))
    mine = registered("mine", np.sqrt, lambda x: 0.5 / np.sqrt(x), points=[[0.1, 2], [3, 4.5]])
    assert mine.f(4.0) == 2
    with pytest.raises(ValueError, match=r"at x = 0.65 df gives 0.\d+, the central difference"):
        registered("other", tanh, wrong(1.0001, 0.649, 0.651), points=[0.65])
    registered("other", tanh, wrong(1.0001, 0.649, 0.651), points=0.64)


def test_importing_nncore_does_not_import_it():
    program = "import sys, nncore; sys.exit('nncore.own_activation' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=os.sep).returncode == 0
    assert "register_activation" in nncore.__all__


def test_small_values_may_not_depend_on_other_elements():
    def f(x):
        return 1e-16 * (x - x.flat[0])

    with pytest.raises(ValueError, match="depends on the other elements"):
        nncore.register_activation("small", f, lambda x: np.full_like(x, 1e-16))
