"""Network from outside: it learns, does what plain NumPy does, keeps its promises about bits."""

import copy
import io
import itertools
import re
import sys
import threading

import numpy as np
import pytest

import nncore
from nncore import SGD, Adam, Dense, Network

ISAS = nncore.get_config()["runnable"]
BACKENDS = (*ISAS, "reference")
OPTIMIZERS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.05, momentum=0.9),
    "nesterov": SGD(0.05, momentum=0.9, nesterov=True),
    "adam": Adam(0.01),
}
ACTIVATIONS = ["identity", "relu", "sigmoid", "softplus", "softsign", "tanh"]
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in ("float32", "float64")}
backends = pytest.mark.parametrize("backend", BACKENDS)
isas = pytest.mark.parametrize("isa", ISAS)
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def classifier(dtype="float64", optimizer="adam", seed=3, **options):
    """5-7-6-3, of sizes that fill no vector."""
    layers = Dense(7, "tanh"), Dense(6, "softsign"), Dense(3, "softmax")
    optimizer = copy.copy(OPTIMIZERS[optimizer])
    return Network(5, *layers, optimizer=optimizer, dtype=dtype, seed=seed, **options)


def regressor(dtype="float64", optimizer="sgd", seed=3, **options):
    layers = Dense(7, "softplus"), Dense(2)
    optimizer = copy.copy(OPTIMIZERS[optimizer])
    return Network(5, *layers, optimizer=optimizer, dtype=dtype, seed=seed, **options)


def labelled(rows=50, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 5))
    return X, (X @ rng.normal(size=(5, 3))).argmax(axis=1)


def valued(rows=50, seed=0):
    X, _ = labelled(rows, seed)
    return X, np.column_stack([np.sin(X[:, 0]) - X[:, 1], X[:, 2] * X[:, 3]])


def state(network):
    """Everything that training changes, as comparable values."""
    engine = network._engine
    return (
        network.theta.tobytes(),
        engine.state.tobytes(),
        engine.n_updates,
        network._rng.bit_generator.state,
    )


def quiet(network, X, y, **options):
    return network.fit(X, y, verbose=False, **options)


# --- It learns ------------------------------------------------------------------------------------

XOR = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])


@dtypes
@backends
def test_learns_xor(backend, dtype):
    network = Network(
        2, Dense(8, "tanh"), Dense(1, "sigmoid"), optimizer=Adam(0.1), dtype=dtype, seed=0,
        backend=backend,
    )  # fmt: skip
    history = quiet(network, *XOR, epochs=300, batch_size=4)
    assert history["loss"][0] > 0.5 and history["loss"][-1] < 0.01
    np.testing.assert_array_equal(network.predict(XOR[0]).ravel() > 0.5, XOR[1])
    assert network.evaluate(*XOR)["accuracy"] == 1


def spirals(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    radius = np.sqrt(rng.uniform(0.02, 1, rows))
    angle = 5 * radius + labels * 2 * np.pi / 3 + rng.normal(0, 0.08, rows)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), labels


@dtypes
def test_learns_three_spirals(dtype):
    network = Network(
        2, Dense(24, "relu"), Dense(24, "tanh"), Dense(3, "softmax"), optimizer=Adam(0.01),
        dtype=dtype, seed=0,
    )  # fmt: skip
    linear = Network(2, Dense(3, "softmax"), optimizer=Adam(0.01), dtype=dtype, seed=0)
    train, test = spirals(900, 0), spirals(600, 1)
    for each in (network, linear):
        quiet(each, *train, epochs=80, batch_size=32)
    assert network.evaluate(*test)["accuracy"] > 0.96
    assert linear.evaluate(*test)["accuracy"] < 0.75  # so the layers between do the work


