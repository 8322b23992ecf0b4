"""The arithmetic of sliding windows, shared by convolution and pooling: kernel, stride, padding, dilation, per axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, complaint
from laminar.layers.arithmetic import window_length
from laminar.layers.axes import AXES, one_each
from laminar.shapes import Shape, format_shape

__all__ = ["Padding", "Window", "window_settings"]

Padding: TypeAlias = Literal["valid", "same"] | int | Sequence[int]
"""Keras' "valid" (none) and "same" (output length = ceil(input length / stride)), or whole numbers for both sides."""


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
            checked = one_each(f"{owner}(padding=)", padding, axes, least=0)
        return cls(
            one_each(f"{owner}({kernel[0]}=)", kernel[1], axes, least=1),
            one_each(f"{owner}(strides=)", stride, axes, least=1),
            checked,
            one_each(f"{owner}(dilation_rate=)", dilation, axes, least=1),
        )

    @property
    def extent(self) -> Shape:
        """How far the window reaches along each axis: dilation (kernel - 1) + 1.

        >>> Window.make("Conv2D", ("kernel_size", 3), 1, 0, (1, 2), 2).extent
        (3, 5)
        """
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def sides(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        """Return the padding (before, after) of each axis for inputs of `sizes`; "same" puts the odd one after, as in Keras."""
        if self.padding == "valid":
            return [(0, 0)] * len(self.kernel)
        if self.padding != "same":
            return [(p, p) for p in self.padding]
        totals = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(sizes, self.stride, self.extent, strict=True)]
        return [(t // 2, t - t // 2) for t in totals]

    def output(self, sizes: Sequence[int]) -> Shape:
        """Return the output length of each axis; an entry below 1 means that the window does not fit."""
        return tuple(
            (n + before + after - e) // s + 1
            for n, (before, after), s, e in zip(sizes, self.sides(sizes), self.stride, self.extent, strict=True)
        )

    def least(self) -> Shape:
        """Return the smallest input length of each axis in which the window fits.

        >>> Window.make("Conv2D", ("kernel_size", 3), 1, 1, 4, 2).least()
        (7, 7)
        """
        if self.padding == "same":
            return (1,) * len(self.kernel)
        padding = (0,) * len(self.kernel) if self.padding == "valid" else self.padding
        return tuple(max(e - 2 * p, 1) for e, p in zip(self.extent, padding, strict=True))

    def lines(self, sizes: Sequence[int]) -> tuple[str, ...]:
        """Return the equation of each axis' output length, for an explanation.

        >>> Window.make("Conv1D", ("kernel_size", 3), 2, 0, 1, 1).lines((7,))
        ('length: (7 − 3 + 2·0)/2 + 1 = 3',)
        """
        axes = zip(AXES[len(self.kernel)], sizes, self.kernel, self.sides(sizes), self.stride, self.dilation, strict=True)
        return tuple(window_length(*axis)[0] for axis in axes)

    def pad(self, x: Tensor, value: float = 0.0) -> tuple[Tensor, tuple[int, ...]]:
        """Return x, padded where the two sides differ, and the symmetric padding that is left for torch's own operation."""
        sides = self.sides(x.shape[-len(self.kernel) :])
        if all(before == after for before, after in sides):
            return x, tuple(before for before, _ in sides)
        flat = [n for pair in reversed(sides) for n in pair]
        return F.pad(x, flat, value=value), (0,) * len(sides)


def window_settings(window: Window, kernel: str, stride: Sequence[int]) -> list[str]:
    """Return the kernel, under the argument's name `kernel`, and what differs from the defaults, of which `stride` is one.

    >>> window_settings(Window.make("Conv1D", ("kernel_size", 3), 2, "same", 1, 1), "kernel_size", (1,))
    ['kernel_size=(3,)', 'strides=(2,)', "padding='same'"]
    """
    parts = [f"{kernel}={format_shape(window.kernel)}"]
    parts += [f"strides={format_shape(window.stride)}"] if window.stride != tuple(stride) else []
    parts += [f"padding={window.padding!r}"] if window.padding != "valid" else []
    parts += [f"dilation_rate={format_shape(window.dilation)}"] if max(window.dilation) > 1 else []
    return parts
