"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, complaint
from laminar.layers.base import Layer
from laminar.layers.windows import Padding, Window
from laminar.shapes import Shape, format_shape

__all__ = ["MaxPooling2D"]


class MaxPooling2D(Layer):
    """The largest number under a window that slides over height and width, for each channel.

    Args:
        pool_size: height and width of the window, or one number for both.
        strides: step of the window; the pool size where None.
        padding: "valid" (none), "same" (as Keras defines it), or whole numbers. What is padded never wins.
        name: the layer's name.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input is not (batch, channels, height, width), or smaller than the window.

    >>> MaxPooling2D(2)(torch.zeros(1, 3, 7, 7)).shape
    torch.Size([1, 3, 3, 3])
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: Padding = "valid",
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.window = Window.make(
            "MaxPooling2D", ("pool_size", pool_size), pool_size if strides is None else strides, padding, 1, 2
        )
        if not isinstance(self.window.padding, str) and any(
            2 * p > k for p, k in zip(self.window.padding, self.window.kernel, strict=True)
        ):
            raise ArgumentError(
                complaint(
                    "MaxPooling2D(padding=)",
                    expected=f"at most half of the pool size, {format_shape(self.window.kernel)}",
                    received=f"{padding!r}",
                    fix='Pass padding="same"',
                )
            )

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.window.check(self.label, shape, "batch, channels, height, width")

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H', W') from x of shape (B, C, H, W)."""
        x, padding = self.window.pad(x, value=-torch.inf)
        return F.max_pool2d(x, self.window.kernel, self.window.stride, padding)

    def extra_repr(self) -> str:
        """Return the window and what differs from the defaults."""
        w = self.window
        parts = [f"pool_size={format_shape(w.kernel)}"]
        parts += [f"strides={format_shape(w.stride)}"] if w.stride != w.kernel else []
        parts += [f"padding={w.padding!r}"] if w.padding != "valid" else []
        return ", ".join(parts)
