"""Normalization: of a batch as the network trains, and of the data before it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from laminar import shapes
from laminar.errors import ArgumentError, DataError, NotBuiltError, ShapeError, complaint
from laminar.layers.base import Layer
from laminar.layers.core import is_number
from laminar.names import unknown_name
from laminar.shapes import Shape, format_batch, format_shape

__all__ = ["BatchNormalization", "Normalization"]


class BatchNormalization(Layer):
    """Gives each channel mean 0 and variance 1 over the batch, then a learnable scale and offset.

    In inference mode the running (population) mean and variance are used; so they are in training for a layer with
    `trainable = False`, as in Keras, and for a batch with a single number per channel, which has no variance.

    Args:
        momentum: share of the old value that the running statistics keep at each step (torch's momentum is 1 minus this).
        epsilon: added to the variance before the root.
        name: the layer's name.

    Attributes:
        weight: scale, (C,), from ones.
        bias: offset, (C,), from zeros.
        running_mean: (C,), from zeros.
        running_var: (C,), from ones; the unbiased variance, as in torch.

    Raises:
        ArgumentError: if the momentum is not in [0, 1], or epsilon is not positive.
        ShapeError: if the observations have no channel axis, or another number of channels.

    Note:
        momentum 0.9 and epsilon 1e-5 are torch's defaults. Keras' 0.99 leaves two thirds of the starting value after an
        epoch of 39 steps, which spoils validation on small data sets.

    Source: Ioffe and Szegedy, "Batch normalization", 2015; row R11.

    >>> layer = BatchNormalization()
    >>> layer(torch.tensor([[1.0], [3.0]])).detach().round(decimals=3)
    tensor([[-1.],
            [ 1.]])
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if not is_number(momentum) or not 0 <= momentum <= 1:
            raise ArgumentError(
                complaint(
                    "BatchNormalization(momentum=)",
                    expected="a share in [0, 1]",
                    received=f"{momentum!r}",
                    fix="Pass momentum=0.9, say",
                )
            )
        if not is_number(epsilon) or not epsilon > 0:
            raise ArgumentError(
                complaint(
                    "BatchNormalization(epsilon=)",
                    expected="a number above 0",
                    received=f"{epsilon!r}",
                    fix="Pass epsilon=1e-5, say",
                )
            )
        self.momentum = momentum
        self.epsilon = epsilon

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape with another number of channels.

        Raises:
            ShapeError: saying what was expected.
        """
        if not shape or (self.built and shape[0] != self.weight.shape[0]):
            channels = f"{self.weight.shape[0]} channels" if self.built else "a channel axis"
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"input (batch, channels, ...) with {channels}",
                    received=f"observations of shape {format_shape(shape)}",
                    fix="Give it the shape that it was built for",
                )
            )

    def build(self, shape: Shape) -> None:
        """Declare scale, offset and running statistics, one number for each channel of `shape` (C, ...)."""
        self.weight = self.learnable(shape[0], init="ones")
        self.bias = self.learnable(shape[0], init="zeros")
        self.running_mean = self.state(shape[0], init="zeros")
        self.running_var = self.state(shape[0], init="ones")

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized x, of x's shape (B, C, ...)."""
        if x.shape == self.input_shape:  # one observation, under vmap
            return self.forward(x[None])[0]
        of_batch = self.training and self._trainable and x.numel() > x.shape[1]
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, of_batch, 1 - self.momentum, self.epsilon
        )

    def extra_repr(self) -> str:
        """Return what differs from the defaults."""
        parts = [f"momentum={self.momentum}"] if self.momentum != 0.9 else []
        parts += [f"epsilon={self.epsilon}"] if self.epsilon != 1e-5 else []
        return ", ".join(parts)


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
