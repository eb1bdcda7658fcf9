"""The promise of equal bits: on every instruction set with fused multiply-add, for a row alone or
in any batch, wherever arrays lie; and the bits of whole training runs, redone in NumPy."""

import numpy as np
import pytest

from nncore import _core

from .checks import (
    BLOCK,
    assert_same_bits,
    canonical_column_sums,
    canonical_product,
    canonical_update,
    guarded,
    lower,
    noise,
    placed,
)

FUSED = [isa for isa in _core.isas() if isa != "baseline"]
# Each against the first. The baseline rounds products, so it is promised nothing.
PAIRS = pytest.mark.parametrize("pair", [(FUSED[0], isa) for isa in FUSED[1:]], ids="-".join)
HYPER = {
    "sgd": (0.1,),
    "momentum": (0.05, 0.8),
    "nesterov": (0.05, 0.8),
    "adam": (0.02, 0.8, 0.95, 1e-6),
    "dampened": (0.05, 0.8, 0.3),
    "velocity": (0.05, 0.8),
    "velocity_nesterov": (0.05, 0.8),
    "adam_keras": (0.02, 0.8, 0.95, 1e-6),
    "amsgrad": (0.02, 0.8, 0.95, 1e-6),
    "amsgrad_keras": (0.02, 0.8, 0.95, 1e-6),
    "adagrad": (0.02, 0.01, 1e-6, 1e-5),
    "adadelta": (0.5, 0.8, 1e-4),
    "rmsprop": (0.01, 0.8, 1e-4, 1e-5),
    "rmsprop_momentum": (0.01, 0.8, 1e-4, 1e-5, 0.7, 1.0),
    "rmsprop_centered": (0.01, 0.8, 1e-4, 1e-5),
    "rmsprop_centered_momentum": (0.01, 0.8, 1e-4, 1e-5, 0.7, 0.0),
    "adamax": (0.02, 0.8, 0.95, 1e-6, 1e-5),
    "nadam": (0.02, 0.8, 0.95, 1e-6, 0.01),
    "radam": (0.02, 0.8, 0.95, 1e-6),
    "lion": (0.005, 0.8, 0.95),
}


def same(pair, dtype, compute):
    """compute(kernels) gives a tuple of arrays, of the same bits on both instruction sets."""
    first, second = (compute(_core.Kernels(isa, dtype)) for isa in pair)
    for a, b in zip(first, second, strict=True):
        assert_same_bits(b, a)
    assert len(np.unique(np.concatenate([a.ravel() for a in first]))) > min(3, first[0].size)


def test_every_rule_has_rates_here():
    assert HYPER.keys() == _core.OPTIMIZERS.keys()


# --- Kernels on all instruction sets --------------------------------------------------------------


@PAIRS
@pytest.mark.parametrize("orientation", ["plain", "transpose_a", "transpose_b"])
@pytest.mark.parametrize(
    "m, n, k",
    [(1, 1, 1), (1, 300, 70), (13, 33, 7), (25, 35, 600), (7, 523, 260), (250, 70, 270)],
)
def test_gemm(pair, dtype, orientation, m, n, k):
    a, b, c = noise((m, k), dtype), noise((k, n), dtype, 1), noise((m, n), dtype, 2)
    bias, kept = noise(n, dtype, 3), np.abs(noise((m, n), dtype, 4))
    a = np.ascontiguousarray(a.T) if orientation == "transpose_a" else a
    b = np.ascontiguousarray(b.T) if orientation == "transpose_b" else b
    how = {} if orientation == "plain" else {orientation: True}

    def compute(kernels):
        plain, sums, y, down = (c.copy() for _ in range(4))
        kernels.gemm(a, b, plain, **how)
        kernels.gemm(a, b, sums, **how, bias=bias, accumulate=True, activation="tanh", y=y)
        kernels.gemm(a, b, down, **how, activation="softplus", kept=kept)
        return plain, sums, y, down

    same(pair, dtype, compute)


