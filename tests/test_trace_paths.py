"""The chain rule of single weights: factors, paths, names, and how all of it is shown."""

import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from nncore import (
    SGD,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    Loss,
    Network,
    PReLU,
    Residual,
)
from nncore.views import places

from .test_trace import X3, Y3, net321


def deep(optimizer="sgd", **options):
    return Network(
        3, Dense(4, "tanh"), Dense(3, "sigmoid"), Dense(2), seed=3, dtype="float64",
        loss="half_mse", optimizer=optimizer, **options,
    )  # fmt: skip


def mixed():
    network = Network(
        3, Dense(4, "tanh"), Residual(Dense(5, "tanh"), Residual(PReLU()), Dense(4)), BatchNorm(),
        Dropout(0.5), PReLU(), LayerNorm(), Dense(2, "sigmoid"), Dense(3, "softmax"), seed=0,
        dtype="float64", optimizer="sgd",
    )  # fmt: skip
    network.theta += np.random.default_rng(0).normal(0, 0.3, network.n_params)
    network.layers[2].running_var = 2.0
    return network


# ---- paths ---------------------------------------------------------------------------------------


def test_all_paths_of_a_deep_network():
    trace = deep().trace([0.5, -1.0, 2.0], [1.0, -1.0])
    first, second, last = trace.layers
    weight = trace.weight(0, 1, 2, most=100)
    [chain] = weight.chains
    W, V = second.layer.W, last.layer.W
    products = [
        last.da[0, o] * last.slope[0, o] * V[k, o] * second.slope[0, k] * W[2, k]
        for k, o in itertools.product(range(3), range(2))
    ]
    assert weight.n_paths == 6 and chain.rest == 0
    assert [path.value for path in chain.paths] == pytest.approx(products, rel=1e-14)  # by units
    symbols = [" ".join(factor.text for factor in path.factors) for path in chain.paths]
    assert symbols[:2] == ["(h11 - y11) f'(z11) w8_11 f'(z8) w6_8",
                           "(h12 - y12) f'(z12) w8_12 f'(z8) w6_8"]  # fmt: skip
    assert sum(path.value for path in chain.paths) == pytest.approx(chain.above, rel=1e-13)
    assert chain.above * chain.slope.value * chain.input.value == pytest.approx(weight.gradient)
    some = trace.weight(0, 1, 2, most=2).chains[0]
    by_size = sorted(chain.paths, key=lambda path: -abs(path.value))
    assert some.paths == by_size[:2]  # the largest, if they are not all
    rest = sum(path.value for path in by_size[2:])
    assert some.rest == pytest.approx(rest, rel=1e-12)
    assert "the other 4 paths" in str(trace.weight(0, 1, 2, most=2))
    assert "the other 1 path " in str(trace.weight(0, 1, 2, most=5))
    assert "down; the largest" in str(trace.weight(0, 1, 2, most=5))
    assert "the largest" not in str(weight)


@pytest.mark.parametrize("layer", ["0", "1.0", "1.2", "6", "7"])
def test_paths_through_every_layer(layer):
    network = mixed()
    trace = network.trace([[0.5, -1.0, 2.0], [1.0, 1.0, -0.3]], [1, 2])
    for i in (0, None):
        weight = trace.weight(layer, i, 1, most=10_000)
        for row, chain in enumerate(weight.chains):
            assert len(chain.paths) == weight.n_paths
            for path in chain.paths:
                assert path.value == pytest.approx(np.prod([f.value for f in path.factors]))
            total = sum(path.value for path in chain.paths)
            assert total == pytest.approx(chain.above, rel=1e-10, abs=1e-15)
            for factor in (chain.slope, chain.input):
                total *= 1 if factor is None else factor.value
            assert total == pytest.approx(chain.gradient, rel=1e-10, abs=1e-15)
            traced = next(t for t in trace.layers if t.name == layer)
            at = traced.offset + (1 if i == 0 else traced.n_in * traced.n_out + 1)
            assert trace.sample_gradient(row)[at] == chain.gradient
        mean = np.mean([chain.gradient for chain in weight.chains])
        assert weight.gradient == pytest.approx(mean, rel=1e-13)


