"""Mistakes with dtypes, autocast, numbers far from 0, and large batches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from faults.fault import Fault
from faults.layers.functions import start

# ── dtypes ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Leaky(nn.Module):
    """A leaky sum over the steps of a series: h = 0.9 h + 0.1 x, from zeros. (T, F) -> (T, F)."""

    def first(self, x: Tensor) -> Tensor:
        return torch.zeros(x.shape[:-2] + x.shape[-1:], dtype=x.dtype, device=x.device)

    def forward(self, x: Tensor) -> Tensor:
        h, steps = self.first(x), []
        for t in range(x.shape[-2]):
            h = 0.9 * h + 0.1 * x.select(-2, t)
            steps.append(h)
        return torch.stack(steps, -2)


class LeakyFromFloats(Leaky):
    """A leaky sum that starts from zeros of the default dtype."""

    def first(self, x: Tensor) -> Tensor:
        return torch.zeros(x.shape[:-2] + x.shape[-1:], device=x.device)


class Positions(nn.Module):
    """Adds to each step of a series the sine of its position: (T, F) -> (T, F)."""

    def table(self, x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[-2], dtype=torch.float64, device=x.device)
        features = torch.arange(1, x.shape[-1] + 1, dtype=torch.float64, device=x.device)
        return torch.sin(steps[:, None] / features)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table(x).to(x.dtype)


class PositionsInFloat(Positions):
    """Adds a table of float32 to whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table(x).float()


