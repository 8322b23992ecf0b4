"""How many observations a small perceptron predicts at a time, where nobody can tell the difference."""

from __future__ import annotations

import math

import torch
from torch import nn

from laminar.fit.forward import Execution
from laminar.kernels.switch import enabled
from laminar.layers.chain import in_order, runs_in_order
from laminar.layers.core import Flatten
from laminar.layers.hooks import has_hooks
from laminar.layers.stretch import stretch_of

__all__ = ["rows_at_once"]

_NUMBERS = 1 << 23  # in a layer's input or output: 32 MB of float32
_MOST = 1 << 13


def rows_at_once(model: nn.Module, execution: Execution) -> int:
    """Return the least number of observations that `model`, in inference mode, is to be given; 1 where it is as was asked.

    A batch size bounds the memory that activations take. Where one kernel computes the whole network these are in a cache, and
    calling it takes a tenth of a millisecond.

    >>> from laminar import Sequential, layers as L
    >>> model = Sequential([L.Dense(20, "relu"), L.Dense(10, "softmax")]).build((3072,)).eval()
    >>> with torch.no_grad():
    ...     rows_at_once(model, Execution("eager"))
    1
    """
    shape = getattr(model, "input_shape", None)
    if execution.engine == "eager" or execution.bfloat16 or not runs_in_order(model) or has_hooks(model):
        return 1
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n > 0 for n in shape):
        return 1
    modules, parameter = in_order(model), next(model.parameters(), None)
    if modules and type(modules[0]) is Flatten and not has_hooks(modules[0]) and "forward" not in modules[0].__dict__:
        modules, shape = modules[1:], (math.prod(shape),)
    if not modules or parameter is None or len(shape) != 1:
        return 1
    with enabled():
        stretch = stretch_of(modules, torch.empty(1, *shape, dtype=parameter.dtype))
    if stretch is None or stretch.taken != len(modules):
        return 1
    widest = max(max(s.features, s.units) for s in stretch.stages)
    return min(max(_NUMBERS // widest, 1), _MOST)
