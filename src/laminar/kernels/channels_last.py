"""The kernels for channels-last images with their derivatives, as autograd knows them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import last_calls as calls
from laminar.kernels.calls import Kind, Normalization, Statistics
from laminar.kernels.functions import elu_by_torch, twice_differentiable
from laminar.kernels.last_calls import PoolWindow
from laminar.kernels.library import library
from laminar.kernels.parts import Part

__all__ = ["batch_norm", "convolve", "convolve_images", "elu", "max_pool", "scale_and_shift"]


def _as(t: Tensor) -> Tensor:
    """Return t (B, C, H, W) channels-last, or (B, C) contiguous; itself where it is."""
    return t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t.contiguous()


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, pad: int, relu: bool) -> Tensor:
        z = calls.winograd(library(x.dtype, Part.LAST), x, weight, bias, pad, relu=relu)
        ctx.pad = pad
        ctx.save_for_backward(x, weight, bias, z if relu else None)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, z = ctx.saved_tensors
        if torch.is_grad_enabled():
            again = functools.partial(_conv_by_torch, padding=(ctx.pad, ctx.pad), relu=z is not None)
            return *twice_differentiable(again, (x, weight, bias), dz, ctx.needs_input_grad[:3]), None, None
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        own, dz = library(x.dtype, Part.LAST), _as(dz)
        dx = calls.winograd(own, dz, weight, None, 2 - ctx.pad, relu=False, behind=z, flipped=True) if of_x else None
        dw, db = calls.winograd_backward(own, x, dz, z, weight, ctx.pad) if of_weight or of_bias else (None, None)
        return dx, dw if of_weight else None, db if of_bias else None, None, None


def _conv_by_torch(x: Tensor, weight: Tensor, bias: Tensor | None, *, padding: tuple[int, int], relu: bool) -> Tensor:
    y = F.conv2d(x, weight, bias, padding=padding)
    return y.relu() if relu else y


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, pad: int, *, relu: bool) -> Tensor:
    """Return (B, F, H', W'), the convolution of channels-last x (B, C, H, W) with weight (F, C, 3, 3), plus bias (F,).

    Args:
        x: C is a multiple of `last_calls.STEP`.
        weight: F is one, too.
        bias: (F,), or None.
        pad: zeros around each image, at most 2.
        relu: whether it goes through a ReLU.

    Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015.
    """
    z: Tensor = _Winograd.apply(x, weight, bias, pad, relu)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return z


class _Images(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int], relu: bool) -> Tensor:
        z = calls.images(library(x.dtype, Part.LAST), x, weight, bias, padding, relu=relu)
        ctx.padding = padding
        ctx.save_for_backward(x, weight, bias, z if relu else None)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, z = ctx.saved_tensors
        if torch.is_grad_enabled():
            again = functools.partial(_conv_by_torch, padding=ctx.padding, relu=z is not None)
            return *twice_differentiable(again, (x, weight, bias), dz, ctx.needs_input_grad[:3]), None, None
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        dx = None
        if of_x:  # of an input that is itself a layer's output: torch's is as good
            slopes = dz if z is None else dz * (z > 0)
            window: Any = ([1, 1], list(ctx.padding), [1, 1], False, [0, 0], 1)
            dx, _, _ = torch.ops.aten.convolution_backward(slopes, x, weight, None, *window, [True, False, False])
        dw, db = None, None
        if of_weight or of_bias:
            dw, db = calls.images_backward(library(x.dtype, Part.LAST), x, _as(dz), z, weight, ctx.padding)
        return dx, dw if of_weight else None, db if of_bias else None, None, None


def convolve_images(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int], *, relu: bool) -> Tensor:
    """Return the channels-last convolution of contiguous x (B, C, H, W) with weight (F, C, h, w), of stride 1, plus bias (F,).

    It is for few channels C: C h w is at most `functions.MOST`. F is a multiple of `last_calls.STEP`, and the output as wide.
    """
    z: Tensor = _Images.apply(x, weight, bias, padding, relu)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return z


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        other: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        alpha: Tensor | None,
        how: Normalization,
    ) -> Tensor:
        z, found = calls.normalize(library(x.dtype, Part.LAST), x, other, weight, bias, alpha, how)
        ctx.how = how
        ctx.save_for_backward(
            x, other, weight, bias, alpha, z if other is not None else None, found.mean, found.inverse, found.scale, found.shift
        )
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, other, weight, bias, alpha, z, *found = ctx.saved_tensors
        of_x, of_other, *needed = ctx.needs_input_grad[:5]
        if torch.is_grad_enabled():
            again = functools.partial(_batch_norm_by_torch, how=ctx.how)
            return *twice_differentiable(again, (x, other, weight, bias, alpha), dz, ctx.needs_input_grad[:5]), None
        dx, *of_vectors, dother = calls.normalize_backward(
            library(x.dtype, Part.LAST), x, z, _as(dz), Statistics(*found), ctx.how.kind, alpha, (of_x, *needed)
        )
        return dx, dother if of_other else None, *of_vectors, None


def _batch_norm_by_torch(
    x: Tensor,
    other: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    alpha: Tensor | None,
    *,
    how: Normalization,
) -> Tensor:
    y = F.batch_norm(x, None, None, weight, bias, training=True, eps=how.epsilon)
    y = y if other is None else y + other
    if alpha is not None and how.kind == Kind.ELU:
        return elu_by_torch(y, alpha)
    return F.relu(y) if how.kind == Kind.RELU else y


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    how: Normalization,
    alpha: Tensor | None = None,
    other: Tensor | None = None,
) -> Tensor:
    """Return activation(weight (x - mean) / sqrt(var + epsilon) + bias + other), for channels-last x (B, C, H, W).

    Args:
        x: (B, C, H, W).
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        how: running statistics, epsilon, activation.
        alpha: (C,), where the activation is an ELU.
        other: of x's shape and layout; with a ReLU alone.
    """
    alpha = alpha if how.kind == Kind.ELU else None
    z: Tensor = _BatchNorm.apply(x, other, weight, bias, alpha, how)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return z


class _Elu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor) -> Tensor:
        ones, zeros = torch.ones_like(alpha), torch.zeros_like(alpha)
        ctx.save_for_backward(x, alpha, ones, zeros)
        return calls.affine(library(x.dtype, Part.LAST), x, None, ones, zeros, Kind.ELU, alpha)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, alpha, ones, zeros = ctx.saved_tensors
        if torch.is_grad_enabled():
            return twice_differentiable(elu_by_torch, (x, alpha), dz, ctx.needs_input_grad)
        found = Statistics(zeros.double(), ones.double(), ones, zeros, fixed=True)
        needed = (ctx.needs_input_grad[0], False, False, ctx.needs_input_grad[1])
        dx, _, _, dalpha, _ = calls.normalize_backward(
            library(x.dtype, Part.LAST), x, None, _as(dz), found, Kind.ELU, alpha, needed
        )
        return dx, dalpha


def elu(x: Tensor, alpha: Tensor) -> Tensor:
    """Return x for x > 0 and alpha (exp(x) - 1) elsewhere, for channels-last x (B, C, H, W) and alpha (C,)."""
    z: Tensor = _Elu.apply(x, alpha)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return z


def scale_and_shift(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    kind: Kind = Kind.IDENTITY,
    alpha: Tensor | None = None,
    other: Tensor | None = None,
) -> Tensor:
    """Return activation(scale x + shift + other), without derivative, for channels-last x (B, C, H, W), scale, shift (C,)."""
    return calls.affine(library(x.dtype, Part.LAST), x, other, scale.contiguous(), shift.contiguous(), kind, alpha)


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: PoolWindow) -> Tensor:
        z, places = calls.pool(library(x.dtype, Part.LAST), x, window, noted=ctx.needs_input_grad[0])
        ctx.window = window
        ctx.save_for_backward(x, places)
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, places = ctx.saved_tensors
        if torch.is_grad_enabled():
            again = functools.partial(_max_pool_by_torch, window=ctx.window)
            return *twice_differentiable(again, (x,), dz, ctx.needs_input_grad[:1]), None
        return calls.pool_backward(library(x.dtype, Part.LAST), _as(dz), places, x, ctx.window), None


def _max_pool_by_torch(x: Tensor, *, window: PoolWindow) -> Tensor:
    return F.max_pool2d(x, window.size, window.stride, window.padding)


def max_pool(x: Tensor, window: PoolWindow) -> Tensor:
    """Return the largest number under a window of channels-last x (B, C, H, W), C a multiple of `last_calls.STEP`."""
    z: Tensor = _MaxPool.apply(x, window)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return z
