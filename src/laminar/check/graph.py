"""The tensors at the bottom of an autograd graph: whatever a call learned from, wherever it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from laminar.check.running import leaves
from laminar.seeding import seed_all

__all__ = ["called", "graph_leaves"]


def called(module: nn.Module, xs: Sequence[Tensor], *, seed: int = 0) -> list[Tensor]:
    """Return the tensors of `module(*xs)` with their graph, run on clones of `xs`, global generators seeded before."""
    seed_all(seed)
    with torch.enable_grad():
        return leaves(module(*(x.clone() for x in xs)))


def graph_leaves(zs: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors that a gradient of `zs` would be added to, each once.

    >>> w, x = nn.Parameter(torch.ones(3)), torch.ones(3)
    >>> graph_leaves([(w * x).sum(), w]) == [w]
    True
    """
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    waiting: list[Any] = []
    for z in zs:
        if z.grad_fn is not None:
            waiting.append(z.grad_fn)
        elif z.requires_grad:
            found[id(z)] = z
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of an AccumulateGrad node
        if isinstance(variable, Tensor):
            found[id(variable)] = variable
        waiting.extend(before for before, _ in node.next_functions if before is not None)
    return list(found.values())
