"""Figures of iterations, kept on the device until a row of the table is due.

A step hands over its loss and output and waits for nothing: no figure is copied to the host, and no metric is computed, until
`flush`. Metrics of many small batches are then computed at once, which costs a fraction of computing them step by step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.fit.head import Head
from laminar.metrics import Metric

__all__ = ["Recorder"]

_MOST_KEPT = 1 << 20  # numbers of output held back before metrics are computed anyway


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
        self._losses: list[Tensor] = []
        self._outputs: list[tuple[Tensor, Tensor]] = []
        self._kept = 0
        self._figures: list[list[Tensor]] = [[] for _ in metrics]

    def add(self, loss: Tensor, output: Tensor, target: Tensor) -> None:
        """Note an iteration: its loss (a scalar), output (B, ...) and target (B, ...), all without graph."""
        self._losses.append(loss)
        if self.metrics:
            self._outputs.append((output, target))
            self._kept += output.numel()
            if self._kept > _MOST_KEPT:
                self._compute()

    def flush(self) -> list[tuple[float, ...]]:
        """Return loss and metrics of each iteration since the last flush, and forget them."""
        if not self._losses:
            return []
        self._compute()
        columns = [torch.stack(self._losses).tolist(), *(torch.cat(f).tolist() for f in self._figures)]
        self._losses.clear()
        for figures in self._figures:
            figures.clear()
        return list(zip(*columns, strict=True))

    def _compute(self) -> None:
        start = 0
        while start < len(self._outputs):
            end = start + 1
            shapes = tuple(t.shape for t in self._outputs[start])
            while end < len(self._outputs) and tuple(t.shape for t in self._outputs[end]) == shapes:
                end += 1
            self._compute_alike(self._outputs[start:end])
            start = end
        self._outputs.clear()
        self._kept = 0

    @torch.no_grad()
    def _compute_alike(self, outputs: Sequence[tuple[Tensor, Tensor]]) -> None:
        prediction = torch.cat([o for o, _ in outputs])
        target = torch.cat([t for _, t in outputs])
        probabilities = None
        for metric, figures in zip(self.metrics, self._figures, strict=True):
            if metric.needs_probabilities and self._head.trains_on_logits:
                probabilities = self._head.probabilities(prediction) if probabilities is None else probabilities
                values = metric.values(probabilities, target)
            else:
                values = metric.values(prediction, target)
            figures.append(values.float().view(len(outputs), -1).mean(1))
