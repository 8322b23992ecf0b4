"""Dropout by a kernel that draws what torch would draw, number for number, several times faster."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels.calls import at
from laminar.kernels.library import library
from laminar.kernels.parts import Part

__all__ = ["agrees", "dropout"]


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        z, kept = torch.empty_like(x), torch.empty_like(x, dtype=torch.uint8)
        generator = torch.default_generator
        state = generator.get_state()
        calls: Any = library(x.dtype, Part.DROPOUT)
        calls.dropout_forward(at(x), at(z), at(kept), at(state), x.numel(), 1 - rate)
        generator.set_state(state)
        ctx.rate = rate
        ctx.save_for_backward(kept)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return dz * kept / (1 - ctx.rate), None
        dz, dx = dz.contiguous(), torch.empty_like(kept, dtype=dz.dtype)
        calls: Any = library(dz.dtype, Part.DROPOUT)
        calls.dropout_backward(at(dz), at(kept), at(dx), dz.numel(), 1 - ctx.rate)
        return dx, None


def dropout(x: Tensor, rate: float) -> Tensor:
    """Return contiguous x with some numbers set to zero, each with probability rate > 0, the others divided by 1 - rate.

    The numbers are those that `torch.nn.functional.dropout` sets to zero, and the generator is left as it leaves it.
    Ask `agrees` before.
    """
    z: Tensor = _Dropout.apply(x, rate)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return z


@functools.cache
def agrees(dtype: torch.dtype) -> bool:
    """Return whether the kernel draws what torch draws here: with Intel's MKL torch has a generator of its own."""
    if library(dtype, Part.DROPOUT) is None or torch.default_generator.get_state().numel() < 5016:
        return False
    found = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for draw in (dropout, F.dropout):
            torch.manual_seed(0)
            torch.rand(3)  # so that a number's words are cut by the end of a block
            found.append([*(draw(torch.ones(n, dtype=dtype), 0.3) for n in (1, 700, 1)), torch.default_generator.get_state()])
    return all(torch.equal(a, b) for a, b in zip(*found, strict=True))
