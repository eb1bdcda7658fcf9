"""Weights of samples and classes: weight 2 is the row twice, weight 0 is no row."""


import numpy as np
import pytest

import nncore
from nncore import Adam, Dense, Loss, Network, _core, reference

from .checks import assert_same_bits, noise
from .test_losses import draw

BACKENDS = pytest.mark.parametrize("backend", ["auto", "reference"])
ISAS = pytest.mark.parametrize("backend", [*_core.isas(), "reference"])
LOSSES = [
    *_core.LOSSES, Loss("cross_entropy", label_smoothing=0.1),
    Loss("binary_cross_entropy", pos_weight=3, label_smoothing=0.1), Loss("focal", alpha=0.25),
]  # fmt: skip
EVERY = pytest.mark.parametrize("loss", LOSSES, ids=str)
N_IN, N_TARGETS = 4, 3


def make(loss, dtype="float64", backend="auto", hidden=(6,), optimizer=None):
    loss = Loss(loss) if isinstance(loss, str) else loss
    layers = [Dense(n, "tanh") for n in hidden]
    last = Dense(N_TARGETS * loss.per_target, loss.output or "identity")
    return Network(
        N_IN, *layers, last, loss=loss, dtype=dtype, backend=backend, seed=1,
        optimizer=optimizer or Adam(0.01),
    )  # fmt: skip


def samples(loss, rows, dtype="float64"):
    name = loss if isinstance(loss, str) else loss.name
    X, y = noise((rows, N_IN), dtype), draw(name, (rows, N_TARGETS), dtype)[1]
    if name in ("cross_entropy", "kl_divergence"):
        y = y / y.sum(axis=1, keepdims=True)
    return X, y


def close(a, b, dtype, more=1):
    eps = more * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(a, b, rtol=500 * eps, atol=100 * eps * (1 + np.abs(b).max()))


@EVERY
@BACKENDS
def test_weight_2_is_the_row_twice(loss, backend, dtype):
    X, y = samples(loss, 40, dtype)
    w = np.arange(40) % 4
    X2, y2 = np.repeat(X, w, axis=0), np.repeat(y, w, axis=0)
    weighted, repeated = (make(loss, dtype, backend) for _ in range(2))
    value, gradient = weighted.loss_and_gradient(X, y, sample_weight=w)
    other, expected = repeated.loss_and_gradient(X2, y2)
    close(value, other, dtype)
    close(gradient, expected, dtype)
    assert np.abs(gradient).max() > 1e-3
    unweighted = weighted.loss_and_gradient(X, y)[1]
    assert np.abs(gradient - unweighted).max() > 1e-3 * np.abs(gradient).max()
    assert weighted.evaluate(X, y, sample_weight=w) == pytest.approx(
        repeated.evaluate(X2, y2), rel=2e-5 if dtype == "float32" else 1e-12
    )
    histories = [
        weighted.fit(X, y, sample_weight=w, epochs=5, batch_size="full", verbose=False,
                     validation_data=(X, y, w)),
        repeated.fit(X2, y2, epochs=5, batch_size="full", verbose=False, validation_data=(X2, y2)),
    ]  # fmt: skip
    for name in histories[1]:
        close(histories[0][name], np.array(histories[1][name]), dtype, 50)
    close(weighted.partial_fit(X, y, sample_weight=w), repeated.partial_fit(X2, y2), dtype, 50)


@EVERY
@ISAS
def test_weight_0_is_no_row(loss, backend, dtype):
    """Bit by bit in the C engine, where the order of the rows is the same."""
    X, y = samples(loss, 60, dtype)
    w = np.where(np.arange(60) % 3 == 1, 0, 0.3 + np.arange(60) / 20)
    X[w == 0] *= 1e3
    kept = w > 0
    a, b = (make(loss, dtype, backend) for _ in range(2))
    (value, gradient), (other, expected) = (
        a.loss_and_gradient(X, y, sample_weight=w),
        b.loss_and_gradient(X[kept], y[kept], sample_weight=w[kept]),
    )
    options = {"shuffle": False, "epochs": 3, "verbose": False}
    history = a.fit(X, y, sample_weight=w, batch_size=60, **options)
    twin = b.fit(X[kept], y[kept], sample_weight=w[kept], batch_size=40, **options)
    if backend == "reference":
        close(gradient, expected, dtype)
        close(history["loss"], np.array(twin["loss"]), dtype, 10)
    else:
        assert value == other and history["loss"] == twin["loss"]
        assert_same_bits(gradient, expected)
        assert_same_bits(a.theta, b.theta)


