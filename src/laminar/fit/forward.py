"""A network called on the inputs of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from laminar.kernels.switch import enabled

__all__ = ["EAGER", "Engine", "Execution", "computed", "forward", "inference"]

Engine: TypeAlias = Literal["auto", "eager", "compiled", "cuda_graph"]
"""What computes a network: torch's operations alone ("eager"), or Laminar's kernels where these are faster (all others).

In training "compiled" is torch's compiler, "cuda_graph" one graph for the whole step, and "auto" the latter on a GPU.
"""


@dataclass(frozen=True)
class Execution:
    """How a network is computed.

    Attributes:
        engine: what computes it.
        bfloat16: whether convolutions, matrix products and the like round their inputs to bfloat16, by torch's autocast.
    """

    engine: Engine = "eager"
    bfloat16: bool = False


EAGER = Execution()
"""By torch's operations alone, in the dtype of the parameters."""


def forward(model: nn.Module, x: Any, execution: Execution = EAGER) -> Any:
    """Return the network's output for x, a tensor or a tuple of tensors for several inputs; never in bfloat16 by autocast.

    >>> forward(nn.Linear(3, 2), torch.zeros(4, 3), Execution(bfloat16=True)).dtype
    torch.float32
    """
    with enabled(execution.engine != "eager"):
        return computed(model, x, execution)


def computed(model: nn.Module, x: Any, execution: Execution) -> Any:
    """Return what `forward` returns; whether Laminar's kernels are used is left to the caller."""
    inputs = x if isinstance(x, tuple) else (x,)
    if not execution.bfloat16:
        return model(*inputs)
    with _rounding(inputs):
        output = model(*inputs)
    return tree_map(_single, output)  # the loss, metrics and predictions are in float32


def _rounding(inputs: tuple[Any, ...]) -> Any:
    """Return the autocast of the device that the inputs are on; on leaving it, torch forgets the weights it has rounded."""
    device = next((t.device.type for t in tree_leaves(inputs) if isinstance(t, Tensor)), None)
    return nullcontext() if device is None else torch.autocast(device, torch.bfloat16)


def _single(z: Any) -> Any:
    return z.float() if isinstance(z, Tensor) and z.dtype == torch.bfloat16 else z


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
