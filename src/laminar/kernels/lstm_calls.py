"""The kernel for long short-term memory called on tensors, without derivatives."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from laminar.kernels.calls import at
from laminar.kernels.last_calls import STEP

__all__ = ["backward", "fits", "forward"]


def fits(units: int) -> bool:
    """Return whether the kernel is made for so many units.

    >>> fits(64), fits(10)
    (True, False)
    """
    return units % STEP == 0


def _sizes(x: Tensor, weight_hh: Tensor) -> Any:
    return (ctypes.c_int64 * 4)(*x.shape, weight_hh.shape[1])


def forward(
    calls: Any, x: Tensor, h0: Tensor, c0: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return h and c of every step, (B, steps, units), and its gates, (B, steps, 4 units)."""
    (n, steps, _), units, threads = x.shape, weight_hh.shape[1], torch.get_num_threads()
    out, cells, gates = (x.new_empty(n, steps, size) for size in (units, units, 4 * units))
    sizes = _sizes(x, weight_hh)
    room = x.new_empty(calls.lstm_room(sizes, threads))
    given = [at(t) for t in (x, h0, c0, weight_ih, weight_hh, bias, out, cells, gates, room)]
    calls.lstm_forward(*given, sizes, threads)
    return out, cells, gates


def backward(
    calls: Any, inputs: tuple[Tensor, ...], found: tuple[Tensor, ...], dout: Tensor, dlast: Tensor | None, of_x: bool
) -> tuple[Tensor | None, ...]:
    """Return the gradients of x, h0, c0, weight_ih, weight_hh and of the bias.

    Args:
        calls: the library.
        inputs: x, h0, c0, weight_ih and weight_hh.
        found: what `forward` returned for them.
        dout: gradient of h of every step.
        dlast: that of c of the last one; None for zeros.
        of_x: whether x's gradient is wanted.
    """
    x, h0, c0, weight_ih, weight_hh = inputs
    threads, sizes = torch.get_num_threads(), _sizes(x, weight_hh)
    made = [torch.empty_like(x) if of_x else None, *map(torch.empty_like, (h0, c0, weight_ih, weight_hh))]
    db = weight_hh.new_empty(len(weight_hh))
    room = x.new_empty(calls.lstm_backward_room(sizes, threads))
    calls.lstm_backward(*map(at, (*inputs, *found, dout, dlast, *made, db, room)), sizes, threads)
    return (*made, db)
