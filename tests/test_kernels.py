"""The kernels around the matrix product: softmax, column sums, gather; and that none reads or
writes outside what it was given. (GEMM, activations, losses and update rules have own files.)"""

import subprocess
import sys

import numpy as np
import pytest

from nncore import _core

from .checks import (
    BLOCK,
    assert_close,
    assert_same_bits,
    canonical_column_sums,
    gamma,
    guarded,
    noise,
    placed,
    softmax,
    tiny,
    unit,
    wide,
)


def test_block_and_lanes(kernels):
    """What the sizes of these tests rest on."""
    assert _core.BLOCK == BLOCK
    rows, cols = kernels.tile
    assert kernels.lanes * kernels.dtype.itemsize in (16, 32, 64)
    assert cols % kernels.lanes == 0
    assert rows >= 1


def test_an_unknown_instruction_set():
    with pytest.raises(ValueError, match="cannot run here"):
        _core.Kernels("sse9", "float32")


def test_the_probe_counts_operations(kernels):
    """Two for each lane of each accumulator: the peak that speeds are compared with."""
    once, twice = kernels.fma_probe(500), kernels.fma_probe(1000)
    assert twice == 2 * once
    assert once % (2 * kernels.lanes * 500) == 0
    assert once > 0


# --- Column sums ----------------------------------------------------------------------------------


def column_counts(kernels):
    lanes = kernels.lanes
    return sorted({0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes + 3, 4 * lanes - 1, 4 * lanes,
                   4 * lanes + 1, 5 * lanes, 9 * lanes + 3})  # fmt: skip


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 17, BLOCK - 1, BLOCK])
def test_column_sums(kernels, rows):
    """One order on every instruction set, so the bits are known: no multiplication is in it."""
    for n in column_counts(kernels):
        for gap, start in ((0, 0), (1, 0), (5, 3)):
            x = noise((rows, n), kernels.dtype)
            there = placed(x, gap, start)
            s, intact = guarded(n, kernels.dtype, start=start)
            kernels.column_sums(there, s)
            intact()
            assert_same_bits(s, canonical_column_sums(x))
            before = s[:] = noise(n, kernels.dtype, 1)
            kernels.column_sums(there, s, accumulate=True)
            intact()
            assert_same_bits(s, canonical_column_sums(x, before))


def test_column_sums_without_rows_are_zero(kernels):
    s = np.full(5, np.nan, kernels.dtype)
    kernels.column_sums(np.empty((0, 5), kernels.dtype), s)
    assert_same_bits(s, np.zeros(5, kernels.dtype))


def test_column_sums_keep_missing_values_in_their_column(kernels):
    x = noise((9, 40), kernels.dtype)
    x[4, 33] = np.nan
    s = np.empty(40, kernels.dtype)
    kernels.column_sums(x, s)
    assert np.flatnonzero(np.isnan(s)).tolist() == [33]


# --- Gather ---------------------------------------------------------------------------------------


