"""What is asked of a network that it cannot do: options, arrays, parameters, files, divergence."""

import re

import numpy as np
import pytest

import nncore
from nncore import SGD, Dense, Network

from .refusals import X, Y, refused, regressor, state

# --- Options of fit -------------------------------------------------------------------------------


NO_COUNTS = [0, -1, 1.5, 2.0, True, np.True_, "3", np.nan, [2], "fill"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", None), *((name, v) for name in ("epochs", "batch_size") for v in NO_COUNTS)],
)
def test_numbers_of_fit(name, value):
    network = regressor()
    message = f"{name} must be an integer"
    with refused(ValueError, message, f"got {value!r}", network=network):
        network.fit(X, Y, verbose=False, **{name: value})
    network.fit(X, Y, verbose=False, **{name: np.int32(2)})


@pytest.mark.parametrize("value", ["yes", 3, None, "AUTO"])
def test_verbose(value):
    network = regressor()
    message = f'verbose must be 0, 1, 2, True, False or "auto", got {value!r}'
    with refused(ValueError, message, network=network):
        network.fit(X, Y, verbose=value)


@pytest.mark.parametrize(
    "value", [3, "Xy", X, np.zeros((2, 3)), (X,), (X, Y, None, Y), [X], {"X": X, "y": Y}, (), True]
)
def test_validation_data(value):
    network = regressor()
    with refused(ValueError, "validation_data must be a tuple (X, y)", network=network):
        network.fit(X, Y, validation_data=value, verbose=False)


# --- Losses and parameters that are not finite ----------------------------------------------------


def test_divergence():
    data = X.astype("float32"), np.zeros((100, 2), "float32")
    network = Network(3, Dense(4, "relu"), Dense(2), optimizer=SGD(40), seed=0)
    twin = network.copy()
    with pytest.raises(FloatingPointError) as caught:
        network.fit(*data, epochs=50, batch_size=10, shuffle=False, verbose=False)
    pattern = (
        r"Loss became (inf|nan) at epoch (\d+), batch (\d+); that update was not applied. Try a "
        r"smaller learning rate, or scale the inputs and targets\."
    )
    match = re.fullmatch(pattern, str(caught.value))
    steps = (int(match[2]) - 1) * 10 + int(match[3]) - 1
    assert network._engine.n_updates == steps > 0
    for i in range(steps):
        rows = slice(i % 10 * 10, i % 10 * 10 + 10)
        assert np.isfinite(twin.partial_fit(data[0][rows], data[1][rows]))
    assert network.theta.tobytes() == twin.theta.tobytes()
    rows = slice(steps % 10 * 10, steps % 10 * 10 + 10)
    before = state(network)
    with pytest.raises(FloatingPointError, match=r"Loss became (inf|nan); that update was "):
        network.partial_fit(data[0][rows], data[1][rows])
    assert state(network) == before


def test_an_update_that_overflows_is_told():
    network = nncore.Network(1, nncore.Dense(1, init=[[1e-10]]), optimizer="sgd")
    with pytest.raises(FloatingPointError, match="The last update made parameters infinite"):
        network.partial_fit([[3e25]], [[0.0]])


NEW_ONE = "make a new network, or go back to a copy made before, and use a smaller learning rate"


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_parameters_that_are_lost_need_a_new_network(value):
    """A smaller learning rate alone would bring the same error again."""
    network = Network(1, Dense(1), optimizer="sgd")
    network.layers[0].W = value
    lost = "" if value == 1e30 else "The parameters are no longer finite: " + NEW_ONE
    with refused(FloatingPointError, "at epoch 1, batch 1;", NEW_ONE, lost):
        network.fit([[1.0]], [[0.0]], verbose=False)
    with refused(FloatingPointError, "; that update was not applied", NEW_ONE, lost) as caught:
        network.partial_fit([[1.0]], [[0.0]])
    assert "epoch" not in str(caught.value)


def test_a_loss_that_grew_in_this_fit_asks_for_a_smaller_rate():
    network = Network(1, Dense(1, init=[[1.0]]), optimizer=SGD(1e12))
    with pytest.raises(FloatingPointError, match=r"batch \d; .* Try a smaller learning rate"):
        network.fit(np.ones((9, 1)), np.zeros(9), batch_size=1, verbose=False)


# --- Output arrays --------------------------------------------------------------------------------


