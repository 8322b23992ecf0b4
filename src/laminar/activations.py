"""Activations as functions of a batch, by name: thin faces over torch's, without learnables.

Element by element unless said otherwise. Activations with learnables, and activations as layers, are in `laminar.layers`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.names import Registry

__all__ = [
    "ACTIVATIONS",
    "OVER_AN_AXIS",
    "Activation",
    "elu",
    "exponential",
    "gelu",
    "get",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mish",
    "name_of",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]

Activation: TypeAlias = Callable[[Tensor], Tensor]


def linear(x: Tensor) -> Tensor:
    """Return `x` itself.

    >>> linear(torch.tensor([-1.0, 2.0]))
    tensor([-1.,  2.])
    """
    return x


def relu(x: Tensor) -> Tensor:
    """Return max(x, 0).

    >>> relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return torch.relu(x)


def relu6(x: Tensor) -> Tensor:
    """Return min(max(x, 0), 6).

    >>> relu6(torch.tensor([-1.0, 2.0, 7.0]))
    tensor([0., 2., 6.])
    """
    return F.relu6(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Return x where x > 0, else `negative_slope` · x.

    The slope's default is torch's 0.01; Keras 3 has 0.2. For another: `functools.partial(leaky_relu, negative_slope=0.1)`.
    Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models".

    >>> leaky_relu(torch.tensor([-1.0, 2.0]), negative_slope=0.1)
    tensor([-0.1000,  2.0000])
    """
    return F.leaky_relu(x, negative_slope)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where x > 0, else `alpha` · (eˣ − 1); no large x overflows, neither here nor in the derivative.

    Source: Clevert et al. 2016, "Fast and accurate deep network learning by exponential linear units".

    >>> elu(torch.tensor([-1.0, 2.0, 1000.0]))
    tensor([-6.3212e-01,  2.0000e+00,  1.0000e+03])
    """
    return F.elu(x, alpha)


def selu(x: Tensor) -> Tensor:
    """Return 1.0507 · elu(x, 1.6733), which keeps mean 0 and variance 1 through a network started with `LecunNormal`.

    Source: Klambauer et al. 2017, "Self-normalizing neural networks".

    >>> selu(torch.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """
    return torch.selu(x)


def gelu(x: Tensor) -> Tensor:
    """Return x · Φ(x), with Φ the exact normal distribution function.

    Source: Hendrycks & Gimpel 2016, "Gaussian error linear units".

    >>> gelu(torch.tensor([-1.0, 1.0]))
    tensor([-0.1587,  0.8413])
    """
    return F.gelu(x)


def silu(x: Tensor) -> Tensor:
    """Return x · sigmoid(x); also known as swish.

    Source: Elfwing et al. 2018, "Sigmoid-weighted linear units"; Ramachandran et al. 2017, "Searching for activations".

    >>> silu(torch.tensor([-1.0, 1.0]))
    tensor([-0.2689,  0.7311])
    """
    return F.silu(x)


def mish(x: Tensor) -> Tensor:
    """Return x · tanh(softplus(x)).

    Source: Misra 2020, "Mish: a self regularized non-monotonic activation function".

    >>> mish(torch.tensor([-1.0, 1.0]))
    tensor([-0.3034,  0.8651])
    """
    return F.mish(x)


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + eˣ), which is x to rounding where x > 20.

    >>> softplus(torch.tensor([0.0, 50.0]))
    tensor([ 0.6931, 50.0000])
    """
    return F.softplus(x)


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e⁻ˣ).

    >>> sigmoid(torch.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """
    return torch.sigmoid(x)


def hard_sigmoid(x: Tensor) -> Tensor:
    """Return min(max(x / 6 + 1/2, 0), 1), three straight lines near the sigmoid; Keras before version 3 had the slope 0.2.

    >>> hard_sigmoid(torch.tensor([-4.0, 0.0, 1.5]))
    tensor([0.0000, 0.5000, 0.7500])
    """
    return F.hardsigmoid(x)


def tanh(x: Tensor) -> Tensor:
    """Return (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ).

    >>> tanh(torch.tensor([-1.0, 0.0]))
    tensor([-0.7616,  0.0000])
    """
    return torch.tanh(x)


