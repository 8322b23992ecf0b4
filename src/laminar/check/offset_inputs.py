"""Inputs far from 0: what is lost where the square of a mean is subtracted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.dtypes import Dtypes
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.precision import (
    FLOAT32,
    Bounds,
    Deviation,
    comparable_modes,
    compared,
    described,
    given_shapes,
    largest,
    persistent,
    reference,
    short,
    worst,
)
from laminar.check.running import run
from laminar.check.subject import Subject

__all__ = ["OffsetInputs"]

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
        missed = worst(found)
        if missed:
            return failed(
                expected=f"float32 within {short(missed.allowed)} of float64, for inputs of 1000 ± 1",
                found=described(missed),
                fix="Take differences before squares and sums: (x - x.mean()).square().mean() or torch.var in place of "
                "x.square().mean() - x.mean().square()",
            )
        return passed(f"float32 within {largest(found)} of float64")


def _offset_errors(subject: Subject, *, training: bool) -> list[Deviation]:
    shapes = given_shapes(subject)
    module = reference(subject, training=training, shapes=shapes)

    def measure(seed: int) -> list[Deviation]:
        xs = subject.data(2 * _BATCH, torch.float64, shapes=shapes, seed=seed)
        return compared(module, _moved(xs), torch.float32, _OFFSET)

    return persistent(measure)


def _moved(xs: Sequence[Tensor]) -> list[Tensor]:
    return [x + 1000.0 if x.is_floating_point() else x for x in xs]