def moons(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    angle = rng.uniform(0, np.pi, rows)
    X = np.column_stack([np.cos(angle), np.sin(angle)])
    X[labels == 1] = [1, 0.5] - X[labels == 1]
    return X + rng.normal(0, 0.1, (rows, 2)), labels


@optimizers
def test_learns_two_moons(optimizer):
    network = Network(
        2, Dense(16, "softplus"), Dense(1, "sigmoid"), optimizer=copy.copy(OPTIMIZERS[optimizer]),
        seed=0,
    )  # fmt: skip
    if optimizer == "sgd":
        network.optimizer.lr = 1
    history = quiet(network, *moons(400, 0), epochs=150, validation_data=moons(300, 1))
    assert history["val_accuracy"][-1] > 0.95
    assert history["val_loss"][-1] < 0.2 < history["val_loss"][0]


@pytest.mark.parametrize("loss", ["mse", "half_mse"])
def test_learns_a_function(loss):
    x = np.linspace(-3, 3, 200)
    network = Network(
        1, Dense(20, "tanh"), Dense(2), loss=loss, optimizer=Adam(0.02), dtype="float64", seed=0
    )
    y = np.column_stack([np.sin(x), x**2 / 9])
    quiet(network, x[:, None], y, epochs=300, batch_size=20)
    assert np.abs(network.predict(x[:, None]) - y).max() < 0.1


# --- The worked example: 3-2-1, sigmoid, target 0, one step of SGD(0.1) ---------------------------
# Worked out with 40 decimal digits.

GOLDEN = {
    "half_mse": (
        0.29295839892268616,
        [
            *(0.09982033389812673, 0.19959686203731685),
            *(0.29976044519750231, 0.09946248271642247),
            *(0.49979038954781452, -0.00047032762313034),
            *(0.09970055649687788, 0.09932810339552809),
            *(0.09066634595793801, 0.19210568923100635),
            0.98625743997361194,
        ],
        0.76098665900378620,
    ),
    "binary_cross_entropy": (
        1.45009511462222929,
        [
            *(0.09899927101876634, 0.19775454669252477),
            *(0.29866569469168846, 0.09700606225669969),
            *(0.49883248285522740, -0.00261969552538777),
            *(0.09833211836461057, 0.09625757782087462),
            *(0.04801212914783178, 0.15602918140357222),
            0.92345479780904800,
        ],
        0.73987024230944136,
    ),
}


@pytest.mark.parametrize("loss", GOLDEN)
@dtypes
@backends
def test_worked_example(backend, dtype, loss):
    network = Network(
        3, Dense(2, "sigmoid", init=[[0.1, 0.2], [0.3, 0.1], [0.5, 0]]),
        Dense(1, "sigmoid", init=[[0.1], [0.2]]), loss=loss, optimizer=SGD(0.1), dtype=dtype,
        backend=backend,
    )  # fmt: skip
    network.layers[0].b = [0.1, 0.1]
    network.layers[1].b = 1
    np.testing.assert_array_equal(
        network.theta, np.array([0.1, 0.2, 0.3, 0.1, 0.5, 0, 0.1, 0.1, 0.1, 0.2, 1], dtype)
    )
    # A handful of roundings of numbers up to 1.5.
    exact = {"rtol": 0, "atol": 8 * EPS[dtype]}
    value, theta, output = GOLDEN[loss]
    X, y = [[0.6, 0.8, 0.7]], [0]
    np.testing.assert_allclose(network.predict(X), [[0.76545202190952002]], **exact)
    history = quiet(network, X, y, batch_size=1)
    np.testing.assert_allclose(history["loss"], [value], **exact)
    np.testing.assert_allclose(network.theta, theta, **exact)
    np.testing.assert_allclose(network.predict(X), [[output]], **exact)


# --- fit against plain NumPy ----------------------------------------------------------------------


def online_sgd(theta, X, Y, order, lr):
    """The textbook loop for 5-7-2, tanh, identity, half squared error; return the losses."""
    W1, b1 = theta[:35].reshape(5, 7).copy(), theta[35:42].copy()
    W2, b2 = theta[42:56].reshape(7, 2).copy(), theta[56:].copy()
    losses = []
    for i in order:
        h = np.tanh(X[i] @ W1 + b1)
        error = h @ W2 + b2 - Y[i]
        losses.append(error @ error / 2)
        back = W2 @ error * (1 - h * h)
        W2 -= lr * np.outer(h, error)
        b2 -= lr * error
        W1 -= lr * np.outer(X[i], back)
        b1 -= lr * back
    return np.concatenate([W1.ravel(), b1, W2.ravel(), b2]), losses


@pytest.mark.parametrize("shuffle", [True, False])
@isas
def test_batch_size_1_is_online_learning(isa, shuffle):
    X, Y = valued(60)
    network = Network(
        5, Dense(7, "tanh"), Dense(2), loss="half_mse", optimizer=SGD(0.05), dtype="float64",
        seed=1, backend=isa,
    )  # fmt: skip
    start, rng = network.theta.copy(), copy.deepcopy(network._rng)
    history = quiet(network, X, Y, epochs=3, batch_size=1, shuffle=shuffle)
    orders = [rng.permutation(60) if shuffle else np.arange(60) for _ in range(3)]
    theta, losses = online_sgd(start, X, Y, np.concatenate(orders), 0.05)
    np.testing.assert_allclose(network.theta, theta, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(history["loss"], np.mean(np.split(np.array(losses), 3), axis=1))
    assert history.n_steps == 180


def test_an_epoch_visits_every_row_once():
    """With next to no learning, the mean of the batches' losses is the loss of the data."""
    X, Y = valued(101)
    Y *= np.arange(1, 102)[:, None]  # losses of the rows are far apart
    network = regressor(optimizer="sgd")
    network.optimizer = SGD(1e-14)
    loss = network.evaluate(X, Y)["loss"]
    for batch_size in (1, 7, 32, 100, "full"):
        history = quiet(network, X, Y, epochs=2, batch_size=batch_size)
        np.testing.assert_allclose(history["loss"], loss, rtol=1e-9)


def test_each_epoch_has_its_own_order():
    X, Y = valued(40)
    network = regressor()
    rng = copy.deepcopy(network._rng)
    twin = network.copy()
    quiet(network, X, Y, epochs=3, batch_size=8)
    for _ in range(3):
        order = rng.permutation(40)
        quiet(twin, X[order], Y[order], batch_size=8, shuffle=False)
    assert network.theta.tobytes() == twin.theta.tobytes()


@dtypes
@optimizers
def test_full_batch_is_one_step_along_the_gradient(optimizer, dtype):
    X, y = labelled(400)
    networks = [classifier(dtype, optimizer) for _ in range(3)]
    for network, size in zip(networks, ("full", 400, 10**6), strict=True):
        history = quiet(network, X, y, epochs=4, batch_size=size, shuffle=False)
        assert history.n_steps == 4
    assert len({state(network)[:3] for network in networks}) == 1
    network = classifier(dtype, "sgd")
    loss, gradient = network.loss_and_gradient(X, y)
    expected = network.theta - 0.1 * gradient.astype("float64")
    history = quiet(network, X, y, batch_size="full")
    assert history["loss"] == pytest.approx([loss], rel=10 * EPS[dtype])
    np.testing.assert_allclose(network.theta, expected, atol=4 * EPS[dtype])


@optimizers
@isas
def test_engine_and_reference_train_alike_in_float64(isa, optimizer):
    X, y = labelled(50)
    engine, oracle = (classifier("float64", optimizer, backend=b) for b in (isa, "reference"))
    assert engine.theta.tobytes() == oracle.theta.tobytes()
    for fit in ({"batch_size": 16}, {"batch_size": "full"}):  # 40 steps and 10
        a, b = (quiet(network, X, y, epochs=10, **fit) for network in (engine, oracle))
        assert a.n_steps == b.n_steps
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-10)
    assert engine._engine.n_updates == oracle._engine.n_updates == 50
    np.testing.assert_allclose(engine.theta, oracle.theta, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(engine._engine.state, oracle._engine.state, rtol=1e-7, atol=1e-11)


@optimizers
@isas
def test_engine_and_reference_train_alike_in_float32(isa, optimizer):
    """Two float32 runs may differ by what float32 itself costs: the distance to float64."""
    X, y = labelled(50)
    exact, oracle, engine = (
        classifier(dtype, optimizer, backend=b)
        for dtype, b in [("float64", "reference"), ("float32", "reference"), ("float32", isa)]
    )
    exact.theta = oracle.theta
    curves = [np.array(quiet(n, X, y, epochs=12, batch_size=16)["loss"])
              for n in (exact, oracle, engine)]  # fmt: skip
    cost = max(np.abs(curves[1] / curves[0] - 1).max(), 4 * EPS["float32"])
    assert cost < 1e-5
    assert np.abs(curves[2] / curves[0] - 1).max() <= 4 * cost
    cost = max(np.abs(oracle.theta - exact.theta).max(), 4 * EPS["float32"])
    assert np.abs(engine.theta - exact.theta).max() <= 4 * cost


NETWORKS = [
    ("relu", "identity", "mse"),
    ("softplus", "tanh", "half_mse"),
    ("softsign", "softmax", "mse"),
    ("tanh", "softsign", "half_mse"),
    ("identity", "softplus", "mse"),
    ("sigmoid", "sigmoid", "binary_cross_entropy"),
    ("tanh", "softmax", "cross_entropy"),
]


def of_kind(hidden, output, loss, n_out=3, **options):
    return Network(4, Dense(9, hidden), Dense(5, "tanh"), Dense(n_out, output, bias=False),
                   loss=loss, **options)  # fmt: skip


def soft_targets(rows, n_out=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 4)), rng.dirichlet(np.ones(n_out), rows)


@pytest.mark.parametrize("rows", [257, 600])
@pytest.mark.parametrize(("hidden", "output", "loss"), NETWORKS)
def test_batches_over_256_rows(hidden, output, loss, rows):
    """The engine takes batches through in blocks; that must not show."""
    X, Y = soft_targets(rows)
    engine, oracle = (
        of_kind(hidden, output, loss, dtype="float64", seed=0, backend=b)
        for b in ("auto", "reference")
    )
    a, b = (network.loss_and_gradient(X, Y) for network in (engine, oracle))
    assert a[0] == pytest.approx(b[0], rel=1e-13)
    np.testing.assert_allclose(a[1], b[1], rtol=1e-11, atol=1e-13)
    assert engine.evaluate(X, Y) == pytest.approx(oracle.evaluate(X, Y), rel=1e-13)
    assert engine.evaluate(X, Y)["loss"] == pytest.approx(a[0], rel=1e-13)
    for size in (256, 300, "full"):
        a, b = (quiet(network, X, Y, epochs=2, batch_size=size) for network in (engine, oracle))
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-11)
    np.testing.assert_allclose(engine.theta, oracle.theta, rtol=1e-8, atol=1e-11)


