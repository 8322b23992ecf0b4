"""Mistakes in plain modules around a `torch.autograd.Function`: layouts, second derivatives, freezing, several uses."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from faults.fault import Fault


def start(*shape: int) -> nn.Parameter:
    """Return a parameter of numbers around 0, the same each time."""
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)) / shape[-1] ** 0.5)


# ── the derivative itself ────────────────────────────────────────────────────────────────────────────────────────────────


class SoftmaxFunction(torch.autograd.Function):
    """Softmax over the last axis."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        z = torch.softmax(x, -1)
        ctx.save_for_backward(z)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return z * (dz - (dz * z).sum(-1, keepdim=True))  # type: ignore[no-any-return]


class SoftmaxFunctionUnweighted(SoftmaxFunction):
    """Softmax over the last axis, whose gradients are summed without their weights."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return z * (dz - dz.sum(-1, keepdim=True))  # type: ignore[no-any-return]


class Softmax(nn.Module):
    """Turns scores into shares that add up to 1."""

    function: type[torch.autograd.Function] = SoftmaxFunction

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x)
        return z


class SoftmaxUnweighted(Softmax):
    """Turns scores into shares; in backward the sum over the others lacks their shares."""

    function = SoftmaxFunctionUnweighted


class LookUpFunction(torch.autograd.Function):
    """Rows of a table by their number."""

    @staticmethod
    def forward(ctx: FunctionCtx, index: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(index, table)
        return table[index]

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[None, Tensor]:
        index, table = ctx.saved_tensors
        return None, torch.zeros_like(table).index_put((index,), dz, accumulate=True)


class LookUpFunctionOnce(LookUpFunction):
    """Rows of a table by their number; a number that comes twice counts once."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[None, Tensor]:
        index, table = ctx.saved_tensors
        return None, torch.zeros_like(table).index_put((index,), dz)


class LookUp(nn.Module):
    """Turns each of five whole numbers into a vector of three numbers that are learned."""

    function: type[torch.autograd.Function] = LookUpFunction

    def __init__(self) -> None:
        super().__init__()
        self.table = start(5, 3)

    def forward(self, index: Tensor) -> Tensor:
        z: Tensor = self.function.apply(index, self.table)
        return z


class LookUpOnce(LookUp):
    """Turns whole numbers into vectors; of equal numbers only one is learned from."""

    function = LookUpFunctionOnce


def whole_numbers(batch: int, generator: torch.Generator) -> Tensor:
    """Return rows of four numbers below five; some number comes twice in most of them."""
    return torch.randint(5, (batch, 4), generator=generator)


class PeakNormalized(nn.Module):
    """Divides each series by its largest size, but by 1 at least."""

    def peak(self, x: Tensor) -> Tensor:
        return x.abs().amax(-1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        return x / self.peak(x).clamp(min=1)


class PeakNormalizedByData(PeakNormalized):
    """Divides by a size that was read from `.data`, so that the gradient does not see it."""

    def peak(self, x: Tensor) -> Tensor:
        return x.data.abs().amax(-1, keepdim=True)


# ── layouts ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class SwapFunction(torch.autograd.Function):
    """Swaps the last two axes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.mT.contiguous()

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        return dz.mT.contiguous()


class SwapFunctionByStrides(SwapFunction):
    """Swaps the last two axes by strides, as those of a tensor in the usual order are."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        batch, m, n = dz.shape
        return dz.as_strided((batch, n, m), (m * n, 1, n)).contiguous()


class Swap(nn.Module):
    """Hands on a table (T, F) as (F, T)."""

    function: type[torch.autograd.Function] = SwapFunction

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x)
        return z


class SwapByStrides(Swap):
    """Hands on a table (T, F) as (F, T); backward reads the gradient's memory in the order it expects."""

    function = SwapFunctionByStrides


class ProjectFunction(torch.autograd.Function):
    """x W over the last axis, whatever axes stand before."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        dz = dz.to(weight.dtype)
        dx = dz @ weight.mT if ctx.needs_input_grad[0] else None
        dweight = x.reshape(-1, x.shape[-1]).mT @ dz.reshape(-1, dz.shape[-1]) if ctx.needs_input_grad[1] else None
        return dx, dweight


class ProjectFunctionView(ProjectFunction):
    """x W, whose backward can only view a gradient that lies in one piece."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        dz = dz.to(weight.dtype)
        dx = dz @ weight.mT if ctx.needs_input_grad[0] else None
        dweight = x.reshape(-1, x.shape[-1]).mT @ dz.view(-1, dz.shape[-1]) if ctx.needs_input_grad[1] else None
        return dx, dweight


class ProjectFunctionTwice(ProjectFunction):
    """x W, whose backward adds to the weight's .grad itself, and returns the gradient as well."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, Tensor | None]:
        dx, dweight = ProjectFunction.backward(ctx, dz)
        weight = ctx.saved_tensors[1]
        if dweight is not None:
            weight.grad = dweight if weight.grad is None else weight.grad + dweight
        return dx, dweight


class Project(nn.Module):
    """Multiplies the last axis by a matrix: six numbers become four."""

    function: type[torch.autograd.Function] = ProjectFunction

    def __init__(self) -> None:
        super().__init__()
        self.weight = start(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x, self.weight)
        return z


class ProjectView(Project):
    """Multiplies by a matrix; backward stops at a gradient that is transposed."""

    function = ProjectFunctionView


class ProjectTwice(Project):
    """Multiplies by a matrix; the matrix' gradient is counted twice."""

    function = ProjectFunctionTwice


