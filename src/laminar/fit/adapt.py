"""Layers that take statistics from the training data before the first step."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import nn

from laminar.fit.batches import Batches
from laminar.fit.evaluate import inference
from laminar.fit.steps import forward
from laminar.layers.norm import Normalization

__all__ = ["adapt"]


class _Reached(Exception):
    """The layer has seen its input: the rest of the network need not run."""


def adapt(model: nn.Module, batches: Batches) -> None:
    """Let every `Normalization` in `model` that is not adapted yet see the training data once, in the network's order."""
    for layer in [m for m in model.modules() if isinstance(m, Normalization) and not m.adapted]:
        _adapt_one(model, layer, batches)


def _adapt_one(model: nn.Module, layer: Normalization, batches: Batches) -> None:
    def observe(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        layer.observe(args[0])
        raise _Reached

    handle = layer.register_forward_pre_hook(observe)
    try:
        with inference(model):
            for batch in batches.epoch(1):
                with suppress(_Reached):
                    forward(model, batch.x)
    finally:
        handle.remove()
    layer.finish()
