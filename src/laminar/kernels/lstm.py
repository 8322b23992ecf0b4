"""Long short-term memory by a kernel that takes some of the sequences through all steps at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import lstm_calls as calls
from laminar.kernels.functions import twice_differentiable
from laminar.kernels.library import library
from laminar.kernels.parts import Part

__all__ = ["lstm"]


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h0: Tensor, c0: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        out, cells, gates = calls.forward(library(x.dtype, Part.LSTM), x, h0, c0, weight_ih, weight_hh, bias)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h0, c0, weight_ih, weight_hh, bias, out, cells, gates)
        return out, cells[:, -1].clone()

    @staticmethod
    def backward(ctx: Any, dout: Tensor | None, dlast: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, bias, out, cells, gates = ctx.saved_tensors
        needed = ctx.needs_input_grad
        dout = torch.zeros_like(out) if dout is None else dout.contiguous()
        dlast = None if dlast is None else dlast.contiguous()
        if torch.is_grad_enabled():
            both = torch.cat([dout, torch.zeros_like(out[:, :1]) if dlast is None else dlast[:, None]], 1)
            return twice_differentiable(_by_torch, (*inputs, bias), both, needed)
        made = calls.backward(library(out.dtype, Part.LSTM), tuple(inputs), (out, cells, gates), dout, dlast, needed[0])
        return tuple(t if need else None for t, need in zip(made, needed, strict=True))


def _by_torch(x: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor | None) -> Tensor:
    """Return h of every step and behind them c of the last, (B, steps + 1, units)."""
    outputs = []
    for given in F.linear(x, weight_ih, bias).unbind(1):
        i, f, g, o = (given + F.linear(h, weight_hh)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack([*outputs, c], 1)


def lstm(x: Tensor, h0: Tensor, c0: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return h of every step, (B, steps, units), and c of the last, (B, units).

    Args:
        x: (B, steps, features), at least one step.
        h0: (B, units).
        c0: (B, units).
        weight_ih: (4 units, features), in the order i, f, g, o.
        weight_hh: (4 units, units); `lstm_calls.fits` says for how many units.
        bias: (4 units,), or None.
    """
    out, last = _Lstm.apply(x, h0, c0, weight_ih, weight_hh, bias)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return out, last
