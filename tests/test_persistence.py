"""Saved networks come back bit for bit, and what a file says about one is not trusted."""

import contextlib
import copy
import itertools
import json
import multiprocessing
import os
import pickle
import random
import tracemalloc
import warnings

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network, files, persistence
from nncore.files import FileFormatError

ACTIVATIONS = ["identity", "relu", "sigmoid", "softplus", "softsign", "tanh"]
OPTIMIZERS = [
    SGD(0.07),
    SGD(0.03, momentum=0.8),
    SGD(0.03, momentum=0.8, nesterov=True),
    Adam(3e-3, 0.8, 0.99, 1e-7),
]
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
LABELS = RNG.integers(0, 3, 60)


def make(dtype="float32", optimizer=None, seed=0, **options):
    layers = Dense(5, "tanh"), Dense(4, "relu", bias=False), Dense(3, "softmax")
    optimizer = copy.copy(optimizer) or Adam(0.01)
    return Network(4, *layers, optimizer=optimizer, dtype=dtype, seed=seed, **options)


def fit(network, epochs=2):
    return dict(network.fit(X, LABELS, epochs=epochs, batch_size=16, verbose=False))


def trained(*args, **options):
    network = make(*args, **options)
    fit(network)
    return network


def state(network):
    engine = network._engine
    return (
        network.theta.tobytes(),
        engine.state.tobytes(),
        engine.n_updates,
        engine.hyper,
        network._rng.bit_generator.state,
        network.config(),
    )


def through_file(network, tmp_path):
    network.save(tmp_path / "m.safetensors")
    return nncore.load(tmp_path / "m.safetensors")


def through_pickle(network, tmp_path):
    return pickle.loads(pickle.dumps(network))


WAYS = {
    "file": through_file,
    "pickle": through_pickle,
    "pickle 2": lambda network, _: pickle.loads(pickle.dumps(network, 2)),
    "copy": lambda network, _: network.copy(),
    "copy.copy": lambda network, _: copy.copy(network),
    "deepcopy": lambda network, _: copy.deepcopy(network),
    "bytes": lambda network, _: persistence.from_bytes(persistence.to_bytes(network)),
}


# --- There and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.rule)
@dtypes
def test_training_goes_on_as_if_nothing_had_been(tmp_path, dtype, optimizer, way):
    network = trained(dtype, optimizer)
    assert network._engine.n_updates == 8
    again = WAYS[way](network, tmp_path)
    assert state(again) == state(network) and repr(again) == repr(network)
    assert again.dtype == dtype and again.optimizer == optimizer
    assert again.predict(X).tobytes() == network.predict(X).tobytes()
    uninterrupted = make(dtype, optimizer)
    curve = fit(uninterrupted, 5)["loss"]
    assert fit(again, 3)["loss"] == curve[2:]
    assert state(again) == state(uninterrupted)
    assert state(again) != state(network)
    network.theta[:] = 0
    assert again.theta.any() and not np.shares_memory(again.theta, network.theta)


@pytest.mark.parametrize("way", WAYS)
@dtypes
def test_before_training(tmp_path, dtype, way):
    network = make(dtype)
    again = WAYS[way](network, tmp_path)
    assert state(again) == state(network)
    assert fit(again) == fit(network) and state(again) == state(network)