def read_only():
    out = np.empty((100, 2), "float32")
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "error", "got"),
    [
        ([[0, 0]] * 100, TypeError, "list"),
        ("out", TypeError, "str"),
        (memoryview(np.empty((100, 2), "f4")), TypeError, "memoryview"),
        (np.ma.masked_all((100, 2), "f4"), TypeError, "MaskedArray"),
        (np.empty((100, 2)), ValueError, "float64 of shape (100, 2)"),
        (np.empty((100, 2), ">f4"), ValueError, ">f4 of shape (100, 2)"),
        (np.empty((100, 2), "i4"), ValueError, "int32 of shape (100, 2)"),
        (np.empty((100, 2), object), ValueError, "object of shape (100, 2)"),
        (np.empty((100, 3), "f4"), ValueError, "float32 of shape (100, 3)"),
        (np.empty((99, 2), "f4"), ValueError, "float32 of shape (99, 2)"),
        (np.empty((2, 100), "f4"), ValueError, "float32 of shape (2, 100)"),
        (np.empty(200, "f4"), ValueError, "float32 of shape (200,)"),
        (np.empty((100, 2, 1), "f4"), ValueError, "float32 of shape (100, 2, 1)"),
        (np.empty((0, 2), "f4"), ValueError, "float32 of shape (0, 2)"),
        (read_only(), ValueError, "a read-only array"),
        (np.broadcast_to(np.float32(0), (100, 2)), ValueError, "a read-only array"),
    ],
)
def test_out(out, error, got):
    network = regressor()
    before = np.array(out).tobytes() if isinstance(out, np.ndarray) and out.dtype != object else 0
    message = f"out must be a writable float32 array of shape (100, 2), got {got}"
    with refused(error, message, network=network):
        network.predict(X, out=out)
    assert before == 0 or np.array(out).tobytes() == before


def test_out_is_not_touched_if_x_is_wrong():
    out = np.full((100, 2), 7, "float32")
    with refused(ValueError, "got X with shape (100, 4)"):
        regressor().predict(np.zeros((100, 4)), out=out)
    assert (out == 7).all()


# --- Parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[1, 2], np.zeros(15), np.zeros((14, 1)), 0, []])
def test_theta(values):
    network = regressor()
    message = f"theta has shape (14,), got {np.shape(values)}"
    with refused(ValueError, message, network=network):
        network.theta = values


@pytest.mark.parametrize("values", ["abc", None, ["a"] * 14, object()])
def test_theta_of_other_types(values):
    network = regressor()
    before = state(network)
    with pytest.raises((ValueError, TypeError)):
        network.theta = values
    assert state(network) == before


@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [("W", (2, 3), "(3, 2)"), ("W", (3,), "(3, 2)"), ("b", (3,), "(2,)")],
)
def test_shapes_of_weights(name, shape, wanted):
    network = regressor()
    with refused(ValueError, wanted, str(shape), network=network):
        setattr(network.layers[0], name, np.zeros(shape))


def test_a_description_has_no_weights():
    layer = Dense(3, "tanh")
    Network(2, layer)
    for name in "W", "b":
        with refused(AttributeError, "Dense(3, 'tanh') is only a description", "net.layers[i].W"):
            getattr(layer, name)
        with refused(AttributeError, "Dense(3, 'tanh') is only a description", "net.layers[i].W"):
            setattr(layer, name, 0)


@pytest.mark.parametrize("value", [None, "1", 1j, [[None]]])
def test_parameters_are_numbers(value):
    network = regressor()
    with refused(ValueError, "W is None" if value is None else "W has dtype", network=network):
        network.layers[0].W = value
    with refused(ValueError, "theta has dtype", network=network):
        network.theta = np.full(
            network.n_params, value, dtype=None if value != [[None]] else object
        )


# --- Files ----------------------------------------------------------------------------------------


def test_files(tmp_path):
    network, path = regressor(), tmp_path / "m.safetensors"
    with refused(FileNotFoundError, str(path)):
        nncore.load(path)
    with refused(nncore.files.FileFormatError, str(tmp_path), "regular file"):
        nncore.load(tmp_path)
    path.write_text("hello")
    with refused(nncore.files.FileFormatError, str(path), "not a safetensors file"):
        nncore.load(path)
    path.write_bytes(b"\x80\x04\x95" + bytes(500))
    with refused(nncore.files.FileFormatError, str(path)):
        nncore.load(path)
    nncore.files.write(path, {"weight": np.zeros(3)}, {"format": "pt"})
    with refused(
        nncore.files.FileFormatError, f"{path} is not a network of nncore: 'nncore' is missing"
    ):
        nncore.load(path)
    network.save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with refused(nncore.files.FileFormatError, str(path), "copy the file again"):
        nncore.load(path)
    for value in (None, 3.5):
        with refused(TypeError, "os.PathLike"):
            nncore.load(value)
        with refused(TypeError, "os.PathLike", network=network):
            network.save(value)
    with refused(FileNotFoundError, "nowhere", network=network):
        network.save(tmp_path / "nowhere" / "m.safetensors")


def test_load_with_a_wrong_backend_does_not_blame_the_file(tmp_path):
    regressor().save(tmp_path / "m")
    with refused(ValueError, 'backend must be "auto"', "'cuda'"):
        nncore.load(tmp_path / "m", backend="cuda")


# --- What is fixed --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n_in", "n_out", "n_params", "loss", "dtype", "layers"])
def test_what_the_engine_was_made_for_is_fixed(name):
    network = regressor()
    before = getattr(network, name)
    with pytest.raises(AttributeError, match=f"{name} is fixed"):
        setattr(network, name, before)
    assert getattr(network, name) is before


@pytest.mark.parametrize("name", ["n_out", "activation", "bias"])
def test_a_layer_in_a_network_is_fixed(name):
    layer = regressor().layers[0]
    with pytest.raises(AttributeError, match=f"{name} is fixed"):
        setattr(layer, name, getattr(layer, name))
