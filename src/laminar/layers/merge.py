"""Layers that make one output of several inputs: element by element, side by side, or by products along an axis."""

from __future__ import annotations

import functools
import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.activation import check_axis, needed_axes
from laminar.layers.arithmetic import Arithmetic
from laminar.layers.base import Layer
from laminar.shapes import Shape, format_batch

__all__ = ["Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"]


class _Several(Layer):
    """The base of layers that take two inputs or more, as layer(a, b) or layer([a, b]).

    Attributes:
        at_most: how many inputs it can take.
        same_axes: whether all must have the same number of axes.
    """

    at_most: ClassVar[float] = math.inf
    same_axes: ClassVar[bool] = True

    def check_input(self, *shapes: Shape) -> None:
        """Refuse another number of inputs than this layer can take.

        Raises:
            ShapeError: saying how many it takes.
        """
        if not 2 <= len(shapes) <= self.at_most:
            expected = "two inputs" if self.at_most == 2 else "two inputs or more"
            fix = f"Call {type(self).__name__}()(a, b) or {type(self).__name__}()([a, b])"
            raise ShapeError(complaint(self.label, expected=expected, received=_both(shapes), fix=fix))

    @abstractmethod
    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the output for inputs that have been counted."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the inputs (B, ...) merged."""
        counted = 2 <= len(inputs) <= self.at_most
        if not counted or (self.same_axes and any(x.dim() != inputs[0].dim() for x in inputs)):
            self.check_input(*(tuple(x.shape[1:]) for x in inputs))  # torch would take them in another sense
        return self.merge(inputs)


class _ElementWise(_Several):
    """The base of layers that merge element by element.

    An axis of length 1 goes with any length, as in torch, so that (C, 1, 1) scales the channels of (C, H, W). The number of
    axes must be the same.
    """

    def check_input(self, *shapes: Shape) -> None:
        """Refuse shapes that do not go together.

        Raises:
            ShapeError: naming two of them.
        """
        super().check_input(*shapes)
        for one, other in itertools.combinations(shapes, 2):
            self._check_pair(one, other)

    def _check_pair(self, one: Shape, other: Shape) -> None:
        longer, shorter = (one, other) if len(one) > len(other) else (other, one)
        if len(longer) != len(shorter):
            fitting = (*shorter, *(1,) * (len(longer) - len(shorter)))
            goes = all(n in (m, 1) or m == 1 for n, m in zip(fitting, longer, strict=True))
            fix = f"Add Reshape({fitting}) to the one with fewer axes" if goes else "Bring them to one shape with Reshape"
        elif all(n == m or 1 in (n, m) for n, m in zip(one, other, strict=True)):
            return
        else:
            fix = "Bring them to one shape"
            if one[1:] == other[1:]:
                fix = "Give both as many channels, or use Concatenate() to put one behind the other"
            elif one[:1] == other[:1]:
                fix = "Give both the same sizes, by strides, pooling or padding in the branch of the larger one"
        raise ShapeError(complaint(self.label, expected="inputs of one shape", received=_both((one, other)), fix=fix))

    def arithmetic(self, *shapes: Shape) -> Arithmetic:
        """Return the one shape of all inputs."""
        output = tuple(torch.broadcast_shapes(*shapes))
        return Arithmetic(output, 0, (f"output {output}, as the inputs {_both(shapes)}", "parameters: none"))


class Add(_ElementWise):
    """The sum of its inputs, element by element; an axis of length 1 goes with any length.

    Source: `keras.layers.Add`.

    >>> Add()(torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]]))
    tensor([[11., 22.]])
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return a + b + ..., (B, ...)."""
        return functools.reduce(torch.add, inputs)


