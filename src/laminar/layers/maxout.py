"""Maxout: the largest of several linear maps."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.core import FeatureLayer, WeightOptions, positive
from laminar.shapes import Shape

__all__ = ["Maxout"]


class Maxout(FeatureLayer):
    """The largest of k planes in every unit: z_i = the maximum over j of x · W[:, i, j] + b[i, j].

    Args:
        units: outputs m, a whole number of at least 1.
        k: planes that each unit takes the maximum of.
        **options: `use_bias`, `kernel_initializer`, `bias_initializer`, `name`: see `WeightOptions`.

    Attributes:
        weight: (units · k, features), torch's layout of a linear map: row i · k + j is W[:, i, j], of the d×m×k numbers that
            the paper has in W. With the same number of rows it starts as a Dense layer's weight would.
        bias: (units · k,), or None.

    Raises:
        ArgumentError: if units or k is not a whole number of at least 1.
        ShapeError: if the observations have no axis, or another number of features.
        UnknownNameError: on an unknown initializer.

    Source: Goodfellow et al., "Maxout networks", 2013; row R8 of the mission.

    >>> layer = Maxout(1, 2, kernel_initializer=torch.tensor([[1.0], [-1.0]]))  # max(x, -x)
    >>> layer(torch.tensor([[-3.0], [2.0]])).tolist()
    [[3.0], [2.0]]
    """

    def __init__(self, units: int, k: int = 2, **options: Unpack[WeightOptions]) -> None:
        super().__init__(None, options)
        self.units = positive("Maxout(units=)", units)
        self.k = positive("Maxout(k=)", k)

    def build(self, shape: Shape) -> None:
        """Declare weight and bias for observations of `shape` (..., features)."""
        self.weight = self.new_weight((self.units * self.k, shape[-1]))
        self.bias = self.new_bias(self.units * self.k)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, ..., units) from x of shape (B, ..., features)."""
        planes = F.linear(x, self.weight, self.bias)  # (B, ..., units · k)
        return torch.amax(planes.unflatten(-1, (self.units, self.k)), -1)

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return the parameters: a weight for each unit, plane and feature, a bias for each unit and plane."""
        planes = self.units * self.k
        total = planes * (shape[-1] + self.use_bias)
        biases = f" + {planes} biases" if self.use_bias else ""
        line = f"parameters: {self.units} units of {self.k} planes of {shape[-1]} weights{biases} = {count(total)}"
        return Arithmetic((*shape[:-1], self.units), total, (line,))

    def extra_repr(self) -> str:
        """Return units and planes."""
        return f"units={self.units}, k={self.k}"