def test_a_gradient_is_the_difference_of_losses():
    network, h = deep(), 1e-5
    x, y = [[0.5, -1.0, 2.0]], [[1.0, -1.0]]
    weight = network.trace(x, y).weight("w2_5")
    losses = []
    for step in (h, -h):
        other = network.copy()
        other.layers[0].W[1, 1] += step
        losses.append(other.evaluate(x, y)["loss"])
    assert weight.gradient == pytest.approx((losses[0] - losses[1]) / (2 * h), rel=1e-7)


def test_one_path_of_the_largest_in_a_wide_network():
    network = Network(
        60, Dense(50, "relu"), Dense(40, "relu"), Dense(30, "softmax"), seed=0, dtype="float64"
    )
    trace = network.trace(np.random.default_rng(0).normal(size=60), 3)
    first, second, last = trace.layers
    weight = trace.weight(0, 0, 7)
    M = second.layer.W * second.slope[0]
    all_of_them = np.abs(M[7][:, None] * last.layer.W * last.delta[0])
    largest = np.sort(all_of_them.ravel())[::-1][:8]
    assert weight.n_paths == 40 * 30
    assert [abs(path.value) for path in weight.chains[0].paths] == pytest.approx(largest)
    assert len(str(weight).splitlines()) < 25


@pytest.mark.parametrize(
    ("loss", "output", "factor", "said"),
    [
        ("mse", "tanh", "2/3 (h5 - y5)", "2 from the square times 1/3 from the mean over 3"),
        ("half_mse", "sigmoid", "(h5 - y5)", "slope of half_mse at the output"),
        ("half_mse", "softmax", "h5 (g5 - sum g h)", "dJ/dz5, with g = dJ/dh: g5 = "),
        ("mae", "log_softmax", "(g5 - exp(h5) sum g)", "of mae and of log_softmax in one, dJ/dz5"),
        ("mae", "tanh", "1/3 sign(h5 - y5)", "slope of mae at the output: 1/3 from the mean"),
        (Loss("huber", delta=0.2), "tanh", "1/3 clip(h5 - y5, -0.2, 0.2)", "slope of huber"),
        (Loss("smooth_l1", beta=3), "tanh", "1/3 clip((h5 - y5) / 3, -1, 1)", "slope of smooth_l1"),
        ("log_cosh", "tanh", "1/3 tanh(h5 - y5)", "slope of log_cosh"),
        ("poisson", "tanh", "1/3 (exp(h5) - y5)", "slope of poisson"),
        ("hinge", "tanh", "dJ/dh5", "slope of hinge at the output, where it is max(1 - y h, 0)"),
        ("binary_cross_entropy", "sigmoid", "1/3 (h5 - y5)", "and of sigmoid in one, dJ/dz5: 1/3"),
        (Loss("binary_cross_entropy", pos_weight=2), "sigmoid", "dJ/dz5", "in one, dJ/dz5: 1/3"),
        ("cross_entropy", "softmax", "(h5 - y5)", "slope of cross_entropy and of softmax in one"),
        ("cross_entropy", "log_softmax", "(exp(h5) - y5)", "and of log_softmax in one, dJ/dz5"),
        ("kl_divergence", "log_softmax", "(exp(h5) - y5)", "and of log_softmax in one, dJ/dz5"),
        ("focal", "sigmoid", "dJ/dz5", "slope of focal and of sigmoid in one, dJ/dz5: 1/3"),
    ],
)
@pytest.mark.filterwarnings("ignore:Targets span")
def test_the_factor_of_the_loss(loss, output, factor, said):
    """Its text is what Python would compute."""
    network = Network(3, Dense(3, output), seed=0, loss=loss, dtype="float64")
    y = [-1.0, 1, -1] if loss == "hinge" else [0.0, 1.0, 0.0]
    trace = network.trace(X3, y)
    weight = trace.weight("w15")
    [found] = weight.chains[0].paths[0].factors
    assert found.text == factor and said in found.meaning and factor in str(weight)
    if factor.startswith("dJ"):
        return
    g = trace.layers[0].da
    names = {"h5": trace.outputs[0, 1], "y5": y[1], "sign": np.sign, "clip": np.clip,
             "tanh": np.tanh, "exp": np.exp}  # fmt: skip
    if g is not None:
        names |= {"g5": g[0, 1], "S": g.sum(), "T": g[0] @ trace.outputs[0]}
    code = factor.replace("sum g h", "T").replace("exp(h5) sum g", "exp(h5) * S")
    code = re.sub(r"^(\d/\d|h5) ", r"\1 * ", code)
    assert found.value == pytest.approx(eval(code, names), rel=1e-12)