@pytest.mark.parametrize("way", ["bytes", "copy"])
def test_every_kind_of_layer_and_loss(tmp_path, way):
    outputs = [(name, loss) for name in [*ACTIVATIONS, "softmax"] for loss in ("mse", "half_mse")]
    outputs += [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")]
    target = np.eye(3)[LABELS]
    for (output, loss), hidden, bias in itertools.product(outputs, ACTIVATIONS, (True, False)):
        network = Network(
            4, Dense(5, hidden, bias=bias, init="lecun_normal"), Dense(2, "tanh"),
            Dense(3, output, bias=not bias), loss=loss, seed=0,
        )  # fmt: skip
        network.partial_fit(X, target)
        again = WAYS[way](network, tmp_path)
        assert state(again) == state(network)
        assert [repr(layer) for layer in again.layers] == [repr(layer) for layer in network.layers]
        assert again.loss == loss
        assert again.partial_fit(X, target) == network.partial_fit(X, target)
        assert state(again) == state(network)


@pytest.mark.parametrize("seed", [None, 0, 2**200, [1, 2, 3], np.random.SeedSequence(5)])
def test_every_seed(tmp_path, seed):
    network = trained(seed=seed)
    again = through_file(network, tmp_path)
    assert state(again) == state(network) and fit(again) == fit(network)


def test_a_generator_that_cannot_be_saved_is_refused_at_once():
    """Not hours later, when the trained network is to be saved."""
    for seed in (np.random.Generator(np.random.MT19937(0)), np.random.MT19937(0)):
        with pytest.raises(ValueError, match="seed must be an integer"):
            make(seed=seed)


def test_special_weights_keep_their_bits(tmp_path):
    network = make("float64")
    network.theta[:6] = [np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324]
    assert through_file(network, tmp_path).theta.tobytes() == network.theta.tobytes()


def test_large_counts_and_rates(tmp_path):
    network = trained(optimizer=Adam(1e-300, 0.1 + 0.2, 1 - 2**-53, 1.2e-38))
    network._engine.n_updates = 2**62 - 1
    assert state(through_file(network, tmp_path)) == state(network)


@pytest.mark.parametrize("backend", [*nncore.get_config()["runnable"], "reference"])
def test_a_file_runs_on_any_backend(tmp_path, backend):
    network = trained("float64", backend=backend)
    network.save(tmp_path / "m")
    for other in (*nncore.get_config()["runnable"], "reference"):
        again = nncore.load(tmp_path / "m", backend=other)
        assert again.backend == other and state(again) == state(network)
        np.testing.assert_allclose(again.predict(X), network.predict(X), rtol=1e-13)
    assert nncore.load(tmp_path / "m").backend == nncore.get_config()["isa"]


def test_linear_layers_are_not_warned_of_again(tmp_path):
    """Who loads a network has not described it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = Network(4, Dense(3), Dense(2), seed=0)
    for name, way in WAYS.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert state(way(network, tmp_path)) == state(network)
        assert not caught, name


def test_what_is_in_a_file(tmp_path):
    """Any reader of safetensors gets at the weights by name."""
    network = trained()
    network.save(tmp_path / "m")
    tensors, metadata = files.read(tmp_path / "m")
    assert list(tensors) == [
        "layers.0.W", "layers.0.b", "layers.1.W", "layers.2.W", "layers.2.b", "optimizer.0",
        "optimizer.1",
    ]  # fmt: skip
    for i, layer in enumerate(network.layers):
        np.testing.assert_array_equal(tensors[f"layers.{i}.W"], layer.W)
    np.testing.assert_array_equal(tensors["layers.2.b"], network.layers[2].b)
    np.testing.assert_array_equal(tensors["optimizer.1"], network._engine.state[1])
    assert list(metadata) == ["nncore"]
    description = json.loads(metadata["nncore"])
    assert description["format"] == 1 and description["updates"] == 8
    assert description["config"] == network.config()


def test_path_types_and_overwriting(tmp_path):
    first, second = make(seed=1), trained(seed=2)
    for path in (tmp_path / "m", str(tmp_path / "m"), os.fsencode(tmp_path / "m")):
        for network in (first, second):
            network.save(path)
            assert state(nncore.load(path)) == state(network)
    assert os.listdir(tmp_path) == ["m"]


def test_saving_while_training_is_not_torn_apart(tmp_path):
    """What is saved in the midst of an epoch is refused or can be read; and training goes on."""
    import threading

    data = RNG.normal(size=(20000, 4)), RNG.integers(0, 3, 20000)
    network, alone = make(), make()
    alone.fit(*data, epochs=6, verbose=False)
    worker = threading.Thread(target=lambda: network.fit(*data, epochs=6, verbose=False))
    worker.start()
    while worker.is_alive():
        try:
            assert np.isfinite(through_file(network, tmp_path).predict(X)).all()
        except RuntimeError as error:
            assert "trained in another thread" in str(error)
    worker.join()
    assert state(network) == state(alone)


def test_pickle_to_another_process():
    """With "spawn" the other process starts from nothing but the pickle."""
    network = trained("float64")
    expected = network.predict(X).tobytes()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(Network.predict, (network, X)).tobytes() == expected
        history = pool.apply(
            Network.fit, (network, X, LABELS), dict(epochs=3, batch_size=16, verbose=False)
        )
        assert state(pool.apply(copy.deepcopy, (network,))) == state(network)
    assert dict(history) == fit(network, 3)


def test_history_can_be_pickled():
    history = make().fit(X, LABELS, epochs=2, verbose=False)
    again = pickle.loads(pickle.dumps(history))
    assert dict(again) == dict(history)
    assert (again.n_steps, again.seconds) == (history.n_steps, history.seconds)


def test_an_optimizer_that_was_changed_since_the_last_step(tmp_path):
    """Its rule may be another one now, without the state vectors that go with it."""
    for before, change in [
        (SGD(0.1), {"momentum": 0.5}),
        (SGD(0.1, momentum=0.5), {"momentum": 0.0}),
        (SGD(0.1, momentum=0.5), {"nesterov": True}),
        (Adam(), {"lr": 0.5}),
    ]:
        for name, way in WAYS.items():
            network = trained(optimizer=before)
            for attribute, value in change.items():
                setattr(network.optimizer, attribute, value)
            again = way(network, tmp_path)
            assert again.optimizer == network.optimizer != before, name
            assert fit(again) == fit(network) and state(again) == state(network), name


def test_an_optimizer_changed_to_nonsense_is_not_saved(tmp_path):
    """It would make a file that cannot be read."""
    network = trained(optimizer=Adam(0.1))
    network.save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()
    vars(network.optimizer)["lr"] = -1  # past the check of an assignment
    for name, way in WAYS.items():
        with pytest.raises(ValueError) as caught:
            way(network, tmp_path)
        assert "lr of Adam must be positive and finite, got -1" in str(caught.value), name
        assert type(caught.value) is ValueError, name
    assert (tmp_path / "m").read_bytes() == before


# --- Subclasses -----------------------------------------------------------------------------------


class Named(Network):
    """Its __init__ has other arguments, so whoever calls it again with Network's fails."""

    made = 0

    def __init__(self, name):
        Named.made += 1
        super().__init__(4, Dense(5, "tanh"), Dense(3, "softmax"), seed=0)
        self.name, self.notes = name, [self]


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"file", "bytes"}))
def test_a_copy_keeps_the_type_and_added_attributes(tmp_path, way):
    network = Named("first")
    fit(network)
    made = Named.made
    again = WAYS[way](network, tmp_path)
    assert type(again) is Named and Named.made == made and again.name == "first"
    assert state(again) == state(network) and repr(again).startswith("Named(4, Dense(5, 'tanh')")
    if way == "copy.copy":  # shallow, as always
        assert again.notes is network.notes
    else:
        assert again.notes == [again]
    assert fit(again) == fit(network) and state(again) == state(network)


