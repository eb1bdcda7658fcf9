"""What is said of each activation, its formulas as text and as LaTeX, and of each loss."""

from collections.abc import Callable
from typing import NamedTuple

INF = float("inf")


class Formulas(NamedTuple):
    """What is said of an activation: f, f' and f'' as text and as LaTeX, and facts of f.

    Parameters stand in the texts by their names; range and kinks are functions of them where they
    depend on them. `Activation` puts values in.
    """

    f: str
    df: str
    d2f: str
    latex: str
    df_latex: str
    d2f_latex: str
    range: tuple[float, float] | Callable[..., tuple[float, float]] = (-INF, INF)
    kinks: dict[float, float] | Callable[..., dict[float, float]] = {}


FORMULAS = {
    "identity": Formulas(
        "x", "1", "0", "x", "1", "0",
    ),
    "relu": Formulas(
        "max(x, 0)", "1 if x > 0 else 0", "0",
        r"\max(x, 0)", r"[x > 0]", "0", range=(0.0, INF), kinks={0.0: 0.0},
    ),
    "sigmoid": Formulas(
        "1 / (1 + exp(-gain x))", "gain y (1 - y)", "gain^2 y (1 - y) (1 - 2 y)",
        r"\frac{1}{1 + e^{-gain \, x}}", r"gain \, y \, (1 - y)",
        r"gain^2 \, y \, (1 - y) \, (1 - 2 y)", range=(0.0, 1.0),
    ),
    "tanh": Formulas(
        "tanh(gain x)", "gain (1 - y^2)", "-2 gain^2 y (1 - y^2)",
        r"\tanh (gain \, x)", r"gain \, (1 - y^2)", r"-2 gain^2 \, y \, (1 - y^2)",
        range=(-1.0, 1.0),
    ),
    "softplus": Formulas(
        "log(1 + exp(beta x)) / beta", "1 / (1 + exp(-beta x))", "beta f'(x) (1 - f'(x))",
        r"\ln(1 + e^{beta \, x}) / beta", r"\frac{1}{1 + e^{-beta \, x}}",
        r"beta \, f'(x) \, (1 - f'(x))", range=(0.0, INF),
    ),
    "softsign": Formulas(
        "gain x / (1 + |gain x|)", "gain / (1 + |gain x|)^2",
        "-2 gain^2 sign(x) / (1 + |gain x|)^3",
        r"\frac{gain \, x}{1 + |gain \, x|}", r"\frac{gain}{(1 + |gain \, x|)^2}",
        r"\frac{-2 gain^2 \, \mathrm{sign}(x)}{(1 + |gain \, x|)^3}", range=(-1.0, 1.0),
    ),
    "leaky_relu": Formulas(
        "x if x > 0 else slope x", "1 if x > 0 else slope", "0",
        r"x \text{ if } x > 0 \text{ else } slope \, x",
        r"1 \text{ if } x > 0 \text{ else } slope", "0",
        range=lambda slope: (-INF if slope else 0.0, INF),
        kinks=lambda slope: {0.0: slope} if slope != 1 else {},
    ),
    "elu": Formulas(
        "x if x > 0 else alpha (exp(x) - 1)", "1 if x > 0 else alpha exp(x)",
        "0 if x > 0 else alpha exp(x)",
        r"x \text{ if } x > 0 \text{ else } alpha \, (e^x - 1)",
        r"1 \text{ if } x > 0 \text{ else } alpha \, e^x",
        r"0 \text{ if } x > 0 \text{ else } alpha \, e^x",
        range=lambda alpha: (-alpha, INF), kinks=lambda alpha: {0.0: alpha} if alpha != 1 else {},
    ),
    "hardtanh": Formulas(
        "min(max(x, -1), 1)", "1 if -1 < x < 1 else 0", "0",
        r"\min(\max(x, -1), 1)", r"[-1 < x < 1]", "0",
        range=(-1.0, 1.0), kinks={-1.0: 0.0, 1.0: 0.0},
    ),
    "relu6": Formulas(
        "min(max(x, 0), 6)", "1 if 0 < x < 6 else 0", "0",
        r"\min(\max(x, 0), 6)", r"[0 < x < 6]", "0",
        range=(0.0, 6.0), kinks={0.0: 0.0, 6.0: 0.0},
    ),
    "hard_sigmoid": Formulas(
        "min(max((x + 3) / 6, 0), 1)", "1/6 if -3 < x < 3 else 0", "0",
        r"\min(\max((x + 3) / 6, 0), 1)", r"[-3 < x < 3] / 6", "0",
        range=(0.0, 1.0), kinks={-3.0: 0.0, 3.0: 0.0},
    ),
    "elliot": Formulas(
        "(gain x / (1 + |gain x|) + 1) / 2", "gain / (2 (1 + |gain x|)^2)",
        "-gain^2 sign(x) / (1 + |gain x|)^3",
        r"\frac{gain \, x}{2 (1 + |gain \, x|)} + \frac{1}{2}",
        r"\frac{gain}{2 (1 + |gain \, x|)^2}",
        r"\frac{-gain^2 \, \mathrm{sign}(x)}{(1 + |gain \, x|)^3}", range=(0.0, 1.0),
    ),
    "log_sigmoid": Formulas(
        "-log(1 + exp(-x))", "1 / (1 + exp(x))", "-f'(x) (1 - f'(x))",
        r"-\ln(1 + e^{-x})", r"\frac{1}{1 + e^x}", r"-f'(x) \, (1 - f'(x))", range=(-INF, 0.0),
    ),
    "silu": Formulas(
        "x / (1 + exp(-x))", "s (1 + x (1 - s)), s = 1 / (1 + exp(-x))",
        "s (1 - s) (2 + x (1 - 2 s)), s = 1 / (1 + exp(-x))",
        r"\frac{x}{1 + e^{-x}}", r"s \, (1 + x (1 - s)), \; s = \frac{1}{1 + e^{-x}}",
        r"s \, (1 - s) (2 + x (1 - 2 s)), \; s = \frac{1}{1 + e^{-x}}",
        range=(-0.27846454276107374, INF),
    ),
    "selu": Formulas(
        "1.0507009873554805 x if x > 0 else 1.7580993408473768 (exp(x) - 1)",
        "1.0507009873554805 if x > 0 else 1.7580993408473768 exp(x)",
        "0 if x > 0 else 1.7580993408473768 exp(x)",
        r"1.0507 x \text{ if } x > 0 \text{ else } 1.7581 (e^x - 1)",
        r"1.0507 \text{ if } x > 0 \text{ else } 1.7581 e^x",
        r"0 \text{ if } x > 0 \text{ else } 1.7581 e^x",
        range=(-1.7580993408473768, INF), kinks={0.0: 1.7580993408473768},
    ),
    "celu": Formulas(
        "x if x > 0 else alpha (exp(x / alpha) - 1)", "1 if x > 0 else exp(x / alpha)",
        "0 if x > 0 else exp(x / alpha) / alpha",
        r"x \text{ if } x > 0 \text{ else } alpha \, (e^{x / alpha} - 1)",
        r"1 \text{ if } x > 0 \text{ else } e^{x / alpha}",
        r"0 \text{ if } x > 0 \text{ else } e^{x / alpha} / alpha",
        range=lambda alpha: (-alpha, INF),
    ),
    "gelu": Formulas(
        "x P, P = (1 + erf(x / sqrt(2))) / 2",
        "P + x p, P = (1 + erf(x / sqrt(2))) / 2, p = exp(-x^2 / 2) / sqrt(2 pi)",
        "(2 - x^2) p, p = exp(-x^2 / 2) / sqrt(2 pi)",
        r"x \, \Phi(x)", r"\Phi(x) + x \, \varphi(x)", r"(2 - x^2) \, \varphi(x)",
        range=(-0.16997120747990366, INF),
    ),
    "gelu_tanh": Formulas(
        "x (1 + t) / 2, t = tanh(sqrt(2 / pi) (x + 0.044715 x^3))",
        "(1 + t) / 2 + x u (1 - t^2) / 2, t = tanh(sqrt(2 / pi) (x + 0.044715 x^3)), "
        "u = sqrt(2 / pi) (1 + 0.134145 x^2)",
        "(1 - t^2) (u - x u^2 t + sqrt(2 / pi) 0.134145 x^2), "
        "t = tanh(sqrt(2 / pi) (x + 0.044715 x^3)), u = sqrt(2 / pi) (1 + 0.134145 x^2)",
        r"\frac{x}{2} \left(1 + \tanh\left(\sqrt{2 / \pi} \, (x + 0.044715 x^3)\right)\right)",
        r"\frac{1 + t}{2} + \frac{x \, u \, (1 - t^2)}{2}, \;"
        r" t = \tanh\left(\sqrt{2 / \pi} \, (x + 0.044715 x^3)\right), \;"
        r" u = \sqrt{2 / \pi} \, (1 + 0.134145 x^2)",
        r"(1 - t^2) \left(u - x u^2 t + \sqrt{2 / \pi} \, 0.134145 x^2\right)",
        range=(-0.17004075057125406, INF),
    ),
    "mish": Formulas(
        "x t, t = tanh(log(1 + exp(x)))",
        "t + x s (1 - t^2), t = tanh(log(1 + exp(x))), s = 1 / (1 + exp(-x))",
        "s (1 - t^2) (2 + x (1 - s) - 2 x t s), t = tanh(log(1 + exp(x))), "
        "s = 1 / (1 + exp(-x))",
        r"x \tanh(\ln(1 + e^x))",
        r"t + x \, s \, (1 - t^2), \; t = \tanh(\ln(1 + e^x)), \; s = \frac{1}{1 + e^{-x}}",
        r"s \, (1 - t^2) (2 + x (1 - s) - 2 x t s)",
        range=(-0.30884341301725043, INF),
    ),
    "hard_swish": Formulas(
        "x min(max(x + 3, 0), 6) / 6", "(2 x + 3) / 6 if -3 < x < 3 else x > 0",
        "1/3 if -3 < x < 3 else 0",
        r"x \min(\max(x + 3, 0), 6) / 6",
        r"(2 x + 3) / 6 \text{ if } -3 < x < 3 \text{ else } [x > 0]", r"[-3 < x < 3] / 3",
        range=(-0.375, INF), kinks={-3.0: 0.0, 3.0: 1.0},
    ),
    "tanhshrink": Formulas(
        "x - tanh(x)", "t^2, t = tanh(x)", "2 t (1 - t^2), t = tanh(x)",
        r"x - \tanh x", r"\tanh^2 x", r"2 \tanh x \, (1 - \tanh^2 x)",
    ),
    "hard_shrink": Formulas(
        "x if |x| > width else 0", "1 if |x| > width else 0", "0",
        r"x \text{ if } |x| > width \text{ else } 0", r"[|x| > width]", "0",
        kinks=lambda width: {-width: 0.0, width: 0.0},
    ),
    "softshrink": Formulas(
        "x - min(max(x, -width), width)", "1 if |x| > width else 0", "0",
        r"x - \min(\max(x, -width), width)", r"[|x| > width]", "0",
        kinks=lambda width: {-width: 0.0, width: 0.0},
    ),
    "threshold": Formulas(
        "x if x > threshold else value", "1 if x > threshold else 0", "0",
        r"x \text{ if } x > threshold \text{ else } value", r"[x > threshold]", "0",
        range=lambda threshold, value: (min(threshold, value), INF),
        kinks=lambda threshold, value: {threshold: 0.0},
    ),
    "squareplus": Formulas(
        "(x + r) / 2, r = sqrt(x^2 + b)", "(1 + x / r) / 2, r = sqrt(x^2 + b)",
        "b / (2 r^3), r = sqrt(x^2 + b)",
        r"\frac{x + \sqrt{x^2 + b}}{2}", r"\frac{1}{2} + \frac{x}{2 \sqrt{x^2 + b}}",
        r"\frac{b}{2 (x^2 + b)^{3/2}}", range=(0.0, INF),
    ),
    "exponential": Formulas(
        "exp(x)", "exp(x)", "exp(x)", "e^x", "e^x", "e^x", range=(0.0, INF),
    ),
    "sin": Formulas(
        "sin(gain x)", "gain cos(gain x)", "-gain^2 y",
        r"\sin (gain \, x)", r"gain \, \cos (gain \, x)", r"-gain^2 \, y", range=(-1.0, 1.0),
    ),
    "gaussian": Formulas(
        "exp(-(gain x)^2)", "-2 gain^2 x y", "gain^2 (4 (gain x)^2 - 2) y",
        r"e^{-(gain \, x)^2}", r"-2 gain^2 \, x y", r"gain^2 \, (4 (gain \, x)^2 - 2) \, y",
        range=(0.0, 1.0),
    ),
    "satlin": Formulas(
        "min(max(x, 0), 1)", "1 if 0 < x < 1 else 0", "0",
        r"\min(\max(x, 0), 1)", r"[0 < x < 1]", "0",
        range=(0.0, 1.0), kinks={0.0: 0.0, 1.0: 0.0},
    ),
    "tribas": Formulas(
        "max(1 - |x|, 0)", "-sign(x) if -1 < x < 1 else 0", "0",
        r"\max(1 - |x|, 0)", r"-\mathrm{sign}(x) \text{ if } -1 < x < 1 \text{ else } 0", "0",
        range=(0.0, 1.0), kinks={-1.0: 0.0, 0.0: 0.0, 1.0: 0.0},
    ),
    "softmax": Formulas(
        "exp(x_i) / sum_j exp(x_j)", "y_i ([i = j] - y_j)", "",
        r"\frac{e^{x_i}}{\sum_j e^{x_j}}", r"y_i \, (\delta_{ij} - y_j)", "", range=(0.0, 1.0),
    ),
    "log_softmax": Formulas(
        "x_i - log(sum_j exp(x_j))", "[i = j] - exp(y_j)", "",
        r"x_i - \ln \sum_j e^{x_j}", r"\delta_{ij} - e^{y_j}", "", range=(-INF, 0.0),
    ),
}  # fmt: skip