def test_the_factor_of_one_output():
    trace = net321("mse").trace(X3, Y3)
    first = trace.weight("w14").chains[0].paths[0].factors[0]
    assert (first.text, first.latex) == ("2 (h - y)", "2 (h - y)")
    assert first.meaning == "slope of mse at the output: 2 from the square"
    latex = Network(3, Dense(2, "tanh"), loss="huber", seed=0).trace(X3, [1.0, 0]).weight("w15")
    assert r"\tfrac{1}{2} \mathrm{clip}(h_{5} - y_{5}, -1, 1)" in latex.to_latex()


# ---- names ---------------------------------------------------------------------------------------


def test_units_are_numbered_through():
    trace = mixed().trace(X3, 0)
    assert trace.units == 30
    assert {t.name: (t.outputs[0], t.outputs[-1]) for t in trace.layers} == {
        "0": (4, 7), "1": (22, 25), "1.0": (8, 12), "1.1": (13, 17), "1.1.0": (8, 12),
        "1.2": (18, 21), "2": (22, 25), "3": (22, 25), "4": (22, 25), "5": (22, 25),
        "6": (26, 27), "7": (28, 30),
    }  # fmt: skip
    trace = Network(2, Embedding(columns={1: (5, 3)}), Dense(1), seed=0).trace([0.5, 4], 1.0)
    assert trace.layers[1].inputs == [3, 4, 5, 6] and trace.layers[1].outputs == [7]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("w3_4", (0, 2, 0)), ("w34", (0, 2, 0)), ("b7", (0, None, 3)), ("w13_18", ("1.2", 0, 0)),
        ("w1318", ("1.2", 0, 0)), ("w22_27", (6, 0, 1)), ("b_30", ("7", None, 2)),
        ("w26_30", (np.int64(7), np.int64(0), 2)), ("layers[0].W[2, 0]", (0, 2, 0)),
        ("layers[0].b[3]", (0, None, 3)), ("layers[1].layers[2].W[0,0]", ("1.2", 0, 0)),
        ("layers[1].2.W[0, 0]", ("1.2", 0, 0)), ("w3,4", (0, 2, 0)),
    ],
)  # fmt: skip
def test_names_and_places_are_the_same_weights(name, place):
    trace = mixed().trace(X3, 0)
    weight = trace.weight(name)
    for other in (trace.weight(*place), trace.weight(place)):
        assert (other.name, other.gradient) == (weight.name, weight.gradient)
        assert (other.layer, other.i, other.j) == (weight.layer, weight.i, weight.j)
    at = places.find(mixed(), name).at  # what a landscape takes
    assert trace.gradient[at] == weight.gradient and places.find(mixed(), place).at == at
    traced = next(t for t in trace.layers if t.name == weight.layer)
    values = traced.layer.b[weight.j] if weight.i is None else traced.layer.W[weight.i, weight.j]
    assert weight.old == values