@optimizers
def test_partial_fit_does_the_steps_of_fit(optimizer):
    X, y = labelled(50)
    a, b = (classifier("float32", optimizer) for _ in range(2))
    history = quiet(a, X, y, batch_size=16, shuffle=False)
    losses = [b.partial_fit(X[i : i + 16], y[i : i + 16]) for i in range(0, 50, 16)]
    assert [len(losses), history.n_steps] == [4, 4]
    assert all(type(loss) is float for loss in losses)
    assert history["loss"] == [pytest.approx(np.dot(losses, [16, 16, 16, 2]) / 50, rel=1e-15)]
    assert state(a) == state(b)
    assert b._engine.n_updates == 4


def test_partial_fit_returns_the_loss_before_the_update():
    X, y = labelled()
    network = classifier()
    before = network.evaluate(X, y)["loss"]
    assert network.partial_fit(X, y) == pytest.approx(before, rel=1e-14)
    assert network.evaluate(X, y)["loss"] < before


# --- predict --------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("output", [*ACTIVATIONS, "softmax"])
@backends
def test_predict_is_the_formula(backend, output, dtype):
    X, _ = soft_targets(300)
    network = of_kind("softplus", output, "mse", dtype=dtype, seed=0, backend=backend)
    a, b, c = network.layers
    h = np.logaddexp(0, X @ a.W.astype("float64") + a.b)
    z = np.tanh(h @ b.W.astype("float64") + b.b) @ c.W.astype("float64")
    expected = {
        "identity": z,
        "relu": np.where(z > 0, z, 0),
        "sigmoid": 1 / (1 + np.exp(-z)),
        "softplus": np.log1p(np.exp(z)),
        "softsign": z / (1 + abs(z)),
        "tanh": np.tanh(z),
        "softmax": np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    }[output]
    got = network.predict(X)
    assert got.dtype == dtype and got.shape == (300, 3) and got.flags.c_contiguous
    np.testing.assert_allclose(got, expected, rtol=0, atol=32 * EPS[dtype])


@dtypes
@isas
@pytest.mark.parametrize("n_out", [1, 3, 33])
def test_a_row_alone_has_the_bits_it_has_in_a_batch(n_out, isa, dtype):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(600, 20)).astype(dtype)
    network = Network(
        20, Dense(37, "tanh"), Dense(17, "softplus"),
        Dense(n_out, "softmax" if n_out > 1 else "sigmoid"), loss="mse",
        dtype=dtype, seed=0, backend=isa,
    )  # fmt: skip
    whole = network.predict(X)
    for rows in [*range(1, 20), 63, 64, 65, 255, 256, 257, 511, 513]:
        start = int(rng.integers(0, 600 - rows))
        assert network.predict(X[start : start + rows]).tobytes() == (
            whole[start : start + rows].tobytes()
        )
    for i in (0, 255, 256, 599):
        assert network.predict(X[i : i + 1]).tobytes() == whole[i].tobytes()
    order = rng.permutation(600)
    assert network.predict(X[order]).tobytes() == whole[order].tobytes()


