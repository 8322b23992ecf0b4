"""The graph that autograd has of a call: its nodes, and the tensors at its bottom, which are whatever the call learned from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from laminar.check.running import leaves
from laminar.seeding import seed_all

__all__ = ["called", "graph_leaves", "graph_nodes"]


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
    zs = list(zs)
    found = {id(z): z for z in zs if z.grad_fn is None and z.requires_grad}
    for node in graph_nodes(zs):
        variable = getattr(node, "variable", None)  # of an AccumulateGrad node
        if isinstance(variable, Tensor):
            found[id(variable)] = variable
    return list(found.values())


def graph_nodes(zs: Iterable[Tensor]) -> Iterator[Any]:
    """Yield every node of the graph behind `zs`, each once."""
    seen: set[Any] = set()
    waiting: list[Any] = [z.grad_fn for z in zs if z.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(before for before, _ in node.next_functions if before is not None)
