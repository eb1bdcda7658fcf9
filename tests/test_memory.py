"""What nncore takes of memory: per step, beside the parameters, and to be imported."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import nncore


@pytest.mark.parametrize("batch_size", [1, 32])
def test_a_step_allocates_nothing(batch_size):
    rng = np.random.default_rng(0)
    net = nncore.Network(8, nncore.Dense(16, "tanh"), nncore.Dense(3, "softmax"), seed=0)

    def run(steps):
        rows = steps * batch_size
        X, y = rng.standard_normal((rows, 8), np.float32), rng.integers(0, 3, rows)
        net._engine.train(X, y, None, batch_size)  # the workspace is there
        tracemalloc.start()
        blocks = sys.getallocatedblocks()
        losses = net._engine.train(X, y, None, batch_size)
        blocks = sys.getallocatedblocks() - blocks
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - losses.nbytes, blocks

    few, many = run(10), run(2000)
    assert abs(many[0] - few[0]) < 1000 and abs(many[1] - few[1]) < 20, (few, many)


RESIDENT = """
import sys
import numpy as np
def resident():  # bytes
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
"""

needs_proc = pytest.mark.skipif(
    sys.platform != "linux", reason="the resident memory is read from /proc"
)


def measure(code, tmp_path):
    """What the second run prints: the first leaves compiled modules behind, as installing does."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for _ in range(2):
        output = subprocess.run(
            [sys.executable, "-c", RESIDENT + code], cwd=tmp_path, env=environment,
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    return [int(word) for word in output.split()]


@needs_proc
def test_importing_takes_less_than_2_mb(tmp_path):
    [taken] = measure("before = resident(); import nncore; print(resident() - before)", tmp_path)
    assert 0 < taken < 2e6


@needs_proc
def test_training_takes_four_vectors_and_2_mb(tmp_path):
    code = """
import nncore
rng = np.random.default_rng(0)
X, y = rng.standard_normal((1280, 784), np.float32), rng.integers(0, 10, 1280)
small = nncore.Network(2, nncore.Dense(1))
small.fit(X[:8, :2], X[:8, 2], verbose=False)
before = resident()
net = nncore.Network(
    784, nncore.Dense(512, "relu"), nncore.Dense(512, "relu"), nncore.Dense(10, "softmax"))
start = resident()
net.fit(X, y, batch_size=128, epochs=2, verbose=False, n_threads=1)
print(resident() - before, resident() - start, net.theta.nbytes)
"""
    whole, fit, vector = measure(code, tmp_path)
    assert fit < 3 * vector + 2e6 and whole < 4 * vector + 2e6, (whole, fit, vector)
