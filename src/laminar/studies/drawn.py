"""Training data that vary from run to run: every seed draws its own part of a data set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from laminar import seeding

__all__ = ["part_by_seed"]

Pair = tuple[np.ndarray, np.ndarray]


def part_by_seed(x: np.ndarray, y: np.ndarray, size: int) -> Callable[[int], Pair]:
    """Return a function of the seed that returns `size` of the observations x (N, ...) with their targets y (N, ...).

    >>> part = part_by_seed(np.arange(10), np.arange(10), 4)
    >>> len(part(0)[0]), np.array_equal(*part(1))
    (4, True)
    """

    def part(seed: int) -> Pair:
        chosen = np.random.default_rng(seeding.derive(seed, "half")).permutation(len(x))[:size]
        return x[chosen], y[chosen]

    return part
