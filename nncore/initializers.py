"""Starting values of weights, by name.

All draw from U(-a, a) or N(0, s^2) with a variance of ``scale / fan``: a uniform one has
``a = sqrt(3 * variance)``.

==================  =====  ===================  ==========================================
name                scale  fan                  source
==================  =====  ===================  ==========================================
glorot_uniform/...  2      n_in + n_out         Glorot and Bengio 2010
he_uniform/...      2      n_in                 He, Zhang, Ren and Sun 2015
lecun_uniform/...   1      n_in                 LeCun, Bottou, Orr and Mueller 1998
zeros               0                           every unit the same: for tests and last layers
==================  =====  ===================  ==========================================
"""

from __future__ import annotations

import numpy as np


def _scaled(scale, fan, normal):
    def draw(rng, n_in, n_out):
        variance = scale / fan(n_in, n_out)
        if normal:
            return rng.normal(0.0, np.sqrt(variance), (n_in, n_out))
        limit = np.sqrt(3.0 * variance)
        return rng.uniform(-limit, limit, (n_in, n_out))

    return draw


_FAMILIES = {
    "glorot": (2.0, lambda n_in, n_out: n_in + n_out),
    "he": (2.0, lambda n_in, n_out: n_in),
    "lecun": (1.0, lambda n_in, n_out: n_in),
}

INITIALIZERS = {
    f"{family}_{shape}": _scaled(scale, fan, shape == "normal")
    for family, (scale, fan) in _FAMILIES.items()
    for shape in ("uniform", "normal")
}
INITIALIZERS["zeros"] = lambda rng, n_in, n_out: np.zeros((n_in, n_out))
