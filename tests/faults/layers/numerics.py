"""Mistakes with very large, very small and equal numbers, and with NaN."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import laminar as lm
from faults.fault import Fault

# ── overflow, and 0/0 ────────────────────────────────────────────────────────────────────────────────────────────────────


class LearnedELU(lm.Layer):
    """z = x for x > 0, alpha (exp(x) - 1) elsewhere, differentiated by autograd."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.alpha = self.learnable(shape[0], init="ones")

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.per_channel(self.alpha, x) * (torch.exp(x.clamp(max=0)) - 1))


class LearnedELUOverflows(LearnedELU):
    """exp(x) is infinite where it is not used, and so is its gradient: infinity times 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.per_channel(self.alpha, x) * (torch.exp(x) - 1))


class Shares(nn.Module):
    """Turns scores into shares that add up to 1."""

    def forward(self, x: Tensor) -> Tensor:
        e = torch.exp(x - x.amax(-1, keepdim=True))
        return e / e.sum(-1, keepdim=True)


class SharesUnshifted(nn.Module):
    """Turns scores into shares, by exponentials that may be infinite."""

    def forward(self, x: Tensor) -> Tensor:
        e = torch.exp(x)
        return e / e.sum(-1, keepdim=True)


class LogShares(nn.Module):
    """Logarithms of shares."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log_softmax(x, -1)


class LogSharesByLogarithm(nn.Module):
    """Logarithms of shares, of which some are 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(torch.softmax(x, -1))


class SmoothRamp(lm.Layer):
    """log(1 + exp(x)), with a shift for each feature."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.shift = self.learnable(shape[-1], init="zeros")

    def forward(self, x: Tensor) -> Tensor:
        u = x + self.shift
        return u.clamp(min=0) + torch.log1p(torch.exp(-u.abs()))


class SmoothRampByTheBook(SmoothRamp):
    """log(1 + exp(x)) as the book has it: infinite from 89 on."""

    def forward(self, x: Tensor) -> Tensor:
        u = x + self.shift
        return torch.log(1 + torch.exp(u))


class SelfGate(nn.Module):
    """x sigmoid(x)."""

    def gate(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class SelfGateByExponentials(SelfGate):
    """x exp(x)/(1 + exp(x)): infinity by infinity from 89 on."""

    def gate(self, x: Tensor) -> Tensor:
        e = torch.exp(x)
        return e / (1 + e)


class LogCosh(nn.Module):
    """log cosh x: x²/2 near 0, |x| far away."""

    def forward(self, x: Tensor) -> Tensor:
        return x + F.softplus(-2 * x) - math.log(2)


class LogCoshByTheBook(nn.Module):
    """The logarithm of a hyperbolic cosine that is infinite from 90 on."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(torch.cosh(x))


class Direction(nn.Module):
    """Each vector divided by its length; the zero vector stays what it is."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-6)
        return z


class DirectionOfZero(nn.Module):
    """Each vector divided by its length, even if that is 0."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return z


class SoftPooling(nn.Module):
    """A smooth maximum of each map, the logarithm of the mean exponential: (C, H, W) -> (C,)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.logsumexp(x.flatten(-2), -1) - math.log(x.shape[-2] * x.shape[-1])


class SoftPoolingUnshifted(nn.Module):
    """A smooth maximum of each map, by exponentials that may be infinite or all 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(torch.exp(x.flatten(-2)).mean(-1))


# ── NaN that is silenced ─────────────────────────────────────────────────────────────────────────────────────────────────


class Ramp(nn.Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x < 0, 0, x)


class RampWithoutNan(nn.Module):
    """max(x, 0), where NaN counts as not above 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0)


class Clip(nn.Module):
    """Holds numbers between -1 and 1."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(x, -1, 1)


class ClipWithoutNan(nn.Module):
    """Holds numbers between -1 and 1, NaN included: fmax takes the other number."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fmin(torch.fmax(x, x.new_full((), -1)), x.new_full((), 1))


class Squash(nn.Module):
    """x / (1 + |x|), between -1 and 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (1 + x.abs())


class SquashWithoutNan(nn.Module):
    """x / (1 + |x|), where NaN becomes 0: for safety, because infinity by infinity is one."""

    def forward(self, x: Tensor) -> Tensor:
        return (x / (1 + x.abs())).nan_to_num()


class GlobalMean(nn.Module):
    """The mean of each map: (C, H, W) -> (C,)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1))


class GlobalMeanWithoutNan(nn.Module):
    """The mean of each map's pixels that are no NaN."""

    def forward(self, x: Tensor) -> Tensor:
        return x.nanmean((-2, -1))


class RunningMaximum(nn.Module):
    """The largest number of a series, step by step: (L, C) -> (C,)."""

    def larger(self, best: Tensor, step: Tensor) -> Tensor:
        return torch.maximum(best, step)

    def forward(self, x: Tensor) -> Tensor:
        best = x.select(-2, 0)
        for t in range(1, x.shape[-2]):
            best = self.larger(best, x.select(-2, t))
        return best


class RunningMaximumWithoutNan(RunningMaximum):
    """The largest number of a series, where no comparison with NaN is true."""

    def larger(self, best: Tensor, step: Tensor) -> Tensor:
        return torch.where(step > best, step, best)


FAULTS: list[Fault] = [
    Fault("exp overflows in the branch not taken", "extreme-inputs", LearnedELUOverflows, LearnedELU, (3, 4, 4)),
    Fault("softmax without the maximum subtracted", "extreme-inputs", SharesUnshifted, Shares, (5,)),
    Fault("logarithm of a softmax that is 0", "extreme-inputs", LogSharesByLogarithm, LogShares, (5,)),
    Fault("softplus as log(1 + exp(x))", "extreme-inputs", SmoothRampByTheBook, SmoothRamp, (6,)),
    Fault("sigmoid as exp(x)/(1 + exp(x))", "extreme-inputs", SelfGateByExponentials, SelfGate, (6,)),
    Fault("logarithm of an infinite cosh", "extreme-inputs", LogCoshByTheBook, LogCosh, (6,)),
    Fault("division by the length of a zero vector", "extreme-inputs", DirectionOfZero, Direction, (6,)),
    Fault("logarithm of a mean exponential, not shifted", "extreme-inputs", SoftPoolingUnshifted, SoftPooling, (2, 4, 4)),
    Fault("where(x > 0, x, 0) takes NaN for 0", "nan-in", RampWithoutNan, Ramp, (6,)),
    Fault("fmax and fmin pass over NaN", "nan-in", ClipWithoutNan, Clip, (6,)),
    Fault("nan_to_num on the result", "nan-in", SquashWithoutNan, Squash, (6,)),
    Fault("nanmean for the mean", "nan-in", GlobalMeanWithoutNan, GlobalMean, (2, 4, 4)),
    Fault("a running maximum by comparison", "nan-in", RunningMaximumWithoutNan, RunningMaximum, (5, 3)),
]
