"""One training step: forward, loss, backward, and the update where it is due."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils._pytree import tree_map

from laminar.fit.convert import Batch
from laminar.fit.in_parts import InParts
from laminar.fit.pace import Pace
from laminar.fit.updates import Updates

__all__ = ["EagerStep", "Objective", "Step"]

Objective: TypeAlias = Callable[[Batch], tuple[Tensor, Any]]
"""Takes a batch that has targets; returns the loss () and the output (B, ...), with their graph, and changes no parameter."""


class Step(ABC):
    """What is done with each batch in training. Whoever makes an update counts it: `pace.iterations` goes up by one."""

    @abstractmethod
    def __call__(self, batch: Batch) -> tuple[Any, Any]:
        """Learn from a batch that has targets; return the loss () and the output (B, ...), without graph."""

    def finish(self) -> None:  # noqa: B027  # most have nothing to do
        """Let the gradients of batches that have made no update yet make one; called at the end of each epoch."""


def _itself(loss: Tensor) -> Tensor:
    return loss


class EagerStep(Step):
    """A step that runs operation by operation, as a hand-written PyTorch loop does.

    Args:
        run: what is computed of a batch.
        pace: the optimizer, and when it steps.
        whole: what is to be made small (), from the losses that `run` returns, where these are several.
        in_parts: divides batches that do not fit into memory; None to let the error pass.

    Attributes:
        updates: makes of gradients what moves the parameters.
    """

    def __init__(
        self, run: Objective, pace: Pace, whole: Callable[[Tensor], Tensor] = _itself, in_parts: InParts | None = None
    ) -> None:
        self._run, self._whole, self._in_parts = run, whole, in_parts
        self.updates = Updates(pace)

    def __call__(self, batch: Batch) -> tuple[Any, Any]:
        """See `Step`."""
        self._clear()
        learned = self._learn(batch) if self._in_parts is None else self._in_parts(batch, self._learn, self._clear)
        self.updates.take(batch.size)
        return learned

    def _clear(self) -> None:
        for parameter in self.updates.parameters:  # Optimizer.zero_grad does this with ten microseconds of bookkeeping
            parameter.grad = None

    def _learn(self, batch: Batch, share: float = 1.0) -> tuple[Any, Any]:
        """Add the gradient of a batch, or of the part of one that is such a share of it, to those of the parameters."""
        losses, output = self._run(batch)
        total = self._whole(losses)
        (total if share == 1.0 else total * share).backward()
        return losses.detach(), output.detach() if isinstance(output, Tensor) else tree_map(Tensor.detach, output)

    def finish(self) -> None:
        """See `Step`."""
        self.updates.finish()
