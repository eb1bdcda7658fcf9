"""Networks, layers and optimizers that are not made: names, sizes, numbers, what does not fit."""

from typing import ClassVar

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network

from .refusals import USES, X, Y, refused, regressor

# --- Names ----------------------------------------------------------------------------------------

A_NAME = 'an activation is a name, such as "tanh", or an nncore.Activation, got '
ALL_ACTIVATIONS = (
    "Known: celu, elliot, elu, exponential, gaussian, gelu, gelu_tanh, hard_shrink, hard_sigmoid, "
    "hard_swish, hardtanh, identity, leaky_relu, log_sigmoid, log_softmax, mish, relu, relu6, "
    "satlin, selu, sigmoid, silu, sin, softmax, softplus, softshrink, softsign, squareplus, tanh, "
    "tanhshrink, threshold, tribas."
)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (
            lambda: Dense(2, "sigmiod"),
            ["Unknown activation 'sigmiod'. Did you mean \"sigmoid\"? " + ALL_ACTIVATIONS],
        ),
        (
            lambda: Dense(2, "ReLU"),
            ["Unknown activation 'ReLU'. Did you mean \"relu\"? " + ALL_ACTIVATIONS],
        ),
        (
            lambda: Dense(2, "TANHH"),
            ["Unknown activation 'TANHH'. Did you mean \"tanh\"? " + ALL_ACTIVATIONS],
        ),
        (
            lambda: Dense(2, "Logistic"),
            ["Unknown activation 'Logistic'. Did you mean \"logistic\"? " + ALL_ACTIVATIONS],
        ),
        (lambda: Dense(2, "qqq"), ["Unknown activation 'qqq'. " + ALL_ACTIVATIONS]),
        (lambda: Dense(2, None), [A_NAME + "None. For none write \"identity\""]),
        (lambda: Dense(2, ["relu"]), [A_NAME + "['relu']. "]),
        (lambda: Dense(2, np.tanh), [A_NAME + "<ufunc 'tanh'>", "register_activation"]),
        (
            lambda: Dense(2, init="he_uniforn"),
            ["Unknown initializer 'he_uniforn'. Did you mean \"he_uniform\"? Known: ", "zeros."],
        ),
        (
            lambda: Network(2, Dense(2), loss="crossentropy"),
            ["Unknown loss 'crossentropy'. Did you mean \"cross_entropy\"? Known: ", "half_mse, "],
        ),
        (lambda: Network(2, Dense(2), loss=3), ["Unknown loss 3. Known: ", "mse, "]),
        (lambda: Network(2, Dense(2), loss=["mse"]), ["Unknown loss ['mse']. "]),
        (
            lambda: Network(2, Dense(2), optimizer="adm"),
            [
                "Unknown optimizer 'adm'. Did you mean \"adam\"? Known: adadelta, adagrad, ",
                "descent.",
            ],
        ),
        (lambda: Network(2, Dense(2), optimizer=None), ["Unknown optimizer None. Known: adadelta"]),
        (
            lambda: Network(2, Dense(2), optimizer=nncore.Optimizer()),
            ["Unknown optimizer Optimizer(). Known: adadelta, "],
        ),
        (lambda: Network(2, Dense(2), optimizer=0.1), ["Unknown optimizer 0.1. Known: adadelta"]),
        (
            lambda: Network(2, Dense(2), optimizer=SGD),
            ["optimizer is a class; write SGD() with brackets"],
        ),
    ],
)
def test_unknown_names(make, parts):
    with refused(ValueError, *parts):
        make()


def test_a_wrong_optimizer_leaves_the_old_one():
    network = regressor()
    with refused(ValueError, "Unknown optimizer 'rmspro'. ", network=network):
        network.optimizer = "rmspro"


@pytest.mark.parametrize("dtype", ["float16", "int32", ">f4", ">f8", "c8", "floot32", 32, object])
def test_dtype(dtype):
    with refused(ValueError, f'dtype must be "float32" or "float64", got {dtype!r}'):
        Network(2, Dense(2), dtype=dtype)


@pytest.mark.parametrize("backend", ["avx", "AVX2", "neon", "cuda", "", 3, ["avx2"], True])
def test_backend(backend):
    known = ", ".join(nncore.get_config()["runnable"])
    if backend in nncore.get_config()["runnable"]:
        backend = "avx1024"
    with refused(ValueError, 'backend must be "auto", "reference" or', known, repr(backend)):
        Network(2, Dense(2), backend=backend)


