"""Random numbers that no seed repeats, drawn where nothing may be random, or from the wrong place."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from faults.fault import Fault

__all__ = ["FAULTS"]


class GaussianNoise(lm.Layer):
    """Adds normal noise in training."""

    declares: tuple[str, ...] = ("random",)

    def __init__(self, stddev: float = 0.5) -> None:
        super().__init__()
        self.stddev = stddev

    def noise(self, x: Tensor) -> Tensor:
        return torch.randn_like(x)

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        return x + self.stddev * self.noise(x)

    def predict(self, x: Tensor) -> Tensor:
        return x


class GaussianNoiseOfNumpy(GaussianNoise):
    """Adds normal noise from a generator that is seeded by the clock."""

    def noise(self, x: Tensor) -> Tensor:
        return torch.as_tensor(np.random.default_rng().normal(size=tuple(x.shape))).to(x)


class GaussianNoiseInSecret(GaussianNoise):
    """Adds normal noise in training, and does not declare it."""

    declares = ()


class StochasticDepth(nn.Module):
    """Adds what a convolution makes of the image, left out at random for some observations in training."""

    def __init__(self, channels: int, rate: float = 0.3) -> None:
        super().__init__()
        self.rate = rate
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def kept(self, x: Tensor) -> Tensor:
        return torch.rand(x.shape[0], device=x.device) >= self.rate

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        z: Tensor = self.conv(x)
        if self.training:
            z = z * self.kept(x).to(z.dtype).view(-1, 1, 1, 1) / (1 - self.rate)
        return x + z


class StochasticDepthOfPython(StochasticDepth):
    """Leaves a convolution out at random, by Python's generator instead of torch's."""

    def kept(self, x: Tensor) -> Tensor:
        return torch.tensor([random.random() >= self.rate for _ in range(x.shape[0])], device=x.device)


class DropFeatures(nn.Module):
    """A dense layer followed by dropout."""

    def __init__(self, features: int, rate: float = 0.4) -> None:
        super().__init__()
        self.rate = rate
        self.linear = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return F.dropout(self.linear(x), self.rate, self.training)


class DropFeaturesSeeded(DropFeatures):
    """A dense layer with dropout that sets the seed itself, to be repeatable."""

    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return super().forward(x)


class DropFeaturesAlways(DropFeatures):
    """A dense layer with dropout that does not ask for the mode."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.linear(x), self.rate)


class SpatialDropout(lm.Layer):
    """Drops whole channels in training."""

    declares = ("random",)

    def __init__(self, rate: float = 0.4) -> None:
        super().__init__()
        self.rate = rate

    def mask(self, x: Tensor) -> Tensor:
        return torch.rand(*x.shape[:2], 1, 1, device=x.device) >= self.rate

    def dropped(self, x: Tensor) -> Tensor:
        return x * self.mask(x).to(x.dtype) / (1 - self.rate)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return self.dropped(x)

    def predict(self, x: Tensor) -> Tensor:
        return x


class SpatialDropoutSwapped(SpatialDropout):
    """Drops whole channels in inference, and none in training."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def predict(self, x: Tensor) -> Tensor:
        return self.dropped(x)


class SpatialDropoutSameMask(SpatialDropout):
    """Drops the same channels in each call: its generator starts anew."""

    def mask(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return (torch.rand(*x.shape[:2], 1, 1, generator=generator) >= self.rate).to(x.device)


class ParametricTanh(lm.Layer):
    """A hyperbolic tangent with a learnable slope for each channel."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.slope = self.learnable(shape[0], init="uniform")

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        return torch.tanh(x * self.per_channel(self.slope, x))


class ParametricTanhOfTorch(ParametricTanh):
    """A hyperbolic tangent whose slopes start from what torch's global generator gives."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.slope = nn.Parameter(torch.rand(shape[0]) * 0.1 - 0.05)


class Embedded(lm.Layer):
    """A dense layer without bias, squashed."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((self.units, shape[-1]), init="he_normal")

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return torch.tanh(F.linear(x, self.weight))


class EmbeddedStartedByTorch(Embedded):
    """A dense layer whose weight torch starts again after it was declared."""

    def build(self, shape: tuple[int, ...]) -> None:
        super().build(shape)
        nn.init.kaiming_normal_(self.weight)


FAULTS = [
    Fault("noise seeded by the clock", "deterministic", GaussianNoiseOfNumpy, GaussianNoise, (4, 6)),
    Fault("noise not declared", "deterministic", GaussianNoiseInSecret, GaussianNoise, (4, 6)),
    Fault(
        "draws from Python's generator",
        "deterministic",
        lambda: StochasticDepthOfPython(3),
        lambda: StochasticDepth(3),
        (3, 8, 8),
        {"declares": ("random",)},
    ),
    Fault(
        "the seed set in forward",
        "deterministic",
        lambda: DropFeaturesSeeded(6),
        lambda: DropFeatures(6),
        (6,),
        {"declares": ("random",)},
    ),
    Fault(
        "dropout that does not ask for the mode",
        "deterministic",
        lambda: DropFeaturesAlways(6),
        lambda: DropFeatures(6),
        (6,),
        {"declares": ("random",)},
    ),
    Fault("dropout in inference instead of training", "deterministic", SpatialDropoutSwapped, SpatialDropout, (20, 24, 24)),
    Fault("the same mask in each call", "deterministic", SpatialDropoutSameMask, SpatialDropout, (6, 5, 5)),
    Fault("initial values from torch's generator", "seeded-build", ParametricTanhOfTorch, ParametricTanh, (4, 7)),
    Fault("started again by torch.nn.init", "seeded-build", lambda: EmbeddedStartedByTorch(5), lambda: Embedded(5), (6,)),
]
