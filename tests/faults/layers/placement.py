"""Layers that stay behind when they are moved, copied, saved; that take memory for what it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from faults.fault import Fault

__all__ = ["FAULTS"]

# ── moved ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class LastState(nn.Module):
    """A recurrent cell over a sequence: its last hidden state."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.cell = nn.GRUCell(features, units)

    def first(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], self.units)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        h = self.first(x)
        for step in x.unbind(1):
            h = self.cell(step, h)
        return h


class LastStateOnProcessor(LastState):
    """A recurrent cell that starts from zeros on the processor, wherever the layer is."""

    def first(self, x: Tensor) -> Tensor:
        return torch.zeros(x.shape[0], self.units, dtype=x.dtype, device="cpu")


class Blur(nn.Module):
    """Smooths each channel of an image by a binomial kernel."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.keep(line.outer(line).expand(channels, 1, 3, 3).contiguous())

    def keep(self, kernel: Tensor) -> None:
        self.register_buffer("kernel", kernel)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return F.conv2d(x, self.kernel, padding=1, groups=x.shape[1])


class BlurPlainTensor(Blur):
    """Smooths each channel by a kernel that is a plain tensor and stays where it is."""

    def keep(self, kernel: Tensor) -> None:
        self.kernel = kernel


class Coordinates(lm.Layer):
    """An image with two channels more: how far down and how far right each place is."""

    def place(self, x: Tensor) -> torch.device:
        return x.device

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        place = self.place(x)
        down, right = (torch.linspace(-1, 1, n, device=place, dtype=x.dtype) for n in x.shape[2:])
        grid = torch.stack(torch.meshgrid(down, right, indexing="ij"))
        return torch.cat([x, grid.expand(x.shape[0], -1, -1, -1)], 1)


class CoordinatesOfTheMachine(Coordinates):
    """An image with its coordinates, made where the machine's best device was when the layer was."""

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def place(self, x: Tensor) -> torch.device:
        return self.device


# ── in other layouts of memory ───────────────────────────────────────────────────────────────────────────────────────────


