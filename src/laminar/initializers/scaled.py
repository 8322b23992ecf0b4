"""Values whose spread follows from the fans, so that signals and gradients keep theirs from layer to layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from laminar.errors import ArgumentError, complaint
from laminar.initializers.base import Initializer, fans, finite

__all__ = [
    "STD_WITHIN_TWO",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "VarianceScaling",
]


def _one_of(where: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse a `value` that is not one of the `known` words."""
    if value not in known:
        expected = f"one of {', '.join(known)}"
        raise ArgumentError(complaint(where, expected=expected, received=repr(value), fix=f"Pass {known[0]!r}, for example"))


# The standard deviation of a standard normal truncated at ±2: sqrt(1 - 4 φ(2) / erf(√2)).
STD_WITHIN_TWO = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


class _Scaled(Initializer):
    """The arithmetic of `VarianceScaling` and of its named forms."""

    scale: float
    mode: str
    distribution: str

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw with mean 0 and variance `scale / n`, n being the fan that `mode` names."""
        fan_in, fan_out = fans(values.shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        std = math.sqrt(self.scale / n)
        if self.distribution == "uniform":
            return nn.init.uniform_(values, -math.sqrt(3.0) * std, math.sqrt(3.0) * std, generator=generator)
        if self.distribution == "untruncated_normal":
            return nn.init.normal_(values, 0.0, std, generator=generator)
        std /= STD_WITHIN_TWO  # so that what is left after truncation has the wanted spread
        return nn.init.trunc_normal_(values, 0.0, std, -2 * std, 2 * std, generator=generator)


@dataclass(frozen=True)
class VarianceScaling(_Scaled):
    """Zero mean, variance `scale / n`, where n is a fan of the learnable.

    Args:
        scale: above 0.
        mode: which n: "fan_in", "fan_out", or "fan_avg", their mean.
        distribution: "truncated_normal" (at two standard deviations, spread corrected), "untruncated_normal", or "uniform".
        seed: see `Initializer`.

    Source: Keras' `VarianceScaling`; row R9.

    >>> w = VarianceScaling(2.0, "fan_in", "untruncated_normal", seed=0)((200, 50))
    >>> round(w.std().item(), 2)  # sqrt(2 / 50)
    0.2
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: int | None = None

    def __post_init__(self) -> None:
        finite("VarianceScaling(scale=)", self.scale, above=0)
        _one_of("VarianceScaling(mode=)", self.mode, ("fan_in", "fan_out", "fan_avg"))
        _one_of("VarianceScaling(distribution=)", self.distribution, ("truncated_normal", "untruncated_normal", "uniform"))


@dataclass(frozen=True)
class _Named(_Scaled):
    """A form of variance scaling that has its own name; each says its three values in one line."""

    seed: int | None = None


class GlorotNormal(_Named):
    """Normal with standard deviation √(2 / (fan_in + fan_out)), which keeps the variance through tanh layers, both ways.

    Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"; row R9.

    >>> round(GlorotNormal(seed=0)((300, 200)).std().item(), 3)  # sqrt(2 / 500)
    0.063
    """

    scale, mode, distribution = 1.0, "fan_avg", "untruncated_normal"


class GlorotUniform(_Named):
    """Uniform within ±√(6 / (fan_in + fan_out)), the variance of `GlorotNormal`.

    Source: Glorot & Bengio 2010, as for `GlorotNormal`, equation 16; row R9.

    >>> GlorotUniform(seed=0)((300, 300)).abs().max()  # sqrt(6 / 600)
    tensor(0.1000)
    """

    scale, mode, distribution = 1.0, "fan_avg", "uniform"


class HeNormal(_Named):
    """Normal with standard deviation √(2 / fan_in): keeps the variance of signals through ReLU layers.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10; row R9.

    >>> round(HeNormal(seed=0)((300, 200)).std().item(), 2)  # sqrt(2 / 200)
    0.1
    """

    scale, mode, distribution = 2.0, "fan_in", "untruncated_normal"


class HeUniform(_Named):
    """Uniform within ±√(6 / fan_in), the variance of `HeNormal`.

    Source: He et al. 2015, as for `HeNormal`; row R9.

    >>> HeUniform(seed=0)((300, 600)).abs().max()  # sqrt(6 / 600)
    tensor(0.1000)
    """

    scale, mode, distribution = 2.0, "fan_in", "uniform"


class LecunNormal(_Named):
    """Normal with standard deviation √(1 / fan_in), as SELU networks want.

    Source: LeCun et al. 1998, "Efficient backprop"; Klambauer et al. 2017, "Self-normalizing neural networks".

    >>> round(LecunNormal(seed=0)((300, 100)).std().item(), 2)  # sqrt(1 / 100)
    0.1
    """

    scale, mode, distribution = 1.0, "fan_in", "untruncated_normal"


class LecunUniform(_Named):
    """Uniform within ±√(3 / fan_in), the variance of `LecunNormal`.

    Source: LeCun et al. 1998, as for `LecunNormal`.

    >>> LecunUniform(seed=0)((300, 300)).abs().max()  # sqrt(3 / 300)
    tensor(0.1000)
    """

    scale, mode, distribution = 1.0, "fan_in", "uniform"
