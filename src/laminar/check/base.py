"""`Check`: one question put to a layer. A new one is a class with `@register` before it, in a file that `registry` lists."""

from __future__ import annotations

import abc
from typing import ClassVar, TypeVar

from laminar.check.outcome import Finding
from laminar.check.subject import Subject

__all__ = ["REGISTERED", "Check", "register"]


class Check(abc.ABC):
    """One question put to a layer.

    Attributes:
        name: in the table, and in the arguments `checks` and `skip`.
        group: contract, gradient, numerics, behaviour, placement or cost.
        expects: what is true of a right layer, in words that follow "expected"; it is said when the layer raises.
        needs: names of checks that must not have failed for this one to mean anything; they are run first.
    """

    name: ClassVar[str]
    group: ClassVar[str]
    expects: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def run(self, subject: Subject) -> Finding:
        """Return the answer for the layer `subject`.

        An exception that the layer raises and that is not caught here counts as a failure.
        """


REGISTERED: dict[str, Check] = {}
"""Every check by name, in the order of the table."""

C = TypeVar("C", bound=type[Check])


def register(cls: C) -> C:
    """Add a check to the table."""
    known = type(REGISTERED.get(cls.name, cls()))
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):  # the same one again is a reload
        raise ValueError(f"two checks are named {cls.name!r}")
    REGISTERED[cls.name] = cls()
    return cls
