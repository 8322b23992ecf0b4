"""Mistakes in convolutions, pooling and upsampling (row R27: correlation for dW, full convolution with flipped kernel for dx)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

import laminar as lm
from faults.fault import Fault
from laminar.errors import ShapeError

# ── convolution ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Convolution(lm.Layer):
    """Correlates an image with three kernels of 3 × 3, without padding, by unfolding."""

    def check_input(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or min(shape[1:]) < 3:
            raise ShapeError(f"{self.label}: expected (C, H, W) with H and W of 3 or more, received {shape}. Pad it.")

    def build(self, shape: tuple[int, ...]) -> None:  # (C, H, W)
        self.weight = self.learnable((3, shape[0], 3, 3))
        self.bias = self.learnable(3, init="zeros")

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.flatten(1) @ F.unfold(x, 3) + self.bias[:, None]  # (B, 3, (H-2)(W-2))
        z: Tensor = flat.unflatten(-1, (x.shape[-2] - 2, x.shape[-1] - 2))
        return z

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dx = F.conv2d(dz, self.weight.flip(-2, -1).transpose(0, 1), padding=2)
        dweight = F.conv2d(x.transpose(0, 1), dz.transpose(0, 1)).transpose(0, 1)
        return dx, dweight, dz.sum((0, 2, 3))


class ConvolutionNotFlipped(Convolution):
    """dx by the kernel as it is, where the full convolution takes it flipped."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dx = F.conv2d(dz, self.weight.transpose(0, 1), padding=2)
        dweight = F.conv2d(x.transpose(0, 1), dz.transpose(0, 1)).transpose(0, 1)
        return dx, dweight, dz.sum((0, 2, 3))


class ConvolutionMeanOfMap(Convolution):
    """The bias' gradient is the mean over each map, where every pixel counts in full."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dx = F.conv2d(dz, self.weight.flip(-2, -1).transpose(0, 1), padding=2)
        dweight = F.conv2d(x.transpose(0, 1), dz.transpose(0, 1)).transpose(0, 1)
        return dx, dweight, dz.mean((2, 3)).sum(0)


class UnfoldedFunction(torch.autograd.Function):
    """Correlation by unfolding; the columns are kept for the weights' gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        columns = F.unfold(x, 3)  # (B, C·9, L)
        ctx.save_for_backward(weight, columns)
        ctx.size = x.shape[-2:]  # type: ignore[attr-defined]
        z: Tensor = (weight.flatten(1) @ columns).unflatten(-1, (x.shape[-2] - 2, x.shape[-1] - 2))
        return z

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor]:
        weight, columns = ctx.saved_tensors
        flat = dz.flatten(2).to(weight.dtype)
        dx = F.fold(weight.flatten(1).mT @ flat, ctx.size, 3)
        dweight = torch.einsum("bfl,bkl->fk", flat, columns)
        return dx, dweight.reshape(weight.shape)


class UnfoldedFunctionMixedUp(UnfoldedFunction):
    """The columns hold all nine positions of a channel, then the next: here they are read the other way round."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor]:
        weight, columns = ctx.saved_tensors
        flat = dz.flatten(2).to(weight.dtype)
        dx = F.fold(weight.flatten(1).mT @ flat, ctx.size, 3)
        dweight = torch.einsum("bfl,bkl->fk", flat, columns).unflatten(1, (9, -1)).mT
        return dx, dweight.reshape(weight.shape)


class Unfolded(nn.Module):
    """Correlates an image of two channels with three kernels of 3 × 3."""

    function: type[torch.autograd.Function] = UnfoldedFunction

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, 2, 3, 3, generator=generator) / 4)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x, self.weight)
        return z


class UnfoldedMixedUp(Unfolded):
    """Correlates an image; channels and positions change places in the weights' gradient."""

    function = UnfoldedFunctionMixedUp


class WorkspaceFunction(torch.autograd.Function):
    """Correlation by unfolding into columns that the layer keeps, so that no memory is allocated at each step."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, layer: Unfolded) -> Tensor:
        layer.columns = F.unfold(x, 3)
        ctx.save_for_backward(weight)
        ctx.layer, ctx.size = layer, x.shape[-2:]  # type: ignore[attr-defined]
        z: Tensor = (weight.flatten(1) @ layer.columns).unflatten(-1, (x.shape[-2] - 2, x.shape[-1] - 2))
        return z

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor, None]:
        (weight,) = ctx.saved_tensors
        flat = dz.flatten(2).to(weight.dtype)
        dx = F.fold(weight.flatten(1).mT @ flat, ctx.size, 3)
        dweight = torch.einsum("bfl,bkl->fk", flat, ctx.layer.columns)
        return dx, dweight.reshape(weight.shape), None


class UnfoldedWorkspace(Unfolded):
    """Correlates an image; the columns of the last call are those of every backward."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = WorkspaceFunction.apply(x, self.weight, self)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        return z


