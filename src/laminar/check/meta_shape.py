"""Shapes without numbers: what `laminar.shapes` and the meta device say is what comes out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.outcome import Finding, failed, noted, passed
from laminar.check.running import run
from laminar.check.subject import BATCH, Subject
from laminar.check.words import mode_name, said, shapes_text
from laminar.shapes import Shape, run_for_shapes

__all__ = ["MetaShape"]

_FIX = "Compute shapes from x.shape alone, in the same way on every device"


@register
class MetaShape(Check):
    """The shapes found without computing are those of the real output."""

    name = "meta-shape"
    group = "contract"
    expects = "shapes that can be found without computing"
    needs = ("modes",)

    def run(self, subject: Subject) -> Finding:
        batch = next(n for n in itertools.count(BATCH) if all(n not in shape for shape in subject.shapes))
        xs = subject.data(batch)
        meta = [torch.empty_like(x, device="meta") for x in xs]
        traced, refused = run_for_shapes(subject.built(training=False), meta, {}, batch)[0].outputs, ""
        for training in (True, False):
            module = subject.built(training=training)
            real = run(module, xs)
            try:
                found = run(module.to("meta"), meta)
            except Exception as error:
                refused = said(error)
                continue
            if _shapes(found) != _shapes(real):
                return _failure(_shapes(real), _shapes(found), f"on the meta device in {mode_name(training)} mode")
        wanted = [_observation(z.shape, axis) for z, axis in zip(real, subject.batch_axes, strict=True) if z.dim()]
        for one, other in zip(wanted, traced, strict=True):
            if one is not None and one != other:
                return _failure([one], [other], "says laminar.output_shape")
        if refused:
            return noted(f"shapes are found by running it on zeros; on the meta device: {refused}")
        return passed(f"{shapes_text(_shapes(real))} on the meta device and in truth")


def _observation(shape: Shape, axis: int | None) -> Shape | None:
    """Return the shape of one observation; None where no axis counts them."""
    return None if axis is None else (*shape[:axis], *shape[axis + 1 :])


def _shapes(zs: Sequence[Tensor]) -> list[Shape]:
    return [tuple(z.shape) for z in zs]


def _failure(real: Sequence[Shape], found: Sequence[Shape], where: str) -> Finding:
    return failed(
        expected=f"{shapes_text(real)}, the shape of the real output", found=f"{shapes_text(found)} {where}", fix=_FIX
    )
