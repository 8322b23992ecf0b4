"""How the weights of convolutions lie in memory on a GPU."""

from __future__ import annotations

import torch
from torch import nn

from laminar.fit.forward import Execution
from laminar.layers.conv import Conv2D

__all__ = ["lay_out"]


@torch.no_grad()
def lay_out(model: nn.Module, execution: Execution, device: torch.device) -> None:
    """Put the weights of two-dimensional convolutions channels-last, in place, where bfloat16 is computed on a GPU.

    Its units for bfloat16 take channels-last; a convolution whose weights lie so returns its output so, and what stands behind
    it goes on with that, so that nothing is rearranged in between. Shapes and numbers stay as they are.

    Args:
        model: the network.
        execution: how it is computed.
        device: where.

    Source: "Channels last memory format in PyTorch", PyTorch tutorials.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3))
    >>> lay_out(model, Execution(bfloat16=True), torch.device("cuda"))
    >>> model[0].weight.is_contiguous(memory_format=torch.channels_last)
    True
    """
    if device.type != "cuda" or not execution.bfloat16:
        return
    for module in model.modules():
        if isinstance(module, Conv2D | nn.Conv2d) and isinstance(module.weight, nn.Parameter):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
