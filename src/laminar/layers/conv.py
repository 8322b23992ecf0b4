"""Convolutions over one, two and three axes, and what all layers with kernels share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

from torch import Tensor
from torch.nn import functional as F

from laminar import activations
from laminar.errors import ShapeError, complaint
from laminar.kernels import switch
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.axes import SpatialLayer, channels_last_fix
from laminar.layers.core import WeightedLayer, WeightOptions, positive
from laminar.layers.fast_conv import Geometry, convolve
from laminar.layers.windows import Padding, Window, window_settings
from laminar.shapes import Shape, format_batch

__all__ = ["Conv1D", "Conv2D", "Conv3D", "Convolution", "KernelLayer", "counted", "kernels"]


def counted(n: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "kernel"), counted(1000, "kernel"), counted(2, "bias", "biases")
    ('1 kernel', '1 000 kernels', '2 biases')
    """
    return f"{count(n)} {singular if n == 1 else plural or singular + 's'}"


def kernels(number: int, shape: Sequence[int], biases: int = 0) -> str:
    """Return the left side of a parameter count.

    >>> kernels(64, (32, 5, 5), 64)
    '64 kernels of 32×5×5 + 64 biases'
    """
    added = f" + {counted(biases, 'bias', 'biases')}" if biases else ""
    return f"{counted(number, 'kernel')} of {'×'.join(map(str, shape))}{added}"


class KernelLayer(WeightedLayer, SpatialLayer):
    """The base of layers whose weights are kernels under a window that slides over the axes behind the channels.

    Attributes:
        window: kernel size, strides, padding and dilation.
    """

    def __init__(
        self,
        window: Window,
        activation: str | Callable[[Tensor], Tensor] | None,
        options: Mapping[str, Any],
        table: type = WeightOptions,
    ) -> None:
        super().__init__(activation, options, table)
        self.window = window

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.check_axes(shape)
        self.check_sizes(shape, self.window.least(), 'Use a smaller window, or padding="same"')
        self.check_channels(shape)

    def check_channels(self, shape: Shape) -> None:
        """Refuse observations of another number of channels than the kernels were built for.

        Raises:
            ShapeError: saying how many these are.
        """
        channels = self.input_shape[0] if self.built and self.input_shape else shape[0]
        if isinstance(channels, int) and shape[0] != channels:
            asked = counted(channels, "channel")
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"input of {asked}",
                    received=f"{format_batch(shape)}, {counted(shape[0], 'channel')}",
                    fix=channels_last_fix(shape, f"Give it {asked}, or build a new layer", channels=channels),
                )
            )

    def settings(self, *others: str) -> list[str]:
        """Return the window's settings, `others`, and the activation, as they stand in a call."""
        activation = super().extra_repr()
        return [*window_settings(self.window, "kernel_size", (1,) * self.rank), *others, *filter(None, [activation])]


