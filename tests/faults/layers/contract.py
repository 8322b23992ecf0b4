"""Layers that do not run; learnables that no optimizer finds, that nothing uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from faults.fault import Fault
from laminar import layers as L

__all__ = ["FAULTS"]

# ── it runs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class ChannelBias(lm.Layer):
    """Adds a learnable number to each channel."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.bias = self.learnable(shape[0], init="zeros")

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return x + self.per_channel(self.bias, x)


class ChannelBiasFromLastAxis(ChannelBias):
    """Adds a learnable number to each channel, as if the channels were the last axis."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.bias = self.learnable(shape[-1], init="zeros")


class Bottleneck(nn.Module):
    """Two pointwise convolutions with fewer channels between them, and a way around them where asked."""

    def __init__(self, channels: int, middle: int, *, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.down = nn.Conv2d(channels, middle, 1)
        self.up = nn.Conv2d(middle, channels, 1)

    def forward(self, x: Tensor) -> Tensor | None:  # (B, C, H, W)
        z: Tensor = self.up(torch.tanh(self.down(x)))
        return x + z if self.residual else z


class BottleneckWithoutReturn(Bottleneck):
    """Two pointwise convolutions; what they give is returned only with a way around them."""

    def forward(self, x: Tensor) -> Tensor | None:
        z: Tensor = self.up(torch.tanh(self.down(x)))
        if self.residual:
            return x + z
        return None


class SmallHead(nn.Module):
    """A 3×3 convolution with padding and a classifier on all that it gives."""

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.classifier = nn.Linear(4 * self.positions(size), classes)

    def positions(self, size: int) -> int:
        return size * size

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        z: Tensor = self.classifier(torch.tanh(self.conv(x)).flatten(1))
        return z


class SmallHeadCountedWithoutPadding(SmallHead):
    """A convolution with padding and a classifier whose size was counted without it."""

    def positions(self, size: int) -> int:
        return (size - 2) * (size - 2)


# ── the optimizer finds it ───────────────────────────────────────────────────────────────────────────────────────────────


class ChannelScale(nn.Module):
    """Multiplies each channel by a learnable factor."""

    factor: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = self.start(channels)

    def start(self, channels: int) -> Tensor:
        return nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return x * self.factor.view(-1, 1, 1)


class ChannelScalePlainTensor(ChannelScale):
    """Multiplies each channel by a factor that asks for a gradient, but is no parameter."""

    def start(self, channels: int) -> Tensor:
        return torch.ones(channels, requires_grad=True)


class ChannelScaleOfProduct(ChannelScale):
    """Multiplies each channel by a tenth of a parameter: the product was kept, not the parameter."""

    def start(self, channels: int) -> Tensor:
        return nn.Parameter(torch.ones(channels)) * 0.1


class Polynomial(nn.Module):
    """A learnable polynomial of each number."""

    coefficients: Sequence[Tensor] | nn.ParameterList

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.coefficients = nn.ParameterList(nn.Parameter(torch.tensor(0.5 / (k + 1))) for k in range(degree + 1))

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        z = torch.zeros_like(x)
        for coefficient in reversed(list(self.coefficients)):
            z = z * x + coefficient
        return z


class PolynomialInList(Polynomial):
    """A polynomial whose coefficients are parameters in a plain list."""

    def __init__(self, degree: int) -> None:
        super().__init__(degree)
        kept = list(self.coefficients)
        del self.coefficients
        self.coefficients = kept


class ResidualBlock(nn.Module):
    """Adds to the image what two convolutions make of it."""

    convolutions: list[nn.Module] | nn.ModuleList

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(self.make(channels))

    def make(self, channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        z = x
        for convolution in self.convolutions:
            z = convolution(torch.relu(z))
        return x + z


class ResidualBlockInList(ResidualBlock):
    """Adds to the image what two convolutions make of it; they stand in a plain list."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        del self.convolutions
        self.convolutions = self.make(channels)


class Branches(lm.Layer):
    """The sum of two convolutions with kernels of different size."""

    branches: dict[str, lm.Layer] | nn.ModuleDict

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(self.make(filters))

    def make(self, filters: int) -> dict[str, lm.Layer]:
        return {"narrow": L.Conv2D(filters, 1), "wide": L.Conv2D(filters, 3, padding="same")}

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        z: Tensor = self.branches["narrow"](x) + self.branches["wide"](x)
        return z


class BranchesInDict(Branches):
    """The sum of two convolutions that stand in a plain dict."""

    def __init__(self, filters: int) -> None:
        super().__init__(filters)
        del self.branches
        self.branches = self.make(filters)


# ── it matters, and learns ───────────────────────────────────────────────────────────────────────────────────────────────


