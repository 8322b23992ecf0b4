"""The unit in which values of a metric, and differences between them, are written: accuracies in percent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from laminar.comparison.drawing.scales import MINUS
from laminar.comparison.tables import DASH, number

__all__ = ["Units", "units_of"]

_SHARES = ("accuracy", "precision", "recall", "f1", "fbeta", "auc", "iou", "io_u")


@dataclass(frozen=True)
class Units:
    """How numbers of one metric are written.

    Attributes:
        factor: what a value is multiplied with.
        of_values: after a value, as " %"; empty where it has no unit.
        of_differences: after a difference, as " points".
    """

    factor: float = 1.0
    of_values: str = ""
    of_differences: str = ""

    def value(self, value: float | None) -> str:
        """Return a value with its unit.

        >>> units_of("accuracy").value(0.98765), units_of("loss").value(0.123456)
        ('98.77 %', '0.1235')
        """
        return self._text(value, self.of_values)

    def difference(self, value: float | None) -> str:
        """Return a difference with its sign and unit.

        >>> units_of("accuracy").difference(-0.007), units_of("loss").difference(0.0123456)
        ('\u22120.70 points', '+0.01235')
        """
        return self.bare(value) + (self.of_differences if value is not None and math.isfinite(value) else "")

    def bare(self, value: float | None) -> str:
        """Return a difference with its sign, without its unit."""
        return ("+" if value is not None and value > 0 else "") + self._text(value, "")

    def between(self, low: float | None, high: float | None) -> str:
        """Return the two ends of an interval of differences, and the unit once.

        >>> units_of("accuracy").between(-0.007, float("inf"))
        '\u22120.70 to +\u221e points'
        """
        return DASH if low is None or high is None else f"{self.bare(low)} to {self.bare(high)}{self.of_differences}"

    def size(self, value: float | None) -> str:
        """Return the size of a difference with its unit; a short decimal, as margins are, with all its digits.

        >>> units_of("accuracy").size(0.002), units_of("accuracy").size(0.00125)
        ('0.20 points', '0.125 points')
        """
        if value is not None and math.isfinite(value) and self.factor != 1.0:
            scaled = self.factor * value
            decimals = next((d for d in range(2, 6) if abs(round(scaled, d) - scaled) < 1e-9), None)
            if decimals is not None:
                return f"{scaled:.{decimals}f}{self.of_differences}"
        return self._text(value, self.of_differences)

    def _text(self, value: float | None, unit: str) -> str:
        if value is None or not math.isfinite(value):
            return number(value)
        if self.factor == 1.0:
            return number(value) + unit
        scaled = self.factor * value
        return (f"{scaled:.2f}".replace("-", MINUS) if abs(scaled) >= 0.095 or scaled == 0 else number(scaled, 2)) + unit


def units_of(metric: str) -> Units:
    """Return the units of a metric: shares of 1 in percent, their differences in percentage points.

    >>> units_of("val_top_5_accuracy").factor, units_of("mean_squared_error").factor
    (100.0, 1.0)
    """
    shares = any(word in metric.lower() for word in _SHARES)
    return Units(100.0, " %", " points") if shares else Units()
