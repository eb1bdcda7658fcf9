"""Per-sample gradients and Hessian-vector products, beside the gradient and PyTorch's."""

import importlib.util
from functools import partial

import numpy as np

import nncore
from nncore.bench.timing import print_header, take_turns

# layers, hidden activation, rows
CASES = (
    ((3, 2, 1), "sigmoid", 8),
    ((4, 16, 3), "tanh", 16),
    ((64, 64, 32, 10), "relu", 32),
    ((784, 128, 10), "relu", 64),
    ((17, 256, 256, 6), "tanh", 256),
    ((784, 512, 512, 10), "relu", 128),
)


def run(quick=False):
    """Print the table."""
    print_header()
    peer = PyTorch if importlib.util.find_spec("torch") else None
    print("\nmicroseconds per call, one thread, float32; the results go to arrays that exist")
    print(
        f"{'layers':20}{'rows':>6}{'gradient':>10}{'H v':>10}{'ratio':>7}{'per sample':>12}"
        + (f"{'vmap(grad)':>12}{'ratio':>7}{'torch H v':>11}{'ratio':>7}" if peer else "")
    )
    for layers, hidden, rows in CASES[:4] if quick else CASES:
        print(measure(layers, hidden, rows, peer, quick), flush=True)


def measure(layers, hidden, rows, peer, quick):
    """Check the peer's results against ours, then time all in turns."""
    rng = np.random.default_rng(0)
    n_in, *widths, n_out = layers
    softmax = n_out > 1
    net = nncore.Network(
        n_in, *(nncore.Dense(n, hidden) for n in widths),
        nncore.Dense(n_out, "softmax" if softmax else "sigmoid"), seed=0,
    )  # fmt: skip
    X = rng.standard_normal((rows, n_in)).astype(np.float32)
    y = rng.integers(0, n_out, rows) if softmax else rng.random((rows, 1)).astype(np.float32)
    v = rng.standard_normal(net.n_params).astype(np.float32)
    out = np.empty((rows, net.n_params), np.float32)
    calls = [
        partial(net.loss_and_gradient, X, y, n_threads=1),
        partial(net.hessian_vector_product, X, y, v, n_threads=1),
        partial(net.sample_gradients, X, y, out=out, n_threads=1),
    ]
    if peer:
        other = peer(net, X, y, v)
        calls += [other.sample_gradients, other.hessian_vector_product]
        check(other.sample_gradients_like(net), net.sample_gradients(X, y)[1])
        check(other.product_like(net), net.hessian_vector_product(X, y, v))
    seconds = take_turns(calls, bursts=5 if quick else 15, seconds=0.01)
    gradient, product, samples, *others = (1e6 * s for s in seconds)
    line = (
        f"{'-'.join(map(str, layers)):20}{rows:6}{gradient:10.1f}{product:10.1f}"
        f"{product / gradient:7.2f}{samples:12.1f}"
    )
    if peer:
        vmap, along = others
        line += f"{vmap:12.1f}{vmap / samples:7.2f}{along:11.1f}{along / product:7.2f}"
    return line


def check(got, want):
    """Raise unless two systems agree to the rounding of float32."""
    error = float(np.abs(got - want).max() / np.abs(want).max())
    if not error < 1e-4:
        raise AssertionError(f"PyTorch and nncore differ by {error:.1e}")


class PyTorch:
    """The same network and loss by torch.func."""

    def __init__(self, net, X, y, v):
        import torch
        from torch.func import functional_call, grad, jvp, vmap

        torch.set_num_threads(1)
        activations = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}
        modules = []
        for layer in net.layers:
            linear = torch.nn.Linear(*layer.W.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(layer.W.T.copy()))
                linear.bias.copy_(torch.from_numpy(layer.b.copy()))
            modules += [linear] + [activations[a]() for a in [layer.activation] if a in activations]
        if net.loss == "binary_cross_entropy":
            modules.pop()  # from the raw scores, as here
        model = torch.nn.Sequential(*modules)
        parameters = {name: p.detach() for name, p in model.named_parameters()}
        X, y = torch.from_numpy(X), torch.from_numpy(np.ascontiguousarray(y))
        of = (
            torch.nn.functional.cross_entropy if net.loss == "cross_entropy"
            else torch.nn.functional.binary_cross_entropy_with_logits
        )  # fmt: skip

        def loss(parameters, x, t):
            return of(functional_call(model, parameters, (x,)), t)

        def loss_of_row(parameters, x, t):
            return loss(parameters, x[None], t[None])

        direction, at = {}, 0
        for i, layer in enumerate(net.layers):
            names = [name for name in parameters if name.split(".")[0] == linear_name(model, i)]
            for name, shape in zip(names, (layer.W.shape, layer.b.shape), strict=True):
                size = int(np.prod(shape))
                values = v[at : at + size].reshape(shape)
                direction[name] = torch.from_numpy(values.T.copy())
                at += size
        each = vmap(grad(loss_of_row), in_dims=(None, 0, 0))
        self.sample_gradients = partial(each, parameters, X, y)
        gradient = grad(loss)
        self.hessian_vector_product = lambda: jvp(
            lambda p: gradient(p, X, y), (parameters,), (direction,)
        )[1]
        self.names = list(direction)

    def sample_gradients_like(self, net):
        """As rows laid out as theta."""
        found = self.sample_gradients()
        parts = [found[name].numpy() for name in self.names]
        return np.concatenate([np.moveaxis(p, 1, -1).reshape(len(p), -1) for p in parts], axis=1)

    def product_like(self, net):
        """As a vector laid out as theta."""
        found = self.hessian_vector_product()
        return np.concatenate([found[name].numpy().T.ravel() for name in self.names])


def linear_name(model, i):
    """The name of the i-th linear module of a sequence."""
    return [name for name, m in model.named_children() if hasattr(m, "weight")][i]