@EVERY
@ISAS
def test_weights_of_1_are_none(loss, backend, dtype):
    X, y = samples(loss, 300, dtype)
    a, b = (make(loss, dtype, backend) for _ in range(2))
    (value, gradient), (other, expected) = (
        a.loss_and_gradient(X, y, sample_weight=np.ones(300)), b.loss_and_gradient(X, y)
    )  # fmt: skip
    assert value == pytest.approx(other, rel=1e-5 if dtype == "float32" else 1e-13)
    if backend == "reference":
        close(gradient, expected, dtype)
    else:
        assert_same_bits(gradient, expected)
        a.fit(X, y, sample_weight=np.ones(300), batch_size=7, verbose=False)
        b.fit(X, y, batch_size=7, verbose=False)
        assert_same_bits(a.theta, b.theta)


@EVERY
@ISAS
def test_the_gradient_is_that_of_the_weighted_loss(loss, backend):
    X, y = samples(loss, 9)
    w = np.array([0, 1, 2, 0.5, 0, 3, 1, 0.1, 1])
    network = make(loss, backend=backend)
    gradient = network.loss_and_gradient(X, y, sample_weight=w)[1]
    h = 1e-6
    for i in range(0, network.n_params, 3):
        middle = network.theta[i]
        network.theta[i] = middle + h
        above = network.evaluate(X, y, sample_weight=w)["loss"]
        network.theta[i] = middle - h
        below = network.evaluate(X, y, sample_weight=w)["loss"]
        network.theta[i] = middle
        assert gradient[i] == pytest.approx((above - below) / (2 * h), abs=1e-8, rel=1e-6)
    single = make(loss, "float32", backend)
    single.theta = network.theta
    X, y = X.astype("float32"), y.astype("float32")
    close(single.loss_and_gradient(X, y, sample_weight=w)[1], gradient, "float32")


@EVERY
@pytest.mark.parametrize("batch_size", [1, 7, 300])
def test_the_engine_and_the_reference_agree(loss, batch_size, dtype, isa):
    """Shuffled batches, some of weight 0; and one row at a time."""
    X, y = samples(loss, 310, dtype)
    w = np.where(np.arange(310) % 5 < 2, 0, 0.1 + np.arange(310) % 3)
    w[100:200] = 0
    optimizer = Adam(1e-4)
    networks = [make(loss, dtype, backend, optimizer=optimizer) for backend in (isa, "reference")]
    w = w if batch_size > 1 else (w > 0).astype(float)
    histories = [
        network.fit(X, y, sample_weight=w, batch_size=batch_size, epochs=2,
                    shuffle=batch_size == 300, verbose=False)
        for network in networks
    ]  # fmt: skip
    assert histories[0].n_steps == histories[1].n_steps
    assert networks[0]._engine.n_updates == networks[1]._engine.n_updates == histories[0].n_steps
    close(histories[0]["loss"], np.array(histories[1]["loss"]), dtype, 40)
    rest = {"float32": 2e-4, "float64": 1e-10}[dtype]
    np.testing.assert_allclose(networks[0].theta, networks[1].theta, atol=rest)


@BACKENDS
def test_the_loss_of_an_epoch_is_weighted_by_its_batches(backend):
    """With next to no learning, it is the weighted loss of the data, in whatever order."""
    X, y = samples("mse", 101)
    w = np.where(np.arange(101) % 3 == 0, 0, np.arange(101.0))
    network = make("mse", backend=backend, optimizer=nncore.SGD(1e-12))
    loss = network.evaluate(X, y, sample_weight=w)["loss"]
    for batch_size in (2, 16, 101):
        history = network.fit(X, y, sample_weight=w, batch_size=batch_size, epochs=2, verbose=False)
        assert history["loss"] == [pytest.approx(loss, rel=1e-9)] * 2