def test_a_file_holds_a_plain_network(tmp_path):
    """A file names no class: nothing of whoever wrote it is looked up."""
    assert type(through_file(Named("first"), tmp_path)) is Network
    assert b"Named" not in (tmp_path / "m.safetensors").read_bytes()


class Halving(SGD):
    """A rule of the engine with something beside it."""

    every: int = 10


@pytest.mark.parametrize("way", WAYS)
def test_a_subclass_of_an_optimizer(tmp_path, way):
    """A file holds the optimizer that it is a kind of; it could not be read with another name."""
    network = trained(optimizer=Halving(0.1, momentum=0.5, every=3))
    again = WAYS[way](network, tmp_path)
    plain = way in ("file", "bytes")
    assert again.optimizer == (SGD(0.1, momentum=0.5) if plain else network.optimizer)
    assert again.optimizer is not network.optimizer
    assert fit(again) == fit(network) and state(again) == state(network)


def test_attributes_added_to_a_plain_network():
    network = make()
    # the rest is in the bytes
    assert network.__getstate__() == {"_optimizer": network.optimizer, "_seeded": True}
    network.scale = np.arange(3.0)
    again = network.copy()
    assert again.scale.tolist() == [0, 1, 2] and again.scale is not network.scale


# --- Saving that fails ----------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["os.replace", "os.fsync", "os.open"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, call):
    old, new, path = make(seed=1), trained(seed=2), tmp_path / "m"
    old.save(path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, fail)
        with pytest.raises(OSError, match="No space left"):
            new.save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m"]
    assert state(nncore.load(path)) == state(old)
    new.save(path)
    assert state(nncore.load(path)) == state(new)


# --- Files that lie -------------------------------------------------------------------------------

GOOD = trained()
GOOD_BYTES = persistence.to_bytes(GOOD)


def rewritten(change, network=GOOD):
    """The network's bytes after `change` of its tensors and its description."""
    tensors, metadata = files.from_bytes(persistence.to_bytes(network))
    description = json.loads(metadata["nncore"])
    change(tensors, description)
    text = description if isinstance(description, str) else json.dumps(description)
    return files.to_bytes(tensors, {"nncore": text})


