"""Layers with a derivative written by hand that is known to be right: what the missions' rows R2, R3, R11 and R27 ask for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

import laminar as lm
from laminar.shapes import Shape

__all__ = ["ELU", "REFERENCES", "BatchNormByHand", "FixedELU", "OwnConv", "frozen_elu", "unfrozen_elu"]


class ELU(lm.Layer):
    """Exponential linear unit with one learnable alpha per channel."""

    def build(self, shape: Shape) -> None:  # shape of one observation: (C, H, W)
        self.alpha = self.learnable(shape[0], init="uniform")

    def forward(self, x: Tensor) -> Tensor:  # x: (B, C, H, W)
        return torch.where(x > 0, x, self.per_channel(self.alpha, x) * torch.expm1(x.clamp(max=0)))

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:  # optional: your own derivative
        below, alpha = x <= 0, self.per_channel(self.alpha, x)
        dalpha = self.sum_to_channels(torch.where(below, dz * torch.expm1(x.clamp(max=0)), 0))
        return torch.where(below, dz * (alpha + z), dz), dalpha


class FixedELU(lm.Layer):
    """Exponential linear unit whose alpha is a setting: its backward has no dalpha."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0)))

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return torch.where(x <= 0, dz * (self.alpha + z), dz)


def frozen_elu() -> lm.Layer:
    """The front page's ELU, whose alpha was switched off."""
    layer = ELU()
    layer.freeze("alpha")
    return layer


def unfrozen_elu() -> lm.Layer:
    """Laminar's own ELU, fixed as it comes, whose alpha was switched on."""
    layer = lm.layers.ELU(0.7)
    layer(torch.zeros(1, 20, 24, 24))
    layer.unfreeze("alpha")
    return layer


class OwnConv(lm.Layer):
    """A convolution of stride 1 without padding, as one writes it to understand it: its derivative is two correlations."""

    def __init__(self, filters: int, size: int) -> None:
        super().__init__()
        self.filters, self.size = filters, size

    def build(self, shape: Shape) -> None:  # (C, H, W)
        self.weight = self.learnable((self.filters, shape[0], self.size, self.size))
        self.bias = self.learnable(self.filters, init="zeros")

    @staticmethod
    def windows(x: Tensor, height: int, width: int) -> Tensor:
        """Every window of an image: (B, C, H', W', height, width)."""
        return x.unfold(2, height, 1).unfold(3, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.einsum("bchwij,fcij->bfhw", self.windows(x, self.size, self.size), self.weight)
        return z + self.bias[:, None, None]

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """dW: the input correlated with dz. dx: dz convolved in full with the kernel, that is, correlated with it flipped."""
        dweight = torch.einsum("bcijhw,bfhw->fcij", self.windows(x, *dz.shape[2:]), dz)
        around = F.pad(dz, [self.size - 1] * 4)
        dx = torch.einsum("bfhwij,fcij->bchw", self.windows(around, self.size, self.size), self.weight.flip(2, 3))
        return dx, {"weight": dweight, "bias": dz.sum((0, 2, 3))}


class BatchNormByHand(lm.Layer):
    """Batch normalization over channels with its derivative by hand: what forward has computed is handed on to backward."""

    mean: Tensor
    variance: Tensor

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon

    @property
    def declares(self) -> tuple[str, ...]:
        return ("batch", "modes")

    def build(self, shape: Shape) -> None:  # (C, ...)
        self.gamma = self.learnable(shape[0], init="ones")
        self.beta = self.learnable(shape[0], init="zeros")
        self.mean = self.state(shape[0], init="zeros")
        self.variance = self.state(shape[0], init="ones")

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """z = gamma n + beta, with n = (x - mean) / deviation, both of the batch; the memory is n and the deviation."""
        wide = self.wide(x)
        axes = [0, *range(2, x.dim())]
        mean = wide.mean(axes)
        variance = wide.var(axes, unbiased=False)
        self.mean.lerp_(mean.to(self.mean.dtype), 1 - self.momentum)
        self.variance.lerp_(variance.to(self.variance.dtype), 1 - self.momentum)
        deviation = torch.sqrt(variance + self.epsilon)
        normal = (wide - self.per_channel(mean, wide)) / self.per_channel(deviation, wide)
        return self.scaled(normal).to(x.dtype), (normal, deviation)

    def predict(self, x: Tensor) -> Tensor:
        """The same by the statistics of all batches so far."""
        wide = self.wide(x)
        deviation = torch.sqrt(self.variance + self.epsilon)
        return self.scaled((wide - self.per_channel(self.mean, wide)) / self.per_channel(deviation, wide)).to(x.dtype)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """dx = gamma / deviation (dz - its mean - n times the mean of n dz): mean and deviation depend on x as well."""
        normal, deviation = memory
        dz = dz.to(normal.dtype)
        numbers = x.numel() // x.shape[1]
        dgamma, dbeta = self.sum_to_channels(dz * normal), self.sum_to_channels(dz)
        of_mean, of_deviation = (self.per_channel(d / numbers, dz) for d in (dbeta, dgamma))
        dx = self.per_channel(self.gamma / deviation, dz) * (dz - of_mean - normal * of_deviation)
        return dx, dgamma, dbeta

    def scaled(self, normal: Tensor) -> Tensor:
        return self.per_channel(self.gamma, normal) * normal + self.per_channel(self.beta, normal)

    @staticmethod
    def wide(x: Tensor) -> Tensor:
        """x in float32 at least: means over a batch of bfloat16 would be too coarse."""
        return x.to(torch.promote_types(x.dtype, torch.float32))


REFERENCES: dict[str, tuple[Callable[[], lm.Layer], Shape]] = {
    "ELU of the front page": (ELU, (20, 24, 24)),
    "ELU, alpha fixed": (FixedELU, (20, 24, 24)),
    "ELU, alpha switched off": (frozen_elu, (20, 24, 24)),
    "ELU of Laminar, alpha switched on": (unfrozen_elu, (20, 24, 24)),
    "convolution": (lambda: OwnConv(8, 5), (3, 28, 28)),
    "batch normalization": (BatchNormByHand, (20, 24, 24)),
}
"""What it is -> what makes it, and the shape of one observation."""
