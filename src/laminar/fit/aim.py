"""What training makes small, in parts that an engine can take hold of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from laminar.fit.convert import Batch
from laminar.fit.forward import EAGER, Execution, forward
from laminar.fit.head import Head
from laminar.losses import Loss

__all__ = ["Aim", "objective"]


def _itself(value: Any) -> Any:
    """Return what it is given."""
    return value


@dataclass(frozen=True)
class Aim:
    """The loss of a network on a batch, and how to come by it.

    Attributes:
        model: the network.
        execution: how it is computed.
        logits: lets it return logits inside, where it can.
        losses: takes an output and its batch; returns the loss (), or several, of which `whole` is made small.
        outputs: makes of what the network returns what `losses` takes.
        whole: takes what `losses` returns; returns what is to be made small ().
    """

    model: nn.Module
    execution: Execution
    logits: Callable[[], AbstractContextManager[None]]
    losses: Callable[[Any, Batch], Tensor]
    outputs: Callable[[Any], Any] = _itself
    whole: Callable[[Tensor], Tensor] = _itself

    @property
    def is_plain(self) -> bool:
        """Whether the network's output and its loss are taken as they are."""
        return self.outputs is _itself and self.whole is _itself

    def __call__(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return the losses and the output (B, ...) of a batch, with their graph."""
        output = self.output(batch)
        return self.losses(output, batch), output

    def output(self, batch: Batch) -> Any:
        """Return the output (B, ...) of a batch as training takes it."""
        with self.logits():
            return self.outputs(forward(self.model, batch.x, self.execution))


def objective(model: nn.Module, loss: Loss, head: Head, execution: Execution = EAGER) -> Aim:
    """Return what is made small in training a network with one output.

    Args:
        model: the network.
        loss: as `compile` was told.
        head: how to read the output.
        execution: how the network is computed.
    """
    criterion = head.criterion(loss)
    return Aim(model, execution, head.logits, lambda output, batch: criterion(output, batch.y, batch.weight))
