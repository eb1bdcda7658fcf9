"""Every optimizer against the formulas of PyTorch and of Keras, written out for one parameter at a
time, for 100 steps; and against PyTorch itself where it is installed.

The formulas are those of torch.optim (2.x) and keras.optimizers (3.x): which of them adds epsilon
where, and what is corrected, is what these tests are about. Nothing of nncore is used in them.
"""

import math

import numpy as np
import pytest

import nncore
from nncore import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, NAdam, RAdam, RMSprop

STEPS = 100
# lr changes, since where it stands in a formula shows only then
RATES = [0.03 * (1 + 0.5 * math.sin(t)) for t in range(STEPS)]


def sgd_torch(p, grads, momentum=0.0, nesterov=False, dampening=0.0):
    buf = None
    for lr, g in zip(RATES, grads, strict=True):
        if momentum:
            buf = g if buf is None else momentum * buf + (1 - dampening) * g
            g = g + momentum * buf if nesterov else buf
        p = p - lr * g
        yield p


def sgd_keras(p, grads, momentum=0.0, nesterov=False):
    v = 0.0
    for lr, g in zip(RATES, grads, strict=True):
        v = momentum * v - lr * g
        p = p + (momentum * v - lr * g if nesterov else v)
        yield p


def adam_torch(p, grads, beta1=0.9, beta2=0.999, eps=1e-8, amsgrad=False, decay=0.0):
    m = v = largest = 0.0
    for t, (lr, g) in enumerate(zip(RATES, grads, strict=True), 1):
        p = p * (1 - lr * decay)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        largest = max(largest, v)
        denominator = math.sqrt(largest if amsgrad else v) / math.sqrt(1 - beta2**t) + eps
        p = p - lr / (1 - beta1**t) * m / denominator
        yield p


def adam_keras(p, grads, beta1=0.9, beta2=0.999, eps=1e-7, amsgrad=False, decay=0.0):
    m = v = largest = 0.0
    for t, (lr, g) in enumerate(zip(RATES, grads, strict=True), 1):
        p = p - p * decay * lr
        alpha = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
        m += (g - m) * (1 - beta1)
        v += (g * g - v) * (1 - beta2)
        largest = max(largest, v)
        p = p - m * alpha / (math.sqrt(largest if amsgrad else v) + eps)
        yield p


def adagrad_torch(p, grads, lr_decay=0.0, initial=0.0, eps=1e-10):
    total = initial
    for t, (lr, g) in enumerate(zip(RATES, grads, strict=True), 1):
        total += g * g
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (math.sqrt(total) + eps)
        yield p


def adagrad_keras(p, grads, initial=0.1, eps=1e-7):
    total = initial
    for lr, g in zip(RATES, grads, strict=True):
        total += g * g
        p = p - lr * g / math.sqrt(total + eps)
        yield p


def adadelta(p, grads, rho, eps):
    squares = deltas = 0.0
    for lr, g in zip(RATES, grads, strict=True):
        squares = rho * squares + (1 - rho) * g * g
        delta = math.sqrt(deltas + eps) / math.sqrt(squares + eps) * g
        deltas = rho * deltas + (1 - rho) * delta * delta
        p = p - lr * delta
        yield p


def rmsprop_torch(p, grads, rho=0.99, eps=1e-8, momentum=0.0, centered=False):
    squares = mean = buf = 0.0
    for lr, g in zip(RATES, grads, strict=True):
        squares = rho * squares + (1 - rho) * g * g
        mean = rho * mean + (1 - rho) * g
        average = math.sqrt(squares - mean * mean if centered else squares) + eps
        buf = momentum * buf + g / average
        p = p - lr * buf
        yield p


def rmsprop_keras(p, grads, rho=0.9, eps=1e-7, momentum=0.0, centered=False):
    velocity = mean = moment = 0.0
    for lr, g in zip(RATES, grads, strict=True):
        velocity = rho * velocity + (1 - rho) * g * g
        mean = rho * mean + (1 - rho) * g
        below = velocity - mean * mean + eps if centered else velocity + eps
        moment = momentum * moment + lr * g / math.sqrt(below)
        p = p - moment
        yield p


def adamax_torch(p, grads, beta1=0.9, beta2=0.999, eps=1e-8):
    m = norm = 0.0
    for t, (lr, g) in enumerate(zip(RATES, grads, strict=True), 1):
        m = beta1 * m + (1 - beta1) * g
        norm = max(beta2 * norm, abs(g) + eps)
        p = p - lr / (1 - beta1**t) * m / norm
        yield p


