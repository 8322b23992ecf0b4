"""Who takes images in whichever layout they lie in memory, and how they are brought back into the usual one."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from laminar.kernels.switch import is_last
from laminar.layers.hooks import has_hooks
from laminar.layers.recompute import recomputes

__all__ = ["same_layout", "standard_layout", "takes_any_layout"]

_LAYERS, _TORCH_S, _ACTIVATIONS = "laminar.layers.", "torch.nn.modules.", ("laminar.activations", "torch.nn.functional")
_CHAINS = ("laminar.layers.chain", "laminar.layers.residual", "laminar.sequential")  # they look after what is in them
_DRAWING = "torch.nn.modules.dropout"  # whose numbers are drawn in the order of memory


def standard_layout(x: Any) -> Any:
    """Return images (B, C, H, W) that lie channels-last as torch lays them out; anything else as it is.

    >>> standard_layout(torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)).is_contiguous()
    True
    """
    return x.contiguous() if isinstance(x, Tensor) and x.dim() == 4 and is_last(x) else x


def same_layout(x: Any, like: Any) -> Any:
    """Return images (B, C, H, W) channels-last where those of their shape in `like` are; anything else as it is."""
    alike = isinstance(x, Tensor) and isinstance(like, Tensor) and x.dim() == 4 and x.shape == like.shape
    return x.contiguous(memory_format=torch.channels_last) if alike and is_last(like) else x


def takes_any_layout(module: nn.Module) -> bool:
    """Return whether all that a call of `module` runs is known to take channels-last images.

    That is no code of a user's, nothing that has hooks, and nothing that is computed once more for the backward pass.

    >>> takes_any_layout(nn.ReLU()), takes_any_layout(nn.Dropout())
    (True, False)
    """
    where = type(module).__module__
    if has_hooks(module) or recomputes(module):
        return False
    if where in _CHAINS:
        return _is_known(getattr(module, "activation", None))
    if where.startswith(_TORCH_S):
        return where != _DRAWING and not module._modules
    if not where.startswith(_LAYERS) or not _is_known(getattr(module, "activation", None)):
        return False
    return all(map(takes_any_layout, module.children()))


def _is_known(activation: Any) -> bool:
    function = activation.func if isinstance(activation, functools.partial) else activation
    return function is None or getattr(function, "__module__", None) in _ACTIVATIONS