# formula, the same as LaTeX, where the slope jumps and what is taken there, who means the same
LOSSES = {
    "mse": ("(y - t)^2", "(y - t)^2", "", "torch MSELoss, Keras MeanSquaredError"),
    "half_mse": (
        "sum_j (y_j - t_j)^2 / 2", r"\frac{1}{2} \sum_j (y_j - t_j)^2", "",
        "textbooks; scikit-learn's squared_error with one output",
    ),
    "mae": ("|y - t|", "|y - t|", "0 at y = t", "torch L1Loss, Keras MeanAbsoluteError"),
    "huber": (
        "d^2 / 2 if |d| <= delta else delta (|d| - delta / 2), d = y - t",
        r"\frac{d^2}{2} \text{ if } |d| \le \delta \text{ else } \delta (|d| - \frac{\delta}{2}),"
        r" \; d = y - t", "", "torch HuberLoss, Keras Huber",
    ),
    "smooth_l1": (
        "d^2 / (2 beta) if |d| <= beta else |d| - beta / 2, d = y - t",
        r"\frac{d^2}{2 \beta} \text{ if } |d| \le \beta \text{ else } |d| - \frac{\beta}{2}, \;"
        r" d = y - t", "", "torch SmoothL1Loss",
    ),
    "log_cosh": ("log(cosh(y - t))", r"\ln \cosh(y - t)", "", "Keras LogCosh"),
    "quantile": (
        "q (t - y) if y < t else (1 - q) (y - t)",
        r"q \, (t - y) \text{ if } y < t \text{ else } (1 - q) (y - t)",
        "0 at y = t", "scikit-learn mean_pinball_loss",
    ),
    "hinge": ("max(1 - t y, 0)", r"\max(1 - t y, 0)", "0 at t y = 1", "Keras Hinge"),
    "squared_hinge": ("max(1 - t y, 0)^2", r"\max(1 - t y, 0)^2", "", "Keras SquaredHinge"),
    "poisson": (
        "exp(y) - t y", r"e^y - t y", "",
        "torch PoissonNLLLoss(log_input=True, full=False)",
    ),
    "binary_cross_entropy": (
        "-pos_weight t log(s(z)) - (1 - t) log(s(-z)), s(z) = 1 / (1 + exp(-z)), "
        "t moved to t (1 - label_smoothing) + label_smoothing / 2",
        r"-w \, t \ln \sigma(z) - (1 - t) \ln \sigma(-z)", "",
        "torch BCEWithLogitsLoss, Keras BinaryCrossentropy",
    ),
    "focal": (
        "-c (1 - p)^gamma log(p), p = s(z) if t = 1 else s(-z), s(z) = 1 / (1 + exp(-z)), "
        "c = alpha if t = 1 else 1 - alpha (c = 1 if alpha is None)",
        r"-c \, (1 - p)^\gamma \ln p, \; p = \sigma((2 t - 1) z)", "",
        "torchvision sigmoid_focal_loss; Lin et al. 2017",
    ),
    "cross_entropy": (
        "-sum_j t_j log(p_j), p = softmax(z), "
        "t_j moved to t_j (1 - label_smoothing) + label_smoothing / n",
        r"-\sum_j t_j \ln p_j, \; p = \mathrm{softmax}(z)", "",
        "torch CrossEntropyLoss, Keras CategoricalCrossentropy and SparseCategoricalCrossentropy",
    ),
    "kl_divergence": (
        "sum_j t_j (log(t_j) - log(p_j)), p = softmax(z), 0 log(0) = 0",
        r"\sum_j t_j (\ln t_j - \ln p_j), \; p = \mathrm{softmax}(z)", "",
        'torch KLDivLoss(reduction="batchmean"), Keras KLDivergence',
    ),
    "gaussian_nll": (
        "(v + (m - t)^2 exp(-v)) / 2, outputs m_1 .. m_n, v_1 .. v_n",
        r"\frac{1}{2} (v + (m - t)^2 e^{-v})", "",
        "torch GaussianNLLLoss(full=False) with var = exp(v); Nix and Weigend 1994",
    ),
}  # fmt: skip
