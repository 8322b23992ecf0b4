"""PReLU: a rectifier that learns its slope below zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Tensor

from laminar import initializers
from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.base import Layer
from laminar.shapes import Shape, format_batch

__all__ = ["PReLU"]


class PReLU(Layer):
    """Parametric rectified linear unit: z = x for x > 0, alpha x for x <= 0, with alpha learned for each channel or unit.

    Its derivatives: dL/dx = dL/dz (1[x > 0] + alpha 1[x <= 0]), and dL/dalpha = the sum over all that share this alpha of
    x dL/dz where x <= 0.

    Args:
        alpha_initializer: where alpha starts: a number, or an initializer or its name. Keras' default, "zeros", is a ReLU at
            first; the paper and torch start at 0.25.
        shared_axes: who shares an alpha. "positions" (the default, as in torch): one alpha for each channel, shared by all
            positions in it. None: every unit has its own, Keras' default. Axes of the batch, (2, 3) for height and width:
            these share, as in Keras.
        name: the layer's name.

    Attributes:
        alpha: (C,) where it is shared by positions, torch's layout; else of the observation's shape, with length 1 along
            shared axes, Keras' layout.

    Raises:
        ArgumentError: if `shared_axes` are no axes.
        ShapeError: if the observations have no such axes, or another shape than alpha was built for.

    Source: He et al., "Delving deep into rectifiers", 2015; row R8 of the mission.

    >>> PReLU(0.25)(torch.tensor([[-2.0, 0.0, 2.0]])).tolist()
    [[-0.5, 0.0, 2.0]]
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        shared_axes: Literal["positions"] | int | Sequence[int] | None = "positions",
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        initializers.get(alpha_initializer)
        self.alpha_initializer = alpha_initializer
        self.shared_axes = _axes(shared_axes)

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape without channels or shared axes, or another one than alpha was built for.

        Raises:
            ShapeError: saying what was expected.
        """
        if not shape:
            raise ShapeError(
                complaint(
                    self.label, expected="input (batch, channels, ...)", received="(batch,), 1 axis", fix="Pass x[:, None]"
                )
            )
        shared = [] if self.shared_axes == "positions" else self.shared_axes
        if shared and max(shared) > len(shape):
            received, fix = format_batch(shape), f"Pass shared_axes of {', '.join(map(str, range(1, len(shape) + 1)))}"
            raise ShapeError(complaint(self.label, expected=f"a batch with an axis {max(shared)}", received=received, fix=fix))
        if self.built and self._alpha_shape(shape) != tuple(self.alpha.shape):
            own = self._alpha_shape(shape)
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"input for its alpha of shape {tuple(self.alpha.shape)}",
                    received=f"{format_batch(shape)}, which needs one of shape {own}",
                    fix="Give it the shape that it was built for, or build a new layer",
                )
            )

    def _alpha_shape(self, shape: Shape) -> Shape:
        if self.shared_axes == "positions":
            return shape[:1]
        return tuple(1 if axis in self.shared_axes else n for axis, n in enumerate(shape, 1))

    def build(self, shape: Shape) -> None:
        """Declare alpha for observations of `shape` (C, ...)."""
        self.alpha = self.learnable(self._alpha_shape(shape), init=self.alpha_initializer)

    def forward(self, x: Tensor) -> Tensor:
        """Return x where it is above 0 and alpha x elsewhere, of x's shape (B, C, ...)."""
        alpha = self.per_channel(self.alpha, x) if self.shared_axes == "positions" else self.alpha.to(x.dtype)
        return torch.where(x > 0, x, alpha * x)

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return the parameters: one for each channel, or for each unit that shares with none."""
        lengths = self._alpha_shape(shape)
        total = 1
        for n in lengths:
            total *= n
        return Arithmetic(shape, total, (f"parameters: {'×'.join(map(str, lengths))} slopes = {count(total)}",))

    def extra_repr(self) -> str:
        """Return what differs from the defaults."""
        parts = [] if self.alpha_initializer == "zeros" else [f"alpha_initializer={self.alpha_initializer!r}"]
        if self.shared_axes != "positions":
            parts.append(f"shared_axes={self.shared_axes or None}")
        return ", ".join(parts)


def _axes(given: Any) -> Literal["positions"] | tuple[int, ...]:
    """Return the shared axes of the batch, () for none."""
    if given == "positions":
        return "positions"
    entries: list[Any] = [] if given is None else list(given) if isinstance(given, Iterable) else [given]
    if isinstance(given, str) or any(isinstance(n, bool) or not isinstance(n, Integral) or n < 1 for n in entries):
        raise ArgumentError(
            complaint(
                "PReLU(shared_axes=)",
                expected='"positions", None, or axes of the batch from 1',
                received=f"{given!r}",
                fix="Pass (2, 3) for height and width, say",
            )
        )
    return tuple(int(n) for n in entries)
