"""What ``import nncore`` adds to NumPy's own import."""

import os
import statistics
import subprocess
import sys
import tempfile

from nncore.bench.timing import print_header

PROBE = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import nncore
print(middle - start, time.perf_counter() - middle)
"""


def run(quick=False):
    """Print the median over fresh interpreters, started outside the checkout."""
    print_header()
    times = [[float(word) for word in _probe().split()] for _ in range(5 if quick else 25)]
    numpys, ours = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    print(f"import numpy {numpys:.1f} ms; import nncore after it {ours:.1f} ms")


def _probe():
    return subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=tempfile.gettempdir(),
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
