"""All checks, in the order of the table."""

from __future__ import annotations

from collections.abc import Iterable

from laminar.check import (
    batch_sizes,
    builds,
    copies,
    cost,
    device_moves,
    dtypes,
    extremes,
    gradient,
    gradient_uses,
    hidden_state,
    input_unchanged,
    large_batch,
    learnables_registered,
    learnables_stable,
    learnables_used,
    memory_layouts,
    meta_shape,
    modes,
    modes_declared,
    nan_in,
    observations,
    offset_inputs,
    other_sizes,
    randomness,
    running_statistics,
    transforms,
)
from laminar.check.base import REGISTERED, Check
from laminar.names import unknown_name

__all__ = ["GROUPS", "chosen"]

# Importing a family registers its checks; the order here is that of the table, whoever imported one of them first.
_FAMILIES = (
    builds,
    learnables_registered,
    learnables_used,
    learnables_stable,
    modes,
    batch_sizes,
    other_sizes,
    meta_shape,
    gradient,
    gradient_uses,
    dtypes,
    extremes,
    offset_inputs,
    nan_in,
    large_batch,
    randomness,
    observations,
    input_unchanged,
    hidden_state,
    modes_declared,
    running_statistics,
    device_moves,
    memory_layouts,
    copies,
    transforms,
    cost,
)
_PLACES = {family.__name__: place for place, family in enumerate(_FAMILIES)}
_SORTED = sorted(REGISTERED.items(), key=lambda item: _PLACES[type(item[1]).__module__])
REGISTERED.clear()
REGISTERED.update(_SORTED)

GROUPS = tuple(dict.fromkeys(check.group for check in REGISTERED.values()))
"""The groups, in the order of the table."""


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
