"""Where a number stands in a picture, and which numbers stand beside an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["MINUS", "Scale", "covering", "label", "ticks"]

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` placed between `start` and `end`.

    Attributes:
        low: the number at `start`.
        high: the number at `end`, above `low`.
        start: a share of the width in percent, or pixels.
        end: of the same unit; below `start` where numbers rise upwards.
        logarithmic: equal ratios get equal room; numbers are above 0.
        bounded: what lies beyond the ends is placed at the nearer one.

    >>> Scale(0, 10, 0, 100)(2.5), Scale(1, 100, 0, 100, logarithmic=True)(10), Scale(0, 1, 90, 10)(7)
    (25.0, 50.0, 10.0)
    """

    low: float
    high: float
    start: float = 6.0
    end: float = 94.0
    logarithmic: bool = False
    bounded: bool = True

    def __call__(self, value: float) -> float:
        """Return where `value` stands."""
        low, high = self.low, self.high
        if self.bounded:
            value = min(max(value, low), high)
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round numbers on the scale, at most `most` where it is not logarithmic."""
        if not self.logarithmic:
            return ticks(self.low, self.high, most)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        powers = [10.0**k for k in range(first, last + 1)]
        return powers[:: math.ceil(len(powers) / most)] if len(powers) > 1 else ticks(self.low, self.high, most)


def covering(values: Iterable[float], *, room: float = 0.06) -> tuple[float, float]:
    """Return the ends of an axis that holds all finite `values`, with some room beyond them.

    Args:
        values: any numbers; those that are not finite do not count.
        room: share of the range left free on either side.

    >>> covering([1.0, 2.0, float("inf")], room=0.5), covering([3.0]), covering([])
    ((0.5, 2.5), (2.7, 3.3), (0.0, 1.0))
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        around = 0.1 * abs(high) or 1.0
        return low - around, high + around
    return low - room * (high - low), high + room * (high - low)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most `most` numbers from `low` to `high`, a step of 1, 2, 2.5 or 5 times a power of ten apart.

    >>> ticks(-0.93, 0.31)
    [-0.75, -0.5, -0.25, 0.0, 0.25]
    """
    power = 10.0 ** (math.floor(math.log10(high - low)) - 1)
    for step in (factor * power * ten for ten in (1.0, 10.0, 100.0) for factor in (1.0, 2.0, 2.5, 5.0)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [float(f"{k * step:.12g}") for k in range(first, last + 1)]  # 0.3, not 0.30000000000000004
    return []


def label(value: float, among: Iterable[float] = ()) -> str:
    """Return a tick's text, with as many digits as its neighbours need, and the minus sign of typography.

    >>> label(-0.5, [-0.5, -0.25, 0.0]), label(20000.0), label(0.001), label(5e-8)
    ('\u22120.50', '20,000', '0.001', '5e\u221208')
    """
    numbers = [value, *among]
    largest = max(map(abs, numbers))
    if largest and not 1e-5 <= largest < 1e9:
        text = f"{value:.3g}"
    else:
        digits = next((d for d in range(9) if all(abs(round(n, d) - n) <= 1e-9 * largest for n in numbers)), 9)
        text = f"{value:,.{digits}f}"
    return text.replace("-", MINUS)
