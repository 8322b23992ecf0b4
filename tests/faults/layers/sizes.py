"""Shapes that hold for one size of the input only, in one mode only, or not on the meta device."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from faults.fault import Fault
from laminar.layers.arithmetic import Arithmetic

__all__ = ["FAULTS"]

# ── both modes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class NormalizedConvolution(nn.Module):
    """A convolution and its batch normalization, whose statistics can be frozen for fine-tuning."""

    def __init__(self, channels: int, filters: int, *, frozen: bool = False) -> None:
        super().__init__()
        self.frozen = frozen
        self.conv = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(filters)

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and not self.frozen)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        z: Tensor = self.norm(self.conv(x))
        return z


class NormalizedConvolutionKeepsMode(NormalizedConvolution):
    """A convolution and its batch normalization, which never hears of the mode."""

    def train(self, mode: bool = True) -> Self:
        self.training = mode and not self.frozen
        return self


class WarmGate(nn.Module):
    """A gated dense layer; in training mode it forgets what it noted of the last evaluation."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 2 * features)
        self.notes: list[str] = []

    def train(self, mode: bool = True) -> Self:
        self.notes.clear()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return F.glu(self.linear(x), dim=-1)


class WarmGateReturnsNothing(WarmGate):
    """A gated dense layer whose train() forgets to return the layer."""

    def train(self, mode: bool = True) -> None:  # type: ignore[override]  # the mistake
        self.notes.clear()
        super().train(mode)


class SaliencyMap(lm.Layer):
    """The mean over the channels as an image of one channel; in inference its sharpened form."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return x.mean(1, keepdim=True)

    def predict(self, x: Tensor) -> Tensor:
        return 2 * x.mean(1, keepdim=True)


class SaliencyMapLosesAnAxis(SaliencyMap):
    """The mean over the channels, without the channel axis in inference."""

    def predict(self, x: Tensor) -> Tensor:
        return 2 * x.mean(1)


# ── any number of observations ───────────────────────────────────────────────────────────────────────────────────────────


class PooledClassifier(nn.Module):
    """The mean over all positions, and a dense layer on it."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        z: Tensor = self.classifier(self.pool(x).flatten(1))
        return z


class PooledClassifierSqueezed(PooledClassifier):
    """The mean over all positions, all axes of length one dropped: the batch too, if it is one."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.classifier(self.pool(x).squeeze())
        return z


class MeanOverSteps(lm.Layer):
    """The mean of a sequence over its steps, times a learnable factor for each feature."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.learnable(shape[-1], init="ones")

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        return x.mean(1) * self.factor


class MeanOverFirstAxis(MeanOverSteps):
    """The mean over axis 0, as if steps came first: it is the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0) * self.factor


class Distance(nn.Module):
    """The squared distance of two vectors, features weighted by learnable numbers."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # (B, features), (B, features)
        return ((a - b).square() * self.weight).mean(-1)


class DistanceOfTheBatch(Distance):
    """The squared distance of two vectors, averaged over everything."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return ((a - b).square() * self.weight).mean()


class Heads(nn.Module):
    """A dense layer that gives its features in groups."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:  # (B, features) → (B, heads, features / heads)
        return torch.sigmoid(self.linear(x)).reshape(x.shape[0], self.heads, -1)


class HeadsOfTheFirstBatch(Heads):
    """A dense layer in groups that goes on reshaping to the size of its first batch."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__(features, heads)
        self.batch = 0

    def forward(self, x: Tensor) -> Tensor:
        self.batch = self.batch or x.shape[0]
        return torch.sigmoid(self.linear(x)).reshape(self.batch, self.heads, -1)


# ── any height, width and length ─────────────────────────────────────────────────────────────────────────────────────────


class Hourglass(nn.Module):
    """An image made smaller, mixed there, made larger again and added to itself at half its weight."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        small = torch.tanh(self.mix(F.avg_pool2d(x, 2, ceil_mode=True)))
        return F.interpolate(small, size=x.shape[-2:])


