"""Whether compiled kernels compute what torch computes, on this machine: asked once in a process, in a few milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import calls as k

__all__ = ["first_disagreement"]

_EPSILON = 1e-5


def first_disagreement(calls: Any, dtype: torch.dtype) -> str | None:
    """Return the name of the first kernel that differs from torch in float64 by more than rounding; None if none does.

    Compilers have faults, and a cache can be damaged: what would come of it are networks that learn a little worse.

    Args:
        calls: the library.
        dtype: of its tensors.
    """
    tolerance = 200 * torch.finfo(dtype).eps
    for name, found, expected in _pairs(calls, dtype):
        off = (found.double() - expected).abs().max() / expected.abs().max()
        if not off <= tolerance:
            return name
    return None


def _pairs(calls: Any, dtype: torch.dtype) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, what the kernel returns, and the same in float64 by torch's operations and autograd."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, learns: bool = True) -> Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).double()
        return drawn.requires_grad_(learns)

    # odd sizes, so that whole vectors and what is left of a row both occur
    image, kernel, offset = draw(3, 2, 9, 30, learns=False), draw(5, 2, 3, 5), draw(5)
    x, weight, bias, alpha = draw(4, 3, 5, 7), draw(3), draw(3), torch.tensor([0.5, -0.25, 0.0], dtype=torch.float64)
    alpha.requires_grad_()
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        y = F.conv2d(image, kernel, offset)
        dy = draw(*y.shape, learns=False)
        slopes = torch.autograd.grad((y * dy).sum(), (kernel, offset))
        plain = [t.detach().to(dtype) for t in (image, kernel, offset)]
        yield "convolution", k.convolve(calls, *plain), y.detach()
        made = k.convolve_backward(calls, plain[0], dy.to(dtype), plain[1], (True, True))
        yield from zip(["gradient of a kernel", "gradient of a bias"], made, slopes, strict=True)

        normal = F.batch_norm(x, None, None, weight, bias, training=True, eps=_EPSILON)
        dz = x.detach() + draw(*x.shape, learns=False)  # so that they have something to do with one another
        given = [t.detach().to(dtype) for t in (x, weight, bias, alpha)]
        for kind in k.Kind:
            z = _activated(normal, kind, alpha)
            wanted = (x, weight, bias, alpha) if kind == k.Kind.ELU else (x, weight, bias)
            slopes = torch.autograd.grad((z * dz).sum(), wanted, retain_graph=True)
            own, found = k.normalize(calls, given[0], given[1], given[2], given[3], k.Normalization(None, 0.1, _EPSILON, kind))
            needed = (True, True, True, kind == k.Kind.ELU)
            back = k.normalize_backward(calls, given[0], own, dz.to(dtype), found, kind, given[3], needed)
            yield f"normalization with {kind.name}", own, z.detach()
            for got, slope in zip(back, slopes, strict=False):
                assert got is not None
                yield f"gradient of a normalization with {kind.name}", got, slope

        z = _activated(x, k.Kind.ELU, alpha)
        slopes = torch.autograd.grad((z * dz).sum(), (x, alpha))
        own = k.elu(calls, given[0], given[3])
        yield "elu", own, z.detach()
        yield from zip(
            ["gradient of elu"] * 2, k.elu_backward(calls, given[0], own, dz.to(dtype), given[3], True), slopes, strict=True
        )


def _activated(y: Tensor, kind: k.Kind, alpha: Tensor) -> Tensor:
    if kind == k.Kind.IDENTITY:
        return y
    if kind == k.Kind.RELU:
        return y.relu()
    return torch.where(y > 0, y, alpha.reshape(-1, 1, 1) * torch.expm1(y.clamp(max=0)))
