"""Whether anybody wants to see what goes through a module."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as _torch_module

__all__ = ["has_hooks"]


def has_hooks(module: nn.Module) -> bool:
    """Return whether a call of `module` runs hooks, its own or those for all modules.

    >>> layer = nn.ReLU()
    >>> handle = layer.register_forward_hook(print)
    >>> has_hooks(layer), handle.remove(), has_hooks(layer)
    (True, None, False)
    """
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _torch_module._global_forward_hooks
        or _torch_module._global_forward_pre_hooks
        or _torch_module._global_backward_hooks
        or _torch_module._global_backward_pre_hooks
    )
