"""A network called on the inputs of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["forward", "inference"]


def forward(model: nn.Module, x: Any) -> Any:
    """Return the network's output for x, a tensor or a tuple of tensors for several inputs."""
    return model(*x) if isinstance(x, tuple) else model(x)


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Let every module predict inside, without a graph; afterwards each is in the mode it was in.

    It is not `torch.inference_mode`: what a module computes once and keeps (a table of positions, say) must serve in training.
    """
    training = [m for m in model.modules() if m.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
