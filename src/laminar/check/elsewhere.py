"""A derivative that somebody wrote, on inputs a little longer: right on the sizes in use, it may be wrong on odd ones."""

from __future__ import annotations

from collections.abc import Iterator

from laminar.check.blame import of_checker
from laminar.check.measured import Measured, measured
from laminar.check.outcome import Finding, failed
from laminar.check.sizes_tried import axes_of
from laminar.check.subject import Subject
from laminar.check.words import said
from laminar.shapes import Shape, format_shape

__all__ = ["wrong_elsewhere"]


def wrong_elsewhere(subject: Subject, mode: Measured) -> Finding | None:
    """Return the failure that a gradient, right for the shapes in use, is wrong where one axis is longer by one; else None.

    Args:
        subject: the layer under test.
        mode: the layer on the shapes in use, where its gradients are right.
    """
    if not (subject.any_numbers and mode.written_by):
        return None  # torch's own derivatives are right for all sizes
    usual = " and ".join(map(format_shape, subject.shapes))
    for shapes in _longer(subject):
        given = " and ".join(map(format_shape, shapes))
        try:
            other = measured(subject, training=mode.training, shapes=shapes)
        except Exception as error:
            if of_checker(error):
                raise
            continue  # forward refuses it: other-sizes asks how
        found = said(other.error) if other.error else _mistakes(other)
        if found:
            return failed(
                expected=f"right gradients for inputs of {given}, too",
                found=mode.where + found,
                cause=f"for {usual} they are right",
                fix=f"Let {mode.written_by} take sizes from its inputs; mind what is left over where a length does not divide",
            )
    return None


def _longer(subject: Subject) -> Iterator[tuple[Shape, ...]]:
    for axis in axes_of(subject.shapes):
        yield tuple(tuple(n + ((i, j) in axis) for j, n in enumerate(shape)) for i, shape in enumerate(subject.shapes))


def _mistakes(mode: Measured) -> str:
    found = (mode.mistake(name) for name in mode.names if mode.wrong_along(name))
    return "; ".join(str(m) for m in found if m)
