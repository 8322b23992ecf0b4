"""Where torch's fused kernels may be used, and a guard that keeps them right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import Parameter

__all__ = ["SameLayout", "fusible"]


def fusible(parameters: Sequence[Parameter]) -> bool:
    """Return whether torch's fused kernels are right for `parameters`, so that steps differ by rounding alone.

    Half precision is left out because the CPU kernel of torch 2.12 and 2.13 skips elements there (pytorch issue 191763), and
    memory with gaps because the kernels run over it as if there were none.
    """
    kinds = {(p.device.type, p.dtype) for p in parameters}
    dense = (torch.contiguous_format, torch.channels_last, torch.channels_last_3d)
    return (
        len({p.device for p in parameters}) == 1
        and all(device in ("cpu", "cuda") and dtype in (torch.float32, torch.float64) for device, dtype in kinds)
        and all(any(_dense(p, layout) for layout in dense) for p in parameters)
    )


def _dense(p: torch.Tensor, layout: torch.memory_format) -> bool:
    """Return whether `p` lies in memory as `layout` says; only tensors of one rank can be channels-last."""
    rank = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(layout, p.ndim)
    return p.ndim == rank and p.is_contiguous(memory_format=layout)


class SameLayout:
    """Before each fused step, lays gradients and optimizer state out in memory as their parameter is, and completes the state.

    The fused CPU kernels pair elements by their place in memory. If the parameter is channels-last and its momentum is not
    (after loading a checkpoint, or after moving the network to channels-last between two fits) they silently pair wrong ones.
    Gradients can be assigned by anyone, so they are compared each step. State can come apart from its parameter only when the
    parameter is converted or the state is loaded, so it is looked at only then, as is whether the kernels still apply. It is
    looked at too when another set of parameters has gradients: fused SGD cannot begin the momentum of a parameter that learns
    later than others, as after unfreezing (torch 2.9 to 2.13).
    """

    def __init__(self) -> None:
        self.seen: list[tuple[tuple[int, ...], torch.dtype, bool]] = []

    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Do it; the signature is that of torch's step hooks."""
        now = []
        for group in optimizer.param_groups:
            for p in group["params"]:
                wanted = p.stride()
                gradient = p.grad
                now.append((wanted, p.dtype, gradient is None))
                if gradient is not None and gradient.stride() != wanted:
                    p.grad = _like(gradient, p)
        if now != self.seen:
            self._converted(optimizer)
            self.seen = now

    def _converted(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring the state after its parameters, begin the momenta that others have, and choose the kernels again."""
        for p, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, torch.Tensor) and value.shape == p.shape and value.stride() != p.stride():
                    state[key] = _like(value, p)
        for group in optimizer.param_groups:
            if group.get("momentum") and "nesterov" in group:  # SGD's
                _begin_momenta(optimizer, [p for p in group["params"] if p.grad is not None])
        fused = fusible([p for group in optimizer.param_groups for p in group["params"]])
        for group in optimizer.param_groups:
            group["fused"] = fused

    def forget(self, optimizer: torch.optim.Optimizer) -> None:
        """Look at the state again before the next step."""
        self.seen = []


def _begin_momenta(optimizer: torch.optim.Optimizer, parameters: Sequence[Parameter]) -> None:
    """Give parameters a momentum of 0 where others have theirs: the coming step makes it the gradient, as every first one."""
    late = [p for p in parameters if optimizer.state.get(p, {}).get("momentum_buffer") is None]
    for p in late if len(late) < len(parameters) else ():  # torch begins all of them at once
        optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)


def _like(values: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Return `values` with the strides of `p`, without a copy where they differ on axes of length 1 alone."""
    if all(n == 1 or a == b for n, a, b in zip(p.shape, values.stride(), p.stride(), strict=True)):
        return values.as_strided(p.shape, p.stride())
    return torch.empty_strided(p.shape, p.stride(), dtype=values.dtype, device=values.device).copy_(values)