@PAIRS
@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_activations(pair, dtype, name):
    bits = np.dtype(dtype).itemsize * 8
    step = 2**bits // 200_003
    x = (np.arange(200_003, dtype=np.uint64) * np.uint64(step)).astype(f"u{bits // 8}").view(dtype)
    x = np.concatenate([x, 3 * noise(50_000, dtype)])
    dy = noise(x.shape, dtype, 1)

    def compute(kernels):
        y, dx, of_x = (np.empty_like(x) for _ in range(3))
        kernels.activation(name, x, y)
        if _core.ACTIVATIONS[name]["keeps"] == "x":
            kernels.slope(name, x, dy, of_x)
            kept, beside = x.copy(), y
            y = np.empty_like(x)
            kernels.activation(name, kept, y, keep=True)
            assert_same_bits(y, beside)
            kernels.slope(name, kept, dy, dx)
        else:
            kernels.slope(name, y, dy, dx)
            kernels.slope(name, x, dy, of_x)
        return y, dx, of_x

    with np.errstate(invalid="ignore"):
        same(pair, dtype, compute)


@PAIRS
@pytest.mark.parametrize("n", [1, 2, 7, 16, 17, 35, 1000])
def test_rows(pair, dtype, n):
    x, dy = noise((9, n), dtype, scale=3), noise((9, n), dtype, 1)
    index = np.array([3, 3, 0, 8])

    def compute(kernels):
        y, dz, sums = np.empty_like(x), np.empty_like(x), dy[0].copy()
        kernels.softmax(x, y)
        kernels.softmax_slope(y, dy, dz)
        kernels.column_sums(x, sums, accumulate=True)
        rows = np.empty((4, n), dtype)
        kernels.gather(index, x, rows)
        return dz, y, sums, rows

    same(pair, dtype, compute)


@PAIRS
@pytest.mark.parametrize("n", [1, 3, 8, 21, 1000])
@pytest.mark.parametrize("name", _core.LOSSES)
def test_losses(pair, dtype, name, n):
    each = _core.LOSSES[name]["per_target"]
    y, t = noise((7, n * each), dtype, scale=3), np.abs(noise((7, n), dtype, 1))
    r, weights = noise(y.shape, dtype, 2), np.array([0, 1, 2, 0.5, 0, 1.7, 3])

    def compute(kernels):
        gradient = np.empty_like(y)
        values = [kernels.loss(name, y, t, gradient, 0.3)]
        weighted, curve = np.empty_like(y), np.empty_like(y)
        values.append(kernels.loss(name, y, t, weighted, 0.3, (0.6, 0.2), weights))
        kernels.loss_curve(name, y, t, r, curve, 0.3, (0.6, 0.2), weights)
        if name == "cross_entropy":
            of_labels = np.empty_like(y)
            values.append(kernels.loss(name, y, np.arange(7) % n, of_labels, 0.3))
            return gradient, np.array(values), of_labels, weighted, curve
        return gradient, np.array(values), weighted, curve

    same(pair, dtype, compute)


@PAIRS
@pytest.mark.parametrize("name", _core.OPTIMIZERS)
def test_updates(pair, dtype, name):
    def compute(kernels):
        vectors = _core.OPTIMIZERS[name]["vectors"]
        theta, state = noise(1003, dtype), np.zeros((vectors, 1003), dtype)
        for t in range(1, 21):
            kernels.update(name, theta, noise(1003, dtype, t), list(state), HYPER[name], t)
        return theta, state

    same(pair, dtype, compute)


# --- Whole networks -------------------------------------------------------------------------------


def make(isa, dtype, n_in, *layers, loss="mse", optimizer="sgd", lead=0):
    steps, n_params = lower(n_in, *layers, lead=lead)
    engine = _core.Engine(steps, n_params, loss, np.dtype(dtype), isa)
    engine.theta[lead:] = noise(n_params - lead, dtype, scale=0.4)
    engine.set_optimizer(optimizer, HYPER[optimizer])
    return engine


def predict(engine, X, n_out):
    out = np.full((len(X), n_out), np.nan, X.dtype)
    engine.predict(X, out)
    return out


NETWORKS = {
    "small": (7, [(5, "tanh"), (3, "identity")], "mse"),
    "deep": (11, [(40, "relu"), (33, "softplus"), (20, "softsign"), (1, "sigmoid")],
             "binary_cross_entropy"),
    "wide": (70, [(150, "sigmoid"), (67, "relu"), (10, "softmax")], "cross_entropy"),
    "jacobian": (5, [(17, "softsign"), (9, "softmax")], "half_mse"),
}  # fmt: skip


