"""The comparers of checks.py refuse what they must: a test that cannot fail tests nothing."""

from fractions import Fraction

import numpy as np
import pytest

from .checks import (
    assert_close,
    assert_near,
    assert_same_bits,
    assert_ulps,
    assert_varies,
    canonical_column_sums,
    canonical_product,
    distance,
    fma,
    gamma,
    guarded,
    integers,
    noise,
    placed,
    ulp,
    unit,
    wide,
)


def close(got, want):  # as a matrix product is compared
    assert_close(got, want, gamma(3, got.dtype) * np.abs(want))


def ulps(got, want):
    assert_ulps(got, want, 2)


def same_bits(got, want):
    assert_same_bits(got, want.astype(got.dtype))


COMPARERS = pytest.mark.parametrize("compare", [close, ulps, same_bits])


@pytest.fixture
def want(dtype):
    return noise((5, 7), dtype).astype(wide(dtype))


@COMPARERS
def test_right_result_passes(compare, want, dtype):
    compare(want.astype(dtype), want)


@COMPARERS
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1,), (1, 1)])
def test_small_results_pass(compare, shape, dtype):
    want = noise(shape, dtype).astype(wide(dtype))
    compare(want.astype(dtype), want)


@COMPARERS
def test_zeros(compare, want, dtype):
    with pytest.raises(AssertionError):
        compare(np.zeros(want.shape, dtype), want)


@COMPARERS
def test_swapped_pair(compare, want, dtype):
    got = want.astype(dtype)
    got[2, [3, 4]] = got[2, [4, 3]]
    with pytest.raises(AssertionError, match=r"\(2, 3\)"):
        compare(got, want)


