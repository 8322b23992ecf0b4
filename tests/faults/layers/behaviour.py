"""Observations that see one another; inputs, gradients and settings that are changed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from faults.fault import Fault

__all__ = ["FAULTS"]

# ── one observation does not see another ─────────────────────────────────────────────────────────────────────────────────


class AttentionPooling(nn.Module):
    """The mean of a sequence over its steps, weighted by what a dense layer makes of each step."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.score = nn.Linear(features, 1, bias=False)

    def weights(self, scores: Tensor) -> Tensor:  # (B, T)
        return scores.softmax(1)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        weights = self.weights(self.score(x).squeeze(-1))
        return (weights.unsqueeze(-1) * x).sum(1)


class AttentionPoolingOverBatch(AttentionPooling):
    """A weighted mean over steps, whose weights add up to one over the batch."""

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(0)


class SqueezeExcite(lm.Layer):
    """Multiplies each channel by a gate that sees the means of all channels."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((shape[0], shape[0]))

    def means(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        gate = torch.sigmoid(F.linear(self.means(x), self.weight))
        return x * gate[:, :, None, None]


class SqueezeExciteOfTheBatch(SqueezeExcite):
    """Multiplies each channel by a gate that sees the channel's mean over the whole batch."""

    def means(self, x: Tensor) -> Tensor:
        return x.mean((0, 2, 3)).expand(x.shape[0], -1)


class Recurrent(nn.Module):
    """A recurrent network over a sequence: all its hidden states."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.rnn = self.make(features, units)

    def make(self, features: int, units: int) -> nn.Module:
        return nn.GRU(features, units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        z: Tensor = self.rnn(x)[0]
        return z


class RecurrentOverBatch(Recurrent):
    """A recurrent network that takes the batch for the steps: batch_first was forgotten."""

    def make(self, features: int, units: int) -> nn.Module:
        return nn.GRU(features, units)


class RootMeanSquare(nn.Module):
    """Divides an image by its root mean square."""

    axes: tuple[int, ...] = (1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return x * (x.square().mean(self.axes, keepdim=True) + 1e-5).rsqrt()


class RootMeanSquareOfTheBatch(RootMeanSquare):
    """Divides an image by the root mean square of all images."""

    axes = (0, 1, 2, 3)


# ── nor its place in the batch ───────────────────────────────────────────────────────────────────────────────────────────


class Positions(nn.Module):
    """Adds to each step of a sequence a wave that tells its position."""

    table: Tensor

    def __init__(self, features: int, longest: int = 256) -> None:
        super().__init__()
        position = torch.arange(longest).unsqueeze(1)
        rates = torch.exp(torch.arange(0, features, 2) * (-math.log(10000.0) / features))
        table = torch.stack([torch.sin(position * rates), torch.cos(position * rates)], -1).flatten(1)
        self.register_buffer("table", table)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        return x + self.table[: x.shape[1]]


class PositionsOfTheFirstAxis(Positions):
    """Adds a wave along axis 0, as in the tutorial, where steps come first."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[0]].unsqueeze(1)


class TemporalShift(lm.Layer):
    """Each step of a sequence beside the one before it, the last one standing before the first."""

    axis = 1

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        return torch.cat([x, x.roll(1, self.axis)], -1)


class TemporalShiftOfTheBatch(TemporalShift):
    """Each observation beside the one before it in the batch."""

    axis = 0


# ── what it was given stays as it was ────────────────────────────────────────────────────────────────────────────────────


class PreActivation(nn.Module):
    """Adds to the image what a convolution makes of its positive part."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        z: Tensor = self.conv(self.relu(x))
        return z + x


class PreActivationInPlace(PreActivation):
    """Adds to the positive part of an image, computed in place, what a convolution makes of it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.relu = nn.ReLU(inplace=True)


class Centred(lm.Layer):
    """Takes each image's mean from it, channel by channel."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return x - x.mean((2, 3), keepdim=True)


class CentredInPlace(Centred):
    """Takes each image's mean from it, in the place where it stands."""

    def forward(self, x: Tensor) -> Tensor:
        x -= x.mean((2, 3), keepdim=True)
        return x


class Leaky(lm.Layer):
    """Numbers below 0 are made ten times smaller."""

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        return torch.where(x > 0, x, 0.1 * x)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return torch.where(x > 0, dz, 0.1 * dz)