class Subtract(_ElementWise):
    """The first input minus the second, element by element; an axis of length 1 goes with any length.

    Source: `keras.layers.Subtract`.

    >>> Subtract()([torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]])])
    tensor([[ -9., -18.]])
    """

    at_most = 2

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return a - b, (B, ...)."""
        return inputs[0] - inputs[1]


class Multiply(_ElementWise):
    """The product of its inputs, element by element; an axis of length 1 goes with any length.

    Source: `keras.layers.Multiply`.

    >>> Multiply()(torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]]))
    tensor([[10., 40.]])
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return a · b · ..., (B, ...)."""
        return functools.reduce(torch.mul, inputs)


class Average(_ElementWise):
    """The mean of its inputs, element by element; an axis of length 1 goes with any length.

    Source: `keras.layers.Average`.

    >>> Average()(torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]]))
    tensor([[ 5.5000, 11.0000]])
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return (a + b + ...) / their number, (B, ...)."""
        return functools.reduce(torch.add, inputs) / len(inputs)


class Maximum(_ElementWise):
    """The largest of its inputs, element by element; an axis of length 1 goes with any length.

    Source: `keras.layers.Maximum`.

    >>> Maximum()(torch.tensor([[1.0, 30.0]]), torch.tensor([[10.0, 20.0]]))
    tensor([[10., 30.]])
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return max(a, b, ...), (B, ...)."""
        return functools.reduce(torch.maximum, inputs)


class Minimum(_ElementWise):
    """The smallest of its inputs, element by element; an axis of length 1 goes with any length.

    Source: `keras.layers.Minimum`.

    >>> Minimum()(torch.tensor([[1.0, 30.0]]), torch.tensor([[10.0, 20.0]]))
    tensor([[ 1., 20.]])
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return min(a, b, ...), (B, ...)."""
        return functools.reduce(torch.minimum, inputs)


class Concatenate(_Several):
    """Puts its inputs one behind the other along an axis: (C, H, W) and (D, H, W) become (C + D, H, W).

    Args:
        axis: of the batch: 1, the channels, unless said otherwise; Keras has -1, where its channels lie. The batch itself,
            axis 0, is none.
        name: the layer's name.

    Raises:
        ArgumentError: if the axis is not a whole number, or the batch's.
        ShapeError: if the inputs differ in another axis.

    Source: `keras.layers.Concatenate`.

    >>> Concatenate()(torch.zeros(2, 3, 8, 8), torch.zeros(2, 5, 8, 8)).shape
    torch.Size([2, 8, 8, 8])
    """

    def __init__(self, axis: int = 1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.axis = check_axis("Concatenate", axis)

    def check_input(self, *shapes: Shape) -> None:
        """Refuse shapes that differ in another axis than the one they are joined along.

        Raises:
            ShapeError: naming two of them.
        """
        super().check_input(*shapes)
        first, needed = shapes[0], needed_axes(self.axis)
        if len(first) + 1 < needed:
            expected, fix = f"batches of at least {needed} axes", "Pass axis=-1 for the last axis"
            raise ShapeError(complaint(self.label, expected=expected, received=_both(shapes), fix=fix))
        for shape in shapes[1:]:
            if len(shape) != len(first) or self._others(shape) != self._others(first):
                axis = self._place(first) + 1
                expected, fix = f"inputs of one shape but for axis {axis}", "Bring the other axes to the same lengths"
                raise ShapeError(complaint(self.label, expected=expected, received=_both((first, shape)), fix=fix))

    def _place(self, shape: Shape) -> int:
        """Return where the axis is in the shape of an observation."""
        return self.axis - 1 if self.axis > 0 else len(shape) + self.axis

    def _others(self, shape: Shape) -> Shape:
        place = self._place(shape)
        return (*shape[:place], *shape[place + 1 :])

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the inputs joined, (B, C + D + ..., ...)."""
        return torch.cat(list(inputs), self.axis)

    def arithmetic(self, *shapes: Shape) -> Arithmetic:
        """Return the sum of the lengths."""
        place = self._place(shapes[0])
        lengths = [shape[place] for shape in shapes]
        line = f"axis {place + 1}: {' + '.join(map(str, lengths))} = {sum(lengths)}"
        return Arithmetic((*shapes[0][:place], sum(lengths), *shapes[0][place + 1 :]), 0, (line, "parameters: none"))

    def extra_repr(self) -> str:
        """Return the axis where it is not that of the channels."""
        return "" if self.axis == 1 else f"axis={self.axis}"