@pytest.mark.parametrize("seed", ["a", 1.5, -1, [1.5], object()])
def test_seed(seed):
    with pytest.raises((ValueError, TypeError), match=r"\bseed\b"):
        Network(2, Dense(2), seed=seed)


# --- Layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -3, 2.0, 2.5, True, np.True_, "3", None, [3], np.nan])
def test_sizes(value):
    with refused(ValueError, f"n_in of Network must be an integer of at least 1, got {value!r}"):
        Network(value, Dense(2))
    with refused(ValueError, f"n_out of Dense must be an integer of at least 1, got {value!r}"):
        Dense(value)


def test_the_number_of_inputs_comes_first():
    message = "the first argument of Network is the number of inputs: Network(n_in, Dense(3, 'ide"
    for more in ([], [Dense(1)]):
        with refused(TypeError, message):
            Network(Dense(3), *more)


def test_layers_are_needed():
    with refused(ValueError, "Network needs at least one layer, such as nncore.Dense(1)"):
        Network(2)


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("value", [[Dense(2), Dense(1)], 10, "relu", Dense, None, (Dense(2),)])
def test_what_is_no_layer(value, position):
    layers = [Dense(3, "relu")] * position + [value]
    with refused(
        TypeError, f"layer {position} must be a layer such as nncore.Dense(10), got {value!r}; ",
        "layers are separate arguments, not a list.",
    ):  # fmt: skip
        Network(2, *layers)


@pytest.mark.parametrize("position", [0, 1])
def test_softmax_in_the_middle(position):
    layers = [Dense(3, "relu")] * position + [Dense(3, "softmax"), Dense(1)]
    with refused(ValueError, f"layer {position} is softmax, which only the last layer may be"):
        Network(2, *layers)


@pytest.mark.parametrize(
    ("loss", "needed"), [("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")]
)
@pytest.mark.parametrize("output", ["identity", "softmax", "sigmoid", "tanh"])
def test_loss_and_output_must_fit(loss, needed, output):
    if output == needed:
        assert Network(2, Dense(3, output), loss=loss).loss == loss
        return
    with refused(
        ValueError, f'{loss} needs a "{needed}" output, but the last layer is "{output}"',
        f'Use Dense(3, "{needed}").',
    ):  # fmt: skip
        Network(2, Dense(3, output), loss=loss)


def test_a_softmax_of_one_output():
    """It is constant, so it cannot learn."""
    fix = 'For two classes use Dense(1, "sigmoid") and binary_cross_entropy; for more, one output'
    for loss in (None, "cross_entropy", "mse"):
        with refused(ValueError, "a softmax of one output is always 1", fix):
            Network(2, Dense(3, "tanh"), Dense(1, "softmax"), loss=loss)
    with refused(ValueError, 'cross_entropy needs a "softmax" output', fix) as caught:
        Network(2, Dense(1, "sigmoid"), loss="cross_entropy")
    assert 'Dense(1, "softmax")' not in str(caught.value)


@pytest.mark.parametrize("init", [[[1, 2, 3], [4, 5, 6]], [1, 2], 3.0, [[[1]]], []])
def test_shape_of_init(init):
    message = f"init of Dense(2, 'relu') has shape {np.shape(init)}; expected (3, 2), one row per"
    with refused(ValueError, message):
        Network(3, Dense(2, "relu", init=init))


@pytest.mark.parametrize("init", [[[1, 2], [3]], [["a", "b"]], np.zeros, {"W": 1}, 1j])
def test_init_that_is_no_array(init):
    with pytest.raises((ValueError, TypeError), match=r"\binit\b"):
        Network(3, Dense(2, init=init))


@pytest.mark.parametrize(
    "init", [np.ones((3, 2), complex), np.ma.masked_all((3, 2)), np.full((3, 2), "1")]
)
def test_init_that_would_lose_something(init):
    """The imaginary part, the mask, or that it is text."""
    with refused(ValueError, "init must be the name of an initializer, ", "or an array (n_in, n_o"):
        Network(3, Dense(2, init=init))


# --- Optimizers -----------------------------------------------------------------------------------

RATES = [0, -0.1, np.nan, np.inf, -np.inf]
JUNK = [True, None, "fast", "0.1", [0.1], 1j, 10**400]
FRACTIONS = [1, -0.1, 1.5, np.nan, np.inf]


