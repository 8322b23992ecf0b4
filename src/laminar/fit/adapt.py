"""Layers that take statistics from the training data before the first step."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import nn

from laminar.fit.batches import Batches
from laminar.fit.forward import forward, inference
from laminar.layers.preprocessing import Normalization

__all__ = ["adapt"]


class _Reached(Exception):
    """The layer has seen its input: the rest of the network need not run."""


def adapt(model: nn.Module, batches: Batches) -> None:
    """Let every `Normalization` in `model` that is not adapted yet see all training data once.

    Each pass over the data stops at the first one that the data reaches, so that a later one sees what the earlier ones make
    of it, in whatever order the network holds them.
    """
    while _adapt_first({m for m in model.modules() if isinstance(m, Normalization) and not m.adapted}, model, batches):
        pass


def _adapt_first(layers: set[Normalization], model: nn.Module, batches: Batches) -> bool:
    """Adapt those of `layers` that are reached before any other; return whether there were any."""
    reached: set[Normalization] = set()

    def observe(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, Normalization)
        layer.observe(args[0])
        reached.add(layer)
        raise _Reached

    for layer in layers:
        layer._totals = None  # what a pass that was broken off had counted
    handles = [layer.register_forward_pre_hook(observe, prepend=True) for layer in layers]
    try:
        with inference(model):
            for batch in batches.everything() if layers else ():
                with suppress(_Reached):
                    forward(model, batch.x)
    finally:
        for handle in handles:
            handle.remove()
    for layer in reached:
        layer.finish()
    return bool(reached)
