"""What the recurrent layers share: one cell that goes over the steps of a sequence, its states, masks and dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laminar import activations
from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.base import Layer
from laminar.layers.core import checked, is_number, positive
from laminar.shapes import Shape, format_batch, format_shape, tracing

__all__ = ["Function", "Recurrence", "RecurrentOptions", "State", "States"]

State: TypeAlias = Tensor | Sequence[Tensor]
"""An initial state as callers give it: one tensor (B, units), or several."""

States: TypeAlias = tuple[Tensor, ...]

Function: TypeAlias = str | Callable[[Tensor], Tensor] | None


class RecurrentOptions(TypedDict, total=False):
    """What every recurrent layer can be told besides its units and activations.

    Attributes:
        use_bias: whether biases are added (True).
        kernel_initializer: of the weights that read the input ("glorot_uniform").
        recurrent_initializer: of the weights that read the state ("orthogonal").
        bias_initializer: of the biases ("zeros").
        return_sequences: whether the output is h of every step (B, steps, units), not of the last one alone (False).
        return_state: whether the states (B, units) after the last step are returned behind the output (False).
        go_backwards: whether the steps are read from last to first; so is the order of a returned sequence (False).
        stateful: whether a batch goes on from the states of the batch before it, sequence i from sequence i, until
            `reset_states()` (False). No gradient flows back to the earlier batch, and the states are not saved.
        zero_output_for_mask: whether the output of a masked step is zero, not that of the step before it (False).
        mask_value: a step whose features all equal it is masked; None for no such value (None).
        dropout: probability in [0, 1) that a feature is set to zero in training, at every step of a sequence alike (0.0).
        recurrent_dropout: the same for the state h that the gates read (0.0); torch's fused kernels cannot do it.
        name: the layer's name.
    """

    use_bias: bool
    kernel_initializer: Any
    recurrent_initializer: Any
    bias_initializer: Any
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    zero_output_for_mask: bool
    mask_value: float | None
    dropout: float
    recurrent_dropout: float
    name: str | None


_SWITCHES = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
_WORDS = {1: "axis"}


class Recurrence(Layer):
    """The base of SimpleRNN, GRU and LSTM: input (B, steps, features), states of `units` numbers for each sequence.

    A masked step leaves the states as they are, and its output is that of the step before it (zero where there is none).
    Weights have torch's layout and its order of gates.

    Args:
        units: length of the state vector h, a whole number of at least 1. It is not the number of steps.
        activation: name or function of what a step computes; None for none.
        **options: see `RecurrentOptions`.

    Attributes:
        weight_ih: (gates·units, features), the weights that read the input.
        weight_hh: (gates·units, units), the weights that read the state.

    Raises:
        ArgumentError: if units, a probability, or mask_value cannot be one.
        ShapeError: if the input is not (batch, steps, features), or a state or mask does not fit it.
        UnknownNameError: on an unknown option, activation or initializer.

    Source: row R28 of the mission.
    """

    gate_names: ClassVar[tuple[str, ...]] = ()
    state_names: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(self, units: int, activation: Function = "tanh", **options: Unpack[RecurrentOptions]) -> None:
        super().__init__(name=options.get("name"))
        owner = type(self).__name__
        self.units = positive(f"{owner}(units=)", units)
        self.activation = activations.get(activation)
        self.options = _checked(owner, options)
        self.use_bias = bool(options.get("use_bias", True))
        self.return_sequences, self.return_state, self.go_backwards, self.stateful, self.zero_output_for_mask = (
            bool(self.options.get(name, False)) for name in _SWITCHES
        )
        self.mask_value = options.get("mask_value")
        self.dropout, self.recurrent_dropout = options.get("dropout", 0.0), options.get("recurrent_dropout", 0.0)

    @property
    def declares(self) -> tuple[str, ...]:
        """That it draws in training, where something is dropped, and keeps its states, where it is stateful."""
        said = {"random": self.dropout or self.recurrent_dropout, "always state": self.stateful}
        return tuple(word for word, true in said.items() if true)

    # -- what a kind of cell says ---------------------------------------------------------------------------------------

    def step(self, projected: Tensor, states: States, read: Tensor) -> States:
        """Return the states after one step, h first.

        Args:
            projected: what the weights read from the input, with its bias, (B, gates·units).
            states: before the step, (B, units) each.
            read: what the gates read of h: h itself, or h with some numbers dropped.
        """
        raise NotImplementedError

    def fused(self, x: Tensor, states: States) -> tuple[Tensor, States] | None:
        """Return h of every step and the states after the last by torch's fused kernel; None if there is none for this cell."""
        raise NotImplementedError

    def declare_biases(self) -> None:
        """Declare the biases; `bias`, (gates·units,), where a subclass does not say otherwise."""
        self.bias = self._bias() if self.use_bias else None

    @property
    def input_bias(self) -> Tensor | None:
        """The bias that is added to what the weights read from the input."""
        return self.bias

    @property
    def biases(self) -> int:
        """How many biases a unit has in each gate."""
        return int(self.use_bias)

    # -- the template of a layer ----------------------------------------------------------------------------------------

    def check_input(self, shape: Shape, *others: Shape) -> None:
        """Refuse observations that are not (steps, features), or of another number of features than before.

        Raises:
            ShapeError: saying what was expected.
        """
        if len(shape) != 2:
            axes = len(shape) + 1
            fix = f"Add Reshape(({shape[0] if shape else 1}, {_product(shape[1:])})) before it"
            if len(shape) < 2:
                fix += ", or cut a series with lm.data.windows(series, steps)"
            raise ShapeError(
                complaint(
                    self.label,
                    expected="input (batch, steps, features)",
                    received=f"{format_batch(shape)}, {axes} {_WORDS.get(axes, 'axes')}",
                    fix=fix,
                )
            )
        if shape[0] < 1:
            raise ShapeError(
                complaint(self.label, expected="at least 1 step", received=format_batch(shape), fix="Leave empty sequences out")
            )
        if self.built and shape[1] != self.weight_ih.shape[1]:
            features = self.weight_ih.shape[1]
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"input (batch, steps, {features})",
                    received=f"{format_batch(shape)}, {shape[1]} features",
                    fix=f"Give it {features} features, or build a new layer",
                )
            )

    def build(self, shape: Shape, *others: Shape) -> None:
        """Declare the weights for observations of `shape` (steps, features)."""
        rows = len(self.gate_names) * self.units
        self.weight_ih = self.learnable((rows, shape[1]), init=self.options.get("kernel_initializer", "glorot_uniform"))
        self.weight_hh = self.learnable((rows, self.units), init=self.options.get("recurrent_initializer", "orthogonal"))
        self.declare_biases()
        if self.stateful:
            for name in self.state_names:  # of no sequence yet
                self.register_buffer(name, self.state((0, self.units)), persistent=False)

    def _bias(self) -> nn.Parameter:
        return self.learnable(len(self.gate_names) * self.units, init=self.options.get("bias_initializer", "zeros"))

    def forward(self, x: Tensor, initial_state: State | None = None, mask: Tensor | None = None) -> Any:
        """Return h of the last step (B, units), or of every step (B, steps, units); behind it the states where asked for.

        Args:
            x: (B, steps, features).
            initial_state: (B, units), a tuple of h and c for an LSTM; zeros where None.
            mask: (B, steps), True for steps that count; every step counts where None.
        """
        if x.dim() != 3 or not x.shape[1] or x.shape[2] != self.weight_ih.shape[1]:
            self.check_input(tuple(x.shape[1:]))  # oneDNN's kernel itself reads beyond a row that is too short
        states = self._start(x, initial_state)
        mask = self._mask(x, mask)
        if self.go_backwards:
            x, mask = x.flip(1), None if mask is None else mask.flip(1)
        if self.training and self.dropout:
            x = x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), self.dropout)
        found = self.fused(x, states) if mask is None and self._may_fuse(x, states) else None
        outputs, states = found or self._loop(x, states, mask)
        if self.stateful:
            for name, state in zip(self.state_names, states, strict=True):
                setattr(self, name, state.detach())
        output = outputs if self.return_sequences else outputs[:, -1]
        return (output, *states) if self.return_state else output

    def reset_states(self) -> None:
        """Let the next batch of a stateful layer start from zeros, whatever its size.

        >>> from laminar import layers as L
        >>> layer = L.LSTM(2, stateful=True)
        >>> x = torch.ones(1, 3, 1)
        >>> first, second = layer(x), layer(x)
        >>> layer.reset_states()
        >>> torch.equal(layer(x), first), torch.equal(second, first)
        (True, False)
        """
        if self.stateful and self.built:
            for name in self.state_names:
                setattr(self, name, getattr(self, name).new_zeros(0, self.units))

    # -- steps ----------------------------------------------------------------------------------------------------------

    def _loop(self, x: Tensor, states: States, mask: Tensor | None) -> tuple[Tensor, States]:
        """Return h of every step, and the states after the last, going over the steps one by one."""
        projected = F.linear(x, self.weight_ih, self.input_bias).unbind(1)
        drops = self.training and self.recurrent_dropout
        kept = F.dropout(torch.ones_like(states[0]), self.recurrent_dropout) if drops else None
        outputs: list[Tensor] = []
        for i, read_from_input in enumerate(projected):
            after = self.step(read_from_input, states, states[0] if kept is None else states[0] * kept)
            if mask is None:
                states = after
                outputs.append(after[0])
                continue
            counts = mask[:, i, None]
            states = tuple(torch.where(counts, new, old) for new, old in zip(after, states, strict=True))
            repeats = outputs and not self.zero_output_for_mask
            outputs.append(torch.where(counts, after[0], outputs[-1] if repeats else torch.zeros_like(after[0])))
        return torch.stack(outputs, 1), states

    def _may_fuse(self, x: Tensor, states: States) -> bool:
        """Return whether torch's fused kernels can run here: they know neither function transforms nor the compiler."""
        if (self.training and self.recurrent_dropout) or torch.compiler.is_compiling():
            return False
        if x.is_meta or (x.is_cpu and torch.is_autocast_enabled("cpu")):  # oneDNN's kernel refuses two dtypes
            return False
        return not any(torch._C._functorch.is_functorch_wrapped_tensor(t) for t in (x, *states, *self.parameters()))

    def kernel_weights(self, x: Tensor, biases: Sequence[Tensor]) -> list[Tensor]:
        """Return the weights as torch's fused kernels take them: in one block of memory on a GPU, where cuDNN wants it so."""
        weights = [self.weight_ih, self.weight_hh, *biases]
        if not x.is_cuda:
            return weights
        block = torch.cat([w.reshape(-1) for w in weights])
        parts = block.split([w.numel() for w in weights])
        return [part.view(w.shape) for part, w in zip(parts, weights, strict=True)]

    # -- states and masks -----------------------------------------------------------------------------------------------

    def _start(self, x: Tensor, initial_state: State | None) -> States:
        batch, names = x.shape[0], self.state_names
        if initial_state is not None:
            given = (initial_state,) if isinstance(initial_state, Tensor) else tuple(initial_state)
            if [tuple(s.shape) for s in given] != [(batch, self.units)] * len(names):
                own = "initial_state " + (names[0] if len(names) == 1 else f"({', '.join(names)})")
                raise ShapeError(
                    complaint(
                        self.label,
                        expected=f"{own} of shape {format_shape((batch, self.units))}{' each' if len(names) > 1 else ''}",
                        received=" and ".join(format_shape(s.shape) for s in given) or "none",
                        fix="Give one number for each sequence and unit",
                    )
                )
            return given
        kept = tuple(getattr(self, name) for name in names) if self.stateful else ()
        if not kept or kept[0].shape[0] == 0 or (kept[0].shape[0] != batch and tracing()):
            return tuple(x.new_zeros(batch, self.units) for _ in names)
        if kept[0].shape[0] != batch:
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"a batch of {kept[0].shape[0]} sequences, to go on from the states of the batch before",
                    received=f"{batch}",
                    fix="Call reset_states() before a batch of another size; drop_last=True keeps one out of fit",
                )
            )
        return tuple(state.to(x) for state in kept)

    def _mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """Return the steps that count, (B, steps): those of `mask` that are not all `mask_value`; None where all count."""
        if mask is not None and mask.shape != x.shape[:2]:
            raise ShapeError(
                complaint(
                    self.label,
                    expected=f"mask (batch, steps) = {format_shape(x.shape[:2])}",
                    received=format_shape(mask.shape),
                    fix="Give one True or False for each step of each sequence",
                )
            )
        counts = None if mask is None else mask.bool()
        if self.mask_value is None:
            return counts
        own = (x != self.mask_value).any(-1)
        return own if counts is None else own & counts

    # -- words ----------------------------------------------------------------------------------------------------------

    def arithmetic(self, shape: Shape, *others: Shape) -> Arithmetic:
        """Return parameters, states and output in numbers, and what units are against steps."""
        (steps, features), units, gates = shape, self.units, len(self.gate_names)
        each = f"({features}+{units})·{units}" + {0: "", 1: f"+{units}"}.get(self.biases, f"+{self.biases}·{units}")
        total = gates * ((features + units) * units + self.biases * units)
        named = " and ".join(self.state_names)
        lines = (
            f"parameters: {each if gates == 1 else f'{gates}·({each})'} = {count(total)}",
            *((f"gates {', '.join(self.gate_names)}, each with weights and biases of its own",) if gates > 1 else ()),
            f"states {named}: {units} numbers each for every sequence, one a unit"
            if len(self.state_names) > 1
            else f"state {named}: {units} numbers for every sequence, one a unit",
            f"units are not steps: the same {units} units, with the same weights, run over all {steps} steps one after the "
            f"other, and each step reads {self.state_names[0]} of the step before it",
            f"output {format_shape((steps, units))}: h of every step; return_sequences=False gives {format_shape((units,))}"
            if self.return_sequences
            else f"output {format_shape((units,))}: h of the last step; return_sequences=True gives "
            f"{format_shape((steps, units))}",
        )
        output: Shape = (steps, units) if self.return_sequences else (units,)
        states = ((units,),) * len(self.state_names)
        return Arithmetic((output, *states) if self.return_state else output, total, lines)

    def extra_repr(self) -> str:
        """Return the units and the settings that are not the defaults."""
        switches = [f"{name}=True" for name in _SWITCHES if getattr(self, name)]
        numbers = [f"{name}={value}" for name in ("dropout", "recurrent_dropout") if (value := getattr(self, name))]
        mask = [] if self.mask_value is None else [f"mask_value={self.mask_value}"]
        usual = activations.name_of(self.activation)
        activation = [] if usual == "tanh" else [f"activation={usual!r}"]
        bias = [] if self.use_bias else ["use_bias=False"]
        return ", ".join([f"units={self.units}", *activation, *bias, *switches, *mask, *numbers])


def _product(sizes: Sequence[int]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


def _checked(owner: str, options: RecurrentOptions) -> RecurrentOptions:
    """Return the options of layer class `owner`, having looked up their names and checked their values."""
    given: Mapping[str, Any] = checked(owner, options, RecurrentOptions)
    for name, value in given.items():
        if name.endswith("dropout") and not (is_number(value) and 0 <= value < 1):
            raise ArgumentError(
                complaint(
                    f"{owner}({name}=)", expected="a probability in [0, 1)", received=f"{value!r}", fix=f"Pass {name}=0.2"
                )
            )
        if name == "mask_value" and value is not None and not is_number(value):
            raise ArgumentError(
                complaint(f"{owner}({name}=)", expected="a number, or None", received=f"{value!r}", fix="Pass mask_value=0.0")
            )
    return options
