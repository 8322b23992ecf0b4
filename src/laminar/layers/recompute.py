"""Activation checkpointing: what a layer computes on the way is computed once more for the backward pass, and not kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from laminar import shapes
from laminar.errors import ArgumentError, complaint
from laminar.kernels.switch import enabled, wanted
from laminar.snapshots import Before, is_unbuilt

__all__ = ["Recompute", "checkpointed", "recomputes"]


class Recompute:
    """The flag of a layer or network, False until it is set.

    >>> from laminar import layers as L
    >>> layer = L.Dense(3)
    >>> layer.recompute = True
    >>> layer.recompute, L.Dense(3).recompute
    (True, False)
    """

    def __get__(self, module: nn.Module | None, owner: type | None = None) -> Any:
        """Return whether the flag is set."""
        return self if module is None else module.__dict__.get("_recompute", False)

    def __set__(self, module: nn.Module, value: bool) -> None:
        """Set it, or take it back."""
        if not isinstance(value, bool):
            where, fix = f"{type(module).__name__}.recompute", "Write recompute = True"
            raise ArgumentError(complaint(where, expected="True or False", received=f"{value!r}", fix=fix))
        module.__dict__["_recompute"] = value


def recomputes(module: nn.Module) -> bool:
    """Return whether a module is flagged."""
    return module.__dict__.get("_recompute", False) is True


def checkpointed(module: nn.Module, run: Callable[..., Any], inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return `run(*inputs, **options)`, the call of a flagged module; of what it makes on the way, nothing is kept.

    For the backward pass it is called again, with the same random numbers, in the modes and with the states (running
    statistics, states of recurrent layers) that the module and all in it had the first time; afterwards these are as they were
    left. Where no gradient is asked for, or torch transforms or traces the call, or there is something to build, it is a call
    like any other.

    Source: Chen et al., "Training deep nets with sublinear memory cost", 2016; `torch.utils.checkpoint`.
    """
    traced = torch.compiler.is_compiling() or shapes.tracing() or torch._C._are_functorch_transforms_active()
    if traced or not torch.is_grad_enabled() or any(map(is_unbuilt, module.modules())):
        return run(*inputs, **options)
    then = _Then(module)
    return checkpoint(partial(run, **options), *inputs, use_reentrant=False, context_fn=then.contexts)


class _Then:
    """How a module and all in it were when it was called."""

    def __init__(self, module: nn.Module) -> None:
        self._modules = list(module.modules())
        self._before = Before.of(self._modules)
        tables: list[dict[str, Any]] = [table for m in self._modules for table in (m._buffers, m.__dict__)]
        self._tensors = [(t, name, v.detach().clone()) for t in tables for name, v in t.items() if isinstance(v, Tensor)]
        self._kernels = wanted()
        self._entered: list[tuple[Before, AbstractContextManager[None]]] = []  # torch may come back for more

    def contexts(self) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        """Return what torch puts around the call and around its repetition."""
        return nullcontext(), self

    def __enter__(self) -> None:
        """Let everything be as it was then, and what is written go into copies."""
        now = Before.of(self._modules)
        self._before.put_back()
        for table, name, value in self._tensors:
            table[name] = value.clone()
        kernels = enabled(self._kernels)  # which the backward pass is outside of, and perhaps in another thread
        kernels.__enter__()
        self._entered.append((now, kernels))

    def __exit__(self, *error: object) -> None:
        """Let everything be as it was left."""
        now, kernels = self._entered.pop()
        kernels.__exit__(None, None, None)
        now.put_back()
