"""What is warned of, and where: linear layers, targets that an output cannot reach."""

import warnings

import numpy as np
import pytest

import nncore
from nncore import Dense, Network

from .refusals import USES, X, Y, uses


def warned(function, category=UserWarning):
    """Return the messages of what the function warns of, all of this category."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    for warning in caught:
        assert warning.category is category
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("use", ["Network", *USES])
def test_warnings_point_at_the_line_of_the_user(use):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = Network(3, Dense(2), Dense(2, "tanh"))
        if use != "Network":
            USES[use](network, X, Y + 1)
    of_the_user = __file__ if use == "Network" else USES[use].__code__.co_filename
    assert caught[-1].filename == of_the_user


LINEAR = nncore.LinearNetworkWarning


def test_linear_layers():
    message = (
        "All hidden activations are linear: these 3 layers can only do what one Dense(1) does. "
        'Use a nonlinear activation, such as "tanh". Or, to have that one layer, call '
        "net.collapse()."
    )
    assert warned(lambda: Network(4, Dense(3), Dense(2), Dense(1)), LINEAR) == [message]
    assert len(warned(lambda: Network(4, Dense(3), Dense(1, "sigmoid")), LINEAR)) == 1
    for layers in [(Dense(1),), (Dense(1, "relu"),), (Dense(3), Dense(2, "relu"), Dense(1)),
                   (Dense(3, "relu"), Dense(2), Dense(1)), (nncore.Dropout(0.1), Dense(1)),
                   (Dense(1), nncore.BatchNorm())]:  # fmt: skip
        assert warned(lambda layers=layers: Network(4, *layers)) == []


def test_what_collapse_leaves_is_warned_of_without_it():
    for layers in [(Dense(3), nncore.Dropout(0.5), Dense(1)),
                   (nncore.Residual(Dense(4)), Dense(1))]:  # fmt: skip
        [message] = warned(lambda layers=layers: Network(4, *layers), LINEAR)
        assert message.endswith('Use a nonlinear activation, such as "tanh".')


def test_the_warning_can_be_turned_off_by_its_class():
    assert issubclass(LINEAR, UserWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", LINEAR)
        Network(4, Dense(3), Dense(2))


def test_linear_layers_are_warned_of_once():
    """Not again where nothing new is described, nor in training."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        network = Network(4, Dense(3), Dense(2))
    assert warned(lambda: network.copy()) == []
    assert warned(lambda: network.collapse()) == []
    assert warned(lambda: network.fit(X[:, [0, 1, 2, 0]], Y, verbose=False)) == []


@pytest.mark.parametrize(
    ("output", "low", "high", "interval"),
    [
        ("sigmoid", -3, 8, "(0, 1)"),
        ("tanh", -3, 8, "(-1, 1)"),
        ("softsign", -1, 2, "(-1, 1)"),
        ("relu", -3, 8, "(0, inf)"),
        ("softplus", -0.5, 8, "(0, inf)"),
        ("softmax", 0, 2, "(0, 1)"),
    ],
)
@uses
def test_output_range(use, output, low, high, interval):
    target = np.linspace(low, high, 200).reshape(100, 2)
    network = Network(3, Dense(2, output), loss="mse", seed=0)
    expected = (
        f"Targets span [{low:g}, {high:g}] but the output activation is {output}, range "
        f'{interval}. Use "identity" or scale the targets.'
    )
    assert warned(lambda: USES[use](network, X, target)) == [expected]


@uses
def test_targets_within_the_range_are_fine(use):
    for output, low, high in [("sigmoid", 0, 1), ("tanh", -1, 1), ("relu", 0, 99),
                              ("identity", -99, 99), ("softmax", 0, 1)]:  # fmt: skip
        network = Network(3, Dense(2, output), loss="mse", seed=0)
        target = np.linspace(low, high, 200).reshape(100, 2)
        assert warned(lambda n=network, t=target: USES[use](n, X, t)) == []