def test_a_name_that_may_be_two_weights():
    network = Network(12, Dense(120, "tanh"), Dense(1), seed=0)
    trace = network.trace(np.ones(12), 1.0)
    with pytest.raises(ValueError, match="'w1120' may be w1_120 or w11_20: write that"):
        trace.weight("w1120")
    assert trace.weight("w1_120").i == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("w46x",), "there is no weight 'w46x'"),
        (("w99",), "Units are numbered through, 1 to 30: first the inputs, 1 to 3, then 4 to 7"),
        (("layers[0].W[3, 0]",), r"has layers\[0\].W of shape \(3, 4\); layers\[0\].b of shape"),
        (("layers[2].W[0, 0]",), r"layers\[1\].layers\[1\].layers\[0\].slope of shape \(5,\)"),
        (("layers[2].gamma[0]",), "only weights and biases of Dense"),
        (("w034",), "no weight"),
        (("w1" + "0" * 5000,), "no weight"),
        (("w14_",), "no weight"),
        (("w",), "no weight"),
        (("",), "no weight"),
        (("b3",), "no weight"),
        (("w4_26",), "no weight"),
        ((9, 0, 0), "there is no layer 9; layers are: 0, 1, 1.0"),
        ((2, 0, 0), r"layer 2 has no matrix of weights W, it is BatchNorm.*: layers\[2\].gamma, "),
        ((1, 0, 0), "layer 1 has no matrix of weights W, it is Residual"),
        ((0, 3, 0), "i must be a number from 0 to 2, got 3"),
        ((0, -1, 0), "i must be"),
        ((0, 0, 4), "j must be a number from 0 to 3"),
        ((0, 0, True), "j must be"),
        ((0,), r"\(layer, None, j\), or as a tuple \(layer, j\); got \(0, None, None\)"),
        ((0, 1), r"by its numbers is \(layer, i, j\), .* got \(0, 1, None\)"),
        (((0, 1, 2, 3),), r"\(layer, i, j\), and a bias is .* \(layer, j\)"),
        (((0, 4),), "j must be a number from 0 to 3"),
    ],
)
def test_weights_that_are_not_there(asked, said):
    with pytest.raises(ValueError, match=said):
        mixed().trace(X3, 0).weight(*asked)


def test_a_dense_without_biases():
    trace = Network(3, Dense(1, bias=False), seed=0).trace(X3, 0.0)
    with pytest.raises(ValueError, match="has no biases"):
        trace.weight(0, None, 0)
    with pytest.raises(ValueError, match="no weight 'b4'"):
        trace.weight("b4")
    with pytest.raises(ValueError, match="most must be"):
        trace.weight("w14", most=0)


# ---- how it is shown -----------------------------------------------------------------------------


def test_the_text_of_a_weight():
    assert str(net321().trace(X3, Y3).weight("w14")) == """\
w14 = 0.1: weight from x1 to unit 4, layer 0
dJ/dw14 = (h - y) f'(z6) w46 f'(z4) x1
        = 0.76545 * 0.17954 * 0.1 * 0.21789 * 0.6
        = 0.0017967
  factor    number  what it is
  (h - y)  0.76545  slope of half_mse at the output
  f'(z6)   0.17954  slope of sigmoid at z6 = 1.1828: a (1 - a), a = 0.76545
  w46          0.1  weight from a4 to unit 6
  f'(z4)   0.21789  slope of sigmoid at z4 = 0.75: a (1 - a), a = 0.67918
  x1           0.6  input 1
new w14 = old + rate * delta * f'(e) * input, with e = z4 and delta = -dJ/da4
        = 0.1 + 0.1 * -0.013743 * 0.21789 * 0.6
        = 0.09982"""


def test_the_trace_of_a_small_network_has_every_number():
    trace = net321().trace(X3, Y3, weights=["w14", (1, None, 0)])
    text = str(trace)
    for name in ("w14", "w15", "w24", "w25", "w34", "w35", "b4", "b5", "w46", "w56", "b6"):
        assert f"\n  {name} " in text
    assert str(trace.weight("w14")) in text and "b6 = 1: bias of unit 6" in text
    assert "0.67918" in text and "0.21789" in text
    assert max(map(len, text.splitlines())) <= 100
    for asked in ((0, 0, 0), [(0, 0, 0)], ("w14",), ["w14"], "w14", "layers[0].W[0, 0]"):
        assert [w.name for w in net321().trace(X3, Y3, weights=asked).shown] == ["w14"]
    assert [w.name for w in net321().trace(X3, Y3, weights=(1, 0)).shown] == ["b6"]
    three = net321().trace(X3, Y3, weights=("w14", "b6", (0, 1, 1)))
    assert [w.name for w in three.shown] == ["w14", "b6", "w25"]
    several = str(net321().trace([X3, [1, 2, 3]], [0.0, 1.0], weights="w14"))
    assert "Units of pattern 1" in several
    assert "mean of (h - y) f'(z6) w46 f'(z4) x1" in several
    assert "mean(delta * f'(e) * input)" in several


