"""What `fit`, `evaluate` and `predict` take beside arrays, with the bits that arrays give."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import nncore
from nncore import Adam, Dense, Network, data, schedules

from .refusals import refused

RNG = np.random.default_rng(0)
ROWS, N_IN = 700, 30
X = RNG.normal(size=(ROWS, N_IN)) * (RNG.random((ROWS, N_IN)) < 0.2)
Y = RNG.normal(size=(ROWS, 3))
LABELS = RNG.integers(0, 4, ROWS)
BACKENDS = pytest.mark.parametrize("backend", ["auto", "reference"])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that a few hundred rows are many blocks."""
    monkeypatch.setattr(data, "_BYTES", 5000)
    monkeypatch.setattr(data.slices, "__defaults__", (1, 5000))


def csr(dense):
    """A matrix in CSR form, as SciPy's attributes say it."""
    dense = np.asarray(dense)
    rows, columns = np.nonzero(dense)
    starts = np.searchsorted(rows, np.arange(len(dense) + 1))
    return SimpleNamespace(
        indptr=starts.astype(np.int32), indices=columns.astype(np.int32),
        data=dense[rows, columns], shape=dense.shape, format="csr",
    )  # fmt: skip


def mapped(array, path):
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def classifier(dtype="float32", backend="auto", **options):
    layers = Dense(12, "tanh"), Dense(4, "softmax")
    return Network(N_IN, *layers, dtype=dtype, backend=backend, seed=1, **options)


FORMS = {
    "sparse": lambda a, path: csr(a),
    "mapped": lambda a, path: mapped(a, path),
    "mapped, big-endian": lambda a, path: mapped(a.astype(">f8"), path),
    "mapped, by columns": lambda a, path: mapped(np.asfortranarray(a), path),
}
EVERY_FORM = pytest.mark.parametrize("form", FORMS)


@EVERY_FORM
@BACKENDS
def test_rows_in_blocks_have_the_bits_of_the_array(form, backend, dtype, tmp_path):
    other = FORMS[form](X, tmp_path / "X.npy")
    w = RNG.integers(0, 3, ROWS) * 0.7
    rate = schedules.Cosine(0.01, 60)
    nets = [classifier(dtype, backend, optimizer=Adam(rate)) for _ in range(2)]
    found = []
    for net, data_ in zip(nets, (X, other), strict=True):
        history = net.fit(
            data_, LABELS, epochs=2, batch_size=37, verbose=False, sample_weight=w,
            validation_data=(data_, LABELS),
        )  # fmt: skip
        loss = net.partial_fit(data_, LABELS)
        found.append((net.theta.tobytes(), dict(history), loss, net.predict(data_).tobytes()))
    if backend == "reference":  # BLAS may sum in another order in another block
        np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-4, atol=1e-6)
    else:
        assert found[0] == found[1]


@EVERY_FORM
def test_evaluate_in_blocks_has_the_bits_of_the_array(form, dtype, tmp_path):
    other = FORMS[form](X, tmp_path / "X.npy")
    w = np.where(np.arange(ROWS) < 600, RNG.random(ROWS), 0)
    net = classifier(dtype)
    net.layers[0].l2 = 0.1
    assert net.evaluate(other, LABELS) == net.evaluate(X, LABELS)
    assert net.evaluate(other, LABELS, sample_weight=w) == net.evaluate(X, LABELS, sample_weight=w)


@BACKENDS
def test_targets_in_blocks(backend, dtype, tmp_path):
    net = [Network(N_IN, Dense(3), dtype=dtype, backend=backend, seed=0) for _ in range(2)]
    for each, y in zip(net, (Y, mapped(Y, tmp_path / "y.npy")), strict=True):
        each.fit(X, y, epochs=2, verbose=False)
        each.scores = each.evaluate(X, y)
    np.testing.assert_allclose(net[0].theta, net[1].theta, rtol=1e-5, atol=1e-7)
    assert net[0].scores == pytest.approx(net[1].scores, rel=1e-6)
    if backend == "auto":
        assert net[0].theta.tobytes() == net[1].theta.tobytes() and net[0].scores == net[1].scores


def test_elements_that_are_there_twice_are_a_sum():
    twice = SimpleNamespace(
        indptr=np.array([0, 3, 3]), indices=np.array([1, 0, 1]), data=np.array([1, 5, 2]),
        shape=(2, 3),
    )  # fmt: skip
    rows = data.SparseRows(twice, "float32", "X")
    assert rows[0:2].tolist() == [[5, 3, 0], [0, 0, 0]]
    assert rows[np.array([1, 0, 0])].tolist() == [[0, 0, 0], [5, 3, 0], [5, 3, 0]]


