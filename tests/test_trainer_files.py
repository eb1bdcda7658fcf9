"""What a file says of a trainer's memory is not trusted: it is whole and possible, or refused."""

import json
import random

import numpy as np
import pytest

import nncore
from nncore import ConjugateGradient, Dense, LevenbergMarquardt, Network, Rprop, files, persistence
from nncore.files import FileFormatError
from nncore.trainers import BY_NAME

X = np.random.default_rng(0).uniform(-1, 1, (12, 2))
Y = (X[:, 0] * X[:, 1])[:, None]
BEALE = ConjugateGradient("hestenes_stiefel", restart="powell_beale")
TRAINERS = [
    *sorted(BY_NAME), LevenbergMarquardt("marquardt"), BEALE,
    Rprop(step_start=(0.1, 0.2)),
]  # fmt: skip


def trained(optimizer, epochs=5, frozen=False, **options):
    net = Network(2, Dense(3, "tanh"), Dense(1), optimizer=optimizer, seed=0, **options)
    net.layers[0].trainable = not frozen
    net.fit(X, Y, epochs=epochs, verbose=False)
    return net


def parts(net):
    """The tensors and the description of a file of `net`."""
    tensors, metadata = files.from_bytes(persistence.to_bytes(net))
    return dict(tensors), json.loads(metadata["nncore"])


def read(tensors, description):
    return persistence.from_bytes(files.to_bytes(tensors, {"nncore": json.dumps(description)}))


def refused(tensors, description, message=None):
    with pytest.raises(FileFormatError, match=message):
        read(tensors, description)


@pytest.mark.parametrize("optimizer", TRAINERS, ids=str)
def test_the_rewriting_by_itself_changes_nothing(optimizer):
    net = trained(optimizer)
    twin = read(*parts(net))
    for each in (net, twin):
        each.fit(X, Y, epochs=3, verbose=False)
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("optimizer", TRAINERS, ids=str)
def test_each_part_is_needed(optimizer):
    tensors, description = parts(trained(optimizer))
    own = [name for name in tensors if name.startswith("optimizer.")]
    for name in own:
        rest = {k: v for k, v in tensors.items() if k != name}
        if name == "optimizer.scales" or (len(own) == 1 and not description.get("memory")):
            read(rest, description)  # as before the first step
        elif name == max(own) and name.partition(".")[2][:2] in ("s.", "y."):
            refused(rest, description, "differ in length")
        else:
            refused(rest, description)
    for name in description.get("memory", {}):
        rest = {k: v for k, v in description["memory"].items() if k != name}
        if rest or own:
            refused(tensors, description | {"memory": rest}, "is not one of|is not a|missing")


@pytest.mark.parametrize("optimizer", TRAINERS, ids=str)
def test_shapes_and_types(optimizer):
    tensors, description = parts(trained(optimizer))
    for name in [name for name in tensors if name.startswith("optimizer.")]:
        good = tensors[name]
        other = "float32" if good.dtype == "float64" else "float64"
        for wrong in (good[:-1], good[None], good.astype(other), np.append(good, good), good[:0]):
            refused(tensors | {name: np.ascontiguousarray(wrong)}, description, name)


@pytest.mark.parametrize("optimizer", TRAINERS, ids=str)
def test_numbers(optimizer):
    tensors, description = parts(trained(optimizer))
    for name in description.get("memory", {}):
        for wrong in (None, "1", [1], {}, True, 10**400):
            memory = description["memory"] | {name: wrong}
            refused(tensors, description | {"memory": memory}, f"{name} of|too large")
        for wrong in (np.nan, np.inf, -np.inf):
            memory = description["memory"] | {name: wrong}
            refused(tensors, description | {"memory": memory}, "not a number that a network has")


@pytest.mark.parametrize(
    ("optimizer", "name", "wrong"),
    [
        ("cg", "age", -1), ("cg", "age", 1.0), ("scg", "lambda", 0), ("scg", "lambda", -1e-3),
        ("lm", "mu", 0), ("lm", "mu", -1), ("lm", "growth", 0), ("lm", "growth", -2),
        ("bayesian", "alpha", -1), ("bayesian", "beta", 0), ("traingda", "lr", 0),
    ],
)  # fmt: skip
def test_numbers_that_would_hang_or_go_up(optimizer, name, wrong):
    tensors, description = parts(trained(optimizer))
    memory = description["memory"]
    assert name in memory
    refused(tensors, description | {"memory": memory | {name: wrong}}, f"{name} of .* expected a")


@pytest.mark.parametrize("optimizer", [*TRAINERS, "adam", "sgd"], ids=str)
def test_what_does_not_belong_there(optimizer):
    tensors, description = parts(trained(optimizer))
    vector = np.zeros(13, "float32")
    for name in ("optimizer.other", "optimizer.s.x", "optimizer.", "optimizer.s.99", "memory"):
        refused(tensors | {name: vector}, description)
    refused(tensors, description | {"memory": description.get("memory", {}) | {"other": 1.0}})
    for memory in ([], 3, "x", [1, 2], None):
        refused(tensors, description | {"memory": memory})
    for name in {name.split(".")[1] for name in tensors if name.startswith("optimizer.")}:
        memory = description.get("memory", {}) | {name: 1.0}
        refused(tensors, description | {"memory": memory})


