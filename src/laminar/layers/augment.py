"""Augmentation: images changed at random in training, each observation in its own way, on the device they are on.

At inference they pass as they are (`RandomCrop` then cuts from the middle). What is drawn comes from torch's generator of the
images' device, so that a seed given to `fit` repeats it. Whole numbers become floats, in both modes. `warp` has the layers that
move images by fractions of a pixel, `values` those that cover them or change their light.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.base import Layer
from laminar.layers.core import is_number, positive
from laminar.names import unknown_name
from laminar.shapes import Shape, format_batch

__all__ = [
    "Augmentation",
    "Fill",
    "RandomCrop",
    "RandomFlip",
    "checked_fill",
    "interval",
    "uniform",
]

Fill: TypeAlias = Literal["constant", "nearest", "reflect", "wrap"]
"""What lies outside of an image `a b c d`: a number, `a a|a b c d|d d`, `b a|a b c d|d c`, `c d|a b c d|a b`."""


def checked_fill(owner: str, fill_mode: str, fill_value: float) -> None:
    """Refuse a fill mode that there is not, and a value that is no finite number.

    Raises:
        UnknownNameError: on an unknown mode.
        ArgumentError: on another value.
    """
    if fill_mode not in get_args(Fill):
        raise unknown_name(f"{owner}: fill_mode", fill_mode, get_args(Fill))
    if not is_number(fill_value) or not math.isfinite(fill_value):
        raise ArgumentError(
            complaint(
                f"{owner}(fill_value=)", expected="a finite number", received=f"{fill_value!r}", fix="Pass fill_value=0.0, say"
            )
        )


def interval(where: str, given: float | Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Return the ends of an interval that is given as a pair, or as a number f for [-f, f].

    Args:
        where: the argument, for the message.
        given: the pair or number.
        low: the least that an end may be.
        high: the most.

    Raises:
        ArgumentError: if an end is no number in [low, high], or the first is above the second.

    >>> interval("RandomRotation(factor=)", 0.1, -1, 1)
    (-0.1, 0.1)
    """
    pair: list[Any] = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if len(pair) == 1 and is_number(pair[0]):
        pair = [max(-abs(pair[0]), low), abs(pair[0])]
    if len(pair) != 2 or not all(is_number(n) and low <= n <= high for n in pair) or pair[0] > pair[1]:
        raise ArgumentError(
            complaint(
                where,
                expected=f"a number, or two of them in order, in [{low:g}, {high:g}]",
                received=f"{given!r}",
                fix="Pass 0.1, say",
            )
        )
    return float(pair[0]), float(pair[1])


def uniform(x: Tensor, ends: tuple[float, float]) -> Tensor:
    """Return one number for each observation of x (B, ...), drawn uniformly between the ends, (B,), on x's device."""
    return ends[0] + (ends[1] - ends[0]) * torch.rand(x.shape[0], device=x.device)


class Augmentation(Layer):
    """The base of layers that change images at random in training: define `augment`.

    Args:
        name: the layer's name.

    >>> class Negative(Augmentation):
    ...     '''Turns half of the images into their negatives.'''
    ...
    ...     def augment(self, x):  # (B, C, H, W)
    ...         return torch.where(uniform(x, (0, 1))[:, None, None, None] < 0.5, 1 - x, x)
    >>> Negative().eval()(torch.zeros(1, 1, 1, 2))
    tensor([[[[0., 0.]]]])
    """

    def check_input(self, shape: Shape) -> None:
        """Refuse what is no image.

        Raises:
            ShapeError: saying what was expected.
        """
        if len(shape) != 3:
            raise ShapeError(
                complaint(
                    self.label,
                    expected="input (batch, channels, height, width)",
                    received=f"{format_batch(shape)}, {len(shape) + 1} {'axes' if shape else 'axis'}",
                    fix="Pass x[:, None] for grey images without a channel axis"
                    if len(shape) == 2
                    else "Add a Reshape before it",
                )
            )

    @property
    def declares(self) -> tuple[str, ...]:
        """That it draws in training, and that its outputs are not those of inference on average either."""
        return ("random", "modes")

    def augment(self, x: Tensor) -> Tensor:
        """Return x (B, C, H, W), each observation changed in its own way."""
        raise NotImplementedError

    def at_rest(self, x: Tensor) -> Tensor:
        """Return what becomes of x (B, C, H, W) at inference: x itself, unless a subclass says otherwise."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return x changed in training, as it is at inference; shape (B, C, H, W)."""
        if x.dim() == 3:  # one observation, under vmap
            return self.forward(x[None])[0]
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        return self.augment(x) if self.training else self.at_rest(x)


Mode: TypeAlias = Literal["horizontal", "vertical", "horizontal_and_vertical"]


class RandomFlip(Augmentation):
    """Mirrors half of the images, left to right, top to bottom, or, independently, both.

    Args:
        mode: "horizontal" (left to right), "vertical" or "horizontal_and_vertical".
        name: the layer's name.

    Raises:
        UnknownNameError: on an unknown mode.
        ShapeError: if the input is not (batch, channels, height, width).

    Source: `keras.layers.RandomFlip`.

    >>> x = torch.arange(3.0).reshape(1, 1, 1, 3)
    >>> {tuple(RandomFlip("horizontal")(x).flatten().tolist()) for _ in range(50)} == {(0, 1, 2), (2, 1, 0)}
    True
    """

    def __init__(self, mode: Mode = "horizontal_and_vertical", *, name: str | None = None) -> None:
        super().__init__(name=name)
        if mode not in get_args(Mode):
            raise unknown_name("RandomFlip: mode", mode, get_args(Mode))
        self.mode = mode

    def augment(self, x: Tensor) -> Tensor:
        """Return x, some of it mirrored, (B, C, H, W)."""
        for axis, way in ((-1, "horizontal"), (-2, "vertical")):
            if way in self.mode:
                x = torch.where(uniform(x, (0, 1))[:, None, None, None] < 0.5, x.flip(axis), x)
        return x

    def extra_repr(self) -> str:
        """Return the mode."""
        return f"mode={self.mode!r}"


