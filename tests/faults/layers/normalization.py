"""Mistakes in normalizations: terms of the mean and the variance, what is divided by, and how it is computed."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

import laminar as lm
from faults.fault import Fault

EPSILON = 1e-5

# ── over the features of an observation ──────────────────────────────────────────────────────────────────────────────────


class LayerNorm(lm.Layer):
    """Normalizes the features of each observation, then scales and shifts them; backward by hand."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = self.learnable(shape[-1], init="ones")
        self.shift = self.learnable(shape[-1], init="zeros")

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        centred = x - x.mean(-1, keepdim=True)
        inverse = torch.rsqrt(centred.square().mean(-1, keepdim=True) + EPSILON)
        n = centred * inverse
        return n * self.scale + self.shift, (n, inverse)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        n, inverse = memory
        dn = dz * self.scale
        dx = inverse * (dn - dn.mean(-1, keepdim=True) - n * (dn * n).mean(-1, keepdim=True))
        return dx, (dz * n).sum_to_size(self.scale.shape), dz.sum_to_size(self.shift.shape)


class LayerNormWithoutMean(LayerNorm):
    """dx leaves out that the mean depends on x."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        n, inverse = memory
        dn = dz * self.scale
        dx = inverse * (dn - n * (dn * n).mean(-1, keepdim=True))
        return dx, (dz * n).sum_to_size(self.scale.shape), dz.sum_to_size(self.shift.shape)


class StandardizeFunction(torch.autograd.Function):
    """(x - mean) / deviation over the last axis; one over the deviation is kept."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        inverse = torch.rsqrt(centred.square().mean(-1, keepdim=True) + EPSILON)
        z = centred * inverse
        ctx.save_for_backward(z, inverse)
        return z

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        z, inverse = ctx.saved_tensors
        return inverse * (dz - dz.mean(-1, keepdim=True) - z * (dz * z).mean(-1, keepdim=True))  # type: ignore[no-any-return]


class StandardizeFunctionTwice(StandardizeFunction):
    """The same, open to a second derivative, to which the deviation is a constant."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        z, inverse = ctx.saved_tensors
        return inverse * (dz - dz.mean(-1, keepdim=True) - z * (dz * z).mean(-1, keepdim=True))  # type: ignore[no-any-return]


class Standardize(nn.Module):
    """Gives the features of each observation mean 0 and deviation 1; refuses a second derivative."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = StandardizeFunction.apply(x)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        return z


class StandardizeTwice(nn.Module):
    """Gives the features of each observation mean 0 and deviation 1; its second derivative lacks a term."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = StandardizeFunctionTwice.apply(x)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        return z


class RootMeanSquare(nn.Module):
    """Divides the features of each observation by their root mean square, in float32 at least."""

    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))

    def size(self, x: Tensor) -> Tensor:
        return (x.square().mean(-1, keepdim=True) + EPSILON).sqrt()

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return (wide / self.size(wide)).to(x.dtype) * self.scale


class RootMeanSquareDetached(RootMeanSquare):
    """Divides by a root mean square that the gradient takes for a constant."""

    def size(self, x: Tensor) -> Tensor:
        return (x.square().mean(-1, keepdim=True) + EPSILON).sqrt().detach()


class RootMeanSquareStaysWide(RootMeanSquare):
    """Divides in float32, and does not go back to the dtype that came in."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return (wide / self.size(wide)) * self.scale


class RootMeanSquareNarrow(RootMeanSquare):
    """Divides in float32 even what came in float64."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide / self.size(wide)).to(x.dtype) * self.scale


class Contrast(nn.Module):
    """Each map of an image minus its mean, divided by its deviation: instance normalization."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean((-2, -1), keepdim=True)
        return centred / torch.sqrt(centred.square().mean((-2, -1), keepdim=True) + EPSILON)


class ContrastWithoutEpsilon(nn.Module):
    """Divides each map by its deviation, which is 0 for a map of one colour."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean((-2, -1), keepdim=True)
        return centred / torch.sqrt(centred.square().mean((-2, -1), keepdim=True))


class ContrastBySquares(nn.Module):
    """Instance normalization with the variance as the mean of the squares minus the square of the mean."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((-2, -1), keepdim=True)
        variance = (x.square().mean((-2, -1), keepdim=True) - mean.square()).clamp(min=0)
        return (x - mean) / torch.sqrt(variance + EPSILON)


class GroupFunction(torch.autograd.Function):
    """Normalizes over the channels of a group and all their pixels, (B, G, C/G, H, W)."""

    axes: ClassVar[tuple[int, ...]] = (2, 3, 4)

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        centred = x - x.mean((2, 3, 4), keepdim=True)
        inverse = torch.rsqrt(centred.square().mean((2, 3, 4), keepdim=True) + EPSILON)
        z = centred * inverse
        ctx.save_for_backward(z, inverse)
        return z

    @classmethod
    def gradient(cls, z: Tensor, inverse: Tensor, dz: Tensor) -> Tensor:
        return inverse * (dz - dz.mean(cls.axes, keepdim=True) - z * (dz * z).mean(cls.axes, keepdim=True))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        z, inverse = ctx.saved_tensors
        return GroupFunction.gradient(z, inverse, dz)


