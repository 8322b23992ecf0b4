"""Two runs compared: which number is furthest off, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from laminar.check.comparing import numbers
from laminar.check.running import Gradients

__all__ = ["SAME", "Difference", "largest_difference", "named_tensors"]

_SMALL = 1e-2  # against the largest tensor of the run: what is smaller, a gradient that is 0 but for rounding, is measured so


@dataclass(frozen=True)
class Difference:
    """How far one tensor of a run is off.

    Attributes:
        name: which tensor.
        error: the largest difference, divided by the tensor's largest number; inf where shapes differ, or one is missing.
        text: what is different, in words and numbers.
    """

    name: str
    error: float
    text: str

    @property
    def sameness(self) -> str:
        """How equal two runs are, for a check that passed."""
        return f"equal but for rounding ({self.error:.0e})" if self.error else "equal, bit for bit"


SAME = Difference("", 0.0, "")
"""No difference."""


def named_tensors(run: Gradients | Sequence[Tensor]) -> dict[str, Tensor | None]:
    """Return outputs, and gradients where there are some, by the name that a message calls them."""
    outputs = run.outputs if isinstance(run, Gradients) else list(run)
    named: dict[str, Tensor | None] = {"the output" if len(outputs) == 1 else f"output {i}": z for i, z in enumerate(outputs)}
    if isinstance(run, Gradients):
        named.update({f"the gradient of {name}": g for name, g in run.named().items()})
    return named


def largest_difference(found: Gradients | Sequence[Tensor], right: Gradients | Sequence[Tensor]) -> Difference:
    """Return where two runs differ most.

    Args:
        found: the run in question.
        right: the one it is to equal; NaN equals NaN.

    >>> import torch
    >>> a, b = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])
    >>> largest_difference([a], [b]).text
    'the output differs by up to 2, its largest number is 4'
    """
    first, second = named_tensors(found), named_tensors(right)
    if first.keys() != second.keys():
        counts = f"{len(first)} instead of {len(second)} tensors"
        return Difference("the outputs", float("inf"), counts)
    floor = _SMALL * _largest(second)
    return max((_compared(name, first[name], second[name], floor) for name in second), key=lambda d: d.error)


def _largest(named: Mapping[str, Tensor | None]) -> float:
    sizes = [_size(t) for t in named.values() if t is not None]
    return max((s for s in sizes if s < float("inf")), default=0.0)


def _size(t: Tensor) -> float:
    finite = numbers(t)
    finite = finite[finite.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _compared(name: str, found: Tensor | None, right: Tensor | None, floor: float) -> Difference:
    if found is None or right is None:
        same = found is None and right is None
        return Difference(name, 0.0 if same else float("inf"), f"{name} is {'missing' if found is None else 'there'}")
    if found.shape != right.shape:
        text = f"{name} has the shape {tuple(found.shape)} instead of {tuple(right.shape)}"
        return Difference(name, float("inf"), text)
    f, r = numbers(found), numbers(right)
    finite = f.isfinite() & r.isfinite()
    wrong = int((~finite & (f != r) & ~(f.isnan() & r.isnan())).sum())
    if wrong:
        count = f"{wrong} number{'s' * (wrong != 1)}"
        return Difference(name, float("inf"), f"{name} has {count} NaN or infinite in one run alone")
    amount = float((f[finite] - r[finite]).abs().max()) if bool(finite.any()) else 0.0
    size = _size(r)
    scale = max(size, floor)
    error = 0.0 if amount == 0 else amount / scale if scale else float("inf")
    return Difference(name, error, f"{name} differs by up to {amount:.2g}, its largest number is {size:.2g}")
