"""Convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ShapeError, complaint
from laminar.layers.activation import ActivatedLayer
from laminar.layers.core import WeightOptions, checked, positive
from laminar.layers.windows import Padding, Window
from laminar.shapes import Shape, format_batch, format_shape

__all__ = ["Conv2D"]


class Conv2D(ActivatedLayer):
    """Two-dimensional convolution (cross-correlation, as every library has it) with bias and activation.

    Output height and width: (n + 2·padding - dilation·(kernel - 1) - 1) // stride + 1.

    Args:
        filters: output channels.
        kernel_size: height and width of the kernels, or one number for both.
        strides: step of the window.
        padding: "valid" (none), "same" (as Keras defines it, with stride and dilation too), or whole numbers.
        dilation_rate: distance between the kernel's entries.
        groups: channel groups that do not see each other; divides the input channels and the filters.
        activation: name or function; None for none.
        **options: `use_bias`, `kernel_initializer`, `bias_initializer`, `name`: see `WeightOptions`.

    Attributes:
        weight: (filters, channels / groups, height, width), torch's layout.
        bias: (filters,), or None.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input is not (batch, channels, height, width), or smaller than the kernel.

    >>> import torch
    >>> Conv2D(2, 3, strides=2)(torch.zeros(1, 3, 7, 7)).shape
    torch.Size([1, 2, 3, 3])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Padding = "valid",
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        **options: Unpack[WeightOptions],
    ) -> None:
        super().__init__(activation, name=options.get("name"))
        self.filters = positive("Conv2D(filters=)", filters)
        self.groups = positive("Conv2D(groups=)", groups)
        self.window = Window.make("Conv2D", ("kernel_size", kernel_size), strides, padding, dilation_rate, 2)
        self.options = checked("Conv2D", options)

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.window.check(self.label, shape, "batch, channels, height, width")
        if shape[0] % self.groups or self.filters % self.groups:
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"channels and filters that groups={self.groups} divides",
                    received=f"{shape[0]} channels and {self.filters} filters",
                    fix="Choose groups that divides both",
                )
            )
        if self.built and shape[0] != self.weight.shape[1] * self.groups:
            channels = self.weight.shape[1] * self.groups
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"input of {channels} channels",
                    received=f"{format_batch(shape)}, {shape[0]} channels",
                    fix=f"Give it {channels} channels, or build a new layer",
                )
            )

    def build(self, shape: Shape) -> None:
        """Declare weight and bias for observations of `shape` (C, H, W)."""
        self.weight = self.learnable(
            (self.filters, shape[0] // self.groups, *self.window.kernel),
            init=self.options.get("kernel_initializer", "glorot_uniform"),
        )
        self.bias = (
            self.learnable(self.filters, init=self.options.get("bias_initializer", "zeros"))
            if self.options.get("use_bias", True)
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, filters, H', W') from x of shape (B, C, H, W)."""
        x, padding = self.window.pad(x)
        return self.activate(
            F.conv2d(x, self.weight, self.bias, self.window.stride, padding, self.window.dilation, self.groups)
        )

    def extra_repr(self) -> str:
        """Return the filters and what differs from the defaults."""
        w = self.window
        parts = [f"filters={self.filters}", f"kernel_size={format_shape(w.kernel)}"]
        parts += [f"strides={format_shape(w.stride)}"] if w.stride != (1, 1) else []
        parts += [f"padding={w.padding!r}"] if w.padding != "valid" else []
        parts += [f"dilation_rate={format_shape(w.dilation)}"] if w.dilation != (1, 1) else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        return ", ".join([*parts, *filter(None, [super().extra_repr()])])
