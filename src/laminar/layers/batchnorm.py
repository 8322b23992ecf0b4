"""Normalization over a batch."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, complaint
from laminar.kernels import channels_last, functions, switch
from laminar.kernels.calls import Kind, Normalization
from laminar.kernels.parts import Part
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.core import checked, is_number
from laminar.layers.groupnorm import ChannelNormalization
from laminar.layers.norm import ScaleOptions, above_zero, changed, declare_scale, scale_arithmetic
from laminar.shapes import Shape

__all__ = ["BatchNormalization", "BatchOptions"]

_SHORTEST = 16  # positions of a channel that a kernel is worth its while for
_LEAST, _LEAST_WITH_ELU = 1 << 17, 1 << 11  # numbers in a batch, measured: torch needs many passes for an ELU


class BatchOptions(ScaleOptions, total=False):
    """The learnable scale and offset, and where the statistics start.

    Attributes:
        moving_mean_initializer: initializer of the running mean ("zeros").
        moving_variance_initializer: initializer of the running variance ("ones").
    """

    moving_mean_initializer: Any
    moving_variance_initializer: Any


class BatchNormalization(ChannelNormalization):
    """Gives each channel mean 0 and variance 1 over the batch, then a learnable scale and offset.

    z = γ (x - μ) / √(σ² + epsilon) + β. In training μ and σ² are those of the batch. In inference mode the running (population)
    mean and variance are used; so they are in training for a layer with `trainable = False`, as in Keras, and for a batch with
    a single number per channel, which has no variance.

    Args:
        axis: the axis of the channels; the batch axis is 0. -1 is for series (batch, steps, features).
        momentum: share of the old value that the running statistics keep at each step (torch's momentum is 1 minus this).
        epsilon: added to the variance before the root.
        **options: `center`, `scale`, `beta_initializer`, `gamma_initializer`, `name`: see `ScaleOptions`;
            `moving_mean_initializer`, `moving_variance_initializer`: see `BatchOptions`.

    Attributes:
        weight: scale γ, (C,), or None.
        bias: offset β, (C,), or None.
        running_mean: (C,), from zeros.
        running_var: (C,), from ones; of the unbiased variances, which divide by n - 1, as in torch.

    Raises:
        ArgumentError: if the axis is none, the momentum is not in [0, 1], or epsilon is not positive.
        UnknownNameError: on an unknown option or initializer.
        ShapeError: if the observations have no channel axis, or another number of channels or axes than before.

    Note:
        momentum 0.9 and epsilon 1e-5 are torch's defaults. Keras' 0.99 leaves two thirds of the starting value after an
        epoch of 39 steps, which spoils validation on small data sets.

    Source: Ioffe and Szegedy, "Batch normalization", 2015; rows R11 and R16 of the mission.

    >>> import torch
    >>> layer = BatchNormalization()
    >>> layer(torch.tensor([[1.0], [3.0]])).detach().round(decimals=3)
    tensor([[-1.],
            [ 1.]])
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, axis: int = 1, momentum: float = 0.9, epsilon: float = 1e-5, **options: Unpack[BatchOptions]) -> None:
        super().__init__(axis, name=options.get("name"))
        if not is_number(momentum) or not 0 <= momentum <= 1:
            raise ArgumentError(
                complaint(
                    "BatchNormalization(momentum=)",
                    expected="a share in [0, 1]",
                    received=f"{momentum!r}",
                    fix="Pass momentum=0.9, say",
                )
            )
        self.momentum = float(momentum)
        self.epsilon = above_zero("BatchNormalization(epsilon=)", epsilon)
        self.options = checked("BatchNormalization", options, BatchOptions)

    @property
    def declares(self) -> tuple[str, ...]:
        """That an observation depends on the others in training, unless the layer is frozen."""
        return ("batch",) if self._trainable else ()

    def build(self, shape: Shape) -> None:
        """Declare scale, offset and running statistics, one number for each channel of `shape`."""
        channels = self.channels(shape)
        declare_scale(self, channels, self.options)
        self.running_mean = self.state(channels, init=self.options.get("moving_mean_initializer", "zeros"))
        self.running_var = self.state(channels, init=self.options.get("moving_variance_initializer", "ones"))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized x, of x's shape (B, C, ...)."""
        fast = self.by_kernel(x)
        if fast is not None:
            return fast
        y = self.channels_second(x)
        z = F.batch_norm(
            y,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self._takes_the_batch_s(y),
            1 - self.momentum,
            self.epsilon,
        )
        return self.as_it_came(z, x)

    def _takes_the_batch_s(self, y: Tensor) -> bool:
        """Return whether the statistics are those of y (B, C, ...)."""
        return self.training and self._trainable and y.numel() > y.shape[1]

    def by_kernel(
        self, x: Tensor, kind: Kind = Kind.IDENTITY, alpha: Tensor | None = None, other: Tensor | None = None
    ) -> Tensor | None:
        """Return the activation of the normalized x (B, C, ...) in one pass; None where kernels are not used, or cannot be.

        Args:
            x: input of the layer.
            kind: of the activation behind it.
            alpha: of an ELU, (C,).
            other: what is added before a ReLU, of x's shape.
        """
        kernels = self._kernels(x, kind, alpha, other)
        if kernels is None:
            return None
        added = {} if other is None else {"other": other}
        if self._takes_the_batch_s(x):
            how = Normalization((self.running_mean, self.running_var), 1 - self.momentum, self.epsilon, kind)
            z: Tensor = kernels.batch_norm(x, self.weight, self.bias, how, alpha, **added)
            return z
        if torch.is_grad_enabled() or (kind == Kind.IDENTITY and kernels is functions):
            return None  # torch's is one pass, too, and has the derivative
        scale = (self.running_var + self.epsilon).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -self.running_mean * scale
        shift = shift if self.bias is None else shift + self.bias
        predicted: Tensor = kernels.scale_and_shift(x, scale, shift, kind, alpha, **added)
        return predicted

    def _kernels(self, x: Tensor, kind: Kind, alpha: Tensor | None, other: Tensor | None) -> Any:
        """Return the kernels that are made for x, or None."""
        if self.axis != 1 or not isinstance(x, Tensor) or x.dim() < 3 or x.shape[1] != len(self.running_mean):
            return None
        known = (self.weight, self.bias, self.running_mean, self.running_var, alpha)
        if other is not None and (other.shape != x.shape or kind != Kind.RELU):
            return None
        if switch.serve_last(x, *known, other):
            return channels_last
        if other is not None or len(x) * x.shape[1] > x.numel() // _SHORTEST:
            return None
        least = _LEAST_WITH_ELU if kind == Kind.ELU else _LEAST
        return functions if switch.serve(x, *known, part=Part.CONTIGUOUS, least=least) else None

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return the parameters, a scale and an offset for each channel, and what is kept and does not learn."""
        channels = self.channels(shape)
        line, total = scale_arithmetic(channels, self.options)
        kept = f"statistics kept, not learned: {channels} means + {channels} variances = {count(2 * channels)}"
        return Arithmetic(shape, total, (line, kept))

    def extra_repr(self) -> str:
        """Return what differs from the defaults."""
        center, scale = self.options.get("center", True), self.options.get("scale", True)
        first = changed(axis=(self.axis, 1), momentum=(self.momentum, 0.9), epsilon=(self.epsilon, 1e-5))
        return ", ".join(first + changed(center=(center, True), scale=(scale, True)))
