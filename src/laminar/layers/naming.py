"""The names that layers get in a network."""

from __future__ import annotations

from torch import nn

from laminar.errors import ArgumentError, complaint
from laminar.layers.base import Layer, default_name

__all__ = ["free_name"]


def free_name(owner: nn.Module, layer: nn.Module, where: str) -> str:
    """Return the name of a new child of `owner`, as in Keras: its own, or its class's and a number.

    Args:
        owner: the network.
        layer: the new child.
        where: who asks, for messages.

    Raises:
        ArgumentError: if the layer has a name of its own that is taken, or can be none.

    >>> free_name(nn.Sequential(), nn.Conv2d(1, 1, 1), "")
    'conv2d'
    """
    default = default_name(type(layer))
    named = isinstance(layer, Layer) or hasattr(layer, "is_chain")  # a Model, which stands above this file
    name = str(layer.name) if named else default
    if name == default:
        number = 0
        while name in owner._modules or hasattr(owner, name):
            number += 1
            name = f"{default}_{number}"
    elif name in owner._modules or hasattr(owner, name) or "." in name or "/" in name:
        expected = "names without dots and slashes that are not taken"
        fix = f"Call the layer {name.replace('.', '_').replace('/', '_')}_1, say"
        raise ArgumentError(complaint(where, expected=expected, received=f"{name!r}", fix=fix))
    return name
