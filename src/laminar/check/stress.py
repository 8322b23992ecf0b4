"""Inputs far from 0, NaN among the inputs, and a large batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.blame import of_checker
from laminar.check.numerics import Dtypes
from laminar.check.outcome import Finding, failed, not_applicable, noted, passed
from laminar.check.precision import (
    FLOAT32,
    Bounds,
    Deviation,
    comparable_modes,
    compared,
    described,
    deviations,
    floats,
    given_shapes,
    learnables_of,
    modes_of,
    persistent,
    reference,
    short,
)
from laminar.check.running import Gradients, copied, gradients, output_gradients, run
from laminar.check.subject import Subject
from laminar.check.watching import loses_nan

__all__ = ["LargeBatch", "NanIn", "OffsetInputs"]

_BATCH = 4


# a gradient is a sum of terms that cancel more than its inputs are rounded: attention and convolution before a normalization
_OFFSET = Bounds(FLOAT32.share, FLOAT32.slack, gradient=0.05)


@register
class OffsetInputs(Check):
    """For inputs of 1000 ± 1, float32 is as near to float64 as inputs rounded to float32 allow."""

    name = "offset-inputs"
    group = "numerics"
    expects = "inputs around 1000 to run"
    needs = (*Dtypes.needs, "dtypes")

    def run(self, subject: Subject) -> Finding:
        if not subject.continuous:
            return not_applicable("whole numbers come in")
        modes = comparable_modes(subject)
        if not modes:
            return not_applicable("it draws in inference too, and other numbers in another dtype")
        try:
            run(reference(subject, training=modes[0]), _moved(subject.data(_BATCH, torch.float64)))
        except Exception as error:
            return not_applicable(f"inputs of 1000 ± 1 are refused: {type(error).__name__}")
        found = [d for training in modes for d in _offset_errors(subject, training=training)]
        missed = [d for d in found if not d.fits]
        if missed:
            worst = max(missed, key=lambda d: d.excess)
            return failed(
                expected=f"float32 within {short(worst.allowed)} of float64, for inputs of 1000 ± 1",
                found=described(worst),
                fix="Take differences before squares and sums: (x - x.mean()).square().mean() or torch.var in place of "
                "x.square().mean() - x.mean().square()",
            )
        return passed(f"float32 within {short(max((d.error for d in found), default=0.0))} of float64")


def _offset_errors(subject: Subject, *, training: bool) -> list[Deviation]:
    shapes = given_shapes(subject)
    module = reference(subject, training=training, shapes=shapes)

    def measure(seed: int) -> list[Deviation]:
        xs = subject.data(2 * _BATCH, torch.float64, shapes=shapes, seed=seed)
        return compared(module, _moved(xs), torch.float32, _OFFSET)

    return persistent(measure)


def _moved(xs: Sequence[Tensor]) -> list[Tensor]:
    return [x + 1000.0 if x.is_floating_point() else x for x in xs]


# ── NaN ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

_ONE = 1  # the observation that is, or holds, NaN
_PLACES = 4  # numbers that are NaN each for itself
_SMALL = 1e-3  # changes what follows the input, and hardly which of several numbers is the largest
_OTHERS = (8.0, -8.0)  # what a number is changed to, to see what depends on it


@register
class NanIn(Check):
    """NaN in gives NaN out: where an observation is NaN, and where a single number of it is."""

    name = "nan-in"
    group = "numerics"
    expects = "inputs with NaN to run"
    needs = ("modes", "deep-copy")

    def run(self, subject: Subject) -> Finding:
        if not subject.continuous:
            return not_applicable("whole numbers come in")
        if "nan" in subject.traits:
            return not_applicable("declares that it takes NaN out")
        depending = 0
        for training in modes_of(subject):
            trial = _Nan(subject, training=training)
            try:
                counted, failure = trial.whole()
                failure = failure or trial.single()
            except Exception as error:
                if of_checker(error):
                    raise
                return passed(f"refused aloud: {type(error).__name__}")
            if failure is not None:
                return failure
            depending = max(depending, counted)
        if not depending:
            return not_applicable("no output follows the input")
        return passed(f"NaN in all {depending} outputs that follow an observation of NaN")


class _Nan:
    """The layer in one mode, and what of one observation's output depends on what."""

    def __init__(self, subject: Subject, *, training: bool) -> None:
        self._subject = subject
        self._training = training
        self._module = subject.built(training=training)
        self._changes = "state" in subject.traits
        self._axes = subject.batch_axes
        self._xs = subject.data(_BATCH)
        self._usual = self._outputs(self._xs)

    def whole(self) -> tuple[int, Finding | None]:
        """Return how many outputs follow an observation, and a failure where fewer are NaN though that one is.

        They are counted and not compared one by one: of NaN, a maximum with its place may take another place.
        """
        following = int(self._depends([self._with(lambda x, i: x[_ONE] * (1 + _SMALL) + _SMALL)]).sum())
        broken = self._with(lambda x, i: torch.full_like(x[_ONE], math.nan))
        after = self._outputs(broken)
        lost = following - int((~after.isfinite()).sum())
        if lost <= 0:
            return following, None
        found = f"numbers in {lost} of {following} outputs that follow it"
        return 0, self._failure("an observation that is NaN", found, after[after.isfinite()], broken)

    def single(self) -> Finding | None:
        """Return a failure where no output that depends on a number is NaN though that number is."""
        for i in self._subject.continuous:
            numbers = self._xs[i][_ONE].numel()
            for place in range(0, numbers, max(1, -(-numbers // _PLACES))):
                depends = self._depends([self._put(i, place, value) for value in _OTHERS])
                if not bool(depends.any()):
                    continue
                broken = self._put(i, place, math.nan)
                after = self._outputs(broken)
                if not bool(after.isfinite().all()):
                    continue
                found = f"numbers in {int(depends.sum())} of {int(depends.sum())} outputs that follow it"
                return self._failure("a single input that is NaN", found, after[depends], broken)
        return None

    def _failure(self, what: str, found: str, values: Tensor, broken: Sequence[Tensor]) -> Finding:
        operation = loses_nan(self._module, broken)
        if operation.startswith("_scaled_dot_product"):
            return noted("torch's scaled_dot_product_attention makes 0 of NaN where keys are as few as here")
        mode = "" if self._training else " in inference"
        return failed(
            expected=f"NaN out, for {what}{mode}",
            found=f"{found}, {short(float(values[0]))} for one",
            cause=f"{operation} is given NaN there and returns none" if operation else "",
            fix="Use what keeps NaN: torch.relu, clamp, maximum, mean; torch.where(x < 0, 0, x), as NaN < 0 is false. If it is "
            'taken out on purpose, say so: declares = ("nan",)',
        )

    def _outputs(self, xs: Sequence[Tensor]) -> Tensor:
        """Return what the observation gives, in one line."""
        zs = run(copied(self._module) if self._changes else self._module, xs)
        kept = floats([z if a is None else z.select(a, _ONE) for z, a in zip(zs, self._axes, strict=True)])
        return torch.cat([z.flatten() for z in kept]) if kept else torch.zeros(0)

    def _depends(self, changed: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return which outputs are others for any of the changed inputs."""
        usual = self._usual
        moved = torch.zeros_like(usual, dtype=torch.bool)
        for xs in changed:
            moved |= self._outputs(xs) != usual
        return moved & usual.isfinite()

    def _with(self, values: Callable[[Tensor, int], Tensor]) -> list[Tensor]:
        xs = [x.clone() for x in self._xs]
        for i in self._subject.continuous:
            xs[i][_ONE] = values(xs[i], i)
        return xs

    def _put(self, i: int, place: int, value: float) -> list[Tensor]:
        xs = [x.clone(memory_format=torch.contiguous_format) for x in self._xs]
        xs[i][_ONE].view(-1)[place] = value
        return xs


# ── large batches ────────────────────────────────────────────────────────────────────────────────────────────────────────

_SIZES = (4099, 2053, 1031, 521, 257, 131)  # primes: whatever is done in pieces leaves a rest
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
        missed = [d for trial in trials for d in persistent(trial.deviations) if not d.fits]
        if missed:
            worst = max(missed, key=lambda d: d.excess)
            return failed(
                expected=f"in a batch of {size} what a few of its observations give in a batch of their own",
                found=described(worst),
                fix="Look at what is counted or cut by the batch: pieces and their rest, index dtypes, buffers of a fixed size",
            )
        training = True in comparable_modes(subject)
        module = reference(subject, training=training)
        exact = compared(module, subject.data(size, torch.float64), torch.float32, FLOAT32)
        missed = [d for d in exact if not d.fits]
        if missed:
            worst = max(missed, key=lambda d: d.excess)
            return failed(
                expected=f"float32 within {short(worst.allowed)} of float64 in a batch of {size}",
                found=described(worst),
                fix="Add up by torch.sum, mean or a matrix product, which add in pairs, or in float64",
            )
        return passed(f"{size} observations: float32 within {short(max((d.error for d in exact), default=0.0))} of float64")


def _size(subject: Subject) -> int:
    """Return the largest batch that can be afforded."""
    tensors = [*subject.data(1), *run(subject.built(training=False), subject.data(1))]
    numbers = sum(t.numel() for t in tensors)
    return next((n for n in _SIZES if n * numbers <= _AFFORDABLE), _SIZES[-1])


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
