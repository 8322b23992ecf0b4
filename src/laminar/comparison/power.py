"""How many pairs it takes: the power of the paired t-test, and its inverse."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["pairs_needed", "power_of_t"]

_COUNTED = 10**9
"""Pairs: beyond, SciPy's distributions end, and nobody would run so many."""


def power_of_t(effect: float, n: int, alpha: float = 0.05) -> float:
    """Return how often a two-sided paired t-test finds a difference.

    Args:
        effect: the true mean difference, in standard deviations of one pair's difference.
        n: pairs.
        alpha: how often it may find a difference where there is none.

    Source: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 2: the noncentral t distribution.

    >>> round(power_of_t(0.5, 34), 3)
    0.808
    """
    from scipy import stats

    if n < 2:
        return 0.0
    shift = abs(effect) * math.sqrt(n)
    edge = stats.t.isf(alpha / 2, n - 1)
    beyond, opposite = stats.nct.sf(edge, n - 1, shift), stats.nct.cdf(-edge, n - 1, shift)
    # Far out, where one is 1 and the other 0, SciPy's series break down and give nan.
    return float(np.nan_to_num(beyond, nan=1.0) + np.nan_to_num(opposite, nan=0.0))


def pairs_needed(margin: float, sd: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Return the fewest pairs with which a two-sided paired t-test finds a difference of `margin` with probability `power`.

    None where a thousand million are not enough: the noise is that of a variant which all but diverges.

    Args:
        margin: the true mean difference, in any unit.
        sd: standard deviation of one pair's difference, in the same unit.
        power: between alpha and 1.
        alpha: how often a difference may be found where there is none.

    >>> pairs_needed(0.5, 1.0)
    34
    """
    if sd <= 0:
        return 2  # without noise one pair shows it; a test needs two
    effect = abs(margin) / sd
    if not power_of_t(effect, _COUNTED, alpha) >= power:
        return None
    enough = 2
    while power_of_t(effect, enough, alpha) < power:
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if power_of_t(effect, middle, alpha) < power:
            too_few = middle
        else:
            enough = middle
    return enough