def test_scipy():
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is another package")
    net = classifier("float64")
    for kind in (sparse.csr_matrix, sparse.csr_array):
        np.testing.assert_array_equal(net.predict(kind(X)), net.predict(X))
    with refused(ValueError, "X is a sparse matrix in csc form", "X.tocsr()", network=net):
        net.fit(sparse.csc_matrix(X), LABELS)
    with refused(ValueError, "sparse matrix in coo form", "X.tocsr()", network=net):
        net.fit(sparse.coo_matrix(X), LABELS)
    with refused(ValueError, "sparse matrix", "toarray", network=net):
        net.loss_and_gradient(sparse.csr_matrix(X), LABELS)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_what_is_not_finite_is_named(value, tmp_path):
    bad = X.copy()
    bad[611, 7] = value
    net = classifier()
    for form in FORMS.values():
        with refused(ValueError, "X contains", "row 611, column 7", network=net):
            net.fit(form(bad, tmp_path / "X.npy"), LABELS)


@pytest.mark.parametrize(
    "broken",
    [
        {"indptr": np.zeros(ROWS, int)}, {"indices": np.full(50, N_IN), "data": np.ones(50)},
        {"indices": np.full(50, -1), "data": np.ones(50)}, {"data": np.ones(3)},
        {"indptr": np.r_[0, np.full(ROWS, 10**9)]}, {"indptr": np.r_[np.arange(ROWS), 0]},
        {"data": np.array(["a"] * csr(X).indices.size)},
    ],
)  # fmt: skip
def test_a_broken_csr_matrix_is_refused(broken):
    sparse = csr(X)
    if "indices" in broken:
        sparse.indptr = np.minimum(np.arange(ROWS + 1), 50)
    vars(sparse).update(broken)
    net = classifier()
    with refused(ValueError, "X ", network=net):
        net.fit(sparse, LABELS)


def test_full_batch_trainers_need_arrays():
    net = classifier(optimizer="lbfgs")
    with refused(ValueError, "LBFGS uses all rows at once", '"adam"', network=net):
        net.fit(csr(X), LABELS)
    with refused(ValueError, "LBFGS uses all rows at once", network=net):
        net.fit([(X, LABELS)])


def test_an_embedding_checks_tokens_in_blocks(tmp_path):
    tokens = RNG.integers(0, 9, (500, 5))
    net = Network(5, nncore.Embedding(9, 2), Dense(1), seed=0)
    other = mapped(tokens, tmp_path / "X.npy")
    assert net.predict(other).tobytes() == net.predict(tokens).tobytes()
    tokens[402, 3] = 9
    with refused(ValueError, "has 9 at row 402, column 3", network=net):
        net.predict(mapped(tokens, tmp_path / "Z.npy"))


def test_a_monitor_sees_rows_of_them():
    net = classifier()
    history = net.fit(csr(X), LABELS, verbose=False, callbacks=[nncore.Monitor(every=1)])
    assert history["layers[0].gradient_norm"][0] > 0


def test_predict_fills_a_mapped_file(tmp_path, dtype):
    net = classifier(dtype)
    out = np.memmap(tmp_path / "out", dtype, "w+", shape=(ROWS, 4))
    assert net.predict(csr(X), out=out) is out
    np.testing.assert_array_equal(out, net.predict(X))


# ---- larger than memory --------------------------------------------------------------------------