@pytest.mark.parametrize("name", _core.LOSSES)
def test_the_reference_does_not_look_at_rows_of_weight_0(name):
    y, t = draw(name, (4, 4), np.float64)
    w, kept = np.array([1.0, 0.0, 2.0, 0.0]), [0, 2]
    expected = reference.LOSSES[name].value(y[kept], t[kept], w=w[kept])
    slopes = reference.LOSSES[name].gradient(y[kept], t[kept], w=w[kept])
    y[1], y[3] = np.inf, np.nan
    with np.errstate(all="ignore"):
        value = reference.LOSSES[name].value(y, t, w=w)
        gradient = reference.LOSSES[name].gradient(y, t, w=w)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(gradient[kept], slopes, rtol=1e-14)
    assert (gradient[[1, 3]] == 0).all()


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "binary_cross_entropy", "huber"])
def test_one_row_at_a_time(loss, dtype, isa):
    """Rows of weight 0 are left out, bit by bit; others count alike."""
    X, y = samples(loss, 50, dtype)
    w = np.where(np.arange(50) % 3 == 1, 0.0, 1.0)
    a, b = (make(loss, dtype, isa) for _ in range(2))
    history = a.fit(X, y, sample_weight=w, batch_size=1, shuffle=False, verbose=False)
    twin = b.fit(X[w > 0], y[w > 0], batch_size=1, shuffle=False, verbose=False)
    assert_same_bits(a.theta, b.theta)
    assert history.n_steps == twin.n_steps == int(w.sum())
    assert history["loss"] == pytest.approx(twin["loss"], rel=1e-14)
    large = make(loss, dtype, isa, hidden=(500,))  # beyond what has a way of its own
    other = large.copy()
    large.fit(X, y, sample_weight=w, batch_size=1, shuffle=False, verbose=False)
    other.fit(X[w > 0], y[w > 0], batch_size=1, shuffle=False, verbose=False)
    assert_same_bits(large.theta, other.theta)


def test_weights_have_no_effect_in_batches_of_one_row():
    X, y = samples("mse", 20)
    with pytest.warns(UserWarning, match="no effect in batches of one row") as caught:
        make("mse").fit(X, y, sample_weight=np.arange(20), batch_size=1, verbose=False)
    assert caught[0].filename == __file__
    make("mse").fit(X, y, sample_weight=np.arange(20) % 2, batch_size=1, verbose=False)


@BACKENDS
def test_a_batch_of_weight_0_changes_nothing(backend):
    X, y = samples("mse", 30)
    w = np.repeat([1.0, 0.0, 2.0], 10)
    network, twin = (make("mse", backend=backend) for _ in range(2))
    history = network.fit(X, y, sample_weight=w, batch_size=10, shuffle=False, verbose=False)
    losses = [twin.partial_fit(X[:10], y[:10]), twin.partial_fit(X[20:], y[20:])]
    np.testing.assert_allclose(network.theta, twin.theta, atol=1e-14)
    assert history.n_steps == 2 and network._engine.n_updates == 2
    assert history["loss"] == [pytest.approx((losses[0] + 2 * losses[1]) / 3, rel=1e-12)]


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "log_cosh"])
def test_any_number_of_threads(loss, dtype):
    results = []
    X, y = samples(loss, 1000, dtype)
    w = np.arange(1000) % 4 * 0.7
    for n_threads in (1, 2, 3):
        network = make(loss, dtype, hidden=(400, 300))
        network.fit(X, y, sample_weight=w, batch_size=500, epochs=2, n_threads=n_threads,
                    verbose=False)  # fmt: skip
        results.append(network.theta.copy())
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


@EVERY
@BACKENDS
def test_other_derivatives_have_weights(loss, backend):
    """By the inputs and of second order: rows twice, or weight 2."""
    X, y = samples(loss, 12)
    w = np.arange(12) % 3
    network = make(loss, backend=backend)
    X2, y2, v = np.repeat(X, w, axis=0), np.repeat(y, w, axis=0), noise(network.n_params, float, 5)
    by_inputs = network.input_gradient(X, y, sample_weight=w)
    assert (by_inputs[w == 0] == 0).all()
    repeated = network.input_gradient(X2, y2)
    close(by_inputs[w > 0], repeated[np.cumsum(w)[w > 0] - 1] * w[w > 0, None], "float64")
    rest = 1e-8 if backend == "reference" else 1e-13  # its second derivatives are differences
    product = network.hessian_vector_product(X, y, v, sample_weight=w)
    expected = network.hessian_vector_product(X2, y2, v)
    np.testing.assert_allclose(product, expected, atol=rest * (1 + np.abs(expected).max()))
    if loss == "mse":
        H = network.hessian(X, y, sample_weight=w)
        np.testing.assert_allclose(H @ v, product, atol=max(rest, 1e-12))


# --- Accuracy and classes -------------------------------------------------------------------------


def classifier(n=3, backend="auto", dtype="float64", **options):
    output = Dense(n, "softmax") if n > 1 else Dense(1, "sigmoid")
    return Network(N_IN, Dense(5, "tanh"), output, seed=0, dtype=dtype, backend=backend, **options)


