"""How far a layer's hand-written derivative is from autograd's and from central differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.errors import LayerError, complaint
from laminar.layers.base import Layer
from laminar.shapes import Shape

__all__ = ["DerivativeErrors", "derivative_errors"]

_STEP = 1e-6  # of the central differences: their own error is about step² + 1e-16 / step
_KINK = 1e-3  # inputs nearer to zero than this are moved away: a difference across a kink is no derivative


@dataclass(frozen=True)
class DerivativeErrors:
    """The largest differences found, each divided by the largest gradient.

    Attributes:
        from_autograd: against autograd through the same `forward`.
        from_differences: against central differences.
        numbers: how many partial derivatives were compared.
    """

    from_autograd: float
    from_differences: float
    numbers: int


def derivative_errors(layer: Layer, shape: Shape, *, batch: int = 3, seed: int = 0) -> DerivativeErrors:
    """Return how far `layer.backward` is from autograd and from central differences, in float64.

    Args:
        layer: a layer with one input and a hand-written backward; it is not changed.
        shape: of one observation; every number of it and of the learnables is varied, so keep it small.
        batch: observations.
        seed: of input, learnables and output gradient.

    Raises:
        LayerError: if the layer has no backward of its own.

    >>> from laminar import layers as L
    >>> errors = derivative_errors(L.ELU("uniform", learnable=True), (2, 3, 3))
    >>> errors.from_autograd < 1e-12, errors.from_differences < 1e-7, errors.numbers
    (True, True, 56)
    """
    if type(layer).backward is Layer.backward:
        raise LayerError(complaint(layer.label, expected="a backward of its own", received="none", fix="Define backward"))
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, *shape, generator=random, dtype=torch.float64) * 2
    x = torch.where(x.abs() < _KINK, _KINK + x.abs(), x)
    layer = copy.deepcopy(layer).double()
    layer(x)
    names = [n for n, p in layer.named_parameters() if p.requires_grad]
    values = [x, *(layer.get_parameter(n).detach().clone() for n in names)]

    def output(tensors: list[Tensor], *, by_hand: bool) -> Tensor:
        run = layer if by_hand else _without_backward(layer)
        result: Tensor = torch.func.functional_call(run, dict(zip(names, tensors[1:], strict=True)), (tensors[0],))
        return result

    dz = torch.randn(output(values, by_hand=True).shape, generator=random, dtype=torch.float64)
    leaves = [v.clone().requires_grad_() for v in values]
    ours = torch.autograd.grad(output(leaves, by_hand=True), leaves, dz)
    autograd = torch.autograd.grad(output(leaves, by_hand=False), leaves, dz)
    with torch.no_grad():
        differences = [_differences(values, i, lambda v: (output(v, by_hand=False) * dz).sum()) for i in range(len(values))]
    return DerivativeErrors(_largest(ours, autograd), _largest(ours, differences), sum(v.numel() for v in values))


def _without_backward(layer: Layer) -> Layer:
    """Return the same layer for autograd to differentiate: its class, less `backward`."""
    forward_only = type(type(layer).__name__, (type(layer),), {"backward": Layer.backward, "has_memory": layer.has_memory})
    twin: Layer = object.__new__(forward_only)
    twin.__dict__.update(layer.__dict__)
    return twin


def _differences(values: list[Tensor], which: int, loss: Callable[[list[Tensor]], Tensor]) -> Tensor:
    gradient = torch.zeros_like(values[which])
    for i in range(gradient.numel()):
        ends = []
        for sign in (1, -1):
            moved = [v.clone() for v in values]
            moved[which].view(-1)[i] += sign * _STEP
            ends.append(float(loss(moved)))
        gradient.view(-1)[i] = (ends[0] - ends[1]) / (2 * _STEP)
    return gradient


def _largest(ours: tuple[Tensor, ...], others: tuple[Tensor, ...] | list[Tensor]) -> float:
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-300)) for a, b in zip(ours, others, strict=True))
