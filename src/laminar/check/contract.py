"""The contract of a layer: it builds, it declares what it learns, its shapes are what they promise to be."""

from __future__ import annotations

from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.outcome import Finding, failed, passed
from laminar.check.running import leaves, run
from laminar.check.subject import Subject
from laminar.shapes import format_batch, format_shape

__all__ = ["Builds"]


@register
class Builds(Check):
    """It builds from the shape and runs; also on the shape that was given, where the others use a smaller one."""

    name = "builds"
    group = "contract"
    expects = "a layer that builds from the shape and runs in training mode"

    def run(self, subject: Subject) -> Finding:
        layer = subject.built()
        zs = leaves(layer(*subject.data()))
        if not zs:
            return failed(expected="a tensor from forward", found="none", fix="Return the output from forward")
        text = f"{_inputs(subject.data())} → {' and '.join(format_batch(z.shape[1:]) for z in zs)}"
        if subject.shrunk:
            full = subject.built(shapes=subject.given)
            outputs = run(full, subject.data(2, shapes=subject.given))
            text += f"; given shape → {' and '.join(format_shape(z.shape[1:]) for z in outputs)}"
        return passed(text)


def _inputs(xs: tuple[Tensor, ...]) -> str:
    return " and ".join(format_batch(x.shape[1:]) for x in xs)
