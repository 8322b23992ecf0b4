"""How the CPU is used while a network computes: with as many threads as suit it, and memory that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from laminar.fit.memory import reuse_freed_memory
from laminar.layers.core import Dense, Flatten

__all__ = ["suited"]

_LITTLE = 1 << 24  # multiply-adds of a batch, forward: what several threads save on less they lose by waiting for one another


@contextmanager
def suited(model: nn.Module, observations: int | None, steps: int | None) -> Iterator[None]:
    """Let torch compute small perceptrons by one thread inside, and everything else as it does; freed memory is used again.

    Small is what takes rows of numbers, or flattens its input first, consists of dense layers, and of layers without weights or
    with a number for each unit, and takes at most 16 million multiply-adds for a batch. The rule knows nothing of the
    machine's mood, so that a seed gives the same numbers again.

    Args:
        model: the network.
        observations: of an epoch; None where nobody knows.
        steps: of an epoch.
    """
    reuse_freed_memory()
    before = torch.get_num_threads()
    batch = -(-observations // steps) if observations and steps else None
    one = before > 1 and batch is not None and _is_small(model, batch)
    try:
        if one:
            torch.set_num_threads(1)
        yield
    finally:
        if one:
            torch.set_num_threads(before)


def _is_small(model: nn.Module, batch: int) -> bool:
    products = 0
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if any(p.device.type != "cpu" for p in own):
            return False
        if isinstance(module, (Dense, nn.Linear)):
            products += batch * module.weight.numel()
        elif any(p.dim() > 1 for p in own) or isinstance(module, nn.RNNBase):
            return False
    shape = getattr(model, "input_shape", None)
    first = next(model.children(), None)
    in_rows = isinstance(shape, tuple) and ((len(shape) == 1 and isinstance(shape[0], int)) or type(first) is Flatten)
    return 0 < products <= _LITTLE and in_rows