def adamax_keras(p, grads, beta1=0.9, beta2=0.999, eps=1e-7):
    m = u = 0.0
    for t, (lr, g) in enumerate(zip(RATES, grads, strict=True), 1):
        m += (g - m) * (1 - beta1)
        u = max(beta2 * u, abs(g))
        p = p - lr * m / ((1 - beta1**t) * (u + eps))
        yield p


def nadam(p, grads, beta1=0.9, beta2=0.999, eps=1e-8, momentum_decay=0.004):
    m = v = 0.0
    product = 1.0
    for t, (lr, g) in enumerate(zip(RATES, grads, strict=True), 1):
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        product *= mu
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        below = math.sqrt(v / (1 - beta2**t)) + eps
        p = p - lr * (1 - mu) / (1 - product) * g / below
        p = p - lr * mu_next / (1 - product * mu_next) * m / below
        yield p


def radam(p, grads, beta1=0.9, beta2=0.999, eps=1e-8):
    m = v = 0.0
    for t, (lr, g) in enumerate(zip(RATES, grads, strict=True), 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        corrected = m / (1 - beta1**t)
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        factor = 1.0
        if length > 5:
            rect = (length - 4) * (length - 2) * longest
            rect /= (longest - 4) * (longest - 2) * length
            factor = math.sqrt(rect) * math.sqrt(1 - beta2**t) / (math.sqrt(v) + eps)
        p = p - lr * corrected * factor
        yield p


def lion(p, grads, beta1=0.9, beta2=0.99, decay=0.0):
    m = 0.0
    for lr, g in zip(RATES, grads, strict=True):
        p = p * (1 - lr * decay)
        u = beta1 * m + (1 - beta1) * g
        p = p - lr * math.copysign(1.0, u)
        m = beta2 * m + (1 - beta2) * g
        yield p


# (ours, the formula with its arguments). Where an argument is not given, the defaults must agree.
CASES = [
    (lambda lr: SGD(lr), sgd_torch, {}),
    (lambda lr: SGD(lr, momentum=0.8), sgd_torch, {"momentum": 0.8}),
    (lambda lr: SGD(lr, momentum=0.8, dampening=0.3), sgd_torch,
     {"momentum": 0.8, "dampening": 0.3}),
    (lambda lr: SGD(lr, momentum=0.8, nesterov=True, style="torch"), sgd_torch,
     {"momentum": 0.8, "nesterov": True}),
    (lambda lr: SGD(lr, style="keras"), sgd_keras, {}),
    (lambda lr: SGD(lr, momentum=0.8, style="keras"), sgd_keras, {"momentum": 0.8}),
    (lambda lr: SGD(lr, momentum=0.8, nesterov=True, style="keras"), sgd_keras,
     {"momentum": 0.8, "nesterov": True}),
    (lambda lr: SGD(lr, style="sklearn"), sgd_keras, {"momentum": 0.9, "nesterov": True}),
    (lambda lr: Adam(lr), adam_torch, {}),
    (lambda lr: Adam(lr, amsgrad=True, style="torch"), adam_torch, {"amsgrad": True}),
    (lambda lr: Adam(lr, style="keras"), adam_keras, {}),
    (lambda lr: Adam(lr, amsgrad=True, style="keras"), adam_keras, {"amsgrad": True}),
    (lambda lr: Adam(lr, style="sklearn"), adam_keras, {"eps": 1e-8}),
    (lambda lr: AdamW(lr), adam_torch, {"decay": 0.01}),
    (lambda lr: AdamW(lr, style="keras"), adam_keras, {"decay": 0.004}),
    (lambda lr: Adagrad(lr), adagrad_torch, {}),
    (lambda lr: Adagrad(lr, lr_decay=0.1, initial=0.2), adagrad_torch,
     {"lr_decay": 0.1, "initial": 0.2}),
    (lambda lr: Adagrad(lr, style="keras"), adagrad_keras, {}),
    (lambda lr: Adadelta(lr), adadelta, {"rho": 0.9, "eps": 1e-6}),
    (lambda lr: Adadelta(lr, style="keras"), adadelta, {"rho": 0.95, "eps": 1e-7}),
    (lambda lr: RMSprop(lr), rmsprop_torch, {}),
    (lambda lr: RMSprop(lr, momentum=0.8), rmsprop_torch, {"momentum": 0.8}),
    (lambda lr: RMSprop(lr, centered=True), rmsprop_torch, {"centered": True}),
    (lambda lr: RMSprop(lr, momentum=0.8, centered=True), rmsprop_torch,
     {"momentum": 0.8, "centered": True}),
    (lambda lr: RMSprop(lr, style="keras"), rmsprop_keras, {}),
    (lambda lr: RMSprop(lr, momentum=0.8, style="keras"), rmsprop_keras, {"momentum": 0.8}),
    (lambda lr: RMSprop(lr, centered=True, style="keras"), rmsprop_keras, {"centered": True}),
    (lambda lr: RMSprop(lr, momentum=0.8, centered=True, style="keras"), rmsprop_keras,
     {"momentum": 0.8, "centered": True}),
    (lambda lr: Adamax(lr), adamax_torch, {}),
    (lambda lr: Adamax(lr, style="keras"), adamax_keras, {}),
    (lambda lr: NAdam(lr), nadam, {}),
    (lambda lr: NAdam(lr, style="keras"), nadam, {"eps": 1e-7, "momentum_decay": 1.0}),
    (lambda lr: RAdam(lr), radam, {}),
    (lambda lr: Lion(lr), lion, {}),
    (lambda lr: Lion(lr, weight_decay=0.2), lion, {"decay": 0.2}),
]  # fmt: skip
IDS = [repr(make(1.0)) for make, _, _ in CASES]


# A network whose gradient is what we like: y = x W, one row, half_mse with t = x W - g.
STARTS = np.array([0.7, -0.4, 1.3, 0.05, -2.0])


def gradients(scale):
    g = np.random.default_rng(3).normal(size=(STEPS, len(STARTS)))
    g[20:30] *= 1e-3
    g[:, 3] *= 1e-6  # here eps matters
    return scale * g


def run(optimizer, grads, backend):
    """The parameters after each step of a network that is given these gradients."""
    n = len(STARTS)
    net = nncore.Network(
        n, nncore.Dense(1, bias=False, init=STARTS[:, None]), loss="half_mse", dtype="float64",
        optimizer=optimizer, backend=backend,
    )  # fmt: skip
    engine, path = net._engine, []
    theta, twin = net.theta, []
    for g in grads:
        # x is g, and y - t is 1: the gradient is g
        net.partial_fit(g[None], [[float(g @ theta) - 1.0]])
        path.append(theta.copy())
        twin.append(engine.n_updates)
    assert twin[-1] == len(grads)
    return np.array(path)


@pytest.mark.parametrize("scale", [1.0, 1e-5])
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize(("make", "formula", "arguments"), CASES, ids=IDS)
def test_hundred_steps(make, formula, arguments, backend, scale):
    grads = gradients(scale)
    got = run(make(lambda t: RATES[t]), grads, backend)
    want = np.array(
        [list(formula(p, g.tolist(), **arguments)) for p, g in zip(STARTS, grads.T, strict=True)]
    ).T
    moved = np.abs(want - STARTS)
    assert moved[-1].max() > 1e-9, "it has moved"
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10 * moved.max())


