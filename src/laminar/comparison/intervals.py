"""Intervals: of a mean difference (t, bootstrap, and the inversion of any test) and of a probability."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["bca_interval", "clopper_pearson", "lower_end", "t_interval"]

Interval = tuple[float, float]

FINENESS = 1e-8
"""How closely the end of an inverted test is found, in units of the spread of the differences."""


def t_interval(d: Sequence[float], level: float = 0.95) -> Interval:
    """Return Student's interval of the mean; exact where differences are normal.

    Args:
        d: one difference for each pair, at least two.
        level: how often the interval is to hold the true mean.

    >>> [round(end, 2) for end in t_interval([1.0, 2.0, 3.0])]
    [-0.48, 4.48]
    """
    from scipy import stats

    n, mean = len(d), float(np.mean(d))
    half = float(stats.t.isf((1 - level) / 2, n - 1) * np.std(d, ddof=1) / math.sqrt(n))
    return mean - half, mean + half


def bca_interval(d: Sequence[float], level: float = 0.95, *, rng: np.random.Generator, resamples: int = 9999) -> Interval:
    """Return the bias-corrected and accelerated bootstrap interval of the mean, widened for few pairs.

    The bootstrap alone is too narrow for ten pairs, because the spread of a sample is too small by (n - 1) / n and because it
    knows no t distribution; the level is raised by as much as would mend it for normal differences.

    Args:
        d: one difference for each pair, at least two.
        level: how often the interval is to hold the true mean.
        rng: draws the resamples.
        resamples: how many.

    Source: Efron (1987), Better bootstrap confidence intervals, JASA 82; the widening: Hesterberg (2015), What teachers should
    know about the bootstrap, The American Statistician 69, section 5.2.

    >>> import numpy as np
    >>> low, high = bca_interval([1.0, 2.0, 4.0, 3.0, 2.5], rng=np.random.default_rng(0))
    >>> low < 2.5 < high
    True
    """
    from scipy import stats

    values = np.asarray(d, dtype=float)
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    done = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=expanded(level, len(values)),
        n_resamples=resamples,
        vectorized=True,
        method="BCa",
        rng=rng,
    )
    return float(done.confidence_interval.low), float(done.confidence_interval.high)


def expanded(level: float, n: int) -> float:
    """Return the level at which a bootstrap interval of `n` values is as wide as Student's at `level`.

    >>> round(expanded(0.95, 10), 4)
    0.9829
    """
    from scipy import stats

    tail = stats.norm.sf(math.sqrt(n / (n - 1)) * stats.t.isf((1 - level) / 2, n - 1))
    return float(min(1 - 2 * tail, 1 - 1e-12))  # never 1, which no bootstrap reaches


def clopper_pearson(wins: float, n: int, level: float = 0.95) -> Interval:
    """Return the exact interval of a probability.

    Args:
        wins: how often it happened; a half for an event that half happened.
        n: how often it could have happened.
        level: how often the interval is to hold the true probability, at least.

    Source: Clopper and Pearson (1934), The use of confidence or fiducial limits, Biometrika 26.

    >>> [round(end, 4) for end in clopper_pearson(10, 10)]
    [0.6915, 1.0]
    """
    from scipy import stats

    tail = (1 - level) / 2
    low = 0.0 if wins <= 0 else float(stats.beta.ppf(tail, wins, n - wins + 1))
    high = 1.0 if wins >= n else float(stats.beta.isf(tail, wins + 1, n - wins))
    return low, high


def lower_end(
    p: Callable[[float], float], level: float, d: Sequence[float] | npt.NDArray[np.float64], anchors: Sequence[float] = ()
) -> float:
    """Return the smallest centre that a one-sided test does not reject: the lower end of the interval that inverts it.

    The upper end is minus the lower end of the mirrored differences.

    Args:
        p: centre -> p-value, not falling as the centre rises; it takes -inf and inf, too.
        level: centres with p <= level are rejected.
        d: the differences, for a scale and a place to start from.
        anchors: centres that are asked first, so that the end lies on the side of each that its own p-value says.

    Returns:
        A centre; -inf if no centre is rejected, inf if all are.
    """
    if p(-math.inf) > level:
        return -math.inf
    if p(math.inf) <= level:
        return math.inf
    finite = np.asarray(d, dtype=float)
    finite = finite[np.isfinite(finite)]
    middle = float(finite.mean())
    spread = float(np.ptp(finite)) or max((abs(a) for a in anchors), default=0.0) or abs(middle) or 1.0
    inside = _first(lambda centre: p(centre) > level, middle, spread)
    outside = _first(lambda centre: p(centre) <= level, inside, -spread)
    for centre in anchors:
        if outside < centre < inside:
            inside, outside = (centre, outside) if p(centre) > level else (inside, centre)
    if math.isinf(outside):
        return outside
    while inside - outside > FINENESS * spread:
        centre = (inside + outside) / 2
        if not outside < centre < inside:
            break  # two neighbouring floats
        inside, outside = (centre, outside) if p(centre) > level else (inside, centre)
    return inside


def _first(wanted: Callable[[float], bool], start: float, step: float) -> float:
    """Return the first of start, start + step, start + 2 step, start + 4 step, ... that is wanted."""
    place = start
    while not wanted(place):
        place, step = start + step, step * 2
    return place
