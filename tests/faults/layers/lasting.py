"""Learnables that do not last: made in a call, made anew, shared between layers."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from faults.fault import Fault

__all__ = ["FAULTS"]

# ── it lasts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class LearnedStart(nn.Module):
    """A recurrent cell over a sequence, whose first hidden state is learned; gives the last one."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.cell = nn.RNNCell(features, units)
        self.start = nn.Parameter(torch.zeros(1, units))

    def first(self, batch: int) -> Tensor:
        return self.start.expand(batch, -1)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        h = self.first(x.shape[0])
        for step in x.unbind(1):
            h = self.cell(step, h)
        return h


class LearnedStartForEachBatchSize(LearnedStart):
    """A recurrent cell whose first state is made anew when another number of observations comes."""

    def first(self, batch: int) -> Tensor:
        if self.start.shape[0] != batch:
            self.start = nn.Parameter(self.start.new_zeros(batch, self.start.shape[1]))
        return self.start


class LazyProjection(nn.Module):
    """A dense layer without bias that learns the number of features from the first batch."""

    project: nn.Module | None

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units
        self.project = nn.LazyLinear(units, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        assert self.project is not None
        z: Tensor = self.project(x)
        return z


class LazyProjectionInForward(LazyProjection):
    """A dense layer that makes its weight in the first call, after the optimizer was given the others."""

    def __init__(self, units: int) -> None:
        super().__init__(units)
        self.project = None

    def forward(self, x: Tensor) -> Tensor:
        if self.project is None:
            self.project = nn.Linear(x.shape[-1], self.units, bias=False, device=x.device, dtype=x.dtype)
        return super().forward(x)


class Shortcut(lm.Layer):
    """Brings the input to another number of channels by a 1×1 convolution, squashed."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.filters = filters

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((self.filters, shape[0], 1, 1))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return torch.tanh(F.conv2d(x, self.weight))


class ShortcutMadeInForward(Shortcut):
    """Brings the input to another number of channels by a convolution that is new in each call."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((self.filters, 1, 1), init="zeros")

    def forward(self, x: Tensor) -> Tensor:
        project = nn.Conv2d(x.shape[1], self.filters, 1, device=x.device, dtype=x.dtype)
        return torch.tanh(project(x) + self.weight)


class NonNegative(nn.Module):
    """A dense layer whose weights are not negative."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(units, features))

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return F.linear(x, self.weight.clamp(min=0))


class NonNegativeNewEachTime(NonNegative):
    """A dense layer that replaces its parameter by a clipped one in each call."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight = nn.Parameter(self.weight.clamp(min=0))
        return F.linear(x, self.weight)


class Gate(nn.Module):
    """A pointwise convolution followed by an activation of its own."""

    def __init__(self, channels: int, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.mix = nn.Conv1d(channels, channels, 1)
        self.activation = activation if activation is not None else nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        z: Tensor = self.activation(self.mix(x))
        return z


class GateWithDefault(Gate):
    """A pointwise convolution and an activation with a slope, one for all such layers: a default argument."""

    def __init__(self, channels: int, activation: nn.Module = nn.PReLU()) -> None:  # noqa: B008  # the mistake
        super().__init__(channels, activation)


class WidthScale(lm.Layer):
    """Multiplies each feature by a learnable factor."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.learnable(shape[-1], init="ones")

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return x * self.factor


class WidthScaleOfTheClass(WidthScale):
    """Multiplies each feature by a factor that all layers of one width have in common."""

    known: ClassVar[dict[int, nn.Parameter]] = {}

    def build(self, shape: tuple[int, ...]) -> None:
        width = shape[-1]
        if width not in self.known:
            self.known[width] = self.learnable(width, init="ones")
        self.factor = self.known[width]


FAULTS = [
    Fault(
        "a parameter made anew for another batch size",
        "learnables-stable",
        lambda: LearnedStartForEachBatchSize(5, 4),
        lambda: LearnedStart(5, 4),
        (6, 5),
    ),
    Fault(
        "a parameter made in the first call",
        "learnables-stable",
        lambda: LazyProjectionInForward(4),
        lambda: LazyProjection(4),
        (6,),
    ),
    Fault(
        "a convolution made in each call",
        "learnables-stable",
        lambda: ShortcutMadeInForward(5),
        lambda: Shortcut(5),
        (3, 8, 8),
    ),
    Fault(
        "a parameter replaced by a clipped one",
        "learnables-stable",
        lambda: NonNegativeNewEachTime(6, 4),
        lambda: NonNegative(6, 4),
        (6,),
    ),
    Fault(
        "an activation with a slope as a default argument",
        "learnables-stable",
        lambda: GateWithDefault(4),
        lambda: Gate(4),
        (4, 9),
    ),
    Fault("a parameter kept by the class", "learnables-stable", WidthScaleOfTheClass, WidthScale, (6,)),
]
