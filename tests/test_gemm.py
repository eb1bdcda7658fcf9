"""The matrix product: every orientation and end, at the sizes where its tiles and copies change.

Three kinds of proof, from coarse to fine: sums of whole numbers must be exact, whatever the order;
sums of real numbers must lie within the error that their roundings can make; and the order and
roundings that nnc.h promises must give the same bits, redone in NumPy.
"""

from itertools import cycle, product

import numpy as np
import pytest

from .checks import (
    BLOCK,
    TRUTH,
    assert_close,
    assert_same_bits,
    assert_ulps,
    canonical_product,
    gamma,
    guarded,
    integers,
    noise,
    placed,
    truth,
    wide,
)

PLAIN, TRANSPOSE_A, TRANSPOSE_B = {}, {"transpose_a": True}, {"transpose_b": True}
ORIENTATIONS = pytest.mark.parametrize(
    "orientation", [PLAIN, TRANSPOSE_A, TRANSPOSE_B], ids=["plain", "transpose_a", "transpose_b"]
)

# Elements between rows, and before the first: the kernel may assume alignment of nothing.
LAYOUTS = ((0, 0), (1, 0), (3, 1), (0, 5), (40, 0), (21, 3))


def lay(orientation, a, b, gap=0, start=0):
    """The operands as this orientation stores them."""
    a = placed(a.T if "transpose_a" in orientation else a, gap, start)
    return a, placed(b.T if "transpose_b" in orientation else b, gap, start)


def run(kernels, orientation, a, b, *, gap=0, start=0, c=None, **ends):
    """The kernel's product, after checking that it wrote nothing else."""
    shape = a.shape[0], b.shape[1]
    result, intact = guarded(shape, kernels.dtype, gap, start)
    if c is not None:
        result[...] = c
        ends["accumulate"] = True
    a, b = lay(orientation, a, b, gap, start)
    kernels.gemm(a, b, result, b_has_slack=True, **orientation, **ends)
    intact()
    return result


def shapes(kernels):
    """(m, n, k): m and n around the lanes and the tile, k around the blocks and the lanes."""
    lanes, (tile_rows, tile_cols) = kernels.lanes, kernels.tile
    short = {0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes + 3}
    ms = short | {tile_rows - 1, tile_rows, tile_rows + 1, 2 * tile_rows + 1}
    ns = short | {tile_cols - 1, tile_cols, tile_cols + 1, 2 * tile_cols + 1}
    ns |= {8 * lanes - 1, 8 * lanes, 8 * lanes + 1}  # the tile of a single row
    ks = short | {31, 32, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1}
    yield from product(sorted(ms), sorted(ns), [1, lanes + 1])
    for m, n in [(1, 1), (1, 8 * lanes + 1), (tile_rows + 1, tile_cols + 1), (2 * tile_rows, 3)]:
        yield from ((m, n, k) for k in sorted(ks))


