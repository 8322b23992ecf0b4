"""Slopes of a module by differences: what a gradient is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from laminar.check.running import leaves, output_gradients, run
from laminar.seeding import seed_all

__all__ = ["Counting", "Point", "Slopes", "grain_of"]

STEP = 1e-6
"""Of a difference where a number moves, for numbers up to 1: its rounding error is then about 1e-10."""

_FINE = 1e-11  # rounding relative to the largest output that float64 stays below, also after a long sum
_SPACING = 1e-6  # between the points at which rounding is looked at
_WRITTEN, _PRODUCTS = 1e4, 2e4  # numbers that take as long as a small operation
_FAR = 3e-2  # a move that changes numbers of two digits
_VISIBLE = 1e-5  # relative to the largest output: no rounding of float64
_LOOKED_AT = 6  # tensors that are moved to see it
_TWO_DIGITS = 4e-3  # the grain of bfloat16


@dataclass(frozen=True)
class Slopes:
    """Slopes of the sum of outputs times output gradients, each along the change of one number or in one direction.

    A gradient within `spread` of `central` lies between what the one-sided slopes of every output allow.

    Attributes:
        central: the means of the slopes to the right and to the left; nan where the function is not finite.
        spread: half of the differences between the two, summed over the outputs: tiny where the function is smooth.
    """

    central: Tensor
    spread: Tensor


class Point:
    """A module in float64 at one input, whose numbers can be moved one at a time.

    Args:
        module: built, in the mode in which it is to run; its learnables are moved, and put back.
        xs: its inputs; those here are clones.
        seed: of the global generators, before each run.

    Attributes:
        module: the module.
        xs: the inputs.
        learnables: their names.
        tensors: the floating-point inputs ("x", or "x0", "x1") and the learnables, by name.
        base: all floating-point outputs at the point, one after the other.
        dz: `output_gradients`, one after the other: how much each output counts in the sum whose slopes are taken.
        grain: the rounding of the outputs relative to the largest; 0 where it is that of float64.
        work: of one run, where 1 is about one small operation of torch.
    """

    def __init__(self, module: nn.Module, xs: Sequence[Tensor], *, seed: int = 0) -> None:
        self.module = module
        self.xs = [x.clone() for x in xs]
        names = ["x"] if len(xs) == 1 else [f"x{i}" for i in range(len(xs))]
        inputs = {n: x for n, x in zip(names, self.xs, strict=True) if x.is_floating_point()}
        learn = {n: p.data for n, p in module.named_parameters() if p.requires_grad and p.is_floating_point()}
        self.learnables = tuple(learn)
        self.tensors: dict[str, Tensor] = {**inputs, **learn}
        self._seed = seed
        self._kept = [(m._buffers, key, b.clone()) for m in module.modules() for key, b in m._buffers.items() if b is not None]
        zs = [z for z in run(module, self.xs, seed=seed) if z.is_floating_point()]
        # what is nan or infinite has no slope: it does not count
        self._output_gradients = [torch.where(z.isfinite(), dz, 0) for z, dz in zip(zs, output_gradients(zs), strict=True)]
        self.base = _joined(zs)
        self.dz = _joined(self._output_gradients)
        self._draws = False
        before = torch.get_rng_state()  # seeding takes longer than a small layer: only those that draw are seeded each time
        with Counting() as counting:  # type: ignore[no-untyped-call]  # torch leaves its constructor untyped
            again = self.outputs()
        self.work = counting.work
        self._draws = not (torch.equal(before, torch.get_rng_state()) and _same(again, self.base))
        self.grain = grain_of(self)

    @property
    def output_gradients(self) -> list[Tensor]:
        """Normal numbers in the shapes of the floating-point outputs, 0 where these are not finite; copies."""
        return [d.clone() for d in self._output_gradients]

    @property
    def step(self) -> float:
        """Of the differences: larger where the outputs are coarse, so that rounding does not hide the slope."""
        return float(max(STEP, self.grain ** (1 / 3)))

    @property
    def tolerance(self) -> float:
        """What the slopes are exact to, relative to the largest of a tensor."""
        return float(max(1e-6, 20 * self.grain ** (2 / 3)))

    @property
    def floor(self) -> float:
        """What rounding alone makes of a slope that is 0."""
        finite = self.base[self.base.isfinite()]
        if not finite.numel():
            return 0.0
        return max(self.grain, 1e-15) * float(finite.abs().max()) * float(self.dz.norm()) / self.step

    def restore(self) -> None:
        """Give the buffers the values they had at first: a run in training mode may have changed them."""
        for table, key, saved in self._kept:
            table[key] = saved.clone()

    def outputs(self) -> Tensor:
        """Return all floating-point outputs for the numbers as they are now, one after the other."""
        self.restore()
        if self._draws:
            seed_all(self._seed)
        with torch.no_grad():
            zs = leaves(self.module(*(x.clone() for x in self.xs)))
        return _joined([z for z in zs if z.is_floating_point()])

    def repeats(self) -> bool:
        """Return whether the outputs are still those of the first run."""
        return _same(self.outputs(), self.base)

    def slopes(self, name: str, where: Sequence[int], *, step: float | None = None) -> Slopes:
        """Return the slopes along single numbers of one tensor.

        Args:
            name: of the tensor, one of `tensors`.
            where: the places of the numbers in the flattened tensor.
            step: for numbers up to 1; that of the point where None.
        """
        tensor = self.tensors[name]
        found = []
        for i in where:
            place = np.unravel_index(i, tensor.shape)
            value = tensor[place].clone()
            h = (step or self.step) * max(1.0, abs(float(value)))
            ends = []
            for moved in (value + h, value - h):
                tensor[place] = moved
                ends.append((self.outputs(), abs(float(moved - value))))
            tensor[place] = value
            found.append(self._between(ends))
        return _slopes(found)

    def along(self, directions: Sequence[dict[str, Tensor]], *, step: float | None = None) -> Slopes:
        """Return the slopes in directions that move several numbers at once.

        Args:
            directions: changes, by the name of the tensor.
            step: that of the point where None.
        """
        found, length = [], step or self.step
        for direction in directions:
            kept = {n: self.tensors[n].clone() for n in direction}
            ends = []
            for h in (length, -length):
                self.move({n: kept[n] + h * v for n, v in direction.items()})
                ends.append((self.outputs(), length))
            self.move(kept)
            found.append(self._between(ends))
        return _slopes(found)

    def move(self, values: dict[str, Tensor]) -> None:
        """Set tensors, by name."""
        for name, value in values.items():
            self.tensors[name].copy_(value)

    def _between(self, ends: Sequence[tuple[Tensor, float]]) -> tuple[float, float]:
        (above, up), (below, down) = ends
        if above.shape != self.base.shape or below.shape != self.base.shape:
            return float("nan"), float("nan")
        counts = self.dz != 0
        right = torch.where(counts, above - self.base, 0.0) / up
        left = torch.where(counts, self.base - below, 0.0) / down
        central = float((self.dz * (right + left)).sum()) / 2
        return central, float((self.dz * (right - left)).abs().sum()) / 2


class Counting(TorchDispatchMode):
    """Counts what torch is asked to do: its operations, and what the large ones multiply and write.

    Attributes:
        work: so far, where 1 is about one small operation.
    """

    work = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        written = sum(t.numel() for t in leaves(result))
        products = written * _products_for_one(str(func.overloadpacket).rpartition(".")[2], args)
        self.work += 1 + written / _WRITTEN + products / _PRODUCTS
        return result


def _products_for_one(operation: str, args: Any) -> int:
    """Return how many products are summed for one number of the result."""
    if operation in ("mm", "bmm"):
        return int(args[0].shape[-1])
    if operation in ("addmm", "baddbmm"):
        return int(args[1].shape[-1])
    if operation == "convolution":
        return int(args[1][0].numel())
    return 0


def grain_of(point: Point) -> float:
    """Return the rounding of a module's outputs, relative to the largest; 0 where it is no coarser than float64's.

    One tensor after the other is moved: what is rounded after one may be multiplied by another that is not.
    """
    if not point.base.numel():
        return 0.0
    return max((_grain(point, name) for name in list(point.tensors)[:_LOOKED_AT]), default=0.0)


def _grain(point: Point, name: str) -> float:
    """Return the rounding that shows when one tensor is moved.

    Higher differences along a straight line of points that lie very close are 0 but for rounding, and only those of rounding
    grow with their order.
    """
    kept = point.tensors[name].clone()
    way = torch.randn(kept.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def moved(by: float) -> Tensor:
        point.move({name: kept + by * way})
        row = point.outputs()
        return row if row.shape == point.base.shape else point.base

    base, near, middle, end, after = point.base, *(moved(k * _SPACING) for k in (1, 2, 3, 4))
    far = moved(_FAR) if _share(end == base) > 0.5 else None
    point.move({name: kept})
    if far is not None:  # steps so wide that none was crossed, or a function that is constant
        size = float(base[base.isfinite()].abs().max()) if bool(base.isfinite().any()) else 0.0
        return _TWO_DIGITS if _share((far - base).abs() > _VISIBLE * size) > 0.5 else 0.0
    counts = base.isfinite() & near.isfinite() & middle.isfinite() & end.isfinite() & after.isfinite()
    base, near, middle, end, after = (row[counts] for row in (base, near, middle, end, after))
    size = float(base.abs().max()) if base.numel() else 0.0
    third = (end - 3 * middle + 3 * near - base).abs() / 8
    fourth = (after - 4 * end + 6 * middle - 4 * near + base).abs() / 8
    rounded = (third > _FINE * size) & (fourth > third / 2)
    if not size or _share(rounded) < 0.1:  # a few: kinks that lie between the points
        return 0.0
    return float(third[rounded].quantile(0.9)) / size


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())


def _slopes(found: Sequence[tuple[float, float]]) -> Slopes:
    central, spread = zip(*found, strict=True) if found else ((), ())
    return Slopes(torch.tensor(central, dtype=torch.float64), torch.tensor(spread, dtype=torch.float64))


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    flat = [t.reshape(-1).double() for t in tensors]
    return torch.cat(flat) if flat else torch.zeros(0, dtype=torch.float64)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
