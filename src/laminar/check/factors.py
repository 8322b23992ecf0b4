"""Whether one tensor is a constant times another, and what that constant is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

__all__ = ["Axis", "common_factor", "constant_text", "power_of", "product_text"]


@dataclass(frozen=True)
class Axis:
    """How a factor answers to the length of an axis.

    Attributes:
        name: of the axis.
        length: that it has.
        power: 1 where the factor is proportional to the length, -1 where it is divided by it, 0 where it does not change.
    """

    name: str
    length: int
    power: int


def common_factor(found: Tensor, right: Tensor, *, tolerance: float) -> float | None:
    """Return the c for which `found` is c times `right`; None where there is none, or where either is 0.

    Args:
        found: any numbers.
        right: as many.
        tolerance: of the largest number of `found`.

    >>> import torch
    >>> common_factor(torch.tensor([2.0, -4.0]), torch.tensor([1.0, -2.0]), tolerance=1e-6)
    2.0
    >>> common_factor(torch.tensor([2.0, 4.0]), torch.tensor([1.0, -2.0]), tolerance=1e-6) is None
    True
    """
    size = float(right.square().sum())
    largest = float(found.abs().max()) if found.numel() else 0.0
    if not (math.isfinite(size) and math.isfinite(largest) and size and largest):
        return None
    c = float((found * right).sum()) / size
    if not c or float((found - c * right).abs().max()) > tolerance * largest:
        return None
    return c


def power_of(before: float, after: float, lengths: tuple[float, float]) -> int | None:
    """Return how a factor follows a length that changed: 1, -1 or 0; None where it follows in another way.

    >>> power_of(0.25, 0.125, (4, 8)), power_of(2.0, 2.0, (4, 8)), power_of(2.0, 3.0, (4, 8))
    (-1, 0, None)
    """
    ratio, grown = after / before, lengths[1] / lengths[0]
    return next((power for power in (0, -1, 1) if math.isclose(ratio, grown**power, rel_tol=1e-4)), None)


def constant_text(c: float) -> str:
    """Return a number as a short fraction where it is one.

    >>> constant_text(-1.0), constant_text(0.5), constant_text(1 / 3), constant_text(0.7071067)
    ('-1', '1/2', '1/3', '0.707107')
    """
    near = Fraction(c).limit_denominator(64)
    return str(near) if near and math.isclose(float(near), c, rel_tol=1e-5) else f"{c:.6g}"


def product_text(c: float, axes: Sequence[Axis]) -> tuple[str, float]:
    """Return what a factor is made of, and the constant that the lengths leave over.

    Args:
        c: the factor.
        axes: those that it was seen to follow.

    >>> product_text(-0.25, [Axis("batch", 4, -1)])
    ('1 / batch', -1.0)
    >>> product_text(24.0, [Axis("height", 4, 1), Axis("width", 3, 1)])
    ('height × width', 2.0)
    """
    above = " × ".join(a.name for a in axes if a.power > 0)
    below = " / ".join(a.name for a in axes if a.power < 0)
    rest = c
    for axis in axes:
        rest /= float(axis.length) ** axis.power
    parts = [above or "1", *([below] if below else [])]
    return " / ".join(parts), rest
