"""Convolutions of each channel by itself, alone or followed by one that mixes the channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from torch import Tensor
from torch.nn import functional as F

from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.conv import KernelLayer, counted, kernels
from laminar.layers.core import positive
from laminar.layers.windows import Padding, Window
from laminar.shapes import Shape

__all__ = ["DepthwiseConv2D", "DepthwiseOptions", "SeparableConv2D", "SeparableOptions"]


class DepthwiseOptions(TypedDict, total=False):
    """How the weights of a DepthwiseConv2D start.

    Attributes:
        use_bias: whether a bias is added (True).
        depthwise_initializer: initializer of the kernels ("glorot_uniform").
        bias_initializer: initializer of the bias ("zeros").
        name: the layer's name.
    """

    use_bias: bool
    depthwise_initializer: Any
    bias_initializer: Any
    name: str | None


class SeparableOptions(DepthwiseOptions, total=False):
    """How the weights of a SeparableConv2D start.

    Attributes:
        use_bias: whether a bias is added (True).
        depthwise_initializer: initializer of the kernels of single channels ("glorot_uniform").
        pointwise_initializer: initializer of the weights that mix channels ("glorot_uniform").
        bias_initializer: initializer of the bias ("zeros").
        name: the layer's name.
    """

    pointwise_initializer: Any


class _Depthwise(KernelLayer):
    """What both layers share: `depth_multiplier` kernels for each input channel, spanning that channel alone."""

    rank = 2

    def __init__(
        self,
        window: Window,
        depth_multiplier: int,
        activation: str | Callable[[Tensor], Tensor] | None,
        options: Mapping[str, Any],
        table: type,
    ) -> None:
        super().__init__(window, activation, options, table)
        self.depth_multiplier = positive(f"{type(self).__name__}(depth_multiplier=)", depth_multiplier)

    def depthwise_shape(self, channels: int) -> Shape:
        """Return the shape of the depthwise kernels, (channels · depth_multiplier, 1, height, width)."""
        return (channels * self.depth_multiplier, 1, *self.window.kernel)

    def depthwise(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return (B, C·m, H', W') from x of shape (B, C, H, W)."""
        x, padding = self.window.pad(x)
        return F.conv2d(x, weight, bias, self.window.stride, padding, self.window.dilation, groups=x.shape[-3])

    def sentence(self, channels: int) -> str:
        """Return what the depthwise kernels span, in words."""
        return f"{counted(self.depth_multiplier, 'kernel')} for each of {counted(channels, 'input channel')}, spanning it alone"

    def multiplier(self) -> list[str]:
        """Return the depth multiplier where it is not 1, as it stands in a call."""
        return [f"depth_multiplier={self.depth_multiplier}"] if self.depth_multiplier != 1 else []


