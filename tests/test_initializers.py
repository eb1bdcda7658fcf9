"""Starting values: their distributions, what they depend on, what users may give, and LSUV."""

import math
import pickle
import re

import numpy as np
import pytest

import nncore
from nncore import Dense, Initializer, Network, initializer
from nncore.initializer import RULES

from .networks import FUSED

EPS = float(np.finfo("float64").eps)
N_IN, N_OUT = 300, 200
NAMES = list(nncore.initializers)


def rng(seed=0):
    return np.random.default_rng(seed)


def started(init, n_in=N_IN, n_out=N_OUT, activation="tanh", dtype="float64", seed=0, **options):
    """The one layer of a new network."""
    net = Network(n_in, Dense(n_out, activation, init=init, **options), dtype=dtype, seed=seed)
    return net.layers[0]


# --- Distributions --------------------------------------------------------------------------------


def uniform(a):
    return lambda x: np.clip((x + a) / (2 * a), 0, 1)


def normal(s, mean=0.0):
    return lambda x: np.array([0.5 * math.erfc((mean - each) / (s * math.sqrt(2))) for each in x])


def cut(s, mean=0.0):
    """A normal of deviation s before it is cut at twice that."""
    whole, tail = normal(s, mean), 0.5 * math.erfc(math.sqrt(2))
    return lambda x: np.clip((whole(x) - tail) / (1 - 2 * tail), 0, 1)


K = 0.87962566103423978
BOTH, LEAK = N_IN + N_OUT, 1 + 0.3**2
# (initializer, activation): the distribution function, the bound of |W| or None
CASES = {
    ("glorot_uniform",): (uniform(math.sqrt(6 / BOTH)), math.sqrt(6 / BOTH)),
    ("glorot_normal",): (normal(math.sqrt(2 / BOTH)), None),
    ("glorot_truncated_normal",): (cut(math.sqrt(2 / BOTH) / K), 2 * math.sqrt(2 / BOTH) / K),
    ("he_uniform",): (uniform(math.sqrt(6 / N_IN)), math.sqrt(6 / N_IN)),
    ("he_normal",): (normal(math.sqrt(2 / N_IN)), None),
    ("he_truncated_normal",): (cut(math.sqrt(2 / N_IN) / K), 2 * math.sqrt(2 / N_IN) / K),
    ("lecun_uniform",): (uniform(math.sqrt(3 / N_IN)), math.sqrt(3 / N_IN)),
    ("lecun_normal",): (normal(math.sqrt(1 / N_IN)), None),
    ("lecun_truncated_normal",): (cut(math.sqrt(1 / N_IN) / K), 2 * math.sqrt(1 / N_IN) / K),
    ("glorot_uniform", "gain", 3.0): (uniform(3 * math.sqrt(6 / BOTH)), 3 * math.sqrt(6 / BOTH)),
    ("glorot_normal", "gain", "tanh"): (normal(5 / 3 * math.sqrt(2 / BOTH)), None),
    ("lecun_normal", "gain", 0.5): (normal(0.5 * math.sqrt(1 / N_IN)), None),
    ("lecun_truncated_normal", "gain", 0.5): (cut(0.5 * math.sqrt(1 / N_IN) / K), None),
    ("he_uniform", "slope", 0.3): (uniform(math.sqrt(6 / LEAK / N_IN)), None),
    ("he_normal", "slope", -0.3): (normal(math.sqrt(2 / LEAK / N_IN)), None),
    ("he_truncated_normal", "slope", 0.3): (cut(math.sqrt(2 / LEAK / N_IN) / K), None),
    ("torch",): (uniform(1 / math.sqrt(N_IN)), 1 / math.sqrt(N_IN)),
    ("sklearn",): (uniform(math.sqrt(6 / BOTH)), math.sqrt(6 / BOTH)),
    ("sklearn", "factor", 2): (uniform(math.sqrt(2 / BOTH)), math.sqrt(2 / BOTH)),
    ("uniform",): (uniform(0.05), 0.05),
    ("uniform", "low", -0.7, "high", 0.7): (uniform(0.7), 0.7),
    ("normal",): (normal(0.05), None),
    ("normal", "mean", 1.0, "std", 0.2): (normal(0.2, 1.0), None),
    ("truncated_normal",): (cut(0.05), 0.1),
    ("truncated_normal", "mean", -1.0, "std", 0.2): (cut(0.2, -1.0), 1.4),
}


