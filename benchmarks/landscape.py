"""The loss on a grid of parameters: time per landscape and per point, beside single evaluations."""

import time

import numpy as np

import nncore
from nncore.bench.timing import print_header

# layers, points to a side
CASES = (((64, 64, 32, 10), 101), ((64, 32, 10), 51))


def run(quick=False):
    """Print the table: the digits, 1,797 rows, one thread, float32."""
    print_header()
    X, y = nncore.datasets.load_digits()
    X = (X / 16).astype(np.float32)
    print(f"\n{'layers':16}{'points':>10}{'seconds':>10}{'us a point':>12}{'us evaluate':>13}")
    for layers, side in CASES:
        side = 21 if quick else side
        print(measure(layers, side, X, y), flush=True)


def measure(layers, side, X, y):
    """Time a landscape, and the evaluations of its first points one by one."""
    n_in, *widths, n_out = layers
    hidden = (nncore.Dense(n, "relu") for n in widths)
    net = nncore.Network(n_in, *hidden, nncore.Dense(n_out, "softmax"), seed=0)
    nncore.landscape(net, X, y, shape=3, n_threads=1, end=False)
    start = time.perf_counter()
    found = nncore.landscape(net, X, y, shape=side, n_threads=1, end=False, verbose=False)
    seconds = time.perf_counter() - start
    loss = net._engine.loss
    thetas = [net._parameters(found.theta_at(found.a[0], b)) for b in found.b]
    start = time.perf_counter()
    losses = [loss(X, y, 1, theta) for theta in thetas]
    one = (time.perf_counter() - start) / len(thetas)
    if losses != found.losses[0].tolist():
        raise AssertionError("the landscape has other bits than evaluations")
    return (
        f"{'-'.join(map(str, layers)):16}{side:5} x{side:4}{seconds:10.2f}"
        f"{1e6 * seconds / side**2:12.1f}{1e6 * one:13.1f}"
    )