class GroupFunctionPixelsOnly(GroupFunction):
    """The means of backward leave out that a group has several channels."""

    axes = (3, 4)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        z, inverse = ctx.saved_tensors
        return GroupFunctionPixelsOnly.gradient(z, inverse, dz)


class GroupNorm(nn.Module):
    """Normalizes two groups of channels."""

    function: type[torch.autograd.Function] = GroupFunction

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x.unflatten(1, (2, -1)))
        return z.flatten(1, 2)


class GroupNormPixelsOnly(GroupNorm):
    """Normalizes two groups of channels; backward takes each channel for a group."""

    function = GroupFunctionPixelsOnly


# ── over the batch ───────────────────────────────────────────────────────────────────────────────────────────────────────


class BatchNorm(lm.Layer):
    """Normalizes each channel over batch and pixels in training, by running statistics in inference; backward by hand."""

    declares: ClassVar[tuple[str, ...]] = ("batch",)

    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = self.learnable(shape[0], init="ones")
        self.shift = self.learnable(shape[0], init="zeros")
        self.mean = self.state(shape[0], init="zeros")
        self.variance = self.state(shape[0], init="ones")

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        mean, variance = self.moments(x)
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean.dtype), 0.1)
            self.variance.lerp_(variance.to(self.variance.dtype), 0.1)
        inverse = torch.rsqrt(variance + EPSILON)
        n = (x - self.per_channel(mean, x)) * self.per_channel(inverse, x)
        return n * self.per_channel(self.scale, x) + self.per_channel(self.shift, x), (n, inverse)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        count = x.numel() // x.shape[1]
        mean = self.sum_to_channels(x) / count
        return mean, self.sum_to_channels((x - self.per_channel(mean, x)).square()) / count

    def predict(self, x: Tensor) -> Tensor:
        inverse = self.per_channel(torch.rsqrt(self.variance + EPSILON), x)
        n = (x - self.per_channel(self.mean, x)) * inverse
        return n * self.per_channel(self.scale, x) + self.per_channel(self.shift, x)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        n, inverse = memory
        dscale, dshift = self.sum_to_channels(dz * n), self.sum_to_channels(dz)
        count = x.numel() // x.shape[1]
        dn = dz - self.per_channel(dshift / count, x) - n * self.per_channel(dscale / count, x)
        return dn * self.per_channel(self.scale * inverse, x), dscale, dshift


class BatchNormWithoutVariance(BatchNorm):
    """dx leaves out that the variance depends on x."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        n, inverse = memory
        dscale, dshift = self.sum_to_channels(dz * n), self.sum_to_channels(dz)
        count = x.numel() // x.shape[1]
        dn = dz - self.per_channel(dshift / count, x)
        return dn * self.per_channel(self.scale * inverse, x), dscale, dshift


class BatchNormBySquares(BatchNorm):
    """The variance is the mean of the squares minus the square of the mean."""

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        count = x.numel() // x.shape[1]
        mean = self.sum_to_channels(x) / count
        return mean, (self.sum_to_channels(x.square()) / count - mean.square()).clamp(min=0)


FAULTS: list[Fault] = [
    Fault("the mean's term missing in layer norm", "backward-autograd", LayerNormWithoutMean, LayerNorm, (6,)),
    Fault("the variance's term missing in batch norm", "backward-autograd", BatchNormWithoutVariance, BatchNorm, (3, 4, 4)),
    Fault("means over pixels, not over the group", "gradient-differences", GroupNormPixelsOnly, GroupNorm, (4, 3, 3)),
    Fault("the divisor detached", "gradient-differences", RootMeanSquareDetached, RootMeanSquare, (6,)),
    Fault("an intermediate result kept as a constant", "second-derivative", StandardizeTwice, Standardize, (6,)),
    Fault("float32 handed out for bfloat16", "dtypes", RootMeanSquareStaysWide, RootMeanSquare, (6,)),
    Fault("float64 computed in float32", "dtypes", RootMeanSquareNarrow, RootMeanSquare, (6,)),
    Fault("no epsilon: 0/0 for a constant map", "extreme-inputs", ContrastWithoutEpsilon, Contrast, (2, 4, 4)),
    Fault("variance by squares in instance norm", "offset-inputs", ContrastBySquares, Contrast, (2, 4, 4)),
    Fault("variance by squares in batch norm", "offset-inputs", BatchNormBySquares, BatchNorm, (3, 4, 4)),
]