class InstanceStandard(lm.Layer):
    """Gives each channel of each image mean 0 and variance 1."""

    over = 1

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
            rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, positions, C), without a copy
            return self.standard(rows, self.over).view(*x.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
        return self.standard(x.flatten(2), 2).view(x.shape)

    def standard(self, rows: Tensor, axis: int) -> Tensor:
        var, mean = torch.var_mean(rows, axis, correction=0, keepdim=True)
        return (rows - mean) * (var + 1e-3).rsqrt()


class InstanceStandardOverChannels(InstanceStandard):
    """Gives each channel mean 0 and variance 1; where channels are last in memory, each position."""

    over = 2


class Patches(nn.Module):
    """An image cut into 2×2 patches, each as one column of numbers."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) → (B, C * 4, positions)
        return F.unfold(x, 2, stride=2)


class PatchesByStride(Patches):
    """An image cut into patches by strides that hold for rows one after the other in memory."""

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        size = (batch, channels, 2, 2, height // 2, width // 2)
        plane = height * width
        stride = (channels * plane, plane, width, 1, 2 * width, 2)
        return x.as_strided(size, stride).reshape(batch, channels * 4, -1)


class Frames(nn.Module):
    """A signal cut into frames that overlap by half, each weighted by a window."""

    window: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size))

    def frames(self, x: Tensor) -> Tensor:
        return x.unfold(-1, self.size, self.size // 2)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T) → (B, C, frames, size)
        return self.frames(x) * self.window


class FramesByStride(Frames):
    """A signal cut into frames by strides that hold for a contiguous signal only."""

    def frames(self, x: Tensor) -> Tensor:
        batch, channels, length = x.shape
        hop = self.size // 2
        count = (length - self.size) // hop + 1
        return x.as_strided((batch, channels, count, self.size), (channels * length, length, hop, 1))


class AllSteps(lm.Layer):
    """A dense layer on all steps of a sequence together."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((self.units, math.prod(shape)))

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        return F.linear(x.reshape(x.shape[0], -1), self.weight)


class AllStepsViewed(AllSteps):
    """A dense layer on a view of all steps together, which some layouts do not have."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.view(x.shape[0], -1), self.weight)


# ── copied ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Mixer(nn.Module):
    """A dense layer between the features, with a learnable gain."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)
        self.gain = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        z: Tensor = self.linear(x) * self.gain
        return z


class MixerCopiedByHand(Mixer):
    """A dense layer with its own idea of a copy, which shares the parameters."""

    def __deepcopy__(self, memo: dict[int, Any]) -> MixerCopiedByHand:
        twin = type(self)(self.linear.in_features)
        twin.__dict__.update(self.__dict__)
        return twin


class Gain(nn.Module):
    """A softsign with a learnable gain for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def scaled(self, x: Tensor) -> Tensor:
        return x * self.gain.unsqueeze(-1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        return F.softsign(self.scaled(x))


class GainOfClosure(Gain):
    """A softsign whose gain is read by a function that remembers the layer it was made for."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scaled = lambda x: x * self.gain.unsqueeze(-1)  # type: ignore[method-assign]  # the mistake


def swish(x: Tensor, beta: float) -> Tensor:
    """Return x σ(beta x)."""
    return x * torch.sigmoid(beta * x)


class Swish(lm.Layer):
    """The number times its sigmoid."""

    def __init__(self, beta: float = 1.5) -> None:
        super().__init__()
        self.curve = self.make(beta)

    def make(self, beta: float) -> Callable[[Tensor], Tensor]:
        return partial(swish, beta=beta)

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        return self.curve(x)


class SwishOfClosure(Swish):
    """The number times its sigmoid, by a function made inside another."""

    def make(self, beta: float) -> Callable[[Tensor], Tensor]:
        def curve(x: Tensor) -> Tensor:
            return swish(x, beta)

        return curve


class Activated(nn.Module):
    """A pointwise convolution and a function."""

    def __init__(self, channels: int, function: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return self.function(self.mix(x))


# ── saved ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class RandomFeatures(nn.Module):
    """The positive parts of fixed random projections."""

    projection: Tensor
    persistent = True

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.register_buffer("projection", torch.randn(units, features), persistent=self.persistent)

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return F.linear(x, self.projection).relu()


class RandomFeaturesNotSaved(RandomFeatures):
    """Random projections that are drawn anew in each program: their buffer is not saved."""

    persistent = False


class Shuffled(nn.Module):
    """The channels in another order, drawn once."""

    order: Tensor | list[int]

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.keep(torch.randperm(channels))

    def keep(self, order: Tensor) -> None:
        self.register_buffer("order", order)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        return x[:, self.order]


class ShuffledByList(Shuffled):
    """The channels in another order, kept as a list: it is not saved with the layer."""

    def keep(self, order: Tensor) -> None:
        self.order = order.tolist()


# ── transformed ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def applied(function: type[torch.autograd.Function], x: Tensor) -> Tensor:
    """Return what a differentiable function makes of x; torch leaves its apply without types."""
    z: Tensor = function.apply(x)
    return z


class Centring(torch.autograd.Function):
    """Takes the mean over the last two axes of (B, C, H, W) away."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x - x.mean((2, 3), keepdim=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @classmethod
    def backward(cls, ctx: Any, dz: Tensor) -> Tensor:
        return applied(cls, dz)

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        x = x.movedim(in_dims[0], 0)
        return applied(cls, x.flatten(0, 1)).view(x.shape), 0


class CentringAxisForgotten(Centring):
    """Takes the mean away; its rule for vmap forgets that there is an axis more."""

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        return applied(cls, x.movedim(in_dims[0], 0)), 0


class Centred(nn.Module):
    """Takes each image's mean from it, channel by channel, by a function with a rule for vmap."""

    function = Centring

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return applied(self.function, x)


class CentredAxisForgotten(Centred):
    """Takes each image's mean from it; under vmap that of another axis."""

    function = CentringAxisForgotten


class Competing(torch.autograd.Function):
    """The softmax over axis 1 of (B, C, T)."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.softmax(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        dx: Tensor = z * (dz - (z * dz).sum(1, keepdim=True))
        return dx

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        x = x.movedim(in_dims[0], 0)
        return applied(cls, x.flatten(0, 1)).view(x.shape), 0


class CompetingAtTheEnd(Competing):
    """The softmax over axis 1; its rule for vmap gives the new axis back at another place than it says."""

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        return applied(cls, x.movedim(in_dims[0], -1).flatten(2)).unflatten(-1, (-1, info.batch_size)), 2


class Winner(nn.Module):
    """Channels that compete at each step, by a function with a rule for vmap."""

    function: type[torch.autograd.Function] = Competing

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        return applied(self.function, x)


class WinnerAtTheEnd(Winner):
    """Channels that compete at each step; under vmap observations and steps change places."""

    function = CompetingAtTheEnd


class Bell(lm.Layer):
    """The number times the normal distribution function of it."""

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        return F.gelu(x)


class BellCompiledOtherwise(Bell):
    """The number times the normal distribution function; where it is compiled, a logistic in its place."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return x * torch.sigmoid(1.702 * x)
        return super().forward(x)


class Bounded(nn.Module):
    """A dense layer whose output is clipped."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return F.hardtanh(self.linear(x), -0.5, 0.5)


class BoundedUnlessCompiled(Bounded):
    """A dense layer whose output is clipped, but where it is compiled."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            z: Tensor = self.linear(x)
            return z
        return super().forward(x)


FAULTS = [
    Fault("zeros on the processor", "device-moves", lambda: LastStateOnProcessor(5, 4), lambda: LastState(5, 4), (6, 5)),
    Fault("a constant kernel that is no buffer", "device-moves", lambda: BlurPlainTensor(20), lambda: Blur(20), (20, 24, 24)),
    Fault("the device noted when the layer was made", "device-moves", CoordinatesOfTheMachine, Coordinates, (3, 6, 5)),
    Fault(
        "another axis where channels are last in memory",
        "channels-last",
        InstanceStandardOverChannels,
        InstanceStandard,
        (3, 8, 6),
    ),
    Fault("patches by strides", "channels-last", PatchesByStride, Patches, (3, 8, 6)),
    Fault("frames by strides", "non-contiguous", lambda: FramesByStride(4), lambda: Frames(4), (3, 12)),
    Fault("a view of all steps", "non-contiguous", lambda: AllStepsViewed(4), lambda: AllSteps(4), (6, 5)),
    Fault("a copy by hand shares parameters", "deep-copy", lambda: MixerCopiedByHand(6), lambda: Mixer(6), (6,)),
    Fault("a function that remembers the layer", "deep-copy", lambda: GainOfClosure(4), lambda: Gain(4), (4, 7)),
    Fault("a function made inside another", "pickle", SwishOfClosure, Swish, (4, 6)),
    Fault(
        "a lambda as an attribute",
        "pickle",
        lambda: Activated(4, lambda x: torch.tanh(x)),
        lambda: Activated(4),
        (4, 6, 6),
    ),
    Fault("random numbers not saved", "state-dict", lambda: RandomFeaturesNotSaved(6, 5), lambda: RandomFeatures(6, 5), (6,)),
    Fault("a random order kept as a list", "state-dict", lambda: ShuffledByList(8), lambda: Shuffled(8), (8, 5)),
    Fault("a rule for vmap that forgets an axis", "vmap", CentredAxisForgotten, Centred, (3, 6, 5)),
    Fault("a rule for vmap that gives another axis back", "vmap", WinnerAtTheEnd, Winner, (3, 5)),
    Fault("compiled to an approximation", "compile", BellCompiledOtherwise, Bell, (4, 6)),
    Fault("not clipped where compiled", "compile", lambda: BoundedUnlessCompiled(5), lambda: Bounded(5), (5,)),
]