def test_gather(kernels, sizes):
    dtype, bits = kernels.dtype, np.dtype(f"u{kernels.dtype.itemsize}")
    for n in sizes:
        no_room = n % kernels.lanes == kernels.lanes - 1  # for an element behind the row
        for gap, start in ((0, 0), (3, 1)):
            x = noise((11, n), dtype)
            if n:
                x.view(bits)[3, n // 2] = np.array(np.nan, dtype).view(bits) | 5  # copied as it is
            for index in ([], [0], [10, 0, 3, 3, 9], list(range(10, -1, -1))):
                y, intact = guarded((len(index), n), dtype, 0 if no_room else 1, start)
                rows = placed(np.array(index, np.int64))
                kernels.gather(rows, placed(x, gap, start), y)
                intact()
                got, want = np.ascontiguousarray(y), x[np.array(index, int)]
                assert np.array_equal(got.view(bits), want.view(bits))


def test_gather_refuses_rows_that_are_not_there(kernels):
    x, y = np.zeros((4, 3), kernels.dtype), np.zeros((1, 3), kernels.dtype)
    for row in (-1, 4):
        with pytest.raises(ValueError, match="fit"):
            kernels.gather(np.array([row]), x, y)


# --- Softmax --------------------------------------------------------------------------------------

WIDTHS = pytest.mark.parametrize("more", [-99, -1, 0, 1, 3, 984], ids=lambda more: f"lanes+{more}")


def width(kernels, more):
    """2, or around the lanes, or 1000 and more."""
    return max(2, kernels.lanes + more + (kernels.lanes if more == 3 else 0))


def exp_sum_error(z):
    """Relative errors of exp(z - max) and of its sum over each row, as kernels/loss.inc.h computes
    them: z - max is rounded once, which exp makes relative; exp is within 2 ulp, or 4 u; and a
    term takes part in n / PAD + log2(PAD) sums, where PAD elements fill 64 bytes."""
    u, pad = unit(z.dtype), 64 // z.dtype.itemsize
    z = z.astype(wide(z.dtype))
    e = u * (z.max(axis=1, keepdims=True) - z) + 4 * u
    p = softmax(z.astype(wide(z.dtype)))
    additions = -(-z.shape[1] // pad) + int(np.log2(pad))
    return e, (p * e).sum(axis=1, keepdims=True) + additions * u


@WIDTHS
def test_softmax(kernels, more):
    n = width(kernels, more)
    for rows in (0, 1, 5):
        z = noise((rows, n), kernels.dtype, scale=4)
        y, intact = guarded((rows, n), kernels.dtype, gap=3, start=1)
        kernels.softmax(z, y)
        intact()
        if not rows:
            continue
        want, (e, s) = softmax(z), exp_sum_error(z)
        assert_close(y, want, 1.001 * want * (e + s + unit(kernels.dtype)))
        total = np.ascontiguousarray(y).astype(wide(kernels.dtype)).sum(axis=1)
        # Errors of the sum cancel: what is left is that of n quotients and of the sum's additions.
        assert abs(total - 1).max() <= gamma(1 + n * kernels.dtype.itemsize // 64 + 5, y.dtype)


def test_softmax_of_one_is_one(kernels):
    y = np.empty((3, 1), kernels.dtype)
    kernels.softmax(noise((3, 1), kernels.dtype, scale=100), y)
    assert (y == 1).all()


def test_softmax_of_equal_scores(kernels):
    for n in (2, 8, 64):
        y = np.empty((1, n), kernels.dtype)
        kernels.softmax(np.full((1, n), -3.7, kernels.dtype), y)
        assert (y == 1 / n).all()


def test_softmax_of_extreme_scores(kernels):
    top = np.finfo(kernels.dtype).max
    for z, want in [
        ([top, 0, -top], [1, 0, 0]),
        ([-top, -top, -top / 2], [0, 0, 1]),
        ([1e4, 1e4, 0], [0.5, 0.5, 0]),
        ([-np.inf, 3, 3], [0, 0.5, 0.5]),
        ([-1e30, -1e30, -1e30 * (1 + 1e-3)], [0.5, 0.5, 0]),
    ]:
        y = np.empty((1, 3), kernels.dtype)
        kernels.softmax(np.array([z], kernels.dtype), y)
        assert y[0].tolist() == want


@pytest.mark.parametrize("at", [0, 1, 15, 16, 20])
def test_softmax_of_missing_values(kernels, at):
    z = noise((3, 21), kernels.dtype)
    z[1, at] = np.nan
    y = np.empty_like(z)
    kernels.softmax(z, y)
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[[0, 2]]).all()


@WIDTHS
def test_softmax_rows_do_not_know_each_other(kernels, more):
    n = width(kernels, more)
    z = noise((6, n), kernels.dtype)
    whole, alone = np.empty_like(z), np.empty_like(z)
    kernels.softmax(z, whole)
    for i in range(6):
        kernels.softmax(z[i : i + 1], alone[i : i + 1])
    assert_same_bits(alone, whole)


@WIDTHS
def test_softmax_slope_is_the_full_jacobian(kernels, more):
    n, dtype = width(kernels, more), kernels.dtype
    to, u, rows = wide(dtype), unit(dtype), 5 if n < 100 else 1
    y, dy = softmax(noise((rows, n), dtype, scale=2)).astype(dtype), noise((rows, n), dtype, 1)
    want = np.empty((rows, n), to)
    for i, row in enumerate(y.astype(to)):
        jacobian = np.diag(row) - np.outer(row, row)
        want[i] = jacobian @ dy[i].astype(to)
    # The sum is in n / PAD chains and a tree, as that of softmax; each product may be rounded.
    additions = n * dtype.itemsize // 64 + 1 + int(np.log2(64 / dtype.itemsize))
    terms = y.astype(to) * dy
    mean = terms.sum(axis=1, keepdims=True)
    mean_error = (additions + 1) * u * np.abs(terms).sum(axis=1, keepdims=True)
    bound = 1.001 * (y * (mean_error + u * np.abs(dy - mean)) + u * np.abs(want)) + tiny(dtype)

    dz, intact = guarded((rows, n), dtype, gap=2, start=1)
    kernels.softmax_slope(placed(y, 1, 1), placed(dy, 3), dz)
    intact()
    assert_close(dz, want, bound)
    in_place, intact = guarded((rows, n), dtype, gap=5)
    in_place[...] = dy
    kernels.softmax_slope(y, in_place, in_place)
    intact()
    assert_same_bits(in_place, dz)
    for i in range(rows):
        row = np.empty((1, n), dtype)
        kernels.softmax_slope(y[i : i + 1], dy[i : i + 1], row)
        assert_same_bits(row[0], dz[i])


def test_softmax_slope_is_the_central_difference(isa):
    kernels, h = _core.Kernels(isa, "float64"), 1e-5
    z, dy = noise((1, 21), np.float64), noise((1, 21), np.float64, 1)

    def outputs(z):
        y = np.empty_like(z)
        kernels.softmax(z, y)
        return y

    want = np.empty(21)
    for j in range(21):
        step = np.where(np.arange(21) == j, h, 0)
        want[j] = ((outputs(z + step) - outputs(z - step)) / (2 * h) * dy).sum()
    dz = np.empty_like(z)
    kernels.softmax_slope(outputs(z), dy, dz)
    assert np.abs(want).max() > 0.05
    # y and its third derivatives are below 1, and |dy| sums to less than 30.
    assert np.abs(dz[0] - want).max() <= 30 * (h**2 / 6 + 8 * 2.0**-53 / h)


# --- Memory that must not be read -----------------------------------------------------------------

READS = """
import ctypes, mmap, sys
import numpy as np
from nncore import _core

isa, dtype = sys.argv[1:3]
kernels = _core.Kernels(isa, dtype)
page, libc, regions = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True), []

def fenced(values, front=False):
    '''A copy that ends (or starts) where a page that nobody may touch starts (or ends).'''
    values = np.asarray(values)
    inner = -(-max(values.nbytes, 1) // page) * page
    region = mmap.mmap(-1, inner + 2 * page)
    base = np.frombuffer(region, np.uint8)
    for at in (0, page + inner):
        fence = ctypes.c_void_p(base.ctypes.data + at)
        assert libc.mprotect(fence, ctypes.c_size_t(page), 0) == 0
    regions.append(region)
    first = page if front else page + inner - values.nbytes
    array = base[first:first + values.nbytes].view(values.dtype).reshape(values.shape)
    array[...] = values
    return array

if sys.argv[3:]:
    ends = fenced(np.ones(3, dtype), sys.argv[3] == "before")
    ctypes.string_at(ends.ctypes.data - 1 if sys.argv[3] == "before" else
                     ends.ctypes.data + ends.nbytes, 1)
    print("the fence is open")
    sys.exit()

rng = np.random.default_rng(0)
def normal(*shape):
    return rng.standard_normal(shape).astype(dtype)

L = kernels.lanes
for front in (False, True):
    def f(*shape):
        return fenced(normal(*shape), front)
    for n in sorted({1, 2, L - 1, L, L + 1, 2 * L + 3, 4 * L + 1, 8 * L + 5}):
        for name in _core.ACTIVATIONS:
            kernels.activation(name, f(n), f(n))
            kernels.slope(name, f(n), f(n), f(n))
            if _core.ACTIVATIONS[name]["keeps"] == "x":
                kernels.activation(name, f(n), f(n), keep=True)
        for name, rule in _core.OPTIMIZERS.items():
            state = [np.abs(f(n)) for _ in range(rule["vectors"])]
            state = [fenced(s, front) for s in state]
            kernels.update(name, f(n), f(n), state, tuple(rule["hyper"].values()), 1)
        for rows in (1, 3):
            kernels.column_sums(f(rows, n), f(n))
            kernels.column_sums(f(rows, n), f(n), accumulate=True)
            index = fenced(np.arange(rows - 1, -1, -1), front)
            kernels.gather(index, f(rows, n), f(rows, n))
            kernels.softmax_slope(f(rows, n), f(rows, n), f(rows, n))
            kernels.softmax(normal(rows, n), f(rows, n))
            for name, row in _core.LOSSES.items():
                each = row["per_target"]
                y, t = normal(rows, n * each), np.abs(f(rows, n))
                kernels.loss(name, y, fenced(t, front), normal(rows, n * each))
                kernels.loss_curve(name, y, fenced(t, front), f(rows, n * each), y.copy())
            labels = fenced(np.zeros(rows, np.int64), front)
            kernels.loss("cross_entropy", normal(rows, n), labels, normal(rows, n))
        for m in (1, 2, kernels.tile[0] + 1, 2 * kernels.tile[0] + 1):
            for k in (1, L + 1, 40, 300):
                kernels.gemm(f(m, k), normal(k, n), f(m, n), activation="tanh", y=f(m, n))
                b = fenced(np.zeros(n * k + SLACK // f(1).itemsize, dtype), front)[:n * k]
                kernels.gemm(f(k, m), b.reshape(k, n), f(m, n), transpose_a=True, accumulate=True,
                             b_has_slack=True)
                kernels.gemm(f(m, k), b.reshape(n, k), f(m, n), transpose_b=True,
                             activation="sigmoid", kept=f(m, n))
m, k, n = 2 * kernels.tile[0] + 1, 300, 2 * kernels.tile[1] + 5
for front in (False, True):
    big = fenced(normal(m, 1024), front)[:, -k:]
    kernels.gemm(big, normal(k, n), fenced(normal(m, n), front))
    big = fenced(normal(k, 1024), front)[:, -m:]
    kernels.gemm(big, normal(k, n), fenced(normal(m, n), front), transpose_a=True)
print("done", len(regions))
"""
NNC_SLACK = 256  # bytes behind b that may be read


def run_fenced(*arguments):
    script = READS.replace("SLACK", str(NNC_SLACK))
    command = [sys.executable, "-P", "-c", script, *arguments]  # not from the source folder
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_read_crosses_the_end_of_an_array(isa, dtype):
    """Every array between pages that may not be touched, in a process of its own: a kernel that
    reads or writes past an end kills it."""
    run = run_fenced(isa, dtype)
    assert run.returncode == 0, f"exit status {run.returncode}: {run.stderr[-2000:]}"
    assert run.stdout.startswith("done")


@pytest.mark.parametrize("side", ["before", "behind"])
def test_the_fence_is_closed(side):
    run = run_fenced(_core.ISA, "float32", side)
    assert run.returncode < 0, run.stdout + run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_finds_one_wrong_number_anywhere(isa, dtype):
    kernels = _core.Kernels(isa, dtype)
    limits = np.finfo(dtype)
    for n in range(0, 2 * kernels.lanes + 4):
        x = np.resize(
            np.array([0.0, -0.0, limits.max, -limits.max, limits.smallest_subnormal], dtype), n
        )
        assert kernels.finite(x)
        for i in range(n):
            for value in (np.inf, -np.inf, np.nan, -np.nan):
                wrong = x.copy()
                wrong[i] = value
                assert not kernels.finite(wrong), (n, i, value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_finite_looks_at_the_elements_alone(dtype):
    wide = np.full((5, 12), np.nan, dtype)
    wide[:, 2:9] = 1
    assert _core.all_finite(wide[:, 2:9]) and _core.all_finite(wide[:0])
    assert not _core.all_finite(wide[:, 2:10])
    wide[4, 8] = np.inf
    assert not _core.all_finite(wide[:, 2:9]) and _core.all_finite(wide[:4, 2:9])
    assert _core.all_finite(wide[3::-1, 2:9])
