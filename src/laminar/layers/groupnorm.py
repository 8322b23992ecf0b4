"""Normalization with a scale and an offset for each channel: its base, and over groups of channels."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Unpack

import torch
from torch import Tensor

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.base import Layer
from laminar.layers.core import checked, positive
from laminar.layers.norm import ScaleOptions, above_zero, changed, declare_scale, scale_arithmetic
from laminar.shapes import Shape, format_batch, format_shape

__all__ = ["ChannelNormalization", "GroupNormalization"]


class ChannelNormalization(Layer):
    """The base of normalizations that have one scale and offset for each channel.

    Args:
        axis: the axis of the channels, a whole number other than 0, the batch axis.
        name: the layer's name.

    Raises:
        ArgumentError: if the axis is something else.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, axis: int = 1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if isinstance(axis, bool) or not isinstance(axis, Integral) or axis == 0:
            raise ArgumentError(
                complaint(
                    f"{type(self).__name__}(axis=)",
                    expected="an axis, as a whole number other than 0, the batch axis",
                    received=f"{axis!r}",
                    fix="Pass axis=1, the channels",
                )
            )
        self.axis: int = int(axis)

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape without the channel axis, or with another number of channels or axes than before, and images' axis 3.

        Raises:
            ShapeError: saying what was expected.
        """
        if self.axis == len(shape) > 2:  # as listings for images with channels last have it, where it would be the width
            received = f"axis={self.axis}, the last one of {format_batch(shape)}"
            fix = "Leave axis out, or pass axis=-1 for features that come last"
            raise ShapeError(complaint(self.label, expected="the channels first", received=received, fix=fix))
        missing = abs(self.axis) > len(shape)
        built = self.input_shape if self.built else None
        if missing or (built is not None and (self.channels(shape) != self.channels(built) or len(shape) != len(built))):  # type: ignore[arg-type]  # it has one input
            wanted = "a channel axis" if built is None else f"{self.channels(built)} channels and {len(built)} axes"  # type: ignore[arg-type]  # likewise
            place = "" if self.axis == 1 else f" at axis {self.axis}"
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"input (batch, channels, ...) with {wanted}{place}",
                    received=f"observations of shape {format_shape(shape)}",
                    fix="Give it the shape that it was built for"
                    if built is not None
                    else "Pass x[:, None]"
                    if self.axis in (1, -1)
                    else "Pass axis=1, or x[:, None]",
                )
            )

    def channels(self, shape: Shape) -> int:
        """Return how many channels observations of `shape` have."""
        return shape[self.axis - 1] if self.axis > 0 else shape[self.axis]

    def channels_second(self, x: Tensor) -> Tensor:
        """Return x (B, ..., C, ...) as (B, C, ...), with a batch axis also for one observation under vmap."""
        x = x[None] if x.dim() == len(self.input_shape or ()) else x
        return x if self.axis == 1 else x.movedim(self.axis, 1)

    def as_it_came(self, z: Tensor, x: Tensor) -> Tensor:
        """Return z (B, C, ...) with its axes as those of x."""
        z = z if self.axis == 1 else z.movedim(1, self.axis)
        return z[0] if z.dim() > x.dim() else z


class GroupNormalization(ChannelNormalization):
    """Gives each group of channels of each observation mean 0 and variance 1, then a learnable scale and offset a channel.

    z = γ (x - μ) / √(σ² + epsilon) + β, with μ and σ² of the group's numbers in one observation, γ and β of the channel.

    One group is layer normalization with a scale for each channel; a group for each channel is instance normalization.

    Args:
        groups: how many, a divisor of the channels; -1 for as many as channels.
        axis: the axis of the channels; the batch axis is 0.
        epsilon: added to the variance before the root.
        **options: `center`, `scale`, `beta_initializer`, `gamma_initializer`, `name`: see `ScaleOptions`.

    Attributes:
        weight: scale, (C,), or None.
        bias: offset, (C,), or None.

    Raises:
        ArgumentError: if the groups are neither -1 nor at least 1, the axis is none, or epsilon is not positive.
        UnknownNameError: on an unknown option or initializer.
        ShapeError: if the groups do not divide the channels, or there is another number of them than before.

    Source: Wu and He, "Group normalization", 2018.

    >>> GroupNormalization(2)(torch.tensor([[1.0, 3.0, 10.0, 30.0]])).detach().round(decimals=2)
    tensor([[-1.,  1., -1.,  1.]])
    """

    def __init__(self, groups: int = 32, axis: int = 1, epsilon: float = 1e-3, **options: Unpack[ScaleOptions]) -> None:
        super().__init__(axis, name=options.get("name"))
        self.groups = -1 if groups == -1 else positive("GroupNormalization(groups=)", groups)
        self.epsilon = above_zero("GroupNormalization(epsilon=)", epsilon)
        self.options = checked("GroupNormalization", options, ScaleOptions)

    def check_input(self, shape: Shape) -> None:
        """Refuse channels that the groups do not divide.

        Raises:
            ShapeError: saying what was expected.
        """
        super().check_input(shape)
        if self.groups != -1 and self.channels(shape) % self.groups:
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"channels that groups={self.groups} divides",
                    received=f"{format_batch(shape)}, {self.channels(shape)} channels",
                    fix="Choose groups that divides them, or -1 for a group for each channel",
                )
            )

    def build(self, shape: Shape) -> None:
        """Declare scale and offset, one number for each channel of `shape`."""
        declare_scale(self, self.channels(shape), self.options)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized x, of x's shape (B, C, ...)."""
        y = self.channels_second(x)
        groups = y.shape[1] if self.groups == -1 else self.groups
        weight = self.weight
        if weight is None and self.bias is not None:  # torch's derivative fails for an offset without a scale
            weight = torch.ones_like(self.bias)
        # not F.group_norm: it refuses one number a group, which normalizes to the offset
        return self.as_it_came(torch.group_norm(y, groups, weight, self.bias, self.epsilon), x)

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return how many numbers a group has, and a scale and an offset for each channel."""
        channels = self.channels(shape)
        groups = channels if self.groups == -1 else self.groups
        n = math.prod(shape)
        line, total = scale_arithmetic(channels, self.options)
        return Arithmetic(
            shape, total, (f"numbers in a group: {'·'.join(map(str, shape))}/{groups} = {count(n // groups)}", line)
        )

    def extra_repr(self) -> str:
        """Return the groups and what differs from the defaults."""
        center, scale = self.options.get("center", True), self.options.get("scale", True)
        rest = changed(axis=(self.axis, 1), epsilon=(self.epsilon, 1e-3), center=(center, True), scale=(scale, True))
        return ", ".join([f"groups={self.groups}", *rest])