@COMPARERS
@pytest.mark.parametrize("at", [(0, 0), (2, 3), (4, 6)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_one_element_a_little_off(compare, want, dtype, at, sign):
    got = want.astype(dtype)
    for _ in range(4):
        got[at] = np.nextafter(got[at], got.dtype.type(sign * np.inf))
    with pytest.raises(AssertionError, match=rf"\({at[0]}, {at[1]}\)"):
        compare(got, want)


@pytest.mark.parametrize("compare", [close, ulps])
def test_one_rounding_off_passes(compare, want, dtype):
    got = want.astype(dtype)
    got[1, 1] = np.nextafter(got[1, 1], np.array(np.inf, dtype))
    compare(got, want)
    with pytest.raises(AssertionError):
        same_bits(got, want)


@COMPARERS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(compare, want, dtype, bad):
    got = want.astype(dtype)
    got[3, 2] = bad
    with pytest.raises(AssertionError):
        compare(got, want)


@COMPARERS
def test_wrong_shape(compare, want, dtype):
    got = want.astype(dtype)
    for wrong in (got[:4], got[:, :6], got.T, got.ravel(), got[None], got[:1], got[0, 0]):
        with pytest.raises(AssertionError):
            compare(wrong, want)


@pytest.mark.parametrize("compare", [close, ulps])
def test_constant_expectation(compare, dtype):
    want = np.full((5, 7), 0.75, wide(dtype))
    with pytest.raises(AssertionError, match="equal"):
        compare(want.astype(dtype), want)


def test_bound_that_zeros_would_pass(want, dtype):
    with pytest.raises(AssertionError, match="zeros would pass"):
        assert_close(want.astype(dtype), want, np.abs(want) * 2)


def test_reference_that_is_no_finer_than_the_result():
    want = noise((5, 7), "float32")
    with pytest.raises(AssertionError, match="too coarse"):
        assert_close(want, want, np.abs(want))


@pytest.mark.parametrize("place", ["reference", "bound"])
def test_reference_that_is_not_finite(want, dtype, place):
    bound = np.full_like(want, 1e-30)
    got = want.astype(dtype)
    (want if place == "reference" else bound)[2, 2] = np.nan
    with pytest.raises(AssertionError, match="not finite"):
        assert_close(got, want, bound)


@pytest.mark.parametrize("at", [(0, 0), (2, 3), (4, 6)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_near_counts_roundings_of_the_largest(dtype, at, sign):
    want = noise((5, 7), dtype)
    got, step = want.copy(), np.finfo(dtype).eps * np.abs(want).max()
    assert_near(got, want, 0)
    got[at] += sign * 3 * step
    assert_near(got, want, 4)
    assert_near(got.astype(float), want, 4, dtype)
    with pytest.raises(AssertionError, match=rf"1 of 35 elements, the first at \({at[0]}, {at[1]}"):
        assert_near(got, want, 2)
    for wrong in (np.zeros_like(want), want[:4], want.T, np.where(got == want, want, np.nan)):
        with pytest.raises(AssertionError):
            assert_near(wrong, want, 4)
    with pytest.raises(AssertionError, match="not finite"):
        assert_near(want, np.where(got == want, want, np.inf), 4)


def test_ulps_at_the_ends_of_the_type(dtype):
    info, to = np.finfo(dtype), wide(dtype).type
    largest = to(info.max)
    want = np.array([largest, 4 * largest, np.inf, -np.inf, np.nan, 0, to(info.tiny)], to)
    good = np.array([info.max, np.inf, np.inf, -np.inf, np.nan, -0.0, info.tiny], dtype)
    assert_ulps(good, want, 0)
    for at, bad in [(0, info.max / 2), (1, info.max / 2), (2, 1), (3, np.inf), (4, 0), (5, 1e-30),
                    (5, np.nan), (6, 0), (6, 5 * info.smallest_subnormal + info.tiny)]:  # fmt: skip
        got = good.copy()
        got[at] = bad
        with pytest.raises(AssertionError):
            assert_ulps(got, want, 2)


def test_ulp_is_the_spacing(dtype):
    x = np.abs(np.concatenate([noise(50, dtype), noise(50, dtype) * np.finfo(dtype).tiny]))
    x = np.append(x, [1, 2, 0.5, 0, np.finfo(dtype).max]).astype(dtype)
    np.testing.assert_array_equal(ulp(x, dtype)[:-1], np.spacing(x[:-1]))
    assert ulp(x, dtype)[-1] == x[-1] - np.nextafter(x[-1], x[0])


def test_same_bits_tells_zeros_and_types_apart():
    zero = np.zeros(3, np.float32)
    assert_same_bits(zero, zero.copy())
    with pytest.raises(AssertionError, match="bits differ"):
        assert_same_bits(zero, np.array([0, -0.0, 0], np.float32))
    with pytest.raises(AssertionError, match="dtype"):
        assert_same_bits(zero, zero.astype(np.float64))
    with pytest.raises(AssertionError, match="bits differ"):
        assert_same_bits(np.array([np.nan, 1.0]), np.array([np.nan, np.nan]))
    assert_same_bits(np.array([np.nan, 1.0]), np.array([-np.nan, 1.0]))


def test_distance():
    a = noise(20, np.float64)
    assert distance(a, a) == 0
    assert distance(a, -a) >= 1
    assert distance(a, np.where(np.arange(20) == 7, 0, a)) > 1e-3
    with pytest.raises(AssertionError, match="rounding errors"):
        distance(a * 1e-5, a * 1e-5)
    with pytest.raises(AssertionError, match="equal"):
        distance(np.ones(4), np.ones(4))
    with pytest.raises(AssertionError, match="shapes"):
        distance(a, a[:19])


@pytest.mark.parametrize("constant", [np.ones(50), np.zeros((4, 6)), np.arange(50) % 2])
def test_constant_input(constant):
    with pytest.raises(AssertionError, match="distinct"):
        assert_varies(constant)


@pytest.mark.parametrize("draw", [noise, integers])
def test_inputs_vary_and_repeat(draw, dtype):
    a = draw((6, 9), dtype)
    assert a.dtype == dtype
    assert len(np.unique(a)) > 20
    assert_same_bits(a, draw((6, 9), dtype))
    assert not np.array_equal(a, draw((6, 9), dtype, seed=1))


@pytest.mark.parametrize("shape", [(5,), (1,), (0,), (3, 4), (1, 4), (3, 0), (0, 3)])
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("start", [0, 1])
def test_guards_notice_every_neighbour(shape, dtype, gap, start):
    array, intact = guarded(shape, dtype, gap, start)
    size = array.dtype.itemsize
    assert array.shape == shape
    if array.size:
        assert (array.ctypes.data - start * size) % 64 == 0
    array[...] = 1
    intact()
    if not array.size:
        return
    # As bits: a NaN that passes through a register may come back changed.
    bits = array.view(f"u{size}")
    rows, columns = bits.shape if bits.ndim == 2 else (1, len(bits))
    around = np.lib.stride_tricks.as_strided(
        bits, (rows, columns + gap), ((columns + gap) * size, size)
    )
    for at in np.ndindex(rows, columns + gap):
        saved = around[at]
        around[at] = 1
        if at[1] < columns:
            intact()
        else:
            with pytest.raises(AssertionError, match="written outside"):
                intact()
        around[at] = saved
        intact()
    before = np.lib.stride_tricks.as_strided(around[0], (2,), (-size,))
    before[1] = 0
    with pytest.raises(AssertionError, match="-1 from the start"):
        intact()


def test_guards_of_labels():
    array, intact = guarded((3,), np.int64)
    array[:] = [0, 1, 2]
    intact()
    assert placed(np.arange(3)).tolist() == [0, 1, 2]


def test_placed_inputs_are_poisoned_outside(dtype):
    array = placed(noise((3, 4), dtype), gap=2, start=1)
    around = np.lib.stride_tricks.as_strided(array, (3, 6), array.strides)
    assert np.isfinite(array).all()
    assert np.isnan(around[:, 4:]).all()


# --- The arithmetic that bits are compared with ---------------------------------------------------


def rounded(value, dtype):
    """A fraction, rounded once, to nearest and ties to even, by integer division."""
    if value == 0:
        return dtype(0)
    bits, sign, value = np.finfo(dtype).nmant + 1, 1 if value > 0 else -1, abs(value)
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - bits
    if value / Fraction(2) ** exponent >= 2**bits:
        exponent += 1
    whole = round(value / Fraction(2) ** exponent)  # ties to even
    return dtype(np.ldexp(dtype(sign * whole), exponent))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fma_is_rounded_once(dtype):
    eps = np.finfo(dtype).eps
    a, b, c = (noise(3000, dtype, seed) for seed in range(3))
    # Close to cancellation and to ties, where a second rounding shows.
    c[::5] = -(a * b)[::5]
    c[1::5] = -(a * b)[1::5] * (1 + 2 * eps)
    a[2::5], b[2::5], c[2::5] = 1 + eps, 1 - eps / 2, eps * np.round(100 * c[2::5]) / 2
    c[3::5] *= 2 / eps
    c[4::5] *= eps
    want = [
        rounded(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)), dtype)
        for x, y, z in zip(a, b, c, strict=True)
    ]
    got = fma(a, b, c)
    assert np.count_nonzero(got != a * b + c) > 300, "the cases must tell fused from not"
    assert_same_bits(got, np.array(want, dtype))


def test_rounding_by_division():
    for dtype in (np.float32, np.float64):
        eps = Fraction(float(np.finfo(dtype).eps))
        for value, want in [(1, 1), (1 + eps / 2, 1), (1 + 3 * eps / 2, 1 + 2 * eps),
                            (1 + eps / 2 + eps**3, 1 + eps), (Fraction(1, 3), None)]:  # fmt: skip
            want = dtype(1) / dtype(3) if want is None else float(want)
            assert rounded(Fraction(value), dtype) == want
            assert rounded(-Fraction(value), dtype) == -want


@pytest.mark.parametrize("fused", [True, False])
def test_canonical_product_by_hand(dtype, fused):
    a, b = noise((2, 300), dtype), noise((300, 3), dtype)
    want = a.astype(wide(dtype)) @ b.astype(wide(dtype))
    bound = gamma(258, dtype) * (np.abs(a).astype(wide(dtype)) @ np.abs(b).astype(wide(dtype)))
    assert_close(canonical_product(a, b, fused=fused), want, bound)


@pytest.mark.parametrize("fused", [True, False])
def test_canonical_order_by_hand(dtype, fused):
    big = np.array(2 / np.finfo(dtype).eps, dtype)  # big + 1 is big, big + 2 is not
    ones = np.ones((300, 1), dtype)

    def total(terms, c=None, bias=None):
        a = np.zeros((1, 300), dtype)
        a[0, list(terms)] = list(terms.values())
        c, bias = (None if x is None else np.array([[x]], dtype) for x in (c, bias))
        return canonical_product(a, ones, c, bias, fused)[0, 0]

    assert total({0: big, 1: -big, 2: 1}) == 1
    assert total({0: 1, 1: big, 2: -big}) == 0, "not in increasing k"
    assert total({0: big, 254: 1, 255: 1}) == big, "shorter blocks"
    assert total({0: big, 256: 1, 257: 1}) == big + 2, "longer blocks"
    assert total({0: 1, 1: 1}, c=big) == big + 2, "c at the start of the chain"
    assert total({0: big, 256: -big}, c=1) == 0, "c after the blocks"
    assert total({0: big, 256: -big}, bias=1) == 1, "bias before the last block"


def test_canonical_column_sums_by_hand(dtype):
    big = np.array(2 / np.finfo(dtype).eps, dtype)
    x = np.array([[big, 1], [1, 2], [-big, 3]], dtype)
    assert canonical_column_sums(x).tolist() == [0, 6]
    assert canonical_column_sums(x, np.array([1, 0.5], dtype)).tolist() == [1, 6.5]


def test_error_model_counts_roundings(dtype):
    assert float(gamma(1, dtype)) == pytest.approx(float(unit(dtype)), rel=1e-6)
    assert float(gamma(100, dtype)) == pytest.approx(100 * float(unit(dtype)), rel=1e-4)
    assert np.finfo(dtype).eps / 2 <= unit(dtype) <= np.finfo(dtype).eps
