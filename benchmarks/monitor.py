"""What nncore.Monitor adds to the time of fit, side by side with fit without it."""

import numpy as np

import nncore
from nncore.bench.timing import print_header, take_turns

# layers, hidden activation, rows, batch size, epochs of one fit: enough that looks repeat
CASES = (
    ((2, 4, 1), "tanh", 4, 4, 5000),
    ((4, 16, 3), "tanh", 150, 16, 1000),
    ((10, 20, 2), "tanh", 1000, 1, 100),
    ((64, 64, 32, 10), "relu", 1797, 32, 60),
    ((64, *(32,) * 8, 10), "relu", 1797, 32, 40),
    ((784, 128, 10), "relu", 4000, 64, 20),
    ((784, 512, 512, 10), "relu", 4000, 128, 20),
)


def run(quick=False):
    """Print the table."""
    print_header()
    print(
        "\nmilliseconds per epoch of fit, one thread, float32, Adam; looks: in one fit; own: the "
        "monitor's\nown clock by the time of the training steps, which its share of 5 % is of"
    )
    print(
        f"{'layers':32}{'rows':>6}{'batch':>6}{'epochs':>7}{'without':>10}{'with':>10}{'more':>8}"
        f"{'looks':>7}{'own':>8}"
    )
    for case in CASES[1:5:3] if quick else CASES:
        print(measure(*case, quick), flush=True)


def measure(layers, hidden, rows, batch_size, epochs, quick):
    """Time both in turns, each on a network of its own that goes on training."""
    rng = np.random.default_rng(0)
    n_in, *widths, n_out = layers
    softmax = n_out > 1
    X = rng.standard_normal((rows, n_in)).astype(np.float32)
    y = rng.integers(0, n_out, rows) if softmax else rng.random((rows, 1)).astype(np.float32)
    monitor, own = nncore.Monitor(), []

    def make(callbacks):
        net = nncore.Network(
            n_in, *(nncore.Dense(n, hidden) for n in widths),
            nncore.Dense(n_out, "softmax" if softmax else "sigmoid"), seed=0,
        )  # fmt: skip

        def call():
            history = net.fit(
                X, y, epochs=epochs, batch_size=batch_size, verbose=False, n_threads=1,
                callbacks=callbacks,
            )  # fmt: skip
            if callbacks:
                own.append(monitor.seconds / history.seconds)

        return call

    calls = [make(None), make([monitor])]
    plain, watched = take_turns(calls, bursts=3 if quick else 15, seconds=0.01)
    return (
        f"{'-'.join(map(str, layers)):32}{rows:6}{batch_size:6}{epochs:7}"
        f"{1e3 * plain / epochs:10.3f}{1e3 * watched / epochs:10.3f}{watched / plain - 1:8.1%}"
        f"{monitor.looks:7}{np.median(own):8.1%}"
    )
