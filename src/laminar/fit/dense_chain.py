"""Several chains of dense layers at once, a layer of all of them being one operation: what vmap does, without its overhead.

For a small perceptron most of a step is the calling of operations, and vmap, which goes through every operation's rules anew
each time, gives back half of what it saves. Chains of layers that are known here take the short way; all others take vmap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laminar import activations
from laminar.fit.convert import Batch
from laminar.fit.head import Head
from laminar.layers import activation as activation_layers
from laminar.layers.activation import Activation, Softmax
from laminar.layers.batchnorm import BatchNormalization
from laminar.layers.core import Dense, Flatten
from laminar.layers.hooks import has_hooks
from laminar.losses import Loss

__all__ = ["AtOnce", "dense_chain"]

AtOnce: TypeAlias = Callable[[Batch], tuple[Tensor, Tensor]]
"""Takes a batch (S, B, ...) for S networks; returns the losses (S,) and the outputs (S, B, units), with their graph."""

_Stage: TypeAlias = Callable[[Tensor], Tensor]  # (S, B, features) -> (S, B, units)


def dense_chain(model: nn.Module, tensors: Mapping[str, Tensor], loss: Loss, head: Head) -> AtOnce | None:
    """Return what computes the losses of several networks of one kind; None where a layer or the loss is not known here.

    Args:
        model: one of them, a chain.
        tensors: name -> parameters or buffers of all, (S, ...).
        loss: as `compile` was told.
        head: how to read the output.
    """
    layers = (
        [(name, layer) for name, layer in model._modules.items() if layer is not None]
        if getattr(model, "is_chain", False)
        else []
    )
    criterion = head.criterion(loss)
    if not layers or has_hooks(model) or type(criterion).__call__ is not Loss.__call__:
        return None
    if head.module is not None and head.module is not layers[-1][1]:
        return None
    stages: list[_Stage] = []
    for name, layer in layers:
        stage = _stage(layer, {key: tensors.get(f"{name}.{key}") for key in ("weight", "bias", "running_mean", "running_var")})
        if stage is None or has_hooks(layer):
            return None
        stages.append(stage)

    def run(batch: Batch) -> tuple[Tensor, Tensor]:
        assert isinstance(batch.x, Tensor)  # a chain has one input
        assert batch.y is not None  # or there would be no batch
        z = batch.x
        with head.logits():
            for stage in stages:
                z = stage(z)
        values = criterion.values(z.flatten(0, 1), batch.y.flatten(0, 1)).unflatten(0, z.shape[:2])
        return (values if batch.weight is None else values * batch.weight).mean(1), z

    return run


def _stage(layer: nn.Module, of_all: Mapping[str, Tensor | None]) -> _Stage | None:
    """Return what a layer does for all networks; None where that is not known."""
    if type(layer) is Dense:
        return _dense(layer, of_all)
    if type(layer) is BatchNormalization and layer.axis == 1:
        return _batch_norm(layer, of_all)
    if type(layer) is Flatten:
        return lambda x: x.flatten(2) if x.dim() > 2 else x[..., None]
    if isinstance(layer, Activation) and type(layer).__module__ == activation_layers.__name__:
        return layer.activate if layer.activation not in activations.OVER_AN_AXIS else None
    if type(layer) is Softmax:  # over the units; it is skipped where the loss works on logits
        return lambda x: x if layer._emits_logits else x.softmax(-1)
    return None


def _dense(layer: Dense, of_all: Mapping[str, Tensor | None]) -> _Stage | None:
    weight, bias = of_all["weight"], of_all["bias"]
    if weight is None or (layer.activation in activations.OVER_AN_AXIS and layer.channel_axis != -1):
        return None

    def run(x: Tensor) -> Tensor:
        transposed = weight.transpose(1, 2)  # (S, features, units)
        z = torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias[:, None], x, transposed)
        return layer.activate(z)

    return run


def _batch_norm(layer: BatchNormalization, of_all: Mapping[str, Tensor | None]) -> _Stage | None:
    weight, bias, mean, variance = (of_all[key] for key in ("weight", "bias", "running_mean", "running_var"))
    if mean is None or variance is None:
        return None

    def run(x: Tensor) -> Tensor:
        own = layer.training and layer.trainable and x.shape[1] > 1
        scale, shift = (None if t is None else t.flatten() for t in (weight, bias))
        channels = x.transpose(0, 1).flatten(1)  # (B, S * C): a channel of a network is a channel
        running = mean.view(-1), variance.view(-1)
        z = F.batch_norm(channels, *running, scale, shift, own, 1 - layer.momentum, layer.epsilon)
        return z.reshape(len(z), len(x), -1).transpose(0, 1)

    return run
