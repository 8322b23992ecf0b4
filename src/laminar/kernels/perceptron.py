"""Several dense layers and normalizations in a row as one operation of autograd."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import perceptron_calls as calls
from laminar.kernels.functions import twice_differentiable
from laminar.kernels.library import library
from laminar.kernels.parts import Part
from laminar.kernels.perceptron_calls import BLOCK, Bend, Stage

__all__ = ["MOST", "perceptron", "products"]

MOST = 1 << 17
"""Weights that are still worth their while: of more, torch's matrix products take better care."""

_FOR_ONE = 1 << 21  # multiplications that a thread has done before others have been called together

_BEND: dict[Bend, Callable[[Tensor], Tensor]] = {
    Bend.RELU: torch.relu,
    Bend.TANH: torch.tanh,
    Bend.SIGMOID: torch.sigmoid,
    Bend.SOFTMAX: functools.partial(torch.softmax, dim=1),
}


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, stages: tuple[Stage, ...], *tensors: Tensor | None) -> Tensor:
        out, kept = calls.forward(library(x.dtype, Part.PERCEPTRON), x, stages, tensors)
        ctx.stages = stages
        ctx.save_for_backward(x, kept, *tensors)
        return out

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, kept, *tensors = ctx.saved_tensors
        of_x, _, *needed = ctx.needs_input_grad
        if torch.is_grad_enabled():

            def again(x: Tensor, *tensors: Tensor | None) -> Tensor:
                return _by_torch(x, ctx.stages, tensors)

            made: Sequence[Tensor | None] = twice_differentiable(again, (x, *tensors), dz, (of_x, *needed))
        else:
            made = calls.backward(
                library(x.dtype, Part.PERCEPTRON), (x, kept, dz.contiguous()), ctx.stages, tensors, (of_x, *needed)
            )
        return (made[0], None, *made[1:])


def _by_torch(x: Tensor, stages: Sequence[Stage], tensors: Sequence[Tensor | None]) -> Tensor:
    for i, stage in enumerate(stages):
        weight, bias, _, _ = tensors[4 * i : 4 * i + 4]
        if stage.dense:
            assert weight is not None  # a dense layer has one
            x = F.linear(x, weight, bias)
        else:
            x = F.batch_norm(x, None, None, weight, bias, True, eps=stage.epsilon)
        x = _BEND[stage.bend](x) if stage.bend else x
    return x


def products(stages: Sequence[Stage]) -> int:
    """Return the multiplications of an observation, forward.

    >>> products([Stage(10, 5, Bend.RELU, True), Stage(5, 5, Bend.NONE, False)])
    50
    """
    return sum(s.features * s.units for s in stages if s.dense)


def perceptron(x: Tensor, stages: tuple[Stage, ...], tensors: Sequence[Tensor | None]) -> Tensor:
    """Return what the last stage makes of x, (B, units): by one thread, but where there are no gradients.

    Args:
        x: (B, features), B at least 1.
        stages: what is done; with gradients, normalizations are by the batch's own statistics.
        tensors: of every stage weight, bias, running mean and running variance, or None where it has none.
    """
    if not torch.is_grad_enabled() and not any(s.own for s in stages):
        threads = min(torch.get_num_threads(), products(stages) * len(x) // _FOR_ONE + 1, -(-len(x) // BLOCK))
        return calls.predict(library(x.dtype, Part.PERCEPTRON), x, stages, tensors, threads)
    z: Tensor = _Perceptron.apply(x, stages, *tensors)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return z
