"""The least that a training step can take: the larger of arithmetic over the matrix rate and bytes over the copy rate."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from frameworks import torch_networks
from frameworks.networks import Network

__all__ = ["bytes_moved", "flops", "milliseconds"]

_HEAVY = (nn.Conv2d, nn.Linear, nn.LSTM, nn.MaxPool2d)
_FLOAT = 4
_KEPT = {"sgd": 0, "sgdm": 1, "adadelta": 2, "adam": 2}
"""Optimizer -> numbers that it keeps for each parameter."""


def flops(network: Network) -> int:
    """Return the multiplications and additions of forward and backward, by torch's own counter on the hand-written module.

    Counted are convolutions and matrix products. The gradient of the input is not computed, and not counted.
    """
    model, x = _imagined(network)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return int(counter.get_total_flops())


def bytes_moved(network: Network) -> int:
    """Return the bytes that a training step cannot do without, were everything between the heavy layers free.

    What a convolution, dense layer, LSTM or pooling returns is written and read in the forward pass and read again in the
    backward pass; its gradient is written and read. The batch is read twice, for the output and for the gradient of the first
    weights. A parameter is read in both passes; its gradient is written and read; the update reads and writes it, and what
    the optimizer keeps for it. Activations, normalizations and the loss are taken to cost nothing.
    """
    model, x = _imagined(network)
    numbers = 0

    def add(module: nn.Module, inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        nonlocal numbers
        numbers += (output[0] if isinstance(output, tuple) else output).numel()

    for module in model.modules():
        if isinstance(module, _HEAVY):
            module.register_forward_hook(add)
    with torch.no_grad():
        model(x)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return _FLOAT * (2 * x.numel() + 5 * numbers + (6 + 2 * _KEPT[network.optimizer]) * parameters)


def milliseconds(flops: float, moved: float, rates: dict[str, float]) -> float:
    """Return the floor of a step.

    >>> milliseconds(2e9, 1e6, {"gflops": 100.0, "gbs": 10.0})
    20.0
    """
    return max(flops / rates["gflops"] / 1e6, moved / rates["gbs"] / 1e6)


def _imagined(network: Network) -> tuple[nn.Module, torch.Tensor]:
    """Return the module and a batch without values: nothing is computed, and an LSTM goes step by step."""
    with torch.device("meta"):
        return torch_networks.build(network.name).train(), torch.zeros(network.batch, *network.shape)
