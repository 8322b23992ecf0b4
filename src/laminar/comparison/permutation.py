"""The sign-flip test: how often chance alone, tossing a coin for the sign of each difference, does as much as was seen.

It assumes only that without an effect a difference is as likely positive as negative, whatever its size: no normality. That
holds exactly where two variants are alike, since exchanging their names then changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["CLOSE", "EXACT_UP_TO", "SignFlips", "centred", "sign_flip_p"]

Array = npt.NDArray[np.float64]

EXACT_UP_TO = 30
"""Pairs up to which all 2^n signs are counted; above, `DRAWS` random ones."""

DRAWS = 99_999
CLOSE = 1e-9
"""Sums that differ by less, relative to the sum of magnitudes, are equal: accuracies are steps, rounding is not evidence."""


def centred(d: Sequence[float] | Array, centre: float | Array) -> Array:
    """Return d - centre, with exact zeros in place of rounding errors; infinite differences stay what they are."""
    given = np.asarray(d, dtype=float)
    with np.errstate(invalid="ignore"):
        x = np.where(np.isfinite(given), given - centre, given)
    magnitude = np.maximum(np.abs(given), np.abs(centre))
    return np.where(np.isfinite(x) & (np.abs(x) <= CLOSE * magnitude), 0.0, x)


def sign_flip_p(d: Sequence[float] | Array, centre: float = 0.0) -> float:
    """Return the two-sided p-value of the sign-flip test that differences are symmetric about `centre`.

    Exact up to 30 pairs; above, 99,999 random signs from a fixed seed, with those that were seen counted among them, so that
    p is never 0 and errs on the safe side.

    Args:
        d: one difference for each pair; infinite where one of the two failed, which outweighs all finite ones together.
        centre: the difference that is put to the test.

    Source: Fisher (1935), The Design of Experiments, section 21; the counting of what was seen among random signs: Phipson and
    Smyth (2010), Permutation p-values should never be zero.

    >>> sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0])
    0.0625
    """
    flips = SignFlips(d)
    return min(1.0, 2 * min(flips.above(centre), flips.below(centre)))


class SignFlips:
    """The two one-sided sign-flip tests of one set of differences, at any centre.

    The sum of x = d - centre after flipping the signs of a subset is at least as large as before exactly where the subset's
    own sum is not positive. So the one-sided p-value is the share of subsets, the empty one included, with sum <= 0.

    Args:
        d: one difference for each pair; infinite where one of the two failed.
    """

    def __init__(self, d: Sequence[float] | Array) -> None:
        self._d = np.asarray(d, dtype=float)
        self._drawn = _drawn_sums(self._d) if len(self._d) > EXACT_UP_TO else None

    def above(self, centre: float) -> float:
        """Return p of "not above `centre`": small where differences lie above it. It never falls as the centre rises."""
        return self._p(1.0, centre)

    def below(self, centre: float) -> float:
        """Return p of "not below `centre`": small where differences lie below it. It never rises as the centre does."""
        return self._p(-1.0, -centre)

    def _p(self, sign: float, centre: float) -> float:
        d = sign * self._d
        # At an infinite centre all finite differences are alike; a lost pair still outweighs them.
        x = np.where(np.isfinite(d), -np.sign(centre), d) if math.isinf(centre) else centred(d, centre)
        finite = np.isfinite(x)
        total = float(np.abs(x[finite]).sum())
        if self._drawn is None:
            x = np.where(finite, x, np.sign(x) * (2 * total + 1.0))
            return _subsets_not_above(x, CLOSE * total) / 2.0 ** len(x)
        lost, count, sums = self._drawn
        sums = -np.sign(centre) * count if math.isinf(centre) else sign * sums - centre * count
        no_more = (sign * lost < 0) | ((lost == 0) & (sums <= CLOSE * total))
        return (1 + int(no_more.sum())) / (1 + DRAWS)


def _subsets_not_above(x: Array, close: float) -> int:
    """Return how many of the 2^n subsets of `x` have a sum of at most `close`: each half's sums, sorted, then matched."""
    first, second = _sorted_sums(x[: len(x) // 2]), _sorted_sums(x[len(x) // 2 :])
    return int(np.searchsorted(second, close - first[::-1], side="right").sum())


def _sorted_sums(x: Array) -> Array:
    """Return the sums of all subsets, sorted: each value merges two sorted runs, which a stable sort does in linear time."""
    sums = np.zeros(1)
    for value in x:
        sums = np.sort(np.concatenate([sums, sums + value]), kind="stable")
    return sums


def _drawn_sums(d: Array) -> tuple[Array, Array, Array]:
    """Return, for random subsets, the lost pairs (signed) and the finite ones in each, and the sum of the latter.

    The subsets are the same in every process, so that a verdict never depends on where it was made.
    """
    rng = np.random.default_rng(len(d))
    finite = np.isfinite(d)
    columns = np.stack([np.where(finite, 0.0, np.sign(d)), finite.astype(float), np.where(finite, d, 0.0)], axis=1)
    parts = [rng.integers(0, 2, (some, len(d)), dtype=np.int8) @ columns for some in _portions(DRAWS, 10_000)]
    lost, count, sums = np.concatenate(parts).T
    return lost, count, sums


def _portions(total: int, most: int) -> list[int]:
    return [min(most, total - start) for start in range(0, total, most)]
