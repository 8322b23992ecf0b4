"""Layers that move, repeat, add and remove places: padding with zeros, cropping, enlarging, and axes in another order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, Literal, TypeAlias

from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic
from laminar.layers.axes import AXES, SpatialLayer, format_pairs, one_each, pair_each
from laminar.layers.base import Layer
from laminar.shapes import Shape, format_batch, format_shape

__all__ = [
    "Cropping",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Permute",
    "Sides",
    "UpSampling",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
]

Sides: TypeAlias = int | Sequence[int | Sequence[int]]
"""A number for all sides; or for each axis a number for both sides or a pair (before, after); with one axis, also a pair."""


class ZeroPadding(SpatialLayer):
    """The base of ZeroPadding1D, 2D and 3D: zeros around the input, along every axis behind the channels.

    Args:
        padding: how many; see `Sides`.
        name: the layer's name.

    Raises:
        ArgumentError: if these are not whole numbers of at least 0.
        ShapeError: if the input has other axes.
    """

    def __init__(self, padding: Sides = 1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.padding = pair_each(f"{type(self).__name__}(padding=)", padding, self.rank)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, before + L + after) and the like for more axes, from x of shape (B, C, ...)."""
        return F.pad(x, [n for pair in reversed(self.padding) for n in pair])

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return each axis' output length."""
        axes = list(zip(AXES[self.rank], shape[1:], self.padding, strict=True))
        lines = (f"{name}: {before} + {n} + {after} = {before + n + after}" for name, n, (before, after) in axes)
        output = (shape[0], *(before + n + after for _, n, (before, after) in axes))
        return Arithmetic(output, 0, (*lines, "parameters: none"))

    def extra_repr(self) -> str:
        """Return the padding."""
        return f"padding={format_pairs(self.padding)}"


class ZeroPadding1D(ZeroPadding):
    """Zeros before and after a series, (B, C, L): see `ZeroPadding` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.pad`.

    >>> import torch
    >>> ZeroPadding1D((1, 2))(torch.ones(1, 1, 2))
    tensor([[[0., 1., 1., 0., 0.]]])
    """

    rank = 1


class ZeroPadding2D(ZeroPadding):
    """Zeros around an image, (B, C, H, W): see `ZeroPadding` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.pad`.

    >>> import torch
    >>> ZeroPadding2D(((1, 0), (2, 3)))(torch.ones(1, 3, 4, 4)).shape
    torch.Size([1, 3, 5, 9])
    """

    rank = 2


class ZeroPadding3D(ZeroPadding):
    """Zeros around a volume, (B, C, D, H, W): see `ZeroPadding` for the arguments.

    Source: row R17 of the mission; `torch.nn.functional.pad`.

    >>> import torch
    >>> ZeroPadding3D((0, 1, 2))(torch.ones(1, 3, 4, 4, 4)).shape
    torch.Size([1, 3, 4, 6, 8])
    """

    rank = 3


class Cropping(SpatialLayer):
    """The base of Cropping1D, 2D and 3D: what is left when places are cut off at the ends of every axis behind the channels.

    The output is a view of the input.

    Args:
        cropping: how many; see `Sides`.
        name: the layer's name.

    Raises:
        ArgumentError: if these are not whole numbers of at least 0.
        ShapeError: if the input has other axes, or nothing would be left of one.
    """

    def __init__(self, cropping: Sides = 1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.cropping = pair_each(f"{type(self).__name__}(cropping=)", cropping, self.rank)

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.check_axes(shape)
        self.check_sizes(shape, tuple(before + after + 1 for before, after in self.cropping), "Crop less")

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, L - before - after) and the like for more axes, from x of shape (B, C, ...)."""
        for axis, (before, after) in enumerate(self.cropping, -self.rank):
            x = x.narrow(axis, before, x.shape[axis] - before - after)
        return x

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return each axis' output length."""
        axes = list(zip(AXES[self.rank], shape[1:], self.cropping, strict=True))
        lines = (f"{name}: {n} − {before} − {after} = {n - before - after}" for name, n, (before, after) in axes)
        output = (shape[0], *(n - before - after for _, n, (before, after) in axes))
        return Arithmetic(output, 0, (*lines, "parameters: none"))

    def extra_repr(self) -> str:
        """Return the cropping."""
        return f"cropping={format_pairs(self.cropping)}"


class Cropping1D(Cropping):
    """A series without its ends, (B, C, L): see `Cropping` for the arguments.

    Source: row R17 of the mission.

    >>> import torch
    >>> Cropping1D((1, 2))(torch.arange(5.0).reshape(1, 1, 5))
    tensor([[[1., 2.]]])
    """

    rank = 1


class Cropping2D(Cropping):
    """An image without its margins, (B, C, H, W): see `Cropping` for the arguments. By default nothing is cut off, as in Keras.

    Source: row R17 of the mission.

    >>> import torch
    >>> Cropping2D(((1, 0), (2, 1)))(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 3, 7, 5])
    """

    rank = 2

    def __init__(self, cropping: Sides = 0, *, name: str | None = None) -> None:
        super().__init__(cropping, name=name)


class Cropping3D(Cropping):
    """A volume without its margins, (B, C, D, H, W): see `Cropping` for the arguments.

    Source: row R17 of the mission.

    >>> import torch
    >>> Cropping3D((0, 1, 2))(torch.zeros(1, 3, 8, 8, 8)).shape
    torch.Size([1, 3, 8, 6, 4])
    """

    rank = 3


