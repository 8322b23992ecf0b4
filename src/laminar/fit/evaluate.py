"""Loss, metrics and predictions without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from laminar.fit.batches import Batches
from laminar.fit.convert import Batch
from laminar.fit.folding import Run, folded
from laminar.fit.forward import Execution, inference
from laminar.fit.gather import gathered
from laminar.fit.head import Head
from laminar.fit.portions import Portions
from laminar.fit.rows import rows_at_once
from laminar.fit.threads import suited
from laminar.losses.base import Loss, full
from laminar.metrics import MeanMetric, Metric

__all__ = ["evaluate", "predict"]


def evaluate(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    metrics: Sequence[Metric],
    head: Head,
    execution: Execution,
    portions: Portions,
) -> dict[str, float]:
    """Return loss and metrics over all observations, whatever the batches; the device is waited for once, at the end."""
    criterion = head.criterion(loss)
    ask_head = head.trains_on_logits and any(m.needs_probabilities for m in metrics)
    means = [m for m in metrics if isinstance(m, MeanMetric)]
    tallies = [(m, m.start()) for m in metrics if not isinstance(m, MeanMetric)]
    totals: list[Tensor] = []
    seen = 0

    def run(batch: Batch, compute: Run) -> Any:
        with head.logits():
            return compute(batch.x)

    with (
        suited(model, batches.observations, batches.steps),
        inference(model),
        folded(model, execution, batches.observations) as compute,
    ):
        for batch, output in portions.of_each(batches.everything(), lambda batch: run(batch, compute), model):
            assert batch.y is not None  # or there would be no batch
            shown = head.probabilities(output) if ask_head else output
            figures = [criterion(output, batch.y, batch.weight)]
            figures += [m.values(shown if m.needs_probabilities else output, batch.y).mean() for m in means]
            figures = [full(f) * batch.size for f in figures]
            totals = [t + f for t, f in zip(totals, figures, strict=True)] if totals else figures
            for metric, tally in tallies:
                tally.update(shown if metric.needs_probabilities else output, batch.y)
            seen += batch.size
        values = torch.stack(_alike([*(t / seen for t in totals), *(tally.result() for _, tally in tallies)])).tolist()
    found = dict(zip(["loss", *(m.name for m in means), *(m.name for m, _ in tallies)], values, strict=True))
    return {name: found[name] for name in ("loss", *(m.name for m in metrics))}


def _alike(figures: Sequence[Tensor]) -> list[Tensor]:
    """Return the figures in the widest of their dtypes, so that they fit into one tensor."""
    widest = reduce(torch.promote_types, (f.dtype for f in figures))
    return [f.to(widest) for f in figures]


def predict(model: nn.Module, batches: Batches, finish: Callable[[Any], Any], execution: Execution, portions: Portions) -> Any:
    """Return what the network says of every observation, (N, ...), on the CPU: probabilities where the loss knows them.

    A network that returns several tensors gives as many, in the same nest of tuples and lists; `finish` is given that nest.
    """
    with inference(model):
        batches = batches.at_least(rows_at_once(model, execution))
        observations = batches.observations
        with suited(model, observations, batches.steps), folded(model, execution, observations) as compute:
            found = portions.of_each(batches.everything(), lambda batch: finish(compute(batch.x)), model)
            return gathered(output for _, output in found)
