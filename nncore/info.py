"""What was compiled, what can run here, what was chosen."""

import platform
from typing import Any

import numpy as np

from . import _core


def get_config() -> dict[str, Any]:
    """Return the facts that `show_config` prints, as a dict of strings and tuples.

    Examples
    --------
    >>> import nncore
    >>> nncore.get_config()["isa"] in nncore.get_config()["runnable"]
    True
    """
    from . import __version__

    build = _core.build_info()
    return {
        "nncore": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "isa": _core.ISA,
        "runnable": _core.isas(),
        "compiled": build["compiled"],
        "compiler": build["compiler"],
        "flags": build["flags"],
    }


def show_config() -> None:
    """Print versions, compiler and flags, and the instruction sets: compiled, runnable, chosen.

    The environment variable ``NNCORE_ISA`` (``baseline``, ``avx2``, ``avx512`` or ``neon``), read
    at import, forces one.

    Examples
    --------
    >>> import nncore
    >>> nncore.show_config()  # doctest: +ELLIPSIS
    nncore: ...
    python: ...
    """
    for key, value in get_config().items():
        print(f"{key + ':':10} {', '.join(value) if isinstance(value, tuple) else value}")
