"""Mistakes where a function has a corner, a 0 under a root, or two largest numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

import laminar as lm
from faults.fault import Fault


class SmoothELU(lm.Layer):
    """z = x for x > 0, exp(x) - 1 elsewhere: at 0 the slope is 1 from both sides."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, torch.expm1(x.clamp(max=0)))

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * ((x > 0) + (x <= 0) * (z + 1))


class SmoothELUNothingAtZero(SmoothELU):
    """Neither x > 0 nor x < 0 holds for x = 0, which gets no gradient."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * ((x > 0) + (x < 0) * (z + 1))


class RoundedAbsFunction(torch.autograd.Function):
    """x²/2 within ±1, |x| - 1/2 beyond, where the slope stays at 1."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        size = x.abs()
        return torch.where(size < 1, x * x / 2, size - 0.5)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx: Tensor = dz * (x * (x.abs() < 1) + (x >= 1).to(x.dtype) - (x <= -1).to(x.dtype))
        return dx


class RoundedAbsFunctionHoles(RoundedAbsFunction):
    """At ±1 neither the inner nor the outer slope is taken."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx: Tensor = dz * (x * (x.abs() < 1) + (x > 1).to(x.dtype) - (x < -1).to(x.dtype))
        return dx


class RoundedAbs(nn.Module):
    """The size of a number, rounded off near 0 as Huber did."""

    function: type[torch.autograd.Function] = RoundedAbsFunction

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x)
        return z


class RoundedAbsHoles(RoundedAbs):
    """The size of a number, rounded off near 0; at ±1 it has no gradient."""

    function = RoundedAbsFunctionHoles


class Size(nn.Module):
    """|x|, with one weight for each of six features."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 6))

    def size(self, x: Tensor) -> Tensor:
        return x.abs()

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * self.size(x)


class SizeByRoot(Size):
    """|x| as the root of x², whose gradient at 0 is 0/0."""

    def size(self, x: Tensor) -> Tensor:
        return x.square().sqrt()


class Wave(nn.Module):
    """sin(πx)/(πx), and 1 at 0; in float32 at least, because angles do not bear rounding."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return self.wave(wide).to(x.dtype)

    def wave(self, x: Tensor) -> Tensor:
        return torch.sinc(x)


class WaveByWhere(Wave):
    """sin(πx)/(πx), and 1 at 0: the branch that is not taken is differentiated all the same."""

    def wave(self, x: Tensor) -> Tensor:
        angle = torch.pi * x
        return torch.where(x == 0, torch.ones_like(x), torch.sin(angle) / angle)


class Power(nn.Module):
    """|x| to a power that is learned, 1.5 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return x.abs().pow(self.power)


class PowerByLogarithm(Power):
    """|x| to a power by way of its logarithm, which is infinite at 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(self.power * torch.log(x.abs()))


class PeakFunction(torch.autograd.Function):
    """The largest number of the last axis; equal ones share the gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        z = x.amax(-1)
        ctx.save_for_backward(x, z)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        x, z = ctx.saved_tensors
        largest = (x == z[..., None]).to(x.dtype)
        dx: Tensor = dz[..., None] * largest / largest.sum(-1, keepdim=True).clamp(min=1)
        return dx


class PeakFunctionEach(PeakFunction):
    """The largest number of the last axis; equal ones get the whole gradient each."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        x, z = ctx.saved_tensors
        largest = (x == z[..., None]).to(x.dtype)
        dx: Tensor = dz[..., None] * largest
        return dx


class Peak(nn.Module):
    """The largest number of each series: (C, L) -> (C,)."""

    function: type[torch.autograd.Function] = PeakFunction

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x)
        return z


class PeakEach(Peak):
    """The largest number of each series; in a tie its gradient is counted more than once."""

    function = PeakFunctionEach


FAULTS: list[Fault] = [
    Fault("no gradient at 0, where the slope is 1", "gradient-kinks", SmoothELUNothingAtZero, SmoothELU, (6,)),
    Fault("no gradient at ±1, where two pieces meet", "gradient-kinks", RoundedAbsHoles, RoundedAbs, (6,)),
    Fault("|x| as a root: 0/0 in the gradient", "gradient-kinks", SizeByRoot, Size, (6,)),
    Fault("NaN from the branch of where that is not taken", "gradient-kinks", WaveByWhere, Wave, (6,)),
    Fault("a power by way of the logarithm of 0", "gradient-kinks", PowerByLogarithm, Power, (6,)),
    Fault("each of equal maxima gets the whole gradient", "gradient-kinks", PeakEach, Peak, (2, 4)),
]
