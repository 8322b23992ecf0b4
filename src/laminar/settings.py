"""What frozen descriptions share: settings that are not there are refused, numbers are checked, and they print what was set."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any, ClassVar

from laminar.errors import ArgumentError, complaint
from laminar.names import unknown_name

__all__ = ["Settings"]


class Settings:
    """The base of a frozen dataclass whose fields are what a user may set.

    Keyword-only fields are options that most people leave alone: they are printed only where they are set.

    Attributes:
        former: other word for a setting -> its name here, for those who come with older listings.

    Raises:
        UnknownNameError: when it is made with a setting that it does not have, naming the closest.

    >>> @dataclasses.dataclass(frozen=True, repr=False)
    ... class Decay(Settings):
    ...     rate: float = 0.1
    ...     per: str = dataclasses.field(default="iteration", kw_only=True)
    >>> Decay(), Decay(0.2, per="epoch")
    (Decay(rate=0.1), Decay(rate=0.2, per='epoch'))
    """

    former: ClassVar[dict[str, str]] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make one, having looked at the names of what is set."""
        known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]  # every subclass is a dataclass
        for name, value in kwargs.items():
            word = cls.former.get(name)
            if word in known and name not in known:
                where, fix = f"{cls.__name__}({name}=)", f"Write {word}={value!r}"
                raise ArgumentError(complaint(where, expected=f"the name {word!r}", received=f"{name!r}", fix=fix))
            if name not in known:
                raise unknown_name(f"{cls.__name__}: argument", name, known)
        return super().__new__(cls)

    def _number(self, name: str, *, above: float | None = None, below: float = math.inf, optional: bool = False) -> None:
        """Refuse the setting `name` if it is not a number above `above` (or at least 0) and below `below`.

        Args:
            name: of the setting.
            above: None for at least 0.
            below: infinity for no bound.
            optional: whether None will do.
        """
        value = getattr(self, name)
        good = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if good and (value > above if above is not None else value >= 0) and value < below:
            return
        if optional and value is None:
            return
        low = "of at least 0" if above is None else f"above {above:g}"
        expected = f"a number {low}" + (f" and below {below:g}" if below < math.inf else "")
        default = getattr(type(self), name, None)
        self._refuse(name, expected + (" or None" if optional else ""), f"Pass {name}={_example(default, above, below)!r}")

    def _refuse(self, name: str, expected: str, fix: str) -> None:
        """Raise the error for the value of the setting `name`."""
        where = f"{type(self).__name__}({name}=)"
        raise ArgumentError(complaint(where, expected=expected, received=repr(getattr(self, name)), fix=f"{fix}, for example"))

    def __repr__(self) -> str:
        """Return what makes an equal one: all but the options that are as they are for everybody."""
        fields = [f for f in dataclasses.fields(self) if f.repr]  # type: ignore[arg-type]  # every subclass is a dataclass
        shown = [f for f in fields if not f.kw_only]
        for f in fields:
            usual = (f.default, _shared_default(type(self), f.name))  # a subclass may have a default of its own
            if f.kw_only and any(getattr(self, f.name) != default for default in usual):
                shown.append(f)
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in shown)})"


def _shared_default(cls: type, name: str) -> Any:
    """Return the default that the class which introduced the setting gave it."""
    tables = [c.__dict__.get("__dataclass_fields__", {}) for c in reversed(cls.__mro__)]
    return next(table[name].default for table in tables if name in table)


def _example(default: Any, above: float | None, below: float) -> Any:
    """Return a value that works: the default where there is one."""
    if isinstance(default, numbers.Real):
        return default
    return 0.5 if below < math.inf else 1.0
