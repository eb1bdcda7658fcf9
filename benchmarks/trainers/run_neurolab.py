"""Train a network with neurolab's Rprop: a program for a Python with NumPy below 2.

Reads a case as JSON, writes the error before each epoch and the seconds.
"""

import json
import sys
import time

import neurolab
import numpy as np

case = json.load(sys.stdin)
X, y = np.array(case["X"]), np.array(case["y"])
kinds = {
    "tanh": neurolab.trans.TanSig,
    "sigmoid": neurolab.trans.LogSig,
    "identity": neurolab.trans.PureLin,
}
net = neurolab.net.newff(
    [[column.min(), column.max()] for column in X.T],
    [len(b) for _, b, _ in case["layers"]],
    [kinds[activation]() for _, _, activation in case["layers"]],
)
for layer, (W, b, _) in zip(net.layers, case["layers"], strict=True):
    layer.np["w"][...] = W
    layer.np["b"][...] = b
start = time.perf_counter()
errors = neurolab.train.train_rprop(net, X, y, epochs=case["epochs"], show=0, goal=0)
json.dump(
    {
        "errors": errors, "seconds": time.perf_counter() - start, "numpy": np.__version__,
        "version": neurolab.__version__,
    },
    sys.stdout,
)  # fmt: skip
