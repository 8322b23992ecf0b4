"""Normalization within one observation: over its axes, over neighbouring channels; the scale and offset that may follow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.base import Layer
from laminar.layers.core import checked, is_number, positive
from laminar.shapes import Shape, format_batch, format_shape

__all__ = [
    "LayerNormalization",
    "LocalResponseNormalization",
    "RMSNormalization",
    "ScaleOptions",
    "UnitNormalization",
    "above_zero",
    "changed",
    "declare_scale",
    "scale_arithmetic",
]


class ScaleOptions(TypedDict, total=False):
    """The learnable scale and offset that follow a normalization.

    Attributes:
        center: whether an offset is added (True).
        scale: whether it is multiplied by a scale (True).
        beta_initializer: initializer of the offset ("zeros").
        gamma_initializer: initializer of the scale ("ones").
        name: the layer's name.
    """

    center: bool
    scale: bool
    beta_initializer: Any
    gamma_initializer: Any
    name: str | None


def declare_scale(layer: Layer, shape: int | Sequence[int], options: ScaleOptions) -> None:
    """Give `layer` its `weight` (scale) and `bias` (offset) of `shape`; None for one that the options leave out."""
    scaled, centred = options.get("scale", True), options.get("center", True)
    layer.weight = layer.learnable(shape, init=options.get("gamma_initializer", "ones")) if scaled else None
    layer.bias = layer.learnable(shape, init=options.get("beta_initializer", "zeros")) if centred else None


def scale_arithmetic(n: int, options: ScaleOptions) -> tuple[str, int]:
    """Return the line that counts scales and offsets, n of each, and their sum.

    >>> scale_arithmetic(20, {}), scale_arithmetic(20, {"center": False, "scale": False})
    (('parameters: 20 scales + 20 offsets = 40', 40), ('parameters: none', 0))
    """
    parts = [f"{n} {what}" for key, what in (("scale", "scales"), ("center", "offsets")) if options.get(key, True)]
    total = n * len(parts)
    return (f"parameters: {' + '.join(parts)} = {count(total)}" if parts else "parameters: none"), total


def above_zero(where: str, value: float) -> float:
    """Return `value` if it is a finite number above 0.

    Raises:
        ArgumentError: otherwise.
    """
    if not is_number(value) or not 0 < value < math.inf:
        raise ArgumentError(complaint(where, expected="a number above 0", received=f"{value!r}", fix="Pass epsilon=1e-5, say"))
    return float(value)


def changed(**values: tuple[object, object]) -> list[str]:
    """Return "name=value" for those (value, default) that differ.

    >>> changed(axis=(2, 1), scale=(True, True))
    ['axis=2']
    """
    return [f"{name}={value!r}" for name, (value, default) in values.items() if value != default]


class _OverAxes(Layer):
    """The base of normalizations over axes of one observation, numbered as in the batch: 1 is the first but the batch axis."""

    def __init__(self, axis: int | Sequence[int] = -1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        given: list[Any] = list(axis) if isinstance(axis, Iterable) and not isinstance(axis, str) else [axis]
        if not given or any(isinstance(a, bool) or not isinstance(a, Integral) or a == 0 for a in given):
            raise ArgumentError(
                complaint(
                    f"{type(self).__name__}(axis=)",
                    expected="an axis or several, as whole numbers other than 0, the batch axis",
                    received=f"{axis!r}",
                    fix="Pass -1 for the last axis, or (1, 2, 3) for all of an image",
                )
            )
        self.axis: tuple[int, ...] = tuple(int(a) for a in given)

    def check_input(self, shape: Shape) -> None:
        """Refuse observations without these axes, or of other lengths along them than before.

        Raises:
            ShapeError: saying what was expected.
        """
        rank = len(shape)
        if any(abs(a) > rank for a in self.axis) or len({a % (rank + 1) for a in self.axis}) < len(self.axis):
            axes = ", ".join(map(str, self.axis))
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"observations with the axes {axes}, each once, the batch axis being 0",
                    received=f"{format_batch(shape)}, {rank + 1} {'axes' if rank else 'axis'}",
                    fix=f"Pass axis={tuple(range(1, rank + 1))!r} for all of them" if rank else "Pass x[:, None]",
                )
            )
        if self.built and (rank != len(self.input_shape or ()) or self.sizes != tuple(shape[a] for a in self.axes)):
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"observations like those it was built for, {format_shape(self.input_shape or ())}",  # type: ignore[arg-type]  # it has one input
                    received=format_batch(shape),
                    fix="Give it that shape, or build a new layer",
                )
            )

    def build(self, shape: Shape) -> None:
        """Note the axes, counted from the end so that they hold without a batch axis too, and their lengths."""
        self.axes, self.sizes = self._of(shape)

    def _of(self, shape: Shape) -> tuple[tuple[int, ...], Shape]:
        axes = tuple(sorted(a if a < 0 else a - len(shape) - 1 for a in self.axis))
        return axes, tuple(shape[a] for a in axes)

    def _with_axes_last(self, x: Tensor) -> Tensor:
        return x.movedim(self.axes, tuple(range(-len(self.axes), 0)))

    def _with_axes_back(self, z: Tensor) -> Tensor:
        return z.movedim(tuple(range(-len(self.axes), 0)), self.axes)

    def _together(self, shape: Shape) -> tuple[str, int]:
        sizes = self._of(shape)[1]
        n = math.prod(sizes)
        return f"normalized together: {'×'.join(map(str, sizes))} = {count(n)}", n

    def _settings(self) -> list[str]:
        axis = self.axis[0] if len(self.axis) == 1 else self.axis
        return changed(axis=(axis, -1))

    def extra_repr(self) -> str:
        """Return what differs from the defaults."""
        return ", ".join(self._settings())


class LayerNormalization(_OverAxes):
    """Gives the numbers of each observation mean 0 and variance 1 along some axes, then a learnable scale and offset.

    z = γ (x - μ) / √(σ² + epsilon) + β, with μ = (1/H) Σ x and σ² = (1/H) Σ (x - μ)² over the H numbers along the axes of one
    observation. Nothing depends on the rest of the batch, so training and inference are the same.

    Args:
        axis: an axis or several; the batch axis is 0. -1 is the last one: the units of a dense layer, the features of a series
            (batch, steps, features). For images (batch, channels, height, width), 1 is the channels at each position,
            (1, 2, 3) everything: the H units of the layer.
        epsilon: added to the variance before the root.
        **options: `center`, `scale`, `beta_initializer`, `gamma_initializer`, `name`: see `ScaleOptions`.

    Attributes:
        weight: scale γ, of the lengths of the axes, or None.
        bias: offset β, of the same shape, or None.

    Raises:
        ArgumentError: if an axis is no whole number other than 0, or epsilon is not positive.
        UnknownNameError: on an unknown option or initializer.
        ShapeError: if the observations do not have these axes, or other lengths along them than before.

    Source: Ba, Kiros, Hinton, "Layer normalization", 2016; row R11 of the mission.

    >>> LayerNormalization()(torch.tensor([[1.0, 3.0], [10.0, 30.0]])).detach().round(decimals=2)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-3, **options: Unpack[ScaleOptions]) -> None:
        super().__init__(axis, name=options.get("name"))
        self.epsilon = above_zero("LayerNormalization(epsilon=)", epsilon)
        self.options = checked("LayerNormalization", options, ScaleOptions)

    def build(self, shape: Shape) -> None:
        """Declare scale and offset, one number for each place along the axes of `shape`."""
        super().build(shape)
        declare_scale(self, self.sizes, self.options)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized x, of x's shape (B, ...)."""
        moved = self._with_axes_last(x)
        return self._with_axes_back(F.layer_norm(moved, self.sizes, self.weight, self.bias, self.epsilon))

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return how many numbers share a mean, and the scales and offsets: one for each of them."""
        together, n = self._together(shape)
        line, total = scale_arithmetic(n, self.options)
        return Arithmetic(shape, total, (together, line))

    def _settings(self) -> list[str]:
        center, scale = self.options.get("center", True), self.options.get("scale", True)
        return super()._settings() + changed(epsilon=(self.epsilon, 1e-3), center=(center, True), scale=(scale, True))


class RMSNormalization(_OverAxes):
    """Divides the numbers of each observation by their root mean square along some axes, then multiplies by a learnable scale.

    z = γ x / √((1/H) Σ x² + epsilon), over the H numbers along the axes of one observation.

    Args:
        axis: an axis or several; the batch axis is 0, -1 the last one.
        epsilon: added to the mean square before the root.
        name: the layer's name.

    Attributes:
        weight: scale γ, of the lengths of the axes, from ones.

    Raises:
        ArgumentError: if an axis is no whole number other than 0, or epsilon is not positive.
        ShapeError: if the observations do not have these axes, or other lengths along them than before.

    Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.

    >>> RMSNormalization()(torch.tensor([[3.0, 4.0]])).detach()
    tensor([[0.8485, 1.1314]])
    """

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, *, name: str | None = None) -> None:
        super().__init__(axis, name=name)
        self.epsilon = above_zero("RMSNormalization(epsilon=)", epsilon)

    def build(self, shape: Shape) -> None:
        """Declare the scale, one number for each place along the axes of `shape`."""
        super().build(shape)
        self.weight = self.learnable(self.sizes, init="ones")

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized x, of x's shape (B, ...)."""
        wide = torch.promote_types(x.dtype, self.weight.dtype)  # under autocast x is narrower; torch's kernel takes one dtype
        z = F.rms_norm(self._with_axes_last(x).to(wide), self.sizes, self.weight.to(wide), self.epsilon)
        return self._with_axes_back(z).to(x.dtype)

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return how many numbers share a mean square, and the scales: one for each of them."""
        together, n = self._together(shape)
        line, total = scale_arithmetic(n, {"center": False})
        return Arithmetic(shape, total, (together, line))

    def _settings(self) -> list[str]:
        return super()._settings() + changed(epsilon=(self.epsilon, 1e-6))


class UnitNormalization(_OverAxes):
    """Divides the numbers of each observation by their length along some axes: z = x / max(√(Σ x²), 1e-12).

    Args:
        axis: an axis or several; the batch axis is 0, -1 the last one.
        name: the layer's name.

    Raises:
        ArgumentError: if an axis is no whole number other than 0.
        ShapeError: if the observations do not have these axes.

    Source: `keras.layers.UnitNormalization`.

    >>> UnitNormalization()(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x at length 1, of x's shape (B, ...)."""
        return F.normalize(x, dim=self.axes, eps=1e-12)  # type: ignore[arg-type]  # documented to take several axes

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return how many numbers share a length."""
        return Arithmetic(shape, 0, (self._together(shape)[0], "parameters: none"))


class LocalResponseNormalization(Layer):
    """Divides each number by the activity of its neighbours: the same place in the channels around its own.

    zᵢ = xᵢ / (k + alpha Σⱼ xⱼ²)^beta, where j runs over `size` channels around i, those that there are. These are the constants
    and the formula of AlexNet. torch divides alpha by the size: its alpha is this one times `size`.

    Args:
        size: n, channels in the sum; size // 2 of them before i and (size - 1) // 2 after it.
        alpha: weight of the sum of squares.
        beta: exponent.
        k: what is added to the sum, above 0.
        name: the layer's name.

    Raises:
        ArgumentError: if the size is no whole number of at least 1, alpha or beta is negative, or k is not positive.
        ShapeError: if the observations have no channels.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012, section 3.3;
    row R11 of the mission.

    >>> LocalResponseNormalization(3, alpha=1, beta=1, k=1)(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[0.1667, 0.1333, 0.1000, 0.1538]])
    """

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0, *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.size = positive("LocalResponseNormalization(size=)", size)
        for key, value in (("alpha", alpha), ("beta", beta), ("k", k)):
            if not is_number(value) or not 0 <= value < math.inf or (key == "k" and value == 0):
                raise ArgumentError(
                    complaint(
                        f"LocalResponseNormalization({key}=)",
                        expected="a number above 0" if key == "k" else "a number of at least 0",
                        received=f"{value!r}",
                        fix="Leave it out for AlexNet's constants",
                    )
                )
        self.alpha, self.beta, self.k = float(alpha), float(beta), float(k)

    def check_input(self, shape: Shape) -> None:
        """Refuse observations without channels.

        Raises:
            ShapeError: saying what was expected.
        """
        if not shape:
            raise ShapeError(
                complaint(
                    self.label, expected="input (batch, channels, ...)", received="(batch,), 1 axis", fix="Pass x[:, None]"
                )
            )

    def build(self, shape: Shape) -> None:
        """Nothing to declare; the shape tells a batch from one observation under vmap."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, damped where its neighbours are large, of x's shape (B, C, ...)."""
        batch = x[None] if x.dim() == len(self.input_shape or ()) else x
        flat = batch.flatten(2) if batch.dim() > 2 else batch[..., None]  # (B, C, L): torch's other path needs whole memory
        return F.local_response_norm(flat, self.size, self.size * self.alpha, self.beta, self.k).reshape(x.shape)

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return the channels that each number is compared with."""
        before, after = self.size // 2, (self.size - 1) // 2
        return Arithmetic(shape, 0, (f"channels in a sum: {before} + 1 + {after} = {self.size}", "parameters: none"))

    def extra_repr(self) -> str:
        """Return the size and what differs from the defaults."""
        rest = changed(alpha=(self.alpha, 1e-4), beta=(self.beta, 0.75), k=(self.k, 2.0))
        return ", ".join([f"size={self.size}", *rest])
