"""A batch of thousands: as exact as a small one, and nothing cut off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.dtypes import Dtypes
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.precision import (
    FLOAT32,
    Deviation,
    comparable_modes,
    compared,
    described,
    deviations,
    largest,
    learnables_of,
    modes_of,
    persistent,
    reference,
    short,
    worst,
)
from laminar.check.running import Gradients, copied, gradients, output_gradients, run
from laminar.check.slopes import Counting
from laminar.check.subject import Subject

__all__ = ["LargeBatch"]

_SIZES = (4099, 2053, 1031, 521, 257, 131)  # primes: whatever is done in pieces leaves a rest
_FURTHER = 6  # observations in the batch that tells what one more takes
_WORK = 10_000.0  # in small operations of torch
_AFFORDABLE = 300_000  # numbers in inputs and outputs


@register
class LargeBatch(Check):
    """In a batch of thousands, or hundreds of large observations, float32 is as exact as in one of a few."""

    name = "large-batch"
    group = "numerics"
    expects = "a large batch to run"
    needs = (*Dtypes.needs, "dtypes", "observations-independent", "gradient-scale")

    def run(self, subject: Subject) -> Finding:
        if "always random" in subject.traits:
            return not_applicable("it draws in inference too, so that two batches differ")
        size = _size(subject)
        trials = [_Sampled(subject, size, training=training) for training in _modes_alone(subject)]
        missed = worst([d for trial in trials for d in persistent(trial.deviations)])
        if missed:
            return failed(
                expected=f"in a batch of {size} what a few of its observations give in a batch of their own",
                found=described(missed),
                fix="Look at what is counted or cut by the batch: pieces and their rest, index dtypes, buffers of a fixed size",
            )
        training = True in comparable_modes(subject)
        module = reference(subject, training=training)
        exact = compared(module, subject.data(size, torch.float64), torch.float32, FLOAT32)
        missed = worst(exact)
        if missed:
            return failed(
                expected=f"float32 within {short(missed.allowed)} of float64 in a batch of {size}",
                found=described(missed),
                fix="Add up by torch.sum, mean or a matrix product, which add in pairs, or in float64",
            )
        return passed(f"{size} observations: float32 within {largest(exact)} of float64")


def _size(subject: Subject) -> int:
    """Return the largest batch that can be afforded."""
    tensors = [*subject.data(1), *run(subject.built(training=False), subject.data(1))]
    numbers = sum(t.numel() for t in tensors)
    one, more = (_work(subject, n) for n in (1, 1 + _FURTHER))
    for_one = max(0.0, (more - one) / _FURTHER)  # of what loops over its observations
    return next((n for n in _SIZES if n * numbers <= _AFFORDABLE and n * for_one <= _WORK), _SIZES[-1])


def _work(subject: Subject, batch: int) -> float:
    module, xs = subject.built(training=False), subject.data(batch)
    counting = Counting()  # type: ignore[no-untyped-call]  # torch leaves its constructor untyped
    with counting:
        run(module, xs)
    return counting.work


def _modes_alone(subject: Subject) -> tuple[bool, ...]:
    """Return the modes in which an observation's output is its own."""
    if "always batch" in subject.traits:
        return ()
    return (False,) if "batch" in subject.traits else modes_of(subject)


class _Sampled:
    """A few observations of a large batch, and the same ones alone."""

    def __init__(self, subject: Subject, size: int, *, training: bool) -> None:
        self._subject = subject
        self._size = size
        self._axes = subject.batch_axes
        self._module = subject.built(training=training)
        self._chosen = torch.tensor(sorted({0, 1, size // 3, size // 2, size - 3, size - 2, size - 1}))

    def deviations(self, seed: int) -> list[Deviation]:
        """Return how far outputs and gradients of the few are from those they have alone; only they have an output gradient."""
        xs = self._subject.data(self._size, seed=seed)
        few = [x[self._chosen] for x in xs]
        zs = run(copied(self._module), few)
        axes = [a for z, a in zip(zs, self._axes, strict=True) if z.is_floating_point()]
        dz = output_gradients([z for z in zs if z.is_floating_point()])
        dz = [torch.zeros_like(d) if a is None else d for d, a in zip(dz, axes, strict=True)]
        alone = self._run(few, dz)
        moved = self._run([x * (1 + 2.0**-23) if x.is_floating_point() else x for x in few], dz)
        large = self._run(xs, [d if a is None else self._spread(d, a) for d, a in zip(dz, axes, strict=True)])
        outputs = [z.index_select(a, self._chosen) for z, a in zip(large.outputs, self._counted, strict=True)]
        inputs = [None if g is None else g[self._chosen] for g in large.inputs]
        found = Gradients(outputs, inputs, large.learnables)
        return deviations(found, alone, moved, [*few, *learnables_of(self._module)], FLOAT32)

    @property
    def _counted(self) -> list[int]:
        return [a for a in self._axes if a is not None]

    def _run(self, xs: Sequence[Tensor], dz: Sequence[Tensor]) -> Gradients:
        """Return the run on `xs`, less the outputs that belong to no observation."""
        found = gradients(copied(self._module), xs, dz=dz)
        outputs = [z for z, a in zip(found.outputs, self._axes, strict=True) if a is not None]
        return Gradients(outputs, found.inputs, found.learnables)

    def _spread(self, d: Tensor, axis: int) -> Tensor:
        """Return the output gradient of the large batch: that of the few where they are, and 0."""
        shape = list(d.shape)
        shape[axis] = self._size
        return d.new_zeros(shape).index_copy(axis, self._chosen, d)
