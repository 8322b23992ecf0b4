"""Layers that disturb what goes through them in training, and let it pass at inference: dropout and noise.

They draw from torch's generator of the tensor's own device, anew for every number, channel or observation, so that a seed given
to `fit`, or to `torch.manual_seed`, repeats them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.kernels import dropout, switch
from laminar.kernels.parts import Part
from laminar.layers.base import Layer
from laminar.layers.core import is_number
from laminar.layers.layout import standard_layout
from laminar.shapes import Shape, format_batch

__all__ = [
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]


_LEAST = 1 << 13  # numbers that a kernel is worth a call for


class Disturbance(Layer):
    """The base of layers that disturb floats in training: define `disturb`, and name in `strength` what says how much.

    Args:
        name: the layer's name.

    Attributes:
        strength: the name of the attribute that is 0 where nothing is disturbed.
    """

    strength: ClassVar[str] = "rate"

    @property
    def declares(self) -> tuple[str, ...]:
        """That it draws in training, where it disturbs at all."""
        return ("random",) if getattr(self, self.strength) else ()

    def disturb(self, x: Tensor) -> Tensor:
        """Return x (B, ...), disturbed."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return x disturbed in training, x itself at inference and where it is whole numbers; shape (B, ...)."""
        if not self.training or not torch.is_floating_point(x):
            return x
        # numbers are drawn in the order of memory: in this one whatever layout the kernels have chosen
        return self.disturb(standard_layout(x) if switch.wanted() else x)


def _probability(where: str, rate: float) -> float:
    if not is_number(rate) or not 0 <= rate < 1:
        raise ArgumentError(
            complaint(where, expected="a probability in [0, 1)", received=f"{rate!r}", fix="Pass rate=0.5, say")
        )
    return float(rate)


