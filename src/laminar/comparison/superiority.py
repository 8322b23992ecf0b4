"""How likely a run of one variant beats the run of another that shares its seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from laminar.comparison.intervals import clopper_pearson

__all__ = ["superiority"]


def superiority(
    differences: Sequence[float] | npt.NDArray[np.float64], *, higher_is_better: bool = True, level: float = 0.95
) -> tuple[float, float, float]:
    """Return (probability, low, high): that a run of the variant beats the baseline's run of the same seed.

    A tie counts half, as if a fair coin broke it. Without ties the interval is exact; ties vary less than the coin would, so
    that with them it is rather too wide.

    Args:
        differences: variant - baseline for each pair; infinite where one of the two failed, 0 where both did.
        higher_is_better: of the metric.
        level: how often the interval is to hold the true probability.

    Source: Clopper and Pearson (1934); the probability of superiority: Vargha and Delaney (2000).

    >>> [round(number, 3) for number in superiority([1.0, 2.0, 0.5, -1.0])]
    [0.75, 0.194, 0.994]
    """
    d = np.asarray(differences, dtype=float) * (1.0 if higher_is_better else -1.0)
    if not len(d):
        return 0.5, 0.0, 1.0
    wins = float((d > 0).sum() + (d == 0).sum() / 2)
    return (wins / len(d), *clopper_pearson(wins, len(d), level))
