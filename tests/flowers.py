"""Small tables for the tests of the command line."""

import numpy as np


def flowers(n=90, seed=0):
    """CSV of three kinds that a straight line nearly tells apart: two numbers, a word, the kind."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    size = 10 * kind + rng.normal(size=n)
    width = 3000 - 900 * (kind == 1) + 100 * rng.normal(size=n)
    color = np.array(["red", "blue", "deep blue"])[(kind + (rng.random(n) < 0.2)) % 3]
    name = np.array(["rose", "iris", "lily"])[kind]
    rows = [f"{s:.3f},{w:.1f},{c},{k}" for s, w, c, k in zip(size, width, color, name, strict=True)]
    return "\n".join(["size,width,color,kind", *rows]) + "\n"


def houses(n=80, seed=0):
    """CSV of prices, in units far from 1, that follow from a size, a town and a year."""
    rng = np.random.default_rng(seed)
    size, town = rng.uniform(40, 200, n), rng.integers(0, 3, n)
    year = rng.integers(1900, 2024, n)
    price = 2500 * size * (1 + 0.2 * town) + 300 * (year - 1900)
    names = np.array(["Ulm", "Köln", "Bonn"])[town]
    rows = [f"{s:.1f};{t};{y};{p:.0f}" for s, t, y, p in zip(size, names, year, price, strict=True)]
    return "\n".join(["size;town;year;price", *rows]) + "\n"