class CausalConvolution(lm.Layer):
    """Each step of a series sees itself and the two before it: (C, L) -> (2, L)."""

    def build(self, shape: tuple[int, ...]) -> None:  # (C, L)
        self.weight = self.learnable((2, shape[0], 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(F.pad(x, (2, 0)), self.weight)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        full = F.conv1d(dz, self.weight.flip(-1).transpose(0, 1), padding=2)  # (B, C, L + 2), of the padded input
        dweight = F.conv1d(F.pad(x, (2, 0)).transpose(0, 1), dz.transpose(0, 1)).transpose(0, 1)
        return full[..., 2:], dweight


class CausalConvolutionWrongEnd(CausalConvolution):
    """The padding is cut off dx at the wrong end: gradients arrive two steps late."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        full = F.conv1d(dz, self.weight.flip(-1).transpose(0, 1), padding=2)
        dweight = F.conv1d(F.pad(x, (2, 0)).transpose(0, 1), dz.transpose(0, 1)).transpose(0, 1)
        return full[..., :-2], dweight


# ── pooling ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class AveragePooling(lm.Layer):
    """The mean of each window of 2 × 2; a last odd row or column is left out."""

    def check_input(self, shape: tuple[int, ...]) -> None:
        if min(shape[-2:]) < 2:
            raise ShapeError(f"{self.label}: expected (C, H, W) with H and W of 2 or more, received {shape}. Pad it.")

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        dx = dz.repeat_interleave(2, -2).repeat_interleave(2, -1) / 4
        return F.pad(dx, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))


class AveragePoolingNotDivided(AveragePooling):
    """Every pixel of a window gets the whole gradient, where it is a quarter."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        dx = dz.repeat_interleave(2, -2).repeat_interleave(2, -1)
        return F.pad(dx, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))


class Upsampling(lm.Layer):
    """Repeats each pixel 2 × 2 times."""

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(2, -2).repeat_interleave(2, -1)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        dx: Tensor = dz.unflatten(-1, (-1, 2)).sum(-1).unflatten(-2, (-1, 2)).sum(-2)
        return dx


class UpsamplingMean(Upsampling):
    """The mean of the four gradients, where the pixel gets their sum."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        dx: Tensor = dz.unflatten(-1, (-1, 2)).mean(-1).unflatten(-2, (-1, 2)).mean(-2)
        return dx


class OverlapFunction(torch.autograd.Function):
    """The largest number of each window of 3, every second place: windows share a place with their neighbours."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        z, place = F.max_pool1d(x, 3, 2, return_indices=True)
        ctx.save_for_backward(place)
        ctx.length = x.shape[-1]  # type: ignore[attr-defined]
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (place,) = ctx.saved_tensors
        return dz.new_zeros(*dz.shape[:-1], ctx.length).scatter_add(-1, place, dz)


class OverlapFunctionLastWins(OverlapFunction):
    """Where two windows chose the same place, the second gradient takes the place of the first."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (place,) = ctx.saved_tensors
        return dz.new_zeros(*dz.shape[:-1], ctx.length).scatter(-1, place, dz)


class OverlappingPooling(nn.Module):
    """Max-pooling of series by overlapping windows: 3 wide, 2 apart."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = OverlapFunction.apply(x)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        return z


class OverlappingPoolingLastWins(nn.Module):
    """Max-pooling by overlapping windows, whose gradients replace each other where they should add up."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = OverlapFunctionLastWins.apply(x)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        return z


FAULTS: list[Fault] = [
    Fault("kernel not flipped in dx", "backward-autograd", ConvolutionNotFlipped, Convolution, (2, 6, 5)),
    Fault("padding cut off at the wrong end", "backward-autograd", CausalConvolutionWrongEnd, CausalConvolution, (2, 7)),
    Fault("bias' gradient is the mean over a map", "gradient-scale", ConvolutionMeanOfMap, Convolution, (2, 6, 5)),
    Fault("the window's size forgotten in backward", "gradient-scale", AveragePoolingNotDivided, AveragePooling, (2, 6, 4)),
    Fault("mean for sum where a pixel was repeated", "gradient-scale", UpsamplingMean, Upsampling, (2, 3, 4)),
    Fault("channels and kernel positions mixed up in dW", "gradient-differences", UnfoldedMixedUp, Unfolded, (2, 6, 5)),
    Fault(
        "gradients of overlapping windows replace each other",
        "gradient-differences",
        OverlappingPoolingLastWins,
        OverlappingPooling,
        (2, 9),
    ),
    Fault("columns kept on the layer for backward", "used-twice", UnfoldedWorkspace, Unfolded, (2, 6, 5)),
]