def build(isa, dtype, network, **options):
    n_in, layers, loss = NETWORKS[network]
    return make(isa, dtype, n_in, *layers, loss=loss, **options)


def data(network, dtype, rows):
    n_in, layers, loss = NETWORKS[network]
    X, n_out = noise((rows, n_in), dtype), layers[-1][0]
    if loss == "cross_entropy":
        return X, np.arange(rows) * 7 % n_out
    return X, np.abs(noise((rows, n_out), dtype, 1)) % 1


@PAIRS
@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_training_on_every_instruction_set(pair, dtype, network, optimizer):
    """50 steps on shuffled batches, then one on a batch of more than a block."""
    X, y = data(network, dtype, 300)
    order = np.random.default_rng(0).permutation(50 * 37) % 300
    runs = []
    for isa in pair:
        engine = build(isa, dtype, network, optimizer=optimizer)
        before = engine.theta.copy()
        losses = [engine.train(X, y, order, 37), engine.train(X, y, None, 300)]
        assert engine.n_updates == 51
        assert np.mean(engine.theta != before) > 0.7, "inputs of dead units alone stay"
        assert np.isfinite(losses[0]).all()
        outputs = predict(engine, X, NETWORKS[network][1][-1][0])
        runs.append((engine.theta, engine.state, *losses, outputs))
    for a, b in zip(*runs, strict=True):
        assert_same_bits(np.ascontiguousarray(b), np.ascontiguousarray(a))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_row_alone_or_in_any_batch(isa, dtype, network):
    """Small and large batches take different ways through the matrix product."""
    engine, (X, _) = build(isa, dtype, network), data(network, dtype, 600)
    n_out = NETWORKS[network][1][-1][0]
    whole = predict(engine, X, n_out)
    assert len(np.unique(whole, axis=0)) > 590
    alone = np.concatenate([predict(engine, X[i : i + 1], n_out) for i in range(600)])
    assert_same_bits(alone, whole)
    for rows in (2, 5, 6, 7, 11, 12, 13, 24, 25, 26, 100, 255, 256, 257, 300, 511, 512, 513, 599):
        assert_same_bits(predict(engine, X[:rows], n_out), whole[:rows])
        assert_same_bits(predict(engine, X[-rows:], n_out), whole[-rows:])
    shuffled = np.random.default_rng(1).permutation(600)
    assert_same_bits(predict(engine, X[shuffled], n_out), whole[shuffled])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("gap, start", [(0, 1), (1, 0), (2, 3), (37, 5)])
def test_wherever_arrays_lie(isa, dtype, network, gap, start):
    """Strided, unaligned, and with parameters at any offset; and only `out` is written."""
    X, y = data(network, dtype, 270)
    n_out = NETWORKS[network][1][-1][0]
    engine, moved = (build(isa, dtype, network, lead=lead) for lead in (0, start))
    if start:
        moved.theta[start:] = engine.theta
    there, y_there = placed(X, gap, start), placed(y, gap, start) if y.ndim == 2 else y
    out, intact = guarded((270, n_out), dtype, gap, start)
    moved.predict(there, out)
    assert_same_bits(np.ascontiguousarray(out), predict(engine, X, n_out))
    intact()

    gradient = np.empty_like(engine.theta)
    moved_gradient, intact = guarded(len(moved.theta), dtype, start=start)
    loss = engine.loss_and_gradient(X, y, gradient)
    assert moved.loss_and_gradient(there, y_there, moved_gradient) == loss
    intact()
    assert_same_bits(moved_gradient[start:], gradient)
    assert np.abs(gradient).max() > 1e-3

    order = np.random.default_rng(3).permutation(270)
    losses = engine.train(X, y, order, 90)
    assert_same_bits(moved.train(there, y_there, placed(order, start=start), 90), losses)
    assert_same_bits(moved.theta[start:], engine.theta)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_rows_by_index_or_in_place(isa, dtype, network):
    X, y = data(network, dtype, 300)
    shuffled = np.random.default_rng(2).permutation(300)
    a, b = (build(isa, dtype, network, optimizer="adam") for _ in range(2))
    losses = a.train(X, y, shuffled, 90)
    assert len(losses) == 4
    assert_same_bits(b.train(X[shuffled], y[shuffled], None, 90), losses)
    assert_same_bits(b.theta, a.theta)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_a_step_is_the_gradient_and_the_update(isa, dtype, optimizer):
    """train, taken apart: the gradient of the mean loss, then one update with it."""
    X, y = data("deep", dtype, 300)
    engine, by_hand = (build(isa, dtype, "deep", optimizer=optimizer) for _ in range(2))
    kernels, gradient = _core.Kernels(isa, dtype), np.empty_like(engine.theta)
    losses = engine.train(X, y, np.tile(np.arange(300), 3), 300)
    state = [np.zeros_like(gradient) for _ in by_hand.state]
    for t in (1, 2, 3):
        assert by_hand.loss_and_gradient(X, y, gradient) == losses[t - 1]
        kernels.update(optimizer, by_hand.theta, gradient, state, HYPER[optimizer], t)
    assert_same_bits(engine.theta, by_hand.theta)
    for mine, its in zip(state, engine.state, strict=True):
        assert_same_bits(mine, np.ascontiguousarray(its))