def refused(data, *parts):
    with pytest.raises(FileFormatError) as caught:
        persistence.from_bytes(data)
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert len(message) < 500
    return message


def test_the_rewriting_by_itself_changes_nothing():
    assert state(persistence.from_bytes(rewritten(lambda t, d: None))) == state(GOOD)


def at(*keys, value):
    """A change that sets one entry of the description; without `value` it is removed."""

    def change(tensors, description):
        *path, last = keys
        for key in path:
            description = description[key]
        if value is at:
            del description[last]
        else:
            description[last] = value

    return change


SIZES = [-1, 0, 6, 2.5, 5.0, True, None, "5", [5], {}, 2**31, 2**40, 2**63, 2**200, 1e300, 1e999]


@pytest.mark.parametrize("value", SIZES, ids=repr)
@pytest.mark.parametrize(
    "place", [("n_in",), ("layers", 0, "n_out"), ("layers", 1, "n_out"), ("layers", 2, "n_out")]
)
def test_sizes_that_lie_take_no_memory(place, value):
    data = rewritten(at("config", *place, value=value))
    tracemalloc.start()
    try:
        refused(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000


def test_many_layers_take_no_memory():
    def change(tensors, description):
        description["config"]["layers"] *= 1000

    tracemalloc.start()
    try:
        refused(rewritten(change), "layers.3.W")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_true_is_no_size():
    network = Network(1, Dense(1, "tanh"))
    for place in (("n_in",), ("layers", 0, "n_out")):
        for value in (True, 1.0):
            refused(rewritten(at("config", *place, value=value), network), "must be an integer")


REMOVED = [
    ("format",), ("config",), ("updates",), ("rng",), ("config", "n_in"), ("config", "layers"),
    ("config", "loss"), ("config", "optimizer"), ("config", "dtype"),
    ("config", "layers", 0, "n_out"), ("config", "layers", 0, "type"),
    ("config", "layers", 0, "bias"), ("config", "optimizer", "type"), ("rng", "bit_generator"),
    ("rng", "state"), ("rng", "state", "inc"), ("rng", "has_uint32"), ("rng", "uinteger"),
]  # fmt: skip


@pytest.mark.parametrize("place", REMOVED, ids=repr)
def test_missing_keys(place):
    refused(rewritten(at(*place, value=at)))


LIES = [
    *[(("format",), value) for value in (0, 2, 99, -1, 1.5, "1", None, [], {})],
    *[(("config",), value) for value in (None, [], {}, "x", 3, [[]] * 9, {"config": {}})],
    *[(("config", "layers"), value) for value in
      (None, [], {}, "xyz", 3, [3], [None], [[]], {"0": 1})],
    *[(("config", "layers", 0), value) for value in (None, [], {}, "x", 3, {"type": "dense"})],
    *[(("config", "layers", 1, "type"), value) for value in ("conv", "Dense", "", None, 3, [], {})],
    *[(("config", "layers", 1, "activation"), value) for value in
      ("maxout", "softmax", "", None, 3, [], {}, "relu ", "__class__")],
    *[(("config", "layers", 1, "init"), value) for value in ("zeros", None, [[1e9]])],
    *[(("config", "layers", 1, "extra"), value) for value in (1, None)],
    *[(("config", "layers", 1, "bias"), value) for value in (True, 1, "no", [0])],
    (("config", "layers", 0, "bias"), float("nan")),  # true, but no JSON
    *[(("config", "layers", 2, "bias"), value) for value in (False, 0, None, "", [])],
    *[(("config", "layers", 2, "activation"), value) for value in ("tanh", "sigmoid", "identity")],
    *[(("config", "loss"), value) for value in
      ("binary_cross_entropy", "hinges", "", 3, [], {}, True)],
    *[(("config", "optimizer"), value) for value in
      (None, [], {}, "adam", 3, {"type": "Adam", "x": 1}, {"type": "SGD", "momentum": 0.5})],
    *[(("config", "optimizer", "type"), value) for value in
      ("sgd", "Lion", "Optimizer", "", None, 3, [], {}, "__init__")],
    *[(("config", "optimizer", "lr"), value) for value in
      (0, -1, 1e999, -1e999, float("nan"), None, "fast", [], {}, True, 10**400)],
    *[(("config", "optimizer", "beta1"), value) for value in
      (1, -0.1, 1e999, float("nan"), None, "x", [], {}, True, 10**400)],
    *[(("config", "dtype"), value) for value in
      ("float64", "float16", "int64", "object", "O", "(1f4,f4", "f4,,", "", None, 3, [], {},
       [["a", "f4"]], {"names": ["a"], "formats": ["f4"]}, "a", "\ud800", "x" * 100_000)],
    *[(("updates",), value) for value in
      (-1, 1.0, 2.5, 2**62, 2**63, 10**300, True, None, "3", [], {}, 1e999)],
    *[(("rng",), value) for value in (None, [], {}, "x", 3)],
    *[(("rng", "bit_generator"), value) for value in
      ("MT19937", "PCG64DXSM", "os.system", "", None, 3, [], {})],
    *[(("rng", "state"), value) for value in (None, [], {}, "x", 3)],
    *[(("rng", "state", "state"), value) for value in
      (-1, 2**128, 10**300, 1e999, None, "x", [], {}, [1, 2])],
    *[(("rng", "state", "inc"), value) for value in (-1, 2**128, 10**300, None, "x", [], {})],
    *[(("rng", "has_uint32"), value) for value in (2**80, None, "x", [], {})],
    *[(("rng", "uinteger"), value) for value in (-1, 2**80, None, "x", [], {})],
]  # fmt: skip


@pytest.mark.parametrize("place, value", LIES, ids=lambda v: repr(v)[:40])
def test_lies(place, value):
    refused(rewritten(at(*place, value=value)))


@pytest.mark.parametrize(
    "text",
    ["", " ", "null", "[]", "3", '"x"', "{", "{}", "[" * 100_000, '{"a":' * 50_000, "\x00", "NaN",
     '{"format": NaN}', "1" * 10_000, '{"format": ' + "9" * 10_000 + "}"],
    ids=lambda text: text[:9],
)  # fmt: skip
def test_descriptions_that_are_no_description(text):
    refused(files.to_bytes({"x": np.zeros(1)}, {"nncore": text}))
    tensors, _ = files.from_bytes(GOOD_BYTES)
    refused(files.to_bytes(tensors, {"nncore": text}))


def test_messages_for_files_of_others():
    refused(files.to_bytes({"x": np.zeros(1)}, {}), "is not a network of nncore", "nncore")
    refused(files.to_bytes({"x": np.zeros(1)}, {"format": "pt"}), "is not a network of nncore")
    message = refused(rewritten(at("format", value=99)), "99", "reads format 1", "Update the")
    assert "format 99" in message
    refused(rewritten(at("format", value="v" * 300_000)), "format", "Update the package.")


def test_messages_for_unknown_types():
    """They come from a newer version; that something "is missing" would mislead."""
    for place, name in [(("layers", 1, "type"), "conv"), (("optimizer", "type"), "Lion")]:
        message = refused(rewritten(at("config", *place, value=name)), name)
        assert "missing" not in message


def test_tensors_that_do_not_fit():
    def without(name):
        return lambda t, d: t.pop(name)

    def with_(name, array):
        return lambda t, d: t.update({name: array})

    for name in files.from_bytes(GOOD_BYTES)[0]:
        refused(rewritten(without(name)), name)
        good = files.from_bytes(GOOD_BYTES)[0][name]
        for bad in (good.astype("f8"), good.astype("i8"), good[:-1], good[:0], good[None],
                    np.ones((), "f4")):  # fmt: skip
            refused(rewritten(with_(name, bad)), name)
        if good.ndim == 2:
            refused(rewritten(with_(name, good.T.copy())), name, str(good.shape))
    for name in ("extra", "layers.3.W", "layers.1.b", "layers.0.w", "optimizer.2", "optimizer.-1"):
        refused(rewritten(with_(name, np.zeros(4, "f4"))), name, "belongs to no layer")


def test_an_sgd_network_has_no_state_vectors():
    data = rewritten(lambda t, d: t.update({"optimizer.0": np.zeros(46, "f4")}),
                     trained(optimizer=SGD(0.1)))  # fmt: skip
    refused(data, "'optimizer.0' belongs to no layer")


def test_a_file_that_lies_is_named(tmp_path):
    path = tmp_path / "of mine.safetensors"
    path.write_bytes(rewritten(at("updates", value=-5)))
    with pytest.raises(FileFormatError) as caught:
        nncore.load(path)
    assert str(path) in str(caught.value) and "updates is -5, not a count" in str(caught.value)


# --- Chance ---------------------------------------------------------------------------------------

JUNK = [
    None, True, False, 0, -1, 1, 2, 3, 4, 5, 6, 255, 2**31, 2**32, 2**63, 2**64, 2**128, -(2**63),
    10**30, 0.0, -0.5, 0.5, 1.0, 3.7, 1e30, 1e308, 1e999, -1e999, float("nan"), "", "x", "dense",
    "softmax", "relu", "identity", "sigmoid", "Adam", "SGD", "mse", "cross_entropy", "float32",
    "float64", "PCG64", "\u0000", "\U0001f600", [], [1], [[]], {}, {"a": 1}, {"type": "dense"},
]  # fmt: skip


def places(value, path=()):
    """All paths into a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def mutate(description, rng):
    """Replace, remove, copy or add something anywhere."""
    *path, last = rng.choice([path for path in places(description) if path])
    parent = description
    for key in path:
        parent = parent[key]
    what = rng.randrange(5)
    if what == 0:
        del parent[last]
    elif what == 1 and isinstance(parent, list):
        parent.insert(last, copy.deepcopy(parent[last]))
    elif what == 1:
        parent[rng.choice(["lr", "momentum", "eps", "n_out", "type", "init", "a", ""])] = (
            rng.choice(JUNK)
        )
    elif what == 2:
        source = rng.choice(list(places(description)))
        value = description
        for key in source:
            value = value[key]
        parent[last] = copy.deepcopy(value)
    else:
        parent[last] = copy.deepcopy(rng.choice(JUNK))


def valid_or_refused(data):
    """Return whether the bytes hold a network, which then can be used and saved again."""
    try:
        with warnings.catch_warnings():  # of layers that became linear
            warnings.filterwarnings("ignore", "All hidden activations are linear")
            network = persistence.from_bytes(data)
    except FileFormatError as error:
        assert type(error) is FileFormatError
        return False
    assert network.predict(np.ones((2, network.n_in))).shape == (2, network.n_out)
    assert json.loads(json.dumps(network.config())) == network.config()
    assert network.optimizer.lr > 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All hidden activations are linear")
        assert state(persistence.from_bytes(persistence.to_bytes(network))) == state(network)
    with contextlib.suppress(FloatingPointError):  # a learning rate may be valid and far too large
        network.partial_fit(np.zeros((2, network.n_in)), np.eye(network.n_out)[[0, 0]])
    return True


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.rule)
def test_descriptions_changed_by_chance(optimizer):
    rng = random.Random(17)
    tensors, metadata = files.from_bytes(persistence.to_bytes(trained(optimizer=optimizer)))
    accepted = 0
    for _ in range(700):
        description = json.loads(metadata["nncore"])
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            mutate(description, rng)
        text = json.dumps(description)
        accepted += valid_or_refused(files.to_bytes(tensors, {"nncore": text}))
    assert 5 < accepted < 350  # both happen


def test_text_changed_by_chance():
    rng = random.Random(18)
    tensors, metadata = files.from_bytes(GOOD_BYTES)
    accepted = 0
    for _ in range(2000):
        text = list(metadata["nncore"])
        for _ in range(rng.choice([1, 1, 2, 4])):
            i = rng.randrange(len(text))
            text[i : i + rng.choice([0, 1, 1, 1, 3])] = rng.choice(["", *'"{}[]:,-.e019t \\'])
        accepted += valid_or_refused(files.to_bytes(tensors, {"nncore": "".join(text)}))
    assert 5 < accepted < 1900


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_bytes_changed_by_chance(tmp_path):
    rng = random.Random(19)
    start = 8 + int.from_bytes(GOOD_BYTES[:8], "little")
    accepted = 0
    for i in range(2500):
        data = bytearray(GOOD_BYTES)
        for _ in range(rng.choice([1, 1, 1, 4])):
            # Most of them in the header; weights may be any.
            where = rng.randrange(start if i % 5 else len(data))
            data[where] ^= 1 << rng.randrange(8)
        if i % 50 == 0:
            del data[rng.randrange(len(data)) :]
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "All hidden activations are linear")
                network = persistence.from_bytes(bytes(data))
        except FileFormatError:
            continue
        network.predict(X)
        accepted += 1
    assert 50 < accepted < 1250


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_damaged_pickle_is_refused(protocol):
    data = pickle.dumps(GOOD, protocol)
    assert state(pickle.loads(data)) == state(GOOD)
    broken = data.replace(b"cross_entropy", b"cross_3ntropy")
    assert broken != data
    with pytest.raises(FileFormatError, match="Unknown loss 'cross_3ntropy'"):
        pickle.loads(broken)
