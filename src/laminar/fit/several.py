"""Training with several outputs: a loss, metrics and targets for each, and a weighted sum of the losses to make small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_unflatten
from torch.utils._pytree import tree_structure as structure_of

from laminar import losses, metrics
from laminar.errors import ArgumentError, complaint
from laminar.fit import arguments
from laminar.fit.aim import Aim
from laminar.fit.batches import Batches
from laminar.fit.convert import Batch
from laminar.fit.engines.choose import eager_step, make_step
from laminar.fit.forward import Execution, inference
from laminar.fit.head import Head, find_head
from laminar.fit.pace import Pace
from laminar.fit.portions import Portions
from laminar.fit.recorder import Figures, Recorder
from laminar.fit.steps import EagerStep, Step
from laminar.losses.base import Loss, is_number
from laminar.metrics import Metric

__all__ = ["Goals", "OneOutput", "SeveralPlan", "make_goals"]


@dataclass(frozen=True)
class Goals:
    """What `compile` was told for each output.

    Attributes:
        names: of the outputs.
        losses: one for each.
        weights: of each loss in the sum.
        metrics: those of each.
    """

    names: tuple[str, ...]
    losses: tuple[Loss, ...]
    weights: tuple[float, ...]
    metrics: tuple[list[Any], ...]

    def arranged(self, y: Any) -> tuple[Any, ...]:
        """Return targets in a dict or list as a tuple, in the order of the outputs.

        Raises:
            ArgumentError: if there is not one for each output.
        """
        return tuple(_each("y", y, self.names))


def make_goals(names: Sequence[str], loss: Any, loss_weights: Any, chosen: Any, device: torch.device) -> Goals:
    """Return what is wanted of the outputs called `names`.

    Args:
        names: of the outputs.
        loss: one for all, or a list or dict of one for each.
        loss_weights: numbers, likewise; 1 where None.
        chosen: metrics: one for all, or a list or dict of one or several for each.
        device: of tensors in the losses.

    Raises:
        UnknownNameError, ArgumentError: if something is not one for each output.
    """
    alone = isinstance(loss, str | Loss | nn.Module) or callable(loss)
    each = [loss] * len(names) if alone else _each("compile(loss=)", loss, names)
    for name, one in zip(names, each, strict=True):
        if one is None:
            fix = f"Pass loss={{{name!r}: ...}}"
            raise ArgumentError(complaint("compile(loss=)", expected=f"a loss for output {name!r}", received="none", fix=fix))
    weights = [1.0] * len(names) if loss_weights is None else _each("compile(loss_weights=)", loss_weights, names)
    for weight in weights:
        if not is_number(weight):
            where, fix = "compile(loss_weights=)", "Pass a number for each output"
            raise ArgumentError(complaint(where, expected="numbers", received=f"{weight!r}", fix=fix))
    common = isinstance(chosen, str | Metric) or callable(chosen) or not chosen
    wanted = [chosen] * len(names) if common else _each("compile(metrics=)", chosen, names, partly=True)
    return Goals(
        tuple(names),
        tuple(losses.get(one).to(device) for one in each),
        tuple(map(float, weights)),
        tuple(map(arguments.metric_list, wanted)),
    )


def _each(where: str, value: Any, names: Sequence[str], *, partly: bool = False) -> list[Any]:
    """Return the entries of a list or dict in the order of `names`; with `partly`, None for those that a dict leaves out."""
    received = type(value).__name__
    if isinstance(value, Mapping):
        received = f"a dict of {', '.join(map(repr, value))}"
        if set(value) <= set(names) and (partly or len(value) == len(names)):
            return [value.get(name) for name in names]
    elif isinstance(value, list | tuple):
        received = str(len(value))
        if len(value) == len(names):
            return list(value)
    expected = f"one for each output: {', '.join(map(repr, names))}"
    raise ArgumentError(
        complaint(where, expected=expected, received=received, fix="Pass a list in this order, or a dict by name")
    )


class OneOutput(nn.Module):
    """A network seen through one of its outputs."""

    is_chain = False

    def __init__(self, model: nn.Module, number: int, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.number, self.names = model, number, names

    def tail(self) -> list[nn.Module]:
        """Return the modules that this output goes through last."""
        return [self.model.get_submodule(name) for name in self.names]

    def forward(self, *inputs: Any) -> Any:
        """Return the output (B, ...)."""
        return tree_leaves(self.model(*inputs))[self.number]


class SeveralPlan:
    """How a network with several outputs is trained, evaluated and read: what `OnePlan` is for one.

    Args:
        model: the network.
        wanted: what `compile` was told.
        shapes: of one observation of each output.
        views: of the network, each through one output.
        example: returns some real observations.
        execution: how it is computed.
    """

    def __init__(
        self,
        model: nn.Module,
        wanted: Goals,
        shapes: Sequence[tuple[int, ...]],
        views: Sequence[OneOutput],
        example: Any,
        execution: Execution,
    ) -> None:
        self._model, self._goals, self.execution = model, wanted, execution
        self.portions = Portions()  # of evaluation, from one epoch to the next
        self._heads: list[Head] = []
        self._chosen: list[list[Metric]] = []
        for i, (loss, shape) in enumerate(zip(wanted.losses, shapes, strict=True)):
            head = find_head(views[i], loss, example, len(shape))
            logits = head.activation is not None and not head.gives_probabilities
            self._heads.append(head)
            self._chosen.append(
                [metrics.resolve(m, shape, loss.name, from_logits=logits, axis=head.axis) for m in wanted.metrics[i]]
            )
        self._criteria = [head.criterion(loss) for head, loss in zip(self._heads, wanted.losses, strict=True)]

    @contextmanager
    def _logits(self) -> Iterator[None]:
        with ExitStack() as stack:
            for head in self._heads:
                stack.enter_context(head.logits())
            yield

    @property
    def _aim(self) -> Aim:
        return Aim(self._model, self.execution, self._logits, self._losses, tree_leaves, lambda losses: losses[0])

    def _losses(self, outputs: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the sum of the losses before them, (1 + outputs,)."""
        targets: Any = batch.y
        parts = [c(z, y, batch.weight) for c, z, y in zip(self._criteria, outputs, targets, strict=True)]
        total = torch.stack([part * weight for part, weight in zip(parts, self._goals.weights, strict=True)]).sum()
        return torch.stack([total, *parts])

    def step(self, pace: Pace, note: Callable[[str], None] = lambda text: None) -> Step:
        """Return what is done with a batch in training; `note` is told what a person should know."""
        return make_step(self._aim, pace, note)

    def eager_step(self, pace: Pace) -> EagerStep:
        """Return the same, operation by operation."""
        return eager_step(self._aim, pace, lambda text: None)

    def recorder(self) -> Any:
        """Return what keeps the figures of iterations."""
        return _SeveralRecorders(self._goals.names, [Recorder(m, h) for m, h in zip(self._chosen, self._heads, strict=True)])

    def evaluate(self, batches: Batches) -> dict[str, float]:
        """Return losses and metrics over all observations."""
        recorder = self.recorder()
        with inference(self._model):
            for batch, outputs in self.portions.of_each(batches.everything(), self._aim.output, self._model):
                recorder.add(self._losses(outputs, batch), outputs, batch.y, batch.size, 0.0)
        figures = recorder.flush()
        n = sum(figures.sizes)
        means = {
            name: sum(v * size for v, size in zip(column, figures.sizes, strict=True)) / n
            for name, column in figures.columns.items()
        }
        tallied: dict[str, float] = recorder.end_epoch()
        return means | tallied

    def finish(self, output: Any) -> Any:
        """Return what `predict` returns for the network's plain outputs."""
        leaves = [head.finish(z) for head, z in zip(self._heads, tree_leaves(output), strict=True)]
        return tree_unflatten(leaves, structure_of(output))


