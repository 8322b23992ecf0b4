"""Where simulated runs come from: distributions of a metric from run to run, made up and recorded.

A family draws whole comparisons in which all variants have the same mean. In most of them all variants have the same
distribution, so that the differences of pairs are symmetric, as in any A/A comparison. In the others the means are equal, but
the differences are skewed: no test of a mean is exact there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int, int], Array]
"""(generator, studies, variants, pairs) -> metrics (studies, variants, pairs)."""

RECORDED = Path(__file__).with_name("digits_runs.json")
CONTRASTS = (
    ("without BN", "with BN"),
    ("without BN, alpha fixed", "with BN"),
    ("with BN, alpha fixed", "with BN"),
    ("without BN, alpha fixed", "without BN"),
)


@dataclass(frozen=True)
class Family:
    """A way to draw comparisons.

    Attributes:
        name: what tables call it.
        draw: does it.
        symmetric: whether the differences of pairs are symmetric about 0.
        step: metrics are multiples of it; 0 where they are not.
    """

    name: str
    draw: Draw
    symmetric: bool = True
    step: float = 0.0

    def noise(self) -> float:
        """Return the standard deviation of the difference of a pair, in steps where there are any."""
        first, second = np.moveaxis(self.draw(np.random.default_rng(0), 50_000, 2, 4), 1, 0)
        sd = float(np.std(first - second))
        return max(1, round(sd / self.step)) * self.step if self.step else sd


def runs(one: Callable[[np.random.Generator, tuple[int, int, int]], Array]) -> Draw:
    """Return what draws every run of every variant from one distribution."""
    return lambda rng, studies, variants, pairs: one(rng, (studies, variants, pairs))


def differences(one: Callable[[np.random.Generator, tuple[int, int, int]], Array]) -> Draw:
    """Return what draws the baseline's runs from a normal distribution, and adds a difference of mean 0 for the others."""

    def draw(rng: np.random.Generator, studies: int, variants: int, pairs: int) -> Array:
        base = rng.normal(0, 1, (studies, 1, pairs))
        return np.concatenate([base, base + one(rng, (studies, variants - 1, pairs))], axis=1)

    return draw


def counted(images: int, mean: float, spread: float) -> Draw:
    """Return what draws accuracies on so many test images, of networks whose true accuracy varies."""

    def one(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
        return rng.binomial(images, np.clip(rng.normal(mean, spread, shape), 0, 1)) / images

    return runs(one)


def resampled(values: Array) -> Callable[[np.random.Generator, tuple[int, int, int]], Array]:
    """Return what draws from these values with replacement."""
    return lambda rng, shape: rng.choice(values, shape)


def lognormal(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Return draws of mean 0 and skewness 6.2."""
    return rng.lognormal(0, 1, shape) - np.exp(0.5)


def exponential(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Return draws of mean 0 and skewness 2."""
    return rng.exponential(1, shape) - 1


def half_skewed(rng: np.random.Generator, studies: int, variants: int, pairs: int) -> Array:
    """Return a normal baseline, and variants of the same mean and spread with a long lower tail."""
    drawn = -exponential(rng, (studies, variants, pairs))
    drawn[:, 0] = rng.normal(0, 1, (studies, pairs))
    return drawn


@cache
def recorded() -> Mapping[str, Array]:
    """Return variant -> test accuracies of runs of the digits networks, by index of the pair."""
    rows = json.loads(RECORDED.read_text(encoding="utf-8"))["runs"]
    names = dict.fromkeys(row["variant"] for row in rows)
    by_name = {name: {row["index"]: row["value"] for row in rows if row["variant"] == name} for name in names}
    both = sorted(set.intersection(*(set(found) for found in by_name.values())))
    return {name: np.array([found[index] for index in both]) for name, found in by_name.items()}


def families() -> list[Family]:
    """Return every family, made up and recorded."""
    made = [
        Family("normal", runs(lambda rng, shape: rng.normal(0, 1, shape))),
        Family("runs with a long lower tail (exponential)", runs(lambda rng, shape: -exponential(rng, shape))),
        Family("runs with a longer one (lognormal)", runs(lambda rng, shape: -lognormal(rng, shape))),
        Family("heavy tails (t, 3 degrees of freedom)", runs(lambda rng, shape: rng.standard_t(3, shape))),
        Family("accuracies on 5,000 images", counted(5000, 0.98, 0.002), step=1 / 5000),
        Family("accuracies on 100 images", counted(100, 0.97, 0.01), step=1 / 100),
    ]
    digits = [Family(f"digits: runs {name}", runs(resampled(values)), step=1 / 5000) for name, values in recorded().items()]
    skewed = [
        Family("one variant normal, the other exponential", half_skewed, symmetric=False),
        Family("exponential differences", differences(exponential), symmetric=False),
        Family("lognormal differences", differences(lognormal), symmetric=False),
    ]
    for one, other in CONTRASTS:
        d = recorded()[one] - recorded()[other]
        skewed.append(Family(f"digits: differences {one} − {other}", differences(resampled(d - d.mean())), symmetric=False))
    return made + digits + skewed