class Convolution(KernelLayer):
    """The base of Conv1D, Conv2D and Conv3D: a convolution (cross-correlation, as every library has it), bias, activation.

    z[b, f] = activation(bias[f] + the sum over the channels c of the group of the correlation of x[b, c] with weight[f, c]).

    Output length of each axis: (n + 2·padding - dilation·(kernel - 1) - 1) // stride + 1.

    Args:
        filters: output channels, one for each kernel.
        kernel_size: length of the kernels along each axis, or one number for all.
        strides: step of the window.
        padding: "valid" (none), "same" (as Keras defines it, with stride and dilation too), or whole numbers.
        dilation_rate: distance between the kernel's entries.
        groups: channel groups that do not see each other; divides the input channels and the filters.
        activation: name or function; None for none. A softmax sums over the filters.
        **options: `use_bias`, `kernel_initializer`, `bias_initializer`, `name`: see `WeightOptions`.

    Attributes:
        weight: (filters, channels / groups, *kernel_size), torch's layout.
        bias: (filters,), or None.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input has other axes, other channels than before, or is smaller than the kernel.
        UnknownNameError: on an unknown activation, initializer or option.
    """

    convolve: ClassVar[Callable[..., Tensor]]

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
        owner = type(self).__name__
        window = Window.make(owner, ("kernel_size", kernel_size), strides, padding, dilation_rate, self.rank)
        super().__init__(window, activation, options)
        self.filters = positive(f"{owner}(filters=)", filters)
        self.groups = positive(f"{owner}(groups=)", groups)

    def check_channels(self, shape: Shape) -> None:
        """Refuse channels that the groups do not divide, or that the kernels were not built for.

        Raises:
            ShapeError: saying what was expected.
        """
        if shape[0] % self.groups or self.filters % self.groups:
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"channels and filters that groups={self.groups} divides",
                    received=f"{counted(shape[0], 'channel')} and {counted(self.filters, 'filter')}",
                    fix=channels_last_fix(shape, "Choose groups that divides both"),
                )
            )
        super().check_channels(shape)

    def build(self, shape: Shape) -> None:
        """Declare weight and bias for observations of `shape` (C, ...)."""
        self.weight = self.new_weight((self.filters, shape[0] // self.groups, *self.window.kernel))
        self.bias = self.new_bias(self.filters)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, filters, L'), (B, filters, H', W') or (B, filters, D', H', W') from x of shape (B, C, ...)."""
        x, padding = self.window.pad(x)
        w = self.window
        return self.activate(type(self).convolve(x, self.weight, self.bias, w.stride, padding, w.dilation, self.groups))

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return each axis' output length, what a kernel spans, and the parameters."""
        channels, *sizes = shape
        each = channels // self.groups
        if self.groups > 1:
            sentence = f"{self.groups} groups: every kernel spans {each} of the {channels} input channels"
        elif channels > 1:
            sentence = f"every kernel spans all {channels} input channels, and its output is the sum over them"
        else:
            sentence = "every kernel spans the one input channel"
        kernel = (each, *self.window.kernel)
        biases = self.filters if self.use_bias else 0
        total = self.filters * math.prod(kernel) + biases
        line = f"parameters: {kernels(self.filters, kernel, biases)} = {count(total)}"
        return Arithmetic((self.filters, *self.window.output(sizes)), total, (*self.window.lines(sizes), sentence, line))

    def extra_repr(self) -> str:
        """Return the filters and what differs from the defaults."""
        groups = [f"groups={self.groups}"] if self.groups != 1 else []
        return ", ".join([f"filters={self.filters}", *self.settings(*groups)])


class Conv1D(Convolution):
    """Convolution along the one axis of a series, (B, C, L): see `Convolution` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.conv1d`.

    >>> import torch
    >>> Conv1D(4, 3, padding="same")(torch.zeros(2, 8, 20)).shape
    torch.Size([2, 4, 20])
    """

    rank = 1
    convolve = staticmethod(F.conv1d)


class Conv2D(Convolution):
    """Convolution over the height and width of images, (B, C, H, W): see `Convolution` for the arguments.

    Source: rows R17 and R27 of the mission; `torch.nn.functional.conv2d`.

    >>> import torch
    >>> Conv2D(2, 3, strides=2)(torch.zeros(1, 3, 7, 7)).shape
    torch.Size([1, 2, 3, 3])
    >>> print(Conv2D(64, 5).explain((32, 14, 14)))
    Conv2D(filters=64, kernel_size=(5, 5)): (32, 14, 14) → (64, 10, 10)
      height: (14 − 5 + 2·0)/1 + 1 = 10
      width: (14 − 5 + 2·0)/1 + 1 = 10
      every kernel spans all 32 input channels, and its output is the sum over them
      parameters: 64 kernels of 32×5×5 + 64 biases = 51 264
    """

    rank = 2
    convolve = staticmethod(F.conv2d)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, filters, H', W') from x of shape (B, C, H, W)."""
        relu = self.activation is activations.relu
        z = self.by_kernel(x, relu=relu)
        if z is None:
            return super().forward(x)
        return z if relu else self.activate(z)

    def by_kernel(self, x: Tensor, *, relu: bool) -> Tensor | None:
        """Return the convolution of x (B, C, H, W), through a ReLU or not; None where torch is to do it.

        The layer's own activation is left aside.
        """
        if not switch.wanted() or not isinstance(x, Tensor) or x.dim() != 4:
            return None
        x, padding = self.window.pad(x)
        how = Geometry(self.window.stride, padding, self.window.dilation, self.groups)
        return convolve(x, self.weight, self.bias, how, relu=relu)


class Conv3D(Convolution):
    """Convolution over the depth, height and width of volumes, (B, C, D, H, W): see `Convolution` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.conv3d`.

    >>> import torch
    >>> Conv3D(4, (1, 3, 3))(torch.zeros(1, 2, 5, 8, 8)).shape
    torch.Size([1, 4, 5, 6, 6])
    """

    rank = 3
    convolve = staticmethod(F.conv3d)
