"""All checks, in the order of the table."""

from __future__ import annotations

from collections.abc import Iterable

# Importing a family registers its checks, so the order of these lines is that of the table.
from laminar.check import contract  # noqa: F401  # isort: skip
from laminar.check import learnables_registered  # noqa: F401  # isort: skip
from laminar.check import learnables_used  # noqa: F401  # isort: skip
from laminar.check import learnables_stable  # noqa: F401  # isort: skip
from laminar.check import modes  # noqa: F401  # isort: skip
from laminar.check import batch_sizes  # noqa: F401  # isort: skip
from laminar.check import other_sizes  # noqa: F401  # isort: skip
from laminar.check import meta_shape  # noqa: F401  # isort: skip
from laminar.check import gradient  # noqa: F401  # isort: skip
from laminar.check import numerics  # noqa: F401  # isort: skip
from laminar.check import extremes  # noqa: F401  # isort: skip
from laminar.check import stress  # noqa: F401  # isort: skip
from laminar.check import randomness  # noqa: F401  # isort: skip
from laminar.check import observations  # noqa: F401  # isort: skip
from laminar.check import input_unchanged  # noqa: F401  # isort: skip
from laminar.check import hidden_state  # noqa: F401  # isort: skip
from laminar.check import mode_difference  # noqa: F401  # isort: skip
from laminar.check import statistics  # noqa: F401  # isort: skip
from laminar.check import placement  # noqa: F401  # isort: skip
from laminar.check import copies  # noqa: F401  # isort: skip
from laminar.check import transforms  # noqa: F401  # isort: skip
from laminar.check import cost  # noqa: F401  # isort: skip
from laminar.check.base import REGISTERED, Check
from laminar.names import unknown_name

__all__ = ["GROUPS", "chosen"]

GROUPS = ("contract", "gradient", "numerics", "behaviour", "placement", "cost")
"""The groups, in the order of the table."""

_SORTED = {check.name: check for check in sorted(REGISTERED.values(), key=lambda check: GROUPS.index(check.group))}
REGISTERED.clear()  # a family that another one imports was registered before its turn
REGISTERED.update(_SORTED)


def chosen(only: Iterable[str] | None, skip: Iterable[str]) -> list[Check]:
    """Return the checks to run.

    Args:
        only: names of checks or groups; every one where None.
        skip: names of checks or groups to leave out.

    Raises:
        UnknownNameError: if a name is neither a check's nor a group's.

    >>> [check.name for check in chosen(["contract"], ["other-sizes"])][:2]
    ['builds', 'described']
    """
    wanted = set(REGISTERED) if only is None else _names(only)
    left_out = _names(skip)
    return [check for name, check in REGISTERED.items() if name in wanted and name not in left_out]


def _names(given: Iterable[str]) -> set[str]:
    groups: dict[str, list[str]] = {}
    for check in REGISTERED.values():
        groups.setdefault(check.group, []).append(check.name)
    found: set[str] = set()
    for name in [given] if isinstance(given, str) else given:
        if name not in REGISTERED and name not in groups:
            raise unknown_name("check", name, [*REGISTERED, *groups])
        found.update(groups.get(name, [name]))
    return found
