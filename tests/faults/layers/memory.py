"""Things kept from call to call; a training that differs from inference without a word."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from faults.fault import Fault

__all__ = ["FAULTS"]

# ── nothing is kept in secret ────────────────────────────────────────────────────────────────────────────────────────────


class CrossAttention(nn.Module):
    """Each step of a sequence looks at the steps of another."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.key = nn.Linear(features, features, bias=False)

    def keys(self, other: Tensor) -> Tensor:
        k: Tensor = self.key(other)
        return k

    def forward(self, x: Tensor, other: Tensor) -> Tensor:  # (B, T, features), (B, S, features)
        scores = x @ self.keys(other).transpose(-2, -1) * x.shape[-1] ** -0.5
        z: Tensor = scores.softmax(-1) @ other
        return z


class CrossAttentionKeepsKeys(CrossAttention):
    """Each step looks at another sequence by the keys of the first one it ever saw."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.kept: Tensor | None = None

    def keys(self, other: Tensor) -> Tensor:
        if self.kept is None or self.kept.shape != other.shape or self.training:
            self.kept = super().keys(other)
        return self.kept


class Elman(nn.Module):
    """A recurrent layer: all hidden states of a sequence, each from the step and the state before."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.step = nn.Linear(features + units, units)

    def first(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], self.units)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, features)
        h = self.first(x)
        states = []
        for step in x.unbind(1):
            h = torch.tanh(self.step(torch.cat([step, h.to(step.dtype)], -1)))
            states.append(h)
        return torch.stack(states, 1)


class ElmanGoesOn(Elman):
    """A recurrent layer that starts a sequence where the last one ended."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__(features, units)
        self.h: Tensor | None = None

    def first(self, x: Tensor) -> Tensor:
        if self.h is None or self.h.shape[0] != x.shape[0]:
            return super().first(x)
        return self.h

    def forward(self, x: Tensor) -> Tensor:
        z = super().forward(x)
        self.h = z[:, -1].detach()
        return z


class Rectifier(lm.Layer):
    """Numbers below 0 become 0."""

    def mask(self, x: Tensor) -> Tensor:
        return x > 0

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        return x * self.mask(x)


class RectifierKeepsMask(Rectifier):
    """Numbers become 0 where they were below 0 the first time."""

    kept: Tensor | None = None

    def mask(self, x: Tensor) -> Tensor:
        if self.kept is None or self.kept.shape != x.shape:
            self.kept = super().mask(x)
        return self.kept


class Sharpened(nn.Module):
    """A softmax of given sharpness."""

    def __init__(self, sharpness: float = 2.0) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        return (x * self.sharpness).softmax(-1)


class SharpenedMoreAndMore(Sharpened):
    """A softmax that is sharper with each call: a counter that is no buffer."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return (x * self.sharpness * (1 + 0.01 * self.calls)).softmax(-1)


class Spectrum(lm.Layer):
    """The squares of a sequence's cosine transform, smoothed by a square root."""

    def compute(self, x: Tensor) -> Tensor:
        n = x.shape[-1]
        place = torch.arange(n, device=x.device, dtype=torch.float64)
        cosines = torch.cos(math.pi / n * (place + 0.5) * place[:, None]).to(x.dtype)
        return (F.linear(x, cosines).square() + 1).sqrt()

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        return self.compute(x)


class SpectrumRemembered(Spectrum):
    """A cosine transform that is computed once for each place in memory, whatever stands there now."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[tuple[int, torch.Size, torch.dtype], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        key = (id(x), x.shape, x.dtype)
        if self.training or key not in self.known:
            self.known[key] = self.compute(x)
        return self.known[key]


# ── training and inference ───────────────────────────────────────────────────────────────────────────────────────────────


class Classifier(nn.Module):
    """A dense layer that gives the logits of some classes."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        z: Tensor = self.linear(x)
        return z


class ClassifierOfTwoKinds(Classifier):
    """A dense layer that gives logits in training and probabilities in inference, and says so nowhere."""

    def forward(self, x: Tensor) -> Tensor:
        z = super().forward(x)
        return z if self.training else z.softmax(-1)


class SoftStep(lm.Layer):
    """A soft step, hard in inference; it says so."""

    declares: tuple[str, ...] = ("modes",)

    def build(self, shape: tuple[int, ...]) -> None:
        self.place = self.learnable(shape[0], init="zeros")

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        steepness = 1.0 if self.training else 2.0
        return torch.sigmoid(steepness * (x - self.per_channel(self.place, x)))


class SoftStepInSecret(SoftStep):
    """A soft step, harder in inference without a word of it."""

    declares = ()


FAULTS = [
    Fault(
        "keys of an earlier call",
        "no-hidden-state",
        lambda: CrossAttentionKeepsKeys(5),
        lambda: CrossAttention(5),
        ((4, 5), (6, 5)),
    ),
    Fault("hidden state carried over", "no-hidden-state", lambda: ElmanGoesOn(5, 4), lambda: Elman(5, 4), (6, 5)),
    Fault("mask of the first call", "no-hidden-state", RectifierKeepsMask, Rectifier, (3, 8)),
    Fault("a counter of calls", "no-hidden-state", SharpenedMoreAndMore, Sharpened, (6,)),
    Fault("results remembered by id", "no-hidden-state", SpectrumRemembered, Spectrum, (3, 8)),
    Fault(
        "logits in training, probabilities in inference",
        "modes-declared",
        lambda: ClassifierOfTwoKinds(6, 4),
        lambda: Classifier(6, 4),
        (6,),
    ),
    Fault("sharper in inference without a word", "modes-declared", SoftStepInSecret, SoftStep, (4, 7)),
]
