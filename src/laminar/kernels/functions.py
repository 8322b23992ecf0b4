"""The kernels with their derivatives, as autograd knows them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import calls
from laminar.kernels.calls import Kind, Normalization, Statistics
from laminar.kernels.library import library
from laminar.kernels.parts import Part

__all__ = [
    "MOST",
    "WIDEST",
    "batch_norm",
    "convolution",
    "dense",
    "elu",
    "elu_by_torch",
    "scale_and_shift",
    "twice_differentiable",
]

WIDEST = 7
"""Columns of the widest kernel that `convolution` takes; source/convolution.h has the same number, and the next one."""

MOST = 256
"""Numbers of the largest kernel that it takes, over all channels."""


def twice_differentiable(
    of: Callable[..., Tensor], inputs: Sequence[Tensor | None], dz: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Return the gradients by torch's operations, with a graph of their own: for backward(create_graph=True)."""
    own = [None if t is None else t.view_as(t) for t in inputs]  # one tensor may be given twice, and has a part in each place
    wanted = [t for t, need in zip(own, needed, strict=True) if need and t is not None]
    found = iter(torch.autograd.grad(of(*own), wanted, dz, create_graph=True))
    return tuple(next(found) if need else None for need in needed)


class _Elu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor) -> Tensor:
        z = calls.elu(library(x.dtype, Part.CONTIGUOUS), x, alpha)
        ctx.save_for_backward(x, z, alpha)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, z, alpha = ctx.saved_tensors
        if torch.is_grad_enabled():
            return twice_differentiable(elu_by_torch, (x, alpha), dz, ctx.needs_input_grad)
        return calls.elu_backward(library(x.dtype, Part.CONTIGUOUS), x, z, dz.contiguous(), alpha, ctx.needs_input_grad[1])


def elu_by_torch(x: Tensor, alpha: Tensor) -> Tensor:
    """Return `elu` by torch's operations."""
    below = alpha.reshape(1, -1, *[1] * (x.dim() - 2)) * torch.expm1(x.clamp(max=0))
    return torch.where(x > 0, x, below)


def elu(x: Tensor, alpha: Tensor) -> Tensor:
    """Return x for x > 0 and alpha (exp(x) - 1) elsewhere, (B, C, ...), for x (B, C, ...) and alpha (C,).

    It reads x and writes the result, once; its derivative reads both and dz, and writes dx.
    """
    z: Tensor = _Elu.apply(x, alpha)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return z


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, alpha: Tensor | None, how: Normalization
    ) -> Tensor:
        z, found = calls.normalize(library(x.dtype, Part.CONTIGUOUS), x, weight, bias, alpha, how)
        ctx.how = how
        seen = z if how.kind == Kind.ELU else None  # the only slope that is read off the output
        ctx.save_for_backward(x, weight, bias, alpha, seen, found.mean, found.inverse, found.scale, found.shift)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, alpha, z, *found = ctx.saved_tensors
        needed = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled():
            again = functools.partial(_batch_norm_by_torch, how=ctx.how)
            return *twice_differentiable(again, (x, weight, bias, alpha), dz, needed), None
        made = calls.normalize_backward(
            library(x.dtype, Part.CONTIGUOUS), x, z, dz.contiguous(), Statistics(*found), ctx.how.kind, alpha, needed
        )
        return (*made, None)


def _batch_norm_by_torch(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, alpha: Tensor | None, *, how: Normalization
) -> Tensor:
    y = F.batch_norm(x, None, None, weight, bias, training=True, eps=how.epsilon)
    if alpha is not None and how.kind == Kind.ELU:
        return elu_by_torch(y, alpha)
    return F.relu(y) if how.kind == Kind.RELU else y


def batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, how: Normalization, alpha: Tensor | None = None
) -> Tensor:
    """Return activation(weight (x - mean) / sqrt(var + epsilon) + bias) with mean and variance of the batch, (B, C, ...).

    Args:
        x: (B, C, ...).
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        how: running statistics, epsilon, activation.
        alpha: (C,), where the activation is an ELU.
    """
    alpha = alpha if how.kind == Kind.ELU else None
    z: Tensor = _BatchNorm.apply(x, weight, bias, alpha, how)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return z


def scale_and_shift(x: Tensor, scale: Tensor, shift: Tensor, kind: Kind = Kind.IDENTITY, alpha: Tensor | None = None) -> Tensor:
    """Return activation(scale x + shift), (B, C, ...), without derivative, for scale and shift (C,)."""
    return calls.affine(library(x.dtype, Part.CONTIGUOUS), x, scale.contiguous(), shift.contiguous(), kind, alpha)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return calls.convolve(library(x.dtype, Part.CONTIGUOUS), x, weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return twice_differentiable(F.conv2d, (x, weight, bias), dy, ctx.needs_input_grad)
        of_x, *needed = ctx.needs_input_grad
        dx = None
        if of_x:  # of an input that is itself a layer's output: torch's is as good
            window: Any = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
            dx, _, _ = torch.ops.aten.convolution_backward(dy, x, weight, None, *window, [True, False, False])
        if not any(needed):
            return dx, None, None
        return dx, *calls.convolve_backward(
            library(x.dtype, Part.CONTIGUOUS), x, dy.contiguous(), weight, (needed[0], needed[1])
        )


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the convolution of x (B, C, H, W) with weight (F, C, h, w), stride 1, no padding, plus bias (F,).

    It is for few channels C; w is at most `WIDEST`, and C h w at most `MOST`.
    """
    y: Tensor = _Convolution.apply(x, weight, bias)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return y


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return calls.dense(library(x.dtype, Part.CONTIGUOUS), x, weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return twice_differentiable(F.linear, (x, weight, bias), dy, ctx.needs_input_grad)
        return calls.dense_backward(library(x.dtype, Part.CONTIGUOUS), x, dy.contiguous(), weight, ctx.needs_input_grad)


def dense(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x (B, features) times weight (units, features) transposed, plus bias (units,): for few units, many features."""
    y: Tensor = _Dense.apply(x, weight, bias)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return y
