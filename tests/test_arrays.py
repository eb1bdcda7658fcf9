"""Whatever an array of inputs, targets or labels looks like, it counts as its numbers."""

import numpy as np
import pytest

import nncore
from nncore import SGD, Dense, Network

from .networks import classifier, labelled, quiet, regressor, state, valued


class Convertible:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


def looks(A):
    """The same matrix of zeros and ones in many memory layouts, types and containers."""
    A = np.ascontiguousarray(A, "float64")
    rows, n = A.shape
    wide = np.full((2 * rows + 3, 2 * n + 3), 99.0)

    def placed(where):
        view = wide.copy()[where]
        view[...] = A
        return view

    read_only = A.copy()
    read_only.flags.writeable = False
    raw = np.empty(A.nbytes + 1, np.uint8)
    misaligned = raw[1:].view("float64").reshape(A.shape)
    misaligned[...] = A
    record = np.zeros(rows, [("skip", "i1"), ("x", "f4", n)])
    record["x"] = A
    forms = {
        "fortran": np.asfortranarray(A),
        "slice": placed(np.s_[1 : rows + 1, 2 : n + 2]),
        "every other row": placed(np.s_[: 2 * rows : 2, :n]),
        "every other column": placed(np.s_[:rows, : 2 * n : 2]),
        "rows backwards": A[::-1].copy()[::-1],
        "columns backwards": A[:, ::-1].copy()[:, ::-1],
        "both backwards": A[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": read_only,
        "misaligned": misaligned,
        "field of records": record["x"],
        "swapped float64": A.astype(A.dtype.newbyteorder()),
        "swapped float32": A.astype(np.dtype("f4").newbyteorder()),
        "swapped int32": A.astype(np.dtype("i4").newbyteorder()),
        "list": A.tolist(),
        "list of arrays": list(A),
        "tuples of ints": tuple(tuple(int(v) for v in row) for row in A),
        "memoryview": memoryview(A),
        "convertible": Convertible(A),
        "subclass": A.view(np.recarray),
    }
    kinds = "? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 g".split()
    return forms | {np.dtype(kind).name: A.astype(kind) for kind in kinds}


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_every_look_of_inputs_and_targets_gives_the_same_bits(backend, dtype):
    rng = np.random.default_rng(0)
    X, Y = rng.integers(0, 2, (40, 5)), rng.integers(0, 2, (40, 2))
    for name, x, y in zip(looks(X), looks(X).values(), looks(Y).values(), strict=True):
        network, twin = (regressor(dtype, backend=backend) for _ in range(2))
        before = np.array(x).tobytes()
        assert network.predict(x).tobytes() == twin.predict(X).tobytes(), name
        assert network.evaluate(x, y) == twin.evaluate(X, Y), name
        a, b = network.loss_and_gradient(x, y), twin.loss_and_gradient(X, Y)
        assert a[0] == b[0] and a[1].tobytes() == b[1].tobytes(), name
        quiet(network, x, y, epochs=2, batch_size=16, validation_data=(x, y))
        quiet(twin, X, Y, epochs=2, batch_size=16)
        assert network.partial_fit(x, y) == twin.partial_fit(X, Y), name
        assert state(network) == state(twin), name
        assert np.array(x).tobytes() == before, name  # what the user gave is not changed


def test_one_row_for_all_without_copies():
    network = regressor()
    row = np.arange(5.0)
    many = np.broadcast_to(row, (1000, 5))
    out = network.predict(many)
    assert (out == out[0]).all() and out[0].tobytes() == network.predict(row[None]).tobytes()


@pytest.mark.parametrize("kind", ["i1", "u1", "i4", "u8", ">i8", "<i8", "list", "column", "every"])
def test_every_look_of_labels_gives_the_same_bits(kind):
    X, y = labelled()
    if kind == "list":
        labels = y.tolist()
    elif kind == "column":
        labels = y[:, None]
    elif kind == "every":
        labels = np.repeat(y, 2)[::2]
    else:
        labels = y.astype(kind)
    a, b = classifier(), classifier()
    quiet(a, X, y, epochs=2)
    quiet(b, X, labels, epochs=2)
    assert state(a) == state(b)
    assert a.evaluate(X, y) == b.evaluate(X, labels)


def test_boolean_labels():
    X, y = labelled()
    networks = [Network(5, Dense(2, "softmax"), seed=0) for _ in range(2)]
    quiet(networks[0], X, y > 0)
    quiet(networks[1], X, (y > 0).astype(int))
    assert state(networks[0]) == state(networks[1])


def test_one_output_takes_flat_targets():
    X, y = valued()
    networks = [Network(5, Dense(3, "tanh"), Dense(1), seed=0) for _ in range(3)]
    for network, target in zip(networks, (y[:, 0], y[:, :1], y[:, 0].tolist()), strict=True):
        loss, gradient = network.loss_and_gradient(X, target)
        expected = np.mean((network.predict(X)[:, 0] - y[:, 0]) ** 2)  # not a mean over (N, N)
        assert loss == pytest.approx(expected, rel=1e-5)
        quiet(network, X, target, epochs=2)
    assert len({network.theta.tobytes() for network in networks}) == 1


@pytest.mark.parametrize("width", [8, 256])
def test_inputs_may_be_the_weights_themselves(width):
    y = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32)
    layers = [nncore.Dense(width, "tanh"), nncore.Dense(width)]
    net = nncore.Network(width, *layers, seed=1, optimizer=nncore.Adam(0.05))
    twin = net.copy()
    for _ in range(2):
        assert net.partial_fit(net.layers[0].W, y) == twin.partial_fit(twin.layers[0].W.copy(), y)
    assert np.array_equal(net.theta, twin.theta)


def test_targets_that_are_parameters_are_read_as_they_were():
    X = np.random.default_rng(0).standard_normal((8, 400))
    a = Network(400, Dense(4), seed=1, optimizer=SGD(0.1), dtype="float64")
    b, y = a.copy(), np.broadcast_to(a.layers[0].W[0], (8, 4))
    b.fit(X, y.copy(), batch_size=2, shuffle=False, verbose=False)
    a.fit(X, y, batch_size=2, shuffle=False, verbose=False)
    assert (a.theta == b.theta).all()
