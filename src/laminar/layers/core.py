"""Layers without geometry: Dense, Flatten, Reshape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypedDict, TypeVar, Unpack

from torch import Tensor, nn
from torch.nn import functional as F

from laminar import initializers
from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.kernels import switch
from laminar.kernels.functions import dense as one_pass_dense
from laminar.kernels.parts import Part
from laminar.layers.activation import ActivatedLayer
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.base import Layer
from laminar.names import unknown_name
from laminar.shapes import Shape, format_batch, format_shape, normalize_shape

__all__ = ["Dense", "FeatureLayer", "Flatten", "Reshape", "WeightOptions", "WeightedLayer", "checked", "is_number", "positive"]


_FEW, _MANY = 16, 512  # units and features between which a kernel reads the input faster than a matrix product


class WeightOptions(TypedDict, total=False):
    """How the weights of a Dense or convolution layer start.

    Attributes:
        use_bias: whether a bias is added (True).
        kernel_initializer: initializer of the weights ("glorot_uniform").
        bias_initializer: initializer of the bias ("zeros").
        name: the layer's name.
    """

    use_bias: bool
    kernel_initializer: Any
    bias_initializer: Any
    name: str | None


def positive(where: str, value: object, *, least: int = 1) -> int:
    """Return `value` if it is a whole number of at least `least`.

    Raises:
        ArgumentError: otherwise.

    >>> positive("Dense(units=)", 10)
    10
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ArgumentError(
            complaint(
                where,
                expected=f"a whole number of at least {least}",
                received=f"{value!r}",
                fix=f"Pass {least} or more",
            )
        )
    return int(value)


def is_number(value: object) -> bool:
    """Return whether `value` is one real number, Python's or NumPy's.

    >>> is_number(0.5), is_number("0.5"), is_number(True)
    (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


Options = TypeVar("Options", bound=Mapping[str, Any])


def checked(owner: str, options: Options, table: type = WeightOptions) -> Options:
    """Return the options of layer class `owner`, having looked up their names.

    Args:
        owner: the class, for the message.
        options: as given.
        table: the TypedDict that lists those there are.

    Raises:
        UnknownNameError: on an unknown option or initializer.

    >>> checked("Dense", {"use_bias": False})
    {'use_bias': False}
    """
    for name in options:
        if name not in table.__annotations__:
            raise unknown_name(f"{owner}: argument", name, table.__annotations__)
        if name.endswith("_initializer"):
            initializers.get(options[name])
    return options


class WeightedLayer(ActivatedLayer):
    """The base of layers with a weight and a bias, Dense and the convolutions: how these are declared.

    Args:
        activation: name or function; None for none.
        options: what the user gave of those in `table`.
        table: the TypedDict that lists the options there are.

    Raises:
        UnknownNameError: on an unknown activation, initializer or option.
    """

    def __init__(
        self,
        activation: str | Callable[[Tensor], Tensor] | None,
        options: Mapping[str, Any],
        table: type = WeightOptions,
    ) -> None:
        super().__init__(activation, name=options.get("name"))
        self.options = checked(type(self).__name__, options, table)

    @property
    def use_bias(self) -> bool:
        """Whether the layer has a bias."""
        return bool(self.options.get("use_bias", True))

    def new_weight(self, shape: Shape, initializer: str = "kernel_initializer") -> nn.Parameter:
        """Return a new weight of `shape`, started as the option called `initializer` says."""
        return self.learnable(shape, init=self.options.get(initializer, "glorot_uniform"))

    def new_bias(self, length: int) -> nn.Parameter | None:
        """Return a new bias of `length` numbers, or None for a layer without."""
        return self.learnable(length, init=self.options.get("bias_initializer", "zeros")) if self.use_bias else None


class FeatureLayer(WeightedLayer):
    """What layers share that mix the features of an observation, its last axis, with a weight (outputs, features)."""

    channel_axis = -1

    weight: nn.Parameter

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        if not shape:
            raise ShapeError(
                complaint(self.label, expected="input (batch, features)", received="(batch,), 1 axis", fix="Pass x[:, None]")
            )
        if self.built and shape[-1] != self.weight.shape[1]:
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"input of {self.weight.shape[1]} features",
                    received=f"{format_batch(shape)}, {shape[-1]} features",
                    fix=f"Give it {self.weight.shape[1]} features, or build a new layer",
                )
            )


class Dense(FeatureLayer):
    """Fully connected layer: z = activation(x Wᵀ + b).

    Args:
        units: outputs, a whole number of at least 1.
        activation: name or function; None for none. A softmax sums over the units, the last axis.
        **options: `use_bias`, `kernel_initializer`, `bias_initializer`, `name`: see `WeightOptions`.

    Attributes:
        weight: (units, features), torch's layout.
        bias: (units,), or None.

    Raises:
        ShapeError: if the observations have no axis.
        UnknownNameError: on an unknown activation or initializer.

    Source: rows R5 and R15 of the mission; `torch.nn.functional.linear`.

    >>> import torch
    >>> Dense(3)(torch.zeros(2, 5)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        units: int,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        **options: Unpack[WeightOptions],
    ) -> None:
        super().__init__(activation, options)
        self.units = positive("Dense(units=)", units)

    def build(self, shape: Shape) -> None:
        """Declare weight and bias for observations of `shape` (..., features)."""
        self.weight = self.new_weight((self.units, shape[-1]))
        self.bias = self.new_bias(self.units)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, ..., units) from x of shape (B, ..., features)."""
        units, features = self.weight.shape
        few = isinstance(x, Tensor) and x.dim() == 2 and x.shape[1] == features >= _MANY and units <= _FEW
        linear = one_pass_dense if few and switch.serve(x, self.weight, self.bias, part=Part.CONTIGUOUS) else F.linear
        return self.activate(linear(x, self.weight, self.bias))

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return the parameters: a weight for each unit and feature, a bias for each unit."""
        total = self.units * (shape[-1] + self.use_bias)
        biases = f" + {self.units} biases" if self.use_bias else ""
        line = f"parameters: {self.units} units of {shape[-1]} weights{biases} = {count(total)}"
        return Arithmetic((*shape[:-1], self.units), total, (line,))

    def extra_repr(self) -> str:
        """Return the units and the activation."""
        return ", ".join(filter(None, [f"units={self.units}", super().extra_repr()]))