@BACKENDS
def test_accuracy_is_weighted(backend):
    X, rng = noise((90, N_IN), float), np.random.default_rng(0)
    w = rng.integers(0, 4, 90)
    for n in (3, 1):
        network = classifier(n, backend)
        y = rng.integers(0, max(n, 2), 90)
        right = (network.predict(X).argmax(1) if n > 1 else network.predict(X)[:, 0] > 0.5) == y
        scores = network.evaluate(X, y, sample_weight=w)
        assert scores["accuracy"] == pytest.approx((right * w).sum() / w.sum(), rel=1e-14)
        assert scores["accuracy"] != right.mean()
        history = network.fit(X, y, sample_weight=w, verbose=False, validation_data=(X, y, w))
        assert history["val_accuracy"] == [network.evaluate(X, y, sample_weight=w)["accuracy"]]
        assert history["val_loss"] == [network.evaluate(X, y, sample_weight=w)["loss"]]
    several = Network(N_IN, Dense(2, "sigmoid"), seed=0, dtype="float64", backend=backend)
    y = rng.integers(0, 2, (90, 2))
    right = (several.predict(X) > 0.5) == y
    accuracy = several.evaluate(X, y, sample_weight=w)["accuracy"]
    assert accuracy == pytest.approx((right.mean(1) * w).sum() / w.sum(), rel=1e-14)


@BACKENDS
@pytest.mark.parametrize("form", ["labels", "rows", "bits", "signs"])
@pytest.mark.parametrize("given", ["dict", "array", "balanced"])
def test_class_weights_are_weights_of_rows(backend, form, given):
    X, rng = noise((120, N_IN), float), np.random.default_rng(1)
    n = 3 if form in ("labels", "rows") else 2
    labels = np.sort(rng.integers(0, n, 120) * rng.integers(0, 2, 120))
    sample_weight = rng.integers(0, 3, 120)
    y = {"labels": labels, "rows": np.eye(n)[labels], "bits": labels, "signs": 2 * labels - 1}[form]
    keys = [-1, 1] if form == "signs" else range(n)
    table = np.array([0.5, 3.0, 2.0])[:n]
    class_weight = {"dict": dict(zip(keys, table, strict=True)), "array": table.tolist(),
                    "balanced": "balanced"}[given]  # fmt: skip
    if given == "balanced":
        counts = np.bincount(labels, sample_weight, n)
        table = sample_weight.sum() / (n * counts)

    def network():
        if form == "signs":
            return Network(N_IN, Dense(1), loss="hinge", seed=0, dtype="float64", backend=backend)
        return classifier(n if n > 2 else 1, backend)

    a, b = network(), network()
    rows = sample_weight * table[labels]
    options = {"verbose": False, "epochs": 2, "batch_size": 50}
    half = X[::2], y[::2]
    first = a.fit(X, y, sample_weight=sample_weight, class_weight=class_weight,
                  validation_data=half, **options)  # fmt: skip
    second = b.fit(X, y, sample_weight=rows, validation_data=(*half, table[labels][::2]), **options)
    assert_same_bits(a.theta, b.theta)
    assert dict(first) == dict(second)
    scores = a.evaluate(X, y, sample_weight=sample_weight, class_weight=class_weight)
    assert scores == a.evaluate(X, y, sample_weight=rows)
    assert scores != a.evaluate(X, y, sample_weight=sample_weight)


def test_other_classes_have_weight_1():
    X, y = noise((30, N_IN), float), np.arange(30) % 3
    network = classifier()
    assert network.evaluate(X, y, class_weight={1: 5}) == network.evaluate(
        X, y, sample_weight=np.where(y == 1, 5, 1)
    )
    with_numpy = network.evaluate(X, y, class_weight={np.int64(1): np.float32(5)})
    assert with_numpy == network.evaluate(X, y, class_weight={1: 5})
    only_two = np.where(y == 2, 1, y)  # a class that does not occur
    network.evaluate(X, only_two, class_weight="balanced")


# --- What is refused ------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize(
    "weights, message",
    [
        (np.ones(7), "sample_weight has shape (7,); expected (10,), one for each row of X."),
        (np.ones((10, 2)), "sample_weight has shape (10, 2); expected (10,)"),
        (1.0, "sample_weight has shape (); expected (10,)"),
        ([1] * 9 + [-1], "sample_weight must be 0 or between 1e-100 and 1e+100, got -1 at row 9."),
        ([1] * 9 + [np.nan], "got nan at row 9."),
        ([np.inf] + [1] * 9, "got inf at row 0."),
        ([1e-300] + [1] * 9, "got 1e-300 at row 0."),
        (np.zeros(10), "sample_weight is 0 for every row: there is nothing left"),
        ("balanced", "sample_weight must be numbers, one for each row of X"),
        (["a"] * 10, "sample_weight must be numbers"),
        ([None] * 10, "sample_weight must be"),
        ([[1], [1, 2]] * 5, "sample_weight must be numbers"),
    ],
)
def test_bad_sample_weights(backend, weights, message):
    X, y = samples("mse", 10)
    network = make("mse", backend=backend)
    before = network.theta.copy(), network._engine.n_updates
    for use in (network.fit, network.partial_fit, network.evaluate, network.loss_and_gradient):
        with pytest.raises(ValueError) as caught:
            use(X, y, sample_weight=weights)
        assert message in str(caught.value)
    with pytest.raises(ValueError) as caught:
        network.fit(X, y, validation_data=(X, y, weights), verbose=False)
    assert message.replace("sample_weight", "validation sample_weight")[:30] in str(caught.value)
    assert (network.theta == before[0]).all() and network._engine.n_updates == before[1]


