"""`Network.trace`: its numbers, against derivations by hand and against the engine, bit for bit."""

import math
from fractions import Fraction

import numpy as np
import pytest

import nncore
from nncore import SGD, Dense, Network, PReLU, Residual, _core
from nncore.views.tracing.arithmetic import Arithmetic

from . import stacks

X3, Y3 = [0.6, 0.8, 0.7], 0.0  # the pattern of both golden networks


def net321(loss="half_mse", optimizer=None, l2=0.0, dtype="float64", **options):
    """The 3-2-1 network of sigmoids, with the weights of scikit-learn's worked example."""
    W1, W2 = [[0.1, 0.2], [0.3, 0.1], [0.5, 0.0]], [[0.1], [0.2]]
    return Network(
        3, Dense(2, "sigmoid", init=W1, bias_init=[0.1, 0.1], l2=l2),
        Dense(1, "sigmoid", init=W2, bias_init=[1.0], l2=l2),
        loss=loss, optimizer=optimizer or SGD(0.1), dtype=dtype, **options,
    )  # fmt: skip


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


# ---- golden cases --------------------------------------------------------------------------------


def test_the_hand_derivation():
    """J = 1/2 (y - h)^2: dJ/dw14 = (h - y) s'(q) w46 s'(p) x1, all by the math module."""

    def s(x):
        return 1 / (1 + math.exp(-x))

    def ds(x):
        return s(x) * (1 - s(x))

    x1, x2, x3, y = *X3, Y3
    p = 0.1 * x1 + 0.3 * x2 + 0.5 * x3 + 0.1
    r = 0.2 * x1 + 0.1 * x2 + 0.0 * x3 + 0.1
    q = 0.1 * s(p) + 0.2 * s(r) + 1
    h = s(q)
    d6 = (h - y) * ds(q)
    d4, d5 = d6 * 0.1 * ds(p), d6 * 0.2 * ds(r)
    by_hand = {
        "w14": d4 * x1, "w24": d4 * x2, "w34": d4 * x3, "b4": d4,
        "w15": d5 * x1, "w25": d5 * x2, "w35": d5 * x3, "b5": d5,
        "w46": d6 * s(p), "w56": d6 * s(r), "b6": d6,
    }  # fmt: skip
    trace = net321().trace(X3, Y3)
    close = {"rel": 1e-14, "abs": 0}
    assert trace.loss == pytest.approx((y - h) ** 2 / 2, **close)
    first, last = trace.layers
    assert first.z[0] == pytest.approx([p, r], **close)
    assert first.a[0] == pytest.approx([s(p), s(r)], **close)
    assert first.slope[0] == pytest.approx([ds(p), ds(r)], **close)
    assert (last.z[0, 0], last.a[0, 0]) == pytest.approx((q, h), **close)
    assert last.da[0, 0] == pytest.approx(h - y, **close)
    assert last.delta[0, 0] == pytest.approx(d6, **close)
    assert first.da[0] == pytest.approx([d6 * 0.1, d6 * 0.2], **close)
    assert first.delta[0] == pytest.approx([d4, d5], **close)
    for name, gradient in by_hand.items():
        weight = trace.weight(name)
        assert weight.gradient == pytest.approx(gradient, **close)
        assert weight.new == pytest.approx(weight.old - 0.1 * gradient, **close)
    [chain] = trace.weight("w14").chains
    [path] = chain.paths
    assert [f.text for f in path.factors] == ["(h - y)", "f'(z6)", "w46"]
    assert [f.value for f in path.factors] == pytest.approx([h - y, ds(q), 0.1], **close)
    assert (chain.slope.text, chain.input.text) == ("f'(z4)", "x1")
    assert (chain.slope.value, chain.input.value) == pytest.approx((ds(p), x1), **close)
    assert trace.verify()


