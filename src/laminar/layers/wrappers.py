"""Layers around a layer: Bidirectional runs two over a sequence, TimeDistributed one at every step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic, count, default_arithmetic
from laminar.layers.base import Layer
from laminar.layers.recurrence import Recurrence, State
from laminar.shapes import Shape, format_batch, format_shape

__all__ = ["Bidirectional", "TimeDistributed"]

MergeMode: TypeAlias = Literal["concat", "sum", "mul", "ave"] | None

_MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda a, b: torch.cat((a, b), -1),
    "sum": torch.add,
    "mul": torch.mul,
    "ave": lambda a, b: (a + b) / 2,
}
_SHARED = ("stateful", "return_sequences", "return_state")


class Bidirectional(Layer):
    """Runs a recurrent layer over the steps, another one from last to first, and merges what they return.

    Returned sequences are both in the order of the input, and zero at masked steps.

    Args:
        layer: a SimpleRNN, GRU or LSTM that is not built yet; a copy of it runs forward, and one with the other direction back.
        merge_mode: "concat" joins the features, "sum", "mul" and "ave" go element by element, None returns both.
        backward_layer: what runs the other way, instead of the copy.
        name: the layer's name.

    Attributes:
        forward_layer, backward_layer: the two.

    Raises:
        ArgumentError: if a layer is not recurrent, is built already, both run in one direction, they differ in what they
            return, or there is no such merge mode.

    Source: Schuster, Paliwal, "Bidirectional recurrent neural networks", 1997; row R28 of the mission.

    >>> from laminar import layers as L
    >>> Bidirectional(L.LSTM(4, return_sequences=True))(torch.zeros(2, 10, 8)).shape
    torch.Size([2, 10, 8])
    """

    def __init__(
        self,
        layer: Recurrence,
        merge_mode: MergeMode = "concat",
        backward_layer: Recurrence | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if merge_mode is not None and merge_mode not in _MERGES:
            expected = f"{', '.join(map(repr, _MERGES))} or None"
            raise _wrong("merge_mode", expected, f"{merge_mode!r}", 'Pass merge_mode="concat"')
        self.merge_mode = merge_mode
        self.forward_layer = _renamed(_unbuilt("layer", layer), "forward")
        if backward_layer is None:
            self.backward_layer = _renamed(layer, "backward")
            self.backward_layer.go_backwards = not layer.go_backwards
        else:
            self.backward_layer = _recurrent("backward_layer", backward_layer)
        self._check_pair()
        for part in (self.forward_layer, self.backward_layer):
            part.zero_output_for_mask = part.return_sequences

    def _check_pair(self) -> None:
        one, other = self.forward_layer, self.backward_layer
        if one.go_backwards == other.go_backwards:
            received = f"go_backwards={one.go_backwards} in both"
            fix = f"Give it go_backwards={not one.go_backwards}"
            raise _wrong("backward_layer", "a layer that runs the other way", received, fix)
        for setting in _SHARED:
            if getattr(one, setting) != getattr(other, setting):
                value = getattr(one, setting)
                raise _wrong("backward_layer", f"{setting}={value}, as in layer", f"{not value}", f"Give it {setting}={value}")
        if self.merge_mode not in (None, "concat") and one.units != other.units:
            expected = f"{one.units} units, to be merged by {self.merge_mode!r}"
            raise _wrong("backward_layer", expected, f"{other.units}", 'Give it as many, or pass merge_mode="concat"')

    def check_input(self, shape: Shape, *others: Shape) -> None:
        """Refuse a shape that the layers cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.forward_layer.check_input(shape)
        self.backward_layer.check_input(shape)

    def build(self, shape: Shape, *others: Shape) -> None:
        """Declare nothing: the two layers are given their places, and build themselves when they are called."""

    def forward(self, x: Tensor, initial_state: State | None = None, mask: Tensor | None = None) -> Any:
        """Return what both returned, merged; behind it the states of the forward, then of the backward layer.

        Args:
            x: (B, steps, features).
            initial_state: the forward layer's states, then the backward layer's, (B, units) each; zeros where None.
            mask: (B, steps), True for steps that count.
        """
        half = len(self.forward_layer.state_names)
        starts = (None, None) if initial_state is None else (initial_state[:half], initial_state[half:])
        z = self.forward_layer(x, initial_state=starts[0], mask=mask)
        back = self.backward_layer(x, initial_state=starts[1], mask=mask)
        states: tuple[Tensor, ...] = ()
        if self.forward_layer.return_state:
            (z, *own), (back, *others) = z, back
            states = (*own, *others)
        if self.forward_layer.return_sequences:
            z, back = (t.flip(1) if p.go_backwards else t for t, p in ((z, self.forward_layer), (back, self.backward_layer)))
        merged = (z, back) if self.merge_mode is None else (_MERGES[self.merge_mode](z, back),)
        returned = (*merged, *states)
        return returned[0] if len(returned) == 1 else returned

    def reset_states(self) -> None:
        """Let the next batch of stateful layers start from zeros."""
        self.forward_layer.reset_states()
        self.backward_layer.reset_states()

    def arithmetic(self, shape: Shape, *others: Shape) -> Arithmetic:
        """Return the arithmetic of the two layers, and how their outputs are merged."""
        one, other = self.forward_layer.arithmetic(shape), self.backward_layer.arithmetic(shape)
        total = one.parameters + other.parameters
        (a, *own), (b, *theirs) = one.outputs, other.outputs
        outputs: tuple[Shape, ...] = (a, b)
        merge = "output: both, one after the other"
        if self.merge_mode == "concat":
            outputs = ((*a[:-1], a[-1] + b[-1]),)
            merge = f"features: {a[-1]} + {b[-1]} = {a[-1] + b[-1]}"
        elif self.merge_mode is not None:
            outputs, merge = (a,), f"output {format_shape(a)}: the {self.merge_mode} of both, element by element"
        lines = (
            f"forward {one.lines[0]}",
            f"backward {other.lines[0]}",
            f"parameters: {count(one.parameters)} + {count(other.parameters)} = {count(total)}",
            *one.lines[1:-1],
            merge,
        )
        outputs = (*outputs, *own, *theirs)
        return Arithmetic(outputs[0] if len(outputs) == 1 else outputs, total, lines)

    def extra_repr(self) -> str:
        """Return the merge mode, and the layer that runs forward."""
        part = self.forward_layer
        return f"{type(part).__name__}({part.extra_repr()}), merge_mode={self.merge_mode!r}"


