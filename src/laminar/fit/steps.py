"""One training step: forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from laminar.fit.convert import Batch
from laminar.fit.forward import forward
from laminar.fit.head import Head
from laminar.losses import Loss

__all__ = ["Step", "eager_step"]

Step: TypeAlias = Callable[[Batch], tuple[Tensor, Tensor]]
"""Updates the network with a batch that has targets; returns the loss () and the output (B, ...), both without graph."""


def eager_step(model: nn.Module, loss: Loss, head: Head, optimizer: torch.optim.Optimizer) -> Step:
    """Return a step that runs operation by operation, as a hand-written PyTorch loop does."""
    criterion = head.criterion(loss)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step(batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.y is not None  # or there would be no batch
        for parameter in parameters:  # Optimizer.zero_grad does this with ten microseconds of bookkeeping around it
            parameter.grad = None
        with head.logits():
            output = forward(model, batch.x)
        value = criterion(output, batch.y, batch.weight)
        value.backward()
        optimizer.step()
        return value.detach(), output.detach()

    return step