class Waves(nn.Module):
    """Sines of 1, 4 and 16 times each number, angles in float32 at least: (F,) -> (F, 3)."""

    def wide(self, x: Tensor) -> Tensor:
        return x.to(torch.promote_types(x.dtype, torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        angles = self.wide(x)[..., None] * torch.tensor([1, 4, 16], device=x.device) * torch.pi
        return torch.sin(angles).to(x.dtype)


class WavesInOwnDtype(Waves):
    """Sines whose angles keep the eight bits of bfloat16, of which a large angle uses up the first ones."""

    def wide(self, x: Tensor) -> Tensor:
        return x


# ── autocast ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class MixFunction(torch.autograd.Function):
    """x W; the gradient comes back in the dtype that autocast gave the product."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        dz = dz.to(weight.dtype)
        return dz @ weight.mT, x.flatten(0, -2).mT @ dz.flatten(0, -2)


class MixFunctionAsItComes(MixFunction):
    """x W; backward multiplies a gradient of bfloat16 with weights of float32."""

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return dz @ weight.mT, x.flatten(0, -2).mT @ dz.flatten(0, -2)


class Mix(nn.Module):
    """Mixes six features into four, by a function of its own."""

    function: type[torch.autograd.Function] = MixFunction

    def __init__(self) -> None:
        super().__init__()
        self.weight = start(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x, self.weight)
        return z


class MixAsItComes(Mix):
    """Mixes six features into four; under autocast its backward fails."""

    function = MixFunctionAsItComes


class Segments(nn.Module):
    """Projects the steps of a series, and adds up those of each half: (T, F) -> (2, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = start(3, 4)

    def projected(self, x: Tensor) -> Tensor:
        return (x @ self.weight).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        totals = torch.zeros(*x.shape[:-2], 2, 4, dtype=x.dtype, device=x.device)
        half = torch.arange(x.shape[-2], device=x.device) * 2 // x.shape[-2]
        return totals.index_add(-2, half, self.projected(x))


class SegmentsMixed(Segments):
    """Adds what autocast made bfloat16 to totals of the dtype that came in."""

    def projected(self, x: Tensor) -> Tensor:
        return x @ self.weight


class UpdateGate(nn.Module):
    """A gated step of a recurrent network: the gate chooses between the old state and a new one."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.new = start(5, 5), start(5, 5)

    def mix(self, old: Tensor, new: Tensor, gate: Tensor) -> Tensor:
        return old + gate * (new - old)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        gate = torch.sigmoid(x @ self.gate + h)
        return self.mix(h, torch.tanh(x @ self.new), gate)


class UpdateGateLerp(UpdateGate):
    """A gated step by lerp, which takes one dtype only."""

    def mix(self, old: Tensor, new: Tensor, gate: Tensor) -> Tensor:
        return torch.lerp(old, new, gate)


class FastMix(nn.Module):
    """Mixes six features into four, in the dtype of autocast where that is on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = start(6, 4)

    def narrow(self) -> Tensor:
        return self.weight.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        autocast = not x.is_meta and torch.is_autocast_enabled(x.device.type)
        return x @ (self.narrow() if autocast else self.weight)


class FastMixByData(FastMix):
    """Mixes features; under autocast with a copy of the weights that learns nothing."""

    def narrow(self) -> Tensor:
        return self.weight.data.to(torch.bfloat16)


# ── numbers far from 0 ───────────────────────────────────────────────────────────────────────────────────────────────────


class Distances(nn.Module):
    """Squared distances between the rows of a table: (T, F) -> (T, T)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[..., :, None, :] - x[..., None, :, :]).square().sum(-1)


class DistancesExpanded(nn.Module):
    """Squared distances as |a|² - 2ab + |b|²: large numbers that cancel."""

    def forward(self, x: Tensor) -> Tensor:
        squares = x.square().sum(-1)
        return squares[..., :, None] - 2 * (x[..., :, None, :] * x[..., None, :, :]).sum(-1) + squares[..., None, :]


class Covariance(nn.Module):
    """How the channels of a series vary together: (C, L) -> (C, C)."""

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        return (x[..., :, None, :] * x[..., None, :, :]).mean(-1)


class CovarianceByMeans(nn.Module):
    """How channels vary together, as the mean of the products minus the product of the means."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1)
        return (x[..., :, None, :] * x[..., None, :, :]).mean(-1) - mean[..., :, None] * mean[..., None, :]


class Detrended(nn.Module):
    """Each number of a series minus the mean of itself and the two before it: (C, L) -> (C, L - 2)."""

    def means(self, x: Tensor) -> Tensor:
        return x.unfold(-1, 3, 1).mean(-1)

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 2:] - self.means(x)


class DetrendedByTotals(Detrended):
    """The means are differences of a running total, which grows and grows."""

    def means(self, x: Tensor) -> Tensor:
        total = F.pad(x.cumsum(-1), (1, 0))
        return (total[..., 3:] - total[..., :-3]) / 3


# ── large batches ────────────────────────────────────────────────────────────────────────────────────────────────────────


class ChunkFunction(torch.autograd.Function):
    """x W; the weights' gradient is added up over pieces of 60 observations, to save memory."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def pieces(batch: int) -> int:
        return -(-batch // 60)

    @classmethod
    def gradient(cls, x: Tensor, dz: Tensor) -> Tensor:
        total = torch.zeros(x.shape[-1], dz.shape[-1], dtype=x.dtype, device=x.device)
        for i in range(cls.pieces(len(x))):
            piece = slice(60 * i, 60 * (i + 1))
            total = total + x[piece].mT @ dz[piece]
        return total

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        dz = dz.to(weight.dtype)
        return dz @ weight.mT, ChunkFunction.gradient(x, dz)


class ChunkFunctionWithoutRest(ChunkFunction):
    """x W; a last piece that is not full is left out of the gradient."""

    @staticmethod
    def pieces(batch: int) -> int:
        return max(1, batch // 60)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        dz = dz.to(weight.dtype)
        return dz @ weight.mT, ChunkFunctionWithoutRest.gradient(x, dz)


class Chunks(nn.Module):
    """Mixes six features into four; its gradient is added up piece by piece."""

    function: type[torch.autograd.Function] = ChunkFunction

    def __init__(self) -> None:
        super().__init__()
        self.weight = start(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.function.apply(x, self.weight)
        return z


class ChunksWithoutRest(Chunks):
    """Mixes six features into four; a large batch's last observations teach nothing."""

    function = ChunkFunctionWithoutRest


class Reversed(nn.Module):
    """Turns the order of the channels round, (C, L) -> (C, L), by the rows of the whole batch."""

    whole = torch.int64

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _ = x.shape
        first = torch.arange(batch, device=x.device).to(self.whole) * channels
        rows = first[:, None] + torch.arange(channels - 1, -1, -1, device=x.device).to(self.whole)
        return x.flatten(0, 1)[rows.long()]


class ReversedInShorts(Reversed):
    """Counts the rows of the whole batch in 16 bits: from 32768 on they are negative."""

    whole = torch.int16


class Frugal(nn.Module):
    """tanh(x W), with large batches in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = start(6, 4)

    def large(self, x: Tensor) -> Tensor:
        return torch.cat([torch.tanh(piece @ self.weight) for piece in x.split(256)])

    def forward(self, x: Tensor) -> Tensor:
        return self.large(x) if len(x) > 256 else torch.tanh(x @ self.weight)


class FrugalByHalves(Frugal):
    """tanh(x W), with large batches in half the precision."""

    def large(self, x: Tensor) -> Tensor:
        return torch.tanh(x.bfloat16() @ self.weight.bfloat16()).to(x.dtype)


FAULTS: list[Fault] = [
    Fault("zeros of the default dtype", "dtypes", LeakyFromFloats, Leaky, (4, 3)),
    Fault("a table of float32 added to any dtype", "dtypes", PositionsInFloat, Positions, (5, 4)),
    Fault("angles in bfloat16", "dtypes", WavesInOwnDtype, Waves, (6,)),
    Fault("float32 weights times a bfloat16 gradient", "autocast", MixAsItComes, Mix, (6,)),
    Fault("index_add of two dtypes", "autocast", SegmentsMixed, Segments, (6, 3)),
    Fault("lerp of two dtypes", "autocast", UpdateGateLerp, UpdateGate, ((5,), (5,))),
    Fault("weights cast for autocast by .data", "autocast", FastMixByData, FastMix, (6,)),
    Fault("distances by expanding the square", "offset-inputs", DistancesExpanded, Distances, (4, 3)),
    Fault("covariance by means of products", "offset-inputs", CovarianceByMeans, Covariance, (3, 8)),
    Fault("moving means from a running total", "offset-inputs", DetrendedByTotals, Detrended, (2, 300)),
    Fault("the last incomplete piece left out of a gradient", "large-batch", ChunksWithoutRest, Chunks, (6,)),
    Fault("row numbers in 16 bits", "large-batch", ReversedInShorts, Reversed, (64, 2)),
    Fault("large batches in bfloat16", "large-batch", FrugalByHalves, Frugal, (6,)),
]