# --- A training run, redone in NumPy --------------------------------------------------------------


def sum_of_block(values):
    """Values are added in double, 8 columns side by side, and folded in halves."""
    part = np.zeros(8)
    for row in values.astype(np.float64):
        for j, value in enumerate(row):
            part[j % 8] += value
    for half in (4, 2, 1):
        part[:half] += part[half : 2 * half]
    return part[0]


def loss_and_gradient_in_numpy(engine, steps, X, t, fused):
    """Of relu layers under an identity and mse, with every operation rounded as promised."""
    real, (M, N) = X.dtype.type, t.shape
    parameters, inputs = [], [X]
    for step in steps:
        W = engine.theta[step.w : step.w + step.n_in * step.n_out].reshape(step.n_in, step.n_out)
        parameters.append((W, engine.theta[step.b : step.b + step.n_out]))
        z = canonical_product(inputs[-1], W, bias=parameters[-1][1], fused=fused)
        inputs.append(np.where(z < 0, real(0), z) if step.activation == "relu" else z)
    y = inputs.pop()
    values = (y - t) * (y - t)
    blocks = [slice(i, i + BLOCK) for i in range(0, M, BLOCK)]
    loss = sum(sum_of_block(values[rows]) for rows in blocks) / (M * N)
    dz = real(2) * (y - t) * real(1 / (M * N))
    gradient = []
    for (W, _), x in zip(parameters[::-1], inputs[::-1], strict=True):
        db = None
        for rows in blocks:
            db = canonical_column_sums(dz[rows], db)
        gradient = [canonical_product(x.T, dz, fused=fused).ravel(), db, *gradient]
        dz = canonical_product(dz, W.T, fused=fused) * (x > 0).astype(X.dtype)
    return loss, np.concatenate(gradient)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_training_redone_in_numpy(isa, dtype, fused, optimizer):
    """All roundings of some steps of a network that only adds and multiplies: the order of every
    sum, over inputs, rows and blocks of rows, and of the update."""
    steps, n_params = lower(5, (11, "relu"), (3, "relu"), (10, "identity"))
    X, t = noise((BATCH, 5), dtype), noise((BATCH, 10), dtype, 1)
    engine, twin = (_core.Engine(steps, n_params, "mse", np.dtype(dtype), isa) for _ in range(2))
    engine.theta[:] = twin.theta[:] = noise(n_params, dtype)
    engine.set_optimizer(optimizer, HYPER[optimizer])
    state = [np.zeros_like(twin.theta) for _ in engine.state]
    got = engine.train(X, t, np.tile(np.arange(BATCH), 3), BATCH)
    for step in (1, 2, 3):
        loss, gradient = loss_and_gradient_in_numpy(twin, steps, X, t, fused)
        twin.theta[:], state = canonical_update(
            optimizer, fused, twin.theta, gradient, state, HYPER[optimizer], step
        )
        assert got[step - 1] == loss
    assert np.abs(gradient).max() > 1e-3
    assert_same_bits(engine.theta, twin.theta)
    for its, mine in zip(engine.state, state, strict=True):
        assert_same_bits(np.ascontiguousarray(its), mine)


BATCH = BLOCK + 9
