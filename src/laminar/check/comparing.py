"""Whether two outputs are the same, and by how much they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from laminar.check.running import leaves, real

__all__ = ["ROUNDING", "Gap", "call", "declare", "gap", "numbers", "taken"]

ROUNDING = 1e-4
"""Differences below this share of the largest number are rounding: kernels sum in other orders for other batches."""


@dataclass(frozen=True)
class Gap:
    """How far two outputs are apart.

    Attributes:
        difference: the largest difference of two numbers; inf where one is NaN and the other is not, or shapes differ.
        size: the largest of the right numbers.
        shapes: whether it is the shapes that differ.
    """

    difference: float
    size: float
    shapes: bool = False

    @property
    def relative(self) -> float:
        """The difference as a share of the largest number."""
        return self.difference / self.size if self.size else (float("inf") if self.difference else 0.0)

    @property
    def seen(self) -> bool:
        """Whether it is more than rounding."""
        return self.relative > ROUNDING

    def __str__(self) -> str:
        if self.difference == float("inf"):
            return "in shape" if self.shapes else "in which numbers are finite"
        return f"by up to {self.difference:.3g}, where the largest number is {self.size:.3g}"


def gap(found: Sequence[Tensor], right: Sequence[Tensor]) -> Gap:
    """Return how far two outputs are apart, at their worst tensor.

    >>> print(gap([torch.tensor([1.0, 2.5])], [torch.tensor([1.0, 2.0])]))
    by up to 0.5, where the largest number is 2
    >>> gap([torch.tensor([float("nan")])], [torch.tensor([float("nan")])]).seen
    False
    """
    if len(found) != len(right) or any(a.shape != b.shape for a, b in zip(found, right, strict=True)):
        return Gap(float("inf"), 0.0, shapes=True)
    return max((_gap(a, b) for a, b in zip(found, right, strict=True)), key=lambda g: g.relative, default=Gap(0.0, 0.0))


def _gap(found: Tensor, right: Tensor) -> Gap:
    a, b = numbers(found), numbers(right)
    if not b.numel():
        return Gap(0.0, 0.0)
    same = (a == b) | (a.isnan() & b.isnan())
    differences = torch.where(same, 0.0, (a - b).abs()).nan_to_num(nan=float("inf"), posinf=float("inf"))
    size = torch.where(b.isfinite(), b.abs(), 0.0).max()
    return Gap(float(differences.max()), float(size))


def numbers(z: Tensor) -> Tensor:
    """Return the numbers of any tensor as real ones, in float64 and on the CPU."""
    return real(z.detach()).double().cpu()


def call(module: nn.Module, xs: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of `module(*xs)` without gradients: on these very tensors, and without seeds."""
    with torch.no_grad():
        return leaves(module(*xs))


def taken(zs: Sequence[Tensor], axes: Sequence[int | None], observations: Sequence[int]) -> list[Tensor]:
    """Return some observations of an output: of those of its tensors that have an axis of observations."""
    chosen = torch.tensor(observations)
    return [z.index_select(axis, chosen.to(z.device)) for z, axis in zip(zs, axes, strict=True) if axis is not None]


def declare(word: str) -> str:
    """Return how to say that something is meant, as a sentence without the final stop.

    >>> declare("batch")
    'If it is meant, write declares = ("batch",) in the class, or pass declares=("batch",) to check_layer'
    """
    return f'If it is meant, write declares = ("{word}",) in the class, or pass declares=("{word}",) to check_layer'
