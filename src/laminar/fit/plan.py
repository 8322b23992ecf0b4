"""How a network with one output is trained, evaluated and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.utils._pytree import tree_map

from laminar.fit import evaluate as evaluation
from laminar.fit.aim import Aim, objective
from laminar.fit.batches import Batches
from laminar.fit.engines.choose import eager_step, make_step
from laminar.fit.forward import Execution
from laminar.fit.head import Head
from laminar.fit.pace import Pace
from laminar.fit.portions import Portions
from laminar.fit.recorder import Recorder
from laminar.fit.steps import EagerStep, Step
from laminar.losses import Loss
from laminar.metrics import Metric

__all__ = ["OnePlan"]


class OnePlan:
    """How a network with one output is trained, evaluated and read.

    Args:
        model: the network.
        loss: as `compile` was told.
        head: how to read the output.
        metrics: what is reported beside the loss.
        execution: how it is computed.
    """

    def __init__(self, model: nn.Module, loss: Loss, head: Head, metrics: Sequence[Metric], execution: Execution) -> None:
        self._model, self._loss, self._head, self._metrics, self.execution = model, loss, head, metrics, execution
        self.portions = Portions()  # of evaluation, from one epoch to the next

    def step(self, pace: Pace, note: Callable[[str], None] = lambda text: None) -> Step:
        """Return what is done with a batch in training; `note` is told what a person should know."""
        return make_step(self._aim, pace, note)

    def eager_step(self, pace: Pace) -> EagerStep:
        """Return the same, operation by operation."""
        return eager_step(self._aim, pace, lambda text: None)

    @property
    def _aim(self) -> Aim:
        return objective(self._model, self._loss, self._head, self.execution)

    def recorder(self) -> Recorder:
        """Return what keeps the figures of iterations."""
        return Recorder(self._metrics, self._head)

    def evaluate(self, batches: Batches) -> dict[str, float]:
        """Return loss and metrics over all observations."""
        return evaluation.evaluate(self._model, batches, self._loss, self._metrics, self._head, self.execution, self.portions)

    def finish(self, output: Any) -> Any:
        """Return what `predict` returns for the network's plain output."""
        return tree_map(self._head.finish, output)
