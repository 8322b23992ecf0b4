"""Augmentation of values: images partly covered, with more or less contrast, brighter or darker."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from laminar.errors import ArgumentError, complaint
from laminar.layers.augment import Augmentation, checked_fill, interval, uniform
from laminar.layers.core import is_number, positive

__all__ = ["Cutout", "RandomBrightness", "RandomContrast", "RandomErasing"]


def _inside_box(x: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return for each pixel of x (B, C, H, W) whether it lies in its image's box: ends (B,), far ones excluded."""
    rows, columns = torch.arange(x.shape[2], device=x.device), torch.arange(x.shape[3], device=x.device)
    in_rows = (rows >= top[:, None]) & (rows < bottom[:, None])
    in_columns = (columns >= left[:, None]) & (columns < right[:, None])
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


class Cutout(Augmentation):
    """Covers a square of each image, around a random pixel of it, so that what sticks out at the border is lost.

    Args:
        size: side of the square in pixels.
        fill_value: what it is covered with: 0, which is the mean where images were normalized before.
        name: the layer's name.

    Raises:
        ArgumentError: if the size is not at least 1, or the value no finite number.
        ShapeError: if the input is not (batch, channels, height, width).

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.

    >>> int((Cutout(4)(torch.ones(100, 1, 8, 8)) == 0).sum(dim=(1, 2, 3)).max())
    16
    """

    def __init__(self, size: int, fill_value: float = 0.0, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.size = positive("Cutout(size=)", size)
        checked_fill("Cutout", "constant", fill_value)
        self.fill_value = float(fill_value)

    def augment(self, x: Tensor) -> Tensor:
        """Return x with a square covered, (B, C, H, W)."""
        top, left = (torch.floor(uniform(x, (0, n))).clamp(max=n - 1) - self.size // 2 for n in x.shape[2:])
        return torch.where(_inside_box(x, top, top + self.size, left, left + self.size), self.fill_value, x)

    def extra_repr(self) -> str:
        """Return the size, and the value where it is not 0."""
        return f"size={self.size}" + (f", fill_value={self.fill_value}" if self.fill_value else "")


class RandomErasing(Augmentation):
    """Covers a rectangle that lies inside the image, in a share of the images, with a number or with noise.

    Height and width are drawn independently: each is a share √s of the image's, s uniform in `scale`.

    Args:
        factor: the share of the images in which something is erased, in [0, 1].
        scale: the ends of s; the rectangle's share of the image's area lies between them.
        fill_value: what it is covered with; None for noise, uniform in the value range.
        value_range: the range of the images' values.
        name: the layer's name.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input is not (batch, channels, height, width).

    Source: Zhong et al., "Random erasing data augmentation", 2020.

    >>> erased = (RandomErasing(1.0, (0.25, 0.25), fill_value=0.0)(torch.ones(10, 1, 8, 8)) == 0).sum(dim=(1, 2, 3))
    >>> erased.tolist() == [16] * 10
    True
    """

    def __init__(
        self,
        factor: float = 1.0,
        scale: Sequence[float] = (0.02, 0.33),
        fill_value: float | None = None,
        value_range: Sequence[float] = (0.0, 1.0),
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not is_number(factor) or not 0 <= factor <= 1:
            raise ArgumentError(
                complaint(
                    "RandomErasing(factor=)", expected="a share in [0, 1]", received=f"{factor!r}", fix="Pass factor=0.5, say"
                )
            )
        self.factor = float(factor)
        self.scale = interval("RandomErasing(scale=)", scale, 0, 1)
        checked_fill("RandomErasing", "constant", 0.0 if fill_value is None else fill_value)
        self.fill_value = None if fill_value is None else float(fill_value)
        self.value_range = _value_range("RandomErasing", value_range)

    def augment(self, x: Tensor) -> Tensor:
        """Return x with rectangles covered, (B, C, H, W)."""
        ends = []
        for n in x.shape[2:]:
            length = (n * uniform(x, self.scale).sqrt()).round()
            start = torch.floor(uniform(x, (0, 1)) * (n - length + 1)).minimum(n - length)
            ends += [start, start + length]
        covered = _inside_box(x, *ends) & (uniform(x, (0, 1)) < self.factor)[:, None, None, None]
        low, high = self.value_range
        value: float | Tensor | None = self.fill_value
        if value is None:
            value = low + (high - low) * torch.rand(x.shape, dtype=x.dtype, device=x.device)
        return torch.where(covered, value, x)

    def extra_repr(self) -> str:
        """Return what differs from the defaults."""
        parts = [f"factor={self.factor}"]
        parts += [f"scale={self.scale}"] if self.scale != (0.02, 0.33) else []
        parts += [f"fill_value={self.fill_value}"] if self.fill_value is not None else []
        return ", ".join([*parts, *_range_repr(self.value_range)])


def _value_range(owner: str, given: Sequence[float]) -> tuple[float, float]:
    low, high = interval(f"{owner}(value_range=)", given, -math.inf, math.inf)
    if not -math.inf < low < high < math.inf:
        raise ArgumentError(
            complaint(
                f"{owner}(value_range=)",
                expected="two finite numbers, the smaller one first",
                received=f"{given!r}",
                fix="Pass (0, 255) for bytes",
            )
        )
    return low, high


def _range_repr(value_range: tuple[float, float]) -> list[str]:
    return [f"value_range={value_range}"] if value_range != (0.0, 1.0) else []


class RandomContrast(Augmentation):
    """Draws each image's numbers away from its channels' means, or towards them: z = mean + f (x - mean), in the value range.

    Args:
        factor: f is uniform in [1 - factor, 1 + factor]; or a pair (less, more) for [1 - less, 1 + more].
        value_range: the range of the images' values; what leaves it is cut off.
        name: the layer's name.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input is not (batch, channels, height, width).

    Source: `keras.layers.RandomContrast`.

    >>> RandomContrast(0.5).eval()(torch.tensor([[[[0.2, 0.4]]]]))
    tensor([[[[0.2000, 0.4000]]]])
    """

    def __init__(
        self,
        factor: float | Sequence[float],
        value_range: Sequence[float] = (0.0, 1.0),
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        pair = list(factor) if isinstance(factor, Iterable) and not isinstance(factor, str) else [factor, factor]
        if len(pair) != 2 or not all(is_number(n) and 0 <= n <= 1 for n in pair):
            raise ArgumentError(
                complaint(
                    "RandomContrast(factor=)",
                    expected="a number in [0, 1], or two of them",
                    received=f"{factor!r}",
                    fix="Pass factor=0.2, say",
                )
            )
        self.factor = (float(pair[0]), float(pair[1]))
        self.value_range = _value_range("RandomContrast", value_range)

    def augment(self, x: Tensor) -> Tensor:
        """Return x with more or less contrast, (B, C, H, W)."""
        f = uniform(x, (1 - self.factor[0], 1 + self.factor[1]))[:, None, None, None].to(x.dtype)
        mean = x.mean(dim=(2, 3), keepdim=True)
        return (mean + f * (x - mean)).clamp(*self.value_range)

    def extra_repr(self) -> str:
        """Return what the contrast is multiplied by."""
        less, more = self.factor
        return ", ".join([f"factor={less if less == more else self.factor}", *_range_repr(self.value_range)])


class RandomBrightness(Augmentation):
    """Adds a number to each image, a share of the value range: z = x + f (high - low), kept in the value range.

    Args:
        factor: f is uniform in [-factor, factor]; or a pair, its ends, in [-1, 1].
        value_range: low and high: the range of the images' values; what leaves it is cut off.
        name: the layer's name.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input is not (batch, channels, height, width).

    Source: `keras.layers.RandomBrightness`.

    >>> RandomBrightness((0.5, 0.5))(torch.tensor([[[[0.25, 0.75]]]]))
    tensor([[[[0.7500, 1.0000]]]])
    """

    def __init__(
        self,
        factor: float | Sequence[float],
        value_range: Sequence[float] = (0.0, 1.0),
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.factor = interval("RandomBrightness(factor=)", factor, -1, 1)
        self.value_range = _value_range("RandomBrightness", value_range)

    def augment(self, x: Tensor) -> Tensor:
        """Return x, brighter or darker, (B, C, H, W)."""
        low, high = self.value_range
        f = uniform(x, self.factor)[:, None, None, None].to(x.dtype)
        return (x + f * (high - low)).clamp(low, high)

    def extra_repr(self) -> str:
        """Return what is added."""
        return ", ".join([f"factor={self.factor}", *_range_repr(self.value_range)])
