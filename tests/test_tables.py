"""The rows of csrc/tables, their twins in NumPy, and what is said of them in docstrings."""

import re

import pytest

import nncore
from nncore import _core, optimizers, reference, trainers
from nncore.optimizers import as_optimizer


def quoted(docstring):
    return set(re.findall(r'"([\w+-]+)"', docstring))


def test_activations():
    assert list(_core.ACTIVATIONS) == list(reference.ACTIVATIONS)
    assert len(_core.ACTIVATIONS) >= 6


@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_what_activations_keep(name):
    """Both engines keep the same, so a network needs the same memory on either."""
    assert _core.ACTIVATIONS[name]["keeps"] == reference.ACTIVATIONS[name].keeps.lower()


@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_parameters_of_activations(name):
    row, twin = _core.ACTIVATIONS[name], reference.ACTIVATIONS[name]
    assert list(row["parameters"].items()) == list(twin.parameters.items())


def test_softmax_is_of_a_row_and_no_row_of_the_table():
    assert not {"softmax", "log_softmax"} & _core.ACTIVATIONS.keys()
    assert reference.SOFTMAX.f is reference.activations.softmax
    assert reference.LOG_SOFTMAX.f is reference.activations.log_softmax


def test_losses():
    assert list(_core.LOSSES) == list(reference.LOSSES)
    assert list(_core.LOSSES) == list(nncore.losses)[: len(_core.LOSSES)]  # then registered ones
    assert len(_core.LOSSES) >= 4


@pytest.mark.parametrize("name", _core.LOSSES)
def test_what_losses_are_fused_with(name):
    row, twin = _core.LOSSES[name], reference.LOSSES[name]
    assert row["output"] == twin.link
    assert row["output"] in (None, "softmax", *_core.ACTIVATIONS)
    assert row["mean"] in ("elements", "rows")
    assert (row["hyper"], row["per_target"]) == (twin.hyper, twin.per_target)


# The optimizer whose defaults are those of a row.
OF_ROW = {
    "sgd": nncore.SGD(),
    "momentum": nncore.SGD(momentum=0.9),
    "nesterov": nncore.SGD(momentum=0.9, nesterov=True),
    "adam": nncore.Adam(),
    "dampened": nncore.SGD(momentum=0.9, dampening=0.9),
    "velocity": nncore.SGD(momentum=0.9, style="keras"),
    "velocity_nesterov": nncore.SGD(momentum=0.9, nesterov=True, style="keras"),
    "adam_keras": nncore.Adam(style="keras"),
    "amsgrad": nncore.Adam(amsgrad=True),
    "amsgrad_keras": nncore.Adam(amsgrad=True, style="keras"),
    "adagrad": nncore.Adagrad(),
    "adadelta": nncore.Adadelta(),
    "rmsprop": nncore.RMSprop(),
    "rmsprop_momentum": nncore.RMSprop(momentum=0.9),
    "rmsprop_centered": nncore.RMSprop(centered=True),
    "rmsprop_centered_momentum": nncore.RMSprop(momentum=0.9, centered=True),
    "adamax": nncore.Adamax(),
    "nadam": nncore.NAdam(),
    "radam": nncore.RAdam(),
    "lion": nncore.Lion(),
}


def test_optimizers():
    assert list(_core.OPTIMIZERS) == list(reference.OPTIMIZERS)
    assert len(_core.OPTIMIZERS) >= 4


@pytest.mark.parametrize("name", _core.OPTIMIZERS)
def test_what_optimizers_take(name):
    row, twin = _core.OPTIMIZERS[name], reference.OPTIMIZERS[name]
    assert row["vectors"] == twin.n_vectors
    assert list(row["hyper"].items()) == list(twin.hyper.items()), "names, defaults and order"
    described = OF_ROW[name]
    assert described.rule == name
    assert tuple(described.hyper) == tuple(row["hyper"].values())


@pytest.mark.parametrize("name", sorted(optimizers._BY_NAME))
def test_optimizers_by_name(name):
    assert name in _core.OPTIMIZERS or name == "adamw"
    assert as_optimizer(name).rule == name.replace("adamw", "adam")


def test_dense_names_every_activation():
    assert {*_core.ACTIVATIONS, "softmax", "log_softmax"} <= quoted(nncore.Dense.__doc__)


def test_network_names_every_loss_and_optimizer():
    text = nncore.Network.__doc__
    assert {*_core.LOSSES, *optimizers._BY_NAME} <= quoted(text)
    assert {*_core.isas(), "reference"} <= quoted(text)


def test_docstrings_name_nothing_that_is_not_there():
    text = nncore.Dense.__doc__
    listed = quoted(text[text.index("activation :") : text.index("bias :")])
    assert listed - {"identity"} <= {*_core.ACTIVATIONS, "softmax", "log_softmax"}
    text = nncore.Network.__doc__
    listed = quoted(text[text.index("loss :") : text.index("optimizer :")])
    assert listed <= {*_core.LOSSES, *_core.ACTIVATIONS, "softmax", "log_softmax"}
    listed = quoted(text[text.index("optimizer :") : text.index("dtype :")])
    assert listed <= {*optimizers._BY_NAME, *trainers.BY_NAME, *trainers.ALIASES}
    variants = {name for name in trainers.BY_NAME if name.startswith(("cg_", "gradient_descent_"))}
    assert {*trainers.BY_NAME} - variants <= listed