class UpSampling(SpatialLayer):
    """The base of UpSampling1D, 2D and 3D: every place repeated along every axis behind the channels.

    Args:
        size: how often along each axis, or one number for all.
        name: the layer's name.

    Raises:
        ArgumentError: if these are not whole numbers of at least 1.
        ShapeError: if the input has other axes.
    """

    def __init__(self, size: int | Sequence[int] = 2, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.size = one_each(f"{type(self).__name__}(size=)", size, self.rank, least=1)

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.check_axes(shape)
        self.check_sizes(shape, (1,) * self.rank, "Use smaller windows before it")

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, size·L) and the like for more axes, from x of shape (B, C, ...)."""
        for axis, times in enumerate(self.size, -self.rank):  # torch's "nearest" takes a wrong place for 41, 47 and others
            x = x.repeat_interleave(times, axis) if times > 1 else x
        return x

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return each axis' output length."""
        output = (shape[0], *(s * n for s, n in zip(self.size, shape[1:], strict=True)))
        axes = zip(AXES[self.rank], self.size, shape[1:], output[1:], strict=True)
        return Arithmetic(output, 0, (*(f"{name}: {s}·{n} = {z}" for name, s, n, z in axes), "parameters: none"))

    def extra_repr(self) -> str:
        """Return the size."""
        return f"size={format_shape(self.size)}"


class UpSampling1D(UpSampling):
    """A series with every place repeated, (B, C, L): see `UpSampling` for the arguments.

    Source: row R17 of the mission; `torch.repeat_interleave`.

    >>> import torch
    >>> UpSampling1D(3)(torch.tensor([[[1.0, 2.0]]]))
    tensor([[[1., 1., 1., 2., 2., 2.]]])
    """

    rank = 1


class UpSampling2D(UpSampling):
    """An image enlarged, (B, C, H, W): every place repeated, or places in between filled in linearly.

    Args:
        size: how often height and width, or one number for both.
        interpolation: "nearest" or "bilinear", which takes the centres of places for corners of none (`align_corners=False`).
        name: the layer's name.

    Raises:
        ArgumentError: if these are not whole numbers of at least 1, or the interpolation is another.
        ShapeError: if the input is not (batch, channels, height, width).

    Source: row R17 of the mission; `torch.repeat_interleave`, `torch.nn.functional.interpolate`.

    >>> import torch
    >>> UpSampling2D((1, 2))(torch.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.]]]])
    >>> UpSampling2D((1, 2), "bilinear")(torch.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1.0000, 1.2500, 1.7500, 2.0000]]]])
    """

    rank = 2

    def __init__(
        self,
        size: int | Sequence[int] = 2,
        interpolation: Literal["nearest", "bilinear"] = "nearest",
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(size, name=name)
        if interpolation not in ("nearest", "bilinear"):
            raise ArgumentError(
                complaint(
                    f"{type(self).__name__}(interpolation=)",
                    expected='"nearest" or "bilinear"',
                    received=f"{interpolation!r}",
                    fix='Pass interpolation="bilinear"',
                )
            )
        self.interpolation = interpolation

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, size·H, size·W) from x of shape (B, C, H, W)."""
        if self.interpolation == "nearest":
            return super().forward(x)
        return F.interpolate(x, [n * s for n, s in zip(x.shape[-2:], self.size, strict=True)], mode="bilinear")

    def extra_repr(self) -> str:
        """Return the size and the interpolation."""
        bilinear = [f"interpolation={self.interpolation!r}"] if self.interpolation != "nearest" else []
        return ", ".join([super().extra_repr(), *bilinear])


class UpSampling3D(UpSampling):
    """A volume with every place repeated, (B, C, D, H, W): see `UpSampling` for the arguments.

    Source: row R17 of the mission; `torch.repeat_interleave`.

    >>> import torch
    >>> UpSampling3D((1, 2, 3))(torch.zeros(1, 3, 4, 4, 4)).shape
    torch.Size([1, 3, 4, 8, 12])
    """

    rank = 3


class Permute(Layer):
    """The axes of an observation in another order. The output is a view of the input.

    Args:
        dims: for each axis of the output, which axis of a batch it was: 1 is the first after the batch axis, as in Keras.
        name: the layer's name.

    Raises:
        ArgumentError: if these are not the numbers 1 to n in some order.
        ShapeError: if the observations have not n axes.

    Source: `torch.permute`.

    >>> import torch
    >>> Permute((3, 1, 2))(torch.zeros(5, 28, 14, 3)).shape  # channels last to channels first
    torch.Size([5, 3, 28, 14])
    """

    def __init__(self, dims: Sequence[int], *, name: str | None = None) -> None:
        super().__init__(name=name)
        entries: list[Any] = list(dims) if isinstance(dims, Iterable) else [dims]
        whole = all(isinstance(n, Integral) and not isinstance(n, bool) for n in entries)
        if not entries or not whole or sorted(entries) != list(range(1, len(entries) + 1)):
            raise ArgumentError(
                complaint(
                    "Permute(dims=)",
                    expected="the numbers of all axes but the batch, 1 the first, in some order",
                    received=f"{dims!r}",
                    fix="Pass (2, 1) to swap two axes",
                )
            )
        self.dims = tuple(int(n) for n in entries)

    def build(self, shape: Shape) -> None:
        """Declare nothing; being there makes the first input go through `check_input`."""

    def check_input(self, shape: Shape) -> None:
        """Refuse observations of another number of axes.

        Raises:
            ShapeError: saying what was expected.
        """
        if len(shape) != len(self.dims):
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"observations of {len(self.dims)} axes",
                    received=f"{format_batch(shape)}, {len(shape)} in each",
                    fix="Give dims a number for each axis but the batch",
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, ...) with the axes behind the batch axis in the order of `dims`."""
        return x.permute(0, *self.dims)

    def extra_repr(self) -> str:
        """Return the order."""
        return f"dims={format_shape(self.dims)}"