class ProjectUnfreezes(Project):
    """Multiplies by a matrix that learns even after it was frozen."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x, self.weight.requires_grad_())
        return z


class ProjectFrozenStops(Project):
    """Saves the graph's memory where the matrix is frozen, and with it the gradient of the layers below."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.weight.requires_grad):
            z: Tensor = self.function.apply(x, self.weight)
        return z


class LeakFunction(torch.autograd.Function):
    """x above 0, a tenth of it below; the gradient is laid out like x."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, x / 10)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        return dx.copy_(torch.where(x > 0, dz, dz / 10))


class LeakFunctionStrides(LeakFunction):
    """The gradient gets the strides of x, and has no room for its numbers where x is expanded."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
        return dx.copy_(torch.where(x > 0, dz, dz / 10))


class LeakFunctionShortcut(LeakFunction):
    """A gradient with a stride of 0 is taken for one number everywhere."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if 0 in dz.stride():  # of a sum: nothing to read but the first
            dz = dz[(0,) * dz.dim()]
        return torch.where(x > 0, dz, dz / 10)


class Leak(nn.Module):
    """Lets a tenth of what is negative through."""

    function: type[torch.autograd.Function] = LeakFunction

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x)
        return z


class LeakStrides(Leak):
    """Lets a tenth of what is negative through; an expanded input breaks backward."""

    function = LeakFunctionStrides


class LeakShortcut(Leak):
    """Lets a tenth of what is negative through; a gradient expanded along one axis is taken for one of all."""

    function = LeakFunctionShortcut


# ── second derivatives, freezing, several uses ───────────────────────────────────────────────────────────────────────────


class SoftplusFunction(torch.autograd.Function):
    """log(1 + exp(x))."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.softplus(x)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return dz * torch.sigmoid(x)


class SoftplusFunctionData(SoftplusFunction):
    """log(1 + exp(x)); backward reads x past the graph."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return dz * torch.sigmoid(x.data)


class SoftplusFunctionSlope(SoftplusFunction):
    """log(1 + exp(x)); its slope is computed in forward and kept on ctx."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.slope = torch.sigmoid(x)  # type: ignore[attr-defined]
        return F.softplus(x)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        return dz * ctx.slope  # type: ignore[no-any-return]


class SoftplusFunctionLatest(SoftplusFunction):
    """log(1 + exp(x)); x is kept on the class, where the next call puts its own."""

    latest: Tensor

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        SoftplusFunctionLatest.latest = x
        return F.softplus(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        return dz * torch.sigmoid(SoftplusFunctionLatest.latest)


class Softplus(nn.Module):
    """A smooth max(x, 0)."""

    function: type[torch.autograd.Function] = SoftplusFunction

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x)
        return z


class SoftplusData(Softplus):
    """A smooth max(x, 0), whose second derivative by x is lost in `.data`."""

    function = SoftplusFunctionData


class SoftplusSlope(Softplus):
    """A smooth max(x, 0), whose slope is a constant to the second derivative."""

    function = SoftplusFunctionSlope


class SoftplusLatest(Softplus):
    """A smooth max(x, 0), which remembers the latest x of all layers of its kind."""

    function = SoftplusFunctionLatest


class AffineFunction(torch.autograd.Function):
    """scale x + shift; what nobody asks for is not computed."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return x * scale + shift

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        dscale = (dz * x).sum_to_size(scale.shape) if ctx.needs_input_grad[1] else None
        dshift = dz.sum_to_size(scale.shape) if ctx.needs_input_grad[2] else None
        return dz * scale, dscale, dshift


class AffineFunctionOneFlag(AffineFunction):
    """scale x + shift; whether the shift learns decides for both."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        dscale = (dz * x).sum_to_size(scale.shape) if ctx.needs_input_grad[2] else None
        dshift = dz.sum_to_size(scale.shape) if ctx.needs_input_grad[2] else None
        return dz * scale, dscale, dshift


class Affine(nn.Module):
    """Scales and shifts each of six features."""

    function: type[torch.autograd.Function] = AffineFunction

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 6))
        self.shift = nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x, self.scale, self.shift)
        return z


class AffineOneFlag(Affine):
    """Scales and shifts features; the scale stops learning with the shift."""

    function = AffineFunctionOneFlag


FAULTS: list[Fault] = [
    Fault("softmax's inner sum without the shares", "gradient-differences", SoftmaxUnweighted, Softmax, (5,)),
    Fault(
        "rows looked up twice learn once", "gradient-differences", LookUpOnce, LookUp, (4,), options={"sample": whole_numbers}
    ),
    Fault("divisor read from .data", "gradient-differences", PeakNormalizedByData, PeakNormalized, (5,)),
    Fault("gradient read by strides that it may not have", "gradient-layouts", SwapByStrides, Swap, (3, 4)),
    Fault("a view of a gradient that may be transposed", "gradient-layouts", ProjectView, Project, (5, 6)),
    Fault("gradient laid out like an expanded input", "gradient-layouts", LeakStrides, Leak, (3, 4)),
    Fault("an expanded gradient taken for one number", "gradient-layouts", LeakShortcut, Leak, (3, 4)),
    Fault("backward reads .data", "second-derivative", SoftplusData, Softplus, (6,)),
    Fault("the slope kept on ctx as a constant", "second-derivative", SoftplusSlope, Softplus, (6,)),
    Fault("one flag decides for both learnables", "frozen", AffineOneFlag, Affine, (6,)),
    Fault("forward unfreezes what it uses", "frozen", ProjectUnfreezes, Project, (6,)),
    Fault("a frozen layer stops the gradient of its input", "frozen", ProjectFrozenStops, Project, (6,)),
    Fault("the input kept on the class", "used-twice", SoftplusLatest, Softplus, (6,)),
    Fault("backward also writes .grad", "used-twice", ProjectTwice, Project, (6,)),
]
