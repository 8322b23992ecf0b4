"""One training step: forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from laminar.fit.convert import Batch
from laminar.fit.forward import Engine, forward
from laminar.fit.head import Head
from laminar.losses import Loss

__all__ = ["Step", "eager_step", "objective"]

Step: TypeAlias = Callable[[Batch], tuple[Tensor, Tensor]]
"""Takes a batch that has targets; returns the loss () and the output (B, ...)."""


def objective(model: nn.Module, loss: Loss, head: Head, engine: Engine = "eager") -> Step:
    """Return what is computed of a batch before anything is updated: the loss () and the output (B, ...), with their graph."""
    criterion = head.criterion(loss)

    def run(batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.y is not None  # or there would be no batch
        with head.logits():
            output = forward(model, batch.x, engine)
        return criterion(output, batch.y, batch.weight), output

    return run


def eager_step(model: nn.Module, loss: Loss, head: Head, optimizer: torch.optim.Optimizer, engine: Engine = "eager") -> Step:
    """Return a step that runs operation by operation, as a hand-written PyTorch loop does, and updates the network.

    What it returns is without graph.
    """
    run = objective(model, loss, head, engine)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step(batch: Batch) -> tuple[Tensor, Tensor]:
        for parameter in parameters:  # Optimizer.zero_grad does this with ten microseconds of bookkeeping around it
            parameter.grad = None
        value, output = run(batch)
        value.backward()
        optimizer.step()
        return value.detach(), output.detach()

    return step
