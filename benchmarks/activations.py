"""Activations and their slopes, per element, beside NumPy's and PyTorch's."""

import math

import numpy as np

from nncore import _core, reference
from nncore.bench.timing import print_header, take_turns

N = 32_768  # so many that what a call costs hardly counts, so few that they stay in the cache
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}  # of the value or, where that is below 1, of 1


def run(quick=False, dtype="float32"):
    """Print the table, and which peers were not timed because their results are wrong."""
    print_header()
    kinds = {"nncore": NNCore, "numpy": NumPy} | ({"torch": Torch} if Torch.found() else {})
    print(
        f"\n{N} elements of {dtype}, in ns each; y = f(x), then dx = dy f'(x) from what training "
        f"keeps, on {_core.ISA}.\nNumPy is nncore.reference, and works in place: two copies that "
        "restore its arguments are timed alone and taken off."
    )
    if "torch" in kinds:
        print(f"PyTorch {Torch.torch.__version__}, outside of autograd, allocates its results.")
    title = "".join(f"{name:>9}" for name in kinds) + f"{'ratio':>8}"
    print(f"\n{'':14}{'y = f(x)':>{len(title)}}  {'dx = dy * slope':>{len(title)}}")
    print(f"{'activation':14}{title}  {title}")
    rng = np.random.default_rng(0)
    x, dy = rng.normal(0, 2, N).astype(dtype), rng.standard_normal(N).astype(dtype)
    failed = []
    for name in elementwise():
        systems = {kind: make(name, x, dy) for kind, make in kinds.items() if make.has(name)}
        for kind in list(systems):
            if problem := wrong(systems[kind], name, x, dy):
                failed.append(f"{kind}, {name}: {problem}")
                del systems[kind]
        if "nncore" not in systems:
            raise AssertionError(failed[0])
        seconds = measure(systems, quick)
        forward, backward = (cells(kinds, seconds, what) for what in ("forward", "backward"))
        print(f"{name:14}{forward}  {backward}", flush=True)
    for problem in failed:
        print(f"FAILED, not timed: {problem}")


def elementwise():
    """The activations of one number that run anything: softmax is of rows, identity is nothing."""
    return [name for name, row in _core.ACTIVATIONS.items() if row["keeps"] != "none"]


class System:
    """One activation; `forward` and `backward` return y and dx, `restore` is taken off."""

    @classmethod
    def has(cls, name):
        """Whether it has this activation."""
        return True


class NNCore(System):
    """The engine's kernels. A slope that is written in x is computed beside f, and both are timed
    as what it takes."""

    def __init__(self, name, x, dy):
        kernels = _core.Kernels(None, x.dtype)
        y, dx = np.empty_like(x), np.empty_like(x)
        kernels.activation(name, x, y)
        self.beside = _core.ACTIVATIONS[name]["keeps"] == "x"
        kept = x.copy() if self.beside else y.copy()
        self.kernels, self.arguments = kernels, (name, x, y, kept, dy, dx)

    def forward(self):
        name, x, y, *_ = self.arguments
        self.kernels.activation(name, x, y)
        return y

    def backward(self):
        name, x, y, kept, dy, dx = self.arguments
        if self.beside:
            np.copyto(kept, x)
            self.kernels.activation(name, kept, y, keep=True)
        self.kernels.slope(name, kept, dy, dx)
        return dx


class NumPy(System):
    """`nncore.reference`."""

    def __init__(self, name, x, dy):
        row = reference.ACTIVATIONS[name]
        self.f, keeps, self.slope = row.f, row.keeps, row.backward
        self.x, self.y, self.scratch = x, np.empty_like(x), np.empty_like(x)
        self.source = x if keeps == "X" else self.f(x), dy
        self.kept, self.delta = (a.copy() for a in self.source)

    def forward(self):
        self.f(self.x, self.y, self.scratch)
        return self.y

    def restore(self):
        np.copyto(self.kept, self.source[0])
        np.copyto(self.delta, self.source[1])

    def backward(self):
        self.restore()
        self.slope(self.kept, self.delta)
        return self.delta


class Torch(System):
    """What torch.nn.functional has, and the kernel that its autograd would call."""

    @classmethod
    def found(cls):
        """Import it, where it is installed."""
        try:
            import torch
        except ModuleNotFoundError:
            return False
        torch.set_num_threads(1)
        cls.torch, cls.functions = torch, torch_functions(torch)
        return True

    @classmethod
    def has(cls, name):
        return name in cls.functions

    def __init__(self, name, x, dy):
        self.x, self.dy = self.torch.from_numpy(x), self.torch.from_numpy(dy)
        self.f, self.slope, *kept = self.functions[name]
        self.kept = (kept[0] if kept else self.f)(self.x)

    def forward(self):
        return self.f(self.x)

    def backward(self):
        return self.slope(self.dy, self.x, self.kept)


