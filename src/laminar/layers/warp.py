"""Augmentation by fractions of a pixel: images shifted, turned and zoomed, each by amounts of its own, on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.layers.augment import Augmentation, Fill, checked_fill, interval, uniform
from laminar.names import unknown_name

__all__ = ["Interpolation", "RandomRotation", "RandomTranslation", "RandomZoom", "warp"]

Interpolation: TypeAlias = Literal["bilinear", "nearest"]


def warp(
    x: Tensor,
    matrix: Tensor,
    fill_mode: Fill = "reflect",
    interpolation: Interpolation = "bilinear",
    fill_value: float = 0.0,
) -> Tensor:
    """Return each image moved by an affine map of its own.

    Args:
        x: images, (B, C, H, W), floats.
        matrix: (B, 2, 3): where each pixel of the result is taken from. Applied to (x, y, 1), the place in the result in pixels
            from the image's centre, x to the right and y downwards, it gives the place in x, likewise.
        fill_mode: what is outside of x; see `laminar.layers.augment.Fill`.
        interpolation: between four pixels ("bilinear"), or the nearest one.
        fill_value: the number for "constant".

    Source: torch's `grid_sample`, whose sampling and derivative it is; "wrap" is a border of one pixel around it.

    >>> right = torch.tensor([[[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]])  # taken from one pixel further left
    >>> warp(torch.arange(3.0).reshape(1, 1, 1, 3), right, "constant")
    tensor([[[[0., 0., 1.]]]])
    """
    h, w = x.shape[2:]
    images = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # places need more digits than that
    m = matrix.to(images.dtype)
    columns = torch.arange(w, device=x.device, dtype=images.dtype) - (w - 1) / 2
    rows = torch.arange(h, device=x.device, dtype=images.dtype) - (h - 1) / 2
    places = [
        (m[:, i, 0, None, None] * columns + m[:, i, 1, None, None] * rows[:, None] + m[:, i, 2, None, None]) * (2 / n)
        for i, n in ((0, w), (1, h))
    ]  # in (-1, 1) inside of the image, from edge to edge
    mode = {"constant": "zeros", "nearest": "border", "reflect": "reflection", "wrap": "zeros"}[fill_mode]
    if fill_mode == "wrap":
        places = [torch.remainder(p + 1, 2) - 1 for p in places]
        images = F.pad(images, (1, 1, 1, 1), mode="circular")
        places = [p * (n / (n + 2)) for p, n in zip(places, (w, h), strict=True)]
    shift = fill_value if fill_mode == "constant" else 0.0  # zeros outside become this
    grid = torch.stack(places, dim=-1)  # (B, H, W, 2)
    z = F.grid_sample(images - shift if shift else images, grid, interpolation, mode, align_corners=False)
    return (z + shift if shift else z).to(x.dtype)


class _Warp(Augmentation):
    """The base of layers that move images by an affine map: define `matrices`."""

    def __init__(self, fill_mode: Fill, interpolation: Interpolation, fill_value: float, *, name: str | None) -> None:
        super().__init__(name=name)
        owner = type(self).__name__
        checked_fill(owner, fill_mode, fill_value)
        if interpolation not in get_args(Interpolation):
            raise unknown_name(f"{owner}: interpolation", interpolation, get_args(Interpolation))
        self.fill_mode, self.interpolation, self.fill_value = fill_mode, interpolation, float(fill_value)

    def matrices(self, x: Tensor) -> tuple[Any, ...]:
        """Return the six entries, row by row, of the matrix that `warp` takes: numbers, or one for each observation, (B,)."""
        raise NotImplementedError

    def augment(self, x: Tensor) -> Tensor:
        """Return x, each image moved by its own map, (B, C, H, W)."""
        one = torch.ones(x.shape[0], device=x.device)
        matrix = torch.stack([one * entry for entry in self.matrices(x)], dim=1).reshape(-1, 2, 3)
        return warp(x, matrix, self.fill_mode, self.interpolation, self.fill_value)

    def _settings(self) -> list[str]:
        parts = [f"fill_mode={self.fill_mode!r}"] if self.fill_mode != "reflect" else []
        parts += [f"interpolation={self.interpolation!r}"] if self.interpolation != "bilinear" else []
        return parts + ([f"fill_value={self.fill_value}"] if self.fill_value else [])


class RandomTranslation(_Warp):
    """Shifts each image down and to the right, by shares of its height and width.

    Args:
        height_factor: the shift down is uniform in [-f, f] of the height; or a pair, its ends, in [-1, 1].
        width_factor: the same to the right, of the width.
        fill_mode: what comes in: "constant", "nearest", "reflect" or "wrap", see `laminar.layers.augment.Fill`.
        interpolation: "bilinear" between pixels, or the "nearest" one.
        fill_value: the number for "constant".
        name: the layer's name.

    Raises:
        ArgumentError: if a number is not possible.
        UnknownNameError: on an unknown fill mode or interpolation.
        ShapeError: if the input is not (batch, channels, height, width).

    Source: `keras.layers.RandomTranslation`.

    >>> down = RandomTranslation((0.5, 0.5), 0, fill_mode="constant", fill_value=9)
    >>> down(torch.tensor([[[[1.0], [2.0]]]])).flatten()
    tensor([9., 1.])
    """

    def __init__(
        self,
        height_factor: float | Sequence[float],
        width_factor: float | Sequence[float],
        fill_mode: Fill = "reflect",
        interpolation: Interpolation = "bilinear",
        fill_value: float = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, name=name)
        self.height_factor = interval("RandomTranslation(height_factor=)", height_factor, -1, 1)
        self.width_factor = interval("RandomTranslation(width_factor=)", width_factor, -1, 1)

    def matrices(self, x: Tensor) -> tuple[Any, ...]:
        """Return the maps that shift."""
        down, right = uniform(x, self.height_factor) * x.shape[2], uniform(x, self.width_factor) * x.shape[3]
        return 1, 0, -right, 0, 1, -down

    def extra_repr(self) -> str:
        """Return the factors and what differs from the defaults."""
        return ", ".join([f"height_factor={self.height_factor}", f"width_factor={self.width_factor}", *self._settings()])


class RandomRotation(_Warp):
    """Turns each image about its centre.

    Args:
        factor: the angle, counter-clockwise, is uniform in [-factor, factor] of a full turn; or a pair, its ends, in [-1, 1].
            15 degrees each way are 15 / 360.
        fill_mode: what comes in: "constant", "nearest", "reflect" or "wrap", see `laminar.layers.augment.Fill`.
        interpolation: "bilinear" between pixels, or the "nearest" one.
        fill_value: the number for "constant".
        name: the layer's name.

    Raises:
        ArgumentError: if a number is not possible.
        UnknownNameError: on an unknown fill mode or interpolation.
        ShapeError: if the input is not (batch, channels, height, width).

    Source: `keras.layers.RandomRotation`.

    >>> quarter = RandomRotation((0.25, 0.25))
    >>> quarter(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).round(decimals=3)
    tensor([[[[2., 4.],
              [1., 3.]]]])
    """

    def __init__(
        self,
        factor: float | Sequence[float],
        fill_mode: Fill = "reflect",
        interpolation: Interpolation = "bilinear",
        fill_value: float = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, name=name)
        self.factor = interval("RandomRotation(factor=)", factor, -1, 1)

    def matrices(self, x: Tensor) -> tuple[Any, ...]:
        """Return the maps that turn."""
        angle = uniform(x, self.factor) * (2 * math.pi)
        cos, sin = angle.cos(), angle.sin()
        return cos, -sin, 0, sin, cos, 0

    def extra_repr(self) -> str:
        """Return the factor and what differs from the defaults."""
        return ", ".join([f"factor={self.factor}", *self._settings()])


class RandomZoom(_Warp):
    """Shows more of each image, smaller, or less of it, larger, about its centre.

    Args:
        height_factor: what is seen is 1 + f times as high, f uniform in [-height_factor, height_factor]; or a pair, its ends,
            in (-1, 1]. A positive f zooms out.
        width_factor: the same for the width; None for the f of the height, which keeps proportions.
        fill_mode: what comes in: "constant", "nearest", "reflect" or "wrap", see `laminar.layers.augment.Fill`.
        interpolation: "bilinear" between pixels, or the "nearest" one.
        fill_value: the number for "constant".
        name: the layer's name.

    Raises:
        ArgumentError: if a number is not possible.
        UnknownNameError: on an unknown fill mode or interpolation.
        ShapeError: if the input is not (batch, channels, height, width).

    Source: `keras.layers.RandomZoom`.

    >>> twice = RandomZoom((-0.5, -0.5), interpolation="nearest")
    >>> twice(torch.arange(4.0).reshape(1, 1, 1, 4)).flatten()
    tensor([1., 1., 2., 2.])
    """

    def __init__(
        self,
        height_factor: float | Sequence[float],
        width_factor: float | Sequence[float] | None = None,
        fill_mode: Fill = "reflect",
        interpolation: Interpolation = "bilinear",
        fill_value: float = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, name=name)
        least = math.nextafter(-1, 0)  # at -1 nothing would be seen
        self.height_factor = interval("RandomZoom(height_factor=)", height_factor, least, 1)
        self.width_factor = None if width_factor is None else interval("RandomZoom(width_factor=)", width_factor, least, 1)

    def matrices(self, x: Tensor) -> tuple[Any, ...]:
        """Return the maps that zoom."""
        height = 1 + uniform(x, self.height_factor)
        width = height if self.width_factor is None else 1 + uniform(x, self.width_factor)
        return width, 0, 0, 0, height, 0

    def extra_repr(self) -> str:
        """Return the factors and what differs from the defaults."""
        parts = [f"height_factor={self.height_factor}"]
        parts += [] if self.width_factor is None else [f"width_factor={self.width_factor}"]
        return ", ".join([*parts, *self._settings()])
