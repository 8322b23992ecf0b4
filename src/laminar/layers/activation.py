"""Activations as layers, and the base of the layers that end in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar import activations
from laminar.layers.base import Layer
from laminar.shapes import Shape

__all__ = ["ELU", "ActivatedLayer", "Activation", "ReLU", "Softmax"]


class ActivatedLayer(Layer):
    """The base of layers whose output goes through an activation, given by name or as a function.

    Args:
        activation: a name of `laminar.activations`, a function of a tensor, or None for none.
        name: the layer's name.

    Attributes:
        channel_axis: where the units or channels lie in a batch of the output, and so what a softmax sums over: 1 for
            (B, C, ...), -1 for (B, ..., units).

    Raises:
        UnknownNameError: if there is no activation of that name.
    """

    channel_axis: int = 1

    def __init__(self, activation: str | Callable[[Tensor], Tensor] | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.activation = activations.get(activation)
        self.activation_name = activations.name_of(self.activation)
        self._emits_logits = False

    def activate(self, z: Tensor) -> Tensor:
        """Return the activation of z, or z itself while a loss works on the logits."""
        if self._emits_logits:
            return z
        if self.channel_axis != 1 and self.activation in activations.OVER_AN_AXIS:
            return self.activation(z, self.channel_axis)  # type: ignore[call-arg]  # those of the table take an axis
        return self.activation(z)

    def extra_repr(self) -> str:
        """Return the settings that tell this layer from others of its class."""
        return "" if self.activation_name == "linear" else f"activation={self.activation_name!r}"


class Activation(ActivatedLayer):
    """Applies an activation by name, or any function of a tensor.

    Args:
        activation: a name of `laminar.activations` or a function.
        name: the layer's name.

    >>> Activation("relu")(torch.tensor([[-1.0, 2.0]]))
    tensor([[0., 2.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x, of x's shape (B, ...)."""
        return self.activate(x)


class ReLU(Layer):
    """Rectified linear unit: max(x, 0).

    >>> ReLU()(torch.tensor([[-1.0, 2.0]]))
    tensor([[0., 2.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return max(x, 0), of x's shape (B, ...)."""
        return F.relu(x)


class Softmax(ActivatedLayer):
    """Turns scores into probabilities that sum to one over the classes, axis 1 of the batch.

    In training with a cross-entropy it is skipped: the loss then works on the scores, which is stable for large ones.

    >>> Softmax()(torch.zeros(1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__("softmax", name=name)

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities of x's shape (B, C, ...)."""
        return self.activate(x)

    def extra_repr(self) -> str:
        """Return nothing: the class says it all."""
        return ""


class ELU(Layer):
    """Exponential linear unit, alpha learnable per channel or fixed, and switched at any time.

    z = x for x > 0, alpha (exp(x) - 1) for x <= 0. The exponential is taken of min(x, 0), so no x can overflow it.
    Its derivative is written by hand: dL/dx = dL/dz (1[x > 0] + (alpha + z) 1[x <= 0]), and
    dL/dalpha_c = the sum over batch and positions of dL/dz (exp(min(x, 0)) - 1).

    Args:
        alpha: where alpha starts: a number, or the name of an initializer ("uniform" is uniform in [0, 1)).
        learnable: whether alpha learns. `layer.freeze("alpha")` and `layer.unfreeze("alpha")` change it later.
        name: the layer's name.

    Source: Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network learning by exponential linear units", 2016;
    rows R2 and R3 of the mission.

    >>> ELU(alpha=0.5)(torch.tensor([[-1000.0, 0.0, 2.0]]))
    tensor([[-0.5000,  0.0000,  2.0000]])
    """

    def __init__(self, alpha: Any = 1.0, *, learnable: bool = False, name: str | None = None) -> None:
        super().__init__(name=name)
        self._alpha_init = alpha
        self._alpha_learns = learnable

    def build(self, shape: Shape) -> None:
        """Declare alpha, one for each channel of `shape` (C, ...)."""
        self.alpha = self.learnable(shape[0], init=self._alpha_init, learnable=self._alpha_learns)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z of x's shape (B, C, ...), and e = ELU of x with alpha 1 for `backward`."""
        e = F.elu(x)  # one pass over memory, with expm1 and without overflow
        a = self.per_channel(self.alpha, x)
        # alpha times the negative part, in two passes: a fifth of the time of torch.where over a comparison and a product
        return torch.addcmul(e.clamp(min=0), a, e.clamp(max=0)), e

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, e: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return dx (B, C, ...) and dalpha (C,), the latter only where alpha learns."""
        dx = torch.where(e > 0, dz, dz * (z + self.per_channel(self.alpha, x)))
        dalpha = self.sum_to_channels(dz * e.clamp(max=0)) if self.needs_gradient("alpha") else None
        return dx, dalpha

    def extra_repr(self) -> str:
        """Return how alpha starts and whether it learns."""
        learns = self.needs_gradient("alpha") if self.built else self._alpha_learns
        return f"alpha={self._alpha_init!r}{', learnable' if learns else ''}"
