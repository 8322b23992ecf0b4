"""What `trust` asks of the kernels for channels-last images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import last_calls as k
from laminar.kernels.calls import Kind, Normalization

__all__ = ["pairs"]

_EPSILON = 1e-5


def pairs(calls: Any, dtype: torch.dtype, draw: Callable[..., Tensor]) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    """Yield name, what the kernel returns, and the same in float64 by torch's operations and autograd.

    Args:
        calls: the library.
        dtype: of its tensors.
        draw: returns random numbers of that dtype, in float64.
    """
    yield from _of_winograd(calls, dtype, draw)
    yield from _of_images(calls, dtype, draw)
    yield from _of_normalization(calls, dtype, draw)
    yield from _of_pooling(calls, dtype, draw)


def _last(t: Tensor, dtype: torch.dtype) -> Tensor:
    return t.detach().to(dtype).contiguous(memory_format=torch.channels_last)


def _of_winograd(calls: Any, dtype: torch.dtype, draw: Callable[..., Tensor]) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    x, weight, bias = (draw(*s).requires_grad_() for s in ((3, 16, 7, 9), (32, 16, 3, 3), (32,)))
    z = F.conv2d(x, weight, bias, padding=1).relu()
    dz = z.detach() + draw(*z.shape)
    slopes = torch.autograd.grad((z * dz).sum(), (x, weight, bias))
    own, given, w, b = _last(x, dtype), _last(dz, dtype), weight.detach().to(dtype), bias.detach().to(dtype)
    found = k.winograd(calls, own, w, b, 1, relu=True)
    yield "3x3 convolution", found, z.detach()
    seen = _last(z, dtype)
    yield (
        "gradient of a 3x3 convolution",
        k.winograd(calls, given, w, None, 1, relu=False, behind=seen, flipped=True),
        slopes[0],
    )
    made = k.winograd_backward(calls, own, given, seen, w, 1)
    yield from zip(["gradient of a 3x3 kernel", "gradient of a 3x3 kernel's bias"], made, slopes[1:], strict=True)


def _of_images(calls: Any, dtype: torch.dtype, draw: Callable[..., Tensor]) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    x, weight, bias = draw(3, 2, 6, 19), draw(16, 2, 3, 3).requires_grad_(), draw(16).requires_grad_()
    z = F.conv2d(x, weight, bias, padding=(1, 0)).relu()
    dz = z.detach() + draw(*z.shape)
    slopes = torch.autograd.grad((z * dz).sum(), (weight, bias))
    own, w, b = x.to(dtype), weight.detach().to(dtype), bias.detach().to(dtype)
    yield "convolution of images", k.images(calls, own, w, b, (1, 0), relu=True), z.detach()
    made = k.images_backward(calls, own, _last(dz, dtype), _last(z, dtype), w, (1, 0))
    yield from zip(["gradient of an image's kernel", "gradient of an image's bias"], made, slopes, strict=True)


def _of_normalization(
    calls: Any, dtype: torch.dtype, draw: Callable[..., Tensor]
) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    x, other = draw(5, 19, 5, 7).requires_grad_(), draw(5, 19, 5, 7).requires_grad_()
    weight, bias, alpha = (draw(19).requires_grad_() for _ in range(3))
    dz = draw(*x.shape)
    normal = F.batch_norm(x, None, None, weight, bias, training=True, eps=_EPSILON)
    below = alpha.reshape(-1, 1, 1) * torch.expm1(normal.clamp(max=0))
    expected = {
        Kind.IDENTITY: (normal, (x, weight, bias), None),
        Kind.RELU: ((normal + other).relu(), (x, weight, bias, other), other),
        Kind.ELU: (torch.where(normal > 0, normal, below), (x, weight, bias, alpha), None),
    }
    own = _last(x, dtype)
    w, b, a = (t.detach().to(dtype) for t in (weight, bias, alpha))
    for kind, (z, wanted, added) in expected.items():
        slopes = torch.autograd.grad((z * dz).sum(), wanted, retain_graph=True)
        summand = None if added is None else _last(added, dtype)
        found, statistics = k.normalize(calls, own, summand, w, b, a, Normalization(None, 0.1, _EPSILON, kind))
        name = f"channels-last normalization with {kind.name}"
        yield name, found, z.detach()
        seen, with_alpha = None if added is None else found, kind == Kind.ELU
        made = k.normalize_backward(calls, own, seen, _last(dz, dtype), statistics, kind, a, (True, True, True, with_alpha))
        returned = [t for t in made if t is not None]
        yield from zip([f"gradient of a {name}"] * len(slopes), returned, slopes, strict=True)


def _of_pooling(calls: Any, dtype: torch.dtype, draw: Callable[..., Tensor]) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    x, window = draw(2, 16, 7, 8).requires_grad_(), k.PoolWindow((3, 2), (2, 2), (1, 0))
    z = F.max_pool2d(x, window.size, window.stride, window.padding)
    dz = draw(*z.shape)
    (slope,) = torch.autograd.grad((z * dz).sum(), x)
    own = _last(x, dtype)
    found, places = k.pool(calls, own, window, noted=True)
    yield "pooling", found, z.detach()
    assert places is not None
    yield "gradient of a pooling", k.pool_backward(calls, _last(dz, dtype), places, own, window), slope