class Dot(_Several):
    """Scalar products of two inputs along an axis of each: z[b, i.., j..] = the sum over k of x[b, i.., k] y[b, j.., k].

    What is left of the first input's axes comes first, then what is left of the second's; where nothing is left, (1,).

    Args:
        axes: of the batch, along which the products are taken: one for both inputs, or one for each. Not axis 0.
        normalize: whether both are scaled to length 1 along that axis first, so that the products are cosines.
        name: the layer's name.

    Raises:
        ArgumentError: if `axes` are no axes.
        ShapeError: if the inputs have no such axes, or of different lengths.

    Source: `keras.layers.Dot`.

    >>> Dot(1)(torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]]))
    tensor([[50.]])
    >>> Dot((2, 1))(torch.zeros(7, 3, 4), torch.zeros(7, 4, 5)).shape
    torch.Size([7, 3, 5])
    """

    at_most = 2
    same_axes = False

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, *, name: str | None = None) -> None:
        super().__init__(name=name)
        pair: list[Any] = [axes, axes] if isinstance(axes, Integral) else list(axes) if isinstance(axes, Sequence) else [axes]
        if len(pair) != 2 or any(isinstance(n, bool) or not isinstance(n, Integral) or n == 0 for n in pair):
            expected = "an axis of the batch other than 0, or one for each of two inputs"
            raise ArgumentError(complaint("Dot(axes=)", expected=expected, received=f"{axes!r}", fix="Pass axes=1, say"))
        self.axes = (int(pair[0]), int(pair[1]))
        self.normalize = bool(normalize)

    def check_input(self, *shapes: Shape) -> None:
        """Refuse shapes whose axes do not have the same length.

        Raises:
            ShapeError: naming both.
        """
        super().check_input(*shapes)
        lengths = []
        for shape, axis in zip(shapes, self.axes, strict=True):
            if len(shape) + 1 < needed_axes(axis):
                expected, fix = f"a batch with an axis {axis}", "Pass axes that both inputs have"
                raise ShapeError(complaint(self.label, expected=expected, received=format_batch(shape), fix=fix))
            lengths.append(shape[axis - 1 if axis > 0 else axis])
        if lengths[0] != lengths[1]:
            expected = f"axes of one length, axis {self.axes[0]} of the first input and axis {self.axes[1]} of the second"
            received = f"{_both(shapes)}, of lengths {lengths[0]} and {lengths[1]}"
            raise ShapeError(complaint(self.label, expected=expected, received=received, fix="Choose other axes"))

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the products, (B, ..., ...)."""
        x, y = (t.movedim(axis, -1) for t, axis in zip(inputs, self.axes, strict=True))  # (B, ..., K) each
        if self.normalize:
            x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
        rows, columns = x.shape[1:-1], y.shape[1:-1]
        z = x.flatten(1, -2) if rows else x[:, None]  # (B, M, K)
        w = y.flatten(1, -2) if columns else y[:, None]  # (B, N, K)
        products = z @ w.transpose(1, 2)  # (B, M, N)
        return products.reshape(x.shape[0], *(rows + columns or (1,)))

    def arithmetic(self, *shapes: Shape) -> Arithmetic:
        """Return what is left of both shapes."""
        places = [axis - 1 if axis > 0 else len(shape) + axis for shape, axis in zip(shapes, self.axes, strict=True)]
        left = [n for shape, place in zip(shapes, places, strict=True) for i, n in enumerate(shape) if i != place]
        length = shapes[0][places[0]]
        output = tuple(left) or (1,)
        line = f"products of {length} numbers, for each of what is left of {_both(shapes)}"
        return Arithmetic(output, 0, (line, "parameters: none"))

    def extra_repr(self) -> str:
        """Return the axes, and that lengths are 1."""
        axes = self.axes[0] if self.axes[0] == self.axes[1] else self.axes
        return f"axes={axes}{', normalize=True' if self.normalize else ''}"


def _both(shapes: Sequence[Shape]) -> str:
    return " and ".join(map(format_batch, shapes)) or "nothing"
