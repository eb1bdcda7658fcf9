"""The NumPy twin, checked alone: by hand calculation, finite differences and special values."""

import math
from collections import namedtuple

import numpy as np
import pytest

from nncore import reference
from nncore.reference import ACTIVATIONS, LOSSES, OPTIMIZERS, ReferenceEngine

Step = namedtuple("Step", "kind n_in n_out activation parameters w b")

STRETCH = np.array([-700, -90, -20, -3, -1, -0.1, -1e-9, 1e-9, 0.2, 1, 3, 20, 90, 700])


def lower(n_in, *layers, bias=True):
    """Return (steps, n_params) of dense layers given as (n_out, activation)."""
    steps, n_params = [], 0
    for n_out, activation in layers:
        w, b = n_params, n_params + n_in * n_out
        n_params = b + n_out * bias
        defaults = ACTIVATIONS[activation].parameters if activation in ACTIVATIONS else {}
        parameters = tuple(defaults.values())
        steps.append(Step("dense", n_in, n_out, activation, parameters, w, b if bias else -1))
        n_in = n_out
    return steps, n_params


def make_engine(n_in, *layers, loss, dtype="float64", bias=True, seed=1):
    engine = ReferenceEngine(*lower(n_in, *layers, bias=bias), loss, np.dtype(dtype))
    engine.theta[:] = np.random.default_rng(seed).uniform(-0.8, 0.8, engine.theta.size)
    return engine


def classes(n_rows, n_in=4, n_classes=3, dtype="float64", seed=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, n_in)).astype(dtype), rng.integers(0, n_classes, n_rows)


def predict(engine, X, n_out):
    out = np.empty((len(X), n_out), engine.theta.dtype)
    engine.predict(X, out)
    return out


def loss_and_gradient(engine, X, y):
    gradient = np.full_like(engine.theta, np.nan)
    return engine.loss_and_gradient(X, y, gradient), gradient


def assert_is_gradient(f, theta, gradient):
    """Compare with central differences of f, a function of the array theta that is changed here."""
    expected, h = np.empty_like(gradient), 1e-5
    for i in np.ndindex(theta.shape):
        middle = theta[i]
        theta[i] = middle + h
        above = f()
        theta[i] = middle - h
        expected[i] = (above - f()) / (2 * h)
        theta[i] = middle
    size = np.abs(expected).max()
    assert size > 1e-3, "nearly zero: this would compare rounding errors"
    assert np.abs(gradient - expected).max() <= 1e-7 * size


# --- The worked example: 3-2-1, sigmoid, one row --------------------------------------------------

X1 = np.array([[0.6, 0.8, 0.7]])
W1, B1 = [[0.1, 0.2], [0.3, 0.1], [0.5, 0.0]], [0.1, 0.1]
W2, B2 = [0.1, 0.2], 1.0
HIDDEN, OUTPUT = (0.679178699175393, 0.574442516811659), 0.76545202190952


def worked_example(loss):
    engine = ReferenceEngine(*lower(3, (2, "sigmoid"), (1, "sigmoid")), loss, np.dtype("float64"))
    engine.theta[:] = [*W1[0], *W1[1], *W1[2], *B1, *W2, B2]
    return engine


def test_worked_example_forward():
    hidden = ReferenceEngine(*lower(3, (2, "sigmoid")), "mse", np.dtype("float64"))
    hidden.theta[:] = [*W1[0], *W1[1], *W1[2], *B1]
    np.testing.assert_allclose(predict(hidden, X1, 2)[0], HIDDEN, rtol=1e-14)
    np.testing.assert_allclose(predict(worked_example("half_mse"), X1, 1), OUTPUT, rtol=1e-14)
    # What scikit-learn's tests print for this network was computed from HIDDEN at three digits.
    score = np.array([0.1 * 0.679 + 0.2 * 0.574 + 1])
    np.testing.assert_allclose(reference.activations.sigmoid(score), 0.7654329236196236, rtol=1e-14)


