"""Figures of iterations, kept on the device until a row of the table is due.

A step hands over its loss and output and waits for nothing: no figure is copied to the host, and no metric is computed, until
`flush`. Metrics of many small batches are then computed at once, which costs a fraction of computing them step by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from laminar.fit.head import Head
from laminar.metrics import CustomMetric, MeanMetric, Metric, Tally

__all__ = ["Figures", "Recorder"]

_MOST_KEPT = 1 << 20  # numbers of output held back before metrics are computed anyway


@dataclass(frozen=True)
class Figures:
    """Figures of some iterations in a row, on the host: one entry for each iteration everywhere.

    Attributes:
        columns: loss and metrics by name.
        sizes: observations in the batch.
        rates: the base learning rate that the step was taken with.
    """

    columns: dict[str, list[float]]
    sizes: list[int]
    rates: list[float]


class _Noted(NamedTuple):
    """What is kept of an iteration until the flush."""

    loss: Tensor
    size: int
    rate: float | Tensor


class _Judged(NamedTuple):
    """What is kept of it until its metrics are computed."""

    output: Tensor
    target: Tensor


class Recorder:
    """Figures for each iteration.

    Args:
        metrics: what to compute beside the loss.
        head: how to turn the outputs of a step into probabilities, for metrics that want them.
    """

    def __init__(self, metrics: Sequence[Metric], head: Head) -> None:
        self.metrics = metrics
        self.names = ["loss", *(m.name for m in metrics)]
        self._head = head
        self._noted: list[_Noted] = []
        self._judged: list[_Judged] = []
        self._kept = 0
        self._figures: list[list[Tensor]] = [[] for _ in metrics]  # each (iterations,)
        self._tallies = self._start()

    def add(self, loss: Tensor, output: Tensor, target: Tensor, size: int, rate: float | Tensor) -> None:
        """Note an iteration.

        Args:
            loss: (), without graph, like the others.
            output: (B, ...).
            target: (B, ...).
            size: B.
            rate: the base learning rate.
        """
        if isinstance(rate, Tensor):
            rate = rate.clone()  # a schedule may write to it
        self._noted.append(_Noted(loss, size, rate))
        if self.metrics:
            self._judged.append(_Judged(output, target))
            self._kept += output.numel()
            if self._kept > _MOST_KEPT:
                self._compute()

    def flush(self) -> Figures:
        """Return the figures of the iterations since the last flush, and forget them."""
        self._compute()
        noted, self._noted = self._noted, []
        columns = {"loss": torch.stack([n.loss for n in noted]).tolist() if noted else []}
        for metric, figures in zip(self.metrics, self._figures, strict=True):
            columns[metric.name] = torch.cat(figures).tolist() if figures else []
            figures.clear()
        return Figures(columns, [n.size for n in noted], [float(n.rate) for n in noted])

    def end_epoch(self) -> dict[str, float]:
        """Return the epoch's figures that are no means of its iterations' (F1, AUC, ...), and begin to gather anew."""
        self._compute()
        tallies, self._tallies = self._tallies, self._start()
        return {name: float(tally.result()) for name, tally in tallies.items()}

    def _start(self) -> dict[str, Tally]:
        return {m.name: m.start() for m in self.metrics if not isinstance(m, MeanMetric)}

    def _compute(self) -> None:
        judged, self._judged, self._kept = self._judged, [], 0
        for alike in _runs(judged):
            for kept, figures in zip(self._figures, self._compute_alike(alike), strict=True):
                kept.append(figures)

    @torch.no_grad()
    def _compute_alike(self, steps: Sequence[_Judged]) -> list[Tensor]:
        """Return for each metric the figures of steps whose tensors have the same shapes."""
        prediction = torch.cat([step.output for step in steps])
        target = torch.cat([step.target for step in steps])
        probabilities = None
        if self._head.trains_on_logits and any(m.needs_probabilities for m in self.metrics):
            probabilities = self._head.probabilities(prediction)
        figures = []
        for metric in self.metrics:
            shown = prediction if probabilities is None or not metric.needs_probabilities else probabilities
            if isinstance(metric, MeanMetric) and not isinstance(metric, CustomMetric):
                figures.append(metric.values(shown, target).view(len(steps), -1).mean(1))
            else:  # a figure of the whole mini-batch; a user's function, too, may return one for all that it is given
                size = len(steps[0].output)
                pairs = zip(shown.split(size), target.split(size), strict=True)
                figures.append(torch.stack([metric(p, t) for p, t in pairs]))
            if metric.name in self._tallies:
                self._tallies[metric.name].update(shown, target)
        return figures


def _runs(steps: Iterable[_Judged]) -> Iterator[list[_Judged]]:
    """Return steps in order, in groups whose tensors have the same shapes."""
    run: list[_Judged] = []
    for step in steps:
        if run and (step.output.shape, step.target.shape) != (run[0].output.shape, run[0].target.shape):
            yield run
            run = []
        run.append(step)
    if run:
        yield run
