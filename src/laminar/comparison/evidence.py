"""Evidence that may be looked at after every pair: a bet against "no difference", whose winnings are the evidence.

Before each pair a gambler stakes part of a capital of 1 on the sign of its difference. If signs are fair coins, whatever the
magnitudes, no strategy makes the capital grow in the mean, and the chance that it ever reaches 1/a is at most a (Ville):
however often one looks, and whenever one stops. So 1 / capital is a p-value at every moment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from laminar.comparison.permutation import centred

__all__ = ["EFFECTS", "most_evidence", "one_sided_evidence"]

Array = npt.NDArray[np.float64]

EFFECTS = (0.5, 0.8, 1.3, 2.5)
"""Effects (mean / standard deviation of the differences) that the gambler reckons with, in equal shares of the capital."""


def one_sided_evidence(d: Sequence[float] | Array, centre: float | Array = 0.0) -> tuple[Array, Array]:
    """Return the logs of two capitals after each pair: all staked on "above the centre", and all on "below" it.

    For an expected effect delta the stake is tanh(u), u = delta x / s, x = d - centre: what the likelihood ratio of two normal
    distributions with means ±delta s would stake. s² adds up the squared deviations of the pairs before from their own mean and
    x² / (1 + delta²), the one thing that the magnitude of the present pair alone says of the spread. None of this depends on
    the present sign, so that the bet is fair; and u never falls as x rises, so that the centres that are not rejected form
    an interval.

    Args:
        d: (..., pairs) differences in the order in which they are looked at; infinite where one of the two failed.
        centre: (...) the difference that is put to the test.

    Source: the bound: Ville (1939), Étude critique de la notion de collectif; bets as tests: Shafer (2021), Testing by
    betting, JRSS A 184; a review: Ramdas, Grünwald, Vovk and Shafer (2023), Game-theoretic statistics and safe anytime-valid
    inference, Statistical Science 38; signs given magnitudes: de la Peña (1999), A general class of exponential inequalities,
    Annals of Probability 27, and Ramdas, Ruf, Larsson and Koolen (2020), Admissible anytime-valid sequential inference must
    rely on nonnegative martingales; intervals from bets: Waudby-Smith and Ramdas (2024), Estimating means of bounded random
    variables by betting, JRSS B 86.

    >>> above, below = one_sided_evidence([0.8, 1.0, 1.2, 0.9, 1.1, 0.7, 1.3, 1.0, 0.9, 1.1])
    >>> bool(above[-1] > 4), bool(below[-1] < 0)
    (True, True)
    """
    x = centred(d, np.asarray(centre, dtype=float)[..., None])
    squares, freedom = _spread_before(np.asarray(d, dtype=float))
    up = []
    with np.errstate(all="ignore"):  # x = 0, as well as numbers whose squares are none
        ratio = np.where(x == 0, math.inf, (np.sqrt(squares) / np.abs(x)) ** 2)  # 0 for a lost pair: the largest stake
    for effect in EFFECTS:
        up.append(np.sign(x) * effect * np.sqrt(freedom / (ratio + 1 / (1 + effect**2))))
    u = np.stack(up)
    return _capital(u), _capital(-u)


def most_evidence(pairs: int) -> float:
    """Return the log of the largest capital that any `pairs` differences can lead to, all on one side."""
    freedom = np.maximum(np.arange(pairs), 1.0)
    return float(_capital(np.stack([e * np.sqrt((1 + e**2) * freedom) for e in EFFECTS]))[-1])


def _capital(u: Array) -> Array:
    """Return the log of the mean over effects of the products of 1 + tanh(u), without ever forming a number that is 0."""
    logs = np.cumsum(math.log(2) - np.logaddexp(0.0, -2 * u), axis=-1)
    capital: Array = np.logaddexp.reduce(logs, axis=0) - math.log(len(EFFECTS))
    return capital


def _spread_before(d: Array) -> tuple[Array, Array]:
    """Return, for each pair, the summed squared deviations of the finite pairs before it, and the degrees of freedom of s²."""
    finite = np.isfinite(d)
    count = np.cumsum(finite, axis=-1)
    # Squares of small differences of large numbers lose digits: all is measured from the first finite one. A later pair never
    # changes a digit of an earlier pair's evidence.
    first = np.take_along_axis(d, finite.argmax(-1)[..., None], axis=-1)
    known = np.where(finite, d, 0.0) - np.where(finite & np.isfinite(first), first, 0.0)
    squares = np.cumsum(known**2, axis=-1) - np.cumsum(known, axis=-1) ** 2 / np.maximum(count, 1)
    before = np.zeros_like(squares)
    before[..., 1:] = np.maximum(squares[..., :-1], 0.0)
    freedom = np.ones_like(squares)
    freedom[..., 1:] = np.maximum(count[..., :-1], 1)
    return before, freedom
