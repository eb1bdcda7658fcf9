"""Benchmarks of nncore: each verifies its results first, then times, and prints both.

    python -m benchmarks            # training and prediction: the same as `nncore bench`
    python -m benchmarks activations  # each activation and its slope, per element
    python -m benchmarks gemm       # matrix products
    python -m benchmarks importing

In those with a name NumPy's BLAS is held to one thread, like nncore.
"""

import os
import sys
from pathlib import Path

# Must be set before NumPy is imported.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# `python -m` puts the checkout first on the path, where nncore's source folder would be found
# before the installed package. (An engine built in place is meant to be found there.)
_CHECKOUT = Path(__file__).resolve().parents[1]
if not any(file.suffix in (".so", ".pyd") for file in (_CHECKOUT / "nncore").glob("_core.*")):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _CHECKOUT]