def made(name, *pairs):
    return Initializer(name, **dict(zip(pairs[::2], pairs[1::2], strict=True)))


def kolmogorov(sample, cdf):
    """sqrt(n) times the largest distance of the sample's distribution function to the true one.

    Above 2.2 it is in one of 8,000 samples: 2 exp(-2 d^2).
    """
    x = np.sort(sample, axis=None)
    steps, true = np.arange(x.size + 1) / x.size, cdf(x)
    return math.sqrt(x.size) * max((steps[1:] - true).max(), (true - steps[:-1]).max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_distribution(case):
    cdf, bound = CASES[case]
    W = started(made(*case)).W
    assert kolmogorov(W, cdf) < 2.2
    if bound is not None:
        # The density of |W| / bound is at least 0.2 at 1, so e^-20 of all samples would miss this.
        assert bound * (1 - 100 / W.size) < np.abs(W).max() <= bound * (1 + 1e-15)
    # Rows and columns are independent: no row's mean is far from that of all.
    spread = W.std() / math.sqrt(N_OUT)
    assert np.abs(W.mean(axis=1) - W.mean()).max() < 5 * spread


def test_every_distribution_is_tested():
    others = {"orthogonal", "nguyen_widrow", "constant", "zeros", "ones"}
    assert {case[0] for case in CASES} | others == set(NAMES)


def test_a_wrong_distribution_is_told():
    """5 % too wide, 2 % off its mean in deviations, or a normal for a uniform."""
    W = rng().normal(0, 1.05, (N_IN, N_OUT))
    assert kolmogorov(W, normal(1.0)) > 2.2
    assert kolmogorov(W / 1.05 + 0.02, normal(1.0)) > 2.2
    assert kolmogorov(W, uniform(math.sqrt(3))) > 2.2


def test_the_constant_of_the_cut_normal():
    """Its variance is 1 - 2 c phi(c) / (1 - 2 Phi(-c)) at c = 2."""
    phi = math.exp(-2) / math.sqrt(2 * math.pi)
    variance = 1 - 4 * phi / math.erf(math.sqrt(2))
    assert initializer.TRUNCATED_STD == pytest.approx(math.sqrt(variance), rel=1e-15, abs=0)
    W = initializer._cut_normal(rng(), (400, 500))
    five = 5 * math.sqrt(1.4 / 4 / W.size)  # deviations: the kurtosis is below 2.4
    assert W.std() == pytest.approx(K, rel=five) and np.abs(W).max() <= 2


@pytest.mark.parametrize("shape", ["uniform", "normal"])
@pytest.mark.parametrize(
    ("family", "variance"), [("glorot", 2 / 12), ("he", 2 / 5), ("lecun", 1 / 5)]
)
def test_bits_of_the_plain_ones(family, variance, shape):
    """They are what NumPy's generator gives for the seed: networks of a seed stay the same."""
    draw = rng(3).normal if shape == "normal" else rng(3).uniform
    limit = np.sqrt(3 * variance)
    arguments = (0.0, np.sqrt(variance)) if shape == "normal" else (-limit, limit)
    expected = draw(*arguments, (5, 7))
    layer = started(f"{family}_{shape}", 5, 7, seed=3)
    np.testing.assert_array_equal(layer.W, expected)
    assert not layer.b.any()


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_dtypes(name):
    narrow, wide = (
        Network(
            5, Dense(7, "tanh", init=name), Dense(4, "sigmoid", init=name), dtype=dtype, seed=11
        ).theta
        for dtype in ("float32", "float64")
    )
    np.testing.assert_array_equal(narrow, wide.astype(np.float32))
    again, other = (started(name, 5, 7, seed=seed) for seed in (11, 12))
    np.testing.assert_array_equal(again.W.ravel(), wide[:35])
    same = name in ("constant", "zeros", "ones")
    assert np.array_equal(again.W, other.W) == same


# --- Biases ---------------------------------------------------------------------------------------


def test_torch_draws_biases():
    W, b = started("torch", 25, 4000).W, started("torch", 25, 4000).b
    assert np.abs(W).max() <= 0.2 and np.abs(b).max() <= 0.2
    assert kolmogorov(b, uniform(0.2)) < 2.2


@pytest.mark.parametrize(("activation", "factor"), [("sigmoid", 2), ("relu", 6), ("tanh", 6)])
def test_sklearn_draws_biases(activation, factor):
    layer = started("sklearn", 100, 4000, activation)
    bound = math.sqrt(factor / 4100)
    assert kolmogorov(layer.W, uniform(bound)) < 2.2 and kolmogorov(layer.b, uniform(bound)) < 2.2
    given = started(Initializer("sklearn", factor=6.0), 100, 4000, activation)
    assert kolmogorov(given.b, uniform(math.sqrt(6 / 4100))) < 2.2


@pytest.mark.parametrize("name", NAMES)
def test_biases_start_at_zero_or_are_drawn(name):
    drawn = bool(started(name).b.any())
    assert drawn == (name in ("nguyen_widrow", "torch", "sklearn"))
    assert not started(name, bias_init=0).b.any()
    W = started(name, bias=False).W
    np.testing.assert_array_equal(W, started(name).W)


@pytest.mark.parametrize("name", NAMES)
def test_bias_init_by_name(name):
    if RULES[name].matrix:
        with pytest.raises(ValueError, match=f"{name} starts a matrix of weights, and not biases"):
            Dense(3, bias_init=name)
        return
    b = started("zeros", 5, 7, bias_init=name, seed=2).b
    expected = Initializer(name).bias(rng(2), 5, 7, "tanh")
    assert b.shape == (7,)
    np.testing.assert_array_equal(b, expected)


def test_bias_init():
    assert started(None, bias_init=0.1, dtype="float32").b.tolist() == [np.float32(0.1)] * N_OUT
    assert started(None, 3, 2, bias_init=[1, 2]).b.tolist() == [1.0, 2.0]
    assert started(None, 3, 2, bias_init="ones").b.tolist() == [1.0, 1.0]
    value = Initializer("constant", value=-2)
    assert started(None, 3, 2, bias_init=value).b.tolist() == [-2.0, -2.0]
    layer = started(None, 3, 2, bias_init=lambda rng, n_in, n_out: [n_in, n_out])
    assert layer.b.tolist() == [3.0, 2.0]
    b = np.array([1.0, 2.0])
    layer = Dense(2, bias_init=b)
    b[0] = 5  # too late
    assert Network(3, layer).layers[0].b[0] == 1
    # The biases are drawn after the weights.
    layer = started("normal", 3, 2, bias_init="normal")
    draws = rng().normal(0, 0.05, 8)
    np.testing.assert_array_equal(np.r_[layer.W.ravel(), layer.b], draws)


# --- Matrices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", [1.0, 2.5])
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (40, 7), (7, 40), (1, 9), (9, 1), (200, 200)])
def test_orthogonal(shape, gain):
    W = started(Initializer("orthogonal", gain=gain), *shape).W
    gram = W.T @ W if shape[0] >= shape[1] else W @ W.T
    error = np.abs(gram / gain**2 - np.eye(len(gram))).max()
    assert error <= 4 * math.sqrt(max(shape)) * np.finfo(np.float64).eps


