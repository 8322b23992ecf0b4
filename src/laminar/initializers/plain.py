"""Values that do not look at the learnable's shape: all equal, normal, uniform."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from laminar.initializers.base import Initializer, finite

__all__ = ["Constant", "Ones", "RandomNormal", "RandomUniform", "TruncatedNormal", "Zeros"]


class _Level(Initializer):
    """All values equal."""

    value: float
    exact = True

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Fill with `value`."""
        return nn.init.constant_(values, self.value)


@dataclass(frozen=True)
class Constant(_Level):
    """Every value is `value`.

    Source: Keras' `Constant`.

    >>> Constant(0.25)((3,))
    tensor([0.2500, 0.2500, 0.2500])
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        finite("Constant(value=)", self.value)


@dataclass(frozen=True)
class Zeros(_Level):
    """Every value is 0: the usual start of biases.

    Source: row R9.

    >>> Zeros()((2,))
    tensor([0., 0.])
    """

    value = 0.0


@dataclass(frozen=True)
class Ones(_Level):
    """Every value is 1: the usual start of scales.

    Source: row R9.

    >>> Ones()((2,))
    tensor([1., 1.])
    """

    value = 1.0


@dataclass(frozen=True)
class RandomNormal(Initializer):
    """Normal with the given mean and standard deviation.

    Args:
        mean: of the normal.
        stddev: its standard deviation, at least 0.
        seed: see `Initializer`.

    By name: "normal" has 0.01, "standard_normal" 1 (row R9), "random_normal" 0.05 (as in Keras). Source: row R9.

    >>> RandomNormal(stddev=0.01, seed=0)((100, 100)).std()
    tensor(0.0100)
    """

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        finite("RandomNormal(mean=)", self.mean)
        finite("RandomNormal(stddev=)", self.stddev, least=0)

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw from the normal."""
        return nn.init.normal_(values, self.mean, self.stddev, generator=generator)


@dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Normal, drawn again where it falls more than two standard deviations from the mean.

    Args:
        mean: of the normal.
        stddev: its standard deviation before it is cut, above 0; afterwards it is 0.88 of that.
        seed: see `Initializer`.

    Source: torch's `trunc_normal_`.

    >>> bool((TruncatedNormal(stddev=0.1, seed=0)((1000,)).abs() <= 0.2).all())
    True
    """

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        finite("TruncatedNormal(mean=)", self.mean)
        finite("TruncatedNormal(stddev=)", self.stddev, above=0)

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw from the truncated normal."""
        low, high = self.mean - 2 * self.stddev, self.mean + 2 * self.stddev
        return nn.init.trunc_normal_(values, self.mean, self.stddev, low, high, generator=generator)


@dataclass(frozen=True)
class RandomUniform(Initializer):
    """Uniform from `minval` to `maxval`.

    Args:
        minval: the smallest value.
        maxval: above `minval`.
        seed: see `Initializer`.

    By name: "uniform" is 0 to 1 (as row R2 starts its alphas), "random_uniform" -0.05 to 0.05 (as in Keras). Source: row R9.

    >>> alpha = RandomUniform(0, 1, seed=0)((20,))
    >>> bool((alpha >= 0).all() and (alpha < 1).all())
    True
    """

    minval: float = -0.05
    maxval: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        finite("RandomUniform(minval=)", self.minval)
        finite("RandomUniform(maxval=)", self.maxval, above=self.minval)

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw from the uniform."""
        return nn.init.uniform_(values, self.minval, self.maxval, generator=generator)
