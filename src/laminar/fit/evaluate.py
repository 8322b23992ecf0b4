"""Loss, metrics and predictions without training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from laminar.errors import LabelError, complaint
from laminar.fit.batches import Batches
from laminar.fit.head import Head
from laminar.fit.steps import forward
from laminar.losses import Loss
from laminar.metrics import Metric

__all__ = ["evaluate", "inference", "inference_mode", "predict"]


@contextmanager
def inference_mode(model: nn.Module) -> Iterator[None]:
    """Let every module predict inside; afterwards each is in the mode it was in."""
    training = [m for m in model.modules() if m.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Let every module predict inside, without a graph."""
    with inference_mode(model), torch.inference_mode():
        yield


def evaluate(model: nn.Module, batches: Batches, loss: Loss, metrics: Sequence[Metric], head: Head) -> dict[str, float]:
    """Return loss and metrics, each a mean over all observations; the device is waited for once, at the end.

    Raises:
        LabelError: if a batch has no targets.
    """
    criterion = loss.on_logits() if head.trains_on_logits else loss
    totals: list[Tensor] | None = None
    seen = 0
    with inference(model):
        for batch in batches.epoch(1):
            if batch.y is None:
                raise LabelError(complaint("evaluate(y=)", expected="labels", received="none", fix="Pass y, or use predict"))
            with head.logits():
                output = forward(model, batch.x)
            shown = (
                head.probabilities(output) if head.trains_on_logits and any(m.needs_probabilities for m in metrics) else output
            )
            figures = [criterion(output, batch.y, batch.weight)]
            figures += [m.values(shown if m.needs_probabilities else output, batch.y).float().mean() for m in metrics]
            figures = [f * batch.size for f in figures]
            totals = figures if totals is None else [t + f for t, f in zip(totals, figures, strict=True)]
            seen += batch.size
        assert totals is not None  # a source without batches has said so itself
        values = (torch.stack([t.float() for t in totals]) / seen).tolist()
    return dict(zip(["loss", *(m.name for m in metrics)], values, strict=True))


def predict(model: nn.Module, batches: Batches, head: Head) -> Tensor:
    """Return what the network says of every observation, (N, ...), on the CPU: probabilities where the loss knows them."""
    with inference(model):
        return torch.cat([head.finish(forward(model, batch.x)).cpu() for batch in batches.epoch(1)])
