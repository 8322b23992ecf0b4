"""A stretch of dense layers, normalizations and activations that one kernel computes: for networks of short steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from laminar import activations
from laminar.kernels import switch
from laminar.kernels.parts import Part
from laminar.kernels.perceptron import MOST, perceptron, products
from laminar.kernels.perceptron_calls import Bend, Stage
from laminar.layers.activation import ActivatedLayer, Activation, Softmax
from laminar.layers.batchnorm import BatchNormalization
from laminar.layers.core import Dense
from laminar.layers.hooks import has_hooks
from laminar.layers.recompute import recomputes

__all__ = ["Stretch", "stretch_at_once", "stretch_of"]

_BY_ONE = 1 << 24  # multiplications of a training batch that one thread may do where torch has no other,
_BESIDE_OTHERS = 1 << 20  # and where it has
_WIDE = 1 << 13  # units in all, of which the numbers of some observations fit into a thread's cache

_BENDS: dict[Callable[..., Any], Bend] = {
    activations.linear: Bend.NONE,
    activations.relu: Bend.RELU,
    activations.tanh: Bend.TANH,
    activations.sigmoid: Bend.SIGMOID,
    activations.softmax: Bend.SOFTMAX,
}
_OVER_UNITS = (1, -1)  # the axes that the units of rows are
_TORCH_S: dict[type[nn.Module], Bend] = {nn.ReLU: Bend.RELU, nn.Tanh: Bend.TANH, nn.Sigmoid: Bend.SIGMOID}


class Stretch(NamedTuple):
    """Modules that one kernel computes.

    Attributes:
        stages: what they do.
        tensors: theirs, as `perceptron` takes them.
        taken: how many modules there are.
    """

    stages: tuple[Stage, ...]
    tensors: list[Tensor | None]
    taken: int


def stretch_at_once(modules: Sequence[nn.Module], x: Any) -> tuple[Tensor, int] | None:
    """Return what the first few modules make of x, and how many these are; None where it takes one module after the other."""
    stretch = stretch_of(modules, x)
    return None if stretch is None else (perceptron(x, stretch.stages, stretch.tensors), stretch.taken)


def stretch_of(modules: Sequence[nn.Module], x: Any) -> Stretch | None:
    """Return the stretch that the first few modules are; None where it takes one module after the other.

    Args:
        modules: of a chain, those that are left.
        x: what the first of them is given.
    """
    if type(modules[0]) not in (Dense, nn.Linear) or len(modules) < 2:
        return None
    if not isinstance(x, Tensor) or not x.is_cpu or x.dim() != 2 or not len(x):
        return None
    stages: list[Stage] = []
    tensors: list[Tensor | None] = []
    taken, features = 0, x.shape[1]
    for module in modules:
        if "forward" in module.__dict__ or has_hooks(module) or recomputes(module):
            break
        bend = _bend_of(module)
        if bend is not None:
            if stages[-1].bend != Bend.NONE:
                break
            stages[-1] = stages[-1]._replace(bend=bend)
        else:
            found = _stage(module, features, len(x))
            if found is None:
                break
            stages.append(found[0])
            tensors += found[1]
            features = found[0].units
        taken += 1
    if taken < 2 or (len(stages) == 1 and stages[0].bend == Bend.NONE):  # one operation of torch's
        return None
    many = products(stages)
    alone = torch.is_grad_enabled() or any(s.own for s in stages)
    most = (_BY_ONE if torch.get_num_threads() == 1 else _BESIDE_OTHERS) if alone else math.inf
    if not alone and sum(s.units for s in stages) > _WIDE:
        return None
    if many > MOST or many * len(x) > most or not switch.serve(x, *tensors, part=Part.PERCEPTRON, least=1):
        return None
    return Stretch(tuple(stages), tensors, taken)


def _bend_of(module: nn.Module) -> Bend | None:
    """Return what a module without weights does to the rows; None for all others."""
    if type(module) in _TORCH_S:
        return _TORCH_S[type(module)]
    if type(module) is nn.Softmax:
        return Bend.SOFTMAX if module.dim in _OVER_UNITS else None
    if isinstance(module, Activation | Softmax) and type(module).__module__ == Activation.__module__:
        return _own_bend(module)
    return None


def _own_bend(layer: ActivatedLayer) -> Bend | None:
    """Return what a layer's activation does to rows; None where that is not known."""
    bend = Bend.NONE if layer._emits_logits else _BENDS.get(layer.activation)
    return None if bend == Bend.SOFTMAX and layer.channel_axis not in _OVER_UNITS else bend


def _stage(module: nn.Module, features: int, observations: int) -> tuple[Stage, list[Tensor | None]] | None:
    """Return what a module with weights does to rows of `features` numbers, and its tensors; None where that is not known."""
    if type(module) is Dense or type(module) is nn.Linear:
        return _dense(module, features)
    if type(module) is BatchNormalization:
        return _normalization(module, features, observations)
    return None


def _dense(module: Dense | nn.Linear, features: int) -> tuple[Stage, list[Tensor | None]] | None:
    bend: Bend | None = Bend.NONE
    if isinstance(module, Dense):
        if not module.built:
            return None
        bend = _own_bend(module)
    weight, bias = module.weight, module.bias
    if bend is None or weight.shape[1] != features:
        return None
    return Stage(features, len(weight), bend, dense=True), [weight, bias, None, None]


def _normalization(module: BatchNormalization, features: int, observations: int) -> tuple[Stage, list[Tensor | None]] | None:
    if not module.built or module.axis not in (1, -1) or len(module.running_mean) != features:
        return None
    own = module.training and module.trainable and observations > 1
    if not own and torch.is_grad_enabled():
        return None  # the kernel has no derivative of it
    stage = Stage(features, features, Bend.NONE, False, own, 1 - module.momentum, module.epsilon)
    return stage, [module.weight, module.bias, module.running_mean, module.running_var]