def copies(kernels):
    """(m, n, k, gap): large enough that B, A or both are copied before they are multiplied."""
    size, (tile_rows, tile_cols) = kernels.dtype.itemsize, kernels.tile
    many_rows, many_cols = 2 * tile_rows + 1, 2 * tile_cols + 3
    return [
        (many_rows, many_cols, 65536 // size // many_cols, 0),
        (many_rows, tile_cols + 1, 40000 // size // tile_cols, 7),
        (tile_rows + 3, 2048 // size + tile_cols + 3, BLOCK + 9, 0),  # B in two blocks of columns
        (many_rows, 2 * 2048 // size + 5, 17, 2),
        (tile_rows + 1, many_cols, 61, 4096 // size - 61),  # rows of A 4 KB apart
        (1000 // size, many_cols, 2 * BLOCK + 3, 1),  # columns of a transposed A far apart
    ]


def operands(make, kernels, m, n, k):
    dtype = kernels.dtype
    ends = {"c": make((m, n), dtype, 3), "bias": make(n, dtype, 4)}
    return make((m, k), dtype, 1), make((k, n), dtype, 2), ends


@ORIENTATIONS
def test_whole_numbers_are_exact(kernels, orientation):
    layouts = cycle(LAYOUTS)
    chosen = cycle([(), ("c",), ("bias",), ("c", "bias"), ()])
    for m, n, k in shapes(kernels):
        gap, start = next(layouts)
        a, b, ends = operands(integers, kernels, m, n, k)
        ends = {name: ends[name] for name in next(chosen)}
        want = a.astype(np.int64) @ b.astype(np.int64) + sum(x.astype(int) for x in ends.values())
        got = run(kernels, orientation, a, b, gap=gap, start=start, **ends)
        assert np.array_equal(got, want), f"{m}, {n}, {k} {(gap, start)} {list(ends)}"


@ORIENTATIONS
def test_whole_numbers_are_exact_where_operands_are_copied(kernels, orientation):
    for (m, n, k, gap), start in product(copies(kernels), (0, 1)):
        a, b, ends = operands(integers, kernels, m, n, k)
        want = a.astype(np.int64) @ b.astype(np.int64)
        assert np.array_equal(run(kernels, orientation, a, b, gap=gap, start=start), want)
        want = want + ends["c"].astype(int) + ends["bias"].astype(int)
        got = run(kernels, orientation, a, b, gap=gap, start=start, **ends)
        assert np.array_equal(got, want), f"{m}, {n}, {k} {(gap, start)}"


@ORIENTATIONS
def test_error_is_within_the_model(kernels, orientation):
    """A term takes part in at most min(k, BLOCK) roundings of its block (a product that is rounded
    on its own saves one: the first sum is exact), one for each later block, for c, and the bias."""
    to, (tile_rows, tile_cols) = wide(kernels.dtype), kernels.tile
    for k in (1, 2, 7, 31, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1):
        a, b, ends = operands(noise, kernels, tile_rows + 2, tile_cols + 3, k)
        for names in ((), ("c",), ("bias",), ("c", "bias")):
            given = {name: ends[name] for name in names}
            want, size = a.astype(to) @ b.astype(to), abs(a).astype(to) @ abs(b).astype(to)
            for x in given.values():
                want, size = want + x, size + abs(x)
            blocks = -(-k // BLOCK)
            roundings = min(k, BLOCK) + blocks - 1 + len(given)
            got = run(kernels, orientation, a, b, gap=2, **given)
            assert_close(got, want, gamma(roundings, kernels.dtype) * size)


@ORIENTATIONS
def test_bits_of_the_canonical_order(kernels, fused, orientation):
    lanes, (tile_rows, tile_cols) = kernels.lanes, kernels.tile
    cases = [(3, lanes + 1, k) for k in (1, 2, 5, 33, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3)]
    cases += [(1, 8 * lanes + 2, 300), (2 * tile_rows + 3, 2 * tile_cols + 3, 70)]
    for m, n, k in cases:
        a, b, ends = operands(noise, kernels, m, n, k)
        assert_same_bits(run(kernels, orientation, a, b), canonical_product(a, b, fused=fused))
        want = canonical_product(a, b, **ends, fused=fused)
        assert_same_bits(run(kernels, orientation, a, b, gap=1, start=1, **ends), want)
        assert not fused or k < 3 or (want != canonical_product(a, b, **ends, fused=False)).any()


@ORIENTATIONS
def test_bits_do_not_depend_on_copies_and_placement(kernels, orientation):
    for m, n, k, gap in copies(kernels):
        a, b, ends = operands(noise, kernels, m, n, k)
        whole = run(kernels, orientation, a, b, gap=gap, **ends)
        for layout in ((0, 0), (5, 3), (64, 1)):
            again = run(kernels, orientation, a, b, gap=layout[0], start=layout[1], **ends)
            assert_same_bits(again, whole)
        for i, j in [(0, 0), (m // 2, n // 2), (m - 1, n - 1)]:
            ends_of_row = {"c": ends["c"][i : i + 1], "bias": ends["bias"]}
            row = run(kernels, orientation, a[i : i + 1], b, gap=gap, **ends_of_row)
            assert_same_bits(row, whole[i : i + 1])
            ends_of_column = {"c": ends["c"][:, j : j + 1], "bias": ends["bias"][j : j + 1]}
            column = run(kernels, orientation, a, b[:, j : j + 1], gap=gap, **ends_of_column)
            assert_same_bits(column, whole[:, j : j + 1])


@ORIENTATIONS
def test_no_terms(kernels, orientation):
    """For k = 0 the sums are +0, whatever was in c; then the ends follow as always."""
    for m, n in [(1, 1), (kernels.tile[0] + 1, kernels.tile[1] + 1)]:
        a, b, ends = operands(noise, kernels, m, n, 0)
        zero = np.zeros((m, n), kernels.dtype)
        assert_same_bits(run(kernels, orientation, a, b), zero)
        assert_same_bits(run(kernels, orientation, a, b, bias=ends["bias"]), zero + ends["bias"])
        assert_same_bits(run(kernels, orientation, a, b, c=ends["c"]), ends["c"])


def test_not_a_number_goes_where_it_belongs(kernels):
    m, n, k = kernels.tile[0] + 2, kernels.tile[1] + 3, 40
    a, b, _ = operands(noise, kernels, m, n, k)
    for bad in (np.nan, np.inf):
        a_bad, b_bad = a.copy(), b.copy()
        a_bad[2, 7] = b_bad[9, 5] = bad
        finite = np.isfinite(run(kernels, PLAIN, a_bad, b_bad))
        assert not finite[2].any()
        assert not finite[:, 5].any()
        finite[2] = finite[:, 5] = True
        assert finite.all()


# --- The ends: an activation, or the slope of one -------------------------------------------------


def end_shapes(kernels):
    tile_rows, tile_cols = kernels.tile
    sizes = [(1, 1), (1, tile_cols + 3), (tile_rows + 2, 3), (2 * tile_rows + 1, tile_cols + 1)]
    yield from ((m, n, k) for m, n in sizes for k in (0, 5, BLOCK + 2))
    yield tile_rows + 1, 2048 // kernels.dtype.itemsize + 9, BLOCK + 3  # two blocks of columns


@pytest.mark.parametrize("gap", [0, 2, 40])
@pytest.mark.parametrize("name", TRUTH)
def test_activation_end(kernels, fused, name, gap):
    layouts = cycle([(0, 0), (gap, 1), (gap + 3, 0)])  # of y; like and unlike that of c
    for m, n, k in end_shapes(kernels):
        a, b, ends = operands(noise, kernels, m, n, k)
        a, bias = a / max(k, 1) ** 0.5, ends["bias"]
        if name in ("hard_shrink", "softshrink", "threshold"):
            a, bias = 4 * a, 8 * np.abs(bias)  # or nearly all is 0
        plain = run(kernels, PLAIN, a, b, gap=gap, bias=bias)
        in_place = run(kernels, PLAIN, a, b, gap=gap, bias=bias, activation=name)
        if plain.size > 2:
            assert_ulps(in_place, truth(name, plain), 2 + (not fused))

        y, intact = guarded((m, n), kernels.dtype, *next(layouts))
        z = run(kernels, PLAIN, a, b, gap=gap, bias=bias, activation=name, y=y)
        intact()
        assert_same_bits(z, plain)
        assert_same_bits(y, in_place)


@pytest.mark.parametrize("gap", [0, 2, 40])
@pytest.mark.parametrize("name", TRUTH)
def test_slope_end(kernels, name, gap):
    layouts = cycle([(0, 0), (gap, 1), (gap + 3, 0)])  # of what is kept
    for m, n, k in end_shapes(kernels):
        a, b, _ = operands(noise, kernels, m, n, k)
        kept = truth(name, noise((m, n), kernels.dtype, 5)).astype(kernels.dtype)
        plain = run(kernels, TRANSPOSE_B, a, b, gap=gap)
        want = np.empty(plain.size, kernels.dtype)
        kernels.slope(name, kept.ravel(), plain.ravel(), want)
        there = placed(kept, *next(layouts))
        got = run(kernels, TRANSPOSE_B, a, b, gap=gap, activation=name, kept=there)
        assert_same_bits(got, want.reshape(m, n))
        assert_same_bits(np.ascontiguousarray(there), kept)


def test_ends_come_after_the_sum(kernels):
    """c is added, then the bias, then the activation is applied, once."""
    a, b, ends = operands(integers, kernels, 5, 9, 2 * BLOCK + 3)
    b[BLOCK:] = 0  # the sum is complete after the first of three blocks, but not finished
    want = a.astype(int) @ b.astype(int) + ends["c"].astype(int) + ends["bias"].astype(int)
    assert (want < 0).any()
    got = run(kernels, PLAIN, a, b, **ends, activation="relu")
    assert np.array_equal(got, np.maximum(want, 0))


def test_shapes_that_do_not_fit(kernels):
    a, b = (np.zeros(shape, kernels.dtype) for shape in ((2, 3), (3, 4)))
    for shape in ((2, 3), (3, 4), (1, 4)):
        with pytest.raises(ValueError, match="fit"):
            kernels.gemm(a, b, np.zeros(shape, kernels.dtype))
    with pytest.raises(ValueError, match="dtype"):
        kernels.gemm(a, b, np.zeros((2, 4), np.float16))