def torch_functions(torch):
    """name -> (f(x), dx from (dy, x, y)), and what it keeps if not y; some PyTorch lacks."""
    F, aten = torch.nn.functional, torch.ops.aten
    scale, left = reference.activations.SELU_SCALE, reference.activations.SELU_LEFT
    return {
        "relu": (torch.relu, lambda dy, x, y: aten.threshold_backward(dy, y, 0)),
        "sigmoid": (torch.sigmoid, lambda dy, x, y: aten.sigmoid_backward(dy, y)),
        "tanh": (torch.tanh, lambda dy, x, y: aten.tanh_backward(dy, y)),
        "softplus": (F.softplus, lambda dy, x, y: aten.softplus_backward(dy, x, 1, 20)),
        "softsign": (F.softsign, lambda dy, x, y: dy / x.abs().add_(1).square_()),
        "leaky_relu": (
            F.leaky_relu, lambda dy, x, y: aten.leaky_relu_backward(dy, x, 0.01, False)
        ),
        "elu": (F.elu, lambda dy, x, y: aten.elu_backward(dy, 1, 1, 1, True, y)),
        "selu": (
            F.selu, lambda dy, x, y: aten.elu_backward(dy, left / scale, scale, 1, True, y)
        ),
        "celu": (F.celu, lambda dy, x, y: aten.elu_backward(dy, 1, 1, 1, True, y)),
        "hardtanh": (F.hardtanh, lambda dy, x, y: aten.hardtanh_backward(dy, x, -1, 1)),
        "satlin": (
            lambda x: F.hardtanh(x, 0, 1), lambda dy, x, y: aten.hardtanh_backward(dy, x, 0, 1)
        ),
        "threshold": (
            lambda x: F.threshold(x, 1, 0), lambda dy, x, y: aten.threshold_backward(dy, x, 1)
        ),
        "relu6": (F.relu6, lambda dy, x, y: aten.hardtanh_backward(dy, x, 0, 6)),
        "hard_sigmoid": (F.hardsigmoid, lambda dy, x, y: aten.hardsigmoid_backward(dy, x)),
        "hard_swish": (F.hardswish, lambda dy, x, y: aten.hardswish_backward(dy, x)),
        "silu": (F.silu, lambda dy, x, y: aten.silu_backward(dy, x)),
        "mish": (F.mish, lambda dy, x, y: aten.mish_backward(dy, x)),
        "gelu": (F.gelu, lambda dy, x, y: aten.gelu_backward(dy, x)),
        "gelu_tanh": (
            lambda x: F.gelu(x, approximate="tanh"),
            lambda dy, x, y: aten.gelu_backward(dy, x, approximate="tanh"),
        ),
        "log_sigmoid": (
            F.logsigmoid, lambda dy, x, buffer: aten.log_sigmoid_backward(dy, x, buffer),
            lambda x: aten.log_sigmoid_forward(x)[1],
        ),
        "tanhshrink": (F.tanhshrink, lambda dy, x, y: dy * torch.tanh(x).square_()),
        "hard_shrink": (F.hardshrink, lambda dy, x, y: aten.hardshrink_backward(dy, x, 0.5)),
        "softshrink": (F.softshrink, lambda dy, x, y: aten.softshrink_backward(dy, x, 0.5)),
        "exponential": (torch.exp, lambda dy, x, y: dy * y),
        "sin": (torch.sin, lambda dy, x, y: dy * torch.cos(x)),
    }  # fmt: skip


def wrong(system, name, x, dy):
    """What is wrong with a system's results, held against the NumPy twin in float64; or None."""
    f, df, *_ = reference.ACTIVATIONS[name]
    wide = x.astype(np.float64)
    for what, want in ("forward", f(wide)), ("backward", dy * df(wide)):
        got = np.asarray(getattr(system, what)(), np.float64)
        error = np.abs(got - want) / np.maximum(np.abs(want), 1)
        fails = ~(error <= TOLERANCE[x.dtype.name])  # NaN does
        if fails.any():
            i = int(fails.argmax())
            return f"{what} is {got[i]:.10g} at x = {x[i]:.10g}, expected {want[i]:.10g}"
    return None


def measure(systems, quick):
    """Seconds per call of each system, by (its name, "forward" or "backward")."""
    calls = {
        (name, what): getattr(system, what)
        for name, system in systems.items()
        for what in ("forward", "backward", "restore")
        if hasattr(system, what)
    }
    turns = {"bursts": 3, "seconds": 0.001} if quick else {"bursts": 25, "seconds": 0.004}
    found = dict(zip(calls, take_turns(list(calls.values()), **turns), strict=True))
    for name in systems:
        found[name, "backward"] -= found.get((name, "restore"), 0)
    return found


def cells(names, seconds, what):
    """ns per element of each system, and the best peer's over nncore's."""
    times = [seconds.get((name, what), math.nan) for name in names]
    peers = [
        time for time in times[1:] if time > 0
    ]  # a busy machine can make a difference negative
    ratio = min(peers) / times[0] if peers else math.nan
    text = "".join(f"{1e9 * time / N:9.3f}" if time > 0 else f"{'-':>9}" for time in times)
    return f"{text}{ratio:8.2f}" if peers else f"{text}{'-':>8}"
