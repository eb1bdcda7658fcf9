"""What an object of another package is, without importing that package."""

from __future__ import annotations


def ancestor(value: object, package: str, wanted: str, *overridden: str) -> str:
    """Return the name of the class of `package` that `value` is of, or raise TypeError.

    overridden: methods that a class derived from it may not have of its own, since it would
    compute something else.
    """
    kind = type(value)
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] == package:
            for method in overridden:
                if getattr(kind, method) is not getattr(base, method):
                    raise TypeError(
                        f"{kind.__name__} has a {method} of its own, which cannot be read; "
                        f"{wanted}. (nncore.from_onnx reads what it exports to ONNX.)"
                    )
            return base.__name__
    raise TypeError(f"{wanted}, got {kind.__module__}.{kind.__qualname__}")
