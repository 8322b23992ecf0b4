"""What a network says of every batch, brought to the host without waiting for the device batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

__all__ = ["gathered"]


def gathered(outputs: Iterable[Any]) -> Any:
    """Return tensors (B, ...), or nests of them, one after the other as (N, ...), on the CPU.

    From a GPU they are copied into memory that the device writes to while it goes on, so that it is waited for once, at the
    end. What is copied is freed there: the device holds the outputs of few batches at a time.

    >>> gathered([(torch.zeros(2, 3), torch.zeros(2)), (torch.ones(1, 3), torch.ones(1))])[1]
    tensor([0., 0., 1.])
    """
    on_device: set[torch.device] = set()

    def to_host(t: Tensor) -> Tensor:
        if t.device.type != "cuda":
            return t.cpu()
        on_device.add(t.device)
        return torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True)

    parts = [tree_map(to_host, output) for output in outputs]
    for device in on_device:
        torch.cuda.synchronize(device)
    return tree_map(lambda *each: torch.cat(each), *parts)
