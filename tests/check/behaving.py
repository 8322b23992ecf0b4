"""Tiny layers that misbehave, each in one way, and right ones that look like them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from laminar.check.outcome import Outcome
from laminar.shapes import Shape

Make = Callable[[], nn.Module]


def outcome(check: str, make: Make | nn.Module, shape: Any, **options: Any) -> Outcome:
    """Return what a check says of a layer."""
    shapes: tuple[Shape, ...] = shape if isinstance(shape[0], tuple) else (shape,)
    return lm.check_layer(make, *shapes, checks=[check], show=False, **options)[check]


# ── what is drawn ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Noise(nn.Module):
    """Adds noise in training, from a function of x; it says so."""

    declares: tuple[str, ...] = ("random",)

    def __init__(self, draw: Any = torch.randn_like, *, always: bool = False, declares: tuple[str, ...] = ("random",)) -> None:
        super().__init__()
        self.draw, self.always, self.declares = draw, always, declares

    def forward(self, x: Tensor) -> Tensor:
        return x + self.draw(x) if self.training or self.always else x


def from_python(x: Tensor) -> Tensor:
    return torch.full_like(x, random.random())


def from_numpy(x: Tensor) -> Tensor:
    return torch.full_like(x, np.random.rand())  # noqa: NPY002  # the mistake


def from_the_clock(x: Tensor) -> Tensor:
    return torch.full_like(x, np.random.default_rng().random())


def seeded_anew(x: Tensor) -> Tensor:
    torch.manual_seed(1)
    return torch.randn_like(x)


def same_each_time(x: Tensor) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(1))


def constant_noise(x: Tensor) -> Tensor:
    return torch.as_tensor(np.random.default_rng(0).normal(size=tuple(x.shape))).to(x)


class OwnGenerator(lm.Layer):
    """Adds noise in training, from a generator that it keeps."""

    declares = ("random",)

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn(x.shape, generator=self.generator)

    def predict(self, x: Tensor) -> Tensor:
        return x


# ── initial values ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Scale(lm.Layer):
    """Multiplies each feature by a number that is drawn when the layer is built."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = self.learnable(shape, init="uniform")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class ScaleOfTorch(Scale):
    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = nn.Parameter(torch.randn(shape))


class ScaleOfNumpy(Scale):
    def build(self, shape: tuple[int, ...]) -> None:
        drawn = np.random.rand(*shape)  # noqa: NPY002  # the mistake
        self.scale = nn.Parameter(torch.as_tensor(drawn, dtype=torch.float32))


class ScaleOfTheClock(Scale):
    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = nn.Parameter(torch.as_tensor(np.random.default_rng().random(shape), dtype=torch.float32))


class ScaleSeeded(Scale):
    def build(self, shape: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        self.scale = nn.Parameter(torch.randn(shape))


class ScaleOfOwnGenerator(Scale):
    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))


class ScaleWithoutPlace(Scale):
    def build(self, shape: tuple[int, ...]) -> None:
        self.path = ""
        super().build(shape)


class ScaleTooEarly(lm.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.scale = self.learnable(4, init="uniform")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Ramp(Scale):
    """Multiplies by numbers that are no accident."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = self.learnable(shape, init=torch.arange(1.0, 1 + shape[0]))


class Around(lm.Layer):
    """A layer around one of torch, which it makes when it is built."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.linear = nn.Linear(shape[0], 3)
        self.bias = self.learnable(3, init="uniform")

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.linear(x)
        return z + self.bias


# ── observations ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Function(nn.Module):
    """One function in inference, another in training where there is one."""

    def __init__(self, inference: Any, training: Any = None, declares: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.inference, self.declares = inference, declares
        self.train_function = training or inference

    def forward(self, *xs: Tensor) -> Any:
        return self.train_function(*xs) if self.training else self.inference(*xs)


class Centred(lm.Layer):
    """Takes the batch's mean from each observation."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


def seldom_coupled(x: Tensor) -> Tensor:
    """Each observation by itself, unless one is huge."""
    return x / (1 + (x.abs().max() > 100))


def spread_by_zero(x: Tensor) -> Tensor:
    """Each observation, with a part of all that is multiplied by 0: NaN of one goes to all."""
    return x + 0 * x.sum()


# ── what is handed in ────────────────────────────────────────────────────────────────────────────────────────────────────


class InPlace(nn.Module):
    """Does something to its input, then returns it."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        self.change(x)
        return x * 1


class Halved(lm.Layer):
    """Half of x; a backward that halves in place."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 2

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz.div_(2)


class Clipped(lm.Layer):
    """Clips its weights each time it runs."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable(shape, init="ones")

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data.clamp_(-0.5, 0.5)
        return x * self.weight


def in_double(x: Tensor) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return x.relu()


def with_anomalies(x: Tensor) -> Tensor:
    torch.autograd.set_detect_anomaly(True, check_nan=False)
    return x * 2


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Last(nn.Module):
    """Adds the mean of the last call."""

    def __init__(self) -> None:
        super().__init__()
        self.last: float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        z = x + self.last
        self.last = float(x.mean())
        return z


class Counted(lm.Layer):
    """Divides by the number of calls in training, in a list that all calls share."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls.append(1)
        return x / (1 + len(self.calls))


class Smoothed(nn.Module):
    """Subtracts a running mean in inference, the batch's in training; the running mean is a buffer, or is not."""

    declares = ("batch",)
    mean: Tensor

    def __init__(self, *, buffer: bool) -> None:
        super().__init__()
        if buffer:
            self.register_buffer("mean", torch.zeros(4))
        else:
            self.mean = torch.zeros(4)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x - self.mean
        mean = x.mean(0)
        self.mean = 0.9 * self.mean + 0.1 * mean.detach()
        return x - mean


class AlsoInInference(nn.Module):
    """Counts its calls in a buffer, in inference as well."""

    seen: Tensor

    def __init__(self, declares: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.declares = declares
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x


class Reused(nn.Module):
    """Writes each output to the same place."""

    def __init__(self) -> None:
        super().__init__()
        self.place: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return x * 2
        if self.place is None or self.place.shape != x.shape:
            self.place = torch.empty_like(x)
        return torch.mul(x, 2, out=self.place)


class Switching(nn.Module):
    """Goes into inference and stays there."""

    def forward(self, x: Tensor) -> Tensor:
        self.eval()
        return x * 2


class Remembering(nn.Module):
    """A table that is made once for each length: nothing of the input is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] not in self.tables:
            self.tables[x.shape[1]] = torch.arange(float(x.shape[1]))
        return x + self.tables[x.shape[1]]


# ── modes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Unscaled(lm.Layer):
    """Dropout that forgets to scale what it keeps."""

    declares: tuple[str, ...] = ("random",)

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > 0.25) if self.training else x


class Covered(Unscaled):
    """Covers a part of its input, on purpose."""

    declares = ("random", "modes")


class OldDropout(Unscaled):
    """Dropout as it was first: inference is scaled."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > 0.25) if self.training else x * 0.75


class TokenDropout(nn.Module):
    """Dropout of whole observations, scaled."""

    declares = ("random",)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.dropout(x.new_ones(x.shape[0], 1), 0.5, self.training)
