"""Gradients kept from being too long, by one of Keras' three rules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Clipping"]


class Clipping:
    """Before each step, clips the gradients, without a word from the device to the host; one of the three is set.

    Args:
        clipnorm: the longest that the gradient of one parameter may be.
        global_clipnorm: the longest that all of them together may be.
        clipvalue: the largest that one number may be.

    >>> w = nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> Clipping(clipnorm=1.0)(torch.optim.SGD([w]), (), {})
    >>> w.grad
    tensor([0.6000, 0.8000])
    """

    def __init__(
        self, clipnorm: float | None = None, global_clipnorm: float | None = None, clipvalue: float | None = None
    ) -> None:
        self.clipnorm, self.global_clipnorm, self.clipvalue = clipnorm, global_clipnorm, clipvalue

    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Do it; the signature is that of torch's step hooks."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        if self.clipnorm is not None:
            _clip_each([p.grad for p in parameters if p.grad is not None], self.clipnorm)
        elif self.global_clipnorm is not None:
            nn.utils.clip_grad_norm_(parameters, self.global_clipnorm)
        elif self.clipvalue is not None:
            nn.utils.clip_grad_value_(parameters, self.clipvalue)


@torch.no_grad()
def _clip_each(gradients: list[Tensor], longest: float) -> None:
    """Scale each gradient g by longest / max(‖g‖, longest)."""
    scales = torch._foreach_norm(gradients)
    torch._foreach_clamp_min_(scales, longest)
    torch._foreach_reciprocal_(scales)
    torch._foreach_mul_(scales, longest)
    torch._foreach_mul_(gradients, scales)
