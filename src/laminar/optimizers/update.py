"""The step of torch's optimizers without what it does for torch's compiler, which it would load, for nothing, at the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["update_of"]


def update_of(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """Return what `optimizer.step` does, hooks included, without what it does for torch's compiler.

    It is `optimizer.step` itself where that is not one of torch's own, or has been replaced.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([2.0])
    >>> update_of(torch.optim.SGD([w], lr=0.1))()
    >>> w.data
    tensor([0.8000])
    """
    kind = type(optimizer)
    about_compiler = getattr(kind.step, "__wrapped__", None)  # inside what runs the hooks
    inner = getattr(about_compiler, "__wrapped__", None)
    own = kind.__module__.startswith("torch.optim.") and getattr(inner, "__module__", None) == kind.__module__
    if inner is None or not own or hasattr(inner, "__wrapped__") or optimizer.defaults.get("differentiable", True):
        return optimizer.step
    hooked = torch.optim.Optimizer.profile_hook_step(torch.no_grad()(inner))

    def update() -> Any:
        return optimizer.step() if "step" in optimizer.__dict__ else hooked(optimizer)  # a callback may put its own there

    return update
