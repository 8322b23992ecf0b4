"""The gradients of a layer and what they are measured against, taken once for all checks of the group."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from laminar.check.blame import of_checker
from laminar.check.graph import called, graph_nodes
from laminar.check.mistakes import Mistake, Right, compared
from laminar.check.running import gradients, without_backward
from laminar.check.slopes import Point
from laminar.check.subject import BATCH, Subject
from laminar.check.words import said
from laminar.layers.base import Layer
from laminar.shapes import Shape

__all__ = ["Measured", "measured", "modes_of", "refusal"]

_NUMBERS = {True: 240, False: 60}  # looked at one by one, in training and in inference: of each tensor, its share
_FEWEST = 32  # of a layer that takes long
_WORK = 4000  # in small operations of torch: what a mode may take
_ON_FAILURE = 3000  # looked at of one tensor once it is known to be wrong
_DIRECTIONS = 2  # for a tensor of which not every number is looked at
_AUTOGRAD = 1e-9  # what two exact derivatives agree to, relative to the largest number
_ROUNDING = 1e-13  # of a gradient that is 0 by cancellation, relative to the largest of all gradients
_COARSE = 1e-4  # outputs rounded more than this say nothing by differences


class Measured:
    """A built layer on one batch: its gradients, autograd's, and central differences. Float64.

    Args:
        module: in the mode in which it is to run.
        xs: its inputs.
    """

    def __init__(self, module: nn.Module, xs: Sequence[Tensor]) -> None:
        self.module = module
        self.training = module.training
        self.point = Point(module, xs)
        self._rights: dict[str, Right] = {}
        self._mistakes: dict[str, Mistake | None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """What can have a gradient: inputs and learnables."""
        return tuple(self.point.tensors)

    @property
    def where(self) -> str:
        """What a message puts before a finding in this mode."""
        return "" if self.training else "in inference mode: "

    @cached_property
    def found(self) -> dict[str, Tensor | None]:
        """The gradients in use, by name.

        Raises:
            Exception: whatever the layer raises.
        """
        return self.again()

    def again(self) -> dict[str, Tensor | None]:
        """Return the gradients in use for the numbers as they are now: those of `point` may have been moved."""
        self.point.restore()
        named = gradients(self.module, self.point.xs, dz=self.point.output_gradients).named()
        return {name: named[name] for name in self.names}

    @cached_property
    def written_by(self) -> str:
        """Whose derivative it is where somebody wrote one: "backward", or the names of autograd functions; else ""."""
        if isinstance(self.module, Layer) and self.module._overrides_backward:
            return "backward"
        self.point.restore()
        with torch.enable_grad():
            inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in self.point.xs]
            zs = called(self.module, inputs)
        written = [type(node).__name__ for node in graph_nodes(zs) if isinstance(node, BackwardCFunction)]
        return " or ".join(sorted({f"{name.removesuffix('Backward')}.backward" for name in written}))

    @cached_property
    def error(self) -> Exception | None:
        """What the layer raises instead of gradients."""
        try:
            _ = self.found
        except Exception as error:
            if of_checker(error):
                raise
            return error
        return None

    @cached_property
    def autograd(self) -> dict[str, Tensor | None]:
        """Autograd's gradients of the same forward, of a layer with a backward of its own.

        Raises:
            Exception: whatever autograd raises.
        """
        self.point.restore()
        return gradients(without_backward(self.module), self.point.xs, dz=self.point.output_gradients).named()

    def from_autograd(self, name: str) -> Right:
        """Return autograd's gradient of one tensor as the right one."""
        given = self.autograd[name]
        values = (torch.zeros_like(self.point.tensors[name]) if given is None else given).double().reshape(-1)
        largest = max((float(g.abs().max()) for g in self.autograd.values() if g is not None and g.numel()), default=0.0)
        own = float(values.abs().max()) if values.numel() else 0.0
        slack = max(_AUTOGRAD, 100 * self.point.grain) * own + max(_ROUNDING, self.point.grain) * largest
        return Right(torch.arange(values.numel()), values, torch.full_like(values, slack))

    def right(self, name: str) -> Right:
        """Return central differences of one tensor, at as many of its places as there is time for."""
        if name not in self._rights:
            self._rights[name] = self._differences(name, self._places(name, self._quota(name)))
        return self._rights[name]

    def mistake(self, name: str) -> Mistake | None:
        """Return what is wrong with the gradient in use of one tensor, by central differences."""
        if name not in self._mistakes:
            self._mistakes[name] = self._looked_for(name)
        return self._mistakes[name]

    def wrong_along(self, name: str) -> bool:
        """Return whether a gradient is wrong along random directions, which see all numbers at once."""
        tensor, gradient = self.point.tensors[name], self.found[name]
        random = torch.Generator().manual_seed(11)
        ways = [torch.randn(tensor.shape, generator=random, dtype=torch.float64) for _ in range(_DIRECTIONS)]
        slopes = self.point.along([{name: way} for way in ways])
        for way, central, spread in zip(ways, slopes.central, slopes.spread, strict=True):
            along = 0.0 if gradient is None else float((gradient * way).sum())
            size = max(float(central.abs()), 0.0 if gradient is None else float(gradient.norm()))
            slack = self.point.tolerance * size + 4 * self.point.floor + float(spread)
            if bool(central.isfinite()) and not abs(along - float(central)) <= slack:
                return True
        return False

    def mistakes(self) -> list[Mistake]:
        """Return what is wrong with the gradients in use, by central differences."""
        return [m for m in map(self.mistake, self.names) if m]

    def autograd_is_right(self) -> bool:
        """Return whether autograd's gradients of forward agree with central differences: a forward may hide from autograd."""
        for name in self.names:
            right = self.right(name)
            if compared(name, self.autograd[name], right, tuple(self.point.tensors[name].shape)):
                return False
        return True

    def undecided(self, name: str) -> int:
        """Return how many of the places of `right` say nothing: the function is not smooth, or not finite, there."""
        right = self.right(name)
        finite = right.values[right.values.isfinite()]
        size = float(finite.abs().max()) if finite.numel() else 0.0
        return int((~(right.slack <= 1e-3 * size + 2 * self.point.floor)).sum())

    @property
    def numbers(self) -> int:
        """How many numbers may be looked at one by one: fewer where a run takes long."""
        return min(_NUMBERS[self.training], max(_FEWEST, _WORK // max(1, int(self.point.work))))

    def _quota(self, name: str) -> int:
        left = self.numbers
        by_size = sorted(self.names, key=lambda n: self.point.tensors[n].numel())
        for i, n in enumerate(by_size):
            share = min(self.point.tensors[n].numel(), left // (len(by_size) - i))
            if n == name:
                return max(share, 1)
            left -= share
        return 0

    def _places(self, name: str, count: int) -> list[int]:
        total = self.point.tensors[name].numel()
        if count >= total:
            return list(range(total))
        drawn = torch.randperm(total, generator=torch.Generator().manual_seed(7))[:count]
        places: list[int] = sorted(drawn.tolist())
        return places

    def _differences(self, name: str, places: Sequence[int]) -> Right:
        slopes = self.point.slopes(name, places)
        finite = slopes.central[slopes.central.isfinite()]
        size = float(finite.abs().max()) if finite.numel() else 0.0
        slack = self.point.tolerance * size + 4 * self.point.floor + 1.01 * slopes.spread
        return Right(torch.tensor(places, dtype=torch.int64), slopes.central, slack)

    def _looked_for(self, name: str) -> Mistake | None:
        found, shape = self.found[name], tuple(self.point.tensors[name].shape)
        mistake = self._confirmed(compared(name, found, self.right(name), shape))
        total = self.point.tensors[name].numel()
        seen = len(self.right(name).where)
        if seen < min(total, _ON_FAILURE) and (mistake or self.wrong_along(name)):
            self._rights[name] = self._differences(name, self._places(name, _ON_FAILURE))
            mistake = self._confirmed(compared(name, found, self._rights[name], shape))
        return mistake

    def _confirmed(self, mistake: Mistake | None) -> Mistake | None:
        """Leave out what larger steps call right: curvature or rounding can deceive one step, hardly both."""
        if mistake is None:
            return None
        slopes = self.point.slopes(mistake.name, mistake.where.tolist(), step=20 * self.point.step)
        values = torch.zeros_like(mistake.right) if mistake.found is None else mistake.found
        slack = self.point.tolerance * slopes.central.abs() + self.point.floor + slopes.spread
        still = ~((values - slopes.central).abs() <= slack)
        if not bool(still.any()):
            return None
        found = None if mistake.found is None else mistake.found[still]
        return Mistake(mistake.name, mistake.shape, mistake.where[still], found, mistake.right[still], mistake.looked)


_MODES: WeakKeyDictionary[Subject, tuple[Measured, ...]] = WeakKeyDictionary()


def measured(
    subject: Subject,
    *,
    training: bool = True,
    batch: int = BATCH,
    seed: int = 0,
    shapes: Sequence[Shape] | None = None,
) -> Measured:
    """Return the layer under test, to be measured on a batch of its data."""
    module = subject.built(torch.float64, training=training, shapes=shapes)
    return Measured(module, subject.data(batch, torch.float64, shapes=shapes, seed=seed))


def modes_of(subject: Subject) -> tuple[Measured, ...]:
    """Return the layer measured in training mode, and in inference mode where that is another function."""
    if subject not in _MODES:
        training, inference = measured(subject), measured(subject, training=False)
        _MODES[subject] = (training,) if _alike(training, inference) else (training, inference)
    return _MODES[subject]


def _alike(a: Measured, b: Measured) -> bool:
    if a.error or b.error:
        return a.error is not None  # one refusal is told once
    pairs = [(a.found[n], b.found[n]) for n in a.names]
    same = all(x is y if x is None or y is None else torch.equal(x, y) for x, y in pairs)
    return same and torch.equal(a.point.base, b.point.base)


def refusal(subject: Subject, *, by_differences: bool = True) -> str:
    """Return why the gradients cannot be looked at; "" where they can.

    Args:
        subject: the layer under test.
        by_differences: whether they are to be measured against differences.
    """
    try:
        modes = modes_of(subject)
    except Exception as error:
        if of_checker(error):
            raise
        return f"it does not run in float64: {said(error)}"
    first = modes[0].point
    if not first.tensors:
        return "whole numbers in and no learnables: nothing has a gradient"
    if not first.base.numel():
        return "the output is no floating-point number"
    if not all(mode.point.repeats() for mode in modes):
        return "its output changes from call to call with the same seed: no-hidden-state and deterministic tell more"
    return _hidden(subject, modes) if by_differences else ""


def _hidden(subject: Subject, modes: Sequence[Measured]) -> str:
    if "surrogate" in subject.traits:
        return "declared: its gradient is not that of its function"
    coarse = [m.point.grain for m in modes if m.point.grain > _COARSE]
    return f"inside it rounds to {max(coarse):.0e} of its output: differences do not see slopes" if coarse else ""