@pytest.mark.parametrize(
    ("kind", "name", "values", "wanted"),
    [
        (SGD, "lr", RATES, "must be positive and finite"),
        (SGD, "momentum", FRACTIONS, "must be at least 0 and below 1"),
        (Adam, "lr", RATES, "must be positive and finite"),
        (Adam, "eps", RATES, "must be positive and finite"),
        (Adam, "beta1", FRACTIONS, "must be at least 0 and below 1"),
        (Adam, "beta2", FRACTIONS, "must be at least 0 and below 1"),
    ],
)
def test_hyper_parameters(kind, name, values, wanted):
    for value in values:
        with refused(ValueError, f"{name} of {kind.__name__} {wanted}, got {float(value)!r}"):
            kind(**{name: value})


@pytest.mark.parametrize("value", JUNK, ids=lambda value: repr(value)[:9])
def test_hyper_parameters_that_are_no_numbers(value):
    for kind, name in [(SGD, "lr"), (SGD, "momentum"), (Adam, "lr"), (Adam, "beta2")]:
        with refused(ValueError, f"{name} of {kind.__name__} must be "):
            kind(**{name: value})


def test_nesterov_needs_momentum():
    with refused(ValueError, "nesterov=True needs a momentum above 0, such as momentum=0.9"):
        SGD(0.1, nesterov=True)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.array])
def test_numbers_of_numpy_are_numbers(kind):
    number = kind(0.5)
    assert SGD(number) == SGD(0.5) and type(SGD(number).lr) is float
    assert type(SGD(np.int8(1)).lr) is float


@pytest.mark.parametrize(
    ("name", "value"), [("lr", -1), ("lr", np.nan), ("lr", "a"), ("beta1", 1.0), ("eps", 0)]
)
def test_an_attribute_changed_to_nonsense(name, value):
    """It is refused where it is assigned, and the network goes on with the value it had."""
    network = regressor(optimizer=Adam())
    with refused(ValueError, f"{name} of Adam must be", network=network):
        setattr(network.optimizer, name, value)
    assert network.optimizer == Adam()
    network.partial_fit(X, Y)


def test_what_can_change_has_no_hash():
    with pytest.raises(TypeError, match="unhashable type: 'Adam'"):
        hash(Adam())


@pytest.mark.parametrize("use", ["partial_fit", "fit"])
def test_nonsense_that_was_not_assigned(use):
    network = regressor(optimizer=Adam())
    vars(network.optimizer)["lr"] = -1.0
    with refused(ValueError, "lr of Adam must be positive", network=network):
        USES[use](network, X, Y)


def test_changes_that_need_each_other():
    optimizer = SGD(0.1)
    with refused(ValueError, "nesterov=True needs a momentum above 0"):
        optimizer.nesterov = True
    assert optimizer == SGD(0.1)
    optimizer.momentum = np.float32(0.5)
    optimizer.nesterov = True
    assert optimizer == SGD(0.1, 0.5, True) and type(optimizer.momentum) is float


@pytest.mark.parametrize("name", ["learning_rate", "Lr", "rule", "state"])
@pytest.mark.parametrize(
    ("kind", "known"),
    [(SGD, "lr, momentum, nesterov, dampening"), (Adam, "lr, beta1, beta2, eps, amsgrad")],
)
def test_an_attribute_that_an_optimizer_does_not_have(kind, known, name):
    optimizer = kind()
    with refused(AttributeError, f"{kind.__name__} has no attribute {name!r}", f"Known: {known}, "):
        setattr(optimizer, name, 1)
    assert vars(optimizer) == vars(kind())


def test_attributes_that_a_subclass_of_an_optimizer_has():
    class Decaying(Adam):
        decay: float = 0.5
        peak: "int" = 0

        def __init__(self, *values, **named):
            self._seen = []
            super().__init__(*values, **named)

    class Plain(SGD):
        seen: ClassVar[list] = []
        epoch: int
        note = ""

        def __init__(self):
            super().__init__(0.1)
            self.epoch, self.note, self._cache = 3, "mine", {}

    optimizer, plain = Decaying(0.1), Plain()
    optimizer.decay, optimizer.peak = 1, 3
    assert optimizer.decay == 1.0 and plain.epoch == 3 and plain.note == "mine"
    with refused(ValueError, "decay of Decaying must be a number"):
        optimizer.decay = "fast"
    with refused(AttributeError, "Known: lr, momentum, nesterov, ", "must declare its own"):
        plain.other = 1
    assert "seen" not in repr(plain)


# --- Switches -------------------------------------------------------------------------------------


def test_switches_are_true_or_false():
    with pytest.raises(ValueError, match="bias of Dense must be True or False"):
        nncore.Dense(3, bias="no")
    with pytest.raises(ValueError, match="nesterov of SGD must be True or False"):
        nncore.SGD(0.1, momentum=0.5, nesterov="no")