@pytest.mark.parametrize("loss", ["half_mse", "binary_cross_entropy"])
def test_worked_example_step(loss):
    rate, (h0, h1), o = 0.1, HIDDEN, OUTPUT  # the target is 0
    if loss == "half_mse":
        value, d = o * o / 2, o * o * (1 - o)
    else:
        value, d = -math.log(1 - o), o
    d0, d1 = d * W2[0] * h0 * (1 - h0), d * W2[1] * h1 * (1 - h1)
    if loss != "half_mse":
        assert (d, d0, d1) == pytest.approx((0.765, 0.01667, 0.0374), rel=1e-3)
    gradient = [x * e for x in X1[0] for e in (d0, d1)] + [d0, d1, d * h0, d * h1, d]

    engine, y = worked_example(loss), np.zeros((1, 1))
    before = engine.theta.copy()
    got, g = loss_and_gradient(engine, X1, y)
    assert got == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(g, gradient, rtol=1e-13)
    engine.set_optimizer("sgd", (rate,))
    assert engine.train(X1, y, None, 1) == pytest.approx([value], rel=1e-14)
    np.testing.assert_allclose(engine.theta, before - rate * np.array(gradient), rtol=1e-14)


# --- Activations ----------------------------------------------------------------------------------

FORMULAS = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x)),
    "tanh": math.tanh,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "softsign": lambda x: x / (1 + abs(x)),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "hardtanh": lambda x: min(max(x, -1.0), 1.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "hard_sigmoid": lambda x: min(max((x + 3) / 6, 0.0), 1.0),
    "elliot": lambda x: 0.5 / (1 - x) if x < 0 else 1 - 0.5 / (1 + x),
    "log_sigmoid": lambda x: min(x, 0.0) - math.log1p(math.exp(-abs(x))),
    "silu": lambda x: x * FORMULAS["sigmoid"](x),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "celu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    "gelu_tanh": lambda x: x
    * FORMULAS["sigmoid"](2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    "mish": lambda x: x * math.tanh(FORMULAS["softplus"](x)),
    "hard_swish": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
    "tanhshrink": lambda x: x - math.tanh(x),
    "hard_shrink": lambda x: x if abs(x) > 0.5 else 0.0,
    "softshrink": lambda x: math.copysign(max(abs(x) - 0.5, 0.0), x),
    "threshold": lambda x: x if x > 1 else 0.0,
    "squareplus": lambda x: (math.hypot(x, 2) + x) / 2 if x > 0 else 2 / (math.hypot(x, 2) - x),
    "exponential": math.exp,
    "sin": math.sin,
    "gaussian": lambda x: math.exp(-x * x),
    "satlin": lambda x: min(max(x, 0.0), 1.0),
    "tribas": lambda x: max(1 - abs(x), 0.0),
}


def test_every_activation_has_a_formula_here():
    assert FORMULAS.keys() == ACTIVATIONS.keys()


# Roundings: what exp makes of that of its argument, which is up to some hundreds here.
ROUGH = {"gelu": 500, "gelu_tanh": 3000, "gaussian": 500, "mish": 8}


def stretch(name):
    return STRETCH[np.abs(STRETCH) < 80] if name == "exponential" else STRETCH


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_values_and_dtype(name, dtype):
    x = stretch(name).astype(dtype)
    y, slope = ACTIVATIONS[name].f(x), ACTIVATIONS[name].df(x)
    assert y.dtype == slope.dtype == x.dtype
    info = np.finfo(dtype)
    expected = [FORMULAS[name](float(v)) for v in x]
    roundings, least = ROUGH.get(name, 4), 4 * info.smallest_subnormal
    if name == "tanhshrink":  # a plain difference
        least = info.eps * np.abs(x)
    assert (np.abs(y - expected) <= roundings * info.eps * np.abs(expected) + least).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivative(name):
    f, df = ACTIVATIONS[name].f, ACTIVATIONS[name].df
    x = np.linspace(-9.05, 9.15, 183)  # steps of 0.1, none of them at the kink
    h = 1e-5
    np.testing.assert_allclose(df(x), (f(x + h) - f(x - h)) / (2 * h), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_from_what_is_kept_is_the_derivative(name):
    activation = ACTIVATIONS[name]
    short = name in ("sigmoid", "tanh", "elu", "selu", "celu")
    x = STRETCH[np.abs(STRETCH) <= 3] if short else stretch(name)
    kept = x if activation.keeps == "X" else activation.f(x)
    before = kept.copy()
    np.testing.assert_allclose(activation.slope(kept), activation.df(x), rtol=1e-13)
    np.testing.assert_array_equal(kept, before)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_in_place_is_the_same(name):
    f = ACTIVATIONS[name].f
    x = stretch(name).copy()
    y = f(x)
    np.testing.assert_array_equal(x, stretch(name))
    assert f(x, x, np.empty_like(x)) is x
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_special_values(name, dtype):
    f, df = ACTIVATIONS[name].f, ACTIVATIONS[name].df
    info = np.finfo(dtype)
    huge = np.array([-info.max / 2, info.max / 2, info.tiny, -info.tiny, 0], dtype)
    if name in ("exponential", "sin"):
        huge = huge[2:]
    assert np.isfinite(f(huge)).all() and np.isfinite(df(huge)).all()
    ends = f(np.array([-np.inf, np.inf], dtype))
    expected = {
        "identity": (-np.inf, np.inf),
        "relu": (0, np.inf),
        "sigmoid": (0, 1),
        "tanh": (-1, 1),
        "softplus": (0, np.inf),
        "softsign": (-1, 1),
        "leaky_relu": (-np.inf, np.inf),
        "elu": (-1, np.inf),
        "hardtanh": (-1, 1),
        "relu6": (0, 6),
        "hard_sigmoid": (0, 1),
        "elliot": (0, 1),
        "log_sigmoid": (-np.inf, 0),
        "silu": (0, np.inf),
        "selu": (-1.7580993408473768, np.inf),
        "celu": (-1, np.inf),
        "tanhshrink": (-np.inf, np.inf),
        "hard_shrink": (-np.inf, np.inf),
        "softshrink": (-np.inf, np.inf),
        "sin": (np.nan, np.nan),
        "gaussian": (0, 0),
        "satlin": (0, 1),
        "tribas": (0, 0),
        **dict.fromkeys(("gelu", "gelu_tanh", "mish", "hard_swish", "threshold", "squareplus",
                         "exponential"), (0, np.inf)),
    }  # fmt: skip
    np.testing.assert_array_equal(ends, np.array(expected[name], dtype))
    assert np.isnan(f(np.array([np.nan], dtype))).all()


def test_relu_slope_at_zero_is_zero():
    relu, zeros = ACTIVATIONS["relu"], np.array([0.0, -0.0])
    assert not relu.df(zeros).any() and not relu.slope(relu.f(zeros)).any()


def test_softmax():
    x = np.random.default_rng(3).normal(size=(50, 7)).astype("float32") * 10
    y = reference.activations.softmax(x)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    e = np.exp(x.astype("float64"))
    # The differences of the scores, up to 60 here, are rounded to float32 before exp.
    np.testing.assert_allclose(y, e / e.sum(axis=1, keepdims=True), rtol=1e-5)
    y = reference.activations.softmax(np.array([[1e30, -1e30, 1e30]]))
    np.testing.assert_allclose(y, [[0.5, 0, 0.5]])


# --- Losses ---------------------------------------------------------------------------------------


def plain_focal(z, t):  # with gamma = 2 and no alpha
    x = (2 * t - 1) * z
    return math.log(1 + math.exp(-x)) / (1 + math.exp(x)) ** 2


PLAIN = {
    "mae": lambda y, t: abs(y - t),
    "huber": lambda y, t: (y - t) ** 2 / 2 if abs(y - t) < 1 else abs(y - t) - 0.5,
    "smooth_l1": lambda y, t: (y - t) ** 2 / 2 if abs(y - t) < 1 else abs(y - t) - 0.5,
    "log_cosh": lambda y, t: math.log(math.cosh(y - t)),
    "quantile": lambda y, t: abs(y - t) / 2,
    "hinge": lambda y, t: max(1 - t * y, 0),
    "squared_hinge": lambda y, t: max(1 - t * y, 0) ** 2,
    "poisson": lambda y, t: math.exp(y) - t * y,
    "focal": plain_focal,
}


def plain_loss(loss, s, t):
    """Return the loss of one matrix in plain Python floats, from outputs or from scores."""
    per_row = []
    for row, targets in zip(s, t, strict=True):
        pairs = list(zip(row, targets, strict=len(row) == len(targets)))
        if loss == "mse":
            per_row.append(sum((y - v) ** 2 for y, v in pairs) / len(row))
        elif loss == "half_mse":
            per_row.append(sum((y - v) ** 2 for y, v in pairs) / 2)
        elif loss == "cross_entropy":
            norm = sum(math.exp(z) for z in row)
            per_row.append(-sum(v * math.log(math.exp(z) / norm) for z, v in pairs))
        elif loss == "binary_cross_entropy":
            y = [1 / (1 + math.exp(-z)) for z in row]
            bits = zip(y, targets, strict=True)
            each = [-v * math.log(p) - (1 - v) * math.log(1 - p) for p, v in bits]
            per_row.append(sum(each) / len(row))
        elif loss == "kl_divergence":
            norm = sum(math.exp(z) for z in row)
            per_row.append(sum(v * (math.log(v) - math.log(math.exp(z) / norm)) for z, v in pairs))
        elif loss == "gaussian_nll":
            halves = zip(row[: len(targets)], row[len(targets) :], targets, strict=True)
            each = [(v + (m - x) ** 2 / math.exp(v)) / 2 for m, v, x in halves]
            per_row.append(sum(each) / len(targets))
        else:
            each = [PLAIN[loss](y, v) for y, v in pairs]
            per_row.append(sum(each) / len(row))
    return sum(per_row) / len(per_row)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_values_and_gradient(loss):
    rng = np.random.default_rng(4)
    n = 4 if loss == "gaussian_nll" else 3
    s, t = rng.normal(size=(5, n)), rng.uniform(size=(5, 3))  # target rows do not sum to 1
    t = t[:, : n // LOSSES[loss].per_target]
    assert LOSSES[loss].value(s, t) == pytest.approx(plain_loss(loss, s.tolist(), t.tolist()))
    assert_is_gradient(lambda: LOSSES[loss].value(s, t), s, LOSSES[loss].gradient(s, t))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_labels_are_one_hot_rows(dtype):
    X, labels = classes(700, dtype=dtype)
    rows = np.eye(3, dtype=dtype)[labels]
    engine = make_engine(4, (5, "tanh"), (3, "softmax"), loss="cross_entropy", dtype=dtype)
    eps = float(np.finfo(dtype).eps)
    assert engine.loss(X, labels) == pytest.approx(engine.loss(X, rows), rel=8 * eps)
    a, b = loss_and_gradient(engine, X, labels)[1], loss_and_gradient(engine, X, rows)[1]
    np.testing.assert_allclose(a, b, atol=64 * eps * np.abs(a).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_extreme_scores(dtype, scale):
    z = np.array([[1, -1, 0], [-1, 1, 1]], dtype) * np.array(scale, dtype)
    t = np.array([[0, 1, 0], [0, 1, 0]], dtype)
    loss = LOSSES["cross_entropy"]
    value = (2 * scale + math.log(2)) / 2
    assert loss.value(z, t) == pytest.approx(value, rel=1e-6)
    assert loss.value(z, np.array([1, 1])) == pytest.approx(value, rel=1e-6)
    expected = np.array([[1, -1, 0], [0, -0.5, 0.5]]) / 2
    np.testing.assert_allclose(loss.gradient(z, t), expected, atol=1e-6)
    np.testing.assert_allclose(loss.gradient(z, np.array([1, 1])), expected, atol=1e-6)
    loss = LOSSES["binary_cross_entropy"]
    assert loss.value(z, t) == pytest.approx((3 * scale + math.log(2)) / 6, rel=1e-6)
    expected = np.array([[1, -1, 0.5], [0, 0, 1]]) / 6
    np.testing.assert_allclose(loss.gradient(z, t), expected, atol=1e-6)


def test_small_losses_keep_their_accuracy():
    z, t = np.array([[50.0], [-60.0]]), np.array([[1.0], [0.0]])
    expected = (math.exp(-50) + math.exp(-60)) / 2
    assert LOSSES["binary_cross_entropy"].value(z, t) == pytest.approx(expected, rel=1e-14, abs=0)


# --- Gradients of whole networks ------------------------------------------------------------------

OUTPUTS = [*ACTIVATIONS, "softmax", "log_softmax"]
ANY_OUTPUT = [(a, loss) for a in OUTPUTS for loss in ("mse", "half_mse")]
FUSED = [("softmax", "cross_entropy"), ("log_softmax", "cross_entropy"),
         ("sigmoid", "binary_cross_entropy")]  # fmt: skip


@pytest.mark.parametrize("hidden", ACTIVATIONS)
@pytest.mark.parametrize(("output", "loss"), ANY_OUTPUT + FUSED)
def test_gradient(hidden, output, loss):
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(6, 4)), rng.uniform(0.1, 0.9, size=(6, 3))
    engine = make_engine(4, (5, hidden), (4, "tanh"), (3, output), loss=loss)
    if {"threshold", "hard_shrink", "softshrink"} & {hidden, output}:
        engine.theta *= 3  # so that some units are not at 0
    _, gradient = loss_and_gradient(engine, X, y)
    assert_is_gradient(lambda: engine.loss(X, y), engine.theta, gradient)


def test_gradient_without_bias():
    X, labels = classes(6)
    engine = make_engine(4, (5, "softsign"), (3, "softmax"), loss="cross_entropy", bias=False)
    assert engine.theta.size == 4 * 5 + 5 * 3
    _, gradient = loss_and_gradient(engine, X, labels)
    assert_is_gradient(lambda: engine.loss(X, labels), engine.theta, gradient)


def test_softmax_under_squared_error_has_the_full_jacobian():
    x, t = np.array([[0.3, -0.8]]), np.array([[0.1, 0.7, 0.2]])
    engine = make_engine(2, (3, "softmax"), loss="half_mse")
    y = predict(engine, x, 3)[0]
    dz = (np.diag(y) - np.outer(y, y)) @ (y - t[0])
    _, gradient = loss_and_gradient(engine, x, t)
    np.testing.assert_allclose(gradient, [*np.outer(x[0], dz).ravel(), *dz], rtol=1e-13)


def test_blocks_of_rows_do_not_change_the_meaning(monkeypatch):
    X, labels = classes(1300)
    sizes = (reference.BLOCK, 2000)
    assert sizes[0] < len(X) < sizes[1]
    results = []
    for size in sizes:
        monkeypatch.setattr(reference, "BLOCK", size)
        engine = make_engine(4, (6, "softplus"), (3, "softmax"), loss="cross_entropy")
        value, gradient = loss_and_gradient(engine, X, labels)
        assert engine.loss(X, labels) == pytest.approx(value, rel=1e-14)
        results.append((predict(engine, X, 3), value, gradient))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(results[0][0].sum(axis=1), 1, rtol=1e-14)


def test_float32_is_close_to_float64():
    X, labels = classes(40, n_in=30)
    engines = [
        make_engine(30, (20, "relu"), (3, "softmax"), loss="cross_entropy", dtype=dtype)
        for dtype in ("float32", "float64")
    ]
    engines[1].theta[:] = engines[0].theta
    (a, da), (b, db) = (loss_and_gradient(e, X.astype(e.theta.dtype), labels) for e in engines)
    assert da.dtype == np.float32 and db.dtype == np.float64
    assert a == pytest.approx(b, rel=1e-5)
    np.testing.assert_allclose(da, db, atol=1e-5 * np.abs(db).max())


def test_a_loss_with_a_link_needs_this_output():
    for output, loss in [("sigmoid", "cross_entropy"), ("softmax", "binary_cross_entropy")]:
        with pytest.raises(ValueError, match="output"):
            make_engine(2, (2, output), loss=loss)


# --- Optimizers -----------------------------------------------------------------------------------


def plain_steps(name, p, gradients, h):
    """Return one parameter after each step, in plain Python floats; h holds hyper-parameters."""
    m = v = 0.0
    path = []
    for t, g in enumerate(gradients, start=1):
        if name == "sgd":
            p -= h["lr"] * g
        elif name == "momentum":
            v = h["mu"] * v + g
            p -= h["lr"] * v
        elif name == "nesterov":
            v = h["mu"] * v + g
            p -= h["lr"] * (g + h["mu"] * v)
        else:
            m = h["beta1"] * m + (1 - h["beta1"]) * g
            v = h["beta2"] * v + (1 - h["beta2"]) * g * g
            m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
            p -= h["lr"] * m_hat / (math.sqrt(v_hat) + h["eps"])
        path.append(p)
    return path


@pytest.mark.parametrize("scale", [1.0, 1e-8])  # with the small one, eps matters
@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam"])  # others: test_styles
def test_optimizer_by_hand(name, scale):
    n_vectors, hyper, update = OPTIMIZERS[name]
    start, gradients = [0.5, -0.3], [(1.0, 0.2), (-0.4, 0.1), (0.3, -2.0)]
    gradients = [tuple(scale * g for g in row) for row in gradients]
    theta, state, move = np.array(start), np.zeros((n_vectors, 2)), np.empty(2)
    paths = [
        plain_steps(name, p, gs, hyper)
        for p, gs in zip(start, zip(*gradients, strict=True), strict=True)
    ]
    for t, expected in enumerate(zip(*paths, strict=True), start=1):
        g = np.array(gradients[t - 1])
        update(theta, g, state, move, t, *hyper.values())
        np.testing.assert_array_equal(g, gradients[t - 1])
        np.testing.assert_allclose(theta - start, np.subtract(expected, start), rtol=1e-9)


def test_optimizer_defaults():
    hyper = {name: OPTIMIZERS[name].hyper for name in ("sgd", "momentum", "nesterov", "adam")}
    assert hyper == {
        "sgd": {"lr": 0.01},
        "momentum": {"lr": 0.01, "mu": 0.9},
        "nesterov": {"lr": 0.01, "mu": 0.9},
        "adam": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_loss_gradient_update(name, dtype):
    """train() against its definition, with order, a short last batch and every optimizer."""
    X, labels = classes(23, dtype=dtype)
    order = np.random.default_rng(6).permutation(23)[:19]
    n_vectors, hyper, update = OPTIMIZERS[name]
    layers = (6, "tanh"), (5, "softsign"), (3, "softmax")
    engine, twin = (make_engine(4, *layers, loss="cross_entropy", dtype=dtype) for _ in range(2))
    engine.set_optimizer(name, tuple(hyper.values()))
    assert engine.state.shape == (n_vectors, engine.theta.size) and not engine.state.any()
    state, move, expected = np.zeros_like(engine.state), np.empty_like(engine.theta), []
    for t in range(1, 7):
        rows = order[(t - 1) % 3 * 8 :][:8]
        value, g = loss_and_gradient(twin, X[rows], labels[rows])
        update(twin.theta, g, state, move, t, *hyper.values())
        expected.append(value)
    losses = np.concatenate([engine.train(X, labels, order, 8) for _ in range(2)])
    assert losses.dtype == np.float64 and losses.shape == (6,)
    np.testing.assert_array_equal(losses, expected)
    np.testing.assert_array_equal(engine.theta, twin.theta)
    np.testing.assert_array_equal(engine.state, state)
    assert engine.n_updates == 6
    engine.set_optimizer(name, tuple(hyper.values()))
    assert engine.n_updates == 0 and not engine.state.any()


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_order_none_is_all_rows_in_turn(loss):
    X, y = classes(50)
    y = y if loss == "cross_entropy" else np.random.default_rng(7).normal(size=(50, 3))
    output = "softmax" if loss == "cross_entropy" else "identity"
    engines = [make_engine(4, (5, "relu"), (3, output), loss=loss) for _ in range(2)]
    a, b = (
        engine.train(X, y, order, 16)
        for engine, order in zip(engines, (None, np.arange(50)), strict=True)
    )
    assert len(a) == 4
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(engines[0].theta, engines[1].theta)


def test_batch_larger_than_the_data_and_than_earlier_ones():
    X, labels = classes(600)
    engine = make_engine(4, (5, "sigmoid"), (3, "softmax"), loss="cross_entropy")
    engine.set_optimizer("sgd", (0.1,))
    first = predict(engine, X[:3], 3)
    loss, g = loss_and_gradient(engine, X, labels)
    expected = engine.theta - 0.1 * g
    assert engine.train(X, labels, None, 10_000) == pytest.approx([loss], rel=1e-14)
    np.testing.assert_allclose(engine.theta, expected, rtol=1e-13)
    assert not np.array_equal(predict(engine, X[:3], 3), first)
    assert engine.train(X, labels, np.array([], np.int64), 8).shape == (0,)


def test_a_loss_that_is_not_finite_stops_before_the_update():
    X, y = np.ones((6, 2)), np.ones((6, 1))
    X[4] = np.nan
    engine = make_engine(2, (3, "relu"), (1, "identity"), loss="mse")
    twin = make_engine(2, (3, "relu"), (1, "identity"), loss="mse")
    losses = engine.train(X, y, None, 2)
    assert len(losses) == 3 and np.isfinite(losses[:2]).all() and np.isnan(losses[2])
    twin.train(X[:4], y[:4], None, 2)
    np.testing.assert_array_equal(engine.theta, twin.theta)
    assert engine.n_updates == twin.n_updates == 2


def test_divergence_ends_in_a_loss_that_is_not_finite_without_warnings():
    X, y = np.full((8, 2), 3, "float32"), np.ones((8, 1), "float32")
    engine = make_engine(2, (3, "softplus"), (1, "identity"), loss="mse", dtype="float32")
    engine.set_optimizer("sgd", (1e6,))
    losses = engine.train(X, y, np.zeros(400, np.int64), 2)
    assert len(losses) < 200 and not np.isfinite(losses[-1])


def test_learns_xor():
    X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    engine = make_engine(2, (4, "tanh"), (2, "softmax"), loss="cross_entropy")
    engine.set_optimizer("adam", (0.05, 0.9, 0.999, 1e-8))
    losses = engine.train(X, y, np.tile(np.arange(4), 500), 4)
    assert losses[0] > 0.5 and losses[-1] < 0.01
    np.testing.assert_array_equal(predict(engine, X, 2).argmax(axis=1), y)
