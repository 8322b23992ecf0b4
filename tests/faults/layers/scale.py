"""Mistakes in a hand-written backward that leave its direction right: a sign, a factor of the batch, 2, one half."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

import laminar as lm
from faults.fault import Fault


class Gaussian(lm.Layer):
    """z = exp(-x²), the bell."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(-x.square())

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return -2 * dz * x * z


class GaussianSign(Gaussian):
    """The inner derivative without its sign."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return 2 * dz * x * z


class Threshold(lm.Layer):
    """z = tanh(x W - threshold): neurons that fire above a threshold each."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((shape[-1], 4))
        self.threshold = self.learnable(4, init="zeros")

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight - self.threshold)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        da = dz * (1 - z * z)
        return da @ self.weight.mT, x.flatten(0, -2).mT @ da.flatten(0, -2), -da.sum_to_size(self.threshold.shape)


class ThresholdSign(Threshold):
    """The threshold's gradient as if it were a bias, which is added."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        da = dz * (1 - z * z)
        return da @ self.weight.mT, x.flatten(0, -2).mT @ da.flatten(0, -2), da.sum_to_size(self.threshold.shape)


class Linear(lm.Layer):
    """z = x W + b, four units."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((shape[-1], 4))
        self.bias = self.learnable(4, init="zeros")

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return dz @ self.weight.mT, x.flatten(0, -2).mT @ dz.flatten(0, -2), dz.sum_to_size(self.bias.shape)


class LinearMeanOfBatch(Linear):
    """The weights' gradient is divided by the batch size, which the loss has done already."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dweight = x.flatten(0, -2).mT @ dz.flatten(0, -2) / len(x)
        return dz @ self.weight.mT, dweight, dz.sum_to_size(self.bias.shape)


class AveragedSkip(lm.Layer):
    """z = (a + b) / 2 of two inputs: a skip connection that keeps the size of the numbers."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a + b) / 2

    def backward(self, x: tuple[Tensor, Tensor], z: Tensor, dz: Tensor) -> tuple[tuple[Tensor, Tensor]]:
        return ((dz / 2, dz / 2),)


class AveragedSkipWithoutHalf(AveragedSkip):
    """The gradient of the sum, where the mean was taken."""

    def backward(self, x: tuple[Tensor, Tensor], z: Tensor, dz: Tensor) -> tuple[tuple[Tensor, Tensor]]:
        return ((dz, dz),)


class Dropout(lm.Layer):
    """Sets a quarter of the numbers to 0 in training, and divides the others by 3/4."""

    declares: ClassVar[tuple[str, ...]] = ("random",)
    keep = 0.75

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # drawn in float32 whatever comes in: the same numbers are dropped
        mask = torch.rand(x.shape, dtype=torch.float32, device=x.device) < self.keep
        return x * mask / self.keep, mask

    def predict(self, x: Tensor) -> Tensor:
        return x

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Tensor) -> Tensor:
        return dz * memory / self.keep


class DropoutWithoutScale(Dropout):
    """The mask comes back in backward, the division by 3/4 does not."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Tensor) -> Tensor:
        return dz * memory


class SquareFunction(torch.autograd.Function):
    """w x²."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return weight * x * x

    @staticmethod
    def backward(ctx: FunctionCtx, dz: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        return 2 * dz * weight * x, (dz * x * x).sum_to_size(weight.shape)


class SquareFunctionWithoutTwo(SquareFunction):
    """w x², whose derivative by x is said to be w x."""

    @staticmethod
    def backward(ctx: FunctionCtx, dz: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        return dz * weight * x, (dz * x * x).sum_to_size(weight.shape)


class Energy(nn.Module):
    """Squares its input, with one weight for each feature."""

    function: type[torch.autograd.Function] = SquareFunction

    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, features))

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x, self.weight)
        return z


class EnergyWithoutTwo(Energy):
    """Squares its input, and forgets the square's factor of 2."""

    function = SquareFunctionWithoutTwo


FAULTS: list[Fault] = [
    Fault("sign of dx", "gradient-scale", GaussianSign, Gaussian, (6,)),
    Fault("sign of one learnable's gradient", "gradient-scale", ThresholdSign, Threshold, (6,)),
    Fault("mean over the batch where the sum is meant", "gradient-scale", LinearMeanOfBatch, Linear, (6,)),
    Fault("one half of an averaged skip forgotten", "gradient-scale", AveragedSkipWithoutHalf, AveragedSkip, ((6,), (6,))),
    Fault("dropout's scale forgotten in backward", "gradient-scale", DropoutWithoutScale, Dropout, (8,)),
    Fault("factor 2 of a square forgotten", "gradient-scale", EnergyWithoutTwo, Energy, (6,)),
]