class Flatten(Layer):
    """Makes one axis of all axes but the batch: (B, C, H, W) becomes (B, C·H·W), and (B,) becomes (B, 1).

    Source: row R5 of the mission; `torch.flatten`.

    >>> import torch
    >>> Flatten()(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 48])
    """

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return the product of the axes."""
        total = math.prod(shape)
        return Arithmetic((total,), 0, (f"output: {'×'.join(map(str, shape)) or '1'} = {count(total)}", "parameters: none"))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, product of the other axes) from x of shape (B, ...)."""
        return x.flatten(1) if x.dim() > 1 else x[:, None]


class Reshape(Layer):
    """Gives every observation another shape with as many numbers.

    Args:
        shape: the new shape without the batch axis; one entry may be -1.
        name: the layer's name.

    Raises:
        ArgumentError: if the shape cannot be one.
        ShapeError: when called, if the numbers of an observation do not fit the shape.

    Source: `keras.layers.Reshape`.

    >>> import torch
    >>> Reshape((1, 28, 28))(torch.zeros(2, 784)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(self, shape: int | Sequence[int], *, name: str | None = None) -> None:
        super().__init__(name=name)
        entries: list[Any] = list(shape) if isinstance(shape, Iterable) else [shape]
        whole = all(isinstance(n, Integral) and not isinstance(n, bool) and (int(n) > 0 or n == -1) for n in entries)
        if not whole or entries.count(-1) > 1:
            raise ArgumentError(
                complaint(
                    "Reshape(shape=)",
                    expected="whole numbers of at least 1, one of which may be -1",
                    received=f"{shape!r}",
                    fix="Pass (1, 28, 28), say",
                )
            )
        self.shape = normalize_shape(entries)

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape of another number of numbers.

        Raises:
            ShapeError: saying what was expected.
        """
        have = math.prod(shape)
        want = math.prod(n for n in self.shape if n != -1)
        if have % want if -1 in self.shape else have != want:
            multiple = "a multiple of " if -1 in self.shape else ""
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"observations of {multiple}{want} numbers, for shape {format_shape(self.shape)}",
                    received=f"{format_batch(shape)}, {have} numbers in each",
                    fix="Give Reshape a shape with as many numbers",
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, *shape) from x of shape (B, ...)."""
        if -1 not in self.shape:
            return x.reshape(x.shape[0], *self.shape)
        left_over = math.prod(x.shape[1:]) // -math.prod(self.shape)  # torch cannot tell for a batch of none
        return x.reshape(x.shape[0], *(left_over if n == -1 else n for n in self.shape))

    def extra_repr(self) -> str:
        """Return the shape."""
        return f"shape={format_shape(self.shape)}"
