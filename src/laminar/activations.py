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
    "celu",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "name_of",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "tanh",
    "tanh_shrink",
    "threshold",
]

Activation: TypeAlias = Callable[[Tensor], Tensor]


def linear(x: Tensor) -> Tensor:
    """Return f(x) = x: what `activation=None` stands for. Source: Keras' `linear`.

    >>> linear(torch.tensor([-1.0, 2.0]))
    tensor([-1.,  2.])
    """
    return x


def relu(x: Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Tensor:
    """Return max(x, 0); more generally min(x, `max_value`) where x > `threshold`, else `negative_slope` · (x − `threshold`).

    Args:
        x: (B, ...).
        negative_slope: of the line below the threshold; Keras called it alpha before version 3.
        max_value: the largest output; None for no bound.
        threshold: where the lower line ends.

    Source: row R8; Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".

    >>> relu(torch.tensor([-1.0, 2.0])), relu(torch.tensor([-1.0, 0.5, 2.0, 9.0]), 0.1, max_value=6, threshold=1)
    (tensor([0., 2.]), tensor([-0.2000, -0.0500,  2.0000,  6.0000]))
    """
    if max_value is None and threshold == 0:
        return F.leaky_relu(x, negative_slope) if negative_slope else torch.relu(x)
    upper = x if max_value is None else x.clamp(max=max_value)
    lower = negative_slope * (x - threshold) if negative_slope else 0.0
    return torch.where(x > threshold, upper, lower)


def relu6(x: Tensor) -> Tensor:
    """Return min(max(x, 0), 6). Source: Keras' `relu6`.

    >>> relu6(torch.tensor([-1.0, 2.0, 7.0]))
    tensor([0., 2., 6.])
    """
    return F.relu6(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """Return x where x > 0, else `negative_slope` · x.

    The slope's default is Keras' 0.2, where torch has 0.01. For another: `functools.partial(leaky_relu, negative_slope=0.1)`.
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


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where x > 0, else `alpha` · (exp(x / `alpha`) − 1): an ELU whose slope has no jump at 0, whatever alpha.

    Source: Barron 2017, "Continuously differentiable exponential linear units".

    >>> celu(torch.tensor([-1.0, 1.0]), alpha=2.0)
    tensor([-0.7869,  1.0000])
    """
    return F.celu(x, alpha)


def selu(x: Tensor) -> Tensor:
    """Return 1.0507 · elu(x, 1.6733), which keeps mean 0 and variance 1 through a network started with `LecunNormal`.

    Source: Klambauer et al. 2017, "Self-normalizing neural networks".

    >>> selu(torch.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """
    return torch.selu(x)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """Return x · Φ(x), with Φ the normal distribution function; its approximation by a tanh where asked for.

    Source: Hendrycks & Gimpel 2016, "Gaussian error linear units".

    >>> gelu(torch.tensor([-1.0, 1.0]))
    tensor([-0.1587,  0.8413])
    """
    return F.gelu(x, approximate="tanh" if approximate else "none")


def silu(x: Tensor) -> Tensor:
    """Return x · sigmoid(x); also known as swish.

    Source: Elfwing et al. 2018, "Sigmoid-weighted linear units"; Ramachandran et al. 2017, "Searching for activations".

    >>> silu(torch.tensor([-1.0, 1.0]))
    tensor([-0.2689,  0.7311])
    """
    return F.silu(x)


def hard_silu(x: Tensor) -> Tensor:
    """Return x · min(max(x / 6 + 1/2, 0), 1); also known as hard swish.

    Source: Howard et al. 2019, "Searching for MobileNetV3".

    >>> hard_silu(torch.tensor([-4.0, 1.5, 4.0]))
    tensor([-0.0000, 1.1250, 4.0000])
    """
    return F.hardswish(x)


def mish(x: Tensor) -> Tensor:
    """Return x · tanh(softplus(x)).

    Source: Misra 2020, "Mish: a self regularized non-monotonic activation function".

    >>> mish(torch.tensor([-1.0, 1.0]))
    tensor([-0.3034,  0.8651])
    """
    return F.mish(x)


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + eˣ), which is x to rounding where x > 20. Source: row R8.

    >>> softplus(torch.tensor([0.0, 50.0]))
    tensor([ 0.6931, 50.0000])
    """
    return F.softplus(x)


def squareplus(x: Tensor, b: float = 4.0) -> Tensor:
    """Return (x + √(x² + b)) / 2, which bends like softplus and needs no exponential.

    Source: Barron 2021, "Squareplus: a softplus-like algebraic rectifier".

    >>> squareplus(torch.tensor([0.0, 1.5]))
    tensor([1., 2.])
    """
    return (x + torch.sqrt(x * x + b)) / 2


def sparse_plus(x: Tensor) -> Tensor:
    """Return 0 where x ≤ −1, x where x ≥ 1, (x + 1)² / 4 between: `sparse_sigmoid`'s integral. Source: Keras' `sparse_plus`.

    >>> sparse_plus(torch.tensor([-2.0, 0.0, 2.0]))
    tensor([0.0000, 0.2500, 2.0000])
    """
    return (x.clamp(-1, 1) + 1) ** 2 / 4 + torch.relu(x - 1)


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e⁻ˣ). Source: row R8.

    >>> sigmoid(torch.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """
    return torch.sigmoid(x)


def hard_sigmoid(x: Tensor) -> Tensor:
    """Return min(max(x / 6 + 1/2, 0), 1), near the sigmoid; Keras before version 3 had the slope 0.2. Source: row R8.

    >>> hard_sigmoid(torch.tensor([-4.0, 0.0, 1.5]))
    tensor([0.0000, 0.5000, 0.7500])
    """
    return F.hardsigmoid(x)


def log_sigmoid(x: Tensor) -> Tensor:
    """Return log(sigmoid(x)), computed in one stable step. Source: Keras' `log_sigmoid`.

    >>> log_sigmoid(torch.tensor([-200.0, 0.0]))
    tensor([-200.0000,   -0.6931])
    """
    return F.logsigmoid(x)


def sparse_sigmoid(x: Tensor) -> Tensor:
    """Return min(max((x + 1) / 2, 0), 1).

    Source: Blondel, Martins, Niculae 2019, "Learning classifiers with Fenchel-Young losses".

    >>> sparse_sigmoid(torch.tensor([-2.0, 0.5, 2.0]))
    tensor([0.0000, 0.7500, 1.0000])
    """
    return ((x + 1) / 2).clamp(0, 1)


def tanh(x: Tensor) -> Tensor:
    """Return (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ). Source: row R8.

    >>> tanh(torch.tensor([-1.0, 0.0]))
    tensor([-0.7616,  0.0000])
    """
    return torch.tanh(x)


def hard_tanh(x: Tensor) -> Tensor:
    """Return min(max(x, −1), 1). Source: Keras' `hard_tanh`.

    >>> hard_tanh(torch.tensor([-2.0, 0.5, 2.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    return F.hardtanh(x)


def softsign(x: Tensor) -> Tensor:
    """Return x / (|x| + 1). Source: Keras' `softsign`.

    >>> softsign(torch.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """
    return F.softsign(x)


def tanh_shrink(x: Tensor) -> Tensor:
    """Return x − tanh(x). Source: Keras' `tanh_shrink`.

    >>> tanh_shrink(torch.tensor([-1.0, 0.0]))
    tensor([-0.2384,  0.0000])
    """
    return F.tanhshrink(x)


def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """Return sign(x) · max(|x| − `threshold`, 0): x moved towards 0, and not beyond. Source: Keras' `soft_shrink`.

    >>> soft_shrink(torch.tensor([-2.0, 0.25, 2.0]))
    tensor([-1.5000,  0.0000,  1.5000])
    """
    return F.softshrink(x, threshold)


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """Return x where |x| > `threshold`, else 0. Source: Keras' `hard_shrink`.

    >>> hard_shrink(torch.tensor([-2.0, 0.25, 2.0]))
    tensor([-2.,  0.,  2.])
    """
    return F.hardshrink(x, threshold)


def threshold(x: Tensor, threshold: float = 0.0, default_value: float = 0.0) -> Tensor:
    """Return x where x > `threshold`, else `default_value`; by default, as Keras has none, relu. Source: Keras' `threshold`.

    >>> threshold(torch.tensor([-2.0, 0.25, 2.0]), 1.0, -1.0)
    tensor([-1., -1.,  2.])
    """
    return F.threshold(x, threshold, default_value)


def exponential(x: Tensor) -> Tensor:
    """Return eˣ. Source: row R8.

    >>> exponential(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return torch.exp(x)


def softmax(x: Tensor, axis: int = 1) -> Tensor:
    """Return eˣ / Σ eˣ, the sum over the classes, so that they add up to 1. Source: row R8.

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
    """Return log(softmax(x)), computed in one stable step. Source: Keras' `log_softmax`.

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


def sparsemax(x: Tensor, axis: int = 1) -> Tensor:
    """Return max(x − τ, 0), with τ such that the classes add up to 1: probabilities of which many are exactly 0.

    Args:
        x: (B, C, ...).
        axis: the classes' axis, as in `softmax`.

    Raises:
        ShapeError: if x has no axis 1, where the classes were to lie.

    Source: Martins & Astudillo 2016, "From softmax to sparsemax".

    >>> sparsemax(torch.tensor([[1.0, 0.5, -1.0]]))
    tensor([[0.7500, 0.2500, 0.0000]])
    """
    if x.ndim < 2 and axis == 1:
        raise _no_classes("sparsemax", x)
    wide = x.to(torch.promote_types(x.dtype, torch.float32)).movedim(axis, -1)
    falling = wide.sort(-1, descending=True).values
    excess = falling.cumsum(-1) - 1  # of the largest 1, 2, ... over what they may add up to
    ranks = torch.arange(1, wide.shape[-1] + 1, device=x.device)
    kept = (ranks * falling > excess).sum(-1, keepdim=True)  # how many stay above 0
    tau = excess.gather(-1, kept - 1) / kept
    return (wide - tau).clamp(min=0).movedim(-1, axis).to(x.dtype)


def glu(x: Tensor, axis: int = 1) -> Tensor:
    """Return a · sigmoid(b), where a and b are the first and second half of x along `axis`, of half its length.

    Args:
        x: (B, C, ...), C even.
        axis: which axis is halved.

    Raises:
        ShapeError: if that axis cannot be halved.

    Source: Dauphin et al. 2017, "Language modeling with gated convolutional networks".

    >>> glu(torch.tensor([[2.0, 3.0, 0.0, 100.0]]))
    tensor([[1., 3.]])
    """
    if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
        received, fix = f"shape {tuple(x.shape)}", "Give it twice as many channels as are wanted"
        raise ShapeError(complaint("glu", expected=f"an even number of channels on axis {axis}", received=received, fix=fix))
    return F.glu(x, axis)


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
        "celu": celu,
        "selu": selu,
        "gelu": gelu,
        "silu": silu,
        "hard_silu": hard_silu,
        "mish": mish,
        "softplus": softplus,
        "squareplus": squareplus,
        "sparse_plus": sparse_plus,
        "sigmoid": sigmoid,
        "hard_sigmoid": hard_sigmoid,
        "log_sigmoid": log_sigmoid,
        "sparse_sigmoid": sparse_sigmoid,
        "tanh": tanh,
        "hard_tanh": hard_tanh,
        "softsign": softsign,
        "tanh_shrink": tanh_shrink,
        "soft_shrink": soft_shrink,
        "hard_shrink": hard_shrink,
        "threshold": threshold,
        "exponential": exponential,
        "softmax": softmax,
        "log_softmax": log_softmax,
        "sparsemax": sparsemax,
        "glu": glu,
    },
    aliases={"identity": "linear", "swish": "silu", "hard_swish": "hard_silu"},
)


OVER_AN_AXIS: tuple[Callable[..., Tensor], ...] = (softmax, log_softmax, sparsemax, glu)
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
