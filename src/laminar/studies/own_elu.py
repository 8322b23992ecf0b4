"""A layer of your own: the exponential linear unit, with one learnable alpha per channel. Change it and run the demo again."""

from __future__ import annotations

import torch
from torch import Tensor

import laminar as lm


class OwnELU(lm.Layer):
    """z = x for x > 0, alpha (exp(x) - 1) for x <= 0, with one alpha for each channel."""

    def build(self, shape: tuple[int, ...]) -> None:
        """Declare what is learned, from the shape of one observation: (C, H, W)."""
        self.alpha = self.learnable(shape[0], init="uniform")

    def forward(self, x: Tensor) -> Tensor:
        """Return z, (B, C, H, W). exp never sees a positive number, so it cannot overflow."""
        return torch.where(x > 0, x, self.per_channel(self.alpha, x) * torch.expm1(x.clamp(max=0)))

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        """Return dL/dx and dL/dalpha from dL/dz. Delete this method, and autograd does it."""
        below = x <= 0
        dx = torch.where(below, dz * (self.per_channel(self.alpha, x) + z), dz)
        dalpha = self.sum_to_channels(torch.where(below, dz * torch.expm1(x.clamp(max=0)), 0))
        return dx, dalpha
