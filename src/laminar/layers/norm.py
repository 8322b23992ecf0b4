"""Normalization: of a batch as the network trains, and of the data before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar import shapes
from laminar.errors import NotBuiltError, ShapeError, complaint
from laminar.layers.base import Layer
from laminar.names import unknown_name
from laminar.shapes import Shape, format_shape

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
        of_batch = self.training and self._trainable and x.numel() > x.shape[1]
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, of_batch, 1 - self.momentum, self.epsilon
        )


Method = Literal["zerocenter", "zscore", "rescale-symmetric", "rescale-zero-one"]
Per = Literal["element", "channel", "all"]


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

    def adapt(self, data: Tensor | Iterable[Tensor]) -> None:
        """Take the statistics from `data`: observations (N, C, ...), or batches of them.

        Raises:
            NotBuiltError: if there is no observation.
        """
        for batch in [data] if isinstance(data, Tensor) else data:
            self.observe(batch)
        self.finish()

    def observe(self, x: Tensor) -> None:
        """Add a batch (B, C, ...) to the statistics that `finish` will take over."""
        if not self.built:
            self._build_for((x,))
        if self._totals is None:
            axes = [i for i, n in enumerate((0, *self.shift.shape)) if i == 0 or n != x.shape[i]]
            self._totals = _Totals(axes)
        self._totals.add(x)

    def finish(self) -> None:
        """Take over the statistics of the batches observed.

        Raises:
            NotBuiltError: if there were none.
        """
        if self._totals is None:
            raise NotBuiltError(
                complaint(self.label, expected="at least one observation", received="none", fix="Give adapt() training data")
            )
        totals, self._totals = self._totals, None
        shift, scale = totals.shift_and_scale(self.method)
        with torch.no_grad():
            self.shift.copy_(shift.reshape(self.shift.shape))
            self.scale.copy_(scale.reshape(self.scale.shape))
            self.fitted.fill_(True)
        self.__dict__["_known_adapted"] = True

    def forward(self, x: Tensor) -> Tensor:
        """Return (x - shift) / scale, of x's shape (B, C, ...)."""
        if not shapes.tracing() and not self.__dict__.get("_known_adapted"):
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
        centred = x - self.shift
        return centred if self.method == "zerocenter" else centred / self.scale

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        # weights may be loaded into a network that has seen no data: the statistics say for what shape it was built
        if not self.built and f"{prefix}shift" in state_dict:
            for key in ("shift", "scale", "fitted"):
                value = state_dict[f"{prefix}{key}"]
                setattr(self, key, torch.nn.Buffer(torch.zeros_like(value)))
            self.built = True
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.__dict__.pop("_known_adapted", None)

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
        count = int(torch.tensor([x.shape[i] for i in self.axes]).prod())
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
        shift, scale = {
            "zerocenter": (self.mean, torch.ones_like(self.mean)),
            "zscore": (self.mean, (self.squares / self.count).sqrt()),
            "rescale-symmetric": ((self.low + self.high) / 2, spread / 2),
            "rescale-zero-one": (self.low, spread),
        }[method]
        return shift, torch.where(scale > 0, scale, 1.0)
