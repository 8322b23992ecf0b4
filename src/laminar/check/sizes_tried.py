"""A layer run on one size after the other: what came out, or what it raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from laminar.check.blame import of_checker
from laminar.check.running import run
from laminar.check.subject import Subject
from laminar.check.words import shapes_text
from laminar.shapes import Shape
from laminar.snapshots import is_unbuilt

__all__ = ["BATCH_OF_SIZES", "Axis", "Sizes", "Tried", "axes_of"]

BATCH_OF_SIZES = 2
"""Observations of each size."""

Axis = tuple[tuple[int, int], ...]
"""Places (input, axis of one observation) that grow together."""


@dataclass(frozen=True)
class Tried:
    """What came of one size.

    Attributes:
        module: what was run; it is built for the size, unless it was built before.
        shapes: of one observation of each input.
        length: along the axis that grows.
        outputs: with the batch axis; empty where it raised.
        error: what it raised.
    """

    module: nn.Module
    shapes: tuple[Shape, ...]
    length: int
    outputs: tuple[Tensor, ...] = ()
    error: Exception | None = None

    @property
    def text(self) -> str:
        """The shapes of one observation, in words."""
        return shapes_text(self.shapes)


class Sizes:
    """The layer on other sizes, in inference mode.

    Args:
        subject: the layer under test.

    Attributes:
        rebuilt: whether each size has a layer of its own, because the layer was given before it was built.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.rebuilt = any(map(is_unbuilt, subject.prototype.modules()))
        self.built = subject.built(training=False)

    def data(self, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
        """Return a small batch of the size."""
        return self._subject.data(BATCH_OF_SIZES, shapes=shapes)

    def layer(self) -> nn.Module:
        """Return what a size is shown to: a layer that was not built yet, or the one that was."""
        if not self.rebuilt:
            return self.built
        layer = self._subject.fresh()
        layer.eval()
        return layer

    def tried(self, module: nn.Module, shapes: tuple[Shape, ...], length: int) -> Tried:
        """Return what comes of one size."""
        try:
            return Tried(module, shapes, length, tuple(run(module, self.data(shapes))))
        except Exception as error:
            if of_checker(error):
                raise
            return Tried(module, shapes, length, error=error)

    def along(self, axis: Axis, steps: int) -> list[Tried]:
        """Return what comes of the size in use and of those up to `steps` longer along one axis."""
        shapes = self._subject.shapes
        length = shapes[axis[0][0]][axis[0][1]]
        return [self.tried(self.layer(), _longer(shapes, axis, k), length + k) for k in range(steps + 1)]


def axes_of(shapes: Sequence[Shape]) -> list[Axis]:
    """Return the axes that may be of another length, for each the places that have one length together.

    They are all but the channels of images and volumes; both of (channels, length), or (steps, features).

    >>> axes_of([(3, 6, 5)]), axes_of([(3, 8), (4, 8)]), axes_of([(7,)])
    ([((0, 1),), ((0, 2),)], [((0, 0),), ((0, 1), (1, 1)), ((1, 0),)], [])
    """
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i, shape in enumerate(shapes):
        for j in range(int(len(shape) > 2), len(shape)) if len(shape) > 1 else ():
            groups.setdefault((j, shape[j]), []).append((i, j))
    return [tuple(group) for group in groups.values()]


def _longer(shapes: Sequence[Shape], axis: Axis, steps: int) -> tuple[Shape, ...]:
    return tuple(tuple(n + steps * ((i, j) in axis) for j, n in enumerate(shape)) for i, shape in enumerate(shapes))
