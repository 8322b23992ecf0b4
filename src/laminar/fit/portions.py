"""Batches that do not fit into memory, computed in parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import nn

from laminar.fit.convert import Batch

__all__ = ["Portions", "is_out_of_memory", "keeps_states"]

Result = TypeVar("Result")

_log = logging.getLogger("laminar.memory")

_WORDS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""What torch says in a plain RuntimeError where memory does not suffice."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory does not suffice.

    >>> is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory")), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


class Portions:
    """Computes batches whole, or in equal parts of no more observations than memory has been seen to suffice for.

    Attributes:
        most: observations at a time; None as long as memory has sufficed.

    >>> def compute(part):
    ...     if part.size > 3:
    ...         raise torch.OutOfMemoryError
    ...     return part.size
    >>> portions = Portions()
    >>> portions(Batch(torch.zeros(10, 2), None, None), compute), portions.most
    ([3, 3, 2, 2], 3)
    """

    def __init__(self) -> None:
        self.most: int | None = None

    def __call__(
        self,
        batch: Batch,
        compute: Callable[[Batch], Result],
        undo: Callable[[], None] = lambda: None,
        hindrance: Callable[[Batch], str | None] = lambda batch: None,
    ) -> list[Result]:
        """Return what `compute` makes of the batch, or of each of its parts.

        Args:
            batch: to be computed.
            compute: takes the batch, or a part of it.
            undo: called before another attempt, to take back what the last one has done.
            hindrance: why the batch cannot be computed in parts; None if it can.

        Raises:
            Exception: what `compute` raises, if it is not about memory, or the batch cannot be divided.
        """
        while True:
            parts = batch.parts(self.most)
            try:
                return [compute(part) for part in parts]
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = "One observation alone does not fit into memory." if parts[0].size == 1 else hindrance(batch)
                if reason is not None:
                    undo()
                    error.add_note(reason)
                    raise
            # here, outside of the handler, nothing holds what the attempt had computed any more
            self.most = -(-parts[0].size // 2)
            undo()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            _log.info("ran out of memory at %d observations; trying %d", parts[0].size, self.most)

    def of_each(
        self, batches: Iterable[Batch], compute: Callable[[Batch], Result], model: nn.Module
    ) -> Iterator[tuple[Batch, Result]]:
        """Return each batch, or its parts, with what `compute` makes of it by `model`."""
        for batch in batches:
            yield from self(batch, lambda part: (part, compute(part)), hindrance=lambda batch: keeps_states(model))


def keeps_states(model: nn.Module) -> str | None:
    """Return why batches cannot be computed in parts by a network that goes on from the states of the batch before, if it does.

    >>> keeps_states(nn.Linear(1, 1)) is None
    True
    """
    if not any(getattr(module, "stateful", False) is True for module in model.modules()):
        return None
    return "It cannot be computed in parts, because stateful layers keep a state of each sequence: pass a smaller batch_size."
