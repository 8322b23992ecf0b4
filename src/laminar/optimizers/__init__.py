"""Optimizers by name or as frozen descriptions, which `create` turns into torch's for a network's parameters.

What all of them can do is said once, in `Rule`: a learning rate that is a number, a schedule or a function; weight decay, on
weights only; time-based decay; three ways to clip gradients; running means of the weights. Keras' word `epsilon` is kept, with
Keras' default 1e-7, but it stands where torch puts it: beside the square root, not under it. The steps differ only where
gradients are as small as epsilon (below its square root for RMSprop and Adagrad).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import torch
from torch.nn import Parameter

from laminar.errors import ArgumentError, complaint
from laminar.names import Registry
from laminar.optimizers.averages import put_averages_in_place
from laminar.optimizers.base import Optimizer, Rule
from laminar.optimizers.foreign import Factory, Ready
from laminar.optimizers.muon import Muon
from laminar.optimizers.rules import SGD, SGDM, Adadelta, Adagrad, Adam, Adamax, AdamW, Nadam, RMSprop

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "SGDM",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Factory",
    "Muon",
    "Nadam",
    "Optimizer",
    "OptimizerSpec",
    "RMSprop",
    "Ready",
    "Rule",
    "get",
    "put_averages_in_place",
]

OPTIMIZERS: Registry[Optimizer] = Registry(
    "optimizer",
    {
        "sgd": SGD(),
        "sgdm": SGDM(),
        "nesterov": SGD(momentum=0.9, nesterov=True),
        "adam": Adam(),
        "adamw": AdamW(),
        "rmsprop": RMSprop(),
        "adagrad": Adagrad(),
        "adadelta": Adadelta(),
        "adamax": Adamax(),
        "nadam": Nadam(),
        "muon": Muon(),
    },
    aliases={"momentum": "sgdm"},
)

OptimizerSpec: TypeAlias = str | Optimizer | torch.optim.Optimizer | Callable[[list[Parameter]], torch.optim.Optimizer]


def get(spec: OptimizerSpec) -> Optimizer:
    """Return the description that `spec` stands for.

    Args:
        spec: a name, a description from this file, a torch optimizer that holds the network's parameters, or a function from
            the list of parameters to a torch optimizer.

    Raises:
        UnknownNameError: if a name is not known.
        ArgumentError: if it is something else altogether.

    >>> get("SGD"), get(SGDM(0.1)).learning_rate
    (SGD(learning_rate=0.01, momentum=0.0, nesterov=False), 0.1)
    """
    if isinstance(spec, str):
        return OPTIMIZERS[spec]
    if isinstance(spec, Optimizer):
        return spec
    if isinstance(spec, torch.optim.Optimizer):
        return Ready(spec)
    if isinstance(spec, type) and issubclass(spec, Optimizer):
        received, fix = f"the class {spec.__name__}", f"Pass {spec.__name__}() with parentheses"
    elif callable(spec):
        return Factory(cast(Callable[[list[Parameter]], torch.optim.Optimizer], spec))
    else:
        received, fix = repr(spec), 'Pass "adam", for example'
    expected = "a name, an optimizer, or a function from parameters to a torch optimizer"
    raise ArgumentError(complaint("optimizer", expected=expected, received=received, fix=fix))
