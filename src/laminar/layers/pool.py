"""Pooling under a window that slides: the largest or the mean of what it covers, for each channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, complaint
from laminar.kernels import channels_last, switch
from laminar.kernels.last_calls import STEP, PoolWindow
from laminar.layers.arithmetic import Arithmetic
from laminar.layers.axes import SpatialLayer
from laminar.layers.windows import Padding, Window, window_settings
from laminar.shapes import Shape, format_shape

__all__ = [
    "AveragePooling",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "MaxPooling",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Pooling",
]


class Pooling(SpatialLayer):
    """The base of poolings: a window that slides over the axes behind the channels.

    Output length of each axis: (n + 2·padding - pool) // stride + 1; there are no parameters.

    Args:
        pool_size: length of the window along each axis, or one number for all.
        strides: step of the window; the pool size where None.
        padding: "valid" (none), "same" (as Keras defines it), or whole numbers, of at most half the pool size.
        name: the layer's name.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input has other axes, or is smaller than the window.
    """

    pool: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: Padding = "valid",
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        owner = type(self).__name__
        self.window = w = Window.make(
            owner, ("pool_size", pool_size), pool_size if strides is None else strides, padding, 1, self.rank
        )
        if not isinstance(w.padding, str) and any(2 * p > k for p, k in zip(w.padding, w.kernel, strict=True)):
            raise ArgumentError(
                complaint(
                    f"{owner}(padding=)",
                    expected=f"at most half of the pool size, {format_shape(w.kernel)}",
                    received=f"{padding!r}",
                    fix='Pass padding="same"',
                )
            )

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.check_axes(shape)
        self.check_sizes(shape, self.window.least(), 'Use a smaller window, or padding="same"')

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return each axis' output length."""
        channels, *sizes = shape
        return Arithmetic((channels, *self.window.output(sizes)), 0, (*self.window.lines(sizes), "parameters: none"))

    def extra_repr(self) -> str:
        """Return the window and what differs from the defaults."""
        return ", ".join(window_settings(self.window, "pool_size", self.window.kernel))


class MaxPooling(Pooling):
    """The base of MaxPooling1D, 2D and 3D: the largest number under a window, for each channel. What is padded never wins.

    See `Pooling` for the arguments.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, L'), (B, C, H', W') or (B, C, D', H', W') from x of shape (B, C, ...)."""
        x, padding = self.window.pad(x, value=-torch.inf)
        return type(self).pool(x, self.window.kernel, self.window.stride, padding)


def _max_pool2d(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """Return `torch.nn.functional.max_pool2d` of x (B, C, H, W), by Laminar's kernel where that is faster."""
    if x.dim() == 4 and x.shape[1] % STEP == 0 and switch.serve_last(x):
        window = PoolWindow((kernel[0], kernel[1]), (stride[0], stride[1]), (padding[0], padding[1]))
        if min(window.output(x)) > 0:
            return channels_last.max_pool(x, window)
    return F.max_pool2d(x, kernel, stride, padding)


class MaxPooling1D(MaxPooling):
    """The largest number under a window that slides along a series, (B, C, L): see `Pooling` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.max_pool1d`.

    >>> MaxPooling1D(2)(torch.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    tensor([[[3., 2.]]])
    """

    rank = 1
    pool = staticmethod(F.max_pool1d)


class MaxPooling2D(MaxPooling):
    """The largest number under a window that slides over an image, (B, C, H, W): see `Pooling` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.max_pool2d`.

    >>> MaxPooling2D(2)(torch.zeros(1, 3, 7, 7)).shape
    torch.Size([1, 3, 3, 3])
    >>> print(MaxPooling2D(3, 2).explain((12, 25, 25)))
    MaxPooling2D(pool_size=(3, 3), strides=(2, 2)): (12, 25, 25) → (12, 12, 12)
      height: (25 − 3 + 2·0)/2 + 1 = 12
      width: (25 − 3 + 2·0)/2 + 1 = 12
      parameters: none
    """

    rank = 2
    pool = staticmethod(_max_pool2d)


class MaxPooling3D(MaxPooling):
    """The largest number under a window that slides through a volume, (B, C, D, H, W): see `Pooling` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.max_pool3d`.

    >>> MaxPooling3D(2)(torch.zeros(1, 3, 4, 6, 6)).shape
    torch.Size([1, 3, 2, 3, 3])
    """

    rank = 3
    pool = staticmethod(F.max_pool3d)


class AveragePooling(Pooling):
    """The base of AveragePooling1D, 2D and 3D: the mean of what a window covers, for each channel.

    With "same" the mean is that of the cells inside the input, as Keras defines it. With padding in whole numbers, the padded
    zeros count as cells, which is PyTorch's default; `count_include_pad` chooses.

    Args:
        pool_size: length of the window along each axis, or one number for all.
        strides: step of the window; the pool size where None.
        padding: "valid" (none), "same" (as Keras defines it), or whole numbers, of at most half the pool size.
        count_include_pad: whether padded zeros count as cells; None for no with "same", yes with whole numbers.
        name: the layer's name.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: Padding = "valid",
        count_include_pad: bool | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(pool_size, strides, padding, name=name)
        default = not isinstance(self.window.padding, str)
        self.count_include_pad = default if count_include_pad is None else bool(count_include_pad)
        self._says_so = self.count_include_pad != default

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, L'), (B, C, H', W') or (B, C, D', H', W') from x of shape (B, C, ...)."""
        w, pool = self.window, type(self).pool
        padded, padding = w.pad(x)
        z = pool(padded, w.kernel, w.stride, padding, count_include_pad=self.count_include_pad)
        if padded is x or self.count_include_pad:
            return z
        inside, _ = w.pad(x.new_ones(1, *x.shape[-self.rank :]))
        return z / pool(inside, w.kernel, w.stride)  # of z = sum / window, what part of the window lies inside the input

    def extra_repr(self) -> str:
        """Return the window and what differs from the defaults."""
        said = [f"count_include_pad={self.count_include_pad}"] if self._says_so else []
        return ", ".join([super().extra_repr(), *said])


class AveragePooling1D(AveragePooling):
    """The mean of what a window covers that slides along a series, (B, C, L): see `AveragePooling` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.avg_pool1d`.

    >>> AveragePooling1D(2, 1, "same")(torch.tensor([[[1.0, 3.0, 5.0]]]))
    tensor([[[2., 4., 5.]]])
    """

    rank = 1
    pool = staticmethod(F.avg_pool1d)


class AveragePooling2D(AveragePooling):
    """The mean of what a window covers that slides over an image, (B, C, H, W): see `AveragePooling` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.avg_pool2d`.

    >>> AveragePooling2D(2)(torch.arange(4.0).reshape(1, 1, 2, 2))
    tensor([[[[1.5000]]]])
    """

    rank = 2
    pool = staticmethod(F.avg_pool2d)


def _avg_pool3d(x: Tensor, *arguments: Any, **options: Any) -> Tensor:
    """Return `torch.nn.functional.avg_pool3d` of x, also for the half precisions on a CPU."""
    if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16):  # which torch's has no kernel for
        return F.avg_pool3d(x.float(), *arguments, **options).to(x.dtype)
    return F.avg_pool3d(x, *arguments, **options)


class AveragePooling3D(AveragePooling):
    """The mean of what a window covers that slides through a volume, (B, C, D, H, W): see `AveragePooling` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.avg_pool3d`.

    >>> AveragePooling3D(2)(torch.zeros(1, 3, 4, 6, 6)).shape
    torch.Size([1, 3, 2, 3, 3])
    """

    rank = 3
    pool = staticmethod(_avg_pool3d)