def test_a_large_network_is_summarised():
    network = Network(
        784, Dense(512, "relu"), Dense(512, "relu"), Dense(10, "softmax"), seed=0, optimizer="sgd"
    )
    trace = network.trace(np.random.default_rng(0).random(784), 7, weights=["w300_900"])
    text = str(trace)
    assert len(text.splitlines()) < 40 and len(text) < 5000
    assert "w300_900" in text and "the other 5,112 paths" in text and "1,818 units" in text
    assert len(trace.to_svg()) < 100_000
    many = net321().trace(np.ones((32, 3)), np.ones(32), weights=["w14"])
    assert len(str(many).splitlines()) < 60


def test_many_layers_are_cut():
    network = Network(2, *[Dense(2, "tanh") for _ in range(90)], Dense(1), seed=0)
    trace = network.trace([1.0, 2.0], 0.0)
    assert "and 31 more layers" in str(trace)
    assert "80 more layers" in trace.to_svg()
    weight = trace.weight("w13")
    assert weight.n_paths == 2**89 and len(str(weight)) < 5000
    assert str(weight).count(" ... ") == 2 * 8


def test_markdown_latex_and_html():
    for network, x, y in ((net321(), X3, Y3), (mixed(), X3, 1), (mixed(), [X3, X3], [1, 2])):
        trace = network.trace(x, y, weights=[(0, 1, 1)])
        markdown, latex = trace.to_markdown(), trace.to_latex()
        for text in (markdown, latex):
            assert text.count("\\begin{aligned}") == text.count("\\end{aligned}") > 0
            assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
        assert latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") > 0
        tables = [line.count("|") for line in markdown.splitlines() if line.startswith("| ")]
        assert len(tables) > 5
        ET.fromstring(trace._repr_html_())
        ET.fromstring(f"<div>{trace.weight(0, 1, 1)._repr_html_()}</div>")
    weight = net321().trace(X3, Y3).weight("w14")
    formula = r"\frac{\partial J}{\partial w_{14}} &= (h - y) \, f'(z_{6}) \, w_{46} \, f'(z_{4})"
    assert formula in weight.to_latex() and formula in weight.to_markdown()


def test_the_drawing():
    svg = "{http://www.w3.org/2000/svg}"
    root = ET.fromstring(net321().trace(X3, Y3).to_svg())
    assert len(root.findall(f"{svg}circle")) == 6
    assert len(root.findall(f"{svg}line")) == 8 + 2  # the legend has two
    texts = [t.text for t in root.findall(f"{svg}text")]
    assert {"x1", "4", "6", "f' 0.218", "0.765", "0.0933"} <= set(texts)
    positive = [e for e in root.findall(f"{svg}line") if e.get("stroke") == "#c2332f"]
    assert len(positive) == 8 + 1  # all gradients are positive
    dead = Network(2, Dense(1, "relu", init=[[-1.0], [-1.0]]), Dense(1), seed=0)
    assert "f' 0<" in dead.trace([1.0, 1.0], 1.0).to_svg()
    assert "then" not in net321().trace(X3, Y3).to_svg()
    through = mixed().trace(X3, 0).to_svg()
    assert "then 2 BatchNorm and 3 more" in through and "then 1.1.0 PReLU" in through
    assert "<title>2 BatchNorm, 3 Dropout, 4 PReLU, 5 LayerNorm</title>" in through
    ET.fromstring(through)
    for layers in ([PReLU()], [LayerNorm(), Dense(1)], [BatchNorm()]):
        ET.fromstring(Network(2, *layers, seed=0).trace([1.0, 2.0], [1.0, 2.0][: (
            1 if len(layers) == 2 else 2)]).to_svg())  # fmt: skip


def test_small_changes_are_shown():
    trace = net321(optimizer=SGD(1e-9)).trace(X3, Y3)
    assert str(trace.weight("w14")).splitlines()[-1] == "        = 0.099999999998"