class Dropout(Disturbance):
    """Sets each number to zero with probability `rate` in training, and scales the others by 1 / (1 - rate).

    Args:
        rate: probability in [0, 1).
        noise_shape: shape of the mask of one observation, without the batch axis, where it is not that of the observation: 1
            for an axis along which all numbers are kept or dropped together, None for the axis' own length. `(1, None)` drops
            the same features in all steps of a series (steps, features).
        name: the layer's name.

    Raises:
        ArgumentError: if the rate is not in [0, 1), or the noise shape has other entries than 1, lengths and None.
        ShapeError: if an observation does not fit the noise shape.

    Source: Srivastava et al., "Dropout", 2014; row R11 of the mission.

    >>> Dropout(0.5).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rate = _probability("Dropout(rate=)", rate)
        self.noise_shape = None if noise_shape is None else _noise_shape(noise_shape)

    def check_input(self, shape: Shape) -> None:
        """Refuse observations that the mask does not fit.

        Raises:
            ShapeError: saying what was expected.
        """
        mask = self.noise_shape
        if mask is None:
            return
        if len(mask) != len(shape) or any(m not in (None, 1, n) for m, n in zip(mask, shape, strict=False)):
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"observations of {len(mask)} {'axis' if len(mask) == 1 else 'axes'} that fit the noise shape",
                    received=format_batch(shape),
                    fix="Give noise_shape one entry for each axis but the batch: 1, None, or the axis' length",
                )
            )

    def disturb(self, x: Tensor) -> Tensor:
        """Return x with some numbers set to zero and the others scaled, (B, ...)."""
        if self.noise_shape is None:
            by_kernel = self.rate > 0 and switch.serve(x, part=Part.DROPOUT, least=_LEAST) and dropout.agrees(x.dtype)
            return dropout.dropout(x, self.rate) if by_kernel else F.dropout(x, self.rate)
        front = x.shape[: x.dim() - len(self.noise_shape)]  # the batch axis, but none for one observation under vmap
        sizes = [n if m is None else m for m, n in zip(self.noise_shape, x.shape[len(front) :], strict=True)]
        return x * F.dropout(x.new_ones(*front, *sizes), self.rate)

    def extra_repr(self) -> str:
        """Return the rate, and the noise shape where there is one."""
        return f"rate={self.rate}" + ("" if self.noise_shape is None else f", noise_shape={self.noise_shape}")


def _noise_shape(given: Sequence[int | None]) -> tuple[int | None, ...]:
    entries = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else None
    possible = entries is not None and all(
        m is None or (isinstance(m, Integral) and not isinstance(m, bool) and m >= 1) for m in entries
    )
    if entries is None or not possible:
        raise ArgumentError(
            complaint(
                "Dropout(noise_shape=)",
                expected="a sequence of 1, lengths and None, one for each axis but the batch",
                received=f"{given!r}",
                fix="Pass (1, None), say",
            )
        )
    return tuple(None if m is None else int(m) for m in entries)


class _SpatialDropout(Disturbance):
    """The base of dropout of whole channels: their numbers are alike, so that one alone takes little away."""

    _axes: tuple[str, ...]

    def __init__(self, rate: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rate = _probability(f"{type(self).__name__}(rate=)", rate)

    def check_input(self, shape: Shape) -> None:
        """Refuse observations with another number of axes.

        Raises:
            ShapeError: saying what was expected.
        """
        if len(shape) != len(self._axes) + 1:
            wanted = len(self._axes)
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"input (batch, channels, {', '.join(self._axes)})",
                    received=f"{format_batch(shape)}, {len(shape) + 1} {'axes' if shape else 'axis'}",
                    fix=f"Use SpatialDropout{len(shape) - 1}D" if len(shape) in (2, 3, 4) else f"Give it {wanted + 2} axes",
                )
            )

    def disturb(self, x: Tensor) -> Tensor:
        """Return x with some channels set to zero and the others scaled, (B, C, ...)."""
        if x.dim() == len(self._axes) + 1:  # one observation, under vmap
            return self.disturb(x[None])[0]
        return {1: F.dropout1d, 2: F.dropout2d, 3: F.dropout3d}[len(self._axes)](x, self.rate)

    def extra_repr(self) -> str:
        """Return the rate."""
        return f"rate={self.rate}"


class SpatialDropout1D(_SpatialDropout):
    """Sets whole channels of a series to zero with probability `rate` in training, and scales the others by 1 / (1 - rate).

    Args:
        rate: probability in [0, 1).
        name: the layer's name.

    Raises:
        ArgumentError: if the rate is not in [0, 1).
        ShapeError: if the input is not (batch, channels, length).

    Source: Tompson et al., "Efficient object localization using convolutional networks", 2015.

    >>> SpatialDropout1D(0.5)(torch.ones(2, 3, 8)).std(dim=2).max()
    tensor(0.)
    """

    _axes = ("length",)


class SpatialDropout2D(_SpatialDropout):
    """Sets whole channels of an image to zero with probability `rate` in training, and scales the others by 1 / (1 - rate).

    Args:
        rate: probability in [0, 1).
        name: the layer's name.

    Raises:
        ArgumentError: if the rate is not in [0, 1).
        ShapeError: if the input is not (batch, channels, height, width).

    Source: Tompson et al., "Efficient object localization using convolutional networks", 2015.

    >>> SpatialDropout2D(0.5)(torch.ones(2, 3, 4, 4)).std(dim=(2, 3)).max()
    tensor(0.)
    """

    _axes = ("height", "width")


class SpatialDropout3D(_SpatialDropout):
    """Sets whole channels of a volume to zero with probability `rate` in training, and scales the others by 1 / (1 - rate).

    Args:
        rate: probability in [0, 1).
        name: the layer's name.

    Raises:
        ArgumentError: if the rate is not in [0, 1).
        ShapeError: if the input is not (batch, channels, depth, height, width).

    Source: Tompson et al., "Efficient object localization using convolutional networks", 2015.

    >>> SpatialDropout3D(0.5)(torch.ones(2, 3, 2, 2, 2)).std(dim=(2, 3, 4)).max()
    tensor(0.)
    """

    _axes = ("depth", "height", "width")


class GaussianNoise(Disturbance):
    """Adds a normal number of mean 0 to each number in training: z = x + N(0, stddev²).

    Args:
        stddev: standard deviation, of at least 0, in the units of x.
        name: the layer's name.

    Raises:
        ArgumentError: if the standard deviation is not a finite number of at least 0.

    Source: Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995.

    >>> GaussianNoise(0.1).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    strength = "stddev"

    def __init__(self, stddev: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if not is_number(stddev) or not 0 <= stddev < math.inf:
            raise ArgumentError(
                complaint(
                    "GaussianNoise(stddev=)",
                    expected="a finite number of at least 0",
                    received=f"{stddev!r}",
                    fix="Pass stddev=0.1, say",
                )
            )
        self.stddev = float(stddev)

    def disturb(self, x: Tensor) -> Tensor:
        """Return x + noise, (B, ...)."""
        return x + self.stddev * torch.randn_like(x)

    def extra_repr(self) -> str:
        """Return the standard deviation."""
        return f"stddev={self.stddev}"


class GaussianDropout(Disturbance):
    """Multiplies each number by a normal number of mean 1 in training, of the variance that dropout has: rate / (1 - rate).

    Args:
        rate: the dropout rate whose variance it has, in [0, 1).
        name: the layer's name.

    Raises:
        ArgumentError: if the rate is not in [0, 1).

    Source: Srivastava et al., "Dropout", 2014, section 10.

    >>> GaussianDropout(0.5).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    def __init__(self, rate: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rate = _probability("GaussianDropout(rate=)", rate)

    def disturb(self, x: Tensor) -> Tensor:
        """Return x times noise around 1, (B, ...)."""
        return x * (1 + math.sqrt(self.rate / (1 - self.rate)) * torch.randn_like(x))

    def extra_repr(self) -> str:
        """Return the rate."""
        return f"rate={self.rate}"


class AlphaDropout(Disturbance):
    """Dropout for SELU: sets numbers to its saturation value α' = -1.7581 in training, and keeps mean 0 and variance 1.

    z = a (x where kept, α' where dropped) + b, with a = 1 / √((1 - rate)(1 + rate α'²)) and b = -a α' rate.

    Args:
        rate: probability in [0, 1).
        name: the layer's name.

    Raises:
        ArgumentError: if the rate is not in [0, 1).

    Source: Klambauer et al., "Self-normalizing neural networks", 2017.

    >>> AlphaDropout(0.5).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    def __init__(self, rate: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rate = _probability("AlphaDropout(rate=)", rate)

    def disturb(self, x: Tensor) -> Tensor:
        """Return x with some numbers at the saturation value, scaled and shifted, (B, ...)."""
        return F.alpha_dropout(x, self.rate, training=True)

    def extra_repr(self) -> str:
        """Return the rate."""
        return f"rate={self.rate}"