class RandomCrop(Augmentation):
    """Cuts a part of `height` × `width` out of each image: from a random place in training, from the middle at inference.

    With padding, the image is first given a border: `RandomCrop(32, 32, padding=4)` is the usual shift of CIFAR images by up to
    four pixels each way.

    Args:
        height: of the part, in pixels.
        width: of the part, in pixels.
        padding: pixels on each side.
        fill_mode: what is in them: "constant", "nearest", "reflect" or "wrap", see `laminar.layers.augment.Fill`.
        fill_value: the number for "constant".
        name: the layer's name.

    Raises:
        ArgumentError: if height or width is not at least 1, or the padding not at least 0.
        UnknownNameError: on an unknown fill mode.
        ShapeError: if the input is not (batch, channels, height, width), or smaller than the part.

    Source: He et al., "Deep residual learning for image recognition", 2016, section 4.2.

    >>> RandomCrop(2, 2).eval()(torch.arange(16.0).reshape(1, 1, 4, 4))
    tensor([[[[ 5.,  6.],
              [ 9., 10.]]]])
    """

    def __init__(
        self,
        height: int,
        width: int,
        padding: int = 0,
        fill_mode: Fill = "constant",
        fill_value: float = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.height = positive("RandomCrop(height=)", height)
        self.width = positive("RandomCrop(width=)", width)
        self.padding = positive("RandomCrop(padding=)", padding, least=0)
        checked_fill("RandomCrop", fill_mode, fill_value)
        self.fill_mode, self.fill_value = fill_mode, float(fill_value)

    def check_input(self, shape: Shape) -> None:
        """Refuse images that are smaller than the part to cut, with their border.

        Raises:
            ShapeError: saying what was expected.
        """
        super().check_input(shape)
        least = (self.height - 2 * self.padding, self.width - 2 * self.padding)
        if any(n < max(m, 1) for n, m in zip(shape[1:], least, strict=True)):
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"images of at least {max(least[0], 1)} × {max(least[1], 1)} pixels",
                    received=f"{format_batch(shape)}, {shape[1]} × {shape[2]}",
                    fix="Cut a smaller part, or pass padding=",
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return a part of x (B, C, H, W), (B, C, height, width)."""
        self.check_input(tuple(x.shape[-3:]))  # by itself, gather would make an image of any size from any other
        return super().forward(x)

    def augment(self, x: Tensor) -> Tensor:
        """Return a part from a place of its own for each image, (B, C, height, width)."""
        places = [n + 2 * self.padding - m + 1 for n, m in zip(x.shape[2:], (self.height, self.width), strict=True)]
        top, left = (torch.floor(uniform(x, (0, n))).clamp(max=n - 1).long() for n in places)
        return self._cut(x, top - self.padding, left - self.padding)

    def at_rest(self, x: Tensor) -> Tensor:
        """Return the middle of each image, (B, C, height, width)."""
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        if top == left == 0 and x.shape[2:] == (self.height, self.width):
            return x
        places = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        return self._cut(x, places + top, places + left)

    def _cut(self, x: Tensor, top: Tensor, left: Tensor) -> Tensor:
        rows = top[:, None] + torch.arange(self.height, device=x.device)  # (B, height), in pixels of x; outside of it too
        columns = left[:, None] + torch.arange(self.width, device=x.device)
        inside_rows, inside_columns = self._inside(rows, x.shape[2]), self._inside(columns, x.shape[3])
        b, c, _, w = x.shape
        z = x.gather(2, inside_rows[:, None, :, None].expand(b, c, self.height, w))
        z = z.gather(3, inside_columns[:, None, None, :].expand(b, c, self.height, self.width))
        if self.fill_mode != "constant":
            return z
        known = (rows == inside_rows)[:, None, :, None] & (columns == inside_columns)[:, None, None, :]
        return torch.where(known, z, self.fill_value)

    def _inside(self, index: Tensor, n: int) -> Tensor:
        """Return for each index, which may lie outside of n pixels, the pixel whose value is there."""
        if self.fill_mode == "wrap":
            return index % n
        if self.fill_mode == "reflect":
            index = index % (2 * n)  # a b c d d c b a
            return torch.minimum(index, 2 * n - 1 - index)
        return index.clamp(0, n - 1)

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return the output's shape and the number of places to cut from."""
        p = self.padding
        rows, columns = shape[1] + 2 * p - self.height + 1, shape[2] + 2 * p - self.width + 1
        factors = [f"({n} + 2·{p} − {m} + 1)" for n, m in ((shape[1], self.height), (shape[2], self.width))]
        output = (shape[0], self.height, self.width)
        return Arithmetic(output, 0, (f"places: {'·'.join(factors)} = {count(rows * columns)}", "parameters: none"))

    def extra_repr(self) -> str:
        """Return height and width, and what differs from the defaults."""
        parts = [f"height={self.height}", f"width={self.width}"]
        parts += [f"padding={self.padding}"] if self.padding else []
        parts += [f"fill_mode={self.fill_mode!r}"] if self.fill_mode != "constant" else []
        parts += [f"fill_value={self.fill_value}"] if self.fill_value else []
        return ", ".join(parts)