def test_orthogonal_is_uniform():
    """Without the signs of R's diagonal, all matrices of two columns would be reflections."""
    matrices = [initializer.initializers["orthogonal"](rng(seed), 2, 2) for seed in range(400)]
    rotations = sum(np.linalg.det(W) > 0 for W in matrices)
    assert abs(rotations - 200) < 5 * 10  # five deviations of a fair coin
    angles = [math.atan2(W[1, 0], W[0, 0]) for W in matrices]
    assert kolmogorov(np.array(angles), uniform(math.pi)) < 2.2
    last = [math.atan2(W[1, 1], W[0, 1]) for W in matrices]
    assert kolmogorov(np.array(last), uniform(math.pi)) < 2.2


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (1, 10), (2, 5), (4, 30), (30, 4), (3, 1)])
def test_nguyen_widrow(n_in, n_out):
    plain = Initializer("nguyen_widrow", active=(-1, 1))
    W, b = plain.with_bias(rng(4), n_in, n_out)
    length = 0.7 * n_out ** (1 / n_in)
    np.testing.assert_allclose(np.linalg.norm(W, axis=0), length, rtol=20 * EPS)
    t = np.linspace(-1, 1, n_out) if n_out > 1 else np.zeros(1)
    np.testing.assert_allclose(b, length * t * np.sign(W[0]), rtol=4 * EPS)

    # For other ranges it is the same net of inputs that are scaled first, then scaled itself.
    low = rng(1).uniform(-5, 5, n_in)
    high = low + rng(2).uniform(0.1, 7, n_in)
    X = rng(3).uniform(low, high, (20, n_in))
    net = ((2 * (X - low) / (high - low) - 1) @ W + b) * 3 + 2
    other = Initializer("nguyen_widrow", inputs=(low, high), active=(-1, 5))
    V, c = other.with_bias(rng(4), n_in, n_out)
    size = np.abs(X) @ np.abs(V) + np.abs(c)  # of what is rounded
    assert (np.abs(X @ V + c - net) <= (n_in + 4) * EPS * size).all()