def test_the_worked_example_of_scikit_learn():
    """sklearn/neural_network/tests/test_mlp.py, test_fit: log loss, alpha 0.1, rate 0.1.

    What is written there of the output goes on from 1.1827, which is z6 cut to four digits: it is
    right to 2e-5. The step of the third row of W1 has the input 0.6 there where it is 0.7, so it is
    0.0001 and 0.0004 off; the other numbers hold to the digits that are given. Their own test asks
    for three decimals.
    """
    network = net321("binary_cross_entropy", l2=0.1)
    trace = network.trace(X3, Y3)
    first, last = trace.layers
    h1, h2 = 0.679178699175393, 0.574442516811659
    o = 1 / (1 + math.exp(-(0.1 * h1 + 0.2 * h2 + 1)))
    assert first.a[0] == pytest.approx([h1, h2], rel=1e-14)
    assert last.z[0, 0] == pytest.approx(0.1 * h1 + 0.2 * h2 + 1, rel=1e-15)
    assert trace.outputs[0, 0] == pytest.approx(o, rel=1e-14)
    theirs = nncore.activations["sigmoid"].f(1.1827)
    assert theirs == pytest.approx(0.7654329236196236, rel=1e-14)
    assert last.delta[0, 0] == pytest.approx(0.765, abs=5e-4)
    assert last.da is None  # the loss starts from z
    assert first.delta[0] == pytest.approx([0.01667, 0.0374], abs=3e-5)
    W1, b1, W2, b2 = np.split(trace.new_theta, [6, 8, 10])
    assert W1[:4] == pytest.approx([0.098, 0.195756, 0.2956664, 0.096008], abs=1e-5)
    assert W1[4:] == pytest.approx([0.4939998, -0.002244], abs=5e-4)
    d4, d5 = (o * w * h * (1 - h) for w, h in ((0.1, h1), (0.2, h2)))
    assert W1[4:] == pytest.approx([0.5 - 0.1 * (0.7 * d4 + 0.05), -0.07 * d5], rel=1e-13)
    assert b1 == pytest.approx([0.098333, 0.09626], abs=3e-6)
    assert W2 == pytest.approx([0.04706, 0.154089], abs=7e-5)
    assert b2 == pytest.approx([0.9235], abs=6e-5)
    network.theta = trace.new_theta
    assert network.predict([X3])[0, 0] == pytest.approx(0.739, abs=5e-4)
    weight = trace.weight("w14")
    assert [f.text for f in weight.chains[0].paths[0].factors] == ["(h - y)", "w46"]
    assert weight.penalty == pytest.approx(0.1 * 0.1)
    assert weight.gradient == pytest.approx(o * 0.1 * h1 * (1 - h1) * 0.6 + 0.01, rel=1e-13)
    assert "+ l2 w14" in str(weight) and "- rate * penalty" in str(weight)
    assert trace.verify()


def test_the_penalty_is_in_the_loss():
    trace = net321(l2=0.1).trace(X3, Y3)
    squares = 0.1**2 + 0.3**2 + 0.5**2 + 0.2**2 + 0.1**2 + 0.1**2 + 0.2**2
    assert trace.loss - trace.losses[0] == pytest.approx(0.05 * squares)
    assert trace.loss == pytest.approx(net321(l2=0.1).evaluate([X3], [Y3])["loss"])


# ---- the arithmetic ------------------------------------------------------------------------------


