"""Pooling over all places at once: one number for each channel."""

from __future__ import annotations

import math

from torch import Tensor

from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.axes import SpatialLayer
from laminar.shapes import Shape

__all__ = [
    "GlobalAveragePooling",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalMaxPooling",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GlobalPooling",
]


class GlobalPooling(SpatialLayer):
    """The base of poolings over every axis behind the channels.

    Args:
        keepdims: whether these axes stay, with length 1.
        name: the layer's name.

    Raises:
        ShapeError: if the input has other axes, or one of length 0.
    """

    def __init__(self, keepdims: bool = False, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.keepdims = bool(keepdims)
        self._axes = tuple(range(-self.rank, 0))

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.check_axes(shape)
        self.check_sizes(shape, (1,) * self.rank, "Use smaller windows before it")

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return how many numbers are pooled."""
        channels, *sizes = shape
        line = f"numbers pooled in each channel: {'×'.join(map(str, sizes))} = {count(math.prod(sizes))}"
        return Arithmetic((channels, *(1,) * self.rank * self.keepdims), 0, (line, "parameters: none"))

    def extra_repr(self) -> str:
        """Return what differs from the defaults."""
        return "keepdims=True" if self.keepdims else ""


class GlobalAveragePooling(GlobalPooling):
    """The base of GlobalAveragePooling1D, 2D and 3D: the mean of each channel. See `GlobalPooling` for the arguments."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C), or (B, C, 1, ...), from x of shape (B, C, ...)."""
        return x.mean(self._axes, keepdim=self.keepdims)


class GlobalAveragePooling1D(GlobalAveragePooling):
    """The mean of each channel of a series: (B, C, L) becomes (B, C). See `GlobalPooling` for the arguments.

    Source: rows R11 and R25 of the mission; Lin, Chen, Yan, "Network in network", 2014.

    >>> import torch
    >>> GlobalAveragePooling1D()(torch.tensor([[[1.0, 2.0, 6.0]]]))
    tensor([[3.]])
    """

    rank = 1


class GlobalAveragePooling2D(GlobalAveragePooling):
    """The mean of each channel of an image: (B, C, H, W) becomes (B, C). See `GlobalPooling` for the arguments.

    Source: rows R11 and R25 of the mission; Lin, Chen, Yan, "Network in network", 2014.

    >>> import torch
    >>> GlobalAveragePooling2D()(torch.ones(2, 64, 8, 8)).shape
    torch.Size([2, 64])
    >>> GlobalAveragePooling2D(keepdims=True)(torch.ones(2, 64, 8, 8)).shape
    torch.Size([2, 64, 1, 1])
    """

    rank = 2


class GlobalAveragePooling3D(GlobalAveragePooling):
    """The mean of each channel of a volume: (B, C, D, H, W) becomes (B, C). See `GlobalPooling` for the arguments.

    Source: rows R11 and R25 of the mission; Lin, Chen, Yan, "Network in network", 2014.

    >>> import torch
    >>> GlobalAveragePooling3D()(torch.ones(2, 8, 4, 6, 6)).shape
    torch.Size([2, 8])
    """

    rank = 3


class GlobalMaxPooling(GlobalPooling):
    """The base of GlobalMaxPooling1D, 2D and 3D: the largest number of each channel, equals sharing the gradient.

    See `GlobalPooling` for the arguments.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C), or (B, C, 1, ...), from x of shape (B, C, ...)."""
        return x.amax(self._axes, keepdim=self.keepdims)


class GlobalMaxPooling1D(GlobalMaxPooling):
    """The largest number of each channel of a series: (B, C, L) becomes (B, C). See `GlobalPooling` for the arguments.

    Source: row R25 of the mission.

    >>> import torch
    >>> GlobalMaxPooling1D()(torch.tensor([[[1.0, 2.0, 6.0]]]))
    tensor([[6.]])
    """

    rank = 1


class GlobalMaxPooling2D(GlobalMaxPooling):
    """The largest number of each channel of an image: (B, C, H, W) becomes (B, C). See `GlobalPooling` for the arguments.

    Source: row R25 of the mission.

    >>> import torch
    >>> GlobalMaxPooling2D()(torch.ones(2, 64, 8, 8)).shape
    torch.Size([2, 64])
    """

    rank = 2


class GlobalMaxPooling3D(GlobalMaxPooling):
    """The largest number of each channel of a volume: (B, C, D, H, W) becomes (B, C). See `GlobalPooling` for the arguments.

    Source: row R25 of the mission.

    >>> import torch
    >>> GlobalMaxPooling3D()(torch.ones(2, 8, 4, 6, 6)).shape
    torch.Size([2, 8])
    """

    rank = 3