def test_a_memory_of_another_trainer():
    files_of = {name: parts(trained(name)) for name in ("cg", "lbfgs", "scg", "lm", "irprop+")}
    for name, (tensors, description) in files_of.items():
        for other, (_, others) in files_of.items():
            if name != other:
                config = description["config"] | {"optimizer": others["config"]["optimizer"]}
                refused(tensors, description | {"config": config}, "is not one of|belongs to no")


def test_pairs_without_curvature():
    for name in ("lbfgs", "one_step_secant"):
        tensors, description = parts(trained(name))
        key = next(k for k in tensors if k.startswith("optimizer.y"))
        for wrong in (0 * tensors[key], -tensors[key], np.nan * tensors[key]):
            refused(tensors | {key: wrong}, description, r"without s.y > 0")


def test_vectors_of_no_numbers_are_no_crash():
    """NaN in a direction is found where it is used: the trainer starts again, or says so."""
    for optimizer in TRAINERS:
        tensors, description = parts(trained(optimizer))
        for name in [name for name in tensors if name.startswith("optimizer.")]:
            if name.split(".")[1] in ("s", "y"):
                continue
            net = read(tensors | {name: np.full_like(tensors[name], np.nan)}, description)
            before = net.theta.copy()
            try:
                net.fit(X, Y, epochs=2, verbose=False)
            except FloatingPointError:
                assert (net.theta == before).all()
            assert np.isfinite(net.theta).all()


def test_of_frozen_layers():
    """scales are of the parameters that are trained, and the file knows which."""
    for optimizer in (LevenbergMarquardt("marquardt"), "lm", "cg"):
        net = trained(optimizer, frozen=True)
        tensors, description = parts(net)
        if "optimizer.scales" in tensors:
            assert tensors["optimizer.scales"].shape == (4,)
            wrong = np.ones(13)
            refused(
                tensors | {"optimizer.scales": wrong}, description, "optimizer.scales is float64"
            )
        twin = read(tensors, description)
        for each in (net, twin):
            each.fit(X, Y, epochs=2, verbose=False)
        assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("wrong", ["wolfe", {"type": "Wolfe"}, {"type": "StrongWolfe", "c1": "x"},
                                   {"type": "StrongWolfe", "c3": 1}, {"type": []}, {}, None, 3, []],
                         ids=str)  # fmt: skip
def test_a_line_search_that_is_none(wrong):
    tensors, description = parts(trained("lbfgs"))
    config = description["config"]
    optimizer = config["optimizer"] | {"line_search": wrong}
    description = description | {"config": config | {"optimizer": optimizer}}
    if wrong == "wolfe":
        assert read(tensors, description).optimizer == nncore.LBFGS()
    else:
        refused(tensors, description)


@pytest.mark.parametrize("optimizer", ["cg", "lbfgs", "lm", "bayesian", "scg", "rprop-", BEALE],
                         ids=str)  # fmt: skip
def test_descriptions_changed_by_chance(optimizer):
    """Each value is changed to another: it is refused, or training goes on."""
    tensors, description = parts(trained(optimizer))
    rng = random.Random(0)
    whole = json.dumps(description)
    odd = ["0", "-1", "1e308", "null", "true", '"x"', "[]", "{}", "1e-320", "3"]
    places = [(d, k) for d in ("memory",) for k in description.get(d, {})]
    places += [("optimizer", k) for k in description["config"]["optimizer"]]
    for _ in range(150):
        changed = json.loads(whole)
        where, key = rng.choice(places)
        owner = changed["memory"] if where == "memory" else changed["config"]["optimizer"]
        owner[key] = json.loads(rng.choice(odd))
        try:
            net = read(tensors, changed)
        except FileFormatError:
            continue
        try:
            net.fit(X, Y, epochs=2, verbose=False)
        except (FloatingPointError, ValueError):  # such as a max_bytes that does not suffice
            continue
        assert np.isfinite(net.theta).all()


def test_a_subclass_is_in_a_file_what_it_is_of_ours(tmp_path):
    class Mine(nncore.LBFGS):
        pass

    class Search(nncore.line_searches.StrongWolfe):
        pass

    net = trained(Mine(memory=4, line_search=Search(c2=0.5)))
    net.save(tmp_path / "net")
    loaded = nncore.load(tmp_path / "net")
    expected = nncore.LBFGS(memory=4, line_search=nncore.line_searches.StrongWolfe(c2=0.5))
    assert loaded.optimizer == expected and type(net.copy().optimizer) is Mine
    for each in (net, loaded):
        each.fit(X, Y, epochs=3, verbose=False)
    assert loaded.theta.tobytes() == net.theta.tobytes()
