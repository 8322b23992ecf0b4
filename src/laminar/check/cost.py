"""What a layer costs: time and memory, a backward of its own against autograd of the same forward. Notes, never failures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.blame import of_checker
from laminar.check.outcome import Finding, not_applicable, noted, passed
from laminar.check.running import leaves, output_gradients, without_backward
from laminar.check.subject import BATCH, Subject
from laminar.check.words import said
from laminar.storages import format_bytes, peak, saved

__all__ = ["Memory", "Time"]

_SECONDS = 0.25  # for all repeats together
_SHORTEST = 1e-3  # a step that is shorter says more of Python than of the layer
_LONG = 20 * _SHORTEST
_SMALLEST, _LARGEST = 2, 512  # observations in a batch
_FEWEST, _MOST = 3, 25  # repeats
_SLOWER = 1.05  # what is nearer to 1 changes with the weather


@dataclass(frozen=True)
class _Step:
    """A layer, with everything that one step of it needs."""

    layer: nn.Module
    inputs: list[Tensor]
    given: list[Tensor]

    @property
    def known(self) -> list[Tensor]:
        """Every tensor that is there before the step."""
        return [*self.inputs, *self.given, *self.layer.parameters(), *self.layer.buffers()]

    def fill(self, zs: list[Tensor]) -> None:
        """Put what `forward` returns into `zs`."""
        zs.extend(self.forward())

    def forward(self) -> list[Tensor]:
        """Return the outputs that have a gradient."""
        return [z for z in leaves(self.layer(*self.inputs)) if z.requires_grad]

    def backward(self, zs: Sequence[Tensor]) -> object:
        """Return the gradients of inputs and learnables."""
        asked = [t for t in [*self.inputs, *self.layer.parameters()] if t.requires_grad]
        return torch.autograd.grad(list(zs), asked, self.given, allow_unused=True) if zs and asked else None

    def whole(self) -> object:
        """Do both."""
        return self.backward(self.forward())


def _step(subject: Subject, batch: int, *, own: bool = True) -> _Step:
    """Return a step at the shape that was given; on the GPU where there is one.

    Args:
        subject: the layer.
        batch: observations.
        own: whether with the layer's own backward, where it has one, rather than autograd's.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layer = subject.built(shapes=subject.given).to(device)
    if not own:
        layer = without_backward(layer)
    inputs = [x.to(device).requires_grad_(x.is_floating_point()) for x in subject.data(batch, shapes=subject.given)]
    step = _Step(layer, inputs, [])
    return _Step(layer, inputs, output_gradients(step.forward()))


@register
class Time(Check):
    """How long forward and backward take; a backward of its own against autograd's of the same forward."""

    name = "time"
    group = "cost"
    expects = "a layer that runs forward and backward on the shape given"

    def run(self, subject: Subject) -> Finding:
        try:
            batch, own = _timed(subject)
        except Exception as error:
            if of_checker(error):
                raise
            return not_applicable(f"a step raises {said(error)}")
        by_autograd = _of_autograd(subject, batch)
        if by_autograd is None:
            return passed(f"batch of {batch}: {_told(*_measured([own])[0])}")
        mine, theirs = _measured([own, by_autograd])
        ratios = [(a + b) / (c + d) for a, b, c, d in zip(*mine, *theirs, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        figures = f"batch of {batch}: {_told(*mine)}; with autograd's backward {_told(*theirs)}"
        if low > _SLOWER:
            return noted(
                f"a step takes {middle:.2f} × as long with its own backward (quartiles {low:.2f} to {high:.2f}): "
                f"delete backward, or compute less in it ({figures})"
            )
        return passed(f"{figures}; a step {middle:.2f} × as long (quartiles {low:.2f} to {high:.2f})")


@register
class Memory(Check):
    """What forward and backward hold at most, and what is kept for backward; a backward of its own against autograd's."""

    name = "memory"
    group = "cost"
    expects = "a layer that runs forward and backward on the shape given"

    def run(self, subject: Subject) -> Finding:
        try:
            most, kept = _memory(_step(subject, BATCH))
        except Exception as error:
            if of_checker(error):
                raise
            return not_applicable(f"a step raises {said(error)}")
        by_autograd = _of_autograd(subject, BATCH)
        figures = f"batch of {BATCH}: {format_bytes(most)} at most, {format_bytes(kept)} of it kept for backward"
        if by_autograd is None:
            return passed(figures)
        most_there, kept_there = _memory(by_autograd)
        others = f"with autograd's backward {format_bytes(most_there)} and {format_bytes(kept_there)}"
        if kept > kept_there:
            advice = "compute it again in backward, or delete backward"
            return noted(f"{figures}; {others}: its own keeps {format_bytes(kept - kept_there)} more: {advice}")
        if most > most_there:
            advice = "make fewer tensors in backward, or delete backward"
            return noted(f"{figures}; {others}: its own needs {format_bytes(most - most_there)} more at once: {advice}")
        return passed(f"{figures}; {others}")


def _memory(step: _Step) -> tuple[int, int]:
    return peak(step.whole, step.known), saved(step.forward, step.known)


def _of_autograd(subject: Subject, batch: int) -> _Step | None:
    """Return the same layer with autograd's backward; None where it has no other, or where autograd cannot follow."""
    if not subject.handwritten:
        return None
    step = _step(subject, batch, own=False)
    try:
        found = step.whole()
    except RuntimeError:
        return None
    return step if found is not None else None


def _timed(subject: Subject) -> tuple[int, _Step]:
    """Return how many observations make a step long enough to be measured, and that step."""
    batch = _SMALLEST
    while True:
        step = _step(subject, batch)
        seconds = _seconds(step.whole)
        if seconds < _LONG:  # the first call alone may be slow
            seconds = _seconds(step.whole)
        if seconds >= _SHORTEST or batch >= _LARGEST:
            return batch, step
        batch *= 4


def _seconds(action: Callable[[], object]) -> float:
    _wait()
    started = time.perf_counter()
    action()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _measured(steps: Sequence[_Step]) -> list[tuple[list[float], list[float]]]:
    """Return the seconds of each forward and of each backward, for each step.

    The steps take turns, so that a busy spell of the machine falls on all.
    """
    whole = sum(_seconds(step.whole) for step in steps)
    repeats = min(_MOST, max(_FEWEST, int(_SECONDS / whole)))
    found: list[tuple[list[float], list[float]]] = [([], []) for _ in steps]
    for _ in range(repeats):
        for step, (forward, backward) in zip(steps, found, strict=True):
            zs: list[Tensor] = []
            forward.append(_seconds(partial(step.fill, zs)))
            backward.append(_seconds(partial(step.backward, zs)))
    return found


def _told(forward: Sequence[float], backward: Sequence[float]) -> str:
    first, second = (_milliseconds(statistics.median(seconds)) for seconds in (forward, backward))
    return f"forward {first}, backward {second}"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.{0 if seconds > 0.1 else 1 if seconds > 0.01 else 2}f} ms"
