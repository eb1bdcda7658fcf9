"""Matrix products: how close to the processor's limit, and against NumPy's BLAS."""

from functools import partial

import numpy as np

import nncore
from nncore import _core
from nncore.bench.timing import print_header, take_turns

LARGE = (512, 1024, 2048)
SQUARES = (16, 17, 24, 32, 33, 48, 63, 64, 65, 96, 100, 128, 192, 255, 256, 384, 512, 1000, 1024,
           1536, 2048)  # fmt: skip
SHAPES = ((32, 784, 128), (1, 784, 128), (256, 17, 256), (1, 64, 64), (3, 100, 7), (31, 783, 127),
          (1, 785, 129), (255, 19, 257), (64, 33, 10), (7, 1000, 33), (128, 784, 512))  # fmt: skip


def run(quick=False):
    """Print both tables."""
    print_header()
    against_peak(LARGE[:2] if quick else LARGE)
    against_numpy(quick)


def check(c, a, b):
    """Raise if c is not a @ b within the error of sums of k products in c's precision."""
    wide = np.float64 if c.dtype == np.float32 else np.longdouble
    rows = np.linspace(0, len(a) - 1, min(len(a), 16)).astype(int)
    exact = a[rows].astype(wide) @ b.astype(wide)
    scale = np.abs(a[rows]).astype(wide) @ np.abs(b).astype(wide)
    k = a.shape[1]
    bound = (min(k, _core.BLOCK) + k / _core.BLOCK + 2) * np.finfo(c.dtype).eps
    worst = float((np.abs(c[rows] - exact) / scale).max())
    if not worst <= bound:
        raise AssertionError(f"{a.shape} x {b.shape}: error {worst:.1e} exceeds {bound:.1e}")
    return worst


def against_peak(sizes):
    """The three orientations of backpropagation as a share of the FMA peak of the same run."""
    print("\nGEMM kernels, square n, GFLOP/s and percent of the register-only FMA peak")
    print(
        f"{'isa':9}{'dtype':9}{'peak':>6}   "
        + "".join(f"{f'{name} n={n}':>19}" for n in sizes for name in ("X W", "X'dY", "dY W'"))
    )
    for isa in _core.isas():
        for dtype in ("float32", "float64"):
            kernels = _core.Kernels(isa, dtype)
            cells, peaks = [], []
            for n in sizes:
                rng = np.random.default_rng(n)
                a, b = (_core.aligned_zeros((n, n), dtype) for _ in range(2))
                a[...], b[...] = rng.standard_normal((2, n, n))
                c = np.empty((n, n), dtype)
                for ta, tb in ((False, False), (True, False), (False, True)):
                    how = {"transpose_a": ta, "transpose_b": tb, "b_has_slack": True}
                    product = partial(kernels.gemm, a, b, c, **how)
                    product()
                    check(c, a.T if ta else a, b.T if tb else b)
                    # The probe takes turns with the product, so a drift reaches both.
                    probe = partial(kernels.fma_probe, 20_000)
                    seconds, probed = take_turns([product, probe], bursts=15, seconds=0.005)
                    rate, peak = 2 * n**3 / seconds, probe() / probed
                    peaks.append(peak)
                    cells.append(f"{rate * 1e-9:11.1f} {100 * rate / peak:5.1f} %")
            print(
                f"{isa:9}{dtype:9}{np.median(peaks) * 1e-9:6.1f}   "
                + "".join(f"{cell:>19}" for cell in cells),
                flush=True,
            )


def against_numpy(quick):
    """``net.predict(X, out=Y)`` of one linear layer against ``np.dot(X, W, out=Y)``."""
    print("\nnet.predict(X, out=Y) of one linear layer against np.dot(X, W, out=Y), float32")
    print(f"{'(m, k) x (k, n)':24}{'nncore us':>11}{'np.dot us':>11}{'ratio':>8}{'error':>10}")
    squares = [(n, n, n) for n in (SQUARES[::3] if quick else SQUARES)]
    for m, k, n in [*squares, *SHAPES]:
        rng = np.random.default_rng(m + k + n)
        X, W = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n)))
        Y, Z = np.empty((m, n), np.float32), np.empty((m, n), np.float32)
        net = nncore.Network(k, nncore.Dense(n, bias=False, init=W))
        error = check(net.predict(X, out=Y), X, W)
        ours, numpys = take_turns(
            [lambda: net.predict(X, out=Y), lambda: np.dot(X, W, out=Z)],  # noqa: B023
            bursts=5 if quick else 25,
            seconds=0.004,
        )
        print(
            f"{f'({m}, {k}) x ({k}, {n})':24}{1e6 * ours:11.2f}{1e6 * numpys:11.2f}"
            f"{numpys / ours:8.2f}{error:10.1e}",
            flush=True,
        )
