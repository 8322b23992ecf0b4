"""What two batches have in common that one and the same program can compute."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map

from laminar.fit.convert import Batch

__all__ = ["form_of"]


def form_of(batch: Batch) -> Any:
    """Return shapes, dtypes and places of all that a batch holds.

    >>> import torch
    >>> full, last = (Batch(torch.zeros(n, 3), torch.zeros(n), None) for n in (8, 5))
    >>> form_of(full) == form_of(full.copied()), form_of(full) == form_of(last)
    (True, False)
    """
    return tree_map(_form, (batch.x, batch.y, batch.weight))


def _form(t: Tensor | None) -> Any:
    return None if t is None else (t.shape, t.dtype, t.device)