@dtypes
@backends
@pytest.mark.parametrize("output", ["identity", "tanh", "softsign", "softmax"])
def test_predict_into_out(output, backend, dtype):
    X, _ = soft_targets(300)
    network = of_kind("relu", output, "mse", dtype=dtype, seed=0, backend=backend)
    expected = network.predict(X)
    base = np.full((604, 11), 7, dtype)
    raw = np.empty(300 * 3 * base.itemsize + 1, np.uint8)
    outs = {
        "contiguous": np.empty((300, 3), dtype),
        "fortran": np.empty((300, 3), dtype, order="F"),
        "columns of a wider one": base[:300, 4:7],
        "every other row": base[:600:2, 4:7],
        "rows backwards": base[303:3:-1, 4:7],
        "every other column": base[:300, 4:9:2],
        "columns backwards": base[:300, 6:3:-1],
        "misaligned": raw[1:].view(dtype).reshape(300, 3),
        "transposed": np.empty((3, 300), dtype).T,
    }
    for name, out in outs.items():
        base[...] = 7
        assert network.predict(X, out=out) is out, name
        assert out.tobytes() == expected.tobytes(), name
        if out.base is base:
            out[...] = 7
            assert (base == 7).all(), name  # nothing beside it was written


@backends
def test_out_may_overlap_the_inputs(backend):
    network = Network(4, Dense(9, "tanh"), Dense(4), dtype="float64", seed=0, backend=backend)
    base = np.random.default_rng(0).normal(size=(901, 6))
    cases = [
        (np.s_[:900, :4], np.s_[:900, :4]),
        (np.s_[:900, :4], np.s_[1:, :4]),
        (np.s_[1:, :4], np.s_[:900, :4]),
        (np.s_[:900, :4], np.s_[:900, 2:]),
        (np.s_[:900, :4], np.s_[899::-1, :4]),
        (np.s_[899::-1, :4], np.s_[:900, :4]),
        (np.s_[899::-1, :4], np.s_[1:, 2:]),
        (np.s_[:300, :4], np.s_[0:900:3, 2:]),
    ]
    for source, target in cases:
        shared = base.copy()
        expected = network.predict(shared[source].copy())
        out = shared[target]
        assert network.predict(shared[source], out=out) is out
        assert out.tobytes() == expected.tobytes()


def test_predict_of_no_rows():
    network = classifier()
    assert network.predict(np.empty((0, 5))).shape == (0, 3)
    out = np.empty((0, 3))
    assert network.predict(np.empty((0, 5)), out=out) is out


@backends
def test_predict_of_no_rows_that_are_not_aligned(backend):
    """NumPy calls such arrays aligned, since nothing is in them; the engine sees the pointer."""
    network = classifier(backend=backend)
    X, out = (np.ndarray((0, n), network.dtype, bytearray(9), offset=1) for n in (5, 3))
    assert X.flags.aligned and X.ctypes.data % X.itemsize
    assert network.predict(X).shape == (0, 3)
    assert network.predict(X, out=out) is out


@backends
def test_nan_stays_in_its_row(backend):
    X, _ = soft_targets(20)
    for hidden, output in itertools.product(ACTIVATIONS, [*ACTIVATIONS, "softmax"]):
        network = of_kind(hidden, output, "mse", dtype="float64", seed=0, backend=backend)
        expected = network.predict(X)
        bad = X.copy()
        bad[7, 2] = np.nan
        got = network.predict(bad)
        assert np.isnan(got[7]).all(), (hidden, output)
        np.testing.assert_allclose(np.delete(got, 7, 0), np.delete(expected, 7, 0), rtol=1e-14)


# --- Whatever an array looks like -----------------------------------------------------------------


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


@dtypes
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


# --- evaluate, loss_and_gradient ------------------------------------------------------------------


@backends
def test_evaluate(backend):
    X, Y = soft_targets(300)
    for output, loss in [("identity", "mse"), ("softmax", "mse"), ("tanh", "half_mse")]:
        network = of_kind("tanh", output, loss, dtype="float64", seed=0, backend=backend)
        squares = (network.predict(X) - Y) ** 2
        value = squares.mean() if loss == "mse" else squares.sum() / 600
        assert network.evaluate(X, Y) == {"loss": pytest.approx(value, rel=1e-12)}

    labels = Y.argmax(axis=1)
    network = of_kind("tanh", "softmax", "cross_entropy", dtype="float64", seed=0, backend=backend)
    p = network.predict(X)
    expected = {
        "loss": pytest.approx(-np.log(p[np.arange(300), labels]).mean(), rel=1e-12),
        "accuracy": np.mean(p.argmax(axis=1) == labels),
    }
    assert network.evaluate(X, labels) == expected
    assert network.evaluate(X, np.eye(3)[labels]) == expected
    expected["loss"] = pytest.approx(-(Y * np.log(p)).sum() / 300, rel=1e-12)
    assert network.evaluate(X, Y) == expected

    bits = (Y > 0.3).astype(int)
    network = of_kind("tanh", "sigmoid", None, dtype="float64", seed=0, backend=backend)
    assert network.loss == "binary_cross_entropy"
    p = network.predict(X)
    assert network.evaluate(X, bits) == {
        "loss": pytest.approx(-np.where(bits, np.log(p), np.log(1 - p)).mean(), rel=1e-12),
        "accuracy": np.mean((p > 0.5) == bits),
    }
    assert all(type(value) is float for value in network.evaluate(X, bits).values())


@isas
@pytest.mark.parametrize("rows", [9, 300])
@pytest.mark.parametrize(("hidden", "output", "loss"), NETWORKS)
def test_gradient_is_that_of_the_loss(hidden, output, loss, rows, isa):
    X, Y = soft_targets(rows)
    network = of_kind(hidden, output, loss, dtype="float64", seed=0, backend=isa)
    network.theta += np.random.default_rng(1).normal(0, 0.2, network.n_params)  # no bias is zero
    before = state(network)
    value, gradient = network.loss_and_gradient(X, Y)
    assert state(network) == before
    assert type(value) is float and gradient.shape == (network.n_params,)
    assert value == pytest.approx(network.evaluate(X, Y)["loss"], rel=1e-14)
    expected, h = np.empty(network.n_params), 1e-5
    for i in range(network.n_params):
        middle = network.theta[i]
        network.theta[i] = middle + h
        above = network.evaluate(X, Y)["loss"]
        network.theta[i] = middle - h
        expected[i] = (above - network.evaluate(X, Y)["loss"]) / (2 * h)
        network.theta[i] = middle
    size = np.abs(expected).max()
    assert size > 1e-3, "nearly zero: this would compare rounding errors"
    assert np.abs(gradient - expected).max() <= 1e-6 * size


