"""Recurrent layers: SimpleRNN, GRU, LSTM."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar import activations
from laminar.kernels import switch
from laminar.kernels.lstm import lstm
from laminar.kernels.lstm_calls import fits
from laminar.kernels.parts import Part
from laminar.layers.recurrence import Function, Recurrence, RecurrentOptions, States

__all__ = ["GRU", "LSTM", "SimpleRNN"]


_LEAST = 1 << 10  # numbers of a batch that Laminar's kernel is worth a call for


class SimpleRNN(Recurrence):
    """Recurrent layer whose output is its state: hₜ = activation(xₜ W_ihᵀ + b + hₜ₋₁ W_hhᵀ).

    Args:
        units: length of h, a whole number of at least 1.
        activation: name or function; None for none.
        **options: see `RecurrentOptions`.

    Attributes:
        weight_ih: (units, features).
        weight_hh: (units, units).
        bias: (units,), or None.

    Raises:
        ArgumentError, ShapeError, UnknownNameError: as in `Recurrence`.

    Source: Elman, "Finding structure in time", 1990; row R28 of the mission.

    >>> SimpleRNN(4)(torch.zeros(2, 10, 8)).shape
    torch.Size([2, 4])
    """

    gate_names: ClassVar[tuple[str, ...]] = ("h",)

    def step(self, projected: Tensor, states: States, read: Tensor) -> States:
        """Return (h,) after one step, (B, units)."""
        return (self.activation(projected + F.linear(read, self.weight_hh)),)

    def fused(self, x: Tensor, states: States) -> tuple[Tensor, States] | None:
        """Return h of every step and of the last; torch has kernels for tanh and ReLU."""
        if self.activation not in (activations.tanh, activations.relu):
            return None
        kernel = torch.rnn_tanh if self.activation is activations.tanh else torch.rnn_relu
        biases = () if self.bias is None else (self.bias, torch.zeros_like(self.bias))
        weights = self.kernel_weights(x, biases)
        output, h = kernel(x, states[0][None], weights, self.use_bias, 1, 0.0, torch.is_grad_enabled(), False, True)
        return output, (h[0],)


class GRU(Recurrence):
    """Gated recurrent unit: a reset gate r and an update gate z decide what the state h keeps.

    r = σ(x W_irᵀ + h W_hrᵀ), z = σ(x W_izᵀ + h W_hzᵀ), h' = (1 − z)·n + z·h, each product with its bias, where
    n = tanh(x W_inᵀ + r·(h W_hnᵀ)) with `reset_after`, and n = tanh(x W_inᵀ + (r·h) W_hnᵀ) without.

    Args:
        units: length of h, a whole number of at least 1.
        activation: name or function of the candidate n; None for none.
        recurrent_activation: name or function of the gates r and z.
        reset_after: whether the reset gate acts after the product with W_hn, as in torch and cuDNN, or before, as in the paper.
            After it, input and state have a bias each; before it, there is one.
        **options: see `RecurrentOptions`.

    Attributes:
        weight_ih: (3·units, features), in the order r, z, n, as in torch.
        weight_hh: (3·units, units).
        bias_ih, bias_hh: (3·units,) each with `reset_after`, or None.
        bias: (3·units,) without `reset_after`, or None.

    Raises:
        ArgumentError, ShapeError, UnknownNameError: as in `Recurrence`.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014; row R28 of the mission.

    >>> GRU(4, return_sequences=True)(torch.zeros(2, 10, 8)).shape
    torch.Size([2, 10, 4])
    """

    gate_names: ClassVar[tuple[str, ...]] = ("reset", "update", "new")

    def __init__(
        self,
        units: int,
        activation: Function = "tanh",
        recurrent_activation: Function = "sigmoid",
        *,
        reset_after: bool = True,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(units, activation, **options)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = bool(reset_after)

    def declare_biases(self) -> None:
        """Declare two biases with `reset_after`, one without."""
        if not self.reset_after:
            super().declare_biases()
            return
        self.bias_ih = self._bias() if self.use_bias else None
        self.bias_hh = self._bias() if self.use_bias else None

    @property
    def input_bias(self) -> Tensor | None:
        """The bias that is added to what the weights read from the input."""
        return self.bias_ih if self.reset_after else self.bias

    @property
    def biases(self) -> int:
        """How many biases a unit has in each gate."""
        return (2 if self.reset_after else 1) * int(self.use_bias)

    def step(self, projected: Tensor, states: States, read: Tensor) -> States:
        """Return (h,) after one step, (B, units)."""
        gates = projected.split(self.units, -1)
        before = self.weight_hh if self.reset_after else self.weight_hh[: 2 * self.units]
        from_state = F.linear(read, before, self.bias_hh if self.reset_after else None).split(self.units, -1)
        r = self.recurrent_activation(gates[0] + from_state[0])
        z = self.recurrent_activation(gates[1] + from_state[1])
        recurrent = r * from_state[2] if self.reset_after else F.linear(r * read, self.weight_hh[2 * self.units :])
        n = self.activation(gates[2] + recurrent)
        return ((1 - z) * n + z * states[0],)

    def fused(self, x: Tensor, states: States) -> tuple[Tensor, States] | None:
        """Return h of every step and of the last; torch has a kernel for `reset_after` with tanh and sigmoid."""
        usual = self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid
        if not (usual and self.reset_after):
            return None
        biases = [b for b in (self.bias_ih, self.bias_hh) if b is not None]
        weights = self.kernel_weights(x, biases)
        output, h = torch.gru(x, states[0][None], weights, self.use_bias, 1, 0.0, torch.is_grad_enabled(), False, True)
        return output, (h[0],)

    def extra_repr(self) -> str:
        """Return the units and the settings that are not the defaults."""
        own = "" if self.reset_after else ", reset_after=False"
        return super().extra_repr() + _gates(self.recurrent_activation) + own


class LSTM(Recurrence):
    """Long short-term memory: gates decide what the cell state c forgets, takes in and shows as h.

    i, f, o = σ(x W_ihᵀ + h W_hhᵀ + b) and g = tanh(the same), each with rows of its own; c' = f·c + i·g; h' = o·tanh(c').
    It has 4·((features + units)·units + units) parameters. The same units run over every step: `units` is the length of h and
    c, not the number of steps.

    Args:
        units: length of h and of c, a whole number of at least 1.
        activation: name or function of g and of c' on its way out; None for none.
        recurrent_activation: name or function of the gates i, f and o.
        unit_forget_bias: whether the bias of the forget gate starts at 1, so that the cell remembers at first.
        **options: see `RecurrentOptions`.

    Attributes:
        weight_ih: (4·units, features), in the order i, f, g, o, as in torch.
        weight_hh: (4·units, units).
        bias: (4·units,), or None; torch has two, whose sum it is.

    Raises:
        ArgumentError, ShapeError, UnknownNameError: as in `Recurrence`.

    Source: Hochreiter, Schmidhuber, "Long short-term memory", 1997; Gers et al., "Learning to forget", 2000; row R28 of the
    mission.

    >>> LSTM(4)(torch.zeros(2, 10, 8)).shape
    torch.Size([2, 4])
    >>> output, h, c = LSTM(4, return_sequences=True, return_state=True)(torch.zeros(2, 10, 8))
    >>> output.shape, h.shape, c.shape
    (torch.Size([2, 10, 4]), torch.Size([2, 4]), torch.Size([2, 4]))
    >>> print(LSTM(4).explain((10, 8)).lines[0])
    parameters: 4·((8+4)·4+4) = 208
    """

    gate_names: ClassVar[tuple[str, ...]] = ("input", "forget", "cell", "output")
    state_names: ClassVar[tuple[str, ...]] = ("h", "c")

    def __init__(
        self,
        units: int,
        activation: Function = "tanh",
        recurrent_activation: Function = "sigmoid",
        *,
        unit_forget_bias: bool = True,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(units, activation, **options)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = bool(unit_forget_bias)

    def declare_biases(self) -> None:
        """Declare the bias, the forget gate's part of ones where asked for."""
        super().declare_biases()
        if self.bias is not None and self.unit_forget_bias:
            self.bias[self.units : 2 * self.units].fill_(1.0)

    def step(self, projected: Tensor, states: States, read: Tensor) -> States:
        """Return (h, c) after one step, (B, units) each."""
        i, f, g, o = (projected + F.linear(read, self.weight_hh)).split(self.units, -1)
        c = self.recurrent_activation(f) * states[1] + self.recurrent_activation(i) * self.activation(g)
        return self.recurrent_activation(o) * self.activation(c), c

    def fused(self, x: Tensor, states: States) -> tuple[Tensor, States] | None:
        """Return h of every step, and h and c of the last; torch has a kernel for tanh and sigmoid."""
        if not (self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid):
            return None
        h, c = states
        own = (self.weight_ih, self.weight_hh, self.bias)
        if fits(self.units) and switch.serve(x, h, c, *own, part=Part.LSTM, least=_LEAST):
            output, c = lstm(x, h, c, *own)
            return output, (output[:, -1], c)
        biases = () if self.bias is None else (self.bias, torch.zeros_like(self.bias))
        weights = self.kernel_weights(x, biases)
        start = tuple(state[None] for state in states)
        output, h, c = torch.lstm(x, start, weights, self.use_bias, 1, 0.0, torch.is_grad_enabled(), False, True)
        return output, (h[0], c[0])

    def extra_repr(self) -> str:
        """Return the units and the settings that are not the defaults."""
        own = "" if self.unit_forget_bias else ", unit_forget_bias=False"
        return super().extra_repr() + _gates(self.recurrent_activation) + own


def _gates(function: activations.Activation) -> str:
    name = activations.name_of(function)
    return "" if name == "sigmoid" else f", recurrent_activation={name!r}"