class DepthwiseConv2D(_Depthwise):
    """Convolves each channel of an image by kernels of its own: z[c·m + j] = activation(x[c] ⋆ weight[c·m + j] + bias).

    Args:
        kernel_size: height and width of the kernels, or one number for both.
        strides: step of the window.
        padding: "valid" (none), "same" (as Keras defines it), or whole numbers.
        depth_multiplier: m, kernels for each input channel.
        dilation_rate: distance between the kernel's entries.
        activation: name or function; None for none.
        **options: `use_bias`, `depthwise_initializer`, `bias_initializer`, `name`: see `DepthwiseOptions`.

    Attributes:
        weight: (channels · m, 1, height, width), torch's layout for as many groups as channels.
        bias: (channels · m,), or None.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input is not (batch, channels, height, width), or smaller than the kernel.

    Source: row R17 of the mission; Chollet, "Xception: deep learning with depthwise separable convolutions", 2017.

    >>> import torch
    >>> DepthwiseConv2D(3, depth_multiplier=2)(torch.zeros(1, 4, 8, 8)).shape
    torch.Size([1, 8, 6, 6])
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Padding = "valid",
        depth_multiplier: int = 1,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        **options: Unpack[DepthwiseOptions],
    ) -> None:
        window = Window.make(type(self).__name__, ("kernel_size", kernel_size), strides, padding, dilation_rate, 2)
        super().__init__(window, depth_multiplier, activation, options, DepthwiseOptions)

    def build(self, shape: Shape) -> None:
        """Declare weight and bias for observations of `shape` (C, H, W)."""
        self.weight = self.new_weight(self.depthwise_shape(shape[0]), "depthwise_initializer")
        self.bias = self.new_bias(shape[0] * self.depth_multiplier)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C·m, H', W') from x of shape (B, C, H, W)."""
        return self.activate(self.depthwise(x, self.weight, self.bias))

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return height, width, what a kernel spans, and the parameters."""
        channels, *sizes = shape
        number, *kernel = self.depthwise_shape(channels)
        biases = number if self.use_bias else 0
        total = number * math.prod(kernel) + biases
        lines = (self.sentence(channels), f"parameters: {kernels(number, kernel, biases)} = {count(total)}")
        return Arithmetic((number, *self.window.output(sizes)), total, (*self.window.lines(sizes), *lines))

    def extra_repr(self) -> str:
        """Return the kernel size and what differs from the defaults."""
        return ", ".join(self.settings(*self.multiplier()))


class SeparableConv2D(_Depthwise):
    """Convolves each channel of an image by itself, then mixes the channels at each place (1×1), with bias and activation.

    It needs C·m·(K² + filters) weights where Conv2D needs C·K²·filters.

    Args:
        filters: output channels.
        kernel_size: height and width of the kernels, or one number for both.
        strides: step of the window.
        padding: "valid" (none), "same" (as Keras defines it), or whole numbers.
        dilation_rate: distance between the kernel's entries.
        depth_multiplier: m, kernels for each input channel.
        activation: name or function; None for none.
        **options: `use_bias`, `depthwise_initializer`, `pointwise_initializer`, `bias_initializer`, `name`: see
            `SeparableOptions`.

    Attributes:
        depthwise_weight: (channels · m, 1, height, width), torch's layout for as many groups as channels.
        pointwise_weight: (filters, channels · m, 1, 1).
        bias: (filters,), or None.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input is not (batch, channels, height, width), or smaller than the kernel.

    Source: row R17 of the mission; Chollet, "Xception: deep learning with depthwise separable convolutions", 2017.

    >>> import torch
    >>> SeparableConv2D(6, 3)(torch.zeros(1, 4, 8, 8)).shape
    torch.Size([1, 6, 6, 6])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Padding = "valid",
        dilation_rate: int | Sequence[int] = 1,
        depth_multiplier: int = 1,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        **options: Unpack[SeparableOptions],
    ) -> None:
        owner = type(self).__name__
        window = Window.make(owner, ("kernel_size", kernel_size), strides, padding, dilation_rate, 2)
        super().__init__(window, depth_multiplier, activation, options, SeparableOptions)
        self.filters = positive(f"{owner}(filters=)", filters)

    def build(self, shape: Shape) -> None:
        """Declare both weights and the bias for observations of `shape` (C, H, W)."""
        inner = self.depthwise_shape(shape[0])
        self.depthwise_weight = self.new_weight(inner, "depthwise_initializer")
        self.pointwise_weight = self.new_weight((self.filters, inner[0], 1, 1), "pointwise_initializer")
        self.bias = self.new_bias(self.filters)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, filters, H', W') from x of shape (B, C, H, W)."""
        return self.activate(F.conv2d(self.depthwise(x, self.depthwise_weight, None), self.pointwise_weight, self.bias))

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return height, width, what the kernels span, and the parameters of both steps."""
        channels, *sizes = shape
        number, *kernel = self.depthwise_shape(channels)
        biases = self.filters if self.use_bias else 0
        depthwise, pointwise = number * math.prod(kernel), self.filters * number + biases
        lines = (
            f"{self.sentence(channels)}; then {counted(self.filters, 'kernel')} of 1×1 over all of their outputs",
            f"depthwise: {kernels(number, kernel)} = {count(depthwise)}",
            f"pointwise: {kernels(self.filters, (number, 1, 1), biases)} = {count(pointwise)}",
            f"parameters: {count(depthwise)} + {count(pointwise)} = {count(depthwise + pointwise)}",
        )
        output = (self.filters, *self.window.output(sizes))
        return Arithmetic(output, depthwise + pointwise, (*self.window.lines(sizes), *lines))

    def extra_repr(self) -> str:
        """Return the filters and what differs from the defaults."""
        return ", ".join([f"filters={self.filters}", *self.settings(*self.multiplier())])
