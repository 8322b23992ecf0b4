"""Where the kernels are used: inside `enabled`, for tensors that they are made for."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from laminar.kernels.library import library
from laminar.kernels.parts import Part

__all__ = ["any_layout", "enabled", "is_last", "let_any_layout", "serve", "serve_last", "wanted"]

_LEAST = 1 << 14  # numbers; a call costs some fifty microseconds more than one of torch's own


_KINDS = (Tensor, nn.Parameter, nn.Buffer)


class _Switch(threading.local):
    on = False
    any_layout = False


_switch = _Switch()


@contextmanager
def enabled(on: bool = True) -> Iterator[None]:
    """Let layers use the kernels inside, in this thread; with False, let them not.

    It is for training steps and evaluation. The kernels cannot be traced, batched by `vmap` or differentiated forward, and stay
    out of that by themselves. They go by the shapes that they are told: who calls them makes sure that these fit one another.

    >>> with enabled():
    ...     wanted()
    True
    """
    before, _switch.on, _switch.any_layout = (_switch.on, _switch.any_layout), on, False
    try:
        yield
    finally:
        _switch.on, _switch.any_layout = before


def any_layout() -> bool:
    """Return whether who called takes images in whichever layout they come, channels-last as well.

    Only then does a layer change it: code of a user's, and whoever looks on, meets tensors as torch makes them.
    """
    return _switch.any_layout


def let_any_layout(taken: bool) -> None:
    """Say whether what is called next, in this thread, may return images in another layout: see `any_layout`."""
    _switch.any_layout = taken


def wanted() -> bool:
    """Return whether this thread is inside `enabled`."""
    return _switch.on


def serve(x: Tensor, *others: Tensor | None, part: Part, least: int = _LEAST) -> bool:
    """Return whether the kernels are to be used for x, and can be.

    Args:
        x: the input of a layer.
        *others: what else the kernel reads: of x's dtype, contiguous, on the CPU as well, or None.
        part: where the kernel is.
        least: numbers in x that a call is worth its while for.
    """
    if torch.compiler.is_compiling() or not _switch.on or x.numel() < least:
        return False
    return _plain(x) and x.is_contiguous() and _fit(x, others, part)


def serve_last(x: Tensor, *others: Tensor | None, least: int = _LEAST) -> bool:
    """Return whether the kernels for channels-last tensors are to be used for x (B, C, H, W), and can be.

    Args:
        x: the input of a layer.
        *others: what else the kernel reads: of x's dtype, on the CPU as well, contiguous, or of x's layout where of its shape.
        least: numbers in x that a call is worth its while for.
    """
    if torch.compiler.is_compiling() or not _switch.on or x.numel() < least or x.dim() != 4:
        return False
    beside = [t for t in others if t is not None and t.dim() == 4 and t.shape == x.shape]
    rest = [t for t in others if not any(t is b for b in beside)]
    return (
        all(_plain(t) and is_last(t) for t in (x, *beside))
        and all(t.dtype == x.dtype for t in beside)
        and _fit(x, rest, Part.LAST)
    )


def _fit(x: Tensor, others: Iterable[Tensor | None], part: Part) -> bool:
    given = [t for t in others if t is not None]
    return all(_plain(t) and t.is_contiguous() and t.dtype == x.dtype for t in given) and _here(x.dtype, part)


def is_last(t: Tensor) -> bool:
    """Return whether t (B, C, H, W) lies in memory as (B, H, W, C), and not as (B, C, H, W), too."""
    return t.is_contiguous(memory_format=torch.channels_last) and not t.is_contiguous()


def _plain(t: Tensor) -> bool:
    """Return whether the numbers of t are in memory as they are."""
    return type(t) in _KINDS and t.is_cpu and t.layout == torch.strided and not t.is_neg()


def _here(dtype: torch.dtype, part: Part) -> bool:
    batched = torch._C._are_functorch_transforms_active()  # vmap's tensors have no memory that could be handed on
    return not batched and not torch.is_autocast_enabled("cpu") and library(dtype, part) is not None
