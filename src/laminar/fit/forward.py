"""A network called on the inputs of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from laminar.kernels.switch import enabled

__all__ = ["Engine", "forward", "inference"]

Engine: TypeAlias = Literal["auto", "eager"]
"""What computes a network: torch's operations alone ("eager"), or Laminar's kernels where these are faster ("auto")."""


def forward(model: nn.Module, x: Any, engine: Engine = "eager") -> Any:
    """Return the network's output for x, a tensor or a tuple of tensors for several inputs."""
    with enabled(engine == "auto"):
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