@pytest.mark.parametrize(
    "class_weight, message",
    [
        ("balance", "class_weight must be a dict, an array or \"balanced\", got 'balance'"),
        ({3: 1.0}, "class_weight has a class 3; classes are [0, 1, 2]."),
        ({"a": 1.0}, "class_weight has a class 'a'; classes are [0, 1, 2]."),
        ({1.5: 1.0}, "class_weight has a class 1.5"),
        ({0: -1.0}, "class_weight of 0 must be 0 or between 1e-100 and 1e+100, got -1"),
        ({0: "x"}, "class_weight of 0 must be numbers"),
        ([1, 2], "class_weight has shape (2,); expected (3,), one for each row of classes."),
        ([1, 2, np.nan], "class_weight must be 0 or between 1e-100 and 1e+100, got nan at row 2."),
        ([0, 0, 0], "sample_weight times class_weight is 0 for every row"),
        (3, "class_weight has shape (); expected (3,)"),
    ],
)
def test_bad_class_weights(class_weight, message):
    X, y = noise((30, N_IN), float), np.arange(30) % 3
    network = classifier()
    for use in (network.fit, network.evaluate):
        with pytest.raises(ValueError) as caught:
            use(X, y, class_weight=class_weight)
        assert message in str(caught.value)
    assert network._engine.n_updates == 0


def test_class_weights_need_one_class_for_each_row():
    X = noise((4, N_IN), float)
    soft = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match=r"row 1 of y is \[0.0, 0.5, 0.5\]. Use sample_weight"):
        classifier().fit(X, soft, class_weight="balanced", verbose=False)
    with pytest.raises(ValueError, match=r"row 2 of y is \[0.25\]"):
        classifier(1).fit(X, [0, 1, 0.25, 1], class_weight={0: 2}, verbose=False)
    with pytest.raises(ValueError, match="this network has 3 outputs and mse. Use sample_weight."):
        make("mse").fit(X, soft, class_weight="balanced", verbose=False)
    with pytest.raises(ValueError, match="row 1 of validation y"):
        hard = np.eye(3)[[0, 1, 2, 0]]
        classifier().fit(X, hard, class_weight={0: 2}, validation_data=(X, soft), verbose=False)


def test_weights_of_any_kind_are_copied():
    X, y = samples("mse", 6)
    expected = make("mse").evaluate(X, y, sample_weight=[0, 1, 2, 3, 0, 1])
    for w in ((0, 1, 2, 3, 0, 1), np.array([0, 1, 2, 3, 0, 1], "int8"),
              np.array([[0], [1], [2], [3], [0], [1]], "f4"), np.arange(12)[::2] % 4 * 0 + [
                  0, 1, 2, 3, 0, 1]):  # fmt: skip
        assert make("mse").evaluate(X, y, sample_weight=w) == expected
    network = make("mse")
    w = network.theta[:6] = [1, 2, 3, 0, 1, 1]
    network.fit(X, y, sample_weight=network.theta[:6], epochs=3, verbose=False)
    twin = make("mse")
    twin.theta[:6] = w
    twin.fit(X, y, sample_weight=w, epochs=3, verbose=False)
    assert_same_bits(network.theta, twin.theta)


def test_a_weight_is_as_good_as_many_rows_after_training():
    """A fit to a rare class: balanced weights do what repeating its rows does."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((200, N_IN))
    y = (X[:, 0] + 0.5 * rng.standard_normal(200) > 1.2).astype(int)
    found = {}
    for class_weight in (None, "balanced"):
        network = classifier(1, optimizer=Adam(0.05))
        network.fit(X, y, epochs=60, class_weight=class_weight, verbose=False)
        found[class_weight] = ((network.predict(X)[:, 0] > 0.5) & (y == 1)).sum() / y.sum()
    assert found["balanced"] > found[None]