def test_the_styles_differ():
    """So that a test of one does not pass for the other."""
    grads = gradients(1.0)[:, 3].tolist()
    for torch, keras in [(sgd_torch, sgd_keras), (adam_torch, adam_keras),
                         (rmsprop_torch, rmsprop_keras), (adamax_torch, adamax_keras),
                         (adagrad_torch, adagrad_keras)]:  # fmt: skip
        of_sgd = {"momentum": 0.8} if torch is sgd_torch else {}
        a, b = (np.array(list(f(0.5, grads, **of_sgd))) for f in (torch, keras))
        assert np.abs(a - b).max() > 1e-8


DEFAULTS = [  # of features documented by each: (ours, arguments)
    (SGD, "torch", {"lr": 1e-3, "momentum": 0.0, "nesterov": False}),
    (SGD, "keras", {"lr": 0.01, "momentum": 0.0, "nesterov": False}),
    (SGD, "sklearn", {"lr": 1e-3, "momentum": 0.9, "nesterov": True}),
    (Adam, "torch", {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False}),
    (Adam, "keras", {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7, "amsgrad": False}),
    (Adam, "sklearn", {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    (AdamW, "torch", {"lr": 1e-3, "eps": 1e-8, "weight_decay": 1e-2}),
    (AdamW, "keras", {"lr": 1e-3, "eps": 1e-7, "weight_decay": 0.004}),
    (RMSprop, "torch", {"lr": 1e-2, "rho": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False}),
    (RMSprop, "keras", {"lr": 1e-3, "rho": 0.9, "eps": 1e-7, "momentum": 0.0, "centered": False}),
    (Adagrad, "torch", {"lr": 1e-2, "eps": 1e-10, "initial": 0.0, "lr_decay": 0.0}),
    (Adagrad, "keras", {"lr": 1e-3, "eps": 1e-7, "initial": 0.1}),
    (Adadelta, "torch", {"lr": 1.0, "rho": 0.9, "eps": 1e-6}),
    (Adadelta, "keras", {"lr": 1e-3, "rho": 0.95, "eps": 1e-7}),
    (Adamax, "torch", {"lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    (Adamax, "keras", {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7}),
    (NAdam, "torch", {"lr": 2e-3, "eps": 1e-8, "momentum_decay": 4e-3}),
    (NAdam, "keras", {"lr": 1e-3, "eps": 1e-7, "momentum_decay": 1.0}),
]


@pytest.mark.parametrize(("kind", "style", "wanted"), DEFAULTS)
def test_defaults(kind, style, wanted):
    optimizer = kind(style=style)
    assert {name: getattr(optimizer, name) for name in wanted} == wanted


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, Adagrad, Adadelta, RMSprop, Adamax, NAdam])
def test_a_style_that_does_not_exist(kind):
    with pytest.raises(ValueError, match=f'style of {kind.__name__} must be one of "torch", "ker'):
        kind(style="jax")


def test_no_style_is_that_of_torch_but_for_one_rate():
    for kind in (Adam, AdamW, Adagrad, Adadelta, RMSprop, Adamax, NAdam):
        assert kind().hyper == kind(style="torch").hyper and kind().rule == kind(style="torch").rule
    assert SGD().lr == 0.01


def in_torch(torch, ours):
    """The optimizer of torch for one of ours."""
    o = torch.optim
    betas = lambda a: (a.beta1, a.beta2)  # noqa: E731
    makers = {
        "SGD": lambda p, a: o.SGD(
            p, 1.0, momentum=a.momentum, nesterov=a.nesterov, dampening=a.dampening),
        "Adam": lambda p, a: o.Adam(p, 1.0, betas(a), a.eps, amsgrad=a.amsgrad),
        "AdamW": lambda p, a: o.AdamW(p, 1.0, betas(a), a.eps, weight_decay=a.weight_decay),
        "Adagrad": lambda p, a: o.Adagrad(
            p, 1.0, a.lr_decay, initial_accumulator_value=a.initial, eps=a.eps),
        "Adadelta": lambda p, a: o.Adadelta(p, 1.0, a.rho, a.eps),
        "RMSprop": lambda p, a: o.RMSprop(
            p, 1.0, a.rho, a.eps, momentum=a.momentum, centered=a.centered),
        "Adamax": lambda p, a: o.Adamax(p, 1.0, betas(a), a.eps),
        "NAdam": lambda p, a: o.NAdam(p, 1.0, betas(a), a.eps, momentum_decay=a.momentum_decay),
        "RAdam": lambda p, a: o.RAdam(p, 1.0, betas(a), a.eps),
    }  # fmt: skip
    return lambda p: makers[type(ours).__name__]([p], ours)


OF_TORCH = [
    i for i, (make, _, _) in enumerate(CASES)
    if getattr(make(1.0), "style", None) in (None, "torch") and not isinstance(make(1.0), Lion)
]  # fmt: skip


@pytest.mark.parametrize("case", OF_TORCH, ids=[IDS[i] for i in OF_TORCH])
def test_torch_itself(case, request):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    # It keeps NAdam's product of momenta in the default type.
    before = torch.get_default_dtype()
    request.addfinalizer(lambda: torch.set_default_dtype(before))
    torch.set_default_dtype(torch.float64)
    make, grads = CASES[case][0], gradients(1.0)
    p = torch.tensor(STARTS, dtype=torch.float64, requires_grad=True)
    optimizer = in_torch(torch, make(1.0))(p)
    want = []
    for lr, g in zip(RATES, grads, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = torch.tensor(g)
        optimizer.step()
        want.append(p.detach().numpy().copy())
    got = run(make(lambda t: RATES[t]), grads, "auto")
    np.testing.assert_allclose(got, np.array(want), rtol=1e-10, atol=1e-11)
