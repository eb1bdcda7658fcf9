"""The engine's canonical arithmetic in NumPy, operation by operation: slow, and equal in every bit.

A fused multiply-add rounds once, which NumPy cannot do: here it is put together from exact parts.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import DTypeLike

from ... import _core

BLOCK = _core.BLOCK  # sums are chains over so many terms, which are added in order
ALIGN = 64  # bytes of the partial sums of a row
CHUNK = 1 << 16  # elements worked on at a time: what is in between stays in cache


class Arithmetic:
    """Of one dtype; fused: multiply-adds round once, as on all instruction sets but baseline.

    Arrays are of that dtype. Nothing warns: who calls looks at what is not finite.
    """

    def __init__(self, dtype: "DTypeLike", fused: bool = True) -> None:
        self.dtype = np.dtype(dtype)
        self.lanes = ALIGN // self.dtype.itemsize
        self.fma = (_fma32 if self.dtype == np.float32 else _fma64) if fused else _two_roundings

    def product(self, a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        """a b + bias: each element a chain over k in blocks, then + bias."""
        c = np.zeros((a.shape[0], b.shape[1]), self.dtype)
        step = max(1, CHUNK // max(1, b.shape[1]))
        for i in range(0, len(a), step):
            rows = slice(i, i + step)
            for k in range(0, a.shape[1], BLOCK):
                part = np.zeros_like(c[rows])
                for p in range(k, min(k + BLOCK, a.shape[1])):
                    part = self.fma(a[rows, p, None], b[p], part)
                c[rows] = c[rows] + part if k else part
        return c if bias is None else c + bias

    def column_sums(self, x: np.ndarray) -> np.ndarray:
        """The sum of each column, a chain over at most BLOCK rows."""
        total = np.zeros(x.shape[1], self.dtype)
        for row in x:
            total = total + row
        return total

    def column_products(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The sum of a b over each column, fused."""
        total = np.zeros(b.shape[1], self.dtype)
        for i in range(len(b)):
            total = self.fma(a[i], b[i], total)
        return total

    def row_sums(self, x: np.ndarray) -> np.ndarray:
        """The sum of each row, (n_rows, 1): interleaved partial sums that are folded in halves."""
        n = self.lanes
        part = np.zeros((len(x), n), self.dtype)
        for j in range(0, x.shape[1], n):
            some = x[:, j : j + n]
            part[:, : some.shape[1]] += some
        while n > 1:
            n //= 2
            part = part[:, :n] + part[:, n:]
        return part


def _two_roundings(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    result: np.ndarray = a * b + c
    return result


def _sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a + b and what is lost by its rounding (Knuth 1969)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _odd_sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b rounded to odd: of the two neighbours of the exact sum, that with an odd last bit.

    Rounding that again, to fewer digits, is then like rounding the exact sum.
    """
    s, lost = _sum(a, b)
    bits = s.view(np.int64)
    step = np.where((lost > 0) == (s > 0), 1, -1)
    return np.where((lost != 0) & (bits & 1 == 0), bits + step, bits).view(np.float64)


def _split(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the digits, a = high + low (Dekker 1971)."""
    t = 134217729.0 * a
    high = t - (t - a)
    return high, a - high


def _fma32(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """In float64 the product is exact."""
    s = _odd_sum(np.multiply(a, b, dtype=np.float64), c.astype(np.float64))
    return s.astype(np.float32)


def _fma64(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums".

    Their proof leaves out what over- or underflows: those elements are rational numbers.
    """
    p = a * b
    (a1, a2), (b1, b2) = _split(a), _split(b)
    low = a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)
    t, t_low = _sum(c, low)
    v, v_low = _sum(p, t)
    result: np.ndarray = v + _odd_sum(t_low, v_low)
    a_size, b_size, size = np.abs(a), np.abs(b), np.abs(p)
    small = np.minimum(np.minimum(a_size, b_size), size)
    large = np.maximum(np.maximum(a_size, b_size), np.maximum(np.abs(c), size))
    safe = (small > 1e-270) & (large < 1e290)
    if not safe.all():
        a, b, c, p = np.broadcast_arrays(a, b, c, p)
        zero = (a == 0) | (b == 0)
        result = np.where(safe, result, p + c)  # where nothing is finite, or nothing is added
        for at in zip(*np.nonzero(~safe & ~zero & np.isfinite(a + b + c)), strict=True):
            result[at] = _exact(*(float(x[at]) for x in (a, b, c)))
    return result


def _exact(a: float, b: float, c: float) -> float:
    try:
        return float(Fraction(a) * Fraction(b) + Fraction(c))
    except OverflowError:
        return a * b + c
