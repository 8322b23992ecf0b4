"""The arithmetic of sliding windows, shared by convolution and pooling: kernel, stride, padding, dilation, per axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, TypeAlias

from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.shapes import Shape, format_batch, format_shape

__all__ = ["Padding", "Window"]

Padding: TypeAlias = Literal["valid", "same"] | int | Sequence[int]
"""Keras' "valid" (none) and "same" (output length = ceil(input length / stride)), or whole numbers for both sides."""


def _per_axis(where: str, value: int | Sequence[int], axes: int, least: int) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, Iterable) else (value,) * axes
    if len(numbers) != axes or any(isinstance(n, bool) or not isinstance(n, Integral) or n < least for n in numbers):
        raise ArgumentError(
            complaint(
                where,
                expected=f"a whole number of at least {least}, or {axes} of them",
                received=f"{value!r}",
                fix=f"Pass {max(least, 2)}, say",
            )
        )
    return tuple(int(n) for n in numbers)


@dataclass(frozen=True)
class Window:
    """A window that slides over `len(kernel)` axes.

    Output length of an axis: (n + padding - dilation (kernel - 1) - 1) // stride + 1.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Literal["valid", "same"] | tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def make(
        cls,
        owner: str,
        kernel: tuple[str, int | Sequence[int]],
        stride: int | Sequence[int],
        padding: Padding,
        dilation: int | Sequence[int],
        axes: int,
    ) -> Window:
        """Check the arguments of layer class `owner` and return the window; `kernel` is the argument's name and its value.

        Raises:
            ArgumentError: naming the argument that is wrong.

        >>> Window.make("Conv2D", ("kernel_size", 3), 2, "valid", 1, 2).output((7, 7))
        (3, 3)
        """
        if isinstance(padding, str):
            if padding not in ("valid", "same"):
                raise ArgumentError(
                    complaint(
                        f"{owner}(padding=)",
                        expected='"valid", "same" or whole numbers',
                        received=f"{padding!r}",
                        fix='Pass padding="same"',
                    )
                )
            checked: Literal["valid", "same"] | tuple[int, ...] = padding
        else:
            checked = _per_axis(f"{owner}(padding=)", padding, axes, 0)
        return cls(
            _per_axis(f"{owner}({kernel[0]}=)", kernel[1], axes, 1),
            _per_axis(f"{owner}(strides=)", stride, axes, 1),
            checked,
            _per_axis(f"{owner}(dilation_rate=)", dilation, axes, 1),
        )

    def sides(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        """Return the padding (before, after) of each axis for inputs of `sizes`; "same" puts the odd one after, as in Keras."""
        if self.padding == "valid":
            return [(0, 0)] * len(self.kernel)
        if self.padding != "same":
            return [(p, p) for p in self.padding]
        totals = [
            max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            for n, k, s, d in zip(sizes, self.kernel, self.stride, self.dilation, strict=True)
        ]
        return [(t // 2, t - t // 2) for t in totals]

    def output(self, sizes: Sequence[int]) -> Shape:
        """Return the output length of each axis; an entry below 1 means that the window does not fit."""
        return tuple(
            (n + before + after - d * (k - 1) - 1) // s + 1
            for n, (before, after), k, s, d in zip(
                sizes, self.sides(sizes), self.kernel, self.stride, self.dilation, strict=True
            )
        )

    def least(self) -> Shape:
        """Return the smallest input length of each axis in which the window fits.

        >>> Window.make("Conv2D", ("kernel_size", 3), 1, 1, 4, 2).least()
        (7, 7)
        """
        extents = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        if self.padding == "same":
            return (1,) * len(extents)
        padding = (0,) * len(extents) if self.padding == "valid" else self.padding
        return tuple(max(e - 2 * p, 1) for e, p in zip(extents, padding, strict=True))

    def check(self, label: str, shape: Shape, axes: str) -> None:
        """Refuse observations of the wrong rank, or smaller than the window.

        Args:
            label: the layer, for the message.
            shape: of one observation, (channels, *sizes).
            axes: the names of the input's axes, "batch, channels, height, width".

        Raises:
            ShapeError: naming the layer, the shape expected and the shape received.
        """
        rank = len(self.kernel)
        if len(shape) != rank + 1:
            fix = "Remove an axis" if len(shape) > rank + 1 else "Pass x[:, None], with a channel axis"
            side = math.isqrt(shape[0]) if len(shape) == 1 else 0
            if rank == 2 and side > 0 and side * side == shape[0]:
                fix = f"Add Reshape((1, {side}, {side})) before it"
            raise ShapeError(
                complaint(
                    label, expected=f"input ({axes})", received=f"{format_batch(shape)}, {_axes(len(shape) + 1)}", fix=fix
                )
            )
        if min(self.output(shape[1:])) < 1:
            names = {1: "length", 2: "height and width"}.get(rank, "sizes")
            raise ShapeError(
                complaint(
                    label,
                    expected=f"{names} of at least {format_shape(self.least())}",
                    received=format_shape(shape[1:]),
                    fix='Use a smaller window, or padding="same"',
                )
            )

    def pad(self, x: Tensor, value: float = 0.0) -> tuple[Tensor, tuple[int, ...]]:
        """Return x, padded where the two sides differ, and the symmetric padding that is left for torch's own operation."""
        sides = self.sides(x.shape[-len(self.kernel) :])
        if all(before == after for before, after in sides):
            return x, tuple(before for before, _ in sides)
        flat = [n for pair in reversed(sides) for n in pair]
        return F.pad(x, flat, value=value), (0,) * len(sides)


def _axes(n: int) -> str:
    return f"{n} axis" if n == 1 else f"{n} axes"
