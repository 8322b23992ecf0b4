"""All checks, in the order of the table."""

from __future__ import annotations

from collections.abc import Iterable

# Importing a family registers its checks, so the order of these lines is that of the table.
from laminar.check import contract  # isort: skip
from laminar.check import learnables_registered  # noqa: F401  # isort: skip
from laminar.check import learnables_used  # noqa: F401  # isort: skip
from laminar.check import learnables_stable  # noqa: F401  # isort: skip
from laminar.check import modes  # noqa: F401  # isort: skip
from laminar.check import batch_sizes  # noqa: F401  # isort: skip
from laminar.check import other_sizes  # noqa: F401  # isort: skip
from laminar.check import meta_shape  # noqa: F401  # isort: skip
from laminar.check import gradient  # isort: skip
from laminar.check import numerics  # isort: skip
from laminar.check import extremes  # noqa: F401  # isort: skip
from laminar.check import stress  # noqa: F401  # isort: skip
from laminar.check import randomness  # isort: skip
from laminar.check import observations  # isort: skip
from laminar.check import input_unchanged  # isort: skip
from laminar.check import hidden_state  # isort: skip
from laminar.check import mode_difference  # isort: skip
from laminar.check import statistics  # isort: skip
from laminar.check import placement  # isort: skip
from laminar.check import copies  # isort: skip
from laminar.check import transforms  # isort: skip
from laminar.check import cost  # isort: skip
from laminar.check.base import REGISTERED, Check
from laminar.names import unknown_name

__all__ = ["FAMILIES", "chosen"]

FAMILIES = (
    contract,
    gradient,
    numerics,
    randomness,
    observations,
    input_unchanged,
    hidden_state,
    mode_difference,
    statistics,
    placement,
    copies,
    transforms,
    cost,
)


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