class HourglassTwice(Hourglass):
    """An image made smaller, mixed there, and made twice as large, which was its size if that was even."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(torch.tanh(self.mix(F.avg_pool2d(x, 2))), scale_factor=2)


class DownBlock(nn.Module):
    """A convolution of stride 2, and beside it the image averaged over 2×2 windows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.around = nn.AvgPool2d(2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        z: Tensor = self.conv(x) + self.around(x)
        return z


class DownBlockFloor(DownBlock):
    """A convolution that rounds its size up, and beside it a pooling that rounds down."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.around = nn.AvgPool2d(2)


class SkipOverDetail(lm.Layer):
    """A sequence with its own coarse form beside it as further channels."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        coarse = F.avg_pool1d(x, 2, ceil_mode=True).repeat_interleave(2, dim=-1)[..., : x.shape[-1]]
        return torch.cat([x, coarse], 1)


class SkipOverDetailCropped(SkipOverDetail):
    """A sequence cropped to the length of its coarse form, which is one shorter for odd lengths."""

    def forward(self, x: Tensor) -> Tensor:
        coarse = F.avg_pool1d(x, 2).repeat_interleave(2, dim=-1)
        return torch.cat([x[..., : coarse.shape[-1]], coarse], 1)


class Segments(nn.Module):
    """The means of a sequence's parts: as many numbers for each channel as there are parts."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T) → (B, C, parts)
        return F.adaptive_avg_pool1d(x, self.parts)


class SegmentsOfChunk(Segments):
    """The means of the parts that chunk gives: they may be fewer than asked for."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([part.mean(-1) for part in x.chunk(self.parts, dim=-1)], -1)


class EveryOther(lm.Layer):
    """Every second step of a sequence, the first one being kept."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        return x[..., ::2]

    def arithmetic(self, shape: tuple[int, ...]) -> Arithmetic:
        channels, steps = shape
        return Arithmetic((channels, self.kept(steps)), 0, (f"steps: ⌈{steps} / 2⌉ = {self.kept(steps)}",))

    def kept(self, steps: int) -> int:
        return (steps + 1) // 2


class EveryOtherRoundedDown(EveryOther):
    """Every second step of a sequence; it promises half of them, rounded down."""

    def kept(self, steps: int) -> int:
        return steps // 2


# ── without numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Windows(nn.Module):
    """The means of 2×2 windows, written down as a sequence of positions."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) → (B, C, positions)
        return F.avg_pool2d(x, 2).flatten(2)


class WindowsGuessed(Windows):
    """The means of 2×2 windows as a sequence, whose length on the meta device is guessed."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_meta:
            return x.new_empty(x.shape[0], x.shape[1], x.shape[2] * x.shape[3] // 2)
        return super().forward(x)


class Column(lm.Layer):
    """The sum over each image row, times a learnable factor for each channel."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.learnable(shape[0], init="ones")

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) → (B, C, H)
        return (x * self.per_channel(self.factor, x)).sum(-1)


class ColumnByDevice(Column):
    """The sum over each image row; another way of computing it is taken off the processor, with an axis more."""

    def forward(self, x: Tensor) -> Tensor:
        scaled = x * self.per_channel(self.factor, x)
        if x.device.type == "cpu":
            return scaled.sum(-1)
        return scaled @ x.new_ones(x.shape[-1], 1)


FAULTS = [
    Fault(
        "train() not passed on",
        "modes",
        lambda: NormalizedConvolutionKeepsMode(3, 4),
        lambda: NormalizedConvolution(3, 4),
        (3, 6, 6),
    ),
    Fault("train() returns nothing", "modes", lambda: WarmGateReturnsNothing(5), lambda: WarmGate(5), (5,)),
    Fault("an axis lost in inference", "modes", SaliencyMapLosesAnAxis, SaliencyMap, (4, 6, 5)),
    Fault(
        "squeeze() drops a batch of one",
        "batch-sizes",
        lambda: PooledClassifierSqueezed(20, 10),
        lambda: PooledClassifier(20, 10),
        (20, 24, 24),
    ),
    Fault("mean over the batch in place of the steps", "batch-sizes", MeanOverFirstAxis, MeanOverSteps, (6, 5)),
    Fault(
        "output averaged over the batch",
        "batch-sizes",
        lambda: DistanceOfTheBatch(5),
        lambda: Distance(5),
        ((5,), (5,)),
    ),
    Fault("reshape to the first batch's size", "batch-sizes", lambda: HeadsOfTheFirstBatch(6, 3), lambda: Heads(6, 3), (6,)),
    Fault(
        "halved and doubled: odd sizes lose one", "other-sizes", lambda: HourglassTwice(3), lambda: Hourglass(3), (3, 24, 24)
    ),
    Fault("rounded up and rounded down added", "other-sizes", lambda: DownBlockFloor(3), lambda: DownBlock(3), (3, 8, 8)),
    Fault("a skip connection cropped for odd lengths", "other-sizes", SkipOverDetailCropped, SkipOverDetail, (3, 10)),
    Fault("chunk gives fewer parts than asked for", "other-sizes", lambda: SegmentsOfChunk(4), lambda: Segments(4), (3, 8)),
    Fault("explain promises a size rounded down", "other-sizes", EveryOtherRoundedDown, EveryOther, (3, 8)),
    Fault("shape guessed on the meta device", "meta-shape", WindowsGuessed, Windows, (3, 8, 6)),
    Fault("shape depends on the device", "meta-shape", ColumnByDevice, Column, (3, 6, 5)),
]
