"""Layers that prepare raw data, inside the model, so that `predict` takes raw data too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laminar import shapes
from laminar.errors import ArgumentError, DataError, NotBuiltError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic
from laminar.layers.base import Layer
from laminar.layers.core import is_number
from laminar.names import unknown_name
from laminar.shapes import Shape, format_batch, format_shape

__all__ = ["Normalization", "Rescaling"]


Method = Literal["zerocenter", "zscore", "rescale-symmetric", "rescale-zero-one"]
Per = Literal["element", "channel", "all"]
_AT_A_TIME = 2**22  # numbers; a whole data set in float64 would need twice its memory, and more for what is left of the mean


class Normalization(Layer):
    """Normalizes raw data by statistics of the training data, kept inside the model, so that `predict` takes raw data too.

    `model.fit` adapts it to the training data (never to validation data) before the first epoch, unless it is adapted
    already; `adapt` does so by hand.

    Args:
        method: "zerocenter" (subtract the mean), "zscore" (then divide by the standard deviation), "rescale-symmetric"
            (to [-1, 1]) or "rescale-zero-one" (to [0, 1]): MATLAB's names.
        per: statistics for each "element" (the mean image), each "channel", or "all" numbers together.
        name: the layer's name.

    Attributes:
        adapted: whether it has seen training data.
        shift: what is subtracted, shape (C, H, W), (C, 1, 1) or (1, 1, 1).
        scale: what it is then divided by, of the same shape; 1 where the data do not vary.

    Raises:
        UnknownNameError: on an unknown method or per.
        ShapeError: if the observations have another shape than the statistics allow.
        NotBuiltError: if used before it was adapted.

    Source: row R10.

    >>> layer = Normalization("zscore", per="all")
    >>> layer.adapt(torch.tensor([[1.0, 3.0], [1.0, 3.0]]))
    >>> layer(torch.tensor([[1.0, 5.0]]))
    tensor([[-1.,  3.]])
    """

    shift: Tensor
    scale: Tensor
    fitted: Tensor

    def __init__(self, method: Method = "zerocenter", *, per: Per = "element", name: str | None = None) -> None:
        super().__init__(name=name)
        for what, value, known in (("method", method, get_args(Method)), ("per", per, get_args(Per))):
            if value not in known:
                raise unknown_name(f"Normalization: {what}", value, known)
        self.method = method
        self.per = per
        self._totals: _Totals | None = None

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape to which the statistics do not belong.

        Raises:
            ShapeError: saying what was expected.
        """
        if not self.built:
            return
        fits = {"element": shape, "channel": (*shape[:1], *(1,) * (len(shape) - 1)), "all": (1,) * len(shape)}[self.per]
        kept = tuple(self.shift.shape)
        if fits != kept:
            what = {"element": f"shape {format_shape(kept)}", "channel": f"{kept[0]} channels and {len(kept)} axes"}
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"observations of {what.get(self.per, f'{len(kept)} axes')}, as in the data it was adapted to",
                    received=f"{format_batch(shape)}",
                    fix="Give it the shape that it was adapted to, or adapt a new layer",
                )
            )

    def build(self, shape: Shape) -> None:
        """Make room for the statistics of observations of `shape` (C, ...)."""
        kept = {"element": shape, "channel": (*shape[:1], *(1,) * (len(shape) - 1)), "all": (1,) * len(shape)}[self.per]
        self.shift = self.state(kept, init="zeros")
        self.scale = self.state(kept, init="ones")
        self.fitted = self.state((), init="zeros", dtype=torch.bool)

    @property
    def adapted(self) -> bool:
        """Whether the statistics are those of training data."""
        return self.built and bool(self.fitted)

    def adapt(self, data: Tensor | NDArray[Any] | Iterable[Tensor | NDArray[Any]]) -> None:
        """Take the statistics from `data`, in place of any it had: observations (N, C, ...), or batches of them.

        Raises:
            NotBuiltError: if there is no observation.
            ShapeError: if the observations are not all of one shape.
            DataError: if a number is nan or infinite.
        """
        self._totals = None
        for batch in [data] if isinstance(data, (Tensor, np.ndarray)) else data:
            self.observe(batch)
        self.finish()

    def observe(self, x: Tensor | NDArray[Any]) -> None:
        """Add a batch (B, C, ...) to the statistics that `finish` will take over.

        Raises:
            ShapeError: if the observations are not of the shape of those before.
        """
        x = x if isinstance(x, Tensor) else torch.from_numpy(np.require(x, requirements="W"))
        if not self.built:
            self._build_for((x,))
        self.check_input(tuple(x.shape[1:]))
        if self._totals is None:
            axes = {"element": [0], "channel": [0, *range(2, x.dim())], "all": list(range(x.dim()))}
            self._totals = _Totals(axes[self.per])
        for part in x.split(max(_AT_A_TIME // max(x[:1].numel(), 1), 1)):
            self._totals.add(part)

    def finish(self) -> None:
        """Take over the statistics of the batches observed.

        Raises:
            NotBuiltError: if there were none.
            DataError: if a number was nan or infinite.
        """
        if self._totals is None or not self._totals.count:
            raise NotBuiltError(
                complaint(self.label, expected="at least one observation", received="none", fix="Give adapt() training data")
            )
        totals, self._totals = self._totals, None
        shift, scale = totals.shift_and_scale(self.method)
        if not bool(shift.isfinite().all() & scale.isfinite().all()):
            raise DataError(
                complaint(
                    self.label,
                    expected="finite numbers in the data to adapt to",
                    received="nan or infinity",
                    fix="Remove those observations, or x = torch.nan_to_num(x)",
                )
            )
        with torch.no_grad():
            self.shift.copy_(shift.reshape(self.shift.shape))
            self.scale.copy_(scale.reshape(self.scale.shape))
            self.fitted.fill_(True)
        self.__dict__["_known_adapted"] = True

    def forward(self, x: Tensor) -> Tensor:
        """Return (x - shift) / scale, of x's shape (B, C, ...)."""
        if not self.__dict__.get("_known_adapted") and not shapes.tracing():
            if not self.adapted:
                raise NotBuiltError(
                    complaint(
                        self.label,
                        expected="statistics of training data",
                        received="none yet",
                        fix="Call model.fit, or layer.adapt(x_train)",
                    )
                )
            self.__dict__["_known_adapted"] = True  # so that a GPU is asked once, not at every step
        z = x - self.shift
        if self.method != "zerocenter":
            z = z / self.scale
        return z.to(x.dtype) if x.is_floating_point() and z.dtype != x.dtype else z  # statistics may be of wider data

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        # weights may be loaded into a network that has seen no data: the statistics say for what shape it was built
        keys = ("shift", "scale", "fitted")
        if not self.built and all(f"{prefix}{key}" in state_dict for key in keys):
            for key in keys:
                setattr(self, key, torch.nn.Buffer(torch.zeros_like(state_dict[f"{prefix}{key}"])))
            self.built = True
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.__dict__["_known_adapted"] = self.built and not self.fitted.is_meta and bool(self.fitted)

    def extra_repr(self) -> str:
        """Return the method and what the statistics are taken over."""
        return f"method={self.method!r}, per={self.per!r}"


class Rescaling(Layer):
    """Multiplies by numbers known beforehand and adds others: z = scale x + offset.

    For what is known of the data without looking at them: bytes become [0, 1] with `scale=1 / 255`, and [-1, 1] with
    `scale=1 / 127.5, offset=-1`. Statistics of the training data are `Normalization`'s.

    Args:
        scale: a number, or one for each channel.
        offset: a number, or one for each channel.
        name: the layer's name.

    Raises:
        ArgumentError: if scale or offset is neither a finite number nor a sequence of them.
        ShapeError: if the observations have another number of channels.

    Source: row R10 of the mission.

    >>> Rescaling(1 / 127.5, offset=-1)(torch.tensor([[0, 51, 255]], dtype=torch.uint8))
    tensor([[-1.0000, -0.6000,  1.0000]])
    """

    scales: Tensor
    offsets: Tensor

    def __init__(
        self, scale: float | Sequence[float], offset: float | Sequence[float] = 0.0, *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.scale = _numbers("Rescaling(scale=)", scale)
        self.offset = _numbers("Rescaling(offset=)", offset)

    def check_input(self, shape: Shape) -> None:
        """Refuse another number of channels than there are numbers.

        Raises:
            ShapeError: saying what was expected.
        """
        for numbers in (self.scale, self.offset):
            if isinstance(numbers, tuple) and (not shape or shape[0] != len(numbers)):
                raise ShapeError(
                    complaint(
                        self.label,
                        expected=f"input (batch, channels, ...) of {len(numbers)} channels",
                        received=format_batch(shape),
                        fix="Pass one number for each channel, or one for all",
                    )
                )

    def build(self, shape: Shape) -> None:
        """Keep the numbers of the channels of `shape` (C, ...), where there is one for each."""
        for key, numbers in (("scales", self.scale), ("offsets", self.offset)):
            if isinstance(numbers, tuple):
                setattr(self, key, self.state(len(numbers), init=torch.tensor(numbers, dtype=torch.float64)))

    def forward(self, x: Tensor) -> Tensor:
        """Return scale x + offset, of x's shape (B, C, ...); whole numbers become floats."""
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        scale = self.per_channel(self.scales, x) if isinstance(self.scale, tuple) else self.scale
        offset = self.per_channel(self.offsets, x) if isinstance(self.offset, tuple) else self.offset
        return x * scale + offset

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return that nothing is learned and the shape stays."""
        return Arithmetic(shape, 0, (f"output {format_shape(shape)}", "parameters: none"))

    def extra_repr(self) -> str:
        """Return scale and offset."""
        return f"scale={self.scale!r}" + (f", offset={self.offset!r}" if self.offset != 0 else "")


def _numbers(where: str, given: float | Sequence[float]) -> float | tuple[float, ...]:
    """Return a finite number, or a tuple of them."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    numbers: list[Any] = list(given) if several else [given]  # type: ignore[arg-type]  # told apart above
    if not numbers or not all(is_number(n) and math.isfinite(n) for n in numbers):
        raise ArgumentError(
            complaint(
                where,
                expected="a finite number, or one for each channel",
                received=f"{given!r}",
                fix="Pass 1 / 255, say",
            )
        )
    return tuple(map(float, numbers)) if several else float(numbers[0])


class _Totals:
    """Mean, variance and range over some axes, batch by batch, in float64 (Chan's update: no cancellation)."""

    def __init__(self, axes: list[int]) -> None:
        self.axes = axes
        self.count = 0
        self.mean = self.squares = self.low = self.high = torch.zeros(())

    def add(self, x: Tensor) -> None:
        x = x.detach().double()
        if not x.numel():
            return
        count = math.prod(x.shape[i] for i in self.axes)
        mean = x.mean(self.axes, keepdim=True)
        squares = (x - mean).square().sum(self.axes, keepdim=True)
        low, high = x.amin(self.axes, keepdim=True), x.amax(self.axes, keepdim=True)
        if self.count == 0:
            self.count, self.mean, self.squares, self.low, self.high = count, mean, squares, low, high
            return
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.squares = self.squares + squares + delta.square() * (self.count * count / total)
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        self.count = total

    def shift_and_scale(self, method: Method) -> tuple[Tensor, Tensor]:
        spread = self.high - self.low
        varies = spread > 0  # asked of the range, which has no rounding: the variance of equal numbers may be 1e-34
        mean = torch.where(varies, self.mean, self.low)
        shift, scale = {
            "zerocenter": (mean, torch.ones_like(mean)),
            "zscore": (mean, (self.squares / self.count).sqrt()),
            "rescale-symmetric": ((self.low + self.high) / 2, spread / 2),
            "rescale-zero-one": (self.low, spread),
        }[method]
        return shift, torch.where(varies, scale, 1.0)
