"""The gradient of a batch that does not fit into memory, from its parts: the same gradient, or a word about why it is not."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from laminar.errors import ArgumentError, complaint
from laminar.fit.convert import Batch
from laminar.fit.portions import Portions, is_out_of_memory, keeps_states
from laminar.fit.undo import Undo
from laminar.layers.base import Layer

__all__ = ["InParts"]

Learn: TypeAlias = Callable[[Batch, float], tuple[Tensor, Any]]
"""Takes a part of a batch and what share of it that is; adds the gradient times the share to those of the parameters, and
returns the loss and the output, without graph."""

_log = logging.getLogger("laminar.memory")


class InParts:
    """Learns from a batch as a whole, or in parts of half the size after memory did not suffice, and of half that, ...

    An attempt that failed leaves nothing behind: gradients, running statistics and random generators are as they were before.
    The gradients of the parts are weighted by their sizes. Whether this makes the loss of the batch is looked at each time,
    with the outputs of all parts.

    Args:
        model: the network.
        losses_of: takes an output (B, ...) and its batch; returns the loss, as learning does.
        note: told once what has changed.
    """

    def __init__(self, model: nn.Module, losses_of: Callable[[Any, Batch], Tensor], note: Callable[[str], None]) -> None:
        self._model, self._losses_of, self._note = model, losses_of, note
        self._portions = Portions()
        self._undo = Undo(model)

    def __call__(self, batch: Batch, learn: Learn, clear: Callable[[], None]) -> tuple[Tensor, Any]:
        """Return the loss and the output (B, ...) of a batch, without graph.

        Args:
            batch: to learn from.
            learn: adds the gradient.
            clear: takes all gradients away.

        Raises:
            ArgumentError: if the batch has to be divided and its loss is not the mean of the losses of its parts.
        """
        self._undo.note()
        versions, most = batch.versions, self._portions.most

        def undo() -> None:
            clear()
            self._undo.put_back()

        if most is None:  # as nearly always, and without ado
            try:
                return learn(batch, 1.0)
            except Exception as error:
                reason = self._hindrance(versions, batch) if is_out_of_memory(error) else ""
                if reason is not None:
                    if reason:
                        undo()
                        error.add_note(reason)
                    raise
            undo()

        def learn_part(part: Batch) -> tuple[int, Tensor, Any]:
            return (part.size, *learn(part, part.size / batch.size))

        found = self._portions(batch, learn_part, undo, partial(self._hindrance, versions))
        if len(found) == 1:
            return found[0][1:]
        losses = torch.stack([loss * (size / batch.size) for size, loss, _ in found]).sum(0)
        output = tree_map(lambda *parts: torch.cat(parts), *(output for _, _, output in found))
        if not self._is_loss(losses, output, batch):
            undo()
            raise ArgumentError(
                complaint(
                    f"fit(batch_size={batch.size})",
                    expected="a batch that fits into memory, because its loss is not the mean of the losses of its parts",
                    received=f"one of which {found[0][0]} observations fit",
                    fix=f"Pass batch_size={found[0][0]}",
                )
            )
        if self._portions.most != most:
            self._say(batch, [size for size, _, _ in found])
        return losses, output

    def _hindrance(self, versions: list[int], batch: Batch) -> str | None:
        """Return why the batch cannot be learned from once more, in parts; None if it can."""
        if batch.versions != versions:
            return "It cannot be computed in parts, because the network has written to its inputs."
        return keeps_states(self._model)

    @torch.no_grad()
    def _is_loss(self, losses: Tensor, output: Any, batch: Batch) -> bool:
        """Return whether the losses are those of the whole batch but for rounding."""
        whole = self._losses_of(output, batch)
        return torch.allclose(losses, whole, rtol=math.sqrt(torch.finfo(whole.dtype).eps), equal_nan=True)

    def _say(self, batch: Batch, sizes: list[int]) -> None:
        """Tell what has changed."""
        size = f"{sizes[0]}" if len(set(sizes)) == 1 else f"at most {sizes[0]}"
        now = f"from now on computed in {len(sizes)} parts of {size}"
        but = []
        if any(map(_looks_at_the_batch, self._model.modules())):
            but.append("for batch normalization, whose statistics are now those of a part")
        if self._undo.has_drawn:
            but.append("for random numbers, which each part draws anew")
        same = f"the updates stay the same{' but ' if but else ''}{' and '.join(but)}"
        text = f"Ran out of memory at a batch of {batch.size}: {now}; {same}."
        _log.log(logging.WARNING if but else logging.INFO, text)
        self._note(text)


def _looks_at_the_batch(module: nn.Module) -> bool:
    """Return whether an observation's output depends on the others in the batch, in training."""
    if isinstance(module, Layer):
        return "batch" in module.declares
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
