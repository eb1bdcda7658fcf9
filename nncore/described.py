"""Small objects that are what their arguments say: optimizers and schedules."""

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, dataclass_transform

import numpy as np


class _Signature:
    """The arguments as `inspect.signature` and `help` show them, made when they are asked for."""

    def __get__(self, instance: object, kind: "type[Described]") -> inspect.Signature:
        by_name = inspect.Parameter.KEYWORD_ONLY
        return inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    by_name if name in kind._by_name else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=inspect.Parameter.empty if default is ... else default,
                )
                for name, default in kind._ordered()
            ]
        )


class _Argument(NamedTuple):
    default: Any
    kw_only: bool


def argument(*, default: Any = ..., kw_only: bool = False) -> Any:
    """The value of an attribute whose argument has no default, or is given by name only."""
    return _Argument(default, kw_only)


@dataclass_transform(field_specifiers=(argument,))  # so type checkers know the arguments
class Described:
    """Base of classes whose annotated attributes are their arguments.

    An attribute ``name: type = default`` of a class is an argument; ``...`` or `argument()` as the
    default means that it must be given. Those of a subclass come after its parent's. Each is
    checked when it is set, by `check`; other attributes must be declared in the subclass that has
    them, or begin with an underscore. An ``argument(default=..., kw_only=True)``, and what a class
    with ``kw_only=True`` adds, is given by name only; `repr` and `config` leave it out where it is
    the default.
    """

    _arguments: ClassVar[dict[str, Any]] = {}
    _by_name: ClassVar[frozenset[str]] = frozenset()  # arguments that are given by name only
    _quiet: ClassVar[frozenset[str]] = frozenset()  # left out where they are the default
    _styles: ClassVar[dict[str, dict[str, Any]]] = {}  # style -> other defaults
    __signature__ = _Signature()

    def __init_subclass__(cls, kw_only: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = {n: a for n, a in inspect.get_annotations(cls).items() if "ClassVar" not in str(a)}
        own |= cls._arguments  # of which a new default alone is enough
        named = {n: vars(cls)[n] for n in own if n in vars(cls) and not n.startswith("_")}
        for name, value in named.items():
            default, by_name = value if isinstance(value, _Argument) else (value, kw_only)
            named[name] = default
            if by_name:
                cls._by_name, cls._quiet = cls._by_name | {name}, cls._quiet | {name}
            if default is ...:
                delattr(cls, name)
            else:
                setattr(cls, name, default)
        cls._arguments = cls._arguments | named

    @classmethod
    def _ordered(cls) -> list[tuple[str, Any]]:
        """The arguments with their defaults, those given by name last."""
        items = cls._arguments.items()
        return sorted(items, key=lambda item: item[0] in cls._by_name)

    def __init__(self, *values: Any, **named: Any) -> None:
        kind = type(self)
        order = [name for name, _ in self._ordered()]
        places = [name for name in order if name not in self._by_name]
        if len(values) > len(places):
            few = f"at most {len(places)} arguments without a name ({', '.join(places)})"
            raise TypeError(
                f"{kind.__name__} takes {few if places else 'its arguments by name'}, got "
                f"{len(values)}{'' if places else ' without: ' + ', '.join(order)}"
            )
        given = dict(zip(places, values, strict=False))
        for name, value in named.items():
            if name in given:
                raise TypeError(f"{kind.__name__} got two values for {name}")
            if name not in self._arguments:
                raise TypeError(
                    f"{kind.__name__} has no argument {name!r}. Known: {', '.join(order)}"
                )
            given[name] = value
        style = given.get("style")
        defaults = self._styles.get(style, {}) if isinstance(style, str) else {}
        for name, default in self._arguments.items():
            value = given.get(name, defaults.get(name, default))
            if value is ...:
                raise TypeError(f"{kind.__name__} needs {name}")
            object.__setattr__(self, name, value)
        self.check()

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse names that nothing reads, and changes that `check` refuses."""
        known = self._arguments
        if name not in known and not name.startswith("_") and not _declares(type(self), name):
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name!r} to set. Known: "
                f"{', '.join(n for n, _ in self._ordered())}. A subclass must declare its own."
            )
        before = dict(vars(self))
        super().__setattr__(name, value)
        if name in known:
            try:
                self.check()
            except BaseException:
                vars(self).clear()
                vars(self).update(before)
                raise

    def check(self) -> None:
        """Raise ValueError if an attribute has no meaning; here all have one."""

    def _shown(self, kind: "type[Described]") -> dict[str, Any]:
        """The arguments of `kind` that say what this is."""
        values = {name: getattr(self, name) for name, _ in kind._ordered()}
        return {
            name: value
            for name, value in values.items()
            if name not in kind._quiet or value != kind._arguments[name]
        }

    def __repr__(self) -> str:
        shown = self._shown(type(self)).items()
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown)})"

    def __eq__(self, other: object) -> bool:  # and so no hash: attributes can change
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._arguments)

    # ---- for `check` ----

    def _to_floats(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if type(value) is not float:
                vars(self)[name] = self._as_float(name, value)

    def _as_float(self, name: str, value: Any, wanted: str = "a number") -> float:
        try:
            if isinstance(value, (bool, str, bytes)):
                raise TypeError
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"{name} of {type(self).__name__} must be {wanted}, got {value!r}"
            ) from None

    def _check_positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise self._refusal(name, "positive and finite")

    def _check_not_negative(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise self._refusal(name, "at least 0 and finite")

    def _check_fractions(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise self._refusal(name, "at least 0 and below 1")

    def _check_bools(self, *names: str) -> None:
        for name in names:
            if not isinstance(getattr(self, name), bool):
                raise self._refusal(name, "True or False")

    def _check_counts(self, *names: str, least: int = 1) -> None:
        for name in names:
            value = getattr(self, name)
            try:
                vars(self)[name] = value.__index__()
            except AttributeError:
                raise self._refusal(name, f"an integer of at least {least}") from None
            if isinstance(value, bool) or not least <= vars(self)[name] < 1 << 62:
                raise self._refusal(name, f"an integer of at least {least}")

    def _check_choice(self, name: str, known: Iterable[str | None]) -> None:
        if getattr(self, name) not in known:
            options = ", ".join(f'"{k}"' for k in known if k is not None)
            none = " or None" if None in known else ""
            raise self._refusal(name, f"one of {options}{none}")

    def _refusal(self, name: str, wanted: str) -> ValueError:
        value = getattr(self, name)
        return ValueError(f"{name} of {type(self).__name__} must be {wanted}, got {value!r}")


def _declares(kind: type, name: str) -> bool:
    """Whether a class beyond those of this package has an attribute or annotation of this name."""
    own = (__name__.partition(".")[0], "builtins")
    others = (k for k in kind.__mro__ if k.__module__.partition(".")[0] not in own)
    return any(name in vars(k) or name in inspect.get_annotations(k) for k in others)


# ---- states that are read from files ----


def checked(state: Mapping[str, Any], **kinds: type) -> list[Any]:
    """Return entries of a state in this order, each of its type; integers are counts."""
    found: list[Any] = []
    for name, kind in kinds.items():
        value = state.get(name)
        if type(value) is not kind or (kind is int and not 0 <= state[name] < 1 << 62):
            wanted = "count" if kind is int else kind.__name__
            raise ValueError(f"{name} of a state is {value!r:.60}, expected a {wanted}")
        found.append(value)
    return found


def checked_array(state: Mapping[str, Any], name: str, like: np.ndarray) -> Any:
    """Return an array of a state that must have the dtype and shape of another."""
    array: Any = state.get(name)
    if getattr(array, "shape", None) != like.shape or array.dtype != like.dtype:
        raise ValueError(f"{name} of a state is not {like.dtype} of shape {like.shape}")
    return array
