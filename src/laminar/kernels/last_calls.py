"""The kernels for channels-last tensors called on tensors, without derivatives: (B, C, H, W) in memory as (B, H, W, C).

Shapes and layout are the caller's affair: see `switch.serve_last`.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from laminar.kernels.calls import Kind, Normalization, Statistics, at, notes

__all__ = [
    "STEP",
    "PoolWindow",
    "affine",
    "images",
    "images_backward",
    "normalize",
    "normalize_backward",
    "pool",
    "pool_backward",
    "winograd",
    "winograd_backward",
]

STEP = 16
"""Channels come in multiples of it where kernels are applied or windows searched; source/winograd.h has the same number."""

_PARTS = 64  # as in source/channels_last.h


@dataclass(frozen=True)
class PoolWindow:
    """A pooling window: its size, strides, and the padding before the first row and column."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def output(self, x: Tensor) -> tuple[int, int]:
        """Return rows and columns of what comes out for x (B, C, H, W)."""
        axes = zip(x.shape[2:], self.size, self.stride, self.padding, strict=True)
        rows, columns = ((n + 2 * p - k) // s + 1 for n, k, s, p in axes)
        return rows, columns

    def numbers(self, x: Tensor) -> Any:
        """Return what the kernels are told of it."""
        _, channels, *sizes = x.shape
        return _int64s(*sizes, channels, *self.output(x), *self.size, *self.stride, *self.padding)


def _int64s(*numbers: int) -> Any:
    return (ctypes.c_int64 * len(numbers))(*numbers)


def _new(like: Tensor, n: int, channels: int, height: int, width: int) -> Tensor:
    """Return a channels-last tensor of `like`'s dtype."""
    # torch.empty(memory_format=) leaves the order of axes open where one of them is 1
    return like.new_empty(n, height, width, channels).permute(0, 3, 1, 2)


def winograd(
    calls: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pad: int,
    *,
    relu: bool,
    behind: Tensor | None = None,
    flipped: bool = False,
) -> Tensor:
    """Return the convolution of x (B, C, H, W) with weight (F, C, 3, 3), of stride 1, plus bias (F,).

    Args:
        calls: the library.
        x: channels-last.
        weight: (F, C, 3, 3), contiguous.
        bias: (F,).
        pad: zeros around each image, at most 2.
        relu: whether it goes through a ReLU.
        behind: a tensor of x's shape; x counts where it is above 0 alone.
        flipped: whether x is the gradient of the output of the convolution with `weight`, and that of its input is returned.
    """
    n, channels, height, width = x.shape
    out = weight.shape[1] if flipped else weight.shape[0]
    y = _new(x, n, out, height + 2 * pad - 2, width + 2 * pad - 2)
    threads = torch.get_num_threads()
    room = x.new_empty(calls.winograd_room(channels, out, threads))
    read = [at(t) for t in (x, behind, weight, bias)]
    calls.winograd_forward(*read, at(y), at(room), n, height, width, channels, out, pad, int(flipped), int(relu), threads)
    return y


def winograd_backward(calls: Any, x: Tensor, dy: Tensor, z: Tensor | None, weight: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight (F, C, 3, 3) and bias (F,); z is the output where that went through a ReLU."""
    (n, channels, height, width), out, threads = x.shape, len(weight), torch.get_num_threads()
    dw, db = torch.empty_like(weight), weight.new_empty(out)
    room = x.new_empty(calls.winograd_backward_room(channels, out, threads))
    written = [at(t) for t in (x, dy, z, dw, db, room)]
    calls.winograd_backward(*written, n, height, width, channels, out, pad, threads)
    return dw, db


def _image_numbers(x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Any:
    return _int64s(*x.shape[1:], len(weight), *weight.shape[2:], *padding)


def images(calls: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int], *, relu: bool) -> Tensor:
    """Return the channels-last convolution of contiguous x (B, C, H, W), of few channels, with weight (F, C, h, w)."""
    sizes, threads = _image_numbers(x, weight, padding), torch.get_num_threads()
    rows, columns = (n + 2 * p - k + 1 for n, p, k in zip(x.shape[2:], padding, weight.shape[2:], strict=True))
    y = _new(x, len(x), len(weight), rows, columns)
    room = x.new_empty(calls.images_room(sizes, threads))
    calls.images_forward(at(x), at(weight), at(bias), at(y), at(room), sizes, len(x), int(relu), threads)
    return y


def images_backward(
    calls: Any, x: Tensor, dy: Tensor, z: Tensor | None, weight: Tensor, padding: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight (F, C, h, w) and bias (F,); z is the output where that went through a ReLU."""
    sizes, threads = _image_numbers(x, weight, padding), torch.get_num_threads()
    dw, db = torch.empty_like(weight), weight.new_empty(len(weight))
    room = x.new_empty(calls.images_backward_room(sizes, threads), dtype=torch.float64)
    calls.images_backward(*[at(t) for t in (x, dy, z, dw, db, room)], sizes, len(x), threads)
    return dw, db


def _rows(x: Tensor) -> tuple[int, int]:
    """Return positions of all images, and channels."""
    return len(x) * math.prod(x.shape[2:]), x.shape[1]


def normalize(
    calls: Any,
    x: Tensor,
    other: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    alpha: Tensor | None,
    how: Normalization,
) -> tuple[Tensor, Statistics]:
    """Return x (B, C, H, W) normalized over the batch, plus `other`, activated; weight, bias and an ELU's alpha are (C,)."""
    z, found, channels = torch.empty_like(x), Statistics.room(x), x.shape[1]
    mean, variance = how.running or (None, None)
    room = x.new_empty(5 * _PARTS * channels, dtype=torch.float64)
    read = [at(t) for t in (x, other, weight, bias, alpha)]
    settings = [int(how.kind), how.momentum, how.epsilon, torch.get_num_threads()]
    calls.normalize_last_forward(*read, at(z), at(mean), at(variance), *notes(found), at(room), *_rows(x), *settings)
    return z, found


def normalize_backward(
    calls: Any,
    x: Tensor,
    z: Tensor | None,
    dz: Tensor,
    found: Statistics,
    kind: Kind,
    alpha: Tensor | None,
    needed: tuple[bool, bool, bool, bool],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of x (B, C, H, W), of weight, bias and alpha (C,), of those that are needed, and of another summand.

    z is given where there was another summand, and a ReLU behind.
    """
    made = [torch.empty_like(like) if need else None for like, need in zip((x, *[found.scale] * 3), needed, strict=True)]
    dother = None if z is None else torch.empty_like(x)
    room = x.new_empty((6 * _PARTS + 9) * x.shape[1], dtype=torch.float64)
    read = [at(t) for t in (x, z, dz, alpha)]
    numbers = [*_rows(x), int(kind), int(found.fixed), torch.get_num_threads()]
    calls.normalize_last_backward(*read, *notes(found), at(made[0]), at(dother), *map(at, made[1:]), at(room), *numbers)
    return (*made, dother)


def affine(
    calls: Any, x: Tensor, other: Tensor | None, scale: Tensor, shift: Tensor, kind: Kind, alpha: Tensor | None
) -> Tensor:
    """Return activation(scale x + shift + other), with scale and shift (C,) for x (B, C, H, W)."""
    z = torch.empty_like(x)
    read = [at(t) for t in (x, other, scale, shift, alpha)]
    calls.affine_last(*read, at(z), *_rows(x), int(kind), torch.get_num_threads())
    return z


def pool(calls: Any, x: Tensor, window: PoolWindow, *, noted: bool) -> tuple[Tensor, Tensor | None]:
    """Return the largest numbers under a window of x (B, C, H, W), and, where `noted`, their places in their windows."""
    z = _new(x, len(x), x.shape[1], *window.output(x))
    places = torch.empty_like(z, dtype=torch.int32 if x.dtype == torch.float32 else torch.int64) if noted else None
    calls.pool_forward(at(x), at(z), at(places), window.numbers(x), len(x), torch.get_num_threads())
    return z, places


def pool_backward(calls: Any, dz: Tensor, places: Tensor, x: Tensor, window: PoolWindow) -> Tensor:
    """Return the gradient of x (B, C, H, W)."""
    dx = torch.empty_like(x)
    calls.pool_backward(at(dz), at(places), at(dx), window.numbers(x), len(x), torch.get_num_threads())
    return dx
