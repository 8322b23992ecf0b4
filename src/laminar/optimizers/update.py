"""The step of torch's optimizers without what it does for torch's compiler and profiler, where neither is at work.

The first step would load the compiler, for nothing; and every step tells the profiler of itself, which takes as long as moving
the parameters of a small network. These one thread moves: several are called together anew for every tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

__all__ = ["update_of"]

_LITTLE = 500_000  # parameters in all; measured


def update_of(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """Return what `optimizer.step` does, hooks included, without what it does for torch's compiler or an absent profiler.

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
    moved = torch.no_grad()(inner)
    bare = _by_one_thread(moved) if _is_little(optimizer) else moved
    hooked = torch.optim.Optimizer.profile_hook_step(bare)

    def update() -> Any:
        if "step" in optimizer.__dict__:  # a callback may put its own there
            return optimizer.step()
        if torch._C._autograd._profiler_enabled() or _global_optimizer_pre_hooks or _global_optimizer_post_hooks:
            return hooked(optimizer)
        args: Any = (optimizer,)
        kwargs: Any = {}
        for before in list(optimizer._optimizer_step_pre_hooks.values()):
            changed = before(optimizer, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        done = bare(*args, **kwargs)
        for after in list(optimizer._optimizer_step_post_hooks.values()):
            after(optimizer, args, kwargs)
        return done

    return update


def _is_little(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether a step consists of many short operations on the CPU, as fused ones of small networks do."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return (
        bool(optimizer.defaults.get("fused"))
        and all(p.is_cpu for p in parameters)
        and sum(map(torch.numel, parameters)) <= _LITTLE
    )


def _by_one_thread(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def alone(*args: Any, **kwargs: Any) -> Any:
        threads = torch.get_num_threads()
        if threads == 1:
            return step(*args, **kwargs)
        torch.set_num_threads(1)
        try:
            return step(*args, **kwargs)
        finally:
            torch.set_num_threads(threads)

    return alone
