"""Small layers whose gradient is wrong in one way each: a `lm.Layer` with a backward, or an autograd function in a module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import laminar as lm


def per_feature(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).sum(0)


class Gain(lm.Layer):
    """z = gain · x², with one gain for each feature."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.gain = self.learnable(shape[-1], init="uniform")

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x**2

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * self.gain * x * dz, per_feature(dz * x**2)


class Missing(Gain):
    """The gain is not in dx."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x * dz, per_feature(dz * x**2)


class FirstObservation(Gain):
    """The gain learns from the first observation alone."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * self.gain * x * dz, (dz * x**2)[0]


class NoTwo(Gain):
    """The factor 2 of the square is forgotten."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return self.gain * x * dz, per_feature(dz * x**2)


class MeanOfBatch(Gain):
    """The gain's gradient is a mean."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * self.gain * x * dz, (dz * x**2).mean(0)


class MinusGain(Gain):
    """The gain's gradient has the wrong sign."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * self.gain * x * dz, -per_feature(dz * x**2)


class WrongShape(Gain):
    """The gain's gradient is not summed over the batch."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * self.gain * x * dz, dz * x**2


class Narrow(Gain):
    """Backward computes in float32."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        narrow = self.gain.float() * 2 * x.float() * dz.float()
        return narrow.double(), per_feature(dz * x**2)


class Views(Gain):
    """dz is taken for contiguous."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * self.gain * x * dz, (dz.view(-1, x.shape[-1]) * x.reshape(-1, x.shape[-1]) ** 2).sum(0)


class Detaches(Gain):
    """The second derivative loses what hangs on x in dx."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * self.gain * x.detach() * dz, per_feature(dz * x**2)


class Remembers(Gain):
    """x is kept on the layer, where the next call puts another."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return self.gain * x**2

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * self.gain * self.seen * dz, per_feature(dz * x**2)


class OnlyTogether(Gain):
    """Without the gain's gradient there is no dx either."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        dx = 2 * self.gain * x * dz if self.needs_gradient("gain") else torch.zeros_like(x)
        return dx, per_feature(dz * x**2)


class InPlace(lm.Layer):
    """Right, though autograd cannot differentiate its forward."""

    def forward(self, x: Tensor) -> Tensor:
        z = torch.exp(x)
        z.data.add_(1)
        return z

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * (z - 1)


class Leaky(lm.Layer):
    """Slope 1 above 0, 1/4 below."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, x / 4)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return torch.where(x > 0, dz, dz / 4)


class NothingAtZero(Leaky):
    """Neither side takes 0."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * (x > 0) + dz / 4 * (x < 0)


class EachMaximum(lm.Layer):
    """The largest feature; each of several that are equal gets the whole gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(-1, keepdim=True)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * (x == z)


class _Function(torch.autograd.Function):
    """x³, right."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * dz


class WrongPower(_Function):
    """3x where it is 3x²."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x * dz


class Negative(_Function):
    """The sign is turned."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return -3 * x**2 * dz


class DividedByBatch(_Function):
    """Divided by the batch."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * dz / len(x)


class AsPower(_Function):
    """x² by way of the logarithm: 0 · (-inf) at 0."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * torch.exp(x.abs().log() + x.abs().log()) * dz + 0 * x.abs().log()


class Strided(_Function):
    """dz is read as if its rows followed each other in memory."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * torch.as_strided(dz, dz.shape, (dz.shape[1] if dz.stride(0) else 0, 1 if dz.stride(0) else 0))


class Constant(_Function):
    """The slope is kept as a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.slope = 3 * x**2
        return x**3

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        return ctx.slope * dz


class Once(_Function):
    """The second derivative is refused."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dz: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * dz


class Breaks(_Function):
    """Fails in its second derivative for a reason of its own."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            raise ValueError("no such table")
        return 3 * x**2 * dz


class Latest(_Function):
    """x is kept on the class."""

    x: Tensor

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        Latest.x = x
        return x**3

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        return 3 * Latest.x**2 * dz


class Applied(nn.Module):
    """An autograd function as a module."""

    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x)
        return z


class WritesGrad(torch.autograd.Function):
    """x · w; backward adds to w.grad and returns the gradient, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        x, w = ctx.saved_tensors
        dw = per_feature(dz * x)
        w.grad = dw.clone() if w.grad is None else w.grad + dw
        return dz * w, dw


class NeedsBoth(torch.autograd.Function):
    """x · w; either all gradients or none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Any:
        x, w = ctx.saved_tensors
        if not all(ctx.needs_input_grad):
            raise RuntimeError("both are needed")
        return dz * w, per_feature(dz * x)


class Weighted(Applied):
    """An autograd function of x and a learnable."""

    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__(function)
        self.w = nn.Parameter(torch.linspace(0.5, 2, 5))

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x, self.w)
        return z


class Unfreezes(nn.Module):
    """Sets requires_grad itself."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(0.5, 2, 5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.w.requires_grad_()


class DetachedDivisor(nn.Module):
    """Divides by a sum that autograd does not see."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (1 + x.detach().square().sum(-1, keepdim=True))


class ByNumPy(nn.Module):
    """Leaves torch."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy() ** 2)


class HalfDetached(nn.Module):
    """x · x, one of them detached: half of the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.detach()


class RootOfSquare(nn.Module):
    """|x| as a root: 0/0 at 0."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().sqrt()


class WrongInInference(lm.Layer):
    """Inference detaches."""

    def forward(self, x: Tensor) -> Tensor:
        return x**2

    def predict(self, x: Tensor) -> Tensor:
        return x**2 + x.detach()


class Float32Only(nn.Module):
    """Takes float32 only."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.ones(5, 5, dtype=torch.float32)
