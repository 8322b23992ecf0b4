"""Values that make a matrix of a kind."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from laminar.errors import ShapeError, complaint
from laminar.initializers.base import Initializer, finite

__all__ = ["Identity", "Orthogonal"]


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """A random (semi-)orthogonal matrix times `gain`: the axes after the first are taken together as columns.

    Needs a learnable of at least two axes. Source: Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning".

    >>> w = Orthogonal(seed=0)((3, 4))
    >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-6)
    True
    """

    gain: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        finite("Orthogonal(gain=)", self.gain)

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw a normal matrix and orthogonalize it."""
        if values.ndim < 2:
            shape = tuple(values.shape)
            fix = 'Use another initializer there, for example "normal"'
            raise ShapeError(complaint("Orthogonal()", expected="a shape of at least 2 axes", received=f"{shape}", fix=fix))
        return nn.init.orthogonal_(values, self.gain, generator=generator)


@dataclass(frozen=True)
class Identity(Initializer):
    """The identity matrix times `gain`: output i starts as input i; rows or columns beyond the square are 0.

    Needs a learnable of two axes. Source: Le et al. 2015, "A simple way to initialize recurrent networks of rectified linear
    units".

    Raises:
        ShapeError: for a learnable of another number of axes.

    >>> Identity()((2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """

    gain: float = 1.0
    exact = True

    def __post_init__(self) -> None:
        finite("Identity(gain=)", self.gain)

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Write the matrix."""
        if values.ndim != 2:
            shape = tuple(values.shape)
            fix = 'Use another initializer there, for example "orthogonal"'
            raise ShapeError(complaint("Identity()", expected="a shape of 2 axes", received=f"{shape}", fix=fix))
        return nn.init.eye_(values).mul_(self.gain)