def test_every_gradient_is_an_array_of_its_own():
    X, y = labelled()
    network = classifier("float32")
    first = network.loss_and_gradient(X, y)[1]
    kept = first.copy()
    network.partial_fit(X, y)
    second = network.loss_and_gradient(X, y)[1]
    assert first.dtype == np.float32 and not np.may_share_memory(first, network.theta)
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)


@dtypes
@backends
def test_labels_are_one_hot_rows(backend, dtype):
    X, y = labelled(300)
    a, b = (classifier(dtype, backend=backend) for _ in range(2))
    eps = EPS[dtype]
    (loss, gradient), (value, other) = (
        network.loss_and_gradient(X, t) for network, t in ((a, y), (b, np.eye(3, dtype=int)[y]))
    )
    assert loss == pytest.approx(value, rel=32 * eps)
    np.testing.assert_allclose(gradient, other, rtol=0, atol=32 * eps)
    histories = quiet(a, X, y, epochs=3), quiet(b, X, np.eye(3)[y], epochs=3)
    np.testing.assert_allclose(*(h["loss"] for h in histories), rtol=1000 * eps)


# --- Parameters -----------------------------------------------------------------------------------


@backends
def test_theta_and_the_layers_are_one_block(backend):
    network = classifier("float32", backend=backend)
    X, y = labelled()
    first, second, third = network.layers
    assert network.n_params == network.theta.size == 5 * 7 + 7 + 7 * 6 + 6 + 6 * 3 + 3
    flat = [p.ravel() for layer in network.layers for p in (layer.W, layer.b)]
    np.testing.assert_array_equal(network.theta, np.concatenate(flat))
    for array in (network.theta, first.W, first.b, second.W, second.b, third.W, third.b):
        assert np.shares_memory(array, network.theta) and array.flags.writeable
        before = network.predict(X)
        array += 0.25
        assert not np.array_equal(network.predict(X), before)  # the engine sees it
    first.W[4, 6] = 3
    first.b[0] = 4
    second.W[0, 1] = 5
    assert (network.theta[34], network.theta[35], network.theta[43]) == (3, 4, 5)
    network.theta[34] = -1
    assert first.W[4, 6] == -1
    theta, W = network.theta, first.W
    quiet(network, X, y)
    assert np.shares_memory(theta, network.theta) and W.tobytes() == theta[:35].tobytes()


def test_setters_copy():
    network = classifier("float32")
    block, first = network.theta, network.layers[0]
    values = np.arange(network.n_params)
    network.theta = values
    values[:] = -1
    np.testing.assert_array_equal(block, np.arange(network.n_params))
    W, b = np.full((5, 7), 0.5), [1, 2, 3, 4, 5, 6, 7]
    first.W, first.b = W, b
    W[:] = -1
    assert (block[:35] == 0.5).all() and block[35:42].tolist() == b
    first.W *= 2
    first.b -= 1
    network.theta += 1
    assert (block[:35] == 2).all() and block[35:42].tolist() == b
    assert network.theta is block or np.shares_memory(network.theta, block)


def test_views_outlive_the_network():
    theta, W = (lambda network: (network.theta, network.layers[0].W))(classifier())
    for _ in range(20):  # would be likely to reuse freed memory
        classifier().theta.fill(9)
    theta[0] = 5
    assert W[0, 0] == 5 and not (theta == 9).any()


def test_a_layer_can_be_used_again():
    layer = Dense(4, "tanh")
    network = Network(4, layer, layer, Dense(1), seed=0)
    twin = Network(4, layer, layer, Dense(1), seed=0)
    assert not np.array_equal(network.layers[0].W, network.layers[1].W)
    network.layers[0].W = 0
    assert network.layers[1].W.any() and twin.layers[0].W.any()
    assert layer not in network.layers and not hasattr(layer, "_theta")


def test_layer_without_bias():
    network = Network(5, Dense(4, "tanh", bias=False), Dense(2, bias=False), dtype="float64")
    assert network.n_params == 28 and network.layers[0].b is None
    assert not network.predict(np.zeros((1, 5))).any()
    quiet(network, *valued(), epochs=3)
    assert not network.predict(np.zeros((1, 5))).any()
    with pytest.raises(AttributeError, match=r"Dense\(4, 'tanh', bias=False\) has no bias"):
        network.layers[0].b = 1


@pytest.mark.parametrize(
    ("activation", "init", "variance"),
    [
        ("tanh", None, 2 / 500),
        ("sigmoid", None, 2 / 500),
        ("relu", None, 2 / 300),
        ("softplus", None, 2 / 300),
        ("tanh", "glorot_normal", 2 / 500),
        ("tanh", "he_uniform", 2 / 300),
        ("tanh", "he_normal", 2 / 300),
        ("relu", "lecun_uniform", 1 / 300),
        ("relu", "lecun_normal", 1 / 300),
        ("relu", "zeros", 0),
    ],
)
def test_starting_weights(activation, init, variance):
    network = Network(300, Dense(200, activation, init=init), dtype="float64", seed=0)
    W, b = network.layers[0].W, network.layers[0].b
    assert not b.any()
    # Of 60,000 draws, the mean of the squares scatters by 0.6 % at most (normal).
    assert np.mean(W**2) == pytest.approx(variance, rel=0.03)
    assert abs(W.mean()) <= 5 * np.sqrt(variance / W.size)
    if init and init.endswith("normal"):
        assert np.abs(W).max() > 3.5 * np.sqrt(variance)
    else:
        assert np.abs(W).max() <= np.sqrt(3 * variance)


# --- History --------------------------------------------------------------------------------------


