"""Several verdicts at once: what looking at many costs, by Holm's step-down procedure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["holm", "holm_levels"]


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values that may each be compared with one alpha, so that all verdicts together err as seldom as one.

    Args:
        ps: p-values, one for each contrast, dependent on each other in any way.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    return [min(1.0, p) for p in _uncapped(ps)]


def holm_levels(ps: Sequence[float], alpha: float) -> list[float]:
    """Return the level at which Holm's procedure judges each p: `p <= level` exactly where `holm(ps) <= alpha`.

    A level lies between alpha / contrasts and alpha. An interval at its contrast's level therefore leaves out a value exactly
    where the verdict does.

    Args:
        ps: p-values above 0, one for each contrast.
        alpha: how often one verdict or more may be wrong.

    >>> [round(level, 4) for level in holm_levels([0.01, 0.04, 0.03], 0.05)]
    [0.0167, 0.0333, 0.025]
    """
    levels = []
    for p, adjusted in zip(ps, _uncapped(ps), strict=True):
        level = alpha * p / adjusted
        # A rounding error of the quotient must not undo what the adjusted p has said.
        levels.append(max(level, p) if adjusted <= alpha else min(level, math.nextafter(p, 0.0)))
    return levels


def _uncapped(ps: Sequence[float]) -> list[float]:
    order = np.argsort(ps, kind="stable")
    stepped = np.maximum.accumulate(np.asarray(ps, dtype=float)[order] * np.arange(len(ps), 0, -1))
    adjusted = np.empty(len(ps))
    adjusted[order] = stepped
    return [float(p) for p in adjusted]