def exponential(x: Tensor) -> Tensor:
    """Return eˣ.

    >>> exponential(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return torch.exp(x)


def softmax(x: Tensor, axis: int = 1) -> Tensor:
    """Return eˣ / Σ eˣ, the sum over the classes, so that they add up to 1.

    Args:
        x: (B, C, ...).
        axis: the classes' axis. The default is the one after the batch, for (B, C) and for maps (B, C, H, W) alike; pass -1
            where features come last, as in (B, T, C).

    Raises:
        ShapeError: if x has no axis 1, where the classes were to lie.

    >>> softmax(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    tensor([[0.5000, 0.5000],
            [0.2689, 0.7311]])
    """
    if x.ndim < 2 and axis == 1:
        raise _no_classes("softmax", x)
    return torch.softmax(x, axis)


def log_softmax(x: Tensor, axis: int = 1) -> Tensor:
    """Return log(softmax(x)), computed in one stable step.

    Args:
        x: (B, C, ...).
        axis: the classes' axis, as in `softmax`.

    Raises:
        ShapeError: if x has no axis 1, where the classes were to lie.

    >>> log_softmax(torch.tensor([[0.0, 0.0], [-200.0, 0.0]]))
    tensor([[  -0.6931,   -0.6931],
            [-200.0000,    0.0000]])
    """
    if x.ndim < 2 and axis == 1:
        raise _no_classes("log_softmax", x)
    return torch.log_softmax(x, axis)


def _no_classes(name: str, x: Tensor) -> ShapeError:
    """Return the error for an `x` that a softmax would normalize over the batch."""
    received, fix = f"shape {tuple(x.shape)}", "Add the batch axis with x[None], or the class axis with x[:, None]"
    return ShapeError(complaint(name, expected="a batch (B, C, ...) with classes on axis 1", received=received, fix=fix))


ACTIVATIONS: Registry[Activation] = Registry(
    "activation",
    {
        "linear": linear,
        "relu": relu,
        "relu6": relu6,
        "leaky_relu": leaky_relu,
        "elu": elu,
        "selu": selu,
        "gelu": gelu,
        "silu": silu,
        "mish": mish,
        "softplus": softplus,
        "sigmoid": sigmoid,
        "hard_sigmoid": hard_sigmoid,
        "tanh": tanh,
        "exponential": exponential,
        "softmax": softmax,
        "log_softmax": log_softmax,
    },
    aliases={"identity": "linear", "swish": "silu"},
)


OVER_AN_AXIS: tuple[Callable[..., Tensor], ...] = (softmax, log_softmax)
"""What works over the units together, not element by element: these take the units' `axis` as their second argument."""


def get(spec: str | Activation | nn.Module | None) -> Activation:
    """Return the function that `spec` stands for.

    Args:
        spec: a name, a function or module from tensor to tensor (returned as it is), or None for `linear`.

    Raises:
        UnknownNameError: if a name is not known.
        ArgumentError: if it is something else altogether.

    >>> get("swish") is silu, get(None) is linear, get(torch.sin) is torch.sin
    (True, True, True)
    """
    if spec is None:
        return linear
    if isinstance(spec, str):
        return ACTIVATIONS[spec]
    if isinstance(spec, type) and issubclass(spec, nn.Module):
        received, fix = f"the class {spec.__name__}", f"Pass {spec.__name__}() with parentheses"
    elif callable(spec):
        return cast(Activation, spec)
    else:
        received, fix = repr(spec), 'Pass "relu", for example'
    raise ArgumentError(complaint("activation", expected="a name or a function of a tensor", received=received, fix=fix))


def name_of(activation: Activation) -> str:
    """Return a name for people to read; for this file's functions it is the one that `get` takes.

    It says nothing about what the function computes: to ask whether an activation is softmax, write `f is softmax`.

    >>> name_of(silu), name_of(nn.Tanh()), name_of(functools.partial(leaky_relu, negative_slope=0.1))
    ('silu', 'Tanh', 'leaky_relu')
    """
    if isinstance(activation, functools.partial):
        return name_of(activation.func)
    return str(getattr(activation, "__name__", type(activation).__name__))
