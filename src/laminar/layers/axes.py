"""The axes that images and series have behind their channels: their names, numbers for each, and inputs with others refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, ClassVar

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.base import Layer
from laminar.shapes import Shape, format_batch, format_shape

__all__ = ["AXES", "SpatialLayer", "channels_last_fix", "format_pairs", "one_each", "pair_each"]

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
"""Names of the axes that follow (batch, channels), by their number."""


def one_each(where: str, value: int | Sequence[int], axes: int, *, least: int) -> Shape:
    """Return one whole number for each of `axes` axes; a single number holds for all.

    Raises:
        ArgumentError: naming the argument, `where`, if these are not whole numbers of at least `least`.

    >>> one_each("Conv2D(strides=)", 2, 2, least=1)
    (2, 2)
    """
    numbers = tuple(value) if isinstance(value, Iterable) else (value,) * axes
    if len(numbers) != axes or not all(_is_whole(n, least) for n in numbers):
        raise ArgumentError(
            complaint(
                where,
                expected=f"a whole number of at least {least}, or {axes} of them",
                received=f"{value!r}",
                fix=f"Pass {max(least, 2)}, say",
            )
        )
    return tuple(int(n) for n in numbers)


def pair_each(where: str, value: Any, axes: int) -> tuple[tuple[int, int], ...]:
    """Return two whole numbers, before and after, for each of `axes` axes, as Keras reads them.

    Args:
        where: the argument, for the message.
        value: one number for all sides; or for each axis a number for both its sides or a pair; with one axis, also a pair.
        axes: how many there are.

    Raises:
        ArgumentError: if these are not whole numbers of at least 0.

    >>> pair_each("ZeroPadding2D(padding=)", (1, 2), 2), pair_each("ZeroPadding1D(padding=)", (1, 2), 1)
    (((1, 1), (2, 2)), ((1, 2),))
    """
    sides = list(value) if isinstance(value, Iterable) else [value] * axes
    if axes == 1 and len(sides) == 2:
        sides = [sides]
    pairs = [tuple(s) if isinstance(s, Iterable) else (s, s) for s in sides]
    if len(pairs) != axes or not all(len(p) == 2 and all(_is_whole(n, 0) for n in p) for p in pairs):
        example = "(1, 2)" if axes == 1 else format_pairs([(0, 1)] * axes)
        each = "or a pair" if axes == 1 else f"or {axes} numbers or pairs"
        raise ArgumentError(
            complaint(
                where,
                expected=f"a whole number of at least 0, {each} of them",
                received=f"{value!r}",
                fix=f"Pass 1 for all sides, or {example}, say",
            )
        )
    return tuple((int(before), int(after)) for before, after in pairs)


def format_pairs(pairs: Sequence[tuple[int, int]]) -> str:
    """Return pairs as they are written in a call.

    >>> format_pairs([(1, 2)]), format_pairs([(1, 2), (0, 0)])
    ('(1, 2)', '((1, 2), (0, 0))')
    """
    return str(pairs[0] if len(pairs) == 1 else tuple(pairs))


def _is_whole(n: object, least: int) -> bool:
    return isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= least


def channels_last_fix(shape: Shape, otherwise: str, *, channels: int = 0) -> str:
    """Return what mends an observation of `shape` (C, ...) that looks as if its channels came last, or `otherwise`.

    Args:
        shape: of one observation.
        otherwise: the fix for one that does not look so.
        channels: how many are expected; 0 where that is not known yet: 1 or 3 are then taken for channels.

    >>> channels_last_fix((28, 28, 1), "Use a smaller window")
    'Pass x.movedim(-1, 1) if its last axis is the channels'
    """
    last = shape[-1]
    looks = last == channels != shape[0] if channels else last in (1, 3) and min(shape[:-1]) >= 8
    return "Pass x.movedim(-1, 1) if its last axis is the channels" if looks else otherwise


class SpatialLayer(Layer):
    """The base of layers that know which axes they work on: (B, C, L), (B, C, H, W) or (B, C, D, H, W).

    Attributes:
        rank: how many axes follow the channels.
    """

    rank: ClassVar[int]

    def build(self, shape: Shape) -> None:
        """Declare nothing; being there makes the first input go through `check_input`."""

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.check_axes(shape)

    def check_axes(self, shape: Shape) -> None:
        """Refuse observations that do not have a channel axis and `rank` others.

        Raises:
            ShapeError: naming the axes expected.
        """
        missing = self.rank + 1 - len(shape)
        if missing == 0:
            return
        names = ", ".join(("channels", *AXES[self.rank]))
        side = math.isqrt(shape[0]) if len(shape) == 1 else 0
        if missing < 0:
            fix = "Remove an axis"
        elif self.rank == 2 and side > 0 and side * side == shape[0]:
            fix = f"Add Reshape((1, {side}, {side})) before it"
        elif missing > 1:
            fix = f"Add Reshape(({names})) before it"
        elif self.rank == 2 and shape[-1] in (1, 3) and shape[0] >= 8:
            fix = "Pass x.permute(2, 0, 1)[None] if it is one image, channels last"
        else:
            fix = "Pass x[:, None] if it lacks the channel axis, x[None] if it lacks the batch axis"
        found = "1 axis" if len(shape) == 0 else f"{len(shape) + 1} axes"
        raise ShapeError(
            complaint(self.label, expected=f"input (batch, {names})", received=f"{format_batch(shape)}, {found}", fix=fix)
        )

    def check_sizes(self, shape: Shape, least: Shape, fix: str) -> None:
        """Refuse observations of `shape` (C, ...) of which an axis behind the channels is shorter than `least` says.

        Raises:
            ShapeError: with `fix`, unless the channels seem to come last.
        """
        if any(n < m for n, m in zip(shape[1:], least, strict=True)):
            *others, final = AXES[self.rank]
            names = f"{', '.join(others)} and {final}" if others else final
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"{names} of at least {format_shape(least)}",
                    received=format_shape(shape[1:]),
                    fix=channels_last_fix(shape, fix),
                )
            )