def test_history():
    X, y = labelled(50)
    network = classifier()
    history = quiet(network, X, y, epochs=4, batch_size=16)
    assert list(history) == ["loss"] and len(history) == 1 and len(history["loss"]) == 4
    assert history.n_steps == 16 and history.seconds > 0
    assert isinstance(history, nncore.History) and "4 epochs; loss " in repr(history)
    assert "val_loss" not in history and history.get("val_loss") is None
    history = quiet(network, X, y, epochs=2, validation_data=[X[:7], y[:7]])
    assert {name: len(values) for name, values in history.items()} == {
        "loss": 2, "val_loss": 2, "val_accuracy": 2,
    }  # fmt: skip
    assert history.n_steps == 4
    scores = network.evaluate(X[:7], y[:7])
    assert (history["val_loss"][-1], history["val_accuracy"][-1]) == (
        scores["loss"], scores["accuracy"],
    )  # fmt: skip
    assert all(type(value) is float for values in history.values() for value in values)
    X, Y = valued()
    history = quiet(regressor(), X, Y, validation_data=(X, Y))
    assert list(history) == ["loss", "val_loss"]
    assert repr(nncore.History()) == "History(0 epochs)"


def test_history_weights_batches_by_their_rows():
    X, y = labelled(50)
    a, b = classifier(), classifier()
    history = quiet(a, X, y, batch_size=48, shuffle=False)
    losses = b.partial_fit(X[:48], y[:48]), b.partial_fit(X[48:], y[48:])
    assert history["loss"] == [pytest.approx((48 * losses[0] + 2 * losses[1]) / 50, rel=1e-14)]


# --- Bits -----------------------------------------------------------------------------------------


@dtypes
@backends
def test_the_same_seed_gives_the_same_bits(backend, dtype):
    X, y = labelled(100)
    networks = [classifier(dtype, seed=seed, backend=backend) for seed in (7, 7, 8)]
    assert networks[0].theta.tobytes() == networks[1].theta.tobytes()
    assert not np.array_equal(networks[0].theta, networks[2].theta)
    for network in networks:
        quiet(network, X, y, epochs=3)
    assert state(networks[0]) == state(networks[1])


def test_the_seed_is_also_that_of_the_shuffling():
    X, Y = valued()
    thetas = set()
    for seed, shuffle in [(1, True), (2, True), (1, False), (2, False)]:
        network = Network(5, Dense(2, init="zeros"), dtype="float64", seed=seed)
        quiet(network, X, Y, epochs=2, batch_size=8, shuffle=shuffle)
        thetas.add(network.theta.tobytes())
    assert len(thetas) == 3  # without shuffling the seed plays no part here


def test_without_a_seed_networks_differ():
    assert len({Network(5, Dense(3)).theta.tobytes() for _ in range(5)}) == 5


@isas
def test_global_random_state_is_left_alone(isa):
    np.random.seed(0)
    before = np.random.get_state()[1].tobytes()
    quiet(classifier(backend=isa), *labelled())
    assert np.random.get_state()[1].tobytes() == before


@pytest.mark.skipif(len(ISAS) < 3, reason="needs two instruction sets with fused multiply-add")
@dtypes
def test_avx2_and_avx512_give_the_same_bits(dtype):
    X, y = labelled(300)
    states = []
    for isa in ("avx2", "avx512"):
        network = classifier(dtype, backend=isa)
        quiet(network, X, y, epochs=3, batch_size=100)
        states.append((state(network), network.predict(X).tobytes(), network.evaluate(X, y)))
    assert states[0] == states[1]


@pytest.mark.parametrize("duplicate", [Network.copy, copy.copy, copy.deepcopy])
@dtypes
@optimizers
def test_copy_goes_on_like_the_original_and_apart_from_it(optimizer, dtype, duplicate):
    X, y = labelled(60)
    network = classifier(dtype, optimizer)
    quiet(network, X, y, epochs=2)
    before = state(network)
    twin = duplicate(network)
    assert state(twin) == before
    assert not np.shares_memory(twin.theta, network.theta)
    a = quiet(twin, X, y, epochs=2)
    assert state(network) == before
    b = quiet(network, X, y, epochs=2)
    assert state(twin) == state(network) and dict(a) == dict(b)
    twin.layers[0].W = 0
    twin.optimizer.lr = 5
    assert network.layers[0].W.any() and network.optimizer.lr != 5


@backends
@pytest.mark.parametrize("duplicate", [Network.copy, copy.copy, copy.deepcopy])
def test_a_copy_runs_on_the_same_backend(duplicate, backend):
    assert duplicate(classifier(backend=backend)).backend == backend


# --- Optimizers -----------------------------------------------------------------------------------


def test_a_new_optimizer_starts_afresh():
    X, y = labelled()
    network = classifier(optimizer="adam")
    quiet(network, X, y, epochs=2)
    assert network._engine.n_updates == 4 and network._engine.state.any()
    network.optimizer = Adam(0.01)
    assert network._engine.n_updates == 0 and not network._engine.state.any()
    fresh = classifier(optimizer="adam")
    fresh.theta = network.theta
    for each in (network, fresh):
        quiet(each, X, y, epochs=2, shuffle=False)
    assert state(network)[:3] == state(fresh)[:3]
    network.optimizer = "nesterov"
    assert network.optimizer == SGD(0.01, momentum=0.9, nesterov=True)
    assert network._engine.state.shape == (1, network.n_params)


@backends
@pytest.mark.parametrize(
    ("optimizer", "change"),
    [(SGD(0.1), {"lr": 0.02}), (SGD(0.1, momentum=0.5), {"lr": 0.02, "momentum": 0.8}),
     (Adam(), {"lr": 0.02, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3})],
)  # fmt: skip
def test_a_changed_hyper_parameter_counts_and_the_state_stays(optimizer, change, backend):
    X, y = labelled()
    optimizer, changed = copy.copy(optimizer), copy.copy(optimizer)
    for name, value in change.items():
        setattr(changed, name, value)
    a, b, c = (classifier(backend=backend) for _ in range(3))
    a.optimizer, b.optimizer, c.optimizer = optimizer, copy.copy(optimizer), changed
    for network in (a, b):
        network.partial_fit(X, y)
    assert state(a) == state(b)
    for name, value in change.items():
        setattr(a.optimizer, name, value)
    c.theta = a.theta
    c._engine.state[...] = a._engine.state
    c._engine.n_updates = 1
    for network in (a, b, c):
        network.partial_fit(X, y)
    assert state(a) == state(c)
    assert state(a) != state(b)