@pytest.mark.parametrize(("activation", "factor"), [("tanh", 2), ("logsig", 4), ("hardtanh", 1)])
def test_nguyen_widrow_knows_where_activations_bend(activation, factor):
    layer = started("nguyen_widrow", 3, 10, activation)
    plain = started(Initializer("nguyen_widrow", active=(-1, 1)), 3, 10)
    np.testing.assert_allclose(layer.W, factor * plain.W, rtol=4 * EPS)
    np.testing.assert_allclose(layer.b, factor * plain.b, rtol=4 * EPS)


def test_nguyen_widrow_of_one_input_spreads_the_units():
    """The middles of the units, where x w + b = 0, are even over the range of the input."""
    layer = started(Initializer("nguyen_widrow", inputs=(10, 30)), 1, 9, "tanh")
    middles = np.sort(-layer.b / layer.W[0])
    np.testing.assert_allclose(middles, np.linspace(10, 30, 9), rtol=8 * EPS)


def test_nguyen_widrow_leaves_constant_inputs_out():
    low, high = np.array([3.0, 0.0, 0.0]), np.array([3.0, 1.0, 2.0])
    W, b = Initializer("nguyen_widrow", inputs=(low, high)).with_bias(rng(), 3, 8, "tanh")
    assert not W[0].any()
    scaled = W[1:] * (np.array([[1.0], [2.0]]) / 2) / 2
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=0), 0.7 * 8**0.5, rtol=20 * EPS)
    V, _ = Initializer("nguyen_widrow", inputs=(low, 3)).with_bias(rng(), 3, 8, "tanh")
    assert not V[0].any() and V[1:].all()


def test_constants():
    assert not started("zeros").W.any() and (started("ones").W == 1).all()
    assert (started(Initializer("constant", value=0.3)).W == 0.3).all()


# --- Names and parameters -------------------------------------------------------------------------


