"""Running means of parameters over the steps of a training (EMA)."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["Averages", "put_averages_in_place"]

_MEAN = "weights_average"  # beside what the optimizer itself keeps of a parameter, and saved, moved and copied with it


class Averages:
    """After each step, moves the mean of every parameter that took part: mean ← m·mean + (1 − m)·w.

    Args:
        momentum: m.
        every: iterations after which the means take the place of the parameters; None for never.

    Source: Polyak & Juditsky 1992; the exponential form as in Keras and Szegedy et al. 2016.
    """

    def __init__(self, momentum: float, every: int | None = None) -> None:
        self.every = every
        self._move = get_ema_multi_avg_fn(momentum)

    @torch.no_grad()
    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Do it; the signature is that of torch's step hooks."""
        means, weights = [], []
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    kept = optimizer.state[p]
                    if _MEAN in kept:
                        means.append(kept[_MEAN])
                        weights.append(p)
                    else:
                        kept[_MEAN] = p.detach().clone()
        if means:
            self._move(means, weights, None)
        if self.every is not None:
            first = optimizer.param_groups[0]  # where the count is saved with the optimizer
            first["averaged_steps"] = first.get("averaged_steps", 0) + 1
            if first["averaged_steps"] % self.every == 0:
                put_averages_in_place(optimizer)


@torch.no_grad()
def put_averages_in_place(optimizer: torch.optim.Optimizer) -> None:
    """Give every parameter the value of its running mean, where one is kept; `fit` does it at its end.

    Source: as for `Averages`, Polyak & Juditsky 1992.

    >>> from laminar.optimizers import SGD
    >>> w = torch.nn.Parameter(torch.tensor([0.0]))
    >>> optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5).create([w])
    >>> for _ in range(2):
    ...     w.grad = torch.tensor([-1.0])
    ...     optimizer.step()  # w is 1, then 2; the mean 1, then 0.5 * 1 + 0.5 * 2
    >>> put_averages_in_place(optimizer)
    >>> w.detach()
    tensor([1.5000])
    """
    for p, kept in optimizer.state.items():
        if _MEAN in kept:
            p.copy_(kept[_MEAN])