def test_momentum_switched_on_later_is_refused_clearly_or_works():
    """It changes the rule, whose state the engine does not have."""
    X, y = labelled()
    network = classifier(optimizer="sgd")
    network.partial_fit(X, y)
    try:
        network.optimizer.momentum = 0.9
        network.partial_fit(X, y)
    except (ValueError, AttributeError) as error:
        assert "momentum" in str(error) and "optimizer" in str(error)
    assert state(network.copy()) == state(network)  # in any case it can be saved


# --- Types, names, text ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.float64, float, "f4"])
def test_dtype(dtype):
    network = Network(5, Dense(3), dtype=dtype)
    wanted = np.dtype(dtype)
    assert network.dtype == wanted and network.theta.dtype == wanted
    assert network.layers[0].W.dtype == network.layers[0].b.dtype == wanted
    assert network.predict(np.ones((2, 5))).dtype == wanted
    assert network.loss_and_gradient(np.ones((2, 5)), np.ones((2, 3)))[1].dtype == wanted
    assert network._engine.state.dtype == wanted
    assert Network(5, Dense(3)).dtype == np.float32


@pytest.mark.parametrize(
    ("output", "loss"),
    [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("identity", "mse"),
     ("tanh", "mse"), ("relu", "mse")],
)  # fmt: skip
def test_default_loss(output, loss):
    assert Network(2, Dense(3, output)).loss == loss


@pytest.mark.parametrize(
    ("name", "loss"),
    [("squared_error", "mse"), ("mean_squared_error", "mse"), ("half_squared_error", "half_mse")],
)
def test_other_names_of_losses(name, loss):
    assert Network(2, Dense(3), loss=name).loss == loss


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("sgd", SGD()), ("adam", Adam()), ("momentum", SGD(momentum=0.9)),
     ("nesterov", SGD(momentum=0.9, nesterov=True))],
)  # fmt: skip
def test_optimizer_by_name(name, optimizer):
    assert Network(2, Dense(3), optimizer=name).optimizer == optimizer
    assert SGD().lr == 0.01 and Adam() == Adam(0.001, 0.9, 0.999, 1e-8)


@backends
def test_backend(backend):
    assert Network(2, Dense(3), backend=backend).backend == backend


def test_backend_by_default_is_the_chosen_instruction_set():
    assert Network(2, Dense(3)).backend == nncore.get_config()["isa"]
    assert classifier(backend="auto").backend in ISAS and "baseline" in ISAS


def test_repr():
    network = Network(
        4, Dense(3, "relu", bias=False), Dense(2, "softmax"), optimizer=SGD(0.5), dtype="float64"
    )
    assert repr(network) == (
        "Network(4, Dense(3, 'relu', bias=False), Dense(2, 'softmax'), loss='cross_entropy', "
        "optimizer=SGD(lr=0.5, momentum=0.0, nesterov=False))"
    )


def test_config_makes_the_network_again():
    network = classifier("float64", "nesterov")
    config = network.config()
    assert config["n_in"] == 5 and config["dtype"] == "float64"
    assert config["loss"] == "cross_entropy"
    assert config["optimizer"] == {"type": "SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True}
    layers = [Dense(c["n_out"], c["activation"], bias=c["bias"]) for c in config["layers"]]
    again = Network(config["n_in"], *layers, loss=config["loss"], dtype=config["dtype"],
                    optimizer=SGD(0.05, momentum=0.9, nesterov=True))  # fmt: skip
    assert again.config() == config


def test_summary(capsys):
    network = Network(
        1000, Dense(200, "relu"), Dense(10, "softmax", bias=False), optimizer=SGD(0.5)
    )
    assert network.summary() is None
    head, first, second, last = capsys.readouterr().out.splitlines()
    assert head.split() == "layer activation in -> out parameters".split()
    assert first.split() == ["0", "Dense", "relu", "1000", "->", "200", "200,200"]
    assert second.split() == ["1", "Dense", "softmax", "200", "->", "10", "2,000"]
    assert len(head) == len(first) == len(second)
    for fact in ("202,200 parameters", "float32", "cross_entropy", "lr=0.5", network.backend):
        assert fact in last


# --- What is printed ------------------------------------------------------------------------------


def test_nothing_is_printed_unless_asked(capfd):
    X, y = labelled()
    network = classifier()
    for verbose in (False, "auto"):  # under the tests, stderr is no terminal
        network.fit(X, y, epochs=5, validation_data=(X, y), verbose=verbose)
    network.fit(X, y)
    network.partial_fit(X, y)
    network.predict(X)
    network.evaluate(X, y)
    network.copy()
    assert capfd.readouterr() == ("", "")


def test_verbose_prints_lines_to_stderr(capfd):
    X, y = labelled()
    history = classifier().fit(X, y, epochs=5, validation_data=(X, y), verbose=True)
    out, err = capfd.readouterr()
    assert out == "" and "\r" not in err
    lines = err.splitlines()
    assert lines[0].startswith("epoch 1/5  loss ") and lines[-1].startswith("epoch 5/5  loss ")
    last = re.findall(r"(\w+) (\d\S*)", lines[-1].removeprefix("epoch 5/5"))
    assert last[:3] == [(name, f"{values[-1]:.4g}") for name, values in history.items()]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_one_line_that_is_rewritten(capfd, monkeypatch):
    X, y = labelled()
    monkeypatch.setattr(sys, "stderr", Terminal())
    classifier().fit(X, y, epochs=5)
    text = sys.stderr.getvalue()
    assert text.startswith("\repoch 1/5") and "\repoch 5/5" in text
    assert text.endswith("\n") and text.count("\n") == 1
    network = Network(5, Dense(3), optimizer=SGD(1e30), seed=0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(FloatingPointError):
        network.fit(X, np.eye(3)[y], epochs=100, batch_size="full")
    assert sys.stderr.getvalue().endswith("\n")  # so that the traceback begins a line
    monkeypatch.setattr(sys, "stderr", Terminal())
    classifier().fit(X, y, epochs=5, verbose=False)
    assert sys.stderr.getvalue() == ""
    assert capfd.readouterr().out == ""


class Logger:
    """What programs put in the place of stderr: often no more than this."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("verbose", [False, "auto", True])
@pytest.mark.parametrize("kind", ["none", "closed", "logger"])
def test_without_a_proper_stderr(monkeypatch, kind, verbose):
    stream = {"none": None, "closed": io.StringIO(), "logger": Logger()}[kind]
    if kind == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)  # None: as under pythonw
    classifier().fit(*labelled(), epochs=2, verbose=verbose)
    if kind == "logger":
        assert ("epoch 2/2" in stream.text) == (verbose is True)


# --- Threads --------------------------------------------------------------------------------------


class Worker(threading.Thread):
    """A thread whose result, or error, `get` hands over."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self.function, self.error, self.result = function, None, None
        self.start()

    def run(self):
        try:
            self.result = self.function()
        except BaseException as error:
            self.error = error

    def get(self):
        self.join(60)
        assert not self.is_alive()
        if self.error:
            raise self.error
        return self.result


def long_fit(network, X, y, epochs=40):
    """Start a fit in a thread and return when it is under way."""
    worker = Worker(lambda: quiet(network, X, y, epochs=epochs))
    while network._engine.n_updates == 0 and worker.is_alive():
        pass
    return worker


def medium(seed=0, **options):
    return Network(64, Dense(128, "tanh"), Dense(10, "softmax"), seed=seed, **options)


def medium_data(rows=2000):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 64)).astype("float32"), rng.integers(0, 10, rows)