LARGE = """
import resource
import sys
import numpy as np
import nncore

def private():  # bytes of memory that is nobody else's and no file's
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))

kind, rows, n_in = sys.argv[1], 150_000, 100
X = np.memmap("X", kind, "r", shape=(rows, n_in))
y = np.memmap("y", np.uint8, "r", shape=rows)
out = np.memmap("out", np.float32, "w+", shape=(rows, 3))
net = nncore.Network(n_in, nncore.Dense(8, "relu"), nncore.Dense(3, "softmax"), seed=0)

def work(X, y, out):
    net.fit(X, y, batch_size=1000, verbose=False, n_threads=1)
    net.evaluate(X, y, n_threads=1)
    net.predict(X, out=out, n_threads=1)

work(X[:5000], y[:5000], out[:5000])  # what is needed anyway
resource.setrlimit(resource.RLIMIT_DATA, (private() + int(sys.argv[2]),) * 2)
work(X, y, out)
assert np.array_equal(out[-5:], net.predict(X[-5:]))
try:
    X.astype(np.float32)
except MemoryError:
    print("there is no more memory")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_a_file_larger_than_the_memory(kind, tmp_path):
    rows, allowed = 150_000, 12_000_000
    X = np.random.default_rng(0).integers(0, 9, (rows, 100)).astype(kind)
    X.tofile(tmp_path / "X")
    X[:, 0].astype(np.uint8).clip(max=2).tofile(tmp_path / "y")
    assert X.size * 4 == 5 * allowed
    done = subprocess.run(
        [sys.executable, "-c", LARGE, kind, str(allowed)], cwd=tmp_path, capture_output=True,
        text=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "there is no more memory"


def test_elements_behind_the_first_two_billion(tmp_path):
    rows, width = 300, 1 << 23  # 2^31 elements are 256 rows; the file has holes, it takes no room
    with open(tmp_path / "X", "wb") as file:
        file.truncate(4 * rows * width)
    file = np.memmap(tmp_path / "X", np.float32, "r+", shape=(rows, width))
    x = RNG.normal(size=(rows, 5)).astype(np.float32)
    file[:, 3:8] = x
    y = LABELS[:rows]
    nets = [Network(5, Dense(4, "softmax"), seed=0) for _ in range(2)]
    for net, inputs in zip(nets, (x, file[:, 3:8]), strict=True):
        net.fit(inputs, y, epochs=2, verbose=False)
        net.scores = net.evaluate(inputs, y), net.predict(inputs).tobytes()
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()
    assert nets[0].scores == nets[1].scores
    out = file[:, 100:104]
    assert nets[0].predict(file[:, 3:8], out=out) is out
    assert out[-1].tobytes() == nets[0].predict(x)[-1].tobytes()


# ---- frames --------------------------------------------------------------------------------------


@pytest.fixture(params=["pandas", "polars"])
def frames_of(request):
    return pytest.importorskip(request.param, reason="a data-frame package is optional")


COLUMNS = {"width": [1.0, 2.5, 3.0], "count": [1, 2, 3], "seen": [True, False, True]}


def test_a_frame_of_numbers_is_an_array(frames_of):
    net, X = Network(3, Dense(2), seed=0), np.array([*COLUMNS.values()], float).T
    frame = frames_of.DataFrame(COLUMNS)
    np.testing.assert_array_equal(net.predict(frame), net.predict(X))
    twin, targets = net.copy(), frames_of.DataFrame({"a": [1, 2, 3], "b": [0.0, 1.0, 0.5]})
    net.fit(frame, targets, verbose=False)
    twin.fit(X, np.array([[1, 0], [2, 1], [3, 0.5]]), verbose=False)
    assert net.theta.tobytes() == twin.theta.tobytes()
    one = Network(3, Dense(1), seed=0)
    one.fit(frame, frames_of.Series("y", [1.0, 2, 3]) if frames_of.__name__ == "polars"
            else frames_of.Series([1.0, 2, 3]), verbose=False)  # fmt: skip


def test_columns_are_named(frames_of):
    net = Network(3, Dense(2), seed=0)
    y = [[0, 0]] * 3
    frame = frames_of.DataFrame(COLUMNS | {"count": ["few", "some", "many"]})
    with refused(ValueError, "column 'count' of X", network=net):
        net.fit(frame, y)
    frame = frames_of.DataFrame(COLUMNS | {"width": [1.0, None, 2.0]})
    with refused(ValueError, "X contains NaN", "row 1, column 0 'width'", network=net):
        net.fit(frame, y)


def test_pandas_has_numbers_of_its_own():
    pd = pytest.importorskip("pandas", reason="a data-frame package is optional")
    net = Network(3, Dense(2), seed=0)
    frame = pd.DataFrame(COLUMNS)
    nullable = frame.convert_dtypes()
    assert nullable["count"].dtype == "Int64"
    np.testing.assert_array_equal(net.predict(nullable), net.predict(frame))
    nullable.loc[1, "count"] = pd.NA
    with refused(ValueError, "NaN", "'count'", network=net):
        net.fit(nullable, [[0, 0]] * 3)
    for values in ([3, 4, 3], ["a", "b", "a"]):
        with refused(ValueError, "column 'seen' of X has dtype category", network=net):
            net.fit(frame.assign(seen=pd.Categorical(values)), [[0, 0]] * 3)
    with refused(ValueError, "column 'seen' of X has dtype datetime", network=net):
        net.fit(frame.assign(seen=pd.Timestamp(0)), [[0, 0]] * 3)
    labels = pd.Series(["a", "b", "a"], name="species")
    with refused(ValueError, "y ('species')", "np.unique"):
        Network(3, Dense(2, "softmax")).fit(frame, labels)
    twice = pd.DataFrame(np.ones((3, 3)), columns=["a", "a", "b"]).astype({"b": object})
    twice["b"] = ["x", "y", "z"]
    with refused(ValueError, "column 'b' of X", network=net):
        net.fit(twice, [[0, 0]] * 3)