class _SeveralRecorders:
    """A recorder for each output, whose figures are called after it: "digit_loss", "digit_accuracy"."""

    def __init__(self, outputs: Sequence[str], recorders: Sequence[Recorder]) -> None:
        self._outputs, self._recorders = outputs, recorders
        self.metrics = [metric for recorder in recorders for metric in recorder.metrics]
        named = [[f"{output}_{n}" for n in r.names] for output, r in zip(outputs, recorders, strict=True)]
        self.names = ["loss", *(n[0] for n in named), *(m for n in named for m in n[1:])]
        self._totals: list[Tensor] = []

    def add(self, loss: Tensor, output: Sequence[Tensor], target: Sequence[Tensor], size: int, rate: Any) -> None:
        self._totals.append(loss[0])
        for i, recorder in enumerate(self._recorders):
            recorder.add(loss[i + 1], output[i], target[i], size, rate)

    def flush(self) -> Figures:
        totals, self._totals = self._totals, []
        figures = [recorder.flush() for recorder in self._recorders]
        columns = {"loss": torch.stack(totals).tolist() if totals else []}
        for output, found in zip(self._outputs, figures, strict=True):
            columns |= {f"{output}_{name}": values for name, values in found.columns.items()}
        return Figures({name: columns[name] for name in self.names}, figures[0].sizes, figures[0].rates)

    def end_epoch(self) -> dict[str, float]:
        found = zip(self._outputs, self._recorders, strict=True)
        return {f"{output}_{name}": value for output, r in found for name, value in r.end_epoch().items()}