class Affine(lm.Layer):
    """A dense layer: a weighted sum of the features and a bias for each unit."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((self.units, shape[-1]))
        self.bias = self.learnable(self.units, init="zeros")

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return F.linear(x, self.weight, self.bias)


class AffineWithoutBias(Affine):
    """A dense layer that declares a bias and forgets to add it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


class SelfAttention(nn.Module):
    """Scaled dot-product attention of a sequence to itself, with one head."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, features)
        self.key = nn.Linear(features, features, bias=False)
        self.value = nn.Linear(features, features)

    def keys(self, x: Tensor) -> Tensor:
        k: Tensor = self.key(x)
        return k

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        scores = self.query(x) @ self.keys(x).transpose(-2, -1) * x.shape[-1] ** -0.5
        z: Tensor = scores.softmax(-1) @ self.value(x)
        return z


class SelfAttentionQueryTwice(SelfAttention):
    """Attention in which the keys were copied from the line of the queries."""

    def keys(self, x: Tensor) -> Tensor:
        k: Tensor = self.query(x)
        return k


class ScaleAndShift(nn.Module):
    """A learnable scale and offset for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return x * self.gamma.view(-1, 1, 1) + self.beta.view(-1, 1, 1)


class ScaleAndShiftOfData(ScaleAndShift):
    """A scale and offset for each channel; the scale is read from .data."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.data.view(-1, 1, 1) + self.beta.view(-1, 1, 1)


class PositiveScale(lm.Layer):
    """Multiplies each channel by a factor that stays above 0."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.rho = self.learnable(shape[0], init="zeros")

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return x * self.per_channel(F.softplus(self.rho), x)


class PositiveScaleNoGrad(PositiveScale):
    """Multiplies each channel by a factor that is computed without a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            factor = F.softplus(self.rho)
        return x * self.per_channel(factor, x)


class WeightNormalized(nn.Module):
    """A dense layer whose weight is a length times a direction."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(units, features))
        self.length = nn.Parameter(torch.ones(units, 1))

    def factor(self) -> Tensor:
        return self.length / self.direction.square().sum(1, keepdim=True).sqrt()

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return F.linear(x, self.direction * self.factor())


class WeightNormalizedDetached(WeightNormalized):
    """A dense layer of length and direction, where length over norm is taken for a constant."""

    def factor(self) -> Tensor:
        return super().factor().detach()


FAULTS = [
    Fault("channels taken from the last axis", "builds", ChannelBiasFromLastAxis, ChannelBias, (4, 6, 5)),
    Fault(
        "no return in one branch",
        "builds",
        lambda: BottleneckWithoutReturn(6, 3, residual=False),
        lambda: Bottleneck(6, 3, residual=False),
        (6, 5, 7),
    ),
    Fault(
        "features counted without the padding",
        "builds",
        lambda: SmallHeadCountedWithoutPadding(3, 8, 10),
        lambda: SmallHead(3, 8, 10),
        (3, 8, 8),
    ),
    Fault(
        "a plain tensor that asks for a gradient",
        "learnables-registered",
        lambda: ChannelScalePlainTensor(20),
        lambda: ChannelScale(20),
        (20, 24, 24),
    ),
    Fault(
        "a parameter times a number kept in place of the parameter",
        "learnables-registered",
        lambda: ChannelScaleOfProduct(6),
        lambda: ChannelScale(6),
        (6, 5, 5),
    ),
    Fault(
        "parameters in a plain list",
        "learnables-registered",
        lambda: PolynomialInList(2),
        lambda: Polynomial(2),
        (3, 5),
    ),
    Fault(
        "modules in a plain list",
        "learnables-registered",
        lambda: ResidualBlockInList(4),
        lambda: ResidualBlock(4),
        (4, 8, 8),
    ),
    Fault("modules in a plain dict", "learnables-registered", lambda: BranchesInDict(4), lambda: Branches(4), (3, 8, 8)),
    Fault("a bias that is declared and not added", "learnables-used", lambda: AffineWithoutBias(5), lambda: Affine(5), (7,)),
    Fault(
        "keys made by the projection of the queries",
        "learnables-used",
        lambda: SelfAttentionQueryTwice(6),
        lambda: SelfAttention(6),
        (5, 6),
    ),
    Fault(
        "a parameter read from .data",
        "learnables-used",
        lambda: ScaleAndShiftOfData(20),
        lambda: ScaleAndShift(20),
        (20, 24, 24),
    ),
    Fault("no_grad around the use of a learnable", "learnables-used", PositiveScaleNoGrad, PositiveScale, (4, 6, 6)),
    Fault(
        "a learnable detached on the way",
        "learnables-used",
        lambda: WeightNormalizedDetached(6, 4),
        lambda: WeightNormalized(6, 4),
        (6,),
    ),
]