def difficult(rng, n):
    """Numbers of all sizes, zeros, and sums that cancel."""
    a = rng.normal(size=n) * 2.0 ** rng.integers(-500, 500, n)
    b = rng.normal(size=n) * 2.0 ** rng.integers(-500, 500, n)
    with np.errstate(all="ignore"):
        c = np.where(rng.random(n) < 0.5, -(a * b) * (1 + rng.integers(-3, 4, n) * 2.0**-52),
                     rng.normal(size=n) * 2.0 ** rng.integers(-900, 900, n))  # fmt: skip
    a[: n // 20] = 0
    c[n // 20 : n // 10] = 0
    return a, b, c


def test_fma_rounds_once():
    rng = np.random.default_rng(0)
    fma = Arithmetic("float64").fma
    for scale in (1, 2.0**-40):  # with products that underflow, too
        a, b, c = difficult(rng, 4000)
        a, b = a * scale, b * scale
        small = np.isfinite(c) & (np.abs(c) < 1e300)
        a, b, c = a[small], b[small], c[small]
        with np.errstate(all="ignore"):
            found = fma(a, b, c)
        for x, y, z, r in zip(a.tolist(), b.tolist(), c.tolist(), found.tolist(), strict=True):
            exact = Fraction(x) * Fraction(y) + Fraction(z)
            if abs(exact) < Fraction(1.7e308):
                assert r == float(exact), (x.hex(), y.hex(), z.hex())


def test_fma_of_float32_rounds_once():
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=5000).astype("f4") for _ in range(2))
    ties = (a.astype("f8") * b * (2.0 ** rng.integers(20, 28, 5000))).astype("f4")
    for c in (-(a * b), ties, rng.normal(size=5000).astype("f4")):
        found = Arithmetic("float32").fma(a, b, c)
        for x, y, z, r in zip(a.tolist(), b.tolist(), c.tolist(), found.tolist(), strict=True):
            exact = Fraction(x) * Fraction(y) + Fraction(z)
            near = np.float32(float(exact))
            around = [near, *(np.nextafter(near, np.float32(s * np.inf)) for s in (-1, 1))]
            off = [abs(Fraction(float(v)) - exact) for v in around]
            assert Fraction(r) in [Fraction(float(v)) for v, o in zip(around, off, strict=True)
                                   if o == min(off)]  # fmt: skip


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 24), ("float64", 53)])
def test_fma_beside_ties(dtype, digits):
    """A product in the middle of two numbers: what is added, however little, decides."""
    real, half = np.dtype(dtype).type, digits // 2
    x = real(1 + 2.0**-half)
    y = real(1 + 2.0 ** (half - digits))
    low = Fraction(float(x)) * Fraction(float(y)) - Fraction(1, 2**digits)
    assert float(real(float(low))) == low  # and the number above it is 2^(1 - digits) away
    for scale, sign in ((1, 1), (2.0**20, 1), (2.0**-30, -1)):
        a, b = np.array([x * real(scale * sign)]), np.array([y])
        for c, up in ((2.0 ** (-3 * digits), 1), (-(2.0 ** (-3 * digits)), 0)):
            found = Arithmetic(dtype).fma(a, b, np.array([real(c * scale * sign)]))
            assert Fraction(float(found[0])) == sign * Fraction(scale) * (
                low + up * Fraction(2, 2**digits)
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_those_of_the_engine(dtype):
    """Sums of more than a block, and more than a chunk of elements at a time."""
    if _core.ISA == "baseline":
        pytest.skip("without fused multiply-adds sums are not canonical")
    rng = np.random.default_rng(2)
    kernels = _core.Kernels(None, dtype)
    for m, k, n in ((3, 700, 5), (300, 2, 301), (1, 257, 1)):
        a, b = (rng.normal(size=s).astype(dtype) for s in ((m, k), (k, n)))
        bias, c = rng.normal(size=n).astype(dtype), np.empty((m, n), dtype)
        kernels.gemm(a, b, c, bias=bias)
        assert same_bits(Arithmetic(dtype).product(a, b, bias), c)


# ---- against the engine --------------------------------------------------------------------------


def check(network, X, y):
    """All that the engine tells too is the same."""
    trace = network.trace(X, y)
    loss, gradient = network.loss_and_gradient(X, y)
    losses, each = network.sample_gradients(X, y)
    assert trace.loss == pytest.approx(loss, rel=1e-15 * len(X))
    assert same_bits(trace.gradient, gradient)
    assert np.array_equal(trace.losses, losses)
    for row in range(len(X)):
        assert np.array_equal(trace.sample_gradient(row), each[row])
        one = network.input_gradient(X[row : row + 1], y[row : row + 1])
        assert np.array_equal(trace.layers[0].dx[row], one[0])
    found = trace.verify()
    assert found and found.gradient and found.difference == 0
    return trace


exact = pytest.mark.skipif(_core.ISA == "baseline", reason="no fused multiply-adds")
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@exact
@dtypes
@pytest.mark.parametrize("rows", [1, 5])
@stacks.every
def test_every_layer(name, rows, dtype):
    network = stacks.make(name, dtype=dtype, optimizer="sgd")
    trace = check(network, *stacks.samples(name, network, rows))
    random = any(kind in name for kind in ("dropout", "noise", "batch_norm", "nested"))
    if not random:
        assert trace.update_by == "rule" and trace.verify().update


@exact
@dtypes
@pytest.mark.filterwarnings("ignore:All hidden activations", "ignore:Targets span")
@pytest.mark.parametrize("activation", list(nncore.activations))
def test_every_activation(activation, dtype):
    whole = activation in ("softmax", "log_softmax")
    rng = np.random.default_rng(4)
    for loss in ("half_mse", None):
        network = Network(
            5, Dense(19, "tanh" if whole else activation), Dense(11, activation), seed=1,
            loss=loss, optimizer=SGD(0.1), dtype=dtype,
        )  # fmt: skip
        y = rng.uniform(0.1, 0.9, (3, 11))
        y = np.arange(3) if network.loss == "cross_entropy" else y
        assert check(network, rng.normal(size=(3, 5)), y).verify().update


@exact
@dtypes
@pytest.mark.parametrize("loss", list(nncore.losses))
def test_every_loss(loss, dtype):
    output = nncore.losses[loss].output or "tanh"
    network = Network(
        4, Dense(6, "tanh"), Dense(4, output), seed=2, loss=loss, optimizer=SGD(0.1), dtype=dtype
    )
    y = np.random.default_rng(5).integers(0, 2, (3, 4 // network.loss.per_target)).astype(float)
    if loss in ("hinge", "squared_hinge"):
        y = 2 * y - 1
    if output == "softmax":
        y = np.eye(4)[[1, 0, 3]]
    assert check(network, np.random.default_rng(6).normal(size=(3, 4)), y).verify().update


@exact
def test_registered_functions(monkeypatch):
    monkeypatch.setattr(nncore.names, "own_activations", {})
    nncore.register_activation("cubed", lambda x: x**3 / 9, lambda x: x * x / 3)
    network = Network(3, Dense(4, "cubed"), Dense(2, "cubed"), dtype="float64", optimizer="sgd")
    check(network, np.eye(3), np.ones((3, 2)))


@exact
@pytest.mark.parametrize("isa", [isa for isa in _core.isas() if isa != "baseline"])
def test_every_instruction_set(isa):
    network = net321(backend=isa)
    assert network.trace(X3, Y3).verify()


def test_the_reference_backend_is_held_against_the_engine():
    trace = net321(backend="reference").trace(X3, Y3)
    assert trace.network.backend == "reference"
    if _core.ISA != "baseline":
        assert trace.verify() and trace.verify().update


def test_baseline():
    found = net321(backend="baseline").trace(X3, Y3).verify()
    assert found.difference < 1e-16


def test_a_difference_is_found():
    trace = net321().trace(X3, Y3)
    trace.gradient[3] = np.nextafter(trace.gradient[3], 1)
    found = trace.verify()
    assert not found and not found.gradient and 0 < found.difference < 1e-15
    assert "1 of 11 numbers differ" in str(found)
    trace = net321().trace(X3, Y3)
    trace.new_theta[0] = np.nextafter(trace.new_theta[0], 1)
    assert trace.verify().update is False and not trace.verify()


# ---- the update ----------------------------------------------------------------------------------


def test_rates_penalties_and_frozen_layers_are_plain():
    network = Network(
        3, Dense(4, "tanh", l1=0.01, lr_scale=0.3), Dense(4, "tanh", trainable=False),
        Residual(Dense(4, "tanh", l2=0.2, bias=False), PReLU()), Dense(2), seed=0, dtype="float64",
        optimizer=SGD(nncore.schedules.Exponential(0.5, 0.9)), loss="mse",
    )  # fmt: skip
    network.partial_fit(np.ones((2, 3)), np.ones((2, 2)))
    before = stacks.bits(network)
    trace = network.trace([1.0, -2.0, 0.5], [0.0, 1.0])
    assert trace.update_by == "rule" and trace.beyond == []
    assert trace.rate == pytest.approx(0.5 * 0.9)
    frozen = trace.weight(1, 2, 3)
    assert frozen.rate == 0 and frozen.new == frozen.old and "not trained" in str(frozen)
    assert trace.weight(0, 0, 0).rate == pytest.approx(0.3 * trace.rate)
    assert "l1 sign(" in str(trace.weight(0, 0, 0))
    if _core.ISA != "baseline":
        assert trace.verify().update
    str(trace), trace.verify(), trace.to_svg()
    assert stacks.bits(network) == before


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ("adam", "Adam"),
        (SGD(0.1, momentum=0.9), "momentum=0.9"),
        (SGD(0.1, weight_decay=0.1), "weight_decay=0.1"),
        (SGD(0.1, clip_norm=0.001), "clip_norm=0.001"),
        (SGD(0.1, clip_value=0.01), "clip_value=0.01"),
        ("lbfgs", "LBFGS"),
    ],
)
def test_other_updates_are_the_engines(optimizer, said):
    network = net321(optimizer=optimizer)
    for _ in range(2):  # with what the optimizer remembers
        network.partial_fit([[1.0, 2.0, 3.0]], [1.0])
    trace = network.trace(X3, Y3)
    assert trace.update_by == "engine" and said in trace.beyond[0]
    weight = trace.weight("w46")
    assert trace.verify().update is None and trace.verify() or _core.ISA == "baseline"
    assert "nothing to compare" in str(trace.verify())
    assert said in str(trace) and said in str(weight)
    network.partial_fit([X3], [Y3])
    assert same_bits(trace.new_theta, network.theta)
    assert weight.new == network.layers[1].W[0, 0]


def test_max_norm_goes_beyond():
    network = Network(3, Dense(2, max_norm=0.1), optimizer="sgd", seed=0)
    assert "max_norm" in network.trace(X3, [0.0, 1.0]).beyond[0]


def test_layers_that_train_otherwise():
    network = stacks.make("batch_norm", optimizer="sgd")
    X, y = stacks.samples("batch_norm", network, 3)
    trace = network.trace(X, y)
    assert trace.beyond == ["BatchNorm does something else in training"]
    network.partial_fit(X, y)
    assert same_bits(trace.new_theta, network.theta)
    one = network.trace(X[0], y[0])
    assert one.new_theta is None and one.weight(1, 0, 0).new is None
    for shown in (one, one.weight(1, 0, 0)):
        assert "BatchNorm cannot train with a single pattern" in " ".join(str(shown).split())
    assert one.verify().update is None


# ---- what comes in -------------------------------------------------------------------------------


def test_a_pattern_alone_or_in_a_row():
    network = net321()
    whole = network.trace([X3], [[Y3]])
    assert same_bits(network.trace(X3, Y3).gradient, whole.gradient)
    assert same_bits(network.trace(X3, [Y3]).gradient, whole.gradient)
    labels = Network(3, Dense(3, "softmax"), seed=0)
    assert same_bits(labels.trace(X3, 2).gradient, labels.trace([X3], [2]).gradient)
    assert same_bits(labels.trace(X3, [0, 0, 1.0]).gradient, labels.trace(X3, 2).gradient)


def test_the_trace_stays_as_it_was():
    network = net321()
    trace = network.trace(X3, Y3)
    before = str(trace), str(trace.weight("w14"))
    network.fit(np.ones((4, 3)), np.ones(4), epochs=3, verbose=False)
    assert (str(trace), str(trace.weight("w14"))) == before
    x = np.array([X3])
    trace = net321().trace(x, [Y3])
    x[:] = 0
    assert trace.x[0, 0] == 0.6


@pytest.mark.parametrize(
    ("x", "y", "error", "said"),
    [
        (np.ones((33, 3)), np.ones(33), ValueError, "at most 32; got 33 rows"),
        (np.ones((0, 3)), np.ones(0), ValueError, "no rows"),
        ([1.0, 2.0], 0.0, ValueError, "3 input features"),
        ([1.0, 2.0, np.nan], 0.0, ValueError, "NaN"),
        (X3, [0.0, 1.0], ValueError, "expected \\(1, 1\\)"),
        (X3, None, ValueError, "y"),
        ("abc", 0.0, ValueError, "X"),
        ([1.0] * 50, 0.0, ValueError, r"X with shape \(50,\)"),
        ([[1.0], [1.0, 2.0]], 0.0, ValueError, "X is not a rectangular array"),
    ],
)
def test_bad_patterns(x, y, error, said):
    network = net321()
    before = stacks.bits(network)
    with pytest.raises(error, match=said):
        network.trace(x, y)
    assert stacks.bits(network) == before


def test_one_warning_names_the_caller():
    with pytest.warns(UserWarning, match="Targets span") as caught:
        trace = net321().trace(X3, 7.0)
    assert [w.filename for w in caught] == [__file__]
    str(trace), trace.verify(), trace._repr_html_()  # and no other, which would be an error


def test_too_much_work():
    network = Network(1000, Dense(1000, "relu"), Dense(1), seed=0)
    with pytest.raises(ValueError, match="32 patterns of 1,002,001 parameters .* 25,000,000"):
        network.trace(np.ones((32, 1000)), np.ones(32))
    network = Network(5000, Dense(5000), seed=0)
    with pytest.raises(ValueError, match="1 pattern of 25,005,000 parameters are too much"):
        network.trace(np.ones(5000), np.ones(5000))


def test_one_of_each_is_singular():
    trace = Network(1, Dense(1, bias=False), seed=0).trace([1.0], 2.0)
    assert repr(trace).endswith(", 1 parameter>")
    with pytest.raises(ValueError, match="first the inputs, 1, then 2 layer 0$"):
        trace.weight("w99")


def test_an_update_that_is_not_finite():
    trace = net321(optimizer=SGD(1e308, weight_decay=1e3)).trace(X3, Y3)
    assert "inf" in str(trace) and not np.isfinite(trace.new_theta).all()


def test_numbers_that_are_not_finite():
    network = Network(1, Dense(1, init=[[1e200]]), dtype="float64", loss="half_mse")
    with pytest.raises(FloatingPointError, match="the loss of these patterns"):
        network.trace([1e100], 0.0)
