"""The order of an epoch's rows."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from nncore import _core

MASK = 2**64 - 1


def split_mix(key):
    """SplitMix64 in whole numbers, as Steele, Lea and Flood (2014) print it."""
    while True:
        key = key + 0x9E3779B97F4A7C15 & MASK
        z = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        yield z ^ z >> 31


@pytest.mark.parametrize("key", [0, 1, 2**63 + 12345, MASK])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, 1000])
def test_it_is_the_shuffle_of_fisher_and_yates(n, key):
    order = []
    for i, z in zip(range(n), split_mix(key), strict=False):
        j = z * (i + 1) >> 64
        order.append(i)
        order[i], order[j] = order[j], order[i]
    found = _core.shuffled(n, key)
    assert found.dtype == np.int64
    assert found.tolist() == order
    assert sorted(order) == list(range(n))


def test_all_orders_are_as_frequent():
    keys = np.random.default_rng(0).integers(0, MASK, 24_000, np.uint64, endpoint=True)
    seen = Counter(tuple(_core.shuffled(4, int(key)).tolist()) for key in keys)
    counts = [seen[order] for order in permutations(range(4))]
    chi_squared = sum((count - 1000) ** 2 / 1000 for count in counts)
    assert chi_squared < 49.7  # 23 degrees of freedom: one in a thousand is above


def test_rows_come_everywhere_and_neighbours_do_not_stay():
    n, times = 200, 2000
    orders = np.array([_core.shuffled(n, key) for key in range(times)])
    sums = orders.sum(axis=0)  # of what stands at each place
    deviation = np.sqrt(times * (n * n - 1) / 12)
    assert np.abs(sums - times * (n - 1) / 2).max() < 4.5 * deviation
    together = (np.diff(orders, axis=1) == 1).sum()
    assert abs(together - times * (n - 1) / n) < 5 * np.sqrt(times)


@pytest.mark.parametrize("key", [-1, 2**64])
def test_a_key_has_64_bits(key):
    with pytest.raises(OverflowError):
        _core.shuffled(3, key)
