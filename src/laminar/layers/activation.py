"""Activations as layers, and the base of the layers that end in one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar import activations
from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.kernels import channels_last, functions, switch
from laminar.kernels.parts import Part
from laminar.layers.base import Layer
from laminar.shapes import Shape, format_batch

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "ActivatedLayer",
    "Activation",
    "Exponential",
    "HardSigmoid",
    "LeakyReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "check_axis",
    "needed_axes",
]


def check_axis(owner: str, axis: int) -> int:
    """Return `axis` of a batch, as an argument of layer class `owner`, if it is one and not that of the batch.

    Raises:
        ArgumentError: otherwise.

    >>> check_axis("Softmax", -1)
    -1
    """
    if isinstance(axis, bool) or not isinstance(axis, Integral) or axis == 0:
        expected, fix = "a whole number other than 0, the batch's axis", "Pass axis=1 for the channels, or -1 for the last"
        raise ArgumentError(complaint(f"{owner}(axis=)", expected=expected, received=f"{axis!r}", fix=fix))
    return int(axis)


def needed_axes(axis: int) -> int:
    """Return how many axes a batch must have, so that it has the axis `axis`, and that is not the batch's.

    >>> needed_axes(1), needed_axes(-1), needed_axes(-2)
    (2, 2, 3)
    """
    return abs(axis) + 1


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
        ArgumentError: for glu, which returns half as many channels and so cannot be a part of another layer.
    """

    channel_axis: int = 1

    def __init__(self, activation: str | Callable[[Tensor], Tensor] | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.activation = activations.get(activation)
        if self.activation is activations.glu and not isinstance(self, Activation):
            where, fix = f"{type(self).__name__}(activation=)", 'Add Activation("glu") after the layer'
            expected, received = "an activation that keeps the shape", "glu, which halves the channels"
            raise ArgumentError(complaint(where, expected=expected, received=received, fix=fix))
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

    Source: row R8 of the mission; `keras.layers.Activation`.

    >>> Activation("relu")(torch.tensor([[-1.0, 2.0]]))
    tensor([[0., 2.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x, of x's shape (B, ...)."""
        return self.activate(x)


class _OneFunction(Activation):
    """The base of layers that are one activation each: `of` is its function, `settings` are that function's arguments."""

    of: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, *, of: Callable[..., Tensor], **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.of = staticmethod(of)

    def __init__(self, *, name: str | None = None, **settings: Any) -> None:
        super().__init__(functools.partial(self.of, **settings) if settings else self.of, name=name)
        self.settings = settings

    def extra_repr(self) -> str:
        """Return the settings."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())


def _from_zero(where: str, value: float, fix: str) -> float:
    """Return the argument `value` if it is a number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
        raise ArgumentError(complaint(where, expected="a number of at least 0", received=f"{value!r}", fix=fix))
    return float(value)


_LEAST = 1 << 11  # numbers that one pass in place of several is worth a call for, measured
_LEARNS = "Pass negative_slope=0.1, say; PReLU learns one for each channel"


class ReLU(_OneFunction, of=activations.relu):
    """Rectified linear unit: max(x, 0), with the options of Keras' layer.

    z = min(x, max_value) for x > threshold, negative_slope (x - threshold) for x <= threshold.

    Args:
        max_value: the largest output, at least 0; None for no bound.
        negative_slope: slope below the threshold; Keras called it alpha before version 3.
        threshold: where the lower line ends, at least 0.
        name: the layer's name.

    Raises:
        ArgumentError: if a number is not possible.

    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010; row R8 of the mission.

    >>> ReLU(max_value=6)(torch.tensor([[-1.0, 2.0, 7.0]]))
    tensor([[0., 2., 6.]])
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        given = {
            "max_value": None if max_value is None else _from_zero("ReLU(max_value=)", max_value, "Pass max_value=6, say"),
            "negative_slope": _from_zero("ReLU(negative_slope=)", negative_slope, _LEARNS),
            "threshold": _from_zero("ReLU(threshold=)", threshold, "Pass threshold=1.0, say"),
        }
        usual = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
        super().__init__(name=name, **{n: value for n, value in given.items() if value != usual[n]})


class LeakyReLU(_OneFunction, of=activations.leaky_relu):
    """Rectified linear unit with a slope below zero: z = x for x > 0, negative_slope x for x <= 0.

    Args:
        negative_slope: slope below zero. Keras' default is 0.3 in the layer and 0.2 in the function, and so it is here.
        name: the layer's name.

    Raises:
        ArgumentError: if the slope is not a number of at least 0.

    Source: Maas et al., "Rectifier nonlinearities improve neural network acoustic models", 2013; row R8 of the mission.

    >>> LeakyReLU(0.1)(torch.tensor([[-1.0, 2.0]]))
    tensor([[-0.1000,  2.0000]])
    """

    def __init__(self, negative_slope: float = 0.3, *, name: str | None = None) -> None:
        super().__init__(name=name, negative_slope=_from_zero("LeakyReLU(negative_slope=)", negative_slope, _LEARNS))


class GELU(_OneFunction, of=activations.gelu):
    """Gaussian error linear unit: x Φ(x), with Φ the normal distribution function.

    Args:
        approximate: whether Φ is approximated by a tanh.
        name: the layer's name.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016; row R8 of the mission.

    >>> GELU()(torch.tensor([[-1.0, 1.0]]))
    tensor([[-0.1587,  0.8413]])
    """

    def __init__(self, approximate: bool = False, *, name: str | None = None) -> None:
        super().__init__(name=name, **({"approximate": True} if approximate else {}))


class Sigmoid(_OneFunction, of=activations.sigmoid):
    """1 / (1 + exp(-x)). In training with a binary cross-entropy, which works on the scores, it is skipped.

    Source: row R8 of the mission.

    >>> Sigmoid()(torch.tensor([[0.0, 2.0]]))
    tensor([[0.5000, 0.8808]])
    """


class HardSigmoid(_OneFunction, of=activations.hard_sigmoid):
    """min(max(x / 6 + 1/2, 0), 1): three straight lines near the sigmoid.

    Source: row R8 of the mission.

    >>> HardSigmoid()(torch.tensor([[-4.0, 1.5]]))
    tensor([[0.0000, 0.7500]])
    """


class Tanh(_OneFunction, of=activations.tanh):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    Source: row R8 of the mission.

    >>> Tanh()(torch.tensor([[-1.0, 0.0]]))
    tensor([[-0.7616,  0.0000]])
    """


class Exponential(_OneFunction, of=activations.exponential):
    """exp(x).

    Source: row R8 of the mission.

    >>> Exponential()(torch.tensor([[0.0, 1.0]]))
    tensor([[1.0000, 2.7183]])
    """


class SELU(_OneFunction, of=activations.selu):
    """1.0507 elu(x, 1.6733), which keeps mean 0 and variance 1 through a network started with "lecun_normal".

    Source: Klambauer et al., "Self-normalizing neural networks", 2017.

    >>> SELU()(torch.tensor([[-1.0, 1.0]]))
    tensor([[-1.1113,  1.0507]])
    """


class SiLU(_OneFunction, of=activations.silu):
    """x sigmoid(x), also known as swish.

    Source: Elfwing et al., "Sigmoid-weighted linear units", 2018; row R8 of the mission.

    >>> SiLU()(torch.tensor([[-1.0, 1.0]]))
    tensor([[-0.2689,  0.7311]])
    """


class Softplus(_OneFunction, of=activations.softplus):
    """log(1 + exp(x)).

    Source: row R8 of the mission.

    >>> Softplus()(torch.tensor([[0.0, 50.0]]))
    tensor([[ 0.6931, 50.0000]])
    """


class Softmax(ActivatedLayer):
    """Turns scores into probabilities that sum to one over the classes: exp(x) / the sum of exp(x) over an axis.

    In training with a cross-entropy it is skipped: the loss then works on the scores, which is stable for large ones.

    Args:
        axis: of the classes in a batch: 1, the channels, unless said otherwise; -1 for features that come last, as Keras has
            it. The batch itself, axis 0, is none.
        name: the layer's name.

    Raises:
        ArgumentError: if the axis is not a whole number, or the batch's.
        ShapeError: if the observations have no such axis.

    Source: row R8 of the mission.

    >>> Softmax()(torch.zeros(1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def __init__(self, axis: int = 1, *, name: str | None = None) -> None:
        super().__init__("softmax", name=name)
        self.channel_axis = check_axis("Softmax", axis)

    def check_input(self, shape: Shape) -> None:
        """Refuse observations without the axis of the classes.

        Raises:
            ShapeError: saying how many axes are needed.
        """
        needed = needed_axes(self.channel_axis)
        if len(shape) + 1 < needed:
            received, fix = f"{format_batch(shape)}", "Pass axis=-1 for the last axis" if shape else "Pass x[:, None]"
            raise ShapeError(complaint(self.label, expected=f"a batch of at least {needed} axes", received=received, fix=fix))

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities of x's shape (B, C, ...)."""
        return self.activate(x)

    def extra_repr(self) -> str:
        """Return the axis where it is not that of the channels."""
        return "" if self.channel_axis == 1 else f"axis={self.channel_axis}"


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

    def _dispatch(self, *inputs: Any, **kwargs: Any) -> Any:
        x = inputs[0] if len(inputs) == 1 and not kwargs else None
        if isinstance(x, Tensor) and x.dim() > 2 and x.shape[1] == len(self.alpha):
            if switch.serve(x, self.alpha, part=Part.CONTIGUOUS, least=_LEAST):
                return functions.elu(x, self.alpha)
            if switch.serve_last(x, self.alpha, least=_LEAST):
                return channels_last.elu(x, self.alpha)
        return super()._dispatch(*inputs, **kwargs)

    def extra_repr(self) -> str:
        """Return how alpha starts and whether it learns."""
        learns = self.needs_gradient("alpha") if self.built else self._alpha_learns
        return f"alpha={self._alpha_init!r}{', learnable' if learns else ''}"