def test_others_may_predict_while_one_trains():
    X, y = medium_data()
    network, alone = medium(), medium()
    quiet(alone, X, y, epochs=40)
    worker = long_fit(network, X, y)

    def use():
        calls = 0
        while worker.is_alive():
            assert np.isfinite(network.predict(X)).all()
            assert np.isfinite(network.evaluate(X, y)["loss"])
            assert np.isfinite(network.loss_and_gradient(X[:300], y[:300])[1]).all()
            calls += 1
        return calls

    users = [Worker(use) for _ in range(2)]
    worker.get()
    assert sum(user.get() for user in users) > 0
    assert state(network) == state(alone)  # and nobody disturbed it


def test_predictions_in_many_threads_have_the_same_bits():
    X, _ = medium_data(600)
    network = medium()
    expected = network.predict(X).tobytes()

    def use():
        return {network.predict(X).tobytes() for _ in range(30)}

    assert all(user.get() == {expected} for user in [Worker(use) for _ in range(4)])


def test_training_twice_at_once_is_an_error():
    X, y = medium_data()
    network, alone = medium(), medium()
    quiet(alone, X, y, epochs=40)
    worker = long_fit(network, X, y)
    with pytest.raises(RuntimeError, match="is being trained in another thread"):
        network.fit(X[:10], y[:10], verbose=False)
    with pytest.raises(RuntimeError, match="is being trained in another thread"):
        network.partial_fit(X[:10], y[:10])
    assert worker.is_alive(), "the fit was over too soon for this test"
    worker.get()
    assert state(network) == state(alone)
    network.partial_fit(X, y)  # and then it may


def test_the_optimizer_cannot_be_replaced_while_training():
    """Its state vectors would be freed under the engine's hands."""
    X, y = medium_data()
    network = medium()
    worker = long_fit(network, X, y)
    held = network._engine.state  # so that, if it is replaced all the same, nothing is freed
    try:
        with pytest.raises(RuntimeError, match="is being trained in another thread"):
            network.optimizer = SGD()
        assert worker.is_alive(), "the fit was over too soon for this test"
    finally:
        worker.get()
    assert held is network._engine.state and network.optimizer == Adam()


def test_training_goes_on_after_an_error():
    X, y = labelled()
    network = classifier()
    with pytest.raises(ValueError):
        network.fit(X, y[:-1])
    network.theta[0] = np.nan
    with pytest.raises(FloatingPointError):
        quiet(network, X, y)
    network.theta[0] = 0
    quiet(network, X, y)


def test_networks_in_threads_do_not_touch_each_other():
    X, y = medium_data(500)

    def train(seed):
        network = medium(seed, dtype=["float32", "float64"][seed % 2])
        quiet(network, X, y, epochs=4)
        return state(network)

    expected = [train(seed) for seed in range(4)]
    workers = [Worker(lambda seed=seed: train(seed)) for seed in range(4)]
    assert [worker.get() for worker in workers] == expected


@pytest.mark.parametrize("width", [8, 256])
def test_inputs_may_be_the_weights_themselves(width):
    y = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32)
    layers = [nncore.Dense(width, "tanh"), nncore.Dense(width)]
    net = nncore.Network(width, *layers, seed=1, optimizer=nncore.Adam(0.05))
    twin = net.copy()
    for _ in range(2):
        assert net.partial_fit(net.layers[0].W, y) == twin.partial_fit(twin.layers[0].W.copy(), y)
    assert np.array_equal(net.theta, twin.theta)


def test_a_score_of_minus_infinity_costs_nothing_where_the_target_is_zero():
    net = nncore.Network(1, nncore.Dense(3, "softmax", bias=False, init=[[1, 2, -1e20]]))
    X = np.full((4, 1), 1e20, np.float32)  # scores 1e20, 2e20 and -inf
    one_hot = np.tile(np.eye(3, dtype=np.float32)[1], (4, 1))
    for y in ([1] * 4, one_hot):
        assert net.evaluate(X, y)["loss"] == 0 and net.evaluate(X[:1], y[:1])["loss"] == 0


def test_targets_that_are_parameters_are_read_as_they_were():
    X = np.random.default_rng(0).standard_normal((8, 400))
    a = Network(400, Dense(4), seed=1, optimizer=SGD(0.1), dtype="float64")
    b, y = a.copy(), np.broadcast_to(a.layers[0].W[0], (8, 4))
    b.fit(X, y.copy(), batch_size=2, shuffle=False, verbose=False)
    a.fit(X, y, batch_size=2, shuffle=False, verbose=False)
    assert (a.theta == b.theta).all()