class TimeDistributed(Layer):
    """Applies one layer, with the same weights, to every step: (B, steps, ...) is taken as B·steps observations (...).

    Args:
        layer: any layer or `torch.nn.Module` of one input and one output.
        name: the layer's name.

    Attributes:
        layer: the layer.

    Raises:
        ArgumentError: if `layer` is no module.
        ShapeError: if the input has no axis of steps.

    Source: row R28 of the mission.

    >>> from laminar import layers as L
    >>> TimeDistributed(L.Conv2D(2, 3))(torch.zeros(4, 10, 1, 8, 8)).shape
    torch.Size([4, 10, 2, 6, 6])
    """

    def __init__(self, layer: nn.Module, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if not isinstance(layer, nn.Module):
            raise ArgumentError(
                complaint(
                    "TimeDistributed(layer=)",
                    expected="a layer or torch.nn.Module",
                    received=type(layer).__name__,
                    fix="Pass Dense(10), say",
                )
            )
        self.layer = layer

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape without steps, or with steps that the layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        if not shape:
            raise ShapeError(
                complaint(
                    self.label, expected="input (batch, steps, ...)", received=format_batch(shape), fix="Pass x[:, None], say"
                )
            )
        if isinstance(self.layer, Layer):
            self.layer.check_input(shape[1:])

    def build(self, shape: Shape) -> None:
        """Declare nothing: the layer is given its place, and builds itself when it is called."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, steps, ...), the layer's output for each step of x (B, steps, ...)."""
        z: Tensor = self.layer(x.flatten(0, 1))
        steps: Tensor = z.unflatten(0, x.shape[:2])
        return steps

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return the arithmetic of the layer at one step."""
        inner = self.layer
        own = inner.arithmetic(shape[1:]) if isinstance(inner, Layer) else default_arithmetic(inner, [shape[1:]])
        output = (shape[0], *own.outputs[0])
        return Arithmetic(output, own.parameters, (*own.lines, f"the same at each of the {shape[0]} steps"))

    def extra_repr(self) -> str:
        """Return the layer."""
        settings = self.layer.extra_repr() if isinstance(self.layer, Layer) else ""
        return f"{type(self.layer).__name__}({settings})"


def _wrong(argument: str, expected: str, received: str, fix: str) -> ArgumentError:
    return ArgumentError(complaint(f"Bidirectional({argument}=)", expected=expected, received=received, fix=fix))


def _recurrent(argument: str, layer: object) -> Recurrence:
    if not isinstance(layer, Recurrence):
        raise _wrong(argument, "a SimpleRNN, GRU or LSTM", type(layer).__name__, "Pass LSTM(4), say")
    return layer


def _unbuilt(argument: str, layer: object) -> Recurrence:
    checked = _recurrent(argument, layer)
    if checked.built:
        raise _wrong(argument, "a layer that is not built yet", "one with weights", "Pass a new one; load weights afterwards")
    return checked


def _renamed(layer: Recurrence, direction: str) -> Recurrence:
    copied = copy.deepcopy(layer)
    copied.name = f"{direction}_{layer.name}"
    return copied
