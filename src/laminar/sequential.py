"""`Sequential`: a chain of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from laminar.errors import ArgumentError, complaint
from laminar.fit import arguments
from laminar.layers.chain import in_order, run_chain
from laminar.layers.naming import free_name
from laminar.model import Model

__all__ = ["Sequential"]


class Sequential(Model):
    """A chain of layers: the output of each is the input of the next.

    Layers get names as in Keras ("conv2d", "conv2d_1", "dense"), so that a layer put in between changes no other's name,
    and with a seed no other's initial values.

    Args:
        layers: Laminar layers and any other `torch.nn.Module`, in order.
        name: its name as a part of another network.

    Raises:
        ArgumentError: if something in `layers` is no module, or a name is taken.

    >>> import torch
    >>> from laminar import layers as L
    >>> model = Sequential([L.Flatten(), L.Dense(16, activation="relu"), torch.nn.Linear(16, 3), L.Softmax()])
    >>> [name for name, _ in model.named_children()]
    ['flatten', 'dense', 'linear', 'softmax']
    """

    is_chain = True

    def __init__(self, layers: Sequence[nn.Module] = (), *others: nn.Module, name: str | None = None) -> None:
        super().__init__(name=name)
        if others:  # as torch.nn.Sequential takes them
            received = f"{len(others) + 1} arguments"
            fix = "Put them into brackets: Sequential([a, b])"
            raise ArgumentError(complaint("Sequential(layers=)", expected="a list of layers", received=received, fix=fix))
        for layer in arguments.module_list("Sequential(layers=)", layers):
            self.add_module(free_name(self, layer, "Sequential(layers=)"), layer)

    def add(self, layer: nn.Module) -> None:
        """Put a layer behind the others; the network then asks for its shapes anew.

        Raises:
            ArgumentError: if it is no module, or its name is taken.

        >>> from laminar import layers as L
        >>> model = Sequential()
        >>> model.add(L.Dense(3))
        >>> model.build((4,)).output_shape
        (3,)
        """
        (module,) = arguments.module_list("Sequential.add(layer)", [layer])
        self.add_module(free_name(self, module, "Sequential.add(layer)"), module)
        self._input_shapes, self._head = None, None

    def forward(self, x: Any) -> Any:
        """Return the last layer's output, (B, ...), from the first layer's input, (B, ...)."""
        return run_chain(in_order(self), x)

    @property
    def layers(self) -> list[nn.Module]:
        """The layers, in order; freezing some is `for layer in model.layers[:3]: layer.trainable = False`."""
        return in_order(self)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(in_order(self))