class LeakyWritesIntoGradient(Leaky):
    """Numbers below 0 are made ten times smaller; the gradient is computed in the place of the output's."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        dz[x <= 0] *= 0.1
        return dz


class MaxNorm(nn.Module):
    """A dense layer whose units use at most weights of length 1."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(units, features))

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        length = self.weight.norm(dim=1, keepdim=True)
        return F.linear(x, self.weight / length.clamp(min=1.0))


class MaxNormWritten(MaxNorm):
    """A dense layer that shortens its weights in the forward pass, for good."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.div_(self.weight.norm(dim=1, keepdim=True).clamp(min=1.0))
        return F.linear(x, self.weight)


class Sum(lm.Layer):
    """The sum of its inputs."""

    def forward(self, *inputs: Tensor) -> Tensor:  # each (B, ...)
        z = inputs[0]
        for other in inputs[1:]:
            z = z + other
        return z


class SumIntoTheFirst(Sum):
    """The sum of its inputs, added up in the first of them."""

    def forward(self, *inputs: Tensor) -> Tensor:
        z = inputs[0]
        for other in inputs[1:]:
            z += other
        return z


class WithoutFirstStep(nn.Module):
    """A dense layer on each step of a sequence, whose first step is hidden."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        shown = torch.cat([0 * x[:, :1], x[:, 1:]], 1)
        z: Tensor = self.linear(shown)
        return z


class WithoutFirstStepWritten(WithoutFirstStep):
    """A dense layer on a sequence whose first step it has overwritten."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x[:, 0].mul_(0)
        z: Tensor = self.linear(x)
        return z


class Teacher(nn.Module):
    """A dense layer that learns in training mode only."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return torch.tanh(self.linear(x))


class TeacherSwitchesGradients(Teacher):
    """A dense layer that switches gradients off in inference, for everybody and for good."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            torch.set_grad_enabled(False)
        return super().forward(x)


class PreciseMean(lm.Layer):
    """The mean over the steps of a sequence, computed in double precision."""

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        weights = torch.full((x.shape[1],), 1 / x.shape[1], dtype=torch.float64, device=x.device)
        return (x.double() * weights[:, None]).sum(1).to(x.dtype)


class PreciseMeanForAll(PreciseMean):
    """The mean over the steps in double precision, which is the default of everybody from then on."""

    def forward(self, x: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        weights = torch.full((x.shape[1],), 1 / x.shape[1], device=x.device)
        return (x.double() * weights[:, None]).sum(1).to(x.dtype)


FAULTS = [
    Fault(
        "softmax over the batch",
        "observations-independent",
        lambda: AttentionPoolingOverBatch(5),
        lambda: AttentionPooling(5),
        (6, 5),
    ),
    Fault("mean over the batch, too", "observations-independent", SqueezeExciteOfTheBatch, SqueezeExcite, (20, 24, 24)),
    Fault(
        "batch_first forgotten", "observations-independent", lambda: RecurrentOverBatch(5, 4), lambda: Recurrent(5, 4), (6, 5)
    ),
    Fault("scaled by the whole batch", "observations-independent", RootMeanSquareOfTheBatch, RootMeanSquare, (3, 8, 8)),
    Fault("positions counted along the batch", "batch-order", lambda: PositionsOfTheFirstAxis(6), lambda: Positions(6), (7, 6)),
    Fault("rolled along the batch", "batch-order", TemporalShiftOfTheBatch, TemporalShift, (6, 4)),
    Fault("activation in place", "input-unchanged", lambda: PreActivationInPlace(3), lambda: PreActivation(3), (3, 8, 8)),
    Fault("mean taken from the input in place", "input-unchanged", CentredInPlace, Centred, (20, 24, 24)),
    Fault("output gradient written into", "input-unchanged", LeakyWritesIntoGradient, Leaky, (4, 6)),
    Fault(
        "weights shortened in the forward pass",
        "input-unchanged",
        lambda: MaxNormWritten(6, 4),
        lambda: MaxNorm(6, 4),
        (6,),
    ),
    Fault("summed into the first input", "input-unchanged", SumIntoTheFirst, Sum, ((4, 6), (4, 6))),
    Fault(
        "a step of the input overwritten",
        "input-unchanged",
        lambda: WithoutFirstStepWritten(5),
        lambda: WithoutFirstStep(5),
        (6, 5),
    ),
    Fault(
        "gradients switched off for good",
        "input-unchanged",
        lambda: TeacherSwitchesGradients(5),
        lambda: Teacher(5),
        (5,),
    ),
    Fault("default dtype changed for good", "input-unchanged", PreciseMeanForAll, PreciseMean, (6, 4)),
]