def test_initializers():
    every = nncore.initializers
    assert len(every) == len(RULES) and "he_normal" in every and "he" not in every
    assert every["xavier_normal"] is every["glorot_normal"] and "keras" in every and 3 not in every
    assert every["he_normal"].aliases == ("kaiming_normal",)
    assert repr(every).startswith("<initializers: glorot_uniform, ")
    with pytest.raises(ValueError, match="Unknown initializer 'he_norml'. Did you mean \"he_norm"):
        every["he_norml"]
    for alias, name in initializer.ALIASES.items():
        assert every[alias].name == name and alias not in RULES
    np.testing.assert_array_equal(started("kaiming_uniform").W, started("he_uniform").W)
    with pytest.raises(AttributeError, match="an Initializer is fixed when it is made: name can"):
        every["zeros"].name = "ones"
    parameters = every["normal"].parameters
    parameters["std"] = 5
    assert every["normal"].parameters == {"mean": 0.0, "std": 0.05}


def test_the_table_of_the_documentation():
    """Has each name once, with its parameters and their defaults."""
    rows = re.findall(r"^(\S[\w, ]*?)(?: \*)?  +(\S.*)$", initializer.__doc__, re.MULTILINE)
    rows = {name: rest for names, rest in rows for name in names.split(", ")}
    for name, rule in RULES.items():
        for parameter, value in rule.parameters.items():
            shown = f"{parameter}={value:g}" if isinstance(value, float) else parameter
            assert shown in (initializer.__doc__ if shown == "high=0.05" else rows[name])


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_initializers_are_pickled(protocol):
    init = Initializer("nguyen_widrow", inputs=([0, 1], [1, 3]))
    again = pickle.loads(pickle.dumps(init, protocol))
    shown = "Initializer('nguyen_widrow', inputs=(<2 values>, <2 values>), active=None)"
    assert repr(again) == repr(init) == shown
    for one, other in zip(
        again.with_bias(rng(), 2, 3, "tanh"), init.with_bias(rng(), 2, 3, "tanh"), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_parameters_are_kept():
    high = np.array([1.0, 3.0])
    init = Initializer("nguyen_widrow", inputs=(0, high))
    high[0] = -5
    assert init.parameters["inputs"][1].tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match="read-only"):
        init.parameters["inputs"][1][0] = 7


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("he", {}, "Unknown initializer 'he'. Known: "),
        (None, {}, "Unknown initializer None. "),
        ("he_normal", {"gian": 1}, "Unknown parameter of he_normal 'gian'. Known: slope."),
        ("uniform", {"lo": 1}, 'Did you mean "low"? Known: high, low.'),
        ("zeros", {"value": 1}, "zeros has no parameters, got 'value'"),
        ("glorot_normal", {"gain": 0}, "gain of glorot_normal must be a positive number of at mo"),
        ("glorot_normal", {"gain": -1}, "gain of glorot_normal must be a positive number"),
        ("glorot_normal", {"gain": math.nan}, "gain of glorot_normal must be a positive number"),
        ("glorot_normal", {"gain": math.inf}, "gain of glorot_normal must be a positive number"),
        ("glorot_normal", {"gain": True}, "gain of glorot_normal must be a positive number"),
        ("glorot_normal", {"gain": None}, "gain of glorot_normal must be a positive number"),
        ("orthogonal", {"gain": "softmax"}, "must be a number or an activation out of identity, l"),
        ("he_uniform", {"slope": "0.1"}, "slope of he_uniform must be a number of at most 1e+300"),
        ("he_uniform", {"slope": [1, 2]}, "slope of he_uniform must be a number of at most 1e+300"),
        ("uniform", {"low": 1}, "uniform needs low < high, got 1.0, 0.05"),
        ("uniform", {"low": 0.05}, "uniform needs low < high, got 0.05, 0.05"),
        ("normal", {"std": 0}, "std of normal must be a positive number"),
        ("normal", {"mean": 1j}, "mean of normal must be a number"),
        ("sklearn", {"factor": -6}, "factor of sklearn must be a positive number"),
        ("nguyen_widrow", {"active": 2}, "active of nguyen_widrow must be a pair (low, high), got"),
        ("nguyen_widrow", {"active": (2, 1)}, "must be (low, high) with low < high, got (2, 1)"),
        ("nguyen_widrow", {"active": (0, math.inf)}, "active of nguyen_widrow must be a number"),
        ("nguyen_widrow", {"inputs": (0, 1, 2)}, "inputs of nguyen_widrow must be "),
        ("nguyen_widrow", {"inputs": ("a", 1)}, "inputs of nguyen_widrow must be (low, high), fi"),
        ("nguyen_widrow", {"inputs": (0, math.nan)}, "finite numbers or arrays with one value per"),
        ("nguyen_widrow", {"inputs": ([0, 0], [1])}, "finite numbers or arrays with one va"),
        ("nguyen_widrow", {"inputs": ([[0]], 1)}, "finite numbers or arrays with one value per in"),
        ("nguyen_widrow", {"inputs": ([], [])}, "finite numbers or arrays with one value per in"),
        ("nguyen_widrow", {"inputs": ([0, 0], [1, -1])}, "with low < high for some input"),
        ("nguyen_widrow", {"inputs": (1, 1)}, "with low < high for some input"),
    ],
)
def test_wrong_parameters(name, parameters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Initializer(name, **parameters)


def test_what_only_the_layer_tells():
    with pytest.raises(ValueError, match="nguyen_widrow does not know where identity bends; say"):
        Network(3, Dense(2, init="nguyen_widrow"))
    init = Initializer("nguyen_widrow", inputs=([0, 0], [1, 1]))
    with pytest.raises(ValueError, match="are the ranges of 2 inputs, but the layer has 3"):
        Network(3, Dense(2, "tanh", init=init))
    for width, dtype in (1e-300, "float32"), (1e-320, "float64"):
        tiny = Initializer("nguyen_widrow", inputs=(0, width))
        with pytest.raises(ValueError, match=r"init of Dense\(2, 'tanh'\) has values that are not"):
            Network(3, Dense(2, "tanh", init=tiny), dtype=dtype)
    for name in "glorot_uniform", "he_normal", "lecun_truncated_normal", "orthogonal", "uniform":
        value = {"he_normal": {"slope": 1e300}, "uniform": {"low": -1e300, "high": 1e300}}
        layer = started(Initializer(name, **value.get(name, {"gain": 1e300})))
        assert np.isfinite(layer.W).all()


# --- The default of each activation ---------------------------------------------------------------


def test_every_activation_has_a_default():
    assert set(nncore.activations) <= set(initializer.DEFAULTS)
    assert set(initializer.DEFAULTS.values()) <= set(RULES)
    for activation in nncore.activations:
        layer = started(None, 6, 4, activation)
        given = started(initializer.DEFAULTS[activation], 6, 4, activation)
        np.testing.assert_array_equal(layer.W, given.W)
    assert initializer.default_for("of_a_user").name == "glorot_uniform"


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu"])
def test_the_default_keeps_signals_alive(activation):
    """After 30 layers outputs still differ, and are neither huge nor gone."""
    layers = [Dense(100, activation) for _ in range(30)]
    net = Network(100, *layers, dtype="float64", seed=0)
    y = net.predict(rng(1).standard_normal((200, 100)))
    assert 1e-3 < y.std(axis=0).mean() < 1e3


# --- What users give ------------------------------------------------------------------------------


def test_a_function():
    seen = []

    def init(generator, n_in, n_out):
        seen.append((n_in, n_out))
        return generator.uniform(-1, 1, (n_in, n_out))

    layers = Dense(4, "tanh", init=init), Dense(2, init=init)
    net, twin = (Network(3, *layers, seed=6) for _ in range(2))
    assert seen == [(3, 4), (4, 2)] * 2
    np.testing.assert_array_equal(net.theta, twin.theta)
    W = rng(6).uniform(-1, 1, (3, 4)).astype(np.float32)
    np.testing.assert_array_equal(net.layers[0].W, W)
    whole = Network(3, Dense(4, init=lambda rng, n_in, n_out: np.ones((n_in, n_out), int)))
    assert (whole.layers[0].W == 1).all()


def test_networks_with_functions_are_saved(tmp_path):
    net = Network(3, Dense(2, init=lambda rng, n_in, n_out: rng.random((n_in, n_out))))
    net.save(tmp_path / "net.safetensors")
    for other in (
        nncore.load(tmp_path / "net.safetensors"), net.copy(), pickle.loads(pickle.dumps(net))
    ):  # fmt: skip
        np.testing.assert_array_equal(other.theta, net.theta)


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (np.zeros((2, 3)), "init of Dense(2, 'relu') has shape (2, 3); expected (3, 2), one row"),
        (1.0, "init of Dense(2, 'relu') has shape (); expected (3, 2)"),
        (None, "init of Dense(2, 'relu') is None; expected an array of numbers."),
        (np.full((3, 2), np.nan), "init of Dense(2, 'relu') has values that are not finite in f"),
        (np.full((3, 2), 1e39), "has values that are not finite in float32"),
        (np.full((3, 2), 1j), "init of Dense(2, 'relu') has dtype complex128"),
        ("zeros", "init of Dense(2, 'relu') has dtype <U5"),
    ],
)
def test_a_function_that_gives_something_else(gives, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Network(3, Dense(2, "relu", init=lambda rng, n_in, n_out: gives))


def test_a_function_that_fails():
    with pytest.raises(ZeroDivisionError) as caught:
        Network(3, Dense(2, bias_init=lambda rng, n_in, n_out: 1 / 0))
    [note] = caught.value.__notes__
    assert (
        note == "in bias_init of Dense(2, 'identity'), called with the arguments (rng, n_in, n_out)"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"bias_init": [1, 2, 3]},
            "bias_init of Dense(2, 'identity') has shape (3,); expected (2,)",
        ),
        ({"bias_init": [[1, 2]]}, "has shape (1, 2); expected (2,), one number per output."),
        ({"bias_init": math.inf}, "bias_init must be a number, the name of an initializer"),
        ({"bias_init": [1, math.nan]}, "or an array (n_out,): it has values that are not finite"),
        ({"bias_init": "zeroes"}, "Unknown initializer 'zeroes'. Did you mean \"zeros\"?"),
        ({"bias_init": 1, "bias": False}, "bias_init of Dense has no meaning with bias=False"),
        ({"init": Initializer}, "init is a class, Initializer; expected the name of an initialize"),
        ({"init": 1e39 * np.ones((3, 2))}, "has values that are not finite in float32"),
    ],
)
def test_wrong_starts(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Network(3, Dense(2, **options))


# --- LSUV -----------------------------------------------------------------------------------------


def inputs(net, X):
    """The x and the x W of each layer, in NumPy."""
    for layer in net.layers:
        z = X @ layer.W.astype(np.float64)
        yield X, z
        X = nncore.activations[layer.activation].f(z + (0 if layer.b is None else layer.b))


def deep(activation, dtype="float64", backend="auto", **options):
    layers = [Dense(n, activation, **options) for n in (40, 30, 50, 50, 20)]
    return Network(25, *layers, Dense(3, "softmax"), dtype=dtype, seed=1, backend=backend)


# The last two are for the last layer; six exponentials make some percent of a rounding.
NOT_IN_A_ROW = {"exponential", "softmax", "log_softmax"}


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.filterwarnings("ignore:All hidden activations are linear")
@pytest.mark.parametrize("activation", sorted({*nncore.activations} - NOT_IN_A_ROW))
def test_lsuv(activation, backend, dtype):
    net = deep(activation, dtype, backend)
    X = rng(2).normal(0.5, 3, (100, 25))
    before, eps = net.lsuv(X), float(np.finfo(dtype).eps)
    assert len(before) == 6 and all(type(value) is float and value > 0 for value in before)
    for (_, z), layer in zip(inputs(net, X), net.layers, strict=True):
        # A variance has twice the error of z: roundings of W, and of x in each layer so far.
        assert z.var() == pytest.approx(1, abs=30 * eps)
        gram = layer.W.T @ layer.W if np.less(*layer.W.shape[::-1]) else layer.W @ layer.W.T
        np.testing.assert_allclose(gram / gram[0, 0], np.eye(len(gram)), rtol=0, atol=30 * eps)
        assert not layer.b.any()


def test_lsuv_gives_the_variances_before():
    net = deep("tanh")
    X = rng(2).normal(0.5, 3, (100, 25))
    start = [layer.W.copy() for layer in net.layers]
    before = net.lsuv(X, init=None)
    for (x, _), W, layer, variance in zip(inputs(net, X), start, net.layers, before, strict=True):
        assert (x @ W).var() == pytest.approx(variance, rel=30 * EPS, abs=0)
        np.testing.assert_allclose(layer.W, W / math.sqrt(variance), rtol=30 * EPS)


def test_lsuv_of_the_same_seed_has_the_same_bits(dtype):
    """On every instruction set that fuses, for they give the same outputs."""
    X = rng(2).random((50, 25))
    thetas = set()
    for backend in (*FUSED, *FUSED):
        net = deep("relu", dtype, backend, bias=False)
        net.lsuv(X, init="he_normal")
        thetas.add(net.theta.tobytes())
    assert len(thetas) == 1 or not FUSED


def test_lsuv_starts_the_optimizer_again():
    net, X = deep("tanh"), rng(2).random((50, 25))
    net.partial_fit(X, np.zeros(50, int))
    assert np.any(net._engine.state) and net._engine.n_updates == 1
    net.lsuv(X)
    assert not np.any(net._engine.state) and net._engine.n_updates == 0


@pytest.mark.parametrize("scale", [1e-36, 1e37])
def test_lsuv_of_inputs_that_are_not_scaled(scale):
    net = deep("tanh", "float32")
    X = rng(2).normal(0, scale, (100, 25))
    net.lsuv(X)
    for _, z in inputs(net, X.astype(np.float32)):
        assert z.var() == pytest.approx(1, abs=30 * float(np.finfo("float32").eps))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"X": np.zeros((10, 25))},
            ValueError,
            "layer 0: x W has the variance 0 on this batch, an",
        ),
        ({"X": np.full((10, 25), 3e38)}, ValueError, "layer 0: x W has the variance"),
        ({"X": np.full((10, 25), 1e-44)}, ValueError, "no factor of W makes it 1."),
        ({"X": np.zeros((0, 25))}, ValueError, "X has no rows"),
        ({"X": np.zeros((10, 24))}, ValueError, "Network expects 25 input features"),
        ({"X": np.full((10, 25), np.nan)}, ValueError, "X contains NaN"),
        ({"init": "orthogonl"}, ValueError, "Unknown initializer 'orthogonl'. Did you mean"),
        ({"init": "nguyen_widrow"}, ValueError, "does not know where softmax bends"),
    ],
)
def test_lsuv_refuses(arguments, error, message):
    net = deep("tanh", "float32")
    X = np.asarray(rng(2).random((50, 25)), np.float32)
    net.partial_fit(X, np.zeros(50, int))
    theta, state = net.theta.copy(), net._engine.state.copy()
    twin = net.copy()
    with pytest.raises(error, match=re.escape(message)):
        net.lsuv(**{"X": X} | arguments)
    np.testing.assert_array_equal(net.theta, theta)
    np.testing.assert_array_equal(net._engine.state, state)
    for each in net, twin:  # the random state as well
        each.fit(X, np.zeros(50, int), verbose=False)
    np.testing.assert_array_equal(net.theta, twin.theta)
