"""Where a gradient is wrong, and what the wrong numbers have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from laminar.check.words import place_text

__all__ = ["Mistake", "Right", "compared", "likely_cause"]

_FEW = 6  # wrong numbers with something in common


@dataclass(frozen=True)
class Right:
    """The right gradient of one tensor, at all its places or at some.

    Attributes:
        where: places in the flattened tensor.
        values: the right numbers there; nan where nobody knows.
        slack: how far from them a number may be.
    """

    where: Tensor
    values: Tensor
    slack: Tensor

    def whole(self, like: Tensor) -> Tensor | None:
        """Return the gradient in the shape of `like`; None where not every number is known."""
        if len(self.where) != like.numel() or not bool(self.values.isfinite().all()):
            return None
        full = torch.zeros(like.numel(), dtype=torch.float64)
        full[self.where] = self.values
        return full.reshape(like.shape)


@dataclass(frozen=True)
class Mistake:
    """The wrong numbers of one gradient.

    Attributes:
        name: of the tensor.
        shape: of the tensor.
        where: the wrong places in the flattened tensor.
        found: the wrong numbers; None where there is no gradient at all.
        right: the numbers that belong there.
        looked: how many places were looked at.
    """

    name: str
    shape: tuple[int, ...]
    where: Tensor
    found: Tensor | None
    right: Tensor
    looked: int

    def __str__(self) -> str:
        worst = self.worst
        place = f"{self.name}{place_text(int(self.where[worst]), self.shape)}"
        if self.found is None:
            return f"{self.name} has none; at {place} it is {_number(self.right[worst])}"
        digits = next((n for n in (6, 9, 12) if _number(self.found[worst], n) != _number(self.right[worst], n)), 17)
        values = f"{_number(self.found[worst], digits)} instead of {_number(self.right[worst], digits)}"
        if self.looked == 1:
            return f"{place} is {values}"
        return f"{len(self.where)} of {self.looked} numbers of {self.name} are wrong, most of all {place}: {values}"

    @property
    def worst(self) -> int:
        """Which of the wrong numbers is furthest off."""
        off = self.right.abs() if self.found is None else (self.found - self.right).abs()
        return int(torch.where(off.isfinite(), off, torch.inf).argmax())


def compared(name: str, found: Tensor | None, right: Right, shape: tuple[int, ...]) -> Mistake | None:
    """Return what is wrong with a gradient; None where nothing is. No gradient is right where it would be 0.

    >>> right = Right(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]), torch.tensor([0.1, 0.1]))
    >>> str(compared("x", torch.tensor([1.0, 3.0]), right, (2,)))
    '1 of 2 numbers of x are wrong, most of all x[1]: 3 instead of 2'
    """
    values = torch.zeros_like(right.values) if found is None else found.detach().double().reshape(-1)[right.where]
    off = (values - right.values).abs()
    wrong = right.values.isfinite() & ~(off <= right.slack)
    if not bool(wrong.any()):
        return None
    there = None if found is None else values[wrong]
    return Mistake(name, shape, right.where[wrong], there, right.values[wrong], int(right.values.isfinite().sum()))


def likely_cause(
    mistakes: Sequence[Mistake], found: Mapping[str, Tensor | None], rights: Mapping[str, Right], xs: Mapping[str, Tensor]
) -> str:
    """Return what the wrong numbers have in common, as far as they show it; "" where they do not.

    Args:
        mistakes: at least one.
        found: every gradient, by name.
        rights: what is right, by name.
        xs: the inputs and learnables, by name.
    """
    whole = {n: rights[n].whole(g) for n, g in found.items() if g is not None and n in rights}
    first = mistakes[0]
    gradient = found.get(first.name)
    if gradient is None:
        return ""
    narrow = _in_float32(first, gradient, rights[first.name])
    if narrow:
        return narrow
    right = whole[first.name]
    if right is not None:
        for text in (
            _swapped(mistakes, found, whole),
            _moved(first.name, gradient, right),
            _times(first.name, gradient, right, xs),
        ):
            if text:
                return text
    if bool((gradient == 0).all()):
        return f"the gradient of {first.name} is 0 everywhere"
    return _sign_of_input(first, xs.get(first.name), rights[first.name]) or _along_one_axis(first, rights[first.name])


def _in_float32(mistake: Mistake, gradient: Tensor, right: Right) -> str:
    if mistake.found is None or not bool((gradient.float().double() == gradient).all()):
        return ""
    off = float((mistake.found - mistake.right).abs().max() / right.values.nan_to_num().abs().max())
    fits = f"every number of the gradient of {mistake.name} fits into float32"
    return f"{fits}, off by {off:.0e} of the largest: it is computed in float32" if off < 1e-5 else ""


def _swapped(mistakes: Sequence[Mistake], found: Mapping[str, Tensor | None], whole: Mapping[str, Tensor | None]) -> str:
    names = [m.name for m in mistakes]
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            if _equal(found[a], whole.get(b)) and _equal(found[b], whole.get(a)):
                return f"the gradients of {a} and {b} are swapped"
    return ""


def _moved(name: str, found: Tensor, right: Tensor) -> str:
    """Return how `found` has the right numbers in the wrong places."""
    axes = range(right.dim())
    for a in axes:
        for b in range(a + 1, right.dim()):
            if _equal(found, right.transpose(a, b)):
                return f"the gradient of {name} is the right one transposed (axes {a} and {b})"
    for dims in [*([a] for a in axes), list(axes)[-2:]]:
        if dims and _equal(found, right.flip(dims)):
            return f"the gradient of {name} is the right one mirrored along {_axes(dims)}"
    for a in axes:
        if right.shape[a] > 1 and _equal(found, right.mean(a, keepdim=True).expand_as(right)):
            return f"the gradient of {name} is the mean of the right one along {_axes([a])}"
        kept = float(right.sum(a).abs().max()) > 1e-3 * float(right.abs().max())
        if right.shape[a] > 1 and kept and _equal(found.sum(a), right.sum(a)):
            return f"summed over {_axes([a])} the gradient of {name} is right: it is shared out wrongly along it"
    return ""


def _times(name: str, found: Tensor, right: Tensor, xs: Mapping[str, Tensor]) -> str:
    """Return which input or learnable is a factor that is missing, or one too many."""
    for other, x in xs.items():
        if x.numel() > 1 and _equal(found * x if x.shape == found.shape else None, right):
            return f"the gradient of {name} lacks the factor {other}"
        if x.numel() > 1 and _equal(found, right * x if x.shape == right.shape else None):
            return f"the gradient of {name} has {other} as a factor too many"
    return ""


def _sign_of_input(mistake: Mistake, x: Tensor | None, right: Right) -> str:
    if x is None:
        return ""
    flat = x.reshape(-1)
    wrong, looked = flat[mistake.where], flat[right.where]
    for side, of_wrong, of_looked in (("≤ 0", wrong <= 0, looked <= 0), ("> 0", wrong > 0, looked > 0)):
        most = len(wrong) >= max(_FEW, int(of_looked.sum()) / 2)  # a few may have the same sign by chance
        if most and bool(of_wrong.all()) and not bool(of_looked.all()):
            return f"the gradient of {mistake.name} is wrong only where {mistake.name} {side}"
    return ""


def _along_one_axis(mistake: Mistake, right: Right) -> str:
    places = np.unravel_index(mistake.where.numpy(), mistake.shape)
    looked = np.unravel_index(right.where.numpy(), mistake.shape)
    for axis in range(len(mistake.shape)):
        wrong, seen = sorted(set(places[axis].tolist())), set(looked[axis].tolist())
        all_wrong = all(bool(np.isin(np.flatnonzero(looked[axis] == i), _at(right, mistake)).all()) for i in wrong)
        if len(wrong) <= len(seen) // 2 and all_wrong:
            return f"the gradient of {mistake.name} is wrong only at index {_listed(wrong)} of {_axes([axis])}"
    return ""


def _at(right: Right, mistake: Mistake) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.flatnonzero(np.isin(right.where.numpy(), mistake.where.numpy()))


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None or a.shape != b.shape:
        return False
    return float((a - b).abs().max()) <= 1e-5 * max(float(b.abs().max()), 1e-30)


def _axes(dims: Sequence[int]) -> str:
    return f"axis {dims[0]}" if len(dims) == 1 else f"axes {' and '.join(map(str, dims))}"


def _listed(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers)) if len(numbers) < 4 else f"{numbers[0]}, {numbers[1]}, ..., {numbers[-1]}"


def _number(value: Tensor, digits: int = 6) -> str:
    return f"{float(value):.{digits}g}"
